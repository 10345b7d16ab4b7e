/*
 * utf8.h
 *		Text of the server's encoding in UTF-8, which is what everything is sent
 *		in.
 *
 * A database of another encoding has characters that UTF-8 has no place for,
 * and one of SQL_ASCII whatever bytes there are.  Those are refused where they
 * come in; what was stored before that is an error of its own call, and of
 * nothing else.
 *
 * What is returned is in the current memory context, or the text itself.  Where
 * the encoding is another one, in a transaction.
 */
#ifndef DTM_TEXT_UTF8_H
#define DTM_TEXT_UTF8_H

#include "postgres.h"

/* Has it such a form? */
extern bool utf8_has(const char *text);

/* That form, or an error. */
extern const char *utf8_of(const char *text);

/* An error that names "what" unless a text has such a form. */
extern void utf8_check(const char *text, const char *what);

/*
 * The text, or, if it has no such form, "?" for what is not ASCII in it: for
 * what nobody but people reads.
 */
extern const char *utf8_or_marks(const char *text);

/*
 * The other way: text that is UTF-8, or an error, in the server's encoding.  A
 * copy with an end of its own.
 */
extern char *utf8_to_server(const char *utf8, size_t len);

/* The same, but with "instead" for each character that the encoding lacks. */
extern char *utf8_to_server_or(const char *utf8, size_t len, const char *instead);

/* Is it nothing but ASCII, which is the same in all encodings of servers? */
extern bool utf8_is_ascii(const char *text);

#endif							/* DTM_TEXT_UTF8_H */
