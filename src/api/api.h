/*
 * api.h
 *		What the SQL functions about a gid have in common.
 */
#ifndef DTM_API_H
#define DTM_API_H

#include "postgres.h"

#include "fmgr.h"

/* dtm.visible() in C: may the current role see and steer this role's? */
extern bool api_is_visible(Oid submitted_by);

/* The error that there is no such gid, which those get, too, who may not see it. */
extern void api_error_unknown(const char *gid);

/* An argument that must be there. */
extern char *api_required_gid(FunctionCallInfo fcinfo, int number);

#endif							/* DTM_API_H */
