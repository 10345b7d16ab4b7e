/*
 * branch.c
 *		Branches of a tcc or xa, as they are registered (§1.2).
 */
#include "private.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"

BranchRequest *
request_branch(DtmTransType type, text *gid, text *branch_id, char *forward,
			   char *backward, bytea *payload)
{
	BranchRequest *request = palloc0(sizeof(BranchRequest));

	if (gid == NULL || branch_id == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s is null", gid == NULL ? "gid" : "branch_id"),
				 errhint("Pass the gid that dtm_prepare() returned, and an id of the branch within it, such as 01.")));
	request->type = type;
	request->gid = request_gid(gid);
	request->branch_id = text_to_cstring(branch_id);
	if (request->branch_id[0] == '\0' ||
		pg_mbstrlen(request->branch_id) > DTM_MAX_GID_CHARS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("branch_id is empty, or longer than %d characters",
						DTM_MAX_GID_CHARS),
				 errhint("Pass an id of the branch within its transaction, such as 01.")));
	if (forward == NULL || backward == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("branch \"%s\" has a URL that is null", request->branch_id),
				 errhint("Pass '' where no call is needed.")));
	request_check_url(forward, type == DTM_XA ? "url" : "confirm");
	request_check_url(backward, type == DTM_XA ? "url" : "cancel");
	request->forward = forward;
	request->backward = backward;
	request->payload = payload;
	return request;
}

BranchRequest *
request_branch_from_object(Jsonb *object)
{
	static const char *const keys[] = {
		"gid", "trans_type", "branch_id", "data", "confirm", "cancel", "url"
	};
	char	   *values[lengthof(keys)] = {NULL};
	DtmTransType type;
	int			n;
	JsonPair   *pairs;

	if (object == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("request is null"),
				 errhint("Pass an object with gid, trans_type, branch_id and URLs.")));
	pairs = read_pairs(&object->root, "request", &n);
	for (int i = 0; i < n; i++)
		for (size_t key = 0; key < lengthof(keys); key++)
			if (strcmp(pairs[i].key, keys[key]) == 0 &&
				pairs[i].value.type != jbvNull)
				values[key] = read_string(&pairs[i].value, keys[key]);
	if (values[1] == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("request has no trans_type"),
				 errhint("It is one of tcc, xa.")));
	type = request_check_trans_type(values[1]);
	return request_branch(type,
						  values[0] ? cstring_to_text(values[0]) : NULL,
						  values[2] ? cstring_to_text(values[2]) : NULL,
						  type == DTM_XA ? values[6] : values[4],
						  type == DTM_XA ? values[6] : values[5],
						  values[3] ? request_body(values[3]) : NULL);
}

void
request_add_branch(StoreTrans *trans, const BranchRequest *branch)
{
	DtmTrans   *core = &trans->core;
	int			n = core->nsteps;
	DtmBranchOp *ops;

	for (int i = 0; i < n; i++)
		if (strcmp(trans->branch_id[i], branch->branch_id) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNIQUE_VIOLATION),
					 errmsg("branch \"%s\" of global transaction \"%s\" is registered already",
							branch->branch_id, trans->gid),
					 errhint("Each branch has an id of its own.")));
	request_check_step_count(n + 1);
	trans->branch_id = repalloc(trans->branch_id, sizeof(char *) * (n + 1));
	trans->action = repalloc(trans->action, sizeof(char *) * (n + 1));
	trans->compensate = repalloc(trans->compensate, sizeof(char *) * (n + 1));
	trans->payload = repalloc(trans->payload, sizeof(bytea *) * (n + 1));
	trans->branch_id[n] = branch->branch_id;
	trans->action[n] = branch->forward;
	trans->compensate[n] = branch->backward;
	trans->payload[n] = branch->payload;
	core->nsteps = n + 1;
	core->nops = dtm_core_ops_of(core->type, core->nsteps);
	/* none of the others has been called yet */
	ops = palloc0(sizeof(DtmBranchOp) * core->nops);
	core->ops = ops;
	dtm_core_lay_out(core);
	request_check_size(trans);
}
