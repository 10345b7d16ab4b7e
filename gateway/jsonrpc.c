/*
 * jsonrpc.c
 *		The envelope of JSON-RPC 2.0.
 */
#include "jsonrpc.h"

#include "json.h"

#include <string.h>

static bool
is_text(const JsonValue *value, const char *text)
{
	Buf			string = {0};
	bool		equal;

	if (value->type != JSON_STRING)
		return false;
	json_unescape(value, &string);
	equal = string.len == strlen(text) &&
		(string.len == 0 || memcmp(string.data, text, string.len) == 0);
	buf_free(&string);
	return equal;
}

int
jsonrpc_read(const char *body, size_t len, JsonRpc *rpc)
{
	JsonValue	object;
	JsonValue	id;
	JsonValue	version;
	JsonValue	method;
	JsonValue	params;

	memset(rpc, 0, sizeof(*rpc));
	buf_adds(&rpc->id, "null");
	if (!json_read(body, len, &object) || object.type != JSON_OBJECT)
		return JSONRPC_PARSE_ERROR;
	id = json_member(&object, "id");
	version = json_member(&object, "jsonrpc");
	method = json_member(&object, "method");
	params = json_member(&object, "params");
	/* dtm reads them into strings: anything else does not fit */
	if ((id.type != JSON_STRING && id.type != JSON_NULL && id.type != JSON_NOTHING) ||
		(version.type != JSON_STRING && version.type != JSON_NULL && version.type != JSON_NOTHING) ||
		(method.type != JSON_STRING && method.type != JSON_NULL && method.type != JSON_NOTHING))
		return JSONRPC_PARSE_ERROR;
	if (id.type == JSON_STRING)
	{
		rpc->id.len = 0;
		buf_add(&rpc->id, id.text.data, id.text.len);
	}
	if (id.type != JSON_STRING || is_text(&id, "") || !is_text(&version, "2.0"))
		return JSONRPC_INVALID_REQUEST;
	if (method.type == JSON_STRING)
		json_unescape(&method, &rpc->method);
	if (params.type != JSON_NOTHING)
		rpc->params = params.text;
	return 0;
}

void
jsonrpc_free(JsonRpc *rpc)
{
	buf_free(&rpc->id);
	buf_free(&rpc->method);
}

void
jsonrpc_write_result(Buf *out, const char *id, const char *result)
{
	buf_printf(out, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":%s,\"error\":null}",
			   id, result);
}

void
jsonrpc_write_error(Buf *out, const char *id, int code, const char *message)
{
	buf_printf(out, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":null,\"error\":{\"code\":%d,\"message\":",
			   id, code);
	json_write_string(out, message, strlen(message));
	buf_adds(out, "}}");
}
