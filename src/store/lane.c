/*
 * lane.c
 *		Lanes: transactions of a role that run one after another, in the order of
 *		the commits of their submits.
 *
 * dtm.lane has a row for each transaction that is in a lane, and one with id 0
 * for the lane itself: whose lock is the lane's.  A transaction is in its lane
 * from its submit (or prepare) until it has ended; or until it is parked, if that
 * is what it was submitted with.  All but the first are held (dtm.active.held).
 *
 * 1. Who submits takes the lane's lock until the end of its PostgreSQL
 *    transaction, before it takes an id.  So in a lane, ids are in the order of
 *    commits, and whoever sees a row of the lane sees all that come before it.
 * 2. Whoever leaves a lane has its own row in dtm.active locked.  One that is
 *    held leaves without further ado.
 * 3. The first one releases the next one, under the lock of that one's row in
 *    dtm.active, in the commit that ends itself.  Whoever leaves in between has
 *    that lock, too: so the one that is released is there.
 * 4. If there is no next one, the lane's lock is needed: else one might just be
 *    submitted that is held because of the first one, and would never be
 *    released.  With it, and still no next one, the lane itself goes, too.
 * 5. A session waits for these locks; the coordinator does not (note 3 of
 *    turn.c): the transaction stays as it is, as if its row were locked, until
 *    they can be had.
 * 6. A snapshot may be older than the lock that was waited for (REPEATABLE
 *    READ): rows of dtm.lane are looked for with the latest one.
 */
#include "private.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/snapmgr.h"

/*
 * The name of a lane is what was given for it, this, and something that makes it
 * one of its role: the role's OID when the lane was made.  That is not looked at
 * again: the OID may be another one's since a dump was restored.  Whose a lane is,
 * its row with id 0 says, by a dtm.submitter, which survives all that.
 */
#define LANE_SEPARATOR	'\n'
#define AFTER_LANE_SEPARATOR	'\v'

const char *
store_lane_given(const char *lane)
{
	static const char separator[] = {LANE_SEPARATOR, '\0'};

	return pnstrdup(lane, strcspn(lane, separator));
}

/* The lane's lock, waited for.  True: there was none, and now there is. */
static bool
make_lane(const char *lane, Oid role)
{
	static Statement statement = {
		"INSERT INTO dtm.lane AS l (lane, id, role) VALUES ($1, 0, dtm.submitter($2)) "
		"ON CONFLICT ON CONSTRAINT lane_pkey DO UPDATE SET id = 0 WHERE false",
		2, {TEXTOID, OIDOID}, true
	};
	Datum		values[2];

	values[0] = CStringGetTextDatum(lane);
	values[1] = ObjectIdGetDatum(role);
	statement_run(&statement, values, NULL);
	return SPI_processed > 0;
}

/* The name of a role's lane, if it is there; NULL: it is not. */
static char *
find_lane(const char *given, Oid role)
{
	static Statement statement = {
		"SELECT l.lane FROM dtm.lane l WHERE l.id" EQUALS "0 "
		"AND l.lane OPERATOR(pg_catalog.>=) $1 AND l.lane OPERATOR(pg_catalog.<) $2 "
		"AND dtm.submitter_role(l.role)::pg_catalog.oid" EQUALS "$3 ORDER BY l.lane LIMIT 1",
		3, {TEXTOID, TEXTOID, OIDOID}, true
	};
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	char	   *lane = NULL;
	Datum		values[3];

	values[0] = CStringGetTextDatum(psprintf("%s%c", given, LANE_SEPARATOR));
	values[1] = CStringGetTextDatum(psprintf("%s%c", given, AFTER_LANE_SEPARATOR));
	values[2] = ObjectIdGetDatum(role);
	statement_run_snapshot(&statement, values, snapshot);
	if (SPI_processed > 0)
	{
		Row			row;

		result_row(0, &row);
		lane = column_text(&row, 1);
	}
	UnregisterSnapshot(snapshot);
	return lane;
}

static void
remove_row(const char *lane, int64 id)
{
	static Statement statement = {
		"DELETE FROM dtm.lane WHERE lane" EQUALS "$1 AND id" EQUALS "$2",
		2, {TEXTOID, INT8OID}, true
	};
	Datum		values[2];

	values[0] = CStringGetTextDatum(lane);
	values[1] = Int64GetDatum(id);
	statement_run(&statement, values, NULL);
}

/*
 * Takes the lock of a role's lane, and says its name.  If there is none, whoever
 * makes it tries the same names in the same order.  A name that is taken is
 * another role's, or is found once it was waited for.
 */
static char *
enter_lane(const char *given, Oid role)
{
	for (int other = 0;;)
	{
		char	   *lane = find_lane(given, role);
		bool		found = lane != NULL;

		if (!found)
			lane = psprintf(other == 0 ? "%s%c%u" : "%s%c%u.%d",
							given, LANE_SEPARATOR, role, other);
		if (make_lane(lane, role) != found)
			return lane;
		/* gone meanwhile: others may be making the one that is made now */
		if (found)
			remove_row(lane, 0);
		/* it is there, and locked: if it is not found now, it is not ours */
		else if ((lane = find_lane(given, role)) != NULL)
			return lane;
		else
			other++;
		CHECK_FOR_INTERRUPTS();
	}
}

void
store_lane_enter(Transaction *trans)
{
	static Statement others = {
		"SELECT FROM dtm.lane l WHERE l.lane" EQUALS "$1 "
		"AND l.id OPERATOR(pg_catalog.>) 0 ORDER BY l.id LIMIT 1",
		1, {TEXTOID}, true
	};
	MemoryContext context = CurrentMemoryContext;
	const char *lane;
	Snapshot	snapshot;
	Session		session;
	Datum		values[1];

	trans->core.held = false;
	if (trans->lane == NULL)
		return;
	statement_enter(&session);
	lane = enter_lane(store_lane_given(trans->lane), trans->submitted_by);
	trans->lane = MemoryContextStrdup(context, lane);
	values[0] = CStringGetTextDatum(lane);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	statement_run_snapshot(&others, values, snapshot);
	trans->core.held = SPI_processed > 0;
	UnregisterSnapshot(snapshot);
	statement_leave(&session);
}

void
lane_add(const Transaction *trans)
{
	static Statement statement = {
		"INSERT INTO dtm.lane (lane, id) VALUES ($1, $2)",
		2, {TEXTOID, INT8OID}, true
	};
	Datum		values[2];
	Session		session;

	values[0] = CStringGetTextDatum(trans->lane);
	values[1] = Int64GetDatum(trans->id);
	statement_enter(&session);
	statement_run(&statement, values, NULL);
	statement_leave(&session);
}

/* ---------- leaving ---------- */

bool
lane_is_left(const Transaction *trans)
{
	return trans->lane != NULL &&
		(dtm_core_is_final(trans->core.status) ||
		 (trans->core.parked && trans->lane_skips));
}

/* Its own row in dtm.active, as it was read. */
static bool
lock_own(const Transaction *trans)
{
	static Statement statement = {
		"SELECT FROM dtm.active a WHERE a.id" EQUALS "$1 AND a.version" EQUALS "$2 "
		"FOR UPDATE SKIP LOCKED",
		2, {INT8OID, INT4OID}, true
	};
	Datum		values[2];

	values[0] = Int64GetDatum(trans->id);
	values[1] = Int32GetDatum(trans->version);
	statement_run(&statement, values, NULL);
	return SPI_processed > 0;
}

/* Those of a lane from an id on, in the order of ids; at most so many. */
static uint64
look(const char *lane, int64 from, int max, Snapshot snapshot)
{
	/* one that has no row in dtm.active was removed by hand */
	static Statement statement = {
		"SELECT l.id, COALESCE(a.id, 0) FROM dtm.lane l "
		"LEFT JOIN dtm.active a ON a.id" EQUALS "l.id "
		"WHERE l.lane" EQUALS "$1 AND l.id OPERATOR(pg_catalog.>=) $2 "
		"ORDER BY l.id LIMIT $3",
		3, {TEXTOID, INT8OID, INT8OID}, true
	};
	Datum		values[3];

	values[0] = CStringGetTextDatum(lane);
	values[1] = Int64GetDatum(from);
	values[2] = Int64GetDatum(max);
	statement_run_snapshot(&statement, values, snapshot);
	return SPI_processed;
}

/* Is the lane's own row there? */
static bool
has_lane_row(const char *lane)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	bool		found = look(lane, 0, 1, snapshot) > 0 && result_int64(0, 1) == 0;

	UnregisterSnapshot(snapshot);
	return found;
}

/*
 * The lane's lock.  One that was removed by hand is made again: whoever submits
 * in the lane has to wait for it.
 */
static bool
lock_lane(const Transaction *trans, bool wait)
{
	static Statement statement = {
		"SELECT FROM dtm.lane WHERE lane" EQUALS "$1 AND id" EQUALS "0 FOR UPDATE SKIP LOCKED",
		1, {TEXTOID}, true
	};
	Datum		values[1];

	values[0] = CStringGetTextDatum(trans->lane);
	if (!wait)
	{
		statement_run(&statement, values, NULL);
		if (SPI_processed > 0)
			return true;
		if (has_lane_row(trans->lane))
			return false;
	}
	(void) make_lane(trans->lane, trans->submitted_by);
	return true;
}

/* Releases the next one.  False: its row is locked, or it has just ended. */
static bool
release(int64 id, TimestampTz now, bool wait)
{
#define RELEASE(how) \
	"UPDATE dtm.active u SET held = NULL, updated = $2, " \
	"version = u.version OPERATOR(pg_catalog.+) 1, " \
	"next_time = CASE WHEN u.status" EQUALS "$3 AND u.parked IS NULL " \
	"THEN GREATEST($2, l.due) ELSE u.next_time END " \
	"FROM (SELECT a.id, r.created OPERATOR(pg_catalog.+) " \
	"(COALESCE(r.delay, 0) OPERATOR(pg_catalog.*) '1 microsecond'::pg_catalog.interval) AS due " \
	"FROM dtm.active a JOIN dtm.request r ON r.id" EQUALS "a.id " \
	"WHERE a.id" EQUALS "$1 FOR UPDATE OF a " how ") l " \
	"WHERE u.id" EQUALS "l.id"
	static Statement waits = {
		RELEASE(""), 3, {INT8OID, TIMESTAMPTZOID, CHAROID}, true
	};
	static Statement skips = {
		RELEASE("SKIP LOCKED"), 3, {INT8OID, TIMESTAMPTZOID, CHAROID}, true
	};
	Datum		values[3];

	values[0] = Int64GetDatum(id);
	values[1] = TimestampTzGetDatum(now);
	values[2] = CharGetDatum(dtm_status_letter(DTM_SUBMITTED));
	statement_run(wait ? &waits : &skips, values, NULL);
	return SPI_processed > 0;
}

/* A session with an old snapshot cannot release what it does not see. */
static void
check_snapshot(void)
{
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to a concurrent submit in the same lane"),
				 errhint("Retry the transaction.")));
}

/* What is found behind a transaction that leaves its lane. */
typedef enum LaneEnd
{
	LANE_RELEASED,				/* the next one */
	LANE_EMPTY,					/* none */
	LANE_LOCKED
} LaneEnd;

static LaneEnd
release_next(Transaction *trans, TimestampTz now, bool wait)
{
	bool		locked = false;

	for (;;)
	{
		Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
		uint64		n = look(trans->lane, trans->id + 1, 1, snapshot);
		int64		next = n > 0 ? result_int64(0, 1) : 0;
		bool		is_there = n > 0 && result_int64(0, 2) != 0;

		UnregisterSnapshot(snapshot);
		if (n == 0 && locked)
			return LANE_EMPTY;
		if (n == 0)
		{
			locked = lock_lane(trans, wait);
			if (!locked)
				return LANE_LOCKED;
		}
		else if (!is_there)
			remove_row(trans->lane, next);
		else if (release(next, now, wait))
		{
			trans->lane_next = next;
			return LANE_RELEASED;
		}
		else if (!wait)
			return LANE_LOCKED;
		else
			check_snapshot();
		CHECK_FOR_INTERRUPTS();
	}
}

bool
lane_leave(Transaction *trans, TimestampTz now, bool wait)
{
	bool		left = true;
	Snapshot	snapshot;
	Session		session;

	trans->lane_next = 0;
	statement_enter(&session);
	if (!wait && !lock_own(trans))
		left = false;
	else if (!trans->core.held)
	{
		snapshot = RegisterSnapshot(GetLatestSnapshot());
		/* it may have left when it was parked */
		if (look(trans->lane, trans->id, 1, snapshot) > 0 &&
			result_int64(0, 1) == trans->id)
		{
			LaneEnd		end = release_next(trans, now, wait);

			if (end == LANE_EMPTY)
				remove_row(trans->lane, 0);
			left = end != LANE_LOCKED;
		}
		UnregisterSnapshot(snapshot);
	}
	if (left)
		remove_row(trans->lane, trans->id);
	statement_leave(&session);
	/* whatever becomes of it, it does not wait for the others any more */
	if (left)
		trans->core.held = false;
	return left;
}
