/*
 * conn_h1.c
 *		Connections that speak HTTP/1.1: their requests become exchanges, one
 *		after the other.
 */
#include "netprivate.h"

#include "log.h"

#include <stdlib.h>
#include <string.h>

/* A request that can't be understood: it is told so, and that was it. */
void
h1_refuse(Conn *conn)
{
	int			status = conn->h1->status;
	const char *reason = conn->h1->reason;

	log_debug("%s: %d: %s", conn->address, status, reason);
	metrics[METRIC_BAD_REQUESTS]++;
	if (conn->exchange == NULL)
		conn->exchange = exchange_create(conn, 0);
	conn->h1->keep_alive = false;
	conn->in.len = 0;
	buf_free(&conn->h1->body);
	conn->handler->refuse(conn->exchange, status, reason);
}

static void
take_head(Conn *conn)
{
	const H1   *h1 = conn->h1;
	Exchange   *exchange = exchange_create(conn, 0);

	conn->exchange = exchange;
	conn->has_head = true;
	exchange->method = xstrdup(h1->method);
	exchange->target = xstrdup(h1->target);
	for (int i = 0; i < h1->nheaders; i++)
		exchange_header(exchange, h1->headers[i].name, strlen(h1->headers[i].name),
						h1->headers[i].value, strlen(h1->headers[i].value));
	if (h1->expects_continue)
	{
		buf_adds(&conn->out, "HTTP/1.1 100 Continue\r\n\r\n");
		conn_touch(conn);
	}
}

void
conn_next(Conn *conn, bool keep_alive)
{
	exchange_free(conn->exchange);
	conn->exchange = NULL;
	conn->begun = 0;
	conn->has_head = false;
	conn->active = conn->server->loop->now;
	if (keep_alive)
		h1_reset(conn->h1);
	else
	{
		conn->closing = true;
		conn->paused = true;
	}
	conn_touch(conn);
	/* the loop there goes on by itself, or each request would be a recursion */
	if (conn->processing)
		return;
	conn_resume(conn);
}

/* Requests one after the other: the next when the last has been answered. */
void
h1_process(Conn *conn)
{
	if (conn->processing)
		return;
	conn->processing = true;
	while (!conn->closed && !conn->closing && conn->in.len > 0 &&
		   (conn->exchange == NULL || !conn->exchange->complete))
	{
		size_t		used;
		H1Result	result;

		/* whoever sends requests has to read the responses */
		if (conn_is_full(conn))
		{
			conn->paused = true;
			break;
		}
		if (conn->begun == 0)
			conn->begun = conn->server->loop->now;
		result = h1_feed(conn->h1, conn->in.data, conn->in.len, &used);
		buf_drop(&conn->in, used);
		if (conn->has_head && result == H1_MORE &&
			!exchange_hold(conn->exchange, conn->h1->body.len))
		{
			conn->h1->status = 503;
			conn->h1->reason = TOO_MANY_BODIES;
			result = H1_BAD;
		}
		if (result == H1_BAD)
			h1_refuse(conn);
		else if (result == H1_HEAD)
		{
			take_head(conn);
			/* a request without a body is complete without a byte more */
			if (conn->h1->state == H1_AT_END)
				result = H1_DONE;
		}
		if (result == H1_DONE)
		{
			Exchange   *exchange = conn->exchange;

			exchange->complete = true;
			exchange_release(exchange);
			exchange->body = conn->h1->body;
			memset(&conn->h1->body, 0, sizeof(Buf));
			conn->begun = 0;
			/* it may be answered at once: then it is gone */
			conn->handler->handle(exchange);
		}
		if (result == H1_MORE && used == 0)
			break;
	}
	conn->processing = false;
	/* that was the last, or half of one */
	if (conn->peer_done && !conn->paused && (conn->exchange == NULL || !conn->exchange->complete))
	{
		conn->closing = true;
		conn_touch(conn);
	}
}
