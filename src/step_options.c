/*
 * step_options.c
 *		Options of a step: the table of keys, and its one parser.
 */
#include "step_options.h"

#include "compat.h"

#include "header.h"
#include "nearest.h"
#include "utf8.h"

#include <math.h>

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/numeric.h"

/* Bounds; of the times, those of a transaction's options. */
#define MAX_NAME_CHARS		63
#define MAX_METHOD			16
#define MAX_HEADERS			100
#define MAX_TIMEOUT			(24 * 3600.0)
#define MAX_SECONDS			(366.0 * 24 * 3600 * 100)

/* One key, and how its value is read. */
typedef struct StepKey StepKey;

/*
 * A reader returns false if the value is none for the key; what it had to be is
 * then the key's hint, unless the reader has set another problem.  "place" says
 * where it stands: in a server, values are strings.
 */
typedef bool (*StepReader) (StepOptions *options, const StepKey *key,
							const JsonbValue *value, StepPlace place,
							StepProblem *problem);

struct StepKey
{
	const char *name;
	int			places;			/* of StepPlace */
	int			kinds;			/* of branches, to which it applies */
	StepReader	read;
	size_t		field;			/* of StepOptions, as offset */
	const char *hint;
};

#define STEP_BOTH	(STEP_IN_STEP | STEP_IN_SERVER)

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

static bool
has_control_character(const char *string)
{
	for (const unsigned char *c = (const unsigned char *) string; *c; c++)
		if (*c < 0x20 || *c == 0x7f)
			return true;
	return false;
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

/* Seconds; of a server, milliseconds or with a unit, as a setting has it. */
static bool
read_time(const JsonbValue *value, StepPlace place, double max, double *seconds)
{
	const char *string = string_of(value);
	int			ms;

	if (place == STEP_IN_SERVER)
	{
		if (string == NULL || !parse_int(string, &ms, GUC_UNIT_MS, NULL))
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
static const StepKey step_keys[] = {
	{"name", STEP_IN_STEP, KINDS_ALL, read_name, FIELD(name),
	"Use up to 63 letters, digits, hyphens and underscores; the first is a letter or an underscore."},
	{"method", STEP_IN_STEP, KINDS_HTTP, read_method, FIELD(method),
	"Specify an HTTP method, such as POST, PUT or DELETE."},
	{"compensate_method", STEP_IN_STEP, KINDS_HTTP, read_method, FIELD(compensate_method),
	"Specify an HTTP method, such as POST, PUT or DELETE."},
	{"headers", STEP_IN_STEP, KINDS_REMOTE, read_headers, 0,
	"Specify a JSON object of header names and values, such as {\"X-Region\": \"eu\"}."},
	{"content_type", STEP_BOTH, KINDS_HTTP, read_content_type, FIELD(content_type),
	"Specify a media type, such as application/x-www-form-urlencoded."},
	{"query_parameters", STEP_BOTH, KINDS_HTTP, read_flag, FIELD(query_parameters), FLAG_HINT},
	{"replies", STEP_BOTH, KINDS_REPLY, read_replies, 0,
	"Specify dtm (the words FAILURE and ONGOING in bodies count) or status (they do not)."},
	{"success", STEP_BOTH, KINDS_REPLY, read_statuses, FIELD(success), STATUSES_HINT},
	{"final", STEP_BOTH, KINDS_REPLY, read_statuses, FIELD(final), STATUSES_HINT},
	{"ongoing", STEP_BOTH, KINDS_REPLY, read_statuses, FIELD(ongoing), STATUSES_HINT},
	{"compensate_ok", STEP_BOTH, KINDS_REPLY, read_statuses, FIELD(compensate_ok), STATUSES_HINT},
	{"retry_after", STEP_BOTH, KINDS_REPLY, read_flag, FIELD(retry_after), FLAG_HINT},
	{"request_timeout", STEP_BOTH, KINDS_ALL, read_timeout, FIELD(request_timeout),
	"Specify a time greater than 0, up to one day: of a step in seconds, of a server in milliseconds or with a unit, such as 5s."},
	{"retry_interval", STEP_IN_STEP, KINDS_ALL, read_interval, FIELD(retry_interval),
	"Specify seconds greater than 0."},
	{"max_attempts", STEP_IN_STEP, KINDS_ALL, read_attempts, FIELD(max_attempts),
	ATTEMPTS_HINT},
	{"compensate_max_attempts", STEP_IN_STEP, KINDS_ALL, read_attempts, FIELD(compensate_max_attempts),
	ATTEMPTS_HINT},
	{"on_exhausted", STEP_IN_STEP, KINDS_ALL, read_exhausted, 0,
	"Specify abort, park or discard."},
	{"complete_within", STEP_IN_STEP, KINDS_ALL, read_interval, FIELD(complete_within),
	"Specify seconds greater than 0."},
	{"poll", STEP_IN_STEP, KINDS_ALL, read_flag, FIELD(poll), FLAG_HINT}
};

static const StepKey *
find_key(const char *name, StepPlace place)
{
	for (size_t i = 0; i < lengthof(step_keys); i++)
		if ((step_keys[i].places & place) != 0 && strcmp(step_keys[i].name, name) == 0)
			return &step_keys[i];
	return NULL;
}

bool
step_options_has(const char *key, StepPlace place)
{
	return find_key(key, place) != NULL;
}

const char *
step_options_misplaced(const StepOptions *options, int kinds)
{
	JsonbIterator *it = JsonbIteratorInit(unconstify(JsonbContainer *, &options->json->root));
	JsonbValue	v;

	JsonbIteratorNext(&it, &v, true);	/* the object's beginning */
	while (kinds != 0 && JsonbIteratorNext(&it, &v, true) == WJB_KEY)
	{
		const StepKey *key = find_key(pnstrdup(v.val.string.val, v.val.string.len),
									  STEP_IN_STEP);

		JsonbIteratorNext(&it, &v, true);
		if (v.type != jbvNull && (key->kinds & kinds) == 0)
			return key->name;
	}
	return NULL;
}

bool
step_content_is_json(const char *content_type)
{
	size_t		len = strcspn(content_type, "; \t");

	return len >= 5 && (content_type[len - 5] == '/' || content_type[len - 5] == '+') &&
		pg_strncasecmp(content_type + len - 4, "json", 4) == 0;
}

const char *
step_options_hint(const char *key, StepPlace place, const char *const *others,
				  int nothers)
{
	const char **known = palloc(sizeof(char *) * (lengthof(step_keys) + nothers));
	const char *nearest;
	StringInfoData all;
	int			n = 0;

	for (int i = 0; i < nothers; i++)
		known[n++] = others[i];
	for (size_t i = 0; i < lengthof(step_keys); i++)
		if ((step_keys[i].places & place) != 0)
			known[n++] = step_keys[i].name;
	nearest = nearest_name(key, known, n);
	if (nearest != NULL)
		return psprintf("Perhaps you meant \"%s\".", nearest);
	initStringInfo(&all);
	for (int i = 0; i < n; i++)
		appendStringInfo(&all, "%s%s", i == 0 ? "Valid keys are " : ", ", known[i]);
	appendStringInfoChar(&all, '.');
	return all.data;
}

/* ---------- reading ---------- */

static bool
read_value(StepOptions *options, const StepKey *key, const JsonbValue *value,
		   StepPlace place, StepProblem *problem)
{
	problem->message = NULL;
	problem->hint = key->hint;
	if (key->read(options, key, value, place, problem))
	{
		Assert(problem->message == NULL);
		return true;
	}
	if (problem->message == NULL)
		problem->message = psprintf(place == STEP_IN_SERVER ? "invalid value for option \"%s\"" :
									"invalid value for \"%s\"", key->name);
	return false;
}

StepOptions *
step_options_read(const Jsonb *object, StepProblem *problem)
{
	StepOptions *options;
	JsonbIterator *it;
	JsonbValue	v;

	problem->message = NULL;
	problem->hint = "Pass a JSON object with the keys of docs/sql-reference.md.";
	if (!JB_ROOT_IS_OBJECT(object))
	{
		problem->message = "options are not a JSON object";
		return NULL;
	}
	if (JB_ROOT_COUNT(object) == 0)
		return NULL;
	options = palloc0(sizeof(StepOptions));
	options->json = object;
	it = JsonbIteratorInit(unconstify(JsonbContainer *, &object->root));
	JsonbIteratorNext(&it, &v, true);	/* the object's beginning */
	while (JsonbIteratorNext(&it, &v, true) == WJB_KEY)
	{
		char	   *name = pnstrdup(v.val.string.val, v.val.string.len);
		const StepKey *key = find_key(name, STEP_IN_STEP);

		JsonbIteratorNext(&it, &v, true);
		if (key == NULL)
		{
			problem->message = psprintf("unknown key \"%s\"", name);
			problem->hint = step_options_hint(name, STEP_IN_STEP, NULL, 0);
			return NULL;
		}
		if (v.type != jbvNull &&
			!read_value(options, key, &v, STEP_IN_STEP, problem))
			return NULL;
	}
	if (options->complete_within > 0 && options->poll == STEP_FLAG_ON)
	{
		problem->message = "\"complete_within\" and \"poll\" exclude each other";
		problem->hint = "With complete_within, the branch is not called again until it is completed or the time is over; with poll, it is called again and again. Remove one of them.";
		return NULL;
	}
	return options;
}

bool
step_options_read_text(StepOptions *options, const char *key, const char *value,
					   StepProblem *problem)
{
	JsonbValue	v = {.type = jbvString};

	if (value[0] == '\0' || has_control_character(value))
	{
		problem->message = psprintf("option \"%s\" is empty or contains a control character", key);
		problem->hint = "Specify a value of one line, or omit the option.";
		return false;
	}
	v.val.string.val = unconstify(char *, value);
	v.val.string.len = (int) strlen(value);
	return read_value(options, find_key(key, STEP_IN_SERVER), &v, STEP_IN_SERVER,
					  problem);
}

/* ---------- what they mean together ---------- */

static StepFlag
flag_of(const StepOptions *step, const StepOptions *server, size_t field)
{
	StepFlag	flag = STEP_FLAG_UNSET;

	if (step != NULL)
		flag = *(const StepFlag *) ((const char *) step + field);
	if (flag == STEP_FLAG_UNSET && server != NULL)
		flag = *(const StepFlag *) ((const char *) server + field);
	return flag;
}

static const DtmStatusSet *
set_of(const StepOptions *step, const StepOptions *server, size_t field)
{
	const DtmStatusSet *set = NULL;

	if (step != NULL)
		set = *(const DtmStatusSet *const *) ((const char *) step + field);
	if (set == NULL && server != NULL)
		set = *(const DtmStatusSet *const *) ((const char *) server + field);
	return set;
}

/* 202, 425: with these, a step whose answer comes later says so, unless it names others. */
static const DtmStatusSet accepted = {{0, UINT64_C(1) << 38, 0, 0, 0, UINT64_C(1) << 5}};

void
step_options_rules(const StepOptions *step, const StepOptions *server,
				   bool undoes, DtmReplyRules *rules)
{
	rules->success = set_of(step, server, FIELD(success));
	rules->final = set_of(step, server, FIELD(final));
	rules->ongoing = set_of(step, server, FIELD(ongoing));
	if (rules->ongoing == NULL && step_options_completes(step))
		rules->ongoing = &accepted;
	rules->compensate_ok = undoes ? set_of(step, server, FIELD(compensate_ok)) : NULL;
	rules->ignore_words = flag_of(step, server, FIELD(words)) == STEP_FLAG_OFF;
	rules->retry_after = flag_of(step, server, FIELD(retry_after)) == STEP_FLAG_ON;
}

const char *
step_options_content_type(const StepOptions *step, const StepOptions *server)
{
	if (step != NULL && step->content_type != NULL)
		return step->content_type;
	return server != NULL ? server->content_type : NULL;
}

bool
step_options_query_parameters(const StepOptions *step, const StepOptions *server)
{
	return flag_of(step, server, FIELD(query_parameters)) != STEP_FLAG_OFF;
}

DtmStepPolicy *
step_options_policy(StepOptions *const *step, int nsteps)
{
	DtmStepPolicy *policy = NULL;

	for (int i = 0; step != NULL && i < nsteps; i++)
	{
		const StepOptions *options = step[i];

		if (options == NULL ||
			(options->retry_interval == 0 && options->max_attempts == 0 &&
			 options->compensate_max_attempts == 0 &&
			 options->on_exhausted == DTM_EXHAUSTED_UNSET && !step_options_completes(options)))
			continue;
		if (policy == NULL)
			policy = palloc0(sizeof(DtmStepPolicy) * nsteps);
		policy[i].retry_interval = options->retry_interval;
		policy[i].max_attempts = options->max_attempts;
		policy[i].max_undo_attempts = options->compensate_max_attempts;
		policy[i].on_exhausted = options->on_exhausted;
		policy[i].completes = step_options_completes(options);
		policy[i].complete_within = options->complete_within;
	}
	return policy;
}
