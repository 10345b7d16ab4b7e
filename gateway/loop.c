/*
 * loop.c
 *		epoll, and the clock.
 */
#include "loop.h"

#include "log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_EVENTS	256

static int64_t
clock_now(void)
{
	struct timespec now;

	(void) clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * USEC_PER_SEC + now.tv_nsec / 1000;
}

void
loop_init(Loop *loop)
{
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll < 0)
	{
		log_error("could not create an epoll descriptor: %s", strerror(errno));
		exit(1);
	}
	loop->now = clock_now();
}

/* A library may have closed it already, and it has left by itself. */
static void
forget(Loop *loop, int fd)
{
	if (epoll_ctl(loop->epoll, EPOLL_CTL_DEL, fd, NULL) < 0 && errno != ENOENT && errno != EBADF)
		log_error("could not stop watching descriptor %d: %s", fd, strerror(errno));
}

void
loop_watch(Loop *loop, Watch *watch, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events};
	int			op = EPOLL_CTL_ADD;

	if (watch->fd == fd && watch->events == events)
		return;
	if (watch->fd == fd)
		op = EPOLL_CTL_MOD;
	else if (watch->fd >= 0)
		forget(loop, watch->fd);
	event.data.ptr = watch;
	/* a library may have closed the socket, and opened another of this number */
	if (epoll_ctl(loop->epoll, op, fd, &event) < 0 &&
		epoll_ctl(loop->epoll, op == EPOLL_CTL_ADD ? EPOLL_CTL_MOD : EPOLL_CTL_ADD,
				  fd, &event) < 0)
	{
		log_error("could not watch descriptor %d: %s", fd, strerror(errno));
		exit(1);
	}
	watch->fd = fd;
	watch->events = events;
}

void
loop_unwatch(Loop *loop, Watch *watch)
{
	if (watch->fd >= 0)
		forget(loop, watch->fd);
	watch->fd = -1;
	watch->events = 0;
}

void
loop_turn(Loop *loop, int timeout)
{
	struct epoll_event events[MAX_EVENTS];
	int			n = epoll_wait(loop->epoll, events, MAX_EVENTS, timeout);

	loop->now = clock_now();
	for (int i = 0; i < n; i++)
	{
		Watch	   *watch = events[i].data.ptr;

		/* it may have been given up in this turn */
		if (watch->fd >= 0)
			watch->ready(watch, events[i].events);
	}
}
