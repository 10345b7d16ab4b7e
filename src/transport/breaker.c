/*
 * breaker.c
 *		Statistics of hosts, and their circuit breakers.
 *
 * A breaker is normally closed.  It opens after breaker_failures consecutive
 * calls without a response.  While it is open, an occasional call is a probe;
 * each failed probe doubles the pause until the next one.  Local errors do not
 * count.  Any response closes the breaker, whatever its status.  Then "window"
 * calls may be in flight: first one, and one more with each response, so that
 * the number doubles with each round.
 */
#include "private.h"

#include <stdio.h>

/* Time from the opening of the breaker to the first probe, in us. */
#define FIRST_PAUSE			1000000

/* Weight of a response in the moving average of response times: 1 / this. */
#define TIME_WEIGHT			16

#define Min(a, b)			((a) < (b) ? (a) : (b))

static int
limit_of(const DtmTransport *t, const DtmHost *host)
{
	return host->stats.window > 0 ?
		Min(host->stats.window, t->limits.max_requests_per_host) :
		t->limits.max_requests_per_host;
}

HostAdmits
host_admits(const DtmTransport *t, const DtmHost *host)
{
	if (host->stats.open)
		return monotonic_us() >= host->probe_at ? HOST_ADMITS : HOST_REFUSES;
	return host->stats.in_flight < limit_of(t, host) ? HOST_ADMITS : HOST_IS_FULL;
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
	host->stats.window = 0;
}

void
host_started(DtmTransport *t, DtmHost *host, DtmCall *call)
{
	host->stats.in_flight++;
	if (host->stats.open)
	{
		/* a slow probe does not delay the next one */
		host->probe = call;
		host->stats.probing = true;
		schedule_probe(t, host);
	}
	host_changed(t, host);
}

void
host_answered(DtmTransport *t, DtmHost *host, int64_t duration)
{
	DtmHostStats *stats = &host->stats;

	stats->recent_time = stats->calls == stats->failures ? duration :
		stats->recent_time + (duration - stats->recent_time) / TIME_WEIGHT;
	stats->total_time += duration;
	stats->calls++;
	stats->failed_in_a_row = 0;
	if (stats->open)
	{
		/*
		 * the host responds, whichever call it was: start with one call in
		 * flight
		 */
		close_circuit(host);
		stats->window = 1;
	}
	else if (stats->window > 0 && ++stats->window >= t->limits.max_requests_per_host)
		stats->window = 0;
}

void
host_failed(DtmTransport *t, DtmHost *host, const DtmCall *call)
{
	DtmHostStats *stats = &host->stats;

	stats->calls++;
	stats->failures++;
	stats->failed_in_a_row++;
	snprintf(stats->error, sizeof(stats->error), "%.*s",
			 (int) sizeof(stats->error) - 1, call->error);
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

		if (host == NULL || !host->stats.open)
			continue;
		if (t->limits.breaker_failures == 0)
			close_circuit(host);
		else if (host->pause > t->limits.breaker_pause_max)
			schedule_probe(t, host);
		host_changed(t, host);
	}
}

void
host_explain(const DtmHost *host, char *error, size_t size)
{
	snprintf(error, size,
			 "not called: circuit breaker is open after %d consecutive calls without response; last error: %s",
			 host->stats.failed_in_a_row, host->stats.error);
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
dtm_transport_changed_host(DtmTransport *t, int *place, bool *switched)
{
	DtmHost    *host = t->changed_hosts;

	if (host == NULL)
		return NULL;
	t->changed_hosts = host->next_changed;
	host->changed = false;
	*place = host->place;
	*switched = host->reported_open != host->stats.open;
	host->reported_open = host->stats.open;
	return &host->stats;
}
