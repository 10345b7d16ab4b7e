/*
 * json.h
 *		A scanner of JSON (RFC 8259): is it well-formed, and where are the
 *		members of an object?  No tree is built.
 */
#ifndef GW_JSON_H
#define GW_JSON_H

#include "buf.h"

/* How deep values may be nested. */
#define JSON_MAX_DEPTH	200

typedef enum JsonType
{
	JSON_NOTHING,				/* there is no such member */
	JSON_OBJECT,
	JSON_ARRAY,
	JSON_STRING,
	JSON_NUMBER,
	JSON_TRUE,
	JSON_FALSE,
	JSON_NULL
} JsonType;

/* A value as it stands in the text. */
typedef struct JsonValue
{
	JsonType	type;
	Bytes		text;			/* a string with its quotes */
} JsonValue;

/*
 * Reads a text that has to be one value.  False: it is malformed, nested too
 * deeply, or no UTF-8.
 */
extern bool json_read(const char *text, size_t len, JsonValue *value);

/*
 * The last member of this name of an object that json_read() has accepted.
 * Names are compared as they stand there, without their escapes.
 */
extern JsonValue json_member(const JsonValue *object, const char *name);

/* The characters of a string in UTF-8; escapes of half a pair become U+FFFD. */
extern void json_unescape(const JsonValue *string, Buf *out);

/* Writes a string with its quotes; what is no UTF-8 becomes U+FFFD. */
extern void json_write_string(Buf *out, const char *string, size_t len);

/* The length of the UTF-8 character at the beginning; 0: there is none. */
extern size_t json_utf8(const char *text, size_t len);

#endif							/* GW_JSON_H */
