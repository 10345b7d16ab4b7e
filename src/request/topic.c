/*
 * topic.c
 *		Steps of a msg whose URL is a topic (TP-05).
 */
#include "private.h"

#include "result/result.h"

#include "store/store.h"

#include "miscadmin.h"

/* Room for n more steps, and for the topics and ids that only they have. */
static void
make_room(Transaction *trans, int n)
{
	Size		size = sizeof(char *) * (trans->core.nsteps + n + 1);
	bool		first = trans->topic == NULL;

	trans->action = first ? palloc(size) : repalloc(trans->action, size);
	trans->topic = first ? palloc(size) : repalloc(trans->topic, size);
	trans->branch_id = first ? palloc(size) : repalloc(trans->branch_id, size);
	trans->payload = first ? palloc(size) : repalloc(trans->payload, size);
	if (trans->step != NULL)
		trans->step = first ? palloc(size) : repalloc(trans->step, size);
}

bool
request_has_topics(const Request *request)
{
	const Transaction *trans = &request->trans;

	for (int i = 0; trans->core.type == DTM_MSG && i < trans->core.nsteps; i++)
		if (is_topic(trans->action[i]))
			return true;
	return false;
}

const char *
request_expand_topics(Request *request)
{
	Transaction *trans = &request->trans;
	Transaction given = *trans;

	if (!request_has_topics(request))
		return NULL;
	trans->core.nsteps = 0;
	for (int i = 0; i < given.core.nsteps; i++)
	{
		bool		topic = is_topic(given.action[i]);
		const char *name = given.action[i] + strlen(DTM_SCHEME_TOPIC);
		const char *what = topic ? psprintf("topic %s", name) : NULL;
		char	  **urls = topic ? NULL : &given.action[i];
		int			nurls = 1;
		char		id[DTM_BRANCH_ID_SIZE];

		if (topic)
			urls = store_topic(name, &nurls);
		if (nurls <= 0)
		{
			*trans = given;
			return name;
		}
		request_check_step_count(trans->core.nsteps + nurls);
		make_room(trans, nurls);
		dtm_step_branch_id(i, id);
		for (int j = 0; j < nurls; j++)
		{
			int			n = trans->core.nsteps++;

			if (topic)
			{
				request_check_url(trans->protocol, urls[j], what,
								  REQUEST_URL_REMOTE, GetUserId());
				request_check_payload(trans->protocol, urls[j], what,
									  given.payload[i]);
			}
			trans->action[n] = urls[j];
			trans->topic[n] = topic ? given.action[i] : "";
			trans->branch_id[n] = nurls == 1 ? pstrdup(id) :
				psprintf("%s-%02d", id, j + 1);
			trans->payload[n] = given.payload[i];
			if (trans->step != NULL)
				trans->step[n] = given.step[i];
		}
	}
	trans->core.nops = dtm_core_ops_of(trans->core.type, trans->core.nsteps);
	trans->core.ops = palloc0(sizeof(DtmBranchOp) * (trans->core.nops + 1));
	dtm_core_lay_out(&trans->core);
	transaction_set_policy(trans);
	request_check_size(trans);
	return NULL;
}

/* The branch that the next step begins with: those of a topic are one step. */
static int
next_step(const Transaction *trans, int i)
{
	int			next = i + 1;
	size_t		len;

	if (trans->topic == NULL || trans->topic[i][0] == '\0')
		return next;
	len = strcspn(trans->branch_id[i], "-");
	while (next < trans->core.nsteps &&
		   strcspn(trans->branch_id[next], "-") == len &&
		   strncmp(trans->branch_id[next], trans->branch_id[i], len) == 0)
		next++;
	return next;
}

static bool
same_options(const StepOptions *a, const StepOptions *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return compareJsonbContainers(unconstify(JsonbContainer *, &a->json->root),
								  unconstify(JsonbContainer *, &b->json->root)) == 0;
}

/* The URL of a branch's step as it was given. */
static const char *
given_action(const Transaction *trans, int i)
{
	return trans->topic != NULL && trans->topic[i][0] != '\0' ?
		trans->topic[i] : trans->action[i];
}

/* Byte for byte, or as JSON: the order of keys, blanks and the form of numbers do not count. */
static bool
same_payload(const bytea *a, const bytea *b)
{
	Jsonb	   *ja;
	Jsonb	   *jb;

	if (a == NULL || b == NULL)
		return a == b;
	if (VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0)
		return true;
	ja = result_json(VARDATA_ANY(a), VARSIZE_ANY_EXHDR(a));
	jb = result_json(VARDATA_ANY(b), VARSIZE_ANY_EXHDR(b));
	/* a text that is no JSON has become a scalar */
	return ja != NULL && jb != NULL && !JB_ROOT_IS_SCALAR(ja) &&
		compareJsonbContainers(&ja->root, &jb->root) == 0;
}

/* What differs between two steps that count as number n; NULL: nothing. */
static const char *
step_difference(const Transaction *a, int i, const Transaction *b, int j, int n)
{
	if (strcmp(given_action(a, i), given_action(b, j)) != 0)
		return psprintf("Step %d has another URL.", n);
	if (a->core.type == DTM_SAGA && strcmp(a->compensate[i], b->compensate[j]) != 0)
		return psprintf("Step %d has another compensation.", n);
	if (!same_payload(a->payload[i], b->payload[j]))
		return psprintf("Step %d has another payload.", n);
	return same_options(transaction_step(a, i), transaction_step(b, j)) ? NULL :
		psprintf("Step %d has other options.", n);
}

const char *
request_steps_differ(const Transaction *a, const Transaction *b)
{
	int			i = 0;
	int			j = 0;
	int			n = 0;

	for (; i < a->core.nsteps && j < b->core.nsteps; n++)
	{
		const char *difference = step_difference(a, i, b, j, n + 1);

		if (difference != NULL)
			return difference;
		i = next_step(a, i);
		j = next_step(b, j);
	}
	if (i == a->core.nsteps && j == b->core.nsteps)
		return NULL;
	return "The numbers of steps differ.";
}
