/*
 * result.c
 *		The results of branches.
 *
 * A result is written in the commit that makes its branch succeed, while the row of
 * the transaction is locked.  So nobody else adds one for the same branch meanwhile.
 */
#include "private.h"

static const Oid result_types[RESULT_NOTE] = {
	INT8OID, INT2OID, BOOLOID, JSONBOID, TEXTOID
};

void
store_add_results(const StoreResult *results, int n)
{
	Tables		tables;
	Table		table;

	if (n == 0)
		return;
	tables_open(&tables);
	tab_open(&tables, &table, "result", result_types, lengthof(result_types), true);
	tables_start(&tables);
	for (int i = 0; i < n; i++)
	{
		const StoreResult *result = &results[i];

		if (tab_find_of(&table, result->id, (int16) result->op))
			continue;
		tab_make(&table);
		tab_set(&table, RESULT_ID, Int64GetDatum(result->id));
		tab_set(&table, RESULT_BRANCH, Int16GetDatum((int16) result->op));
		tab_set(&table, RESULT_OK, BoolGetDatum(result->ok));
		if (result->value != NULL)
			tab_set(&table, RESULT_RESULT, JsonbPGetDatum(result->value));
		if (result->note != NULL)
			tab_set(&table, RESULT_NOTE, CStringGetTextDatum(result->note));
		tab_insert(&table);
	}
	tables_close(&tables);
}

/* The row that was found, in a memory context. */
static void
read_row(const Table *table, MemoryContext context, StoreResult *result)
{
	const Datum *values = table->row->tts_values;
	const bool *nulls = table->row->tts_isnull;
	MemoryContext before = MemoryContextSwitchTo(context);

	result->ok = DatumGetBool(values[RESULT_OK - 1]);
	result->value = nulls[RESULT_RESULT - 1] ? NULL :
		DatumGetJsonbPCopy(values[RESULT_RESULT - 1]);
	result->note = nulls[RESULT_NOTE - 1] ? NULL :
		TextDatumGetCString(values[RESULT_NOTE - 1]);
	MemoryContextSwitchTo(before);
}

bool
store_find_result(int64 id, int op, StoreResult *result)
{
	MemoryContext context = CurrentMemoryContext;
	Tables		tables;
	Table		table;
	bool		found;

	tables_open(&tables);
	tab_open(&tables, &table, "result", result_types, lengthof(result_types), false);
	tables_start(&tables);
	found = tab_find_of(&table, id, (int16) op);
	result->id = id;
	result->op = op;
	if (found)
		read_row(&table, context, result);
	tables_close(&tables);
	return found;
}

void
store_copy_results(int64 from, int64 to)
{
	static Statement statement = {
		"INSERT INTO dtm.result (id, branch, ok, result, note) "
		"SELECT $2, branch, ok, result, note FROM dtm.result WHERE id" EQUALS "$1 AND ok",
		2, {INT8OID, INT8OID}, true
	};
	Datum		values[2] = {Int64GetDatum(from), Int64GetDatum(to)};
	Session		session;

	statement_enter(&session);
	statement_run(&statement, values, NULL);
	statement_leave(&session);
}

void
store_remove_failures(const Transaction *trans)
{
	static Statement statement = {
		"DELETE FROM dtm.result WHERE id" EQUALS "$1 AND NOT ok "
		"AND branch OPERATOR(pg_catalog.=) ANY ($2)",
		2, {INT8OID, INT2ARRAYOID}, true
	};
	const DtmTrans *core = &trans->core;
	Datum	   *ops = palloc(sizeof(Datum) * (core->nops + 1));
	int			n = 0;
	Datum		values[2];
	Session		session;

	for (int op = 0; op < core->nops; op++)
		if (core->ops[op].status != DTM_BRANCH_FAILED &&
			core->ops[op].completed == DTM_COMPLETED_NOT)
			ops[n++] = Int16GetDatum((int16) op);
	if (n == 0)
		return;
	values[0] = Int64GetDatum(trans->id);
	values[1] = array_of(ops, NULL, n, INT2OID);
	statement_enter(&session);
	statement_run(&statement, values, NULL);
	statement_leave(&session);
}
