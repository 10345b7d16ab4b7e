/*
 * entry.c
 *		Global transactions in memory: core's decisions, and the calls that follow.
 *
 * call.c knows how calls are made, replies.c what has become of them.  Nothing here accesses the database, except
 * the catalogs: a foreign server may determine where a branch is called.
 */
#include "private.h"

#include "clock.h"
#include "crash_point.h"

/* The error of an op that has waited in vain. */
#define NOT_COMPLETED		"it was not completed in time"

/* Of a call that may have been made. */
#define CANCELED			"canceled: the global transaction is no longer active"

/*
 * Pause before another try to read or write a row that is locked, in us, for an entry
 * that stays in memory; it doubles this many times.
 */
#define LOCKED_ROW_PAUSE	INT64CONST(10000)
#define LOCKED_ROW_DOUBLES	7

static uint32
jitter_of(Coordinator *c)
{
	/* a time that was given asks for results that can be told beforehand */
	return c->fixed_now != 0 ? 0 : (uint32) random() << 1;
}

void
entries_init(EntrySet *entries, MemoryContext context)
{
	HASHCTL		hash;

	memset(&hash, 0, sizeof(hash));
	hash.keysize = sizeof(int64);
	hash.entrysize = sizeof(Entry);
	hash.hcxt = context;
	entries->table = hash_create("dtm transactions", 1024, &hash,
								 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	dlist_init(&entries->touched);
	entries->ntouched = 0;
}

void
entry_touch(Coordinator *c, Entry *entry)
{
	if (entry->touched)
		return;
	entry->touched = true;
	dlist_push_tail(&c->entries.touched, &entry->node);
	c->entries.ntouched++;
}

void
entry_untouch(Coordinator *c, Entry *entry)
{
	if (!entry->touched)
		return;
	entry->touched = false;
	dlist_delete(&entry->node);
	c->entries.ntouched--;
}

void
entry_doubt(Coordinator *c, Entry *entry)
{
	/* what a turn has written is locked until that commits */
	Assert(entry->row != ROW_WRITTEN);
	if (entry->row != ROW_REREAD)
		entry->row = ROW_CHECK;
	entry->not_before = 0;
	entry_touch(c, entry);
}

void
entry_note_locked(Entry *entry, TransactionId holder)
{
	entry->holder = holder;
	entry->not_before = clock_monotonic() +
		(LOCKED_ROW_PAUSE << Min(entry->nrefused, LOCKED_ROW_DOUBLES));
	entry->nrefused++;
}

Entry *
entry_find(Coordinator *c, int64 id)
{
	return hash_search(c->entries.table, &id, HASH_FIND, NULL);
}

void
entries_check(Coordinator *c)
{
#ifdef USE_ASSERT_CHECKING
	HASH_SEQ_STATUS seq;
	Entry	   *entry;
	int			ntouched = 0;

	hash_seq_init(&seq, c->entries.table);
	while ((entry = hash_seq_search(&seq)) != NULL)
	{
		Assert(entry->row != ROW_WRITTEN);
		Assert(entry->touched || entry->ncalls > 0);
		Assert(entry->touched || entry->row == ROW_CURRENT);
		Assert(entry->touched || (!entry->outcome.changed && !entry->wake));
		Assert(entry->touched || (entry->replies == NULL && entry->ready == NULL &&
								  entry->outcome.alerts == NULL));
		Assert((entry->ncalls == 0) == (entry->calls == NULL));
		ntouched += entry->touched;
		Assert(!locked_has(&c->locked, entry->id));
	}
	Assert(ntouched == c->entries.ntouched);
	Assert(hash_get_num_entries(c->entries.table) == c->room.used);
#endif
}

/* Calls that were made ready, but are not sent after all. */
void
entry_drop_ready(Entry *entry)
{
	while (entry->ready != NULL)
	{
		Call	   *call = entry->ready;

		entry->ready = call->next;
		call_free(call);
	}
}

/* Its calls under way are given up. */
void
entry_forget(Coordinator *c, Entry *entry)
{
	while (entry->calls != NULL)
	{
		Call	   *call = entry->calls;

		entry->calls = call->next;
		if (call_cancel(&c->calls, call))
		{
			attempts_add(&c->attempts, entry->id, call, DTM_RESULT_TEMPORARY, CANCELED);
			if (c->traces.on)
				spans_attempt(c, entry, call, DTM_RESULT_TEMPORARY, CANCELED);
		}
		call_free(call);
	}
	entry_untouch(c, entry);
	room_give_back(&c->room, &entry->owner, entry->bytes, entry->searched);
	entry_drop_ready(entry);
	MemoryContextDelete(entry->context);
	hash_search(c->entries.table, &entry->id, HASH_REMOVE, NULL);
}

/* Core has said nothing yet to the row in memory. */
static void
begin_outcome(Entry *entry)
{
	MemoryContext before = MemoryContextSwitchTo(entry->context);

	outcome_init(&entry->outcome, entry->trans);
	entry->expired = NIL;
	MemoryContextSwitchTo(before);
}

/* A row that was read into memory; its context becomes the entry's. */
void
entry_add(Coordinator *c, Transaction *trans, MemoryContext context,
		  bool searched)
{
	bool		found;
	Entry	   *entry = hash_search(c->entries.table, &trans->id, HASH_ENTER, &found);

	Assert(!found);
	memset((char *) entry + sizeof(int64), 0, sizeof(Entry) - sizeof(int64));
	entry->trans = trans;
	entry->context = context;
	entry->searched = searched;
	entry->uncalled = trans->version == 0 && trans->core.status == DTM_SUBMITTED &&
		!trans->core.held && trans->core.delay == 0;
	entry->owner.role = trans->submitted_by;
	entry->owner.key = trans->fairness_key == NULL ? 0 :
		room_key(transaction_fairness(trans->fairness_key, strlen(trans->fairness_key)));
	MemoryContextSetParent(context, c->context);
	begin_outcome(entry);
	entry->bytes = MemoryContextMemAllocated(context, true);
	room_take(&c->room, &entry->owner, entry->bytes, searched);
	dtm_core_loaded(&trans->core, coordinator_time(c));
	locked_take(c, entry);
	entry->wake = true;
	entry_touch(c, entry);
}

void
entry_count_bytes(Coordinator *c, Entry *entry)
{
	Size		bytes = MemoryContextMemAllocated(entry->context, true);

	room_resize(&c->room, &entry->owner, entry->bytes, bytes);
	entry->bytes = bytes;
}

/* Would an op be called otherwise now? */
static bool
is_changed(const Transaction *before, const Transaction *now, int op)
{
	return transaction_request_hash(before, op) != transaction_request_hash(now, op);
}

/* The row as it is now, for an entry that we have; calls go on. */
void
entry_replace(Coordinator *c, Entry *entry, Transaction *trans,
			  MemoryContext context)
{
	Reply	   *replies = NULL;
	Reply	  **last = &replies;

	dtm_core_loaded(&trans->core, coordinator_time(c));
	for (Call *call = entry->calls; call != NULL; call = call->next)
	{
		call->is_outdated = call->is_outdated || is_changed(entry->trans, trans, call->op);
		if (call->op == DTM_CALL_QUERY)
			trans->core.query_running = true;
		else
			trans->core.ops[call->op].running = true;
	}
	entry_drop_ready(entry);
	for (Reply *reply = entry->replies; reply != NULL; reply = reply->next)
	{
		/* core has not seen it with this row */
		*last = reply_copy(reply, context);
		(*last)->is_outdated = reply->is_outdated || is_changed(entry->trans, trans, reply->op);
		last = &(*last)->next;
	}
	MemoryContextSetParent(context, c->context);
	/* the requests of calls under way lie in the old context */
	if (entry->calls != NULL)
		MemoryContextSetParent(entry->context, context);
	else
		MemoryContextDelete(entry->context);
	entry->trans = trans;
	entry->context = context;
	entry_count_bytes(c, entry);
	entry->replies = replies;
	begin_outcome(entry);
	entry->row = ROW_CURRENT;
	entry->wake = true;
	entry_touch(c, entry);
}

static void
step(Coordinator *c, Entry *entry, DtmEvent *event)
{
	DtmTrans   *core = &entry->trans->core;
	Outcome    *outcome = &entry->outcome;

	/*
	 * Calls that were decided on, but not sent yet, are decided on anew: core
	 * asks again for those that are still right.
	 */
	for (int i = 0; i < outcome->ncalls; i++)
		if (outcome->calls[i] == DTM_CALL_QUERY)
			core->query_running = false;
		else
			core->ops[outcome->calls[i]].running = false;

	event->now = coordinator_time(c);
	event->jitter = jitter_of(c);
	(void) outcome_decide(outcome, entry->trans, &c->config, event);
}

static void
apply_reply(Coordinator *c, Entry *entry, Reply *reply)
{
	DtmEvent	event = {.kind = DTM_EVENT_REPLY};
	WireBranch	branch;

	reply->late = reply->op != DTM_CALL_QUERY &&
		entry->trans->core.ops[reply->op].status != DTM_BRANCH_PREPARED;
	wire_describe(entry->trans, reply->op, &branch);
	event.op = reply->op;
	event.result = reply->result;
	event.url = branch.url;
	event.text = reply->text;
	event.retry_after = reply->retry_after;
	event.said_final = reply->said_final;
	event.is_outdated = reply->is_outdated;
	step(c, entry, &event);
	reply->keeps = reply->has_body && entry->outcome.keeps;
	entry->outcome.changed = entry->outcome.changed || reply->keeps;
}

void
entry_bring_forward(Coordinator *c, Entry *entry)
{
	const DtmTrans *core = &entry->trans->core;
	DtmEvent	event = {.kind = DTM_EVENT_BRING_FORWARD};

	if (entry->row != ROW_CURRENT || core->failures == 0 ||
		core->next_time <= coordinator_time(c) || core->next_time == DTM_TIME_NEVER)
		return;
	step(c, entry, &event);
	entry->wake = true;
	entry_touch(c, entry);
}

/* The actions of a saga that is rolled back have no use any more. */
static void
stop_late_actions(Coordinator *c, Entry *entry)
{
	const DtmTrans *core = &entry->trans->core;

	for (Call *call = entry->calls; call != NULL; call = call->next)
		if (core->status == DTM_ABORTING && call->op != DTM_CALL_QUERY &&
			core->ops[call->op].op == DTM_OP_ACTION)
			call_stop(&c->calls, call);
}

void
entry_apply_replies(Coordinator *c, Entry *entry)
{
	for (Reply *reply = entry->replies; reply != NULL; reply = reply->next)
		if (!reply->applied)
		{
			reply->applied = true;
			apply_reply(c, entry, reply);
		}
	stop_late_actions(c, entry);
}

/* Ops that have waited in vain to be completed have failed, and are called again. */
static void
expire_awaited(Coordinator *c, Entry *entry)
{
	DtmTrans   *core = &entry->trans->core;

	for (int op = 0; core->policy != NULL && op < core->nops; op++)
	{
		DtmEvent	event = {.kind = DTM_EVENT_REPLY, .op = op, .result = DTM_RESULT_TEMPORARY};
		WireBranch	branch;
		MemoryContext before;

		if (!dtm_core_is_overdue(core, op, coordinator_time(c)))
			continue;
		wire_describe(entry->trans, op, &branch);
		event.url = branch.url;
		event.text = NOT_COMPLETED;
		step(c, entry, &event);
		before = MemoryContextSwitchTo(entry->context);
		entry->expired = lappend_int(entry->expired, op);
		MemoryContextSwitchTo(before);
	}
}

/*
 * Not before the row is written: somebody may have completed it at the last moment.
 */
void
entry_record_expired(Coordinator *c, Entry *entry)
{
	ListCell   *cell;

	foreach(cell, entry->expired)
		attempts_add_uncalled(&c->attempts, entry->id, lfirst_int(cell),
							  coordinator_time(c), NOT_COMPLETED);
	list_free(entry->expired);
	entry->expired = NIL;
}

/* What core has to say about an entry, from the row as it is in memory. */
void
entry_decide(Coordinator *c, Entry *entry)
{
	DtmEvent	event = {.kind = DTM_EVENT_WAKE};

	DTM_CRASH_POINT("deciding");
	entry_apply_replies(c, entry);
	entry->wake = false;
	expire_awaited(c, entry);
	step(c, entry, &event);
	stop_late_actions(c, entry);
}

/* Makes the calls of an entry, to be sent once the turn has committed. */
void
entry_make_ready(Coordinator *c, Entry *entry)
{
	MemoryContext before = MemoryContextSwitchTo(entry->context);

	entry_drop_ready(entry);
	for (int i = entry->outcome.ncalls - 1; i >= 0; i--)
	{
		Call	   *call = results_make_call(entry, entry->outcome.calls[i], c->fixed_now);

		call->entry = entry;
		call->next = entry->ready;
		entry->ready = call;
	}
	MemoryContextSwitchTo(before);
	/* bodies may be as large as payloads */
	if (entry->ready != NULL)
		entry_count_bytes(c, entry);
}

void
entry_send(Coordinator *c, Entry *entry)
{
	while (entry->ready != NULL)
	{
		Call	   *call = entry->ready;

		entry->ready = call->next;
		call->next = entry->calls;
		entry->calls = call;
		entry->ncalls++;
		call->id = entry->id;
		call_start(&c->calls, call);
	}
	entry->outcome.ncalls = 0;
}
