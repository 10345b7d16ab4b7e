/*
 * url.c
 *		Checks URLs in requests: whether they can be called, by which role, and
 *		with which payload.
 */
#include "private.h"

#include "endpoint/endpoint.h"
#include "local/local.h"
#include "wire/wire.h"

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(dtm_check_url);

/*
 * Functions may not be named by what comes from a network, unless the role may.
 * It is the current transaction's: the next one begins with what is usual.
 */
static LocalTransactionId local_forbidden_in = InvalidLocalTransactionId;

void
request_allow_local(bool allow)
{
	local_forbidden_in = allow ? InvalidLocalTransactionId : dtm_local_xid();
}

/*
 * Resolves a URL for a role that calls it, or throws an error.  InvalidOid:
 * for any role.
 */
static const char *
target_of(const char *url, const char *what, Oid role)
{
	Endpoint	endpoint;
	EndpointProblem problem;

	if (endpoint_resolve(url, role, &endpoint, &problem))
		return endpoint.url;
	ereport(ERROR,
			(errcode(problem.sqlerrcode),
			 errmsg("URL of \"%s\" cannot be called: %s", what, problem.message),
			 errdetail("The URL is \"%s\".", url),
			 errhint("%s", problem.hint)));
}

void
request_check_url(const char *protocol, const char *url, const char *what,
				  RequestUrl may_be, Oid submitted_by)
{
	const char *problem;
	const char *hint = "Use an http or https URL with a host, grpc://host:port/package.Service/Method, server:name/path, sql:schema.function, topic://name in a msg, or '' for no call.";
	const char *target;
	bool		server = endpoint_is_server(url);

	if (url[0] == '\0')
		return;					/* success without a call */
	if (is_topic(url))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("URL of \"%s\" cannot be a topic", what),
				 errdetail("The URL is \"%s\".", url),
				 errhint("Use a topic only in the steps of a msg.")));
	target = target_of(url, what, submitted_by);
	problem = wire_url_problem(protocol, target, &hint);
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("URL of \"%s\" cannot be called: %s", what, problem),
				 errdetail("The URL is \"%s\".", url),
				 errhint("%s", hint)));
	if (wire_kind(protocol, target) != WIRE_LOCAL && !server)
		return;
	if (!OidIsValid(submitted_by))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 server ?
				 errmsg("permission denied to name a foreign server for a role that no longer exists") :
				 errmsg("permission denied to name a function for a role that no longer exists"),
				 errdetail("The call is made as the role that submitted the global transaction."),
				 errhint("Assign the global transaction to another role with dtm_assign().")));
	if (!has_privs_of_role(GetUserId(), submitted_by))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 server ?
				 errmsg("permission denied to name a foreign server for role \"%s\"",
						GetUserNameFromId(submitted_by, false)) :
				 errmsg("permission denied to name a function for role \"%s\"",
						GetUserNameFromId(submitted_by, false)),
				 errdetail("The call is made as the role that submitted the global transaction."),
				 errhint("Do this as a role that has the privileges of that role.")));
	if (server)
		return;
	if (local_forbidden_in != InvalidLocalTransactionId &&
		local_forbidden_in == dtm_local_xid())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("URL of \"%s\" cannot be a function in this database", what),
				 errdetail("The URL is \"%s\".", url),
				 errhint("Requests from the network may name functions only for the roles in dtm.gateway_sql_roles.")));
	if (may_be == REQUEST_URL_REMOTE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("URL of \"%s\" cannot be a function in this database", what),
				 errdetail("The URL is \"%s\".", url),
				 errhint("Use functions as steps of a saga or msg, as branches of a tcc or xa, or in on_finish.")));
	(void) local_function(url);
}

WireKind
request_url_kind(const char *protocol, const char *url, const char *what)
{
	return wire_kind(protocol, endpoint_is_server(url) ?
					 target_of(url, what, GetUserId()) : url);
}

static void
say_payload(void *arg)
{
	errcontext("payload of \"%s\"", (const char *) arg);
}

void
request_check_payload(const char *protocol, const char *url, const char *what,
					  const bytea *payload)
{
	WireKind	kind = request_url_kind(protocol, url, what);
	ErrorContextCallback callback = {.callback = say_payload};
	char	   *text;
	Jsonb	   *jsonb;

	if (payload == NULL || (kind != WIRE_JSONRPC && kind != WIRE_LOCAL))
		return;
	if (memchr(VARDATA_ANY(payload), '\0', VARSIZE_ANY_EXHDR(payload)) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("payload of \"%s\" contains a zero byte", what),
				 errhint("Pass a JSON value.")));
	if (!pg_verify_mbstr(PG_UTF8, VARDATA_ANY(payload), VARSIZE_ANY_EXHDR(payload), true))
		ereport(ERROR,
				(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
				 errmsg("payload of \"%s\" is not valid UTF-8", what),
				 errhint("Pass a JSON value.")));
	callback.arg = unconstify(char *, what);
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	text = utf8_to_server(VARDATA_ANY(payload), VARSIZE_ANY_EXHDR(payload));

	jsonb = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
	error_context_stack = callback.previous;
	if (kind == WIRE_JSONRPC && !JB_ROOT_IS_OBJECT(jsonb))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("payload of \"%s\" is not a JSON object", what),
				 errhint("Pass a JSON object; dtm adds four parameters to it for JSON-RPC.")));
}

/* dtm.check_url(url, what) returns void; for what is called by others later */
Datum
dtm_check_url(PG_FUNCTION_ARGS)
{
	char	   *url = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *what = text_to_cstring(PG_GETARG_TEXT_PP(1));
	const char *problem = NULL;
	const char *hint = "Use an http or https URL with a host, server:name/path, or grpc://host:port/package.Service/Method.";

	if (is_topic(url))
		problem = "URL is a topic";
	else if (wire_kind("grpc", url) == WIRE_LOCAL)
		/* it would be called as whoever submits to the topic */
		problem = "URL is a function in the database";
	else if (strstr(url, "://") == NULL && !endpoint_is_server(url) &&
			 strcspn(url, ":") > strcspn(url, "/"))
		/* that of gRPC has a port: this is meant as http */
		problem = "missing scheme";
	else
		/* whose protocol allows the most */
		problem = wire_url_problem("grpc", target_of(url, what, InvalidOid), &hint);
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("URL of \"%s\" cannot be called: %s", what, problem),
				 errdetail("The URL is \"%s\".", url),
				 errhint("%s", hint)));
	PG_RETURN_VOID();
}
