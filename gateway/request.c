/*
 * request.c
 *		What is asked of the extension.
 */
#include "request.h"

#include <stdlib.h>
#include <string.h>

Request *
request_create(const char *op)
{
	Request    *request = xcalloc(sizeof(Request));

	request->op = op;
	return request;
}

/* FNV-1a */
static uint32_t
hash_of(const char *data, size_t len)
{
	uint32_t	hash = 2166136261u;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char) data[i]) * 16777619u;
	return hash;
}

void
request_set_gid(Request *request, const char *gid, size_t len)
{
	if (len == 0)
		return;
	free(request->gid);
	request->gid = xstrndup(gid, len);
	request->hash = hash_of(gid, len);
}

void
request_set_who(Request *request)
{
	request->who = request->has_token ? hash_of((const char *) request->token, TOKEN_HASH_SIZE) :
		hash_of(request->role, strlen(request->role));
}

void
request_count(Request *request, int which, int *counter)
{
	request->in_flight[which] = counter;
	(*counter)++;
}

void
request_add_payload(Request *request, Bytes payload)
{
	int			n = request->npayloads;

	/* room is doubled: at powers of two */
	if ((n & (n - 1)) == 0)
		request->payload_lens = xrealloc(request->payload_lens,
										 sizeof(size_t) * (size_t) (n == 0 ? 1 : 2 * n));
	request->payload_lens[request->npayloads++] = payload.len;
	buf_add(&request->payload_bytes, payload.data, payload.len);
}

size_t
request_size(const Request *request)
{
	return request->body.len + request->payload_bytes.len +
		(size_t) request->npayloads * 8 + 200;
}

void
request_finish(Request *request, const Answer *answer)
{
	if (request->owner != NULL)
		request->done(request->owner, answer);
	for (int i = 0; i < 2; i++)
		if (request->in_flight[i] != NULL)
			(*request->in_flight[i])--;
	buf_free(&request->body);
	buf_free(&request->payload_bytes);
	free(request->payload_lens);
	free(request->role);
	free(request->gid);
	free(request);
}

void
request_fail(Request *request, Outcome outcome, const char *message)
{
	Answer		answer = {.outcome = outcome, .message = message, .sqlstate = ""};

	request_finish(request, &answer);
}
