/*
 * search.c
 *		The search for rows that are due.
 *
 * Knows how far it has come, and when the next one is due; not what becomes of
 * the rows.
 *
 * Due rows are found in the order of (next_time, id), so that a search can go
 * on where it was when the memory was full, and the next one begins where the
 * last has ended.  What if a row is committed behind the position?
 *
 * 1. A row gets there by a commit of somebody else: a submit, a retry of a
 *    session, a local worker.  That commit announces its id (process/shmem.c),
 *    which is read whatever the search does.
 * 2. Where an announcement is lost (the ring is full, a transaction has too many
 *    ids), DTM_ASK_SEARCH takes its place: search_ask(), from the beginning.
 *    If one is on its way, its snapshots up to now may be older than that
 *    commit, so that another one follows it.
 * 3. What was announced to a coordinator that is gone is found by the search
 *    that its successor begins with: the successor's snapshots are taken after
 *    it has emptied the ring (process/worker.c), and an id comes into the ring
 *    after its commit is visible.
 * 4. A row of our own turn gets there by this process alone: settle_entry()
 *    keeps it in memory, or in the queue of the announced, if it is due at once.
 * 5. A row that could not be postponed, since it is locked, stays where it is:
 *    search_expect_behind().
 * 6. The clock may be set back: a search whose "now" is before the last one's
 *    begins at the beginning.
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
	search->position.id = PG_INT64_MAX;
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

void
search_read(const Search *search, DtmShare share, int max, StoreLoad *load)
{
	store_load_due(share, search->until, search->position, max, load);
}

int64
search_first(const Search *search, DtmShare share)
{
	return store_first_due(share, search->until, search->position);
}

void
search_advance(Search *search, const StoreLoad *load)
{
	if (load->nrows > 0)
		search->position = load->last;
}

void
search_end(Search *search, DtmShare share)
{
	search->running = false;
	search->done_until = search->until;
	/* those that the next one finds only from the beginning are not in the table */
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
