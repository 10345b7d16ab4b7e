/*
 * nearest.c
 *		Which known name somebody may have meant.
 */
#include "nearest.h"

#include "compat.h"

#include "utils/varlena.h"

/* Longer names are no misspelt ones: keys of ours are short. */
#define MAX_NAME	63

/* So many letters of a name, but never half of it, may be wrong. */
#define MAX_DISTANCE	3

/* So many letters are enough of a name to know it by. */
#define MIN_PART		4

static char *
lower_case(const char *name)
{
	char	   *lower = pstrdup(name);

	for (char *c = lower; *c; c++)
		*c = (char) pg_ascii_tolower((unsigned char) *c);
	return lower;
}

const char *
nearest_name(const char *name, const char *const *known, int n)
{
	const char *lower = lower_case(name);
	int			len = (int) strlen(lower);
	int			least = Min(MAX_DISTANCE, (len - 1) / 2) + 1;
	const char *nearest = NULL;

	if (len == 0 || len > MAX_NAME)
		return NULL;
	for (int i = 0; i < n; i++)
	{
		int			distance =
			varstr_levenshtein_less_equal(lower, len, known[i], (int) strlen(known[i]),
										  1, 1, 1, least, true);

		/* at equal distance, a name that begins as the misspelt one does */
		if (distance < least ||
			(distance == least && nearest != NULL &&
			 nearest[0] != lower[0] && known[i][0] == lower[0]))
		{
			least = distance;
			nearest = known[i];
		}
	}
	/* or the one that it is a part of */
	for (int i = 0; nearest == NULL && len >= MIN_PART && i < n; i++)
		if (strstr(known[i], lower) != NULL)
			nearest = known[i];
	return nearest;
}
