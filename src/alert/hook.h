/*
 * hook.h
 *		Tells the webhook of alerts, one after another.
 *
 * A message is sent until the webhook has taken it with a 2xx status; the pause
 * between tries grows.  What has been taken is noted in dtm.alert, so that neither
 * a crash nor a promotion loses one; the webhook may receive one twice.
 */
#ifndef DTM_ALERT_HOOK_H
#define DTM_ALERT_HOOK_H

#include "postgres.h"

#include "transport/transport.h"

typedef struct Hook
{
	DtmTransport *transport;	/* NULL: not needed yet */
	MemoryContext context;		/* of the message that is sent */
	bool		unsent;			/* there may be messages */
	bool		sending;		/* the call is under way */
	int64		alert;			/* of which alert */
	bool		is_over;
	DtmCall		call;
	int64		not_before;		/* clock_monotonic(): of the next try */
	int			pause;			/* ms; 0: the last try was good */
} Hook;

extern void hook_init(Hook *hook, MemoryContext context);

/* There are messages that have not been sent. */
extern void hook_expect(Hook *hook);

/* Does what can be done without waiting.  Not in a transaction. */
extern void hook_drive(Hook *hook);

/* Nothing is to be sent. */
extern bool hook_is_idle(const Hook *hook);

/* A descriptor to wait for (-1: none), and how long in ms (-1: no limit). */
extern int	hook_fd(const Hook *hook);
extern long hook_timeout(const Hook *hook);

/* The settings have changed: what has failed is tried at once. */
extern void hook_reconfigure(Hook *hook);

#endif							/* DTM_ALERT_HOOK_H */
