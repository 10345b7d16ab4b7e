/*
 * metrics.c
 *		The function of dtm.metrics: what is in shared memory, as samples.
 *
 * A sample is a row of (family, suffix, labels, value).  The names of families, and
 * what is known of them besides, are in the SQL script (dtm.metric_families()).
 */
#include "postgres.h"

#include "core/core.h"
#include "local/local.h"
#include "process/metrics.h"
#include "settings.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(dtm_metric_counters);

#define NCOLUMNS	4

/* Name and value of each label. */
#define MAX_LABELS	10

static const char *const ends[METRICS_NENDS] = {
	[METRICS_SUCCEEDED] = "succeeded",
	[METRICS_FAILED] = "failed",
	[METRICS_STOPPED] = "stopped"
};

static const char *const alerts[METRICS_NALERTS] = {
	[METRICS_ALERT_FAILING] = "failing",
	[METRICS_ALERT_PARKED] = "parked",
	[METRICS_ALERT_DISCARDED] = "discarded"
};

/* The samples that were made, in the order in which they are returned. */
typedef struct Samples
{
	TupleDesc	desc;
	List	   *rows;			/* HeapTuple */
} Samples;

/* Labels are pairs of a name and a value, up to a NULL. */
static void
add_sample(Samples *samples, const char *family, const char *suffix,
		   const char *const *labels, double value)
{
	Datum		elements[MAX_LABELS];
	Datum		values[NCOLUMNS];
	bool		nulls[NCOLUMNS] = {false};
	int			n = 0;

	for (; labels[n] != NULL; n++)
	{
		Assert(n < MAX_LABELS);
		elements[n] = CStringGetTextDatum(labels[n]);
	}
	values[0] = CStringGetTextDatum(family);
	values[1] = CStringGetTextDatum(suffix);
	values[2] = PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT));
	values[3] = Float8GetDatum(value);
	samples->rows = lappend(samples->rows, heap_form_tuple(samples->desc, values, nulls));
}

#define LABELS(...)		((const char *const[]) {__VA_ARGS__, NULL})
#define NO_LABELS		((const char *const[]) {NULL})

/* A histogram with one label, unless it is empty; its buckets are cumulative. */
static void
add_histogram(Samples *samples, const char *family, const char *label, const char *value,
			  const uint64 *cells)
{
	uint64		count = 0;

	for (int i = 0; i <= METRICS_NBOUNDS; i++)
		count += cells[i];
	if (count == 0)
		return;
	count = 0;
	for (int i = 0; i <= METRICS_NBOUNDS; i++)
	{
		const char *bound = i == METRICS_NBOUNDS ? "+Inf" :
			psprintf("%g", (double) metrics_bounds[i] / USECS_PER_SEC);

		count += cells[i];
		add_sample(samples, family, "_bucket", LABELS(label, value, "le", bound), (double) count);
	}
	add_sample(samples, family, "_sum", LABELS(label, value),
			   (double) cells[METRICS_SUM] / USECS_PER_SEC);
	add_sample(samples, family, "_count", LABELS(label, value), (double) count);
}

/* ---------- transactions ---------- */

static void
add_transactions(Samples *samples, const Metrics *metrics)
{
	for (int type = 0; type < METRICS_NTYPES; type++)
		add_sample(samples, "dtm_transactions_created_total", "",
				   LABELS("trans_type", dtm_trans_type_name((DtmTransType) type)),
				   (double) metrics->cells[METRICS_CREATED + type]);
	for (int type = 0; type < METRICS_NTYPES; type++)
		for (int end = 0; end < METRICS_NENDS; end++)
			add_sample(samples, "dtm_transactions_ended_total", "",
					   LABELS("trans_type", dtm_trans_type_name((DtmTransType) type), "state", ends[end]),
					   (double) metrics->cells[metrics_ended_cell((DtmTransType) type, (MetricsEnd) end)]);
	for (int alert = 0; alert < METRICS_NALERTS; alert++)
		add_sample(samples, "dtm_alerts_total", "", LABELS("event", alerts[alert]),
				   (double) metrics->cells[METRICS_ALERTS + alert]);
	for (int type = 0; type < METRICS_NTYPES; type++)
		add_histogram(samples, "dtm_first_call_delay_seconds", "trans_type",
					  dtm_trans_type_name((DtmTransType) type),
					  &metrics->cells[METRICS_FIRST_CALL + type * METRICS_HISTOGRAM]);
	for (int type = 0; type < METRICS_NTYPES; type++)
		add_histogram(samples, "dtm_transaction_duration_seconds", "trans_type",
					  dtm_trans_type_name((DtmTransType) type),
					  &metrics->cells[METRICS_DURATION + type * METRICS_HISTOGRAM]);
}

/* ---------- calls ---------- */

/* As dtm.stat_hosts has it: text that may be in any encoding, and was cut. */
static const char *
host_name(const Metrics *metrics, int host)
{
	char	   *name;

	switch (host)
	{
		case METRICS_HOST_OTHER:
			return "other";
		case METRICS_HOST_SQL:
			return "sql";
		case METRICS_HOST_NONE:
			return "none";
	}
	name = pstrdup(metrics->hosts[host]);
	for (char *c = name; *c; c++)
		if (IS_HIGHBIT_SET(*c))
			*c = '?';
	return name;
}

static const char *
op_name(DtmTransType type, MetricsOp op)
{
	DtmOp		of_type;
	int			step;

	if (op == METRICS_OP_QUERY)
		return type == DTM_WORKFLOW ? "workflow" : dtm_op_name(DTM_OP_MSG);
	dtm_core_op_at(type, op == METRICS_OP_UNDO ? 0 : dtm_core_forward_op(type, 0),
				   &step, &of_type);
	return dtm_op_name(of_type);
}

/* Calls of one host, for each type, op and result that there was. */
static void
add_calls(Samples *samples, const Metrics *metrics, int host)
{
	const char *name = host_name(metrics, host);

	for (int type = 0; type < METRICS_NTYPES; type++)
		for (int op = 0; op < METRICS_NOPS; op++)
			for (int result = 0; result < METRICS_NRESULTS; result++)
			{
				uint64		n = metrics->cells[metrics_call_cell(host, (DtmTransType) type, (MetricsOp) op,
																 (DtmResult) result)];

				if (n > 0)
					add_sample(samples, "dtm_calls_total", "",
							   LABELS("host", name, "trans_type", dtm_trans_type_name((DtmTransType) type),
									  "op", op_name((DtmTransType) type, (MetricsOp) op),
									  "result", dtm_result_name((DtmResult) result)),
							   (double) n);
			}
}

static bool
has_host(const Metrics *metrics, int host)
{
	return host >= METRICS_MAX_HOSTS || host < metrics->nhosts;
}

static void
add_hosts(Samples *samples, const Metrics *metrics)
{
	for (int host = 0; host < METRICS_NHOSTS; host++)
		if (has_host(metrics, host))
			add_calls(samples, metrics, host);
	for (int host = 0; host < METRICS_NHOSTS; host++)
		if (has_host(metrics, host))
			add_histogram(samples, "dtm_call_duration_seconds", "host", host_name(metrics, host),
						  &metrics->cells[METRICS_CALL_TIME + host * METRICS_HISTOGRAM]);
}

/* ---------- the names of dtm's server ---------- */

static void
add_branches(Samples *samples, const Metrics *metrics, DtmTransType type, MetricsOp op)
{
	uint64		ok = 0;
	uint64		fail = 0;

	for (int host = 0; host < METRICS_NHOSTS; host++)
		for (int result = 0; result < METRICS_NRESULTS; result++)
		{
			uint64		n = metrics->cells[metrics_call_cell(host, type, op, (DtmResult) result)];

			if (result == DTM_RESULT_SUCCESS)
				ok += n;
			else
				fail += n;
		}
	if (ok + fail == 0)
		return;
	add_sample(samples, "dtm_branch_process_total", "",
			   LABELS("model", dtm_trans_type_name(type), "branchtype", op_name(type, op), "status", "ok"),
			   (double) ok);
	add_sample(samples, "dtm_branch_process_total", "",
			   LABELS("model", dtm_trans_type_name(type), "branchtype", op_name(type, op), "status", "fail"),
			   (double) fail);
}

static void
add_dtm_names(Samples *samples, const Metrics *metrics)
{
	for (int type = 0; type < METRICS_NTYPES; type++)
	{
		const char *model = dtm_trans_type_name((DtmTransType) type);
		const uint64 *cells = &metrics->cells[metrics_ended_cell((DtmTransType) type, METRICS_SUCCEEDED)];

		add_sample(samples, "dtm_transaction_process_total", "", LABELS("model", model, "status", "ok"),
				   (double) cells[METRICS_SUCCEEDED]);
		add_sample(samples, "dtm_transaction_process_total", "", LABELS("model", model, "status", "fail"),
				   (double) (cells[METRICS_FAILED] + cells[METRICS_STOPPED]));
	}
	for (int type = 0; type < METRICS_NTYPES; type++)
		add_histogram(samples, "dtm_transaction_handled_duration", "model",
					  dtm_trans_type_name((DtmTransType) type),
					  &metrics->cells[METRICS_DURATION + type * METRICS_HISTOGRAM]);
	for (int type = 0; type < METRICS_NTYPES; type++)
		for (int op = 0; op < METRICS_NOPS; op++)
			add_branches(samples, metrics, (DtmTransType) type, (MetricsOp) op);
}

/* ---------- all of it ---------- */

static void
add_workers(Samples *samples)
{
	LocalCounts counts;

	local_count(MyDatabaseId, &counts);
	add_sample(samples, "dtm_sql_workers_busy", "", NO_LABELS, counts.busy);
	add_sample(samples, "dtm_sql_workers_idle", "", NO_LABELS, counts.idle);
	add_sample(samples, "dtm_sql_workers_stray", "", NO_LABELS, counts.written_off);
	add_sample(samples, "dtm_sql_workers_max", "", NO_LABELS, dtm_sql_workers);
}

/* dtm.metric_counters() returns setof (family, suffix, labels, value) */
Datum
dtm_metric_counters(PG_FUNCTION_ARGS)
{
	FuncCallContext *context;
	Samples    *samples;
	HeapTuple	row;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext before;
		Metrics    *metrics;

		context = SRF_FIRSTCALL_INIT();
		before = MemoryContextSwitchTo(context->multi_call_memory_ctx);
		samples = palloc0(sizeof(Samples));
		if (get_call_result_type(fcinfo, NULL, &samples->desc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "return type must be a row type");
		samples->desc = BlessTupleDesc(samples->desc);
		metrics = palloc0(sizeof(Metrics));
		add_workers(samples);
		if (metrics_read(MyDatabaseId, metrics))
			add_sample(samples, "dtm_counters_start_time_seconds", "", NO_LABELS,
					   (double) timestamptz_to_time_t(metrics->since));
		/* without any: zeros */
		add_transactions(samples, metrics);
		add_hosts(samples, metrics);
		add_dtm_names(samples, metrics);
		context->user_fctx = samples;
		MemoryContextSwitchTo(before);
	}
	context = SRF_PERCALL_SETUP();
	samples = context->user_fctx;
	if (context->call_cntr >= (uint64) list_length(samples->rows))
		SRF_RETURN_DONE(context);
	row = list_nth(samples->rows, (int) context->call_cntr);
	SRF_RETURN_NEXT(context, HeapTupleGetDatum(row));
}
