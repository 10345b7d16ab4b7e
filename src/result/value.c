/*
 * value.c
 *		What is kept of a response: its JSON; of a text that is no JSON, a string;
 *		else nothing but a note why.
 */
#include "private.h"

#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

size_t
result_max_size(void)
{
	return (size_t) dtm_max_result_size * 1024;
}

static void
note_size(StoreResult *result, size_t size)
{
	result->value = NULL;
	result->note = psprintf("it has %zu bytes, more than dtm.max_result_size", size);
}

/* The member of a JSON-RPC response that is its result; NULL: it has none. */
static Jsonb *
result_member(Jsonb *response)
{
	JsonbValue	value;

	if (!JB_ROOT_IS_OBJECT(response) ||
		getKeyJsonValueFromContainer(&response->root, "result", strlen("result"), &value) == NULL)
		return NULL;
	return JsonbValueToJsonb(&value);
}

/* Is it JSON, although not such as jsonb can hold? */
static bool
is_json(const char *utf8, size_t len)
{
	MemoryContext context = CurrentMemoryContext;
	JsonSemAction nothing = {NULL};
	volatile bool found = false;

	PG_TRY();
	{
		found = pg_parse_json(dtm_json_syntax_context(unconstify(char *, utf8), len), &nothing) == JSON_SUCCESS;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_PROGRAM_LIMIT_EXCEEDED)
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();
	return found;
}

/* The text as JSON, or as a string if it is none: "problem" is then why. */
static Jsonb *
jsonb_of(char *text, char **problem)
{
	MemoryContext context = CurrentMemoryContext;
	Jsonb	   *volatile jsonb = NULL;
	JsonbValue	string = {.type = jbvString};

	PG_TRY();
	{
		jsonb = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
	}
	PG_CATCH();
	{
		int			category = ERRCODE_TO_CATEGORY(geterrcode());

		MemoryContextSwitchTo(context);
		if (category != ERRCODE_DATA_EXCEPTION && category != ERRCODE_PROGRAM_LIMIT_EXCEEDED)
			PG_RE_THROW();
		*problem = CopyErrorData()->message;
		FlushErrorState();
	}
	PG_END_TRY();
	if (jsonb != NULL)
		return jsonb;
	string.val.string.val = text;

	string.val.string.len = (int) strlen(text);
	return JsonbValueToJsonb(&string);
}

/* The text in the encoding of the database; NULL: it has none. */
static char *
server_text(const char *body, size_t len)
{
	MemoryContext context = CurrentMemoryContext;
	char	   *volatile string = NULL;

	PG_TRY();
	{
		if (memchr(body, '\0', len) == NULL)
			string = utf8_to_server(body, len);
	}
	PG_CATCH();
	{
		int			category = ERRCODE_TO_CATEGORY(geterrcode());

		MemoryContextSwitchTo(context);
		if (category != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();
	return string != NULL && pg_verifymbstr(string, (int) strlen(string), true) ? string : NULL;
}

Jsonb *
result_json(const char *body, size_t len)
{
	char	   *json = server_text(body, len);
	char	   *problem;

	return json != NULL ? jsonb_of(json, &problem) : NULL;
}

/* Of what is JSON, and is kept as a text, the note says why: it has no keys then. */
static void
set_body(const char *body, size_t len, StoreResult *result)
{
	static const char mark[] = "\xEF\xBB\xBF";
	char	   *text;
	char	   *problem = NULL;

	/* a byte order mark is not part of what follows (RFC 8259, 8.1) */
	if (len >= strlen(mark) && memcmp(body, mark, strlen(mark)) == 0)
	{
		body += strlen(mark);
		len -= strlen(mark);
	}
	text = server_text(body, len);

	if (text == NULL)
	{
		result->note = "it is not a text that the database can store";
		return;
	}
	if (text[0] == '\0')
		return;
	result->value = jsonb_of(text, &problem);
	if (problem != NULL && is_json(body, len))
		result->note = psprintf("it is JSON that the database can only keep as a text: %s", problem);
}

void
result_of_reply(WireKind kind, const char *body, size_t len, StoreResult *result)
{
	result->value = NULL;
	result->note = NULL;
	if (kind == WIRE_GRPC)
		result->note = "responses over gRPC are not kept";
	else if (len > result_max_size())
		note_size(result, len);
	else if (len > 0)
	{
		set_body(body, len, result);
		if (kind == WIRE_JSONRPC && result->value != NULL)
			result->value = result_member(result->value);
	}
}

/* to_jsonb(), as SQL has it for this type. */
static Jsonb *
as_jsonb(Oid type, Datum datum)
{
	FmgrInfo	function;
	List	   *arguments = list_make1(makeNullConst(type, -1, InvalidOid));

	fmgr_info(F_TO_JSONB, &function);
	fmgr_info_set_expr((Node *) makeFuncExpr(F_TO_JSONB, JSONBOID, arguments, InvalidOid,
											 InvalidOid, COERCE_EXPLICIT_CALL),
					   &function);
	return DatumGetJsonbP(FunctionCall1(&function, datum));
}

void
result_of_datum(Oid type, Datum datum, bool isnull, StoreResult *result)
{
	result->value = NULL;
	result->note = NULL;
	if (isnull || type == VOIDOID)
		return;
	result->value = type == JSONBOID ? DatumGetJsonbP(datum) : as_jsonb(type, datum);
	if (VARSIZE(result->value) > result_max_size())
		note_size(result, VARSIZE(result->value));
}

const char *
result_text(Jsonb *value)
{
	JsonbValue	scalar;

	if (value == NULL)
		return "completed as failed";
	if (JsonbExtractScalar(&value->root, &scalar) && scalar.type == jbvString)
		return pnstrdup(scalar.val.string.val, scalar.val.string.len);
	return JsonbToCString(NULL, &value->root, VARSIZE(value));
}
