/*
 * function.c
 *		Functions of local branches: look-up, privileges and calls.
 */
#include "local.h"

#include "compat.h"
#include "text/utf8.h"
#include "transaction.h"

#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

/* (gid, branch_id, op, payload) */
#define NARGS 4

/* A worker connects as the role: can it? */
static void
check_role(void)
{
#ifdef DTM_WORKER_ROLE_MUST_LOGIN
	HeapTuple	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	bool		can = HeapTupleIsValid(tuple) &&
		((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	if (!can)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("role \"%s\" cannot have local branches because it is not permitted to log in",
						GetUserNameFromId(GetUserId(), false)),
				 errdetail("Before PostgreSQL 17, no background worker can run as such a role."),
				 errhint("Run ALTER ROLE ... LOGIN. Nobody can log in as the role as long as it has no password and no entry in pg_hba.conf.")));
#endif
}

Oid
local_function(const char *url)
{
	static const Oid types[NARGS] = {TEXTOID, TEXTOID, TEXTOID, JSONBOID};
	const char *name = url + strlen(DTM_SCHEME_LOCAL);
	List	   *names = dtm_qualified_name(name);
	Oid			function;

	if (list_length(names) != 2)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("function name \"%s\" is not qualified with a schema", name),
				 errhint("Use sql:schema.function.")));
	function = LookupFuncName(names, NARGS, types, true);
	if (!OidIsValid(function) || get_func_prokind(function) != PROKIND_FUNCTION)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function %s(text, text, text, jsonb) does not exist", name),
				 errhint("Create a function with the arguments gid, branch_id, op and payload.")));
	if (get_func_retset(function))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("function %s returns a set", name),
				 errhint("Use a function that returns one value, or void.")));
	if (!dtm_can_execute(function, GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for function %s", name),
				 errhint("Grant EXECUTE on the function to the role that submits.")));
	check_role();
	return function;
}

static Datum
payload_datum(const bytea *payload)
{
	char	   *text = utf8_to_server(VARDATA_ANY(payload), VARSIZE_ANY_EXHDR(payload));

	return DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
}

void
local_call(const char *url, const char *gid, const char *branch_id,
		   const char *op, const bytea *payload, LocalValue *returned)
{
	FmgrInfo	function;

	LOCAL_FCINFO(fcinfo, NARGS);

	fmgr_info(local_function(url), &function);
	InitFunctionCallInfoData(*fcinfo, &function, NARGS, DEFAULT_COLLATION_OID,
							 NULL, NULL);
	fcinfo->args[0].value = CStringGetTextDatum(gid);
	fcinfo->args[1].value = CStringGetTextDatum(branch_id);
	fcinfo->args[2].value = CStringGetTextDatum(op);
	for (int i = 0; i < NARGS - 1; i++)
		fcinfo->args[i].isnull = false;
	fcinfo->args[3].isnull = payload == NULL;
	fcinfo->args[3].value = payload ? payload_datum(payload) : (Datum) 0;
	returned->type = get_func_rettype(function.fn_oid);
	returned->datum = (Datum) 0;
	returned->isnull = true;
	/* a strict one that has no payload does nothing, as ever */
	if (payload != NULL || !function.fn_strict)
	{
		returned->datum = FunctionCallInvoke(fcinfo);
		returned->isnull = fcinfo->isnull;
	}
}
