/*
 * shmem.h
 *		Shared memory of backends, coordinators and the launcher: which
 *		database has a coordinator, which transactions it must read, and its
 *		statistics.
 *
 * All of it may be lost at any time: the state is in the tables, and a
 * coordinator that starts reads them from the beginning.
 */
#ifndef DTM_SHMEM_H
#define DTM_SHMEM_H

#include "postgres.h"

#include "transaction.h"
#include "transport/transport.h"

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/spin.h"

/*
 * Number of ids that can be announced; with more, the coordinator must search.
 */
#define DTM_RING_SIZE	4096

/* Requests to a coordinator (bits). */
#define DTM_ASK_SEARCH	0x01	/* search the table for due rows */
#define DTM_ASK_RECHECK	0x02	/* extension, pause or home may have changed */
#define DTM_ASK_STOP	0x04	/* disconnect from the database and exit */
#define DTM_ASK_DRAIN	0x08	/* the same, after the calls in flight have
								 * ended */
#define DTM_ASK_PROBE	0x10	/* call hosts that do not answer as soon as
								 * possible */

/*
 * When rows become due that were written, and of which the coordinator is not
 * told by their ids; DT_NOEND: there are none.
 */
typedef struct DtmWritten
{
	TimestampTz first;			/* the earliest next_time */
	TimestampTz ahead;			/* the earliest that was in the future when it
								 * was written */
} DtmWritten;

/* Requests for one process, which its successor does not inherit. */
#define DTM_ASK_LEAVE	(DTM_ASK_STOP | DTM_ASK_DRAIN)

/* Calls of a coordinator that are noted at a time; others are not shown. */
#define DTM_CALL_NOTES	2048

/* A call that waits for its turn, or is in flight (coordinator/notes.h). */
typedef struct DtmCallNote
{
	int64		id;				/* of the global transaction; 0: no call */
	TimestampTz queued;			/* when it was decided on */
	int64		sent;			/* us since the Unix epoch; 0: it waits */
	int32		op;				/* index in the ops, or DTM_CALL_QUERY */
} DtmCallNote;

typedef enum DtmCoordinatorState
{
	DTM_COORDINATOR_STARTING,
	DTM_COORDINATOR_RUNNING,
	DTM_COORDINATOR_DRAINING,	/* it starts no calls, and will be one of
								 * those below when those in flight have ended */
	DTM_COORDINATOR_PAUSED,
	DTM_COORDINATOR_YIELDING,	/* dtm_run_due has taken over */
	DTM_COORDINATOR_STOPPED,	/* died or could not start; will be restarted */
	DTM_COORDINATOR_GONE		/* the extension is not installed; the slot
								 * can be freed */
} DtmCoordinatorState;

/*
 * The slot of a coordinator of a database.  The launcher manages it; all
 * processes use it.
 */
typedef struct DtmSharedSlot
{
	slock_t		mutex;			/* protects the fields up to the ring */
	Oid			database;		/* InvalidOid: the slot is free */
	DtmShare	share;			/* the share of the transactions that it
								 * drives */
	pid_t		pid;			/* 0: not running */
	Latch	   *latch;			/* of that process */
	DtmCoordinatorState state;
	bool		has_left;		/* it has ended because it was told to, or was
								 * not to run now */
	TimestampTz restart_at;		/* when one that has died is started again; 0:
								 * it did not die */
	TimestampTz ailing_since;	/* since when it has not run, other than for
								 * dtm_run_due(); 0: it runs */
	int			home;			/* StoreHome: why it is paused */
	Oid			marker;			/* what a prepared transaction that concerns
								 * its coordinator invalidates; InvalidOid:
								 * not known yet.  Read without the mutex */
	bool		present;		/* it has found the extension */
	uint32		asked;			/* DTM_ASK_ bits that were not taken yet */
	DtmWritten	written;		/* for the searches that are asked for */
	bool		dozing;			/* it will read the ring soon, without being
								 * woken */
	int			holds;			/* first slot of a database: number of
								 * commands (DROP DATABASE and others) that
								 * prevent a start */
	int			yields;			/* first slot of a database: number of
								 * sessions that want to run instead */
	TimestampTz look_at;		/* first slot of a database: when alerts are
								 * to be looked for (process/looks.h) */
	pid_t		alerter_pid;	/* the same: who looks; 0: nobody does now */
	Latch	   *alerter;		/* of that process */
	bool		alerter_is_done;	/* the last one had nothing left to do */
	XLogRecPtr	committed;		/* end of the latest commit that announced an
								 * id */
	uint32		ring_head;		/* next element to take */
	uint32		ring_tail;		/* next element to fill */
	int64		ring[DTM_RING_SIZE];	/* ids of committed changes */

	/* Statistics, which only the coordinator writes. */
	pg_atomic_uint64 started_at;	/* TimestampTz of its start */
	pg_atomic_uint64 ncommits;	/* its own commits that wrote something */
	pg_atomic_uint64 nfinished;
	pg_atomic_uint64 ncalls;
	pg_atomic_uint64 ncall_errors;
	pg_atomic_uint64 nerrors;	/* rows that were postponed because of an
								 * error */
	pg_atomic_uint64 nspans;	/* sent to dtm.otlp_endpoint */
	pg_atomic_uint64 nspans_dropped;
	pg_atomic_uint32 loaded;	/* transactions in memory */
	pg_atomic_uint32 in_flight; /* calls */
	pg_atomic_uint32 queued;	/* calls that wait for their turn */
	DtmHostStats hosts[DTM_MAX_HOSTS];	/* under the mutex */
	DtmCallNote calls[DTM_CALL_NOTES];	/* without the mutex */
} DtmSharedSlot;

/*
 * Number of databases that the launcher can be asked to check; with more, it
 * checks all.
 */
#define DTM_MAX_REQUESTED 32

typedef struct DtmShared
{
	slock_t		mutex;			/* protects the fields of the launcher */
	Latch	   *launcher;		/* NULL: not running */
	bool		look_at_all;
	bool		databases_changed;	/* pg_database has */
	bool		no_worker;		/* a coordinator could not be started, since
								 * no background worker was free */
	int			nrequested;
	Oid			requested[DTM_MAX_REQUESTED];
	int			nslots;
	DtmSharedSlot slots[FLEXIBLE_ARRAY_MEMBER];
} DtmShared;

/* NULL without shared_preload_libraries. */
extern DtmShared *dtm_shared;

/* Called from _PG_init of the postmaster. */
extern void dtm_shmem_init(void);

/* The slot of the first coordinator of a database, or NULL. */
extern DtmSharedSlot *dtm_slot_of(Oid database);

/*
 * The slot of a database that follows "previous"; NULL starts the iteration
 * and ends it.
 */
extern DtmSharedSlot *dtm_next_slot(Oid database, DtmSharedSlot *previous);

/*
 * Announces a row to the coordinator when this transaction commits: it has been
 * written, and becomes due then (DT_NOEND: it does not).
 */
extern void dtm_announce(int64 id, TimestampTz due);

/* The same of many rows that become due at that time, without their ids. */
extern void dtm_announce_rows(TimestampTz due);

/* Has this transaction something to announce? */
extern bool dtm_has_announcements(void);

/*
 * Before this transaction is prepared: tells the coordinators now when its rows
 * become due.  Whoever commits it asks them for a search.
 */
extern void dtm_note_written(void);

/*
 * Wakes the sessions that wait for the end of a global transaction when this
 * transaction commits.
 */
extern void dtm_announce_end(int64 id);

/*
 * Sends requests (DTM_ASK_ bits) to the coordinators when this transaction
 * commits.
 */
extern void dtm_announce_ask(uint32 what);

/*
 * Sends requests now, to the coordinators of a database, or to the launcher if
 * there are none.
 */
extern void dtm_ask(Oid database, uint32 what);

/* Sends requests to one coordinator now. */
extern void dtm_ask_slot(DtmSharedSlot *slot, uint32 what);

/* Now: the launcher shall see what has become of pg_database. */
extern void dtm_tell_launcher_of_databases(void);

/*
 * Keeps coordinators out of the database of this first slot until this
 * transaction ends, by commit or abort.
 */
extern void dtm_hold_until_end(DtmSharedSlot *slot);

/* Is a coordinator kept out of this database? */
extern bool dtm_is_held(Oid database);

/* The launcher looks at what is in shared memory. */
extern void dtm_wake_launcher(void);

/* Asks the launcher to check whether this database needs a coordinator. */
extern void dtm_ask_launcher(Oid database);

/*
 * While a coordinator dozes, commits do not wake it: it waits for its next
 * turn, and then reads what was announced.
 */
extern void dtm_set_dozing(DtmSharedSlot *slot, bool dozing);

/*
 * For the coordinator: takes up to "max" announced ids, the end of their
 * commits in the WAL, the requests, and what searches have to know.
 */
extern int	dtm_take_announced(DtmSharedSlot *slot, int64 *ids, int max,
							   uint32 *asked, XLogRecPtr *committed,
							   DtmWritten *written);

static inline void
dtm_reset_written(DtmWritten *written)
{
	written->first = written->ahead = DT_NOEND;
}

/*
 * For the coordinator: publishes the statistics of a host; removes those of
 * all hosts.
 */
extern void dtm_publish_host(DtmSharedSlot *slot, int place,
							 const DtmHostStats *stats);
extern void dtm_forget_hosts(DtmSharedSlot *slot);

/* The published statistics of a place; false: there is no host. */
extern bool dtm_read_host(DtmSharedSlot *slot, int place, DtmHostStats *stats);

/* The call at a place; false: there is none. */
extern bool dtm_read_call(DtmSharedSlot *slot, int place, DtmCallNote *call);

/*
 * Is a call of an op known to wait for its turn or to be in flight, in a database?  A
 * coordinator notes DTM_CALL_NOTES of its calls.
 */
extern bool dtm_has_call(Oid database, int64 id, int op);

extern void dtm_set_state(DtmSharedSlot *slot, DtmCoordinatorState state);

/* The same under the slot's mutex.  What runs is known to be well by dtm_note_well(). */
static inline void
dtm_change_state(DtmSharedSlot *slot, DtmCoordinatorState state, TimestampTz now)
{
	slot->state = state;
	if (state == DTM_COORDINATOR_YIELDING)
		slot->ailing_since = 0;
	else if (state != DTM_COORDINATOR_RUNNING && state != DTM_COORDINATOR_DRAINING &&
			 slot->ailing_since == 0)
		slot->ailing_since = now;
}

/* For the coordinator, after each turn: it runs, and without an error. */
static inline void
dtm_note_well(DtmSharedSlot *slot)
{
	if (slot->ailing_since == 0)
		return;
	SpinLockAcquire(&slot->mutex);
	slot->ailing_since = 0;
	SpinLockRelease(&slot->mutex);
}

extern const char *dtm_state_name(DtmCoordinatorState state);

#endif							/* DTM_SHMEM_H */
