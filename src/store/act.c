/*
 * act.c
 *		What operators have done to global transactions: dtm.act.
 */
#include "private.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

/*
 * The row of the transaction is locked, so the ordinals are taken one after another.
 */
void
store_add_act(int64 id, const char *what, StoreActOf of, const char *reason, Jsonb *detail)
{
	static Statement statement = {
		"INSERT INTO dtm.act (id, ordinal, done, role, what, branch, reason, detail, whole_branch) "
		"SELECT $1, COALESCE(pg_catalog.max(a.ordinal), 0) OPERATOR(pg_catalog.+) 1, $2, "
		"dtm.submitter($3), $4, $5, $6, $7, $8 FROM dtm.act a WHERE a.id" EQUALS "$1",
		8, {INT8OID, TIMESTAMPTZOID, OIDOID, TEXTOID, INT2OID, TEXTOID, JSONBOID, BOOLOID}, true
	};
	Datum		values[8];
	char		nulls[] = "        ";
	Session		session;

	values[0] = Int64GetDatum(id);
	values[1] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[2] = ObjectIdGetDatum(GetUserId());
	values[3] = CStringGetTextDatum(what);
	values[4] = Int16GetDatum((int16) of.op);
	if (of.op < 0)
		nulls[4] = 'n';
	values[5] = reason != NULL ? CStringGetTextDatum(reason) : (Datum) 0;
	if (reason == NULL)
		nulls[5] = 'n';
	values[6] = PointerGetDatum(detail);
	if (detail == NULL)
		nulls[6] = 'n';
	values[7] = BoolGetDatum(true);
	if (!of.whole_branch)
		nulls[7] = 'n';
	statement_enter(&session);
	statement_run(&statement, values, nulls);
	statement_leave(&session);
}

bool
store_lock_finished(int64 id)
{
	static Statement statement = {
		"SELECT f.id FROM dtm.finished f WHERE f.id" EQUALS "$1 FOR UPDATE",
		1, {INT8OID}, true
	};
	Datum		values[1];
	Session		session;
	bool		found;

	values[0] = Int64GetDatum(id);
	statement_enter(&session);
	statement_run(&statement, values, NULL);
	found = SPI_processed > 0;
	statement_leave(&session);
	return found;
}
