/*
 * fuzz_json.c
 *		JSON and JSON-RPC: any bytes; what is written of them is well-formed, and
 *		means the same.
 */
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "jsonrpc.h"
#include "query.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A string of any bytes is written as one that can be read. */
static void
check_string(const char *data, size_t size)
{
	Buf			once = {0};
	Buf			plain = {0};
	Buf			twice = {0};
	JsonValue	value;

	json_write_string(&once, data, size);
	if (!json_read(once.data, once.len, &value) || value.type != JSON_STRING)
		abort();
	json_unescape(&value, &plain);
	json_write_string(&twice, plain.data ? plain.data : "", plain.len);
	if (once.len != twice.len || memcmp(once.data, twice.data, once.len) != 0)
		abort();
	buf_free(&once);
	buf_free(&plain);
	buf_free(&twice);
}

static void
check_query(const char *data, size_t size)
{
	char	   *query = xstrndup(data, size);
	Buf			object = {0};
	JsonValue	value;

	query_to_object(&object, query);
	if (!json_read(object.data, object.len, &value) || value.type != JSON_OBJECT)
		abort();
	buf_free(&object);
	free(query);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *) data;
	JsonValue	value;
	JsonRpc		rpc;

	if (json_read(text, size, &value) && value.type == JSON_OBJECT)
	{
		JsonValue	gid = json_member(&value, "gid");
		Buf			plain = {0};

		if (gid.type == JSON_STRING)
			json_unescape(&gid, &plain);
		buf_free(&plain);
	}
	if (jsonrpc_read(text, size, &rpc) == 0)
	{
		Buf			response = {0};

		jsonrpc_write_error(&response, buf_string(&rpc.id), -1, buf_string(&rpc.method));
		if (!json_read(response.data, response.len, &value))
			abort();
		buf_free(&response);
	}
	jsonrpc_free(&rpc);
	check_string(text, size);
	check_query(text, size);
	return 0;
}
