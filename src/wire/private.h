/*
 * private.h
 *		Shared by the files of the wire.
 */
#ifndef DTM_WIRE_PRIVATE_H
#define DTM_WIRE_PRIVATE_H

#include "wire.h"

#include "compat.h"
#include "text/header.h"
#include "text/utf8.h"
#include "transaction.h"

#include "lib/stringinfo.h"

/* ---------- http.c ---------- */

extern void http_request(const Transaction *trans, const WireBranch *branch,
						 DtmCall *call);

/* Is a header's value nothing but blanks?  It is the same as an empty one. */
extern bool http_is_blank(const char *value);

/*
 * Sets branch_headers, and the default headers that they do not replace; method
 * and body are set.
 */
extern void http_set_headers(const Transaction *trans, const WireBranch *branch,
							 DtmCall *call);

/*
 * The same for all retries of an op, and of no other op; NULL if branch_headers
 * have one.
 */
extern const char *http_idempotency_header(const Transaction *trans,
										   const WireBranch *branch);

/*
 * The decoded value of a parameter in a URL's query, in the current memory
 * context, with its length: it may have any bytes.  NULL: none of this name.
 */
extern char *http_url_parameter(const char *url, const char *name, size_t *len);

/*
 * A URL as it is sent: in UTF-8, and where that is not ASCII percent-encoded,
 * but for the host.  In the current memory context, or the URL itself.
 */
extern const char *http_url(const char *url);

/* ---------- form.c ---------- */

/*
 * Is a body of JSON to be sent as a form?  One that is a form already has no
 * brace at its beginning.
 */
extern bool form_is_wanted(const char *content_type, const char *body, size_t len);

/*
 * A JSON object as a form, in the current memory context: {"a": {"b": 1}} is
 * a[b]=1.  Throws a data exception if it is no JSON.
 */
extern char *form_of(const char *json, size_t len, size_t *form_len);

/* Appends text in UTF-8 as a component of a URL or form. */
extern void http_append_encoded(StringInfo to, const char *utf8);

/* ---------- jsonrpc.c ---------- */

extern void jsonrpc_request(const Transaction *trans, const WireBranch *branch,
							DtmCall *call);

/* What is wrong with the method in its URL; NULL: nothing. */
extern const char *jsonrpc_url_problem(const char *url);

/* The meaning of a response that is a success by the rules of HTTP. */
extern DtmResult jsonrpc_result(const DtmReplyRules *rules, const DtmCall *call,
								const char **text);

/* ---------- grpc.c ---------- */

extern const char *grpc_url_problem(const char *url);
extern void grpc_request(const Transaction *trans, const WireBranch *branch,
						 DtmCall *call);

/* The message inside the frame of a request. */
extern const char *grpc_message(const DtmCall *call, size_t *len);
extern DtmResult grpc_result(const DtmCall *call, const char **text);

/* ---------- trace.c ---------- */

/* The trace header of a call, in the current memory context. */
extern char *trace_header(const Transaction *trans, int op);

#endif							/* DTM_WIRE_PRIVATE_H */
