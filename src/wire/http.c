/*
 * http.c
 *		A branch's request over plain HTTP.
 */
#include "private.h"

#include "uri.h"

#include "lib/stringinfo.h"

/* Does it stay as it is in a URL (RFC 3986)? */
static bool
is_unreserved(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
}

static void
append_encoded(StringInfo to, unsigned char c)
{
	static const char hex[] = "0123456789ABCDEF";

	appendStringInfoChar(to, '%');
	appendStringInfoChar(to, hex[c >> 4]);
	appendStringInfoChar(to, hex[c & 15]);
}

static void
append_parameter(StringInfo url, char *separator, const char *name,
				 const char *value)
{
	appendStringInfoChar(url, *separator);
	*separator = '&';
	appendStringInfoString(url, name);
	appendStringInfoChar(url, '=');
	for (const char *c = utf8_of(value); *c;)
	{
		const char *stays = c;

		while (is_unreserved(*c))
			c++;
		appendBinaryStringInfo(url, stays, (int) (c - stays));
		if (*c)
			append_encoded(url, (unsigned char) *c++);
	}
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
		value = utf8_of(trans->header_value[i]);

		/* libcurl takes "Name:" and blanks as an order to leave it out */
		headers[n++] = http_is_blank(value) ?
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

	call->url = url_of(trans, http_url(branch->url), branch->branch_id, branch->op);
	/* POST if there is a body, or for xa; else GET */
	call->body = payload ? VARDATA_ANY(payload) : NULL;
	call->body_len = payload ? VARSIZE_ANY_EXHDR(payload) : 0;
	call->post = call->body_len > 0 || trans->core.type == DTM_XA;
	http_set_headers(trans, call);
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
