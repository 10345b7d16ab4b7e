/*
 * outcome.h
 *		What the world is told beside the calls of branches: that a transaction
 *		keeps failing, and that one has ended.
 */
#ifndef DTM_OUTCOME_H
#define DTM_OUTCOME_H

#include "postgres.h"

#include "store/store.h"

/* Channels of NOTIFY. */
#define NOTICE_ALERT_CHANNEL	"dtm_alert"
#define NOTICE_FINISHED_CHANNEL	"dtm_finished"

/*
 * A transaction has failed so often that somebody should look: a WARNING in the
 * log, and a NOTIFY at the commit of the current transaction.
 */
extern void notice_alert(const Transaction *trans, const char *url,
						 const char *error);

/* The body of the alert webhook (§5.5), in UTF-8. */
extern char *notice_alert_body(const Transaction *trans, const char *url,
							   const char *error);

/*
 * A transaction has just been written as final, in the current transaction: a
 * NOTIFY, and a message to on_finish, where it has asked for them.  Returns the
 * id of that message; 0: there is none.
 */
extern int64 notice_finished(const Transaction *trans, TimestampTz now);

#endif							/* DTM_OUTCOME_H */
