/*
 * prepared.c
 *		Prepared transactions that have submitted something.
 *
 * What a transaction announces is in the memory of its process, and that may be
 * gone when the transaction is committed: by another session, by a worker of
 * logical replication, after a restart.  No callback is called for what is
 * committed then.  But a prepared transaction keeps its cache invalidations, in
 * its state file and in WAL, and whoever commits it sends them.  So one that has
 * something to announce invalidates a relation that nothing else invalidates: the
 * view dtm.stuck, whose cache entry nobody misses.
 *
 * Which rows it has written is not part of that, but when they become due is noted
 * in shared memory before the transaction is prepared (dtm_note_written()), and
 * where that is lost, a coordinator starts that sees the rows as they are, not
 * committed yet (coordinator/search.c).
 *
 * Why no wake-up is lost:
 *
 * 1. FinishPreparedTransaction() sends the messages after the transaction has
 *    left the array of running ones: a search that begins then sees its rows.
 * 2. A session that commits takes in its own messages right afterwards
 *    (prepared_after_commit()); a worker of logical replication, before it waits
 *    for more to apply.  Either then asks for a search.
 * 3. If neither lives that long, the coordinator itself has the message when its
 *    next transaction starts; and a crash of the server starts it anew, with a
 *    search from the beginning.
 *
 * Other backends get the message, too, and pass over it: one is enough.
 */
#include "process/prepared.h"

#include "invalidation.h"
#include "process/shmem.h"

#include "catalog/namespace.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"

/* The relation that is invalidated. */
#define MARKER	"stuck"

/* Does this process pass on what it sees?  Always, or while it commits one. */
static bool watching = false;
static bool committing = false;

Oid
prepared_marker(void)
{
	Oid			schema = get_namespace_oid("dtm", true);

	return OidIsValid(schema) ? get_relname_relid(MARKER, schema) : InvalidOid;
}

void
prepared_mark(void)
{
	DtmSharedSlot *slot = dtm_slot_of(MyDatabaseId);
	Oid			marker = prepared_marker();

	if (!OidIsValid(marker))
		return;
	if (slot != NULL)
		slot->marker = marker;
	CacheInvalidateRelcacheByRelid(marker);
}

/* InvalidOid: too many messages have come to be read, it may be among them. */
static void
relation_invalidated(Datum arg, Oid relation)
{
	DtmSharedSlot *slot;

	if (!watching && !committing)
		return;
	slot = dtm_slot_of(MyDatabaseId);
	if (slot != NULL && OidIsValid(slot->marker) &&
		(relation == slot->marker || !OidIsValid(relation)))
		dtm_ask(MyDatabaseId, DTM_ASK_SEARCH | DTM_ASK_RECHECK);
}

static void
register_callback(void)
{
	static bool registered = false;

	if (!registered)
		invalidation_watch(relation_invalidated);
	registered = true;
}

void
prepared_watch(void)
{
	register_callback();
	watching = true;
}

void
prepared_before_commit(void)
{
	register_callback();
	/* what came before is not of this commit */
	AcceptInvalidationMessages();
}

void
prepared_after_commit(void)
{
	committing = true;
	AcceptInvalidationMessages();
	committing = false;

	/*
	 * CREATE EXTENSION, or the first submit of a database, may have been
	 * prepared
	 */
	if (dtm_slot_of(MyDatabaseId) == NULL &&
		OidIsValid(get_extension_oid("dtm", true)))
		dtm_ask_launcher(MyDatabaseId);
}
