/*
 * branch.c
 *		Registration of branches of a tcc or xa, and of results of a workflow
 *		(§1.2).
 */
#include "private.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"

BranchRequest *
request_branch(DtmTransType type, text *gid, text *branch_id, char *forward,
			   char *backward, bytea *payload)
{
	BranchRequest *request = palloc0(sizeof(BranchRequest));

	if (gid == NULL || branch_id == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", gid == NULL ? "gid" : "branch_id"),
				 errhint("Pass the gid that dtm_prepare() returned, and an id of the branch that is unique within the transaction, such as 01.")));
	request->type = type;
	request->gid = request_gid(gid);
	request->branch_id = text_to_cstring(branch_id);
	if (request->branch_id[0] == '\0' ||
		pg_mbstrlen(request->branch_id) > DTM_MAX_GID_CHARS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("branch_id is empty or longer than %d characters",
						DTM_MAX_GID_CHARS),
				 errhint("Pass an id that is unique within the transaction, such as 01.")));
	request_check_name(request->branch_id, "branch_id");
	if (forward == NULL || backward == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("URL of branch \"%s\" must not be null", request->branch_id),
				 errhint("Pass '' if no call is needed.")));
	request->forward = forward;
	request->backward = backward;
	request->payload = payload;
	return request;
}

void
request_branch_options(BranchRequest *request, const Jsonb *options)
{
	StepProblem problem;

	if (options == NULL)
		return;
	request->options = step_options_read(options, STEP_IN_BRANCH, &problem);
	if (problem.message != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid options of branch \"%s\": %s", request->branch_id, problem.message),
				 errhint("%s", problem.hint)));
	if (request->options != NULL && request->type == DTM_WORKFLOW)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("branch \"%s\" of a workflow cannot have options", request->branch_id),
				 errhint("The branches of a workflow are called by its client.")));
}

/* The rest of a workflow's result: an op of any name, and its status. */
static void
set_workflow_result(BranchRequest *request, char *op, const char *status)
{
	if (op == NULL || op[0] == '\0' || pg_mbstrlen(op) > DTM_MAX_OP_CHARS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("op is missing or longer than %d characters", DTM_MAX_OP_CHARS),
				 errhint("Pass the op of the workflow's result, such as action, commit or rollback.")));
	request_check_name(op, "op");
	if (status != NULL && strcmp(status, "succeed") == 0)
		request->status = DTM_BRANCH_SUCCEED;
	else if (status != NULL && strcmp(status, "failed") == 0)
		request->status = DTM_BRANCH_FAILED;
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid status for op \"%s\"", op),
				 errhint("Use succeed or failed.")));
}

/* What the object of a branch has besides options (§1.2). */
enum
{
	GID, TRANS_TYPE, BRANCH_ID, DATA, CONFIRM, CANCEL, URL, OP, STATUS
};
static const char *const branch_keys[] = {
	"gid", "trans_type", "branch_id", "data", "confirm", "cancel", "url",
	"op", "status"
};

static int
find_branch_key(const char *name)
{
	for (int key = 0; key < lengthof(branch_keys); key++)
		if (strcmp(branch_keys[key], name) == 0)
			return key;
	return -1;
}

/*
 * An option of the branch.  SDKs send keys of their own, which dtm does not know
 * either; but one that looks like a misspelt one of ours is an error.
 */
static void
take_option(StringInfo options, const JsonPair *pair)
{
	const char *nearest;

	if (step_options_has(pair->key, STEP_IN_BRANCH))
	{
		appendStringInfoString(options, options->len == 0 ? "{" : ", ");
		escape_json(options, pair->key);
		appendStringInfoString(options, ": ");
		(void) JsonbToCString(options, &JsonbValueToJsonb(unconstify(JsonbValue *, &pair->value))->root, 0);
		return;
	}
	nearest = step_options_nearest(pair->key, STEP_IN_BRANCH);
	if (nearest == NULL)
		nearest = nearest_name(pair->key, branch_keys, lengthof(branch_keys));
	if (nearest != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("request has an unknown key \"%s\"", pair->key),
				 errhint("Perhaps you meant \"%s\".", nearest)));
}

BranchRequest *
request_branch_from_object(Jsonb *object, bytea *payload)
{
	char	   *values[lengthof(branch_keys)] = {NULL};
	StringInfoData options;
	char	   *forward;
	char	   *backward;
	BranchRequest *request;
	DtmTransType type;
	int			n;
	JsonPair   *pairs;

	if (object == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", "request"),
				 errhint("Pass an object with gid, trans_type, branch_id and URLs.")));
	pairs = read_pairs(&object->root, "request", &n);
	initStringInfo(&options);
	for (int i = 0; i < n; i++)
	{
		int			key = find_branch_key(pairs[i].key);

		if (key < 0)
			take_option(&options, &pairs[i]);
		else if (pairs[i].value.type != jbvNull)
			values[key] = read_string(&pairs[i].value, branch_keys[key]);
	}
	if (values[TRANS_TYPE] == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("request has no trans_type"),
				 errhint("Use tcc, xa or workflow.")));
	type = request_check_trans_type(values[TRANS_TYPE]);
	forward = type == DTM_XA ? values[URL] : values[CONFIRM];
	backward = type == DTM_XA ? values[URL] : values[CANCEL];
	if (type == DTM_WORKFLOW)
		forward = backward = values[OP] ? values[OP] : pstrdup("");
	request = request_branch(type,
							 values[GID] ? cstring_to_text(values[GID]) : NULL,
							 values[BRANCH_ID] ? cstring_to_text(values[BRANCH_ID]) : NULL,
							 forward, backward,
							 payload != NULL ?
							 (VARSIZE_ANY_EXHDR(payload) > 0 ? payload : NULL) :
							 values[DATA] ? transaction_body(values[DATA]) : NULL);
	if (type == DTM_WORKFLOW)
		set_workflow_result(request, values[OP], values[STATUS]);
	if (options.len > 0)
	{
		appendStringInfoChar(&options, '}');
		request_branch_options(request, DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(options.data))));
	}
	return request;
}

/* Checks that the URLs can be called over the protocol of the transaction. */
static void
check_urls(const Transaction *trans, const BranchRequest *branch)
{
	bool		xa = branch->type == DTM_XA;

	request_check_url(trans->protocol, branch->forward, xa ? "branch" : "confirm",
					  REQUEST_URL_ANY, trans->submitted_by);
	request_check_payload(trans->protocol, branch->forward,
						  xa ? "branch" : "confirm", branch->payload);
	if (xa)
		return;					/* both are the same */
	request_check_url(trans->protocol, branch->backward, "cancel",
					  REQUEST_URL_ANY, trans->submitted_by);
	request_check_payload(trans->protocol, branch->backward, "cancel",
						  branch->payload);
}

void
request_add_branch(Transaction *trans, const BranchRequest *branch)
{
	DtmTrans   *core = &trans->core;
	int			n = core->nsteps;
	DtmBranchOp *ops;

	if (branch->type != DTM_WORKFLOW)
		check_urls(trans, branch);
	for (int i = 0; i < n; i++)
		if (strcmp(trans->branch_id[i], branch->branch_id) == 0 &&
			(branch->type != DTM_WORKFLOW ||
			 strcmp(trans->action[i], branch->forward) == 0))
			ereport(ERROR,
					(errcode(ERRCODE_UNIQUE_VIOLATION),
					 branch->type == DTM_WORKFLOW ?
					 errmsg("op \"%s\" of branch \"%s\" of global transaction \"%s\" is already registered",
							branch->forward, branch->branch_id, trans->gid) :
					 errmsg("branch \"%s\" of global transaction \"%s\" is already registered",
							branch->branch_id, trans->gid),
					 errhint("Use another branch_id.")));
	request_check_step_count(n + 1);
	trans->branch_id = repalloc(trans->branch_id, sizeof(char *) * (n + 1));
	trans->action = repalloc(trans->action, sizeof(char *) * (n + 1));
	if (trans->compensate != NULL)
		trans->compensate = repalloc(trans->compensate, sizeof(char *) * (n + 1));
	trans->payload = repalloc(trans->payload, sizeof(bytea *) * (n + 1));
	if (trans->step != NULL)
	{
		trans->step = repalloc(trans->step, sizeof(StepOptions *) * (n + 1));
		trans->step[n] = NULL;
	}
	trans->branch_id[n] = branch->branch_id;
	trans->action[n] = branch->forward;
	if (trans->compensate != NULL)
		trans->compensate[n] = branch->backward;
	trans->payload[n] = branch->payload;
	core->nsteps = n + 1;
	core->nops = dtm_core_ops_of(core->type, core->nsteps);
	transaction_set_step(trans, n, branch->options);
	request_check_step(trans, n);
	request_check_policy(trans, n);
	transaction_set_policy(trans);

	/*
	 * results of a workflow have a status; ops of other types have not been
	 * called yet
	 */
	ops = palloc0(sizeof(DtmBranchOp) * core->nops);
	for (int i = 0; core->type == DTM_WORKFLOW && i < n; i++)
		ops[i].status = core->ops[i].status;
	core->ops = ops;
	dtm_core_lay_out(core);
	if (core->type == DTM_WORKFLOW)
		ops[n].status = (uint8) branch->status;
	request_check_size(trans);
}

/*
 * dtm has no such request, so no SDK sends keys of its own but those of all its
 * requests; a result or an op that is misspelt must not be passed over.
 */
static void
check_completion_key(const char *key)
{
	static const char *const known[] = {"gid", "branch_id", "op", "ok", "result"};
	const char *nearest;

	if (strcmp(key, "gid") == 0 || strcmp(key, "trans_type") == 0)
		return;
	nearest = nearest_name(key, known, lengthof(known));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("request has an unknown key \"%s\"", key),
			 nearest != NULL ? errhint("Perhaps you meant \"%s\".", nearest) :
			 errhint("Pass an object with gid, branch_id, op, ok (true or false) and result.")));
}

void
request_completion(Jsonb *object, char **step, char **op, bool *ok, Jsonb **result)
{
	int			n;
	JsonPair   *pairs = read_pairs(&object->root, "request", &n);
	bool		has_ok = false;

	*step = NULL;
	*op = NULL;
	*result = NULL;
	for (int i = 0; i < n; i++)
	{
		JsonbValue *value = &pairs[i].value;

		if (value->type == jbvNull)
			continue;
		if (strcmp(pairs[i].key, "branch_id") == 0)
			*step = read_string(value, "branch_id");
		else if (strcmp(pairs[i].key, "op") == 0)
			*op = read_string(value, "op");
		else if (strcmp(pairs[i].key, "ok") == 0)
		{
			*ok = read_bool(value, "ok");
			has_ok = true;
		}
		else if (strcmp(pairs[i].key, "result") == 0)
			*result = JsonbValueToJsonb(value);
		else
			check_completion_key(pairs[i].key);
	}
	if (*step == NULL || !has_ok)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is missing", *step == NULL ? "branch_id" : "ok"),
				 errhint("Pass an object with gid, branch_id, op, ok (true or false) and result.")));
	if (*op == NULL || (*op)[0] == '\0')
		*op = pstrdup(dtm_op_name(DTM_OP_ACTION));
}
