/*
 * private.h
 *		What the files that read requests share.
 */
#ifndef DTM_REQUEST_PRIVATE_H
#define DTM_REQUEST_PRIVATE_H

#include "request.h"

#include "compat.h"
#include "errors.h"
#include "settings.h"
#include "transaction.h"
#include "utf8.h"
#include "wire/wire.h"

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

/*
 * Reads one option into the request, and notes that it was given; false if
 * there is none of this name.
 */
extern bool request_read_option(Request *request, const char *key,
								const JsonbValue *value);

/* Is this option a key of the wire's object, too? */
extern bool request_is_object_option(const char *key);

/* All of them, for a hint. */
extern const char *request_option_names(void);

/* A traceparent becomes one of the headers; NULL leaves them as they are. */
extern void request_set_traceparent(Transaction *trans, char *traceparent);

/* How a workflow has ended: succeed or failed. */
extern void request_set_end(Request *request, const char *status);

/* ---------- url.c ---------- */

/* Does a step go to a topic? */
static inline bool
is_topic(const char *url)
{
	return strncmp(url, DTM_SCHEME_TOPIC, strlen(DTM_SCHEME_TOPIC)) == 0;
}

typedef enum RequestUrl
{
	REQUEST_URL_ANY,
	REQUEST_URL_REMOTE			/* no function in this database */
} RequestUrl;

/*
 * An error unless a URL is empty, or can be called by the current role.  A
 * function is called as whoever submitted: it is for that role, or one that has
 * its rights, to name it, and for nobody else.
 */
extern void request_check_url(const char *protocol, const char *url,
							  const char *what, RequestUrl may_be,
							  Oid submitted_by);

/* An error unless a payload is none, or fits how the URL is called. */
extern void request_check_payload(const char *protocol, const char *url,
								  const char *what, const bytea *payload);

/* ---------- request.c ---------- */

/*
 * An error if a name that goes into requests has a control character, or no
 * form in UTF-8.
 */
extern void request_check_name(const char *name, const char *what);

/* A type of global transactions, or an error. */
extern DtmTransType request_check_trans_type(const char *name);

/* Errors where there are too many steps, or too many bytes in them. */
extern void request_check_step_count(int n);
extern void request_check_size(const Transaction *trans);

#endif							/* DTM_REQUEST_PRIVATE_H */
