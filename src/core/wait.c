/*
 * wait.c
 *		Ops that wait for a time of their own, beside the retry that all of a
 *		transaction share (next_time): until they are completed (deadline), or until
 *		their last response wants them to be called again (not_before).
 *
 * What becomes of their siblings does not change that time: next_time may be now
 * because of a sibling, and these wait all the same.  Both times are stored, so a
 * successor keeps them, too.  It ends when the op has another reply, when the
 * transaction enters another status, or when somebody asks for a retry or changes
 * the step.
 *
 * A transaction without such ops pays nothing: it has no policy, and "asked" is
 * false.
 */
#include "protocol.h"

/* Does it wait for a time of its own? */
static bool
has_own_time(const DtmBranchOp *op, DtmTime now)
{
	return op->deadline != 0 || op->not_before > now;
}

void
dtm_core_hold_ops(DtmTrans *t, DtmTime now)
{
	for (int i = 0; (t->policy != NULL || t->asked) && i < t->nops; i++)
		if (t->ops[i].status == DTM_BRANCH_PREPARED &&
			(t->ops[i].deadline > now || t->ops[i].not_before > now))
			t->ops[i].waiting = true;
}

void
dtm_core_forget_held(DtmTrans *t)
{
	for (int i = 0; (t->policy != NULL || t->asked) && i < t->nops; i++)
		t->ops[i].deadline = t->ops[i].not_before = 0;
	t->asked = false;
}

void
dtm_core_step_changed(DtmTrans *t, int step, DtmTime now)
{
	for (int i = 0; t->asked && i < t->nops; i++)
		if (t->ops[i].step == step && t->ops[i].not_before != 0)
		{
			t->ops[i].not_before = 0;
			if (!t->parked)
				t->next_time = now;
		}
}

void
dtm_core_wait_until(DtmTrans *t, int op, DtmTime until, DtmUpdate *u)
{
	t->ops[op].not_before = until;
	t->asked = true;
	u->changed = true;
}

bool
dtm_core_owns_next_time(const DtmTrans *t, int op, DtmTime now)
{
	if (!t->asked)
		return false;
	for (int i = 0; i < t->nops; i++)
		if (i != op && t->ops[i].status == DTM_BRANCH_PREPARED && t->ops[i].waiting &&
			!has_own_time(&t->ops[i], now))
			return false;
	return true;
}

static DtmTime
earlier(DtmTime a, DtmTime b)
{
	return a < b ? a : b;
}

/*
 * Nothing but such ops is waited for: it is looked at again when the first one's
 * time comes.  While a call is under way or due, next_time stays in the past for a
 * deadline, so that a successor makes that call; what is to be called again needs a
 * time to be woken at.
 */
void
dtm_core_schedule_held(DtmTrans *t, DtmTime now, DtmUpdate *u)
{
	DtmTime		first = DTM_TIME_NEVER;
	DtmTime		asked = DTM_TIME_NEVER;
	bool		running = false;
	bool		retries = false;

	if (t->parked || t->held)
		return;
	for (int i = 0; (t->policy != NULL || t->asked) && i < t->nops; i++)
	{
		const DtmBranchOp *op = &t->ops[i];

		if (op->status != DTM_BRANCH_PREPARED)
			continue;
		if (op->running)
			running = true;
		else if (op->deadline != 0)
			first = earlier(first, op->deadline);
		else if (op->not_before > now)
			asked = earlier(asked, op->not_before);
		else if (op->waiting)
			retries = true;
	}
	if (running)
		first = DTM_TIME_NEVER;
	/* its back-off counts if that is longer */
	if (asked != DTM_TIME_NEVER)
		first = earlier(first, asked > t->next_time ? asked : t->next_time);
	if (first == DTM_TIME_NEVER)
		return;
	if (retries)
		first = earlier(first, t->next_time);
	if (t->type == DTM_SAGA && t->status == DTM_SUBMITTED && t->timeout_to_fail > 0)
		first = earlier(first, dtm_core_after(t->created, t->timeout_to_fail));
	if (t->next_time == first)
		return;
	t->next_time = first;
	u->changed = true;
}
