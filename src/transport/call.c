/*
 * call.c
 *		A call in libcurl: the handle, its options, and the callbacks that
 *		store the response.
 *
 * The callbacks only store data: they run inside libcurl, and no error may
 * jump out of it.
 */
#include "private.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/*
 * Bytes that are read at a time, libcurl's minimum.  Each call in flight has
 * such a buffer, and thousands may be; and this size is one that malloc() has
 * a quick way for.  Most replies fit.
 */
#define RECEIVE_BUFFER_SIZE	1024L

/* Bytes of a Retry-After that are kept. */
#define MAX_RETRY_AFTER		64

/* Bytes of a grpc-message that are kept. */
#define MAX_GRPC_MESSAGE	4096

/* "Expect:" without a value: no round trip before a large body. */
const char *const dtm_default_headers[DTM_NDEFAULT_HEADERS] = {
	"Content-Type: application/json",
	"Accept: application/json",
	"Accept-Encoding: identity",
	DTM_USER_AGENT,
	"Expect:"
};

/* ---------- libcurl's callbacks ---------- */

static size_t
on_reply(char *data, size_t size, size_t nmemb, void *arg)
{
	DtmRequest *request = arg;
	DtmCall    *call = request->call;
	size_t		len = size * nmemb;

	if (call->reply_len + len > request->transport->limits.max_reply_size)
	{
		request->too_long = true;
		return 0;				/* ends the transfer */
	}
	switch (reply_grow(request, call->reply_len + len))
	{
		case REPLY_FITS:
			break;
		case REPLY_WAITS:
			if (!call->http2)
			{
				reply_pause(request);
				return CURL_WRITEFUNC_PAUSE;
			}
			request->is_crowded = true;
			return 0;
		case REPLY_FAILS:
			return 0;
	}
	memcpy(call->reply + call->reply_len, data, len);
	call->reply_len += len;
	call->reply[call->reply_len] = '\0';
	return len;
}

/*
 * Why the transfer is ended; libcurl's own reason would be that a callback did
 * not take what it was given.
 */
static bool
reject(DtmRequest *request, const char *format, const char *detail)
{
	snprintf(request->rejected, sizeof(request->rejected), format, detail);
	return false;
}

/* The value of a header line if it has this name, without blanks around it. */
static const char *
value_of(const char *line, size_t len, const char *name, size_t *value_len)
{
	size_t		name_len = strlen(name);
	const char *value = line + name_len + 1;
	const char *end = line + len;

	if (len <= name_len || line[name_len] != ':' ||
		strncasecmp(line, name, name_len) != 0)
		return NULL;
	while (value < end && (*value == ' ' || *value == '\t'))
		value++;
	while (end > value && (end[-1] == '\r' || end[-1] == '\n' ||
						   end[-1] == ' ' || end[-1] == '\t'))
		end--;
	*value_len = (size_t) (end - value);
	return value;
}

static void
take_grpc_status(DtmCall *call, const char *value, size_t len)
{
	int			status = 0;

	if (len == 0 || len > 4)
		return;
	for (size_t i = 0; i < len; i++)
	{
		if (value[i] < '0' || value[i] > '9')
			return;
		status = status * 10 + (value[i] - '0');
	}
	call->grpc_status = status;
}

/* grpc-message is percent-encoded; where it is not well-formed, it is kept. */
static void
take_grpc_message(DtmRequest *request, const char *value, size_t len)
{
	DtmCall    *call = request->call;
	int			decoded_len;
	char	   *decoded;

	if (len == 0)
		return;
	if (len > MAX_GRPC_MESSAGE)
		len = MAX_GRPC_MESSAGE;
	decoded = curl_easy_unescape(request->easy, value, (int) len, &decoded_len);
	if (decoded == NULL)
		return;
	free(call->grpc_message);
	call->grpc_message = malloc((size_t) decoded_len + 1);
	if (call->grpc_message != NULL)
	{
		memcpy(call->grpc_message, decoded, (size_t) decoded_len);
		for (int i = 0; i < decoded_len; i++)
			if (call->grpc_message[i] == '\0')
				call->grpc_message[i] = ' ';
		call->grpc_message[decoded_len] = '\0';
	}
	curl_free(decoded);
}

/* Of several, the last one; longer ones are neither a number nor a date. */
static void
take_retry_after(DtmCall *call, const char *value, size_t len)
{
	free(call->retry_after);
	call->retry_after = len <= MAX_RETRY_AFTER ? strndup(value, len) : NULL;
}

/* A number of nothing but digits; -1: it is none. */
static int64_t
content_length_of(const char *value, size_t len)
{
	int64_t		number = 0;

	for (size_t i = 0; i < len; i++)
	{
		if (value[i] < '0' || value[i] > '9' || number > INT64_MAX / 10 - 1)
			return -1;
		number = number * 10 + (value[i] - '0');
	}
	return len > 0 ? number : -1;
}

/*
 * Takes the headers by which the end of a body is known, and what its bytes
 * mean; false: they can't be right, or are not what was asked for.  libcurl
 * takes the last of several lengths, and a compressed body that has lost its
 * end for a whole one.
 */
static bool
take_framing(DtmRequest *request, const char *line, size_t len)
{
	const char *value;
	size_t		value_len;
	char		text[40];
	bool		was_framing = request->in_framing;

	request->in_framing = true;
	if ((value = value_of(line, len, "content-length", &value_len)) != NULL)
	{
		int64_t		number = content_length_of(value, value_len);

		snprintf(text, sizeof(text), "%.*s", (int) value_len, value);
		if (number < 0)
			return reject(request, "reply has the Content-Length \"%s\", which is no number", text);
		if (request->content_length >= 0 && request->content_length != number)
			return reject(request, "reply has two different Content-Lengths, the second is %s", text);
		request->content_length = number;
		return true;
	}
	if ((value = value_of(line, len, "content-encoding", &value_len)) != NULL)
	{
		snprintf(text, sizeof(text), "%.*s", (int) value_len, value);
		request->is_encoded = value_len > 0 && strcasecmp(text, "identity") != 0;
		return !request->is_encoded ||
			reject(request, "reply has the Content-Encoding \"%s\", but identity was asked for", text);
	}
	if ((value = value_of(line, len, "transfer-encoding", &value_len)) != NULL)
	{
		snprintf(text, sizeof(text), "%.*s", (int) value_len, value);
		return strcasecmp(text, "chunked") == 0 || strcasecmp(text, "identity") == 0 ||
			reject(request, "reply has the Transfer-Encoding \"%s\", but chunked at most was asked for", text);
	}
	request->in_framing = was_framing && (line[0] == ' ' || line[0] == '\t');
	return !request->in_framing ||
		reject(request, "reply has a header on two lines that says where it ends%s", "");
}

/* Headers and trailers; of a reply that has no body they are all headers. */
static size_t
on_header(char *data, size_t size, size_t nmemb, void *arg)
{
	DtmRequest *request = arg;
	size_t		len = size * nmemb;
	const char *value;
	size_t		value_len;

	request->header_len += len;
	if (request->header_len > MAX_HEADER_LEN)
		return 0;				/* ends the transfer */
	if (len <= 2)
	{
		/* the empty line: behind an interim reply another one begins */
		request->content_length = -1;
		request->in_framing = false;
	}
	else if (!take_framing(request, data, len))
		return 0;
	if (request->call->read_retry_after &&
		(value = value_of(data, len, "retry-after", &value_len)) != NULL)
		take_retry_after(request->call, value, value_len);
	if (!request->call->http2)
		return len;
	if ((value = value_of(data, len, "grpc-status", &value_len)) != NULL)
		take_grpc_status(request->call, value, value_len);
	else if ((value = value_of(data, len, "grpc-message", &value_len)) != NULL)
		take_grpc_message(request, value, value_len);
	return len;
}

#if LIBCURL_VERSION_NUM >= 0x075000
/*
 * Before the request is sent, on a connection that may have been there before
 * its address was forbidden.
 */
static int
on_connected(void *arg, char *address, char *local_address, int port, int local_port)
{
	DtmRequest *request = arg;

	(void) local_address;
	(void) port;
	(void) local_port;
	if (request->transport->limits.forbidden.n == 0 ||
		!dtm_address_text_listed(&request->transport->limits.forbidden, address))
		return CURL_PREREQFUNC_OK;
	snprintf(request->forbidden, sizeof(request->forbidden), "%s", address);
	return CURL_PREREQFUNC_ABORT;
}
#endif

/* ---------- handles ---------- */

/*
 * Sets an option unless one before has failed.  Which one has stands in "error",
 * of DTM_CALL_ERROR_SIZE.
 */
#define SETOPT(option, value) \
	do { \
		if (rc == CURLE_OK && (rc = curl_easy_setopt(easy, option, value)) != CURLE_OK) \
			snprintf(error, DTM_CALL_ERROR_SIZE, "could not set " #option ": %s", \
					 curl_easy_strerror(rc)); \
	} while (0)

/* Options that are the same for every call. */
static bool
prepare_handle(DtmRequest *request, char *error)
{
	CURL	   *easy = request->easy;
	CURLcode	rc = CURLE_OK;

	SETOPT(CURLOPT_NOSIGNAL, 1L);
	SETOPT(CURLOPT_PRIVATE, request);
	SETOPT(CURLOPT_ERRORBUFFER, request->error);
	SETOPT(CURLOPT_WRITEFUNCTION, on_reply);
	SETOPT(CURLOPT_WRITEDATA, request);
	SETOPT(CURLOPT_HEADERFUNCTION, on_header);
	SETOPT(CURLOPT_HEADERDATA, request);
	SETOPT(CURLOPT_OPENSOCKETFUNCTION, open_socket);
	SETOPT(CURLOPT_OPENSOCKETDATA, request);
#if LIBCURL_VERSION_NUM >= 0x075000
	SETOPT(CURLOPT_PREREQFUNCTION, on_connected);
	SETOPT(CURLOPT_PREREQDATA, request);
#endif
	SETOPT(CURLOPT_CLOSESOCKETFUNCTION, close_socket);
	SETOPT(CURLOPT_CLOSESOCKETDATA, request->transport);
	SETOPT(CURLOPT_FOLLOWLOCATION, 0L);
	SETOPT(CURLOPT_BUFFERSIZE, RECEIVE_BUFFER_SIZE);
	SETOPT(CURLOPT_SSL_VERIFYPEER, 1L);
	SETOPT(CURLOPT_SSL_VERIFYHOST, 2L);
	/* a key that is encrypted is an error, not a question at a terminal */
	SETOPT(CURLOPT_KEYPASSWD, "");
#if LIBCURL_VERSION_NUM >= 0x075700
	/* authorities that were exchanged are noticed within a minute, not a day */
	SETOPT(CURLOPT_CA_CACHE_TIMEOUT, 60L);
#endif
	/* the server's environment must not decide where calls go */
	SETOPT(CURLOPT_PROXY, "");
	SETOPT(CURLOPT_NOPROXY, "*");
#if LIBCURL_VERSION_NUM >= 0x075500
	SETOPT(CURLOPT_PROTOCOLS_STR, "http,https");
#else
	SETOPT(CURLOPT_PROTOCOLS, (long) (CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
	/* a look-up that hangs is left behind, not waited for */
	SETOPT(CURLOPT_QUICK_EXIT, 1L);
#endif
	return rc == CURLE_OK;
}

DtmRequest *
request_get(DtmTransport *t, char *error)
{
	DtmRequest *request = t->free_requests;

	if (request != NULL)
	{
		t->free_requests = request->next;
		return request;
	}
	request = calloc(1, sizeof(DtmRequest));
	if (request == NULL)
		return NULL;
	request->transport = t;
	request->easy = curl_easy_init();
	if (request->easy == NULL || !prepare_handle(request, error))
	{
		curl_easy_cleanup(request->easy);
		free(request);
		return NULL;
	}
	request->next_of_all = t->all_requests;
	t->all_requests = request;
	return request;
}

void
request_put(DtmTransport *t, DtmRequest *request)
{
	curl_slist_free_all(request->headers);
	request->headers = NULL;
	request->call = NULL;
	request->next = t->free_requests;
	t->free_requests = request;
}

/* Which HTTP it speaks, and on what connection. */
static CURLcode
prepare_connection(DtmTransport *t, DtmRequest *request, const DtmCall *call, char *error)
{
	CURL	   *easy = request->easy;
	CURLcode	rc = CURLE_OK;
	bool		tls = url_is_tls(call->url);
	long		fresh = call->http2 && !http2_can_reuse();

	SETOPT(CURLOPT_HTTP_VERSION,
		   !call->http2 ? (long) CURL_HTTP_VERSION_1_1 :
		   tls ? (long) CURL_HTTP_VERSION_2TLS :
		   (long) CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
	SETOPT(CURLOPT_FRESH_CONNECT, fresh);
	SETOPT(CURLOPT_FORBID_REUSE, fresh);
	SETOPT(CURLOPT_CONNECTTIMEOUT_MS, (long) (call->connect_timeout / 1000));
	if (!tls)
		return rc;
	if (call->ca_file != NULL || t->limits.ca_file[0] != '\0')
	{
		request->has_ca_file = true;
		SETOPT(CURLOPT_CAINFO, call->ca_file != NULL ? call->ca_file : t->limits.ca_file);
	}
	if (call->client_cert != NULL)
	{
		request->has_client_cert = true;
		SETOPT(CURLOPT_SSLCERT, call->client_cert);
		SETOPT(CURLOPT_SSLKEY, call->client_key != NULL ? call->client_key : call->client_cert);
	}
	return rc;
}

static bool
is_host_character(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9') || (c != '\0' && strchr("-._:[]", c) != NULL);
}

/*
 * Where the path of a URL begins, if that and the query can be sent as they
 * are, to whom the host's name says.  NULL: libcurl has to look at it, which
 * knows about users and encoded names, takes dots out of paths, and refuses
 * what no URL may have in it.
 */
static const char *
ready_target(const char *url)
{
	const char *authority = url_authority(url);
	const char *path = authority;

	if (authority == NULL)
		return NULL;
	while (is_host_character(*path))
		path++;
	if (path == authority || *path != '/')
		return NULL;
	for (const char *c = path; *c; c++)
		if (*c <= ' ' || *c > '~' || *c == '#' ||
			((*c == '.' || *c == '%') && c[-1] == '/')) /* %2e is a dot, too */
			return NULL;
	return path;
}

/*
 * Whom to ask, and what for.  libcurl takes a URL apart and puts it together
 * again for each transfer, printing byte by byte; so what can be is given to
 * it as it needs it: the host as a handle that is parsed once, path and query
 * as the target, which it copies.
 */
static CURLcode
prepare_url(CURL *easy, const DtmCall *call, char *error)
{
	const char *target = call->host->url != NULL ? ready_target(call->url) : NULL;
	CURLcode	rc = CURLE_OK;

	/*
	 * in this order: from 8.12 on, the handle (even none) takes the place of
	 * what was set before
	 */
	SETOPT(CURLOPT_CURLU, target != NULL ? call->host->url : NULL);
	SETOPT(CURLOPT_URL, target != NULL ? call->host->name : call->url);
	SETOPT(CURLOPT_REQUEST_TARGET, target);
	return rc;
}

/* Options of one call. */
bool
request_prepare(DtmTransport *t, DtmRequest *request, DtmCall *call)
{
	CURL	   *easy = request->easy;
	char	   *error = call->error;
	struct curl_slist *headers = t->default_headers;
	CURLcode	rc;

	for (int i = 0; i < call->nheaders; i++)
	{
		struct curl_slist *list = curl_slist_append(request->headers,
													call->headers[i]);

		if (list == NULL)
			return false;
		request->headers = list;
		headers = list;
	}
	if (url_is_tls(call->url) &&
		((request->has_ca_file && call->ca_file == NULL && t->limits.ca_file[0] == '\0') ||
		 (request->has_client_cert && call->client_cert == NULL)))
	{
		/*
		 * back to showing nothing, and to the system's authorities, whose
		 * place libcurl knows
		 */
		curl_easy_reset(easy);
		if (!prepare_handle(request, error))
			return false;
		request->has_ca_file = request->has_client_cert = request->has_method = false;
	}
	for (int i = 0; i < DTM_NOWN_HEADERS; i++)
		if (call->own_headers[i] != NULL)
		{
			/* libcurl takes no copy of a list, and changes nothing in it */
			request->own_headers[i].data = (char *) call->own_headers[i];
			request->own_headers[i].next = headers;
			headers = &request->own_headers[i];
		}
	rc = prepare_connection(t, request, call, error);
	if (rc == CURLE_OK)
		rc = prepare_url(easy, call, error);
	if (call->post)
	{
		SETOPT(CURLOPT_POST, 1L);
		SETOPT(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) call->body_len);
		SETOPT(CURLOPT_POSTFIELDS, call->body ? call->body : "");
	}
	else
		SETOPT(CURLOPT_HTTPGET, 1L);
	if (call->method != NULL || request->has_method)
	{
		request->has_method = call->method != NULL;
		SETOPT(CURLOPT_CUSTOMREQUEST, call->method);
		/* else its body would be waited for; the next POST or GET ends that */
		if (call->method != NULL && strcmp(call->method, "HEAD") == 0)
			SETOPT(CURLOPT_NOBODY, 1L);
	}
	SETOPT(CURLOPT_HTTPHEADER, headers);
	return rc == CURLE_OK;
}

struct curl_slist *
make_default_headers(void)
{
	struct curl_slist *headers = NULL;

	for (int i = 0; i < DTM_NDEFAULT_HEADERS; i++)
	{
		struct curl_slist *longer = curl_slist_append(headers,
													  dtm_default_headers[i]);

		if (longer == NULL)
		{
			curl_slist_free_all(headers);
			return NULL;
		}
		headers = longer;
	}
	return headers;
}
