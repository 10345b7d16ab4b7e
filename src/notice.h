/*
 * notice.h
 *		NOTIFYs of sessions that end global transactions.
 */
#ifndef DTM_NOTICE_H
#define DTM_NOTICE_H

#include "postgres.h"

/* The channel on which the end of a global transaction is notified. */
#define NOTICE_FINISHED_CHANNEL	"dtm_finished"

/*
 * Sends a NOTIFY on that channel when the current PostgreSQL transaction
 * commits.  If it is prepared instead, the coordinator sends the NOTIFY after
 * COMMIT PREPARED, on behalf of a role.
 */
extern void notice_at_commit(const char *payload, Oid role);

#endif							/* DTM_NOTICE_H */
