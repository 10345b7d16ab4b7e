/*
 * traces.h
 *		Spans that wait to be sent to dtm.otlp_endpoint, or are being sent.
 */
#ifndef DTM_COORDINATOR_TRACES_H
#define DTM_COORDINATOR_TRACES_H

#include "postgres.h"

#include "call.h"
#include "coordinator.h"
#include "otlp.h"

#include "lib/ilist.h"

/* Transactions that others have ended, of one turn; the spans of more are dropped. */
#define TRACES_MAX_ENDED	1024

/* Ids that are known to have had their span; a power of 2. */
#define TRACES_RECENT		4096

/* Attributes of what sends the spans. */
#define TRACES_NRESOURCE	5

/* Spans of one request. */
typedef struct TraceBatch
{
	dlist_node	node;			/* in Traces.batches */
	OtlpBuffer	buffer;
	MemoryContext context;		/* of its call */
	Call	   *call;			/* under way; NULL: none */
	int			tries;			/* requests that have failed */
	char		data[FLEXIBLE_ARRAY_MEMBER];
} TraceBatch;

typedef struct Traces
{
	bool		on;				/* dtm.otlp_endpoint is set */
	const char *url;			/* where spans go, if so */
	MemoryContext context;
	dlist_head	batches;		/* the oldest first */
	int			nbatches;
	int			nsending;
	TraceBatch *filling;		/* the last of them, if it takes more; NULL */
	int64		filled_by;		/* when it is sent at the latest,
								 * clock_monotonic() */
	int64		not_before;		/* the collector has failed, or asked to wait,
								 * until then, clock_monotonic() */
	bool		failing;		/* its last answer was none, or an error */
	bool		rejecting;		/* or not for all spans */
	bool		untold;			/* a failure was logged, but not yet that
								 * spans are taken again, by whichever
								 * collector */
	int64		dropped_since;	/* spans, since then */
	int64		linger_until;	/* the coordinator waits for it before it
								 * ends, clock_monotonic(); 0: not yet */
	int64		sent;			/* spans, to be added to the statistics */
	int64		dropped;		/* the same */
	OtlpAttribute resource[TRACES_NRESOURCE];
	int			nresource;		/* 0: not known yet */
	int64	   *ended;			/* ids of transactions that others have ended */
	int			nended;
	int64	   *recent;			/* by id; 0: none */
} Traces;

extern void traces_init(Traces *traces, MemoryContext parent);

/* dtm.otlp_endpoint may have changed. */
extern void traces_reconfigure(Coordinator *c);

/* The coordinator ends: what has not been sent is dropped. */
extern void traces_close(Coordinator *c);

/* Adds a span, or drops it if there is no room. */
extern void traces_add(Traces *traces, const OtlpSpan *span);
extern void traces_drop(Traces *traces, int64 nspans);

/* Sends what is to be sent; to the statistics.  Not in a PostgreSQL transaction. */
extern void traces_run(Coordinator *c);

/* The request of a batch has ended; frees the call. */
extern void traces_done(Coordinator *c, Call *call);

/* us until traces_run() has something to do; -1: it has not. */
extern int64 traces_due_in(const Traces *traces);

/*
 * Is a coordinator that has nothing else to do to wait a little, so that spans are
 * sent before it ends?
 */
extern bool traces_linger(Traces *traces);

/* ---------- spans.c ---------- */

/* A call has ended; the text is that of an error, in the server's encoding. */
extern void spans_attempt(Coordinator *c, const struct Entry *entry, const Call *call,
						  DtmResult result, const char *text);

/* A transaction has been written as final. */
extern void spans_end(Coordinator *c, const Transaction *trans);

/* There is no row of it any more: somebody else has ended it, or we have. */
extern void spans_absent(Coordinator *c, int64 id);

/* In a transaction, if traces are on: looks up what the spans need. */
extern void spans_look_up(Coordinator *c);

#endif							/* DTM_COORDINATOR_TRACES_H */
