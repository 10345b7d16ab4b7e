/*
 * apart.c
 *		A lane of their own for those whose requests have made a batch fail.
 *
 * A batch with an error in it is sent twice, so whoever sends nonsense makes the
 * requests of others slow.  For a minute, such a role or token has a session of
 * its own, whose batches have a subtransaction for each request at once.  Where
 * there is only one who sends requests, there is nobody to be protected, and
 * the lanes are faster.
 */
#include "dbprivate.h"

#include "metrics.h"

/* How long it is kept apart after the last error, in us. */
#define APART_TIME	(60 * USEC_PER_SEC)

/* For how long another's request is remembered, in us. */
#define MIXED_TIME	(60 * USEC_PER_SEC)

void
apart_note(Db *db, const Request *request)
{
	Apart	   *apart = &db->apart[request->who % APART_SIZE];

	apart->who = request->who;
	apart->until = db->loop->now + APART_TIME;
}

bool
apart_is(Db *db, const Request *request)
{
	const Apart *apart = &db->apart[request->who % APART_SIZE];
	int64_t		now = db->loop->now;

	if (db->last_who != request->who)
	{
		if (db->last_who != 0)
			db->mixed_until = now + MIXED_TIME;
		db->last_who = request->who;
	}
	if (apart->who != request->who || apart->until <= now || db->mixed_until <= now)
		return false;
	metrics[METRIC_APART]++;
	return true;
}
