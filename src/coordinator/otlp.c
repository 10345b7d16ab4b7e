/*
 * otlp.c
 *		Spans as OTLP has them over HTTP; see otlp.h.
 *
 * Where the JSON mapping of OTLP differs from that of protocol buffers: ids are
 * hexadecimal digits, not base64, and enums are numbers.  Numbers of 64 bits are
 * strings in both.
 */
#include "otlp.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What a request ends with. */
#define SUFFIX		"]}]}]}"
#define SUFFIX_LEN	(sizeof(SUFFIX) - 1)

/* Bits of Span.flags: it is known whether the parent is remote, and it is. */
#define FLAG_HAS_IS_REMOTE	0x100
#define FLAG_IS_REMOTE		0x200

#define NSEC_PER_USEC		1000

/* Writes into what is left of a buffer; "full" once something did not fit. */
typedef struct Writer
{
	char	   *at;
	char	   *end;
	bool		full;
} Writer;

static void
put_bytes(Writer *w, const char *bytes, size_t len)
{
	if (len > (size_t) (w->end - w->at))
	{
		w->full = true;
		w->end = w->at;
		return;
	}
	memcpy(w->at, bytes, len);
	w->at += len;
}

static void
put(Writer *w, const char *text)
{
	put_bytes(w, text, strlen(text));
}

static void
put_number(Writer *w, int64_t number)
{
	char		digits[24];

	put_bytes(w, digits, (size_t) snprintf(digits, sizeof(digits), "%" PRId64, number));
}

/* ---------- strings ---------- */

static bool
is_continuation(unsigned char c)
{
	return (c & 0xc0) == 0x80;
}

/* Bytes of the character at the beginning of UTF-8 text; 0: it is none. */
static size_t
character(const unsigned char *bytes, size_t len)
{
	unsigned char c = bytes[0];
	size_t		n = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;

	if (n == 0 || n > len)
		return 0;
	for (size_t i = 1; i < n; i++)
		if (!is_continuation(bytes[i]))
			return 0;
	/* longer than need be, surrogates, and beyond what there is */
	if ((c == 0xe0 && bytes[1] < 0xa0) || (c == 0xed && bytes[1] > 0x9f) ||
		(c == 0xf0 && bytes[1] < 0x90) || (c == 0xf4 && bytes[1] > 0x8f))
		return 0;
	return n;
}

static void
put_escaped(Writer *w, unsigned char c)
{
	char		escape[8];

	if (c == '"' || c == '\\')
		snprintf(escape, sizeof(escape), "\\%c", c);
	else
		snprintf(escape, sizeof(escape), "\\u%04x", (unsigned int) c);
	put(w, escape);
}

/* A JSON string. */
static void
put_string(Writer *w, const char *string)
{
	const unsigned char *bytes = (const unsigned char *) string;
	size_t		len = strlen(string);
	size_t		limit = len < OTLP_MAX_TEXT ? len : OTLP_MAX_TEXT;

	put(w, "\"");
	for (size_t i = 0; i < limit;)
	{
		size_t		n = character(bytes + i, len - i);

		/* one that is cut is left out */
		if (i + n > limit)
			break;
		if (n == 0)
			put(w, "\xef\xbf\xbd");
		else if (n == 1 && (bytes[i] < ' ' || bytes[i] == '"' || bytes[i] == '\\' || bytes[i] == 0x7f))
			put_escaped(w, bytes[i]);
		else
			put_bytes(w, string + i, n);
		i += n == 0 ? 1 : n;
	}
	put(w, "\"");
}

static void
put_attribute(Writer *w, const OtlpAttribute *attribute)
{
	put(w, "{\"key\":");
	put_string(w, attribute->key);
	put(w, ",\"value\":{");
	if (attribute->string != NULL)
	{
		put(w, "\"stringValue\":");
		put_string(w, attribute->string);
	}
	else
	{
		put(w, "\"intValue\":\"");
		put_number(w, attribute->number);
		put(w, "\"");
	}
	put(w, "}}");
}

static void
put_attributes(Writer *w, const OtlpAttribute *attributes, int n)
{
	put(w, "\"attributes\":[");
	for (int i = 0; i < n; i++)
	{
		if (i > 0)
			put(w, ",");
		put_attribute(w, &attributes[i]);
	}
	put(w, "]");
}

/* ---------- requests ---------- */

/* What may be written besides the end of the request. */
static Writer
writer_of(const OtlpBuffer *buffer)
{
	Writer		w;

	w.full = buffer->size < buffer->len + SUFFIX_LEN;
	w.at = buffer->data + buffer->len;
	w.end = w.full ? w.at : buffer->data + buffer->size - SUFFIX_LEN;
	return w;
}

static bool
written(OtlpBuffer *buffer, const Writer *w)
{
	if (w->full)
		return false;
	buffer->len = (size_t) (w->at - buffer->data);
	return true;
}

bool
otlp_begin(OtlpBuffer *buffer, char *data, size_t size, const OtlpAttribute *resource,
		   int nresource, const char *scope, const char *version)
{
	Writer		w;

	buffer->data = data;
	buffer->size = size;
	buffer->len = 0;
	buffer->nspans = 0;
	w = writer_of(buffer);
	put(&w, "{\"resourceSpans\":[{\"resource\":{");
	put_attributes(&w, resource, nresource);
	put(&w, "},\"scopeSpans\":[{\"scope\":{\"name\":");
	put_string(&w, scope);
	put(&w, ",\"version\":");
	put_string(&w, version);
	put(&w, "},\"spans\":[");
	return written(buffer, &w);
}

static void
put_time(Writer *w, const char *key, int64_t us)
{
	char		member[64];

	/* before 1970 there is none */
	snprintf(member, sizeof(member), ",\"%s\":\"%" PRIu64 "\"", key,
			 us > 0 ? (uint64_t) us * NSEC_PER_USEC : 0);
	put(w, member);
}

static void
put_status(Writer *w, const OtlpSpan *span)
{
	put(w, ",\"status\":{\"code\":");
	put_number(w, span->status);
	if (span->status == OTLP_STATUS_ERROR && span->message != NULL && span->message[0] != '\0')
	{
		put(w, ",\"message\":");
		put_string(w, span->message);
	}
	put(w, "}");
}

bool
otlp_add(OtlpBuffer *buffer, const OtlpSpan *span)
{
	Writer		w = writer_of(buffer);

	put(&w, buffer->nspans > 0 ? ",{\"traceId\":" : "{\"traceId\":");
	put_string(&w, span->trace_id);
	put(&w, ",\"spanId\":");
	put_string(&w, span->span_id);
	if (span->parent_id[0] != '\0')
	{
		put(&w, ",\"parentSpanId\":");
		put_string(&w, span->parent_id);
	}
	put(&w, ",\"flags\":");
	put_number(&w, span->trace_flags | FLAG_HAS_IS_REMOTE |
			   (span->parent_is_remote ? FLAG_IS_REMOTE : 0));
	put(&w, ",\"name\":");
	put_string(&w, span->name);
	put(&w, ",\"kind\":");
	put_number(&w, span->kind);
	put_time(&w, "startTimeUnixNano", span->start);
	put_time(&w, "endTimeUnixNano", span->end > span->start ? span->end : span->start);
	put(&w, ",");
	put_attributes(&w, span->attributes, span->nattributes);
	put_status(&w, span);
	put(&w, "}");
	if (!written(buffer, &w))
		return false;
	buffer->nspans++;
	return true;
}

void
otlp_end(OtlpBuffer *buffer)
{
	memcpy(buffer->data + buffer->len, SUFFIX, SUFFIX_LEN);
	buffer->len += SUFFIX_LEN;
}

static OtlpAttribute *
new_attribute(OtlpSpan *span, const char *key)
{
	OtlpAttribute *attribute;

	if (span->nattributes == OTLP_MAX_ATTRIBUTES)
		return NULL;
	attribute = &span->attributes[span->nattributes++];
	attribute->key = key;
	attribute->string = NULL;
	attribute->number = 0;
	return attribute;
}

void
otlp_set_text(OtlpSpan *span, const char *key, const char *text)
{
	OtlpAttribute *attribute = new_attribute(span, key);

	if (attribute != NULL)
		attribute->string = text;
}

void
otlp_set_number(OtlpSpan *span, const char *key, int64_t number)
{
	OtlpAttribute *attribute = new_attribute(span, key);

	if (attribute != NULL)
		attribute->number = number;
}

/* ---------- answers ---------- */

/* Where reading the answer has come to. */
typedef struct Reader
{
	const char *at;
	const char *end;
} Reader;

static void
skip_blanks(Reader *r)
{
	while (r->at < r->end && strchr(" \t\r\n", *r->at) != NULL && *r->at != '\0')
		r->at++;
}

static bool
take(Reader *r, char c)
{
	skip_blanks(r);
	if (r->at == r->end || *r->at != c)
		return false;
	r->at++;
	return true;
}

/* The letters of a string, as they stand there; false: there is none. */
static bool
take_string(Reader *r, const char **begin, size_t *len)
{
	if (!take(r, '"'))
		return false;
	*begin = r->at;
	while (r->at < r->end && *r->at != '"')
	{
		if (*r->at == '\\' && r->at + 1 < r->end)
			r->at++;
		r->at++;
	}
	if (r->at == r->end)
		return false;
	*len = (size_t) (r->at - *begin);
	r->at++;
	return true;
}

/* Any value, however deep, without recursion; false: there is none. */
static bool
skip_value(Reader *r)
{
	const char *begin;
	size_t		len;
	int			depth = 0;

	do
	{
		skip_blanks(r);
		if (r->at == r->end)
			return false;
		if (*r->at == '"')
		{
			if (!take_string(r, &begin, &len))
				return false;
			continue;
		}
		if (*r->at == '{' || *r->at == '[')
			depth++;
		else if (*r->at == '}' || *r->at == ']')
			depth--;
		else if (depth == 0)
		{
			/* a number or a word, up to what ends it */
			begin = r->at;
			while (r->at < r->end && (*r->at == '\0' || strchr(",}] \t\r\n", *r->at) == NULL))
				r->at++;
			return r->at > begin;
		}
		r->at++;
	} while (depth > 0);
	return depth == 0;
}

/* Goes to the value of a key of an object; false: there is none. */
static bool
enter_key(Reader *r, const char *key)
{
	const char *name;
	size_t		len;

	if (!take(r, '{'))
		return false;
	do
	{
		if (!take_string(r, &name, &len) || !take(r, ':'))
			return false;
		if (len == strlen(key) && memcmp(name, key, len) == 0)
			return true;
		if (!skip_value(r))
			return false;
	} while (take(r, ','));
	return false;
}

/* A number of 64 bits, which may be a string; 0: it is none, or not positive. */
static int64_t
read_number(Reader r)
{
	int64_t		number = 0;

	(void) take(&r, '"');
	skip_blanks(&r);
	for (; r.at < r.end && *r.at >= '0' && *r.at <= '9'; r.at++)
	{
		if (number > INT64_MAX / 10 - 1)
			return INT64_MAX;
		number = number * 10 + (*r.at - '0');
	}
	return number;
}

int64_t
otlp_rejected(const char *json, size_t len, char *message, size_t size)
{
	Reader		partial = {json, json + len};
	Reader		r;
	const char *text;
	size_t		text_len;

	message[0] = '\0';
	if (!enter_key(&partial, "partialSuccess"))
		return 0;
	r = partial;
	if (enter_key(&r, "errorMessage") && take_string(&r, &text, &text_len))
		snprintf(message, size, "%.*s", (int) (text_len < size ? text_len : size - 1), text);
	r = partial;
	return enter_key(&r, "rejectedSpans") ? read_number(r) : 0;
}
