/*
 * park.h
 *		Parked transactions: their ids, grouped by the place for which their
 *		calls wait.
 */
#ifndef DTM_COORDINATOR_PARK_H
#define DTM_COORDINATOR_PARK_H

#include "postgres.h"

#include "call.h"
#include "coordinator.h"
#include "queue.h"

#include "lib/ilist.h"

/* Transactions that wait for one place. */
typedef struct ParkedPlace
{
	dlist_node	node;			/* in Park.places */
	CallPlace	place;
	IdQueue		ids;
} ParkedPlace;

typedef struct Park
{
	MemoryContext context;		/* of the places */
	dlist_head	places;			/* ParkedPlace */
	int			n;				/* parked transactions */
	int64		latest;			/* time of the latest parking, pace_clock() */
} Park;

extern void park_init(Park *park, MemoryContext context);

/* Does a place have room for some of its parked transactions? */
extern bool park_can_return(const Park *park, const Calls *calls);

/* Removes the first n ids of a place; an empty place is removed. */
extern void park_drop(Park *park, ParkedPlace *place, int n);

/* Removes an id if it is the first of a place. */
extern void park_drop_if_first(Park *park, int64 id);

/*
 * Parks transactions that wait for their turn, if they fill the memory so that
 * others cannot be loaded.
 */
extern void park_entries(Coordinator *c);

/*
 * Time until parking is needed, in us from the beginning of this turn; -1: not
 * needed.
 */
extern int64 park_due_in(Coordinator *c);

#endif							/* DTM_COORDINATOR_PARK_H */
