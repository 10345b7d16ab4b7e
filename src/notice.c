/*
 * notice.c
 *		NOTIFYs of sessions that end global transactions; see notice.h.
 *
 * PostgreSQL refuses PREPARE TRANSACTION after a NOTIFY, and nobody knows at a
 * NOTIFY whether the transaction will be prepared.  So a session remembers what
 * it has to notify, until the transaction ends:
 *
 * 1. Before a commit, it executes the NOTIFY.
 * 2. Before PREPARE TRANSACTION, it inserts a message without steps that has
 *    the payload as its result.  It is a row of the prepared transaction: it
 *    survives a crash, and is gone after ROLLBACK PREPARED.  After COMMIT
 *    PREPARED the coordinator finds it like any other message, ends it, and
 *    sends the NOTIFY in the same commit (outcome.c), once.
 * 3. What a subtransaction has remembered is forgotten if it is rolled back.
 */
#include "notice.h"

#include "core/core.h"
#include "process/shmem.h"
#include "settings.h"
#include "store/store.h"
#include "transaction.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

typedef struct Notice
{
	struct Notice *next;		/* remembered before this one */
	SubTransactionId subtransaction;	/* that forgets it if it is rolled
										 * back */
	Oid			role;			/* of the message */
	char		payload[FLEXIBLE_ARRAY_MEMBER];
} Notice;

/* In TopTransactionContext; the latest is the first. */
static Notice *notices = NULL;

static bool callbacks_registered = false;

/* Makes the coordinator send it. */
static void
leave_to_coordinator(const Notice *notice)
{
	Transaction *message;
	DtmConfig	config;

	dtm_core_config(&config);
	message = transaction_message(NULL, NULL, notice->role, &config,
								  GetCurrentTimestamp());
	message->notify = true;
	message->result = notice->payload;
	if (store_insert(message))	/* its gid is a new one */
		dtm_announce(message->id, message->core.next_time);
}

/* The oldest first: there may be too many for a recursion. */
static void
send_all(XactEvent event)
{
	Notice	   *oldest = NULL;

	while (notices != NULL)
	{
		Notice	   *notice = notices;

		notices = notice->next;
		notice->next = oldest;
		oldest = notice;
	}
	for (; oldest != NULL; oldest = oldest->next)
		if (event == XACT_EVENT_PRE_PREPARE)
			leave_to_coordinator(oldest);
		else
			store_notify(NOTICE_FINISHED_CHANNEL, oldest->payload);
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			if (notices == NULL)
				return;
			PushActiveSnapshot(GetTransactionSnapshot());
			send_all(event);
			PopActiveSnapshot();
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			notices = NULL;
			break;
		default:
			break;
	}
}

static void
at_subtransaction_end(SubXactEvent event, SubTransactionId mine,
					  SubTransactionId parent, void *arg)
{
	/* those of a subtransaction are the latest: its own have ended */
	if (event == SUBXACT_EVENT_ABORT_SUB)
		while (notices != NULL && notices->subtransaction == mine)
			notices = notices->next;
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		for (Notice *n = notices; n != NULL && n->subtransaction == mine; n = n->next)
			n->subtransaction = parent;
}

void
notice_at_commit(const char *payload, Oid role)
{
	Size		size = strlen(payload) + 1;
	Notice	   *notice = MemoryContextAlloc(TopTransactionContext,
											offsetof(Notice, payload) + size);

	if (!callbacks_registered)
	{
		RegisterXactCallback(at_transaction_end, NULL);
		RegisterSubXactCallback(at_subtransaction_end, NULL);
		callbacks_registered = true;
	}
	notice->next = notices;
	notice->subtransaction = GetCurrentSubTransactionId();
	notice->role = role;
	memcpy(notice->payload, payload, size);
	notices = notice;
}
