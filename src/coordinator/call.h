/*
 * call.h
 *		Calls of one kind, whoever makes them.
 *
 * A branch is called at a host, through the transport, or in this database,
 * through a pool of workers; the alert webhook is called as a host's branch is.
 * Which of these a call is, and what the transport or the pool keeps of it, is
 * known here alone: the coordinator starts calls, cancels them, and takes those
 * that have ended.
 */
#ifndef DTM_COORDINATOR_CALL_H
#define DTM_COORDINATOR_CALL_H

#include "postgres.h"

#include "transaction.h"
#include "local/local.h"
#include "store/store.h"
#include "transport/transport.h"
#include "wire/wire.h"

struct Entry;

/* Who makes calls, for one coordinator. */
typedef struct Calls
{
	DtmTransport *transport;	/* to hosts */
	LocalPool  *pool;			/* of functions in this database */
	int64		time;			/* that hosts take for one: a moving average, us */
} Calls;

/* How a call has ended. */
typedef enum CallEnd
{
	CALL_REPLIED,				/* core is to be told the result */
	CALL_RECORDED,				/* a worker has told core, and written the row */
	CALL_WITHDRAWN				/* it was not made */
} CallEnd;

typedef struct Call
{
	struct Entry *entry;		/* whose it is; NULL: the webhook's */
	struct Call *next;			/* in a list of its entry */
	int			op;				/* index in the ops, or DTM_CALL_QUERY */
	WireKind	kind;

	/* What it has come to, set by calls_reap(). */
	CallEnd		end;
	DtmResult	result;
	bool		answered;		/* there is a reply, whatever it says */
	const char *text;			/* the reply's, or the error, in the encoding it
								 * came in; valid until the call is freed */
	size_t		text_len;
	bool		is_final;		/* RECORDED: the transaction has ended with it */
	int			failures;		/* RECORDED: in a row, if that calls for an
								 * alert; or 0 */
} Call;

/* Where calls queue up: at a host, or for the workers of a role. */
typedef struct CallPlace
{
	Oid			role;			/* InvalidOid: a host */
	char		host[DTM_HOST_NAME_SIZE];	/* "": a role's */
} CallPlace;

/* ---------- one call ---------- */

/*
 * The call of an op.  In a transaction, for the catalogs; allocates in the
 * current memory context, and points into trans, whose timeouts are the call's.
 * "now" is what core is told where the call is one in this database; 0: the
 * clock's time.  A branch that cannot be called now gives a call, too: it ends
 * with the reason as soon as it is started.
 */
extern Call *call_make(const Transaction *trans, int op, TimestampTz now);

/* A POST of a body that is no branch's, copied with the URL; timeout in ms. */
extern Call *call_make_post(const char *url, const char *body, int timeout);

/* Starts at the next calls_drive(), or when its turn comes. */
extern void call_start(Calls *calls, Call *call);

/*
 * Takes a call back that has not been reaped.  True if its host may have got
 * it: then it counts as an attempt.  (A worker goes on, and writes its attempt
 * itself.)
 */
extern bool call_cancel(Calls *calls, Call *call);

/* Of a call that was reaped, canceled or never started. */
extern void call_free(Call *call);

/* Does it wait for its turn at its place? */
extern bool call_is_waiting(const Call *call);
extern void call_where(const Call *call, CallPlace *place);

/* Of a call that was reaped or canceled: its part of the row of its attempt. */
extern void call_describe(const Call *call, StoreAttempt *attempt);

static inline bool
call_place_is(const CallPlace *place, const CallPlace *other)
{
	return place->role == other->role && strcmp(place->host, other->host) == 0;
}

/* ---------- all calls ---------- */

/* False, with the reason, if there is no transport to be had. */
extern bool calls_open(Calls *calls, MemoryContext context, DtmShare share,
					   char *error, size_t error_size);
extern void calls_close(Calls *calls);

/* The settings have changed. */
extern void calls_reconfigure(Calls *calls);

/* How many may be in flight to hosts, and whether that many are. */
extern int	calls_max(const Calls *calls);
extern bool calls_are_at_max(const Calls *calls);

/* Does what can be done without waiting. */
extern void calls_drive(Calls *calls);

/* Calls that wait for a worker end, as withdrawn. */
extern void calls_withdraw(Calls *calls);

/* The next call that has ended, or NULL. */
extern Call *calls_reap(Calls *calls);

/* A descriptor that is readable when there is something to drive. */
extern int	calls_fd(const Calls *calls);

/* Microseconds until calls_drive() is due whatever happens; -1: no limit. */
extern int64 calls_due_in(const Calls *calls);

/* Calls to hosts and in this database that are being made, and that wait. */
extern int	calls_in_flight(const Calls *calls);
extern int	calls_waiting(const Calls *calls);

/*
 * How many more calls a place can do with: as many as it may have in flight,
 * and some to wait.  Not positive: it has enough.
 */
extern int	calls_appetite(const Calls *calls, const CallPlace *place);

#endif							/* DTM_COORDINATOR_CALL_H */
