/*
 * looks.c
 *		When the alerts of a database are to be looked for; see looks.h.
 */
#include "process/looks.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

/* This transaction asks for a look. */
static bool pending = false;
static bool callback_registered = false;

void
looks_ask(Oid database, TimestampTz when)
{
	DtmSharedSlot *slot = dtm_slot_of(database);
	Latch	   *latch = NULL;
	bool		earlier = false;

	/*
	 * Without the lock: one that is taken just now is followed by a look,
	 * which sees what the caller has committed.
	 */
	if (slot == NULL || when == DT_NOEND || slot->look_at <= when)
		return;
	SpinLockAcquire(&slot->mutex);
	if (slot->database == database && when < slot->look_at)
	{
		slot->look_at = when;
		latch = slot->alerter;
		earlier = true;
	}
	SpinLockRelease(&slot->mutex);
	if (latch != NULL)
		SetLatch(latch);
	else if (earlier)
		dtm_wake_launcher();
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	if (!pending)
		return;
	if (event == XACT_EVENT_COMMIT)
		looks_ask(MyDatabaseId, GetCurrentTimestamp() + LOOK_GATHER);
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
		event == XACT_EVENT_PREPARE)
		pending = false;
}

void
looks_ask_at_commit(void)
{
	if (dtm_shared == NULL)
		return;
	if (!callback_registered)
	{
		RegisterXactCallback(at_transaction_end, NULL);
		callback_registered = true;
	}
	pending = true;
}

TimestampTz
looks_due(DtmSharedSlot *slot)
{
	TimestampTz due;

	SpinLockAcquire(&slot->mutex);
	due = slot->look_at;
	SpinLockRelease(&slot->mutex);
	return due;
}

TimestampTz
looks_take(DtmSharedSlot *slot)
{
	TimestampTz due;

	SpinLockAcquire(&slot->mutex);
	due = slot->look_at;
	slot->look_at = DT_NOEND;
	SpinLockRelease(&slot->mutex);
	return due;
}

TimestampTz
looks_ailing_since(Oid database, TimestampTz after)
{
	DtmSharedSlot *slot = NULL;
	TimestampTz since = DT_NOEND;

	while ((slot = dtm_next_slot(database, slot)) != NULL)
	{
		SpinLockAcquire(&slot->mutex);
		if (slot->ailing_since != 0 && slot->ailing_since > after &&
			slot->state != DTM_COORDINATOR_GONE)
			since = Min(since, slot->ailing_since);
		SpinLockRelease(&slot->mutex);
	}
	return since;
}

bool
looks_wake(DtmSharedSlot *slot)
{
	Latch	   *latch;

	SpinLockAcquire(&slot->mutex);
	latch = slot->alerter;
	SpinLockRelease(&slot->mutex);
	if (latch != NULL)
		SetLatch(latch);
	return latch != NULL;
}
