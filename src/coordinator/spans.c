/*
 * spans.c
 *		The spans of global transactions: one for each transaction, when it has
 *		ended, and one for each call, as a child of it.
 *
 * Ids are derived from the gid (wire/trace.c), so that all spans of a transaction
 * belong together whichever coordinator has made its calls, and nothing is stored.
 * A transaction whose traceparent is not sampled has no spans.
 *
 * A transaction may be ended by a session, or by a worker that has called its last
 * function.  Then its row is gone when we read it again, and what has become of it is
 * looked up.  One that we have ended may be announced once more, so the latest of
 * those are remembered; what is forgotten has its span sent twice, with the same ids.
 */
#include "private.h"

#include "clock.h"
#include "text/utf8.h"

#include "commands/dbcommands.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include <unistd.h>

/* Letters of a host's name. */
#define MAX_HOST_NAME	256

/* What the error is where there was no response. */
#define NO_RESPONSE		"no_response"

/*
 * Text in UTF-8: there is no transaction, so that of another encoding is only looked
 * at byte by byte.
 */
static const char *
utf8_or_ascii(const char *text)
{
	char	   *marked;

	if (GetDatabaseEncoding() == PG_UTF8 || utf8_is_ascii(text))
		return text;

	marked = pstrdup(text);
	for (char *c = marked; *c; c++)
		if (IS_HIGHBIT_SET(*c))
			*c = '?';
	return marked;
}

/* ---------- attributes ---------- */

/* A URL without user, query and fragment, which may be nobody else's business. */
static char *
public_url(const char *url)
{
	const char *scheme_end = strstr(url, "://");
	size_t		len = strcspn(url, "?#");
	const char *authority;
	const char *at;

	if (scheme_end == NULL)
		return pnstrdup(url, len);
	authority = scheme_end + strlen("://");
	at = memchr(authority, '@', strcspn(authority, "/?#"));
	if (at == NULL)
		return pnstrdup(url, len);
	return psprintf("%.*s%.*s", (int) (authority - url), url,
					(int) (url + len - (at + 1)), at + 1);
}

/* Of "http://host:port"; the port may be missing. */
static void
set_server(OtlpSpan *span, const char *url)
{
	char		name[DTM_HOST_NAME_SIZE];
	char	   *host;
	char	   *port;

	dtm_host_name(url, name);
	host = strstr(name, "://");
	host = pstrdup(host == NULL ? name : host + strlen("://"));
	port = strrchr(host, ':');
	if (port == NULL)
		return;
	*port++ = '\0';
	otlp_set_text(span, "server.address", utf8_or_ascii(host));
	otlp_set_number(span, "server.port", strtol(port, NULL, 10));
}

static void
set_call(OtlpSpan *span, const Call *call, const CallSpan *made, const StoreAttempt *attempt)
{
	if (made->method == NULL)
	{
		otlp_set_text(span, "dtm.function",
					  utf8_or_ascii(made->url + strlen(DTM_SCHEME_LOCAL)));
		return;
	}
	if (call->kind == WIRE_GRPC)
		otlp_set_text(span, "rpc.system", "grpc");
	else
		otlp_set_text(span, "http.request.method", made->method);
	otlp_set_text(span, "url.full", utf8_or_ascii(public_url(made->url)));
	set_server(span, made->url);
	if (attempt->http_status > 0 && call->kind != WIRE_GRPC)
		otlp_set_number(span, "http.response.status_code", attempt->http_status);
	if (attempt->grpc_status >= 0)
		otlp_set_number(span, "rpc.grpc.status_code", attempt->grpc_status);
}

static void
set_result(OtlpSpan *span, const StoreAttempt *attempt, DtmResult result, const char *text)
{
	otlp_set_text(span, "dtm.result", dtm_result_name(result));
	span->status = result == DTM_RESULT_SUCCESS ? OTLP_STATUS_OK :
		result == DTM_RESULT_ONGOING ? OTLP_STATUS_UNSET : OTLP_STATUS_ERROR;
	if (span->status != OTLP_STATUS_ERROR)
		return;
	span->message = utf8_or_ascii(text);
	otlp_set_text(span, "error.type",
				  attempt->grpc_status >= 0 ? psprintf("%d", attempt->grpc_status) :
				  attempt->http_status > 0 ? psprintf("%d", attempt->http_status) :
				  NO_RESPONSE);
}

/* What both kinds of spans have; false: it is not to be traced. */
static bool
begin_span(OtlpSpan *span, const Transaction *trans, WireTrace *trace)
{
	wire_trace(trans->gid, wire_traceparent(trans), trace);
	if (!(trace->flags & WIRE_TRACE_SAMPLED))
		return false;
	memset(span, 0, offsetof(OtlpSpan, attributes));
	strlcpy(span->trace_id, trace->trace_id, sizeof(span->trace_id));
	span->trace_flags = trace->flags;
	otlp_set_text(span, "dtm.gid", utf8_or_ascii(trans->gid));
	otlp_set_text(span, "dtm.trans_type", dtm_trans_type_name(trans->core.type));
	return true;
}

/* ---------- attempts ---------- */

void
spans_attempt(Coordinator *c, const Entry *entry, const Call *call, DtmResult result,
			  const char *text)
{
	const Transaction *trans = entry->trans;
	MemoryContext before = MemoryContextSwitchTo(c->turn);
	WireTrace	trace;
	WireBranch	branch;
	OtlpSpan	span;
	CallSpan	made;
	StoreAttempt attempt;

	if (begin_span(&span, trans, &trace))
	{
		call_describe(call, &attempt);
		call_span(call, trans, &attempt, &made);
		wire_describe(trans, call->op, &branch);
		strlcpy(span.span_id, made.id, sizeof(span.span_id));
		strlcpy(span.parent_id, trace.root_id, sizeof(span.parent_id));
		span.kind = made.method == NULL ? OTLP_KIND_INTERNAL : OTLP_KIND_CLIENT;
		span.name = utf8_or_ascii(psprintf("%s %s", branch.op, branch.branch_id));
		span.start = clock_to_unix(attempt.started != 0 ? attempt.started : GetCurrentTimestamp());
		span.end = span.start + attempt.duration;
		otlp_set_text(&span, "dtm.branch_id", utf8_or_ascii(branch.branch_id));
		otlp_set_text(&span, "dtm.op", utf8_or_ascii(branch.op));
		otlp_set_number(&span, "dtm.retry_count", trans->core.failures);
		set_call(&span, call, &made, &attempt);
		set_result(&span, &attempt, result, text);
		traces_add(&c->traces, &span);
	}
	MemoryContextSwitchTo(before);
}

/* ---------- transactions ---------- */

static void
add_root(Coordinator *c, const Transaction *trans, TimestampTz end)
{
	const DtmTrans *core = &trans->core;
	WireTrace	trace;
	OtlpSpan	span;

	if (!begin_span(&span, trans, &trace))
		return;
	strlcpy(span.span_id, trace.root_id, sizeof(span.span_id));
	strlcpy(span.parent_id, trace.parent_id, sizeof(span.parent_id));
	span.parent_is_remote = span.parent_id[0] != '\0';
	span.kind = OTLP_KIND_INTERNAL;
	span.name = psprintf("dtm %s", dtm_trans_type_name(core->type));
	span.start = clock_to_unix(core->created);
	span.end = clock_to_unix(end);
	otlp_set_text(&span, "dtm.status", dtm_status_name(core->status));
	otlp_set_number(&span, "dtm.branches", core->nsteps);
	if (trans->parent != NULL)
		otlp_set_text(&span, "dtm.parent_gid", utf8_or_ascii(trans->parent));
	span.status = core->status == DTM_SUCCEED ? OTLP_STATUS_OK : OTLP_STATUS_ERROR;
	span.message = utf8_or_ascii(core->reason);
	traces_add(&c->traces, &span);
}

/* Where an id is remembered that has had its span. */
static int64 *
recent_place(Traces *traces, int64 id)
{
	return &traces->recent[(uint64) id % TRACES_RECENT];
}

void
spans_end(Coordinator *c, const Transaction *trans)
{
	MemoryContext before = MemoryContextSwitchTo(c->turn);

	*recent_place(&c->traces, trans->id) = trans->id;
	add_root(c, trans, GetCurrentTimestamp());
	MemoryContextSwitchTo(before);
}

void
spans_absent(Coordinator *c, int64 id)
{
	Traces	   *traces = &c->traces;

	if (*recent_place(traces, id) == id)
		return;
	*recent_place(traces, id) = id;
	if (traces->nended < TRACES_MAX_ENDED)
		traces->ended[traces->nended++] = id;
	else
		traces_drop(traces, 1);
}

/* Who sends the spans. */
static void
find_resource(Traces *traces, DtmShare share)
{
	MemoryContext before = MemoryContextSwitchTo(traces->context);
	OtlpAttribute *resource = traces->resource;
	char		host[MAX_HOST_NAME] = "";
	const char *database = get_database_name(MyDatabaseId);

	(void) gethostname(host, sizeof(host) - 1);
	memset(resource, 0, sizeof(traces->resource));
	resource[0].key = "service.name";
	resource[0].string = "dtm";
	resource[1].key = "service.version";
	resource[1].string = DTM_VERSION;
	resource[2].key = "service.instance.id";
	resource[2].string = psprintf(UINT64_FORMAT "/%u/%d", GetSystemIdentifier(), MyDatabaseId,
								  share.number + 1);
	resource[3].key = "host.name";
	resource[3].string = utf8_or_ascii(pstrdup(host));
	resource[4].key = "db.namespace";
	resource[4].string = utf8_or_ascii(database != NULL ? database : "");
	traces->nresource = TRACES_NRESOURCE;
	MemoryContextSwitchTo(before);
}

void
spans_look_up(Coordinator *c)
{
	Traces	   *traces = &c->traces;
	MemoryContext scratch;
	MemoryContext before;

	if (traces->nresource == 0)
		find_resource(traces, c->share);
	if (traces->nended == 0)
		return;
	/* one after another: they have their payloads */
	scratch = AllocSetContextCreate(c->turn, "dtm span", ALLOCSET_DEFAULT_SIZES);
	before = MemoryContextSwitchTo(scratch);
	while (traces->nended > 0)
	{
		int64		id = traces->ended[--traces->nended];
		Transaction *trans;

		if (store_find_ended(id, &trans))
			add_root(c, trans, trans->core.next_time);
		MemoryContextReset(scratch);
	}
	MemoryContextSwitchTo(before);
	MemoryContextDelete(scratch);
}
