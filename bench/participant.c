/*
 * participant.c
 *		A participant for benchmarks: one thread, HTTP/1.1 with keep-alive,
 *		answers at once unless its path says otherwise, and remembers whom it
 *		was called by.
 *
 *	participant			prints its port, and ends with its standard input
 *
 * Paths (the query has gid, branch_id and op, as dtm sends them):
 *
 *	/...				200
 *	/delay/MS/...		200 after so many milliseconds; one value in a run
 *	/pool/N/MS/...		200 after so many milliseconds of work, by N workers; other
 *						requests queue; one value in a run
 *	/fail/PERCENT/...	409 to op=action in so many cases, by the gid
 *	/log/...			200; the time of arrival and of the answer is kept
 *	/_reset				forgets what there was
 *	/_stats				{"requests": n, "duplicates": n, "refused": n}
 *	/_log				a line for each logged request: gid branch_id op
 *						arrived answered (microseconds since 1970)
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_EVENTS	512
#define BUFFER_SIZE	65536		/* bytes of one request at most */
#define BACKLOG		8192
#define MAX_LOGGED	200000
#define MAX_WORKERS	1000

typedef struct Connection
{
	int			fd;
	size_t		used;			/* bytes of the buffer */
	uint64_t	generation;		/* differs for each user of the place */
	char	   *buffer;
} Connection;

/* An answer that is to be given later. */
typedef struct Delayed
{
	int			fd;
	uint64_t	generation;
	int64_t		due;			/* monotonic us */
} Delayed;

typedef struct Logged
{
	char		gid[64];
	char		branch_id[16];
	char		op[16];
	int64_t		arrived;
	int64_t		answered;
} Logged;

static const char answer_ok[] =
"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 24\r\n\r\n"
"{\"dtm_result\":\"SUCCESS\"}";
static const char answer_no[] =
"HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\nContent-Length: 24\r\n\r\n"
"{\"dtm_result\":\"FAILURE\"}";

static int	epoll_fd;
static Connection *connections; /* by descriptor */
static int	max_connections;

static uint64_t *seen;			/* hashes of requests, open addressing; 0: free */
static size_t seen_size;
static size_t nseen;
static long nrequests;
static long nduplicates;
static long nrefused;

static Logged *logged;
static int	nlogged;

static Delayed *delayed;		/* ring, in the order they are due */
static size_t delayed_size = 65536;
static size_t delayed_head;
static size_t delayed_tail;

static int64_t
clock_us(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static uint64_t
hash_of(const char *text, size_t len)
{
	uint64_t	hash = 14695981039346656037u;	/* FNV-1a */

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char) text[i]) * 1099511628211u;
	return hash ? hash : 1;
}

static void
grow_seen(void)
{
	uint64_t   *old = seen;
	size_t		old_size = seen_size;

	seen_size = old_size ? old_size * 2 : 1 << 20;
	seen = calloc(seen_size, sizeof(uint64_t));
	for (size_t i = 0; i < old_size; i++)
	{
		size_t		at = old[i] & (seen_size - 1);

		if (old[i] == 0)
			continue;
		while (seen[at] != 0)
			at = (at + 1) & (seen_size - 1);
		seen[at] = old[i];
	}
	free(old);
}

/* Notes a request; false if it was here before. */
static bool
note(uint64_t hash)
{
	size_t		at;

	if (nseen * 2 >= seen_size)
		grow_seen();
	at = hash & (seen_size - 1);
	while (seen[at] != 0)
	{
		if (seen[at] == hash)
			return false;
		at = (at + 1) & (seen_size - 1);
	}
	seen[at] = hash;
	nseen++;
	return true;
}

/* The value of a query's parameter, and its length. */
static const char *
parameter(const char *query, size_t len, const char *name, size_t *value_len)
{
	size_t		name_len = strlen(name);
	const char *end = query + len;

	for (const char *at = query; at < end;)
	{
		const char *next = memchr(at, '&', (size_t) (end - at));

		if (next == NULL)
			next = end;
		if ((size_t) (next - at) > name_len && at[name_len] == '=' &&
			memcmp(at, name, name_len) == 0)
		{
			*value_len = (size_t) (next - at) - name_len - 1;
			return at + name_len + 1;
		}
		at = next + 1;
	}
	*value_len = 0;
	return "";
}

static void
copy_parameter(char *to, size_t size, const char *query, size_t len,
			   const char *name)
{
	size_t		value_len;
	const char *value = parameter(query, len, name, &value_len);

	snprintf(to, size, "%.*s", (int) value_len, value);
}

static void
drop(Connection *connection)
{
	close(connection->fd);
	free(connection->buffer);
	connection->buffer = NULL;
	connection->generation++;
}

/* Answers are short, and the kernel's buffers are not. */
static bool
send_all(int fd, const char *text, size_t len)
{
	while (len > 0)
	{
		ssize_t		n = send(fd, text, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
		{
			usleep(100);
			continue;
		}
		if (n < 0)
			return false;
		text += n;
		len -= (size_t) n;
	}
	return true;
}

static bool
send_text(int fd, const char *body, size_t len)
{
	char		head[100];
	int			head_len = snprintf(head, sizeof(head),
									"HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", len);

	return send_all(fd, head, (size_t) head_len) && send_all(fd, body, len);
}

static bool
send_log(int fd)
{
	size_t		size = (size_t) nlogged * 150 + 1;
	char	   *text = malloc(size);
	size_t		len = 0;
	bool		sent;

	for (int i = 0; i < nlogged; i++)
		len += (size_t) snprintf(text + len, size - len, "%s %s %s %lld %lld\n",
								 logged[i].gid, logged[i].branch_id, logged[i].op,
								 (long long) logged[i].arrived,
								 (long long) logged[i].answered);
	sent = send_text(fd, text, len);
	free(text);
	return sent;
}

static bool
control(int fd, const char *path)
{
	char		text[200];

	if (strncmp(path, "/_log", 5) == 0)
		return send_log(fd);
	if (strncmp(path, "/_reset", 7) == 0)
	{
		memset(seen, 0, seen_size * sizeof(uint64_t));
		nseen = 0;
		nrequests = nduplicates = nrefused = 0;
		nlogged = 0;
	}
	snprintf(text, sizeof(text),
			 "{\"requests\": %ld, \"duplicates\": %ld, \"refused\": %ld}",
			 nrequests, nduplicates, nrefused);
	return send_text(fd, text, strlen(text));
}

static void
answer_at(Connection *connection, int64_t due)
{
	Delayed    *entry = &delayed[delayed_tail++ % delayed_size];

	if (delayed_tail - delayed_head > delayed_size)
		abort();				/* more connections than there can be */
	entry->fd = connection->fd;
	entry->generation = connection->generation;
	entry->due = due;
}

/* When a request is done that one of so many workers takes in its turn. */
static int64_t
work(long nworkers, int64_t us)
{
	static int64_t free_at[MAX_WORKERS];
	int64_t		now = clock_us(CLOCK_MONOTONIC);
	long		first = 0;

	for (long i = 1; i < nworkers && i < MAX_WORKERS; i++)
		if (free_at[i] < free_at[first])
			first = i;
	free_at[first] = (free_at[first] > now ? free_at[first] : now) + us;
	return free_at[first];
}

/* Answers a request, whose path is NUL-terminated. */
static bool
answer(Connection *connection, char *path)
{
	char	   *query = strchr(path, '?');
	size_t		query_len = query ? strlen(++query) : 0;
	Logged	   *entry = NULL;

	if (path[1] == '_')
		return control(connection->fd, path);
	nrequests++;
	if (query_len > 0 && !note(hash_of(query, query_len)))
		nduplicates++;
	if (strncmp(path, "/delay/", 7) == 0)
	{
		answer_at(connection, clock_us(CLOCK_MONOTONIC) + atol(path + 7) * 1000);
		return true;
	}
	if (strncmp(path, "/pool/", 6) == 0)
	{
		const char *ms = strchr(path + 6, '/');

		answer_at(connection, work(atol(path + 6), ms ? atol(ms + 1) * 1000 : 0));
		return true;
	}
	if (strncmp(path, "/fail/", 6) == 0)
	{
		size_t		gid_len;
		size_t		op_len;
		const char *gid = parameter(query, query_len, "gid", &gid_len);
		const char *op = parameter(query, query_len, "op", &op_len);

		if (op_len == 6 && memcmp(op, "action", 6) == 0 &&
			hash_of(gid, gid_len) / 7 % 100 < (uint64_t) atol(path + 6))
		{
			nrefused++;
			return send_all(connection->fd, answer_no, sizeof(answer_no) - 1);
		}
	}
	if (strncmp(path, "/log/", 5) == 0 && nlogged < MAX_LOGGED)
	{
		entry = &logged[nlogged++];
		entry->arrived = clock_us(CLOCK_REALTIME);
		copy_parameter(entry->gid, sizeof(entry->gid), query, query_len, "gid");
		copy_parameter(entry->branch_id, sizeof(entry->branch_id), query, query_len, "branch_id");
		copy_parameter(entry->op, sizeof(entry->op), query, query_len, "op");
		entry->answered = clock_us(CLOCK_REALTIME);
	}
	return send_all(connection->fd, answer_ok, sizeof(answer_ok) - 1);
}

/* Answers the requests that are in the buffer as a whole. */
static bool
answer_all(Connection *connection)
{
	for (;;)
	{
		char	   *buffer = connection->buffer;
		char	   *end;
		char	   *length;
		char	   *path;
		char	   *path_end;
		size_t		total;

		buffer[connection->used] = '\0';
		end = strstr(buffer, "\r\n\r\n");
		if (end == NULL)
			return connection->used < BUFFER_SIZE - 1;
		*end = '\0';
		length = strcasestr(buffer, "\r\ncontent-length:");
		total = (size_t) (end - buffer) + 4 + (length ? (size_t) atol(length + 17) : 0);
		*end = '\r';
		if (total >= BUFFER_SIZE)
			return false;
		if (total > connection->used)
			return true;
		path = memchr(buffer, ' ', total);
		path_end = path ? strchr(path + 1, ' ') : NULL;
		if (path_end == NULL)
			return false;
		*path_end = '\0';
		if (!answer(connection, path + 1))
			return false;
		memmove(buffer, buffer + total, connection->used - total);
		connection->used -= total;
	}
}

static void
take_connections(int listener)
{
	for (;;)
	{
		struct epoll_event event = {.events = EPOLLIN};
		int			one = 1;
		int			fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0)
			return;
		if (fd >= max_connections)
		{
			close(fd);
			continue;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		connections[fd].fd = fd;
		connections[fd].used = 0;
		connections[fd].buffer = malloc(BUFFER_SIZE);
		event.data.fd = fd;
		epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
	}
}

static void
read_connection(Connection *connection)
{
	ssize_t		n = read(connection->fd, connection->buffer + connection->used,
						 BUFFER_SIZE - 1 - connection->used);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0)
	{
		drop(connection);
		return;
	}
	connection->used += (size_t) n;
	if (!answer_all(connection))
		drop(connection);
}

/* Gives the answers that are due; how long until the next, in ms, or -1. */
static int
answer_delayed(void)
{
	int64_t		now = clock_us(CLOCK_MONOTONIC);

	while (delayed_head != delayed_tail)
	{
		Delayed    *entry = &delayed[delayed_head % delayed_size];
		Connection *connection = &connections[entry->fd];

		if (entry->due > now)
			return (int) ((entry->due - now + 999) / 1000);
		delayed_head++;
		if (connection->buffer != NULL && connection->generation == entry->generation &&
			!send_all(entry->fd, answer_ok, sizeof(answer_ok) - 1))
			drop(connection);
	}
	return -1;
}

int
main(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t	address_len = sizeof(address);
	struct rlimit limit;
	struct epoll_event event = {.events = EPOLLIN};
	struct epoll_event events[MAX_EVENTS];
	int			listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	signal(SIGPIPE, SIG_IGN);
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	max_connections = limit.rlim_cur > 100000 ? 100000 : (int) limit.rlim_cur;
	connections = calloc((size_t) max_connections, sizeof(Connection));
	logged = calloc(MAX_LOGGED, sizeof(Logged));
	delayed = calloc(delayed_size, sizeof(Delayed));
	grow_seen();

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (listener < 0 ||
		bind(listener, (struct sockaddr *) &address, sizeof(address)) != 0 ||
		listen(listener, BACKLOG) != 0 ||
		getsockname(listener, (struct sockaddr *) &address, &address_len) != 0)
	{
		perror("participant");
		return 1;
	}
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	event.data.fd = listener;
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
	event.data.fd = STDIN_FILENO;
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &event);
	printf("%d\n", ntohs(address.sin_port));
	fflush(stdout);

	for (;;)
	{
		int			n = epoll_wait(epoll_fd, events, MAX_EVENTS, answer_delayed());

		for (int i = 0; i < n; i++)
		{
			int			fd = events[i].data.fd;

			if (fd == STDIN_FILENO)
				return 0;
			if (fd == listener)
				take_connections(listener);
			else if (connections[fd].buffer != NULL)
				read_connection(&connections[fd]);
		}
	}
}
