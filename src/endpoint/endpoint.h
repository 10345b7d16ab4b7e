/*
 * endpoint.h
 *		Services as foreign servers: resolves "server:bank/TransIn".
 *
 * A service is a foreign server of the wrapper dtm_http (base_url, ca_file,
 * time-outs).  A role's credentials are in its user mapping, or in that of
 * PUBLIC (bearer_token, client_cert, hmac_key, header_...).  USAGE on the
 * server is the privilege to call it.  All this is looked up at the decision
 * to make a call, so changed secrets and revoked privileges take effect for
 * later calls.  Nothing of it is stored with a transaction.
 *
 * Secrets are only in the result of endpoint_resolve() and in the request that
 * is made from it; never in errors, the log or stored data.
 */
#ifndef DTM_ENDPOINT_H
#define DTM_ENDPOINT_H

#include "postgres.h"

#include "step/options.h"
#include "transaction.h"
#include "transport/transport.h"
#include "wire/wire.h"

typedef struct Endpoint
{
	const char *url;			/* URL to call; the given URL if it does not
								 * name a server */
	const char *ca_file;		/* NULL: as dtm.ca_file says */
	const char *client_cert;	/* NULL: none */
	const char *client_key;		/* NULL: in client_cert */
	const char *hmac_key;		/* NULL: requests are not signed */
	int			connect_timeout;	/* ms; 0: the request's */
	StepOptions *options;		/* of the server; NULL: it has none */
	int			max_requests;	/* in flight to the server; 0: no limit of its
								 * own */
	int64		interval;		/* us between two requests, on average; 0: any */
	int			nheaders;
	char	  **header_name;
	char	  **header_value;
} Endpoint;

/* Why a URL cannot be called.  Messages contain no secrets. */
typedef struct EndpointProblem
{
	int			sqlerrcode;
	const char *message;
	const char *hint;
} EndpointProblem;

/*
 * "server:50051/..." is not a foreign server but, as gRPC URLs have it, the
 * host "server" and its port.
 */
static inline bool
endpoint_is_server(const char *url)
{
	const char *name = url + strlen(DTM_SCHEME_SERVER);
	size_t		digits;

	if (strncmp(url, DTM_SCHEME_SERVER, strlen(DTM_SCHEME_SERVER)) != 0)
		return false;
	digits = strspn(name, "0123456789");
	return digits == 0 || name[digits] != '/';
}

/*
 * Resolves a URL for a role that calls it; false, with the reason, if it
 * cannot be called.  Needs a transaction; allocates in the current memory
 * context.  For URLs that do not name a server, only dtm.allowed_targets is
 * checked.  With InvalidOid as the role (for topics, whose messages come from
 * many roles), only the existence of the server is checked.
 */
extern bool endpoint_resolve(const char *url, Oid role, Endpoint *endpoint,
							 EndpointProblem *problem);

/*
 * Fills in the request of a call, for a branch that was described.  A time-out
 * of 0 in the call is replaced by that of the server, or by
 * dtm.request_timeout.  False, with the reason, if the branch cannot be called
 * now, or (*never) ever.  The call points into the current memory context or into
 * trans.
 */
extern bool endpoint_request(const Transaction *trans, WireBranch *branch,
							 DtmCall *call, const char **reason, bool *never);

/*
 * Fills in whom a POST of JSON that is for no branch goes to, and with which headers
 * and certificates; the body and the time-out are the caller's.  False, with the
 * reason, if it cannot be sent now.  Needs a transaction for a server, whose user
 * mapping is that of the role, or of PUBLIC; allocates in the current memory context.
 */
extern bool endpoint_post(const char *url, Oid role, DtmCall *call,
						  const char **reason);

/* ---------- sign.c ---------- */

/*
 * The header that signs a request: the HMAC-SHA256 with the key, in hex, of
 *
 *		time LF gid LF branch_id LF op LF body
 *
 * as "Dtm-Signature: t=time,v1=hmac"; time is now, in seconds of the Unix epoch.
 */
#define ENDPOINT_SIGNATURE "Dtm-Signature"

extern char *endpoint_sign(const char *key, const char *gid,
						   const char *branch_id, const char *op,
						   const char *body, size_t body_len);

#endif							/* DTM_ENDPOINT_H */
