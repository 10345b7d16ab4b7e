/*
 * payload.c
 *		Payloads that are given as text: JSON to the letter.
 */
#include "private.h"

#include "utils/json.h"

static bool
is_json(const char *utf8)
{
	JsonSemAction nothing = {NULL};

	return pg_parse_json(dtm_json_lex_context(unconstify(char *, utf8), strlen(utf8)),
						 &nothing) == JSON_SUCCESS;
}

bytea *
request_text_payload(const char *text, const Jsonb *object)
{
	StepProblem problem;
	const StepOptions *options = object != NULL ? step_options_read(object, STEP_IN_STEP, &problem) : NULL;

	/* of invalid options, the submit reports what is wrong */
	if ((options == NULL || options->content_type == NULL ||
		 step_content_is_json(options->content_type)) &&
		!is_json(utf8_of(text)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("payload of a step is not valid JSON"),
				 errhint("Pass JSON, or say in option content_type what the text is.")));
	return transaction_body(text);
}

/* ---------- in the text of an array of steps ---------- */

typedef struct PayloadState
{
	JsonLexContext *lex;
	int			depth;			/* of objects and arrays */
	int			step;			/* that the array is at, from 0 */
	const char *begin;			/* of the payload that is being read; NULL:
								 * none */
	int			nsteps;
	bytea	  **payload;
} PayloadState;

static DTM_JSON_ACTION
on_begin(void *arg)
{
	((PayloadState *) arg)->depth++;
	DTM_JSON_ACTION_RETURN;
}

static DTM_JSON_ACTION
on_end(void *arg)
{
	((PayloadState *) arg)->depth--;
	DTM_JSON_ACTION_RETURN;
}

static DTM_JSON_ACTION
on_element(void *arg, bool isnull)
{
	PayloadState *state = arg;

	if (state->depth == 1)
		state->step++;
	DTM_JSON_ACTION_RETURN;
}

static bool
is_payload(const PayloadState *state, const char *name)
{
	return state->depth == 2 && state->step < state->nsteps && strcmp(name, "payload") == 0;
}

static DTM_JSON_ACTION
on_field(void *arg, char *name, bool isnull)
{
	PayloadState *state = arg;

	if (is_payload(state, name))
		state->begin = isnull ? NULL : state->lex->token_start;
	DTM_JSON_ACTION_RETURN;
}

/* Of a name that comes twice the last one counts, as in jsonb. */
static DTM_JSON_ACTION
on_field_end(void *arg, char *name, bool isnull)
{
	PayloadState *state = arg;
	size_t		len;
	bytea	   *payload;

	if (!is_payload(state, name) || state->begin == NULL)
		DTM_JSON_ACTION_RETURN;
	len = (size_t) (state->lex->prev_token_terminator - state->begin);
	payload = palloc(VARHDRSZ + len);
	SET_VARSIZE(payload, VARHDRSZ + len);
	memcpy(VARDATA(payload), state->begin, len);
	state->payload[state->step] = payload;
	state->begin = NULL;
	DTM_JSON_ACTION_RETURN;
}

bytea **
request_payloads_of_text(const char *text, int nsteps)
{
	const char *utf8 = utf8_of(text);
	PayloadState state = {
		.lex = dtm_json_lex_context(unconstify(char *, utf8), strlen(utf8)),
		.step = -1,
		.nsteps = nsteps,
		.payload = palloc0(sizeof(bytea *) * (nsteps + 1))
	};
	JsonSemAction actions = {
		.semstate = &state,
		.object_start = on_begin,
		.object_end = on_end,
		.array_start = on_begin,
		.array_end = on_end,
		.array_element_start = on_element,
		.object_field_start = on_field,
		.object_field_end = on_field_end
	};

	/* it has been read before, as jsonb */
	(void) pg_parse_json(state.lex, &actions);
	return state.payload;
}
