/*
 * committing.h
 *		Transactions that have committed here, and not everywhere yet.
 */
#ifndef DTM_COMMITTING_H
#define DTM_COMMITTING_H

#include "postgres.h"

#include "citus.h"

extern Size committing_shmem_size(void);
extern void committing_shmem_startup(void);

/* For the function below, where Citus is loaded. */
extern void committing_note(void);

/*
 * This transaction has written rows of dtm's: nobody is called for them before all
 * that it has written on other nodes can be seen there.
 */
static inline void
committing_wrote(void)
{
	if (unlikely(citus_loaded))
		committing_note();
}

/* This transaction has committed everywhere.  It may not have noted anything. */
extern void committing_end(void);

/*
 * Has the transaction that this one belongs to, which has committed, still to
 * commit elsewhere?  Returns it; invalid: it has not.  For what is seen in a snapshot that has
 * been taken before.
 */
extern TransactionId committing_find(TransactionId writer);

#endif							/* DTM_COMMITTING_H */
