/*
 * metrics.c
 *		Counters in shared memory; see metrics.h.
 *
 * A database takes a region with the first thing that is counted there, and keeps
 * it until the extension is dropped.  Cells are added to without a lock: a reader
 * may see a call whose duration is not in the histogram yet, which the next
 * reading has.
 */
#include "process/metrics.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

const int64 metrics_bounds[METRICS_NBOUNDS] = {
	1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000,
	INT64CONST(1000000), INT64CONST(2500000), INT64CONST(5000000), INT64CONST(10000000),
	INT64CONST(30000000), INT64CONST(60000000), INT64CONST(300000000), INT64CONST(1800000000),
	INT64CONST(7200000000), INT64CONST(86400000000)
};

/* What was counted in one database. */
typedef struct Region
{
	Oid			database;		/* InvalidOid: free */
	TimestampTz since;
	int			nhosts;
	char		hosts[METRICS_MAX_HOSTS][DTM_HOST_STAT_NAME_SIZE];
	pg_atomic_uint64 cells[METRICS_NCELLS];
} Region;

typedef struct Shared
{
	slock_t		mutex;			/* over all but the cells */
	int			nregions;
	Region		regions[FLEXIBLE_ARRAY_MEMBER];
} Shared;

/* What a coordinator has counted, and not added to the region yet. */
typedef struct Tally
{
	int			ntouched;
	int			touched[METRICS_NCELLS];	/* cells that are not 0 */
	uint64		cells[METRICS_NCELLS];
} Tally;

/* What counts when the transaction commits. */
typedef struct Pending
{
	SubTransactionId subxact;	/* in which it was noted */
	int			cell;
	uint64		count;
	int			histogram;		/* first cell of a histogram; -1: none */
	int64		time;			/* for it, us */
} Pending;

static Shared *shared = NULL;

/* This database's; it has to be looked at whether it still is. */
static Region *region = NULL;

static Tally *tally = NULL;

static Pending *pending = NULL;
static int	npending = 0;
static int	pending_size = 0;

/*
 * In what subtransaction the extension has been dropped, which counts when the
 * transaction commits; InvalidSubTransactionId: in none.
 */
static SubTransactionId dropped_in = InvalidSubTransactionId;

/* ---------- shared memory ---------- */

Size
metrics_shmem_size(void)
{
	return add_size(offsetof(Shared, regions),
					mul_size(max_worker_processes, sizeof(Region)));
}

void
metrics_shmem_startup(void)
{
	bool		found;

	shared = ShmemInitStruct("dtm metrics", metrics_shmem_size(), &found);
	if (found)
		return;
	SpinLockInit(&shared->mutex);
	shared->nregions = max_worker_processes;
	for (int i = 0; i < shared->nregions; i++)
	{
		shared->regions[i].database = InvalidOid;
		for (int cell = 0; cell < METRICS_NCELLS; cell++)
			pg_atomic_init_u64(&shared->regions[i].cells[cell], 0);
	}
}

/* The region of a database; needs the mutex.  NULL: it has none. */
static Region *
find_region(Oid database)
{
	for (int i = 0; i < shared->nregions; i++)
		if (shared->regions[i].database == database)
			return &shared->regions[i];
	return NULL;
}

/* This database's region, which may be new; NULL: all are taken. */
static Region *
my_region(void)
{
	TimestampTz now;
	Region	   *found;

	if (shared == NULL || (region != NULL && region->database == MyDatabaseId))
		return shared == NULL ? NULL : region;
	now = GetCurrentTimestamp();
	SpinLockAcquire(&shared->mutex);
	found = find_region(MyDatabaseId);
	if (found == NULL)
	{
		found = find_region(InvalidOid);
		if (found != NULL)
		{
			found->database = MyDatabaseId;
			found->since = now;
			found->nhosts = 0;
		}
	}
	SpinLockRelease(&shared->mutex);
	region = found;
	return found;
}

/*
 * A session that is still there may add to the region once more: to that of the
 * next database, if it is taken at this moment.
 */
void
metrics_forget(Oid database)
{
	Region	   *found;

	if (shared == NULL)
		return;
	SpinLockAcquire(&shared->mutex);
	found = find_region(database);
	if (found != NULL)
	{
		found->database = InvalidOid;
		for (int cell = 0; cell < METRICS_NCELLS; cell++)
			pg_atomic_write_u64(&found->cells[cell], 0);
	}
	SpinLockRelease(&shared->mutex);
}

int
metrics_host(const char *name)
{
	Region	   *mine = my_region();
	char		stored[DTM_HOST_STAT_NAME_SIZE];
	int			place;

	if (mine == NULL)
		return METRICS_HOST_OTHER;
	strlcpy(stored, name, sizeof(stored));
	SpinLockAcquire(&shared->mutex);
	for (place = 0; place < mine->nhosts; place++)
		if (strcmp(mine->hosts[place], stored) == 0)
			break;
	if (place == mine->nhosts && place < METRICS_MAX_HOSTS)
	{
		memcpy(mine->hosts[place], stored, sizeof(stored));
		mine->nhosts++;
	}
	SpinLockRelease(&shared->mutex);
	return place < METRICS_MAX_HOSTS ? place : METRICS_HOST_OTHER;
}

bool
metrics_read(Oid database, Metrics *metrics)
{
	Region	   *found;

	if (shared == NULL)
		return false;
	SpinLockAcquire(&shared->mutex);
	found = find_region(database);
	if (found != NULL)
	{
		metrics->since = found->since;
		metrics->nhosts = found->nhosts;
		memcpy(metrics->hosts, found->hosts, sizeof(metrics->hosts));
	}
	SpinLockRelease(&shared->mutex);
	for (int cell = 0; found != NULL && cell < METRICS_NCELLS; cell++)
		metrics->cells[cell] = pg_atomic_read_u64(&found->cells[cell]);
	return found != NULL;
}

/* ---------- this process ---------- */

void
metrics_open(void)
{
	if (shared == NULL)
		return;
	if (tally == NULL)
		tally = MemoryContextAllocZero(TopMemoryContext, sizeof(Tally));
	(void) my_region();
}

/* A session, which counts a few things at its commit, does without a tally. */
static void
add(int cell, uint64 n)
{
	if (n == 0)
		return;
	if (tally == NULL)
	{
		Region	   *mine = my_region();

		if (mine != NULL)
			pg_atomic_fetch_add_u64(&mine->cells[cell], (int64) n);
		return;
	}
	if (tally->cells[cell] == 0)
		tally->touched[tally->ntouched++] = cell;
	tally->cells[cell] += n;
}

static void
add_time(int histogram, int64 time)
{
	int			bucket = 0;

	/* a clock that was set back */
	time = Max(time, 0);
	while (bucket < METRICS_NBOUNDS && time > metrics_bounds[bucket])
		bucket++;
	add(histogram + bucket, 1);
	add(histogram + METRICS_SUM, (uint64) time);
}

void
metrics_called(int host, DtmTransType type, MetricsOp op, DtmResult result, int64 duration)
{
	if (shared == NULL)
		return;
	add(metrics_call_cell(host, type, op, result), 1);
	if (host != METRICS_HOST_NONE)
		add_time(METRICS_CALL_TIME + host * METRICS_HISTOGRAM, duration);
}

void
metrics_first_called(DtmTransType type, int64 delay)
{
	if (shared != NULL)
		add_time(METRICS_FIRST_CALL + (int) type * METRICS_HISTOGRAM, delay);
}

void
metrics_flush(void)
{
	Region	   *mine;

	if (tally == NULL || tally->ntouched == 0)
		return;
	mine = my_region();
	for (int i = 0; i < tally->ntouched; i++)
	{
		int			cell = tally->touched[i];

		if (mine != NULL)
			pg_atomic_fetch_add_u64(&mine->cells[cell], (int64) tally->cells[cell]);
		tally->cells[cell] = 0;
	}
	tally->ntouched = 0;
}

/* ---------- at commit ---------- */

/* What is prepared counts nowhere: whoever commits it does not know of it. */
static void
at_transaction_end(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	for (int i = 0; event == XACT_EVENT_COMMIT && i < npending; i++)
	{
		add(pending[i].cell, pending[i].count);
		if (pending[i].histogram >= 0)
			add_time(pending[i].histogram, pending[i].time);
	}
	if (npending > 0)
		metrics_flush();
	npending = 0;
	if (dropped_in != InvalidSubTransactionId && event == XACT_EVENT_COMMIT)
		metrics_forget(MyDatabaseId);
	dropped_in = InvalidSubTransactionId;
}

/*
 * What was noted since the beginning of a subtransaction has its number or a later
 * one: such are given to it and to those within it only.
 */
static void
at_subtransaction_end(SubXactEvent event, SubTransactionId id, SubTransactionId parent,
					  void *arg)
{
	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	while (npending > 0 && pending[npending - 1].subxact >= id)
		npending--;
	if (dropped_in >= id)
		dropped_in = InvalidSubTransactionId;
}

static void
register_callbacks(void)
{
	static bool registered = false;

	if (registered)
		return;
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
	registered = true;
}

void
metrics_dropped(void)
{
	register_callbacks();
	/* a later drop within is of one that was created again */
	if (shared != NULL && dropped_in == InvalidSubTransactionId)
		dropped_in = GetCurrentSubTransactionId();
}

static void
note(int cell, int histogram, int64 time)
{
	SubTransactionId subxact = GetCurrentSubTransactionId();

	if (shared == NULL)
		return;
	register_callbacks();
	/* many submits in one transaction */
	if (npending > 0 && histogram < 0 && pending[npending - 1].subxact == subxact &&
		pending[npending - 1].cell == cell)
	{
		pending[npending - 1].count++;
		return;
	}
	if (npending == pending_size)
	{
		int			size = Max(pending_size * 2, 64);

		pending = pending == NULL ?
			MemoryContextAlloc(TopMemoryContext, sizeof(Pending) * size) :
			repalloc(pending, sizeof(Pending) * size);
		pending_size = size;
	}
	pending[npending].subxact = subxact;
	pending[npending].cell = cell;
	pending[npending].count = 1;
	pending[npending].histogram = histogram;
	pending[npending++].time = time;
}

void
metrics_created(DtmTransType type)
{
	note(METRICS_CREATED + (int) type, -1, 0);
}

void
metrics_ended(const DtmTrans *trans, TimestampTz now)
{
	note(metrics_ended_cell(trans->type, trans->stopped ? METRICS_STOPPED :
							trans->status == DTM_SUCCEED ? METRICS_SUCCEEDED : METRICS_FAILED),
		 METRICS_DURATION + (int) trans->type * METRICS_HISTOGRAM, now - trans->created);
}

void
metrics_alerted(MetricsAlert alert)
{
	note(METRICS_ALERTS + (int) alert, -1, 0);
}
