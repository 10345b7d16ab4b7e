/*
 * trace.c
 *		The traceparent header (W3C Trace Context, version 00): the trace to
 *		which a call belongs.
 *
 * The option traceparent sets the trace.  Without it, the trace id is derived
 * from the gid, so that all calls of a transaction have the same trace id,
 * whichever process makes them.  Each call has its own span id.
 */
#include "private.h"

#include "common/hashfn.h"
#include "utils/timestamp.h"

/* "00-" trace id "-" span id "-" flags */
#define TRACE_ID_AT		3
#define TRACE_ID_LEN	32
#define SPAN_ID_AT		36
#define SPAN_ID_LEN		16
#define FLAGS_AT		53
#define TRACEPARENT_LEN	55

/* Recorded: whoever traces decides for itself. */
#define DEFAULT_FLAGS	"01"

static bool
is_hex(const char *text, int len)
{
	bool		all_zero = true;

	for (int i = 0; i < len; i++)
	{
		if (!((text[i] >= '0' && text[i] <= '9') ||
			  (text[i] >= 'a' && text[i] <= 'f')))
			return false;
		all_zero = all_zero && text[i] == '0';
	}
	/* ids of nothing but zeros are invalid; flags may be */
	return !all_zero || len == 2;
}

bool
wire_is_traceparent(const char *value)
{
	return strlen(value) == TRACEPARENT_LEN && strncmp(value, "00-", 3) == 0 &&
		is_hex(value + TRACE_ID_AT, TRACE_ID_LEN) &&
		value[SPAN_ID_AT - 1] == '-' &&
		is_hex(value + SPAN_ID_AT, SPAN_ID_LEN) &&
		value[FLAGS_AT - 1] == '-' &&
		is_hex(value + FLAGS_AT, 2);
}

static uint64
hash_of(const char *text, uint64 seed)
{
	uint64		hash = DatumGetUInt64(hash_any_extended((const unsigned char *) text,
														(int) strlen(text), seed));

	return hash != 0 ? hash : 1;
}

/* Its 16 hexadecimal digits: each call has three, and printf is slow at that. */
static void
put_hex(char *to, uint64 number)
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 15; i >= 0; i--, number >>= 4)
		to[i] = digits[number & 15];
}

char *
trace_header(const Transaction *trans, int op)
{
	char	   *header = pstrdup(WIRE_TRACEPARENT ": "
								 "00-00000000000000000000000000000000-0000000000000000-" DEFAULT_FLAGS);
	char	   *value = header + strlen(WIRE_TRACEPARENT ": ");
	const char *given = NULL;

	for (int i = 0; i < trans->nheaders && given == NULL; i++)
		if (pg_strcasecmp(trans->header_name[i], WIRE_TRACEPARENT) == 0 &&
			wire_is_traceparent(trans->header_value[i]))
			given = trans->header_value[i];
	if (given != NULL)
		memcpy(value, given, TRACEPARENT_LEN);
	else
	{
		put_hex(value + TRACE_ID_AT, hash_of(trans->gid, 1));
		put_hex(value + TRACE_ID_AT + TRACE_ID_LEN / 2, hash_of(trans->gid, 2));
	}
	put_hex(value + SPAN_ID_AT,
			hash_of(trans->gid, (uint64) GetCurrentTimestamp() * 65536 + (uint64) (op + 1)));
	return header;
}
