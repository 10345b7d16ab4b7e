/*
 * pool.c
 *		The coordinator's pool of workers for local branches.
 *
 * A worker belongs to one database and one role.  It is started when a task
 * needs it, runs one task at a time, and exits when it has been idle for a
 * while.  If the limit is reached, an idle worker of another role must exit.
 */
#include "private.h"

#include "compat.h"
#include "settings.h"
#include "transaction.h"
#include "process/shmem.h"
#include "process/bgworker.h"

#include <signal.h>

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "storage/procarray.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

struct LocalPool
{
	MemoryContext context;
	DtmShare	share;			/* of its coordinator */
	dlist_head	waiting;		/* LocalTask, first come first */
	dlist_head	done;
	int			nwaiting;
	LocalTask **task;			/* of each worker in shared memory, or NULL */
	BackgroundWorkerHandle **handle;	/* the same; NULL: not one of ours */
};

LocalShared *local_shared = NULL;

static shmem_startup_hook_type previous_startup_hook = NULL;
static shmem_request_hook_type previous_request_hook = NULL;

/* ---------- shared memory ---------- */

static Size
shmem_size(void)
{
	return add_size(offsetof(LocalShared, workers),
					mul_size(max_worker_processes, sizeof(LocalWorker)));
}

static void
shmem_request(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(shmem_size());
}

static void
shmem_startup(void)
{
	bool		found;

	if (previous_startup_hook)
		previous_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	local_shared = ShmemInitStruct("dtm local workers", shmem_size(), &found);
	if (!found)
	{
		memset(local_shared, 0, shmem_size());
		local_shared->nworkers = max_worker_processes;
		for (int i = 0; i < local_shared->nworkers; i++)
			SpinLockInit(&local_shared->workers[i].mutex);
	}
	LWLockRelease(AddinShmemInitLock);
}

void
local_shmem_init(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = shmem_request;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = shmem_startup;
}

/* ---------- workers ---------- */

/* Asks a worker that is idle to make room. */
static void
ask_to_leave(LocalWorker *worker)
{
	Latch	   *latch;

	SpinLockAcquire(&worker->mutex);
	worker->leave = true;
	latch = worker->latch;
	SpinLockRelease(&worker->mutex);
	if (latch)
		SetLatch(latch);
}

/*
 * Has a worker go, whatever it does; nobody waits for it any more.  One that
 * has not come yet will find its place taken.
 */
static void
send_away(LocalWorker *worker)
{
	Latch	   *latch;
	pid_t		busy = 0;

	SpinLockAcquire(&worker->mutex);
	worker->leave = true;
	worker->owner = 0;
	worker->owner_latch = NULL;
	latch = worker->latch;
	if (worker->pid == 0)
	{
		worker->generation++;
		worker->state = LOCAL_FREE;
	}
	else if (worker->state == LOCAL_BUSY)
		busy = worker->pid;
	SpinLockRelease(&worker->mutex);
	if (busy != 0)
		(void) kill(busy, SIGTERM);
	if (latch)
		SetLatch(latch);
}

/* Writes a task down for a worker; its lock is held. */
static void
give(LocalWorker *worker, const LocalTask *task)
{
	worker->state = LOCAL_BUSY;
	worker->id = task->id;
	worker->op = task->op;
	worker->timeout = task->timeout;
	worker->now = task->now;
	worker->recorded = worker->final = false;
	worker->result = DTM_RESULT_TEMPORARY;
	worker->failures = 0;
	worker->started = GetCurrentTimestamp();
	worker->duration = 0;
	worker->error[0] = '\0';
}

/* The task is with a worker now. */
static void
note_given(LocalPool *pool, int i, LocalTask *task)
{
	dlist_delete(&task->node);
	pool->nwaiting--;
	pool->task[i] = task;
	task->worker = i;
}

/* Is this the place of a worker whose coordinator and who itself are gone? */
static bool
is_abandoned(LocalWorker *worker)
{
	pid_t		owner;
	bool		empty;

	SpinLockAcquire(&worker->mutex);
	owner = worker->owner;
	empty = worker->state != LOCAL_FREE && worker->pid == 0;
	SpinLockRelease(&worker->mutex);
	return empty && owner != MyProcPid && BackendPidGetProc(owner) == NULL;
}

/* Takes a free place for a worker of the task's role; -1: there is none. */
static int
reserve(const LocalTask *task)
{
	for (int i = 0; i < local_shared->nworkers; i++)
	{
		LocalWorker *worker = &local_shared->workers[i];
		bool		abandoned = is_abandoned(worker);
		bool		taken = false;

		SpinLockAcquire(&worker->mutex);
		if ((worker->state == LOCAL_FREE || abandoned) && worker->pid == 0)
		{
			give(worker, task);
			worker->leave = false;
			worker->generation++;
			worker->database = MyDatabaseId;
			worker->role = task->role;
			worker->latch = NULL;
			worker->owner = MyProcPid;
			worker->owner_latch = MyLatch;
			taken = true;
		}
		SpinLockRelease(&worker->mutex);
		if (taken)
			return i;
	}
	return -1;
}

/* Gives a task to an idle worker of ours.  False: it is not idle any more. */
static bool
assign(LocalPool *pool, int i, LocalTask *task)
{
	LocalWorker *worker = &local_shared->workers[i];
	Latch	   *latch = NULL;
	bool		idle;

	SpinLockAcquire(&worker->mutex);
	idle = worker->state == LOCAL_IDLE && !worker->leave;
	if (idle)
	{
		give(worker, task);
		latch = worker->latch;
	}
	SpinLockRelease(&worker->mutex);
	if (!idle)
		return false;
	note_given(pool, i, task);
	if (latch)
		SetLatch(latch);
	return true;
}

/*
 * What the worker of a role is called.  Asked between transactions by a
 * coordinator, and within one by dtm_run_due().
 */
static char *
title_of(Oid role)
{
	MemoryContext before = CurrentMemoryContext;
	bool		alone = !IsTransactionState();
	const char *name;
	const char *database;
	char	   *title;

	if (alone)
		StartTransactionCommand();
	name = GetUserNameFromId(role, true);
	database = get_database_name(MyDatabaseId);
	MemoryContextSwitchTo(before);
	title = psprintf("dtm local branches in database \"%s\" of role \"%s\"",
					 database, name != NULL ? name : "");
	if (alone)
		CommitTransactionCommand();
	MemoryContextSwitchTo(before);
	return title;
}

static bool
start_worker(LocalPool *pool, LocalTask *task)
{
	int			i = reserve(task);
	BackgroundWorker worker;
	MemoryContext before;
	bool		started;
	char	   *title;

	if (i < 0)
		return false;
	title = title_of(task->role);
	dtm_describe_worker(&worker, "dtm_local_worker_main", "dtm local branches", title);
	pfree(title);
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = Int32GetDatum(i);
	memcpy(worker.bgw_extra, &local_shared->workers[i].generation, sizeof(uint32));
	worker.bgw_notify_pid = MyProcPid;
	before = MemoryContextSwitchTo(pool->context);
	started = RegisterDynamicBackgroundWorker(&worker, &pool->handle[i]);
	MemoryContextSwitchTo(before);
	if (!started)
	{
		pool->handle[i] = NULL;
		send_away(&local_shared->workers[i]);
		return false;
	}
	note_given(pool, i, task);
	return true;
}

static void
end_task(LocalPool *pool, LocalTask *task)
{
	pool->task[task->worker] = NULL;
	task->worker = -1;
	task->done = true;
	dlist_push_tail(&pool->done, &task->node);
}

/* Takes what a worker has to say, and sees whether it is still there. */
static void
look_at(LocalPool *pool, int i)
{
	LocalWorker *worker = &local_shared->workers[i];
	LocalTask  *task = pool->task[i];
	LocalState	state;
	pid_t		pid;
	bool		stopped = GetBackgroundWorkerPid(pool->handle[i], &pid) == BGWH_STOPPED;

	SpinLockAcquire(&worker->mutex);
	state = worker->state;
	if (task != NULL && (state == LOCAL_DONE || state == LOCAL_ENDED))
	{
		task->recorded = worker->recorded;
		task->result = worker->result;
		task->final = worker->final;
		task->failures = worker->failures;
		task->duration = worker->duration;
		strlcpy(task->error, worker->error, sizeof(task->error));
	}
	if (task != NULL)
		task->started = worker->started;
	if (state == LOCAL_DONE)
		worker->state = LOCAL_IDLE;
	if (stopped)
		worker->state = LOCAL_FREE;
	SpinLockRelease(&worker->mutex);

	if (task != NULL && (state == LOCAL_DONE || stopped))
	{
		if (stopped && !task->recorded && task->error[0] == '\0')
			snprintf(task->error, sizeof(task->error),
					 "worker process terminated while it ran the function; see the server's log");
		end_task(pool, task);
	}
	if (stopped)
	{
		pfree(pool->handle[i]);
		pool->handle[i] = NULL;
	}
}

/* A worker of ours for this role that is idle; else -1. */
static int
idle_worker(LocalPool *pool, Oid role, bool other_role)
{
	for (int i = 0; i < local_shared->nworkers; i++)
	{
		LocalWorker *worker = &local_shared->workers[i];
		bool		fits;

		if (pool->handle[i] == NULL)
			continue;
		SpinLockAcquire(&worker->mutex);
		fits = worker->state == LOCAL_IDLE && !worker->leave &&
			(worker->role == role) != other_role;
		SpinLockRelease(&worker->mutex);
		if (fits)
			return i;
	}
	return -1;
}

static int
count_workers(const LocalPool *pool)
{
	int			n = 0;

	for (int i = 0; i < local_shared->nworkers; i++)
		if (pool->handle[i] != NULL)
			n++;
	return n;
}

/* Ends a task that nobody can run. */
static void
give_up(LocalPool *pool, LocalTask *task, const char *error)
{
	dlist_delete(&task->node);
	pool->nwaiting--;
	task->done = true;
	task->started = GetCurrentTimestamp();
	strlcpy(task->error, error, sizeof(task->error));
	dlist_push_tail(&pool->done, &task->node);
}

/* Is this another coordinator of this database? */
static bool
is_coordinator(pid_t pid)
{
	DtmSharedSlot *slot = NULL;

	while ((slot = dtm_next_slot(MyDatabaseId, slot)) != NULL)
		if (slot->pid == pid && pid != MyProcPid)
			return true;
	return false;
}

/* How many workers it may have: coordinators divide dtm.sql_workers. */
static int
max_workers(const LocalPool *pool)
{
	return dtm_sql_workers == 0 ? 0 : Max(dtm_sql_workers / pool->share.of, 1);
}

/* ---------- the interface ---------- */

LocalPool *
local_pool_create(MemoryContext context, DtmShare share)
{
	LocalPool  *pool = MemoryContextAllocZero(context, sizeof(LocalPool));
	int			n = local_shared ? local_shared->nworkers : 0;

	pool->context = context;
	dlist_init(&pool->waiting);
	dlist_init(&pool->done);
	pool->task = MemoryContextAllocZero(context, sizeof(LocalTask *) * (n + 1));
	pool->handle = MemoryContextAllocZero(context,
										  sizeof(BackgroundWorkerHandle *) * (n + 1));
	pool->share = share;
	for (int i = 0; i < n; i++)
		if (local_shared->workers[i].database == MyDatabaseId &&
			local_shared->workers[i].state != LOCAL_FREE &&
			!is_coordinator(local_shared->workers[i].owner))
			send_away(&local_shared->workers[i]);
	return pool;
}

void
local_pool_destroy(LocalPool *pool)
{
	int			n = local_shared ? local_shared->nworkers : 0;

	for (int i = 0; i < n; i++)
	{
		if (pool->handle[i] == NULL)
			continue;
		/* also one that has not come yet */
		if (pool->task[i] != NULL)
			TerminateBackgroundWorker(pool->handle[i]);
		send_away(&local_shared->workers[i]);
	}
}

void
local_submit(LocalPool *pool, LocalTask *task)
{
	task->worker = -1;
	task->done = task->withdrawn = false;
	task->recorded = task->final = false;
	task->result = DTM_RESULT_TEMPORARY;
	task->failures = 0;
	task->started = 0;
	task->duration = 0;
	task->error[0] = '\0';
	dlist_push_tail(&pool->waiting, &task->node);
	pool->nwaiting++;
}

void
local_cancel(LocalPool *pool, LocalTask *task)
{
	if (task->worker >= 0)
		pool->task[task->worker] = NULL;
	else
	{
		dlist_delete(&task->node);
		if (!task->done)
			pool->nwaiting--;
	}
}

void
local_drive(LocalPool *pool)
{
	dlist_mutable_iter iter;
	bool		asked = false;

	if (local_shared == NULL)
	{
		dlist_foreach_modify(iter, &pool->waiting)
			give_up(pool, dlist_container(LocalTask, node, iter.cur),
					"function was not called because dtm is not in shared_preload_libraries");
		return;
	}
	for (int i = 0; i < local_shared->nworkers; i++)
		if (pool->handle[i] != NULL)
			look_at(pool, i);
	dlist_foreach_modify(iter, &pool->waiting)
	{
		LocalTask  *task = dlist_container(LocalTask, node, iter.cur);
		int			i = idle_worker(pool, task->role, false);

		if (max_workers(pool) == 0)
			give_up(pool, task, "function was not called because dtm.sql_workers is 0");
		else if (i >= 0 && assign(pool, i, task))
			continue;
		else if (count_workers(pool) >= max_workers(pool))
		{
			/*
			 * The first that finds no place has one made: it is seen to be
			 * free when its worker has gone.
			 */
			if (!asked && (i = idle_worker(pool, task->role, true)) >= 0)
				ask_to_leave(&local_shared->workers[i]);
			asked = true;
		}
		else if (!start_worker(pool, task))
		{
			if (count_workers(pool) > 0)
				break;
			give_up(pool, task,
					"out of background worker slots; increase max_worker_processes");
		}
	}
}

void
local_withdraw(LocalPool *pool)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &pool->waiting)
	{
		LocalTask  *task = dlist_container(LocalTask, node, iter.cur);

		task->withdrawn = true;
		give_up(pool, task, "");
	}
}

int
local_waiting_of(const LocalPool *pool, Oid role)
{
	int			n = 0;
	dlist_iter	iter;

	dlist_foreach(iter, (dlist_head *) &pool->waiting)
		if (dlist_container(LocalTask, node, iter.cur)->role == role)
			n++;
	return n;
}

LocalTask *
local_reap(LocalPool *pool)
{
	return dlist_is_empty(&pool->done) ? NULL :
		dlist_container(LocalTask, node, dlist_pop_head_node(&pool->done));
}

bool
local_has_ended(LocalPool *pool)
{
	return !dlist_is_empty(&pool->done);
}

int
local_running(const LocalPool *pool)
{
	int			n = 0;

	for (int i = 0; local_shared != NULL && i < local_shared->nworkers; i++)
		if (pool->task[i] != NULL)
			n++;
	return n;
}

int
local_waiting(const LocalPool *pool)
{
	return pool->nwaiting;
}
