/*
 * session.c
 *		The store for sessions, which submit, monitor and steer transactions.
 */
#include "private.h"

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

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
				 errmsg("cannot read global transaction \"%s\": %s",
						column_text(&row, C_GID), problem),
				 errhint("Restore the rows of the global transaction in schema \"dtm\", which have been changed manually.")));
	MemoryContextSwitchTo(before);
	return trans;
}

StoreFound
store_find(const char *gid, bool lock, Transaction **trans)
{
	static Statement active = {
		ACTIVE_COLUMNS
		"FROM dtm.request r JOIN dtm.active a ON a.id" EQUALS "r.id "
		"WHERE r.gid" EQUALS "$1",
		1, {TEXTOID}, true, true
	};

	/*
	 * Both, since registering a branch changes both: whoever has waited for
	 * one has to see the other as it is then.
	 */
	static Statement active_locked = {
		ACTIVE_COLUMNS
		"FROM dtm.request r JOIN dtm.active a ON a.id" EQUALS "r.id "
		"WHERE r.gid" EQUALS "$1 FOR UPDATE OF r, a",
		1, {TEXTOID}, true, true
	};
	static Statement finished = {
		FINISHED_COLUMNS
		"FROM dtm.request r JOIN dtm.finished f ON f.id" EQUALS "r.id "
		"WHERE r.gid" EQUALS "$1",
		1, {TEXTOID}, true, true
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
		ACTIVE_COLUMNS
		"FROM dtm.active a JOIN dtm.request r ON r.id" EQUALS "a.id "
		"WHERE a.id" EQUALS "$1",
		1, {INT8OID}, true, true
	};

	/* of a submitted one, whose request does not change any more */
	static Statement locked = {
		ACTIVE_COLUMNS
		"FROM dtm.active a JOIN dtm.request r ON r.id" EQUALS "a.id "
		"WHERE a.id" EQUALS "$1 FOR UPDATE OF a",
		1, {INT8OID}, true, true
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

bool
store_find_ended(int64 id, Transaction **trans)
{
	static Statement statement = {
		FINISHED_COLUMNS_WITH("f.finished")
		"FROM dtm.finished f JOIN dtm.request r ON r.id" EQUALS "f.id "
		"WHERE f.id" EQUALS "$1",
		1, {INT8OID}, true, true
	};
	MemoryContext context = CurrentMemoryContext;
	Datum		values[1];
	Session		session;

	*trans = NULL;
	values[0] = Int64GetDatum(id);
	statement_enter(&session);
	statement_run(&statement, values, NULL);
	if (SPI_processed > 0)
	{
		MemoryContext before = MemoryContextSwitchTo(context);
		const char *problem;
		Row			row;

		result_row(0, &row);
		*trans = row_decode(&row, &problem);
		MemoryContextSwitchTo(before);
	}
	statement_leave(&session);
	return *trans != NULL;
}

void
store_add_dead_letter(int64 id, int op, const char *reason, TimestampTz now)
{
	static Statement statement = {
		"INSERT INTO dtm.dead_letter (id, branch, discarded, reason) "
		"VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
		4, {INT8OID, INT2OID, TIMESTAMPTZOID, TEXTOID}, true
	};
	Datum		values[4];
	Session		session;

	values[0] = Int64GetDatum(id);
	values[1] = Int16GetDatum((int16) op);
	values[2] = TimestampTzGetDatum(now);
	values[3] = CStringGetTextDatum(reason);
	statement_enter(&session);
	statement_run(&statement, values, NULL);
	statement_leave(&session);
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

bool
store_was_called(int64 id, int op)
{
	static Statement statement = {
		"SELECT FROM dtm.attempt WHERE id" EQUALS "$1 AND branch" EQUALS "$2 LIMIT 1",
		2, {INT8OID, INT2OID}, true
	};
	Datum		values[2];
	Session		session;
	bool		found;

	values[0] = Int64GetDatum(id);
	values[1] = Int16GetDatum((int16) op);
	statement_enter(&session);
	statement_run(&statement, values, NULL);
	found = SPI_processed > 0;
	statement_leave(&session);
	return found;
}

StoreFound
store_peek(const char *gid, bool latest, StorePeek *peek)
{
	static Statement statement = {
		"SELECT a.status, r.submitted_by, r.id FROM dtm.request r "
		"JOIN dtm.active a ON a.id" EQUALS "r.id WHERE r.gid" EQUALS "$1 "
		"UNION ALL "
		"SELECT f.status, r.submitted_by, r.id FROM dtm.request r "
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
		peek->submitted_by = submitter_role(column_datum(&row, 2, &isnull));
		peek->id = column_int64(&row, 3);
		if (dtm_status_of_letter(column_char(&row, 1), &peek->status))
			found = dtm_core_is_final(peek->status) ? STORE_FINISHED : STORE_ACTIVE;
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
	S_FAILURES, S_RETRIES, S_RARE, S_ONGOING_SINCE = S_RARE + NRARE, NSTATE
};

#define STATE_TYPES \
	INT8OID, INT4OID, TIMESTAMPTZOID, CHAROID, TEXTOID, TEXTOID, \
	TIMESTAMPTZOID, INT2OID, INT2OID, \
	INT2ARRAYOID, TIMESTAMPTZOID, INT2OID, TEXTOID, BOOLOID, INT8ARRAYOID, \
	TIMESTAMPTZOID

#define UPDATE_ACTIVE \
	"UPDATE dtm.active SET updated = $3, status = $4, branch_status = $5, " \
	"rollback_reason = $6, next_time = $7, failures = $8, retries = $9, " \
	"attempts = $10, parked = $11, parked_op = $12, parked_reason = $13, held = $14, completions = $15, ongoing_since = $16, " \
	"delayed = CASE WHEN status" EQUALS "'p' AND $4" EQUALS "'s' AND $7 OPERATOR(pg_catalog.>) $3 THEN true ELSE delayed END, " \
	"version = version OPERATOR(pg_catalog.+) 1 " \
	"WHERE id" EQUALS "$1 AND version" EQUALS "$2"

static void
state_values(const Transaction *trans, Datum *values, char *nulls)
{
	const DtmTrans *core = &trans->core;
	const char *reason;
	bool		rare_nulls[NRARE];

	memset(nulls, ' ', NSTATE);
	values[S_ID] = Int64GetDatum(trans->id);
	values[S_VERSION] = Int32GetDatum(trans->version);
	values[S_UPDATED] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[S_STATUS] = CharGetDatum(dtm_status_letter(core->status));
	values[S_BRANCHES] = CStringGetTextDatum(row_letters(core));
	reason = row_reason(core);
	if (reason[0] == '\0')
		nulls[S_REASON] = 'n';
	values[S_REASON] = CStringGetTextDatum(reason);
	values[S_NEXT_TIME] = TimestampTzGetDatum(core->next_time);
	values[S_FAILURES] = Int16GetDatum(Min(core->failures, PG_INT16_MAX));
	values[S_RETRIES] = Int16GetDatum(Min(core->retries, PG_INT16_MAX));
	state_rare(trans, values + S_RARE, rare_nulls);
	for (int i = 0; i < NRARE; i++)
		if (rare_nulls[i])
			nulls[S_RARE + i] = 'n';
	values[S_ONGOING_SINCE] = TimestampTzGetDatum(core->ongoing_since);
	if (core->ongoing_since == 0)
		nulls[S_ONGOING_SINCE] = 'n';
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
		"INSERT INTO dtm.finished (id, finished, status, branch_status, rollback_reason, stopped) "
		"SELECT d.id, $3, $4, $5, $6, $17 FROM d",
		NSTATE + 1, {STATE_TYPES, BOOLOID}, true
	};
	Datum		values[NSTATE + 1];
	char		nulls[NSTATE + 1];

	if (lane_is_left(trans))
		(void) lane_leave(trans, GetCurrentTimestamp(), true);
	state_values(trans, values, nulls);
	/* the coordinator stops none: it writes none of these (work.c) */
	values[NSTATE] = BoolGetDatum(true);
	nulls[NSTATE] = trans->core.stopped ? ' ' : 'n';
	run_change(dtm_core_is_final(trans->core.status) ? &finish : &active, trans,
			   values, nulls);
}

/* With the columns of dtm.request that a registered branch changes, behind the state's. */
void
store_update_branches(Transaction *trans)
{
	static Statement statement = {
		.types = {STATE_TYPES}, .qualified = true
	};
	const ColumnSet *set = row_columns(COLUMN_BRANCH);
	Datum		values[MAX_PARAMS];
	char		nulls[MAX_PARAMS];

	if (statement.sql == NULL)
	{
		StringInfoData sql;

		initStringInfo(&sql);
		appendStringInfoString(&sql, "WITH r AS (UPDATE dtm.request SET ");
		row_append_assignments(&sql, set, NSTATE + 1);
		appendStringInfoString(&sql, " WHERE id" EQUALS "$1) " UPDATE_ACTIVE);
		row_types(set, statement.types + NSTATE);
		statement.nparams = NSTATE + set->n;
		statement.sql = MemoryContextStrdup(TopMemoryContext, sql.data);
	}
	state_values(trans, values, nulls);
	row_values(trans, set, values + NSTATE, nulls + NSTATE);
	run_change(&statement, trans, values, nulls);
}

/* Columns of dtm.request that are written together, after the INSERT. */
static void
update_request(Statement *statement, const Transaction *trans, ColumnWrites writes)
{
	const ColumnSet *set = row_columns(writes);
	Datum		values[MAX_PARAMS];
	char		nulls[MAX_PARAMS];
	Session		session;

	if (statement->sql == NULL)
	{
		StringInfoData sql;

		initStringInfo(&sql);
		appendStringInfoString(&sql, "UPDATE dtm.request SET ");
		row_append_assignments(&sql, set, 2);
		appendStringInfoString(&sql, " WHERE id" EQUALS "$1");
		statement->types[0] = INT8OID;
		row_types(set, statement->types + 1);
		statement->nparams = 1 + set->n;
		statement->qualified = true;
		statement->sql = MemoryContextStrdup(TopMemoryContext, sql.data);
	}
	values[0] = Int64GetDatum(trans->id);
	nulls[0] = ' ';
	row_values(trans, set, values + 1, nulls + 1);
	statement_enter(&session);
	statement_run(statement, values, nulls);
	statement_leave(&session);
}

void
store_assign(int64 id, Oid role)
{
	static Statement statement = {
		"WITH r AS (UPDATE dtm.request SET submitted_by = dtm.submitter($2) "
		"WHERE id" EQUALS "$1 RETURNING id, submitted_by) "
		"UPDATE dtm.active a SET submitted_by = r.submitted_by FROM r WHERE a.id" EQUALS "r.id",
		2, {INT8OID, OIDOID}, true
	};
	Datum		values[2];
	Session		session;

	values[0] = Int64GetDatum(id);
	values[1] = ObjectIdGetDatum(role);
	statement_enter(&session);
	statement_run(&statement, values, NULL);
	statement_leave(&session);
}

void
store_update_options(const Transaction *trans)
{
	static Statement statement;

	update_request(&statement, trans, COLUMN_OPTION);
}

void
store_update_result(const Transaction *trans)
{
	static Statement statement;

	update_request(&statement, trans, COLUMN_RESULT);
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
		"WHERE a.next_time > $1 AND a.next_time < 'infinity' AND a.failures > 0 "
		"ORDER BY a.next_time, a.id LIMIT $3 FOR UPDATE SKIP LOCKED), "
		"u AS (UPDATE dtm.active a SET next_time = $2, updated = $2, "
		"version = a.version + 1 FROM l WHERE a.id = l.id RETURNING a.id) "
		"INSERT INTO dtm.act (id, ordinal, done, role, what) "
		"SELECT u.id, (SELECT COALESCE(pg_catalog.max(o.ordinal), 0) + 1 FROM dtm.act o WHERE o.id = u.id), "
		"$2, dtm.submitter($4), 'reset cron time' FROM u",
		4, {TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, OIDOID}
	};
	Datum		values[4];
	Session		session;
	int			n;

	values[0] = TimestampTzGetDatum(later_than);
	values[1] = TimestampTzGetDatum(now);
	values[2] = Int64GetDatum(max);
	values[3] = ObjectIdGetDatum(GetUserId());
	statement_enter(&session);
	statement_run(&statement, values, NULL);
	n = (int) SPI_processed;
	statement_leave(&session);
	return n;
}
