/*
 * client.c
 *		What the benchmarks compare dtm with, and measure it by.
 *
 *	client post URL CONCURRENCY SECONDS [SHARE]
 *		A bare libcurl client: POSTs as fast as it can, so many at a time, on
 *		the multi_socket interface.  With SHARE they are spread over multi
 *		handles, so many to each.  Prints POST/s, and its CPU in us for each,
 *		once as many have ended as there are at a time: with all connections
 *		made.
 *
 *	client floor CONNECTION URL N RATE
 *		N times, RATE times a second: commits one INSERT, then POSTs.  Prints a
 *		line for each: gid, and when it began (microseconds since 1970).
 *
 *	client submit CONNECTION URL N RATE
 *		The same with dtm_submit() of a saga of two steps, then dtm_wait().
 *		A line has a third column: when dtm_wait() returned.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <curl/curl.h>
#include <libpq-fe.h>

#define MAX_EVENTS	256

static const char body[] = "{\"amount\": 30}";

static int64_t
clock_us(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void
fail(const char *what, const char *why)
{
	fprintf(stderr, "client: %s: %s\n", what, why);
	exit(1);
}

static size_t
ignore(char *data, size_t size, size_t nmemb, void *arg)
{
	(void) data;
	(void) arg;
	return size * nmemb;
}

static CURL *
new_handle(void)
{
	static struct curl_slist *headers;
	CURL	   *easy = curl_easy_init();

	if (headers == NULL)
	{
		headers = curl_slist_append(headers, "Content-Type: application/json");
		headers = curl_slist_append(headers, "Expect:");
	}
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 1024L);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(easy, CURLOPT_POST, 1L);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long) sizeof(body) - 1);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, ignore);
	return easy;
}

/* ---------- post ---------- */

static int	epoll_fd;

/* A multi handle of libcurl's. */
typedef struct Multi
{
	CURLM	   *curl;
	int64_t		deadline;		/* libcurl's timer, monotonic us; -1: none */
} Multi;

static Multi *multis;
static int	nmultis;

static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
	Multi	   *multi = arg;
	struct epoll_event event = {.data.u64 = (uint64_t) (multi - multis) << 32 | (uint32_t) fd};

	(void) easy;
	event.events = (what & CURL_POLL_IN ? EPOLLIN : 0) |
		(what & CURL_POLL_OUT ? EPOLLOUT : 0);
	if (what == CURL_POLL_REMOVE)
		epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, &event);
	else if (known != NULL)
		epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event);
	else
	{
		epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
		curl_multi_assign(multi->curl, fd, &epoll_fd);
	}
	return 0;
}

static int
on_timer(CURLM *curl, long timeout_ms, void *arg)
{
	Multi	   *multi = arg;

	(void) curl;
	multi->deadline = timeout_ms < 0 ? -1 :
		clock_us(CLOCK_MONOTONIC) + (int64_t) timeout_ms * 1000;
	return 0;
}

static void
make_multis(int n, int share)
{
	nmultis = n;
	multis = calloc((size_t) n, sizeof(Multi));
	if (multis == NULL)
		fail("post", "out of memory");
	for (int i = 0; i < n; i++)
	{
		multis[i].curl = curl_multi_init();
		multis[i].deadline = -1;
		curl_multi_setopt(multis[i].curl, CURLMOPT_SOCKETFUNCTION, on_socket);
		curl_multi_setopt(multis[i].curl, CURLMOPT_SOCKETDATA, &multis[i]);
		curl_multi_setopt(multis[i].curl, CURLMOPT_TIMERFUNCTION, on_timer);
		curl_multi_setopt(multis[i].curl, CURLMOPT_TIMERDATA, &multis[i]);
		curl_multi_setopt(multis[i].curl, CURLMOPT_MAXCONNECTS, (long) share);
	}
}

static void
start(Multi *multi, CURL *easy, const char *base)
{
	static long number;
	char		url[1000];

	snprintf(url, sizeof(url), "%s?branch_id=01&gid=bare-%d-%ld&op=action&trans_type=saga",
			 base, (int) getpid(), number++);
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_multi_add_handle(multi->curl, easy);
}

/* Milliseconds until the first of libcurl's timers. */
static int
timeout_of(int64_t now)
{
	int64_t		deadline = now + 1000000;

	for (int i = 0; i < nmultis; i++)
		if (multis[i].deadline >= 0 && multis[i].deadline < deadline)
			deadline = multis[i].deadline;
	return deadline <= now ? 0 : (int) ((deadline - now + 999) / 1000);
}

/* Starts the next one for each that has ended; returns how many those were. */
static long
go_on(Multi *multi, const char *url)
{
	CURLMsg    *message;
	int			left;
	long		done = 0;

	while ((message = curl_multi_info_read(multi->curl, &left)) != NULL)
	{
		CURL	   *easy = message->easy_handle;
		long		status = 0;

		curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
		if (message->data.result != CURLE_OK)
			fail("post", curl_easy_strerror(message->data.result));
		if (status != 200)
			fail("post", "not every answer was 200");
		done++;
		curl_multi_remove_handle(multi->curl, easy);
		start(multi, easy, url);
	}
	return done;
}

static double
cpu_us(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return ((double) usage.ru_utime.tv_sec + (double) usage.ru_stime.tv_sec) * 1e6 +
		(double) (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void
post(const char *url, int concurrency, double seconds, int share)
{
	int64_t		now = clock_us(CLOCK_MONOTONIC);
	int64_t		ends = now + (int64_t) (seconds * 1e6);
	int64_t		began = -1;
	double		cpu = 0;
	long		done = 0;

	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	make_multis((concurrency + share - 1) / share, share);
	for (int i = 0; i < concurrency; i++)
		start(&multis[i % nmultis], new_handle(), url);
	while (now < ends)
	{
		struct epoll_event events[MAX_EVENTS];
		int			running;
		int			n = epoll_wait(epoll_fd, events, MAX_EVENTS, timeout_of(now));

		for (int i = 0; i < n; i++)
		{
			Multi	   *multi = &multis[events[i].data.u64 >> 32];

			curl_multi_socket_action(multi->curl, (curl_socket_t) (events[i].data.u64 & UINT32_MAX),
									 (events[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) |
									 (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
									 (events[i].events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0),
									 &running);
		}
		now = clock_us(CLOCK_MONOTONIC);
		for (int i = 0; i < nmultis; i++)
		{
			if (multis[i].deadline >= 0 && multis[i].deadline <= now)
			{
				multis[i].deadline = -1;
				curl_multi_socket_action(multis[i].curl, CURL_SOCKET_TIMEOUT, 0, &running);
			}
			done += go_on(&multis[i], url);
		}
		if (began < 0 && done >= concurrency)
		{
			began = now;
			cpu = cpu_us();
			done = 0;
		}
	}
	if (began < 0 || done == 0)
		fail("post", "it took longer than that to make all connections");
	printf("%.0f %.2f\n", (double) done * 1e6 / (double) (now - began),
		   (cpu_us() - cpu) / (double) done);
}

/* ---------- floor, submit ---------- */

static PGconn *
connect_to(const char *connection)
{
	PGconn	   *conn = PQconnectdb(connection);

	if (PQstatus(conn) != CONNECTION_OK)
		fail("connection", PQerrorMessage(conn));
	return conn;
}

static void
prepare(PGconn *conn, const char *name, const char *sql)
{
	PGresult   *result = PQprepare(conn, name, sql, 0, NULL);

	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		fail(sql, PQerrorMessage(conn));
	PQclear(result);
}

static void
run(PGconn *conn, const char *name, int n, const char *const *values)
{
	PGresult   *result = PQexecPrepared(conn, name, n, values, NULL, NULL, 0);

	if (PQresultStatus(result) != PGRES_COMMAND_OK &&
		PQresultStatus(result) != PGRES_TUPLES_OK)
		fail(name, PQerrorMessage(conn));
	PQclear(result);
}

static void
paced(const char *connection, const char *url, int n, double rate, bool submit)
{
	PGconn	   *conn = connect_to(connection);
	CURL	   *easy = new_handle();
	int64_t		next = clock_us(CLOCK_MONOTONIC);

	if (submit)
	{
		prepare(conn, "submit",
				"SELECT dtm_submit('saga', ARRAY[dtm_step($2, $2, '{\"amount\": 30}'), "
				"dtm_step($2, $2, '{\"amount\": 30}')], gid => $1)");
		prepare(conn, "wait", "SELECT dtm_wait($1)");
	}
	else
	{
		PQclear(PQexec(conn, "CREATE TABLE IF NOT EXISTS bench_floor (gid text PRIMARY KEY, body text)"));
		prepare(conn, "insert", "INSERT INTO bench_floor VALUES ($1, $2)");
	}
	for (int i = 0; i < n; i++)
	{
		char		gid[64];
		char		full[1000];
		const char *values[2] = {gid, submit ? url : body};
		int64_t		now = clock_us(CLOCK_MONOTONIC);
		int64_t		began;

		if (next > now)
			usleep((useconds_t) (next - now));
		next += (int64_t) (1e6 / rate);
		snprintf(gid, sizeof(gid), "%s-%d-%d", submit ? "submit" : "floor", (int) getpid(), i);
		began = clock_us(CLOCK_REALTIME);
		if (submit)
		{
			run(conn, "submit", 2, values);
			run(conn, "wait", 1, values);
			printf("%s %lld %lld\n", gid, (long long) began,
				   (long long) clock_us(CLOCK_REALTIME));
			continue;
		}
		run(conn, "insert", 2, values);
		snprintf(full, sizeof(full), "%s?branch_id=01&gid=%s&op=action&trans_type=saga", url, gid);
		curl_easy_setopt(easy, CURLOPT_URL, full);
		if (curl_easy_perform(easy) != CURLE_OK)
			fail("floor", "POST failed");
		printf("%s %lld\n", gid, (long long) began);
	}
	PQfinish(conn);
}

int
main(int argc, char **argv)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	if ((argc == 5 || argc == 6) && strcmp(argv[1], "post") == 0)
		post(argv[2], atoi(argv[3]), atof(argv[4]), atoi(argv[argc == 6 ? 5 : 3]));
	else if (argc == 6 && strcmp(argv[1], "floor") == 0)
		paced(argv[2], argv[3], atoi(argv[4]), atof(argv[5]), false);
	else if (argc == 6 && strcmp(argv[1], "submit") == 0)
		paced(argv[2], argv[3], atoi(argv[4]), atof(argv[5]), true);
	else
		fail("usage", "see the head of client.c");
	return 0;
}
