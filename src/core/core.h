/*
 * core.h
 *		The rules of dtm's protocols, as a pure state machine.
 *
 * Core decides, and has no effects. dtm_core_step() takes one global
 * transaction and one event, changes the transaction in memory, and returns in
 * a DtmUpdate what its caller must do: whether to write the row, and which
 * branches to call after the row has been written.  Core has no clock (the
 * event contains the time), no memory of its own (the caller provides the
 * arrays) and no I/O, and knows neither PostgreSQL nor libcurl.
 *
 * In all sources, section signs (§) refer to docs/spec/dtm-wire.md, and ids
 * such as SG-02 to rows of docs/spec/dtm-behaviours.md.
 */
#ifndef DTM_CORE_H
#define DTM_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Microseconds since an epoch of the caller's choice. */
typedef int64_t DtmTime;

#define DTM_TIME_NEVER		INT64_MAX

/*
 * The last time that can be stored: of PostgreSQL's timestamptz, as the epoch
 * is that of the callers that there are.  What is due then never is: no clock
 * gets there, and dtm_run_due() does not go by a time that late.
 */
#define DTM_TIME_MAX		INT64_C(9223371331199999999)

#define DTM_USEC_PER_SEC	INT64_C(1000000)

/*
 * The shortest pause between two tries that a transaction's own options can ask
 * for, in us, unless the configured retry_interval is shorter: a branch that
 * keeps failing costs a call and a commit each time.
 */
#define DTM_MIN_RETRY_INTERVAL	INT64_C(100000)

/*
 * Size of rollback_reason in bytes, with its NUL; longer reasons are
 * truncated.
 */
#define DTM_REASON_SIZE		1024

/* Size of the branch id of a step ("01" ... "1000") in bytes, with its NUL. */
#define DTM_BRANCH_ID_SIZE	8

/* Limits of a saga or msg: steps, and pairs in its orders. */
#define DTM_MAX_STEPS		1000
#define DTM_MAX_ORDERS		10000

typedef enum DtmTransType
{
	DTM_SAGA,
	DTM_TCC,
	DTM_XA,
	DTM_MSG,
	DTM_WORKFLOW
} DtmTransType;

typedef enum DtmStatus
{
	DTM_PREPARED,
	DTM_SUBMITTED,
	DTM_ABORTING,
	DTM_SUCCEED,
	DTM_FAILED
} DtmStatus;

typedef enum DtmBranchStatus
{
	DTM_BRANCH_PREPARED,
	DTM_BRANCH_SUCCEED,
	DTM_BRANCH_FAILED
} DtmBranchStatus;

typedef enum DtmOp
{
	DTM_OP_ACTION,
	DTM_OP_COMPENSATE,
	DTM_OP_TRY,
	DTM_OP_CONFIRM,
	DTM_OP_CANCEL,
	DTM_OP_COMMIT,
	DTM_OP_ROLLBACK,
	DTM_OP_MSG					/* the query-back of a prepared msg or saga */
} DtmOp;

/* What a branch's reply means (§6). */
typedef enum DtmResult
{
	DTM_RESULT_SUCCESS,
	DTM_RESULT_FAILURE,			/* permanent failure */
	DTM_RESULT_ONGOING,			/* not finished: call again after the same
								 * interval */
	DTM_RESULT_TEMPORARY,		/* any other: call again, with exponential
								 * back-off */
	DTM_RESULT_PERMANENT		/* dtm itself cannot make the call, and never
								 * will: it is not called again */
} DtmResult;

/* What somebody has said of an op that has not ended: before it was called, but for the last. */
typedef enum DtmCompleted
{
	DTM_COMPLETED_NOT,
	DTM_COMPLETED_OK,
	DTM_COMPLETED_FAILED,
	DTM_COMPLETED_PARKED		/* as failed, for which it is parked: no
								 * response counts until it is resumed */
} DtmCompleted;

/* One op of one branch, in the order of /query's rows. */
typedef struct DtmBranchOp
{
	uint16_t	step;			/* branch it belongs to, from 0 */
	uint8_t		op;				/* DtmOp */
	uint8_t		status;			/* DtmBranchStatus; stored */
	uint16_t	attempts;		/* temporary errors, counted only where there
								 * is a limit; stored */
	uint8_t		completed;		/* DtmCompleted; stored */
	DtmTime		deadline;		/* it has said ONGOING, and is completed until
								 * then or called again; 0: no; stored */
	DtmTime		not_before;		/* its last response has asked not to be
								 * called before then; 0: no; stored */
	bool		has_url;		/* an op without a URL succeeds without a call */
	bool		local;			/* effects and status are one commit */
	bool		running;		/* a call is in flight; not stored */
	bool		waiting;		/* called again at next_time, after a
								 * non-final reply; not stored */
	bool		blocked;		/* scratch space of one dtm_core_step() */
} DtmBranchOp;

/*
 * Which steps must have succeeded before a step of a concurrent saga starts:
 * those of step i are pre[start[i]] ... pre[start[i + 1] - 1].
 */
typedef struct DtmOrders
{
	const uint16_t *start;		/* nsteps + 1 offsets into pre; NULL if none */
	const uint16_t *pre;		/* steps, from 0 */
} DtmOrders;

/* What becomes of a step that is not tried again. */
typedef enum DtmExhausted
{
	DTM_EXHAUSTED_UNSET,		/* action of a saga: abort; any other: park */
	DTM_EXHAUSTED_ABORT,		/* action of a saga: it is rolled back */
	DTM_EXHAUSTED_PARK,			/* it waits for somebody to resume it */
	DTM_EXHAUSTED_DISCARD		/* message: the step is left out */
} DtmExhausted;

/* How one step is retried; 0 where it says nothing. */
typedef struct DtmStepPolicy
{
	int64_t		retry_interval; /* us; first interval of its back-off */
	int32_t		max_attempts;	/* of what it does; 0: no limit */
	int32_t		max_undo_attempts;	/* of what undoes it; 0: no limit */
	DtmExhausted on_exhausted;	/* of what it does; what undoes is parked */
	int64_t		complete_within;	/* us; after ONGOING, it waits so long to
									 * be completed; 0: it is called again */
	bool		completes;		/* completions are kept until its turn */
} DtmStepPolicy;

/* Limits of the numbers of attempts. */
#define DTM_MAX_ATTEMPTS	10000

/* A global transaction. */
typedef struct DtmTrans
{
	DtmTransType type;
	DtmStatus	status;
	DtmTime		created;		/* start of its age */
	DtmTime		next_time;		/* when the coordinator processes it again */
	int64_t		timeout_to_fail;	/* us; 0: the setting, or none */
	int64_t		retry_interval; /* us; 0: the setting */
	int64_t		delay;			/* us from submit to a msg's first action */
	int32_t		retry_limit;	/* saga: immediate re-runs, 0: none */
	bool		concurrent;		/* steps run at the same time */
	bool		has_query_url;	/* msg, saga, workflow: query_prepared is not
								 * empty */
	bool		query_running;	/* a query-back is in flight; not stored */
	bool		query_waiting;	/* as DtmBranchOp.waiting; not stored */
	bool		round_failed;	/* the interval has grown since the last wake;
								 * not stored */
	bool		stopped;		/* it failed because a caller has stopped it;
								 * stored with the outcome */
	bool		parked;			/* nothing is called until it is resumed */
	bool		held;			/* its lane has another one before it: no
								 * action starts */
	bool		asked;			/* some op may have a not_before */
	DtmTime		ongoing_since;	/* the first ONGOING since the last success;
								 * 0: there was none */
	uint16_t	failures;		/* temporary errors since the last success */
	uint16_t	retries;		/* re-runs counted against retry_limit */
	int			nsteps;			/* steps, or registered branches */
	int			nops;
	DtmBranchOp *ops;			/* nops elements */
	DtmOrders	orders;
	const DtmStepPolicy *policy;	/* nsteps elements; NULL: no step has one */
	const char *reason;			/* rollback_reason, in UTF-8 or the encoding
								 * of the event's text; "": none.  Most have
								 * none, so it takes no room here. */
} DtmTrans;

/* Settings that the rules depend on; times are in us. */
typedef struct DtmConfig
{
	int64_t		retry_interval; /* first interval of the back-off */
	int64_t		retry_interval_max; /* its limit */
	int64_t		timeout_to_fail;	/* age at which a prepared msg or saga is
									 * queried */
	int			alert_retry_limit;	/* consecutive failures before an alert */
} DtmConfig;

typedef enum DtmEventKind
{
	/* From the coordinator; these events start calls. */
	DTM_EVENT_WAKE,				/* the row was loaded, or next_time is reached */
	DTM_EVENT_REPLY,			/* a call has ended */
	/* From the coordinator; it starts no calls. */
	DTM_EVENT_BRING_FORWARD,	/* what its retry waits for has come */
	/* From SQL callers; these events change the status, and start no calls. */
	DTM_EVENT_PREPARE,			/* a repeated prepare */
	DTM_EVENT_SUBMIT,
	DTM_EVENT_ABORT,
	DTM_EVENT_REGISTER,			/* may a branch be added? */
	DTM_EVENT_FORCE_STOP,
	DTM_EVENT_RETRY_NOW,
	DTM_EVENT_EDIT,				/* may a step be changed? */
	DTM_EVENT_SKIP,				/* an op counts as called, with this result */
	DTM_EVENT_RESUME,			/* of one that is parked */
	DTM_EVENT_COMPLETE			/* what has become of an op */
} DtmEventKind;

/* "op" of the query-back of a msg or saga, and of a workflow's callback */
#define DTM_CALL_QUERY	(-1)

typedef struct DtmEvent
{
	DtmEventKind kind;
	DtmTime		now;
	uint32_t	jitter;			/* random; 0 gives the full interval */
	/* REPLY, SKIP, COMPLETE */
	int			op;				/* index in ops, or DTM_CALL_QUERY */
	DtmResult	result;			/* SKIP: SUCCESS or FAILURE */
	const char *url;			/* URL that was called, for the reason */

	/*
	 * REPLY: the reply's body or the error; ABORT, FORCE_STOP, SKIP, SUBMIT
	 * of a workflow: the reason, or NULL
	 */
	const char *text;
	bool		succeeded;		/* SUBMIT of a workflow: it has succeeded */
	int64_t		retry_after;	/* REPLY, if not final: us that the branch
								 * asks to wait; 0: it does not */
	bool		said_final;		/* REPLY of FAILURE: somebody has said which
								 * responses are final, so the op is not
								 * called again even if it cannot fail */
	bool		is_outdated;	/* REPLY: of a call that was made before its
								 * step was changed */
	bool		steered;		/* ABORT: by an operator, who may roll back a
								 * saga; clients of the wire may not (§1.3) */
	bool		unparks;		/* COMPLETE: it is parked for this op */
} DtmEvent;

typedef enum DtmReject
{
	DTM_ACCEPTED,
	DTM_REJECT_STATUS,			/* the status does not allow this event (409
								 * of §1.3) */
	DTM_REJECT_TYPE,			/* the trans_type does not allow this event */
	DTM_REJECT_OP,				/* SKIP: the op is not one to be called now */
	DTM_REJECT_RESULT,			/* SKIP: the op cannot fail */
	DTM_REJECT_TURN				/* COMPLETE: the op is not called yet, and its
								 * step keeps no completions */
} DtmReject;

/* What has become of an op that is not called again, though it is not done. */
typedef enum DtmGaveUp
{
	DTM_GAVE_UP_NOTHING,
	DTM_GAVE_UP_PARKED,			/* the transaction is parked */
	DTM_GAVE_UP_DISCARDED		/* a message goes on without it */
} DtmGaveUp;

typedef enum DtmCause
{
	DTM_CAUSE_ATTEMPTS,			/* so many attempts as its policy allows */
	DTM_CAUSE_FAILURE,			/* it has failed permanently */
	DTM_CAUSE_PERMANENT			/* it cannot be called */
} DtmCause;

/* What the caller of dtm_core_step() must do. */
typedef struct DtmUpdate
{
	bool		changed;		/* the row must be written before any call */
	bool		keeps;			/* REPLY: its result is to be kept, unless the
								 * op has one already */
	DtmReject	reject;			/* SQL events only: why nothing was changed */
	int			alert_op;		/* op that failed often enough for an alert,
								 * or DTM_NO_ALERT */
	int			alert_failures; /* how many there were in a row, of that one;
								 * the transaction may be further by now */
	DtmGaveUp	gave_up;		/* what has become of the event's op */
	DtmCause	cause;			/* why, if it was given up */
	int			ncalls;			/* calls to make, in this order */
	int		   *calls;			/* array of the caller with nops + 1 elements:
								 * indexes in ops, or DTM_CALL_QUERY */
	char		reason[DTM_REASON_SIZE];	/* a reason that is new: t->reason
											 * points here, and the caller has
											 * to keep it */
} DtmUpdate;

#define DTM_NO_ALERT	(-2)

/*
 * Sets the first status and schedule of a new transaction, whose type, steps
 * and options are set. "submitted": the status is submitted, not prepared.
 */
extern void dtm_core_start(DtmTrans *t, const DtmConfig *cfg, bool submitted,
						   DtmTime now);

/*
 * The same of one that has failed, to be submitted anew.  A message that has gone on
 * without some steps begins with those: the others have been delivered, and stay so.
 * True: it does, so some ops are not prepared.
 */
extern bool dtm_core_start_again(DtmTrans *t, const DtmConfig *cfg, DtmTime now);

/*
 * Sets the fields that are not stored.  Call it on a transaction that was read
 * from storage, before the first dtm_core_step().
 */
extern void dtm_core_loaded(DtmTrans *t, DtmTime now);

/*
 * Applies one event.  A reply that no longer matters is ignored.  Afterwards,
 * every op in u->calls is marked as running: the caller must either call it
 * and pass a REPLY, or forget the transaction and read it again.
 */
extern void dtm_core_step(DtmTrans *t, const DtmConfig *cfg,
						  const DtmEvent *ev, DtmUpdate *u);

/*
 * The time so many us after another, DTM_TIME_MAX at most; so never, and the
 * beginning of time, stay what they are.  Not positive: the same time.
 */
extern DtmTime dtm_core_after(DtmTime time, int64_t us);

/*
 * Interval (us) until the next retry of an op, or of DTM_CALL_QUERY, without
 * jitter (CR-01, CR-02).
 */
extern int64_t dtm_core_interval(const DtmTrans *t, const DtmConfig *cfg, int op);

/*
 * Parks a transaction that is not final, for a reason that core does not know.
 */
extern void dtm_core_park(DtmTrans *t);

/* Has some step a limit, so that attempts have to be stored? */
extern bool dtm_core_counts_attempts(const DtmTrans *t);

extern bool dtm_core_is_final(DtmStatus status);

/*
 * Has an op waited in vain to be completed?  The coordinator then applies a REPLY
 * with a temporary error.
 */
extern bool dtm_core_is_overdue(const DtmTrans *t, int op, DtmTime now);

/*
 * A step has been changed, which an EDIT has allowed: what its responses have asked
 * for is over.
 */
extern void dtm_core_step_changed(DtmTrans *t, int step, DtmTime now);

/* Are completions of an op kept until its turn? */
extern bool dtm_core_keeps_completions(const DtmTrans *t, int op);

/* Does some op wait for next_time? */
extern bool dtm_core_is_waiting(const DtmTrans *t);

/* Are its branches registered while it is prepared? */
extern bool dtm_core_has_branches(DtmTransType type);

/* Does each of its steps or branches have an op that undoes it? */
extern bool dtm_core_has_undo(DtmTransType type);

/* Number of ops of nsteps steps or branches of this type. */
extern int	dtm_core_ops_of(DtmTransType type, int nsteps);

/* The place of the op that a step has besides the one that undoes it. */
extern int	dtm_core_forward_op(DtmTransType type, int step);

/* The step (from 0) and the op at a place, from 0, among the ops of a type. */
extern void dtm_core_op_at(DtmTransType type, int n, int *step, DtmOp *op);

/*
 * For readers: the step, from 0, that is called now or next, by the stored letters
 * of its nops ops; of several, the first in the order in which they are called.  -1:
 * none.
 */
extern int	dtm_core_current_step(DtmTransType type, DtmStatus status,
								  const char *letters, int nops);

/*
 * Fills in step and op of the nops elements of t->ops, from t->type.  The
 * caller sets has_url and status.
 */
extern void dtm_core_lay_out(DtmTrans *t);

/*
 * True if the orders have a cycle, so that a step could never start. "scratch"
 * is an array of 2 * nsteps elements.
 */
extern bool dtm_core_orders_cyclic(const DtmOrders *orders, int nsteps,
								   uint16_t *scratch);

/* ---------- the meaning of a response ---------- */

/* HTTP statuses, 100 to 599. */
#define DTM_STATUS_MIN		100
#define DTM_STATUS_MAX		599

typedef struct DtmStatusSet
{
	uint64_t	bits[(DTM_STATUS_MAX - DTM_STATUS_MIN + 64) / 64];
} DtmStatusSet;

/*
 * Reads a list as "2xx", "400,402,404-410"; false if it is none, or empty.
 * The text need not end with a NUL.
 */
extern bool dtm_status_set_parse(const char *text, size_t len, DtmStatusSet *set);
extern bool dtm_status_set_has(const DtmStatusSet *set, int status);

/*
 * What responses of a branch mean, where that is not as for dtm's own services
 * (§6.1).  A set that is NULL is the default.
 */
typedef struct DtmReplyRules
{
	const DtmStatusSet *success;	/* 2xx */
	const DtmStatusSet *final;	/* 409 */
	const DtmStatusSet *ongoing;	/* 425 */
	const DtmStatusSet *compensate_ok;	/* none; NULL for what does not undo */
	bool		ignore_words;	/* FAILURE and ONGOING in bodies do not count */
	bool		retry_after;	/* 429, 503: not before that time */
} DtmReplyRules;

/* The meaning of the response of an HTTP branch (§6.1); NULL: the usual rules. */
extern DtmResult dtm_classify_http(const DtmReplyRules *rules, int status,
								   const char *body, size_t body_len);

/*
 * What a body says whatever its status, as dtm's SDKs say it: in the value of
 * dtm_result, or by nothing but the words themselves.  TEMPORARY: nothing.
 */
extern DtmResult dtm_classify_words(const char *body, size_t body_len);

/*
 * The seconds of a Retry-After header, from "now", in seconds of the Unix
 * epoch: it is a number of them, or a date (RFC 9110).  0: neither, or past.
 */
extern int64_t dtm_retry_after(const char *value, size_t len, int64_t now);

/* The meaning of a gRPC status, and its message or NULL (§6.2). */
extern DtmResult dtm_classify_grpc(int grpc_status, const char *message);

/* The meaning of the error code in a JSON-RPC response (§3, §6). */
extern DtmResult dtm_classify_jsonrpc(double error_code);

/* The meaning of the SQLSTATE that a local branch has raised. */
extern DtmResult dtm_classify_sqlstate(const char *sqlstate);

/* Names on the wire; the parser returns false for an unknown name. */
extern const char *dtm_trans_type_name(DtmTransType type);
extern bool dtm_trans_type_parse(const char *name, DtmTransType *type);
extern const char *dtm_status_name(DtmStatus status);
extern const char *dtm_branch_status_name(DtmBranchStatus status);
extern const char *dtm_op_name(DtmOp op);
extern const char *dtm_result_name(DtmResult result);

/* Letters with which they are stored. */
extern char dtm_trans_type_letter(DtmTransType type);
extern bool dtm_trans_type_of_letter(char letter, DtmTransType *type);
extern char dtm_status_letter(DtmStatus status);
extern bool dtm_status_of_letter(char letter, DtmStatus *status);
extern char dtm_branch_status_letter(DtmBranchStatus status);
extern bool dtm_branch_status_of_letter(char letter, DtmBranchStatus *status);
extern char dtm_result_letter(DtmResult result);
extern bool dtm_result_of_letter(char letter, DtmResult *result);

/* compensate, cancel, rollback */
extern bool dtm_op_undoes(DtmOp op);

/* Branch id of a step (from 0) of a saga or msg: "01", "02", ... */
extern void dtm_step_branch_id(int step, char id[DTM_BRANCH_ID_SIZE]);

#endif							/* DTM_CORE_H */
