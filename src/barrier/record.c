/*
 * record.c
 *		Rows of dtm_barrier.barrier: statements whose plans are kept for the
 *		session.
 */
#include "record.h"

#include "citus.h"
#include "transaction.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "nodes/makefuncs.h"
#include "nodes/params.h"
#include "parser/parse_node.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#define SCHEMA			"dtm_barrier"
#define TABLE			"barrier"

/* ---------- statements ---------- */

/* The parameters $1, $2, ... of all statements. */
enum
{
	P_TRANS_TYPE, P_GID, P_BRANCH_ID, P_OP, P_BARRIER_ID, P_REASON, P_NOW,
	NPARAMS
};

/*
 * Types of the parameters, which are those of the columns as the extension
 * creates them.  Values are not longer, so they need no coercion.  If a user
 * has made a column shorter, the statement coerces values, and fails if they
 * are too long.
 */
static const struct
{
	Oid			type;
	int32		typmod;
}			params[NPARAMS] = {
	{VARCHAROID, VARHDRSZ + BARRIER_OTHER_CHARS},
	{VARCHAROID, VARHDRSZ + DTM_MAX_GID_CHARS},
	{VARCHAROID, VARHDRSZ + BARRIER_BRANCH_ID_CHARS},
	{VARCHAROID, VARHDRSZ + BARRIER_OTHER_CHARS},
	{VARCHAROID, VARHDRSZ + BARRIER_OTHER_CHARS},
	{VARCHAROID, VARHDRSZ + BARRIER_OTHER_CHARS},
	{TIMESTAMPTZOID, 0}
};

/* $n, for the parser; NULL: there is none. */
static Node *
make_param(ParseState *state, ParamRef *ref)
{
	Param	   *param;

	if (ref->number < 1 || ref->number > NPARAMS)
		return NULL;
	param = makeNode(Param);
	param->paramkind = PARAM_EXTERN;
	param->paramid = ref->number;
	param->paramtype = params[ref->number - 1].type;
	param->paramtypmod = params[ref->number - 1].typmod;
	param->paramcollid = get_typcollation(param->paramtype);
	param->location = ref->location;
	return (Node *) param;
}

static void
set_up_parser(ParseState *state, void *arg)
{
	state->p_paramref_hook = make_param;
}

/*
 * Citus plans a generic plan once more for each shard of its own node, and keeps what
 * it has planned: as of 13.2.1 without ever finding it again, so that each barrier
 * would take memory until the session ends.
 */
static int
plan_options(void)
{
	return citus_has_table(barrier_table()) ? CURSOR_OPT_CUSTOM_PLAN : CURSOR_OPT_GENERIC_PLAN;
}

static void
run(SPIPlanPtr *plan, const char *sql, const BarrierRow *row)
{
	ParamListInfo values = makeParamList(NPARAMS);
	const text *const columns[] = {row->trans_type, row->gid, row->branch_id, row->op, row->barrier_id, row->reason};
	int			rc;

	for (int i = 0; i < NPARAMS; i++)
	{
		values->params[i].value = i == P_NOW ?
			DirectFunctionCall2(timestamptz_scale,
								TimestampTzGetDatum(GetCurrentTransactionStartTimestamp()),
								Int32GetDatum(params[P_NOW].typmod)) :
			PointerGetDatum(columns[i]);
		values->params[i].isnull = false;
		values->params[i].pflags = PARAM_FLAG_CONST;
		values->params[i].ptype = params[i].type;
	}
	if (*plan == NULL)
	{
		SPIPlanPtr	prepared = SPI_prepare_params(sql, set_up_parser, NULL, plan_options());

		if (prepared == NULL)
			elog(ERROR, "SPI_prepare_params failed: %s",
				 SPI_result_code_string(SPI_result));
		SPI_keepplan(prepared);
		*plan = prepared;
	}
	rc = SPI_execute_plan_with_paramlist(*plan, values, false, 0);
	if (rc < 0)
		elog(ERROR, "SPI_execute_plan_with_paramlist failed: %s",
			 SPI_result_code_string(rc));
}

/* ---------- deferred triggers ---------- */

Oid
barrier_table(void)
{
	return get_relname_relid(TABLE, get_namespace_oid(SCHEMA, false));
}

/* Adds the names of a table's constraints whose triggers may be deferred. */
static List *
add_deferrable(List *names, Oid table)
{
	Relation	relation = table_open(table, NoLock);
	TriggerDesc *triggers = relation->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		/* a foreign key calls operators by their ids, never by their names */
		if (!trigger->tgdeferrable ||
			RI_FKey_trigger_type(trigger->tgfoid) != RI_TRIGGER_NONE)
			continue;
		names = lappend(names, makeRangeVar(get_namespace_name(RelationGetNamespace(relation)),
											get_constraint_name(trigger->tgconstraint), -1));
	}
	table_close(relation, NoLock);
	return names;
}

/*
 * What deferred triggers have to do for the row that was inserted, they do now.
 * At the commit they would run under the search path that the caller has then:
 * before PostgreSQL 18 as the caller, who may have no rights on what they need;
 * and since then as the owner.
 */
static void
run_deferred(void)
{
	Oid			table = barrier_table();
	List	   *names = NIL;

	/* which the statement has locked */
	if (get_rel_relkind(table) != RELKIND_PARTITIONED_TABLE)
		names = add_deferrable(NIL, table);
	else
	{
		ListCell   *cell;

		foreach(cell, find_all_inheritors(table, RowExclusiveLock, NULL))
			names = add_deferrable(names, lfirst_oid(cell));
	}
	if (names != NIL)
	{
		ConstraintsSetStmt *statement = makeNode(ConstraintsSetStmt);

		statement->constraints = names;
		statement->deferred = false;
		AfterTriggerSetState(statement);
	}
}

/* ---------- what barriers do ---------- */

/*
 * The constraint is named, and not left to be found, since it is what makes a
 * row a repeat: one that another unique index of somebody's keeps out has to be
 * an error, not a branch that is skipped.
 */
bool
barrier_row_insert(const BarrierRow *row, const StoreCaller *caller)
{
	static SPIPlanPtr plan = NULL;
	bool		inserted;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	run(&plan,
		"INSERT INTO " SCHEMA "." TABLE " (trans_type, gid, "
		"branch_id, op, barrier_id, reason, create_time, update_time) "
		"VALUES ($1, $2, $3, $4, $5, $6, $7, $7) "
		"ON CONFLICT ON CONSTRAINT uniq_barrier DO NOTHING",
		row);
	inserted = SPI_processed > 0;
	if (!caller->as_made)
		run_deferred();
	SPI_finish();
	return inserted;
}

char *
barrier_row_value(MemoryContext context)
{
	char	   *value = NULL;

	if (SPI_processed > 0)
		value = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	return value == NULL ? NULL : MemoryContextStrdup(context, value);
}

char *
barrier_row_reason(const BarrierRow *row)
{
	static SPIPlanPtr plan = NULL;
	MemoryContext before = CurrentMemoryContext;
	char	   *reason;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	run(&plan,
		"SELECT b.reason FROM " SCHEMA "." TABLE " b "
		"WHERE b.gid OPERATOR(pg_catalog.=) $2 "
		"AND b.branch_id OPERATOR(pg_catalog.=) $3 "
		"AND b.op OPERATOR(pg_catalog.=) $4 "
		"AND b.barrier_id OPERATOR(pg_catalog.=) $5",
		row);
	reason = barrier_row_value(before);
	SPI_finish();
	return reason;
}
