/*
 * fuzz_h2.c
 *		What stands above nghttp2, with all of the API: any frames of HTTP/2, in
 *		front of a database that answers at once, or never, by turns.
 */
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "log.h"
#include "netprivate.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static Request *kept;			/* not answered yet */

/* ---------- the database ---------- */

void
nodes_submit(Nodes *nodes, Request *request)
{
	static const Bytes part = {"{}", 2};
	Answer		answer = {.outcome = (Outcome) (request->body.len % 9), .message = "no", .sqlstate = "DT001",
	.parts = &part, .nparts = 1};

	(void) nodes;
	if (request->body.len % 2 == 0)
		request_finish(request, &answer);
	else
	{
		request->next = kept;
		kept = request;
	}
}

bool
nodes_is_ready(const Nodes *nodes)
{
	(void) nodes;
	return true;
}

bool
nodes_first_is_ready(const Nodes *nodes)
{
	(void) nodes;
	return true;
}

void
nodes_new_gid(Nodes *nodes, char gid[GID_SIZE])
{
	(void) nodes;
	gid_make(gid, "");
}

/* ---------- a connection without a socket ---------- */

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static HbaLine line = {.method = HBA_TRUST};
	Loop		loop = {.epoll = -1, .now = 1};
	Server		server = {.loop = &loop};
	Conn	   *conn = xcalloc(sizeof(Conn));
	Address		address = {.conns = 1};

	log_level = LOG_LEVEL_ERROR;
	server.config.max_body = 1000;
	server.config.body_time = 10;
	conn->server = &server;
	conn->handler = &api_handler;
	conn->watch.fd = -1;
	conn->access = &line;
	conn->counts = &address;
	conn->role = (char *) "dtm_api";
	conn->kind = CONN_H2;
	server.conns = conn;
	h2_start(conn);
	(void) h2_feed(conn, preface, sizeof(preface) - 1);
	/* in parts, with what is to be sent in between */
	for (size_t at = 0; at < size;)
	{
		size_t		part = 1 + data[at] % 64;

		if (part > size - at)
			part = size - at;
		if (!h2_feed(conn, (const char *) data + at, part) || !h2_send(conn))
			break;
		at += part;
		loop.now++;
		buf_free(&conn->out);
	}
	loop.now += 100;
	buf_free(&conn->out);
	h2_expire(conn);
	server_tick(&server);
	while (kept != NULL)
	{
		Request    *request = kept;

		kept = request->next;
		request_fail(request, OUTCOME_UNAVAILABLE, "later");
	}
	h2_shut_down(conn);
	(void) h2_send(conn);
	h2_free(conn);
	if (server.exchanges != NULL || address.in_flight != 0 || server.held != 0 || conn->held != 0)
		abort();
	buf_free(&conn->out);
	free(conn);
	return 0;
}
