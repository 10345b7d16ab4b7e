/*
 * api.h
 *		What the files of the API share: api.c has HTTP and JSON-RPC, api_grpc.c
 *		gRPC, access.c who may ask.
 */
#ifndef GW_API_H
#define GW_API_H

#include "nodes.h"
#include "server.h"

/* ---------- api.c ---------- */

extern const ServerHandler api_handler;

/* Gives the database a request; its answer is told to "done" with the exchange. */
extern void api_submit(Exchange *exchange, Request *request,
					   void (*done) (void *owner, const Answer *answer));

/* The status of HTTP for what a request has come to. */
extern int	api_http_status(Outcome outcome);

/* ---------- api_grpc.c ---------- */

extern void grpc_handle(Exchange *exchange);

/* Is it gRPC?  By its content type. */
extern bool grpc_is(const Exchange *exchange);

/* ---------- access.c ---------- */

typedef enum Access
{
	ACCESS_GRANTED,
	ACCESS_NO_ROLE,				/* it does not say who it is */
	ACCESS_CROSS_SITE,			/* a browser asks for another site's page */
	ACCESS_OTHER_HOST,			/* for a name that is not ours */
	ACCESS_TOO_MANY,			/* requests of this role in this second */
	ACCESS_BUSY					/* too many of this role or address are under
								 * way */
} Access;

/* May this exchange ask the database, and as whom? */
extern Access access_check(Exchange *exchange, Request *request, bool grpc);
extern const char *access_problem(Access access);
extern int	api_access_status(Access access);

/* As whom, by its connection or its token, and are there not too many of these? */
extern Access access_find_role(Exchange *exchange, Request *request);

/* Is this request for us, and not from a page of another site? */
extern Access access_check_site(const Exchange *exchange, bool grpc);

/*
 * The same for the page, whose own requests come from a browser: those of its
 * own site, which is the host that they are for.
 */
extern Access access_check_page(const Exchange *exchange);

/* Takes "/t/<token>" off the front of the target, which then counts as shown. */
extern void access_take_token(Exchange *exchange);

#endif							/* GW_API_H */
