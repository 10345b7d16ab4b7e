/*
 * webhook.c
 *		The alert webhook (§5.5): a POST that nobody waits for.
 *
 * It goes through the transport like a call of a branch, so that it slows
 * nothing down, and its answer is ignored.
 */
#include "private.h"

#include "outcome.h"

/* Webhook calls under way or waiting; more alerts than that go unsaid. */
#define MAX_WEBHOOKS 1000

/*
 * The body, in the current memory context; NULL if it can't be made.  In a
 * transaction: where the server's encoding is another one, the conversion is
 * looked up.
 */
static char *
make_body(Coordinator *c, const Transaction *trans, const char *url,
		  const char *error)
{
	MemoryContext context = CurrentMemoryContext;
	char	   *volatile body = NULL;

	PG_TRY();
	{
		char	   *made;

		turn_begin(c);
		MemoryContextSwitchTo(context);
		made = outcome_alert_body(trans, url, error);
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

void
webhook_send(Coordinator *c, const Transaction *trans, const char *url,
			 const char *error)
{
	MemoryContext before;
	EntryCall  *call;
	char	   *body;

	if (dtm_alert_webhook[0] == '\0')
		return;
	if (c->nwebhooks >= MAX_WEBHOOKS)
	{
		ereport(LOG,
				(errmsg("dtm.alert_webhook does not answer: it is not told of global transaction \"%s\"",
						trans->gid)));
		return;
	}
	body = make_body(c, trans, url, error);
	if (body == NULL)
		return;
	before = MemoryContextSwitchTo(c->context);
	call = palloc0(sizeof(EntryCall));
	call->kind = WIRE_HTTP;
	call->call.owner = NULL;
	call->call.url = pstrdup(dtm_alert_webhook);
	call->call.post = true;
	call->call.body = pstrdup(body);
	call->call.body_len = strlen(call->call.body);
	call->call.timeout = (int64) dtm_request_timeout * 1000;
	MemoryContextSwitchTo(before);
	c->nwebhooks++;
	dtm_transport_submit(c->transport, &call->call);
}

void
webhook_done(Coordinator *c, EntryCall *call)
{
	c->nwebhooks--;
	if (call->call.http_status == 0)
		ereport(LOG,
				(errmsg("dtm.alert_webhook could not be called: %s", call->call.error)));
	dtm_call_release(&call->call);
	pfree(unconstify(char *, call->call.url));
	pfree(unconstify(char *, call->call.body));
	pfree(call);
}
