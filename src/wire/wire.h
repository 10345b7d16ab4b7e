/*
 * wire.h
 *		Requests to branches, and the meaning of their responses, over HTTP,
 *		JSON-RPC and gRPC (§5, §6).
 *
 * Knows the format of requests and responses; knows neither sockets nor what
 * follows from a response.
 */
#ifndef DTM_WIRE_H
#define DTM_WIRE_H

#include "postgres.h"

#include "step/options.h"
#include "transaction.h"
#include "transport/transport.h"

/* How a branch is called. */
typedef enum WireKind
{
	WIRE_HTTP,
	WIRE_JSONRPC,
	WIRE_GRPC,
	WIRE_LOCAL					/* a function in this database */
} WireKind;

/*
 * The kind of a branch (§5.1), from the protocol of the transaction (NULL:
 * http) and the URL.
 */
extern WireKind wire_kind(const char *protocol, const char *url);

/*
 * Can it be called?  If not, returns what is wrong with the URL, for an error
 * message; *hint is what to do about it where that is more than to give another
 * one, else it stays (hint may be NULL).  Of a local branch only the form is
 * looked at.
 */
extern const char *wire_url_problem(const char *protocol, const char *url,
									const char **hint);

/*
 * Branch id of calls that are not for a branch: the query-back and the
 * callback (§5.2).
 */
#define WIRE_QUERY_BRANCH_ID	"00"

/* The call of an op (or of DTM_CALL_QUERY). */
typedef struct WireBranch
{
	WireKind	kind;
	const char *url;			/* as submitted or, for a request, as resolved
								 * by the endpoint */
	const char *branch_id;
	const char *op;				/* its name */
	const bytea *payload;		/* NULL: none */
	int			number;			/* the op, or DTM_CALL_QUERY */
	bool		undoes;			/* compensate, cancel, rollback */
	const StepOptions *step;	/* options of its step; NULL: none */
	const StepOptions *server;	/* of its server, set by the endpoint; NULL:
								 * none */
	const DtmReplyRules *rules; /* set with the request; NULL: the usual ones */
} WireBranch;

/*
 * Describes the call of an op; points into the current memory context or into
 * trans.
 */
extern void wire_describe(const Transaction *trans, int op,
						  WireBranch *branch);

/*
 * Fills in the request of a call, for a branch that was described; the
 * time-out is already set.  The call and the rules for its response point into
 * the current memory context, or into trans.  Not for local branches.
 */
extern void wire_request(const Transaction *trans, WireBranch *branch,
						 DtmCall *call);

/*
 * A payload of a content type, as a request of plain HTTP has it.  Throws an
 * error if that cannot be made of it.
 */
extern const char *wire_content(const char *content_type, const char *payload,
								size_t payload_len, size_t *len);

/* The body of such a request, as the participant receives it. */
extern const char *wire_body(WireKind kind, const DtmCall *call, size_t *len);

/*
 * The meaning of the response of a reaped call, by the rules of its branch.  If
 * it is not success, "text" is the body or error, in the encoding in which it
 * arrived; valid until the call is released.
 */
extern DtmResult wire_result(WireKind kind, const DtmReplyRules *rules,
							 const DtmCall *call, const char **text);

/* For how many us that response asks to wait; 0: for no time. */
extern int64 wire_retry_after(const DtmReplyRules *rules, const DtmCall *call);

/* Has somebody said which of its responses are final? */
extern bool wire_said_final(WireKind kind, const DtmReplyRules *rules);

/* The header that makes a call part of a trace (W3C Trace Context). */
#define WIRE_TRACEPARENT "traceparent"

/* Is this a valid value of that header, version 00? */
extern bool wire_is_traceparent(const char *value);

/* The value that a transaction was given; NULL: none. */
extern const char *wire_traceparent(const Transaction *trans);

/* Ids in hexadecimal digits, with the NUL. */
#define WIRE_TRACE_ID_SIZE	33
#define WIRE_SPAN_ID_SIZE	17

/* In the flags: whoever began the trace records it. */
#define WIRE_TRACE_SAMPLED	0x01

/* The trace of a transaction, and its own span. */
typedef struct WireTrace
{
	char		trace_id[WIRE_TRACE_ID_SIZE];
	char		root_id[WIRE_SPAN_ID_SIZE];
	char		parent_id[WIRE_SPAN_ID_SIZE];	/* of who submitted it; "":
												 * nobody */
	uint8		flags;
} WireTrace;

/* By its gid, and what wire_traceparent() returns of it. */
extern void wire_trace(const char *gid, const char *traceparent, WireTrace *trace);

/* The id of the span of a call that began at a time. */
extern void wire_span_id(const char *gid, int op, TimestampTz time,
						 char id[WIRE_SPAN_ID_SIZE]);

/* The id that the request of a call has; false: it has none. */
extern bool wire_span_id_of(const DtmCall *call, char id[WIRE_SPAN_ID_SIZE]);

#endif							/* DTM_WIRE_H */
