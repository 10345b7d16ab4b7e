/*
 * transport.c
 *		Makes many HTTP calls at a time with libcurl's multi interface.
 *
 * libcurl reports the sockets for which it waits with callbacks (shard.c).
 * All of them are in one epoll descriptor, on which the owner can wait
 * together with its own descriptors.  The callbacks only store data: they run
 * inside libcurl, and no error may jump out of it.
 *
 * libcurl resolves names in its own threads.  Such a thread must not receive
 * the signals of the PostgreSQL process, so all signals are blocked while
 * libcurl may start a thread.
 */
#include "private.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

/* So late is more than a busy machine's delay, and then calls have so long, in us. */
#define LATE				500000
#define GRACE				1000000

static int64_t
clock_us(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t
monotonic_us(void)
{
	return clock_us(CLOCK_MONOTONIC);
}

int64_t
realtime_us(void)
{
	return clock_us(CLOCK_REALTIME);
}

/* ---------- calls ---------- */

static void
append_done(DtmTransport *t, DtmCall *call)
{
	call->next = NULL;
	if (t->last_done)
		t->last_done->next = call;
	else
		t->done = call;
	t->last_done = call;
}

/* A call that can't even be started has ended. */
static void
fail_to_start(DtmTransport *t, DtmCall *call)
{
	DtmHost    *host = call->host;

	if (call->error[0] == '\0')
		snprintf(call->error, sizeof(call->error),
				 "could not prepare request: out of memory");
	queue_left(t, call, false);
	call->host = NULL;
	append_done(t, call);
	host_release(t, host);
}

static bool
add_handle(DtmRequest *request, DtmCall *call)
{
	CURLMcode	rc = curl_multi_add_handle(request->shard->multi, request->easy);

	if (rc != CURLM_OK)
		snprintf(call->error, sizeof(call->error), "could not start request: %s",
				 curl_multi_strerror(rc));
	return rc == CURLM_OK;
}

static void
start(DtmTransport *t, DtmCall *call)
{
	DtmRequest *request = request_get(t, call->error);

	call->started = realtime_us();
	if (request == NULL)
	{
		fail_to_start(t, call);
		return;
	}
	request->call = call;
	request->too_long = request->was_late = request->in_framing = request->is_encoded = false;
	request->paused = request->was_paused = request->is_crowded = false;
	request->header_len = 0;
	request->content_length = -1;
	request->forbidden[0] = request->rejected[0] = request->unwatched[0] = request->error[0] = '\0';
	request->started = clock_us(CLOCK_MONOTONIC);
	request->expires = request->started + call->timeout;
	if (request->expires < t->next_expiry)
		t->next_expiry = request->expires;
	request->shard = shard_enter(t, call->host, call->error);
	if (request->shard == NULL || !request_prepare(t, request, call) || !add_handle(request, call))
	{
		if (request->shard != NULL)
			shard_leave(call->host, request->shard);
		request_put(t, request);
		fail_to_start(t, call);
		return;
	}
	call->request = request;
	host_started(t, call->host, call);
	queue_started(call);
	request->aside = call->aside && t->naside < MAX_ASIDE;
	*calls_with(t, request) += 1;
	if (call->sent != NULL)
		*call->sent = call->started;
}

/* Starts waiting calls, host by host in turn, as far as the limits allow. */
static void
start_waiting(DtmTransport *t)
{
	DtmHost    *host = t->waiting_hosts;
	int			full = 0;		/* hosts in a row that can take no more */
	int			nhosts = 0;

	t->next_start = INT64_MAX;
	if (host == NULL)
		return;
	do
	{
		nhosts++;
		host = host->next;
	} while (host != t->waiting_hosts);

	while (t->waiting_hosts != NULL && t->in_flight < t->max_requests &&
		   full < nhosts)
	{
		DtmCall    *call;

		host = t->waiting_hosts;
		t->waiting_hosts = host->next;
		call = queue_take(t, host);
		if (call != NULL)
			start(t, call);
		full = call != NULL ? 0 : full + 1;
	}
}

/* A call is not in flight any more. */
static void
leave(DtmTransport *t, DtmRequest *request)
{
	DtmCall    *call = request->call;
	DtmHost    *host = call->host;

	curl_multi_remove_handle(request->shard->multi, request->easy);
	reply_leave(request);
	shard_leave(host, request->shard);
	request_put(t, request);
	call->request = NULL;
	queue_left(t, call, true);
	call->host = NULL;
	host_left(t, host, call);
	*calls_with(t, request) -= 1;
	host_release(t, host);
}

void
request_finish(DtmTransport *t, DtmRequest *request, CURLcode rc)
{
	DtmCall    *call = request->call;
	long		status = 0;

	call->duration = clock_us(CLOCK_MONOTONIC) - request->started;
	/* some statuses say enough by themselves */
	if (rc == CURLE_OK ||
		(request->forbidden[0] == '\0' && request->unwatched[0] == '\0' &&
		 request->header_len <= MAX_HEADER_LEN &&
		 (request->too_long || request->is_encoded || request->is_crowded || request->paused) &&
		 curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK &&
		 (status == 409 || status == 425 || call->status_is_enough)))
	{
		curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
		call->http_status = (int) status;
	}
	else
		failure_explain(t, request, rc);
	if (rc == CURLE_OK || status != 0 || failure_has_answer(request))
		host_answered(t, call->host, call);
	else if (request->forbidden[0] == '\0' && failure_is_silence(rc, call))
		host_failed(t, call->host, call, rc == CURLE_OPERATION_TIMEDOUT);
	leave(t, request);
	append_done(t, call);
}

/* ---------- signals ---------- */

static void
block_signals(sigset_t *before)
{
	sigset_t	all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, before);
}

static void
restore_signals(const sigset_t *before)
{
	pthread_sigmask(SIG_SETMASK, before, NULL);
}

/* ---------- the interface ---------- */

DtmTransport *
dtm_transport_create(const DtmTransportLimits *limits, char *error,
					 size_t error_size)
{
	DtmTransport *t;
	sigset_t	before;
	bool		started;

	block_signals(&before);
	started = library_start(error, error_size);
	restore_signals(&before);
	if (!started)
		return NULL;

	t = calloc(1, sizeof(DtmTransport));
	if (t == NULL)
	{
		snprintf(error, error_size, "out of memory");
		return NULL;
	}
	t->next_expiry = t->next_start = t->next_withdrawal = INT64_MAX;
	t->epoll = epoll_create1(EPOLL_CLOEXEC);
	t->default_headers = make_default_headers();
	if (t->epoll < 0 || t->default_headers == NULL)
	{
		snprintf(error, error_size, "could not create a multiplexer: %s",
				 strerror(errno));
		dtm_transport_destroy(t);
		return NULL;
	}
	dtm_transport_set_limits(t, limits);
	return t;
}

void
dtm_transport_set_limits(DtmTransport *t, const DtmTransportLimits *limits)
{
	t->limits = *limits;
	t->limits.ca_file = t->ca_file;
	snprintf(t->ca_file, sizeof(t->ca_file), "%s", limits->ca_file);
	t->max_requests = files_allow(limits->max_requests);
	shards_limit_connections(t);
	hosts_limits_changed(t);
}

int
dtm_transport_max_requests(const DtmTransport *t)
{
	return t->max_requests;
}

/* A call that has no reply yet. */
static void
init_reply(DtmCall *call)
{
	call->next = NULL;
	call->host = NULL;
	call->request = NULL;
	call->at = NULL;
	call->queue = NULL;
	call->withdrawn = false;
	call->http_status = 0;
	call->reply = NULL;
	call->reply_len = call->reply_size = 0;
	call->grpc_status = -1;
	call->grpc_message = NULL;
	call->retry_after = NULL;
	call->error[0] = '\0';
	call->started = 0;
	call->duration = 0;
}

void
dtm_transport_submit(DtmTransport *t, DtmCall *call)
{
	DtmHost    *host = host_of(t, call->url);

	init_reply(call);
	call->host = host;
	call->host_number = host == NULL ? 0 : host->number;
	if (host == NULL || !queue_add(t, host, call))
	{
		if (host != NULL)
			host_release(t, host);
		dtm_transport_refuse(t, call, "out of memory");
		return;
	}
}

void
dtm_transport_refuse(DtmTransport *t, DtmCall *call, const char *reason)
{
	init_reply(call);
	call->started = realtime_us();
	snprintf(call->error, sizeof(call->error), "%s", reason);
	append_done(t, call);
}

/* Removes a waiting call. */
static void
stop_waiting(DtmTransport *t, DtmCall *call)
{
	DtmHost    *host = call->host;

	queue_remove(t, call);
	call->host = NULL;
	host_release(t, host);
}

void
dtm_transport_withdraw(DtmTransport *t, DtmCall *call)
{
	stop_waiting(t, call);
	call->withdrawn = true;
	append_done(t, call);
}

void
dtm_transport_withdraw_all(DtmTransport *t, bool only_open)
{
	for (int i = 0; i < HOST_BUCKETS; i++)
	{
		DtmHost    *next;

		for (DtmHost *host = t->hosts[i]; host != NULL; host = next)
		{
			next = host->next_in_bucket;
			if (only_open && !host->stats.open)
				continue;
			/* the host may go with its last call */
			for (int n = host->stats.waiting; n > 0; n--)
				dtm_transport_withdraw(t, queue_any(host));
		}
	}
}

void
dtm_transport_cancel(DtmTransport *t, DtmCall *call)
{
	sigset_t	before;

	if (call->request != NULL)
	{
		block_signals(&before);
		leave(t, call->request);
		restore_signals(&before);
	}
	else if (call->host != NULL)
		stop_waiting(t, call);
	else
	{
		/* ended already */
		DtmCall   **link = &t->done;
		DtmCall    *previous = NULL;

		while (*link != NULL && *link != call)
		{
			previous = *link;
			link = &previous->next;
		}
		if (*link == call)
		{
			*link = call->next;
			if (t->last_done == call)
				t->last_done = previous;
		}
	}
	call->next = NULL;
	reply_forget(t, call);
	dtm_call_release(call);
}

int
dtm_transport_fd(const DtmTransport *t)
{
	return t->epoll;
}

int64_t
dtm_transport_due_in(DtmTransport *t)
{
	int64_t		due;
	int64_t		left;

	t->waits_since = clock_us(CLOCK_MONOTONIC);
	if (t->done != NULL || (t->npaused > 0 && t->reply_freed))
		return 0;
	due = shards_deadline(t);
	if (t->in_flight + t->naside > 0 && t->next_expiry < due)
		due = t->next_expiry;
	if (t->waiting > 0 && t->next_start < due)
		due = t->next_start;
	if (t->waiting > 0 && t->next_withdrawal < due)
		due = t->next_withdrawal;
	if (due == INT64_MAX)
		return -1;
	left = due - clock_us(CLOCK_MONOTONIC);
	return left > 0 ? left : 0;
}

/*
 * Ends the calls whose time-out is over.  Not left to libcurl, which ends them
 * before it reads what has arrived: a process that was held up for longer than
 * a time-out would take replies that are there for missing ones.
 *
 * What has held us up, a pause of the whole machine perhaps, may have held up
 * those who answer, too: calls that we come late for have a moment more.
 */
static void
expire(DtmTransport *t)
{
	int64_t		now = clock_us(CLOCK_MONOTONIC);

	if (now < t->next_expiry)
		return;
	t->next_expiry = INT64_MAX;
	for (DtmRequest *request = t->all_requests; request != NULL; request = request->next_of_all)
	{
		if (request->call == NULL)
			continue;
		if (request->unwatched[0] != '\0')
		{
			request_finish(t, request, CURLE_ABORTED_BY_CALLBACK);
			continue;
		}
		if (request->expires + LATE < now && !request->was_late)
		{
			request->was_late = true;
			request->expires = now + GRACE;
		}
		if (request->expires <= now)
		{
			snprintf(request->error, sizeof(request->error),
					 request->paused ?
					 "timed out after %lld ms: other responses took the memory" :
					 "timed out after %lld ms",
					 (long long) (now - request->started) / 1000);
			request_finish(t, request, CURLE_OPERATION_TIMEDOUT);
		}
		else if (request->expires < t->next_expiry)
			t->next_expiry = request->expires;
	}
}

/* A wait that is longer than this has not been ended by what was there already, in us. */
#define REAL_WAIT			1000

/*
 * What has arrived since the last drive may have been there for as long as the
 * owner has been busy; one that has waited has been woken by it.
 */
static void
measure_unseen(DtmTransport *t)
{
	int64_t		now = clock_us(CLOCK_MONOTONIC);
	bool		waited = t->waits_since != 0 && now - t->waits_since > REAL_WAIT;

	t->unseen = waited || t->drive_ended == 0 ? 0 : now - t->drive_ended;
	t->waits_since = 0;
}

void
dtm_transport_drive(DtmTransport *t)
{
	sigset_t	before;
	CURL	   *easy;
	CURLcode	rc;
	bool		all;

	block_signals(&before);
	replies_resume(t);
	measure_unseen(t);
	/* those that have waited for so long that nobody wants them any more */
	queues_expire(t, clock_us(CLOCK_MONOTONIC), dtm_transport_withdraw);
	start_waiting(t);
	all = shards_drive(t);
	/* before sleeping, or what has ended is not noticed */
	while ((easy = shards_next_done(t, &rc)) != NULL)
	{
		char	   *private;

		curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private);
		request_finish(t, (DtmRequest *) private, rc);
	}
	if (all)
		expire(t);
	start_waiting(t);
	t->drive_ended = clock_us(CLOCK_MONOTONIC);
	restore_signals(&before);
}

const char *
dtm_transport_problem(DtmTransport *t, char problem[DTM_CALL_ERROR_SIZE])
{
	if (t->problem[0] == '\0')
		return NULL;
	memcpy(problem, t->problem, DTM_CALL_ERROR_SIZE);
	t->problem[0] = '\0';
	return problem;
}

DtmCall *
dtm_transport_reap(DtmTransport *t)
{
	DtmCall    *call = t->done;

	if (call == NULL)
		return NULL;
	t->done = call->next;
	if (t->done == NULL)
		t->last_done = NULL;
	call->next = NULL;
	reply_forget(t, call);
	return call;
}

void
dtm_call_release(DtmCall *call)
{
	free(call->reply);
	free(call->grpc_message);
	free(call->retry_after);
	call->reply = NULL;
	call->reply_len = 0;
	call->grpc_message = call->retry_after = NULL;
}

int
dtm_transport_in_flight(const DtmTransport *t)
{
	return t->in_flight;
}

int
dtm_transport_waiting(const DtmTransport *t)
{
	return t->waiting;
}

void
dtm_transport_destroy(DtmTransport *t)
{
	sigset_t	before;

	if (t == NULL)
		return;
	block_signals(&before);
	for (DtmCall *call = t->done; call != NULL; call = call->next)
		dtm_call_release(call);
	while (t->all_requests != NULL)
	{
		DtmRequest *request = t->all_requests;

		t->all_requests = request->next_of_all;
		if (request->call != NULL)
		{
			curl_multi_remove_handle(request->shard->multi, request->easy);
			dtm_call_release(request->call);
		}
		curl_easy_cleanup(request->easy);
		curl_slist_free_all(request->headers);
		free(request);
	}
	queues_free(t);
	hosts_free(t);
	curl_slist_free_all(t->default_headers);
	shards_free(t);
	if (t->epoll >= 0)
		close(t->epoll);
	restore_signals(&before);
	free(t);
}
