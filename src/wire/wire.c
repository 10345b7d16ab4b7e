/*
 * wire.c
 *		Chooses the kind of a branch; the parts that all kinds share.
 */
#include "private.h"

#include "uri.h"

#include "common/hashfn.h"

static bool
starts_with(const char *string, const char *prefix)
{
	return pg_strncasecmp(string, prefix, strlen(prefix)) == 0;
}

WireKind
wire_kind(const char *protocol, const char *url)
{
	if (strncmp(url, DTM_SCHEME_LOCAL, strlen(DTM_SCHEME_LOCAL)) == 0)
		return WIRE_LOCAL;
	if (starts_with(url, "http://") || starts_with(url, "https://"))
	{
		size_t		len;

		if (protocol != NULL && strcmp(protocol, "json-rpc") == 0 &&
			http_url_parameter(url, "method", &len) != NULL)
			return WIRE_JSONRPC;
		return WIRE_HTTP;
	}
	if (starts_with(url, "grpc://") || starts_with(url, "grpcs://"))
		return WIRE_GRPC;
	if (protocol != NULL && strcmp(protocol, "grpc") == 0)
		return WIRE_GRPC;
	return WIRE_HTTP;
}

static const char *
form_problem(WireKind kind, const char *url)
{
	switch (kind)
	{
		case WIRE_LOCAL:
			return url[strlen(DTM_SCHEME_LOCAL)] == '\0' ?
				"missing function name" : NULL;
		case WIRE_GRPC:
			return grpc_url_problem(url);
		case WIRE_HTTP:
		case WIRE_JSONRPC:
			break;
	}
	return dtm_url_problem(url);
}

/*
 * URLs that were found to be good of late: libcurl needs 5,000 instructions to
 * read one, and most services submit the same few again and again.  What is good
 * depends on nothing but the kind and the URL.
 */
#define NGOOD_URLS		64		/* a power of 2 */
#define GOOD_URL_SIZE	120		/* longer ones are not remembered */

static struct
{
	WireKind	kind;
	char		url[GOOD_URL_SIZE]; /* "": none */
}			good_urls[NGOOD_URLS];

/* Where it is, or would be; -1: nowhere. */
static int
good_url_place(const char *url)
{
	size_t		len = strlen(url);

	if (len == 0 || len >= GOOD_URL_SIZE)
		return -1;
	return (int) (hash_bytes((const unsigned char *) url, (int) len) & (NGOOD_URLS - 1));
}

static const char *
find_url_problem(WireKind kind, const char *url, const char **hint)
{
	const char *problem = form_problem(kind, url);
	const char *own;
	const char *advice = NULL;

	if (problem == NULL && !utf8_has(url))
	{
		problem = "URL cannot be converted to UTF-8";
		advice = "Percent-encode bytes of a path or query that are not UTF-8.";
	}
	else if (problem == NULL && kind == WIRE_JSONRPC &&
			 (problem = jsonrpc_url_problem(url)) != NULL)
		advice = "Percent-encode the method's name in UTF-8.";
	else if (problem == NULL && kind != WIRE_LOCAL &&
			 (own = uri_own_parameter(url)) != NULL)
	{
		problem = psprintf("URL contains the reserved parameter \"%s\"", own);
		advice = "Use another name: dtm adds branch_id, gid, op and trans_type to each call, and its SDKs add dtm and phase2_url.";
	}
	if (hint != NULL && advice != NULL)
		*hint = advice;
	return problem;
}

const char *
wire_url_problem(const char *protocol, const char *url, const char **hint)
{
	WireKind	kind = wire_kind(protocol, url);
	int			place = good_url_place(url);
	const char *problem;

	if (place >= 0 && good_urls[place].kind == kind &&
		strcmp(good_urls[place].url, url) == 0)
		return NULL;
	problem = find_url_problem(kind, url, hint);
	if (problem == NULL && place >= 0)
	{
		good_urls[place].kind = kind;
		strlcpy(good_urls[place].url, url, GOOD_URL_SIZE);
	}
	return problem;
}

void
wire_describe(const Transaction *trans, int op, WireBranch *branch)
{
	if (op == DTM_CALL_QUERY)
	{
		bool		workflow = trans->core.type == DTM_WORKFLOW;

		branch->url = trans->query_prepared ? trans->query_prepared : "";
		branch->branch_id = WIRE_QUERY_BRANCH_ID;
		branch->op = workflow ? trans->workflow : dtm_op_name(DTM_OP_MSG);
		branch->payload = workflow ? trans->workflow_data : NULL;
		branch->step = NULL;
		branch->undoes = false;
	}
	else
	{
		const DtmBranchOp *core = &trans->core.ops[op];

		branch->url = dtm_op_undoes(core->op) ? trans->compensate[core->step] :
			trans->action[core->step];
		if (trans->branch_id != NULL)
			branch->branch_id = trans->branch_id[core->step];
		else
		{
			char	   *id = palloc(DTM_BRANCH_ID_SIZE);

			dtm_step_branch_id(core->step, id);
			branch->branch_id = id;
		}
		branch->op = dtm_op_name(core->op);
		branch->payload = trans->payload[core->step];
		branch->step = transaction_step(trans, core->step);
		branch->undoes = dtm_op_undoes(core->op);
	}
	branch->server = NULL;
	branch->rules = NULL;
	branch->kind = wire_kind(trans->protocol, branch->url);
	branch->number = op;
}

/* Responses mean what the branch's options say. */
static void
set_rules(WireBranch *branch, DtmCall *call)
{
	DtmReplyRules *rules;

	if (branch->step == NULL && branch->server == NULL)
		return;
	rules = palloc(sizeof(DtmReplyRules));
	step_options_rules(branch->step, branch->server, branch->undoes, rules);
	branch->rules = rules;
	call->status_is_enough = rules->ignore_words;
	call->read_retry_after = rules->retry_after;
}

void
wire_request(const Transaction *trans, WireBranch *branch, DtmCall *call)
{
	call->own_headers[DTM_TRACE_HEADER] = trace_header(trans, branch->number);
	set_rules(branch, call);
	switch (branch->kind)
	{
		case WIRE_HTTP:
			call->own_headers[DTM_IDEMPOTENCY_HEADER] = http_idempotency_header(trans, branch);
			http_request(trans, branch, call);
			break;
		case WIRE_JSONRPC:
			call->own_headers[DTM_IDEMPOTENCY_HEADER] = http_idempotency_header(trans, branch);
			jsonrpc_request(trans, branch, call);
			break;
		case WIRE_GRPC:
			grpc_request(trans, branch, call);
			break;
		case WIRE_LOCAL:
			elog(ERROR, "a local branch has no request");
	}
}

const char *
wire_body(WireKind kind, const DtmCall *call, size_t *len)
{
	if (kind == WIRE_GRPC)
		return grpc_message(call, len);
	*len = call->body_len;
	return call->body;
}

DtmResult
wire_result(WireKind kind, const DtmReplyRules *rules, const DtmCall *call,
			const char **text)
{
	DtmResult	result;

	*text = "";
	if (call->http_status == 0)
	{
		*text = call->error;
		return DTM_RESULT_TEMPORARY;
	}
	if (kind == WIRE_GRPC)
		return grpc_result(call, text);
	result = dtm_classify_http(rules, call->http_status,
							   call->reply ? call->reply : "", call->reply_len);
	if (result == DTM_RESULT_SUCCESS && kind == WIRE_JSONRPC)
		return jsonrpc_result(rules, call, text);
	if (result != DTM_RESULT_SUCCESS && call->reply != NULL)
		*text = call->reply;
	return result;
}

int64
wire_retry_after(const DtmReplyRules *rules, const DtmCall *call)
{
	int64		now;

	if (rules == NULL || !rules->retry_after || call->retry_after == NULL ||
		(call->http_status != 429 && call->http_status != 503))
		return 0;
	now = (call->started + call->duration) / DTM_USEC_PER_SEC;
	return dtm_retry_after(call->retry_after, strlen(call->retry_after), now) *
		DTM_USEC_PER_SEC;
}

bool
wire_said_final(WireKind kind, const DtmReplyRules *rules)
{
	/* the list is one of HTTP statuses */
	return kind != WIRE_GRPC && rules != NULL && rules->final != NULL;
}
