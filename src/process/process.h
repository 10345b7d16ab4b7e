/*
 * process.h
 *		The background processes: a launcher for the cluster, and coordinators
 *		in each database that has the extension, and one in each that has an
 *		alert.  Also the hooks that inform them about SQL commands.
 */
#ifndef DTM_PROCESS_H
#define DTM_PROCESS_H

#include "postgres.h"

#include "compat.h"

/* Called from _PG_init of the postmaster. */
extern void dtm_register_launcher(void);
extern void dtm_install_hooks(void);

/* Entry points of the processes. */
extern PGDLLEXPORT void dtm_launcher_main(Datum arg);
extern PGDLLEXPORT void dtm_worker_main(Datum arg);
extern PGDLLEXPORT void dtm_alerter_main(Datum arg);

#endif							/* DTM_PROCESS_H */
