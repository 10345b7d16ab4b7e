/*
 * path.c
 *		Paths into the object of all results.
 *
 * The syntax is read by the server's own parser.  What is more than a chain of
 * keys and subscripts is refused: filters, wildcards and methods could keep the
 * coordinator busy with one transaction for as long as somebody likes.
 */
#include "private.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

/* Bytes of a path; the parser is recursive. */
#define MAX_PATH_BYTES	1000

#define PATH_HINT "Use the name of a step and the keys in its result, as in $.charge.id or $.\"01\".items[0]."

static void
error_form(const char *text)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("path \"%s\" of a result is not a chain of keys and subscripts", text),
			 errhint(PATH_HINT)));
}

/* Digits of a subscript. */
#define MAX_DIGITS		9

/* A subscript that is one number from 0. */
static bool
is_subscript(JsonPathItem *item)
{
	JsonPathItem from;
	JsonPathItem to;
	char	   *digits;

	if (item->content.array.nelems != 1 ||
		jspGetArraySubscript(item, &from, &to, 0) ||
		from.type != jpiNumeric || jspHasNext(&from))
		return false;
	digits = DatumGetCString(DirectFunctionCall1(numeric_out,
												 NumericGetDatum(jspGetNumeric(&from))));
	return strlen(digits) <= MAX_DIGITS && strspn(digits, "0123456789") == strlen(digits);
}

/* What the server's parser makes of it; NULL: it is no path. */
static JsonPath *
parse(const char *text)
{
	MemoryContext context = CurrentMemoryContext;
	JsonPath   *volatile path = NULL;

	PG_TRY();
	{
		path = DatumGetJsonPathP(DirectFunctionCall1(jsonpath_in, CStringGetDatum(text)));
	}
	PG_CATCH();
	{
		int			category = ERRCODE_TO_CATEGORY(geterrcode());

		MemoryContextSwitchTo(context);
		if (category != ERRCODE_DATA_EXCEPTION &&
			category != ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION)
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();
	return path;
}

void
path_read(const char *text, ResultPath *path)
{
	JsonPathItem item;
	JsonPathItem next;
	JsonPath   *parsed;
	int			n = 0;

	if (strlen(text) > MAX_PATH_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("path of a result is longer than %d bytes", MAX_PATH_BYTES),
				 errhint(PATH_HINT)));
	path->text = text;

	path->has_rest = false;
	parsed = parse(text);
	if (parsed == NULL)
		error_form(text);
	jspInit(&item, parsed);
	if (item.type != jpiRoot)
		error_form(text);
	for (; jspHasNext(&item); n++, item = next)
	{
		int32		len;

		(void) jspGetNext(&item, &next);
		if (next.type != jpiKey && (n == 0 || next.type != jpiIndexArray))
			error_form(text);
		if (next.type == jpiIndexArray && !is_subscript(&next))
			error_form(text);
		if (n == 0)
			path->step = pstrdup(jspGetString(&next, &len));
		else if (n == 1)
		{
			path->rest = next;
			path->has_rest = true;
		}
	}
	if (n == 0)
		error_form(text);
}

static bool
take_element(JsonPathItem *item, const JsonbContainer *array, JsonbValue *value)
{
	JsonPathItem from;
	JsonPathItem to;
	JsonbValue *element;
	int64		subscript;

	(void) jspGetArraySubscript(item, &from, &to, 0);
	subscript = DatumGetInt64(DirectFunctionCall1(numeric_int8,
												  NumericGetDatum(jspGetNumeric(&from))));
	if (subscript < 0 || subscript >= JsonContainerSize(array))
		return false;
	element = getIthJsonbValueFromContainer(unconstify(JsonbContainer *, array), (uint32) subscript);
	if (element == NULL)
		return false;
	*value = *element;
	return true;
}

static bool
take_step(JsonPathItem *item, JsonbValue *value)
{
	JsonbContainer *container = value->val.binary.data;
	int32		len;
	char	   *key;

	if (value->type != jbvBinary || JsonContainerIsScalar(container))
		return false;
	if (item->type == jpiIndexArray)
		return JsonContainerIsArray(container) && take_element(item, container, value);
	if (!JsonContainerIsObject(container))
		return false;
	key = jspGetString(item, &len);
	return getKeyJsonValueFromContainer(container, key, len, value) != NULL;
}

bool
path_follow(const ResultPath *path, Jsonb *result, JsonbValue *value)
{
	JsonPathItem item = path->rest;
	JsonPathItem next;

	if (!JsonbExtractScalar(&result->root, value))
	{
		value->type = jbvBinary;
		value->val.binary.data = &result->root;
		value->val.binary.len = VARSIZE(result) - VARHDRSZ;
	}
	if (!path->has_rest)
		return true;
	for (;;)
	{
		if (!take_step(&item, value))
			return false;
		if (!jspHasNext(&item))
			return true;
		(void) jspGetNext(&item, &next);
		item = next;
	}
}
