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
	TimestampTz next;			/* time of the next batch; DT_NOEND: none */
	int64		after;			/* last id that the pass has checked */
	TimestampTz oldest_left;	/* when the oldest remaining one finished;
								 * DT_NOEND: none */
} Removal;

/* Call it at the start, and when the settings have changed. */
extern void removal_init(Coordinator *c);

/* us until the next batch is due; -1: none. */
extern int64 removal_due_in(const Removal *removal, TimestampTz now);

/* Removes a batch, in its own transactions; does not throw. */
extern void removal_run(Coordinator *c);

#endif							/* DTM_COORDINATOR_REMOVAL_H */
