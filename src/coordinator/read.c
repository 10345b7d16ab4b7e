/*
 * read.c
 *		Reads rows into memory: rows that others have changed, announced rows,
 *		due rows, and shelved rows.
 *
 * room.c determines how many may be read, search.c which rows are due, and
 * shelf.c which places have room.
 */
#include "private.h"

#include "citus.h"
#include "clock.h"
#include "process/committing.h"

#include "utils/timestamp.h"

/* Rows read by one statement. */
#define LOAD_BATCH			256

/* The same, at least, where few of them may come into memory. */
#define MIN_BATCH			64

/* Rows looked at in one turn, but for entries that are read again. */
#define LOOKS_PER_TURN		2048

/* Pause before another look at rows that are not to be run, in us. */
#define AWAY_PAUSE			INT64CONST(1000000)

/* The same for those that there was no space for, not even for their ids. */
#define FULL_PAUSE			INT64CONST(10000000)

void
read_init(Coordinator *c)
{
	queue_init(&c->reading.announced, c->context);
	c->reading.batch = LOAD_BATCH;
	c->reading.suspect = 0;
}

void
read_later(Coordinator *c, int64 id)
{
	if (!queue_push(&c->reading.announced, id))
		search_ask(&c->search, coordinator_time(c), SEARCH_ALL);
}

void
coordinator_look_at(Coordinator *c, const int64 *ids, int n)
{
	for (int i = 0; i < n; i++)
	{
		Entry	   *entry = entry_find(c, ids[i]);

		if (entry != NULL)
			entry_doubt(c, entry);
		else
			read_later(c, ids[i]);
	}
}

static void
ask_for_search(Coordinator *c, SearchKind kind)
{
	HASH_SEQ_STATUS seq;
	Entry	   *entry;

	/* those in memory may have been changed, or be gone */
	hash_seq_init(&seq, c->entries.table);
	while ((entry = hash_seq_search(&seq)) != NULL)
		entry_doubt(c, entry);
	search_ask(&c->search, coordinator_time(c), kind);
	c->uncommitted.look = true;
}

void
coordinator_search(Coordinator *c)
{
	ask_for_search(c, SEARCH_WRITTEN);
}

void
coordinator_search_all(Coordinator *c)
{
	ask_for_search(c, SEARCH_ALL);
}

void
coordinator_note_written(Coordinator *c, const DtmWritten *written)
{
	search_expect_written(&c->search, written->first);
	search_expect(&c->search, written->ahead);
}

/* ---------- rows that were read ---------- */

/* The row of an entry that we have was read; true: its context is the entry's. */
static bool
take_known_row(Coordinator *c, Entry *entry, Transaction *trans,
			   MemoryContext context)
{
	if (entry->row == ROW_REREAD ||
		(entry->row == ROW_CHECK && entry->trans->version != trans->version))
	{
		entry_replace(c, entry, trans, context);
		return true;
	}
	if (entry->row == ROW_CHECK)
	{
		/* nobody changed it: it was locked, and is tried again as it is */
		entry->row = ROW_CURRENT;
		entry_apply_replies(c, entry);
	}
	else if (entry->trans->core.next_time > entry->trans->core.created)
	{
		/* it is being driven; one of its branches may be due again */
		entry->wake = true;
		entry_touch(c, entry);
	}
	return false;
}

/* ---------- which rows are read ---------- */

/* Where ids come from that are read. */
typedef enum ReadSource
{
	READ_AGAIN,					/* entries that we have */
	READ_ANNOUNCED,
	READ_SEARCHED,
	READ_SHELVED_FOR_CALLS,
	READ_SHELVED_FOR_ROOM,
	READ_FORWARD				/* to be retried now, whenever it was to be */
} ReadSource;

/* Rows that are read together. */
typedef struct Batch
{
	Coordinator *c;
	ReadSource	source;
	int			left;			/* how many more of them may come into memory */
	ShelfPlace *place;			/* SHELVED_FOR_ROOM: where they are */
} Batch;

static bool
is_searched(const Batch *batch)
{
	return batch->source == READ_SEARCHED || batch->source == READ_SHELVED_FOR_ROOM;
}

/* There is no room for it: it waits, as an id. */
static StoreVerdict
refuse(Batch *batch, int64 id, const RoomOwner *owner, Size bytes)
{
	Coordinator *c = batch->c;

	if (batch->source == READ_SHELVED_FOR_ROOM)
	{
		/* it stays the first of those that wait */
		batch->place->wanted = bytes;
		return STORE_STOP;
	}
	if (!shelve_for_room(&c->shelf, owner, id, batch->source == READ_ANNOUNCED))
		search_expect_behind(&c->search,
							 dtm_core_after(coordinator_time(c), FULL_PAUSE));
	return STORE_SKIP;
}

/* Is there room for a row, now that it is known whose it is, and how large? */
static StoreVerdict
admit(void *arg, int64 id, Oid role, uint64 key, Size bytes)
{
	RoomOwner	owner = {role, room_key(key)};
	Batch	   *batch = arg;
	Coordinator *c = batch->c;
	bool		ahead = batch->source == READ_ANNOUNCED || batch->source == READ_SEARCHED;
	bool		searched = is_searched(batch);

	if (batch->source == READ_AGAIN || entry_find(c, id) != NULL)
		return STORE_TAKE;
	if (batch->left <= 0)
		return STORE_STOP;
	if (ahead && shelf_waits_for_room(&c->shelf, &owner) ?
		!room_admits_ahead(&c->room, &owner, searched, bytes) :
		!room_admits(&c->room, &owner, searched, bytes))
		return refuse(batch, id, &owner, bytes);
	if (ahead)
		shelf_count_other(&c->shelf);
	else if (batch->source == READ_SHELVED_FOR_ROOM)
		room_count_waited(&c->room, role);
	batch->left--;
	return STORE_TAKE;
}

/* A row that was read: a new one becomes an entry, a known one is replaced. */
static void
take_row(void *arg, Transaction *trans, MemoryContext context)
{
	Batch	   *batch = arg;
	Coordinator *c = batch->c;
	int64		id = trans->id;
	Entry	   *entry = entry_find(c, id);

	if (entry == NULL)
		entry_add(c, trans, context, is_searched(batch));
	else if (!take_known_row(c, entry, trans, context))
		MemoryContextDelete(context);
	if (batch->source == READ_FORWARD)
		entry_bring_forward(c, entry_find(c, id));
}

/*
 * A row that is committed here, and not everywhere yet: it is read when it is, as
 * if it was locked until then.  Who runs a procedure does not wait for it.
 */
static void
keep_held(Coordinator *c, int64 id, TransactionId by)
{
	Entry	   *entry = entry_find(c, id);

	if (entry != NULL)
	{
		entry_doubt(c, entry);
		entry_note_locked(entry, by);
	}
	else if (c->mode == STORE_WORKER)
		locked_keep(c, id, by);
}

/*
 * Reads rows, and takes them as they come, so that what they take counts for the
 * next.  Returns how many of the ids are done with; what is not there has become
 * final meanwhile.
 */
static int
load_rows(Batch *batch, const int64 *ids, int n)
{
	Coordinator *c = batch->c;
	StoreReader reader = {
		.arg = batch, .waits_for = citus_loaded ? committing_find : NULL,
		.admit = admit, .take = take_row
	};
	StoreLoad	load;

	store_load_ids(ids, n, &reader, &load);
	for (int i = 0; i < load.nbad; i++)
	{
		if (load.bad_ownerless[i])
			postpone_ownerless(c, load.bad_id[i], load.bad_error[i]);
		else
			postpone_bad(c, load.bad_id[i], load.bad_error[i]);
	}
	for (int i = 0; i < load.nabsent; i++)
	{
		locked_forget(&c->locked, load.absent_id[i]);
		if (c->traces.on)
			spans_absent(c, load.absent_id[i]);
	}
	for (int i = 0; i < load.nheld; i++)
		keep_held(c, load.held_id[i], load.held_by[i]);
	c->reading.looked_at += n;
	return load.ndone;
}

/* Is its row to be read? */
static bool
is_doubted(const Entry *entry)
{
	return entry->row == ROW_CHECK || entry->row == ROW_REREAD;
}

/* Entries whose row may have been changed by somebody else are read again. */
static void
reload_entries(Coordinator *c)
{
	Batch		batch = {.c = c, .source = READ_AGAIN};
	int64	   *ids = palloc(sizeof(int64) * (c->entries.ntouched + 1));
	int64		now = clock_monotonic();
	int			n = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &c->entries.touched)
	{
		Entry	   *entry = dlist_container(Entry, node, iter.cur);

		if (is_doubted(entry) && entry->not_before <= now)
			ids[n++] = entry->id;
	}
	if (n == 0)
		return;
	store_read_durably();
	(void) load_rows(&batch, ids, n);
	for (int i = 0; i < n; i++)
	{
		Entry	   *entry = entry_find(c, ids[i]);

		/* no row: it has become final, by dtm_force_stop or dtm_abort */
		if (entry != NULL && is_doubted(entry) && entry->not_before <= now)
			entry->row = ROW_GONE;
	}
}

/*
 * Reads the first of a queue, of which batch->left may come into memory;
 * returns how many are done with.
 */
static int
load_queued(Batch *batch, const IdQueue *queue)
{
	Reading    *reading = &batch->c->reading;
	int			n = Min(queue_length(queue), reading->batch);
	int			done;

	n = Min(n, Max(batch->left, MIN_BATCH));
	reading->suspect = reading->batch == 1 ? *queue_ids(queue) : 0;
	done = load_rows(batch, queue_ids(queue), n);
	reading->suspect = 0;
	if (n == queue_length(queue))
		reading->batch = LOAD_BATCH;
	return done;
}

/* Has this turn looked at as many rows as it should? */
static bool
is_tired(const Coordinator *c)
{
	return c->reading.looked_at >= LOOKS_PER_TURN;
}

/* "leave" is room for those that are read later in the turn. */
static void
read_announced(Coordinator *c, int leave)
{
	IdQueue    *announced = &c->reading.announced;
	Batch		batch = {.c = c, .source = READ_ANNOUNCED};

	while (queue_length(announced) > 0 && room_left(&c->room) > leave &&
		   !is_tired(c))
	{
		batch.left = room_left(&c->room) - leave;
		queue_drop(announced, load_queued(&batch, announced));
	}
}

/*
 * Have the rows that were just found been restored from another database, or
 * is it paused?  A restore brings dtm.home before dtm.request, so whoever sees
 * its requests can see that they are not ours; the order to pause that follows
 * from it may not have reached us yet.
 */
static bool
is_away(Coordinator *c)
{
	return c->mode == STORE_WORKER && store_home() != STORE_HOME_HERE;
}

/* A row that was found is not committed yet: it is read when it may be. */
static void
keep_uncommitted(Coordinator *c, const StoreDue *found)
{
	if (!uncommitted_add(&c->uncommitted, found->at.id, found->writer))
		search_expect_written(&c->search, found->at.time);
}

/*
 * Reads those of the rows found that are committed, and do not wait here already;
 * returns how many of those found are done with.
 */
static int
load_found(Batch *batch, const StoreDue *found, int n)
{
	Coordinator *c = batch->c;
	int64	   *ids = palloc(sizeof(int64) * n);
	int		   *places = palloc(sizeof(int) * n);
	int			nids = 0;
	int			done;

	for (int i = 0; i < n; i++)
	{
		int64		id = found[i].at.id;

		if (TransactionIdIsValid(found[i].writer))
			keep_uncommitted(c, &found[i]);
		if (TransactionIdIsValid(found[i].writer) || shelf_has(&c->shelf, id, found[i].at.time) ||
			locked_has(&c->locked, id))
			continue;
		places[nids] = i;
		ids[nids++] = id;
	}
	/* nobody has announced these, with the end of their commit */
	if (nids > 0)
		store_read_durably();
	c->reading.looked_at += n - nids;
	c->reading.suspect = c->reading.batch == 1 && nids > 0 ? ids[0] : 0;
	done = load_rows(batch, ids, nids);
	c->reading.suspect = 0;
	return done == nids ? n : places[done];
}

/* The next batch of the search that is on its way, of which so many may come. */
static void
read_searched(Coordinator *c, int room)
{
	Search	   *search = &c->search;
	Batch		batch = {.c = c, .source = READ_SEARCHED, .left = room};
	int			max = Min(c->reading.batch, Max(room, MIN_BATCH));
	StoreDue   *found = palloc(sizeof(StoreDue) * max);
	int			n = search_read(search, c->share, max, found);
	int			done;

	if (n > 0 && is_away(c))
	{
		search_put_off(search, dtm_core_after(coordinator_time(c), AWAY_PAUSE));
		return;
	}
	done = load_found(&batch, found, n);
	if (n < max && done == n)
	{
		c->reading.batch = LOAD_BATCH;
		search_end(search, c->share);
	}
	/* not before they have been taken: if that fails, they are read again */
	if (done > 0)
		search_advance(search, &found[done - 1].at);
	search_go_on(search, coordinator_time(c));
}

static void
read_due(Coordinator *c, int leave)
{
	int			room;

	if (!c->search.running && search_is_due(&c->search, coordinator_time(c)))
	{
		search_start(&c->search, coordinator_time(c), SEARCH_ON);
		c->uncommitted.look = true;
	}
	while (c->search.running && !is_tired(c) &&
		   (room = room_left(&c->room) - leave) > 0)
		read_searched(c, room);
}

/* The first of those that wait for calls of a place: so many of them. */
static void
read_shelved_for_calls(Coordinator *c, ShelfPlace *place, int n)
{
	Batch		batch = {.c = c, .source = READ_SHELVED_FOR_CALLS, .left = n};
	IdQueue		queue = {.size = Min(n, queue_length(&place->ids))};

	/* one for which its role has no room is put aside anew */
	queue.tail = queue.size;
	queue.ids = palloc(sizeof(int64) * queue.size);
	memcpy(queue.ids, queue_ids(&place->ids), sizeof(int64) * queue.size);
	shelf_drop(&c->shelf, place, queue.size);
	while (queue_length(&queue) > 0)
		queue_drop(&queue, load_queued(&batch, &queue));
}

/* Those that wait to be retried at a host that answers again: so many of them. */
static int
read_forward(Coordinator *c, ShelfPlace *place, int n)
{
	Batch		batch = {.c = c, .source = READ_FORWARD, .left = n};
	IdQueue		queue;

	if (queue_length(&place->forward) == 0 || n <= 0)
		return 0;
	shelf_take_forward(&c->shelf, place, n, &queue);
	n = queue_length(&queue);
	while (queue_length(&queue) > 0)
		queue_drop(&queue, load_queued(&batch, &queue));
	return n;
}

/* Reads those again that were put aside, where their place has time now. */
static void
read_shelved(Coordinator *c)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &c->shelf.places)
	{
		ShelfPlace *place = dlist_container(ShelfPlace, node, iter.cur);
		bool		has_shelved = queue_length(&place->ids) > 0;
		bool		shares;
		int			n;

		/* many may be kept only for what is to be retried some time */
		if (!has_shelved && queue_length(&place->forward) == 0)
			continue;
		n = shelf_appetite(place, &c->calls, &c->room);
		shares = n <= 0 && !place->for_room;
		n -= read_forward(c, place, Min(n, room_left(&c->room)));
		/* the place may be gone */
		if (!has_shelved)
			continue;
		if (shares)
			n = shelf_share(&c->shelf);
		n = Min(Min(n, room_left(&c->room)), c->reading.batch);
		if (n <= 0)
			continue;
		if (shares)
			shelf_count_share(&c->shelf, n);
		if (place->for_room)
		{
			Batch		batch = {.c = c, .source = READ_SHELVED_FOR_ROOM, .left = n, .place = place};

			place->wanted = 0;
			shelf_drop(&c->shelf, place, load_queued(&batch, &place->ids));
		}
		else
			read_shelved_for_calls(c, place, n);
	}
}

void
read_rows(Coordinator *c)
{
	int			for_search;
	int			for_shelved;

	c->reading.looked_at = 0;
	if (c->reading.failed)
		store_read_durably();
	c->reading.failed = false;
	locked_look(c);
	uncommitted_look(c);
	/* however much is announced, for however long, the others have their turn */
	room_divide(&c->room, search_is_due(&c->search, coordinator_time(c)),
				shelf_can_return(&c->shelf, &c->calls, &c->room) ||
				shelf_share(&c->shelf) > 0,
				&for_search, &for_shelved);
	reload_entries(c);
	read_announced(c, for_search + for_shelved);
	read_due(c, for_shelved);
	read_shelved(c);
}

bool
read_can(Coordinator *c)
{
	return (room_left(&c->room) > 0 &&
			(queue_length(&c->reading.announced) > 0 ||
			 shelf_can_return(&c->shelf, &c->calls, &c->room) ||
			 search_is_due(&c->search, coordinator_time(c)))) ||
		(!c->room.closed && locked_due_in(&c->locked) == 0);
}

/* ---------- when reading fails ---------- */

/* The row that was just read alone can't be. */
static void
skip_suspect(Coordinator *c, const char *problem)
{
	int64		id = c->reading.suspect;

	c->reading.suspect = 0;
	(void) queue_drop_if_first(&c->reading.announced, id);
	shelf_drop_if_first(&c->shelf, id);
	turn_begin(c);
	postpone_bad(c, id, problem);
	turn_commit(c);
}

bool
read_failed(Coordinator *c, ErrorData *edata)
{
	c->reading.failed = true;
	if (write_concerns_all(edata))
		return false;
	if (c->reading.suspect != 0)
	{
		skip_suspect(c, edata->message);
		return true;
	}
	if (c->reading.batch == 1)
		return false;
	ereport(LOG,
			(errcode(edata->sqlerrcode),
			 errmsg("could not read global transactions, reading them one by one: %s",
					edata->message)));
	/* rows that were read, but not kept, are to be found again */
	search_ask(&c->search, coordinator_time(c), SEARCH_ALL);
	c->reading.batch = 1;
	return true;
}
