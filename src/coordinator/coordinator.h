/*
 * coordinator.h
 *		Drives the global transactions of this database: store, core and
 *		transport joined.
 *
 * A background worker runs one for as long as it lives, dtm_run_due() one for
 * the time of the call.  There is never more than one for a transaction: a
 * coordinator holds the lock of its share of them for as long as it keeps
 * transactions in memory, which its death releases at once.  That lock is the
 * lease of all that it has loaded.
 */
#ifndef DTM_COORDINATOR_H
#define DTM_COORDINATOR_H

#include "postgres.h"

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"

#include "process/shmem.h"
#include "store/store.h"

typedef struct Coordinator Coordinator;

/*
 * Takes over a share of this database's transactions, whose lock must be
 * held.  slot may be NULL.  Errors if there is no transport to be had.
 */
extern Coordinator *coordinator_create(StoreMode mode, DtmShare share,
									   DtmSharedSlot *slot);
extern void coordinator_destroy(Coordinator *coordinator);

/*
 * The time that it goes by from now on, instead of the clock's; 0 goes back
 * to the clock.  Without jitter.
 */
extern void coordinator_set_time(Coordinator *coordinator, TimestampTz now);

/* Does not take up more than this many transactions in all; -1: no limit. */
extern void coordinator_set_budget(Coordinator *coordinator, int64 budget);

/* Stops taking up transactions, and finishes the calls under way. */
extern void coordinator_set_draining(Coordinator *coordinator, bool draining);

/* Look at a transaction, or at all that are due. */
extern void coordinator_look_at(Coordinator *coordinator, const int64 *ids,
								int n);
extern void coordinator_search(Coordinator *coordinator);

/* Calls that follow from it wait until the WAL is on disk up to here. */
extern void coordinator_flush_until(Coordinator *coordinator, XLogRecPtr lsn);

/*
 * One turn: takes what calls have answered, decides, writes, sends.  Never
 * waits for a call.  What goes wrong with a transaction is logged, and that
 * transaction postponed; only what concerns all is thrown.
 */
extern void coordinator_turn(Coordinator *coordinator);

/* No calls under way, and nothing to be written. */
extern bool coordinator_is_idle(Coordinator *coordinator);

/* Nothing is due either, as far as is known. */
extern bool coordinator_is_done(Coordinator *coordinator);

/* A descriptor to wait on, and how long at most (ms; -1: for ever). */
extern int	coordinator_fd(Coordinator *coordinator);
extern long coordinator_timeout(Coordinator *coordinator);

/* For how long of that it would not read or write rows, in ms; 0: at once. */
extern long coordinator_doze(Coordinator *coordinator);

/* Settings have changed. */
extern void coordinator_reconfigure(Coordinator *coordinator);

/* ---------- lease.c ---------- */

/*
 * Takes the lock of a share if nobody has any of it; false: somebody has.  In a
 * transaction; it is kept until it is released.
 */
extern bool coordinator_take_lease(DtmShare share);
extern void coordinator_release_lease(DtmShare share);

#endif							/* DTM_COORDINATOR_H */
