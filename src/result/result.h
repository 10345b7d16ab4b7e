/*
 * result.h
 *		Results of branches: what is kept of a response, and the references to
 *		it in later steps.
 *
 * A payload refers to a result by an object {"$result": "$.step.key"}, a URL, in its
 * path or query, and a step's header by {$.step.key}.  Both name a place in the object of all
 * results: its keys are the names of the steps, or their branch ids ("01").  A path
 * is a chain of keys and subscripts of the SQL/JSON path language and nothing
 * more, so that to follow one takes a time that its length bounds.
 */
#ifndef DTM_RESULT_H
#define DTM_RESULT_H

#include "postgres.h"

#include "store/store.h"
#include "transaction.h"
#include "wire/wire.h"

/* ---------- value.c: what is kept ---------- */

/*
 * Sets value and note from the body of a successful response; in the current
 * memory context.  Needs a PostgreSQL transaction.  Throws nothing because of what
 * is in the body.
 */
extern void result_of_reply(WireKind kind, const char *body, size_t len,
							StoreResult *result);

/* A body as JSON, a string if it is another text; NULL: it is none that can be stored. */
extern Jsonb *result_json(const char *body, size_t len);

/* Sets them from a value in SQL, as the current role; the same. */
extern void result_of_datum(Oid type, Datum datum, bool isnull,
							StoreResult *result);

/* A result that says why a branch has failed, as text; NULL: it does not say. */
extern const char *result_text(Jsonb *value);

/* Bytes of a body from which on nothing is kept of it. */
extern size_t result_max_size(void);

/* ---------- reference.c: at the submit ---------- */

/*
 * Errors for references of a step that cannot be resolved: malformed paths, unknown
 * steps, and steps that need not have succeeded before.
 */
extern void result_check_references(const Transaction *trans, int step);

/*
 * A URL without its references, to be checked as any other is: each of them is "0".
 * An error if one stands elsewhere than in a path or query.
 */
extern const char *result_mask_url(const char *url);

/* Does a URL or header, or a payload, have what looks like a reference? */
extern bool result_is_in_text(const char *text);
extern bool result_is_in_payload(const bytea *payload);

/* Does a payload, if it is JSON, have one? */
extern bool result_has_reference(const bytea *payload);

/* ---------- resolve.c: at the call ---------- */

/* Who has the results; allocates in the current memory context. */
typedef struct ResultReader
{
	bool		(*read) (void *arg, int op, StoreResult *result);
	void	   *arg;
} ResultReader;

/*
 * Puts the values in the place of the references in a branch's URL, headers and payload;
 * false, with the reason, if that cannot be done, now or ever.  Allocates in the
 * current memory context.  Needs a PostgreSQL transaction.
 */
extern bool result_resolve(const Transaction *trans, WireBranch *branch,
						   const ResultReader *reader, const char **problem);

/*
 * What becomes of an op whose references cannot be replaced: the action of a saga
 * counts as rejected, and anything else is parked.
 */
extern DtmResult result_if_unresolved(const Transaction *trans, int op);

#endif							/* DTM_RESULT_H */
