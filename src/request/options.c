/*
 * options.c
 *		The options of a global transaction, and the URLs and headers in them.
 */
#include "private.h"

#include "base64.h"

#include <ctype.h>
#include <math.h>

#include "utils/builtins.h"

/* Bounds of what a caller may ask for. */
#define MAX_SECONDS			(366.0 * 24 * 3600 * 100)
#define MAX_RETRY_LIMIT		10000
#define MAX_HEADERS			100

/*
 * A header's name is a token, and its value has no line end (RFC 9110).
 */
static void
check_header(const char *name, const char *value)
{
	bool		good = name[0] != '\0';

	if (wire_is_framing_header(name))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("branch_headers must not have \"%s\"", name),
				 errhint("The headers that frame a request are set by dtm.")));

	for (const char *c = name; *c; c++)
		good = good && (isalnum((unsigned char) *c) ||
						strchr("!#$%&'*+-.^_`|~", *c) != NULL);
	for (const char *c = value; *c; c++)
		good = good && (unsigned char) *c >= 0x20 && *c != 0x7f;
	if (!good)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("branch_headers has a header that can't be sent: \"%s\"", name),
				 errhint("A name consists of letters, digits and hyphens; a value has no control characters.")));
}

/* Seconds, with a fraction, as microseconds. */
static int64
seconds_of(const JsonbValue *value, const char *what)
{
	return (int64) rint(read_number(value, what, MAX_SECONDS) *
						DTM_USEC_PER_SEC);
}

/* {"<step>": [<steps before it>...]}, both from 0 */
static void
read_orders(Request *request, JsonbContainer *container)
{
	DtmTrans   *core = &request->trans.core;
	int			nsteps = core->nsteps;
	int			npairs;
	JsonPair	   *pairs = read_pairs(container, "orders", &npairs);
	bool	   *before = palloc0(sizeof(bool) * (nsteps * nsteps + 1));
	uint16	   *start = palloc0(sizeof(uint16) * (nsteps + 1));
	uint16	   *pre = palloc(sizeof(uint16) * DTM_MAX_ORDERS);
	int			total = 0;

	for (int i = 0; i < npairs; i++)
	{
		char	   *end;
		long		step = strtol(pairs[i].key, &end, 10);
		int			n;
		JsonbValue *elements;

		if (pairs[i].value.type == jbvNull)
			continue;
		if (*pairs[i].key == '\0' || *end != '\0' || step < 0 || step >= nsteps)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("orders names a step that there is not: \"%s\"", pairs[i].key),
					 errhint("Steps are numbered from 0.")));
		elements = read_elements(&pairs[i].value, "an element of orders", &n);
		for (int j = 0; j < n; j++)
		{
			double		number = read_number(&elements[j], "an element of orders",
										   DTM_MAX_STEPS);

			if (number != floor(number) || number >= nsteps)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("orders names a step that there is not: \"%g\"", number),
						 errhint("Steps are numbered from 0.")));
			before[step * nsteps + (int) number] = true;
		}
	}
	for (int step = 0; step < nsteps; step++)
	{
		start[step] = (uint16) total;
		for (int i = 0; i < nsteps; i++)
		{
			if (!before[step * nsteps + i])
				continue;
			if (total == DTM_MAX_ORDERS)
				ereport(ERROR,
						(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						 errmsg("orders has more than %d elements", DTM_MAX_ORDERS),
						 errhint("A step need not name those that come before its predecessors.")));
			pre[total++] = (uint16) i;
		}
	}
	start[nsteps] = (uint16) total;
	pfree(before);
	if (total == 0)
		return;
	core->orders.start = start;
	core->orders.pre = pre;
	if (dtm_core_orders_cyclic(&core->orders, nsteps,
							   palloc(sizeof(uint16) * 2 * nsteps)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("orders has a cycle"),
				 errhint("Some step would have to come after itself.")));
}

static void
read_headers(Request *request, JsonbContainer *container)
{
	Transaction *trans = &request->trans;
	int			n;
	JsonPair	   *pairs = read_pairs(container, "branch_headers", &n);

	if (n > MAX_HEADERS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("branch_headers has more than %d headers", MAX_HEADERS),
				 errhint("Put data into the payload.")));
	trans->header_name = palloc(sizeof(char *) * (n + 1));
	trans->header_value = palloc(sizeof(char *) * (n + 1));
	trans->nheaders = 0;
	for (int i = 0; i < n; i++)
	{
		char	   *value;

		if (pairs[i].value.type == jbvNull)
			continue;
		value = read_string(&pairs[i].value, "a value of branch_headers");
		check_header(pairs[i].key, value);
		trans->header_name[trans->nheaders] = pairs[i].key;
		trans->header_value[trans->nheaders++] = value;
	}
}

/* A JSON value's text, as the bytes of a body. */
static bytea *
body_of(const JsonbValue *value)
{
	Jsonb	   *jsonb = JsonbValueToJsonb(unconstify(JsonbValue *, value));

	return request_json_body(jsonb);
}

/* What only a workflow has. */
static bool
read_workflow_option(Request *request, const char *key, const JsonbValue *value)
{
	Transaction *trans = &request->trans;

	if (strcmp(key, "name") == 0)
		trans->workflow = read_string(value, key);
	else if (strcmp(key, "data") == 0)
		trans->workflow_data = body_of(value);
	else if (strcmp(key, "result") == 0)
	{
		const bytea *body = body_of(value);

		trans->result = body == NULL ? NULL :
			base64_encode(VARDATA_ANY(body), VARSIZE_ANY_EXHDR(body));
	}
	else if (strcmp(key, "status") == 0)
		request_set_end(request, read_string(value, key));
	else if (strcmp(key, "rollback_reason") == 0)
		request->rollback_reason = read_string(value, key);
	else
		return false;
	return true;
}

/* Reads one option; false if there is none of this name. */
bool
request_read_option(Request *request, const char *key, const JsonbValue *value)
{
	Transaction *trans = &request->trans;
	DtmTrans   *core = &trans->core;
	uint32		given;

	if (strcmp(key, "timeout_to_fail") == 0)
	{
		core->timeout_to_fail = seconds_of(value, key);
		given = REQUEST_TIMEOUT_TO_FAIL;
	}
	else if (strcmp(key, "retry_interval") == 0)
	{
		core->retry_interval = seconds_of(value, key);
		given = REQUEST_RETRY_INTERVAL;
	}
	else if (strcmp(key, "request_timeout") == 0)
	{
		int64		us = seconds_of(value, key);

		if (us / 1000 > INT_MAX)
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("%s is out of range", key),
					 errhint("It must be between 0 and %d.", INT_MAX / 1000)));
		trans->request_timeout = us > 0 ? Max((int) (us / 1000), 1) : 0;
		given = REQUEST_REQUEST_TIMEOUT;
	}
	else if (strcmp(key, "retry_limit") == 0)
	{
		core->retry_limit = (int32) read_number(value, key, MAX_RETRY_LIMIT);
		given = REQUEST_RETRY_LIMIT;
	}
	else if (strcmp(key, "branch_headers") == 0)
	{
		read_headers(request, read_object(value, key));
		given = REQUEST_BRANCH_HEADERS;
	}
	else if (strcmp(key, "concurrent") == 0)
	{
		core->concurrent = read_bool(value, key);
		given = REQUEST_CONCURRENT;
	}
	else if (strcmp(key, "orders") == 0)
	{
		read_orders(request, read_object(value, key));
		given = REQUEST_ORDERS;
	}
	else if (strcmp(key, "delay") == 0)
	{
		core->delay = seconds_of(value, key);
		given = REQUEST_DELAY;
	}
	else if (strcmp(key, "query_prepared") == 0)
	{
		char	   *url = read_string(value, key);

		trans->query_prepared = url;
		core->has_query_url = url[0] != '\0';
		given = REQUEST_QUERY_PREPARED;
	}
	else if (strcmp(key, "wait_result") == 0)
	{
		trans->wait_result = read_bool(value, key);
		given = REQUEST_WAIT_RESULT;
	}
	else if (strcmp(key, "protocol") == 0)
	{
		char	   *protocol = read_string(value, key);

		if (protocol[0] != '\0' && strcmp(protocol, "http") != 0 &&
			strcmp(protocol, "json-rpc") != 0 && strcmp(protocol, "grpc") != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unknown protocol \"%s\"", protocol),
					 errhint("It is one of http, json-rpc, grpc.")));
		/* http is what there is without one */
		trans->protocol = strcmp(protocol, "http") == 0 ? "" : protocol;
		given = REQUEST_PROTOCOL;
	}
	else if (strcmp(key, WIRE_TRACEPARENT) == 0)
	{
		request->traceparent = read_string(value, key);
		if (!wire_is_traceparent(request->traceparent))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("traceparent is malformed: \"%s\"", request->traceparent),
					 errhint("It is 00-<32 hex digits>-<16 hex digits>-<2 hex digits>, in lower case (W3C Trace Context).")));
		given = REQUEST_TRACEPARENT;
	}
	else if (strcmp(key, "notify") == 0)
	{
		trans->notify = read_bool(value, key);
		given = REQUEST_NOTIFY;
	}
	else if (strcmp(key, "on_finish") == 0)
	{
		trans->on_finish = read_string(value, key);
		given = REQUEST_ON_FINISH;
	}
	else if (core->type == DTM_WORKFLOW)
		return read_workflow_option(request, key, value);
	else
		return false;
	request->given |= given;
	return true;
}
