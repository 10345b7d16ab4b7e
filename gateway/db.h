/*
 * db.h
 *		Sessions with PostgreSQL: requests go there in batches, and answers come
 *		back when their commit is done.
 */
#ifndef GW_DB_H
#define GW_DB_H

#include "loop.h"
#include "request.h"

/* Sessions beside the lanes: see DbConfig. */
#define DB_MORE_SESSIONS	4

typedef struct DbConfig
{
	const char *conninfo;		/* libpq's; what is not in it is its
								 * environment's */
	int			sessions;		/* lanes; one more is for what is locked, and
								 * one for waiters; when they are needed, one
								 * for roles with errors, one for the page */
	int			batch;			/* requests in a batch at most */
	int64_t		queue_time;		/* us that a request may wait for a session */
	int64_t		batch_time;		/* us that a batch may take */
	int64_t		wait_time;		/* us that a wait_result may take */

	/*
	 * Told of a request whose gid this database does not know: true, and it
	 * is somebody else's from now on; false, and that is the answer.  NULL:
	 * nobody is told.
	 */
	bool		(*unknown) (void *owner, Request *request);
	void	   *owner;
} DbConfig;

typedef struct Db Db;

extern Db  *db_create(Loop *loop, const DbConfig *config);

/* Other limits from now on; the database and the number of sessions stay. */
extern void db_configure(Db *db, const DbConfig *config);

/* What the gids end with that this node of Citus generates; "": nothing, or not known yet. */
extern const char *db_tag(const Db *db);

/* The request is the database's from now on: it will be finished. */
extern void db_submit(Db *db, Request *request);

/* To be called at the end of each turn: sends what has come together. */
extern void db_flush(Db *db);

/* To be called now and then: reconnects, and gives up what waits too long. */
extern void db_tick(Db *db);

/* Until db_tick() has something to do, in ms; -1: nothing waits. */
extern int	db_timeout(const Db *db);

/* Is there a session that could take a request? */
extern bool db_is_ready(const Db *db);

/* Is a thread at work that connects? */
extern bool db_is_connecting(void);

/* Is a request under way? */
extern bool db_is_busy(const Db *db);

#endif							/* GW_DB_H */
