/*
 * in.c
 *		Barrier rows in a table of the user's, beside the rows that a branch changes.
 *
 * On Citus, such a table is distributed with that of the business, by its key: then
 * barrier and change are on one node, in whatever node the call arrives, and move
 * together.  The table has the columns key, gid, branch_id, op, barrier_id and reason;
 * the key has any name and type, and is the first of a unique index with the four
 * behind it.  Unlike the extension's own table it is the caller's: statements run as
 * the caller, and what is added to it is the caller's affair.
 *
 * The statements of a table are planned once in a session.
 */
#include "record.h"

#include "invalidation.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#define COLUMNS_HINT "Create it with the columns key (of any name and type), gid, branch_id, op, barrier_id and reason, and PRIMARY KEY (key, gid, branch_id, op, barrier_id)."

/* The columns behind the key, in the order of the index. */
static const char *const columns[] = {"gid", "branch_id", "op", "barrier_id"};

#define NCOLUMNS	((int) lengthof(columns))

/* $1 is the key, then come those, and reason. */
#define NPARAMS		(NCOLUMNS + 2)

typedef struct Statements
{
	Oid			table;			/* hash key; must be first */
	bool		valid;			/* false: the table may have been changed */
	int			running;		/* executions under way; a trigger may call us
								 * again */
	Oid			key_type;
	int32		key_typmod;
	SPIPlanPtr	insert;			/* NULL: not planned yet */
	SPIPlanPtr	reason;
	char	   *insert_sql;
	char	   *reason_sql;
} Statements;

/* Statements by table; NULL: none yet. */
static HTAB *known = NULL;

static void
forget(Datum arg, Oid relation)
{
	HASH_SEQ_STATUS seq;
	Statements *statements;

	if (OidIsValid(relation))
	{
		statements = hash_search(known, &relation, HASH_FIND, NULL);
		if (statements != NULL)
			statements->valid = false;
		return;
	}
	hash_seq_init(&seq, known);
	while ((statements = hash_seq_search(&seq)) != NULL)
		statements->valid = false;
}

static void
make_known(void)
{
	HASHCTL		hash;

	memset(&hash, 0, sizeof(hash));
	hash.keysize = sizeof(Oid);
	hash.entrysize = sizeof(Statements);
	hash.hcxt = CacheMemoryContext;
	known = hash_create("dtm barrier tables", 16, &hash, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	invalidation_watch(forget);
}

/* ---------- the table ---------- */

static const char *
column_name(Relation table, int number)
{
	return NameStr(TupleDescAttr(RelationGetDescr(table), number - 1)->attname);
}

/* The equality of the index, whatever is called "=" in the caller's search_path. */
static char *
equality_of_key(Relation index)
{
	Oid			type = index->rd_opcintype[0];
	Oid			equality = get_opfamily_member(index->rd_opfamily[0], type, type,
											   BTEqualStrategyNumber);
	HeapTuple	row = SearchSysCache1(OPEROID, ObjectIdGetDatum(equality));
	Form_pg_operator form;
	char	   *name;

	if (!HeapTupleIsValid(row))
		elog(ERROR, "cache lookup failed for operator %u", equality);
	form = (Form_pg_operator) GETSTRUCT(row);
	name = psprintf("OPERATOR(%s.%s)", quote_identifier(get_namespace_name(form->oprnamespace)),
					NameStr(form->oprname));
	ReleaseSysCache(row);
	return name;
}

/* The number of the key's column if this index makes a row a repeat; else 0. */
static int
key_of_index(Relation table, Relation index)
{
	Form_pg_index form = index->rd_index;

	if (!form->indisunique || !form->indisvalid || !form->indimmediate ||
		form->indnkeyatts != NCOLUMNS + 1 ||
		RelationGetIndexExpressions(index) != NIL || RelationGetIndexPredicate(index) != NIL)
		return 0;
	for (int i = 0; i < NCOLUMNS; i++)
		if (strcmp(column_name(table, form->indkey.values[i + 1]), columns[i]) != 0)
			return 0;
	return form->indkey.values[0];
}

static int
find_key(Relation table, char **equality)
{
	List	   *indexes = RelationGetIndexList(table);
	int			found = 0;
	ListCell   *cell;

	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		if (found == 0)
		{
			found = key_of_index(table, index);
			if (found != 0)
				*equality = equality_of_key(index);
		}
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return found;
}

static Relation
open_table(Oid oid)
{
	Relation	table = try_relation_open(oid, AccessShareLock);

	if (table == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table with OID %u does not exist", oid),
				 errhint("Pass the name of the table.")));
	return table;
}

/* The statements as text, and what they need to know. */
static void
describe(Statements *statements)
{
	Relation	table = open_table(statements->table);
	const char *name = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(table)),
												  RelationGetRelationName(table));
	char	   *equality = NULL;
	int			number = table->rd_rel->relkind == RELKIND_RELATION ||
		table->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ? find_key(table, &equality) : 0;
	const char *key;
	const char *insert;
	const char *reason;

	if (number == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("table \"%s.%s\" cannot have barriers",
						get_namespace_name(RelationGetNamespace(table)), RelationGetRelationName(table)),
				 errdetail("The table has no unique key of a column and gid, branch_id, op, barrier_id."),
				 errhint(COLUMNS_HINT)));
	key = quote_identifier(column_name(table, number));
	statements->key_type = TupleDescAttr(RelationGetDescr(table), number - 1)->atttypid;
	statements->key_typmod = TupleDescAttr(RelationGetDescr(table), number - 1)->atttypmod;
	insert = psprintf("INSERT INTO %s (%s, gid, branch_id, op, barrier_id, reason) "
					  "VALUES ($1, $2, $3, $4, $5, $6) "
					  "ON CONFLICT (%s, gid, branch_id, op, barrier_id) DO NOTHING",
					  name, key, key);
	reason = psprintf("SELECT t.reason FROM %s t WHERE t.%s %s $1 "
					  "AND t.gid OPERATOR(pg_catalog.=) $2 AND t.branch_id OPERATOR(pg_catalog.=) $3 "
					  "AND t.op OPERATOR(pg_catalog.=) $4 AND t.barrier_id OPERATOR(pg_catalog.=) $5",
					  name, key, equality);
	statements->insert_sql = MemoryContextStrdup(CacheMemoryContext, insert);
	statements->reason_sql = MemoryContextStrdup(CacheMemoryContext, reason);
	relation_close(table, AccessShareLock);
}

static void
drop(Statements *statements)
{
	if (statements->insert != NULL)
		SPI_freeplan(statements->insert);
	if (statements->reason != NULL)
		SPI_freeplan(statements->reason);
	statements->insert = statements->reason = NULL;
	if (statements->insert_sql != NULL)
		pfree(statements->insert_sql);
	if (statements->reason_sql != NULL)
		pfree(statements->reason_sql);
	statements->insert_sql = statements->reason_sql = NULL;
}

void *
barrier_in_find(const BarrierIn *in)
{
	Statements *statements;
	bool		found;

	if (known == NULL)
		make_known();
	statements = hash_search(known, &in->table, HASH_ENTER, &found);
	if (!found)
		memset((char *) statements + sizeof(Oid), 0, sizeof(Statements) - sizeof(Oid));

	/*
	 * the plans that a caller of ours executes stay; the table is in use by
	 * it
	 */
	if (statements->valid || statements->running > 0)
		return statements;
	drop(statements);
	/* what changes while we look is looked at again */
	statements->valid = true;
	PG_TRY();
	{
		describe(statements);
	}
	PG_CATCH();
	{
		statements->valid = false;
		PG_RE_THROW();
	}
	PG_END_TRY();
	return statements;
}

/* ---------- its rows ---------- */

/* The key as the column has it: rounded, or padded, if the column does so. */
static Datum
key_value(const Statements *statements, const BarrierIn *in)
{
	Oid			output;
	Oid			input;
	Oid			parameter;
	bool		is_varlena;

	if (in->type == statements->key_type && statements->key_typmod < 0)
		return in->key;
	getTypeOutputInfo(in->type, &output, &is_varlena);
	getTypeInputInfo(statements->key_type, &input, &parameter);
	return OidInputFunctionCall(input, OidOutputFunctionCall(output, in->key), parameter,
								statements->key_typmod);
}

static void
run(SPIPlanPtr *plan, const char *sql, Statements *statements, const BarrierIn *in,
	const BarrierRow *row)
{
	Datum		values[NPARAMS] = {
		key_value(statements, in), PointerGetDatum(row->gid), PointerGetDatum(row->branch_id),
		PointerGetDatum(row->op), PointerGetDatum(row->barrier_id), PointerGetDatum(row->reason)
	};
	Oid			types[NPARAMS] = {statements->key_type, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID};
	volatile int rc = 0;

	if (*plan == NULL)
	{
		SPIPlanPtr	prepared = SPI_prepare(sql, NPARAMS, types);

		if (prepared == NULL)
			elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
		SPI_keepplan(prepared);
		*plan = prepared;
	}
	statements->running++;
	PG_TRY();
	{
		rc = SPI_execute_plan(*plan, values, NULL, false, 0);
	}
	PG_FINALLY();
	{
		statements->running--;
	}
	PG_END_TRY();
	if (rc < 0)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(rc));
}

bool
barrier_in_insert(void *arg, const BarrierIn *in, const BarrierRow *row)
{
	Statements *statements = arg;
	bool		inserted;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	run(&statements->insert, statements->insert_sql, statements, in, row);
	inserted = SPI_processed > 0;
	SPI_finish();
	return inserted;
}

char *
barrier_in_reason(void *arg, const BarrierIn *in, const BarrierRow *row)
{
	Statements *statements = arg;
	MemoryContext before = CurrentMemoryContext;
	char	   *reason;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	run(&statements->reason, statements->reason_sql, statements, in, row);
	reason = barrier_row_value(before);
	SPI_finish();
	return reason;
}
