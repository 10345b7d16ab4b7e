/*
 * test_otlp.c
 *		The JSON of spans, and the answers of collectors.  If this fails, a collector
 *		refuses what it is sent, bytes of strangers become JSON, or a request is longer
 *		than its buffer.
 */
#include "../../src/coordinator/otlp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BEGIN \
	"{\"resourceSpans\":[{\"resource\":{\"attributes\":[" \
	"{\"key\":\"service.name\",\"value\":{\"stringValue\":\"dtm\"}}]}," \
	"\"scopeSpans\":[{\"scope\":{\"name\":\"dtm\",\"version\":\"1.2.3\"},\"spans\":["
#define END		"]}]}]}"

static const OtlpAttribute resource[] = {{.key = "service.name", .string = "dtm"}};

/* Of a size, so that what is written beyond it is found. */
static void
begin(OtlpBuffer *buffer, size_t size)
{
	assert_true(otlp_begin(buffer, malloc(size), size, resource, 1, "dtm", "1.2.3"));
}

static void
ends_as(OtlpBuffer *buffer, const char *expected)
{
	otlp_end(buffer);
	assert_true(buffer->len <= buffer->size);
	if (buffer->len != strlen(expected) || memcmp(buffer->data, expected, buffer->len) != 0)
		fail_msg("%.*s\nis not\n%s", (int) buffer->len, buffer->data, expected);
	free(buffer->data);
}

static OtlpSpan
make_span(void)
{
	OtlpSpan	span = {
		.trace_id = "0af7651916cd43dd8448eb211c80319c", .span_id = "b7ad6b7169203331",
		.trace_flags = 1, .kind = OTLP_KIND_INTERNAL, .name = "dtm saga",
		.start = INT64_C(1700000000000001), .end = INT64_C(1700000000250001)
	};

	return span;
}

static void
a_root(void **state)
{
	OtlpSpan	span = make_span();
	OtlpBuffer	buffer;

	(void) state;
	span.status = OTLP_STATUS_OK;
	/* of no error there is no message */
	span.message = "fine";
	begin(&buffer, 1000);
	assert_true(otlp_add(&buffer, &span));
	assert_int_equal(buffer.nspans, 1);
	ends_as(&buffer, BEGIN
			"{\"traceId\":\"0af7651916cd43dd8448eb211c80319c\",\"spanId\":\"b7ad6b7169203331\","
			"\"flags\":257,\"name\":\"dtm saga\",\"kind\":1,"
			"\"startTimeUnixNano\":\"1700000000000001000\",\"endTimeUnixNano\":\"1700000000250001000\","
			"\"attributes\":[],\"status\":{\"code\":1}}" END);
}

static void
a_call_with_everything(void **state)
{
	OtlpSpan	span = make_span();
	OtlpBuffer	buffer;

	(void) state;
	strcpy(span.parent_id, "00f067aa0ba902b7");
	span.parent_is_remote = true;
	span.kind = OTLP_KIND_CLIENT;
	span.status = OTLP_STATUS_ERROR;
	span.message = "no";
	/* clocks go back */
	span.end = span.start - 1;
	otlp_set_text(&span, "dtm.op", "action");
	otlp_set_number(&span, "dtm.retry_count", INT64_MAX);
	otlp_set_number(&span, "n", INT64_MIN);
	begin(&buffer, 1000);
	assert_true(otlp_add(&buffer, &span));
	ends_as(&buffer, BEGIN
			"{\"traceId\":\"0af7651916cd43dd8448eb211c80319c\",\"spanId\":\"b7ad6b7169203331\","
			"\"parentSpanId\":\"00f067aa0ba902b7\",\"flags\":769,\"name\":\"dtm saga\",\"kind\":3,"
			"\"startTimeUnixNano\":\"1700000000000001000\",\"endTimeUnixNano\":\"1700000000000001000\","
			"\"attributes\":[{\"key\":\"dtm.op\",\"value\":{\"stringValue\":\"action\"}},"
			"{\"key\":\"dtm.retry_count\",\"value\":{\"intValue\":\"9223372036854775807\"}},"
			"{\"key\":\"n\",\"value\":{\"intValue\":\"-9223372036854775808\"}}],"
			"\"status\":{\"code\":2,\"message\":\"no\"}}" END);
}

static void
none_and_several(void **state)
{
	OtlpSpan	span = make_span();
	OtlpBuffer	buffer;

	(void) state;
	begin(&buffer, 1000);
	ends_as(&buffer, BEGIN END);
	begin(&buffer, 2000);
	assert_true(otlp_add(&buffer, &span));
	assert_true(otlp_add(&buffer, &span));
	assert_int_equal(buffer.nspans, 2);
	otlp_end(&buffer);
	assert_non_null(memmem(buffer.data, buffer.len, "}},{\"traceId\"", 13));
	free(buffer.data);
}

static void
more_attributes_than_there_may_be(void **state)
{
	OtlpSpan	span = make_span();

	(void) state;
	for (int i = 0; i < OTLP_MAX_ATTRIBUTES + 5; i++)
		otlp_set_number(&span, "n", i);
	assert_int_equal(span.nattributes, OTLP_MAX_ATTRIBUTES);
}

/* Whatever the size is, nothing is written beyond it, and all or nothing of a span. */
static void
buffers_of_all_sizes(void **state)
{
	OtlpSpan	span = make_span();
	OtlpBuffer	whole;

	(void) state;
	otlp_set_text(&span, "a", "\"\xff\x01");
	begin(&whole, 2000);
	assert_true(otlp_add(&whole, &span));
	otlp_end(&whole);
	for (size_t size = 1; size < 2 * whole.len; size++)
	{
		OtlpBuffer	buffer;
		char	   *data = malloc(size);
		int			nspans = 0;

		if (!otlp_begin(&buffer, data, size, resource, 1, "dtm", "1.2.3"))
		{
			assert_true(size < strlen(BEGIN END));
			free(data);
			continue;
		}
		while (otlp_add(&buffer, &span))
			nspans++;
		assert_int_equal(buffer.nspans, nspans);
		assert_int_equal(nspans > 0, size >= whole.len);
		otlp_end(&buffer);
		assert_true(buffer.len <= size);
		assert_memory_equal(buffer.data + buffer.len - strlen(END), END, strlen(END));
		free(data);
	}
	free(whole.data);
}

/* The JSON string of a text. */
static void
is_written(const char *text, const char *expected)
{
	OtlpSpan	span = make_span();
	OtlpBuffer	buffer;
	char	   *json = malloc(strlen(expected) + 100);

	span.name = text;
	begin(&buffer, 8000);
	assert_true(otlp_add(&buffer, &span));
	sprintf(json, ",\"name\":\"%s\",\"kind\"", expected);
	if (memmem(buffer.data, buffer.len, json, strlen(json)) == NULL)
		fail_msg("%.*s\nhas not\n%s", (int) buffer.len, buffer.data, json);
	free(json);
	free(buffer.data);
}

#define BAD		"\xef\xbf\xbd"

static void
strings(void **state)
{
	(void) state;
	is_written("", "");
	is_written("a/b'c", "a/b'c");
	is_written("\"\\", "\\\"\\\\");
	is_written("\b\f\n\r\t\x01\x1f\x7f", "\\u0008\\u000c\\u000a\\u000d\\u0009\\u0001\\u001f\\u007f");
	/* UTF-8, to its limits */
	is_written("\xc3\xa4\xe4\xb8\xad\xf0\x9f\x98\x80", "\xc3\xa4\xe4\xb8\xad\xf0\x9f\x98\x80");
	is_written("\xc2\x80\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xf0\x90\x80\x80\xf4\x8f\xbf\xbf",
			   "\xc2\x80\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xf0\x90\x80\x80\xf4\x8f\xbf\xbf");
	/* what is none: alone, cut, longer than need be, surrogates, too large */
	is_written("a\x80z", "a" BAD "z");
	is_written("a\xc3", "a" BAD);
	is_written("\xe4\xb8z", BAD BAD "z");
	is_written("\xc0\xaf\xc1\x81", BAD BAD BAD BAD);
	is_written("\xe0\x9f\xbf", BAD BAD BAD);
	is_written("\xed\xa0\x80", BAD BAD BAD);
	is_written("\xf0\x8f\xbf\xbf", BAD BAD BAD BAD);
	is_written("\xf4\x90\x80\x80\xf5\xff", BAD BAD BAD BAD BAD BAD);
}

/* Long texts are cut between characters. */
static void
long_strings(void **state)
{
	char		text[3 * OTLP_MAX_TEXT];
	char		expected[3 * OTLP_MAX_TEXT];

	(void) state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	memset(expected, 'x', OTLP_MAX_TEXT);
	expected[OTLP_MAX_TEXT] = '\0';
	is_written(text, expected);
	memcpy(text + OTLP_MAX_TEXT - 1, "\xc3\xa4", 2);
	expected[OTLP_MAX_TEXT - 1] = '\0';
	is_written(text, expected);
}

static void
answers_that_reject(void **state)
{
	static const struct
	{
		const char *json;
		int64_t		rejected;
		const char *message;
	}			cases[] = {
		{"{\"partialSuccess\":{\"rejectedSpans\":\"3\",\"errorMessage\":\"no\"}}", 3, "no"},
		{"{\"partialSuccess\":{\"errorMessage\":\"a \\\"b\\\"\",\"rejectedSpans\":12}}", 12, "a \\\"b\\\""},
		{" {\n\t\"x\" : [ { \"partialSuccess\" : 1 } , \"}\" ] , \"partialSuccess\" : { \"rejectedSpans\" : 5 } }", 5, ""},
		{"{\"partialSuccess\":{\"errorMessage\":\"only a warning\"}}", 0, "only a warning"},
		{"{\"partialSuccess\":{\"rejectedSpans\":\"99999999999999999999\"}}", INT64_MAX, ""},
		{"{\"partialSuccess\":{\"errorMessage\":\"a long message, which is cut\",\"rejectedSpans\":1}}", 1, "a long message, whi"},
		/* nothing is rejected, or it is no such answer */
		{"{}", 0, ""}, {"", 0, ""}, {"{\"partialSuccess\":{}}", 0, ""}, {"{\"partialSuccess\":null}", 0, ""},
		{"{\"partialSuccess\":{\"rejectedSpans\":\"-1\"}}", 0, ""},
		{"{\"partialSuccess\":{\"rejectedSpans\":null}}", 0, ""},
		{"{\"x\":{\"rejectedSpans\":7}}", 0, ""}, {"[{\"partialSuccess\":{\"rejectedSpans\":7}}]", 0, ""},
		{"{\"x\":\"{\\\"partialSuccess\\\":{\\\"rejectedSpans\\\":7}}\"}", 0, ""},
		{"ok", 0, ""}, {"{", 0, ""}, {"{\"", 0, ""}, {"{\"a", 0, ""}, {"{\"a\\", 0, ""}, {"{\"a\":", 0, ""},
		{"{\"a\":[[[[", 0, ""}, {"{\"a\":]", 0, ""}, {"{\"a\":}", 0, ""}, {"{\"a\":1", 0, ""},
		{"{\"partialSuccess\":{\"rejectedSpans\":", 0, ""}, {"{\"partialSuccess\":{\"rejectedSpans\":\"", 0, ""}
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		size_t		len = strlen(cases[i].json);
		char	   *json = malloc(len > 0 ? len : 1);
		char		message[20];

		/* without a NUL, so that what is read behind it is found */
		memcpy(json, cases[i].json, len);
		if (otlp_rejected(json, len, message, sizeof(message)) != cases[i].rejected)
			fail_msg("%s", cases[i].json);
		assert_string_equal(message, cases[i].message);
		free(json);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_root),
		cmocka_unit_test(a_call_with_everything),
		cmocka_unit_test(none_and_several),
		cmocka_unit_test(more_attributes_than_there_may_be),
		cmocka_unit_test(buffers_of_all_sizes),
		cmocka_unit_test(strings),
		cmocka_unit_test(long_strings),
		cmocka_unit_test(answers_that_reject)
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
