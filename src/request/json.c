/*
 * json.c
 *		Reads jsonb: pairs, elements and scalars.  Errors name the value that
 *		has the wrong type.
 */
#include "private.h"

#include "utils/builtins.h"
#include "utils/numeric.h"

/* Types that the value of a key can be required to have. */
typedef enum Required
{
	REQUIRED_OBJECT,
	REQUIRED_ARRAY,
	REQUIRED_STRING,
	REQUIRED_NUMBER,
	REQUIRED_BOOLEAN
} Required;

static int
message_of_type(const char *what, Required required)
{
	switch (required)
	{
		case REQUIRED_OBJECT:
			return errmsg("\"%s\" must be a JSON object", what);
		case REQUIRED_ARRAY:
			return errmsg("\"%s\" must be a JSON array", what);
		case REQUIRED_STRING:
			return errmsg("\"%s\" must be a JSON string", what);
		case REQUIRED_NUMBER:
			return errmsg("\"%s\" must be a number", what);
		case REQUIRED_BOOLEAN:
			break;
	}
	return errmsg("\"%s\" must be true or false", what);
}

/* The value of "what" has another type than the required one. */
static void
error_type(const char *what, Required required)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 message_of_type(what, required),
			 errhint("See the keys and their types in docs/sql-reference.md.")));
}

/* The pairs of an object in *n; an error naming "what" for anything else. */
JsonPair *
read_pairs(JsonbContainer *container, const char *what, int *n)
{
	JsonbIterator *it;
	JsonbValue	v;
	JsonPair   *pairs;

	if (!JsonContainerIsObject(container))
		error_type(what, REQUIRED_OBJECT);
	pairs = palloc(sizeof(JsonPair) * (JsonContainerSize(container) + 1));
	*n = 0;
	it = JsonbIteratorInit(container);
	JsonbIteratorNext(&it, &v, true);	/* the object's beginning */
	while (JsonbIteratorNext(&it, &v, true) == WJB_KEY)
	{
		pairs[*n].key = pnstrdup(v.val.string.val, v.val.string.len);
		JsonbIteratorNext(&it, &v, true);
		pairs[(*n)++].value = v;
	}
	return pairs;
}

/* The elements of an array in *n; an error naming "what" for anything else. */
JsonbValue *
read_elements(const JsonbValue *value, const char *what, int *n)
{
	JsonbIterator *it;
	JsonbValue	v;
	JsonbValue *elements;

	if (value->type != jbvBinary ||
		!JsonContainerIsArray(value->val.binary.data) ||
		JsonContainerIsScalar(value->val.binary.data))
		error_type(what, REQUIRED_ARRAY);
	elements = palloc(sizeof(JsonbValue) *
					  (JsonContainerSize(value->val.binary.data) + 1));
	*n = 0;
	it = JsonbIteratorInit(value->val.binary.data);
	JsonbIteratorNext(&it, &v, true);	/* the array's beginning */
	while (JsonbIteratorNext(&it, &v, true) == WJB_ELEM)
		elements[(*n)++] = v;
	return elements;
}

char *
read_string(const JsonbValue *value, const char *what)
{
	if (value->type != jbvString)
		error_type(what, REQUIRED_STRING);
	return pnstrdup(value->val.string.val, value->val.string.len);
}

bool
read_bool(const JsonbValue *value, const char *what)
{
	if (value->type != jbvBool)
		error_type(what, REQUIRED_BOOLEAN);
	return value->val.boolean;
}

double
read_number(const JsonbValue *value, const char *what, double max)
{
	double		number;

	if (value->type != jbvNumeric)
		error_type(what, REQUIRED_NUMBER);
	number = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
												NumericGetDatum(value->val.numeric)));
	if (!(number >= 0 && number <= max))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("\"%s\" is out of range", what),
				 errhint("The value must be between 0 and %.0f.", max)));
	return number;
}

JsonbContainer *
read_object(const JsonbValue *value, const char *what)
{
	if (value->type != jbvBinary ||
		!JsonContainerIsObject(value->val.binary.data))
		error_type(what, REQUIRED_OBJECT);
	return value->val.binary.data;
}

char *
request_string(Jsonb *object, const char *key)
{
	int			n;
	JsonPair   *pairs = read_pairs(&object->root, "request", &n);

	for (int i = 0; i < n; i++)
		if (strcmp(pairs[i].key, key) == 0 && pairs[i].value.type != jbvNull)
			return read_string(&pairs[i].value, key);
	return NULL;
}
