/*
 * h2.c
 *		HTTP/2, by nghttp2: streams become exchanges, and responses go out with
 *		their trailers.
 *
 * What nghttp2 does not limit by itself is limited here: streams at a time,
 * bytes of headers and bodies, and frames that cost more to answer than to send.
 */
#include "netprivate.h"

#include "log.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

#define MAX_STREAMS		1000

/* Headers of a response beside those that each has. */
#define MAX_EXTRA		16

/* Bytes that a client may send before it has to wait for us. */
#define WINDOW_SIZE		(1024 * 1024)

/*
 * Resets, pings and settings that a client may send at once, and how many more
 * each second.
 */
#define MAX_BURST		1000
#define BURST_RATE		33

typedef struct H2
{
	nghttp2_session *session;
	int			streams;		/* open ones */
	bool		shut_down;		/* GOAWAY was sent */
	int64_t		tokens;			/* of costly frames, times USEC_PER_SEC */
	int64_t		counted;		/* when they were */
} H2;

/* ---------- what comes ---------- */

static int
on_begin_headers(nghttp2_session * session, const nghttp2_frame * frame, void *data)
{
	Conn	   *conn = data;
	Exchange   *exchange;

	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	exchange = exchange_create(conn, frame->hd.stream_id);
	conn->h2->streams++;
	(void) nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, exchange);
	return 0;
}

static int
on_header(nghttp2_session * session, const nghttp2_frame * frame,
		  const uint8_t *name, size_t name_len, const uint8_t *value,
		  size_t value_len, uint8_t flags, void *data)
{
	Exchange   *exchange = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

	(void) flags;
	(void) data;
	/* trailers of a request mean nothing to us, but they count */
	if (exchange != NULL)
		exchange_header(exchange, (const char *) name, name_len,
						(const char *) value, value_len);
	return 0;
}

static int
on_data_chunk(nghttp2_session * session, uint8_t flags, int32_t stream,
			  const uint8_t *bytes, size_t len, void *data)
{
	Exchange   *exchange = nghttp2_session_get_stream_user_data(session, stream);
	Conn	   *conn = data;

	(void) flags;

	/*
	 * Of one that is answered already, the rest is let in for a while: a
	 * stream that is reset might take the response with it.
	 */
	if (exchange == NULL || exchange->replied)
		return 0;
	if (len > conn->server->config.max_body - exchange->body.len)
	{
		exchange->too_large = true;
		conn->handler->refuse(exchange, 413, "body too large");
		return 0;
	}
	buf_add(&exchange->body, bytes, len);
	if (!exchange_hold(exchange, exchange->body.len))
		conn->handler->refuse(exchange, 503, TOO_MANY_BODIES);
	return 0;
}

/* A frame that costs us more than its sender.  False: it sends too many. */
static bool
spend(Conn *conn)
{
	H2		   *h2 = conn->h2;
	int64_t		now = conn->server->loop->now;

	h2->tokens += (now - h2->counted) * BURST_RATE;
	if (h2->tokens > MAX_BURST * USEC_PER_SEC)
		h2->tokens = MAX_BURST * USEC_PER_SEC;
	h2->counted = now;
	h2->tokens -= USEC_PER_SEC;
	return h2->tokens >= 0;
}

static int
on_frame_recv(nghttp2_session * session, const nghttp2_frame * frame, void *data)
{
	Conn	   *conn = data;
	Exchange   *exchange;

	switch (frame->hd.type)
	{
		case NGHTTP2_RST_STREAM:
		case NGHTTP2_PING:
		case NGHTTP2_SETTINGS:
		case NGHTTP2_PRIORITY:
			if (!spend(conn))
			{
				log_debug("%s: too many frames of type %d", conn->address, frame->hd.type);
				(void) nghttp2_session_terminate_session(session, NGHTTP2_ENHANCE_YOUR_CALM);
			}
			return 0;
		case NGHTTP2_HEADERS:
		case NGHTTP2_DATA:
			break;
		default:
			return 0;
	}
	exchange = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (exchange != NULL && exchange->replied && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
		exchange->complete = true;
	if (exchange == NULL || exchange->replied)
		return 0;
	if (exchange->too_large)
		conn->handler->refuse(exchange, 431, "headers too large");
	else if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
	{
		exchange->complete = true;
		exchange_release(exchange);
		conn->handler->handle(exchange);
	}
	return 0;
}

static int
on_stream_close(nghttp2_session * session, int32_t stream, uint32_t error, void *data)
{
	Exchange   *exchange = nghttp2_session_get_stream_user_data(session, stream);
	Conn	   *conn = data;

	(void) error;
	if (exchange == NULL)
		return 0;
	(void) nghttp2_session_set_stream_user_data(session, stream, NULL);
	exchange_free(exchange);
	conn->h2->streams--;
	conn->active = conn->server->loop->now;
	return 0;
}

static nghttp2_session *
make_session(Conn *conn)
{
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *option;
	nghttp2_session *session = NULL;

	if (nghttp2_session_callbacks_new(&callbacks) != 0)
		return NULL;
	if (nghttp2_option_new(&option) != 0)
	{
		nghttp2_session_callbacks_del(callbacks);
		return NULL;
	}
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	/* closed streams are not kept for priorities */
	nghttp2_option_set_no_closed_streams(option, 1);
	nghttp2_option_set_max_send_header_block_length(option, MAX_HEADER_BYTES);
	(void) nghttp2_session_server_new2(&session, callbacks, conn, option);
	nghttp2_option_del(option);
	nghttp2_session_callbacks_del(callbacks);
	return session;
}

void
h2_start(Conn *conn)
{
	const		nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, MAX_STREAMS},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_SIZE},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, MAX_HEADER_BYTES}
	};

	conn->h2 = xcalloc(sizeof(H2));
	conn->h2->tokens = MAX_BURST * USEC_PER_SEC;
	conn->h2->counted = conn->server->loop->now;
	conn->h2->session = make_session(conn);
	if (conn->h2->session == NULL)
	{
		conn->closing = true;
		return;
	}
	(void) nghttp2_submit_settings(conn->h2->session, NGHTTP2_FLAG_NONE, settings,
								   sizeof(settings) / sizeof(settings[0]));
	(void) nghttp2_session_set_local_window_size(conn->h2->session, NGHTTP2_FLAG_NONE, 0,
												 WINDOW_SIZE);
}

bool
h2_feed(Conn *conn, const char *data, size_t len)
{
	ssize_t		n;

	if (conn->h2 == NULL || conn->h2->session == NULL)
		return false;
	n = nghttp2_session_mem_recv(conn->h2->session, (const uint8_t *) data, len);
	if (n < 0)
	{
		log_debug("%s: HTTP/2: %s", conn->address, nghttp2_strerror((int) n));
		metrics[METRIC_BAD_REQUESTS]++;
		/* why, if it can still be told */
		(void) nghttp2_session_terminate_session(conn->h2->session,
												 n == NGHTTP2_ERR_BAD_CLIENT_MAGIC ?
												 NGHTTP2_PROTOCOL_ERROR :
												 NGHTTP2_ENHANCE_YOUR_CALM);
		(void) h2_send(conn);
		return false;
	}
	return true;
}

/* ---------- what goes ---------- */

bool
h2_send(Conn *conn)
{
	nghttp2_session *session = conn->h2 ? conn->h2->session : NULL;
	const uint8_t *bytes;
	ssize_t		n;

	if (session == NULL)
		return false;
	while (conn->out.len - conn->out_sent < MAX_HEADER_BYTES * 4 &&
		   (n = nghttp2_session_mem_send(session, &bytes)) != 0)
	{
		if (n < 0)
			return false;
		buf_add(&conn->out, bytes, (size_t) n);
	}
	return nghttp2_session_want_read(session) || nghttp2_session_want_write(session);
}

static nghttp2_nv
header(const char *name, const char *value)
{
	nghttp2_nv	nv = {
		(uint8_t *) name, (uint8_t *) value, strlen(name), strlen(value),
		NGHTTP2_NV_FLAG_NONE
	};

	return nv;
}

/* Takes the next bytes of a response, and puts its trailers behind them. */
static ssize_t
read_response(nghttp2_session * session, int32_t stream, uint8_t *bytes,
			  size_t len, uint32_t *flags, nghttp2_data_source * source, void *data)
{
	Exchange   *exchange = source->ptr;
	size_t		left = exchange->response.len - exchange->sent;
	size_t		n = left < len ? left : len;

	(void) data;
	if (n > 0)
		memcpy(bytes, exchange->response.data + exchange->sent, n);
	exchange->sent += n;
	if (n > 0)
		exchange->moved = exchange->conn->server->loop->now;
	if (n < left)
		return (ssize_t) n;
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	if (exchange->trailers)
	{
		nghttp2_nv	nv = header("grpc-status", "0");

		*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
		(void) nghttp2_submit_trailer(session, stream, &nv, 1);
	}
	return (ssize_t) n;
}

void
h2_respond(Exchange *exchange, int status, const char *type, const char *extra)
{
	nghttp2_data_provider provider = {.source.ptr = exchange, .read_callback = read_response};
	char		code[16];
	char		length[32];
	char	   *lines[2 * MAX_EXTRA] = {NULL};
	nghttp2_nv	nv[3 + MAX_EXTRA];
	int			nlines = 0;
	size_t		n = 0;

	(void) snprintf(code, sizeof(code), "%d", status);
	(void) snprintf(length, sizeof(length), "%zu", exchange->response.len);
	nv[n++] = header(":status", code);
	nv[n++] = header("content-type", type);
	nv[n++] = header("content-length", length);
	/* "Name: value\r\n" of HTTP/1.1, any number of them */
	while (extra != NULL && *extra != '\0' && nlines < 2 * MAX_EXTRA)
	{
		size_t		len = strcspn(extra, ":");
		char	   *name = xstrndup(extra, len);
		char	   *value = xstrndup(extra + len + 2, strcspn(extra + len + 2, "\r"));

		for (size_t i = 0; i < len; i++)
			name[i] = ascii_lower(name[i]);
		nv[n++] = header(name, value);
		extra += len + 2 + strlen(value) + 2;
		lines[nlines++] = name;
		lines[nlines++] = value;
	}
	(void) nghttp2_submit_response(exchange->conn->h2->session, exchange->stream, nv, n,
								   &provider);
	while (nlines > 0)
		free(lines[--nlines]);
	conn_touch(exchange->conn);
}

void
h2_respond_grpc(Exchange *exchange, int status, const char *message)
{
	nghttp2_data_provider provider = {.source.ptr = exchange, .read_callback = read_response};
	char		code[16];
	nghttp2_nv	nv[5];
	size_t		n = 0;

	(void) snprintf(code, sizeof(code), "%d", status);
	nv[n++] = header(":status", "200");
	nv[n++] = header("content-type", "application/grpc");
	if (!exchange->trailers)
	{
		/* an error has no message: all of it is one block of headers */
		nv[n++] = header("grpc-status", code);
		nv[n++] = header("grpc-message", message);
		if (status == 12)
			nv[n++] = header("grpc-accept-encoding", "identity");
	}
	(void) nghttp2_submit_response(exchange->conn->h2->session, exchange->stream, nv, n,
								   exchange->trailers ? &provider : NULL);
	conn_touch(exchange->conn);
}

/* ---------- life ---------- */

void
h2_shut_down(Conn *conn)
{
	H2		   *h2 = conn->h2;

	if (h2 == NULL || h2->session == NULL || h2->shut_down)
		return;
	h2->shut_down = true;
	(void) nghttp2_submit_goaway(h2->session, NGHTTP2_FLAG_NONE,
								 nghttp2_session_get_last_proc_stream_id(h2->session),
								 NGHTTP2_NO_ERROR, NULL, 0);
	conn_touch(conn);
}

int
h2_streams(const Conn *conn)
{
	return conn->h2 ? conn->h2->streams : 0;
}

void
h2_expire(Conn *conn)
{
	Exchange   *next;
	int64_t		until = conn->server->loop->now - conn->server->config.body_time;

	if (conn->h2 == NULL || conn->h2->streams == 0)
		return;
	for (Exchange *exchange = conn->server->exchanges; exchange != NULL; exchange = next)
	{
		next = exchange->next;
		if (exchange->conn != conn || exchange->began >= until)
			continue;
		if (!exchange->complete && !exchange->replied)
			conn->handler->refuse(exchange, 408, "the request did not come in time");
		else if (exchange->replied && (!exchange->complete || exchange->moved < until))
		{
			/* its client still sends, or opens no window for it */
			(void) nghttp2_submit_rst_stream(conn->h2->session, NGHTTP2_FLAG_NONE,
											 exchange->stream, NGHTTP2_CANCEL);
			conn_touch(conn);
		}
	}
}

void
h2_free(Conn *conn)
{
	Exchange   *next;

	for (Exchange *exchange = conn->server->exchanges; exchange != NULL; exchange = next)
	{
		next = exchange->next;
		if (exchange->conn == conn)
			exchange_free(exchange);
	}
	nghttp2_session_del(conn->h2->session);
	free(conn->h2);
	conn->h2 = NULL;
}
