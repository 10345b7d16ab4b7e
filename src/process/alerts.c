/*
 * alerts.c
 *		When the process that tells of alerts runs; see alerts.h.
 */
#include "process/alerts.h"

#include "clock.h"
#include "process/bgworker.h"
#include "process/databases.h"
#include "process/looks.h"
#include "settings.h"
#include "store/store.h"

#include "access/twophase.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Pause before the process is started again, in ms. */
#define RESTART_PAUSE_MIN	1000
#define RESTART_PAUSE_MAX	60000

/* What the launcher knows of the process of a database. */
typedef struct Alerter
{
	BackgroundWorkerHandle *handle; /* NULL: none was started */
	int64		not_before;		/* clock_monotonic(): of the next start */
	int			pause;			/* ms, doubles while it dies */
} Alerter;

/* One for each slot; only those of the first slots of databases are used. */
static Alerter *alerters;

static bool reported_no_worker = false;

void
alerts_init(void)
{
	alerters = MemoryContextAllocZero(TopMemoryContext,
									  sizeof(Alerter) * dtm_shared->nslots);
}

TimestampTz
alerts_ailing_due(Oid database, TimestampTz looked)
{
	int64		after = dtm_alert_after * INT64CONST(1000);
	TimestampTz since = looks_ailing_since(database, looked == DT_NOBEGIN ?
										   DT_NOBEGIN : looked - after);

	return since == DT_NOEND ? DT_NOEND : since + after;
}

/* Has the process ended? */
static void
notice_end(const DtmSharedSlot *slot, Alerter *alerter)
{
	pid_t		pid;

	if (alerter->handle == NULL ||
		GetBackgroundWorkerPid(alerter->handle, &pid) != BGWH_STOPPED)
		return;
	pfree(alerter->handle);
	alerter->handle = NULL;
	alerter->pause = slot->alerter_is_done || alerter->pause == 0 ? RESTART_PAUSE_MIN :
		Min(alerter->pause * 2, RESTART_PAUSE_MAX);
	alerter->not_before = clock_monotonic() + alerter->pause * INT64CONST(1000);
}

static void
start(int i, Alerter *alerter)
{
	BackgroundWorker worker;
	MemoryContext before;
	bool		started;

	dtm_describe_worker(&worker, "dtm_alerter_main", "dtm alerts", "dtm alerts");
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = Int32GetDatum(i);
	worker.bgw_notify_pid = MyProcPid;
	before = MemoryContextSwitchTo(TopMemoryContext);
	started = RegisterDynamicBackgroundWorker(&worker, &alerter->handle);
	MemoryContextSwitchTo(before);
	if (!started)
	{
		alerter->handle = NULL;
		alerter->not_before = clock_monotonic() + RESTART_PAUSE_MAX * INT64CONST(1000);
		if (!reported_no_worker)
			ereport(LOG,
					(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					 errmsg("out of background worker slots for dtm alerts"),
					 errhint("Increase max_worker_processes. dtm needs one more worker for each database that has an alert.")));
	}
	reported_no_worker = !started;
}

/* Sees to one database; returns as alerts_look_after(). */
static long
see_to(int i)
{
	DtmSharedSlot *slot = &dtm_shared->slots[i];
	Alerter    *alerter = &alerters[i];
	TimestampTz due;
	int64		us;

	notice_end(slot, alerter);
	if (!OidIsValid(slot->database) || slot->share.number != 0 ||
		slot->state == DTM_COORDINATOR_GONE || dtm_is_held(slot->database))
		return -1;

	/*
	 * it sees to the rest itself, but nobody else tells it of a coordinator
	 * that ails
	 */
	if (alerter->handle != NULL)
	{
		if (alerts_ailing_due(slot->database, DT_NOBEGIN) != DT_NOEND)
			(void) looks_wake(slot);
		return -1;
	}
	/* a former launcher's, whose end nobody tells us of */
	if (slot->alerter_pid != 0)
		return RESTART_PAUSE_MAX;
	due = Min(looks_due(slot), alerts_ailing_due(slot->database, DT_NOBEGIN));
	if (due == DT_NOEND)
		return -1;
	us = Max(due - GetCurrentTimestamp(), alerter->not_before - clock_monotonic());
	if (us > 0)
		return (long) Min((us + 999) / 1000, PG_INT32_MAX / 2);
	if (database_is_listed(slot->database))
		start(i, alerter);
	return alerter->handle != NULL ? -1 : RESTART_PAUSE_MAX;
}

long
alerts_look_after(void)
{
	long		timeout = -1;

	for (int i = 0; i < dtm_shared->nslots; i++)
	{
		long		ms = see_to(i);

		if (ms >= 0)
			timeout = timeout < 0 ? ms : Min(timeout, ms);
	}
	return timeout;
}

void
alerts_at_start(const DtmSharedSlot *slot)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		reason;

	if (slot->home == STORE_HOME_OTHER_VERSION)
		return;
	store_begin(STORE_WORKER);
	reason = store_has_alerts();
	store_commit(STORE_WORKER);
	if (reason)
		looks_ask(slot->database, now + LOOK_GATHER);
	/* some may have been prepared before the server started */
	else if (max_prepared_xacts > 0)
		looks_ask(slot->database, now + dtm_stuck_after * INT64CONST(1000));
}
