/*
 * sim.h
 *		A coordinator and its storage in virtual time, for tests of core.
 *
 * Keeps two copies of one global transaction, the stored one and the one in
 * memory, and does with dtm_core_step()'s updates what the real coordinator
 * does: store first, then call.  A test decides what the branches answer and
 * when the coordinator dies.
 */
#ifndef SIM_H
#define SIM_H

#include "core.h"

#define SIM_MAX_STEPS	12
#define SIM_MAX_OPS		(2 * SIM_MAX_STEPS)
#define SIM_MAX_PRE		(SIM_MAX_STEPS * SIM_MAX_STEPS)

typedef struct Sim Sim;

struct Sim
{
	DtmConfig	cfg;
	DtmTime		now;
	uint32_t	jitter;
	DtmTrans	memory;
	DtmBranchOp memory_ops[SIM_MAX_OPS];
	char		memory_reason[DTM_REASON_SIZE];
	DtmTrans	stored;
	DtmBranchOp stored_ops[SIM_MAX_OPS];
	char		stored_reason[DTM_REASON_SIZE];
	int			version;		/* of the stored copy */
	int			loaded_version; /* of the stored copy when memory was read */
	bool		loaded;
	DtmStepPolicy policy[SIM_MAX_STEPS];
	uint16_t	start[SIM_MAX_STEPS + 1];
	uint16_t	pre[SIM_MAX_PRE];
	bool		keeps;			/* the last event's result is to be kept */
	bool		in_flight[SIM_MAX_OPS + 1]; /* [SIM_MAX_OPS]: the query */
	void		(*on_call) (Sim *sim, int op);	/* a call is sent */
	void		(*on_store) (Sim *sim); /* the row has been written */
	bool		(*crash) (Sim *sim);	/* dies at this point? */
	void	   *arg;			/* the test's */
};

/* A transaction with every URL set, not yet started; configured as dtm is. */
extern void sim_init(Sim *sim, DtmTransType type, int nsteps);

/* Makes step come after pre; all of a step's before the next step's. */
extern void sim_order(Sim *sim, int step, int pre);

/* Writes the transaction for the first time. */
extern void sim_start(Sim *sim, bool submitted);

/*
 * The coordinator: loads the row if it isn't loaded, applies the event, stores
 * and calls.  Returns false if it died on the way.
 */
extern bool sim_wake(Sim *sim);
extern bool sim_reply(Sim *sim, int op, DtmResult result, const char *text);

/* The same of a reply of which there is more to say. */
extern bool sim_answer(Sim *sim, DtmEvent ev);

/* The coordinator: replies for ops that have waited in vain to be completed. */
extern bool sim_expire(Sim *sim);

/* A SQL caller completes an op of the stored row. */
extern DtmReject sim_complete(Sim *sim, int op, DtmResult result);

/* A SQL caller's event on the stored row; sim_steer() sets its time. */
extern DtmReject sim_request(Sim *sim, DtmEventKind kind, const char *reason);
extern DtmReject sim_steer(Sim *sim, DtmEvent ev);

/* What the store does when the one before it in its lane has ended. */
extern void sim_release(Sim *sim);

/* Forgets all that isn't stored, calls under way included. */
extern void sim_die(Sim *sim);

extern int	sim_slot(int op);	/* index in in_flight */

#endif
