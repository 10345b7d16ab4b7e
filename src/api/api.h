/*
 * api.h
 *		Common code of the SQL functions for a gid.
 *
 * They write in the caller's transaction and make no calls: the commit wakes
 * the coordinator, which makes them.
 */
#ifndef DTM_API_H
#define DTM_API_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "fmgr.h"

#include "compat.h"
#include "outcome.h"
#include "request/request.h"
#include "transaction.h"

/*
 * May the current role see and steer what this role submitted?  The only place
 * that decides it: views ask dtm.visible(), which is this.
 */
extern bool api_is_visible(Oid submitted_by);

/* Arguments that must not be NULL. */
extern char *api_required_text(FunctionCallInfo fcinfo, int number, const char *name,
							   const char *hint);
extern char *api_required_gid(FunctionCallInfo fcinfo, int number);

/* An operator's own words, or NULL; an error if they are too long. */
extern char *api_optional_note(FunctionCallInfo fcinfo, int number, const char *name);

#define API_MAX_NOTE_CHARS	1000

#define API_STEP_HINT "Pass the name of a step, or its branch id, such as 01."

/* Arguments, or NULL. */
#define TEXT_OR_NULL(n)		(PG_ARGISNULL(n) ? NULL : PG_GETARG_TEXT_PP(n))
#define ARRAY_OR_NULL(n)	(PG_ARGISNULL(n) ? NULL : PG_GETARG_ARRAYTYPE_P(n))
#define JSONB_OR_NULL(n)	(PG_ARGISNULL(n) ? NULL : PG_GETARG_JSONB_P(n))
#define STRING_OR_NULL(n) \
	(PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n)))

/*
 * The time an interval after another, or before it; the first or the last one
 * that there is where that is no time any more.
 */
extern TimestampTz api_time_after(TimestampTz time, const Interval *interval);
extern TimestampTz api_time_before(TimestampTz time, const Interval *interval);

/* ---------- errors ---------- */

#define API_GID_HINT "Use another gid, for example one of dtm_new_gid()."

/*
 * The gid does not exist; the same error if the current role may not see it.
 */
extern void api_error_unknown(const char *gid);

/* The status of the transaction does not allow this event. */
extern void api_error_status(const Transaction *trans, DtmEventKind kind);

/* The transaction has another type than the caller expects. */
extern void api_error_other_type(const Transaction *stored, DtmTransType wanted,
								 const char *hint);

/* A warning if no coordinator runs here; a session hears of it once. */
extern void api_warn_no_coordinator(void);

/* ---------- a caller's event ---------- */

/* Finds and locks a transaction that the current role may steer. */
extern Transaction *api_find_to_steer(const char *gid, DtmEventKind kind);

/*
 * Applies an event to a transaction that was found and locked; an error if its
 * type or status does not allow the event.
 */
extern void api_decide(Outcome *outcome, Transaction *trans, DtmEventKind kind,
					   const char *reason, bool succeeded);

/*
 * Writes the decision; the commit announces the transaction to the
 * coordinator.
 */
extern void api_write(const Outcome *outcome, Transaction *trans);

/* The same, of a row that has been written already, with its branches. */
extern void api_tell(const Outcome *outcome, const Transaction *trans);

/* Both. */
extern void api_apply(Transaction *trans, DtmEventKind kind, const char *reason);

/*
 * Both, and records that the current role has done this: for a person's own
 * reason, or NULL.
 */
extern void api_act(Transaction *trans, DtmEventKind kind, const char *what,
					const char *reason);

/* ---------- the functions ---------- */

/*
 * What the functions of the same names do, in the name of the current role;
 * rights to call them at all are for the caller to check.  A refusal because
 * of what is stored (DTM_ERRCODE_WRONG_STATUS, _GID_IN_USE, _UNKNOWN_GID) comes
 * before anything is written, and while no resource is held: see
 * gateway/batch.c.  The transaction that is returned is the stored one.  An abort
 * is "steered" if an operator asks for it: then it is recorded, and may be of a
 * saga.
 */
extern Transaction *api_begin(Request *request, bool submitted);
extern void api_open_workflow(Request *request);
extern void api_register_branch(const BranchRequest *branch);
extern Transaction *api_abort(const char *gid, const char *reason, bool steered);
extern void api_force_stop(const char *gid, const char *reason);
extern void api_retry_now(const char *gid, const char *reason);

/*
 * Says what has become of an op.  False: somebody has said the same before, or the
 * branch itself.
 */
typedef struct CompleteRequest
{
	char	   *gid;
	char	   *step;			/* name or branch id */
	char	   *op;
	bool		ok;
	Jsonb	   *result;			/* NULL: none */
	bool		notices;		/* tell the caller of what he may not know */
} CompleteRequest;

extern bool api_complete(const CompleteRequest *request);

#endif							/* DTM_API_H */
