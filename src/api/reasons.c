/*
 * reasons.c
 *		What dtm.reasons_for_alerts() asks of C: which errors are the same, and
 *		what is in shared memory.
 */
#include "postgres.h"

#include "clock.h"
#include "compat.h"
#include "core/alert.h"
#include "process/shmem.h"
#include "store/store.h"
#include "text/utf8.h"

#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(dtm_sql_alert_class);
PG_FUNCTION_INFO_V1(dtm_sql_alert_is_silence);
PG_FUNCTION_INFO_V1(dtm_url_host);
PG_FUNCTION_INFO_V1(dtm_alert_hosts);
PG_FUNCTION_INFO_V1(dtm_alert_coordinators);

/* Bytes of an error that tell its class. */
#define CLASS_SIZE	200

/* dtm.alert_class(error text) returns text */
Datum
dtm_sql_alert_class(PG_FUNCTION_ARGS)
{
	char	   *error = text_to_cstring(PG_GETARG_TEXT_PP(0));
	size_t		size = strlen(error) + 1;
	char	   *class = palloc(size);
	int			len;

	dtm_alert_class(error, class, size);
	len = (int) strlen(class);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(class, pg_mbcliplen(class, len, CLASS_SIZE)));
}

/* dtm.alert_is_silence(error text) returns boolean */
Datum
dtm_sql_alert_is_silence(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(dtm_alert_is_silence(text_to_cstring(PG_GETARG_TEXT_PP(0))));
}

/*
 * dtm.url_host(url text) returns text: the host that a URL is called at, as
 * dtm.stat_hosts names it
 */
Datum
dtm_url_host(PG_FUNCTION_ARGS)
{
	const char *url = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char		name[DTM_HOST_NAME_SIZE];
	int			len;

	if (pg_strncasecmp(url, "grpc://", strlen("grpc://")) == 0)
		url = psprintf("http://%s", url + strlen("grpc://"));
	else if (pg_strncasecmp(url, "grpcs://", strlen("grpcs://")) == 0)
		url = psprintf("https://%s", url + strlen("grpcs://"));
	else if (strstr(url, "://") == NULL)
		url = psprintf("http://%s", url);
	dtm_host_name(url, name);
	len = (int) strlen(name);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(name, pg_mbcliplen(name, len, DTM_HOST_STAT_NAME_SIZE - 1)));
}

/*
 * dtm.alert_hosts() returns setof (host, silent_since, open, calls, error): of each
 * coordinator of this database; calls wait, or are in flight
 */
Datum
dtm_alert_hosts(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (DtmSharedSlot *slot = dtm_next_slot(MyDatabaseId, NULL); slot != NULL;
		 slot = dtm_next_slot(MyDatabaseId, slot))
		for (int place = 0; place < DTM_MAX_HOSTS; place++)
		{
			DtmHostStats host;
			Datum		values[5];
			bool		nulls[5] = {false};

			if (!dtm_read_host(slot, place, &host))
				continue;
			values[0] = CStringGetTextDatum(utf8_or_marks(host.name));
			nulls[1] = host.silent_since == 0;
			values[1] = TimestampTzGetDatum(clock_of_unix(host.silent_since));
			values[2] = BoolGetDatum(host.open);
			values[3] = Int32GetDatum(host.in_flight + host.waiting);
			values[4] = CStringGetTextDatum(utf8_or_marks(host.error));
			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		}
	return (Datum) 0;
}

/*
 * dtm.alert_coordinators() returns setof (state, ailing_since, reason): the
 * coordinators of this database
 */
Datum
dtm_alert_coordinators(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (DtmSharedSlot *slot = dtm_next_slot(MyDatabaseId, NULL); slot != NULL;
		 slot = dtm_next_slot(MyDatabaseId, slot))
	{
		DtmCoordinatorState state;
		TimestampTz since;
		StoreHome	home;
		Datum		values[3];
		bool		nulls[3] = {false};

		SpinLockAcquire(&slot->mutex);
		state = slot->state;
		since = slot->ailing_since;
		home = slot->home;
		SpinLockRelease(&slot->mutex);
		values[0] = CStringGetTextDatum(dtm_state_name(state));
		nulls[1] = since == 0;
		values[1] = TimestampTzGetDatum(since);
		nulls[2] = state != DTM_COORDINATOR_PAUSED || store_home_reason(home) == NULL;
		values[2] = nulls[2] ? (Datum) 0 : CStringGetTextDatum(store_home_reason(home));
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
