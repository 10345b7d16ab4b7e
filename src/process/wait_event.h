/*
 * wait_event.h
 *		Wait events of dtm's processes and functions, as pg_stat_activity shows
 *		them.
 */
#ifndef DTM_WAIT_EVENT_H
#define DTM_WAIT_EVENT_H

#include "postgres.h"

typedef enum DtmWaitEvent
{
	DTM_WAIT_LAUNCHER_MAIN,
	DTM_WAIT_COORDINATOR_MAIN,
	DTM_WAIT_LOCAL_MAIN,
	DTM_WAIT_ALERTS_MAIN,
	DTM_WAIT_FINISH,			/* dtm_wait() */
	DTM_WAIT_RUN_DUE,			/* dtm_run_due() */
	DTM_WAIT_COORDINATOR_EXIT,	/* a command that needs a database without
								 * connections */
	DTM_NWAIT_EVENTS
} DtmWaitEvent;

/*
 * The event for WaitLatch() and similar functions.  Before PostgreSQL 17,
 * extensions have no wait events of their own, and the event is "Extension".
 */
extern uint32 dtm_wait_event(DtmWaitEvent event);

#endif							/* DTM_WAIT_EVENT_H */
