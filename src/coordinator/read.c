/*
 * read.c
 *		Which rows the coordinator reads, and when: those that were announced,
 *		those that are due, those that others have changed, and those that
 *		were put aside ("parked") because their host has enough to do.
 */
#include "private.h"

#include "errors.h"

#include "utils/timestamp.h"

/* Rows read by one statement. */
#define LOAD_BATCH			256

/* Pause before another look at rows that are not to be run, in us. */
#define AWAY_PAUSE			INT64CONST(1000000)

/* Transactions in memory, for each call that may be in flight. */
#define LOADED_PER_REQUEST	2

/* Memory that they may take, in bytes; beyond it no more are loaded. */
#define MAX_LOADED_BYTES	(INT64CONST(256) * 1024 * 1024)

/* The part of memory that searches leave to what may be announced: 1 / this. */
#define ANNOUNCED_SHARE		4

/*
 * The part of what is free that is left for those that are read later in a
 * turn, for each kind: 1 / this.
 */
#define LATER_SHARE			4

/* How often a busy coordinator makes room for a search to go on, in us. */
#define BUSY_SEARCH_PAUSE	INT64CONST(1000000)

static int
capacity(Coordinator *c)
{
	return LOADED_PER_REQUEST * calls_max(&c->calls);
}

int
read_room(Coordinator *c)
{
	int64		left = capacity(c) - entry_count(c);

	if (c->draining || c->bytes > MAX_LOADED_BYTES)
		return 0;
	if (c->budget >= 0)
		left = Min(left, c->budget);
	return (int) Max(left, 0);
}

int
read_search_room(Coordinator *c)
{
	int			most = capacity(c) - capacity(c) / ANNOUNCED_SHARE;

	return Max(Min(read_room(c), most - c->nsearched), 0);
}

/* Its row may have been changed. */
static void
look_again(Coordinator *c, Entry *entry)
{
	entry->reload = true;
	entry->not_before = 0;
	entry_touch(c, entry);
}

void
coordinator_look_at(Coordinator *c, const int64 *ids, int n)
{
	for (int i = 0; i < n; i++)
	{
		Entry	   *entry = entry_find(c, ids[i]);

		if (entry != NULL)
			look_again(c, entry);
		else if (!queue_push(&c->announced, ids[i]))
			coordinator_search(c);
	}
}

/*
 * Has a row out of the way until a later time.  If that can't be written now,
 * the next search is one from the beginning, and finds it.
 */
void
read_postpone(Coordinator *c, int64 id, TimestampTz next_time)
{
	if (!store_postpone(id, next_time))
		c->search_all = true;
	c->deadline = Min(c->deadline, next_time);
}

static void
report_bad_row(Coordinator *c, int64 id, const char *problem)
{
	TimestampTz next_time = coordinator_time(c) + c->config.retry_interval_max;

	ereport(WARNING,
			(errcode(DTM_ERRCODE_BAD_ROW),
			 errmsg("global transaction %lld can't be read: %s",
					(long long) id, problem),
			 errdetail("It is looked at again at %s.",
					   timestamptz_to_str(next_time)),
			 errhint("Its rows in schema dtm have been changed by hand.")));
	if (c->slot)
		pg_atomic_fetch_add_u64(&c->slot->nerrors, 1);
	read_postpone(c, id, next_time);
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
		else if (entry->reload &&
				 (entry->renew ||
				  entry->trans->version != load->trans[i]->version))
			entry_replace(c, entry, load->trans[i], load->context[i]);
		else if (entry->reload)
		{
			/* nobody changed it: it was locked, and is tried again as it is */
			MemoryContextDelete(load->context[i]);
			entry->reload = false;
			entry_apply_replies(c, entry);
		}
		else
		{
			/* it is being driven; one of its branches may be due again */
			MemoryContextDelete(load->context[i]);
			if (entry->trans->core.next_time > entry->trans->core.created)
			{
				entry->wake = true;
				entry_touch(c, entry);
			}
		}
	}
	for (int i = 0; i < load->nbad; i++)
		report_bad_row(c, load->bad_id[i], load->bad_error[i]);
}

/* Entries whose row was changed by somebody else are read again. */
static void
read_reload(Coordinator *c)
{
	int64	   *ids = palloc(sizeof(int64) * (c->ntouched + 1));
	int			n = 0;
	dlist_iter	iter;
	StoreLoad	load;

	dlist_foreach(iter, &c->touched)
	{
		Entry	   *entry = dlist_container(Entry, node, iter.cur);

		if (entry->reload && entry->not_before <= GetCurrentTimestamp())
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
		if (entry != NULL && entry->reload)
			entry->gone = true;
	}
}

/* Reads the next of a queue, "max" at most. */
static void
load_queued(Coordinator *c, IdQueue *queue, int max)
{
	int			n = Min(Min(queue_length(queue), c->batch), max);
	StoreLoad	load;

	c->suspect = c->batch == 1 ? *queue_ids(queue) : 0;
	store_load_ids(queue_ids(queue), n, &load);
	c->suspect = 0;
	/* no row: it has become final meanwhile */
	if (load.nrows < n)
		c->wake_waiters = true;
	take_rows(c, &load, false);
	queue_drop(queue, n);
	if (queue_length(queue) == 0)
		c->batch = LOAD_BATCH;
}

static void
read_announced(Coordinator *c, int leave)
{
	while (queue_length(&c->announced) > 0 && read_room(c) > leave)
		load_queued(c, &c->announced, read_room(c) - leave);
}

/*
 * Due rows are found in the order of their next_time, so that a search can go
 * on where it was when the memory was full, and the next one begins where the
 * last has ended: what has been committed behind that was announced.
 */
void
read_start_search(Coordinator *c, bool from_beginning)
{
	TimestampTz now = coordinator_time(c);

	c->searching = true;
	c->search_again = false;
	c->search_until = now;
	c->position.time = from_beginning || c->search_all || c->searched_until > now ?
		DT_NOBEGIN : c->searched_until;
	c->search_all = false;
	c->position.id = PG_INT64_MAX;
}

void
coordinator_search(Coordinator *c)
{
	HASH_SEQ_STATUS seq;
	Entry	   *entry;

	/* those in memory may have been changed, or be gone */
	hash_seq_init(&seq, c->entries);
	while ((entry = hash_seq_search(&seq)) != NULL)
		look_again(c, entry);
	if (c->searching)
		c->search_again = true;
	else
		read_start_search(c, true);
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

static bool
search_is_due(Coordinator *c)
{
	return c->searching || c->deadline <= coordinator_time(c);
}

static void
read_due(Coordinator *c, int leave)
{
	int			room;

	if (!c->searching && search_is_due(c))
		read_start_search(c, false);
	while (c->searching &&
		   (room = Min(read_search_room(c), read_room(c) - leave)) > 0)
	{
		int			max = Min(c->batch, room);
		StoreLoad	load;

		if (c->batch == 1)
			c->suspect = store_first_due(c->share, c->search_until, c->position);
		store_load_due(c->share, c->search_until, c->position, max, &load);
		c->suspect = 0;
		if (load.nrows > 0 && is_away(c))
		{
			c->searching = false;
			c->search_all = true;
			c->deadline = coordinator_time(c) + AWAY_PAUSE;
			return;
		}
		/* nobody has announced these, with the end of their commit */
		if (load.nrows > 0)
			store_read_durably();
		if (load.nrows < max)
		{
			c->batch = LOAD_BATCH;
			c->searching = false;
			c->searched_until = c->search_until;
			c->deadline = Min(c->search_all ? c->deadline : DT_NOEND,
							  store_next_deadline(c->share, c->searched_until));
		}
		take_rows(c, &load, true);
		if (load.nrows > 0)
			c->position = load.last;
		if (!c->searching && c->search_again)
			read_start_search(c, true);
	}
}

static bool
can_unpark(Coordinator *c)
{
	dlist_iter	iter;

	dlist_foreach(iter, &c->parked)
		if (calls_appetite(&c->calls, &dlist_container(ParkedHost, node, iter.cur)->place) > 0)
			return true;
	return false;
}

/* Reads those again that were put aside, where their host has time now. */
static void
read_parked(Coordinator *c)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &c->parked)
	{
		ParkedHost *host = dlist_container(ParkedHost, node, iter.cur);
		int			n = Min(calls_appetite(&c->calls, &host->place), read_room(c));
		int			before = queue_length(&host->ids);

		if (n > 0)
			load_queued(c, &host->ids, n);
		c->nparked -= before - queue_length(&host->ids);
		if (queue_length(&host->ids) == 0)
		{
			dlist_delete(&host->node);
			queue_free(&host->ids);
			pfree(host);
		}
	}
}

/*
 * How much of the room is left for a kind that is read later in this turn.  What
 * does not divide is owed: rooms may be small, turn after turn.
 */
static int
share_of_room(int *owed, bool wanted, int room)
{
	int			share;

	*owed = wanted ? *owed + room : 0;
	share = Min(*owed / LATER_SHARE, room);
	*owed -= share * LATER_SHARE;
	return share;
}

void
read_rows(Coordinator *c)
{
	/* however much is announced, for however long, the others have their turn */
	int			room = read_room(c);
	int			for_search = share_of_room(&c->owed_to_search, search_is_due(c), room);
	int			for_parked = share_of_room(&c->owed_to_parked, can_unpark(c), room - for_search);

	read_reload(c);
	read_announced(c, for_search + for_parked);
	read_due(c, for_parked);
	read_parked(c);
}

/* Local branches of a role wait for workers as others do for a host. */
static ParkedHost *
parked_host(Coordinator *c, const CallPlace *place)
{
	ParkedHost *host;
	dlist_iter	iter;

	dlist_foreach(iter, &c->parked)
	{
		host = dlist_container(ParkedHost, node, iter.cur);
		if (call_place_is(&host->place, place))
			return host;
	}
	host = MemoryContextAllocZero(c->context, sizeof(ParkedHost));
	host->place = *place;
	queue_init(&host->ids, c->context);
	dlist_push_tail(&c->parked, &host->node);
	return host;
}

/*
 * Does memory that is full keep something from being read that it is worth
 * making room for?  What is put aside has to be read twice: a coordinator that
 * has enough to do with what it has does not do that for a search all the time.
 */
int64
read_park_in(Coordinator *c)
{
	if (calls_are_at_max(&c->calls))
		return -1;
	if (queue_length(&c->announced) > 0 && read_room(c) == 0)
		return 0;
	if (!search_is_due(c) || read_search_room(c) > 0)
		return -1;
	return c->busy ? Max(c->parked_at + BUSY_SEARCH_PAUSE - c->turn_began, 0) : 0;
}

/*
 * Memory is full, and still there is room for calls: those in memory wait for
 * hosts that are at their limit.  Puts half of them aside, so that
 * transactions that need other hosts come to their turn.
 */
void
read_park(Coordinator *c)
{
	HASH_SEQ_STATUS seq;
	Entry	   *entry;
	int			surplus = entry_count(c) - Min(entry_count(c), capacity(c)) / 2;

	if (read_park_in(c) != 0)
		return;
	c->parked_at = c->turn_began;
	hash_seq_init(&seq, c->entries);
	while ((entry = hash_seq_search(&seq)) != NULL)
	{
		bool		waiting = !entry->touched && entry->calls != NULL;

		for (Call *call = entry->calls; call != NULL; call = call->next)
			waiting = waiting && call_is_waiting(call);
		if (!waiting)
			continue;
		if (c->nparked < QUEUE_MAX_LENGTH)
		{
			CallPlace	place;

			call_where(entry->calls, &place);
			queue_push(&parked_host(c, &place)->ids, entry->id);
			c->nparked++;
			if (c->budget >= 0)
				c->budget++;	/* it is counted when it is read again */
			entry_forget(c, entry);
		}
		else
			surplus = 0;
		if (--surplus <= 0)
		{
			hash_seq_term(&seq);
			break;
		}
	}
}

/* Is there something to read, and room for it? */
bool
read_can(Coordinator *c)
{
	return (read_room(c) > 0 &&
			(queue_length(&c->announced) > 0 || can_unpark(c))) ||
		(read_search_room(c) > 0 && search_is_due(c));
}

/*
 * Reading rows has failed.  Returns true if it's worth going on: one at a time
 * until the one that can't be read is found, which is put out of the way.
 */
bool
read_failed(Coordinator *c, ErrorData *edata)
{
	if (write_concerns_all(edata))
		return false;
	if (c->suspect != 0)
	{
		int64		id = c->suspect;
		dlist_iter	iter;

		c->suspect = 0;
		(void) queue_drop_if_first(&c->announced, id);
		dlist_foreach(iter, &c->parked)
			if (queue_drop_if_first(&dlist_container(ParkedHost, node, iter.cur)->ids, id))
				c->nparked--;
		turn_begin(c);
		report_bad_row(c, id, edata->message);
		turn_commit(c);
		return true;
	}
	if (c->batch == 1)
		return false;
	/* rows that were read, but not kept, are to be found again */
	c->search_all = true;
	c->search_again = true;
	ereport(LOG,
			(errcode(edata->sqlerrcode),
			 errmsg("reading global transactions failed, reading them one by one: %s",
					edata->message)));
	c->batch = 1;
	return true;
}

void
read_init(Coordinator *c)
{
	c->batch = LOAD_BATCH;
	c->deadline = DT_NOEND;
	c->searched_until = DT_NOBEGIN;
	queue_init(&c->announced, c->context);
	dlist_init(&c->parked);
	read_start_search(c, true);
}
