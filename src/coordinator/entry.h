/*
 * entry.h
 *		Global transactions in memory.
 */
#ifndef DTM_COORDINATOR_ENTRY_H
#define DTM_COORDINATOR_ENTRY_H

#include "postgres.h"

#include "call.h"
#include "coordinator.h"
#include "outcome.h"
#include "room.h"

#include "lib/ilist.h"
#include "nodes/pg_list.h"
#include "utils/hsearch.h"

/* A reply whose effects are not committed yet. */
typedef struct Reply
{
	int			op;
	DtmResult	result;
	int64		retry_after;	/* us that the branch asks to wait; 0: none */
	bool		said_final;		/* which responses are final was said */
	bool		is_outdated;	/* what was called has been changed since */
	uint64		request;		/* what it was, if the transaction has left
								 * the memory since; 0: it has not */
	char	   *text;			/* in the server's encoding */
	bool		applied;		/* core has applied it to the row in memory */
	bool		keeps;			/* and its result is to be kept */
	bool		late;			/* its op had ended, and may have a result */
	bool		has_body;		/* it has one */
	WireKind	kind;
	char	   *body;			/* of the response; NULL: none, or too large */
	size_t		body_len;
	struct Reply *next;
} Reply;

/* State of the row of an entry. */
typedef enum EntryRow
{
	ROW_CURRENT,				/* nobody else is known to have changed it */
	ROW_WRITTEN,				/* written by this turn, which has not
								 * committed yet */
	ROW_CHECK,					/* must be read: somebody may have changed it
								 * or has locked it; take the row if its
								 * version differs */
	ROW_REREAD,					/* must be read, and taken whatever its
								 * version */
	ROW_GONE					/* no longer active; the entry must be
								 * forgotten */
} EntryRow;

/*
 * A global transaction in memory.
 *
 * It is in memory because its calls are in flight, or because it is touched:
 * the next turn of the coordinator processes it.  Legal combinations of the
 * state of the row and flags ("changed" is in the outcome):
 *
 *	row			touched	changed	wake	from, until
 *	CURRENT		no		no		no		while nothing but calls is waited for
 *	CURRENT		yes		any		any
 *	WRITTEN		yes		yes		no		write_entries(), settle_entry()
 *	CHECK		yes		any		any
 *	REREAD		yes		any		any
 *	GONE		yes		any		any		reload_entries(), settle_entry()
 *
 * Only touched entries have replies that core has not applied, or whose
 * effects are not committed; alerts to raise; and calls that are ready to be
 * sent. entries_check() asserts all this once in each turn.
 */
typedef struct Entry
{
	int64		id;				/* hash key; must be first */
	Transaction *trans;
	MemoryContext context;		/* of trans, and of what is made for it */
	Size		bytes;			/* that context's, when it was last counted */
	RoomOwner	owner;			/* that it counts as one of */
	dlist_node	node;			/* in EntrySet.touched, if touched */
	EntryRow	row;
	bool		touched;		/* has to be seen to in the next turn */
	bool		wake;			/* let core look at it */
	bool		searched;		/* RoomOfRole.used_by_search */
	bool		uncalled;		/* it was submitted to be called at once, and
								 * no call of it has ended */
	int64		not_before;		/* the row was locked: try again then, by
								 * clock_monotonic(); 0: it was not */
	TransactionId holder;		/* who had it locked; invalid: not known */
	int			nrefused;		/* times in a row that it was not written */
	Reply	   *replies;		/* in the order they came */
	Outcome		outcome;		/* what core has said since the row was
								 * written */
	List	   *expired;		/* ops that were not completed in time, since
								 * then */
	Call	   *ready;			/* to be sent when the turn has committed */
	Call	   *calls;			/* under way */
	int			ncalls;
} Entry;

/* All of them. */
typedef struct EntrySet
{
	HTAB	   *table;			/* Entry, by id */
	dlist_head	touched;
	int			ntouched;
} EntrySet;

extern void entries_init(EntrySet *entries, MemoryContext context);

/*
 * Asserts the combinations above, at the end of a turn; does nothing in a
 * build without assertions.
 */
extern void entries_check(Coordinator *c);

extern Entry *entry_find(Coordinator *c, int64 id);

/* Makes this turn process an entry, or not. */
extern void entry_touch(Coordinator *c, Entry *entry);
extern void entry_untouch(Coordinator *c, Entry *entry);

/* Notes that somebody else may have changed the row. */
extern void entry_doubt(Coordinator *c, Entry *entry);

/* Its row is to be read again after a pause, which grows from time to time. */
extern void entry_note_locked(Entry *entry, TransactionId holder);

/* Adds an entry for a row that was read; its context becomes the entry's. */
extern void entry_add(Coordinator *c, Transaction *trans,
					  MemoryContext context, bool searched);

/* Replaces the row of an existing entry; its calls continue. */
extern void entry_replace(Coordinator *c, Entry *entry, Transaction *trans,
						  MemoryContext context);

/* Removes an entry from memory; its calls in flight are canceled. */
extern void entry_forget(Coordinator *c, Entry *entry);

/* Lets core decide about an entry, from the row in memory. */
extern void entry_decide(Coordinator *c, Entry *entry);

/* The row has been written: what was not completed in time is an attempt. */
extern void entry_record_expired(Coordinator *c, Entry *entry);

/*
 * A transaction that waits to be retried is retried now: what it has failed for
 * is over.
 */
extern void entry_bring_forward(Coordinator *c, Entry *entry);

/* Lets core apply the replies that it has not applied yet. */
extern void entry_apply_replies(Coordinator *c, Entry *entry);

/* The memory that it takes is counted anew. */
extern void entry_count_bytes(Coordinator *c, Entry *entry);

/* Makes the calls that were decided on, to be sent after the commit. */
extern void entry_make_ready(Coordinator *c, Entry *entry);
extern void entry_drop_ready(Entry *entry);
extern void entry_send(Coordinator *c, Entry *entry);

#endif							/* DTM_COORDINATOR_ENTRY_H */
