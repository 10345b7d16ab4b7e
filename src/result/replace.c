/*
 * replace.c
 *		Finds references in URLs and payloads, and puts values in their place.
 *
 * What is put into a URL is percent-encoded and cannot be more than a part of a
 * segment or a parameter's value: not "." or "..", nothing that some server reads as
 * a slash, and not an empty text, with which a URL of one thing would be that of all.
 * What is put into a header cannot begin another one.
 */
#include "private.h"

#include "wire/uri.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/numeric.h"

/* The key of the object that is a reference in a payload. */
#define REFERENCE_KEY	"$result"

/* How a reference in a URL begins. */
#define REFERENCE_START	"{$"

/* References of one payload or URL: each is read from a table. */
#define MAX_REFERENCES	100

/* Bytes of a value in a header; services refuse longer ones. */
#define MAX_HEADER_BYTES	4096

static void
count_reference(int *n)
{
	if (++*n > MAX_REFERENCES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("more than %d references to results in one payload or URL", MAX_REFERENCES),
				 errhint("Refer to a larger part of a result once.")));
}

/* ---------- URLs and headers ---------- */

bool
result_is_in_text(const char *text)
{
	return strstr(text, REFERENCE_START) != NULL;
}

/* The end of a reference, at its closing brace; an error if it has none. */
static const char *
end_of(const char *reference)
{
	bool		quoted = false;

	for (const char *c = reference; *c; c++)
	{
		if (*c == '}' && !quoted)
			return c;
		if (*c == '"')
			quoted = !quoted;
		else if (*c == '\\' && quoted && c[1] != '\0')
			c++;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("reference to a result has no end in \"%s\"", reference),
			 errhint("Write it as {$.charge.id}.")));
}

/* Where the path of a URL begins: what is before it is not for results. */
static const char *
path_of(const char *url)
{
	const char *rest = strstr(url, "://");

	if (strncmp(url, DTM_SCHEME_LOCAL, strlen(DTM_SCHEME_LOCAL)) == 0 ||
		pg_strncasecmp(url, "grpc", 4) == 0)
		return NULL;
	if (strncmp(url, DTM_SCHEME_SERVER, strlen(DTM_SCHEME_SERVER)) == 0)
		rest = url + strlen(DTM_SCHEME_SERVER);
	else if (rest != NULL)
		rest += strlen("://");
	return rest != NULL ? rest + strcspn(rest, "/?#") : NULL;
}

/* The text that a scalar is; NULL: it is null, or no scalar. */
static char *
text_of(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out,
													   NumericGetDatum(value->val.numeric)));
		case jbvBool:
			return pstrdup(value->val.boolean ? "true" : "false");
		default:
			return NULL;
	}
}

/* Percent-encoded, but for the characters that have no meaning in a URL. */
static char *
encode(const char *text)
{
	static const char unreserved[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
	StringInfoData encoded;

	initStringInfo(&encoded);
	for (const char *c = utf8_of(text); *c; c++)
		if (strchr(unreserved, *c) != NULL)
			appendStringInfoChar(&encoded, *c);
		else
			appendStringInfo(&encoded, "%%%02X", (unsigned char) *c);
	return encoded.data;
}

static char *
next_key(const char **rest)
{
	const char *start = *rest + strlen(REFERENCE_START);
	StringInfoData key;

	initStringInfo(&key);
	*rest = start;
	if (*start++ != '.')
		return NULL;
	/* in JSON, quotes are escaped */
	for (const char *c = start; *c != '\0' && strchr(".[}", *c) == NULL; c++)
		if (*c != '"' && *c != '\\')
			appendStringInfoChar(&key, *c);
	return key.data;
}

const char *
replace_find_key(const char *rest, bool (*is_step) (const void *arg, const char *key), const void *arg)
{
	while ((rest = strstr(rest, REFERENCE_START)) != NULL)
	{
		char	   *key = next_key(&rest);

		if (key != NULL && is_step(arg, key))
			return key;
	}
	return NULL;
}

/* What keeps a text out of a URL; NULL: nothing. */
static const char *
url_problem(const char *text, char **encoded)
{
	*encoded = encode(text);
	return text[0] == '\0' ? "it is empty" : uri_path_problem(*encoded);
}

/* The same of a header. */
static const char *
header_problem(const char *text, char **encoded)
{
	*encoded = unconstify(char *, text);
	if (strlen(text) > MAX_HEADER_BYTES)
		return "it is too long";
	for (const char *c = text; *c; c++)
		if ((unsigned char) *c < 0x20 || *c == 0x7f)
			return "it contains a control character";
	return NULL;
}

/* A URL or header, from its first reference on. */
static const char *
replace_in_text(const char *text, bool in_header,
				const char *(*problem_of) (const char *text, char **encoded),
				const References *references)
{
	StringInfoData replaced;
	int			n = 0;

	initStringInfo(&replaced);
	for (const char *start; (start = strstr(text, REFERENCE_START)) != NULL;)
	{
		const char *end = end_of(start);
		char	   *path = pnstrdup(start + 1, end - start - 1);
		JsonbValue	value;
		char	   *plain;
		char	   *encoded = NULL;
		const char *problem = "it is not a text, a number or a boolean";

		count_reference(&n);
		references->value(references->arg, path, &value);
		plain = text_of(&value);
		if (plain != NULL)
			problem = problem_of(plain, &encoded);
		if (problem != NULL && !references->lenient)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 in_header ?
					 errmsg("result at \"%s\" cannot be part of a header: %s", path, problem) :
					 errmsg("result at \"%s\" cannot be part of a URL: %s", path, problem),
					 errhint("Refer to a text, a number or a boolean, or pass the value in the payload.")));
		appendBinaryStringInfo(&replaced, text, (int) (start - text));
		appendStringInfoString(&replaced, problem != NULL ? "null" : encoded);
		text = end + 1;
	}
	appendStringInfoString(&replaced, text);
	return replaced.data;
}

const char *
replace_in_url(const char *url, const References *references)
{
	const char *first = strstr(url, REFERENCE_START);
	const char *start = path_of(url);

	if (first == NULL)
		return url;
	if (start == NULL || first < start || first > url + strcspn(url, "#"))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("reference to a result stands outside of path and query in URL \"%s\"", url),
				 errhint("Only the path and the query of an http or https URL, or of one of a foreign server, can have references.")));
	return replace_in_text(url, false, url_problem, references);
}

const char *
replace_in_header(const char *value, const References *references)
{
	return strstr(value, REFERENCE_START) == NULL ? value :
		replace_in_text(value, true, header_problem, references);
}

/* ---------- payloads ---------- */

bool
result_is_in_payload(const bytea *payload)
{
	static const char quoted[] = "\"" REFERENCE_KEY "\"";

	return payload != NULL &&
		memmem(VARDATA_ANY(payload), VARSIZE_ANY_EXHDR(payload), quoted, strlen(quoted)) != NULL;
}

static void
append_string(StringInfo json, const JsonbValue *string)
{
	escape_json(json, pnstrdup(string->val.string.val, string->val.string.len));
}

static void
append_value(StringInfo json, JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			appendStringInfoString(json, "null");
			break;
		case jbvString:
			append_string(json, value);
			break;
		case jbvBinary:
			(void) JsonbToCString(json, value->val.binary.data, value->val.binary.len);
			break;
		default:
			appendStringInfoString(json, text_of(value));
	}
	if (json->len > dtm_max_request_size * 1024)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("payload is larger than dtm.max_request_size with the results in it"),
				 errhint("Refer to a smaller part of a result, or increase dtm.max_request_size.")));
}

/* A key "$result" of an object that is no reference. */
static void
check_key(const JsonbValue *key, const References *references)
{
	if (references->strict && key->val.string.len == strlen(REFERENCE_KEY) &&
		memcmp(key->val.string.val, REFERENCE_KEY, strlen(REFERENCE_KEY)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("object with key \"%s\" in a payload is not a reference to a result", REFERENCE_KEY),
				 errhint("A reference has no other key, and its value is a path, as in {\"%s\": \"$.charge.id\"}.", REFERENCE_KEY)));
}

/*
 * If an object that has just begun is a reference, reads it to its end and appends
 * its value.  Else "key" is its first token.
 */
static bool
take_reference(StringInfo json, JsonbIterator **it, JsonbValue *key,
			   const References *references, int *n)
{
	JsonbValue	value;
	JsonbIterator *ahead;
	JsonbValue	path;

	(void) JsonbIteratorNext(it, key, true);
	if (key->val.string.len != strlen(REFERENCE_KEY) ||
		memcmp(key->val.string.val, REFERENCE_KEY, strlen(REFERENCE_KEY)) != 0)
		return false;
	ahead = palloc(sizeof(JsonbIterator));
	*ahead = **it;
	(void) JsonbIteratorNext(&ahead, &path, true);
	if (path.type != jbvString)
		return false;
	(void) JsonbIteratorNext(it, &path, true);	/* the value */
	(void) JsonbIteratorNext(it, &value, true); /* the object's end */
	count_reference(n);
	references->value(references->arg, pnstrdup(path.val.string.val, path.val.string.len), &value);
	append_value(json, &value);
	return true;
}

/* A comma where one belongs between two values. */
static void
separate(StringInfo json)
{
	if (json->len > 0 && strchr("[{:,", json->data[json->len - 1]) == NULL)
		appendStringInfoChar(json, ',');
}

static char *
replace_in_jsonb(Jsonb *jsonb, const References *references)
{
	JsonbIterator *it = JsonbIteratorInit(&jsonb->root);
	JsonbIteratorToken token;
	JsonbValue	value;
	StringInfoData json;
	int			n = 0;

	initStringInfo(&json);
	while ((token = JsonbIteratorNext(&it, &value, false)) != WJB_DONE)
	{
		JsonbValue	key;
		bool		one;

		switch (token)
		{
			case WJB_BEGIN_ARRAY:
				separate(&json);
				appendStringInfoChar(&json, '[');
				break;
			case WJB_BEGIN_OBJECT:
				separate(&json);
				one = value.val.object.nPairs == 1;
				if (one && take_reference(&json, &it, &key, references, &n))
					break;
				appendStringInfoChar(&json, '{');
				if (one)
				{
					check_key(&key, references);
					append_string(&json, &key);
					appendStringInfoChar(&json, ':');
				}
				break;
			case WJB_KEY:
				check_key(&value, references);
				separate(&json);
				append_string(&json, &value);
				appendStringInfoChar(&json, ':');
				break;
			case WJB_END_ARRAY:
				appendStringInfoChar(&json, ']');
				break;
			case WJB_END_OBJECT:
				appendStringInfoChar(&json, '}');
				break;
			default:
				separate(&json);
				append_value(&json, &value);
		}
	}
	return json.data;
}

const bytea *
replace_in_payload(const bytea *payload, const References *references)
{
	char	   *text;
	Jsonb	   *jsonb;

	if (!result_is_in_payload(payload))
		return payload;
	text = utf8_to_server(VARDATA_ANY(payload), VARSIZE_ANY_EXHDR(payload));

	jsonb = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
	if (JB_ROOT_IS_SCALAR(jsonb))
		return payload;
	return transaction_body(replace_in_jsonb(jsonb, references));
}
