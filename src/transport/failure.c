/*
 * failure.c
 *		What the end of a call without a complete response says.
 */
#include "private.h"

#include <stdio.h>
#include <string.h>

/*
 * Does an error say that the host does not answer?  Others are of this side:
 * whom it trusts, what it shows.  A host that does not like that closes the
 * connection, which of TLS therefore says nothing.
 */
bool
failure_is_silence(CURLcode rc, const DtmCall *call)
{
	switch (rc)
	{
		case CURLE_COULDNT_RESOLVE_HOST:
		case CURLE_COULDNT_CONNECT:
		case CURLE_OPERATION_TIMEDOUT:
			return true;
		case CURLE_GOT_NOTHING:
		case CURLE_SEND_ERROR:
		case CURLE_RECV_ERROR:
		case CURLE_PARTIAL_FILE:
		case CURLE_HTTP2:
		case CURLE_HTTP2_STREAM:
			return !url_is_tls(call->url);
		default:
			return false;
	}
}

bool
failure_has_answer(const DtmRequest *request)
{
	return request->too_long || request->rejected[0] != '\0' || request->is_crowded ||
		request->paused || request->header_len > MAX_HEADER_LEN;
}

void
failure_explain(const DtmTransport *t, const DtmRequest *request, CURLcode rc)
{
	DtmCall    *call = request->call;

	if (request->forbidden[0] != '\0')
		snprintf(call->error, sizeof(call->error),
				 "address %s is forbidden by dtm.forbidden_addresses", request->forbidden);
	else if (request->unwatched[0] != '\0')
		snprintf(call->error, sizeof(call->error), "%s", request->unwatched);
	else if (request->header_len > MAX_HEADER_LEN)
		snprintf(call->error, sizeof(call->error),
				 "response headers are longer than %d bytes", MAX_HEADER_LEN);
	else if (request->rejected[0] != '\0')
		snprintf(call->error, sizeof(call->error), "%s", request->rejected);
	else if (request->too_long)
		snprintf(call->error, sizeof(call->error),
				 "response is longer than %zu bytes", t->limits.max_reply_size);
	else if (request->is_crowded)
		snprintf(call->error, sizeof(call->error),
				 "response of more than %zu bytes found no memory beside other responses", call->reply_len);
	else
		snprintf(call->error, sizeof(call->error), "%s",
				 request->error[0] ? request->error : curl_easy_strerror(rc));
}
