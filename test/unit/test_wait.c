/*
 * test_wait.c
 *		Ops that their responses have asked to wait (Retry-After), and calls that were
 *		under way when their step was changed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sim.h"

#define SEC DTM_USEC_PER_SEC
#define ACTION(step)		(2 * (step) + 1)
#define COMPENSATE(step)	(2 * (step))

/* Steps that have nothing to do with each other, submitted and called. */
static void
start(Sim *sim, DtmTransType type, int nsteps)
{
	sim_init(sim, type, nsteps);
	sim->memory.concurrent = true;
	sim_start(sim, true);
	sim_wake(sim);
}

/* Its response is a 429 with such a Retry-After. */
static void
ask_to_wait(Sim *sim, int op, int seconds)
{
	DtmEvent	ev = {.op = op, .result = DTM_RESULT_TEMPORARY, .retry_after = seconds * SEC};

	sim_answer(sim, ev);
}

/* The op is called at a time, and not before; others may be called meanwhile. */
static void
assert_called_at(Sim *sim, int op, DtmTime time)
{
	while (sim->now < time)
	{
		sim_wake(sim);
		assert_false(sim->in_flight[sim_slot(op)]);
		assert_true(sim->stored.next_time > sim->now);
		sim->now = sim->stored.next_time < time ? sim->stored.next_time : time;
	}
	sim_wake(sim);
	assert_true(sim->in_flight[sim_slot(op)]);
}

/* --- If this fails, a service that asks for time is called again because of another. --- */
static void
a_sibling_does_not_shorten_it(void **state)
{
	DtmEvent	skip = {.kind = DTM_EVENT_SKIP, .op = 1, .result = DTM_RESULT_SUCCESS};
	Sim			sim;

	(void) state;
	/* its success, and with it the next step */
	start(&sim, DTM_SAGA, 3);
	sim_order(&sim, 2, 1);
	ask_to_wait(&sim, ACTION(0), 60);
	sim_reply(&sim, ACTION(1), DTM_RESULT_SUCCESS, "");
	sim_reply(&sim, ACTION(2), DTM_RESULT_TEMPORARY, "down");
	assert_called_at(&sim, ACTION(0), 60 * SEC);

	/* its immediate retries */
	start(&sim, DTM_SAGA, 2);
	sim.memory.retry_limit = sim.stored.retry_limit = 5;
	ask_to_wait(&sim, ACTION(0), 60);
	for (int i = 0; i < 3; i++)
	{
		assert_true(sim.in_flight[ACTION(1)]);
		sim_reply(&sim, ACTION(1), DTM_RESULT_TEMPORARY, "down");
		sim_wake(&sim);
		assert_false(sim.in_flight[ACTION(0)]);
	}
	sim_reply(&sim, ACTION(1), DTM_RESULT_SUCCESS, "");
	assert_called_at(&sim, ACTION(0), 60 * SEC);

	/* its completion, or an operator's word for it */
	for (int skipped = 0; skipped < 2; skipped++)
	{
		start(&sim, DTM_MSG, 2);
		ask_to_wait(&sim, 0, 60);
		sim_reply(&sim, 1, DTM_RESULT_ONGOING, "");
		assert_int_equal(skipped ? sim_steer(&sim, skip) :
						 sim_complete(&sim, 1, DTM_RESULT_SUCCESS), DTM_ACCEPTED);
		assert_true(sim.stored.next_time <= sim.now);
		assert_called_at(&sim, 0, 60 * SEC);
	}

	/* that somebody resumes what another one was parked for */
	start(&sim, DTM_MSG, 2);
	sim.memory.policy = sim.stored.policy = sim.policy;
	sim.policy[1].max_attempts = 1;
	sim_reply(&sim, 1, DTM_RESULT_TEMPORARY, "down");
	assert_true(sim.stored.parked);
	ask_to_wait(&sim, 0, 60);
	assert_true(sim.stored.next_time == DTM_TIME_NEVER);
	sim_request(&sim, DTM_EVENT_RESUME, NULL);
	assert_called_at(&sim, 0, 60 * SEC);

	/* a host that is back, and a repeated submit */
	start(&sim, DTM_MSG, 2);
	ask_to_wait(&sim, 0, 60);
	sim_reply(&sim, 1, DTM_RESULT_TEMPORARY, "down");
	assert_int_equal(sim_request(&sim, DTM_EVENT_BRING_FORWARD, NULL), DTM_ACCEPTED);
	sim_wake(&sim);
	assert_true(sim.in_flight[1]);
	sim_reply(&sim, 1, DTM_RESULT_SUCCESS, "");
	assert_int_equal(sim_request(&sim, DTM_EVENT_SUBMIT, NULL), DTM_ACCEPTED);
	assert_called_at(&sim, 0, 60 * SEC);
}

/* --- If this fails, a service that asks for time holds up all others. --- */
static void
it_does_not_delay_siblings(void **state)
{
	Sim			sim;

	(void) state;
	start(&sim, DTM_MSG, 3);
	ask_to_wait(&sim, 0, 600);
	assert_true(sim.stored.next_time == 600 * SEC);
	sim_reply(&sim, 1, DTM_RESULT_ONGOING, "");
	assert_true(sim.stored.next_time == 10 * SEC * 2);
	sim.now = sim.stored.next_time;
	sim_wake(&sim);
	assert_true(sim.in_flight[1]);
	ask_to_wait(&sim, 2, 60);
	sim_reply(&sim, 1, DTM_RESULT_SUCCESS, "");
	assert_true(sim.stored.next_time == sim.now + 60 * SEC);
	assert_called_at(&sim, 2, sim.now + 60 * SEC);
	sim_reply(&sim, 2, DTM_RESULT_SUCCESS, "");
	assert_called_at(&sim, 0, 600 * SEC);
}

/* --- If this fails, a restart calls before the time, or never. --- */
static void
a_successor_keeps_it(void **state)
{
	Sim			sim;

	(void) state;
	start(&sim, DTM_MSG, 2);
	ask_to_wait(&sim, 0, 600);
	sim_reply(&sim, 1, DTM_RESULT_TEMPORARY, "down");
	sim_die(&sim);
	sim.now = sim.stored.next_time;
	assert_true(sim.now < 600 * SEC);
	sim_wake(&sim);
	assert_true(sim.in_flight[1]);
	assert_false(sim.in_flight[0]);
	sim_die(&sim);
	sim.now = 599 * SEC;
	sim_wake(&sim);
	assert_false(sim.in_flight[0]);
	sim_reply(&sim, 1, DTM_RESULT_SUCCESS, "");
	assert_called_at(&sim, 0, 600 * SEC);
	sim_reply(&sim, 0, DTM_RESULT_SUCCESS, "");
	assert_int_equal(sim.stored.status, DTM_SUCCEED);
}

/* --- If this fails, nobody can have it called earlier. --- */
static void
it_ends_when_somebody_says_so(void **state)
{
	Sim			sim;

	(void) state;
	start(&sim, DTM_MSG, 2);
	ask_to_wait(&sim, 0, 600);
	ask_to_wait(&sim, 1, 600);
	sim_request(&sim, DTM_EVENT_RETRY_NOW, NULL);
	sim_wake(&sim);
	assert_true(sim.in_flight[0] && sim.in_flight[1]);

	/* a change of the step, and of that one alone */
	ask_to_wait(&sim, 0, 600);
	ask_to_wait(&sim, 1, 600);
	sim_request(&sim, DTM_EVENT_EDIT, NULL);
	dtm_core_step_changed(&sim.stored, 0, sim.now);
	assert_true(sim.stored.next_time <= sim.now);
	sim_wake(&sim);
	assert_true(sim.in_flight[0]);
	assert_false(sim.in_flight[1]);
	sim_reply(&sim, 0, DTM_RESULT_SUCCESS, "");
	assert_called_at(&sim, 1, 600 * SEC);

	/* what undoes it is another call; and its own back-off counts if it is longer */
	start(&sim, DTM_SAGA, 1);
	ask_to_wait(&sim, ACTION(0), 600);
	sim_steer(&sim, (DtmEvent) {.kind = DTM_EVENT_ABORT, .steered = true});
	sim_wake(&sim);
	assert_true(sim.in_flight[COMPENSATE(0)]);
	ask_to_wait(&sim, COMPENSATE(0), 1);
	assert_true(sim.stored.next_time == sim.now + 20 * SEC);

	/* a saga's time is over whatever it waits for */
	start(&sim, DTM_SAGA, 1);
	sim.memory.timeout_to_fail = sim.stored.timeout_to_fail = 100 * SEC;
	ask_to_wait(&sim, ACTION(0), 600);
	assert_true(sim.stored.next_time == 100 * SEC);
}

/* --- If this fails, what was mended while it was called waits for a back-off. --- */
static void
a_failure_from_before_a_change_does_not_count(void **state)
{
	static const DtmResult failures[] = {
		DTM_RESULT_TEMPORARY, DTM_RESULT_FAILURE, DTM_RESULT_PERMANENT
	};
	DtmEvent	ev = {.op = ACTION(0), .is_outdated = true};
	Sim			sim;

	(void) state;
	for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++)
	{
		start(&sim, DTM_SAGA, 1);
		sim.memory.policy = sim.stored.policy = sim.policy;
		sim.policy[0].max_attempts = 2;
		sim_reply(&sim, ACTION(0), DTM_RESULT_TEMPORARY, "down");
		sim.now = sim.stored.next_time;
		sim_wake(&sim);
		sim_request(&sim, DTM_EVENT_EDIT, NULL);
		sim_wake(&sim);			/* the coordinator has heard of it */
		ev.result = failures[i];
		sim_answer(&sim, ev);
		assert_int_equal(sim.stored.status, DTM_SUBMITTED);
		assert_int_equal(sim.stored_ops[ACTION(0)].attempts, 1);
		assert_true(sim.in_flight[ACTION(0)]);
		assert_true(sim.stored.next_time <= sim.now);
		/* the next one does */
		sim_reply(&sim, ACTION(0), DTM_RESULT_TEMPORARY, "down");
		assert_int_equal(sim.stored.status, DTM_ABORTING);
	}
	/* a success is one, as it was not possible to call it back */
	start(&sim, DTM_SAGA, 1);
	ev.result = DTM_RESULT_SUCCESS;
	sim_answer(&sim, ev);
	assert_int_equal(sim.stored.status, DTM_SUCCEED);

	/* the same of the query-back */
	sim_init(&sim, DTM_MSG, 1);
	sim_start(&sim, false);
	sim.now = sim.stored.next_time;
	sim_wake(&sim);
	ev.op = DTM_CALL_QUERY;
	ev.result = DTM_RESULT_FAILURE;
	sim_answer(&sim, ev);
	assert_int_equal(sim.stored.status, DTM_PREPARED);
	assert_true(sim.in_flight[sim_slot(DTM_CALL_QUERY)]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_sibling_does_not_shorten_it),
		cmocka_unit_test(it_does_not_delay_siblings),
		cmocka_unit_test(a_successor_keeps_it),
		cmocka_unit_test(it_ends_when_somebody_says_so),
		cmocka_unit_test(a_failure_from_before_a_change_does_not_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
