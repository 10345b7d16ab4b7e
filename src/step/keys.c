/*
 * keys.c
 *		The keys of a step's options: where each may stand, to which branches it
 *		applies, and how its value is read.
 */
#include "keys.h"

#include "compat.h"

#include "text/header.h"
#include "text/utf8.h"

#include <math.h>

#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/numeric.h"

/* Bounds; of the times, those of a transaction's options. */
#define MAX_NAME_CHARS		63
#define MAX_METHOD			16
#define MAX_HEADERS			100
#define MAX_TIMEOUT			(24 * 3600.0)
#define MAX_SECONDS			(366.0 * 24 * 3600 * 100)

/* A branch of a tcc or xa is not completed by dtm_complete(), and has an id for a name. */
#define STEP_NAME		STEP_IN_STEP
#define STEP_LATER		(STEP_IN_STEP | STEP_IN_EDIT)
#define STEP_ALONE		(STEP_LATER | STEP_IN_BRANCH)
#define STEP_BOTH		(STEP_ALONE | STEP_IN_SERVER)

#define KINDS_HTTP		STEP_FOR_HTTP
#define KINDS_REPLY		(STEP_FOR_HTTP | STEP_FOR_JSONRPC)
#define KINDS_REMOTE	(KINDS_REPLY | STEP_FOR_GRPC)
#define KINDS_ALL		(KINDS_REMOTE | STEP_FOR_LOCAL)

#define FIELD_OF(options, key, type) \
	((type *) ((char *) (options) + (key)->field))

/* ---------- values ---------- */

static char *
string_of(const JsonbValue *value)
{
	return value->type == jbvString ?
		pnstrdup(value->val.string.val, value->val.string.len) : NULL;
}

/* A number, also as the text that a server has; false if it is none. */
static bool
number_of(const JsonbValue *value, double *number)
{
	char	   *string = string_of(value);
	char	   *end;

	if (value->type == jbvNumeric)
		*number = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
													 NumericGetDatum(value->val.numeric)));
	else if (string != NULL && string[0] >= '0' && string[0] <= '9')
	{
		*number = strtod(string, &end);
		return *end == '\0' && isfinite(*number);
	}
	else
		return false;
	return isfinite(*number);
}

static bool
read_flag(StepOptions *options, const StepKey *key, const JsonbValue *value,
		  StepPlace place, StepProblem *problem)
{
	char	   *string = string_of(value);
	bool		flag;

	if (value->type == jbvBool)
		flag = value->val.boolean;
	else if (string == NULL || !parse_bool(string, &flag))
		return false;
	*FIELD_OF(options, key, StepFlag) = flag ? STEP_FLAG_ON : STEP_FLAG_OFF;
	return true;
}

static bool
read_name(StepOptions *options, const StepKey *key, const JsonbValue *value,
		  StepPlace place, StepProblem *problem)
{
	char	   *string = string_of(value);

	if (string == NULL || !(string[0] == '_' || IS_HIGHBIT_SET(string[0]) ||
							(pg_ascii_tolower((unsigned char) string[0]) >= 'a' &&
							 pg_ascii_tolower((unsigned char) string[0]) <= 'z')))
		return false;
	for (const char *c = string; *c; c++)
		if (!(*c == '_' || *c == '-' || IS_HIGHBIT_SET(*c) ||
			  (*c >= '0' && *c <= '9') ||
			  (pg_ascii_tolower((unsigned char) *c) >= 'a' &&
			   pg_ascii_tolower((unsigned char) *c) <= 'z')))
			return false;
	if (pg_mbstrlen(string) > MAX_NAME_CHARS || !utf8_has(string))
		return false;
	*FIELD_OF(options, key, const char *) = string;
	return true;
}

/* A token in upper case; CONNECT and TRACE are not for a service (RFC 9110). */
static bool
read_method(StepOptions *options, const StepKey *key, const JsonbValue *value,
			StepPlace place, StepProblem *problem)
{
	char	   *string = string_of(value);

	if (string == NULL || string[0] == '\0' || strlen(string) > MAX_METHOD)
		return false;
	for (char *c = string; *c; c++)
	{
		*c = (char) pg_ascii_toupper((unsigned char) *c);
		if (*c < 'A' || *c > 'Z')
			return false;
	}
	if (strcmp(string, "CONNECT") == 0 || strcmp(string, "TRACE") == 0)
		return false;
	*FIELD_OF(options, key, const char *) = string;
	return true;
}

static bool
read_content_type(StepOptions *options, const StepKey *key, const JsonbValue *value,
				  StepPlace place, StepProblem *problem)
{
	char	   *string = string_of(value);

	if (string == NULL || strchr(string, '/') == NULL ||
		header_problem("Content-Type", string) != NULL)
		return false;
	*FIELD_OF(options, key, const char *) = string;
	return true;
}

static bool
bad_header(StepProblem *problem, const char *name, const char *message)
{
	problem->message = psprintf("header \"%s\" in \"headers\": %s", name, message);
	return false;
}

static bool
read_headers(StepOptions *options, const StepKey *key, const JsonbValue *value,
			 StepPlace place, StepProblem *problem)
{
	JsonbIterator *it;
	JsonbValue	v;
	int			n;

	if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		return false;
	n = (int) JsonContainerSize(value->val.binary.data);
	if (n > MAX_HEADERS)
	{
		problem->message = psprintf("\"headers\" has more than %d headers", MAX_HEADERS);
		return false;
	}
	options->header_name = palloc(sizeof(char *) * (n + 1));
	options->header_value = palloc(sizeof(char *) * (n + 1));
	it = JsonbIteratorInit(value->val.binary.data);
	JsonbIteratorNext(&it, &v, true);	/* the object's beginning */
	while (JsonbIteratorNext(&it, &v, true) == WJB_KEY)
	{
		const char *name = pnstrdup(v.val.string.val, v.val.string.len);
		const char *content;
		const char *message;

		JsonbIteratorNext(&it, &v, true);
		if (v.type == jbvNull)
			continue;
		content = string_of(&v);
		if (content == NULL)
			return bad_header(problem, name, "its value is not a JSON string");
		message = header_problem(name, content);
		if (message != NULL)
			return bad_header(problem, name, message);
		if (header_is_framing(name) || header_is_own(name))
			return bad_header(problem, name, "dtm sets the headers that frame or identify a request");
		options->header_name[options->nheaders] = name;
		options->header_value[options->nheaders++] = content;
	}
	return true;
}

static bool
read_statuses(StepOptions *options, const StepKey *key, const JsonbValue *value,
			  StepPlace place, StepProblem *problem)
{
	char	   *string = string_of(value);
	double		number;
	DtmStatusSet *set = palloc(sizeof(DtmStatusSet));

	if (string == NULL)
	{
		if (!number_of(value, &number) || number != floor(number))
			return false;
		string = psprintf("%.0f", number);
	}
	if (!dtm_status_set_parse(string, strlen(string), set))
		return false;
	*FIELD_OF(options, key, const DtmStatusSet *) = set;
	return true;
}

/* "dtm": as for dtm's own services; "status": words in bodies do not count. */
static bool
read_replies(StepOptions *options, const StepKey *key, const JsonbValue *value,
			 StepPlace place, StepProblem *problem)
{
	char	   *string = string_of(value);

	if (string == NULL)
		return false;
	if (strcmp(string, "dtm") == 0)
		options->words = STEP_FLAG_ON;
	else if (strcmp(string, "status") == 0)
		options->words = STEP_FLAG_OFF;
	else
		return false;
	return true;
}

/*
 * PostgreSQL rounds to a whole number of the unit, and takes hexadecimal digits: who
 * writes 1.5 would get 2 ms, and means seconds.
 */
bool
step_read_ms(const char *text, int *ms)
{
	double		exact;

	return strspn(text, "0123456789.") > 0 && strpbrk(text, "xX") == NULL &&
		parse_real(text, &exact, GUC_UNIT_MS, NULL) && fabs(exact - rint(exact)) < 1e-6 &&
		parse_int(text, ms, GUC_UNIT_MS, NULL);
}

/* Seconds; of a server, milliseconds or with a unit, as a setting has it. */
static bool
read_time(const JsonbValue *value, StepPlace place, double max, double *seconds)
{
	const char *string = string_of(value);
	int			ms;

	if (place == STEP_IN_SERVER)
	{
		if (string == NULL || !step_read_ms(string, &ms))
			return false;
		*seconds = ms / 1000.0;
	}
	else if (value->type != jbvNumeric || !number_of(value, seconds))
		return false;
	return *seconds > 0 && *seconds <= max;
}

static bool
read_timeout(StepOptions *options, const StepKey *key, const JsonbValue *value,
			 StepPlace place, StepProblem *problem)
{
	double		seconds;

	if (!read_time(value, place, MAX_TIMEOUT, &seconds))
		return false;
	*FIELD_OF(options, key, int) = Max((int) rint(seconds * 1000), 1);
	return true;
}

static bool
read_interval(StepOptions *options, const StepKey *key, const JsonbValue *value,
			  StepPlace place, StepProblem *problem)
{
	double		seconds;

	if (!read_time(value, place, MAX_SECONDS, &seconds))
		return false;
	*FIELD_OF(options, key, int64) = Max((int64) rint(seconds * 1e6), 1);
	return true;
}

static bool
read_attempts(StepOptions *options, const StepKey *key, const JsonbValue *value,
			  StepPlace place, StepProblem *problem)
{
	double		number;

	if (!number_of(value, &number) || number != floor(number) ||
		number < 1 || number > DTM_MAX_ATTEMPTS)
		return false;
	*FIELD_OF(options, key, int) = (int) number;
	return true;
}

static bool
read_exhausted(StepOptions *options, const StepKey *key, const JsonbValue *value,
			   StepPlace place, StepProblem *problem)
{
	char	   *string = string_of(value);

	if (string == NULL)
		return false;
	if (strcmp(string, "abort") == 0)
		options->on_exhausted = DTM_EXHAUSTED_ABORT;
	else if (strcmp(string, "park") == 0)
		options->on_exhausted = DTM_EXHAUSTED_PARK;
	else if (strcmp(string, "discard") == 0)
		options->on_exhausted = DTM_EXHAUSTED_DISCARD;
	else
		return false;
	return true;
}

/* ---------- the table ---------- */

#define FIELD(field)	offsetof(StepOptions, field)
#define STATUSES_HINT	"Specify HTTP statuses, such as 2xx or 400,402,404-410."
#define FLAG_HINT		"Specify true or false."
#define ATTEMPTS_HINT	"Specify a whole number from 1 to " CppAsString2(DTM_MAX_ATTEMPTS) "."

/* In the order of docs/sql-reference.md. */
const StepKey step_keys[] = {
	{"name", STEP_NAME, KINDS_ALL, read_name, FIELD(name),
	"Use up to 63 letters, digits, hyphens and underscores; the first is a letter or an underscore."},
	{"method", STEP_ALONE | STEP_IS_SENT, KINDS_HTTP, read_method, FIELD(method),
	"Specify an HTTP method, such as POST, PUT or DELETE."},
	{"compensate_method", STEP_ALONE | STEP_IS_SENT, KINDS_HTTP, read_method, FIELD(compensate_method),
	"Specify an HTTP method, such as POST, PUT or DELETE."},
	{"headers", STEP_ALONE | STEP_IS_SENT, KINDS_REMOTE, read_headers, 0,
	"Specify a JSON object of header names and values, such as {\"X-Region\": \"eu\"}."},
	{"content_type", STEP_BOTH | STEP_IS_SENT, KINDS_HTTP, read_content_type, FIELD(content_type),
	"Specify a media type, such as application/x-www-form-urlencoded."},
	{"query_parameters", STEP_BOTH | STEP_IS_SENT, KINDS_HTTP, read_flag, FIELD(query_parameters), FLAG_HINT},
	{"replies", STEP_BOTH | STEP_IS_READ, KINDS_REPLY, read_replies, 0,
	"Specify dtm (the words FAILURE and ONGOING in bodies count) or status (they do not)."},
	{"success", STEP_BOTH | STEP_IS_READ, KINDS_REPLY, read_statuses, FIELD(success), STATUSES_HINT},
	{"final", STEP_BOTH | STEP_IS_READ, KINDS_REPLY, read_statuses, FIELD(final), STATUSES_HINT},
	{"ongoing", STEP_BOTH | STEP_IS_READ, KINDS_REPLY, read_statuses, FIELD(ongoing), STATUSES_HINT},
	{"compensate_ok", STEP_BOTH | STEP_IS_READ, KINDS_REPLY, read_statuses, FIELD(compensate_ok), STATUSES_HINT},
	{"retry_after", STEP_BOTH, KINDS_REPLY, read_flag, FIELD(retry_after), FLAG_HINT},
	{"request_timeout", STEP_BOTH, KINDS_ALL, read_timeout, FIELD(request_timeout),
	"Specify a time greater than 0, up to one day: of a step in seconds, of a server in whole milliseconds or with a unit, such as 1.5s."},
	{"retry_interval", STEP_ALONE, KINDS_ALL, read_interval, FIELD(retry_interval),
	"Specify seconds greater than 0."},
	{"max_attempts", STEP_ALONE, KINDS_ALL, read_attempts, FIELD(max_attempts),
	ATTEMPTS_HINT},
	{"compensate_max_attempts", STEP_ALONE, KINDS_ALL, read_attempts, FIELD(compensate_max_attempts),
	ATTEMPTS_HINT},
	{"on_exhausted", STEP_ALONE, KINDS_ALL, read_exhausted, 0,
	"Specify abort, park or discard."},
	{"complete_within", STEP_LATER, KINDS_ALL, read_interval, FIELD(complete_within),
	"Specify seconds greater than 0."},
	{"poll", STEP_LATER, KINDS_ALL, read_flag, FIELD(poll), FLAG_HINT}
};

const int	step_nkeys = lengthof(step_keys);

const StepKey *
step_key_find(const char *name, StepPlace place)
{
	for (size_t i = 0; i < lengthof(step_keys); i++)
		if ((step_keys[i].places & place) != 0 && strcmp(step_keys[i].name, name) == 0)
			return &step_keys[i];
	return NULL;
}
