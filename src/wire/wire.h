/*
 * wire.h
 *		What a branch is asked, and what its answer means: over HTTP, JSON-RPC
 *		and gRPC (§5, §6).
 *
 * Knows what requests and replies look like; nothing of sockets, and nothing
 * of what follows from a reply.
 */
#ifndef DTM_WIRE_H
#define DTM_WIRE_H

#include "postgres.h"

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
 * Which it is (§5.1), from the protocol of the transaction (NULL: http) and
 * the URL.
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

/* What a call of an op (or DTM_CALL_QUERY) is about. */
typedef struct WireBranch
{
	WireKind	kind;
	const char *url;			/* as it was submitted; or, for a request, what
								 * that stands for */
	const char *branch_id;
	const char *op;				/* its name */
	const bytea *payload;		/* NULL: none */
	int			number;			/* the op, or DTM_CALL_QUERY */
} WireBranch;

/* In the current memory context, or in trans. */
extern void wire_describe(const Transaction *trans, int op,
						  WireBranch *branch);

/*
 * Fills the request part of a call for a branch that was described; its timeout
 * is set already.  What it points to is in the current memory context or in
 * trans.  Not for a local branch.
 */
extern void wire_request(const Transaction *trans, const WireBranch *branch,
						 DtmCall *call);

/* Of such a request, what the participant has as its body. */
extern const char *wire_body(WireKind kind, const DtmCall *call, size_t *len);

/*
 * What the reply of a call that was reaped means.  "text" is what it said if
 * that is not success, in the encoding it came in; valid until the call is
 * released.
 */
extern DtmResult wire_result(WireKind kind, const DtmCall *call,
							 const char **text);

/*
 * Is it a header that says where a request ends, or how its reply may be
 * encoded?  Those are the transport's: others' requests share the connection,
 * and it reads nothing but identity.
 */
extern bool wire_is_framing_header(const char *name);

/*
 * Is it a header that says what a call is about, as gRPC's metadata does?
 * Those are dtm's to set.
 */
extern bool wire_is_own_header(const char *name);

/* The header that has a call belong to a trace (W3C Trace Context). */
#define WIRE_TRACEPARENT "traceparent"

/* Is it a value of that header, of version 00? */
extern bool wire_is_traceparent(const char *value);

#endif							/* DTM_WIRE_H */
