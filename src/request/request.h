/*
 * request.h
 *		What a caller asks for, checked: from SQL arguments, or from the object
 *		of the wire (§1.1).
 *
 * Whatever is wrong with it is an error here, before anything is stored.
 */
#ifndef DTM_REQUEST_H
#define DTM_REQUEST_H

#include "postgres.h"

#include "utils/array.h"
#include "utils/jsonb.h"

#include "transaction.h"

/* How a workflow has ended, as its submit says. */
typedef enum RequestEnd
{
	REQUEST_NO_END,
	REQUEST_SUCCEEDED,
	REQUEST_FAILED
} RequestEnd;

typedef struct Request
{
	Transaction	trans;			/* all but id, version, submitted_by, and
								 * core's status and schedule */
	bool		has_steps;
	uint32		given;			/* options that it brought, a bit for each */
	RequestEnd	end;			/* of a workflow */
	char	   *rollback_reason;	/* the same; NULL: none */
	char	   *traceparent;	/* to be one of the headers; NULL: none */
} Request;

/*
 * A gid as a caller gives it: 1 to 128 characters, none of them a control
 * character.  NULL makes a fresh one.
 */
extern char *request_gid(text *gid);

/* A body in JSON as it is sent, in UTF-8; NULL for NULL. */
extern bytea *request_json_body(Jsonb *body);

/* Arguments of dtm_submit and dtm_prepare; any may be NULL. */
extern Request *request_from_arguments(text *trans_type, ArrayType *steps,
									   text *gid, Jsonb *options);

/* The wire object. */
extern Request *request_from_object(Jsonb *object);

/* Has it steps that go to a topic? */
extern bool request_has_topics(const Request *request);

/*
 * The steps that go to a topic become one for each URL that is subscribed to
 * it (TP-05).  Returns the name of a topic that has none, or NULL.
 */
extern const char *request_expand_topics(Request *request);

/* A branch of a tcc or xa, or a result of a workflow, to be registered. */
typedef struct BranchRequest
{
	DtmTransType type;
	char	   *gid;
	char	   *branch_id;
	char	   *forward;		/* URL of confirm, commit; "" for no call; of a
								 * workflow, the op */
	char	   *backward;		/* URL of cancel, rollback */
	bytea	   *payload;		/* body for both, or NULL */
	DtmBranchStatus status;		/* of a workflow's */
} BranchRequest;

/* From SQL arguments, any of which may be NULL; from the object of §1.2. */
extern BranchRequest *request_branch(DtmTransType type, text *gid,
									 text *branch_id, char *forward,
									 char *backward, bytea *payload);
extern BranchRequest *request_branch_from_object(Jsonb *object);

/* Adds it to a prepared transaction that was found with its lock. */
extern void request_add_branch(Transaction *trans, const BranchRequest *branch);

/* Do two transactions have the same steps, topics as they were given? */
extern bool request_same_steps(const Transaction *a, const Transaction *b);

/* Did it bring this option? */
extern bool request_gave(const Request *request, const char *key);

/* Takes into a stored transaction the options that a later request brought. */
extern void request_merge_options(Transaction *stored, const Request *later);

#endif							/* DTM_REQUEST_H */
