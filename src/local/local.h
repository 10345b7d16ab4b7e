/*
 * local.h
 *		Local branches: functions in this database, called as the role that
 *		submitted.
 *
 * The changes of a local branch and its new status are one commit.  A
 * background worker that is connected as the role runs the function and writes
 * the outcome, in one transaction; the coordinator then reads the row again.
 * The process never was another role, so a function has no privilege to
 * regain.
 *
 * The coordinator's interface is like that of the transport: submit, drive,
 * reap, cancel.
 */
#ifndef DTM_LOCAL_H
#define DTM_LOCAL_H

#include "postgres.h"

#include "compat.h"
#include "core/core.h"
#include "outcome.h"
#include "transaction.h"

#include "datatype/timestamp.h"
#include "lib/ilist.h"

#define LOCAL_ERROR_SIZE 1024

/* An alert that a worker has raised: its coordinator calls the webhook. */
typedef struct LocalAlert
{
	bool		raised;
	OutcomeNews news;
	int			failures;
} LocalAlert;

typedef struct LocalPool LocalPool;

typedef struct LocalTask
{
	/*
	 * The task, which belongs to the caller and must not move until it is
	 * reaped or canceled.
	 */
	int64		id;				/* of the global transaction */
	int			op;				/* index in its ops */
	Oid			role;			/* role that submitted it */
	int			timeout;		/* ms; 0: only the role's own
								 * statement_timeout */
	int64		expires;		/* when its outcome has no use any longer, by
								 * clock_monotonic(); 0: never */
	TimestampTz now;			/* the time for core; 0: the clock's */
	void	   *owner;			/* for the caller */
	int64	   *sent;			/* set to the time when a worker gets it, in
								 * us since the Unix epoch; NULL: nowhere */

	/* The outcome, set when the task is reaped. */
	bool		withdrawn;		/* the function was not run, or in vain; no
								 * failure */
	bool		recorded;		/* the outcome is written in the row */
	DtmResult	result;
	bool		final;			/* the global transaction has ended */
	LocalAlert	alert;
	TimestampTz started;
	int64		duration;		/* us */
	char		error[LOCAL_ERROR_SIZE];	/* if the result is not success */

	/* Private to the pool. */
	dlist_node	node;			/* in the list of waiting or ended tasks */
	int			worker;			/* worker that runs it; -1: none yet */
	bool		done;
} LocalTask;

/* ---------- place.c ---------- */

/* Called from _PG_init of the postmaster. */
extern void local_shmem_init(void);

/*
 * Ends the processes of a database that run functions, because a command needs
 * what they may have locked.
 */
extern void local_terminate_all(Oid database);

/* The workers of a database, by what they do. */
typedef struct LocalCounts
{
	int			busy;
	int			idle;
	int			written_off;	/* were told to end, and have not */
} LocalCounts;

extern void local_count(Oid database, LocalCounts *counts);

/* ---------- pool.c ---------- */

/*
 * Creates a pool for this coordinator; ends the workers of coordinators that
 * have exited.
 */
extern LocalPool *local_pool_create(MemoryContext context, DtmShare share);

/* Ends the workers; the changes of running functions are rolled back. */
extern void local_pool_destroy(LocalPool *pool);

/*
 * Takes a task.  It starts at the next local_drive(), or when its turn comes.
 */
extern void local_submit(LocalPool *pool, LocalTask *task);

/*
 * Cancels a task that has not been reaped.  The process of a running function is
 * terminated; what it has committed by then counts.
 */
extern void local_cancel(LocalPool *pool, LocalTask *task);

/*
 * Nobody waits for the success of a task any longer: the same, but the task is
 * reaped, as withdrawn if it had no effects.
 */
extern void local_stop(LocalPool *pool, LocalTask *task);

/*
 * Gives tasks to workers, starts workers, and collects outcomes.  Call it when
 * the process latch is set.
 */
extern void local_drive(LocalPool *pool);

/*
 * Ends the tasks that wait for a worker, as withdrawn, and those that run, unless
 * they come to their end in a moment.
 */
extern void local_withdraw(LocalPool *pool);

/* The next task that has ended, or NULL. */
extern LocalTask *local_reap(LocalPool *pool);

/* us until local_drive() is due, or a task can be reaped; -1: no limit. */
extern int64 local_due_in(const LocalPool *pool);

/* Does the task wait for a worker? */
static inline bool
local_is_waiting(const LocalTask *task)
{
	return task->worker < 0 && !task->done;
}

/* Numbers of running tasks, and of tasks that wait for a worker. */
extern int	local_running(const LocalPool *pool);
extern int	local_waiting(const LocalPool *pool);
extern int	local_waiting_of(const LocalPool *pool, Oid role);

/* ---------- runner.c ---------- */

extern PGDLLEXPORT void dtm_local_worker_main(Datum arg);

/* ---------- function.c ---------- */

/*
 * The function that a URL sql:schema.function names.  An error if no such
 * function with the arguments (text, text, text, jsonb) exists, if the current
 * role may not execute it, or if no worker can run as the current role.
 */
extern Oid	local_function(const char *url);

/* What a function has returned. */
typedef struct LocalValue
{
	Oid			type;
	Datum		datum;
	bool		isnull;
} LocalValue;

/*
 * Calls the function as the current role, in the current transaction.  The
 * payload is JSON in UTF-8, or NULL.
 */
extern void local_call(const char *url, const char *gid, const char *branch_id,
					   const char *op, const bytea *payload, LocalValue *returned);

#endif							/* DTM_LOCAL_H */
