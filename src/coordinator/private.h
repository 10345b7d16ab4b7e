/*
 * private.h
 *		What the files of the coordinator share.
 *
 * entry.c has the transactions in memory, read.c brings them there, write.c
 * brings what has changed back, coordinator.c has the turn that joins these,
 * and pace.c says when there may be one.
 */
#ifndef DTM_COORDINATOR_PRIVATE_H
#define DTM_COORDINATOR_PRIVATE_H

#include "call.h"
#include "coordinator.h"
#include "queue.h"

#include "transaction.h"
#include "settings.h"
#include "store/store.h"

#include "lib/ilist.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

/* Transactions put aside because a host of theirs has enough to do. */
typedef struct ParkedHost
{
	dlist_node	node;			/* in Coordinator.parked */
	CallPlace	place;
	IdQueue		ids;
} ParkedHost;

/* A reply whose effects are not committed yet. */
typedef struct Reply
{
	int			op;
	DtmResult	result;
	char	   *text;			/* in the server's encoding */
	bool		applied;		/* core has taken it, on the row in memory */
	struct Reply *next;
} Reply;

/* A global transaction in memory. */
typedef struct Entry
{
	int64		id;				/* hash key; must be first */
	Transaction *trans;
	MemoryContext context;		/* of trans, and of what is made for it */
	Size		bytes;			/* that context's, when it was loaded */
	dlist_node	node;			/* in Coordinator.touched, if touched */
	bool		searched;		/* a search has found it */
	bool		touched;		/* has to be seen to in this turn */
	bool		wake;			/* let core look at it */
	bool		changed;		/* the row has to be written */
	bool		saved;			/* it was, in the turn's transaction */
	bool		reload;			/* the row has been changed by somebody else */
	bool		renew;			/* take it as it is read, changed or not */
	bool		gone;			/* it is not active any more */
	TimestampTz not_before;		/* the row was locked: try again then */
	int			nrefused;		/* times in a row that it was not written */
	Reply	   *replies;		/* in the order they came */
	char	   *alert_url;		/* what has failed too often, to be told when the
								 * row is written; NULL: nothing */
	char	   *alert_error;
	int		   *to_call;		/* room for nops + 1 */
	int			nto_call;
	Call	   *ready;			/* to be sent when the turn has committed */
	Call	   *calls;			/* under way */
	int			ncalls;
} Entry;

struct Coordinator
{
	StoreMode	mode;
	DtmShare	share;			/* of the database's transactions */
	DtmSharedSlot *slot;
	MemoryContext context;		/* of it all */
	MemoryContext turn;			/* reset each turn */
	Calls		calls;
	DtmConfig	config;
	HTAB	   *entries;
	dlist_head	touched;
	int			ntouched;
	int			nsearched;		/* entries that searches have found */
	int64		bytes;			/* of all entries */
	int64		budget;			/* transactions it may still take up; -1: any */
	bool		draining;
	int64		paced_until;	/* no turn before then, pace_clock() */
	int64		turn_began;	/* pace_clock() */
	int64		worked;			/* us of the time since load_since */
	int64		load_since;		/* pace_clock() */
	bool		busy;			/* it was, in the period before that */
	int64		parked_at;		/* the latest time, pace_clock() */
	TimestampTz fixed_now;		/* 0: the clock */

	IdQueue		announced;		/* not read yet */
	dlist_head	parked;			/* ParkedHost */
	int			nparked;		/* transactions in them */
	int			owed_to_search; /* room that it was not given yet: LATER_SHARE of it is one */
	int			owed_to_parked; /* the same */
	int			batch;			/* rows read by one statement; 1 after an error */
	int64		suspect;		/* the row that is just read alone; 0: none */
	bool		wake_waiters;	/* something may have become final */
	XLogRecPtr	flush_until;	/* to be on disk before calls are sent */

	/* The search for due rows. */
	bool		searching;		/* one is on its way */
	bool		search_again;	/* asked for meanwhile */
	bool		search_all;		/* the next one has to be from the beginning */
	StorePosition position;		/* how far it has come */
	TimestampTz search_until;	/* the "now" that it goes by */
	TimestampTz searched_until;	/* the last complete one's */
	TimestampTz deadline;		/* next row that becomes due; DT_NOEND: none */

	/* The removal of what has finished. */
	TimestampTz cleanup_at;		/* next batch; DT_NOEND: none */
	int64		cleanup_after;	/* how far the pass has come */
	TimestampTz cleanup_oldest; /* of what it has left */

	int			nwebhooks;		/* under way */

	/* Attempts to be written. */
	StoreAttempt *attempts;
	int			nattempts;
	int			attempts_size;
	MemoryContext attempts_context;
};

/* ---------- turn.c ---------- */

/* The time that it goes by. */
extern TimestampTz coordinator_time(Coordinator *c);

/* PostgreSQL transactions; afterwards the turn's memory context is current. */
extern void turn_begin(Coordinator *c);
extern void turn_commit(Coordinator *c);
extern void turn_roll_back(Coordinator *c);

/* ---------- pace.c ---------- */

/* us, by a clock that nobody sets. */
extern int64 pace_clock(void);

/* Time until the next turn may be, in us; and one has been made. */
extern int64 pace_left(Coordinator *c);
extern void pace_count_turn(Coordinator *c);

/* It has worked since turn_began: is that more than half of the time, of late? */
extern void pace_count_work(Coordinator *c);

/* ---------- entry.c ---------- */

extern Entry *entry_find(Coordinator *c, int64 id);
extern int	entry_count(Coordinator *c);

/* It has to be seen to in this turn. */
extern void entry_touch(Coordinator *c, Entry *entry);

/* A row that was read into memory; its context becomes the entry's. */
extern void entry_add(Coordinator *c, Transaction *trans,
					  MemoryContext context, bool searched);

/* The row as it is now, for an entry that we have; its calls go on. */
extern void entry_replace(Coordinator *c, Entry *entry, Transaction *trans,
						  MemoryContext context);

/* Out of memory with it; its calls under way are given up. */
extern void entry_forget(Coordinator *c, Entry *entry);

/* Takes the replies of calls that have ended, and what core says to them. */
extern void entry_collect(Coordinator *c);

/* What core has to say about an entry, from the row as it is in memory. */
extern void entry_decide(Coordinator *c, Entry *entry);

/* Core takes the replies that it has not taken yet. */
extern void entry_apply_replies(Coordinator *c, Entry *entry);

/* Makes the calls that were decided on, to be sent after the commit. */
extern void entry_make_ready(Coordinator *c, Entry *entry);
extern void entry_drop_ready(Entry *entry);
extern void entry_send(Coordinator *c, Entry *entry);

/* ---------- read.c ---------- */

/* Where reading begins: with a search for all that is due. */
extern void read_init(Coordinator *c);

/* How many more transactions may be taken up now, and by a search for them. */
extern int	read_room(Coordinator *c);
extern int	read_search_room(Coordinator *c);

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

extern void read_start_search(Coordinator *c, bool from_beginning);

/* Has a row out of the way until a later time. */
extern void read_postpone(Coordinator *c, int64 id, TimestampTz next_time);

/* Puts transactions aside whose hosts are busy, if they fill the memory. */
extern void read_park(Coordinator *c);

/* When it will have to, in us from the beginning of this turn; -1: no need. */
extern int64 read_park_in(Coordinator *c);

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
						 const char *url, const char *error);

/* It was called. */
extern void webhook_done(Coordinator *c, Call *call);

/* ---------- removal.c ---------- */

extern void removal_init(Coordinator *c);
extern bool removal_is_due(Coordinator *c);

/* Removes a batch, in transactions of its own; throws nothing. */
extern void removal_run(Coordinator *c);

#endif							/* DTM_COORDINATOR_PRIVATE_H */
