/*
 * table.c
 *		Rows of dtm's tables without SQL, for what the coordinator does with
 *		every call: to start and run statements for that took a quarter of its
 *		time (docs/performance.md).
 *
 * Rows are found by their primary key, and written with the functions that
 * the apply worker of logical replication writes with: indexes, constraints
 * and triggers that somebody has added to the tables work as with SQL.
 */
#include "private.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

static Relation
open_relation(const char *name, int ncolumns, LOCKMODE lock)
{
	Oid			oid = RangeVarGetRelid(makeRangeVar("dtm", pstrdup(name), -1), lock, true);
	Relation	relation;

	if (!OidIsValid(oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table dtm.%s does not exist", name),
				 errhint("Run CREATE EXTENSION dtm.")));
	relation = table_open(oid, NoLock);
	if (RelationGetNumberOfAttributes(relation) < ncolumns)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("table dtm.%s has not the columns that the extension has made it with", name)));
	return relation;
}

void
tables_open(Tables *tables)
{
	check_version();
	owner_enter(&tables->session);
	tables->first = NULL;
	tables->wrote = false;
	tables->context = AllocSetContextCreate(CurrentMemoryContext, "dtm tables",
											ALLOCSET_DEFAULT_SIZES);
	tables->before = MemoryContextSwitchTo(tables->context);
	PushActiveSnapshot(GetLatestSnapshot());
}

void
tab_open(Tables *tables, Table *table, const char *name, int ncolumns, bool write)
{
	table->next = tables->first;
	tables->first = table;
	table->relation = open_relation(name, ncolumns,
									write ? RowExclusiveLock : AccessShareLock);
	table->estate = CreateExecutorState();
	table->estate->es_snapshot = GetActiveSnapshot();
	table->row = table_slot_create(table->relation, &table->estate->es_tupleTable);
	table->scan = NULL;
	table->info = NULL;
	if (!write)
		return;
	tables->wrote = true;
	table->estate->es_output_cid = GetCurrentCommandId(true);
	table->info = dtm_init_result_relation(table->estate, table->relation);
	ExecOpenIndices(table->info, false);
	dtm_eval_plan_qual_init(&table->epq, table->estate);
	table->changed = ExecInitExtraTupleSlot(table->estate,
											RelationGetDescr(table->relation),
											&TTSOpsVirtual);
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
	owner_leave(&tables->session);
	if (tables->wrote)
		CommandCounterIncrement();
}

static void
begin_scan(Table *table)
{
	Oid			index = dtm_primary_key(table->relation);

	if (!OidIsValid(index))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("table dtm.%s has no primary key",
						RelationGetRelationName(table->relation))));
	table->primary_key = index_open(index, AccessShareLock);
	table->scan = dtm_index_beginscan(table->relation, table->primary_key,
									  table->estate->es_snapshot, 1, 0);
}

bool
tab_find(Table *table, int64 id)
{
	ScanKeyData key;

	if (table->scan == NULL)
		begin_scan(table);
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	index_rescan(table->scan, &key, 1, NULL, 0);
	if (!index_getnext_slot(table->scan, ForwardScanDirection, table->row))
		return false;
	slot_getallattrs(table->row);
	return true;
}

bool
tab_lock(Table *table)
{
	TM_FailureData failure;
	TM_Result	result = table_tuple_lock(table->relation, &table->row->tts_tid,
										  table->estate->es_snapshot, table->row,
										  GetCurrentCommandId(false),
										  LockTupleExclusive, LockWaitSkip, 0,
										  &failure);

	if (result != TM_Ok)
		return false;
	slot_getallattrs(table->row);
	return true;
}

void
tab_make(Table *table)
{
	ExecClearTuple(table->changed);
	memset(table->changed->tts_isnull, true,
		   sizeof(bool) * table->changed->tts_tupleDescriptor->natts);
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
	dtm_simple_insert(table->info, table->estate, table->changed);
	end_write(table);
}

void
tab_update(Table *table)
{
	begin_write(table);
	ExecStoreVirtualTuple(table->changed);
	dtm_simple_update(table->info, table->estate, &table->epq, table->row,
					  table->changed);
	end_write(table);
}

void
tab_delete(Table *table)
{
	begin_write(table);
	dtm_simple_delete(table->info, table->estate, &table->epq, table->row);
	end_write(table);
}
