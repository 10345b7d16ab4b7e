/*
 * invalidation.h
 *		Who is told that relations may have changed.
 */
#ifndef DTM_INVALIDATION_H
#define DTM_INVALIDATION_H

#include "postgres.h"

#include "utils/inval.h"

/*
 * From now on, in this process, the function is called for each relation, or with
 * InvalidOid for all.  PostgreSQL has room for ten such functions of all extensions
 * together, and Citus alone takes five: so those of dtm are one for it.
 */
extern void invalidation_watch(RelcacheCallbackFunction forget);

#endif							/* DTM_INVALIDATION_H */
