/*
 * store.h
 *		Stores global transactions in tables; only the store (and the barrier)
 *		contains SQL.
 *
 * Every function works inside the caller's PostgreSQL transaction, and throws
 * the errors of its statements.  Functions for sessions run as the owner of
 * the extension, whichever role calls them: the caller must check privileges.
 */
#ifndef DTM_STORE_H
#define DTM_STORE_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

#include "core/core.h"
#include "transaction.h"

/* The result of looking for a gid. */
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

/* What is kept of a branch's answer. */
typedef struct StoreResult
{
	int64		id;
	int			op;				/* index in ops */
	bool		ok;				/* it has succeeded */
	Jsonb	   *value;			/* NULL: nothing */
	const char *note;			/* why nothing; NULL: there was nothing */
} StoreResult;

/* Where a search for due transactions continues: after (time, id). */
typedef struct StorePosition
{
	TimestampTz time;
	int64		id;
} StorePosition;

/* ---------- PostgreSQL transactions of a coordinator ---------- */

typedef enum StoreMode
{
	STORE_WORKER,				/* a background worker of dtm */
	STORE_PROCEDURE				/* in a CALL, between the two functions below */
} StoreMode;

/*
 * store_commit() waits for the disk even with synchronous_commit = off, and
 * returns whether there was something to commit. store_roll_back() is for
 * PG_CATCH.
 */
extern void store_begin(StoreMode mode);
extern bool store_commit(StoreMode mode);

/*
 * Makes the next commit wait until everything that this transaction has read
 * is on disk: commits with synchronous_commit = off are visible before they
 * are on disk.
 */
extern void store_read_durably(void);
extern void store_roll_back(StoreMode mode);

/* Prepares a non-atomic CALL for these functions, and ends that. */
extern void store_start_procedure(void);
extern void store_end_procedure(void);

/* ---------- for sessions ---------- */

/*
 * Inserts a new transaction, and sets its id.  False if the gid exists; waits
 * for an open transaction that inserts the same gid.
 */
extern bool store_insert(Transaction *trans);

/*
 * Takes a place in the lane of a transaction that is about to be inserted, if it
 * has one, and says whether it is held; waits for others that do so.  Sets the
 * full name.
 */
extern void store_lane_enter(Transaction *trans);

/* What was given for a lane, of which this may be the full name. */
extern const char *store_lane_given(const char *lane);

/*
 * Looks for a gid and, with "lock", locks its row until the end of this
 * transaction.  Allocates in the current memory context.  An invalid row is an
 * error (DTM_ERRCODE_BAD_ROW).
 */
extern StoreFound store_find(const char *gid, bool lock, Transaction **trans);

/*
 * The same by id, for transactions that are not final; false if there is none.
 */
extern bool store_find_id(int64 id, bool lock, Transaction **trans);

/*
 * One that is final, by id; core.next_time is when it ended.  False: there is none,
 * or its row is invalid.
 */
extern bool store_find_ended(int64 id, Transaction **trans);

/* Notes that a message goes on without a step, and why. */
extern void store_add_dead_letter(int64 id, int op, const char *reason,
								  TimestampTz now);

/*
 * Sends a NOTIFY at the commit of the current transaction.  Sends nothing if
 * the queue is nearly full: a full queue would make the commit fail.
 */
extern void store_notify(const char *channel, const char *payload);

/* Has a call of an op ended? */
extern bool store_was_called(int64 id, int op);

/* Data of a gid that can be read cheaply. */
typedef struct StorePeek
{
	int64		id;
	DtmStatus	status;
	Oid			submitted_by;
} StorePeek;

/*
 * The same in the snapshot of this statement or, with "latest", in a new
 * snapshot.
 */
extern StoreFound store_peek(const char *gid, bool latest, StorePeek *peek);

/* The role in a value of the SQL type dtm.submitter; InvalidOid: it does not exist. */
extern Oid	store_submitter(Datum submitter);

/* Writes the state of a transaction that was found and locked. */
extern void store_update(Transaction *trans);

/* Writes the branches of a transaction that was found and locked. */
extern void store_update_branches(Transaction *trans);

/*
 * Writes the options of the submit of a prepared transaction: delay,
 * time-outs, headers.
 */
extern void store_update_options(const Transaction *trans);

/*
 * Writes down that a transaction is nobody's, so that it stays so even if its
 * role's OID comes back; leaves it to the next time if its row is locked.
 */
extern void store_disown(int64 id);

/* Gives a transaction that was found with its lock to a role. */
extern void store_assign(int64 id, Oid role);

/* Writes the result of a workflow from its submit. */
extern void store_update_result(const Transaction *trans);

/*
 * The n URLs that are subscribed to a topic, in the current memory context; n
 * is -1 if the topic does not exist.
 */
extern char **store_topic(const char *name, int *n);

/*
 * dtm_reset_cron_time (CR-05), of those that have failed: what waits for its
 * delay, or for its first time, is left alone.
 */
extern int	store_reset_next_time(TimestampTz later_than, TimestampTz now,
								  int max);

/* ---------- result.c: results of branches ---------- */

/*
 * Adds results, of transactions whose rows are locked; what there is already
 * stays.
 */
extern void store_add_results(const StoreResult *results, int n);

/* Those of the branches of one that have succeeded, for another that has none. */
extern void store_copy_results(int64 from, int64 to);

/*
 * One that was parked goes on: what was completed as failed, and is called anew, has
 * no result any more.
 */
extern void store_remove_failures(const Transaction *trans);

/* Finds one, in the current memory context; false: there is none. */
extern bool store_find_result(int64 id, int op, StoreResult *result);

/* ---------- act.c ---------- */

/* What an act concerns. */
typedef struct StoreActOf
{
	int			op;				/* its index; -1: the whole transaction */
	bool		whole_branch;	/* all of that op's branch */
} StoreActOf;

static inline StoreActOf
store_act_of(int op, bool whole_branch)
{
	StoreActOf	of = {op, whole_branch};

	return of;
}

#define STORE_ACT_OF_ALL	store_act_of(-1, false)

/*
 * Records what the current role has done to a transaction whose row is locked;
 * reason and detail may be NULL.
 */
extern void store_add_act(int64 id, const char *what, StoreActOf of,
						  const char *reason, Jsonb *detail);

/* Locks one that has ended; false: it has been removed. */
extern bool store_lock_finished(int64 id);

/* ---------- gateway.c: for the network API ---------- */

/* The role that a token stands for now; InvalidOid: for none. */
extern Oid	store_token_role(bytea *hash);
extern void store_token_add(bytea *hash, Oid role, TimestampTz expires,
							const char *note);

/*
 * A role that may execute a function, if none of these can become another role;
 * InvalidOid: one of them can, or there is none.  Superusers do not count.
 */
extern Oid	store_role_without(Oid function, Oid role);

/* What dtm.gateway_call() answers, run as the current role. */
extern char *store_gateway_call(const char *op, Jsonb *arguments);

/* How far a transaction has come, as of now. */
typedef struct StorePass
{
	Oid			submitted_by;
	DtmTransType type;
	DtmStatus	status;
	char	   *reason;			/* why it was rolled back; "": for no reason */
	bool		put_off;		/* it waits for a later time */
	DtmResult	result;			/* of the latest call; SUCCESS where there was
								 * none */
	char	   *error;			/* that call's; "": none */
} StorePass;

/* False: there is none of this id. */
extern bool store_pass(int64 id, StorePass *pass);

/* ---------- for the coordinator ---------- */

/* Call it once in a background worker of dtm. */
extern void store_own_session(void);

/* What becomes of a row that has been found, but not read whole. */
typedef enum StoreVerdict
{
	STORE_TAKE,					/* it is read, and taken */
	STORE_SKIP,					/* it is not */
	STORE_STOP					/* neither, nor are those behind it */
} StoreVerdict;

/* Who reads rows. */
typedef struct StoreReader
{
	void	   *arg;

	/*
	 * NULL, or: the transaction that a writer of the row belongs to, if
	 * nobody is to be called for its rows yet; else invalid.
	 */
	TransactionId (*waits_for) (TransactionId writer);

	/*
	 * Whose it is, transaction_fairness() of its key, and the memory that it
	 * will take, more or less.
	 */
	StoreVerdict (*admit) (void *arg, int64 id, Oid role, uint64 key, Size bytes);

	/*
	 * A row, in a context of its own: a child of the one that was current,
	 * until it is given another parent.
	 */
	void		(*take) (void *arg, Transaction *trans, MemoryContext context);
} StoreReader;

/* What has become of ids; arrays are in the current memory context. */
typedef struct StoreLoad
{
	int			ndone;			/* ids before the one that it was stopped at */
	int			nbad;			/* rows that can't be understood, or have no
								 * owner any more */
	int64	   *bad_id;
	char	  **bad_error;		/* why */
	bool	   *bad_ownerless;	/* nothing is wrong with the row, but the role
								 * that submitted it does not exist */
	int			nabsent;		/* no rows */
	int64	   *absent_id;
	int			nheld;			/* rows left out for the sake of waits_for */
	int64	   *held_id;
	TransactionId *held_by;		/* what that has returned */
} StoreLoad;

extern void store_load_ids(const int64 *ids, int n, const StoreReader *reader,
						   StoreLoad *load);

/* ---------- due.c: the searches of the coordinator ---------- */

/* A row that is due. */
typedef struct StoreDue
{
	StorePosition at;
	TransactionId writer;		/* the top-level transaction that has written
								 * it, and may commit it yet; invalid: it is
								 * committed, and the next to read it sees it */
} StoreDue;

/*
 * The next rows of a share that are due after a position, in order, at most "max";
 * returns how many.
 */
extern int	store_find_due(DtmShare share, TimestampTz now, StorePosition after,
						   int max, StoreDue *found);

/*
 * The earliest next_time after a time, of rows that are committed or may be;
 * DT_NOEND if there is none.
 */
extern TimestampTz store_next_deadline(DtmShare share, TimestampTz after);

/* Has a writer ended, so that whoever reads now sees what it has committed? */
extern bool store_has_ended(TransactionId writer);

/* ---------- for the coordinator's writes ---------- */

typedef enum StoreWrite
{
	STORE_WRITTEN,
	STORE_CHANGED,				/* not: its row has another version by now, or
								 * is gone */
	STORE_LOCKED				/* not: somebody has it locked, or a trigger
								 * is against it */
} StoreWrite;

typedef struct StoreSaved
{
	StoreWrite	result;
	TransactionId holder;		/* LOCKED: who has it; invalid: not known */
} StoreSaved;

/*
 * Writes many transactions: the unfinished ones' state, the final ones'
 * outcome.  saved[i] tells what has become of trans[i]; once it is written and
 * committed, its version is one higher.
 */
extern void store_save(Transaction **trans, int n, TimestampTz now,
					   StoreSaved *saved);

extern void store_add_attempts(const StoreAttempt *attempts, int n);

/*
 * Postpones a row that cannot be processed until next_time.  False if the row
 * is locked.
 */
extern bool store_postpone(int64 id, TimestampTz next_time);

/*
 * The attempts of a transaction with an error that begins like this, since the last
 * one that was a success.
 */
extern int	store_count_attempts(int64 id, const char *error);

/*
 * Postpones the row of trans->id without reading more of it than its state, as one
 * more failure, so many at least.  Sets gid, status, failures and next_time; false
 * if it is locked or not there.
 */
extern bool store_set_aside(Transaction *trans, TimestampTz next_time,
							int failures);

/*
 * Parks the row of trans->id in the same way, as one that has failed so often at
 * least.
 */
extern bool store_park(Transaction *trans, const char *reason, int failures,
					   TimestampTz now);

/* ---------- alerts.c: what is told to operators ---------- */

/* Channel of NOTIFY. */
#define STORE_ALERT_CHANNEL		"dtm_alert"

/* A message about an alert: that it is open, or over. */
typedef struct StoreAlert
{
	int64		id;
	bool		over;
	char	   *message;		/* fragment, detail and hint for the log; NULL
								 * but from store_look_for_alerts() */
	char	   *detail;
	char	   *hint;
	char	   *payload;		/* JSON */
} StoreAlert;

/* What remains after a look. */
typedef struct StoreAlertsLeft
{
	int64		open;			/* alerts */
	int64		held_back;		/* messages, by dtm.alerts_per_hour */
	bool		unsent;			/* to the webhook */
	TimestampTz again;			/* when there may be something without an
								 * event; DT_NOEND: never */
} StoreAlertsLeft;

/*
 * Compares what needs a person with the alerts that are open, opens and resolves
 * some, and returns the messages that are to be sent now; they are noted as
 * told by the commit.  With "webhook", the webhook is to be told, too.
 */
extern int	store_look_for_alerts(bool webhook, StoreAlert **alerts,
								  StoreAlertsLeft *left);

/* The next message for the webhook; false: there is none. */
extern bool store_next_alert(StoreAlert *alert);

/* It has been taken; or there will be no more tries. */
extern void store_alert_sent(const StoreAlert *alert);

/*
 * Is an alert open, or not told to the webhook, or is there a transaction that is
 * a reason for one?
 */
extern bool store_has_alerts(void);

/* ---------- removal of finished transactions ---------- */

/*
 * A batch of a pass through the finished transactions, in the order of their
 * ids.
 */
typedef struct StoreCleanup
{
	int64		after;			/* id after which it continues; set to the
								 * last id of the batch */
	TimestampTz finished_until; /* transactions that finished before may be
								 * removed */
	int			max;			/* number of transactions to check */
	int64		removed;		/* number of removed transactions */
	bool		complete;		/* the pass is complete */
	int64		first_left;		/* id of the first transaction that remains;
								 * 0: none */
	TimestampTz oldest_left;	/* when the oldest remaining one finished;
								 * DT_NOEND: none remains */
} StoreCleanup;

extern void store_clean(StoreCleanup *batch);

/*
 * Removes barrier rows of unknown transactions that are older than "until";
 * returns their number.
 */
extern int64 store_clean_barrier(TimestampTz until, int max);

/* Does a pg_cron job remove finished transactions? */
extern bool store_cron_cleans(void);

/* ---------- where this database lives ---------- */

/* May the coordinator of this database make calls? If not, why. */
typedef enum StoreHome
{
	STORE_HOME_HERE,			/* it may */
	STORE_HOME_PAUSED,			/* dtm_pause */
	STORE_HOME_ELSEWHERE,		/* restored or copied from another database */
	STORE_HOME_COPIED,			/* the files of the whole server were copied */
	STORE_HOME_CLONE,			/* a clone of a node of Citus was promoted, or
								 * may have been */
	STORE_HOME_OTHER_VERSION	/* the versions of SQL and library differ */
} StoreHome;

/*
 * Only for coordinators.  A server that was started as a standby, and was
 * promoted, becomes the home.
 */
extern StoreHome store_home(void);
extern void store_set_home(bool paused);

/* dtm.home.tag, which lives until the next call; NULL: none.  In a transaction. */
extern const char *store_tag(void);

/*
 * Sentences: why the coordinator is paused, and how to resume it.  NULL: it is
 * not paused.
 */
extern const char *store_home_reason(StoreHome home);
extern const char *store_home_hint(StoreHome home);

/*
 * Called from _PG_init of the postmaster: notes whether this server starts as
 * a standby.
 */
extern void store_note_standby(void);

/* ---------- version.c ---------- */

/*
 * The version of the extension in this database if it differs from the
 * library's, else NULL.  NULL also while the extension is created or updated.
 */
extern const char *store_other_version(void);

/*
 * The role that owns the extension; an error if the extension is not
 * installed.
 */
extern Oid	dtm_extension_owner(void);

/*
 * As the owner of the extension, to write to the barrier's table.  What
 * somebody has added to our tables (triggers, checks, defaults) runs under a
 * search path and settings that the caller has not chosen.  Leaving restores
 * both; an error does so by itself.
 */
typedef struct StoreCaller
{
	Oid			user;
	int			sec_context;
	int			nest_level;		/* of settings */
	bool		as_made;		/* nothing was added: nothing of anybody's
								 * runs, and none of its triggers is deferred */
} StoreCaller;

extern void store_enter_owner(StoreCaller *caller);
extern void store_leave_owner(const StoreCaller *caller);

#endif							/* DTM_STORE_H */
