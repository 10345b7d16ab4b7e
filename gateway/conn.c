/*
 * conn.c
 *		Connections: accepted, read, written, closed, and their time limits.
 *
 * What a client speaks is told by its first bytes, on every port; with TLS, by
 * ALPN first.
 */
#include "server.h"

#include "log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG			1024

/* Bytes that are read at a time. */
#define READ_SIZE		16384

/* Reads of one connection in a turn, so that the others come to theirs. */
#define MAX_READS		16

/* Bytes of further requests that are kept while one is answered. */
#define MAX_PIPELINED	65536

/* Bytes to be sent with which a connection is not read any more. */
#define MAX_UNSENT		(1024 * 1024)

/* What HTTP/2 begins with. */
static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#define PREFACE_LEN		(sizeof(preface) - 1)

/* How long a client is listened to that has got its last response, in us. */
#define LINGER_TIME		(2 * USEC_PER_SEC)

static void conn_ready(Watch *watch, uint32_t events);
static void read_conn(Conn *conn);
static void process(Conn *conn);

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
	metrics[METRIC_CONNECTIONS]--;
	conn->next = server->dead;
	server->dead = conn;
}

static void
free_conn(Conn *conn)
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

static void
describe(const struct sockaddr *address, Conn *conn)
{
	if (address->sa_family == AF_INET)
	{
		const struct sockaddr_in *in = (const struct sockaddr_in *) address;

		memcpy(conn->key + 12, &in->sin_addr, 4);
		conn->key[10] = conn->key[11] = 0xff;
		(void) inet_ntop(AF_INET, &in->sin_addr, conn->address, sizeof(conn->address));
	}
	else
	{
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *) address;

		memcpy(conn->key, &in6->sin6_addr, 16);
		(void) inet_ntop(AF_INET6, &in6->sin6_addr, conn->address, sizeof(conn->address));
	}
}

/* Does this address have as many connections as it may? */
static bool
has_enough(const Server *server, const Conn *conn)
{
	int			n = 0;

	if (server->config.max_per_address == 0)
		return false;
	for (const Conn *other = server->conns; other != NULL; other = other->next)
		n += memcmp(other->key, conn->key, sizeof(conn->key)) == 0;
	return n >= server->config.max_per_address;
}

static void
add_conn(Listener *listener, int fd, const struct sockaddr *address)
{
	Server	   *server = listener->server;
	Conn	   *conn = xcalloc(sizeof(Conn));
	int			on = 1;

	conn->server = server;
	conn->watch.fd = -1;
	conn->watch.ready = conn_ready;
	conn->watch.owner = conn;
	describe(address, conn);
	conn->access = hba_find(server->config.hba, listener->name, address);
	if (conn->access == NULL || conn->access->method == HBA_REJECT ||
		server->nconns >= server->config.max_connections || has_enough(server, conn))
	{
		log_debug("connection from %s refused", conn->address);
		metrics[METRIC_CONNECTIONS_REFUSED]++;
		(void) close(fd);
		free(conn);
		return;
	}
	if (conn->access->method == HBA_TRUST)
		conn->role = xstrdup(conn->access->role);
	(void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (listener->tls != NULL)
	{
		conn->ssl = SSL_new(listener->tls);
		if (conn->ssl == NULL || SSL_set_fd(conn->ssl, fd) != 1)
		{
			SSL_free(conn->ssl);
			(void) close(fd);
			free(conn->role);
			free(conn);
			return;
		}
		SSL_set_accept_state(conn->ssl);
	}
	conn->kind = conn->ssl ? CONN_SHAKING_HANDS : CONN_NEW;
	conn->since = conn->active = server->loop->now;
	conn->begun = conn->ssl ? conn->since : 0;
	conn->next = server->conns;
	if (conn->next != NULL)
		conn->next->prev = conn;
	server->conns = conn;
	server->nconns++;
	metrics[METRIC_CONNECTIONS]++;
	metrics[METRIC_CONNECTIONS_TOTAL]++;
	loop_watch(server->loop, &conn->watch, fd, EPOLLIN | EPOLLRDHUP);
}

static void
accept_ready(Watch *w, uint32_t events)
{
	Listener   *listener = w->owner;

	(void) events;
	for (int i = 0; i < BACKLOG; i++)
	{
		struct sockaddr_storage address = {0};
		socklen_t	len = sizeof(address);
		int			fd = accept4(w->fd, (struct sockaddr *) &address, &len,
								 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0 && (errno == EMFILE || errno == ENFILE))
			log_warning("could not accept a connection: %s", strerror(errno));
		if (fd < 0)
			return;
		add_conn(listener, fd, (struct sockaddr *) &address);
	}
}

/* ---------- sockets ---------- */

/* Splits "host:port" or "[host]:port", with or without "/tls" behind it. */
static bool
split_name(const char *name, char *host, size_t size, char *port, size_t port_size)
{
	const char *colon = strrchr(name, ':');
	const char *end = colon;
	const char *first = name;
	size_t		len;

	if (colon == NULL)
		return false;
	if (*first == '[')
	{
		first++;
		end = strchr(first, ']');
		if (end == NULL || end + 1 != colon)
			return false;
	}
	len = strcspn(colon + 1, "/");
	if ((size_t) (end - first) >= size || len >= port_size || len == 0)
		return false;
	memcpy(host, first, (size_t) (end - first));
	host[end - first] = '\0';
	memcpy(port, colon + 1, len);
	port[len] = '\0';
	return true;
}

static int
bind_socket(const struct addrinfo *address)
{
	int			on = 1;
	int			fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	(void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (address->ai_family == AF_INET6)
		(void) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	(void) close(fd);
	return -1;
}

bool
server_listen(Server *server, const char *name, SSL_CTX *tls)
{
	struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
	struct addrinfo *addresses;
	char		host[256];
	char		port[16];
	Listener   *listener;
	int			fd;
	int			rc;

	if (!split_name(name, host, sizeof(host), port, sizeof(port)))
	{
		log_error("malformed address \"%s\": it is host:port, or host:port/tls", name);
		return false;
	}
	rc = getaddrinfo(host[0] ? host : NULL, port, &hints, &addresses);
	if (rc != 0)
	{
		log_error("could not resolve \"%s\": %s", name, gai_strerror(rc));
		return false;
	}
	fd = bind_socket(addresses);
	freeaddrinfo(addresses);
	if (fd < 0)
	{
		log_error("could not listen on \"%s\": %s", name, strerror(errno));
		return false;
	}
	listener = xcalloc(sizeof(Listener));
	listener->name = xstrdup(name);
	listener->tls = tls;
	listener->server = server;
	listener->watch.fd = -1;
	listener->watch.ready = accept_ready;
	listener->watch.owner = listener;
	listener->next = server->listeners;
	server->listeners = listener;
	loop_watch(server->loop, &listener->watch, fd, EPOLLIN);
	return true;
}

/* What receive() returns instead of a number of bytes. */
#define NOTHING_NOW		0
#define AT_END			(-1)
#define BROKEN			(-2)

static ssize_t
receive(Conn *conn, char *data, size_t size)
{
	ssize_t		n;

	if (conn->ssl == NULL)
	{
		n = recv(conn->watch.fd, data, size, 0);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? NOTHING_NOW : BROKEN;
		return n == 0 ? AT_END : n;
	}
	ERR_clear_error();
	n = SSL_read(conn->ssl, data, (int) size);
	if (n > 0)
		return n;
	switch (SSL_get_error(conn->ssl, (int) n))
	{
		case SSL_ERROR_WANT_WRITE:
			conn->want_write = true;
			return NOTHING_NOW;
		case SSL_ERROR_WANT_READ:
			return NOTHING_NOW;
		case SSL_ERROR_ZERO_RETURN:
			return AT_END;
		default:
			return BROKEN;
	}
}

/* Writes some bytes; 0: none now; -1: it can't be written any more. */
static ssize_t
transmit(Conn *conn, const char *data, size_t len)
{
	ssize_t		n;

	if (conn->ssl == NULL)
	{
		n = send(conn->watch.fd, data, len, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -1;
		return n;
	}
	ERR_clear_error();
	n = SSL_write(conn->ssl, data, len > INT32_MAX ? INT32_MAX : (int) len);
	if (n > 0)
		return n;
	switch (SSL_get_error(conn->ssl, (int) n))
	{
		case SSL_ERROR_WANT_READ:
		case SSL_ERROR_WANT_WRITE:
			return 0;
		default:
			return -1;
	}
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
static void
flush_conn(Conn *conn)
{
	bool		more = true;

	if (conn->closed)
		return;
	while (more)
	{
		if (conn->kind == CONN_H2 && conn->out.len - conn->out_sent < MAX_UNSENT &&
			!h2_send(conn))
			conn->closing = true;
		if (conn->out.len == conn->out_sent)
			break;
		while (conn->out_sent < conn->out.len)
		{
			ssize_t		n = transmit(conn, conn->out.data + conn->out_sent,
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
			conn->active = conn->server->loop->now;
		}
		if (conn->out_sent == conn->out.len)
		{
			conn->out_sent = 0;
			buf_free(&conn->out);
			more = conn->kind == CONN_H2;
		}
	}
	if (conn->closing && conn->out.len == 0)
	{
		end_of_output(conn);
		return;
	}
	if (conn->paused && conn->out.len < MAX_UNSENT && conn->kind == CONN_H2)
	{
		conn->paused = false;
		read_conn(conn);
	}
	watch(conn);
}

void
server_flush(Server *server)
{
	while (server->dirty != NULL)
	{
		Conn	   *conn = server->dirty;

		server->dirty = conn->next_dirty;
		conn->is_dirty = false;
		flush_conn(conn);
	}
	while (server->dead != NULL)
	{
		Conn	   *conn = server->dead;

		server->dead = conn->next;
		free_conn(conn);
	}
}

/* ---------- HTTP/1.1 ---------- */

/* A request that can't be understood: it is told so, and that was it. */
static void
refuse_bytes(Conn *conn)
{
	int			status = conn->h1->status;
	const char *reason = conn->h1->reason;

	log_debug("%s: %d: %s", conn->address, status, reason);
	metrics[METRIC_BAD_REQUESTS]++;
	if (conn->exchange == NULL)
		conn->exchange = exchange_create(conn, 0);
	conn->h1->keep_alive = false;
	conn->in.len = 0;
	api_refuse(conn->exchange, status, reason);
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
	if (keep_alive && conn->paused)
	{
		conn->paused = false;
		/* what TLS has read already does not make the socket ready */
		conn_ready(&conn->watch, EPOLLIN);
	}
	else if (keep_alive && (conn->in.len > 0 || conn->peer_done))
		process(conn);
}

/* Requests one after the other: the next when the last has been answered. */
static void
process_h1(Conn *conn)
{
	if (conn->processing)
		return;
	conn->processing = true;
	while (!conn->closed && !conn->closing && conn->in.len > 0 &&
		   (conn->exchange == NULL || !conn->exchange->complete))
	{
		size_t		used;
		H1Result	result;

		if (conn->begun == 0)
			conn->begun = conn->server->loop->now;
		result = h1_feed(conn->h1, conn->in.data, conn->in.len, &used);
		buf_drop(&conn->in, used);
		if (result == H1_BAD)
			refuse_bytes(conn);
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
			exchange->body = conn->h1->body;
			memset(&conn->h1->body, 0, sizeof(Buf));
			conn->begun = 0;
			/* it may be answered at once: then it is gone */
			api_handle(exchange);
		}
		if (result == H1_MORE && used == 0)
			break;
	}
	conn->processing = false;
	/* that was the last, or half of one */
	if (conn->peer_done && (conn->exchange == NULL || !conn->exchange->complete))
	{
		conn->closing = true;
		conn_touch(conn);
	}
}

/* ---------- both ---------- */

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

static void
process(Conn *conn)
{
	if (conn->kind == CONN_NEW && conn->in.len > 0)
		tell_kind(conn);
	if (conn->kind == CONN_H1)
		process_h1(conn);
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

static bool
shake_hands(Conn *conn)
{
	int			rc;

	ERR_clear_error();
	rc = SSL_do_handshake(conn->ssl);
	if (rc == 1)
	{
		conn->kind = CONN_NEW;
		conn->begun = 0;
		conn->want_write = false;
		if (conn->access->method == HBA_CERT)
			conn->role = conn->access->role ? xstrdup(conn->access->role) :
				tls_common_name(conn->ssl);
		return true;
	}
	switch (SSL_get_error(conn->ssl, rc))
	{
		case SSL_ERROR_WANT_READ:
			conn->want_write = false;
			return false;
		case SSL_ERROR_WANT_WRITE:
			conn->want_write = true;
			return false;
		default:
			log_debug("%s: TLS handshake failed", conn->address);
			conn_close(conn);
			return false;
	}
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
		ssize_t		n = receive(conn, buf_room(&conn->in, READ_SIZE), READ_SIZE);

		if (n == AT_END)
			end_of_input(conn);
		if (n == BROKEN)
			conn_close(conn);
		if (n < 0)
			return;
		if (n == NOTHING_NOW)
		{
			if (conn->in.len == 0)
				buf_free(&conn->in);
			return;
		}
		if (conn->lingering)
			continue;
		conn->in.len += (size_t) n;
		conn->active = conn->server->loop->now;
		process(conn);
		if (conn->closed)
			return;
		conn->paused = conn->paused ||
			(conn->kind == CONN_H1 && conn->exchange != NULL && conn->in.len > MAX_PIPELINED) ||
			(conn->kind == CONN_H2 && conn->out.len > MAX_UNSENT);
	}
}

static void
conn_ready(Watch *w, uint32_t events)
{
	Conn	   *conn = w->owner;

	if (conn->closed)
		return;
	if (conn->kind == CONN_SHAKING_HANDS && !shake_hands(conn))
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

/* ---------- time ---------- */

static void
tick_conn(Conn *conn)
{
	const ServerConfig *config = &conn->server->config;
	int64_t		now = conn->server->loop->now;
	bool		answering = conn->exchange != NULL && conn->exchange->complete;

	if ((conn->out.len > conn->out_sent && conn->active + config->body_time < now) ||
		(conn->lingering && conn->begun + LINGER_TIME < now))
	{
		conn_close(conn);		/* it does not read its response, or never
								 * ends */
		return;
	}
	if (conn->lingering)
		return;
	if (conn->begun != 0 && !answering &&
		conn->begun + (conn->has_head ? config->body_time : config->head_time) < now)
	{
		if (conn->kind == CONN_H1 && conn->h1->status == 0)
		{
			conn->h1->status = 408;
			conn->h1->reason = "the request did not come in time";
			refuse_bytes(conn);
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
			api_expire(exchange);
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
