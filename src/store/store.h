/*
 * store.h
 *		Global transactions in tables: the only place that knows the SQL.
 *
 * Every function works inside the caller's PostgreSQL transaction and throws
 * what goes wrong with a statement.  Functions for sessions run as the owner
 * of the extension, whatever role calls them: rights are the caller's to
 * check.
 */
#ifndef DTM_STORE_H
#define DTM_STORE_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "core/core.h"
#include "transaction.h"

/* The outcome of looking for a gid. */
typedef enum StoreFound
{
	STORE_ABSENT,
	STORE_ACTIVE,
	STORE_FINISHED				/* core has the status, branches and reason */
} StoreFound;

/* A call that was made. */
typedef struct StoreAttempt
{
	int64		id;
	int			op;				/* DTM_CALL_QUERY, or index in ops */
	TimestampTz started;
	int64		duration;		/* us */
	int			http_status;	/* 0: no reply */
	int			grpc_status;	/* -1: none */
	DtmResult	result;
	const char *error;			/* NULL: none; in the server's encoding */
} StoreAttempt;

/* Where a search for due transactions goes on: those after (time, id). */
typedef struct StorePosition
{
	TimestampTz time;
	int64		id;
} StorePosition;

/* ---------- PostgreSQL transactions of a coordinator ---------- */

typedef enum StoreMode
{
	STORE_WORKER,				/* the process has no other business */
	STORE_PROCEDURE				/* in a CALL, between the two below */
} StoreMode;

/*
 * A commit waits for the disk whatever synchronous_commit says; it returns
 * whether there was something to commit.  roll_back() is for PG_CATCH.
 */
extern void store_begin(StoreMode mode);
extern bool store_commit(StoreMode mode);

/*
 * Makes the commit to come wait until all that this transaction has read is on
 * disk, too: commits with synchronous_commit = off are seen before they are.
 */
extern void store_read_durably(void);
extern void store_roll_back(StoreMode mode);

/* Makes a non-atomic CALL ready for them, and ends that. */
extern void store_start_procedure(void);
extern void store_end_procedure(void);

/* ---------- for sessions ---------- */

/*
 * Writes a new transaction, and sets its id.  False if the gid is there
 * already; waits for a transaction that is just writing it.
 */
extern bool store_insert(Transaction *trans);

/*
 * Looks for a gid and, with "lock", locks its row until the end of this
 * transaction.  Allocates in the current memory context.  A row that can't be
 * understood is an error (DTM_ERRCODE_BAD_ROW).
 */
extern StoreFound store_find(const char *gid, bool lock, Transaction **trans);

/* The same by id, of one that is not final; false if there is none. */
extern bool store_find_id(int64 id, bool lock, Transaction **trans);

/*
 * NOTIFY at the commit of the current transaction; left out where nobody reads
 * the queue, so that its being full is no reason for the commit to fail.
 */
extern void store_notify(const char *channel, const char *payload);

/* What can be had of a gid at little cost. */
typedef struct StorePeek
{
	int64		id;
	DtmStatus	status;
	Oid			submitted_by;
} StorePeek;

/* The same as of this statement or, "latest", as of now. */
extern StoreFound store_peek(const char *gid, bool latest, StorePeek *peek);

/* Writes the state of a transaction that was found with its lock. */
extern void store_update(Transaction *trans);

/* Writes the branches of a transaction that was found with its lock. */
extern void store_update_branches(Transaction *trans);

/* Writes the options that a late submit brought: delay, timeouts, headers. */
extern void store_update_options(const Transaction *trans);

/*
 * Writes down that a transaction is nobody's, so that it stays so even if its
 * role's OID comes back; leaves it to the next time if its row is locked.
 */
extern void store_disown(int64 id);

/* Gives a transaction that was found with its lock to a role. */
extern void store_assign(int64 id, Oid role);

/* Writes what a submit says of a workflow's result. */
extern void store_update_result(const Transaction *trans);

/*
 * The URLs that are subscribed to a topic, n of them, in the current memory
 * context; n is -1 if there is no such topic.
 */
extern char **store_topic(const char *name, int *n);

/* dtm_reset_cron_time: CR-05. */
extern int	store_reset_next_time(TimestampTz later_than, TimestampTz now,
								  int max);

/* ---------- for the coordinator ---------- */

/* To be called once in a process that does nothing else. */
extern void store_own_session(void);

/*
 * The next due transactions of a share after a position, in order, at most
 * "max", in an array allocated in the current context.  Rows that can't be
 * understood, or have no owner any more, are left out; their ids are in bad_id
 * and the reasons in bad_error.
 */
typedef struct StoreLoad
{
	int			n;
	Transaction **trans;			/* each in a context of its own */
	MemoryContext *context;		/* that context: a child of the one that was
								 * current, until it is given another parent */
	int			nbad;
	int64	   *bad_id;
	char	  **bad_error;
	bool	   *bad_ownerless;	/* nothing is wrong with the row, but the role
								 * that submitted it does not exist */
	StorePosition last;			/* of the last row, bad or not */
	int			nrows;			/* good and bad */
} StoreLoad;

extern void store_load_due(DtmShare share, TimestampTz now,
						   StorePosition after, int max,
						   StoreLoad *load);
extern void store_load_ids(const int64 *ids, int n, StoreLoad *load);

/* Id of the first row that store_load_due would read; 0: there is none. */
extern int64 store_first_due(DtmShare share, TimestampTz now,
							 StorePosition after);

/* The earliest next_time after a time; DT_NOEND if there is none. */
extern TimestampTz store_next_deadline(DtmShare share, TimestampTz after);

/*
 * Writes many transactions: the unfinished ones' state, the final ones'
 * outcome.  saved[i] tells whether trans[i] was written; once that is
 * committed, its version is one higher.  It was not written if its row has
 * another version by now, or is locked: its caller reads it again.
 */
extern void store_save(Transaction **trans, int n, TimestampTz now,
					   bool *saved);

extern void store_add_attempts(const StoreAttempt *attempts, int n);

/*
 * Moves a row that can't be processed out of the way until next_time.  False
 * if it is locked.
 */
extern bool store_postpone(int64 id, TimestampTz next_time);

/* ---------- removing what has finished ---------- */

/* A batch of a pass through the finished transactions, in the order of ids. */
typedef struct StoreCleanup
{
	int64		after;			/* where it goes on; set to where it came */
	TimestampTz finished_until; /* those that finished until then may go */
	int			max;			/* how many are looked at */
	int64		removed;		/* how many went */
	bool		complete;		/* the pass is through */
	TimestampTz oldest_left;	/* when the oldest of those that were left had
								 * finished; DT_NOEND: none was */
} StoreCleanup;

extern void store_clean(StoreCleanup *batch);

/*
 * Barrier rows of transactions that this coordinator does not know, as old as
 * that; returns how many were removed.
 */
extern int64 store_clean_barrier(TimestampTz until, int max);

/* Does a job of pg_cron do it? */
extern bool store_cron_cleans(void);

/* ---------- where this database lives ---------- */

/* May the coordinator of this database call anybody?  If not, why. */
typedef enum StoreHome
{
	STORE_HOME_HERE,			/* it may */
	STORE_HOME_PAUSED,			/* dtm_pause */
	STORE_HOME_ELSEWHERE,		/* restored or copied from another database */
	STORE_HOME_COPIED,			/* the files of the whole server were copied */
	STORE_HOME_OTHER_VERSION	/* the SQL is not this library's */
} StoreHome;

/*
 * Not to be asked in a session.  A server that was a standby when it was
 * started goes on where the other one stopped: from now on it is the home.
 */
extern StoreHome store_home(void);
extern void store_set_home(bool paused);

/* Why it is paused, and how to go on; NULL: it is not. */
extern const char *store_home_reason(StoreHome home);
extern const char *store_home_hint(StoreHome home);

/* From _PG_init of the postmaster: is this server going to be a standby? */
extern void store_note_standby(void);

/* ---------- version.c ---------- */

/*
 * The version of the extension in this database, if that is not this
 * library's; else NULL.  While the extension is created or updated there is
 * nothing to say.
 */
extern const char *store_other_version(void);

/* The role that owns the extension; errors if it isn't installed. */
extern Oid	dtm_extension_owner(void);

/*
 * As the owner of the extension, under a search path that the caller has not
 * chosen: what somebody has added to our tables (triggers, checks, defaults)
 * runs then, and looks its names up there.  Leaving restores both; an error
 * does so by itself.
 */
typedef struct StoreCaller
{
	Oid			user;
	int			sec_context;
	int			nest_level;		/* of settings */
} StoreCaller;

extern void store_enter_owner(StoreCaller *caller);
extern void store_leave_owner(const StoreCaller *caller);

#endif							/* DTM_STORE_H */
