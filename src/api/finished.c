/*
 * finished.c
 *		dtm_cleanup() and dtm_cleanup_barrier(): removal on request, by a user
 *		or by pg_cron.
 */
#include "postgres.h"

#include "api/api.h"

#include "compat.h"
#include "settings.h"
#include "store/store.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* Transactions looked at by one statement. */
#define BATCH 1000

PG_FUNCTION_INFO_V1(dtm_cleanup);
PG_FUNCTION_INFO_V1(dtm_cleanup_barrier);

/* The end of what may go; an error for a time to come. */
static TimestampTz
end_of_keep(Interval *keep)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz until = api_time_before(now, keep);

	if (until > now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be negative", "keep"),
				 errhint("Pass the age beyond which rows are removed, such as 7 days.")));
	return until;
}

static int
max_rows_of(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(1) || PG_GETARG_INT32(1) < 0)
		ereport(ERROR,
				(errcode(PG_ARGISNULL(1) ? ERRCODE_NULL_VALUE_NOT_ALLOWED : ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be null or negative", "max_rows"),
				 errhint("Pass the maximum number of rows to remove.")));
	return PG_GETARG_INT32(1);
}

/* dtm_cleanup(keep, max_rows) returns bigint */
Datum
dtm_cleanup(PG_FUNCTION_ARGS)
{
	int			max_rows = max_rows_of(fcinfo);
	StoreCleanup batch = {.after = 0};
	int64		removed = 0;

	PreventCommandIfReadOnly("dtm_cleanup()");
	if (!PG_ARGISNULL(0))
		batch.finished_until = end_of_keep(PG_GETARG_INTERVAL_P(0));
	else if (dtm_retention > 0)
		batch.finished_until = GetCurrentTimestamp() -
			(int64) dtm_retention * USECS_PER_MINUTE;
	else
		PG_RETURN_INT64(0);		/* all are kept */
	while (!batch.complete && removed < max_rows)
	{
		batch.max = (int) Min(BATCH, max_rows - removed);
		store_clean(&batch);
		removed += batch.removed;
		CHECK_FOR_INTERRUPTS();
	}
	PG_RETURN_INT64(removed);
}

/* dtm_cleanup_barrier(keep, max_rows) returns bigint */
Datum
dtm_cleanup_barrier(PG_FUNCTION_ARGS)
{
	int			max_rows = max_rows_of(fcinfo);

	PreventCommandIfReadOnly("dtm_cleanup_barrier()");
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", "keep"),
				 errhint("Pass the time during which another coordinator may still repeat a call, such as 30 days.")));
	PG_RETURN_INT64(store_clean_barrier(end_of_keep(PG_GETARG_INTERVAL_P(0)),
										max_rows));
}
