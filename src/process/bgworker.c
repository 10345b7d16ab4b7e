/*
 * bgworker.c
 *		Common code of all background workers of this library.
 */
#include "process/bgworker.h"

#include "mb/pg_wchar.h"

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
