/*
 * policy.c
 *		Checks of what a request says about failures and about its lane.
 */
#include "private.h"

static void
error_in_options(int step, const char *problem, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid options of step %d: %s", step + 1, problem),
			 errhint("%s", hint)));
}

/* What can become of an exhausted step depends on the type. */
void
request_check_policy(const Transaction *trans, int i)
{
	DtmTransType type = trans->core.type;
	const char *type_name = dtm_trans_type_name(type);
	const StepOptions *step = transaction_step(trans, i);

	if (step == NULL)
		return;
	if (step->on_exhausted == DTM_EXHAUSTED_ABORT && type != DTM_SAGA)
		error_in_options(i, psprintf("\"on_exhausted\" is \"abort\" in a %s", type_name),
						 "Use park, or in a message discard. Only a saga can be rolled back by a step.");
	if (step->on_exhausted == DTM_EXHAUSTED_DISCARD && type != DTM_MSG)
		error_in_options(i, psprintf("\"on_exhausted\" is \"discard\" in a %s", type_name),
						 "Use park, or in a saga abort. Only a message can go on without a step.");
	if (step->on_exhausted != DTM_EXHAUSTED_UNSET && type == DTM_SAGA &&
		step->max_attempts == 0)
		error_in_options(i, "\"on_exhausted\" requires \"max_attempts\"",
						 "Add max_attempts. Without a limit, the action of a saga is never exhausted.");
	if (step->compensate_max_attempts > 0 && !dtm_core_has_undo(type))
		error_in_options(i, psprintf("\"compensate_max_attempts\" in a %s", type_name),
						 "Use max_attempts. The step has no compensation.");
}

void
request_check_lane(const Request *request)
{
	const Transaction *trans = &request->trans;

	if (trans->lane != NULL && trans->core.type != DTM_SAGA && trans->core.type != DTM_MSG)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" is not allowed for trans_type \"%s\"", "lane",
						dtm_trans_type_name(trans->core.type)),
				 errhint("Only messages and sagas can wait for those before them.")));
	if (trans->lane == NULL && request_gave(request, "lane_on_park"))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" requires option \"%s\"", "lane_on_park", "lane"),
				 errhint("Add the name of a lane.")));
}
