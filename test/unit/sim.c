/*
 * sim.c
 *		See sim.h.
 */
#include "sim.h"

#include <assert.h>
#include <string.h>

void
sim_init(Sim *sim, DtmTransType type, int nsteps)
{
	assert(nsteps <= SIM_MAX_STEPS);
	memset(sim, 0, sizeof(*sim));
	sim->cfg.retry_interval = 10 * DTM_USEC_PER_SEC;
	sim->cfg.retry_interval_max = 3600 * DTM_USEC_PER_SEC;
	sim->cfg.timeout_to_fail = 35 * DTM_USEC_PER_SEC;
	sim->cfg.alert_retry_limit = 3;
	sim->memory.type = type;
	sim->memory.nsteps = nsteps;
	sim->memory.nops = dtm_core_ops_of(type, nsteps);
	sim->memory.ops = sim->memory_ops;
	sim->memory.reason = "";
	sim->memory.has_query_url = type == DTM_MSG || type == DTM_WORKFLOW;
	dtm_core_lay_out(&sim->memory);
	for (int i = 0; i < sim->memory.nops; i++)
		sim->memory_ops[i].has_url = type != DTM_WORKFLOW;
}

void
sim_order(Sim *sim, int step, int pre)
{
	sim->memory.concurrent = true;
	sim->memory.orders.start = sim->start;
	sim->memory.orders.pre = sim->pre;
	sim->pre[sim->start[step + 1]] = (uint16_t) pre;
	for (int i = step + 1; i <= sim->memory.nsteps; i++)
		sim->start[i]++;
}

/* A reason that is new is in the update, which goes away. */
static void
keep_reason(DtmTrans *t, char space[DTM_REASON_SIZE])
{
	memmove(space, t->reason, strlen(t->reason) + 1);
	t->reason = space;
}

static void
store(Sim *sim)
{
	keep_reason(&sim->memory, sim->memory_reason);
	sim->stored = sim->memory;
	sim->stored.ops = sim->stored_ops;
	sim->stored.reason = sim->stored_reason;
	memcpy(sim->stored_ops, sim->memory_ops, sizeof(sim->stored_ops));
	memcpy(sim->stored_reason, sim->memory_reason, sizeof(sim->stored_reason));
	sim->version++;
	sim->loaded_version = sim->version;
	if (sim->on_store)
		sim->on_store(sim);
}

static void
load(Sim *sim)
{
	DtmBranchOp before[SIM_MAX_OPS];
	bool		query_running = sim->memory.query_running;

	memcpy(before, sim->memory_ops, sizeof(before));
	sim->memory = sim->stored;
	sim->memory.ops = sim->memory_ops;
	memcpy(sim->memory_ops, sim->stored_ops, sizeof(sim->memory_ops));
	keep_reason(&sim->memory, sim->memory_reason);
	dtm_core_loaded(&sim->memory, sim->now);
	if (sim->loaded)
	{
		/* read again: calls under way stay so */
		for (int i = 0; i < sim->memory.nops; i++)
			sim->memory_ops[i].running = before[i].running;
		sim->memory.query_running = query_running;
	}
	sim->loaded = true;
	sim->loaded_version = sim->version;
}

void
sim_start(Sim *sim, bool submitted)
{
	dtm_core_start(&sim->memory, &sim->cfg, submitted, sim->now);
	store(sim);
}

int
sim_slot(int op)
{
	return op == DTM_CALL_QUERY ? SIM_MAX_OPS : op;
}

void
sim_die(Sim *sim)
{
	sim->loaded = false;
	memset(sim->in_flight, 0, sizeof(sim->in_flight));
}

static bool
dies(Sim *sim)
{
	if (sim->crash == NULL || !sim->crash(sim))
		return false;
	sim_die(sim);
	return true;
}

static bool
step(Sim *sim, DtmEvent *ev)
{
	int			calls[SIM_MAX_OPS + 1];
	DtmUpdate	u = {.calls = calls};

	ev->now = sim->now;
	ev->jitter = sim->jitter;
	if (!sim->loaded)
		load(sim);
	dtm_core_step(&sim->memory, &sim->cfg, ev, &u);
	sim->keeps = u.keeps;
	keep_reason(&sim->memory, sim->memory_reason);
	if (dies(sim))
		return false;
	if (u.changed)
	{
		if (sim->loaded_version != sim->version)
		{
			/* somebody changed the row: what we decided does not hold */
			bool		was_running[SIM_MAX_OPS] = {false};

			for (int i = 0; i < sim->memory.nops; i++)
				was_running[i] = sim->in_flight[i];
			load(sim);
			for (int i = 0; i < sim->memory.nops; i++)
				sim->memory_ops[i].running = was_running[i];
			sim->memory.query_running = sim->in_flight[SIM_MAX_OPS];
			return sim_wake(sim);
		}
		store(sim);
		if (dies(sim))
			return false;
	}
	for (int i = 0; i < u.ncalls; i++)
	{
		assert(!sim->in_flight[sim_slot(u.calls[i])]);
		sim->in_flight[sim_slot(u.calls[i])] = true;
		if (sim->on_call)
			sim->on_call(sim, u.calls[i]);
		if (dies(sim))
			return false;
	}
	return true;
}

bool
sim_wake(Sim *sim)
{
	DtmEvent	ev = {.kind = DTM_EVENT_WAKE};

	if (sim->loaded && sim->loaded_version != sim->version)
		load(sim);
	return step(sim, &ev);
}

bool
sim_reply(Sim *sim, int op, DtmResult result, const char *text)
{
	DtmEvent	ev = {.kind = DTM_EVENT_REPLY, .op = op, .result = result,
	.url = "http://busi", .text = text};

	return sim_answer(sim, ev);
}

bool
sim_answer(Sim *sim, DtmEvent ev)
{
	ev.kind = DTM_EVENT_REPLY;
	if (ev.url == NULL)
		ev.url = "http://busi";
	if (ev.text == NULL)
		ev.text = "";
	sim->in_flight[sim_slot(ev.op)] = false;
	return step(sim, &ev);
}

bool
sim_expire(Sim *sim)
{
	if (!sim->loaded)
		load(sim);
	for (int op = 0; op < sim->memory.nops; op++)
		if (dtm_core_is_overdue(&sim->memory, op, sim->now) &&
			!sim_reply(sim, op, DTM_RESULT_TEMPORARY, "not completed"))
			return false;
	return true;
}

DtmReject
sim_request(Sim *sim, DtmEventKind kind, const char *reason)
{
	DtmEvent	ev = {.kind = kind, .text = reason};

	return sim_steer(sim, ev);
}

DtmReject
sim_steer(Sim *sim, DtmEvent ev)
{
	int			calls[SIM_MAX_OPS + 1];
	DtmUpdate	u = {.calls = calls};

	ev.now = sim->now;
	dtm_core_loaded(&sim->stored, sim->now);
	dtm_core_step(&sim->stored, &sim->cfg, &ev, &u);
	keep_reason(&sim->stored, sim->stored_reason);
	assert(u.ncalls == 0);
	if (u.changed)
	{
		sim->version++;
		if (sim->on_store)
			sim->on_store(sim);
	}
	return u.reject;
}

void
sim_release(Sim *sim)
{
	sim->stored.held = false;
	if (sim->stored.status == DTM_SUBMITTED && !sim->stored.parked)
		sim->stored.next_time = sim->now;
	sim->version++;
	if (sim->on_store)
		sim->on_store(sim);
}

DtmReject
sim_complete(Sim *sim, int op, DtmResult result)
{
	DtmEvent	ev = {.kind = DTM_EVENT_COMPLETE, .op = op, .result = result,
	.url = "http://busi", .text = "completed"};

	return sim_steer(sim, ev);
}
