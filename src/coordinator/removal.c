/*
 * removal.c
 *		Removes transactions that finished more than dtm.retention ago, a small
 *		batch in each turn.
 *
 * A pass goes through the finished transactions in the order of their ids, up
 * to the first one that was submitted too late.  The next pass is due when the
 * oldest remaining transaction may be removed, so nothing is polled.
 *
 * It begins where the last one has left something: as long as somebody has an old
 * snapshot, what was removed before that is still in the table and in its index.
 * A transaction that has taken long to end is behind that, and so is one that was
 * locked; a pass through all, from time to time, finds them.
 */
#include "private.h"

#include "clock.h"

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

/* The longest time without a pass through all while there are passes, in us. */
#define REMOVAL_ALL_PAUSE	(INT64CONST(10) * USECS_PER_MINUTE)

/* The next batch begins a pass, so many us from now; -1: there is none. */
static void
begin_pass_in(Removal *removal, int64 us)
{
	int64		now = clock_monotonic();

	if (now - removal->all_at > REMOVAL_ALL_PAUSE)
		removal->floor = 0;
	if (removal->floor == 0)
		removal->all_at = now;
	removal->after = removal->floor;
	removal->first_left = 0;
	removal->oldest_left = DT_NOEND;
	removal->next = us < 0 ? -1 : now + us;
}

static int64
retention_us(void)
{
	return (int64) dtm_retention * USECS_PER_MINUTE;
}

void
removal_init(Coordinator *c)
{
	bool		wanted = dtm_retention > 0 && c->mode == STORE_WORKER &&
		c->share.number == 0;

	c->removal.floor = 0;
	/* not in the first moments, when there is enough to do */
	begin_pass_in(&c->removal, wanted ? Min(REMOVAL_PAUSE, retention_us()) : -1);
}

/* A pass is through: when is the next one due? */
static void
end_pass(Removal *removal)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz due = Min(removal->oldest_left, now) + retention_us();

	removal->floor = removal->first_left > 0 ? removal->first_left - 1 : removal->after;
	begin_pass_in(removal, Max(due - now, REMOVAL_PAUSE));
}

static void
remove_batch(Coordinator *c)
{
	Removal    *removal = &c->removal;
	StoreCleanup batch = {.after = removal->after, .max = REMOVAL_BATCH,
	.finished_until = GetCurrentTimestamp() - retention_us()};
	bool		away;

	turn_begin(c);
	/* where pg_cron has taken it over, or this is no place to write */
	away = store_home() != STORE_HOME_HERE || store_cron_cleans();
	if (!away)
		store_clean(&batch);
	turn_commit(c);
	if (away)
	{
		begin_pass_in(removal, REMOVAL_AWAY_PAUSE);
		return;
	}
	removal->after = batch.after;
	removal->oldest_left = Min(removal->oldest_left, batch.oldest_left);
	if (removal->first_left == 0)
		removal->first_left = batch.first_left;
	if (batch.complete)
		end_pass(removal);
}

int64
removal_due_in(const Removal *removal)
{
	return removal->next < 0 ? -1 : Max(removal->next - clock_monotonic(), 0);
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
		begin_pass_in(&c->removal, REMOVAL_ERROR_PAUSE);
	}
	PG_END_TRY();
}
