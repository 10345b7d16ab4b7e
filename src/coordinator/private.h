/*
 * private.h
 *		What the files of the coordinator share.
 *
 * Each part of a coordinator is a struct of the file that it is named after:
 *
 *	turn.c		the turn that joins the others, and the life of a coordinator
 *	lease.c		the lock of its share of the transactions
 *	call.c		calls, to hosts and in this database
 *	entry.c		the transactions in memory, their replies, what core decides
 *	room.c		how many of them there may be
 *	read.c		brings rows into memory
 *	search.c	which rows are due
 *	queue.c		ids that wait to be read
 *	park.c		puts transactions aside whose calls have to wait
 *	write.c		brings what has changed back
 *	attempts.c	calls that took place, to be written
 *	pace.c		when there may be a turn
 *	removal.c	removes what has been finished for long enough
 *	webhook.c	tells the alert webhook
 */
#ifndef DTM_COORDINATOR_PRIVATE_H
#define DTM_COORDINATOR_PRIVATE_H

#include "coordinator.h"

#include "attempts.h"
#include "call.h"
#include "entry.h"
#include "pace.h"
#include "park.h"
#include "queue.h"
#include "removal.h"
#include "room.h"
#include "search.h"

#include "settings.h"
#include "transaction.h"
#include "store/store.h"

#include "utils/memutils.h"

/* What reading knows from one turn to the next. */
typedef struct Reading
{
	IdQueue		announced;		/* not read yet */
	int			batch;			/* rows read by one statement; 1 after an error */
	int64		suspect;		/* the row that is just read alone; 0: none */
} Reading;

struct Coordinator
{
	StoreMode	mode;
	DtmShare	share;			/* of the database's transactions */
	DtmSharedSlot *slot;		/* NULL: there is none */
	MemoryContext context;		/* of it all */
	MemoryContext turn;			/* reset each turn */
	DtmConfig	config;
	TimestampTz fixed_now;		/* the time that it goes by; 0: the clock's */
	bool		draining;		/* finishes its calls, and takes up nothing */
	XLogRecPtr	flush_until;	/* to be on disk before calls are sent */
	int			nwebhooks;		/* calls of the webhook under way */
	Calls		calls;
	EntrySet	entries;
	Room		room;
	Reading		reading;
	Search		search;
	Park		park;
	Pace		pace;
	Removal		removal;
	Attempts	attempts;
};

/* ---------- turn.c ---------- */

/* The time that it goes by. */
extern TimestampTz coordinator_time(Coordinator *c);

/* PostgreSQL transactions; afterwards the turn's memory context is current. */
extern void turn_begin(Coordinator *c);
extern void turn_commit(Coordinator *c);
extern void turn_roll_back(Coordinator *c);

/* ---------- read.c ---------- */

extern void read_init(Coordinator *c);

/* Is there something to read, and room for it? */
extern bool read_can(Coordinator *c);

/*
 * Reads what others have changed, and, as far as there is room: what is new,
 * what is due, what was parked.
 */
extern void read_rows(Coordinator *c);

/*
 * Reading has failed.  True if it's worth going on: one row at a time, until
 * the one that can't be read is found, which is put out of the way.
 */
extern bool read_failed(Coordinator *c, ErrorData *edata);

/* An id to be read; if too many wait already, it is searched for. */
extern void read_later(Coordinator *c, int64 id);

/* Has a row out of the way until a later time.  In a transaction. */
extern void read_postpone(Coordinator *c, int64 id, TimestampTz next_time);

/* ---------- write.c ---------- */

/*
 * Writes those of entries[0 .. n-1] that have changed, and makes their calls
 * ready; what could not be written is read again.
 */
extern void write_entries(Coordinator *c, Entry **entries, int n);

/*
 * Each on its own, after writing all together has failed; puts those aside
 * that it fails for.
 */
extern void write_one_by_one(Coordinator *c, Entry **entries, int n);

/*
 * Is this an error that no row is to blame for?  Concurrency, resources, the
 * operator, a missing table.
 */
extern bool write_concerns_all(const ErrorData *edata);

/* ---------- webhook.c ---------- */

/* Tells dtm.alert_webhook, if there is one. */
extern void webhook_send(Coordinator *c, const Transaction *trans,
						 const char *url, const char *error,
						 int failures);

/* It was called; frees the call. */
extern void webhook_done(Coordinator *c, Call *call);

#endif							/* DTM_COORDINATOR_PRIVATE_H */
