/*
 * place.c
 *		The places of workers in shared memory: who takes one, and what it is
 *		told there.
 *
 * Nothing here knows which task comes next, nor how many workers there may be.
 */
#include "private.h"

#include "clock.h"
#include "compat.h"
#include "process/bgworker.h"
#include "process/flight.h"
#include "process/shmem.h"

#include <signal.h>

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "storage/procarray.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

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

/* ---------- a worker is given a task ---------- */

/* How long it may take, in ms; 0: as long as it likes. */
static int
time_for(const LocalTask *task)
{
	int64		left;

	if (task->expires == 0)
		return task->timeout;
	left = Max((task->expires - clock_monotonic()) / 1000, 1);
	return (int) Min(left, task->timeout > 0 ? task->timeout : PG_INT32_MAX);
}

/* Writes a task down for a worker; its lock is held. */
static void
give(LocalWorker *worker, const LocalTask *task)
{
	flight_begin_function((int) (worker - local_shared->workers), MyDatabaseId,
						  task->id, task->op);
	worker->state = LOCAL_BUSY;
	worker->id = task->id;
	worker->op = task->op;
	worker->timeout = time_for(task);
	worker->now = task->now;
	/* until the worker knows better: it may hang before it comes to it */
	worker->deadline = worker->timeout > 0 ?
		clock_monotonic() + (int64) worker->timeout * 1000 : 0;
	worker->over = false;
	worker->recorded = worker->final = false;
	worker->result = DTM_RESULT_TEMPORARY;
	worker->alert.raised = false;
	worker->started = GetCurrentTimestamp();
	worker->duration = 0;
	worker->error[0] = '\0';
}

bool
place_is_idle(int i)
{
	LocalWorker *worker = &local_shared->workers[i];
	bool		idle;

	SpinLockAcquire(&worker->mutex);
	idle = worker->state == LOCAL_IDLE && !worker->leave;
	SpinLockRelease(&worker->mutex);
	return idle;
}

bool
place_assign(int i, const LocalTask *task)
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
	if (latch)
		SetLatch(latch);
	return idle;
}

/* ---------- a worker is started ---------- */

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
			worker->stopped = 0;
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

char *
local_role_name(Oid role)
{
	MemoryContext before = CurrentMemoryContext;
	bool		alone = !IsTransactionState();
	char	   *name;

	if (alone)
		StartTransactionCommand();
	name = GetUserNameFromId(role, true);
	name = MemoryContextStrdup(before, name != NULL ? name : "");
	if (alone)
		CommitTransactionCommand();
	MemoryContextSwitchTo(before);
	return name;
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
	char	   *name = local_role_name(role);
	const char *database;
	char	   *title;

	if (alone)
		StartTransactionCommand();
	database = get_database_name(MyDatabaseId);
	MemoryContextSwitchTo(before);
	title = psprintf("dtm local branches in database \"%s\" of role \"%s\"",
					 database, name);
	pfree(name);
	if (alone)
		CommitTransactionCommand();
	MemoryContextSwitchTo(before);
	return title;
}

int
place_start(const LocalTask *task, BackgroundWorkerHandle **handle)
{
	int			i = reserve(task);
	BackgroundWorker worker;
	char	   *title;

	if (i < 0)
		return -1;
	title = title_of(task->role);
	dtm_describe_worker(&worker, "dtm_local_worker_main", "dtm local branches", title);
	pfree(title);
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = Int32GetDatum(i);
	memcpy(worker.bgw_extra, &local_shared->workers[i].generation, sizeof(uint32));
	worker.bgw_notify_pid = MyProcPid;
	if (!RegisterDynamicBackgroundWorker(&worker, handle))
	{
		place_send_away(i);
		return -1;
	}
	return i;
}

/* ---------- a worker is to go ---------- */

void
place_ask_to_leave(int i)
{
	LocalWorker *worker = &local_shared->workers[i];
	Latch	   *latch;

	SpinLockAcquire(&worker->mutex);
	worker->leave = true;
	latch = worker->latch;
	SpinLockRelease(&worker->mutex);
	if (latch)
		SetLatch(latch);
}

void
place_ask_another(void)
{
	for (int i = 0; i < local_shared->nworkers; i++)
		if (place_is_idle(i) && local_shared->workers[i].owner != MyProcPid)
		{
			place_ask_to_leave(i);
			return;
		}
}

bool
place_hurry(int i)
{
	LocalWorker *worker = &local_shared->workers[i];
	int64		now = clock_monotonic();
	bool		running;

	SpinLockAcquire(&worker->mutex);
	running = worker->state == LOCAL_BUSY && !worker->over;
	if (running && (worker->deadline == 0 || worker->deadline > now))
		worker->deadline = now;
	SpinLockRelease(&worker->mutex);
	return running;
}

void
place_note_stopped(int i)
{
	LocalWorker *worker = &local_shared->workers[i];

	SpinLockAcquire(&worker->mutex);
	worker->leave = true;
	if (worker->stopped == 0)
		worker->stopped = clock_monotonic();
	SpinLockRelease(&worker->mutex);
}

void
place_send_away(int i)
{
	LocalWorker *worker = &local_shared->workers[i];
	Latch	   *latch;
	pid_t		busy = 0;

	SpinLockAcquire(&worker->mutex);
	worker->leave = true;
	worker->owner = 0;
	worker->owner_latch = NULL;
	latch = worker->latch;
	if (worker->stopped == 0)
		worker->stopped = clock_monotonic();
	if (worker->pid == 0)
	{
		worker->generation++;
		worker->state = LOCAL_FREE;
		flight_end_function(i);
	}
	else if (worker->state == LOCAL_BUSY)
		busy = worker->pid;
	SpinLockRelease(&worker->mutex);
	if (busy != 0)
		(void) kill(busy, SIGTERM);
	if (latch)
		SetLatch(latch);
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

void
place_send_orphans_away(void)
{
	for (int i = 0; i < local_shared->nworkers; i++)
		if (local_shared->workers[i].database == MyDatabaseId &&
			local_shared->workers[i].state != LOCAL_FREE &&
			!is_coordinator(local_shared->workers[i].owner))
			place_send_away(i);
}

pid_t
place_written_off(Oid role, int *n)
{
	int64		now = clock_monotonic();
	pid_t		pid = 0;

	*n = 0;
	for (int i = 0; i < local_shared->nworkers; i++)
	{
		LocalWorker *worker = &local_shared->workers[i];

		SpinLockAcquire(&worker->mutex);
		if (worker->database == MyDatabaseId && worker->role == role &&
			worker->owner == 0 && worker->pid != 0 &&
			now - worker->stopped >= LOCAL_GRACE)
		{
			pid = worker->pid;
			(*n)++;
		}
		SpinLockRelease(&worker->mutex);
	}
	return pid;
}

void
local_count(Oid database, LocalCounts *counts)
{
	memset(counts, 0, sizeof(*counts));
	for (int i = 0; local_shared != NULL && i < local_shared->nworkers; i++)
	{
		LocalWorker *worker = &local_shared->workers[i];

		SpinLockAcquire(&worker->mutex);
		if (worker->database != database)
			;
		else if (worker->owner == 0 && worker->pid != 0)
			counts->written_off++;
		else if (worker->state == LOCAL_BUSY)
			counts->busy++;
		else if (worker->state == LOCAL_IDLE || worker->state == LOCAL_DONE)
			counts->idle++;
		SpinLockRelease(&worker->mutex);
	}
}

void
local_terminate_all(Oid database)
{
	for (int i = 0; local_shared != NULL && i < local_shared->nworkers; i++)
	{
		LocalWorker *worker = &local_shared->workers[i];
		pid_t		pid = 0;

		SpinLockAcquire(&worker->mutex);
		if (worker->database == database && worker->state == LOCAL_BUSY)
			pid = worker->pid;
		SpinLockRelease(&worker->mutex);
		if (pid != 0)
			(void) kill(pid, SIGTERM);
	}
}
