/*
 * api.c
 *		Common code of the SQL functions for a gid: visibility, errors, and the
 *		application of a caller's event.
 */
#include "api/api.h"

#include "compat.h"
#include "errors.h"
#include "process/shmem.h"
#include "request/request.h"
#include "settings.h"
#include "store/store.h"

#include <math.h>

#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(dtm_visible);
PG_FUNCTION_INFO_V1(dtm_visible_submitter);
PG_FUNCTION_INFO_V1(dtm_sees_all);

/*
 * An administrator is who may execute dtm.administer(): a privilege follows a
 * role that is renamed, a name would not.
 */
static bool
is_admin(void)
{
	oidvector  *no_arguments = buildoidvector(NULL, 0);
	Oid			function = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
										   CStringGetDatum("administer"),
										   PointerGetDatum(no_arguments),
										   ObjectIdGetDatum(get_namespace_oid("dtm", true)));

	return OidIsValid(function) && dtm_can_execute(function, GetUserId());
}

bool
api_is_visible(Oid submitted_by)
{
	return has_privs_of_role(GetUserId(), submitted_by) || is_admin();
}

/* dtm.visible(role) returns boolean; without a role, administrators alone see it */
Datum
dtm_visible(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(api_is_visible(PG_ARGISNULL(0) ? InvalidOid : PG_GETARG_OID(0)));
}

/* dtm.sees_all() returns boolean */
Datum
dtm_sees_all(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(is_admin());
}

/* The latest answer of one use in a query. */
typedef struct Seen
{
	Oid			user;
	Oid			submitted_by;
	bool		visible;
} Seen;

/*
 * dtm.visible(submitter) returns boolean: of rows of one role after another, as
 * they usually come, only the first costs something.  The answer is that of the
 * beginning of the query: as of any query's rights.
 */
Datum
dtm_visible_submitter(PG_FUNCTION_ARGS)
{
	Oid			submitted_by = store_submitter(PG_GETARG_DATUM(0));
	Seen	   *seen = fcinfo->flinfo->fn_extra;

	if (seen == NULL)
	{
		seen = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(Seen));
		fcinfo->flinfo->fn_extra = seen;
	}
	if (seen->user != GetUserId() || seen->submitted_by != submitted_by)
	{
		seen->visible = api_is_visible(submitted_by);
		seen->user = GetUserId();
		seen->submitted_by = submitted_by;
	}
	PG_RETURN_BOOL(seen->visible);
}

/*
 * Beyond these times, nobody needs a sum to be exact.  PostgreSQL adds months, days
 * and the rest one after another, and each sum must be a time that there is.  A year
 * is more than what months of a mean length differ from those of the calendar.
 */
#define FAR_AWAY	((double) USECS_PER_DAY * DAYS_PER_YEAR * 200000)
#define FAR_BACK	((double) MIN_TIMESTAMP + (double) USECS_PER_DAY * DAYS_PER_YEAR)

static bool
is_far(double time)
{
	return time > FAR_AWAY || time < FAR_BACK;
}

TimestampTz
api_time_after(TimestampTz time, const Interval *interval)
{
	double		months = (double) interval->month * USECS_PER_DAY * DAYS_PER_YEAR / MONTHS_PER_YEAR;
	double		days = (double) interval->day * USECS_PER_DAY;
	double		rest = (double) interval->time;
	double		sum = (double) time + months + days + rest;

	if (is_far(sum))
		return sum > 0 ? DTM_TIME_MAX : MIN_TIMESTAMP;
	if (is_far((double) time + months) || is_far((double) time + months + days))
		return (TimestampTz) sum;
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
												   TimestampTzGetDatum(time),
												   IntervalPGetDatum(interval)));
}

TimestampTz
api_time_before(TimestampTz time, const Interval *interval)
{
	/*
	 * the least values have no opposite, and are as far away as their
	 * neighbors
	 */
	Interval	opposite = {
		.month = -Max(interval->month, -PG_INT32_MAX),
		.day = -Max(interval->day, -PG_INT32_MAX),
		.time = -Max(interval->time, -PG_INT64_MAX)
	};

	return api_time_after(time, &opposite);
}

void
api_error_unknown(const char *gid)
{
	ereport(ERROR,
			(errcode(DTM_ERRCODE_UNKNOWN_GID),
			 errmsg("global transaction \"%s\" does not exist", gid),
			 errhint("Look for it in dtm.transactions, which lists the global transactions that you are allowed to see.")));
}

char *
api_required_text(FunctionCallInfo fcinfo, int number, const char *name, const char *hint)
{
	if (PG_ARGISNULL(number))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", name),
				 errhint("%s", hint)));
	return text_to_cstring(PG_GETARG_TEXT_PP(number));
}

char *
api_required_gid(FunctionCallInfo fcinfo, int number)
{
	if (PG_ARGISNULL(number))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", "gid"),
				 errhint("Pass the gid that dtm_submit() or dtm_prepare() returned.")));
	return request_gid(PG_GETARG_TEXT_PP(number));
}

char *
api_optional_note(FunctionCallInfo fcinfo, int number, const char *name)
{
	char	   *note = STRING_OR_NULL(number);

	if (note != NULL && pg_mbstrlen(note) > API_MAX_NOTE_CHARS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" is longer than %d characters", name, API_MAX_NOTE_CHARS),
				 errhint("Say it briefly, and where the rest can be read.")));
	return note;
}

/*
 * "its current status is" are the words of dtm's server (§1.3), which clients
 * match: they must stay as they are.
 */
static int
message_of_status(const Transaction *trans, DtmEventKind kind)
{
	const char *gid = trans->gid;
	const char *status = dtm_status_name(trans->core.status);

	switch (kind)
	{
		case DTM_EVENT_PREPARE:
			return errmsg("cannot prepare global transaction \"%s\": its current status is '%s'", gid, status);
		case DTM_EVENT_SUBMIT:
			return errmsg("cannot submit global transaction \"%s\": its current status is '%s'", gid, status);
		case DTM_EVENT_ABORT:
			return errmsg("cannot abort global transaction \"%s\": its current status is '%s'", gid, status);
		case DTM_EVENT_REGISTER:
			return errmsg("cannot register a branch of global transaction \"%s\": its current status is '%s'", gid, status);
		case DTM_EVENT_EDIT:
			return errmsg("cannot change a step of global transaction \"%s\": its current status is '%s'", gid, status);
		case DTM_EVENT_SKIP:
			return errmsg("cannot skip an op of global transaction \"%s\": its current status is '%s'", gid, status);
		case DTM_EVENT_FORCE_STOP:
			return errmsg("cannot stop global transaction \"%s\": its current status is '%s'", gid, status);
		default:
			return errmsg("cannot retry global transaction \"%s\": its current status is '%s'", gid, status);
	}
}

void
api_error_status(const Transaction *trans, DtmEventKind kind)
{
	ereport(ERROR,
			(errcode(DTM_ERRCODE_WRONG_STATUS),
			 message_of_status(trans, kind),
			 dtm_core_is_final(trans->core.status) ?
			 errhint("The global transaction has ended. Use another gid for a new one.") :
			 trans->core.parked ?
			 errhint("The global transaction is parked. Resume it with dtm_resume(gid), or end it with dtm_force_stop(gid).") :
			 kind == DTM_EVENT_ABORT && trans->core.type != DTM_SAGA ?
			 errhint("Only a saga can be rolled back after its submit. To end another global transaction where it stands, call dtm_force_stop(gid).") :
			 errhint("Wait for the end of the global transaction with dtm_wait().")));
}

/* The trans_type never allows this event. */
static void
error_type(const Transaction *trans, DtmEventKind kind)
{
	if (kind == DTM_EVENT_REGISTER)
		ereport(ERROR,
				(errcode(DTM_ERRCODE_WRONG_STATUS),
				 errmsg("cannot register a branch of global transaction \"%s\" because its trans_type is \"%s\"",
						trans->gid, dtm_trans_type_name(trans->core.type)),
				 errhint("Pass the steps of a saga or msg when you submit or prepare it.")));
	ereport(ERROR,
			(errcode(DTM_ERRCODE_WRONG_STATUS),
			 errmsg("cannot abort global transaction \"%s\" because its trans_type is \"%s\"",
					trans->gid, dtm_trans_type_name(trans->core.type)),
			 errhint("A saga rolls back when a step is rejected, or by dtm_abort() in SQL; submit a workflow with status failed. To stop either one in its current state, call dtm_force_stop().")));
}

void
api_error_other_type(const Transaction *stored, DtmTransType wanted, const char *hint)
{
	ereport(ERROR,
			(errcode(DTM_ERRCODE_GID_IN_USE),
			 errmsg("global transaction \"%s\" has trans_type \"%s\", not \"%s\"", stored->gid,
					dtm_trans_type_name(stored->core.type),
					dtm_trans_type_name(wanted)),
			 errhint("%s", hint)));
}

static void
decide(Outcome *outcome, Transaction *trans, const DtmEvent *event)
{
	DtmConfig	config;
	DtmReject	reject;

	dtm_core_config(&config);
	outcome_init(outcome, trans);
	reject = outcome_decide(outcome, trans, &config, event);
	if (reject == DTM_REJECT_TYPE)
		error_type(trans, event->kind);
	if (reject == DTM_REJECT_STATUS)
		api_error_status(trans, event->kind);
}

void
api_decide(Outcome *outcome, Transaction *trans, DtmEventKind kind,
		   const char *reason, bool succeeded)
{
	DtmEvent	event = {.kind = kind, .now = GetCurrentTimestamp(),
	.text = reason, .succeeded = succeeded};

	decide(outcome, trans, &event);
}

void
api_apply(Transaction *trans, DtmEventKind kind, const char *reason)
{
	Outcome		outcome;

	api_decide(&outcome, trans, kind, reason, false);
	api_write(&outcome, trans);
}

void
api_act(Transaction *trans, DtmEventKind kind, const char *what, const char *reason)
{
	/* rollback_reason is what the people of a service read */
	const char *text = kind == DTM_EVENT_FORCE_STOP ?
		(reason == NULL ? "stopped by dtm_force_stop" :
		 psprintf("stopped by dtm_force_stop: %s", reason)) :
		kind == DTM_EVENT_ABORT && reason == NULL && trans->core.type == DTM_SAGA ?
		"rolled back by dtm_abort" : reason;
	DtmEvent	event = {.kind = kind, .steered = true};
	Outcome		outcome;

	event.now = GetCurrentTimestamp();
	event.text = text;

	decide(&outcome, trans, &event);
	api_write(&outcome, trans);
	store_add_act(trans->id, what, STORE_ACT_OF_ALL, reason, NULL);
}

static void
announce(const Transaction *trans)
{
	dtm_announce(trans->id, dtm_core_is_final(trans->core.status) ? DT_NOEND :
				 trans->core.next_time);
}

void
api_write(const Outcome *outcome, Transaction *trans)
{
	outcome_write(outcome, trans, GetCurrentTimestamp());
	announce(trans);
}

void
api_tell(const Outcome *outcome, const Transaction *trans)
{
	outcome_tell(outcome, trans, GetCurrentTimestamp(), NULL);
	announce(trans);
}

Transaction *
api_find_to_steer(const char *gid, DtmEventKind kind)
{
	Transaction *trans;
	StoreFound	found = store_find(gid, true, &trans);

	if (found == STORE_ABSENT || !api_is_visible(trans->submitted_by))
		api_error_unknown(gid);
	if (found == STORE_FINISHED)
		api_error_status(trans, kind);
	return trans;
}

void
api_warn_no_coordinator(void)
{
	static bool warned = false;
	bool		preloaded = dtm_preloaded || dtm_shared != NULL;

	if (warned || (preloaded && settings_name_this_database()))
		return;
	warned = true;
	ereport(WARNING,
			(errcode(DTM_ERRCODE_NO_COORDINATOR),
			 preloaded ?
			 errmsg("global transactions are stored, but no coordinator runs in this database") :
			 errmsg("global transactions are stored, but no coordinator runs in this server"),
			 preloaded ?
			 errhint("Add the database to dtm.databases and reload the configuration, or process due transactions with CALL dtm_run_due().") :
			 errhint("Add dtm to shared_preload_libraries and restart the server, or process due transactions with CALL dtm_run_due().")));
}
