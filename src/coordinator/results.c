/*
 * results.c
 *		Results of branches: kept with the commit that makes a branch succeed, and
 *		put into the calls that refer to them.
 *
 * A call may be decided on in the turn in which the result that it needs has come.
 * So results are looked for among the replies that are not committed yet, and then
 * in the table.  If the row cannot be written, neither is the result, and the call is
 * made anew.
 */
#include "private.h"

#include "result/result.h"

void
results_take(Entry *entry, const Call *call, Reply *reply)
{
	reply->has_body = call->result == DTM_RESULT_SUCCESS && entry->trans->results &&
		call->op != DTM_CALL_QUERY;
	reply->body = NULL;
	reply->body_len = 0;
	reply->kind = call->kind;
	if (!reply->has_body)
		return;
	/* of what is too large, the size is kept */
	reply->body_len = call->body_len;
	if (call->body_len > 0 && call->body_len <= result_max_size())
	{
		reply->body = MemoryContextAlloc(entry->context, call->body_len);
		memcpy(reply->body, call->body, call->body_len);
	}
}

/* What is kept of a reply, in a memory context that outlives the turn's work. */
static void
result_of(const Entry *entry, const Reply *reply, StoreResult *result)
{
	result->id = entry->id;
	result->op = reply->op;
	result->ok = true;
	result_of_reply(reply->kind, reply->body, reply->body_len, result);
}

static bool
read_result(void *arg, int op, StoreResult *result)
{
	Entry	   *entry = arg;
	const Reply *reply = entry->replies;

	while (reply != NULL && !(reply->keeps && reply->op == op))
		reply = reply->next;
	/* the table keeps what it has: of one that was completed, that result */
	if ((reply == NULL || reply->late) && store_find_result(entry->id, op, result))
		return true;
	if (reply == NULL)
		return false;
	result_of(entry, reply, result);
	return true;
}

/* The call of an op that was completed before its turn: nothing is called. */
static Call *
make_completed(const Entry *entry, const WireBranch *branch, bool ok)
{
	StoreResult result;
	const char *text = "";

	if (!ok)
		text = store_find_result(entry->id, branch->number, &result) ?
			result_text(result.value) : result_text(NULL);

	return call_make_decided(entry->trans, branch, ok ? DTM_RESULT_SUCCESS : DTM_RESULT_FAILURE,
							 text);
}

Call *
results_make_call(Entry *entry, int op, TimestampTz now)
{
	ResultReader reader = {read_result, entry};
	WireBranch	branch;
	const char *problem;

	wire_describe(entry->trans, op, &branch);
	if (op != DTM_CALL_QUERY && entry->trans->core.ops[op].completed != DTM_COMPLETED_NOT)
		return make_completed(entry, &branch,
							  entry->trans->core.ops[op].completed == DTM_COMPLETED_OK);
	/* a local worker reads what it needs itself */
	if (entry->trans->results && branch.kind != WIRE_LOCAL &&
		!result_resolve(entry->trans, &branch, &reader, &problem))
		return call_make_decided(entry->trans, &branch,
								 result_if_unresolved(entry->trans, op), problem);
	return call_make(entry->trans, &branch, now);
}

void
results_write(Entry **entries, const StoreSaved *saved, int n)
{
	StoreResult *results = NULL;
	int			nresults = 0;
	int			size = 0;

	for (int i = 0; i < n; i++)
	{
		if (saved[i].result != STORE_WRITTEN || !entries[i]->trans->results)
			continue;
		for (const Reply *reply = entries[i]->replies; reply != NULL; reply = reply->next)
		{
			if (!reply->keeps)
				continue;
			if (nresults == size)
			{
				size = Max(64, 2 * size);
				results = results == NULL ? palloc(sizeof(StoreResult) * size) :
					repalloc(results, sizeof(StoreResult) * size);
			}
			result_of(entries[i], reply, &results[nresults++]);
		}
	}
	store_add_results(results, nresults);
}
