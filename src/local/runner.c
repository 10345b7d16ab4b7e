/*
 * runner.c
 *		The worker process that runs the local branches of one role.
 *
 * The process is connected as the role, with the settings and privileges of
 * that role.  A task is one transaction: it calls the function, locks the row,
 * and passes the success to core.  If core no longer needs the success, the
 * function's changes are rolled back.  An error of the function also rolls
 * back, and is recorded in a separate transaction.
 */
#include "private.h"

#include "clock.h"
#include "crash_point.h"
#include "process/flight.h"

#include "compat.h"
#include "settings.h"
#include "transaction.h"
#include "outcome.h"
#include "process/bgworker.h"
#include "process/committing.h"
#include "process/shmem.h"
#include "process/wait_event.h"
#include "result/result.h"
#include "store/store.h"
#include "wire/wire.h"

#include "access/xact.h"
#include "commands/async.h"
#include "commands/prepare.h"
#include "commands/sequence.h"
#include "commands/trigger.h"
#include "catalog/namespace.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/lock.h"
#include "storage/pmsignal.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

/* How long a worker stays that has nothing to do, in ms. */
#define IDLE_TIME 10000

/* How long it waits for the row of the transaction, to write the outcome. */
#define ROW_LOCK_TIMEOUT "5s"

/* How long it may take to tidy up after a function, in ms. */
#define CLEAN_TIMEOUT 1000

/*
 * A function that PostgreSQL has ended for the sake of another transaction
 * (serialization failure, deadlock) is called again at once, so many times at
 * most, after a pause of up to so many ms, which doubles.  That is no failure of
 * the branch, and is not counted; it becomes one when the tries are used up, or
 * the time that the function has.
 */
#define CONFLICT_TRIES	10
#define CONFLICT_PAUSE	2
#define CONFLICT_PAUSE_MAX	200

static LocalWorker *my_worker = NULL;

/* transaction_request_hash() of the op as it was read for its task; 0: it was not. */
static uint64 my_request = 0;

/* ---------- shared memory ---------- */

static int
my_place(void)
{
	return (int) (my_worker - local_shared->workers);
}

static void
at_exit(int code, Datum arg)
{
	Latch	   *owner;

	SpinLockAcquire(&my_worker->mutex);
	/* else the server takes it for a crash, or is gone */
	if ((code == 0 || code == 1) && PostmasterIsAlive())
		flight_end_function(my_place());
	my_worker->pid = 0;
	my_worker->latch = NULL;
	owner = my_worker->owner_latch;
	my_worker->state = my_worker->owner != 0 ? LOCAL_ENDED : LOCAL_FREE;
	SpinLockRelease(&my_worker->mutex);
	if (owner)
		SetLatch(owner);
}

/* False: nobody wants it any more. */
static bool
attach(LocalWorker *worker, Oid *database, Oid *role)
{
	uint32		generation;
	bool		wanted;

	memcpy(&generation, MyBgworkerEntry->bgw_extra, sizeof(uint32));
	SpinLockAcquire(&worker->mutex);
	wanted = worker->generation == generation && worker->pid == 0;
	if (wanted)
	{
		worker->pid = MyProcPid;
		worker->latch = MyLatch;
		*database = worker->database;
		*role = worker->role;
	}
	SpinLockRelease(&worker->mutex);
	if (wanted)
	{
		my_worker = worker;
		flight_attach_function(my_place());
		before_shmem_exit(at_exit, (Datum) 0);
	}
	return wanted;
}

/* The next task, a copy; false: there is none.  Sets "leave" if it is to go. */
static bool
next_task(LocalWorker *task, bool idle_for_long, bool *leave)
{
	bool		found;

	SpinLockAcquire(&my_worker->mutex);
	found = my_worker->state == LOCAL_BUSY;
	*leave = !found && (my_worker->leave || idle_for_long);
	if (*leave)
		my_worker->state = LOCAL_ENDED; /* it is given nothing more */
	*task = *my_worker;
	if (found)
		flight_attach_function(my_place());
	SpinLockRelease(&my_worker->mutex);
	return found;
}

/* Until when it has to be done with what it begins now; timeout in ms, 0: none. */
static void
set_deadline(int timeout)
{
	SpinLockAcquire(&my_worker->mutex);
	my_worker->deadline = timeout > 0 ?
		clock_monotonic() + (int64) timeout * 1000 : 0;
	SpinLockRelease(&my_worker->mutex);
}

/* The outcome is known, and stays what it is if the process is ended now. */
static void
publish(const LocalWorker *task)
{
	SpinLockAcquire(&my_worker->mutex);
	my_worker->over = true;
	my_worker->recorded = task->recorded;
	my_worker->result = task->result;
	my_worker->final = task->final;
	my_worker->alert = task->alert;
	my_worker->started = task->started;
	my_worker->duration = task->duration;
	strlcpy(my_worker->error, task->error, sizeof(my_worker->error));
	SpinLockRelease(&my_worker->mutex);
}

/* Has the coordinator look.  "done": it can give another task. */
static void
report(bool done)
{
	Latch	   *owner;

	SpinLockAcquire(&my_worker->mutex);
	if (done)
	{
		flight_end_function(my_place());
		my_worker->state = LOCAL_DONE;
	}
	owner = my_worker->owner_latch;
	SpinLockRelease(&my_worker->mutex);
	if (owner)
		SetLatch(owner);
}

/* ---------- a task ---------- */

/* Cut to what there is room for, between two characters. */
static void
set_error(LocalWorker *task, const char *text)
{
	int			len = pg_mbcliplen(text, (int) strlen(text),
								   sizeof(task->error) - 1);

	memcpy(task->error, text, len);
	task->error[len] = '\0';
}

/*
 * Tells core, in the current transaction, and writes what it says.  False if
 * the row does not wait for this op any more.
 */
static bool
apply(LocalWorker *task, DtmResult result, const char *text, const StoreResult *kept)
{
	Transaction *trans;
	DtmBranchOp *op;
	DtmConfig	config;
	Outcome		outcome;
	DtmEvent	event = {.kind = DTM_EVENT_REPLY};
	StoreAttempt attempt = {.grpc_status = -1};
	WireBranch	branch;
	bool		waited;

	attempt.id = task->id;
	attempt.op = task->op;
	attempt.started = task->started;
	attempt.duration = GetCurrentTimestamp() - task->started;
	attempt.result = task->result = result;
	attempt.error = result == DTM_RESULT_SUCCESS ? NULL : text;

	task->duration = attempt.duration;
	set_error(task, text);
	/* a session may hold the row as long as it likes, but not us with it */
	(void) set_config_option("lock_timeout", ROW_LOCK_TIMEOUT, PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	/* stopped, and perhaps removed since */
	if (!store_find_id(task->id, true, &trans))
		return false;
	store_add_attempts(&attempt, 1);
	committing_wrote();

	op = &trans->core.ops[task->op];
	waited = op->status == DTM_BRANCH_PREPARED;
	wire_describe(trans, task->op, &branch);
	event.op = task->op;
	event.result = result;
	event.url = branch.url;
	event.text = text;

	event.is_outdated = my_request != 0 &&
		my_request != transaction_request_hash(trans, task->op);

	event.now = task->now != 0 ? task->now : GetCurrentTimestamp();
	event.jitter = task->now != 0 ? 0 : (uint32) random() << 1;
	dtm_core_config(&config);
	dtm_core_loaded(&trans->core, event.now);
	outcome_init(&outcome, trans);
	(void) outcome_decide(&outcome, trans, &config, &event);
	if (result == DTM_RESULT_SUCCESS &&
		!(waited && op->status == DTM_BRANCH_SUCCEED))
		return false;
	if (kept != NULL)
		store_add_results(kept, 1);
	outcome_write(&outcome, trans, event.now);
	task->final = dtm_core_is_final(trans->core.status);
	/* of one event, there is one at most */
	task->alert.raised = outcome.alerts != NULL;
	if (task->alert.raised)
	{
		task->alert.news = outcome.alerts->news;
		task->alert.failures = outcome.alerts->failures;
	}
	task->recorded = true;
	return true;
}

/*
 * Starts the time-out: that of the role or that of the transaction, whichever
 * is shorter.
 *
 * The timer runs whatever the function sets.  If the function continues when it
 * is canceled, its coordinator terminates the process (pool.c).
 */
static void
start_timeout(const LocalWorker *task)
{
	int			timeout = StatementTimeout;

	if (task->timeout > 0 && (timeout == 0 || task->timeout < timeout))
		timeout = task->timeout;
	if (timeout > 0)
		enable_timeout_after(STATEMENT_TIMEOUT, timeout);
	set_deadline(timeout);
}

/*
 * The function has returned, but some of what it does comes at the commit:
 * deferred triggers and constraints, and the queries of cursors WITH HOLD.  They
 * are run now, so that they are limited as the function is, and do not keep the
 * row of the global transaction locked.
 */
static void
finish_function(void)
{
	PortalHashTableDeleteAll();
	AfterTriggerFireDeferred();
	/* triggers may have opened some */
	PortalHashTableDeleteAll();
}

/*
 * Reads what to call; false if there is nothing left to do.  Uses a separate
 * transaction, so that the function runs without locks on dtm's tables.
 */
static bool
read_task(const LocalWorker *task, Transaction **trans, MemoryContext context)
{
	bool		found;

	runner_begin();
	/* the role may have another role as its default */
	(void) set_config_option("role", "none", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SET, true, 0, false);
	MemoryContextSwitchTo(context);
	found = store_find_id(task->id, false, trans) &&
		task->op < (*trans)->core.nops &&
		(*trans)->core.ops[task->op].status == DTM_BRANCH_PREPARED;
	if (found)
		my_request = transaction_request_hash(*trans, task->op);
	if (found && (*trans)->submitted_by != GetUserId())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("worker does not run as the role that submitted the global transaction"),
				 errdetail("The role of the worker is \"%s\".",
						   GetUserNameFromId(GetUserId(), true) ?
						   GetUserNameFromId(GetUserId(), true) : "")));
	runner_commit();
	return found;
}

static bool
read_result(void *arg, int op, StoreResult *result)
{
	return store_find_result(*(const int64 *) arg, op, result);
}

/* The call, with the results that its payload refers to; false: they are not there. */
static bool
describe(Transaction *trans, int op, WireBranch *branch, const char **problem)
{
	ResultReader reader = {read_result, &trans->id};

	wire_describe(trans, op, branch);
	return !trans->results || result_resolve(trans, branch, &reader, problem);
}

/* Records that the branch is not done, in the transaction that has begun. */
static void
fail(LocalWorker *task, DtmResult result, const char *text)
{
	/* false: nobody waits for the outcome */
	(void) apply(task, result, text, NULL);
	task->recorded = true;
	runner_commit();
}

/* Runs the function and records its success, in one transaction. */
static void
run(LocalWorker *task, MemoryContext context)
{
	Transaction *trans;
	WireBranch	branch;
	const char *problem;
	LocalValue	returned;
	StoreResult kept = {.id = task->id, .op = task->op, .ok = true};

	if (!read_task(task, &trans, context))
	{
		task->recorded = true;
		return;
	}
	runner_begin_block();
	start_timeout(task);
	if (!describe(trans, task->op, &branch, &problem))
	{
		disable_timeout(STATEMENT_TIMEOUT, false);
		set_deadline(0);
		fail(task, result_if_unresolved(trans, task->op), problem);
		return;
	}
	local_call(branch.url, trans->gid, branch.branch_id, branch.op,
			   branch.payload, &returned);
	/* casts of its type are the role's, as the function is */
	if (trans->results)
		result_of_datum(returned.type, returned.datum, returned.isnull, &kept);
	finish_function();
	disable_timeout(STATEMENT_TIMEOUT, false);
	CHECK_FOR_INTERRUPTS();
	/* what follows is ours, and waits for a row or a standby only */
	set_deadline(0);
	if (!apply(task, DTM_RESULT_SUCCESS, "", trans->results ? &kept : NULL))
		ereport(ERROR,
				(errcode(ERRCODE_TRANSACTION_ROLLBACK),
				 errmsg("function's changes were rolled back because the global transaction no longer waits for it")));
	DTM_CRASH_POINT("local-before-commit");
	runner_commit();
	DTM_CRASH_POINT("local-after-commit");
}

/*
 * Records a failure; if that fails, the coordinator counts a temporary error.
 */
static void
record(LocalWorker *task, const ErrorData *edata)
{
	const char *text = edata->detail == NULL ? edata->message :
		psprintf("%s: %s", edata->message, edata->detail);

	PG_TRY();
	{
		runner_begin();
		fail(task, dtm_classify_sqlstate(unpack_sql_state(edata->sqlerrcode)), text);
	}
	PG_CATCH();
	{
		EmitErrorReport();
		FlushErrorState();
		AbortCurrentTransaction();
		task->recorded = false;
		set_error(task, text);
	}
	PG_END_TRY();
}

/*
 * Removes what a function has left in its session, as DISCARD ALL does, except
 * plans.
 */
static void
clean_session(void)
{
	PG_TRY();
	{
		runner_begin();
		enable_timeout_after(STATEMENT_TIMEOUT, CLEAN_TIMEOUT);
		PortalHashTableDeleteAll();
		SetPGVariable("session_authorization", NIL, false);
		SetPGVariable("role", NIL, false);
		ResetAllOptions();
		DropAllPreparedStatements();
		Async_UnlistenAll();
		LockReleaseAll(USER_LOCKMETHOD, true);
		ResetTempTableNamespace();
		ResetSequenceCaches();
		disable_timeout(STATEMENT_TIMEOUT, false);
		runner_commit();
	}
	PG_CATCH();
	{
		/* the next task gets a new process */
		EmitErrorReport();
		report(false);
		proc_exit(1);
	}
	PG_END_TRY();
}

/* One try; NULL, or why it has failed. */
static ErrorData *
try_task(LocalWorker *task, MemoryContext context)
{
	ErrorData  *volatile edata = NULL;

	PG_TRY();
	{
		run(task, context);
	}
	PG_CATCH();
	{
		disable_timeout(STATEMENT_TIMEOUT, false);
		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		AbortOutOfAnyTransaction();
		QueryCancelPending = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	return edata;
}

static bool
is_conflict(const ErrorData *edata)
{
	return edata->sqlerrcode == ERRCODE_T_R_SERIALIZATION_FAILURE ||
		edata->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED;
}

/*
 * With jitter: those that were in each other's way may well be two of these.
 * Whoever wants this process to end does not wait for it.
 */
static void
pause_for_conflict(int tries)
{
	int			most = Min(CONFLICT_PAUSE << Min(tries, 8), CONFLICT_PAUSE_MAX);

	set_deadline(0);
	pg_usleep(1000L * (1 + random() % most));
	CHECK_FOR_INTERRUPTS();
}

static void
run_task(LocalWorker *task, MemoryContext context)
{
	ErrorData  *edata;
	int64		began = clock_monotonic();

	pgstat_report_activity(STATE_RUNNING, "calling a local branch");
	task->recorded = task->final = false;
	task->alert.raised = false;
	task->error[0] = '\0';
	my_request = 0;
	task->started = GetCurrentTimestamp();
	edata = try_task(task, context);
	for (int tries = 1; edata != NULL && is_conflict(edata) && tries < CONFLICT_TRIES; tries++)
	{
		if (task->timeout > 0 &&
			clock_monotonic() - began >= (int64) task->timeout * 1000)
			break;
		pause_for_conflict(tries);
		edata = try_task(task, context);
	}
	if (edata != NULL)
	{
		set_deadline(0);
		task->recorded = false;
		record(task, edata);
	}
	publish(task);
	/* temporary objects that somebody has locked can't be removed */
	set_deadline(CLEAN_TIMEOUT);
	clean_session();
	MemoryContextSwitchTo(TopMemoryContext);
	MemoryContextReset(context);
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
}

void
dtm_local_worker_main(Datum arg)
{
	MemoryContext context;
	LocalWorker task;
	Oid			database;
	Oid			role;
	bool		idle_for_long = false;
	bool		leave;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	if (!attach(&local_shared->workers[DatumGetInt32(arg)], &database, &role))
		proc_exit(0);
	dtm_connect_worker(database, role, DTM_WORKER_CONNECTION_FLAGS);
	pgstat_report_appname("dtm local branches");
	context = AllocSetContextCreate(TopMemoryContext, "dtm local branch",
									ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		if (next_task(&task, idle_for_long, &leave))
		{
			run_task(&task, context);
			report(true);
			continue;
		}
		if (leave)
			break;
		idle_for_long = (WaitLatch(MyLatch,
								   WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, IDLE_TIME,
								   dtm_wait_event(DTM_WAIT_LOCAL_MAIN)) & WL_TIMEOUT) != 0;
		ResetLatch(MyLatch);
	}
	proc_exit(0);
}
