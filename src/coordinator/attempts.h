/*
 * attempts.h
 *		Calls that took place, to be written with the turn.
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
	MemoryContext context;		/* of their errors */
} Attempts;

extern void attempts_init(Attempts *attempts, MemoryContext parent);

/* A call of a transaction has come to this; the text, if it is an error's, is copied. */
extern void attempts_add(Attempts *attempts, int64 id, const Call *call,
						 DtmResult result, const char *text);

/* In a transaction; and when that has committed. */
extern void attempts_write(const Attempts *attempts);
extern void attempts_clear(Attempts *attempts);

#endif							/* DTM_COORDINATOR_ATTEMPTS_H */
