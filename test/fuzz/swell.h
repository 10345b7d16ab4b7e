/*
 * swell.h
 *		Inputs as large as what comes from outside may be, and a limit of the
 *		time that reading one may take.
 *
 * A fuzzer's inputs are small, or it would not get far; what takes quadratic
 * time does not show with them.  So, with DTM_FUZZ_SWELL in the environment, what
 * is between two bytes SWELL of an input is repeated until the whole has SWOLLEN
 * bytes.  Whatever takes more time than LIMIT then is not linear: that is some
 * ten times of what each target needs.
 */
#ifndef DTM_FUZZ_SWELL_H
#define DTM_FUZZ_SWELL_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SWELL	0x1e			/* "record separator", which nothing else has a use for */
#define SWOLLEN	(2 * 1024 * 1024)
#define LIMIT	2000000			/* us of CPU */

/* The input, with an end of its own, in memory of its own; its length in *len. */
static char *
swell(const uint8_t *data, size_t size, size_t *len)
{
	const uint8_t *first = size > 0 && getenv("DTM_FUZZ_SWELL") != NULL ?
		memchr(data, SWELL, size) : NULL;
	const uint8_t *second = first ? memchr(first + 1, SWELL, size - (size_t) (first + 1 - data)) : NULL;
	size_t		piece = second ? (size_t) (second - first - 1) : 0;
	size_t		times = piece > 0 ? SWOLLEN / piece : 1;
	char	   *text = malloc(size + times * piece + 1);
	char	   *to = text;

	if (piece == 0)
	{
		if (size > 0)
			memcpy(text, data, size);
		to += size;
	}
	else
	{
		memcpy(to, data, (size_t) (first - data));
		to += first - data;
		for (size_t i = 0; i < times; i++, to += piece)
			memcpy(to, first + 1, piece);
		memcpy(to, second + 1, size - (size_t) (second + 1 - data));
		to += size - (size_t) (second + 1 - data);
	}
	*to = '\0';
	*len = (size_t) (to - text);
	return text;
}

/* Of this thread: what else the machine does is of no matter. */
static int64_t
cpu_us(void)
{
	struct timespec time;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return (int64_t) time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

static void
check_time(int64_t started, size_t len)
{
	int64_t		taken = cpu_us() - started;

	if (taken <= LIMIT)
		return;
	fprintf(stderr, "reading %zu bytes took %lld us\n", len, (long long) taken);
	abort();
}

#endif							/* DTM_FUZZ_SWELL_H */
