/*
 * column.c
 *		Values of a row's columns, and arrays as they are stored.
 */
#include "private.h"

#include "utils/lsyscache.h"

Datum
column_datum(const Row *row, int number, bool *isnull)
{
	*isnull = row->nulls[number - 1];
	return row->values[number - 1];
}

int64
column_int64(const Row *row, int number)
{
	bool		isnull;
	Datum		value = column_datum(row, number, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

int32
column_int32(const Row *row, int number)
{
	bool		isnull;
	Datum		value = column_datum(row, number, &isnull);

	return isnull ? 0 : DatumGetInt32(value);
}

char *
column_text(const Row *row, int number)
{
	bool		isnull;
	Datum		value = column_datum(row, number, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

bytea *
column_bytea(const Row *row, int number)
{
	bool		isnull;
	Datum		value = column_datum(row, number, &isnull);

	return isnull ? NULL : DatumGetByteaPCopy(value);
}

char
column_char(const Row *row, int number)
{
	bool		isnull;
	Datum		value = column_datum(row, number, &isnull);

	if (isnull)
		return '\0';
	return DatumGetChar(value);
}

bool
column_bool(const Row *row, int number)
{
	bool		isnull;
	Datum		value = column_datum(row, number, &isnull);

	return !isnull && DatumGetBool(value);
}

/* ---------- arrays ---------- */

Datum
array_of(Datum *values, const bool *nulls, int n, Oid type)
{
	int			dims[1] = {n};
	int			lower[1] = {1};
	int16		len;
	bool		byval;
	char		align;

	get_typlenbyvalalign(type, &len, &byval, &align);
	return PointerGetDatum(construct_md_array(values, (bool *) nulls, 1, dims,
											  lower, type, len, byval, align));
}

Datum
text_array_of(char **strings, int n)
{
	Datum	   *values = palloc(sizeof(Datum) * (n + 1));

	for (int i = 0; i < n; i++)
		values[i] = CStringGetTextDatum(strings[i]);
	return array_of(values, NULL, n, TEXTOID);
}

Datum *
column_array(const Row *row, int number, Oid type, int *n, bool **nulls)
{
	bool		isnull;
	Datum		value = column_datum(row, number, &isnull);
	Datum	   *values;
	MemoryContext before;
	int16		len;
	bool		byval;
	char		align;

	*n = -1;
	if (isnull)
		return NULL;
	get_typlenbyvalalign(type, &len, &byval, &align);
	before = MemoryContextSwitchTo(row->scratch);
	deconstruct_array(DatumGetArrayTypeP(value), type, len, byval, align,
					  &values, nulls, n);
	MemoryContextSwitchTo(before);
	return values;
}

char **
column_strings(const Row *row, int number, int *n)
{
	bool	   *nulls;
	Datum	   *values = column_array(row, number, TEXTOID, n, &nulls);
	char	  **strings;

	if (*n < 0)
		return NULL;
	strings = palloc(sizeof(char *) * (*n + 1));
	for (int i = 0; i < *n; i++)
		strings[i] = nulls[i] ? pstrdup("") : TextDatumGetCString(values[i]);
	return strings;
}
