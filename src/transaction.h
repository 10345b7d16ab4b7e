/*
 * transaction.h
 *		A global transaction with all that is stored of it: what the layers
 *		above core speak of.  No layer owns it, and it knows none but core.
 */
#ifndef DTM_TRANSACTION_H
#define DTM_TRANSACTION_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "core/core.h"

/* Longest gid, branch id, in characters (§1.1, §8.1). */
#define DTM_MAX_GID_CHARS		128

/* Longest name of an op or a workflow, in characters. */
#define DTM_MAX_OP_CHARS		128

/* Schemes of URLs that are dtm's own. */
#define DTM_SCHEME_TOPIC		"topic://"
#define DTM_SCHEME_LOCAL		"sql:"
#define DTM_SCHEME_SERVER		"server:"

/*
 * core's times are microseconds since PostgreSQL's epoch, as TimestampTz is;
 * never is infinity.
 */
StaticAssertDecl(sizeof(DtmTime) == sizeof(int64), "DtmTime is a TimestampTz");

/*
 * Which global transactions a coordinator drives, where several share those of
 * a database: those whose id, modulo DTM_SHARE_UNITS, leaves "number" when it
 * is divided by "of".  Each of the units has a lock, so that two coordinators
 * never drive the same, also while their number changes.
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

/* The request_timeout of a transaction that has none of its own. */
#define DTM_NO_REQUEST_TIMEOUT 0

/*
 * A global transaction with all that is stored of it.  Everything that it
 * points to is in one memory context.
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
	char	  **branch_id;		/* of registered branches, and of steps that
								 * came from a topic; core.nsteps of them.
								 * NULL for steps, whose number it is */
	char	  **topic;			/* where steps came from a topic: the URL that
								 * was given for each; else NULL */
	char	  **action;			/* core.nsteps URLs, "" for none; or confirm,
								 * commit; or a workflow's ops */
	char	  **compensate;		/* the same, or cancel, rollback; NULL for a
								 * msg or workflow */
	bytea	  **payload;		/* the same; NULL where there is none */
	int			nheaders;
	char	  **header_name;
	char	  **header_value;
	const char *workflow;		/* a workflow's name; NULL for other types */
	bytea	   *workflow_data;	/* what its callback is sent; NULL: nothing */
	const char *result;			/* of a workflow that has been submitted, as it
								 * was given; NULL: none */
	bool		notify;			/* NOTIFY when it's final */
	const char *on_finish;		/* URL to be called then; NULL: none */
	DtmTrans	core;
	bool		is_mine;		/* store_find: written by this transaction */
} Transaction;

/* Room for n steps or branches, with payloads that are not there. */
extern void transaction_allocate_steps(Transaction *trans, int n);

/* A text in the server's encoding as the bytes of a body; empty is none (§5.2). */
extern bytea *transaction_body(const char *text);

/*
 * A message with one step, submitted in the name of a role, ready to be
 * inserted.  The payload is a text in the server's encoding.
 */
extern Transaction *transaction_message(const char *url, const char *payload,
										Oid submitted_by,
										const DtmConfig *config, DtmTime now);

#endif							/* DTM_TRANSACTION_H */
