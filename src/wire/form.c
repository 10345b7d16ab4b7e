/*
 * form.c
 *		JSON as the body of a form (application/x-www-form-urlencoded).
 */
#include "private.h"

#include "settings.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#define FORM_TYPE	"application/x-www-form-urlencoded"

/* Bytes of the name of a field. */
#define MAX_NAME	1000

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

/* The name of a member, which bounds how much longer a form is than its JSON. */
static char *
name_of(const char *outer, const char *key, int key_len)
{
	char	   *name = outer == NULL ? pnstrdup(key, key_len) :
		psprintf("%s[%.*s]", outer, key_len, key);

	if (strlen(name) > MAX_NAME)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("name of a form's field is longer than %d bytes", MAX_NAME),
				 errhint("Use shorter keys, or fewer levels of objects and arrays.")));
	return name;
}

/* The members of an object or array, each with its name in brackets. */
static void
append_members(StringInfo form, const char *name, JsonbContainer *container)
{
	JsonbIterator *it = JsonbIteratorInit(container);
	JsonbIteratorToken token;
	JsonbValue	v;
	JsonbValue	key = {0};
	int			n = 0;

	check_stack_depth();
	JsonbIteratorNext(&it, &v, true);	/* its beginning */
	while ((token = JsonbIteratorNext(&it, &v, true)) == WJB_KEY ||
		   token == WJB_VALUE || token == WJB_ELEM)
	{
		char		number[16];
		char	   *member;

		if (token == WJB_KEY)
		{
			key = v;
			continue;
		}
		snprintf(number, sizeof(number), "%d", n++);
		member = token == WJB_ELEM ? name_of(name, number, (int) strlen(number)) :
			name_of(name, key.val.string.val, key.val.string.len);
		append_value(form, member, &v);
		pfree(member);
	}
}

/* null is left out. */
static void
append_value(StringInfo form, const char *name, const JsonbValue *value)
{
	char	   *text;

	switch (value->type)
	{
		case jbvNull:
			return;
		case jbvBinary:
			append_members(form, name, value->val.binary.data);
			return;
		case jbvBool:
			text = pstrdup(value->val.boolean ? "true" : "false");
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
	pfree(text);
	if (form->len > dtm_max_request_size * (int64) 1024)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("payload is too large as a form"),
				 errhint("Store large data elsewhere and pass its key, or increase dtm.max_request_size.")));
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
