/*
 * entry.c
 *		Global transactions in memory: the replies of their calls, what core
 *		decides about them, and the calls that follow.
 *
 * Nothing here touches the database, but for the catalogs: where a branch is
 * called may be up to a foreign server.
 */
#include "private.h"

#include "crash_point.h"

#include "mb/pg_wchar.h"
#include "utils/timestamp.h"

/* The part that one more call has in the average of what calls take: 1 / this. */
#define CALL_TIME_WEIGHT	64

/* Bytes of a reply's body that are kept as the error of an attempt. */
#define MAX_ERROR_BYTES		1000

static uint32
jitter_of(Coordinator *c)
{
	/* a time that was given asks for results that can be told beforehand */
	return c->fixed_now != 0 ? 0 : (uint32) random() << 1;
}

void
entry_touch(Coordinator *c, Entry *entry)
{
	if (entry->touched)
		return;
	entry->touched = true;
	dlist_push_tail(&c->touched, &entry->node);
	c->ntouched++;
}

Entry *
entry_find(Coordinator *c, int64 id)
{
	return hash_search(c->entries, &id, HASH_FIND, NULL);
}

int
entry_count(Coordinator *c)
{
	return (int) hash_get_num_entries(c->entries);
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

static void
free_call(EntryCall *call)
{
	dtm_call_release(&call->call);
	pfree(call);
}

/* Calls that were made ready, but are not sent after all. */
void
entry_drop_ready(Entry *entry)
{
	while (entry->ready != NULL)
	{
		EntryCall  *call = entry->ready;

		entry->ready = call->next;
		pfree(call);
	}
}

/* The call took place, and this is what it came to. */
static void
add_attempt(Coordinator *c, Entry *entry, EntryCall *call, DtmResult result,
			const char *text)
{
	bool		local = call->kind == WIRE_LOCAL;
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
	attempt->started = local ? call->task.started : call->call.started -
		(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	attempt->duration = local ? call->task.duration : call->call.duration;
	attempt->http_status = local ? 0 : call->call.http_status;
	attempt->grpc_status = call->kind == WIRE_GRPC ? call->call.grpc_status : -1;
	attempt->result = result;
	attempt->error = result == DTM_RESULT_SUCCESS ? NULL : pstrdup(text);
	MemoryContextSwitchTo(before);
}

/* Its calls under way are given up. */
void
entry_forget(Coordinator *c, Entry *entry)
{
	while (entry->calls != NULL)
	{
		EntryCall  *call = entry->calls;

		entry->calls = call->next;
		if (call->kind == WIRE_LOCAL)
			local_cancel(c->pool, &call->task);
		else
		{
			if (call->call.slot != NULL)
				add_attempt(c, entry, call, DTM_RESULT_TEMPORARY,
							"given up: the global transaction is not run any more");
			dtm_transport_cancel(c->transport, &call->call);
		}
		free_call(call);
	}
	if (entry->touched)
	{
		dlist_delete(&entry->node);
		c->ntouched--;
	}
	c->bytes -= (int64) entry->bytes;
	c->nsearched -= entry->searched;
	entry_drop_ready(entry);
	MemoryContextDelete(entry->context);
	hash_search(c->entries, &entry->id, HASH_REMOVE, NULL);
}

/* A row that was read into memory; its context becomes the entry's. */
void
entry_add(Coordinator *c, Transaction *trans, MemoryContext context,
		  bool searched)
{
	bool		found;
	Entry	   *entry = hash_search(c->entries, &trans->id, HASH_ENTER, &found);

	Assert(!found);
	memset((char *) entry + sizeof(int64), 0, sizeof(Entry) - sizeof(int64));
	entry->trans = trans;
	entry->context = context;
	entry->searched = searched;
	c->nsearched += searched;
	MemoryContextSetParent(context, c->context);
	entry->to_call = MemoryContextAlloc(context,
										sizeof(int) * (trans->core.nops + 1));
	entry->bytes = MemoryContextMemAllocated(context, true);
	c->bytes += (int64) entry->bytes;
	dtm_core_loaded(&trans->core, coordinator_time(c));
	entry->wake = true;
	entry_touch(c, entry);
	if (c->budget > 0)
		c->budget--;
}

/* The row as it is now, for an entry that we have; calls go on. */
void
entry_replace(Coordinator *c, Entry *entry, Transaction *trans,
			  MemoryContext context)
{
	Reply	   *replies = NULL;
	Reply	  **last = &replies;

	dtm_core_loaded(&trans->core, coordinator_time(c));
	for (EntryCall *call = entry->calls; call != NULL; call = call->next)
	{
		if (call->op == DTM_CALL_QUERY)
			trans->core.query_running = true;
		else
			trans->core.ops[call->op].running = true;
	}
	entry_drop_ready(entry);
	for (Reply *reply = entry->replies; reply != NULL; reply = reply->next)
	{
		Reply	   *copy = MemoryContextAlloc(context, sizeof(Reply));

		*copy = *reply;
		copy->text = MemoryContextStrdup(context, reply->text);
		copy->applied = false;	/* not to this row */
		copy->next = NULL;
		*last = copy;
		last = &copy->next;
	}
	MemoryContextSetParent(context, c->context);
	/* the requests of calls under way lie in the old context */
	if (entry->calls != NULL)
		MemoryContextSetParent(entry->context, context);
	else
		MemoryContextDelete(entry->context);
	c->bytes -= (int64) entry->bytes;
	entry->trans = trans;
	entry->context = context;
	entry->bytes = MemoryContextMemAllocated(context, true);
	c->bytes += (int64) entry->bytes;
	entry->replies = replies;
	entry->to_call = MemoryContextAlloc(context,
										sizeof(int) * (trans->core.nops + 1));
	entry->nto_call = 0;
	entry->alert_url = entry->alert_error = NULL;
	entry->changed = false;
	entry->reload = entry->renew = false;
	entry->wake = true;
	entry_touch(c, entry);
}

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
	event->now = coordinator_time(c);
	event->jitter = jitter_of(c);
	dtm_core_step(core, &c->config, event, &update);
	entry->nto_call = update.ncalls;
	entry->changed = entry->changed || update.changed;
	if (update.alert_op != DTM_NO_ALERT)
	{
		entry->alert_url = MemoryContextStrdup(entry->context, event->url);
		entry->alert_error = MemoryContextStrdup(entry->context, event->text);
	}
}

static void
apply_reply(Coordinator *c, Entry *entry, const Reply *reply)
{
	DtmEvent	event = {.kind = DTM_EVENT_REPLY};
	WireBranch	branch;

	wire_describe(entry->trans, reply->op, &branch);
	event.op = reply->op;
	event.result = reply->result;
	event.url = branch.url;
	event.text = reply->text;
	step(c, entry, &event);
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
}

/* What core has to say about an entry, from the row as it is in memory. */
void
entry_decide(Coordinator *c, Entry *entry)
{
	DtmEvent	event = {.kind = DTM_EVENT_WAKE};

	entry_apply_replies(c, entry);
	entry->wake = false;
	step(c, entry, &event);
}

/* It is not under way any more. */
static void
unlink_call(Entry *entry, EntryCall *call)
{
	EntryCall **link = &entry->calls;

	while (*link != call)
		link = &(*link)->next;
	*link = call->next;
	entry->ncalls--;
}

/* What a call has come to, to be told to core. */
static void
take_reply(Coordinator *c, Entry *entry, EntryCall *call, DtmResult result,
		   const char *text, size_t len)
{
	Reply	   *reply = MemoryContextAlloc(entry->context, sizeof(Reply));
	Reply	  **last = &entry->replies;

	reply->op = call->op;
	reply->result = result;
	reply->applied = false;
	reply->next = NULL;
	MemoryContextSwitchTo(entry->context);
	reply->text = result == DTM_RESULT_SUCCESS ? "" : clean_text(text, len);
	MemoryContextSwitchTo(c->turn);
	add_attempt(c, entry, call, result, reply->text);
	while (*last != NULL)
		last = &(*last)->next;
	*last = reply;
	if (!entry->reload)
		entry_apply_replies(c, entry);
	entry_touch(c, entry);
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

static void
collect_remote(Coordinator *c)
{
	DtmCall    *done;

	dtm_transport_drive(c->transport);
	while ((done = dtm_transport_reap(c->transport)) != NULL)
	{
		EntryCall  *call = (EntryCall *) done;
		Entry	   *entry = done->owner;
		const char *text;
		DtmResult	result;

		if (entry == NULL)
		{
			webhook_done(c, call);
			continue;
		}
		c->call_time += (done->duration - c->call_time) / CALL_TIME_WEIGHT;
		result = wire_result(call->kind, done, &text);
		unlink_call(entry, call);
		take_reply(c, entry, call, result, text,
				   text == done->reply ? done->reply_len : strlen(text));
		count_call(c, result);
		free_call(call);
		DTM_CRASH_POINT("after-reply");
	}
}

/* A worker has raised an alert; calling the webhook is left to us. */
static void
tell_webhook(Coordinator *c, Entry *entry, EntryCall *call)
{
	Transaction	trans = *entry->trans;
	WireBranch	branch;

	wire_describe(&trans, call->op, &branch);
	trans.core.failures = (uint16) call->task.failures;
	webhook_send(c, &trans, branch.url, call->task.error);
}

/* A worker has written the outcome itself: the row is read again. */
static void
collect_local(Coordinator *c)
{
	LocalTask  *done;

	if (c->draining)
		local_withdraw(c->pool);
	local_drive(c->pool);
	while ((done = local_reap(c->pool)) != NULL)
	{
		EntryCall  *call = (EntryCall *) ((char *) done - offsetof(EntryCall, task));
		Entry	   *entry = done->owner;

		unlink_call(entry, call);
		if (done->withdrawn)
		{
			/* whoever runs next has it done */
			int64		id = entry->id;

			entry->trans->core.ops[done->op].running = false;
			free_call(call);
			if (entry->ncalls == 0 && !entry->touched)
			{
				entry_forget(c, entry);
				if (!queue_push(&c->announced, id))
					coordinator_search(c);
			}
			continue;
		}
		if (done->recorded)
		{
			entry->reload = entry->renew = true;
			entry->not_before = 0;
			entry_touch(c, entry);
			if (done->final && c->slot)
				pg_atomic_fetch_add_u64(&c->slot->nfinished, 1);
			if (done->failures > 0)
				tell_webhook(c, entry, call);
		}
		else
			take_reply(c, entry, call, DTM_RESULT_TEMPORARY, done->error,
					   strlen(done->error));
		count_call(c, done->recorded ? done->result : DTM_RESULT_TEMPORARY);
		free_call(call);
	}
}

void
entry_collect(Coordinator *c)
{
	collect_remote(c);
	collect_local(c);
}

/* Makes the calls of an entry, to be sent once the turn has committed. */
void
entry_make_ready(Coordinator *c, Entry *entry)
{
	MemoryContext before = MemoryContextSwitchTo(entry->context);

	entry_drop_ready(entry);
	for (int i = entry->nto_call - 1; i >= 0; i--)
	{
		EntryCall  *call = palloc0(sizeof(EntryCall));
		WireBranch	branch;

		call->op = entry->to_call[i];
		call->next = entry->ready;
		entry->ready = call;
		wire_describe(entry->trans, call->op, &branch);
		if (branch.kind == WIRE_LOCAL)
		{
			call->kind = branch.kind;
			call->task.owner = entry;
			call->task.id = entry->id;
			call->task.op = call->op;
			call->task.role = entry->trans->submitted_by;
			call->task.timeout = entry->trans->request_timeout;
			call->task.now = c->fixed_now;
			continue;
		}
		call->call.owner = entry;
		call->call.timeout = (int64) entry->trans->request_timeout * 1000;
		if (!endpoint_request(entry->trans, &branch, &call->call, &call->refused))
			call->call.url = branch.url;
		call->kind = branch.kind;
	}
	MemoryContextSwitchTo(before);
}

void
entry_send(Coordinator *c, Entry *entry)
{
	while (entry->ready != NULL)
	{
		EntryCall  *call = entry->ready;

		entry->ready = call->next;
		call->next = entry->calls;
		entry->calls = call;
		entry->ncalls++;
		if (call->kind == WIRE_LOCAL)
			local_submit(c->pool, &call->task);
		else if (call->refused != NULL)
			dtm_transport_refuse(c->transport, &call->call, call->refused);
		else
			dtm_transport_submit(c->transport, &call->call);
	}
	entry->nto_call = 0;
}
