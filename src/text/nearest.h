/*
 * nearest.h
 *		Which known name somebody may have meant.
 */
#ifndef DTM_TEXT_NEAREST_H
#define DTM_TEXT_NEAREST_H

#include "postgres.h"

/*
 * The one of n known names that a misspelt name is nearest to; NULL if none is
 * near.  Upper and lower case are the same.
 */
extern const char *nearest_name(const char *name, const char *const *known, int n);

#endif							/* DTM_TEXT_NEAREST_H */
