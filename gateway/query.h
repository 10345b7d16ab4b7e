/*
 * query.h
 *		Query strings, and paths, of HTTP.
 */
#ifndef GW_QUERY_H
#define GW_QUERY_H

#include "buf.h"

/* The decoded bytes of a part of a URL; "+" is a blank if "form". */
extern void query_decode(Buf *out, const char *text, size_t len, bool form);

/*
 * The parameters of a query string (behind the "?") as members of a JSON object
 * of strings; of two of a name, the first counts, as for dtm.
 */
extern void query_to_object(Buf *out, const char *query);

/* The decoded value of one; false: there is none. */
extern bool query_value(const char *query, const char *name, Buf *value);

#endif							/* GW_QUERY_H */
