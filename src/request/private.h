/*
 * private.h
 *		Shared by the files that read requests.
 */
#ifndef DTM_REQUEST_PRIVATE_H
#define DTM_REQUEST_PRIVATE_H

#include "request.h"

#include "compat.h"
#include "errors.h"
#include "settings.h"
#include "text/header.h"
#include "text/nearest.h"
#include "text/utf8.h"
#include "transaction.h"
#include "wire/wire.h"

/* ---------- json.c: "what" names the value in an error ---------- */

/* One pair of a JSON object. */
typedef struct JsonPair
{
	char	   *key;
	JsonbValue	value;
} JsonPair;

/* The n pairs of an object. */
extern JsonPair *read_pairs(JsonbContainer *container, const char *what,
							int *n);

/* The n elements of an array. */
extern JsonbValue *read_elements(const JsonbValue *value, const char *what,
								 int *n);
extern char *read_string(const JsonbValue *value, const char *what);
extern bool read_bool(const JsonbValue *value, const char *what);

/* A number from 0 to max. */
extern double read_number(const JsonbValue *value, const char *what,
						  double max);
extern JsonbContainer *read_object(const JsonbValue *value, const char *what);

/* ---------- steps.c ---------- */

/* Makes room for n steps; an error if the type of the transaction has none. */
extern void request_allocate_steps(Request *request, int n);

/* An array of dtm_step, or a JSON array of objects, with its text or NULL. */
extern void request_read_steps(Request *request, ArrayType *steps);
extern void request_read_json_steps(Request *request, Jsonb *steps, const char *text);

/*
 * The payloads of a JSON array of objects that is given as text, to the letter;
 * NULL for a step without.
 */
extern bytea **request_payloads_of_text(const char *text, int nsteps);

/* steps and payloads of the object (§1.1); NULL: these are strings in it. */
extern void request_read_wire_steps(Request *request, JsonbValue *steps,
									const JsonbValue *payloads,
									const RequestPayloads *bytes);

/*
 * The payload of a step with these options: text is the body itself where the content
 * type is not JSON.  "json" is the value as it was written, or NULL.
 */
extern bytea *request_payload_of_value(const JsonbValue *value, bytea *json,
									   const StepOptions *options);

/* An error if steps have the same name. */
extern void request_check_names(const Transaction *trans);

/* An error if a step has options that do not apply to it. */
extern void request_check_step(const Transaction *trans, int i);

/* ---------- policy.c ---------- */

/* An error if what is to become of a step, once exhausted, does not fit the type. */
extern void request_check_policy(const Transaction *trans, int i);

/* An error if a request of this type cannot be in a lane. */
extern void request_check_lane(const Request *request);

/* ---------- options.c ---------- */

/*
 * Reads an option into the request, and notes that it was given; false if the
 * option is unknown.
 */
extern bool request_read_option(Request *request, const char *key,
								const JsonbValue *value);

/* Is this option also a key of the wire's object? */
extern bool request_is_object_option(const char *key);

/* The names of all options, for a hint. */
extern const char *request_option_names(void);

/* The option that somebody may have meant; NULL: none. */
extern const char *request_nearest_option(DtmTransType type, const char *key);

/* Adds a traceparent to the headers; NULL: does nothing. */
extern void request_set_traceparent(Transaction *trans, char *traceparent);

/* Sets how a workflow has ended: succeed or failed. */
extern void request_set_end(Request *request, const char *status);

/* ---------- url.c ---------- */

/* Is the URL of a step a topic? */
static inline bool
is_topic(const char *url)
{
	return strncmp(url, DTM_SCHEME_TOPIC, strlen(DTM_SCHEME_TOPIC)) == 0;
}

typedef enum RequestUrl
{
	REQUEST_URL_ANY,
	REQUEST_URL_REMOTE			/* not a function in this database */
} RequestUrl;

/*
 * An error unless the URL is empty, or the current role may have it called.  A
 * function is called as the role that submitted, so only a role with the
 * privileges of that role may name it.
 */
extern void request_check_url(const char *protocol, const char *url,
							  const char *what, RequestUrl may_be,
							  Oid submitted_by);

/* The kind of a branch, by the URL that it will be called at; "what" is named in errors. */
extern WireKind request_url_kind(const char *protocol, const char *url,
								 const char *what);

/* An error if the payload does not fit the kind of the URL. */
extern void request_check_payload(const char *protocol, const char *url,
								  const char *what, const bytea *payload);

/* ---------- results.c ---------- */

/* Errors in the option results, and in references to results. */
extern void request_check_results(const Transaction *trans);

/* Does a step have what looks like a reference? */
extern bool request_has_reference(const Transaction *trans, int step);

/* An error if it has one, without that option. */
extern void request_check_no_reference(const Transaction *trans, int step);

/* An error if branch_headers refer to results. */
extern void request_check_branch_headers(const Transaction *trans);

/* A URL as it is to be checked: with something in the place of references. */
extern const char *request_plain_url(const Transaction *trans, const char *url);

/* ---------- request.c ---------- */

/*
 * An error if a name that goes into requests has a control character, or no
 * form in UTF-8.
 */
extern void request_check_name(const char *name, const char *what);

/* Parses a trans_type, or throws an error. */
extern DtmTransType request_check_trans_type(const char *name);

/* Errors if there are too many steps, or if they are too large. */
extern void request_check_step_count(int n);
extern void request_check_size(const Transaction *trans);

#endif							/* DTM_REQUEST_PRIVATE_H */
