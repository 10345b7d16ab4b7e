/*
 * metrics.h
 *		What dtm.metrics counts, for each database, since the server's start.
 *
 * Counters are in shared memory, in a fixed number of cells.  A process counts in
 * its own memory, and adds that to the shared cells by metrics_flush(): a
 * coordinator once a turn, a session at its commit.  What a transaction creates or
 * ends counts when that commits.  Nothing is counted without
 * shared_preload_libraries.
 *
 * All of it may be lost at any time: a restart after a crash begins anew.
 */
#ifndef DTM_METRICS_H
#define DTM_METRICS_H

#include "postgres.h"

#include "core/core.h"
#include "transport/transport.h"

#include "datatype/timestamp.h"

/*
 * Hosts with counters of their own, of each database: the first ones that are
 * called.  The places behind them are for the rest.
 */
#define METRICS_MAX_HOSTS	64
enum
{
	METRICS_HOST_OTHER = METRICS_MAX_HOSTS, /* more hosts than that */
	METRICS_HOST_SQL,			/* functions in this database */
	METRICS_HOST_NONE,			/* calls that could not be made */
	METRICS_NHOSTS
};

#define METRICS_NTYPES		(DTM_WORKFLOW + 1)
#define METRICS_NRESULTS	(DTM_RESULT_PERMANENT + 1)

/* What is called of a transaction. */
typedef enum MetricsOp
{
	METRICS_OP_FORWARD,			/* action, confirm, commit */
	METRICS_OP_UNDO,			/* compensate, cancel, rollback */
	METRICS_OP_QUERY,			/* query_prepared, the callback of a workflow */
	METRICS_NOPS
} MetricsOp;

typedef enum MetricsEnd
{
	METRICS_SUCCEEDED,
	METRICS_FAILED,
	METRICS_STOPPED,
	METRICS_NENDS
} MetricsEnd;

typedef enum MetricsAlert
{
	METRICS_ALERT_FAILING,
	METRICS_ALERT_PARKED,
	METRICS_ALERT_DISCARDED,
	METRICS_NALERTS
} MetricsAlert;

/*
 * A histogram is METRICS_HISTOGRAM cells: a bucket for each bound, one for what is
 * beyond the last, and the sum, in us.
 */
#define METRICS_NBOUNDS		19
#define METRICS_HISTOGRAM	(METRICS_NBOUNDS + 2)
#define METRICS_SUM			(METRICS_NBOUNDS + 1)

/* The upper bounds of the buckets, in us. */
extern const int64 metrics_bounds[METRICS_NBOUNDS];

/* The cells. */
enum
{
	METRICS_CREATED = 0,
	METRICS_ENDED = METRICS_CREATED + METRICS_NTYPES,
	METRICS_ALERTS = METRICS_ENDED + METRICS_NTYPES * METRICS_NENDS,
	METRICS_CALLS = METRICS_ALERTS + METRICS_NALERTS,
	METRICS_CALL_TIME = METRICS_CALLS + METRICS_NHOSTS * METRICS_NTYPES * METRICS_NOPS * METRICS_NRESULTS,
	METRICS_FIRST_CALL = METRICS_CALL_TIME + METRICS_NHOSTS * METRICS_HISTOGRAM,
	METRICS_DURATION = METRICS_FIRST_CALL + METRICS_NTYPES * METRICS_HISTOGRAM,
	METRICS_NCELLS = METRICS_DURATION + METRICS_NTYPES * METRICS_HISTOGRAM
};

static inline int
metrics_ended_cell(DtmTransType type, MetricsEnd end)
{
	return METRICS_ENDED + (int) type * METRICS_NENDS + (int) end;
}

static inline int
metrics_call_cell(int host, DtmTransType type, MetricsOp op, DtmResult result)
{
	return METRICS_CALLS + ((host * METRICS_NTYPES + (int) type) * METRICS_NOPS + (int) op) * METRICS_NRESULTS +
		(int) result;
}

/* For the shared memory of the library (shmem.c). */
extern Size metrics_shmem_size(void);
extern void metrics_shmem_startup(void);

/* ---------- counting ---------- */

/* For a coordinator, before it counts: its database has counters from now on. */
extern void metrics_open(void);

/* When the current transaction commits: one is created, one ends, one is alerted of. */
extern void metrics_created(DtmTransType type);
extern void metrics_ended(const DtmTrans *trans, TimestampTz now);
extern void metrics_alerted(MetricsAlert alert);

/*
 * At once, in this process's memory: a call has ended that took so many us; the
 * first call of a transaction was made so many us after its submit.
 */
extern void metrics_called(int host, DtmTransType type, MetricsOp op, DtmResult result,
						   int64 duration);
extern void metrics_first_called(DtmTransType type, int64 delay);

/*
 * The place of a host in this database; METRICS_HOST_OTHER if there are too many.  It
 * is the same as long as the server runs.
 */
extern int	metrics_host(const char *name);

/* Adds what was counted at once to what all processes see. */
extern void metrics_flush(void);

/* The extension is not in this database any more. */
extern void metrics_forget(Oid database);

/*
 * The same of the current database when the current transaction commits, so that an
 * extension that is created again at once counts anew.
 */
extern void metrics_dropped(void);

/* ---------- reading ---------- */

/* A copy of what was counted in a database. */
typedef struct Metrics
{
	TimestampTz since;			/* when that began */
	int			nhosts;
	char		hosts[METRICS_MAX_HOSTS][DTM_HOST_STAT_NAME_SIZE];
	uint64		cells[METRICS_NCELLS];
} Metrics;

/* False: nothing was. */
extern bool metrics_read(Oid database, Metrics *metrics);

#endif							/* DTM_METRICS_H */
