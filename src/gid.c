/*
 * gid.c
 *		Generates gids.
 */
#include "postgres.h"

#include "gid.h"

#include "clock.h"

#include "utils/timestamp.h"

const char *(*gid_tag) (void) = NULL;

/* Characters of a gid that are left to chance, 5 bits each; those before are a time. */
#define NRANDOM				16
#define NTIME				10

static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";

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
gid_make(void)
{
	/* 48 bits of milliseconds, 80 of chance, in base 32 */
	const uint8 *bytes = random_bytes();
	char	   *gid = palloc(NTIME + NRANDOM + 1);
	uint64		ms = (uint64) (clock_to_unix(GetCurrentTimestamp()) / 1000);

	for (int i = NTIME - 1; i >= 0; i--, ms >>= 5)
		gid[i] = digits[ms & 31];
	for (int i = NTIME; i < NTIME + NRANDOM; i++)
		gid[i] = digits[bytes[i - NTIME] & 31];
	gid[NTIME + NRANDOM] = '\0';
	if (gid_tag != NULL && gid_tag() != NULL)
		return psprintf("%s.%s", gid, gid_tag());
	return gid;
}

const char *
gid_tag_of(const char *gid)
{
	const char *tag = gid + NTIME + NRANDOM + 1;

	if (strlen(gid) != NTIME + NRANDOM + 1 + GID_TAG_LEN || tag[-1] != '.' ||
		strspn(gid, digits) != NTIME + NRANDOM || strspn(tag, "0123456789abcdef") != GID_TAG_LEN)
		return NULL;
	return tag;
}
