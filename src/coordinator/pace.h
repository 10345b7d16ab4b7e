/*
 * pace.h
 *		How often a coordinator may make a turn, and whether it is busy.
 */
#ifndef DTM_COORDINATOR_PACE_H
#define DTM_COORDINATOR_PACE_H

#include "postgres.h"

/* Times are of pace_clock(). */
typedef struct Pace
{
	int64		next_turn;		/* no turn before then */
	int64		turn_began;		/* this one, or the latest */
	int64		worked;			/* us of the time since load_since */
	int64		load_since;
	bool		busy;			/* it was, in the period before that */
} Pace;

/* us, by a clock that nobody sets. */
extern int64 pace_clock(void);

/* Time until the next turn may be, in us. */
extern int64 pace_left(const Pace *pace);

/* A turn begins; it may turn out that it does not need the database. */
extern void pace_begin_turn(Pace *pace);

/*
 * It has used the database.  With so many transactions in memory, coordinators
 * in the database, and us that calls take, when may the next one?
 */
extern void pace_count_turn(Pace *pace, int ntransactions, int ncoordinators,
							int64 call_time);

/* It ends: was more than half of the time spent on turns, of late? */
extern void pace_end_turn(Pace *pace);

#endif							/* DTM_COORDINATOR_PACE_H */
