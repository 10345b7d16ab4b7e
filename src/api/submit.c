/*
 * submit.c
 *		The SQL functions that submit and steer global transactions.
 *
 * They write through the caller's transaction and call nobody: that is the
 * coordinator's business, which the commit wakes.
 */
#include "api/api.h"

#include "compat.h"
#include "errors.h"
#include "settings.h"
#include "transaction.h"
#include "outcome.h"
#include "request/request.h"
#include "process/shmem.h"
#include "store/store.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

PG_FUNCTION_INFO_V1(dtm_new_gid);
PG_FUNCTION_INFO_V1(dtm_submit);
PG_FUNCTION_INFO_V1(dtm_submit_request);
PG_FUNCTION_INFO_V1(dtm_prepare);
PG_FUNCTION_INFO_V1(dtm_prepare_request);
PG_FUNCTION_INFO_V1(dtm_open_workflow);
PG_FUNCTION_INFO_V1(dtm_abort);
PG_FUNCTION_INFO_V1(dtm_step);
PG_FUNCTION_INFO_V1(dtm_register_branch);
PG_FUNCTION_INFO_V1(dtm_register_tcc_branch);
PG_FUNCTION_INFO_V1(dtm_register_xa_branch);
PG_FUNCTION_INFO_V1(dtm_register_branch_request);
PG_FUNCTION_INFO_V1(dtm_retry_now);
PG_FUNCTION_INFO_V1(dtm_reset_cron_time);
PG_FUNCTION_INFO_V1(dtm_force_stop);
PG_FUNCTION_INFO_V1(dtm_pause);
PG_FUNCTION_INFO_V1(dtm_resume);
PG_FUNCTION_INFO_V1(dtm_get_alert_retry_limit);
PG_FUNCTION_INFO_V1(dtm_set_home);
PG_FUNCTION_INFO_V1(dtm_home_changed);

/* ---------- rights ---------- */

bool
api_is_visible(Oid submitted_by)
{
	Oid			admin = get_role_oid("dtm_admin", true);

	return has_privs_of_role(GetUserId(), submitted_by) ||
		(OidIsValid(admin) && has_privs_of_role(GetUserId(), admin));
}

void
api_error_unknown(const char *gid)
{
	ereport(ERROR,
			(errcode(DTM_ERRCODE_UNKNOWN_GID),
			 errmsg("there is no global transaction \"%s\"", gid),
			 errhint("dtm.transactions lists those that you may see.")));
}

char *
api_required_gid(FunctionCallInfo fcinfo, int number)
{
	if (PG_ARGISNULL(number))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("gid is null"),
				 errhint("Pass the gid that dtm_submit() or dtm_prepare() returned.")));
	return request_gid(PG_GETARG_TEXT_PP(number));
}

/* ---------- changing a transaction that is there ---------- */

/* In the wire's words where clients may look for them (§1.3). */
static void
error_status(const Transaction *trans, DtmEventKind kind)
{
	const char *what = kind == DTM_EVENT_PREPARE ? "prepare" :
		kind == DTM_EVENT_SUBMIT ? "submit" :
		kind == DTM_EVENT_ABORT ? "abort" :
		kind == DTM_EVENT_REGISTER ? "register a branch of" :
		kind == DTM_EVENT_FORCE_STOP ? "force stop" : "retry";

	ereport(ERROR,
			(errcode(DTM_ERRCODE_WRONG_STATUS),
			 errmsg("cannot %s global transaction \"%s\": its current status is '%s'",
					what, trans->gid, dtm_status_name(trans->core.status)),
			 dtm_core_is_final(trans->core.status) ?
			 errhint("It has ended; a new one needs a gid of its own.") :
			 errhint("dtm_wait() waits until it has ended.")));
}

/*
 * Applies a caller's event to a transaction that was found with its lock; an
 * error if it's not one for its type or status.  True if that changed it.
 */
static bool
decide(Transaction *trans, DtmEventKind kind, const char *reason, bool succeeded)
{
	DtmEvent	event = {.kind = kind};
	DtmConfig	config;
	DtmUpdate	update;

	event.now = GetCurrentTimestamp();
	event.text = reason;
	event.succeeded = succeeded;
	dtm_core_config(&config);
	update.calls = palloc(sizeof(int) * (trans->core.nops + 1));
	dtm_core_step(&trans->core, &config, &event, &update);
	if (update.reject == DTM_REJECT_TYPE && kind == DTM_EVENT_REGISTER)
		ereport(ERROR,
				(errcode(DTM_ERRCODE_WRONG_STATUS),
				 errmsg("cannot register a branch of global transaction \"%s\": its trans_type is %s",
						trans->gid, dtm_trans_type_name(trans->core.type)),
				 errhint("Its steps are given when it is submitted or prepared.")));
	if (update.reject == DTM_REJECT_TYPE)
		ereport(ERROR,
				(errcode(DTM_ERRCODE_WRONG_STATUS),
				 errmsg("cannot abort global transaction \"%s\": its trans_type is %s",
						trans->gid, dtm_trans_type_name(trans->core.type)),
				 errhint("A saga rolls itself back when a step is refused, a workflow is submitted as failed; dtm_force_stop() stops either as it is.")));
	if (update.reject == DTM_REJECT_STATUS)
		error_status(trans, kind);
	return update.changed;
}

/* Writes what was decided, and has the coordinator look at it. */
static void
write_decision(Transaction *trans)
{
	store_update(trans);
	if (dtm_core_is_final(trans->core.status))
	{
		int64		message = notice_finished(trans, GetCurrentTimestamp());

		if (message != 0)
			dtm_announce(message);
	}
}

/* Applies a caller's event, as decide() does, and writes the outcome. */
static void
apply(Transaction *trans, DtmEventKind kind, const char *reason)
{
	if (decide(trans, kind, reason, false))
		write_decision(trans);
	dtm_announce(trans->id);
}

/* Finds a transaction that the current role may steer, and locks it. */
static Transaction *
find_to_steer(const char *gid, DtmEventKind kind)
{
	Transaction *trans;
	StoreFound	found = store_find(gid, true, &trans);

	if (found == STORE_ABSENT || !api_is_visible(trans->submitted_by))
		api_error_unknown(gid);
	if (found == STORE_FINISHED)
		error_status(trans, kind);
	return trans;
}

/* ---------- submit and prepare ---------- */

static void
warn_no_coordinator(void)
{
	static bool warned = false;

	if (dtm_preloaded || dtm_shared != NULL || warned)
		return;
	warned = true;
	ereport(WARNING,
			(errcode(DTM_ERRCODE_NO_COORDINATOR),
			 errmsg("global transactions are stored, but no coordinator runs in this server"),
			 errhint("Add dtm to shared_preload_libraries and restart the server, or run what is due with CALL dtm_run_due().")));
}

#define GID_HINT "Use another gid, or dtm_new_gid()."

/* It was there when it was to be inserted, and then it was not. */
static void
error_removed(const char *gid)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not submit global transaction \"%s\" due to concurrent removal", gid),
			 errhint("Try the transaction again.")));
}

/* The gid is of another type than the caller takes it for. */
static void
error_other_type(const Transaction *stored, DtmTransType wanted, const char *hint)
{
	ereport(ERROR,
			(errcode(DTM_ERRCODE_GID_IN_USE),
			 errmsg("global transaction \"%s\" is of trans_type %s, not %s", stored->gid,
					dtm_trans_type_name(stored->core.type),
					dtm_trans_type_name(wanted)),
			 errhint("%s", hint)));
}

/* Errors if what is stored can't be what a request speaks of. */
static void
check_same(const Transaction *stored, const Request *request)
{
	if (!api_is_visible(stored->submitted_by))
		ereport(ERROR,
				(errcode(DTM_ERRCODE_GID_IN_USE),
				 errmsg("gid \"%s\" is in use", stored->gid),
				 errhint(GID_HINT)));
	if (stored->core.type != request->trans.core.type)
		error_other_type(stored, request->trans.core.type, GID_HINT);
}

/* A prepare or submit of a gid that is there already. */
static void
repeat_request(Request *request, DtmEventKind kind)
{
	const char *gid = request->trans.gid;
	Transaction *stored;
	StoreFound	found = store_find(gid, true, &stored);

	if (found == STORE_ABSENT)
		error_removed(gid);
	check_same(stored, request);
	if (found == STORE_FINISHED)
		error_status(stored, kind);
	/* the content of a repeated prepare is ignored (§1.3) */
	if (kind == DTM_EVENT_SUBMIT)
	{
		if (request->has_steps && !request_same_steps(stored, &request->trans))
			ereport(ERROR,
					(errcode(DTM_ERRCODE_GID_IN_USE),
					 errmsg("global transaction \"%s\" exists with other steps", gid),
					 errhint("Submit it with the same steps or with none, or use another gid.")));
		if ((request->given & REQUEST_PROTOCOL) &&
			strcmp(stored->protocol ? stored->protocol : "",
				   request->trans.protocol) != 0)
			ereport(ERROR,
					(errcode(DTM_ERRCODE_GID_IN_USE),
					 errmsg("global transaction \"%s\" exists with another protocol", gid),
					 errhint("Its branches are called as it was prepared.")));
		if (request->given != 0 && stored->core.status == DTM_PREPARED)
		{
			request_merge_options(stored, request);
			store_update_options(stored);
		}
	}
	apply(stored, kind, NULL);
}

/* The submit of a workflow says how it has ended; there is nothing to run. */
static void
submit_workflow(Request *request)
{
	Transaction *trans = find_to_steer(request->trans.gid, DTM_EVENT_SUBMIT);

	if (trans->core.type != DTM_WORKFLOW)
		error_other_type(trans, DTM_WORKFLOW, GID_HINT);
	if (request->end == REQUEST_NO_END)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("submit of workflow \"%s\" has no status", trans->gid),
				 errhint("It says how the workflow has ended: succeed or failed.")));
	if (decide(trans, DTM_EVENT_SUBMIT, request->rollback_reason,
			   request->end == REQUEST_SUCCEEDED))
		write_decision(trans);
	if (request->trans.result != NULL)
	{
		trans->result = request->trans.result;
		store_update_result(trans);
	}
	dtm_announce(trans->id);
}

/* Writes a new transaction; false if its gid is there already. */
static bool
insert_transaction(Request *request, bool submitted)
{
	Transaction *trans = &request->trans;
	Transaction *stored;
	const char *no_topic;
	DtmConfig	config;

	/*
	 * One that is there goes on as it is: whatever has become of its topic
	 * since (TP-05), and without the name that only a new workflow needs.
	 */
	if ((request_has_topics(request) || trans->core.type == DTM_WORKFLOW) &&
		store_find(trans->gid, false, &stored) != STORE_ABSENT)
		return false;
	if (trans->core.type == DTM_WORKFLOW && trans->workflow == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("workflow has no name"),
				 errhint("Its name, in option name or in custom_data, is what the callback gets as op.")));
	no_topic = request_expand_topics(request);
	if (no_topic != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("topic not found"),
				 errdetail("Nothing is subscribed to topic \"%s\".", no_topic),
				 errhint("Subscribe a URL with dtm_subscribe().")));
	dtm_core_config(&config);
	trans->submitted_by = GetUserId();
	dtm_core_start(&trans->core, &config, submitted, GetCurrentTimestamp());
	if (!store_insert(trans))
		return false;
	dtm_announce(trans->id);
	return true;
}

static Datum
begin_transaction(Request *request, bool submitted)
{
	PreventCommandIfReadOnly(submitted ? "dtm_submit()" : "dtm_prepare()");
	if (submitted && request->trans.core.type == DTM_WORKFLOW)
		submit_workflow(request);
	else if (!insert_transaction(request, submitted))
		repeat_request(request, submitted ? DTM_EVENT_SUBMIT : DTM_EVENT_PREPARE);
	warn_no_coordinator();
	return CStringGetTextDatum(request->trans.gid);
}

#define TEXT_OR_NULL(n)		(PG_ARGISNULL(n) ? NULL : PG_GETARG_TEXT_PP(n))
#define ARRAY_OR_NULL(n)	(PG_ARGISNULL(n) ? NULL : PG_GETARG_ARRAYTYPE_P(n))
#define JSONB_OR_NULL(n)	(PG_ARGISNULL(n) ? NULL : PG_GETARG_JSONB_P(n))

/* dtm_step(action, compensate, payload) returns dtm_step */
Datum
dtm_step(PG_FUNCTION_ARGS)
{
	TupleDesc	desc = lookup_rowtype_tupdesc(get_func_rettype(fcinfo->flinfo->fn_oid), -1);
	bytea	   *payload = request_json_body(JSONB_OR_NULL(2));
	bool		nulls[3] = {PG_ARGISNULL(0), PG_ARGISNULL(1), payload == NULL};
	Datum		values[3] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), PointerGetDatum(payload)};
	HeapTuple	tuple = heap_form_tuple(desc, values, nulls);

	ReleaseTupleDesc(desc);
	PG_RETURN_DATUM(HeapTupleGetDatum(tuple));
}

/* dtm_submit(trans_type, steps, gid, options) returns text */
Datum
dtm_submit(PG_FUNCTION_ARGS)
{
	return begin_transaction(request_from_arguments(TEXT_OR_NULL(0),
													ARRAY_OR_NULL(1),
													TEXT_OR_NULL(2),
													JSONB_OR_NULL(3)),
							 true);
}

/* dtm_submit(request) returns text */
Datum
dtm_submit_request(PG_FUNCTION_ARGS)
{
	return begin_transaction(request_from_object(JSONB_OR_NULL(0)), true);
}

/* dtm_prepare(trans_type, gid, steps, options) returns text */
Datum
dtm_prepare(PG_FUNCTION_ARGS)
{
	return begin_transaction(request_from_arguments(TEXT_OR_NULL(0),
													ARRAY_OR_NULL(2),
													TEXT_OR_NULL(1),
													JSONB_OR_NULL(3)),
							 false);
}

/* dtm_prepare(request) returns text */
Datum
dtm_prepare_request(PG_FUNCTION_ARGS)
{
	return begin_transaction(request_from_object(JSONB_OR_NULL(0)), false);
}

/* dtm.open_workflow(request) returns text: one that is there already, too */
Datum
dtm_open_workflow(PG_FUNCTION_ARGS)
{
	Request    *request = request_from_object(JSONB_OR_NULL(0));

	PreventCommandIfReadOnly("dtm_prepare_workflow()");
	if (request->trans.core.type != DTM_WORKFLOW)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("trans_type is %s", dtm_trans_type_name(request->trans.core.type)),
				 errhint("dtm_prepare_workflow() opens a workflow; dtm_prepare() opens the others.")));
	if (!insert_transaction(request, false))
	{
		Transaction *stored;

		/* whatever its status: the client goes by it (§1.3) */
		if (store_find(request->trans.gid, false, &stored) == STORE_ABSENT)
			error_removed(request->trans.gid);
		check_same(stored, request);
	}
	warn_no_coordinator();
	return CStringGetTextDatum(request->trans.gid);
}

Datum
dtm_new_gid(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(request_new_gid()));
}

/* ---------- branches ---------- */

static void
register_branch(const BranchRequest *branch)
{
	Transaction *trans;

	PreventCommandIfReadOnly("dtm_register_branch()");
	trans = find_to_steer(branch->gid, DTM_EVENT_REGISTER);
	/* its status can't change any more: the row is locked (§1.2) */
	(void) decide(trans, DTM_EVENT_REGISTER, NULL, false);
	if (trans->core.type != branch->type)
		error_other_type(trans, branch->type,
						 "A tcc's branch has two URLs, confirm and cancel; an xa's has one; a workflow's has an op and a status.");
	request_add_branch(trans, branch);
	store_update_branches(trans);
}

#define STRING_OR_NULL(n) \
	(PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n)))

static Datum
register_tcc_branch(FunctionCallInfo fcinfo, bytea *payload)
{
	register_branch(request_branch(DTM_TCC, TEXT_OR_NULL(0), TEXT_OR_NULL(1),
								   STRING_OR_NULL(2), STRING_OR_NULL(3), payload));
	PG_RETURN_VOID();
}

/* dtm_register_branch(gid, branch_id, confirm, cancel, payload) returns void */
Datum
dtm_register_branch(PG_FUNCTION_ARGS)
{
	return register_tcc_branch(fcinfo, request_json_body(JSONB_OR_NULL(4)));
}

/*
 * What the SQL of version 0.1.0 calls, and the script has to find that an
 * installation begins with; the payload is bytea.
 */
Datum
dtm_register_tcc_branch(PG_FUNCTION_ARGS)
{
	return register_tcc_branch(fcinfo, PG_ARGISNULL(4) ? NULL : PG_GETARG_BYTEA_P(4));
}

/* dtm_register_branch(gid, branch_id, url) returns void */
Datum
dtm_register_xa_branch(PG_FUNCTION_ARGS)
{
	register_branch(request_branch(DTM_XA, TEXT_OR_NULL(0), TEXT_OR_NULL(1),
								   STRING_OR_NULL(2), STRING_OR_NULL(2), NULL));
	PG_RETURN_VOID();
}

/* dtm_register_branch(request) returns void */
Datum
dtm_register_branch_request(PG_FUNCTION_ARGS)
{
	register_branch(request_branch_from_object(JSONB_OR_NULL(0)));
	PG_RETURN_VOID();
}

/* ---------- steering ---------- */

/* dtm_abort(gid, reason) returns void */
Datum
dtm_abort(PG_FUNCTION_ARGS)
{
	char	   *gid = api_required_gid(fcinfo, 0);

	PreventCommandIfReadOnly("dtm_abort()");
	apply(find_to_steer(gid, DTM_EVENT_ABORT), DTM_EVENT_ABORT,
		  PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1)));
	PG_RETURN_VOID();
}

/* dtm_force_stop(gid) returns void */
Datum
dtm_force_stop(PG_FUNCTION_ARGS)
{
	char	   *gid = api_required_gid(fcinfo, 0);

	PreventCommandIfReadOnly("dtm_force_stop()");
	apply(find_to_steer(gid, DTM_EVENT_FORCE_STOP), DTM_EVENT_FORCE_STOP,
		  "stopped by dtm_force_stop");
	PG_RETURN_VOID();
}

/* dtm_retry_now(gid) returns void */
Datum
dtm_retry_now(PG_FUNCTION_ARGS)
{
	char	   *gid = api_required_gid(fcinfo, 0);

	PreventCommandIfReadOnly("dtm_retry_now()");
	apply(find_to_steer(gid, DTM_EVENT_RETRY_NOW), DTM_EVENT_RETRY_NOW, NULL);
	PG_RETURN_VOID();
}

/* dtm_reset_cron_time(timeout, max) returns (succeed_count, has_remaining) */
Datum
dtm_reset_cron_time(PG_FUNCTION_ARGS)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz later_than;
	int			max;
	int			n;
	TupleDesc	desc;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("timeout and max must not be null"),
				 errhint("max is how many transactions are made due at most.")));
	max = PG_GETARG_INT32(1);
	if (max < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max must not be negative"),
				 errhint("max is how many transactions are made due at most.")));
	PreventCommandIfReadOnly("dtm_reset_cron_time()");
	later_than = DatumGetTimestampTz(
									 DirectFunctionCall2(timestamptz_pl_interval,
														 TimestampTzGetDatum(now),
														 PG_GETARG_DATUM(0)));
	n = store_reset_next_time(later_than, now, max);
	if (n > 0)
		dtm_announce_ask(DTM_ASK_SEARCH);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = Int32GetDatum(n);
	values[1] = BoolGetDatum(n == max);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/* dtm_pause() returns void; the change of dtm.home tells the coordinator */
Datum
dtm_pause(PG_FUNCTION_ARGS)
{
	PreventCommandIfReadOnly("dtm_pause()");
	store_set_home(true);
	PG_RETURN_VOID();
}

/* dtm_resume() returns void */
Datum
dtm_resume(PG_FUNCTION_ARGS)
{
	PreventCommandIfReadOnly("dtm_resume()");
	store_set_home(false);
	PG_RETURN_VOID();
}

/* dtm.set_home(): at CREATE EXTENSION */
Datum
dtm_set_home(PG_FUNCTION_ARGS)
{
	store_set_home(false);
	PG_RETURN_VOID();
}

/* Trigger on dtm.home */
Datum
dtm_home_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("home_changed() is a trigger function")));
	dtm_announce_ask(DTM_ASK_RECHECK);
	PG_RETURN_POINTER(NULL);
}

/* ---------- settings ---------- */

/* dtm.alert_retry_limit(): the setting, also where nothing has loaded us yet */
Datum
dtm_get_alert_retry_limit(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(dtm_alert_retry_limit);
}
