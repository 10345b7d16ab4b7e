/*
 * state.c
 *		The state of a global transaction, which dtm.active has, and back.
 */
#include "private.h"

#include "access/xact.h"
#include "mb/pg_wchar.h"

/* ---------- reading ---------- */

static bool
decode_ops(const Row *row, Transaction *trans)
{
	DtmTrans   *core = &trans->core;
	char	   *letters = column_text(row, C_BRANCH_STATUS);

	core->nops = dtm_core_ops_of(core->type, core->nsteps);
	if (letters == NULL || strlen(letters) != core->nops)
		return false;
	core->ops = palloc0(sizeof(DtmBranchOp) * (core->nops + 1));
	dtm_core_lay_out(core);
	for (int i = 0; i < core->nops; i++)
	{
		DtmBranchOp *op = &core->ops[i];
		DtmBranchStatus status;
		char	  **urls = dtm_op_undoes(op->op) ? trans->compensate :
			trans->action;

		if (!dtm_branch_status_of_letter(letters[i], &status))
			return false;
		op->status = (uint8) status;
		op->has_url = core->type != DTM_WORKFLOW && urls[op->step][0] != '\0';
		op->local = strncmp(urls[op->step], DTM_SCHEME_LOCAL,
							strlen(DTM_SCHEME_LOCAL)) == 0;
	}
	return true;
}

/* Numbers of attempts, one for each op; null: none was counted. */
static const char *
read_attempts(DtmTrans *core, const Row *row)
{
	bool	   *nulls;
	int			n;
	Datum	   *values = column_array(row, C_ATTEMPTS, INT2OID, &n, &nulls);

	/* branches that were registered later have none */
	if (n > core->nops)
		return "more attempts than ops";
	for (int i = 0; i < n; i++)
		core->ops[i].attempts = nulls[i] ? 0 : (uint16) DatumGetInt16(values[i]);
	return NULL;
}

/* What is null in nearly all rows. */
static const char *
read_rare(Transaction *trans, const Row *row)
{
	bool		isnull;
	Datum		op = column_datum(row, C_PARKED_OP, &isnull);
	const char *problem;

	trans->parked_op = isnull ? TRANSACTION_NO_OP : DatumGetInt16(op);
	trans->parked_since = column_int64(row, C_PARKED);
	(void) column_datum(row, C_PARKED, &isnull);
	trans->core.parked = !isnull;
	trans->parked_reason = column_text(row, C_PARKED_REASON);
	trans->core.held = column_bool(row, C_HELD);
	trans->core.ongoing_since = column_int64(row, C_ONGOING_SINCE);
	problem = read_attempts(&trans->core, row);
	return problem != NULL ? problem : completions_read(&trans->core, row, C_COMPLETIONS);
}

const char *
state_read(Transaction *trans, const Row *row)
{
	DtmTrans   *core = &trans->core;
	bool		isnull;
	char	   *reason = column_text(row, C_ROLLBACK_REASON);

	trans->is_mine =
		TransactionIdIsCurrentTransactionId(DatumGetTransactionId(column_datum(row, C_XMIN,
																			   &isnull)));
	trans->version = column_int32(row, C_VERSION);
	core->next_time = column_int64(row, C_NEXT_TIME);
	core->failures = (uint16) DatumGetInt16(column_datum(row, C_FAILURES, &isnull));
	core->retries = (uint16) DatumGetInt16(column_datum(row, C_RETRIES, &isnull));
	if (!dtm_status_of_letter(column_char(row, C_STATUS), &core->status))
		return "unknown status";
	core->reason = reason != NULL ? reason : "";
	if (!decode_ops(row, trans))
		return "branch_status does not match the steps";
	return read_rare(trans, row);
}

/* ---------- writing ---------- */

/* The ops' statuses as they are stored. */
char *
row_letters(const DtmTrans *core)
{
	char	   *letters = palloc(core->nops + 1);

	for (int i = 0; i < core->nops; i++)
		letters[i] = dtm_branch_status_letter(core->ops[i].status);
	letters[core->nops] = '\0';
	return letters;
}

char *
row_reason(const DtmTrans *core)
{
	size_t		len = strlen(core->reason);

	/* core may have cut it in the middle of a character */
	return pnstrdup(core->reason, pg_mbcliplen(core->reason, (int) len, (int) len));
}

static Datum
write_attempts(const DtmTrans *core, bool *isnull)
{
	Datum	   *values;

	*isnull = true;
	if (!dtm_core_counts_attempts(core))
		return (Datum) 0;
	values = palloc(sizeof(Datum) * (core->nops + 1));
	for (int i = 0; i < core->nops; i++)
	{
		values[i] = Int16GetDatum((int16) core->ops[i].attempts);
		*isnull = *isnull && core->ops[i].attempts == 0;
	}
	return *isnull ? (Datum) 0 : array_of(values, NULL, core->nops, INT2OID);
}

void
state_rare(const Transaction *trans, Datum *values, bool *nulls)
{
	const DtmTrans *core = &trans->core;

	values[RARE_ATTEMPTS] = write_attempts(core, &nulls[RARE_ATTEMPTS]);
	nulls[RARE_PARKED] = nulls[RARE_PARKED_OP] = nulls[RARE_PARKED_REASON] = !core->parked;
	if (core->parked)
	{
		values[RARE_PARKED] = TimestampTzGetDatum(trans->parked_since);
		values[RARE_PARKED_OP] = Int16GetDatum((int16) trans->parked_op);
		nulls[RARE_PARKED_OP] = trans->parked_op == TRANSACTION_NO_OP;
		values[RARE_PARKED_REASON] = CStringGetTextDatum(trans->parked_reason);
	}
	values[RARE_HELD] = BoolGetDatum(true);
	nulls[RARE_HELD] = !core->held;
	values[RARE_COMPLETIONS] = completions_value(core, &nulls[RARE_COMPLETIONS]);
}
