/*
 * outcome.c
 *		The path from an event to its effects; see outcome.h.
 */
#include "outcome.h"

#include "notice.h"
#include "process/shmem.h"
#include "settings.h"
#include "store/store.h"
#include "utf8.h"

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
alert_json(const Transaction *trans, const char *url, const char *error,
		   int failures, size_t max)
{
	StringInfoData json;

	initStringInfo(&json);
	append_string(&json, "gid", trans->gid, max);
	append_string(&json, "status", dtm_status_name(trans->core.status), max);
	append_string(&json, "branch", url, max);
	append_string(&json, "error", error, max);
	appendStringInfo(&json, ",\"retry_count\":%d}", failures);
	return json.data;
}

char *
outcome_alert_body(const Transaction *trans, const char *url, const char *error,
				   int failures)
{
	char	   *json = alert_json(trans, url, error, failures, MaxAllocSize);

	return pstrdup(utf8_of(utf8_or_marks(json)));
}

/*
 * A transaction has failed so often that somebody should look.  It may have gone
 * on since, and even have ended, in the same turn.
 */
static void
tell_alert(const Transaction *trans, const Outcome *outcome)
{
	store_notify(OUTCOME_ALERT_CHANNEL,
				 alert_json(trans, outcome->alert_url, outcome->alert_error,
							outcome->alert_failures, MAX_NOTIFY_TEXT));
	ereport(WARNING,
			(errmsg_plural("global transaction \"%s\" has failed %d time in a row",
						   "global transaction \"%s\" has failed %d times in a row",
						   outcome->alert_failures,
						   trans->gid, outcome->alert_failures),
			 errdetail("The last response of \"%s\" was: %s", outcome->alert_url, outcome->alert_error),
			 dtm_core_is_final(trans->core.status) ?
			 errhint("The global transaction has ended since then, with status %s.",
					 dtm_status_name(trans->core.status)) :
			 trans->core.next_time == DTM_TIME_NEVER ?
			 errhint("To retry it, call dtm_retry_now().") :
			 errhint("It will be retried at %s. To retry it now, call dtm_retry_now().",
					 timestamptz_to_str(trans->core.next_time))));
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

DtmReject
outcome_decide(Outcome *outcome, Transaction *trans, const DtmConfig *config,
			   const DtmEvent *event)
{
	DtmUpdate	update = {.calls = outcome->calls};

	dtm_core_step(&trans->core, config, event, &update);
	outcome->ncalls = update.ncalls;
	outcome->changed = outcome->changed || update.changed;
	if (update.alert_op != DTM_NO_ALERT)
	{
		MemoryContext context = GetMemoryChunkContext(outcome->calls);

		outcome->alert_url = MemoryContextStrdup(context, event->url);
		outcome->alert_error = MemoryContextStrdup(context, event->text);
		outcome->alert_failures = update.alert_failures;
	}
	return update.reject;
}

void
outcome_tell(const Outcome *outcome, const Transaction *trans, TimestampTz now,
			 const OutcomeDriver *driver)
{
	if (outcome->alert_url != NULL)
		tell_alert(trans, outcome);
	if (outcome->changed && dtm_core_is_final(trans->core.status))
	{
		dtm_announce_end(trans->id);
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
