/*
 * waiters.h
 *		Sessions that wait for the end of a global transaction, in shared memory:
 *		only those whose transaction has ended are woken.
 */
#ifndef DTM_WAITERS_H
#define DTM_WAITERS_H

#include "postgres.h"

/* For the shared memory of the library (shmem.c). */
extern Size waiters_shmem_size(void);
extern void waiters_shmem_startup(void);

/*
 * From now on this process has its latch set when a transaction of its database
 * has ended.  False if nobody would do that: there is no shared memory.  To be
 * followed by a look whether it has ended already, with a new snapshot, and by
 * waiters_leave() however the wait ends.
 */
extern bool waiters_enter(int64 id);
extern void waiters_leave(void);

/*
 * Instead of an id: whatever ends, or is put off, in the database.  For a session
 * that waits on behalf of many.
 */
#define WAITERS_ANY	INT64CONST(0)

/* In this database, a transaction was put off, in a commit that is visible. */
extern void waiters_wake_any(Oid database);

/* These have ended, in a commit that is visible: wakes those who wait for them. */
extern void waiters_wake(Oid database, const int64 *ids, int n);

#endif							/* DTM_WAITERS_H */
