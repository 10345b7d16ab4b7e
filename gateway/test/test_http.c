/*
 * test_http.c
 *		HTTP/1.1 and query strings.  If this fails, a request is understood in
 *		another way than by whoever stands in front of us.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "h1.h"
#include "query.h"

#define HOST	"Host: a\r\n"

typedef struct Case
{
	const char *bytes;
	int			status;			/* 0: it is a request */
	const char *body;			/* of one */
} Case;

static const Case cases[] = {
	{"GET / HTTP/1.1\r\n" HOST "\r\n", 0, ""},
	{"\r\nGET / HTTP/1.1\r\n" HOST "\r\n", 0, ""},
	{"GET / HTTP/1.0\r\n\r\n", 0, ""},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\na\nb", 0, "a\nb"},
	{"POST / HTTP/1.1\r\n" HOST "content-LENGTH:\t3 \r\n\r\nabc", 0, "abc"},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", 0, ""},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n00a\r\n0123456789\r\n0\r\n\r\n", 0, "abc0123456789"},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, ""},
	{"GET http://a/b HTTP/1.1\r\n" HOST "\r\n", 0, ""},
	{"GET / HTTP/1.1\r\n\r\n", 400, NULL},
	{"GET / HTTP/1.1\r\n" HOST HOST "\r\n", 400, NULL},
	{"GET / HTTP/1.1\n" HOST "\r\n", 400, NULL},
	{"GET / HTTP/1.1\r\n" HOST "\n", 400, NULL},
	{"GET  / HTTP/1.1\r\n" HOST "\r\n", 400, NULL},
	{"GET / HTTP/1.1 \r\n" HOST "\r\n", 400, NULL},
	{"GET /\r\n" HOST "\r\n", 400, NULL},
	{" GET / HTTP/1.1\r\n" HOST "\r\n", 400, NULL},
	{"GET a HTTP/1.1\r\n" HOST "\r\n", 400, NULL},
	{"GET / HTTP/1.2\r\n" HOST "\r\n", 505, NULL},
	{"GET / HTTPS/1.1\r\n" HOST "\r\n", 400, NULL},
	{"\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n", 400, NULL},
	{"\rGET / HTTP/1.1\r\n" HOST "\r\n", 400, NULL},
	{"GET / HTTP/1.1\r\n" HOST "X : y\r\n\r\n", 400, NULL},
	{"GET / HTTP/1.1\r\n" HOST ": y\r\n\r\n", 400, NULL},
	{"GET / HTTP/1.1\r\n" HOST "X: y\r\n z\r\n\r\n", 400, NULL},
	{"GET / HTTP/1.1\r\n" HOST "X: y\rz\r\n\r\n", 400, NULL},
	{"GET / HTTP/1.1\r\n" HOST "X: \x01\r\n\r\n", 400, NULL},
	{"GET / HTTP/1.1\r\n" HOST "X: \x7f\r\n\r\n", 400, NULL},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400, NULL},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc", 400, NULL},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: 3,3\r\n\r\nabc", 400, NULL},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: 0x3\r\n\r\nabc", 400, NULL},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: -3\r\n\r\nabc", 400, NULL},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n", 400, NULL},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: 101\r\n\r\n", 413, NULL},
	{"POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999\r\n\r\n", 413, NULL},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n", 501, NULL},
	{"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, NULL},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\n\r\n", 400, NULL},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n\r\n", 400, NULL},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n", 400, NULL},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n", 400, NULL},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n000000003\r\nabc", 400, NULL},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n65\r\n", 413, NULL},
	{"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n", 400, NULL}
};

#define NCASES (sizeof(cases) / sizeof(cases[0]))

/* Feeds bytes, cut at two places; true: it ended as it should. */
static void
check(const Case *c, size_t first, size_t second)
{
	const size_t ends[3] = {first, second, strlen(c->bytes)};
	size_t		at = 0;
	H1Result	result = H1_MORE;
	H1			h1;

	h1_init(&h1, 100);
	for (int i = 0; i < 3 && result != H1_BAD && result != H1_DONE; i++)
		while (result != H1_BAD && result != H1_DONE)
		{
			size_t		used;

			result = h1_feed(&h1, c->bytes + at, ends[i] - at, &used);
			at += used;
			if (result == H1_MORE)
				break;
		}
	if (result == H1_HEAD || (result == H1_MORE && h1.state == H1_AT_END))
		result = H1_DONE;
	assert_int_equal(h1.status, c->status);
	assert_int_equal(result, c->status ? H1_BAD : H1_DONE);
	if (c->status == 0)
	{
		assert_int_equal(h1.body.len, strlen(c->body));
		assert_true(h1.body.len == 0 || memcmp(h1.body.data, c->body, h1.body.len) == 0);
		assert_int_equal(at, strlen(c->bytes));
	}
	h1_free(&h1);
}

static void
test_requests(void **state)
{
	(void) state;
	for (size_t i = 0; i < NCASES; i++)
	{
		size_t		len = strlen(cases[i].bytes);

		for (size_t first = 0; first <= len; first++)
			for (size_t second = first; second <= len; second += 1 + (second - first) / 4)
				check(&cases[i], first, second);
	}
}

/* Bytes behind a request are those of the next. */
static void
test_pipelined(void **state)
{
	static const char bytes[] = "POST /a HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nxGET /b HTTP/1.1\r\n" HOST "Connection: keep-alive, Close\r\n\r\n";
	size_t		used;
	size_t		at = 0;
	H1			h1;

	(void) state;
	h1_init(&h1, 100);
	assert_int_equal(h1_feed(&h1, bytes, sizeof(bytes) - 1, &used), H1_HEAD);
	at += used;
	assert_string_equal(h1.target, "/a");
	assert_string_equal(h1.method, "POST");
	assert_true(h1.keep_alive);
	assert_null(h1_header(&h1, "x"));
	assert_int_equal(h1_feed(&h1, bytes + at, sizeof(bytes) - 1 - at, &used), H1_MORE + 2);
	at += used;
	h1_reset(&h1);
	assert_false(h1_is_begun(&h1));
	assert_int_equal(h1_feed(&h1, bytes + at, sizeof(bytes) - 1 - at, &used), H1_HEAD);
	assert_string_equal(h1.target, "/b");
	assert_false(h1.keep_alive);
	assert_string_equal(h1_header(&h1, "host"), "a");
	h1_free(&h1);
}

static void
test_limits(void **state)
{
	Buf			head = {0};
	size_t		used;
	H1			h1;

	(void) state;
	buf_adds(&head, "GET / HTTP/1.1\r\nX: ");
	while (head.len < 2 * H1_MAX_HEAD)
		buf_addc(&head, 'x');
	h1_init(&h1, 100);
	assert_int_equal(h1_feed(&h1, head.data, head.len, &used), H1_BAD);
	assert_int_equal(h1.status, 431);
	h1_free(&h1);
	head.len = 0;
	buf_adds(&head, "GET / HTTP/1.1\r\n");
	for (int i = 0; i <= H1_MAX_HEADERS; i++)
		buf_printf(&head, "X%d: y\r\n", i);
	buf_adds(&head, "\r\n");
	h1_init(&h1, 100);
	assert_int_equal(h1_feed(&h1, head.data, head.len, &used), H1_BAD);
	assert_int_equal(h1.status, 431);
	h1_free(&h1);
	buf_free(&head);
}

static void
test_zero_bytes(void **state)
{
	static const char bytes[] = "GET / HTTP/1.1\r\n" HOST "X: a\0b\r\n\r\n";
	size_t		used;
	H1			h1;

	(void) state;
	h1_init(&h1, 100);
	assert_int_equal(h1_feed(&h1, bytes, sizeof(bytes) - 1, &used), H1_BAD);
	assert_int_equal(h1.status, 400);
	h1_free(&h1);
}

static void
test_query(void **state)
{
	static const struct
	{
		const char *query;
		const char *object;
	}			queries[] = {
		{"", "{}"},
		{"a=b", "{\"a\":\"b\"}"},
		{"a=b&a=c", "{\"a\":\"b\"}"},
		{"&&a", "{\"a\":\"\"}"},
		{"a=%22+%2b&b=%", "{\"a\":\"\\\" +\",\"b\":\"%\"}"},
		{"a=%ff", "{\"a\":\"\xef\xbf\xbd\"}"},
		{"a=%00&=x", "{\"a\":\"\\u0000\",\"\":\"x\"}"},
		{"a=%5c%22b%22%3a&b=1", "{\"a\":\"\\\\\\\"b\\\":\",\"b\":\"1\"}"}
	};

	(void) state;
	for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++)
	{
		Buf			object = {0};

		query_to_object(&object, queries[i].query);
		assert_string_equal(buf_string(&object), queries[i].object);
		buf_free(&object);
	}
}

/* More parameters than any request has would take time that others wait for. */
static void
test_many_parameters(void **state)
{
	Buf			query = {0};
	Buf			object = {0};
	Buf			value = {0};

	(void) state;
	for (int i = 0; i < 100; i++)
		buf_printf(&query, "p%d=x&", i);
	buf_adds(&query, "gid=g");
	query_to_object(&object, buf_string(&query));
	assert_non_null(strstr(buf_string(&object), "\"p31\":"));
	assert_null(strstr(buf_string(&object), "\"p32\":"));
	assert_false(query_value(buf_string(&query), "gid", &value));
	buf_free(&query);
	buf_free(&object);
	buf_free(&value);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests), cmocka_unit_test(test_pipelined),
		cmocka_unit_test(test_limits), cmocka_unit_test(test_zero_bytes),
		cmocka_unit_test(test_query), cmocka_unit_test(test_many_parameters)
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
