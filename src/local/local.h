/*
 * local.h
 *		Local branches: functions in this database that are called instead of a
 *		URL, as the role that submitted.
 *
 * What a local branch does and that it has been done are committed together.
 * A background worker that is connected as the role runs the function and
 * writes the outcome, in one transaction; the coordinator reads the row again.
 * There is no way to another role out of a process that was never another.
 *
 * The coordinator's side is like the transport's: submit, drive, reap, cancel.
 */
#ifndef DTM_LOCAL_H
#define DTM_LOCAL_H

#include "postgres.h"

#include "compat.h"
#include "core/core.h"
#include "transaction.h"

#include "datatype/timestamp.h"
#include "lib/ilist.h"

#define LOCAL_ERROR_SIZE 1024

typedef struct LocalPool LocalPool;

typedef struct LocalTask
{
	/* What is to be run; the caller's, in place until reaped or cancelled. */
	int64		id;				/* of the global transaction */
	int			op;				/* index in its ops */
	Oid			role;			/* who submitted it */
	int			timeout;		/* ms; 0: none but the role's own */
	TimestampTz now;			/* the time that core is told; 0: the clock's */
	void	   *owner;			/* the caller's */

	/* What became of it, set when reaped. */
	bool		withdrawn;		/* it was not run */
	bool		recorded;		/* the row has the outcome */
	DtmResult	result;
	bool		final;			/* the global transaction ended with it */
	int			failures;		/* in a row, if that calls for an alert; or 0 */
	TimestampTz started;
	int64		duration;		/* us */
	char		error[LOCAL_ERROR_SIZE];	/* if it's no success */

	/* Private to the pool. */
	dlist_node	node;			/* of those that wait, or have ended */
	int			worker;			/* that runs it; -1: none yet */
	bool		done;
} LocalTask;

/* ---------- pool.c ---------- */

/* From _PG_init of the postmaster. */
extern void local_shmem_init(void);

/* A pool for this coordinator; those of coordinators that are gone are sent away. */
extern LocalPool *local_pool_create(MemoryContext context, DtmShare share);

/* Sends its workers away; what a function that runs has done is undone. */
extern void local_pool_destroy(LocalPool *pool);

/* Takes a task; it starts at the next drive, or when its turn comes. */
extern void local_submit(LocalPool *pool, LocalTask *task);

/*
 * Takes a task back that has not been reaped.  One that is running goes on,
 * and counts only if its row still waits for it.
 */
extern void local_cancel(LocalPool *pool, LocalTask *task);

/*
 * Gives tasks to workers, starts workers, and sees who is done.  To be called
 * when the process latch was set.
 */
extern void local_drive(LocalPool *pool);

/* Ends the tasks that wait for a worker, as withdrawn. */
extern void local_withdraw(LocalPool *pool);

/* The next task that has ended, or NULL. */
extern LocalTask *local_reap(LocalPool *pool);

/* Is there one? */
extern bool local_has_ended(LocalPool *pool);

/* Has no worker been given it yet? */
static inline bool
local_is_waiting(const LocalTask *task)
{
	return task->worker < 0 && !task->done;
}

/* Tasks that are run, and that wait for a worker. */
extern int	local_running(const LocalPool *pool);
extern int	local_waiting(const LocalPool *pool);
extern int	local_waiting_of(const LocalPool *pool, Oid role);

/* ---------- worker.c ---------- */

extern PGDLLEXPORT void dtm_local_worker_main(Datum arg);

/* ---------- function.c ---------- */

/*
 * The function that a URL sql:schema.function names.  Errors if there is none
 * with the arguments (text, text, text, jsonb), if the current role may not
 * execute it, or can't be what a worker runs as.
 */
extern Oid	local_function(const char *url);

/*
 * Calls it as the current role, in the current transaction.  The payload is
 * JSON in UTF-8, or NULL.
 */
extern void local_call(const char *url, const char *gid, const char *branch_id,
					   const char *op, const bytea *payload);

#endif							/* DTM_LOCAL_H */
