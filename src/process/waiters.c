/*
 * waiters.c
 *		Sessions that wait for the end of a global transaction.
 *
 * A hash table of lists in shared memory, of all databases.  A session adds
 * itself, and whoever commits an end looks for sessions in the list of its id.
 * Why no wake-up is lost:
 *
 * 1. The session adds itself, then takes a snapshot to look at the status.
 * 2. Whoever ends the transaction makes its commit visible, then looks at the
 *    list.
 * 3. If 2 finds the list without the session, the session was added after that
 *    look, so its snapshot is later than the commit, and it sees the end.
 *
 * That a list is empty is seen without the lock, so that a commit which nobody
 * waits for costs one look at memory for each end; the barriers keep the order of
 * 1 and 2.
 */
#include "process/waiters.h"

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "storage/spin.h"

/* Index of a waiter that there is not. */
#define NOBODY	0

typedef struct Waiter
{
	uint32		next;			/* in its list, or in that of free ones */
	Oid			database;
	int64		id;				/* of the global transaction */
	Latch	   *latch;			/* of the session */
	bool		woken;			/* its latch has been, or is about to be, set */
} Waiter;

typedef struct Waiters
{
	slock_t		mutex;			/* over all of it */
	uint32		first_free;
	uint32		nlists;			/* a power of 2 */
	uint32		nwaiters;		/* with waiters[NOBODY], which is not used */
	Waiter	   *waiters;
	pg_atomic_uint32 lists[FLEXIBLE_ARRAY_MEMBER];	/* the first of each */
} Waiters;

static Waiters *shared = NULL;

/* Where this process is; NOBODY: it does not wait. */
static uint32 mine = NOBODY;

/* At least as many as there can be sessions, so that lists are short. */
static uint32
number_of_lists(void)
{
	uint32		n = 64;

	while (n < (uint32) MaxBackends)
		n *= 2;
	return n;
}

static Size
size_of_lists(void)
{
	return MAXALIGN(add_size(offsetof(Waiters, lists),
							 mul_size(number_of_lists(), sizeof(pg_atomic_uint32))));
}

Size
waiters_shmem_size(void)
{
	return add_size(size_of_lists(), mul_size(MaxBackends + 1, sizeof(Waiter)));
}

void
waiters_shmem_startup(void)
{
	bool		found;

	shared = ShmemInitStruct("dtm waiters", waiters_shmem_size(), &found);
	if (found)
		return;
	SpinLockInit(&shared->mutex);
	shared->nlists = number_of_lists();
	for (uint32 i = 0; i < shared->nlists; i++)
		pg_atomic_init_u32(&shared->lists[i], NOBODY);
	shared->nwaiters = (uint32) MaxBackends + 1;
	shared->waiters = (Waiter *) ((char *) shared + size_of_lists());
	for (uint32 i = 1; i < shared->nwaiters; i++)
		shared->waiters[i].next = i + 1 < shared->nwaiters ? i + 1 : NOBODY;
	shared->first_free = 1;
}

/* Ids of all databases are from sequences: their low digits spread them. */
static pg_atomic_uint32 *
list_of(int64 id)
{
	return &shared->lists[(uint64) id & (shared->nlists - 1)];
}

bool
waiters_enter(int64 id)
{
	pg_atomic_uint32 *list;

	if (shared == NULL)
		return false;
	waiters_leave();
	list = list_of(id);
	SpinLockAcquire(&shared->mutex);
	mine = shared->first_free;
	if (mine != NOBODY)
	{
		Waiter	   *waiter = &shared->waiters[mine];

		shared->first_free = waiter->next;
		waiter->database = MyDatabaseId;
		waiter->id = id;
		waiter->latch = MyLatch;
		waiter->woken = false;
		waiter->next = pg_atomic_read_u32(list);
		pg_atomic_write_u32(list, mine);
	}
	SpinLockRelease(&shared->mutex);
	pg_memory_barrier();		/* 1: before the snapshot */
	return mine != NOBODY;
}

void
waiters_leave(void)
{
	Waiter	   *waiter;
	pg_atomic_uint32 *list;
	uint32		index;

	if (mine == NOBODY)
		return;
	waiter = &shared->waiters[mine];
	list = list_of(waiter->id);
	SpinLockAcquire(&shared->mutex);
	index = pg_atomic_read_u32(list);
	if (index == mine)
		pg_atomic_write_u32(list, waiter->next);
	else
	{
		while (shared->waiters[index].next != mine)
			index = shared->waiters[index].next;
		shared->waiters[index].next = waiter->next;
	}
	waiter->latch = NULL;
	waiter->next = shared->first_free;
	shared->first_free = mine;
	SpinLockRelease(&shared->mutex);
	mine = NOBODY;
}

/* Most latches that are set without taking the lock again. */
#define WAKE_BATCH	32

/*
 * Latches are set without the lock.  One may belong to another process by then:
 * it is woken for nothing, and looks.
 */
static void
wake(Oid database, int64 id)
{
	Latch	   *latches[WAKE_BATCH];
	int			n;

	do
	{
		n = 0;
		SpinLockAcquire(&shared->mutex);
		for (uint32 index = pg_atomic_read_u32(list_of(id));
			 index != NOBODY && n < WAKE_BATCH; index = shared->waiters[index].next)
		{
			Waiter	   *waiter = &shared->waiters[index];

			if (waiter->id != id || waiter->database != database || waiter->woken)
				continue;
			waiter->woken = true;
			latches[n++] = waiter->latch;
		}
		SpinLockRelease(&shared->mutex);
		for (int i = 0; i < n; i++)
			SetLatch(latches[i]);
	} while (n == WAKE_BATCH);
}

void
waiters_wake(Oid database, const int64 *ids, int n)
{
	if (shared == NULL)
		return;
	pg_memory_barrier();		/* 2: after the commit */
	for (int i = 0; i < n; i++)
		if (pg_atomic_read_u32(list_of(ids[i])) != NOBODY)
			wake(database, ids[i]);
	waiters_wake_any(database);
}

void
waiters_wake_any(Oid database)
{
	if (shared == NULL)
		return;
	pg_memory_barrier();		/* 2: after the commit */
	if (pg_atomic_read_u32(list_of(WAITERS_ANY)) != NOBODY)
		wake(database, WAITERS_ANY);
}
