/*
 * core.c
 *		Dispatches events to the protocols; the rules that they share: status
 *		changes, back-off, schedule.
 */
#include "protocol.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static const DtmProtocol *
protocol_of(DtmTransType type)
{
	switch (type)
	{
		case DTM_SAGA:
			return &dtm_saga_protocol;
		case DTM_MSG:
			return &dtm_msg_protocol;
		case DTM_TCC:
		case DTM_XA:
			return &dtm_twophase_protocol;
		case DTM_WORKFLOW:
			return &dtm_workflow_protocol;
	}
	return NULL;
}

bool
dtm_core_is_final(DtmStatus status)
{
	return status == DTM_SUCCEED || status == DTM_FAILED;
}

DtmTime
dtm_core_after(DtmTime time, int64_t us)
{
	if (us <= 0 || time >= DTM_TIME_MAX || time == INT64_MIN)
		return time;
	return time > DTM_TIME_MAX - us ? DTM_TIME_MAX : time + us;
}

bool
dtm_core_is_waiting(const DtmTrans *t)
{
	for (int i = 0; i < t->nops; i++)
		if (t->ops[i].waiting && t->ops[i].status == DTM_BRANCH_PREPARED &&
			t->ops[i].deadline == 0)
			return true;
	return t->query_waiting && t->status == DTM_PREPARED;
}

void
dtm_core_start(DtmTrans *t, const DtmConfig *cfg, bool submitted, DtmTime now)
{
	const DtmProtocol *protocol = protocol_of(t->type);

	assert(protocol != NULL);
	for (int i = 0; i < t->nops; i++)
	{
		t->ops[i].status = DTM_BRANCH_PREPARED;
		t->ops[i].completed = DTM_COMPLETED_NOT;
		t->ops[i].deadline = t->ops[i].not_before = 0;
	}
	t->asked = false;
	t->created = now;
	t->failures = 0;
	t->ongoing_since = 0;
	t->retries = 0;
	t->parked = false;
	t->reason = "";
	t->status = submitted ? DTM_SUBMITTED : DTM_PREPARED;
	if (submitted)
		t->next_time = t->held ? dtm_core_held_until(t) : dtm_core_after(now, t->delay);
	else
		t->next_time = protocol->prepared_until(t, cfg);
	dtm_core_loaded(t, now);
}

void
dtm_core_loaded(DtmTrans *t, DtmTime now)
{
	bool		waiting = t->next_time > now;

	for (int i = 0; i < t->nops; i++)
	{
		t->ops[i].running = false;
		t->ops[i].waiting = waiting;
	}
	t->query_running = false;
	t->query_waiting = waiting;
	t->round_failed = false;
	dtm_core_hold_ops(t, now);
}

/* The time has come: what had to wait may be called again. */
static void
wake(DtmTrans *t, DtmTime now)
{
	if (now < t->next_time)
		return;
	for (int i = 0; i < t->nops; i++)
		t->ops[i].waiting = false;
	t->query_waiting = false;
	t->round_failed = false;
	dtm_core_hold_ops(t, now);
}

static void
reply(DtmTrans *t, const DtmProtocol *protocol, const DtmConfig *cfg,
	  const DtmEvent *ev, DtmUpdate *u)
{
	if (ev->op == DTM_CALL_QUERY)
		t->query_running = false;
	else
	{
		DtmBranchOp *op = &t->ops[ev->op];

		assert(ev->op >= 0 && ev->op < t->nops);
		op->running = false;
		if (op->completed == DTM_COMPLETED_PARKED)
			return;				/* it has failed, whatever it responds */

		/*
		 * A success that comes too late to count has had its effects all the
		 * same, and what undoes them has to know of what.  Of a local op,
		 * they have been rolled back.
		 */
		u->keeps = ev->result == DTM_RESULT_SUCCESS &&
			!(op->local && op->status != DTM_BRANCH_PREPARED);
		if (op->status != DTM_BRANCH_PREPARED)
			return;				/* else a second reply adds nothing */
		op->deadline = op->not_before = 0;
	}
	if (ev->is_outdated && ev->result != DTM_RESULT_SUCCESS &&
		ev->result != DTM_RESULT_ONGOING)
	{
		/*
		 * what it failed for has been mended, perhaps: it is called again at
		 * once
		 */
		if (ev->op == DTM_CALL_QUERY)
			t->query_waiting = false;
		else
			t->ops[ev->op].waiting = false;
		return;
	}
	protocol->reply(t, cfg, ev, u);
}

/* Does it still wait for the delay of its submit? */
static bool
is_delayed(const DtmTrans *t)
{
	if (t->delay == 0 || t->failures > 0)
		return false;
	for (int i = 0; i < t->nops; i++)
		if (t->ops[i].status != DTM_BRANCH_PREPARED)
			return false;
	return true;
}

DtmReject
dtm_core_may_skip(bool called, DtmResult result)
{
	if (!called)
		return DTM_REJECT_OP;
	return result == DTM_RESULT_SUCCESS ? DTM_ACCEPTED : DTM_REJECT_RESULT;
}

/*
 * An operator's word stands for the reply of an op.  A call of it that is in
 * flight goes on, and its reply adds nothing but its result.
 */
static DtmReject
skip(DtmTrans *t, const DtmProtocol *protocol, const DtmConfig *cfg,
	 const DtmEvent *ev, DtmUpdate *u)
{
	DtmEvent	word = *ev;
	bool		delayed = is_delayed(t);
	DtmReject	reject;

	if (dtm_core_is_final(t->status) || t->status == DTM_PREPARED)
		return DTM_REJECT_STATUS;
	if (protocol->may_skip == NULL)
		return DTM_REJECT_TYPE;
	assert(ev->op >= 0 && ev->op < t->nops);
	/* what its lane holds has not begun */
	if (t->ops[ev->op].status != DTM_BRANCH_PREPARED || t->held)
		return DTM_REJECT_OP;
	reject = protocol->may_skip(t, &t->ops[ev->op], ev->result);
	if (reject != DTM_ACCEPTED)
		return reject;
	/* somebody has looked at it; what else is wrong is tried anew */
	if (t->parked)
		dtm_core_unpark(t, ev->now, u);
	word.kind = DTM_EVENT_REPLY;
	protocol->reply(t, cfg, &word, u);
	if (ev->result == DTM_RESULT_FAILURE && ev->text != NULL)
		dtm_core_set_reason(t, ev->text, u);
	if (!delayed)
		t->next_time = ev->now;
	u->changed = true;
	return DTM_ACCEPTED;
}

/* Whatever it waits for. */
static void
retry_now(DtmTrans *t, DtmTime now, DtmUpdate *u)
{
	dtm_core_forget_held(t);
	if (t->parked)
		dtm_core_unpark(t, now, u);
	t->next_time = now;
	u->changed = true;
}

/*
 * Nobody has asked for this, so only the retry comes earlier: what waits for a
 * completion, a lane or an operator goes on waiting.
 */
static DtmReject
bring_forward(DtmTrans *t, DtmTime now, DtmUpdate *u)
{
	if (dtm_core_is_final(t->status) || t->parked || t->held || t->failures == 0)
		return DTM_REJECT_STATUS;
	if (t->next_time <= now)
		return DTM_ACCEPTED;
	t->next_time = now;
	u->changed = true;
	return DTM_ACCEPTED;
}

/* The state table of the calls of §1.3, for a row that is there. */
static DtmReject
request(DtmTrans *t, const DtmProtocol *protocol, const DtmConfig *cfg,
		const DtmEvent *ev, DtmUpdate *u)
{
	switch (ev->kind)
	{
		case DTM_EVENT_PREPARE:
			return t->status == DTM_PREPARED ? DTM_ACCEPTED : DTM_REJECT_STATUS;

		case DTM_EVENT_SUBMIT:
			if (protocol->submit != NULL)
				return protocol->submit(t, ev, u);
			if (t->status == DTM_PREPARED)
			{
				dtm_core_submit(t, ev->now, u);
				return DTM_ACCEPTED;
			}
			/* SG-05, §11.9: again, with the stored branches */
			if (t->status != DTM_SUBMITTED)
				return DTM_REJECT_STATUS;
			if (t->next_time > ev->now && !is_delayed(t) && !t->parked && !t->held)
			{
				t->next_time = ev->now;
				u->changed = true;
			}
			return DTM_ACCEPTED;

		case DTM_EVENT_ABORT:
			return protocol->abort(t, ev, u);

		case DTM_EVENT_REGISTER:
			if (!dtm_core_has_branches(t->type))
				return DTM_REJECT_TYPE;
			return t->status == DTM_PREPARED ? DTM_ACCEPTED : DTM_REJECT_STATUS;

		case DTM_EVENT_FORCE_STOP:
			if (dtm_core_is_final(t->status))
				return DTM_REJECT_STATUS;
			if (ev->text != NULL)
				dtm_core_set_reason(t, ev->text, u);
			dtm_core_enter(t, DTM_FAILED, ev->now, u);
			t->stopped = true;
			return DTM_ACCEPTED;

		case DTM_EVENT_EDIT:
			if (dtm_core_is_final(t->status))
				return DTM_REJECT_STATUS;
			/* what has failed is tried with the change; a delay stays */
			if (t->failures > 0 && t->next_time != DTM_TIME_NEVER)
				t->next_time = ev->now;
			u->changed = true;
			return DTM_ACCEPTED;

		case DTM_EVENT_SKIP:
			return skip(t, protocol, cfg, ev, u);

		case DTM_EVENT_BRING_FORWARD:
			return bring_forward(t, ev->now, u);

		case DTM_EVENT_RETRY_NOW:
			if (dtm_core_is_final(t->status))
				return DTM_REJECT_STATUS;
			retry_now(t, ev->now, u);
			return DTM_ACCEPTED;

		case DTM_EVENT_RESUME:
			if (dtm_core_is_final(t->status) || !t->parked)
				return DTM_REJECT_STATUS;
			dtm_core_unpark(t, ev->now, u);
			return DTM_ACCEPTED;

		case DTM_EVENT_COMPLETE:
			return dtm_core_complete(t, protocol, cfg, ev, u);

		case DTM_EVENT_WAKE:
		case DTM_EVENT_REPLY:
			break;
	}
	assert(false);
	return DTM_REJECT_TYPE;
}

void
dtm_core_step(DtmTrans *t, const DtmConfig *cfg, const DtmEvent *ev,
			  DtmUpdate *u)
{
	const DtmProtocol *protocol = protocol_of(t->type);

	assert(protocol != NULL);
	u->changed = false;
	u->keeps = false;
	u->reject = DTM_ACCEPTED;
	u->alert_op = DTM_NO_ALERT;
	u->alert_failures = 0;
	u->gave_up = DTM_GAVE_UP_NOTHING;
	u->ncalls = 0;

	if (ev->kind != DTM_EVENT_WAKE && ev->kind != DTM_EVENT_REPLY)
	{
		u->reject = request(t, protocol, cfg, ev, u);
		return;
	}

	if (dtm_core_is_final(t->status))
		return;
	if (ev->kind == DTM_EVENT_WAKE)
		wake(t, ev->now);
	else
		reply(t, protocol, cfg, ev, u);
	if (!dtm_core_is_final(t->status) && !t->parked)
		protocol->advance(t, cfg, ev, u);
	if (!dtm_core_is_final(t->status))
		dtm_core_schedule_held(t, ev->now, u);
	assert(u->ncalls <= t->nops + 1);
	assert(u->ncalls == 0 || !dtm_core_is_final(t->status));
}

void
dtm_core_enter(DtmTrans *t, DtmStatus status, DtmTime now, DtmUpdate *u)
{
	/* One decision: no way leads back, nor from one side to the other. */
	assert(!dtm_core_is_final(t->status));
	assert(t->status != DTM_ABORTING || status == DTM_FAILED);
	assert(t->status != DTM_SUBMITTED || status != DTM_PREPARED);

	t->status = status;
	t->next_time = dtm_core_is_final(status) ? DTM_TIME_NEVER : now;
	t->parked = false;			/* somebody has decided */
	t->failures = 0;
	t->ongoing_since = 0;
	t->query_waiting = false;
	t->round_failed = false;
	for (int i = 0; i < t->nops; i++)
		t->ops[i].waiting = false;
	dtm_core_forget_held(t);
	u->changed = true;
	u->ncalls = 0;
}

DtmTime
dtm_core_overdue_at(const DtmTrans *t, const DtmConfig *cfg)
{
	return dtm_core_after(t->created, t->timeout_to_fail > 0 ?
						  t->timeout_to_fail : cfg->timeout_to_fail);
}

void
dtm_core_submit(DtmTrans *t, DtmTime now, DtmUpdate *u)
{
	dtm_core_enter(t, DTM_SUBMITTED, now, u);
	if (t->held)
	{
		t->next_time = dtm_core_held_until(t);
		return;
	}
	if (t->delay == 0)
		return;
	/* MS-10: the delay counts from here */
	t->next_time = dtm_core_after(now, t->delay);
	for (int i = 0; i < t->nops; i++)
		t->ops[i].waiting = true;
}

DtmTime
dtm_core_held_until(const DtmTrans *t)
{
	return t->type == DTM_SAGA && t->timeout_to_fail > 0 ?
		dtm_core_after(t->created, t->timeout_to_fail) : DTM_TIME_NEVER;
}

void
dtm_core_set_reason(DtmTrans *t, const char *text, DtmUpdate *u)
{
	size_t		len = strlen(text);

	if (len >= DTM_REASON_SIZE)
	{
		len = DTM_REASON_SIZE - 1;
		while (len > 0 && ((unsigned char) text[len] & 0xC0) == 0x80)
			len--;
	}
	memmove(u->reason, text, len);
	u->reason[len] = '\0';
	t->reason = u->reason;
}

void
dtm_core_timeout_reason(DtmTrans *t, int64_t limit, DtmUpdate *u)
{
	char		fraction[8] = "";
	int			len;

	len = snprintf(fraction, sizeof(fraction), ".%06d", (int) (limit % DTM_USEC_PER_SEC));
	while (len > 0 && (fraction[len - 1] == '0' || fraction[len - 1] == '.'))
		fraction[--len] = '\0';
	/* dtm's words, which clients match: they stay as they are */
	snprintf(u->reason, sizeof(u->reason), "Timeout after %lld%s seconds",
			 (long long) (limit / DTM_USEC_PER_SEC), fraction);
	t->reason = u->reason;
}

void
dtm_core_branch_succeeded(DtmTrans *t, DtmBranchOp *op, DtmUpdate *u)
{
	op->status = DTM_BRANCH_SUCCEED;
	t->failures = 0;			/* */
	t->ongoing_since = 0;
	u->changed = true;
}

int64_t
dtm_core_interval(const DtmTrans *t, const DtmConfig *cfg, int op)
{
	const DtmStepPolicy *policy = dtm_core_policy_of(t, op);
	int64_t		interval = cfg->retry_interval;
	int64_t		cap = cfg->retry_interval_max;
	int64_t		least = cfg->retry_interval < DTM_MIN_RETRY_INTERVAL ?
		cfg->retry_interval : DTM_MIN_RETRY_INTERVAL;

	if (policy != NULL && policy->retry_interval > 0)
		interval = policy->retry_interval;
	else if (t->retry_interval > 0)
		interval = t->retry_interval;
	else if (t->timeout_to_fail > 0 && t->timeout_to_fail < interval)
		interval = t->timeout_to_fail;
	if (interval < least)
		interval = least;
	/* a transaction's own interval may be longer than the cap */
	for (int i = 0; i < t->failures && interval < cap; i++)
		interval = interval > cap / 2 ? cap : interval * 2;
	return interval;
}

/* So many 65536ths of a time; the product may be more than an int64 holds. */
static int64_t
part_of(int64_t us, uint32_t parts)
{
	return us / 65536 * parts + us % 65536 * parts / 65536;
}

/*
 * Not before the time that the response asks for, up to the longest interval; up to
 * an eighth later, because others were asked to wait for the same time.  0: it does
 * not ask.
 */
static DtmTime
asked_until(const DtmConfig *cfg, const DtmEvent *ev)
{
	int64_t		most = cfg->retry_interval_max;
	int64_t		wait = ev->retry_after < most ? ev->retry_after : most;

	if (wait <= 0)
		return 0;
	wait += part_of(wait / 8, ev->jitter >> 16);
	return dtm_core_after(ev->now, wait < most ? wait : most);
}

void
dtm_core_retry_later(DtmTrans *t, const DtmConfig *cfg, const DtmEvent *ev,
					 bool *waiting, DtmUpdate *u)
{
	bool		own = t->policy != NULL;
	bool		grow = ev->result != DTM_RESULT_ONGOING && !t->round_failed;
	bool		is_first;
	DtmTime		until = asked_until(cfg, ev);

	*waiting = true;
	if (until != 0 && ev->op != DTM_CALL_QUERY)
		dtm_core_wait_until(t, ev->op, until, u);
	if (ev->result == DTM_RESULT_ONGOING && t->ongoing_since == 0)
	{
		t->ongoing_since = ev->now;
		u->changed = true;
	}
	if (t->parked)
		return;					/* until it is resumed */

	/*
	 * Branches that run at the same time share one interval, and it doubles
	 * once a round however many of them fail.  They are called again
	 * together: where steps have intervals of their own, the longest counts.
	 * What waits for a time of its own has no part in that.
	 */
	is_first = t->next_time <= ev->now || dtm_core_owns_next_time(t, ev->op, ev->now);
	if (grow)
	{
		t->round_failed = true;
		if (t->failures < UINT16_MAX)
			t->failures++;
	}
	if (grow || own || is_first)
	{
		int64_t		interval = dtm_core_interval(t, cfg, ev->op);
		DtmTime		next_time;

		/*
		 * Up to an eighth earlier, so that transactions that failed together
		 * are not retried together.
		 */
		interval -= part_of(interval / 8, ev->jitter >> 16);
		next_time = dtm_core_after(ev->now, interval);
		if (is_first || next_time > t->next_time || (grow && !own))
		{
			t->next_time = next_time;
			u->changed = true;
		}
	}
	if (ev->op == DTM_CALL_QUERY && t->next_time < until)
	{
		t->next_time = until;
		u->changed = true;
	}
	if (grow && t->failures >= cfg->alert_retry_limit)
	{
		u->alert_op = ev->op;
		u->alert_failures = t->failures;
	}
}

void
dtm_core_call_op(DtmTrans *t, int op, DtmUpdate *u)
{
	if (t->ops[op].running || t->ops[op].waiting)
		return;
	t->ops[op].running = true;
	u->calls[u->ncalls++] = op;
}
