/*
 * form.c
 *		JSON as the body of a form (application/x-www-form-urlencoded).
 */
#include "private.h"

#include "settings.h"

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

/* An object or array that is being read. */
typedef struct Level
{
	int			name_len;		/* of its name */
	bool		is_array;
	int			n;				/* its elements so far */
} Level;

typedef struct Form
{
	StringInfoData text;
	StringInfoData name;		/* of the value that comes next */
	Level	   *levels;
	int			depth;			/* number of levels */
} Form;

/* Each level adds to the name, whose length bounds them, and the form. */
#define MAX_LEVELS	(MAX_NAME + 1)

/* The next value is the member of this name of the level; the first's is bare. */
static void
set_name(Form *form, const char *key, int len)
{
	form->name.len = form->levels[form->depth - 1].name_len;
	if (form->depth > 1)
		appendStringInfoChar(&form->name, '[');
	appendBinaryStringInfo(&form->name, key, len);
	if (form->depth > 1)
		appendStringInfoChar(&form->name, ']');
	if (form->name.len > MAX_NAME)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("name of a form's field is longer than %d bytes", MAX_NAME),
				 errhint("Use shorter keys, or fewer levels of objects and arrays.")));
}

/* The elements of an array are named by their numbers. */
static void
name_element(Form *form)
{
	Level	   *level = form->depth > 0 ? &form->levels[form->depth - 1] : NULL;
	char		number[16];

	if (level == NULL || !level->is_array)
		return;
	set_name(form, number, snprintf(number, sizeof(number), "%d", level->n++));
}

static void
enter(Form *form, bool is_array)
{
	Level	   *level;

	name_element(form);
	Assert(form->depth < MAX_LEVELS);
	level = &form->levels[form->depth++];
	level->name_len = form->name.len;
	level->is_array = is_array;
	level->n = 0;
}

/* null is left out. */
static void
append_scalar(Form *form, const JsonbValue *value)
{
	char	   *text;

	name_element(form);
	switch (value->type)
	{
		case jbvNull:
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
	if (form->text.len > 0)
		appendStringInfoChar(&form->text, '&');
	http_append_encoded(&form->text, utf8_of(form->name.data));
	appendStringInfoChar(&form->text, '=');
	http_append_encoded(&form->text, utf8_of(text));
	pfree(text);
	if (form->text.len > dtm_max_request_size * (int64) 1024)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("payload is too large as a form"),
				 errhint("Store large data elsewhere and pass its key, or increase dtm.max_request_size.")));
}

char *
form_of(const char *json, size_t len, size_t *form_len)
{
	Jsonb	   *object = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
															CStringGetDatum(utf8_to_server(json, len))));
	JsonbIterator *it = JsonbIteratorInit(&object->root);
	JsonbIteratorToken token;
	JsonbValue	v;
	Form		form = {.levels = palloc(sizeof(Level) * MAX_LEVELS)};

	initStringInfo(&form.text);
	initStringInfo(&form.name);
	while ((token = JsonbIteratorNext(&it, &v, false)) != WJB_DONE)
		switch (token)
		{
			case WJB_KEY:
				set_name(&form, v.val.string.val, v.val.string.len);
				break;
			case WJB_VALUE:
			case WJB_ELEM:
				append_scalar(&form, &v);
				break;
			case WJB_BEGIN_ARRAY:
			case WJB_BEGIN_OBJECT:
				enter(&form, token == WJB_BEGIN_ARRAY);
				break;
			default:
				form.depth--;
				break;
		}
	*form_len = (size_t) form.text.len;
	return form.text.data;
}
