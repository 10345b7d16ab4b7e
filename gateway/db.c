/*
 * db.c
 *		Sessions with PostgreSQL, and which request is whose.
 */
#include "dbprivate.h"

#include "log.h"
#include "metrics.h"

#include <stdlib.h>
#include <string.h>

/* Time to set a session up, in us. */
#define SETUP_TIME		INT64_C(10000000)

/* How often what waits is looked at, in ms. */
#define TICK			100

Db *
db_create(Loop *loop, const DbConfig *config)
{
	Db		   *db = xcalloc(sizeof(Db));

	connect_init(loop);
	db->loop = loop;
	db->config = *config;
	db->nsessions = config->sessions + DB_MORE_SESSIONS;
	db->sessions = xcalloc(sizeof(Session) * (size_t) db->nsessions);
	for (int i = 0; i < db->nsessions; i++)
		session_init(&db->sessions[i], db, i < config->sessions ? SESSION_LANE :
					 i == config->sessions ? SESSION_SLOW :
					 i == config->sessions + 1 ? SESSION_APART :
					 i == config->sessions + 2 ? SESSION_PAGE : SESSION_WAIT);
	for (int i = 0; i < db->nsessions; i++)
		if (db->sessions[i].kind == SESSION_APART || db->sessions[i].kind == SESSION_PAGE)
			db->sessions[i].retry_at = NEVER;
		else
			session_connect(&db->sessions[i]);
	return db;
}

void
db_configure(Db *db, const DbConfig *config)
{
	DbConfig	before = db->config;

	db->config = *config;
	db->config.conninfo = before.conninfo;
	db->config.sessions = before.sessions;
	db->config.unknown = before.unknown;
	db->config.owner = before.owner;
}

const char *
db_tag(const Db *db)
{
	return db->tag;
}

void
db_submit(Db *db, Request *request)
{
	unsigned	lane = request->gid ? request->hash : db->next_lane++;
	Session    *session = &db->sessions[lane % (unsigned) db->config.sessions];
	bool		apart = request->op != NULL && !request->aside && apart_is(db, request);

	request->arrived = db->loop->now;
	request->slow = !request->aside && batch_is_slow(db, request);
	/* what the database counts is read beside the lanes, one at a time */
	if (request->aside)
		session = page_session(db);
	else if (request->slow || request->op == NULL)
		session = slow_session(db);
	else if (apart)
		session = apart_session(db);
	if (session->state == SESSION_DOWN && session->retry_at == NEVER)
		session_connect(session);
	batch_enqueue(session, request);
}

void
db_flush(Db *db)
{
	for (int i = 0; i < db->nsessions; i++)
	{
		Session    *session = &db->sessions[i];

		if (session->kind == SESSION_WAIT)
		{
			if (session->state == SESSION_READY || session->state == SESSION_BUSY)
				waiters_send(session);
		}
		else if (session->state == SESSION_READY && session->first != NULL)
			batch_send(session);
	}
}

void
db_tick(Db *db)
{
	for (int i = 0; i < db->nsessions; i++)
	{
		Session    *session = &db->sessions[i];

		batch_expire(session);
		if (session->state == SESSION_DOWN && session->retry_at <= db->loop->now)
			session_connect(session);
		else if (session->state == SESSION_SETTING_UP &&
				 session->began + SETUP_TIME < db->loop->now)
			session_lost(session, "the set-up of the session took too long");
		else if (session->state == SESSION_BUSY && session->batch != NULL &&
				 session->began + db->config.batch_time < db->loop->now)
			session_lost(session, "the server did not answer in time");
	}
	waiters_expire(db);
}

int
db_timeout(const Db *db)
{
	if (db->waiters != NULL)
		return TICK;
	for (int i = 0; i < db->nsessions; i++)
		if (db->sessions[i].first != NULL || db->sessions[i].batch != NULL ||
			(db->sessions[i].state != SESSION_READY && db->sessions[i].state != SESSION_BUSY &&
			 db->sessions[i].retry_at != NEVER))
			return TICK;
	return -1;
}

bool
db_is_ready(const Db *db)
{
	for (int i = 0; i < db->config.sessions; i++)
		if (db->sessions[i].state == SESSION_READY || db->sessions[i].state == SESSION_BUSY)
			return true;
	return false;
}

bool
db_is_connecting(void)
{
	return connect_is_running();
}

bool
db_is_busy(const Db *db)
{
	if (db->waiters != NULL)
		return true;
	for (int i = 0; i < db->nsessions; i++)
		if (db->sessions[i].first != NULL || db->sessions[i].batch != NULL)
			return true;
	return false;
}
