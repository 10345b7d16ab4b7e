/*
 * options.h
 *		Options of a step: what its request looks like, what its responses mean,
 *		and how it is retried.
 *
 * A step has them as a JSON object; a foreign server has those that may stand
 * there as options of its own, which are strings.  Both go through one table of
 * keys.  What a step says goes before what its server says, and that before the
 * defaults.
 *
 * A new key is a line in that table (keys.c), a field here, and a line
 * in docs/sql-reference.md.
 */
#ifndef DTM_STEP_OPTIONS_H
#define DTM_STEP_OPTIONS_H

#include "postgres.h"

#include "utils/jsonb.h"

#include "core/core.h"

/* A flag that need not be given. */
typedef enum StepFlag
{
	STEP_FLAG_UNSET,
	STEP_FLAG_OFF,
	STEP_FLAG_ON
} StepFlag;

/* Where a key may stand. */
typedef enum StepPlace
{
	STEP_IN_STEP = 1,
	STEP_IN_SERVER = 2,
	STEP_IN_EDIT = 4,			/* a change of a step */
	STEP_IN_BRANCH = 8			/* a registered branch */
} StepPlace;

/* NULL, 0 or UNSET where it was not given. */
typedef struct StepOptions
{
	const Jsonb *json;			/* the object as it was given; NULL: of a
								 * server */
	/* the request */
	const char *name;			/* unique among the steps */
	const char *method;			/* of the action */
	const char *compensate_method;
	int			nheaders;
	const char **header_name;
	const char **header_value;
	const char *content_type;
	StepFlag	query_parameters;	/* dtm's four in the URL */
	/* the meaning of its response */
	StepFlag	words;			/* FAILURE and ONGOING in bodies count */
	const DtmStatusSet *success;
	const DtmStatusSet *final;
	const DtmStatusSet *ongoing;
	const DtmStatusSet *compensate_ok;
	StepFlag	retry_after;
	/* how it is retried */
	int			request_timeout;	/* ms */
	int64		retry_interval; /* us */
	int			max_attempts;	/* of the action */
	int			compensate_max_attempts;
	DtmExhausted on_exhausted;
	/* answers that come later */
	int64		complete_within;	/* us */
	StepFlag	poll;			/* after ONGOING, it is called again */
} StepOptions;

/* May its answer come later? */
static inline bool
step_options_completes(const StepOptions *step)
{
	return step != NULL && (step->complete_within > 0 || step->poll == STEP_FLAG_ON);
}

/* Why an option is invalid. */
typedef struct StepProblem
{
	const char *message;		/* a fragment; NULL: nothing is wrong */
	const char *hint;			/* a sentence */
} StepProblem;

/*
 * Reads the options of a step, or of a branch, in the current memory context;
 * throws nothing but for want of memory.  NULL: there are none, or one is invalid, and
 * problem->message says so.
 */
extern StepOptions *step_options_read(const Jsonb *object, StepPlace place,
									  StepProblem *problem);

/*
 * Reads one option of a server; false, with the problem, if it is invalid.  The
 * key is one that step_options_has().
 */
extern bool step_options_read_text(StepOptions *options, const char *key,
								   const char *value, StepProblem *problem);

/*
 * Reads a time of a server's option: milliseconds, or with a unit.  False: it is
 * none, or not a whole number of milliseconds.
 */
extern bool step_read_ms(const char *text, int *ms);

/* Kinds of branches. */
enum
{
	STEP_FOR_HTTP = 1,
	STEP_FOR_JSONRPC = 2,
	STEP_FOR_GRPC = 4,
	STEP_FOR_LOCAL = 8
};

/*
 * The first key of a step's options that applies to none of the kinds of its
 * branches; NULL: there is none, or kinds is 0.
 */
extern const char *step_options_misplaced(const StepOptions *options, int kinds);

/* Is it a media type of JSON? */
extern bool step_content_is_json(const char *content_type);

extern bool step_options_has(const char *key, StepPlace place);

/* The key of a place that somebody may have meant; NULL: none. */
extern const char *step_options_nearest(const char *key, StepPlace place);

/* What a key is part of. */
typedef enum StepPart
{
	STEP_OF_RETRIES,			/* when and how often it is called */
	STEP_OF_RESPONSE,			/* what a response means */
	STEP_OF_REQUEST				/* what is sent, with the rights of who
								 * submitted */
} StepPart;

extern StepPart step_options_part(const char *key);

/*
 * A hint for an unknown key: the nearest of the keys of a place and "others",
 * or else all of them.
 */
extern const char *step_options_hint(const char *key, StepPlace place,
									 const char *const *others, int nothers);

/*
 * What a step's options and its server's say together; either may be NULL.
 * compensate_ok is for what undoes.
 */
extern void step_options_rules(const StepOptions *step, const StepOptions *server,
							   bool undoes, DtmReplyRules *rules);
extern const char *step_options_content_type(const StepOptions *step,
											 const StepOptions *server);
extern bool step_options_query_parameters(const StepOptions *step,
										  const StepOptions *server);

/*
 * The policies of steps, for core; NULL if no step has one.  "step" has an
 * element for each of nsteps, or is NULL.
 */
extern DtmStepPolicy *step_options_policy(StepOptions *const *step, int nsteps);

#endif							/* DTM_STEP_OPTIONS_H */
