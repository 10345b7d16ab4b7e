/*
 * buf.h
 *		Growing bytes.  Memory is there, or the program ends.
 */
#ifndef GW_BUF_H
#define GW_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Buf
{
	char	   *data;			/* NULL: nothing was ever added */
	size_t		len;
	size_t		size;
} Buf;

/* Bytes that are somebody else's. */
typedef struct Bytes
{
	const char *data;
	size_t		len;
} Bytes;

extern void *xmalloc(size_t size);
extern void *xcalloc(size_t size);
extern void *xrealloc(void *old, size_t size);
extern char *xstrdup(const char *string);
extern char *xstrndup(const char *string, size_t len);

extern void buf_add(Buf *buf, const void *data, size_t len);
extern void buf_adds(Buf *buf, const char *string);
extern void buf_addc(Buf *buf, char c);
extern void buf_printf(Buf *buf, const char *format,...)
			__attribute__((format(printf, 2, 3)));

/* Big-endian, as PostgreSQL and gRPC have numbers. */
extern void buf_add32(Buf *buf, uint32_t number);

/* Room for so many bytes more behind the end. */
extern char *buf_room(Buf *buf, size_t len);

/* Takes bytes away from the beginning. */
extern void buf_drop(Buf *buf, size_t len);

/* Empty, and without memory. */
extern void buf_free(Buf *buf);

/* The bytes with a zero behind them, which does not count. */
extern char *buf_string(Buf *buf);

/* A letter of ASCII in lower case; anything else as it is. */
static inline char
ascii_lower(char c)
{
	if (c >= 'A' && c <= 'Z')
		c = (char) (c - 'A' + 'a');
	return c;
}

#endif							/* GW_BUF_H */
