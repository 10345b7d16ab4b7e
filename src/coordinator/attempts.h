/*
 * attempts.h
 *		Attempts: calls that have been made, and are recorded at the end of the
 *		turn.
 */
#ifndef DTM_COORDINATOR_ATTEMPTS_H
#define DTM_COORDINATOR_ATTEMPTS_H

#include "postgres.h"

#include "call.h"

typedef struct Attempts
{
	StoreAttempt *list;
	int			n;
	int			size;			/* allocated */
	MemoryContext context;		/* of their error texts */
} Attempts;

extern void attempts_init(Attempts *attempts, MemoryContext parent);

/*
 * Adds the result of a call of a transaction; the text of an error is copied.
 */
extern void attempts_add(Attempts *attempts, int64 id, const Call *call,
						 DtmResult result, const char *text);

/* Adds a failed attempt that was no call; the text is copied. */
extern void attempts_add_uncalled(Attempts *attempts, int64 id, int op,
								  TimestampTz time, const char *text);

/* Write the attempts in a transaction; clear them when it has committed. */
extern void attempts_write(const Attempts *attempts);
extern void attempts_clear(Attempts *attempts);

#endif							/* DTM_COORDINATOR_ATTEMPTS_H */
