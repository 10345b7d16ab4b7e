/*
 * waiters.c
 *		Requests with wait_result: one session waits for the first pass of all
 *		of their transactions.
 *
 * dtm.gateway_wait() returns when a pass has ended, and also when we have sent
 * another call behind it: that is how it hears of new ones.
 */
#include "dbprivate.h"

#include "dbparams.h"
#include "log.h"
#include "metrics.h"

#include <stdlib.h>
#include <string.h>

/* Calls that are sent before the first has returned. */
#define MAX_OUTSTANDING	2

/* How long a call waits, in ms, before it is sent again. */
#define CALL_TIME		5000

#define WAIT_QUERY "CALL dtm.gateway_wait($1, $2, NULL, NULL, NULL)"

void
waiters_add(Db *db, Request *request)
{
	request->next = db->waiters;
	request->arrived = db->loop->now;
	db->waiters = request;
	db->nwaiters++;
	metrics[METRIC_WAITERS]++;
	db->waiters_changed = true;
}

static Request *
take_out(Db *db, Request **link)
{
	Request    *request = *link;

	*link = request->next;
	request->next = NULL;
	db->nwaiters--;
	metrics[METRIC_WAITERS]--;
	return request;
}

void
waiters_expire(Db *db)
{
	int64_t		until = db->loop->now - db->config.wait_time;
	Request   **link = &db->waiters;

	while (*link != NULL)
		if ((*link)->owner == NULL || (*link)->arrived < until)
			request_fail(take_out(db, link), OUTCOME_FAILURE,
						 "wait result not return success: FAILURE");
		else
			link = &(*link)->next;
}

void
waiters_send(Session *session)
{
	static const Oid types[2] = {INT8ARRAYOID, INT4OID};
	static const int formats[2] = {1, 1};
	Db		   *db = session->db;
	Buf			ids = {0};
	Buf			time = {0};
	const char *values[2];
	int			lengths[2];

	if (!db->waiters_changed || db->waiters == NULL || session->outstanding == MAX_OUTSTANDING)
		return;
	array_begin(&ids, INT8OID, db->nwaiters);
	for (const Request *request = db->waiters; request != NULL; request = request->next)
	{
		buf_add32(&ids, 8);
		buf_add32(&ids, (uint32_t) ((uint64_t) request->wait >> 32));
		buf_add32(&ids, (uint32_t) request->wait);
	}
	buf_add32(&time, CALL_TIME);
	values[0] = ids.data;
	lengths[0] = (int) ids.len;
	values[1] = time.data;
	lengths[1] = (int) time.len;
	if (!PQsendQueryParams(session->conn, WAIT_QUERY, 2, types, values, lengths, formats, 1) ||
		!PQpipelineSync(session->conn))
		session_lost(session, PQerrorMessage(session->conn));
	else
	{
		session->state = SESSION_BUSY;
		session->outstanding++;
		db->waiters_changed = false;
		(void) session_flush(session);
	}
	buf_free(&ids);
	buf_free(&time);
}

static void
end_pass(Db *db, int64_t id, Bytes outcome, Bytes message)
{
	char	   *name = xstrndup(outcome.data ? outcome.data : "", outcome.len);
	char	   *text = xstrndup(message.data ? message.data : "", message.len);
	Answer		answer = {.message = text, .sqlstate = ""};
	Request   **link = &db->waiters;

	if (!outcome_parse(name, &answer.outcome))
		answer.outcome = OUTCOME_ERROR;
	/* two clients may wait for the same */
	while (*link != NULL)
		if ((*link)->wait == id)
			request_finish(take_out(db, link), &answer);
		else
			link = &(*link)->next;
	free(name);
	free(text);
}

static void
take_result(Session *session, const PGresult *result)
{
	Bytes	   *columns[3] = {NULL};
	int			n[3] = {0};

	if (PQntuples(result) != 1 || PQnfields(result) != 3)
		return;
	for (int i = 0; i < 3; i++)
		columns[i] = array_read(PQgetvalue(result, 0, i), (size_t) PQgetlength(result, 0, i), &n[i]);
	for (int i = 0; i < n[0] && i < n[1] && i < n[2]; i++)
		if (columns[0][i].len == 8)
			end_pass(session->db, read_int64(columns[0][i].data), columns[1][i], columns[2][i]);
	for (int i = 0; i < 3; i++)
		free(columns[i]);
}

void
waiters_read(Session *session)
{
	bool		was_null = false;

	while (session->outstanding > 0 && !PQisBusy(session->conn))
	{
		PGresult   *result = PQgetResult(session->conn);
		ExecStatusType status = PQresultStatus(result);

		/* NULL ends each command of the pipeline; twice: nothing is left */
		if (result == NULL && was_null)
			return;
		was_null = result == NULL;
		if (result == NULL)
			continue;
		if (status == PGRES_TUPLES_OK)
			take_result(session, result);
		else if (status == PGRES_PIPELINE_SYNC)
		{
			session->outstanding--;
			if (session->outstanding == 0)
			{
				/* whoever is left is waited for further */
				session->db->waiters_changed = true;
				session->state = SESSION_READY;
			}
		}
		else
		{
			session_lost(session, PQresultErrorMessage(result));
			PQclear(result);
			return;
		}
		PQclear(result);
	}
}
