/*
 * private.h
 *		What the files of the store share: statements, their results, and rows
 *		of a global transaction.
 */
#ifndef DTM_STORE_PRIVATE_H
#define DTM_STORE_PRIVATE_H

#include "store.h"

#include "compat.h"
#include "dtm.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapshot.h"

#define MAX_PARAMS 27

/* ---------- statement.c: statements ---------- */

typedef struct Statement
{
	const char *sql;
	int			nparams;
	Oid			types[MAX_PARAMS];
	bool		qualified;		/* every name in it is, operators too */
	SPIPlanPtr	plan;			/* NULL: not planned yet */
} Statement;

/* For those. */
#define EQUALS " OPERATOR(pg_catalog.=) "

/* What statement_leave() restores.  An error restores it all by itself. */
typedef struct Session
{
	Oid			user;
	int			sec_context;
} Session;

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

/* ---------- statement.c: columns of the result, from 1 ---------- */

extern Datum column_datum(uint64 row, int number, bool *isnull);
extern int64 column_int64(uint64 row, int number);
extern int32 column_int32(uint64 row, int number);
extern char column_char(uint64 row, int number);
extern bool column_bool(uint64 row, int number);

/* NULL where it is null. */
extern char *column_text(uint64 row, int number);
extern bytea *column_bytea(uint64 row, int number);

/*
 * Elements of an array column, for as long as the statement's result lives; n
 * is -1 where it is null.
 */
extern Datum *column_array(uint64 row, int number, Oid type, int *n,
						   bool **nulls);

/* A text array as strings, NULLs as "". */
extern char **column_strings(uint64 row, int number, int *n);

extern Datum array_of(Datum *values, const bool *nulls, int n, Oid type);
extern Datum text_array_of(char **strings, int n);

/* ---------- version.c ---------- */

/* An error that says what to do, unless the extension's SQL is this library's. */
extern void check_version(void);

/* ---------- row.c: a global transaction's row ---------- */

#define REQUEST_COLUMNS \
	"r.id, r.created, r.timeout_to_fail, r.retry_interval, r.delay, " \
	"r.submitted_by, r.request_timeout, r.retry_limit, r.trans_type, " \
	"r.concurrent, r.wait_result, r.gid, r.protocol, r.query_prepared, " \
	"r.action, r.compensate, r.payload, r.orders, r.branch_headers, r.branch_id, " \
	"r.topic, r.workflow, r.workflow_data, r.result, r.notify, r.on_finish, " \
	"r.xmin, "
#define ACTIVE_COLUMNS \
	"a.next_time, a.version, a.failures, a.retries, a.status, " \
	"a.branch_status, a.rollback_reason "
#define FINISHED_COLUMNS \
	"'infinity'::pg_catalog.timestamptz, 0, 0::pg_catalog.int2, 0::pg_catalog.int2, f.status, " \
	"f.branch_status, f.rollback_reason "

enum
{
	C_ID = 1, C_CREATED, C_TIMEOUT_TO_FAIL, C_RETRY_INTERVAL, C_DELAY,
	C_SUBMITTED_BY, C_REQUEST_TIMEOUT, C_RETRY_LIMIT, C_TRANS_TYPE,
	C_CONCURRENT, C_WAIT_RESULT, C_GID, C_PROTOCOL, C_QUERY_PREPARED,
	C_ACTION, C_COMPENSATE, C_PAYLOAD, C_ORDERS, C_BRANCH_HEADERS,
	C_BRANCH_ID, C_TOPIC, C_WORKFLOW, C_WORKFLOW_DATA, C_RESULT, C_NOTIFY,
	C_ON_FINISH,
	C_XMIN,
	C_NEXT_TIME, C_VERSION, C_FAILURES, C_RETRIES, C_STATUS,
	C_BRANCH_STATUS, C_ROLLBACK_REASON
};

/*
 * A row of the columns above, in the current memory context.  NULL and why if
 * it does not make sense: somebody has written it by hand.
 */
extern StoreTrans *row_decode(uint64 row, const char **problem);

/* The ops' statuses as they are stored. */
extern char *row_letters(const DtmTrans *core);

/* Why it was rolled back, as it is stored: "" for no reason. */
extern char *row_reason(const DtmTrans *core);

#endif							/* DTM_STORE_PRIVATE_H */
