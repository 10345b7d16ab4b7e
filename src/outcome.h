/*
 * outcome.h
 *		From an event to a row, and to whoever must hear of it: core decides,
 *		the row is written, alerts are raised, and the end of a transaction is
 *		told (NOTIFY, on_finish) and announced to the coordinator.
 *
 * The one path of all who bring events: sessions, the workers of local branches
 * and the coordinator.  Whoever writes a decision by another way loses an alert,
 * a message of on_finish, or a wake-up.
 *
 * In order: outcome_init(); outcome_decide() for each event; then, in the
 * PostgreSQL transaction that holds the row's lock, outcome_write(), or, where
 * many rows are written at once, store_save() and outcome_tell() for each that
 * was written.
 */
#ifndef DTM_OUTCOME_H
#define DTM_OUTCOME_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "core/core.h"
#include "transaction.h"

/* Channels of NOTIFY. */
#define OUTCOME_ALERT_CHANNEL		"dtm_alert"
#define OUTCOME_FINISHED_CHANNEL	"dtm_finished"

/* What core has said to the events of a transaction since its row was written. */
typedef struct Outcome
{
	bool		changed;		/* the row has to be written */
	char	   *alert_url;		/* what has failed so often that somebody should
								 * look; NULL: nothing has */
	char	   *alert_error;	/* its last error */
	int			alert_failures; /* in a row, up to that one */
	int		   *calls;			/* to be made when it is written: ops, or
								 * DTM_CALL_QUERY; room for nops + 1 */
	int			ncalls;
} Outcome;

/*
 * A coordinator in this process that takes up new transactions by itself.  take()
 * says whether this one is its to drive; others are announced.
 */
typedef struct OutcomeDriver
{
	bool		(*take) (void *arg, int64 id);
	void	   *arg;
} OutcomeDriver;

/* Nothing has been said yet.  Allocates in the current memory context. */
extern void outcome_init(Outcome *outcome, const Transaction *trans);

/*
 * Asks core about an event, and adds what it says.  Of several events, the calls
 * are those of the last one.  What is allocated is in the context of the calls.
 */
extern DtmReject outcome_decide(Outcome *outcome, Transaction *trans,
								const DtmConfig *config, const DtmEvent *event);

/* Writes the row of a transaction that was found with its lock, and tells. */
extern void outcome_write(const Outcome *outcome, Transaction *trans,
						  TimestampTz now);

/*
 * The row has been written in the current PostgreSQL transaction: what others
 * are to know.  Without a driver, all that is new is announced.
 */
extern void outcome_tell(const Outcome *outcome, const Transaction *trans,
						 TimestampTz now, const OutcomeDriver *driver);

/* The body of the alert webhook (§5.5), in UTF-8. */
extern char *outcome_alert_body(const Transaction *trans, const char *url,
								const char *error, int failures);

#endif							/* DTM_OUTCOME_H */
