/*
 * commit.c
 *		PostgreSQL transactions of a coordinator, in a background worker or in
 *		a procedure.
 */
#include "store.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "utils/snapmgr.h"

/* In a procedure, errors are caught within a subtransaction. */
static bool in_subtransaction = false;

void
store_begin(StoreMode mode)
{
	if (mode == STORE_WORKER)
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
	}
	else
	{
		/* rows are read again after others changed them */
		XactIsoLevel = XACT_READ_COMMITTED;
		PushActiveSnapshot(GetTransactionSnapshot());
		BeginInternalSubTransaction(NULL);
		in_subtransaction = true;
	}
}

bool
store_commit(StoreMode mode)
{
	bool		wrote = TransactionIdIsValid(GetCurrentTransactionIdIfAny());

	ForceSyncCommit();
	if (mode == STORE_WORKER)
	{
		PopActiveSnapshot();
		CommitTransactionCommand();
	}
	else
	{
		ReleaseCurrentSubTransaction();
		PopActiveSnapshot();
		in_subtransaction = false;
		SPI_commit();
	}
	return wrote;
}

void
store_read_durably(void)
{
	/* with an id of its own, the commit writes a record and waits for it */
	(void) GetTopTransactionId();
}

void
store_roll_back(StoreMode mode)
{
	if (mode == STORE_WORKER)
		AbortCurrentTransaction();
	else if (in_subtransaction)
	{
		RollbackAndReleaseCurrentSubTransaction();
		PopActiveSnapshot();
		in_subtransaction = false;
	}
}

void
store_start_procedure(void)
{
	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	/* away with the snapshot of the CALL */
	SPI_commit();
	in_subtransaction = false;
}

void
store_end_procedure(void)
{
	SPI_finish();
}
