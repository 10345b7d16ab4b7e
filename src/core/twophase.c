/*
 * twophase.c
 *		TCC and XA: branches are registered while the transaction is prepared,
 *		and all of them are confirmed (committed), or all cancelled (rolled
 *		back) (§7).
 *
 * Each branch n has two ops: 2n undoes it (cancel, rollback), 2n + 1 does it
 * (confirm, commit), which is the order of /query.  They are called one after
 * another: TCC's from the last registered to the first, XA's from the first to
 * the last.
 */
#include "protocol.h"

#define UNDO_OF(branch)	(2 * (branch))
#define DO_OF(branch)	(2 * (branch) + 1)

/* Calls the next op of the second phase; the last one's success is the end. */
static void
second_phase(DtmTrans *t, const DtmEvent *ev, DtmUpdate *u)
{
	bool		commit = t->status == DTM_SUBMITTED;

	for (int i = 0; i < t->nsteps; i++)
	{
		int			branch = t->type == DTM_TCC ? t->nsteps - 1 - i : i;
		int			n = commit ? DO_OF(branch) : UNDO_OF(branch);
		DtmBranchOp *op = &t->ops[n];

		if (op->status == DTM_BRANCH_PREPARED && !op->has_url)
			dtm_core_branch_succeeded(t, op, u);	/* TC-05 */
		if (op->status != DTM_BRANCH_SUCCEED)
		{
			dtm_core_call_op(t, n, u);
			return;
		}
	}
	dtm_core_enter(t, commit ? DTM_SUCCEED : DTM_FAILED, ev->now, u);
}

static void
twophase_advance(DtmTrans *t, const DtmConfig *cfg, const DtmEvent *ev,
				 DtmUpdate *u)
{
	if (t->status == DTM_PREPARED)
	{
		DtmTime		until = dtm_core_overdue_at(t, cfg);

		if (ev->now >= until)
		{
			/* TC-04, XA-05 */
			dtm_core_timeout_reason(t, until - t->created, u);
			dtm_core_enter(t, DTM_ABORTING, ev->now, u);
		}
		else if (t->next_time < until)
		{
			t->next_time = until;
			u->changed = true;
		}
	}
	if (t->status == DTM_SUBMITTED || t->status == DTM_ABORTING)
		second_phase(t, ev, u);
}

static void
twophase_reply(DtmTrans *t, const DtmConfig *cfg, const DtmEvent *ev,
			   DtmUpdate *u)
{
	DtmBranchOp *op;
	bool		commit = t->status == DTM_SUBMITTED;

	if (ev->op == DTM_CALL_QUERY || t->status == DTM_PREPARED ||
		(ev->op % 2 == 1) != commit)
		return;					/* fits no call of this status */
	op = &t->ops[ev->op];
	/* the second phase can't fail, it is repeated */
	if (ev->result == DTM_RESULT_SUCCESS)
		dtm_core_branch_succeeded(t, op, u);
	else
		dtm_core_not_done(t, cfg, ev, &op->waiting, u);
}

static DtmReject
twophase_abort(DtmTrans *t, const DtmEvent *ev, DtmUpdate *u)
{
	if (t->status == DTM_PREPARED)
	{
		if (ev->text != NULL)
			dtm_core_set_reason(t, ev->text, u);
		dtm_core_enter(t, DTM_ABORTING, ev->now, u);
		return DTM_ACCEPTED;
	}
	if (t->status != DTM_ABORTING)
		return DTM_REJECT_STATUS;

	/*
	 * an operator is told that it is to be resumed; a client has said it
	 * before
	 */
	if (t->parked && ev->steered)
		return DTM_REJECT_STATUS;
	/* again, at once */
	if (t->next_time > ev->now && !t->parked)
	{
		t->next_time = ev->now;
		u->changed = true;
	}
	return DTM_ACCEPTED;
}

static DtmReject
twophase_may_skip(const DtmTrans *t, const DtmBranchOp *op, DtmResult result)
{
	return dtm_core_may_skip(dtm_op_undoes(op->op) == (t->status == DTM_ABORTING),
							 result);
}

const DtmProtocol dtm_twophase_protocol = {
	.prepared_until = dtm_core_overdue_at,
	.advance = twophase_advance,
	.reply = twophase_reply,
	.abort = twophase_abort,
	.may_skip = twophase_may_skip
};
