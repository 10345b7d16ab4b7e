/*
 * act.c
 *		The SQL functions by which an operator changes what becomes of a global
 *		transaction, beside those of steer.c; and the record of what was done.
 *
 * They go the way of all events: core says whether the status allows it, the row
 * is written under its lock with a new version, and the commit announces it.  A
 * coordinator that has the transaction in memory finds another version, reads it
 * again, and decides anew (coordinator/turn.c, 4 and 5).
 */
#include "api/api.h"

#include "errors.h"
#include "gid.h"
#include "process/shmem.h"
#include "request/request.h"
#include "settings.h"
#include "store/store.h"
#include "wire/wire.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(dtm_edit_step);
PG_FUNCTION_INFO_V1(dtm_skip_branch);
PG_FUNCTION_INFO_V1(dtm_resubmit);

static Jsonb *
jsonb_of(const char *json)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
}

/* ---------- edits ---------- */

/* {"before": before, "after": changes} */
static Jsonb *
describe_edit(Jsonb *before, Jsonb *changes)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoString(&json, "{\"before\": ");
	(void) JsonbToCString(&json, &before->root, VARSIZE(before));
	appendStringInfoString(&json, ", \"after\": ");
	(void) JsonbToCString(&json, &changes->root, VARSIZE(changes));
	appendStringInfoChar(&json, '}');
	return jsonb_of(json.data);
}

/* Is it parked for an op of this step? */
static bool
is_parked_for(const Transaction *trans, int step)
{
	return trans->core.parked && trans->parked_op >= 0 &&
		trans->core.ops[trans->parked_op].step == step;
}

/*
 * A call that is under way was made of what was there before, and cannot be called
 * back; nobody can say what it does.  So its success counts, although it is not that of
 * the request which is stored now; its failure does not, since that is what edits are
 * for.  Refused, an edit would have to wait for what hangs.
 */
static void
notice_in_flight(const Transaction *trans, const char *branch_id, int step, StoreActOf of)
{
	for (int op = 0; op < trans->core.nops; op++)
		if (trans->core.ops[op].step == step && (of.whole_branch || op == of.op) &&
			dtm_has_call(MyDatabaseId, trans->id, op))
			ereport(NOTICE,
					(errmsg("a call of \"%s\" of branch \"%s\" of global transaction \"%s\" is in flight, which was made before the change",
							dtm_op_name((DtmOp) trans->core.ops[op].op), branch_id, trans->gid),
					 errdetail("If that call succeeds, the branch is not called again. If it fails, the branch is called at once as it is now.")));
}

/* ---------- the query of a prepared transaction ---------- */

/* It has a branch id of its own on the wire (§5.2), which no step of a saga or msg has. */
static bool
is_query(const Transaction *trans, const char *branch_id)
{
	return strcmp(branch_id, WIRE_QUERY_BRANCH_ID) == 0 &&
		(trans->core.type == DTM_SAGA || trans->core.type == DTM_MSG ||
		 trans->core.type == DTM_WORKFLOW);
}

static void
edit_query(Transaction *trans, Jsonb *changes, const char *reason)
{
	bool		resumes = trans->core.parked && trans->parked_op == DTM_CALL_QUERY;
	Jsonb	   *before = request_edit_query(trans, changes);
	Outcome		outcome;

	api_decide(&outcome, trans, DTM_EVENT_EDIT, NULL, false);
	if (resumes)
		api_decide(&outcome, trans, DTM_EVENT_RESUME, NULL, false);
	store_update_options(trans);
	api_write(&outcome, trans);
	store_add_act(trans->id, "edit query", STORE_ACT_OF_ALL, reason, describe_edit(before, changes));
	if (resumes)
		store_add_act(trans->id, "resume", STORE_ACT_OF_ALL, reason, NULL);
}

/* ---------- dtm_edit_step ---------- */

/* dtm_edit_step(gid, branch_id, changes, reason) returns void */
Datum
dtm_edit_step(PG_FUNCTION_ARGS)
{
	char	   *gid = api_required_gid(fcinfo, 0);
	char	   *branch_id = api_required_text(fcinfo, 1, "branch_id", API_STEP_HINT);
	Jsonb	   *changes = JSONB_OR_NULL(2);
	char	   *reason = api_optional_note(fcinfo, 3, "reason");
	Transaction *trans;
	Jsonb	   *before;
	StoreActOf	of;
	Outcome		outcome;
	int			step;
	bool		resumes;

	if (changes == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", "changes"),
				 errhint("Pass an object such as {\"action\": \"http://bank/TransIn\"}.")));
	PreventCommandIfReadOnly("dtm_edit_step()");
	trans = api_find_to_steer(gid, DTM_EVENT_EDIT);
	if (is_query(trans, branch_id))
	{
		edit_query(trans, changes, reason);
		PG_RETURN_VOID();
	}
	api_decide(&outcome, trans, DTM_EVENT_EDIT, NULL, false);
	if (trans->core.type == DTM_WORKFLOW)
		ereport(ERROR,
				(errcode(DTM_ERRCODE_WRONG_STATUS),
				 errmsg("cannot change a step of workflow \"%s\"", gid),
				 errhint("The steps of a workflow are run by its client.")));
	step = request_find_step(trans, branch_id);
	before = request_edit_step(trans, step, changes, &of.op, &of.whole_branch);
	notice_in_flight(trans, branch_id, step, of);
	resumes = is_parked_for(trans, step);
	dtm_core_step_changed(&trans->core, step, GetCurrentTimestamp());
	if (resumes)
		api_decide(&outcome, trans, DTM_EVENT_RESUME, NULL, false);
	store_update_branches(trans);
	api_tell(&outcome, trans);
	store_add_act(trans->id, "edit step", of, reason, describe_edit(before, changes));
	if (resumes)
		store_add_act(trans->id, "resume", STORE_ACT_OF_ALL, reason, NULL);
	PG_RETURN_VOID();
}

/* ---------- dtm_skip_branch ---------- */

static void
error_skip(const Transaction *trans, int op, DtmReject reject)
{
	const char *name = dtm_op_name(trans->core.ops[op].op);

	if (reject == DTM_REJECT_RESULT)
		ereport(ERROR,
				(errcode(DTM_ERRCODE_WRONG_STATUS),
				 errmsg("op \"%s\" of global transaction \"%s\" cannot fail", name, trans->gid),
				 errhint("Only an action of a saga that is not rolled back can fail. Let the op count as succeeded, or call dtm_force_stop().")));
	ereport(ERROR,
			(errcode(DTM_ERRCODE_WRONG_STATUS),
			 errmsg("cannot skip op \"%s\" of global transaction \"%s\"", name, trans->gid),
			 trans->core.ops[op].status != DTM_BRANCH_PREPARED ?
			 errdetail("The op has ended already.") :
			 errdetail("In status '%s', the op is not called.",
					   dtm_status_name(trans->core.status)),
			 errhint("dtm.transactions has the step that is called now.")));
}

/* dtm_skip_branch(gid, branch_id, op, succeeded, reason) returns void */
Datum
dtm_skip_branch(PG_FUNCTION_ARGS)
{
	char	   *gid = api_required_gid(fcinfo, 0);
	char	   *branch_id = api_required_text(fcinfo, 1, "branch_id", API_STEP_HINT);
	char	   *name = api_required_text(fcinfo, 2, "op", "Pass an op of dtm.branches.");
	char	   *reason = api_optional_note(fcinfo, 4, "reason");
	DtmEvent	event = {.kind = DTM_EVENT_SKIP, .now = GetCurrentTimestamp(), .url = ""};
	DtmConfig	config;
	DtmReject	reject;
	Transaction *trans;
	Outcome		outcome;

	if (PG_ARGISNULL(3))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", "succeeded"),
				 errhint("Pass whether the op counts as succeeded (true) or failed (false).")));
	PreventCommandIfReadOnly("dtm_skip_branch()");
	trans = api_find_to_steer(gid, DTM_EVENT_SKIP);
	/* its status first: a workflow, or one that is prepared, has no such ops */
	if (trans->core.status == DTM_PREPARED || trans->core.type == DTM_WORKFLOW)
		api_error_status(trans, DTM_EVENT_SKIP);
	event.op = request_find_op(trans, branch_id, name);
	event.result = PG_GETARG_BOOL(3) ? DTM_RESULT_SUCCESS : DTM_RESULT_FAILURE;
	event.text = reason != NULL ? reason : "failed by dtm_skip_branch";
	dtm_core_config(&config);
	outcome_init(&outcome, trans);
	reject = outcome_decide(&outcome, trans, &config, &event);
	if (reject != DTM_ACCEPTED)
		error_skip(trans, event.op, reject);
	api_write(&outcome, trans);
	store_add_act(trans->id, event.result == DTM_RESULT_SUCCESS ?
				  "skip as succeeded" : "skip as failed", store_act_of(event.op, false), reason, NULL);
	PG_RETURN_VOID();
}

/* ---------- dtm_resubmit ---------- */

/* One that has failed or was stopped; its row is locked, so that it is not removed. */
static Transaction *
find_failed(const char *gid)
{
	Transaction *trans;
	StoreFound	found = store_find(gid, false, &trans);

	if (found == STORE_ABSENT || !api_is_visible(trans->submitted_by) ||
		(found == STORE_FINISHED && !store_lock_finished(trans->id)))
		ereport(ERROR,
				(errcode(DTM_ERRCODE_UNKNOWN_GID),
				 errmsg("global transaction \"%s\" does not exist", gid),
				 errhint("A finished global transaction can be resubmitted as long as it is kept (dtm.retention). Look for it in dtm.transactions; if it was removed, submit its steps again.")));
	if (trans->core.type != DTM_SAGA && trans->core.type != DTM_MSG)
		ereport(ERROR,
				(errcode(DTM_ERRCODE_WRONG_STATUS),
				 errmsg("cannot resubmit global transaction \"%s\" because its trans_type is \"%s\"",
						gid, dtm_trans_type_name(trans->core.type)),
				 errhint("The client has to start the global transaction again: only the steps of a saga or msg are stored whole.")));
	if (trans->core.status != DTM_FAILED)
		ereport(ERROR,
				(errcode(DTM_ERRCODE_WRONG_STATUS),
		/* dtm's words (api.c) */
				 errmsg("cannot resubmit global transaction \"%s\": its current status is '%s'",
						gid, dtm_status_name(trans->core.status)),
				 errhint("Only global transactions that have failed or were stopped can be resubmitted.")));
	if (!OidIsValid(trans->submitted_by))
		ereport(ERROR,
				(errcode(DTM_ERRCODE_WRONG_STATUS),
				 errmsg("cannot resubmit global transaction \"%s\" because the role that submitted it no longer exists",
						gid),
				 errhint("Submit its steps again as another role; dtm.branches has them.")));
	return trans;
}

/* dtm_resubmit(gid, new_gid, reason) returns text */
Datum
dtm_resubmit(PG_FUNCTION_ARGS)
{
	char	   *gid = api_required_gid(fcinfo, 0);
	char	   *new_gid = request_gid(TEXT_OR_NULL(1));
	char	   *reason = api_optional_note(fcinfo, 2, "reason");
	Transaction *trans;
	StringInfoData json;
	DtmConfig	config;
	int64		id;
	bool		is_rest;

	PreventCommandIfReadOnly("dtm_resubmit()");
	trans = find_failed(gid);
	/* it makes the same calls, as its role: whoever may retry it may do that */
	request_check_again(trans);
	id = trans->id;
	trans->gid = new_gid;
	dtm_core_config(&config);
	store_lane_enter(trans);
	is_rest = dtm_core_start_again(&trans->core, &config, GetCurrentTimestamp());
	if (!store_insert(trans))
		ereport(ERROR,
				(errcode(DTM_ERRCODE_GID_IN_USE),
				 errmsg("gid \"%s\" is already in use", new_gid),
				 errhint(API_GID_HINT)));
	if (is_rest)
	{
		/* it was inserted with all its ops prepared */
		trans->version = 0;
		store_update(trans);
		store_copy_results(id, trans->id);
	}
	dtm_announce(trans->id, trans->core.next_time);
	initStringInfo(&json);
	appendStringInfoString(&json, "{\"new_gid\": ");
	escape_json(&json, new_gid);
	if (is_rest)
		appendStringInfoString(&json, ", \"steps\": \"discarded\"");
	appendStringInfoChar(&json, '}');
	store_add_act(id, "resubmit", STORE_ACT_OF_ALL, reason, jsonb_of(json.data));
	resetStringInfo(&json);
	appendStringInfoString(&json, "{\"old_gid\": ");
	escape_json(&json, gid);
	appendStringInfoChar(&json, '}');
	store_add_act(trans->id, "resubmitted", STORE_ACT_OF_ALL, reason, jsonb_of(json.data));
	PG_RETURN_TEXT_P(cstring_to_text(new_gid));
}
