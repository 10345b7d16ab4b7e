/*
 * private.h
 *		Shared memory of a coordinator and its workers for local branches.
 *
 * A worker that does not exit after SIGTERM is written off: it belongs to no
 * coordinator any longer ("owner" is 0), its task counts as failed, and its place
 * among dtm.sql_workers is free.  Only SIGKILL would end it, and that restarts the
 * server.  It counts against its role: see pool.c.
 */
#ifndef DTM_LOCAL_PRIVATE_H
#define DTM_LOCAL_PRIVATE_H

#include "local.h"

#include "postmaster/bgworker.h"
#include "storage/latch.h"
#include "storage/spin.h"

typedef enum LocalState
{
	LOCAL_FREE,					/* no worker */
	LOCAL_IDLE,
	LOCAL_BUSY,					/* has the task below; set by the coordinator,
								 * also before the worker has started */
	LOCAL_DONE,					/* has an outcome; set by the worker */
	LOCAL_ENDED					/* the worker has exited; the coordinator
								 * frees the slot */
} LocalState;

/* A worker, and its task. */
typedef struct LocalWorker
{
	slock_t		mutex;			/* protects all fields */
	LocalState	state;
	bool		leave;			/* must exit; nobody waits for an outcome */
	uint32		generation;		/* changes when a worker is started */
	Oid			database;
	Oid			role;
	pid_t		pid;			/* of the worker; 0: not started yet */
	Latch	   *latch;			/* of the worker */
	pid_t		owner;			/* the coordinator's process */
	Latch	   *owner_latch;
	int64		id;				/* the task, see LocalTask */
	int			op;
	int			timeout;
	TimestampTz now;
	int64		deadline;		/* when it should have ended,
								 * clock_monotonic(); 0: whenever it likes */
	int64		stopped;		/* when it was told to end; 0: it was not */
	bool		over;			/* the function has ended, with the outcome
								 * below */
	bool		recorded;		/* its outcome, see LocalTask */
	DtmResult	result;
	bool		final;
	LocalAlert	alert;
	TimestampTz started;
	int64		duration;
	char		error[LOCAL_ERROR_SIZE];
} LocalWorker;

typedef struct LocalShared
{
	int			nworkers;
	LocalWorker workers[FLEXIBLE_ARRAY_MEMBER];
} LocalShared;

/*
 * What a worker has on top of its deadline before it is told to end, and then
 * before it is written off, in us.
 */
#define LOCAL_GRACE		INT64CONST(5000000)

/* NULL without shared_preload_libraries. */
extern LocalShared *local_shared;

/* ---------- roles.c ---------- */

/* A role that has tasks or workers. */
typedef struct LocalRole
{
	dlist_node	node;			/* in LocalRoles.list */
	Oid			role;
	dlist_head	waiting;		/* LocalTask, first come first */
	int			nwaiting;
} LocalRole;

typedef struct LocalRoles
{
	MemoryContext context;
	dlist_head	list;			/* LocalRole, served longest ago first */
	int			nwaiting;		/* tasks of all */
	int64		expires;		/* when one of those does, or did; 0: none
								 * does */
} LocalRoles;

extern void roles_init(LocalRoles *roles, MemoryContext context);

/* A task waits from now on, or does not any more. */
extern void roles_add(LocalRoles *roles, LocalTask *task);
extern void roles_remove(LocalRoles *roles, LocalTask *task);

/* One that waits, and has no use any more; NULL: there is none. */
extern LocalTask *roles_expired(LocalRoles *roles);

/* How many tasks of this one wait. */
extern int	roles_waiting(const LocalRoles *roles, Oid role);

/* It has had its turn. */
extern void roles_served(LocalRoles *roles, LocalRole *role);
extern void roles_forget(LocalRoles *roles, LocalRole *role);

/* ---------- place.c ---------- */

/* In or out of a transaction, in the current memory context; "" for none. */
extern char *local_role_name(Oid role);

/*
 * Gives a task to worker i, if that is idle; false: it is not.  Its caller owns
 * the worker.
 */
extern bool place_assign(int i, const LocalTask *task);

/*
 * Starts a worker for a task at a free place; returns its number, with the handle
 * in the current memory context, or -1.
 */
extern int	place_start(const LocalTask *task, BackgroundWorkerHandle **handle);

/* Asks a worker that is idle to make room. */
extern void place_ask_to_leave(int i);

/* Asks an idle worker of somebody else to leave its slot to whoever comes first. */
extern void place_ask_another(void);

/*
 * The function that it runs should have ended by now; false: it has, and is
 * just tidied up after.
 */
extern bool place_hurry(int i);

/* It was told to end: it is given nothing any more. */
extern void place_note_stopped(int i);

/*
 * Has a worker go, whatever it does; nobody waits for it any more.  One that
 * has not come yet will find its place taken.
 */
extern void place_send_away(int i);

/* The same for workers of this database whose coordinators are gone. */
extern void place_send_orphans_away(void);

/* Is it idle, and may be given a task? */
extern bool place_is_idle(int i);

/*
 * The process of a worker of this database and role that was written off and is
 * still there; 0: there is none.  n: how many.
 */
extern pid_t place_written_off(Oid role, int *n);

/* ---------- commit.c ---------- */

/* A transaction with a snapshot. */
extern void runner_begin(void);

/*
 * The same, as BEGIN ... COMMIT has it: what a function does on other nodes of Citus is
 * part of the transaction only within such a block, and each of its statements one by
 * itself outside.
 */
extern void runner_begin_block(void);

extern void runner_commit(void);

#endif							/* DTM_LOCAL_PRIVATE_H */
