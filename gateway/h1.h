/*
 * h1.h
 *		HTTP/1.1 requests from bytes: strictly, so that nothing in front of us
 *		can understand them otherwise (RFC 9112).
 *
 * No sockets and no meaning here: bytes go in, however they are cut, and a
 * request or a status for a refusal comes out.
 */
#ifndef GW_H1_H
#define GW_H1_H

#include "buf.h"

#define H1_MAX_HEAD		(16 * 1024) /* request line and headers */
#define H1_MAX_HEADERS	64

typedef struct H1Header
{
	const char *name;			/* in lower case */
	const char *value;			/* without blanks around it */
} H1Header;

typedef enum H1Result
{
	H1_MORE,					/* the request is not complete */
	H1_HEAD,					/* its head is: call again for the body */
	H1_DONE,					/* all of it */
	H1_BAD						/* not to be answered but by status, and
								 * closed */
} H1Result;

typedef enum H1State
{
	H1_IN_HEAD,
	H1_IN_BODY,
	H1_IN_CHUNK_SIZE,
	H1_IN_CHUNK,
	H1_IN_CHUNK_END,
	H1_IN_TRAILER,
	H1_AT_END
} H1State;

typedef struct H1
{
	size_t		max_body;		/* bytes; more are status 413 */
	H1State		state;
	Buf			head;
	size_t		searched;		/* bytes of head in which its end is not */
	Buf			line;			/* of a chunk's size, or of the trailer */
	uint64_t	left;			/* bytes of the body, or of a chunk */
	/* once the head is there; these point into it */
	const char *method;
	const char *target;
	int			nheaders;
	H1Header	headers[H1_MAX_HEADERS];
	bool		keep_alive;
	bool		expects_continue;
	Buf			body;
	/* H1_BAD */
	int			status;
	const char *reason;
} H1;

extern void h1_init(H1 *h1, size_t max_body);

/*
 * Takes bytes, "used" of them.  After H1_DONE, h1_reset() makes it ready for
 * the next request, whose bytes may be what was not used.
 */
extern H1Result h1_feed(H1 *h1, const char *data, size_t len, size_t *used);

/* The value of a header, NULL: there is none.  The name is in lower case. */
extern const char *h1_header(const H1 *h1, const char *name);

extern void h1_reset(H1 *h1);

/* Has a request begun? */
extern bool h1_is_begun(const H1 *h1);

extern void h1_free(H1 *h1);

/* The phrase of a status. */
extern const char *h1_phrase(int status);

#endif							/* GW_H1_H */
