/*
 * wait.c
 *		dtm.gateway_wait(): the first pass of transactions whose clients wait
 *		for its result (wait_result, §6.3).
 *
 * A pass ends when the transaction is final, or put off to a later time: then
 * the latest call tells why.
 */
#include "gateway/private.h"

#include "clock.h"
#include "compat.h"
#include "process/wait_event.h"
#include "process/waiters.h"
#include "store/store.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(dtm_gateway_wait);

/*
 * How often it looks by itself, in ms.  It is woken by the commit that ends a
 * transaction or puts it off.
 */
#define WAIT_POLL			1000
#define WAIT_POLL_ALONE		50	/* nobody wakes it: there is no shared memory */

/* What dtm answers; clients may show it. */
#define NOT_SUCCESS	"wait result not return success: FAILURE"
#define RETRIED		"your http/grpc result should be specified as in:\n" \
	"http://d.dtm.pub/practice/arch.html#proto\nunkown result will be retried: "

/* What has ended so far, in a context that outlives transactions. */
typedef struct Ended
{
	int			n;
	Datum	   *ids;
	Datum	   *outcomes;
	Datum	   *messages;
} Ended;

/* what a pass is to whoever waits for it; false: it goes on. */
static bool
outcome_of(const StorePass *pass, GatewayOutcome *outcome, char **message)
{
	bool		undone = pass->status == DTM_FAILED &&
		(pass->type == DTM_TCC || pass->type == DTM_XA);

	*message = pstrdup("");
	/* a tcc or xa fails because that was asked for */
	*outcome = GATEWAY_SUCCESS;
	if (pass->status == DTM_SUCCEED || undone)
		return true;
	if (!dtm_core_is_final(pass->status) && !pass->put_off)
		return false;
	*outcome = GATEWAY_FAILURE;
	*message = pstrdup(NOT_SUCCESS);
	if (pass->type == DTM_SAGA || dtm_core_is_final(pass->status))
	{
		if (pass->reason[0] != '\0')
			*message = pass->reason;
		return true;
	}
	switch (pass->result)
	{
		case DTM_RESULT_SUCCESS:	/* a msg that is delayed */
			break;
		case DTM_RESULT_ONGOING:
			if (pass->type == DTM_MSG)
				break;
			*outcome = GATEWAY_ONGOING;
			*message = pstrdup("ONGOING");
			break;
		case DTM_RESULT_FAILURE:
			*message = psprintf(RETRIED "%s FAILURE", pass->error);
			break;
		case DTM_RESULT_TEMPORARY:
		case DTM_RESULT_PERMANENT:
			*outcome = GATEWAY_ERROR;
			*message = psprintf(RETRIED "%s", pass->error);
			break;
	}
	return true;
}

/* Looks at all of them, in a transaction of its own. */
static void
look(const int64 *ids, int n, Ended *ended, MemoryContext context)
{
	store_begin(STORE_PROCEDURE);
	for (int i = 0; i < n; i++)
	{
		StorePass	pass;
		GatewayOutcome outcome = GATEWAY_ERROR;
		char	   *message = "the global transaction has been removed";
		MemoryContext before;

		if (store_pass(ids[i], &pass))
		{
			/* an error would end the waits of the others, too */
			if (!OidIsValid(pass.submitted_by) ||
				!dtm_can_become(GetUserId(), pass.submitted_by))
			{
				outcome = GATEWAY_DENIED;
				message = psprintf("permission denied to wait for a global transaction of role \"%s\". Grant that role to the gateway's.",
								   GetUserNameFromId(pass.submitted_by, true));
			}
			else if (!outcome_of(&pass, &outcome, &message))
				continue;
		}
		before = MemoryContextSwitchTo(context);
		ended->ids[ended->n] = Int64GetDatum(ids[i]);
		ended->outcomes[ended->n] = CStringGetTextDatum(gateway_outcome_name(outcome));
		ended->messages[ended->n++] = CStringGetTextDatum(message);
		MemoryContextSwitchTo(before);
	}
	(void) store_commit(STORE_PROCEDURE);
}

/* Has the client sent more, or gone away? */
static bool
nap(long timeout)
{
	WaitEvent	event = {.events = 0};
	uint32		name = dtm_wait_event(DTM_WAIT_FINISH);

	if (FeBeWaitSet == NULL)
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 timeout, name);
	else
	{
		ModifyWaitEvent(FeBeWaitSet, 0, WL_SOCKET_READABLE, NULL);
		(void) WaitEventSetWait(FeBeWaitSet, timeout, &event, 1, name);
	}
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	return (event.events & ~WL_LATCH_SET) != 0;
}

/* Until one of them has ended, the time is over, or the client wants something. */
static void
wait_for(const int64 *ids, int n, int64 until, Ended *ended, MemoryContext context)
{
	for (;;)
	{
		/* before the look; a wake-up takes us out of the list */
		long		poll = waiters_enter(WAITERS_ANY) ? WAIT_POLL : WAIT_POLL_ALONE;
		long		left;

		look(ids, n, ended, context);
		left = (long) ((until - clock_monotonic() + 999) / 1000);
		if (ended->n > 0 || left <= 0 || nap(Min(left, poll)))
			return;
	}
}

/* What went wrong is thrown on, with the subtransaction of a look undone. */
static void
wait_for_all(const int64 *ids, int n, int64 until, Ended *ended, MemoryContext context)
{
	PG_TRY();
	{
		wait_for(ids, n, until, ended, context);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		store_roll_back(STORE_PROCEDURE);
		ReThrowError(edata);
	}
	PG_END_TRY();
}

static void
stop_waiting(int code, Datum arg)
{
	waiters_leave();
}

static int64 *
read_ids(FunctionCallInfo fcinfo, int *n)
{
	Datum	   *values;
	bool	   *nulls;
	int64	   *ids;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_GETARG_INT32(1) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("ids or timeout is null, or timeout is negative"),
				 errhint("ids are what dtm.gateway_batch() returned as wait; timeout is in milliseconds.")));
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), INT8OID, sizeof(int64),
					  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &values, &nulls, n);
	ids = palloc(sizeof(int64) * (*n + 1));
	for (int i = 0; i < *n; i++)
		ids[i] = nulls[i] ? 0 : DatumGetInt64(values[i]);
	return ids;
}

static Datum
array_datum(Datum *values, int n, Oid type)
{
	bool		id = type == INT8OID;

	return PointerGetDatum(construct_array(values, n, type, id ? (int) sizeof(int64) : -1,
										   id && FLOAT8PASSBYVAL,
										   id ? TYPALIGN_DOUBLE : TYPALIGN_INT));
}

/*
 * CALL dtm.gateway_wait(ids, timeout, ended, outcomes, messages)
 *
 * The last three are what it returns.  No transaction or snapshot is open while
 * it waits.  It returns early if the client has sent something more.
 */
Datum
dtm_gateway_wait(PG_FUNCTION_ARGS)
{
	bool		atomic = !(fcinfo->context && IsA(fcinfo->context, CallContext) &&
						   !castNode(CallContext, fcinfo->context)->atomic);
	MemoryContext context = CurrentMemoryContext;
	TupleDesc	desc;
	Datum		values[3];
	bool		nulls[3] = {false, false, false};
	int			n;
	int64	   *ids = read_ids(fcinfo, &n);
	Ended		ended = {0, palloc(sizeof(Datum) * (n + 1)), palloc(sizeof(Datum) * (n + 1)),
	palloc(sizeof(Datum) * (n + 1))};

	if (atomic)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_STATE),
				 errmsg("gateway_wait() cannot be called in a transaction block"),
				 errhint("CALL gateway_wait() on its own: it waits without a transaction.")));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	desc = BlessTupleDesc(CreateTupleDescCopy(desc));

	store_start_procedure();
	PG_ENSURE_ERROR_CLEANUP(stop_waiting, (Datum) 0);
	{
		wait_for_all(ids, n, clock_monotonic() + (int64) PG_GETARG_INT32(1) * 1000,
					 &ended, context);
	}
	PG_END_ENSURE_ERROR_CLEANUP(stop_waiting, (Datum) 0);
	waiters_leave();
	store_end_procedure();
	MemoryContextSwitchTo(context);
	values[0] = array_datum(ended.ids, ended.n, INT8OID);
	values[1] = array_datum(ended.outcomes, ended.n, TEXTOID);
	values[2] = array_datum(ended.messages, ended.n, TEXTOID);
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}
