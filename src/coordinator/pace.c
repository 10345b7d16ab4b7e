/*
 * pace.c
 *		Limits the rate of a coordinator's turns, and measures whether it is
 *		busy.
 */
#include "pace.h"

#include "clock.h"

#include "datatype/timestamp.h"

/*
 * A turn costs as much as several calls, so that many turns with little to do
 * in each are to be avoided.  Where a coordinator is busy, they hardly come
 * about by themselves: the longer a turn takes, the more there is to do in the
 * next.  Still,
 *
 * - one that has more than a few transactions in memory makes BUSY_TURNS a
 *   second at most;
 * - several coordinators that share a database, each with a part of what
 *   comes in, make SHARED_TURNS a second together;
 * - where calls take long: a CALLS_TIME_SHARE of that time more does no harm.
 *
 * A few turns in a row are always possible, so that what is done now and then
 * is done at once.
 */
#define BUSY_TRANSACTIONS	8
#define BUSY_TURNS			250
#define SHARED_TURNS		500
#define CALLS_TIME_SHARE	64
#define MAX_PACE			20000	/* us */
#define TURNS_IN_A_ROW		10

/* Time that the load is taken over, in us. */
#define LOAD_PERIOD			100000

/* Time from one turn to the next, on average, in us. */
static int64
interval_of(int ntransactions, int ncoordinators, int64 call_time)
{
	int64		interval = Min(call_time / CALLS_TIME_SHARE, MAX_PACE);

	if (ntransactions >= BUSY_TRANSACTIONS)
		interval = Max(interval, USECS_PER_SEC / BUSY_TURNS);
	if (ncoordinators > 1)
		interval = Max(interval, USECS_PER_SEC * ncoordinators / SHARED_TURNS);
	return interval;
}

int64
pace_left(const Pace *pace)
{
	return Max(pace->next_turn - clock_monotonic(), 0);
}

void
pace_begin_turn(Pace *pace)
{
	pace->turn_began = clock_monotonic();
}

void
pace_count_turn(Pace *pace, int ntransactions, int ncoordinators,
				int64 call_time)
{
	int64		interval = interval_of(ntransactions, ncoordinators, call_time);
	int64		now = clock_monotonic();

	/* a turn may have come before its time: while draining, for one */
	pace->next_turn = interval +
		Min(Max(pace->next_turn, now - TURNS_IN_A_ROW * interval), now);
}

void
pace_end_turn(Pace *pace)
{
	int64		now = clock_monotonic();

	pace->worked += now - pace->turn_began;
	if (now - pace->load_since < LOAD_PERIOD)
		return;
	pace->busy = pace->worked > (now - pace->load_since) / 2;
	pace->worked = 0;
	pace->load_since = now;
}
