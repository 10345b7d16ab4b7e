/*
 * batch.c
 *		dtm.gateway_batch(): many requests of the network API in one
 *		PostgreSQL transaction, an outcome each.
 *
 * The gateway (a process of its own, see docs/gateway.md) collects what its
 * clients ask for, and has it done by one call and one commit.  Each request is
 * done as the role that it came in for.  What the bytes of a protocol look like
 * is not known here: bodies are JSON objects, payloads are bytes.
 */
#include "gateway/private.h"

#include "api/api.h"
#include "compat.h"
#include "errors.h"
#include "settings.h"
#include "store/store.h"
#include "text/utf8.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "nodes/value.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "utils/acl.h"
#include "utils/tuplestore.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/varlena.h"

PG_FUNCTION_INFO_V1(dtm_gateway_batch);

/* ---------- answers ---------- */

bytea *
gateway_bytes(const char *string)
{
	char	   *utf8 = pg_server_to_any(string, (int) strlen(string), PG_UTF8);
	size_t		len = strlen(utf8);
	bytea	   *bytes = palloc(VARHDRSZ + len);

	SET_VARSIZE(bytes, VARHDRSZ + len);
	memcpy(VARDATA(bytes), utf8, len);
	return bytes;
}

void
gateway_answer(GatewayItem *item, const char *string)
{
	item->answer = palloc(sizeof(Datum));
	item->answer[0] = PointerGetDatum(gateway_bytes(string));
	item->nanswer = 1;
}

/*
 * A workflow as the protocol needs it that has no JSON: gid, status, reason and
 * result, then status, data, branch and op of each that was registered.
 */
static void
answer_workflow(GatewayItem *item, const Transaction *trans)
{
	int			n = 0;

	item->answer = palloc(sizeof(Datum) * (4 + 4 * trans->core.nsteps));
	item->answer[n++] = PointerGetDatum(gateway_bytes(trans->gid));
	item->answer[n++] = PointerGetDatum(gateway_bytes(dtm_status_name(trans->core.status)));
	item->answer[n++] = PointerGetDatum(gateway_bytes(trans->core.reason));
	item->answer[n++] = PointerGetDatum(gateway_bytes(trans->result ? trans->result : ""));
	for (int i = 0; i < trans->core.nsteps; i++)
	{
		const char *status = trans->core.ops[i].status == DTM_BRANCH_SUCCEED ?
			"succeed" : "failed";

		item->answer[n++] = PointerGetDatum(gateway_bytes(status));
		item->answer[n++] = PointerGetDatum(trans->payload[i] ? trans->payload[i] :
											gateway_bytes(""));
		item->answer[n++] = PointerGetDatum(gateway_bytes(trans->branch_id[i]));
		item->answer[n++] = PointerGetDatum(gateway_bytes(trans->action[i]));
	}
	item->nanswer = n;
}

/* ---------- requests ---------- */

/* Requests that look for something, and do nothing. */
static bool
is_search(const char *op)
{
	static const char *const searches[] = {"page", "query", "all", "queryKV"};

	for (int i = 0; i < lengthof(searches); i++)
		if (strcmp(op, searches[i]) == 0)
			return true;
	return false;
}

/*
 * The body, an object of JSON in UTF-8; NULL: there is none.  What is looked for with
 * a character that the database's encoding lacks is not there: it becomes one that no
 * gid has.
 */
static Jsonb *
body_of(const GatewayItem *item)
{
	char	   *text;

	if (item->body == NULL)
		return NULL;
	if (is_search(item->op))
		text = utf8_to_server_or(VARDATA_ANY(item->body), VARSIZE_ANY_EXHDR(item->body), "\\u0001");

	else
	{
		text = pg_any_to_server(VARDATA_ANY(item->body),
								VARSIZE_ANY_EXHDR(item->body), PG_UTF8);

		/* it may be the body itself, which has no end */
		text = text == VARDATA_ANY(item->body) ?
			pnstrdup(text, VARSIZE_ANY_EXHDR(item->body)) : text;
	}

	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
}

static Request *
request_of(const GatewayItem *item)
{
	Jsonb	   *body = body_of(item);

	if (body != NULL && JB_ROOT_IS_OBJECT(body) && request_string(body, "gid") == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no gid specified"),
				 errhint("Ask /newGid for one, and send it with each request.")));
	return request_from_wire(body, item->has_payloads ? &item->payloads : NULL);
}

/* A gid that is all that the body has to say. */
static char *
gid_of(const GatewayItem *item, Jsonb *body)
{
	char	   *gid = body == NULL ? NULL : request_string(body, "gid");

	if (gid == NULL || gid[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no gid specified"),
				 errhint("Pass the gid of the global transaction.")));
	if (!item->has_payloads)
		request_strip_gid(gid);
	return request_gid(cstring_to_text(gid));
}

static void
run_prepare(GatewayItem *item)
{
	(void) api_begin(request_of(item), false);
}

static void
run_submit(GatewayItem *item)
{
	Request    *request = request_of(item);
	Transaction *trans;
	bool		wait;

	item->is_workflow = request->trans.core.type == DTM_WORKFLOW;
	trans = api_begin(request, true);
	/* what this request says comes before what was stored */
	wait = request_gave(request, "wait_result") ? request->trans.wait_result :
		trans->wait_result;
	if (wait && !item->is_workflow)
		item->wait = trans->id;
}

static void
run_abort(GatewayItem *item)
{
	Jsonb	   *body = body_of(item);
	char	   *gid = gid_of(item, body);
	char	   *reason = request_string(body, "rollback_reason");
	Transaction *trans = api_abort(gid, reason, false);

	if (trans->wait_result && !dtm_core_is_final(trans->core.status))
		item->wait = trans->id;
}

/* dtm reads them into a map of strings, whatever the key (§1.2). */
static void
check_strings(Jsonb *body)
{
	JsonbIterator *it;
	JsonbValue	v;

	if (body == NULL || !JB_ROOT_IS_OBJECT(body))
		return;					/* it will be refused */
	it = JsonbIteratorInit(&body->root);
	(void) JsonbIteratorNext(&it, &v, true);	/* the object's beginning */
	while (JsonbIteratorNext(&it, &v, true) == WJB_KEY)
	{
		char	   *key = pnstrdup(v.val.string.val, v.val.string.len);

		(void) JsonbIteratorNext(&it, &v, true);
		if (v.type != jbvString && v.type != jbvNull)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("\"%s\" is not a JSON string", key),
					 errhint("All values of a branch are strings.")));
	}
}

static void
run_register_branch(GatewayItem *item)
{
	Jsonb	   *body = body_of(item);

	check_strings(body);
	api_register_branch(request_branch_from_object(body,
												   item->has_payloads && item->payloads.n > 0 ?
												   item->payloads.payload[0] : NULL));
}

/* All that is rare, or only reads: SQL has it. */
static void
call_sql(GatewayItem *item, const char *what)
{
	Jsonb	   *body = body_of(item);

	item->in_sql = true;
	gateway_answer(item, store_gateway_call(what, body));
	item->in_sql = false;
}

static void
run_call(GatewayItem *item)
{
	call_sql(item, item->op);
}

static void
run_prepare_workflow(GatewayItem *item)
{
	Request    *request = request_of(item);
	Transaction *trans;

	api_open_workflow(request);
	if (!item->has_payloads)
		call_sql(item, "progresses");
	else if (store_find(request->trans.gid, false, &trans) != STORE_ABSENT)
		answer_workflow(item, trans);
	else
		api_error_unknown(request->trans.gid);
}

static void
run_force_stop(GatewayItem *item)
{
	api_force_stop(gid_of(item, body_of(item)), NULL);
}

/* What has become of a branch that answers later. */
static void
run_complete(GatewayItem *item)
{
	Jsonb	   *body = body_of(item);
	CompleteRequest request = {.notices = false};

	request.gid = gid_of(item, body);
	request_completion(body, &request.step, &request.op, &request.ok, &request.result);
	(void) api_complete(&request);
}

static void
run_retry_now(GatewayItem *item)
{
	char	   *gid = gid_of(item, body_of(item));
	StorePeek	peek;

	/* AP-15: a finished one has nothing to be reset, and that is no error */
	if (store_peek(gid, true, &peek) == STORE_FINISHED &&
		api_is_visible(peek.submitted_by))
		return;
	api_retry_now(gid, NULL);
}

static const struct
{
	const char *name;
	void		(*run) (GatewayItem *item);
}			ops[] = {
	{"prepare", run_prepare},
	{"submit", run_submit},
	{"abort", run_abort},
	{"registerBranch", run_register_branch},
	{"completeBranch", run_complete},
	{"prepareWorkflow", run_prepare_workflow},
	{"forceStop", run_force_stop},
	{"resetNextCronTime", run_retry_now},
	{"query", run_call},
	{"all", run_call},
	{"resetCronTime", run_call},
	{"subscribe", run_call},
	{"unsubscribe", run_call},
	{"deleteTopic", run_call},
	{"scanKV", run_call},
	{"queryKV", run_call},
	{"page", run_call},
	{"pageAct", run_call}
};

static void
run(GatewayItem *item)
{
	for (size_t i = 0; i < lengthof(ops); i++)
		if (strcmp(item->op, ops[i].name) == 0)
		{
			ops[i].run(item);
			return;
		}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown op \"%s\"", item->op),
			 errhint("The gateway and the extension should be of the same version.")));
}

/* ---------- roles ---------- */

static bool
is_listed(const char *list, Oid role)
{
	List	   *names;
	ListCell   *cell;
	char	   *name = GetUserNameFromId(role, false);

	if (!SplitIdentifierString(pstrdup(list), ',', &names))
		return false;
	foreach(cell, names)
		if (strcmp(lfirst(cell), name) == 0)
		return true;
	return false;
}

static void
deny(GatewayItem *item, GatewayOutcome outcome, int sqlerrcode, char *message)
{
	item->outcome = outcome;
	item->sqlerrcode = sqlerrcode;
	item->message = message;
}

Oid
gateway_function(char *name, int nargs, const Oid *types)
{
	return LookupFuncName(list_make2(makeString("dtm"), makeString(name)), nargs, types, true);
}

bool
gateway_is_user(Oid role)
{
	Oid			types[2] = {TEXTOID, JSONBOID};
	Oid			function = gateway_function("gateway_call", 2, types);

	return OidIsValid(function) && dtm_can_execute(function, role);
}

/*
 * The role that a request is done as: one that whoever has called us can
 * become, and that may use dtm.  False: it is denied.
 */
static bool
find_role(GatewayItem *item)
{
	if (item->token != NULL)
	{
		item->role = store_token_role(item->token);
		if (!OidIsValid(item->role))
		{
			deny(item, GATEWAY_UNAUTHENTICATED, ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
				 pstrdup("unknown or expired token"));
			return false;
		}
	}
	else
		item->role = item->role_name == NULL ? InvalidOid :
			get_role_oid(item->role_name, true);
	if (!OidIsValid(item->role))
	{
		deny(item, GATEWAY_DENIED, ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
			 psprintf("role \"%s\" does not exist", item->role_name ? item->role_name : ""));
		return false;
	}
	if (!dtm_can_become(GetUserId(), item->role))
	{
		deny(item, GATEWAY_DENIED, ERRCODE_INSUFFICIENT_PRIVILEGE,
			 psprintf("role \"%s\" has not been granted to the gateway's role \"%s\"",
					  GetUserNameFromId(item->role, false),
					  GetUserNameFromId(GetUserId(), false)));
		return false;
	}
	if (!gateway_is_user(item->role))
	{
		deny(item, GATEWAY_DENIED, ERRCODE_INSUFFICIENT_PRIVILEGE,
			 psprintf("role \"%s\" is not a member of dtm_user",
					  GetUserNameFromId(item->role, false)));
		return false;
	}
	return true;
}

static void
run_as_role(GatewayItem *item)
{
	Oid			user;
	int			sec_context;

	item->outcome = GATEWAY_SUCCESS;
	item->wait = 0;
	item->nanswer = 0;
	if (!find_role(item))
		return;
	GetUserIdAndSecContext(&user, &sec_context);
	SetUserIdAndSecContext(item->role, sec_context | SECURITY_LOCAL_USERID_CHANGE);
	request_allow_local(is_listed(dtm_gateway_sql_roles, item->role));
	run(item);
	request_allow_local(true);
	SetUserIdAndSecContext(user, sec_context);
}

/* ---------- with and without subtransactions ---------- */

/*
 * Decided by what is stored, before anything was written.
 */
static bool
is_refusal(const ErrorData *edata)
{
	return edata->sqlerrcode == DTM_ERRCODE_WRONG_STATUS ||
		edata->sqlerrcode == DTM_ERRCODE_GID_IN_USE ||
		edata->sqlerrcode == DTM_ERRCODE_UNKNOWN_GID;
}

/*
 * Runs a request in the transaction that all of the batch share.  Errors are
 * thrown on, and the batch has to be repeated with subtransactions, but for
 * refusals.  To go on after those without one is sound, since
 *
 * 1. api/submit.c throws them itself, from outside of any statement: SPI is
 *	  finished, so there is no snapshot, plan or portal that only an abort would
 *	  release;
 * 2. nothing has been written at that point, and the lock of a row that was
 *	  looked at does no harm until the commit;
 * 3. what else an error leaves behind, the user and the memory context, is
 *	  restored here.
 *
 * Requests that SQL answers may throw the same from within a statement, so that
 * does not hold for them.
 */
static void
run_shared(GatewayItem *item)
{
	MemoryContext context = CurrentMemoryContext;
	Oid			user;
	int			sec_context;

	GetUserIdAndSecContext(&user, &sec_context);
	PG_TRY();
	{
		run_as_role(item);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		if (!is_refusal(edata) || item->in_sql)
			PG_RE_THROW();
		FlushErrorState();
		SetUserIdAndSecContext(user, sec_context);
		request_allow_local(true);
		gateway_classify(item, edata);
	}
	PG_END_TRY();
}

/* Runs a request in a subtransaction, so that whatever is wrong is its own. */
static void
run_alone(GatewayItem *item)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		run_as_role(item);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		request_allow_local(true);
		if (edata->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(edata);
		gateway_classify(item, edata);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
}

/* ---------- the function ---------- */

static void
put_row(Tuplestorestate *rows, TupleDesc desc, int number, const GatewayItem *item)
{
	Datum		values[6];
	bool		nulls[6] = {false};

	values[0] = Int32GetDatum(number);
	values[1] = CStringGetTextDatum(gateway_outcome_name(item->outcome));
	nulls[2] = nulls[3] = item->outcome == GATEWAY_SUCCESS;
	if (item->outcome != GATEWAY_SUCCESS)
	{
		values[2] = PointerGetDatum(cstring_to_text(item->message));
		values[3] = CStringGetTextDatum(unpack_sql_state(item->sqlerrcode));
	}
	nulls[4] = item->outcome != GATEWAY_SUCCESS || item->nanswer == 0;
	if (!nulls[4])
		values[4] = PointerGetDatum(construct_array(item->answer, item->nanswer, BYTEAOID,
													-1, false, TYPALIGN_INT));
	nulls[5] = item->outcome != GATEWAY_SUCCESS || item->wait == 0;
	values[5] = Int64GetDatum(item->wait);
	tuplestore_putvalues(rows, desc, values, nulls);
}

/*
 * dtm.gateway_batch(roles, tokens, ops, bodies, payload_counts, payloads,
 *					 careful) returns setof (n, outcome, message, sqlstate, answer, wait)
 *
 * careful: with a subtransaction for each.
 */
Datum
dtm_gateway_batch(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *info = (ReturnSetInfo *) fcinfo->resultinfo;
	int			n = -1;
	GatewayItem *items = gateway_read_items(fcinfo, &n);
	bool		careful = !PG_ARGISNULL(6) && PG_GETARG_BOOL(6);
	Tuplestorestate *rows;
	TupleDesc	desc;
	MemoryContext before;

	if (info == NULL || !IsA(info, ReturnSetInfo) ||
		(info->allowedModes & SFRM_Materialize) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set"),
				 errhint("Call it in FROM.")));
	before = MemoryContextSwitchTo(info->econtext->ecxt_per_query_memory);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	desc = CreateTupleDescCopy(desc);
	rows = tuplestore_begin_heap(false, false, work_mem);
	info->returnMode = SFRM_Materialize;
	info->setResult = rows;
	info->setDesc = desc;
	MemoryContextSwitchTo(before);

	for (int i = 0; i < n; i++)
	{
		if (careful)
			run_alone(&items[i]);
		else
			run_shared(&items[i]);
		put_row(rows, desc, i + 1, &items[i]);
	}
	return (Datum) 0;
}
