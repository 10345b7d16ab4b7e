/*
 * branch.c
 *		The SQL functions that register branches of a prepared global
 *		transaction.
 */
#include "api/api.h"

#include "request/request.h"
#include "store/store.h"

#include "miscadmin.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(dtm_register_branch);
PG_FUNCTION_INFO_V1(dtm_register_xa_branch);
PG_FUNCTION_INFO_V1(dtm_register_branch_request);

void
api_register_branch(const BranchRequest *branch)
{
	Transaction *trans;
	Outcome		outcome;

	PreventCommandIfReadOnly("dtm_register_branch()");
	trans = api_find_to_steer(branch->gid, DTM_EVENT_REGISTER);
	/* its status can't change any more: the row is locked (§1.2) */
	api_decide(&outcome, trans, DTM_EVENT_REGISTER, NULL, false);
	if (trans->core.type != branch->type)
		api_error_other_type(trans, branch->type,
							 "Pass URLs for confirm and cancel to register a branch of a tcc, one URL for a branch of an xa, or op and status for a workflow.");
	request_add_branch(trans, branch);
	store_update_branches(trans);
}

/* dtm_register_branch(gid, branch_id, confirm, cancel, payload, options) returns void */
Datum
dtm_register_branch(PG_FUNCTION_ARGS)
{
	BranchRequest *branch = request_branch(DTM_TCC, TEXT_OR_NULL(0), TEXT_OR_NULL(1),
										   STRING_OR_NULL(2), STRING_OR_NULL(3),
										   request_json_body(JSONB_OR_NULL(4)));

	request_branch_options(branch, JSONB_OR_NULL(5));
	api_register_branch(branch);
	PG_RETURN_VOID();
}

/* dtm_register_branch(gid, branch_id, url, options) returns void */
Datum
dtm_register_xa_branch(PG_FUNCTION_ARGS)
{
	BranchRequest *branch = request_branch(DTM_XA, TEXT_OR_NULL(0), TEXT_OR_NULL(1),
										   STRING_OR_NULL(2), STRING_OR_NULL(2), NULL);

	request_branch_options(branch, JSONB_OR_NULL(3));
	api_register_branch(branch);
	PG_RETURN_VOID();
}

/* dtm_register_branch(request) returns void */
Datum
dtm_register_branch_request(PG_FUNCTION_ARGS)
{
	api_register_branch(request_branch_from_object(JSONB_OR_NULL(0), NULL));
	PG_RETURN_VOID();
}
