/*
 * test_complete.c
 *		Answers that come later: what a completion does to an op before, during and
 *		after its call, and how long an op waits for it.
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

static const char *
status_of(const Sim *sim)
{
	return dtm_status_name(sim->stored.status);
}

/* A saga whose steps wait for completions, submitted and driven. */
static void
start(Sim *sim, DtmTransType type, int nsteps, int64_t within)
{
	sim_init(sim, type, nsteps);
	sim->memory.policy = sim->policy;
	for (int i = 0; i < nsteps; i++)
	{
		sim->policy[i].completes = true;
		sim->policy[i].complete_within = within;
	}
	sim_start(sim, true);
	sim_wake(sim);
}

/* --- If this fails, a branch that has accepted is asked again and again. --- */
static void
ongoing_waits_for_its_completion(void **state)
{
	Sim			sim;

	(void) state;
	start(&sim, DTM_SAGA, 2, 60 * SEC);
	sim_reply(&sim, ACTION(0), DTM_RESULT_ONGOING, "");
	assert_true(sim.stored.next_time == sim.now + 60 * SEC);
	sim.now += 10 * SEC;
	sim_wake(&sim);
	assert_false(sim.in_flight[ACTION(0)]);
	/* nor by a successor */
	sim_die(&sim);
	sim_wake(&sim);
	assert_false(sim.in_flight[ACTION(0)]);

	assert_int_equal(sim_complete(&sim, ACTION(0), DTM_RESULT_SUCCESS), DTM_ACCEPTED);
	assert_true(sim.stored.next_time <= sim.now);
	sim_wake(&sim);
	assert_true(sim.in_flight[ACTION(1)]);
	/* again, it is for the caller to say that it is the same */
	assert_int_equal(sim_complete(&sim, ACTION(0), DTM_RESULT_SUCCESS), DTM_REJECT_STATUS);
	/* the second one during its call, whose reply says nothing new */
	assert_int_equal(sim_complete(&sim, ACTION(1), DTM_RESULT_SUCCESS), DTM_ACCEPTED);
	sim_wake(&sim);
	assert_string_equal(status_of(&sim), "succeed");
	sim_reply(&sim, ACTION(1), DTM_RESULT_FAILURE, "no");
	assert_string_equal(status_of(&sim), "succeed");
}

/* --- If this fails, a branch that never comes back is forgotten. --- */
static void
a_deadline_is_a_failed_attempt(void **state)
{
	Sim			sim;

	(void) state;
	start(&sim, DTM_SAGA, 1, 60 * SEC);
	sim_reply(&sim, ACTION(0), DTM_RESULT_ONGOING, "");
	sim.now = sim.stored.next_time;
	assert_true(dtm_core_is_overdue(&sim.memory, ACTION(0), sim.now));
	sim_expire(&sim);
	assert_int_equal(sim.stored.failures, 1);
	assert_true(sim.stored.next_time > sim.now);
	assert_false(dtm_core_is_overdue(&sim.memory, ACTION(0), sim.now));
	sim.now = sim.stored.next_time;
	sim_wake(&sim);
	assert_true(sim.in_flight[ACTION(0)]);
}

/* --- If this fails, one step's deadline delays the others, or asks it too early. --- */
static void
others_go_on_meanwhile(void **state)
{
	Sim			sim;

	(void) state;
	sim_init(&sim, DTM_SAGA, 3);
	sim_order(&sim, 2, 1);
	sim.memory.policy = sim.policy;
	sim.policy[0].completes = true;
	sim.policy[0].complete_within = 3600 * SEC;
	sim_start(&sim, true);
	sim_wake(&sim);
	sim_reply(&sim, ACTION(0), DTM_RESULT_ONGOING, "");
	/* a call is under way: a successor has to make it at once */
	assert_true(sim.stored.next_time <= sim.now);
	sim_reply(&sim, ACTION(1), DTM_RESULT_TEMPORARY, "down");
	assert_true(sim.stored.next_time == sim.now + 20 * SEC);
	sim.now = sim.stored.next_time;
	sim_wake(&sim);
	assert_true(sim.in_flight[ACTION(1)]);
	assert_false(sim.in_flight[ACTION(0)]);
	sim_reply(&sim, ACTION(1), DTM_RESULT_SUCCESS, "");
	sim_reply(&sim, ACTION(2), DTM_RESULT_SUCCESS, "");
	assert_true(sim.stored.next_time == 3600 * SEC);
	/* asked for: it is called again */
	sim_request(&sim, DTM_EVENT_RETRY_NOW, NULL);
	sim_wake(&sim);
	assert_true(sim.in_flight[ACTION(0)]);
}

/* --- If this fails, a branch that has accepted is asked again when another's host is back. --- */
static void
a_host_that_is_back_ends_no_wait(void **state)
{
	Sim			sim;

	(void) state;
	sim_init(&sim, DTM_SAGA, 3);
	sim_order(&sim, 2, 1);
	sim.memory.policy = sim.policy;
	sim.policy[0].completes = true;
	sim.policy[0].complete_within = 3600 * SEC;
	sim_start(&sim, true);
	sim_wake(&sim);
	sim_reply(&sim, ACTION(0), DTM_RESULT_ONGOING, "");
	sim_reply(&sim, ACTION(1), DTM_RESULT_TEMPORARY, "down");
	assert_true(sim.stored.next_time > sim.now);
	assert_int_equal(sim_request(&sim, DTM_EVENT_BRING_FORWARD, NULL), DTM_ACCEPTED);
	assert_true(sim.stored.next_time == sim.now);
	sim_wake(&sim);
	assert_true(sim.in_flight[ACTION(1)]);
	assert_false(sim.in_flight[ACTION(0)]);
	assert_int_equal(sim.stored_ops[ACTION(0)].deadline, 3600 * SEC);
	sim_reply(&sim, ACTION(1), DTM_RESULT_SUCCESS, "");
	sim_reply(&sim, ACTION(2), DTM_RESULT_SUCCESS, "");
	assert_true(sim.stored.next_time == 3600 * SEC);
	/* nothing has failed that could be tried earlier */
	assert_int_equal(sim_request(&sim, DTM_EVENT_BRING_FORWARD, NULL), DTM_REJECT_STATUS);
	assert_true(sim.stored.next_time == 3600 * SEC);
}

/* --- If this fails, what was said too early is lost, or done without its turn. --- */
static void
early_completions_wait_for_their_turn(void **state)
{
	Sim			sim;

	(void) state;
	start(&sim, DTM_SAGA, 3, 60 * SEC);
	assert_int_equal(sim_complete(&sim, ACTION(1), DTM_RESULT_SUCCESS), DTM_ACCEPTED);
	assert_int_equal(sim.stored_ops[ACTION(1)].status, DTM_BRANCH_PREPARED);
	assert_int_equal(sim_complete(&sim, COMPENSATE(0), DTM_RESULT_SUCCESS), DTM_REJECT_STATUS);
	sim_wake(&sim);
	sim_reply(&sim, ACTION(0), DTM_RESULT_SUCCESS, "");
	sim_wake(&sim);
	assert_true(sim.in_flight[ACTION(1)]);
	assert_int_equal(sim.memory_ops[ACTION(1)].completed, DTM_COMPLETED_OK);
	assert_false(sim.in_flight[ACTION(2)]);

	/* not of a step that keeps none */
	start(&sim, DTM_MSG, 2, 0);
	sim.policy[1].completes = false;
	assert_int_equal(sim_complete(&sim, 1, DTM_RESULT_SUCCESS), DTM_REJECT_TURN);
	assert_int_equal(sim_complete(&sim, 0, DTM_RESULT_SUCCESS), DTM_ACCEPTED);
	assert_int_equal(sim_complete(&sim, 1, DTM_RESULT_SUCCESS), DTM_ACCEPTED);
	sim_wake(&sim);
	assert_string_equal(status_of(&sim), "succeed");
}

/* --- If this fails, what somebody has done is not undone, or undone by nobody. --- */
static void
failures_roll_back(void **state)
{
	Sim			sim;

	(void) state;
	start(&sim, DTM_SAGA, 3, 60 * SEC);
	/* step 3 is completed before its turn, which never comes; step 2 says no */
	assert_int_equal(sim_complete(&sim, ACTION(2), DTM_RESULT_SUCCESS), DTM_ACCEPTED);
	sim_wake(&sim);
	sim_reply(&sim, ACTION(0), DTM_RESULT_SUCCESS, "");
	assert_int_equal(sim_complete(&sim, ACTION(1), DTM_RESULT_FAILURE), DTM_ACCEPTED);
	assert_string_equal(status_of(&sim), "aborting");
	assert_string_equal(sim.stored.reason, "url:http://busi return failed: completed FAILURE");
	sim_wake(&sim);
	sim_reply(&sim, ACTION(1), DTM_RESULT_ONGOING, "");
	assert_true(sim.in_flight[COMPENSATE(1)]);
	assert_int_equal(sim_complete(&sim, ACTION(2), DTM_RESULT_SUCCESS), DTM_REJECT_STATUS);
	assert_int_equal(sim_complete(&sim, COMPENSATE(2), DTM_RESULT_SUCCESS), DTM_REJECT_STATUS);
	/* a compensation can wait, too, and be completed before its turn */
	sim_reply(&sim, COMPENSATE(1), DTM_RESULT_ONGOING, "");
	assert_true(sim.stored.next_time == sim.now + 60 * SEC);
	assert_int_equal(sim_complete(&sim, COMPENSATE(0), DTM_RESULT_SUCCESS), DTM_ACCEPTED);
	assert_int_equal(sim.stored_ops[COMPENSATE(0)].status, DTM_BRANCH_PREPARED);
	sim_wake(&sim);
	assert_int_equal(sim_complete(&sim, COMPENSATE(1), DTM_RESULT_SUCCESS), DTM_ACCEPTED);
	sim_wake(&sim);
	assert_true(sim.in_flight[COMPENSATE(0)]);
	sim_reply(&sim, COMPENSATE(0), DTM_RESULT_SUCCESS, "");
	assert_int_equal(sim.stored_ops[COMPENSATE(2)].status, DTM_BRANCH_PREPARED);
	assert_string_equal(status_of(&sim), "failed");
}

/* --- If this fails, the branches of other types are taken for done by anybody. --- */
static void
only_sagas_and_messages(void **state)
{
	static const DtmTransType types[] = {DTM_TCC, DTM_XA, DTM_WORKFLOW};

	(void) state;
	for (int i = 0; i < 3; i++)
	{
		Sim			sim;

		sim_init(&sim, types[i], 1);
		sim_start(&sim, false);
		assert_int_equal(sim_complete(&sim, 0, DTM_RESULT_SUCCESS), DTM_REJECT_TYPE);
	}
}

/* --- If this fails, a saga waits longer than its own time-out. --- */
static void
timeout_to_fail_goes_first(void **state)
{
	Sim			sim;

	(void) state;
	sim_init(&sim, DTM_SAGA, 1);
	sim.memory.policy = sim.policy;
	sim.memory.timeout_to_fail = 30 * SEC;
	sim.policy[0].completes = true;
	sim.policy[0].complete_within = 60 * SEC;
	sim_start(&sim, true);
	sim_wake(&sim);
	sim_reply(&sim, ACTION(0), DTM_RESULT_ONGOING, "");
	assert_true(sim.stored.next_time == 30 * SEC);
	sim.now = 30 * SEC;
	sim_wake(&sim);
	assert_string_equal(status_of(&sim), "aborting");
	assert_true(sim.in_flight[COMPENSATE(0)]);
}

/*
 * --- If this fails, what was completed as failed is asked again at the end of
 * complete_within, or what its call responds counts all the same. ---
 */
static void
failures_of_what_cannot_fail_park(void **state)
{
	Sim			sim;

	(void) state;
	start(&sim, DTM_MSG, 2, 3600 * SEC);
	sim_reply(&sim, 0, DTM_RESULT_ONGOING, "");
	assert_int_equal(sim_complete(&sim, 0, DTM_RESULT_FAILURE), DTM_ACCEPTED);
	assert_true(sim.stored.parked);
	assert_true(sim.stored.next_time == DTM_TIME_NEVER);
	assert_int_equal(sim_complete(&sim, 0, DTM_RESULT_SUCCESS), DTM_REJECT_STATUS);
	sim_request(&sim, DTM_EVENT_RESUME, NULL);
	sim_wake(&sim);
	assert_true(sim.in_flight[0]);
	/* during the call, whose response comes too late */
	assert_int_equal(sim_complete(&sim, 0, DTM_RESULT_FAILURE), DTM_ACCEPTED);
	sim_reply(&sim, 0, DTM_RESULT_SUCCESS, "");
	assert_int_equal(sim.stored_ops[0].status, DTM_BRANCH_PREPARED);
	assert_true(sim.stored.parked);
	sim_die(&sim);
	sim_request(&sim, DTM_EVENT_RESUME, NULL);
	sim_wake(&sim);
	assert_true(sim.in_flight[0]);
	assert_int_equal(sim_complete(&sim, 0, DTM_RESULT_SUCCESS), DTM_ACCEPTED);

	/* before its turn */
	assert_int_equal(sim_complete(&sim, 1, DTM_RESULT_SUCCESS), DTM_ACCEPTED);
	sim_wake(&sim);
	assert_string_equal(status_of(&sim), "succeed");
	start(&sim, DTM_MSG, 2, 3600 * SEC);
	assert_int_equal(sim_complete(&sim, 1, DTM_RESULT_FAILURE), DTM_ACCEPTED);
	sim_reply(&sim, 0, DTM_RESULT_SUCCESS, "");
	assert_int_equal(sim.memory_ops[1].completed, DTM_COMPLETED_FAILED);
	sim_reply(&sim, 1, DTM_RESULT_FAILURE, "completed");
	assert_true(sim.stored.parked);
	assert_int_equal(sim.stored_ops[1].completed, DTM_COMPLETED_PARKED);

	/* a policy of its own, and none at all */
	start(&sim, DTM_MSG, 1, 3600 * SEC);
	sim.policy[0].on_exhausted = DTM_EXHAUSTED_DISCARD;
	assert_int_equal(sim_complete(&sim, 0, DTM_RESULT_FAILURE), DTM_ACCEPTED);
	sim_wake(&sim);
	assert_string_equal(status_of(&sim), "failed");
	sim_init(&sim, DTM_SAGA, 1);
	sim_start(&sim, true);
	sim_wake(&sim);
	sim_reply(&sim, ACTION(0), DTM_RESULT_FAILURE, "no");
	assert_true(sim.in_flight[COMPENSATE(0)]);
	assert_int_equal(sim_complete(&sim, COMPENSATE(0), DTM_RESULT_FAILURE), DTM_ACCEPTED);
	assert_true(sim.stored.parked);
	sim_reply(&sim, COMPENSATE(0), DTM_RESULT_SUCCESS, "");
	assert_int_equal(sim.stored_ops[COMPENSATE(0)].status, DTM_BRANCH_PREPARED);
}

/* --- If this fails, another branch's completion resumes what somebody has to look at. --- */
static void
others_do_not_resume(void **state)
{
	Sim			sim;
	DtmEvent	ev = {.kind = DTM_EVENT_COMPLETE, .op = 0, .result = DTM_RESULT_SUCCESS,
	.url = "http://busi", .text = "", .unparks = true};

	(void) state;
	sim_init(&sim, DTM_MSG, 3);
	sim.memory.concurrent = true;
	sim.memory.policy = sim.policy;
	sim.policy[0].max_attempts = 1;
	sim_start(&sim, true);
	sim_wake(&sim);
	sim_reply(&sim, 0, DTM_RESULT_TEMPORARY, "down");
	assert_true(sim.stored.parked);
	assert_int_equal(sim_complete(&sim, 1, DTM_RESULT_SUCCESS), DTM_ACCEPTED);
	assert_true(sim.stored.parked);
	assert_true(sim.stored.next_time == DTM_TIME_NEVER);
	assert_int_equal(sim_steer(&sim, ev), DTM_ACCEPTED);
	assert_false(sim.stored.parked);
	assert_true(sim.stored.next_time <= sim.now);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ongoing_waits_for_its_completion),
		cmocka_unit_test(a_deadline_is_a_failed_attempt),
		cmocka_unit_test(others_go_on_meanwhile),
		cmocka_unit_test(a_host_that_is_back_ends_no_wait),
		cmocka_unit_test(early_completions_wait_for_their_turn),
		cmocka_unit_test(failures_roll_back),
		cmocka_unit_test(only_sagas_and_messages),
		cmocka_unit_test(timeout_to_fail_goes_first),
		cmocka_unit_test(failures_of_what_cannot_fail_park),
		cmocka_unit_test(others_do_not_resume),
	};

	return cmocka_run_group_tests_name("complete", tests, NULL, NULL);
}
