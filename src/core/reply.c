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

/* ---------- words in bodies ---------- */

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool
is_word(const char *text, size_t len, const char *word)
{
	return len == strlen(word) && memcmp(text, word, len) == 0;
}

/* The meaning of one word; TEMPORARY: it has none. */
static DtmResult
meaning_of(const char *text, size_t len)
{
	if (is_word(text, len, "ONGOING"))
		return DTM_RESULT_ONGOING;
	if (is_word(text, len, "FAILURE"))
		return DTM_RESULT_FAILURE;
	return DTM_RESULT_TEMPORARY;
}

/*
 * Of a body that has no other words than these two, with or without
 * quotes; ongoing goes before failure.
 */
static DtmResult
bare_words(const char *body, size_t len)
{
	static const char between[] = " \t\n\r\"'.,;:!";
	DtmResult	result = DTM_RESULT_TEMPORARY;

	for (size_t i = 0; i < len;)
	{
		size_t		begin = i;
		DtmResult	meaning;

		while (i < len && (body[i] == '\0' || strchr(between, body[i]) == NULL))
			i++;
		meaning = meaning_of(body + begin, i - begin);
		if (i > begin && meaning == DTM_RESULT_TEMPORARY)
			return DTM_RESULT_TEMPORARY;
		if (meaning != DTM_RESULT_TEMPORARY && result != DTM_RESULT_ONGOING)
			result = meaning;
		if (i == begin)
			i++;
	}
	return result;
}

/* The end of a JSON string whose first quote is at i: behind its last one. */
static size_t
end_of_string(const char *json, size_t len, size_t i)
{
	for (i++; i < len && json[i] != '"'; i++)
		if (json[i] == '\\')
			i++;
	return i < len ? i + 1 : len;
}

/*
 * The value of "dtm_result", if the body is a JSON object that has it: as dtm's
 * SDKs send it, not somewhere within others' data.  The last one counts.  One
 * pass, whatever the bytes are.
 */
static DtmResult
dtm_result(const char *json, size_t len)
{
	static const char key[] = "\"dtm_result\"";
	DtmResult	result = DTM_RESULT_TEMPORARY;
	int			depth = 0;
	bool		is_key = false; /* the string before was the key */
	bool		is_value = false;	/* and then came a colon */
	size_t		i = 0;

	while (i < len && is_blank(json[i]))
		i++;
	if (i == len || json[i] != '{')
		return result;
	while (i < len)
	{
		size_t		begin = i;

		switch (json[i])
		{
			case '"':
				i = end_of_string(json, len, i);
				if (is_value && i - begin >= 2 && json[i - 1] == '"')
					result = meaning_of(json + begin + 1, i - begin - 2);
				is_key = depth == 1 && !is_value && is_word(json + begin, i - begin, key);
				is_value = false;
				continue;
			case '{':
			case '[':
				depth++;
				break;
			case '}':
			case ']':
				depth--;
				break;
			case ':':
				is_value = is_key;
				is_key = false;
				i++;
				continue;
			default:
				if (is_blank(json[i]))
				{
					i++;
					continue;
				}
				break;
		}
		is_key = is_value = false;
		i++;
	}
	return result;
}

DtmResult
dtm_classify_words(const char *body, size_t body_len)
{
	DtmResult	result;

	/* most bodies have neither word: nothing else of them matters */
	if (body_len == 0 || (memmem(body, body_len, "ONGOING", 7) == NULL &&
						  memmem(body, body_len, "FAILURE", 7) == NULL))
		return DTM_RESULT_TEMPORARY;
	result = dtm_result(body, body_len);
	return result != DTM_RESULT_TEMPORARY ? result : bare_words(body, body_len);
}

/* ---------- meanings ---------- */

/*
 * ongoing goes before failure, and words before the status, but a
 * 5xx is never final.  What was given goes before what is usual.
 */
DtmResult
dtm_classify_http(const DtmReplyRules *rules, int status, const char *body,
				  size_t body_len)
{
	static const DtmReplyRules usual;

	if (rules == NULL)
		rules = &usual;
	if (!rules->ignore_words)
	{
		DtmResult	said = dtm_classify_words(body, body_len);

		if (said == DTM_RESULT_ONGOING || (said == DTM_RESULT_FAILURE && status < 500))
			return said;
	}
	if (rules->compensate_ok != NULL && dtm_status_set_has(rules->compensate_ok, status))
		return DTM_RESULT_SUCCESS;
	if (rules->ongoing != NULL && dtm_status_set_has(rules->ongoing, status))
		return DTM_RESULT_ONGOING;
	if (rules->final != NULL && dtm_status_set_has(rules->final, status))
		return DTM_RESULT_FAILURE;
	if (rules->success != NULL && dtm_status_set_has(rules->success, status))
		return DTM_RESULT_SUCCESS;
	if (rules->ongoing == NULL && status == 425)
		return DTM_RESULT_ONGOING;
	if (rules->final == NULL && status == 409)
		return DTM_RESULT_FAILURE;
	if (rules->success == NULL && status >= 200 && status < 300)
		return DTM_RESULT_SUCCESS;
	return DTM_RESULT_TEMPORARY;
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

/*
 * The statuses 409 and 425 in the form that SQL has for them.  Class 54 is a limit of
 * the program (too deep, too large), which the same request exceeds each time.
 */
DtmResult
dtm_classify_sqlstate(const char *sqlstate)
{
	if (strcmp(sqlstate, "DT409") == 0)
		return DTM_RESULT_FAILURE;
	if (strcmp(sqlstate, "DT425") == 0)
		return DTM_RESULT_ONGOING;
	if (strncmp(sqlstate, "54", 2) == 0)
		return DTM_RESULT_PERMANENT;
	return DTM_RESULT_TEMPORARY;
}
