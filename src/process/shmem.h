/*
 * shmem.h
 *		What backends, coordinators and the launcher tell each other: which
 *		database has a coordinator, what it has to look at, how it is doing.
 *
 * All of it may be lost at any time: the tables are the truth, and a
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

/* Gids that can be announced before a coordinator has to search for them. */
#define DTM_RING_SIZE	4096

/* Requests to a coordinator (bits). */
#define DTM_ASK_SEARCH	0x01	/* look for due ones in the table */
#define DTM_ASK_RECHECK	0x02	/* extension, pause or home may have changed */
#define DTM_ASK_STOP	0x04	/* disconnect from the database and exit */
#define DTM_ASK_DRAIN	0x08	/* the same when the calls under way have ended */

/* Those that one process is asked, rather than whoever follows it. */
#define DTM_ASK_LEAVE	(DTM_ASK_STOP | DTM_ASK_DRAIN)

typedef enum DtmCoordinatorState
{
	DTM_COORDINATOR_STARTING,
	DTM_COORDINATOR_RUNNING,
	DTM_COORDINATOR_PAUSED,
	DTM_COORDINATOR_YIELDING,	/* dtm_run_due has taken over */
	DTM_COORDINATOR_STOPPED,	/* died or could not start; to be restarted */
	DTM_COORDINATOR_GONE		/* no extension there: the slot can go */
} DtmCoordinatorState;

/* A coordinator of a database.  Kept by the launcher, used by all. */
typedef struct DtmSharedSlot
{
	slock_t		mutex;			/* over the fields up to the ring's */
	Oid			database;		/* InvalidOid: the slot is free */
	DtmShare	share;			/* the transactions that it drives there */
	pid_t		pid;			/* 0: not running */
	Latch	   *latch;			/* of that process */
	DtmCoordinatorState state;
	int			home;			/* StoreHome: why it is paused */
	bool		present;		/* it has seen that the extension is there */
	uint32		asked;			/* DTM_ASK_ bits not yet taken */
	bool		dozing;			/* it looks at the ring in a moment by itself */
	int			holds;			/* of a database's first: DROP DATABASE and the
								 * like, do not start */
	int			yields;			/* the same: sessions that want to run instead */
	XLogRecPtr	committed;		/* end of the latest commit that announced */
	uint32		ring_head;		/* next to be taken */
	uint32		ring_tail;		/* next to be put */
	int64		ring[DTM_RING_SIZE];	/* ids of committed work */

	/* Statistics, written by the coordinator alone. */
	pg_atomic_uint64 started_at;	/* TimestampTz of its start */
	pg_atomic_uint64 ncommits;	/* of its own transactions that wrote */
	pg_atomic_uint64 nfinished;
	pg_atomic_uint64 ncalls;
	pg_atomic_uint64 ncall_errors;
	pg_atomic_uint64 nerrors;	/* rows postponed because of an error */
	pg_atomic_uint32 loaded;	/* transactions in memory */
	pg_atomic_uint32 in_flight; /* calls */
	pg_atomic_uint32 queued;	/* calls waiting for their turn */
	DtmHostStats hosts[DTM_MAX_HOSTS];	/* under the mutex */
} DtmSharedSlot;

/* Databases that the launcher is asked to look at, before it looks at all. */
#define DTM_MAX_REQUESTED 32

typedef struct DtmShared
{
	slock_t		mutex;			/* over the launcher's part */
	Latch	   *launcher;		/* NULL: not running */
	bool		look_at_all;
	bool		databases_changed;	/* pg_database has */
	int			nrequested;
	Oid			requested[DTM_MAX_REQUESTED];
	int			nslots;
	DtmSharedSlot slots[FLEXIBLE_ARRAY_MEMBER];
} DtmShared;

/* NULL without shared_preload_libraries. */
extern DtmShared *dtm_shared;

/* From _PG_init of the postmaster. */
extern void dtm_shmem_init(void);

/* The slot of a database's first coordinator, or NULL. */
extern DtmSharedSlot *dtm_slot_of(Oid database);

/* The next of a database's slots behind one, or behind NULL; NULL: no more. */
extern DtmSharedSlot *dtm_next_slot(Oid database, DtmSharedSlot *previous);

/* At commit of this transaction: tell the coordinator about a row. */
extern void dtm_announce(int64 id);

/* At commit of this transaction: wake who waits for the end of that one. */
extern void dtm_announce_end(int64 id);

/* At commit of this transaction: ask it for something (DTM_ASK_ bits). */
extern void dtm_announce_ask(uint32 what);

/* Now: ask the coordinators of a database, or the launcher if it has none. */
extern void dtm_ask(Oid database, uint32 what);

/* Now: ask one. */
extern void dtm_ask_slot(DtmSharedSlot *slot, uint32 what);

/* Now: the launcher shall see what has become of pg_database. */
extern void dtm_tell_launcher_of_databases(void);

/*
 * No coordinator in the database of that first slot until this transaction
 * ends, however it does.
 */
extern void dtm_hold_until_end(DtmSharedSlot *slot);

/* Is there somebody who wants no coordinator in a database? */
extern bool dtm_is_held(Oid database);

/* The launcher shall see whether this database needs a coordinator. */
extern void dtm_ask_launcher(Oid database);

/*
 * While it dozes, commits do not wake the coordinator: it will not do anything
 * for a moment, and then look at what was announced.
 */
extern void dtm_set_dozing(DtmSharedSlot *slot, bool dozing);

/*
 * The coordinator's side: takes up to "max" ids that were announced, the end
 * of their commits in the WAL, and the requests.
 */
extern int	dtm_take_announced(DtmSharedSlot *slot, int64 *ids, int max,
							   uint32 *asked, XLogRecPtr *committed);

/* The coordinator's side: how a host is doing; and that nothing is known of any. */
extern void dtm_publish_host(DtmSharedSlot *slot, int place,
							 const DtmHostStats *stats);
extern void dtm_forget_hosts(DtmSharedSlot *slot);

/* The host of a place as it was told last; false: there is none. */
extern bool dtm_read_host(DtmSharedSlot *slot, int place, DtmHostStats *stats);

extern void dtm_set_state(DtmSharedSlot *slot, DtmCoordinatorState state);
extern const char *dtm_state_name(DtmCoordinatorState state);

#endif							/* DTM_SHMEM_H */
