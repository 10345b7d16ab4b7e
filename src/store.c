/*
 * store.c
 *		Global transactions in tables.
 *
 * docs/architecture.md says why the tables are as they are.  In short:
 * dtm.request is written once, dtm.active is the small hot one, dtm.finished
 * and dtm.attempt are only added to.
 *
 * A statement is planned once a process and kept.  So that a plan made while
 * the tables were empty is not a sequential scan for ever, plans are made
 * with the planner's other ideas switched off: every statement here finds its
 * rows through an index.
 */
#include "store.h"

#include "compat.h"
#include "dtm.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#define MAX_PARAMS 21

/* ---------- statements ---------- */

typedef struct Statement
{
	const char *sql;
	int			nparams;
	Oid			types[MAX_PARAMS];
	SPIPlanPtr	plan;			/* NULL: not planned yet */
} Statement;

/* What leave() restores.  An error restores it all by itself. */
typedef struct Session
{
	Oid			user;
	int			sec_context;
	int			nest_level;
} Session;

/* The whole process is ours: settings and user are set once. */
static bool own_session = false;

/* The context of the latest SPI_connect(): gone when its statement is done. */
static MemoryContext scratch;

static const struct
{
	const char *name;
	const char *value;
}			planner_settings[] = {
	/* names in our statements are qualified; operators are pg_catalog's */
	{"search_path", "pg_catalog, pg_temp"},
	{"enable_seqscan", "off"},
	{"enable_bitmapscan", "off"},
	{"enable_hashjoin", "off"},
	{"enable_mergejoin", "off"},
	{"enable_sort", "off"},
	{"plan_cache_mode", "force_generic_plan"}
};

static void
set_planner(GucAction action)
{
	for (size_t i = 0; i < lengthof(planner_settings); i++)
		(void) set_config_option(planner_settings[i].name,
								 planner_settings[i].value,
								 PGC_USERSET, PGC_S_SESSION, action,
								 true, 0, false);
}

Oid
dtm_extension_owner(void)
{
	Oid			schema = get_namespace_oid("dtm", true);
	Oid			table = OidIsValid(schema) ?
		get_relname_relid("request", schema) : InvalidOid;
	HeapTuple	tuple = OidIsValid(table) ?
		SearchSysCache1(RELOID, ObjectIdGetDatum(table)) : NULL;
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"dtm\" is not installed in this database"),
				 errhint("Run CREATE EXTENSION dtm.")));
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

static void
enter(Session *session)
{
	if (!own_session)
	{
		GetUserIdAndSecContext(&session->user, &session->sec_context);
		SetUserIdAndSecContext(dtm_extension_owner(),
							   session->sec_context |
							   SECURITY_LOCAL_USERID_CHANGE |
							   SECURITY_NOFORCE_RLS);
		session->nest_level = NewGUCNestLevel();
		set_planner(GUC_ACTION_SAVE);
	}
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	scratch = CurrentMemoryContext;
}

static void
leave(Session *session)
{
	SPI_finish();
	if (!own_session)
	{
		AtEOXact_GUC(true, session->nest_level);
		SetUserIdAndSecContext(session->user, session->sec_context);
	}
}

static SPIPlanPtr
plan_of(Statement *statement)
{
	if (statement->plan == NULL)
	{
		SPIPlanPtr	plan = SPI_prepare(statement->sql, statement->nparams,
									   statement->types);

		if (plan == NULL)
			elog(ERROR, "SPI_prepare failed: %s",
				 SPI_result_code_string(SPI_result));
		SPI_keepplan(plan);
		statement->plan = plan;
	}
	return statement->plan;
}

/* Runs a statement.  Nulls as SPI has them: 'n' for a null, or NULL. */
static void
run(Statement *statement, Datum *values, const char *nulls)
{
	int			rc = SPI_execute_plan(plan_of(statement), values, nulls,
									  false, 0);

	if (rc < 0)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(rc));
}

static Datum
column(uint64 row, int number, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
						 number, isnull);
}

static int64
int64_column(uint64 row, int number)
{
	bool		isnull;
	Datum		value = column(row, number, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

static int32
int32_column(uint64 row, int number)
{
	bool		isnull;
	Datum		value = column(row, number, &isnull);

	return isnull ? 0 : DatumGetInt32(value);
}

static char *
text_column(uint64 row, int number)
{
	bool		isnull;
	Datum		value = column(row, number, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

/* ---------- arrays ---------- */

static Datum
array_of(Datum *values, const bool *nulls, int n, Oid type)
{
	int			dims[1] = {n};
	int			lower[1] = {1};
	int16		len;
	bool		byval;
	char		align;

	get_typlenbyvalalign(type, &len, &byval, &align);
	return PointerGetDatum(construct_md_array(values, (bool *) nulls, 1, dims,
											  lower, type, len, byval, align));
}

static Datum
text_array_of(char **strings, int n)
{
	Datum	   *values = palloc(sizeof(Datum) * (n + 1));

	for (int i = 0; i < n; i++)
		values[i] = CStringGetTextDatum(strings[i]);
	return array_of(values, NULL, n, TEXTOID);
}

/*
 * Elements of an array column, for as long as the statement's result lives; n
 * is -1 where it is null.
 */
static Datum *
array_column(uint64 row, int number, Oid type, int *n, bool **nulls)
{
	bool		isnull;
	Datum		value = column(row, number, &isnull);
	Datum	   *values;
	MemoryContext before;
	int16		len;
	bool		byval;
	char		align;

	*n = -1;
	if (isnull)
		return NULL;
	get_typlenbyvalalign(type, &len, &byval, &align);
	before = MemoryContextSwitchTo(scratch);
	deconstruct_array(DatumGetArrayTypeP(value), type, len, byval, align,
					  &values, nulls, n);
	MemoryContextSwitchTo(before);
	return values;
}

/* A text array column as strings, NULLs as ""; n is -1 where it is null. */
static char **
strings_column(uint64 row, int number, int *n)
{
	bool	   *nulls;
	Datum	   *values = array_column(row, number, TEXTOID, n, &nulls);
	char	  **strings;

	if (*n < 0)
		return NULL;
	strings = palloc(sizeof(char *) * (*n + 1));
	for (int i = 0; i < *n; i++)
		strings[i] = nulls[i] ? pstrdup("") : TextDatumGetCString(values[i]);
	return strings;
}

/* ---------- a transaction from its row ---------- */

#define REQUEST_COLUMNS \
	"r.id, r.created, r.timeout_to_fail, r.retry_interval, r.delay, " \
	"r.submitted_by, r.request_timeout, r.retry_limit, r.trans_type, " \
	"r.concurrent, r.wait_result, r.gid, r.protocol, r.query_prepared, " \
	"r.action, r.compensate, r.payload, r.orders, r.branch_headers, " \
	"r.xmin, "
#define ACTIVE_COLUMNS \
	"a.next_time, a.version, a.failures, a.retries, a.status, " \
	"a.branch_status, a.rollback_reason "
#define FINISHED_COLUMNS \
	"'infinity'::timestamptz, 0, 0::int2, 0::int2, f.status, " \
	"f.branch_status, f.rollback_reason "

enum
{
	C_ID = 1, C_CREATED, C_TIMEOUT_TO_FAIL, C_RETRY_INTERVAL, C_DELAY,
	C_SUBMITTED_BY, C_REQUEST_TIMEOUT, C_RETRY_LIMIT, C_TRANS_TYPE,
	C_CONCURRENT, C_WAIT_RESULT, C_GID, C_PROTOCOL, C_QUERY_PREPARED,
	C_ACTION, C_COMPENSATE, C_PAYLOAD, C_ORDERS, C_BRANCH_HEADERS,
	C_XMIN,
	C_NEXT_TIME, C_VERSION, C_FAILURES, C_RETRIES, C_STATUS,
	C_BRANCH_STATUS, C_ROLLBACK_REASON
};

static char
char_column(uint64 row, int number)
{
	bool		isnull;
	Datum		value = column(row, number, &isnull);

	return isnull ? '\0' : DatumGetChar(value);
}

static bool
bool_column(uint64 row, int number)
{
	bool		isnull;
	Datum		value = column(row, number, &isnull);

	return !isnull && DatumGetBool(value);
}

/* The pairs of the orders column into core's form; false: malformed. */
static bool
decode_orders(uint64 row, DtmTrans *core)
{
	bool	   *nulls;
	int			n;
	Datum	   *values = array_column(row, C_ORDERS, INT4OID, &n, &nulls);
	uint16	   *start;
	uint16	   *pre;
	int			next = 0;

	if (n < 0)
		return true;
	if (n % 2 != 0 || n / 2 > DTM_MAX_ORDERS)
		return false;
	for (int i = 0; i < n; i++)
		if (nulls[i] || DatumGetInt32(values[i]) < 0 ||
			DatumGetInt32(values[i]) >= core->nsteps)
			return false;

	/* the pairs are sorted by step; see request.c */
	start = palloc0(sizeof(uint16) * (core->nsteps + 1));
	pre = palloc(sizeof(uint16) * (n / 2 + 1));
	for (int step = 0; step < core->nsteps; step++)
	{
		start[step] = (uint16) next;
		while (next < n / 2 && DatumGetInt32(values[2 * next]) == step)
		{
			pre[next] = (uint16) DatumGetInt32(values[2 * next + 1]);
			next++;
		}
	}
	start[core->nsteps] = (uint16) next;
	if (next != n / 2)
		return false;
	core->orders.start = start;
	core->orders.pre = pre;
	return true;
}

static bool
decode_ops(uint64 row, StoreTrans *trans)
{
	DtmTrans   *core = &trans->core;
	char	   *letters = text_column(row, C_BRANCH_STATUS);

	core->nops = dtm_core_ops_of(core->type, core->nsteps);
	if (letters == NULL || strlen(letters) != core->nops)
		return false;
	core->ops = palloc0(sizeof(DtmBranchOp) * (core->nops + 1));
	dtm_core_lay_out(core);
	for (int i = 0; i < core->nops; i++)
	{
		DtmBranchOp *op = &core->ops[i];
		DtmBranchStatus status;
		char	  **urls = op->op == DTM_OP_COMPENSATE ? trans->compensate :
			trans->action;

		if (!dtm_branch_status_of_letter(letters[i], &status))
			return false;
		op->status = (uint8) status;
		op->has_url = urls[op->step][0] != '\0';
	}
	return true;
}

/*
 * A row of the columns above, in the current memory context.  NULL and why if
 * it does not make sense: somebody has written it by hand.
 */
static StoreTrans *
decode(uint64 row, const char **problem)
{
	StoreTrans *trans = palloc0(sizeof(StoreTrans));
	DtmTrans   *core = &trans->core;
	bool		isnull;
	bool	   *nulls;
	Datum	   *payloads;
	int			n;
	char	   *reason;
	char	  **headers;

	trans->id = int64_column(row, C_ID);
	trans->gid = text_column(row, C_GID);
	trans->version = int32_column(row, C_VERSION);
	trans->submitted_by = DatumGetObjectId(column(row, C_SUBMITTED_BY, &isnull));
	trans->request_timeout = int32_column(row, C_REQUEST_TIMEOUT);
	trans->wait_result = bool_column(row, C_WAIT_RESULT);
	trans->protocol = text_column(row, C_PROTOCOL);
	trans->query_prepared = text_column(row, C_QUERY_PREPARED);
	trans->is_mine = TransactionIdIsCurrentTransactionId(
														 DatumGetTransactionId(column(row, C_XMIN, &isnull)));

	core->created = int64_column(row, C_CREATED);
	core->next_time = int64_column(row, C_NEXT_TIME);
	core->timeout_to_fail = int64_column(row, C_TIMEOUT_TO_FAIL);
	core->retry_interval = int64_column(row, C_RETRY_INTERVAL);
	core->delay = int64_column(row, C_DELAY);
	core->retry_limit = int32_column(row, C_RETRY_LIMIT);
	core->concurrent = bool_column(row, C_CONCURRENT);
	core->has_query_url = trans->query_prepared != NULL &&
		trans->query_prepared[0] != '\0';
	core->failures = (uint16) DatumGetInt16(column(row, C_FAILURES, &isnull));
	core->retries = (uint16) DatumGetInt16(column(row, C_RETRIES, &isnull));
	if (!dtm_trans_type_of_letter(char_column(row, C_TRANS_TYPE), &core->type) ||
		(core->type != DTM_SAGA && core->type != DTM_MSG))
	{
		*problem = "its trans_type is not one of this version";
		return NULL;
	}
	if (!dtm_status_of_letter(char_column(row, C_STATUS), &core->status))
	{
		*problem = "its status is unknown";
		return NULL;
	}
	reason = text_column(row, C_ROLLBACK_REASON);
	if (reason != NULL)
		strlcpy(core->reason, reason, sizeof(core->reason));

	trans->action = strings_column(row, C_ACTION, &core->nsteps);
	if (core->nsteps < 0 || core->nsteps > DTM_MAX_STEPS)
	{
		*problem = "its steps are out of bounds";
		return NULL;
	}
	trans->compensate = strings_column(row, C_COMPENSATE, &n);
	if (core->type == DTM_SAGA && n != core->nsteps)
	{
		*problem = "it has not as many compensations as actions";
		return NULL;
	}
	trans->payload = palloc0(sizeof(bytea *) * (core->nsteps + 1));
	payloads = array_column(row, C_PAYLOAD, BYTEAOID, &n, &nulls);
	if (n >= 0 && n != core->nsteps)
	{
		*problem = "it has not as many payloads as steps";
		return NULL;
	}
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			trans->payload[i] = DatumGetByteaPCopy(payloads[i]);
	if (!decode_orders(row, core))
	{
		*problem = "its orders are malformed";
		return NULL;
	}
	headers = strings_column(row, C_BRANCH_HEADERS, &n);
	if (n > 0)
	{
		trans->nheaders = n / 2;
		trans->header_name = palloc(sizeof(char *) * (n / 2 + 1));
		trans->header_value = palloc(sizeof(char *) * (n / 2 + 1));
		for (int i = 0; i < n / 2; i++)
		{
			trans->header_name[i] = headers[2 * i];
			trans->header_value[i] = headers[2 * i + 1];
		}
	}
	if (!decode_ops(row, trans))
	{
		*problem = "its branch_status does not fit its steps";
		return NULL;
	}
	return trans;
}

/* The ops' statuses as they are stored. */
static char *
branch_letters(const DtmTrans *core)
{
	char	   *letters = palloc(core->nops + 1);

	for (int i = 0; i < core->nops; i++)
		letters[i] = dtm_branch_status_letter(core->ops[i].status);
	letters[core->nops] = '\0';
	return letters;
}

/* ---------- for sessions ---------- */

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
headers_array(const StoreTrans *trans, char *null)
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
payload_array(const StoreTrans *trans, char *null)
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

/*
 * No operators here, so that a caller's search_path can't lead astray: this
 * statement alone runs without the planner's settings, for speed.
 */
static Statement insert_statement = {
	"WITH r AS ("
	"INSERT INTO dtm.request (created, timeout_to_fail, retry_interval, delay, "
	"submitted_by, request_timeout, retry_limit, trans_type, concurrent, "
	"wait_result, gid, protocol, query_prepared, action, compensate, payload, "
	"orders, branch_headers) "
	"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, "
	"$16, $17, $18) "
	"ON CONFLICT ON CONSTRAINT request_gid DO NOTHING RETURNING id) "
	"INSERT INTO dtm.active (id, next_time, updated, status, branch_status) "
	"SELECT r.id, $19, $1, $20, pg_catalog.repeat('P', $21) FROM r "
	"RETURNING id",
	21,
	{TIMESTAMPTZOID, INT8OID, INT8OID, INT8OID, OIDOID, INT4OID, INT4OID,
	CHAROID, BOOLOID, BOOLOID, TEXTOID, TEXTOID, TEXTOID, TEXTARRAYOID,
	TEXTARRAYOID, BYTEAARRAYOID, INT4ARRAYOID, TEXTARRAYOID, TIMESTAMPTZOID,
	CHAROID, INT4OID}
};

bool
store_insert(StoreTrans *trans)
{
	const DtmTrans *core = &trans->core;
	Datum		values[MAX_PARAMS + 1];
	char		nulls[MAX_PARAMS + 1];
	Oid			user;
	int			sec_context;
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
	if (trans->compensate != NULL)
		values[14] = text_array_of(trans->compensate, core->nsteps);
	else
		nulls[14] = 'n';
	values[15] = payload_array(trans, &nulls[15]);
	values[16] = orders_array(core, &nulls[16]);
	values[17] = headers_array(trans, &nulls[17]);
	values[18] = TimestampTzGetDatum(core->next_time);
	values[19] = CharGetDatum(dtm_status_letter(core->status));
	values[20] = Int32GetDatum(core->nops);

	GetUserIdAndSecContext(&user, &sec_context);
	SetUserIdAndSecContext(dtm_extension_owner(),
						   sec_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_NOFORCE_RLS);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	run(&insert_statement, values, nulls);
	inserted = SPI_processed > 0;
	if (inserted)
		trans->id = int64_column(0, 1);
	SPI_finish();
	SetUserIdAndSecContext(user, sec_context);
	return inserted;
}

static StoreTrans *
decode_or_error(uint64 row, MemoryContext context)
{
	MemoryContext before = MemoryContextSwitchTo(context);
	const char *problem;
	StoreTrans *trans = decode(row, &problem);

	if (trans == NULL)
		ereport(ERROR,
				(errcode(DTM_ERRCODE_BAD_ROW),
				 errmsg("global transaction %lld can't be read: %s",
						(long long) int64_column(row, C_ID), problem),
				 errhint("Its rows in schema dtm have been changed by hand.")));
	MemoryContextSwitchTo(before);
	return trans;
}

StoreFound
store_find(const char *gid, bool lock, StoreTrans **trans)
{
	static Statement active = {
		"SELECT " REQUEST_COLUMNS ACTIVE_COLUMNS
		"FROM dtm.request r JOIN dtm.active a ON a.id = r.id WHERE r.gid = $1",
		1, {TEXTOID}
	};
	static Statement active_locked = {
		"SELECT " REQUEST_COLUMNS ACTIVE_COLUMNS
		"FROM dtm.request r JOIN dtm.active a ON a.id = r.id WHERE r.gid = $1 "
		"FOR UPDATE OF a",
		1, {TEXTOID}
	};
	static Statement finished = {
		"SELECT " REQUEST_COLUMNS FINISHED_COLUMNS
		"FROM dtm.request r JOIN dtm.finished f ON f.id = r.id WHERE r.gid = $1",
		1, {TEXTOID}
	};
	MemoryContext context = CurrentMemoryContext;
	StoreFound	found = STORE_ABSENT;
	Session		session;
	Datum		values[1];

	values[0] = CStringGetTextDatum(gid);
	enter(&session);
	run(lock ? &active_locked : &active, values, NULL);
	if (SPI_processed > 0)
		found = STORE_ACTIVE;
	else
	{
		run(&finished, values, NULL);
		if (SPI_processed > 0)
			found = STORE_FINISHED;
	}
	if (found != STORE_ABSENT)
		*trans = decode_or_error(0, context);
	leave(&session);
	return found;
}

StoreFound
store_peek(const char *gid, DtmStatus *status, Oid *submitted_by)
{
	static Statement statement = {
		"SELECT a.status, r.submitted_by FROM dtm.request r JOIN dtm.active a ON a.id = r.id "
		"WHERE r.gid = $1 "
		"UNION ALL "
		"SELECT f.status, r.submitted_by FROM dtm.request r JOIN dtm.finished f ON f.id = r.id "
		"WHERE r.gid = $1",
		1, {TEXTOID}
	};
	StoreFound	found = STORE_ABSENT;
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	Session		session;
	Datum		values[1];

	values[0] = CStringGetTextDatum(gid);
	enter(&session);
	if (SPI_execute_snapshot(plan_of(&statement), values, NULL, snapshot,
							 InvalidSnapshot, true, false, 0) < 0)
		elog(ERROR, "SPI_execute_snapshot failed");
	if (SPI_processed > 0 &&
		dtm_status_of_letter(char_column(0, 1), status))
	{
		bool		isnull;

		found = dtm_core_is_final(*status) ? STORE_FINISHED : STORE_ACTIVE;
		*submitted_by = DatumGetObjectId(column(0, 2, &isnull));
	}
	leave(&session);
	UnregisterSnapshot(snapshot);
	return found;
}

void
store_update(StoreTrans *trans)
{
	bool		saved;
	Session		session;

	enter(&session);
	store_save(&trans, 1, GetCurrentTimestamp(), &saved);
	if (!saved)
		elog(ERROR, "global transaction \"%s\" changed while it was locked",
			 trans->gid);
	leave(&session);
}

void
store_update_options(const StoreTrans *trans)
{
	static Statement statement = {
		"UPDATE dtm.request SET timeout_to_fail = $2, retry_interval = $3, "
		"delay = $4, request_timeout = $5, retry_limit = $6, "
		"branch_headers = $7, query_prepared = $8, wait_result = $9, "
		"concurrent = $10, orders = $11 "
		"WHERE id = $1",
		11,
		{INT8OID, INT8OID, INT8OID, INT8OID, INT4OID, INT4OID, TEXTARRAYOID,
		TEXTOID, BOOLOID, BOOLOID, INT4ARRAYOID}
	};
	const DtmTrans *core = &trans->core;
	Datum		values[11];
	char		nulls[11];
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
	enter(&session);
	run(&statement, values, nulls);
	leave(&session);
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
	enter(&session);
	run(&statement, values, NULL);
	n = (int) SPI_processed;
	leave(&session);
	return n;
}

/* ---------- for the coordinator ---------- */

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
		{"jit", "off"}
	};

	for (size_t i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i].name, settings[i].value,
								 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SET,
								 true, 0, false);
	set_planner(GUC_ACTION_SET);
	own_session = true;
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
		trans = decode(row, &problem);
		MemoryContextSwitchTo(result_context);
		if (trans != NULL)
		{
			load->trans[load->n] = trans;
			load->context[load->n++] = context;
		}
		else
		{
			load->bad_id[load->nbad] = int64_column(row, C_ID);
			load->bad_error[load->nbad++] = pstrdup(problem);
			MemoryContextDelete(context);
		}
	}
	if (n > 0)
	{
		load->last.time = int64_column(n - 1, C_NEXT_TIME);
		load->last.id = int64_column(n - 1, C_ID);
	}
	MemoryContextSwitchTo(before);
}

void
store_load_due(TimestampTz now, StorePosition after, int max,
			   MemoryContext parent, StoreLoad *load)
{
	static Statement statement = {
		"SELECT " REQUEST_COLUMNS ACTIVE_COLUMNS
		"FROM dtm.active a JOIN dtm.request r ON r.id = a.id "
		"WHERE (a.next_time, a.id) > ($1, $2) AND a.next_time <= $3 "
		"ORDER BY a.next_time, a.id LIMIT $4",
		4, {TIMESTAMPTZOID, INT8OID, TIMESTAMPTZOID, INT8OID}
	};
	MemoryContext context = CurrentMemoryContext;
	Session		session;
	Datum		values[4];

	values[0] = TimestampTzGetDatum(after.time);
	values[1] = Int64GetDatum(after.id);
	values[2] = TimestampTzGetDatum(now);
	values[3] = Int64GetDatum(max);
	enter(&session);
	run(&statement, values, NULL);
	decode_rows(load, parent, context);
	leave(&session);
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
	enter(&session);
	run(&statement, values, NULL);
	decode_rows(load, parent, context);
	leave(&session);
}

int64
store_first_due(TimestampTz now, StorePosition after)
{
	static Statement statement = {
		"SELECT a.id FROM dtm.active a "
		"WHERE (a.next_time, a.id) > ($1, $2) AND a.next_time <= $3 "
		"ORDER BY a.next_time, a.id LIMIT 1",
		3, {TIMESTAMPTZOID, INT8OID, TIMESTAMPTZOID}
	};
	int64		id = 0;
	Session		session;
	Datum		values[3];

	values[0] = TimestampTzGetDatum(after.time);
	values[1] = Int64GetDatum(after.id);
	values[2] = TimestampTzGetDatum(now);
	enter(&session);
	run(&statement, values, NULL);
	if (SPI_processed > 0)
		id = int64_column(0, 1);
	leave(&session);
	return id;
}

TimestampTz
store_next_deadline(TimestampTz after)
{
	static Statement statement = {
		"SELECT a.next_time FROM dtm.active a "
		"WHERE a.next_time > $1 AND a.next_time < 'infinity' "
		"ORDER BY a.next_time, a.id LIMIT 1",
		1, {TIMESTAMPTZOID}
	};
	TimestampTz deadline = DT_NOEND;
	Session		session;
	Datum		values[1];

	values[0] = TimestampTzGetDatum(after);
	enter(&session);
	run(&statement, values, NULL);
	if (SPI_processed > 0)
		deadline = int64_column(0, 1);
	leave(&session);
	return deadline;
}

/*
 * The coordinator never waits for a row's lock: a session may hold one for as
 * long as it likes, and one may not stop all.  Locked rows are skipped.
 */
static Statement save_active_statement = {
	"WITH u AS MATERIALIZED (SELECT * FROM unnest("
	"$1, $2, $3, $4, $5, $6, $7, $8) "
	"u(id, version, status, branch_status, reason, next_time, failures, retries)), "
	"l AS MATERIALIZED (SELECT u.* FROM u "
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
	"WITH u AS MATERIALIZED (SELECT * FROM unnest("
	"$1, $2, $3, $4, $5) u(id, version, status, branch_status, reason)), "
	"l AS MATERIALIZED (SELECT u.* FROM u "
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
		elements[BRANCHES][m] = CStringGetTextDatum(branch_letters(core));
		/* core may have cut it in the middle of a character */
		elements[REASON][m] =
			PointerGetDatum(cstring_to_text_with_len(core->reason,
													 pg_mbcliplen(core->reason,
																  strlen(core->reason),
																  strlen(core->reason))));
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
	run(statement, values, NULL);

	/* which were written: both lists are short, and in nearly the same order */
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		int64		id = int64_column(row, 1);

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
	enter(&session);
	save_some(&save_active_statement, false, trans, n, now, saved);
	save_some(&save_finished_statement, true, trans, n, now, saved);
	leave(&session);
}

void
store_add_attempts(const StoreAttempt *attempts, int n)
{
	static Statement statement = {
		"INSERT INTO dtm.attempt (id, started, duration, branch, http_status, "
		"result, error) "
		"SELECT u.id, u.started, u.duration, u.branch, NULLIF(u.http_status, 0), "
		"u.result, u.error "
		"FROM unnest($1, $2, $3, $4, $5, $6, $7) "
		"u(id, started, duration, branch, http_status, result, error)",
		7,
		{INT8ARRAYOID, TIMESTAMPTZARRAYOID, INT8ARRAYOID, INT2ARRAYOID,
		INT2ARRAYOID, CHARARRAYOID, TEXTARRAYOID}
	};
	Datum	   *elements[7];
	bool	   *nulls;
	Session		session;
	Datum		values[7];

	if (n == 0)
		return;
	enter(&session);
	nulls = palloc(sizeof(bool) * n);
	for (int array = 0; array < 7; array++)
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
	}
	for (int array = 0; array < 7; array++)
		values[array] = array_of(elements[array], array == 6 ? nulls : NULL, n,
								 statement.types[array] == INT8ARRAYOID ? INT8OID :
								 statement.types[array] == INT2ARRAYOID ? INT2OID :
								 statement.types[array] == CHARARRAYOID ? CHAROID :
								 statement.types[array] == TEXTARRAYOID ? TEXTOID :
								 TIMESTAMPTZOID);
	run(&statement, values, NULL);
	leave(&session);
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
	enter(&session);
	run(&statement, values, NULL);
	written = SPI_processed > 0;
	leave(&session);
	return written;
}

/* ---------- where this database lives ---------- */

StoreHome
store_home(void)
{
	static Statement statement = {
		"SELECT h.system_identifier = $1 AND h.database_oid = $2, h.paused "
		"FROM dtm.home h",
		2, {INT8OID, OIDOID}
	};
	StoreHome	home = STORE_HOME_HERE;
	Session		session;
	Datum		values[2];

	values[0] = Int64GetDatum((int64) GetSystemIdentifier());
	values[1] = ObjectIdGetDatum(MyDatabaseId);
	enter(&session);
	run(&statement, values, NULL);
	/* a dump that was restored has brought a row of its own */
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		if (!bool_column(row, 1))
			home = STORE_HOME_ELSEWHERE;
		else if (bool_column(row, 2) && home == STORE_HOME_HERE)
			home = STORE_HOME_PAUSED;
	}
	leave(&session);
	return home;
}

void
store_set_home(bool paused)
{
	static Statement delete_statement = {"DELETE FROM dtm.home", 0, {0}};
	static Statement insert_home = {
		"INSERT INTO dtm.home VALUES ($1, $2, $3, pg_catalog.now())",
		3, {INT8OID, OIDOID, BOOLOID}
	};
	Session		session;
	Datum		values[3];

	values[0] = Int64GetDatum((int64) GetSystemIdentifier());
	values[1] = ObjectIdGetDatum(MyDatabaseId);
	values[2] = BoolGetDatum(paused);
	enter(&session);
	run(&delete_statement, NULL, NULL);
	run(&insert_home, values, NULL);
	leave(&session);
}
