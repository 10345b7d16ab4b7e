/*
 * room.c
 *		How many transactions may be in memory, and how the room is divided.
 *
 * Only numbers: does not know where transactions come from, or how they leave.
 */
#include "room.h"

/* Transactions in memory, for each call that may be in flight. */
#define LOADED_PER_CALL		2

/* Memory that they may take, in bytes; beyond it no more are loaded. */
#define MAX_LOADED_BYTES	(INT64CONST(256) * 1024 * 1024)

/* The part of memory that searches leave to what may be announced: 1 / this. */
#define ANNOUNCED_SHARE		4

/*
 * The part of what is free that is left for those that are read later in a
 * turn, for each kind: 1 / this.
 */
#define LATER_SHARE			4

void
room_init(Room *room)
{
	memset(room, 0, sizeof(Room));
	room->budget = -1;
}

void
room_set_calls(Room *room, int max_calls)
{
	room->capacity = LOADED_PER_CALL * max_calls;
}

int
room_left(const Room *room)
{
	int64		left = room->capacity - room->used;

	if (room->closed || room->bytes > MAX_LOADED_BYTES)
		return 0;
	if (room->budget >= 0)
		left = Min(left, room->budget);
	return (int) Max(left, 0);
}

int
room_left_for_search(const Room *room)
{
	int			most = room->capacity - room->capacity / ANNOUNCED_SHARE;

	return Max(Min(room_left(room), most - room->used_by_search), 0);
}

void
room_take(Room *room, Size bytes, bool searched)
{
	room->used++;
	room->used_by_search += searched;
	room->bytes += (int64) bytes;
	if (room->budget > 0)
		room->budget--;
}

void
room_give_back(Room *room, Size bytes, bool searched)
{
	room->used--;
	room->used_by_search -= searched;
	room->bytes -= (int64) bytes;
	Assert(room->used >= 0 && room->used_by_search >= 0 && room->bytes >= 0);
}

void
room_resize(Room *room, Size before, Size after)
{
	room->bytes += (int64) after - (int64) before;
}

void
room_refund(Room *room)
{
	if (room->budget >= 0)
		room->budget++;
}

/*
 * How much of what is left one kind is to find.  What does not divide is owed:
 * it may be little, turn after turn.
 */
static int
share_of(int *owed, bool wanted, int left)
{
	int			share;

	*owed = wanted ? *owed + left : 0;
	share = Min(*owed / LATER_SHARE, left);
	*owed -= share * LATER_SHARE;
	return share;
}

void
room_divide(Room *room, bool search_wants, bool parked_want, int *for_search,
			int *for_parked)
{
	int			left = room_left(room);

	*for_search = share_of(&room->owed_to_search, search_wants, left);
	*for_parked = share_of(&room->owed_to_parked, parked_want, left - *for_search);
}
