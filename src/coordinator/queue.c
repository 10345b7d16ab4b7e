/*
 * queue.c
 *		Ids of transactions that wait to be read, first in first out.
 *
 * An id needs eight bytes, a loaded transaction a thousand and more.  So
 * transactions for which there is no room are kept as ids.
 */
#include "queue.h"

#include "utils/memutils.h"

/* Ids that a new queue has room for. */
#define QUEUE_FIRST_SIZE	16

void
queue_init(IdQueue *queue, MemoryContext context)
{
	queue->head = queue->tail = 0;
	queue->size = QUEUE_FIRST_SIZE;
	queue->ids = MemoryContextAlloc(context, sizeof(int64) * queue->size);
}

void
queue_free(IdQueue *queue)
{
	pfree(queue->ids);
	queue->ids = NULL;
	queue->head = queue->tail = queue->size = 0;
}

/* Makes room behind the last id: at the front, if that is half of it, or more of it. */
static void
make_room(IdQueue *queue)
{
	int			n = queue_length(queue);

	if (queue->head > queue->size / 2)
		memmove(queue->ids, queue->ids + queue->head, sizeof(int64) * n);
	else
	{
		int64	   *ids = MemoryContextAllocHuge(GetMemoryChunkContext(queue->ids),
												 sizeof(int64) * queue->size * 2);

		memcpy(ids, queue->ids + queue->head, sizeof(int64) * n);
		pfree(queue->ids);
		queue->ids = ids;
		queue->size *= 2;
	}
	queue->head = 0;
	queue->tail = n;
}

bool
queue_push(IdQueue *queue, int64 id)
{
	if (queue_length(queue) >= QUEUE_MAX_LENGTH)
		return false;
	if (queue->tail == queue->size)
		make_room(queue);
	queue->ids[queue->tail++] = id;
	return true;
}

void
queue_drop(IdQueue *queue, int n)
{
	Assert(n <= queue_length(queue));
	queue->head += n;
	if (queue->head == queue->tail)
		queue->head = queue->tail = 0;
}

bool
queue_drop_if_first(IdQueue *queue, int64 id)
{
	if (queue_length(queue) == 0 || *queue_ids(queue) != id)
		return false;
	queue_drop(queue, 1);
	return true;
}
