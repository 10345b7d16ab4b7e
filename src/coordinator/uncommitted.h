/*
 * uncommitted.h
 *		Rows that a search has found before they were committed.
 */
#ifndef DTM_COORDINATOR_UNCOMMITTED_H
#define DTM_COORDINATOR_UNCOMMITTED_H

#include "postgres.h"

#include "coordinator.h"

#include "utils/hsearch.h"

typedef struct Uncommitted
{
	HTAB	   *rows;			/* UncommittedRow, by id and writer */
	HTAB	   *writers;		/* UncommittedWriter, by transaction id */
	bool		look;			/* some may be committed by now */
} Uncommitted;

extern void uncommitted_init(Uncommitted *uncommitted, MemoryContext context);

/* Keeps one; false: there are too many. */
extern bool uncommitted_add(Uncommitted *uncommitted, int64 id,
							TransactionId writer);

/* If "look" is set: has those read whose writer has ended.  In a transaction. */
extern void uncommitted_look(Coordinator *c);

#endif							/* DTM_COORDINATOR_UNCOMMITTED_H */
