/*
 * room.h
 *		How many transactions may be in memory, whose, and who may bring more.
 */
#ifndef DTM_COORDINATOR_ROOM_H
#define DTM_COORDINATOR_ROOM_H

#include "postgres.h"

#include "utils/hsearch.h"

/*
 * Whose a transaction is: of a role, and of one of ROOM_KEYS groups of its
 * fairness keys; 0: of none.
 */
typedef struct RoomOwner
{
	Oid			role;
	uint32		key;
} RoomOwner;

#define ROOM_KEYS	64

/* The group of a key, by transaction_fairness(). */
static inline uint32
room_key(uint64 key)
{
	return key == 0 ? 0 : 1 + (uint32) (key % ROOM_KEYS);
}

StaticAssertDecl(sizeof(RoomOwner) == sizeof(Oid) + sizeof(uint32), "RoomOwner is a hash key");

/* What a role has in memory with the keys of a group. */
typedef struct RoomOfKey
{
	RoomOwner	owner;			/* hash key; must be first */
	int			used;			/* transactions */
} RoomOfKey;

/* What a role has in memory: of the transactions that it has submitted. */
typedef struct RoomOfRole
{
	Oid			role;			/* hash key; must be first */
	int			used;			/* transactions */
	int			used_by_search; /* of those, found by searches, or that have
								 * waited for room */
	int			used_by_key;	/* of those, with a key */
	int64		bytes;			/* of all of them */
	int			ahead;			/* that came while others of it waited for
								 * room */
	int			surplus;		/* of shelve_entries(): to be put aside */
} RoomOfRole;

typedef struct Room
{
	int			capacity;		/* maximum number of transactions */
	int			used;			/* transactions in memory */
	int64		bytes;			/* of all of them */
	HTAB	   *roles;			/* RoomOfRole, of those that have any */
	HTAB	   *keys;			/* RoomOfKey, the same */
	int64		budget;			/* how many may still be taken up; -1: any
								 * number */
	bool		closed;			/* none are taken up */
	int			owed_to_search; /* places that it was not given yet, times
								 * LATER_SHARE */
	int			owed_to_shelved;	/* the same */
} Room;

extern void room_init(Room *room, MemoryContext context);

/* Sets the maximum number of calls in flight. */
extern void room_set_calls(Room *room, int max_calls);

/* How many more transactions may come. */
extern int	room_left(const Room *room);

/*
 * How many more of an owner, that have just been announced, or that a search has
 * found or that have waited for room; and is there room for one of so many
 * bytes?  No role gets all, and no key of a role all of that: whatever one has to
 * do, there is room for another's.
 */
extern int	room_left_to(const Room *room, const RoomOwner *owner, bool searched);
extern bool room_admits(const Room *room, const RoomOwner *owner, bool searched, Size bytes);

/*
 * The same, of one that comes while others of that owner wait for room: those
 * are left a part of what there is.  When one of those has come, it is counted.
 */
extern bool room_admits_ahead(Room *room, const RoomOwner *owner, bool searched, Size bytes);
extern void room_count_waited(Room *room, Oid role);

/* A transaction has come, has gone, takes another number of bytes than before. */
extern void room_take(Room *room, const RoomOwner *owner, Size bytes, bool searched);
extern void room_give_back(Room *room, const RoomOwner *owner, Size bytes, bool searched);
extern void room_resize(Room *room, const RoomOwner *owner, Size before, Size after);

/*
 * A loaded transaction will be loaded again, and must not count twice in the
 * budget.
 */
extern void room_refund(Room *room);

/*
 * Divides the room that is left in a turn: reserves a part for the search and
 * a part for shelved transactions, if they want any.  They use it later in the
 * turn.
 */
extern void room_divide(Room *room, bool search_wants, bool shelved_want,
						int *for_search, int *for_shelved);

#endif							/* DTM_COORDINATOR_ROOM_H */
