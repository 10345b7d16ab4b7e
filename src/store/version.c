/*
 * version.c
 *		Checks that the extension's SQL in this database has the version of the
 *		library.
 *
 * The versions differ between the installation of a new package and ALTER
 * EXTENSION UPDATE, or until the server is restarted.  Without the check,
 * statements would fail with misleading errors, or would do the wrong thing
 * without an error.
 *
 * Every script that updates the extension creates or replaces a function.
 * That invalidation tells a session to check again.
 */
#include "private.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/* It has been looked at, and was right. */
static bool checked = false;

static void
forget(Datum arg, int cache, uint32 hash)
{
	checked = false;
}

/* The version in this database, in the current memory context; NULL: none. */
static char *
installed_version(void)
{
	Relation	relation = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	char	   *version = NULL;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber,
				F_NAMEEQ, CStringGetDatum("dtm"));
	scan = systable_beginscan(relation, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		datum = heap_getattr(tuple, Anum_pg_extension_extversion,
										 RelationGetDescr(relation), &isnull);

		if (!isnull)
			version = TextDatumGetCString(datum);
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return version;
}

const char *
store_other_version(void)
{
	static bool registered = false;
	char	   *version;

	if (checked || creating_extension)
		return NULL;
	if (!registered)
	{
		CacheRegisterSyscacheCallback(PROCOID, forget, (Datum) 0);
		registered = true;
	}
	version = installed_version();
	/* without the extension, it is that which is said */
	if (version != NULL && strcmp(version, DTM_VERSION) != 0)
		return version;
	checked = true;
	return NULL;
}

/* Is a version, numbers with dots between them, older than another? */
static bool
is_older(const char *version, const char *than)
{
	for (;;)
	{
		long		a = strtol(version, (char **) &version, 10);
		long		b = strtol(than, (char **) &than, 10);

		if (a != b)
			return a < b;
		if (*version != '.' || *than != '.')
			return *version == '\0' && *than == '.';
		version++;
		than++;
	}
}

void
check_version(void)
{
	const char *version = store_other_version();

	if (version == NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("extension \"dtm\" has version %s in this database, but the loaded library has version %s",
					version, DTM_VERSION),
			 is_older(version, DTM_VERSION) ?
			 errhint("Run ALTER EXTENSION dtm UPDATE.") :
			 errhint("Install the package of version %s, and restart the server.",
					 version)));
}
