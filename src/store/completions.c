/*
 * completions.c
 *		The column of dtm.active that has the completions of ops, until when ops wait
 *		for them, and before which times ops are not to be called again.
 *
 * It is NULL in nearly all rows: only ops whose step has a complete_within, or poll,
 * have either of the first two; any op may have been completed as failed, if its
 * transaction is parked; and an op has the last if its response has asked to wait,
 * and its step or server lets it (retry_after).
 */
#include "private.h"

/* Of an op that was completed before its turn; positive numbers are deadlines. */
#define STORED_OK		(-1)
#define STORED_FAILED	(-2)

/* Of one that was completed as failed, for which its transaction is parked. */
#define STORED_PARKED	(-3)

/* What is less is minus the time before which the op is not called. */
#define STORED_LEAST	STORED_PARKED

static int64
stored_form(const DtmBranchOp *op)
{
	switch ((DtmCompleted) op->completed)
	{
		case DTM_COMPLETED_OK:
			return STORED_OK;
		case DTM_COMPLETED_FAILED:
			return STORED_FAILED;
		case DTM_COMPLETED_PARKED:
			return STORED_PARKED;
		case DTM_COMPLETED_NOT:
			break;
	}
	if (op->deadline == 0 && op->not_before > -STORED_LEAST)
		return -op->not_before;
	return Max(op->deadline, 0);
}

Datum
completions_value(const DtmTrans *core, bool *isnull)
{
	Datum	   *values;

	*isnull = true;
	for (int i = 0; (core->policy != NULL || core->parked || core->asked) && i < core->nops; i++)
		*isnull = *isnull && stored_form(&core->ops[i]) == 0;
	if (*isnull)
		return (Datum) 0;
	values = palloc(sizeof(Datum) * core->nops);
	for (int i = 0; i < core->nops; i++)
		values[i] = Int64GetDatum(stored_form(&core->ops[i]));
	return array_of(values, NULL, core->nops, INT8OID);
}

const char *
completions_read(DtmTrans *core, const Row *row, int number)
{
	bool	   *nulls;
	int			n;
	Datum	   *values = column_array(row, number, INT8OID, &n, &nulls);

	if (n > core->nops)
		return "more completions than ops";
	for (int i = 0; i < n; i++)
	{
		int64		value = nulls[i] ? 0 : DatumGetInt64(values[i]);

		core->ops[i].deadline = Max(value, 0);
		core->ops[i].not_before = value < STORED_LEAST ? -value : 0;
		core->asked = core->asked || value < STORED_LEAST;
		core->ops[i].completed = value == STORED_OK ? DTM_COMPLETED_OK :
			value == STORED_FAILED ? DTM_COMPLETED_FAILED :
			value == STORED_PARKED ? DTM_COMPLETED_PARKED : DTM_COMPLETED_NOT;
	}
	return NULL;
}
