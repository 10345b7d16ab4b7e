/*
 * hooks.c
 *		Hooks that inform coordinators about SQL commands.
 *
 * - CREATE, ALTER and DROP EXTENSION dtm: coordinators must start, check the
 *   version, or exit.
 * - DROP EXTENSION dtm: coordinators leave before its tables are locked, and
 *   functions that are called as branches are ended, because they may have locks
 *   that the command needs.
 * - DROP DATABASE, renaming or moving a database, and using it as a template
 *   need a database without connections: its coordinators leave during the
 *   command.
 * - PREPARE TRANSACTION and COMMIT PREPARED: a prepared transaction that has
 *   submitted something is announced when it commits (prepared.c).
 */
#include "postgres.h"

#include "clock.h"
#include "compat.h"
#include "flight.h"
#include "local/local.h"
#include "process/shmem.h"
#include "process/looks.h"
#include "process/databases.h"
#include "process/metrics.h"
#include "process/prepared.h"
#include "process/process.h"
#include "process/wait_event.h"
#include "settings.h"

#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "replication/logicalworker.h"
#include "utils/timestamp.h"

static ProcessUtility_hook_type previous_utility_hook = NULL;
static object_access_hook_type previous_access_hook = NULL;

/* How often it is looked whether the coordinator has left, in ms. */
#define LEAVE_POLL		10

/* Then the command goes on, and reports who is connected, in ms. */
#define LEAVE_TIMEOUT	10000

static void
object_access(ObjectAccessType access, Oid classId, Oid objectId, int subId,
			  void *arg)
{
	if (previous_access_hook)
		previous_access_hook(access, classId, objectId, subId, arg);
	if (classId != ExtensionRelationId)
		return;
	if (access == OAT_POST_CREATE || access == OAT_POST_ALTER)
	{
		/* its row is not visible yet, so the name can't be asked for */
		dtm_announce_ask(DTM_ASK_RECHECK);
	}
	else if (access == OAT_DROP)
	{
		char	   *name = get_extension_name(objectId);

		if (name != NULL && strcmp(name, "dtm") == 0)
		{
			dtm_announce_ask(DTM_ASK_RECHECK);
			metrics_dropped();
		}
	}
}

/* ---------- commands that want a database for themselves ---------- */

/* Has the coordinators leave, and who tells of alerts, and waits until they have. */
static void
await_leaving(Oid database)
{
	int64		until = clock_monotonic() + LEAVE_TIMEOUT * INT64CONST(1000);

	for (;;)
	{
		bool		left = true;
		DtmSharedSlot *slot = dtm_slot_of(database);

		dtm_ask(database, DTM_ASK_STOP);
		/* it sees that its database is held */
		if (slot != NULL && looks_wake(slot))
			left = false;
		slot = NULL;
		while ((slot = dtm_next_slot(database, slot)) != NULL)
		{
			SpinLockAcquire(&slot->mutex);
			left = left && slot->pid == 0;
			SpinLockRelease(&slot->mutex);
		}
		if (left || clock_monotonic() > until)
			break;
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 LEAVE_POLL, dtm_wait_event(DTM_WAIT_COORDINATOR_EXIT));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

static const char *
template_of(CreatedbStmt *statement)
{
	ListCell   *cell;

	foreach(cell, statement->options)
	{
		DefElem    *option = lfirst(cell);

		if (strcmp(option->defname, "template") == 0 && option->arg != NULL)
			return defGetString(option);
	}
	return NULL;
}

/* The database that a command wants for itself, or NULL. */
static const char *
wanted_database(Node *parsetree)
{
	switch (nodeTag(parsetree))
	{
		case T_DropdbStmt:
			return ((DropdbStmt *) parsetree)->dbname;
		case T_CreatedbStmt:
			return template_of((CreatedbStmt *) parsetree);
		case T_RenameStmt:
			return ((RenameStmt *) parsetree)->renameType == OBJECT_DATABASE ?
				((RenameStmt *) parsetree)->subname : NULL;
		case T_AlterDatabaseStmt:
			{
				AlterDatabaseStmt *statement = (AlterDatabaseStmt *) parsetree;
				ListCell   *cell;

				foreach(cell, statement->options)
				{
					if (strcmp(((DefElem *) lfirst(cell))->defname, "tablespace") == 0)
						return statement->dbname;
				}
				return NULL;
			}
		default:
			return NULL;
	}
}

/* Does this command drop the extension, and may its user do that? */
static bool
drops_extension(Node *parsetree)
{
	DropStmt   *statement = (DropStmt *) parsetree;
	Oid			extension;
	ListCell   *cell;

	if (!IsA(parsetree, DropStmt) || statement->removeType != OBJECT_EXTENSION)
		return false;
	foreach(cell, statement->objects)
	{
		if (strcmp(strVal(lfirst(cell)), "dtm") != 0)
			continue;
		extension = get_extension_oid("dtm", true);
		return OidIsValid(extension) &&
			dtm_owns_extension(extension, GetUserId());
	}
	return false;
}

/* The first slot of the database whose coordinators have to leave, or NULL. */
static DtmSharedSlot *
slot_to_leave(Node *parsetree)
{
	const char *name = wanted_database(parsetree);
	Oid			database = name ? get_database_oid(name, true) : InvalidOid;

	if (OidIsValid(database) && database != MyDatabaseId &&
		dtm_owns_database(database, GetUserId()))
		return dtm_slot_of(database);
	return drops_extension(parsetree) ? dtm_slot_of(MyDatabaseId) : NULL;
}

static void
run_utility(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
			ProcessUtilityContext context, ParamListInfo params,
			QueryEnvironment *queryEnv, DestReceiver *dest, QueryCompletion *qc)
{
	if (previous_utility_hook)
		previous_utility_hook(pstmt, queryString, readOnlyTree, context, params,
							  queryEnv, dest, qc);
	else
		standard_ProcessUtility(pstmt, queryString, readOnlyTree, context, params,
								queryEnv, dest, qc);
}

static void
process_utility(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *queryEnv, DestReceiver *dest, QueryCompletion *qc)
{
	Node	   *parsetree = pstmt->utilityStmt;

	/* to be asked now: the command may free its parse tree */
	bool		commit_prepared = IsA(parsetree, TransactionStmt) &&
		((TransactionStmt *) parsetree)->kind == TRANS_STMT_COMMIT_PREPARED;
	Oid			dropped = IsA(parsetree, DropdbStmt) ?
		get_database_oid(((DropdbStmt *) parsetree)->dbname, true) : InvalidOid;
	DtmSharedSlot *slot = slot_to_leave(parsetree);

	if (slot != NULL)
	{
		Oid			database = slot->database;

		/* if the database is still there then, it gets its coordinator back */
		dtm_hold_until_end(slot);
		/* what they have done is rolled back; their locks would be waited for */
		if (drops_extension(parsetree))
			local_terminate_all(database);
		await_leaving(database);
	}

	if (commit_prepared && dtm_shared != NULL)
		prepared_before_commit();
	run_utility(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest,
				qc);
	if (OidIsValid(dropped))
		flight_forget_database(dropped);
	if (commit_prepared && dtm_shared != NULL)
		prepared_after_commit();
}

/* In each process, at the ends of its transactions. */
static void
at_transaction_event(XactEvent event, void *arg)
{
	static bool watching = false;

	if (event == XACT_EVENT_PRE_PREPARE && dtm_has_announcements())
	{
		prepared_mark();
		dtm_note_written();
	}
	/* nobody may ever end it: dtm.orphans */
	if (event == XACT_EVENT_PREPARE && dtm_shared != NULL)
		looks_ask(MyDatabaseId, GetCurrentTimestamp() + dtm_stuck_after * INT64CONST(1000));
	if (!watching && IsLogicalWorker())
	{
		/* it commits prepared transactions, and runs no commands */
		watching = true;
		prepared_watch();
	}
}

void
dtm_install_hooks(void)
{
	databases_watch();
	RegisterXactCallback(at_transaction_event, NULL);
	previous_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
	previous_access_hook = object_access_hook;
	object_access_hook = object_access;
}
