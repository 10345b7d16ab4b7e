/*
 * search.h
 *		The search for rows that are due.
 */
#ifndef DTM_COORDINATOR_SEARCH_H
#define DTM_COORDINATOR_SEARCH_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "store/store.h"

/* Where a search begins; a later one of these covers those before it. */
typedef enum SearchKind
{
	SEARCH_NONE,
	SEARCH_ON,					/* where the last complete one has ended */
	SEARCH_WRITTEN,				/* at the earliest row that others have
								 * written since, if that is before it */
	SEARCH_ALL					/* at the beginning */
} SearchKind;

typedef struct Search
{
	bool		running;		/* a search is running */
	SearchKind	again;			/* another search, of this kind, must follow */
	bool		from_beginning; /* the next search must start from the
								 * beginning: a row may be due behind the
								 * position */
	TimestampTz written;		/* the earliest row that SEARCH_WRITTEN is to
								 * find; DT_NOEND: there is none */
	StorePosition position;		/* position of the search */
	TimestampTz until;			/* its "now" */
	TimestampTz done_until;		/* "now" of the last complete search */
	TimestampTz deadline;		/* when the next row becomes due; DT_NOEND:
								 * never */
	bool		ask_deadline;	/* the table has to say so */
	int64		all_at;			/* when the last search from the beginning
								 * began, clock_monotonic() */
} Search;

/* Starts with a search for all due rows. */
extern void search_init(Search *search, TimestampTz now);

/* Starts a search. */
extern void search_start(Search *search, TimestampTz now, SearchKind kind);

/* Requests a search: now, or when the running search has ended. */
extern void search_ask(Search *search, TimestampTz now, SearchKind kind);

/* If a search has ended, and another one is to follow, starts that. */
extern void search_go_on(Search *search, TimestampTz now);

/* Notes that a row becomes due at this time. */
extern void search_expect(Search *search, TimestampTz due);

/* Notes that the next SEARCH_WRITTEN is to find a row of this time. */
extern void search_expect_written(Search *search, TimestampTz due);

/*
 * Notes that a row must be processed at this time, although its stored
 * next_time is earlier: only a search from the beginning finds it.
 */
extern void search_expect_behind(Search *search, TimestampTz due);

static inline bool
search_is_due(const Search *search, TimestampTz now)
{
	return search->running || search->deadline <= now;
}

/*
 * The next rows, "max" at most, in their order; returns how many.  In a
 * transaction.
 */
extern int	search_read(const Search *search, DtmShare share, int max,
						StoreDue *found);

/* Those up to this one are taken care of. */
extern void search_advance(Search *search, const StorePosition *last);

/* Ends a complete search; needs a transaction. */
extern void search_end(Search *search, DtmShare share);

/*
 * Breaks off the search; the next one starts at that time, from the beginning.
 */
extern void search_put_off(Search *search, TimestampTz until);

#endif							/* DTM_COORDINATOR_SEARCH_H */
