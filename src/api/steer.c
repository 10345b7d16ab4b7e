/*
 * steer.c
 *		The SQL functions that steer global transactions and the coordinator.
 */
#include "api/api.h"

#include "compat.h"
#include "errors.h"
#include "process/shmem.h"
#include "settings.h"
#include "store/store.h"

#include "access/htup_details.h"
#include "commands/trigger.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(dtm_abort);
PG_FUNCTION_INFO_V1(dtm_force_stop);
PG_FUNCTION_INFO_V1(dtm_assign);
PG_FUNCTION_INFO_V1(dtm_retry_now);
PG_FUNCTION_INFO_V1(dtm_resume_transaction);
PG_FUNCTION_INFO_V1(dtm_reset_cron_time);
PG_FUNCTION_INFO_V1(dtm_pause);
PG_FUNCTION_INFO_V1(dtm_resume);
PG_FUNCTION_INFO_V1(dtm_set_home);
PG_FUNCTION_INFO_V1(dtm_home_changed);
PG_FUNCTION_INFO_V1(dtm_truncated);
PG_FUNCTION_INFO_V1(dtm_get_alert_retry_limit);
PG_FUNCTION_INFO_V1(dtm_get_stuck_after);

Transaction *
api_abort(const char *gid, const char *reason, bool steered)
{
	Transaction *trans;

	PreventCommandIfReadOnly("dtm_abort()");
	trans = api_find_to_steer(gid, DTM_EVENT_ABORT);
	if (steered)
		api_act(trans, DTM_EVENT_ABORT, "abort", reason);
	else
		api_apply(trans, DTM_EVENT_ABORT, reason);
	return trans;
}

/* dtm_abort(gid, reason) returns void */
Datum
dtm_abort(PG_FUNCTION_ARGS)
{
	(void) api_abort(api_required_gid(fcinfo, 0), api_optional_note(fcinfo, 1, "reason"), true);
	PG_RETURN_VOID();
}

void
api_force_stop(const char *gid, const char *reason)
{
	PreventCommandIfReadOnly("dtm_force_stop()");
	api_act(api_find_to_steer(gid, DTM_EVENT_FORCE_STOP), DTM_EVENT_FORCE_STOP,
			"force stop", reason);
}

/* dtm_force_stop(gid, reason) returns void */
Datum
dtm_force_stop(PG_FUNCTION_ARGS)
{
	api_force_stop(api_required_gid(fcinfo, 0), api_optional_note(fcinfo, 1, "reason"));
	PG_RETURN_VOID();
}

void
api_retry_now(const char *gid, const char *reason)
{
	PreventCommandIfReadOnly("dtm_retry_now()");
	api_act(api_find_to_steer(gid, DTM_EVENT_RETRY_NOW), DTM_EVENT_RETRY_NOW,
			"retry now", reason);
	dtm_announce_ask(DTM_ASK_PROBE);
}

/* dtm_retry_now(gid, reason) returns void */
Datum
dtm_retry_now(PG_FUNCTION_ARGS)
{
	api_retry_now(api_required_gid(fcinfo, 0), api_optional_note(fcinfo, 1, "reason"));
	PG_RETURN_VOID();
}

/*
 * dtm_resume(gid, reason) returns boolean
 *
 * One that somebody else has resumed or stopped meanwhile is no error: many are
 * resumed by one statement.
 */
Datum
dtm_resume_transaction(PG_FUNCTION_ARGS)
{
	char	   *gid = api_required_gid(fcinfo, 0);
	char	   *reason = api_optional_note(fcinfo, 1, "reason");
	Transaction *trans;
	StoreFound	found;

	PreventCommandIfReadOnly("dtm_resume()");
	found = store_find(gid, true, &trans);
	if (found == STORE_ABSENT || !api_is_visible(trans->submitted_by))
		api_error_unknown(gid);
	if (found == STORE_FINISHED || !trans->core.parked)
		PG_RETURN_BOOL(false);
	api_act(trans, DTM_EVENT_RESUME, "resume", reason);
	PG_RETURN_BOOL(true);
}

/*
 * dtm_assign(gid, role, reason) returns void: for an administrator, who can only give it
 * to a role that he could act as himself.
 */
Datum
dtm_assign(PG_FUNCTION_ARGS)
{
	char	   *gid = api_required_gid(fcinfo, 0);
	char	   *reason = api_optional_note(fcinfo, 2, "reason");
	Transaction *trans;
	Oid			role;

	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", "role"),
				 errhint("Pass the role as which the global transaction should act.")));
	PreventCommandIfReadOnly("dtm_assign()");
	role = PG_GETARG_OID(1);
	if (!dtm_can_become(GetUserId(), role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to act as role \"%s\"",
						GetUserNameFromId(role, false)),
				 errhint("Assign the global transaction to a role to which you can SET ROLE.")));
	trans = api_find_to_steer(gid, DTM_EVENT_RETRY_NOW);
	if (OidIsValid(trans->submitted_by))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("global transaction \"%s\" belongs to role \"%s\"", gid,
						GetUserNameFromId(trans->submitted_by, false)),
				 errhint("Assign only global transactions whose role no longer exists.")));
	store_assign(trans->id, role);
	api_act(trans, DTM_EVENT_RETRY_NOW,
			psprintf("assign to %s", quote_identifier(GetUserNameFromId(role, false))),
			reason);
	PG_RETURN_VOID();
}

/* dtm_reset_cron_time(timeout, max) returns (succeed_count, has_remaining) */
Datum
dtm_reset_cron_time(PG_FUNCTION_ARGS)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz later_than;
	int			max;
	int			n;
	TupleDesc	desc;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("arguments \"%s\" and \"%s\" must not be null", "timeout", "max"),
				 errhint("Pass as max the maximum number of transactions to make due.")));
	max = PG_GETARG_INT32(1);
	if (max < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be negative", "max"),
				 errhint("Pass as max the maximum number of transactions to make due.")));
	PreventCommandIfReadOnly("dtm_reset_cron_time()");
	later_than = api_time_after(now, PG_GETARG_INTERVAL_P(0));
	n = store_reset_next_time(later_than, now, max);
	if (n > 0)
	{
		dtm_announce_rows(now);
		dtm_announce_ask(DTM_ASK_PROBE);
	}
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = Int32GetDatum(n);
	values[1] = BoolGetDatum(n == max);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/*
 * Where this database lives has changed.  Whoever changes it by a function is
 * announced here, not by the trigger on dtm.home: a session may have switched
 * triggers off (session_replication_role, ALTER TABLE ... DISABLE TRIGGER).
 */
static void
set_home(bool paused)
{
	store_set_home(paused);
	dtm_announce_ask(DTM_ASK_RECHECK);
}

/* dtm_pause() returns void */
Datum
dtm_pause(PG_FUNCTION_ARGS)
{
	PreventCommandIfReadOnly("dtm_pause()");
	set_home(true);
	PG_RETURN_VOID();
}

/* dtm_resume() returns void */
Datum
dtm_resume(PG_FUNCTION_ARGS)
{
	PreventCommandIfReadOnly("dtm_resume()");
	set_home(false);
	PG_RETURN_VOID();
}

/* dtm.set_home(): at CREATE EXTENSION */
Datum
dtm_set_home(PG_FUNCTION_ARGS)
{
	set_home(false);
	PG_RETURN_VOID();
}

/* Trigger on dtm.home */
Datum
dtm_home_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"home_changed\" was not called by trigger manager")));
	dtm_announce_ask(DTM_ASK_RECHECK);
	/* sessions remember what it says of them */
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	PG_RETURN_POINTER(NULL);
}

/* Trigger on TRUNCATE of the other tables: the coordinators look at what is left */
Datum
dtm_truncated(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"truncated\" was not called by trigger manager")));
	dtm_announce_ask(DTM_ASK_SEARCH);
	PG_RETURN_POINTER(NULL);
}

/* ---------- settings ---------- */

/* dtm.alert_retry_limit(): the setting, also where nothing has loaded us yet */
Datum
dtm_get_alert_retry_limit(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(dtm_alert_retry_limit);
}

/* dtm.stuck_after() */
Datum
dtm_get_stuck_after(PG_FUNCTION_ARGS)
{
	Interval   *interval = palloc0(sizeof(Interval));

	interval->time = (int64) dtm_stuck_after * 1000;
	PG_RETURN_INTERVAL_P(interval);
}
