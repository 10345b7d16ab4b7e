/*
 * search.c
 *		The search for rows that are due.
 *
 * Knows its position, and when the next search is due; does not know what is
 * done with the rows.
 *
 * Due rows are found in the order of (next_time, id).  So a search can pause
 * while the memory is full, and the next search starts where the last one
 * ended, at the floor (done_until): behind that is nothing that it would find.
 * But there may be a lot to read: as long as somebody has an old snapshot, the
 * index keeps the entries of all that has finished since.  So no search begins
 * further back than where a row can be.  Why is none missed that comes there?
 *
 * 1. Somebody else's commit puts a row there: a submit, a session's retry, or
 *    a local worker.  That commit announces the id (process/shmem.c), which is
 *    read independently of the search.
 * 2. Where the ids are not announced (the ring is full, or a transaction has too
 *    many of them), DTM_ASK_SEARCH replaces them, with the earliest next_time of
 *    them, whatever time the session has taken between that time and its commit:
 *    SEARCH_WRITTEN starts there.  If a search is running, its snapshots so far
 *    may be older than that commit, so another search follows.
 * 3. Who commits a prepared transaction only asks for a search.  The earliest
 *    next_time was noted before it was prepared, and after its rows were written.
 *    The coordinator takes notes before it starts a search.  So a search that
 *    starts at the note finds the rows: committed, or in progress.  (A search may
 *    use up a note for the sake of another transaction, and long before the
 *    commit.  A row that is written after a search has gone past it has a note
 *    that is taken later, by the next one.)
 * 4. A row in progress is kept (uncommitted.c) and read when its writer has
 *    ended.  Where too many are kept, the first one of the others counts as
 *    noted anew.
 * 5. Notes and announcements to a coordinator that has exited are covered by the
 *    first search of its successor, which is one of all.  The successor takes its
 *    snapshots after it has emptied the ring (process/worker.c), and an id is put
 *    into the ring after its commit is visible.  Nothing is left of the notes
 *    after a restart of the server, but what was prepared is in the tables by then.
 * 6. A row that our own turn puts there, because it is due at once, stays in
 *    memory or in the queue of announced ids (settle_entry()).
 * 7. A row that could not be postponed because it is locked stays behind the
 *    position: search_expect_behind().
 * 8. If the clock is set back, so that the "now" of a search is before that of
 *    the last one, the search starts from the beginning.
 * 9. What nobody announces, because it was not written by dtm's functions (an
 *    UPDATE by an administrator, a restore of data), is found by a search of all:
 *    the next search that follows the last one of all after ALL_PAUSE is one.
 *
 * The deadline is the time of the first row behind the floor, or earlier.  To ask
 * the table for it has the same price as a search.  As long as the deadline has
 * not come, it holds: rows that come before it are expected when they are written
 * (search_expect(); for others' rows DtmWritten.ahead is noted as in 2 and 3).
 */
#include "search.h"

#include "clock.h"

/* The longest time without a search of all while there are searches, in us. */
#define ALL_PAUSE		(INT64CONST(10) * USECS_PER_MINUTE)

void
search_init(Search *search, TimestampTz now)
{
	memset(search, 0, sizeof(Search));
	search->written = DT_NOEND;
	search->deadline = DT_NOEND;
	search->done_until = DT_NOBEGIN;
	search_start(search, now, SEARCH_ALL);
}

void
search_start(Search *search, TimestampTz now, SearchKind kind)
{
	int64		monotonic = clock_monotonic();

	if (search->from_beginning || search->done_until > now ||
		monotonic - search->all_at > ALL_PAUSE)
		kind = SEARCH_ALL;
	search->running = true;
	search->again = SEARCH_NONE;
	search->from_beginning = false;
	search->until = now;
	/* that it has come says nothing of the next one */
	if (search->deadline <= now)
	{
		search->deadline = DT_NOEND;
		search->ask_deadline = true;
	}
	/* a row may be due since the beginning of time */
	search->position.time = search->done_until;
	search->position.id = PG_INT64_MAX;
	if (kind == SEARCH_ALL)
	{
		search->written = DT_NOBEGIN;
		search->all_at = monotonic;
		search->ask_deadline = true;
	}
	if (kind >= SEARCH_WRITTEN && search->written <= search->done_until)
	{
		search->position.time = search->written;
		search->position.id = PG_INT64_MIN;
	}
	if (kind >= SEARCH_WRITTEN)
		search->written = DT_NOEND;
}

void
search_ask(Search *search, TimestampTz now, SearchKind kind)
{
	if (search->running)
		search->again = Max(search->again, kind);
	else
		search_start(search, now, kind);
}

void
search_go_on(Search *search, TimestampTz now)
{
	if (!search->running && search->again != SEARCH_NONE)
		search_start(search, now, search->again);
}

void
search_expect(Search *search, TimestampTz due)
{
	search->deadline = Min(search->deadline, due);
}

void
search_expect_written(Search *search, TimestampTz due)
{
	search->written = Min(search->written, due);
}

void
search_expect_behind(Search *search, TimestampTz due)
{
	search->from_beginning = true;
	search_expect(search, due);
}

int
search_read(const Search *search, DtmShare share, int max, StoreDue *found)
{
	return store_find_due(share, search->until, search->position, max, found);
}

void
search_advance(Search *search, const StorePosition *last)
{
	search->position = *last;
}

void
search_end(Search *search, DtmShare share)
{
	search->running = false;
	search->done_until = search->until;
	if (search->ask_deadline)
		search_expect(search, store_next_deadline(share, search->done_until));
	search->ask_deadline = false;
}

void
search_put_off(Search *search, TimestampTz until)
{
	search->running = false;
	search->from_beginning = true;
	search->deadline = until;
}
