/*
 * workflow.c
 *		Workflows: the client runs the steps and registers their results; its
 *		submit contains the final status (§1.2, §1.3).
 *
 * Op n is the n-th registered result; it is never called.  Only the client's
 * callback is called, until the client has submitted: it continues the
 * workflow after an interruption.
 */
#include "protocol.h"

static DtmTime
workflow_prepared_until(const DtmTrans *t, const DtmConfig *cfg)
{
	return t->has_query_url ?
		dtm_core_after(t->created, dtm_core_interval(t, cfg, DTM_CALL_QUERY)) : DTM_TIME_NEVER;
}

static void
workflow_advance(DtmTrans *t, const DtmConfig *cfg, const DtmEvent *ev,
				 DtmUpdate *u)
{
	(void) cfg;
	(void) ev;
	if (t->status != DTM_PREPARED)
		return;
	if (t->has_query_url)
	{
		if (!t->query_running && !t->query_waiting)
		{
			t->query_running = true;
			u->calls[u->ncalls++] = DTM_CALL_QUERY;
		}
	}
	else if (t->next_time != DTM_TIME_NEVER)
	{
		/* nobody to be called; dtm_retry_now does not change that */
		t->next_time = DTM_TIME_NEVER;
		u->changed = true;
	}
}

/*
 * Whatever the client answers, it is the submit that counts (§6.3).  It is
 * called again after the base interval; after errors with exponential
 * back-off, which dtm does not have here.
 */
static void
workflow_reply(DtmTrans *t, const DtmConfig *cfg, const DtmEvent *ev,
			   DtmUpdate *u)
{
	DtmEvent	again = *ev;

	if (ev->op != DTM_CALL_QUERY || t->status != DTM_PREPARED)
		return;
	if (ev->result == DTM_RESULT_SUCCESS || ev->result == DTM_RESULT_ONGOING)
	{
		again.result = DTM_RESULT_ONGOING;
		t->failures = 0;
	}
	dtm_core_not_done(t, cfg, &again, &t->query_waiting, u);
}

static DtmReject
workflow_submit(DtmTrans *t, const DtmEvent *ev, DtmUpdate *u)
{
	if (t->status != DTM_PREPARED)
		return DTM_REJECT_STATUS;	/* */
	if (ev->text != NULL)
		dtm_core_set_reason(t, ev->text, u);
	dtm_core_enter(t, ev->succeeded ? DTM_SUCCEED : DTM_FAILED, ev->now, u);
	return DTM_ACCEPTED;
}

static DtmReject
workflow_abort(DtmTrans *t, const DtmEvent *ev, DtmUpdate *u)
{
	(void) t;
	(void) ev;
	(void) u;
	return DTM_REJECT_TYPE;		/* §1.3 */
}

const DtmProtocol dtm_workflow_protocol = {
	.prepared_until = workflow_prepared_until,
	.advance = workflow_advance,
	.reply = workflow_reply,
	.submit = workflow_submit,
	.abort = workflow_abort
};
