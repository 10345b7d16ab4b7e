/*
 * statement.c
 *		Statements: planned once a process, and what they return.
 *
 * So that a plan made while the tables were empty is not a sequential scan
 * for ever, plans are made with the planner's other ideas switched off: every
 * statement of the store finds its rows through an index.
 *
 * A session has settings of its own, and to change and restore ours costs more
 * than most of the statements.  So those that are run often have every name
 * qualified, and need ours only while they are planned; the others run with
 * them.
 */
#include "private.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/syscache.h"

/* What those have who run as the owner. */
#define OWN_SEARCH_PATH		"pg_catalog, pg_temp"

/* The whole process is ours: settings and user are set once. */
static bool statement_own_session = false;

/* The context of the latest SPI_connect(): gone when its statement is done. */
static MemoryContext scratch;

static const struct
{
	const char *name;
	const char *value;
}			planner_settings[] = {
	{"enable_seqscan", "off"},
	{"enable_bitmapscan", "off"},
	{"enable_hashjoin", "off"},
	{"enable_mergejoin", "off"},
	{"enable_sort", "off"},
	/* names of tables are always qualified, but not all operators are */
	{"search_path", OWN_SEARCH_PATH}
};

/* What a statement that is qualified needs to be planned: all but the last. */
#define NPLANNER_SETTINGS	(lengthof(planner_settings) - 1)

static void
set_planner(GucAction action, size_t n)
{
	for (size_t i = 0; i < n; i++)
		(void) set_config_option(planner_settings[i].name,
								 planner_settings[i].value,
								 PGC_USERSET, PGC_S_SESSION, action,
								 true, 0, false);
}

void
statement_own_settings(void)
{
	set_planner(GUC_ACTION_SET, lengthof(planner_settings));
	statement_own_session = true;
}

/* The owner that was found last; InvalidOid: it has to be looked for. */
static Oid	known_owner = InvalidOid;
static uint64 owner_changes = 0;

static void
forget_owner(Datum arg, int cache, uint32 hash)
{
	known_owner = InvalidOid;
	owner_changes++;
}

static Oid
find_owner(void)
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

Oid
dtm_extension_owner(void)
{
	static bool registered = false;
	uint64		changes;
	Oid			owner;

	if (OidIsValid(known_owner))
		return known_owner;
	if (!registered)
	{
		CacheRegisterSyscacheCallback(RELOID, forget_owner, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, forget_owner, (Datum) 0);
		registered = true;
	}
	changes = owner_changes;
	owner = find_owner();
	/* a look-up may itself hear of a change, after it has read the row */
	if (changes == owner_changes)
		known_owner = owner;
	return owner;
}

void
owner_enter(Session *session)
{
	if (statement_own_session)
		return;
	GetUserIdAndSecContext(&session->user, &session->sec_context);
	SetUserIdAndSecContext(dtm_extension_owner(),
						   session->sec_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_NOFORCE_RLS);
}

void
owner_leave(const Session *session)
{
	if (!statement_own_session)
		SetUserIdAndSecContext(session->user, session->sec_context);
}

int
search_path_enter(void)
{
	int			nest_level;

	if (statement_own_session)
		return 0;
	nest_level = NewGUCNestLevel();
	(void) set_config_option("search_path", OWN_SEARCH_PATH, PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return nest_level;
}

void
search_path_leave(int nest_level)
{
	if (nest_level > 0)
		AtEOXact_GUC(true, nest_level);
}

void
store_enter_owner(StoreCaller *caller)
{
	Session		session = {InvalidOid, 0};

	owner_enter(&session);
	caller->user = session.user;
	caller->sec_context = session.sec_context;
	caller->nest_level = search_path_enter();
}

void
store_leave_owner(const StoreCaller *caller)
{
	Session		session = {caller->user, caller->sec_context};

	search_path_leave(caller->nest_level);
	owner_leave(&session);
}

void
statement_enter(Session *session)
{
	check_version();
	owner_enter(session);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	scratch = CurrentMemoryContext;
}

void
statement_leave(Session *session)
{
	SPI_finish();
	owner_leave(session);
}

static void
prepare(Statement *statement)
{
	const char *sql = statement->sql;
	SPIPlanPtr	plan;

	if (statement->plan != NULL)
		return;
	if (statement->of_request)
		sql = psprintf("SELECT %s%s", request_names, sql);
	plan = SPI_prepare_cursor(sql, statement->nparams,
							  statement->types, CURSOR_OPT_GENERIC_PLAN);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s",
			 SPI_result_code_string(SPI_result));
	SPI_keepplan(plan);
	statement->plan = plan;
}

/* Does it have a plan that can be run as it is? */
static bool
is_planned(const Statement *statement)
{
	CachedPlanSource *source;

	if (statement->plan == NULL)
		return false;
	source = linitial(SPI_plan_get_plan_sources(statement->plan));
	return source->is_valid && source->gplan != NULL && source->gplan->is_valid &&
		dtm_search_path_matches(source->search_path);
}

static void
run(Statement *statement, Datum *values, const char *nulls, Snapshot snapshot)
{
	bool		settings = !statement_own_session &&
		!(statement->qualified && is_planned(statement));
	int			nest_level = 0;
	int			rc;

	/* an error restores them by itself */
	if (settings)
	{
		nest_level = NewGUCNestLevel();
		set_planner(GUC_ACTION_SAVE, statement->qualified ? NPLANNER_SETTINGS :
					lengthof(planner_settings));
	}
	prepare(statement);
	rc = snapshot == NULL ?
		SPI_execute_plan(statement->plan, values, nulls, false, 0) :
		SPI_execute_snapshot(statement->plan, values, nulls, snapshot,
							 InvalidSnapshot, true, false, 0);
	if (settings)
		AtEOXact_GUC(true, nest_level);
	if (rc < 0)
		elog(ERROR, "executing a plan failed: %s", SPI_result_code_string(rc));
}

void
statement_run(Statement *statement, Datum *values, const char *nulls)
{
	run(statement, values, nulls, NULL);
}

void
statement_run_snapshot(Statement *statement, Datum *values, Snapshot snapshot)
{
	run(statement, values, NULL, snapshot);
}

void
result_row(uint64 number, Row *row)
{
	int			natts = SPI_tuptable->tupdesc->natts;
	MemoryContext before = MemoryContextSwitchTo(scratch);

	row->values = palloc(sizeof(Datum) * natts);
	row->nulls = palloc(sizeof(bool) * natts);
	row->scratch = scratch;
	heap_deform_tuple(SPI_tuptable->vals[number], SPI_tuptable->tupdesc,
					  row->values, row->nulls);
	MemoryContextSwitchTo(before);
}

int64
result_int64(uint64 number, int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[number],
									  SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}
