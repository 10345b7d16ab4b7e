/*
 * private.h
 *		What the files of the store share: statements and their results, tables
 *		without statements, and the rows of a global transaction.
 */
#ifndef DTM_STORE_PRIVATE_H
#define DTM_STORE_PRIVATE_H

#include "store.h"

#include "compat.h"
#include "errors.h"
#include "transaction.h"

#include "access/genam.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "nodes/execnodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapshot.h"

/* Most parameters that a statement has. */
#define MAX_PARAMS 40

/* Values of columns. */
typedef struct Row
{
	Datum	   *values;
	bool	   *nulls;
	MemoryContext scratch;		/* for what is made of them on the way */
} Row;

/* ---------- own.c: as whom, and with which settings ---------- */

/* What statement_leave() restores.  An error restores it all by itself. */
typedef struct Session
{
	Oid			user;
	int			sec_context;
} Session;

/* As the owner of the extension; and back. */
extern void owner_enter(Session *session);
extern void owner_leave(const Session *session);

/* The process does nothing else: settings and user are ours from now on. */
extern void own_take_session(void);
extern bool own_is_session(void);

/*
 * With settings that nobody else chooses, and no trigger deferred; and back.  An
 * error restores them.  To
 * be asked for where an object is not named with its schema, and wherever
 * own_needs_settings() says that something was added to dtm's tables.
 */
extern bool own_needs_settings(void);
extern int	own_enter_settings(void);
extern void own_leave_settings(int nest_level);

/* ---------- statement.c: statements ---------- */

typedef struct Statement
{
	const char *sql;
	int			nparams;
	Oid			types[MAX_PARAMS];
	bool		qualified;		/* every name in it is, operators too */
	bool		of_request;		/* it goes on behind "SELECT " and the columns
								 * of dtm.request, which is r there */
	SPIPlanPtr	plan;			/* NULL: not planned yet */
} Statement;

/* For those. */
#define EQUALS " OPERATOR(pg_catalog.=) "

/* The process does nothing else: all settings are made once. */
extern void statement_own_settings(void);

/*
 * Around statements: SPI, as the owner of the extension.  What is allocated
 * between them is gone afterwards, unless it was in another context.
 */
extern void statement_enter(Session *session);
extern void statement_leave(Session *session);

/* Runs a statement.  Nulls as SPI has them: 'n' for a null, or NULL. */
extern void statement_run(Statement *statement, Datum *values,
						  const char *nulls);

/* The same with what a snapshot sees; it only reads. */
extern void statement_run_snapshot(Statement *statement, Datum *values,
								   Snapshot snapshot);

/* A row of a statement's result, from 0: as column.c has it, or one number of it. */
extern void result_row(uint64 number, Row *row);
extern int64 result_int64(uint64 number, int column);

/* ---------- column.c: columns of a row, from 1 ---------- */

extern Datum column_datum(const Row *row, int number, bool *isnull);
extern int64 column_int64(const Row *row, int number);
extern int32 column_int32(const Row *row, int number);
extern char column_char(const Row *row, int number);
extern bool column_bool(const Row *row, int number);

/* NULL where it is null. */
extern char *column_text(const Row *row, int number);
extern bytea *column_bytea(const Row *row, int number);

/*
 * Elements of an array column, for as long as the row's scratch lives; n is -1
 * where it is null.
 */
extern Datum *column_array(const Row *row, int number, Oid type, int *n,
						   bool **nulls);

/* A text array as strings, NULLs as ""; the same n. */
extern char **column_strings(const Row *row, int number, int *n);

extern Datum array_of(Datum *values, const bool *nulls, int n, Oid type);
extern Datum text_array_of(char **strings, int n);

/* ---------- table.c: rows of a table ---------- */

/* Columns of dtm's tables, in the order in which CREATE TABLE has them. */
enum
{
	ACTIVE_ID = 1, ACTIVE_NEXT_TIME, ACTIVE_UPDATED, ACTIVE_VERSION,
	ACTIVE_FAILURES, ACTIVE_RETRIES, ACTIVE_STATUS, ACTIVE_BRANCH_STATUS,
	ACTIVE_ROLLBACK_REASON
};

enum
{
	FINISHED_ID = 1, FINISHED_FINISHED, FINISHED_STATUS,
	FINISHED_BRANCH_STATUS, FINISHED_ROLLBACK_REASON
};

enum
{
	ATTEMPT_ID = 1, ATTEMPT_STARTED, ATTEMPT_DURATION, ATTEMPT_BRANCH,
	ATTEMPT_HTTP_STATUS, ATTEMPT_RESULT, ATTEMPT_GRPC_STATUS, ATTEMPT_ERROR
};

/* A table of schema dtm that is read or written. */
typedef struct Table
{
	Relation	relation;
	TupleTableSlot *row;		/* that was found; all columns are there */
	TupleTableSlot *changed;	/* to be written */
	EState	   *estate;
	EPQState	epq;
	ResultRelInfo *info;		/* NULL: it is only read */
	Relation	primary_key;
	IndexScanDesc scan;			/* of that; NULL: none yet */
	int			ncolumns;		/* that we know; somebody has added the others */
	ExprState **defaults;		/* of those others; NULL where there is none */
	struct Table *next;			/* in Tables */
} Table;

/* Some that are used together. */
typedef struct Tables
{
	Table	   *first;
	Session		session;
	int			nest_level;
	MemoryContext context;
	MemoryContext before;
	bool		wrote;
} Tables;

/*
 * Around the use of tables, as the owner of the extension.  They are opened
 * first, which locks them; then comes tables_start(), and they are what they
 * are then: a snapshot from before a lock may not have what an ALTER TABLE has
 * rewritten.  What is allocated meanwhile is gone afterwards, unless it was in
 * another context.  An error closes them by itself.
 */
extern void tables_open(Tables *tables);
extern void tables_start(Tables *tables);
extern void tables_close(Tables *tables);

/* Opens one, whose first columns have to be of these types; InvalidOid is dtm.submitter. */
extern void tab_open(Tables *tables, Table *table, const char *name,
					 const Oid *types, int ncolumns, bool write);

/* Finds a row by its primary key, a bigint. */
extern bool tab_find(Table *table, int64 id);

/*
 * Locks the row that was found.  False if it can't be had at once, or has been
 * changed since the table was opened.
 */
extern bool tab_lock(Table *table);

/* What is to be written: nulls, and defaults of added columns; or the row that was found. */
extern void tab_make(Table *table);
extern void tab_change(Table *table);

static inline void
tab_set(Table *table, int column, Datum value)
{
	table->changed->tts_values[column - 1] = value;
	table->changed->tts_isnull[column - 1] = false;
}

static inline void
tab_set_null(Table *table, int column)
{
	table->changed->tts_isnull[column - 1] = true;
}

/*
 * Writes it; or deletes the row that was found.  That has to be locked.  False
 * if a trigger that somebody has added is against the update.
 */
extern void tab_insert(Table *table);
extern bool tab_update(Table *table);
extern void tab_delete(Table *table);

/* ---------- submitter.c: the SQL type dtm.submitter ---------- */

extern Oid	submitter_type(void);

/* The role; InvalidOid if it does not exist any more. */
extern Oid	submitter_role(Datum submitter);

/* That it does not exist, in the current memory context; NULL: it does. */
extern char *submitter_problem(Datum submitter);

/* ---------- version.c ---------- */

/* An error that says what to do, unless the extension's SQL is this library's. */
extern void check_version(void);

/* ---------- row.c: a global transaction's row ---------- */

/* When a column of dtm.request is written, besides the INSERT. */
typedef enum ColumnWrites
{
	COLUMN_NEVER,				/* not by the INSERT either */
	COLUMN_ONCE,
	COLUMN_OPTION,				/* a late submit brings options */
	COLUMN_BRANCH,				/* a branch is registered */
	COLUMN_RESULT				/* a workflow is submitted */
} ColumnWrites;

/* Columns of the rows that row_decode() reads, from 1: dtm.request's, and the state. */
enum
{
#define REQUEST_COLUMN(name, type, kind, field, writes) COLUMN_NUMBER_##name,
#include "request_columns.h"
#undef REQUEST_COLUMN
	NREQUEST_COLUMNS
};

#define C_ID	(COLUMN_NUMBER_id + 1)
#define C_GID	(COLUMN_NUMBER_gid + 1)
#define C_SUBMITTED_BY	(COLUMN_NUMBER_submitted_by + 1)

enum
{
	C_XMIN = NREQUEST_COLUMNS + 1,	/* of dtm.request */
	C_NEXT_TIME, C_VERSION, C_FAILURES, C_RETRIES, C_STATUS, C_BRANCH_STATUS,
	C_ROLLBACK_REASON
};

/*
 * What follows dtm.request's columns in a SELECT, where that is r, dtm.active a,
 * dtm.finished f.
 */
#define ACTIVE_COLUMNS \
	"r.xmin, a.next_time, a.version, a.failures, a.retries, a.status, " \
	"a.branch_status, a.rollback_reason "
#define FINISHED_COLUMNS \
	"r.xmin, 'infinity'::pg_catalog.timestamptz, 0, 0::pg_catalog.int2, " \
	"0::pg_catalog.int2, f.status, f.branch_status, f.rollback_reason "

/* The types of dtm.request's columns, and their names: "r.id, r.created, ". */
extern const Oid request_types[NREQUEST_COLUMNS];
extern const char request_names[];

/*
 * A row of the columns above, in the current memory context.  NULL and why if
 * it does not make sense: somebody has written it by hand.
 */
extern Transaction *row_decode(const Row *row, const char **problem);

/* The columns of dtm.request that are written together, for one statement. */
typedef struct ColumnSet
{
	int			n;
	int			columns[NREQUEST_COLUMNS];	/* from 0 */
} ColumnSet;

/* Those of one kind of writes; or, with COLUMN_NEVER, what the INSERT writes. */
extern const ColumnSet *row_columns(ColumnWrites writes);

/* What is stored of them; nulls as SPI has them. */
extern void row_values(const Transaction *trans, const ColumnSet *set,
					   Datum *values, char *nulls);

/*
 * For a statement: their types, their names ("a, b"), and assignments of the
 * parameters from $first on ("a = $2, b = $3").
 */
extern void row_types(const ColumnSet *set, Oid *types);
extern void row_append_names(StringInfo sql, const ColumnSet *set);
extern void row_append_assignments(StringInfo sql, const ColumnSet *set, int first);

/* The ops' statuses as they are stored. */
extern char *row_letters(const DtmTrans *core);

/* Why it was rolled back, as it is stored: "" for no reason. */
extern char *row_reason(const DtmTrans *core);

#endif							/* DTM_STORE_PRIVATE_H */
