/*
 * removal.h
 *		Removes transactions that finished long enough ago.
 */
#ifndef DTM_COORDINATOR_REMOVAL_H
#define DTM_COORDINATOR_REMOVAL_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "coordinator.h"

typedef struct Removal
{
	int64		next;			/* next batch, clock_monotonic(); -1: none */
	int64		after;			/* id up to which the pass has come */
	int64		floor;			/* id up to which nothing was left */
	int64		first_left;		/* id of the first one that the pass has left;
								 * 0: none */
	int64		all_at;			/* when the last pass through all began,
								 * clock_monotonic() */
	TimestampTz oldest_left;	/* of what the pass has left; DT_NOEND:
								 * nothing */
} Removal;

/* Call it at the start, and when the settings have changed. */
extern void removal_init(Coordinator *c);

/* us until the next batch is due; -1: none. */
extern int64 removal_due_in(const Removal *removal);

/* Removes a batch, in its own transactions; does not throw. */
extern void removal_run(Coordinator *c);

#endif							/* DTM_COORDINATOR_REMOVAL_H */
