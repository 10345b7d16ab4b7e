/*
 * run_due.c
 *		CALL dtm_run_due(): a coordinator in the calling session.
 *
 * For tests that set the time, and for servers without coordinators.
 */
#include "postgres.h"

#include "compat.h"
#include "coordinator/coordinator.h"
#include "transaction.h"
#include "process/shmem.h"
#include "process/wait_event.h"
#include "store/store.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(dtm_run_due);

/* It runs what all coordinators together would. */
static const DtmShare ALL = {0, 1};

/* What dtm_run_due() has to give back however it ends. */
typedef struct Run
{
	Coordinator *coordinator;
	DtmSharedSlot *slot;		/* yields was raised */
	bool		locked;
} Run;

static void
end_run(Run *run)
{
	if (run->coordinator != NULL)
		coordinator_destroy(run->coordinator);
	run->coordinator = NULL;
	if (run->locked)
		coordinator_release_lease(ALL);
	run->locked = false;
	if (run->slot != NULL)
	{
		SpinLockAcquire(&run->slot->mutex);
		run->slot->yields--;
		SpinLockRelease(&run->slot->mutex);
		/* it begins with a look at everything */
		dtm_ask(MyDatabaseId, 0);
	}
	run->slot = NULL;
}

static void
end_run_at_exit(int code, Datum arg)
{
	end_run((Run *) DatumGetPointer(arg));
}

/* Sleeps until something may have happened. */
static void
nap(int fd, long timeout)
{
	int			events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;

	if (timeout >= 0)
		events |= WL_TIMEOUT;
	if (fd >= 0)
		(void) WaitLatchOrSocket(MyLatch, events | WL_SOCKET_READABLE, fd,
								 timeout, dtm_wait_event(DTM_WAIT_RUN_DUE));
	else
		(void) WaitLatch(MyLatch, events, timeout, dtm_wait_event(DTM_WAIT_RUN_DUE));
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* How often it tries to get the coordinator's lock, in ms. */
#define LOCK_POLL 10

/*
 * CALL dtm_run_due(as_of, max_transactions)
 *
 * The coordinator workers of this database make room meanwhile.
 */
Datum
dtm_run_due(PG_FUNCTION_ARGS)
{
	bool		atomic = !(fcinfo->context && IsA(fcinfo->context, CallContext) &&
						   !castNode(CallContext, fcinfo->context)->atomic);
	TimestampTz as_of = PG_ARGISNULL(0) ? GetCurrentTimestamp() :
		PG_GETARG_TIMESTAMPTZ(0);
	int			max = PG_ARGISNULL(1) ? -1 : PG_GETARG_INT32(1);
	Run			run = {NULL};

	if (atomic)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_STATE),
				 errmsg("dtm_run_due() cannot be called in a transaction block"),
				 errhint("The procedure commits after each step. CALL it outside a transaction block.")));
	if (!PG_ARGISNULL(1) && max < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be negative", "max_transactions"),
				 errhint("Pass NULL for no limit.")));
	if (TIMESTAMP_NOT_FINITE(as_of))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must be finite", "as_of"),
				 errhint("Pass NULL for the current time.")));
	/* what is put off until the last time that there is, is not due */
	as_of = Min(as_of, DTM_TIME_MAX - 1);
	PreventCommandIfReadOnly("dtm_run_due()");

	store_start_procedure();
	run.slot = dtm_slot_of(MyDatabaseId);
	if (run.slot != NULL)
	{
		SpinLockAcquire(&run.slot->mutex);
		run.slot->yields++;
		SpinLockRelease(&run.slot->mutex);
		dtm_ask(MyDatabaseId, 0);
	}
	PG_ENSURE_ERROR_CLEANUP(end_run_at_exit, PointerGetDatum(&run));
	{
		while (!(run.locked = coordinator_take_lease(ALL)))
			nap(-1, LOCK_POLL);
		run.coordinator = coordinator_create(STORE_PROCEDURE, ALL, run.slot);
		coordinator_set_time(run.coordinator, as_of);
		coordinator_set_budget(run.coordinator, max);
		coordinator_turn(run.coordinator);
		while (!coordinator_is_done(run.coordinator))
		{
			long		timeout = coordinator_timeout(run.coordinator);

			if (timeout != 0)
				nap(coordinator_fd(run.coordinator), timeout);
			coordinator_turn(run.coordinator);
		}
	}
	PG_END_ENSURE_ERROR_CLEANUP(end_run_at_exit, PointerGetDatum(&run));
	end_run(&run);
	store_end_procedure();
	PG_RETURN_VOID();
}
