/*
 * test_policy.c
 *		The rules of core for policies of steps, parked transactions and lanes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim.h"

#define SEC DTM_USEC_PER_SEC

static DtmStepPolicy policies[SIM_MAX_STEPS];

/* A submitted transaction whose first steps have these policies, woken. */
static void
start(Sim *sim, DtmTransType type, int nsteps, const DtmStepPolicy *policy, int n)
{
	sim_init(sim, type, nsteps);
	memset(policies, 0, sizeof(policies));
	memcpy(policies, policy, sizeof(DtmStepPolicy) * (size_t) n);
	sim->memory.policy = policies;
	sim_start(sim, true);
	sim_wake(sim);
}

/* The same reply to an op until it is not called again; returns how often. */
static int
reply_until_given_up(Sim *sim, int op, DtmResult result)
{
	int			n = 0;

	while (sim->in_flight[sim_slot(op)])
	{
		sim_reply(sim, op, result, "no luck");
		n++;
		assert_true(n < 100);
		if (dtm_core_is_final(sim->stored.status) || sim->stored.parked)
			break;
		if (!sim->in_flight[sim_slot(op)])
		{
			if (sim->stored.next_time > sim->now)
				sim->now = sim->stored.next_time;
			sim_wake(sim);
		}
	}
	return n;
}

/* --- If this fails, a saga is retried for ever, or is rolled back too early. --- */
static void
action_aborts_after_its_attempts(void **state)
{
	DtmStepPolicy policy = {.max_attempts = 3};
	Sim			sim;

	(void) state;
	start(&sim, DTM_SAGA, 1, &policy, 1);
	/* between the attempts it backs off: not as with retry_limit */
	sim_reply(&sim, 1, DTM_RESULT_TEMPORARY, "no luck");
	assert_false(sim.in_flight[1]);
	assert_true(sim.stored.next_time == 20 * SEC);
	/* the branch works: that does not count */
	sim.now = sim.stored.next_time;
	sim_wake(&sim);
	sim_reply(&sim, 1, DTM_RESULT_ONGOING, "wait");
	assert_int_equal(sim.stored_ops[1].attempts, 1);
	/* a restart does not forget it */
	sim_die(&sim);
	sim.now = sim.stored.next_time;
	sim_wake(&sim);
	assert_int_equal(reply_until_given_up(&sim, 1, DTM_RESULT_TEMPORARY), 2);
	assert_int_equal(sim.stored.status, DTM_ABORTING);
	assert_string_equal(sim.stored.reason, "url:http://busi failed (attempts: 3): no luck");
	/* it may have had effects */
	assert_true(sim.in_flight[0]);
	/* what undoes it has no limit */
	for (int i = 0; i < 10; i++)
	{
		sim_reply(&sim, 0, i % 2 ? DTM_RESULT_TEMPORARY : DTM_RESULT_FAILURE, "");
		assert_false(sim.stored.parked);
		sim.now = sim.stored.next_time;
		sim_wake(&sim);
	}
	sim_reply(&sim, 0, DTM_RESULT_SUCCESS, "");
	assert_int_equal(sim.stored.status, DTM_FAILED);
}

/* --- If this fails, a saga that somebody is to look at is rolled back. --- */
static void
action_is_parked_and_resumed(void **state)
{
	DtmStepPolicy policy = {.max_attempts = 2, .on_exhausted = DTM_EXHAUSTED_PARK};
	Sim			sim;

	(void) state;
	start(&sim, DTM_SAGA, 2, &policy, 1);
	sim.stored.timeout_to_fail = sim.memory.timeout_to_fail = 1000 * SEC;
	assert_int_equal(reply_until_given_up(&sim, 1, DTM_RESULT_TEMPORARY), 2);
	assert_int_equal(sim.stored.status, DTM_SUBMITTED);
	assert_true(sim.stored.parked);
	assert_true(sim.stored.next_time == DTM_TIME_NEVER);
	/* not even its time-out moves it, nor a repeated submit */
	sim.now += 100 * SEC;
	assert_int_equal(sim_request(&sim, DTM_EVENT_SUBMIT, NULL), DTM_ACCEPTED);
	sim_wake(&sim);
	assert_true(sim.stored.next_time == DTM_TIME_NEVER);
	assert_false(sim.in_flight[1]);

	assert_int_equal(sim_request(&sim, DTM_EVENT_RESUME, NULL), DTM_ACCEPTED);
	assert_int_equal(sim_request(&sim, DTM_EVENT_RESUME, NULL), DTM_REJECT_STATUS);
	sim_wake(&sim);
	/* its attempts start anew */
	assert_int_equal(reply_until_given_up(&sim, 1, DTM_RESULT_TEMPORARY), 2);
	assert_true(sim.stored.parked);
	assert_int_equal(sim_request(&sim, DTM_EVENT_RETRY_NOW, NULL), DTM_ACCEPTED);
	sim_wake(&sim);
	sim_reply(&sim, 1, DTM_RESULT_SUCCESS, "");
	sim_reply(&sim, 3, DTM_RESULT_SUCCESS, "");
	assert_int_equal(sim.stored.status, DTM_SUCCEED);
	assert_int_equal(sim_request(&sim, DTM_EVENT_RESUME, NULL), DTM_REJECT_STATUS);

	/* a no is a no: a saga is rolled back by it */
	start(&sim, DTM_SAGA, 1, &policy, 1);
	sim_reply(&sim, 1, DTM_RESULT_FAILURE, "no");
	assert_int_equal(sim.stored.status, DTM_ABORTING);
}

/* --- If this fails, a compensation that cannot succeed is repeated for ever. --- */
static void
compensations_are_parked(void **state)
{
	DtmStepPolicy policy[] = {{.max_undo_attempts = 3}, {.max_attempts = 1}};
	Sim			sim;

	(void) state;
	start(&sim, DTM_SAGA, 2, policy, 2);
	sim_reply(&sim, 1, DTM_RESULT_SUCCESS, "");
	sim_reply(&sim, 3, DTM_RESULT_TEMPORARY, "no luck");
	assert_int_equal(sim.stored.status, DTM_ABORTING);
	sim_reply(&sim, 2, DTM_RESULT_SUCCESS, "");
	assert_int_equal(reply_until_given_up(&sim, 0, DTM_RESULT_TEMPORARY), 3);
	assert_true(sim.stored.parked);
	assert_int_equal(sim.stored.status, DTM_ABORTING);
	assert_string_equal(sim.stored.reason, "url:http://busi failed (attempts: 1): no luck");
	assert_int_equal(sim_steer(&sim, (DtmEvent) {.kind = DTM_EVENT_ABORT, .steered = true}), DTM_REJECT_STATUS);
	assert_true(sim.stored.parked);
	/* a permanent failure is not asked for again */
	sim_request(&sim, DTM_EVENT_RESUME, NULL);
	sim_wake(&sim);
	assert_int_equal(reply_until_given_up(&sim, 0, DTM_RESULT_FAILURE), 1);
	assert_true(sim.stored.parked);
	sim_request(&sim, DTM_EVENT_RESUME, NULL);
	sim_wake(&sim);
	sim_reply(&sim, 0, DTM_RESULT_SUCCESS, "");
	assert_int_equal(sim.stored.status, DTM_FAILED);
}

/* --- If this fails, a TCC's second phase is given up, or goes on while parked. --- */
static void
second_phases_are_parked(void **state)
{
	DtmStepPolicy policy[] = {{0}, {.max_attempts = 2, .max_undo_attempts = 2}};
	Sim			sim;

	(void) state;
	start(&sim, DTM_TCC, 2, policy, 2);
	assert_int_equal(reply_until_given_up(&sim, 3, DTM_RESULT_TEMPORARY), 2);
	assert_true(sim.stored.parked);
	assert_int_equal(sim.stored.status, DTM_SUBMITTED);
	sim_request(&sim, DTM_EVENT_RESUME, NULL);
	sim_wake(&sim);
	sim_reply(&sim, 3, DTM_RESULT_SUCCESS, "");
	sim_reply(&sim, 1, DTM_RESULT_SUCCESS, "");
	assert_int_equal(sim.stored.status, DTM_SUCCEED);

	sim_init(&sim, DTM_TCC, 2);
	sim.memory.policy = policies;
	sim_start(&sim, false);
	sim_request(&sim, DTM_EVENT_ABORT, "because");
	sim_wake(&sim);
	assert_int_equal(reply_until_given_up(&sim, 2, DTM_RESULT_FAILURE), 1);
	assert_true(sim.stored.parked);
	/* an abort that is repeated resumes nothing, and an operator is told so */
	sim.now += SEC;
	assert_int_equal(sim_request(&sim, DTM_EVENT_ABORT, "because"), DTM_ACCEPTED);
	assert_int_equal(sim_steer(&sim, (DtmEvent) {.kind = DTM_EVENT_ABORT, .steered = true}), DTM_REJECT_STATUS);
	assert_true(sim.stored.next_time == DTM_TIME_NEVER);
	assert_int_equal(sim_request(&sim, DTM_EVENT_FORCE_STOP, "stop"), DTM_ACCEPTED);
	assert_false(sim.stored.parked);
}

/* --- If this fails, what a message has delivered is sent again with its dead letters. --- */
static void
dead_letters_are_sent_alone(void **state)
{
	DtmStepPolicy discard[] = {{.max_attempts = 2, .on_exhausted = DTM_EXHAUSTED_DISCARD}};
	DtmBranchOp ops[3];
	DtmTrans	copy;
	Sim			sim;

	(void) state;
	start(&sim, DTM_MSG, 3, discard, 1);
	(void) reply_until_given_up(&sim, 0, DTM_RESULT_TEMPORARY);
	sim_reply(&sim, 1, DTM_RESULT_SUCCESS, "");
	/* stopped here, not all have been called: it begins from the start */
	copy = sim.stored;
	memcpy(ops, sim.stored_ops, sizeof(ops));
	copy.ops = ops;
	assert_int_equal(ops[0].attempts, 2);
	assert_false(dtm_core_start_again(&copy, &sim.cfg, sim.now));
	for (int op = 0; op < 3; op++)
		assert_true(ops[op].status == DTM_BRANCH_PREPARED && ops[op].attempts == 0);
	/* at its end */
	sim_reply(&sim, 2, DTM_RESULT_SUCCESS, "");
	assert_int_equal(sim.stored.status, DTM_FAILED);
	assert_true(dtm_core_start_again(&sim.stored, &sim.cfg, sim.now));
	assert_int_equal(sim.stored.status, DTM_SUBMITTED);
	assert_int_equal(sim.stored_ops[0].attempts, 0);
	sim_die(&sim);
	sim_wake(&sim);
	assert_true(sim.in_flight[0] && !sim.in_flight[1] && !sim.in_flight[2]);
	sim_reply(&sim, 0, DTM_RESULT_SUCCESS, "");
	assert_int_equal(sim.stored.status, DTM_SUCCEED);

	/* a saga has undone what it did: it begins from the start */
	start(&sim, DTM_SAGA, 1, discard, 0);
	sim_reply(&sim, 1, DTM_RESULT_FAILURE, "");
	sim_reply(&sim, 0, DTM_RESULT_SUCCESS, "");
	assert_int_equal(sim.stored.status, DTM_FAILED);
	assert_false(dtm_core_start_again(&sim.stored, &sim.cfg, sim.now));
	for (int op = 0; op < 2; op++)
		assert_int_equal(sim.stored_ops[op].status, DTM_BRANCH_PREPARED);
}

/* --- If this fails, a message is lost, or a dead letter blocks the others. --- */
static void
steps_of_messages_end_by_policy(void **state)
{
	DtmStepPolicy discard[] = {{.max_attempts = 2, .on_exhausted = DTM_EXHAUSTED_DISCARD}};
	DtmStepPolicy refused[] = {{.on_exhausted = DTM_EXHAUSTED_DISCARD}};
	DtmStepPolicy park[] = {{.max_attempts = 2}};
	Sim			sim;

	(void) state;
	start(&sim, DTM_MSG, 2, discard, 1);
	assert_int_equal(reply_until_given_up(&sim, 0, DTM_RESULT_TEMPORARY), 2);
	assert_int_equal(sim.stored_ops[0].status, DTM_BRANCH_FAILED);
	assert_int_equal(sim.stored.status, DTM_SUBMITTED);
	assert_true(sim.in_flight[1]);
	sim_reply(&sim, 1, DTM_RESULT_SUCCESS, "");
	assert_int_equal(sim.stored.status, DTM_FAILED);
	assert_string_equal(sim.stored.reason, "url:http://busi was discarded: no luck");

	/* no limit, but a permanent failure is one */
	start(&sim, DTM_MSG, 1, refused, 1);
	for (int i = 0; i < 10; i++)
	{
		sim_reply(&sim, 0, DTM_RESULT_TEMPORARY, "");
		assert_int_equal(sim.stored.status, DTM_SUBMITTED);
		sim.now = sim.stored.next_time;
		sim_wake(&sim);
	}
	sim_reply(&sim, 0, DTM_RESULT_FAILURE, "gone");
	assert_int_equal(sim.stored.status, DTM_FAILED);

	start(&sim, DTM_MSG, 1, park, 1);
	assert_int_equal(reply_until_given_up(&sim, 0, DTM_RESULT_FAILURE), 1);
	assert_true(sim.stored.parked);

	/* without a policy, as dtm has it (JR-02) */
	start(&sim, DTM_MSG, 1, park, 0);
	for (int i = 0; i < 10; i++)
	{
		sim_reply(&sim, 0, DTM_RESULT_FAILURE, "");
		assert_false(sim.stored.parked);
		sim.now = sim.stored.next_time;
		sim_wake(&sim);
	}
	assert_int_equal(sim.stored.status, DTM_SUBMITTED);
}

/* --- If this fails, an answer that somebody has called final is asked for again and again. --- */
static void
final_answers_that_were_listed_are_policy(void **state)
{
	static const struct
	{
		DtmTransType type;
		bool		submitted;
		int			op;
	}			cases[] = {
		{DTM_MSG, true, 0}, {DTM_SAGA, true, 0}, {DTM_TCC, true, 1}, {DTM_TCC, false, 0},
		{DTM_XA, true, 1}, {DTM_XA, false, 0}
	};
	DtmStepPolicy discard = {.on_exhausted = DTM_EXHAUSTED_DISCARD};
	DtmStepPolicy park = {.max_attempts = 5, .on_exhausted = DTM_EXHAUSTED_PARK};
	DtmEvent	ev = {.result = DTM_RESULT_FAILURE, .said_final = true, .text = "gone"};
	Sim			sim;

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		sim_init(&sim, cases[i].type, 1);
		sim_start(&sim, cases[i].submitted);
		if (!cases[i].submitted)
			sim_request(&sim, DTM_EVENT_ABORT, NULL);
		sim_wake(&sim);
		if (cases[i].type == DTM_SAGA)
			sim_reply(&sim, 1, DTM_RESULT_FAILURE, "no");
		ev.op = cases[i].op;
		assert_true(sim.in_flight[ev.op]);
		sim_answer(&sim, ev);
		assert_true(sim.stored.parked);
		assert_int_equal(sim.stored_ops[ev.op].status, DTM_BRANCH_PREPARED);
		/* somebody resumes it, and it is asked again */
		sim_request(&sim, DTM_EVENT_RESUME, NULL);
		sim_wake(&sim);
		sim_reply(&sim, ev.op, DTM_RESULT_SUCCESS, "");
		assert_true(dtm_core_is_final(sim.stored.status));
	}

	/* on_exhausted says otherwise */
	ev.op = 0;
	start(&sim, DTM_MSG, 1, &discard, 1);
	sim_answer(&sim, ev);
	assert_int_equal(sim.stored.status, DTM_FAILED);
	/* what can fail does */
	ev.op = 1;
	start(&sim, DTM_SAGA, 1, &park, 1);
	sim_answer(&sim, ev);
	assert_int_equal(sim.stored.status, DTM_ABORTING);
	/* other results are what they were */
	ev.result = DTM_RESULT_TEMPORARY;
	ev.op = 0;
	start(&sim, DTM_MSG, 1, &discard, 0);
	sim_answer(&sim, ev);
	assert_false(sim.stored.parked);

	/* a query-back is no step: its no is a no, and a workflow's callback goes on */
	ev.result = DTM_RESULT_FAILURE;
	ev.op = DTM_CALL_QUERY;
	sim_init(&sim, DTM_WORKFLOW, 0);
	sim_start(&sim, false);
	sim.now = sim.stored.next_time;
	sim_wake(&sim);
	sim_answer(&sim, ev);
	assert_false(sim.stored.parked);
	assert_int_equal(sim.stored.status, DTM_PREPARED);
}

/* --- If this fails, what can never be called is called for ever. --- */
static void
what_cannot_be_called_is_not_retried(void **state)
{
	DtmStepPolicy none = {0};
	DtmStepPolicy park = {.on_exhausted = DTM_EXHAUSTED_PARK};
	Sim			sim;

	(void) state;
	start(&sim, DTM_SAGA, 1, &none, 0);
	sim_reply(&sim, 1, DTM_RESULT_PERMANENT, "no path");
	assert_int_equal(sim.stored.status, DTM_ABORTING);
	assert_string_equal(sim.stored.reason, "url:http://busi cannot be called: no path");
	sim_reply(&sim, 0, DTM_RESULT_PERMANENT, "no path");
	assert_true(sim.stored.parked);

	/* not even parked: what somebody does about it is to submit another one */
	start(&sim, DTM_SAGA, 1, &park, 1);
	sim_reply(&sim, 1, DTM_RESULT_PERMANENT, "no path");
	assert_int_equal(sim.stored.status, DTM_ABORTING);

	start(&sim, DTM_MSG, 1, &none, 0);
	sim_reply(&sim, 0, DTM_RESULT_PERMANENT, "no path");
	assert_true(sim.stored.parked);
	start(&sim, DTM_TCC, 1, &none, 0);
	sim_reply(&sim, 1, DTM_RESULT_PERMANENT, "no path");
	assert_true(sim.stored.parked);

	sim_init(&sim, DTM_MSG, 1);
	sim_start(&sim, false);
	sim.now = 40 * SEC;
	sim_wake(&sim);
	sim_reply(&sim, DTM_CALL_QUERY, DTM_RESULT_PERMANENT, "no path");
	assert_true(sim.stored.parked);
	assert_int_equal(sim.stored.status, DTM_PREPARED);
	/* its submit says what is to be done */
	assert_int_equal(sim_request(&sim, DTM_EVENT_SUBMIT, NULL), DTM_ACCEPTED);
	assert_false(sim.stored.parked);
	sim_init(&sim, DTM_WORKFLOW, 0);
	sim_start(&sim, false);
	sim.now = sim.stored.next_time;
	sim_wake(&sim);
	sim_reply(&sim, DTM_CALL_QUERY, DTM_RESULT_PERMANENT, "no path");
	assert_true(sim.stored.parked);
}

/* --- If this fails, a parked one goes on, or forgets what has come in since. --- */
static void
parked_ones_only_listen(void **state)
{
	DtmStepPolicy policy[] = {{.max_attempts = 1, .on_exhausted = DTM_EXHAUSTED_PARK}, {.max_attempts = 1}};
	int			calls[SIM_MAX_OPS + 1];
	DtmUpdate	u = {.calls = calls};
	DtmEvent	reply = {.kind = DTM_EVENT_REPLY, .op = 1, .result = DTM_RESULT_TEMPORARY, .text = ""};
	Sim			sim;

	(void) state;
	sim_init(&sim, DTM_SAGA, 4);
	memset(policies, 0, sizeof(policies));
	memcpy(policies, policy, sizeof(policy));
	sim.memory.policy = policies;
	sim_order(&sim, 3, 2);
	sim_start(&sim, true);
	sim_wake(&sim);
	assert_true(sim.in_flight[1] && sim.in_flight[3] && sim.in_flight[5]);
	dtm_core_step(&sim.memory, &sim.cfg, &reply, &u);
	assert_int_equal(u.gave_up, DTM_GAVE_UP_PARKED);
	assert_int_equal(u.cause, DTM_CAUSE_ATTEMPTS);
	assert_int_equal(u.ncalls, 0);
	/* a success is noted, what follows does not start */
	reply.op = 5;
	reply.result = DTM_RESULT_SUCCESS;
	dtm_core_step(&sim.memory, &sim.cfg, &reply, &u);
	assert_true(u.changed);
	assert_int_equal(u.ncalls, 0);
	assert_int_equal(sim.memory_ops[5].status, DTM_BRANCH_SUCCEED);
	assert_true(sim.memory.next_time == DTM_TIME_NEVER);
	/* nor does another failure set a time */
	reply.op = 7;
	reply.result = DTM_RESULT_TEMPORARY;
	dtm_core_step(&sim.memory, &sim.cfg, &reply, &u);
	assert_true(sim.memory.next_time == DTM_TIME_NEVER);
	/* another that is exhausted decides: the saga is rolled back */
	reply.op = 3;
	dtm_core_step(&sim.memory, &sim.cfg, &reply, &u);
	assert_int_equal(sim.memory.status, DTM_ABORTING);
	assert_false(sim.memory.parked);

	/* two that are to be parked are told of once */
	policies[1].on_exhausted = DTM_EXHAUSTED_PARK;
	sim_init(&sim, DTM_SAGA, 2);
	sim.memory.policy = policies;
	sim.memory.concurrent = true;
	sim_start(&sim, true);
	sim_wake(&sim);
	reply.op = 1;
	dtm_core_step(&sim.memory, &sim.cfg, &reply, &u);
	assert_int_equal(u.gave_up, DTM_GAVE_UP_PARKED);
	assert_int_equal(u.alert_op, DTM_NO_ALERT);
	reply.op = 3;
	dtm_core_step(&sim.memory, &sim.cfg, &reply, &u);
	assert_int_equal(u.gave_up, DTM_GAVE_UP_NOTHING);
	assert_true(sim.memory.parked);
}

/* --- If this fails, a step is retried at the pace of another. --- */
static void
steps_have_their_own_pace(void **state)
{
	DtmStepPolicy policy[] = {{.retry_interval = 2 * SEC}, {.retry_interval = 60 * SEC}, {0}};
	Sim			sim;

	(void) state;
	start(&sim, DTM_SAGA, 3, policy, 3);
	assert_int_equal(dtm_core_interval(&sim.memory, &sim.cfg, 1), 2 * SEC);
	assert_int_equal(dtm_core_interval(&sim.memory, &sim.cfg, 2), 60 * SEC);
	assert_int_equal(dtm_core_interval(&sim.memory, &sim.cfg, 5), 10 * SEC);
	sim_reply(&sim, 1, DTM_RESULT_TEMPORARY, "");
	assert_true(sim.stored.next_time == 4 * SEC);
	sim.now = 4 * SEC;
	sim_wake(&sim);
	sim_reply(&sim, 1, DTM_RESULT_SUCCESS, "");
	sim_reply(&sim, 3, DTM_RESULT_ONGOING, "");
	assert_true(sim.stored.next_time == 64 * SEC);

	/* at the same time, whichever fails first: the longest */
	for (int first = 1; first < 6; first += 2)
		for (int second = 1; second < 6; second += 2)
		{
			static const DtmTime next[] = {4 * SEC, 120 * SEC, 20 * SEC};
			DtmTime		a = next[first / 2];
			DtmTime		b = next[second / 2];

			if (first == second)
				continue;
			sim_init(&sim, DTM_SAGA, 3);
			sim.memory.policy = policies;
			sim.memory.concurrent = true;
			sim_start(&sim, true);
			sim_wake(&sim);
			sim_reply(&sim, first, DTM_RESULT_TEMPORARY, "");
			assert_true(sim.stored.next_time == a);
			sim_reply(&sim, second, DTM_RESULT_TEMPORARY, "");
			assert_true(sim.stored.next_time == (a > b ? a : b));
		}
}

/* --- If this fails, a message overtakes the one before it in its lane. --- */
static void
held_ones_wait_for_their_lane(void **state)
{
	Sim			sim;

	(void) state;
	for (int type = 0; type < 2; type++)
	{
		int			first = type == 0 ? 1 : 0;

		sim_init(&sim, type == 0 ? DTM_SAGA : DTM_MSG, 1);
		sim.memory.held = true;
		sim_start(&sim, true);
		assert_true(sim.stored.next_time == DTM_TIME_NEVER);
		/* nobody starts it before its turn */
		sim_request(&sim, DTM_EVENT_SUBMIT, NULL);
		assert_true(sim.stored.next_time == DTM_TIME_NEVER);
		sim_request(&sim, DTM_EVENT_RETRY_NOW, NULL);
		sim_wake(&sim);
		assert_false(sim.in_flight[first]);
		assert_true(sim.stored.next_time == DTM_TIME_NEVER);
		sim_release(&sim);
		sim_wake(&sim);
		assert_true(sim.in_flight[first]);
		sim_reply(&sim, first, DTM_RESULT_SUCCESS, "");
		assert_int_equal(sim.stored.status, DTM_SUCCEED);
	}

	/* prepared first: its submit waits, too */
	sim_init(&sim, DTM_MSG, 1);
	sim.memory.held = true;
	sim.memory.delay = 5 * SEC;
	sim_start(&sim, false);
	assert_true(sim.stored.next_time == 35 * SEC);
	sim_request(&sim, DTM_EVENT_SUBMIT, NULL);
	assert_true(sim.stored.next_time == DTM_TIME_NEVER);
	sim_release(&sim);
	sim_wake(&sim);
	assert_true(sim.in_flight[0]);

	/* a saga's time-out counts while it waits; it has done nothing to undo */
	sim_init(&sim, DTM_SAGA, 2);
	sim.memory.held = true;
	sim.memory.timeout_to_fail = 30 * SEC;
	sim_start(&sim, true);
	assert_true(sim.stored.next_time == 30 * SEC);
	sim_request(&sim, DTM_EVENT_RETRY_NOW, NULL);
	sim_wake(&sim);
	assert_true(sim.stored.next_time == 30 * SEC);
	sim.now = 30 * SEC;
	sim_wake(&sim);
	assert_int_equal(sim.stored.status, DTM_FAILED);
	assert_string_equal(sim.stored.reason, "Timeout after 30 seconds");
	assert_int_equal(sim.stored_ops[0].status, DTM_BRANCH_PREPARED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(action_aborts_after_its_attempts),
		cmocka_unit_test(action_is_parked_and_resumed),
		cmocka_unit_test(compensations_are_parked),
		cmocka_unit_test(second_phases_are_parked),
		cmocka_unit_test(steps_of_messages_end_by_policy),
		cmocka_unit_test(final_answers_that_were_listed_are_policy),
		cmocka_unit_test(dead_letters_are_sent_alone),
		cmocka_unit_test(what_cannot_be_called_is_not_retried),
		cmocka_unit_test(parked_ones_only_listen),
		cmocka_unit_test(steps_have_their_own_pace),
		cmocka_unit_test(held_ones_wait_for_their_lane),
	};

	return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
