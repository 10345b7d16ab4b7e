/*
 * row.c
 *		A global transaction from its row, and back.
 */
#include "private.h"

#include "access/xact.h"
#include "mb/pg_wchar.h"

/* The pairs of the orders column into core's form; false: malformed. */
static bool
decode_orders(const Row *row, DtmTrans *core)
{
	bool	   *nulls;
	int			n;
	Datum	   *values = column_array(row, C_ORDERS, INT4OID, &n, &nulls);
	uint16	   *start;
	uint16	   *pre;
	int			next = 0;

	if (n < 0)
		return true;
	if (n % 2 != 0 || n / 2 > DTM_MAX_ORDERS)
		return false;
	for (int i = 0; i < n; i++)
		if (nulls[i] || DatumGetInt32(values[i]) < 0 ||
			DatumGetInt32(values[i]) >= core->nsteps)
			return false;

	/* the pairs are sorted by step; see request.c */
	start = palloc0(sizeof(uint16) * (core->nsteps + 1));
	pre = palloc(sizeof(uint16) * (n / 2 + 1));
	for (int step = 0; step < core->nsteps; step++)
	{
		start[step] = (uint16) next;
		while (next < n / 2 && DatumGetInt32(values[2 * next]) == step)
		{
			pre[next] = (uint16) DatumGetInt32(values[2 * next + 1]);
			next++;
		}
	}
	start[core->nsteps] = (uint16) next;
	if (next != n / 2)
		return false;
	core->orders.start = start;
	core->orders.pre = pre;
	return true;
}

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

/*
 * A row of the columns above, in the current memory context.  NULL and why if
 * it does not make sense: somebody has written it by hand.
 */
Transaction *
row_decode(const Row *row, const char **problem)
{
	Transaction *trans = palloc0(sizeof(Transaction));
	DtmTrans   *core = &trans->core;
	bool		isnull;
	bool	   *nulls;
	Datum	   *payloads;
	int			n;
	char	   *reason;
	char	  **headers;

	trans->id = column_int64(row, C_ID);
	trans->gid = column_text(row, C_GID);
	trans->version = column_int32(row, C_VERSION);
	trans->submitted_by = DatumGetObjectId(column_datum(row, C_SUBMITTED_BY, &isnull));
	trans->request_timeout = column_int32(row, C_REQUEST_TIMEOUT);
	trans->wait_result = column_bool(row, C_WAIT_RESULT);
	trans->protocol = column_text(row, C_PROTOCOL);
	trans->query_prepared = column_text(row, C_QUERY_PREPARED);
	trans->is_mine = TransactionIdIsCurrentTransactionId(
														 DatumGetTransactionId(column_datum(row, C_XMIN, &isnull)));

	core->created = column_int64(row, C_CREATED);
	core->next_time = column_int64(row, C_NEXT_TIME);
	core->timeout_to_fail = column_int64(row, C_TIMEOUT_TO_FAIL);
	core->retry_interval = column_int64(row, C_RETRY_INTERVAL);
	core->delay = column_int64(row, C_DELAY);
	core->retry_limit = column_int32(row, C_RETRY_LIMIT);
	core->concurrent = column_bool(row, C_CONCURRENT);
	core->has_query_url = trans->query_prepared != NULL &&
		trans->query_prepared[0] != '\0';
	core->failures = (uint16) DatumGetInt16(column_datum(row, C_FAILURES, &isnull));
	core->retries = (uint16) DatumGetInt16(column_datum(row, C_RETRIES, &isnull));
	if (!dtm_trans_type_of_letter(column_char(row, C_TRANS_TYPE), &core->type))
	{
		*problem = "its trans_type is not one of this version";
		return NULL;
	}
	if (!dtm_status_of_letter(column_char(row, C_STATUS), &core->status))
	{
		*problem = "its status is unknown";
		return NULL;
	}
	reason = column_text(row, C_ROLLBACK_REASON);
	if (reason != NULL)
		strlcpy(core->reason, reason, sizeof(core->reason));

	trans->action = column_strings(row, C_ACTION, &core->nsteps);
	if (core->nsteps < 0 || core->nsteps > DTM_MAX_STEPS)
	{
		*problem = "its steps are out of bounds";
		return NULL;
	}
	trans->compensate = column_strings(row, C_COMPENSATE, &n);
	if (dtm_core_has_undo(core->type) && n != core->nsteps)
	{
		*problem = "it has not as many compensations as actions";
		return NULL;
	}
	trans->branch_id = column_strings(row, C_BRANCH_ID, &n);
	if (n != core->nsteps && (n >= 0 || dtm_core_has_branches(core->type)))
	{
		*problem = "it has not as many branch ids as branches";
		return NULL;
	}
	trans->topic = column_strings(row, C_TOPIC, &n);
	if (n >= 0 && n != core->nsteps)
	{
		*problem = "it has not as many topics as steps";
		return NULL;
	}
	trans->workflow = column_text(row, C_WORKFLOW);
	if ((core->type == DTM_WORKFLOW) != (trans->workflow != NULL))
	{
		*problem = "its trans_type and its workflow do not fit";
		return NULL;
	}
	trans->workflow_data = column_bytea(row, C_WORKFLOW_DATA);
	trans->result = column_text(row, C_RESULT);
	trans->notify = column_bool(row, C_NOTIFY);
	trans->on_finish = column_text(row, C_ON_FINISH);
	trans->payload = palloc0(sizeof(bytea *) * (core->nsteps + 1));
	payloads = column_array(row, C_PAYLOAD, BYTEAOID, &n, &nulls);
	if (n >= 0 && n != core->nsteps)
	{
		*problem = "it has not as many payloads as steps";
		return NULL;
	}
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			trans->payload[i] = DatumGetByteaPCopy(payloads[i]);
	if (!decode_orders(row, core))
	{
		*problem = "its orders are malformed";
		return NULL;
	}
	headers = column_strings(row, C_BRANCH_HEADERS, &n);
	if (n > 0)
	{
		trans->nheaders = n / 2;
		trans->header_name = palloc(sizeof(char *) * (n / 2 + 1));
		trans->header_value = palloc(sizeof(char *) * (n / 2 + 1));
		for (int i = 0; i < n / 2; i++)
		{
			trans->header_name[i] = headers[2 * i];
			trans->header_value[i] = headers[2 * i + 1];
		}
	}
	if (!decode_ops(row, trans))
	{
		*problem = "its branch_status does not fit its steps";
		return NULL;
	}
	return trans;
}

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
