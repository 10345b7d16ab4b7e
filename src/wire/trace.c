/*
 * trace.c
 *		The traceparent header (W3C Trace Context, version 00): which trace a
 *		call belongs to.
 *
 * The trace is that of the option traceparent; without one, it is made from
 * the gid, so that all calls of a transaction have the same, whichever process
 * makes them.  Each call is a span of its own.
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

char *
trace_header(const StoreTrans *trans, int op)
{
	uint64		span = hash_of(trans->gid, (uint64) GetCurrentTimestamp() * 65536 + (uint64) (op + 1));

	for (int i = 0; i < trans->nheaders; i++)
		if (pg_strcasecmp(trans->header_name[i], WIRE_TRACEPARENT) == 0 &&
			wire_is_traceparent(trans->header_value[i]))
			return psprintf(WIRE_TRACEPARENT ": 00-%.*s-%016llx-%.2s", TRACE_ID_LEN,
							trans->header_value[i] + TRACE_ID_AT,
							(unsigned long long) span,
							trans->header_value[i] + FLAGS_AT);
	return psprintf(WIRE_TRACEPARENT ": 00-%016llx%016llx-%016llx-" DEFAULT_FLAGS,
					(unsigned long long) hash_of(trans->gid, 1),
					(unsigned long long) hash_of(trans->gid, 2),
					(unsigned long long) span);
}
