/*
 * request.h
 *		What is asked of the extension, and what that has come to.  Neither
 *		HTTP nor SQL is known here.
 */
#ifndef GW_REQUEST_H
#define GW_REQUEST_H

#include "buf.h"

#define TOKEN_HASH_SIZE 32

typedef enum Outcome
{
	OUTCOME_SUCCESS,
	OUTCOME_FAILURE,			/* what is stored is against it */
	OUTCOME_ONGOING,			/* not yet */
	OUTCOME_ERROR,
	OUTCOME_INVALID,			/* a branch that can't be understood */
	OUTCOME_DENIED,				/* not for this role */
	OUTCOME_UNAUTHENTICATED,
	OUTCOME_LOCKED,				/* somebody has its row locked */
	OUTCOME_UNAVAILABLE			/* the database can't now */
} Outcome;

typedef struct Answer
{
	Outcome		outcome;
	const char *message;		/* of all but success */
	const char *sqlstate;		/* the same; "" */
	const Bytes *parts;			/* of success: nparts of them */
	int			nparts;
} Answer;

typedef struct Request
{
	struct Request *next;		/* in a queue, a batch, or among the waiters */
	const char *op;				/* as dtm.gateway_batch() names it; NULL: what
								 * the database counts, for /api/metrics */
	char	   *role;			/* NULL: the token tells */
	unsigned char token[TOKEN_HASH_SIZE];
	bool		has_token;
	Buf			body;			/* JSON; NULL data: none */
	bool		has_payloads;	/* of gRPC */
	Buf			payload_bytes;	/* all of them, one after the other */
	size_t	   *payload_lens;
	int			npayloads;
	char	   *gid;			/* for the log; NULL: it has none */
	uint32_t	hash;			/* of the gid: which lane it is for */
	uint32_t	who;			/* hash of the role or the token */
	int		   *in_flight[2];	/* counters of its role and its address, of
								 * which it is one; or NULL */
	int64_t		arrived;		/* Loop.now */
	bool		slow;			/* its row was locked: it is tried alone */
	int			node;			/* number of the node that was asked first */
	int			asked;			/* how many were asked */
	bool		aside;			/* of the page: it may take long, and the
								 * lanes do not wait for it */
	int64_t		wait;			/* id of the transaction whose pass is waited
								 * for */

	/*
	 * Called once, with the owner, who is NULL when nobody wants the answer
	 * any more.  The answer is gone when it returns.
	 */
	void		(*done) (void *owner, const Answer *answer);
	void	   *owner;
} Request;

extern Request *request_create(const char *op);

/* The gid of the request: its lane, and for the log. */
extern void request_set_gid(Request *request, const char *gid, size_t len);

/* It is one more of those that a counter counts, until it is finished. */
extern void request_count(Request *request, int which, int *counter);

/* Whose it is, once the role or the token is there. */
extern void request_set_who(Request *request);

extern void request_add_payload(Request *request, Bytes payload);

/* Roughly, for the limits of a batch. */
extern size_t request_size(const Request *request);

/* Tells its owner, if there is still one, and frees it. */
extern void request_finish(Request *request, const Answer *answer);
extern void request_fail(Request *request, Outcome outcome, const char *message);

#endif							/* GW_REQUEST_H */
