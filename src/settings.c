/*
 * settings.c
 *		Definitions of the settings, and the checks of their values.
 */
#include "settings.h"

#include "transaction.h"
#include "transport/transport.h"

#include "utils/guc.h"

#include <limits.h>

/* Bounds of settings. */
#define MAX_MS				(INT_MAX)
#define MAX_MAX_REQUESTS	65536
#define MAX_MAX_KB			(64 * 1024)
#define MAX_SQL_WORKERS		1024
#define MAX_MINUTES			(100 * 366 * 24 * 60)

int			dtm_retry_interval;
int			dtm_retry_interval_max;
int			dtm_timeout_to_fail;
int			dtm_request_timeout;
int			dtm_alert_retry_limit;
int			dtm_max_requests;
int			dtm_max_requests_per_host;
int			dtm_breaker_failures;
int			dtm_breaker_pause_max;
int			dtm_max_reply_size;
int			dtm_max_request_size;
char	   *dtm_databases;
char	   *dtm_ca_file;
char	   *dtm_forbidden_addresses;
int			dtm_allowed_targets;
int			dtm_sql_workers;
int			dtm_coordinators_per_database;
char	   *dtm_alert_webhook;
int			dtm_retention;

bool		dtm_preloaded = false;

void
dtm_core_config(DtmConfig *config)
{
	config->retry_interval = (int64) dtm_retry_interval * 1000;
	config->retry_interval_max = (int64) dtm_retry_interval_max * 1000;
	config->timeout_to_fail = (int64) dtm_timeout_to_fail * 1000;
	config->alert_retry_limit = dtm_alert_retry_limit;
}

static bool
check_webhook(char **value, void **extra, GucSource source)
{
	const char *problem = (*value)[0] == '\0' ? NULL : dtm_url_problem(*value);

	if (problem != NULL)
		GUC_check_errdetail("It can't be called: %s.", problem);
	return problem == NULL;
}

static bool
check_addresses(char **value, void **extra, GucSource source)
{
	DtmAddressList list;
	char		problem[200];

	if (dtm_address_list_parse(*value, &list, problem, sizeof(problem)) == NULL)
		return true;
	GUC_check_errdetail("%s.", problem);
	return false;
}

static const struct config_enum_entry targets[] = {
	{"any", DTM_TARGETS_ANY, false},
	{"servers", DTM_TARGETS_SERVERS, false},
	{NULL, 0, false}
};

void
settings_define(void)
{
	DefineCustomIntVariable("dtm.retry_interval",
							"Time before the first retry of a branch; it doubles with each failure.",
							NULL, &dtm_retry_interval, 10000, 1, MAX_MS,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("dtm.retry_interval_max",
							"Longest time between two tries of a branch.",
							NULL, &dtm_retry_interval_max, 3600000, 1, MAX_MS,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("dtm.timeout_to_fail",
							"Time after which a prepared global transaction that was not submitted is taken for lost.",
							NULL, &dtm_timeout_to_fail, 35000, 1, MAX_MS,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("dtm.request_timeout",
							"Time that a branch has to answer a request.",
							NULL, &dtm_request_timeout, 3000, 1, MAX_MS,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("dtm.alert_retry_limit",
							"Failures in a row of a global transaction after which the log has a warning for each.",
							NULL, &dtm_alert_retry_limit, 3, 1, INT_MAX,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("dtm.max_requests",
							"Requests that a coordinator has under way at a time.",
							NULL, &dtm_max_requests, 2000, 1, MAX_MAX_REQUESTS,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("dtm.max_requests_per_host",
							"Requests that a coordinator has under way at a time to one host and port.",
							NULL, &dtm_max_requests_per_host, 1000, 1, MAX_MAX_REQUESTS,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("dtm.breaker_failures",
							"Calls of one host in a row without an answer, after which it is only tried now and then; 0: it never is.",
							NULL, &dtm_breaker_failures, 10, 0, INT_MAX,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("dtm.breaker_pause_max",
							"Longest time between two tries of such a host.",
							NULL, &dtm_breaker_pause_max, 10000, 1, MAX_MS,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("dtm.max_reply_size",
							"Longest reply of a branch; a longer one counts as an error.",
							NULL, &dtm_max_reply_size, 1024, 1, MAX_MAX_KB,
							PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("dtm.max_request_size",
							"Largest global transaction, counting its URLs, payloads and headers.",
							NULL, &dtm_max_request_size, 1024, 1, MAX_MAX_KB,
							PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomStringVariable("dtm.databases",
							   "Databases that get a coordinator if they have the extension: a list of names, or * for all.",
							   NULL, &dtm_databases, "*",
							   PGC_SIGHUP, GUC_LIST_INPUT, NULL, NULL, NULL);
	DefineCustomIntVariable("dtm.coordinators_per_database",
							"Coordinators that share the work of a database.",
							NULL, &dtm_coordinators_per_database, 1, 1, DTM_SHARE_UNITS,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("dtm.sql_workers",
							"Background workers that call functions as branches, for each database.",
							NULL, &dtm_sql_workers, 2, 0, MAX_SQL_WORKERS,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("dtm.alert_webhook",
							   "URL that is told of each failure of a global transaction from dtm.alert_retry_limit on.",
							   NULL, &dtm_alert_webhook, "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY, check_webhook, NULL, NULL);
	DefineCustomIntVariable("dtm.retention",
							"Time that finished global transactions are kept; 0 keeps all.",
							NULL, &dtm_retention, 7 * 24 * 60, 0, MAX_MINUTES,
							PGC_SIGHUP, GUC_UNIT_MIN, NULL, NULL, NULL);
	DefineCustomEnumVariable("dtm.allowed_targets",
							 "What branches may be: any URL, or foreign servers only.",
							 NULL, &dtm_allowed_targets, DTM_TARGETS_ANY, targets,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("dtm.forbidden_addresses",
							   "Addresses that branches are not called at: networks, loopback, link-local, private.",
							   NULL, &dtm_forbidden_addresses, "",
							   PGC_SIGHUP, GUC_LIST_INPUT, check_addresses, NULL, NULL);
	DefineCustomStringVariable("dtm.ca_file",
							   "File of the certificate authorities that branches' certificates are verified against; empty for the system's.",
							   NULL, &dtm_ca_file, "",
							   PGC_SIGHUP, 0, NULL, NULL, NULL);
	MarkGUCPrefixReserved("dtm");
}
