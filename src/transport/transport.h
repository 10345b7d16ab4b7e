/*
 * transport.h
 *		Makes many HTTP calls at a time, in one thread that never blocks.
 *
 * A transport takes calls and returns each of them once, when the call has
 * ended.  Calls above its limits wait, for each host separately, so that a
 * slow host does not delay the others; libcurl makes the others.  The
 * transport knows URLs, requests and responses.  It does not know global
 * transactions, PostgreSQL or retries: a failed call is returned with its
 * error.
 *
 * Its owner waits until dtm_transport_fd() is readable or
 * dtm_transport_due_in() has passed, calls dtm_transport_drive(), and then
 * dtm_transport_reap().  No function throws; memory is allocated with malloc.
 */
#ifndef DTM_TRANSPORT_H
#define DTM_TRANSPORT_H

#include "address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define DTM_CALL_ERROR_SIZE 512

typedef struct DtmTransport DtmTransport;
typedef struct DtmHost DtmHost;

typedef struct DtmTransportLimits
{
	int			max_requests;	/* calls in flight, in all */
	int			max_requests_per_host;	/* to one scheme, host and port */
	size_t		max_reply_size; /* bytes of a response's body; a larger one is
								 * an error */
	size_t		max_reply_bytes;	/* bytes of the bodies of all responses;
									 * one for which there is no memory waits */
	int			breaker_failures;	/* consecutive calls without response that
									 * open the circuit breaker; 0: never */
	int64_t		breaker_pause_max;	/* us: longest time between two probes */
	DtmAddressList forbidden;	/* addresses to which connections are
								 * forbidden */
	const char *ca_file;		/* certificate authorities for TLS; "": the
								 * system's */
} DtmTransportLimits;

/* The default User-Agent. */
#define DTM_USER_AGENT "User-Agent: dtm-postgresql"

/* The headers of a call without a list of headers. */
#define DTM_NDEFAULT_HEADERS 5
extern const char *const dtm_default_headers[DTM_NDEFAULT_HEADERS];

/* Headers of a call besides the list. */
enum
{
	DTM_TRACE_HEADER, DTM_SIGNATURE_HEADER, DTM_IDEMPOTENCY_HEADER,
	DTM_NOWN_HEADERS
};

typedef struct DtmCall
{
	/*
	 * The request, which belongs to the caller and must not move until the
	 * call is reaped.
	 */
	const char *url;			/* http or https, complete with its query */
	bool		post;			/* POST with body, or GET */
	const char *method;			/* another method, with what post says of the
								 * body; NULL: none */
	const char *body;
	size_t		body_len;
	const char *const *headers; /* "Name: value" */
	int			nheaders;		/* 0: dtm_default_headers */
	const char *own_headers[DTM_NOWN_HEADERS];	/* headers besides the list;
												 * NULL: none */
	int64_t		timeout;		/* us, from the start of the request */
	int64_t		connect_timeout;	/* us of timeout for the connection; 0:
									 * all */
	const char *ca_file;		/* certificate authorities for TLS; NULL: the
								 * transport's */
	const char *client_cert;	/* certificate of the client; NULL: none */
	const char *client_key;		/* NULL: in client_cert */
	bool		http2;			/* HTTP/2 (without TLS: by prior knowledge),
								 * and read the gRPC status */
	bool		status_is_enough;	/* a body that is too large, or encoded,
									 * is no error */
	bool		read_retry_after;
	bool		aside;			/* in flight, it takes no place of
								 * max_requests: it must not be in the way of
								 * others */
	void	   *owner;			/* for the caller */
	int			host_number;	/* that its host had at the submit
								 * (dtm_transport_number_host()); 0: none */

	/*
	 * Limits, and whose call it is: tenants take turns, and the keys of each
	 * tenant do.
	 */
	int			max_requests;	/* starts only if fewer calls are in flight to
								 * its host; 0: no such limit */
	int64_t		interval;		/* us from one start to the next, on average;
								 * 0: any */
	uint32_t	tenant;
	uint64_t	key;
	int64_t		expires;		/* monotonic us: it is withdrawn if it still
								 * waits then; 0: never */

	/*
	 * The response, set when the call is reaped; valid until the call is
	 * released.
	 */
	int			http_status;	/* 0: no complete response */
	char	   *reply;			/* the body, NUL-terminated, or NULL;
								 * dtm_call_release() frees it */
	size_t		reply_len;
	int			grpc_status;	/* from headers or trailers; -1: none */
	char	   *grpc_message;	/* percent-decoded, or NULL;
								 * dtm_call_release() frees it */
	char	   *retry_after;	/* value of this header, or NULL;
								 * dtm_call_release() frees it */
	bool		withdrawn;		/* it was not made, and not by a fault */
	int64_t    *sent;			/* set to started when it is sent; NULL:
								 * nowhere.  For the caller to set */
	int64_t		started;		/* us since the Unix epoch; 0: it was not sent */
	int64_t		duration;		/* us */

	/* Private to the transport. */
	struct DtmCall *next;
	struct DtmCall *previous;	/* in its queue */
	DtmHost    *host;
	struct HostTenant *at;
	struct WaitQueue *queue;	/* NULL: it does not wait */
	int64_t		began;			/* monotonic us: when it was started */
	struct DtmRequest *request;
	size_t		reply_size;		/* allocated for reply, as long as it counts */

	/* Of the response: why http_status is 0.  Last, as most have none. */
	char		error[DTM_CALL_ERROR_SIZE];
} DtmCall;

/* Makes all of it 0, but for what is behind the end of an empty error. */
static inline void
dtm_call_clear(DtmCall *call)
{
	memset(call, 0, offsetof(DtmCall, error) + 1);
}

/* Is the call in flight, so that the host may have received it? */
static inline bool
dtm_call_is_in_flight(const DtmCall *call)
{
	return call->request != NULL;
}

/* Does the call wait for its turn? */
static inline bool
dtm_call_is_waiting(const DtmCall *call)
{
	return call->request == NULL && call->host != NULL;
}

/*
 * Creates the transport of this process; NULL, with the reason in "error", if
 * that fails.  If the limit of open files does not allow max_requests, the
 * soft limit is raised.  If that is not enough, fewer calls are made: see
 * dtm_transport_max_requests().
 */
extern DtmTransport *dtm_transport_create(const DtmTransportLimits *limits,
										  char *error, size_t error_size);

/* Ends all calls without returning them. */
extern void dtm_transport_destroy(DtmTransport *transport);

/* Changes the limits for calls that have not started yet. */
extern void dtm_transport_set_limits(DtmTransport *transport,
									 const DtmTransportLimits *limits);

/* Maximum number of calls in flight, given the limit of open files. */
extern int	dtm_transport_max_requests(const DtmTransport *transport);

/*
 * Takes a call.  It starts at the next dtm_transport_drive(), or when its turn
 * comes.
 */
extern void dtm_transport_submit(DtmTransport *transport, DtmCall *call);

/*
 * Takes a call that must not be made; it is reaped with the reason as its
 * error.
 */
extern void dtm_transport_refuse(DtmTransport *transport, DtmCall *call,
								 const char *reason);

/*
 * Calls that wait are withdrawn, and reaped so: one (which must be waiting);
 * all of them, or all to hosts whose circuit breaker is open.
 */
extern void dtm_transport_withdraw(DtmTransport *transport, DtmCall *call);
extern void dtm_transport_withdraw_all(DtmTransport *transport, bool only_open);

/* Hosts whose circuit breaker is open are probed as soon as there is a call. */
extern void dtm_transport_probe_now(DtmTransport *transport);

/* Cancels a call that has not been reaped.  It may have been sent. */
extern void dtm_transport_cancel(DtmTransport *transport, DtmCall *call);

/*
 * A descriptor that is readable when dtm_transport_drive() has something to
 * do.
 */
extern int	dtm_transport_fd(const DtmTransport *transport);

/*
 * Microseconds until dtm_transport_drive() must be called at the latest; -1:
 * no limit.  Call it right before waiting.
 */
extern int64_t dtm_transport_due_in(DtmTransport *transport);

/* Does what can be done without waiting. */
extern void dtm_transport_drive(DtmTransport *transport);

/*
 * What has failed since it was last asked for and was of no call in particular,
 * or NULL.
 */
extern const char *dtm_transport_problem(DtmTransport *transport,
										 char problem[DTM_CALL_ERROR_SIZE]);

/* The next call that has ended, or NULL. */
extern DtmCall *dtm_transport_reap(DtmTransport *transport);

/* Frees what the transport allocated for a call that was reaped. */
extern void dtm_call_release(DtmCall *call);

/*
 * Scheme, host and port of a URL, in lower case and always with the port,
 * truncated to fit. max_requests_per_host counts by this name.
 */
#define DTM_HOST_NAME_SIZE 300
extern void dtm_host_name(const char *url, char name[DTM_HOST_NAME_SIZE]);

/* From now on, calls to a host of this name have this host_number. */
extern void dtm_transport_number_host(DtmTransport *transport, const char *name,
									  int number);

/*
 * How many more calls a host of this name can use: as many as may be in flight,
 * and some that wait.  Zero or negative: it has enough.
 */
extern int	dtm_transport_appetite(const DtmTransport *transport,
								   const char *name);

/*
 * Did the latest call to a host of this name end without an answer?  False if
 * the host has no statistics, because too many hosts are known.
 */
extern bool dtm_transport_is_failing(const DtmTransport *transport,
									 const char *name);

/*
 * Statistics of hosts, and their circuit breakers.  If a host does not respond
 * to a number of consecutive calls that began after its latest answer, its
 * breaker opens: calls wait, except for occasional probes.  When the host
 * responds again, the number of calls in flight grows from one.
 */
#define DTM_MAX_HOSTS			64	/* hosts with statistics */
#define DTM_HOST_STAT_NAME_SIZE	128
#define DTM_HOST_STAT_ERROR_SIZE 128

typedef struct DtmHostStats
{
	char		name[DTM_HOST_STAT_NAME_SIZE];	/* "": none; truncated to fit */
	bool		open;			/* the circuit breaker is open */
	bool		probing;		/* the breaker is open, and a probe is in
								 * flight */
	int			in_flight;
	int			waiting;
	int			window;			/* calls that may be in flight */
	int			failed_in_a_row;
	int64_t		silent_since;	/* us since the Unix epoch: the first of
								 * these; 0: none */
	uint64_t	calls;			/* ended calls, since the transport was
								 * created or the host was forgotten */
	uint64_t	failures;		/* of these, without a response */
	int64_t		total_time;		/* us, sum of the response times */
	int64_t		recent_time;	/* us, moving average of the response times */
	int64_t		next_probe;		/* us since the Unix epoch; 0: none */
	char		error[DTM_HOST_STAT_ERROR_SIZE];	/* of the last failure */
} DtmHostStats;

/*
 * The next host whose statistics have changed since they were last returned
 * here, or NULL. "name" is its whole name; "place" is from 0 to DTM_MAX_HOSTS -
 * 1; when a host is forgotten, its place is used for another host. "switched":
 * the circuit breaker has opened or closed.
 */
extern const DtmHostStats *dtm_transport_changed_host(DtmTransport *transport,
													  int *place,
													  const char **name,
													  bool *switched);

/*
 * Are as many calls in flight as may be, but for the last ones, which are only for
 * tenants that have few?
 */
extern bool dtm_transport_is_full(const DtmTransport *transport);

extern int	dtm_transport_in_flight(const DtmTransport *transport);
extern int	dtm_transport_waiting(const DtmTransport *transport);

/*
 * NULL if the URL can be called; else the reason, as a fragment for an error
 * message.
 */
extern const char *dtm_url_problem(const char *url);

/* Does a valid URL (also one of gRPC) contain a user or a password? */
extern bool dtm_url_has_user(const char *url);

#endif							/* DTM_TRANSPORT_H */
