/*
 * replies.c
 *		What has become of the calls that ended: told to core, or left for who
 *		comes next.
 *
 * Nothing here accesses the database.
 */
#include "private.h"

#include "crash_point.h"
#include "process/flight.h"
#include "process/metrics.h"

#include "mb/pg_wchar.h"

/* Bytes of a reply's body that are kept as the error of an attempt. */
#define MAX_ERROR_BYTES		1000

/* As one that core has not seen. */
Reply *
reply_copy(const Reply *reply, MemoryContext context)
{
	Reply	   *copy = MemoryContextAlloc(context, sizeof(Reply));

	*copy = *reply;
	copy->text = MemoryContextStrdup(context, reply->text);
	copy->applied = copy->keeps = copy->late = false;
	if (reply->body != NULL)
	{
		copy->body = MemoryContextAlloc(context, reply->body_len);
		memcpy(copy->body, reply->body, reply->body_len);
	}
	copy->next = NULL;
	return copy;
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
	reply->said_final = call->said_final;
	reply->is_outdated = call->is_outdated;
	reply->request = 0;
	reply->applied = reply->keeps = reply->late = false;
	results_take(entry, call, reply);
	reply->next = NULL;
	MemoryContextSwitchTo(entry->context);
	reply->text = call->result == DTM_RESULT_SUCCESS ? "" :
		clean_text(call->text, call->text_len);
	MemoryContextSwitchTo(c->turn);
	attempts_add(&c->attempts, entry->id, call, call->result, reply->text);
	if (c->traces.on)
		spans_attempt(c, entry, call, call->result, reply->text);
	if (calls_is_unanswered(&c->calls, call))
	{
		CallPlace	where;

		call_where(call, &where);
		shelf_note_unanswered(&c->shelf, &where, entry->id);
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
	if (c->traces.on)
		spans_attempt(c, entry, call, call->result, call->text);
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

/* For dtm.metrics. */
static void
measure_call(Entry *entry, const Call *call)
{
	const DtmTrans *core = &entry->trans->core;
	StoreAttempt attempt;

	call_describe(call, &attempt);
	metrics_called(call->host, core->type,
				   call->op == DTM_CALL_QUERY ? METRICS_OP_QUERY :
				   dtm_op_undoes(core->ops[call->op].op) ? METRICS_OP_UNDO : METRICS_OP_FORWARD,
				   call->result, attempt.duration);
	if (entry->uncalled && call->host != METRICS_HOST_NONE)
	{
		entry->uncalled = false;
		metrics_first_called(core->type, attempt.started - core->created);
	}
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
	measure_call(entry, call);
	if (call->end == CALL_RECORDED)
		take_record(c, entry, call);
	else
		take_reply(c, entry, call);
	count_call(c, call->result);
	call_free(call);
}

void
replies_collect(Coordinator *c)
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
		if (call->batch != NULL)
		{
			traces_done(c, call);
			continue;
		}
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
