/*
 * private.h
 *		What the files that read requests share.
 */
#ifndef DTM_REQUEST_PRIVATE_H
#define DTM_REQUEST_PRIVATE_H

#include "request.h"

#include "compat.h"
#include "dtm.h"

/* ---------- json.c: "what" names the value in an error ---------- */

/* One pair of a JSON object. */
typedef struct JsonPair
{
	char	   *key;
	JsonbValue	value;
} JsonPair;

/* The pairs of an object, n of them. */
extern JsonPair *read_pairs(JsonbContainer *container, const char *what,
							int *n);

/* The elements of an array, n of them. */
extern JsonbValue *read_elements(const JsonbValue *value, const char *what,
								 int *n);
extern char *read_string(const JsonbValue *value, const char *what);
extern bool read_bool(const JsonbValue *value, const char *what);

/* A number from 0 to max. */
extern double read_number(const JsonbValue *value, const char *what,
						  double max);
extern JsonbContainer *read_object(const JsonbValue *value, const char *what);

/* ---------- options.c ---------- */

/* Reads one option into the request; false if there is none of this name. */
extern bool request_read_option(Request *request, const char *key,
								const JsonbValue *value);

/* An error unless a URL is empty or can be called. */
extern void request_check_url(const char *url, const char *what);

/* ---------- request.c ---------- */

/* A type that this version coordinates, or an error. */
extern DtmTransType request_check_trans_type(const char *name);

/* Errors where there are too many steps, or too many bytes in them. */
extern void request_check_step_count(int n);
extern void request_check_size(const StoreTrans *trans);

/* A string of the object as the bytes of a body; empty is none (§5.2). */
extern bytea *request_body(const char *string);

#endif							/* DTM_REQUEST_PRIVATE_H */
