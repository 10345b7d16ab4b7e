/*
 * sign.c
 *		Signs requests, and verifies signatures.
 */
#include "private.h"

#include "clock.h"

#include "common/hmac.h"
#include "common/sha2.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include <float.h>

#define HMAC_LEN	PG_SHA256_DIGEST_LENGTH
#define HEX_LEN		(2 * HMAC_LEN)

PG_FUNCTION_INFO_V1(dtm_verify_signature);

/* In seconds. */
static int64
unix_now(void)
{
	return clock_to_unix(GetCurrentTimestamp()) / USECS_PER_SEC;
}

static void
hmac_sha256(const char *key, size_t key_len, const char *data, size_t len,
			uint8 hmac[HMAC_LEN])
{
	pg_hmac_ctx *context = pg_hmac_create(PG_SHA256);

	if (context == NULL ||
		pg_hmac_init(context, (const uint8 *) key, key_len) < 0 ||
		pg_hmac_update(context, (const uint8 *) data, len) < 0 ||
		pg_hmac_final(context, hmac, HMAC_LEN) < 0)
		elog(ERROR, "could not compute an HMAC");
	pg_hmac_free(context);
}

/* The HMAC in hex. */
static void
compute(const char *key, int64 time, const char *gid, const char *branch_id,
		const char *op, const char *body, size_t body_len,
		char hex[HEX_LEN + 1])
{
	StringInfoData text;
	uint8		hmac[HMAC_LEN];
	const char *utf8_key = utf8_of(key);

	initStringInfo(&text);
	appendStringInfo(&text, INT64_FORMAT "\n%s\n", time, utf8_of(gid));
	appendStringInfo(&text, "%s\n", utf8_of(branch_id));
	appendStringInfo(&text, "%s\n", utf8_of(op));
	appendBinaryStringInfo(&text, body_len > 0 ? body : "", (int) body_len);
	hmac_sha256(utf8_key, strlen(utf8_key), text.data, (size_t) text.len, hmac);
	hex_encode((const char *) hmac, HMAC_LEN, hex);
	hex[HEX_LEN] = '\0';
	pfree(text.data);
}

char *
endpoint_sign(const char *key, const char *gid, const char *branch_id,
			  const char *op, const char *body, size_t body_len)
{
	int64		time = unix_now();
	char		hex[HEX_LEN + 1];

	compute(key, time, gid, branch_id, op, body, body_len, hex);
	return psprintf(ENDPOINT_SIGNATURE ": t=" INT64_FORMAT ",v1=%s", time, hex);
}

/* "t=time,v1=hmac"; false if it is anything else. */
static bool
parse(const char *signature, int64 *time, const char **hex)
{
	char	   *end;

	if (strncmp(signature, "t=", 2) != 0 || signature[2] < '0' || signature[2] > '9')
		return false;
	errno = 0;
	*time = strtoll(signature + 2, &end, 10);
	if (errno != 0 || strncmp(end, ",v1=", 4) != 0)
		return false;
	*hex = end + 4;
	return strlen(*hex) == HEX_LEN;
}

static const char *
argument(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(number));
}

static double
seconds_of(const Interval *interval)
{
	return (double) interval->time / USECS_PER_SEC +
		((double) interval->day + (double) interval->month * DAYS_PER_MONTH) * SECS_PER_DAY;
}

/*
 * dtm_verify_signature(signature, key, gid, branch_id, op, body, max_age):
 * false where anything is missing, but for a body, whose absence is an empty one
 */
Datum
dtm_verify_signature(PG_FUNCTION_ARGS)
{
	const char *signature = argument(fcinfo, 0);
	const char *key = argument(fcinfo, 1);
	const char *gid = argument(fcinfo, 2);
	const char *branch_id = argument(fcinfo, 3);
	const char *op = argument(fcinfo, 4);
	bytea	   *body = PG_ARGISNULL(5) ? NULL : PG_GETARG_BYTEA_PP(5);
	double		seconds = PG_ARGISNULL(6) ? DBL_MAX : seconds_of(PG_GETARG_INTERVAL_P(6));
	char		expected[HEX_LEN + 1];
	const char *hex;
	int64		time;
	int64		now = unix_now();
	unsigned char difference = 0;

	if (key == NULL || key[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be null or empty", "key"),
				 errhint("Pass the hmac_key of the caller's user mapping.")));
	if (seconds < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be negative", "max_age"),
				 errhint("Pass how old a signature may be, such as 5 minutes, or NULL for any age.")));
	if (signature == NULL || gid == NULL || branch_id == NULL || op == NULL ||
		!parse(signature, &time, &hex))
		PG_RETURN_BOOL(false);
	/* which would move the border between two of them */
	if (strpbrk(gid, "\r\n") || strpbrk(branch_id, "\r\n") || strpbrk(op, "\r\n"))
		PG_RETURN_BOOL(false);
	/* clocks differ in both directions */
	if ((double) now - (double) time > seconds || (double) time - (double) now > seconds)
		PG_RETURN_BOOL(false);
	compute(key, time, gid, branch_id, op, body ? VARDATA_ANY(body) : NULL,
			body ? VARSIZE_ANY_EXHDR(body) : 0, expected);
	/* in a time that does not depend on where they differ */
	for (int i = 0; i < HEX_LEN; i++)
		difference |= (unsigned char) expected[i] ^ (unsigned char) hex[i];
	PG_RETURN_BOOL(difference == 0);
}
