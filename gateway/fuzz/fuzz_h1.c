/*
 * fuzz_h1.c
 *		HTTP/1.1: any bytes, which have to mean the same however they are cut.
 */
#include <stdlib.h>
#include <string.h>

#include "h1.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What it came to: results, and what was understood. */
static void
play(const char *data, size_t size, size_t part, Buf *trace)
{
	H1Result	result = H1_MORE;
	size_t		at = 0;
	H1			h1;

	h1_init(&h1, 1000);
	while (at < size || result == H1_HEAD)
	{
		size_t		left = size - at;
		size_t		used;

		result = h1_feed(&h1, data + at, left < part ? left : part, &used);
		at += used;
		if (result == H1_BAD)
		{
			buf_printf(trace, "bad %d\n", h1.status);
			break;
		}
		if (result == H1_HEAD)
		{
			buf_printf(trace, "head %s %s %d %d\n", h1.method, h1.target, h1.nheaders, h1.keep_alive);
			for (int i = 0; i < h1.nheaders; i++)
				buf_printf(trace, "%s=%s\n", h1.headers[i].name, h1.headers[i].value);
			if (h1.state == H1_AT_END)
				result = H1_DONE;
		}
		if (result == H1_DONE)
		{
			buf_printf(trace, "body %zu\n", h1.body.len);
			buf_add(trace, h1.body.data, h1.body.len);
			h1_reset(&h1);
		}
	}
	h1_free(&h1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Buf			whole = {0};
	Buf			bytes = {0};

	play((const char *) data, size, SIZE_MAX, &whole);
	play((const char *) data, size, 1, &bytes);
	if (whole.len != bytes.len || (whole.len > 0 && memcmp(whole.data, bytes.data, whole.len) != 0))
		abort();
	buf_free(&whole);
	buf_free(&bytes);
	return 0;
}
