/*
 * breaker.c
 *		Statistics of hosts, their windows, and their circuit breakers.
 *
 * A breaker is normally closed.  It opens after breaker_failures consecutive
 * calls without a response, of those that began after the host's latest
 * response: a host that is slow, but responds, is a matter of its window
 * (window.c).  While the breaker is open, calls wait, and an occasional call is
 * a probe; each failed probe doubles the pause until the next one.  Local
 * errors do not count.  Any response closes the breaker, whatever its status.
 * Then the window begins with one call.
 */
#include "private.h"

#include <stdio.h>

/* Time from the opening of the breaker to the first probe, in us. */
#define FIRST_PAUSE			1000000

/* Weight of a response in the moving average of response times: 1 / this. */
#define TIME_WEIGHT			16

#define Min(a, b)			((a) < (b) ? (a) : (b))
#define Max(a, b)			((a) > (b) ? (a) : (b))

int
host_limit(const DtmTransport *t, const DtmHost *host)
{
	return Min(host->window.size, t->limits.max_requests_per_host);
}

/* What the window is to know of a call that has just ended. */
static DtmWindowCall
window_call(const DtmTransport *t, const DtmHost *host, const DtmCall *call)
{
	DtmWindowCall ended;

	ended.began = call->began;
	ended.ended = monotonic_us();
	/* it may have been there for as long as nobody looked */
	ended.time = Max(ended.ended - ended.began - t->unseen, 1);
	ended.timeout = call->timeout;
	ended.in_flight = host->stats.in_flight;
	return ended;
}

/* Has it taken the time that it has because we did not read its reply? */
static bool
was_held_up(const DtmCall *call)
{
	return call->request != NULL && call->request->was_paused;
}

static void
schedule_probe(DtmTransport *t, DtmHost *host)
{
	host->pause = Min(host->pause, t->limits.breaker_pause_max);
	host->probe_at = monotonic_us() + host->pause;
	host->stats.next_probe = realtime_us() + host->pause;
}

static void
close_circuit(DtmHost *host)
{
	host->probe = NULL;
	host->stats.open = host->stats.probing = false;
	host->stats.next_probe = 0;
	window_restart(&host->window, monotonic_us());
}

void
host_started(DtmTransport *t, DtmHost *host, DtmCall *call)
{
	host->stats.in_flight++;
	call->began = monotonic_us();
	if (host->stats.open)
	{
		/* a slow probe does not delay the next one */
		host->probe = call;
		host->stats.probing = true;
		schedule_probe(t, host);
	}
	host_changed(t, host);
}

/* Does an answer say that the host has too many requests?  Over HTTP, or gRPC. */
static bool
is_rejection(const DtmCall *call)
{
	return call->http_status == 429 || call->http_status == 503 ||
		(call->http2 && (call->grpc_status == 8 || call->grpc_status == 14));
}

void
host_answered(DtmTransport *t, DtmHost *host, const DtmCall *call)
{
	DtmHostStats *stats = &host->stats;
	DtmWindowCall ended = window_call(t, host, call);

	stats->recent_time = stats->calls == stats->failures ? call->duration :
		stats->recent_time + (call->duration - stats->recent_time) / TIME_WEIGHT;
	stats->total_time += call->duration;
	stats->calls++;
	stats->failed_in_a_row = 0;
	stats->silent_since = 0;
	host->answered_at = ended.ended;
	if (stats->open)
		close_circuit(host);	/* whichever call it was */
	else if (is_rejection(call))
		window_rejected(&host->window, &ended, t->limits.max_requests_per_host);
	else if (!was_held_up(call))
		window_answered(&host->window, &ended, t->limits.max_requests_per_host);
	stats->window = host_limit(t, host);
}

void
host_failed(DtmTransport *t, DtmHost *host, const DtmCall *call, bool timed_out)
{
	DtmHostStats *stats = &host->stats;
	DtmWindowCall ended = window_call(t, host, call);

	stats->calls++;
	stats->failures++;
	snprintf(stats->error, sizeof(stats->error), "%.*s",
			 (int) sizeof(stats->error) - 1, call->error);
	/* who refuses or breaks off does not do it for the number of calls */
	if (timed_out && !was_held_up(call))
		window_lost(&host->window, &ended);
	stats->window = host_limit(t, host);
	/* the host has answered since: it is not down */
	if (call->began < host->answered_at)
		return;
	if (stats->failed_in_a_row++ == 0)
		stats->silent_since = realtime_us();
	if (stats->open && call == host->probe)
	{
		host->pause *= 2;
		schedule_probe(t, host);
	}
	else if (!stats->open && t->limits.breaker_failures > 0 &&
			 stats->failed_in_a_row >= t->limits.breaker_failures)
	{
		stats->open = true;
		host->pause = FIRST_PAUSE;
		schedule_probe(t, host);
	}
}

void
host_left(DtmTransport *t, DtmHost *host, const DtmCall *call)
{
	host->stats.in_flight--;
	if (call == host->probe)
	{
		host->probe = NULL;
		host->stats.probing = false;
	}
	host_changed(t, host);
}

void
hosts_limits_changed(DtmTransport *t)
{
	for (int i = 0; i < DTM_MAX_HOSTS; i++)
	{
		DtmHost    *host = t->places[i];

		if (host == NULL)
			continue;
		if (host->stats.open && t->limits.breaker_failures == 0)
			close_circuit(host);
		else if (host->stats.open && host->pause > t->limits.breaker_pause_max)
			schedule_probe(t, host);
		host->stats.window = host_limit(t, host);
		host_changed(t, host);
	}
}

void
dtm_transport_probe_now(DtmTransport *t)
{
	for (int i = 0; i < HOST_BUCKETS; i++)
		for (DtmHost *host = t->hosts[i]; host != NULL; host = host->next_in_bucket)
		{
			if (!host->stats.open)
				continue;
			host->probe_at = monotonic_us();
			host->stats.next_probe = realtime_us();
			host_changed(t, host);
		}
}

/* ---------- statistics ---------- */

void
host_changed(DtmTransport *t, DtmHost *host)
{
	if (host->changed || host->place < 0)
		return;
	host->changed = true;
	host->next_changed = t->changed_hosts;
	t->changed_hosts = host;
}

const DtmHostStats *
dtm_transport_changed_host(DtmTransport *t, int *place, const char **name,
						   bool *switched)
{
	DtmHost    *host = t->changed_hosts;

	if (host == NULL)
		return NULL;
	t->changed_hosts = host->next_changed;
	host->changed = false;
	*place = host->place;
	*name = host->name;
	*switched = host->reported_open != host->stats.open;
	host->reported_open = host->stats.open;
	return &host->stats;
}
