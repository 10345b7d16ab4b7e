/*
 * metrics.h
 *		Counters, and their text for Prometheus.
 */
#ifndef GW_METRICS_H
#define GW_METRICS_H

#include "buf.h"

typedef enum MetricType
{
	METRIC_HTTP,
	METRIC_JSONRPC,
	METRIC_GRPC,
	NMETRIC_TYPES
} MetricType;

/* Counters and gauges that have no labels. */
typedef enum Metric
{
	METRIC_CONNECTIONS,			/* open ones */
	METRIC_CONNECTIONS_TOTAL,
	METRIC_CONNECTIONS_REFUSED,
	METRIC_QUEUED,				/* requests that wait for a session */
	METRIC_WAITERS,				/* requests that wait for a pass */
	METRIC_SESSIONS,			/* with PostgreSQL, ready or busy */
	METRIC_BATCHES,
	METRIC_BATCHED,				/* requests in them */
	METRIC_REPEATED,			/* batches that were repeated with
								 * subtransactions */
	METRIC_OVERLOAD,			/* requests refused because of a limit or the
								 * queue */
	METRIC_LOST,				/* sessions lost */
	METRIC_LOCKED,				/* requests whose row was locked */
	METRIC_APART,				/* requests kept apart because of others'
								 * errors */
	METRIC_BAD_REQUESTS,		/* that were not understood as HTTP */
	NMETRICS
} Metric;

extern int64_t metrics[NMETRICS];

/*
 * A response: "api" is one of the routes' names, a constant, so that labels are
 * bounded; status is HTTP's, or gRPC's.
 */
extern void metrics_count(MetricType type, const char *api, int status,
						  int64_t duration);
extern void metrics_write(Buf *out, const char *version);

/*
 * What the database counts (dtm.metrics): rows of METRICS_COLUMNS cells: family, type,
 * help, the value as text, name, and labels as an array of PostgreSQL's, names and
 * values by turns.  Rows of one family stand together.  A row that is no metric is
 * left out.
 */
#define METRICS_COLUMNS	6
extern void metrics_write_rows(Buf *out, const Bytes *cells, int nrows);

/* For tests. */
extern void metrics_reset(void);

#endif							/* GW_METRICS_H */
