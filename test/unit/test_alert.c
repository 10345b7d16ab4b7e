/*
 * test_alert.c
 *		Which errors make one alert.  If this fails, an outage is told of once
 *		for each order that it concerns, or two causes look like one.
 */
#include "../../src/core/alert.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void
assert_class(const char *text, const char *expected)
{
	char		class[256];

	dtm_alert_class(text, class, sizeof(class));
	assert_string_equal(class, expected);
	assert_true(strlen(class) <= strlen(text));
}

static void
what_differs_is_left_out(void **state)
{
	(void) state;
	assert_class("no stock for item 4711", "no stock for item #");
	assert_class("no stock for item 12", "no stock for item #");
	assert_class("order-4711 not found", "# not found");
	assert_class("id 550e8400-e29b-41d4-a716-446655440000 is unknown", "id # is unknown");
	assert_class("{\"at\":\"2026-11-26T10:11:12.345Z\",\"code\":\"E_STOCK\"}", "{\"at\":\"#\",\"code\":\"E_STOCK\"}");
	assert_class("Failed to connect to 127.0.0.1 port 8080 after 0 ms", "Failed to connect to # port # after # ms");
	assert_class("balance 1,234.50 is too low", "balance # is too low");
	assert_class("failed (attempts: 3): 503", "failed (attempts: #): #");
	assert_class("caf\303\251 7: ferm\303\251", "caf\303\251 #: ferm\303\251");
}

static void
what_is_the_same_stays(void **state)
{
	(void) state;
	assert_class("", "");
	assert_class("out of stock", "out of stock");
	assert_class("well-known, unknown. Yes: no", "well-known, unknown. Yes: no");
	assert_class("- a -b- c-", "- a -b- c-");
	assert_class("x.", "x.");
	assert_class("1.", "#.");
	assert_class("-1", "-#");
}

static void
blanks_are_one(void **state)
{
	(void) state;
	assert_class("  a\t\r\n b\001c ", "a b c");
	assert_class(" \n ", "");
	assert_class("\177", "");
}

static void
what_does_not_fit_is_left_out(void **state)
{
	char		class[8];

	(void) state;
	dtm_alert_class("abcdefghijkl", class, sizeof(class));
	assert_string_equal(class, "abcdefg");
	dtm_alert_class("abc 123456789 xyz", class, sizeof(class));
	assert_string_equal(class, "abc # x");
	dtm_alert_class("anything", class, 1);
	assert_string_equal(class, "");
}

static void
silence_is_known(void **state)
{
	static const char *const silent[] = {
		"Failed to connect to 127.0.0.1 port 1 after 0 ms: Couldn't connect to server",
		"Could not connect to server: could not CONNECT TO it", "Could not resolve host: shop",
		"Couldn't resolve host name: resolve host", "Operation timed out after 3000 milliseconds with 0 bytes received",
		"Timeout was reached", "Empty reply from server", "Recv failure: Connection reset by peer",
		"Send failure: Broken pipe", "transfer closed with 5 bytes remaining to read"
	};
	static const char *const others[] = {
		"", "permission denied for foreign server bank", "SSL certificate problem: self signed certificate",
		"response is longer than 1024 bytes", "address 10.0.0.1 is forbidden by dtm.forbidden_addresses",
		"server \"bank\" does not exist"
	};

	(void) state;
	for (size_t i = 0; i < sizeof(silent) / sizeof(silent[0]); i++)
		assert_true(dtm_alert_is_silence(silent[i]));
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_false(dtm_alert_is_silence(others[i]));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_differs_is_left_out),
		cmocka_unit_test(what_is_the_same_stays),
		cmocka_unit_test(blanks_are_one),
		cmocka_unit_test(what_does_not_fit_is_left_out),
		cmocka_unit_test(silence_is_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
