/*
 * park.h
 *		Transactions that were put aside ("parked"): an id each, by the place
 *		whose calls they wait for.
 */
#ifndef DTM_COORDINATOR_PARK_H
#define DTM_COORDINATOR_PARK_H

#include "postgres.h"

#include "call.h"
#include "coordinator.h"
#include "queue.h"

#include "lib/ilist.h"

/* Those that wait for one place. */
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
	int			n;				/* transactions in them */
	int64		latest;			/* when some were put aside, pace_clock() */
} Park;

extern void park_init(Park *park, MemoryContext context);

/* Has a place time for some of its own? */
extern bool park_can_return(const Park *park, const Calls *calls);

/* The first n of a place's are done with; a place without any goes. */
extern void park_drop(Park *park, ParkedPlace *place, int n);

/* Drops an id where it is the first. */
extern void park_drop_if_first(Park *park, int64 id);

/*
 * Puts transactions aside that wait for their turn, if they fill the memory and
 * keep others from it.
 */
extern void park_entries(Coordinator *c);

/* When it will have to, in us from the beginning of this turn; -1: no need. */
extern int64 park_due_in(Coordinator *c);

#endif							/* DTM_COORDINATOR_PARK_H */
