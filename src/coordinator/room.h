/*
 * room.h
 *		How many transactions may be in memory, and who may bring more.
 */
#ifndef DTM_COORDINATOR_ROOM_H
#define DTM_COORDINATOR_ROOM_H

#include "postgres.h"

typedef struct Room
{
	int			capacity;		/* transactions at most */
	int			used;			/* transactions in memory */
	int			used_by_search; /* of those, found by searches */
	int64		bytes;			/* of all of them */
	int64		budget;			/* how many may still be taken up; -1: any number */
	bool		closed;			/* none are taken up */
	int			owed_to_search; /* places that it was not given yet, times
								 * LATER_SHARE */
	int			owed_to_parked; /* the same */
} Room;

extern void room_init(Room *room);

/* So many calls may be in flight. */
extern void room_set_calls(Room *room, int max_calls);

/* How many more transactions may come, and how many of a search. */
extern int	room_left(const Room *room);
extern int	room_left_for_search(const Room *room);

/* A transaction has come, has gone, takes another number of bytes than before. */
extern void room_take(Room *room, Size bytes, bool searched);
extern void room_give_back(Room *room, Size bytes, bool searched);
extern void room_resize(Room *room, Size before, Size after);

/* One of those that have come will come again, and is not to count twice. */
extern void room_refund(Room *room);

/*
 * Divides what is left in a turn: how much of it a search, and those that were
 * put aside, are to find when their time comes in the turn, if they want any.
 */
extern void room_divide(Room *room, bool search_wants, bool parked_want,
						int *for_search, int *for_parked);

#endif							/* DTM_COORDINATOR_ROOM_H */
