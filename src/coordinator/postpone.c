/*
 * postpone.c
 *		Has rows that cannot be processed out of the way, and says why.
 */
#include "private.h"

#include "errors.h"

#include "utils/timestamp.h"

/* If that can't be written now, the next search is one from the beginning, and finds it. */
void
read_postpone(Coordinator *c, int64 id, TimestampTz next_time)
{
	if (store_postpone(id, next_time))
		search_expect(&c->search, next_time);
	else
		search_expect_behind(&c->search, next_time);
}

void
postpone_bad(Coordinator *c, int64 id, const char *problem)
{
	TimestampTz next_time = dtm_core_after(coordinator_time(c),
										   c->config.retry_interval_max);

	ereport(WARNING,
			(errcode(DTM_ERRCODE_BAD_ROW),
			 errmsg("cannot read global transaction %lld: %s",
					(long long) id, problem),
			 errdetail("The global transaction will be read again at %s.",
					   timestamptz_to_str(next_time)),
			 errhint("Restore the rows of the global transaction in schema \"dtm\", which have been changed manually.")));
	if (c->slot)
		pg_atomic_fetch_add_u64(&c->slot->nerrors, 1);
	read_postpone(c, id, next_time);
}

/*
 * Nobody may act for a role that does not exist, or that came after it with its
 * name or its OID.  This one waits until an administrator has decided.
 */
void
postpone_ownerless(Coordinator *c, int64 id, const char *problem)
{
	Transaction *trans = palloc0(sizeof(Transaction));
	OutcomeAlert *alert = palloc0(sizeof(OutcomeAlert));
	Outcome		outcome = {.alerts = alert};

	/* of many, one alert is told */
	ereport(dtm_alert_each ? WARNING : DEBUG1,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("global transaction %lld waits for an administrator: %s",
					(long long) id, problem),
			 errhint("Assign it to another role with dtm_assign(), or end it with dtm_force_stop(). dtm.parked lists all such transactions.")));
	store_disown(id);
	trans->id = id;
	if (!store_park(trans, problem, 0, coordinator_time(c)))
	{
		search_expect_behind(&c->search, DT_NOEND);
		return;
	}
	alert->news = OUTCOME_PARKED;
	alert->op = TRANSACTION_NO_OP;
	alert->url = "";
	alert->error = problem;
	outcome_tell(&outcome, trans, coordinator_time(c), NULL);
	webhook_send_later(c, trans, alert);
}
