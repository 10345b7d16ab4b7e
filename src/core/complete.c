/*
 * complete.c
 *		Answers that come later: a branch says ONGOING, and somebody else says what
 *		has become of it.
 *
 * A completion is a reply that a caller brings, so it is applied like one, whether
 * the op's call is under way, has been answered with ONGOING, or waits for its retry.
 * If the op's turn has not come yet, the completion is kept (DtmBranchOp.completed),
 * and is the reply of the call that would be made then.
 *
 * A completion as failed is final: what cannot fail is not called again, as if its
 * policy had exhausted it (policy.c).  If its transaction is parked for that, what its
 * call responds does not count any more, and the transaction begins anew when somebody
 * resumes it.
 *
 * An op whose step has a complete_within is not called again after an ONGOING, but
 * waits until then (DtmBranchOp.deadline).
 */
#include "protocol.h"

#include <assert.h>

bool
dtm_core_awaits(DtmTrans *t, const DtmEvent *ev, DtmUpdate *u)
{
	const DtmStepPolicy *policy = dtm_core_policy_of(t, ev->op);

	if (ev->result != DTM_RESULT_ONGOING || policy == NULL || policy->complete_within <= 0)
		return false;
	t->ops[ev->op].deadline = dtm_core_after(ev->now, policy->complete_within);
	t->ops[ev->op].waiting = true;
	u->changed = true;
	return true;
}

bool
dtm_core_is_overdue(const DtmTrans *t, int op, DtmTime now)
{
	return t->ops[op].status == DTM_BRANCH_PREPARED && t->ops[op].deadline != 0 &&
		t->ops[op].deadline <= now && !dtm_core_is_final(t->status);
}

bool
dtm_core_keeps_completions(const DtmTrans *t, int op)
{
	const DtmStepPolicy *policy = dtm_core_policy_of(t, op);

	return policy != NULL && policy->completes;
}

DtmReject
dtm_core_complete(DtmTrans *t, const DtmProtocol *protocol, const DtmConfig *cfg,
				  const DtmEvent *ev, DtmUpdate *u)
{
	DtmBranchOp *op = &t->ops[ev->op];

	assert(ev->op >= 0 && ev->op < t->nops);
	assert(ev->result == DTM_RESULT_SUCCESS || ev->result == DTM_RESULT_FAILURE);
	if (protocol->turn_of == NULL)
		return DTM_REJECT_TYPE;
	if (dtm_core_is_final(t->status) || op->status != DTM_BRANCH_PREPARED || !op->has_url ||
		op->completed == DTM_COMPLETED_PARKED)
		return DTM_REJECT_STATUS;
	switch (protocol->turn_of(t, ev->op))
	{
		case DTM_TURN_NEVER:
			return DTM_REJECT_STATUS;
		case DTM_TURN_LATER:
			if (!dtm_core_keeps_completions(t, ev->op))
				return DTM_REJECT_TURN;
			op->completed = ev->result == DTM_RESULT_SUCCESS ?
				DTM_COMPLETED_OK : DTM_COMPLETED_FAILED;
			break;
		case DTM_TURN_NOW:
			op->deadline = op->not_before = 0;
			protocol->reply(t, cfg, ev, u);
			if (op->status == DTM_BRANCH_PREPARED || dtm_core_is_final(t->status))
				break;
			/* somebody has decided, if it was parked for this op */
			if (t->parked && ev->unparks)
				dtm_core_unpark(t, ev->now, u);
			else if (!t->parked)
				t->next_time = ev->now;
			break;
	}
	u->changed = true;
	return DTM_ACCEPTED;
}
