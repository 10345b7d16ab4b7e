/*
 * webhook.c
 *		The alert webhook (§5.5): a POST whose response is ignored.
 *
 * It is a call like that of a branch, so that it does not block the turn, but
 * it belongs to no entry.
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
		  const char *error, int failures)
{
	MemoryContext context = CurrentMemoryContext;
	char	   *volatile body = NULL;

	PG_TRY();
	{
		char	   *made;

		turn_begin(c);
		MemoryContextSwitchTo(context);
		made = outcome_alert_body(trans, url, error, failures);
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
			 const char *error, int failures)
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
	body = make_body(c, trans, url, error, failures);
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
webhook_done(Coordinator *c, Call *call)
{
	c->nwebhooks--;
	if (!call->answered)
		ereport(LOG,
				(errmsg("could not call dtm.alert_webhook: %s", call->text)));
	call_free(call);
}
