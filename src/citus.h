/*
 * citus.h
 *		What dtm has to know of Citus, where that is in the server: which tables
 *		are distributed, and how a transaction that writes on several nodes
 *		commits.
 */
#ifndef DTM_CITUS_H
#define DTM_CITUS_H

#include "postgres.h"

/* The server has loaded Citus; whether it is in this database is another matter. */
extern bool citus_loaded;

/* Called from _PG_init. */
extern void citus_init(void);

/* For the functions below, where Citus is loaded. */
extern bool citus_is_table(Oid relation);
extern void citus_use_two_phase(void);
extern int	citus_group(void);

/* Are the rows of this table anywhere but in it? */
static inline bool
citus_has_table(Oid relation)
{
	return unlikely(citus_loaded) && citus_is_table(relation);
}

/*
 * This transaction writes rows of dtm's.  Citus counts its own writes only: one
 * remote node among them would be committed before this one is, and for good.  With
 * this, what is remote is prepared, and commits if and only if this node does.
 */
static inline void
citus_two_phase(void)
{
	if (unlikely(citus_loaded))
		citus_use_two_phase();
}

/* The number of this node's group; -1: this database has no Citus. */
#define CITUS_NO_GROUP	(-1)

static inline int
citus_own_group(void)
{
	return citus_loaded ? citus_group() : CITUS_NO_GROUP;
}

#endif							/* DTM_CITUS_H */
