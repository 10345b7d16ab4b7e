/*
 * result.c
 *		The SQL functions for results of branches.
 */
#include "api/api.h"

#include "store/store.h"

#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(dtm_result);

/* dtm_result(gid, step, op) returns jsonb; NULL: there is none */
Datum
dtm_result(PG_FUNCTION_ARGS)
{
	char	   *gid = api_required_gid(fcinfo, 0);
	char	   *step = api_required_text(fcinfo, 1, "step", API_STEP_HINT);
	char	   *op = api_required_text(fcinfo, 2, "op", "Pass action or compensate.");
	Transaction *trans;
	StoreResult result;

	if (store_find(gid, false, &trans) == STORE_ABSENT || !api_is_visible(trans->submitted_by))
		api_error_unknown(gid);
	if (!store_find_result(trans->id, request_find_op(trans, step, op), &result) || result.value == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(result.value);
}
