/*
 * steps.c
 *		The steps of a request: an array of dtm_step, JSON objects, or those of
 *		the wire's object (§1.1).
 */
#include "private.h"

#include "base64.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

void
request_allocate_steps(Request *request, int n)
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
	StepOptions *options = step_options_read(object, STEP_IN_STEP, &problem);

	if (problem.message != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid options of step %d: %s", i + 1, problem.message),
				 errhint("%s", problem.hint)));
	transaction_set_step(&request->trans, i, options);
}

/* An array of dtm_step. */
void
request_read_steps(Request *request, ArrayType *steps)
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
	request_allocate_steps(request, n);
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

/* ---------- JSON objects ---------- */

/* What an object has besides options: of a step, and of a step on the wire. */
static const char *const step_keys[] = {"action", "compensate", "payload", "payload_base64"};
static const char *const wire_keys[] = {"action", "compensate", "data"};

enum
{
	ACTION, COMPENSATE, PAYLOAD, PAYLOAD_BASE64
};
#define DATA PAYLOAD			/* of wire_keys */

/* An object without some keys. */
static Jsonb *
without(const JsonbValue *value, const char *const *keys, int nkeys)
{
	Datum		names[lengthof(step_keys)];

	for (int i = 0; i < nkeys; i++)
		names[i] = CStringGetTextDatum(keys[i]);
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_delete_array,
											  JsonbPGetDatum(JsonbValueToJsonb(unconstify(JsonbValue *, value))),
											  PointerGetDatum(construct_array(names, nkeys, TEXTOID, -1, false, TYPALIGN_INT))));
}

/*
 * Reads an object: the values of its own keys, NULL for those that it has not,
 * and its options.
 */
static void
read_object_step(Request *request, int i, const JsonbValue *element,
				 const char *const *keys, int nkeys, const JsonbValue **values)
{
	int			npairs;
	JsonPair   *pairs;
	bool		has_options = false;

	if (element->type != jbvBinary || !JsonContainerIsObject(element->val.binary.data))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("step %d is not a JSON object", i + 1),
				 errhint("Pass an object with the URL of the step's action, such as {\"action\": \"http://host/path\"}.")));
	pairs = read_pairs(element->val.binary.data, "steps[*]", &npairs);
	for (int key = 0; key < nkeys; key++)
		values[key] = NULL;
	for (int j = 0; j < npairs; j++)
	{
		int			key = 0;

		while (key < nkeys && strcmp(pairs[j].key, keys[key]) != 0)
			key++;
		if (key < nkeys)
		{
			if (pairs[j].value.type != jbvNull)
				values[key] = &pairs[j].value;
			continue;
		}
		if (!step_options_has(pairs[j].key, STEP_IN_STEP))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("step %d has an unknown key \"%s\"", i + 1, pairs[j].key),
					 errhint("%s", step_options_hint(pairs[j].key, STEP_IN_STEP, keys, nkeys))));
		has_options = true;
	}
	if (values[ACTION] == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("step %d has no action URL", i + 1),
				 errhint("Pass \"\" if the action needs no call.")));
	if (has_options)
		set_options(request, i, without(element, keys, nkeys));
}

static char *
string_or_empty(const JsonbValue *value, const char *what)
{
	return value == NULL ? pstrdup("") : read_string(value, what);
}

bytea *
request_payload_of_value(const JsonbValue *value, bytea *json, const StepOptions *options)
{
	if (value->type == jbvString && options != NULL && options->content_type != NULL &&
		!step_content_is_json(options->content_type))
		return transaction_body(read_string(value, "payload"));
	return json != NULL ? json :
		request_json_body(JsonbValueToJsonb(unconstify(JsonbValue *, value)));
}

void
request_read_json_steps(Request *request, Jsonb *steps, const char *string)
{
	JsonbValue	array = {.type = jbvBinary};
	JsonbValue *elements;
	bytea	  **payloads = NULL;
	int			n;

	array.val.binary.data = &steps->root;
	array.val.binary.len = VARSIZE(steps) - VARHDRSZ;
	elements = read_elements(&array, "steps", &n);
	request_allocate_steps(request, n);
	request->needs_steps = true;
	if (string != NULL)
		payloads = request_payloads_of_text(string, n);
	for (int i = 0; i < n; i++)
	{
		const JsonbValue *values[lengthof(step_keys)];

		read_object_step(request, i, &elements[i], step_keys, lengthof(step_keys), values);
		set_step(request, i, read_string(values[ACTION], psprintf("action of step %d", i + 1)),
				 string_or_empty(values[COMPENSATE], psprintf("compensate of step %d", i + 1)), true);
		if (values[PAYLOAD] != NULL && values[PAYLOAD_BASE64] != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("step %d has both payload and payload_base64", i + 1),
					 errhint("Pass one of them.")));
		if (values[PAYLOAD] != NULL)
			request->trans.payload[i] =
				request_payload_of_value(values[PAYLOAD], payloads != NULL ? payloads[i] : NULL,
										 transaction_step(&request->trans, i));
		else if (values[PAYLOAD_BASE64] != NULL)
		{
			const char *what = psprintf("payload_base64 of step %d", i + 1);

			request->trans.payload[i] = base64_decode(read_string(values[PAYLOAD_BASE64], what), what);
		}
	}
}

/* ---------- the wire's object ---------- */

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
void
request_read_wire_steps(Request *request, JsonbValue *steps,
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
	request_allocate_steps(request, n);
	for (int i = 0; i < n; i++)
	{
		const JsonbValue *values[lengthof(wire_keys)];
		char	   *data;

		read_object_step(request, i, &elements[i], wire_keys, lengthof(wire_keys), values);
		set_step(request, i, read_string(values[ACTION], "steps[*].action"),
				 string_or_empty(values[COMPENSATE], "steps[*].compensate"), false);
		data = string_or_empty(values[DATA], "steps[*].data");
		/* SG-07: the old place of the body wins */
		if (data[0] != '\0')
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

/* ---------- what is checked of all of them ---------- */

/* What Citus calls its own prepared transactions, and rolls back if it does not know them. */
#define CITUS_PREFIX	"citus_"

/*
 * Each name is one step's.  Participants of an xa prepare transactions whose names begin
 * with its gid.
 */
void
request_check_names(const Transaction *trans)
{
	if (trans->core.type == DTM_XA &&
		strncmp(trans->gid, CITUS_PREFIX, strlen(CITUS_PREFIX)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("gid \"%s\" of an xa begins with \"%s\"", trans->gid, CITUS_PREFIX),
				 errdetail("Citus rolls back prepared transactions with such names."),
				 errhint("Use another gid, or pass NULL to generate one.")));
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

/* The kinds of the branches of a step; 0: it is not known, or there is none. */
static int
kinds_of(const Transaction *trans, int i)
{
	static const int kinds[] = {
		[WIRE_HTTP] = STEP_FOR_HTTP,[WIRE_JSONRPC] = STEP_FOR_JSONRPC,
		[WIRE_GRPC] = STEP_FOR_GRPC,[WIRE_LOCAL] = STEP_FOR_LOCAL
	};
	const char *urls[2] = {
		trans->action[i], trans->compensate != NULL ? trans->compensate[i] : ""
	};
	int			kind = 0;

	/* what does not apply to the URLs of a topic is passed over */
	if (trans->topic != NULL && trans->topic[i][0] != '\0')
		return 0;
	for (int j = 0; j < lengthof(urls); j++)
	{
		if (urls[j][0] == '\0')
			continue;
		if (is_topic(urls[j]))
			return 0;
		kind |= kinds[request_url_kind(trans->protocol, urls[j], psprintf("step %d", i + 1))];
	}
	return kind;
}

static void
say_content(void *arg)
{
	errcontext("payload of step %d", *(int *) arg);
}

/* It must be possible to make the body of it. */
static void
check_content(const bytea *payload, const StepOptions *options, int i)
{
	int			number = i + 1;
	ErrorContextCallback callback = {.callback = say_content, .arg = &number};
	size_t		len;

	if (payload == NULL || options->content_type == NULL)
		return;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	(void) wire_content(options->content_type, VARDATA_ANY(payload),
						VARSIZE_ANY_EXHDR(payload), &len);
	error_context_stack = callback.previous;
}

void
request_check_step(const Transaction *trans, int i)
{
	const StepOptions *options = transaction_step(trans, i);
	const char *key;

	if (options == NULL)
		return;
	check_content(trans->payload[i], options, i);
	key = step_options_misplaced(options, kinds_of(trans, i));
	if (key != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" does not apply to the branches of step %d", key, i + 1),
				 errhint("Omit the key. Only plain HTTP has methods and content types; a function in this database has no requests.")));
	if ((options->compensate_method != NULL || options->compensate_ok != NULL) &&
		(trans->compensate == NULL || trans->compensate[i][0] == '\0'))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" of step %d requires a compensation",
						options->compensate_method != NULL ? "compensate_method" : "compensate_ok", i + 1),
				 errhint("Pass the URL of a compensation, or omit the key.")));
}
