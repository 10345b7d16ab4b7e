/*
 * notes.h
 *		What a coordinator calls now, in shared memory, for dtm.in_flight.
 *
 * Each call that is started has a note until it is reaped or canceled.  Only the
 * coordinator writes the notes of its slot; readers copy them without a lock.
 */
#ifndef DTM_COORDINATOR_NOTES_H
#define DTM_COORDINATOR_NOTES_H

#include "postgres.h"

#include "process/shmem.h"

typedef struct Notes
{
	DtmSharedSlot *slot;		/* NULL: nobody can read notes */
	int		   *free;			/* places without a note: nfree of them */
	int			nfree;
} Notes;

/* Takes the places of a slot, and removes what its last coordinator has left. */
extern void notes_open(Notes *notes, MemoryContext context, DtmSharedSlot *slot);
extern void notes_close(Notes *notes);

/* A call waits for its turn from now on; -1: there is no place for a note. */
extern int	notes_begin(Notes *notes, int64 id, int op);
extern void notes_end(Notes *notes, int place);

/* Where it is noted when the call is sent, in us since the Unix epoch; NULL: nowhere. */
extern int64 *notes_sent(Notes *notes, int place);

#endif							/* DTM_COORDINATOR_NOTES_H */
