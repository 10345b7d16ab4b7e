/*
 * entry.c
 *		Global transactions in memory: the replies of their calls, core's
 *		decisions, and the calls that follow.
 *
 * call.c knows how calls are made.  Nothing here accesses the database, except
 * the catalogs: a foreign server may determine where a branch is called.
 */
#include "private.h"

#include "crash_point.h"
#include "flight.h"

#include "mb/pg_wchar.h"

/* Bytes of a reply's body that are kept as the error of an attempt. */
#define MAX_ERROR_BYTES		1000

/* The error of an op that has waited in vain. */
#define NOT_COMPLETED		"it was not completed in time"

static uint32
jitter_of(Coordinator *c)
{
	/* a time that was given asks for results that can be told beforehand */
	return c->fixed_now != 0 ? 0 : (uint32) random() << 1;
}

/* As one that core has not seen. */
Reply *
reply_copy(const Reply *reply, MemoryContext context)
{
	Reply	   *copy = MemoryContextAlloc(context, sizeof(Reply));

	*copy = *reply;
	copy->text = MemoryContextStrdup(context, reply->text);
	copy->applied = copy->keeps = false;
	if (reply->body != NULL)
	{
		copy->body = MemoryContextAlloc(context, reply->body_len);
		memcpy(copy->body, reply->body, reply->body_len);
	}
	copy->next = NULL;
	return copy;
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
			attempts_add(&c->attempts, entry->id, call, DTM_RESULT_TEMPORARY,
						 "canceled: the global transaction is no longer active");
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
	bool		waited = reply->op == DTM_CALL_QUERY ||
		entry->trans->core.ops[reply->op].status == DTM_BRANCH_PREPARED;

	wire_describe(entry->trans, reply->op, &branch);
	event.op = reply->op;
	event.result = reply->result;
	event.url = branch.url;
	event.text = reply->text;
	event.retry_after = reply->retry_after;
	step(c, entry, &event);

	/*
	 * A success that comes too late for core to record it is kept, too: its
	 * compensation has to know what was done.
	 */
	reply->keeps = reply->has_body && waited;
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

/* It is not under way any more. */
static void
unlink_call(Entry *entry, Call *call)
{
	Call	  **link = &entry->calls;

	while (*link != call)
		link = &(*link)->next;
	*link = call->next;
	entry->ncalls--;
}

/* What a call has come to, to be told to core. */
static void
take_reply(Coordinator *c, Entry *entry, const Call *call)
{
	Reply	   *reply = MemoryContextAlloc(entry->context, sizeof(Reply));
	Reply	  **last = &entry->replies;

	reply->op = call->op;
	reply->result = call->result;
	reply->retry_after = call->retry_after;
	reply->applied = reply->keeps = false;
	results_take(entry, call, reply);
	reply->next = NULL;
	MemoryContextSwitchTo(entry->context);
	reply->text = call->result == DTM_RESULT_SUCCESS ? "" :
		clean_text(call->text, call->text_len);
	MemoryContextSwitchTo(c->turn);
	attempts_add(&c->attempts, entry->id, call, call->result, reply->text);
	if (calls_is_unanswered(&c->calls, call))
	{
		CallPlace	where;

		call_where(call, &where);
		park_note_unanswered(&c->park, &where, entry->id);
	}
	while (*last != NULL)
		last = &(*last)->next;
	*last = reply;
	if (reply->body != NULL)
		entry_count_bytes(c, entry);
	if (entry->row == ROW_CURRENT)
		entry_apply_replies(c, entry);
	entry_touch(c, entry);
}

/* A worker has raised an alert; calling the webhook is left to us. */
static void
tell_webhook(Coordinator *c, Entry *entry, const Call *call)
{
	OutcomeAlert alert = {.news = call->alert.news, .op = call->op, .error = call->text,
	.failures = call->alert.failures};
	WireBranch	branch;

	wire_describe(entry->trans, call->op, &branch);
	alert.url = branch.url;
	webhook_send(c, entry->trans, &alert);
}

/* A worker has written the outcome itself: the row is read again. */
static void
take_record(Coordinator *c, Entry *entry, const Call *call)
{
	entry->row = ROW_REREAD;
	entry->not_before = 0;
	entry_touch(c, entry);
	if (call->is_final && c->slot)
		pg_atomic_fetch_add_u64(&c->slot->nfinished, 1);
	if (call->alert.raised)
		tell_webhook(c, entry, call);
}

/*
 * A call was not made.  If nothing else is to be done for the entry, whoever runs
 * next does it; unless core is to say whether it is still wanted.
 */
static void
put_back(Coordinator *c, Entry *entry)
{
	int64		id = entry->id;

	if (entry->ncalls > 0 || entry->touched)
	{
		if (!c->draining && c->mode == STORE_WORKER)
		{
			entry->wake = true;
			entry_touch(c, entry);
		}
		return;
	}
	entry_forget(c, entry);
	/* a procedure would find its host as it is now, again and again */
	if (c->mode == STORE_WORKER)
		read_later(c, id);
}

static void
count_call(Coordinator *c, DtmResult result)
{
	if (c->slot == NULL)
		return;
	pg_atomic_fetch_add_u64(&c->slot->ncalls, 1);
	if (result != DTM_RESULT_SUCCESS)
		pg_atomic_fetch_add_u64(&c->slot->ncall_errors, 1);
}

/* A call of an entry has ended; frees it. */
static void
take_call(Coordinator *c, Call *call)
{
	Entry	   *entry = call->entry;

	unlink_call(entry, call);
	if (call->end == CALL_WITHDRAWN)
	{
		if (call->op == DTM_CALL_QUERY)
			entry->trans->core.query_running = false;
		else
			entry->trans->core.ops[call->op].running = false;
		/* it is in the entry's memory */
		call_free(call);
		put_back(c, entry);
		return;
	}
	if (call->end == CALL_RECORDED)
		take_record(c, entry, call);
	else
		take_reply(c, entry, call);
	count_call(c, call->result);
	call_free(call);
}

void
entries_collect_replies(Coordinator *c)
{
	Call	   *call;

	if (c->draining)
		calls_withdraw(&c->calls);
	calls_drive(&c->calls);
	/* a procedure does not wait for hosts that do not answer */
	if (c->mode == STORE_PROCEDURE)
		calls_withdraw_unanswered(&c->calls);
	while ((call = calls_reap(&c->calls)) != NULL)
	{
		if (call->entry == NULL)
		{
			webhook_done(c, call);
			continue;
		}
		flight_turn(call->entry->id);
		take_call(c, call);
		flight_turn(0);
		DTM_CRASH_POINT("after-reply");
	}
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
