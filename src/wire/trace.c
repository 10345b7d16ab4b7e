/*
 * trace.c
 *		The traceparent header (W3C Trace Context, version 00): the trace to
 *		which a call belongs.
 *
 * The option traceparent sets the trace.  Without it, the trace id is derived
 * from the gid, and so is the id of the transaction's own span: they are the same
 * whichever process makes the calls, and nothing is stored.  Each call has its own
 * span id.
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

/* Seeds of the hashes of a gid. */
#define SEED_TRACE_HIGH	1
#define SEED_TRACE_LOW	2
#define SEED_ROOT		3

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

const char *
wire_traceparent(const Transaction *trans)
{
	for (int i = 0; i < trans->nheaders; i++)
		if (pg_strcasecmp(trans->header_name[i], WIRE_TRACEPARENT) == 0 &&
			wire_is_traceparent(trans->header_value[i]))
			return trans->header_value[i];
	return NULL;
}

/* The trace id of a transaction without the option. */
static void
put_trace_id(char *to, const char *gid)
{
	put_hex(to, hash_of(gid, SEED_TRACE_HIGH));
	put_hex(to + TRACE_ID_LEN / 2, hash_of(gid, SEED_TRACE_LOW));
}

void
wire_trace(const char *gid, const char *traceparent, WireTrace *trace)
{
	memset(trace, 0, sizeof(*trace));
	put_hex(trace->root_id, hash_of(gid, SEED_ROOT));
	if (traceparent == NULL)
	{
		put_trace_id(trace->trace_id, gid);
		trace->flags = WIRE_TRACE_SAMPLED;
		return;
	}
	memcpy(trace->trace_id, traceparent + TRACE_ID_AT, TRACE_ID_LEN);
	memcpy(trace->parent_id, traceparent + SPAN_ID_AT, SPAN_ID_LEN);
	trace->flags = (uint8) strtoul(traceparent + FLAGS_AT, NULL, 16);
}

/* The seed of a span id: no two calls of an op begin in the same microsecond. */
static uint64
seed_of(int op, TimestampTz time)
{
	return (uint64) time * 65536 + (uint64) (op + 1);
}

void
wire_span_id(const char *gid, int op, TimestampTz time, char id[WIRE_SPAN_ID_SIZE])
{
	put_hex(id, hash_of(gid, seed_of(op, time)));
	id[SPAN_ID_LEN] = '\0';
}

bool
wire_span_id_of(const DtmCall *call, char id[WIRE_SPAN_ID_SIZE])
{
	const char *header = call->own_headers[DTM_TRACE_HEADER];

	if (header == NULL)
		return false;
	memcpy(id, header + strlen(WIRE_TRACEPARENT ": ") + SPAN_ID_AT, SPAN_ID_LEN);
	id[SPAN_ID_LEN] = '\0';
	return true;
}

char *
trace_header(const Transaction *trans, int op)
{
	char	   *header = pstrdup(WIRE_TRACEPARENT ": "
								 "00-00000000000000000000000000000000-0000000000000000-" DEFAULT_FLAGS);
	char	   *value = header + strlen(WIRE_TRACEPARENT ": ");
	const char *given = wire_traceparent(trans);

	if (given != NULL)
		memcpy(value, given, TRACEPARENT_LEN);
	else
		put_trace_id(value + TRACE_ID_AT, trans->gid);
	put_hex(value + SPAN_ID_AT, hash_of(trans->gid, seed_of(op, GetCurrentTimestamp())));
	return header;
}
