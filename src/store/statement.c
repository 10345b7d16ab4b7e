/*
 * statement.c
 *		Statements, which are planned once in each process, and their results.
 *
 * Plans are made with sequential scans and other methods disabled, because
 * every statement of the store finds its rows through an index.  Otherwise a
 * plan that was made while the tables were empty could be a sequential scan,
 * and would be kept.
 *
 * A session has settings of its own, and to change and restore ours costs more
 * than most of the statements.  So those that are run often have every name
 * qualified, and need ours only while they are planned, as long as nobody has
 * added anything to the tables (own.c); the others run with them.
 */
#include "private.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/syscache.h"

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

	/*
	 * what is switched off, and needed all the same, looks as if it cost a
	 * lot
	 */
	{"jit", "off"}
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

void
statement_own_settings(void)
{
	set_planner(GUC_ACTION_SET);
	own_take_session();
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

/* Plans a statement, if need be, and locks its tables as it will do itself. */
static void
lock_tables(Statement *statement)
{
	CachedPlan *plan = SPI_plan_get_cached_plan(statement->plan);

	if (plan != NULL)
		ReleaseCachedPlan(plan, CurrentResourceOwner);
}

/*
 * Makes a statement ready to run, with the settings that it needs.  Returns what
 * AtEOXact_GUC() restores, or 0; an error restores them by itself.
 */
static int
begin_run(Statement *statement)
{
	bool		planned = statement->qualified && is_planned(statement);
	bool		own = !statement->qualified || own_needs_settings();
	int			nest_level = 0;

	if (own || !planned)
	{
		nest_level = NewGUCNestLevel();
		if (own)
			(void) own_enter_settings();
		set_planner(GUC_ACTION_SAVE);
	}
	prepare(statement);

	/*
	 * Nobody can add a trigger to a table that is locked; one that was added
	 * before that is seen here.
	 */
	lock_tables(statement);
	if (!own && own_needs_settings())
	{
		if (nest_level == 0)
			nest_level = NewGUCNestLevel();
		(void) own_enter_settings();
		set_planner(GUC_ACTION_SAVE);
	}
	return nest_level;
}

static void
run(Statement *statement, Datum *values, const char *nulls, Snapshot snapshot)
{
	int			nest_level = 0;
	int			rc;

	if (own_is_session())
		prepare(statement);
	else
		nest_level = begin_run(statement);
	rc = snapshot == NULL ?
		SPI_execute_plan(statement->plan, values, nulls, false, 0) :
		SPI_execute_snapshot(statement->plan, values, nulls, snapshot,
							 InvalidSnapshot, true, false, 0);
	if (nest_level > 0)
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
