/*
 * webhook.c
 *		With dtm.alert_each, the webhook for each transaction that needs a person
 *		(§5.5): a POST whose response is ignored.
 *
 * It is a call like that of a branch, so that it does not block the turn, but
 * it belongs to no entry.
 */
#include "private.h"

/* Webhook calls under way or waiting; more alerts than that go unsaid. */
#define MAX_WEBHOOKS 1000

/*
 * The call, in a memory context of its own, because it outlives the turn; NULL if it
 * can't be made.  In a transaction: servers are looked up, and where the server's
 * encoding is another one than UTF-8, the conversion is.
 */
static Call *
make_call(Coordinator *c, const Transaction *trans, const OutcomeAlert *alert)
{
	MemoryContext before = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(c->context, "dtm webhook",
												  ALLOCSET_SMALL_SIZES);
	Call	   *volatile call = NULL;

	PG_TRY();
	{
		char	   *url;
		char	   *body;
		Call	   *made;

		turn_begin(c);
		MemoryContextSwitchTo(context);
		url = pstrdup(dtm_alert_webhook);
		body = outcome_alert_body(trans, alert);
		made = call_make_post_aside(url, dtm_extension_owner(), body, strlen(body),
									dtm_request_timeout);
		turn_commit(c);
		call = made;
	}
	PG_CATCH();
	{
		EmitErrorReport();
		FlushErrorState();
		turn_roll_back(c);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(before);
	if (call == NULL)
		MemoryContextDelete(context);
	return call;
}

static void
send_one(Coordinator *c, const Transaction *trans, const OutcomeAlert *alert)
{
	Call	   *call;

	if (!dtm_alert_each || dtm_alert_webhook[0] == '\0')
		return;
	if (c->nwebhooks >= MAX_WEBHOOKS)
	{
		ereport(LOG,
				(errmsg("too many pending alerts; alert for global transaction \"%s\" was dropped",
						trans->gid)));
		return;
	}
	call = make_call(c, trans, alert);
	if (call == NULL)
		return;
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
	MemoryContext context = GetMemoryChunkContext(call);

	c->nwebhooks--;
	if (!call->answered)
		ereport(LOG,
				(errmsg("could not call dtm.alert_webhook: %s", call->text)));
	call_free(call);
	MemoryContextDelete(context);
}
