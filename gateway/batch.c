/*
 * batch.c
 *		Batches: what has come together while a session was busy is one call
 *		of dtm.gateway_batch(), and one commit.
 *
 * A batch that fails is repeated once, with a subtransaction for each request,
 * so that the one with the error is told of it, and the others have their effect.
 */
#include "dbprivate.h"

#include "dbparams.h"
#include "log.h"
#include "metrics.h"

#include <stdlib.h>
#include <string.h>

/* Bytes of a batch, unless its only request has more. */
#define MAX_BATCH_BYTES		(1024 * 1024)

/* Bytes that may wait for a session. */
#define MAX_QUEUED_BYTES	(64 * 1024 * 1024)

/* How long a gid whose row was locked is kept apart, in us. */
#define SLOW_TIME			INT64_C(10000000)

#define METRICS_QUERY \
	"SELECT m.family, m.type, m.help, m.value::text, m.name, " \
	"ARRAY(SELECT x FROM pg_catalog.jsonb_each_text(m.labels) l, LATERAL (VALUES (1, l.key), (2, l.value)) v(n, x) ORDER BY l.key, v.n) " \
	"FROM dtm.metrics m"

#define OVERLOAD	"too many requests are waiting for the database: try again"
#define LOST		"the connection to the database was lost: try again"

bool
batch_is_slow(const Db *db, const Request *request)
{
	const SlowGid *slow = &db->slow[request->hash % SLOW_SIZE];

	return request->gid != NULL && slow->hash == request->hash &&
		slow->until > db->loop->now;
}

void
batch_enqueue(Session *session, Request *request)
{
	if (session->queued_bytes + request_size(request) > MAX_QUEUED_BYTES)
	{
		metrics[METRIC_OVERLOAD]++;
		request_fail(request, OUTCOME_UNAVAILABLE, OVERLOAD);
		return;
	}
	request->next = NULL;
	*session->last = request;
	session->last = &request->next;
	session->queued_bytes += request_size(request);
	session->nqueued++;
	metrics[METRIC_QUEUED]++;
}

static Request *
dequeue(Session *session)
{
	Request    *request = session->first;

	session->first = request->next;
	if (session->first == NULL)
		session->last = &session->first;
	request->next = NULL;
	session->queued_bytes -= request_size(request);
	session->nqueued--;
	metrics[METRIC_QUEUED]--;
	return request;
}

void
batch_expire(Session *session)
{
	int64_t		until = session->db->loop->now - session->db->config.queue_time;

	while (session->first != NULL && session->first->arrived < until)
	{
		metrics[METRIC_OVERLOAD]++;
		request_fail(dequeue(session), OUTCOME_UNAVAILABLE,
					 session->state == SESSION_DOWN || session->state == SESSION_CONNECTING ?
					 "the database is not available: try again" : OVERLOAD);
	}
}

/* Counters of the database: a request that is a statement of its own. */
static void
send_metrics(Session *session)
{
	session->state = SESSION_BUSY;
	session->began = session->db->loop->now;
	if (!PQsendQueryParams(session->conn, METRICS_QUERY, 0, NULL, NULL, NULL, NULL, 1))
		session_lost(session, PQerrorMessage(session->conn));
	else
		(void) session_flush(session);
}

/* Sends session->batch. */
static void
send_batch(Session *session, bool careful)
{
	static Buf	params[NBATCH_PARAMS];
	const char *values[NBATCH_PARAMS];
	int			lengths[NBATCH_PARAMS];
	int			formats[NBATCH_PARAMS];

	session->careful = careful;
	session->state = SESSION_BUSY;
	session->began = session->db->loop->now;
	batch_params(session->batch, careful, params);
	for (int i = 0; i < NBATCH_PARAMS; i++)
	{
		values[i] = params[i].data;
		lengths[i] = (int) params[i].len;
		formats[i] = 1;
	}
	metrics[METRIC_BATCHES]++;
	if (!PQsendQueryPrepared(session->conn, "batch", NBATCH_PARAMS, values, lengths, formats, 1))
		session_lost(session, PQerrorMessage(session->conn));
	else
		(void) session_flush(session);
	for (int i = 0; i < NBATCH_PARAMS; i++)
		if (params[i].size > 4 * MAX_BATCH_BYTES)
			buf_free(&params[i]);
}

void
batch_send(Session *session)
{
	int			max = session->kind == SESSION_SLOW || session->kind == SESSION_PAGE ? 1 :
		session->db->config.batch;
	Request   **end = &session->batch;
	size_t		bytes = 0;

	for (int n = 0; n < max && session->first != NULL; n++)
	{
		/* no part of a batch */
		if (n > 0 && session->first->op == NULL)
			break;
		bytes += request_size(session->first);
		if (n > 0 && bytes > MAX_BATCH_BYTES)
			break;
		*end = dequeue(session);
		end = &(*end)->next;
		metrics[METRIC_BATCHED]++;
	}
	if (session->batch == NULL)
		return;
	if (session->batch->op == NULL)
		send_metrics(session);
	else
		/* there, errors are to be expected */
		send_batch(session, session->kind == SESSION_APART || session->kind == SESSION_PAGE);
}

void
batch_lost(Session *session)
{
	Request    *request;

	while ((request = session->batch) != NULL)
	{
		session->batch = request->next;
		request_fail(request, OUTCOME_UNAVAILABLE, LOST);
	}
}

/* ---------- results ---------- */

/*
 * Did this request make its batch fail?  What is refused because of what is
 * stored has a code of ours, and did not; the server's state is nobody's fault.
 */
static bool
is_to_blame(const Answer *answer)
{
	return (answer->outcome == OUTCOME_ERROR || answer->outcome == OUTCOME_INVALID) &&
		strncmp(answer->sqlstate, "DT", 2) != 0;
}

static const char *
text_at(const PGresult *result, int row, int column)
{
	return PQgetisnull(result, row, column) ? "" : PQgetvalue(result, row, column);
}

/* What dtm_query() returns where there is no such transaction. */
#define NO_TRANSACTION	"{\"branches\": [], \"transaction\": null}"

static bool
is_unknown(const Request *request, const Answer *answer)
{
	if (answer->outcome != OUTCOME_SUCCESS)
		return strcmp(answer->sqlstate, "DT003") == 0;
	return strcmp(request->op, "query") == 0 && answer->parts != NULL && answer->nparts == 1 &&
		answer->parts[0].len == strlen(NO_TRANSACTION) &&
		memcmp(answer->parts[0].data, NO_TRANSACTION, answer->parts[0].len) == 0;
}

static void
finish(Session *session, Request *request, const PGresult *result, int row)
{
	const DbConfig *config = &session->db->config;
	Answer		answer = {0};
	Bytes	   *parts = NULL;
	int64_t		wait = PQgetisnull(result, row, 5) ? 0 : read_int64(PQgetvalue(result, row, 5));

	if (!outcome_parse(text_at(result, row, 1), &answer.outcome))
		answer.outcome = OUTCOME_ERROR;
	answer.message = text_at(result, row, 2);
	answer.sqlstate = text_at(result, row, 3);
	if (strcmp(answer.sqlstate, "25006") == 0)
		session->reconnect = true;
	if (answer.outcome == OUTCOME_LOCKED && !request->slow && !request->aside)
	{
		SlowGid    *slow = &session->db->slow[request->hash % SLOW_SIZE];

		metrics[METRIC_LOCKED]++;
		slow->hash = request->hash;
		slow->until = session->db->loop->now + SLOW_TIME;
		request->slow = true;
		batch_enqueue(slow_session(session->db), request);
		return;
	}
	if (answer.outcome == OUTCOME_SUCCESS && wait != 0)
	{
		request->wait = wait;
		waiters_add(session->db, request);
		return;
	}
	if (!PQgetisnull(result, row, 4))
		parts = array_read(PQgetvalue(result, row, 4), (size_t) PQgetlength(result, row, 4),
						   &answer.nparts);
	answer.parts = parts;
	if (config->unknown != NULL && is_unknown(request, &answer) &&
		config->unknown(config->owner, request))
	{
		free(parts);
		return;
	}
	if (session->careful && !request->aside && is_to_blame(&answer))
		apart_note(session->db, request);
	if (answer.outcome != OUTCOME_SUCCESS)
		log_debug("gid \"%s\": %s: %s", request->gid ? request->gid : "", request->op,
				  answer.message);
	request_finish(request, &answer);
	free(parts);
}

/* All of it has failed. */
static void
repeat_or_fail(Session *session, const PGresult *result)
{
	const char *message = result ? PQresultErrorMessage(result) : "no result";
	const char *sqlstate = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
	bool		ends = PQstatus(session->conn) == CONNECTION_BAD ||
		(sqlstate != NULL && strncmp(sqlstate, "57P", 3) == 0);

	if (!session->careful && !ends)
	{
		metrics[METRIC_REPEATED]++;
		send_batch(session, true);
		return;
	}
	if (session->kind == SESSION_PAGE && !ends)
	{
		/* it took too long: the next one need not */
		Request    *request = session->batch;

		session->batch = NULL;
		session->state = SESSION_READY;
		request_fail(request, OUTCOME_UNAVAILABLE,
					 "the database took too long for this: try again, or ask for less");
		return;
	}
	/* it was no request's fault: another session may do better */
	session_lost(session, message);
}

/* A former version of the extension counts nothing: that is no error of ours. */
static void
end_metrics(Session *session, const PGresult *result)
{
	Request    *request = session->batch;
	int			n = PQresultStatus(result) == PGRES_TUPLES_OK && PQnfields(result) == METRICS_COLUMNS ?
		PQntuples(result) * METRICS_COLUMNS : 0;
	Bytes	   *cells = n > 0 ? xcalloc(sizeof(Bytes) * (size_t) n) : NULL;
	Answer		answer = {.outcome = OUTCOME_SUCCESS, .message = "", .sqlstate = "", .nparts = n};

	session->batch = NULL;
	session->state = SESSION_READY;
	for (int i = 0; i < n; i++)
	{
		int			row = i / METRICS_COLUMNS;
		int			column = i % METRICS_COLUMNS;

		if (!PQgetisnull(result, row, column))
			cells[i] = (Bytes)
		{
			PQgetvalue(result, row, column), (size_t) PQgetlength(result, row, column)
		};
	}
	answer.parts = cells;
	request_finish(request, &answer);
	free(cells);
	if (PQstatus(session->conn) == CONNECTION_BAD)
		session_lost(session, PQerrorMessage(session->conn));
}

/* The batch is over, and its transaction has committed, if there is a result. */
static void
end_batch(Session *session)
{
	PGresult   *result = session->result;
	Request    *batch = session->batch;
	int			row = 0;

	session->result = NULL;
	if (batch->op == NULL)
	{
		end_metrics(session, result);
		PQclear(result);
		return;
	}
	if (result == NULL || PQresultStatus(result) != PGRES_TUPLES_OK || PQnfields(result) != 6)
	{
		repeat_or_fail(session, result);
		PQclear(result);
		return;
	}
	session->batch = NULL;
	session->state = SESSION_READY;
	while (batch != NULL)
	{
		Request    *request = batch;

		batch = request->next;
		request->next = NULL;
		if (row < PQntuples(result))
			finish(session, request, result, row++);
		else
			request_fail(request, OUTCOME_ERROR, "the database has not answered this request");
	}
	PQclear(result);
	if (session->reconnect)
		session_lost(session, "the server is read-only");
}

void
batch_read(Session *session)
{
	while (!PQisBusy(session->conn))
	{
		PGresult   *result = PQgetResult(session->conn);

		if (result == NULL)
		{
			end_batch(session);
			return;
		}

		/*
		 * The rows come before the commit: an error that follows is what
		 * counts.
		 */
		PQclear(session->result);
		session->result = result;
	}
}
