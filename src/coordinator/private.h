/*
 * private.h
 *		Shared by the files of the coordinator.
 *
 * Each part of a coordinator has a file, and usually a struct:
 *
 *	turn.c		the turn that joins the others, and the life of a coordinator
 *	lease.c		the lock of its share of the transactions
 *	call.c		calls, to hosts and in this database
 *	notes.c		shows other sessions what is called now
 *	entry.c		the transactions in memory, what core decides
 *	replies.c	what has become of the calls that ended
 *	room.c		how many of them there may be
 *	read.c		brings rows into memory
 *	postpone.c	has rows that can't be processed out of the way
 *	search.c	which rows are due
 *	uncommitted.c	rows that searches have found too early
 *	queue.c		ids that wait to be read
 *	shelf.c		puts transactions aside whose calls have to wait, or that find
 *				no room
 *	locked.c	puts transactions aside whose row somebody has locked
 *	write.c		brings what has changed back
 *	results.c	results of branches, kept and passed on
 *	attempts.c	calls that took place, to be written
 *	pace.c		when there may be a turn
 *	crashed.c	counts what was running when the server crashed
 *	removal.c	removes what has been finished for long enough
 *	webhook.c	tells the alert webhook
 *	spans.c		the spans of transactions and calls
 *	traces.c	sends them
 */
#ifndef DTM_COORDINATOR_PRIVATE_H
#define DTM_COORDINATOR_PRIVATE_H

#include "coordinator.h"

#include "attempts.h"
#include "call.h"
#include "entry.h"
#include "locked.h"
#include "pace.h"
#include "queue.h"
#include "removal.h"
#include "room.h"
#include "search.h"
#include "shelf.h"
#include "traces.h"
#include "uncommitted.h"

#include "outcome.h"
#include "settings.h"
#include "transaction.h"
#include "store/store.h"

#include "nodes/pg_list.h"

#include "utils/memutils.h"

/* State of reading, kept from turn to turn. */
typedef struct Reading
{
	IdQueue		announced;		/* not read yet */
	int			batch;			/* rows read by one statement; 1 after an
								 * error */
	int64		suspect;		/* the row that is just read alone; 0: none */
	int			looked_at;		/* ids in this turn */
	bool		failed;			/* rows were taken in a turn that was rolled
								 * back */
} Reading;

struct Coordinator
{
	StoreMode	mode;
	DtmShare	share;			/* of the database's transactions */
	DtmSharedSlot *slot;		/* NULL: none */
	MemoryContext context;		/* of the whole coordinator */
	MemoryContext turn;			/* reset in each turn */
	DtmConfig	config;
	TimestampTz fixed_now;		/* time to use; 0: the clock's */
	bool		crashes_seen;	/* what ran at the last crash is counted */
	bool		draining;		/* finishes its calls, and takes up no
								 * transactions */
	XLogRecPtr	flush_until;	/* WAL that must be on disk before calls are
								 * sent */
	int			nwebhooks;		/* calls of the webhook in flight */
	List	   *put_off;		/* alerts to send when the turn has committed */
	Calls		calls;
	EntrySet	entries;
	Room		room;
	Reading		reading;
	Search		search;
	Shelf		shelf;
	Locked		locked;
	Uncommitted uncommitted;
	Pace		pace;
	Removal		removal;
	Attempts	attempts;
	Traces		traces;
};

/* ---------- turn.c ---------- */

/* The time that the coordinator uses. */
extern TimestampTz coordinator_time(Coordinator *c);

/* PostgreSQL transactions; afterwards the turn's memory context is current. */
extern void turn_begin(Coordinator *c);
extern void turn_commit(Coordinator *c);
extern void turn_roll_back(Coordinator *c);

/* ---------- read.c ---------- */

extern void read_init(Coordinator *c);

/* Is there anything to read, and room for it? */
extern bool read_can(Coordinator *c);

/*
 * Reads rows that others have changed and, as far as there is room, new, due
 * and shelved ones.
 */
extern void read_rows(Coordinator *c);

/*
 * Called after reading has failed.  True if the turn should continue: rows are
 * then read one at a time, until the bad one is found and postponed.
 */
extern bool read_failed(Coordinator *c, ErrorData *edata);

/* Queues an id to read; if the queue is full, requests a search instead. */
extern void read_later(Coordinator *c, int64 id);

/* ---------- replies.c ---------- */

/* Takes the replies of calls that have ended, and lets core decide. */
extern void replies_collect(Coordinator *c);

/* As one that core has not seen. */
extern Reply *reply_copy(const Reply *reply, MemoryContext context);

/* ---------- postpone.c ---------- */

/* Postpones a row until a later time.  Needs a transaction. */
extern void read_postpone(Coordinator *c, int64 id, TimestampTz next_time);

/* The same, and a warning: of one that can't be read, and why; of nobody's. */
extern void postpone_bad(Coordinator *c, int64 id, const char *problem);
extern void postpone_ownerless(Coordinator *c, int64 id, const char *problem);

/* ---------- write.c ---------- */

/*
 * Writes those of entries[0 .. n-1] that have changed, and makes their calls
 * ready.  Rows that could not be written are read again.
 */
extern void write_entries(Coordinator *c, Entry **entries, int n);

/*
 * Writes each entry alone, after writing all together has failed; postpones
 * entries that fail again.
 */
extern void write_one_by_one(Coordinator *c, Entry **entries, int n);

/*
 * Is this an error that no single row causes: concurrency, resources, a
 * cancel, a missing table?
 */
extern bool write_concerns_all(const ErrorData *edata);

/* ---------- results.c ---------- */

/* Takes the body of a response that may have to be kept. */
extern void results_take(Entry *entry, const Call *call, Reply *reply);

/*
 * Makes the call of an op, with the results that it refers to.  Needs a PostgreSQL
 * transaction; allocates in the current memory context.
 */
extern Call *results_make_call(Entry *entry, int op, TimestampTz now);

/* Writes the results of those of entries[0 .. n-1] that have been written. */
extern void results_write(Entry **entries, const StoreSaved *saved, int n);

/* ---------- crashed.c ---------- */

/* Before anything else: what was running at the last crash has failed. */
extern void crashed_see_to_all(Coordinator *c);

/* ---------- webhook.c ---------- */

/*
 * With dtm.alert_each, sends alerts to dtm.alert_webhook.  Not in a PostgreSQL
 * transaction.
 */
extern void webhook_send(Coordinator *c, const Transaction *trans,
						 const OutcomeAlert *alerts);

/*
 * In the transaction of a turn: the same when that has committed.  What it is
 * given has to live as long as the turn.
 */
extern void webhook_send_later(Coordinator *c, const Transaction *trans,
							   const OutcomeAlert *alerts);
extern void webhook_send_put_off(Coordinator *c);
extern void webhook_forget_put_off(Coordinator *c);

/* The call of the webhook has ended; frees it. */
extern void webhook_done(Coordinator *c, Call *call);

#endif							/* DTM_COORDINATOR_PRIVATE_H */
