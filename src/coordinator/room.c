/*
 * room.c
 *		How many transactions may be in memory, whose, and who may bring more.
 *
 * Numbers only: nothing here knows where transactions come from, or how they
 * leave.
 *
 * A role may have ROLE_SHARE times what is free.  So one alone may fill three
 * quarters of the memory; two, three sevenths each; and there always is room
 * for one that has nothing yet.  This holds for the number and for the bytes of
 * transactions.  A role's transactions of one key have ROLE_SHARE times what that
 * leaves of the role's, in number.  Those without a key are not limited so unless
 * the role has some with one.
 */
#include "room.h"

/*
 * Memory that they may take, in bytes; with that for responses (MAX_REPLY_BYTES),
 * 256 MB.  Beyond it goes one at most, and only if its role has nothing else in
 * memory: or what is larger than that would never be driven.
 */
#define MAX_LOADED_BYTES	(INT64CONST(192) * 1024 * 1024)

/* What a role may have, for what is free. */
#define ROLE_SHARE			3

/*
 * Of those of a role that come while others of it wait for room, one gives way
 * to these for so many.
 */
#define WAITED_SHARE		4

/*
 * The part of what a role may have that is left, by searches and by what has
 * waited for room, to what may be announced: 1 / this.
 */
#define ANNOUNCED_SHARE		4

/*
 * The part of what is free that is left for those that are read later in a
 * turn, for each kind: 1 / this.
 */
#define LATER_SHARE			4

void
room_init(Room *room, MemoryContext context)
{
	HASHCTL		hash;

	memset(room, 0, sizeof(Room));
	room->budget = -1;
	memset(&hash, 0, sizeof(hash));
	hash.keysize = sizeof(Oid);
	hash.entrysize = sizeof(RoomOfRole);
	hash.hcxt = context;
	room->roles = hash_create("dtm roles", 16, &hash,
							  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	hash.keysize = sizeof(RoomOwner);
	hash.entrysize = sizeof(RoomOfKey);
	room->keys = hash_create("dtm keys", 16, &hash,
							 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* How many transactions an owner has in memory. */
static int
used_by(const Room *room, const RoomOwner *owner)
{
	RoomOfKey  *its = hash_search(room->keys, owner, HASH_FIND, NULL);

	return its != NULL ? its->used : 0;
}

static RoomOfRole *
find_role(const Room *room, Oid role)
{
	return hash_search(room->roles, &role, HASH_FIND, NULL);
}

void
room_set_calls(Room *room, int max_calls)
{
	room->capacity = max_calls;
}

int
room_left(const Room *room)
{
	int64		left = room->capacity - room->used;

	if (room->closed)
		return 0;
	if (room->budget >= 0)
		left = Min(left, room->budget);
	return (int) Max(left, 0);
}

/* How many more of a role. */
static int
left_to_role(const Room *room, Oid role, bool searched)
{
	const RoomOfRole *its = find_role(room, role);
	int			used = its != NULL ? its->used : 0;
	int			by_search = its != NULL ? its->used_by_search : 0;
	int			free = room->capacity - room->used;
	int			left;

	/* so many come that it has ROLE_SHARE times what they leave */
	left = Max((free * ROLE_SHARE - used) / (ROLE_SHARE + 1), 0);
	if (searched)
		left = Min(left, (used + left) - (used + left) / ANNOUNCED_SHARE - by_search);
	/* the first one needs no more than a place */
	if (used == 0)
		left = Max(left, 1);
	return Max(Min(left, room_left(room)), 0);
}

int
room_left_to(const Room *room, const RoomOwner *owner, bool searched)
{
	const RoomOfRole *its = find_role(room, owner->role);
	int			left = left_to_role(room, owner->role, searched);
	int			used;

	if (owner->key == 0 && (its == NULL || its->used_by_key == 0))
		return left;
	used = used_by(room, owner);
	if (used == 0)
		return left;
	return Max((left * ROLE_SHARE - used) / (ROLE_SHARE + 1), 0);
}

bool
room_admits(const Room *room, const RoomOwner *owner, bool searched, Size bytes)
{
	const RoomOfRole *its = find_role(room, owner->role);
	int64		left = MAX_LOADED_BYTES - room->bytes - (int64) bytes;

	if (room_left_to(room, owner, searched) <= 0)
		return false;
	if (its == NULL)
		return left >= 0 || room->bytes <= MAX_LOADED_BYTES;
	return its->bytes + (int64) bytes <= left * ROLE_SHARE;
}

bool
room_admits_ahead(Room *room, const RoomOwner *owner, bool searched, Size bytes)
{
	RoomOfRole *its = find_role(room, owner->role);

	if (!room_admits(room, owner, searched, bytes))
		return false;
	if (its == NULL)
		return true;
	if (room_left_to(room, owner, searched) <= its->ahead / WAITED_SHARE)
		return false;
	its->ahead++;
	return true;
}

void
room_count_waited(Room *room, Oid role)
{
	RoomOfRole *its = find_role(room, role);

	if (its != NULL)
		its->ahead = Max(its->ahead - WAITED_SHARE, 0);
}

void
room_take(Room *room, const RoomOwner *owner, Size bytes, bool searched)
{
	bool		found;
	RoomOfRole *its = hash_search(room->roles, &owner->role, HASH_ENTER, &found);
	RoomOfKey  *of_key;

	if (!found)
	{
		its->used = its->used_by_search = its->used_by_key = its->ahead = its->surplus = 0;
		its->bytes = 0;
	}
	of_key = hash_search(room->keys, owner, HASH_ENTER, &found);
	if (!found)
		of_key->used = 0;
	of_key->used++;
	its->used++;
	its->bytes += (int64) bytes;
	room->used++;
	its->used_by_search += searched;
	its->used_by_key += owner->key != 0;
	room->bytes += (int64) bytes;
	if (room->budget > 0)
		room->budget--;
}

void
room_give_back(Room *room, const RoomOwner *owner, Size bytes, bool searched)
{
	RoomOfRole *its = find_role(room, owner->role);
	RoomOfKey  *of_key = hash_search(room->keys, owner, HASH_FIND, NULL);

	of_key->used--;
	its->used--;
	its->bytes -= (int64) bytes;
	room->used--;
	its->used_by_search -= searched;
	its->used_by_key -= owner->key != 0;
	room->bytes -= (int64) bytes;
	Assert(room->used >= 0 && room->bytes >= 0);
	Assert(its->used >= its->used_by_search && its->used_by_search >= 0 && its->bytes >= 0);
	Assert(of_key->used >= 0 && its->used_by_key >= 0);
	if (of_key->used == 0)
		hash_search(room->keys, owner, HASH_REMOVE, NULL);
	if (its->used == 0)
		hash_search(room->roles, &owner->role, HASH_REMOVE, NULL);
}

void
room_resize(Room *room, const RoomOwner *owner, Size before, Size after)
{
	find_role(room, owner->role)->bytes += (int64) after - (int64) before;
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
room_divide(Room *room, bool search_wants, bool shelved_want, int *for_search,
			int *for_shelved)
{
	int			left = room_left(room);

	*for_search = share_of(&room->owed_to_search, search_wants, left);
	*for_shelved = share_of(&room->owed_to_shelved, shelved_want, left - *for_search);
}
