/*
 * attempts.c
 *		Attempts: calls that have been made, and are recorded at the end of the
 *		turn.
 *
 * They are kept until the turn has committed.  If a turn fails, the next one
 * writes them.
 */
#include "attempts.h"

#include "utils/memutils.h"

/* First size of the list. */
#define ATTEMPTS_SIZE		1024

void
attempts_init(Attempts *attempts, MemoryContext parent)
{
	attempts->n = 0;
	attempts->size = ATTEMPTS_SIZE;
	attempts->list = MemoryContextAlloc(parent, sizeof(StoreAttempt) * attempts->size);
	attempts->context = AllocSetContextCreate(parent, "dtm attempts",
											  ALLOCSET_DEFAULT_SIZES);
}

static StoreAttempt *
new_attempt(Attempts *attempts)
{
	if (attempts->n == attempts->size)
	{
		attempts->size *= 2;
		attempts->list = repalloc(attempts->list,
								  sizeof(StoreAttempt) * attempts->size);
	}
	return &attempts->list[attempts->n++];
}

void
attempts_add(Attempts *attempts, int64 id, const Call *call, DtmResult result,
			 const char *text)
{
	StoreAttempt *attempt = new_attempt(attempts);

	attempt->id = id;
	call_describe(call, attempt);
	attempt->result = result;
	attempt->error = result == DTM_RESULT_SUCCESS ? NULL :
		MemoryContextStrdup(attempts->context, text);
}

void
attempts_add_uncalled(Attempts *attempts, int64 id, int op, TimestampTz time,
					  const char *text)
{
	StoreAttempt *attempt = new_attempt(attempts);

	memset(attempt, 0, sizeof(StoreAttempt));
	attempt->id = id;
	attempt->op = op;
	attempt->started = time;
	attempt->grpc_status = -1;
	attempt->result = DTM_RESULT_TEMPORARY;
	attempt->error = MemoryContextStrdup(attempts->context, text);
}

void
attempts_write(const Attempts *attempts)
{
	store_add_attempts(attempts->list, attempts->n);
}

void
attempts_clear(Attempts *attempts)
{
	attempts->n = 0;
	MemoryContextReset(attempts->context);
}
