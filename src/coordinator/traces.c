/*
 * traces.c
 *		Sends spans to dtm.otlp_endpoint, as OTLP over HTTP.
 *
 * Spans are written into batches, which are sent full or after a second.  What is
 * not sent takes MAX_BATCHES * BATCH_SIZE bytes at most: if the collector is too
 * slow, hangs, or is down, further spans are dropped and counted.  Nothing waits for
 * it.  Its calls take no place of dtm.max_requests, and a batch is tried MAX_TRIES
 * times.
 *
 * spans.c knows what spans there are.
 */
#include "private.h"

#include "clock.h"
#include "otlp.h"

/* A batch, and how many of them there may be. */
#define BATCH_SIZE		((Size) 256 * 1024)
#define BATCH_SPANS		512
#define MAX_BATCHES		16

/* Requests at a time to a collector that answers. */
#define MAX_SENDING		4

/* A batch that is not full waits so long for more spans, in us. */
#define FILL_TIME		INT64CONST(1000000)

/* A request may take so long, in ms. */
#define SEND_TIMEOUT	10000

/* Requests that a batch is worth. */
#define MAX_TRIES		5

/*
 * Pauses after failures, in us: they double; or what the collector asks for, up to a
 * limit.
 */
#define PAUSE_MIN		INT64CONST(1000000)
#define PAUSE_MAX		INT64CONST(30000000)
#define ASKED_MAX		INT64CONST(60000000)

/* A coordinator that ends waits so long for the collector, in us. */
#define LINGER_TIME		INT64CONST(1000000)

/* Letters of a collector's answer in the log. */
#define MAX_LOGGED		200

void
traces_init(Traces *traces, MemoryContext parent)
{
	memset(traces, 0, sizeof(*traces));
	traces->context = AllocSetContextCreate(parent, "dtm traces", ALLOCSET_DEFAULT_SIZES);
	dlist_init(&traces->batches);
}

void
traces_drop(Traces *traces, int64 nspans)
{
	traces->dropped += nspans;
	traces->dropped_since += nspans;
}

/* ---------- batches ---------- */

static void
free_batch(Traces *traces, TraceBatch *batch)
{
	dlist_delete(&batch->node);
	traces->nbatches--;
	if (traces->filling == batch)
		traces->filling = NULL;
	if (batch->context != NULL)
		MemoryContextDelete(batch->context);
	pfree(batch);
}

static void
drop_batch(Traces *traces, TraceBatch *batch)
{
	traces_drop(traces, batch->buffer.nspans);
	free_batch(traces, batch);
}

/* The batch that takes no more spans. */
static void
close_batch(Traces *traces)
{
	if (traces->filling == NULL)
		return;
	otlp_end(&traces->filling->buffer);
	traces->filling = NULL;
}

/* False: there are as many as may be. */
static bool
open_batch(Traces *traces)
{
	TraceBatch *batch;

	if (traces->nbatches >= MAX_BATCHES || traces->nresource == 0)
		return false;
	batch = MemoryContextAlloc(traces->context, offsetof(TraceBatch, data) + BATCH_SIZE);
	batch->context = NULL;
	batch->call = NULL;
	batch->tries = 0;
	(void) otlp_begin(&batch->buffer, batch->data, BATCH_SIZE, traces->resource,
					  traces->nresource, "dtm", DTM_VERSION);
	dlist_push_tail(&traces->batches, &batch->node);
	traces->nbatches++;
	traces->filling = batch;
	traces->filled_by = clock_monotonic() + FILL_TIME;
	return true;
}

void
traces_add(Traces *traces, const OtlpSpan *span)
{
	bool		added;

	traces->linger_until = 0;
	added = (traces->filling != NULL || open_batch(traces)) &&
		otlp_add(&traces->filling->buffer, span);
	if (!added && traces->filling != NULL && traces->filling->buffer.nspans > 0)
	{
		close_batch(traces);
		added = open_batch(traces) && otlp_add(&traces->filling->buffer, span);
	}
	if (!added)
		traces_drop(traces, 1);
	else if (traces->filling->buffer.nspans >= BATCH_SPANS)
		close_batch(traces);
}

/* All of them, those under way, too. */
static void
drop_all(Coordinator *c)
{
	Traces	   *traces = &c->traces;
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &traces->batches)
	{
		TraceBatch *batch = dlist_container(TraceBatch, node, iter.cur);

		if (batch->call != NULL)
		{
			(void) call_cancel(&c->calls, batch->call);
			call_free(batch->call);
		}
		drop_batch(traces, batch);
	}
	traces->nsending = 0;
}

static void
publish(Coordinator *c)
{
	Traces	   *traces = &c->traces;

	if (c->slot != NULL && (traces->sent > 0 || traces->dropped > 0))
	{
		pg_atomic_fetch_add_u64(&c->slot->nspans, traces->sent);
		pg_atomic_fetch_add_u64(&c->slot->nspans_dropped, traces->dropped);
	}
	traces->sent = traces->dropped = 0;
}

void
traces_close(Coordinator *c)
{
	drop_all(c);
	publish(c);
}

/* ---------- settings ---------- */

/* As OTEL_EXPORTER_OTLP_ENDPOINT is understood: the path goes behind its own. */
static char *
url_of(const char *endpoint)
{
	size_t		len = strlen(endpoint);

	while (len > 0 && endpoint[len - 1] == '/')
		len--;
	return psprintf("%.*s" OTLP_TRACES_PATH, (int) len, endpoint);
}

void
traces_reconfigure(Coordinator *c)
{
	Traces	   *traces = &c->traces;
	MemoryContext before;
	char	   *url;

	traces->on = dtm_otlp_endpoint[0] != '\0';
	if (!traces->on)
	{
		traces->nended = 0;
		traces_close(c);
		return;
	}
	before = MemoryContextSwitchTo(traces->context);
	url = url_of(dtm_otlp_endpoint);
	if (traces->url == NULL || strcmp(url, traces->url) != 0)
	{
		/*
		 * Another collector: what the last one has done is no matter, but for
		 * the spans that were dropped, which nobody has been told of yet.
		 */
		traces->url = url;
		traces->not_before = 0;
		traces->failing = traces->rejecting = false;
	}
	else
		pfree(url);
	if (traces->ended == NULL)
	{
		traces->ended = palloc(sizeof(int64) * TRACES_MAX_ENDED);
		traces->recent = palloc0(sizeof(int64) * TRACES_RECENT);
	}
	MemoryContextSwitchTo(before);
}

/* ---------- what has become of a request ---------- */

/* Text from outside, for the log. */
static char *
printable(const char *text, size_t len)
{
	char	   *clean = pnstrdup(text, Min(len, MAX_LOGGED));

	for (char *c = clean; *c; c++)
		if (IS_HIGHBIT_SET(*c) || (unsigned char) *c < ' ')
			*c = '?';
	return clean;
}

/* Told once, until it takes spans again. */
static void
note_failure(Traces *traces, const char *what)
{
	if (!traces->failing)
		ereport(LOG,
				(errmsg("could not send spans to dtm.otlp_endpoint: %s", what)));
	if (!traces->untold)
		traces->dropped_since = 0;
	traces->failing = traces->untold = true;
}

static void
note_success(Traces *traces)
{
	if (traces->untold)
		ereport(LOG,
				(errmsg("dtm.otlp_endpoint takes spans again"),
				 errdetail("%lld spans were dropped meanwhile.",
						   (long long) traces->dropped_since)));
	traces->failing = traces->untold = false;
}

/* No request before a pause, which grows with the tries of a batch. */
static void
pause_sending(Traces *traces, int tries, int64 asked)
{
	int64		pause = asked > 0 ? Min(asked, ASKED_MAX) :
		Min(PAUSE_MIN << Min(tries - 1, 10), PAUSE_MAX);

	/* several coordinators should not come back at the same time */
	if (asked == 0)
		pause -= random() % (pause / 4);
	traces->not_before = Max(traces->not_before, clock_monotonic() + pause);
}

/* It may be tried again, but not for ever. */
static void
retry_batch(Traces *traces, TraceBatch *batch, int64 asked)
{
	batch->tries++;
	pause_sending(traces, batch->tries, asked);
	if (batch->tries >= MAX_TRIES)
		drop_batch(traces, batch);
}

/* The collector has taken a batch; perhaps not all spans of it. */
static int64
count_rejected(Traces *traces, const TraceBatch *batch, const Call *call)
{
	char		message[MAX_LOGGED];
	int64		rejected = call->body != NULL ?
		otlp_rejected(call->body, call->body_len, message, sizeof(message)) :
		otlp_rejected(call->text, call->text_len, message, sizeof(message));

	if (rejected > 0 && !traces->rejecting)
		ereport(LOG,
				(errmsg("dtm.otlp_endpoint has rejected %lld spans: %s",
						(long long) rejected, printable(message, strlen(message)))));
	traces->rejecting = rejected > 0;
	return Min(rejected, batch->buffer.nspans);
}

/* These, and no answer at all, are worth another try (OTLP, Failures). */
static bool
is_retryable(int http_status)
{
	return http_status == 0 || http_status == 429 || http_status == 502 ||
		http_status == 503 || http_status == 504;
}

void
traces_done(Coordinator *c, Call *call)
{
	Traces	   *traces = &c->traces;
	TraceBatch *batch = call->batch;
	bool		withdrawn = call->end == CALL_WITHDRAWN;
	int64		asked = call_asks_to_wait(call);
	int64		rejected = 0;
	bool		taken;
	StoreAttempt attempt;

	call_describe(call, &attempt);
	taken = attempt.http_status >= 200 && attempt.http_status <= 299;
	if (taken)
		rejected = count_rejected(traces, batch, call);
	else if (!withdrawn)
	{
		const char *text = printable(call->text, call->text_len);

		note_failure(traces, attempt.http_status == 0 ? text :
					 psprintf("HTTP status %d: %s", attempt.http_status, text));
	}
	/* it is in the memory of the batch */
	call_free(call);
	batch->call = NULL;
	traces->nsending--;
	if (taken)
	{
		note_success(traces);
		traces->sent += batch->buffer.nspans - rejected;
		traces_drop(traces, rejected);
		free_batch(traces, batch);
	}
	else if (withdrawn)
		/* it was not sent: its host does not answer, or we are to end */
		traces->failing = true;
	else if (is_retryable(attempt.http_status))
		retry_batch(traces, batch, asked);
	else
		drop_batch(traces, batch);
}

/* ---------- sending ---------- */

/* The request of a batch; in a transaction where a server says where it goes. */
static Call *
make_call(Coordinator *c, TraceBatch *batch)
{
	const char *url = c->traces.url;
	bool		server = strncmp(url, DTM_SCHEME_SERVER, strlen(DTM_SCHEME_SERVER)) == 0;
	Oid			role = InvalidOid;
	Call	   *call;

	if (server)
	{
		turn_begin(c);
		role = dtm_extension_owner();
	}
	MemoryContextSwitchTo(batch->context);
	call = call_make_post_aside(url, role, batch->data, batch->buffer.len, SEND_TIMEOUT);
	if (server)
		turn_commit(c);
	return call;
}

/* False: not even its request could be made. */
static bool
send_batch(Coordinator *c, TraceBatch *batch)
{
	Traces	   *traces = &c->traces;
	Call	   *volatile call = NULL;

	if (batch->context != NULL)
		MemoryContextDelete(batch->context);
	batch->context = AllocSetContextCreate(traces->context, "dtm trace request",
										   ALLOCSET_SMALL_SIZES);
	PG_TRY();
	{
		call = make_call(c, batch);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(c->turn);
		edata = CopyErrorData();
		FlushErrorState();
		turn_roll_back(c);
		note_failure(traces, edata->message);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(c->turn);
	if (call == NULL)
	{
		retry_batch(traces, batch, 0);
		return false;
	}
	call->batch = batch;
	batch->call = call;
	traces->nsending++;
	call_start(&c->calls, call);
	return true;
}

/* May another request be sent?  One that fails is tried alone. */
static bool
may_send(const Traces *traces, int64 now)
{
	return now >= traces->not_before &&
		traces->nsending < (traces->failing ? 1 : MAX_SENDING);
}

void
traces_run(Coordinator *c)
{
	Traces	   *traces = &c->traces;
	int64		now = clock_monotonic();
	bool		started = false;
	dlist_mutable_iter iter;

	if (traces->filling != NULL &&
		(now >= traces->filled_by || traces->linger_until != 0))
		close_batch(traces);
	dlist_foreach_modify(iter, &traces->batches)
	{
		TraceBatch *batch = dlist_container(TraceBatch, node, iter.cur);

		if (!may_send(traces, now))
			break;
		if (batch->call == NULL && batch != traces->filling)
			started = send_batch(c, batch) || started;
	}
	/* off they go */
	if (started)
		calls_drive(&c->calls);
	publish(c);
}

int64
traces_due_in(const Traces *traces)
{
	int64		now = clock_monotonic();
	int64		due = PG_INT64_MAX;
	int			waiting = traces->nbatches - traces->nsending - (traces->filling != NULL);

	if (traces->filling != NULL)
		due = traces->linger_until != 0 ? now : traces->filled_by;
	if (waiting > 0 && may_send(traces, PG_INT64_MAX))
		due = Min(due, traces->not_before);
	if (traces->linger_until > now)
		due = Min(due, traces->linger_until);
	return due == PG_INT64_MAX ? -1 : Max(due - now, 0);
}

bool
traces_linger(Traces *traces)
{
	int64		now = clock_monotonic();

	if (traces->nbatches == 0 || traces->failing)
		return false;
	if (traces->linger_until == 0)
		traces->linger_until = now + LINGER_TIME;
	return now < traces->linger_until;
}
