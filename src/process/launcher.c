/*
 * launcher.c
 *		The background worker that sees to it that every database which has the
 *		extension has its coordinators.
 *
 * It can't look into databases itself.  So it starts a worker in each when
 * the server starts, and in one that it is asked to look at (a commit that
 * created the extension, or submitted something where no coordinator runs);
 * a worker that finds no extension leaves at once, and its slot is free
 * again.  A worker that dies is started again.
 *
 * Where there is to be more than one in a database, the first comes alone, and
 * the others when it has found the extension.  When their number changes, all
 * of them leave before the first of the new ones comes: each of those begins
 * with a search of its share, so that it does not matter who was told of what
 * before.
 */
#include "process/process.h"

#include "compat.h"
#include "settings.h"
#include "process/bgworker.h"
#include "process/shmem.h"
#include "process/wait_event.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

/* Pause before a worker that died is started again, in ms. */
#define RESTART_PAUSE_MIN	200
#define RESTART_PAUSE_MAX	60000

/* A worker that lived this long (ms) is started again without delay. */
#define LIVED_LONG			10000

/* What the launcher knows of a slot's worker. */
typedef struct Child
{
	BackgroundWorkerHandle *handle; /* NULL: none was started */
	TimestampTz started;
	TimestampTz not_before;		/* of the next start */
	int			pause;			/* ms, doubles while it keeps dying */
} Child;

static Child *children;

/* Databases that have to be looked at. */
static List *candidates = NIL;
static bool reported_no_slot = false;

static void
at_exit(int code, Datum arg)
{
	SpinLockAcquire(&dtm_shared->mutex);
	dtm_shared->launcher = NULL;
	SpinLockRelease(&dtm_shared->mutex);
}

/* dtm.databases: "*", or a list of names. */
static bool
is_wanted(const char *name)
{
	char	   *copy = pstrdup(dtm_databases);
	List	   *names;
	ListCell   *cell;

	if (strcmp(dtm_databases, "*") == 0)
		return true;
	if (!SplitIdentifierString(copy, ',', &names))
		return false;
	foreach(cell, names)
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	return false;
}

/* Every database that can be connected to, in TopMemoryContext. */
static List *
list_databases(void)
{
	List	   *list = NIL;
	Relation	relation;
	TableScanDesc scan;
	HeapTuple	tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	relation = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(relation, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

		if (database->datallowconn && !database->datistemplate &&
			database->datconnlimit != DATCONNLIMIT_INVALID_DB &&
			is_wanted(NameStr(database->datname)))
		{
			MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);

			list = lappend_oid(list, database->oid);
			MemoryContextSwitchTo(before);
		}
	}
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	CommitTransactionCommand();
	return list;
}

/* Takes over what backends have asked for. */
static void
take_requests(void)
{
	Oid			requested[DTM_MAX_REQUESTED];
	int			n;
	bool		all;
	List	   *existing = NIL;

	SpinLockAcquire(&dtm_shared->mutex);
	n = dtm_shared->nrequested;
	memcpy(requested, dtm_shared->requested, sizeof(Oid) * n);
	all = dtm_shared->look_at_all;
	dtm_shared->nrequested = 0;
	dtm_shared->look_at_all = false;
	SpinLockRelease(&dtm_shared->mutex);

	if (n == 0 && !all)
		return;
	existing = list_databases();
	if (all)
	{
		list_free(candidates);
		candidates = existing;
		return;
	}
	for (int i = 0; i < n; i++)
		if (list_member_oid(existing, requested[i]))
		{
			MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);

			candidates = list_append_unique_oid(candidates, requested[i]);
			MemoryContextSwitchTo(before);
		}
	list_free(existing);
}

/* False: somebody has announced something to it, or waits for it. */
static bool
free_slot(DtmSharedSlot *slot)
{
	bool		free;

	SpinLockAcquire(&slot->mutex);
	free = slot->holds == 0 && slot->yields == 0 &&
		(slot->asked & ~DTM_ASK_LEAVE) == 0 &&
		slot->ring_head == slot->ring_tail;
	if (free)
	{
		slot->database = InvalidOid;
		slot->pid = 0;
		slot->latch = NULL;
		slot->ring_head = slot->ring_tail = 0;
	}
	SpinLockRelease(&slot->mutex);
	return free;
}

/* The database is gone, and with it all that was announced there. */
static void
clear_slot(DtmSharedSlot *slot)
{
	SpinLockAcquire(&slot->mutex);
	slot->asked = 0;
	slot->ring_head = slot->ring_tail;
	SpinLockRelease(&slot->mutex);
	(void) free_slot(slot);
}

static bool
has_others(const DtmSharedSlot *slot)
{
	DtmSharedSlot *other = NULL;

	while ((other = dtm_next_slot(slot->database, other)) != NULL)
		if (other != slot)
			return true;
	return false;
}

/* The first slot of a database is the last to go. */
static bool
is_needed(const DtmSharedSlot *slot)
{
	return slot->share.number == 0 && has_others(slot);
}

/* Looks after the workers that have ended. */
static void
look_after(int i)
{
	DtmSharedSlot *slot = &dtm_shared->slots[i];
	Child	   *child = &children[i];
	TimestampTz now = GetCurrentTimestamp();
	pid_t		pid;

	if (child->handle == NULL ||
		GetBackgroundWorkerPid(child->handle, &pid) != BGWH_STOPPED)
		return;
	pfree(child->handle);
	child->handle = NULL;
	if (slot->state == DTM_COORDINATOR_GONE && !is_needed(slot) && free_slot(slot))
	{
		memset(child, 0, sizeof(Child));
		return;
	}
	if (TimestampDifferenceExceeds(child->started, now, LIVED_LONG))
		child->pause = 0;
	child->not_before = TimestampTzPlusMilliseconds(now, child->pause);
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
	child->started = GetCurrentTimestamp();
	return started;
}

static DtmSharedSlot *
slot_of_share(Oid database, int number)
{
	DtmSharedSlot *slot = NULL;

	while ((slot = dtm_next_slot(database, slot)) != NULL)
		if (slot->share.number == number)
			return slot;
	return NULL;
}

/*
 * Gives a coordinator of a database a slot; -1 if none is free, or it has one.
 * The worker is started afterwards, see concerns() in shmem.c.
 */
static int
assign_slot(Oid database, int number)
{
	int			free = -1;

	if (slot_of_share(database, number) != NULL)
		return -1;
	for (int i = 0; i < dtm_shared->nslots && free < 0; i++)
		if (!OidIsValid(dtm_shared->slots[i].database))
			free = i;
	if (free < 0)
		return -1;
	SpinLockAcquire(&dtm_shared->slots[free].mutex);
	dtm_shared->slots[free].database = database;
	dtm_shared->slots[free].share.number = number;
	dtm_shared->slots[free].share.of = dtm_coordinators_per_database;
	dtm_shared->slots[free].state = DTM_COORDINATOR_STARTING;
	dtm_shared->slots[free].present = false;
	SpinLockRelease(&dtm_shared->slots[free].mutex);
	memset(&children[free], 0, sizeof(Child));
	return free;
}

/*
 * dtm.coordinators_per_database has changed, and a slot is one of the former
 * number.  True when it is not any more.
 */
static bool
renumber(int i)
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
		clear_slot(slot);
		return false;
	}
	if (has_others(slot))
		return false;
	SpinLockAcquire(&slot->mutex);
	slot->share.of = dtm_coordinators_per_database;
	SpinLockRelease(&slot->mutex);
	children[i].pause = 0;
	children[i].not_before = 0;
	return true;
}

/* Starts the others of a database whose first one runs; false: no slot is free. */
static bool
start_others(const DtmSharedSlot *first)
{
	for (int number = 1; number < first->share.of; number++)
	{
		int			i;

		if (slot_of_share(first->database, number) != NULL)
			continue;
		i = assign_slot(first->database, number);
		if (i < 0)
			return false;
		if (!start_worker(i))
		{
			clear_slot(&dtm_shared->slots[i]);
			return false;
		}
	}
	return true;
}

static bool
database_exists(Oid database)
{
	List	   *existing = list_databases();
	bool		exists = list_member_oid(existing, database);

	list_free(existing);
	return exists;
}

/* dtm.databases may have lost some. */
static void
stop_unwanted(void)
{
	List	   *wanted = list_databases();

	for (int i = 0; i < dtm_shared->nslots; i++)
		if (OidIsValid(dtm_shared->slots[i].database) &&
			!list_member_oid(wanted, dtm_shared->slots[i].database))
			dtm_ask(dtm_shared->slots[i].database, DTM_ASK_STOP);
	list_free(wanted);
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
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < dtm_shared->nslots; i++)
	{
		DtmSharedSlot *slot = &dtm_shared->slots[i];
		Child	   *child = &children[i];

		if (OidIsValid(slot->database) &&
			slot->share.of != dtm_coordinators_per_database && !renumber(i))
		{
			/* the first one follows when the others have gone */
			if (OidIsValid(slot->database) && child->handle == NULL)
				timeout = RESTART_PAUSE_MIN;
			continue;
		}
		if (!OidIsValid(slot->database) || dtm_is_held(slot->database))
			continue;
		if (child->handle != NULL)
		{
			if (slot->share.number == 0 && slot->present && slot->pid != 0 &&
				!start_others(slot))
				no_worker = true;
			continue;
		}
		if (slot->pid != 0)
		{
			/* a former launcher's */
			dtm_ask_slot(slot, DTM_ASK_STOP);
			timeout = RESTART_PAUSE_MIN;
		}
		else if (child->not_before > now)
		{
			long		left = TimestampDifferenceMilliseconds(now,
															   child->not_before);

			timeout = timeout < 0 ? left : Min(timeout, left);
		}
		else if (!database_exists(slot->database))
			clear_slot(slot);
		else if (!start_worker(i))
			no_worker = true;
	}
	while (candidates != NIL && !no_worker)
	{
		Oid			database = linitial_oid(candidates);
		bool		known = dtm_slot_of(database) != NULL;
		int			i = known ? -1 : assign_slot(database, 0);

		if (!known && i < 0)
			no_worker = true;
		else if (!known && !start_worker(i))
		{
			clear_slot(&dtm_shared->slots[i]);
			no_worker = true;
		}
		else
			candidates = list_delete_first(candidates);
	}
	if (no_worker)
	{
		/* a worker that ends tells us; others' workers don't */
		timeout = timeout < 0 ? RESTART_PAUSE_MAX : Min(timeout, RESTART_PAUSE_MAX);
		if (!reported_no_slot)
			ereport(LOG,
					(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					 errmsg("no background worker is free for a dtm coordinator"),
					 errhint("dtm needs dtm.coordinators_per_database of them for each database that has the extension, and one more: raise max_worker_processes. Databases without it take one for a moment.")));
	}
	reported_no_slot = no_worker;
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
	BackgroundWorkerUnblockSignals();
	before_shmem_exit(at_exit, (Datum) 0);

	children = MemoryContextAllocZero(TopMemoryContext,
									  sizeof(Child) * dtm_shared->nslots);
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	pgstat_report_appname("dtm launcher");
	context = AllocSetContextCreate(TopMemoryContext, "dtm launcher",
									ALLOCSET_DEFAULT_SIZES);

	SpinLockAcquire(&dtm_shared->mutex);
	dtm_shared->launcher = MyLatch;
	dtm_shared->look_at_all = true;
	SpinLockRelease(&dtm_shared->mutex);

	/*
	 * If we were started again, there may be workers of our predecessor.
	 * They are told to stop; what they leave is found by their successors.
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
			stop_unwanted();
		}
		MemoryContextSwitchTo(context);
		take_requests();
		for (int i = 0; i < dtm_shared->nslots; i++)
			look_after(i);
		timeout = start_workers();
		MemoryContextSwitchTo(TopMemoryContext);
		MemoryContextReset(context);

		pgstat_report_activity(STATE_IDLE, "waiting for databases to need a coordinator");
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH |
						 (timeout >= 0 ? WL_TIMEOUT : 0), timeout,
						 dtm_wait_event(DTM_WAIT_LAUNCHER_MAIN));
		ResetLatch(MyLatch);
	}
}
