/*
 * shelf.h
 *		Transactions that were put aside ("shelved"): an id each, by what they
 *		wait for.
 */
#ifndef DTM_COORDINATOR_SHELF_H
#define DTM_COORDINATOR_SHELF_H

#include "postgres.h"

#include "call.h"
#include "coordinator.h"
#include "queue.h"
#include "room.h"

#include "lib/ilist.h"
#include "utils/hsearch.h"

/* Those that wait for one place whose calls queue up, or for room for a role's. */
typedef struct ShelfPlace
{
	dlist_node	node;			/* in Shelf.places */
	bool		for_room;		/* for room: only the role counts */
	CallPlace	place;
	Size		wanted;			/* for room: bytes that the first one takes,
								 * if that was too much; or 0 */
	bool		urgent;			/* for room: some were announced */
	IdQueue		ids;

	/*
	 * For calls: those that wait to be retried because the host did not
	 * answer; they are not shelved.  While it does not answer, and since it
	 * answers again: those are to be retried now.
	 */
	IdQueue		unanswered;
	IdQueue		forward;
} ShelfPlace;

typedef struct Shelf
{
	MemoryContext context;		/* of the places */
	dlist_head	places;			/* ShelfPlace */
	int			n;				/* transactions shelved in them */
	int			nplaces;
	int			nunanswered;	/* that wait to be retried, in both queues */
	HTAB	   *ids;			/* ShelvedId, of those shelved */
	HTAB	   *noted;			/* UnansweredId, of those that are unanswered */
	TimestampTz as_of;			/* the time to use, if it is later than the
								 * clock's */
	TimestampTz expires;		/* when one of those shelved has to be read,
								 * or earlier; DT_NOEND: never */
	int			came;			/* transactions that others have brought, of
								 * which shelved ones have not had their part */
	int64		latest;			/* when some were put aside, clock_monotonic() */
} Shelf;

extern void shelf_init(Shelf *shelf, MemoryContext context);

/*
 * Is this one here, and its row, with this next_time, as it was?  If not, it is
 * not shelved any more: something else is to be done with it.
 */
extern bool shelf_has(Shelf *shelf, int64 id, TimestampTz next_time);

/* Has a place time for some of its own, or a role room? */
extern bool shelf_can_return(const Shelf *shelf, const Calls *calls,
							 const Room *room);

/* How many of a place may return; not positive: none. */
extern int	shelf_appetite(const ShelfPlace *place, const Calls *calls,
						   const Room *room);

/*
 * Another transaction has come into memory: for so many, one of those that are
 * here may return although its place has enough to do.  shelf_share() is how many
 * may, so far; they are counted off.
 */
extern void shelf_count_other(Shelf *shelf);
extern int	shelf_share(const Shelf *shelf);
extern void shelf_count_share(Shelf *shelf, int n);

/* Does some of an owner wait for room? */
extern bool shelf_waits_for_room(const Shelf *shelf, const RoomOwner *owner);

/* One waits for room for its owner; false: there are too many already. */
extern bool shelve_for_room(Shelf *shelf, const RoomOwner *owner, int64 id, bool announced);

/* Removes the first n ids of a place; an empty place is removed. */
extern void shelf_drop(Shelf *shelf, ShelfPlace *place, int n);

/*
 * A call of this transaction has ended without an answer.  When the host answers
 * again after its circuit breaker was open, the transaction is retried then; if
 * it was not, the transaction waits for its own time, as all do if there are no
 * circuit breakers.
 */
extern void shelf_note_unanswered(Shelf *shelf, const CallPlace *where, int64 id);
extern void shelf_note_answers(Shelf *shelf, const char *host, bool was_open);

/* Takes the first n of those that are to be retried now. */
extern void shelf_take_forward(Shelf *shelf, ShelfPlace *place, int n, IdQueue *taken);

/* Removes an id if it is the first of a place. */
extern void shelf_drop_if_first(Shelf *shelf, int64 id);

/*
 * Puts transactions aside that wait for their turn, if they fill the memory, or
 * what a role may have of it, and keep others from it.
 */
extern void shelve_entries(Coordinator *c);

/* Has those read whose saga's time is over while they are shelved. */
extern void shelf_expire(Coordinator *c);

/*
 * Time until shelving is needed, in us from the beginning of this turn; -1: not
 * needed.
 */
extern int64 shelving_due_in(Coordinator *c);

#endif							/* DTM_COORDINATOR_SHELF_H */
