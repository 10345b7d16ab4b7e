/*
 * commit.c
 *		PostgreSQL transactions of a worker for local branches.
 */
#include "private.h"

#include "access/xact.h"
#include "utils/snapmgr.h"

void
runner_begin(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	/* whatever the role has for its own sessions, the outcome is written */
	XactReadOnly = false;
	PushActiveSnapshot(GetTransactionSnapshot());
}

void
runner_begin_block(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	BeginTransactionBlock();
	CommitTransactionCommand();
	runner_begin();
}

void
runner_commit(void)
{
	PopActiveSnapshot();
	if (IsTransactionBlock())
		(void) EndTransactionBlock(false);
	CommitTransactionCommand();
}
