/*
 * entry.h
 *		Global transactions in memory.
 */
#ifndef DTM_COORDINATOR_ENTRY_H
#define DTM_COORDINATOR_ENTRY_H

#include "postgres.h"

#include "call.h"
#include "coordinator.h"

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

/* A global transaction in memory. */
typedef struct Entry
{
	int64		id;				/* hash key; must be first */
	Transaction *trans;
	MemoryContext context;		/* of trans, and of what is made for it */
	Size		bytes;			/* that context's, when it was loaded */
	dlist_node	node;			/* in EntrySet.touched, if touched */
	bool		searched;		/* a search has found it */
	bool		touched;		/* has to be seen to in this turn */
	bool		wake;			/* let core look at it */
	bool		changed;		/* the row has to be written */
	bool		saved;			/* it was, in the turn's transaction */
	bool		reload;			/* the row has been changed by somebody else */
	bool		renew;			/* take it as it is read, changed or not */
	bool		gone;			/* it is not active any more */
	TimestampTz not_before;		/* the row was locked: try again then */
	int			nrefused;		/* times in a row that it was not written */
	Reply	   *replies;		/* in the order they came */
	char	   *alert_url;		/* what has failed too often, to be told when the
								 * row is written; NULL: nothing */
	char	   *alert_error;
	int		   *to_call;		/* room for nops + 1 */
	int			nto_call;
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

extern Entry *entry_find(Coordinator *c, int64 id);

/* It has to be seen to in this turn. */
extern void entry_touch(Coordinator *c, Entry *entry);
extern void entry_untouch(Coordinator *c, Entry *entry);

/* A row that was read into memory; its context becomes the entry's. */
extern void entry_add(Coordinator *c, Transaction *trans,
					  MemoryContext context, bool searched);

/* The row as it is now, for an entry that we have; its calls go on. */
extern void entry_replace(Coordinator *c, Entry *entry, Transaction *trans,
						  MemoryContext context);

/* Out of memory with it; its calls under way are given up. */
extern void entry_forget(Coordinator *c, Entry *entry);

/* Takes the replies of calls that have ended, and what core says to them. */
extern void entry_collect(Coordinator *c);

/* What core has to say about an entry, from the row as it is in memory. */
extern void entry_decide(Coordinator *c, Entry *entry);

/* Core takes the replies that it has not taken yet. */
extern void entry_apply_replies(Coordinator *c, Entry *entry);

/* Makes the calls that were decided on, to be sent after the commit. */
extern void entry_make_ready(Coordinator *c, Entry *entry);
extern void entry_drop_ready(Entry *entry);
extern void entry_send(Coordinator *c, Entry *entry);

#endif							/* DTM_COORDINATOR_ENTRY_H */
