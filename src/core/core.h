/*
 * core.h
 *		The rules of dtm's protocols, as a pure state machine.
 *
 * Core decides; it does nothing.  dtm_core_step() takes one global transaction
 * and one event, changes the transaction in memory and says in a DtmUpdate
 * what its caller owes the world: whether the row has to be written, and
 * which branches are to be called once it is.  Core has no clock (the time is
 * in the event), no memory of its own (the caller brings the arrays), no I/O,
 * and knows neither PostgreSQL nor libcurl.
 *
 * Section signs (§) are those of docs/spec/dtm-wire.md, ids such as SG-02 are
 * rows of docs/spec/dtm-behaviours.md; here and everywhere else.
 */
#ifndef DTM_CORE_H
#define DTM_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Microseconds since an epoch of the caller's choice. */
typedef int64_t DtmTime;

#define DTM_TIME_NEVER		INT64_MAX
#define DTM_USEC_PER_SEC	INT64_C(1000000)

/* Bytes of rollback_reason kept, with its end; longer ones are cut. */
#define DTM_REASON_SIZE		1024

/* Bytes that a branch id of a step ("01" ... "1000") needs, with its end. */
#define DTM_BRANCH_ID_SIZE	8

/* The most steps a saga or msg may have, and the most pairs in its orders. */
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
	DTM_OP_MSG					/* the query-back of a prepared msg */
} DtmOp;

/* What a branch's reply means (§6). */
typedef enum DtmResult
{
	DTM_RESULT_SUCCESS,
	DTM_RESULT_FAILURE,			/* a final business "no" */
	DTM_RESULT_ONGOING,			/* ask again after the same interval */
	DTM_RESULT_TEMPORARY		/* anything else: ask again, backing off */
} DtmResult;

/* One op of one branch.  Rows of /query in their order. */
typedef struct DtmBranchOp
{
	uint16_t	step;			/* branch it belongs to, from 0 */
	uint8_t		op;				/* DtmOp */
	uint8_t		status;			/* DtmBranchStatus; stored */
	bool		has_url;		/* an op with no URL succeeds without a call */
	bool		local;			/* its effects and its status are committed
								 * together, or neither */
	bool		running;		/* a call of it is under way; not stored */
	bool		waiting;		/* had a non-final reply, to be called again at
								 * next_time; not stored */
	bool		blocked;		/* scratch of one step */
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

/* A global transaction. */
typedef struct DtmTrans
{
	DtmTransType type;
	DtmStatus	status;
	DtmTime		created;		/* start of its age */
	DtmTime		next_time;		/* when it has to be looked at again */
	int64_t		timeout_to_fail;	/* us; 0: the configured one, or none */
	int64_t		retry_interval; /* us; 0: the configured one */
	int64_t		delay;			/* us from submit to a msg's first action */
	int32_t		retry_limit;	/* saga: immediate re-runs, 0: none */
	bool		concurrent;		/* steps run at the same time */
	bool		has_query_url;	/* msg, workflow: query_prepared is not empty */
	bool		query_running;	/* a query-back is under way; not stored */
	bool		query_waiting;	/* as DtmBranchOp.waiting; not stored */
	bool		round_failed;	/* back-off has grown since the last wake; not
								 * stored */
	uint16_t	failures;		/* temporary errors since the last success */
	uint16_t	retries;		/* re-runs counted against retry_limit */
	int			nsteps;			/* steps, or registered branches */
	int			nops;
	DtmBranchOp *ops;			/* nops of them */
	DtmOrders	orders;
	char		reason[DTM_REASON_SIZE];	/* rollback_reason, UTF-8 or what
											 * the event brought */
} DtmTrans;

/* Settings that rules depend on; times in us. */
typedef struct DtmConfig
{
	int64_t		retry_interval; /* base of the back-off */
	int64_t		retry_interval_max; /* its cap */
	int64_t		timeout_to_fail;	/* when a prepared msg is queried */
	int			alert_retry_limit;	/* failures before an alert */
} DtmConfig;

typedef enum DtmEventKind
{
	/* From the coordinator: these start calls. */
	DTM_EVENT_WAKE,				/* loaded, or next_time has come */
	DTM_EVENT_REPLY,			/* a call has ended */
	/* From SQL callers: these change the status, and start none. */
	DTM_EVENT_PREPARE,			/* a repeated prepare */
	DTM_EVENT_SUBMIT,
	DTM_EVENT_ABORT,
	DTM_EVENT_REGISTER,			/* may a branch be added? */
	DTM_EVENT_FORCE_STOP,
	DTM_EVENT_RETRY_NOW
} DtmEventKind;

/* "op" of a msg's query-back, and of a workflow's callback */
#define DTM_CALL_QUERY	(-1)

typedef struct DtmEvent
{
	DtmEventKind kind;
	DtmTime		now;
	uint32_t	jitter;			/* random; 0 gives the full interval */
	/* REPLY */
	int			op;				/* index in ops, or DTM_CALL_QUERY */
	DtmResult	result;
	const char *url;			/* as called, for the reason */
	/*
	 * REPLY: the reply's body or the error; ABORT, FORCE_STOP, SUBMIT of a
	 * workflow: the reason, or NULL
	 */
	const char *text;
	bool		succeeded;		/* SUBMIT of a workflow: how it has ended */
} DtmEvent;

typedef enum DtmReject
{
	DTM_ACCEPTED,
	DTM_REJECT_STATUS,			/* not in this status (409 of §1.3) */
	DTM_REJECT_TYPE				/* never for this trans_type */
} DtmReject;

/* What a step asks of its caller. */
typedef struct DtmUpdate
{
	bool		changed;		/* write the row before making any call */
	DtmReject	reject;			/* SQL events only; nothing was changed */
	int			alert_op;		/* op whose failures have reached the limit, or
								 * DTM_NO_ALERT */
	int			alert_failures; /* how many there were in a row, of that one;
								 * the transaction may be further by now */
	int			ncalls;			/* calls to make, in this order */
	int		   *calls;			/* the caller's, room for nops + 1: indexes in
								 * ops, or DTM_CALL_QUERY */
} DtmUpdate;

#define DTM_NO_ALERT	(-2)

/*
 * Gives a transaction that has just been described (type, steps, options) its
 * first status and schedule.  "submitted" says whether it begins submitted or
 * prepared.
 */
extern void dtm_core_start(DtmTrans *t, const DtmConfig *cfg, bool submitted,
						   DtmTime now);

/*
 * To be called on a transaction read from storage before its first step: sets
 * what is not stored.
 */
extern void dtm_core_loaded(DtmTrans *t, DtmTime now);

/*
 * Applies one event.  A reply that no longer matters is ignored.  Afterwards
 * every op in u->calls is marked running: the caller either calls it and
 * brings a REPLY, or forgets the transaction and reads it again.
 */
extern void dtm_core_step(DtmTrans *t, const DtmConfig *cfg,
						  const DtmEvent *ev, DtmUpdate *u);

/* Interval (us) until the next retry, without jitter (CR-01, CR-02). */
extern int64_t dtm_core_interval(const DtmTrans *t, const DtmConfig *cfg);

extern bool dtm_core_is_final(DtmStatus status);

/* Does some op wait for next_time? */
extern bool dtm_core_is_waiting(const DtmTrans *t);

/* Are its branches registered while it is prepared, rather than given? */
extern bool dtm_core_has_branches(DtmTransType type);

/* Has each of its steps, or branches, an op that undoes it? */
extern bool dtm_core_has_undo(DtmTransType type);

/* Number of ops that nsteps steps, or branches, of this type have. */
extern int	dtm_core_ops_of(DtmTransType type, int nsteps);

/* The step (from 0) and the op at a place, from 0, among the ops of a type. */
extern void dtm_core_op_at(DtmTransType type, int n, int *step, DtmOp *op);

/*
 * Fills the step and op of each element of t->ops (of which there are nops)
 * from t->type; has_url and status are left to the caller.
 */
extern void dtm_core_lay_out(DtmTrans *t);

/*
 * True if the orders have a cycle, so that some step could never start.
 * "scratch" has room for 2 * nsteps elements.
 */
extern bool dtm_core_orders_cyclic(const DtmOrders *orders, int nsteps,
								   uint16_t *scratch);

/* Reply of an HTTP branch to its meaning (§6.1). */
extern DtmResult dtm_classify_http(int http_status, const char *body,
								   size_t body_len);

/* Status of a gRPC branch, and its message or NULL (§6.2). */
extern DtmResult dtm_classify_grpc(int grpc_status, const char *message);

/* Code of the error in a JSON-RPC branch's reply (§3, §6). */
extern DtmResult dtm_classify_jsonrpc(double error_code);

/* SQLSTATE of the error that a local branch has raised. */
extern DtmResult dtm_classify_sqlstate(const char *sqlstate);

/* Names of the wire; the parsers return false on an unknown one. */
extern const char *dtm_trans_type_name(DtmTransType type);
extern bool dtm_trans_type_parse(const char *name, DtmTransType *type);
extern const char *dtm_status_name(DtmStatus status);
extern const char *dtm_branch_status_name(DtmBranchStatus status);
extern const char *dtm_op_name(DtmOp op);
extern const char *dtm_result_name(DtmResult result);

/* Letters that stand for them in storage. */
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
