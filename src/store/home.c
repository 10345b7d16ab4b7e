/*
 * home.c
 *		Where this database lives, and whether it is paused.
 */
#include "private.h"

#include "access/xlog.h"
#include "miscadmin.h"

StoreHome
store_home(void)
{
	static Statement statement = {
		"SELECT h.system_identifier = $1 AND h.database_oid = $2, h.paused "
		"FROM dtm.home h",
		2, {INT8OID, OIDOID}
	};
	StoreHome	home = STORE_HOME_HERE;
	Session		session;
	Datum		values[2];

	values[0] = Int64GetDatum((int64) GetSystemIdentifier());
	values[1] = ObjectIdGetDatum(MyDatabaseId);
	statement_enter(&session);
	statement_run(&statement, values, NULL);
	/* a dump that was restored has brought a row of its own */
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		if (!column_bool(row, 1))
			home = STORE_HOME_ELSEWHERE;
		else if (column_bool(row, 2) && home == STORE_HOME_HERE)
			home = STORE_HOME_PAUSED;
	}
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
	statement_enter(&session);
	statement_run(&delete_statement, NULL, NULL);
	statement_run(&insert_home, values, NULL);
	statement_leave(&session);
}
