/*
 * flight.h
 *		A flight recorder: what was running when the server crashed.
 *
 * Each process that calls functions or drives global transactions notes what it
 * does, with a few stores to memory.  That memory is a file that all processes have
 * mapped, so it outlives them.  After a crash the coordinators read it, count what
 * was running as a failure, and retry it later (coordinator/crashed.c).  Without it,
 * a function that crashes the server would do so again at once, for ever.  The file
 * need not outlive the machine: it is never flushed.
 *
 * A process that is told to quit, because another one has crashed, marks its
 * record.  Such bystanders are suspected only if there is no other suspect.
 */
#ifndef DTM_PROCESS_FLIGHT_H
#define DTM_PROCESS_FLIGHT_H

#include "postgres.h"

#include "datatype/timestamp.h"

typedef enum FlightKind
{
	FLIGHT_NONE,
	FLIGHT_FUNCTION,			/* a function is called for an op */
	FLIGHT_TURN					/* the coordinator sees to a transaction */
} FlightKind;

/* What one process was doing at the crash. */
typedef struct FlightRecord
{
	Oid			database;
	uint32		kind;			/* FlightKind */
	int64		id;				/* of the global transaction */
	int32		op;				/* FUNCTION: index in its ops */
	uint32		bystander;		/* it was told to quit */
	TimestampTz started;		/* of the function, or the coordinator */
} FlightRecord;

/* From _PG_init of the postmaster. */
extern void flight_init(void);

/* ---------- while the server runs ---------- */

/*
 * The function of a place for local workers is called from now on, or does not
 * run any more.
 */
extern void flight_begin_function(int place, Oid database, int64 id, int op);
extern void flight_end_function(int place);

/*
 * This process is the worker of that place, and begins with what it was given; or
 * the coordinator of that slot.
 */
extern void flight_attach_function(int place);
extern void flight_attach_turn(int slot, Oid database);
extern void flight_detach_turn(void);

/* The id of the record of this process; a dummy where there is none. */
extern int64 *flight_current;

/* The coordinator sees to this transaction now; 0: to none in particular. */
static inline void
flight_turn(int64 id)
{
	*(volatile int64 *) flight_current = id;
}

/* ---------- after a crash ---------- */

/*
 * The next record of a crash that concerns a database; *position starts with 0.
 * False: there are no more.  Those of other processes may change meanwhile, those
 * of this database do not but by flight_forget().
 */
extern bool flight_next(int *position, Oid database, FlightRecord *record);

/* A record has been seen to. */
extern void flight_forget(int position);

/* The database, or its extension, is gone. */
extern void flight_forget_database(Oid database);

#endif							/* DTM_PROCESS_FLIGHT_H */
