/*
 * wait.c
 *		The SQL functions that return a status, or wait for a final one.
 */
#include "api/api.h"

#include "clock.h"
#include "compat.h"
#include "process/wait_event.h"
#include "process/waiters.h"
#include "store/store.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/*
 * How often dtm_wait looks by itself, in ms.  It is woken by the commit that ends
 * the transaction; what ends by COMMIT PREPARED, or by hand, does not wake it.  The
 * pause doubles: a look takes 100,000 instructions, and a thousand sessions may wait.
 */
#define WAIT_POLL			10000
#define WAIT_POLL_MAX		40000
#define WAIT_POLL_ALONE		50	/* nobody wakes it: there is no shared memory */

PG_FUNCTION_INFO_V1(dtm_status);
PG_FUNCTION_INFO_V1(dtm_wait);

/*
 * The end of a wait by clock_monotonic(), from an interval; an error if it is
 * negative.
 */
static int64
end_of(const Interval *timeout)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz until = api_time_after(now, timeout);

	if (until < now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be negative", "timeout"),
				 errhint("Pass 0 to return the current status without waiting.")));
	return clock_monotonic() + Min(until - now, PG_INT64_MAX / 2);
}

static void
stop_waiting(int code, Datum arg)
{
	waiters_leave();
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
	StorePeek	peek;

	if (store_peek(gid, false, &peek) == STORE_ABSENT ||
		!api_is_visible(peek.submitted_by))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(dtm_status_name(peek.status)));
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
	Transaction *trans;
	StoreFound	found;
	StorePeek	peek;
	int64		until;

	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", "timeout"),
				 errhint("Pass 0 to return the current status without waiting.")));
	until = end_of(PG_GETARG_INTERVAL_P(1));

	if (store_find(gid, false, &trans) != STORE_ABSENT && trans->is_mine &&
		api_is_visible(trans->submitted_by))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot wait for global transaction \"%s\" in the transaction that submits it", gid),
				 errhint("Commit first, and then call dtm_wait().")));
	if (store_peek(gid, true, &peek) == STORE_ABSENT ||
		!api_is_visible(peek.submitted_by))
		api_error_unknown(gid);

	PG_ENSURE_ERROR_CLEANUP(stop_waiting, (Datum) 0);
	{
		uint32		event = dtm_wait_event(DTM_WAIT_FINISH);
		long		poll = waiters_enter(peek.id) ? WAIT_POLL : WAIT_POLL_ALONE;

		for (;;)
		{
			long		left;

			found = store_peek(gid, true, &peek);
			if (found != STORE_ACTIVE)
				break;
			left = (long) ((until - clock_monotonic() + 999) / 1000);
			if (left <= 0)
				break;
			/* that of a standby runs on the primary */
			if (!RecoveryInProgress())
				api_warn_no_coordinator();
			if ((WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						   Min(left, poll), event) & WL_TIMEOUT) &&
				poll != WAIT_POLL_ALONE)
				poll = Min(poll * 2, WAIT_POLL_MAX);
			ResetLatch(MyLatch);
			CHECK_FOR_INTERRUPTS();
		}
	}
	PG_END_ENSURE_ERROR_CLEANUP(stop_waiting, (Datum) 0);
	waiters_leave();
	if (found == STORE_ABSENT)
		api_error_unknown(gid); /* removed meanwhile */
	PG_RETURN_TEXT_P(cstring_to_text(dtm_status_name(peek.status)));
}
