/*
 * databases.c
 *		The databases of the server that may have coordinators, and who notices
 *		that they change.
 */
#include "process/databases.h"

#include "compat.h"
#include "process/shmem.h"
#include "settings.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "storage/lock.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

List *
databases_list(void)
{
	List	   *list = NIL;
	Relation	relation;
	TableScanDesc scan;
	HeapTuple	tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	relation = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(relation, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

		if (database->datallowconn && !database->datistemplate &&
			database->datconnlimit != DATCONNLIMIT_INVALID_DB &&
			settings_name_database(NameStr(database->datname)))
		{
			MemoryContext before = MemoryContextSwitchTo(TopMemoryContext);

			list = lappend_oid(list, database->oid);
			MemoryContextSwitchTo(before);
		}
	}
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	CommitTransactionCommand();
	return list;
}

bool
database_is_listed(Oid database)
{
	List	   *databases = databases_list();
	bool		listed = list_member_oid(databases, database);

	list_free(databases);
	return listed;
}

/*
 * Whoever changes pg_database, be it by ALTER DATABASE or by an UPDATE, has a
 * transaction id and keeps a lock on it up to here; which costs others a look at
 * a table of this process.
 */
static void
at_transaction_end(XactEvent event, void *arg)
{
	LOCKTAG		tag;

	if (event != XACT_EVENT_COMMIT ||
		!TransactionIdIsValid(GetCurrentTransactionIdIfAny()))
		return;
	SET_LOCKTAG_RELATION(tag, InvalidOid, DatabaseRelationId);
	if (dtm_lock_held_by_me(&tag, RowExclusiveLock))
		dtm_tell_launcher_of_databases();
}

void
databases_watch(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
}
