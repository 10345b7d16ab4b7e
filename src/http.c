/*
 * http.c
 *		A branch's request in plain HTTP.
 */
#include "http.h"

#include "compat.h"
#include "dtm.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

const char *
http_target(const StoreTrans *trans, int op)
{
	const DtmBranchOp *branch;

	if (op == DTM_CALL_QUERY)
		return trans->query_prepared;
	branch = &trans->core.ops[op];
	return dtm_op_undoes(branch->op) ? trans->compensate[branch->step] :
		trans->action[branch->step];
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
	for (const unsigned char *c = (const unsigned char *) utf8; *c; c++)
	{
		/* RFC 3986: unreserved ones stay */
		if ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
			(*c >= '0' && *c <= '9') || *c == '-' || *c == '.' || *c == '_' ||
			*c == '~')
			appendStringInfoChar(url, (char) *c);
		else
		{
			appendStringInfoChar(url, '%');
			appendStringInfoChar(url, hex[*c >> 4]);
			appendStringInfoChar(url, hex[*c & 15]);
		}
	}
}

/* The URL with branch_id, gid, op and trans_type behind its own parameters. */
static char *
url_of(const StoreTrans *trans, const char *target, const char *branch_id,
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

/* Is "Name: value" a header of this name? */
static bool
is_header(const char *header, const char *name)
{
	size_t		len = strlen(name);

	return pg_strncasecmp(header, name, len) == 0 && header[len] == ':';
}

/* branch_headers, and those of the default ones that they do not replace. */
static void
set_headers(const StoreTrans *trans, DtmCall *call)
{
	const char **headers;
	int			n = 0;

	call->headers = NULL;
	call->nheaders = 0;
	if (trans->nheaders == 0)
		return;
	headers = palloc(sizeof(char *) * (trans->nheaders + DTM_NDEFAULT_HEADERS));
	for (int i = 0; i < trans->nheaders; i++)
	{
		const char *value = trans->header_value[i];

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
http_request(const StoreTrans *trans, int op, DtmCall *call)
{
	const char *target = http_target(trans, op);
	bytea	   *payload = NULL;

	if (op == DTM_CALL_QUERY)
		call->url = url_of(trans, target, "00", dtm_op_name(DTM_OP_MSG));
	else
	{
		const DtmBranchOp *branch = &trans->core.ops[op];
		char		id[DTM_BRANCH_ID_SIZE];

		dtm_step_branch_id(branch->step, id);
		call->url = url_of(trans, target,
						   trans->branch_id ? trans->branch_id[branch->step] : id,
						   dtm_op_name(branch->op));
		payload = trans->payload[branch->step];
	}
	/* POST if there is a body, or for xa; else GET */
	call->body = payload ? VARDATA_ANY(payload) : NULL;
	call->body_len = payload ? VARSIZE_ANY_EXHDR(payload) : 0;
	call->post = call->body_len > 0 || trans->core.type == DTM_XA;
	set_headers(trans, call);
}
