/*
 * transport.h
 *		Many calls over HTTP at a time, from one thread that never blocks.
 *
 * A transport takes calls, keeps those above its limits waiting (per host, so
 * that a slow host does not hold up the others), runs the rest through
 * libcurl and gives each back when it has ended.  It knows URLs, requests and
 * replies, and nothing of global transactions, of PostgreSQL or of retries:
 * a call that fails is given back with its error, once.
 *
 * Its owner waits on dtm_transport_fd() becoming readable, or until
 * dtm_transport_deadline(), calls dtm_transport_drive(), and then reaps.
 * Nothing here throws; memory is malloc's.
 */
#ifndef DTM_TRANSPORT_H
#define DTM_TRANSPORT_H

#include "address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DTM_CALL_ERROR_SIZE 512

typedef struct DtmTransport DtmTransport;

typedef struct DtmTransportLimits
{
	int			max_requests;	/* calls in flight, in all */
	int			max_requests_per_host;	/* to one scheme, host and port */
	size_t		max_reply_size; /* bytes of body; longer is an error */
	int			breaker_failures;	/* calls to a host without an answer, in a row,
									 * before it is only tried now and then; 0:
									 * never */
	int64_t		breaker_pause_max;	/* us: longest time between two such tries */
	DtmAddressList forbidden;	/* addresses that are not connected to */
	const char *ca_file;		/* authorities for TLS; "": the system's */
} DtmTransportLimits;

/* Who calls. */
#define DTM_USER_AGENT "User-Agent: dtm-postgresql"

/* The headers of a call that has no list of its own. */
#define DTM_NDEFAULT_HEADERS 5
extern const char *const dtm_default_headers[DTM_NDEFAULT_HEADERS];

/* Headers that a call has of its own, besides the list. */
enum
{
	DTM_TRACE_HEADER, DTM_SIGNATURE_HEADER, DTM_NOWN_HEADERS
};

typedef struct DtmCall
{
	/* The request; all of it stays the caller's, and in place until reaped. */
	const char *url;			/* http or https, complete with its query */
	bool		post;			/* POST with body, or GET */
	const char *body;
	size_t		body_len;
	const char *const *headers; /* "Name: value" */
	int			nheaders;		/* 0: dtm_default_headers */
	const char *own_headers[DTM_NOWN_HEADERS];	/* more of them, whatever the
												 * others; NULL: none */
	int64_t		timeout;		/* us, from the start of the request */
	int64_t		connect_timeout;	/* us of those for the connection; 0: all */
	const char *ca_file;		/* for TLS; NULL: the transport's */
	const char *client_cert;	/* what the caller shows; NULL: nothing */
	const char *client_key;		/* NULL: in client_cert */
	bool		http2;			/* HTTP/2, in clear by prior knowledge; and the
								 * reply's gRPC status is wanted */
	void	   *owner;			/* the caller's */

	/* The reply, set when reaped; valid until the call is freed. */
	int			http_status;	/* 0: there was no complete reply */
	char	   *reply;			/* the body, NUL-terminated, or NULL; to be
								 * freed by dtm_call_release() */
	size_t		reply_len;
	int			grpc_status;	/* of the headers or trailers; -1: none */
	char	   *grpc_message;	/* percent-decoded, or NULL; freed as reply is */
	char		error[DTM_CALL_ERROR_SIZE]; /* why http_status is 0 */
	int64_t		started;		/* us since the Unix epoch; 0: never sent */
	int64_t		duration;		/* us */

	/* Private to the transport. */
	struct DtmCall *next;
	struct DtmCall *previous;	/* of those that wait for the same host */
	struct DtmHost *host;
	struct DtmSlot *slot;
} DtmCall;

/* Is it in flight, so that its host may have got it? */
static inline bool
dtm_call_is_in_flight(const DtmCall *call)
{
	return call->slot != NULL;
}

/* Was it submitted, and has not started yet? */
static inline bool
dtm_call_is_waiting(const DtmCall *call)
{
	return call->slot == NULL && call->host != NULL;
}

/*
 * A transport for this process, or NULL with the reason in "error".  If the
 * limit of open files does not allow max_requests, the soft limit is raised,
 * and where that isn't enough, fewer are used: see max_requests below.
 */
extern DtmTransport *dtm_transport_create(const DtmTransportLimits *limits,
										  char *error, size_t error_size);

/* Ends every call without giving it back. */
extern void dtm_transport_destroy(DtmTransport *transport);

/* For calls not yet started.  */
extern void dtm_transport_set_limits(DtmTransport *transport,
									 const DtmTransportLimits *limits);

/* How many calls can be in flight, given the limit of open files. */
extern int	dtm_transport_max_requests(const DtmTransport *transport);

/* Takes a call; it starts at the next drive, or when its turn comes. */
extern void dtm_transport_submit(DtmTransport *transport, DtmCall *call);

/* Takes one that is not to be made, and gives it back with the reason. */
extern void dtm_transport_refuse(DtmTransport *transport, DtmCall *call,
								 const char *reason);

/* Takes a call back that has not been reaped; it may have been sent. */
extern void dtm_transport_cancel(DtmTransport *transport, DtmCall *call);

/* A descriptor that is readable when there is something to drive. */
extern int	dtm_transport_fd(const DtmTransport *transport);

/* Microseconds until drive is due whatever happens; -1: no limit. */
extern int64_t dtm_transport_due_in(const DtmTransport *transport);

/* Does what can be done without waiting. */
extern void dtm_transport_drive(DtmTransport *transport);

/* The next call that has ended, or NULL. */
extern DtmCall *dtm_transport_reap(DtmTransport *transport);

/* Frees what the transport allocated for a call that was reaped. */
extern void dtm_call_release(DtmCall *call);

/*
 * Scheme, host and port of a URL, in lower case and with the port always
 * there: what max_requests_per_host counts by.  Cut to fit.
 */
#define DTM_HOST_NAME_SIZE 300
extern void dtm_host_name(const char *url, char name[DTM_HOST_NAME_SIZE]);

/* Calls to a host of this name, in flight and waiting. */
extern int	dtm_transport_host_load(const DtmTransport *transport,
									const char *name);

/*
 * How a host is doing.  One that does not answer is left alone but for a try
 * now and then, the probe; other calls to it fail at once, so that they cost no
 * time, connections or room.  When it answers again, it is called more and more
 * often, not by all who wait at once.
 */
#define DTM_MAX_HOSTS			64	/* that are told of */
#define DTM_HOST_STAT_NAME_SIZE	128
#define DTM_HOST_STAT_ERROR_SIZE 128

typedef struct DtmHostStats
{
	char		name[DTM_HOST_STAT_NAME_SIZE];	/* "": none; cut to fit */
	bool		open;			/* the circuit: it is not called */
	bool		probing;		/* it is open, and the probe is under way */
	int			in_flight;
	int			waiting;
	int			window;			/* calls that may be in flight, if that is
								 * fewer than the limits allow; 0: it is not */
	int			failed_in_a_row;
	uint64_t	calls;			/* that have ended, since the transport was made
								 * or the host was forgotten */
	uint64_t	failures;		/* of those, without an answer */
	uint64_t	refused;		/* not made, since it was open */
	int64_t		total_time;		/* us, of the answers */
	int64_t		recent_time;	/* us, a moving average of these */
	int64_t		next_probe;		/* us since the Unix epoch; 0: none */
	char		error[DTM_HOST_STAT_ERROR_SIZE];	/* of the last failure */
} DtmHostStats;

/*
 * The next host of which something has changed since it was last given here,
 * or NULL.  "place" is from 0 to DTM_MAX_HOSTS - 1, and another host's when
 * this one is forgotten; "switched", that the circuit has opened or closed.
 */
extern const DtmHostStats *dtm_transport_changed_host(DtmTransport *transport,
													  int *place,
													  bool *switched);

extern int	dtm_transport_in_flight(const DtmTransport *transport);
extern int	dtm_transport_waiting(const DtmTransport *transport);

/*
 * Is this a URL that can be called?  If not, returns what is wrong with it,
 * for an error message.
 */
extern const char *dtm_url_problem(const char *url);

/* Does it name a user or a password?  Of one that can be called, or grpc's. */
extern bool dtm_url_has_user(const char *url);

#endif							/* DTM_TRANSPORT_H */
