/*
 * outcome.h
 *		The path from an event to its effects: core decides, the row is
 *		written, alerts are raised, the end of a transaction is notified
 *		(NOTIFY, on_finish), and changes are announced to the coordinator.
 *
 * All events take this path: those of sessions, of workers for local branches,
 * and of the coordinator.  Code that writes a decision without it would lose
 * alerts, on_finish messages or wake-ups.
 *
 * Call in this order: outcome_init(); outcome_decide() for each event; then,
 * in the PostgreSQL transaction that holds the row's lock, outcome_write().
 * If many rows are written at once, call store_save() instead, and
 * outcome_tell() for each row that was written.
 */
#ifndef DTM_OUTCOME_H
#define DTM_OUTCOME_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "core/core.h"
#include "transaction.h"
#include "store/store.h"

/* Channel of NOTIFY; see also notice.h. */
#define OUTCOME_ALERT_CHANNEL		STORE_ALERT_CHANNEL

/* What an alert about one transaction says. */
typedef enum OutcomeNews
{
	OUTCOME_FAILING,			/* it has failed several times in a row */
	OUTCOME_PARKED,				/* nothing is called until it is resumed */
	OUTCOME_DISCARDED			/* a message goes on without a step */
} OutcomeNews;

/*
 * A transaction that needs a person.  It is a reason for an alert (alerter.c);
 * with dtm.alert_each, it is told of in the log, by a NOTIFY, and by the webhook.
 */
typedef struct OutcomeAlert
{
	OutcomeNews news;
	int			op;				/* or DTM_CALL_QUERY, TRANSACTION_NO_OP */
	const char *url;			/* that was called */
	const char *error;			/* the last error, or the reason */
	int			failures;		/* in a row, up to that one */
	struct OutcomeAlert *next;
} OutcomeAlert;

/* Core's decisions about a transaction since its row was written. */
typedef struct Outcome
{
	bool		changed;		/* the row must be written */
	bool		keeps;			/* the result of the last event is to be kept,
								 * unless its op has one */
	bool		unparked;		/* it was parked, and goes on */
	OutcomeAlert *alerts;		/* to be told when it is; NULL: none */
	int		   *calls;			/* calls to make when the row is written: ops,
								 * or DTM_CALL_QUERY; nops + 1 elements */
	int			ncalls;
} Outcome;

/*
 * A coordinator in this process that takes up new transactions itself, and
 * those that their lane has released.  take()
 * returns whether it drives this one; others are announced.
 */
typedef struct OutcomeDriver
{
	bool		(*take) (void *arg, int64 id);
	void	   *arg;
} OutcomeDriver;

/* Starts without decisions.  Allocates in the current memory context. */
extern void outcome_init(Outcome *outcome, const Transaction *trans);

/*
 * Lets core decide about an event, and adds the decision.  After several
 * events, the calls are those of the last one.  Allocates in the memory
 * context of the calls.
 */
extern DtmReject outcome_decide(Outcome *outcome, Transaction *trans,
								const DtmConfig *config, const DtmEvent *event);

/*
 * Parks a transaction that is not final, for a reason that core does not know;
 * one that is parked already stays as it is.  Allocates as outcome_decide().
 */
extern void outcome_park(Outcome *outcome, Transaction *trans, int op,
						 const char *url, const char *reason, TimestampTz now);

/*
 * Writes the row of a transaction that was found and locked, and calls
 * outcome_tell().
 */
extern void outcome_write(const Outcome *outcome, Transaction *trans,
						  TimestampTz now);

/*
 * Informs others about a row that was written in the current PostgreSQL
 * transaction.  Without a driver, all new transactions are announced.
 */
extern void outcome_tell(const Outcome *outcome, const Transaction *trans,
						 TimestampTz now, const OutcomeDriver *driver);

/* The body of the webhook about one transaction (§5.5), in UTF-8. */
extern char *outcome_alert_body(const Transaction *trans,
								const OutcomeAlert *alert);

#endif							/* DTM_OUTCOME_H */
