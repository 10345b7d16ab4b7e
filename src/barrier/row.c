/*
 * row.c
 *		Rows of dtm_barrier.barrier, with SQL and without.
 *
 * INSERT ... ON CONFLICT DO NOTHING is all that a barrier needs.  But each
 * branch of each service has one, and to start a statement, and to look for
 * the row before it is inserted, is half of what it costs (docs/performance.md).
 * So a row that is hardly there is inserted first, the way such an INSERT does
 * it: speculatively, to be taken back at once if the row is there after all.
 * Then, or where the table is not quite what the extension has made it, SQL
 * has the say.
 */
#include "row.h"

#include "compat.h"
#include "transaction.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/fmgroids.h"
#include "utils/timestamp.h"

/* Columns, in the order of CREATE TABLE. */
enum
{
	B_ID, B_TRANS_TYPE, B_GID, B_BRANCH_ID, B_OP, B_BARRIER_ID, B_REASON,
	B_CREATE_TIME, B_UPDATE_TIME, B_NCOLUMNS
};

#define UNIQUE_INDEX "uniq_barrier"

/* ---------- with SQL ---------- */

static void
run(SPIPlanPtr *plan, const char *sql, int n, Datum *values)
{
	static Oid	types[6] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID};
	int			rc;

	if (*plan == NULL)
	{
		SPIPlanPtr	prepared = SPI_prepare(sql, n, types);

		if (prepared == NULL)
			elog(ERROR, "SPI_prepare failed: %s",
				 SPI_result_code_string(SPI_result));
		SPI_keepplan(prepared);
		*plan = prepared;
	}
	rc = SPI_execute_plan(*plan, values, NULL, false, 0);
	if (rc < 0)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(rc));
}

bool
barrier_row_insert(const BarrierRow *row)
{
	static SPIPlanPtr plan = NULL;
	Datum		values[6];
	bool		inserted;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	values[0] = CStringGetTextDatum(row->trans_type);
	values[1] = CStringGetTextDatum(row->gid);
	values[2] = CStringGetTextDatum(row->branch_id);
	values[3] = CStringGetTextDatum(row->op);
	values[4] = CStringGetTextDatum(row->barrier_id);
	values[5] = CStringGetTextDatum(row->reason);
	run(&plan,
		"INSERT INTO dtm_barrier.barrier (trans_type, gid, "
		"branch_id, op, barrier_id, reason, create_time, update_time) "
		"VALUES ($1, $2, $3, $4, $5, $6, pg_catalog.now(), pg_catalog.now()) "
		"ON CONFLICT ON CONSTRAINT " UNIQUE_INDEX " DO NOTHING",
		6, values);
	inserted = SPI_processed > 0;
	SPI_finish();
	return inserted;
}

char *
barrier_row_reason(const BarrierRow *key)
{
	static SPIPlanPtr plan = NULL;
	MemoryContext before = CurrentMemoryContext;
	Datum		values[4];
	char	   *reason = NULL;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	values[0] = CStringGetTextDatum(key->gid);
	values[1] = CStringGetTextDatum(key->branch_id);
	values[2] = CStringGetTextDatum(key->op);
	values[3] = CStringGetTextDatum(key->barrier_id);
	run(&plan,
		"SELECT b.reason FROM dtm_barrier.barrier b "
		"WHERE b.gid OPERATOR(pg_catalog.=) $1 "
		"AND b.branch_id OPERATOR(pg_catalog.=) $2 "
		"AND b.op OPERATOR(pg_catalog.=) $3 "
		"AND b.barrier_id OPERATOR(pg_catalog.=) $4",
		4, values);
	if (SPI_processed > 0)
	{
		reason = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
		if (reason != NULL)
			reason = MemoryContextStrdup(before, reason);
	}
	SPI_finish();
	return reason;
}

/* ---------- without ---------- */

/* The sequence whose next value is the default of id; InvalidOid: it is something else. */
static Oid
id_sequence(TupleDesc desc)
{
	static char *known = NULL;	/* the expression that was read last */
	static Oid	sequence;
	const char *expression = NULL;
	Node	   *node;

	for (int i = 0; desc->constr != NULL && i < desc->constr->num_defval; i++)
		if (desc->constr->defval[i].adnum == B_ID + 1)
			expression = desc->constr->defval[i].adbin;
	if (expression == NULL)
		return InvalidOid;
	if (known != NULL && strcmp(known, expression) == 0)
		return sequence;

	node = stringToNode(expression);
	if (known != NULL)
		pfree(known);
	known = NULL;
	sequence = InvalidOid;
	if (IsA(node, FuncExpr) && ((FuncExpr *) node)->funcid == F_NEXTVAL)
	{
		Node	   *argument = linitial(((FuncExpr *) node)->args);

		if (IsA(argument, Const) && !((Const *) argument)->constisnull)
			sequence = DatumGetObjectId(((Const *) argument)->constvalue);
	}
	known = MemoryContextStrdup(TopMemoryContext, expression);
	return sequence;
}

/* May we insert, and is there nothing that an INSERT would have to see to, but indexes? */
static bool
is_plain(Relation relation)
{
	static const struct
	{
		Oid			type;
		int32		typmod;
	}			columns[B_NCOLUMNS] = {
		{INT8OID, -1},
		{VARCHAROID, VARHDRSZ + BARRIER_OTHER_CHARS},
		{VARCHAROID, VARHDRSZ + DTM_MAX_GID_CHARS},
		{VARCHAROID, VARHDRSZ + BARRIER_BRANCH_ID_CHARS},
		{VARCHAROID, VARHDRSZ + BARRIER_OTHER_CHARS},
		{VARCHAROID, VARHDRSZ + BARRIER_OTHER_CHARS},
		{VARCHAROID, VARHDRSZ + BARRIER_OTHER_CHARS},
		{TIMESTAMPTZOID, 0},
		{TIMESTAMPTZOID, 0}
	};
	TupleDesc	desc = RelationGetDescr(relation);

	if (pg_class_aclcheck(RelationGetRelid(relation), GetUserId(), ACL_INSERT) != ACLCHECK_OK ||
		relation->rd_rel->relkind != RELKIND_RELATION ||
		relation->rd_rel->relispartition || relation->rd_rel->relrowsecurity ||
		relation->rd_tableam != GetHeapamTableAmRoutine() ||
		relation->rd_rules != NULL || relation->trigdesc != NULL ||
		desc->natts != B_NCOLUMNS ||
		(desc->constr != NULL && desc->constr->num_check > 0))
		return false;
	for (int i = 0; i < B_NCOLUMNS; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);

		if (column->atttypid != columns[i].type || column->atttypmod != columns[i].typmod ||
			column->attgenerated != '\0')
			return false;
	}
	return true;
}

/* Is an index one of these columns, of all rows? */
static bool
has_columns(Relation index, const AttrNumber *columns, int n)
{
	Form_pg_index form = index->rd_index;

	if (form->indnkeyatts != n || !heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL))
		return false;
	for (int i = 0; i < n; i++)
		if (form->indkey.values[i] != columns[i])
			return false;
	return true;
}

/*
 * The index that says whether a row is there; InvalidOid: it is not as it was
 * made, or there are others that a row may be in conflict with.  SQL looks at
 * them in the right order and, while an index is built concurrently or has been
 * left behind by that, knows which one counts.
 */
static Oid
unique_index(const ResultRelInfo *info)
{
	static const AttrNumber id[] = {B_ID + 1};
	static const AttrNumber key[] = {B_GID + 1, B_BRANCH_ID + 1, B_OP + 1, B_BARRIER_ID + 1};
	Oid			found = InvalidOid;

	for (int i = 0; i < info->ri_NumIndices; i++)
	{
		Relation	index = info->ri_IndexRelationDescs[i];
		Form_pg_index form = index->rd_index;

		if ((!form->indisunique && !form->indisexclusion) ||
			(form->indisprimary && has_columns(index, id, lengthof(id))))
			continue;
		if (strcmp(RelationGetRelationName(index), UNIQUE_INDEX) != 0 ||
			!form->indisunique || !form->indimmediate || !form->indisvalid ||
			!has_columns(index, key, lengthof(key)))
			return InvalidOid;
		found = form->indexrelid;
	}
	return found;
}

static void
fill(TupleTableSlot *slot, Oid sequence, const BarrierRow *row)
{
	Datum		now = DirectFunctionCall2(timestamptz_scale,
										  TimestampTzGetDatum(GetCurrentTransactionStartTimestamp()),
										  Int32GetDatum(0));
	Datum	   *values = slot->tts_values;

	memset(slot->tts_isnull, false, sizeof(bool) * B_NCOLUMNS);
	values[B_ID] = DirectFunctionCall1(nextval_oid, ObjectIdGetDatum(sequence));
	values[B_TRANS_TYPE] = CStringGetTextDatum(row->trans_type);
	values[B_GID] = CStringGetTextDatum(row->gid);
	values[B_BRANCH_ID] = CStringGetTextDatum(row->branch_id);
	values[B_OP] = CStringGetTextDatum(row->op);
	values[B_BARRIER_ID] = CStringGetTextDatum(row->barrier_id);
	values[B_REASON] = CStringGetTextDatum(row->reason);
	values[B_CREATE_TIME] = now;
	values[B_UPDATE_TIME] = now;
	ExecStoreVirtualTuple(slot);
}

/* What ExecInsert() does for ON CONFLICT; false: it is there, or is being inserted. */
static bool
insert_speculatively(EState *estate, ResultRelInfo *info, TupleTableSlot *slot, Oid index)
{
	Relation	relation = info->ri_RelationDesc;
	TransactionId xid = GetCurrentTransactionId();
	bool		conflict = false;
	uint32		token = SpeculativeInsertionLockAcquire(xid);

	table_tuple_insert_speculative(relation, slot, estate->es_output_cid, 0, NULL, token);
	(void) dtm_insert_index_tuples(info, slot, estate, &conflict, list_make1_oid(index));
	table_tuple_complete_speculative(relation, slot, token, !conflict);
	/* who has met our row, and waits to see whether it stays */
	SpeculativeInsertionLockRelease(xid);
	return !conflict;
}

/* False: it may be there; or it has to be done with SQL. */
static bool
try_insert(const BarrierRow *row)
{
	Oid			oid = RangeVarGetRelid(makeRangeVar("dtm_barrier", "barrier", -1),
									   RowExclusiveLock, true);
	bool		inserted = false;
	Relation	relation;
	Oid			sequence;

	if (!OidIsValid(oid))
		return false;
	relation = table_open(oid, NoLock);
	sequence = is_plain(relation) ? id_sequence(RelationGetDescr(relation)) : InvalidOid;
	if (OidIsValid(sequence))
	{
		EState	   *estate = CreateExecutorState();
		ResultRelInfo *info = dtm_init_result_relation(estate, relation, NULL);
		TupleTableSlot *slot = ExecInitExtraTupleSlot(estate, RelationGetDescr(relation),
													  &TTSOpsVirtual);
		Oid			index;

		estate->es_output_cid = GetCurrentCommandId(true);
		ExecOpenIndices(info, false);
		index = unique_index(info);
		if (OidIsValid(index))
		{
			fill(slot, sequence, row);
			inserted = insert_speculatively(estate, info, slot, index);
		}
		ExecCloseIndices(info);
		ExecResetTupleTable(estate->es_tupleTable, false);
		FreeExecutorState(estate);
		CommandCounterIncrement();
	}
	table_close(relation, NoLock);
	return inserted;
}

bool
barrier_row_insert_new(const BarrierRow *row)
{
	/* SQL knows why it may not write */
	if (!XactReadOnly && !IsInParallelMode() && try_insert(row))
		return true;
	return barrier_row_insert(row);
}
