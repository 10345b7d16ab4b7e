/*
 * notes.c
 *		What a coordinator calls now; see notes.h.
 *
 * An id is written last and removed first, so a reader that finds the same id
 * before and after it has copied a note has copied that call's
 * (dtm_read_call()).
 */
#include "notes.h"

#include "utils/timestamp.h"

void
notes_open(Notes *notes, MemoryContext context, DtmSharedSlot *slot)
{
	notes->slot = slot;
	notes->nfree = 0;
	if (slot == NULL)
		return;
	notes->free = MemoryContextAlloc(context, sizeof(int) * DTM_CALL_NOTES);
	for (int i = DTM_CALL_NOTES - 1; i >= 0; i--)
	{
		slot->calls[i].id = 0;
		notes->free[notes->nfree++] = i;
	}
}

void
notes_close(Notes *notes)
{
	for (int i = 0; notes->slot != NULL && i < DTM_CALL_NOTES; i++)
		notes->slot->calls[i].id = 0;
}

int
notes_begin(Notes *notes, int64 id, int op)
{
	DtmCallNote *note;
	int			place;

	if (notes->nfree == 0 || id == 0)
		return -1;
	place = notes->free[--notes->nfree];
	note = &notes->slot->calls[place];
	note->op = op;
	note->queued = GetCurrentTimestamp();
	note->sent = 0;
	pg_write_barrier();
	*(volatile int64 *) &note->id = id;
	return place;
}

void
notes_end(Notes *notes, int place)
{
	if (place < 0)
		return;
	*(volatile int64 *) &notes->slot->calls[place].id = 0;
	pg_write_barrier();
	notes->free[notes->nfree++] = place;
}

int64 *
notes_sent(Notes *notes, int place)
{
	return place < 0 ? NULL : &notes->slot->calls[place].sent;
}
