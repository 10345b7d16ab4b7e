/*
 * test_hba.c
 *		gateway.hba, and the metrics.  If this fails, a client is a role that it
 *		is not.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dbparams.h"
#include "hba.h"
#include "metrics.h"

/* The role of a client, "-" for none told, "reject", or NULL where no line fits. */
static const char *
role_of(const HbaLine *lines, const char *listener, const char *address)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	const HbaLine *line;

	if (inet_pton(AF_INET, address, &in.sin_addr) == 1)
		line = hba_find(lines, listener, (struct sockaddr *) &in);
	else
	{
		assert_int_equal(inet_pton(AF_INET6, address, &in6.sin6_addr), 1);
		line = hba_find(lines, listener, (struct sockaddr *) &in6);
	}
	if (line == NULL)
		return NULL;
	return line->method == HBA_REJECT ? "reject" : line->role ? line->role : "-";
}

static void
test_first_that_fits(void **state)
{
	HbaLine    *lines;
	char	   *problem;

	(void) state;
	assert_true(hba_parse("# comment\n\n a:1 10.0.0.0/9 trust one # behind\n"
						  "a:1\t10.128.0.0/9\tcert\tmap=cn\r\nall 10.1.2.3 trust two\n"
						  "all fe80::/10 bearer -\nall 0.0.0.0/0 cert three\nall all reject -", &lines, &problem));
	assert_string_equal(role_of(lines, "a:1", "10.127.255.255"), "one");
	assert_string_equal(role_of(lines, "a:1", "10.128.0.0"), "-");
	assert_string_equal(role_of(lines, "b:1", "10.1.2.3"), "two");
	assert_string_equal(role_of(lines, "b:1", "10.1.2.4"), "three");
	assert_string_equal(role_of(lines, "b:1", "::ffff:10.1.2.3"), "two");
	assert_string_equal(role_of(lines, "b:1", "febf::1"), "-");
	assert_string_equal(role_of(lines, "b:1", "fec0::1"), "reject");
	assert_string_equal(hba_insecure(lines)->role, "one");
	hba_free(lines);
	assert_true(hba_parse("", &lines, &problem));
	assert_null(role_of(lines, "a:1", "127.0.0.1"));
}

static void
test_default(void **state)
{
	HbaLine    *lines = hba_default();

	(void) state;
	assert_string_equal(role_of(lines, "a:1", "127.1.2.3"), "dtm_api");
	assert_string_equal(role_of(lines, "a:1", "::1"), "dtm_api");
	assert_string_equal(role_of(lines, "a:1", "::2"), "reject");
	assert_string_equal(role_of(lines, "a:1", "10.0.0.1"), "reject");
	assert_null(hba_insecure(lines));
	hba_free(lines);
}

/* Can anybody use listener a:1, bound to this address? */
static bool
lets_in(const char *text, const char *address)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	HbaLine    *lines;
	char	   *problem;
	bool		result;

	if (text == NULL)
		lines = hba_default();
	else
		assert_true(hba_parse(text, &lines, &problem));
	if (inet_pton(AF_INET, address, &in.sin_addr) == 1)
		result = hba_lets_in(lines, "a:1", (struct sockaddr *) &in);
	else
	{
		assert_int_equal(inet_pton(AF_INET6, address, &in6.sin6_addr), 1);
		result = hba_lets_in(lines, "a:1", (struct sockaddr *) &in6);
	}
	hba_free(lines);
	return result;
}

/* If this fails, nobody is told that a listener is of no use, or it is said of one that is of use. */
static void
test_lets_in(void **state)
{
	(void) state;
	assert_false(lets_in("", "127.0.0.1"));
	assert_true(lets_in("a:1 all bearer -", "127.0.0.1"));
	assert_true(lets_in("all 10.0.0.0/8 cert map=cn", "0.0.0.0"));
	/* another one's */
	assert_false(lets_in("a:2 all bearer -\na:1/tls all bearer -", "127.0.0.1"));
	/* what is rejected, or comes too late */
	assert_false(lets_in("a:1 all reject -\nall all bearer -", "127.0.0.1"));
	assert_false(lets_in("a:1 0.0.0.0/0 reject -\nall all bearer -", "127.0.0.1"));
	assert_true(lets_in("a:1 ::/0 reject -\nall all bearer -", "127.0.0.1"));
	assert_true(lets_in("a:1 10.0.0.0/8 reject -\nall all bearer -", "127.0.0.1"));
	assert_true(lets_in("a:2 all reject -\nall all bearer -", "127.0.0.1"));
	/* addresses that do not come here */
	assert_false(lets_in("all ::/0 bearer -", "0.0.0.0"));
	assert_false(lets_in("all 0.0.0.0/0 bearer -", "::"));
	assert_false(lets_in("all 127.0.0.0/8 trust r\nall ::1 trust r", "10.0.0.1"));
	assert_false(lets_in("all 127.0.0.0/8 trust r\nall ::1 trust r", "fe80::1"));
	assert_true(lets_in(NULL, "127.0.0.1"));
	assert_true(lets_in(NULL, "0.0.0.0"));
	assert_true(lets_in(NULL, "::1"));
	assert_true(lets_in(NULL, "::"));
	assert_false(lets_in(NULL, "10.0.0.1"));
}

static void
test_malformed(void **state)
{
	static const char *const texts[] = {
		"all", "all all", "all all trust", "all all trust -", "all all cert", "all all cert map=x", "all all bearer r",
		"all all reject r", "all all md5 r", "all 1.2.3 trust r", "all 1.2.3.4/33 trust r", "all 1.2.3.4/ trust r",
		"all 1.2.3.4/-1 trust r", "all ::/129 trust r", "all all trust r more", "all localhost trust r"
	};

	(void) state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
	{
		HbaLine    *lines;
		char	   *problem;

		assert_false(hba_parse(texts[i], &lines, &problem));
		assert_memory_equal(problem, "line 1: ", 8);
		free(problem);
	}
}

static void
test_metrics(void **state)
{
	Buf			out = {0};

	(void) state;
	metrics_reset();
	metrics_count(METRIC_HTTP, "submit", 200, 3000);
	metrics_count(METRIC_HTTP, "submit", 200, 20000000);
	metrics_count(METRIC_GRPC, "Submit", 10, 0);
	metrics_write(&out, "1.2.3");
	assert_non_null(strstr(buf_string(&out), "dtm_server_info{version=\"1.2.3\"} 1\n"));
	assert_non_null(strstr(out.data, "dtm_server_process_total{type=\"http\",api=\"submit\",status=\"200\"} 2\n"));
	assert_non_null(strstr(out.data, "dtm_server_process_total{type=\"grpc\",api=\"Submit\",status=\"10\"} 1\n"));
	assert_non_null(strstr(out.data, "dtm_server_response_duration_bucket{type=\"http\",le=\"0.005\"} 1\n"));
	assert_non_null(strstr(out.data, "dtm_server_response_duration_bucket{type=\"http\",le=\"+Inf\"} 2\n"));
	/* however many statuses there are */
	for (int i = 0; i < 10000; i++)
		metrics_count(METRIC_HTTP, "x", i, 0);
	buf_free(&out);
}

/* Rows of the database: labels are escaped, and what is no metric is left out. */
static void
test_metric_rows(void **state)
{
	static const char label[] = "a\"b\\c\nd";
	Buf			array = {0};
	Buf			out = {0};

	(void) state;
	array_begin(&array, TEXTOID, 2);
	array_add(&array, "status", 6);
	array_add(&array, label, strlen(label));
#define CELL(text) {text, sizeof(text) - 1}
	{
		const Bytes cells[] = {
			CELL("x"), CELL("histogram"), CELL("Some\nthing."), CELL("1.5"), CELL("x_bucket"), {array.data, array.len},
			CELL("x"), CELL("histogram"), CELL("Some\nthing."), CELL("2"), CELL("x_sum"), {NULL, 0},
			CELL("no name"), CELL("counter"), CELL("x"), CELL("2"), CELL("x"), {NULL, 0},
			CELL("v"), CELL("counter"), CELL("x"), CELL("2"), CELL("no name"), {NULL, 0},
			CELL("y"), CELL("gauge"), CELL("x"), CELL("2\n3"), CELL("y"), {NULL, 0},
			CELL("z"), CELL("gauge"), CELL("x"), CELL("2"), CELL("z"), {array.data, array.len - 1},
			CELL("w"), CELL("gauge"), CELL("x"), {NULL, 0}, CELL("w"), {NULL, 0}
		};

		metrics_write_rows(&out, cells, (int) (sizeof(cells) / sizeof(cells[0])) / METRICS_COLUMNS);
	}
	assert_string_equal(buf_string(&out),
						"# HELP x Some\\nthing.\n# TYPE x histogram\n"
						"x_bucket{status=\"a\\\"b\\\\c\\nd\"} 1.5\nx_sum 2\n");
	buf_free(&array);
	buf_free(&out);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_that_fits), cmocka_unit_test(test_default),
		cmocka_unit_test(test_lets_in),
		cmocka_unit_test(test_malformed), cmocka_unit_test(test_metrics),
		cmocka_unit_test(test_metric_rows)
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
