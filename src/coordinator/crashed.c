/*
 * crashed.c
 *		What was running when the server crashed (flight.h) counts as a failure,
 *		before anything else is done.
 *
 * A function that was called is a failure of its branch, as one that says no is,
 * through core.  A transaction that the coordinator itself was just seeing to is
 * not read again for that: its row may be what has crashed the server.
 *
 * Both wait longer than core would have it, because each crash hurts all who use
 * the server, and a transaction's own retry_interval may be short.  After CRASH_LIMIT
 * crashes without a success in between, a transaction is parked until somebody
 * resumes it (dtm_resume()).  A crash that another process may have caused counts
 * half.
 */
#include "private.h"

#include "outcome.h"
#include "process/flight.h"
#include "wire/wire.h"

#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

/*
 * Errors of the attempts, by which crashes are counted.  The last one is that of a
 * bystander.
 */
#define CRASH_ERROR		"the server crashed while it was "
#define FUNCTION_ERROR	CRASH_ERROR "called"
#define TURN_ERROR		CRASH_ERROR "processed"
#define BYSTANDER_ERROR	"another process crashed while it was called"

/* So many crashes without a success in between are enough. */
#define CRASH_LIMIT		5

/* How long a row's lock is waited for: whoever has it was there at once. */
#define ROW_LOCK_TIMEOUT "1s"

/* The crashes of a transaction since its last success, with one more. */
typedef struct Crashes
{
	int			n;
	bool		enough;			/* it is parked */
} Crashes;

static Crashes
count_crashes(int64 id, bool bystander)
{
	int			own = store_count_attempts(id, CRASH_ERROR) + !bystander;
	int			others = store_count_attempts(id, BYSTANDER_ERROR) + bystander;
	Crashes		crashes = {.n = own + others, .enough = own + others / 2 >= CRASH_LIMIT};

	return crashes;
}

/* Until when it is left alone. */
static TimestampTz
not_before(Coordinator *c, const Crashes *crashes)
{
	int64		pause = c->config.retry_interval;

	if (crashes->enough)
		return DT_NOEND;
	for (int i = 1; i < crashes->n && pause < c->config.retry_interval_max; i++)
		pause *= 2;
	return coordinator_time(c) + Min(pause, c->config.retry_interval_max);
}

/* For dtm.parked. */
static const char *
reason_of(const char *error, const Crashes *crashes)
{
	return psprintf("%s, %d times without a success in between", error, crashes->n);
}

static void
report(const char *gid, const char *error, const Crashes *crashes)
{
	/* of one that is parked, outcome.c has told */
	if (!crashes->enough)
		ereport(WARNING,
				(errmsg("global transaction \"%s\" has failed: %s", gid, error)));
}

static void
add_attempt(Coordinator *c, const FlightRecord *record, const char *error)
{
	StoreAttempt attempt = {.grpc_status = -1};

	attempt.id = record->id;
	attempt.op = record->kind == FLIGHT_FUNCTION ? record->op : DTM_CALL_QUERY;
	attempt.started = record->started;
	attempt.duration = Max(coordinator_time(c) - record->started, 0);
	attempt.result = DTM_RESULT_TEMPORARY;
	attempt.error = error;
	store_add_attempts(&attempt, 1);
}

/* Does the branch still wait for this function? */
static bool
waits_for(const Transaction *trans, int op)
{
	return op >= 0 && op < trans->core.nops && trans->core.ops[op].local &&
		trans->core.ops[op].status == DTM_BRANCH_PREPARED;
}

/* A function was called.  True: it is committed. */
static bool
count_function(Coordinator *c, const FlightRecord *record)
{
	Transaction *trans;
	Outcome		outcome;
	DtmEvent	event = {.kind = DTM_EVENT_REPLY};
	DtmStatus	status;
	WireBranch	branch;
	Crashes		crashes;
	char	   *error = record->bystander ? BYSTANDER_ERROR : FUNCTION_ERROR;

	(void) set_config_option("lock_timeout", ROW_LOCK_TIMEOUT, PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	if (!store_find_id(record->id, true, &trans) || !waits_for(trans, record->op))
		return false;
	crashes = count_crashes(record->id, record->bystander);
	add_attempt(c, record, error);
	status = trans->core.status;
	wire_describe(trans, record->op, &branch);
	event.op = record->op;
	event.result = DTM_RESULT_TEMPORARY;
	event.url = branch.url;
	event.text = error;
	event.now = coordinator_time(c);
	dtm_core_loaded(&trans->core, event.now);
	outcome_init(&outcome, trans);
	(void) outcome_decide(&outcome, trans, &c->config, &event);
	/* if it is rolled back now, for its retry_limit, that does not wait */
	if (trans->core.status == status && !trans->core.parked)
		trans->core.next_time = Max(trans->core.next_time, not_before(c, &crashes));
	if (crashes.enough && trans->core.status == status)
		outcome_park(&outcome, trans, record->op, branch.url,
					 reason_of(error, &crashes), event.now);
	outcome_write(&outcome, trans, event.now);
	turn_commit(c);
	report(trans->gid, error, &crashes);
	webhook_send(c, trans, outcome.alerts);
	return true;
}

/* The coordinator was seeing to it.  True: it is committed. */
static bool
postpone(Coordinator *c, const FlightRecord *record)
{
	Transaction trans = {.id = record->id};
	OutcomeAlert alert = {.news = OUTCOME_FAILING, .op = TRANSACTION_NO_OP,
	.url = "dtm", .error = TURN_ERROR};
	Outcome		outcome = {.alerts = &alert};
	Crashes		crashes = count_crashes(record->id, false);

	if (crashes.enough)
	{
		alert.news = OUTCOME_PARKED;
		alert.error = reason_of(TURN_ERROR, &crashes);
	}
	if (!(crashes.enough ? store_park(&trans, alert.error, crashes.n, coordinator_time(c)) :
		  store_set_aside(&trans, not_before(c, &crashes), 1)))
		return false;
	add_attempt(c, record, TURN_ERROR);
	alert.failures = trans.core.failures;
	outcome_tell(&outcome, &trans, coordinator_time(c), NULL);
	turn_commit(c);
	report(trans.gid, TURN_ERROR, &crashes);
	webhook_send(c, &trans, &alert);
	return true;
}

/* Is there a record of its turn, too? */
static bool
has_turn(int64 id)
{
	FlightRecord record;
	int			position = 0;

	while (flight_next(&position, MyDatabaseId, &record))
		if (record.kind == FLIGHT_TURN && record.id == id)
			return true;
	return false;
}

/* False: it has to be seen to another time. */
static bool
see_to(Coordinator *c, const FlightRecord *record)
{
	volatile bool done = true;

	PG_TRY();
	{
		turn_begin(c);
		if (!(record->kind == FLIGHT_TURN ? postpone(c, record) :
			  count_function(c, record)))
			turn_commit(c);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(c->turn);
		edata = CopyErrorData();
		FlushErrorState();
		turn_roll_back(c);
		ereport(LOG,
				(errcode(edata->sqlerrcode),
				 errmsg("could not count a crash as a failure of global transaction %lld: %s",
						(long long) record->id, edata->message)));
		done = !write_concerns_all(edata);
	}
	PG_END_TRY();
	return done;
}

static void
see_to_kind(Coordinator *c, FlightKind kind)
{
	FlightRecord record;
	int			position = 0;

	while (flight_next(&position, MyDatabaseId, &record))
	{
		if (record.kind != kind || !dtm_in_share(record.id, c->share))
			continue;
		/* a row whose turn has crashed is not read for its functions */
		if ((kind == FLIGHT_FUNCTION && has_turn(record.id)) || see_to(c, &record))
			flight_forget(position);
	}
}

void
crashed_see_to_all(Coordinator *c)
{
	see_to_kind(c, FLIGHT_FUNCTION);
	see_to_kind(c, FLIGHT_TURN);
}
