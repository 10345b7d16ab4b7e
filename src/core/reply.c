/*
 * reply.c
 *		What a branch's reply means (§6).
 */
#include "core.h"

#include <string.h>

static bool
contains(const char *text, size_t len, const char *word)
{
	size_t		word_len = strlen(word);

	while (len >= word_len)
	{
		const char *first = memchr(text, word[0], len - word_len + 1);

		if (first == NULL)
			return false;
		if (memcmp(first, word, word_len) == 0)
			return true;
		len -= (size_t) (first - text) + 1;
		text = first + 1;
	}
	return false;
}

/*
 * ongoing is looked for first, the words count whatever the
 * status, and only 200 is success.
 */
DtmResult
dtm_classify_http(int http_status, const char *body, size_t body_len)
{
	if (http_status == 425 || contains(body, body_len, "ONGOING"))
		return DTM_RESULT_ONGOING;
	if (http_status == 409 || contains(body, body_len, "FAILURE"))
		return DTM_RESULT_FAILURE;
	if (http_status != 200)
		return DTM_RESULT_TEMPORARY;
	return DTM_RESULT_SUCCESS;
}
