/*
 * describe.c
 *		What the views ask of core: names of what is stored as a letter, and
 *		which op stands where.
 *
 * An op's place is counted from 0, as in branch_status; a step from 1, as SQL
 * counts elements of arrays.  Place DTM_CALL_QUERY (-1) is the query of a
 * prepared msg and the callback of a workflow.
 */
#include "postgres.h"

#include "compat.h"
#include "core/core.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(dtm_sql_trans_type_name);
PG_FUNCTION_INFO_V1(dtm_sql_status_name);
PG_FUNCTION_INFO_V1(dtm_sql_branch_status_name);
PG_FUNCTION_INFO_V1(dtm_sql_result_name);
PG_FUNCTION_INFO_V1(dtm_sql_op_step);
PG_FUNCTION_INFO_V1(dtm_sql_op_name);
PG_FUNCTION_INFO_V1(dtm_sql_op_undoes);
PG_FUNCTION_INFO_V1(dtm_sql_op_branch_id);
PG_FUNCTION_INFO_V1(dtm_sql_current_step);
PG_FUNCTION_INFO_V1(dtm_sql_op_url);
PG_FUNCTION_INFO_V1(dtm_sql_step_branch_id);

#define RETURN_NAME(known, name) \
	do { \
		if (!(known)) \
			PG_RETURN_NULL(); \
		PG_RETURN_TEXT_P(cstring_to_text(name)); \
	} while (0)

Datum
dtm_sql_trans_type_name(PG_FUNCTION_ARGS)
{
	DtmTransType type;

	RETURN_NAME(dtm_trans_type_of_letter(PG_GETARG_CHAR(0), &type),
				dtm_trans_type_name(type));
}

Datum
dtm_sql_status_name(PG_FUNCTION_ARGS)
{
	DtmStatus	status;

	RETURN_NAME(dtm_status_of_letter(PG_GETARG_CHAR(0), &status),
				dtm_status_name(status));
}

/* Of one letter, as text. */
Datum
dtm_sql_branch_status_name(PG_FUNCTION_ARGS)
{
	text	   *letter = PG_GETARG_TEXT_PP(0);
	DtmBranchStatus status;

	RETURN_NAME(VARSIZE_ANY_EXHDR(letter) == 1 &&
				dtm_branch_status_of_letter(*VARDATA_ANY(letter), &status),
				dtm_branch_status_name(status));
}

Datum
dtm_sql_result_name(PG_FUNCTION_ARGS)
{
	DtmResult	result;

	RETURN_NAME(dtm_result_of_letter(PG_GETARG_CHAR(0), &result),
				dtm_result_name(result));
}

/* The op at a place of a type's ops; false: there is no such type, or place. */
static bool
op_at(char letter, int n, DtmTransType *type, int *step, DtmOp *op)
{
	if (!dtm_trans_type_of_letter(letter, type) || n < 0)
		return false;
	dtm_core_op_at(*type, n, step, op);
	return true;
}

/* An element of a text array, from 0; NULL where there is none. */
static text *
element(ArrayType *array, int n)
{
	int			subscript = n + 1;
	bool		isnull;
	Datum		value = array_get_element(PointerGetDatum(array), 1, &subscript, -1,
										  -1, false, TYPALIGN_INT, &isnull);

	return isnull ? NULL : DatumGetTextPP(value);
}

#define ARRAY_OR_NULL(n)	(PG_ARGISNULL(n) ? NULL : PG_GETARG_ARRAYTYPE_P(n))

#define RETURN_TEXT(expression) \
	do { \
		text	   *result_ = (expression); \
		if (result_ == NULL) \
			PG_RETURN_NULL(); \
		PG_RETURN_TEXT_P(result_); \
	} while (0)

/* dtm.op_step(trans_type, n) */
Datum
dtm_sql_op_step(PG_FUNCTION_ARGS)
{
	DtmTransType type;
	int			step;
	DtmOp		op;

	if (!op_at(PG_GETARG_CHAR(0), PG_GETARG_INT32(1), &type, &step, &op))
		PG_RETURN_NULL();
	PG_RETURN_INT32(step + 1);
}

/* dtm.op_undoes(trans_type, n) */
Datum
dtm_sql_op_undoes(PG_FUNCTION_ARGS)
{
	DtmTransType type;
	int			step;
	DtmOp		op;

	if (!op_at(PG_GETARG_CHAR(0), PG_GETARG_INT32(1), &type, &step, &op))
		PG_RETURN_NULL();
	PG_RETURN_BOOL(dtm_op_undoes(op));
}

/* dtm.op_name(trans_type, n, workflow, action) */
Datum
dtm_sql_op_name(PG_FUNCTION_ARGS)
{
	DtmTransType type;
	int			n;
	int			step;
	DtmOp		op;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) ||
		!dtm_trans_type_of_letter(PG_GETARG_CHAR(0), &type))
		PG_RETURN_NULL();
	n = PG_GETARG_INT32(1);
	if (type == DTM_WORKFLOW && n < 0)
		RETURN_TEXT(PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2));
	if (n < 0)
		PG_RETURN_TEXT_P(cstring_to_text(dtm_op_name(DTM_OP_MSG)));
	dtm_core_op_at(type, n, &step, &op);
	if (type == DTM_WORKFLOW)
		RETURN_TEXT(PG_ARGISNULL(3) ? NULL : element(ARRAY_OR_NULL(3), step));
	PG_RETURN_TEXT_P(cstring_to_text(dtm_op_name(op)));
}

/* dtm.op_url(trans_type, n, action, compensate) */
Datum
dtm_sql_op_url(PG_FUNCTION_ARGS)
{
	DtmTransType type;
	int			step;
	DtmOp		op;
	ArrayType  *urls;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) ||
		!op_at(PG_GETARG_CHAR(0), PG_GETARG_INT32(1), &type, &step, &op) ||
		type == DTM_WORKFLOW)
		PG_RETURN_NULL();
	urls = dtm_op_undoes(op) ? ARRAY_OR_NULL(3) : ARRAY_OR_NULL(2);
	RETURN_TEXT(urls == NULL ? NULL : element(urls, step));
}

/* dtm.step_branch_id(branch_id, step): as it was registered, or its number */
Datum
dtm_sql_step_branch_id(PG_FUNCTION_ARGS)
{
	char		id[DTM_BRANCH_ID_SIZE];
	int			step;

	if (PG_ARGISNULL(1))
		PG_RETURN_NULL();
	step = PG_GETARG_INT32(1) - 1;
	if (!PG_ARGISNULL(0))
		RETURN_TEXT(element(ARRAY_OR_NULL(0), step));
	if (step < 0 || step >= DTM_MAX_STEPS)
		PG_RETURN_NULL();
	dtm_step_branch_id(step, id);
	PG_RETURN_TEXT_P(cstring_to_text(id));
}

/* dtm.op_branch_id(trans_type, n, branch_id) */
Datum
dtm_sql_op_branch_id(PG_FUNCTION_ARGS)
{
	DtmTransType type;
	int			step;
	DtmOp		op;
	char		id[DTM_BRANCH_ID_SIZE];

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	if (PG_GETARG_INT32(1) < 0)
		PG_RETURN_TEXT_P(cstring_to_text("00"));
	if (!op_at(PG_GETARG_CHAR(0), PG_GETARG_INT32(1), &type, &step, &op))
		PG_RETURN_NULL();
	if (!PG_ARGISNULL(2))
		RETURN_TEXT(element(ARRAY_OR_NULL(2), step));
	if (step >= DTM_MAX_STEPS)
		PG_RETURN_NULL();
	dtm_step_branch_id(step, id);
	PG_RETURN_TEXT_P(cstring_to_text(id));
}

/* dtm.current_step(trans_type, status, branch_status) */
Datum
dtm_sql_current_step(PG_FUNCTION_ARGS)
{
	text	   *letters = PG_GETARG_TEXT_PP(2);
	DtmTransType type;
	DtmStatus	status;
	int			step;

	if (!dtm_trans_type_of_letter(PG_GETARG_CHAR(0), &type) ||
		!dtm_status_of_letter(PG_GETARG_CHAR(1), &status))
		PG_RETURN_NULL();
	step = dtm_core_current_step(type, status, VARDATA_ANY(letters), VARSIZE_ANY_EXHDR(letters));
	if (step < 0)
		PG_RETURN_NULL();
	PG_RETURN_INT32(step + 1);
}
