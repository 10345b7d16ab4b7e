/*
 * bgworker.c
 *		What all background workers of this library have in common.
 */
#include "process/bgworker.h"

void
dtm_describe_worker(BackgroundWorker *worker, const char *function,
					const char *type)
{
	memset(worker, 0, sizeof(*worker));
	snprintf(worker->bgw_library_name, BGW_MAXLEN, "dtm");
	snprintf(worker->bgw_function_name, BGW_MAXLEN, "%s", function);
	snprintf(worker->bgw_name, BGW_MAXLEN, "%s", type);
	snprintf(worker->bgw_type, BGW_MAXLEN, "%s", type);
	/* a standby has none until it is promoted */
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
}
