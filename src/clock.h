/*
 * clock.h
 *		The clock for pauses and time-outs, which nobody sets.
 *
 * Due times that are stored go by the wall clock (GetCurrentTimestamp()).
 */
#ifndef DTM_CLOCK_H
#define DTM_CLOCK_H

#include "postgres.h"

#include <time.h>

/* Microseconds since some time before the server was started. */
static inline int64
clock_monotonic(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

#endif							/* DTM_CLOCK_H */
