/*
 * metrics.c
 *		Counters, and their text for Prometheus.
 */
#include "metrics.h"

#include "dbparams.h"

#include <stdlib.h>
#include <string.h>

/* Series that there may be: routes times statuses. */
#define MAX_SERIES	512

/* Upper ends of the durations that are told apart, in us. */
static const int64_t bounds[] = {
	1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000,
	2500000, 5000000, 10000000
};

#define NBOUNDS (sizeof(bounds) / sizeof(bounds[0]))

typedef struct Series
{
	MetricType	type;
	const char *api;
	int			status;
	int64_t		count;
} Series;

int64_t		metrics[NMETRICS];

static Series series[MAX_SERIES];
static int	nseries;
static int64_t buckets[NMETRIC_TYPES][NBOUNDS + 1];
static int64_t durations[NMETRIC_TYPES];

static const char *const type_names[NMETRIC_TYPES] = {"http", "jsonrpc", "grpc"};

static const struct
{
	const char *name;
	const char *type;
	const char *help;
}			descriptions[NMETRICS] = {
	{"dtm_gateway_connections", "gauge", "open connections of clients"},
	{"dtm_gateway_connections_accepted_total", "counter", "connections of clients that were accepted"},
	{"dtm_gateway_connections_refused_total", "counter", "connections of clients that were refused"},
	{"dtm_gateway_queued", "gauge", "requests that wait for a session with the database"},
	{"dtm_gateway_waiters", "gauge", "requests that wait for the first pass of their transaction"},
	{"dtm_gateway_sessions", "gauge", "sessions with the database"},
	{"dtm_gateway_batches_total", "counter", "batches sent to the database"},
	{"dtm_gateway_batched_requests_total", "counter", "requests in those batches"},
	{"dtm_gateway_repeated_batches_total", "counter", "batches repeated because a request in them had an error"},
	{"dtm_gateway_overload_total", "counter", "requests refused because of a limit, or of their time in the queue"},
	{"dtm_gateway_sessions_lost_total", "counter", "sessions with the database that were lost"},
	{"dtm_gateway_locked_total", "counter", "requests whose row somebody had locked"},
	{"dtm_gateway_apart_total", "counter", "requests kept apart, since requests of their role had errors of late"},
	{"dtm_gateway_bad_requests_total", "counter", "requests that were no HTTP, or beyond its limits"}
};

void
metrics_reset(void)
{
	memset(metrics, 0, sizeof(metrics));
	memset(buckets, 0, sizeof(buckets));
	memset(durations, 0, sizeof(durations));
	nseries = 0;
}

void
metrics_count(MetricType type, const char *api, int status, int64_t duration)
{
	size_t		bucket = 0;
	int			i = 0;

	while (bucket < NBOUNDS && duration > bounds[bucket])
		bucket++;
	buckets[type][bucket]++;
	durations[type] += duration;
	while (i < nseries && (series[i].type != type || series[i].status != status ||
						   strcmp(series[i].api, api) != 0))
		i++;
	if (i == MAX_SERIES)
		return;
	if (i == nseries)
		series[nseries++] = (Series)
	{
		type, api, status, 0
	};
	series[i].count++;
}

static void
write_durations(Buf *out, MetricType type)
{
	int64_t		total = 0;

	for (size_t i = 0; i <= NBOUNDS; i++)
	{
		total += buckets[type][i];
		if (i < NBOUNDS)
			buf_printf(out, "dtm_server_response_duration_bucket{type=\"%s\",le=\"%g\"} %lld\n",
					   type_names[type], (double) bounds[i] / 1e6, (long long) total);
		else
			buf_printf(out, "dtm_server_response_duration_bucket{type=\"%s\",le=\"+Inf\"} %lld\n",
					   type_names[type], (long long) total);
	}
	buf_printf(out, "dtm_server_response_duration_sum{type=\"%s\"} %g\n",
			   type_names[type], (double) durations[type] / 1e6);
	buf_printf(out, "dtm_server_response_duration_count{type=\"%s\"} %lld\n",
			   type_names[type], (long long) total);
}

void
metrics_write(Buf *out, const char *version)
{
	buf_printf(out, "# HELP dtm_server_info The version of the gateway.\n"
			   "# TYPE dtm_server_info gauge\ndtm_server_info{version=\"%s\"} 1\n", version);
	buf_adds(out, "# HELP dtm_server_process_total Requests that were answered.\n"
			 "# TYPE dtm_server_process_total counter\n");
	for (int i = 0; i < nseries; i++)
		buf_printf(out, "dtm_server_process_total{type=\"%s\",api=\"%s\",status=\"%d\"} %lld\n",
				   type_names[series[i].type], series[i].api, series[i].status,
				   (long long) series[i].count);
	buf_adds(out, "# HELP dtm_server_response_duration Seconds that requests took.\n"
			 "# TYPE dtm_server_response_duration histogram\n");
	for (int i = 0; i < NMETRIC_TYPES; i++)
		write_durations(out, (MetricType) i);
	for (int i = 0; i < NMETRICS; i++)
		buf_printf(out, "# HELP %s The %s.\n# TYPE %s %s\n%s %lld\n",
				   descriptions[i].name, descriptions[i].help, descriptions[i].name,
				   descriptions[i].type, descriptions[i].name, (long long) metrics[i]);
}

/* ---------- the database's ---------- */

static bool
is_word(Bytes word)
{
	if (word.len == 0 || (word.data[0] >= '0' && word.data[0] <= '9'))
		return false;
	for (size_t i = 0; i < word.len; i++)
	{
		char		c = word.data[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			  c == '_' || c == ':'))
			return false;
	}
	return true;
}

static bool
is_value(Bytes value)
{
	for (size_t i = 0; i < value.len; i++)
		if (strchr("0123456789+-.eEInfNa", value.data[i]) == NULL || value.data[i] == '\0')
			return false;
	return value.len > 0;
}

/* Text in which nothing ends its line, or its quotes. */
static void
write_escaped(Buf *out, Bytes text, bool quoted)
{
	for (size_t i = 0; i < text.len; i++)
	{
		char		c = text.data[i];

		if (c == '\n')
			buf_adds(out, "\\n");
		else if (c == '\\' || (quoted && c == '"'))
			buf_printf(out, "\\%c", c);
		else
			buf_addc(out, c);
	}
}

/* Labels, with their braces; false: they are malformed. */
static bool
write_labels(Buf *out, Bytes array)
{
	int			n = 0;
	Bytes	   *labels = array.data ? array_read(array.data, array.len, &n) : NULL;
	bool		good = n % 2 == 0 && (array.data == NULL || labels != NULL);

	for (int i = 0; good && i < n; i += 2)
	{
		good = labels[i].data != NULL && is_word(labels[i]);
		buf_addc(out, i == 0 ? '{' : ',');
		buf_add(out, labels[i].data, labels[i].len);
		buf_adds(out, "=\"");
		write_escaped(out, labels[i + 1], true);
		buf_addc(out, '"');
	}
	if (n > 0)
		buf_addc(out, '}');
	free(labels);
	return good;
}

void
metrics_write_rows(Buf *out, const Bytes *cells, int nrows)
{
	Bytes		before = {NULL, 0};

	for (int i = 0; i < nrows; i++, cells += METRICS_COLUMNS)
	{
		Bytes		family = cells[0];
		Bytes		name = cells[4];
		Buf			labels = {0};

		if (is_word(family) && is_word(cells[1]) && is_value(cells[3]) && is_word(name) &&
			write_labels(&labels, cells[5]))
		{
			if (before.data == NULL || before.len != family.len ||
				memcmp(before.data, family.data, family.len) != 0)
			{
				buf_printf(out, "# HELP %.*s ", (int) family.len, family.data);
				write_escaped(out, cells[2], false);
				buf_printf(out, "\n# TYPE %.*s %.*s\n", (int) family.len, family.data,
						   (int) cells[1].len, cells[1].data);
			}
			before = family;
			buf_add(out, name.data, name.len);
			buf_add(out, labels.data, labels.len);
			buf_printf(out, " %.*s\n", (int) cells[3].len, cells[3].data);
		}
		buf_free(&labels);
	}
}
