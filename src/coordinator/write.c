/*
 * write.c
 *		Writes changed transactions, many at once, and handles transactions
 *		that cannot be written.
 */
#include "private.h"

#include "outcome.h"
#include "process/flight.h"

#include "utils/timestamp.h"

/*
 * Is this an error that no row is to blame for?  Concurrency, resources, the
 * operator, a missing table.
 */
bool
write_concerns_all(const ErrorData *edata)
{
	switch (ERRCODE_TO_CATEGORY(edata->sqlerrcode))
	{
		case MAKE_SQLSTATE('0', '8', '0', '0', '0'):
		case ERRCODE_INVALID_TRANSACTION_STATE: /* 25 */
		case ERRCODE_TRANSACTION_ROLLBACK:	/* 40 */
		case ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION: /* 42 */
		case ERRCODE_INSUFFICIENT_RESOURCES:	/* 53 */
		case ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE:	/* 55 */
		case ERRCODE_OPERATOR_INTERVENTION: /* 57 */
		case ERRCODE_SYSTEM_ERROR:	/* 58 */
			return true;
		default:
			return false;
	}
}

/* A new transaction of our share is not announced: it is read in a moment. */
static bool
take(void *arg, int64 id)
{
	Coordinator *c = arg;

	if (!dtm_in_share(id, c->share))
		return false;
	/* should this PostgreSQL transaction fail, it is not found */
	read_later(c, id);
	return true;
}

/* What others are to know of an entry that has just been written. */
static void
tell(Coordinator *c, Entry *entry)
{
	OutcomeDriver driver = {take, c};

	outcome_tell(&entry->outcome, entry->trans, coordinator_time(c), &driver);
}

/* An entry has been written, or has not. */
static void
note_saved(Coordinator *c, Entry *entry, const StoreSaved *saved)
{
	switch (saved->result)
	{
		case STORE_WRITTEN:
			entry->row = ROW_WRITTEN;
			entry->nrefused = 0;
			entry->not_before = 0;
			tell(c, entry);
			return;
		case STORE_CHANGED:

			/*
			 * read again in the next turn, with a snapshot that has the
			 * change
			 */
			entry->row = ROW_CHECK;
			entry->not_before = 0;
			return;
		case STORE_LOCKED:
			entry->row = ROW_CHECK;
			entry_note_locked(entry, saved->holder);
			return;
	}
}

/*
 * Writes those of entries[0 .. n-1] that have changed, and makes their calls
 * ready; what could not be written is read again.
 */
void
write_entries(Coordinator *c, Entry **entries, int n)
{
	Entry	  **changed = palloc(sizeof(Entry *) * (n + 1));
	Transaction **trans = palloc(sizeof(Transaction *) * (n + 1));
	StoreSaved *saved = palloc(sizeof(StoreSaved) * (n + 1));
	int			nchanged = 0;

	for (int i = 0; i < n; i++)
	{
		flight_turn(entries[i]->id);
		entry_make_ready(c, entries[i]);
		if (!entries[i]->outcome.changed)
			continue;
		changed[nchanged] = entries[i];
		trans[nchanged++] = entries[i]->trans;
	}
	flight_turn(0);
	store_save(trans, nchanged, coordinator_time(c), saved);
	entries = changed;
	results_write(entries, saved, nchanged);
	for (int i = 0; i < nchanged; i++)
		note_saved(c, entries[i], &saved[i]);
}

/* Puts a transaction that can't be processed out of the way. */
static void
postpone_entry(Coordinator *c, Entry *entry, ErrorData *edata)
{
	int64		id = entry->id;
	TimestampTz next_time = dtm_core_after(coordinator_time(c),
										   c->config.retry_interval_max);

	ereport(WARNING,
			(errcode(edata->sqlerrcode),
			 errmsg("cannot process global transaction \"%s\": %s",
					entry->trans->gid, edata->message),
			 errdetail("The global transaction will be processed again at %s. Other global transactions are not affected.",
					   timestamptz_to_str(next_time))));
	entry_forget(c, entry);
	if (c->slot)
		pg_atomic_fetch_add_u64(&c->slot->nerrors, 1);
	PG_TRY();
	{
		turn_begin(c);
		read_postpone(c, id, next_time);
		turn_commit(c);
	}
	PG_CATCH();
	{
		/* not even that: it stays due, and is found again */
		FlushErrorState();
		turn_roll_back(c);
		search_expect_behind(&c->search, next_time);
	}
	PG_END_TRY();
}

/*
 * Writes entries each on its own, after writing all together has failed, and
 * puts those aside that it fails for.
 */
void
write_one_by_one(Coordinator *c, Entry **entries, int n)
{
	for (int i = 0; i < n; i++)
	{
		ErrorData  *volatile edata = NULL;

		PG_TRY();
		{
			turn_begin(c);
			write_entries(c, &entries[i], 1);
			turn_commit(c);
		}
		PG_CATCH();
		{
			MemoryContextSwitchTo(c->turn);
			edata = CopyErrorData();
			FlushErrorState();
			turn_roll_back(c);
		}
		PG_END_TRY();
		if (edata != NULL)
		{
			if (write_concerns_all(edata))
				ReThrowError(edata);
			postpone_entry(c, entries[i], edata);
		}
	}
}
