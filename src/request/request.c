/*
 * request.c
 *		Requests of callers, read and checked.
 */
#include "private.h"

#include "base64.h"

#include "access/htup_details.h"
#include "executor/executor.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
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
				 errdetail("Its URLs, payloads and headers have %zu bytes.", size),
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
			request_check_url(trans->protocol, trans->action[i], what,
							  REQUEST_URL_ANY, GetUserId());
		request_check_payload(trans->protocol, trans->action[i], what,
							  trans->payload[i]);
		if (trans->core.type != DTM_SAGA)
			continue;
		what = psprintf("compensation of step %d", i + 1);
		request_check_url(trans->protocol, trans->compensate[i], what,
						  REQUEST_URL_ANY, GetUserId());
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

/* Each name is one step's. */
static void
check_names(const Transaction *trans)
{
	for (int i = 0; trans->step != NULL && i < trans->core.nsteps; i++)
		for (int j = 0; trans->step[i] != NULL && trans->step[i]->name != NULL && j < i; j++)
			if (trans->step[j] != NULL && trans->step[j]->name != NULL &&
				strcmp(trans->step[i]->name, trans->step[j]->name) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_OBJECT),
						 errmsg("steps %d and %d have the same name \"%s\"", j + 1, i + 1,
								trans->step[i]->name),
						 errhint("Give each step another name.")));
}

/* What can be judged only when all is known. */
static void
check_whole(Request *request)
{
	DtmTrans   *core = &request->trans.core;

	request_set_traceparent(&request->trans, request->traceparent);
	check_names(&request->trans);
	transaction_set_policy(&request->trans);
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
	if (core->type == DTM_SAGA && core->orders.start != NULL &&
		!core->concurrent)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" requires option \"%s\"", "orders", "concurrent"),
				 errhint("Set concurrent to true. Otherwise the steps of a saga run one after another.")));
	core->nops = dtm_core_ops_of(core->type, core->nsteps);
	core->ops = palloc0(sizeof(DtmBranchOp) * (core->nops + 1));
	dtm_core_lay_out(core);
	request_check_size(&request->trans);
}

/* ---------- steps ---------- */

static void
allocate_steps(Request *request, int n)
{
	Transaction *trans = &request->trans;

	request_check_step_count(n);
	if (dtm_core_has_branches(trans->core.type) && n > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("global transaction of trans_type \"%s\" cannot have steps", dtm_trans_type_name(trans->core.type)),
				 errhint("Prepare it without steps, and register its branches with dtm_register_branch().")));
	request->has_steps = n > 0;
	transaction_allocate_steps(trans, n);
}

/* What a msg has no use for is an error with "strict", else passed over. */
static void
set_step(Request *request, int i, char *action, char *compensate, bool strict)
{
	Transaction *trans = &request->trans;

	trans->action[i] = action;
	if (trans->compensate != NULL)
		trans->compensate[i] = compensate;
	else if (strict && compensate[0] != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("step %d of a msg cannot have a compensation", i + 1),
				 errhint("The steps of a msg are retried until they succeed. Use a saga for steps that can be rejected.")));
}

/* The options of a step, or an error that names it. */
static void
set_options(Request *request, int i, const Jsonb *object)
{
	StepProblem problem;
	StepOptions *options = step_options_read(object, &problem);

	if (problem.message != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid options of step %d: %s", i + 1, problem.message),
				 errhint("%s", problem.hint)));
	transaction_set_step(&request->trans, i, options);
}

/* An array of dtm_step. */
static void
read_steps(Request *request, ArrayType *steps)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;
	int16		len;
	bool		byval;
	char		align;

	if (ARR_NDIM(steps) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("argument \"%s\" must be a one-dimensional array", "steps"),
				 errhint("Pass ARRAY[dtm_step(...), ...].")));
	get_typlenbyvalalign(ARR_ELEMTYPE(steps), &len, &byval, &align);
	deconstruct_array(steps, ARR_ELEMTYPE(steps), len, byval, align, &elements,
					  &nulls, &n);
	allocate_steps(request, n);
	for (int i = 0; i < n; i++)
	{
		HeapTupleHeader step;
		bool		isnull;
		bool		no_action;
		Datum		action;
		Datum		compensate;
		Datum		payload;
		Datum		options;

		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("step %d must not be null", i + 1),
					 errhint("Pass ARRAY[dtm_step(...), ...].")));
		step = DatumGetHeapTupleHeader(elements[i]);
		action = GetAttributeByNum(step, 1, &no_action);
		if (no_action)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("step %d has no action URL", i + 1),
					 errhint("Pass '' if the action needs no call.")));
		compensate = GetAttributeByNum(step, 2, &isnull);
		set_step(request, i, TextDatumGetCString(action),
				 isnull ? pstrdup("") : TextDatumGetCString(compensate), true);
		payload = GetAttributeByNum(step, 3, &isnull);
		if (!isnull)
			request->trans.payload[i] = DatumGetByteaPCopy(payload);
		options = GetAttributeByNum(step, 4, &isnull);
		if (!isnull)
			set_options(request, i, DatumGetJsonbPCopy(options));
	}
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

/* Over gRPC, steps is a string that holds the array; "" and null are none (§4). */
static void
parse_steps(JsonbValue *steps)
{
	char	   *string = read_string(steps, "steps");
	Jsonb	   *jsonb;

	steps->type = jbvNull;
	if (string[0] == '\0' || strcmp(string, "null") == 0)
		return;
	jsonb = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(string)));
	steps->type = jbvBinary;
	steps->val.binary.data = &jsonb->root;
	steps->val.binary.len = VARSIZE(jsonb) - VARHDRSZ;
}

/* The body of a step that was sent as bytes. */
static bytea *
payload_of(const RequestPayloads *payloads, int step)
{
	if (step < payloads->n)
		return VARSIZE_ANY_EXHDR(payloads->payload[step]) == 0 ? NULL :
			payloads->payload[step];
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("step %d has no payload", step + 1),
			 errhint("BinPayloads has an element for each step; an empty one is none.")));
}

/* steps and payloads of the object (§1.1); NULL: these are strings in it. */
static void
read_wire_steps(Request *request, JsonbValue *steps,
				const JsonbValue *payloads, const RequestPayloads *bytes)
{
	int			n = 0;
	int			npayloads = 0;
	JsonbValue *elements = NULL;
	JsonbValue *bodies = NULL;

	if (bytes != NULL && steps->type == jbvString)
		parse_steps(steps);
	if (steps->type != jbvNull)
		elements = read_elements(steps, "steps", &n);
	if (payloads->type != jbvNull)
		bodies = read_elements(payloads, "payloads", &npayloads);
	allocate_steps(request, n);
	for (int i = 0; i < n; i++)
	{
		char	   *action = NULL;
		char	   *compensate = pstrdup("");
		char	   *data = NULL;
		int			npairs;
		JsonPair   *pairs = read_pairs(read_object(&elements[i], "steps[*]"),
									   "steps[*]", &npairs);

		for (int j = 0; j < npairs; j++)
		{
			if (pairs[j].value.type == jbvNull)
				continue;
			if (strcmp(pairs[j].key, "action") == 0)
				action = read_string(&pairs[j].value, "steps[*].action");
			else if (strcmp(pairs[j].key, "compensate") == 0)
				compensate = read_string(&pairs[j].value, "steps[*].compensate");
			else if (strcmp(pairs[j].key, "data") == 0)
				data = read_string(&pairs[j].value, "steps[*].data");
		}
		if (action == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("step %d has no action URL", i + 1),
					 errhint("Pass \"\" if the action needs no call.")));
		set_step(request, i, action, compensate, false);
		/* SG-07: the old place of the body wins */
		if (data != NULL && data[0] != '\0')
			request->trans.payload[i] = transaction_body(data);
		else if (bytes != NULL)
			request->trans.payload[i] = payload_of(bytes, i);
		else if (i < npayloads)
			request->trans.payload[i] = bodies[i].type == jbvNull ? NULL :
				transaction_body(read_string(&bodies[i], "payloads[*]"));
		else
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("step %d has no payload", i + 1),
					 errhint("Pass one string in payloads for each step; \"\" means no payload.")));
	}
}

/* ---------- requests ---------- */

Request *
request_from_arguments(text *trans_type, ArrayType *steps, text *gid,
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
	if (steps != NULL)
		read_steps(request, steps);
	else
		allocate_steps(request, 0);
	if (options != NULL)
	{
		pairs = read_pairs(&options->root, "options", &n);
		for (int i = 0; i < n; i++)
			if (pairs[i].value.type != jbvNull &&
				!request_read_option(request, pairs[i].key, &pairs[i].value))
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("unknown option \"%s\"", pairs[i].key),
						 errhint("Valid options are %s; for a workflow also name, data, status, result, rollback_reason.",
								 request_option_names())));
	}
	check_whole(request);
	return request;
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
	return request_from_wire(object, NULL);
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
	}
	if (trans_type == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("request has no trans_type"),
				 errhint(TRANS_TYPES_HINT)));
	request->trans.core.type = request_check_trans_type(trans_type);
	if (gid != NULL && bytes == NULL)
		request_strip_gid(gid);
	request->trans.gid = request_gid(gid ? cstring_to_text(gid) : NULL);
	read_wire_steps(request, &steps, &payloads, bytes);
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
