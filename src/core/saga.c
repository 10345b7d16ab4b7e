/*
 * saga.c
 *		Sagas: steps with compensations, one after another or, with concurrent,
 *		as their orders allow (§7).
 *
 * Each step n has two ops: 2n is its compensate, 2n + 1 its action, which is
 * the order of /query.  A sequential saga is a saga in which step n - 1 is the
 * only predecessor of step n.
 */
#include "protocol.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define COMPENSATE_OF(step)	(2 * (step))
#define ACTION_OF(step)		(2 * (step) + 1)

static inline DtmBranchOp *
action_of(const DtmTrans *t, int step)
{
	return &t->ops[ACTION_OF(step)];
}

static inline DtmBranchOp *
compensate_of(const DtmTrans *t, int step)
{
	return &t->ops[COMPENSATE_OF(step)];
}

/* Number of steps that a step comes after; predecessor() gives the i-th. */
static inline int
npredecessors(const DtmTrans *t, int step)
{
	if (!t->concurrent)
		return step > 0 ? 1 : 0;
	if (t->orders.start == NULL)
		return 0;
	return t->orders.start[step + 1] - t->orders.start[step];
}

static inline int
predecessor(const DtmTrans *t, int step, int i)
{
	if (!t->concurrent)
		return step - 1;
	return t->orders.pre[t->orders.start[step] + i];
}

/* May the step's action start?  All its predecessors have succeeded. */
static bool
startable(const DtmTrans *t, int step)
{
	for (int i = 0; i < npredecessors(t, step); i++)
		if (action_of(t, predecessor(t, step, i))->status != DTM_BRANCH_SUCCEED)
			return false;
	return true;
}

/*
 * May the step's action have had effects?  Those are compensated:
 * succeeded, failed (SG-02), or prepared and startable, since the coordinator
 * may have died between the call and its result.  The effects of a local one
 * are committed with its success, or there are none.  While its lane holds a
 * saga, it has not begun; and an action that was completed before its turn was
 * never asked for.
 */
static bool
may_have_run(const DtmTrans *t, int step)
{
	if (t->held)
		return false;
	if (action_of(t, step)->local)
		return action_of(t, step)->status == DTM_BRANCH_SUCCEED;
	return action_of(t, step)->status != DTM_BRANCH_PREPARED ||
		startable(t, step);
}

static bool
has_successor(const DtmTrans *t, int step)
{
	for (int later = 0; later < t->nsteps; later++)
		for (int i = 0; i < npredecessors(t, later); i++)
			if (predecessor(t, later, i) == step)
				return true;
	return false;
}

static void
abort_saga(DtmTrans *t, DtmTime now, DtmUpdate *u)
{
	dtm_core_enter(t, DTM_ABORTING, now, u);
}

/*
 * SO-03: age counts, not the time since the last reply.  True: its time is over,
 * and it is aborting.
 */
static bool
times_out(DtmTrans *t, DtmTime now, DtmUpdate *u)
{
	DtmTime		deadline = t->timeout_to_fail > 0 ?
		dtm_core_after(t->created, t->timeout_to_fail) : DTM_TIME_NEVER;

	if (deadline != DTM_TIME_NEVER && now >= deadline)
	{
		dtm_core_timeout_reason(t, t->timeout_to_fail, u);
		abort_saga(t, now, u);
		return true;
	}
	/* in its lane, it waits for nothing else */
	if (t->next_time > deadline || (t->held && t->next_time != deadline))
	{
		t->next_time = deadline;
		u->changed = true;
	}
	return false;
}

/* submitted: run actions as far as they go. */
static void
forward(DtmTrans *t, const DtmEvent *ev, DtmUpdate *u)
{
	int			nsucceeded;
	bool		again;

	if (t->held)
	{
		(void) times_out(t, ev->now, u);
		return;
	}
	for (int step = 0; step < t->nsteps; step++)
		if (action_of(t, step)->status == DTM_BRANCH_FAILED)
		{
			/*
			 * a failure is stored together with aborting, or lost.  The
			 * reason is in dtm's words, which stay as they are.
			 */
			dtm_core_set_reason(t, "fail message lost", u);
			abort_saga(t, ev->now, u);
			return;
		}

	/* An empty URL is success without a call (SG-06), and may free others. */
	do
	{
		again = false;
		nsucceeded = 0;
		for (int step = 0; step < t->nsteps; step++)
		{
			DtmBranchOp *action = action_of(t, step);

			if (action->status == DTM_BRANCH_PREPARED && !action->has_url &&
				startable(t, step))
			{
				dtm_core_branch_succeeded(t, action, u);
				again = true;
			}
			if (action->status == DTM_BRANCH_SUCCEED)
				nsucceeded++;
		}
	} while (again);

	if (nsucceeded == t->nsteps)
	{
		dtm_core_enter(t, DTM_SUCCEED, ev->now, u);
		return;
	}

	if (times_out(t, ev->now, u))
		return;
	for (int step = 0; step < t->nsteps; step++)
		if (action_of(t, step)->status == DTM_BRANCH_PREPARED &&
			startable(t, step))
			dtm_core_call_op(t, ACTION_OF(step), u);
}

/*
 * aborting: compensate every step that may have run, each after the steps
 * that came after it; a sequential saga's strictly from last to first.
 */
static void
backward(DtmTrans *t, const DtmEvent *ev, DtmUpdate *u)
{
	bool		again;
	bool		left;

	do
	{
		again = false;
		left = false;

		for (int step = 0; step < t->nsteps; step++)
			compensate_of(t, step)->blocked = false;
		for (int step = 0; step < t->nsteps; step++)
		{
			if (!may_have_run(t, step) ||
				compensate_of(t, step)->status == DTM_BRANCH_SUCCEED)
				continue;
			left = true;
			for (int i = 0; i < npredecessors(t, step); i++)
				compensate_of(t, predecessor(t, step, i))->blocked = true;
		}

		for (int step = t->nsteps - 1; step >= 0; step--)
		{
			DtmBranchOp *compensate = compensate_of(t, step);

			if (compensate->status == DTM_BRANCH_SUCCEED ||
				compensate->blocked || !may_have_run(t, step))
				continue;

			/*
			 * An action that is still under way is waited for: undoing it
			 * while it runs would ask too much of a participant that has no
			 * barrier.  (dtm calls both at once, R-35.)
			 */
			if (action_of(t, step)->running)
				continue;
			if (compensate->has_url)
				dtm_core_call_op(t, COMPENSATE_OF(step), u);
			else
			{
				dtm_core_branch_succeeded(t, compensate, u);
				again = true;
			}
		}
	} while (again);

	if (!left)
		dtm_core_enter(t, DTM_FAILED, ev->now, u);
}

/*
 * without a query URL, it waits for its submit.  With one, it is asked for
 * in time, before its own time-out: that counts from the prepare, and would roll
 * back at once what is submitted then.
 */
static DtmTime
saga_prepared_until(const DtmTrans *t, const DtmConfig *cfg)
{
	int64_t		wait = cfg->timeout_to_fail;

	if (!t->has_query_url)
		return DTM_TIME_NEVER;
	if (t->timeout_to_fail > 0 && t->timeout_to_fail / 2 < wait)
		wait = t->timeout_to_fail / 2;
	return dtm_core_after(t->created, wait);
}

static void
saga_advance(DtmTrans *t, const DtmConfig *cfg, const DtmEvent *ev,
			 DtmUpdate *u)
{
	if (t->status == DTM_SUBMITTED)
		forward(t, ev, u);
	if (t->status == DTM_ABORTING)
		backward(t, ev, u);
	if (t->status != DTM_PREPARED)
		return;
	if (t->has_query_url)
		dtm_core_query_back(t, saga_prepared_until(t, cfg), ev, u);
	else if (t->next_time != DTM_TIME_NEVER)
	{
		/* dtm_retry_now does not change that */
		t->next_time = DTM_TIME_NEVER;
		u->changed = true;
	}
}

static void
set_failure_reason(DtmTrans *t, const DtmEvent *ev, DtmUpdate *u)
{
	static const char word[] = " FAILURE";
	const char *text = ev->text != NULL ? ev->text : "";
	size_t		len = strlen(text);
	bool		ends = len >= sizeof(word) - 1 &&
		strcmp(text + len - (sizeof(word) - 1), word) == 0;
	char		reason[2 * DTM_REASON_SIZE];

	/* dtm's words, which clients match (R-01, §6.3): they stay as they are */
	snprintf(reason, sizeof(reason), "url:%s return failed: %s%s",
			 ev->url != NULL ? ev->url : "", text, ends ? "" : word);
	dtm_core_set_reason(t, reason, u);
}

/*
 * The reply of an action that arrives after the abort began.  It is recorded
 * for the readers of the row, unless a success would make a later step look
 * startable.  A local action that ends too late has been rolled back.
 */
static void
late_reply(DtmTrans *t, int step, DtmResult result, DtmUpdate *u)
{
	DtmBranchOp *action = action_of(t, step);

	if (result == DTM_RESULT_FAILURE)
		action->status = DTM_BRANCH_FAILED;
	else if (result == DTM_RESULT_SUCCESS && !action->local &&
			 !has_successor(t, step))
		action->status = DTM_BRANCH_SUCCEED;
	else
		return;
	u->changed = true;
}

/*
 * An action that is not called again.  Unless it is to wait for somebody, the
 * saga is rolled back, with the action, which may have had effects.
 */
static void
action_exhausted(DtmTrans *t, const DtmEvent *ev, DtmCause cause, DtmUpdate *u)
{
	const DtmStepPolicy *policy = dtm_core_policy_of(t, ev->op);
	const char *text = ev->text != NULL ? ev->text : "";
	char		reason[2 * DTM_REASON_SIZE];

	if (cause == DTM_CAUSE_ATTEMPTS && policy != NULL &&
		policy->on_exhausted == DTM_EXHAUSTED_PARK)
	{
		dtm_core_give_up(t, ev, cause, u);
		return;
	}
	if (cause == DTM_CAUSE_ATTEMPTS)
		snprintf(reason, sizeof(reason), "url:%s failed (attempts: %d): %s",
				 ev->url != NULL ? ev->url : "", (int) t->ops[ev->op].attempts, text);
	else
		snprintf(reason, sizeof(reason), "url:%s cannot be called: %s",
				 ev->url != NULL ? ev->url : "", text);
	dtm_core_set_reason(t, reason, u);
	abort_saga(t, ev->now, u);
}

static void
action_reply(DtmTrans *t, const DtmConfig *cfg, const DtmEvent *ev,
			 DtmUpdate *u)
{
	DtmBranchOp *action = &t->ops[ev->op];
	DtmCause	cause;

	switch (ev->result)
	{
		case DTM_RESULT_SUCCESS:
			dtm_core_branch_succeeded(t, action, u);
			return;
		case DTM_RESULT_FAILURE:
			action->status = DTM_BRANCH_FAILED;
			set_failure_reason(t, ev, u);
			abort_saga(t, ev->now, u);
			return;
		case DTM_RESULT_ONGOING:
		case DTM_RESULT_TEMPORARY:
		case DTM_RESULT_PERMANENT:
			break;
	}

	if (dtm_core_is_exhausted(t, ev, &cause, u))
	{
		action_exhausted(t, ev, cause, u);
		return;
	}
	if (dtm_core_awaits(t, ev, u))
		return;
	dtm_core_retry_later(t, cfg, ev, &action->waiting, u);
	if (t->retry_limit <= 0 || t->parked)
		return;

	/* every non-final reply counts, and is followed up at once */
	u->changed = true;
	if (t->retries < UINT16_MAX)
		t->retries++;
	if (t->retries > t->retry_limit)
	{
		/* dtm's words, which clients match (SO-11): they stay as they are */
		snprintf(u->reason, sizeof(u->reason),
				 "RetryCount is greater than RetryLimit, RetryLimit: %d",
				 (int) t->retry_limit);
		t->reason = u->reason;
		abort_saga(t, ev->now, u);
	}
	else if (ev->retry_after <= 0)
	{
		action->waiting = false;
		t->round_failed = false;
		t->next_time = ev->now;
	}
}

static void
saga_reply(DtmTrans *t, const DtmConfig *cfg, const DtmEvent *ev,
		   DtmUpdate *u)
{
	DtmBranchOp *op;

	if (ev->op == DTM_CALL_QUERY)
	{
		dtm_core_query_reply(t, cfg, ev, u);
		return;
	}
	op = &t->ops[ev->op];
	if (op->op == DTM_OP_ACTION)
	{
		if (t->status == DTM_SUBMITTED)
			action_reply(t, cfg, ev, u);
		else if (t->status == DTM_ABORTING)
			late_reply(t, op->step, ev->result, u);
	}
	else if (t->status == DTM_ABORTING)
	{
		/* a compensation can't fail the saga, it is repeated */
		if (ev->result == DTM_RESULT_SUCCESS)
			dtm_core_branch_succeeded(t, op, u);
		else if (!dtm_core_awaits(t, ev, u))
			dtm_core_not_done(t, cfg, ev, &op->waiting, u);
	}
}

/* Is a step that comes after this one still to be undone? */
static bool
is_blocked(const DtmTrans *t, int step)
{
	for (int later = 0; later < t->nsteps; later++)
		for (int i = 0; i < npredecessors(t, later); i++)
			if (predecessor(t, later, i) == step && may_have_run(t, later) &&
				compensate_of(t, later)->status != DTM_BRANCH_SUCCEED)
				return true;
	return false;
}

static DtmTurn
saga_turn_of(const DtmTrans *t, int op)
{
	int			step = t->ops[op].step;
	bool		is_action = t->ops[op].op == DTM_OP_ACTION;

	switch (t->status)
	{
		case DTM_PREPARED:
			return is_action ? DTM_TURN_LATER : DTM_TURN_NEVER;
		case DTM_SUBMITTED:
			if (!is_action)
				return DTM_TURN_NEVER;
			return startable(t, step) && !t->held ? DTM_TURN_NOW : DTM_TURN_LATER;
		case DTM_ABORTING:
			if (!may_have_run(t, step))
				return DTM_TURN_NEVER;
			return is_action || !is_blocked(t, step) ? DTM_TURN_NOW : DTM_TURN_LATER;
		case DTM_SUCCEED:
		case DTM_FAILED:
			break;
	}
	return DTM_TURN_NEVER;
}

/*
 * A client has no abort of a saga (§1.3), an operator has: nothing has been
 * called of one that is prepared; of one that is submitted, what may have run is
 * compensated, as after a refusal.
 */
static DtmReject
saga_abort(DtmTrans *t, const DtmEvent *ev, DtmUpdate *u)
{
	if (!ev->steered)
		return DTM_REJECT_TYPE;
	if (t->status == DTM_ABORTING)
	{
		if (t->parked)
			return DTM_REJECT_STATUS;	/* it is to be resumed */
		/* as R-27: again, at once */
		if (t->next_time > ev->now)
		{
			t->next_time = ev->now;
			u->changed = true;
		}
		return DTM_ACCEPTED;
	}
	if (t->status != DTM_PREPARED && t->status != DTM_SUBMITTED)
		return DTM_REJECT_STATUS;
	if (ev->text != NULL)
		dtm_core_set_reason(t, ev->text, u);
	if (t->status == DTM_PREPARED)
		dtm_core_enter(t, DTM_FAILED, ev->now, u);
	else
		abort_saga(t, ev->now, u);
	return DTM_ACCEPTED;
}

/*
 * An action whose turn it is, with either result: one that comes later would let
 * others start before it.  When it is rolled back, any compensation that is to be
 * called; that can't fail.
 */
static DtmReject
saga_may_skip(const DtmTrans *t, const DtmBranchOp *op, DtmResult result)
{
	if (t->status == DTM_ABORTING)
		return dtm_core_may_skip(op->op == DTM_OP_COMPENSATE && may_have_run(t, op->step),
								 result);
	return op->op == DTM_OP_ACTION && startable(t, op->step) ?
		DTM_ACCEPTED : DTM_REJECT_OP;
}

const DtmProtocol dtm_saga_protocol = {
	.prepared_until = saga_prepared_until,
	.advance = saga_advance,
	.reply = saga_reply,
	.abort = saga_abort,
	.may_skip = saga_may_skip,
	.turn_of = saga_turn_of
};

bool
dtm_core_orders_cyclic(const DtmOrders *orders, int nsteps, uint16_t *scratch)
{
	/* Takes away, again and again, the steps that nothing left waits for. */
	uint16_t   *missing = scratch;	/* predecessors of a step not yet taken */
	uint16_t   *queue = scratch + nsteps;
	int			head = 0;
	int			tail = 0;

	if (orders->start == NULL)
		return false;
	for (int step = 0; step < nsteps; step++)
	{
		missing[step] = orders->start[step + 1] - orders->start[step];
		if (missing[step] == 0)
			queue[tail++] = (uint16_t) step;
	}
	while (head < tail)
	{
		int			done = queue[head++];

		for (int step = 0; step < nsteps; step++)
			for (int i = orders->start[step]; i < orders->start[step + 1]; i++)
				if (orders->pre[i] == done && --missing[step] == 0)
					queue[tail++] = (uint16_t) step;
	}
	return tail < nsteps;
}
