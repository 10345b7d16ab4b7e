/*
 * reply.c
 *		The meaning of a branch's response (§6).
 */
#include "core.h"

#include <string.h>

/* Status codes of gRPC. */
#define GRPC_OK						0
#define GRPC_FAILED_PRECONDITION	9
#define GRPC_ABORTED				10

/* Error codes of JSON-RPC that dtm has given a meaning. */
#define JSONRPC_FAILURE		(-32901)
#define JSONRPC_ONGOING		(-32902)

bool
dtm_status_set_has(const DtmStatusSet *set, int status)
{
	int			bit = status - DTM_STATUS_MIN;

	return status >= DTM_STATUS_MIN && status <= DTM_STATUS_MAX &&
		(set->bits[bit / 64] >> (bit % 64) & 1) != 0;
}

/* "404", "4xx"; from 0 on failure. */
static size_t
parse_status(const char *text, size_t len, int *first, int *last)
{
	if (len < 3 || text[0] < '1' || text[0] > '5')
		return 0;
	*first = (text[0] - '0') * 100;
	*last = *first + 99;
	if ((text[1] == 'x' || text[1] == 'X') && (text[2] == 'x' || text[2] == 'X'))
		return 3;
	if (text[1] < '0' || text[1] > '9' || text[2] < '0' || text[2] > '9')
		return 0;
	*first += (text[1] - '0') * 10 + text[2] - '0';
	*last = *first;
	return 3;
}

static size_t
skip_blanks(const char *text, size_t len)
{
	size_t		n = 0;

	while (n < len && (text[n] == ' ' || text[n] == '\t'))
		n++;
	return n;
}

bool
dtm_status_set_parse(const char *text, size_t len, DtmStatusSet *set)
{
	size_t		i = 0;

	memset(set, 0, sizeof(*set));
	for (;;)
	{
		int			first;
		int			last;
		int			end;
		size_t		n;

		i += skip_blanks(text + i, len - i);
		n = parse_status(text + i, len - i, &first, &last);
		if (n == 0)
			return false;
		i += n;
		if (i < len && text[i] == '-')
		{
			n = parse_status(text + i + 1, len - i - 1, &end, &last);
			if (n == 0 || end < first)
				return false;
			i += n + 1;
		}
		for (int status = first; status <= last; status++)
			set->bits[(status - DTM_STATUS_MIN) / 64] |=
				UINT64_C(1) << ((status - DTM_STATUS_MIN) % 64);
		i += skip_blanks(text + i, len - i);
		if (i == len)
			return true;
		if (text[i++] != ',')
			return false;
	}
}

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

/* R-05; "ONGOING" as the whole message is the old protocol's way (§10). */
DtmResult
dtm_classify_grpc(int grpc_status, const char *message)
{
	switch (grpc_status)
	{
		case GRPC_OK:
			return DTM_RESULT_SUCCESS;
		case GRPC_FAILED_PRECONDITION:
			return DTM_RESULT_ONGOING;
		case GRPC_ABORTED:
			return message != NULL && strcmp(message, "ONGOING") == 0 ?
				DTM_RESULT_ONGOING : DTM_RESULT_FAILURE;
		default:
			return DTM_RESULT_TEMPORARY;
	}
}

/* As it is meant; dtm compares the numbers wrongly. */
DtmResult
dtm_classify_jsonrpc(double error_code)
{
	if (error_code == JSONRPC_FAILURE)
		return DTM_RESULT_FAILURE;
	if (error_code == JSONRPC_ONGOING)
		return DTM_RESULT_ONGOING;
	return DTM_RESULT_TEMPORARY;
}

/* The statuses 409 and 425 in the form that SQL has for them. */
DtmResult
dtm_classify_sqlstate(const char *sqlstate)
{
	if (strcmp(sqlstate, "DT409") == 0)
		return DTM_RESULT_FAILURE;
	if (strcmp(sqlstate, "DT425") == 0)
		return DTM_RESULT_ONGOING;
	return DTM_RESULT_TEMPORARY;
}
