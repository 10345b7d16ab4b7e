/*
 * reply.c
 *		The memory for the bodies of responses.
 *
 * Thousands of calls may be in flight, and the response of each may be as large as
 * max_reply_size; all of these together may have max_reply_bytes.  A response for
 * which there is no memory is paused: libcurl does not read its socket, and the
 * host waits.  It goes on when others have ended, or its time-out ends it.
 *
 * 1. A small response is never paused.  Most are.
 * 2. A host may have HOST_SHARE times what is free, so that there is some for the
 *    others, whatever it sends (as roles share the memory for transactions,
 *    coordinator/room.c).
 * 3. One response that is in flight goes on whatever there is, or those that wait
 *    for each other could not: the favored one.  When it has ended, it is the turn
 *    of the one that was started first.
 *
 * So they take max_reply_bytes, what small ones take, and one of max_reply_size more.
 *
 * With HTTP/2 several calls share a connection, which stands still when one of
 * them does.  There a response for which there is no memory is an error.
 */
#include "private.h"

#include <stdlib.h>
#include <string.h>

/* First size of the buffer of a reply, in bytes; most replies fit. */
#define REPLY_BUFFER_SIZE	512

/* Up to this one, sizes of buffers do not count, in bytes. */
#define SMALL_REPLY_SIZE	8192

/* What the responses of a host may take, for what is free. */
#define HOST_SHARE			3

/* May the buffer of a response grow to this size? */
static bool
may_grow(DtmTransport *t, DtmRequest *request, size_t size)
{
	const DtmCall *call = request->call;
	int64_t		more = (int64_t) (size - call->reply_size);
	int64_t		left = (int64_t) t->limits.max_reply_bytes - (int64_t) t->reply_bytes - more;

	if (size <= SMALL_REPLY_SIZE || t->favored == request)
		return true;
	return left >= 0 && (int64_t) call->host->reply_bytes + more <= left * HOST_SHARE;
}

/* The size of the buffer that a response needs next, for so many bytes and a NUL. */
static size_t
next_size(const DtmTransport *t, const DtmCall *call, size_t len)
{
	size_t		size = call->reply_size > 0 ? call->reply_size : REPLY_BUFFER_SIZE;

	while (size < len + 1)
		size *= 2;
	/* no more is taken than that */
	if (size > t->limits.max_reply_size + 1 && len <= t->limits.max_reply_size)
		size = t->limits.max_reply_size + 1;
	return size;
}

ReplyGrowth
reply_grow(DtmRequest *request, size_t len)
{
	DtmTransport *t = request->transport;
	DtmCall    *call = request->call;
	size_t		size;
	char	   *reply;

	if (len + 1 <= call->reply_size)
		return REPLY_FITS;
	size = next_size(t, call, len);
	if (!may_grow(t, request, size))
	{
		if (t->favored != NULL)
			return REPLY_WAITS;
		t->favored = request;
	}
	reply = realloc(call->reply, size);
	if (reply == NULL)
		return REPLY_FAILS;
	t->reply_bytes += size - call->reply_size;
	call->host->reply_bytes += size - call->reply_size;
	call->reply = reply;
	call->reply_size = size;
	return REPLY_FITS;
}

void
reply_pause(DtmRequest *request)
{
	request->paused = request->was_paused = true;
	request->transport->npaused++;
}

static void
unpause(DtmRequest *request)
{
	request->paused = false;
	request->transport->npaused--;
}

void
reply_leave(DtmRequest *request)
{
	DtmTransport *t = request->transport;

	if (request->paused)
		unpause(request);
	if (t->favored == request)
		t->favored = NULL;
	request->call->host->reply_bytes -= request->call->reply_size;
	t->reply_freed = true;
}

void
reply_forget(DtmTransport *t, DtmCall *call)
{
	t->reply_bytes -= call->reply_size;
	call->reply_size = 0;
	t->reply_freed = true;
}

/* It goes on; if that fails, the call has ended. */
static void
resume(DtmTransport *t, DtmRequest *request)
{
	CURLcode	rc;

	unpause(request);
	/* this may take what libcurl has already read, and pause it again */
	rc = curl_easy_pause(request->easy, CURLPAUSE_CONT);
	if (rc != CURLE_OK)
		request_finish(t, request, rc);
}

void
replies_resume(DtmTransport *t)
{
	DtmRequest *oldest = NULL;

	if (t->npaused == 0 || !t->reply_freed)
		return;
	t->reply_freed = false;
	for (DtmRequest *request = t->all_requests; request != NULL; request = request->next_of_all)
	{
		if (request->call == NULL || !request->paused)
			continue;
		if (may_grow(t, request, next_size(t, request->call, request->call->reply_size)))
			resume(t, request);
		else if (oldest == NULL || request->started < oldest->started)
			oldest = request;
	}
	if (t->favored != NULL || oldest == NULL)
		return;
	t->favored = oldest;
	resume(t, oldest);
}
