/*
 * bgworker.h
 *		What all background workers of this library have in common.
 */
#ifndef DTM_BGWORKER_H
#define DTM_BGWORKER_H

#include "postgres.h"

#include "postmaster/bgworker.h"

/*
 * Describes a worker that runs a function of this library.  "title" is what ps and
 * the server's log call it; cut to fit.
 */
extern void dtm_describe_worker(BackgroundWorker *worker, const char *function,
								const char *type, const char *title);

#endif							/* DTM_BGWORKER_H */
