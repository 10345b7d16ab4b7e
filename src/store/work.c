/*
 * work.c
 *		The store for the coordinator, which reads and writes many transactions
 *		at a time.
 */
#include "private.h"

#include "process/flight.h"

#include "access/detoast.h"
#include "access/sysattr.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

void
store_own_session(void)
{
	/*
	 * Whatever the database, the role or the server has for sessions.  What
	 * concerns the meaning of values is in own.c.
	 */
	static const struct
	{
		const char *name;
		const char *value;
	}			settings[] = {
		/* who it is */
		{"role", "none"},
		/* how its transactions begin */
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},

		/*
		 * what would have its statements read whole tables; see statement.c,
		 * too
		 */
		{"enable_indexscan", "on"},
		{"enable_indexonlyscan", "on"},
		{"enable_nestloop", "on"},
		DTM_MORE_SETTINGS
		{"jit", "off"}
	};

	for (size_t i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i].name, settings[i].value,
								 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SET,
								 true, 0, false);
	statement_own_settings();
}

/* Types of the tables' columns; dtm.request's are in row.c. */
const Oid	active_types[NACTIVE] = {
	INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID, INT2OID, INT2OID, CHAROID,
	TEXTOID, TEXTOID, INT2ARRAYOID, TIMESTAMPTZOID, INT2OID, TEXTOID, BOOLOID,
	INT8ARRAYOID, BOOLOID, TIMESTAMPTZOID, InvalidOid
};
static const Oid finished_types[FINISHED_STOPPED] = {
	INT8OID, TIMESTAMPTZOID, CHAROID, TEXTOID, TEXTOID, BOOLOID
};
static const Oid attempt_types[ATTEMPT_ERROR] = {
	INT8OID, TIMESTAMPTZOID, INT8OID, INT2OID, INT2OID, CHAROID, INT2OID, TEXTOID
};

/* The rows of a transaction that is not final, as row.c has them. */
static void
join(const Table *request, const Table *active, Row *row)
{
	bool		isnull;

	memcpy(row->values, request->row->tts_values, sizeof(Datum) * NREQUEST_COLUMNS);
	memcpy(row->nulls, request->row->tts_isnull, sizeof(bool) * NREQUEST_COLUMNS);
	row->values[C_XMIN - 1] = slot_getsysattr(request->row,
											  MinTransactionIdAttributeNumber, &isnull);
	row->nulls[C_XMIN - 1] = isnull;
	for (int column = C_NEXT_TIME; column <= NCOLUMNS; column++)
	{
		static const int columns[] = {
			ACTIVE_NEXT_TIME, ACTIVE_VERSION, ACTIVE_FAILURES, ACTIVE_RETRIES,
			ACTIVE_STATUS, ACTIVE_BRANCH_STATUS, ACTIVE_ROLLBACK_REASON,
			ACTIVE_ATTEMPTS, ACTIVE_PARKED, ACTIVE_PARKED_OP, ACTIVE_PARKED_REASON,
			ACTIVE_HELD, ACTIVE_COMPLETIONS, ACTIVE_ONGOING_SINCE
		};
		int			from = columns[column - C_NEXT_TIME] - 1;

		row->values[column - 1] = active->row->tts_values[from];
		row->nulls[column - 1] = active->row->tts_isnull[from];
	}
}

/* A transaction in a context of its own is taken, or is one of the bad. */
static void
decode(const Row *row, MemoryContext parent, const StoreReader *reader, StoreLoad *load)
{
	MemoryContext context = AllocSetContextCreate(parent, "dtm transaction",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext before = MemoryContextSwitchTo(context);
	const char *problem;
	Transaction *trans = row_decode(row, &problem);
	bool		ownerless = trans != NULL && !OidIsValid(trans->submitted_by);
	bool		isnull;

	if (ownerless)
		problem = submitter_problem(column_datum(row, C_SUBMITTED_BY, &isnull));
	MemoryContextSwitchTo(parent);
	if (trans != NULL && !ownerless)
		reader->take(reader->arg, trans, context);
	else
	{
		load->bad_id[load->nbad] = column_int64(row, C_ID);
		load->bad_ownerless[load->nbad] = ownerless;
		load->bad_error[load->nbad++] = pstrdup(problem);
		MemoryContextDelete(context);
	}
	MemoryContextSwitchTo(before);
}

/*
 * The memory that a row takes once it is read whole, without reading it whole:
 * what is stored out of line says how long it is.  Bodies of JSON-RPC and gRPC
 * are made of the payloads.
 */
static Size
size_of(const Table *request)
{
	TupleDesc	desc = RelationGetDescr(request->relation);
	bool		has_protocol = !request->row->tts_isnull[COLUMN_NUMBER_protocol];
	Size		bytes = sizeof(Transaction);

	for (int i = 0; i < NREQUEST_COLUMNS; i++)
		if (TupleDescAttr(desc, i)->attlen == -1 && !request->row->tts_isnull[i])
			bytes += toast_raw_datum_size(request->row->tts_values[i]);
	return has_protocol ? bytes * 2 : bytes;
}

static Oid
role_of(const Table *request)
{
	return submitter_role(request->row->tts_values[COLUMN_NUMBER_submitted_by]);
}

static uint64
key_of(const Table *request)
{
	struct varlena *text;

	if (request->row->tts_isnull[COLUMN_NUMBER_fairness_key])
		return 0;
	text = PG_DETOAST_DATUM_PACKED(request->row->tts_values[COLUMN_NUMBER_fairness_key]);

	return transaction_fairness(VARDATA_ANY(text), VARSIZE_ANY_EXHDR(text));
}

static void
init_load(StoreLoad *load, int n)
{
	memset(load, 0, sizeof(*load));
	load->bad_id = palloc(sizeof(int64) * (n + 1));
	load->bad_error = palloc(sizeof(char *) * (n + 1));
	load->bad_ownerless = palloc(sizeof(bool) * (n + 1));
	load->absent_id = palloc(sizeof(int64) * (n + 1));
	load->held_id = palloc(sizeof(int64) * (n + 1));
	load->held_by = palloc(sizeof(TransactionId) * (n + 1));
}

static TransactionId
writer_of(const Table *table)
{
	bool		isnull;

	return DatumGetTransactionId(slot_getsysattr(table->row, MinTransactionIdAttributeNumber,
												 &isnull));
}

/* Has one of its rows a writer for which it has to wait?  Then it is left out. */
static bool
is_held(const Table *active, const Table *request, int64 id,
		const StoreReader *reader, StoreLoad *load)
{
	TransactionId by = reader->waits_for(writer_of(active));

	if (!TransactionIdIsValid(by))
		by = reader->waits_for(writer_of(request));
	if (!TransactionIdIsValid(by))
		return false;
	load->held_id[load->nheld] = id;
	load->held_by[load->nheld++] = by;
	return true;
}

void
store_load_ids(const int64 *ids, int n, const StoreReader *reader, StoreLoad *load)
{
	MemoryContext parent = CurrentMemoryContext;
	Tables		tables;
	Table		request;
	Table		active;
	Datum		values[NCOLUMNS];
	bool		nulls[NCOLUMNS];
	Row			row = {values, nulls};

	init_load(load, n);
	if (n == 0)
		return;
	tables_open(&tables);
	tab_open(&tables, &active, "active", active_types, lengthof(active_types), false);
	tab_open(&tables, &request, "request", request_types, lengthof(request_types), false);
	tables_start(&tables);
	row.scratch = AllocSetContextCreate(CurrentMemoryContext, "dtm row",
										ALLOCSET_DEFAULT_SIZES);
	for (; load->ndone < n; load->ndone++)
	{
		int64		id = ids[load->ndone];
		StoreVerdict verdict;

		flight_turn(id);
		if (!tab_find(&active, id) || !tab_find(&request, id))
		{
			load->absent_id[load->nabsent++] = id;
			continue;
		}
		if (reader->waits_for != NULL && is_held(&active, &request, id, reader, load))
			continue;
		verdict = reader->admit(reader->arg, id, role_of(&request), key_of(&request),
								size_of(&request));
		if (verdict == STORE_STOP)
			break;
		if (verdict == STORE_SKIP)
			continue;
		join(&request, &active, &row);
		decode(&row, parent, reader, load);
		/* large values are there twice for one row only */
		MemoryContextReset(row.scratch);
	}
	flight_turn(0);
	tables_close(&tables);
}

/* The columns of a transaction's state in the row to be written. */
static void
set_state(Table *active, const Transaction *trans, TimestampTz now)
{
	const DtmTrans *core = &trans->core;
	const char *reason = row_reason(core);
	Datum		rare[NRARE];
	bool		nulls[NRARE];

	tab_set(active, ACTIVE_STATUS, CharGetDatum(dtm_status_letter(core->status)));
	tab_set(active, ACTIVE_BRANCH_STATUS, CStringGetTextDatum(row_letters(core)));
	if (reason[0] != '\0')
		tab_set(active, ACTIVE_ROLLBACK_REASON, CStringGetTextDatum(reason));
	else
		tab_set_null(active, ACTIVE_ROLLBACK_REASON);
	tab_set(active, ACTIVE_NEXT_TIME, TimestampTzGetDatum(core->next_time));
	tab_set(active, ACTIVE_FAILURES, Int16GetDatum(Min(core->failures, PG_INT16_MAX)));
	tab_set(active, ACTIVE_RETRIES, Int16GetDatum(Min(core->retries, PG_INT16_MAX)));
	tab_set(active, ACTIVE_UPDATED, TimestampTzGetDatum(now));
	state_rare(trans, rare, nulls);
	for (int i = 0; i < NRARE; i++)
		if (nulls[i])
			tab_set_null(active, ACTIVE_ATTEMPTS + i);
		else
			tab_set(active, ACTIVE_ATTEMPTS + i, rare[i]);
	/* the coordinator has had it in hand: it does not just wait any more */
	tab_set_null(active, ACTIVE_DELAYED);
	if (core->ongoing_since != 0)
		tab_set(active, ACTIVE_ONGOING_SINCE, TimestampTzGetDatum(core->ongoing_since));
	else
		tab_set_null(active, ACTIVE_ONGOING_SINCE);
}

static void
set_outcome(Table *finished, const Transaction *trans, TimestampTz now)
{
	const DtmTrans *core = &trans->core;
	const char *reason = row_reason(core);

	tab_set(finished, FINISHED_ID, Int64GetDatum(trans->id));
	tab_set(finished, FINISHED_FINISHED, TimestampTzGetDatum(now));
	tab_set(finished, FINISHED_STATUS, CharGetDatum(dtm_status_letter(core->status)));
	tab_set(finished, FINISHED_BRANCH_STATUS, CStringGetTextDatum(row_letters(core)));
	if (reason[0] != '\0')
		tab_set(finished, FINISHED_ROLLBACK_REASON, CStringGetTextDatum(reason));
}

/* One of store_save(), whose row has been found. */
static void
save(Table *active, Table *finished, const Transaction *trans, TimestampTz now,
	 StoreSaved *saved)
{
	if (DatumGetInt32(active->row->tts_values[ACTIVE_VERSION - 1]) != trans->version)
		return;
	switch (tab_lock(active))
	{
		case TAB_CHANGED:
			return;
		case TAB_BUSY:
			saved->result = STORE_LOCKED;
			saved->holder = tab_holder(active);
			return;
		case TAB_LOCKED:
			break;
	}
	saved->result = STORE_WRITTEN;
	if (dtm_core_is_final(trans->core.status))
	{
		tab_delete(active);
		tab_make(finished);
		set_outcome(finished, trans, now);
		tab_insert(finished);
		return;
	}
	tab_change(active);
	set_state(active, trans, now);
	tab_set(active, ACTIVE_VERSION, Int32GetDatum(trans->version + 1));
	if (!tab_update(active))
		saved->result = STORE_LOCKED;
}

/*
 * The coordinator never waits for a row's lock: a session may hold one for as
 * long as it likes, and one may not stop all.  Locked rows are skipped.
 */
void
store_save(Transaction **trans, int n, TimestampTz now, StoreSaved *saved)
{
	Tables		tables;
	Table		finished;
	Table		active;

	if (n == 0)
		return;
	for (int i = 0; i < n; i++)
	{
		saved[i].holder = InvalidTransactionId;
		saved[i].result = lane_is_left(trans[i]) && !lane_leave(trans[i], now, false) ?
			STORE_LOCKED : STORE_CHANGED;
	}
	tables_open(&tables);
	tab_open(&tables, &active, "active", active_types, lengthof(active_types), true);
	tab_open(&tables, &finished, "finished", finished_types, lengthof(finished_types), true);
	tables_start(&tables);
	for (int i = 0; i < n; i++)
	{
		flight_turn(trans[i]->id);
		if (saved[i].result == STORE_CHANGED && tab_find(&active, trans[i]->id))
			save(&active, &finished, trans[i], now, &saved[i]);
	}
	flight_turn(0);
	tables_close(&tables);
}

void
store_add_attempts(const StoreAttempt *attempts, int n)
{
	Tables		tables;
	Table		table;

	if (n == 0)
		return;
	tables_open(&tables);
	tab_open(&tables, &table, "attempt", attempt_types, lengthof(attempt_types), true);
	tables_start(&tables);
	for (int i = 0; i < n; i++)
	{
		const StoreAttempt *attempt = &attempts[i];

		tab_make(&table);
		tab_set(&table, ATTEMPT_ID, Int64GetDatum(attempt->id));
		tab_set(&table, ATTEMPT_STARTED, TimestampTzGetDatum(attempt->started));
		tab_set(&table, ATTEMPT_DURATION, Int64GetDatum(attempt->duration));
		tab_set(&table, ATTEMPT_BRANCH, Int16GetDatum((int16) attempt->op));
		if (attempt->http_status != 0)
			tab_set(&table, ATTEMPT_HTTP_STATUS, Int16GetDatum((int16) attempt->http_status));
		tab_set(&table, ATTEMPT_RESULT, CharGetDatum(dtm_result_letter(attempt->result)));
		if (attempt->grpc_status != -1)
			tab_set(&table, ATTEMPT_GRPC_STATUS, Int16GetDatum((int16) attempt->grpc_status));
		if (attempt->error != NULL)
			tab_set(&table, ATTEMPT_ERROR, CStringGetTextDatum(attempt->error));
		tab_insert(&table);
	}
	tables_close(&tables);
}

void
store_disown(int64 id)
{
	/* the text of one that does not exist is that of nobody */
	static Statement statement = {
		"WITH r AS (UPDATE dtm.request SET submitted_by = submitted_by::pg_catalog.text::dtm.submitter "
		"WHERE id = (SELECT r.id FROM dtm.request r WHERE r.id = $1 "
		"AND dtm.submitter_role(r.submitted_by) IS NULL FOR UPDATE SKIP LOCKED) "
		"RETURNING id, submitted_by) "
		"UPDATE dtm.active SET submitted_by = r.submitted_by FROM r "
		"WHERE active.id = (SELECT a.id FROM dtm.active a WHERE a.id = r.id FOR UPDATE SKIP LOCKED)",
		1, {INT8OID}
	};
	Session		session;
	Datum		values[1];

	values[0] = Int64GetDatum(id);
	statement_enter(&session);
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

int
store_count_attempts(int64 id, const char *error)
{
	static Statement statement = {
		"SELECT pg_catalog.count(*) FROM dtm.attempt t "
		"WHERE t.id = $1 AND pg_catalog.starts_with(t.error, $2) AND t.started > "
		"(SELECT COALESCE(pg_catalog.max(s.started), '-infinity') FROM dtm.attempt s "
		"WHERE s.id = $1 AND s.result = 'S')",
		2, {INT8OID, TEXTOID}
	};
	int			n;
	Session		session;
	Datum		values[2];

	values[0] = Int64GetDatum(id);
	values[1] = CStringGetTextDatum(error);
	statement_enter(&session);
	statement_run(&statement, values, NULL);
	n = (int) Min(result_int64(0, 1), INT_MAX);
	statement_leave(&session);
	return n;
}

/*
 * Runs a statement for the row of trans->id, which returns its gid, failures and
 * status, if it is there and not locked.
 */
static bool
run_aside(Statement *statement, Transaction *trans, TimestampTz next_time,
		  Datum *values)
{
	MemoryContext context = CurrentMemoryContext;
	bool		written;
	Session		session;

	statement_enter(&session);
	statement_run(statement, values, NULL);
	written = SPI_processed > 0;
	if (written)
	{
		Row			row;

		result_row(0, &row);
		trans->gid = MemoryContextStrdup(context, column_text(&row, 1));
		trans->core.failures = (uint16) column_int64(&row, 2);
		(void) dtm_status_of_letter(column_text(&row, 3)[0], &trans->core.status);
		trans->core.next_time = next_time;
	}
	statement_leave(&session);
	return written;
}

/* The row $1, if it is not locked; and what run_aside() needs. */
#define ASIDE_WHERE \
	"WHERE u.id = (SELECT a.id FROM dtm.active a WHERE a.id = $1 " \
	"FOR UPDATE SKIP LOCKED) " \
	"RETURNING (SELECT r.gid FROM dtm.request r WHERE r.id = $1), u.failures::pg_catalog.int8, " \
	"u.status::pg_catalog.text"

bool
store_set_aside(Transaction *trans, TimestampTz next_time, int failures)
{
	static Statement statement = {
		"UPDATE dtm.active u SET next_time = $2, version = u.version + 1, "
		"failures = LEAST(GREATEST(u.failures::pg_catalog.int8 + 1, $3), 32767)::pg_catalog.int2 "
		ASIDE_WHERE,
		3, {INT8OID, TIMESTAMPTZOID, INT8OID}
	};
	Datum		values[3];

	values[0] = Int64GetDatum(trans->id);
	values[1] = TimestampTzGetDatum(next_time);
	values[2] = Int64GetDatum(failures);
	return run_aside(&statement, trans, next_time, values);
}

bool
store_park(Transaction *trans, const char *reason, int failures, TimestampTz now)
{
	static Statement statement = {
		"UPDATE dtm.active u SET next_time = 'infinity', version = u.version + 1, "
		"updated = $2, parked = $2, parked_op = NULL, parked_reason = $3, "
		"failures = LEAST(GREATEST(u.failures::pg_catalog.int8, $4), 32767)::pg_catalog.int2 "
		ASIDE_WHERE,
		4, {INT8OID, TIMESTAMPTZOID, TEXTOID, INT8OID}
	};
	Datum		values[4];

	values[0] = Int64GetDatum(trans->id);
	values[1] = TimestampTzGetDatum(now);
	values[2] = CStringGetTextDatum(reason);
	values[3] = Int64GetDatum(failures);
	return run_aside(&statement, trans, DT_NOEND, values);
}
