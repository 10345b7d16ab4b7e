/*
 * api.h
 *		What the SQL functions about a gid have in common.
 *
 * They write through the caller's transaction and call nobody: that is the
 * coordinator's business, which the commit wakes.
 */
#ifndef DTM_API_H
#define DTM_API_H

#include "postgres.h"

#include "fmgr.h"

#include "compat.h"
#include "outcome.h"
#include "transaction.h"

/*
 * May the current role see and steer what this role submitted?  The only place
 * that decides it: views ask dtm.visible(), which is this.
 */
extern bool api_is_visible(Oid submitted_by);

/* An argument that must be there. */
extern char *api_required_gid(FunctionCallInfo fcinfo, int number);

/* Arguments, or NULL. */
#define TEXT_OR_NULL(n)		(PG_ARGISNULL(n) ? NULL : PG_GETARG_TEXT_PP(n))
#define ARRAY_OR_NULL(n)	(PG_ARGISNULL(n) ? NULL : PG_GETARG_ARRAYTYPE_P(n))
#define JSONB_OR_NULL(n)	(PG_ARGISNULL(n) ? NULL : PG_GETARG_JSONB_P(n))
#define STRING_OR_NULL(n) \
	(PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n)))

/* ---------- errors ---------- */

#define API_GID_HINT "Use another gid, for example one of dtm_new_gid()."

/* There is no such gid: those get it, too, who may not see it. */
extern void api_error_unknown(const char *gid);

/* Its status does not allow this event. */
extern void api_error_status(const Transaction *trans, DtmEventKind kind);

/* The gid is of another type than the caller takes it for. */
extern void api_error_other_type(const Transaction *stored, DtmTransType wanted,
								 const char *hint);

/* ---------- a caller's event ---------- */

/* Finds a transaction that the current role may steer, and locks it. */
extern Transaction *api_find_to_steer(const char *gid, DtmEventKind kind);

/*
 * Asks core about an event of a transaction that was found with its lock; an
 * error if it is not one for its type or status.
 */
extern void api_decide(Outcome *outcome, Transaction *trans, DtmEventKind kind,
					   const char *reason, bool succeeded);

/* Writes what was decided, and has the coordinator look at it at the commit. */
extern void api_write(const Outcome *outcome, Transaction *trans);

/* Both. */
extern void api_apply(Transaction *trans, DtmEventKind kind, const char *reason);

#endif							/* DTM_API_H */
