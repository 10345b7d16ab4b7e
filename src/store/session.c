/*
 * session.c
 *		The store for sessions that submit, watch and steer.
 */
#include "private.h"

#include "miscadmin.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Pairs of orders, sorted by step; NULL datum if there are none. */
static Datum
orders_array(const DtmTrans *core, char *null)
{
	Datum	   *values;
	int			n = 0;

	*null = 'n';
	if (core->orders.start == NULL)
		return (Datum) 0;
	values = palloc(sizeof(Datum) * 2 * (core->orders.start[core->nsteps] + 1));
	for (int step = 0; step < core->nsteps; step++)
		for (int i = core->orders.start[step]; i < core->orders.start[step + 1]; i++)
		{
			values[n++] = Int32GetDatum(step);
			values[n++] = Int32GetDatum(core->orders.pre[i]);
		}
	*null = ' ';
	return array_of(values, NULL, n, INT4OID);
}

static Datum
headers_array(const Transaction *trans, char *null)
{
	char	  **strings;

	*null = 'n';
	if (trans->nheaders == 0)
		return (Datum) 0;
	strings = palloc(sizeof(char *) * 2 * trans->nheaders);
	for (int i = 0; i < trans->nheaders; i++)
	{
		strings[2 * i] = trans->header_name[i];
		strings[2 * i + 1] = trans->header_value[i];
	}
	*null = ' ';
	return text_array_of(strings, 2 * trans->nheaders);
}

static Datum
payload_array(const Transaction *trans, char *null)
{
	int			n = trans->core.nsteps;
	Datum	   *values = palloc0(sizeof(Datum) * (n + 1));
	bool	   *nulls = palloc0(sizeof(bool) * (n + 1));

	*null = 'n';
	for (int i = 0; i < n; i++)
	{
		nulls[i] = trans->payload[i] == NULL;
		if (!nulls[i])
		{
			values[i] = PointerGetDatum(trans->payload[i]);
			*null = ' ';
		}
	}
	return *null == 'n' ? (Datum) 0 : array_of(values, nulls, n, BYTEAOID);
}

static Datum
nonzero_int64(int64 value, char *null)
{
	*null = value > 0 ? ' ' : 'n';
	return Int64GetDatum(value);
}

static Datum
nonzero_int32(int32 value, char *null)
{
	*null = value > 0 ? ' ' : 'n';
	return Int32GetDatum(value);
}

static Datum
optional_text(const char *value, char *null)
{
	bool		some = value != NULL && value[0] != '\0';

	*null = some ? ' ' : 'n';
	return some ? CStringGetTextDatum(value) : (Datum) 0;
}

static Datum
optional_array(char **strings, int n, char *null)
{
	*null = strings == NULL ? 'n' : ' ';
	return strings == NULL ? (Datum) 0 : text_array_of(strings, n);
}

static Statement insert_statement = {
	"WITH r AS ("
	"INSERT INTO dtm.request (created, timeout_to_fail, retry_interval, delay, "
	"submitted_by, request_timeout, retry_limit, trans_type, concurrent, "
	"wait_result, gid, protocol, query_prepared, action, compensate, payload, "
	"orders, branch_headers, branch_id, topic, workflow, workflow_data, notify, "
	"on_finish) "
	"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, "
	"$16, $17, $18, $22, $23, $24, $25, $26, $27) "
	"ON CONFLICT ON CONSTRAINT request_gid DO NOTHING RETURNING id) "
	"INSERT INTO dtm.active (id, next_time, updated, status, branch_status) "
	"SELECT r.id, $19, $1, $20, pg_catalog.repeat('P', $21) FROM r "
	"RETURNING id",
	27,
	{TIMESTAMPTZOID, INT8OID, INT8OID, INT8OID, OIDOID, INT4OID, INT4OID,
	CHAROID, BOOLOID, BOOLOID, TEXTOID, TEXTOID, TEXTOID, TEXTARRAYOID,
	TEXTARRAYOID, BYTEAARRAYOID, INT4ARRAYOID, TEXTARRAYOID, TIMESTAMPTZOID,
	CHAROID, INT4OID, TEXTARRAYOID, TEXTARRAYOID, TEXTOID, BYTEAOID, BOOLOID,
	TEXTOID},
	true
};

bool
store_insert(Transaction *trans)
{
	const DtmTrans *core = &trans->core;
	Datum		values[MAX_PARAMS + 1];
	char		nulls[MAX_PARAMS + 1];
	Session		session;
	bool		inserted;

	memset(nulls, ' ', sizeof(nulls));
	values[0] = TimestampTzGetDatum(core->created);
	values[1] = nonzero_int64(core->timeout_to_fail, &nulls[1]);
	values[2] = nonzero_int64(core->retry_interval, &nulls[2]);
	values[3] = nonzero_int64(core->delay, &nulls[3]);
	values[4] = ObjectIdGetDatum(trans->submitted_by);
	values[5] = nonzero_int32(trans->request_timeout, &nulls[5]);
	values[6] = nonzero_int32(core->retry_limit, &nulls[6]);
	values[7] = CharGetDatum(dtm_trans_type_letter(core->type));
	values[8] = BoolGetDatum(core->concurrent);
	values[9] = BoolGetDatum(trans->wait_result);
	values[10] = CStringGetTextDatum(trans->gid);
	values[11] = optional_text(trans->protocol, &nulls[11]);
	values[12] = optional_text(trans->query_prepared, &nulls[12]);
	values[13] = text_array_of(trans->action, core->nsteps);
	values[14] = optional_array(trans->compensate, core->nsteps, &nulls[14]);
	values[15] = payload_array(trans, &nulls[15]);
	values[16] = orders_array(core, &nulls[16]);
	values[17] = headers_array(trans, &nulls[17]);
	values[18] = TimestampTzGetDatum(core->next_time);
	values[19] = CharGetDatum(dtm_status_letter(core->status));
	values[20] = Int32GetDatum(core->nops);
	values[21] = optional_array(trans->branch_id, core->nsteps, &nulls[21]);
	values[22] = optional_array(trans->topic, core->nsteps, &nulls[22]);
	values[23] = optional_text(trans->workflow, &nulls[23]);
	values[24] = PointerGetDatum(trans->workflow_data);
	nulls[24] = trans->workflow_data == NULL ? 'n' : ' ';
	values[25] = BoolGetDatum(true);
	nulls[25] = trans->notify ? ' ' : 'n';
	values[26] = optional_text(trans->on_finish, &nulls[26]);

	statement_enter(&session);
	statement_run(&insert_statement, values, nulls);
	inserted = SPI_processed > 0;
	if (inserted)
		trans->id = result_int64(0, 1);
	statement_leave(&session);
	return inserted;
}

static Transaction *
decode_or_error(MemoryContext context)
{
	MemoryContext before = MemoryContextSwitchTo(context);
	const char *problem;
	Row			row;
	Transaction *trans;

	result_row(0, &row);
	trans = row_decode(&row, &problem);
	if (trans == NULL)
		ereport(ERROR,
				(errcode(DTM_ERRCODE_BAD_ROW),
				 errmsg("global transaction \"%s\" can't be read: %s",
						column_text(&row, C_GID), problem),
				 errhint("Its rows in schema dtm have been changed by hand.")));
	MemoryContextSwitchTo(before);
	return trans;
}

StoreFound
store_find(const char *gid, bool lock, Transaction **trans)
{
	static Statement active = {
		"SELECT " REQUEST_COLUMNS ACTIVE_COLUMNS
		"FROM dtm.request r JOIN dtm.active a ON a.id" EQUALS "r.id "
		"WHERE r.gid" EQUALS "$1",
		1, {TEXTOID}, true
	};
	/*
	 * Both, since registering a branch changes both: whoever has waited for
	 * one has to see the other as it is then.
	 */
	static Statement active_locked = {
		"SELECT " REQUEST_COLUMNS ACTIVE_COLUMNS
		"FROM dtm.request r JOIN dtm.active a ON a.id" EQUALS "r.id "
		"WHERE r.gid" EQUALS "$1 FOR UPDATE OF r, a",
		1, {TEXTOID}, true
	};
	static Statement finished = {
		"SELECT " REQUEST_COLUMNS FINISHED_COLUMNS
		"FROM dtm.request r JOIN dtm.finished f ON f.id" EQUALS "r.id "
		"WHERE r.gid" EQUALS "$1",
		1, {TEXTOID}, true
	};
	MemoryContext context = CurrentMemoryContext;
	StoreFound	found = STORE_ABSENT;
	Session		session;
	Datum		values[1];

	values[0] = CStringGetTextDatum(gid);
	statement_enter(&session);
	statement_run(lock ? &active_locked : &active, values, NULL);
	if (SPI_processed > 0)
		found = STORE_ACTIVE;
	else
	{
		statement_run(&finished, values, NULL);
		if (SPI_processed > 0)
			found = STORE_FINISHED;
	}
	if (found != STORE_ABSENT)
		*trans = decode_or_error(context);
	statement_leave(&session);
	return found;
}

bool
store_find_id(int64 id, bool lock, Transaction **trans)
{
	static Statement unlocked = {
		"SELECT " REQUEST_COLUMNS ACTIVE_COLUMNS
		"FROM dtm.active a JOIN dtm.request r ON r.id" EQUALS "a.id "
		"WHERE a.id" EQUALS "$1",
		1, {INT8OID}, true
	};
	/* of a submitted one, whose request does not change any more */
	static Statement locked = {
		"SELECT " REQUEST_COLUMNS ACTIVE_COLUMNS
		"FROM dtm.active a JOIN dtm.request r ON r.id" EQUALS "a.id "
		"WHERE a.id" EQUALS "$1 FOR UPDATE OF a",
		1, {INT8OID}, true
	};
	MemoryContext context = CurrentMemoryContext;
	Datum		values[1];
	Session		session;
	bool		found;

	values[0] = Int64GetDatum(id);
	statement_enter(&session);
	statement_run(lock ? &locked : &unlocked, values, NULL);
	found = SPI_processed > 0;
	if (found)
		*trans = decode_or_error(context);
	statement_leave(&session);
	return found;
}

void
store_notify(const char *channel, const char *payload)
{
	static Statement statement = {
		"SELECT pg_catalog.pg_notify($1, $2) "
		"WHERE pg_catalog.pg_notification_queue_usage() < 0.9",
		2, {TEXTOID, TEXTOID}
	};
	Datum		values[2];
	Session		session;

	values[0] = CStringGetTextDatum(channel);
	values[1] = CStringGetTextDatum(payload);
	statement_enter(&session);
	statement_run(&statement, values, NULL);
	statement_leave(&session);
}

StoreFound
store_peek(const char *gid, bool latest, DtmStatus *status, Oid *submitted_by)
{
	static Statement statement = {
		"SELECT a.status, r.submitted_by FROM dtm.request r "
		"JOIN dtm.active a ON a.id" EQUALS "r.id WHERE r.gid" EQUALS "$1 "
		"UNION ALL "
		"SELECT f.status, r.submitted_by FROM dtm.request r "
		"JOIN dtm.finished f ON f.id" EQUALS "r.id WHERE r.gid" EQUALS "$1",
		1, {TEXTOID}, true
	};
	StoreFound	found = STORE_ABSENT;
	Snapshot	snapshot = RegisterSnapshot(latest ? GetLatestSnapshot() :
											GetActiveSnapshot());
	Session		session;
	Datum		values[1];

	values[0] = CStringGetTextDatum(gid);
	statement_enter(&session);
	statement_run_snapshot(&statement, values, snapshot);
	if (SPI_processed > 0)
	{
		Row			row;
		bool		isnull;

		result_row(0, &row);
		*submitted_by = DatumGetObjectId(column_datum(&row, 2, &isnull));
		if (dtm_status_of_letter(column_char(&row, 1), status))
			found = dtm_core_is_final(*status) ? STORE_FINISHED : STORE_ACTIVE;
	}
	statement_leave(&session);
	UnregisterSnapshot(snapshot);
	return found;
}

/* ---------- changes of a row that is locked ---------- */

/* What the statements below write of a transaction's state, from $1 on. */
enum
{
	S_ID, S_VERSION, S_UPDATED, S_STATUS, S_BRANCHES, S_REASON, S_NEXT_TIME,
	S_FAILURES, S_RETRIES, NSTATE
};

#define STATE_TYPES \
	INT8OID, INT4OID, TIMESTAMPTZOID, CHAROID, TEXTOID, TEXTOID, \
	TIMESTAMPTZOID, INT2OID, INT2OID

#define UPDATE_ACTIVE \
	"UPDATE dtm.active SET updated = $3, status = $4, branch_status = $5, " \
	"rollback_reason = $6, next_time = $7, failures = $8, retries = $9, " \
	"version = version OPERATOR(pg_catalog.+) 1 " \
	"WHERE id" EQUALS "$1 AND version" EQUALS "$2"

static void
state_values(const Transaction *trans, Datum *values, char *nulls)
{
	const DtmTrans *core = &trans->core;

	memset(nulls, ' ', NSTATE);
	values[S_ID] = Int64GetDatum(trans->id);
	values[S_VERSION] = Int32GetDatum(trans->version);
	values[S_UPDATED] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[S_STATUS] = CharGetDatum(dtm_status_letter(core->status));
	values[S_BRANCHES] = CStringGetTextDatum(row_letters(core));
	values[S_REASON] = optional_text(row_reason(core), &nulls[S_REASON]);
	values[S_NEXT_TIME] = TimestampTzGetDatum(core->next_time);
	values[S_FAILURES] = Int16GetDatum(Min(core->failures, PG_INT16_MAX));
	values[S_RETRIES] = Int16GetDatum(Min(core->retries, PG_INT16_MAX));
}

/* Runs one of them, which has to write one row. */
static void
run_change(Statement *statement, const Transaction *trans, Datum *values,
		   const char *nulls)
{
	Session		session;

	statement_enter(&session);
	statement_run(statement, values, nulls);
	if (SPI_processed != 1)
		elog(ERROR, "global transaction \"%s\" changed while it was locked",
			 trans->gid);
	statement_leave(&session);
}

void
store_update(Transaction *trans)
{
	static Statement active = {UPDATE_ACTIVE, NSTATE, {STATE_TYPES}, true};
	static Statement finish = {
		"WITH d AS (DELETE FROM dtm.active "
		"WHERE id" EQUALS "$1 AND version" EQUALS "$2 RETURNING id) "
		"INSERT INTO dtm.finished (id, finished, status, branch_status, rollback_reason) "
		"SELECT d.id, $3, $4, $5, $6 FROM d",
		S_REASON + 1, {STATE_TYPES}, true
	};
	Datum		values[NSTATE];
	char		nulls[NSTATE];

	state_values(trans, values, nulls);
	run_change(dtm_core_is_final(trans->core.status) ? &finish : &active, trans,
			   values, nulls);
}

void
store_update_branches(Transaction *trans)
{
	static Statement statement = {
		"WITH r AS (UPDATE dtm.request SET branch_id = $10, action = $11, "
		"compensate = $12, payload = $13 WHERE id" EQUALS "$1) "
		UPDATE_ACTIVE,
		NSTATE + 4,
		{STATE_TYPES, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, BYTEAARRAYOID},
		true
	};
	int			n = trans->core.nsteps;
	Datum		values[NSTATE + 4];
	char		nulls[NSTATE + 4];

	state_values(trans, values, nulls);
	values[NSTATE] = text_array_of(trans->branch_id, n);
	values[NSTATE + 1] = text_array_of(trans->action, n);
	values[NSTATE + 2] = optional_array(trans->compensate, n, &nulls[NSTATE + 2]);
	values[NSTATE + 3] = payload_array(trans, &nulls[NSTATE + 3]);
	nulls[NSTATE] = nulls[NSTATE + 1] = ' ';
	run_change(&statement, trans, values, nulls);
}

void
store_update_options(const Transaction *trans)
{
	static Statement statement = {
		"UPDATE dtm.request SET timeout_to_fail = $2, retry_interval = $3, "
		"delay = $4, request_timeout = $5, retry_limit = $6, "
		"branch_headers = $7, query_prepared = $8, wait_result = $9, "
		"concurrent = $10, orders = $11, notify = $12, on_finish = $13 "
		"WHERE id" EQUALS "$1",
		13,
		{INT8OID, INT8OID, INT8OID, INT8OID, INT4OID, INT4OID, TEXTARRAYOID,
		TEXTOID, BOOLOID, BOOLOID, INT4ARRAYOID, BOOLOID, TEXTOID},
		true
	};
	const DtmTrans *core = &trans->core;
	Datum		values[13];
	char		nulls[13];
	Session		session;

	memset(nulls, ' ', sizeof(nulls));
	values[0] = Int64GetDatum(trans->id);
	values[1] = nonzero_int64(core->timeout_to_fail, &nulls[1]);
	values[2] = nonzero_int64(core->retry_interval, &nulls[2]);
	values[3] = nonzero_int64(core->delay, &nulls[3]);
	values[4] = nonzero_int32(trans->request_timeout, &nulls[4]);
	values[5] = nonzero_int32(core->retry_limit, &nulls[5]);
	values[6] = headers_array(trans, &nulls[6]);
	values[7] = optional_text(trans->query_prepared, &nulls[7]);
	values[8] = BoolGetDatum(trans->wait_result);
	values[9] = BoolGetDatum(core->concurrent);
	values[10] = orders_array(core, &nulls[10]);
	values[11] = BoolGetDatum(true);
	nulls[11] = trans->notify ? ' ' : 'n';
	values[12] = optional_text(trans->on_finish, &nulls[12]);
	statement_enter(&session);
	statement_run(&statement, values, nulls);
	statement_leave(&session);
}

void
store_update_result(const Transaction *trans)
{
	static Statement statement = {
		"UPDATE dtm.request SET result = $2 WHERE id" EQUALS "$1",
		2, {INT8OID, TEXTOID}, true
	};
	Datum		values[2];
	Session		session;

	values[0] = Int64GetDatum(trans->id);
	values[1] = CStringGetTextDatum(trans->result);
	statement_enter(&session);
	statement_run(&statement, values, NULL);
	statement_leave(&session);
}

char **
store_topic(const char *name, int *n)
{
	static Statement statement = {
		"SELECT t.url FROM dtm.topic t WHERE t.name" EQUALS "$1",
		1, {TEXTOID}, true
	};
	MemoryContext context = CurrentMemoryContext;
	char	  **urls = NULL;
	Datum		values[1];
	Session		session;

	values[0] = CStringGetTextDatum(name);
	*n = -1;
	statement_enter(&session);
	statement_run(&statement, values, NULL);
	if (SPI_processed > 0)
	{
		MemoryContext before = MemoryContextSwitchTo(context);
		Row			row;

		result_row(0, &row);
		urls = column_strings(&row, 1, n);
		MemoryContextSwitchTo(before);
	}
	statement_leave(&session);
	return urls;
}

int
store_reset_next_time(TimestampTz later_than, TimestampTz now, int max)
{
	static Statement statement = {
		"WITH l AS MATERIALIZED ("
		"SELECT a.id FROM dtm.active a "
		"WHERE a.next_time > $1 AND a.next_time < 'infinity' "
		"ORDER BY a.next_time, a.id LIMIT $3 FOR UPDATE SKIP LOCKED) "
		"UPDATE dtm.active a SET next_time = $2, updated = $2, "
		"version = a.version + 1 FROM l WHERE a.id = l.id",
		3, {TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID}
	};
	Datum		values[3];
	Session		session;
	int			n;

	values[0] = TimestampTzGetDatum(later_than);
	values[1] = TimestampTzGetDatum(now);
	values[2] = Int64GetDatum(max);
	statement_enter(&session);
	statement_run(&statement, values, NULL);
	n = (int) SPI_processed;
	statement_leave(&session);
	return n;
}
