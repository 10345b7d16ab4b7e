/*
 * record.h
 *		Rows of dtm_barrier.barrier.
 */
#ifndef DTM_BARRIER_RECORD_H
#define DTM_BARRIER_RECORD_H

#include "postgres.h"

#include "store/store.h"

/* The columns without id and times, not longer than allowed (§8.1). */
typedef struct BarrierRow
{
	text	   *trans_type;
	text	   *gid;
	text	   *branch_id;
	text	   *op;
	text	   *barrier_id;
	text	   *reason;
} BarrierRow;

/* Lengths of the columns, in characters (§8.1); gid: DTM_MAX_GID_CHARS. */
#define BARRIER_BRANCH_ID_CHARS	128
#define BARRIER_OTHER_CHARS		45

/* A table of the user's with rows like these, and the key of the business first. */
typedef struct BarrierIn
{
	Oid			table;
	Oid			type;			/* of the value, not of the column */
	Datum		key;
} BarrierIn;

/*
 * Checks the table, and finds its statements; errors if its columns or its unique
 * key are not what they have to be.  What follows runs as the caller.
 */
extern void *barrier_in_find(const BarrierIn *in);

/* As below, in that table. */
extern bool barrier_in_insert(void *statements, const BarrierIn *in, const BarrierRow *row);
extern char *barrier_in_reason(void *statements, const BarrierIn *in, const BarrierRow *row);

/*
 * Inserts a row if it is absent; true if it was.  Waits for an open
 * transaction that inserts the same row; the algorithm needs this wait.
 *
 * Call both functions between store_enter_owner() and store_leave_owner().
 */
extern bool barrier_row_insert(const BarrierRow *row, const StoreCaller *caller);

/* The reason in the stored row, palloc'd; NULL: there is no such row. */
extern char *barrier_row_reason(const BarrierRow *row);

/* The one value that a query over SPI has returned, copied; NULL: none. */
extern char *barrier_row_value(MemoryContext context);

/* The table. */
extern Oid	barrier_table(void);

#endif							/* DTM_BARRIER_RECORD_H */
