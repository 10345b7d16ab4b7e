/*
 * private.h
 *		What the files of the network API's SQL side share.
 */
#ifndef DTM_GATEWAY_PRIVATE_H
#define DTM_GATEWAY_PRIVATE_H

#include "postgres.h"

#include "request/request.h"

#include "fmgr.h"

/* What a request has come to, in the classes that its client is told of (§1.3). */
typedef enum GatewayOutcome
{
	GATEWAY_SUCCESS,
	GATEWAY_FAILURE,			/* what is stored is against it: 409 */
	GATEWAY_ONGOING,			/* not yet: 425 */
	GATEWAY_ERROR,				/* 500 */
	GATEWAY_INVALID,			/* a branch that can't be understood: 400 */
	GATEWAY_DENIED,				/* not for this role */
	GATEWAY_UNAUTHENTICATED,	/* a token that stands for no role */
	GATEWAY_LOCKED,				/* somebody has its row locked: try again */
	GATEWAY_UNAVAILABLE			/* the server can't now: try again */
} GatewayOutcome;

/* A request of a batch. */
typedef struct GatewayItem
{
	char	   *role_name;		/* NULL: the token tells */
	bytea	   *token;			/* the hash of one, or NULL */
	const char *op;
	bytea	   *body;			/* JSON in UTF-8; NULL: none */
	bool		has_payloads;	/* it came with payloads as bytes */
	RequestPayloads payloads;
	Oid			role;
	bool		is_workflow;	/* it submits one */
	bool		in_sql;			/* a statement that answers it is running */
	GatewayOutcome outcome;
	char	   *message;		/* of all but success */
	int			sqlerrcode;		/* the same */
	Datum	   *answer;			/* of success: nanswer byteas */
	int			nanswer;
	int64		wait;			/* id of a transaction whose pass is to be
								 * waited for; 0: none is */
} GatewayItem;

/* The requests of a batch, n of them, from its arguments. */
extern GatewayItem *gateway_read_items(FunctionCallInfo fcinfo, int *n);

/* A string in UTF-8. */
extern bytea *gateway_bytes(const char *string);

/* One string as the answer. */
extern void gateway_answer(GatewayItem *item, const char *string);

/* What an error is to its client: outcome, message and code. */
extern void gateway_classify(GatewayItem *item, const ErrorData *edata);

extern const char *gateway_outcome_name(GatewayOutcome outcome);

/*
 * May the role use dtm?  As a member of dtm_user, whatever that is called by now: the
 * privilege tells.
 */
extern bool gateway_is_user(Oid role);

/* A function of schema dtm; InvalidOid: there is none. */
extern Oid	gateway_function(char *name, int nargs, const Oid *types);

#endif							/* DTM_GATEWAY_PRIVATE_H */
