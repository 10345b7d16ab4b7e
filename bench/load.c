/*
 * load.c
 *		Clients of dtm-gateway: one process, one thread, many connections.
 *
 *	load http|grpc PORT CONNECTIONS SECONDS PREFIX URL
 *		Each connection submits sagas of two steps, one at a time, as the SDKs
 *		do it: the gid is PREFIX and a number, the steps are below URL.  Prints
 *		submits/s, the median and the 99th percentile of a response in us, and
 *		how many successes there were.
 *
 *	load idle PORT CONNECTIONS
 *		Makes connections that have each made a request, prints how many, and
 *		keeps them until the end of its input.
 *
 * Fails at the first response that is not a success.  HTTP/2 is written by hand:
 * the requests differ in their stream and gid only, so that this process needs
 * little of the machine that it measures.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
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

#define MAX_EVENTS	256
#define MAX_SAMPLES	(1 << 20)
#define PAYLOAD		"{\"amount\": 30}"

/* Frames of HTTP/2, and flags of them */
#define H2_DATA			0
#define H2_HEADERS		1
#define H2_SETTINGS		4
#define H2_PING			6
#define H2_GOAWAY		7
#define H2_WINDOW		8
#define H2_END_STREAM	0x1
#define H2_ACK			0x1
#define H2_END_HEADERS	0x4
#define H2_HEAD			9

typedef struct Conn
{
	int			fd;
	uint32_t	stream;			/* HTTP/2: of the request that is under way */
	bool		has_data;		/* HTTP/2: its response has begun with a message */
	int64_t		sent;			/* when the request was */
	size_t		len;			/* of what has come and is not complete */
	unsigned char in[16384];
} Conn;

static bool grpc;
static const char *prefix;
static const char *url;
static long number;				/* of the latest gid */
static long answered;
static uint32_t samples[MAX_SAMPLES];	/* us */

static int64_t
clock_us(clockid_t clock)
{
	struct timespec ts;

	(void) clock_gettime(clock, &ts);
	return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void
fail(const char *what, const char *why)
{
	fprintf(stderr, "load: %s: %s\n", what, why);
	exit(1);
}

static void
send_all(Conn *conn, const void *data, size_t len)
{
	/* what is sent fits into the socket's buffer */
	if (write(conn->fd, data, len) != (ssize_t) len)
		fail("write", strerror(errno));
}

/* ---------- requests ---------- */

static int
write_steps(char *to, size_t size)
{
	return snprintf(to, size,
					"[{\"action\":\"%sOut\",\"compensate\":\"%sOutRevert\"},"
					"{\"action\":\"%sIn\",\"compensate\":\"%sInRevert\"}]",
					url, url, url, url);
}

static void
send_http(Conn *conn)
{
	char		steps[1024];
	char		body[2048];
	char		request[4096];
	int			len;

	(void) write_steps(steps, sizeof(steps));
	len = snprintf(body, sizeof(body),
				   "{\"gid\":\"%s%ld\",\"trans_type\":\"saga\",\"steps\":%s,"
				   "\"payloads\":[\"{\\\"amount\\\": 30}\",\"{\\\"amount\\\": 30}\"]}",
				   prefix, ++number, steps);
	len = snprintf(request, sizeof(request),
				   "POST /api/dtmsvr/submit HTTP/1.1\r\nHost: 127.0.0.1\r\n"
				   "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
				   len, body);
	send_all(conn, request, (size_t) len);
}

static void
put_head(unsigned char *to, size_t len, int type, int flags, uint32_t stream)
{
	to[0] = (unsigned char) (len >> 16);
	to[1] = (unsigned char) (len >> 8);
	to[2] = (unsigned char) len;
	to[3] = (unsigned char) type;
	to[4] = (unsigned char) flags;
	to[5] = (unsigned char) (stream >> 24);
	to[6] = (unsigned char) (stream >> 16);
	to[7] = (unsigned char) (stream >> 8);
	to[8] = (unsigned char) stream;
}

/* A field of protobuf that holds bytes. */
static unsigned char *
put_field(unsigned char *to, int field, const char *data, size_t len)
{
	*to++ = (unsigned char) (field << 3 | 2);
	if (len > 127)
		*to++ = (unsigned char) (len | 128);
	*to++ = (unsigned char) (len > 127 ? len >> 7 : len);
	memcpy(to, data, len);
	return to + len;
}

static void
send_grpc(Conn *conn)
{
	/*
	 * HPACK: :method POST, :scheme http, then literals: :path, :authority,
	 * content-type, te
	 */
	static const char headers[] =
		"\x83\x86\x04\x13/dtmgimp.Dtm/Submit\x01\x09" "127.0.0.1"
		"\x0f\x10\x10" "application/grpc\x00\x02te\x08trailers";
	unsigned char request[4096];
	unsigned char *to = request + H2_HEAD;
	unsigned char *data;
	unsigned char *message;
	char		text[1024];
	size_t		len;

	memcpy(to, headers, sizeof(headers) - 1);
	to += sizeof(headers) - 1;
	put_head(request, (size_t) (to - request) - H2_HEAD, H2_HEADERS, H2_END_HEADERS, conn->stream);
	data = to;
	message = data + H2_HEAD + 5;
	len = (size_t) snprintf(text, sizeof(text), "%s%ld", prefix, ++number);
	to = put_field(message, 1, text, len);
	to = put_field(to, 2, "saga", 4);
	to = put_field(to, 5, PAYLOAD, strlen(PAYLOAD));
	to = put_field(to, 5, PAYLOAD, strlen(PAYLOAD));
	len = (size_t) write_steps(text, sizeof(text));
	to = put_field(to, 7, text, len);
	len = (size_t) (to - message);
	put_head(data, len + 5, H2_DATA, H2_END_STREAM, conn->stream);
	data[H2_HEAD] = 0;
	for (int i = 0; i < 4; i++)
		data[H2_HEAD + 1 + i] = (unsigned char) (len >> (24 - 8 * i));
	send_all(conn, request, (size_t) (to - request));
}

static void
send_request(Conn *conn)
{
	conn->sent = clock_us(CLOCK_MONOTONIC);
	if (grpc)
	{
		conn->stream = conn->stream == 0 ? 1 : conn->stream + 2;
		conn->has_data = false;
		send_grpc(conn);
	}
	else
		send_http(conn);
}

/* ---------- responses ---------- */

/* The bytes of a response that is complete, or 0. */
static size_t
take_http(Conn *conn)
{
	char	   *text = (char *) conn->in;
	char	   *end;
	char	   *length;
	size_t		size;

	conn->in[conn->len] = '\0';
	end = strstr(text, "\r\n\r\n");
	length = strstr(text, "Content-Length: ");
	if (end == NULL || length == NULL)
		return 0;
	size = (size_t) (end + 4 - text) + strtoul(length + 16, NULL, 10);
	if (conn->len < size)
		return 0;
	if (strncmp(text, "HTTP/1.1 200 ", 13) != 0)
		fail("response", text);
	return size;
}

/* A frame; *done: the response is complete with it. */
static size_t
take_frame(Conn *conn, bool *done)
{
	unsigned char *in = conn->in;
	size_t		size;
	bool		ours;

	if (conn->len < H2_HEAD)
		return 0;
	size = H2_HEAD + ((size_t) in[0] << 16 | (size_t) in[1] << 8 | in[2]);
	if (size > sizeof(conn->in))
		fail("response", "frame too large");
	if (conn->len < size)
		return 0;
	ours = ((uint32_t) in[5] << 24 | (uint32_t) in[6] << 16 | (uint32_t) in[7] << 8 | in[8]) == conn->stream;
	if ((in[3] == H2_SETTINGS || in[3] == H2_PING) && !(in[4] & H2_ACK))
	{
		unsigned char ack[H2_HEAD + 8];
		size_t		len = in[3] == H2_PING ? 8 : 0;

		put_head(ack, len, in[3], H2_ACK, 0);
		memcpy(ack + H2_HEAD, in + H2_HEAD, len);
		send_all(conn, ack, H2_HEAD + len);
	}
	else if (in[3] == H2_DATA && ours)
		conn->has_data = true;
	else if (in[3] == H2_HEADERS && ours && (in[4] & H2_END_STREAM))
	{
		/* an error has no message */
		if (!conn->has_data)
			fail("response", "gRPC error");
		*done = true;
	}
	else if (in[3] == H2_GOAWAY)
		fail("response", "GOAWAY");
	return size;
}

static void
count(const Conn *conn)
{
	if (answered < MAX_SAMPLES)
		samples[answered] = (uint32_t) (clock_us(CLOCK_MONOTONIC) - conn->sent);
	answered++;
}

/* Reads what has come; true: a response is complete. */
static bool
read_response(Conn *conn)
{
	ssize_t		n = read(conn->fd, conn->in + conn->len, sizeof(conn->in) - conn->len - 1);
	size_t		size;
	bool		done = false;

	if (n <= 0)
		fail("read", n == 0 ? "connection closed" : strerror(errno));
	conn->len += (size_t) n;
	do
	{
		size = grpc ? take_frame(conn, &done) : take_http(conn);
		done = done || (size > 0 && !grpc);
		conn->len -= size;
		memmove(conn->in, conn->in + size, conn->len);
	} while (size > 0);
	if (done)
		count(conn);
	return done;
}

/* ---------- runs ---------- */

static void
connect_to(Conn *conn, int port)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t) port)};
	int			on = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	conn->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (conn->fd < 0 || connect(conn->fd, (struct sockaddr *) &address, sizeof(address)) < 0)
		fail("connect", strerror(errno));
	(void) setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (grpc)
	{
		unsigned char frames[2 * H2_HEAD + 4];

		send_all(conn, preface, sizeof(preface) - 1);
		put_head(frames, 0, H2_SETTINGS, 0, 0);
		put_head(frames + H2_HEAD, 4, H2_WINDOW, 0, 0);
		/* room for all responses of a run */
		memcpy(frames + 2 * H2_HEAD, "\x7f\xff\x00\x00", 4);
		send_all(conn, frames, sizeof(frames));
	}
}

static int
compare(const void *a, const void *b)
{
	uint32_t	x = *(const uint32_t *) a;
	uint32_t	y = *(const uint32_t *) b;

	return x < y ? -1 : x > y;
}

static void
run(int port, int nconns, double seconds)
{
	Conn	   *conns = calloc((size_t) nconns, sizeof(Conn));
	int			epoll = epoll_create1(0);
	int64_t		began;
	int64_t		until;
	int64_t		now;
	size_t		n;

	for (int i = 0; i < nconns; i++)
	{
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = &conns[i]};

		connect_to(&conns[i], port);
		(void) epoll_ctl(epoll, EPOLL_CTL_ADD, conns[i].fd, &event);
	}
	began = now = clock_us(CLOCK_MONOTONIC);
	until = began + (int64_t) (seconds * 1e6);
	for (int i = 0; i < nconns; i++)
		send_request(&conns[i]);
	while (now < until)
	{
		struct epoll_event events[MAX_EVENTS];
		int			nevents = epoll_wait(epoll, events, MAX_EVENTS, 1000);

		now = clock_us(CLOCK_MONOTONIC);
		for (int i = 0; i < nevents; i++)
			if (read_response(events[i].data.ptr))
				send_request(events[i].data.ptr);
	}
	n = answered < MAX_SAMPLES ? (size_t) answered : MAX_SAMPLES;
	if (n == 0)
		fail("run", "no response");
	qsort(samples, n, sizeof(uint32_t), compare);
	printf("%.1f %u %u %ld\n", (double) answered * 1e6 / (double) (now - began),
		   samples[n / 2], samples[n * 99 / 100], answered);
}

static void
idle(int port, int nconns)
{
	static const char ping[] = "GET /api/ping HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
	static Conn conn;

	for (int i = 0; i < nconns; i++)
	{
		connect_to(&conn, port);
		conn.len = 0;
		send_all(&conn, ping, sizeof(ping) - 1);
		while (!read_response(&conn));
	}
	printf("%d\n", nconns);
	(void) fflush(stdout);
	while (getchar() != EOF);
}

int
main(int argc, char **argv)
{
	struct rlimit limit;

	(void) getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	(void) setrlimit(RLIMIT_NOFILE, &limit);
	if (argc == 4 && strcmp(argv[1], "idle") == 0)
	{
		idle(atoi(argv[2]), atoi(argv[3]));
		return 0;
	}
	if (argc != 7 || (strcmp(argv[1], "http") != 0 && strcmp(argv[1], "grpc") != 0))
		fail("usage", "see the head of load.c");
	grpc = strcmp(argv[1], "grpc") == 0;
	prefix = argv[5];
	url = argv[6];
	run(atoi(argv[2]), atoi(argv[3]), atof(argv[4]));
	return 0;
}
