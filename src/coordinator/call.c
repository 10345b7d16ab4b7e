/*
 * call.c
 *		One interface to calls over the transport and by local workers.
 *
 * Does not know the coordinator's entries, or what follows from the result of
 * a call.
 */
#include "call.h"

#include "clock.h"
#include "endpoint/endpoint.h"
#include "process/metrics.h"
#include "settings.h"

#include "datatype/timestamp.h"
#include "utils/timestamp.h"

/* The part that one more call has in the average of what calls take: 1 / this. */
#define CALL_TIME_WEIGHT	64

/* Memory for the bodies of responses, in bytes; see MAX_LOADED_BYTES (room.c), too. */
#define MAX_REPLY_BYTES		((size_t) 64 * 1024 * 1024)

/* Transactions in memory that wait for a worker of a role, for each worker. */
#define LOADED_PER_WORKER	8

/* A call to a host. */
typedef struct RemoteCall
{
	Call		base;
	DtmCall		http;			/* http.owner is the call */
	const DtmReplyRules *rules; /* NULL: the usual ones */
	const char *refused;		/* why it is not made; NULL: it is */
	DtmResult	decided;		/* what it comes to if it is not */
} RemoteCall;

/* A call in this database. */
typedef struct LocalCall
{
	Call		base;
	LocalTask	task;			/* task.owner is the call */
} LocalCall;

static bool
is_local(const Call *call)
{
	return call->kind == WIRE_LOCAL;
}

static DtmCall *
http_of(const Call *call)
{
	Assert(!is_local(call));
	return &((RemoteCall *) call)->http;
}

static LocalTask *
task_of(const Call *call)
{
	Assert(is_local(call));
	return &((LocalCall *) call)->task;
}

/* ---------- one call ---------- */

/*
 * An action has no use when its saga's time is over, which nobody would notice
 * while it waits, or runs in this database; 0: it has.
 */
static int64
action_expires(const Transaction *trans, TimestampTz now)
{
	const DtmTrans *core = &trans->core;

	if (core->type != DTM_SAGA || core->status != DTM_SUBMITTED ||
		core->timeout_to_fail <= 0)
		return 0;
	return clock_monotonic() + core->created + core->timeout_to_fail -
		(now != 0 ? now : GetCurrentTimestamp());
}

static Call *
make_local(const Transaction *trans, int op, TimestampTz now)
{
	LocalCall  *call = palloc0(sizeof(LocalCall));

	call->base.op = op;
	call->base.kind = WIRE_LOCAL;
	call->task.owner = call;
	call->task.id = trans->id;
	call->task.op = op;
	call->task.role = trans->submitted_by;
	call->task.timeout = transaction_request_timeout(trans, op);
	call->task.expires = action_expires(trans, now);
	call->task.now = now;
	return &call->base;
}

/* A call to a host. */
static RemoteCall *
new_remote(void)
{
	RemoteCall *call = palloc(sizeof(RemoteCall));

	memset(&call->base, 0, sizeof(Call));
	dtm_call_clear(&call->http);
	call->http.owner = call;
	call->rules = NULL;
	call->refused = NULL;
	call->decided = DTM_RESULT_TEMPORARY;
	return call;
}

Call *
call_make(const Transaction *trans, WireBranch *branch, TimestampTz now)
{
	RemoteCall *call;
	bool		never;

	if (branch->kind == WIRE_LOCAL)
		return make_local(trans, branch->number, now);
	call = new_remote();
	call->base.op = branch->number;
	call->http.timeout = (int64) Min(transaction_request_timeout(trans, branch->number),
									 DTM_MAX_REQUEST_TIMEOUT) * 1000;
	call->http.expires = action_expires(trans, now);
	call->http.tenant = trans->submitted_by;
	call->http.key = trans->fairness_key == NULL ? 0 :
		transaction_fairness(trans->fairness_key, strlen(trans->fairness_key));
	if (!endpoint_request(trans, branch, &call->http, &call->refused, &never))
	{
		call->http.url = branch->url;
		call->decided = never ? DTM_RESULT_PERMANENT : DTM_RESULT_TEMPORARY;
	}
	call->base.kind = branch->kind;
	call->rules = branch->rules;
	return &call->base;
}

Call *
call_make_decided(const Transaction *trans, const WireBranch *branch, DtmResult result,
				  const char *text)
{
	RemoteCall *call = new_remote();

	call->base.op = branch->number;
	call->base.kind = WIRE_HTTP;
	call->http.url = branch->url;
	call->refused = text;
	call->decided = result;
	return &call->base;
}

Call *
call_make_post_aside(const char *url, Oid role, const char *body, size_t len, int timeout)
{
	RemoteCall *call = new_remote();

	call->base.op = DTM_CALL_QUERY;
	call->base.kind = WIRE_HTTP;
	call->http.aside = true;
	call->http.read_retry_after = true;
	call->http.body = body;
	call->http.body_len = len;
	call->http.timeout = (int64) timeout * 1000;
	(void) endpoint_post(url, role, &call->http, &call->refused);
	return &call->base;
}

void
call_start(Calls *calls, Call *call)
{
	call->note = notes_begin(&calls->notes, call->id, call->op);
	if (is_local(call))
	{
		task_of(call)->sent = notes_sent(&calls->notes, call->note);
		local_submit(calls->pool, task_of(call));
		return;
	}
	http_of(call)->sent = notes_sent(&calls->notes, call->note);
	if (((RemoteCall *) call)->refused != NULL)
		dtm_transport_refuse(calls->transport, http_of(call),
							 ((RemoteCall *) call)->refused);
	else
	{
		DtmCall    *http = http_of(call);

		/* a server's limits hold for all coordinators together */
		if (http->max_requests > 0)
			http->max_requests = Max(http->max_requests / calls->share_of, 1);
		http->interval *= calls->share_of;
		dtm_transport_submit(calls->transport, http);
	}
}

bool
call_cancel(Calls *calls, Call *call)
{
	bool		was_sent;

	notes_end(&calls->notes, call->note);
	if (is_local(call))
	{
		local_cancel(calls->pool, task_of(call));
		return false;
	}
	was_sent = dtm_call_is_in_flight(http_of(call));
	dtm_transport_cancel(calls->transport, http_of(call));
	return was_sent;
}

void
call_stop(Calls *calls, Call *call)
{
	if (is_local(call))
		local_stop(calls->pool, task_of(call));
	else if (dtm_call_is_waiting(http_of(call)))
		dtm_transport_withdraw(calls->transport, http_of(call));
}

void
call_free(Call *call)
{
	if (!is_local(call))
		dtm_call_release(http_of(call));
	pfree(call);
}

bool
call_is_waiting(const Call *call)
{
	return is_local(call) ? local_is_waiting(task_of(call)) :
		dtm_call_is_waiting(http_of(call));
}

void
call_where(const Call *call, CallPlace *place)
{
	memset(place, 0, sizeof(CallPlace));
	if (is_local(call))
		place->role = task_of(call)->role;
	else
		dtm_host_name(http_of(call)->url, place->host);
}

void
call_set_place(CallPlace *place, const char *host)
{
	memset(place, 0, sizeof(CallPlace));
	strlcpy(place->host, host, sizeof(place->host));
}

void
call_describe(const Call *call, StoreAttempt *attempt)
{
	attempt->op = call->op;
	if (is_local(call))
	{
		const LocalTask *task = task_of(call);

		attempt->started = task->started;
		attempt->duration = task->duration;
		attempt->http_status = 0;
		attempt->grpc_status = -1;
	}
	else
	{
		const DtmCall *http = http_of(call);

		attempt->started = clock_of_unix(http->started);
		attempt->duration = http->duration;
		attempt->http_status = http->http_status;
		attempt->grpc_status = call->kind == WIRE_GRPC ? http->grpc_status : -1;
	}
}

void
call_span(const Call *call, const Transaction *trans, const StoreAttempt *attempt,
		  CallSpan *span)
{
	bool		has_id = false;

	if (is_local(call))
	{
		WireBranch	branch;

		wire_describe(trans, call->op, &branch);
		span->method = NULL;
		span->url = branch.url;
	}
	else
	{
		const DtmCall *http = http_of(call);

		span->method = http->method != NULL ? http->method : http->post ? "POST" : "GET";
		span->url = http->url;
		has_id = wire_span_id_of(http, span->id);
	}
	/* what has no request has no id yet */
	if (!has_id)
		wire_span_id(trans->gid, call->op, attempt->started, span->id);
}

int64
call_asks_to_wait(const Call *call)
{
	const DtmCall *http = http_of(call);

	if (http->retry_after == NULL)
		return 0;
	return dtm_retry_after(http->retry_after, strlen(http->retry_after),
						   (http->started + http->duration) / DTM_USEC_PER_SEC) *
		DTM_USEC_PER_SEC;
}

/* ---------- all calls ---------- */

static void
read_limits(DtmTransportLimits *limits)
{
	char		problem[200];

	limits->max_requests = dtm_max_requests;
	limits->max_requests_per_host = dtm_max_requests_per_host;
	limits->breaker_failures = dtm_breaker_failures;
	limits->breaker_pause_max = (int64) dtm_breaker_pause_max * 1000;
	limits->max_reply_size = (size_t) dtm_max_reply_size * 1024;
	limits->max_reply_bytes = MAX_REPLY_BYTES;
	limits->ca_file = dtm_ca_file;
	/* the setting has been checked */
	(void) dtm_address_list_parse(dtm_forbidden_addresses, &limits->forbidden,
								  problem, sizeof(problem));
}

static void
report_limits(const Calls *calls)
{
	int			most = calls_max(calls);

	if (most < dtm_max_requests)
		ereport(LOG,
				(errmsg("limit of open files allows only %d calls in flight, fewer than dtm.max_requests (%d)",
						most, dtm_max_requests),
				 errhint("Increase the server's limit of open files (LimitNOFILE, ulimit -n), or decrease dtm.max_requests.")));
}

bool
calls_open(Calls *calls, MemoryContext context, DtmShare share, DtmSharedSlot *slot,
		   char *error, size_t error_size)
{
	DtmTransportLimits limits;

	calls->time = 0;
	calls->share_of = share.of;
	read_limits(&limits);
	calls->transport = dtm_transport_create(&limits, error, error_size);
	if (calls->transport == NULL)
		return false;
	report_limits(calls);
	calls->pool = local_pool_create(context, share);
	notes_open(&calls->notes, context, slot);
	return true;
}

void
calls_close(Calls *calls)
{
	dtm_transport_destroy(calls->transport);
	local_pool_destroy(calls->pool);
	notes_close(&calls->notes);
}

void
calls_reconfigure(Calls *calls)
{
	DtmTransportLimits limits;

	read_limits(&limits);
	dtm_transport_set_limits(calls->transport, &limits);
	report_limits(calls);
}

int
calls_max(const Calls *calls)
{
	return dtm_transport_max_requests(calls->transport);
}

bool
calls_are_at_max(const Calls *calls)
{
	return dtm_transport_is_full(calls->transport);
}

void
calls_drive(Calls *calls)
{
	char		problem[DTM_CALL_ERROR_SIZE];

	dtm_transport_drive(calls->transport);
	if (dtm_transport_problem(calls->transport, problem) != NULL)
		ereport(WARNING,
				(errmsg("could not prepare connections for calls: %s", problem)));
	local_drive(calls->pool);
}

void
calls_withdraw(Calls *calls)
{
	dtm_transport_withdraw_all(calls->transport, false);
	local_withdraw(calls->pool);
}

void
calls_withdraw_unanswered(Calls *calls)
{
	dtm_transport_withdraw_all(calls->transport, true);
}

void
calls_probe_now(Calls *calls)
{
	dtm_transport_probe_now(calls->transport);
}

bool
calls_is_unanswered(const Calls *calls, const Call *call)
{
	CallPlace	place;

	if (is_local(call) || call->answered)
		return false;
	call_where(call, &place);
	return dtm_transport_is_failing(calls->transport, place.host);
}

/* Where it counts; the transport remembers that for the next call to its host. */
static int
counted_host(Calls *calls, const DtmCall *http)
{
	char		name[DTM_HOST_NAME_SIZE];
	int			host;

	if (http->host_number > 0)
		return http->host_number - 1;
	dtm_host_name(http->url, name);
	host = metrics_host(name);
	dtm_transport_number_host(calls->transport, name, host + 1);
	return host;
}

/* A call to a host has ended. */
static Call *
take_remote(Calls *calls, DtmCall *http)
{
	Call	   *call = http->owner;
	const DtmReplyRules *rules = ((RemoteCall *) call)->rules;

	call->end = http->withdrawn ? CALL_WITHDRAWN : CALL_REPLIED;
	call->result = wire_result(call->kind, rules, http, &call->text);
	call->retry_after = wire_retry_after(rules, http);
	call->said_final = wire_said_final(call->kind, rules);
	call->host = METRICS_HOST_NONE;
	if (((RemoteCall *) call)->refused != NULL)
		call->result = ((RemoteCall *) call)->decided;
	else if (call->entry != NULL && !http->withdrawn)
		call->host = counted_host(calls, http);
	if (call->result == DTM_RESULT_SUCCESS)
	{
		call->body = http->reply;
		call->body_len = http->reply_len;
	}
	call->text_len = call->text == http->reply ? http->reply_len :
		strlen(call->text);
	call->answered = http->http_status != 0;
	if (call->entry != NULL && !http->withdrawn)
		calls->time += (http->duration - calls->time) / CALL_TIME_WEIGHT;
	return call;
}

/* A call in this database has ended. */
static Call *
take_local(LocalTask *task)
{
	Call	   *call = task->owner;

	call->host = METRICS_HOST_SQL;
	call->end = task->withdrawn ? CALL_WITHDRAWN :
		task->recorded ? CALL_RECORDED : CALL_REPLIED;
	call->result = task->recorded ? task->result : DTM_RESULT_TEMPORARY;
	call->answered = task->recorded;
	call->text = task->error;
	call->text_len = strlen(task->error);
	call->is_final = task->final;
	call->alert = task->alert;
	return call;
}

Call *
calls_reap(Calls *calls)
{
	DtmCall    *http = dtm_transport_reap(calls->transport);
	LocalTask  *task = http != NULL ? NULL : local_reap(calls->pool);
	Call	   *call = http != NULL ? take_remote(calls, http) :
		task != NULL ? take_local(task) : NULL;

	if (call != NULL)
		notes_end(&calls->notes, call->note);
	return call;
}

int
calls_fd(const Calls *calls)
{
	return dtm_transport_fd(calls->transport);
}

int64
calls_due_in(const Calls *calls)
{
	int64		remote = dtm_transport_due_in(calls->transport);
	int64		local = local_due_in(calls->pool);

	return local < 0 || remote < 0 ? Max(local, remote) : Min(local, remote);
}

int
calls_in_flight(const Calls *calls)
{
	return dtm_transport_in_flight(calls->transport) + local_running(calls->pool);
}

int
calls_waiting(const Calls *calls)
{
	return dtm_transport_waiting(calls->transport) + local_waiting(calls->pool);
}

int
calls_appetite(const Calls *calls, const CallPlace *place)
{
	if (OidIsValid(place->role))
		return LOADED_PER_WORKER * Max(dtm_sql_workers, 1) -
			local_waiting_of(calls->pool, place->role);
	return dtm_transport_appetite(calls->transport, place->host);
}
