/*
 * slots.c
 *		The slots in shared memory, as the launcher gives them to databases and
 *		takes them back.
 */
#include "process/slots.h"

#include "utils/timestamp.h"

bool
slot_free(DtmSharedSlot *slot)
{
	bool		free;

	SpinLockAcquire(&slot->mutex);
	free = slot->holds == 0 && slot->yields == 0 &&
		(slot->asked & ~DTM_ASK_LEAVE) == 0 &&
		slot->ring_head == slot->ring_tail && slot->alerter_pid == 0;
	if (free)
	{
		slot->database = InvalidOid;
		slot->pid = 0;
		slot->latch = NULL;
		slot->ring_head = slot->ring_tail = 0;
		slot->ailing_since = slot->restart_at = 0;
		slot->look_at = DT_NOEND;
	}
	SpinLockRelease(&slot->mutex);
	return free;
}

void
slot_restarts_at(DtmSharedSlot *slot, TimestampTz when)
{
	SpinLockAcquire(&slot->mutex);
	slot->restart_at = when;
	SpinLockRelease(&slot->mutex);
}

void
slot_clear(DtmSharedSlot *slot)
{
	SpinLockAcquire(&slot->mutex);
	slot->asked = 0;
	slot->ring_head = slot->ring_tail;
	SpinLockRelease(&slot->mutex);
	(void) slot_free(slot);
}

bool
slot_has_others(const DtmSharedSlot *slot)
{
	DtmSharedSlot *other = NULL;

	while ((other = dtm_next_slot(slot->database, other)) != NULL)
		if (other != slot)
			return true;
	return false;
}

DtmSharedSlot *
slot_of_share(Oid database, int number)
{
	DtmSharedSlot *slot = NULL;

	while ((slot = dtm_next_slot(database, slot)) != NULL)
		if (slot->share.number == number)
			return slot;
	return NULL;
}

int
slot_assign(Oid database, int number, int of)
{
	DtmSharedSlot *slot;
	TimestampTz now = GetCurrentTimestamp();
	int			free = -1;

	if (slot_of_share(database, number) != NULL)
		return -1;
	for (int i = 0; i < dtm_shared->nslots && free < 0; i++)
		if (!OidIsValid(dtm_shared->slots[i].database))
			free = i;
	if (free < 0)
		return -1;
	slot = &dtm_shared->slots[free];
	SpinLockAcquire(&slot->mutex);
	slot->database = database;
	slot->share.number = number;
	slot->share.of = of;
	dtm_change_state(slot, DTM_COORDINATOR_STARTING, now);
	slot->present = false;
	slot->marker = InvalidOid;
	SpinLockRelease(&slot->mutex);
	return free;
}

bool
slots_of_another_number(Oid database, int wanted, const DtmSharedSlot *but)
{
	DtmSharedSlot *slot = NULL;

	while ((slot = dtm_next_slot(database, slot)) != NULL)
		if (slot != but && slot->share.of != wanted)
			return true;
	return false;
}

const char *
dtm_state_name(DtmCoordinatorState state)
{
	switch (state)
	{
		case DTM_COORDINATOR_STARTING:
			return "starting";
		case DTM_COORDINATOR_RUNNING:
			return "running";
		case DTM_COORDINATOR_DRAINING:
			return "draining";
		case DTM_COORDINATOR_PAUSED:
			return "paused";
		case DTM_COORDINATOR_YIELDING:
			return "yielding";
		case DTM_COORDINATOR_STOPPED:
			return "stopped";
		case DTM_COORDINATOR_GONE:
			return "gone";
	}
	return "unknown";
}
