/*
 * outcome.c
 *		The path from an event to its effects; see outcome.h.
 */
#include "outcome.h"

#include "notice.h"
#include "process/looks.h"
#include "process/metrics.h"
#include "process/shmem.h"
#include "settings.h"
#include "store/store.h"
#include "text/utf8.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/*
 * Bytes of the URL and of the error in a NOTIFY, whose payload has to be
 * shorter than 8000 bytes even if each of them is escaped.
 */
#define MAX_NOTIFY_TEXT 500

static void
append_string(StringInfo json, const char *key, const char *value, size_t max)
{
	/* core cuts between bytes: a character may have lost its end */
	int			len = pg_mbcliplen(value, (int) strlen(value),
								   (int) Min(strlen(value), max));

	appendStringInfo(json, "%s\"%s\":", json->len == 0 ? "{" : ",", key);
	escape_json(json, pnstrdup(value, len));
}

static char *
alert_json(const Transaction *trans, const OutcomeAlert *alert, size_t max)
{
	StringInfoData json;

	initStringInfo(&json);
	append_string(&json, "gid", trans->gid, max);
	append_string(&json, "status", dtm_status_name(trans->core.status), max);
	append_string(&json, "branch", alert->url, max);
	append_string(&json, "error", alert->error, max);
	appendStringInfo(&json, ",\"retry_count\":%d", alert->failures);
	/* one that fails has what dtm sends, and no more */
	if (alert->news != OUTCOME_FAILING)
		append_string(&json, "event",
					  alert->news == OUTCOME_PARKED ? "parked" : "discarded", max);
	appendStringInfoChar(&json, '}');
	return json.data;
}

char *
outcome_alert_body(const Transaction *trans, const OutcomeAlert *alert)
{
	return pstrdup(utf8_of(utf8_or_marks(alert_json(trans, alert, MaxAllocSize))));
}

/*
 * A transaction has failed so often that somebody should look.  It may have gone
 * on since, and even have ended, in the same turn.
 */
static void
log_failing(const Transaction *trans, const OutcomeAlert *alert)
{
	ereport(WARNING,
			(errmsg_plural("global transaction \"%s\" has failed %d time in a row",
						   "global transaction \"%s\" has failed %d times in a row",
						   alert->failures,
						   trans->gid, alert->failures),
			 errdetail("The last response of \"%s\" was: %s", alert->url, alert->error),
			 dtm_core_is_final(trans->core.status) ?
			 errhint("The global transaction has ended since then, with status %s.",
					 dtm_status_name(trans->core.status)) :
			 trans->core.next_time == DTM_TIME_NEVER ?
			 errhint("To retry it, call dtm_retry_now().") :
			 errhint("The global transaction will be retried at %s. To retry it now, call dtm_retry_now().",
					 timestamptz_to_str(trans->core.next_time))));
}

/* Of this one alone, as the dtm server tells of it (dtm.alert_each). */
static void
tell_each(const Transaction *trans, const OutcomeAlert *alert)
{
	store_notify(OUTCOME_ALERT_CHANNEL,
				 alert_json(trans, alert, MAX_NOTIFY_TEXT));
	switch (alert->news)
	{
		case OUTCOME_FAILING:
			log_failing(trans, alert);
			break;
		case OUTCOME_PARKED:
			ereport(WARNING,
					(errmsg("global transaction \"%s\" is parked: %s",
							trans->gid, alert->error),
					 errhint("When the cause is gone, resume it with dtm_resume(gid), or end it with dtm_force_stop(gid). dtm.parked lists all such transactions.")));
			break;
		case OUTCOME_DISCARDED:
			ereport(WARNING,
					(errmsg("a step of message \"%s\" was discarded: %s",
							trans->gid, alert->error),
					 errdetail("The URL of the step is \"%s\".", alert->url),
					 errhint("dtm.dead_letters lists all such steps, with their payloads.")));
			break;
	}
}

static void
tell_alert(const Transaction *trans, const OutcomeAlert *alert, TimestampTz now)
{
	if (alert->news == OUTCOME_DISCARDED)
		store_add_dead_letter(trans->id, alert->op, alert->error, now);
	if (dtm_alert_each)
		tell_each(trans, alert);
	/* an alert for all that have the same cause (process/alerter.c) */
	looks_ask_at_commit();
}

/* Does it wait for a branch that has answered ONGOING for too long? */
static bool
is_ongoing_for_long(const Transaction *trans, TimestampTz now)
{
	return trans->core.ongoing_since != 0 &&
		now - trans->core.ongoing_since >= dtm_stuck_after * INT64CONST(1000) &&
		!dtm_core_is_final(trans->core.status);
}

static char *
finished_json(const Transaction *trans, size_t max)
{
	StringInfoData json;

	initStringInfo(&json);
	append_string(&json, "gid", trans->gid, max);
	append_string(&json, "trans_type", dtm_trans_type_name(trans->core.type), max);
	append_string(&json, "status", dtm_status_name(trans->core.status), max);
	append_string(&json, "rollback_reason", trans->core.reason, max);
	appendStringInfoChar(&json, '}');
	return json.data;
}

/*
 * A coordinator is in a transaction of its own, which is never prepared.  The end
 * of a message that notice.c has left to it notifies of another's end.
 */
static void
notify_end(const Transaction *trans, bool is_driver)
{
	char	   *payload = finished_json(trans, MAX_NOTIFY_TEXT);

	if (!is_driver)
		notice_at_commit(payload, OidIsValid(trans->submitted_by) ?
						 trans->submitted_by : GetUserId());
	else
		store_notify(NOTICE_FINISHED_CHANNEL,
					 trans->core.type == DTM_MSG && trans->result != NULL ?
					 trans->result : payload);
}

/*
 * It has just been written as final.  The message to on_finish is submitted in
 * the same commit; its id goes to the driver, or is announced at the commit.
 */
static void
tell_end(const Transaction *trans, TimestampTz now, const OutcomeDriver *driver)
{
	Transaction *message;
	DtmConfig	config;

	if (trans->notify)
		notify_end(trans, driver != NULL);
	if (trans->on_finish == NULL || trans->on_finish[0] == '\0')
		return;
	dtm_core_config(&config);
	message = transaction_message(trans->on_finish,
								  utf8_or_marks(finished_json(trans, MaxAllocSize)),
								  trans->submitted_by, &config, now);
	message->fairness_key = trans->fairness_key;
	message->parent = trans->gid;
	/* its gid is a fresh one: false is not to be expected */
	if (!store_insert(message))
		return;
	if (driver == NULL || !driver->take(driver->arg, message->id))
		dtm_announce(message->id, message->core.next_time);
}

void
outcome_init(Outcome *outcome, const Transaction *trans)
{
	memset(outcome, 0, sizeof(*outcome));
	outcome->calls = palloc(sizeof(int) * (trans->core.nops + 1));
}

/* Of an op or the whole, in the memory of the outcome. */
static void
add_alert(Outcome *outcome, OutcomeNews news, int op, const char *url,
		  const char *error, int failures)
{
	MemoryContext context = GetMemoryChunkContext(outcome->calls);
	OutcomeAlert *alert = MemoryContextAlloc(context, sizeof(OutcomeAlert));

	alert->news = news;
	alert->op = op;
	alert->url = MemoryContextStrdup(context, url);
	alert->error = MemoryContextStrdup(context, error);
	alert->failures = failures;
	alert->next = outcome->alerts;
	outcome->alerts = alert;
}

/* Of several failures of one turn, the last is told. */
static void
drop_failing(Outcome *outcome)
{
	OutcomeAlert **link = &outcome->alerts;

	while (*link != NULL)
		if ((*link)->news == OUTCOME_FAILING)
			*link = (*link)->next;
		else
			link = &(*link)->next;
}

/* It is parked from now on; that it fails is said with it. */
static void
note_parked(Outcome *outcome, Transaction *trans, int op, const char *url,
			const char *reason, TimestampTz now)
{
	trans->parked_since = now;
	trans->parked_op = op;
	trans->parked_reason = MemoryContextStrdup(GetMemoryChunkContext(outcome->calls),
											   reason);
	drop_failing(outcome);
	add_alert(outcome, OUTCOME_PARKED, op, url, reason, trans->core.failures);
}

/* Core has given up the op of an event. */
static void
give_up(Outcome *outcome, Transaction *trans, const DtmUpdate *update,
		const DtmEvent *event)
{
	int			attempts = event->op == DTM_CALL_QUERY ? 0 :
		trans->core.ops[event->op].attempts;
	char	   *reason = NULL;

	switch (update->cause)
	{
		case DTM_CAUSE_ATTEMPTS:
			reason = psprintf("failed (attempts: %d): %s", attempts, event->text);
			break;
		case DTM_CAUSE_FAILURE:
			reason = psprintf("permanent failure: %s", event->text);
			break;
		case DTM_CAUSE_PERMANENT:
			reason = psprintf("it cannot be called: %s", event->text);
			break;
	}
	if (update->gave_up == DTM_GAVE_UP_PARKED)
		note_parked(outcome, trans, event->op, event->url, reason, event->now);
	else
		add_alert(outcome, OUTCOME_DISCARDED, event->op, event->url, reason, attempts);
}

DtmReject
outcome_decide(Outcome *outcome, Transaction *trans, const DtmConfig *config,
			   const DtmEvent *event)
{
	MemoryContext context = GetMemoryChunkContext(outcome->calls);
	bool		was_parked = trans->core.parked;
	DtmUpdate	update;

	update.calls = outcome->calls;
	dtm_core_step(&trans->core, config, event, &update);
	if (trans->core.reason == update.reason)
		trans->core.reason = MemoryContextStrdup(context, update.reason);
	outcome->ncalls = update.ncalls;
	outcome->changed = outcome->changed || update.changed;
	outcome->keeps = update.keeps;
	outcome->unparked = outcome->unparked || (was_parked && !trans->core.parked &&
											  !dtm_core_is_final(trans->core.status));
	if (update.alert_op != DTM_NO_ALERT)
	{
		drop_failing(outcome);
		add_alert(outcome, OUTCOME_FAILING, event->op, event->url, event->text,
				  update.alert_failures);
	}
	if (update.gave_up != DTM_GAVE_UP_NOTHING)
		give_up(outcome, trans, &update, event);
	return update.reject;
}

void
outcome_park(Outcome *outcome, Transaction *trans, int op, const char *url,
			 const char *reason, TimestampTz now)
{
	if (trans->core.parked)
		return;
	dtm_core_park(&trans->core);
	outcome->changed = true;
	note_parked(outcome, trans, op, url, reason, now);
}

static const MetricsAlert metrics_of[] = {
	[OUTCOME_FAILING] = METRICS_ALERT_FAILING,
	[OUTCOME_PARKED] = METRICS_ALERT_PARKED,
	[OUTCOME_DISCARDED] = METRICS_ALERT_DISCARDED
};

void
outcome_tell(const Outcome *outcome, const Transaction *trans, TimestampTz now,
			 const OutcomeDriver *driver)
{
	if (outcome->unparked)
		store_remove_failures(trans);
	for (const OutcomeAlert *alert = outcome->alerts; alert != NULL; alert = alert->next)
	{
		metrics_alerted(metrics_of[alert->news]);
		tell_alert(trans, alert, now);
	}
	if (is_ongoing_for_long(trans, now))
		looks_ask_at_commit();
	if (outcome->changed && trans->lane_next != 0 &&
		(driver == NULL || !driver->take(driver->arg, trans->lane_next)))
		dtm_announce(trans->lane_next, now);
	if (outcome->changed && dtm_core_is_final(trans->core.status))
	{
		dtm_announce_end(trans->id);
		metrics_ended(&trans->core, now);
		/* a branch that is still prepared then is an orphan */
		if (trans->core.type == DTM_XA)
			looks_ask(MyDatabaseId, now + dtm_stuck_after * INT64CONST(1000));
		tell_end(trans, now, driver);
	}
}

void
outcome_write(const Outcome *outcome, Transaction *trans, TimestampTz now)
{
	if (outcome->changed)
		store_update(trans);
	outcome_tell(outcome, trans, now, NULL);
}
