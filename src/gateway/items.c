/*
 * items.c
 *		The arguments of dtm.gateway_batch(): arrays with an element for each
 *		request.
 */
#include "gateway/private.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

/*
 * Requests of one call.  Each may be a subtransaction, and a backend publishes
 * 64 of them (PGPROC_MAX_CACHED_SUBXIDS): with more, every snapshot in the
 * server has to look in pg_subtrans.
 */
#define MAX_ITEMS	64

/* The elements of an argument, which has n, or any number for a negative n. */
static Datum *
elements_of(FunctionCallInfo fcinfo, int number, Oid type, int *n, bool **nulls)
{
	ArrayType  *array;
	Datum	   *values;
	int16		len;
	bool		byval;
	char		align;
	int			count;

	if (PG_ARGISNULL(number))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument %d is null", number + 1),
				 errhint("The arrays have an element for each request; payloads has all of them, one after the other.")));
	array = PG_GETARG_ARRAYTYPE_P(number);
	get_typlenbyvalalign(type, &len, &byval, &align);
	deconstruct_array(array, type, len, byval, align, &values, nulls, &count);
	if (*n >= 0 && count != *n)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("argument %d has %d elements, not %d", number + 1, count, *n),
				 errhint("The arrays have an element for each request; payloads has all of them, one after the other.")));
	*n = count;
	return values;
}

/* The payloads of all requests are one after the other. */
static void
share_out_payloads(FunctionCallInfo fcinfo, GatewayItem *items, int n)
{
	bool	   *nulls;
	bool	   *payload_nulls;
	Datum	   *counts = elements_of(fcinfo, 4, INT4OID, &n, &nulls);
	int			total = -1;
	Datum	   *payloads = elements_of(fcinfo, 5, BYTEAOID, &total, &payload_nulls);
	int			next = 0;

	for (int i = 0; i < n; i++)
	{
		int			count = nulls[i] ? 0 : DatumGetInt32(counts[i]);

		if (count < 0 || count > total - next)
			break;
		items[i].has_payloads = !nulls[i];
		items[i].payloads.n = count;
		items[i].payloads.payload = palloc(sizeof(bytea *) * (count + 1));
		for (int j = 0; j < count; j++, next++)
			items[i].payloads.payload[j] = payload_nulls[next] ? gateway_bytes("") :
				DatumGetByteaPP(payloads[next]);
		if (i == n - 1 && next == total)
			return;
	}
	if (n > 0 || total > 0)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("payload_counts does not add up to the number of payloads"),
				 errhint("NULL is a request that has none, since its payloads are in its body.")));
}

GatewayItem *
gateway_read_items(FunctionCallInfo fcinfo, int *n)
{
	bool	   *role_nulls;
	bool	   *token_nulls;
	bool	   *op_nulls;
	bool	   *body_nulls;
	Datum	   *roles = elements_of(fcinfo, 0, TEXTOID, n, &role_nulls);
	Datum	   *tokens = elements_of(fcinfo, 1, BYTEAOID, n, &token_nulls);
	Datum	   *op_names = elements_of(fcinfo, 2, TEXTOID, n, &op_nulls);
	Datum	   *bodies = elements_of(fcinfo, 3, BYTEAOID, n, &body_nulls);
	GatewayItem *items = palloc0(sizeof(GatewayItem) * (*n + 1));

	if (*n > MAX_ITEMS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many requests: %d", *n),
				 errhint("A batch has %d at most.", MAX_ITEMS)));
	for (int i = 0; i < *n; i++)
	{
		items[i].role_name = role_nulls[i] ? NULL : TextDatumGetCString(roles[i]);
		items[i].token = token_nulls[i] ? NULL : DatumGetByteaP(tokens[i]);
		items[i].op = op_nulls[i] ? "" : TextDatumGetCString(op_names[i]);
		items[i].body = body_nulls[i] ? NULL : DatumGetByteaPP(bodies[i]);
	}
	share_out_payloads(fcinfo, items, *n);
	return items;
}
