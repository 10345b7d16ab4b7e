/*
 * call.h
 *		One interface to calls of all kinds.
 *
 * A branch is called at a host, by the transport, or in this database, by a
 * pool of workers.  The alert webhook is called like a branch at a host.  Only
 * this file knows the kind of a call, and the transport's or pool's part of
 * it.  The coordinator starts calls, cancels them, and reaps those that have
 * ended.
 */
#ifndef DTM_COORDINATOR_CALL_H
#define DTM_COORDINATOR_CALL_H

#include "postgres.h"

#include "notes.h"
#include "transaction.h"
#include "local/local.h"
#include "store/store.h"
#include "transport/transport.h"
#include "wire/wire.h"

struct Entry;

/* What makes the calls of one coordinator. */
typedef struct Calls
{
	DtmTransport *transport;	/* for calls to hosts */
	LocalPool  *pool;			/* for functions in this database */
	Notes		notes;			/* of the calls that are started */
	int64		time;			/* moving average of the response time of
								 * hosts, us */
	int			share_of;		/* coordinators that share the limits of
								 * servers */
} Calls;

/* How a call has ended. */
typedef enum CallEnd
{
	CALL_REPLIED,				/* core must apply the result */
	CALL_RECORDED,				/* a worker has applied the result and written
								 * the row */
	CALL_WITHDRAWN				/* the call was not made, or in vain */
} CallEnd;

typedef struct Call
{
	struct Entry *entry;		/* entry of the call; NULL: of none */
	struct TraceBatch *batch;	/* without an entry: the spans that it sends;
								 * NULL: the webhook */
	struct Call *next;			/* in a list of its entry */
	int64		id;				/* of the global transaction, to be noted; 0:
								 * of none */
	int			op;				/* index in the ops, or DTM_CALL_QUERY */
	bool		is_outdated;	/* what it was made of has been changed since */
	int			note;			/* place of its note, once it is started; -1:
								 * none */
	int			host;			/* where it counts (metrics_host()), set by
								 * calls_reap() */
	WireKind	kind;

	/* Its result, set by calls_reap(). */
	CallEnd		end;
	DtmResult	result;
	bool		answered;		/* there was a response, whatever its status */
	const char *text;			/* of the response, or the error, in the
								 * encoding in which it arrived; valid until
								 * call_free() */
	size_t		text_len;
	int64		retry_after;	/* us that the response asks to wait; 0: none */
	bool		said_final;		/* which responses are final was said */
	const char *body;			/* REPLIED, success: of the response, as text
								 * is; NULL: none */
	size_t		body_len;
	bool		is_final;		/* RECORDED: the transaction has ended */
	LocalAlert	alert;			/* RECORDED: what its worker has told of */
} Call;

/* A place where calls wait: a host, or the workers of a role. */
typedef struct CallPlace
{
	Oid			role;			/* InvalidOid: a host */
	uint32		key;			/* RoomOwner's, where it counts */
	char		host[DTM_HOST_NAME_SIZE];	/* "": the workers of a role */
} CallPlace;

/* ---------- one call ---------- */

/*
 * Makes the call of an op that was described.  Needs a transaction, for the catalogs; allocates
 * in the current memory context, and points into trans, which also has the
 * time-outs.  For a call in this database, "now" is the time for core; 0: the
 * clock's time.  If a branch cannot be called now, the call ends with the
 * reason as soon as it is started.
 */
extern Call *call_make(const Transaction *trans, WireBranch *branch, TimestampTz now);

/*
 * A call that is not made: it ends with this result and text as soon as it is
 * started.
 */
extern Call *call_make_decided(const Transaction *trans, const WireBranch *branch,
							   DtmResult result, const char *text);

/*
 * Makes a POST that is not for a branch, as endpoint_post() does for a role, and
 * aside; timeout is in ms.  The body must not move until the call is reaped.  Needs
 * a transaction for a server; allocates in the current memory context.
 */
extern Call *call_make_post_aside(const char *url, Oid role, const char *body,
								  size_t len, int timeout);

/* Starts a call at the next calls_drive(), or when its turn comes. */
extern void call_start(Calls *calls, Call *call);

/*
 * Cancels a call that has not been reaped.  True if the host may have received
 * it: then it counts as an attempt. (A worker continues, and records its
 * attempt itself.)
 */
extern bool call_cancel(Calls *calls, Call *call);

/*
 * Nobody waits for the success of this call any longer.  A function in this
 * database is ended, because it has no effects without its success; a call to a
 * host that waits is withdrawn, and one in flight continues.
 */
extern void call_stop(Calls *calls, Call *call);

/* Frees a call that was reaped, canceled or never started. */
extern void call_free(Call *call);

/* Does the call wait for its turn at its place? */
extern bool call_is_waiting(const Call *call);
extern void call_where(const Call *call, CallPlace *place);

/* Fills in the attempt of a call that was reaped or canceled. */
extern void call_describe(const Call *call, StoreAttempt *attempt);

/* How a span shows a call. */
typedef struct CallSpan
{
	char		id[WIRE_SPAN_ID_SIZE];
	const char *method;			/* of HTTP; NULL: a function */
	const char *url;			/* that was called; or the function's */
} CallSpan;

extern void call_span(const Call *call, const Transaction *trans,
					  const StoreAttempt *attempt, CallSpan *span);

/* For how many us the response of a POST asks to wait; 0: for no time. */
extern int64 call_asks_to_wait(const Call *call);

static inline bool
call_place_is(const CallPlace *place, const CallPlace *other)
{
	return place->role == other->role && place->key == other->key &&
		strcmp(place->host, other->host) == 0;
}

/* ---------- all calls ---------- */

/* False, with the reason, if the transport cannot be created. */
extern bool calls_open(Calls *calls, MemoryContext context, DtmShare share,
					   DtmSharedSlot *slot,
					   char *error, size_t error_size);
extern void calls_close(Calls *calls);

/* Call it when the settings have changed. */
extern void calls_reconfigure(Calls *calls);

/*
 * The maximum number of calls in flight to hosts, and whether it is reached, but
 * for the places that are kept for roles with few of them.
 */
extern int	calls_max(const Calls *calls);
extern bool calls_are_at_max(const Calls *calls);

/* Does what can be done without waiting. */
extern void calls_drive(Calls *calls);

/*
 * Ends calls as withdrawn: those that wait for their turn at once, those that run
 * in this database after a grace period.
 */
extern void calls_withdraw(Calls *calls);

/* The same, of those that wait for hosts that do not answer. */
extern void calls_withdraw_unanswered(Calls *calls);

/* Hosts that do not answer are called as soon as there is a call. */
extern void calls_probe_now(Calls *calls);

/*
 * Has a call that was reaped ended without an answer, and is that the latest that
 * is known of its host?
 */
extern bool calls_is_unanswered(const Calls *calls, const Call *call);

/* A place whose host's name is this. */
extern void call_set_place(CallPlace *place, const char *host);

/* The next call that has ended, or NULL. */
extern Call *calls_reap(Calls *calls);

/* A descriptor that is readable when calls_drive() has something to do. */
extern int	calls_fd(const Calls *calls);

/*
 * Microseconds until calls_drive() must be called at the latest; -1: no limit.
 */
extern int64 calls_due_in(const Calls *calls);

/* Numbers of calls, to hosts and in this database, in flight and waiting. */
extern int	calls_in_flight(const Calls *calls);
extern int	calls_waiting(const Calls *calls);

/*
 * How many more calls a place can use: as many as may be in flight, and some
 * that wait.  Zero or negative: it has enough.
 */
extern int	calls_appetite(const Calls *calls, const CallPlace *place);

#endif							/* DTM_COORDINATOR_CALL_H */
