/*
 * home.c
 *		The server and database to which this coordinator belongs, and whether
 *		it is paused.
 *
 * A copy must not call the services of the original.  A database that was
 * restored or copied has another OID, or its server another system identifier.
 * A copy of a whole server's files has the same of both; its data directory
 * differs: the inode of a file in it, and the file's creation time, if the
 * file system reports one.  A standby is also such a copy, but it must
 * continue after a promotion; it is recognized because it was started as a
 * standby.
 *
 * A clone of a node of Citus is a standby, too, and becomes another node when it is
 * promoted, while the first one goes on.  Citus gives it another group, but only some time
 * after the promotion.  Until then it has told the standby that there is a clone.
 */
#include "private.h"

#include "citus.h"
#include "invalidation.h"

#include "access/xlog.h"
#include "catalog/namespace.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file that is made with the data directory, and never replaced. */
#define BORN_WITH_IT	"PG_VERSION"

/* Set in the postmaster, and inherited by its children. */
static bool started_as_standby = false;

void
store_note_standby(void)
{
	/* the working directory is the data directory */
	started_as_standby = access(STANDBY_SIGNAL_FILE, F_OK) == 0;
}

/* What tells this data directory from a copy of it. */
static char *
data_directory(void)
{
	struct statx status;

	if (statx(AT_FDCWD, BORN_WITH_IT, 0, STATX_INO | STATX_BTIME, &status) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not stat file \"%s\": %m", BORN_WITH_IT)));
	if (!(status.stx_mask & STATX_BTIME))
		return psprintf("%llu", (unsigned long long) status.stx_ino);
	return psprintf("%llu %lld.%09u", (unsigned long long) status.stx_ino,
					(long long) status.stx_btime.tv_sec,
					(unsigned) status.stx_btime.tv_nsec);
}

/* The same one?  A file system may have learned to tell the birth of files. */
static bool
is_same_directory(const char *known, const char *now)
{
	return strcmp(known, now) == 0 ||
		(strchr(known, ' ') == NULL &&
		 strncmp(known, now, strlen(known)) == 0 && now[strlen(known)] == ' ');
}

/* Is there a clone of the node of this group, which may be this server? */
static bool
has_clone(int group)
{
	/* older versions have no clones, and no such columns */
	static Statement statement = {
		"SELECT FROM pg_catalog.pg_dist_node c JOIN pg_catalog.pg_dist_node p "
		"ON p.nodeid = (pg_catalog.to_jsonb(c) ->> 'nodeprimarynodeid')::pg_catalog.int4 "
		"WHERE pg_catalog.to_jsonb(c) ->> 'nodeisclone' = 'true' AND p.groupid = $1",
		1, {INT4OID}
	};
	Datum		values[1];

	values[0] = Int32GetDatum(group);
	statement_run(&statement, values, NULL);
	return SPI_processed > 0;
}

/* A standby was promoted: is it still the node that it was a standby of? */
static bool
is_clone(int known_group, int group)
{
	return group != CITUS_NO_GROUP &&
		((known_group != CITUS_NO_GROUP && known_group != group) || has_clone(group));
}

/* The data directory is this one from now on, and the node of Citus has this group. */
static void
adopt(const char *directory, int group)
{
	/* a dtm_pause() that is not committed yet holds the row, but not us */
	static Statement statement = {
		"UPDATE dtm.home SET directory = $1, citus_group = $2 WHERE id IN "
		"(SELECT h.id FROM dtm.home h FOR UPDATE SKIP LOCKED)",
		2, {TEXTOID, INT4OID}
	};
	Datum		values[2];

	values[0] = CStringGetTextDatum(directory);
	values[1] = Int32GetDatum(group);
	statement_run(&statement, values, group == CITUS_NO_GROUP ? " n" : NULL);
}

StoreHome
store_home(void)
{
	static Statement statement = {
		"SELECT h.system_identifier = $1 AND h.database_oid = $2, h.paused, h.directory, "
		"COALESCE(h.citus_group, -1) FROM dtm.home h",
		2, {INT8OID, OIDOID}
	};
	StoreHome	home = STORE_HOME_HERE;
	Session		session;
	Datum		values[2];
	char	   *directory;
	int			group;
	int			known_group = CITUS_NO_GROUP;
	bool		changed = false;
	bool		promoted = false;

	if (store_other_version() != NULL)
		return STORE_HOME_OTHER_VERSION;
	/* where the schema has another name, that is the error */
	(void) dtm_extension_owner();
	values[0] = Int64GetDatum((int64) GetSystemIdentifier());
	values[1] = ObjectIdGetDatum(MyDatabaseId);
	statement_enter(&session);
	statement_run(&statement, values, NULL);
	directory = data_directory();
	group = citus_own_group();
	/* a dump that was restored has brought a row of its own */
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Row			row;
		char	   *known;

		result_row(i, &row);
		known = column_text(&row, 3);
		known_group = column_int32(&row, 4);
		if (!column_bool(&row, 1))
			home = STORE_HOME_ELSEWHERE;
		else if (known == NULL || strcmp(known, directory) != 0)
		{
			/* nobody has said so far where it is, or a standby was promoted */
			changed = true;
			if (known != NULL && !is_same_directory(known, directory) &&
				home != STORE_HOME_ELSEWHERE)
			{
				promoted = started_as_standby;
				if (!promoted)
					home = STORE_HOME_COPIED;
			}
		}
		/* it was removed from its cluster, and added again */
		changed = changed || known_group != group;
		if (column_bool(&row, 2) && home == STORE_HOME_HERE)
			home = STORE_HOME_PAUSED;
	}
	if (promoted && home != STORE_HOME_ELSEWHERE && is_clone(known_group, group))
		home = STORE_HOME_CLONE;
	if (changed && (home == STORE_HOME_HERE || home == STORE_HOME_PAUSED))
		adopt(directory, group);
	statement_leave(&session);
	return home;
}

void
store_set_home(bool paused)
{
	/*
	 * the tag is part of gids: of a restored database, it is that of the
	 * original
	 */
	static Statement statement = {
		"WITH d AS (DELETE FROM dtm.home RETURNING tag, since) "
		"INSERT INTO dtm.home (system_identifier, database_oid, paused, since, tag) "
		"SELECT $1, $2, $3, pg_catalog.now(), "
		"(SELECT d.tag FROM d WHERE d.tag IS NOT NULL ORDER BY d.since LIMIT 1)",
		3, {INT8OID, OIDOID, BOOLOID}
	};
	Session		session;
	Datum		values[3];

	values[0] = Int64GetDatum((int64) GetSystemIdentifier());
	values[1] = ObjectIdGetDatum(MyDatabaseId);
	values[2] = BoolGetDatum(paused);
	/* its coordinator says which directory that is */
	statement_enter(&session);

	/*
	 * One after the other: a second dtm_pause() or dtm_resume() would not see
	 * the row that the first one inserts, and leave it there.  This lock is
	 * in the way of nobody else, not even of the coordinator.
	 */
	(void) RangeVarGetRelid(makeRangeVar("dtm", "home", -1),
							ShareUpdateExclusiveLock, false);
	statement_run(&statement, values, NULL);
	statement_leave(&session);
}

/* As of the last look. */
static bool tag_known = false;
static char tag[32];

/* dtm.home_changed() tells all sessions of any change. */
static void
forget_tag(Datum arg, Oid relation)
{
	tag_known = false;
}

const char *
store_tag(void)
{
	static Statement statement = {
		"SELECT h.tag FROM dtm.home h WHERE h.tag IS NOT NULL LIMIT 1",
		0, {0}, true
	};
	static bool registered = false;
	Session		session;

	if (tag_known)
		return tag[0] != '\0' ? tag : NULL;
	if (!registered)
		invalidation_watch(forget_tag);
	registered = true;
	/* what changes while we look is looked at again */
	tag_known = true;
	statement_enter(&session);
	statement_run(&statement, NULL, NULL);
	tag[0] = '\0';
	if (SPI_processed > 0)
		strlcpy(tag, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1), sizeof(tag));
	statement_leave(&session);
	return tag[0] != '\0' ? tag : NULL;
}

const char *
store_home_reason(StoreHome home)
{
	switch (home)
	{
		case STORE_HOME_HERE:
			return NULL;
		case STORE_HOME_PAUSED:
			return "dtm_pause() was called.";
		case STORE_HOME_ELSEWHERE:
			return "The database was restored or copied from another one, or moved by pg_upgrade.";
		case STORE_HOME_COPIED:
			return "The server's data directory is a copy of another one.";
		case STORE_HOME_CLONE:
			return "The server was a standby of a node of Citus that has, or had, a clone.";
		case STORE_HOME_OTHER_VERSION:
			return "The extension in this database and the loaded library have different versions.";
	}
	return NULL;
}

const char *
store_home_hint(StoreHome home)
{
	switch (home)
	{
		case STORE_HOME_HERE:
			return NULL;
		case STORE_HOME_PAUSED:
			return "To continue, run SELECT dtm_resume() in this database.";
		case STORE_HOME_ELSEWHERE:
		case STORE_HOME_COPIED:
			return "If this copy should take over, and the original has been stopped, run SELECT dtm_resume() in this database.";
		case STORE_HOME_CLONE:
			return "If this server has replaced that node, run SELECT dtm_resume() in this database. If that node goes on, remove its global transactions from this server first.";
		case STORE_HOME_OTHER_VERSION:
			return "If a new package was installed, run ALTER EXTENSION dtm UPDATE. If the extension was updated, restart the server.";
	}
	return NULL;
}
