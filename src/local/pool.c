/*
 * pool.c
 *		The workers of local branches, as their coordinator sees them.
 *
 * A worker is of one database and one role.  It is started when a task needs
 * one, keeps what it is given one at a time, and goes by itself when it has had
 * nothing to do for a while.
 *
 * Workers are shared among the roles:
 *
 * 1. One role has all but one of them at most, and one at least.  So however
 *    long its functions take, there is a place for another role.
 * 2. What becomes free goes to the role that has been served longest ago.
 * 3. An idle worker makes room for a role that has none, or two fewer.  While its
 *    own role has more to do it stays for TURN_TIME, because a process costs more
 *    to start than most functions to run.
 *
 * A function that does not end in time is canceled in its worker (runner.c).  A
 * worker that goes on all the same is told to end LOCAL_GRACE later, and is
 * written off after another LOCAL_GRACE (private.h).  A role gets no more workers
 * as long as all those that it may have are written off ones.
 *
 * The slots of the server (max_worker_processes) are everybody's.  A pool that gets
 * none, and has no worker, asks an idle worker of another pool to leave.
 */
#include "private.h"

#include "clock.h"
#include "process/flight.h"
#include "settings.h"

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* How long a worker stays of a role while others wait for its place, in us. */
#define TURN_TIME		INT64CONST(100000)

/*
 * How long tasks wait while the server has no slot for a worker, and how often it
 * is asked, in us.  Parallel queries take slots, too, and are soon done.
 */
#define SLOT_TIME		INT64CONST(5000000)
#define SLOT_PAUSE		INT64CONST(50000)

/* Where there are two workers to be had, each coordinator has as many. */
#define MIN_WORKERS		2

/* What the pool knows of a worker of its own. */
typedef struct OwnWorker
{
	BackgroundWorkerHandle *handle; /* NULL: none of ours is at this place */
	LocalTask  *task;			/* that it runs; NULL: none, or it was taken
								 * back */
	int64		since;			/* when it was started, clock_monotonic() */
	bool		stopped;		/* it was told to end */
} OwnWorker;

struct LocalPool
{
	MemoryContext context;
	DtmShare	share;			/* of its coordinator */
	LocalRoles	roles;			/* of its tasks, and of its workers */
	dlist_head	done;
	OwnWorker  *own;			/* for each place in shared memory */
	int64		tried;			/* when a worker could not be started last,
								 * clock_monotonic() */
	int64		starved;		/* since when there is no worker because of
								 * that; 0: it is not so */
};

static int
nplaces(void)
{
	return local_shared != NULL ? local_shared->nworkers : 0;
}

/* ---------- limits ---------- */

/* How many of its workers are of a role; InvalidOid: of any. */
static int
workers_of(const LocalPool *pool, Oid role)
{
	int			n = 0;

	for (int i = 0; i < nplaces(); i++)
		if (pool->own[i].handle != NULL &&
			(!OidIsValid(role) || local_shared->workers[i].role == role))
			n++;
	return n;
}

/* How many workers it may have: coordinators divide dtm.sql_workers. */
static int
max_workers(const LocalPool *pool)
{
	return Max(dtm_sql_workers / pool->share.of,
			   Min(dtm_sql_workers, MIN_WORKERS));
}

/* How many of them may be of one role. */
static int
max_of_role(const LocalPool *pool)
{
	return Max(max_workers(pool) - 1, 1);
}

/* ---------- tasks that end ---------- */

static void
end_task(LocalPool *pool, LocalTask *task)
{
	task->done = true;
	if (task->recorded)
		task->withdrawn = false;
	dlist_push_tail(&pool->done, &task->node);
}

/* Ends a task that nobody can run. */
static void
give_up(LocalPool *pool, LocalTask *task, const char *error)
{
	roles_remove(&pool->roles, task);
	task->started = GetCurrentTimestamp();
	strlcpy(task->error, error, sizeof(task->error));
	end_task(pool, task);
}

/* The task of a worker has ended, whatever became of it. */
static void
take_task(LocalPool *pool, int i)
{
	LocalTask  *task = pool->own[i].task;

	if (task == NULL)
		return;
	pool->own[i].task = NULL;
	task->worker = -1;
	end_task(pool, task);
}

/* ---------- workers that do not end ---------- */

/* Tells a worker to end. */
static void
stop_worker(LocalPool *pool, int i)
{
	if (pool->own[i].stopped)
		return;
	pool->own[i].stopped = true;
	place_note_stopped(i);
	/* also one that has not come yet */
	TerminateBackgroundWorker(pool->own[i].handle);
}

/* It has not ended: its place is free for another. */
static void
write_off(LocalPool *pool, int i)
{
	LocalTask  *task = pool->own[i].task;
	pid_t		pid = local_shared->workers[i].pid;
	char	   *role = local_role_name(local_shared->workers[i].role);

	ereport(WARNING,
			(errmsg("process %d still runs a function although it was terminated", (int) pid),
			 errdetail("The function is one of role \"%s\" for global transaction %lld.",
					   role, (long long) local_shared->workers[i].id),
			 errhint("The function waits for a program, or does not look for interrupts. Have it end, or restart the server.")));
	pfree(role);
	if (task != NULL)
		snprintf(task->error, sizeof(task->error),
				 "function did not end in time, nor when its process (%d) was terminated",
				 (int) pid);
	take_task(pool, i);
	place_send_away(i);
	pfree(pool->own[i].handle);
	memset(&pool->own[i], 0, sizeof(OwnWorker));
}

/*
 * When something has to be done about a worker that has a task, clock_monotonic();
 * 0: not before it says so.
 */
static int64
due_at(const LocalPool *pool, int i)
{
	LocalWorker *worker = &local_shared->workers[i];
	int64		at = 0;

	SpinLockAcquire(&worker->mutex);
	if (pool->own[i].stopped)
		at = worker->stopped + LOCAL_GRACE;
	else if (worker->state == LOCAL_BUSY && worker->deadline != 0)
		at = worker->deadline + LOCAL_GRACE;
	SpinLockRelease(&worker->mutex);
	return at;
}

/* Has it had the time that it has, and the grace? */
static void
check_time(LocalPool *pool, int i)
{
	int64		at = due_at(pool, i);

	if (at == 0 || at > clock_monotonic())
		return;
	if (pool->own[i].stopped)
		write_off(pool, i);
	else
		stop_worker(pool, i);
}

/* Takes what a worker has to say, and sees whether it is still there. */
static void
look_at(LocalPool *pool, int i)
{
	LocalWorker *worker = &local_shared->workers[i];
	OwnWorker  *own = &pool->own[i];
	LocalTask  *task = own->task;
	bool		over;
	pid_t		pid;
	bool		stopped = GetBackgroundWorkerPid(own->handle, &pid) == BGWH_STOPPED;

	SpinLockAcquire(&worker->mutex);
	over = worker->over;
	if (task != NULL && over)
	{
		task->recorded = worker->recorded;
		task->result = worker->result;
		task->final = worker->final;
		task->alert = worker->alert;
		task->duration = worker->duration;
		strlcpy(task->error, worker->error, sizeof(task->error));
	}
	if (task != NULL)
		task->started = worker->started;
	if (worker->state == LOCAL_DONE)
		worker->state = LOCAL_IDLE;
	if (stopped)
	{
		/* it may not have come at all */
		worker->state = LOCAL_FREE;
		flight_end_function(i);
	}
	SpinLockRelease(&worker->mutex);

	if (task != NULL && stopped && !task->recorded && task->error[0] == '\0')
		strlcpy(task->error, own->stopped ?
				"function did not end in time, and its process was terminated" :
				"worker process terminated while it ran the function; see the server's log",
				sizeof(task->error));
	/* it may still have to tidy up */
	if (over || stopped)
		take_task(pool, i);
	if (stopped)
	{
		pfree(own->handle);
		memset(own, 0, sizeof(*own));
	}
	else
		check_time(pool, i);
}

/* ---------- who gets a worker ---------- */

/* A worker of ours for this role that is idle; else -1. */
static int
idle_worker(const LocalPool *pool, Oid role)
{
	for (int i = 0; i < nplaces(); i++)
		if (pool->own[i].handle != NULL && !pool->own[i].stopped &&
			local_shared->workers[i].role == role && place_is_idle(i))
			return i;
	return -1;
}

/* May a role have the place of this idle worker of another one? */
static bool
may_displace(const LocalPool *pool, Oid role, int i)
{
	Oid			other = local_shared->workers[i].role;
	int			nworkers = workers_of(pool, role);

	if (roles_waiting(&pool->roles, other) == 0)
		return true;
	return clock_monotonic() - pool->own[i].since >= TURN_TIME &&
		(nworkers == 0 || nworkers + 2 <= workers_of(pool, other));
}

/* Has a worker of another role make room: its place is free when it has gone. */
static void
make_room(LocalPool *pool, Oid role)
{
	for (int i = 0; i < nplaces(); i++)
		if (pool->own[i].handle != NULL && !pool->own[i].stopped &&
			local_shared->workers[i].role != role && place_is_idle(i) &&
			may_displace(pool, role, i))
		{
			place_ask_to_leave(i);
			return;
		}
}

/* The task is with a worker now. */
static void
note_given(LocalPool *pool, int i, LocalTask *task)
{
	roles_remove(&pool->roles, task);
	pool->own[i].task = task;
	task->worker = i;
	if (task->sent != NULL)
		*task->sent = clock_to_unix(GetCurrentTimestamp());
}

static bool
start_worker(LocalPool *pool, LocalTask *task)
{
	MemoryContext before = CurrentMemoryContext;
	BackgroundWorkerHandle *handle;
	int64		now = clock_monotonic();
	int			i;

	if (pool->starved != 0 && now - pool->tried < SLOT_PAUSE)
		return false;
	MemoryContextSwitchTo(pool->context);
	i = place_start(task, &handle);
	MemoryContextSwitchTo(before);
	if (i < 0)
	{
		pool->tried = now;
		if (workers_of(pool, InvalidOid) == 0)
			place_ask_another();
		return false;
	}
	pool->starved = 0;
	memset(&pool->own[i], 0, sizeof(OwnWorker));
	pool->own[i].handle = handle;
	pool->own[i].since = clock_monotonic();
	note_given(pool, i, task);
	return true;
}

/* A role has as many workers as it may have.  True: its task does not wait. */
static bool
refuse(LocalPool *pool, LocalTask *task, pid_t written_off)
{
	char		error[LOCAL_ERROR_SIZE];

	if (workers_of(pool, task->role) > 0)
		return false;
	snprintf(error, sizeof(error),
			 "process %d, which ran a function of the same role, still runs although it was terminated",
			 (int) written_off);
	give_up(pool, task, error);
	return true;
}

/* There is no worker, and no slot for one.  True: the task does not wait. */
static bool
starve(LocalPool *pool, LocalTask *task)
{
	if (pool->starved == 0)
		pool->starved = pool->tried;
	if (pool->tried - pool->starved < SLOT_TIME)
		return false;
	give_up(pool, task,
			"out of background worker slots; increase max_worker_processes");
	return true;
}

/* Sees to the first task of a role.  False: it waits on. */
static bool
serve(LocalPool *pool, LocalRole *role)
{
	LocalTask  *task = dlist_head_element(LocalTask, node, &role->waiting);
	int			i = idle_worker(pool, role->role);
	int			nwritten_off;
	pid_t		written_off;

	if (max_workers(pool) == 0)
	{
		give_up(pool, task, "function was not called because dtm.sql_workers is 0");
		return true;
	}
	if (i >= 0 && place_assign(i, task))
	{
		note_given(pool, i, task);
		return true;
	}
	written_off = place_written_off(role->role, &nwritten_off);
	if (workers_of(pool, role->role) + nwritten_off >= max_of_role(pool))
		return refuse(pool, task, written_off);
	if (workers_of(pool, InvalidOid) < max_workers(pool) && start_worker(pool, task))
		return true;
	make_room(pool, role->role);
	return workers_of(pool, InvalidOid) == 0 && starve(pool, task);
}

/* Serves one role, the first that can be; false: there is none. */
static bool
serve_next(LocalPool *pool)
{
	dlist_iter	iter;

	dlist_foreach(iter, &pool->roles.list)
	{
		LocalRole  *role = dlist_container(LocalRole, node, iter.cur);

		if (role->nwaiting == 0 || !serve(pool, role))
			continue;
		roles_served(&pool->roles, role);
		return true;
	}
	return false;
}

/* Roles without tasks and workers need not be remembered. */
static void
forget_roles(LocalPool *pool)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &pool->roles.list)
	{
		LocalRole  *role = dlist_container(LocalRole, node, iter.cur);

		if (role->nwaiting == 0 && workers_of(pool, role->role) == 0)
			roles_forget(&pool->roles, role);
	}
}

/* Ends all that wait. */
static void
give_up_all(LocalPool *pool, bool withdrawn, const char *error)
{
	dlist_iter	iter;

	dlist_foreach(iter, &pool->roles.list)
	{
		LocalRole  *role = dlist_container(LocalRole, node, iter.cur);

		while (role->nwaiting > 0)
		{
			LocalTask  *task = dlist_head_element(LocalTask, node, &role->waiting);

			task->withdrawn = withdrawn;
			give_up(pool, task, error);
		}
	}
}

/* ---------- the interface ---------- */

LocalPool *
local_pool_create(MemoryContext context, DtmShare share)
{
	LocalPool  *pool = MemoryContextAllocZero(context, sizeof(LocalPool));

	pool->context = context;
	roles_init(&pool->roles, context);
	dlist_init(&pool->done);
	pool->own = MemoryContextAllocZero(context, sizeof(OwnWorker) * (nplaces() + 1));
	pool->share = share;
	if (local_shared != NULL)
		place_send_orphans_away();
	return pool;
}

void
local_pool_destroy(LocalPool *pool)
{
	for (int i = 0; i < nplaces(); i++)
	{
		if (pool->own[i].handle == NULL)
			continue;
		if (pool->own[i].task != NULL)
			stop_worker(pool, i);
		place_send_away(i);
	}
}

void
local_submit(LocalPool *pool, LocalTask *task)
{
	task->worker = -1;
	task->done = task->withdrawn = false;
	task->recorded = task->final = false;
	task->result = DTM_RESULT_TEMPORARY;
	task->alert.raised = false;
	task->started = 0;
	task->duration = 0;
	task->error[0] = '\0';
	roles_add(&pool->roles, task);
}

void
local_cancel(LocalPool *pool, LocalTask *task)
{
	if (task->worker >= 0)
	{
		pool->own[task->worker].task = NULL;
		if (place_hurry(task->worker))
			stop_worker(pool, task->worker);
	}
	else if (task->done)
		dlist_delete(&task->node);
	else
		roles_remove(&pool->roles, task);
}

void
local_stop(LocalPool *pool, LocalTask *task)
{
	if (task->done || task->withdrawn)
		return;
	task->withdrawn = true;
	if (task->worker < 0)
		give_up(pool, task, "");
	else if (place_hurry(task->worker))
		stop_worker(pool, task->worker);
}

void
local_drive(LocalPool *pool)
{
	LocalTask  *task;

	if (local_shared == NULL)
		give_up_all(pool, false,
					"function was not called because dtm is not in shared_preload_libraries");
	for (int i = 0; i < nplaces(); i++)
		if (pool->own[i].handle != NULL)
			look_at(pool, i);
	while ((task = roles_expired(&pool->roles)) != NULL)
		give_up(pool, task, "time of the global transaction was over before a worker was free");
	while (pool->roles.nwaiting > 0 && serve_next(pool))
		;
	if (pool->roles.nwaiting == 0)
		pool->starved = 0;
	forget_roles(pool);
}

void
local_withdraw(LocalPool *pool)
{
	give_up_all(pool, true, "");
	for (int i = 0; i < nplaces(); i++)
		if (pool->own[i].task != NULL && place_hurry(i))
			pool->own[i].task->withdrawn = true;
}

int
local_waiting_of(const LocalPool *pool, Oid role)
{
	return roles_waiting(&pool->roles, role);
}

LocalTask *
local_reap(LocalPool *pool)
{
	return dlist_is_empty(&pool->done) ? NULL :
		dlist_container(LocalTask, node, dlist_pop_head_node(&pool->done));
}

int64
local_due_in(const LocalPool *pool)
{
	int64		next = pool->roles.expires;

	if (!dlist_is_empty((dlist_head *) &pool->done))
		return 0;
	for (int i = 0; i < nplaces(); i++)
	{
		int64		at = pool->own[i].handle != NULL ? due_at(pool, i) : 0;

		if (at != 0 && (next == 0 || at < next))
			next = at;
	}
	if (pool->starved != 0 && (next == 0 || pool->tried + SLOT_PAUSE < next))
		next = pool->tried + SLOT_PAUSE;
	return next == 0 ? -1 : Max(next - clock_monotonic(), 0);
}

int
local_running(const LocalPool *pool)
{
	int			n = 0;

	for (int i = 0; i < nplaces(); i++)
		if (pool->own[i].task != NULL)
			n++;
	return n;
}

int
local_waiting(const LocalPool *pool)
{
	return pool->roles.nwaiting;
}
