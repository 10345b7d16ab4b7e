/*
 * test_grpc.c
 *		Frames, messages, texts and time-outs of gRPC; the binary arrays that
 *		go to the database.  If this fails, a payload arrives changed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dbparams.h"
#include "grpc.h"

#define BYTES(text)	((Bytes) {text, sizeof(text) - 1})

static void
test_frames(void **state)
{
	static const struct
	{
		Bytes		body;
		int			status;
	}			frames[] = {
		{{"\0\0\0\0\0", 5}, GRPC_OK}, {{"\0\0\0\0\2ab", 7}, GRPC_OK},
		{{"", 0}, GRPC_INTERNAL}, {{"\0\0\0\0", 4}, GRPC_INTERNAL},
		{{"\0\0\0\0\2a", 6}, GRPC_INTERNAL}, {{"\0\0\0\0\0\0\0\0\0\0", 10}, GRPC_INTERNAL},
		{{"\0\xff\xff\xff\xff", 5}, GRPC_INTERNAL}, {{"\2\0\0\0\0", 5}, GRPC_INTERNAL},
		{{"\1\0\0\0\0", 5}, GRPC_UNIMPLEMENTED}
	};
	Buf			out = {0};
	size_t		begin;
	Bytes		message;
	const char *problem;

	(void) state;
	for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++)
		assert_int_equal(grpc_unframe(frames[i].body.data, frames[i].body.len, &message, &problem),
						 frames[i].status);
	begin = grpc_begin_frame(&out);
	for (int i = 0; i < 1000; i++)
		buf_adds(&out, "0123456789");
	grpc_end_frame(&out, begin);
	assert_int_equal(grpc_unframe(out.data, out.len, &message, &problem), GRPC_OK);
	assert_int_equal(message.len, 10000);
	buf_free(&out);
}

static void
test_texts(void **state)
{
	static char text[GRPC_MAX_MESSAGE + 100];
	Buf			out = {0};

	(void) state;
	grpc_encode_message(&out, "100% \xc3\xa4\n~");
	assert_string_equal(buf_string(&out), "100%25 %C3%A4%0A~");
	buf_free(&out);
	/* a long one is cut, at the end of a character */
	memset(text, 'x', sizeof(text) - 1);
	memcpy(text + GRPC_MAX_MESSAGE - 2, "\xe4\xb8\xad", 3);
	grpc_encode_message(&out, text);
	assert_int_equal(out.len, GRPC_MAX_MESSAGE - 2);
	buf_free(&out);
	memcpy(text + GRPC_MAX_MESSAGE - 3, "\xe4\xb8\xadx", 4);
	grpc_encode_message(&out, text);
	assert_int_equal(out.len, GRPC_MAX_MESSAGE - 3 + 9);
	buf_free(&out);
	assert_int_equal(grpc_timeout("10000m"), 10000000);
	assert_int_equal(grpc_timeout("3S"), 3000000);
	assert_int_equal(grpc_timeout("99999999H"), INT64_C(99999999) * 3600 * 1000000);
	assert_int_equal(grpc_timeout("1500n"), 1);
	assert_int_equal(grpc_timeout("0u"), 0);
	assert_int_equal(grpc_timeout("2M"), 120000000);
	assert_int_equal(grpc_timeout(""), -1);
	assert_int_equal(grpc_timeout("S"), -1);
	assert_int_equal(grpc_timeout("1"), -1);
	assert_int_equal(grpc_timeout("1x"), -1);
	assert_int_equal(grpc_timeout("-1S"), -1);
	assert_int_equal(grpc_timeout("123456789S"), -1);
	assert_int_equal(grpc_timeout("1SS"), -1);
}

static void
check_object(bool (*read) (Bytes, GrpcRequest *), Bytes message, const char *object, int npayloads)
{
	GrpcRequest request;

	assert_true(read(message, &request));
	assert_string_equal(buf_string(&request.object), object);
	assert_int_equal(request.npayloads, npayloads);
	grpc_free_request(&request);
}

static void
test_messages(void **state)
{
	(void) state;
	check_object(grpc_read_request, BYTES("\x0a\x01g\x12\x03msg"),
				 "{\"gid\":\"g\",\"trans_type\":\"msg\",\"protocol\":\"grpc\"}", 0);

	/*
	 * the last of a field counts; payloads are bytes; unknown fields of all
	 * types are skipped
	 */
	check_object(grpc_read_request, BYTES("\x0a\x01x\x0a\x01\"\x2a\x00\x2a\x02\x00\xff\xf8\x06\x01\xf9\x06" "12345678\xfd\x06" "1234\xfa\x06\x01z"),
				 "{\"gid\":\"\\\"\",\"protocol\":\"grpc\"}", 2);
	check_object(grpc_read_request, BYTES("\x1a\x10\x08\x01\x10\x88\x0e\x22\x01p\x2a\x06\x0a\x01" "a\x12\x01" "b"),
				 "{\"wait_result\":true,\"timeout_to_fail\":1800,\"branch_headers\":{\"a\":\"b\"},\"protocol\":\"grpc\"}", 0);
	check_object(grpc_read_request, BYTES("\x1a\x0b\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
				 "{\"retry_interval\":-1,\"protocol\":\"grpc\"}", 0);
	check_object(grpc_read_request, BYTES("\x42\x06\x0a\x01" "a\x12\x01" "b\x42\x00"),
				 "{\"req_extra\":{\"a\":\"b\",\"\":\"\"},\"protocol\":\"grpc\"}", 0);
	check_object(grpc_read_branch, BYTES("\x0a\x01g\x2a\x08\x0a\x03gid\x12\x01x\x32\x01" "a\x32\x02\x00z"),
				 "{\"gid\":\"x\",\"gid\":\"g\"}", 1);
	check_object(grpc_read_topic, BYTES("\x0a\x01t\x12\x01u"), "{\"topic\":\"t\",\"url\":\"u\"}", 0);
	check_object(grpc_read_topic, BYTES(""), "{}", 0);
}

static void
test_malformed(void **state)
{
	static const Bytes messages[] = {
		{"\x0a", 1}, {"\x0a\x05x", 3}, {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 11}, {"\x00\x01", 2},
		{"\x08\x01", 2}, {"\x0a\x01\xff", 3}, {"\x0b", 1}, {"\x0f", 1}, {"\xf9\x06xx", 4}, {"\x1a\x02\x0a\x00", 4},
		{"\x1a\x01\x08", 3}, {"\x2d" "1234", 5}, {"\x42\x02\x0a\x05", 4}, {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11}
	};

	(void) state;
	for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++)
	{
		GrpcRequest request;

		assert_false(grpc_read_request(messages[i], &request));
		grpc_free_request(&request);
	}
}

static void
test_replies(void **state)
{
	const Bytes parts[] = {
		BYTES("g"), BYTES("succeed"), BYTES(""), BYTES("AAE="),
		BYTES("failed"), BYTES("\0\xff"), BYTES("01"), BYTES("action")
	};
	static const char expected[] = "\x0a\x12\x0a\x01g\x12\x07succeed\x22\x04" "AAE=\x12\x18\x0a\x06" "failed\x12\x02\0\xff\x1a\x02" "01\x22\x06" "action";
	Buf			out = {0};

	(void) state;
	grpc_write_progresses(&out, parts, 8);
	assert_int_equal(out.len, sizeof(expected) - 1);
	assert_memory_equal(out.data, expected, out.len);
	buf_free(&out);
}

static void
test_arrays(void **state)
{
	Buf			array = {0};
	Bytes	   *elements;
	int			n;

	(void) state;
	array_begin(&array, BYTEAOID, 3);
	array_add(&array, "a\0b", 3);
	array_add_null(&array);
	array_add(&array, "", 0);
	elements = array_read(array.data, array.len, &n);
	assert_int_equal(n, 3);
	assert_int_equal(elements[0].len, 3);
	assert_memory_equal(elements[0].data, "a\0b", 3);
	assert_null(elements[1].data);
	assert_non_null(elements[2].data);
	free(elements);
	/* cut off anywhere */
	for (size_t len = 0; len < array.len; len++)
		assert_null(array_read(array.data, len, &n));
	array.len = 0;
	array_begin(&array, TEXTOID, 0);
	elements = array_read(array.data, array.len, &n);
	assert_int_equal(n, 0);
	free(elements);
	buf_free(&array);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames), cmocka_unit_test(test_texts),
		cmocka_unit_test(test_messages), cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_replies), cmocka_unit_test(test_arrays)
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
