/*
 * clock.h
 *		The clock for pauses and time-outs, which nobody sets; and times of the
 *		wall clock, as others count them.
 *
 * Due times that are stored go by the wall clock (GetCurrentTimestamp()).
 */
#ifndef DTM_CLOCK_H
#define DTM_CLOCK_H

#include "postgres.h"

#include <time.h>

#include "datatype/timestamp.h"

/* Microseconds since some time before the server was started. */
static inline int64
clock_monotonic(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/*
 * Microseconds of the Unix epoch, as the transport and OTLP have them, and of
 * PostgreSQL's.
 */
#define CLOCK_EPOCHS_APART \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

static inline TimestampTz
clock_of_unix(int64 us)
{
	return us - CLOCK_EPOCHS_APART;
}

static inline int64
clock_to_unix(TimestampTz time)
{
	return time + CLOCK_EPOCHS_APART;
}

#endif							/* DTM_CLOCK_H */
