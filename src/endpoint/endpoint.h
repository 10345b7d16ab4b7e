/*
 * endpoint.h
 *		Services as foreign servers: what "server:bank/TransIn" stands for.
 *
 * A service is a foreign server of the wrapper dtm_http (base_url, ca_file,
 * time-outs); what a role shows it is that role's user mapping, or PUBLIC's
 * (bearer_token, client_cert, hmac_key, header_...).  USAGE on the server is the
 * permission to call it.  All of it is looked up when a call is decided on, so
 * that a changed secret or a withdrawn permission counts for what follows, and
 * nothing of it is stored with a transaction.
 *
 * Secrets are in what endpoint_resolve() returns, and in the request made of it;
 * never in an error, in the log, or in what is stored.
 */
#ifndef DTM_ENDPOINT_H
#define DTM_ENDPOINT_H

#include "postgres.h"

#include "transaction.h"
#include "transport/transport.h"
#include "wire/wire.h"

typedef struct Endpoint
{
	const char *url;			/* to be called; the URL itself if it is no
								 * server's */
	const char *ca_file;		/* NULL: as dtm.ca_file says */
	const char *client_cert;	/* NULL: none */
	const char *client_key;		/* NULL: in client_cert */
	const char *hmac_key;		/* NULL: requests are not signed */
	int			connect_timeout;	/* ms; 0: the request's */
	int			request_timeout;	/* ms; 0: dtm.request_timeout */
	int			nheaders;
	char	  **header_name;
	char	  **header_value;
} Endpoint;

/* Why a URL can't be called.  Messages say nothing that is secret. */
typedef struct EndpointProblem
{
	int			sqlerrcode;
	const char *message;
	const char *hint;
} EndpointProblem;

/* "server:50051/..." is a host of that name, as gRPC has it, and its port. */
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
 * What a URL stands for when a role calls it: true, or false with the reason.
 * In a transaction; allocates in the current memory context.  Of any other URL
 * than a server's, only dtm.allowed_targets is asked.  With InvalidOid, for a
 * topic whose messages are of many roles: is there such a server?
 */
extern bool endpoint_resolve(const char *url, Oid role, Endpoint *endpoint,
							 EndpointProblem *problem);

/*
 * Fills the request part of a call for a branch that was described; a timeout of
 * 0 in the call is replaced by the server's, or by dtm.request_timeout.  False,
 * with the reason, if it can't be called now.  What it points to is in the
 * current memory context or in trans.
 */
extern bool endpoint_request(const Transaction *trans, WireBranch *branch,
							 DtmCall *call, const char **reason);

/* ---------- sign.c ---------- */

/*
 * The header that signs a request: HMAC-SHA256, in hex, with the key, of
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
