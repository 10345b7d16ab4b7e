/*
 * turn.c
 *		Drives the global transactions of one database, or a share of them.
 *
 * A turn (coordinator_turn) has two halves.  The first half takes the replies
 * of calls that have ended, without accessing the database.  The second half
 * is one PostgreSQL transaction: it reads new and due rows, lets core decide,
 * and writes all changed rows and all attempts.  Calls are sent only when it
 * has committed.  So:
 *
 * 1. No call is made before the decision to make it is durable. (A decision
 *    that does not change the row follows from a durable state.)
 * 2. A reply whose effects are not committed is kept (Entry.replies).  If
 *    somebody else has changed the row, it is read again, and the replies are
 *    applied to the new row.  The commit waits for the disk even with
 *    synchronous_commit = off, and a call waits for the commit of the submit
 *    from which it follows.
 * 3. If this process dies at any point, its successor reads the same rows and
 *    makes the same decisions.  Calls that were in flight are repeated.
 *
 * Sessions and local workers change rows at any time.  Each write of a row
 * increments its version.  So:
 *
 * 4. A change between our read and our write is not overwritten: the write
 *    checks the version under the row's lock, for which it does not wait.  The
 *    entry is then read again (ROW_CHECK), a little later if the row was
 *    locked.
 * 5. A change after our write is announced (process/shmem.c), and the entry is
 *    read again.  The row replaces the entry only if the versions differ; the
 *    entry's version includes our own committed writes (settle_entry()).  An
 *    announcement that arrives after its change was read does no harm.
 * 6. Between another process's commit and our next read, we act on the old
 *    row: a call may still be sent just after dtm_force_stop().  Core ignores
 *    its reply if nothing waits for it any more.
 * 7. A row that is missing when it is read again has become final: rows leave
 *    dtm.active in no other way, and ids are not reused.
 *
 * Transactions stay in memory only while their calls are in flight.  A
 * transaction that waits for a later time is forgotten, and is found again by
 * its next_time.
 */
#include "private.h"

#include "clock.h"
#include "crash_point.h"
#include "process/flight.h"
#include "process/looks.h"
#include "process/metrics.h"
#include "process/waiters.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

/* Who can't wait (dtm_run_due, a pause) leaves a locked row after so many tries. */
#define LOCKED_ROW_TRIES	3

/* ---------- time and transactions ---------- */

TimestampTz
coordinator_time(Coordinator *c)
{
	return c->fixed_now != 0 ? c->fixed_now : GetCurrentTimestamp();
}

void
turn_begin(Coordinator *c)
{
	store_begin(c->mode);
	MemoryContextSwitchTo(c->turn);
}

void
turn_commit(Coordinator *c)
{
	bool		wrote = store_commit(c->mode);

	MemoryContextSwitchTo(c->turn);
	if (wrote && c->slot)
		pg_atomic_fetch_add_u64(&c->slot->ncommits, 1);
}

void
turn_roll_back(Coordinator *c)
{
	store_roll_back(c->mode);
	MemoryContextSwitchTo(c->turn);
}

/* us until a turn may use the database: who is to make room does not wait. */
static int64
turn_due_in(Coordinator *c)
{
	return c->draining || c->mode == STORE_PROCEDURE ? 0 : pace_left(&c->pace);
}

/* ---------- the turn ---------- */

/* Has this turn anything to do with the database? */
static bool
needs_database(Coordinator *c)
{
	int64		now = clock_monotonic();
	dlist_iter	iter;

	if (c->attempts.n > 0 || read_can(c))
		return true;
	dlist_foreach(iter, &c->entries.touched)
	{
		if (dlist_container(Entry, node, iter.cur)->not_before <= now)
			return true;
	}
	return false;
}

/* It has no calls under way, and nothing is left to be written. */
static void
release_entry(Coordinator *c, Entry *entry)
{
	int64		id = entry->id;
	bool		due = entry->trans->core.next_time <= coordinator_time(c);

	/* it waits for a later time, or for a caller */
	entry_forget(c, entry);
	if (due)
		read_later(c, id);
	else
		/* whoever waits for the end of its first pass */
		waiters_wake_any(MyDatabaseId);
}

/* What was decided has been committed, and is done now. */
static void
carry_out(Coordinator *c, Entry *entry)
{
	DtmTrans   *core = &entry->trans->core;

	if (dtm_core_is_final(core->status))
	{
		if (c->slot)
			pg_atomic_fetch_add_u64(&c->slot->nfinished, 1);
		if (c->traces.on)
			spans_end(c, entry->trans);
		entry_forget(c, entry);
		return;
	}
	if (c->draining)
		entry_drop_ready(entry);	/* the next one to run makes them */
	else
		entry_send(c, entry);
	if (core->next_time > coordinator_time(c))
		search_expect(&c->search, core->next_time);
	else if (entry->ncalls > 0 && dtm_core_is_waiting(core))
	{
		/* while this turn was written, a retry has become due */
		entry->wake = true;
		return;
	}
	if (entry->ncalls == 0)
		release_entry(c, entry);
	else
		entry_untouch(c, entry);
}

/* The turn has committed: what follows for a touched entry. */
static void
settle_entry(Coordinator *c, Entry *entry)
{
	Outcome    *outcome = &entry->outcome;

	flight_turn(entry->id);
	switch (entry->row)
	{
		case ROW_GONE:
			entry_forget(c, entry);
			return;
		case ROW_CHECK:
		case ROW_REREAD:
			/* whoever has it locked goes first; else it stays touched */
			if (entry->ncalls > 0 || entry->not_before == 0)
				return;
			if (c->mode == STORE_WORKER && !c->draining)
				locked_add(c, entry, entry->holder);
			else if (entry->nrefused >= LOCKED_ROW_TRIES)
				entry_forget(c, entry);
			return;
		case ROW_WRITTEN:
			entry->row = ROW_CURRENT;
			entry->trans->version++;
			webhook_send(c, entry->trans, outcome->alerts);
			entry_record_expired(c, entry);
			break;
		case ROW_CURRENT:
			break;
	}
	outcome->changed = false;
	outcome->alerts = NULL;
	entry->replies = NULL;		/* they have had their effect */
	carry_out(c, entry);
}

/*
 * The touched entries that have to be written or called, in an array of the
 * turn.
 */
static Entry **
changed_entries(Coordinator *c, int *n)
{
	Entry	  **entries = palloc(sizeof(Entry *) * (c->entries.ntouched + 1));
	dlist_iter	iter;

	*n = 0;
	dlist_foreach(iter, &c->entries.touched)
	{
		Entry	   *entry = dlist_container(Entry, node, iter.cur);

		if (entry->row != ROW_CURRENT)
			continue;
		flight_turn(entry->id);
		if (entry->wake)
			entry_decide(c, entry);
		if (entry->outcome.changed || entry->outcome.ncalls > 0)
			entries[(*n)++] = entry;
	}
	flight_turn(0);
	return entries;
}

/* False: nothing was written, and the entries are as they were. */
static bool
use_database(Coordinator *c)
{
	Entry	  **volatile entries = NULL;
	volatile int n = 0;
	volatile bool failed = false;

	PG_TRY();
	{
		turn_begin(c);
		DTM_CRASH_POINT("before-read");
		read_rows(c);
		DTM_CRASH_POINT("after-read");
		{
			int			nchanged;

			entries = changed_entries(c, &nchanged);
			n = nchanged;
		}
		write_entries(c, entries, n);
		attempts_write(&c->attempts);
		if (c->traces.on)
			spans_look_up(c);
		DTM_CRASH_POINT("before-commit");
		turn_commit(c);
		DTM_CRASH_POINT("after-commit");
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(c->turn);
		edata = CopyErrorData();
		FlushErrorState();
		turn_roll_back(c);

		if (entries == NULL && read_failed(c, edata))
			return false;
		if (entries == NULL || n == 0 || write_concerns_all(edata))
			ReThrowError(edata);
		ereport(LOG,
				(errcode(edata->sqlerrcode),
				 errmsg("could not write %d global transactions, writing them one by one: %s",
						n, edata->message)));
		failed = true;
	}
	PG_END_TRY();

	if (failed)
	{
		/*
		 * what was written about rows that can't be run is undone: they are
		 * found again
		 */
		webhook_forget_put_off(c);
		search_ask(&c->search, coordinator_time(c), SEARCH_ALL);
		write_one_by_one(c, entries, n);
		turn_begin(c);
		attempts_write(&c->attempts);
		turn_commit(c);
	}
	attempts_clear(&c->attempts);
	return true;
}

/* What has changed about the hosts, to the log and to dtm.stat_hosts. */
static void
report_hosts(Coordinator *c)
{
	const DtmHostStats *host;
	const char *name;
	int			place;
	bool		switched;

	while ((host = dtm_transport_changed_host(c->calls.transport, &place, &name, &switched)) != NULL)
	{
		if (!host->open && host->failed_in_a_row == 0)
			shelf_note_answers(&c->shelf, name, switched);
		if (c->slot)
			dtm_publish_host(c->slot, place, host);
		if (switched && host->open)
		{
			looks_ask(MyDatabaseId, GetCurrentTimestamp() +
					  dtm_alert_after * INT64CONST(1000) + LOOK_GATHER);
			ereport(LOG,
					(errmsg("circuit breaker for host \"%s\" opened",
							host->name),
					 errdetail("%d consecutive calls got no response; last error: %s",
							   host->failed_in_a_row, host->error)));
		}
		else if (switched)
			ereport(LOG,
					(errmsg("circuit breaker for host \"%s\" closed", host->name)));
	}
}

/* How it is doing, to dtm.stat_coordinator. */
static void
report_load(Coordinator *c)
{
	if (c->slot == NULL)
		return;
	pg_atomic_write_u32(&c->slot->loaded, (uint32) c->room.used);
	pg_atomic_write_u32(&c->slot->in_flight,
						(uint32) calls_in_flight(&c->calls));
	pg_atomic_write_u32(&c->slot->queued, (uint32) calls_waiting(&c->calls));
}

void
coordinator_turn(Coordinator *c)
{
	MemoryContext before = CurrentMemoryContext;

	MemoryContextSwitchTo(c->turn);
	webhook_forget_put_off(c);	/* of a turn that failed */
	pace_begin_turn(&c->pace);
	if (!c->crashes_seen)
		crashed_see_to_all(c);
	c->crashes_seen = true;
	replies_collect(c);
	if (!c->draining)
		shelf_expire(c);
	if (needs_database(c) && turn_due_in(c) == 0 && use_database(c))
	{
		dlist_mutable_iter iter;

		pace_count_turn(&c->pace, c->room.used, c->share.of, c->calls.time);

		if (c->flush_until != InvalidXLogRecPtr)
			XLogFlush(c->flush_until);
		c->flush_until = InvalidXLogRecPtr;
		dlist_foreach_modify(iter, &c->entries.touched)
			settle_entry(c, dlist_container(Entry, node, iter.cur));
		flight_turn(0);
		webhook_send_put_off(c);
		/* off they go */
		calls_drive(&c->calls);
		DTM_CRASH_POINT("after-send");
	}
	if (!c->draining && removal_due_in(&c->removal) == 0)
		removal_run(c);
	flight_turn(0);
	if (c->traces.on)
		traces_run(c);
	pace_end_turn(&c->pace);
	shelve_entries(c);
	entries_check(c);
	report_hosts(c);
	report_load(c);
	metrics_flush();
	MemoryContextSwitchTo(before);
	MemoryContextReset(c->turn);
}

void
coordinator_flush_until(Coordinator *c, XLogRecPtr lsn)
{
	c->flush_until = Max(c->flush_until, lsn);
}

static bool
is_at_rest(const Coordinator *c)
{
	return c->room.used == 0 && c->attempts.n == 0 && c->nwebhooks == 0;
}

bool
coordinator_is_idle(Coordinator *c)
{
	return is_at_rest(c) && !(c->traces.on && traces_linger(&c->traces));
}

bool
coordinator_is_done(Coordinator *c)
{
	return is_at_rest(c) &&
		(room_left(&c->room) == 0 ||
		 (queue_length(&c->reading.announced) == 0 && c->shelf.n == 0 &&
		  !search_is_due(&c->search, coordinator_time(c)))) &&
		coordinator_is_idle(c);
}

int
coordinator_fd(Coordinator *c)
{
	return calls_fd(&c->calls);
}

/* The earlier of two waits, in us; negative: there is none. */
static int64
earlier(int64 a, int64 b)
{
	if (a < 0 || b < 0)
		return Max(a, b);
	return Min(a, b);
}

/* us until rows are to be read or written; -1: none that is known of. */
static int64
database_due_in(Coordinator *c)
{
	TimestampTz now = GetCurrentTimestamp();
	int64		monotonic = clock_monotonic();
	int64		us = -1;
	dlist_iter	iter;

	if (c->attempts.n > 0 || read_can(c))
		return 0;
	dlist_foreach(iter, &c->entries.touched)
		us = earlier(us, Max(dlist_container(Entry, node, iter.cur)->not_before - monotonic, 0));
	if (!c->draining)
		us = earlier(us, locked_due_in(&c->locked));
	if (!c->draining)
		us = earlier(us, removal_due_in(&c->removal));
	/* what is due, but finds no room, waits for the end of a call */
	if (c->search.deadline != DT_NOEND && c->fixed_now == 0 &&
		(room_left(&c->room) > 0 || c->search.deadline > now))
		us = earlier(us, Max(c->search.deadline - now, 0));
	if (c->shelf.n > 0 && c->shelf.expires != DT_NOEND && c->fixed_now == 0 && !c->draining)
		us = earlier(us, Max(c->shelf.expires - now, 0));
	/* as long as memory is full, room may have to be made */
	if (shelving_due_in(c) > 0)
		us = earlier(us, shelving_due_in(c));
	return us;
}

long
coordinator_timeout(Coordinator *c)
{
	int64		us = database_due_in(c);

	if (us >= 0)
		us = Max(us, turn_due_in(c));
	us = earlier(us, calls_due_in(&c->calls));
	if (c->traces.on)
		us = earlier(us, traces_due_in(&c->traces));
	if (us < 0)
		return -1;
	/* round up, so that it is due when we wake */
	return (long) Min((us + 999) / 1000, INT_MAX / 2);
}

long
coordinator_doze(Coordinator *c)
{
	return (long) ((turn_due_in(c) + 999) / 1000);
}

/* ---------- life ---------- */

Coordinator *
coordinator_create(StoreMode mode, DtmShare share, DtmSharedSlot *slot)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext,
												  "dtm coordinator",
												  ALLOCSET_DEFAULT_SIZES);
	Coordinator *c = MemoryContextAllocZero(context, sizeof(Coordinator));
	char		error[256];

	c->mode = mode;
	c->share = share;
	c->slot = slot;
	c->context = context;
	c->turn = AllocSetContextCreate(context, "dtm turn",
									ALLOCSET_DEFAULT_SIZES);
	dtm_core_config(&c->config);
	metrics_open();
	if (!calls_open(&c->calls, context, share, slot, error, sizeof(error)))
	{
		MemoryContextDelete(context);
		ereport(ERROR,
				(errcode(ERRCODE_SYSTEM_ERROR),
				 errmsg("could not initialize calls of branches: %s", error)));
	}
	entries_init(&c->entries, context);
	attempts_init(&c->attempts, context);
	room_init(&c->room, context);
	room_set_calls(&c->room, calls_max(&c->calls));
	read_init(c);
	shelf_init(&c->shelf, context);
	locked_init(&c->locked, context);
	uncommitted_init(&c->uncommitted, context);
	search_init(&c->search, coordinator_time(c));
	removal_init(c);
	traces_init(&c->traces, context);
	traces_reconfigure(c);
	return c;
}

void
coordinator_destroy(Coordinator *c)
{
	if (CurrentMemoryContext == c->turn)
		MemoryContextSwitchTo(TopMemoryContext);
	traces_close(c);
	calls_close(&c->calls);
	MemoryContextDelete(c->context);
}

void
coordinator_reconfigure(Coordinator *c)
{
	dtm_core_config(&c->config);
	calls_reconfigure(&c->calls);
	room_set_calls(&c->room, calls_max(&c->calls));
	removal_init(c);
	traces_reconfigure(c);
}

void
coordinator_set_time(Coordinator *c, TimestampTz now)
{
	c->fixed_now = now;
	c->shelf.as_of = now != 0 ? now : DT_NOBEGIN;
	c->search.until = coordinator_time(c);
}

void
coordinator_probe_now(Coordinator *c)
{
	calls_probe_now(&c->calls);
}

void
coordinator_clock_set(Coordinator *c)
{
	/* what is due by the new time, whichever way it has gone */
	coordinator_search_all(c);
	removal_init(c);
}

void
coordinator_set_budget(Coordinator *c, int64 budget)
{
	c->room.budget = budget;
}

void
coordinator_set_draining(Coordinator *c, bool draining)
{
	c->draining = draining;
	c->room.closed = draining;
}
