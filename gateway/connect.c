/*
 * connect.c
 *		Connecting to PostgreSQL, in a thread.
 *
 * libpq resolves names by getaddrinfo(), which blocks, at the first host and at
 * each that follows; and the non-blocking way knows no connect_timeout, so that a
 * host that is silent would keep the others from being tried.  So each attempt
 * is a thread that connects and ends.  It has nothing but the string and the
 * connection; what it has come to goes into a list, and a descriptor tells the
 * loop.  A session has one attempt at a time, however long that takes.
 */
#include "dbprivate.h"

#include "log.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Of a host, in s, unless the conninfo has it. */
#define CONNECT_TIMEOUT	"3"

/* Bytes of a thread's stack: libpq and the resolver have buffers there. */
#define STACK_SIZE		(1024 * 1024)

typedef struct Attempt
{
	Session    *session;
	const char *conninfo;		/* there as long as we run */
	PGconn	   *conn;
	struct Attempt *next;
} Attempt;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static Attempt *done;			/* those that have ended, under the mutex */
static int	running;			/* threads, under the mutex */
static Watch watch = {.fd = -1};

static void *
attempt_main(void *arg)
{
	Attempt    *attempt = arg;
	uint64_t	one = 1;

	/* what stands before dbname can be overridden by what it expands to */
	const char *const keywords[] = {
		"fallback_application_name", "target_session_attrs", "tcp_user_timeout",
		"keepalives_idle", "connect_timeout", "dbname", "client_encoding", NULL
	};
	const char *const values[] = {
		"dtm-gateway", "primary", "10000", "10", CONNECT_TIMEOUT,
		attempt->conninfo, "UTF8", NULL
	};

	attempt->conn = PQconnectdbParams(keywords, values, 1);
	(void) pthread_mutex_lock(&mutex);
	attempt->next = done;
	done = attempt;
	running--;
	(void) !write(watch.fd, &one, sizeof(one));
	(void) pthread_mutex_unlock(&mutex);
	return NULL;
}

static void
attempts_ended(Watch *w, uint32_t events)
{
	uint64_t	n;
	Attempt    *list;

	(void) events;
	(void) !read(w->fd, &n, sizeof(n));
	(void) pthread_mutex_lock(&mutex);
	list = done;
	done = NULL;
	(void) pthread_mutex_unlock(&mutex);
	while (list != NULL)
	{
		Attempt    *attempt = list;

		list = attempt->next;
		session_connected(attempt->session, attempt->conn);
		free(attempt);
	}
}

void
connect_init(Loop *loop)
{
	int			fd;

	if (watch.fd >= 0)
		return;
	fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (fd < 0)
	{
		log_error("could not create an event descriptor: %s", strerror(errno));
		exit(1);
	}
	watch.ready = attempts_ended;
	loop_watch(loop, &watch, fd, EPOLLIN);
}

bool
connect_start(Session *session)
{
	Attempt    *attempt = xcalloc(sizeof(Attempt));
	pthread_attr_t attributes;
	pthread_t	thread;
	int			rc;

	attempt->session = session;
	attempt->conninfo = session->db->config.conninfo;
	(void) pthread_attr_init(&attributes);
	(void) pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	(void) pthread_attr_setstacksize(&attributes, STACK_SIZE);
	(void) pthread_mutex_lock(&mutex);
	rc = pthread_create(&thread, &attributes, attempt_main, attempt);
	running += rc == 0;
	(void) pthread_mutex_unlock(&mutex);
	(void) pthread_attr_destroy(&attributes);
	if (rc != 0)
		free(attempt);
	errno = rc;
	return rc == 0;
}

bool
connect_is_running(void)
{
	bool		is_running;

	(void) pthread_mutex_lock(&mutex);
	is_running = running > 0;
	(void) pthread_mutex_unlock(&mutex);
	return is_running;
}
