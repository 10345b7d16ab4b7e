/*
 * search.h
 *		The search for rows that are due.
 */
#ifndef DTM_COORDINATOR_SEARCH_H
#define DTM_COORDINATOR_SEARCH_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "store/store.h"

typedef struct Search
{
	bool		running;		/* one is on its way */
	bool		again;			/* another one, from the beginning, was asked for
								 * meanwhile */
	bool		from_beginning; /* the next one has to be: something may be due
								 * behind the position */
	StorePosition position;		/* how far it has come */
	TimestampTz until;			/* the "now" that it goes by */
	TimestampTz done_until;		/* the last complete one's */
	TimestampTz deadline;		/* next row that becomes due; DT_NOEND: none */
} Search;

/* Begins with a search for all that is due. */
extern void search_init(Search *search, TimestampTz now);

/*
 * Starts one where the last complete one has ended, or from the beginning.
 */
extern void search_start(Search *search, TimestampTz now, bool from_beginning);

/* One from the beginning: now, or when the one that is on its way is through. */
extern void search_ask(Search *search, TimestampTz now);

/* A row will be due then. */
extern void search_expect(Search *search, TimestampTz due);

/*
 * A row will be due then, but what is stored of it says something else: the
 * next search does not find it, unless it begins at the beginning.
 */
extern void search_expect_behind(Search *search, TimestampTz due);

static inline bool
search_is_due(const Search *search, TimestampTz now)
{
	return search->running || search->deadline <= now;
}

/* The next rows, "max" at most, and the id of the first; in a transaction. */
extern void search_read(const Search *search, DtmShare share, int max,
						StoreLoad *load);
extern int64 search_first(const Search *search, DtmShare share);

/* Those that were read are taken care of. */
extern void search_advance(Search *search, const StoreLoad *load);

/* It is through; in a transaction. */
extern void search_end(Search *search, DtmShare share);

/* It is broken off; the next one, from the beginning, is then. */
extern void search_put_off(Search *search, TimestampTz until);

#endif							/* DTM_COORDINATOR_SEARCH_H */
