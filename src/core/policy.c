/*
 * policy.c
 *		Policies of steps: when an op is not called again, and what becomes of it
 *		then.
 *
 * An op has a policy if its step has a limit of attempts for it, or, for what
 * the step does, says what happens when it is exhausted, or if somebody has said
 * which responses are final.  A permanent failure then exhausts it at once, where
 * it is not the end of a saga anyway: to ask again would get the same answer.
 * Without a policy everything is as dtm has it: what cannot fail is repeated,
 * unless somebody has completed it as failed.
 *
 * ONGOING is no failure: the branch works, and is not counted.
 */
#include "protocol.h"

#include <assert.h>
#include <stdio.h>

const DtmStepPolicy *
dtm_core_policy_of(const DtmTrans *t, int op)
{
	return t->policy == NULL || op == DTM_CALL_QUERY ? NULL :
		&t->policy[t->ops[op].step];
}

/* 0: no limit. */
static int
limit_of(const DtmTrans *t, int op)
{
	const DtmStepPolicy *policy = dtm_core_policy_of(t, op);

	if (policy == NULL)
		return 0;
	return dtm_op_undoes((DtmOp) t->ops[op].op) ? policy->max_undo_attempts :
		policy->max_attempts;
}

/* Says its policy what becomes of it, if it is exhausted? */
static bool
has_end(const DtmTrans *t, const DtmEvent *ev)
{
	const DtmStepPolicy *policy = dtm_core_policy_of(t, ev->op);

	if (ev->op == DTM_CALL_QUERY)
		return false;
	return ev->said_final || limit_of(t, ev->op) > 0 ||
		(policy != NULL && policy->on_exhausted != DTM_EXHAUSTED_UNSET &&
		 !dtm_op_undoes((DtmOp) t->ops[ev->op].op));
}

/* Has somebody said that it has failed, now or before its turn? */
static bool
is_completed(const DtmTrans *t, const DtmEvent *ev)
{
	return ev->op != DTM_CALL_QUERY &&
		(ev->kind == DTM_EVENT_COMPLETE || t->ops[ev->op].completed == DTM_COMPLETED_FAILED);
}

bool
dtm_core_counts_attempts(const DtmTrans *t)
{
	for (int step = 0; t->policy != NULL && step < t->nsteps; step++)
		if (t->policy[step].max_attempts > 0 || t->policy[step].max_undo_attempts > 0)
			return true;
	return false;
}

bool
dtm_core_is_exhausted(DtmTrans *t, const DtmEvent *ev, DtmCause *cause,
					  DtmUpdate *u)
{
	int			limit = limit_of(t, ev->op);

	switch (ev->result)
	{
		case DTM_RESULT_SUCCESS:
		case DTM_RESULT_ONGOING:
			return false;
		case DTM_RESULT_PERMANENT:
			*cause = DTM_CAUSE_PERMANENT;
			return true;
		case DTM_RESULT_FAILURE:
			*cause = DTM_CAUSE_FAILURE;
			return has_end(t, ev) || is_completed(t, ev);
		case DTM_RESULT_TEMPORARY:
			break;
	}
	if (limit == 0)
		return false;
	if (t->ops[ev->op].attempts < DTM_MAX_ATTEMPTS)
		t->ops[ev->op].attempts++;
	u->changed = true;
	*cause = DTM_CAUSE_ATTEMPTS;
	return t->ops[ev->op].attempts >= limit;
}

static void
discard(DtmTrans *t, const DtmEvent *ev, DtmUpdate *u)
{
	char		reason[2 * DTM_REASON_SIZE];

	t->ops[ev->op].status = DTM_BRANCH_FAILED;
	t->failures = 0;
	if (t->reason[0] != '\0')
		return;					/* that of the first one */
	snprintf(reason, sizeof(reason), "url:%s was discarded: %s",
			 ev->url != NULL ? ev->url : "", ev->text != NULL ? ev->text : "");
	dtm_core_set_reason(t, reason, u);
}

/* Was it called to its end, but for what was left out?  One that was stopped was not. */
static bool
is_delivered_but_for_discarded(const DtmTrans *t)
{
	bool		discarded = false;

	for (int op = 0; op < t->nops; op++)
		if (t->ops[op].status == DTM_BRANCH_PREPARED)
			return false;
		else if (t->ops[op].status == DTM_BRANCH_FAILED)
			discarded = true;
	return t->type == DTM_MSG && discarded;
}

bool
dtm_core_start_again(DtmTrans *t, const DtmConfig *cfg, DtmTime now)
{
	bool		rest = is_delivered_but_for_discarded(t);

	for (int op = 0; op < t->nops; op++)
	{
		t->ops[op].attempts = 0;
		t->ops[op].blocked = rest && t->ops[op].status == DTM_BRANCH_SUCCEED;
	}
	dtm_core_start(t, cfg, true, now);
	for (int op = 0; op < t->nops; op++)
		if (t->ops[op].blocked)
			t->ops[op].status = DTM_BRANCH_SUCCEED;
	return rest;
}

void
dtm_core_park(DtmTrans *t)
{
	assert(!dtm_core_is_final(t->status));
	t->parked = true;
	t->next_time = DTM_TIME_NEVER;
}

void
dtm_core_give_up(DtmTrans *t, const DtmEvent *ev, DtmCause cause, DtmUpdate *u)
{
	const DtmStepPolicy *policy = dtm_core_policy_of(t, ev->op);
	bool		was_parked = t->parked;

	u->changed = true;
	u->cause = cause;
	if (t->type == DTM_MSG && policy != NULL &&
		policy->on_exhausted == DTM_EXHAUSTED_DISCARD)
	{
		discard(t, ev, u);
		u->gave_up = DTM_GAVE_UP_DISCARDED;
		return;
	}
	if (cause == DTM_CAUSE_FAILURE && is_completed(t, ev))
		t->ops[ev->op].completed = DTM_COMPLETED_PARKED;
	if (t->failures < UINT16_MAX)
		t->failures++;
	dtm_core_park(t);
	/* somebody looks at it already; what else is wrong, the next try shows */
	u->gave_up = was_parked ? DTM_GAVE_UP_NOTHING : DTM_GAVE_UP_PARKED;
}

void
dtm_core_not_done(DtmTrans *t, const DtmConfig *cfg, const DtmEvent *ev,
				  bool *waiting, DtmUpdate *u)
{
	DtmCause	cause;

	if (dtm_core_is_exhausted(t, ev, &cause, u))
		dtm_core_give_up(t, ev, cause, u);
	else
		dtm_core_retry_later(t, cfg, ev, waiting, u);
}

void
dtm_core_unpark(DtmTrans *t, DtmTime now, DtmUpdate *u)
{
	t->parked = false;
	t->next_time = now;
	t->failures = 0;
	t->retries = 0;
	for (int op = 0; op < t->nops; op++)
	{
		t->ops[op].attempts = 0;
		if (t->ops[op].completed == DTM_COMPLETED_PARKED)
			t->ops[op].completed = DTM_COMPLETED_NOT;
	}
	u->changed = true;
}
