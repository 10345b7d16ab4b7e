/*
 * token.c
 *		dtm_create_token(): what a client of the network API shows, and the
 *		role that it is then.  Only the hash of a token is stored.
 */
#include "postgres.h"

#include "compat.h"
#include "store/store.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(dtm_create_token);

/* Bytes of chance in a token; it has two digits for each. */
#define TOKEN_BYTES		32
#define TOKEN_PREFIX	"dtm_"

static char *
new_token(void)
{
	static const char digits[] = "0123456789abcdef";
	uint8		bytes[TOKEN_BYTES];
	char	   *token = palloc(sizeof(TOKEN_PREFIX) + 2 * TOKEN_BYTES);
	char	   *end = token + strlen(TOKEN_PREFIX);

	if (!pg_strong_random(bytes, sizeof(bytes)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate a random token")));
	strlcpy(token, TOKEN_PREFIX, sizeof(TOKEN_PREFIX));
	for (int i = 0; i < TOKEN_BYTES; i++)
	{
		*end++ = digits[bytes[i] >> 4];
		*end++ = digits[bytes[i] & 15];
	}
	*end = '\0';
	return token;
}

/* dtm_create_token(role, valid, note) returns text: the token, shown this once */
Datum
dtm_create_token(PG_FUNCTION_ARGS)
{
	TimestampTz expires = DT_NOEND;
	Oid			role;
	char	   *token;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("role is null"),
				 errhint("Pass the role that requests with the token are done as.")));
	role = get_role_oid(NameStr(*PG_GETARG_NAME(0)), false);
	PreventCommandIfReadOnly("dtm_create_token()");
	if (!dtm_can_become(GetUserId(), role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to create a token for role \"%s\"",
						GetUserNameFromId(role, false)),
				 errhint("Who shows the token is that role: only a member of it can create one.")));
	if (!PG_ARGISNULL(1))
		expires = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
														  TimestampTzGetDatum(GetCurrentTimestamp()),
														  PG_GETARG_DATUM(1)));
	token = new_token();
	store_token_add(DatumGetByteaPP(DirectFunctionCall1(sha256_bytea,
														PointerGetDatum(cstring_to_text(token)))),
					role, expires,
					PG_ARGISNULL(2) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(2)));
	PG_RETURN_TEXT_P(cstring_to_text(token));
}
