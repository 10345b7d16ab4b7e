/*
 * test_json.c
 *		The scanner of JSON, and JSON-RPC's envelope.  If this fails, the
 *		database is sent what it can't read, or a client's id comes back changed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "json.h"
#include "jsonrpc.h"

static bool
reads(const char *text)
{
	JsonValue	value;

	return json_read(text, strlen(text), &value);
}

static void
test_good(void **state)
{
	static const char *const good[] = {
		"{}", "[]", " [ ] ", "null", "true", "false", "0", "-0", "1.5e-3", "1E+3", "\"\"",
		"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u12aF\"", "[1,[2,[3]],{\"a\":{\"b\":[]}}]",
		"{\"a\":1,\"a\":2}", "\"\xc3\xa4 \xe4\xb8\xad \xf0\x9f\x98\x80\""
	};

	(void) state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(reads(good[i]));
}

static void
test_bad(void **state)
{
	static const char *const bad[] = {
		"", " ", "{", "}", "[", "[1,]", "{,}", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "nul",
		"truex", "01", "1.", ".5", "-", "1e", "+1", "\"", "\"\\x\"", "\"\\u12\"", "\"\n\"", "1 2",
		"\"\xff\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"", "\"\xe4\xb8\"", "'a'", "[1 2]"
	};
	char		deep[2 * JSON_MAX_DEPTH + 8];

	(void) state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(reads(bad[i]));
	memset(deep, '[', JSON_MAX_DEPTH + 1);
	memset(deep + JSON_MAX_DEPTH + 1, ']', JSON_MAX_DEPTH + 1);
	deep[2 * JSON_MAX_DEPTH + 2] = '\0';
	assert_false(reads(deep));
	deep[2 * JSON_MAX_DEPTH + 1] = '\0';
	assert_true(reads(deep + 1));
}

static void
test_members(void **state)
{
	static const char text[] = " { \"a\" : [1, {\"gid\": \"no\"}], \"gid\":\"x\", \"b\": null , \"gid\" : \"y\\u0020\" } ";
	JsonValue	object;
	JsonValue	gid;
	Buf			plain = {0};

	(void) state;
	assert_true(json_read(text, sizeof(text) - 1, &object));
	gid = json_member(&object, "gid");
	assert_int_equal(gid.type, JSON_STRING);
	json_unescape(&gid, &plain);
	assert_string_equal(buf_string(&plain), "y ");
	assert_int_equal(json_member(&object, "a").type, JSON_ARRAY);
	assert_int_equal(json_member(&object, "b").type, JSON_NULL);
	assert_int_equal(json_member(&object, "c").type, JSON_NOTHING);
	buf_free(&plain);
}

static void
test_escapes(void **state)
{
	static const char text[] = "\"\\ud83d\\ude00\\ud83d \\u0041\\u00e4\\u4e2d\\n\"";
	JsonValue	string;
	Buf			plain = {0};
	Buf			again = {0};

	(void) state;
	assert_true(json_read(text, sizeof(text) - 1, &string));
	json_unescape(&string, &plain);
	assert_string_equal(buf_string(&plain), "\xf0\x9f\x98\x80\xef\xbf\xbd A\xc3\xa4\xe4\xb8\xad\n");
	json_write_string(&again, "a\"\\\n\x01\x7f\xff\xc3\xa4", 9);
	assert_string_equal(buf_string(&again), "\"a\\\"\\\\\\n\\u0001\\u007f\xef\xbf\xbd\xc3\xa4\"");
	buf_free(&plain);
	buf_free(&again);
}

static void
test_rpc(void **state)
{
	static const struct
	{
		const char *body;
		int			code;
		const char *id;
		const char *method;
		const char *params;
	}			calls[] = {
		{"{\"jsonrpc\":\"2.0\",\"id\":\"a\\\"b\",\"method\":\"m\",\"params\":{\"x\": [1]}}", 0, "\"a\\\"b\"", "m", "{\"x\": [1]}"},
		{"{\"jsonrpc\":\"2.0\",\"id\":\"x\"}", 0, "\"x\"", "", ""},
		{"{\"jsonrpc\":\"2.0\",\"id\":\"\",\"method\":\"m\"}", JSONRPC_INVALID_REQUEST, "\"\"", "", ""},
		{"{\"jsonrpc\":\"1.0\",\"id\":\"x\"}", JSONRPC_INVALID_REQUEST, "\"x\"", "", ""},
		{"{\"id\":\"x\"}", JSONRPC_INVALID_REQUEST, "\"x\"", "", ""},
		{"{\"jsonrpc\":\"2.0\",\"method\":\"m\"}", JSONRPC_INVALID_REQUEST, "null", "", ""},
		{"{\"jsonrpc\":\"2.0\",\"id\":1}", JSONRPC_PARSE_ERROR, "null", "", ""},
		{"{\"jsonrpc\":2,\"id\":\"x\"}", JSONRPC_PARSE_ERROR, "null", "", ""},
		{"[]", JSONRPC_PARSE_ERROR, "null", "", ""},
		{"", JSONRPC_PARSE_ERROR, "null", "", ""}
	};

	(void) state;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
	{
		JsonRpc		rpc;
		Buf			params = {0};

		assert_int_equal(jsonrpc_read(calls[i].body, strlen(calls[i].body), &rpc), calls[i].code);
		assert_string_equal(buf_string(&rpc.id), calls[i].id);
		assert_string_equal(buf_string(&rpc.method), calls[i].method);
		buf_add(&params, rpc.params.data, rpc.params.len);
		assert_string_equal(buf_string(&params), calls[i].params);
		buf_free(&params);
		jsonrpc_free(&rpc);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good), cmocka_unit_test(test_bad),
		cmocka_unit_test(test_members), cmocka_unit_test(test_escapes),
		cmocka_unit_test(test_rpc)
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
