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

#include "lib/ilist.h"
#include "utils/hsearch.h"

/* A reply whose effects are not committed yet. */
typedef struct Reply
{
	int			op;
	DtmResult	result;
	char	   *text;			/* in the server's encoding */
	bool		applied;		/* core has taken it, on the row in memory */
	struct Reply *next;
} Reply;

/* What is known of the row of an entry, and so what it needs. */
typedef enum EntryRow
{
	ROW_CURRENT,				/* nothing: nobody else is known to have changed
								 * it */
	ROW_WRITTEN,				/* the commit of the turn that has written it */
	ROW_CHECK,					/* to be read: somebody may have changed it, or
								 * has it locked; the version tells */
	ROW_REREAD,					/* to be read, and taken whatever its version */
	ROW_GONE					/* to be forgotten: it is not active any more */
} EntryRow;

/*
 * A global transaction in memory.
 *
 * It is there because calls of it are under way, or because it is touched: the
 * coordinator's next turn sees to it.  Which flags go with which row ("changed"
 * is the outcome's):
 *
 *	row			touched	changed	wake	from, until
 *	CURRENT		no		no		no		while nothing but calls is waited for
 *	CURRENT		yes		any		any
 *	WRITTEN		yes		yes		no		write_entries(), settle_entry()
 *	CHECK		yes		any		any
 *	REREAD		yes		any		any
 *	GONE		yes		any		any		reload_entries(), settle_entry()
 *
 * Only what is touched has replies that core has not seen, or whose effects are
 * not committed; alerts to be told; and calls that are ready to be sent.
 * entries_check() asserts all of this once a turn.
 */
typedef struct Entry
{
	int64		id;				/* hash key; must be first */
	Transaction *trans;
	MemoryContext context;		/* of trans, and of what is made for it */
	Size		bytes;			/* that context's, when it was loaded */
	dlist_node	node;			/* in EntrySet.touched, if touched */
	EntryRow	row;
	bool		touched;		/* has to be seen to in the next turn */
	bool		wake;			/* let core look at it */
	bool		searched;		/* a search has found it: Room.used_by_search */
	TimestampTz not_before;		/* the row was locked: try again then */
	int			nrefused;		/* times in a row that it was not written */
	Reply	   *replies;		/* in the order they came */
	Outcome		outcome;		/* what core has said since the row was written */
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

/* At the end of a turn; nothing in a build without assertions. */
extern void entries_check(Coordinator *c);

extern Entry *entry_find(Coordinator *c, int64 id);

/* It has to be seen to in this turn. */
extern void entry_touch(Coordinator *c, Entry *entry);
extern void entry_untouch(Coordinator *c, Entry *entry);

/* Somebody else may have changed its row. */
extern void entry_doubt(Coordinator *c, Entry *entry);

/* A row that was read into memory; its context becomes the entry's. */
extern void entry_add(Coordinator *c, Transaction *trans,
					  MemoryContext context, bool searched);

/* The row as it is now, for an entry that we have; its calls go on. */
extern void entry_replace(Coordinator *c, Entry *entry, Transaction *trans,
						  MemoryContext context);

/* Out of memory with it; its calls under way are given up. */
extern void entry_forget(Coordinator *c, Entry *entry);

/* Takes the replies of calls that have ended, and what core says to them. */
extern void entries_collect_replies(Coordinator *c);

/* What core has to say about an entry, from the row as it is in memory. */
extern void entry_decide(Coordinator *c, Entry *entry);

/* Core takes the replies that it has not taken yet. */
extern void entry_apply_replies(Coordinator *c, Entry *entry);

/* Makes the calls that were decided on, to be sent after the commit. */
extern void entry_make_ready(Coordinator *c, Entry *entry);
extern void entry_drop_ready(Entry *entry);
extern void entry_send(Coordinator *c, Entry *entry);

#endif							/* DTM_COORDINATOR_ENTRY_H */
