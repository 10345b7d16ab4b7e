/*
 * exchange.c
 *		A request and its response, over HTTP/1.1 or HTTP/2.
 */
#include "netprivate.h"

#include "grpc.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* Most headers of a request. */
#define MAX_HEADERS	100

/*
 * Bytes of bodies that are not complete, beside four of the largest: of a
 * connection, and of all.
 */
#define MAX_CONN_HELD	((size_t) 8 * 1024 * 1024)
#define MAX_HELD		((size_t) 128 * 1024 * 1024)

Exchange *
exchange_create(Conn *conn, int32_t stream)
{
	Exchange   *exchange = xcalloc(sizeof(Exchange));

	exchange->conn = conn;
	exchange->stream = stream;
	exchange->api = "other";
	exchange->began = conn->server->loop->now;
	exchange->next = conn->server->exchanges;
	if (exchange->next != NULL)
		exchange->next->prev = exchange;
	conn->server->exchanges = exchange;
	return exchange;
}

bool
exchange_hold(Exchange *exchange, size_t len)
{
	Conn	   *conn = exchange->conn;
	size_t		large = 4 * conn->server->config.max_body;

	conn->held += len - exchange->held;
	conn->server->held += len - exchange->held;
	exchange->held = len;
	return conn->held <= MAX_CONN_HELD + large && conn->server->held <= MAX_HELD + large;
}

void
exchange_release(Exchange *exchange)
{
	exchange->conn->held -= exchange->held;
	exchange->conn->server->held -= exchange->held;
	exchange->held = 0;
}

void
exchange_free(Exchange *exchange)
{
	exchange_release(exchange);
	if (exchange->prev != NULL)
		exchange->prev->next = exchange->next;
	else
		exchange->conn->server->exchanges = exchange->next;
	if (exchange->next != NULL)
		exchange->next->prev = exchange->prev;
	/* its effect stays; nobody is told of it */
	if (exchange->request != NULL)
		exchange->request->owner = NULL;
	free(exchange->method);
	free(exchange->target);
	free(exchange->host);
	free(exchange->content_type);
	free(exchange->authorization);
	free(exchange->grpc_timeout);
	free(exchange->origin);
	buf_free(&exchange->body);
	buf_free(&exchange->rpc_id);
	buf_free(&exchange->response);
	free(exchange);
}

void
exchange_header(Exchange *exchange, const char *name, size_t name_len,
				const char *value, size_t value_len)
{
	const struct
	{
		const char *name;
		char	  **place;
	}			kept[] = {
		{":method", &exchange->method}, {":path", &exchange->target},
		{":authority", &exchange->host}, {"host", &exchange->host},
		{"content-type", &exchange->content_type},
		{"authorization", &exchange->authorization},
		{"grpc-timeout", &exchange->grpc_timeout}, {"origin", &exchange->origin}
	};

	exchange->header_bytes += name_len + value_len + 32;
	if (++exchange->nheaders > MAX_HEADERS || exchange->header_bytes > MAX_HEADER_BYTES)
	{
		exchange->too_large = true;
		return;
	}
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		if (strlen(kept[i].name) == name_len && memcmp(kept[i].name, name, name_len) == 0 &&
			*kept[i].place == NULL)
			*kept[i].place = xstrndup(value, value_len);
	/* SDKs do not send it; a browser does */
	if (name_len == 14 && memcmp(name, "sec-fetch-site", 14) == 0 &&
		!(value_len == 11 && memcmp(value, "same-origin", 11) == 0) &&
		!(value_len == 4 && memcmp(value, "none", 4) == 0))
		exchange->cross_site = true;
}

/* The header Date, made once a second. */
static const char *
date(int64_t now)
{
	static char text[64];
	static int64_t made = -1;

	if (made != now / USEC_PER_SEC)
	{
		time_t		seconds = time(NULL);
		struct tm	tm;

		(void) gmtime_r(&seconds, &tm);
		(void) strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &tm);
		made = now / USEC_PER_SEC;
	}
	return text;
}

static void
count(const Exchange *exchange, int status)
{
	static const MetricType types[] = {METRIC_HTTP, METRIC_JSONRPC, METRIC_GRPC};

	metrics_count(types[exchange->kind], exchange->api, status,
				  exchange->conn->server->loop->now - exchange->began);
}

/* Of what comes in from now on, nothing is kept. */
static void
begin_reply(Exchange *exchange, int status)
{
	exchange->replied = true;
	exchange->moved = exchange->conn->server->loop->now;
	exchange_release(exchange);
	if (!exchange->complete)
		buf_free(&exchange->body);
	count(exchange, status);
}

void
exchange_reply(Exchange *exchange, int status, const char *type,
			   const char *extra, const char *body, size_t len)
{
	Conn	   *conn = exchange->conn;
	bool		head = exchange->method != NULL && strcmp(exchange->method, "HEAD") == 0;
	bool		keep_alive;

	if (exchange->replied)
		return;
	begin_reply(exchange, status);
	if (exchange->stream != 0)
	{
		if (!head)
			buf_add(&exchange->response, body, len);
		h2_respond(exchange, status, type, extra);
		return;
	}
	keep_alive = conn->h1 != NULL && conn->h1->keep_alive && exchange->complete &&
		!conn->server->stopping;
	buf_printf(&conn->out, "HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s%s\r\n",
			   status, h1_phrase(status), date(conn->server->loop->now), type, len,
			   extra ? extra : "", keep_alive ? "" : "Connection: close\r\n");
	if (!head)
		buf_add(&conn->out, body, len);
	conn_next(conn, keep_alive);
}

void
exchange_reply_grpc(Exchange *exchange, int status, const char *message,
					const Buf *reply)
{
	Buf			encoded = {0};

	if (exchange->replied)
		return;
	begin_reply(exchange, status);
	if (status == GRPC_OK)
	{
		size_t		begin = grpc_begin_frame(&exchange->response);

		if (reply != NULL)
			buf_add(&exchange->response, reply->data, reply->len);
		grpc_end_frame(&exchange->response, begin);
		exchange->trailers = true;
	}
	grpc_encode_message(&encoded, message ? message : "");
	h2_respond_grpc(exchange, status, buf_string(&encoded));
	buf_free(&encoded);
}
