/*
 * token.c
 *		dtm_create_token(): what a client of the network API shows, and the
 *		role that it is then.  Only the hash of a token is stored.
 */
#include "gateway/private.h"

#include "api/api.h"
#include "compat.h"
#include "store/store.h"

#include "catalog/pg_type.h"
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

/* When a token ends that is valid for so long; NULL: never. */
static TimestampTz
end_of(const Interval *valid)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz end;

	if (valid == NULL)
		return DT_NOEND;
	end = api_time_after(now, valid);
	if (end <= now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must be positive", "valid"),
				 errhint("Pass how long the token can be used, such as 1 year, or NULL for until it is revoked.")));
	return end;
}

/* Whoever creates a token is told here if it cannot be used; he may grant what is missing later. */
static void
warn_of_role(Oid role)
{
	Oid			batch[] = {TEXTARRAYOID, BYTEAARRAYOID, TEXTARRAYOID, BYTEAARRAYOID, INT4ARRAYOID, BYTEAARRAYOID, BOOLOID};
	const char *name = GetUserNameFromId(role, false);
	Oid			gateway = store_role_without(gateway_function("gateway_batch", lengthof(batch), batch), role);

	if (!gateway_is_user(role))
		ereport(WARNING,
				(errmsg("role \"%s\" is not a member of dtm_user", name),
				 errdetail("The gateway refuses requests with the token."),
				 errhint("Run GRANT dtm_user TO %s.", quote_identifier(name))));
	if (OidIsValid(gateway))
	{
		const char *other = GetUserNameFromId(gateway, false);

		ereport(WARNING,
				(errmsg("role \"%s\" has not been granted to the gateway's role \"%s\"", name, other),
				 errdetail("The gateway refuses requests with the token."),
				 errhint("Run GRANT %s TO %s.", quote_identifier(name), quote_identifier(other))));
	}
}

/* dtm_create_token(role, valid, note) returns text: the token, shown this once */
Datum
dtm_create_token(PG_FUNCTION_ARGS)
{
	TimestampTz expires;
	char	   *note;
	Oid			role;
	char	   *token;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", "role"),
				 errhint("Pass the role as which requests with the token are executed.")));
	role = get_role_oid(NameStr(*PG_GETARG_NAME(0)), false);
	expires = end_of(PG_ARGISNULL(1) ? NULL : PG_GETARG_INTERVAL_P(1));
	note = api_optional_note(fcinfo, 2, "note");
	PreventCommandIfReadOnly("dtm_create_token()");
	if (!dtm_can_become(GetUserId(), role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to create a token for role \"%s\"",
						GetUserNameFromId(role, false)),
				 errhint("Who shows the token is that role: only a member of it can create one.")));
	token = new_token();
	store_token_add(DatumGetByteaPP(DirectFunctionCall1(sha256_bytea,
														PointerGetDatum(cstring_to_text(token)))),
					role, expires, note != NULL ? note : "");
	warn_of_role(role);
	PG_RETURN_TEXT_P(cstring_to_text(token));
}
