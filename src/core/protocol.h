/*
 * protocol.h
 *		The interface between core.c and the protocols (saga.c, msg.c,
 *		twophase.c, workflow.c), and what they share.
 *
 * Private to core.
 */
#ifndef DTM_PROTOCOL_H
#define DTM_PROTOCOL_H

#include "core.h"

/* When an op is called, as far as the stored statuses tell. */
typedef enum DtmTurn
{
	DTM_TURN_NEVER,
	DTM_TURN_NOW,
	DTM_TURN_LATER
} DtmTurn;

/* A protocol: the rules that depend on trans_type. */
typedef struct DtmProtocol
{
	/* When a transaction that has just been prepared is processed first. */
	DtmTime		(*prepared_until) (const DtmTrans *t, const DtmConfig *cfg);

	/*
	 * Starts the calls that can start now, and changes the status when
	 * nothing is left to do.  Must be harmless to repeat.
	 */
	void		(*advance) (DtmTrans *t, const DtmConfig *cfg,
							const DtmEvent *ev, DtmUpdate *u);

	/*
	 * Applies the reply of a call. "running" is already cleared; op is an op
	 * that has not ended yet, or DTM_CALL_QUERY.
	 */
	void		(*reply) (DtmTrans *t, const DtmConfig *cfg,
						  const DtmEvent *ev, DtmUpdate *u);

	/*
	 * Applies a caller's submit.  NULL: the common rule, by which a prepared
	 * transaction becomes submitted, and a submitted one continues.
	 */
	DtmReject	(*submit) (DtmTrans *t, const DtmEvent *ev, DtmUpdate *u);

	/* Applies a caller's abort. */
	DtmReject	(*abort) (DtmTrans *t, const DtmEvent *ev, DtmUpdate *u);

	/*
	 * May somebody's word stand for the reply of this op, which has not
	 * ended? NULL: never.
	 */
	DtmReject	(*may_skip) (const DtmTrans *t, const DtmBranchOp *op,
							 DtmResult result);

	/*
	 * The turn of an op that is prepared and has a URL.  NULL: nobody
	 * completes the ops of this type.
	 */
	DtmTurn		(*turn_of) (const DtmTrans *t, int op);
} DtmProtocol;

extern const DtmProtocol dtm_saga_protocol;
extern const DtmProtocol dtm_msg_protocol;
extern const DtmProtocol dtm_twophase_protocol;
extern const DtmProtocol dtm_workflow_protocol;

/*
 * Changes the status; next_time becomes now, or never if the status is final.
 */
extern void dtm_core_enter(DtmTrans *t, DtmStatus status, DtmTime now,
						   DtmUpdate *u);

/*
 * From prepared to submitted, by a caller or the query-back; the delay starts.
 */
extern void dtm_core_submit(DtmTrans *t, DtmTime now, DtmUpdate *u);

/*
 * When a prepared transaction that is not submitted times out; prepared_until
 * of the protocols that have this time-out.
 */
extern DtmTime dtm_core_overdue_at(const DtmTrans *t, const DtmConfig *cfg);

/*
 * A prepared transaction with a query URL: not before "until", asks whether it is
 * to be submitted.
 */
extern void dtm_core_query_back(DtmTrans *t, DtmTime until, const DtmEvent *ev,
								DtmUpdate *u);

/*
 * The reply: success submits a prepared transaction, FAILURE ends it, of which
 * nothing has been called; after any other it is asked again.
 */
extern void dtm_core_query_reply(DtmTrans *t, const DtmConfig *cfg,
								 const DtmEvent *ev, DtmUpdate *u);

/*
 * may_skip of the protocols whose ops are called until they succeed: whether
 * this one is called in the current status.
 */
extern DtmReject dtm_core_may_skip(bool called, DtmResult result);

/*
 * When a submitted transaction that its lane holds is processed next: when a saga
 * times out, or never.
 */
extern DtmTime dtm_core_held_until(const DtmTrans *t);

/* Sets rollback_reason, truncated at a UTF-8 boundary. */
extern void dtm_core_set_reason(DtmTrans *t, const char *text, DtmUpdate *u);

/* Sets the status of an op to succeed, and resets the count of failures. */
extern void dtm_core_branch_succeeded(DtmTrans *t, DtmBranchOp *op,
									  DtmUpdate *u);

/*
 * Schedules the next attempt after a non-final reply. "waiting" is the flag of
 * the op or the query-back.
 */
extern void dtm_core_retry_later(DtmTrans *t, const DtmConfig *cfg,
								 const DtmEvent *ev, bool *waiting,
								 DtmUpdate *u);

/*
 * Counts a reply that is none of success, and says whether the op is not to be
 * called again: by its policy, or because it cannot be called.  "cause" is then
 * set.
 */
extern bool dtm_core_is_exhausted(DtmTrans *t, const DtmEvent *ev,
								  DtmCause *cause, DtmUpdate *u);

/*
 * What becomes of an exhausted op, but for the action of a saga that aborts: a
 * step of a message is left out, if its policy says so; else the transaction is
 * parked.
 */
extern void dtm_core_give_up(DtmTrans *t, const DtmEvent *ev, DtmCause cause,
							 DtmUpdate *u);

/* dtm_core_retry_later(), or dtm_core_give_up() where it is exhausted. */
extern void dtm_core_not_done(DtmTrans *t, const DtmConfig *cfg,
							  const DtmEvent *ev, bool *waiting, DtmUpdate *u);

/* The policy of an op's step; NULL: none. */
extern const DtmStepPolicy *dtm_core_policy_of(const DtmTrans *t, int op);

/* Nothing keeps a parked one any more: it begins anew, and is due. */
extern void dtm_core_unpark(DtmTrans *t, DtmTime now, DtmUpdate *u);

/*
 * True: after this reply, the op waits to be completed, and need not be called
 * later.
 */
extern bool dtm_core_awaits(DtmTrans *t, const DtmEvent *ev, DtmUpdate *u);

/* An op is not called before a time, whatever becomes of others. */
extern void dtm_core_wait_until(DtmTrans *t, int op, DtmTime until, DtmUpdate *u);

/*
 * Ops that wait for a time of their own: they are waiting; none does any more;
 * next_time is theirs if need be.
 */
extern void dtm_core_hold_ops(DtmTrans *t, DtmTime now);
extern void dtm_core_forget_held(DtmTrans *t);
extern void dtm_core_schedule_held(DtmTrans *t, DtmTime now, DtmUpdate *u);

/*
 * Does next_time concern this op alone, or ops that wait for a time of their own?
 * False where there are none of those.
 */
extern bool dtm_core_owns_next_time(const DtmTrans *t, int op, DtmTime now);

/* Applies a caller's COMPLETE. */
extern DtmReject dtm_core_complete(DtmTrans *t, const DtmProtocol *protocol,
								   const DtmConfig *cfg, const DtmEvent *ev,
								   DtmUpdate *u);

/* Requests a call, unless it is in flight or must wait. */
extern void dtm_core_call_op(DtmTrans *t, int op, DtmUpdate *u);

/*
 * "Timeout after <n> seconds" into rollback_reason (§7), of the limit in us; dtm
 * says 0 of one that is configured.
 */
extern void dtm_core_timeout_reason(DtmTrans *t, int64_t limit, DtmUpdate *u);

#endif							/* DTM_PROTOCOL_H */
