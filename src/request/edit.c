/*
 * edit.c
 *		Changes of a step or branch that has been submitted already.
 *
 * Who changes it must not get the rights of who submitted it: see check_op().
 */
#include "private.h"

#include "base64.h"
#include "result/result.h"
#include "step/options.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"

#define PAYLOAD_KEY "payload"
#define BASE64_KEY "payload_base64"

static char **
urls_of(const Transaction *trans, DtmOp op)
{
	return dtm_op_undoes(op) ? trans->compensate : trans->action;
}

static const char *
branch_id_of(const Transaction *trans, int step)
{
	char		id[DTM_BRANCH_ID_SIZE];

	if (trans->branch_id != NULL)
		return trans->branch_id[step];
	dtm_step_branch_id(step, id);
	return pstrdup(id);
}

int
request_find_step(const Transaction *trans, const char *name)
{
	int			step = transaction_find_step(trans, name);

	if (step < 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("global transaction \"%s\" has no step \"%s\"", trans->gid, name),
				 errhint("Pass the name of a step, or a branch id; dtm.branches lists them.")));
	return step;
}

/* The names of a branch's ops; "names" has a place for each op of the transaction. */
static int
list_ops(const Transaction *trans, int step, const char **names)
{
	int			n = 0;

	for (int i = 0; i < trans->core.nops; i++)
		if (trans->core.ops[i].step == step)
			names[n++] = dtm_op_name(trans->core.ops[i].op);
	return n;
}

/* The same for a hint. */
static char *
op_names(const Transaction *trans, int step)
{
	const char **names = palloc(sizeof(char *) * trans->core.nops);
	int			n = list_ops(trans, step, names);
	StringInfoData all;

	initStringInfo(&all);
	for (int i = 0; i < n; i++)
		appendStringInfo(&all, "%s%s", i == 0 ? "" : ", ", names[i]);
	return all.data;
}

static int
find_op(const Transaction *trans, int step, const char *name)
{
	for (int i = 0; i < trans->core.nops; i++)
		if (trans->core.ops[i].step == step &&
			strcmp(dtm_op_name(trans->core.ops[i].op), name) == 0)
			return i;
	return -1;
}

int
request_find_op(const Transaction *trans, const char *step_name, const char *name)
{
	int			step = request_find_step(trans, step_name);
	int			op = find_op(trans, step, name);

	if (op < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("step \"%s\" of global transaction \"%s\" has no op \"%s\"",
						step_name, trans->gid, name),
				 errhint("Use one of: %s.", op_names(trans, step))));
	return op;
}

typedef struct Caller
{
	Oid			user;
	int			sec_context;
} Caller;

/* Until become_caller(), or an error, the current role is the one that submitted. */
static void
become_submitter(const Transaction *trans, Caller *caller)
{
	GetUserIdAndSecContext(&caller->user, &caller->sec_context);
	if (OidIsValid(trans->submitted_by))
		SetUserIdAndSecContext(trans->submitted_by,
							   caller->sec_context | SECURITY_LOCAL_USERID_CHANGE);
}

static void
become_caller(const Caller *caller)
{
	SetUserIdAndSecContext(caller->user, caller->sec_context);
}

/*
 * An op as it would be called from now on.  Checked twice:
 *
 * 1. If its request is another one than before, as the current role.  A function,
 *    or a server with credentials, is used with the rights of the role that
 *    submitted, so naming it, or changing what it is given, is for those who have
 *    that role's privileges (request_check_url()).  An administrator who has not may
 *    change calls that use nobody's rights; and of all calls, when they are made and
 *    what their responses mean, which he could say by other acts.
 * 2. As the role that submitted, as at its submit: what it may not call does not
 *    get stored by somebody who may.
 */
static void
check_op(const Transaction *trans, const DtmBranchOp *op, bool is_other)
{
	const char *url = urls_of(trans, op->op)[op->step];
	const char *plain = request_plain_url(trans, url);
	const char *what = psprintf("%s of branch %s", dtm_op_name(op->op),
								branch_id_of(trans, op->step));
	Caller		caller;

	if (is_other)
		request_check_url(trans->protocol, plain, what, REQUEST_URL_ANY, trans->submitted_by);
	become_submitter(trans, &caller);
	request_check_url(trans->protocol, plain, what, REQUEST_URL_ANY, trans->submitted_by);
	request_check_payload(trans->protocol, url, what, trans->payload[op->step]);
	become_caller(&caller);
}

/*
 * The rest of what a submit checks of a step.  Not of the others: nothing of them
 * has changed, and they might not pass by now, as if a server is gone.
 */
static void
check_step(const Transaction *trans, int step, bool may_refer)
{
	Caller		caller;

	become_submitter(trans, &caller);
	request_check_step(trans, step);
	request_check_policy(trans, step);
	if (trans->results)
		result_check_references(trans, step);
	else if (!may_refer)
		request_check_no_reference(trans, step);
	become_caller(&caller);
}

static void
error_over(const Transaction *trans, int step, const char *what)
{
	ereport(ERROR,
			(errcode(DTM_ERRCODE_WRONG_STATUS),
			 errmsg("cannot change \"%s\" of branch \"%s\" of global transaction \"%s\" because it has ended",
					what, branch_id_of(trans, step), trans->gid),
			 errhint("Change only what is still to be called; see dtm.branches.")));
}

static void
set_url(Transaction *trans, DtmBranchOp *op, char *url)
{
	if (op->status != DTM_BRANCH_PREPARED)
		error_over(trans, op->step, dtm_op_name(op->op));
	urls_of(trans, op->op)[op->step] = url;
}

/* What an edit changes of an op. */
typedef enum Change
{
	CHANGE_NONE,
	CHANGE_RETRIES,				/* when it is called */
	CHANGE_RESPONSE,			/* what its response means */
	CHANGE_REQUEST				/* what is sent, or where to */
} Change;

static Change
change_of(StepPart part)
{
	return part == STEP_OF_REQUEST ? CHANGE_REQUEST :
		part == STEP_OF_RESPONSE ? CHANGE_RESPONSE : CHANGE_RETRIES;
}

/* What concerns all ops of the branch that have not ended, of which there must be one. */
static void
change_all(const Transaction *trans, int step, const char *what, Change change, Change *changed)
{
	bool		left = false;

	for (int i = 0; i < trans->core.nops; i++)
		if (trans->core.ops[i].step == step &&
			trans->core.ops[i].status == DTM_BRANCH_PREPARED)
		{
			left = true;
			changed[i] = Max(changed[i], change);
		}
	if (!left)
		error_over(trans, step, what);
}

static Jsonb *
jsonb_of(const char *json)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
}

/* {"key": value}, without the brace at the end; or the next pair of it. */
static void
append_pair(StringInfo json, const char *key, Jsonb *value)
{
	appendStringInfoString(json, json->len == 0 ? "{" : ", ");
	escape_json(json, key);
	appendStringInfoString(json, ": ");
	(void) JsonbToCString(json, &value->root, VARSIZE(value));
}

/* Of no payload, null. */
static Jsonb *
base64_value(const bytea *payload)
{
	return jsonb_of(payload == NULL ? "null" :
					psprintf("\"%s\"", base64_encode(VARDATA_ANY(payload), VARSIZE_ANY_EXHDR(payload))));
}

/* The payload for a record; of bytes that are no text, {"base64": ...}. */
static Jsonb *
payload_value(const bytea *payload)
{
	Jsonb	   *value;

	if (payload == NULL)
		return jsonb_of("null");
	value = result_json(VARDATA_ANY(payload), VARSIZE_ANY_EXHDR(payload));
	if (value != NULL)
		return value;
	return jsonb_of(psprintf("{\"base64\": \"%s\"}",
							 base64_encode(VARDATA_ANY(payload), VARSIZE_ANY_EXHDR(payload))));
}

/* What a key of an edit has been until now. */
static Jsonb *
old_value(const Transaction *trans, int step, const char *key)
{
	int			op = find_op(trans, step, key);
	const StepOptions *options = transaction_step(trans, step);
	JsonbValue	value;

	if (op >= 0)
	{
		value.type = jbvString;
		value.val.string.val = urls_of(trans, trans->core.ops[op].op)[step];
		value.val.string.len = (int) strlen(value.val.string.val);
		return JsonbValueToJsonb(&value);
	}
	if (strcmp(key, PAYLOAD_KEY) == 0)
		return payload_value(trans->payload[step]);
	if (strcmp(key, BASE64_KEY) == 0)
		return base64_value(trans->payload[step]);
	if (options != NULL &&
		getKeyJsonValueFromContainer(unconstify(JsonbContainer *, &options->json->root),
									 key, (int) strlen(key), &value) != NULL)
		return JsonbValueToJsonb(&value);
	return jsonb_of("null");
}

static Jsonb *
old_values(const Transaction *trans, int step, const JsonPair *pairs, int n)
{
	StringInfoData json;

	initStringInfo(&json);
	for (int i = 0; i < n; i++)
		append_pair(&json, pairs[i].key, old_value(trans, step, pairs[i].key));
	appendStringInfoChar(&json, '}');
	return jsonb_of(json.data);
}

/*
 * Options are set, all at once, since some exclude each other; null: it is not given
 * any more.
 */
static void
set_options(Transaction *trans, int step, StringInfo json)
{
	StepOptions *before = transaction_step(trans, step);
	StepOptions *options;
	StepProblem problem;
	Jsonb	   *object;

	if (json->len == 0)
		return;
	appendStringInfoChar(json, '}');
	object = jsonb_of(json->data);
	if (before != NULL)
		object = DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(before->json),
													JsonbPGetDatum(object)));
	options = step_options_read(object, STEP_IN_STEP, &problem);
	if (problem.message != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid option of branch \"%s\": %s", branch_id_of(trans, step), problem.message),
				 errhint("%s", problem.hint)));
	transaction_set_step(trans, step, options);
	transaction_set_policy(trans);
}

static void
error_key(const Transaction *trans, int step, const char *key)
{
	const char **others = palloc(sizeof(char *) * (trans->core.nops + 2));
	int			n = list_ops(trans, step, others);

	others[n++] = PAYLOAD_KEY;
	others[n++] = BASE64_KEY;
	if (strcmp(key, "name") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the name of a step cannot be changed"),
				 errhint("Others refer to the step by its name. Change its URLs, its payload or its other options.")));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown key \"%s\" in changes", key),
			 errhint("%s", step_options_hint(key, STEP_IN_EDIT, others, n))));
}

/* The op that was changed; if that is not one, any of the step. */
static int
changed_op(const Transaction *trans, int step, const Change *changed, bool *several)
{
	int			op = -1;
	int			n = 0;

	for (int i = 0; i < trans->core.nops; i++)
		if (changed[i] != CHANGE_NONE || (op < 0 && trans->core.ops[i].step == step))
		{
			op = i;
			n += changed[i] != CHANGE_NONE;
		}
	*several = n != 1;
	return op;
}

/* The new body of a step, read by its options as they are by now; both keys: an error. */
static void
set_payload(Transaction *trans, int step, const JsonbValue *payload, const JsonbValue *base64)
{
	if (payload != NULL && base64 != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("changes have both \"%s\" and \"%s\"", PAYLOAD_KEY, BASE64_KEY),
				 errhint("Pass one of them.")));
	if (payload != NULL)
		trans->payload[step] = payload->type == jbvNull ? NULL :
			request_payload_of_value(payload, NULL, transaction_step(trans, step));
	if (base64 != NULL)
		trans->payload[step] = base64->type == jbvNull ? NULL :
			base64_decode(read_string(base64, BASE64_KEY), BASE64_KEY);
}

/* Whether they may be made of somebody else's transaction. */
static void
check_changes(const Transaction *trans, const Change *changed)
{
	bool		feeds = false;

	for (int i = 0; i < trans->core.nops; i++)
		if (changed[i] != CHANGE_NONE)
		{
			check_op(trans, &trans->core.ops[i], changed[i] == CHANGE_REQUEST);
			feeds = feeds || changed[i] >= CHANGE_RESPONSE;
		}
	/* what it answers may be what others are given */
	if (feeds)
		request_check_feeds(trans);
}

Jsonb *
request_edit_step(Transaction *trans, int step, Jsonb *changes, int *op, bool *several)
{
	Change	   *changed = palloc0(sizeof(Change) * (trans->core.nops + 1));
	int			n;
	JsonPair   *pairs = read_pairs(&changes->root, "changes", &n);
	const JsonbValue *payload = NULL;
	const JsonbValue *base64 = NULL;
	StringInfoData options;
	Jsonb	   *before;

	/* the network may submit what merely looks like a reference */
	bool		may_refer = request_has_reference(trans, step);

	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" has no key", "changes"),
				 errhint("Pass what should be changed, such as {\"action\": \"http://bank/TransIn\"}. To have the step called again as it is, call dtm_retry_now().")));
	before = old_values(trans, step, pairs, n);
	initStringInfo(&options);
	for (int i = 0; i < n; i++)
	{
		const char *key = pairs[i].key;
		int			url = find_op(trans, step, key);

		if (url >= 0)
		{
			set_url(trans, &trans->core.ops[url], read_string(&pairs[i].value, key));
			changed[url] = CHANGE_REQUEST;
		}
		else if (strcmp(key, PAYLOAD_KEY) == 0 || strcmp(key, BASE64_KEY) == 0)
		{
			change_all(trans, step, PAYLOAD_KEY, CHANGE_REQUEST, changed);
			if (strcmp(key, PAYLOAD_KEY) == 0)
				payload = &pairs[i].value;
			else
				base64 = &pairs[i].value;
		}
		else if (step_options_has(key, STEP_IN_EDIT))
		{
			change_all(trans, step, key, change_of(step_options_part(key)), changed);
			append_pair(&options, key, JsonbValueToJsonb(&pairs[i].value));
		}
		else
			error_key(trans, step, key);
	}
	set_options(trans, step, &options);
	set_payload(trans, step, payload, base64);
	check_changes(trans, changed);
	check_step(trans, step, may_refer);
	request_check_size(trans);
	*op = changed_op(trans, step, changed, several);
	return before;
}

/* The query URL of a prepared transaction; null is no URL. */
Jsonb *
request_edit_query(Transaction *trans, Jsonb *changes)
{
	static const char key[] = "query_prepared";
	int			n;
	JsonPair   *pairs = read_pairs(&changes->root, "changes", &n);
	JsonbValue	before = {.type = jbvString};
	StringInfoData json;
	Caller		caller;

	if (trans->core.status != DTM_PREPARED || trans->query_prepared == NULL ||
		trans->query_prepared[0] == '\0')
		ereport(ERROR,
				(errcode(DTM_ERRCODE_WRONG_STATUS),
				 errmsg("cannot change \"%s\" of global transaction \"%s\" because it is not queried",
						key, trans->gid),
				 errhint("Only a prepared global transaction that has a URL to be queried is.")));
	if (n != 1 || strcmp(pairs[0].key, key) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("branch \"%s\" has only the key \"%s\"", WIRE_QUERY_BRANCH_ID, key),
				 errhint("Pass an object such as {\"query_prepared\": \"http://shop/asked\"}.")));
	before.val.string.val = unconstify(char *, trans->query_prepared);
	before.val.string.len = (int) strlen(trans->query_prepared);
	initStringInfo(&json);
	append_pair(&json, key, JsonbValueToJsonb(&before));
	appendStringInfoChar(&json, '}');
	trans->query_prepared = read_string(&pairs[0].value, key);
	if (trans->query_prepared[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" must not be empty", key),
				 errhint("Pass a URL. To end the global transaction, call dtm_abort() or dtm_force_stop().")));
	/* as the current role, and as who submitted: see check_op() */
	request_check_url(trans->protocol, trans->query_prepared, key, REQUEST_URL_REMOTE,
					  trans->submitted_by);
	become_submitter(trans, &caller);
	request_check_url(trans->protocol, trans->query_prepared, key, REQUEST_URL_REMOTE,
					  trans->submitted_by);
	become_caller(&caller);
	request_check_size(trans);
	return jsonb_of(json.data);
}

void
request_check_again(const Transaction *trans)
{
	Caller		caller;

	for (int i = 0; i < trans->core.nops; i++)
		check_op(trans, &trans->core.ops[i], false);
	become_submitter(trans, &caller);
	if (trans->on_finish != NULL)
		request_check_url(NULL, trans->on_finish, "on_finish", REQUEST_URL_ANY,
						  trans->submitted_by);
	become_caller(&caller);
}
