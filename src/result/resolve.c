/*
 * resolve.c
 *		References to results when a branch is called.
 */
#include "private.h"

#include "utils/memutils.h"

/* A call, and who has the results. */
typedef struct Resolution
{
	const Transaction *trans;
	int			step;			/* of the call */
	bool		undoes;			/* it is a compensation */
	bool		lenient;		/* of an action that was rejected */
	bool		in_text;
	bool		reading;		/* the results, which needs the database */
	const ResultReader *reader;
} Resolution;

static void
set_null(const Resolution *resolution, JsonbValue *value)
{
	value->type = resolution->in_text ? jbvString : jbvNull;
	value->val.string.val = "null";
	value->val.string.len = 4;
}

static void
set_missing(const Resolution *resolution, const char *path, const char *note,
			JsonbValue *value)
{
	set_null(resolution, value);
	if (resolution->lenient)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 note == NULL ? errmsg("result at \"%s\" does not exist", path) :
			 errmsg("result at \"%s\" does not exist: %s", path, note),
			 errhint("Correct the reference with dtm_edit_step(), or have the step respond with what is referred to.")));
}

/*
 * The value of a reference.  What a step answers itself is known only to its
 * compensation: it is null where no answer has come, and in its action.
 *
 * An action that cannot be called, because of a reference in the payload that it
 * shares with its compensation, was rejected.  The compensation is called all the
 * same, with null for what is missing: there is nothing to be undone.
 */
static void
find_value(void *arg, const char *text, JsonbValue *value)
{
	Resolution *resolution = arg;
	const Transaction *trans = resolution->trans;
	ResultPath	path;
	StoreResult result;
	int			step;
	bool		own;
	bool		found;

	path_read(text, &path);
	step = transaction_find_step(trans, path.step);
	if (step < 0)
	{
		set_missing(resolution, text, "unknown step", value);
		return;
	}
	own = step == resolution->step;
	if (own && !resolution->undoes)
	{
		set_null(resolution, value);
		return;
	}
	resolution->reading = true;
	found = resolution->reader->read(resolution->reader->arg,
									 dtm_core_forward_op(trans->core.type, step), &result) &&
		result.ok;
	resolution->reading = false;
	if (!found && own)
		set_null(resolution, value);
	else if (!found)
		set_missing(resolution, text, NULL, value);
	else if (result.value == NULL || !path_follow(&path, result.value, value))
		set_missing(resolution, text, result.note, value);
}

/*
 * The text of an error that no database is to blame for.  There is no
 * subtransaction, so an error of reading goes on, whatever it is: tables and
 * snapshots are open, and only the end of the transaction closes them.
 */
static char *
take_data_error(const Resolution *resolution, MemoryContext context)
{
	ErrorData  *edata;

	MemoryContextSwitchTo(context);
	if (resolution->reading)
		PG_RE_THROW();
	edata = CopyErrorData();
	if (ERRCODE_TO_CATEGORY(edata->sqlerrcode) != ERRCODE_DATA_EXCEPTION &&
		ERRCODE_TO_CATEGORY(edata->sqlerrcode) != ERRCODE_PROGRAM_LIMIT_EXCEEDED)
		PG_RE_THROW();
	FlushErrorState();
	return edata->message;
}

/* Its options with the values in its headers; or the same. */
static const StepOptions *
resolve_headers(const StepOptions *step, const References *references)
{
	StepOptions *resolved;
	bool		found = false;

	for (int i = 0; step != NULL && i < step->nheaders; i++)
		found = found || result_is_in_text(step->header_value[i]);
	if (!found)
		return step;
	resolved = palloc(sizeof(StepOptions));
	*resolved = *step;
	resolved->header_value = palloc(sizeof(char *) * step->nheaders);
	for (int i = 0; i < step->nheaders; i++)
		resolved->header_value[i] = replace_in_header(step->header_value[i], references);
	return resolved;
}

bool
result_resolve(const Transaction *trans, WireBranch *branch,
			   const ResultReader *reader, const char **problem)
{
	MemoryContext context = CurrentMemoryContext;
	const DtmBranchOp *op;
	Resolution	resolution = {.trans = trans, .reader = reader};
	References	references = {find_value, &resolution};
	const char *volatile message = NULL;

	if (branch->number == DTM_CALL_QUERY)
		return true;
	op = &trans->core.ops[branch->number];
	resolution.step = op->step;
	resolution.undoes = dtm_op_undoes(op->op);
	resolution.lenient = references.lenient = resolution.undoes &&
		trans->core.ops[dtm_core_forward_op(trans->core.type, op->step)].status == DTM_BRANCH_FAILED;
	PG_TRY();
	{
		resolution.in_text = true;
		branch->url = replace_in_url(branch->url, &references);
		branch->step = resolve_headers(branch->step, &references);
		resolution.in_text = false;
		branch->payload = replace_in_payload(branch->payload, &references);
	}
	PG_CATCH();
	{
		message = take_data_error(&resolution, context);
	}
	PG_END_TRY();
	*problem = message;
	return message == NULL;
}

/*
 * What the action of a saga refers to does not change, so it was never called: it is
 * rejected, for its compensation to know that there is nothing to be undone.
 */
DtmResult
result_if_unresolved(const Transaction *trans, int op)
{
	return trans->core.type == DTM_SAGA && op != DTM_CALL_QUERY &&
		!dtm_op_undoes((DtmOp) trans->core.ops[op].op) ?
		DTM_RESULT_FAILURE : DTM_RESULT_PERMANENT;
}
