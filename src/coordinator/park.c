/*
 * park.c
 *		Parks transactions whose calls wait for busy hosts or workers, so that
 *		transactions for other places get their turn.
 *
 * A parked transaction is only an id.  It is read again when its place has
 * room.  Parking does not change the row. (Postponing does: it sets a later
 * next_time; see read.c.)
 */
#include "private.h"

/* How often a busy coordinator makes room for a search to go on, in us. */
#define BUSY_SEARCH_PAUSE	INT64CONST(1000000)

void
park_init(Park *park, MemoryContext context)
{
	park->context = context;
	dlist_init(&park->places);
	park->n = 0;
	park->latest = 0;
}

/* A place, made if nobody is parked there. */
static ParkedPlace *
get_place(Park *park, const CallPlace *where)
{
	ParkedPlace *place;
	dlist_iter	iter;

	dlist_foreach(iter, &park->places)
	{
		place = dlist_container(ParkedPlace, node, iter.cur);
		if (call_place_is(&place->place, where))
			return place;
	}
	place = MemoryContextAllocZero(park->context, sizeof(ParkedPlace));
	place->place = *where;
	queue_init(&place->ids, park->context);
	dlist_push_tail(&park->places, &place->node);
	return place;
}

bool
park_can_return(const Park *park, const Calls *calls)
{
	dlist_iter	iter;

	dlist_foreach(iter, (dlist_head *) &park->places)
		if (calls_appetite(calls, &dlist_container(ParkedPlace, node, iter.cur)->place) > 0)
			return true;
	return false;
}

void
park_drop(Park *park, ParkedPlace *place, int n)
{
	queue_drop(&place->ids, n);
	park->n -= n;
	if (queue_length(&place->ids) > 0)
		return;
	dlist_delete(&place->node);
	queue_free(&place->ids);
	pfree(place);
}

void
park_drop_if_first(Park *park, int64 id)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &park->places)
	{
		ParkedPlace *place = dlist_container(ParkedPlace, node, iter.cur);

		if (*queue_ids(&place->ids) == id)
			park_drop(park, place, 1);
	}
}

/*
 * Does memory that is full keep something from being read that it is worth
 * making room for?  What is put aside has to be read twice: a coordinator that
 * has enough to do with what it has does not do that for a search all the time.
 */
int64
park_due_in(Coordinator *c)
{
	if (calls_are_at_max(&c->calls))
		return -1;
	if (queue_length(&c->reading.announced) > 0 && room_left(&c->room) == 0)
		return 0;
	if (!search_is_due(&c->search, coordinator_time(c)) ||
		room_left_for_search(&c->room) > 0)
		return -1;
	return c->pace.busy ?
		Max(c->park.latest + BUSY_SEARCH_PAUSE - c->pace.turn_began, 0) : 0;
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

/* False: there are too many already. */
static bool
park_entry(Coordinator *c, Entry *entry)
{
	CallPlace	where;

	if (c->park.n >= QUEUE_MAX_LENGTH)
		return false;
	call_where(entry->calls, &where);
	queue_push(&get_place(&c->park, &where)->ids, entry->id);
	c->park.n++;
	room_refund(&c->room);
	entry_forget(c, entry);
	return true;
}

/*
 * Memory is full, and still there is room for calls: those in memory wait for
 * places that are at their limit.  Half of them go.
 */
void
park_entries(Coordinator *c)
{
	HASH_SEQ_STATUS seq;
	Entry	   *entry;
	int			surplus = c->room.used - Min(c->room.used, c->room.capacity) / 2;

	if (park_due_in(c) != 0)
		return;
	c->park.latest = c->pace.turn_began;
	hash_seq_init(&seq, c->entries.table);
	while ((entry = hash_seq_search(&seq)) != NULL)
	{
		if (!only_waits(entry))
			continue;
		if (!park_entry(c, entry) || --surplus <= 0)
		{
			hash_seq_term(&seq);
			break;
		}
	}
}
