/*
 * outcome.c
 *		What the world is told beside the calls of branches.
 */
#include "outcome.h"

#include "compat.h"
#include "transaction.h"
#include "request/request.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/json.h"
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
		   size_t max)
{
	StringInfoData json;

	initStringInfo(&json);
	append_string(&json, "gid", trans->gid, max);
	append_string(&json, "status", dtm_status_name(trans->core.status), max);
	append_string(&json, "branch", url, max);
	append_string(&json, "error", error, max);
	appendStringInfo(&json, ",\"retry_count\":%d}", trans->core.failures);
	return json.data;
}

char *
notice_alert_body(const Transaction *trans, const char *url, const char *error)
{
	char	   *json = alert_json(trans, url, error, MaxAllocSize);

	return pg_server_to_any(json, (int) strlen(json), PG_UTF8);
}

void
notice_alert(const Transaction *trans, const char *url, const char *error)
{
	store_notify(NOTICE_ALERT_CHANNEL,
				 alert_json(trans, url, error, MAX_NOTIFY_TEXT));
	ereport(WARNING,
			(errmsg("global transaction \"%s\" has failed %d times in a row",
					trans->gid, trans->core.failures),
			 errdetail("%s answered: %s", url, error),
			 errhint("It is tried again at %s, or now with dtm_retry_now().",
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

int64
notice_finished(const Transaction *trans, TimestampTz now)
{
	Transaction *message;

	if (trans->notify)
		store_notify(NOTICE_FINISHED_CHANNEL,
					 finished_json(trans, MAX_NOTIFY_TEXT));
	if (trans->on_finish == NULL || trans->on_finish[0] == '\0')
		return 0;
	message = request_message(trans->on_finish,
							  finished_json(trans, MaxAllocSize),
							  trans->submitted_by, now);
	/* its gid is a fresh one */
	return store_insert(message) ? message->id : 0;
}
