/*
 * queue.h
 *		Ids of transactions that wait to be read, first in first out.
 */
#ifndef DTM_COORDINATOR_QUEUE_H
#define DTM_COORDINATOR_QUEUE_H

#include "postgres.h"

/* Ids that a queue holds at most. */
#define QUEUE_MAX_LENGTH	1000000

typedef struct IdQueue
{
	int64	   *ids;			/* those from head on, up to tail */
	int			head;			/* next to be taken */
	int			tail;
	int			size;			/* allocated */
} IdQueue;

extern void queue_init(IdQueue *queue, MemoryContext context);
extern void queue_free(IdQueue *queue);

/* False if the queue is as long as it may get. */
extern bool queue_push(IdQueue *queue, int64 id);

/* The first n are done with. */
extern void queue_drop(IdQueue *queue, int n);

/* Drops the first id if it is this one; false: it is not. */
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
