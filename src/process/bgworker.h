/*
 * bgworker.h
 *		What all background workers of this library have in common.
 */
#ifndef DTM_BGWORKER_H
#define DTM_BGWORKER_H

#include "postgres.h"

#include "postmaster/bgworker.h"

/* Describes a worker that runs a function of this library. */
extern void dtm_describe_worker(BackgroundWorker *worker,
								const char *function, const char *type);

#endif							/* DTM_BGWORKER_H */
