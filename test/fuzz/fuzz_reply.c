/*
 * fuzz_reply.c
 *		Replies as libcurl hands them over: header lines, trailers, a body in
 *		pieces; and what they mean over HTTP and gRPC.
 */
#include "../../src/transport/call.c"

#include "../../src/core/core.h"

#include "swell.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In a piece of memory of its own, so that reading beyond its end is seen. */
static void
hand_over(size_t (*callback) (char *, size_t, size_t, void *), const char *data,
		  size_t size, DtmRequest *request)
{
	char	   *copy = malloc(size > 0 ? size : 1);

	memcpy(copy, data, size);
	(void) callback(copy, 1, size, request);
	free(copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	static CURL *easy;
	size_t		len;
	char	   *text = swell(input, size, &len);
	int64_t		started = cpu_us();
	bool		swollen = len > size;
	DtmTransport transport;
	DtmCall		call;
	DtmRequest		request;
	DtmStatusSet set;
	DtmHost		host;
	const char *data = text;
	const char *end = text + len;

	if (easy == NULL)
		easy = curl_easy_init();
	memset(&transport, 0, sizeof(transport));
	memset(&call, 0, sizeof(call));
	memset(&request, 0, sizeof(request));
	memset(&host, 0, sizeof(host));
	transport.limits.max_reply_bytes = (size_t) 1 << 40;
	transport.limits.max_reply_size = swollen ? 2 * SWOLLEN : 1000;
	request.transport = &transport;
	request.easy = easy;
	request.call = &call;
	call.host = &host;
	call.http2 = true;
	call.read_retry_after = true;
	call.grpc_status = -1;
	request.content_length = -1;
	/* lines until an empty one, then the body */
	while (data < end)
	{
		const char *line_end = memchr(data, '\n', (size_t) (end - data));
		size_t		piece = line_end ? (size_t) (line_end + 1 - data) : (size_t) (end - data);

		hand_over(on_header, data, piece, &request);
		data += piece;
		if (piece <= 2)
			break;
	}
	while (data < end)
	{
		size_t		most = swollen ? 1024 : 7;
		size_t		piece = (size_t) (end - data) < most ? (size_t) (end - data) : most;

		hand_over(on_reply, data, piece, &request);
		data += piece;
	}
	if (call.reply_len > transport.limits.max_reply_size ||
		(call.reply != NULL && call.reply[call.reply_len] != '\0') ||
		call.grpc_status < -1 || call.grpc_status > 9999 ||
		(call.grpc_message != NULL && strlen(call.grpc_message) > MAX_GRPC_MESSAGE))
		abort();
	(void) dtm_classify_http(NULL, 200, call.reply ? call.reply : "", call.reply_len);
	(void) dtm_classify_grpc(call.grpc_status, call.grpc_message);
	if (call.retry_after != NULL &&
		(strlen(call.retry_after) > MAX_RETRY_AFTER ||
		 dtm_retry_after(call.retry_after, strlen(call.retry_after), 1700000000) < 0))
		abort();
	(void) dtm_retry_after(text, len, 1700000000);
	(void) dtm_status_set_parse(text, len, &set);
	check_time(started, len);
	dtm_call_release(&call);
	free(text);
	return 0;
}
