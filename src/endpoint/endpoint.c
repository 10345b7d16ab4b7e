/*
 * endpoint.c
 *		Resolves a URL for a role that calls it, and makes the request.
 */
#include "private.h"

#include "wire/uri.h"

#include "access/htup_details.h"
#include "access/reloptions.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "foreign/foreign.h"
#include "utils/acl.h"
#include "utils/syscache.h"


static bool
fail(EndpointProblem *problem, int sqlerrcode, const char *message, const char *hint)
{
	problem->sqlerrcode = sqlerrcode;
	problem->message = message;
	problem->hint = hint;
	return false;
}

/* The server that a URL names; NULL, with the reason, if there is none. */
static ForeignServer *
find_server(const char *url, EndpointProblem *problem)
{
	const char *name = url + strlen(DTM_SCHEME_SERVER);
	size_t		len = strcspn(name, "/?#");
	char	   *server_name = pnstrdup(name, len);
	ForeignServer *server;

	server = len == 0 ? NULL : GetForeignServerByName(server_name, true);
	if (server == NULL)
	{
		fail(problem, ERRCODE_UNDEFINED_OBJECT,
			 psprintf("server \"%s\" does not exist", server_name),
			 "Create it with CREATE SERVER ... FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url ...). The URL names it between \"server:\" and \"/\".");
		return NULL;
	}
	if (server->fdwid != get_foreign_data_wrapper_oid(WRAPPER_NAME, true))
	{
		fail(problem, ERRCODE_WRONG_OBJECT_TYPE,
			 psprintf("server \"%s\" does not use foreign-data wrapper \"dtm_http\"", server_name),
			 "Use a server that was created with FOREIGN DATA WRAPPER dtm_http.");
		return NULL;
	}
	return server;
}

/*
 * The options of the user mapping of a role, or of PUBLIC; NIL: there is none.
 */
static List *
mapping_options(Oid role, Oid server)
{
	HeapTuple	tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(role),
										ObjectIdGetDatum(server));
	List	   *options = NIL;
	Datum		datum;
	bool		isnull;

	if (!HeapTupleIsValid(tuple))
		tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(InvalidOid),
								ObjectIdGetDatum(server));
	if (!HeapTupleIsValid(tuple))
		return NIL;
	datum = SysCacheGetAttr(USERMAPPINGUSERSERVER, tuple, Anum_pg_user_mapping_umoptions,
							&isnull);
	if (!isnull)
		options = untransformRelOptions(datum);
	ReleaseSysCache(tuple);
	return options;
}

/* What a URL has behind the server's name. */
static const char *
path_of(const char *url)
{
	const char *path = url + strlen(DTM_SCHEME_SERVER);

	return path + strcspn(path, "/?#");
}

/* Could its path leave the base URL? */
static bool
check_path(const char *url, EndpointProblem *problem)
{
	const char *message;

	if (!utf8_has(url))
		message = "URL cannot be converted to UTF-8";
	else
		message = uri_path_problem(path_of(utf8_of(url)));
	return message == NULL ||
		fail(problem, ERRCODE_INVALID_PARAMETER_VALUE, message,
			 "A path goes on from the server's base_url, however often it is decoded; it has no segment \".\" or \"..\" and no control characters.");
}

/* The base URL, followed by the part of the URL after the server's name. */
static char *
join(const char *base_url, const char *url)
{
	const char *rest = path_of(url);
	size_t		len = strlen(base_url);

	while (len > 0 && base_url[len - 1] == '/')
		len--;
	return psprintf("%.*s%s%s", (int) len, base_url,
					*rest != '\0' && *rest != '/' ? "/" : "", rest);
}

bool
endpoint_resolve(const char *url, Oid role, Endpoint *endpoint,
				 EndpointProblem *problem)
{
	const char *base_url = "";
	ForeignServer *server;

	memset(endpoint, 0, sizeof(*endpoint));
	endpoint->url = url;
	if (!endpoint_is_server(url))
	{
		if (dtm_allowed_targets == DTM_TARGETS_ANY || url[0] == '\0' ||
			strncmp(url, DTM_SCHEME_LOCAL, strlen(DTM_SCHEME_LOCAL)) == 0)
			return true;
		return fail(problem, ERRCODE_INSUFFICIENT_PRIVILEGE,
					"dtm.allowed_targets permits foreign servers only",
					"Use a foreign server, as in server:name/path.");
	}
	server = find_server(url, problem);
	if (server == NULL)
		return false;
	if (!check_path(url, problem))
		return false;
	if (OidIsValid(role))
	{
		if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role)))
			return fail(problem, ERRCODE_UNDEFINED_OBJECT,
						"role that submitted no longer exists",
						"End the global transaction with dtm_force_stop().");

		/*
		 * check first, because dtm_can_use_server() throws for a dropped
		 * server
		 */
		if (!SearchSysCacheExists1(FOREIGNSERVEROID, ObjectIdGetDatum(server->serverid)) ||
			!dtm_can_use_server(server->serverid, role))
			return fail(problem, ERRCODE_INSUFFICIENT_PRIVILEGE,
						psprintf("permission denied for foreign server %s", server->servername),
						"Grant USAGE on the foreign server to the role that submits.");
		options_take(mapping_options(role, server->serverid), endpoint, &base_url);
	}
	options_take(server->options, endpoint, &base_url);
	endpoint->url = join(base_url, url);
	return true;
}

/* ---------- requests ---------- */

/* A transaction's headers must not redirect credentials, or sign. */
static bool
is_forbidden(const char *name, const Endpoint *endpoint)
{
	return pg_strcasecmp(name, "Host") == 0 ||
		(endpoint->hmac_key != NULL && pg_strcasecmp(name, ENDPOINT_SIGNATURE) == 0);
}

/*
 * Adds headers to a transaction; they replace its own headers of the same name.
 * With an endpoint, those that it forbids are left out, too.
 */
static void
add_headers(Transaction *trans, int nadded, const char *const *added_name,
			const char *const *added_value, const Endpoint *endpoint)
{
	char	  **names = palloc(sizeof(char *) * (trans->nheaders + nadded + 1));
	char	  **values = palloc(sizeof(char *) * (trans->nheaders + nadded + 1));
	int			n = 0;

	for (int i = 0; i < trans->nheaders; i++)
	{
		bool		replaced = endpoint != NULL &&
			is_forbidden(trans->header_name[i], endpoint);

		for (int j = 0; j < nadded && !replaced; j++)
			replaced = pg_strcasecmp(trans->header_name[i], added_name[j]) == 0;
		if (replaced)
			continue;
		names[n] = trans->header_name[i];
		values[n++] = trans->header_value[i];
	}
	for (int i = 0; i < nadded; i++)
	{
		names[n] = unconstify(char *, added_name[i]);
		values[n++] = unconstify(char *, added_value[i]);
	}
	trans->nheaders = n;
	trans->header_name = names;
	trans->header_value = values;
}

/*
 * The request and its signature.  Text that has no form in UTF-8, or JSON that
 * this process can't read, was stored before it was refused at the submit, or
 * the encoding of the mapping's options is to blame: an error of this call.  What
 * is too deep or too large is so each time.
 */
static bool
make_request(const Transaction *trans, WireBranch *branch, const Endpoint *endpoint,
			 DtmCall *call, const char **reason, bool *never)
{
	MemoryContext context = CurrentMemoryContext;
	const char *volatile problem = NULL;
	volatile bool limit = false;

	PG_TRY();
	{
		const char *body;
		size_t		body_len;

		wire_request(trans, branch, call);
		if (endpoint->hmac_key != NULL)
		{
			body = wire_body(branch->kind, call, &body_len);
			call->own_headers[DTM_SIGNATURE_HEADER] =
				endpoint_sign(endpoint->hmac_key, trans->gid, branch->branch_id,
							  branch->op, body, body_len);
		}
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		if (ERRCODE_TO_CATEGORY(edata->sqlerrcode) != ERRCODE_DATA_EXCEPTION &&
			ERRCODE_TO_CATEGORY(edata->sqlerrcode) != ERRCODE_PROGRAM_LIMIT_EXCEEDED)
			PG_RE_THROW();
		FlushErrorState();
		limit = ERRCODE_TO_CATEGORY(edata->sqlerrcode) == ERRCODE_PROGRAM_LIMIT_EXCEEDED;
		problem = psprintf("could not prepare request: %s", edata->message);
	}
	PG_END_TRY();
	*reason = problem;
	*never = limit;
	return problem == NULL;
}

/* The step's goes before the transaction's, which the call has. */
static void
set_timeout(DtmCall *call, const StepOptions *step, const StepOptions *server)
{
	if (step != NULL && step->request_timeout > 0)
		call->timeout = (int64) step->request_timeout * 1000;
	if (call->timeout == 0)
		call->timeout = (int64) (server != NULL && server->request_timeout > 0 ?
								 server->request_timeout : dtm_request_timeout) * 1000;
}

bool
endpoint_request(const Transaction *trans, WireBranch *branch, DtmCall *call,
				 const char **reason, bool *never)
{
	Transaction with = *trans;
	Endpoint	endpoint;
	EndpointProblem problem;

	*never = false;
	if (!endpoint_resolve(branch->url, trans->submitted_by, &endpoint, &problem))
	{
		*reason = problem.message;
		return false;
	}
	set_timeout(call, branch->step, endpoint.options);
	branch->server = endpoint.options;
	if (branch->step != NULL && branch->step->nheaders > 0)
		add_headers(&with, branch->step->nheaders, branch->step->header_name,
					branch->step->header_value, NULL);
	if (endpoint_is_server(branch->url))
	{
		branch->url = endpoint.url;
		branch->kind = wire_kind(trans->protocol, endpoint.url);
		*reason = wire_url_problem(trans->protocol, endpoint.url, NULL);
		if (*reason != NULL)
			return false;
		add_headers(&with, endpoint.nheaders, (const char *const *) endpoint.header_name,
					(const char *const *) endpoint.header_value, &endpoint);
	}
	call->ca_file = endpoint.ca_file;
	call->client_cert = endpoint.client_cert;
	call->client_key = endpoint.client_key;
	call->connect_timeout = (int64) endpoint.connect_timeout * 1000;
	call->max_requests = endpoint.max_requests;
	call->interval = endpoint.interval;
	return make_request(&with, branch, &endpoint, call, reason, never);
}

/* The headers of the endpoint, and the default ones that they do not replace. */
static void
post_headers(const Endpoint *endpoint, DtmCall *call)
{
	const char **headers = palloc(sizeof(char *) * (endpoint->nheaders + DTM_NDEFAULT_HEADERS));
	int			n = 0;

	for (int i = 0; i < endpoint->nheaders; i++)
	{
		const char *value = utf8_of(endpoint->header_value[i]);

		/* libcurl takes "Name:" and blanks as an order to leave it out */
		headers[n++] = psprintf(value[strspn(value, " \t")] == '\0' ? "%s;" : "%s: %s",
								endpoint->header_name[i], value);
	}
	for (int i = 0; i < DTM_NDEFAULT_HEADERS; i++)
	{
		size_t		len = strcspn(dtm_default_headers[i], ":");
		bool		replaced = false;

		for (int j = 0; j < endpoint->nheaders; j++)
			replaced = replaced || (strlen(endpoint->header_name[j]) == len &&
									pg_strncasecmp(dtm_default_headers[i],
												   endpoint->header_name[j], len) == 0);
		if (!replaced)
			headers[n++] = dtm_default_headers[i];
	}
	call->headers = headers;
	call->nheaders = n;
}

bool
endpoint_post(const char *url, Oid role, DtmCall *call, const char **reason)
{
	Endpoint	endpoint;
	EndpointProblem problem;

	call->post = true;
	call->url = url;
	if (!endpoint_is_server(url))
		return true;
	if (!endpoint_resolve(url, role, &endpoint, &problem))
	{
		*reason = problem.message;
		return false;
	}
	call->url = endpoint.url;
	*reason = dtm_url_problem(endpoint.url);
	if (*reason != NULL)
		return false;
	post_headers(&endpoint, call);
	call->ca_file = endpoint.ca_file;
	call->client_cert = endpoint.client_cert;
	call->client_key = endpoint.client_key;
	call->connect_timeout = (int64) endpoint.connect_timeout * 1000;
	call->max_requests = endpoint.max_requests;
	call->interval = endpoint.interval;
	return true;
}
