/*
 * alerts.c
 *		What is told to operators: the statements of process/alerter.c.
 *
 * What needs a person, and what is said of it, is decided by functions of the SQL
 * script (dtm.reasons_for_alerts(), dtm.look_for_alerts()).
 */
#include "private.h"

#include "settings.h"

#include "utils/timestamp.h"

/* The interval of a number of milliseconds. */
static Datum
interval_of_ms(int64 ms)
{
	Interval   *interval = palloc0(sizeof(Interval));

	interval->time = ms * 1000;
	return IntervalPGetDatum(interval);
}

static char *
copy_text(const Row *row, int column, MemoryContext context)
{
	char	   *text = column_text(row, column);

	return text == NULL ? NULL : MemoryContextStrdup(context, text);
}

static void
read_left(StoreAlertsLeft *left)
{
	static Statement statement = {
		"SELECT l.open, l.held_back, l.unsent, l.again FROM dtm.alerts_left($1) l",
		1, {INTERVALOID}
	};
	Datum		values[1];
	bool		isnull;
	Row			row;

	values[0] = interval_of_ms(dtm_alert_after);
	statement_run(&statement, values, NULL);
	result_row(0, &row);
	left->open = column_int64(&row, 1);
	left->held_back = column_int64(&row, 2);
	left->unsent = column_bool(&row, 3);
	left->again = DatumGetTimestampTz(column_datum(&row, 4, &isnull));
	if (isnull)
		left->again = DT_NOEND;
}

int
store_look_for_alerts(bool webhook, StoreAlert **alerts, StoreAlertsLeft *left)
{
	static Statement statement = {
		"SELECT l.id, l.is_over, l.message, l.detail, l.hint, l.payload "
		"FROM dtm.look_for_alerts($1, $2, $3, $4) l",
		4, {INTERVALOID, INT4OID, BOOLOID, INTERVALOID}
	};
	MemoryContext context = CurrentMemoryContext;
	Datum		values[4];
	Session		session;
	int			n;

	statement_enter(&session);
	values[0] = interval_of_ms(dtm_alert_after);
	values[1] = Int32GetDatum(dtm_alerts_per_hour);
	values[2] = BoolGetDatum(webhook);
	values[3] = interval_of_ms(dtm_retention * INT64CONST(60000));
	statement_run(&statement, values, dtm_retention > 0 ? NULL : "   n");
	n = (int) SPI_processed;
	*alerts = MemoryContextAlloc(context, sizeof(StoreAlert) * (n + 1));
	for (int i = 0; i < n; i++)
	{
		StoreAlert *alert = &(*alerts)[i];
		Row			row;

		result_row(i, &row);
		alert->id = column_int64(&row, 1);
		alert->over = column_bool(&row, 2);
		alert->message = copy_text(&row, 3, context);
		alert->detail = copy_text(&row, 4, context);
		alert->hint = copy_text(&row, 5, context);
		alert->payload = copy_text(&row, 6, context);
	}
	read_left(left);
	statement_leave(&session);
	return n;
}

bool
store_next_alert(StoreAlert *alert)
{
	static Statement statement = {
		"SELECT a.id, a.sent = 1, dtm.alert_payload(a, a.sent = 1) FROM dtm.alert a "
		"WHERE (a.sent = 0 AND a.told IS NOT NULL) OR (a.sent = 1 AND a.told_over IS NOT NULL) "
		"ORDER BY CASE a.sent WHEN 0 THEN a.told ELSE a.told_over END, a.id LIMIT 1"
	};
	MemoryContext context = CurrentMemoryContext;
	Session		session;
	bool		found;

	statement_enter(&session);
	statement_run(&statement, NULL, NULL);
	found = SPI_processed > 0;
	if (found)
	{
		Row			row;

		result_row(0, &row);
		memset(alert, 0, sizeof(*alert));
		alert->id = column_int64(&row, 1);
		alert->over = column_bool(&row, 2);
		alert->payload = copy_text(&row, 3, context);
	}
	statement_leave(&session);
	return found;
}

void
store_alert_sent(const StoreAlert *alert)
{
	static Statement statement = {
		"UPDATE dtm.alert SET sent = $2 WHERE id = $1 AND sent < $2",
		2, {INT8OID, INT2OID}
	};
	Datum		values[2];
	Session		session;

	values[0] = Int64GetDatum(alert->id);
	values[1] = Int16GetDatum(alert->over ? 2 : 1);
	statement_enter(&session);
	statement_run(&statement, values, NULL);
	statement_leave(&session);
}

bool
store_has_alerts(void)
{
	static Statement statement = {
		"SELECT 1 FROM dtm.alert a WHERE a.resolved IS NULL OR (a.told IS NOT NULL AND a.sent < 2) "
		"UNION ALL "
		"SELECT 1 FROM dtm.active a WHERE a.next_time = 'infinity' OR a.failures >= dtm.alert_retry_limit() OR "
		"a.ongoing_since < pg_catalog.statement_timestamp() - dtm.stuck_after() LIMIT 1"
	};
	Session		session;
	bool		found;

	statement_enter(&session);
	statement_run(&statement, NULL, NULL);
	found = SPI_processed > 0;
	statement_leave(&session);
	return found;
}
