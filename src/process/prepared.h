/*
 * prepared.h
 *		Prepared transactions that have submitted something: the coordinator is
 *		told when they commit, whoever commits them, and of no others.
 */
#ifndef DTM_PREPARED_H
#define DTM_PREPARED_H

#include "postgres.h"

/*
 * Before this transaction is prepared: it has something to tell the coordinator.
 * The mark is part of the prepared transaction, and so survives a restart.
 */
extern void prepared_mark(void);

/* The mark of this database, for a slot of it.  In a transaction. */
extern Oid	prepared_marker(void);

/*
 * From now on this process tells the coordinator of marked transactions that it
 * sees committed.  For coordinators and workers of logical replication.
 */
extern void prepared_watch(void);

/* Around a COMMIT PREPARED of this process. */
extern void prepared_before_commit(void);
extern void prepared_after_commit(void);

#endif							/* DTM_PREPARED_H */
