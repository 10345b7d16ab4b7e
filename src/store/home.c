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
 */
#include "private.h"

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

/* The data directory is this one from now on. */
static void
adopt(const char *directory)
{
	/* a dtm_pause() that is not committed yet holds the row, but not us */
	static Statement statement = {
		"UPDATE dtm.home SET directory = $1 WHERE id IN "
		"(SELECT h.id FROM dtm.home h FOR UPDATE SKIP LOCKED)",
		1, {TEXTOID}
	};
	Datum		values[1];

	values[0] = CStringGetTextDatum(directory);
	statement_run(&statement, values, NULL);
}

StoreHome
store_home(void)
{
	static Statement statement = {
		"SELECT h.system_identifier = $1 AND h.database_oid = $2, h.paused, h.directory "
		"FROM dtm.home h",
		2, {INT8OID, OIDOID}
	};
	StoreHome	home = STORE_HOME_HERE;
	Session		session;
	Datum		values[2];
	char	   *directory;
	bool		other_directory = false;

	if (store_other_version() != NULL)
		return STORE_HOME_OTHER_VERSION;
	/* where the schema has another name, that is the error */
	(void) dtm_extension_owner();
	values[0] = Int64GetDatum((int64) GetSystemIdentifier());
	values[1] = ObjectIdGetDatum(MyDatabaseId);
	statement_enter(&session);
	statement_run(&statement, values, NULL);
	directory = data_directory();
	/* a dump that was restored has brought a row of its own */
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Row			row;
		char	   *known;

		result_row(i, &row);
		known = column_text(&row, 3);
		if (!column_bool(&row, 1))
			home = STORE_HOME_ELSEWHERE;
		else if (known == NULL || strcmp(known, directory) != 0)
		{
			/* nobody has said so far where it is, or a standby was promoted */
			other_directory = true;
			if (known != NULL && !is_same_directory(known, directory) &&
				!started_as_standby && home != STORE_HOME_ELSEWHERE)
				home = STORE_HOME_COPIED;
		}
		if (column_bool(&row, 2) && home == STORE_HOME_HERE)
			home = STORE_HOME_PAUSED;
	}
	if (other_directory && home != STORE_HOME_ELSEWHERE && home != STORE_HOME_COPIED)
		adopt(directory);
	statement_leave(&session);
	return home;
}

void
store_set_home(bool paused)
{
	static Statement delete_statement = {"DELETE FROM dtm.home", 0, {0}};
	static Statement insert_home = {
		"INSERT INTO dtm.home VALUES ($1, $2, $3, pg_catalog.now())",
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
	statement_run(&delete_statement, NULL, NULL);
	statement_run(&insert_home, values, NULL);
	statement_leave(&session);
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
		case STORE_HOME_OTHER_VERSION:
			return "If a new package was installed, run ALTER EXTENSION dtm UPDATE. If the extension was updated, restart the server.";
	}
	return NULL;
}
