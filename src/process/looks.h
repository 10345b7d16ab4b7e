/*
 * looks.h
 *		When the alerts of a database are to be looked for.
 *
 * What needs a person is derived from the tables and from shared memory
 * (process/alerter.c).  Whoever brings such a state about only asks for a look,
 * which costs the look at one word if somebody has asked before.
 *
 * 1. Only the earliest time is kept.  A look sees all that was committed or
 *    published before it was asked for; what will be a reason only later, it
 *    finds, too, and asks for the next look itself.
 * 2. If the request is lost, with the server's memory, the coordinator that
 *    starts next asks anew where there is a reason (alerts_at_start()).
 */
#ifndef DTM_LOOKS_H
#define DTM_LOOKS_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "process/shmem.h"

/* So much later than what is the matter, in us: more of the same comes with it. */
#define LOOK_GATHER		INT64CONST(500000)

/* Asks for a look at the alerts of a database, at a time. */
extern void looks_ask(Oid database, TimestampTz when);

/* The same of this database, LOOK_GATHER after the commit of this transaction. */
extern void looks_ask_at_commit(void);

/* When a look was asked for; DT_NOEND: none was. */
extern TimestampTz looks_due(DtmSharedSlot *slot);

/* The same, and it is not asked for any more. */
extern TimestampTz looks_take(DtmSharedSlot *slot);

/*
 * Since when one of the coordinators of a database has not run for the longest, but
 * for those that have not since "after" or longer; DT_NOEND: all others do.
 */
extern TimestampTz looks_ailing_since(Oid database, TimestampTz after);

/* Wakes the process that looks; false: there is none. */
extern bool looks_wake(DtmSharedSlot *slot);

#endif							/* DTM_LOOKS_H */
