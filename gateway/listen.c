/*
 * listen.c
 *		Listeners: addresses that are listened on, and connections that are
 *		accepted, or refused at once.
 */
#include "netprivate.h"

#include "log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG			1024

/* Between two warnings that there are too many files open, in us. */
#define WARN_TIME		(10 * USEC_PER_SEC)

/* Finds the counts of the address, and its text for the log. */
static void
describe(const struct sockaddr *address, Conn *conn)
{
	unsigned char key[ADDRESS_SIZE] = {0};

	if (address->sa_family == AF_INET)
	{
		const struct sockaddr_in *in = (const struct sockaddr_in *) address;

		memcpy(key + 12, &in->sin_addr, 4);
		key[10] = key[11] = 0xff;
		(void) inet_ntop(AF_INET, &in->sin_addr, conn->address, sizeof(conn->address));
	}
	else
	{
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *) address;

		memcpy(key, &in6->sin6_addr, 16);
		(void) inet_ntop(AF_INET6, &in6->sin6_addr, conn->address, sizeof(conn->address));
	}
	conn->counts = address_get(key);
}

/* Does this address have as many connections as it may? */
static bool
has_enough(const Server *server, const Address *address)
{
	return server->config.max_per_address != 0 && address->conns >= server->config.max_per_address;
}

static void
add_conn(Listener *listener, int fd, const struct sockaddr *address)
{
	Server	   *server = listener->server;
	Conn	   *conn = xcalloc(sizeof(Conn));
	int			on = 1;

	conn->server = server;
	conn->handler = listener->handler;
	conn->watch.fd = -1;
	conn->watch.ready = conn_ready;
	conn->watch.owner = conn;
	describe(address, conn);
	conn->access = hba_find(server->config.hba, listener->name, address);
	if (conn->access == NULL || conn->access->method == HBA_REJECT ||
		server->nconns >= server->config.max_connections || has_enough(server, conn->counts))
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
	conn->counts->conns++;
	metrics[METRIC_CONNECTIONS]++;
	metrics[METRIC_CONNECTIONS_TOTAL]++;
	loop_watch(server->loop, &conn->watch, fd, EPOLLIN | EPOLLRDHUP);
}

/*
 * A descriptor for when there is none left: a connection that waits to be accepted
 * would have its listener ready again and again.
 */
static int	spare = -1;

static void
keep_spare(void)
{
	if (spare < 0)
		spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Takes the connection, and ends it. */
static void
refuse_next(int listener, int64_t now)
{
	static int64_t warned = INT64_MIN;
	int			fd;

	if (warned == INT64_MIN || now - warned > WARN_TIME)
	{
		log_warning("could not accept a connection: %s", strerror(errno));
		warned = now;
	}
	if (spare >= 0)
	{
		(void) close(spare);
		spare = -1;
		fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0)
			(void) close(fd);
		metrics[METRIC_CONNECTIONS_REFUSED] += fd >= 0;
	}
	keep_spare();
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
			refuse_next(w->fd, listener->server->loop->now);
		if (fd < 0)
			return;
		add_conn(listener, fd, (struct sockaddr *) &address);
	}
}

/* A number that a port can have; getaddrinfo() takes others, too. */
static bool
is_port(const char *port)
{
	return strspn(port, "0123456789") == strlen(port) && strtol(port, NULL, 10) <= 65535;
}

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
	return is_port(port);
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
server_listen(Server *server, const char *name, SSL_CTX *tls,
			  const ServerHandler *handler)
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
		log_error("malformed address \"%s\": expected host:port or host:port/tls", name);
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
	keep_spare();
	listener = xcalloc(sizeof(Listener));
	listener->name = xstrdup(name);
	listener->tls = tls;
	listener->handler = handler;
	listener->server = server;
	listener->watch.fd = -1;
	listener->watch.ready = accept_ready;
	listener->watch.owner = listener;
	listener->next = server->listeners;
	server->listeners = listener;
	loop_watch(server->loop, &listener->watch, fd, EPOLLIN);
	return true;
}
