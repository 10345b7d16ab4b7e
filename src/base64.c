/*
 * base64.c
 *		Base64 without line breaks.
 */
#include "base64.h"

#include "compat.h"

#include "common/base64.h"

/* The functions of PostgreSQL have char * or uint8 *, by its version. */

char *
base64_encode(const void *bytes, size_t len)
{
	int			max = pg_b64_enc_len((int) len);
	char	   *string = palloc(max + 1);
	int			encoded = pg_b64_encode(bytes, (int) len, string, max);

	if (encoded < 0)
		elog(ERROR, "could not encode %zu bytes in base64", len);
	string[encoded] = '\0';
	return string;
}

bytea *
base64_decode(const char *string, const char *what)
{
	int			len = (int) strlen(string);
	int			max = pg_b64_dec_len(len);
	bytea	   *bytes;
	int			decoded;

	if (len == 0)
		return NULL;
	bytes = palloc(VARHDRSZ + max);
	decoded = pg_b64_decode(string, len, (void *) VARDATA(bytes), max);
	if (decoded < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not valid base64", what),
				 errhint("Encode the value with encode(value, 'base64').")));
	SET_VARSIZE(bytes, VARHDRSZ + decoded);
	return bytes;
}
