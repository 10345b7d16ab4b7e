/*
 * hook.c
 *		Tells the webhook of alerts; see hook.h.
 */
#include "alert/hook.h"

#include "clock.h"
#include "endpoint/endpoint.h"
#include "settings.h"
#include "store/store.h"
#include "text/utf8.h"

#include "utils/memutils.h"

/* Pause before a message is sent again, in ms. */
#define PAUSE_MIN	1000
#define PAUSE_MAX	300000

/* Of the response, nothing is read but the status. */
#define MAX_REPLY	(64 * 1024)

void
hook_init(Hook *hook, MemoryContext context)
{
	memset(hook, 0, sizeof(*hook));
	hook->context = AllocSetContextCreate(context, "dtm alert webhook",
										  ALLOCSET_SMALL_SIZES);
}

void
hook_expect(Hook *hook)
{
	hook->unsent = true;
}

bool
hook_is_idle(const Hook *hook)
{
	return !hook->unsent && !hook->sending;
}

static void
set_limits(Hook *hook, DtmTransportLimits *limits)
{
	char		problem[200];

	memset(limits, 0, sizeof(*limits));
	limits->max_requests = 1;
	limits->max_requests_per_host = 1;
	limits->max_reply_size = MAX_REPLY;
	limits->max_reply_bytes = MAX_REPLY;
	limits->ca_file = dtm_ca_file;
	/* the setting has been checked */
	(void) dtm_address_list_parse(dtm_forbidden_addresses, &limits->forbidden,
								  problem, sizeof(problem));
}

/* False: it could not be made, which is logged. */
static bool
make_transport(Hook *hook)
{
	DtmTransportLimits limits;
	char		error[256];

	if (hook->transport != NULL)
		return true;
	set_limits(hook, &limits);
	hook->transport = dtm_transport_create(&limits, error, sizeof(error));
	if (hook->transport == NULL)
		ereport(WARNING,
				(errcode(ERRCODE_SYSTEM_ERROR),
				 errmsg("could not initialize calls of dtm.alert_webhook: %s", error)));
	return hook->transport != NULL;
}

void
hook_reconfigure(Hook *hook)
{
	DtmTransportLimits limits;

	hook->not_before = 0;
	if (hook->transport == NULL)
		return;
	set_limits(hook, &limits);
	dtm_transport_set_limits(hook->transport, &limits);
}

/* It is tried again; the first of several failures in a row is logged. */
static void
fall_back(Hook *hook, const char *problem)
{
	if (hook->pause == 0)
		ereport(LOG,
				(errmsg("could not call dtm.alert_webhook: %s", problem),
				 errhint("The message is sent again and again until the webhook takes it; this is logged once.")));
	hook->pause = hook->pause == 0 ? PAUSE_MIN : Min(hook->pause * 2, PAUSE_MAX);
	hook->not_before = clock_monotonic() + hook->pause * INT64CONST(1000);
	hook->unsent = true;
}

/* The request of the next message; false: there is none, or it can't be sent now. */
static bool
make_call(Hook *hook)
{
	StoreAlert	alert;
	const char *problem = NULL;
	bool		found;

	dtm_call_clear(&hook->call);
	store_begin(STORE_WORKER);
	MemoryContextSwitchTo(hook->context);
	found = store_next_alert(&alert);
	if (found)
	{
		hook->alert = alert.id;
		hook->is_over = alert.over;
		hook->call.body = pstrdup(utf8_of(utf8_or_marks(alert.payload)));
		hook->call.body_len = strlen(hook->call.body);
		hook->call.timeout = dtm_request_timeout * INT64CONST(1000);
		hook->call.status_is_enough = true;
		(void) endpoint_post(pstrdup(dtm_alert_webhook), dtm_extension_owner(),
							 &hook->call, &problem);
	}
	store_commit(STORE_WORKER);
	if (problem != NULL)
		fall_back(hook, problem);
	else
		hook->unsent = found;
	return found && problem == NULL;
}

/* One that was under way has ended. */
static void
take_end(Hook *hook)
{
	DtmCall    *call = dtm_transport_reap(hook->transport);
	StoreAlert	alert = {.id = hook->alert, .over = hook->is_over};

	if (call == NULL)
		return;
	hook->sending = false;
	if (call->http_status / 100 == 2)
	{
		store_begin(STORE_WORKER);
		store_alert_sent(&alert);
		store_commit(STORE_WORKER);
		if (hook->pause > 0)
			ereport(LOG, (errmsg("dtm.alert_webhook takes messages again")));
		hook->pause = 0;
	}
	else if (call->http_status != 0)
		fall_back(hook, psprintf("it responds with status %d", call->http_status));
	else
		fall_back(hook, call->error);
	dtm_call_release(call);
	MemoryContextReset(hook->context);
}

void
hook_drive(Hook *hook)
{
	MemoryContext before = CurrentMemoryContext;

	if (hook->sending)
	{
		dtm_transport_drive(hook->transport);
		take_end(hook);
	}
	else if (hook->unsent && dtm_alert_webhook[0] == '\0')
		hook->unsent = false;
	if (!hook->sending && hook->unsent && hook->not_before <= clock_monotonic() &&
		make_transport(hook))
	{
		MemoryContextReset(hook->context);
		if (make_call(hook))
		{
			hook->sending = true;
			dtm_transport_submit(hook->transport, &hook->call);
			dtm_transport_drive(hook->transport);
		}
	}
	MemoryContextSwitchTo(before);
}

int
hook_fd(const Hook *hook)
{
	return hook->sending ? dtm_transport_fd(hook->transport) : -1;
}

long
hook_timeout(const Hook *hook)
{
	int64		us = -1;

	if (hook->sending)
		us = dtm_transport_due_in(hook->transport);
	else if (hook->unsent)
		us = Max(hook->not_before - clock_monotonic(), 0);
	return us < 0 ? -1 : (long) Min((us + 999) / 1000, PG_INT32_MAX / 2);
}
