/*
 * read.c
 *		Reads rows into memory: rows that others have changed, announced rows,
 *		due rows, and parked rows.
 *
 * room.c determines how many may be read, search.c which rows are due, and
 * park.c which places have room.
 */
#include "private.h"

#include "errors.h"

#include "utils/timestamp.h"

/* Rows read by one statement. */
#define LOAD_BATCH			256

/* Pause before another look at rows that are not to be run, in us. */
#define AWAY_PAUSE			INT64CONST(1000000)

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
		search_ask(&c->search, coordinator_time(c));
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

void
coordinator_search(Coordinator *c)
{
	HASH_SEQ_STATUS seq;
	Entry	   *entry;

	/* those in memory may have been changed, or be gone */
	hash_seq_init(&seq, c->entries.table);
	while ((entry = hash_seq_search(&seq)) != NULL)
		entry_doubt(c, entry);
	search_ask(&c->search, coordinator_time(c));
}

/* ---------- rows that were read ---------- */

/*
 * Has a row out of the way until a later time.  If that can't be written now,
 * the next search is one from the beginning, and finds it.
 */
void
read_postpone(Coordinator *c, int64 id, TimestampTz next_time)
{
	if (store_postpone(id, next_time))
		search_expect(&c->search, next_time);
	else
		search_expect_behind(&c->search, next_time);
}

static void
report_bad_row(Coordinator *c, int64 id, const char *problem)
{
	TimestampTz next_time = dtm_core_after(coordinator_time(c),
										   c->config.retry_interval_max);

	ereport(WARNING,
			(errcode(DTM_ERRCODE_BAD_ROW),
			 errmsg("cannot read global transaction %lld: %s",
					(long long) id, problem),
			 errdetail("It will be read again at %s.",
					   timestamptz_to_str(next_time)),
			 errhint("Restore the rows of the global transaction in schema \"dtm\", which have been changed manually.")));
	if (c->slot)
		pg_atomic_fetch_add_u64(&c->slot->nerrors, 1);
	read_postpone(c, id, next_time);
}

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

/*
 * Nobody may act for a role that does not exist, or that came after it with its
 * name or its OID.  This one waits until an administrator has decided.
 */
static void
report_ownerless(Coordinator *c, int64 id, const char *problem)
{
	ereport(WARNING,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("global transaction %lld waits for an administrator: %s",
					(long long) id, problem),
			 errhint("Assign it to another role with dtm_assign(), or end it with dtm_force_stop(). dtm.stuck lists all such transactions.")));
	store_disown(id);
	read_postpone(c, id, DT_NOEND);
}

/* Rows that were read: new ones become entries, known ones are replaced. */
static void
take_rows(Coordinator *c, StoreLoad *load, bool searched)
{
	for (int i = 0; i < load->n; i++)
	{
		Entry	   *entry = entry_find(c, load->trans[i]->id);

		if (entry == NULL)
			entry_add(c, load->trans[i], load->context[i], searched);
		else if (!take_known_row(c, entry, load->trans[i], load->context[i]))
			MemoryContextDelete(load->context[i]);
	}
	for (int i = 0; i < load->nbad; i++)
	{
		if (load->bad_ownerless[i])
			report_ownerless(c, load->bad_id[i], load->bad_error[i]);
		else
			report_bad_row(c, load->bad_id[i], load->bad_error[i]);
	}
}

/* ---------- which rows are read ---------- */

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
	int64	   *ids = palloc(sizeof(int64) * (c->entries.ntouched + 1));
	int			n = 0;
	dlist_iter	iter;
	StoreLoad	load;

	dlist_foreach(iter, &c->entries.touched)
	{
		Entry	   *entry = dlist_container(Entry, node, iter.cur);

		if (is_doubted(entry) && entry->not_before <= GetCurrentTimestamp())
			ids[n++] = entry->id;
	}
	if (n == 0)
		return;
	store_load_ids(ids, n, &load);
	store_read_durably();
	take_rows(c, &load, false);
	for (int i = 0; i < n; i++)
	{
		Entry	   *entry = entry_find(c, ids[i]);

		/* no row: it has become final, by dtm_force_stop or dtm_abort */
		if (entry != NULL && is_doubted(entry))
			entry->row = ROW_GONE;
	}
}

/* Reads the first of a queue, "max" at most; returns how many are done with. */
static int
load_queued(Coordinator *c, const IdQueue *queue, int max)
{
	Reading    *reading = &c->reading;
	int			n = Min(Min(queue_length(queue), reading->batch), max);
	StoreLoad	load;

	reading->suspect = reading->batch == 1 ? *queue_ids(queue) : 0;
	store_load_ids(queue_ids(queue), n, &load);
	reading->suspect = 0;
	/* where there is no row, it has become final meanwhile */
	take_rows(c, &load, false);
	if (n == queue_length(queue))
		reading->batch = LOAD_BATCH;
	return n;
}

/* "leave" is room for those that are read later in the turn. */
static void
read_announced(Coordinator *c, int leave)
{
	IdQueue    *announced = &c->reading.announced;

	while (queue_length(announced) > 0 && room_left(&c->room) > leave)
		queue_drop(announced,
				   load_queued(c, announced, room_left(&c->room) - leave));
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

/* The next batch of the search that is on its way. */
static void
read_searched(Coordinator *c, int max)
{
	Reading    *reading = &c->reading;
	Search	   *search = &c->search;
	StoreLoad	load;

	if (reading->batch == 1)
		reading->suspect = search_first(search, c->share);
	search_read(search, c->share, max, &load);
	reading->suspect = 0;
	if (load.nrows > 0 && is_away(c))
	{
		search_put_off(search, coordinator_time(c) + AWAY_PAUSE);
		return;
	}
	/* nobody has announced these, with the end of their commit */
	if (load.nrows > 0)
		store_read_durably();
	if (load.nrows < max)
	{
		reading->batch = LOAD_BATCH;
		search_end(search, c->share);
	}
	take_rows(c, &load, true);
	/* not before they have been taken: if that fails, they are read again */
	search_advance(search, &load);
	if (!search->running && search->again)
		search_start(search, coordinator_time(c), true);
}

static void
read_due(Coordinator *c, int leave)
{
	int			room;

	if (!c->search.running && search_is_due(&c->search, coordinator_time(c)))
		search_start(&c->search, coordinator_time(c), false);
	while (c->search.running &&
		   (room = Min(room_left_for_search(&c->room),
					   room_left(&c->room) - leave)) > 0)
		read_searched(c, Min(c->reading.batch, room));
}

/* Reads those again that were put aside, where their place has time now. */
static void
read_parked(Coordinator *c)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &c->park.places)
	{
		ParkedPlace *place = dlist_container(ParkedPlace, node, iter.cur);
		int			n = Min(calls_appetite(&c->calls, &place->place),
							room_left(&c->room));

		if (n > 0)
			park_drop(&c->park, place, load_queued(c, &place->ids, n));
	}
}

void
read_rows(Coordinator *c)
{
	int			for_search;
	int			for_parked;

	/* however much is announced, for however long, the others have their turn */
	room_divide(&c->room, search_is_due(&c->search, coordinator_time(c)),
				park_can_return(&c->park, &c->calls), &for_search, &for_parked);
	reload_entries(c);
	read_announced(c, for_search + for_parked);
	read_due(c, for_parked);
	read_parked(c);
}

bool
read_can(Coordinator *c)
{
	return (room_left(&c->room) > 0 &&
			(queue_length(&c->reading.announced) > 0 ||
			 park_can_return(&c->park, &c->calls))) ||
		(room_left_for_search(&c->room) > 0 &&
		 search_is_due(&c->search, coordinator_time(c)));
}

/* ---------- when reading fails ---------- */

/* The row that was just read alone can't be. */
static void
skip_suspect(Coordinator *c, const char *problem)
{
	int64		id = c->reading.suspect;

	c->reading.suspect = 0;
	(void) queue_drop_if_first(&c->reading.announced, id);
	park_drop_if_first(&c->park, id);
	turn_begin(c);
	report_bad_row(c, id, problem);
	turn_commit(c);
}

bool
read_failed(Coordinator *c, ErrorData *edata)
{
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
	search_ask(&c->search, coordinator_time(c));
	c->reading.batch = 1;
	return true;
}
