/*
 * committing.c
 *		Transactions that have committed here, and not everywhere yet.
 *
 * A transaction that writes on several nodes of Citus prepares what is remote,
 * commits here, and then commits the rest (COMMIT PREPARED) in its commit
 * callback.  In between, its rows of dtm's can be seen here, and what a participant
 * needs may not be there to be seen.  The one who commits tells the coordinator
 * afterwards (shmem.c); but a search that is made for any other reason would find the
 * rows before that.  So each such transaction is in an array in shared memory from before its
 * commit until it is done:
 *
 * 1. It is there before its rows can be seen.  Whoever has seen them looks at the
 *    array afterwards; if it is not there any more, it was done.
 * 2. A row that was written in a subtransaction has the id of that.  Such ids lie
 *    between that of the transaction and the last one that it had when it wrote a
 *    row of ours.  Others' ids lie there, too: their rows have to wait as well,
 *    which costs them time, and no more.
 * 3. A commit that fails is an abort, which takes it out.  A process that dies takes all
 *    processes with it, and the array.
 * 4. COMMIT PREPARED is not concerned: on a node where Citus has prepared the
 *    transaction, another one coordinates it.
 * 5. A row that another transaction has changed since is that one's.
 */
#include "process/committing.h"

#include "access/transam.h"
#include "access/twophase.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/resowner.h"

typedef struct Committing
{
	pg_atomic_uint32 n;			/* places that are taken */
	int			nplaces;		/* one for each process */
	pg_atomic_uint64 places[FLEXIBLE_ARRAY_MEMBER]; /* the transaction and its
													 * last id, 32 bits each;
													 * 0: none */
} Committing;

/* NULL without shared_preload_libraries. */
static Committing *shared = NULL;

/* The last id of this transaction when it wrote a row of ours; invalid: it has not. */
static TransactionId last = InvalidTransactionId;

/* It has its place in the array. */
static bool placed = false;

static int
nplaces(void)
{
	return MaxBackends + NUM_AUXILIARY_PROCS + max_prepared_xacts;
}

Size
committing_shmem_size(void)
{
	return citus_loaded ? add_size(offsetof(Committing, places),
								   mul_size(nplaces(), sizeof(pg_atomic_uint64))) : 0;
}

void
committing_shmem_startup(void)
{
	bool		found;

	if (!citus_loaded)
		return;
	shared = ShmemInitStruct("dtm committing", committing_shmem_size(), &found);
	if (found)
		return;
	pg_atomic_init_u32(&shared->n, 0);
	shared->nplaces = nplaces();
	for (int i = 0; i < shared->nplaces; i++)
		pg_atomic_init_u64(&shared->places[i], 0);
}

static pg_atomic_uint64 *
my_place(void)
{
	int			number = (int) (MyProc - ProcGlobal->allProcs);

	Assert(number >= 0 && number < shared->nplaces);
	return &shared->places[number];
}

void
committing_end(void)
{
	last = InvalidTransactionId;
	if (!placed)
		return;
	placed = false;
	pg_atomic_write_u64(my_place(), 0);
	pg_atomic_fetch_sub_u32(&shared->n, 1);
}

static void
begin(void)
{
	uint64		first = GetTopTransactionId();

	pg_atomic_write_u64(my_place(), first << 32 | last);
	/* a barrier: whoever sees the rows sees this */
	pg_atomic_fetch_add_u32(&shared->n, 1);
	placed = true;
}

static void
at_transaction_event(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_COMMIT && TransactionIdIsValid(last))
		begin();
	else if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		committing_end();
}

/* Behind the callbacks of a commit, with all that they have done on other nodes. */
static void
at_release(ResourceReleasePhase phase, bool is_commit, bool is_top, void *arg)
{
	if (phase == RESOURCE_RELEASE_AFTER_LOCKS && is_top)
		committing_end();
}

void
committing_note(void)
{
	static bool registered = false;
	TransactionId now;

	citus_use_two_phase();
	if (shared == NULL)
		return;
	if (!registered)
	{
		RegisterXactCallback(at_transaction_event, NULL);
		RegisterResourceReleaseCallback(at_release, NULL);
		registered = true;
	}
	now = GetCurrentTransactionId();
	if (!TransactionIdIsValid(last) || TransactionIdFollows(now, last))
		last = now;
}

TransactionId
committing_find(TransactionId writer)
{
	if (shared == NULL || !TransactionIdIsNormal(writer) ||
		pg_atomic_read_u32(&shared->n) == 0)
		return InvalidTransactionId;
	for (int i = 0; i < shared->nplaces; i++)
	{
		uint64		place = pg_atomic_read_u64(&shared->places[i]);
		TransactionId first = (TransactionId) (place >> 32);

		if (place != 0 && TransactionIdFollowsOrEquals(writer, first) &&
			TransactionIdPrecedesOrEquals(writer, (TransactionId) place))
			return first;
	}
	return InvalidTransactionId;
}
