/*
 * jsonrpc.h
 *		The envelope of JSON-RPC 2.0 (§3 of the wire specification).
 */
#ifndef GW_JSONRPC_H
#define GW_JSONRPC_H

#include "buf.h"

/* Error codes. */
#define JSONRPC_PARSE_ERROR		(-32700)
#define JSONRPC_INVALID_REQUEST	(-32600)
#define JSONRPC_UNKNOWN_METHOD	(-32601)
#define JSONRPC_INTERNAL		(-32603)
#define JSONRPC_FAILURE			(-32901)
#define JSONRPC_ONGOING			(-32902)

typedef struct JsonRpc
{
	Buf			id;				/* as it is to be answered: JSON, or "null" */
	Buf			method;
	Bytes		params;			/* part of the body; len 0: none */
} JsonRpc;

/* Reads a body; 0, or an error code.  The id is there as far as it is known. */
extern int	jsonrpc_read(const char *body, size_t len, JsonRpc *rpc);
extern void jsonrpc_free(JsonRpc *rpc);

/* Responses: a result, which is JSON; an error. */
extern void jsonrpc_write_result(Buf *out, const char *id, const char *result);
extern void jsonrpc_write_error(Buf *out, const char *id, int code,
								const char *message);

#endif							/* GW_JSONRPC_H */
