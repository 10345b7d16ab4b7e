/*
 * search.c
 *		The search for rows that are due.
 *
 * Knows its position, and when the next search is due; does not know what is
 * done with the rows.
 *
 * Due rows are found in the order of (next_time, id).  So a search can pause
 * while the memory is full, and the next search starts where the last one
 * ended.  Why is no row missed that is committed behind the position?
 *
 * 1. Somebody else's commit puts a row there: a submit, a session's retry, or
 *    a local worker.  That commit announces the id (process/shmem.c), which is
 *    read independently of the search.
 * 2. If an announcement is lost (the ring is full, or a transaction has too
 *    many ids), DTM_ASK_SEARCH replaces it: search_ask() starts a search from
 *    the beginning.  If a search is running, its snapshots so far may be older
 *    than that commit, so another search follows.
 * 3. Announcements to a coordinator that has exited are covered by the first
 *    search of its successor.  The successor takes its snapshots after it has
 *    emptied the ring (process/worker.c), and an id is put into the ring after
 *    its commit is visible.
 * 4. A row that our own turn puts there, because it is due at once, stays in
 *    memory or in the queue of announced ids (settle_entry()).
 * 5. A row that could not be postponed because it is locked stays behind the
 *    position: search_expect_behind().
 * 6. If the clock is set back, so that the "now" of a search is before that of
 *    the last one, the search starts from the beginning.
 */
#include "search.h"

void
search_init(Search *search, TimestampTz now)
{
	memset(search, 0, sizeof(Search));
	search->deadline = DT_NOEND;
	search->done_until = DT_NOBEGIN;
	search_start(search, now, true);
}

void
search_start(Search *search, TimestampTz now, bool from_beginning)
{
	from_beginning = from_beginning || search->from_beginning ||
		search->done_until > now;
	search->running = true;
	search->again = false;
	search->from_beginning = false;
	search->until = now;
	search->position.time = from_beginning ? DT_NOBEGIN : search->done_until;
	/* a row may be due since the beginning of time */
	search->position.id = from_beginning ? PG_INT64_MIN : PG_INT64_MAX;
}

void
search_ask(Search *search, TimestampTz now)
{
	if (search->running)
		search->again = true;
	else
		search_start(search, now, true);
}

void
search_expect(Search *search, TimestampTz due)
{
	search->deadline = Min(search->deadline, due);
}

void
search_expect_behind(Search *search, TimestampTz due)
{
	search->from_beginning = true;
	search_expect(search, due);
}

int
search_read(const Search *search, DtmShare share, int max, StorePosition *found)
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

	/*
	 * those that the next one finds only from the beginning are not in the
	 * table
	 */
	search->deadline = Min(search->from_beginning ? search->deadline : DT_NOEND,
						   store_next_deadline(share, search->done_until));
}

void
search_put_off(Search *search, TimestampTz until)
{
	search->running = false;
	search->from_beginning = true;
	search->deadline = until;
}
