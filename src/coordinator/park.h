/*
 * park.h
 *		Transactions that were put aside ("parked"): an id each, by what they
 *		wait for.
 */
#ifndef DTM_COORDINATOR_PARK_H
#define DTM_COORDINATOR_PARK_H

#include "postgres.h"

#include "call.h"
#include "coordinator.h"
#include "queue.h"
#include "room.h"

#include "lib/ilist.h"
#include "utils/hsearch.h"

/* Those that wait for one place whose calls queue up, or for room for a role's. */
typedef struct ParkedPlace
{
	dlist_node	node;			/* in Park.places */
	bool		for_room;		/* for room: only the role counts */
	CallPlace	place;
	Size		wanted;			/* for room: bytes that the first one takes,
								 * if that was too much; or 0 */
	bool		urgent;			/* for room: some were announced */
	IdQueue		ids;
} ParkedPlace;

typedef struct Park
{
	MemoryContext context;		/* of the places */
	dlist_head	places;			/* ParkedPlace */
	int			n;				/* transactions in them */
	HTAB	   *ids;			/* of these */
	int			came;			/* transactions that others have brought, of
								 * which parked ones have not had their part */
	int64		latest;			/* when some were put aside, clock_monotonic() */
} Park;

extern void park_init(Park *park, MemoryContext context);

/* Is this one here? */
extern bool park_has(const Park *park, int64 id);

/* Has a place time for some of its own, or a role room? */
extern bool park_can_return(const Park *park, const Calls *calls,
							const Room *room);

/* How many of a place may return; not positive: none. */
extern int	park_appetite(const ParkedPlace *place, const Calls *calls,
						  const Room *room);

/*
 * Another transaction has come into memory: for so many, one of those that are
 * here may return although its place has enough to do.  park_share() is how many
 * may, so far; they are counted off.
 */
extern void park_count_other(Park *park);
extern int	park_share(const Park *park);
extern void park_count_share(Park *park, int n);

/* Does some of a role wait for room? */
extern bool park_waits_for_room(const Park *park, Oid role);

/* One waits for room for its role; false: there are too many already. */
extern bool park_for_room(Park *park, Oid role, int64 id, bool announced);

/* Removes the first n ids of a place; an empty place is removed. */
extern void park_drop(Park *park, ParkedPlace *place, int n);

/* Removes an id if it is the first of a place. */
extern void park_drop_if_first(Park *park, int64 id);

/*
 * Puts transactions aside that wait for their turn, if they fill the memory, or
 * what a role may have of it, and keep others from it.
 */
extern void park_entries(Coordinator *c);

/*
 * Time until parking is needed, in us from the beginning of this turn; -1: not
 * needed.
 */
extern int64 park_due_in(Coordinator *c);

#endif							/* DTM_COORDINATOR_PARK_H */
