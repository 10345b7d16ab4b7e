/*
 * alerter.c
 *		The background worker that tells operators of what needs a person.
 *
 * It looks at the tables and at shared memory, compares what it finds with the
 * alerts that are open (dtm.alert), and tells what has changed: once when an alert
 * is opened and once when it is resolved, by NOTIFY, the server's log, and the
 * webhook.  It is a process of its own, so that no look holds up a call, and that
 * it can tell of a coordinator that does not run.
 *
 * 1. What is told is noted in the transaction that sends the NOTIFY.  A crash
 *    before its commit is followed by the same look; one after it loses nothing
 *    but, at most, lines of the log, which are written first.
 * 2. What the webhook has taken is noted when it has (alert/hook.c).
 * 3. It ends when no alert is open, all is told, and nobody asks for a look.  Who
 *    asks while it ends wakes the launcher, when it has ended.
 */
#include "process/process.h"

#include "alert/hook.h"
#include "clock.h"
#include "process/alerts.h"
#include "process/bgworker.h"
#include "process/looks.h"
#include "process/wait_event.h"
#include "settings.h"
#include "store/store.h"

#include "access/xact.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Time from one look to the next while an alert is open, in us; it grows. */
#define LOOK_MIN		INT64CONST(1000000)
#define LOOK_MAX		INT64CONST(30000000)

/* After a look, none follows for so many times the time that it took. */
#define LOOK_SHARE		20

/* After an error, in us. */
#define ERROR_PAUSE		INT64CONST(10000000)

/* A look that is asked for later than this, in us, is left to a successor. */
#define STAY_FOR		INT64CONST(10000000)

static DtmSharedSlot *my_slot = NULL;

/* Nothing is left to do, or nothing can be done. */
static bool finished = false;

/* All that the loop knows. */
typedef struct Looks
{
	MemoryContext context;		/* of one look */
	Hook		hook;
	int64		last;			/* clock_monotonic(): when it looked */
	TimestampTz looked;			/* the same by the clock */
	int64		not_before;		/* of the next look */
	int64		period;			/* us, while an alert is open */
	int64		open;			/* alerts */
	int64		held_back;		/* messages */
	bool		leave;			/* the extension is gone, or not ours */
} Looks;

static void
at_exit(int code, Datum arg)
{
	TimestampTz soon = GetCurrentTimestamp() + LOOK_GATHER;

	SpinLockAcquire(&my_slot->mutex);
	if (my_slot->alerter_pid == MyProcPid)
	{
		my_slot->alerter_pid = 0;
		my_slot->alerter = NULL;
		/* what was asked for is left to a successor */
		if (!finished)
			my_slot->look_at = Min(my_slot->look_at, soon);
	}
	SpinLockRelease(&my_slot->mutex);
}

/* The database to see to; InvalidOid: there is none any more. */
static Oid
attach(DtmSharedSlot *slot)
{
	Oid			database;

	my_slot = slot;
	before_shmem_exit(at_exit, (Datum) 0);
	SpinLockAcquire(&slot->mutex);
	database = slot->alerter_pid == 0 ? slot->database : InvalidOid;
	if (OidIsValid(database))
	{
		slot->alerter_pid = MyProcPid;
		slot->alerter = MyLatch;
		slot->alerter_is_done = false;
	}
	SpinLockRelease(&slot->mutex);
	return database;
}

/* Is this copy of the database to call anybody? */
static bool
may_call(void)
{
	return dtm_alert_webhook[0] != '\0' &&
		(my_slot->home == STORE_HOME_HERE || my_slot->home == STORE_HOME_PAUSED);
}

static void
tell(const StoreAlert *alert)
{
	store_notify(STORE_ALERT_CHANNEL, alert->payload);
	if (alert->over)
		ereport(LOG,
				(errmsg("alert is resolved: %s", alert->message),
				 errdetail("%s", alert->detail)));
	else
		ereport(WARNING,
				(errmsg("alert: %s", alert->message),
				 errdetail("%s", alert->detail),
				 errhint("%s", alert->hint)));
}

/* The look itself, in a transaction. */
static void
look(Looks *looks)
{
	StoreAlertsLeft left;
	StoreAlert *alerts;
	int			n;

	store_begin(STORE_WORKER);
	MemoryContextSwitchTo(looks->context);
	looks->leave = !OidIsValid(get_extension_oid("dtm", true)) ||
		store_other_version() != NULL;
	if (looks->leave)
	{
		store_commit(STORE_WORKER);
		return;
	}
	n = store_look_for_alerts(may_call(), &alerts, &left);
	for (int i = 0; i < n; i++)
		tell(&alerts[i]);
	store_commit(STORE_WORKER);
	if (left.held_back > 0 && looks->held_back == 0)
		ereport(WARNING,
				(errmsg("alerts are held back, because %d were sent in the last hour",
						dtm_alerts_per_hour),
				 errhint("dtm.alerts lists all. To have more sent, increase dtm.alerts_per_hour.")));
	looks->held_back = left.held_back;
	looks->open = left.open;
	if (left.unsent)
		hook_expect(&looks->hook);
	looks_ask(my_slot->database, left.again);
	looks->period = n > 0 ? LOOK_MIN : Min(looks->period + looks->period / 2, LOOK_MAX);
}

/* An error of the look or of the webhook is logged, and it goes on later. */
static void
guarded(Looks *looks, void (*what) (Looks *looks))
{
	PG_TRY();
	{
		what(looks);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(looks->context);
		EmitErrorReport();
		FlushErrorState();
		AbortCurrentTransaction();
		looks->not_before = clock_monotonic() + ERROR_PAUSE;
		looks->hook.not_before = looks->not_before;
		/* what it was asked to see, it may not have seen */
		looks_ask(my_slot->database, GetCurrentTimestamp() + ERROR_PAUSE);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(TopMemoryContext);
	MemoryContextReset(looks->context);
}

static void
timed_look(Looks *looks)
{
	looks->last = clock_monotonic();
	looks->looked = GetCurrentTimestamp();
	look(looks);
	looks->not_before = Max(looks->last + LOOK_MIN,
							clock_monotonic() + LOOK_SHARE * (clock_monotonic() - looks->last));
}

/* Until a coordinator has found out whose this database is, nobody is called. */
static void
drive_hook(Looks *looks)
{
	if (OidIsValid(my_slot->marker))
		hook_drive(&looks->hook);
}

/* us until the next look; -1: there is none before STAY_FOR is over. */
static int64
next_look_in(const Looks *looks)
{
	int64		now = clock_monotonic();
	bool		open = looks->open > 0 || looks->held_back > 0;

	/* what does not run is an alert of its own from one look on */
	TimestampTz due = Min(looks_due(my_slot),
						  alerts_ailing_due(my_slot->database, open ? looks->looked : DT_NOBEGIN));
	int64		asked = due == DT_NOEND ? -1 : Max(due - GetCurrentTimestamp(), 0);
	int64		in = open ? Max(looks->last + looks->period - now, 0) : -1;

	if (asked >= 0 && asked <= STAY_FOR)
		in = in < 0 ? asked : Min(in, asked);
	return in < 0 ? -1 : Max(in, looks->not_before - now);
}

static void
wait_for_work(const Looks *looks, int64 us)
{
	long		timeout = us < 0 ? -1 : (long) Min((us + 999) / 1000, PG_INT32_MAX / 2);
	long		hook = hook_timeout(&looks->hook);
	int			events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;

	if (hook >= 0)
		timeout = timeout < 0 ? hook : Min(timeout, hook);
	if (timeout >= 0)
		events |= WL_TIMEOUT;
	if (hook_fd(&looks->hook) >= 0)
		events |= WL_SOCKET_READABLE;
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, "waiting for changes of alerts");
	(void) WaitLatchOrSocket(MyLatch, events, hook_fd(&looks->hook) >= 0 ?
							 hook_fd(&looks->hook) : PGINVALID_SOCKET, timeout,
							 dtm_wait_event(DTM_WAIT_ALERTS_MAIN));
	ResetLatch(MyLatch);
	pgstat_report_activity(STATE_RUNNING, "looking for alerts");
}

void
dtm_alerter_main(Datum arg)
{
	Looks		looks = {.period = LOOK_MIN};
	DtmSharedSlot *slot = &dtm_shared->slots[DatumGetInt32(arg)];
	Oid			database;
	int64		us = 0;			/* the first look is due */

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	database = attach(slot);
	if (!OidIsValid(database))
		proc_exit(0);
	dtm_connect_worker(database, InvalidOid, 0);
	store_own_session();
	pgstat_report_appname("dtm alerts");
	looks.context = AllocSetContextCreate(TopMemoryContext, "dtm look for alerts",
										  ALLOCSET_DEFAULT_SIZES);
	hook_init(&looks.hook, TopMemoryContext);

	while (!dtm_is_held(database))
	{
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			hook_reconfigure(&looks.hook);
		}
		if (us == 0)
		{
			(void) looks_take(my_slot);
			guarded(&looks, timed_look);
		}
		guarded(&looks, drive_hook);
		us = next_look_in(&looks);
		finished = looks.leave || (us < 0 && hook_is_idle(&looks.hook));
		if (finished)
			break;
		if (us != 0)
			wait_for_work(&looks, us);
		us = next_look_in(&looks);
	}
	slot->alerter_is_done = finished && !looks.leave;
	proc_exit(0);
}
