/*
 * server.c
 *		All connections: what is sent at the end of a turn, time limits, and the
 *		stop.
 */
#include "netprivate.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* How long a client is listened to that has got its last response, in us. */
#define LINGER_TIME		(2 * USEC_PER_SEC)

void
server_flush(Server *server)
{
	while (server->dirty != NULL)
	{
		Conn	   *conn = server->dirty;

		server->dirty = conn->next_dirty;
		conn->is_dirty = false;
		conn_flush(conn);
	}
	while (server->dead != NULL)
	{
		Conn	   *conn = server->dead;

		server->dead = conn->next;
		conn_free(conn);
	}
}

/*
 * Does its client take something, though it is too little for the kernel to have
 * room for more?  Megabytes may be on their way.
 */
static bool
is_taken(Conn *conn)
{
	int			unacked;

	if (ioctl(conn->watch.fd, SIOCOUTQ, &unacked) != 0 || unacked == conn->unacked)
		return false;
	conn->unacked = unacked;
	conn->blocked = conn->server->loop->now;
	return true;
}

static void
tick_conn(Conn *conn)
{
	const ServerConfig *config = &conn->server->config;
	int64_t		now = conn->server->loop->now;
	bool		answering = conn->exchange != NULL && conn->exchange->complete;

	if ((conn->blocked != 0 && conn->blocked + config->body_time < now && !is_taken(conn)) ||
		(conn->lingering && conn->begun + LINGER_TIME < now))
	{
		conn_close(conn);		/* it does not read its response, or never
								 * ends */
		return;
	}
	if (conn->lingering)
		return;
	if (conn->begun != 0 && !answering && !conn->paused &&
		conn->begun + (conn->has_head ? config->body_time : config->head_time) < now)
	{
		if (conn->kind == CONN_H1 && conn->h1->status == 0)
		{
			conn->h1->status = 408;
			conn->h1->reason = "the request did not come in time";
			h1_refuse(conn);
		}
		else
			conn_close(conn);
		return;
	}
	if (conn->kind == CONN_H2)
	{
		h2_expire(conn);
		if (config->max_age > 0 && conn->since + config->max_age < now)
			h2_shut_down(conn);
	}
	if (!answering && conn->begun == 0 && conn->out.len == 0 &&
		(conn->kind != CONN_H2 || h2_streams(conn) == 0) &&
		conn->active + config->idle_time < now)
	{
		if (conn->kind == CONN_H2)
			h2_shut_down(conn);
		else
			conn_close(conn);
	}
}

void
server_tick(Server *server)
{
	Conn	   *next;
	Exchange   *next_exchange;

	for (Exchange *exchange = server->exchanges; exchange != NULL; exchange = next_exchange)
	{
		next_exchange = exchange->next;
		if (exchange->deadline != 0 && exchange->deadline < server->loop->now &&
			!exchange->replied)
			exchange->conn->handler->expire(exchange);
	}
	for (Conn *conn = server->conns; conn != NULL; conn = next)
	{
		next = conn->next;
		tick_conn(conn);
	}
}

void
server_stop(Server *server)
{
	Conn	   *next;

	server->stopping = true;
	for (Listener *listener = server->listeners; listener != NULL; listener = listener->next)
		if (listener->watch.fd >= 0)
		{
			int			fd = listener->watch.fd;

			loop_unwatch(server->loop, &listener->watch);
			(void) close(fd);
		}
	for (Conn *conn = server->conns; conn != NULL; conn = next)
	{
		next = conn->next;
		if (conn->kind == CONN_H2)
			h2_shut_down(conn);
		else if (conn->exchange == NULL && conn->begun == 0)
			conn_close(conn);
	}
}

bool
server_is_done(const Server *server)
{
	return server->conns == NULL;
}
