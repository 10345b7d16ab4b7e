/*
 * test_breaker.c
 *		When a host is called, in a time that the test makes.  If this fails, a
 *		dead host is hammered, or one that is back is left alone.
 */
#include "../../src/transport/private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define SECOND 1000000

static int64_t now;
static DtmTransport transport;
static DtmHost host;

int64_t
monotonic_us(void)
{
	return now;
}

int64_t
realtime_us(void)
{
	return now;
}

static int
start_over(void **state)
{
	(void) state;
	now = SECOND;
	memset(&transport, 0, sizeof(transport));
	memset(&host, 0, sizeof(host));
	transport.limits.breaker_failures = 3;
	transport.limits.breaker_pause_max = 5 * SECOND;
	transport.limits.max_requests_per_host = 8;
	return 0;
}

static void
begin(DtmCall *call)
{
	memset(call, 0, sizeof(*call));
	assert_int_equal(host_admits(&transport, &host), HOST_ADMITS);
	host_started(&transport, &host, call);
}

static void
end(DtmCall *call, bool answered)
{
	if (answered)
		host_answered(&transport, &host, 100);
	else
	{
		strcpy(call->error, "no route");
		host_failed(&transport, &host, call);
	}
	host_left(&transport, &host, call);
}

static void
call_it(bool answered)
{
	DtmCall		call;

	begin(&call);
	end(&call, answered);
}

static void
open_it(void)
{
	for (int i = 0; i < 3; i++)
		call_it(false);
	assert_true(host.stats.open);
}

static void
opens_after_failures_in_a_row(void **state)
{
	(void) state;
	call_it(false);
	call_it(false);
	call_it(true);
	call_it(false);
	call_it(false);
	assert_false(host.stats.open);
	call_it(false);
	assert_true(host.stats.open);
	assert_int_equal(host_admits(&transport, &host), HOST_REFUSES);
	assert_int_equal(host.stats.calls, 6);
	assert_int_equal(host.stats.failures, 5);
	assert_string_equal(host.stats.error, "no route");
}

static void
never_opens_if_it_is_off(void **state)
{
	(void) state;
	transport.limits.breaker_failures = 0;
	for (int i = 0; i < 1000; i++)
		call_it(false);
	assert_int_equal(host_admits(&transport, &host), HOST_ADMITS);
}

static void
one_probe_at_a_time_with_growing_pauses(void **state)
{
	static const int64_t pauses[] = {1 * SECOND, 2 * SECOND, 4 * SECOND, 5 * SECOND, 5 * SECOND};
	DtmCall		probe;

	(void) state;
	open_it();
	for (int i = 0; i < 5; i++)
	{
		assert_int_equal(host.stats.next_probe, now + pauses[i]);
		now += pauses[i] - 1;
		assert_int_equal(host_admits(&transport, &host), HOST_REFUSES);
		now++;
		begin(&probe);
		assert_true(host.stats.probing);
		assert_int_equal(host_admits(&transport, &host), HOST_REFUSES);
		end(&probe, false);
		assert_false(host.stats.probing);
		assert_int_equal(host_admits(&transport, &host), HOST_REFUSES);
	}
}

static void
an_answer_closes_it_and_the_window_grows(void **state)
{
	DtmCall		calls[8];

	(void) state;
	open_it();
	now += SECOND;
	call_it(true);
	assert_false(host.stats.open);
	assert_int_equal(host.stats.next_probe, 0);
	for (int round = 1; round <= 4; round *= 2)
	{
		assert_int_equal(host.stats.window, round);
		for (int i = 0; i < round; i++)
			begin(&calls[i]);
		assert_int_equal(host_admits(&transport, &host), HOST_IS_FULL);
		for (int i = 0; i < round; i++)
			end(&calls[i], true);
	}
	assert_int_equal(host.stats.window, 0);
	for (int i = 0; i < 8; i++)
		begin(&calls[i]);
	assert_int_equal(host_admits(&transport, &host), HOST_IS_FULL);
}

static void
calls_from_before_count_as_what_they_are(void **state)
{
	DtmCall		before[2];

	(void) state;
	begin(&before[0]);
	begin(&before[1]);
	open_it();
	end(&before[0], false);
	/* it says nothing new: the probe is when it was to be */
	assert_int_equal(host.stats.next_probe, now + SECOND);
	end(&before[1], true);
	assert_false(host.stats.open);
}

static void
a_probe_that_is_given_up_is_followed_by_another(void **state)
{
	DtmCall		probe;

	(void) state;
	open_it();
	now += SECOND;
	begin(&probe);
	host_left(&transport, &host, &probe);
	assert_false(host.stats.probing);
	/* nor does it double the pause */
	assert_int_equal(host.stats.next_probe, now + SECOND);
	now += SECOND;
	begin(&probe);
	end(&probe, true);
	assert_false(host.stats.open);
}

static void
a_probe_that_hangs_keeps_no_other_from_trying(void **state)
{
	DtmCall		first,
				second;

	(void) state;
	open_it();
	now += SECOND;
	begin(&first);
	now += SECOND;
	begin(&second);
	/* the first one is not the probe any more */
	end(&first, false);
	assert_true(host.stats.probing);
	assert_int_equal(host.stats.next_probe, now + SECOND);
	end(&second, true);
	assert_false(host.stats.open);
}

static void
limits_count_at_once(void **state)
{
	(void) state;
	transport.places[0] = &host;
	open_it();
	now += SECOND;
	call_it(false);
	now += 2 * SECOND;
	call_it(false);
	assert_int_equal(host.stats.next_probe, now + 4 * SECOND);
	transport.limits.breaker_pause_max = SECOND;
	hosts_limits_changed(&transport);
	assert_int_equal(host.stats.next_probe, now + SECOND);
	transport.limits.breaker_failures = 0;
	hosts_limits_changed(&transport);
	assert_int_equal(host_admits(&transport, &host), HOST_ADMITS);
}

static void
what_changes_is_told_once(void **state)
{
	int			place;
	bool		switched;

	(void) state;
	host.place = 7;
	open_it();
	assert_ptr_equal(dtm_transport_changed_host(&transport, &place, &switched), &host.stats);
	assert_int_equal(place, 7);
	assert_true(switched);
	assert_null(dtm_transport_changed_host(&transport, &place, &switched));
	now += SECOND;
	call_it(false);
	assert_non_null(dtm_transport_changed_host(&transport, &place, &switched));
	assert_false(switched);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(opens_after_failures_in_a_row, start_over),
		cmocka_unit_test_setup(never_opens_if_it_is_off, start_over),
		cmocka_unit_test_setup(one_probe_at_a_time_with_growing_pauses, start_over),
		cmocka_unit_test_setup(an_answer_closes_it_and_the_window_grows, start_over),
		cmocka_unit_test_setup(calls_from_before_count_as_what_they_are, start_over),
		cmocka_unit_test_setup(a_probe_that_is_given_up_is_followed_by_another, start_over),
		cmocka_unit_test_setup(a_probe_that_hangs_keeps_no_other_from_trying, start_over),
		cmocka_unit_test_setup(limits_count_at_once, start_over),
		cmocka_unit_test_setup(what_changes_is_told_once, start_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
