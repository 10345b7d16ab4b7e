/*
 * uncommitted.c
 *		Rows that a search has found before they were committed.
 *
 * The search has gone on, and does not come back (search.c).  So what it has found
 * too early is kept: the id, and the transaction that has written the row.  When
 * that has ended, the row is read, and is there or is not.  Most writers are
 * sessions that announce the same id at their commit: it is then read once more.
 * What counts are prepared transactions, which announce nothing, and may have been
 * forgotten by whoever prepared them.
 *
 * 1. It is looked at in a turn whose snapshot is newer than the request for the
 *    search, and so newer than the commit that has asked for it
 *    (process/prepared.c).
 * 2. A writer has ended if it has for that snapshot, not if it has by now: rows
 *    are read with snapshots that are as new, or newer.
 * 3. One row may have two writers here: one that was committed a moment ago, and
 *    the next one, which has the row as the first has left it.
 * 4. A row of a writer whose subtransaction was rolled back stays here until the
 *    writer has ended.
 */
#include "private.h"

/* Rows that are kept; a search begins again at the first one that is not. */
#define MAX_UNCOMMITTED		100000

/* The key of a row, without bytes that are not set. */
typedef struct UncommittedKey
{
	int64		id;
	uint64		writer;
} UncommittedKey;

typedef struct UncommittedRow
{
	UncommittedKey key;			/* hash key; must be first */
	dlist_node	node;			/* in UncommittedWriter.rows */
} UncommittedRow;

typedef struct UncommittedWriter
{
	TransactionId writer;		/* hash key; must be first */
	dlist_head	rows;
} UncommittedWriter;

void
uncommitted_init(Uncommitted *uncommitted, MemoryContext context)
{
	HASHCTL		hash;

	memset(&hash, 0, sizeof(hash));
	hash.keysize = sizeof(UncommittedKey);
	hash.entrysize = sizeof(UncommittedRow);
	hash.hcxt = context;
	uncommitted->rows = hash_create("dtm uncommitted rows", 64, &hash,
									HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	hash.keysize = sizeof(TransactionId);
	hash.entrysize = sizeof(UncommittedWriter);
	uncommitted->writers = hash_create("dtm uncommitted writers", 16, &hash,
									   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	uncommitted->look = false;
}

bool
uncommitted_add(Uncommitted *uncommitted, int64 id, TransactionId writer)
{
	UncommittedKey key = {.id = id, .writer = writer};
	UncommittedRow *row;
	UncommittedWriter *its;
	bool		found;

	if (hash_search(uncommitted->rows, &key, HASH_FIND, NULL) != NULL)
		return true;
	if (hash_get_num_entries(uncommitted->rows) >= MAX_UNCOMMITTED)
		return false;
	its = hash_search(uncommitted->writers, &writer, HASH_ENTER, &found);
	if (!found)
		dlist_init(&its->rows);
	row = hash_search(uncommitted->rows, &key, HASH_ENTER, &found);
	dlist_push_tail(&its->rows, &row->node);
	return true;
}

/* What a writer has left is read. */
static void
read_rows_of(Coordinator *c, UncommittedWriter *its)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &its->rows)
	{
		UncommittedRow *row = dlist_container(UncommittedRow, node, iter.cur);
		UncommittedKey key = row->key;

		coordinator_look_at(c, &key.id, 1);
		hash_search(c->uncommitted.rows, &key, HASH_REMOVE, NULL);
	}
	hash_search(c->uncommitted.writers, &its->writer, HASH_REMOVE, NULL);
}

void
uncommitted_look(Coordinator *c)
{
	Uncommitted *uncommitted = &c->uncommitted;
	HASH_SEQ_STATUS seq;
	UncommittedWriter *its;

	if (!uncommitted->look)
		return;
	uncommitted->look = false;
	if (hash_get_num_entries(uncommitted->writers) == 0)
		return;
	hash_seq_init(&seq, uncommitted->writers);
	while ((its = hash_seq_search(&seq)) != NULL)
		if (store_has_ended(its->writer))
			read_rows_of(c, its);
}
