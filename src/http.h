/*
 * http.h
 *		A branch's request in plain HTTP (§5.2).
 */
#ifndef DTM_HTTP_H
#define DTM_HTTP_H

#include "postgres.h"

#include "store/store.h"
#include "transport/transport.h"

/*
 * Fills the request part of a call of an op (or DTM_CALL_QUERY), but for its
 * timeout.  What it points to is in the current memory context or in trans.
 */
extern void http_request(const StoreTrans *trans, int op, DtmCall *call);

/* The URL of an op as it was submitted. */
extern const char *http_target(const StoreTrans *trans, int op);

#endif							/* DTM_HTTP_H */
