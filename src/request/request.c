/*
 * request.c
 *		Requests of callers, read and checked.
 */
#include "private.h"

#include "base64.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define TRANS_TYPES_HINT "Use saga, msg, tcc, xa or workflow."

/* ---------- checks ---------- */

DtmTransType
request_check_trans_type(const char *name)
{
	DtmTransType type;

	if (!dtm_trans_type_parse(name, &type))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown trans_type \"%s\"", name),
				 name[0] == '{' ?
				 errhint("To submit a request object, cast it: dtm_submit('...'::jsonb).") :
				 errhint(TRANS_TYPES_HINT)));
	return type;
}

void
request_check_step_count(int n)
{
	if (n > DTM_MAX_STEPS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many steps: %d", n),
				 errhint("A global transaction can have at most %d steps.", DTM_MAX_STEPS)));
}

void
request_check_size(const Transaction *trans)
{
	Size		size = 0;

	for (int i = 0; i < trans->core.nsteps; i++)
	{
		size += strlen(trans->action[i]);
		if (trans->compensate != NULL)
			size += strlen(trans->compensate[i]);
		if (trans->payload[i] != NULL)
			size += VARSIZE_ANY_EXHDR(trans->payload[i]);
	}
	for (int i = 0; i < trans->nheaders; i++)
		size += strlen(trans->header_name[i]) + strlen(trans->header_value[i]);
	if (trans->workflow_data != NULL)
		size += VARSIZE_ANY_EXHDR(trans->workflow_data);
	if (trans->result != NULL)
		size += strlen(trans->result);
	if (size > (Size) dtm_max_request_size * 1024)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("global transaction is too large"),
				 errdetail("The URLs, payloads and headers have %zu bytes.", size),
				 errhint("Store large data elsewhere and pass its key, or increase dtm.max_request_size.")));
}

/* What can be called, now that the protocol is known. */
static void
check_urls(const Transaction *trans)
{
	for (int i = 0; i < trans->core.nsteps; i++)
	{
		const char *what = psprintf("action of step %d", i + 1);

		if (trans->core.type != DTM_MSG || !is_topic(trans->action[i]))
			request_check_url(trans->protocol, request_plain_url(trans, trans->action[i]),
							  what, REQUEST_URL_ANY, GetUserId());
		request_check_payload(trans->protocol, trans->action[i], what,
							  trans->payload[i]);
		if (trans->core.type != DTM_SAGA)
			continue;
		what = psprintf("compensation of step %d", i + 1);
		request_check_url(trans->protocol, request_plain_url(trans, trans->compensate[i]),
						  what, REQUEST_URL_ANY, GetUserId());
		request_check_payload(trans->protocol, trans->compensate[i], what,
							  trans->payload[i]);
	}
	if (trans->query_prepared != NULL)
		request_check_url(trans->protocol, trans->query_prepared,
						  "query_prepared", REQUEST_URL_REMOTE, GetUserId());
	if (trans->on_finish != NULL)
		request_check_url(NULL, trans->on_finish, "on_finish", REQUEST_URL_ANY,
						  GetUserId());
}

/* What can be judged only when all is known. */
static void
check_whole(Request *request)
{
	DtmTrans   *core = &request->trans.core;

	request_set_traceparent(&request->trans, request->traceparent);
	request_check_names(&request->trans);
	for (int i = 0; i < core->nsteps; i++)
	{
		request_check_step(&request->trans, i);
		request_check_policy(&request->trans, i);
	}
	transaction_set_policy(&request->trans);
	request_check_results(&request->trans);
	check_urls(&request->trans);
	if (request->trans.workflow != NULL &&
		(request->trans.workflow[0] == '\0' ||
		 pg_mbstrlen(request->trans.workflow) > DTM_MAX_OP_CHARS))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("workflow name is empty or longer than %d characters",
						DTM_MAX_OP_CHARS),
				 errhint("Use another name; the callback receives it as op.")));
	if (request->trans.workflow != NULL)
		request_check_name(request->trans.workflow, "name");

	if (core->type != DTM_SAGA && request_gave(request, "orders") &&
		core->orders.start != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" is allowed only for sagas", "orders"),
				 errhint("Omit orders. The steps of a msg run in order or, with option concurrent, all at once.")));
	if (core->type != DTM_MSG && core->delay > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" is allowed only for messages", "delay"),
				 errhint("Omit delay. Other global transactions start when their submit commits.")));
	/* SDKs can set it for all types, and dtm's server passes over it */
	if (core->type != DTM_SAGA && core->retry_limit > 0 && !request->from_wire)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" is allowed only for sagas", "retry_limit"),
				 errhint("Omit retry_limit. To limit the attempts of a msg, give its steps the options max_attempts and on_exhausted.")));
	if (core->type == DTM_SAGA && core->orders.start != NULL &&
		!core->concurrent)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" requires option \"%s\"", "orders", "concurrent"),
				 errhint("Set concurrent to true. Otherwise the steps of a saga run one after another.")));
	request_check_lane(request);
	core->nops = dtm_core_ops_of(core->type, core->nsteps);
	core->ops = palloc0(sizeof(DtmBranchOp) * (core->nops + 1));
	dtm_core_lay_out(core);
	request_check_size(&request->trans);
}

bytea *
request_json_body(Jsonb *body)
{
	return body == NULL ? NULL :
		transaction_body(JsonbToCString(NULL, &body->root, VARSIZE(body)));
}

void
request_set_end(Request *request, const char *status)
{
	if (strcmp(status, "succeed") == 0)
		request->end = REQUEST_SUCCEEDED;
	else if (strcmp(status, "failed") == 0)
		request->end = REQUEST_FAILED;
	else if (status[0] != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid workflow status \"%s\"", status),
				 errhint("Use succeed or failed.")));
}

/* ---------- requests ---------- */

static void
error_unknown_option(DtmTransType type, const char *key)
{
	const char *nearest = request_nearest_option(type, key);

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown option \"%s\"", key),
			 nearest != NULL ? errhint("Perhaps you meant \"%s\".", nearest) :
			 errhint("Valid options are %s; for a workflow also name, data, status, result, rollback_reason.",
					 request_option_names())));
}

Request *
request_from_arguments(text *trans_type, RequestSteps steps, text *gid,
					   Jsonb *options)
{
	Request    *request = palloc0(sizeof(Request));
	int			n;
	JsonPair   *pairs;

	if (trans_type == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", "trans_type"),
				 errhint(TRANS_TYPES_HINT)));
	request->trans.core.type = request_check_trans_type(text_to_cstring(trans_type));
	request->trans.gid = request_gid(gid);
	if (steps.array != NULL)
		request_read_steps(request, steps.array);
	else if (steps.json != NULL)
		request_read_json_steps(request, steps.json, steps.text);
	else
	{
		request_allocate_steps(request, 0);
		request->needs_steps = steps.is_json;
	}
	if (options != NULL)
	{
		pairs = read_pairs(&options->root, "options", &n);
		for (int i = 0; i < n; i++)
			if (pairs[i].value.type != jbvNull &&
				!request_read_option(request, pairs[i].key, &pairs[i].value))
				error_unknown_option(request->trans.core.type, pairs[i].key);
	}
	check_whole(request);
	for (int i = 0; i < request->trans.core.nsteps; i++)
		request_check_no_reference(&request->trans, i);
	request_check_branch_headers(&request->trans);
	return request;
}

/*
 * A key of the wire's object that has no meaning.  dtm passes over all of them,
 * and SDKs send some; one that is nearly the name of another is not meant so, nor
 * are options in an object of their own.
 */
static void
check_wire_key(const char *key, const JsonbValue *value)
{
	/* what SDKs send, and dtm's own fields */
	static const char *const ignored[] = {
		"passthrough_headers", "subType", "op", "branch_id", "dtm", "try", "confirm",
		"cancel", "url", "data", "phase2_url", "branch_type", "retry_count", "id",
		"create_time", "update_time", "finish_time", "rollback_time", "owner", "result",
		"status", "ext_data", "options", "next_cron_interval", "next_cron_time"
	};
	static const char *const known[] = {
		"gid", "trans_type", "steps", "payloads", "custom_data", "req_extra", "rollback_reason"
	};
	const char *nearest;

	if (strcmp(key, "options") == 0 && value->type == jbvBinary)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("request has an object \"%s\"", key),
				 errhint("Pass options as keys of the request itself, or as the argument \"options\" of dtm_submit(trans_type, steps, gid, options).")));
	for (size_t i = 0; i < lengthof(ignored); i++)
		if (strcmp(key, ignored[i]) == 0)
			return;
	nearest = nearest_name(key, known, lengthof(known));
	if (nearest == NULL)
		nearest = request_nearest_option(DTM_SAGA, key);
	if (nearest != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("request has an unknown key \"%s\"", key),
				 errhint("Perhaps you meant \"%s\".", nearest)));
}

static void
say_custom_data(void *arg)
{
	errcontext("JSON in \"custom_data\" of the request");
}

/* custom_data: a string that holds a JSON object, or null. */
static void
read_custom_data(Request *request, const JsonbValue *value)
{
	char	   *string = read_string(value, "custom_data");
	ErrorContextCallback callback = {.callback = say_custom_data};
	Jsonb	   *custom_data;
	int			n;
	JsonPair   *pairs;
	DtmTransType type = request->trans.core.type;

	if (string[0] == '\0')
		return;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	custom_data = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
													 CStringGetDatum(string)));
	error_context_stack = callback.previous;
	if (JB_ROOT_IS_SCALAR(custom_data) && strcmp(string, "null") == 0)
		return;
	pairs = read_pairs(&custom_data->root, "custom_data", &n);
	for (int i = 0; i < n; i++)
	{
		const char *key = pairs[i].key;

		if (pairs[i].value.type == jbvNull)
			continue;
		if (type == DTM_WORKFLOW && strcmp(key, "name") == 0)
			request->trans.workflow = read_string(&pairs[i].value, "custom_data.name");
		else if (type == DTM_WORKFLOW && strcmp(key, "data") == 0)
			request->trans.workflow_data =
				base64_decode(read_string(&pairs[i].value, "custom_data.data"),
							  "custom_data.data");
		else if (type == DTM_SAGA ?
				 strcmp(key, "concurrent") == 0 || strcmp(key, "orders") == 0 :
				 type == DTM_MSG && strcmp(key, "delay") == 0)
			request_read_option(request, key, &pairs[i].value);
	}
	/* here, orders without concurrent are ignored, as dtm does */
	if (!request->trans.core.concurrent)
		request->trans.core.orders.start = NULL;
}

/* req_extra: how a workflow has ended, all of it strings (§1.1). */
static void
read_req_extra(Request *request, const JsonbValue *value)
{
	int			n;
	JsonPair   *pairs = read_pairs(read_object(value, "req_extra"), "req_extra", &n);

	for (int i = 0; i < n; i++)
	{
		const char *key = pairs[i].key;

		if (pairs[i].value.type == jbvNull)
			continue;
		if (strcmp(key, "status") == 0)
			request_set_end(request, read_string(&pairs[i].value, key));
		else if (strcmp(key, "rollback_reason") == 0)
			request->rollback_reason = read_string(&pairs[i].value, key);
		else if (strcmp(key, "result") == 0)
		{
			char	   *result = read_string(&pairs[i].value, key);

			(void) base64_decode(result, key);	/* or an error */
			request->trans.result = result;
		}
	}
}

Request *
request_from_object(Jsonb *object)
{
	Request    *request = request_from_wire(object, NULL);

	/* the network API goes by dtm's rule, where it succeeds at once */
	request->needs_steps = true;
	return request;
}

Request *
request_from_wire(Jsonb *object, const RequestPayloads *bytes)
{
	Request    *request = palloc0(sizeof(Request));
	JsonbValue	steps = {.type = jbvNull};
	JsonbValue	payloads = {.type = jbvNull};
	JsonbValue	custom_data = {.type = jbvNull};
	JsonbValue	req_extra = {.type = jbvNull};
	char	   *trans_type = NULL;
	char	   *gid = NULL;
	int			n;
	JsonPair   *pairs;

	if (object == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", "request"),
				 errhint("Pass an object with trans_type, gid, steps and payloads.")));
	pairs = read_pairs(&object->root, "request", &n);
	for (int i = 0; i < n; i++)
	{
		const char *key = pairs[i].key;
		const JsonbValue *value = &pairs[i].value;

		if (value->type == jbvNull)
			continue;			/* null is absent */
		if (strcmp(key, "trans_type") == 0)
			trans_type = read_string(value, key);
		else if (strcmp(key, "gid") == 0)
			gid = read_string(value, key);
		else if (strcmp(key, "steps") == 0)
			steps = *value;
		else if (strcmp(key, "payloads") == 0)
			payloads = *value;
		else if (strcmp(key, "custom_data") == 0)
			custom_data = *value;
		else if (strcmp(key, "req_extra") == 0)
			req_extra = *value;
		else if (strcmp(key, "rollback_reason") != 0 && strcmp(key, "concurrent") != 0 &&
				 !request_is_object_option(key))
			check_wire_key(key, value);
	}
	if (trans_type == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("request has no trans_type"),
				 errhint(TRANS_TYPES_HINT)));
	request->trans.core.type = request_check_trans_type(trans_type);
	request->from_wire = true;
	if (gid != NULL && bytes == NULL)
		request_strip_gid(gid);
	request->trans.gid = request_gid(gid ? cstring_to_text(gid) : NULL);
	request_read_wire_steps(request, &steps, &payloads, bytes);
	for (int i = 0; i < n; i++)
	{
		bool		known = request_is_object_option(pairs[i].key) ||
			(strcmp(pairs[i].key, "concurrent") == 0 &&
			 request->trans.core.type == DTM_MSG);	/* */

		if (known && pairs[i].value.type != jbvNull)
			request_read_option(request, pairs[i].key, &pairs[i].value);
	}
	if (custom_data.type != jbvNull)
		read_custom_data(request, &custom_data);
	if (req_extra.type != jbvNull && request->trans.core.type == DTM_WORKFLOW)
		read_req_extra(request, &req_extra);
	check_whole(request);
	return request;
}
