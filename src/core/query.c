/*
 * query.c
 *		The query-back: whether the local transaction of a prepared msg or saga,
 *		whose submit is overdue, has committed.
 */
#include "protocol.h"

void
dtm_core_query_back(DtmTrans *t, DtmTime until, const DtmEvent *ev, DtmUpdate *u)
{
	if (ev->now < until)
	{
		if (t->next_time < until)
		{
			t->next_time = until;	/* dtm_retry_now came too early */
			u->changed = true;
		}
	}
	else if (!t->query_running && !t->query_waiting)
	{
		t->query_running = true;
		u->calls[u->ncalls++] = DTM_CALL_QUERY;
	}
}

void
dtm_core_query_reply(DtmTrans *t, const DtmConfig *cfg, const DtmEvent *ev,
					 DtmUpdate *u)
{
	if (t->status != DTM_PREPARED)
		return;					/* it was submitted, or ended, meanwhile */
	switch (ev->result)			/* */
	{
		case DTM_RESULT_SUCCESS:
			dtm_core_submit(t, ev->now, u);
			break;
		case DTM_RESULT_FAILURE:
			dtm_core_enter(t, DTM_FAILED, ev->now, u);
			break;
		case DTM_RESULT_ONGOING:
			t->failures = 0;	/* back to the base interval */
			dtm_core_retry_later(t, cfg, ev, &t->query_waiting, u);
			break;
		case DTM_RESULT_TEMPORARY:
		case DTM_RESULT_PERMANENT:
			dtm_core_not_done(t, cfg, ev, &t->query_waiting, u);
			break;
	}
}
