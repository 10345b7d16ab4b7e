/*
 * names.c
 *		Names and storage letters of core's enumerations, branch ids, and the
 *		ops of each type's steps.
 */
#include "core.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define LENGTH(array)	((int) (sizeof(array) / sizeof((array)[0])))

typedef struct Name
{
	const char *name;			/* on the wire and in SQL */
	char		letter;			/* in storage */
} Name;

static const Name trans_types[] = {
	[DTM_SAGA] = {"saga", 's'},
	[DTM_TCC] = {"tcc", 't'},
	[DTM_XA] = {"xa", 'x'},
	[DTM_MSG] = {"msg", 'm'},
	[DTM_WORKFLOW] = {"workflow", 'w'}
};

static const Name statuses[] = {
	[DTM_PREPARED] = {"prepared", 'p'},
	[DTM_SUBMITTED] = {"submitted", 's'},
	[DTM_ABORTING] = {"aborting", 'a'},
	[DTM_SUCCEED] = {"succeed", 'S'},
	[DTM_FAILED] = {"failed", 'F'}
};

static const Name branch_statuses[] = {
	[DTM_BRANCH_PREPARED] = {"prepared", 'P'},
	[DTM_BRANCH_SUCCEED] = {"succeed", 'S'},
	[DTM_BRANCH_FAILED] = {"failed", 'F'}
};

static const Name results[] = {
	[DTM_RESULT_SUCCESS] = {"SUCCESS", 'S'},
	[DTM_RESULT_FAILURE] = {"FAILURE", 'F'},
	[DTM_RESULT_ONGOING] = {"ONGOING", 'O'},
	[DTM_RESULT_TEMPORARY] = {"ERROR", 'E'},
	[DTM_RESULT_PERMANENT] = {"PERMANENT", 'X'}
};

static const char *const ops[] = {
	[DTM_OP_ACTION] = "action",
	[DTM_OP_COMPENSATE] = "compensate",
	[DTM_OP_TRY] = "try",
	[DTM_OP_CONFIRM] = "confirm",
	[DTM_OP_CANCEL] = "cancel",
	[DTM_OP_COMMIT] = "commit",
	[DTM_OP_ROLLBACK] = "rollback",
	[DTM_OP_MSG] = "msg"
};

static int
find_letter(const Name *names, int n, char letter)
{
	for (int i = 0; i < n; i++)
		if (names[i].letter == letter)
			return i;
	return -1;
}

const char *
dtm_trans_type_name(DtmTransType type)
{
	return trans_types[type].name;
}

bool
dtm_trans_type_parse(const char *name, DtmTransType *type)
{
	for (int i = 0; i < LENGTH(trans_types); i++)
		if (strcmp(trans_types[i].name, name) == 0)
		{
			*type = (DtmTransType) i;
			return true;
		}
	return false;
}

const char *
dtm_status_name(DtmStatus status)
{
	return statuses[status].name;
}

const char *
dtm_branch_status_name(DtmBranchStatus status)
{
	return branch_statuses[status].name;
}

const char *
dtm_op_name(DtmOp op)
{
	return ops[op];
}

const char *
dtm_result_name(DtmResult result)
{
	return results[result].name;
}

char
dtm_trans_type_letter(DtmTransType type)
{
	return trans_types[type].letter;
}

bool
dtm_trans_type_of_letter(char letter, DtmTransType *type)
{
	int			i = find_letter(trans_types, LENGTH(trans_types), letter);

	*type = (DtmTransType) i;
	return i >= 0;
}

char
dtm_status_letter(DtmStatus status)
{
	return statuses[status].letter;
}

bool
dtm_status_of_letter(char letter, DtmStatus *status)
{
	int			i = find_letter(statuses, LENGTH(statuses), letter);

	*status = (DtmStatus) i;
	return i >= 0;
}

char
dtm_branch_status_letter(DtmBranchStatus status)
{
	return branch_statuses[status].letter;
}

bool
dtm_branch_status_of_letter(char letter, DtmBranchStatus *status)
{
	int			i = find_letter(branch_statuses, LENGTH(branch_statuses), letter);

	*status = (DtmBranchStatus) i;
	return i >= 0;
}

bool
dtm_result_of_letter(char letter, DtmResult *result)
{
	int			i = find_letter(results, LENGTH(results), letter);

	*result = (DtmResult) i;
	return i >= 0;
}

char
dtm_result_letter(DtmResult result)
{
	return results[result].letter;
}

bool
dtm_op_undoes(DtmOp op)
{
	return op == DTM_OP_COMPENSATE || op == DTM_OP_CANCEL ||
		op == DTM_OP_ROLLBACK;
}

void
dtm_step_branch_id(int step, char id[DTM_BRANCH_ID_SIZE])
{
	assert(step >= 0 && step < DTM_MAX_STEPS);
	snprintf(id, DTM_BRANCH_ID_SIZE, "%02d", (step + 1) % 10000);
}

bool
dtm_core_has_branches(DtmTransType type)
{
	return type == DTM_TCC || type == DTM_XA || type == DTM_WORKFLOW;
}

bool
dtm_core_has_undo(DtmTransType type)
{
	return type == DTM_SAGA || type == DTM_TCC || type == DTM_XA;
}

int
dtm_core_ops_of(DtmTransType type, int nsteps)
{
	return dtm_core_has_undo(type) ? 2 * nsteps : nsteps;
}

int
dtm_core_forward_op(DtmTransType type, int step)
{
	return dtm_core_has_undo(type) ? 2 * step + 1 : step;
}

void
dtm_core_op_at(DtmTransType type, int n, int *step, DtmOp *op)
{
	/* of the types that have two ops for each step: undone first, then done */
	static const uint8_t pairs[][2] = {
		[DTM_SAGA] = {DTM_OP_COMPENSATE, DTM_OP_ACTION},
		[DTM_TCC] = {DTM_OP_CANCEL, DTM_OP_CONFIRM},
		[DTM_XA] = {DTM_OP_ROLLBACK, DTM_OP_COMMIT}
	};

	if (!dtm_core_has_undo(type))
	{
		*step = n;
		*op = DTM_OP_ACTION;
	}
	else
	{
		*step = n / 2;
		*op = (DtmOp) pairs[type][n % 2];
	}
}

int
dtm_core_current_step(DtmTransType type, DtmStatus status, const char *letters,
					  int nops)
{
	char		done = dtm_branch_status_letter(DTM_BRANCH_SUCCEED);
	char		left = dtm_branch_status_letter(DTM_BRANCH_PREPARED);
	int			per_step = dtm_core_has_undo(type) ? 2 : 1;
	bool		undo = status == DTM_ABORTING;
	bool		backward = type == DTM_TCC || (type == DTM_SAGA && undo);
	int			nsteps = nops / per_step;

	if ((status != DTM_SUBMITTED && !undo) || type == DTM_WORKFLOW ||
		(undo && per_step == 1))
		return -1;
	for (int i = 0; i < nsteps; i++)
	{
		int			step = backward ? nsteps - 1 - i : i;
		const char *ops = letters + step * per_step;

		/* of a saga that is rolled back, only what may have run is undone */
		if (type == DTM_SAGA && undo && step > 0 && ops[1] == left &&
			ops[1 - per_step] != done)
			continue;
		if (ops[undo ? 0 : per_step - 1] != done)
			return step;
	}
	return -1;
}

void
dtm_core_lay_out(DtmTrans *t)
{
	assert(t->nops == dtm_core_ops_of(t->type, t->nsteps));
	for (int i = 0; i < t->nops; i++)
	{
		DtmOp		op;
		int			step;

		dtm_core_op_at(t->type, i, &step, &op);
		t->ops[i].step = (uint16_t) step;
		t->ops[i].op = (uint8_t) op;
	}
}
