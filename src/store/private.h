/*
 * private.h
 *		Shared by the files of the store: statements and their results, tables
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

/* Maximum number of parameters of a statement. */
#define MAX_PARAMS 40

/* Values of columns. */
typedef struct Row
{
	Datum	   *values;
	bool	   *nulls;
	MemoryContext scratch;		/* for intermediate values */
} Row;

/* ---------- own.c: as whom, and with which settings ---------- */

/*
 * State that statement_leave() restores.  An error restores it automatically.
 */
typedef struct Session
{
	Oid			user;
	int			sec_context;
} Session;

/* Switches to the owner of the extension, and back. */
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

/* Tables of a new transaction. */
typedef struct OwnTables
{
	Oid			request;
	Oid			active;
	Oid			ids;			/* the sequence of dtm.request.id */
	Oid			submitter;		/* the type */
} OwnTables;

/*
 * False if something was added to dtm's tables that runs with their rows, or if
 * ids come from elsewhere.  Columns may have been added, or changed.
 */
extern bool own_tables(OwnTables *found);

/* ---------- statement.c: statements ---------- */

typedef struct Statement
{
	const char *sql;
	int			nparams;
	Oid			types[MAX_PARAMS];
	bool		qualified;		/* every name is qualified, operators too */
	bool		of_request;		/* the text follows "SELECT " and the columns
								 * of dtm.request, whose alias is r */
	SPIPlanPtr	plan;			/* NULL: not planned yet */
} Statement;

/* The operator = in qualified statements. */
#define EQUALS " OPERATOR(pg_catalog.=) "

/*
 * Sets all settings once, in a process that runs only statements of the store.
 */
extern void statement_own_settings(void);

/*
 * Around statements: connects to SPI and switches to the owner of the
 * extension.  Memory that is allocated in between is freed afterwards, unless
 * it is in another context.
 */
extern void statement_enter(Session *session);
extern void statement_leave(Session *session);

/* Runs a statement. nulls is as in SPI: 'n' for a null, or NULL. */
extern void statement_run(Statement *statement, Datum *values,
						  const char *nulls);

/* The same, read-only, with a snapshot. */
extern void statement_run_snapshot(Statement *statement, Datum *values,
								   Snapshot snapshot);

/*
 * A row of a statement's result (counted from 0): for the functions of
 * column.c, or one bigint.
 */
extern void result_row(uint64 number, Row *row);
extern int64 result_int64(uint64 number, int column);

/* ---------- column.c: columns of a row, from 1 ---------- */

extern Datum column_datum(const Row *row, int number, bool *isnull);
extern int64 column_int64(const Row *row, int number);
extern int32 column_int32(const Row *row, int number);
extern char column_char(const Row *row, int number);
extern bool column_bool(const Row *row, int number);

/* NULL if the column is null. */
extern char *column_text(const Row *row, int number);
extern bytea *column_bytea(const Row *row, int number);

/*
 * Elements of an array column, valid as long as the row's scratch context; n
 * is -1 if the column is null.
 */
extern Datum *column_array(const Row *row, int number, Oid type, int *n,
						   bool **nulls);

/* Elements of a text array as strings, "" for NULL; n as above. */
extern char **column_strings(const Row *row, int number, int *n);

extern Datum array_of(Datum *values, const bool *nulls, int n, Oid type);
extern Datum text_array_of(char **strings, int n);

/* ---------- table.c: rows of a table ---------- */

/* Columns of dtm's tables, in the order of CREATE TABLE. */
enum
{
	ACTIVE_ID = 1, ACTIVE_NEXT_TIME, ACTIVE_UPDATED, ACTIVE_VERSION,
	ACTIVE_FAILURES, ACTIVE_RETRIES, ACTIVE_STATUS, ACTIVE_BRANCH_STATUS,
	ACTIVE_ROLLBACK_REASON, ACTIVE_ATTEMPTS, ACTIVE_PARKED, ACTIVE_PARKED_OP,
	ACTIVE_PARKED_REASON, ACTIVE_HELD, ACTIVE_COMPLETIONS, ACTIVE_DELAYED,
	ACTIVE_ONGOING_SINCE, ACTIVE_SUBMITTED_BY
};

#define NACTIVE	ACTIVE_SUBMITTED_BY

enum
{
	FINISHED_ID = 1, FINISHED_FINISHED, FINISHED_STATUS,
	FINISHED_BRANCH_STATUS, FINISHED_ROLLBACK_REASON, FINISHED_STOPPED
};

enum
{
	ATTEMPT_ID = 1, ATTEMPT_STARTED, ATTEMPT_DURATION, ATTEMPT_BRANCH,
	ATTEMPT_HTTP_STATUS, ATTEMPT_RESULT, ATTEMPT_GRPC_STATUS, ATTEMPT_ERROR
};

enum
{
	RESULT_ID = 1, RESULT_BRANCH, RESULT_OK, RESULT_RESULT, RESULT_NOTE
};

/*
 * Types of dtm.active's columns, InvalidOid for dtm.submitter; those of dtm.request
 * are request_types.
 */
extern const Oid active_types[NACTIVE];

/* A table of schema dtm that is read or written. */
typedef struct Table
{
	Relation	relation;
	TupleTableSlot *row;		/* the row that was found, with all columns */
	TupleTableSlot *changed;	/* the row to write */
	EState	   *estate;
	EPQState	epq;
	ResultRelInfo *info;		/* NULL: the table is read only */
	Relation	primary_key;
	IndexScanDesc scan;			/* of primary_key; NULL: none yet */
	int			ncolumns;		/* columns of dtm; others were added by users */
	ExprState **defaults;		/* defaults of added columns; NULL: none */
	struct Table *next;			/* in Tables */
} Table;

/* Tables that are used together. */
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
 * Around the use of tables, as the owner of the extension.  First the tables
 * are opened, which locks them; then tables_start() takes the snapshot.  A
 * snapshot from before the lock would miss rows that a concurrent ALTER TABLE
 * has rewritten.  Memory that is allocated in between is freed by
 * tables_close(), unless it is in another context.  An error closes the tables
 * automatically.
 */
extern void tables_open(Tables *tables);
extern void tables_start(Tables *tables);
extern void tables_close(Tables *tables);

/* Opens one, whose first columns have to be of these types; InvalidOid is dtm.submitter. */
extern void tab_open(Tables *tables, Table *table, const char *name,
					 const Oid *types, int ncolumns, bool write);

/* Finds a row by its primary key, a bigint; or that and a smallint. */
extern bool tab_find(Table *table, int64 id);
extern bool tab_find_of(Table *table, int64 id, int16 second);

typedef enum TabLock
{
	TAB_LOCKED,
	TAB_BUSY,					/* somebody else has it locked */
	TAB_CHANGED					/* it has been changed since the table was
								 * opened */
} TabLock;

/* Locks the row that was found, if it can be had at once. */
extern TabLock tab_lock(Table *table);

/*
 * Who has the row that is busy: a transaction in progress, or a part of one that
 * may be rolled back by itself.  Invalid if it is not known, or not any more.
 */
extern TransactionId tab_holder(Table *table);

/*
 * Starts a row to write: with nulls, and the defaults of added columns; or
 * with the values of the row that was found.
 */
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
 * Inserts or updates the row, or deletes the row that was found, which must be
 * locked.  False if a user's trigger has suppressed the update.
 */
extern void tab_insert(Table *table);
extern bool tab_update(Table *table);
extern void tab_delete(Table *table);

/* ---------- submitter.c: the SQL type dtm.submitter ---------- */

extern Oid	submitter_type(void);

/* The value for a role: with its name, or nobody if it does not exist. */
extern Datum submitter_datum(Oid role);

/* The role; InvalidOid if it does not exist any more. */
extern Oid	submitter_role(Datum submitter);

/* That it does not exist, in the current memory context; NULL: it does. */
extern char *submitter_problem(Datum submitter);

/* ---------- version.c ---------- */

/* Throws an error with a hint if the versions of SQL and library differ. */
extern void check_version(void);

/* ---------- row.c: a global transaction's row ---------- */

/* When a column of dtm.request is written, besides the INSERT. */
typedef enum ColumnWrites
{
	COLUMN_NEVER,				/* not even by the INSERT */
	COLUMN_ONCE,
	COLUMN_OPTION,				/* options of the submit of a prepared
								 * transaction */
	COLUMN_BRANCH,				/* a branch is registered */
	COLUMN_RESULT				/* a workflow is submitted */
} ColumnWrites;

/*
 * Columns that row_decode() reads, from 1: those of dtm.request, and the
 * state.
 */
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
	C_ROLLBACK_REASON, C_ATTEMPTS, C_PARKED, C_PARKED_OP, C_PARKED_REASON, C_HELD,
	C_COMPLETIONS, C_ONGOING_SINCE
};

#define NCOLUMNS	C_ONGOING_SINCE

/*
 * Columns that follow those of dtm.request in a SELECT; aliases: r for
 * dtm.request, a for dtm.active, f for dtm.finished.
 */
#define ACTIVE_COLUMNS \
	"r.xmin, a.next_time, a.version, a.failures, a.retries, a.status, " \
	"a.branch_status, a.rollback_reason, a.attempts, a.parked, a.parked_op, " \
	"a.parked_reason, a.held, a.completions, a.ongoing_since "
#define FINISHED_COLUMNS FINISHED_COLUMNS_WITH("'infinity'::pg_catalog.timestamptz")
#define FINISHED_COLUMNS_WITH(next_time) \
	"r.xmin, " next_time ", 0, 0::pg_catalog.int2, " \
	"0::pg_catalog.int2, f.status, f.branch_status, f.rollback_reason, " \
	"NULL::pg_catalog.int2[], NULL::pg_catalog.timestamptz, NULL::pg_catalog.int2, " \
	"NULL::pg_catalog.text, NULL::pg_catalog.bool, NULL::pg_catalog.int8[], NULL::pg_catalog.timestamptz "

/* The types of dtm.request's columns, and their names: "r.id, r.created, ". */
extern const Oid request_types[NREQUEST_COLUMNS];
extern const char request_names[];

/*
 * Makes a transaction from a row of the columns above, in the current memory
 * context.  NULL, with the reason, if the row is invalid, because it has been
 * changed manually.
 */
extern Transaction *row_decode(const Row *row, const char **problem);

/* Columns of dtm.request that one statement writes. */
typedef struct ColumnSet
{
	int			n;
	int			columns[NREQUEST_COLUMNS];	/* from 0 */
} ColumnSet;

/*
 * The columns of one kind of writes; with COLUMN_NEVER, those of the INSERT.
 */
extern const ColumnSet *row_columns(ColumnWrites writes);

/* The values to store; nulls as in SPI. */
extern void row_values(const Transaction *trans, const ColumnSet *set,
					   Datum *values, char *nulls);

/*
 * For a statement: the types and names ("a, b") of the columns, and
 * assignments of parameters from $first on ("a = $2, b = $3").
 */
extern void row_types(const ColumnSet *set, Oid *types);
extern void row_append_names(StringInfo sql, const ColumnSet *set);
extern void row_append_assignments(StringInfo sql, const ColumnSet *set, int first);

/* ---------- lane.c ---------- */

/* Adds a transaction that has just been inserted. */
extern void lane_add(const Transaction *trans);

/* Does it leave its lane with the state that is to be written? */
extern bool lane_is_left(const Transaction *trans);

/*
 * Before that state is written: leaves the lane, and releases the next one.
 * False, without "wait": some row that is needed is locked.  With it, the row in
 * dtm.active is locked already.
 */
extern bool lane_leave(Transaction *trans, TimestampTz now, bool wait);

/* ---------- state.c: what dtm.active has of it ---------- */

/*
 * Reads the columns behind those of dtm.request; NULL, or what is wrong with
 * them.
 */
extern const char *state_read(Transaction *trans, const Row *row);

/* The statuses of the ops, as they are stored. */
extern char *row_letters(const DtmTrans *core);

/* ---------- completions.c ---------- */

/*
 * What is stored of the ops' completions and of the times that they wait for, and
 * back; NULL, or what is
 * wrong with it.
 */
extern Datum completions_value(const DtmTrans *core, bool *isnull);
extern const char *completions_read(DtmTrans *core, const Row *row, int number);

/* ---------- row.c ---------- */

/* The rollback_reason as it is stored; "": none. */
extern char *row_reason(const DtmTrans *core);

/* Columns of dtm.active that are null in nearly all rows. */
enum
{
	RARE_ATTEMPTS, RARE_PARKED, RARE_PARKED_OP, RARE_PARKED_REASON, RARE_HELD,
	RARE_COMPLETIONS,
	NRARE
};

extern void state_rare(const Transaction *trans, Datum *values, bool *nulls);

#endif							/* DTM_STORE_PRIVATE_H */
