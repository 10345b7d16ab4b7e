/*
 * due.c
 *		The searches for rows that are due, which also see what is not committed
 *		yet.
 *
 * An MVCC snapshot would hide a row that somebody is about to commit, and a search
 * that has gone past it could not say so.  So the index is read with SnapshotDirty:
 * it shows what is committed, by now, and what is in progress, and marks the
 * entries of what nobody can see as dead.  What it shows is then compared with the
 * snapshot of the turn:
 *
 * 1. Its writer has ended for the snapshot: the row is read as any other.  If it
 *    has been changed or is gone since, the one who reads it sees that.
 * 2. Its writer has not: it is returned with that writer.  It may be in progress,
 *    or have been committed since the snapshot was taken.
 * 3. A row that is not shown was rolled back, or has been changed or deleted by a
 *    transaction that is committed by now, and that announces what it has written.
 */
#include "private.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/subtrans.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_type.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Rows that are looked for, and where they go. */
typedef struct DueScan
{
	DtmShare	share;
	StorePosition after;		/* those behind this */
	TimestampTz until;			/* and not later than this */
	int			max;
	StoreDue   *found;			/* in order */
	int			n;
	Table		active;
	SnapshotData dirty;
} DueScan;

static int
compare_positions(const StorePosition *a, const StorePosition *b)
{
	if (a->time != b->time)
		return a->time < b->time ? -1 : 1;
	return a->id < b->id ? -1 : a->id > b->id;
}

static int
compare_due(const void *a, const void *b)
{
	return compare_positions(&((const StoreDue *) a)->at, &((const StoreDue *) b)->at);
}

/* Who has written the row in the slot and has not ended; invalid: nobody. */
static TransactionId
writer_of(TupleTableSlot *slot)
{
	TransactionId xmin;

	if (!TTS_IS_BUFFERTUPLE(slot))
		return InvalidTransactionId;
	xmin = HeapTupleHeaderGetXmin(((BufferHeapTupleTableSlot *) slot)->base.tuple->t_data);
	if (!TransactionIdIsNormal(xmin) || TransactionIdIsCurrentTransactionId(xmin) ||
		!XidInMVCCSnapshot(xmin, GetActiveSnapshot()))
		return InvalidTransactionId;
	return SubTransGetTopmostTransaction(xmin);
}

/* Takes the row in the slot if it is one of those that are looked for. */
static void
take(DueScan *scan, TupleTableSlot *slot)
{
	bool		isnull;
	StoreDue	due;

	due.at.id = DatumGetInt64(slot_getattr(slot, ACTIVE_ID, &isnull));
	due.at.time = DatumGetTimestampTz(slot_getattr(slot, ACTIVE_NEXT_TIME, &isnull));
	if (!dtm_in_share(due.at.id, scan->share) || due.at.time > scan->until ||
		compare_positions(&due.at, &scan->after) <= 0)
		return;
	due.writer = writer_of(slot);
	scan->found[scan->n++] = due;
}

/* Rows in the order of an index, until there are enough. */
static void
scan_range(DueScan *scan, Relation index, ScanKey keys, int nkeys)
{
	Relation	heap = scan->active.relation;
	TupleTableSlot *slot = scan->active.row;
	IndexScanDesc rows = dtm_index_beginscan(heap, index, &scan->dirty, nkeys, 0);

	index_rescan(rows, keys, nkeys, NULL, 0);
	while (scan->n < scan->max && index_getnext_slot(rows, ForwardScanDirection, slot))
		take(scan, slot);
	ExecClearTuple(slot);
	index_endscan(rows);
}

/*
 * In two parts, since many rows may be due at the same time: those of the time of
 * the position, and those that are due later.
 */
static void
scan_index(DueScan *scan, Relation index)
{
	ScanKeyData keys[2];

	if (scan->after.id != PG_INT64_MAX)
	{
		ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_TIMESTAMPTZ_EQ,
					TimestampTzGetDatum(scan->after.time));
		ScanKeyInit(&keys[1], 2, BTGreaterStrategyNumber, F_INT8GT,
					Int64GetDatum(scan->after.id));
		scan_range(scan, index, keys, 2);
	}
	if (scan->n == scan->max)
		return;
	ScanKeyInit(&keys[0], 1, BTGreaterStrategyNumber, F_TIMESTAMPTZ_GT,
				TimestampTzGetDatum(scan->after.time));
	ScanKeyInit(&keys[1], 1, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE,
				TimestampTzGetDatum(scan->until));
	scan_range(scan, index, keys, 2);
}

/* Without an index: the whole table, of which the first ones are kept. */
static void
scan_table(DueScan *scan)
{
	TupleTableSlot *slot = scan->active.row;
	TableScanDesc rows = dtm_table_beginscan(scan->active.relation, &scan->dirty);
	int			max = scan->max;

	scan->found = palloc(sizeof(StoreDue) * 2 * max);
	while (table_scan_getnextslot(rows, ForwardScanDirection, slot))
	{
		take(scan, slot);
		if (scan->n < 2 * max)
			continue;
		qsort(scan->found, scan->n, sizeof(StoreDue), compare_due);
		scan->n = max;
	}
	table_endscan(rows);
	qsort(scan->found, scan->n, sizeof(StoreDue), compare_due);
	scan->n = Min(scan->n, max);
}

/* Are its rows in the order of (next_time, id), and is it complete? */
static bool
is_of_due_rows(Relation index)
{
	Form_pg_index form = index->rd_index;

	return index->rd_rel->relam == BTREE_AM_OID && form->indisvalid &&
		form->indnkeyatts >= 2 &&
		form->indkey.values[0] == ACTIVE_NEXT_TIME && form->indkey.values[1] == ACTIVE_ID &&
		index->rd_opcintype[0] == TIMESTAMPTZOID && index->rd_opcintype[1] == INT8OID &&
		index->rd_indoption[0] == 0 && index->rd_indoption[1] == 0 &&
		heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL);
}

/* dtm.active_due, whatever its name is by now, or one like it; NULL: there is none. */
static Relation
open_index(Relation heap)
{
	List	   *indexes = RelationGetIndexList(heap);
	ListCell   *cell;

	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		if (is_of_due_rows(index))
			return index;
		index_close(index, NoLock);
	}
	return NULL;
}

static void
run_scan(DueScan *scan)
{
	StoreDue   *found = scan->found;
	Tables		tables;
	Relation	index;

	tables_open(&tables);
	tab_open(&tables, &scan->active, "active", active_types, NACTIVE, false);
	tables_start(&tables);
	InitDirtySnapshot(scan->dirty);
	index = open_index(scan->active.relation);
	if (index != NULL)
	{
		scan_index(scan, index);
		index_close(index, NoLock);
	}
	else
	{
		scan_table(scan);
		memcpy(found, scan->found, sizeof(StoreDue) * scan->n);
	}
	tables_close(&tables);
}

int
store_find_due(DtmShare share, TimestampTz now, StorePosition after, int max,
			   StoreDue *found)
{
	DueScan		scan = {
		.share = share, .until = now, .after = after, .max = max, .found = found
	};

	run_scan(&scan);
	return scan.n;
}

TimestampTz
store_next_deadline(DtmShare share, TimestampTz after)
{
	StoreDue	first;
	DueScan		scan = {
		.share = share, .until = DT_NOEND - 1, .after = {after, PG_INT64_MAX},
		.max = 1, .found = &first
	};

	run_scan(&scan);
	return scan.n > 0 ? first.at.time : DT_NOEND;
}

bool
store_has_ended(TransactionId writer)
{
	return !XidInMVCCSnapshot(writer, GetActiveSnapshot());
}
