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

#endif							/* DTM_BGWORKER_H */
