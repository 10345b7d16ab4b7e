/*
 * test_random.c
 *		Random sagas and msgs under random faults, and what must hold of every
 *		one of them.
 *
 *		test_random [seeds [first seed]]
 *
 * Each seed makes a transaction and plays replies, time-outs, crashes between
 * any two effects, repeated replies and requests of SQL callers.  After a
 * while the faults stop; then the transaction has to end.  A failing seed is
 * printed and replays.
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
#define MAX_EVENTS 20000
#define FAULTY_EVENTS 200

static unsigned long first_seed = 1;
static unsigned long nseeds = 20000;
static unsigned long current_seed;	/* while it runs */

typedef struct World
{
	uint64_t	random;
	bool		faulty;			/* faults are still on */
	DtmStatus	status;			/* stored, as last seen */
	bool		stopping;		/* force_stop is being asked for */
	bool		forced;			/* it was accepted */
	bool		unbegun;		/* it failed while it was prepared */
	bool		called[SIM_MAX_OPS];	/* ever */
	bool		succeeded[SIM_MAX_OPS]; /* answered success, ever */
	bool		refused[SIM_MAX_OPS];	/* answered FAILURE, ever */
	bool		skipped[SIM_MAX_OPS];	/* an operator has answered for it */
	DtmResult	verdict[SIM_MAX_OPS];	/* a branch does not change its mind */
	DtmStepPolicy policy[SIM_MAX_STEPS];
	int			crashes;
	int			ncalls;
	int			nparked;
	int			ndiscarded;
} World;

static uint32_t
next(World *w)
{
	/* splitmix64 */
	uint64_t	z = (w->random += UINT64_C(0x9E3779B97F4A7C15));

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return (uint32_t) ((z ^ (z >> 31)) >> 32);
}

static bool
chance(World *w, unsigned percent)
{
	return next(w) % 100 < percent;
}

/* The rule says: step b of the saga comes after step a. */
static bool
comes_after(const Sim *sim, int b, int a)
{
	if (!sim->memory.concurrent)
		return b == a + 1;
	if (sim->memory.orders.start == NULL)
		return false;
	for (int i = sim->start[b]; i < sim->start[b + 1]; i++)
		if (sim->pre[i] == a)
			return true;
	return false;
}

/*
 * May there be something to undo of a step?  Of a local action, if its success
 * is stored: its effects were committed with that.
 */
static bool
may_be_undone(const Sim *sim, const World *w, int step)
{
	if (sim->stored_ops[2 * step + 1].local)
		return sim->stored_ops[2 * step + 1].status == DTM_BRANCH_SUCCEED;
	return w->called[2 * step + 1];
}

/* How many attempts the policy of an op's step allows; 0: any number. */
static int
limit_of(const Sim *sim, int op)
{
	const DtmStepPolicy *policy = sim->memory.policy;

	if (policy == NULL)
		return 0;
	policy += sim->memory_ops[op].step;
	return dtm_op_undoes((DtmOp) sim->memory_ops[op].op) ?
		policy->max_undo_attempts : policy->max_attempts;
}

/* Has a message left out some step? */
static bool
has_discarded(const Sim *sim)
{
	for (int op = 0; op < sim->stored.nops; op++)
		if (sim->stored.type == DTM_MSG && sim->stored_ops[op].status == DTM_BRANCH_FAILED)
			return true;
	return false;
}

static void
check_call(Sim *sim, int op)
{
	World	   *w = sim->arg;
	const DtmBranchOp *stored = sim->stored_ops;

	w->ncalls++;
	/* somebody has changed it just now, which is not known yet (turn.c, 6) */
	if (sim->loaded_version != sim->version)
	{
		if (op != DTM_CALL_QUERY)
			w->called[op] = true;
		return;
	}
	assert_false(sim->stored.parked);
	if (op == DTM_CALL_QUERY)
	{
		assert_int_equal(sim->stored.status, DTM_PREPARED);
		return;
	}
	/* one may still be sent just after it was stopped (turn.c, 6) */
	if (w->forced && sim->stored.status == DTM_FAILED &&
		sim->loaded_version != sim->version)
		return;
	assert_true(sim->memory_ops[op].has_url);
	/* what has been completed a moment ago may be called once more */
	if (sim->loaded_version == sim->version)
	{
		assert_int_equal(stored[op].status, DTM_BRANCH_PREPARED);
		/* what waits for that is not asked again before its time */
		assert_true(stored[op].deadline <= sim->now);
		assert_true(stored[op].not_before <= sim->now);
	}
	w->called[op] = true;
	assert_false(sim->stored.held);
	if (limit_of(sim, op) > 0)
		assert_true(stored[op].attempts < limit_of(sim, op));

	if (sim->memory.type == DTM_TCC || sim->memory.type == DTM_XA)
	{
		/* one side only, as stored; one at a time, in order */
		bool		commit = sim->stored.status == DTM_SUBMITTED;
		int			side = op % 2;

		assert_int_equal(side, commit);
		assert_true(commit || sim->stored.status == DTM_ABORTING);
		for (int other = side; other < sim->memory.nops; other += 2)
			if (sim->memory.type == DTM_TCC ? other > op : other < op)
				assert_int_equal(stored[other].status, DTM_BRANCH_SUCCEED);
			else if (other != op)
				assert_false(sim->in_flight[other] && !w->skipped[other]);
		return;
	}
	if (sim->memory.type == DTM_MSG)
	{
		/* intent before act; in order */
		assert_int_equal(sim->stored.status, DTM_SUBMITTED);
		if (!sim->memory.concurrent && op > 0)
			assert_true(stored[op - 1].status != DTM_BRANCH_PREPARED);
		return;
	}
	if (op % 2 == 1)
	{
		/* an action: never once aborting, and after its predecessors */
		assert_int_equal(sim->stored.status, DTM_SUBMITTED);
		for (int step = 0; step < sim->memory.nsteps; step++)
			if (comes_after(sim, op / 2, step))
				assert_int_equal(stored[2 * step + 1].status,
								 DTM_BRANCH_SUCCEED);
	}
	else
	{
		/* a compensation: only when aborting, of what was done, in reverse */
		assert_int_equal(sim->stored.status, DTM_ABORTING);
		if (stored[op + 1].local)
			assert_int_equal(stored[op + 1].status, DTM_BRANCH_SUCCEED);
		assert_false(sim->in_flight[op + 1]);
		for (int step = 0; step < sim->memory.nsteps; step++)
			if (comes_after(sim, step, op / 2) && may_be_undone(sim, w, step) &&
				sim->memory_ops[2 * step].has_url)
				assert_int_equal(stored[2 * step].status, DTM_BRANCH_SUCCEED);
	}
}

static void
check_store(Sim *sim)
{
	World	   *w = sim->arg;
	DtmStatus	before = w->status;
	DtmStatus	after = sim->stored.status;

	w->status = after;
	if (sim->stored.parked)
	{
		w->nparked++;
		assert_true(sim->stored.next_time == DTM_TIME_NEVER);
		assert_false(dtm_core_is_final(after));
	}
	if (has_discarded(sim))
	{
		w->ndiscarded++;
		for (int op = 0; op < sim->stored.nops; op++)
			if (sim->stored_ops[op].status == DTM_BRANCH_FAILED)
				assert_int_equal(w->policy[op].on_exhausted, DTM_EXHAUSTED_DISCARD);
	}
	if (before == after)
		return;
	assert_false(dtm_core_is_final(before));
	if (before == DTM_SUBMITTED)
		assert_true(after != DTM_PREPARED);
	if (before == DTM_ABORTING)
		assert_int_equal(after, DTM_FAILED);
	if (before == DTM_PREPARED && after == DTM_FAILED)
	{
		/* one that is submitted by its query-back after its time has begun, and is over */
		w->unbegun = strncmp(sim->stored.reason, "Timeout", strlen("Timeout")) != 0;
		for (int op = 0; op < sim->stored.nops; op++)
			assert_false(w->called[op]);
	}
	if (before == DTM_SUBMITTED && sim->stored.type != DTM_SAGA &&
		after != DTM_SUCCEED)
		/* nothing else fails those */
		assert_true(w->stopping || has_discarded(sim));
	if (dtm_core_is_final(after))
		assert_true(sim->stored.next_time == DTM_TIME_NEVER);
	if (after == DTM_SUCCEED)
		for (int op = 0; op < sim->stored.nops; op++)
			if (!dtm_op_undoes(sim->stored_ops[op].op) &&
				sim->memory_ops[op].has_url)
				assert_true(w->succeeded[op]);
}

static bool
crash(Sim *sim)
{
	World	   *w = sim->arg;

	if (!w->faulty || !chance(w, 8))
		return false;
	w->crashes++;
	return true;
}

static DtmResult
answer(World *w, const Sim *sim, int op)
{
	unsigned	dice = next(w) % 100;

	if (w->faulty && dice < 35)
		return dice < 2 ? DTM_RESULT_PERMANENT :
			dice < 12 ? DTM_RESULT_ONGOING : DTM_RESULT_TEMPORARY;
	if (op == DTM_CALL_QUERY)
		return dice < 70 ? DTM_RESULT_SUCCESS : DTM_RESULT_FAILURE;
	/* second phases and messages may say FAILURE for a while only */
	if (sim->memory.type != DTM_SAGA || op % 2 == 0)
		return w->faulty && dice < 45 ? DTM_RESULT_FAILURE : DTM_RESULT_SUCCESS;
	return w->verdict[op];
}

static void
make_policies(Sim *sim, World *w)
{
	sim->memory.policy = w->policy;
	for (int step = 0; step < sim->memory.nsteps; step++)
	{
		DtmStepPolicy *policy = &w->policy[step];

		if (chance(w, 30))
			policy->retry_interval = (int64_t) (1 + next(w) % 100) * SEC;
		if (chance(w, 50))
			policy->max_attempts = (int32_t) (1 + next(w) % 4);
		if (chance(w, 30))
			policy->max_undo_attempts = (int32_t) (1 + next(w) % 4);
		if (chance(w, 50))
			policy->on_exhausted = sim->memory.type == DTM_MSG && chance(w, 50) ?
				DTM_EXHAUSTED_DISCARD : DTM_EXHAUSTED_PARK;
	}
}

static void
make_transaction(Sim *sim, World *w)
{
	bool		saga = chance(w, 60);
	bool		msg = !saga && chance(w, 50);
	int			nsteps = (int) (next(w) % (SIM_MAX_STEPS + 1));

	sim_init(sim, saga ? DTM_SAGA : msg ? DTM_MSG :
			 chance(w, 50) ? DTM_TCC : DTM_XA, nsteps);
	if (saga && chance(w, 50))
	{
		sim->memory.concurrent = true;
		for (int step = 1; step < nsteps; step++)
			for (int pre = 0; pre < step; pre++)
				if (chance(w, 20))
					sim_order(sim, step, pre);
	}
	else if (msg)
	{
		sim->memory.concurrent = chance(w, 50);
		if (chance(w, 30))
			sim->memory.delay = 5 * SEC;
	}
	if (saga || msg)
		sim->memory.has_query_url = chance(w, msg ? 80 : 50);
	if (chance(w, 30))
		sim->memory.timeout_to_fail = (int64_t) (1 + next(w) % 200) * SEC;
	if (chance(w, 30))
		sim->memory.retry_interval = (int64_t) (1 + next(w) % 30) * SEC;
	if (chance(w, 40))
		make_policies(sim, w);
	if ((saga || msg) && chance(w, 20))
		sim->memory.held = true;
	if (saga && chance(w, 20))
		sim->memory.retry_limit = (int32_t) (1 + next(w) % 4);
	for (int op = 0; op < sim->memory.nops; op++)
	{
		sim->memory_ops[op].has_url = !chance(w, 10);
		sim->memory_ops[op].local = sim->memory_ops[op].has_url && chance(w, 30);
		w->verdict[op] = chance(w, 12) ? DTM_RESULT_FAILURE : DTM_RESULT_SUCCESS;
	}
	if (chance(w, 40))
		sim->memory.policy = w->policy;
	for (int step = 0; step < nsteps; step++)
	{
		w->policy[step].completes = chance(w, 50);
		if (w->policy[step].completes && chance(w, 70))
			w->policy[step].complete_within = (int64_t) (1 + next(w) % 100) * SEC;
	}
}

/* What the reply of an op's call is: one that was completed before is not called. */
static DtmResult
reply_of(World *w, const Sim *sim, int op)
{
	if (op == DTM_CALL_QUERY || sim->memory_ops[op].completed == DTM_COMPLETED_NOT)
		return answer(w, sim, op);
	return sim->memory_ops[op].completed == DTM_COMPLETED_OK ?
		DTM_RESULT_SUCCESS : DTM_RESULT_FAILURE;
}

/*
 * Somebody says what has become of some op, whether or not it was called.  What
 * cannot fail is said to have failed, too: then it is parked, or left out.
 */
static void
complete(Sim *sim, World *w)
{
	int			op = (int) (next(w) % (unsigned) sim->memory.nops);
	bool		rejects = sim->memory.type == DTM_SAGA && op % 2 == 1;
	DtmResult	result = rejects ? w->verdict[op] :
		chance(w, 20) ? DTM_RESULT_FAILURE : DTM_RESULT_SUCCESS;
	uint8_t		status = sim->stored_ops[op].status;
	uint8_t		completed = sim->stored_ops[op].completed;
	DtmReject	reject;

	/* not known yet when the row is stored */
	if (status == DTM_BRANCH_PREPARED && result == DTM_RESULT_SUCCESS)
		w->succeeded[op] = true;
	reject = sim_complete(sim, op, result);
	if (sim->memory.type != DTM_SAGA && sim->memory.type != DTM_MSG)
		assert_int_equal(reject, DTM_REJECT_TYPE);
	else if (status != DTM_BRANCH_PREPARED)
		assert_int_equal(reject, DTM_REJECT_STATUS);
	if (reject != DTM_ACCEPTED)
	{
		assert_int_equal(sim->stored_ops[op].status, status);
		assert_int_equal(sim->stored_ops[op].completed, completed);
		return;
	}
	if (result == DTM_RESULT_FAILURE)
		w->refused[op] = true;
}

/* An operator aborts a saga, changes a step, or answers for an op. */
static void
operator_acts(Sim *sim, World *w)
{
	static const DtmEventKind kinds[] = {DTM_EVENT_SKIP, DTM_EVENT_SKIP, DTM_EVENT_EDIT, DTM_EVENT_ABORT};
	DtmEvent	ev = {.kind = kinds[next(w) % 4], .text = "said so", .steered = true};

	if (sim->stored.nops == 0)
		return;
	ev.op = (int) (next(w) % (unsigned) sim->stored.nops);
	ev.result = chance(w, 70) ? DTM_RESULT_SUCCESS : DTM_RESULT_FAILURE;
	if (ev.kind == DTM_EVENT_SKIP)
	{
		bool		succeeded = w->succeeded[ev.op];

		/* the row is written, and checked, within */
		w->succeeded[ev.op] = succeeded || ev.result == DTM_RESULT_SUCCESS;
		if (sim_steer(sim, ev) != DTM_ACCEPTED)
		{
			w->succeeded[ev.op] = succeeded;
			return;
		}
		w->skipped[ev.op] = true;
		/* an answer that was lost with a crash does not count any more */
		w->refused[ev.op] = ev.result == DTM_RESULT_FAILURE;
	}
	else if (sim_steer(sim, ev) != DTM_ACCEPTED)
		return;
	if (chance(w, 70))
		sim_wake(sim);
}

static void
one_event(Sim *sim, World *w)
{
	int			candidates[SIM_MAX_OPS + 1];
	int			n = 0;

	for (int i = 0; i <= SIM_MAX_OPS; i++)
		if (sim->in_flight[i])
			candidates[n++] = i;

	/* its lane gets to it, and somebody looks at what is parked */
	if (w->faulty && chance(w, 3))
		operator_acts(sim, w);
	else if (sim->stored.held && !dtm_core_is_final(sim->stored.status) &&
		chance(w, w->faulty ? 5 : 100))
	{
		sim_release(sim);
		sim_wake(sim);
	}
	else if (sim->stored.parked && !w->faulty)
	{
		assert_int_equal(sim_request(sim, DTM_EVENT_RESUME, NULL), DTM_ACCEPTED);
		sim_wake(sim);
	}
	else if (w->faulty && chance(w, 6))
	{
		static const DtmEventKind kinds[] = {
			DTM_EVENT_PREPARE, DTM_EVENT_SUBMIT, DTM_EVENT_RETRY_NOW,
			DTM_EVENT_BRING_FORWARD, DTM_EVENT_RESUME, DTM_EVENT_ABORT, DTM_EVENT_FORCE_STOP
		};
		DtmEventKind kind = kinds[next(w) % (chance(w, 20) ? 7 : 5)];

		w->stopping = kind == DTM_EVENT_FORCE_STOP;
		if (sim_request(sim, kind, "asked for") == DTM_ACCEPTED &&
			w->stopping)
			w->forced = true;
		w->stopping = false;
		if (chance(w, 70))
			sim_wake(sim);		/* the request's commit wakes us */
	}
	else if (w->faulty && sim->memory.nops > 0 && chance(w, 6))
	{
		complete(sim, w);
		if (chance(w, 70))
			sim_wake(sim);
	}
	else if (n > 0 && chance(w, 80))
	{
		int			slot = candidates[next(w) % (unsigned) n];
		int			op = slot == SIM_MAX_OPS ? DTM_CALL_QUERY : slot;
		DtmResult	result = reply_of(w, sim, op);
		DtmEvent	ev = {.op = op, .result = result, .text = "text"};

		ev.said_final = chance(w, 10);
		ev.is_outdated = w->faulty && chance(w, 5);
		if (chance(w, 20))
			ev.retry_after = (int64_t) (1 + next(w) % 200) * SEC;
		if (op != DTM_CALL_QUERY && result == DTM_RESULT_SUCCESS)
			w->succeeded[op] = true;
		if (op != DTM_CALL_QUERY && result == DTM_RESULT_FAILURE && !w->skipped[op] &&
			!ev.is_outdated)
			w->refused[op] = true;
		sim->now += next(w) % (2 * SEC);
		if (sim_answer(sim, ev) && w->faulty && chance(w, 5) &&
			!sim->in_flight[slot] && result == DTM_RESULT_SUCCESS)
			/* another reply to what has been answered */
			sim_reply(sim, op, (DtmResult) (next(w) % 5), "text");
	}
	else if (n == 0 || chance(w, 20))
	{
		if (n == 0 && sim->stored.next_time != DTM_TIME_NEVER &&
			sim->stored.next_time > sim->now)
			sim->now = sim->stored.next_time;
		if (sim_expire(sim))
			sim_wake(sim);
	}
	else
		sim->now += next(w) % (5 * SEC);
}

/* Nothing under way and nothing scheduled would be a row that spins, or is lost. */
static void
check_rest(Sim *sim)
{
	if (dtm_core_is_final(sim->stored.status) || !sim->loaded ||
		sim->loaded_version != sim->version)
		return;
	for (int i = 0; i <= SIM_MAX_OPS; i++)
		if (sim->in_flight[i])
			return;
	if (!sim_wake(sim))
		return;
	for (int i = 0; i <= SIM_MAX_OPS; i++)
		if (sim->in_flight[i])
			return;
	assert_true(dtm_core_is_final(sim->stored.status) ||
				sim->stored.next_time > sim->now);
}

static void
check_end(Sim *sim, World *w)
{
	const DtmTrans *t = &sim->stored;

	if ((t->type == DTM_TCC || t->type == DTM_XA) && !w->forced)
		for (int op = 0; op < t->nops; op++)
			assert_int_equal(sim->stored_ops[op].status,
							 (op % 2 == 1) == (t->status == DTM_SUCCEED) ?
							 DTM_BRANCH_SUCCEED : DTM_BRANCH_PREPARED);
	if (t->type != DTM_SAGA || w->forced)
		return;
	for (int step = 0; step < t->nsteps; step++)
	{
		const DtmBranchOp *compensate = &sim->stored_ops[2 * step];
		int			action = 2 * step + 1;

		if (t->status == DTM_SUCCEED)
		{
			assert_false(w->called[2 * step]);
			assert_false(w->refused[action]);
		}
		else if (sim->stored_ops[action].local)
			assert_int_equal(compensate->status,
							 may_be_undone(sim, w, step) ?
							 DTM_BRANCH_SUCCEED : DTM_BRANCH_PREPARED);
		else if (w->called[action])
		{
			/* whatever may have run has been undone */
			assert_int_equal(compensate->status, DTM_BRANCH_SUCCEED);
			if (compensate->has_url)
				assert_true(w->succeeded[2 * step]);
		}
		else if (sim->stored_ops[action].status == DTM_BRANCH_PREPARED)
		{
			/* not called: undone only if it could have been */
			bool		startable = !w->unbegun && !t->held;

			for (int pre = 0; pre < t->nsteps; pre++)
				if (comes_after(sim, step, pre) &&
					sim->stored_ops[2 * pre + 1].status != DTM_BRANCH_SUCCEED)
					startable = false;
			assert_int_equal(compensate->status == DTM_BRANCH_SUCCEED,
							 startable);
		}
	}
}

static void
one_seed(unsigned long seed, World *w)
{
	Sim			sim;
	int			events;

	memset(w, 0, sizeof(*w));
	w->random = seed;
	make_transaction(&sim, w);
	w->status = DTM_PREPARED;
	w->faulty = true;
	sim.arg = w;
	sim.on_call = check_call;
	sim.on_store = check_store;
	sim.crash = crash;
	sim.jitter = next(w);
	sim_start(&sim, chance(w, 70));

	for (events = 0; events < MAX_EVENTS; events++)
	{
		if (dtm_core_is_final(sim.stored.status) && events >= FAULTY_EVENTS / 4)
			break;
		if (events == FAULTY_EVENTS)
		{
			w->faulty = false;
			if (sim.stored.status == DTM_PREPARED)
				sim_request(&sim, DTM_EVENT_SUBMIT, NULL);
		}
		one_event(&sim, w);
		check_rest(&sim);
	}
	assert_true(dtm_core_is_final(sim.stored.status));
	check_end(&sim, w);
}

static void
random_faults_keep_the_promises(void **state)
{
	long		ncrashes = 0;
	long		ncalls = 0;
	long		nparked = 0;
	long		ndiscarded = 0;

	(void) state;
	for (unsigned long seed = first_seed; seed < first_seed + nseeds; seed++)
	{
		World		w;

		current_seed = seed;
		one_seed(seed, &w);
		ncrashes += w.crashes;
		ncalls += w.ncalls;
		nparked += w.nparked;
		ndiscarded += w.ndiscarded;
	}
	current_seed = 0;
	printf("%lu seeds from %lu: %ld calls, %ld crashes\n",
		   nseeds, first_seed, ncalls, ncrashes);
	/* the driver itself does what it says */
	assert_true(ncrashes > 0 && ncalls > 0);
	assert_true(nseeds < 1000 || (nparked > 0 && ndiscarded > 0));
}

static int
report_seed(void **state)
{
	(void) state;
	if (current_seed != 0)
		printf("failed; replays with: test_random 1 %lu\n", current_seed);
	return 0;
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(random_faults_keep_the_promises, report_seed),
	};

	if (argc > 1)
		nseeds = strtoul(argv[1], NULL, 10);
	if (argc > 2)
		first_seed = strtoul(argv[2], NULL, 10);
	return cmocka_run_group_tests_name("random", tests, NULL, NULL);
}
