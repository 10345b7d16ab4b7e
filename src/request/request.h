/*
 * request.h
 *		Requests of callers, read from SQL arguments or from the wire's object
 *		(§1.1), and checked.
 *
 * All errors in a request are reported here, before anything is stored.
 */
#ifndef DTM_REQUEST_H
#define DTM_REQUEST_H

#include "postgres.h"

#include "utils/array.h"
#include "utils/jsonb.h"

#include "transaction.h"

/* How a workflow has ended, according to its submit. */
typedef enum RequestEnd
{
	REQUEST_NO_END,
	REQUEST_SUCCEEDED,
	REQUEST_FAILED
} RequestEnd;

typedef struct Request
{
	Transaction trans;			/* without id, version, submitted_by, and
								 * core's status and schedule */
	bool		has_steps;
	bool		needs_steps;	/* a saga or msg without any is an error */
	bool		from_wire;		/* dtm's rules of what may be repeated hold */
	uint32		given;			/* options that were given, a bit for each */
	RequestEnd	end;			/* of a workflow */
	char	   *rollback_reason;	/* the same; NULL: none */
	char	   *traceparent;	/* will be added to the headers; NULL: none */
} Request;

/*
 * Checks a gid: 1 to 128 characters, no control characters.  For NULL,
 * generates a gid.
 */
extern char *request_gid(text *gid);

/* The text of a JSON body, in UTF-8; NULL for NULL. */
extern bytea *request_json_body(Jsonb *body);

/* Steps as an array of dtm_step, or as a JSON array; NULL where it is not that. */
typedef struct RequestSteps
{
	ArrayType  *array;
	Jsonb	   *json;
	bool		is_json;		/* NULL is no way to say that there are none:
								 * as jsonb_agg() of no rows does */
	const char *text;			/* of json, if it was given as that */
} RequestSteps;

/* Reads the arguments of dtm_submit and dtm_prepare; any may be NULL. */
extern Request *request_from_arguments(text *trans_type, RequestSteps steps,
									   text *gid, Jsonb *options);

/*
 * The payload of a step that is given as text, by the step's options, which may
 * be NULL: JSON, to the letter, or whatever the content type says.
 */
extern bytea *request_text_payload(const char *text, const Jsonb *options);

/*
 * May the current role change what a step answers?  An error if another step gives
 * the results to a function or to a foreign server, which are called with the rights
 * and credentials of the role that submitted, and it has not that role's privileges.
 */
extern void request_check_feeds(const Transaction *trans);

/* Reads the wire's object. */
extern Request *request_from_object(Jsonb *object);

/* Bodies of steps that did not come as text: any bytes. */
typedef struct RequestPayloads
{
	int			n;
	bytea	  **payload;		/* n of them, none NULL */
} RequestPayloads;

/* The same with those, as gRPC has them; NULL: the object's own payloads. */
extern Request *request_from_wire(Jsonb *object, const RequestPayloads *bytes);

/*
 * The string under a key of an object; NULL where there is none.  An error
 * names the key if it is no string.
 */
extern char *request_string(Jsonb *object, const char *key);

/*
 * The object of a completion: branch_id (or the name of a step), op ("": action), ok,
 * and result, any JSON, or NULL.
 */
extern void request_completion(Jsonb *object, char **step, char **op, bool *ok,
							   Jsonb **result);

/* What §1.1 removes from a gid that has come over HTTP, in place. */
extern void request_strip_gid(char *gid);

/*
 * Whether requests may name functions in this database ("sql:"), until it is
 * set again or the PostgreSQL transaction ends.
 */
extern void request_allow_local(bool allow);

/* Does the request have steps whose URL is a topic? */
extern bool request_has_topics(const Request *request);

/*
 * Replaces each step whose URL is a topic by one step for each subscribed URL
 * (TP-05).  Returns the name of a topic without URLs, or NULL.
 */
extern const char *request_expand_topics(Request *request);

/* A branch of a tcc or xa to register, or the result of a workflow. */
typedef struct BranchRequest
{
	DtmTransType type;
	char	   *gid;
	char	   *branch_id;
	char	   *forward;		/* URL of confirm, commit; "" for no call; of
								 * a workflow, the op */
	char	   *backward;		/* URL of cancel, rollback */
	bytea	   *payload;		/* body for both, or NULL */
	StepOptions *options;		/* NULL: none */
	DtmBranchStatus status;		/* of a workflow's */
} BranchRequest;

/*
 * Read it from SQL arguments, any of which may be NULL; or from the object of
 * §1.2, whose data is replaced by payload unless that is NULL.
 */
extern BranchRequest *request_branch(DtmTransType type, text *gid,
									 text *branch_id, char *forward,
									 char *backward, bytea *payload);
extern BranchRequest *request_branch_from_object(Jsonb *object, bytea *payload);

/* Sets its options, an object; NULL: none. */
extern void request_branch_options(BranchRequest *request, const Jsonb *options);

/* Adds the branch to a prepared transaction that was found and locked. */
extern void request_add_branch(Transaction *trans, const BranchRequest *branch);

/* ---------- edit.c: of one that is stored ---------- */

/* The step, from 0, of a name or branch id, and the index of an op of it; or an error. */
extern int	request_find_step(const Transaction *trans, const char *name);
extern int	request_find_op(const Transaction *trans, const char *step_name,
							const char *name);

/*
 * Changes a step of a transaction that was found and locked: an object with a URL
 * for an op's name, payload, and options of the step.  Checked as the current role and as the one that
 * submitted; an error if the one would gain rights of the other.  Returns an object
 * with what these keys have been before, null for what was not set; and the op that
 * was changed: if that is not one, any of the step, and "several".
 */
extern Jsonb *request_edit_step(Transaction *trans, int step, Jsonb *changes,
								int *op, bool *several);

/* The same of the URL at which a prepared transaction is queried. */
extern Jsonb *request_edit_query(Transaction *trans, Jsonb *changes);

/* Whether all that it calls may still be called, as the role that submitted. */
extern void request_check_again(const Transaction *trans);

/*
 * What differs between the steps of two transactions of the same type, with topics
 * as they were given, as a sentence; NULL: nothing.
 */
extern const char *request_steps_differ(const Transaction *a, const Transaction *b);

/* Was this option given? */
extern bool request_gave(const Request *request, const char *key);

/* Copies the options of a later request to a stored transaction. */
extern void request_merge_options(Transaction *stored, const Request *later);

#endif							/* DTM_REQUEST_H */
