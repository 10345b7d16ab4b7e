/*
 * settings.c
 *		Definitions of the settings, and the checks of their values.
 */
#include "settings.h"

#include "transaction.h"
#include "transport/transport.h"

#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/varlena.h"

#include <limits.h>

/* Bounds of settings. */
#define MAX_MS				(INT_MAX)
#define MIN_RETRY_MS		10
#define MAX_MAX_REQUESTS	65536
#define MAX_MAX_KB			(64 * 1024)
#define MAX_SQL_WORKERS		1024
#define MAX_MINUTES			(100 * 366 * 24 * 60)

int			dtm_retry_interval;
int			dtm_retry_interval_max;
int			dtm_timeout_to_fail;
int			dtm_request_timeout;
int			dtm_alert_retry_limit;
int			dtm_stuck_after;
int			dtm_alert_after;
int			dtm_alerts_per_hour;
bool		dtm_alert_each;
int			dtm_max_requests;
int			dtm_max_requests_per_host;
int			dtm_breaker_failures;
int			dtm_breaker_pause_max;
int			dtm_max_reply_size;
int			dtm_max_request_size;
int			dtm_max_result_size;
char	   *dtm_databases;
char	   *dtm_ca_file;
char	   *dtm_forbidden_addresses;
int			dtm_allowed_targets;
int			dtm_sql_workers;
int			dtm_coordinators_per_database;
char	   *dtm_alert_webhook;
char	   *dtm_otlp_endpoint;
int			dtm_retention;
bool		dtm_gateway;
char	   *dtm_gateway_path;
char	   *dtm_gateway_config;
char	   *dtm_gateway_database;
char	   *dtm_gateway_sql_roles;

bool		dtm_preloaded = false;

bool
settings_name_database(const char *name)
{
	char	   *copy;
	List	   *names;
	ListCell   *cell;

	if (strcmp(dtm_databases, "*") == 0)
		return true;
	copy = pstrdup(dtm_databases);
	if (!SplitIdentifierString(copy, ',', &names))
		return false;
	foreach(cell, names)
	{
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	}
	return false;
}

bool
settings_name_this_database(void)
{
	/* submits ask, and mostly need no name */
	return strcmp(dtm_databases, "*") == 0 ||
		settings_name_database(get_database_name(MyDatabaseId));
}

void
dtm_core_config(DtmConfig *config)
{
	config->retry_interval = (int64) dtm_retry_interval * 1000;
	config->retry_interval_max = (int64) dtm_retry_interval_max * 1000;
	config->timeout_to_fail = (int64) dtm_timeout_to_fail * 1000;
	config->alert_retry_limit = dtm_alert_retry_limit;
}

/*
 * Why a URL cannot be called; NULL: it can, or is empty, or a foreign server's, which
 * is looked up when it is called.
 */
static const char *
target_problem(const char *value)
{
	if (value[0] == '\0')
		return NULL;
	if (strncmp(value, DTM_SCHEME_SERVER, strlen(DTM_SCHEME_SERVER)) != 0)
		return dtm_url_problem(value);
	return strcspn(value + strlen(DTM_SCHEME_SERVER), "/?#") == 0 ?
		"the name of the server is missing" : NULL;
}

static bool
accept_target(const char *problem)
{
	if (problem == NULL)
		return true;
	GUC_check_errdetail("The URL cannot be called: %s.", problem);
	GUC_check_errhint("Specify http://host:port, https://host:port, or server:name for a foreign server; a path may follow.");
	return false;
}

static bool
ends_with(const char *string, const char *end)
{
	size_t		len = strlen(string);

	return len >= strlen(end) && strcmp(string + len - strlen(end), end) == 0;
}

static bool
check_webhook(char **value, void **extra, GucSource source)
{
	return accept_target(target_problem(*value));
}

/* What is added to it (otlp.h). */
#define TRACES_PATH		"/v1/traces"

static bool
check_otlp_endpoint(char **value, void **extra, GucSource source)
{
	const char *problem = target_problem(*value);

	if (problem == NULL && strpbrk(*value, "?#") != NULL)
		problem = "it has a query or a fragment";
	if (problem == NULL && (ends_with(*value, TRACES_PATH) || ends_with(*value, TRACES_PATH "/")))
		problem = "its path " TRACES_PATH " is added by dtm";
	return accept_target(problem);
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

/* Retries, time-outs, and limits of calls. */
static void
define_call_settings(void)
{
	DefineCustomIntVariable("dtm.retry_interval",
							"Sets the base of the time between retries of a branch.",
							"The time doubles with each failure, up to dtm.retry_interval_max: the first retry comes after twice this time.",
							&dtm_retry_interval, 10000, MIN_RETRY_MS, MAX_MS,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("dtm.retry_interval_max",
							"Sets the maximum time between two attempts to call a branch.",
							"The time doubles with each attempt that fails, up to this maximum.", &dtm_retry_interval_max, 3600000, MIN_RETRY_MS, MAX_MS,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("dtm.timeout_to_fail",
							"Sets the age at which a prepared global transaction times out.",
							"A prepared message, or saga with query_prepared, is then queried; a prepared TCC or XA is rolled back. Submitted sagas ignore this setting.",
							&dtm_timeout_to_fail, 35000, 1, MAX_MS,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("dtm.request_timeout",
							"Sets the maximum time to wait for the response of a branch.",
							"An attempt that takes longer has failed, and is repeated. The option request_timeout of a transaction or step overrides this setting.", &dtm_request_timeout, 3000, 1, DTM_MAX_REQUEST_TIMEOUT,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("dtm.max_requests",
							"Sets the maximum number of requests that a coordinator has in flight.",
							"Further requests wait for their turn, shared among roles and fairness keys.", &dtm_max_requests, 2000, 1, MAX_MAX_REQUESTS,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("dtm.max_requests_per_host",
							"Sets the maximum number of requests that a coordinator has in flight to one host and port.",
							"Up to this limit, the number is learned from the host's responses.", &dtm_max_requests_per_host, 1000, 1, MAX_MAX_REQUESTS,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("dtm.breaker_failures",
							"Sets the number of consecutive unanswered calls that opens a host's circuit breaker.",
							"While the breaker is open, calls to the host wait, except for an occasional probe. 0 disables the breaker.",
							&dtm_breaker_failures, 10, 0, INT_MAX,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("dtm.breaker_pause_max",
							"Sets the maximum time between two probes of a host whose circuit breaker is open.",
							"The first probe comes after one second; the time doubles with each failed probe.",
							&dtm_breaker_pause_max, 10000, 1, MAX_MS,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("dtm.max_reply_size",
							"Sets the maximum size of the response of a branch.",
							"A larger response is an error, unless its status is 409 or 425.",
							&dtm_max_reply_size, 1024, 1, MAX_MAX_KB,
							PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("dtm.max_request_size",
							"Sets the maximum size of a global transaction.",
							"The size counts URLs, payloads and headers.",
							&dtm_max_request_size, 1024, 1, MAX_MAX_KB,
							PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("dtm.max_result_size",
							"Sets the maximum size of the result of a branch.",
							"Of a larger response only its size is kept.",
							&dtm_max_result_size, 64, 1, MAX_MAX_KB,
							PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
}

/* When a person has to look, and how that is told. */
static void
define_alert_settings(void)
{
	DefineCustomIntVariable("dtm.alert_retry_limit",
							"Sets the number of consecutive failures after which a global transaction is listed in dtm.stuck.",
							"A global transaction that is listed there is a reason for an alert.",
							&dtm_alert_retry_limit, 3, 1, INT_MAX,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("dtm.stuck_after",
							"Sets the time after which a branch that answers ONGOING is listed in dtm.stuck.",
							"A branch that is listed there is a reason for an alert, as is a prepared transaction that is listed in dtm.orphans for so long. 0 means at once.",
							&dtm_stuck_after, 600000, 0, MAX_MS,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("dtm.alert_after",
							"Sets the time after which a host that does not respond, or a coordinator that does not run, is a reason for an alert.",
							"An alert is resolved when its reason has been gone for this time. 0 means at once.",
							&dtm_alert_after, 60000, 0, MAX_MS,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("dtm.alerts_per_hour",
							"Sets the maximum number of messages about alerts that a database sends in an hour.",
							"Further messages are sent later, if their alerts are still open then. 0 means no limit.",
							&dtm_alerts_per_hour, 60, 0, INT_MAX,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable("dtm.alert_each",
							 "Enables a message for each failure of each stuck global transaction, as the dtm server sends it.",
							 "The messages are sent in addition to the alerts, and have no limit.",
							 &dtm_alert_each, false,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("dtm.alert_webhook",
							   "Sets the URL that receives the messages about alerts.",
							   "It may name a foreign server, as in server:pager/alerts. Empty means that no URL is called.",
							   &dtm_alert_webhook, "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY, check_webhook, NULL, NULL);
}

/* The program that the launcher runs, and what it may ask for. */
static void
define_gateway_settings(void)
{
	DefineCustomBoolVariable("dtm.gateway",
							 "Enables dtm-gateway, which is a dtm server for dtm's SDKs.",
							 "The launcher starts the program, and starts it again when it ends.", &dtm_gateway, false,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("dtm.gateway_path",
							   "Sets the program that dtm.gateway runs.",
							   "A name without a slash is looked for in the folder of the server's program, and then in its PATH.",
							   &dtm_gateway_path, "dtm-gateway",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomStringVariable("dtm.gateway_config",
							   "Sets the file with the options of the program of dtm.gateway.",
							   "A relative path is relative to the data directory. Empty means that all options have their defaults.",
							   &dtm_gateway_config, "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomStringVariable("dtm.gateway_database",
							   "Sets the database to which the program of dtm.gateway connects.",
							   "The option conninfo in its file may name another.",
							   &dtm_gateway_database, "postgres",
							   PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("dtm.gateway_sql_roles",
							   "Sets the roles whose requests through the gateway may name functions as steps.",
							   "A list of role names. Empty means none.",
							   &dtm_gateway_sql_roles, "",
							   PGC_SUSET, GUC_LIST_INPUT, NULL, NULL, NULL);
}

void
settings_define(void)
{
	define_call_settings();
	define_alert_settings();
	define_gateway_settings();
	DefineCustomStringVariable("dtm.databases",
							   "Sets the databases that get a coordinator if they have the extension.",
							   "A list of names, or * for all databases. Empty means none.",
							   &dtm_databases, "*",
							   PGC_SIGHUP, GUC_LIST_INPUT, NULL, NULL, NULL);
	DefineCustomIntVariable("dtm.coordinators_per_database",
							"Sets the number of coordinators that share the work of a database.",
							"Each is a background worker. Where max_worker_processes has no room for all, the others share the work of the missing ones.", &dtm_coordinators_per_database, 1, 1, DTM_SHARE_UNITS,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("dtm.sql_workers",
							"Sets the maximum number of background workers that call functions as branches, for each database.",
							"One role gets all but one of them at most. 0 means that no functions are called; branches that are functions fail and are retried.",
							&dtm_sql_workers, 3, 0, MAX_SQL_WORKERS,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("dtm.otlp_endpoint",
							   "Sets the OTLP endpoint that receives spans over HTTP.",
							   "Spans go to the path /v1/traces below it. It is a URL, or server:NAME for a foreign server. Empty means that there are no spans.",
							   &dtm_otlp_endpoint, "",
							   PGC_SIGHUP, GUC_SUPERUSER_ONLY, check_otlp_endpoint, NULL, NULL);
	DefineCustomIntVariable("dtm.retention",
							"Sets the time for which finished global transactions are kept.",
							"0 keeps all of them.",
							&dtm_retention, 7 * 24 * 60, 0, MAX_MINUTES,
							PGC_SIGHUP, GUC_UNIT_MIN, NULL, NULL, NULL);
	DefineCustomEnumVariable("dtm.allowed_targets",
							 "Sets the permitted targets of branches.",
							 "\"any\" permits every URL; \"servers\" permits only foreign servers, and functions in the database.",
							 &dtm_allowed_targets, DTM_TARGETS_ANY, targets,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("dtm.forbidden_addresses",
							   "Sets the addresses that are never called.",
							   "A list of networks, addresses, and the words loopback, link-local and private. Empty forbids none.",
							   &dtm_forbidden_addresses, "",
							   PGC_SIGHUP, GUC_LIST_INPUT, check_addresses, NULL, NULL);
	DefineCustomStringVariable("dtm.ca_file",
							   "Sets the file with the certificate authorities that verify the certificates of branches.",
							   "Empty means those of the system.",
							   &dtm_ca_file, "",
							   PGC_SIGHUP, 0, NULL, NULL, NULL);
	MarkGUCPrefixReserved("dtm");
}
