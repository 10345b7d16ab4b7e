/*
 * process.h
 *		The background processes: a launcher for the cluster, and coordinator
 *		workers in each database that has the extension; and the hooks by which
 *		they learn of SQL commands that concern them.
 */
#ifndef DTM_PROCESS_H
#define DTM_PROCESS_H

#include "postgres.h"

#include "compat.h"

/* From _PG_init of the postmaster. */
extern void dtm_register_launcher(void);
extern void dtm_install_hooks(void);

/* Entry points. */
extern PGDLLEXPORT void dtm_launcher_main(Datum arg);
extern PGDLLEXPORT void dtm_worker_main(Datum arg);

#endif							/* DTM_PROCESS_H */
