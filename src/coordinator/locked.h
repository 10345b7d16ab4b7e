/*
 * locked.h
 *		Transactions whose row somebody has locked: an id each, and the replies
 *		that could not be written.
 */
#ifndef DTM_COORDINATOR_LOCKED_H
#define DTM_COORDINATOR_LOCKED_H

#include "postgres.h"

#include "coordinator.h"

#include "access/transam.h"
#include "lib/ilist.h"
#include "utils/hsearch.h"

struct Entry;
struct Reply;

/* How often the pause between two looks at a lock doubles. */
#define LOCKED_DOUBLES		7

typedef struct LockedRow
{
	int64		id;				/* hash key; must be first */
	TransactionId holder;		/* who had it locked; invalid: not known */
	int			nrefused;		/* Entry.nrefused */
	int			level;			/* pauses that have been, LOCKED_DOUBLES at
								 * most; -1: it is to be read, and in no queue */
	int64		due;			/* when it is looked at, clock_monotonic() */
	dlist_node	node;			/* in Locked.queues[level] */
	MemoryContext context;		/* of the replies; NULL: there are none */
	struct Reply *replies;
	Size		bytes;			/* of that context */
} LockedRow;

typedef struct Locked
{
	HTAB	   *rows;			/* LockedRow, by id */
	dlist_head	queues[LOCKED_DOUBLES + 1]; /* each in the order of "due" */
	int64		bytes;			/* of all replies */
	MemoryContext context;
} Locked;

extern void locked_init(Locked *locked, MemoryContext context);

/*
 * An entry without calls under way, whose row could not be written, makes room:
 * it is read again when the lock may be gone.
 */
extern void locked_add(Coordinator *c, struct Entry *entry,
					   TransactionId holder);

/* The same of one that is not in memory. */
extern void locked_keep(Coordinator *c, int64 id, TransactionId holder);

/* Is it here, and not to be read yet? */
extern bool locked_has(const Locked *locked, int64 id);

/* us until the next look is due; -1: there is none. */
extern int64 locked_due_in(const Locked *locked);

/* Has those read whose lock may be gone.  In a transaction. */
extern void locked_look(Coordinator *c);

/* The replies of one that is in memory again, which gets them. */
extern void locked_take(Coordinator *c, struct Entry *entry);

/* It has ended meanwhile. */
extern void locked_forget(Locked *locked, int64 id);

#endif							/* DTM_COORDINATOR_LOCKED_H */
