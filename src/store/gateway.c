/*
 * gateway.c
 *		What the network API reads and writes beside the transactions: tokens,
 *		how far a pass has come, and the answers that SQL makes.
 */
#include "private.h"

#include "access/xact.h"
#include "utils/acl.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

Oid
store_token_role(bytea *hash)
{
	static Statement statement = {
		"SELECT t.role FROM dtm.api_token t WHERE t.hash" EQUALS "$1 "
		"AND (t.expires IS NULL OR t.expires OPERATOR(pg_catalog.>) $2)",
		2, {BYTEAOID, TIMESTAMPTZOID}, true
	};
	Datum		values[2];
	Session		session;
	Oid			role = InvalidOid;

	values[0] = PointerGetDatum(hash);
	values[1] = TimestampTzGetDatum(GetCurrentTimestamp());
	statement_enter(&session);
	statement_run(&statement, values, NULL);
	if (SPI_processed > 0)
	{
		Row			row;
		bool		isnull;

		result_row(0, &row);
		role = submitter_role(column_datum(&row, 1, &isnull));
	}
	statement_leave(&session);
	return role;
}

void
store_token_add(bytea *hash, Oid role, TimestampTz expires, const char *note)
{
	static Statement statement = {
		"INSERT INTO dtm.api_token (hash, role, created, expires, note) "
		"VALUES ($1, dtm.submitter($2), $3, $4, $5)",
		5, {BYTEAOID, OIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID}
	};
	Datum		values[5];
	Session		session;

	values[0] = PointerGetDatum(hash);
	values[1] = ObjectIdGetDatum(role);
	values[2] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[3] = TimestampTzGetDatum(expires);
	values[4] = CStringGetTextDatum(note);
	statement_enter(&session);
	statement_run(&statement, values, expires == DT_NOEND ? "   n " : NULL);
	statement_leave(&session);
}

Oid
store_role_without(Oid function, Oid role)
{
	static Statement statement = {
		"SELECT r.oid FROM pg_catalog.pg_roles r WHERE NOT r.rolsuper "
		"AND pg_catalog.has_function_privilege(r.oid, $1, 'EXECUTE') "
		"ORDER BY r.rolcanlogin DESC, r.oid",
		1, {OIDOID}, true
	};
	Datum		values[1];
	Session		session;
	Oid			found = InvalidOid;
	bool		able = false;

	values[0] = ObjectIdGetDatum(function);
	statement_enter(&session);
	statement_run(&statement, values, NULL);
	for (uint64 i = 0; i < SPI_processed && !able; i++)
	{
		Row			row;
		bool		isnull;
		Oid			other;

		result_row(i, &row);
		other = DatumGetObjectId(column_datum(&row, 1, &isnull));
		if (!OidIsValid(found))
			found = other;
		able = dtm_can_become(other, role);
	}
	statement_leave(&session);
	return able ? InvalidOid : found;
}

char *
store_gateway_call(const char *op, Jsonb *arguments)
{
	static Statement statement = {
		"SELECT dtm.gateway_call($1, $2)",
		2, {TEXTOID, JSONBOID}, true
	};
	MemoryContext context = CurrentMemoryContext;
	Datum		values[2];
	Session		session;
	char	   *answer;

	values[0] = CStringGetTextDatum(op);
	values[1] = PointerGetDatum(arguments);
	statement_enter(&session);
	/* not as the owner: whoever asks has to have the rights */
	owner_leave(&session);
	statement_run(&statement, values, arguments == NULL ? " n" : NULL);

	/*
	 * result_row() is not for here: that function may have run statements of
	 * ours
	 */
	answer = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	if (answer != NULL)
		answer = MemoryContextStrdup(context, answer);
	owner_enter(&session);
	statement_leave(&session);
	return answer;
}

static DtmResult
result_of_letter(char letter)
{
	for (DtmResult result = DTM_RESULT_FAILURE; result <= DTM_RESULT_PERMANENT; result++)
		if (letter == dtm_result_letter(result))
			return result;
	return DTM_RESULT_SUCCESS;
}

bool
store_pass(int64 id, StorePass *pass)
{
	static Statement statement = {
		"SELECT r.submitted_by, r.trans_type, COALESCE(a.status, f.status), "
		"COALESCE(a.rollback_reason, f.rollback_reason), "
		"COALESCE(a.next_time OPERATOR(pg_catalog.>) $2, false), t.result, t.error "
		"FROM dtm.request r "
		"LEFT JOIN dtm.active a ON a.id" EQUALS "r.id "
		"LEFT JOIN dtm.finished f ON f.id" EQUALS "r.id "
		"LEFT JOIN LATERAL (SELECT l.result, l.error FROM dtm.attempt l "
		"WHERE l.id" EQUALS "a.id ORDER BY l.started DESC LIMIT 1) t ON true "
		"WHERE r.id" EQUALS "$1",
		2, {INT8OID, TIMESTAMPTZOID}, true
	};
	MemoryContext context = CurrentMemoryContext;
	Datum		values[2];
	Session		session;
	bool		found = false;

	values[0] = Int64GetDatum(id);
	values[1] = TimestampTzGetDatum(GetCurrentTimestamp());
	statement_enter(&session);
	statement_run(&statement, values, NULL);
	if (SPI_processed > 0)
	{
		MemoryContext before;
		Row			row;
		bool		isnull;
		char	   *reason;
		char	   *error;

		result_row(0, &row);
		reason = column_text(&row, 4);
		error = column_text(&row, 7);
		before = MemoryContextSwitchTo(context);
		pass->submitted_by = submitter_role(column_datum(&row, 1, &isnull));
		found = dtm_trans_type_of_letter(column_char(&row, 2), &pass->type) &&
			dtm_status_of_letter(column_char(&row, 3), &pass->status);
		pass->reason = pstrdup(reason ? reason : "");
		pass->put_off = column_bool(&row, 5);
		pass->result = result_of_letter(column_char(&row, 6));
		pass->error = pstrdup(error ? error : "");
		MemoryContextSwitchTo(before);
	}
	statement_leave(&session);
	return found;
}
