/*
 * queue.c
 *		Calls that wait for their turn, and whose turn it is.
 *
 * A host's tenants take turns, and so do the keys of each tenant; calls of the
 * same key keep their order.  The tenants' calls in flight are counted, at each
 * host and in all: the last places of a host, and of all, are for tenants that
 * have few calls in flight.  So calls that never end, of one tenant, leave
 * room for another's.
 */
#include "private.h"

#include <stdlib.h>
#include <string.h>

#define Min(a, b)			((a) < (b) ? (a) : (b))
#define Max(a, b)			((a) > (b) ? (a) : (b))

/*
 * The part of a limit that is left to tenants with fewer calls in flight than
 * that: 1 / this, and at least one of so many.  A smaller window has one place
 * more instead.
 */
#define RESERVED_SHARE		16
#define MIN_SHARED			8

/* A rate may be exceeded for so many starts in a row, or so long, in us. */
#define MAX_BURST			2
#define BURST_TIME			100000

/* ---------- tenants ---------- */

/* Of one id, made if it is not there; NULL: out of memory. */
static DtmTenant *
get_tenant(DtmTransport *t, uint32_t id)
{
	DtmTenant  *tenant = t->tenants;

	while (tenant != NULL && tenant->id != id)
		tenant = tenant->next;
	if (tenant != NULL)
		return tenant;
	tenant = calloc(1, sizeof(DtmTenant));
	if (tenant == NULL)
		return NULL;
	tenant->id = id;
	tenant->next = t->tenants;
	t->tenants = tenant;
	return tenant;
}

static void
release_tenant(DtmTransport *t, DtmTenant *tenant)
{
	DtmTenant **link = &t->tenants;

	if (tenant->nhosts > 0)
		return;
	while (*link != tenant)
		link = &(*link)->next;
	*link = tenant->next;
	free(tenant);
}

/* A tenant at a host, made if it is not there; NULL: out of memory. */
static HostTenant *
get_host_tenant(DtmTransport *t, DtmHost *host, uint32_t id)
{
	HostTenant *at = host->tenants;
	DtmTenant  *tenant;

	if (at != NULL)
		do
		{
			if (at->tenant->id == id)
				return at;
			at = at->next;
		} while (at != host->tenants);
	tenant = get_tenant(t, id);
	if (tenant == NULL)
		return NULL;
	at = calloc(1, sizeof(HostTenant));
	if (at == NULL)
	{
		release_tenant(t, tenant);
		return NULL;
	}
	tenant->nhosts++;
	at->tenant = tenant;
	at->host = host;
	if (host->tenants == NULL)
		at->next = at->previous = host->tenants = at;
	else
	{
		/* the last one to be served */
		at->next = host->tenants;
		at->previous = host->tenants->previous;
		at->previous->next = at->next->previous = at;
	}
	return at;
}

/* It is not needed any more if it has no calls. */
static void
release_host_tenant(DtmTransport *t, HostTenant *at)
{
	DtmHost    *host = at->host;

	if (at->in_flight > 0 || at->queues != NULL)
		return;
	if (at->next == at)
		host->tenants = NULL;
	else
	{
		at->previous->next = at->next;
		at->next->previous = at->previous;
		if (host->tenants == at)
			host->tenants = at->next;
	}
	at->tenant->nhosts--;
	release_tenant(t, at->tenant);
	free(at);
}

/* ---------- queues ---------- */

static WaitQueue **
bucket_of(DtmTransport *t, const HostTenant *at, uint64_t key)
{
	uint64_t	hash = ((uint64_t) (uintptr_t) at >> 4) * 31 + key;

	return &t->queues[(hash ^ hash >> 32) * 2654435761u / 64 % QUEUE_BUCKETS];
}

/* Of one key, made if it is not there; NULL: out of memory. */
static WaitQueue *
get_queue(DtmTransport *t, HostTenant *at, uint64_t key)
{
	WaitQueue **bucket = bucket_of(t, at, key);
	WaitQueue  *queue = *bucket;

	while (queue != NULL && (queue->at != at || queue->key != key))
		queue = queue->next_in_bucket;
	if (queue != NULL)
		return queue;
	queue = calloc(1, sizeof(WaitQueue));
	if (queue == NULL)
		return NULL;
	queue->at = at;
	queue->key = key;
	queue->next_in_bucket = *bucket;
	*bucket = queue;
	if (at->queues == NULL)
		queue->next = queue->previous = at->queues = queue;
	else
	{
		queue->next = at->queues;
		queue->previous = at->queues->previous;
		queue->previous->next = queue->next->previous = queue;
	}
	return queue;
}

static void
free_queue(DtmTransport *t, HostTenant *at, WaitQueue *queue)
{
	WaitQueue **link = bucket_of(t, at, queue->key);

	while (*link != queue)
		link = &(*link)->next_in_bucket;
	*link = queue->next_in_bucket;
	if (queue->next == queue)
		at->queues = NULL;
	else
	{
		queue->previous->next = queue->next;
		queue->next->previous = queue->previous;
		if (at->queues == queue)
			at->queues = queue->next;
	}
	free(queue);
}

/* Calls with a limit of their own must not keep others of their key from starting. */
static uint64_t
key_of(const DtmCall *call)
{
	return call->key ^ (uint64_t) call->max_requests * UINT64_C(0x9e3779b97f4a7c15) ^
		(uint64_t) call->interval * UINT64_C(0xc2b2ae3d27d4eb4f);
}

bool
queue_add(DtmTransport *t, DtmHost *host, DtmCall *call)
{
	HostTenant *at = get_host_tenant(t, host, call->tenant);
	WaitQueue  *queue = at == NULL ? NULL : get_queue(t, at, key_of(call));

	if (queue == NULL)
	{
		if (at != NULL)
			release_host_tenant(t, at);
		return false;
	}
	call->at = at;
	call->queue = queue;
	call->next = NULL;
	call->previous = queue->last;
	if (queue->last != NULL)
		queue->last->next = call;
	else
		queue->first = call;
	queue->last = call;
	if (call->expires != 0)
		t->next_withdrawal = Min(t->next_withdrawal, call->expires);
	if (host->stats.waiting++ == 0)
		hosts_ring_add(t, host);
	t->waiting++;
	host_changed(t, host);
	return true;
}

/* Removes a call from its queue; its tenant is still needed. */
static void
unlink_call(DtmTransport *t, DtmCall *call)
{
	WaitQueue  *queue = call->queue;
	DtmHost    *host = call->host;

	if (call->previous != NULL)
		call->previous->next = call->next;
	else
		queue->first = call->next;
	if (call->next != NULL)
		call->next->previous = call->previous;
	else
		queue->last = call->previous;
	call->next = call->previous = NULL;
	call->queue = NULL;
	if (queue->first == NULL)
		free_queue(t, queue->at, queue);
	if (--host->stats.waiting == 0)
		hosts_ring_remove(t, host);
	t->waiting--;
	host_changed(t, host);
}

void
queue_remove(DtmTransport *t, DtmCall *call)
{
	unlink_call(t, call);
	queue_left(t, call, false);
}

DtmCall *
queue_any(const DtmHost *host)
{
	HostTenant *at = host->tenants;

	if (host->stats.waiting == 0)
		return NULL;
	while (at->queues == NULL)
		at = at->next;
	return at->queues->first;
}

/* Ends those of a queue that have expired; returns when the first of the others does. */
static int64_t
expire_queue(DtmTransport *t, WaitQueue *queue, int64_t now,
			 void (*end) (DtmTransport *t, DtmCall *call))
{
	int64_t		next = INT64_MAX;
	DtmCall    *following;

	/* the queue goes with its last call */
	for (DtmCall *call = queue->first; call != NULL; call = following)
	{
		following = call->next;
		if (call->expires == 0)
			continue;
		if (call->expires <= now)
			end(t, call);
		else
			next = Min(next, call->expires);
	}
	return next;
}

void
queues_expire(DtmTransport *t, int64_t now, void (*end) (DtmTransport *t, DtmCall *call))
{
	int64_t		next = INT64_MAX;

	if (now < t->next_withdrawal)
		return;
	for (int i = 0; i < QUEUE_BUCKETS; i++)
	{
		WaitQueue  *following;

		for (WaitQueue *queue = t->queues[i]; queue != NULL; queue = following)
		{
			int64_t		its;

			following = queue->next_in_bucket;
			its = expire_queue(t, queue, now, end);
			next = Min(next, its);
		}
	}
	t->next_withdrawal = next;
}

void
queue_started(DtmCall *call)
{
	call->at->in_flight++;
	call->at->tenant->in_flight++;
}

void
queue_left(DtmTransport *t, DtmCall *call, bool started)
{
	HostTenant *at = call->at;

	if (started)
	{
		at->in_flight--;
		at->tenant->in_flight--;
	}
	call->at = NULL;
	release_host_tenant(t, at);
}

/* ---------- whose turn it is ---------- */

/* The last places of a limit, which are for tenants that have fewer than that in flight. */
static int
reserved_of(int limit)
{
	return limit < MIN_SHARED ? 0 : Max(limit / RESERVED_SHARE, 1);
}

/* May one more of a tenant start, that has so many of those in flight? */
static bool
has_place(int limit, int in_flight, int its)
{
	int			left = limit - in_flight;
	int			reserved = reserved_of(limit);

	return left > reserved || (left > 0 && its < reserved);
}

bool
dtm_transport_is_full(const DtmTransport *t)
{
	return t->max_requests - t->in_flight <= reserved_of(t->max_requests);
}

/* Would a call exceed its rate?  If so, notes when it does not any more. */
static bool
is_too_fast(DtmTransport *t, const DtmHost *host, const DtmCall *call, int64_t now)
{
	int64_t		ahead = Max(call->interval * (MAX_BURST - 1), BURST_TIME);

	if (call->interval == 0 || host->rate_time - ahead <= now)
		return false;
	t->next_start = Min(t->next_start, host->rate_time - ahead);
	return true;
}

/* The first call of a tenant that may start, its keys in turn. */
static DtmCall *
next_of_tenant(DtmTransport *t, DtmHost *host, HostTenant *at, int64_t now)
{
	const WaitQueue *first = at->queues;

	do
	{
		DtmCall    *call = at->queues->first;
		bool		has_limit = call->max_requests > 0 && !host->stats.open;

		at->queues = at->queues->next;
		if (has_limit &&
			!has_place(call->max_requests, host->stats.in_flight, at->in_flight))
			continue;
		if (!is_too_fast(t, host, call, now))
			return call;
	} while (at->queues != first);
	return NULL;
}

/* The places of a host whose breaker is closed; the last ones are not for all. */
static int
places_of(const DtmTransport *t, const DtmHost *host)
{
	int			limit = host_limit(t, host);

	return limit < MIN_SHARED && limit < t->limits.max_requests_per_host ? limit + 1 : limit;
}

/* May one more of a tenant start at a host? */
static bool
has_place_at(const DtmTransport *t, const HostTenant *at)
{
	const DtmHost *host = at->host;

	if (places_of(t, host) > host_limit(t, host))
		return host->stats.in_flight < host_limit(t, host) || at->in_flight == 0;
	return has_place(host_limit(t, host), host->stats.in_flight, at->in_flight);
}

/* Has the host a place for any call? */
static bool
admits(DtmTransport *t, DtmHost *host, int64_t now)
{
	if (host->stats.open)
	{
		if (now < host->probe_at)
			t->next_start = Min(t->next_start, host->probe_at);
		return now >= host->probe_at;
	}
	if (host->stats.in_flight < places_of(t, host))
		return true;
	window_wanted(&host->window);
	return false;
}

/* Has it one for a tenant's? */
static bool
admits_tenant(DtmTransport *t, DtmHost *host, const HostTenant *at)
{
	if (!has_place(t->max_requests, t->in_flight, at->tenant->in_flight))
		return false;
	if (host->stats.open || has_place_at(t, at))
		return true;
	window_wanted(&host->window);
	return false;
}

DtmCall *
queue_take(DtmTransport *t, DtmHost *host)
{
	int64_t		now = monotonic_us();
	HostTenant *first = host->tenants;
	HostTenant *at = first;

	if (!admits(t, host, now))
		return NULL;
	do
	{
		DtmCall    *call = at->queues == NULL || !admits_tenant(t, host, at) ? NULL :
			next_of_tenant(t, host, at, now);

		at = at->next;
		if (call == NULL)
			continue;
		host->tenants = at;
		if (call->interval > 0)
			host->rate_time = Max(host->rate_time, now) + call->interval;
		unlink_call(t, call);
		return call;
	} while (at != first);
	return NULL;
}

void
queues_free(DtmTransport *t)
{
	for (int i = 0; i < HOST_BUCKETS; i++)
		for (DtmHost *host = t->hosts[i]; host != NULL; host = host->next_in_bucket)
		{
			HostTenant *at = host->tenants;

			while (at != NULL)
			{
				HostTenant *next = at->next == at ? NULL : at->next;

				while (at->queues != NULL)
					free_queue(t, at, at->queues);
				at->in_flight = 0;
				release_host_tenant(t, at);
				at = next;
			}
		}
}
