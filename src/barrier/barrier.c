/*
 * barrier.c
 *		The sub-transaction barrier: each branch operation takes effect once,
 *		whatever is repeated, comes late or comes in the wrong order (§8).
 *
 * The functions here work in the caller's transaction and in any database
 * that has the extension; no coordinator and no preload is needed.
 */
#include "row.h"

#include "errors.h"
#include "transaction.h"
#include "store/store.h"

#include "access/xact.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/* The most barriers that one branch operation may have. */
#define MAX_BARRIER_ID		99

/* Barriers that an operation has had in this transaction. */
typedef struct Counter
{
	char	   *key;			/* gid, branch and op, NUL-separated */
	size_t		key_len;
	int			count;
	SubTransactionId subid;		/* the subtransaction that counted last */
	struct Counter *below;		/* this operation's count before that one */
	struct Counter *next;		/* other operations */
} Counter;

/* In TopTransactionContext; NULL between transactions. */
static Counter *counters = NULL;

PG_FUNCTION_INFO_V1(dtm_barrier);
PG_FUNCTION_INFO_V1(dtm_query_prepared);

/* ---------- numbering ---------- */

static void
forget_counters(void *arg)
{
	counters = NULL;
}

/*
 * What a subtransaction that is rolled back has counted did not happen; what
 * one that is released has counted belongs to its parent.
 */
static void
at_subtransaction_end(SubXactEvent event, SubTransactionId subid,
					  SubTransactionId parent, void *arg)
{
	if (event != SUBXACT_EVENT_ABORT_SUB && event != SUBXACT_EVENT_COMMIT_SUB)
		return;
	for (Counter **link = &counters; *link != NULL;)
	{
		Counter    *counter = *link;

		if (counter->subid != subid)
			link = &counter->next;
		else if (event == SUBXACT_EVENT_COMMIT_SUB)
		{
			counter->subid = parent;
			if (counter->below != NULL && counter->below->subid == parent)
				counter->below = counter->below->below;
			link = &counter->next;
		}
		else if (counter->below != NULL)
		{
			counter->below->next = counter->next;
			*link = counter->below;
		}
		else
			*link = counter->next;
	}
}

static Counter *
new_counter(const char *key, size_t key_len, int count)
{
	Counter    *counter = MemoryContextAllocZero(TopTransactionContext,
												 sizeof(Counter));

	counter->key = MemoryContextAlloc(TopTransactionContext, key_len);
	memcpy(counter->key, key, key_len);
	counter->key_len = key_len;
	counter->count = count;
	counter->subid = GetCurrentSubTransactionId();
	return counter;
}

/* 1 for an operation's first barrier in this transaction, 2 for its second. */
static int
next_barrier_id(const char *gid, const char *branch_id, const char *op)
{
	static bool callback_registered = false;
	size_t		key_len = strlen(gid) + strlen(branch_id) + strlen(op) + 3;
	char	   *key = palloc(key_len);
	char	   *p = key;

	memcpy(p, gid, strlen(gid) + 1);
	p += strlen(gid) + 1;
	memcpy(p, branch_id, strlen(branch_id) + 1);
	p += strlen(branch_id) + 1;
	memcpy(p, op, strlen(op) + 1);

	if (!callback_registered)
	{
		RegisterSubXactCallback(at_subtransaction_end, NULL);
		callback_registered = true;
	}
	if (counters == NULL)
	{
		MemoryContextCallback *callback =
			MemoryContextAllocZero(TopTransactionContext,
								   sizeof(MemoryContextCallback));

		callback->func = forget_counters;
		MemoryContextRegisterResetCallback(TopTransactionContext, callback);
	}
	for (Counter **link = &counters; *link != NULL; link = &(*link)->next)
	{
		Counter    *counter = *link;

		if (counter->key_len != key_len ||
			memcmp(counter->key, key, key_len) != 0)
			continue;
		if (counter->subid != GetCurrentSubTransactionId())
		{
			Counter    *above = new_counter(key, key_len, counter->count);

			above->next = counter->next;
			above->below = counter;
			*link = counter = above;
		}
		return ++counter->count;
	}
	{
		Counter    *counter = new_counter(key, key_len, 1);

		counter->next = counters;
		counters = counter;
		return 1;
	}
}

/* ---------- checks ---------- */

static char *
argument(FunctionCallInfo fcinfo, int number, const char *name, int max_chars)
{
	char	   *value;

	if (PG_ARGISNULL(number))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s is null", name),
				 errhint("A branch passes the trans_type, gid, branch_id and op of its request's URL.")));
	value = text_to_cstring(PG_GETARG_TEXT_PP(number));
	if (value[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is empty", name),
				 errhint("A branch passes the trans_type, gid, branch_id and op of its request's URL.")));
	if (pg_mbstrlen(value) > max_chars)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is longer than %d characters", name, max_chars),
				 errhint("A branch passes the trans_type, gid, branch_id and op of its request's URL.")));
	return value;
}

/* The operation that an undoing one undoes (§8.2); NULL for the others. */
static const char *
origin_of(const char *op)
{
	if (strcmp(op, dtm_op_name(DTM_OP_CANCEL)) == 0)
		return dtm_op_name(DTM_OP_TRY);
	if (strcmp(op, dtm_op_name(DTM_OP_COMPENSATE)) == 0 ||
		strcmp(op, dtm_op_name(DTM_OP_ROLLBACK)) == 0)
		return dtm_op_name(DTM_OP_ACTION);
	return NULL;
}

/* ---------- functions ---------- */

/*
 * dtm_barrier(trans_type, gid, branch_id, op, barrier_id) returns boolean
 *
 * The rows of an undoing operation are inserted origin first, which is also
 * the order in which the operations come, so that two of them never wait for
 * each other.
 */
Datum
dtm_barrier(PG_FUNCTION_ARGS)
{
	char	   *trans_type = argument(fcinfo, 0, "trans_type", BARRIER_OTHER_CHARS);
	char	   *gid = argument(fcinfo, 1, "gid", DTM_MAX_GID_CHARS);
	char	   *branch_id = argument(fcinfo, 2, "branch_id", BARRIER_BRANCH_ID_CHARS);
	char	   *op = argument(fcinfo, 3, "op", BARRIER_OTHER_CHARS);
	char	   *barrier_id;
	const char *origin = origin_of(op);
	Oid			owner = dtm_extension_owner();
	BarrierRow	row;
	bool		origin_inserted = false;
	bool		inserted;
	Oid			user;
	int			sec_context;

	if (!PG_ARGISNULL(4))
		barrier_id = argument(fcinfo, 4, "barrier_id", BARRIER_OTHER_CHARS);
	else
	{
		int			number = next_barrier_id(gid, branch_id, op);

		if (number > MAX_BARRIER_ID)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("more than %d barriers of one branch operation in a transaction",
							MAX_BARRIER_ID),
					 errhint("Pass barrier_id.")));
		barrier_id = psprintf("%02d", number);
	}

	row.trans_type = trans_type;
	row.gid = gid;
	row.branch_id = branch_id;
	row.barrier_id = barrier_id;
	row.reason = op;
	GetUserIdAndSecContext(&user, &sec_context);
	SetUserIdAndSecContext(owner, sec_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_NOFORCE_RLS);
	if (origin != NULL)
	{
		row.op = origin;
		origin_inserted = barrier_row_insert(&row);
	}
	row.op = op;
	inserted = barrier_row_insert_new(&row);
	SetUserIdAndSecContext(user, sec_context);

	if (strcmp(op, dtm_op_name(DTM_OP_MSG)) == 0 && !inserted)
		ereport(ERROR,
				(errcode(DTM_ERRCODE_DUPLICATED),
				 errmsg("DUPLICATED: the barrier of msg \"%s\" exists already", gid),
				 errhint("The local transaction was done before, or its query-back has answered that it never will be: roll back.")));

	/*
	 * Not inserted: a repeat, or suspended by its undoing operation.  Origin
	 * inserted: there is nothing to undo, and what would have to be undone
	 * can't come any more.
	 */
	PG_RETURN_BOOL(inserted && !origin_inserted);
}

/*
 * dtm_query_prepared(gid) returns boolean
 *
 * §8.3.  Waits for a local transaction that is still open.
 */
Datum
dtm_query_prepared(PG_FUNCTION_ARGS)
{
	char	   *gid = argument(fcinfo, 0, "gid", DTM_MAX_GID_CHARS);
	BarrierRow	row = {"msg", gid, "00", "msg", "01", "rollback"};
	Oid			owner = dtm_extension_owner();
	char	   *reason;
	Oid			user;
	int			sec_context;

	GetUserIdAndSecContext(&user, &sec_context);
	SetUserIdAndSecContext(owner, sec_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_NOFORCE_RLS);
	(void) barrier_row_insert(&row);
	reason = barrier_row_reason(&row);
	SetUserIdAndSecContext(user, sec_context);
	PG_RETURN_BOOL(reason != NULL && strcmp(reason, "rollback") != 0);
}
