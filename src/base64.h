/*
 * base64.h
 *		Base64 without line breaks.
 */
#ifndef DTM_BASE64_H
#define DTM_BASE64_H

#include "postgres.h"

extern char *base64_encode(const void *bytes, size_t len);

/*
 * The decoded bytes; NULL if there are none.  An error that names the value if
 * it is not base64 (ERRCODE_INVALID_PARAMETER_VALUE).
 */
extern bytea *base64_decode(const char *string, const char *what);

#endif							/* DTM_BASE64_H */
