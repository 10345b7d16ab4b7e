/*
 * options.c
 *		The options of a global transaction, and the URLs and headers in them.
 */
#include "private.h"

#include "base64.h"

#include <math.h>

#include "lib/stringinfo.h"
#include "utils/builtins.h"

/* Bounds of what a caller may ask for. */
#define MAX_SECONDS			(366.0 * 24 * 3600 * 100)
#define MAX_RETRY_LIMIT		10000
#define MAX_HEADERS			100
#define MAX_FAIRNESS_KEY	128 /* bytes */

/*
 * A header's name is a token, and its value has no line end (RFC 9110).
 */
static void
check_header(const char *name, const char *value)
{
	static const char token[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~";
	bool		good = name[0] != '\0' && name[strspn(name, token)] == '\0';

	if (header_is_framing(name) || header_is_own(name))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("header \"%s\" cannot be set in branch_headers", name),
				 errhint("Remove the header. dtm sets the headers that frame or identify a request.")));
	for (const char *c = value; *c; c++)
		good = good && (unsigned char) *c >= 0x20 && *c != 0x7f;
	if (!good)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid header \"%s\" in branch_headers", name),
				 errhint("Use letters, digits and hyphens in the name, and no control characters in the value.")));
	utf8_check(value, psprintf("header %s of branch_headers", name));
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
	JsonPair   *pairs = read_pairs(container, "orders", &npairs);
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
					 errmsg("orders refers to nonexistent step \"%s\"", pairs[i].key),
					 errhint("Use the numbers of steps, which count from 0.")));
		elements = read_elements(&pairs[i].value, "orders[*]", &n);
		for (int j = 0; j < n; j++)
		{
			double		number = read_number(&elements[j], "orders[*]",
											 DTM_MAX_STEPS);

			if (number != floor(number) || number >= nsteps)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("orders refers to nonexistent step \"%g\"", number),
						 errhint("Use the numbers of steps, which count from 0.")));
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
						 errhint("List only the direct predecessors of each step.")));
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
				 errhint("Remove the cycle, in which a step would come after itself.")));
}

static void
read_headers(Request *request, JsonbContainer *container)
{
	Transaction *trans = &request->trans;
	int			n;
	JsonPair   *pairs = read_pairs(container, "branch_headers", &n);

	if (n > MAX_HEADERS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("branch_headers has more than %d headers", MAX_HEADERS),
				 errhint("Put data in the payload instead.")));
	trans->header_name = palloc(sizeof(char *) * (n + 1));
	trans->header_value = palloc(sizeof(char *) * (n + 1));
	trans->nheaders = 0;
	for (int i = 0; i < n; i++)
	{
		char	   *value;

		if (pairs[i].value.type == jbvNull)
			continue;
		value = read_string(&pairs[i].value, "branch_headers.*");
		check_header(pairs[i].key, value);
		trans->header_name[trans->nheaders] = pairs[i].key;
		trans->header_value[trans->nheaders++] = value;
	}
}

void
request_set_traceparent(Transaction *trans, char *traceparent)
{
	char	  **names;
	char	  **values;
	int			n = 0;

	if (traceparent == NULL)
		return;
	names = palloc(sizeof(char *) * (trans->nheaders + 1));
	values = palloc(sizeof(char *) * (trans->nheaders + 1));
	for (int i = 0; i < trans->nheaders; i++)
		if (pg_strcasecmp(trans->header_name[i], WIRE_TRACEPARENT) != 0)
		{
			names[n] = trans->header_name[i];
			values[n++] = trans->header_value[i];
		}
	names[n] = pstrdup(WIRE_TRACEPARENT);
	values[n++] = traceparent;
	trans->header_name = names;
	trans->header_value = values;
	trans->nheaders = n;
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

/* ---------- the list ---------- */

typedef struct Option Option;

struct Option
{
	const char *key;
	void		(*read) (Request *request, const Option *option,
						 const JsonbValue *value);
	bool		in_object;		/* it is a key of the wire's object, too
								 * (§1.1) */
	size_t		field;			/* of Transaction, as offset */
	size_t		size;			/* of that, to be taken over from a late
								 * submit; 0: there is more to it */
};

#define FIELD_OF(option, request, type) \
	((type *) ((char *) &(request)->trans + (option)->field))

static void
read_seconds(Request *request, const Option *option, const JsonbValue *value)
{
	*FIELD_OF(option, request, int64) = seconds_of(value, option->key);
}

static void
read_flag(Request *request, const Option *option, const JsonbValue *value)
{
	*FIELD_OF(option, request, bool) = read_bool(value, option->key);
}

static void
read_text(Request *request, const Option *option, const JsonbValue *value)
{
	*FIELD_OF(option, request, char *) = read_string(value, option->key);
}

static void
read_request_timeout(Request *request, const Option *option, const JsonbValue *value)
{
	int64		us = seconds_of(value, option->key);

	if (us / 1000 > DTM_MAX_REQUEST_TIMEOUT)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("\"%s\" is out of range", option->key),
				 errhint("The value must be between 0 and %d seconds.", DTM_MAX_REQUEST_TIMEOUT / 1000)));
	request->trans.request_timeout = us > 0 ? Max((int) (us / 1000), 1) : 0;
}

static void
read_retry_limit(Request *request, const Option *option, const JsonbValue *value)
{
	double		number = read_number(value, option->key, MAX_RETRY_LIMIT);

	if (number != floor(number))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" must be a whole number", option->key),
				 errhint("Specify how often calls that fail are repeated at once.")));
	request->trans.core.retry_limit = (int32) number;
}

static void
read_branch_headers(Request *request, const Option *option, const JsonbValue *value)
{
	read_headers(request, read_object(value, option->key));
}

static void
read_orders_option(Request *request, const Option *option, const JsonbValue *value)
{
	read_orders(request, read_object(value, option->key));
}

static void
read_query_prepared(Request *request, const Option *option, const JsonbValue *value)
{
	char	   *url = read_string(value, option->key);

	request->trans.query_prepared = url;
	request->trans.core.has_query_url = url[0] != '\0';
}

static void
read_protocol(Request *request, const Option *option, const JsonbValue *value)
{
	char	   *protocol = read_string(value, option->key);

	if (protocol[0] != '\0' && strcmp(protocol, "http") != 0 &&
		strcmp(protocol, "json-rpc") != 0 && strcmp(protocol, "grpc") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown protocol \"%s\"", protocol),
				 errhint("Use http, json-rpc or grpc.")));
	/* http is what there is without one */
	request->trans.protocol = strcmp(protocol, "http") == 0 ? "" : protocol;
}

static void
read_fairness_key(Request *request, const Option *option, const JsonbValue *value)
{
	char	   *key = read_string(value, option->key);

	if (strlen(key) > MAX_FAIRNESS_KEY)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("\"%s\" is longer than %d bytes", option->key, MAX_FAIRNESS_KEY),
				 errhint("Use a short name, such as that of a customer or a job.")));
	request->trans.fairness_key = key;
}

static void
read_traceparent(Request *request, const Option *option, const JsonbValue *value)
{
	request->traceparent = read_string(value, option->key);
	if (!wire_is_traceparent(request->traceparent))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid traceparent \"%s\"", request->traceparent),
				 errhint("Use 00-<32 hex digits>-<16 hex digits>-<2 hex digits>, in lower case (W3C Trace Context).")));
}

static void
read_lane(Request *request, const Option *option, const JsonbValue *value)
{
	char	   *lane = read_string(value, option->key);
	bool		good = pg_mbstrlen(lane) <= DTM_MAX_GID_CHARS;

	for (const char *c = lane; *c; c++)
		good = good && (unsigned char) *c >= 0x20 && *c != 0x7f;
	if (!good)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid lane \"%s\"", lane),
				 errhint("Use up to %d characters, without control characters.", DTM_MAX_GID_CHARS)));
	request->trans.lane = lane[0] != '\0' ? lane : NULL;
}

static void
read_lane_on_park(Request *request, const Option *option, const JsonbValue *value)
{
	char	   *what = read_string(value, option->key);

	if (strcmp(what, "wait") != 0 && strcmp(what, "skip") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for \"%s\": \"%s\"", option->key, what),
				 errhint("Use wait or skip.")));
	request->trans.lane_skips = strcmp(what, "skip") == 0;
}

/* A field that is taken over as it is. */
#define FIELD(field) \
	offsetof(Transaction, field), sizeof(((Transaction *) NULL)->field)

static const Option options[] = {
	{"timeout_to_fail", read_seconds, true, FIELD(core.timeout_to_fail)},
	{"retry_interval", read_seconds, true, FIELD(core.retry_interval)},
	{"request_timeout", read_request_timeout, true, FIELD(request_timeout)},
	{"retry_limit", read_retry_limit, true, FIELD(core.retry_limit)},
	{"branch_headers", read_branch_headers, true},
	{"concurrent", read_flag, false, FIELD(core.concurrent)},
	{"orders", read_orders_option, false},
	{"delay", read_seconds, false, FIELD(core.delay)},
	{"query_prepared", read_query_prepared, true, FIELD(query_prepared)},
	{"protocol", read_protocol, true},
	{"wait_result", read_flag, true, FIELD(wait_result)},
	{"notify", read_flag, true, FIELD(notify)},
	{"on_finish", read_text, true, FIELD(on_finish)},
	{"results", read_flag, true, FIELD(results)},
	{"lane", read_lane, true},
	{"lane_on_park", read_lane_on_park, true},
	{WIRE_TRACEPARENT, read_traceparent, true},
	{"fairness_key", read_fairness_key, true, FIELD(fairness_key)}
};

StaticAssertDecl(lengthof(options) <= 32, "Request.given has a bit for each option");

static const Option *
find_option(const char *key)
{
	for (size_t i = 0; i < lengthof(options); i++)
		if (strcmp(key, options[i].key) == 0)
			return &options[i];
	return NULL;
}

bool
request_read_option(Request *request, const char *key, const JsonbValue *value)
{
	const Option *option = find_option(key);

	if (option == NULL)
		return request->trans.core.type == DTM_WORKFLOW &&
			read_workflow_option(request, key, value);
	option->read(request, option, value);
	request->given |= UINT32_C(1) << (option - options);
	return true;
}

bool
request_is_object_option(const char *key)
{
	const Option *option = find_option(key);

	return option != NULL && option->in_object;
}

bool
request_gave(const Request *request, const char *key)
{
	const Option *option = find_option(key);

	Assert(option != NULL);
	return (request->given & (UINT32_C(1) << (option - options))) != 0;
}

/* For a hint: "timeout_to_fail, retry_interval, ...". */
const char *
request_option_names(void)
{
	StringInfoData names;

	initStringInfo(&names);
	for (size_t i = 0; i < lengthof(options); i++)
		appendStringInfo(&names, "%s%s", i == 0 ? "" : ", ", options[i].key);
	return names.data;
}

const char *
request_nearest_option(DtmTransType type, const char *key)
{
	static const char *const of_workflow[] = {"name", "data", "status", "result", "rollback_reason"};
	const char *known[lengthof(options) + lengthof(of_workflow)];
	int			n = 0;

	for (size_t i = 0; i < lengthof(options); i++)
		known[n++] = options[i].key;
	for (size_t i = 0; type == DTM_WORKFLOW && i < lengthof(of_workflow); i++)
		known[n++] = of_workflow[i];
	return nearest_name(key, known, n);
}

void
request_merge_options(Transaction *stored, const Request *later)
{
	const Transaction *trans = &later->trans;

	for (size_t i = 0; i < lengthof(options); i++)
		if (request_gave(later, options[i].key))
			memcpy((char *) stored + options[i].field,
				   (const char *) trans + options[i].field, options[i].size);
	stored->core.has_query_url = stored->query_prepared != NULL &&
		stored->query_prepared[0] != '\0';
	if (request_gave(later, "branch_headers"))
	{
		stored->nheaders = trans->nheaders;
		stored->header_name = trans->header_name;
		stored->header_value = trans->header_value;
	}
	request_set_traceparent(stored, later->traceparent);
	/* orders speak of steps, so they come with them or not at all */
	if (request_gave(later, "orders") && later->has_steps)
		stored->core.orders = trans->core.orders;
	/* again, in the name of who submitted */
	if (request_gave(later, "on_finish"))
		request_check_url(NULL, trans->on_finish, "on_finish", REQUEST_URL_ANY,
						  stored->submitted_by);
}
