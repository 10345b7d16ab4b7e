/*
 * reference.c
 *		References to results in a request, before it is stored.
 */
#include "private.h"

/* A place that may have references. */
typedef struct Place
{
	const Transaction *trans;
	int			step;
	bool		own;			/* the step's own result may be meant */
	const char *what;			/* for errors */
	bool	   *before;			/* the steps that have succeeded by then;
								 * NULL: not worked out yet */
} Place;

/* Marks the steps of a concurrent saga that come before another. */
static void
mark_before(const DtmTrans *core, int step, bool *before)
{
	const DtmOrders *orders = &core->orders;
	int		   *found = palloc(sizeof(int) * (core->nsteps + 1));
	int			nfound = 0;

	/* each step is found once, so there is room for all */
	for (;;)
	{
		for (int i = orders->start[step]; i < orders->start[step + 1]; i++)
			if (!before[orders->pre[i]])
			{
				before[orders->pre[i]] = true;
				found[nfound++] = orders->pre[i];
			}
		if (nfound == 0)
			break;
		step = found[--nfound];
	}
	pfree(found);
}

static bool *
steps_before(const DtmTrans *core, int step)
{
	bool	   *before = palloc0(sizeof(bool) * (core->nsteps + 1));

	if (!core->concurrent)
		memset(before, true, sizeof(bool) * step);
	else if (core->orders.start != NULL)
		mark_before(core, step, before);
	return before;
}

/* Is it a step that has a result by then? */
static void
check_step(Place *place, const char *path, const char *name)
{
	const Transaction *trans = place->trans;
	int			step = transaction_find_step(trans, name);

	if (step < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" refers to the result of unknown step \"%s\"", place->what, name),
				 errdetail("The path is \"%s\".", path),
				 errhint("A path begins with the name of a step, or with its branch id, as in $.\"01\".")));
	if (strncmp(trans->action[step], DTM_SCHEME_TOPIC, strlen(DTM_SCHEME_TOPIC)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" refers to the result of step \"%s\", which is a topic", place->what, name),
				 errhint("A topic has a result for each of its URLs. Refer to a step that has a URL of its own.")));
	if (step == place->step && place->own)
		return;
	if (place->before == NULL)
		place->before = steps_before(&trans->core, place->step);
	if (!place->before[step])
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" refers to the result of step \"%s\", which does not come before it",
						place->what, name),
				 !trans->core.concurrent ?
				 errhint("Refer to steps that stand before it.") :
				 trans->core.type == DTM_SAGA ?
				 errhint("Let the step wait for that one by option orders.") :
				 errhint("Omit option concurrent, with which the steps of a msg wait for nothing.")));
}

static void
check_reference(void *arg, const char *text, JsonbValue *value)
{
	ResultPath	path;

	path_read(text, &path);
	check_step(arg, text, path.step);
	value->type = jbvBool;
	value->val.boolean = true;
}

static bool
is_step(const void *trans, const char *key)
{
	return transaction_find_step(trans, key) >= 0;
}

/* What is written as in a URL, and names a step, was not meant to be sent as it is. */
static void
check_body(const Place *place, const bytea *payload)
{
	const char *key;

	if (payload == NULL)
		return;
	key = replace_find_key(pnstrdup(VARDATA_ANY(payload), VARSIZE_ANY_EXHDR(payload)), is_step, place->trans);
	if (key != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" contains \"{$.%s\", which is not replaced there", place->what, key),
				 errhint("In a payload, which must be JSON, refer to a result by an object such as {\"$result\": \"$.charge.id\"}.")));
}

static void
say_place(void *arg)
{
	errcontext("reference to a result in \"%s\"", ((Place *) arg)->what);
}

void
result_check_references(const Transaction *trans, int step)
{
	const StepOptions *options = transaction_step(trans, step);
	Place		place = {.trans = trans, .step = step};
	References	references = {check_reference, &place, .strict = true};
	ErrorContextCallback callback = {.callback = say_place, .arg = &place};

	callback.previous = error_context_stack;
	error_context_stack = &callback;
	place.what = psprintf("action of step %d", step + 1);
	(void) replace_in_url(trans->action[step], &references);
	place.own = true;
	if (trans->compensate != NULL)
	{
		place.what = psprintf("compensation of step %d", step + 1);
		(void) replace_in_url(trans->compensate[step], &references);
	}
	place.what = psprintf("header of step %d", step + 1);
	for (int i = 0; options != NULL && i < options->nheaders; i++)
		(void) replace_in_header(options->header_value[i], &references);
	place.what = psprintf("payload of step %d", step + 1);
	(void) replace_in_payload(trans->payload[step], &references);
	check_body(&place, trans->payload[step]);
	error_context_stack = callback.previous;
}

static void
note(void *arg, const char *path, JsonbValue *value)
{
	value->type = jbvNull;
	if (path[0] == '$')
		*(volatile bool *) arg = true;
}

bool
result_has_reference(const bytea *payload)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool found = false;
	References	references = {note, unvolatize(bool *, &found)};

	if (!result_is_in_payload(payload))
		return false;
	PG_TRY();
	{
		(void) replace_in_payload(payload, &references);
	}
	PG_CATCH();
	{
		/* what is no JSON has none */
		MemoryContextSwitchTo(context);
		if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();
	return found;
}

static void
mask(void *arg, const char *path, JsonbValue *value)
{
	value->type = jbvString;
	value->val.string.val = "0";
	value->val.string.len = 1;
}

const char *
result_mask_url(const char *url)
{
	References	references = {mask, NULL};

	return replace_in_url(url, &references);
}
