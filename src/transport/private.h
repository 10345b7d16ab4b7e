/*
 * private.h
 *		Shared by the files of the transport.
 */
#ifndef DTM_TRANSPORT_PRIVATE_H
#define DTM_TRANSPORT_PRIVATE_H

#include "transport.h"

#include "window.h"

#include <limits.h>

#include <curl/curl.h>

#if LIBCURL_VERSION_NUM < 0x073f00
#error "dtm needs libcurl 7.63 or newer"
#endif

#define HOST_BUCKETS		256

/* Maximum size of the headers and trailers of a response, in bytes. */
#define MAX_HEADER_LEN		65536

/* Maximum number of calls to one host in one multi handle. */
#define SHARD_SIZE			100

/* Calls in flight of one tenant, to all hosts. */
typedef struct DtmTenant
{
	uint32_t	id;
	int			in_flight;
	int			nhosts;			/* HostTenants of it */
	struct DtmTenant *next;
} DtmTenant;

/* Calls of one tenant to one host. */
typedef struct HostTenant
{
	DtmTenant  *tenant;
	DtmHost    *host;
	int			in_flight;
	struct WaitQueue *queues;	/* ring of its waiting calls, from the queue
								 * that is served next */
	struct HostTenant *next;	/* ring of the host's tenants */
	struct HostTenant *previous;
} HostTenant;

/* Calls of one tenant with one key and the same limits that wait for one host, in their order. */
typedef struct WaitQueue
{
	HostTenant *at;
	uint64_t	key;
	DtmCall    *first;
	DtmCall    *last;
	struct WaitQueue *next;		/* ring */
	struct WaitQueue *previous;
	struct WaitQueue *next_in_bucket;
} WaitQueue;

#define QUEUE_BUCKETS		1024

/* A host, and the calls to it. */
struct DtmHost
{
	char	   *name;			/* scheme, host and port */
	CURLU	   *url;			/* the same for libcurl; NULL: invalid */
	DtmHost    *next_in_bucket;
	int			place;			/* in transport->places; -1: no place was free */
	int			number;			/* given by the owner; 0: none */
	int64_t		last_used;		/* monotonic us */
	int64_t		probe_at;		/* time of the next probe if the breaker is
								 * open, monotonic us */
	const DtmCall *probe;		/* the latest probe in flight, or NULL */
	int64_t		answered_at;	/* time of the latest answer, monotonic us */
	int64_t		rate_time;		/* when the next call is due at an even rate,
								 * monotonic us */
	DtmWindow	window;
	int64_t		pause;			/* us between probes; doubles with each
								 * failure */
	bool		reported_open;	/* state of the breaker that was reported last */
	bool		changed;		/* in transport->changed_hosts */
	DtmHost    *next_changed;
	DtmHostStats stats;			/* these are the counters of in_flight and
								 * waiting, too */
	uint16_t   *in_shard;		/* calls in flight, by shard */
	int			nshards;		/* elements of in_shard */
	int			roomy;			/* the first shard that may have room for a
								 * call */
	size_t		reply_bytes;	/* buffers of the replies of its calls in
								 * flight */
	HostTenant *tenants;		/* ring, from the tenant that is served next */
	DtmHost    *next;			/* ring of hosts with waiting calls */
	DtmHost    *previous;
};

/* One of libcurl's multi handles, with connections of its own. */
typedef struct DtmShard
{
	DtmTransport *transport;
	CURLM	   *multi;
	int			index;			/* in transport->shards */
	int64_t		deadline;		/* libcurl's timer, monotonic us; -1: none */
	bool		driven;			/* calls of it may have ended */
} DtmShard;

/* A descriptor in epoll. */
typedef struct DtmSocket
{
	uint32_t	events;			/* events to wait for; 0: not in epoll */
	bool		ours;			/* opened by our callback, which is also
								 * called when it is closed */
	bool		idle;			/* libcurl does not wait for it at present */
} DtmSocket;

/* One libcurl handle, used for call after call. */
/* Calls in flight aside at most; more of them are like any other. */
#define MAX_ASIDE	8

typedef struct DtmRequest
{
	DtmTransport *transport;
	DtmShard   *shard;			/* shard of its call */
	CURL	   *easy;
	DtmCall    *call;			/* NULL: free */
	struct curl_slist *headers; /* NULL: the transport's default headers */
	struct curl_slist own_headers[DTM_NOWN_HEADERS];	/* before them */
	bool		has_ca_file;	/* CAINFO is set */
	bool		has_client_cert;	/* SSLCERT and SSLKEY are set */
	bool		has_method;		/* CUSTOMREQUEST is set */
	bool		aside;			/* it takes no place of max_requests */
	bool		too_long;		/* the reply exceeded max_reply_size */
	size_t		header_len;		/* size of headers and trailers, in bytes */
	int64_t		content_length; /* of its header; -1: it has none */
	bool		in_framing;		/* its last header says where it ends, or how
								 * it is encoded */
	bool		is_encoded;		/* its body, which is why we ended it */
	char		rejected[128];	/* why we ended it by its headers; "": we did
								 * not */
	char		forbidden[64];	/* the forbidden address; "": none */
	bool		paused;			/* its reply waits for memory */
	bool		was_paused;		/* it has, so its time is not the host's */
	bool		is_crowded;		/* there was no memory for its reply, which
								 * could not wait */
	int64_t		started;		/* monotonic */
	int64_t		expires;		/* monotonic: when its time-out ends */
	bool		was_late;		/* the time-out was extended, because the
								 * process was late */
	char		unwatched[128]; /* why epoll does not watch its socket; "": it
								 * does */
	char		error[CURL_ERROR_SIZE];
	struct DtmRequest *next;	/* list of free requests */
	struct DtmRequest *next_of_all;
} DtmRequest;

struct DtmTransport
{
	DtmShard  **shards;
	int			nshards;
	int			epoll;			/* contains the sockets of all shards */
	DtmSocket  *sockets;		/* by descriptor */
	int			nsockets;
	DtmTransportLimits limits;
	char		ca_file[PATH_MAX];	/* copy to which limits.ca_file points */
	int			max_requests;	/* limits.max_requests, or less if descriptors
								 * are short */
	int64_t		next_expiry;	/* earliest time-out of the calls in flight,
								 * or earlier */
	struct curl_slist *default_headers;
	DtmRequest *free_requests;
	DtmRequest *all_requests;
	DtmHost    *hosts[HOST_BUCKETS];
	DtmHost    *waiting_hosts;	/* ring, from the host that is served next */
	DtmHost    *places[DTM_MAX_HOSTS];	/* hosts with statistics, kept when
										 * idle */
	DtmHost    *changed_hosts;
	DtmTenant  *tenants;		/* those with calls */
	WaitQueue  *queues[QUEUE_BUCKETS];
	int64_t		next_start;		/* when a call that waits for a time may
								 * start, monotonic us; INT64_MAX: none */
	int64_t		drive_ended;	/* end of the latest drive, monotonic us */
	int64_t		waits_since;	/* when its owner began to wait after that,
								 * the same; 0: it has not */
	int64_t		unseen;			/* us for which its owner had other things to
								 * do before this drive */
	int64_t		next_withdrawal;	/* when a call that waits expires, or
									 * earlier, monotonic us */
	DtmCall    *done;			/* ended, not yet reaped */
	DtmCall    *last_done;
	int			in_flight;		/* but for those aside */
	int			naside;			/* in flight, aside */
	int			waiting;
	size_t		reply_bytes;	/* buffers of all replies that were not reaped
								 * yet */
	DtmRequest *favored;		/* whose reply goes on although there is no
								 * memory for it; NULL: none */
	int			npaused;		/* requests whose reply waits for memory */
	bool		reply_freed;	/* some may go on */
	char		problem[DTM_CALL_ERROR_SIZE];	/* of no call, which the owner
												 * has not been told of; "":
												 * none */
};

/* The number of calls in flight that a call counts for. */
static inline int *
calls_with(DtmTransport *t, const DtmRequest *request)
{
	return request->aside ? &t->naside : &t->in_flight;
}

/* ---------- transport.c ---------- */

extern int64_t monotonic_us(void);
extern int64_t realtime_us(void);

/* ---------- url.c ---------- */

/* Where the host, or a user before it, begins; NULL: no scheme and "://". */
extern const char *url_authority(const char *url);

/* Is it one of https? */
extern bool url_is_tls(const char *url);

/* ---------- shard.c ---------- */

/*
 * Chooses the shard of a call to a host, and counts the call there.  NULL, with
 * the reason in "error" (of DTM_CALL_ERROR_SIZE), or out of memory.
 */
extern DtmShard *shard_enter(DtmTransport *t, DtmHost *host, char *error);
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

/* libcurl's callbacks for sockets to hosts; the argument is the request. */
extern curl_socket_t open_socket(void *arg, curlsocktype purpose,
								 struct curl_sockaddr *address);

/* The same; the argument is the transport. */
extern int	close_socket(void *arg, curl_socket_t fd);

/* The transfer of a call has ended. */
extern void request_finish(DtmTransport *t, DtmRequest *request, CURLcode rc);

/* ---------- failure.c ---------- */

/* Does the host not answer; did it answer, although the call has failed? */
extern bool failure_is_silence(CURLcode rc, const DtmCall *call);
extern bool failure_has_answer(const DtmRequest *request);

/* Sets call->error. */
extern void failure_explain(const DtmTransport *t, const DtmRequest *request,
							CURLcode rc);

/* ---------- reply.c ---------- */

typedef enum ReplyGrowth
{
	REPLY_FITS,
	REPLY_WAITS,				/* there is no memory for it now */
	REPLY_FAILS					/* out of memory */
} ReplyGrowth;

/* Makes the buffer of a reply large enough for so many bytes and a NUL. */
extern ReplyGrowth reply_grow(DtmRequest *request, size_t len);

/* Notes that a reply waits. */
extern void reply_pause(DtmRequest *request);

/* The call is not in flight any more; it is reaped, or canceled. */
extern void reply_leave(DtmRequest *request);
extern void reply_forget(DtmTransport *t, DtmCall *call);

/* Lets replies go on that wait for memory, if some was freed. */
extern void replies_resume(DtmTransport *t);

/* ---------- call.c ---------- */

/*
 * A handle for a call, and back.  NULL, with the reason in "error" (of
 * DTM_CALL_ERROR_SIZE), or out of memory.
 */
extern DtmRequest *request_get(DtmTransport *t, char *error);
extern void request_put(DtmTransport *t, DtmRequest *request);

/* Sets its options for a call.  False, with call->error or out of memory. */
extern bool request_prepare(DtmTransport *t, DtmRequest *request, DtmCall *call);

/* Makes the default headers; NULL: out of memory. */
extern struct curl_slist *make_default_headers(void);

/* ---------- environment.c ---------- */

/* Initializes libcurl; false, with the reason in "error", if it cannot be used. */
extern bool library_start(char *error, size_t error_size);

/* Can this libcurl use an HTTP/2 connection in clear for more than one call? */
extern bool http2_can_reuse(void);

/* How many calls the limit of open files allows, "wanted" at most. */
extern int	files_allow(int wanted);

/* ---------- hosts.c ---------- */

/* The host of a URL, created if it is unknown; NULL: out of memory. */
extern DtmHost *host_of(DtmTransport *t, const char *url);

/* Forgets an idle host, if too many hosts are known. */
extern void host_release(DtmTransport *t, DtmHost *host);

/* Notes that the statistics of a host have changed. */
extern void host_changed(DtmTransport *t, DtmHost *host);

/* Ring of hosts with waiting calls. */
extern void hosts_ring_add(DtmTransport *t, DtmHost *host);
extern void hosts_ring_remove(DtmTransport *t, DtmHost *host);

extern void hosts_free(DtmTransport *t);

/* ---------- breaker.c ---------- */

/* How many calls may be in flight to a host whose breaker is closed. */
extern int	host_limit(const DtmTransport *t, const DtmHost *host);

/*
 * A call to a host: starts; ended with a response; ended with an error that
 * means no response; is over for any reason.
 */
extern void host_started(DtmTransport *t, DtmHost *host, DtmCall *call);
extern void host_answered(DtmTransport *t, DtmHost *host, const DtmCall *call);
extern void host_failed(DtmTransport *t, DtmHost *host, const DtmCall *call, bool timed_out);
extern void host_left(DtmTransport *t, DtmHost *host, const DtmCall *call);

/* Notes that the limits have changed. */
extern void hosts_limits_changed(DtmTransport *t);

/* ---------- queue.c ---------- */

/* Adds a call that waits; false: out of memory. */
extern bool queue_add(DtmTransport *t, DtmHost *host, DtmCall *call);

/* Removes a waiting call. */
extern void queue_remove(DtmTransport *t, DtmCall *call);

/* Any call that waits for a host, or NULL. */
extern DtmCall *queue_any(const DtmHost *host);

/*
 * The call to a host that starts next, removed from its queue; NULL: none may
 * start.  Sets transport->next_start if one waits for a time.
 */
extern DtmCall *queue_take(DtmTransport *t, DtmHost *host);

/* Ends the waiting calls that have expired by a time; "end" removes them from here. */
extern void queues_expire(DtmTransport *t, int64_t now,
						  void (*end) (DtmTransport *t, DtmCall *call));

/* A call that was taken starts; and is over, whether it has started or not. */
extern void queue_started(DtmCall *call);
extern void queue_left(DtmTransport *t, DtmCall *call, bool started);

/* Forgets all queues and tenants; their calls are left as they are. */
extern void queues_free(DtmTransport *t);

#endif							/* DTM_TRANSPORT_PRIVATE_H */
