/*
 * shard.c
 *		libcurl's multi handles, and the epoll descriptor that they share.
 *
 * To find a free connection, libcurl walks all connections to the host.  With
 * a thousand connections, this costs more than the rest of the call.  So the
 * calls to a host are spread over several multi handles, each with its own
 * connections and with at most SHARD_SIZE calls to one host.  The calls to
 * hosts with few calls are all in the first multi handle, where they share
 * connections.
 */
#include "private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Sockets looked at in one go. */
#define EVENTS_PER_DRIVE	256

/* ---------- sockets ---------- */

/* What epoll knows of a socket; NULL: out of memory. */
static DtmSocket *
socket_of(DtmTransport *t, curl_socket_t fd)
{
	if (fd >= t->nsockets)
	{
		int			n = fd + 64;
		DtmSocket  *sockets = realloc(t->sockets, sizeof(DtmSocket) * (size_t) n);

		if (sockets == NULL)
			return NULL;
		memset(sockets + t->nsockets, 0, sizeof(DtmSocket) * (size_t) (n - t->nsockets));
		t->sockets = sockets;
		t->nsockets = n;
	}
	return &t->sockets[fd];
}

static void
forget_socket(DtmTransport *t, curl_socket_t fd)
{
	if (fd < t->nsockets)
		memset(&t->sockets[fd], 0, sizeof(DtmSocket));
}

curl_socket_t
open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	DtmRequest *request = arg;
	DtmTransport *t = request->transport;
	curl_socket_t fd;
	DtmSocket  *known;

	(void) purpose;
	/* the address that the name has led to, rather than the name */
	if (dtm_address_listed(&t->limits.forbidden, &address->addr))
	{
		dtm_address_name(&address->addr, request->forbidden, sizeof(request->forbidden));
		return CURL_SOCKET_BAD;
	}
	request->forbidden[0] = '\0';	/* of another address of the name */
	fd = socket(address->family, address->socktype | SOCK_CLOEXEC,
				address->protocol);
	if (fd < 0)
		return CURL_SOCKET_BAD;
	known = socket_of(t, fd);
	if (known == NULL)
	{
		close(fd);
		return CURL_SOCKET_BAD;
	}
	memset(known, 0, sizeof(DtmSocket));
	known->ours = true;
	return fd;
}

int
close_socket(void *arg, curl_socket_t fd)
{
	/* epoll forgets it by itself */
	forget_socket(arg, fd);
	return close(fd);
}

/* epoll_ctl() has failed for a socket.  Its call could wait for ever: it ends instead. */
static void
note_unwatched(DtmTransport *t, CURL *easy, const char *what)
{
	int			error = errno;
	char	   *private = NULL;
	DtmRequest *request;

	(void) curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
	request = (DtmRequest *) private;
	if (request == NULL || request->call == NULL)
		snprintf(t->problem, sizeof(t->problem), "epoll_ctl(%s) failed: %s", what,
				 strerror(error));
	else
	{
		snprintf(request->unwatched, sizeof(request->unwatched), "epoll_ctl(%s) failed: %s",
				 what, strerror(error));
		t->next_expiry = 0;
	}
}

/* One that is closed already has left by itself. */
static void
unwatch(DtmTransport *t, curl_socket_t fd)
{
	struct epoll_event event = {0}; /* before Linux 2.6.9 it must be there */

	if (epoll_ctl(t->epoll, EPOLL_CTL_DEL, fd, &event) != 0 && errno != ENOENT &&
		errno != EBADF)
		snprintf(t->problem, sizeof(t->problem), "epoll_ctl(EPOLL_CTL_DEL) failed: %s",
				 strerror(errno));
}

/* Changes what epoll waits for at a socket, or fails. */
static bool
watch(DtmTransport *t, curl_socket_t fd, bool known, struct epoll_event *event,
	  const char **what)
{
	*what = known ? "EPOLL_CTL_MOD" : "EPOLL_CTL_ADD";
	if (epoll_ctl(t->epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, event) == 0)
		return true;

	/*
	 * libcurl has closed one and opened another, or we have not been told of
	 * its end
	 */
	if (errno != (known ? ENOENT : EEXIST))
		return false;
	*what = known ? "EPOLL_CTL_ADD" : "EPOLL_CTL_MOD";
	return epoll_ctl(t->epoll, known ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, event) == 0;
}

/* ---------- libcurl's callbacks ---------- */

/*
 * libcurl takes its socket away after each reply, to come back with the same
 * for the next call.  We don't: of a socket whose end we are told of
 * (close_socket), epoll goes on to know, which spares a system call or two for
 * each.
 */
static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *private)
{
	DtmShard   *shard = arg;
	DtmTransport *t = shard->transport;
	DtmSocket  *known = socket_of(t, fd);
	struct epoll_event event = {.data.u64 = (uint64_t) shard->index << 32 | (uint32_t) fd};
	const char *failed;

	(void) private;
	if (known == NULL)
		return -1;
	if (what == CURL_POLL_REMOVE)
	{
		known->idle = true;
		if (!known->ours)
		{
			unwatch(t, fd);
			forget_socket(t, fd);
		}
		return 0;
	}
	if (what & CURL_POLL_IN)
		event.events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		event.events |= EPOLLOUT;
	known->idle = false;
	if (known->events == event.events)
		return 0;
	if (watch(t, fd, known->events != 0, &event, &failed))
		known->events = event.events;
	else
		note_unwatched(t, easy, failed);
	return 0;
}

static int
on_timer(CURLM *multi, long timeout_ms, void *arg)
{
	DtmShard   *shard = arg;

	(void) multi;
	shard->deadline = timeout_ms < 0 ? -1 :
		monotonic_us() + (int64_t) timeout_ms * 1000;
	return 0;
}

/* ---------- shards ---------- */

/*
 * Sets an option unless one before has failed.  Which one has stands in "error",
 * of DTM_CALL_ERROR_SIZE.
 */
#define SETOPT(option, value) \
	do { \
		if (rc == CURLM_OK && (rc = curl_multi_setopt(multi, option, value)) != CURLM_OK) \
			snprintf(error, DTM_CALL_ERROR_SIZE, "could not set " #option ": %s", \
					 curl_multi_strerror(rc)); \
	} while (0)

/*
 * Connections, with those that are kept for the next call: the oldest idle one
 * makes room for a new one.  There are never more calls than that, so none
 * waits inside libcurl.
 */
static bool
limit_connections(DtmShard *shard, char *error)
{
	long		most = shard->transport->max_requests + MAX_ASIDE;
	CURLM	   *multi = shard->multi;
	CURLMcode	rc = CURLM_OK;

	SETOPT(CURLMOPT_MAXCONNECTS,
		   shard->index == 0 || most < SHARD_SIZE ? most : (long) SHARD_SIZE);
	SETOPT(CURLMOPT_MAX_TOTAL_CONNECTIONS, most);
	return rc == CURLM_OK;
}

void
shards_limit_connections(DtmTransport *t)
{
	for (int i = 0; i < t->nshards; i++)
		(void) limit_connections(t->shards[i], t->problem);
}

/* Options that never change. */
static bool
prepare_multi(DtmShard *shard, char *error)
{
	CURLM	   *multi = shard->multi;
	CURLMcode	rc = CURLM_OK;

	SETOPT(CURLMOPT_SOCKETFUNCTION, on_socket);
	SETOPT(CURLMOPT_SOCKETDATA, shard);
	SETOPT(CURLMOPT_TIMERFUNCTION, on_timer);
	SETOPT(CURLMOPT_TIMERDATA, shard);
	if (!http2_can_reuse())
		SETOPT(CURLMOPT_PIPELINING, (long) CURLPIPE_NOTHING);
	return rc == CURLM_OK;
}

/* One more; false, with the reason in "error", or out of memory. */
static bool
add_shard(DtmTransport *t, char *error)
{
	DtmShard  **shards = realloc(t->shards, sizeof(DtmShard *) * (size_t) (t->nshards + 1));
	DtmShard   *shard = calloc(1, sizeof(DtmShard));

	if (shards != NULL)
		t->shards = shards;
	if (shard != NULL)
		shard->multi = curl_multi_init();
	if (shards == NULL || shard == NULL || shard->multi == NULL)
	{
		free(shard);
		return false;
	}
	shard->transport = t;
	shard->index = t->nshards;
	shard->deadline = -1;
	if (!prepare_multi(shard, error) || !limit_connections(shard, error))
	{
		curl_multi_cleanup(shard->multi);
		free(shard);
		return false;
	}
	t->shards[t->nshards++] = shard;
	return true;
}

DtmShard *
shard_enter(DtmTransport *t, DtmHost *host, char *error)
{
	int			i = host->roomy;

	while (i < host->nshards && host->in_shard[i] >= SHARD_SIZE)
		i++;
	if (i == host->nshards)
	{
		uint16_t   *in_shard = realloc(host->in_shard, sizeof(uint16_t) * (size_t) (i + 1));

		if (in_shard == NULL)
			return NULL;
		in_shard[i] = 0;
		host->in_shard = in_shard;
		host->nshards++;
	}
	while (t->nshards <= i)
		if (!add_shard(t, error))
			return NULL;
	host->roomy = i;
	host->in_shard[i]++;
	return t->shards[i];
}

void
shard_leave(DtmHost *host, const DtmShard *shard)
{
	host->in_shard[shard->index]--;
	if (shard->index < host->roomy)
		host->roomy = shard->index;
}

int64_t
shards_deadline(const DtmTransport *t)
{
	int64_t		deadline = INT64_MAX;

	for (int i = 0; i < t->nshards; i++)
		if (t->shards[i]->deadline >= 0 && t->shards[i]->deadline < deadline)
			deadline = t->shards[i]->deadline;
	return deadline;
}

bool
shards_drive(DtmTransport *t)
{
	struct epoll_event events[EVENTS_PER_DRIVE];
	int64_t		now;
	int			running;
	int			n = epoll_wait(t->epoll, events, EVENTS_PER_DRIVE, 0);

	if (n < 0 && errno != EINTR)
		snprintf(t->problem, sizeof(t->problem), "epoll_wait() failed: %s", strerror(errno));
	for (int i = 0; i < n; i++)
	{
		DtmShard   *shard = t->shards[events[i].data.u64 >> 32];
		curl_socket_t fd = (curl_socket_t) (events[i].data.u64 & UINT32_MAX);
		DtmSocket  *known = socket_of(t, fd);
		int			what = 0;

		if (known == NULL || known->idle)
		{
			/* the other side has closed it; libcurl will see when it wants it */
			unwatch(t, fd);
			if (known != NULL)
				known->events = 0;
			continue;
		}
		if (events[i].events & EPOLLIN)
			what |= CURL_CSELECT_IN;
		if (events[i].events & EPOLLOUT)
			what |= CURL_CSELECT_OUT;
		if (events[i].events & (EPOLLERR | EPOLLHUP))
			what |= CURL_CSELECT_ERR;
		curl_multi_socket_action(shard->multi, fd, what, &running);
		shard->driven = true;
	}
	now = monotonic_us();
	for (int i = 0; i < t->nshards; i++)
	{
		DtmShard   *shard = t->shards[i];

		if (shard->deadline < 0 || shard->deadline > now)
			continue;
		shard->deadline = -1;
		curl_multi_socket_action(shard->multi, CURL_SOCKET_TIMEOUT, 0, &running);
		shard->driven = true;
	}
	return n < EVENTS_PER_DRIVE;
}

CURL *
shards_next_done(DtmTransport *t, CURLcode *rc)
{
	for (int i = 0; i < t->nshards; i++)
	{
		DtmShard   *shard = t->shards[i];
		CURLMsg    *msg;
		int			left;

		while (shard->driven && (msg = curl_multi_info_read(shard->multi, &left)) != NULL)
			if (msg->msg == CURLMSG_DONE)
			{
				*rc = msg->data.result;
				return msg->easy_handle;
			}
		shard->driven = false;
	}
	return NULL;
}

void
shards_free(DtmTransport *t)
{
	for (int i = 0; i < t->nshards; i++)
	{
		curl_multi_cleanup(t->shards[i]->multi);
		free(t->shards[i]);
	}
	free(t->shards);
	free(t->sockets);
}
