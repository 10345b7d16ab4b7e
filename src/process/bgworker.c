/*
 * bgworker.c
 *		Common code of all background workers of this library.
 */
#include "process/bgworker.h"

#include "compat.h"

#include "mb/pg_wchar.h"
#include "utils/guc.h"

void
dtm_describe_worker(BackgroundWorker *worker, const char *function,
					const char *type, const char *title)
{
	memset(worker, 0, sizeof(*worker));
	snprintf(worker->bgw_library_name, BGW_MAXLEN, "dtm");
	snprintf(worker->bgw_function_name, BGW_MAXLEN, "%s", function);
	snprintf(worker->bgw_name, BGW_MAXLEN, "%.*s",
			 pg_mbcliplen(title, (int) strlen(title), BGW_MAXLEN - 1), title);
	snprintf(worker->bgw_type, BGW_MAXLEN, "%s", type);
	/* a standby has none until it is promoted */
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
}

void
dtm_connect_worker(Oid database, Oid role, uint32 flags)
{
	static const char *const off[][2] = {
		DTM_ENDING_SETTINGS
		{"exit_on_error", "off"}
	};

	/*
	 * ALTER DATABASE, ALTER ROLE and the configuration files have a lower
	 * priority, SET has a higher one: a local branch may limit itself.
	 */
	for (size_t i = 0; i < lengthof(off); i++)
		SetConfigOption(off[i][0], off[i][1], PGC_SUSET, PGC_S_OVERRIDE);
	/* local workers have that of their role */
	if (!OidIsValid(role))
		SetConfigOption("lock_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	BackgroundWorkerInitializeConnectionByOid(database, role, flags);
}
