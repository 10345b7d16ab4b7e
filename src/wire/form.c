/*
 * form.c
 *		JSON as the body of a form (application/x-www-form-urlencoded).
 */
#include "private.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#define FORM_TYPE	"application/x-www-form-urlencoded"

bool
form_is_wanted(const char *content_type, const char *body, size_t len)
{
	size_t		type_len = strlen(FORM_TYPE);

	while (len > 0 && strchr(" \t\r\n", *body) != NULL && *body != '\0')
	{
		body++;
		len--;
	}
	return len > 0 && *body == '{' &&
		pg_strncasecmp(content_type, FORM_TYPE, type_len) == 0 &&
		(content_type[type_len] == '\0' || strchr("; \t", content_type[type_len]) != NULL);
}

static void append_value(StringInfo form, const char *name, const JsonbValue *value);

/* The members of an object or array, each with its name in brackets. */
static void
append_members(StringInfo form, const char *name, JsonbContainer *container)
{
	JsonbIterator *it = JsonbIteratorInit(container);
	JsonbIteratorToken token;
	JsonbValue	v;
	const char *key = NULL;
	int			n = 0;

	check_stack_depth();
	JsonbIteratorNext(&it, &v, true);	/* its beginning */
	while ((token = JsonbIteratorNext(&it, &v, true)) == WJB_KEY ||
		   token == WJB_VALUE || token == WJB_ELEM)
	{
		if (token == WJB_KEY)
		{
			key = pnstrdup(v.val.string.val, v.val.string.len);
			continue;
		}
		if (token == WJB_ELEM)
			key = psprintf("%d", n++);
		append_value(form, name == NULL ? key : psprintf("%s[%s]", name, key), &v);
	}
}

/* null is left out. */
static void
append_value(StringInfo form, const char *name, const JsonbValue *value)
{
	const char *text;

	switch (value->type)
	{
		case jbvNull:
			return;
		case jbvBinary:
			append_members(form, name, value->val.binary.data);
			return;
		case jbvBool:
			text = value->val.boolean ? "true" : "false";
			break;
		case jbvNumeric:
			text = DatumGetCString(DirectFunctionCall1(numeric_out,
													   NumericGetDatum(value->val.numeric)));
			break;
		default:
			text = pnstrdup(value->val.string.val, value->val.string.len);
			break;
	}
	if (form->len > 0)
		appendStringInfoChar(form, '&');
	http_append_encoded(form, utf8_of(name));
	appendStringInfoChar(form, '=');
	http_append_encoded(form, utf8_of(text));
}

char *
form_of(const char *json, size_t len, size_t *form_len)
{
	StringInfoData form;
	Jsonb	   *object = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
															CStringGetDatum(utf8_to_server(json, len))));

	initStringInfo(&form);
	append_members(&form, NULL, &object->root);
	*form_len = (size_t) form.len;
	return form.data;
}
