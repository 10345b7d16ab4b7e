/*
 * crash_point.c
 *		Crash points; see crash_point.h.
 */
#include "postgres.h"

#include "crash_point.h"

#ifndef NDEBUG

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/* In the data directory, where all processes of a server are. */
#define CRASH_POINT_FILE	"dtm_crash_point"

void
dtm_crash_point(const char *name)
{
	static int	passed = 0;		/* times since the file names this point */
	char		wanted[64];
	char		before[16];
	FILE	   *file = fopen(CRASH_POINT_FILE, "r");
	int			n;

	if (file == NULL)
	{
		passed = 0;
		return;
	}
	n = fscanf(file, "%63s %15s", wanted, before);
	fclose(file);
	if (n != 2 || strcmp(name, wanted) != 0 || passed++ < strtol(before, NULL, 10))
		return;
	unlink(CRASH_POINT_FILE);
	kill(getpid(), SIGKILL);
}

#endif							/* NDEBUG */
