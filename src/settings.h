/*
 * settings.h
 *		The settings (GUCs) of dtm, and the configuration of core.
 */
#ifndef DTM_SETTINGS_H
#define DTM_SETTINGS_H

#include "postgres.h"

#include "core/core.h"

/* Values of dtm.allowed_targets. */
typedef enum DtmTargets
{
	DTM_TARGETS_ANY,			/* any URL */
	DTM_TARGETS_SERVERS			/* foreign servers only */
} DtmTargets;

/* Settings (GUCs), in the units of their definitions in settings.c. */
extern int	dtm_retry_interval; /* ms */
extern int	dtm_retry_interval_max; /* ms */
extern int	dtm_timeout_to_fail;	/* ms */
extern int	dtm_request_timeout;	/* ms */
extern int	dtm_alert_retry_limit;
extern int	dtm_stuck_after;	/* ms */
extern int	dtm_alert_after;	/* ms */
extern int	dtm_alerts_per_hour;
extern bool dtm_alert_each;
extern int	dtm_max_requests;
extern int	dtm_max_requests_per_host;
extern int	dtm_breaker_failures;
extern int	dtm_breaker_pause_max;	/* ms */
extern int	dtm_max_reply_size; /* kB */
extern int	dtm_max_request_size;	/* kB */
extern int	dtm_max_result_size;
extern char *dtm_databases;
extern char *dtm_ca_file;
extern char *dtm_forbidden_addresses;
extern int	dtm_allowed_targets;	/* DtmTargets */
extern int	dtm_sql_workers;	/* for each database */
extern int	dtm_coordinators_per_database;
extern char *dtm_alert_webhook;
extern char *dtm_otlp_endpoint;
extern int	dtm_retention;		/* min */
extern bool dtm_gateway;
extern char *dtm_gateway_path;
extern char *dtm_gateway_config;
extern char *dtm_gateway_database;
extern char *dtm_gateway_sql_roles;

/*
 * Called from _PG_init: defines the settings, and reserves the prefix "dtm".
 */
extern void settings_define(void);

/* Is a database one of those that dtm.databases names?  And is this one? */
extern bool settings_name_database(const char *name);
extern bool settings_name_this_database(void);

/* The settings that core's rules depend on. */
extern void dtm_core_config(DtmConfig *config);

/* True in a server that has dtm in shared_preload_libraries. */
extern bool dtm_preloaded;

#endif							/* DTM_SETTINGS_H */
