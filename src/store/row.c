/*
 * row.c
 *		Converts a row to a global transaction, and back.
 *
 * For each kind of value in request_columns.h there is a read_KIND() and a
 * write_KIND(): from the column to the field of Transaction, and back.
 */
#include "private.h"

#include "access/xact.h"
#include "mb/pg_wchar.h"

/* ---------- values of one kind each ---------- */

/*
 * A reader sets a field from column "number" of a row, which may be null, and
 * returns NULL, or what is wrong with it.  A writer sets "isnull" where nothing
 * is stored.
 */
#define READER(kind) \
	static const char * \
	read_##kind(Transaction *trans, void *field, const Row *row, int number)
#define WRITER(kind) \
	static Datum \
	write_##kind(const Transaction *trans, const void *field, bool *isnull)

READER(id)
{
	*(int64 *) field = column_int64(row, number);
	return NULL;
}

WRITER(id)
{
	return Int64GetDatum(*(const int64 *) field);
}

READER(time)
{
	return read_id(trans, field, row, number);
}

WRITER(time)
{
	return write_id(trans, field, isnull);
}

/* Null is 0: the option was not given. */
READER(positive_int64)
{
	return read_id(trans, field, row, number);
}

WRITER(positive_int64)
{
	*isnull = *(const int64 *) field <= 0;
	return Int64GetDatum(*(const int64 *) field);
}

READER(positive_int32)
{
	*(int32 *) field = column_int32(row, number);
	return NULL;
}

WRITER(positive_int32)
{
	*isnull = *(const int32 *) field <= 0;
	return Int32GetDatum(*(const int32 *) field);
}

/* A dtm.submitter; what is written is a role's OID, which a cast makes one of. */
READER(submitter)
{
	bool		isnull;

	*(Oid *) field = submitter_role(column_datum(row, number, &isnull));
	return NULL;
}

WRITER(submitter)
{
	return ObjectIdGetDatum(*(const Oid *) field);
}

READER(flag)
{
	*(bool *) field = column_bool(row, number);
	return NULL;
}

WRITER(flag)
{
	return BoolGetDatum(*(const bool *) field);
}

/* Null is false. */
READER(rare_flag)
{
	return read_flag(trans, field, row, number);
}

WRITER(rare_flag)
{
	*isnull = !*(const bool *) field;
	return BoolGetDatum(true);
}

/* Null is NULL or "". */
READER(string)
{
	*(char **) field = column_text(row, number);
	return NULL;
}

WRITER(string)
{
	const char *string = *(char *const *) field;

	*isnull = string == NULL || string[0] == '\0';
	return *isnull ? (Datum) 0 : CStringGetTextDatum(string);
}

READER(bytes)
{
	*(bytea **) field = column_bytea(row, number);
	return NULL;
}

WRITER(bytes)
{
	*isnull = *(bytea *const *) field == NULL;
	return PointerGetDatum(*(bytea *const *) field);
}

/* ---------- what has a meaning of its own ---------- */

READER(trans_type)
{
	return dtm_trans_type_of_letter(column_char(row, number), &trans->core.type) ?
		NULL : "unknown trans_type";
}

WRITER(trans_type)
{
	return CharGetDatum(dtm_trans_type_letter(trans->core.type));
}

READER(query_url)
{
	(void) read_string(trans, field, row, number);
	trans->core.has_query_url = trans->query_prepared != NULL &&
		trans->query_prepared[0] != '\0';
	return NULL;
}

WRITER(query_url)
{
	return write_string(trans, field, isnull);
}

READER(workflow)
{
	(void) read_string(trans, field, row, number);
	return (trans->core.type == DTM_WORKFLOW) == (trans->workflow != NULL) ?
		NULL : "trans_type does not match workflow name";
}

WRITER(workflow)
{
	return write_string(trans, field, isnull);
}

/* The pairs of a step and one before it into core's form; they are sorted by step. */
READER(orders)
{
	static const char *const malformed = "malformed orders";
	DtmTrans   *core = &trans->core;
	bool	   *nulls;
	int			n;
	Datum	   *values = column_array(row, number, INT4OID, &n, &nulls);
	uint16	   *start;
	uint16	   *pre;
	int			next = 0;

	if (n < 0)
		return NULL;
	if (n % 2 != 0 || n / 2 > DTM_MAX_ORDERS)
		return malformed;
	for (int i = 0; i < n; i++)
		if (nulls[i] || DatumGetInt32(values[i]) < 0 ||
			DatumGetInt32(values[i]) >= core->nsteps)
			return malformed;
	start = palloc0(sizeof(uint16) * (core->nsteps + 1));
	pre = palloc(sizeof(uint16) * (n / 2 + 1));
	for (int step = 0; step < core->nsteps; step++)
	{
		start[step] = (uint16) next;
		while (next < n / 2 && DatumGetInt32(values[2 * next]) == step)
		{
			pre[next] = (uint16) DatumGetInt32(values[2 * next + 1]);
			next++;
		}
	}
	start[core->nsteps] = (uint16) next;
	if (next != n / 2)
		return malformed;
	core->orders.start = start;
	core->orders.pre = pre;
	return NULL;
}

WRITER(orders)
{
	const DtmTrans *core = &trans->core;
	Datum	   *values;
	int			n = 0;

	*isnull = core->orders.start == NULL;
	if (*isnull)
		return (Datum) 0;
	values = palloc(sizeof(Datum) * 2 * (core->orders.start[core->nsteps] + 1));
	for (int step = 0; step < core->nsteps; step++)
		for (int i = core->orders.start[step]; i < core->orders.start[step + 1]; i++)
		{
			values[n++] = Int32GetDatum(step);
			values[n++] = Int32GetDatum(core->orders.pre[i]);
		}
	return array_of(values, NULL, n, INT4OID);
}

/* Pairs of a name and a value. */
READER(headers)
{
	int			n;
	char	  **strings = column_strings(row, number, &n);

	if (n <= 0)
		return NULL;
	trans->nheaders = n / 2;
	trans->header_name = palloc(sizeof(char *) * (trans->nheaders + 1));
	trans->header_value = palloc(sizeof(char *) * (trans->nheaders + 1));
	for (int i = 0; i < trans->nheaders; i++)
	{
		trans->header_name[i] = strings[2 * i];
		trans->header_value[i] = strings[2 * i + 1];
	}
	return NULL;
}

WRITER(headers)
{
	char	  **strings;

	*isnull = trans->nheaders == 0;
	if (*isnull)
		return (Datum) 0;
	strings = palloc(sizeof(char *) * 2 * trans->nheaders);
	for (int i = 0; i < trans->nheaders; i++)
	{
		strings[2 * i] = trans->header_name[i];
		strings[2 * i + 1] = trans->header_value[i];
	}
	return text_array_of(strings, 2 * trans->nheaders);
}

/* ---------- one for each step or branch ---------- */

/* How many there are is what action has. */
READER(actions)
{
	trans->action = column_strings(row, number, &trans->core.nsteps);
	return trans->core.nsteps >= 0 && trans->core.nsteps <= DTM_MAX_STEPS ?
		NULL : "number of steps out of bounds";
}

static Datum
write_strings(const Transaction *trans, char **strings, bool *isnull)
{
	*isnull = strings == NULL;
	return *isnull ? (Datum) 0 : text_array_of(strings, trans->core.nsteps);
}

WRITER(actions)
{
	return write_strings(trans, trans->action, isnull);
}

READER(compensations)
{
	int			n;

	trans->compensate = column_strings(row, number, &n);
	return !dtm_core_has_undo(trans->core.type) || n == trans->core.nsteps ?
		NULL : "numbers of compensations and actions differ";
}

WRITER(compensations)
{
	return write_strings(trans, trans->compensate, isnull);
}

READER(branch_ids)
{
	int			n;

	trans->branch_id = column_strings(row, number, &n);
	return n == trans->core.nsteps ||
		(n < 0 && !dtm_core_has_branches(trans->core.type)) ?
		NULL : "numbers of branch ids and branches differ";
}

WRITER(branch_ids)
{
	return write_strings(trans, trans->branch_id, isnull);
}

READER(topics)
{
	int			n;

	trans->topic = column_strings(row, number, &n);
	return n < 0 || n == trans->core.nsteps ?
		NULL : "numbers of topics and steps differ";
}

WRITER(topics)
{
	return write_strings(trans, trans->topic, isnull);
}

READER(payloads)
{
	bool	   *nulls;
	int			n;
	Datum	   *payloads = column_array(row, number, BYTEAOID, &n, &nulls);

	if (n >= 0 && n != trans->core.nsteps)
		return "numbers of payloads and steps differ";
	trans->payload = palloc0(sizeof(bytea *) * (trans->core.nsteps + 1));
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			trans->payload[i] = DatumGetByteaPCopy(payloads[i]);
	return NULL;
}

WRITER(payloads)
{
	int			n = trans->core.nsteps;
	Datum	   *values = palloc0(sizeof(Datum) * (n + 1));
	bool	   *nulls = palloc0(sizeof(bool) * (n + 1));

	*isnull = true;
	for (int i = 0; i < n; i++)
	{
		nulls[i] = trans->payload[i] == NULL;
		if (nulls[i])
			continue;
		values[i] = PointerGetDatum(trans->payload[i]);
		*isnull = false;
	}
	return *isnull ? (Datum) 0 : array_of(values, nulls, n, BYTEAOID);
}

/* An array with an object, or null, for each step; they have been checked. */
READER(step_options)
{
	bool		isnull;
	Datum		datum = column_datum(row, number, &isnull);
	Jsonb	   *array;
	JsonbIterator *it;
	JsonbValue	v;
	int			n = 0;

	if (isnull)
		return NULL;
	array = DatumGetJsonbPCopy(datum);
	if (!JB_ROOT_IS_ARRAY(array) || JB_ROOT_COUNT(array) != trans->core.nsteps)
		return "numbers of step options and steps differ";
	it = JsonbIteratorInit(&array->root);
	JsonbIteratorNext(&it, &v, true);	/* the array's beginning */
	for (; JsonbIteratorNext(&it, &v, true) == WJB_ELEM; n++)
	{
		StepProblem problem;

		if (v.type == jbvNull)
			continue;
		transaction_set_step(trans, n, step_options_read(JsonbValueToJsonb(&v), STEP_IN_STEP, &problem));
		if (problem.message != NULL)
			return psprintf("options of step %d: %s", n + 1, problem.message);
	}
	transaction_set_policy(trans);
	return NULL;
}

WRITER(step_options)
{
	StringInfoData array;

	*isnull = trans->step == NULL;
	if (*isnull)
		return (Datum) 0;
	initStringInfo(&array);
	for (int i = 0; i < trans->core.nsteps; i++)
	{
		const StepOptions *options = transaction_step(trans, i);

		appendStringInfoString(&array, i == 0 ? "[" : ", ");
		if (options == NULL)
			appendStringInfoString(&array, "null");
		else
			(void) JsonbToCString(&array, unconstify(JsonbContainer *, &options->json->root),
								  VARSIZE(options->json));
	}
	appendStringInfoChar(&array, ']');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(array.data));
}

/* ---------- the list ---------- */

static const struct
{
	const char *name;
	const char *(*read) (Transaction *trans, void *field, const Row *row,
						 int number);
	Datum		(*write) (const Transaction *trans, const void *field,
						  bool *isnull);
	size_t		field;			/* its offset */
	ColumnWrites writes;
}			request_columns[NREQUEST_COLUMNS] = {
#define REQUEST_COLUMN(name, type, kind, field, writes) \
	{#name, read_##kind, write_##kind, offsetof(Transaction, field), writes},
#include "request_columns.h"
#undef REQUEST_COLUMN
};

const Oid	request_types[NREQUEST_COLUMNS] = {
#define REQUEST_COLUMN(name, type, kind, field, writes) type,
#include "request_columns.h"
#undef REQUEST_COLUMN
};

const char	request_names[] =
#define REQUEST_COLUMN(name, type, kind, field, writes) "r." #name ", "
#include "request_columns.h"
#undef REQUEST_COLUMN
		   ;

const ColumnSet *
row_columns(ColumnWrites writes)
{
	static ColumnSet sets[COLUMN_RESULT + 1];
	ColumnSet  *set = &sets[writes];

	if (set->n == 0)
		for (int i = 0; i < NREQUEST_COLUMNS; i++)
			if (writes == COLUMN_NEVER ?
				request_columns[i].writes != COLUMN_NEVER :
				request_columns[i].writes == writes)
				set->columns[set->n++] = i;
	return set;
}

void
row_values(const Transaction *trans, const ColumnSet *set, Datum *values,
		   char *nulls)
{
	for (int i = 0; i < set->n; i++)
	{
		int			column = set->columns[i];
		bool		isnull = false;

		values[i] = request_columns[column].write(trans,
												  (const char *) trans + request_columns[column].field,
												  &isnull);
		nulls[i] = isnull ? 'n' : ' ';
	}
}

void
row_types(const ColumnSet *set, Oid *types)
{
	for (int i = 0; i < set->n; i++)
	{
		Oid			type = request_types[set->columns[i]];

		/* of what write_submitter() makes */
		types[i] = OidIsValid(type) ? type : OIDOID;
	}
}

void
row_append_names(StringInfo sql, const ColumnSet *set)
{
	for (int i = 0; i < set->n; i++)
		appendStringInfo(sql, "%s%s", i == 0 ? "" : ", ",
						 request_columns[set->columns[i]].name);
}

void
row_append_assignments(StringInfo sql, const ColumnSet *set, int first)
{
	for (int i = 0; i < set->n; i++)
		appendStringInfo(sql, "%s%s = $%d", i == 0 ? "" : ", ",
						 request_columns[set->columns[i]].name, first + i);
}

/* ---------- all of it ---------- */

Transaction *
row_decode(const Row *row, const char **problem)
{
	Transaction *trans = palloc0(sizeof(Transaction));

	*problem = NULL;
	for (int i = 0; i < NREQUEST_COLUMNS && *problem == NULL; i++)
		*problem = request_columns[i].read(trans,
										   (char *) trans + request_columns[i].field,
										   row, i + 1);
	if (*problem == NULL)
		*problem = state_read(trans, row);
	return *problem == NULL ? trans : NULL;
}
