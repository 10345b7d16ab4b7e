/*
 * options.c
 *		Options of servers and user mappings: their validation and their
 *		meaning.
 *
 * Only roles that may read files of the server's host may set options that
 * name files.  Otherwise a role could make the server use a key that belongs
 * to somebody else.
 */
#include "private.h"

#include <math.h>

#include "access/reloptions.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/guc.h"

/* Shorter keys can be guessed. */
#define MIN_HMAC_KEY		16

/* Bounds of a rate, in requests for a second. */
#define MIN_RATE			0.001
#define MAX_RATE			1000000.0

typedef enum OptionKind
{
	OPTION_URL,
	OPTION_FILE,
	OPTION_MS,
	OPTION_COUNT,
	OPTION_RATE,
	OPTION_TOKEN,
	OPTION_KEY
} OptionKind;

static const struct
{
	const char *name;
	Oid			catalog;
	OptionKind	kind;
	size_t		offset;			/* in Endpoint; base_url is none of it */
}			known_options[] = {
	{"base_url", ForeignServerRelationId, OPTION_URL, 0},
	{"ca_file", ForeignServerRelationId, OPTION_FILE, offsetof(Endpoint, ca_file)},
	{"connect_timeout", ForeignServerRelationId, OPTION_MS, offsetof(Endpoint, connect_timeout)},
	{"max_requests", ForeignServerRelationId, OPTION_COUNT, offsetof(Endpoint, max_requests)},
	{"rate", ForeignServerRelationId, OPTION_RATE, offsetof(Endpoint, interval)},
	{"bearer_token", UserMappingRelationId, OPTION_TOKEN, 0},
	{"client_cert", UserMappingRelationId, OPTION_FILE, offsetof(Endpoint, client_cert)},
	{"client_key", UserMappingRelationId, OPTION_FILE, offsetof(Endpoint, client_key)},
	{"hmac_key", UserMappingRelationId, OPTION_KEY, offsetof(Endpoint, hmac_key)}
};

PG_FUNCTION_INFO_V1(dtm_http_validator);

static bool
is_header_option(const char *name)
{
	return strncmp(name, HEADER_PREFIX, strlen(HEADER_PREFIX)) == 0;
}

/* The header of an option, in the current memory context. */
static char *
header_name(const char *option)
{
	char	   *name = pstrdup(option + strlen(HEADER_PREFIX));

	for (char *c = name; *c; c++)
		if (*c == '_')
			*c = '-';
	return name;
}

/* The time between two requests at a rate for a second, in us; 0: it is none. */
static int64
interval_of(const char *rate)
{
	double		number;

	if (!parse_real(rate, &number, 0, NULL) || !(number >= MIN_RATE && number <= MAX_RATE))
		return 0;
	return (int64) rint(USECS_PER_SEC / number);
}

/* ---------- taking them ---------- */

static void
take_header(Endpoint *endpoint, char *name, char *value)
{
	int			n = endpoint->nheaders++;

	if (n == 0)
	{
		endpoint->header_name = palloc(sizeof(char *));
		endpoint->header_value = palloc(sizeof(char *));
	}
	else
	{
		endpoint->header_name = repalloc(endpoint->header_name, sizeof(char *) * (n + 1));
		endpoint->header_value = repalloc(endpoint->header_value, sizeof(char *) * (n + 1));
	}
	endpoint->header_name[n] = name;
	endpoint->header_value[n] = value;
}

/* It has been checked; one of a later version than ours is passed over. */
static void
take_step_option(Endpoint *endpoint, const char *key, const char *value)
{
	StepProblem problem;

	if (endpoint->options == NULL)
		endpoint->options = palloc0(sizeof(StepOptions));
	(void) step_options_read_text(endpoint->options, key, value, &problem);
}

void
options_take(List *options, Endpoint *endpoint, const char **base_url)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *option = lfirst(cell);
		char	   *value = defGetString(option);

		if (is_header_option(option->defname))
			take_header(endpoint, header_name(option->defname), value);
		if (step_options_has(option->defname, STEP_IN_SERVER))
			take_step_option(endpoint, option->defname, value);
		for (int i = 0; i < lengthof(known_options); i++)
		{
			char	   *field = (char *) endpoint + known_options[i].offset;

			if (strcmp(option->defname, known_options[i].name) != 0)
				continue;
			switch (known_options[i].kind)
			{
				case OPTION_URL:
					*base_url = value;
					break;
				case OPTION_TOKEN:
					take_header(endpoint, "Authorization", psprintf("Bearer %s", value));
					break;
				case OPTION_MS:
					/* it has been checked */
					(void) parse_int(value, (int *) field, GUC_UNIT_MS, NULL);
					break;
				case OPTION_COUNT:
					(void) parse_int(value, (int *) field, 0, NULL);
					break;
				case OPTION_RATE:
					*(int64 *) field = interval_of(value);
					break;
				case OPTION_FILE:
				case OPTION_KEY:
					*(const char **) field = value;
					break;
			}
		}
	}
}

/* ---------- checking them ---------- */

static void
check_file(const char *name, const char *value)
{
	if (!superuser() &&
		!has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to set option \"%s\"", name),
				 errdetail("The option names a file that the server reads."),
				 errhint("Set the option as a superuser or as a member of pg_read_server_files.")));
	if (!is_absolute_path(value))
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				 errmsg("option \"%s\" is not an absolute path", name),
				 errhint("Specify the absolute path of a PEM file on the server's host.")));
}

static void
check_base_url(const char *value)
{
	const char *problem;

	/* grpc's needs a method, which is not here yet */
	if (pg_strncasecmp(value, "grpc://", 7) == 0 || pg_strncasecmp(value, "grpcs://", 8) == 0)
		problem = wire_url_problem("grpc", psprintf("%s/package.Service/Method", value), NULL);
	else
		problem = wire_url_problem("http", value, NULL);
	if (problem == NULL && strpbrk(value, "?#") != NULL)
		problem = "URL contains a query or a fragment";
	if (problem == NULL && dtm_url_has_user(value))
		problem = "URL contains a user name";
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				 errmsg("invalid value for option \"base_url\": %s", problem),
				 errhint("Specify the beginning of all URLs of the service, such as https://bank.internal/api or grpcs://bank.internal:9090.")));
}

/* Messages do not contain the value, which may be a secret. */
static void
check_value(const char *name, OptionKind kind, const char *value)
{
	const char *hint;
	int			number;

	if (value[0] == '\0' || has_control_character(value))
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				 errmsg("option \"%s\" is empty or contains a control character", name),
				 errhint("Specify a value of one line, or omit the option.")));
	utf8_check(value, psprintf("option %s", name));
	switch (kind)
	{
		case OPTION_URL:
			check_base_url(value);
			break;
		case OPTION_FILE:
			check_file(name, value);
			break;
		case OPTION_MS:
			if (!step_read_ms(value, &number) || number <= 0 ||
				number > DTM_MAX_REQUEST_TIMEOUT)
				ereport(ERROR,
						(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
						 errmsg("option \"%s\" must be a time greater than 0, up to one day, in whole milliseconds", name),
						 errhint("Specify a whole number of milliseconds, or a number with a unit, such as 1.5s.")));
			break;
		case OPTION_COUNT:
			/* a fraction would be rounded, 0x10 be 16 */
			if (value[strspn(value, "0123456789")] != '\0' ||
				!parse_int(value, &number, 0, &hint) || number <= 0)
				ereport(ERROR,
						(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
						 errmsg("option \"%s\" must be an integer greater than 0", name),
						 errhint("Specify how many requests the server may get at a time, or omit the option.")));
			break;
		case OPTION_RATE:
			if (interval_of(value) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
						 errmsg("option \"%s\" must be a number between 0.001 and 1000000", name),
						 errhint("Specify how many requests the server may get in a second, or omit the option.")));
			break;
		case OPTION_TOKEN:
			if (strchr(value, ' ') != NULL)
				ereport(ERROR,
						(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
						 errmsg("option \"%s\" contains a space", name),
						 errhint("Specify only the token, without \"Bearer\".")));
			break;
		case OPTION_KEY:
			if (strlen(value) < MIN_HMAC_KEY)
				ereport(ERROR,
						(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
						 errmsg("option \"%s\" is shorter than %d bytes", name, MIN_HMAC_KEY),
						 errhint("Generate a key, for example with openssl rand -hex 32.")));
			break;
	}
}

static void
check_header(const char *option, const char *value)
{
	const char *name = option + strlen(HEADER_PREFIX);

	if (name[0] == '\0' ||
		strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != strlen(name))
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
				 errmsg("option \"%s\" does not name a valid header", option),
				 errhint("For example, option header_x_api_key sets the header x-api-key.")));
	if (header_is_framing(header_name(option)) ||
		header_is_own(header_name(option)) || pg_strcasecmp(name, "host") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
				 errmsg("option \"%s\" names a header that cannot be set", option),
				 errhint("Omit the option. dtm sets the headers that frame or identify a request, and base_url determines Host.")));
	if (has_control_character(value))
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				 errmsg("option \"%s\" contains a control character", option),
				 errhint("Specify a value of one line.")));
	utf8_check(value, psprintf("option %s", option));
}

static void
check_step_option(const char *name, const char *value)
{
	StepOptions options = {NULL};
	StepProblem problem;

	utf8_check(value, psprintf("option %s", name));
	if (!step_options_read_text(&options, name, value, &problem))
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				 errmsg("%s", problem.message),
				 errhint("%s", problem.hint)));
}

/* The options that a catalog may have. */
static void
error_unknown(const char *name, Oid catalog)
{
	const char *hint = "Set options of servers and user mappings only.";
	const char *known[lengthof(known_options)];
	int			n = 0;

	for (int i = 0; i < lengthof(known_options); i++)
		if (known_options[i].catalog == catalog)
			known[n++] = known_options[i].name;
	if (catalog == ForeignServerRelationId)
		hint = step_options_hint(name, STEP_IN_SERVER, known, n);
	else if (catalog == UserMappingRelationId)
	{
		const char *nearest = nearest_name(name, known, n);

		hint = nearest != NULL ? psprintf("Perhaps you meant \"%s\".", nearest) :
			"Valid options of a user mapping are bearer_token, client_cert, client_key, hmac_key, and header_NAME for each header.";
	}
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
			 errmsg("invalid option \"%s\"", name),
			 errhint("%s", hint)));
}

/* dtm.http_validator(text[], oid): the options of one object, all of them */
Datum
dtm_http_validator(PG_FUNCTION_ARGS)
{
	List	   *options = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid			catalog = PG_GETARG_OID(1);
	bool		has_url = false;
	bool		has_cert = false;
	bool		has_key = false;
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *option = lfirst(cell);
		const char *name = option->defname;
		int			i = 0;

		if (catalog == UserMappingRelationId && is_header_option(name))
		{
			check_header(name, defGetString(option));
			continue;
		}
		if (catalog == ForeignServerRelationId && step_options_has(name, STEP_IN_SERVER))
		{
			check_step_option(name, defGetString(option));
			continue;
		}
		while (i < lengthof(known_options) &&
			   (known_options[i].catalog != catalog || strcmp(known_options[i].name, name) != 0))
			i++;
		if (i == lengthof(known_options))
			error_unknown(name, catalog);
		check_value(name, known_options[i].kind, defGetString(option));
		has_url = has_url || strcmp(name, "base_url") == 0;
		has_cert = has_cert || strcmp(name, "client_cert") == 0;
		has_key = has_key || strcmp(name, "client_key") == 0;
	}
	if (catalog == ForeignServerRelationId && !has_url)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
				 errmsg("option \"base_url\" is missing"),
				 errhint("Specify it, as in CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'https://bank.internal').")));
	if (has_key && !has_cert)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
				 errmsg("option \"client_key\" requires option \"client_cert\""),
				 errhint("Specify the file of the certificate, too.")));
	PG_RETURN_VOID();
}
