/*
 * stats.c
 *		The functions of dtm.stat_coordinator, dtm.stat_hosts and dtm.in_flight.
 */
#include "postgres.h"

#include "clock.h"
#include "compat.h"
#include "process/shmem.h"
#include "settings.h"
#include "store/store.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(dtm_library_version);
PG_FUNCTION_INFO_V1(dtm_coordinator_stats);
PG_FUNCTION_INFO_V1(dtm_host_stats);
PG_FUNCTION_INFO_V1(dtm_host_state);
PG_FUNCTION_INFO_V1(dtm_noted_calls);

/* dtm.library_version(): what the server has loaded */
Datum
dtm_library_version(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(DTM_VERSION));
}

/* Columns of dtm.coordinator_stats(). */
#define NSTATS		16

/* SQL that is newer may ask for more than there is. */
static void
check_columns(TupleDesc desc, bool known)
{
	if (!known)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("loaded dtm library %s does not support %d columns",
						DTM_VERSION, desc->natts),
				 errhint("If a new package was installed, restart the server.")));
}

/* Is it for want of a background worker that a coordinator does not run? */
static bool
lacks_worker(void)
{
	bool		lacks;

	if (dtm_shared == NULL || RecoveryInProgress())
		return false;
	SpinLockAcquire(&dtm_shared->mutex);
	lacks = dtm_shared->no_worker;
	SpinLockRelease(&dtm_shared->mutex);
	return lacks;
}

/* Why a coordinator does not run as it should, and what to do. */
static void
set_reason(Datum *values, bool *nulls, const char *reason, const char *hint)
{
	nulls[12] = nulls[13] = false;
	values[12] = CStringGetTextDatum(reason);
	values[13] = CStringGetTextDatum(hint);
}

#define NO_WORKER_REASON	"The coordinator cannot be started because no background worker slot is free."
#define NO_WORKER_HINT		"Increase max_worker_processes, or decrease dtm.coordinators_per_database."

/* A row of a database that has no coordinator. */
static HeapTuple
row_of_none(TupleDesc desc)
{
	Datum		values[NSTATS];
	bool		nulls[NSTATS];

	memset(nulls, true, sizeof(nulls));
	nulls[0] = false;
	if (dtm_shared == NULL)
	{
		values[0] = CStringGetTextDatum("not preloaded");
		set_reason(values, nulls, "The server has not preloaded dtm.",
				   "Add dtm to shared_preload_libraries and restart the server, or process due transactions with CALL dtm_run_due().");
	}
	else if (RecoveryInProgress())
		values[0] = CStringGetTextDatum("standby");
	else
	{
		values[0] = CStringGetTextDatum("not running");
		if (!settings_name_this_database())
			set_reason(values, nulls, "The setting dtm.databases does not name this database.",
					   "Add the database to dtm.databases, and reload the configuration.");
		else if (lacks_worker())
			set_reason(values, nulls, NO_WORKER_REASON, NO_WORKER_HINT);
	}
	return heap_form_tuple(desc, values, nulls);
}

/* A row of dtm.stat_coordinator; NULL: there is no coordinator. */
static HeapTuple
stats_row(TupleDesc desc, DtmSharedSlot *slot)
{
	Datum		values[NSTATS];
	bool		nulls[NSTATS];
	DtmCoordinatorState state;
	StoreHome	home;
	pid_t		pid;
	TimestampTz restart_at;

	check_columns(desc, desc->natts == NSTATS);
	if (slot == NULL)
		return row_of_none(desc);
	SpinLockAcquire(&slot->mutex);
	state = slot->state;
	pid = slot->pid;
	home = slot->home;
	restart_at = slot->restart_at;
	SpinLockRelease(&slot->mutex);
	memset(nulls, false, sizeof(nulls));
	values[0] = CStringGetTextDatum(dtm_state_name(state));
	values[1] = Int32GetDatum(pid);
	nulls[1] = pid == 0;
	values[2] = TimestampTzGetDatum((TimestampTz) pg_atomic_read_u64(&slot->started_at));
	values[3] = Int32GetDatum(pg_atomic_read_u32(&slot->in_flight));
	values[4] = Int32GetDatum(pg_atomic_read_u32(&slot->queued));
	values[5] = Int32GetDatum(pg_atomic_read_u32(&slot->loaded));
	values[6] = Int64GetDatum((int64) pg_atomic_read_u64(&slot->ncommits));
	values[7] = Int64GetDatum((int64) pg_atomic_read_u64(&slot->nfinished));
	values[8] = Int64GetDatum((int64) pg_atomic_read_u64(&slot->ncalls));
	values[9] = Int64GetDatum((int64) pg_atomic_read_u64(&slot->ncall_errors));
	values[10] = Int64GetDatum((int64) pg_atomic_read_u64(&slot->nerrors));
	values[11] = Int32GetDatum(slot->share.number + 1);
	values[14] = Int64GetDatum((int64) pg_atomic_read_u64(&slot->nspans));
	values[15] = Int64GetDatum((int64) pg_atomic_read_u64(&slot->nspans_dropped));
	nulls[12] = nulls[13] = true;
	if ((state == DTM_COORDINATOR_PAUSED || state == DTM_COORDINATOR_DRAINING) &&
		store_home_reason(home) != NULL)
		set_reason(values, nulls, store_home_reason(home), store_home_hint(home));
	else if (pid == 0 && lacks_worker())
		set_reason(values, nulls, NO_WORKER_REASON, NO_WORKER_HINT);
	else if (pid == 0 && restart_at != 0)
		set_reason(values, nulls,
				   psprintf("The coordinator ended soon after its start, and is started again at %s.",
							timestamptz_to_str(restart_at)),
				   "The server log says why it ended.");
	else if (slot->share.of < dtm_coordinators_per_database)
		set_reason(values, nulls,
				   psprintf("Only %d of %d coordinators run because no background worker slot is free.",
							slot->share.of, dtm_coordinators_per_database),
				   NO_WORKER_HINT);
	return heap_form_tuple(desc, values, nulls);
}

/* Initializes a function that returns rows. */
static void
first_call(FunctionCallInfo fcinfo)
{
	FuncCallContext *context = SRF_FIRSTCALL_INIT();
	MemoryContext before = MemoryContextSwitchTo(context->multi_call_memory_ctx);
	TupleDesc	desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	context->tuple_desc = BlessTupleDesc(desc);
	context->user_fctx = NULL;
	MemoryContextSwitchTo(before);
}

/* dtm.coordinator_stats(): a row for each coordinator of this database */
Datum
dtm_coordinator_stats(PG_FUNCTION_ARGS)
{
	FuncCallContext *context;
	DtmSharedSlot *slot;

	if (SRF_IS_FIRSTCALL())
		first_call(fcinfo);
	context = SRF_PERCALL_SETUP();
	slot = dtm_next_slot(MyDatabaseId, context->user_fctx);
	if (slot == NULL && context->call_cntr > 0)
		SRF_RETURN_DONE(context);
	context->user_fctx = slot;
	SRF_RETURN_NEXT(context, HeapTupleGetDatum(stats_row(context->tuple_desc, slot)));
}

/* ---------- hosts ---------- */

#define NHOST_STATS	13

/* The interval of a number of microseconds. */
static Datum
interval_of(int64 us)
{
	Interval   *interval = palloc0(sizeof(Interval));

	interval->time = us;
	return IntervalPGetDatum(interval);
}

/* Text that was cut anywhere, and may be in another encoding than the server's. */
static Datum
text_of(const char *string)
{
	char	   *clean = pstrdup(string);

	for (char *c = clean; *c; c++)
		if (IS_HIGHBIT_SET(*c))
			*c = '?';
	return CStringGetTextDatum(clean);
}

static HeapTuple
host_row(TupleDesc desc, const DtmSharedSlot *slot, const DtmHostStats *host)
{
	Datum		values[NHOST_STATS];
	bool		nulls[NHOST_STATS] = {false};
	int64		answers = (int64) (host->calls - host->failures);
	int			i = 0;

	check_columns(desc, desc->natts == NHOST_STATS);
	values[i++] = Int32GetDatum(slot->share.number + 1);
	values[i++] = text_of(host->name);
	values[i++] = CStringGetTextDatum(host->probing ? "probing" :
									  host->open ? "open" : "closed");
	values[i++] = Int32GetDatum(host->in_flight);
	values[i++] = Int32GetDatum(host->waiting);
	values[i++] = Int32GetDatum(host->window);
	values[i++] = Int64GetDatum((int64) host->calls);
	values[i++] = Int64GetDatum((int64) host->failures);
	values[i++] = Int32GetDatum(host->failed_in_a_row);
	nulls[i] = nulls[i + 1] = answers == 0;
	values[i++] = interval_of(answers > 0 ? host->total_time / answers : 0);
	values[i++] = interval_of(host->recent_time);
	nulls[i] = host->next_probe == 0;
	values[i++] = TimestampTzGetDatum(clock_of_unix(host->next_probe));
	nulls[i] = host->error[0] == '\0';
	values[i++] = text_of(host->error);
	Assert(i == NHOST_STATS);
	return heap_form_tuple(desc, values, nulls);
}

/* Where the next row may be: a host, or a call. */
typedef struct HostPlace
{
	DtmSharedSlot *slot;		/* NULL: no more */
	int			place;
} HostPlace;

/* dtm.host_stats(): a row for each host that a coordinator of this database knows */
Datum
dtm_host_stats(PG_FUNCTION_ARGS)
{
	FuncCallContext *context;
	HostPlace  *next;
	DtmHostStats host;

	if (SRF_IS_FIRSTCALL())
	{
		first_call(fcinfo);
		context = SRF_PERCALL_SETUP();
		next = MemoryContextAllocZero(context->multi_call_memory_ctx, sizeof(HostPlace));
		next->slot = dtm_next_slot(MyDatabaseId, NULL);
		context->user_fctx = next;
	}
	context = SRF_PERCALL_SETUP();
	for (next = context->user_fctx; next->slot != NULL;
		 next->slot = dtm_next_slot(MyDatabaseId, next->slot), next->place = 0)
		while (next->place < DTM_MAX_HOSTS)
			if (dtm_read_host(next->slot, next->place++, &host))
				SRF_RETURN_NEXT(context,
								HeapTupleGetDatum(host_row(context->tuple_desc, next->slot, &host)));
	SRF_RETURN_DONE(context);
}

/*
 * dtm.host_state(url) returns (state, in_flight, waiting, window_size, next_probe):
 * of the coordinator of this database that has most to do with it; NULL: none has
 * called it.
 */
Datum
dtm_host_state(PG_FUNCTION_ARGS)
{
	char	   *url = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char		name[DTM_HOST_NAME_SIZE];
	DtmHostStats best = {.name = ""};
	TupleDesc	desc;
	Datum		values[5];
	bool		nulls[5] = {false};

	dtm_host_name(url, name);
	for (DtmSharedSlot *slot = dtm_next_slot(MyDatabaseId, NULL); slot != NULL;
		 slot = dtm_next_slot(MyDatabaseId, slot))
		for (int place = 0; place < DTM_MAX_HOSTS; place++)
		{
			DtmHostStats host;

			if (dtm_read_host(slot, place, &host) &&
				strncmp(host.name, name, DTM_HOST_STAT_NAME_SIZE - 1) == 0 &&
				(best.name[0] == '\0' || host.open ||
				 host.in_flight + host.waiting > best.in_flight + best.waiting))
				best = host;
		}
	if (best.name[0] == '\0')
		PG_RETURN_NULL();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = CStringGetTextDatum(best.probing ? "probing" : best.open ? "open" : "closed");
	values[1] = Int32GetDatum(best.in_flight);
	values[2] = Int32GetDatum(best.waiting);
	nulls[3] = best.window == 0;
	values[3] = Int32GetDatum(best.window);
	nulls[4] = best.next_probe == 0;
	values[4] = TimestampTzGetDatum(clock_of_unix(best.next_probe));
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/* ---------- calls ---------- */

static HeapTuple
call_row(TupleDesc desc, const DtmSharedSlot *slot, const DtmCallNote *call)
{
	Datum		values[5];
	bool		nulls[5] = {false};

	check_columns(desc, desc->natts == lengthof(values));
	values[0] = Int32GetDatum(slot->share.number + 1);
	values[1] = Int64GetDatum(call->id);
	values[2] = Int32GetDatum(call->op);
	values[3] = TimestampTzGetDatum(call->queued);
	nulls[4] = call->sent == 0;
	values[4] = TimestampTzGetDatum(clock_of_unix(call->sent));
	return heap_form_tuple(desc, values, nulls);
}

/* dtm.noted_calls(): a row for each call that waits for its turn or is in flight */
Datum
dtm_noted_calls(PG_FUNCTION_ARGS)
{
	FuncCallContext *context;
	HostPlace  *next;
	DtmCallNote call;

	if (SRF_IS_FIRSTCALL())
	{
		first_call(fcinfo);
		context = SRF_PERCALL_SETUP();
		next = MemoryContextAllocZero(context->multi_call_memory_ctx, sizeof(HostPlace));
		next->slot = dtm_next_slot(MyDatabaseId, NULL);
		context->user_fctx = next;
	}
	context = SRF_PERCALL_SETUP();
	for (next = context->user_fctx; next->slot != NULL;
		 next->slot = dtm_next_slot(MyDatabaseId, next->slot), next->place = 0)
		while (next->place < DTM_CALL_NOTES)
			if (dtm_read_call(next->slot, next->place++, &call))
				SRF_RETURN_NEXT(context,
								HeapTupleGetDatum(call_row(context->tuple_desc, next->slot, &call)));
	SRF_RETURN_DONE(context);
}
