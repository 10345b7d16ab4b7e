/*
 * dbparams.c
 *		Arrays in PostgreSQL's binary form.
 */
#include "dbparams.h"

#include <stdlib.h>
#include <string.h>

const uint32_t batch_types[NBATCH_PARAMS] = {
	TEXTARRAYOID, BYTEAARRAYOID, TEXTARRAYOID, BYTEAARRAYOID, INT4ARRAYOID,
	BYTEAARRAYOID, BOOLOID
};

void
array_begin(Buf *out, uint32_t type, int n)
{
	buf_add32(out, n > 0 ? 1 : 0);	/* dimensions */
	buf_add32(out, 1);			/* there may be NULLs */
	buf_add32(out, type);
	if (n == 0)
		return;
	buf_add32(out, (uint32_t) n);
	buf_add32(out, 1);			/* lower bound */
}

void
array_add(Buf *out, const void *data, size_t len)
{
	buf_add32(out, (uint32_t) len);
	buf_add(out, data, len);
}

void
array_add_null(Buf *out)
{
	buf_add32(out, UINT32_MAX);
}

static void
add_string(Buf *out, const char *string)
{
	if (string == NULL)
		array_add_null(out);
	else
		array_add(out, string, strlen(string));
}

void
batch_params(const Request *requests, bool careful, Buf params[NBATCH_PARAMS])
{
	int			n = 0;
	int			npayloads = 0;

	for (const Request *r = requests; r != NULL; r = r->next, n++)
		npayloads += r->npayloads;
	for (int i = 0; i < NBATCH_PARAMS; i++)
		params[i].len = 0;
	array_begin(&params[0], TEXTOID, n);
	array_begin(&params[1], BYTEAOID, n);
	array_begin(&params[2], TEXTOID, n);
	array_begin(&params[3], BYTEAOID, n);
	array_begin(&params[4], INT4OID, n);
	array_begin(&params[5], BYTEAOID, npayloads);
	for (const Request *r = requests; r != NULL; r = r->next)
	{
		size_t		offset = 0;

		add_string(&params[0], r->has_token ? NULL : r->role);
		if (r->has_token)
			array_add(&params[1], r->token, sizeof(r->token));
		else
			array_add_null(&params[1]);
		add_string(&params[2], r->op);
		if (r->body.data == NULL)
			array_add_null(&params[3]);
		else
			array_add(&params[3], r->body.data, r->body.len);
		if (r->has_payloads)
		{
			buf_add32(&params[4], 4);
			buf_add32(&params[4], (uint32_t) r->npayloads);
		}
		else
			array_add_null(&params[4]);
		for (int i = 0; i < r->npayloads; i++)
		{
			/* of empty ones there may be no bytes at all */
			array_add(&params[5], r->payload_bytes.data ? r->payload_bytes.data + offset : "",
					  r->payload_lens[i]);
			offset += r->payload_lens[i];
		}
	}
	buf_addc(&params[6], careful ? 1 : 0);
}

int32_t
read_int32(const char *data)
{
	const unsigned char *d = (const unsigned char *) data;

	return (int32_t) ((uint32_t) d[0] << 24 | (uint32_t) d[1] << 16 |
					  (uint32_t) d[2] << 8 | d[3]);
}

int64_t
read_int64(const char *data)
{
	return (int64_t) ((uint64_t) (uint32_t) read_int32(data) << 32 |
					  (uint32_t) read_int32(data + 4));
}

Bytes *
array_read(const char *data, size_t len, int *n)
{
	const char *end = data + len;
	Bytes	   *elements;

	*n = 0;
	if (len < 12)
		return NULL;
	if (read_int32(data) == 0)
		return xmalloc(sizeof(Bytes));
	if (len < 20 || read_int32(data) != 1)
		return NULL;
	*n = read_int32(data + 12);
	data += 20;
	if (*n < 0 || (size_t) *n > (size_t) (end - data) / 4)
		return NULL;
	elements = xmalloc(sizeof(Bytes) * (size_t) (*n + 1));
	for (int i = 0; i < *n; i++)
	{
		int32_t		size = end - data < 4 ? INT32_MAX : read_int32(data);

		if (size > end - data - 4)
		{
			free(elements);
			return NULL;
		}
		data += 4;
		elements[i].data = size < 0 ? NULL : data;
		elements[i].len = size < 0 ? 0 : (size_t) size;
		data += elements[i].len;
	}
	return elements;
}

bool
outcome_parse(const char *name, Outcome *outcome)
{
	static const char *const names[] = {
		"success", "failure", "ongoing", "error", "invalid", "denied",
		"unauthenticated", "locked", "unavailable"
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i]) == 0)
		{
			*outcome = (Outcome) i;
			return true;
		}
	return false;
}
