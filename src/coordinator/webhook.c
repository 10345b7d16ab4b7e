/*
 * webhook.c
 *		The alert webhook (§5.5): a POST whose response is ignored.
 *
 * It is a call like that of a branch, so that it does not block the turn, but
 * it belongs to no entry.
 */
#include "private.h"

/* Webhook calls under way or waiting; more alerts than that go unsaid. */
#define MAX_WEBHOOKS 1000

/*
 * The body, in the current memory context; NULL if it can't be made.  In a
 * transaction: where the server's encoding is another one, the conversion is
 * looked up.
 */
static char *
make_body(Coordinator *c, const Transaction *trans, const OutcomeAlert *alert)
{
	MemoryContext context = CurrentMemoryContext;
	char	   *volatile body = NULL;

	PG_TRY();
	{
		char	   *made;

		turn_begin(c);
		MemoryContextSwitchTo(context);
		made = outcome_alert_body(trans, alert);
		turn_commit(c);
		body = made;
	}
	PG_CATCH();
	{
		EmitErrorReport();
		FlushErrorState();
		turn_roll_back(c);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	return body;
}

static void
send_one(Coordinator *c, const Transaction *trans, const OutcomeAlert *alert)
{
	MemoryContext before;
	char	   *body;
	Call	   *call;

	if (dtm_alert_webhook[0] == '\0')
		return;
	if (c->nwebhooks >= MAX_WEBHOOKS)
	{
		ereport(LOG,
				(errmsg("too many pending alerts; alert for global transaction \"%s\" was dropped",
						trans->gid)));
		return;
	}
	body = make_body(c, trans, alert);
	if (body == NULL)
		return;
	/* the call outlives the transaction */
	before = MemoryContextSwitchTo(c->context);
	call = call_make_post(dtm_alert_webhook, body, dtm_request_timeout);
	MemoryContextSwitchTo(before);
	c->nwebhooks++;
	call_start(&c->calls, call);
}

void
webhook_send(Coordinator *c, const Transaction *trans, const OutcomeAlert *alerts)
{
	for (const OutcomeAlert *alert = alerts; alert != NULL; alert = alert->next)
		send_one(c, trans, alert);
}

typedef struct PutOff
{
	const Transaction *trans;
	const OutcomeAlert *alerts;
} PutOff;

void
webhook_send_later(Coordinator *c, const Transaction *trans, const OutcomeAlert *alerts)
{
	PutOff	   *put_off = palloc(sizeof(PutOff));

	put_off->trans = trans;
	put_off->alerts = alerts;
	c->put_off = lappend(c->put_off, put_off);
}

void
webhook_send_put_off(Coordinator *c)
{
	ListCell   *cell;

	foreach(cell, c->put_off)
	{
		const PutOff *put_off = lfirst(cell);

		webhook_send(c, put_off->trans, put_off->alerts);
	}
	c->put_off = NIL;
}

void
webhook_forget_put_off(Coordinator *c)
{
	c->put_off = NIL;
}

void
webhook_done(Coordinator *c, Call *call)
{
	c->nwebhooks--;
	if (!call->answered)
		ereport(LOG,
				(errmsg("could not call dtm.alert_webhook: %s", call->text)));
	call_free(call);
}
