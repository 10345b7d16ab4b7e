/*
 * results.c
 *		The option results, and the references to results in the steps.
 */
#include "private.h"

#include "endpoint/endpoint.h"
#include "result/result.h"

#include "miscadmin.h"
#include "utils/acl.h"

void
request_check_results(const Transaction *trans)
{
	if (!trans->results)
		return;
	if (trans->core.type != DTM_SAGA && trans->core.type != DTM_MSG)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" is allowed only for sagas and messages", "results"),
				 errhint("Omit results. The second phase of a tcc or xa returns nothing that another branch needs, and a workflow's client has the results itself.")));
	for (int step = 0; step < trans->core.nsteps; step++)
		result_check_references(trans, step);
	request_check_branch_headers(trans);
}

/* All branches have them, also those that are called before there is a result. */
void
request_check_branch_headers(const Transaction *trans)
{
	for (int i = 0; i < trans->nheaders; i++)
		if (result_is_in_text(trans->header_value[i]))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("header \"%s\" in branch_headers refers to a result", trans->header_name[i]),
					 errhint("Set the header in option \"headers\" of the step that needs the result.")));
}

static bool
has_header_reference(const StepOptions *step)
{
	for (int i = 0; step != NULL && i < step->nheaders; i++)
		if (result_is_in_text(step->header_value[i]))
			return true;
	return false;
}

bool
request_has_reference(const Transaction *trans, int step)
{
	return has_header_reference(transaction_step(trans, step)) ||
		result_is_in_text(trans->action[step]) ||
		(trans->compensate != NULL && result_is_in_text(trans->compensate[step])) ||
		result_has_reference(trans->payload[step]);
}

void
request_check_no_reference(const Transaction *trans, int step)
{
	if (!trans->results && request_has_reference(trans, step))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("step %d refers to a result, but results are not kept", step + 1),
				 errhint("Set option results to true.")));
}

const char *
request_plain_url(const Transaction *trans, const char *url)
{
	return trans->results ? result_mask_url(url) : url;
}

/* May a branch be called with rights or credentials of the role that submitted? */
static bool
is_privileged(const char *url)
{
	return endpoint_is_server(url) ||
		strncmp(url, DTM_SCHEME_LOCAL, strlen(DTM_SCHEME_LOCAL)) == 0;
}

void
request_check_feeds(const Transaction *trans)
{
	if (!trans->results || !OidIsValid(trans->submitted_by) ||
		has_privs_of_role(GetUserId(), trans->submitted_by))
		return;
	for (int i = 0; i < trans->core.nsteps; i++)
		if ((is_privileged(trans->action[i]) ||
			 (trans->compensate != NULL && is_privileged(trans->compensate[i]))) &&
			request_has_reference(trans, i))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied to change a result that a function or foreign server gets for role \"%s\"",
							GetUserNameFromId(trans->submitted_by, false)),
					 errdetail("Step %d refers to results, and is called with the rights of that role.", i + 1),
					 errhint("Do this as a role that has the privileges of that role.")));
}
