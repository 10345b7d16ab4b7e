/*
 * uri.h
 *		What a URL says to those who read it otherwise than we do: proxies and
 *		frameworks that decode twice, or take other characters for a slash.
 *
 * Pure C; every function is linear in the length of its text.
 */
#ifndef DTM_WIRE_URI_H
#define DTM_WIRE_URI_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Why a path (with what follows it) must not be appended to a base URL: some
 * server would leave the base with it.  NULL: it can be.
 */
extern const char *uri_path_problem(const char *path);

/*
 * The name of dtm's own parameter that a URL brings, as some framework reads
 * it; NULL: none.
 */
extern const char *uri_own_parameter(const char *url);

/* The value of a hexadecimal digit; -1: it is none. */
extern int	uri_hex_digit(char c);

#endif							/* DTM_WIRE_URI_H */
