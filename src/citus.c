/*
 * citus.c
 *		Functions of Citus, looked up in its library if the server has loaded it.
 *
 * Citus wants to be the first in shared_preload_libraries, and libraries are loaded
 * with their symbols global.  So what there is of it is there when dtm is
 * initialized; dtm is built without its headers, and does not need it.
 */
#include "citus.h"

#include "commands/extension.h"
#include "utils/guc.h"

#include <dlfcn.h>

/* A setting that tells that it is loaded, whatever its functions are called. */
#define SETTING			"citus.shard_count"

bool		citus_loaded = false;

/* NULL: it has no such function. */
static bool (*is_citus_table) (Oid relation);
static void (*use_two_phase) (void);
static int32 (*local_group) (void);

static void *
find(const char *name)
{
	return dlsym(RTLD_DEFAULT, name);
}

void
citus_init(void)
{
	if (GetConfigOption(SETTING, true, false) == NULL)
		return;
	is_citus_table = (bool (*) (Oid)) find("IsCitusTable");
	use_two_phase = (void (*) (void)) find("Use2PCForCoordinatedTransaction");
	local_group = (int32 (*) (void)) find("GetLocalGroupId");
	citus_loaded = true;
}

static bool
is_in_database(void)
{
	return OidIsValid(get_extension_oid("citus", true));
}

/* A version that dtm does not know: what dtm can't do with it, it refuses. */
static void
check(bool found, const char *name)
{
	if (!found && is_in_database())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("dtm does not support this version of Citus"),
				 errdetail("The library of Citus has no function \"%s\".", name),
				 errhint("Use a version of Citus and one of dtm that go together: dtm was tested with Citus 13.2.")));
}

bool
citus_is_table(Oid relation)
{
	check(is_citus_table != NULL, "IsCitusTable");
	return is_citus_table != NULL && is_citus_table(relation);
}

void
citus_use_two_phase(void)
{
	check(use_two_phase != NULL, "Use2PCForCoordinatedTransaction");
	if (use_two_phase != NULL)
		use_two_phase();
}

int
citus_group(void)
{
	if (!is_in_database())
		return CITUS_NO_GROUP;
	check(local_group != NULL, "GetLocalGroupId");
	return local_group();
}
