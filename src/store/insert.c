/*
 * insert.c
 *		Writes a new transaction: a row of dtm.request and one of dtm.active.
 *
 * In SQL that is one statement, but to start and to end its plan took more than
 * half of the time of a submit (docs/performance.md).  So as long as both tables
 * are as CREATE EXTENSION has made them, the rows are written by the functions
 * that INSERT ... ON CONFLICT DO NOTHING calls itself.  Whatever somebody has
 * added that runs with the rows, or that they have to have, is the statement's:
 * triggers, rules, checks, columns, expressions in indexes.
 *
 * insert_request() mirrors the part of ExecInsert() (nodeModifyTable.c) for ON
 * CONFLICT DO NOTHING, and has to be compared with it for each new major version.
 * Compared last with PostgreSQL 15.18.
 */
#include "private.h"

#include "process/metrics.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "commands/sequence.h"
#include "executor/executor.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* ---------- as a statement ---------- */

/*
 * Behind the columns of dtm.request the parameters are next_time, status, the
 * number of ops, and held.
 */
static Statement insert_statement = {.qualified = true};

static void
build_insert(const ColumnSet *set)
{
	static const Oid types_behind[] = {TIMESTAMPTZOID, CHAROID, INT4OID, BOOLOID};
	StringInfoData sql;
	int			n = set->n;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "WITH r AS (INSERT INTO dtm.request (");
	row_append_names(&sql, set);
	appendStringInfoString(&sql, ") VALUES (");
	for (int i = 1; i <= n; i++)
		appendStringInfo(&sql, "%s$%d", i == 1 ? "" : ", ", i);
	appendStringInfo(&sql,
					 ") ON CONFLICT ON CONSTRAINT request_gid DO NOTHING RETURNING id, created, submitted_by) "
					 "INSERT INTO dtm.active (id, next_time, updated, status, branch_status, held, delayed, submitted_by) "
					 "SELECT r.id, $%d, r.created, $%d, pg_catalog.repeat('P', $%d), $%d, "
					 "CASE WHEN $%d" EQUALS "'s' AND $%d OPERATOR(pg_catalog.>) r.created THEN true END, r.submitted_by FROM r "
					 "RETURNING id",
					 n + 1, n + 2, n + 3, n + 4, n + 2, n + 1);
	row_types(set, insert_statement.types);
	memcpy(insert_statement.types + n, types_behind, sizeof(types_behind));
	insert_statement.nparams = n + (int) lengthof(types_behind);
	insert_statement.sql = MemoryContextStrdup(TopMemoryContext, sql.data);
	pfree(sql.data);
}

static bool
insert_by_statement(Transaction *trans)
{
	const DtmTrans *core = &trans->core;
	const ColumnSet *set = row_columns(COLUMN_NEVER);
	Datum		values[MAX_PARAMS];
	char		nulls[MAX_PARAMS];
	Session		session;
	bool		inserted;

	if (insert_statement.sql == NULL)
		build_insert(set);
	memset(nulls, ' ', sizeof(nulls));
	row_values(trans, set, values, nulls);
	values[set->n] = TimestampTzGetDatum(core->next_time);
	values[set->n + 1] = CharGetDatum(dtm_status_letter(core->status));
	values[set->n + 2] = Int32GetDatum(core->nops);
	values[set->n + 3] = BoolGetDatum(true);
	if (!core->held)
		nulls[set->n + 3] = 'n';
	statement_enter(&session);
	statement_run(&insert_statement, values, nulls);
	inserted = SPI_processed > 0;
	if (inserted)
		trans->id = result_int64(0, 1);
	statement_leave(&session);
	return inserted;
}

/* ---------- without one ---------- */

/* A table to which a row is added. */
typedef struct Target
{
	Relation	relation;		/* NULL: there is none */
	ResultRelInfo *info;
	TupleTableSlot *slot;
} Target;

/* Has it got our columns, and no others but such as were dropped again? */
static bool
has_our_columns(Relation relation, const Oid *types, int n, Oid submitter)
{
	TupleDesc	desc = RelationGetDescr(relation);

	if (desc->natts < n)
		return false;
	for (int i = n; i < desc->natts; i++)
		if (!TupleDescAttr(desc, i)->attisdropped)
			return false;
	for (int i = 0; i < n; i++)
		if (TupleDescAttr(desc, i)->atttypid != (OidIsValid(types[i]) ? types[i] : submitter))
			return false;
	return true;
}

static void
open_target(Target *target, EState *estate, bool speculative)
{
	target->info = makeNode(ResultRelInfo);
	InitResultRelInfo(target->info, target->relation, 0, NULL, 0);
	ExecOpenIndices(target->info, speculative);
	target->slot = ExecInitExtraTupleSlot(estate, RelationGetDescr(target->relation),
										  &TTSOpsVirtual);
	target->slot->tts_tableOid = RelationGetRelid(target->relation);
	memset(target->slot->tts_isnull, true,
		   sizeof(bool) * RelationGetNumberOfAttributes(target->relation));
}

static void
set(Target *target, int column, Datum value)
{
	target->slot->tts_values[column - 1] = value;
	target->slot->tts_isnull[column - 1] = false;
}

/* The unique index of gids, as a list; NIL: there is none that can be used. */
static List *
index_of_gids(const ResultRelInfo *info)
{
	for (int i = 0; i < info->ri_NumIndices; i++)
	{
		Relation	index = info->ri_IndexRelationDescs[i];

		if (strcmp(RelationGetRelationName(index), "request_gid") == 0 &&
			index->rd_index->indisunique && index->rd_index->indimmediate &&
			index->rd_index->indisvalid)
			return list_make1_oid(RelationGetRelid(index));
	}
	return NIL;
}

/*
 * The row of dtm.request; false: its gid is there already.
 *
 * 1. Whoever has this gid, and has not committed yet, is waited for.
 * 2. If there is none, the row is written as one that may be taken back, and
 *	  entered into the indexes.
 * 3. If another one with this gid was entered since 1, ours is taken back, and
 *	  it begins again: two that do this at the same time do not wait for each
 *	  other, as none of them has a row that the other has to wait for.
 */
static bool
insert_request(Target *target, EState *estate, Transaction *trans, Oid ids, List *gids)
{
	const ColumnSet *columns = row_columns(COLUMN_NEVER);
	Datum		values[NREQUEST_COLUMNS];
	char		nulls[NREQUEST_COLUMNS];
	bool		conflict;

	row_values(trans, columns, values, nulls);
	for (int i = 0; i < columns->n; i++)
		if (nulls[i] == ' ')
			set(target, columns->columns[i] + 1, values[i]);
	set(target, C_SUBMITTED_BY, submitter_datum(trans->submitted_by));
	ExecStoreVirtualTuple(target->slot);
	do
	{
		TransactionId xid;
		uint32		token;

		if (!dtm_has_no_conflict(target->info, target->slot, estate, gids)) /* 1 */
			return false;
		if (target->slot->tts_isnull[C_ID - 1])
		{
			trans->id = nextval_internal(ids, false);
			set(target, C_ID, Int64GetDatum(trans->id));
			ExecConstraints(target->info, target->slot, estate);
		}
		xid = GetCurrentTransactionId();
		token = SpeculativeInsertionLockAcquire(xid);
		table_tuple_insert_speculative(target->relation, target->slot,
									   estate->es_output_cid, 0, NULL, token);	/* 2 */
		conflict = dtm_insert_index_entries(target->info, target->slot, estate, gids);
		table_tuple_complete_speculative(target->relation, target->slot, token, !conflict);
		SpeculativeInsertionLockRelease(xid);
	} while (conflict);			/* 3 */
	return true;
}

static void
insert_active(Target *target, EState *estate, const Transaction *trans, Datum submitter)
{
	const DtmTrans *core = &trans->core;
	text	   *letters = palloc(VARHDRSZ + core->nops);

	SET_VARSIZE(letters, VARHDRSZ + core->nops);
	memset(VARDATA(letters), dtm_branch_status_letter(DTM_BRANCH_PREPARED), core->nops);
	set(target, ACTIVE_ID, Int64GetDatum(trans->id));
	set(target, ACTIVE_NEXT_TIME, TimestampTzGetDatum(core->next_time));
	set(target, ACTIVE_UPDATED, TimestampTzGetDatum(core->created));
	set(target, ACTIVE_VERSION, Int32GetDatum(0));
	set(target, ACTIVE_FAILURES, Int16GetDatum(0));
	set(target, ACTIVE_RETRIES, Int16GetDatum(0));
	set(target, ACTIVE_STATUS, CharGetDatum(dtm_status_letter(core->status)));
	set(target, ACTIVE_BRANCH_STATUS, PointerGetDatum(letters));
	set(target, ACTIVE_SUBMITTED_BY, submitter);
	if (core->held)
		set(target, ACTIVE_HELD, BoolGetDatum(true));
	if (core->status == DTM_SUBMITTED && core->next_time > core->created)
		set(target, ACTIVE_DELAYED, BoolGetDatum(true));
	ExecStoreVirtualTuple(target->slot);
	ExecConstraints(target->info, target->slot, estate);
	table_tuple_insert(target->relation, target->slot, estate->es_output_cid, 0, NULL);
	(void) dtm_insert_index_entries(target->info, target->slot, estate, NIL);
}

/* Both rows; false: the statement has to write them. */
static bool
insert_rows(Target *request, Target *active, Transaction *trans, Oid ids, bool *inserted)
{
	EState	   *estate = CreateExecutorState();
	MemoryContext before = MemoryContextSwitchTo(estate->es_query_cxt);
	Session		session;
	List	   *gids;

	owner_enter(&session);
	open_target(request, estate, true);
	gids = index_of_gids(request->info);
	if (gids != NIL)
	{
		estate->es_output_cid = GetCurrentCommandId(true);
		*inserted = insert_request(request, estate, trans, ids, gids);
		if (*inserted)
		{
			open_target(active, estate, false);
			insert_active(active, estate, trans,
						  request->slot->tts_values[C_SUBMITTED_BY - 1]);
			ExecCloseIndices(active->info);
		}
	}
	ExecCloseIndices(request->info);
	ExecResetTupleTable(estate->es_tupleTable, false);
	MemoryContextSwitchTo(before);
	FreeExecutorState(estate);
	owner_leave(&session);
	CommandCounterIncrement();
	return gids != NIL;
}

static bool
insert(Transaction *trans)
{
	OwnTables	tables;
	Target		request = {NULL};
	Target		active = {NULL};
	bool		done = false;
	bool		inserted = false;

	check_version();

	/*
	 * what a transaction with one snapshot may not see is the statement's to
	 * say
	 */
	if (IsolationUsesXactSnapshot() || !own_tables(&tables))
		return insert_by_statement(trans);
	request.relation = try_table_open(tables.request, RowExclusiveLock);
	active.relation = try_table_open(tables.active, RowExclusiveLock);

	/*
	 * Nobody can add anything to a table that is locked; what was added
	 * before that is seen here.
	 */
	if (request.relation != NULL && active.relation != NULL && own_tables(&tables) &&
		tables.request == RelationGetRelid(request.relation) &&
		tables.active == RelationGetRelid(active.relation) &&
		has_our_columns(request.relation, request_types, NREQUEST_COLUMNS, tables.submitter) &&
		has_our_columns(active.relation, active_types, NACTIVE, tables.submitter))
		done = insert_rows(&request, &active, trans, tables.ids, &inserted);
	if (active.relation != NULL)
		table_close(active.relation, NoLock);
	if (request.relation != NULL)
		table_close(request.relation, NoLock);
	return done ? inserted : insert_by_statement(trans);
}

bool
store_insert(Transaction *trans)
{
	if (!insert(trans))
		return false;
	metrics_created(trans->core.type);
	if (trans->lane != NULL)
		lane_add(trans);
	return true;
}
