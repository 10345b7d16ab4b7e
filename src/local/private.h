/*
 * private.h
 *		Shared memory of a coordinator and its workers for local branches.
 */
#ifndef DTM_LOCAL_PRIVATE_H
#define DTM_LOCAL_PRIVATE_H

#include "local.h"

#include "storage/latch.h"
#include "storage/spin.h"

typedef enum LocalState
{
	LOCAL_FREE,					/* no worker */
	LOCAL_IDLE,
	LOCAL_BUSY,					/* has the task below; set by the coordinator,
								 * also before the worker has started */
	LOCAL_DONE,					/* has an outcome; set by the worker */
	LOCAL_ENDED					/* the worker has exited; the coordinator frees
								 * the slot */
} LocalState;

/* A worker, and its task. */
typedef struct LocalWorker
{
	slock_t		mutex;			/* protects all fields */
	LocalState	state;
	bool		leave;			/* must exit; nobody waits for an outcome */
	uint32		generation;		/* changes when a worker is started */
	Oid			database;
	Oid			role;
	pid_t		pid;			/* of the worker; 0: not started yet */
	Latch	   *latch;			/* of the worker */
	pid_t		owner;			/* the coordinator's process */
	Latch	   *owner_latch;
	int64		id;				/* the task, see LocalTask */
	int			op;
	int			timeout;
	TimestampTz now;
	bool		recorded;		/* its outcome, see LocalTask */
	DtmResult	result;
	bool		final;
	int			failures;
	TimestampTz started;
	int64		duration;
	char		error[LOCAL_ERROR_SIZE];
} LocalWorker;

typedef struct LocalShared
{
	int			nworkers;
	LocalWorker workers[FLEXIBLE_ARRAY_MEMBER];
} LocalShared;

/* NULL without shared_preload_libraries. */
extern LocalShared *local_shared;

#endif							/* DTM_LOCAL_PRIVATE_H */
