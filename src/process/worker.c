/*
 * worker.c
 *		The background worker that runs a coordinator of a database.
 *
 * The launcher starts it in each database that may need a coordinator; it
 * exits if the extension is not installed.  When nothing is due, it sleeps
 * until the next deadline, or until a commit wakes it.
 */
#include "process/alerts.h"
#include "process/bgworker.h"
#include "process/prepared.h"
#include "process/process.h"

#include "clock.h"
#include "compat.h"
#include "coordinator/coordinator.h"
#include "flight.h"
#include "transaction.h"
#include "process/shmem.h"
#include "process/wait_event.h"
#include "store/store.h"

#include <limits.h>
#include <sys/timerfd.h>

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/pmsignal.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Ids taken from shared memory at a time. */
#define TAKE_BATCH 512

/* Pause after an error that concerns more than one row, in ms. */
#define ERROR_PAUSE_MIN		1000
#define ERROR_PAUSE_MAX		60000

/* How often it looks whether the lock has become free, in ms. */
#define LOCK_PAUSE			100

/* Events waited for: the latch, the postmaster's death, calls, the clock. */
#define NEVENTS 4

static DtmSharedSlot *my_slot = NULL;
static DtmShare my_share;

static void
at_exit(int code, Datum arg)
{
	TimestampTz now = GetCurrentTimestamp();

	if ((code == 0 || code == 1) && PostmasterIsAlive())
		flight_detach_turn();
	SpinLockAcquire(&my_slot->mutex);
	if (my_slot->pid == MyProcPid)
	{
		my_slot->latch = NULL;
		my_slot->pid = 0;
		if (my_slot->state != DTM_COORDINATOR_GONE)
			dtm_change_state(my_slot, DTM_COORDINATOR_STOPPED, now);
	}
	SpinLockRelease(&my_slot->mutex);
}

/* False: this database is not to be connected to. */
static bool
attach(DtmSharedSlot *slot)
{
	bool		held = dtm_is_held(slot->database);
	TimestampTz now = GetCurrentTimestamp();

	my_slot = slot;
	before_shmem_exit(at_exit, (Datum) 0);
	SpinLockAcquire(&slot->mutex);
	if (held || slot->pid != 0)
	{
		/* not now, or a former launcher's worker is still there */
		slot->has_left = true;
		SpinLockRelease(&slot->mutex);
		return false;
	}
	my_share = slot->share;
	slot->pid = MyProcPid;
	slot->latch = MyLatch;
	dtm_change_state(slot, DTM_COORDINATOR_STARTING, now);
	slot->present = false;
	/* what was announced to a predecessor is found in the tables */
	slot->ring_head = slot->ring_tail;
	slot->asked &= DTM_ASK_LEAVE;
	dtm_reset_written(&slot->written);
	slot->dozing = false;
	SpinLockRelease(&slot->mutex);
	pg_atomic_write_u64(&slot->started_at, (uint64) GetCurrentTimestamp());
	pg_atomic_write_u64(&slot->ncommits, 0);
	pg_atomic_write_u64(&slot->nfinished, 0);
	pg_atomic_write_u64(&slot->ncalls, 0);
	pg_atomic_write_u64(&slot->ncall_errors, 0);
	pg_atomic_write_u64(&slot->nerrors, 0);
	pg_atomic_write_u64(&slot->nspans, 0);
	pg_atomic_write_u64(&slot->nspans_dropped, 0);
	pg_atomic_write_u32(&slot->loaded, 0);
	pg_atomic_write_u32(&slot->in_flight, 0);
	pg_atomic_write_u32(&slot->queued, 0);
	dtm_forget_hosts(slot);
	flight_attach_turn((int) (slot - dtm_shared->slots), slot->database);
	return true;
}

/* What this database asks of its coordinator. */
typedef enum Orders
{
	ORDERS_RUN,
	ORDERS_PAUSE,
	ORDERS_LEAVE				/* the extension is not here */
} Orders;

static Orders
read_orders(void)
{
	static StoreHome reported = STORE_HOME_HERE;
	Orders		orders = ORDERS_LEAVE;

	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (OidIsValid(get_extension_oid("dtm", true)))
	{
		StoreHome	home = store_home();

		orders = home == STORE_HOME_HERE ? ORDERS_RUN : ORDERS_PAUSE;
		if (home != reported && home != STORE_HOME_HERE)
			ereport(LOG,
					(errmsg("dtm coordinator for database \"%s\" is paused",
							get_database_name(MyDatabaseId)),
					 errdetail("%s", store_home_reason(home)),
					 errhint("%s", store_home_hint(home))));
		reported = home;
		my_slot->marker = prepared_marker();
		SpinLockAcquire(&my_slot->mutex);
		my_slot->home = home;
		SpinLockRelease(&my_slot->mutex);
	}
	else
		flight_forget_database(MyDatabaseId);
	PopActiveSnapshot();
	CommitTransactionCommand();
	return orders;
}

static bool
try_lock(void)
{
	bool		locked;

	StartTransactionCommand();
	locked = coordinator_take_lease(my_share);
	CommitTransactionCommand();
	return locked;
}

static bool
others_want_to_run(void)
{
	DtmSharedSlot *first = dtm_slot_of(my_slot->database);
	bool		wanted;

	if (first == NULL)
		return false;
	SpinLockAcquire(&first->mutex);
	wanted = first->yields > 0;
	SpinLockRelease(&first->mutex);
	return wanted;
}

/* ---------- the wall clock ---------- */

/*
 * Due times go by the wall clock, and the wait for the next of them by the time
 * that passes.  So a clock that is set has to be noticed: where it was set
 * forward, the wait would be too long, and where it was set back, the searches
 * have come further than the time.
 *
 * 1. A timer that the kernel cancels when the clock is set makes its descriptor
 *    readable, which ends the wait at once.
 * 2. Where there is no such timer, or it does not see it (another clock was put
 *    before the kernel's), the two clocks are compared whenever the worker wakes.
 */
typedef struct WallClock
{
	int			fd;				/* a timerfd; -1: none */
	int64		offset;			/* of the wall clock from the monotonic one,
								 * us */
} WallClock;

/* A difference that is no mere adjustment, in us. */
#define CLOCK_SET_MIN		INT64CONST(500000)

static int64
clock_offset(void)
{
	return GetCurrentTimestamp() - clock_monotonic();
}

/* The timer never expires; it is there to be canceled. */
static void
clock_arm(WallClock *clock)
{
	struct itimerspec never = {.it_value.tv_sec = LONG_MAX / 4};

	if (clock->fd >= 0)
		(void) timerfd_settime(clock->fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET,
							   &never, NULL);
}

static void
clock_init(WallClock *clock)
{
	clock->fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	clock->offset = clock_offset();
	clock_arm(clock);
}

/* Was it set since the last time?  By how much, in us. */
static bool
clock_was_set(WallClock *clock, int64 *by)
{
	int64		offset = clock_offset();
	uint64		expirations;

	/* canceled: ECANCELED, once */
	if (clock->fd >= 0 && read(clock->fd, &expirations, sizeof(expirations)) < 0 &&
		errno == ECANCELED)
		clock_arm(clock);
	*by = offset - clock->offset;
	clock->offset = offset;
	return *by > CLOCK_SET_MIN || *by < -CLOCK_SET_MIN;
}

/* Everything that the loop knows. */
typedef struct Worker
{
	bool		locked;			/* we have the coordinator's lock */
	Coordinator *coordinator;	/* NULL: not running */
	WaitEventSet *events;		/* with the coordinator's descriptor */
	Orders		orders;
	uint32		asked;			/* DTM_ASK_ bits to be seen to */
	int			error_pause;	/* ms; 0: no error of late */
	int64		not_before;		/* end of that pause, clock_monotonic() */
	WallClock	clock;
} Worker;

static void
start_coordinator(Worker *w)
{
	if (!w->locked)
		w->locked = try_lock();
	if (!w->locked)
		return;
	/* dtm_run_due() may have left some */
	dtm_forget_hosts(my_slot);
	w->coordinator = coordinator_create(STORE_WORKER, my_share, my_slot);
	w->events = dtm_create_wait_event_set(NEVENTS);
	AddWaitEventToSet(w->events, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(w->events, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	AddWaitEventToSet(w->events, WL_SOCKET_READABLE,
					  coordinator_fd(w->coordinator), NULL, NULL);
	if (w->clock.fd >= 0)
		AddWaitEventToSet(w->events, WL_SOCKET_READABLE, w->clock.fd, NULL, NULL);
	dtm_set_state(my_slot, DTM_COORDINATOR_RUNNING);
}

static void
stop_coordinator(Worker *w, DtmCoordinatorState state)
{
	if (w->events != NULL)
		FreeWaitEventSet(w->events);
	w->events = NULL;
	if (w->coordinator != NULL)
	{
		coordinator_destroy(w->coordinator);
		dtm_forget_hosts(my_slot);
	}
	w->coordinator = NULL;
	if (w->locked)
		coordinator_release_lease(my_share);
	w->locked = false;
	dtm_set_state(my_slot, state);
}

static void
take_announced(Worker *w)
{
	int64		ids[TAKE_BATCH];
	XLogRecPtr	committed;
	DtmWritten	written;
	uint32		asked;
	int			n;

	do
	{
		n = dtm_take_announced(my_slot, ids, TAKE_BATCH, &asked, &committed, &written);
		w->asked |= asked;
		if (w->coordinator != NULL)
		{
			coordinator_look_at(w->coordinator, ids, n);
			coordinator_flush_until(w->coordinator, committed);
			coordinator_note_written(w->coordinator, &written);
		}
	} while (n == TAKE_BATCH);
}

/* One turn of the loop, up to the wait. */
static void
turn(Worker *w)
{
	bool		wanted;
	int64		by;

	take_announced(w);
	if (clock_was_set(&w->clock, &by) && w->coordinator != NULL)
	{
		ereport(LOG,
				(errmsg("the clock was changed by %lld ms: due global transactions are searched for anew",
						(long long) by / 1000)));
		coordinator_clock_set(w->coordinator);
	}
	if (w->asked & DTM_ASK_RECHECK)
	{
		w->orders = read_orders();
		w->asked &= ~DTM_ASK_RECHECK;
	}
	if (w->orders == ORDERS_LEAVE)
		return;
	wanted = w->orders == ORDERS_RUN && !others_want_to_run() &&
		!(w->asked & DTM_ASK_DRAIN);
	if (!my_slot->present)
	{
		my_slot->present = true;
		if (my_share.number == 0 && my_share.of > 1)
			dtm_ask_launcher(my_slot->database);	/* the others can come */
		if (my_share.number == 0)
			alerts_at_start(my_slot);
	}
	if (w->coordinator == NULL && wanted)
		start_coordinator(w);
	if (w->coordinator == NULL)
	{
		/* it begins with a search, and knows nothing of hosts */
		w->asked &= ~(DTM_ASK_SEARCH | DTM_ASK_PROBE);
		if (!wanted)
			dtm_set_state(my_slot, w->orders == ORDERS_PAUSE ?
						  DTM_COORDINATOR_PAUSED : DTM_COORDINATOR_YIELDING);
		return;
	}
	if (w->asked & DTM_ASK_SEARCH)
	{
		coordinator_search(w->coordinator);
		w->asked &= ~DTM_ASK_SEARCH;
	}
	if (w->asked & DTM_ASK_PROBE)
	{
		coordinator_probe_now(w->coordinator);
		w->asked &= ~DTM_ASK_PROBE;
	}
	coordinator_set_draining(w->coordinator, !wanted);
	if (my_slot->state != (wanted ? DTM_COORDINATOR_RUNNING : DTM_COORDINATOR_DRAINING))
		dtm_set_state(my_slot, wanted ? DTM_COORDINATOR_RUNNING : DTM_COORDINATOR_DRAINING);
	coordinator_turn(w->coordinator);
	if (!wanted && coordinator_is_idle(w->coordinator))
		stop_coordinator(w, w->orders == ORDERS_PAUSE ?
						 DTM_COORDINATOR_PAUSED : DTM_COORDINATOR_YIELDING);
}

/* Has the extension been dropped?  "No" if that cannot be seen. */
static bool
is_dropped(void)
{
	volatile bool dropped = false;

	PG_TRY();
	{
		StartTransactionCommand();
		dropped = !OidIsValid(get_extension_oid("dtm", true));
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		EmitErrorReport();
		FlushErrorState();
		AbortCurrentTransaction();
	}
	PG_END_TRY();
	return dropped;
}

/*
 * Reports the error of a turn that was caught.  Whatever drops the extension
 * (DROP SCHEMA, DROP OWNED), a turn may come upon tables that are gone: that is
 * no error.
 */
static void
report_error(ErrorData *edata)
{
	if (is_dropped())
		return;
	PG_TRY();
	{
		ReThrowError(edata);
	}
	PG_CATCH();
	{
		EmitErrorReport();
		FlushErrorState();
	}
	PG_END_TRY();
}

/* turn(), and what to do when it fails: start over after a while. */
static void
guarded_turn(Worker *w)
{
	/* commits may wake us before the pause is over */
	if (w->error_pause > 0 && clock_monotonic() < w->not_before)
	{
		take_announced(w);
		return;
	}
	PG_TRY();
	{
		turn(w);
		w->error_pause = 0;
		if (w->coordinator != NULL)
			dtm_note_well(my_slot);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(TopMemoryContext);
		edata = CopyErrorData();
		FlushErrorState();
		AbortCurrentTransaction();
		stop_coordinator(w, DTM_COORDINATOR_STARTING);
		report_error(edata);
		FreeErrorData(edata);
		/* perhaps the extension has been dropped under our feet */
		w->asked |= DTM_ASK_RECHECK;
		w->error_pause = w->error_pause == 0 ? ERROR_PAUSE_MIN :
			Min(w->error_pause * 2, ERROR_PAUSE_MAX);
		w->not_before = clock_monotonic() + (int64) w->error_pause * 1000;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(TopMemoryContext);
}

/* How long to wait, in ms; -1: until something happens. */
static long
pause_of(Worker *w)
{
	if (w->error_pause > 0)
		return Max((long) ((w->not_before - clock_monotonic() + 999) / 1000), 1);
	if (w->coordinator != NULL)
		return coordinator_timeout(w->coordinator);
	if (w->orders == ORDERS_RUN)
		return LOCK_PAUSE;		/* a session has the lock for a while */
	return -1;
}

/*
 * Until the next turn may be (coordinator_doze()), what is announced would only
 * be put into a queue: the coordinator dozes, and commits do not wake it.  No
 * announcement is slept through:
 *
 * 1. The flag is set and looked at under the slot's mutex.  A commit that comes
 *    before it is set sets the latch, which ends the wait at once, or before it
 *    has begun.
 * 2. A commit that comes while it is set leaves the id in the ring, without
 *    waking us.  The wait is no longer than the time until the next turn,
 *    whatever else it waits for; then the ring is looked at.
 * 3. A commit that comes after it was taken back sets the latch again.  If that
 *    is before ResetLatch(), its id came into the ring before that, too, and
 *    the loop looks there after ResetLatch().
 * 4. Requests (DTM_ASK_ bits) always set the latch.
 * 5. Who dies with the flag set leaves it to the successor, which begins with a
 *    search: attach() takes the flag back.
 */
static void
wait_for_work(Worker *w)
{
	long		timeout = pause_of(w);

	if (timeout != 0)
	{
		pgstat_report_stat(true);
		pgstat_report_activity(STATE_IDLE, w->coordinator != NULL ?
							   "waiting for work" : "waiting for permission to run");
	}
	if (w->coordinator != NULL)
	{
		WaitEvent	happened[NEVENTS];
		long		doze = coordinator_doze(w->coordinator);

		if (doze > 0)
		{
			timeout = timeout < 0 ? doze : Min(timeout, doze);
			dtm_set_dozing(my_slot, true);
		}
		WaitEventSetWait(w->events, timeout, happened, NEVENTS,
						 dtm_wait_event(DTM_WAIT_COORDINATOR_MAIN));
		if (doze > 0)
			dtm_set_dozing(my_slot, false);
	}
	else
		WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH |
				  (timeout >= 0 ? WL_TIMEOUT : 0), timeout,
				  dtm_wait_event(DTM_WAIT_COORDINATOR_MAIN));
	ResetLatch(MyLatch);
	if (timeout != 0)
		pgstat_report_activity(STATE_RUNNING, "running global transactions");
}

void
dtm_worker_main(Datum arg)
{
	Worker		w = {.orders = ORDERS_RUN, .asked = DTM_ASK_RECHECK};
	DtmSharedSlot *slot = &dtm_shared->slots[DatumGetInt32(arg)];

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	if (!attach(slot))
		proc_exit(0);
	dtm_connect_worker(slot->database, InvalidOid, 0);
	store_own_session();
	prepared_watch();
	clock_init(&w.clock);
	pgstat_report_appname("dtm coordinator");

	for (;;)
	{
		/* pg_cancel_backend has nothing to cancel between turns */
		QueryCancelPending = false;
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			if (w.coordinator != NULL)
				coordinator_reconfigure(w.coordinator);
		}
		guarded_turn(&w);
		if (w.orders == ORDERS_LEAVE || (w.asked & DTM_ASK_STOP) ||
			((w.asked & DTM_ASK_DRAIN) && w.coordinator == NULL))
			break;
		wait_for_work(&w);
	}

	/* calls under way are given up; who runs next makes them again */
	stop_coordinator(&w, DTM_COORDINATOR_STOPPED);
	dtm_set_state(my_slot, w.orders == ORDERS_LEAVE ? DTM_COORDINATOR_GONE :
				  DTM_COORDINATOR_STOPPED);
	SpinLockAcquire(&slot->mutex);
	slot->has_left = true;
	SpinLockRelease(&slot->mutex);
	proc_exit(0);
}
