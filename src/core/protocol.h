/*
 * protocol.h
 *		What core.c and the protocols (saga.c, msg.c, twophase.c,
 *		workflow.c) are to each
 *		other.
 *
 * Private to core.
 */
#ifndef DTM_PROTOCOL_H
#define DTM_PROTOCOL_H

#include "core.h"

/* One protocol: the part of the rules that depends on trans_type. */
typedef struct DtmProtocol
{
	/* When a transaction that has just been prepared is looked at first. */
	DtmTime		(*prepared_until) (const DtmTrans *t, const DtmConfig *cfg);

	/*
	 * Starts whatever can start now, and moves the status on where nothing is
	 * left to do.  Must be harmless to repeat.
	 */
	void		(*advance) (DtmTrans *t, const DtmConfig *cfg,
							const DtmEvent *ev, DtmUpdate *u);

	/*
	 * Takes the reply of a call; "running" is cleared already, and op is one
	 * that has not ended yet, or DTM_CALL_QUERY.
	 */
	void		(*reply) (DtmTrans *t, const DtmConfig *cfg,
						  const DtmEvent *ev, DtmUpdate *u);

	/*
	 * Takes a caller's submit; NULL for the common rule: a prepared one
	 * becomes submitted, a submitted one goes on.
	 */
	DtmReject	(*submit) (DtmTrans *t, const DtmEvent *ev, DtmUpdate *u);

	/* Takes a caller's abort of a prepared transaction. */
	DtmReject	(*abort) (DtmTrans *t, const DtmEvent *ev, DtmUpdate *u);
} DtmProtocol;

extern const DtmProtocol dtm_saga_protocol;
extern const DtmProtocol dtm_msg_protocol;
extern const DtmProtocol dtm_twophase_protocol;
extern const DtmProtocol dtm_workflow_protocol;

/* Moves on to another status; next_time becomes now, or never if it's final. */
extern void dtm_core_enter(DtmTrans *t, DtmStatus status, DtmTime now,
						   DtmUpdate *u);

/* prepared -> submitted, by whoever decides it; the delay begins. */
extern void dtm_core_submit(DtmTrans *t, DtmTime now, DtmUpdate *u);

/*
 * When a prepared transaction that is not submitted is taken for lost; the
 * prepared_until of those for which that matters.
 */
extern DtmTime dtm_core_overdue_at(const DtmTrans *t, const DtmConfig *cfg);

/* Sets rollback_reason, cut to fit on a UTF-8 boundary. */
extern void dtm_core_set_reason(DtmTrans *t, const char *text);

/* Marks an op as done, and the transaction as making progress. */
extern void dtm_core_branch_succeeded(DtmTrans *t, DtmBranchOp *op,
									  DtmUpdate *u);

/*
 * Schedules the next try after a non-final reply.  "waiting" is the flag of
 * what was called.
 */
extern void dtm_core_retry_later(DtmTrans *t, const DtmConfig *cfg,
								 const DtmEvent *ev, bool *waiting,
								 DtmUpdate *u);

/* Asks for a call, unless it is under way or has to wait. */
extern void dtm_core_call_op(DtmTrans *t, int op, DtmUpdate *u);

/*
 * "Timeout after <n> seconds" into rollback_reason (§7), of the limit in us; dtm
 * says 0 of one that is configured.
 */
extern void dtm_core_timeout_reason(DtmTrans *t, int64_t limit);

#endif							/* DTM_PROTOCOL_H */
