/*
 * removal.c
 *		Removes what has been finished for longer than dtm.retention, a small
 *		batch a turn.
 *
 * A pass goes through the finished transactions by id, up to the first that
 * was submitted later than what may go.  The next one is due when the oldest of
 * those that were left has its time, so that nothing is polled.
 */
#include "private.h"

#include "utils/timestamp.h"

/* Transactions looked at in one batch. */
#define REMOVAL_BATCH		500

/*
 * Shortest time between two passes, in us; after one that failed; and where
 * somebody else does it.
 */
#define REMOVAL_PAUSE		(INT64CONST(10) * USECS_PER_SEC)
#define REMOVAL_AWAY_PAUSE	USECS_PER_HOUR
#define REMOVAL_ERROR_PAUSE	(INT64CONST(10) * USECS_PER_MINUTE)

void
removal_init(Coordinator *c)
{
	c->cleanup_after = 0;
	c->cleanup_oldest = DT_NOEND;
	/* not in the first moments, when there is enough to do */
	c->cleanup_at = dtm_retention == 0 || c->mode == STORE_PROCEDURE ||
		c->share.number > 0 ? DT_NOEND :
		GetCurrentTimestamp() + Min(REMOVAL_PAUSE,
									(int64) dtm_retention * USECS_PER_MINUTE);
}

/* A pass is through: when is the next one due? */
static void
end_pass(Coordinator *c)
{
	TimestampTz now = GetCurrentTimestamp();
	int64		retention = (int64) dtm_retention * USECS_PER_MINUTE;
	TimestampTz due = Min(c->cleanup_oldest, now) + retention;

	c->cleanup_after = 0;
	c->cleanup_oldest = DT_NOEND;
	c->cleanup_at = Max(due, now + REMOVAL_PAUSE);
}

static void
remove_batch(Coordinator *c)
{
	TimestampTz until = GetCurrentTimestamp() -
		(int64) dtm_retention * USECS_PER_MINUTE;
	StoreCleanup batch = {.after = c->cleanup_after, .finished_until = until,
	.max = REMOVAL_BATCH};
	bool		away;

	turn_begin(c);
	/* where pg_cron has taken it over, or this is no place to write */
	away = store_home() != STORE_HOME_HERE || store_cron_cleans();
	if (!away)
		store_clean(&batch);
	turn_commit(c);
	if (away)
	{
		removal_init(c);
		c->cleanup_at = GetCurrentTimestamp() + REMOVAL_AWAY_PAUSE;
		return;
	}
	c->cleanup_after = batch.after;
	c->cleanup_oldest = Min(c->cleanup_oldest, batch.oldest_left);
	if (batch.complete)
		end_pass(c);
}

bool
removal_is_due(Coordinator *c)
{
	return !c->draining && c->cleanup_at <= GetCurrentTimestamp();
}

void
removal_run(Coordinator *c)
{
	PG_TRY();
	{
		remove_batch(c);
	}
	PG_CATCH();
	{
		/* the transactions to be driven do not depend on it */
		EmitErrorReport();
		FlushErrorState();
		turn_roll_back(c);
		c->cleanup_after = 0;
		c->cleanup_oldest = DT_NOEND;
		c->cleanup_at = GetCurrentTimestamp() + REMOVAL_ERROR_PAUSE;
	}
	PG_END_TRY();
}
