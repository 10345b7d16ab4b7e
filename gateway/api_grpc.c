/*
 * api_grpc.c
 *		Methods of gRPC, and what their answers look like (§4 of the wire
 *		specification).
 */
#include "api.h"

#include "grpc.h"
#include "log.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SERVICE		"dtmgimp.Dtm"
#define HEALTH		"grpc.health.v1.Health"

typedef struct Method
{
	const char *name;
	const char *op;				/* NULL: the database is not asked */
	bool		(*read) (Bytes message, GrpcRequest *request);
} Method;

static const Method methods[] = {
	{"NewGid", NULL, NULL},
	{"Submit", "submit", grpc_read_request},
	{"Prepare", "prepare", grpc_read_request},
	{"Abort", "abort", grpc_read_request},
	{"RegisterBranch", "registerBranch", grpc_read_branch},
	{"PrepareWorkflow", "prepareWorkflow", grpc_read_request},
	{"Subscribe", "subscribe", grpc_read_topic},
	{"Unsubscribe", "unsubscribe", grpc_read_topic},
	{"DeleteTopic", "deleteTopic", grpc_read_topic}
};

bool
grpc_is(const Exchange *exchange)
{
	/*
	 * a path of a service: then the wrong content type is told, not a wrong
	 * path
	 */
	return (exchange->content_type != NULL &&
			strncasecmp(exchange->content_type, "application/grpc", 16) == 0) ||
		(exchange->target != NULL &&
		 (strncmp(exchange->target, "/" SERVICE "/", sizeof("/" SERVICE "/") - 1) == 0 ||
		  strncmp(exchange->target, "/" HEALTH "/", sizeof("/" HEALTH "/") - 1) == 0));
}

/* application/grpc, or with +proto; parameters do not matter. */
static bool
is_supported(const char *type)
{
	size_t		len = type ? strcspn(type, "; \t") : 0;

	return (len == 16 && strncasecmp(type, "application/grpc", len) == 0) ||
		(len == 22 && strncasecmp(type, "application/grpc+proto", len) == 0);
}

static void
fail(Exchange *exchange, int status, const char *message)
{
	exchange_reply_grpc(exchange, status, message, NULL);
}

static int
status_of(const Exchange *exchange, const Answer *answer)
{
	bool		begins = strcmp(exchange->api, "Submit") == 0 || strcmp(exchange->api, "Prepare") == 0;

	switch (answer->outcome)
	{
		case OUTCOME_SUCCESS:
			return GRPC_OK;
		case OUTCOME_FAILURE:
			return GRPC_ABORTED;
		case OUTCOME_ONGOING:
			return GRPC_FAILED_PRECONDITION;
		case OUTCOME_DENIED:
			return GRPC_PERMISSION_DENIED;
		case OUTCOME_UNAUTHENTICATED:
			return GRPC_UNAUTHENTICATED;
		case OUTCOME_LOCKED:
		case OUTCOME_UNAVAILABLE:
			return GRPC_UNAVAILABLE;
		case OUTCOME_ERROR:
		case OUTCOME_INVALID:
			break;
	}

	/*
	 * What panics in dtm: an unknown gid, a workflow that has ended, a topic
	 * that a message names and nobody has subscribed to.
	 */
	if (strcmp(answer->sqlstate, "DT003") == 0 || strcmp(answer->sqlstate, "DT001") == 0 ||
		(begins && strcmp(answer->sqlstate, "42704") == 0))
		return GRPC_INTERNAL;
	if (strcmp(answer->sqlstate, "42501") == 0)
		return GRPC_PERMISSION_DENIED;
	return GRPC_UNKNOWN;
}

static void
answer_grpc(void *owner, const Answer *answer)
{
	Exchange   *exchange = owner;
	const char *gid = exchange->request && exchange->request->gid ? exchange->request->gid : "";
	Buf			reply = {0};

	if (answer->outcome == OUTCOME_SUCCESS)
		log_debug("%s: %s of gid \"%s\"", exchange->conn->address, exchange->api, gid);
	else
		log_info("%s: %s of gid \"%s\": %s", exchange->conn->address, exchange->api, gid,
				 answer->message);
	exchange->request = NULL;
	if (answer->outcome != OUTCOME_SUCCESS)
	{
		fail(exchange, status_of(exchange, answer), answer->message);
		return;
	}
	if (strcmp(exchange->api, "PrepareWorkflow") == 0)
		grpc_write_progresses(&reply, answer->parts, answer->nparts);
	exchange_reply_grpc(exchange, GRPC_OK, NULL, &reply);
	buf_free(&reply);
}

static void
ask(Exchange *exchange, const Method *method, Bytes message)
{
	Request    *request = request_create(method->op);
	GrpcRequest read;
	Access		access;

	if (!method->read(message, &read))
	{
		grpc_free_request(&read);
		request_fail(request, OUTCOME_INVALID, "");
		fail(exchange, GRPC_INTERNAL, "malformed request message");
		return;
	}
	request->body = read.object;
	memset(&read.object, 0, sizeof(Buf));
	request->has_payloads = true;
	for (int i = 0; i < read.npayloads; i++)
		request_add_payload(request, read.payloads[i]);
	request_set_gid(request, read.gid.data, read.gid.len);
	grpc_free_request(&read);
	access = access_check(exchange, request, true);
	if (access == ACCESS_GRANTED)
	{
		api_submit(exchange, request, answer_grpc);
		return;
	}
	request_fail(request, OUTCOME_DENIED, "");
	if (access == ACCESS_TOO_MANY || access == ACCESS_BUSY)
		metrics[METRIC_OVERLOAD]++;
	fail(exchange, access == ACCESS_NO_ROLE ? GRPC_UNAUTHENTICATED :
		 access == ACCESS_TOO_MANY ? GRPC_RESOURCE_EXHAUSTED :
		 access == ACCESS_BUSY ? GRPC_UNAVAILABLE : GRPC_PERMISSION_DENIED,
		 access_problem(access));
}

static void
handle_health(Exchange *exchange, const char *method, Bytes message)
{
	Bytes		service;
	Buf			reply = {0};
	bool		known;

	if (strcmp(method, "Check") != 0)
	{
		fail(exchange, GRPC_UNIMPLEMENTED, "only Check is supported");
		return;
	}
	exchange->api = "Check";
	if (!grpc_read_health(message, &service))
	{
		fail(exchange, GRPC_INTERNAL, "malformed request message");
		return;
	}
	known = service.len == 0 ||
		(service.len == strlen(SERVICE) && memcmp(service.data, SERVICE, service.len) == 0);
	if (!known)
	{
		fail(exchange, GRPC_NOT_FOUND, "unknown service");
		return;
	}
	grpc_write_health(&reply, nodes_is_ready(exchange->conn->server->nodes) &&
					  !exchange->conn->server->stopping);
	exchange_reply_grpc(exchange, GRPC_OK, NULL, &reply);
	buf_free(&reply);
}

static void
unknown_method(Exchange *exchange)
{
	const char *service = exchange->target + 1;
	const char *slash = strrchr(service, '/');
	int			len = slash ? (int) (slash - service) : (int) strlen(service);
	bool		known = slash != NULL && (size_t) len == strlen(SERVICE) &&
		memcmp(service, SERVICE, (size_t) len) == 0;
	Buf			message = {0};

	if (slash == NULL)
		buf_printf(&message, "malformed method name: %.200s", exchange->target);
	else if (known)
		buf_printf(&message, "unknown method %.200s for service %.*s", slash + 1, len, service);
	else
		buf_printf(&message, "unknown service %.*s", len < 200 ? len : 200, service);
	fail(exchange, GRPC_UNIMPLEMENTED, buf_string(&message));
	buf_free(&message);
}

static const char service_path[] = "/" SERVICE "/";
static const char health_path[] = "/" HEALTH "/";

/* The method of the service; NULL: there is none of this name. */
static const Method *
find_method(const char *target)
{
	if (strncmp(target, service_path, strlen(service_path)) != 0)
		return NULL;
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (strcmp(target + strlen(service_path), methods[i].name) == 0)
			return &methods[i];
	return NULL;
}

static void
reply_new_gid(Exchange *exchange)
{
	char		gid[GID_SIZE];
	Buf			reply = {0};

	nodes_new_gid(exchange->conn->server->nodes, gid);
	grpc_write_gid(&reply, gid);
	exchange_reply_grpc(exchange, GRPC_OK, NULL, &reply);
	buf_free(&reply);
}

void
grpc_handle(Exchange *exchange)
{
	const Method *method = find_method(exchange->target);
	bool		health = strncmp(exchange->target, health_path, strlen(health_path)) == 0;
	Bytes		message;
	const char *problem;
	int			status;

	if (!is_supported(exchange->content_type))
	{
		static const char text[] = "the content type is not application/grpc";

		exchange_reply(exchange, 415, "text/plain; charset=utf-8", NULL, text, strlen(text));
		return;
	}
	exchange->kind = EXCHANGE_GRPC;
	if (strcmp(exchange->method, "POST") != 0)
	{
		fail(exchange, GRPC_INTERNAL, "the method is not POST");
		return;
	}
	if (exchange->grpc_timeout != NULL)
	{
		int64_t		time = grpc_timeout(exchange->grpc_timeout);

		if (time < 0)
		{
			fail(exchange, GRPC_INTERNAL, "malformed grpc-timeout");
			return;
		}
		exchange->deadline = exchange->began + time;
	}
	if (method != NULL)
		exchange->api = method->name;
	status = grpc_unframe(exchange->body.data, exchange->body.len, &message, &problem);
	if (method == NULL && !health)
		unknown_method(exchange);
	else if (status != GRPC_OK)
		fail(exchange, status, problem);
	else if (access_check_site(exchange, true) != ACCESS_GRANTED)
		fail(exchange, GRPC_PERMISSION_DENIED, access_problem(ACCESS_CROSS_SITE));
	else if (health)
		handle_health(exchange, exchange->target + strlen(health_path), message);
	else if (method->op == NULL)
		reply_new_gid(exchange);
	else
		ask(exchange, method, message);
}
