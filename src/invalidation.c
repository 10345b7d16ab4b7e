/*
 * invalidation.c
 *		Who is told that relations may have changed.
 */
#include "invalidation.h"

/* As many as there are callers of invalidation_watch(). */
#define MAX_WATCHERS	4

static RelcacheCallbackFunction watchers[MAX_WATCHERS];
static int	nwatchers = 0;

static void
tell_watchers(Datum arg, Oid relation)
{
	for (int i = 0; i < nwatchers; i++)
		watchers[i] (arg, relation);
}

void
invalidation_watch(RelcacheCallbackFunction forget)
{
	if (nwatchers == MAX_WATCHERS)
		elog(ERROR, "too many functions watch relations");
	if (nwatchers == 0)
		CacheRegisterRelcacheCallback(tell_watchers, (Datum) 0);
	watchers[nwatchers++] = forget;
}
