/*
 * coordinator.c
 *		Drives the global transactions of one database.
 *
 * A turn (coordinator_cycle) has two halves.  The first takes the replies of
 * calls that have ended, without touching the database.  The second is one
 * PostgreSQL transaction: it reads what is new or due, lets core decide, and
 * writes all that has changed and all attempts in a few statements.  Only when
 * that has committed are calls sent.  So:
 *
 * 1. No call is made before the decision to make it is durable: a decision
 *    that changes nothing in the row follows from what is durable already.
 * 2. A reply that core has seen, but whose effects are not committed, is kept
 *    (Entry.replies).  If the row turns out to have been changed by somebody
 *    else, the row is read again and the replies are applied to that.
 *    A commit here waits for the disk whatever synchronous_commit says, and
 *    so does a call for the commit of the submit that it follows from.
 * 3. If this process dies at any point, its successor reads the same rows and
 *    makes the same decisions; calls that were under way are made again.
 *
 * Transactions stay in memory only while calls of theirs are under way.  One
 * that waits for a later time is dropped, and found again by its next_time.
 */
#include "coordinator.h"

#include "compat.h"
#include "dtm.h"
#include "http.h"
#include "store.h"
#include "transport.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "executor/spi.h"
#include "lib/ilist.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* Rows read by one statement. */
#define LOAD_BATCH			256

/* Transactions in memory, for each call that may be in flight. */
#define LOADED_PER_REQUEST	2

/* Memory that they may take, in bytes; beyond it no more are loaded. */
#define MAX_LOADED_BYTES	(INT64CONST(256) * 1024 * 1024)

/* Bytes of a reply's body that are kept as the error of an attempt. */
#define MAX_ERROR_BYTES		1000

/*
 * Pause before another try to write a row that is locked, in us; it doubles
 * this many times.
 */
#define LOCKED_ROW_PAUSE	INT64CONST(10000)
#define LOCKED_ROW_DOUBLES	7

/* dtm_run_due() leaves a locked row alone after so many tries. */
#define LOCKED_ROW_TRIES	3

/* Ids kept in memory to be read later; beyond that they are searched for. */
#define MAX_QUEUED			1000000

/* Ids waiting to be read, first in first out. */
typedef struct IdQueue
{
	int64	   *ids;
	int			head;			/* next to be taken */
	int			tail;
	int			size;			/* allocated */
} IdQueue;

/* Transactions put aside because a host of theirs has enough to do. */
typedef struct ParkedHost
{
	dlist_node	node;			/* in Coordinator.parked */
	char		name[DTM_HOST_NAME_SIZE];
	IdQueue		ids;
} ParkedHost;

/* A reply whose effects are not committed yet. */
typedef struct Reply
{
	int			op;
	DtmResult	result;
	char	   *text;			/* in the server's encoding */
	struct Reply *next;
} Reply;

/* A call of an entry. */
typedef struct EntryCall
{
	DtmCall		call;			/* call.owner is the entry */
	int			op;
	struct EntryCall *next;
} EntryCall;

/* A global transaction in memory. */
typedef struct Entry
{
	int64		id;				/* hash key; must be first */
	StoreTrans *trans;
	MemoryContext context;		/* of trans, and of what is made for it */
	Size		bytes;			/* that context's, when it was loaded */
	dlist_node	node;			/* in Coordinator.touched, if touched */
	bool		touched;		/* has to be seen to in this turn */
	bool		wake;			/* let core look at it */
	bool		replay;			/* the row was read again: replies have to be
								 * applied to it */
	bool		changed;		/* the row has to be written */
	bool		saved;			/* it was, in the turn's transaction */
	bool		reload;			/* the row has been changed by somebody else */
	bool		gone;			/* it is not active any more */
	TimestampTz not_before;		/* the row was locked: try again then */
	int			nrefused;		/* times in a row that it was not written */
	Reply	   *replies;		/* in the order they came */
	int		   *to_call;		/* room for nops + 1 */
	int			nto_call;
	EntryCall  *ready;			/* to be sent when the turn has committed */
	EntryCall  *calls;			/* under way */
	int			ncalls;
} Entry;

struct Coordinator
{
	CoordinatorMode mode;
	DtmSharedSlot *slot;
	MemoryContext context;		/* of it all */
	MemoryContext turn;			/* reset each turn */
	DtmTransport *transport;
	DtmConfig	config;
	HTAB	   *entries;
	dlist_head	touched;
	int			ntouched;
	int64		bytes;			/* of all entries */
	int64		budget;			/* transactions it may still take up; -1: any */
	bool		draining;
	TimestampTz fixed_now;		/* 0: the clock */

	IdQueue		announced;		/* not read yet */
	dlist_head	parked;			/* ParkedHost */
	int			nparked;		/* transactions in them */
	int			batch;			/* rows read by one statement; 1 after an error */
	int64		suspect;		/* the row that is just read alone; 0: none */
	bool		in_subtransaction;	/* PROCEDURE: what roll_back() undoes */
	bool		wake_waiters;	/* something may have become final */
	XLogRecPtr	flush_until;	/* to be on disk before calls are sent */

	/* The search for due rows. */
	bool		sweeping;		/* one is on its way */
	bool		sweep_again;	/* asked for meanwhile */
	StorePosition position;		/* how far it has come */
	TimestampTz sweep_until;	/* the "now" that it goes by */
	TimestampTz swept_until;	/* the last complete one's */
	TimestampTz deadline;		/* next row that becomes due; DT_NOEND: none */

	/* Attempts to be written. */
	StoreAttempt *attempts;
	int			nattempts;
	int			attempts_size;
	MemoryContext attempts_context;
};

/* ---------- small things ---------- */

static TimestampTz
time_of(Coordinator *c)
{
	return c->fixed_now != 0 ? c->fixed_now : GetCurrentTimestamp();
}

static uint32
jitter_of(Coordinator *c)
{
	/* a time that was given asks for results that can be told beforehand */
	return c->fixed_now != 0 ? 0 : (uint32) random();
}

static void
touch(Coordinator *c, Entry *entry)
{
	if (entry->touched)
		return;
	entry->touched = true;
	dlist_push_tail(&c->touched, &entry->node);
	c->ntouched++;
}

/*
 * Text from outside in the server's encoding, without NUL bytes, cut to what
 * is worth keeping.
 */
static char *
clean_text(const char *text, size_t len)
{
	char	   *clean;
	int			good;

	len = Min(len, MAX_ERROR_BYTES);
	clean = palloc(len + 1);
	memcpy(clean, text, len);
	clean[len] = '\0';
	for (size_t i = 0; i < len; i++)
		if (clean[i] == '\0')
			clean[i] = ' ';
	good = pg_encoding_mbcliplen(PG_UTF8, clean, (int) len, (int) len);
	if (!pg_verify_mbstr(PG_UTF8, clean, good, true) ||
		GetDatabaseEncoding() != PG_UTF8)
		for (size_t i = 0; i < len; i++)
			if (IS_HIGHBIT_SET(clean[i]))
				clean[i] = '?';
	clean[good] = '\0';
	return clean;
}

static inline int
queue_length(const IdQueue *queue)
{
	return queue->tail - queue->head;
}

static void
queue_init(IdQueue *queue, MemoryContext context)
{
	queue->head = queue->tail = 0;
	queue->size = 1024;
	queue->ids = MemoryContextAlloc(context, sizeof(int64) * queue->size);
}

/* Leaves out the next one, if it is this. */
static void
skip_first(IdQueue *queue, int64 id)
{
	if (queue_length(queue) > 0 && queue->ids[queue->head] == id)
		queue->head++;
}

/* False if it is as long as it may get. */
static bool
queue_push(IdQueue *queue, int64 id)
{
	if (queue_length(queue) >= MAX_QUEUED)
		return false;
	if (queue->tail == queue->size)
	{
		int			n = queue_length(queue);

		if (queue->head > queue->size / 2)
			memmove(queue->ids, queue->ids + queue->head, sizeof(int64) * n);
		else
		{
			int64	   *ids = MemoryContextAllocHuge(GetMemoryChunkContext(queue->ids),
													 sizeof(int64) * queue->size * 2);

			memcpy(ids, queue->ids + queue->head, sizeof(int64) * n);
			pfree(queue->ids);
			queue->ids = ids;
			queue->size *= 2;
		}
		queue->head = 0;
		queue->tail = n;
	}
	queue->ids[queue->tail++] = id;
	return true;
}

/* ---------- PostgreSQL transactions ---------- */

static void
begin(Coordinator *c)
{
	if (c->mode == COORDINATOR_WORKER)
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
	}
	else
	{
		/* rows are read again after others changed them */
		XactIsoLevel = XACT_READ_COMMITTED;
		PushActiveSnapshot(GetTransactionSnapshot());
		BeginInternalSubTransaction(NULL);
		c->in_subtransaction = true;
	}
	MemoryContextSwitchTo(c->turn);
}

static void
commit(Coordinator *c)
{
	bool		wrote = TransactionIdIsValid(GetCurrentTransactionIdIfAny());

	ForceSyncCommit();
	if (c->mode == COORDINATOR_WORKER)
	{
		PopActiveSnapshot();
		CommitTransactionCommand();
	}
	else
	{
		ReleaseCurrentSubTransaction();
		PopActiveSnapshot();
		c->in_subtransaction = false;
		SPI_commit();
		SPI_start_transaction();	/* before 13.7 and 14.3 it does not */
	}
	MemoryContextSwitchTo(c->turn);
	if (wrote && c->slot)
		pg_atomic_fetch_add_u64(&c->slot->ncommits, 1);
}

static void
roll_back(Coordinator *c)
{
	if (c->mode == COORDINATOR_WORKER)
		AbortCurrentTransaction();
	else if (c->in_subtransaction)
	{
		RollbackAndReleaseCurrentSubTransaction();
		PopActiveSnapshot();
		c->in_subtransaction = false;
	}
	MemoryContextSwitchTo(c->turn);
}

/* ---------- entries ---------- */

static Entry *
find_entry(Coordinator *c, int64 id)
{
	return hash_search(c->entries, &id, HASH_FIND, NULL);
}

static int
nentries(Coordinator *c)
{
	return (int) hash_get_num_entries(c->entries);
}

static void
free_call(EntryCall *call)
{
	dtm_call_release(&call->call);
	pfree(call);
}

/* Calls that were made ready, but are not sent after all. */
static void
drop_ready(Entry *entry)
{
	while (entry->ready != NULL)
	{
		EntryCall  *call = entry->ready;

		entry->ready = call->next;
		pfree(call);
	}
}

static void add_attempt(Coordinator *c, Entry *entry, EntryCall *call,
						DtmResult result, const char *text);

/* Its calls under way are given up. */
static void
forget_entry(Coordinator *c, Entry *entry)
{
	while (entry->calls != NULL)
	{
		EntryCall  *call = entry->calls;

		entry->calls = call->next;
		if (call->call.slot != NULL)
			add_attempt(c, entry, call, DTM_RESULT_TEMPORARY,
						"given up: the global transaction is not run any more");
		dtm_transport_cancel(c->transport, &call->call);
		free_call(call);
	}
	if (entry->touched)
	{
		dlist_delete(&entry->node);
		c->ntouched--;
	}
	c->bytes -= entry->bytes;
	drop_ready(entry);
	MemoryContextDelete(entry->context);
	hash_search(c->entries, &entry->id, HASH_REMOVE, NULL);
}

/* A row that was read into memory; its context becomes the entry's. */
static void
add_entry(Coordinator *c, StoreTrans *trans, MemoryContext context)
{
	bool		found;
	Entry	   *entry = hash_search(c->entries, &trans->id, HASH_ENTER, &found);

	Assert(!found);
	memset((char *) entry + sizeof(int64), 0, sizeof(Entry) - sizeof(int64));
	entry->trans = trans;
	entry->context = context;
	entry->to_call = MemoryContextAlloc(context,
										sizeof(int) * (trans->core.nops + 1));
	entry->bytes = MemoryContextMemAllocated(context, true);
	c->bytes += entry->bytes;
	dtm_core_loaded(&trans->core, time_of(c));
	entry->wake = true;
	touch(c, entry);
	if (c->budget > 0)
		c->budget--;
}

/* The row as it is now, for an entry that we have; calls go on. */
static void
replace_entry(Coordinator *c, Entry *entry, StoreTrans *trans,
			  MemoryContext context)
{
	Reply	   *replies = NULL;
	Reply	  **last = &replies;

	dtm_core_loaded(&trans->core, time_of(c));
	for (EntryCall *call = entry->calls; call != NULL; call = call->next)
	{
		if (call->op == DTM_CALL_QUERY)
			trans->core.query_running = true;
		else
			trans->core.ops[call->op].running = true;
	}
	drop_ready(entry);
	for (Reply *reply = entry->replies; reply != NULL; reply = reply->next)
	{
		Reply	   *copy = MemoryContextAlloc(context, sizeof(Reply));

		*copy = *reply;
		copy->text = MemoryContextStrdup(context, reply->text);
		copy->next = NULL;
		*last = copy;
		last = &copy->next;
	}
	/* the requests of calls under way lie in the old context */
	if (entry->calls != NULL)
		MemoryContextSetParent(entry->context, context);
	else
		MemoryContextDelete(entry->context);
	c->bytes -= entry->bytes;
	entry->trans = trans;
	entry->context = context;
	entry->bytes = MemoryContextMemAllocated(context, true);
	c->bytes += entry->bytes;
	entry->replies = replies;
	entry->to_call = MemoryContextAlloc(context,
										sizeof(int) * (trans->core.nops + 1));
	entry->nto_call = 0;
	entry->changed = false;
	entry->reload = false;
	entry->wake = entry->replay = true;
	touch(c, entry);
}

/* ---------- deciding ---------- */

static void
step(Coordinator *c, Entry *entry, DtmEvent *event)
{
	DtmTrans   *core = &entry->trans->core;
	DtmUpdate	update;

	/*
	 * Calls that were decided on, but not sent yet, are decided on anew: core
	 * asks again for those that are still right.
	 */
	for (int i = 0; i < entry->nto_call; i++)
		if (entry->to_call[i] == DTM_CALL_QUERY)
			core->query_running = false;
		else
			core->ops[entry->to_call[i]].running = false;

	update.calls = entry->to_call;
	event->now = time_of(c);
	event->jitter = jitter_of(c);
	dtm_core_step(core, &c->config, event, &update);
	entry->nto_call = update.ncalls;
	entry->changed = entry->changed || update.changed;
	if (update.alert_op != DTM_NO_ALERT)
		ereport(WARNING,
				(errmsg("global transaction \"%s\" has failed %d times in a row",
						entry->trans->gid, core->failures),
				 errdetail("%s answered: %s", event->url, event->text),
				 errhint("It is tried again at %s, or now with dtm_retry_now().",
						 timestamptz_to_str(core->next_time))));
}

static void
apply_reply(Coordinator *c, Entry *entry, const Reply *reply)
{
	DtmEvent	event = {.kind = DTM_EVENT_REPLY};

	event.op = reply->op;
	event.result = reply->result;
	event.url = http_target(entry->trans, reply->op);
	event.text = reply->text;
	step(c, entry, &event);
}

/* What core has to say about an entry, from the row as it is in memory. */
static void
decide(Coordinator *c, Entry *entry)
{
	DtmEvent	event = {.kind = DTM_EVENT_WAKE};

	if (entry->replay)
		for (Reply *reply = entry->replies; reply != NULL; reply = reply->next)
			apply_reply(c, entry, reply);
	entry->wake = entry->replay = false;
	step(c, entry, &event);
}

/* ---------- replies ---------- */

static void
add_attempt(Coordinator *c, Entry *entry, EntryCall *call, DtmResult result,
			const char *text)
{
	StoreAttempt *attempt;
	MemoryContext before = MemoryContextSwitchTo(c->attempts_context);

	if (c->nattempts == c->attempts_size)
	{
		c->attempts_size *= 2;
		c->attempts = repalloc(c->attempts,
							   sizeof(StoreAttempt) * c->attempts_size);
	}
	attempt = &c->attempts[c->nattempts++];
	attempt->id = entry->id;
	attempt->op = call->op;
	attempt->started = call->call.started -
		(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	attempt->duration = call->call.duration;
	attempt->http_status = call->call.http_status;
	attempt->result = result;
	attempt->error = result == DTM_RESULT_SUCCESS ? NULL : pstrdup(text);
	MemoryContextSwitchTo(before);
}

static void
collect(Coordinator *c)
{
	DtmCall    *done;

	dtm_transport_drive(c->transport);
	while ((done = dtm_transport_reap(c->transport)) != NULL)
	{
		Entry	   *entry = done->owner;
		EntryCall **link = &entry->calls;
		EntryCall  *call;
		DtmResult	result = DTM_RESULT_TEMPORARY;
		Reply	   *reply;
		Reply	  **last = &entry->replies;

		while (&(*link)->call != done)
			link = &(*link)->next;
		call = *link;
		*link = call->next;
		entry->ncalls--;

		if (done->http_status != 0)
			result = dtm_classify_http(done->http_status,
									   done->reply ? done->reply : "",
									   done->reply_len);
		reply = MemoryContextAlloc(entry->context, sizeof(Reply));
		reply->op = call->op;
		reply->result = result;
		reply->next = NULL;
		MemoryContextSwitchTo(entry->context);
		if (result == DTM_RESULT_SUCCESS)
			reply->text = "";
		else if (done->http_status == 0)
			reply->text = clean_text(done->error, strlen(done->error));
		else
			reply->text = clean_text(done->reply ? done->reply : "",
									 done->reply_len);
		MemoryContextSwitchTo(c->turn);
		add_attempt(c, entry, call, result, reply->text);
		while (*last != NULL)
			last = &(*last)->next;
		*last = reply;
		if (!entry->reload)
			apply_reply(c, entry, reply);
		touch(c, entry);
		free_call(call);
		if (c->slot)
		{
			pg_atomic_fetch_add_u64(&c->slot->ncalls, 1);
			if (result != DTM_RESULT_SUCCESS)
				pg_atomic_fetch_add_u64(&c->slot->ncall_errors, 1);
		}
	}
}

/* ---------- reading ---------- */

static int
capacity(Coordinator *c)
{
	return LOADED_PER_REQUEST * dtm_transport_max_requests(c->transport);
}

static int
room(Coordinator *c)
{
	int64		left = capacity(c) - nentries(c);

	if (c->draining || c->bytes > MAX_LOADED_BYTES)
		return 0;
	if (c->budget >= 0)
		left = Min(left, c->budget);
	return (int) Max(left, 0);
}

/*
 * Has a row out of the way until a later time.  If that can't be written now,
 * the next search is one from the beginning, and finds it.
 */
static void
postpone(Coordinator *c, int64 id, TimestampTz next_time)
{
	if (!store_postpone(id, next_time))
		c->swept_until = DT_NOBEGIN;
	c->deadline = Min(c->deadline, next_time);
}

static void
report_bad_row(Coordinator *c, int64 id, const char *problem)
{
	TimestampTz next_time = time_of(c) + c->config.retry_interval_max;

	ereport(WARNING,
			(errcode(DTM_ERRCODE_BAD_ROW),
			 errmsg("global transaction %lld can't be read: %s",
					(long long) id, problem),
			 errdetail("It is looked at again at %s.",
					   timestamptz_to_str(next_time)),
			 errhint("Its rows in schema dtm have been changed by hand.")));
	if (c->slot)
		pg_atomic_fetch_add_u64(&c->slot->nerrors, 1);
	postpone(c, id, next_time);
}

/* Rows that were read: new ones become entries, known ones are replaced. */
static void
take_rows(Coordinator *c, StoreLoad *load)
{
	for (int i = 0; i < load->n; i++)
	{
		Entry	   *entry = find_entry(c, load->trans[i]->id);

		if (entry == NULL)
			add_entry(c, load->trans[i], load->context[i]);
		else if (entry->reload &&
				 entry->trans->version != load->trans[i]->version)
			replace_entry(c, entry, load->trans[i], load->context[i]);
		else if (entry->reload)
		{
			/* nobody changed it: it was locked, and is tried again as it is */
			MemoryContextDelete(load->context[i]);
			entry->reload = false;
		}
		else
		{
			/* it is being driven; one of its branches may be due again */
			MemoryContextDelete(load->context[i]);
			if (entry->trans->core.next_time > entry->trans->core.created)
			{
				entry->wake = true;
				touch(c, entry);
			}
		}
	}
	for (int i = 0; i < load->nbad; i++)
		report_bad_row(c, load->bad_id[i], load->bad_error[i]);
}

/* Entries whose row was changed by somebody else are read again. */
static void
reload_entries(Coordinator *c)
{
	int64	   *ids = palloc(sizeof(int64) * (c->ntouched + 1));
	int			n = 0;
	dlist_iter	iter;
	StoreLoad	load;

	dlist_foreach(iter, &c->touched)
	{
		Entry	   *entry = dlist_container(Entry, node, iter.cur);

		if (entry->reload && entry->not_before <= GetCurrentTimestamp())
			ids[n++] = entry->id;
	}
	if (n == 0)
		return;
	store_load_ids(ids, n, c->context, &load);
	take_rows(c, &load);
	for (int i = 0; i < n; i++)
	{
		Entry	   *entry = find_entry(c, ids[i]);

		/* no row: it has become final, by dtm_force_stop or dtm_abort */
		if (entry != NULL && entry->reload)
			entry->gone = true;
	}
}

/* Reads the next of a queue, "max" at most. */
static void
load_queued(Coordinator *c, IdQueue *queue, int max)
{
	int			n = Min(Min(queue_length(queue), c->batch), max);
	StoreLoad	load;

	c->suspect = c->batch == 1 ? queue->ids[queue->head] : 0;
	store_load_ids(queue->ids + queue->head, n, c->context, &load);
	c->suspect = 0;
	/* no row: it has become final meanwhile */
	if (load.nrows < n)
		c->wake_waiters = true;
	take_rows(c, &load);
	queue->head += n;
	if (queue->head == queue->tail)
	{
		queue->head = queue->tail = 0;
		c->batch = LOAD_BATCH;
	}
}

static void
load_announced(Coordinator *c)
{
	while (queue_length(&c->announced) > 0 && room(c) > 0)
		load_queued(c, &c->announced, room(c));
}

/* How many more calls a host can do with: what it may have, and some to wait. */
static int
appetite(Coordinator *c, const ParkedHost *host)
{
	return dtm_max_requests_per_host + dtm_max_requests_per_host / 2 -
		dtm_transport_host_load(c->transport, host->name);
}

static bool
can_unpark(Coordinator *c)
{
	dlist_iter	iter;

	dlist_foreach(iter, &c->parked)
		if (appetite(c, dlist_container(ParkedHost, node, iter.cur)) > 0)
			return true;
	return false;
}

/* Reads those again that were put aside, where their host has time now. */
static void
load_parked(Coordinator *c)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &c->parked)
	{
		ParkedHost *host = dlist_container(ParkedHost, node, iter.cur);
		int			n = Min(appetite(c, host), room(c));
		int			before = queue_length(&host->ids);

		if (n > 0)
			load_queued(c, &host->ids, n);
		c->nparked -= before - queue_length(&host->ids);
		if (queue_length(&host->ids) == 0)
		{
			dlist_delete(&host->node);
			pfree(host->ids.ids);
			pfree(host);
		}
	}
}

/*
 * Due rows are found in the order of their next_time, so that a search can go
 * on where it was when the memory was full, and the next one begins where the
 * last has ended: what has been committed behind that was announced.
 */
static void
start_sweep(Coordinator *c, bool from_beginning)
{
	TimestampTz now = time_of(c);

	/* what is found has to be as durable as what was announced */
	if (c->mode == COORDINATOR_WORKER)
		c->flush_until = GetXLogInsertRecPtr();
	c->sweeping = true;
	c->sweep_again = false;
	c->sweep_until = now;
	c->position.time = from_beginning || c->swept_until > now ?
		DT_NOBEGIN : c->swept_until;
	c->position.id = PG_INT64_MAX;
}

static void
load_due(Coordinator *c)
{
	if (!c->sweeping && c->deadline <= time_of(c))
		start_sweep(c, false);
	while (c->sweeping && room(c) > 0)
	{
		int			max = Min(c->batch, room(c));
		StoreLoad	load;

		if (c->batch == 1)
			c->suspect = store_first_due(c->sweep_until, c->position);
		store_load_due(c->sweep_until, c->position, max, c->context, &load);
		c->suspect = 0;
		if (load.nrows < max)
		{
			c->batch = LOAD_BATCH;
			c->sweeping = false;
			c->swept_until = c->sweep_until;
			c->deadline = store_next_deadline(c->swept_until);
		}
		take_rows(c, &load);
		if (load.nrows > 0)
			c->position = load.last;
		if (!c->sweeping && c->sweep_again)
			start_sweep(c, true);
	}
}

/* ---------- writing ---------- */

/* Makes the calls of an entry, to be sent once the turn has committed. */
static void
make_ready(Entry *entry)
{
	int			timeout = entry->trans->request_timeout > 0 ?
		entry->trans->request_timeout : dtm_request_timeout;
	MemoryContext before = MemoryContextSwitchTo(entry->context);

	drop_ready(entry);
	for (int i = entry->nto_call - 1; i >= 0; i--)
	{
		EntryCall  *call = palloc0(sizeof(EntryCall));

		call->op = entry->to_call[i];
		call->call.owner = entry;
		call->call.timeout = (int64) timeout * 1000;
		call->next = entry->ready;
		entry->ready = call;
		http_request(entry->trans, call->op, &call->call);
	}
	MemoryContextSwitchTo(before);
}

/*
 * Writes those of entries[0 .. n-1] that have changed, and makes their calls
 * ready; what could not be written is read again.
 */
static void
save(Coordinator *c, Entry **entries, int n)
{
	Entry	  **changed = palloc(sizeof(Entry *) * (n + 1));
	StoreTrans **trans = palloc(sizeof(StoreTrans *) * (n + 1));
	bool	   *saved = palloc(sizeof(bool) * (n + 1));
	int			nchanged = 0;

	for (int i = 0; i < n; i++)
	{
		make_ready(entries[i]);
		if (!entries[i]->changed)
			continue;
		changed[nchanged] = entries[i];
		trans[nchanged++] = entries[i]->trans;
	}
	store_save(trans, nchanged, time_of(c), saved);
	entries = changed;
	for (int i = 0; i < nchanged; i++)
	{
		entries[i]->saved = saved[i];
		entries[i]->reload = !saved[i];
		if (saved[i])
		{
			entries[i]->nrefused = 0;
			entries[i]->not_before = 0;
			continue;
		}
		entries[i]->not_before = GetCurrentTimestamp() +
			(LOCKED_ROW_PAUSE << Min(entries[i]->nrefused, LOCKED_ROW_DOUBLES));
		entries[i]->nrefused++;
	}
}

/* Puts a transaction that can't be processed out of the way. */
static void
postpone_entry(Coordinator *c, Entry *entry, ErrorData *edata)
{
	int64		id = entry->id;
	TimestampTz next_time = time_of(c) + c->config.retry_interval_max;

	ereport(WARNING,
			(errcode(edata->sqlerrcode),
			 errmsg("global transaction \"%s\" can't be processed: %s",
					entry->trans->gid, edata->message),
			 errdetail("It is looked at again at %s; the others go on.",
					   timestamptz_to_str(next_time))));
	forget_entry(c, entry);
	if (c->slot)
		pg_atomic_fetch_add_u64(&c->slot->nerrors, 1);
	PG_TRY();
	{
		begin(c);
		postpone(c, id, next_time);
		commit(c);
	}
	PG_CATCH();
	{
		/* not even that: it stays due, and is found again */
		FlushErrorState();
		roll_back(c);
		c->swept_until = DT_NOBEGIN;
		c->deadline = Min(c->deadline, next_time);
	}
	PG_END_TRY();
}

/*
 * Is this an error that no row is to blame for?  Concurrency, resources, the
 * operator, a missing table.
 */
static bool
concerns_all(const ErrorData *edata)
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

/*
 * Writes entries each on its own, after writing all together has failed, and
 * puts those aside that it fails for.
 */
static void
save_one_by_one(Coordinator *c, Entry **entries, int n)
{
	for (int i = 0; i < n; i++)
	{
		ErrorData  *volatile edata = NULL;

		PG_TRY();
		{
			begin(c);
			save(c, &entries[i], 1);
			commit(c);
		}
		PG_CATCH();
		{
			MemoryContextSwitchTo(c->turn);
			edata = CopyErrorData();
			FlushErrorState();
			roll_back(c);
		}
		PG_END_TRY();
		if (edata != NULL)
		{
			if (concerns_all(edata))
				ReThrowError(edata);
			postpone_entry(c, entries[i], edata);
		}
	}
}

/* ---------- sending ---------- */

static void
send_calls(Coordinator *c, Entry *entry)
{
	while (entry->ready != NULL)
	{
		EntryCall  *call = entry->ready;

		entry->ready = call->next;
		call->next = entry->calls;
		entry->calls = call;
		entry->ncalls++;
		dtm_transport_submit(c->transport, &call->call);
	}
	entry->nto_call = 0;
}

static ParkedHost *
parked_host(Coordinator *c, const char *name)
{
	ParkedHost *host;
	dlist_iter	iter;

	dlist_foreach(iter, &c->parked)
	{
		host = dlist_container(ParkedHost, node, iter.cur);
		if (strcmp(host->name, name) == 0)
			return host;
	}
	host = MemoryContextAllocZero(c->context, sizeof(ParkedHost));
	strlcpy(host->name, name, sizeof(host->name));
	queue_init(&host->ids, c->context);
	dlist_push_tail(&c->parked, &host->node);
	return host;
}

/*
 * Memory is full, and still there is room for calls: those in memory wait for
 * hosts that are at their limit.  Puts half of them aside, so that
 * transactions that need other hosts come to their turn.
 */
static void
park(Coordinator *c)
{
	HASH_SEQ_STATUS seq;
	Entry	   *entry;
	char		name[DTM_HOST_NAME_SIZE];
	int			surplus = nentries(c) - Min(nentries(c), capacity(c)) / 2;

	if ((nentries(c) < capacity(c) && c->bytes <= MAX_LOADED_BYTES) ||
		dtm_transport_in_flight(c->transport) >=
		dtm_transport_max_requests(c->transport) ||
		!(c->sweeping || queue_length(&c->announced) > 0))
		return;
	hash_seq_init(&seq, c->entries);
	while ((entry = hash_seq_search(&seq)) != NULL)
	{
		bool		waiting = !entry->touched && entry->calls != NULL;

		for (EntryCall *call = entry->calls; call != NULL; call = call->next)
			waiting = waiting && call->call.slot == NULL &&
				call->call.host != NULL;
		if (!waiting)
			continue;
		if (c->nparked < MAX_QUEUED)
		{
			dtm_host_name(entry->calls->call.url, name);
			queue_push(&parked_host(c, name)->ids, entry->id);
			c->nparked++;
			forget_entry(c, entry);
		}
		else
			surplus = 0;
		if (--surplus <= 0)
		{
			hash_seq_term(&seq);
			break;
		}
	}
}

/* ---------- the turn ---------- */

/* Is there something to read, and room for it? */
static bool
can_read(Coordinator *c)
{
	return room(c) > 0 &&
		(queue_length(&c->announced) > 0 || c->sweeping ||
		 c->deadline <= time_of(c) ||
		 can_unpark(c));
}

/* Has this turn anything to do with the database? */
static bool
needs_database(Coordinator *c)
{
	return c->ntouched > 0 || c->nattempts > 0 || can_read(c);
}

/* The committed entries' replies have had their effect. */
static void
settle(Coordinator *c, Entry *entry)
{
	DtmTrans   *core = &entry->trans->core;

	if (entry->gone)
	{
		c->wake_waiters = true;
		forget_entry(c, entry);
		return;
	}
	if (entry->reload)
	{
		if (c->mode == COORDINATOR_PROCEDURE && entry->ncalls == 0 &&
			entry->nrefused >= LOCKED_ROW_TRIES)
			forget_entry(c, entry); /* whoever has it locked goes first */
		return;					/* else it stays touched */
	}
	if (entry->saved)
		entry->trans->version++;
	entry->changed = entry->saved = false;
	entry->replies = NULL;
	if (dtm_core_is_final(core->status))
	{
		c->wake_waiters = true;
		if (c->slot)
			pg_atomic_fetch_add_u64(&c->slot->nfinished, 1);
		forget_entry(c, entry);
		return;
	}
	if (c->draining)
		drop_ready(entry);		/* the next one to run makes them */
	else
		send_calls(c, entry);
	if (core->next_time > time_of(c))
		c->deadline = Min(c->deadline, core->next_time);
	if (entry->ncalls == 0)
	{
		/* it waits for a later time, or for a caller */
		int64		id = entry->id;
		bool		due = core->next_time <= time_of(c);

		forget_entry(c, entry);
		if (due && !queue_push(&c->announced, id))
			coordinator_sweep(c);
		return;
	}
	entry->touched = false;
	dlist_delete(&entry->node);
	c->ntouched--;
}

/*
 * The touched entries that have to be written or called, in an array of the
 * turn.
 */
static Entry **
changed_entries(Coordinator *c, int *n)
{
	Entry	  **entries = palloc(sizeof(Entry *) * (c->ntouched + 1));
	dlist_iter	iter;

	*n = 0;
	dlist_foreach(iter, &c->touched)
	{
		Entry	   *entry = dlist_container(Entry, node, iter.cur);

		if (entry->wake && !entry->reload)
			decide(c, entry);
		if ((entry->changed || entry->nto_call > 0) && !entry->reload)
			entries[(*n)++] = entry;
	}
	return entries;
}

/*
 * Reading rows has failed.  Returns true if it's worth going on: one at a time
 * until the one that can't be read is found, which is put out of the way.
 */
static bool
reading_failed(Coordinator *c, ErrorData *edata)
{
	if (concerns_all(edata))
		return false;
	if (c->suspect != 0)
	{
		int64		id = c->suspect;
		dlist_iter	iter;

		c->suspect = 0;
		skip_first(&c->announced, id);
		dlist_foreach(iter, &c->parked)
			skip_first(&dlist_container(ParkedHost, node, iter.cur)->ids, id);
		begin(c);
		report_bad_row(c, id, edata->message);
		commit(c);
		return true;
	}
	if (c->batch == 1)
		return false;
	/* rows that were read, but not kept, are to be found again */
	c->swept_until = DT_NOBEGIN;
	c->sweep_again = true;
	ereport(LOG,
			(errcode(edata->sqlerrcode),
			 errmsg("reading global transactions failed, reading them one by one: %s",
					edata->message)));
	c->batch = 1;
	return true;
}

/* False: nothing was written, and the entries are as they were. */
static bool
use_database(Coordinator *c)
{
	Entry	  **volatile entries = NULL;
	volatile int n = 0;
	volatile bool failed = false;

	PG_TRY();
	{
		begin(c);
		reload_entries(c);
		load_announced(c);
		load_due(c);
		load_parked(c);
		{
			int			nchanged;

			entries = changed_entries(c, &nchanged);
			n = nchanged;
		}
		save(c, entries, n);
		store_add_attempts(c->attempts, c->nattempts);
		commit(c);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(c->turn);
		edata = CopyErrorData();
		FlushErrorState();
		roll_back(c);

		if (entries == NULL && reading_failed(c, edata))
			return false;
		if (entries == NULL || n == 0 || concerns_all(edata))
			ReThrowError(edata);
		ereport(LOG,
				(errcode(edata->sqlerrcode),
				 errmsg("writing %d global transactions failed, writing them one by one: %s",
						n, edata->message)));
		failed = true;
	}
	PG_END_TRY();

	if (failed)
	{
		save_one_by_one(c, entries, n);
		begin(c);
		store_add_attempts(c->attempts, c->nattempts);
		commit(c);
	}
	c->nattempts = 0;
	MemoryContextReset(c->attempts_context);
	return true;
}

void
coordinator_cycle(Coordinator *c)
{
	MemoryContext before = CurrentMemoryContext;

	MemoryContextSwitchTo(c->turn);
	collect(c);
	if (needs_database(c) && use_database(c))
	{
		dlist_mutable_iter iter;

		if (c->flush_until != InvalidXLogRecPtr)
			XLogFlush(c->flush_until);
		c->flush_until = InvalidXLogRecPtr;
		dlist_foreach_modify(iter, &c->touched)
			settle(c, dlist_container(Entry, node, iter.cur));
		/* off they go */
		dtm_transport_drive(c->transport);
	}
	park(c);
	if (c->slot)
	{
		if (c->wake_waiters)
			dtm_wake_waiters(c->slot);
		c->wake_waiters = false;
		pg_atomic_write_u32(&c->slot->loaded, (uint32) nentries(c));
		pg_atomic_write_u32(&c->slot->in_flight,
							(uint32) dtm_transport_in_flight(c->transport));
		pg_atomic_write_u32(&c->slot->queued,
							(uint32) dtm_transport_waiting(c->transport));
	}
	MemoryContextSwitchTo(before);
	MemoryContextReset(c->turn);
}

void
coordinator_flush_until(Coordinator *c, XLogRecPtr lsn)
{
	c->flush_until = Max(c->flush_until, lsn);
}

/* Its row may have been changed. */
static void
look_again(Coordinator *c, Entry *entry)
{
	entry->reload = true;
	entry->not_before = 0;
	touch(c, entry);
}

void
coordinator_look_at(Coordinator *c, const int64 *ids, int n)
{
	for (int i = 0; i < n; i++)
	{
		Entry	   *entry = find_entry(c, ids[i]);

		if (entry != NULL)
			look_again(c, entry);
		else if (!queue_push(&c->announced, ids[i]))
			coordinator_sweep(c);
	}
}

void
coordinator_sweep(Coordinator *c)
{
	HASH_SEQ_STATUS seq;
	Entry	   *entry;

	/* those in memory may have been changed, or be gone */
	hash_seq_init(&seq, c->entries);
	while ((entry = hash_seq_search(&seq)) != NULL)
		look_again(c, entry);
	if (c->sweeping)
		c->sweep_again = true;
	else
		start_sweep(c, true);
}

bool
coordinator_is_idle(Coordinator *c)
{
	return nentries(c) == 0 && c->nattempts == 0;
}

bool
coordinator_is_done(Coordinator *c)
{
	return coordinator_is_idle(c) &&
		(room(c) == 0 ||
		 (!c->sweeping && queue_length(&c->announced) == 0 &&
		  c->nparked == 0 && c->deadline > time_of(c)));
}

int
coordinator_fd(Coordinator *c)
{
	return dtm_transport_fd(c->transport);
}

long
coordinator_timeout(Coordinator *c)
{
	int64		us = dtm_transport_due_in(c->transport);
	TimestampTz now = GetCurrentTimestamp();
	dlist_iter	iter;

	dlist_foreach(iter, &c->touched)
	{
		Entry	   *entry = dlist_container(Entry, node, iter.cur);
		int64		left = Max(entry->not_before - now, 0);

		us = us < 0 ? left : Min(us, left);
	}
	if (c->nattempts > 0 || can_read(c))
		us = 0;
	else if (room(c) > 0 && c->deadline != DT_NOEND && c->fixed_now == 0)
	{
		int64		left = Max(c->deadline - now, 0);

		us = us < 0 ? left : Min(us, left);
	}
	if (us < 0)
		return -1;
	/* round up, so that it is due when we wake */
	return (long) Min((us + 999) / 1000, INT_MAX / 2);
}

/* ---------- life ---------- */

static void
read_limits(DtmTransportLimits *limits)
{
	limits->max_requests = dtm_max_requests;
	limits->max_requests_per_host = dtm_max_requests_per_host;
	limits->max_reply_size = (size_t) dtm_max_reply_size * 1024;
}

static void
report_limits(Coordinator *c)
{
	int			most = dtm_transport_max_requests(c->transport);

	if (most < dtm_max_requests)
		ereport(LOG,
				(errmsg("the limit of open files allows %d calls in flight, fewer than dtm.max_requests (%d)",
						most, dtm_max_requests),
				 errhint("Raise the server's limit of open files (LimitNOFILE, ulimit -n), or lower dtm.max_requests.")));
}

Coordinator *
coordinator_create(CoordinatorMode mode, DtmSharedSlot *slot)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext,
												  "dtm coordinator",
												  ALLOCSET_DEFAULT_SIZES);
	Coordinator *c = MemoryContextAllocZero(context, sizeof(Coordinator));
	DtmTransportLimits limits;
	char		error[256];
	HASHCTL		hash;

	c->mode = mode;
	c->slot = slot;
	c->context = context;
	c->turn = AllocSetContextCreate(context, "dtm turn",
									ALLOCSET_DEFAULT_SIZES);
	c->attempts_context = AllocSetContextCreate(context, "dtm attempts",
												ALLOCSET_DEFAULT_SIZES);
	dlist_init(&c->touched);
	c->budget = -1;
	c->deadline = DT_NOEND;
	c->swept_until = DT_NOBEGIN;
	c->batch = LOAD_BATCH;
	queue_init(&c->announced, context);
	dlist_init(&c->parked);
	c->attempts_size = 1024;
	c->attempts = MemoryContextAlloc(context,
									 sizeof(StoreAttempt) * c->attempts_size);
	memset(&hash, 0, sizeof(hash));
	hash.keysize = sizeof(int64);
	hash.entrysize = sizeof(Entry);
	hash.hcxt = context;
	c->entries = hash_create("dtm transactions", 1024, &hash,
							 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	dtm_core_config(&c->config);
	read_limits(&limits);
	c->transport = dtm_transport_create(&limits, error, sizeof(error));
	if (c->transport == NULL)
	{
		MemoryContextDelete(context);
		ereport(ERROR,
				(errcode(ERRCODE_SYSTEM_ERROR),
				 errmsg("could not prepare for calls: %s", error)));
	}
	report_limits(c);
	start_sweep(c, true);
	return c;
}

void
coordinator_destroy(Coordinator *c)
{
	if (CurrentMemoryContext == c->turn)
		MemoryContextSwitchTo(TopMemoryContext);
	dtm_transport_destroy(c->transport);
	MemoryContextDelete(c->context);
}

void
coordinator_reconfigure(Coordinator *c)
{
	DtmTransportLimits limits;

	dtm_core_config(&c->config);
	read_limits(&limits);
	dtm_transport_set_limits(c->transport, &limits);
	report_limits(c);
}

void
coordinator_set_time(Coordinator *c, TimestampTz now)
{
	c->fixed_now = now;
	c->sweep_until = time_of(c);
}

void
coordinator_set_budget(Coordinator *c, int64 budget)
{
	c->budget = budget;
}

void
coordinator_set_draining(Coordinator *c, bool draining)
{
	c->draining = draining;
}

/* ---------- the lock ---------- */

/*
 * An advisory lock of this database in a space that SQL's functions, which
 * use 1 and 2, can't reach.
 */
static void
set_lock_tag(LOCKTAG *tag)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, 0x64746d, 0, 0xd7);
}

bool
coordinator_lock(void)
{
	LOCKTAG		tag;

	set_lock_tag(&tag);
	return LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
}

void
coordinator_unlock(void)
{
	LOCKTAG		tag;

	set_lock_tag(&tag);
	LockRelease(&tag, ExclusiveLock, true);
}
