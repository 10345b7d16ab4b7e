/*
 * result.c
 *		The SQL functions for results of branches.
 */
#include "api/api.h"

#include "errors.h"
#include "store/store.h"

#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(dtm_result);

int
api_find_op(const Transaction *trans, const char *step, const char *op)
{
	int			number = transaction_find_step(trans, step);

	if (number < 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("global transaction \"%s\" has no step \"%s\"", trans->gid, step),
				 errhint("Pass the name of a step, or its branch id, such as 01.")));
	for (int i = 0; i < trans->core.nops; i++)
		if (trans->core.ops[i].step == number &&
			strcmp(dtm_op_name((DtmOp) trans->core.ops[i].op), op) == 0)
			return i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("step \"%s\" of global transaction \"%s\" has no op \"%s\"", step, trans->gid, op),
			 errhint("Pass action or, for the steps of a saga, compensate.")));
}

/* An error if an argument besides the gid is NULL. */
static char *
required_argument(FunctionCallInfo fcinfo, int number, const char *name, const char *hint)
{
	if (PG_ARGISNULL(number))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", name),
				 errhint("%s", hint)));
	return text_to_cstring(PG_GETARG_TEXT_PP(number));
}

/* dtm_result(gid, step, op) returns jsonb; NULL: there is none */
Datum
dtm_result(PG_FUNCTION_ARGS)
{
	char	   *gid = api_required_gid(fcinfo, 0);
	char	   *step = required_argument(fcinfo, 1, "step", "Pass the name of a step, or its branch id, such as 01.");
	char	   *op = required_argument(fcinfo, 2, "op", "Pass action or compensate.");
	Transaction *trans;
	StoreResult result;

	if (store_find(gid, false, &trans) == STORE_ABSENT || !api_is_visible(trans->submitted_by))
		api_error_unknown(gid);
	if (!store_find_result(trans->id, api_find_op(trans, step, op), &result) || result.value == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(result.value);
}
