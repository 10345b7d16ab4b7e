/*
 * http.c
 *		A branch's request over plain HTTP.
 */
#include "private.h"

#include "uri.h"

#include "lib/stringinfo.h"

#define CONTENT_TYPE	"Content-Type"

/* Does it stay as it is in a URL (RFC 3986)? */
static bool
is_unreserved(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
}

/* An empty string with room for so many bytes; a call needs a few, not the usual 1 kB. */
static void
begin_string(StringInfo string, size_t room)
{
	string->data = palloc(room);
	string->maxlen = (int) room;
	resetStringInfo(string);
}

static void
append_encoded(StringInfo to, unsigned char c)
{
	static const char hex[] = "0123456789ABCDEF";

	appendStringInfoChar(to, '%');
	appendStringInfoChar(to, hex[c >> 4]);
	appendStringInfoChar(to, hex[c & 15]);
}

void
http_append_encoded(StringInfo to, const char *utf8)
{
	for (const char *c = utf8; *c;)
	{
		const char *stays = c;

		while (is_unreserved(*c))
			c++;
		appendBinaryStringInfo(to, stays, (int) (c - stays));
		if (*c)
			append_encoded(to, (unsigned char) *c++);
	}
}

static void
append_parameter(StringInfo url, char *separator, const char *name,
				 const char *value)
{
	appendStringInfoChar(url, *separator);
	*separator = '&';
	appendStringInfoString(url, name);
	appendStringInfoChar(url, '=');
	http_append_encoded(url, utf8_of(value));
}

const char *
http_url(const char *url)
{
	const char *utf8 = utf8_of(url);
	const char *scheme_end = utf8 + strcspn(utf8, ":/?#");
	const char *path = strncmp(scheme_end, "://", strlen("://")) == 0 ?
		scheme_end + strlen("://") : utf8;
	StringInfoData encoded;

	if (utf8_is_ascii(utf8))
		return utf8;
	path += strcspn(path, "/?#");
	initStringInfo(&encoded);
	appendBinaryStringInfo(&encoded, utf8, (int) (path - utf8));
	for (const char *c = path; *c; c++)
		if (IS_HIGHBIT_SET(*c))
			append_encoded(&encoded, (unsigned char) *c);
		else
			appendStringInfoChar(&encoded, *c);
	return encoded.data;
}

/*
 * The URL with branch_id, gid, op and trans_type behind its own parameters,
 * unless it is to have none of ours.
 */
static char *
url_of(const Transaction *trans, const char *target, const WireBranch *branch)
{
	StringInfoData url;
	size_t		len = strcspn(target, "#");
	char		separator = memchr(target, '?', len) == NULL ? '?' : '&';

	begin_string(&url, len + strlen(trans->gid) + strlen(branch->branch_id) + strlen(branch->op) +
				 sizeof("?branch_id=&gid=&op=&trans_type=workflow"));
	appendBinaryStringInfo(&url, target, (int) len);
	if (!step_options_query_parameters(branch->step, branch->server))
		return url.data;
	append_parameter(&url, &separator, "branch_id", branch->branch_id);
	append_parameter(&url, &separator, "gid", trans->gid);
	append_parameter(&url, &separator, "op", branch->op);
	append_parameter(&url, &separator, "trans_type",
					 dtm_trans_type_name(trans->core.type));
	return url.data;
}

bool
http_is_blank(const char *value)
{
	return value[strspn(value, " \t")] == '\0';
}

/* Is "Name: value" a header of this name? */
static bool
is_header(const char *header, const char *name)
{
	size_t		len = strlen(name);

	return pg_strncasecmp(header, name, len) == 0 && header[len] == ':';
}

static bool
has_header(const Transaction *trans, const char *name)
{
	for (int i = 0; i < trans->nheaders; i++)
		if (pg_strcasecmp(trans->header_name[i], name) == 0)
			return true;
	return false;
}

/*
 * A part of a header's value: what that cannot bear is percent-encoded, and so
 * are "%" and what separates it from the next part.
 */
static void
append_part(StringInfo to, const char *value, char separator)
{
	for (const char *c = utf8_of(value); *c;)
	{
		const char *stays = c;

		while (*c > ' ' && *c < 0x7f && *c != '%' && *c != separator)
			c++;
		appendBinaryStringInfo(to, stays, (int) (c - stays));
		if (*c)
			append_encoded(to, (unsigned char) *c++);
	}
}

const char *
http_idempotency_header(const Transaction *trans, const WireBranch *branch)
{
	StringInfoData header;

	if (has_header(trans, HEADER_IDEMPOTENCY_KEY))
		return NULL;
	begin_string(&header, sizeof(HEADER_IDEMPOTENCY_KEY ": //") + strlen(trans->gid) +
				 strlen(branch->branch_id) + strlen(branch->op));
	appendStringInfoString(&header, HEADER_IDEMPOTENCY_KEY ": ");
	/* the last two parts have no "/", so that each key is one op's */
	append_part(&header, trans->gid, '%');
	appendStringInfoChar(&header, '/');
	append_part(&header, branch->branch_id, '/');
	appendStringInfoChar(&header, '/');
	append_part(&header, branch->op, '/');
	return header.data;
}

static const char *
own_header(const char *name, const char *value)
{
	StringInfoData header;

	initStringInfo(&header);
	appendStringInfo(&header, "%s: ", name);
	append_part(&header, value, '%');
	return header.data;
}

/*
 * What the query says for others.  The names have hyphens where gRPC's metadata has
 * underscores: many servers and proxies drop headers with an underscore.
 */
static int
identify(const Transaction *trans, const WireBranch *branch, const char **headers)
{
	int			n = 0;

	headers[n++] = own_header("dtm-gid", trans->gid);
	headers[n++] = own_header("dtm-trans-type", dtm_trans_type_name(trans->core.type));
	headers[n++] = own_header("dtm-branch-id", branch->branch_id);
	headers[n++] = own_header("dtm-op", branch->op);
	return n;
}

#define NOWN_HEADERS	4

/* The method that the step asks for; NULL: none. */
static const char *
method_of(const WireBranch *branch)
{
	return branch->step == NULL ? NULL :
		branch->undoes ? branch->step->compensate_method : branch->step->method;
}

void
http_set_headers(const Transaction *trans, const WireBranch *branch, DtmCall *call)
{
	const char *content_type = step_options_content_type(branch->step, branch->server);
	bool		identified = branch->kind == WIRE_HTTP &&
		!step_options_query_parameters(branch->step, branch->server);
	bool		empty = branch->kind == WIRE_HTTP && call->body_len == 0 &&
		method_of(branch) != NULL;
	const char **headers;
	int			n = 0;

	call->headers = NULL;
	call->nheaders = 0;
	call->http2 = false;
	if (trans->nheaders == 0 && content_type == NULL && !identified && !empty)
		return;
	headers = palloc(sizeof(char *) * (trans->nheaders + DTM_NDEFAULT_HEADERS + NOWN_HEADERS + 1));
	if (identified)
		n = identify(trans, branch, headers);
	for (int i = 0; i < trans->nheaders; i++)
	{
		const char *value;

		/* each call has one of its own */
		if (pg_strcasecmp(trans->header_name[i], WIRE_TRACEPARENT) == 0)
			continue;
		value = utf8_of(trans->header_value[i]);

		/* libcurl takes "Name:" and blanks as an order to leave it out */
		headers[n++] = http_is_blank(value) ?
			psprintf("%s;", trans->header_name[i]) :
			psprintf("%s: %s", trans->header_name[i], value);
	}
	/* without a value, libcurl sends none of its own either */
	if (empty && !has_header(trans, CONTENT_TYPE))
		headers[n++] = CONTENT_TYPE ":";
	else if (content_type != NULL && !has_header(trans, CONTENT_TYPE))
		headers[n++] = psprintf(CONTENT_TYPE ": %s", utf8_of(content_type));
	for (int i = 0; i < DTM_NDEFAULT_HEADERS; i++)
	{
		bool		replaced = (content_type != NULL || empty) &&
			is_header(dtm_default_headers[i], CONTENT_TYPE);

		for (int j = 0; j < trans->nheaders; j++)
			replaced = replaced ||
				is_header(dtm_default_headers[i], trans->header_name[j]);
		if (!replaced)
			headers[n++] = dtm_default_headers[i];
	}
	call->headers = headers;
	call->nheaders = n;
}

/* Has the content of such a request no meaning (RFC 9110)? */
static bool
has_no_body(const char *method)
{
	return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 ||
		strcmp(method, "DELETE") == 0 || strcmp(method, "OPTIONS") == 0;
}

/* The method of the step, and whether there is a body: else POST, or GET without. */
static void
set_method(const WireBranch *branch, bool empty_post, DtmCall *call)
{
	const char *method = method_of(branch);

	if (method != NULL && has_no_body(method))
		call->body_len = 0;
	call->post = call->body_len > 0 ||
		(method != NULL ? !has_no_body(method) : empty_post);
	if (method != NULL && strcmp(method, call->post ? "POST" : "GET") == 0)
		method = NULL;
	call->method = method;
}

const char *
wire_content(const char *content_type, const char *payload, size_t payload_len,
			 size_t *len)
{
	if (form_is_wanted(content_type, payload, payload_len))
		return form_of(payload, payload_len, len);
	*len = payload_len;
	return payload;
}

void
http_request(const Transaction *trans, const WireBranch *branch, DtmCall *call)
{
	const bytea *payload = branch->payload;
	const char *content_type = step_options_content_type(branch->step, branch->server);

	call->url = url_of(trans, http_url(branch->url), branch);
	call->body = payload ? VARDATA_ANY(payload) : NULL;
	call->body_len = payload ? VARSIZE_ANY_EXHDR(payload) : 0;
	if (content_type != NULL)
		call->body = wire_content(content_type, call->body, call->body_len, &call->body_len);
	/* POST if there is a body, or for xa; else GET */
	set_method(branch, trans->core.type == DTM_XA, call);
	http_set_headers(trans, branch, call);
}

char *
http_url_parameter(const char *url, const char *name, size_t *value_len)
{
	const char *query = strchr(url, '?');
	const char *end = url + strcspn(url, "#");
	size_t		name_len = strlen(name);

	while (query != NULL && query < end)
	{
		const char *parameter = query + 1;
		size_t		len = strcspn(parameter, "&#");

		if (len > name_len && parameter[name_len] == '=' &&
			strncmp(parameter, name, name_len) == 0)
		{
			char	   *value = palloc(len + 1);
			char	   *to = value;

			for (const char *c = parameter + name_len + 1; c < parameter + len; c++)
				if (*c == '%' && uri_hex_digit(c[1]) >= 0 && uri_hex_digit(c[2]) >= 0)
				{
					*to++ = (char) (uri_hex_digit(c[1]) * 16 + uri_hex_digit(c[2]));
					c += 2;
				}
				else
					*to++ = (char) (*c == '+' ? ' ' : *c);
			*to = '\0';
			*value_len = (size_t) (to - value);
			return value;
		}
		query = parameter + len;
	}
	return NULL;
}
