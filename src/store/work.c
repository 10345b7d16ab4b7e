/*
 * work.c
 *		The store for the coordinator: many transactions at a time.
 */
#include "private.h"

#include "miscadmin.h"

void
store_own_session(void)
{
	/* what a database or role may have set for ordinary sessions */
	static const struct
	{
		const char *name;
		const char *value;
	}			settings[] = {
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"statement_timeout", "0"},
		{"lock_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		DTM_MORE_SETTINGS
		{"jit", "off"}
	};

	for (size_t i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i].name, settings[i].value,
								 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SET,
								 true, 0, false);
	statement_own_settings();
}

/* Rows of the last statement into transactions, each in its own context. */
static void
decode_rows(StoreLoad *load, MemoryContext parent, MemoryContext result_context)
{
	uint64		n = SPI_processed;
	MemoryContext before = MemoryContextSwitchTo(result_context);

	memset(load, 0, sizeof(*load));
	load->nrows = (int) n;
	load->trans = palloc(sizeof(StoreTrans *) * (n + 1));
	load->context = palloc(sizeof(MemoryContext) * (n + 1));
	load->bad_id = palloc(sizeof(int64) * (n + 1));
	load->bad_error = palloc(sizeof(char *) * (n + 1));
	for (uint64 row = 0; row < n; row++)
	{
		MemoryContext context = AllocSetContextCreate(parent, "dtm transaction",
													  ALLOCSET_SMALL_SIZES);
		const char *problem;
		StoreTrans *trans;

		MemoryContextSwitchTo(context);
		trans = row_decode(row, &problem);
		MemoryContextSwitchTo(result_context);
		if (trans != NULL)
		{
			load->trans[load->n] = trans;
			load->context[load->n++] = context;
		}
		else
		{
			load->bad_id[load->nbad] = column_int64(row, C_ID);
			load->bad_error[load->nbad++] = pstrdup(problem);
			MemoryContextDelete(context);
		}
	}
	if (n > 0)
	{
		load->last.time = column_int64(n - 1, C_NEXT_TIME);
		load->last.id = column_int64(n - 1, C_ID);
	}
	MemoryContextSwitchTo(before);
}

/* dtm_in_share() */
#define IN_SHARE(of, number) \
	"AND a.id % " CppAsString2(DTM_SHARE_UNITS) " % " of " = " number " "

void
store_load_due(DtmShare share, TimestampTz now, StorePosition after, int max,
			   MemoryContext parent, StoreLoad *load)
{
	static Statement statement = {
		"SELECT " REQUEST_COLUMNS ACTIVE_COLUMNS
		"FROM dtm.active a JOIN dtm.request r ON r.id = a.id "
		"WHERE (a.next_time, a.id) > ($1, $2) AND a.next_time <= $3 "
		IN_SHARE("$4", "$5")
		"ORDER BY a.next_time, a.id LIMIT $6",
		6, {TIMESTAMPTZOID, INT8OID, TIMESTAMPTZOID, INT8OID, INT8OID, INT8OID}
	};
	MemoryContext context = CurrentMemoryContext;
	Session		session;
	Datum		values[6];

	values[0] = TimestampTzGetDatum(after.time);
	values[1] = Int64GetDatum(after.id);
	values[2] = TimestampTzGetDatum(now);
	values[3] = Int64GetDatum(share.of);
	values[4] = Int64GetDatum(share.number);
	values[5] = Int64GetDatum(max);
	statement_enter(&session);
	statement_run(&statement, values, NULL);
	decode_rows(load, parent, context);
	statement_leave(&session);
}

void
store_load_ids(const int64 *ids, int n, MemoryContext parent, StoreLoad *load)
{
	static Statement statement = {
		"SELECT " REQUEST_COLUMNS ACTIVE_COLUMNS
		"FROM unnest($1) u(id) "
		"JOIN dtm.active a ON a.id = u.id JOIN dtm.request r ON r.id = u.id",
		1, {INT8ARRAYOID}
	};
	MemoryContext context = CurrentMemoryContext;
	Datum	   *elements = palloc(sizeof(Datum) * (n + 1));
	Session		session;
	Datum		values[1];

	for (int i = 0; i < n; i++)
		elements[i] = Int64GetDatum(ids[i]);
	values[0] = array_of(elements, NULL, n, INT8OID);
	statement_enter(&session);
	statement_run(&statement, values, NULL);
	decode_rows(load, parent, context);
	statement_leave(&session);
}

int64
store_first_due(DtmShare share, TimestampTz now, StorePosition after)
{
	static Statement statement = {
		"SELECT a.id FROM dtm.active a "
		"WHERE (a.next_time, a.id) > ($1, $2) AND a.next_time <= $3 "
		IN_SHARE("$4", "$5")
		"ORDER BY a.next_time, a.id LIMIT 1",
		5, {TIMESTAMPTZOID, INT8OID, TIMESTAMPTZOID, INT8OID, INT8OID}
	};
	int64		id = 0;
	Session		session;
	Datum		values[5];

	values[0] = TimestampTzGetDatum(after.time);
	values[1] = Int64GetDatum(after.id);
	values[2] = TimestampTzGetDatum(now);
	values[3] = Int64GetDatum(share.of);
	values[4] = Int64GetDatum(share.number);
	statement_enter(&session);
	statement_run(&statement, values, NULL);
	if (SPI_processed > 0)
		id = column_int64(0, 1);
	statement_leave(&session);
	return id;
}

TimestampTz
store_next_deadline(DtmShare share, TimestampTz after)
{
	static Statement statement = {
		"SELECT a.next_time FROM dtm.active a "
		"WHERE a.next_time > $1 AND a.next_time < 'infinity' "
		IN_SHARE("$2", "$3")
		"ORDER BY a.next_time, a.id LIMIT 1",
		3, {TIMESTAMPTZOID, INT8OID, INT8OID}
	};
	TimestampTz deadline = DT_NOEND;
	Session		session;
	Datum		values[3];

	values[0] = TimestampTzGetDatum(after);
	values[1] = Int64GetDatum(share.of);
	values[2] = Int64GetDatum(share.number);
	statement_enter(&session);
	statement_run(&statement, values, NULL);
	if (SPI_processed > 0)
		deadline = column_int64(0, 1);
	statement_leave(&session);
	return deadline;
}

/*
 * The coordinator never waits for a row's lock: a session may hold one for as
 * long as it likes, and one may not stop all.  Locked rows are skipped.
 *
 * unnest() stands in select lists, where its rows are taken as they come; in
 * FROM each array is written to a tuplestore first.
 */
static Statement save_active_statement = {
	"WITH l AS MATERIALIZED (SELECT u.* FROM (SELECT unnest($1) AS id, "
	"unnest($2) AS version, unnest($3) AS status, unnest($4) AS branch_status, "
	"unnest($5) AS reason, unnest($6) AS next_time, unnest($7) AS failures, "
	"unnest($8) AS retries) u "
	"JOIN dtm.active a ON a.id = u.id AND a.version = u.version "
	"FOR UPDATE OF a SKIP LOCKED) "
	"UPDATE dtm.active a SET status = l.status, branch_status = l.branch_status, "
	"rollback_reason = NULLIF(l.reason, ''), next_time = l.next_time, "
	"failures = l.failures, retries = l.retries, updated = $9, "
	"version = a.version + 1 "
	"FROM l WHERE a.id = l.id RETURNING a.id",
	9,
	{INT8ARRAYOID, INT4ARRAYOID, CHARARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
	TIMESTAMPTZARRAYOID, INT2ARRAYOID, INT2ARRAYOID, TIMESTAMPTZOID}
};

static Statement save_finished_statement = {
	"WITH l AS MATERIALIZED (SELECT u.* FROM (SELECT unnest($1) AS id, "
	"unnest($2) AS version, unnest($3) AS status, unnest($4) AS branch_status, "
	"unnest($5) AS reason) u "
	"JOIN dtm.active a ON a.id = u.id AND a.version = u.version "
	"FOR UPDATE OF a SKIP LOCKED), "
	"d AS (DELETE FROM dtm.active a USING l WHERE a.id = l.id) "
	"INSERT INTO dtm.finished (id, finished, status, branch_status, rollback_reason) "
	"SELECT l.id, $6, l.status, l.branch_status, NULLIF(l.reason, '') FROM l "
	"RETURNING id",
	6,
	{INT8ARRAYOID, INT4ARRAYOID, CHARARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
	TIMESTAMPTZOID}
};

/* Runs one of the two for those of the transactions that are (not) final. */
static void
save_some(Statement *statement, bool final, StoreTrans **trans, int n,
		  TimestampTz now, bool *saved)
{
	enum
	{
		ID, VERSION, STATUS, BRANCHES, REASON, NEXT_TIME, FAILURES, RETRIES,
		NARRAYS
	};
	static const Oid types[NARRAYS] = {
		INT8OID, INT4OID, CHAROID, TEXTOID, TEXTOID, TIMESTAMPTZOID, INT2OID,
		INT2OID
	};
	int			narrays = final ? NEXT_TIME : NARRAYS;
	Datum	   *elements[NARRAYS];
	Datum		values[NARRAYS + 1];
	int			m = 0;

	for (int array = 0; array < NARRAYS; array++)
		elements[array] = palloc(sizeof(Datum) * n);
	for (int i = 0; i < n; i++)
	{
		const DtmTrans *core = &trans[i]->core;

		if (dtm_core_is_final(core->status) != final)
			continue;
		elements[ID][m] = Int64GetDatum(trans[i]->id);
		elements[VERSION][m] = Int32GetDatum(trans[i]->version);
		elements[STATUS][m] = CharGetDatum(dtm_status_letter(core->status));
		elements[BRANCHES][m] = CStringGetTextDatum(row_letters(core));
		elements[REASON][m] = CStringGetTextDatum(row_reason(core));
		elements[NEXT_TIME][m] = TimestampTzGetDatum(core->next_time);
		elements[FAILURES][m] = Int16GetDatum(Min(core->failures, PG_INT16_MAX));
		elements[RETRIES][m] = Int16GetDatum(Min(core->retries, PG_INT16_MAX));
		m++;
	}
	if (m == 0)
		return;
	for (int array = 0; array < narrays; array++)
		values[array] = array_of(elements[array], NULL, m, types[array]);
	values[narrays] = TimestampTzGetDatum(now);
	statement_run(statement, values, NULL);

	/* which were written: both lists are short, and in nearly the same order */
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		int64		id = column_int64(row, 1);

		for (int i = 0; i < n; i++)
		{
			int			at = (int) ((row + i) % n);

			if (trans[at]->id == id && !saved[at])
			{
				saved[at] = true;
				break;
			}
		}
	}
}

void
store_save(StoreTrans **trans, int n, TimestampTz now, bool *saved)
{
	Session		session;

	if (n == 0)
		return;
	memset(saved, 0, sizeof(bool) * n);
	statement_enter(&session);
	save_some(&save_active_statement, false, trans, n, now, saved);
	save_some(&save_finished_statement, true, trans, n, now, saved);
	statement_leave(&session);
}

void
store_add_attempts(const StoreAttempt *attempts, int n)
{
	static Statement statement = {
		"INSERT INTO dtm.attempt (id, started, duration, branch, http_status, "
		"result, error, grpc_status) "
		"SELECT u.id, u.started, u.duration, u.branch, NULLIF(u.http_status, 0), "
		"u.result, u.error, NULLIF(u.grpc_status, -1) "
		"FROM (SELECT unnest($1) AS id, unnest($2) AS started, "
		"unnest($3) AS duration, unnest($4) AS branch, unnest($5) AS http_status, "
		"unnest($6) AS result, unnest($7) AS error, unnest($8) AS grpc_status) u",
		8,
		{INT8ARRAYOID, TIMESTAMPTZARRAYOID, INT8ARRAYOID, INT2ARRAYOID,
		INT2ARRAYOID, CHARARRAYOID, TEXTARRAYOID, INT2ARRAYOID}
	};
	Datum	   *elements[8];
	bool	   *nulls;
	Session		session;
	Datum		values[8];

	if (n == 0)
		return;
	statement_enter(&session);
	nulls = palloc(sizeof(bool) * n);
	for (int array = 0; array < 8; array++)
		elements[array] = palloc(sizeof(Datum) * n);
	for (int i = 0; i < n; i++)
	{
		elements[0][i] = Int64GetDatum(attempts[i].id);
		elements[1][i] = TimestampTzGetDatum(attempts[i].started);
		elements[2][i] = Int64GetDatum(attempts[i].duration);
		elements[3][i] = Int16GetDatum((int16) attempts[i].op);
		elements[4][i] = Int16GetDatum((int16) attempts[i].http_status);
		elements[5][i] = CharGetDatum(dtm_result_letter(attempts[i].result));
		nulls[i] = attempts[i].error == NULL;
		elements[6][i] = nulls[i] ? (Datum) 0 :
			CStringGetTextDatum(attempts[i].error);
		elements[7][i] = Int16GetDatum((int16) attempts[i].grpc_status);
	}
	for (int array = 0; array < 8; array++)
		values[array] = array_of(elements[array], array == 6 ? nulls : NULL, n,
								 statement.types[array] == INT8ARRAYOID ? INT8OID :
								 statement.types[array] == INT2ARRAYOID ? INT2OID :
								 statement.types[array] == CHARARRAYOID ? CHAROID :
								 statement.types[array] == TEXTARRAYOID ? TEXTOID :
								 TIMESTAMPTZOID);
	statement_run(&statement, values, NULL);
	statement_leave(&session);
}

bool
store_postpone(int64 id, TimestampTz next_time)
{
	static Statement statement = {
		"UPDATE dtm.active SET next_time = $2, version = version + 1 "
		"WHERE id = (SELECT a.id FROM dtm.active a WHERE a.id = $1 "
		"FOR UPDATE SKIP LOCKED)",
		2, {INT8OID, TIMESTAMPTZOID}
	};
	bool		written;
	Session		session;
	Datum		values[2];

	values[0] = Int64GetDatum(id);
	values[1] = TimestampTzGetDatum(next_time);
	statement_enter(&session);
	statement_run(&statement, values, NULL);
	written = SPI_processed > 0;
	statement_leave(&session);
	return written;
}
