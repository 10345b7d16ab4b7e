/*
 * alerts.h
 *		When the process that tells of alerts (alerter.c) runs.
 *
 * One for each database, and only while there is something to look for, an
 * alert is open, or the webhook has not been told of all.
 */
#ifndef DTM_ALERTS_H
#define DTM_ALERTS_H

#include "postgres.h"

#include "process/shmem.h"

/*
 * For the launcher: starts those that are due.  Returns when to call it again, in
 * ms; -1: when something happens.
 */
extern void alerts_init(void);
extern long alerts_look_after(void);

/*
 * For the first coordinator of a database, when it starts: asks for a look if
 * there is a reason that nobody may know of any more.
 */
extern void alerts_at_start(const DtmSharedSlot *slot);

/*
 * When a coordinator of a database that does not run has not done so for
 * dtm.alert_after; DT_NOEND: all run, but for those that a look at this time has seen
 * (DT_NOBEGIN: there was none).
 */
extern TimestampTz alerts_ailing_due(Oid database, TimestampTz looked);

#endif							/* DTM_ALERTS_H */
