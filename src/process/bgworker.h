/*
 * bgworker.h
 *		The background processes: a launcher for the cluster, and a coordinator
 *		worker for each database that has the extension.
 */
#ifndef DTM_BGWORKER_H
#define DTM_BGWORKER_H

#include "postgres.h"

#include "postmaster/bgworker.h"

/* From _PG_init of the postmaster. */
extern void dtm_register_launcher(void);

/* Installs the hooks that notice DDL which concerns coordinators (hooks.c). */
extern void dtm_install_hooks(void);

/* Entry points. */
extern PGDLLEXPORT void dtm_launcher_main(Datum arg);
extern PGDLLEXPORT void dtm_worker_main(Datum arg);

/* A background worker of this library. */
extern void dtm_describe_worker(BackgroundWorker *worker,
								const char *function, const char *type);

#endif							/* DTM_BGWORKER_H */
