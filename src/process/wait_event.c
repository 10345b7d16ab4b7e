/*
 * wait_event.c
 *		The names of dtm's wait events; docs/configuration.md lists them.
 */
#include "wait_event.h"

#include "compat.h"

static const char *const names[DTM_NWAIT_EVENTS] = {
	[DTM_WAIT_LAUNCHER_MAIN] = "DtmLauncherMain",
	[DTM_WAIT_COORDINATOR_MAIN] = "DtmCoordinatorMain",
	[DTM_WAIT_LOCAL_MAIN] = "DtmLocalBranchMain",
	[DTM_WAIT_ALERTS_MAIN] = "DtmAlertsMain",
	[DTM_WAIT_FINISH] = "DtmFinish",
	[DTM_WAIT_RUN_DUE] = "DtmRunDue",
	[DTM_WAIT_COORDINATOR_EXIT] = "DtmCoordinatorExit"
};

uint32
dtm_wait_event(DtmWaitEvent event)
{
	/* the same in all processes, which ask once each; 0 is none */
	static uint32 events[DTM_NWAIT_EVENTS];

	if (events[event] == 0)
		events[event] = dtm_new_wait_event(names[event]);
	return events[event];
}
