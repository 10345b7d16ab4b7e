/*
 * gid.c
 *		Ids of global transactions: made, and checked.
 */
#include "private.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* Characters of a gid that are left to chance, 5 bits each. */
#define NRANDOM				16

/* A byte for each of them; for several gids at once, since asking costs more than the bytes. */
static const uint8 *
random_bytes(void)
{
	static uint8 pool[NRANDOM * 16];
	static size_t left = 0;

	if (left == 0)
	{
		if (!pg_strong_random(pool, sizeof(pool)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate a random gid")));
		left = sizeof(pool);
	}
	left -= NRANDOM;
	return pool + left;
}

char *
request_new_gid(void)
{
	/* 48 bits of milliseconds, 80 of chance, in base 32 */
	static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";
	const uint8 *bytes = random_bytes();
	char	   *gid = palloc(10 + NRANDOM + 1);
	uint64		ms = (uint64) (GetCurrentTimestamp() / 1000 +
							   (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) *
							   (int64) SECS_PER_DAY * 1000);

	for (int i = 9; i >= 0; i--, ms >>= 5)
		gid[i] = digits[ms & 31];
	for (int i = 10; i < 10 + NRANDOM; i++)
		gid[i] = digits[bytes[i - 10] & 31];
	gid[10 + NRANDOM] = '\0';
	return gid;
}

char *
request_gid(text *gid)
{
	char	   *string;

	if (gid == NULL)
		return request_new_gid();
	string = text_to_cstring(gid);
	if (string[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("gid is empty"),
				 errhint("Pass NULL to have one made, or call dtm_new_gid().")));
	if (pg_mbstrlen(string) > DTM_MAX_GID_CHARS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("gid is longer than %d characters", DTM_MAX_GID_CHARS),
				 errhint("dtm's SDKs and the barrier table have no room for a longer one.")));
	request_check_name(string, "gid");
	return string;
}

/* Names become parts of URLs and headers. */
void
request_check_name(const char *name, const char *what)
{
	for (const char *c = name; *c; c++)
		if ((unsigned char) *c < 0x20 || *c == 0x7f)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("%s contains a control character", what),
					 errhint("Use letters, digits and punctuation.")));
}
