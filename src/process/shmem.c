/*
 * shmem.c
 *		Shared memory, and the announcements of a transaction to the
 *		coordinator at commit.
 */
#include "process/shmem.h"

#include "citus.h"
#include "compat.h"
#include "process/committing.h"
#include "process/metrics.h"
#include "process/waiters.h"
#include "transaction.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

/*
 * Ids remembered for one commit; with more the coordinator searches.  A few such
 * commits have to fit into the ring.
 */
#define MAX_PENDING (DTM_RING_SIZE / 4)

DtmShared  *dtm_shared = NULL;

static shmem_startup_hook_type previous_startup_hook = NULL;
static shmem_request_hook_type previous_request_hook = NULL;

/* What the current transaction will announce. */
static int64 pending_ids[MAX_PENDING];
static int	npending = 0;
static uint32 pending_asks = 0;
static DtmWritten pending_written = {DT_NOEND, DT_NOEND};

/* The transactions that it ends; grows, and is kept. */
static int64 *ended_ids = NULL;
static int	nended = 0;
static int	ended_size = 0;

static bool callback_registered = false;

/* It has committed, and is about to tell. */
static bool has_committed = false;

/* A database whose coordinator is kept away by the current transaction. */
static DtmSharedSlot *held = NULL;

static Size
shmem_size(void)
{
	return add_size(offsetof(DtmShared, slots),
					mul_size(max_worker_processes, sizeof(DtmSharedSlot)));
}

static void
shmem_request(void)
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(add_size(add_size(shmem_size(), committing_shmem_size()),
									add_size(waiters_shmem_size(), metrics_shmem_size())));
}

static void
init_slot(DtmSharedSlot *slot)
{
	SpinLockInit(&slot->mutex);
	/* never 0: concerns() divides by it without the lock */
	slot->share.of = 1;
	dtm_reset_written(&slot->written);
	slot->look_at = DT_NOEND;
	pg_atomic_init_u64(&slot->started_at, 0);
	pg_atomic_init_u64(&slot->ncommits, 0);
	pg_atomic_init_u64(&slot->nfinished, 0);
	pg_atomic_init_u64(&slot->ncalls, 0);
	pg_atomic_init_u64(&slot->ncall_errors, 0);
	pg_atomic_init_u64(&slot->nerrors, 0);
	pg_atomic_init_u32(&slot->loaded, 0);
	pg_atomic_init_u32(&slot->in_flight, 0);
	pg_atomic_init_u32(&slot->queued, 0);
}

static void
shmem_startup(void)
{
	bool		found;

	if (previous_startup_hook)
		previous_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	dtm_shared = ShmemInitStruct("dtm", shmem_size(), &found);
	if (!found)
	{
		memset(dtm_shared, 0, shmem_size());
		SpinLockInit(&dtm_shared->mutex);
		dtm_shared->nslots = max_worker_processes;
		for (int i = 0; i < dtm_shared->nslots; i++)
			init_slot(&dtm_shared->slots[i]);
	}
	waiters_shmem_startup();
	metrics_shmem_startup();
	committing_shmem_startup();
	LWLockRelease(AddinShmemInitLock);
}

void
dtm_shmem_init(void)
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = shmem_request;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = shmem_startup;
}

DtmSharedSlot *
dtm_next_slot(Oid database, DtmSharedSlot *previous)
{
	if (dtm_shared == NULL)
		return NULL;
	for (int i = previous == NULL ? 0 : (int) (previous - dtm_shared->slots) + 1;
		 i < dtm_shared->nslots; i++)
		if (dtm_shared->slots[i].database == database)
			return &dtm_shared->slots[i];
	return NULL;
}

DtmSharedSlot *
dtm_slot_of(Oid database)
{
	DtmSharedSlot *slot = NULL;

	while ((slot = dtm_next_slot(database, slot)) != NULL)
		if (slot->share.number == 0)
			return slot;
	return NULL;
}

void
dtm_ask_launcher(Oid database)
{
	Latch	   *latch;

	if (dtm_shared == NULL)
		return;
	SpinLockAcquire(&dtm_shared->mutex);
	if (!OidIsValid(database))
		dtm_shared->look_at_all = true;
	else
	{
		bool		known = false;

		for (int i = 0; i < dtm_shared->nrequested; i++)
			known = known || dtm_shared->requested[i] == database;
		if (known)
			;
		else if (dtm_shared->nrequested < DTM_MAX_REQUESTED)
			dtm_shared->requested[dtm_shared->nrequested++] = database;
		else
			dtm_shared->look_at_all = true;
	}
	latch = dtm_shared->launcher;
	SpinLockRelease(&dtm_shared->mutex);
	if (latch)
		SetLatch(latch);
}

/* Positions in the ring are counted on and wrap around with it. */
StaticAssertDecl((DTM_RING_SIZE & (DTM_RING_SIZE - 1)) == 0,
				 "DTM_RING_SIZE is a power of two");

static void
add_written(DtmWritten *written, const DtmWritten *more)
{
	written->first = Min(written->first, more->first);
	written->ahead = Min(written->ahead, more->ahead);
}

/*
 * Puts those of the ids that are its own into a slot's ring and bits into its
 * "asked", and wakes its coordinator if there is anything.  Returns how many
 * ids those were; -1 if it is not the database's any more.
 *
 * Why whoever takes an id from the ring finds its row:
 *
 * 1. This runs in the commit (at_release()), after the transaction has left the array
 *    of running ones.  So a snapshot that is taken after the id was in the ring
 *    has the commit in it, and the coordinator takes ids between its
 *    transactions.
 * 2. With synchronous_commit = off a commit is seen before it is on disk.  Its
 *    end is in "committed" before the mutex is released under which its ids
 *    came into the ring; who takes ids takes that under the same mutex, and
 *    makes no call before the WAL is flushed up to there.
 * 3. Ids of several commits may be in the ring in another order than that of
 *    the commits.  Nothing goes by the order: each row is read as it is then.
 * 4. An id that does not fit is lost; DTM_ASK_SEARCH takes its place, under the
 *    same mutex, and with it the earliest time at which a row of that commit is
 *    due.  The search that follows begins there, with snapshots that are taken
 *    after that (coordinator/search.c).
 * 5. A coordinator that starts drops what is in the ring (worker.c, attach()):
 *    by 1, its first search sees all of that.  What comes later stays.
 */
static int
tell_slot(DtmSharedSlot *slot, Oid database, const int64 *ids, int n, uint32 asks)
{
	Latch	   *latch = NULL;
	int			taken = 0;

	SpinLockAcquire(&slot->mutex);
	if (slot->database != database)
		taken = -1;
	else
	{
		for (int i = 0; i < n; i++)
		{
			if (!dtm_in_share(ids[i], slot->share))
				continue;
			taken++;
			if (slot->ring_tail - slot->ring_head == DTM_RING_SIZE)
				asks |= DTM_ASK_SEARCH;
			else
				slot->ring[slot->ring_tail++ % DTM_RING_SIZE] = ids[i];
		}
		slot->asked |= asks;
		if (asks & DTM_ASK_SEARCH)
			add_written(&slot->written, &pending_written);
		slot->committed = Max(slot->committed, XactLastCommitEnd);
		if ((taken > 0 && !slot->dozing) || asks != 0 || n == 0)
			latch = slot->latch;
	}
	SpinLockRelease(&slot->mutex);
	if (latch)
		SetLatch(latch);
	return taken;
}

/*
 * Is there anything to tell it?  Asked without its lock, or each commit would
 * take the locks of all coordinators of the database:
 *
 * 1. "Yes" may be wrong: tell_slot() looks again, with the lock.
 * 2. "No" is wrong only if the launcher is just changing the share.  It does that
 *    while the slot has no coordinator (launcher.c: assign_slot(), renumber()),
 *    and starts one afterwards.  We saw the share as it was before; our commit
 *    was visible before we looked; so it is visible to the search that the
 *    coordinator begins with.
 * 3. A share that is half the old one and half the new one is one of those
 *    cases, too; its "of" is never 0.
 */
static bool
concerns(const DtmSharedSlot *slot, const int64 *ids, int n, uint32 asks)
{
	for (int i = 0; i < n; i++)
		if (dtm_in_share(ids[i], slot->share))
			return true;
	return n == 0 || asks != 0;
}

/*
 * The same to all coordinators of a database.  An id whose coordinator is not
 * there is found by the search that it begins with when the launcher has
 * started it.
 */
static void
tell_coordinators(Oid database, const int64 *ids, int n, uint32 asks)
{
	DtmSharedSlot *slot = NULL;
	bool		here = false;
	int			taken = 0;

	while ((slot = dtm_next_slot(database, slot)) != NULL)
	{
		int			some;

		if (!concerns(slot, ids, n, asks))
			continue;
		some = tell_slot(slot, database, ids, n, asks);
		here = here || some >= 0;
		taken += Max(some, 0);
	}
	if (!here || taken < n)
		dtm_ask_launcher(database);
}

void
dtm_ask(Oid database, uint32 what)
{
	if (dtm_shared != NULL)
		tell_coordinators(database, NULL, 0, what);
}

void
dtm_ask_slot(DtmSharedSlot *slot, uint32 what)
{
	(void) tell_slot(slot, slot->database, NULL, 0, what);
}

void
dtm_wake_launcher(void)
{
	Latch	   *latch;

	SpinLockAcquire(&dtm_shared->mutex);
	latch = dtm_shared->launcher;
	SpinLockRelease(&dtm_shared->mutex);
	if (latch)
		SetLatch(latch);
}

void
dtm_tell_launcher_of_databases(void)
{
	if (dtm_shared == NULL)
		return;
	SpinLockAcquire(&dtm_shared->mutex);
	dtm_shared->databases_changed = true;
	SpinLockRelease(&dtm_shared->mutex);
	dtm_wake_launcher();
}

static void
forget_pending(void)
{
	has_committed = false;
	npending = 0;
	nended = 0;
	pending_asks = 0;
	dtm_reset_written(&pending_written);
}

/*
 * The end of a commit tells the coordinator.  Not a commit callback: those of others
 * run after ours, and Citus commits there what the transaction has written on other
 * nodes.  This is behind all of them, and behind the release of the locks.
 */
static void
at_release(ResourceReleasePhase phase, bool is_commit, bool is_top, void *arg)
{
	if (!has_committed || phase != RESOURCE_RELEASE_AFTER_LOCKS || !is_top)
		return;
	committing_end();
	if (npending > 0 || pending_asks != 0)
		tell_coordinators(MyDatabaseId, pending_ids, npending, pending_asks);
	if (nended > 0)
		waiters_wake(MyDatabaseId, ended_ids, nended);
	forget_pending();
}

/*
 * A commit wakes the coordinator, an abort does not.  An id of a
 * subtransaction that was rolled back does no harm: nothing is found there.
 * What PREPARE TRANSACTION leaves is announced when it is committed (prepared.c).
 */
static void
at_transaction_end(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			has_committed = true;
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			forget_pending();
			break;
		default:
			return;
	}
	if (held != NULL)
	{
		Oid			database = held->database;

		SpinLockAcquire(&held->mutex);
		held->holds--;
		SpinLockRelease(&held->mutex);
		held = NULL;
		dtm_ask_launcher(database);
	}
}

static void
register_callback(void)
{
	if (!callback_registered)
	{
		RegisterXactCallback(at_transaction_end, NULL);
		RegisterResourceReleaseCallback(at_release, NULL);
		callback_registered = true;
	}
}

/* Notes when a row becomes due that this transaction has written. */
static void
note_due(TimestampTz due)
{
	pending_written.first = Min(pending_written.first, due);
	if (due < pending_written.ahead && due > GetCurrentTimestamp())
		pending_written.ahead = due;
}

void
dtm_announce(int64 id, TimestampTz due)
{
	if (dtm_shared == NULL)
	{
		citus_two_phase();
		return;
	}
	committing_wrote();
	register_callback();
	note_due(due);
	if (npending < MAX_PENDING)
		pending_ids[npending++] = id;
	else
		pending_asks |= DTM_ASK_SEARCH;
}

bool
dtm_has_announcements(void)
{
	return npending > 0 || pending_asks != 0 || nended > 0;
}

void
dtm_announce_end(int64 id)
{
	if (dtm_shared == NULL)
		return;
	register_callback();
	if (nended == ended_size)
	{
		int			size = Max(ended_size * 2, 64);

		ended_ids = ended_ids == NULL ?
			MemoryContextAlloc(TopMemoryContext, sizeof(int64) * size) :
			repalloc(ended_ids, sizeof(int64) * size);
		ended_size = size;
	}
	ended_ids[nended++] = id;
}

void
dtm_announce_rows(TimestampTz due)
{
	committing_wrote();
	dtm_announce_ask(DTM_ASK_SEARCH);
	note_due(due);
}

void
dtm_note_written(void)
{
	DtmSharedSlot *slot = NULL;

	while ((slot = dtm_next_slot(MyDatabaseId, slot)) != NULL)
	{
		SpinLockAcquire(&slot->mutex);
		add_written(&slot->written, &pending_written);
		SpinLockRelease(&slot->mutex);
	}
}

void
dtm_announce_ask(uint32 what)
{
	if (dtm_shared == NULL)
		return;
	register_callback();
	pending_asks |= what;
}

void
dtm_hold_until_end(DtmSharedSlot *slot)
{
	if (held != NULL)
		return;					/* one command, one database */
	register_callback();
	SpinLockAcquire(&slot->mutex);
	slot->holds++;
	SpinLockRelease(&slot->mutex);
	held = slot;
}

bool
dtm_is_held(Oid database)
{
	DtmSharedSlot *first = dtm_slot_of(database);
	bool		is_held;

	if (first == NULL)
		return false;
	SpinLockAcquire(&first->mutex);
	is_held = first->holds > 0;
	SpinLockRelease(&first->mutex);
	return is_held;
}

void
dtm_set_dozing(DtmSharedSlot *slot, bool dozing)
{
	SpinLockAcquire(&slot->mutex);
	slot->dozing = dozing;
	SpinLockRelease(&slot->mutex);
}

int
dtm_take_announced(DtmSharedSlot *slot, int64 *ids, int max, uint32 *asked,
				   XLogRecPtr *committed, DtmWritten *written)
{
	int			n = 0;

	SpinLockAcquire(&slot->mutex);
	while (n < max && slot->ring_head != slot->ring_tail)
		ids[n++] = slot->ring[slot->ring_head++ % DTM_RING_SIZE];
	*asked = slot->asked;
	*committed = slot->committed;
	*written = slot->written;
	slot->asked = 0;
	dtm_reset_written(&slot->written);
	SpinLockRelease(&slot->mutex);
	return n;
}

void
dtm_publish_host(DtmSharedSlot *slot, int place, const DtmHostStats *stats)
{
	SpinLockAcquire(&slot->mutex);
	slot->hosts[place] = *stats;
	SpinLockRelease(&slot->mutex);
}

void
dtm_forget_hosts(DtmSharedSlot *slot)
{
	for (int i = 0; i < DTM_MAX_HOSTS; i++)
	{
		SpinLockAcquire(&slot->mutex);
		slot->hosts[i].name[0] = '\0';
		SpinLockRelease(&slot->mutex);
	}
}

bool
dtm_read_host(DtmSharedSlot *slot, int place, DtmHostStats *stats)
{
	SpinLockAcquire(&slot->mutex);
	*stats = slot->hosts[place];
	SpinLockRelease(&slot->mutex);
	return stats->name[0] != '\0';
}

bool
dtm_read_call(DtmSharedSlot *slot, int place, DtmCallNote *call)
{
	DtmCallNote *note = &slot->calls[place];
	int64		id = *(volatile int64 *) &note->id;

	if (id == 0)
		return false;
	pg_read_barrier();
	memcpy(call, note, sizeof(*call));
	pg_read_barrier();
	call->id = id;
	return *(volatile int64 *) &note->id == id;
}

bool
dtm_has_call(Oid database, int64 id, int op)
{
	DtmCallNote call;

	for (DtmSharedSlot *slot = dtm_next_slot(database, NULL); slot != NULL;
		 slot = dtm_next_slot(database, slot))
		for (int place = 0; place < DTM_CALL_NOTES; place++)
			if (dtm_read_call(slot, place, &call) && call.id == id && call.op == op)
				return true;
	return false;
}

void
dtm_set_state(DtmSharedSlot *slot, DtmCoordinatorState state)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		was_well;

	SpinLockAcquire(&slot->mutex);
	was_well = slot->ailing_since == 0;
	dtm_change_state(slot, state, now);
	SpinLockRelease(&slot->mutex);
	/* it has that told if it lasts (alerts.c) */
	if (was_well && slot->ailing_since != 0)
		dtm_wake_launcher();
}
