/*
 * shelf.c
 *		Puts transactions aside ("shelves" them) that wait for hosts or workers
 *		which have enough to do, so that those for other places come to their
 *		turn; and those of a role that has as much in memory as it may have.
 *
 * A shelved transaction is only an id.  It is read again when its place has
 * room.  Shelving does not change the row. (Postponing does: it sets a later
 * next_time; see read.c.)
 */
#include "private.h"

#include "utils/timestamp.h"

/* One that is shelved. */
typedef struct ShelvedId
{
	int64		id;				/* hash key; must be first */
	TimestampTz since;			/* when it was shelved */
	TimestampTz expires;		/* when its saga's time is over; DT_NOEND:
								 * never */
} ShelvedId;

/* One that is in ShelfPlace.unanswered; all of it is the hash key. */
typedef struct UnansweredId
{
	uint64		place;			/* its address; there is no padding */
	int64		id;
} UnansweredId;

/* How often a busy coordinator makes room for a search to go on, in us. */
#define BUSY_SEARCH_PAUSE	INT64CONST(1000000)

/*
 * A place that has enough to do takes one of its shelved ones for so many that
 * others bring.  Else retries, which searches find when they are due, could keep
 * it above its limit for ever, and the shelved ones out.
 */
#define OTHERS_SHARE		4
#define MAX_SHARE			64

/* How often shelved ones are looked at for time-outs, in us. */
#define EXPIRY_PAUSE		INT64CONST(500000)

/* Places that are kept for what has to be retried. */
#define MAX_PLACES			1000

void
shelf_init(Shelf *shelf, MemoryContext context)
{
	HASHCTL		hash;

	shelf->context = context;
	dlist_init(&shelf->places);
	shelf->as_of = DT_NOBEGIN;
	shelf->expires = DT_NOEND;
	shelf->n = shelf->nunanswered = shelf->nplaces = 0;
	shelf->came = 0;
	shelf->latest = 0;
	memset(&hash, 0, sizeof(hash));
	hash.keysize = sizeof(int64);
	hash.entrysize = sizeof(ShelvedId);
	hash.hcxt = context;
	shelf->ids = hash_create("dtm shelved", 1024, &hash,
							 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	memset(&hash, 0, sizeof(hash));
	hash.keysize = hash.entrysize = sizeof(UnansweredId);
	hash.hcxt = context;
	shelf->noted = hash_create("dtm unanswered", 64, &hash,
							   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static bool
shelf_has_id(const Shelf *shelf, int64 id)
{
	return shelf->n > 0 && hash_search(shelf->ids, &id, HASH_FIND, NULL) != NULL;
}

bool
shelf_has(Shelf *shelf, int64 id, TimestampTz next_time)
{
	ShelvedId  *shelved;

	if (shelf->n == 0)
		return false;
	shelved = hash_search(shelf->ids, &id, HASH_FIND, NULL);
	if (shelved == NULL)
		return false;
	if (next_time <= shelved->since)
		return true;

	/*
	 * its time-out has come, perhaps; the queue has it still, which does no
	 * harm
	 */
	(void) hash_search(shelf->ids, &id, HASH_REMOVE, NULL);
	return false;
}

static ShelfPlace *
find_place(const Shelf *shelf, bool for_room, const CallPlace *where)
{
	dlist_iter	iter;

	dlist_foreach(iter, (dlist_head *) &shelf->places)
	{
		ShelfPlace *place = dlist_container(ShelfPlace, node, iter.cur);

		if (place->for_room == for_room && call_place_is(&place->place, where))
			return place;
	}
	return NULL;
}

/* A place, made if nobody is shelved there. */
static ShelfPlace *
get_place(Shelf *shelf, bool for_room, const CallPlace *where)
{
	ShelfPlace *place = find_place(shelf, for_room, where);

	if (place != NULL)
		return place;
	place = MemoryContextAllocZero(shelf->context, sizeof(ShelfPlace));
	place->for_room = for_room;
	place->place = *where;
	queue_init(&place->ids, shelf->context);
	queue_init(&place->unanswered, shelf->context);
	queue_init(&place->forward, shelf->context);
	dlist_push_tail(&shelf->places, &place->node);
	shelf->nplaces++;
	return place;
}

/* False: there are too many, or it is here already. */
static bool
push(Shelf *shelf, ShelfPlace *place, int64 id, TimestampTz expires)
{
	ShelvedId  *shelved;

	if (shelf->n >= QUEUE_MAX_LENGTH || !queue_push(&place->ids, id))
		return false;
	shelf->n++;
	shelved = hash_search(shelf->ids, &id, HASH_ENTER, NULL);
	shelved->since = Max(GetCurrentTimestamp(), shelf->as_of);
	shelved->expires = expires;
	shelf->expires = Min(shelf->expires, expires);
	return true;
}

static void
set_place_of_owner(CallPlace *where, const RoomOwner *owner)
{
	memset(where, 0, sizeof(CallPlace));
	where->role = owner->role;
	where->key = owner->key;
}

bool
shelf_waits_for_room(const Shelf *shelf, const RoomOwner *owner)
{
	CallPlace	where;

	if (shelf->n == 0)
		return false;
	set_place_of_owner(&where, owner);
	return find_place(shelf, true, &where) != NULL;
}

bool
shelve_for_room(Shelf *shelf, const RoomOwner *owner, int64 id, bool announced)
{
	CallPlace	where;
	ShelfPlace *place;

	if (shelf_has_id(shelf, id))
		return true;
	if (shelf->n >= QUEUE_MAX_LENGTH)
		return false;
	set_place_of_owner(&where, owner);
	place = get_place(shelf, true, &where);
	place->urgent = place->urgent || announced;
	/* if it has a time-out, that is a matter for later */
	return push(shelf, place, id, DT_NOEND);
}

int
shelf_appetite(const ShelfPlace *place, const Calls *calls, const Room *room)
{
	RoomOwner	owner = {place->place.role, place->place.key};

	if (!place->for_room)
		return calls_appetite(calls, &place->place);
	if (place->wanted > 0 && !room_admits(room, &owner, true, place->wanted))
		return 0;
	return room_left_to(room, &owner, true);
}

/* Does a place have some that can come back into memory? */
static bool
can_return(const ShelfPlace *place)
{
	return queue_length(&place->ids) + queue_length(&place->forward) > 0;
}

bool
shelf_can_return(const Shelf *shelf, const Calls *calls, const Room *room)
{
	dlist_iter	iter;

	dlist_foreach(iter, (dlist_head *) &shelf->places)
	{
		const ShelfPlace *place = dlist_container(ShelfPlace, node, iter.cur);

		if (can_return(place) && shelf_appetite(place, calls, room) > 0)
			return true;
	}
	return false;
}

void
shelf_count_other(Shelf *shelf)
{
	if (shelf->n > 0 && shelf->came < OTHERS_SHARE * MAX_SHARE)
		shelf->came++;
}

int
shelf_share(const Shelf *shelf)
{
	return shelf->came / OTHERS_SHARE;
}

void
shelf_count_share(Shelf *shelf, int n)
{
	shelf->came = Max(shelf->came - n * OTHERS_SHARE, 0);
}

/* An empty place is not needed. */
static void
release_place(Shelf *shelf, ShelfPlace *place)
{
	if (can_return(place) || queue_length(&place->unanswered) > 0)
		return;
	dlist_delete(&place->node);
	shelf->nplaces--;
	queue_free(&place->ids);
	queue_free(&place->unanswered);
	queue_free(&place->forward);
	pfree(place);
}

void
shelf_drop(Shelf *shelf, ShelfPlace *place, int n)
{
	for (int i = 0; i < n; i++)
		(void) hash_search(shelf->ids, &queue_ids(&place->ids)[i], HASH_REMOVE, NULL);
	queue_drop(&place->ids, n);
	shelf->n -= n;
	release_place(shelf, place);
}

void
shelf_drop_if_first(Shelf *shelf, int64 id)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &shelf->places)
	{
		ShelfPlace *place = dlist_container(ShelfPlace, node, iter.cur);

		if (queue_length(&place->ids) > 0 && *queue_ids(&place->ids) == id)
			shelf_drop(shelf, place, 1);
	}
}

/* None of a place is unanswered any more. */
static void
drop_unanswered(Shelf *shelf, ShelfPlace *place)
{
	int			n = queue_length(&place->unanswered);

	for (int i = 0; i < n; i++)
	{
		UnansweredId key = {(uintptr_t) place, queue_ids(&place->unanswered)[i]};

		(void) hash_search(shelf->noted, &key, HASH_REMOVE, NULL);
	}
	queue_drop(&place->unanswered, n);
}

/* Of hosts that have not been heard of for long, the oldest is forgotten. */
static void
forget_unanswered(Shelf *shelf)
{
	dlist_mutable_iter iter;

	if (shelf->nplaces < MAX_PLACES)
		return;
	dlist_foreach_modify(iter, &shelf->places)
	{
		ShelfPlace *place = dlist_container(ShelfPlace, node, iter.cur);

		if (can_return(place))
			continue;
		shelf->nunanswered -= queue_length(&place->unanswered);
		drop_unanswered(shelf, place);
		release_place(shelf, place);
		return;
	}
}

void
shelf_note_unanswered(Shelf *shelf, const CallPlace *where, int64 id)
{
	ShelfPlace *place;
	UnansweredId key;
	bool		is_noted;

	/* those that there is no space for wait for their own time */
	if (dtm_breaker_failures == 0 || shelf->nunanswered >= QUEUE_MAX_LENGTH)
		return;
	if (find_place(shelf, false, where) == NULL)
		forget_unanswered(shelf);
	place = get_place(shelf, false, where);
	key.place = (uintptr_t) place;
	key.id = id;
	(void) hash_search(shelf->noted, &key, HASH_ENTER, &is_noted);
	/* it may be tried many times before the host answers */
	if (!is_noted && queue_push(&place->unanswered, id))
		shelf->nunanswered++;
}

void
shelf_note_answers(Shelf *shelf, const char *host, bool was_open)
{
	CallPlace	where;
	ShelfPlace *place;
	int			n;

	if (shelf->nunanswered == 0)
		return;
	call_set_place(&where, host);
	place = find_place(shelf, false, &where);
	if (place == NULL)
		return;
	n = queue_length(&place->unanswered);
	for (int i = 0; i < n; i++)
		if (!was_open || !queue_push(&place->forward, queue_ids(&place->unanswered)[i]))
			shelf->nunanswered--;
	drop_unanswered(shelf, place);
	release_place(shelf, place);
}

void
shelf_take_forward(Shelf *shelf, ShelfPlace *place, int n, IdQueue *taken)
{
	n = Min(n, queue_length(&place->forward));
	queue_init(taken, CurrentMemoryContext);
	for (int i = 0; i < n; i++)
		(void) queue_push(taken, queue_ids(&place->forward)[i]);
	queue_drop(&place->forward, n);
	shelf->nunanswered -= n;
	release_place(shelf, place);
}

/* Do some wait for room for a role that has as much as it may have? */
static bool
is_role_full(Coordinator *c, bool urgent)
{
	dlist_iter	iter;

	dlist_foreach(iter, &c->shelf.places)
	{
		ShelfPlace *place = dlist_container(ShelfPlace, node, iter.cur);

		if (place->for_room && place->urgent == urgent &&
			shelf_appetite(place, &c->calls, &c->room) <= 0)
			return true;
	}
	return false;
}

/*
 * Does memory that is full keep something from being read that it is worth
 * making room for?  What is put aside has to be read twice: a coordinator that
 * has enough to do with what it has does not do that for a search all the time.
 */
int64
shelving_due_in(Coordinator *c)
{
	if (calls_are_at_max(&c->calls))
		return -1;
	if (queue_length(&c->reading.announced) > 0 && room_left(&c->room) == 0)
		return 0;
	if (is_role_full(c, true))
		return 0;
	if ((!search_is_due(&c->search, coordinator_time(c)) ||
		 room_left(&c->room) > 0) &&
		!is_role_full(c, false))
		return -1;
	return c->pace.busy ?
		Max(c->shelf.latest + BUSY_SEARCH_PAUSE - c->pace.turn_began, 0) : 0;
}

/* Does it do nothing but wait for the turn of its calls? */
static bool
only_waits(const Entry *entry)
{
	if (entry->touched || entry->calls == NULL)
		return false;
	for (const Call *call = entry->calls; call != NULL; call = call->next)
		if (!call_is_waiting(call))
			return false;
	return true;
}

/* When nobody wants the actions of a saga any more; DT_NOEND: never. */
static TimestampTz
expires_at(const DtmTrans *core)
{
	return core->type == DTM_SAGA && core->status == DTM_SUBMITTED && core->timeout_to_fail > 0 ?
		dtm_core_after(core->created, core->timeout_to_fail) : DT_NOEND;
}

/* False: there are too many already. */
static bool
shelve_entry(Coordinator *c, Entry *entry)
{
	CallPlace	where;

	if (c->shelf.n >= QUEUE_MAX_LENGTH)
		return false;
	call_where(entry->calls, &where);
	push(&c->shelf, get_place(&c->shelf, false, &where), entry->id,
		 expires_at(&entry->trans->core));
	room_refund(&c->room);
	entry_forget(c, entry);
	return true;
}

/* Do some of this role wait for room? */
static bool
is_blocked(Coordinator *c, Oid role)
{
	dlist_iter	iter;

	dlist_foreach(iter, &c->shelf.places)
	{
		ShelfPlace *place = dlist_container(ShelfPlace, node, iter.cur);

		if (place->for_room && place->place.role == role &&
			shelf_appetite(place, &c->calls, &c->room) <= 0)
			return true;
	}
	return false;
}

/*
 * How many of each role are to go: half of what it has, of each role if memory is
 * full, else of those that have as much as they may have.
 */
static void
count_surplus(Coordinator *c)
{
	Room	   *room = &c->room;
	bool		full = room_left(room) == 0;
	HASH_SEQ_STATUS seq;
	RoomOfRole *its;

	hash_seq_init(&seq, room->roles);
	while ((its = hash_seq_search(&seq)) != NULL)
		its->surplus = full || is_blocked(c, its->role) ? (its->used + 1) / 2 : 0;
}

/*
 * Memory is full, and still there is room for calls: those in memory wait for
 * places that are at their limit.
 */
void
shelve_entries(Coordinator *c)
{
	HASH_SEQ_STATUS seq;
	Entry	   *entry;

	if (shelving_due_in(c) != 0)
		return;
	c->shelf.latest = c->pace.turn_began;
	count_surplus(c);
	hash_seq_init(&seq, c->entries.table);
	while ((entry = hash_seq_search(&seq)) != NULL)
	{
		RoomOfRole *its;

		if (!only_waits(entry))
			continue;
		its = hash_search(c->room.roles, &entry->owner.role, HASH_FIND, NULL);
		if (its->surplus <= 0)
			continue;
		its->surplus--;
		if (!shelve_entry(c, entry))
		{
			hash_seq_term(&seq);
			break;
		}
	}
}

void
shelf_expire(Coordinator *c)
{
	TimestampTz now = coordinator_time(c);
	TimestampTz next = DT_NOEND;
	HASH_SEQ_STATUS seq;
	ShelvedId  *shelved;

	if (c->shelf.n == 0 || c->shelf.expires > now)
		return;
	hash_seq_init(&seq, c->shelf.ids);
	while ((shelved = hash_seq_search(&seq)) != NULL)
	{
		int64		id = shelved->id;

		if (shelved->expires > now)
		{
			next = Min(next, shelved->expires);
			continue;
		}
		/* its place has the id still, which does no harm */
		(void) hash_search(c->shelf.ids, &id, HASH_REMOVE, NULL);
		read_later(c, id);
	}
	/* many may come one after another: not a look at all for each */
	c->shelf.expires = Max(next, now + EXPIRY_PAUSE);
}
