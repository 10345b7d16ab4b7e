/*
 * conn.c
 *		The life of a connection: read, written, closed.
 *
 * What a client speaks is told by its first bytes, on every port; with TLS, by
 * ALPN first.
 */
#include "netprivate.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Bytes that are read at a time. */
#define READ_SIZE		16384

/* Reads of one connection in a turn, so that the others come to theirs. */
#define MAX_READS		16

/* Bytes of further requests that are kept while one is answered. */
#define MAX_PIPELINED	65536

/* What HTTP/2 begins with. */
static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#define PREFACE_LEN		(sizeof(preface) - 1)

static void read_conn(Conn *conn);

/* ---------- life ---------- */

static void
watch(Conn *conn)
{
	uint32_t	events = 0;

	if (conn->closed)
		return;
	if (!conn->paused && !conn->peer_done)
		events |= EPOLLIN | EPOLLRDHUP;
	if (conn->out.len > conn->out_sent || conn->want_write)
		events |= EPOLLOUT;
	loop_watch(conn->server->loop, &conn->watch, conn->watch.fd, events);
}

void
conn_touch(Conn *conn)
{
	if (conn->is_dirty || conn->closed)
		return;
	conn->is_dirty = true;
	conn->next_dirty = conn->server->dirty;
	conn->server->dirty = conn;
}

void
conn_close(Conn *conn)
{
	Server	   *server = conn->server;
	int			fd = conn->watch.fd;

	if (conn->closed)
		return;
	conn->closed = true;
	loop_unwatch(server->loop, &conn->watch);
	if (conn->h2 != NULL)
		h2_free(conn);
	if (conn->exchange != NULL)
		exchange_free(conn->exchange);
	conn->exchange = NULL;
	if (conn->ssl != NULL)
		SSL_free(conn->ssl);
	(void) close(fd);
	if (conn->prev != NULL)
		conn->prev->next = conn->next;
	else
		server->conns = conn->next;
	if (conn->next != NULL)
		conn->next->prev = conn->prev;
	server->nconns--;
	conn->counts->conns--;
	metrics[METRIC_CONNECTIONS]--;
	conn->next = server->dead;
	server->dead = conn;
}

void
conn_free(Conn *conn)
{
	if (conn->h1 != NULL)
	{
		h1_free(conn->h1);
		free(conn->h1);
	}
	buf_free(&conn->in);
	buf_free(&conn->out);
	free(conn->role);
	free(conn);
}

/* ---------- what goes ---------- */

bool
conn_is_full(const Conn *conn)
{
	return conn->out.len - conn->out_sent > MAX_UNSENT;
}

/* What of it is sent needs no memory any more. */
static void
drop_sent(Conn *conn)
{
	if (conn->out_sent == conn->out.len)
		buf_free(&conn->out);
	else if (conn->out_sent >= MAX_UNSENT)
		buf_drop(&conn->out, conn->out_sent);
	else
		return;
	conn->out_sent = 0;
}

void
conn_resume(Conn *conn)
{
	bool		was_paused = conn->paused;

	if (conn->closing)
		return;
	conn->paused = conn_is_full(conn);
	if (conn->paused)
		return;					/* whatever sends it resumes it */
	if (conn->kind == CONN_H1)
	{
		/* what has come already is first, before the end of what comes */
		if (conn->in.len > 0 || conn->peer_done)
			conn_process(conn);
		/* what TLS has read already does not make the socket ready */
		if (conn->ssl == NULL || conn->paused || conn->closed)
			return;
	}
	if (was_paused)
		read_conn(conn);
}

/*
 * All is sent.  A client that is still sending would have the connection reset,
 * and might never see its response: so it is listened to for a moment.
 */
static void
end_of_output(Conn *conn)
{
	if (conn->lingering)
		return;
	if (conn->ssl != NULL)
		(void) SSL_shutdown(conn->ssl);
	if (conn->peer_done || conn->ssl != NULL || shutdown(conn->watch.fd, SHUT_WR) != 0)
	{
		conn_close(conn);
		return;
	}
	conn->lingering = true;
	conn->paused = false;
	conn->begun = conn->server->loop->now;
	watch(conn);
}

/* Sends what there is, and closes what is to be closed then. */
void
conn_flush(Conn *conn)
{
	bool		more = true;

	if (conn->closed)
		return;
	while (more)
	{
		if (conn->kind == CONN_H2 && !conn_is_full(conn) && !h2_send(conn))
			conn->closing = true;
		if (conn->out.len == conn->out_sent)
			break;
		while (conn->out_sent < conn->out.len)
		{
			ssize_t		n = channel_send(conn, conn->out.data + conn->out_sent,
										 conn->out.len - conn->out_sent);

			if (n < 0)
			{
				conn_close(conn);
				return;
			}
			if (n == 0)
			{
				more = false;
				break;
			}
			conn->out_sent += (size_t) n;
			conn->active = conn->blocked = conn->server->loop->now;
		}
		more = more && conn->kind == CONN_H2;
		drop_sent(conn);
	}
	if (conn->out.len == 0)
		conn->blocked = 0;
	else if (conn->blocked == 0)
		conn->blocked = conn->server->loop->now;
	if (conn->closing && conn->out.len == 0)
	{
		end_of_output(conn);
		return;
	}
	/* one that is answered is resumed by its answer */
	if (conn->paused && (conn->exchange == NULL || !conn->exchange->complete))
		conn_resume(conn);
	watch(conn);
}

/* ---------- what comes ---------- */

/* What does it speak? */
static void
tell_kind(Conn *conn)
{
	size_t		len = conn->in.len < PREFACE_LEN ? conn->in.len : PREFACE_LEN;

	if (memcmp(conn->in.data, preface, len) != 0)
	{
		conn->kind = CONN_H1;
		conn->h1 = xmalloc(sizeof(H1));
		h1_init(conn->h1, conn->server->config.max_body);
	}
	else if (len == PREFACE_LEN)
	{
		conn->kind = CONN_H2;
		conn->begun = 0;
		h2_start(conn);
	}
	else if (conn->begun == 0)
		conn->begun = conn->server->loop->now;
}

void
conn_process(Conn *conn)
{
	if (conn->kind == CONN_NEW && conn->in.len > 0)
		tell_kind(conn);
	if (conn->kind == CONN_H1)
		h1_process(conn);
	else if (conn->kind == CONN_H2)
	{
		if (!h2_feed(conn, conn->in.data, conn->in.len))
			conn->closing = true;
		conn->in.len = 0;
		conn_touch(conn);
	}
	if (!conn->closed && conn->in.len == 0)
		buf_free(&conn->in);
}

/* The client sends no more: what it has asked for is still answered. */
static void
end_of_input(Conn *conn)
{
	bool		answering = conn->kind == CONN_H1 &&
		(conn->closing || (conn->exchange != NULL && conn->exchange->complete));

	conn->peer_done = true;
	if (conn->lingering || (!answering && conn->out.len == 0))
		conn_close(conn);
	else if (!answering)
		conn->closing = true;
}

static void
read_conn(Conn *conn)
{
	for (int i = 0; !conn->closed && (!conn->closing || conn->lingering) && !conn->paused &&
		 (i < MAX_READS || (conn->ssl != NULL && SSL_pending(conn->ssl) > 0)); i++)
	{
		ssize_t		n = channel_receive(conn, buf_room(&conn->in, READ_SIZE), READ_SIZE);

		if (n == CHANNEL_END)
			end_of_input(conn);
		if (n == CHANNEL_BROKEN)
			conn_close(conn);
		if (n < 0)
			return;
		if (n == CHANNEL_EMPTY)
		{
			if (conn->in.len == 0)
				buf_free(&conn->in);
			return;
		}
		if (conn->lingering)
			continue;
		conn->in.len += (size_t) n;
		conn->active = conn->server->loop->now;
		conn_process(conn);
		if (conn->closed)
			return;
		conn->paused = conn->paused ||
			(conn->kind == CONN_H1 && conn->exchange != NULL && conn->in.len > MAX_PIPELINED) ||
			conn_is_full(conn);
	}
}

void
conn_ready(Watch *w, uint32_t events)
{
	Conn	   *conn = w->owner;

	if (conn->closed)
		return;
	if (conn->kind == CONN_SHAKING_HANDS && !channel_shake_hands(conn))
	{
		watch(conn);
		return;
	}
	if ((events & EPOLLOUT) || conn->want_write)
	{
		conn->want_write = false;
		conn_touch(conn);
	}
	if (events & (EPOLLHUP | EPOLLERR))
	{
		conn_close(conn);
		return;
	}
	if ((events & (EPOLLIN | EPOLLRDHUP)) || conn->ssl != NULL)
		read_conn(conn);
	watch(conn);
}
