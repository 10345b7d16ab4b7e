/*
 * table.c
 *		Reads and writes rows of dtm's tables without SQL, for the
 *		coordinator's work at every call: statements for it took a quarter of
 *		the coordinator's time (docs/performance.md).
 *
 * Rows are found by their primary key, and written with the functions of
 * logical replication's apply worker.  So indexes, constraints, row triggers
 * and columns that users have added to the tables work as with SQL.  Statement
 * triggers do not fire.
 *
 * What is done here around those functions mirrors the server's code, and has
 * to be compared with it for each new major version:
 *
 *	here				server
 *	tab_open			create_edata_for_relation(), apply_handle_update() (the
 *						columns that are updated), ExecOpenIndices() and
 *						EvalPlanQualInit() as in apply_handle_update_internal()
 *	prepare_defaults,	slot_fill_defaults()
 *	tab_make
 *	tab_find, tab_lock	RelationFindReplTupleByIndex()
 *	begin_write,		AfterTriggerBeginQuery() and AfterTriggerEndQuery(), as
 *	end_write			in create_edata_for_relation() and finish_edata()
 *	tab_insert, ...		apply_handle_insert_internal(), ..._update_internal(),
 *						..._delete_internal()
 *	close_table			finish_edata()
 *
 * (replication/logical/worker.c, executor/execReplication.c).  Compared last
 * with PostgreSQL 15.18.  What is different on purpose: a row is looked for with
 * an MVCC snapshot and locked without waiting, or is left for later; so it is
 * never changed between that and the write, and the slot for a re-check
 * (EvalPlanQualSetSlot()) is not needed.  Privileges and row security are not
 * checked (TargetPrivilegesCheck()), as the tables are their owner's.  Tables
 * are not partitioned, and one executor state serves many rows.
 */
#include "private.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/multixact.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "rewrite/rewriteHandler.h"
#include "storage/bufmgr.h"
#include "storage/procarray.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

static Relation
open_relation(const char *name, const Oid *types, int ncolumns, LOCKMODE lock)
{
	Oid			oid = RangeVarGetRelid(makeRangeVar("dtm", pstrdup(name), -1), lock, true);
	Relation	relation;

	/* that has an error of its own where the whole schema is missing */
	if (!OidIsValid(oid))
		(void) dtm_extension_owner();
	if (!OidIsValid(oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"dtm.%s\" does not exist", name),
				 errhint("Run CREATE EXTENSION dtm.")));
	relation = table_open(oid, NoLock);
	for (int i = 0; i < ncolumns; i++)
		if (i >= RelationGetNumberOfAttributes(relation) ||
			TupleDescAttr(RelationGetDescr(relation), i)->attisdropped ||
			TupleDescAttr(RelationGetDescr(relation), i)->atttypid !=
			(OidIsValid(types[i]) ? types[i] : submitter_type()))
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("column %d of table \"dtm.%s\" has been changed",
							i + 1, name),
					 errhint("Restore the column. Columns can be added to dtm's tables, but not dropped or changed.")));
	return relation;
}

/* Defaults of the columns that somebody has added. */
static void
prepare_defaults(Table *table)
{
	TupleDesc	desc = RelationGetDescr(table->relation);

	if (desc->natts == table->ncolumns)
		return;
	table->defaults = palloc0(sizeof(ExprState *) * desc->natts);
	for (int i = table->ncolumns; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		Node	   *expression;

		if (attribute->attisdropped || attribute->attgenerated != '\0')
			continue;
		expression = build_column_default(table->relation, i + 1);
		if (expression != NULL)
			table->defaults[i] = ExecPrepareExpr((Expr *) expression, table->estate);
	}
}

/* All of the columns that we know but the key, as the coordinator's updates have them. */
static Bitmapset *
updated_columns(int ncolumns)
{
	Bitmapset  *columns = NULL;

	for (int column = 2; column <= ncolumns; column++)
		columns = bms_add_member(columns, column - FirstLowInvalidHeapAttributeNumber);
	return columns;
}

void
tables_open(Tables *tables)
{
	check_version();
	owner_enter(&tables->session);
	tables->nest_level = own_enter_settings();
	tables->first = NULL;
	tables->wrote = false;
	tables->context = AllocSetContextCreate(CurrentMemoryContext, "dtm tables",
											ALLOCSET_DEFAULT_SIZES);
	tables->before = MemoryContextSwitchTo(tables->context);
}

void
tab_open(Tables *tables, Table *table, const char *name, const Oid *types,
		 int ncolumns, bool write)
{
	table->next = tables->first;
	tables->first = table;
	table->relation = open_relation(name, types, ncolumns,
									write ? RowExclusiveLock : AccessShareLock);
	table->ncolumns = ncolumns;
	table->defaults = NULL;
	table->estate = CreateExecutorState();
	table->row = table_slot_create(table->relation, &table->estate->es_tupleTable);
	table->scan = NULL;
	table->info = NULL;
	if (!write)
		return;
	tables->wrote = true;
	table->estate->es_output_cid = GetCurrentCommandId(true);
	table->info = dtm_init_result_relation(table->estate, table->relation,
										   updated_columns(ncolumns));
	prepare_defaults(table);
	ExecOpenIndices(table->info, false);
	dtm_eval_plan_qual_init(&table->epq, table->estate);
	table->changed = ExecInitExtraTupleSlot(table->estate,
											RelationGetDescr(table->relation),
											&TTSOpsVirtual);
}

void
tables_start(Tables *tables)
{
	PushActiveSnapshot(GetLatestSnapshot());
	for (Table *table = tables->first; table != NULL; table = table->next)
		table->estate->es_snapshot = GetActiveSnapshot();
}

static void
close_table(Table *table)
{
	if (table->scan != NULL)
	{
		index_endscan(table->scan);
		index_close(table->primary_key, NoLock);
	}
	if (table->info != NULL)
	{
		EvalPlanQualEnd(&table->epq);
		ExecCloseIndices(table->info);
	}
	ExecResetTupleTable(table->estate->es_tupleTable, false);
	FreeExecutorState(table->estate);
	table_close(table->relation, NoLock);
}

void
tables_close(Tables *tables)
{
	for (Table *table = tables->first; table != NULL; table = table->next)
		close_table(table);
	PopActiveSnapshot();
	MemoryContextSwitchTo(tables->before);
	MemoryContextDelete(tables->context);
	own_leave_settings(tables->nest_level);
	owner_leave(&tables->session);
	if (tables->wrote)
		CommandCounterIncrement();
}

static void
begin_scan(Table *table, int nkeys)
{
	Oid			index = dtm_primary_key(table->relation);

	if (!OidIsValid(index))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("table \"dtm.%s\" has no primary key",
						RelationGetRelationName(table->relation)),
				 errhint("Run ALTER TABLE dtm.%s ADD PRIMARY KEY (id).",
						 RelationGetRelationName(table->relation))));
	table->primary_key = index_open(index, AccessShareLock);
	table->scan = dtm_index_beginscan(table->relation, table->primary_key,
									  table->estate->es_snapshot, nkeys, 0);
}

static bool
find(Table *table, ScanKey keys, int nkeys)
{
	if (table->scan == NULL)
		begin_scan(table, nkeys);
	/* a page that is still pinned can't be pruned */
	ExecClearTuple(table->row);
	index_rescan(table->scan, keys, nkeys, NULL, 0);
	if (!index_getnext_slot(table->scan, ForwardScanDirection, table->row))
		return false;
	slot_getallattrs(table->row);
	return true;
}

bool
tab_find(Table *table, int64 id)
{
	ScanKeyData key;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	return find(table, &key, 1);
}

bool
tab_find_of(Table *table, int64 id, int16 second)
{
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT2EQ, Int16GetDatum(second));
	return find(table, keys, 2);
}

TabLock
tab_lock(Table *table)
{
	TM_FailureData failure;
	TM_Result	result = table_tuple_lock(table->relation, &table->row->tts_tid,
										  table->estate->es_snapshot, table->row,
										  GetCurrentCommandId(false),
										  LockTupleExclusive, LockWaitSkip, 0,
										  &failure);

	if (result == TM_WouldBlock)
		return TAB_BUSY;
	if (result != TM_Ok)
		return TAB_CHANGED;
	slot_getallattrs(table->row);
	return TAB_LOCKED;
}

/* The first of several that is in progress. */
static TransactionId
first_member(MultiXactId multi, bool only_locked)
{
	MultiXactMember *members;
	int			n = GetMultiXactIdMembers(multi, &members, false, only_locked);

	for (int i = 0; i < n; i++)
		if (TransactionIdIsInProgress(members[i].xid))
			return members[i].xid;
	return InvalidTransactionId;
}

TransactionId
tab_holder(Table *table)
{
	BufferHeapTupleTableSlot *slot = (BufferHeapTupleTableSlot *) table->row;
	HeapTupleHeader header;
	TransactionId xmax;
	uint16		infomask;

	if (!TTS_IS_BUFFERTUPLE(table->row) || !BufferIsValid(slot->buffer))
		return InvalidTransactionId;
	header = slot->base.tuple->t_data;
	LockBuffer(slot->buffer, BUFFER_LOCK_SHARE);
	xmax = HeapTupleHeaderGetRawXmax(header);
	infomask = header->t_infomask;
	LockBuffer(slot->buffer, BUFFER_LOCK_UNLOCK);
	if (infomask & HEAP_XMAX_INVALID)
		return InvalidTransactionId;
	return infomask & HEAP_XMAX_IS_MULTI ?
		first_member(xmax, HEAP_XMAX_IS_LOCKED_ONLY(infomask)) : xmax;
}

void
tab_make(Table *table)
{
	int			natts = table->changed->tts_tupleDescriptor->natts;

	ExecClearTuple(table->changed);
	memset(table->changed->tts_isnull, true, sizeof(bool) * natts);
	if (table->defaults == NULL)
		return;
	for (int i = table->ncolumns; i < natts; i++)
		if (table->defaults[i] != NULL)
			table->changed->tts_values[i] =
				ExecEvalExpr(table->defaults[i], GetPerTupleExprContext(table->estate),
							 &table->changed->tts_isnull[i]);
}

void
tab_change(Table *table)
{
	int			natts = table->changed->tts_tupleDescriptor->natts;

	ExecClearTuple(table->changed);
	memcpy(table->changed->tts_values, table->row->tts_values, sizeof(Datum) * natts);
	memcpy(table->changed->tts_isnull, table->row->tts_isnull, sizeof(bool) * natts);
}

/* Around a row that is written: what triggers have to do, they do at its end. */
static void
begin_write(Table *table)
{
	ResetPerTupleExprContext(table->estate);
	AfterTriggerBeginQuery();
}

static void
end_write(Table *table)
{
	AfterTriggerEndQuery(table->estate);
}

void
tab_insert(Table *table)
{
	begin_write(table);
	ExecStoreVirtualTuple(table->changed);
	ExecSimpleRelationInsert(table->info, table->estate, table->changed);
	end_write(table);
}

bool
tab_update(Table *table)
{
	begin_write(table);
	ExecStoreVirtualTuple(table->changed);
	ExecSimpleRelationUpdate(table->info, table->estate, &table->epq, table->row,
							 table->changed);
	end_write(table);
	return ItemPointerIsValid(&table->changed->tts_tid);
}

void
tab_delete(Table *table)
{
	begin_write(table);
	ExecSimpleRelationDelete(table->info, table->estate, &table->epq, table->row);
	end_write(table);
}
