/*
 * removal.h
 *		The removal of transactions that have been finished for long enough.
 */
#ifndef DTM_COORDINATOR_REMOVAL_H
#define DTM_COORDINATOR_REMOVAL_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "coordinator.h"

typedef struct Removal
{
	TimestampTz next;			/* next batch; DT_NOEND: none */
	int64		after;			/* id up to which the pass has come */
	TimestampTz oldest_left;	/* of what the pass has left; DT_NOEND: nothing */
} Removal;

/* To be called again when the settings have changed. */
extern void removal_init(Coordinator *c);

/* us until the next batch is due; -1: none. */
extern int64 removal_due_in(const Removal *removal, TimestampTz now);

/* Removes a batch, in transactions of its own; throws nothing. */
extern void removal_run(Coordinator *c);

#endif							/* DTM_COORDINATOR_REMOVAL_H */
