/*
 * wait_event.h
 *		What dtm's processes and functions wait for, as pg_stat_activity names it.
 */
#ifndef DTM_WAIT_EVENT_H
#define DTM_WAIT_EVENT_H

#include "postgres.h"

typedef enum DtmWaitEvent
{
	DTM_WAIT_LAUNCHER_MAIN,
	DTM_WAIT_COORDINATOR_MAIN,
	DTM_WAIT_LOCAL_MAIN,
	DTM_WAIT_FINISH,			/* dtm_wait() */
	DTM_WAIT_RUN_DUE,			/* dtm_run_due() */
	DTM_WAIT_COORDINATOR_EXIT,	/* a command that wants the database for itself */
	DTM_NWAIT_EVENTS
} DtmWaitEvent;

/*
 * The event for WaitLatch() and the like.  Where the server has no names of
 * extensions' own (before PostgreSQL 17), it is "Extension".
 */
extern uint32 dtm_wait_event(DtmWaitEvent event);

#endif							/* DTM_WAIT_EVENT_H */
