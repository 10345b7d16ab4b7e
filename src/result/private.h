/*
 * private.h
 *		Shared by the files of the results.
 */
#ifndef DTM_RESULT_PRIVATE_H
#define DTM_RESULT_PRIVATE_H

#include "result.h"

#include "compat.h"
#include "errors.h"
#include "settings.h"
#include "text/utf8.h"

#include "utils/jsonb.h"
#include "utils/jsonpath.h"

/* ---------- path.c ---------- */

/* A path, checked. */
typedef struct ResultPath
{
	const char *text;
	char	   *step;			/* its first key */
	JsonPathItem rest;			/* what follows that; only if has_rest */
	bool		has_rest;
} ResultPath;

/* Reads a path, or throws an error. */
extern void path_read(const char *text, ResultPath *path);

/* Follows what comes behind the first key; false: there is nothing. */
extern bool path_follow(const ResultPath *path, Jsonb *result, JsonbValue *value);

/* ---------- replace.c ---------- */

/* Sets the value of a reference, or throws an error. */
typedef struct References
{
	void		(*value) (void *arg, const char *path, JsonbValue *value);
	void	   *arg;
	bool		lenient;		/* what cannot be part of a URL or header is
								 * "null" there */
	bool		strict;			/* what resembles a reference in a payload,
								 * and is none, is an error */
} References;

/*
 * The first key of something like a reference in a URL, in a text that is none, if
 * it is a step's; NULL: there is none.
 */
extern const char *replace_find_key(const char *rest, bool (*is_step) (const void *arg, const char *key),
									const void *arg);

/* A URL, header or payload, with the values in it; the same one if it has no references. */
extern const char *replace_in_url(const char *url, const References *references);
extern const char *replace_in_header(const char *value, const References *references);
extern const bytea *replace_in_payload(const bytea *payload,
									   const References *references);

#endif							/* DTM_RESULT_PRIVATE_H */
