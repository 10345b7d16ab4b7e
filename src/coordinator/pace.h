/*
 * pace.h
 *		Limits the rate of a coordinator's turns, and measures whether it is
 *		busy.
 */
#ifndef DTM_COORDINATOR_PACE_H
#define DTM_COORDINATOR_PACE_H

#include "postgres.h"

/* Times are of clock_monotonic(). */
typedef struct Pace
{
	int64		next_turn;		/* no turn before this time */
	int64		turn_began;		/* start of this or the latest turn */
	int64		worked;			/* us spent on turns since load_since */
	int64		load_since;
	bool		busy;			/* it was busy in the period before load_since */
} Pace;

/* Time until the next turn is allowed, in us. */
extern int64 pace_left(const Pace *pace);

/* A turn begins; it may end without using the database. */
extern void pace_begin_turn(Pace *pace);

/*
 * The turn has used the database.  Computes when the next one is allowed, from
 * the numbers of transactions in memory and of coordinators in the database,
 * and the response time in us.
 */
extern void pace_count_turn(Pace *pace, int ntransactions, int ncoordinators,
							int64 call_time);

/*
 * The turn ends.  Measures whether more than half of the recent time was spent
 * on turns (busy).
 */
extern void pace_end_turn(Pace *pace);

#endif							/* DTM_COORDINATOR_PACE_H */
