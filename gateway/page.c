/*
 * page.c
 *		The page for operators: its files, and two requests that it makes.
 *
 * GET /data/WHAT reads, POST /act does; what they mean is the extension's
 * business (dtm.page(), dtm.page_act()), which runs them as the role of the
 * operator.  The role is that of the connection or of a token, as for all
 * clients; a token comes in a header, which no other site can have a browser
 * send.
 */
#include "page.h"

#include "api.h"
#include "json.h"
#include "log.h"
#include "query.h"

#include <string.h>
#include <strings.h>

#define TYPE_JSON	"application/json; charset=utf-8"
#define DATA		"/data/"

/*
 * Nothing from elsewhere, nothing inline, no markup from strings, and nowhere
 * in a frame.
 */
#define HEADERS \
	"Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; " \
	"img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; " \
	"frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'\r\n" \
	"X-Content-Type-Options: nosniff\r\n" \
	"X-Frame-Options: DENY\r\n" \
	"Referrer-Policy: no-referrer\r\n" \
	"Cross-Origin-Opener-Policy: same-origin\r\n" \
	"Cross-Origin-Resource-Policy: same-origin\r\n" \
	"Cache-Control: no-store\r\n"

static void
reply(Exchange *exchange, int status, const char *type, const void *body, size_t len)
{
	const char *extra = status == 401 ? HEADERS "WWW-Authenticate: Bearer\r\n" :
		status == 503 || status == 429 ? HEADERS "Retry-After: 1\r\n" :
		status == 405 ? HEADERS "Allow: GET, HEAD, POST\r\n" : HEADERS;

	exchange_reply(exchange, status, type, extra, len > 0 ? body : "", len);
}

static void
reply_error(Exchange *exchange, int status, const char *message)
{
	Buf			body = {0};

	buf_adds(&body, "{\"message\":");
	json_write_string(&body, message, strlen(message));
	buf_addc(&body, '}');
	reply(exchange, status, TYPE_JSON, body.data, body.len);
	buf_free(&body);
}

/* What SDKs are told as 500 may be told better to whoever looks at it. */
static int
status_of(const Answer *answer)
{
	if (answer->outcome != OUTCOME_ERROR)
		return api_http_status(answer->outcome);
	return strncmp(answer->sqlstate, "22", 2) == 0 ? 400 :
		strcmp(answer->sqlstate, "42501") == 0 ? 403 : 500;
}

static void
answer(void *owner, const Answer *answer)
{
	Exchange   *exchange = owner;

	exchange->request = NULL;
	if (answer->outcome != OUTCOME_SUCCESS)
	{
		log_info("%s: %s: %s", exchange->conn->address, exchange->api, answer->message);
		reply_error(exchange, status_of(answer), answer->message);
	}
	else if (answer->nparts > 0)
		reply(exchange, 200, TYPE_JSON, answer->parts[0].data, answer->parts[0].len);
	else
		reply_error(exchange, 500, "the extension has not answered: is it of the gateway's version?");
}

/* Has the database do it, if this operator may. */
static void
ask(Exchange *exchange, Request *request)
{
	Access		access = access_find_role(exchange, request);

	if (access == ACCESS_GRANTED)
	{
		request->aside = true;
		api_submit(exchange, request, answer);
		return;
	}
	request_fail(request, OUTCOME_DENIED, "");
	if (access == ACCESS_TOO_MANY || access == ACCESS_BUSY)
		metrics[METRIC_OVERLOAD]++;
	reply_error(exchange, api_access_status(access), access_problem(access));
}

/* /data/WHAT?name=value...: the name and the parameters are one object. */
static void
handle_data(Exchange *exchange, size_t path_len)
{
	Request    *request = request_create("page");
	Buf			query = {0};

	exchange->api = "page";
	buf_adds(&query, "what=");
	buf_add(&query, exchange->target + strlen(DATA), path_len - strlen(DATA));
	if (exchange->target[path_len] == '?')
		buf_printf(&query, "&%s", exchange->target + path_len + 1);
	query_to_object(&request->body, buf_string(&query));
	buf_free(&query);
	ask(exchange, request);
}

/* A form of another site can't have this type without our being asked. */
static bool
is_json(const char *type)
{
	size_t		len = type ? strcspn(type, "; \t") : 0;

	return len == 16 && strncasecmp(type, "application/json", len) == 0;
}

static void
handle_act(Exchange *exchange)
{
	JsonValue	object;
	Request    *request;

	exchange->api = "pageAct";
	if (!is_json(exchange->content_type))
	{
		reply_error(exchange, 415, "the content type is not application/json");
		return;
	}
	if (!json_read(exchange->body.data ? exchange->body.data : "", exchange->body.len, &object) ||
		object.type != JSON_OBJECT)
	{
		reply_error(exchange, 400, "the body is not a JSON object in UTF-8");
		return;
	}
	request = request_create("pageAct");
	buf_add(&request->body, exchange->body.data, exchange->body.len);
	ask(exchange, request);
}

static void
handle_file(Exchange *exchange, size_t path_len)
{
	for (int i = 0; i < page_file_count; i++)
	{
		const PageFile *file = &page_files[i];

		if (strlen(file->path) == path_len && memcmp(file->path, exchange->target, path_len) == 0)
		{
			reply(exchange, 200, file->type, file->data, file->len);
			return;
		}
	}
	reply_error(exchange, 404, "there is no such page");
}

static void
handle(Exchange *exchange)
{
	Access		access = access_check_page(exchange);
	size_t		path_len;
	bool		reads;

	if (exchange->too_large || exchange->method == NULL || exchange->target == NULL ||
		exchange->target[0] != '/')
	{
		reply_error(exchange, exchange->too_large ? 431 : 400, "a method and a path are needed");
		return;
	}
	if (access != ACCESS_GRANTED)
	{
		reply_error(exchange, api_access_status(access), access_problem(access));
		return;
	}
	path_len = strcspn(exchange->target, "?");
	reads = strcmp(exchange->method, "GET") == 0 || strcmp(exchange->method, "HEAD") == 0;
	if (path_len == 4 && memcmp(exchange->target, "/act", 4) == 0)
	{
		if (strcmp(exchange->method, "POST") == 0)
			handle_act(exchange);
		else
			reply_error(exchange, 405, "this is for POST");
	}
	else if (!reads)
		reply_error(exchange, 405, "this is for GET");
	else if (path_len > strlen(DATA) && memcmp(exchange->target, DATA, strlen(DATA)) == 0)
		handle_data(exchange, path_len);
	else
		handle_file(exchange, path_len);
}

static void
refuse(Exchange *exchange, int status, const char *message)
{
	reply_error(exchange, status, message);
}

/* No request of the page has a deadline. */
static void
expire(Exchange *exchange)
{
	(void) exchange;
}

const ServerHandler page_handler = {handle, refuse, expire};
