/*
 * wait.c
 *		The SQL functions that ask for a status, and wait for a final one.
 */
#include "api/api.h"

#include "compat.h"
#include "process/shmem.h"
#include "process/wait_event.h"
#include "store/store.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* How often dtm_wait looks by itself, in ms; normally it is woken. */
#define WAIT_POLL			1000
#define WAIT_POLL_ALONE		50	/* where nobody wakes it */

PG_FUNCTION_INFO_V1(dtm_status);
PG_FUNCTION_INFO_V1(dtm_wait);

/* The end of a wait, from an interval; an error if it's negative. */
static TimestampTz
end_of(Interval *timeout)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz until = DatumGetTimestampTz(
											DirectFunctionCall2(timestamptz_pl_interval,
																TimestampTzGetDatum(now),
																IntervalPGetDatum(timeout)));

	if (until < now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("timeout must not be negative"),
				 errhint("With 0 it returns the status as it is.")));
	return until;
}

/*
 * dtm_status(gid) returns text
 *
 * NULL for one that there is not, or that the caller may not see.
 */
Datum
dtm_status(PG_FUNCTION_ARGS)
{
	char	   *gid = text_to_cstring(PG_GETARG_TEXT_PP(0));
	DtmStatus	status;
	Oid			submitted_by;

	if (store_peek(gid, false, &status, &submitted_by) == STORE_ABSENT ||
		!api_is_visible(submitted_by))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(dtm_status_name(status)));
}

/*
 * dtm_wait(gid, timeout) returns text
 *
 * The status is read with a snapshot of its own each time, so that a commit
 * is seen that this statement's snapshot does not see.
 */
Datum
dtm_wait(PG_FUNCTION_ARGS)
{
	char	   *gid = api_required_gid(fcinfo, 0);
	DtmSharedSlot *slot = dtm_slot_of(MyDatabaseId);
	Transaction *trans;
	StoreFound	found;
	DtmStatus	status = DTM_PREPARED;
	Oid			submitted_by;
	TimestampTz until;
	uint32		event = dtm_wait_event(DTM_WAIT_FINISH);

	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("timeout is null"),
				 errhint("With 0 it returns the status as it is.")));
	until = end_of(PG_GETARG_INTERVAL_P(1));

	if (store_find(gid, false, &trans) != STORE_ABSENT && trans->is_mine &&
		api_is_visible(trans->submitted_by))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("global transaction \"%s\" was submitted by this transaction, which has not committed yet", gid),
				 errhint("COMMIT first, then call dtm_wait(): it starts at the commit.")));
	if (store_peek(gid, true, &status, &submitted_by) == STORE_ABSENT ||
		!api_is_visible(submitted_by))
		api_error_unknown(gid);

	if (slot != NULL)
		pg_atomic_fetch_add_u32(&slot->waiters, 1);
	PG_TRY();
	{
		if (slot != NULL)
			ConditionVariablePrepareToSleep(&slot->finished);
		for (;;)
		{
			long		left;

			found = store_peek(gid, true, &status, &submitted_by);
			if (found != STORE_ACTIVE)
				break;
			left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);
			if (left <= 0)
				break;
			if (slot != NULL)
				(void) ConditionVariableTimedSleep(&slot->finished,
												   Min(left, WAIT_POLL),
												   event);
			else
			{
				(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
								 Min(left, WAIT_POLL_ALONE), event);
				ResetLatch(MyLatch);
				CHECK_FOR_INTERRUPTS();
			}
		}
	}
	PG_CATCH();
	{
		ConditionVariableCancelSleep();
		if (slot != NULL)
			pg_atomic_fetch_sub_u32(&slot->waiters, 1);
		PG_RE_THROW();
	}
	PG_END_TRY();
	ConditionVariableCancelSleep();
	if (slot != NULL)
		pg_atomic_fetch_sub_u32(&slot->waiters, 1);
	if (found == STORE_ABSENT)
		api_error_unknown(gid);		/* removed meanwhile */
	PG_RETURN_TEXT_P(cstring_to_text(dtm_status_name(status)));
}
