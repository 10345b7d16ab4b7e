/*
 * gid.c
 *		Gids that are generated, and their tags.
 */
#include "gid.h"

#include "log.h"

#include <openssl/rand.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Before the tag: 48 bits of milliseconds, 80 of chance, in base 32. */
#define NDIGITS	26
#define NTIME	10

static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";

void
gid_make(char gid[GID_SIZE], const char *tag)
{
	unsigned char bytes[NDIGITS - NTIME];
	struct timespec now;
	uint64_t	ms;

	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
	{
		log_error("could not generate a random gid");
		abort();
	}
	(void) clock_gettime(CLOCK_REALTIME, &now);
	ms = (uint64_t) now.tv_sec * 1000 + (uint64_t) now.tv_nsec / 1000000;
	for (int i = NTIME - 1; i >= 0; i--, ms >>= 5)
		gid[i] = digits[ms & 31];
	for (int i = NTIME; i < NDIGITS; i++)
		gid[i] = digits[bytes[i - NTIME] & 31];
	(void) snprintf(gid + NDIGITS, GID_SIZE - NDIGITS, "%s%s", tag[0] != '\0' ? "." : "", tag);
}

const char *
gid_tag(const char *gid)
{
	const char *tag = gid + NDIGITS + 1;

	if (strlen(gid) != GID_SIZE - 1 || strspn(gid, digits) != NDIGITS || tag[-1] != '.' ||
		strspn(tag, "0123456789abcdef") != GID_TAG_LEN)
		return NULL;
	return tag;
}
