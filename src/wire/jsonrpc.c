/*
 * jsonrpc.c
 *		A branch's request in JSON-RPC 2.0 (§5.3).
 */
#include "private.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

static Jsonb *
parse_json(const char *string)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
											  CStringGetDatum(string)));
}

/* The payload's object with the four parameters, which go before its own. */
static char *
params_of(const Transaction *trans, const WireBranch *branch)
{
	StringInfoData own;
	Jsonb	   *params;

	initStringInfo(&own);
	appendStringInfoString(&own, "{\"branch_id\": ");
	escape_json(&own, branch->branch_id);
	appendStringInfoString(&own, ", \"gid\": ");
	escape_json(&own, trans->gid);
	appendStringInfoString(&own, ", \"op\": ");
	escape_json(&own, branch->op);
	appendStringInfo(&own, ", \"trans_type\": \"%s\"}",
					 dtm_trans_type_name(trans->core.type));
	params = parse_json(own.data);
	if (branch->payload != NULL)
	{
		char	   *text = pg_any_to_server(VARDATA_ANY(branch->payload),
											VARSIZE_ANY_EXHDR(branch->payload),
											PG_UTF8);

		/* where there was nothing to convert, it has no end of its own */
		if (text == VARDATA_ANY(branch->payload))
			text = pnstrdup(text, VARSIZE_ANY_EXHDR(branch->payload));
		params = DatumGetJsonbP(DirectFunctionCall2(jsonb_concat,
													JsonbPGetDatum(parse_json(text)),
													JsonbPGetDatum(params)));
	}
	return JsonbToCString(NULL, &params->root, VARSIZE(params));
}

void
jsonrpc_request(const Transaction *trans, const WireBranch *branch,
				DtmCall *call)
{
	StringInfoData body;
	char	   *method;

	/* percent-encoded is UTF-8 */
	method = http_url_parameter(branch->url, "method");
	method = pg_any_to_server(method, (int) strlen(method), PG_UTF8);
	initStringInfo(&body);
	appendStringInfoString(&body, "{\"id\": ");
	escape_json(&body, psprintf("%s-%s-%s", trans->gid, branch->branch_id,
								branch->op));
	appendStringInfoString(&body, ", \"jsonrpc\": \"2.0\", \"method\": ");
	escape_json(&body, method);
	appendStringInfo(&body, ", \"params\": %s}", params_of(trans, branch));
	call->url = branch->url;
	call->body = pg_server_to_any(body.data, body.len, PG_UTF8);
	call->body_len = strlen(call->body);
	call->post = true;
	http_set_headers(trans, call);
}

/* The code in a reply's error; false: there is no error. */
static bool
error_code(const char *reply, double *code)
{
	Jsonb	   *object = parse_json(reply);
	JsonbValue *error;
	JsonbValue	buffer;

	*code = 0;
	if (JB_ROOT_IS_SCALAR(object) && strcmp(reply, "null") == 0)
		return false;
	if (!JB_ROOT_IS_OBJECT(object))
		return true;			/* no reply of JSON-RPC */
	error = getKeyJsonValueFromContainer(&object->root, "error", 5, &buffer);
	if (error == NULL || error->type == jbvNull)
		return false;
	if (error->type == jbvBinary &&
		JsonContainerIsObject(error->val.binary.data))
	{
		error = getKeyJsonValueFromContainer(error->val.binary.data, "code", 4,
											 &buffer);
		if (error != NULL && error->type == jbvNumeric)
			*code = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
													   NumericGetDatum(error->val.numeric)));
	}
	return true;
}

/* Characters that jsonb may not have, or not in this encoding, don't matter. */
static void
blur_unicode_escapes(char *json)
{
	for (char *c = json; *c; c++)
		if (c[0] == '\\' && c[1] == 'u' && strlen(c) >= 6)
			memset(c, '?', 6);
		else if (c[0] == '\\' && c[1] != '\0')
			c++;
}

/*
 * Reading JSON throws on what is none; that stays here.  There is nothing to
 * clean up but memory.
 */
DtmResult
jsonrpc_result(const DtmCall *call, const char **text)
{
	MemoryContext before = CurrentMemoryContext;
	MemoryContext scratch = AllocSetContextCreate(before, "dtm JSON-RPC reply",
												  ALLOCSET_DEFAULT_SIZES);
	volatile DtmResult result = DTM_RESULT_TEMPORARY;

	*text = call->reply ? call->reply : "";
	MemoryContextSwitchTo(scratch);
	PG_TRY();
	{
		double		code;
		char	   *reply = pnstrdup(*text, call->reply ? call->reply_len : 0);

		blur_unicode_escapes(reply);
		/* in another encoding only the words and numbers of it matter */
		if (GetDatabaseEncoding() != PG_UTF8)
			for (char *c = reply; *c; c++)
				if (IS_HIGHBIT_SET(*c))
					*c = '?';
		if (pg_verify_mbstr(GetDatabaseEncoding(), reply, (int) strlen(reply), true))
			result = error_code(reply, &code) ? dtm_classify_jsonrpc(code) :
				DTM_RESULT_SUCCESS;
	}
	PG_CATCH();
	{
		FlushErrorState();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(before);
	MemoryContextDelete(scratch);
	return result;
}
