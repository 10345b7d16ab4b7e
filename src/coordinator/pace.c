/*
 * pace.c
 *		How often a coordinator may make a turn, and whether it is busy.
 */
#include "private.h"

#include <time.h>

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
#define BUSY_ENTRIES		8
#define BUSY_TURNS			250
#define SHARED_TURNS		500
#define CALLS_TIME_SHARE	64
#define MAX_PACE			20000	/* us */
#define TURNS_IN_A_ROW		10

/* Time from one turn to the next, on average, in us. */
static int64
interval_of(Coordinator *c)
{
	int64		interval = Min(c->calls.time / CALLS_TIME_SHARE, MAX_PACE);

	if (entry_count(c) >= BUSY_ENTRIES)
		interval = Max(interval, USECS_PER_SEC / BUSY_TURNS);
	if (c->share.of > 1)
		interval = Max(interval, USECS_PER_SEC * c->share.of / SHARED_TURNS);
	return interval;
}

int64
pace_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64) now.tv_sec * USECS_PER_SEC + now.tv_nsec / 1000;
}

int64
pace_left(Coordinator *c)
{
	if (c->draining || c->mode == STORE_PROCEDURE)
		return 0;
	return Max(c->paced_until - pace_clock(), 0);
}

void
pace_count_turn(Coordinator *c)
{
	int64		interval = interval_of(c);
	int64		now = pace_clock();

	/* a turn may have come before its time: while draining, for one */
	c->paced_until = Min(Max(c->paced_until, now - TURNS_IN_A_ROW * interval), now) + interval;
}

/* Time that its load is taken over, in us. */
#define LOAD_PERIOD			100000

void
pace_count_work(Coordinator *c)
{
	int64		now = pace_clock();

	c->worked += now - c->turn_began;
	if (now - c->load_since < LOAD_PERIOD)
		return;
	c->busy = c->worked > (now - c->load_since) / 2;
	c->worked = 0;
	c->load_since = now;
}
