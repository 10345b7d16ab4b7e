/*
 * test_core.c
 *		The rules of core one by one: names, replies, back-off, orders, the
 *		state table of every request, and the main scenarios as traces in
 *		virtual time.
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

/* --- If this fails, stored letters or wire names can't be read back. --- */
static void
names_round_trip(void **state)
{
	(void) state;
	for (int i = DTM_SAGA; i <= DTM_WORKFLOW; i++)
	{
		DtmTransType type;

		assert_true(dtm_trans_type_parse(dtm_trans_type_name(i), &type));
		assert_int_equal(type, i);
		assert_true(dtm_trans_type_of_letter(dtm_trans_type_letter(i), &type));
		assert_int_equal(type, i);
	}
	for (int i = DTM_PREPARED; i <= DTM_FAILED; i++)
	{
		DtmStatus	status;

		assert_true(dtm_status_of_letter(dtm_status_letter(i), &status));
		assert_int_equal(status, i);
	}
	for (int i = DTM_BRANCH_PREPARED; i <= DTM_BRANCH_FAILED; i++)
	{
		DtmBranchStatus status;

		assert_true(dtm_branch_status_of_letter(dtm_branch_status_letter(i),
												&status));
		assert_int_equal(status, i);
	}
	for (int i = DTM_RESULT_SUCCESS; i <= DTM_RESULT_PERMANENT; i++)
	{
		DtmResult	result;

		assert_true(dtm_result_of_letter(dtm_result_letter((DtmResult) i), &result));
		assert_int_equal(result, i);
		assert_non_null(dtm_result_name(result));
	}
	{
		DtmTransType type;
		DtmStatus	status;
		char		id[DTM_BRANCH_ID_SIZE];

		assert_false(dtm_trans_type_parse("Saga", &type));
		assert_false(dtm_trans_type_of_letter('?', &type));
		assert_false(dtm_status_of_letter('?', &status));
		dtm_step_branch_id(0, id);
		assert_string_equal(id, "01");
		dtm_step_branch_id(99, id);
		assert_string_equal(id, "100");
		dtm_step_branch_id(999, id);
		assert_string_equal(id, "1000");
	}
}

/* --- If this fails, a list of statuses is read as another one. --- */
static void
status_sets_are_read(void **state)
{
	static const char *const bad[] = {
		"", " ", ",", "2", "20", "2x", "x00", "099", "600", "6xx", "200,", ",200",
		"200 201", "200;201", "404-400", "400-", "-400", "2xx-", "200-2", "0200", "200.0"
	};
	DtmStatusSet set;

	(void) state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(dtm_status_set_parse(bad[i], strlen(bad[i]), &set));
	assert_true(dtm_status_set_parse("2xx", 3, &set));
	for (int status = -1; status < 700; status++)
		assert_int_equal(dtm_status_set_has(&set, status), status >= 200 && status <= 299);
	assert_true(dtm_status_set_parse(" 100 , 599,404-410\t,5XX,2xx-3xx", 31, &set));
	for (int status = -1; status < 700; status++)
		assert_int_equal(dtm_status_set_has(&set, status),
						 status == 100 || (status >= 500 && status <= 599) ||
						 (status >= 404 && status <= 410) || (status >= 200 && status <= 399));
	/* not past the end */
	assert_true(dtm_status_set_parse("2014", 3, &set));
	assert_true(dtm_status_set_has(&set, 201));
}

/* --- If this fails, a business "no" is taken for a "yes" or the like. --- */
static void
replies_are_classified(void **state)
{
	static const struct
	{
		int			status;
		const char *body;
		DtmResult	result;
	}			cases[] = {
		{200, "", DTM_RESULT_SUCCESS},
		{200, "null", DTM_RESULT_SUCCESS},
		{200, "{\"dtm_result\":\"SUCCESS\"}", DTM_RESULT_SUCCESS},
		/* any 2xx */
		{201, "{\"id\":\"ch_1\"}", DTM_RESULT_SUCCESS},
		{202, "", DTM_RESULT_SUCCESS},
		{204, "", DTM_RESULT_SUCCESS},
		{299, "", DTM_RESULT_SUCCESS},
		{409, "", DTM_RESULT_FAILURE},	/* */
		{409, "{\"error\":\"reason:no. FAILURE\"}", DTM_RESULT_FAILURE},
		/* as dtm's SDKs send it */
		{200, "{\"dtm_result\":\"FAILURE\"}", DTM_RESULT_FAILURE},
		{200, " {\n\"message\" : [{\"a\": \"}\"}, 1],\t\"dtm_result\"\r\n:  \"FAILURE\" }", DTM_RESULT_FAILURE},
		{201, "{\"dtm_result\":\"FAILURE\",\"message\":\"no\"}", DTM_RESULT_FAILURE},
		{404, "{\"dtm_result\":\"FAILURE\"}", DTM_RESULT_FAILURE},
		{200, "FAILURE", DTM_RESULT_FAILURE},
		{200, "\"FAILURE\"\n", DTM_RESULT_FAILURE},
		{400, "FAILURE.", DTM_RESULT_FAILURE},
		/* a 5xx is never final */
		{500, "FAILURE", DTM_RESULT_TEMPORARY},
		{500, "{\"error\":\"INTERNAL_FAILURE, please try again\"}", DTM_RESULT_TEMPORARY},
		{503, "{\"dtm_result\":\"FAILURE\"}", DTM_RESULT_TEMPORARY},
		/* not a word within others' data */
		{200, "{\"title\":\"FAILURE Is Not an Option\"}", DTM_RESULT_SUCCESS},
		{200, "{\"title\":\"FAILURE\"}", DTM_RESULT_SUCCESS},
		{200, "{\"state\":\"ONGOING\"}", DTM_RESULT_SUCCESS},
		{200, "the state is ONGOING", DTM_RESULT_SUCCESS},
		{200, "{\"data\":{\"dtm_result\":\"FAILURE\"}}", DTM_RESULT_SUCCESS},
		{200, "[{\"dtm_result\":\"FAILURE\"}]", DTM_RESULT_SUCCESS},
		{200, "{\"a\":\"\\\"dtm_result\\\":\\\"FAILURE\\\"\"}", DTM_RESULT_SUCCESS},
		{200, "{\"dtm_result\":\"FAILURES\"}", DTM_RESULT_SUCCESS},
		{200, "{\"dtm_result\":[\"FAILURE\"]}", DTM_RESULT_SUCCESS},
		{200, "{\"dtm_result\":{\"FAILURE\":1}}", DTM_RESULT_SUCCESS},
		{200, "{\"dtm_result\",\"FAILURE\"}", DTM_RESULT_SUCCESS},
		{200, "{\"dtm_result\":1,\"b\":\"FAILURE\"}", DTM_RESULT_SUCCESS},
		{200, "{\"x\":\"dtm_result\",\"FAILURE\":1}", DTM_RESULT_SUCCESS},
		{200, "{\"dtm_result\":\"FAILUREx", DTM_RESULT_SUCCESS},
		{200, "{\"dtm_result\":\"FAILURE\\", DTM_RESULT_SUCCESS},
		{200, "FAILURES", DTM_RESULT_SUCCESS},
		{200, "failure", DTM_RESULT_SUCCESS},
		{425, "", DTM_RESULT_ONGOING},	/* */
		{200, "ONGOING", DTM_RESULT_ONGOING},
		{200, "{\"dtm_result\":\"ONGOING\"}", DTM_RESULT_ONGOING},
		{500, "{\"dtm_result\":\"ONGOING\"}", DTM_RESULT_ONGOING},
		{409, "ONGOING FAILURE", DTM_RESULT_ONGOING},
		{409, "FAILURE, ONGOING", DTM_RESULT_ONGOING},
		{409, "{\"error\":\"ONGOING\"}", DTM_RESULT_FAILURE},
		{425, "{\"error\":\"ONGOING\"}", DTM_RESULT_ONGOING},
		{302, "", DTM_RESULT_TEMPORARY},	/* */
		{402, "{\"error\":\"card_declined\"}", DTM_RESULT_TEMPORARY},
		{404, "", DTM_RESULT_TEMPORARY},
		{429, "", DTM_RESULT_TEMPORARY},
		{500, "", DTM_RESULT_TEMPORARY}
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (dtm_classify_http(NULL, cases[i].status, cases[i].body, strlen(cases[i].body)) != cases[i].result)
			fail_msg("case %zu: %d %s", i, cases[i].status, cases[i].body);
	/* not past the end, and with any bytes */
	assert_int_equal(dtm_classify_http(NULL, 200, "FAILURE", 6), DTM_RESULT_SUCCESS);
	assert_int_equal(dtm_classify_http(NULL, 200, "\0FAILURE", 8), DTM_RESULT_SUCCESS);
	assert_int_equal(dtm_classify_http(NULL, 200, "FAILURE\0", 8), DTM_RESULT_SUCCESS);
	assert_int_equal(dtm_classify_http(NULL, 200, "{\"a\0b\":1,\"dtm_result\":\"FAILURE\"}", 32), DTM_RESULT_FAILURE);

	/* */
	assert_int_equal(dtm_classify_grpc(0, NULL), DTM_RESULT_SUCCESS);
	assert_int_equal(dtm_classify_grpc(10, NULL), DTM_RESULT_FAILURE);
	assert_int_equal(dtm_classify_grpc(10, "no"), DTM_RESULT_FAILURE);
	assert_int_equal(dtm_classify_grpc(10, "ONGOING"), DTM_RESULT_ONGOING);
	assert_int_equal(dtm_classify_grpc(10, "ONGOING."), DTM_RESULT_FAILURE);
	assert_int_equal(dtm_classify_grpc(9, "FAILURE"), DTM_RESULT_ONGOING);
	assert_int_equal(dtm_classify_grpc(13, "FAILURE"), DTM_RESULT_TEMPORARY);
	assert_int_equal(dtm_classify_grpc(2, NULL), DTM_RESULT_TEMPORARY);
	/* */
	assert_int_equal(dtm_classify_jsonrpc(-32901), DTM_RESULT_FAILURE);
	assert_int_equal(dtm_classify_jsonrpc(-32902), DTM_RESULT_ONGOING);
	assert_int_equal(dtm_classify_jsonrpc(-32603), DTM_RESULT_TEMPORARY);
	/* of local branches */
	assert_int_equal(dtm_classify_sqlstate("DT409"), DTM_RESULT_FAILURE);
	assert_int_equal(dtm_classify_sqlstate("DT425"), DTM_RESULT_ONGOING);
	assert_int_equal(dtm_classify_sqlstate("23505"), DTM_RESULT_TEMPORARY);
	assert_int_equal(dtm_classify_sqlstate("53200"), DTM_RESULT_TEMPORARY);
	assert_int_equal(dtm_classify_sqlstate("54001"), DTM_RESULT_PERMANENT);
}

static DtmStatusSet *
set_of(const char *text)
{
	DtmStatusSet *set = malloc(sizeof(DtmStatusSet));

	assert_true(dtm_status_set_parse(text, strlen(text), set));
	return set;
}

/* --- If this fails, what a server or step says of its responses does not count. --- */
static void
rules_go_before_what_is_usual(void **state)
{
	DtmReplyRules rules = {.ignore_words = true};

#define IS(status, body, result) \
	assert_int_equal(dtm_classify_http(&rules, status, body, strlen(body)), DTM_RESULT_##result)

	(void) state;
	IS(200, "FAILURE", SUCCESS);
	IS(200, "{\"dtm_result\":\"ONGOING\"}", SUCCESS);
	IS(409, "ONGOING", FAILURE);
	IS(425, "FAILURE", ONGOING);
	IS(402, "", TEMPORARY);
	IS(500, "", TEMPORARY);
	/* a set takes the place of the usual one */
	rules.final = set_of("400,402,404,410,422");
	IS(402, "", FAILURE);
	IS(422, "ONGOING", FAILURE);
	IS(409, "", TEMPORARY);
	IS(201, "", SUCCESS);
	rules.ongoing = set_of("202,425");
	IS(202, "", ONGOING);
	IS(425, "", ONGOING);
	IS(200, "", SUCCESS);
	rules.success = set_of("200,201,409");
	IS(204, "", TEMPORARY);
	IS(409, "", SUCCESS);
	IS(202, "", ONGOING);
	/* of what undoes */
	rules.compensate_ok = set_of("404,410");
	IS(404, "", SUCCESS);
	IS(410, "", SUCCESS);
	IS(402, "", FAILURE);
	/* words go before statuses where they count */
	rules.ignore_words = false;
	IS(200, "FAILURE", FAILURE);
	IS(404, "FAILURE", FAILURE);
	IS(500, "FAILURE", TEMPORARY);
	IS(404, "{\"title\":\"FAILURE\"}", SUCCESS);
	free((void *) rules.final);
	free((void *) rules.ongoing);
	free((void *) rules.success);
	free((void *) rules.compensate_ok);
#undef IS
}

/* --- If this fails, a provider is called before the time that it asked for. --- */
static void
retry_after_is_read(void **state)
{
	static const int64_t now = 784111777;	/* the date of RFC 9110's examples */
	static const struct
	{
		const char *value;
		int64_t		seconds;
	}			cases[] = {
		{"0", 0},
		{"120", 120},
		{"00120", 120},
		{"99999999999999999999999999999999", INT64_C(253402300799)},
		{"Sun, 06 Nov 1994 08:49:37 GMT", 0},
		{"Sun, 06 Nov 1994 08:50:37 GMT", 60},
		{"Sunday, 06-Nov-94 08:50:37 GMT", 60},
		{"Sun Nov  6 08:50:37 1994", 60},
		{"Sun Nov 16 08:49:37 1994", 10 * 86400},
		{"Sat, 06 Nov 1993 08:49:37 GMT", 0},
		{"Tue, 29 Feb 2000 00:00:00 GMT", 951782400 - 784111777},
		{"Fri, 31 Dec 9999 23:59:59 GMT", INT64_C(253402300799) - 784111777},
		{"Wednesday, 01-Jan-20 00:00:00 GMT", 1577836800 - 784111777},
		/* neither */
		{"", 0},
		{" 5", 0},
		{"5 ", 0},
		{"-5", 0},
		{"5.5", 0},
		{"5s", 0},
		{"soon", 0},
		{"Sun, 06 Nov 1994 08:50:37", 0},
		{"Sun, 06 Nov 1994 08:50:37 UTC", 0},
		{"Sun, 06 Foo 1994 08:50:37 GMT", 0},
		{"Sun, 00 Nov 1995 08:50:37 GMT", 0},
		{"Sun, 32 Nov 1995 08:50:37 GMT", 0},
		/* no such day */
		{"Fri, 31 Feb 2099 00:00:00 GMT", 0},
		{"Thu, 31 Nov 2098 00:00:00 GMT", 0},
		{"Mon, 29 Feb 2100 00:00:00 GMT", 0},
		{"Tue, 29 Feb 2099 00:00:00 GMT", 0},
		{"Sat, 28 Feb 2099 00:00:00 GMT", INT64_C(4075920000) - 784111777},
		{"Sun, 06 Nov 1995 24:50:37 GMT", 0},
		{"Sun, 06 Nov 1995 08:60:37 GMT", 0},
		{"Sun, 6 Nov 1995 08:50:37 GMT", 0},
		{",", 0},
		{"Sunday,", 0}
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (dtm_retry_after(cases[i].value, strlen(cases[i].value), now) != cases[i].seconds)
			fail_msg("\"%s\" is %lld", cases[i].value, (long long) dtm_retry_after(cases[i].value, strlen(cases[i].value), now));
	assert_int_equal(dtm_retry_after("1234", 2, now), 12);
}

static void
wake_at(Sim *sim, DtmTime now, DtmUpdate *u)
{
	DtmEvent	wake = {.kind = DTM_EVENT_WAKE};

	wake.now = now;
	dtm_core_step(&sim->memory, &sim->cfg, &wake, u);
}

/* --- The same for the rules; and one that asks for a century stops nothing. --- */
static void
retries_wait_as_asked(void **state)
{
	Sim			sim;
	DtmTrans   *t = &sim.memory;
	DtmEvent	ev = {.kind = DTM_EVENT_REPLY, .result = DTM_RESULT_TEMPORARY, .op = 1};
	DtmUpdate	u;
	int			calls[8];

	(void) state;
	sim_init(&sim, DTM_SAGA, 1);
	u.calls = calls;
	dtm_core_start(t, &sim.cfg, true, 0);
	wake_at(&sim, 0, &u);
	ev.retry_after = 60 * SEC;
	dtm_core_step(t, &sim.cfg, &ev, &u);
	assert_int_equal(t->next_time, 60 * SEC);
	assert_int_equal(u.ncalls, 0);

	/* less than the back-off: that counts */
	ev.retry_after = 1;
	ev.now = 60 * SEC;
	wake_at(&sim, 60 * SEC, &u);
	assert_int_equal(u.ncalls, 1);
	dtm_core_step(t, &sim.cfg, &ev, &u);
	assert_true(t->next_time > 61 * SEC);

	/* never longer than the longest interval, nor earlier than asked for */
	ev.retry_after = INT64_MAX;
	ev.jitter = UINT32_MAX;
	ev.now = t->next_time;
	wake_at(&sim, ev.now, &u);
	dtm_core_step(t, &sim.cfg, &ev, &u);
	assert_int_equal(t->next_time, ev.now + sim.cfg.retry_interval_max);
	ev.retry_after = 600 * SEC;
	ev.now = t->next_time;
	wake_at(&sim, ev.now, &u);
	dtm_core_step(t, &sim.cfg, &ev, &u);
	assert_true(t->next_time >= ev.now + 600 * SEC && t->next_time <= ev.now + 675 * SEC);

	/* retry_limit's burst waits, too */
	t->retry_limit = 100;
	t->failures = 0;
	ev.now = t->next_time;
	wake_at(&sim, ev.now, &u);
	dtm_core_step(t, &sim.cfg, &ev, &u);
	assert_true(t->next_time >= ev.now + 600 * SEC);
	assert_int_equal(u.ncalls, 0);
}

/* --- CR-01, CR-02; if this fails, retries come at the wrong time. --- */
static void
interval_backs_off_to_the_cap(void **state)
{
	Sim			sim;
	DtmTrans   *t = &sim.memory;

	(void) state;
	sim_init(&sim, DTM_SAGA, 1);
	assert_int_equal(dtm_core_interval(t, &sim.cfg, 1), 10 * SEC);
	t->timeout_to_fail = 3 * SEC;
	assert_int_equal(dtm_core_interval(t, &sim.cfg, 1), 3 * SEC);
	t->timeout_to_fail = 30 * SEC;
	assert_int_equal(dtm_core_interval(t, &sim.cfg, 1), 10 * SEC);
	t->retry_interval = 15 * SEC;
	assert_int_equal(dtm_core_interval(t, &sim.cfg, 1), 15 * SEC);
	t->retry_interval = 0;
	t->failures = 1;
	assert_int_equal(dtm_core_interval(t, &sim.cfg, 1), 20 * SEC);
	t->failures = UINT16_MAX;
	assert_int_equal(dtm_core_interval(t, &sim.cfg, 1), 3600 * SEC);
	t->retry_interval = 7200 * SEC;
	assert_int_equal(dtm_core_interval(t, &sim.cfg, 1), 7200 * SEC);
	t->retry_interval = INT64_MAX;
	assert_true(dtm_core_interval(t, &sim.cfg, 1) == INT64_MAX);
	t->failures = 0;
	/* a transaction's own options do not make a flood of calls */
	t->retry_interval = 1;
	assert_int_equal(dtm_core_interval(t, &sim.cfg, 1), DTM_MIN_RETRY_INTERVAL);
	t->retry_interval = 0;
	t->timeout_to_fail = 1;
	assert_int_equal(dtm_core_interval(t, &sim.cfg, 1), DTM_MIN_RETRY_INTERVAL);
	sim.cfg.retry_interval = DTM_MIN_RETRY_INTERVAL / 10;
	assert_int_equal(dtm_core_interval(t, &sim.cfg, 1), DTM_MIN_RETRY_INTERVAL / 10);
}

/*
 * --- If this fails, a time is stored that PostgreSQL cannot show, or a retry is
 * due at once, for ever. ---
 */
static void
sums_of_times_saturate(void **state)
{
	static const DtmTransType types[] = {DTM_SAGA, DTM_TCC, DTM_XA, DTM_MSG};
	Sim			sim;

	(void) state;
	assert_true(dtm_core_after(0, 5) == 5);
	assert_true(dtm_core_after(-5, 5) == 0);
	assert_true(dtm_core_after(7, 0) == 7);
	assert_true(dtm_core_after(7, -1) == 7);
	assert_true(dtm_core_after(DTM_TIME_MAX - 5, 5) == DTM_TIME_MAX);
	assert_true(dtm_core_after(DTM_TIME_MAX - 5, 6) == DTM_TIME_MAX);
	assert_true(dtm_core_after(0, INT64_MAX) == DTM_TIME_MAX);
	assert_true(dtm_core_after(-1, INT64_MAX) == DTM_TIME_MAX);
	assert_true(dtm_core_after(DTM_TIME_MAX, 1) == DTM_TIME_MAX);
	assert_true(dtm_core_after(DTM_TIME_NEVER, 1) == DTM_TIME_NEVER);
	assert_true(dtm_core_after(INT64_MIN, 1) == INT64_MIN);

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		for (int jitter = 0; jitter < 2; jitter++)
		{
			/* just before the end of time, all settings as they are */
			sim_init(&sim, types[i], 1);
			sim.now = DTM_TIME_MAX - 1;
			sim.jitter = jitter ? UINT32_MAX : 0;
			sim.memory.delay = INT64_MAX;
			sim.memory.timeout_to_fail = INT64_MAX;
			sim_start(&sim, true);
			assert_true(sim.memory.next_time >= sim.now &&
						sim.memory.next_time <= DTM_TIME_MAX);

			/* an ordinary time, but the longest interval */
			sim_init(&sim, types[i], 1);
			sim.now = 1000 * SEC;
			sim.jitter = jitter ? UINT32_MAX : 0;
			sim.memory.retry_interval = INT64_MAX;
			sim.memory.timeout_to_fail = INT64_MAX;
			sim_start(&sim, true);
			assert_true(sim_wake(&sim));
			if (sim.in_flight[sim_slot(1)])
				assert_true(sim_reply(&sim, 1, DTM_RESULT_TEMPORARY, ""));
			else if (sim.in_flight[sim_slot(0)])
				assert_true(sim_reply(&sim, 0, DTM_RESULT_TEMPORARY, ""));
			else
				continue;
			assert_int_equal(sim.memory.failures, 1);
			assert_true(sim.memory.next_time > INT64_MAX / 8 * 7 - SEC &&
						sim.memory.next_time <= DTM_TIME_MAX);
		}

	/* a retry at the last time but one is later than that, so not due */
	sim_init(&sim, DTM_SAGA, 1);
	sim.now = DTM_TIME_MAX - 1;
	sim_start(&sim, true);
	assert_true(sim_wake(&sim));
	assert_true(sim_reply(&sim, 1, DTM_RESULT_TEMPORARY, ""));
	assert_true(sim.memory.next_time == DTM_TIME_MAX);

	/* prepared ones, and what is overdue */
	sim_init(&sim, DTM_MSG, 1);
	sim.now = DTM_TIME_MAX - 1;
	sim.cfg.timeout_to_fail = INT64_MAX;
	sim_start(&sim, false);
	assert_true(sim.memory.next_time == DTM_TIME_MAX);
}

/* --- If this fails, a saga is stored that can never end. --- */
static void
cyclic_orders_are_found(void **state)
{
	uint16_t	scratch[2 * SIM_MAX_STEPS];
	Sim			sim;

	(void) state;
	sim_init(&sim, DTM_SAGA, 3);
	assert_false(dtm_core_orders_cyclic(&sim.memory.orders, 3, scratch));
	sim_order(&sim, 0, 2);
	sim_order(&sim, 1, 0);
	assert_false(dtm_core_orders_cyclic(&sim.memory.orders, 3, scratch));
	sim_order(&sim, 2, 1);
	assert_true(dtm_core_orders_cyclic(&sim.memory.orders, 3, scratch));
	/* a step with two predecessors, one of them on the cycle */
	sim_init(&sim, DTM_SAGA, 3);
	sim_order(&sim, 0, 1);
	sim_order(&sim, 1, 0);
	sim_order(&sim, 1, 2);
	assert_true(dtm_core_orders_cyclic(&sim.memory.orders, 3, scratch));
	sim_init(&sim, DTM_SAGA, 2);
	sim_order(&sim, 1, 1);
	assert_true(dtm_core_orders_cyclic(&sim.memory.orders, 2, scratch));
}

/* --- §1.3; if this fails, a finished or aborting one can be changed. --- */
static void
requests_follow_the_state_table(void **state)
{
	static const DtmEventKind kinds[] = {
		DTM_EVENT_PREPARE, DTM_EVENT_SUBMIT, DTM_EVENT_ABORT,
		DTM_EVENT_FORCE_STOP, DTM_EVENT_RETRY_NOW
	};

	/* columns: prepared, submitted, aborting, succeed, failed; rows: kinds */
	static const char *const expected[][5] = {
		/* saga */
		{"prepared", "409", "409", "409", "409"},
		{"submitted", "submitted", "409", "409", "409"},
		{"type", "type", "type", "type", "type"},
		{"failed", "failed", "failed", "409", "409"},
		{"prepared", "submitted", "aborting", "409", "409"},
		/* msg */
		{"prepared", "409", "409", "409", "409"},
		{"submitted", "submitted", "409", "409", "409"},
		{"failed", "409", "409", "409", "409"},
		{"failed", "failed", "failed", "409", "409"},
		{"prepared", "submitted", "aborting", "409", "409"},
		/* tcc */
		{"prepared", "409", "409", "409", "409"},
		{"submitted", "submitted", "409", "409", "409"},
		{"aborting", "409", "aborting", "409", "409"},
		{"failed", "failed", "failed", "409", "409"},
		{"prepared", "submitted", "aborting", "409", "409"},
		/* xa */
		{"prepared", "409", "409", "409", "409"},
		{"submitted", "submitted", "409", "409", "409"},
		{"aborting", "409", "aborting", "409", "409"},
		{"failed", "failed", "failed", "409", "409"},
		{"prepared", "submitted", "aborting", "409", "409"},
		/* workflow; its submit says here that it failed */
		{"prepared", "409", "409", "409", "409"},
		{"failed", "409", "409", "409", "409"},
		{"type", "type", "type", "type", "type"},
		{"failed", "failed", "failed", "409", "409"},
		{"prepared", "submitted", "aborting", "409", "409"}
	};
	static const DtmTransType types[] = {
		DTM_SAGA, DTM_MSG, DTM_TCC, DTM_XA, DTM_WORKFLOW
	};

	(void) state;
	for (int type = 0; type < 5; type++)
		for (int kind = 0; kind < 5; kind++)
			for (int status = DTM_PREPARED; status <= DTM_FAILED; status++)
			{
				const char *want = expected[type * 5 + kind][status];
				Sim			sim;
				DtmReject	reject;

				sim_init(&sim, types[type], 2);
				sim_start(&sim, true);
				sim.stored.status = (DtmStatus) status;
				reject = sim_request(&sim, kinds[kind], "because");
				if (strcmp(want, "409") == 0)
					assert_int_equal(reject, DTM_REJECT_STATUS);
				else if (strcmp(want, "type") == 0)
					assert_int_equal(reject, DTM_REJECT_TYPE);
				else
				{
					assert_int_equal(reject, DTM_ACCEPTED);
					assert_string_equal(dtm_status_name(sim.stored.status),
										want);
					if (kinds[kind] == DTM_EVENT_FORCE_STOP ||
						(kinds[kind] == DTM_EVENT_ABORT &&
						 status == DTM_PREPARED))
						assert_string_equal(sim.stored.reason, "because");
					if (dtm_core_is_final(sim.stored.status))
						assert_true(sim.stored.next_time == DTM_TIME_NEVER);
					continue;
				}
				/* refused: nothing has changed */
				assert_int_equal(sim.stored.status, status);
				assert_int_equal(sim.version, 1);
			}
}

static DtmReject
steer(Sim *sim, DtmEventKind kind, int op, DtmResult result)
{
	DtmEvent	ev = {.kind = kind, .op = op, .result = result, .text = "said so", .steered = true};

	return sim_steer(sim, ev);
}

/* --- An operator's abort of a saga; if this fails, what has run is not undone. --- */
static void
operators_roll_sagas_back(void **state)
{
	Sim			sim;

	(void) state;
	/* nothing has been called */
	sim_init(&sim, DTM_SAGA, 2);
	sim_start(&sim, false);
	assert_int_equal(steer(&sim, DTM_EVENT_ABORT, 0, DTM_RESULT_SUCCESS), DTM_ACCEPTED);
	assert_int_equal(sim.stored.status, DTM_FAILED);
	assert_string_equal(sim.stored.reason, "said so");
	assert_false(sim.stored.stopped);

	/* the first has run, the second is under way, the third is not to be called */
	sim_init(&sim, DTM_SAGA, 3);
	sim_start(&sim, true);
	sim_wake(&sim);
	sim_reply(&sim, 1, DTM_RESULT_SUCCESS, "");
	assert_true(sim.in_flight[3]);
	assert_int_equal(steer(&sim, DTM_EVENT_ABORT, 0, DTM_RESULT_SUCCESS), DTM_ACCEPTED);
	assert_int_equal(sim.stored.status, DTM_ABORTING);
	sim_wake(&sim);
	assert_false(sim.in_flight[0] || sim.in_flight[2]);
	/* its success comes too late */
	sim_reply(&sim, 3, DTM_RESULT_SUCCESS, "");
	assert_true(sim.in_flight[2]);
	sim_reply(&sim, 2, DTM_RESULT_TEMPORARY, "");
	assert_true(sim.stored.next_time > sim.now);
	/* again: at once */
	assert_int_equal(steer(&sim, DTM_EVENT_ABORT, 0, DTM_RESULT_SUCCESS), DTM_ACCEPTED);
	assert_true(sim.stored.next_time == sim.now);
	sim_wake(&sim);
	sim_reply(&sim, 2, DTM_RESULT_SUCCESS, "");
	sim_reply(&sim, 0, DTM_RESULT_SUCCESS, "");
	assert_int_equal(sim.stored.status, DTM_FAILED);
	assert_false(sim.in_flight[4] || sim.in_flight[5]);
	assert_int_equal(steer(&sim, DTM_EVENT_ABORT, 0, DTM_RESULT_SUCCESS), DTM_REJECT_STATUS);

	/* what was decided stays so: the others are as for anybody */
	sim_init(&sim, DTM_TCC, 1);
	sim_start(&sim, true);
	assert_int_equal(steer(&sim, DTM_EVENT_ABORT, 0, DTM_RESULT_SUCCESS), DTM_REJECT_STATUS);
	sim_init(&sim, DTM_MSG, 1);
	sim_start(&sim, true);
	assert_int_equal(steer(&sim, DTM_EVENT_ABORT, 0, DTM_RESULT_SUCCESS), DTM_REJECT_STATUS);
}

/* --- An operator's word for an op; if this fails, steps run out of order, or twice. --- */
static void
a_word_stands_for_a_reply(void **state)
{
	Sim			sim;

	(void) state;
	sim_init(&sim, DTM_SAGA, 3);
	sim_start(&sim, true);
	sim_wake(&sim);
	sim_reply(&sim, 1, DTM_RESULT_TEMPORARY, "");
	assert_true(sim.stored.next_time > sim.now);
	assert_int_equal(steer(&sim, DTM_EVENT_SKIP, 3, DTM_RESULT_SUCCESS), DTM_REJECT_OP);
	assert_int_equal(steer(&sim, DTM_EVENT_SKIP, 0, DTM_RESULT_SUCCESS), DTM_REJECT_OP);
	assert_int_equal(steer(&sim, DTM_EVENT_SKIP, 1, DTM_RESULT_SUCCESS), DTM_ACCEPTED);
	assert_true(sim.stored.next_time == sim.now && sim.stored.failures == 0);
	sim_wake(&sim);
	assert_true(sim.in_flight[3]);
	/* while it is called: the call's own reply adds nothing */
	assert_int_equal(steer(&sim, DTM_EVENT_SKIP, 3, DTM_RESULT_SUCCESS), DTM_ACCEPTED);
	sim_reply(&sim, 3, DTM_RESULT_FAILURE, "");
	assert_int_equal(sim.stored.status, DTM_SUBMITTED);
	assert_true(sim.in_flight[5]);
	assert_int_equal(steer(&sim, DTM_EVENT_SKIP, 3, DTM_RESULT_SUCCESS), DTM_REJECT_OP);
	/* it has failed: rolled back, after its call has ended */
	assert_int_equal(steer(&sim, DTM_EVENT_SKIP, 5, DTM_RESULT_FAILURE), DTM_ACCEPTED);
	assert_int_equal(sim.stored.status, DTM_ABORTING);
	assert_string_equal(sim.stored.reason, "said so");
	sim_wake(&sim);
	assert_false(sim.in_flight[4]);
	sim_reply(&sim, 5, DTM_RESULT_SUCCESS, "");
	assert_true(sim.in_flight[4]);
	assert_int_equal(steer(&sim, DTM_EVENT_SKIP, 4, DTM_RESULT_FAILURE), DTM_REJECT_RESULT);
	assert_int_equal(steer(&sim, DTM_EVENT_SKIP, 5, DTM_RESULT_SUCCESS), DTM_REJECT_OP);
	for (int op = 4; op >= 0; op -= 2)
		assert_int_equal(steer(&sim, DTM_EVENT_SKIP, op, DTM_RESULT_SUCCESS), DTM_ACCEPTED);
	sim_wake(&sim);
	assert_int_equal(sim.stored.status, DTM_FAILED);
	assert_int_equal(steer(&sim, DTM_EVENT_SKIP, 0, DTM_RESULT_SUCCESS), DTM_REJECT_STATUS);

	/* a delay stays one, for the others */
	sim_init(&sim, DTM_MSG, 2);
	sim.memory.delay = 60 * SEC;
	sim_start(&sim, true);
	assert_int_equal(steer(&sim, DTM_EVENT_SKIP, 0, DTM_RESULT_FAILURE), DTM_REJECT_RESULT);
	assert_int_equal(steer(&sim, DTM_EVENT_SKIP, 1, DTM_RESULT_SUCCESS), DTM_ACCEPTED);
	assert_true(sim.stored.next_time == 60 * SEC);

	sim_init(&sim, DTM_TCC, 1);
	sim_start(&sim, false);
	assert_int_equal(steer(&sim, DTM_EVENT_SKIP, 1, DTM_RESULT_SUCCESS), DTM_REJECT_STATUS);
	sim_request(&sim, DTM_EVENT_SUBMIT, NULL);
	assert_int_equal(steer(&sim, DTM_EVENT_SKIP, 0, DTM_RESULT_SUCCESS), DTM_REJECT_OP);
	assert_int_equal(steer(&sim, DTM_EVENT_SKIP, 1, DTM_RESULT_FAILURE), DTM_REJECT_RESULT);
	assert_int_equal(steer(&sim, DTM_EVENT_SKIP, 1, DTM_RESULT_SUCCESS), DTM_ACCEPTED);
	sim_wake(&sim);
	assert_int_equal(sim.stored.status, DTM_SUCCEED);
}

/* --- If this fails, what was charged while somebody skipped it is not refunded. --- */
static void
late_successes_keep_their_results(void **state)
{
	Sim			sim;

	(void) state;
	for (int succeeded = 0; succeeded <= 1; succeeded++)
	{
		DtmResult	word = succeeded ? DTM_RESULT_SUCCESS : DTM_RESULT_FAILURE;

		sim_init(&sim, DTM_SAGA, 2);
		sim_start(&sim, true);
		sim_wake(&sim);
		assert_int_equal(steer(&sim, DTM_EVENT_SKIP, 1, word), DTM_ACCEPTED);
		sim_wake(&sim);
		assert_true(sim.in_flight[3] == succeeded);
		if (succeeded)
		{
			/* the next one is called meanwhile, and ends the saga */
			sim_reply(&sim, 3, DTM_RESULT_FAILURE, "");
			assert_false(sim.keeps);
			assert_true(sim.in_flight[2]);
			sim_reply(&sim, 2, DTM_RESULT_SUCCESS, "");
			assert_true(sim.keeps);
		}
		/* what undoes it waits for its response, which does not count, but is kept */
		assert_int_equal(sim.stored.status, DTM_ABORTING);
		assert_false(sim.in_flight[0]);
		sim_reply(&sim, 1, DTM_RESULT_SUCCESS, "");
		assert_true(sim.keeps);
		assert_int_equal(sim.stored_ops[1].status, succeeded ? DTM_BRANCH_SUCCEED : DTM_BRANCH_FAILED);
		assert_true(sim.in_flight[0]);
	}

	/* any other response is none */
	for (int result = DTM_RESULT_FAILURE; result <= DTM_RESULT_PERMANENT; result++)
	{
		sim_init(&sim, DTM_SAGA, 2);
		sim_start(&sim, true);
		sim_wake(&sim);
		(void) steer(&sim, DTM_EVENT_SKIP, 1, DTM_RESULT_SUCCESS);
		sim_reply(&sim, 1, (DtmResult) result, "");
		assert_false(sim.keeps);
		assert_int_equal(sim.stored.status, DTM_SUBMITTED);
	}

	/* what a local one did is rolled back */
	sim_init(&sim, DTM_SAGA, 1);
	sim.memory_ops[1].local = true;
	sim_start(&sim, true);
	sim_wake(&sim);
	(void) steer(&sim, DTM_EVENT_SKIP, 1, DTM_RESULT_FAILURE);
	sim_reply(&sim, 1, DTM_RESULT_SUCCESS, "");
	assert_false(sim.keeps);
}

/* --- What readers are told of; if this fails, an operator looks at the wrong branch. --- */
static void
readers_see_the_current_step(void **state)
{
	static const struct
	{
		DtmTransType type;
		DtmStatus	status;
		const char *letters;
		int			step;
	}			cases[] = {
		{DTM_SAGA, DTM_SUBMITTED, "PSPP", 1},
		{DTM_SAGA, DTM_SUBMITTED, "PSPS", -1},
		{DTM_SAGA, DTM_PREPARED, "PPPP", -1},
		{DTM_SAGA, DTM_FAILED, "SFPP", -1},
		{DTM_SAGA, DTM_ABORTING, "PSPFPP", 1},
		{DTM_SAGA, DTM_ABORTING, "PSSFPP", 0},
		/* the last may have run */
		{DTM_SAGA, DTM_ABORTING, "PSPP", 1},
		{DTM_MSG, DTM_SUBMITTED, "SP", 1},
		{DTM_MSG, DTM_ABORTING, "SP", -1},
		{DTM_TCC, DTM_SUBMITTED, "PPPP", 1},
		{DTM_TCC, DTM_SUBMITTED, "PPPS", 0},
		{DTM_XA, DTM_SUBMITTED, "PPPP", 0},
		{DTM_XA, DTM_ABORTING, "SPPP", 1},
		{DTM_WORKFLOW, DTM_PREPARED, "S", -1}
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(dtm_core_current_step(cases[i].type, cases[i].status, cases[i].letters,
											   (int) strlen(cases[i].letters)),
						 cases[i].step);
}

/* --- Since when a branch says ONGOING; if this fails, one that does for ever is in no view. --- */
static void
ongoing_is_remembered_until_a_success(void **state)
{
	Sim			sim;

	(void) state;
	sim_init(&sim, DTM_SAGA, 2);
	sim_start(&sim, true);
	sim_wake(&sim);
	sim.now = 5 * SEC;
	sim_reply(&sim, 1, DTM_RESULT_ONGOING, "");
	assert_true(sim.stored.ongoing_since == 5 * SEC);
	sim.now = sim.stored.next_time;
	sim_wake(&sim);
	sim_reply(&sim, 1, DTM_RESULT_ONGOING, "");
	assert_true(sim.stored.ongoing_since == 5 * SEC);
	sim.now = sim.stored.next_time;
	sim_wake(&sim);
	sim_reply(&sim, 1, DTM_RESULT_SUCCESS, "");
	assert_true(sim.stored.ongoing_since == 0);
}

/* --- An edit is for what is left to do; if this fails, a mended URL waits for hours. --- */
static void
edits_are_tried_at_once(void **state)
{
	Sim			sim;

	(void) state;
	sim_init(&sim, DTM_SAGA, 1);
	sim_start(&sim, true);
	sim_wake(&sim);
	sim_reply(&sim, 1, DTM_RESULT_TEMPORARY, "");
	assert_true(sim.stored.next_time > sim.now);
	assert_int_equal(steer(&sim, DTM_EVENT_EDIT, 0, DTM_RESULT_SUCCESS), DTM_ACCEPTED);
	assert_true(sim.stored.next_time == sim.now);
	sim_init(&sim, DTM_MSG, 1);
	sim.memory.delay = 60 * SEC;
	sim_start(&sim, true);
	assert_int_equal(steer(&sim, DTM_EVENT_EDIT, 0, DTM_RESULT_SUCCESS), DTM_ACCEPTED);
	assert_true(sim.stored.next_time == 60 * SEC);
	assert_int_equal(sim_request(&sim, DTM_EVENT_FORCE_STOP, "no"), DTM_ACCEPTED);
	assert_true(sim.stored.stopped);
	assert_int_equal(steer(&sim, DTM_EVENT_EDIT, 0, DTM_RESULT_SUCCESS), DTM_REJECT_STATUS);
}

/* --- §1.2: branches are added to a prepared tcc, xa, workflow, to nothing else. --- */
static void
branches_are_registered_while_prepared(void **state)
{
	(void) state;
	for (int type = DTM_SAGA; type <= DTM_WORKFLOW; type++)
		for (int status = DTM_PREPARED; status <= DTM_FAILED; status++)
		{
			Sim			sim;
			DtmReject	expected = DTM_REJECT_STATUS;

			sim_init(&sim, (DtmTransType) type, 1);
			sim_start(&sim, false);
			sim.stored.status = (DtmStatus) status;
			if (type == DTM_SAGA || type == DTM_MSG)
				expected = DTM_REJECT_TYPE;
			else if (status == DTM_PREPARED)
				expected = DTM_ACCEPTED;
			assert_int_equal(sim_request(&sim, DTM_EVENT_REGISTER, NULL),
							 expected);
			assert_int_equal(sim.stored.status, status);
		}
}

/*
 * --- Every status x every event of the coordinator, on every op: nothing
 * asserts, and a final row never changes. ---
 */
static void
every_state_takes_every_event(void **state)
{
	static const DtmTransType types[] = {DTM_SAGA, DTM_MSG, DTM_TCC, DTM_XA};

	(void) state;
	for (int type = 0; type < 4; type++)
		for (int status = DTM_PREPARED; status <= DTM_FAILED; status++)
			for (int branches = 0; branches < 81; branches++)
				for (int op = DTM_CALL_QUERY; op < (type == 1 ? 2 : 4); op++)
					for (int result = DTM_RESULT_SUCCESS;
						 result <= DTM_RESULT_PERMANENT; result++)
					{
						Sim			sim;
						int			digits = branches;
						DtmStatus	after;
						bool		discarded;

						sim_init(&sim, types[type], 2);
						sim_start(&sim, true);
						if (types[type] == DTM_MSG && status == DTM_ABORTING)
							continue;	/* a msg has no such state */
						sim.stored.status = (DtmStatus) status;
						for (int i = 0; i < sim.stored.nops; i++, digits /= 3)
							sim.stored_ops[i].status = digits % 3;
						/* of a msg, one that failed was discarded */
						discarded = sim.stored_ops[0].status == DTM_BRANCH_FAILED ||
							sim.stored_ops[1].status == DTM_BRANCH_FAILED;
						sim_wake(&sim);
						sim_reply(&sim, op, result, "text");
						after = sim.memory.status;
						if (dtm_core_is_final((DtmStatus) status))
						{
							assert_int_equal(after, status);
							assert_int_equal(sim.version, 1);
						}
						if (status == DTM_ABORTING)
							assert_true(after == DTM_ABORTING ||
										after == DTM_FAILED);
						/* a reply that fits no call of this status */
						if (type == 0 && status == DTM_SUBMITTED && op == 0 &&
							branches == 0)
							assert_int_equal(sim.memory_ops[0].status,
											 DTM_BRANCH_PREPARED);
						if (type == 1 && status == DTM_SUBMITTED &&
							op == DTM_CALL_QUERY)
							assert_true(discarded || after != DTM_FAILED);
						if (type == 1 && status == DTM_PREPARED && op == 0 &&
							branches == 0)
							assert_int_equal(sim.memory_ops[0].status,
											 DTM_BRANCH_PREPARED);
					}
}

/* --- Traces ---
 *
 * A script names what a call answers: "02 action" -> "E F" (first an error,
 * then FAILURE, success from then on).  The trace has a line for each call,
 * status and wait.
 */
typedef struct Script
{
	const char *op;				/* "02 action", "query" */
	const char *replies;		/* letters S F O E; last one is followed by S */
} Script;

typedef struct Trace
{
	char		text[8192];
	const Script *script;
	int			nscript;
	int			used[8];
	int			queue[64];
	int			nqueue;
	DtmStatus	status;
} Trace;

static void
put(Sim *sim, const char *text)
{
	Trace	   *trace = sim->arg;
	size_t		len = strlen(trace->text);

	snprintf(trace->text + len, sizeof(trace->text) - len, "%4d  %s\n",
			 (int) (sim->now / SEC), text);
}

static void
op_name(const Sim *sim, int op, char *name, size_t size)
{
	char		id[DTM_BRANCH_ID_SIZE];

	if (op == DTM_CALL_QUERY)
	{
		snprintf(name, size, "query");
		return;
	}
	dtm_step_branch_id(sim->memory_ops[op].step, id);
	snprintf(name, size, "%s %s", id, dtm_op_name(sim->memory_ops[op].op));
}

static void
trace_call(Sim *sim, int op)
{
	Trace	   *trace = sim->arg;
	char		name[64];
	char		line[80];

	op_name(sim, op, name, sizeof(name));
	snprintf(line, sizeof(line), "call %s", name);
	put(sim, line);
	trace->queue[trace->nqueue++] = op;
}

static void
trace_store(Sim *sim)
{
	Trace	   *trace = sim->arg;
	char		line[2 * DTM_REASON_SIZE];

	if (sim->stored.status == trace->status)
		return;
	trace->status = sim->stored.status;
	snprintf(line, sizeof(line), "-> %s%s%s", dtm_status_name(trace->status),
			 sim->stored.reason[0] ? ": " : "", sim->stored.reason);
	put(sim, line);
}

static DtmResult
scripted(Trace *trace, const char *name)
{
	static const char letters[] = "SFOE";

	for (int i = 0; i < trace->nscript; i++)
		if (strcmp(trace->script[i].op, name) == 0)
		{
			int			n = trace->used[i]++;

			if (n < (int) strlen(trace->script[i].replies))
				return (DtmResult) (strchr(letters, trace->script[i].replies[n]) -
									letters);
		}
	return DTM_RESULT_SUCCESS;
}

/* Runs until final, or until nothing is scheduled, or for "until" seconds. */
static const char *
run_trace(Sim *sim, Trace *trace, const Script *script, int nscript,
		  bool submitted, int until)
{
	trace->script = script;
	trace->nscript = nscript;
	sim->arg = trace;
	sim->on_call = trace_call;
	sim->on_store = trace_store;
	sim_start(sim, submitted);
	while (!dtm_core_is_final(sim->stored.status))
	{
		sim_wake(sim);
		while (trace->nqueue > 0)
		{
			char		name[64];
			char		line[80];
			int			op = trace->queue[0];
			DtmResult	result;

			memmove(trace->queue, trace->queue + 1,
					sizeof(int) * (size_t) --trace->nqueue);
			op_name(sim, op, name, sizeof(name));
			result = scripted(trace, name);
			if (result != DTM_RESULT_SUCCESS)
			{
				snprintf(line, sizeof(line), "%s answers %s", name,
						 dtm_result_name(result));
				put(sim, line);
			}
			sim_reply(sim, op, result, "no");
		}
		if (dtm_core_is_final(sim->stored.status))
			break;
		if (sim->stored.next_time > until * SEC)
		{
			put(sim, "waits");
			break;
		}
		sim->now = sim->stored.next_time;
	}
	{
		char		line[64] = "branches";

		for (int i = 0; i < sim->stored.nops; i++)
			snprintf(line + strlen(line), sizeof(line) - strlen(line), " %c",
					 dtm_branch_status_letter(sim->stored_ops[i].status));
		put(sim, line);
	}
	return trace->text;
}

#define TRACE(sim, submitted, until, ...) \
	run_trace(&(sim), &(Trace) {.status = DTM_PREPARED}, \
			  (Script[]) {__VA_ARGS__}, \
			  (int) (sizeof((Script[]) {__VA_ARGS__}) / sizeof(Script)), \
			  (submitted), (until))

static void
saga_traces(void **state)
{
	Sim			sim;

	(void) state;

	/* SG-01 */
	sim_init(&sim, DTM_SAGA, 2);
	assert_string_equal(TRACE(sim, true, 1000, {"", ""}),
						"   0  -> submitted\n"
						"   0  call 01 action\n"
						"   0  call 02 action\n"
						"   0  -> succeed\n"
						"   0  branches P S P S\n");

	/* SG-02 */
	sim_init(&sim, DTM_SAGA, 2);
	assert_string_equal(TRACE(sim, true, 1000, {"02 action", "F"}),
						"   0  -> submitted\n"
						"   0  call 01 action\n"
						"   0  call 02 action\n"
						"   0  02 action answers FAILURE\n"
						"   0  -> aborting: url:http://busi return failed: no FAILURE\n"
						"   0  call 02 compensate\n"
						"   0  call 01 compensate\n"
						"   0  -> failed: url:http://busi return failed: no FAILURE\n"
						"   0  branches S S S F\n");

	/* SG-03, CR-03: ONGOING keeps the interval */
	sim_init(&sim, DTM_SAGA, 2);
	assert_string_equal(TRACE(sim, true, 1000, {"01 action", "OO"}),
						"   0  -> submitted\n"
						"   0  call 01 action\n"
						"   0  01 action answers ONGOING\n"
						"  10  call 01 action\n"
						"  10  01 action answers ONGOING\n"
						"  20  call 01 action\n"
						"  20  call 02 action\n"
						"  20  -> succeed\n"
						"  20  branches P S P S\n");

	/* SG-04, R-06, CR-02: a compensation is repeated, FAILURE or not */
	sim_init(&sim, DTM_SAGA, 2);
	assert_string_equal(TRACE(sim, true, 1000, {"02 action", "F"},
							  {"01 compensate", "EF"}),
						"   0  -> submitted\n"
						"   0  call 01 action\n"
						"   0  call 02 action\n"
						"   0  02 action answers FAILURE\n"
						"   0  -> aborting: url:http://busi return failed: no FAILURE\n"
						"   0  call 02 compensate\n"
						"   0  call 01 compensate\n"
						"   0  01 compensate answers ERROR\n"
						"  20  call 01 compensate\n"
						"  20  01 compensate answers FAILURE\n"
						"  60  call 01 compensate\n"
						"  60  -> failed: url:http://busi return failed: no FAILURE\n"
						"  60  branches S S S F\n");

	/* a success resets the back-off, and so does the abort */
	sim_init(&sim, DTM_SAGA, 2);
	assert_string_equal(TRACE(sim, true, 1000, {"01 action", "EE"},
							  {"02 action", "EEF"}, {"02 compensate", "E"}),
						"   0  -> submitted\n"
						"   0  call 01 action\n"
						"   0  01 action answers ERROR\n"
						"  20  call 01 action\n"
						"  20  01 action answers ERROR\n"
						"  60  call 01 action\n"
						"  60  call 02 action\n"
						"  60  02 action answers ERROR\n"
						"  80  call 02 action\n"
						"  80  02 action answers ERROR\n"
						" 120  call 02 action\n"
						" 120  02 action answers FAILURE\n"
						" 120  -> aborting: url:http://busi return failed: no FAILURE\n"
						" 120  call 02 compensate\n"
						" 120  02 compensate answers ERROR\n"
						" 140  call 02 compensate\n"
						" 140  call 01 compensate\n"
						" 140  -> failed: url:http://busi return failed: no FAILURE\n"
						" 140  branches S S S F\n");

	/* SG-06: empty URLs */
	sim_init(&sim, DTM_SAGA, 2);
	sim.memory_ops[0].has_url = sim.memory_ops[2].has_url =
		sim.memory_ops[3].has_url = false;
	assert_string_equal(TRACE(sim, true, 1000, {"", ""}),
						"   0  -> submitted\n"
						"   0  call 01 action\n"
						"   0  -> succeed\n"
						"   0  branches P S P S\n");

	/* no steps */
	sim_init(&sim, DTM_SAGA, 0);
	assert_string_equal(TRACE(sim, true, 1000, {"", ""}),
						"   0  -> submitted\n"
						"   0  -> succeed\n"
						"   0  branches\n");

	/* a prepared saga waits for ever */
	sim_init(&sim, DTM_SAGA, 2);
	assert_string_equal(TRACE(sim, false, 100000, {"", ""}),
						"   0  waits\n"
						"   0  branches P P P P\n");

	/* but for its query, whose answers are those of a msg */
	sim_init(&sim, DTM_SAGA, 1);
	sim.memory.has_query_url = true;
	assert_string_equal(TRACE(sim, false, 1000, {"query", "OE"}),
						"  35  call query\n"
						"  35  query answers ONGOING\n"
						"  45  call query\n"
						"  45  query answers ERROR\n"
						"  65  call query\n"
						"  65  -> submitted\n"
						"  65  call 01 action\n"
						"  65  -> succeed\n"
						"  65  branches P S\n");
	sim_init(&sim, DTM_SAGA, 1);
	sim.memory.has_query_url = true;
	assert_string_equal(TRACE(sim, false, 1000, {"query", "F"}),
						"  35  call query\n"
						"  35  query answers FAILURE\n"
						"  35  -> failed\n"
						"  35  branches P P\n");
	/* its own time-out, which counts from the prepare, leaves time to run */
	sim_init(&sim, DTM_SAGA, 1);
	sim.memory.has_query_url = true;
	sim.memory.timeout_to_fail = 30 * SEC;
	assert_string_equal(TRACE(sim, false, 1000, {"01 action", "OO"}),
						"  15  call query\n"
						"  15  -> submitted\n"
						"  15  call 01 action\n"
						"  15  01 action answers ONGOING\n"
						"  25  call 01 action\n"
						"  25  01 action answers ONGOING\n"
						"  30  -> aborting: Timeout after 30 seconds\n"
						"  30  call 01 compensate\n"
						"  30  -> failed: Timeout after 30 seconds\n"
						"  30  branches S P\n");
	sim_init(&sim, DTM_SAGA, 1);
	sim.memory.has_query_url = true;
	sim.memory.timeout_to_fail = 1000 * SEC;
	assert_string_equal(TRACE(sim, false, 1000, {"query", ""}),
						"  35  call query\n"
						"  35  -> submitted\n"
						"  35  call 01 action\n"
						"  35  -> succeed\n"
						"  35  branches P S\n");

	/* SO-03: the time-out compensates what may have started, no more */
	sim_init(&sim, DTM_SAGA, 2);
	sim.memory.timeout_to_fail = 25 * SEC;
	assert_string_equal(TRACE(sim, true, 1000, {"01 action", "OOOO"}),
						"   0  -> submitted\n"
						"   0  call 01 action\n"
						"   0  01 action answers ONGOING\n"
						"  10  call 01 action\n"
						"  10  01 action answers ONGOING\n"
						"  20  call 01 action\n"
						"  20  01 action answers ONGOING\n"
						"  25  -> aborting: Timeout after 25 seconds\n"
						"  25  call 01 compensate\n"
						"  25  -> failed: Timeout after 25 seconds\n"
						"  25  branches S P P P\n");

	/* SO-10 */
	sim_init(&sim, DTM_SAGA, 2);
	sim.memory.retry_limit = 3;
	assert_string_equal(TRACE(sim, true, 1000, {"02 action", "EEE"}),
						"   0  -> submitted\n"
						"   0  call 01 action\n"
						"   0  call 02 action\n"
						"   0  02 action answers ERROR\n"
						"   0  call 02 action\n"
						"   0  02 action answers ERROR\n"
						"   0  call 02 action\n"
						"   0  02 action answers ERROR\n"
						"   0  call 02 action\n"
						"   0  -> succeed\n"
						"   0  branches P S P S\n");

	/* SO-11 */
	sim_init(&sim, DTM_SAGA, 2);
	sim.memory.retry_limit = 1;
	assert_string_equal(TRACE(sim, true, 1000, {"02 action", "EO"}),
						"   0  -> submitted\n"
						"   0  call 01 action\n"
						"   0  call 02 action\n"
						"   0  02 action answers ERROR\n"
						"   0  call 02 action\n"
						"   0  02 action answers ONGOING\n"
						"   0  -> aborting: RetryCount is greater than RetryLimit, RetryLimit: 1\n"
						"   0  call 02 compensate\n"
						"   0  call 01 compensate\n"
						"   0  -> failed: RetryCount is greater than RetryLimit, RetryLimit: 1\n"
						"   0  branches S S S P\n");
}

static void
concurrent_saga_traces(void **state)
{
	Sim			sim;

	(void) state;

	/* SC-01 */
	sim_init(&sim, DTM_SAGA, 2);
	sim.memory.concurrent = true;
	assert_string_equal(TRACE(sim, true, 1000, {"", ""}),
						"   0  -> submitted\n"
						"   0  call 01 action\n"
						"   0  call 02 action\n"
						"   0  -> succeed\n"
						"   0  branches P S P S\n");

	/* SC-02, R-35: 02 is still under way when 01 fails, and is waited for */
	sim_init(&sim, DTM_SAGA, 2);
	sim.memory.concurrent = true;
	assert_string_equal(TRACE(sim, true, 1000, {"01 action", "F"},
							  {"01 compensate", "O"}),
						"   0  -> submitted\n"
						"   0  call 01 action\n"
						"   0  call 02 action\n"
						"   0  01 action answers FAILURE\n"
						"   0  -> aborting: url:http://busi return failed: no FAILURE\n"
						"   0  call 01 compensate\n"
						"   0  call 02 compensate\n"
						"   0  01 compensate answers ONGOING\n"
						"  10  call 01 compensate\n"
						"  10  -> failed: url:http://busi return failed: no FAILURE\n"
						"  10  branches S F S S\n");

	/* SC-03 */
	sim_init(&sim, DTM_SAGA, 2);
	sim_order(&sim, 1, 0);
	assert_string_equal(TRACE(sim, true, 1000, {"01 action", "F"}),
						"   0  -> submitted\n"
						"   0  call 01 action\n"
						"   0  01 action answers FAILURE\n"
						"   0  -> aborting: url:http://busi return failed: no FAILURE\n"
						"   0  call 01 compensate\n"
						"   0  -> failed: url:http://busi return failed: no FAILURE\n"
						"   0  branches S F P P\n");

	/* SC-04 */
	sim_init(&sim, DTM_SAGA, 2);
	sim_order(&sim, 1, 0);
	assert_string_equal(TRACE(sim, true, 1000, {"02 action", "F"}),
						"   0  -> submitted\n"
						"   0  call 01 action\n"
						"   0  call 02 action\n"
						"   0  02 action answers FAILURE\n"
						"   0  -> aborting: url:http://busi return failed: no FAILURE\n"
						"   0  call 02 compensate\n"
						"   0  call 01 compensate\n"
						"   0  -> failed: url:http://busi return failed: no FAILURE\n"
						"   0  branches S S S F\n");

	/* SC-05 */
	sim_init(&sim, DTM_SAGA, 2);
	sim.memory.concurrent = true;
	assert_string_equal(TRACE(sim, true, 1000, {"01 action", "O"}),
						"   0  -> submitted\n"
						"   0  call 01 action\n"
						"   0  call 02 action\n"
						"   0  01 action answers ONGOING\n"
						"  10  call 01 action\n"
						"  10  -> succeed\n"
						"  10  branches P S P S\n");

	/* the interval doubles once a round, not once a branch */
	sim_init(&sim, DTM_SAGA, 3);
	sim.memory.concurrent = true;
	assert_string_equal(TRACE(sim, true, 30, {"01 action", "EEE"},
							  {"02 action", "EEE"}, {"03 action", "EEE"}),
						"   0  -> submitted\n"
						"   0  call 01 action\n"
						"   0  call 02 action\n"
						"   0  call 03 action\n"
						"   0  01 action answers ERROR\n"
						"   0  02 action answers ERROR\n"
						"   0  03 action answers ERROR\n"
						"  20  call 01 action\n"
						"  20  call 02 action\n"
						"  20  call 03 action\n"
						"  20  01 action answers ERROR\n"
						"  20  02 action answers ERROR\n"
						"  20  03 action answers ERROR\n"
						"  20  waits\n"
						"  20  branches P P P P P P\n");
}

static void
msg_traces(void **state)
{
	Sim			sim;

	(void) state;

	/* MS-01 */
	sim_init(&sim, DTM_MSG, 2);
	assert_string_equal(TRACE(sim, true, 1000, {"", ""}),
						"   0  -> submitted\n"
						"   0  call 01 action\n"
						"   0  call 02 action\n"
						"   0  -> succeed\n"
						"   0  branches S S\n");

	/* MS-02, R-32: the query's ONGOING, its error, and an ONGOING branch */
	sim_init(&sim, DTM_MSG, 2);
	assert_string_equal(TRACE(sim, false, 1000, {"query", "OEO"},
							  {"02 action", "O"}),
						"  35  call query\n"
						"  35  query answers ONGOING\n"
						"  45  call query\n"
						"  45  query answers ERROR\n"
						"  65  call query\n"
						"  65  query answers ONGOING\n"
						"  75  call query\n"
						"  75  -> submitted\n"
						"  75  call 01 action\n"
						"  75  call 02 action\n"
						"  75  02 action answers ONGOING\n"
						"  85  call 02 action\n"
						"  85  -> succeed\n"
						"  85  branches S S\n");

	/* MS-03 */
	sim_init(&sim, DTM_MSG, 2);
	assert_string_equal(TRACE(sim, false, 1000, {"query", "OF"}),
						"  35  call query\n"
						"  35  query answers ONGOING\n"
						"  45  call query\n"
						"  45  query answers FAILURE\n"
						"  45  -> failed\n"
						"  45  branches P P\n");

	/* MS-07 */
	sim_init(&sim, DTM_MSG, 1);
	sim.memory.timeout_to_fail = 120 * SEC;
	assert_string_equal(TRACE(sim, false, 1000, {"", ""}),
						" 120  call query\n"
						" 120  -> submitted\n"
						" 120  call 01 action\n"
						" 120  -> succeed\n"
						" 120  branches S\n");

	/* */
	sim_init(&sim, DTM_MSG, 1);
	sim.memory.has_query_url = false;
	assert_string_equal(TRACE(sim, false, 1000, {"", ""}),
						"  35  -> submitted\n"
						"  35  call 01 action\n"
						"  35  -> succeed\n"
						"  35  branches S\n");

	/* MS-09, JR-02: FAILURE is repeated too */
	sim_init(&sim, DTM_MSG, 2);
	sim.memory.concurrent = true;
	assert_string_equal(TRACE(sim, true, 1000, {"01 action", "F"}),
						"   0  -> submitted\n"
						"   0  call 01 action\n"
						"   0  call 02 action\n"
						"   0  01 action answers FAILURE\n"
						"  20  call 01 action\n"
						"  20  -> succeed\n"
						"  20  branches S S\n");

	/* MS-10; an empty URL waits for the delay like the others */
	sim_init(&sim, DTM_MSG, 2);
	sim.memory.delay = 10 * SEC;
	sim.memory_ops[0].has_url = false;
	assert_string_equal(TRACE(sim, true, 1000, {"", ""}),
						"   0  -> submitted\n"
						"  10  call 02 action\n"
						"  10  -> succeed\n"
						"  10  branches S S\n");

	/* MS-14: a branch that is not done stops the pass */
	sim_init(&sim, DTM_MSG, 2);
	assert_string_equal(TRACE(sim, true, 1000, {"01 action", "O"}),
						"   0  -> submitted\n"
						"   0  call 01 action\n"
						"   0  01 action answers ONGOING\n"
						"  10  call 01 action\n"
						"  10  call 02 action\n"
						"  10  -> succeed\n"
						"  10  branches S S\n");
}

static void
twophase_traces(void **state)
{
	Sim			sim;

	(void) state;

	/* TC-01, TC-09, R-23: submitted at 5 s; the last registered first */
	sim_init(&sim, DTM_TCC, 3);
	sim_start(&sim, false);
	sim.now = 5 * SEC;
	sim_request(&sim, DTM_EVENT_SUBMIT, NULL);
	sim_wake(&sim);
	for (int branch = 2; branch >= 0; branch--)
	{
		for (int op = 0; op < 6; op++)
			assert_int_equal(sim.in_flight[op], op == 2 * branch + 1);
		sim_reply(&sim, 2 * branch + 1, DTM_RESULT_SUCCESS, "");
	}
	assert_int_equal(sim.stored.status, DTM_SUCCEED);

	/* XA-01: the first registered first */
	sim_init(&sim, DTM_XA, 2);
	assert_string_equal(TRACE(sim, true, 1000, {"", ""}),
						"   0  -> submitted\n"
						"   0  call 01 commit\n"
						"   0  call 02 commit\n"
						"   0  -> succeed\n"
						"   0  branches P S P S\n");

	/* TC-04, R-06, R-29: never submitted; a cancel is repeated, FAILURE or not */
	sim_init(&sim, DTM_TCC, 2);
	assert_string_equal(TRACE(sim, false, 1000, {"02 cancel", "FO"}),
						"  35  -> aborting: Timeout after 35 seconds\n"
						"  35  call 02 cancel\n"
						"  35  02 cancel answers FAILURE\n"
						"  55  call 02 cancel\n"
						"  55  02 cancel answers ONGOING\n"
						"  75  call 02 cancel\n"
						"  75  call 01 cancel\n"
						"  75  -> failed: Timeout after 35 seconds\n"
						"  75  branches S P S P\n");

	/* less than a second is not none */
	sim_init(&sim, DTM_TCC, 0);
	sim.memory.timeout_to_fail = SEC / 4;
	assert_string_equal(TRACE(sim, false, 1000, {"", ""}),
						"   0  -> failed: Timeout after 0.25 seconds\n"
						"   0  branches\n");

	/* XA-05: a time-out of its own, and no branches */
	sim_init(&sim, DTM_XA, 0);
	sim.memory.timeout_to_fail = 60 * SEC;
	assert_string_equal(TRACE(sim, false, 1000, {"", ""}),
						"  60  -> failed: Timeout after 60 seconds\n"
						"  60  branches\n");

	/* TC-03: aborted by its client; TC-05: an empty URL */
	sim_init(&sim, DTM_TCC, 2);
	sim.memory_ops[2].has_url = false;
	sim_start(&sim, false);
	assert_int_equal(sim_request(&sim, DTM_EVENT_ABORT, "try failed"),
					 DTM_ACCEPTED);
	sim_wake(&sim);
	assert_int_equal(sim.stored_ops[2].status, DTM_BRANCH_SUCCEED);
	assert_true(sim.in_flight[0]);
	sim_reply(&sim, 0, DTM_RESULT_ONGOING, "");
	assert_true(sim.stored.next_time == 10 * SEC);
	/* abort again is due at once */
	assert_int_equal(sim_request(&sim, DTM_EVENT_ABORT, "again"), DTM_ACCEPTED);
	assert_string_equal(sim.stored.reason, "try failed");
	sim_wake(&sim);
	assert_true(sim.in_flight[0]);
	sim_reply(&sim, 0, DTM_RESULT_SUCCESS, "");
	assert_int_equal(sim.stored.status, DTM_FAILED);

	/* a repeated submit goes on with what is left */
	sim_init(&sim, DTM_XA, 2);
	sim_start(&sim, true);
	sim_wake(&sim);
	sim_reply(&sim, 1, DTM_RESULT_SUCCESS, "");
	sim_reply(&sim, 3, DTM_RESULT_TEMPORARY, "");
	assert_int_equal(sim_request(&sim, DTM_EVENT_SUBMIT, NULL), DTM_ACCEPTED);
	sim_wake(&sim);
	assert_true(sim.in_flight[3] && !sim.in_flight[1]);
	sim_reply(&sim, 3, DTM_RESULT_SUCCESS, "");
	assert_int_equal(sim.stored.status, DTM_SUCCEED);
}

/* --- §1.3, R-45; if this fails, an interrupted workflow stays so. --- */
static void
workflow_traces(void **state)
{
	Sim			sim;
	int			calls[SIM_MAX_OPS + 1];
	DtmUpdate	u = {.calls = calls};
	DtmEvent	submit = {.kind = DTM_EVENT_SUBMIT, .succeeded = true};

	(void) state;
	/* its registered results are never called; errors back off, answers don't */
	sim_init(&sim, DTM_WORKFLOW, 2);
	assert_string_equal(TRACE(sim, false, 130, {"query", "EFOS"}),
						"  10  call query\n"
						"  10  query answers ERROR\n"
						"  30  call query\n"
						"  30  query answers FAILURE\n"
						"  70  call query\n"
						"  70  query answers ONGOING\n"
						"  80  call query\n"
						"  90  call query\n"
						" 100  call query\n"
						" 110  call query\n"
						" 120  call query\n"
						" 130  call query\n"
						" 130  waits\n"
						" 130  branches P P\n");
	/* an answer while the submit comes */
	sim_init(&sim, DTM_WORKFLOW, 0);
	sim_start(&sim, false);
	sim.now = 10 * SEC;
	sim_wake(&sim);
	assert_true(sim.in_flight[SIM_MAX_OPS]);
	dtm_core_step(&sim.memory, &sim.cfg, &submit, &u);
	assert_int_equal(sim.memory.status, DTM_SUCCEED);
	/* without a callback it waits for ever, whoever asks */
	sim_init(&sim, DTM_WORKFLOW, 0);
	sim.memory.has_query_url = false;
	sim_start(&sim, false);
	assert_true(sim.stored.next_time == DTM_TIME_NEVER);
	sim_request(&sim, DTM_EVENT_RETRY_NOW, NULL);
	sim_wake(&sim);
	assert_true(sim.stored.next_time == DTM_TIME_NEVER);
}

/* --- If this fails, what has had no effect is undone. --- */
static void
local_actions_are_undone_only_if_done(void **state)
{
	Sim			sim;

	(void) state;
	/* refused: its own compensation is not called, that of the one before is */
	sim_init(&sim, DTM_SAGA, 2);
	sim.memory_ops[1].local = sim.memory_ops[3].local = true;
	assert_string_equal(TRACE(sim, true, 1000, {"02 action", "F"}),
						"   0  -> submitted\n"
						"   0  call 01 action\n"
						"   0  call 02 action\n"
						"   0  02 action answers FAILURE\n"
						"   0  -> aborting: url:http://busi return failed: no FAILURE\n"
						"   0  call 01 compensate\n"
						"   0  -> failed: url:http://busi return failed: no FAILURE\n"
						"   0  branches S S P F\n");
	/* timed out while it was tried: it has had no effect */
	sim_init(&sim, DTM_SAGA, 1);
	sim.memory_ops[1].local = true;
	sim.memory.timeout_to_fail = 15 * SEC;
	assert_string_equal(TRACE(sim, true, 1000, {"01 action", "EEE"}),
						"   0  -> submitted\n"
						"   0  call 01 action\n"
						"   0  01 action answers ERROR\n"
						"  15  -> failed: Timeout after 15 seconds\n"
						"  15  branches P P\n");
	/* its success comes after the abort: it does not count */
	sim_init(&sim, DTM_SAGA, 2);
	sim.memory.concurrent = true;
	sim.memory_ops[1].local = true;
	sim_start(&sim, true);
	sim_wake(&sim);
	sim_reply(&sim, 3, DTM_RESULT_FAILURE, "no");
	assert_true(sim.in_flight[2]);
	sim_reply(&sim, 1, DTM_RESULT_SUCCESS, "");
	assert_int_equal(sim.stored_ops[1].status, DTM_BRANCH_PREPARED);
	sim_reply(&sim, 2, DTM_RESULT_SUCCESS, "");
	assert_int_equal(sim.stored.status, DTM_FAILED);
	assert_int_equal(sim.stored_ops[0].status, DTM_BRANCH_PREPARED);
}

/* --- MS-11: an alert at the third failure and at every later one. --- */
static void
alerts_after_the_limit(void **state)
{
	Sim			sim;
	int			calls[SIM_MAX_OPS + 1];
	DtmUpdate	u = {.calls = calls};

	(void) state;
	sim_init(&sim, DTM_MSG, 1);
	sim_start(&sim, true);
	for (int failure = 1; failure <= 5; failure++)
	{
		DtmEvent	wake = {.kind = DTM_EVENT_WAKE, .now = sim.now};
		DtmEvent	reply = {.kind = DTM_EVENT_REPLY, .now = sim.now,
		.op = 0, .result = DTM_RESULT_TEMPORARY};

		dtm_core_step(&sim.memory, &sim.cfg, &wake, &u);
		assert_int_equal(u.ncalls, 1);
		dtm_core_step(&sim.memory, &sim.cfg, &reply, &u);
		assert_int_equal(u.alert_op, failure >= 3 ? 0 : DTM_NO_ALERT);
		assert_int_equal(u.alert_failures, failure >= 3 ? failure : 0);
		assert_int_equal(sim.memory.next_time,
						 sim.now + (10 << failure) * SEC);
		sim.now = sim.memory.next_time;
	}

	/* the same step may end it: what is told is told of the failure */
	sim_init(&sim, DTM_SAGA, 1);
	sim.memory.timeout_to_fail = 5 * SEC;
	sim.memory_ops[0].has_url = false;
	sim.cfg.alert_retry_limit = 1;
	sim_start(&sim, true);
	{
		DtmEvent	wake = {.kind = DTM_EVENT_WAKE, .now = sim.now};
		DtmEvent	reply = {.kind = DTM_EVENT_REPLY, .now = sim.now + 6 * SEC,
		.op = 1, .result = DTM_RESULT_TEMPORARY, .text = ""};

		dtm_core_step(&sim.memory, &sim.cfg, &wake, &u);
		dtm_core_step(&sim.memory, &sim.cfg, &reply, &u);
		assert_int_equal(sim.memory.status, DTM_FAILED);
		assert_int_equal(u.alert_op, 1);
		assert_int_equal(u.alert_failures, 1);
	}
}

/* --- the row of a coordinator that died between two writes. --- */
static void
failed_action_without_abort_is_recovered(void **state)
{
	Sim			sim;

	(void) state;
	sim_init(&sim, DTM_SAGA, 1);
	sim_start(&sim, true);
	sim.stored_ops[1].status = DTM_BRANCH_FAILED;
	sim_wake(&sim);
	assert_int_equal(sim.stored.status, DTM_ABORTING);
	assert_string_equal(sim.stored.reason, "fail message lost");
	assert_true(sim.in_flight[0]);
}

/* --- what could have been started is compensated, nothing else. --- */
static void
recovery_compensates_what_may_have_started(void **state)
{
	Sim			sim;

	(void) state;
	sim_init(&sim, DTM_SAGA, 3);
	sim_start(&sim, true);
	sim.stored.status = DTM_ABORTING;
	sim.stored_ops[1].status = DTM_BRANCH_SUCCEED;
	sim_wake(&sim);
	assert_true(sim.in_flight[2]);	/* 02 compensate */
	assert_false(sim.in_flight[0]);
	sim_reply(&sim, 2, DTM_RESULT_SUCCESS, "");
	assert_true(sim.in_flight[0]);	/* 01 compensate */
	sim_reply(&sim, 0, DTM_RESULT_SUCCESS, "");
	assert_int_equal(sim.stored.status, DTM_FAILED);
	assert_int_equal(sim.stored_ops[4].status, DTM_BRANCH_PREPARED);
}

/* --- A long or multi-byte reason is cut, on a character. --- */
static void
long_reasons_are_cut(void **state)
{
	Sim			sim;
	char		text[3 * DTM_REASON_SIZE];

	(void) state;
	sim_init(&sim, DTM_SAGA, 1);
	sim_start(&sim, true);
	sim_wake(&sim);
	text[0] = 'x';
	for (size_t i = 1; i + 2 < sizeof(text); i += 2)
		memcpy(text + i, "\xc3\xa9", 3);
	sim_reply(&sim, 1, DTM_RESULT_FAILURE, text);
	assert_true(strlen(sim.stored.reason) >= DTM_REASON_SIZE - 4);
	assert_true(strlen(sim.stored.reason) < DTM_REASON_SIZE);
	assert_int_equal((unsigned char) sim.stored.reason[strlen(sim.stored.reason) - 1],
					 0xa9);
}

/* --- a FAILURE at the end of the body is not said twice. --- */
static void
failure_is_said_once(void **state)
{
	Sim			sim;

	(void) state;
	sim_init(&sim, DTM_SAGA, 1);
	sim_start(&sim, true);
	sim_wake(&sim);
	sim_reply(&sim, 1, DTM_RESULT_FAILURE, "balance too low. FAILURE");
	assert_string_equal(sim.stored.reason,
						"url:http://busi return failed: balance too low. FAILURE");
}

/* --- MS-10, CS-03: a delay counts from the submit, whoever repeats it. --- */
static void
delay_counts_from_the_submit(void **state)
{
	Sim			sim;

	(void) state;
	sim_init(&sim, DTM_MSG, 2);
	sim.memory.delay = 60 * SEC;
	sim.memory_ops[0].has_url = false;
	sim_start(&sim, false);
	sim.now = 5 * SEC;
	assert_int_equal(sim_request(&sim, DTM_EVENT_SUBMIT, NULL), DTM_ACCEPTED);
	assert_true(sim.stored.next_time == 65 * SEC);
	sim.now = 10 * SEC;
	assert_int_equal(sim_request(&sim, DTM_EVENT_SUBMIT, NULL), DTM_ACCEPTED);
	assert_true(sim.stored.next_time == 65 * SEC);
	sim_wake(&sim);
	assert_false(sim.in_flight[1]);
	assert_int_equal(sim.stored_ops[0].status, DTM_BRANCH_PREPARED);
	/* an operator who says now means now */
	assert_int_equal(sim_request(&sim, DTM_EVENT_RETRY_NOW, NULL), DTM_ACCEPTED);
	assert_true(sim.stored.next_time == 10 * SEC);
	sim_wake(&sim);
	assert_true(sim.in_flight[1]);

	/* the query-back is a submit, too */
	sim_init(&sim, DTM_MSG, 1);
	sim.memory.delay = 60 * SEC;
	sim_start(&sim, false);
	sim.now = 40 * SEC;
	sim_wake(&sim);
	assert_true(sim.in_flight[SIM_MAX_OPS]);
	sim_reply(&sim, DTM_CALL_QUERY, DTM_RESULT_SUCCESS, "");
	assert_int_equal(sim.stored.status, DTM_SUBMITTED);
	assert_true(sim.stored.next_time == 100 * SEC);
	assert_false(sim.in_flight[0]);
	sim.now = 100 * SEC;
	sim_wake(&sim);
	assert_true(sim.in_flight[0]);
}

/* --- SG-05: a repeated submit, or dtm_retry_now, is due at once. --- */
static void
repeated_submit_is_due(void **state)
{
	static const DtmEventKind kinds[] = {DTM_EVENT_SUBMIT, DTM_EVENT_RETRY_NOW};

	(void) state;
	for (int i = 0; i < 2; i++)
	{
		Sim			sim;

		sim_init(&sim, DTM_SAGA, 1);
		sim_start(&sim, true);
		sim_wake(&sim);
		sim_reply(&sim, 1, DTM_RESULT_TEMPORARY, "");
		assert_true(sim.stored.next_time == 20 * SEC);
		sim.now = 5 * SEC;
		sim_wake(&sim);
		assert_false(sim.in_flight[1]);
		sim_request(&sim, kinds[i], NULL);
		assert_true(sim.stored.next_time == 5 * SEC);
		sim_wake(&sim);
		assert_true(sim.in_flight[1]);
	}
}

/* --- dtm_retry_now on what can't go on yet does not keep it due. --- */
static void
retry_now_of_a_prepared_one_waits_again(void **state)
{
	Sim			sim;

	(void) state;
	sim_init(&sim, DTM_SAGA, 1);
	sim_start(&sim, false);
	sim_request(&sim, DTM_EVENT_RETRY_NOW, NULL);
	sim_wake(&sim);
	assert_true(sim.stored.next_time == DTM_TIME_NEVER);
	for (int type = DTM_SAGA; type <= DTM_MSG; type++)
	{
		if (type != DTM_SAGA && type != DTM_MSG)
			continue;
		sim_init(&sim, (DtmTransType) type, 1);
		sim.memory.has_query_url = true;
		sim_start(&sim, false);
		sim_request(&sim, DTM_EVENT_RETRY_NOW, NULL);
		sim_wake(&sim);
		assert_true(sim.stored.next_time == 35 * SEC);
		assert_false(sim.in_flight[SIM_MAX_OPS]);
	}
}

/* --- A submit, or an operator, while a saga is asked for: the answer adds nothing. --- */
static void
a_query_of_a_saga_that_comes_too_late(void **state)
{
	static const DtmResult results[] = {DTM_RESULT_SUCCESS, DTM_RESULT_FAILURE, DTM_RESULT_TEMPORARY};
	Sim			sim;

	(void) state;
	for (int i = 0; i < 3; i++)
	{
		sim_init(&sim, DTM_SAGA, 1);
		sim.memory.has_query_url = true;
		sim_start(&sim, false);
		sim.now = 35 * SEC;
		sim_wake(&sim);
		assert_true(sim.in_flight[SIM_MAX_OPS]);
		assert_int_equal(sim_request(&sim, DTM_EVENT_SUBMIT, NULL), DTM_ACCEPTED);
		sim_reply(&sim, DTM_CALL_QUERY, results[i], "");
		assert_int_equal(sim.stored.status, DTM_SUBMITTED);
		assert_true(sim.in_flight[1]);
		assert_int_equal(sim.stored.failures, 0);
		sim_reply(&sim, 1, DTM_RESULT_SUCCESS, "");
		assert_int_equal(sim.stored.status, DTM_SUCCEED);
	}
}

/* --- A coordinator that has just loaded a row respects its schedule. --- */
static void
loaded_rows_wait_for_their_time(void **state)
{
	Sim			sim;

	(void) state;
	sim_init(&sim, DTM_SAGA, 1);
	sim_start(&sim, true);
	sim.stored.next_time = 10 * SEC;
	sim_wake(&sim);
	assert_false(sim.in_flight[1]);
	sim.now = 10 * SEC;
	sim_wake(&sim);
	assert_true(sim.in_flight[1]);

	sim_init(&sim, DTM_MSG, 1);
	sim_start(&sim, false);
	sim.stored.next_time = 50 * SEC;
	sim.now = 40 * SEC;
	sim_wake(&sim);
	assert_false(sim.in_flight[SIM_MAX_OPS]);
}

/* --- An abort is not held up by what an action waits for. --- */
static void
abort_does_not_wait(void **state)
{
	Sim			sim;

	(void) state;
	sim_init(&sim, DTM_SAGA, 2);
	sim.memory.concurrent = true;
	sim_start(&sim, true);
	sim_wake(&sim);
	sim_reply(&sim, 1, DTM_RESULT_TEMPORARY, "");
	sim_reply(&sim, 3, DTM_RESULT_FAILURE, "");
	assert_true(sim.in_flight[0] && sim.in_flight[2]);
	assert_true(sim.stored.next_time == 0);

	/* and a process that has loaded it in the meantime does the same */
	sim_init(&sim, DTM_SAGA, 1);
	sim_start(&sim, true);
	sim.stored.next_time = 100 * SEC;
	sim_wake(&sim);
	sim_reply(&sim, 1, DTM_RESULT_FAILURE, "");
	assert_true(sim.in_flight[0]);
}

/* --- A later reply of the same round does not move the schedule. --- */
static void
one_schedule_a_round(void **state)
{
	Sim			sim;

	(void) state;
	sim_init(&sim, DTM_SAGA, 2);
	sim.memory.concurrent = true;
	sim_start(&sim, true);
	sim_wake(&sim);
	sim_reply(&sim, 1, DTM_RESULT_TEMPORARY, "");
	assert_true(sim.stored.next_time == 20 * SEC);
	sim.now = 5 * SEC;
	sim_reply(&sim, 3, DTM_RESULT_ONGOING, "");
	assert_true(sim.stored.next_time == 20 * SEC);
	sim.now = 20 * SEC;
	sim_wake(&sim);
	assert_true(sim.in_flight[1] && sim.in_flight[3]);
}

/* --- A second reply of an op that has ended changes nothing. --- */
static void
second_replies_are_ignored(void **state)
{
	Sim			sim;

	(void) state;
	sim_init(&sim, DTM_SAGA, 2);
	sim_start(&sim, true);
	sim_wake(&sim);
	sim_reply(&sim, 1, DTM_RESULT_SUCCESS, "");
	sim_reply(&sim, 1, DTM_RESULT_FAILURE, "");
	assert_int_equal(sim.stored.status, DTM_SUBMITTED);
	assert_int_equal(sim.stored_ops[1].status, DTM_BRANCH_SUCCEED);
}

/* --- a success that comes after the abort does not widen it. --- */
static void
late_replies_do_not_widen_the_abort(void **state)
{
	Sim			sim;

	(void) state;
	/* 01 fails while 02, which 03 comes after, is under way */
	sim_init(&sim, DTM_SAGA, 3);
	sim_order(&sim, 2, 1);
	sim_start(&sim, true);
	sim_wake(&sim);
	assert_true(sim.in_flight[1] && sim.in_flight[3]);
	sim_reply(&sim, 1, DTM_RESULT_FAILURE, "");
	assert_true(sim.in_flight[0]);
	assert_false(sim.in_flight[2]); /* waits for the action's reply */
	sim_reply(&sim, 3, DTM_RESULT_SUCCESS, "");
	assert_true(sim.in_flight[2]);
	assert_false(sim.in_flight[4] || sim.in_flight[5]);
	sim_reply(&sim, 0, DTM_RESULT_SUCCESS, "");
	sim_reply(&sim, 2, DTM_RESULT_SUCCESS, "");
	assert_int_equal(sim.stored.status, DTM_FAILED);
	assert_int_equal(sim.stored_ops[3].status, DTM_BRANCH_PREPARED);
	assert_int_equal(sim.stored_ops[4].status, DTM_BRANCH_PREPARED);
}

/* --- re-runs are counted in the row, and are made at once. --- */
static void
retry_limit_is_stored(void **state)
{
	Sim			sim;

	(void) state;
	sim_init(&sim, DTM_SAGA, 1);
	sim.memory.retry_limit = 2;
	sim_start(&sim, true);
	sim_wake(&sim);
	sim.now = 5 * SEC;
	sim_reply(&sim, 1, DTM_RESULT_TEMPORARY, "");
	assert_true(sim.in_flight[1]);
	assert_int_equal(sim.stored.retries, 1);
	assert_true(sim.stored.next_time == 5 * SEC);
	sim_die(&sim);
	sim_wake(&sim);
	sim_reply(&sim, 1, DTM_RESULT_ONGOING, "");
	assert_int_equal(sim.stored.retries, 2);
	sim_reply(&sim, 1, DTM_RESULT_TEMPORARY, "");
	assert_int_equal(sim.stored.status, DTM_ABORTING);
}

/* --- Steps without URLs that wait for later ones need no second wake. --- */
static void
chains_of_empty_urls_end_at_once(void **state)
{
	Sim			sim;

	(void) state;
	sim_init(&sim, DTM_SAGA, 3);
	sim_order(&sim, 0, 1);
	sim_order(&sim, 1, 2);
	for (int i = 0; i < 6; i++)
		sim.memory_ops[i].has_url = false;
	sim_start(&sim, true);
	sim_wake(&sim);
	assert_int_equal(sim.stored.status, DTM_SUCCEED);

	sim_init(&sim, DTM_SAGA, 3);
	sim_order(&sim, 0, 1);
	sim_order(&sim, 1, 2);
	for (int i = 0; i < 6; i++)
		sim.memory_ops[i].has_url = i == 1;
	sim_start(&sim, true);
	sim_wake(&sim);
	sim_reply(&sim, 1, DTM_RESULT_FAILURE, "");
	assert_int_equal(sim.stored.status, DTM_FAILED);
}

/* --- Jitter comes early by an eighth at most; ONGOING alerts nobody. --- */
static void
jitter_alerts_and_counters_keep_their_bounds(void **state)
{
	Sim			sim;
	int			calls[SIM_MAX_OPS + 1];
	DtmUpdate	u = {.calls = calls};
	DtmEvent	reply = {.kind = DTM_EVENT_REPLY, .op = 1,
	.result = DTM_RESULT_TEMPORARY, .jitter = UINT32_MAX};

	(void) state;
	sim_init(&sim, DTM_SAGA, 1);
	sim_start(&sim, true);
	dtm_core_step(&sim.memory, &sim.cfg, &reply, &u);
	assert_true(sim.memory.next_time >= 20 * SEC * 7 / 8);
	assert_true(sim.memory.next_time < 20 * SEC * 9 / 10);

	sim.memory.failures = UINT16_MAX;
	sim.memory.round_failed = false;
	dtm_core_step(&sim.memory, &sim.cfg, &reply, &u);
	assert_int_equal(sim.memory.failures, UINT16_MAX);
	assert_int_equal(u.alert_op, 1);

	sim.memory.next_time = 0;
	reply.result = DTM_RESULT_ONGOING;
	dtm_core_step(&sim.memory, &sim.cfg, &reply, &u);
	assert_int_equal(u.alert_op, DTM_NO_ALERT);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_round_trip),
		cmocka_unit_test(replies_are_classified),
		cmocka_unit_test(status_sets_are_read),
		cmocka_unit_test(rules_go_before_what_is_usual),
		cmocka_unit_test(retry_after_is_read),
		cmocka_unit_test(retries_wait_as_asked),
		cmocka_unit_test(interval_backs_off_to_the_cap),
		cmocka_unit_test(sums_of_times_saturate),
		cmocka_unit_test(cyclic_orders_are_found),
		cmocka_unit_test(requests_follow_the_state_table),
		cmocka_unit_test(every_state_takes_every_event),
		cmocka_unit_test(saga_traces),
		cmocka_unit_test(concurrent_saga_traces),
		cmocka_unit_test(msg_traces),
		cmocka_unit_test(twophase_traces),
		cmocka_unit_test(workflow_traces),
		cmocka_unit_test(local_actions_are_undone_only_if_done),
		cmocka_unit_test(branches_are_registered_while_prepared),
		cmocka_unit_test(alerts_after_the_limit),
		cmocka_unit_test(failed_action_without_abort_is_recovered),
		cmocka_unit_test(recovery_compensates_what_may_have_started),
		cmocka_unit_test(long_reasons_are_cut),
		cmocka_unit_test(failure_is_said_once),
		cmocka_unit_test(delay_counts_from_the_submit),
		cmocka_unit_test(repeated_submit_is_due),
		cmocka_unit_test(retry_now_of_a_prepared_one_waits_again),
		cmocka_unit_test(a_query_of_a_saga_that_comes_too_late),
		cmocka_unit_test(loaded_rows_wait_for_their_time),
		cmocka_unit_test(abort_does_not_wait),
		cmocka_unit_test(one_schedule_a_round),
		cmocka_unit_test(operators_roll_sagas_back),
		cmocka_unit_test(a_word_stands_for_a_reply),
		cmocka_unit_test(late_successes_keep_their_results),
		cmocka_unit_test(readers_see_the_current_step),
		cmocka_unit_test(ongoing_is_remembered_until_a_success),
		cmocka_unit_test(edits_are_tried_at_once),
		cmocka_unit_test(second_replies_are_ignored),
		cmocka_unit_test(late_replies_do_not_widen_the_abort),
		cmocka_unit_test(retry_limit_is_stored),
		cmocka_unit_test(chains_of_empty_urls_end_at_once),
		cmocka_unit_test(jitter_alerts_and_counters_keep_their_bounds),
	};

	return cmocka_run_group_tests_name("core", tests, NULL, NULL);
}
