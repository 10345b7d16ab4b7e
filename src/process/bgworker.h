/*
 * bgworker.h
 *		Common code of all background workers of this library.
 */
#ifndef DTM_BGWORKER_H
#define DTM_BGWORKER_H

#include "postgres.h"

#include "postmaster/bgworker.h"

/*
 * Describes a worker that runs a function of this library. "title" is its name
 * in ps and in the server's log, truncated to fit.
 */
extern void dtm_describe_worker(BackgroundWorker *worker, const char *function,
								const char *type, const char *title);

/*
 * Connects this worker to a database, as a role (InvalidOid: a superuser), or to
 * no database.  "flags" are BGWORKER_BYPASS_ALLOWCONN and the like.
 * What a database, a role or the server has set so that sessions end does not end
 * the worker, not even while it connects.
 */
extern void dtm_connect_worker(Oid database, Oid role, uint32 flags);

#endif							/* DTM_BGWORKER_H */
