/*
 * retention.c
 *		Removes finished transactions and barrier rows from the tables.
 */
#include "private.h"

#include "citus.h"

#include "catalog/namespace.h"
#include "commands/extension.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

static bool
has_distributed_barrier(void)
{
	return citus_loaded &&
		citus_is_table(get_relname_relid("barrier", get_namespace_oid("dtm_barrier", false)));
}

/* What is removed, and what of it. */
#define VICTIMS \
	"WITH v AS MATERIALIZED (" \
	"SELECT f.id, r.gid FROM unnest($1) u(id) " \
	"JOIN dtm.finished f ON f.id = u.id JOIN dtm.request r ON r.id = u.id " \
	"FOR UPDATE OF f SKIP LOCKED), "
#define REMOVALS \
	"a AS (DELETE FROM dtm.attempt a USING v WHERE a.id = v.id), " \
	"s AS (DELETE FROM dtm.result s USING v WHERE s.id = v.id), " \
	"o AS (DELETE FROM dtm.act o USING v WHERE o.id = v.id), " \
	"d AS (DELETE FROM dtm.dead_letter d USING v WHERE d.id = v.id), " \
	"f AS (DELETE FROM dtm.finished f USING v WHERE f.id = v.id) " \
	"DELETE FROM dtm.request r USING v WHERE r.id = v.id"

/*
 * Takes nothing that anybody has locked, and waits for nobody.  Barrier rows
 * of these gids go too: a branch of theirs can't be called any more.
 */
static int64
remove_finished(Datum *ids, int n)
{
	static Statement statement = {
		VICTIMS
		"l AS MATERIALIZED ("
		"SELECT b.id FROM v JOIN dtm_barrier.barrier b ON b.gid = v.gid COLLATE pg_catalog.\"default\" "
		"FOR UPDATE OF b SKIP LOCKED), "
		"b AS (DELETE FROM dtm_barrier.barrier b USING l WHERE b.id = l.id), "
		REMOVALS,
		1, {INT8ARRAYOID}
	};

	/*
	 * A barrier that is distributed has rows on other nodes: the coordinator
	 * would wait for those, and for locks there.  So its rows stay, for
	 * dtm_cleanup_barrier().
	 */
	static Statement without_barrier = {
		VICTIMS
		REMOVALS,
		1, {INT8ARRAYOID}
	};
	Datum		values[1];

	if (n == 0)
		return 0;
	values[0] = array_of(ids, NULL, n, INT8OID);
	statement_run(has_distributed_barrier() ? &without_barrier : &statement, values, NULL);
	return (int64) SPI_processed;
}

void
store_clean(StoreCleanup *batch)
{
	static Statement statement = {
		"SELECT f.id, f.finished, r.created FROM dtm.finished f "
		"JOIN dtm.request r ON r.id = f.id "
		"WHERE f.id > $1 ORDER BY f.id LIMIT $2",
		2, {INT8OID, INT8OID}
	};
	Datum	   *ids;
	int			n = 0;
	uint64		rows;
	TimestampTz now = GetCurrentTimestamp();
	Datum		values[2];
	Session		session;

	values[0] = Int64GetDatum(batch->after);
	values[1] = Int64GetDatum(batch->max);
	batch->oldest_left = DT_NOEND;
	batch->removed = batch->first_left = 0;
	statement_enter(&session);
	statement_run(&statement, values, NULL);
	rows = SPI_processed;
	batch->complete = rows < (uint64) batch->max;
	ids = palloc(sizeof(Datum) * (rows + 1));
	for (uint64 row = 0; row < rows; row++)
	{
		TimestampTz finished = result_int64(row, 2);
		TimestampTz created;

		batch->after = result_int64(row, 1);
		if (finished <= batch->finished_until)
			ids[n++] = Int64GetDatum(batch->after);
		else
		{
			batch->oldest_left = Min(batch->oldest_left, finished);
			if (batch->first_left == 0)
				batch->first_left = batch->after;
		}
		created = result_int64(row, 3);
		if (created > batch->finished_until && created <= now)
		{
			/* later ones were submitted, and so finished, later still */
			batch->oldest_left = Min(batch->oldest_left, created);
			batch->complete = true;
			break;
		}
	}
	batch->removed = remove_finished(ids, n);
	statement_leave(&session);
}

int64
store_clean_barrier(TimestampTz until, int max)
{
	static Statement statement = {
		"WITH l AS MATERIALIZED (SELECT b.id FROM dtm_barrier.barrier b "
		"WHERE b.create_time <= $1 AND NOT EXISTS ("
		"SELECT FROM dtm.request r WHERE r.gid = b.gid COLLATE \"C\") "
		"ORDER BY b.id LIMIT $2 FOR UPDATE SKIP LOCKED) "
		"DELETE FROM dtm_barrier.barrier b USING l WHERE b.id = l.id",
		2, {TIMESTAMPTZOID, INT8OID}
	};
	Datum		values[2];
	Session		session;
	int64		removed;

	/* which gids are known on other nodes can't be asked from here */
	if (has_distributed_barrier())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("barrier is distributed over the nodes of Citus"),
				 errhint("Delete rows by their age: DELETE FROM dtm_barrier.barrier WHERE create_time < ... with an age that is longer than any global transaction takes.")));
	values[0] = TimestampTzGetDatum(until);
	values[1] = Int64GetDatum(max);
	statement_enter(&session);
	statement_run(&statement, values, NULL);
	removed = (int64) SPI_processed;
	statement_leave(&session);
	return removed;
}

bool
store_cron_cleans(void)
{
	static Statement statement = {
		"SELECT FROM cron.job j WHERE j.jobname = 'dtm_cleanup' AND j.active "
		"AND j.database = pg_catalog.current_database() "
		"AND j.command LIKE 'SELECT %.dtm_cleanup()' "
		"AND EXISTS (SELECT FROM pg_catalog.pg_roles u WHERE u.rolname = j.username "
		"AND pg_catalog.has_function_privilege(u.oid, 'dtm.administer()', 'EXECUTE'))",
		0, {0}
	};
	Session		session;
	bool		found;

	if (!OidIsValid(get_extension_oid("pg_cron", true)))
		return false;
	statement_enter(&session);
	statement_run(&statement, NULL, NULL);
	found = SPI_processed > 0;
	statement_leave(&session);
	return found;
}
