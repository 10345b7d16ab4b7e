/*
 * room.h
 *		How many transactions may be in memory, and how the room is divided.
 */
#ifndef DTM_COORDINATOR_ROOM_H
#define DTM_COORDINATOR_ROOM_H

#include "postgres.h"

typedef struct Room
{
	int			capacity;		/* maximum number of transactions */
	int			used;			/* transactions in memory */
	int			used_by_search; /* of these, found by searches */
	int64		bytes;			/* size of all of them */
	int64		budget;			/* how many may still be loaded; -1: no limit */
	bool		closed;			/* no transactions may be loaded */
	int			owed_to_search; /* room that is still due to the search, times
								 * LATER_SHARE */
	int			owed_to_parked; /* the same */
} Room;

extern void room_init(Room *room);

/* Sets the maximum number of calls in flight. */
extern void room_set_calls(Room *room, int max_calls);

/* How many more transactions may be loaded, in total and by a search. */
extern int	room_left(const Room *room);
extern int	room_left_for_search(const Room *room);

/* A transaction was loaded, was removed, or has another size. */
extern void room_take(Room *room, Size bytes, bool searched);
extern void room_give_back(Room *room, Size bytes, bool searched);
extern void room_resize(Room *room, Size before, Size after);

/*
 * A loaded transaction will be loaded again, and must not count twice in the
 * budget.
 */
extern void room_refund(Room *room);

/*
 * Divides the room that is left in a turn: reserves a part for the search and
 * a part for parked transactions, if they want any.  They use it later in the
 * turn.
 */
extern void room_divide(Room *room, bool search_wants, bool parked_want,
						int *for_search, int *for_parked);

#endif							/* DTM_COORDINATOR_ROOM_H */
