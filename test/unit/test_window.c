/*
 * test_window.c
 *		What a window makes of services of several kinds, in simulated time.  If
 *		this fails, a flood of calls makes a healthy service time out, or its
 *		calls take longer than with the best fixed limit.
 *
 * The simulated service has a number of workers; requests queue for them in
 * their order.  Each request has its own time of work.
 */
#include "../../src/transport/window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MS			INT64_C(1000)
#define SECOND		INT64_C(1000000)
#define MAX_CALLS	20000
#define MAX_WORKERS 5000

typedef struct Service
{
	int			nworkers;
	int			queue;			/* requests that may wait; others are
								 * rejected; 0: any number */
	int64_t		(*work) (int n, int64_t now);	/* us, of the n-th request */
	int64_t		free_at[MAX_WORKERS];	/* when each worker is free */
} Service;

typedef struct Call
{
	int64_t		began;
	int64_t		ends;			/* its answer, or the time-out */
	bool		lost;
	bool		rejected;
} Call;

/* What a flood has come to. */
typedef struct Flood
{
	int64_t		time;			/* from the first call to the last answer */
	int			nlost;
	int			nrejected;
	int			size;			/* of the window at the end */
	int			most;			/* calls in flight, the most that there were */
} Flood;

static Call calls[MAX_CALLS];
static int64_t now;

/* The service gets a request; fills in how it ends. */
static void
request(Service *service, Call *call, int n, int64_t timeout)
{
	int			first = 0;

	for (int i = 1; i < service->nworkers; i++)
		if (service->free_at[i] < service->free_at[first])
			first = i;
	call->began = now;
	call->lost = call->rejected = false;
	if (service->queue > 0 && service->free_at[first] > now)
	{
		call->rejected = true;
		call->ends = now + MS;
		return;
	}
	if (service->free_at[first] < now)
		service->free_at[first] = now;
	/* who has given up is served all the same */
	service->free_at[first] += service->work(n, now);
	call->ends = service->free_at[first];
	if (call->ends > now + timeout)
	{
		call->ends = now + timeout;
		call->lost = true;
	}
}

static int
earliest(int in_flight)
{
	int			first = 0;

	for (int i = 1; i < in_flight; i++)
		if (calls[i].ends < calls[first].ends)
			first = i;
	return first;
}

static void
tell(DtmWindow *window, const Call *call, int64_t timeout, int in_flight)
{
	DtmWindowCall ended = {.began = call->began,.ended = now,.time = now - call->began,.timeout = timeout,.in_flight = in_flight};

	if (call->lost)
		window_lost(window, &ended);
	else if (call->rejected)
		window_rejected(window, &ended, 1000);
	else
		window_answered(window, &ended, 1000);
}

/* So many calls that wait for the window, or for a fixed limit if it is NULL. */
static Flood
flood(Service *service, DtmWindow *window, int fixed, int ncalls, int64_t timeout)
{
	Flood		done = {0};
	int64_t		began = now;
	int			in_flight = 0;
	int			sent = 0;

	memset(service->free_at, 0, sizeof(service->free_at));
	while (in_flight > 0 || sent < ncalls)
	{
		int64_t		until;

		while (sent < ncalls && in_flight < (window ? window->size : fixed))
			request(service, &calls[in_flight++], sent++, timeout);
		if (window && sent < ncalls)
			window_wanted(window);
		done.most = in_flight > done.most ? in_flight : done.most;
		/* all that end at this time, and then others begin */
		until = calls[earliest(in_flight)].ends;
		for (int i = earliest(in_flight); in_flight > 0 && calls[i].ends == until;
			 i = earliest(in_flight))
		{
			Call		call = calls[i];

			now = call.ends;
			if (window != NULL)
				tell(window, &call, timeout, in_flight);
			calls[i] = calls[--in_flight];
			done.nlost += call.lost;
			done.nrejected += call.rejected;
		}
		now++;
	}
	done.time = now - began;
	done.size = window ? window->size : fixed;
	return done;
}

static int64_t
best_fixed(Service *service, int ncalls, int64_t timeout)
{
	static const int limits[] = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000};
	int64_t		best = INT64_MAX;

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
	{
		Flood		done = flood(service, NULL, limits[i], ncalls, timeout);

		if (done.nlost == 0 && done.time < best)
			best = done.time;
	}
	return best;
}

static int64_t work_time;

static int64_t
same_work(int n, int64_t at)
{
	(void) n;
	(void) at;
	return work_time;
}

/* From a tenth of the time to ten times, around it. */
static int64_t
uneven_work(int n, int64_t at)
{
	(void) at;
	return n % 10 == 0 ? work_time * 5 : work_time / 2;
}

/* It gets slower by and by, for all that is asked. */
static int64_t
slower_work(int n, int64_t at)
{
	(void) n;
	return at > 100 * SECOND ? work_time * 20 : work_time;
}

static int
start_over(void **state)
{
	(void) state;
	now = 100 * SECOND;
	return 0;
}

static void
expect_no_loss(int nworkers, int64_t work, int64_t (*kind) (int, int64_t), int ncalls)
{
	Service		service = {.nworkers = nworkers,.work = kind};
	DtmWindow	window;
	Flood		done;
	int64_t		best;

	now = 10 * SECOND;
	work_time = work;
	best = best_fixed(&service, ncalls, 3 * SECOND);
	now = 10 * SECOND;
	window_init(&window);
	done = flood(&service, &window, 0, ncalls, 3 * SECOND);
	print_message("%d workers, %lld us: %.2f of the best, window %d, at most %d, lost %d\n", nworkers,
				  (long long) work, (double) done.time / (double) best, window.size, done.most, done.nlost);
	assert_int_equal(done.nlost, 0);
	assert_true(done.time <= best * 13 / 10);
}

static void
a_flood_makes_no_service_time_out(void **state)
{
	static const int64_t works[] = {1 * MS, 5 * MS, 20 * MS, 30 * MS, 100 * MS, 300 * MS};

	(void) state;
	for (size_t i = 0; i < sizeof(works) / sizeof(works[0]); i++)
	{
		expect_no_loss(1, works[i], same_work, 4000);
		expect_no_loss(2, works[i], same_work, 4000);
		expect_no_loss(10, works[i], same_work, 4000);
		expect_no_loss(50, works[i], same_work, 4000);
		expect_no_loss(10, works[i], uneven_work, 4000);
		expect_no_loss(200, works[i], uneven_work, 10000);
	}
	expect_no_loss(10, 1 * SECOND, same_work, 1000);
	expect_no_loss(2, 500 * MS, same_work, 500);
}

static void
slow_answers_are_no_queue(void **state)
{
	Service		service = {.nworkers = 1000,.work = same_work};
	DtmWindow	window;
	Flood		done;

	(void) state;
	work_time = SECOND;
	window_init(&window);
	done = flood(&service, &window, 0, 10000, 3 * SECOND);
	assert_int_equal(done.nlost, 0);
	assert_int_equal(done.size, 1000);
	assert_true(done.time < 20 * SECOND);
}

/* First fast ones; then all take longer, but do not queue. */
static void
other_calls_may_take_longer(void **state)
{
	Service		service = {.nworkers = 1000,.work = same_work};
	DtmWindow	window;
	Flood		done;

	(void) state;
	window_init(&window);
	work_time = 1 * MS;
	(void) flood(&service, &window, 0, 10000, 3 * SECOND);
	assert_int_equal(window.size, 1000);
	work_time = 500 * MS;
	done = flood(&service, &window, 0, 10000, 3 * SECOND);
	assert_int_equal(done.nlost, 0);
	assert_int_equal(window.size, 1000);
}

/* A service that loses most of its speed, with a large window open. */
static void
a_service_may_become_slow(void **state)
{
	Service		service = {.nworkers = 10,.work = slower_work};
	DtmWindow	window;
	Flood		done;

	(void) state;
	now = 98 * SECOND;
	work_time = 5 * MS;
	window_init(&window);
	done = flood(&service, &window, 0, 10000, 3 * SECOND);
	assert_int_equal(done.nlost, 0);
	assert_true(window.size >= 10 && window.size <= 299);
}

static void
lost_calls_halve_it(void **state)
{
	DtmWindow	window;
	DtmWindowCall lost = {.began = 1,.ended = 10,.timeout = 9,.in_flight = 64};

	(void) state;
	window_init(&window);
	window.size = 64;
	/* one among many answers is its own matter */
	window_lost(&window, &lost);
	assert_int_equal(window.size, 64);
	/* but not two */
	window_lost(&window, &lost);
	assert_int_equal(window.size, 32);
	/* those that began before that have the same reason */
	window_lost(&window, &lost);
	assert_int_equal(window.size, 32);
	lost.began = 11;
	lost.ended = 20;
	window_lost(&window, &lost);
	assert_int_equal(window.size, 16);
	for (int i = 0; i < 10; i++)
	{
		lost.began = lost.ended + 1;
		lost.ended += 9;
		window_lost(&window, &lost);
	}
	assert_int_equal(window.size, 1);
}

/* Some calls hang, and the others are quick: that is no matter of their number. */
static void
lost_calls_among_quick_ones_do_not(void **state)
{
	DtmWindow	window;
	DtmWindowCall call = {.timeout = 3 * SECOND,.in_flight = 50};

	(void) state;
	window_init(&window);
	window.size = 50;
	for (int i = 0; i < 10000; i++)
	{
		call.began = call.ended + 1;
		call.ended = call.began + 5 * MS;
		call.time = 5 * MS;
		window_wanted(&window);
		if (i % 10 == 0)
			window_lost(&window, &call);
		else
			window_answered(&window, &call, 50);
	}
	assert_int_equal(window.size, 50);
}

static void
rejected_calls_halve_it(void **state)
{
	Service		service = {.nworkers = 10,.queue = 1,.work = same_work};
	DtmWindow	window;
	Flood		done;

	(void) state;
	work_time = 20 * MS;
	window_init(&window);
	window.size = 640;
	done = flood(&service, &window, 0, 4000, 3 * SECOND);
	assert_true(done.size >= 5 && done.size <= 20);
}

static void
few_rejected_calls_do_not(void **state)
{
	DtmWindow	window;
	DtmWindowCall call = {.timeout = 3 * SECOND,.in_flight = 1};

	(void) state;
	window_init(&window);
	for (int i = 0; i < 100; i++)
	{
		call.began = call.ended + 1;
		call.ended += MS;
		window_rejected(&window, &call, 1000);
	}
	assert_int_equal(window.size, 10);
}

static void
it_does_not_grow_without_need(void **state)
{
	DtmWindow	window;
	DtmWindowCall call = {.timeout = 3 * SECOND,.in_flight = 5};

	(void) state;
	window_init(&window);
	for (int i = 0; i < 1000; i++)
	{
		call.began = call.ended;
		call.ended += MS;
		call.time = MS;
		window_answered(&window, &call, 1000);
	}
	assert_int_equal(window.size, 10);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_flood_makes_no_service_time_out, start_over),
		cmocka_unit_test_setup(slow_answers_are_no_queue, start_over),
		cmocka_unit_test_setup(other_calls_may_take_longer, start_over),
		cmocka_unit_test_setup(a_service_may_become_slow, start_over),
		cmocka_unit_test_setup(lost_calls_halve_it, start_over),
		cmocka_unit_test_setup(lost_calls_among_quick_ones_do_not, start_over),
		cmocka_unit_test_setup(rejected_calls_halve_it, start_over),
		cmocka_unit_test_setup(few_rejected_calls_do_not, start_over),
		cmocka_unit_test_setup(it_does_not_grow_without_need, start_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
