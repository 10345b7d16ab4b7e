/*
 * msg.c
 *		2-phase messages: their actions are retried until they succeed (§7), or
 *		as long as the policies of their steps say.
 *
 * Op n is the action of step n.  When a prepared msg is not submitted in time,
 * its query URL is called (query.c).
 */
#include "protocol.h"

/* submitted: the actions, in order or, with concurrent, all at once. */
static void
deliver(DtmTrans *t, const DtmEvent *ev, DtmUpdate *u)
{
	int			nsucceeded = 0;
	int			ndiscarded = 0;

	if (t->held)
	{
		if (t->next_time != dtm_core_held_until(t))
		{
			t->next_time = dtm_core_held_until(t);
			u->changed = true;
		}
		return;
	}
	for (int i = 0; i < t->nops; i++)
	{
		DtmBranchOp *action = &t->ops[i];

		/* one that waits does so for its retry or for the delay (MS-10) */
		if (action->status == DTM_BRANCH_PREPARED && !action->has_url &&
			!action->waiting)
			dtm_core_branch_succeeded(t, action, u);
		if (action->status == DTM_BRANCH_SUCCEED)
			nsucceeded++;
		else if (action->status == DTM_BRANCH_FAILED)
			ndiscarded++;		/* the others go on without it */
		else
		{
			dtm_core_call_op(t, i, u);
			if (!t->concurrent)
				break;			/* MS-14: stops at the first that is not done */
		}
	}
	if (nsucceeded + ndiscarded == t->nops)
		dtm_core_enter(t, ndiscarded > 0 ? DTM_FAILED : DTM_SUCCEED, ev->now, u);
}

static void
msg_advance(DtmTrans *t, const DtmConfig *cfg, const DtmEvent *ev,
			DtmUpdate *u)
{
	if (t->status == DTM_PREPARED)
	{
		DtmTime		until = dtm_core_overdue_at(t, cfg);

		if (ev->now >= until && !t->has_query_url)
			dtm_core_submit(t, ev->now, u); /* */
		else
			dtm_core_query_back(t, until, ev, u);
	}
	if (t->status == DTM_SUBMITTED)
		deliver(t, ev, u);
}

static void
msg_reply(DtmTrans *t, const DtmConfig *cfg, const DtmEvent *ev, DtmUpdate *u)
{
	if (ev->op == DTM_CALL_QUERY)
		dtm_core_query_reply(t, cfg, ev, u);
	else if (t->status == DTM_SUBMITTED)
	{
		/*
		 * JR-02: a branch can't fail a message, not even with FAILURE, unless
		 * a policy says what then
		 */
		if (ev->result == DTM_RESULT_SUCCESS)
			dtm_core_branch_succeeded(t, &t->ops[ev->op], u);
		else if (!dtm_core_awaits(t, ev, u))
			dtm_core_not_done(t, cfg, ev, &t->ops[ev->op].waiting, u);
	}
}

static DtmReject
msg_abort(DtmTrans *t, const DtmEvent *ev, DtmUpdate *u)
{
	if (t->status != DTM_PREPARED)
		return DTM_REJECT_STATUS;
	if (ev->text != NULL)
		dtm_core_set_reason(t, ev->text, u);
	dtm_core_enter(t, DTM_FAILED, ev->now, u);
	return DTM_ACCEPTED;
}

/* In whatever order: the others are called all the same. */
static DtmReject
msg_may_skip(const DtmTrans *t, const DtmBranchOp *op, DtmResult result)
{
	(void) op;
	return dtm_core_may_skip(t->status == DTM_SUBMITTED, result);
}

static DtmTurn
msg_turn_of(const DtmTrans *t, int op)
{
	if (t->status == DTM_PREPARED || t->held)
		return DTM_TURN_LATER;
	for (int i = 0; i < op && !t->concurrent; i++)
		if (t->ops[i].status == DTM_BRANCH_PREPARED)
			return DTM_TURN_LATER;
	return DTM_TURN_NOW;
}

const DtmProtocol dtm_msg_protocol = {
	.prepared_until = dtm_core_overdue_at,
	.advance = msg_advance,
	.reply = msg_reply,
	.abort = msg_abort,
	.may_skip = msg_may_skip,
	.turn_of = msg_turn_of
};
