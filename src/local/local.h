/*
 * local.h
 *		Local branches: functions in this database that are called instead of a
 *		URL, as the role that submitted.
 *
 * What a local branch does and that it has been done are committed together.
 */
#ifndef DTM_LOCAL_H
#define DTM_LOCAL_H

#include "postgres.h"

#include "core/core.h"

/* ---------- function.c ---------- */

/*
 * The function that a URL sql:schema.function names.  Errors if there is none
 * with the arguments (text, text, text, jsonb), if the current role may not
 * execute it, or can't be what a worker runs as.
 */
extern Oid	local_function(const char *url);

/*
 * Calls it as the current role, in the current transaction.  The payload is
 * JSON in UTF-8, or NULL.
 */
extern void local_call(const char *url, const char *gid, const char *branch_id,
					   const char *op, const bytea *payload);

#endif							/* DTM_LOCAL_H */
