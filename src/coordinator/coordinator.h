/*
 * coordinator.h
 *		Drives the global transactions of this database with store, core and
 *		transport.
 *
 * A background worker runs a coordinator as long as it lives; dtm_run_due()
 * runs one during the call.  A transaction never has more than one
 * coordinator: a coordinator holds the lock of its share as long as it has
 * transactions in memory.  The death of the process releases the lock at once.
 * That lock is the lease of all loaded transactions.
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
 * Creates a coordinator for a share of this database's transactions, whose
 * lock must be held. slot may be NULL.  An error if the transport cannot be
 * created.
 */
extern Coordinator *coordinator_create(StoreMode mode, DtmShare share,
									   DtmSharedSlot *slot);
extern void coordinator_destroy(Coordinator *coordinator);

/*
 * Sets the time to use instead of the clock's, without jitter; 0 returns to
 * the clock.
 */
extern void coordinator_set_time(Coordinator *coordinator, TimestampTz now);

/* Sets the number of transactions to process in total; -1: no limit. */
extern void coordinator_set_budget(Coordinator *coordinator, int64 budget);

/* Draining: takes up no transactions, and finishes the calls in flight. */
extern void coordinator_set_draining(Coordinator *coordinator, bool draining);

/*
 * Requests to process some transactions; those that others have written and
 * committed, without their ids; or all that are due.
 */
extern void coordinator_look_at(Coordinator *coordinator, const int64 *ids,
								int n);
extern void coordinator_search(Coordinator *coordinator);
extern void coordinator_search_all(Coordinator *coordinator);

/* When rows become due that the next of these searches is to find. */
extern void coordinator_note_written(Coordinator *coordinator,
									 const DtmWritten *written);

/* Hosts that do not answer are called as soon as there is a call. */
extern void coordinator_probe_now(Coordinator *coordinator);

/* Calls wait until the WAL is on disk up to this position. */
extern void coordinator_flush_until(Coordinator *coordinator, XLogRecPtr lsn);

/*
 * A turn: takes the replies of calls, decides, writes, and sends calls.  Never
 * waits for a call.  An error of one transaction is logged, and the
 * transaction is postponed; only errors that concern all transactions are
 * thrown.
 */
extern void coordinator_turn(Coordinator *coordinator);

/* No calls are in flight, and nothing must be written. */
extern bool coordinator_is_idle(Coordinator *coordinator);

/* Also, nothing is known to be due. */
extern bool coordinator_is_done(Coordinator *coordinator);

/* A descriptor to wait for, and the maximum time (ms; -1: no limit). */
extern int	coordinator_fd(Coordinator *coordinator);
extern long coordinator_timeout(Coordinator *coordinator);

/* The part of that time in which it will not read or write rows, in ms. */
extern long coordinator_doze(Coordinator *coordinator);

/* The wall clock was set: due times are seen to anew. */
extern void coordinator_clock_set(Coordinator *coordinator);

/* Settings have changed. */
extern void coordinator_reconfigure(Coordinator *coordinator);

/* ---------- lease.c ---------- */

/*
 * Takes the lock of a share, without waiting; false if another coordinator
 * holds a part of it.  Needs a transaction; the lock is held until it is
 * released.
 */
extern bool coordinator_take_lease(DtmShare share);
extern void coordinator_release_lease(DtmShare share);

#endif							/* DTM_COORDINATOR_H */
