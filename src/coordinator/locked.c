/*
 * locked.c
 *		Transactions whose row somebody has locked.
 *
 * A session may keep rows locked for as long as it likes, and as many as it
 * likes.  So what could not be written does not stay in memory: what is left of
 * it is its id, who has the lock, and the replies that are to be applied to the
 * row as it will be then.
 *
 * 1. A lock is looked at after a pause that grows.  That costs no look at the
 *    row, but only whether the one that had it (a transaction, or a part of one
 *    that can be rolled back) is still in progress.  Once it is not, the row is
 *    read and written as any other; if another one has it locked by then, it
 *    comes here again.
 * 2. Where the one is not known, or the row was kept from being written by a
 *    trigger, it is read after each pause.
 * 3. What has been changed and committed is announced (process/shmem.c), and
 *    read at once whatever is here.
 * 4. Replies may be dropped (a participant is called again then), so that there
 *    are never too many.
 */
#include "private.h"

#include "clock.h"
#include "process/committing.h"

#include "storage/procarray.h"

/* The first pause, in us; it doubles LOCKED_DOUBLES times. */
#define LOCKED_PAUSE		INT64CONST(10000)

/* With very many, the last pause is longer: this for each, in us. */
#define LOCKED_PAUSE_EACH	10

/* Replies that are kept, in bytes, and rows. */
#define MAX_LOCKED_BYTES	(INT64CONST(32) * 1024 * 1024)
#define MAX_LOCKED_ROWS		QUEUE_MAX_LENGTH

/* When a search is to find again what there was no space for, in us. */
#define LOCKED_FULL_PAUSE	(INT64CONST(10) * USECS_PER_SEC)

/* Locks looked at in one turn. */
#define LOOKS_PER_TURN		10000

void
locked_init(Locked *locked, MemoryContext context)
{
	HASHCTL		hash;

	memset(&hash, 0, sizeof(hash));
	hash.keysize = sizeof(int64);
	hash.entrysize = sizeof(LockedRow);
	hash.hcxt = context;
	locked->rows = hash_create("dtm locked rows", 64, &hash,
							   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	for (int i = 0; i <= LOCKED_DOUBLES; i++)
		dlist_init(&locked->queues[i]);
	locked->bytes = 0;
	locked->context = context;
}

static LockedRow *
find_row(const Locked *locked, int64 id)
{
	return hash_get_num_entries(locked->rows) == 0 ? NULL :
		hash_search(locked->rows, &id, HASH_FIND, NULL);
}

/* At the end of the queue of its level. */
static void
enqueue(Locked *locked, LockedRow *row)
{
	int64		pause = LOCKED_PAUSE << row->level;

	if (row->level == LOCKED_DOUBLES)
		pause = Max(pause, LOCKED_PAUSE_EACH * (int64) hash_get_num_entries(locked->rows));
	row->due = clock_monotonic() + pause;
	dlist_push_tail(&locked->queues[row->level], &row->node);
}

static void
keep_replies(Locked *locked, LockedRow *row, const Transaction *trans, const Reply *replies)
{
	Reply	  **last = &row->replies;

	if (replies == NULL || locked->bytes > MAX_LOCKED_BYTES)
		return;
	row->context = AllocSetContextCreate(locked->context, "dtm locked replies",
										 ALLOCSET_SMALL_SIZES);
	for (; replies != NULL; replies = replies->next)
	{
		*last = reply_copy(replies, row->context);
		(*last)->request = transaction_request_hash(trans, replies->op);
		last = &(*last)->next;
	}
	row->bytes = MemoryContextMemAllocated(row->context, true);
	locked->bytes += (int64) row->bytes;
}

void
locked_add(Coordinator *c, Entry *entry, TransactionId holder)
{
	Locked	   *locked = &c->locked;
	int64		id = entry->id;
	bool		found;
	LockedRow  *row;

	Assert(entry->ncalls == 0);
	if (hash_get_num_entries(locked->rows) >= MAX_LOCKED_ROWS)
	{
		search_expect_behind(&c->search, coordinator_time(c) + LOCKED_FULL_PAUSE);
		entry_forget(c, entry);
		return;
	}
	row = hash_search(locked->rows, &id, HASH_ENTER, &found);
	Assert(!found);
	row->holder = holder;
	row->nrefused = entry->nrefused;
	row->level = Min(Max(entry->nrefused - 1, 0), LOCKED_DOUBLES);
	row->context = NULL;
	row->replies = NULL;
	row->bytes = 0;
	keep_replies(locked, row, entry->trans, entry->replies);
	enqueue(locked, row);
	room_refund(&c->room);
	entry_forget(c, entry);
}

void
locked_keep(Coordinator *c, int64 id, TransactionId holder)
{
	Locked	   *locked = &c->locked;
	LockedRow  *row = find_row(locked, id);

	if (row == NULL && hash_get_num_entries(locked->rows) >= MAX_LOCKED_ROWS)
	{
		search_expect_behind(&c->search, coordinator_time(c) + LOCKED_FULL_PAUSE);
		return;
	}
	if (row == NULL)
	{
		bool		found;

		row = hash_search(locked->rows, &id, HASH_ENTER, &found);
		memset((char *) row + sizeof(int64), 0, sizeof(LockedRow) - sizeof(int64));
	}
	else if (row->level >= 0)
		dlist_delete(&row->node);
	row->holder = holder;
	row->level = Min(Max(row->level, 0), LOCKED_DOUBLES);
	enqueue(locked, row);
}

bool
locked_has(const Locked *locked, int64 id)
{
	const LockedRow *row = find_row(locked, id);

	return row != NULL && row->level >= 0;
}

int64
locked_due_in(const Locked *locked)
{
	int64		due = -1;

	if (hash_get_num_entries(locked->rows) == 0)
		return -1;
	for (int i = 0; i <= LOCKED_DOUBLES; i++)
		if (!dlist_is_empty((dlist_head *) &locked->queues[i]))
		{
			int64		first = dlist_head_element(LockedRow, node,
												   (dlist_head *) &locked->queues[i])->due;

			due = due < 0 ? first : Min(due, first);
		}
	return due < 0 ? -1 : Max(due - clock_monotonic(), 0);
}

/* Has it not ended, or not everywhere? */
static bool
is_under_way(TransactionId holder)
{
	return TransactionIdIsInProgress(holder) ||
		TransactionIdIsValid(committing_find(holder));
}

void
locked_look(Coordinator *c)
{
	Locked	   *locked = &c->locked;
	int64		now = clock_monotonic();
	int			left = LOOKS_PER_TURN;
	TransactionId known = InvalidTransactionId; /* to be in progress */

	if (hash_get_num_entries(locked->rows) == 0)
		return;
	for (int i = LOCKED_DOUBLES; i >= 0; i--)
		while (left-- > 0 && !dlist_is_empty(&locked->queues[i]))
		{
			LockedRow  *row = dlist_head_element(LockedRow, node, &locked->queues[i]);

			if (row->due > now)
				break;
			dlist_delete(&row->node);
			if (TransactionIdIsNormal(row->holder) &&
				(TransactionIdEquals(row->holder, known) || is_under_way(row->holder)))
			{
				known = row->holder;
				row->level = Min(row->level + 1, LOCKED_DOUBLES);
				enqueue(locked, row);
				continue;
			}
			row->level = -1;
			read_later(c, row->id);
		}
}

static void
remove_row(Locked *locked, LockedRow *row)
{
	if (row->level >= 0)
		dlist_delete(&row->node);
	if (row->context != NULL)
		MemoryContextDelete(row->context);
	locked->bytes -= (int64) row->bytes;
	hash_search(locked->rows, &row->id, HASH_REMOVE, NULL);
}

void
locked_take(Coordinator *c, Entry *entry)
{
	LockedRow  *row = find_row(&c->locked, entry->id);
	Reply	  **last = &entry->replies;

	if (row == NULL)
		return;
	/* if it is locked once more, the pauses go on to grow */
	entry->nrefused = row->nrefused;
	for (const Reply *reply = row->replies; reply != NULL; reply = reply->next)
	{
		*last = reply_copy(reply, entry->context);
		(*last)->is_outdated = reply->is_outdated ||
			reply->request != transaction_request_hash(entry->trans, reply->op);
		last = &(*last)->next;
	}
	remove_row(&c->locked, row);
}

void
locked_forget(Locked *locked, int64 id)
{
	LockedRow  *row = find_row(locked, id);

	if (row != NULL)
		remove_row(locked, row);
}
