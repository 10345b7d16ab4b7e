/*
 * lease.c
 *		The lock that gives one coordinator a share of the transactions.
 *
 * Does not know what a coordinator does with its share.
 */
#include "coordinator.h"

#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"

/*
 * The lock of one unit of ids (DTM_SHARE_UNITS): an advisory lock of this
 * database in a space that SQL's functions, which use 1 and 2, cannot reach.
 */
static void
set_lock_tag(LOCKTAG *tag, int unit)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, 0x64746d, unit, 0xd7);
}

/* Releases the locks of those units of a share that are below "end". */
static void
release_units(DtmShare share, int end)
{
	LOCKTAG		tag;

	for (int unit = 0; unit < end; unit++)
		if (dtm_in_share(unit, share))
		{
			set_lock_tag(&tag, unit);
			LockRelease(&tag, ExclusiveLock, true);
		}
}

bool
coordinator_take_lease(DtmShare share)
{
	LOCKTAG		tag;

	for (int unit = 0; unit < DTM_SHARE_UNITS; unit++)
	{
		set_lock_tag(&tag, unit);
		if (dtm_in_share(unit, share) &&
			LockAcquire(&tag, ExclusiveLock, true, true) == LOCKACQUIRE_NOT_AVAIL)
		{
			release_units(share, unit);
			return false;
		}
	}
	return true;
}

void
coordinator_release_lease(DtmShare share)
{
	release_units(share, DTM_SHARE_UNITS);
}
