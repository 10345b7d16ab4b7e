/*
 * dtm.c
 *		Initializes the library when PostgreSQL loads it.
 */
#include "postgres.h"

#include "citus.h"
#include "compat.h"
#include "gid.h"
#include "local/local.h"
#include "process/flight.h"
#include "process/process.h"
#include "process/shmem.h"
#include "settings.h"
#include "store/store.h"

#include "fmgr.h"
#include "miscadmin.h"

DTM_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	settings_define();
	citus_init();
	if (citus_loaded)
		gid_tag = store_tag;
	if (!process_shared_preload_libraries_in_progress)
		return;
	dtm_preloaded = true;
	store_note_standby();
	flight_init();
	dtm_shmem_init();
	local_shmem_init();
	dtm_install_hooks();
	dtm_register_launcher();
}
