/*
 * private.h
 *		What the files of the transport share.
 */
#ifndef DTM_TRANSPORT_PRIVATE_H
#define DTM_TRANSPORT_PRIVATE_H

#include "transport.h"

#include <limits.h>

#include <curl/curl.h>

#define HOST_BUCKETS		256

/* Headers and trailers of a reply, in bytes; with more it is an error. */
#define MAX_HEADER_LEN		65536

/* Calls to one host that share a multi handle at most. */
#define SHARD_SIZE			100

/* Calls to one host. */
typedef struct DtmHost
{
	char	   *name;			/* scheme, host and port */
	CURLU	   *url;			/* the same for libcurl; NULL: it can't be read */
	struct DtmHost *next_in_bucket;
	int			place;			/* in transport->places; -1: none was free */
	int64_t		last_used;		/* monotonic us */
	int64_t		probe_at;		/* the same, of an open one */
	const DtmCall *probe;		/* the latest one that is under way, or NULL */
	int64_t		pause;			/* us between probes; it doubles */
	bool		reported_open;	/* as it was last told */
	bool		changed;		/* in the list of those to be told of */
	struct DtmHost *next_changed;
	DtmHostStats stats;			/* in_flight and waiting are counted here */
	uint16_t   *in_shard;		/* the same, by shard */
	int			nshards;		/* elements of that */
	int			roomy;			/* the first shard that may have room for it */
	DtmCall    *first;			/* waiting for their turn */
	DtmCall    *last;
	struct DtmHost *next;		/* ring of the hosts that have waiting calls */
	struct DtmHost *previous;
} DtmHost;

/* One of libcurl's multi handles, with connections of its own. */
typedef struct DtmShard
{
	DtmTransport *transport;
	CURLM	   *multi;
	int			index;			/* in transport->shards */
	int64_t		deadline;		/* libcurl's timer, monotonic us; -1: none */
	bool		driven;			/* may have ended calls */
} DtmShard;

/* What epoll knows of a descriptor. */
typedef struct DtmSocket
{
	uint32_t	events;			/* what it waits for; 0: not there */
	bool		ours;			/* we opened it, and are told when it is closed */
	bool		idle;			/* libcurl does not wait for it now */
} DtmSocket;

/* One libcurl handle, used for call after call. */
typedef struct DtmSlot
{
	DtmTransport *transport;
	DtmShard   *shard;			/* where its call is */
	CURL	   *easy;
	DtmCall    *call;			/* NULL: free */
	struct curl_slist *headers; /* NULL: the transport's default ones */
	struct curl_slist own_headers[DTM_NOWN_HEADERS]; /* before them */
	bool		has_ca_file;	/* CAINFO is set */
	bool		has_client_cert;	/* SSLCERT and SSLKEY are set */
	bool		too_long;		/* the reply exceeded max_reply_size */
	size_t		header_len;		/* bytes of its headers and trailers */
	int64_t		content_length; /* of its header; -1: it has none */
	bool		in_framing;		/* its last header says where it ends, or how it is
								 * encoded */
	bool		is_encoded;		/* its body, which is why we ended it */
	char		rejected[128];	/* why we ended it by its headers; "": we did not */
	char		forbidden[64];	/* the address that it may not go to; "": none */
	size_t		reply_size;		/* allocated for call->reply */
	int64_t		started;		/* monotonic */
	int64_t		expires;		/* the same: when its time-out is over */
	bool		was_late;		/* which has been put off, since we came late */
	char		error[CURL_ERROR_SIZE];
	struct DtmSlot *next;		/* list of free ones */
	struct DtmSlot *next_of_all;
} DtmSlot;

struct DtmTransport
{
	DtmShard  **shards;
	int			nshards;
	int			epoll;			/* of the sockets of all of them */
	DtmSocket  *sockets;		/* by descriptor */
	int			nsockets;
	DtmTransportLimits limits;
	char		ca_file[PATH_MAX];	/* what limits.ca_file points to */
	int			max_requests;	/* limits.max_requests, or fewer */
	int64_t		next_expiry;	/* of the calls in flight, or earlier */
	struct curl_slist *default_headers;
	DtmSlot    *free_slots;
	DtmSlot    *all_slots;
	DtmHost    *hosts[HOST_BUCKETS];
	DtmHost    *waiting_hosts;	/* ring; the next to be served */
	DtmHost    *places[DTM_MAX_HOSTS];	/* those that are kept when idle */
	DtmHost    *changed_hosts;
	DtmCall    *done;			/* ended, not yet reaped */
	DtmCall    *last_done;
	int			in_flight;
	int			waiting;
};

/* ---------- transport.c ---------- */

extern int64_t monotonic_us(void);
extern int64_t realtime_us(void);

/* ---------- shard.c ---------- */

/* Where a call to a host goes, which counts there from now on; NULL: out of memory. */
extern DtmShard *shard_enter(DtmTransport *t, DtmHost *host);
extern void shard_leave(DtmHost *host, const DtmShard *shard);

/* transport->max_requests has changed. */
extern void shards_limit_connections(DtmTransport *t);

/* The earliest of libcurl's timers, monotonic us; INT64_MAX: none. */
extern int64_t shards_deadline(const DtmTransport *t);

/* Lets libcurl see to the sockets and timers that are ready; false: there may be more. */
extern bool shards_drive(DtmTransport *t);

/* The next call that has ended since; NULL: no more. */
extern CURL *shards_next_done(DtmTransport *t, CURLcode *rc);

extern void shards_free(DtmTransport *t);

/* libcurl's callbacks for sockets to hosts; the argument is the slot. */
extern curl_socket_t open_socket(void *arg, curlsocktype purpose,
								 struct curl_sockaddr *address);

/* The same; the argument is the transport. */
extern int	close_socket(void *arg, curl_socket_t fd);

/* ---------- call.c ---------- */

/* A handle for a call, and back; NULL: out of memory. */
extern DtmSlot *slot_get(DtmTransport *t);
extern void slot_put(DtmTransport *t, DtmSlot *slot);

/* Sets its options for a call.  False, with call->error or out of memory. */
extern bool slot_prepare(DtmTransport *t, DtmSlot *slot, DtmCall *call);

/* The headers of a call that brings none of its own; NULL: out of memory. */
extern struct curl_slist *make_default_headers(void);

/*
 * Can this libcurl use a connection of HTTP/2 for more than one call?  Before
 * 8.0 a second call on one that was made by prior knowledge fails
 * (CURLE_HTTP2).
 */
extern bool http2_can_reuse(void);

/* ---------- hosts.c ---------- */

/* The host of a URL, made if it isn't known; NULL: out of memory. */
extern DtmHost *host_of(DtmTransport *t, const char *url);

/* Forgets a host that has nothing to do, if too many are known. */
extern void host_release(DtmTransport *t, DtmHost *host);

/* Something of its stats has changed. */
extern void host_changed(DtmTransport *t, DtmHost *host);

/* May a call to it start, or is it to be refused, or to wait? */
typedef enum HostAdmits
{
	HOST_ADMITS,
	HOST_REFUSES,
	HOST_IS_FULL
} HostAdmits;

extern HostAdmits host_admits(const DtmTransport *t, const DtmHost *host);

/*
 * A call to it starts, ends with an answer, ends with an error that says that
 * it does not answer, is over for whatever reason.
 */
extern void host_started(DtmTransport *t, DtmHost *host, DtmCall *call);
extern void host_answered(DtmTransport *t, DtmHost *host, int64_t duration);
extern void host_failed(DtmTransport *t, DtmHost *host, const DtmCall *call);
extern void host_left(DtmTransport *t, DtmHost *host, const DtmCall *call);

/* The limits may permit more. */
extern void hosts_limits_changed(DtmTransport *t);

/* Why a call to an open one is refused. */
extern void host_explain(const DtmHost *host, char *error, size_t size);

/* Waiting calls: the last, the first, one somewhere. */
extern void host_append(DtmTransport *t, DtmHost *host, DtmCall *call);
extern DtmCall *host_take_first(DtmTransport *t, DtmHost *host);
extern void host_remove(DtmTransport *t, DtmHost *host, DtmCall *call);

extern void hosts_free(DtmTransport *t);

#endif							/* DTM_TRANSPORT_PRIVATE_H */
