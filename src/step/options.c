/*
 * options.c
 *		Options of a step: their one parser, and what they mean together.
 */
#include "options.h"

#include "compat.h"

#include "keys.h"
#include "text/header.h"
#include "text/nearest.h"

#include "lib/stringinfo.h"

bool
step_options_has(const char *key, StepPlace place)
{
	return step_key_find(key, place) != NULL;
}

StepPart
step_options_part(const char *key)
{
	const StepKey *found = step_key_find(key, STEP_IN_STEP);

	if (found != NULL && (found->places & STEP_IS_SENT) != 0)
		return STEP_OF_REQUEST;
	return found != NULL && (found->places & STEP_IS_READ) != 0 ? STEP_OF_RESPONSE : STEP_OF_RETRIES;
}

const char *
step_options_misplaced(const StepOptions *options, int kinds)
{
	JsonbIterator *it = JsonbIteratorInit(unconstify(JsonbContainer *, &options->json->root));
	JsonbValue	v;

	JsonbIteratorNext(&it, &v, true);	/* the object's beginning */
	while (kinds != 0 && JsonbIteratorNext(&it, &v, true) == WJB_KEY)
	{
		const StepKey *key = step_key_find(pnstrdup(v.val.string.val, v.val.string.len),
										   STEP_IN_STEP);

		JsonbIteratorNext(&it, &v, true);
		if (v.type != jbvNull && (key->kinds & kinds) == 0)
			return key->name;
	}
	return NULL;
}

/* The keys of a place, into an array with room for them and more. */
static int
list_keys(StepPlace place, const char **known, int n)
{
	for (int i = 0; i < step_nkeys; i++)
		if ((step_keys[i].places & place) != 0)
			known[n++] = step_keys[i].name;
	return n;
}

const char *
step_options_nearest(const char *key, StepPlace place)
{
	const char **known = palloc(sizeof(char *) * step_nkeys);

	return nearest_name(key, known, list_keys(place, known, 0));
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
	const char **known = palloc(sizeof(char *) * (step_nkeys + nothers));
	const char *nearest;
	StringInfoData all;
	int			n = 0;

	for (int i = 0; i < nothers; i++)
		known[n++] = others[i];
	n = list_keys(place, known, n);
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
step_options_read(const Jsonb *object, StepPlace place, StepProblem *problem)
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
		const StepKey *key = step_key_find(name, place);

		JsonbIteratorNext(&it, &v, true);
		if (key == NULL)
		{
			problem->message = psprintf("unknown key \"%s\"", name);
			problem->hint = step_options_hint(name, place, NULL, 0);
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
	return read_value(options, step_key_find(key, STEP_IN_SERVER), &v, STEP_IN_SERVER,
					  problem);
}

/* ---------- what they mean together ---------- */

#define FIELD(field)	offsetof(StepOptions, field)

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
