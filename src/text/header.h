/*
 * header.h
 *		Names and values of HTTP headers: what can be sent, and what is for dtm
 *		to set.
 */
#ifndef DTM_TEXT_HEADER_H
#define DTM_TEXT_HEADER_H

#include "postgres.h"

/* The header that says which op a request is about, over all its retries. */
#define HEADER_IDEMPOTENCY_KEY	"Idempotency-Key"

/*
 * Is it a header that says where a request ends, or how its reply may be
 * encoded?  Those are the transport's: others' requests share the connection,
 * and it reads nothing but identity.
 */
extern bool header_is_framing(const char *name);

/*
 * Is it a header that says what a call is about?  Those are dtm's to set.
 */
extern bool header_is_own(const char *name);

extern bool has_control_character(const char *value);

/*
 * What is wrong with a header: its name is a token, and its value has no
 * control characters and a form in UTF-8 (RFC 9110); NULL: nothing.
 */
extern const char *header_problem(const char *name, const char *value);

#endif							/* DTM_TEXT_HEADER_H */
