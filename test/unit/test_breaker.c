/*
 * test_breaker.c
 *		When a host is called, and whose calls, in a time that the test makes.  If
 *		this fails, a dead host is hammered, one that is back is left alone, or
 *		one tenant's calls keep another's from starting.
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

/* Nothing here is in the ring of hosts, or in a list. */
void
hosts_ring_add(DtmTransport *t, DtmHost *of)
{
	(void) t;
	(void) of;
}

void
hosts_ring_remove(DtmTransport *t, DtmHost *of)
{
	(void) t;
	(void) of;
}

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
	transport.limits.max_requests_per_host = 1000;
	transport.max_requests = 2000;
	window_init(&host.window);
	host.window.size = 8;
	host.stats.window = 8;
	return 0;
}

static void
submit(DtmCall *call, uint32_t tenant, uint64_t key)
{
	memset(call, 0, sizeof(*call));
	call->timeout = 3 * SECOND;
	call->tenant = tenant;
	call->key = key;
	call->host = &host;
	assert_true(queue_add(&transport, &host, call));
}

/* The call that may start next, which is started; NULL: none. */
static DtmCall *
start_next(void)
{
	DtmCall    *call;

	transport.next_start = INT64_MAX;
	call = queue_take(&transport, &host);
	if (call == NULL)
		return NULL;
	host_started(&transport, &host, call);
	queue_started(call);
	transport.in_flight++;
	return call;
}

static void
begin(DtmCall *call)
{
	submit(call, 0, 0);
	assert_ptr_equal(start_next(), call);
}

static bool
admits(void)
{
	DtmCall		call;
	bool		may;

	submit(&call, 0, 0);
	transport.next_start = INT64_MAX;
	may = queue_take(&transport, &host) != NULL;
	if (may)
		queue_left(&transport, &call, false);
	else
		queue_remove(&transport, &call);
	return may;
}

static void
leave(DtmCall *call)
{
	queue_left(&transport, call, true);
	host_left(&transport, &host, call);
	transport.in_flight--;
}

static void
end(DtmCall *call, bool answered)
{
	if (answered)
	{
		call->http_status = 200;
		call->duration = 100;
		host_answered(&transport, &host, call);
	}
	else
	{
		strcpy(call->error, "no route");
		host_failed(&transport, &host, call, true);
	}
	leave(call);
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
	assert_false(admits());
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
	assert_true(admits());
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
		assert_false(admits());
		now++;
		begin(&probe);
		assert_true(host.stats.probing);
		assert_false(admits());
		end(&probe, false);
		assert_false(host.stats.probing);
		assert_false(admits());
	}
}

static void
an_answer_closes_it_and_the_window_grows(void **state)
{
	DtmCall		calls[8];
	DtmCall		waiting;

	(void) state;
	open_it();
	now += SECOND;
	call_it(true);
	assert_false(host.stats.open);
	assert_int_equal(host.stats.next_probe, 0);
	for (int round = 1; round <= 8; round *= 2)
	{
		assert_int_equal(host.stats.window, round);
		now += 100;
		for (int i = 0; i < round; i++)
		{
			/* from 8 on, the last place is another's */
			submit(&calls[i], i == 7 ? 2 : 1, 0);
			assert_ptr_equal(start_next(), &calls[i]);
		}
		submit(&waiting, 1, 0);
		assert_null(start_next());
		queue_remove(&transport, &waiting);
		now += 100;
		for (int i = 0; i < round; i++)
			end(&calls[i], true);
	}
}

static void
a_host_that_answers_is_not_down(void **state)
{
	DtmCall		calls[8];

	(void) state;
	for (int i = 0; i < 7; i++)
		begin(&calls[i]);
	now += SECOND;
	end(&calls[0], true);
	now += SECOND;
	for (int i = 1; i < 7; i++)
		end(&calls[i], false);
	assert_false(host.stats.open);
	assert_int_equal(host.stats.failures, 6);
	/* but there are fewer at a time from now on */
	assert_int_equal(host.stats.window, 4);
}

static void
time_that_a_reply_waited_for_us_is_not_the_hosts(void **state)
{
	DtmRequest	request = {.was_paused = true};
	DtmCall		calls[8];

	(void) state;
	/* a round of quick ones, and rounds of those that we did not read */
	for (int round = 0; round < 5; round++)
	{
		now += SECOND / 1000;
		for (int i = 0; i < 8; i++)
		{
			/* as many as may, so that the window counts */
			submit(&calls[i], (uint32_t) i, 0);
			assert_ptr_equal(start_next(), &calls[i]);
			calls[i].request = round > 0 ? &request : NULL;
		}
		assert_false(admits());
		now += round > 0 ? 2 * SECOND : SECOND / 1000;
		for (int i = 0; i < 8; i++)
			end(&calls[i], round < 4);
		host.window.size = host.window.size > 8 ? 8 : host.window.size;
	}
	assert_int_equal(host.window.size, 8);
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
	leave(&probe);
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
	assert_true(admits());
}

static void
what_changes_is_told_once(void **state)
{
	int			place;
	const char *name;
	bool		switched;

	(void) state;
	host.place = 7;
	open_it();
	assert_ptr_equal(dtm_transport_changed_host(&transport, &place, &name, &switched), &host.stats);
	assert_int_equal(place, 7);
	assert_true(switched);
	assert_null(dtm_transport_changed_host(&transport, &place, &name, &switched));
	now += SECOND;
	call_it(false);
	assert_non_null(dtm_transport_changed_host(&transport, &place, &name, &switched));
	assert_false(switched);
}

static void
a_probe_may_be_asked_for(void **state)
{
	(void) state;
	transport.hosts[0] = &host;
	open_it();
	assert_false(admits());
	assert_int_equal(transport.next_start, now + SECOND);
	dtm_transport_probe_now(&transport);
	assert_true(admits());
	call_it(true);
	assert_false(host.stats.open);
}

static void
tenants_and_keys_take_turns(void **state)
{
	static const struct
	{
		uint32_t	tenant;
		uint64_t	key;
	}			calls[] = {{1, 0}, {1, 0}, {1, 0}, {1, 7}, {1, 7}, {2, 0}, {2, 0}, {2, 0}};
	static const int order[] = {0, 5, 3, 6, 1, 7, 4, 2};
	DtmCall		call[8];

	(void) state;
	for (int i = 0; i < 8; i++)
		submit(&call[i], calls[i].tenant, calls[i].key);
	for (int i = 0; i < 8; i++)
	{
		DtmCall    *next = start_next();

		assert_int_equal(next - call, order[i]);
		end(next, true);
	}
	assert_null(host.tenants);
	assert_null(transport.tenants);
}

static void
the_last_places_are_for_others(void **state)
{
	DtmCall		slow[20];
	DtmCall		other[2];

	(void) state;
	host.window.size = 16;
	for (int i = 0; i < 20; i++)
		submit(&slow[i], 1, (uint64_t) i);
	for (int i = 0; i < 15; i++)
		assert_non_null(start_next());
	assert_null(start_next());
	submit(&other[0], 2, 0);
	assert_ptr_equal(start_next(), &other[0]);
	end(&other[0], true);
	assert_null(start_next());
	/* the same for all hosts together, whatever the window */
	host.window.size = 1000;
	assert_false(dtm_transport_is_full(&transport));
	transport.max_requests = 17;
	assert_false(dtm_transport_is_full(&transport));
	transport.max_requests = 16;
	assert_true(dtm_transport_is_full(&transport));
	assert_null(start_next());
	submit(&other[1], 3, 0);
	assert_ptr_equal(start_next(), &other[1]);
	/* a small window has one more for them */
	leave(&other[1]);
	host.window.size = 4;
	transport.max_requests = 2000;
	for (int i = 4; i < 15; i++)
		leave(&slow[i]);
	assert_null(start_next());
	submit(&other[1], 3, 0);
	assert_ptr_equal(start_next(), &other[1]);
	submit(&other[0], 2, 0);
	assert_null(start_next());
	queue_remove(&transport, &other[0]);
	for (int i = 15; i < 20; i++)
		queue_remove(&transport, &slow[i]);
	for (int i = 0; i < 4; i++)
		leave(&slow[i]);
	leave(&other[1]);
	assert_null(host.tenants);
}

static void
the_limits_of_a_call_are_kept(void **state)
{
	DtmCall		calls[8];

	(void) state;
	for (int i = 0; i < 4; i++)
	{
		submit(&calls[i], 1, 0);
		calls[i].max_requests = 2;
	}
	assert_non_null(start_next());
	assert_non_null(start_next());
	assert_null(start_next());
	assert_int_equal(transport.next_start, INT64_MAX);
	/* which keeps no call without it from starting */
	call_it(true);
	end(&calls[0], true);
	assert_non_null(start_next());
	assert_null(start_next());
	for (int i = 1; i < 3; i++)
		end(&calls[i], true);
	end(start_next(), true);

	/* two at once, and then two a second */
	for (int i = 0; i < 4; i++)
	{
		submit(&calls[i], 1, 0);
		calls[i].interval = SECOND / 2;
	}
	end(start_next(), true);
	end(start_next(), true);
	for (int i = 2; i < 4; i++)
	{
		assert_null(start_next());
		assert_int_equal(transport.next_start, now + SECOND / 2);
		now += SECOND / 2;
		end(start_next(), true);
	}
}

static void
however_many_keys_wait_the_others_start(void **state)
{
	DtmCall		calls[20];
	DtmCall		free;

	(void) state;
	for (int i = 0; i < 20; i++)
	{
		submit(&calls[i], 1, (uint64_t) i);
		calls[i].max_requests = 1;
	}
	assert_ptr_equal(start_next(), &calls[0]);
	submit(&free, 1, 20);
	assert_ptr_equal(start_next(), &free);
	end(&free, true);
	assert_null(start_next());
	end(&calls[0], true);
	/* and those that wait had no turn */
	for (int i = 1; i < 20; i++)
	{
		assert_ptr_equal(start_next(), &calls[i]);
		end(&calls[i], true);
	}
	assert_null(host.tenants);
}

static int	nexpired;

static void
withdraw(DtmTransport *t, DtmCall *call)
{
	nexpired++;
	queue_remove(t, call);
}

static void
what_has_expired_is_withdrawn_at_once(void **state)
{
	DtmCall		calls[6];

	(void) state;
	transport.next_withdrawal = INT64_MAX;
	for (int i = 0; i < 6; i++)
	{
		memset(&calls[i], 0, sizeof(calls[i]));
		calls[i].key = (uint64_t) i / 2;
		calls[i].host = &host;
		/* one queue expires, one in part, and one does not */
		calls[i].expires = i == 4 ? 0 : now + (i < 3 ? 1 : i) * SECOND;
		assert_true(queue_add(&transport, &host, &calls[i]));
	}
	nexpired = 0;
	queues_expire(&transport, now + SECOND - 1, withdraw);
	assert_int_equal(nexpired, 0);
	queues_expire(&transport, now + SECOND, withdraw);
	assert_int_equal(nexpired, 3);
	assert_int_equal(host.stats.waiting, 3);
	assert_int_equal(transport.next_withdrawal, now + 3 * SECOND);
	queues_expire(&transport, now + 9 * SECOND, withdraw);
	assert_int_equal(nexpired, 5);
	assert_int_equal(transport.next_withdrawal, INT64_MAX);
	queue_remove(&transport, &calls[4]);
	assert_null(host.tenants);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(opens_after_failures_in_a_row, start_over),
		cmocka_unit_test_setup(never_opens_if_it_is_off, start_over),
		cmocka_unit_test_setup(one_probe_at_a_time_with_growing_pauses, start_over),
		cmocka_unit_test_setup(an_answer_closes_it_and_the_window_grows, start_over),
		cmocka_unit_test_setup(a_host_that_answers_is_not_down, start_over),
		cmocka_unit_test_setup(a_probe_may_be_asked_for, start_over),
		cmocka_unit_test_setup(tenants_and_keys_take_turns, start_over),
		cmocka_unit_test_setup(the_last_places_are_for_others, start_over),
		cmocka_unit_test_setup(the_limits_of_a_call_are_kept, start_over),
		cmocka_unit_test_setup(however_many_keys_wait_the_others_start, start_over),
		cmocka_unit_test_setup(what_has_expired_is_withdrawn_at_once, start_over),
		cmocka_unit_test_setup(time_that_a_reply_waited_for_us_is_not_the_hosts, start_over),
		cmocka_unit_test_setup(calls_from_before_count_as_what_they_are, start_over),
		cmocka_unit_test_setup(a_probe_that_is_given_up_is_followed_by_another, start_over),
		cmocka_unit_test_setup(a_probe_that_hangs_keeps_no_other_from_trying, start_over),
		cmocka_unit_test_setup(limits_count_at_once, start_over),
		cmocka_unit_test_setup(what_changes_is_told_once, start_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
