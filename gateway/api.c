/*
 * api.c
 *		Paths and methods of HTTP and JSON-RPC, and what their answers look like
 *		(§1 and §3 of the wire specification).
 */
#include "api.h"

#include "grpc.h"
#include "json.h"
#include "jsonrpc.h"
#include "log.h"
#include "query.h"

#include <stdlib.h>
#include <string.h>

#define BASE		"/api/dtmsvr"
#define TYPE_JSON	"application/json; charset=utf-8"
#define TYPE_TEXT	"text/plain; charset=utf-8"

/* How old the database's counters may be, in us, so that reading is cheap. */
#define METRICS_TIME	USEC_PER_SEC

#define SUCCESS		"{\"dtm_result\":\"SUCCESS\"}"

/* ---------- routes ---------- */

typedef enum RouteKind
{
	ROUTE_BODY,					/* the body is for the database */
	ROUTE_QUERY,				/* the query string is */
	ROUTE_TOPIC,				/* a name at the end of the path is */
	ROUTE_NEW_GID,
	ROUTE_PING,
	ROUTE_VERSION,
	ROUTE_METRICS,
	ROUTE_JSONRPC
} RouteKind;

typedef struct Route
{
	const char *method;			/* NULL: any */
	const char *path;
	const char *op;				/* as dtm.gateway_batch() has it; the name in
								 * the metrics, too */
	RouteKind	kind;
} Route;

static const Route routes[] = {
	{"GET", BASE "/newGid", "newGid", ROUTE_NEW_GID},
	{"POST", BASE "/prepare", "prepare", ROUTE_BODY},
	{"POST", BASE "/submit", "submit", ROUTE_BODY},
	{"POST", BASE "/abort", "abort", ROUTE_BODY},
	{"POST", BASE "/registerBranch", "registerBranch", ROUTE_BODY},
	{"POST", BASE "/registerTccBranch", "registerBranch", ROUTE_BODY},
	{"POST", BASE "/registerXaBranch", "registerBranch", ROUTE_BODY},
	{"POST", BASE "/completeBranch", "completeBranch", ROUTE_BODY},
	{"POST", BASE "/prepareWorkflow", "prepareWorkflow", ROUTE_BODY},
	{"POST", BASE "/forceStop", "forceStop", ROUTE_BODY},
	{"POST", BASE "/resetNextCronTime", "resetNextCronTime", ROUTE_BODY},
	{"GET", BASE "/query", "query", ROUTE_QUERY},
	{"GET", BASE "/all", "all", ROUTE_QUERY},
	{"GET", BASE "/resetCronTime", "resetCronTime", ROUTE_QUERY},
	{"GET", BASE "/subscribe", "subscribe", ROUTE_QUERY},
	{"GET", BASE "/unsubscribe", "unsubscribe", ROUTE_QUERY},
	{"DELETE", BASE "/topic/", "deleteTopic", ROUTE_TOPIC},
	{"GET", BASE "/scanKV", "scanKV", ROUTE_QUERY},
	{"GET", BASE "/queryKV", "queryKV", ROUTE_QUERY},
	{"GET", BASE "/version", "version", ROUTE_VERSION},
	{"GET", "/api/metrics", "metrics", ROUTE_METRICS},
	{"POST", "/api/json-rpc", "json-rpc", ROUTE_JSONRPC},
	{NULL, "/api/ping", "ping", ROUTE_PING}
};

#define NROUTES	(sizeof(routes) / sizeof(routes[0]))

/* The methods that JSON-RPC has; dtm's has not the last one. */
static const char *const rpc_methods[] = {"prepare", "submit", "abort", "registerBranch", "completeBranch"};

#define NRPC_METHODS (sizeof(rpc_methods) / sizeof(rpc_methods[0]))

static const Route *
find_route(const Exchange *exchange, size_t path_len)
{
	for (size_t i = 0; i < NROUTES; i++)
	{
		const Route *route = &routes[i];
		size_t		len = strlen(route->path);

		if (route->method != NULL && strcmp(route->method, exchange->method) != 0)
			continue;
		if (route->kind == ROUTE_TOPIC ? path_len > len : path_len == len)
			if (memcmp(route->path, exchange->target, len) == 0)
				return route;
	}
	return NULL;
}

/* ---------- answers ---------- */

static void
reply_text(Exchange *exchange, int status, const char *text)
{
	exchange_reply(exchange, status, TYPE_TEXT, NULL, text, strlen(text));
}

static void
reply_json(Exchange *exchange, int status, const char *extra, const Buf *body)
{
	exchange_reply(exchange, status, TYPE_JSON, extra, body->data, body->len);
}

/* Is it for prepareWorkflow, however little of it has come? */
static bool
is_of_workflow(const Exchange *exchange)
{
	static const char end[] = "/prepareWorkflow";
	size_t		len = exchange->target ? strcspn(exchange->target, "?") : 0;

	return len >= sizeof(end) - 1 &&
		memcmp(exchange->target + len - (sizeof(end) - 1), end, sizeof(end) - 1) == 0;
}

/* What a status needs beside the body. */
static const char *
extra_of(int status)
{
	return status == 503 || status == 429 ? "Retry-After: 1\r\n" :
		status == 401 ? "WWW-Authenticate: Bearer\r\n" : NULL;
}

/* An error; a result is one of dtm's words, or NULL. */
static void
reply_error(Exchange *exchange, int status, const char *result, const char *message)
{
	Buf			body = {0};
	const char *extra = extra_of(status);

	/*
	 * Go's workflow client takes any JSON for a transaction, and crashes on
	 * an error: so it must not be JSON.
	 */
	if (is_of_workflow(exchange))
	{
		exchange_reply(exchange, status, TYPE_TEXT, extra, message, strlen(message));
		return;
	}
	buf_addc(&body, '{');
	if (result != NULL)
		buf_printf(&body, "\"dtm_result\":\"%s\",", result);
	buf_adds(&body, "\"message\":");
	json_write_string(&body, message, strlen(message));
	buf_addc(&body, '}');
	reply_json(exchange, status, extra, &body);
	buf_free(&body);
}

static void
reply_rpc_error(Exchange *exchange, int status, int code, const char *message)
{
	Buf			body = {0};

	jsonrpc_write_error(&body, exchange->rpc_id.len ? buf_string(&exchange->rpc_id) : "null",
						code, message);
	reply_json(exchange, status, extra_of(status), &body);
	buf_free(&body);
}

int
api_http_status(Outcome outcome)
{
	switch (outcome)
	{
		case OUTCOME_SUCCESS:
			return 200;
		case OUTCOME_FAILURE:
			return 409;
		case OUTCOME_ONGOING:
			return 425;
		case OUTCOME_INVALID:
			return 400;
		case OUTCOME_DENIED:
			return 403;
		case OUTCOME_UNAUTHENTICATED:
			return 401;
		case OUTCOME_LOCKED:
		case OUTCOME_UNAVAILABLE:
			return 503;
		case OUTCOME_ERROR:
			break;
	}
	return 500;
}

static void
log_answer(const Exchange *exchange, const Answer *answer)
{
	const char *gid = exchange->request && exchange->request->gid ? exchange->request->gid : "";

	if (answer->outcome == OUTCOME_SUCCESS)
		log_debug("%s: %s of gid \"%s\"", exchange->conn->address, exchange->api, gid);
	else
		log_info("%s: %s of gid \"%s\": %s", exchange->conn->address, exchange->api, gid,
				 answer->message);
}

static void
answer_http(void *owner, const Answer *answer)
{
	Exchange   *exchange = owner;
	int			status = api_http_status(answer->outcome);

	log_answer(exchange, answer);
	exchange->request = NULL;
	if (answer->outcome != OUTCOME_SUCCESS)
		reply_error(exchange, status, answer->outcome == OUTCOME_FAILURE ? "FAILURE" :
					answer->outcome == OUTCOME_ONGOING ? "ONGOING" : NULL, answer->message);
	else if (answer->nparts > 0)
		exchange_reply(exchange, 200, TYPE_JSON, NULL, answer->parts[0].data,
					   answer->parts[0].len);
	else
		exchange_reply(exchange, 200, TYPE_JSON, NULL, SUCCESS, strlen(SUCCESS));
}

static void
answer_rpc(void *owner, const Answer *answer)
{
	Exchange   *exchange = owner;
	Buf			body = {0};
	int			status = api_http_status(answer->outcome);

	log_answer(exchange, answer);
	exchange->request = NULL;
	if (answer->outcome != OUTCOME_SUCCESS)
	{
		/* who asks, and when, is not the method's business */
		reply_rpc_error(exchange, status == 401 || status == 403 || status == 503 ? status : 200,
						answer->outcome == OUTCOME_FAILURE ? JSONRPC_FAILURE :
						answer->outcome == OUTCOME_ONGOING ? JSONRPC_ONGOING :
						JSONRPC_INTERNAL, answer->message);
		return;
	}
	jsonrpc_write_result(&body, buf_string(&exchange->rpc_id), "null");
	reply_json(exchange, 200, NULL, &body);
	buf_free(&body);
}

/* ---------- requests ---------- */

void
api_submit(Exchange *exchange, Request *request,
		   void (*done) (void *owner, const Answer *answer))
{
	request->done = done;
	request->owner = exchange;
	exchange->request = request;
	nodes_submit(exchange->conn->server->nodes, request);
}

static void
refuse_access(Exchange *exchange, Access access)
{
	int			status = api_access_status(access);

	if (access == ACCESS_TOO_MANY || access == ACCESS_BUSY)
		metrics[METRIC_OVERLOAD]++;
	if (exchange->kind == EXCHANGE_JSONRPC)
		reply_rpc_error(exchange, status, JSONRPC_INTERNAL, access_problem(access));
	else
		reply_error(exchange, status, NULL, access_problem(access));
}

/* Has the database do it, if its client may. */
static void
ask(Exchange *exchange, Request *request,
	void (*done) (void *owner, const Answer *answer))
{
	Access		access = access_check(exchange, request, false);

	if (access == ACCESS_GRANTED)
	{
		api_submit(exchange, request, done);
		return;
	}
	request_fail(request, OUTCOME_DENIED, "");
	refuse_access(exchange, access);
}

/* The gid of an object that is well-formed. */
static void
take_gid(Request *request, const JsonValue *object)
{
	JsonValue	gid = json_member(object, "gid");
	Buf			text = {0};

	if (gid.type != JSON_STRING)
		return;
	/* one client writes "a\/b", another one "a/b": it is the same gid */
	json_unescape(&gid, &text);
	request_set_gid(request, text.data, text.len);
	buf_free(&text);
}

static void
handle_body(Exchange *exchange, const Route *route)
{
	JsonValue	object;
	Request    *request;

	/* what is malformed would make the others of its batch be done twice */
	if (!json_read(exchange->body.data ? exchange->body.data : "", exchange->body.len, &object) ||
		object.type != JSON_OBJECT)
	{
		reply_error(exchange, strcmp(route->op, "registerBranch") == 0 ? 400 : 500, NULL,
					"the body is not a JSON object in UTF-8");
		return;
	}
	request = request_create(route->op);
	take_gid(request, &object);
	buf_add(&request->body, exchange->body.data, exchange->body.len);
	buf_free(&exchange->body);
	ask(exchange, request, answer_http);
}

static void
handle_query(Exchange *exchange, const Route *route, const char *query)
{
	Request    *request = request_create(route->op);
	Buf			gid = {0};

	query_to_object(&request->body, query);
	if (query_value(query, "gid", &gid))
		request_set_gid(request, gid.data, gid.len);
	buf_free(&gid);
	ask(exchange, request, answer_http);
}

static void
handle_topic(Exchange *exchange, const Route *route, size_t path_len)
{
	Request    *request = request_create(route->op);
	size_t		len = strlen(route->path);
	Buf			name = {0};

	query_decode(&name, exchange->target + len, path_len - len, false);
	buf_adds(&request->body, "{\"topic\":");
	json_write_string(&request->body, name.data, name.len);
	buf_addc(&request->body, '}');
	buf_free(&name);
	ask(exchange, request, answer_http);
}

static void
call_method(Exchange *exchange, const JsonRpc *rpc, const char *method)
{
	JsonValue	params = {JSON_NOTHING, {NULL, 0}};
	Request    *request;

	if (strcmp(method, "newGid") == 0)
	{
		char		gid[GID_SIZE];
		char		result[GID_SIZE + 16];
		Buf			body = {0};

		nodes_new_gid(exchange->conn->server->nodes, gid);
		(void) snprintf(result, sizeof(result), "{\"gid\":\"%s\"}", gid);
		jsonrpc_write_result(&body, buf_string(&exchange->rpc_id), result);
		reply_json(exchange, 200, NULL, &body);
		buf_free(&body);
		return;
	}
	(void) json_read(rpc->params.data, rpc->params.len, &params);
	if (params.type != JSON_OBJECT)
	{
		reply_rpc_error(exchange, 200, JSONRPC_INTERNAL, "params is not a JSON object");
		return;
	}
	request = request_create(method);
	take_gid(request, &params);
	buf_add(&request->body, rpc->params.data, rpc->params.len);
	ask(exchange, request, answer_rpc);
}

static void
handle_rpc(Exchange *exchange)
{
	JsonRpc		rpc;
	const char *method = NULL;
	int			code;
	Access		access = access_check_site(exchange, false);

	exchange->kind = EXCHANGE_JSONRPC;
	code = jsonrpc_read(exchange->body.data ? exchange->body.data : "", exchange->body.len, &rpc);
	buf_add(&exchange->rpc_id, rpc.id.data, rpc.id.len);
	if (code == 0)
	{
		const char *name = buf_string(&rpc.method);

		for (size_t i = 0; i < NRPC_METHODS; i++)
			if (strcmp(name, rpc_methods[i]) == 0)
				method = rpc_methods[i];
		if (strcmp(name, "newGid") == 0)
			method = "newGid";
		/* a zero byte would end the name before its end */
		if (method == NULL || rpc.method.len != strlen(method))
			code = JSONRPC_UNKNOWN_METHOD;
		else
			exchange->api = method;
	}
	if (access != ACCESS_GRANTED)
		refuse_access(exchange, access);
	else if (code == 0)
		call_method(exchange, &rpc, method);
	else
		reply_rpc_error(exchange, code == JSONRPC_PARSE_ERROR ? 400 : 200, code,
						code == JSONRPC_PARSE_ERROR ? "the body is not a JSON-RPC request" :
						code == JSONRPC_INVALID_REQUEST ? "id is empty, or jsonrpc is not 2.0" :
						"unknown method");
	jsonrpc_free(&rpc);
}

static void
reply_static(Exchange *exchange, const Route *route)
{
	Buf			body = {0};
	char		gid[GID_SIZE];

	switch (route->kind)
	{
		case ROUTE_NEW_GID:
			nodes_new_gid(exchange->conn->server->nodes, gid);
			buf_printf(&body, "{\"gid\":\"%s\",\"dtm_result\":\"SUCCESS\"}", gid);
			break;
		case ROUTE_VERSION:
			buf_adds(&body, "{\"version\":\"" DTM_VERSION "\"}");
			break;
		default:
			buf_adds(&body, "{\"msg\":\"pong\"}");
			break;
	}
	reply_json(exchange, 200, NULL, &body);
	buf_free(&body);
}

/* What the database counts, as text of a moment ago, and until when that will do. */
static Buf	counted;
static int64_t counted_until;

static void
write_metrics(Exchange *exchange)
{
	Buf			body = {0};

	metrics_write(&body, DTM_VERSION);
	buf_add(&body, counted.data, counted.len);
	exchange_reply(exchange, 200, "text/plain; version=0.0.4; charset=utf-8", NULL,
				   body.data, body.len);
	buf_free(&body);
}

static void
answer_metrics(void *owner, const Answer *answer)
{
	Exchange   *exchange = owner;

	exchange->request = NULL;
	counted.len = 0;
	if (answer->outcome == OUTCOME_SUCCESS)
		metrics_write_rows(&counted, answer->parts, answer->nparts / METRICS_COLUMNS);
	counted_until = exchange->conn->server->loop->now + METRICS_TIME;
	write_metrics(exchange);
}

/* Ours are there whatever the database does. */
static void
reply_metrics(Exchange *exchange)
{
	const Server *server = exchange->conn->server;

	if (nodes_first_is_ready(server->nodes) && counted_until <= server->loop->now)
	{
		api_submit(exchange, request_create(NULL), answer_metrics);
		return;
	}
	if (!nodes_first_is_ready(server->nodes))
		counted.len = 0;
	write_metrics(exchange);
}

/* A known path with a slash behind it is sent to the path, as dtm does. */
static bool
redirect(Exchange *exchange, size_t path_len)
{
	Buf			header = {0};

	if (path_len < 2 || exchange->target[path_len - 1] != '/' ||
		find_route(exchange, path_len - 1) == NULL)
		return false;
	buf_adds(&header, "Location: ");
	buf_add(&header, exchange->target, path_len - 1);
	buf_adds(&header, exchange->target + path_len);
	buf_adds(&header, "\r\n");
	exchange_reply(exchange, strcmp(exchange->method, "GET") == 0 ? 301 : 307, TYPE_TEXT,
				   buf_string(&header), "", 0);
	buf_free(&header);
	return true;
}

static void
handle_http(Exchange *exchange)
{
	size_t		path_len;
	const Route *route;
	const char *query;
	Access		access = access_check_site(exchange, false);

	access_take_token(exchange);
	path_len = strcspn(exchange->target, "?");
	query = exchange->target + path_len + (exchange->target[path_len] == '?');
	route = find_route(exchange, path_len);
	if (route == NULL)
	{
		if (!redirect(exchange, path_len))
			reply_text(exchange, 404, "404 page not found");
		return;
	}
	exchange->api = route->op;
	if (access != ACCESS_GRANTED && route->kind != ROUTE_JSONRPC)
	{
		refuse_access(exchange, access);
		return;
	}
	switch (route->kind)
	{
		case ROUTE_BODY:
			handle_body(exchange, route);
			break;
		case ROUTE_QUERY:
			handle_query(exchange, route, query);
			break;
		case ROUTE_TOPIC:
			handle_topic(exchange, route, path_len);
			break;
		case ROUTE_JSONRPC:
			handle_rpc(exchange);
			break;
		case ROUTE_METRICS:
			reply_metrics(exchange);
			break;
		case ROUTE_NEW_GID:
		case ROUTE_PING:
		case ROUTE_VERSION:
			reply_static(exchange, route);
			break;
	}
}

static void
refuse(Exchange *exchange, int status, const char *message)
{
	if (exchange->stream != 0 && grpc_is(exchange))
	{
		exchange->kind = EXCHANGE_GRPC;
		exchange_reply_grpc(exchange, status == 413 || status == 431 ? GRPC_RESOURCE_EXHAUSTED :
							status == 408 ? GRPC_DEADLINE_EXCEEDED :
							status == 503 ? GRPC_UNAVAILABLE : GRPC_INTERNAL, message, NULL);
	}
	else
		reply_error(exchange, status, NULL, message);
}

static void
handle(Exchange *exchange)
{
	if (exchange->too_large)
		refuse(exchange, 431, "headers too large");
	else if (exchange->method == NULL || exchange->target == NULL || exchange->target[0] != '/')
		refuse(exchange, 400, "a method and a path are needed");
	else if (exchange->stream != 0 && grpc_is(exchange))
		grpc_handle(exchange);
	else
		handle_http(exchange);
}

static void
expire(Exchange *exchange)
{
	/* only gRPC has deadlines; what was asked for is done all the same */
	if (exchange->request != NULL)
		exchange->request->owner = NULL;
	exchange->request = NULL;
	exchange_reply_grpc(exchange, GRPC_DEADLINE_EXCEEDED, "deadline exceeded", NULL);
}

const ServerHandler api_handler = {handle, refuse, expire};
