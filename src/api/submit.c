/*
 * submit.c
 *		The SQL functions that submit and prepare global transactions.
 */
#include "api/api.h"

#include "errors.h"
#include "gid.h"
#include "process/shmem.h"
#include "request/request.h"
#include "settings.h"
#include "store/store.h"

#include "access/htup_details.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

PG_FUNCTION_INFO_V1(dtm_new_gid);
PG_FUNCTION_INFO_V1(dtm_tag);
PG_FUNCTION_INFO_V1(dtm_submit);
PG_FUNCTION_INFO_V1(dtm_submit_json);
PG_FUNCTION_INFO_V1(dtm_submit_text);
PG_FUNCTION_INFO_V1(dtm_submit_request);
PG_FUNCTION_INFO_V1(dtm_prepare);
PG_FUNCTION_INFO_V1(dtm_prepare_json);
PG_FUNCTION_INFO_V1(dtm_prepare_text);
PG_FUNCTION_INFO_V1(dtm_prepare_request);
PG_FUNCTION_INFO_V1(dtm_open_workflow);
PG_FUNCTION_INFO_V1(dtm_step);
PG_FUNCTION_INFO_V1(dtm_step_text);
PG_FUNCTION_INFO_V1(dtm_step_bytes);

/* The gid existed at the insert, and was removed before it was read. */
static void
error_removed(const char *gid)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not submit global transaction \"%s\" due to concurrent removal", gid),
			 errhint("Retry the transaction.")));
}

/* Errors if the stored transaction is not the one of the request. */
static void
check_same(const Transaction *stored, const Request *request)
{
	if (!api_is_visible(stored->submitted_by))
		ereport(ERROR,
				(errcode(DTM_ERRCODE_GID_IN_USE),
				 errmsg("gid \"%s\" is already in use", stored->gid),
				 errhint(API_GID_HINT)));
	if (stored->core.type != request->trans.core.type)
		api_error_other_type(stored, request->trans.core.type, API_GID_HINT);
}

/*
 * Is it the submit of a saga or msg that has already ended, or is being rolled
 * back, once more?  Whoever did not hear of the first one need not know how far
 * it has come.  dtm's SDKs get an error (SG-05).
 */
static bool
is_repeated(const Transaction *stored, const Request *request, DtmEventKind kind,
			const char *difference)
{
	DtmStatus	status = stored->core.status;

	return kind == DTM_EVENT_SUBMIT && !request->from_wire &&
		(stored->core.type == DTM_SAGA || stored->core.type == DTM_MSG) &&
		(dtm_core_is_final(status) || status == DTM_ABORTING) && difference == NULL;
}

/* Is this the stored transaction's lane? */
static bool
is_lane(const Transaction *stored, const char *lane)
{
	if (stored->lane == NULL || lane == NULL)
		return stored->lane == NULL && lane == NULL;
	return strcmp(store_lane_given(stored->lane), store_lane_given(lane)) == 0;
}

static void
error_steps(const Transaction *stored, const char *difference)
{
	bool		is_final = dtm_core_is_final(stored->core.status);

	ereport(ERROR,
			(errcode(DTM_ERRCODE_GID_IN_USE),
			 errmsg("global transaction \"%s\" already exists with other steps", stored->gid),
			 errdetail("%s", difference),
			 is_final ? errhint("The global transaction has ended with status '%s'. To submit other steps, use another gid.",
								dtm_status_name(stored->core.status)) :
			 errhint("Submit the global transaction with the same steps or without steps, or use another gid.")));
}

/* A prepare or submit of a gid that is there already; returns what is stored. */
static Transaction *
repeat_request(Request *request, DtmEventKind kind)
{
	const char *gid = request->trans.gid;
	Transaction *stored;
	StoreFound	found = store_find(gid, true, &stored);
	const char *difference;

	if (found == STORE_ABSENT)
		error_removed(gid);
	check_same(stored, request);
	difference = request_steps_differ(stored, &request->trans);
	if (is_repeated(stored, request, kind, difference))
		return stored;
	/* SDKs know the words of dtm's server for all that has ended */
	if (found == STORE_FINISHED &&
		(request->from_wire || kind != DTM_EVENT_SUBMIT || !request->has_steps))
		api_error_status(stored, kind);
	/* the content of a repeated prepare is ignored (§1.3) */
	if (kind == DTM_EVENT_SUBMIT)
	{
		if (request->has_steps && difference != NULL)
			error_steps(stored, difference);
		if (found == STORE_FINISHED)
			api_error_status(stored, kind);
		if (request_gave(request, "protocol") &&
			strcmp(stored->protocol ? stored->protocol : "",
				   request->trans.protocol) != 0)
			ereport(ERROR,
					(errcode(DTM_ERRCODE_GID_IN_USE),
					 errmsg("global transaction \"%s\" already exists with another protocol", gid),
					 errhint("Submit it without a protocol, or with the protocol with which it was prepared.")));
		if (request_gave(request, "lane") && !is_lane(stored, request->trans.lane))
			ereport(ERROR,
					(errcode(DTM_ERRCODE_GID_IN_USE),
					 errmsg("global transaction \"%s\" already exists in another lane", gid),
					 errhint("Submit it without a lane, or with the lane with which it was prepared.")));
		if (request->given != 0 && stored->core.status == DTM_PREPARED)
		{
			request_merge_options(stored, request);
			store_update_options(stored);
		}
	}
	api_apply(stored, kind, NULL);
	return stored;
}

/* The submit of a workflow says how it has ended; there is nothing to run. */
static Transaction *
submit_workflow(Request *request)
{
	Transaction *trans = api_find_to_steer(request->trans.gid, DTM_EVENT_SUBMIT);
	Outcome		outcome;

	if (trans->core.type != DTM_WORKFLOW)
		api_error_other_type(trans, DTM_WORKFLOW, API_GID_HINT);
	if (request->end == REQUEST_NO_END)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("workflow \"%s\" was submitted without a status", trans->gid),
				 errhint("Pass the status with which the workflow has ended: succeed or failed.")));
	api_decide(&outcome, trans, DTM_EVENT_SUBMIT, request->rollback_reason,
			   request->end == REQUEST_SUCCEEDED);
	api_write(&outcome, trans);
	if (request->trans.result != NULL)
	{
		trans->result = request->trans.result;
		store_update_result(trans);
	}
	return trans;
}

/* It would do nothing, which nobody can have meant: a key is misspelt. */
static bool
lacks_steps(const Request *request)
{
	return !request->has_steps && request->needs_steps &&
		(request->trans.core.type == DTM_SAGA || request->trans.core.type == DTM_MSG);
}

/*
 * On a node of Citus: has another node this transaction?  So says the tag of a gid that was
 * generated there; and a submit that ends what a prepare has begun, of which nothing is
 * here.  Without this, both nodes would have one of this gid, and each call the services.
 */
static bool
is_elsewhere(const Transaction *trans, bool submitted)
{
	const char *own = gid_tag == NULL ? NULL : gid_tag();
	const char *tag = own == NULL ? NULL : gid_tag_of(trans->gid);

	if (own == NULL)
		return false;
	if (tag != NULL && strcmp(tag, own) != 0)
		return true;
	return submitted && (trans->core.type == DTM_TCC || trans->core.type == DTM_XA ||
						 (trans->core.type == DTM_MSG && trans->query_prepared != NULL &&
						  trans->query_prepared[0] != '\0'));
}

static void
error_elsewhere(const char *gid)
{
	const char *tag = gid_tag_of(gid);

	ereport(ERROR,
			(errcode(DTM_ERRCODE_UNKNOWN_GID),
			 errmsg("global transaction \"%s\" does not exist on this node", gid),
			 tag != NULL && strcmp(tag, gid_tag()) != 0 ?
			 errdetail("The gid was generated on the node with the tag \"%s\".", tag) :
			 errdetail("A global transaction of this kind is prepared before it is submitted."),
			 errhint("Use the node that has the global transaction: by dtm_cluster_run(), or through a gateway that is connected to all nodes.")));
}

/* Writes a new transaction; false if its gid is there already. */
static bool
insert_transaction(Request *request, bool submitted)
{
	Transaction *trans = &request->trans;
	Transaction *stored;
	const char *no_topic;
	DtmConfig	config;
	bool		elsewhere = is_elsewhere(trans, submitted);

	/*
	 * One that is there goes on as it is: whatever has become of its topic
	 * since (TP-05), and without the name that only a new workflow needs.  It
	 * has its place in its lane, which others may have locked.
	 */
	if ((request_has_topics(request) || trans->core.type == DTM_WORKFLOW ||
		 trans->lane != NULL || lacks_steps(request) || elsewhere) &&
		store_find(trans->gid, false, &stored) != STORE_ABSENT)
		return false;
	if (elsewhere)
		error_elsewhere(trans->gid);
	if (lacks_steps(request))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("global transaction of trans_type \"%s\" has no steps", dtm_trans_type_name(trans->core.type)),
				 errhint("Pass an array of steps, each an object with the URL of its action.")));
	if (trans->core.type == DTM_WORKFLOW && trans->workflow == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("workflow has no name"),
				 errhint("Pass a name in option name or in custom_data; the callback receives it as op.")));
	no_topic = request_expand_topics(request);

	/*
	 * "topic not found" are dtm's words, which clients match (MS-05): they
	 * stay
	 */
	if (no_topic != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("topic not found"),
				 errdetail("No URL is subscribed to topic \"%s\".", no_topic),
				 errhint("Subscribe a URL with dtm_subscribe().")));
	dtm_core_config(&config);
	trans->submitted_by = GetUserId();
	store_lane_enter(trans);
	dtm_core_start(&trans->core, &config, submitted, GetCurrentTimestamp());
	if (!store_insert(trans))
		return false;
	dtm_announce(trans->id, trans->core.next_time);
	return true;
}

Transaction *
api_begin(Request *request, bool submitted)
{
	Transaction *trans = &request->trans;

	PreventCommandIfReadOnly(submitted ? "dtm_submit()" : "dtm_prepare()");
	if (submitted && request->trans.core.type == DTM_WORKFLOW)
		trans = submit_workflow(request);
	else if (!insert_transaction(request, submitted))
		trans = repeat_request(request, submitted ? DTM_EVENT_SUBMIT : DTM_EVENT_PREPARE);
	api_warn_no_coordinator();
	return trans;
}

static Datum
begin_transaction(Request *request, bool submitted)
{
	return CStringGetTextDatum(api_begin(request, submitted)->gid);
}

static Datum
make_step(FunctionCallInfo fcinfo, bytea *payload)
{
	TupleDesc	desc = lookup_rowtype_tupdesc(get_func_rettype(fcinfo->flinfo->fn_oid), -1);
	bool		nulls[4] = {PG_ARGISNULL(0), PG_ARGISNULL(1), payload == NULL, PG_ARGISNULL(3)};
	Datum		values[4] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), PointerGetDatum(payload), PG_GETARG_DATUM(3)};
	HeapTuple	tuple = heap_form_tuple(desc, values, nulls);

	ReleaseTupleDesc(desc);
	return HeapTupleGetDatum(tuple);
}

/* dtm_step(action, compensate, payload jsonb, options) returns dtm_step */
Datum
dtm_step(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(make_step(fcinfo, request_json_body(JSONB_OR_NULL(2))));
}

/* dtm_step(action, compensate, payload text or json, options) returns dtm_step */
Datum
dtm_step_text(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(make_step(fcinfo, PG_ARGISNULL(2) ? NULL :
							  request_text_payload(STRING_OR_NULL(2), JSONB_OR_NULL(3))));
}

/* dtm_step(action, compensate, payload bytea, options) returns dtm_step */
Datum
dtm_step_bytes(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(make_step(fcinfo, PG_ARGISNULL(2) ? NULL : PG_GETARG_BYTEA_P(2)));
}

/* The steps of an argument. */
static RequestSteps
array_steps(ArrayType *array)
{
	RequestSteps steps = {.array = array};

	return steps;
}

static RequestSteps
json_steps(Jsonb *json)
{
	RequestSteps steps = {.json = json, .is_json = true};

	return steps;
}

static RequestSteps
text_steps(const char *string)
{
	RequestSteps steps = {.text = string, .is_json = true};

	if (string != NULL)
		steps.json = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(string)));
	return steps;
}

static Datum
submit(FunctionCallInfo fcinfo, RequestSteps steps)
{
	return begin_transaction(request_from_arguments(TEXT_OR_NULL(0), steps,
													TEXT_OR_NULL(2),
													JSONB_OR_NULL(3)),
							 true);
}

/* dtm_submit(trans_type, steps, gid, options) returns text, with an array of dtm_step */
Datum
dtm_submit(PG_FUNCTION_ARGS)
{
	return submit(fcinfo, array_steps(ARRAY_OR_NULL(1)));
}

/* The same, with steps as jsonb */
Datum
dtm_submit_json(PG_FUNCTION_ARGS)
{
	return submit(fcinfo, json_steps(JSONB_OR_NULL(1)));
}

/* The same, with steps as text or json */
Datum
dtm_submit_text(PG_FUNCTION_ARGS)
{
	return submit(fcinfo, text_steps(STRING_OR_NULL(1)));
}

/* dtm_submit(request) returns text */
Datum
dtm_submit_request(PG_FUNCTION_ARGS)
{
	return begin_transaction(request_from_object(JSONB_OR_NULL(0)), true);
}

static Datum
prepare(FunctionCallInfo fcinfo, RequestSteps steps)
{
	return begin_transaction(request_from_arguments(TEXT_OR_NULL(0), steps,
													TEXT_OR_NULL(1),
													JSONB_OR_NULL(3)),
							 false);
}

/* dtm_prepare(trans_type, gid, steps, options) returns text, with an array of dtm_step */
Datum
dtm_prepare(PG_FUNCTION_ARGS)
{
	return prepare(fcinfo, array_steps(ARRAY_OR_NULL(2)));
}

/* The same, with steps as jsonb */
Datum
dtm_prepare_json(PG_FUNCTION_ARGS)
{
	return prepare(fcinfo, json_steps(JSONB_OR_NULL(2)));
}

/* The same, with steps as text or json */
Datum
dtm_prepare_text(PG_FUNCTION_ARGS)
{
	return prepare(fcinfo, text_steps(STRING_OR_NULL(2)));
}

/* dtm_prepare(request) returns text */
Datum
dtm_prepare_request(PG_FUNCTION_ARGS)
{
	return begin_transaction(request_from_object(JSONB_OR_NULL(0)), false);
}

void
api_open_workflow(Request *request)
{
	PreventCommandIfReadOnly("dtm_prepare_workflow()");
	if (request->trans.core.type != DTM_WORKFLOW)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cannot prepare a global transaction of trans_type \"%s\" as a workflow",
						dtm_trans_type_name(request->trans.core.type)),
				 errhint("Use dtm_prepare().")));
	if (!insert_transaction(request, false))
	{
		Transaction *stored;

		/* whatever its status: the client goes by it (§1.3) */
		if (store_find(request->trans.gid, false, &stored) == STORE_ABSENT)
			error_removed(request->trans.gid);
		check_same(stored, request);
	}
	api_warn_no_coordinator();
}

/* dtm.open_workflow(request) returns text: one that is there already, too */
Datum
dtm_open_workflow(PG_FUNCTION_ARGS)
{
	Request    *request = request_from_object(JSONB_OR_NULL(0));

	api_open_workflow(request);
	return CStringGetTextDatum(request->trans.gid);
}

/* dtm.tag(): what the gids of this node of Citus end with; NULL: nothing */
Datum
dtm_tag(PG_FUNCTION_ARGS)
{
	const char *tag = store_tag();

	if (tag == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(tag));
}

Datum
dtm_new_gid(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(gid_make()));
}
