/*
 * otlp.h
 *		Spans as OTLP has them over HTTP, in the JSON mapping of its protocol
 *		buffers (opentelemetry-proto, collector/trace/v1).
 *
 * Plain C: knows neither PostgreSQL nor who sends what is written here.  No function
 * allocates; what does not fit is not written.
 */
#ifndef DTM_COORDINATOR_OTLP_H
#define DTM_COORDINATOR_OTLP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where spans go below the endpoint that is configured. */
#define OTLP_TRACES_PATH		"/v1/traces"

/* Bytes of a text at most, without escapes; longer ones are cut between characters. */
#define OTLP_MAX_TEXT			1024

/* Ids in hexadecimal digits, with the NUL. */
#define OTLP_TRACE_ID_SIZE		33
#define OTLP_SPAN_ID_SIZE		17

/* Values of SpanKind and StatusCode. */
typedef enum OtlpKind
{
	OTLP_KIND_INTERNAL = 1,
	OTLP_KIND_CLIENT = 3
} OtlpKind;

typedef enum OtlpStatus
{
	OTLP_STATUS_UNSET = 0,
	OTLP_STATUS_OK = 1,
	OTLP_STATUS_ERROR = 2
} OtlpStatus;

/* A text, or a number. */
typedef struct OtlpAttribute
{
	const char *key;
	const char *string;			/* NULL: a number */
	int64_t		number;
} OtlpAttribute;

/* Most attributes that a span has. */
#define OTLP_MAX_ATTRIBUTES		16

/* Texts are UTF-8; what is not, is replaced by U+FFFD. */
typedef struct OtlpSpan
{
	char		trace_id[OTLP_TRACE_ID_SIZE];
	char		span_id[OTLP_SPAN_ID_SIZE];
	char		parent_id[OTLP_SPAN_ID_SIZE];	/* "": none */
	bool		parent_is_remote;
	uint8_t		trace_flags;	/* of W3C Trace Context */
	OtlpKind	kind;
	const char *name;
	int64_t		start;			/* us since the Unix epoch */
	int64_t		end;			/* the same; not before the start */
	OtlpStatus	status;
	const char *message;		/* of a status that is an error; NULL: none */
	int			nattributes;
	OtlpAttribute attributes[OTLP_MAX_ATTRIBUTES];
} OtlpSpan;

/* A request that is being written. */
typedef struct OtlpBuffer
{
	char	   *data;			/* of the caller; not NUL-terminated */
	size_t		size;
	size_t		len;			/* written so far */
	int			nspans;
} OtlpBuffer;

/* Begins a request; false: the buffer is too small even for that. */
extern bool otlp_begin(OtlpBuffer *buffer, char *data, size_t size,
					   const OtlpAttribute *resource, int nresource,
					   const char *scope, const char *version);

/* Adds a span; false: there is no room for it, and the buffer is as it was. */
extern bool otlp_add(OtlpBuffer *buffer, const OtlpSpan *span);

/* Ends the request: buffer->len bytes of JSON.  Nothing can be added any more. */
extern void otlp_end(OtlpBuffer *buffer);

/* Adds an attribute, unless there are OTLP_MAX_ATTRIBUTES. */
extern void otlp_set_text(OtlpSpan *span, const char *key, const char *text);
extern void otlp_set_number(OtlpSpan *span, const char *key, int64_t number);

/*
 * What a collector answers with a status of success: how many spans it has rejected
 * all the same (ExportTracePartialSuccess), and why: the letters of the JSON string,
 * cut to fit.  Whatever is not that answer has rejected none.
 */
extern int64_t otlp_rejected(const char *json, size_t len, char *message, size_t size);

#endif							/* DTM_COORDINATOR_OTLP_H */
