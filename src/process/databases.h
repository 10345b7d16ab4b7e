/*
 * databases.h
 *		The databases of the server that may have coordinators.
 */
#ifndef DTM_DATABASES_H
#define DTM_DATABASES_H

#include "postgres.h"

#include "nodes/pg_list.h"

/*
 * Those that can be connected to, are no templates, and are in dtm.databases: a
 * list of OIDs in TopMemoryContext.  In no transaction.
 */
extern List *databases_list(void);

/* Is this one of them? */
extern bool database_is_listed(Oid database);

/*
 * From _PG_init of the postmaster: each process tells the launcher of its own
 * changes of pg_database when they commit, whatever command makes them.
 */
extern void databases_watch(void);

#endif							/* DTM_DATABASES_H */
