/*
 * barrier.c
 *		The sub-transaction barrier: each branch operation takes effect once,
 *		even if calls are repeated, late or out of order (§8).
 *
 * The functions work in the caller's transaction, in any database that has the
 * extension.  They need neither a coordinator nor shared_preload_libraries.
 */
#include "record.h"

#include "citus.h"
#include "compat.h"
#include "errors.h"
#include "transaction.h"
#include "store/store.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

/* The most barriers that one branch operation may have. */
#define MAX_BARRIER_ID		99

/* Barriers that an operation has had in this transaction. */
typedef struct Counter
{
	size_t		key_len;
	int			count;
	char		key[FLEXIBLE_ARRAY_MEMBER]; /* gid, branch and op, and the
											 * table and key of a barrier
											 * elsewhere, NUL-separated */
} Counter;

/* Finds it by its key. */
typedef struct CounterEntry
{
	Counter    *counter;
	uint32		hash;
	char		status;
} CounterEntry;

static inline bool
same_key(const Counter *a, const Counter *b)
{
	return a->key_len == b->key_len && memcmp(a->key, b->key, a->key_len) == 0;
}

#define SH_PREFIX			counters
#define SH_ELEMENT_TYPE		CounterEntry
#define SH_KEY_TYPE			Counter *
#define SH_KEY				counter
#define SH_HASH_KEY(tb, key)	hash_bytes((unsigned char *) (key)->key, (int) (key)->key_len)
#define SH_EQUAL(tb, a, b)	same_key(a, b)
#define SH_SCOPE			static inline
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a)	(a)->hash
#define SH_DEFINE
#define SH_DECLARE
#include "lib/simplehash.h"

/* What a hash begins with: most transactions have one barrier. */
#define FIRST_COUNTERS		4

/* One that a subtransaction has counted. */
typedef struct Counted
{
	Counter    *counter;
	SubTransactionId subid;
	struct Counted *before;		/* the one that was counted before it */
} Counted;

/* In TopTransactionContext; NULL between transactions. */
static counters_hash *counters = NULL;
static Counted *last_counted = NULL;

PG_FUNCTION_INFO_V1(dtm_barrier);
PG_FUNCTION_INFO_V1(dtm_query_prepared);
PG_FUNCTION_INFO_V1(dtm_barrier_in);
PG_FUNCTION_INFO_V1(dtm_query_prepared_in);

/* ---------- numbering ---------- */

static void
forget_counters(void *arg)
{
	counters = NULL;
	last_counted = NULL;
}

/*
 * What a subtransaction that is rolled back has counted did not happen, and so
 * with those within it.  Their ids are greater than its own, and all that has
 * been counted since it began was counted by it or by them; so those are the
 * last ones, and one that is released has nothing to hand to its parent.
 */
static void
at_subtransaction_end(SubXactEvent event, SubTransactionId subid,
					  SubTransactionId parent, void *arg)
{
	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	while (last_counted != NULL && last_counted->subid >= subid)
	{
		Counted    *counted = last_counted;

		counted->counter->count--;
		last_counted = counted->before;
		pfree(counted);
	}
}

static void
make_counters(void)
{
	static bool callback_registered = false;
	MemoryContextCallback *callback =
		MemoryContextAllocZero(TopTransactionContext, sizeof(MemoryContextCallback));

	if (!callback_registered)
	{
		RegisterSubXactCallback(at_subtransaction_end, NULL);
		callback_registered = true;
	}
	counters = counters_create(TopTransactionContext, FIRST_COUNTERS, NULL);
	callback->func = forget_counters;
	MemoryContextRegisterResetCallback(TopTransactionContext, callback);
}

/* What tells the barriers of one operation in other tables, or with other keys, apart. */
static text *
text_of_place(const BarrierIn *in)
{
	Oid			output;
	bool		is_varlena;

	getTypeOutputInfo(in->type, &output, &is_varlena);
	return cstring_to_text(psprintf("%u %s", in->table, OidOutputFunctionCall(output, in->key)));
}

/* The counter of an operation, from 0. */
static Counter *
counter_of(const BarrierIn *in, const text *gid, const text *branch_id, const text *op)
{
	const text *parts[] = {gid, branch_id, op, in != NULL ? text_of_place(in) : NULL};
	int			nparts = in != NULL ? 4 : 3;
	size_t		key_len = VARSIZE_ANY_EXHDR(gid) + VARSIZE_ANY_EXHDR(branch_id) + VARSIZE_ANY_EXHDR(op) + 3 +
		(in != NULL ? VARSIZE_ANY_EXHDR(parts[3]) + 1 : 0);
	Counter    *counter = MemoryContextAlloc(TopTransactionContext,
											 offsetof(Counter, key) + key_len);
	char	   *end = counter->key;
	CounterEntry *entry;
	bool		found;

	for (int i = 0; i < nparts; i++)
	{
		size_t		len = VARSIZE_ANY_EXHDR(parts[i]);

		memcpy(end, VARDATA_ANY(parts[i]), len);
		end[len] = '\0';
		end += len + 1;
	}
	counter->key_len = key_len;
	counter->count = 0;
	if (counters == NULL)
		make_counters();
	entry = counters_insert(counters, counter, &found);
	if (found)
		pfree(counter);
	return entry->counter;
}

/* 1 for an operation's first barrier in this transaction, 2 for its second. */
static int
next_barrier_id(const BarrierIn *in, const text *gid, const text *branch_id, const text *op)
{
	Counter    *counter = counter_of(in, gid, branch_id, op);

	if (GetCurrentTransactionNestLevel() > 1)
	{
		Counted    *counted = MemoryContextAlloc(TopTransactionContext, sizeof(Counted));

		counted->counter = counter;
		counted->subid = GetCurrentSubTransactionId();
		counted->before = last_counted;
		last_counted = counted;
	}
	return ++counter->count;
}

/* As it is written: 01, 02, ... */
static text *
barrier_number(int number)
{
	char		digits[] = {(char) ('0' + number / 10), (char) ('0' + number % 10)};

	return cstring_to_text_with_len(digits, lengthof(digits));
}

/* ---------- checks ---------- */

static text *
argument(FunctionCallInfo fcinfo, int number, const char *name, int max_chars)
{
	text	   *value;
	int			len;

	if (PG_ARGISNULL(number))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", name),
				 errhint("Pass trans_type, gid, branch_id and op from the URL of the branch's request.")));
	value = PG_GETARG_TEXT_PP(number);
	len = VARSIZE_ANY_EXHDR(value);
	if (len == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be empty", name),
				 errhint("Pass trans_type, gid, branch_id and op from the URL of the branch's request.")));
	/* no character is shorter than a byte */
	if (len > max_chars && pg_mbstrlen_with_len(VARDATA_ANY(value), len) > max_chars)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" is longer than %d characters", name, max_chars),
				 errhint("Pass trans_type, gid, branch_id and op from the URL of the branch's request.")));
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

/*
 * What the caller writes beside the barrier's row may be on other nodes of Citus.  If
 * the barrier is distributed, too, Citus itself sees what has to be one commit.
 */
static void
commit_with_others(const BarrierIn *in)
{
	if (citus_loaded && !citus_is_table(in != NULL ? in->table : barrier_table()))
		citus_use_two_phase();
}

/* ---------- functions ---------- */

/* Where the rows of a barrier are. */
typedef struct Place
{
	const BarrierIn *in;		/* NULL: in the extension's table */
	void	   *statements;		/* of that table */
	StoreCaller caller;
} Place;

static void
enter(Place *place)
{
	if (place->in == NULL)
	{
		commit_with_others(NULL);
		store_enter_owner(&place->caller);
		return;
	}
	commit_with_others(place->in);
	place->statements = barrier_in_find(place->in);
}

static void
leave(const Place *place)
{
	if (place->in == NULL)
		store_leave_owner(&place->caller);
}

static bool
insert(const Place *place, const BarrierRow *row)
{
	return place->in == NULL ? barrier_row_insert(row, &place->caller) :
		barrier_in_insert(place->statements, place->in, row);
}

/*
 * The rows of an undoing operation are inserted origin first, which is also
 * the order in which the operations come, so that two of them never wait for
 * each other.  "first" is the number of the argument trans_type.
 */
static bool
pass_barrier(FunctionCallInfo fcinfo, int first, Place *place)
{
	BarrierRow	row = {
		.trans_type = argument(fcinfo, first, "trans_type", BARRIER_OTHER_CHARS),
		.gid = argument(fcinfo, first + 1, "gid", DTM_MAX_GID_CHARS),
		.branch_id = argument(fcinfo, first + 2, "branch_id", BARRIER_BRANCH_ID_CHARS)
	};
	text	   *op = argument(fcinfo, first + 3, "op", BARRIER_OTHER_CHARS);
	char	   *op_name = text_to_cstring(op);
	const char *origin = origin_of(op_name);
	bool		origin_inserted = false;
	bool		inserted;

	if (!PG_ARGISNULL(first + 4))
		row.barrier_id = argument(fcinfo, first + 4, "barrier_id", BARRIER_OTHER_CHARS);
	else
	{
		int			number = next_barrier_id(place->in, row.gid, row.branch_id, op);

		if (number > MAX_BARRIER_ID)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("transaction has more than %d barriers for one branch operation",
							MAX_BARRIER_ID),
					 errhint("Pass a barrier_id of your own.")));
		row.barrier_id = barrier_number(number);
	}

	row.reason = op;
	enter(place);
	if (origin != NULL)
	{
		row.op = cstring_to_text(origin);
		origin_inserted = insert(place, &row);
	}
	row.op = op;
	inserted = insert(place, &row);
	leave(place);

	if (strcmp(op_name, dtm_op_name(DTM_OP_MSG)) == 0 && !inserted)
		ereport(ERROR,
				(errcode(DTM_ERRCODE_DUPLICATED),
				 errmsg("DUPLICATED: barrier of msg \"%s\" already exists",
						text_to_cstring(row.gid)),
				 errhint("Roll back. The local transaction has already been done, or its query-back has reported that it will never be done.")));

	/*
	 * Not inserted: a repeat, or suspended by its undoing operation.  Origin
	 * inserted: there is nothing to undo, and what would have to be undone
	 * can't come any more.
	 */
	return inserted && !origin_inserted;
}

/* §8.3.  Waits for a local transaction that is still open. */
static bool
query_prepared(FunctionCallInfo fcinfo, int gid, Place *place)
{
	BarrierRow	row = {
		.trans_type = cstring_to_text("msg"),
		.gid = argument(fcinfo, gid, "gid", DTM_MAX_GID_CHARS),
		.branch_id = cstring_to_text("00"),
		.op = cstring_to_text("msg"),
		.barrier_id = cstring_to_text("01"),
		.reason = cstring_to_text("rollback")
	};
	char	   *reason;

	enter(place);
	(void) insert(place, &row);
	reason = place->in == NULL ? barrier_row_reason(&row) :
		barrier_in_reason(place->statements, place->in, &row);
	leave(place);
	return reason != NULL && strcmp(reason, "rollback") != 0;
}

/* The table and the key that are the first arguments. */
static void
read_in(FunctionCallInfo fcinfo, BarrierIn *in)
{
	for (int i = 0; i < 2; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("argument \"%s\" must not be null", i == 0 ? "barrier_table" : "key"),
					 errhint("Pass a table of your own with the barrier's columns, and the key of the row that the branch changes.")));
	in->table = PG_GETARG_OID(0);
	in->type = get_fn_expr_argtype(fcinfo->flinfo, 1);
	in->key = PG_GETARG_DATUM(1);
}

/* dtm_barrier(trans_type, gid, branch_id, op, barrier_id) returns boolean */
Datum
dtm_barrier(PG_FUNCTION_ARGS)
{
	Place		place = {NULL};

	PG_RETURN_BOOL(pass_barrier(fcinfo, 0, &place));
}

/* dtm_barrier_in(barrier_table, key, trans_type, gid, branch_id, op, barrier_id) returns boolean */
Datum
dtm_barrier_in(PG_FUNCTION_ARGS)
{
	BarrierIn	in;
	Place		place = {&in};

	read_in(fcinfo, &in);
	PG_RETURN_BOOL(pass_barrier(fcinfo, 2, &place));
}

/* dtm_query_prepared(gid) returns boolean */
Datum
dtm_query_prepared(PG_FUNCTION_ARGS)
{
	Place		place = {NULL};

	PG_RETURN_BOOL(query_prepared(fcinfo, 0, &place));
}

/* dtm_query_prepared_in(barrier_table, key, gid) returns boolean */
Datum
dtm_query_prepared_in(PG_FUNCTION_ARGS)
{
	BarrierIn	in;
	Place		place = {&in};

	read_in(fcinfo, &in);
	PG_RETURN_BOOL(query_prepared(fcinfo, 2, &place));
}
