/*
 * hold_commit.c
 *		A library for tests that stops a transaction in its commit: it can be seen,
 *		and the commit callbacks of Citus, and what dtm does after the commit, are
 *		still to come.
 *
 * Preload it behind Citus, if that is there.  A transaction with hold_commit.here = on
 * waits as long as there is a file "hold_commit" in the data directory.
 *
 * With -DPRETEND_CITUS it has what dtm looks for to see whether there is Citus.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/guc.h"

#include <unistd.h>

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

static bool hold_here = false;

static void
at_transaction_end(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT || !hold_here)
		return;
	while (access("hold_commit", F_OK) == 0)
		pg_usleep(1000);
}

#ifdef PRETEND_CITUS
static int	shard_count = 32;

extern PGDLLEXPORT bool IsCitusTable(Oid relation);
extern PGDLLEXPORT void Use2PCForCoordinatedTransaction(void);
extern PGDLLEXPORT int32 GetLocalGroupId(void);

bool
IsCitusTable(Oid relation)
{
	return false;
}

void
Use2PCForCoordinatedTransaction(void)
{
}

int32
GetLocalGroupId(void)
{
	return 0;
}
#endif

void
_PG_init(void)
{
#ifdef PRETEND_CITUS
	DefineCustomIntVariable("citus.shard_count", "As Citus has it.", NULL, &shard_count,
							32, 1, 1000, PGC_USERSET, 0, NULL, NULL, NULL);
#endif
	DefineCustomBoolVariable("hold_commit.here", "Holds the commit of this transaction.", NULL,
							 &hold_here, false, PGC_USERSET, 0, NULL, NULL, NULL);
	RegisterXactCallback(at_transaction_end, NULL);
}
