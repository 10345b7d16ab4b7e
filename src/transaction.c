/*
 * transaction.c
 *		Makes global transactions that are not read from the store.
 */
#include "transaction.h"

#include "compat.h"

#include "common/hashfn.h"

#include "gid.h"
#include "text/utf8.h"

uint64
transaction_fairness(const char *key, size_t len)
{
	return len == 0 ? 0 : hash_bytes_extended((const unsigned char *) key, (int) len, 0);
}

static uint64
hash_more(uint64 hash, const void *data, size_t len)
{
	return hash_bytes_extended(data, (int) len, hash);
}

uint64
transaction_request_hash(const Transaction *trans, int op)
{
	uint64		hash = 1;
	const char *url = trans->query_prepared;

	if (op != DTM_CALL_QUERY)
	{
		const DtmBranchOp *core;
		const StepOptions *options;
		const bytea *payload;

		if (op >= trans->core.nops)
			return 0;
		core = &trans->core.ops[op];
		options = transaction_step(trans, core->step);
		payload = trans->payload[core->step];
		url = (dtm_op_undoes(core->op) ? trans->compensate : trans->action)[core->step];
		if (payload != NULL)
			hash = hash_more(hash, VARDATA_ANY(payload), VARSIZE_ANY_EXHDR(payload));
		if (options != NULL)
			hash = hash_more(hash, options->json, VARSIZE(options->json));
	}
	if (url != NULL)
		hash = hash_more(hash, url, strlen(url));
	return hash == 0 ? 1 : hash;
}

void
transaction_allocate_steps(Transaction *trans, int n)
{
	bool		has_branches = dtm_core_has_branches(trans->core.type);

	trans->core.nsteps = n;
	trans->action = palloc(sizeof(char *) * (n + 1));
	trans->compensate = dtm_core_has_undo(trans->core.type) ?
		palloc(sizeof(char *) * (n + 1)) : NULL;
	trans->branch_id = has_branches ? palloc(sizeof(char *) * (n + 1)) : NULL;
	trans->payload = palloc0(sizeof(bytea *) * (n + 1));
	trans->step = NULL;
}

void
transaction_set_step(Transaction *trans, int i, StepOptions *options)
{
	if (options == NULL)
		return;
	if (trans->step == NULL)
		trans->step = palloc0(sizeof(StepOptions *) * (trans->core.nsteps + 1));
	trans->step[i] = options;
}

int
transaction_find_step(const Transaction *trans, const char *name)
{
	for (int i = 0; i < trans->core.nsteps; i++)
	{
		const StepOptions *options = transaction_step(trans, i);
		char		number[DTM_BRANCH_ID_SIZE];
		const char *id = number;

		if (trans->branch_id != NULL)
			id = trans->branch_id[i];
		else
			dtm_step_branch_id(i, number);
		/* a name begins with a letter, and so is nobody's id */
		if (strcmp(id, name) == 0 ||
			(options != NULL && options->name != NULL && strcmp(options->name, name) == 0))
			return i;
	}
	return -1;
}

int
transaction_request_timeout(const Transaction *trans, int op)
{
	const StepOptions *step = op == DTM_CALL_QUERY ? NULL :
		transaction_step(trans, trans->core.ops[op].step);

	return step != NULL && step->request_timeout > 0 ? step->request_timeout :
		trans->request_timeout;
}

void
transaction_set_policy(Transaction *trans)
{
	trans->core.policy = step_options_policy(trans->step, trans->core.nsteps);
}

bytea *
transaction_body(const char *text)
{
	const char *utf8 = utf8_of(text);
	size_t		len = strlen(utf8);
	bytea	   *body;

	if (len == 0)
		return NULL;
	body = palloc(VARHDRSZ + len);
	SET_VARSIZE(body, VARHDRSZ + len);
	memcpy(VARDATA(body), utf8, len);
	return body;
}

Transaction *
transaction_message(const char *url, const char *payload, Oid submitted_by,
					const DtmConfig *config, DtmTime now)
{
	Transaction *trans = palloc0(sizeof(Transaction));
	DtmTrans   *core = &trans->core;

	core->type = DTM_MSG;
	trans->gid = gid_make();
	trans->submitted_by = submitted_by;
	transaction_allocate_steps(trans, url != NULL ? 1 : 0);
	if (url != NULL)
	{
		trans->action[0] = pstrdup(url);
		trans->payload[0] = transaction_body(payload);
	}
	core->nops = dtm_core_ops_of(core->type, core->nsteps);
	core->ops = palloc0(sizeof(DtmBranchOp) * (core->nops + 1));
	dtm_core_lay_out(core);
	dtm_core_start(core, config, true, now);
	return trans;
}
