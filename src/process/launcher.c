/*
 * launcher.c
 *		The background worker that starts the coordinators of each database
 *		that has the extension.
 *
 * The launcher cannot look into databases.  So it starts a worker in each
 * database when the server starts, and in a database that it is asked to check
 * (by a commit that created the extension, or that submitted something while
 * no coordinator runs).  A worker that does not find the extension exits at
 * once, and its slot is freed.  A worker that dies is restarted.
 *
 * If a database needs several coordinators, the first one starts alone, and
 * the others start when it has found the extension.  When their number
 * changes, all old ones exit before the first new one starts.  Each new one
 * starts with a search of its share, so earlier announcements do not matter.
 * Where no background worker is free for one, those that run divide the shares
 * anew, and one more is tried now and then.
 *
 * It also looks after the program dtm-gateway (gateway.c), and starts the
 * processes that tell of alerts (alerts.c).
 */
#include "process/process.h"

#include "clock.h"
#include "compat.h"
#include "process/alerts.h"
#include "process/bgworker.h"
#include "process/databases.h"
#include "process/gateway.h"
#include "process/metrics.h"
#include "process/shmem.h"
#include "process/slots.h"
#include "process/wait_event.h"
#include "settings.h"

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Pause before a worker that died is started again, in ms. */
#define RESTART_PAUSE_MIN	200
#define RESTART_PAUSE_MAX	60000

/* A worker that lived this long (ms) is started again without delay. */
#define LIVED_LONG			10000

/* What the launcher knows of a slot's worker. */
typedef struct Child
{
	BackgroundWorkerHandle *handle; /* NULL: none was started */
	int64		started;		/* clock_monotonic(), as the next */
	int64		not_before;		/* of the next start */
	int			pause;			/* ms, doubles while it keeps dying */
	int			limit;			/* of a database's first: so many coordinators
								 * there, since no worker is free for more; 0:
								 * as dtm.coordinators_per_database says */
	int64		grow_at;		/* the same: one more is tried then */
} Child;

static Child *children;

/* Databases that have to be looked at. */
static List *candidates = NIL;

/* Those that could be connected to when pg_database was last read. */
static List *known = NIL;

static bool reported_no_slot = false;

static void
at_exit(int code, Datum arg)
{
	SpinLockAcquire(&dtm_shared->mutex);
	dtm_shared->launcher = NULL;
	SpinLockRelease(&dtm_shared->mutex);
}

/* They are to be looked at: does one have the extension, and no coordinator? */
static void
add_candidates(List *databases)
{
	MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);

	candidates = list_concat_unique_oid(candidates, databases);
	MemoryContextSwitchTo(before);
}

/*
 * pg_database has changed, or dtm.databases: those that can be connected to
 * since are looked at, and those that cannot any more are left.
 */
static void
compare_databases(void)
{
	List	   *now = databases_list();
	List	   *appeared = list_difference_oid(now, known);
	List	   *gone = list_difference_oid(known, now);
	ListCell   *cell;

	add_candidates(appeared);
	list_free(appeared);
	foreach(cell, gone)
		metrics_forget(lfirst_oid(cell));
	list_free(gone);
	for (int i = 0; i < dtm_shared->nslots; i++)
		if (OidIsValid(dtm_shared->slots[i].database) &&
			!list_member_oid(now, dtm_shared->slots[i].database))
			dtm_ask(dtm_shared->slots[i].database, DTM_ASK_STOP);
	list_free(known);
	known = now;
}

/* Takes over what backends have asked for. */
static void
take_requests(void)
{
	Oid			requested[DTM_MAX_REQUESTED];
	int			n;
	bool		all;
	bool		changed;

	SpinLockAcquire(&dtm_shared->mutex);
	n = dtm_shared->nrequested;
	memcpy(requested, dtm_shared->requested, sizeof(Oid) * n);
	all = dtm_shared->look_at_all;
	changed = dtm_shared->databases_changed;
	dtm_shared->nrequested = 0;
	dtm_shared->look_at_all = false;
	dtm_shared->databases_changed = false;
	SpinLockRelease(&dtm_shared->mutex);

	if (n == 0 && !all && !changed)
		return;
	compare_databases();
	if (all)
		add_candidates(known);
	for (int i = 0; i < n; i++)
		if (list_member_oid(known, requested[i]))
			add_candidates(list_make1_oid(requested[i]));
}

/* How many coordinators a database is to have now. */
static int
wanted_coordinators(Oid database)
{
	DtmSharedSlot *first = dtm_slot_of(database);
	int			limit = first == NULL ? 0 : children[first - dtm_shared->slots].limit;

	return limit == 0 ? dtm_coordinators_per_database :
		Min(limit, dtm_coordinators_per_database);
}

/* The first slot of a database is the last to go. */
static bool
is_needed(const DtmSharedSlot *slot)
{
	return slot->share.number == 0 && slot_has_others(slot);
}

/* Looks after the workers that have ended. */
static void
look_after(int i)
{
	DtmSharedSlot *slot = &dtm_shared->slots[i];
	Child	   *child = &children[i];
	int64		now = clock_monotonic();
	Oid			database = slot->database;
	pid_t		pid;

	if (child->handle == NULL ||
		GetBackgroundWorkerPid(child->handle, &pid) != BGWH_STOPPED)
		return;
	pfree(child->handle);
	child->handle = NULL;
	if (slot->state == DTM_COORDINATOR_GONE && !is_needed(slot) && slot_free(slot))
	{
		memset(child, 0, sizeof(Child));
		metrics_forget(database);
		return;
	}
	/* who leaves when told to is no worker that keeps dying */
	if (slot->has_left || now - child->started > LIVED_LONG * INT64CONST(1000))
		child->pause = 0;
	child->not_before = now + child->pause * INT64CONST(1000);
	slot_restarts_at(slot, child->pause == 0 ? 0 :
					 GetCurrentTimestamp() + child->pause * INT64CONST(1000));
	if (!slot->has_left)
		child->pause = child->pause == 0 ? RESTART_PAUSE_MIN :
			Min(child->pause * 2, RESTART_PAUSE_MAX);
}

/* What the coordinator of a database is called. */
static const char *
title_of(Oid database)
{
	const char *title = "dtm coordinator";
	MemoryContext before = CurrentMemoryContext;
	char	   *name;

	StartTransactionCommand();
	name = get_database_name(database);
	MemoryContextSwitchTo(before);
	if (name != NULL)
		title = psprintf("dtm coordinator for database \"%s\"", name);
	CommitTransactionCommand();
	MemoryContextSwitchTo(before);
	return title;
}

static bool
start_worker(int i)
{
	BackgroundWorker worker;
	DtmSharedSlot *slot = &dtm_shared->slots[i];
	Child	   *child = &children[i];
	MemoryContext before;
	bool		started;

	/* an order to leave was for its predecessor */
	SpinLockAcquire(&slot->mutex);
	slot->asked &= ~DTM_ASK_LEAVE;
	slot->restart_at = 0;
	slot->has_left = false;
	SpinLockRelease(&slot->mutex);

	dtm_describe_worker(&worker, "dtm_worker_main", "dtm coordinator",
						title_of(slot->database));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = Int32GetDatum(i);
	worker.bgw_notify_pid = MyProcPid;
	before = MemoryContextSwitchTo(TopMemoryContext);
	started = RegisterDynamicBackgroundWorker(&worker, &child->handle);
	MemoryContextSwitchTo(before);
	if (!started)
		child->handle = NULL;
	child->started = clock_monotonic();
	return started;
}

/*
 * A database is to have another number of coordinators, and a slot is one of the
 * former number.  True when it is not any more.
 */
static bool
renumber(int i, int wanted)
{
	DtmSharedSlot *slot = &dtm_shared->slots[i];

	if (children[i].handle != NULL || slot->pid != 0)
	{
		if (!(slot->asked & DTM_ASK_DRAIN))
			dtm_ask_slot(slot, DTM_ASK_DRAIN);
		return false;
	}
	if (slot->share.number > 0)
	{
		slot_clear(slot);
		return false;
	}
	if (slots_of_another_number(slot->database, wanted, slot))
		return false;
	SpinLockAcquire(&slot->mutex);
	slot->share.of = wanted;
	SpinLockRelease(&slot->mutex);
	children[i].pause = 0;
	children[i].not_before = 0;
	slot_restarts_at(slot, 0);
	return true;
}

/*
 * No worker is free for one of a database's coordinators: the others divide its
 * share among them, so that it does not wait.  False if it has no others.
 */
static bool
do_with_fewer(Oid database)
{
	DtmSharedSlot *first_slot = dtm_slot_of(database);
	DtmSharedSlot *slot = NULL;
	Child	   *first;
	int			nrunning = 0;

	if (first_slot == NULL)
		return false;
	first = &children[first_slot - dtm_shared->slots];
	while ((slot = dtm_next_slot(database, slot)) != NULL)
		if (children[slot - dtm_shared->slots].handle != NULL)
			nrunning++;
	if (nrunning == 0)
		return false;
	if (nrunning != first->limit)
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("could start only %d of %d background workers \"%s\"",
						nrunning, dtm_coordinators_per_database, title_of(database)),
				 errdetail("No background worker slot is free. The running coordinators share the work of the missing ones."),
				 errhint("Increase max_worker_processes, or decrease dtm.coordinators_per_database.")));
	first->limit = nrunning;
	first->grow_at = clock_monotonic() + RESTART_PAUSE_MAX * INT64CONST(1000);
	return true;
}

/* Starts the others of a database whose first one runs; false: no worker is free. */
static bool
start_others(const DtmSharedSlot *first)
{
	for (int number = 1; number < first->share.of; number++)
	{
		int			i;

		if (slot_of_share(first->database, number) != NULL)
			continue;
		i = slot_assign(first->database, number, first->share.of);
		if (i < 0)
			return false;
		memset(&children[i], 0, sizeof(Child));
		if (!start_worker(i))
		{
			slot_clear(&dtm_shared->slots[i]);
			return false;
		}
	}
	return true;
}

/*
 * A database that has fewer coordinators than it is to have: is there a worker
 * for one more?  It waits for its share while the others make room.
 */
static void
grow(int first)
{
	Child	   *child = &children[first];
	Oid			database = dtm_shared->slots[first].database;
	int			i = slot_assign(database, child->limit, child->limit + 1);

	child->grow_at = clock_monotonic() + RESTART_PAUSE_MAX * INT64CONST(1000);
	if (i < 0)
		return;
	memset(&children[i], 0, sizeof(Child));
	if (start_worker(i))
		child->limit++;
	else
		slot_clear(&dtm_shared->slots[i]);
	if (child->limit >= dtm_coordinators_per_database)
		child->limit = 0;
}

/* The earlier of two time-outs in ms; -1 is never. */
static long
earlier(long a, long b)
{
	return a < 0 ? b : b < 0 ? a : Min(a, b);
}

/* Until a time by clock_monotonic(), in ms. */
static long
ms_until(int64 time)
{
	return (long) Max((time - clock_monotonic() + 999) / 1000, 0);
}

/*
 * Sees to a slot that a database has.  Returns when to do so again, as
 * start_workers() does; "no_worker" is set if none was free.
 */
static long
see_to_slot(int i, bool *no_worker)
{
	DtmSharedSlot *slot = &dtm_shared->slots[i];
	Child	   *child = &children[i];
	int			wanted = wanted_coordinators(slot->database);
	long		timeout = -1;

	if (slot->share.of != wanted && !renumber(i, wanted))
		/* the first one follows when the others have gone */
		return OidIsValid(slot->database) && child->handle == NULL ?
			RESTART_PAUSE_MIN : -1;
	if (dtm_is_held(slot->database))
		return -1;
	if (child->handle != NULL)
	{
		if (slot->share.number > 0 || !slot->present || slot->pid == 0)
			return -1;
		if (!start_others(slot))
			*no_worker = !do_with_fewer(slot->database);
		else if (child->limit > 0 && ms_until(child->grow_at) == 0)
			grow(i);
		if (child->limit > 0)
			timeout = ms_until(child->grow_at);
	}
	else if (slot->pid != 0)
	{
		/* a former launcher's */
		dtm_ask_slot(slot, DTM_ASK_STOP);
		timeout = RESTART_PAUSE_MIN;
	}
	else if (ms_until(child->not_before) > 0)
		timeout = ms_until(child->not_before);
	else if (!database_is_listed(slot->database))
		slot_clear(slot);
	else if (!start_worker(i))
	{
		if (do_with_fewer(slot->database))
			timeout = RESTART_PAUSE_MIN;
		else
			*no_worker = true;
	}
	return timeout;
}

/* Starts a coordinator where one may be missing; false: no worker is free. */
static bool
start_candidates(void)
{
	while (candidates != NIL)
	{
		Oid			database = linitial_oid(candidates);

		if (dtm_slot_of(database) == NULL)
		{
			int			i = slot_assign(database, 0, dtm_coordinators_per_database);

			if (i < 0)
				return false;
			memset(&children[i], 0, sizeof(Child));
			if (!start_worker(i))
			{
				slot_clear(&dtm_shared->slots[i]);
				return false;
			}
		}
		candidates = list_delete_first(candidates);
	}
	return true;
}

/*
 * Starts what has to be started.  Returns how long to sleep at most (ms), or
 * -1.
 */
static long
start_workers(void)
{
	long		timeout = -1;
	bool		no_worker = false;

	for (int i = 0; i < dtm_shared->nslots; i++)
		if (OidIsValid(dtm_shared->slots[i].database))
			timeout = earlier(timeout, see_to_slot(i, &no_worker));
	if (no_worker || !start_candidates())
	{
		/* a worker that ends tells us; others' workers don't */
		no_worker = true;
		timeout = earlier(timeout, RESTART_PAUSE_MAX);
		if (!reported_no_slot)
			ereport(LOG,
					(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					 errmsg("out of background worker slots for dtm coordinators"),
					 errhint("Increase max_worker_processes. dtm needs one worker for the launcher, dtm.coordinators_per_database for each database that has the extension, and, for a moment, one for each other database.")));
	}
	reported_no_slot = no_worker;
	SpinLockAcquire(&dtm_shared->mutex);
	dtm_shared->no_worker = no_worker;
	SpinLockRelease(&dtm_shared->mutex);
	return timeout;
}

void
dtm_register_launcher(void)
{
	BackgroundWorker worker;

	if (IsBinaryUpgrade)
		return;					/* pg_upgrade wants the servers for itself */
	dtm_describe_worker(&worker, "dtm_launcher_main", "dtm launcher",
						"dtm launcher");
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_restart_time = 1;
	RegisterBackgroundWorker(&worker);
}

void
dtm_launcher_main(Datum arg)
{
	MemoryContext context;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	gateway_init();
	alerts_init();
	BackgroundWorkerUnblockSignals();
	before_shmem_exit(at_exit, (Datum) 0);

	children = MemoryContextAllocZero(TopMemoryContext,
									  sizeof(Child) * dtm_shared->nslots);
	dtm_connect_worker(InvalidOid, InvalidOid, 0);
	pgstat_report_appname("dtm launcher");
	context = AllocSetContextCreate(TopMemoryContext, "dtm launcher",
									ALLOCSET_DEFAULT_SIZES);

	SpinLockAcquire(&dtm_shared->mutex);
	dtm_shared->launcher = MyLatch;
	dtm_shared->look_at_all = true;
	SpinLockRelease(&dtm_shared->mutex);

	/*
	 * If we were started again, there may be workers of our predecessor. They
	 * are told to stop; what they leave is found by their successors.
	 */
	for (int i = 0; i < dtm_shared->nslots; i++)
		if (OidIsValid(dtm_shared->slots[i].database))
			dtm_ask(dtm_shared->slots[i].database, DTM_ASK_STOP);

	for (;;)
	{
		long		timeout;

		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			dtm_ask_launcher(InvalidOid);
			gateway_reload();
			/* there may be more workers now, or there are to be fewer */
			for (int i = 0; i < dtm_shared->nslots; i++)
				children[i].limit = 0;
		}
		MemoryContextSwitchTo(context);
		take_requests();
		for (int i = 0; i < dtm_shared->nslots; i++)
			look_after(i);
		timeout = earlier(start_workers(), gateway_look_after());
		timeout = earlier(timeout, alerts_look_after());
		MemoryContextSwitchTo(TopMemoryContext);
		MemoryContextReset(context);

		pgstat_report_activity(STATE_IDLE, "waiting for databases that need a coordinator");
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH |
						 (timeout >= 0 ? WL_TIMEOUT : 0), timeout,
						 dtm_wait_event(DTM_WAIT_LAUNCHER_MAIN));
		ResetLatch(MyLatch);
	}
}
