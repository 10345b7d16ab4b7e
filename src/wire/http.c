/*
 * http.c
 *		A branch's request in plain HTTP.
 */
#include "private.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

/* Does it stay as it is in a URL (RFC 3986)? */
static bool
is_unreserved(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
}

static void
append_parameter(StringInfo url, char *separator, const char *name,
				 const char *value)
{
	static const char hex[] = "0123456789ABCDEF";
	const char *utf8 = pg_server_to_any(value, (int) strlen(value), PG_UTF8);

	appendStringInfoChar(url, *separator);
	*separator = '&';
	appendStringInfoString(url, name);
	appendStringInfoChar(url, '=');
	for (const char *c = utf8; *c;)
	{
		const char *stays = c;

		while (is_unreserved(*c))
			c++;
		appendBinaryStringInfo(url, stays, (int) (c - stays));
		if (*c)
		{
			appendStringInfoChar(url, '%');
			appendStringInfoChar(url, hex[(unsigned char) *c >> 4]);
			appendStringInfoChar(url, hex[(unsigned char) *c & 15]);
			c++;
		}
	}
}

/* The URL with branch_id, gid, op and trans_type behind its own parameters. */
static char *
url_of(const Transaction *trans, const char *target, const char *branch_id,
	   const char *op)
{
	StringInfoData url;
	size_t		len = strcspn(target, "#");
	char		separator = memchr(target, '?', len) == NULL ? '?' : '&';

	initStringInfo(&url);
	appendBinaryStringInfo(&url, target, (int) len);
	append_parameter(&url, &separator, "branch_id", branch_id);
	append_parameter(&url, &separator, "gid", trans->gid);
	append_parameter(&url, &separator, "op", op);
	append_parameter(&url, &separator, "trans_type",
					 dtm_trans_type_name(trans->core.type));
	return url.data;
}

bool
wire_is_framing_header(const char *name)
{
	static const char *const framing[] = {
		"Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive",
		"Upgrade", "TE", "Trailer", "Expect", "Proxy-Connection"
	};

	for (size_t i = 0; i < lengthof(framing); i++)
		if (pg_strcasecmp(name, framing[i]) == 0)
			return true;
	return false;
}

/* Is "Name: value" a header of this name? */
static bool
is_header(const char *header, const char *name)
{
	size_t		len = strlen(name);

	return pg_strncasecmp(header, name, len) == 0 && header[len] == ':';
}

void
http_set_headers(const Transaction *trans, DtmCall *call)
{
	const char **headers;
	int			n = 0;

	call->headers = NULL;
	call->nheaders = 0;
	call->http2 = false;
	if (trans->nheaders == 0)
		return;
	headers = palloc(sizeof(char *) * (trans->nheaders + DTM_NDEFAULT_HEADERS));
	for (int i = 0; i < trans->nheaders; i++)
	{
		const char *value;

		/* each call has one of its own */
		if (pg_strcasecmp(trans->header_name[i], WIRE_TRACEPARENT) == 0)
			continue;
		value = pg_server_to_any(trans->header_value[i],
								 (int) strlen(trans->header_value[i]), PG_UTF8);

		/* libcurl takes "Name:" as an order to leave it out */
		headers[n++] = value[0] == '\0' ?
			psprintf("%s;", trans->header_name[i]) :
			psprintf("%s: %s", trans->header_name[i], value);
	}
	for (int i = 0; i < DTM_NDEFAULT_HEADERS; i++)
	{
		bool		replaced = false;

		for (int j = 0; j < trans->nheaders; j++)
			replaced = replaced ||
				is_header(dtm_default_headers[i], trans->header_name[j]);
		if (!replaced)
			headers[n++] = dtm_default_headers[i];
	}
	call->headers = headers;
	call->nheaders = n;
}

void
http_request(const Transaction *trans, const WireBranch *branch, DtmCall *call)
{
	const bytea *payload = branch->payload;

	call->url = url_of(trans, branch->url, branch->branch_id, branch->op);
	/* POST if there is a body, or for xa; else GET */
	call->body = payload ? VARDATA_ANY(payload) : NULL;
	call->body_len = payload ? VARSIZE_ANY_EXHDR(payload) : 0;
	call->post = call->body_len > 0 || trans->core.type == DTM_XA;
	http_set_headers(trans, call);
}

static int
hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' :
		c >= 'a' && c <= 'f' ? c - 'a' + 10 :
		c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

char *
http_url_parameter(const char *url, const char *name)
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
				if (*c == '%' && hex_digit(c[1]) >= 0 && hex_digit(c[2]) >= 0 &&
					(hex_digit(c[1]) | hex_digit(c[2])) != 0)
				{
					*to++ = (char) (hex_digit(c[1]) * 16 + hex_digit(c[2]));
					c += 2;
				}
				else
					*to++ = (char) (*c == '+' ? ' ' : *c);
			*to = '\0';
			return value;
		}
		query = parameter + len;
	}
	return NULL;
}
