/*
 * databases.c
 *		The databases of the server that may have coordinators, and who notices
 *		that they change.
 */
#include "process/databases.h"

#include "process/shmem.h"
#include "settings.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

/* dtm.databases: "*", or a list of names. */
static bool
is_wanted(const char *name)
{
	char	   *copy = pstrdup(dtm_databases);
	List	   *names;
	ListCell   *cell;

	if (strcmp(dtm_databases, "*") == 0)
		return true;
	if (!SplitIdentifierString(copy, ',', &names))
		return false;
	foreach(cell, names)
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	return false;
}

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
			is_wanted(NameStr(database->datname)))
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
 * A change of pg_database, be it by ALTER DATABASE or by an UPDATE, invalidates
 * the cache of its rows in the process that makes it, while that has a
 * transaction id; others hear of it at the start of a transaction, when they
 * have none, and need not tell the launcher a second time.  (If one has, it is
 * woken for nothing.)  Hash value 0 is a reset of all caches.
 */
static void
database_changed(Datum arg, int cache, uint32 hash)
{
	if (hash != 0 && TransactionIdIsValid(GetCurrentTransactionIdIfAny()))
		dtm_announce_databases();
}

void
databases_watch(void)
{
	CacheRegisterSyscacheCallback(DATABASEOID, database_changed, (Datum) 0);
}
