/*
 * utf8.c
 *		Text of the server's encoding in UTF-8.
 */
#include "utf8.h"

#include "catalog/namespace.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

bool
utf8_is_ascii(const char *text)
{
	for (const char *c = text; *c; c++)
		if (IS_HIGHBIT_SET(*c))
			return false;
	return true;
}

/* Does an error say that?  For some encodings there is no conversion at all. */
static bool
is_no_form(int sqlerrcode)
{
	return ERRCODE_TO_CATEGORY(sqlerrcode) == ERRCODE_DATA_EXCEPTION ||
		sqlerrcode == ERRCODE_UNDEFINED_FUNCTION;
}

/* NULL: it has no such form. */
static const char *
convert(const char *text)
{
	MemoryContext before = CurrentMemoryContext;
	const char *volatile utf8 = NULL;

	if (GetDatabaseEncoding() == PG_UTF8 || utf8_is_ascii(text))
		return text;

	if (GetDatabaseEncoding() == PG_SQL_ASCII)
		return pg_verify_mbstr(PG_UTF8, text, (int) strlen(text), true) ? text : NULL;

	PG_TRY();
	{
		utf8 = pg_server_to_any(text, (int) strlen(text), PG_UTF8);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(before);
		if (!is_no_form(geterrcode()))
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();
	return utf8;
}

bool
utf8_has(const char *text)
{
	return convert(text) != NULL;
}

const char *
utf8_of(const char *text)
{
	const char *utf8 = convert(text);

	if (utf8 == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNTRANSLATABLE_CHARACTER),
				 errmsg("text cannot be converted to UTF-8"),
				 errhint("Use only characters that exist in UTF-8, because dtm sends UTF-8.")));
	return utf8;
}

void
utf8_check(const char *text, const char *what)
{
	if (!utf8_has(text))
		ereport(ERROR,
				(errcode(ERRCODE_UNTRANSLATABLE_CHARACTER),
				 errmsg("\"%s\" cannot be converted to UTF-8", what),
				 errhint("Use only characters that exist in UTF-8, because dtm sends UTF-8.")));
}

char *
utf8_to_server(const char *utf8, size_t len)
{
	MemoryContext before = CurrentMemoryContext;
	char	   *text = pnstrdup(utf8, len);
	char	   *volatile converted = NULL;

	if (utf8_is_ascii(text))
		return text;

	PG_TRY();
	{
		converted = pg_any_to_server(text, (int) strlen(text), PG_UTF8);
	}
	PG_CATCH();
	{
		int			code = geterrcode();

		MemoryContextSwitchTo(before);
		if (!is_no_form(code))
			PG_RE_THROW();
		FlushErrorState();
		ereport(ERROR,
				(errcode(ERRCODE_UNTRANSLATABLE_CHARACTER),
				 errmsg("text has no form in the encoding of this database, %s",
						GetDatabaseEncodingName()),
				 errhint("Use characters that it has, in UTF-8.")));
	}
	PG_END_TRY();
	return converted;
}

char *
utf8_to_server_or(const char *utf8, size_t len, const char *instead)
{
	int			encoding = GetDatabaseEncoding();
	unsigned char *next = (unsigned char *) pnstrdup(utf8, len);
	Oid			conversion;
	char	   *some;
	StringInfoData all;

	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII || utf8_is_ascii((char *) next))
		return pg_any_to_server((char *) next, (int) strlen((char *) next), PG_UTF8);

	conversion = FindDefaultConversionProc(PG_UTF8, encoding);
	some = palloc(len * MAX_CONVERSION_GROWTH + 1);
	initStringInfo(&all);
	while (*next != '\0')
	{
		int			rest = (int) strlen((char *) next);
		int			n;

		if (!IS_HIGHBIT_SET(*next))
		{
			appendStringInfoChar(&all, (char) *next++);
			continue;
		}
		n = Min(pg_encoding_mblen(PG_UTF8, (char *) next), rest);
		if (OidIsValid(conversion) &&
			pg_do_encoding_conversion_buf(conversion, PG_UTF8, encoding, next, n, (unsigned char *) some,
										  n * MAX_CONVERSION_GROWTH + 1, true) == n)
			appendStringInfoString(&all, some);
		else
			appendStringInfoString(&all, instead);
		next += n;
	}
	return all.data;
}

const char *
utf8_or_marks(const char *text)
{
	char	   *marked;

	if (utf8_has(text))
		return text;

	marked = pstrdup(text);
	for (char *c = marked; *c; c++)
		if (IS_HIGHBIT_SET(*c))
			*c = '?';
	return marked;
}
