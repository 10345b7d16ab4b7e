/*
 * buf.c
 *		Growing bytes.
 */
#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
out_of_memory(void)
{
	static const char text[] = "dtm-gateway: out of memory\n";

	(void) fwrite(text, 1, sizeof(text) - 1, stderr);
	abort();
}

void *
xmalloc(size_t size)
{
	void	   *p = malloc(size ? size : 1);

	if (p == NULL)
		out_of_memory();
	return p;
}

void *
xcalloc(size_t size)
{
	void	   *p = calloc(1, size ? size : 1);

	if (p == NULL)
		out_of_memory();
	return p;
}

void *
xrealloc(void *old, size_t size)
{
	void	   *p = realloc(old, size ? size : 1);

	if (p == NULL)
		out_of_memory();
	return p;
}

char *
xstrndup(const char *string, size_t len)
{
	char	   *copy = xmalloc(len + 1);

	if (len > 0)
		memcpy(copy, string, len);
	copy[len] = '\0';
	return copy;
}

char *
xstrdup(const char *string)
{
	return xstrndup(string, strlen(string));
}

char *
buf_room(Buf *buf, size_t len)
{
	size_t		need = buf->len + len;

	if (need < len)
		out_of_memory();
	if (need > buf->size)
	{
		size_t		size = buf->size < 64 ? 64 : buf->size;

		while (size < need)
			size = size > SIZE_MAX / 2 ? need : size * 2;
		buf->data = xrealloc(buf->data, size);
		buf->size = size;
	}
	return buf->data + buf->len;
}

void
buf_add(Buf *buf, const void *data, size_t len)
{
	if (len == 0)
		return;
	memcpy(buf_room(buf, len), data, len);
	buf->len += len;
}

void
buf_adds(Buf *buf, const char *string)
{
	buf_add(buf, string, strlen(string));
}

void
buf_addc(Buf *buf, char c)
{
	buf_add(buf, &c, 1);
}

void
buf_printf(Buf *buf, const char *format,...)
{
	va_list		args;
	int			len;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0)
		return;
	(void) buf_room(buf, (size_t) len + 1);
	va_start(args, format);
	(void) vsnprintf(buf->data + buf->len, (size_t) len + 1, format, args);
	va_end(args);
	buf->len += (size_t) len;
}

void
buf_add32(Buf *buf, uint32_t number)
{
	unsigned char bytes[4] = {
		(unsigned char) (number >> 24), (unsigned char) (number >> 16),
		(unsigned char) (number >> 8), (unsigned char) number
	};

	buf_add(buf, bytes, sizeof(bytes));
}

void
buf_drop(Buf *buf, size_t len)
{
	if (len < buf->len)
		memmove(buf->data, buf->data + len, buf->len - len);
	buf->len -= len < buf->len ? len : buf->len;
}

void
buf_free(Buf *buf)
{
	free(buf->data);
	buf->data = NULL;
	buf->len = buf->size = 0;
}

char *
buf_string(Buf *buf)
{
	*buf_room(buf, 1) = '\0';
	return buf->data;
}
