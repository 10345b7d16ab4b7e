/*
 * dbprivate.h
 *		What the files of the database side share: session.c has the life of a
 *		session, connect.c its beginning, batch.c what lanes do with theirs,
 *		apart.c who has one of his own, waiters.c what is waited for, and db.c
 *		joins them.
 */
#ifndef GW_DBPRIVATE_H
#define GW_DBPRIVATE_H

#include "db.h"
#include "gid.h"

#include <libpq-fe.h>

/* Gids whose rows were locked of late; a collision only makes one more slow. */
#define SLOW_SIZE	1024

/* No time by Loop.now. */
#define NEVER		INT64_MAX

typedef enum SessionState
{
	SESSION_DOWN,				/* until retry_at */
	SESSION_CONNECTING,
	SESSION_SETTING_UP,
	SESSION_READY,
	SESSION_BUSY
} SessionState;

typedef enum SessionKind
{
	SESSION_LANE,				/* batches of the gids of a lane */
	SESSION_SLOW,				/* one request at a time, whose row was locked */
	SESSION_APART,				/* batches of those whose requests have had
								 * errors of late */
	SESSION_PAGE,				/* one request of the page at a time */
	SESSION_WAIT				/* dtm.gateway_wait() */
} SessionKind;

typedef struct Session
{
	Db		   *db;
	SessionKind kind;
	SessionState state;
	PGconn	   *conn;			/* NULL: down */
	Watch		watch;
	int			setup_step;		/* statements of the set-up that were sent */
	int64_t		retry_at;		/* Loop.now; NEVER: when it is needed */
	int64_t		pause;			/* us; doubles with each failure */
	int64_t		began;			/* to connect, or the batch */
	char	   *last_error;		/* why it is down; logged once */

	/* lanes */
	Request    *first;			/* that wait for it */
	Request   **last;
	size_t		queued_bytes;
	int			nqueued;
	Request    *batch;			/* that were sent */
	bool		careful;		/* for the second time, with subtransactions */
	PGresult   *result;			/* of the batch, until its commit is done */
	bool		reconnect;		/* this server can't write any more */

	/* waiters */
	int			outstanding;	/* calls that were sent */
} Session;

typedef struct SlowGid
{
	uint32_t	hash;
	int64_t		until;
} SlowGid;

/* Roles and tokens whose requests made a batch fail; as with SLOW_SIZE. */
#define APART_SIZE	256

typedef struct Apart
{
	uint32_t	who;
	int64_t		until;
} Apart;

struct Db
{
	Loop	   *loop;
	DbConfig	config;
	char		tag[GID_TAG_LEN + 1];	/* as of the last session; "": none */
	int			nsessions;		/* lanes, the slow one, the one apart, the
								 * page's, the one that waits */
	Session    *sessions;
	unsigned	next_lane;		/* for what has no gid */
	SlowGid		slow[SLOW_SIZE];
	Apart		apart[APART_SIZE];
	uint32_t	last_who;		/* of the last request */
	int64_t		mixed_until;	/* until then, more than one sends requests */
	Request    *waiters;
	int			nwaiters;
	bool		waiters_changed;	/* some have come that no call knows */
};

static inline Session *
slow_session(Db *db)
{
	return &db->sessions[db->config.sessions];
}

static inline Session *
apart_session(Db *db)
{
	return &db->sessions[db->config.sessions + 1];
}

static inline Session *
page_session(Db *db)
{
	return &db->sessions[db->config.sessions + 2];
}

static inline Session *
wait_session(Db *db)
{
	return &db->sessions[db->config.sessions + 3];
}

/* ---------- session.c ---------- */

extern void session_init(Session *session, Db *db, SessionKind kind);
extern void session_connect(Session *session);

/* Gives it up, with what was under way; it is connected again after a pause. */
extern void session_lost(Session *session, const char *why);

/* Sends what libpq has buffered, and watches for what comes. */
extern bool session_flush(Session *session);

/* An attempt has ended; the connection may be bad, or NULL. */
extern void session_connected(Session *session, PGconn *conn);

/* ---------- connect.c ---------- */

extern void connect_init(Loop *loop);

/* Begins to connect; session_connected() is called then.  False: errno. */
extern bool connect_start(Session *session);

/* Is an attempt under way? */
extern bool connect_is_running(void);

/* ---------- batch.c ---------- */

extern void batch_enqueue(Session *session, Request *request);
extern void batch_send(Session *session);
extern void batch_read(Session *session);

/* The session is lost: so is what was sent. */
extern void batch_lost(Session *session);

/* Gives up what has waited too long for the session. */
extern void batch_expire(Session *session);

extern bool batch_is_slow(const Db *db, const Request *request);

/* ---------- apart.c ---------- */

/* Is this request for the session of those whose requests have had errors? */
extern bool apart_is(Db *db, const Request *request);

/* This request made a batch fail: the next of the same are kept apart. */
extern void apart_note(Db *db, const Request *request);

/* ---------- waiters.c ---------- */

extern void waiters_add(Db *db, Request *request);
extern void waiters_send(Session *session);
extern void waiters_read(Session *session);
extern void waiters_expire(Db *db);

#endif							/* GW_DBPRIVATE_H */
