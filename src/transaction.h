/*
 * transaction.h
 *		A global transaction with everything that is stored.  All layers above
 *		core use it; no layer owns it, and it knows only core.
 */
#ifndef DTM_TRANSACTION_H
#define DTM_TRANSACTION_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "core/core.h"
#include "step/options.h"

/* Maximum length of a gid or branch id, in characters (§1.1, §8.1). */
#define DTM_MAX_GID_CHARS		128

/* Maximum length of the name of an op or a workflow, in characters. */
#define DTM_MAX_OP_CHARS		128

/* URL schemes of dtm's own. */
#define DTM_SCHEME_TOPIC		"topic://"
#define DTM_SCHEME_LOCAL		"sql:"
#define DTM_SCHEME_SERVER		"server:"

/*
 * Times of core are microseconds since PostgreSQL's epoch, as in TimestampTz;
 * DTM_TIME_NEVER is infinity.
 */
StaticAssertDecl(sizeof(DtmTime) == sizeof(int64), "DtmTime is a TimestampTz");
StaticAssertDecl(DTM_TIME_MAX == END_TIMESTAMP - 1, "DTM_TIME_MAX is the last TimestampTz");

/*
 * The share of a coordinator, if several coordinators drive the transactions
 * of a database: the ids with (id modulo DTM_SHARE_UNITS) modulo "of" equal to
 * "number".  Each of the units has a lock, so that two coordinators never
 * drive the same transaction, even while their number changes.
 */
typedef struct DtmShare
{
	int			number;			/* from 0 */
	int			of;
} DtmShare;

#define DTM_SHARE_UNITS			16

static inline bool
dtm_in_share(int64 id, DtmShare share)
{
	Assert(share.of > 0);
	return (int) ((uint64) id % DTM_SHARE_UNITS) % share.of == share.number;
}

/* Not an op, and not DTM_CALL_QUERY: what is said concerns all of a transaction. */
#define TRANSACTION_NO_OP	(-2)

/* The request_timeout of a transaction without this option. */
#define DTM_NO_REQUEST_TIMEOUT 0

/* The longest that a call may take, in ms: it keeps its transaction in memory. */
#define DTM_MAX_REQUEST_TIMEOUT	(24 * 3600 * 1000)

/*
 * A global transaction with everything that is stored.  All that it points to
 * is in one memory context.
 */
typedef struct Transaction
{
	int64		id;				/* 0: not stored yet */
	int32		version;		/* of the row as read */
	char	   *gid;
	Oid			submitted_by;	/* InvalidOid: does not exist any more */
	int			request_timeout;	/* ms, or DTM_NO_REQUEST_TIMEOUT */
	bool		wait_result;
	const char *protocol;		/* NULL: http */
	const char *query_prepared; /* NULL: none */
	char	  **branch_id;		/* core.nsteps ids of registered branches, or
								 * of steps that came from a topic; NULL:
								 * steps are numbered */
	char	  **topic;			/* for each step that came from a topic, its
								 * topic URL; NULL: none */
	char	  **action;			/* core.nsteps URLs, "" for none; or confirm,
								 * commit; or a workflow's ops */
	char	  **compensate;		/* the same, or cancel, rollback; NULL for a
								 * msg or workflow */
	bytea	  **payload;		/* the same; an element is NULL if there is no
								 * payload */
	StepOptions **step;			/* options of each step, an element is NULL if
								 * it has none; NULL: no step has any */
	int			nheaders;
	char	  **header_name;
	char	  **header_value;
	const char *workflow;		/* a workflow's name; NULL for other types */
	bytea	   *workflow_data;	/* body of its callback; NULL: none */
	const char *result;			/* result of a submitted workflow, as given;
								 * NULL: none */
	bool		results;		/* keep what its branches answer */
	bool		notify;			/* send a NOTIFY when it is final */
	const char *on_finish;		/* URL to call when it is final; NULL: none */
	const char *lane;			/* its full name (store/lane.c), or what was
								 * given for it; NULL: none */
	bool		lane_skips;		/* it leaves its lane when it is parked */
	int64		lane_next;		/* the one that it has released when it was
								 * written; 0: none */
	TimestampTz parked_since;	/* if core.parked */
	int			parked_op;		/* the op that it was parked for,
								 * DTM_CALL_QUERY, or TRANSACTION_NO_OP */
	const char *parked_reason;
	const char *fairness_key;	/* its role's transactions of different keys
								 * take turns; NULL: none */
	const char *parent;			/* gid of the one of whose end a message
								 * tells; NULL: none */
	DtmTrans	core;
	bool		is_mine;		/* store_find: written by this transaction */
} Transaction;

/* A number for a fairness_key of so many bytes; 0: none.  Different keys may share one. */
extern uint64 transaction_fairness(const char *key, size_t len);

/*
 * A number for what a call of an op, or of DTM_CALL_QUERY, is made of, which
 * dtm_edit_step() may change: URL, payload and options.  0: there is no such op.
 */
extern uint64 transaction_request_hash(const Transaction *trans, int op);

/* Allocates arrays for n steps or branches; payloads are NULL. */
extern void transaction_allocate_steps(Transaction *trans, int n);

/* Sets the options of a step; NULL: does nothing. */
extern void transaction_set_step(Transaction *trans, int i, StepOptions *options);

/* The options of a step; NULL: none. */
static inline StepOptions *
transaction_step(const Transaction *trans, int i)
{
	return trans->step == NULL ? NULL : trans->step[i];
}

/* The step, from 0, of a name or branch id; -1: there is none. */
extern int	transaction_find_step(const Transaction *trans, const char *name);

/*
 * How long a call of an op, or of DTM_CALL_QUERY, may take, in ms: what its step
 * says, or the transaction, or DTM_NO_REQUEST_TIMEOUT.
 */
extern int	transaction_request_timeout(const Transaction *trans, int op);

/* Sets what core has of the steps' options, when all of these are set. */
extern void transaction_set_policy(Transaction *trans);

/*
 * Converts a text in the server's encoding to the bytes of a body; NULL for an
 * empty text (§5.2).
 */
extern bytea *transaction_body(const char *text);

/*
 * Makes a message with one step (none if the URL is NULL), submitted by a
 * role, ready for store_insert().  The payload is a text in the server's
 * encoding.
 */
extern Transaction *transaction_message(const char *url, const char *payload,
										Oid submitted_by,
										const DtmConfig *config, DtmTime now);

#endif							/* DTM_TRANSACTION_H */
