/*
 * queue.h
 *		Ids of transactions that wait to be read, first in first out.
 */
#ifndef DTM_COORDINATOR_QUEUE_H
#define DTM_COORDINATOR_QUEUE_H

#include "postgres.h"

/* Maximum length of a queue. */
#define QUEUE_MAX_LENGTH	1000000

typedef struct IdQueue
{
	int64	   *ids;			/* the queue is from head up to tail */
	int			head;			/* next to take */
	int			tail;
	int			size;			/* allocated */
} IdQueue;

extern void queue_init(IdQueue *queue, MemoryContext context);
extern void queue_free(IdQueue *queue);

/* False if the queue is full. */
extern bool queue_push(IdQueue *queue, int64 id);

/* Removes the first n ids. */
extern void queue_drop(IdQueue *queue, int n);

/* Removes the first id if it equals this one, else returns false. */
extern bool queue_drop_if_first(IdQueue *queue, int64 id);

static inline int
queue_length(const IdQueue *queue)
{
	return queue->tail - queue->head;
}

/* The ids that wait, queue_length() of them; valid until the next push. */
static inline const int64 *
queue_ids(const IdQueue *queue)
{
	return queue->ids + queue->head;
}

#endif							/* DTM_COORDINATOR_QUEUE_H */
