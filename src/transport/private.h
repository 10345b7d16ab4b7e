/*
 * private.h
 *		What transport.c and hosts.c share.
 */
#ifndef DTM_TRANSPORT_PRIVATE_H
#define DTM_TRANSPORT_PRIVATE_H

#include "transport.h"

#include <curl/curl.h>

#define HOST_BUCKETS		256

/* Calls to one host. */
typedef struct DtmHost
{
	char	   *name;			/* scheme, host and port */
	struct DtmHost *next_in_bucket;
	int			in_flight;
	int			waiting;
	DtmCall    *first;			/* waiting for their turn */
	DtmCall    *last;
	struct DtmHost *next;		/* ring of the hosts that have waiting calls */
	struct DtmHost *previous;
} DtmHost;

/* One libcurl handle, used for call after call. */
typedef struct DtmSlot
{
	DtmTransport *transport;
	CURL	   *easy;
	DtmCall    *call;			/* NULL: free */
	struct curl_slist *headers; /* NULL: the transport's default ones */
	bool		too_long;		/* the reply exceeded max_reply_size */
	size_t		reply_size;		/* allocated for call->reply */
	int64_t		started;		/* monotonic */
	int64_t		expires;		/* the same: when its time-out is over */
	char		error[CURL_ERROR_SIZE];
	struct DtmSlot *next;		/* list of free ones */
	struct DtmSlot *next_of_all;
} DtmSlot;

struct DtmTransport
{
	CURLM	   *multi;
	int			epoll;
	DtmTransportLimits limits;
	int			max_requests;	/* limits.max_requests, or fewer */
	int64_t		deadline;		/* libcurl's timer, monotonic us; -1: none */
	int64_t		next_expiry;	/* of the calls in flight, or earlier */
	struct curl_slist *default_headers;
	DtmSlot    *free_slots;
	DtmSlot    *all_slots;
	DtmHost    *hosts[HOST_BUCKETS];
	DtmHost    *waiting_hosts;	/* ring; the next to be served */
	DtmCall    *done;			/* ended, not yet reaped */
	DtmCall    *last_done;
	int			in_flight;
	int			waiting;
};

/* ---------- hosts.c ---------- */

/* The host of a URL, made if it isn't known; NULL: out of memory. */
extern DtmHost *host_of(DtmTransport *t, const char *url);

/* Forgets a host that has nothing to do. */
extern void host_release(DtmTransport *t, DtmHost *host);

/* Waiting calls: the last, the first, one somewhere. */
extern void host_append(DtmTransport *t, DtmHost *host, DtmCall *call);
extern DtmCall *host_take_first(DtmTransport *t, DtmHost *host);
extern void host_remove(DtmTransport *t, DtmHost *host, DtmCall *call);

extern void hosts_free(DtmTransport *t);

#endif							/* DTM_TRANSPORT_PRIVATE_H */
