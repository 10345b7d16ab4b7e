/*
 * session.c
 *		The life of a session with PostgreSQL: set up, lost, connected again.
 */
#include "dbprivate.h"

#include "dbparams.h"
#include "log.h"
#include "metrics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Pause before connecting again, in us: the first, and the longest. */
#define FIRST_PAUSE		INT64_C(100000)
#define LONGEST_PAUSE	INT64_C(2000000)

#define BATCH_QUERY \
	"SELECT n, outcome, message, sqlstate, answer, wait " \
	"FROM dtm.gateway_batch($1, $2, $3, $4, $5, $6, $7)"

static void ready(Watch *watch, uint32_t events);

void
session_init(Session *session, Db *db, SessionKind kind)
{
	session->db = db;
	session->kind = kind;
	session->watch.fd = -1;
	session->watch.ready = ready;
	session->watch.owner = session;
	session->last = &session->first;
	session->pause = FIRST_PAUSE;
}

static void
disconnect(Session *session)
{
	loop_unwatch(session->db->loop, &session->watch);
	if (session->state == SESSION_READY || session->state == SESSION_BUSY)
	{
		metrics[METRIC_SESSIONS]--;
		metrics[METRIC_LOST]++;
	}
	session->state = SESSION_DOWN;
	PQclear(session->result);
	session->result = NULL;
	PQfinish(session->conn);
	session->conn = NULL;
	session->outstanding = 0;
	session->reconnect = false;
}

void
session_lost(Session *session, const char *why)
{
	char	   *reason = xstrdup(why);
	size_t		len = strlen(reason);

	while (len > 0 && reason[len - 1] == '\n')
		reason[--len] = '\0';
	/* the same again and again is one line */
	if (session->last_error == NULL || strcmp(session->last_error, reason) != 0)
		log_warning("session with PostgreSQL is down: %s", reason);
	free(session->last_error);
	session->last_error = reason;
	disconnect(session);
	if (session->batch != NULL)
		batch_lost(session);
	session->retry_at = session->db->loop->now + session->pause;
	session->pause = session->pause * 2 < LONGEST_PAUSE ? session->pause * 2 : LONGEST_PAUSE;
}

/* What the server sends beside results goes to our log. */
static void
notice(void *arg, const char *message)
{
	(void) arg;
	log_debug("PostgreSQL: %s", message);
}

void
session_connect(Session *session)
{
	session->retry_at = 0;
	if (!connect_start(session))
	{
		session_lost(session, strerror(errno));
		return;
	}
	session->state = SESSION_CONNECTING;
	session->began = session->db->loop->now;
}

bool
session_flush(Session *session)
{
	int			rc = PQflush(session->conn);

	if (rc < 0)
	{
		session_lost(session, PQerrorMessage(session->conn));
		return false;
	}
	loop_watch(session->db->loop, &session->watch, PQsocket(session->conn),
			   EPOLLIN | (rc > 0 ? EPOLLOUT : 0));
	return true;
}

/* ---------- set-up ---------- */

/*
 * Sends what a session needs whatever its database or role has set: that would end
 * it, or keep it from writing.  Other settings do no harm, or come with each batch.
 */
static int
send_settings(const Session *session)
{
	char		query[400];

	/* who has a row locked holds the others of a batch up for so long */
	(void) snprintf(query, sizeof(query),
					"SET statement_timeout = %s; SET lock_timeout = '%s';"
					" SET idle_session_timeout = 0; SET idle_in_transaction_session_timeout = 0;"
					" SET default_transaction_read_only = off%s",
					session->kind == SESSION_PAGE ? "'10s'" : "0",
					session->kind == SESSION_LANE ? "100ms" : "1s",
					PQserverVersion(session->conn) >= 170000 ? "; SET transaction_timeout = 0" : "");
	return PQsendQuery(session->conn, query);
}

/* Sends the next statement of it; false: there is none left. */
static bool
send_setup(Session *session)
{
	int			sent = 0;

	switch (session->setup_step++)
	{
		case 0:
			sent = send_settings(session);
			break;
		case 1:
			if (session->kind == SESSION_WAIT)
				return false;
			sent = PQsendPrepare(session->conn, "batch", BATCH_QUERY, NBATCH_PARAMS,
								 batch_types);
			break;
		case 2:
			if (session->kind != SESSION_LANE)
				return false;
			sent = PQsendQuery(session->conn, "SELECT dtm.tag()");
			break;
		default:
			return false;
	}
	if (!sent)
		session_lost(session, PQerrorMessage(session->conn));
	else
		(void) session_flush(session);
	return true;
}

/* What a statement of the set-up has returned; false: the session is of no use. */
static bool
take_setup(Session *session, const PGresult *result)
{
	Db		   *db = session->db;

	if (session->setup_step <= 2)
		return PQresultStatus(result) == PGRES_COMMAND_OK;
	/* a former version of the extension has no tags: that is no error of ours */
	if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1 &&
		PQgetlength(result, 0, 0) < (int) sizeof(db->tag))
		(void) snprintf(db->tag, sizeof(db->tag), "%s", PQgetvalue(result, 0, 0));
	return true;
}

/* Why the set-up has failed: mostly because the database is another one. */
static void
lost_by_setup(Session *session, const PGresult *result)
{
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	char		reason[256];

	/* there is no such schema */
	if (sqlstate == NULL || strcmp(sqlstate, "3F000") != 0)
	{
		session_lost(session, PQresultErrorMessage(result));
		return;
	}
	(void) snprintf(reason, sizeof(reason), "database \"%s\" does not have the extension dtm", PQdb(session->conn));
	session_lost(session, reason);
}

static void
set_up(Session *session)
{
	if (session->setup_step > 0)
	{
		if (!PQconsumeInput(session->conn))
		{
			session_lost(session, PQerrorMessage(session->conn));
			return;
		}
		for (;;)
		{
			PGresult   *result;
			bool		good;

			if (PQisBusy(session->conn))
				return;
			result = PQgetResult(session->conn);
			if (result == NULL)
				break;
			good = take_setup(session, result);
			if (!good)
				lost_by_setup(session, result);
			PQclear(result);
			if (!good)
				return;
		}
	}
	if (send_setup(session))
		return;
	if (session->kind == SESSION_WAIT && !PQenterPipelineMode(session->conn))
	{
		session_lost(session, "could not enter pipeline mode");
		return;
	}
	session->state = SESSION_READY;
	session->pause = FIRST_PAUSE;
	metrics[METRIC_SESSIONS]++;
	if (session->last_error != NULL)
		log_info("session with PostgreSQL is up again: %s port %s", PQhost(session->conn),
				 PQport(session->conn));
	free(session->last_error);
	session->last_error = NULL;
	if (session->kind == SESSION_WAIT)
		session->db->waiters_changed = session->db->waiters != NULL;
	(void) session_flush(session);
}

void
session_connected(Session *session, PGconn *conn)
{
	session->conn = conn;
	if (conn == NULL || PQstatus(conn) != CONNECTION_OK)
	{
		session_lost(session, conn ? PQerrorMessage(conn) : "out of memory");
		return;
	}
	(void) PQsetNoticeProcessor(conn, notice, NULL);
	(void) PQsetnonblocking(conn, 1);
	session->state = SESSION_SETTING_UP;
	session->began = session->db->loop->now;
	session->setup_step = 0;
	set_up(session);
}

static void
ready(Watch *watch, uint32_t events)
{
	Session    *session = watch->owner;

	if ((events & EPOLLOUT) && !session_flush(session))
		return;
	if ((events & ~(uint32_t) EPOLLOUT) == 0)
		return;
	if (session->state == SESSION_SETTING_UP)
	{
		set_up(session);
		return;
	}
	if (!PQconsumeInput(session->conn))
	{
		session_lost(session, PQerrorMessage(session->conn));
		return;
	}
	if (session->kind == SESSION_WAIT)
		waiters_read(session);
	else if (session->state == SESSION_BUSY)
		batch_read(session);
}
