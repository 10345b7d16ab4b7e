/*
 * dtm.h
 *		What the PostgreSQL side of dtm shares: settings and error codes.
 */
#ifndef DTM_H
#define DTM_H

#include "postgres.h"

#include "core/core.h"

/* Class DT of SQLSTATEs; docs/errors.md lists them. */
#define DTM_ERRCODE_WRONG_STATUS	MAKE_SQLSTATE('D', 'T', '0', '0', '1')
#define DTM_ERRCODE_GID_IN_USE		MAKE_SQLSTATE('D', 'T', '0', '0', '2')
#define DTM_ERRCODE_UNKNOWN_GID		MAKE_SQLSTATE('D', 'T', '0', '0', '3')
#define DTM_ERRCODE_NO_COORDINATOR	MAKE_SQLSTATE('D', 'T', '0', '0', '4')
#define DTM_ERRCODE_DUPLICATED		MAKE_SQLSTATE('D', 'T', '0', '0', '5')
#define DTM_ERRCODE_BAD_ROW			MAKE_SQLSTATE('D', 'T', '0', '0', '6')

/* Longest gid, branch id, in characters (§1.1, §8.1). */
#define DTM_MAX_GID_CHARS		128

/* Longest name of an op or a workflow, in characters. */
#define DTM_MAX_OP_CHARS		128

/* Schemes of URLs that are dtm's own. */
#define DTM_SCHEME_TOPIC		"topic://"
#define DTM_SCHEME_LOCAL		"sql:"
#define DTM_SCHEME_SERVER		"server:"

/* Settings (GUCs), in the units of their declarations in dtm.c. */
extern int	dtm_retry_interval;	/* ms */
extern int	dtm_retry_interval_max; /* ms */
extern int	dtm_timeout_to_fail;	/* ms */
extern int	dtm_request_timeout;	/* ms */
extern int	dtm_alert_retry_limit;
extern int	dtm_max_requests;
extern int	dtm_max_requests_per_host;
extern int	dtm_breaker_failures;
extern int	dtm_breaker_pause_max;	/* ms */
extern int	dtm_max_reply_size; /* kB */
extern int	dtm_max_request_size;	/* kB */
extern char *dtm_databases;
extern char *dtm_ca_file;
extern char *dtm_forbidden_addresses;
extern int	dtm_allowed_targets;	/* EndpointTargets */
extern int	dtm_sql_workers;	/* for each database */
extern int	dtm_coordinators_per_database;
extern char *dtm_alert_webhook;
extern int	dtm_retention;		/* min */

/*
 * Which global transactions a coordinator drives, where several share those of
 * a database: those whose id, modulo DTM_SHARE_UNITS, leaves "number" when it
 * is divided by "of".  Each of the units has a lock, so that two coordinators
 * never drive the same, also while their number changes.
 */
typedef struct DtmShare
{
	int			number;			/* from 0 */
	int			of;
} DtmShare;

#define DTM_SHARE_UNITS			16

static inline bool
dtm_in_share(int64 id, DtmShare share)
{
	return (int) ((uint64) id % DTM_SHARE_UNITS) % share.of == share.number;
}

/* The settings that core's rules depend on. */
extern void dtm_core_config(DtmConfig *config);

/* True in a server that has dtm in shared_preload_libraries. */
extern bool dtm_preloaded;

/*
 * core's times are microseconds since PostgreSQL's epoch, as TimestampTz is;
 * never is infinity.
 */
StaticAssertDecl(sizeof(DtmTime) == sizeof(int64), "DtmTime is a TimestampTz");

#endif							/* DTM_H */
