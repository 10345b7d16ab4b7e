/*
 * loop.h
 *		epoll, and the clock.
 */
#ifndef GW_LOOP_H
#define GW_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#define USEC_PER_SEC	INT64_C(1000000)

/* A descriptor that is watched; embedded in whoever owns it. */
typedef struct Watch
{
	int			fd;				/* -1: not watched */
	uint32_t	events;			/* EPOLLIN and the like */
	void		(*ready) (struct Watch *watch, uint32_t events);
	void	   *owner;
} Watch;

typedef struct Loop
{
	int			epoll;
	int64_t		now;			/* us, by a clock that nobody sets; of this
								 * turn */
} Loop;

extern void loop_init(Loop *loop);

/* Watches a descriptor for events, or for others than before. */
extern void loop_watch(Loop *loop, Watch *watch, int fd, uint32_t events);
extern void loop_unwatch(Loop *loop, Watch *watch);

/*
 * Waits, at most so many ms (-1: without end), and calls those that are ready.
 * A watch that is called must not free another one before the turn is over.
 */
extern void loop_turn(Loop *loop, int timeout);

#endif							/* GW_LOOP_H */
