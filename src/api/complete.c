/*
 * complete.c
 *		dtm_complete(): somebody says what has become of a branch.
 *
 * Who calls it holds the lock of the transaction's row until the commit, and changes
 * the row's version.  So the coordinator's decisions from before are made anew: a
 * reply that it has not written yet finds the op done, and a call that it is about to
 * make for the first time is not made.
 */
#include "api/api.h"

#include "errors.h"
#include "process/shmem.h"
#include "result/result.h"
#include "settings.h"
#include "store/store.h"
#include "wire/wire.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(dtm_complete);

static bool
is_same_result(Jsonb *a, Jsonb *b)
{
	return a == NULL || b == NULL ? a == b :
		compareJsonbContainers(&a->root, &b->root) == 0;
}

/*
 * Is it known already what has become of the op?  An error if it is something else
 * than the caller says.  A result that nobody has kept cannot contradict.
 */
static bool
is_repeated(const CompleteRequest *request, const Transaction *trans, int number)
{
	const DtmBranchOp *op = &trans->core.ops[number];
	StoreResult kept;
	bool		has_result = store_find_result(trans->id, number, &kept);
	bool		ok;

	if (has_result)
		ok = kept.ok;
	else if (op->status == DTM_BRANCH_PREPARED)
		return false;
	else
		ok = op->status == DTM_BRANCH_SUCCEED;
	if (ok != request->ok)
		ereport(ERROR,
				(errcode(DTM_ERRCODE_WRONG_STATUS),
				 ok ?
				 errmsg("cannot complete step \"%s\" of global transaction \"%s\" as failed: its op \"%s\" has succeeded",
						request->step, trans->gid, request->op) :
				 errmsg("cannot complete step \"%s\" of global transaction \"%s\" as succeeded: its op \"%s\" has failed",
						request->step, trans->gid, request->op),
				 trans->core.parked && op->status == DTM_BRANCH_PREPARED ?
				 errhint("The global transaction is parked for it. To have the branch called anew, or to complete it otherwise, call dtm_resume(gid) first.") :
				 errhint("What has become of a branch cannot be changed.")));
	if (has_result && request->result != NULL && kept.note == NULL &&
		!is_same_result(kept.value, request->result))
		ereport(ERROR,
				(errcode(DTM_ERRCODE_WRONG_STATUS),
				 errmsg("step \"%s\" of global transaction \"%s\" has another result already",
						request->step, trans->gid),
				 errhint("The result that is kept, dtm_result(gid, step, op), cannot be changed.")));
	return true;
}

static void
check_reject(const CompleteRequest *request, const Transaction *trans, DtmReject reject)
{
	if (reject == DTM_REJECT_TYPE)
		ereport(ERROR,
				(errcode(DTM_ERRCODE_WRONG_STATUS),
				 errmsg("cannot complete a branch of global transaction \"%s\" because its trans_type is \"%s\"",
						trans->gid, dtm_trans_type_name(trans->core.type)),
				 errhint("Complete the steps of sagas and messages.")));
	if (reject == DTM_REJECT_TURN)
		ereport(ERROR,
				(errcode(DTM_ERRCODE_WRONG_STATUS),
				 errmsg("step \"%s\" of global transaction \"%s\" has not been called yet",
						request->step, trans->gid),
				 errhint("Complete the step after its call, or give the step the option complete_within, with which completions are kept.")));
	if (reject == DTM_REJECT_STATUS)
		ereport(ERROR,
				(errcode(DTM_ERRCODE_WRONG_STATUS),
				 errmsg("cannot complete \"%s\" of step \"%s\" of global transaction \"%s\": its current status is '%s'",
						request->op, request->step, trans->gid,
						dtm_status_name(trans->core.status)),
				 errhint("Actions are called while a saga or message is submitted, compensations while a saga is aborting. An op without a URL is not called.")));
}

static void
check_size(const CompleteRequest *request)
{
	if (request->result != NULL && VARSIZE(request->result) > result_max_size())
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("result has %u bytes, more than dtm.max_result_size",
						(unsigned) VARSIZE(request->result)),
				 errhint("Store large data elsewhere and pass its key.")));
}

/* Lets core decide; the caller writes. */
static void
decide(const CompleteRequest *request, Transaction *trans, int op, Outcome *outcome)
{
	DtmEvent	event = {.kind = DTM_EVENT_COMPLETE, .now = GetCurrentTimestamp(), .op = op};
	DtmConfig	config;
	WireBranch	branch;

	wire_describe(trans, op, &branch);
	event.url = branch.url;
	event.result = request->ok ? DTM_RESULT_SUCCESS : DTM_RESULT_FAILURE;
	event.text = request->ok ? "" : result_text(request->result);
	event.unparks = trans->core.parked && trans->parked_op == op;
	dtm_core_config(&config);
	outcome_init(outcome, trans);
	check_reject(request, trans, outcome_decide(outcome, trans, &config, &event));
}

/*
 * Who completes a step that is not made for it is expected to know that it was called:
 * a typo would have it left out.  He is believed, as in dtm_skip_branch(), but told.
 */
static void
notice_uncalled(const CompleteRequest *request, const Transaction *trans, int op)
{
	if (!request->notices || dtm_core_keeps_completions(&trans->core, op) ||
		dtm_has_call(MyDatabaseId, trans->id, op) || store_was_called(trans->id, op))
		return;
	ereport(NOTICE,
			(errmsg("\"%s\" of step \"%s\" of global transaction \"%s\" had not been called",
					request->op, request->step, trans->gid),
			 errdetail("The step counts as completed, and is not called any more.")));
}

bool
api_complete(const CompleteRequest *request)
{
	StoreResult result = {.ok = request->ok, .value = request->result};
	Transaction *trans;
	StoreFound	found;
	Outcome		outcome;

	PreventCommandIfReadOnly("dtm_complete()");
	check_size(request);
	found = store_find(request->gid, true, &trans);
	if (found == STORE_ABSENT || !api_is_visible(trans->submitted_by))
		api_error_unknown(request->gid);
	if (trans->core.type != DTM_SAGA && trans->core.type != DTM_MSG)
		check_reject(request, trans, DTM_REJECT_TYPE);
	result.id = trans->id;
	result.op = request_find_op(trans, request->step, request->op);
	if (is_repeated(request, trans, result.op))
		return false;
	if (found == STORE_FINISHED)
		check_reject(request, trans, DTM_REJECT_STATUS);
	request_check_feeds(trans);
	notice_uncalled(request, trans, result.op);
	decide(request, trans, result.op, &outcome);
	store_add_results(&result, 1);
	api_write(&outcome, trans);
	store_add_act(trans->id, request->ok ? "complete" : "complete as failed",
				  store_act_of(result.op, false), NULL, NULL);
	return true;
}

/* dtm_complete(gid, branch, op, ok, result) returns boolean */
Datum
dtm_complete(PG_FUNCTION_ARGS)
{
	CompleteRequest request;

	request.gid = api_required_gid(fcinfo, 0);
	request.step = api_required_text(fcinfo, 1, "branch", API_STEP_HINT);
	request.op = api_required_text(fcinfo, 2, "op", "Pass action or compensate.");
	if (PG_ARGISNULL(3))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", "ok"),
				 errhint("Pass true if the branch has succeeded, false if it has failed for good.")));
	request.ok = PG_GETARG_BOOL(3);
	request.result = PG_ARGISNULL(4) ? NULL : PG_GETARG_JSONB_P(4);
	request.notices = true;
	PG_RETURN_BOOL(api_complete(&request));
}
