/*
 * slots.h
 *		The slots in shared memory, as the launcher gives them to databases and
 *		takes them back.
 */
#ifndef DTM_SLOTS_H
#define DTM_SLOTS_H

#include "postgres.h"

#include "process/shmem.h"

/*
 * Gives a coordinator of a database a slot: one of so many.  Returns its index;
 * -1 if none is free, or it has one.  The worker is started afterwards, see
 * concerns() in shmem.c.
 */
extern int	slot_assign(Oid database, int number, int of);

/* False: somebody has announced something to it, or waits for it. */
extern bool slot_free(DtmSharedSlot *slot);

/* The database is gone, and with it all that was announced there. */
extern void slot_clear(DtmSharedSlot *slot);

/* When its worker, which has died, is started again; 0: it did not die. */
extern void slot_restarts_at(DtmSharedSlot *slot, TimestampTz when);

/* The slot of one of a database's coordinators, or NULL. */
extern DtmSharedSlot *slot_of_share(Oid database, int number);

/* Has its database others? */
extern bool slot_has_others(const DtmSharedSlot *slot);

/* Has a database slots that are not one of so many, but for that one? */
extern bool slots_of_another_number(Oid database, int wanted,
									const DtmSharedSlot *but);

#endif							/* DTM_SLOTS_H */
