/*
 * config.c
 *		Options: from flags, the environment, and a file.
 */
#include "config.h"

#include "buf.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef enum OptionKind
{
	OPTION_STRING,
	OPTION_LIST,
	OPTION_NUMBER,
	OPTION_FLAG
} OptionKind;

typedef struct Option
{
	const char *name;
	const char *argument;		/* what it is called in --help */
	OptionKind	kind;
	size_t		offset;			/* in Config */
	size_t		count;			/* offset of the number of a list's elements */
	int			min;			/* of a number */
	int			max;
	int			otherwise;		/* its default */
	const char *help;
} Option;

#define STRING(name, argument, field, help) \
	{name, argument, OPTION_STRING, offsetof(Config, field), 0, 0, 0, 0, help}
#define NUMBER(name, argument, field, min, max, otherwise, help) \
	{name, argument, OPTION_NUMBER, offsetof(Config, field), 0, min, max, otherwise, help}
#define LIST(name, argument, field, number, max, help) \
	{name, argument, OPTION_LIST, offsetof(Config, field), offsetof(Config, number), 0, max, 0, help}

static const Option options[] = {
	STRING("conninfo", "STRING", conninfo, "database, as libpq wants it; what is not in it comes from PGHOST and the like"),
	LIST("node", "STRING", nodes, nnodes, MAX_NODES, "another node of the same cluster of Citus, as --conninfo; may be repeated (in the environment, as a URI)"),
	LIST("listen", "HOST:PORT", listen, nlisten, MAX_LISTENERS, "address to listen on, with /tls behind it for TLS; may be repeated (default: 127.0.0.1 and [::1], ports 36789 and 36790)"),
	LIST("page", "HOST:PORT", page, npage, MAX_LISTENERS, "address to serve the page for operators on, with /tls behind it for TLS; may be repeated (default: none)"),
	STRING("hba", "FILE", hba, "who may connect, and as which role (default: this machine, as dtm_api)"),
	{"insecure", NULL, OPTION_FLAG, offsetof(Config, insecure), 0, 0, 0, 0, "allow trust for addresses that are not this machine's"},
	LIST("host", "NAME", hosts, nhosts, MAX_HOSTS, "name that HTTP requests may be sent to, beside addresses and localhost; may be repeated"),
	STRING("cert", "FILE", certificate, "certificate for TLS, with its chain, in PEM"),
	STRING("key", "FILE", key, "its key"),
	STRING("ca", "FILE", ca, "certificate authorities of clients' certificates, in PEM"),
	NUMBER("sessions", "N", sessions, 1, 64, 4, "sessions with the database for requests; others are for what is locked, for what waits, and for roles with errors"),
	NUMBER("batch", "N", batch, 1, 64, 64, "requests in a batch at most"),
	NUMBER("max-body", "KB", max_body, 1, 65536, 1024, "largest body of a request"),
	NUMBER("max-connections", "N", max_connections, 1, 1000000, 20000, "connections of clients at most"),
	NUMBER("max-connections-per-address", "N", max_per_address, 0, 1000000, 0, "the same of an address; 0: any number"),
	NUMBER("rate", "N", rate, 0, 1000000, 0, "requests a second of a role at most; 0: any number"),
	NUMBER("max-in-flight", "N", max_in_flight, 0, 1000000, 5000, "requests of a role under way at most; 0: any number"),
	NUMBER("max-in-flight-per-address", "N", max_in_flight_per_address, 0, 1000000, 0, "the same of an address; 0: any number"),
	NUMBER("queue-time", "MS", queue_time, 1, 60000, 2000, "time that a request may wait for the database before it is refused"),
	NUMBER("batch-time", "S", batch_time, 1, 3600, 30, "time that the database may take for a batch before the session is given up"),
	NUMBER("wait-time", "S", wait_time, 1, 86400, 60, "time that a wait_result may take"),
	NUMBER("head-time", "S", head_time, 1, 3600, 10, "time that the head of a request, or a TLS handshake, may take"),
	NUMBER("body-time", "S", body_time, 1, 3600, 30, "time that the body of a request may take, and its response may stay unread"),
	NUMBER("idle-time", "S", idle_time, 1, 86400, 300, "time that an idle connection is kept"),
	NUMBER("max-age", "S", max_age, 0, 86400, 0, "time after which a connection of HTTP/2 is replaced; 0: never"),
	NUMBER("stop-time", "S", stop_time, 0, 3600, 30, "time to finish requests when stopped"),
	STRING("log-level", "LEVEL", log_level, "debug, info, warning or error (default: info)")
};

#define NOPTIONS	(sizeof(options) / sizeof(options[0]))

/* What is wrong, as a string of its own; b may be NULL. */
static char *
complaint(const char *a, const char *name, const char *b, const char *value)
{
	Buf			text = {0};

	buf_printf(&text, "%s\"%s\"%s", a, name, b);
	if (value != NULL)
		buf_printf(&text, " \"%s\"", value);
	return buf_string(&text);
}

static void
help(void)
{
	(void) puts("dtm-gateway gives dtm's SDKs a dtm server: HTTP, JSON-RPC and gRPC, with a\n"
				"PostgreSQL database behind it that has the extension dtm.\n\n"
				"Usage: dtm-gateway [OPTION]...\n\nOptions:");
	for (size_t i = 0; i < NOPTIONS; i++)
	{
		const Option *option = &options[i];

		(void) printf("  --%s%s%s\n      %s", option->name, option->argument ? "=" : "",
					  option->argument ? option->argument : "", option->help);
		if (option->kind == OPTION_NUMBER)
			(void) printf(" (default: %d)", option->otherwise);
		(void) putchar('\n');
	}
	(void) puts("  --config=FILE\n      file of lines \"option = value\"\n"
				"  --help\n  --version\n\n"
				"Each option can be set in the environment: DTM_GATEWAY_CONNINFO and so on. A flag\n"
				"comes before the environment, which comes before the file.");
	exit(0);
}

/* ---------- values ---------- */

static const Option *
find_option(const char *name, size_t len)
{
	for (size_t i = 0; i < NOPTIONS; i++)
		if (strlen(options[i].name) == len && strncmp(options[i].name, name, len) == 0)
			return &options[i];
	return NULL;
}

/* Sets it; or returns what is wrong, as those below do. */
static char *
set_number(const Option *option, int *place, const char *value)
{
	char	   *end;
	long		number;
	Buf			text = {0};

	errno = 0;
	number = strtol(value, &end, 10);
	if (errno == 0 && end != value && *end == '\0' && number >= option->min && number <= option->max)
	{
		*place = (int) number;
		return NULL;
	}
	buf_printf(&text, "--%s is \"%s\"; it is a number from %d to %d",
			   option->name, value, option->min, option->max);
	return buf_string(&text);
}

/* "fresh": the first of a source, which replaces what others have said. */
static char *
set_option(Config *config, const Option *option, const char *value, bool fresh)
{
	char	   *base = (char *) config;
	char	  **list = (char **) (base + option->offset);

	switch (option->kind)
	{
		case OPTION_STRING:
			free(*list);
			*list = xstrdup(value);
			break;
		case OPTION_NUMBER:
			return set_number(option, (int *) (base + option->offset), value);
		case OPTION_FLAG:
			if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0)
				return complaint("option ", option->name, " is on or off, not", value);
			*(bool *) (base + option->offset) = strcmp(value, "on") == 0;
			break;
		case OPTION_LIST:
			{
				int		   *n = (int *) (base + option->count);

				while (fresh && *n > 0)
					free(list[--*n]);
				if (*n == option->max)
					return complaint("there are too many of option ", option->name, "", NULL);
				list[(*n)++] = xstrdup(value);
			}
			break;
	}
	return NULL;
}

/* ---------- sources ---------- */

char *
config_read_file(const char *name)
{
	FILE	   *file = fopen(name, "r");
	Buf			text = {0};
	size_t		n;

	if (file == NULL)
		return NULL;
	while ((n = fread(buf_room(&text, 4096), 1, 4096, file)) > 0)
		text.len += n;
	n = ferror(file) ? 1 : 0;
	(void) fclose(file);
	if (n > 0)
	{
		buf_free(&text);
		return NULL;
	}
	return buf_string(&text);
}

static char *
strip(char *text)
{
	size_t		len;

	text += strspn(text, " \t\r");
	len = strlen(text);
	while (len > 0 && strchr(" \t\r", text[len - 1]) != NULL)
		text[--len] = '\0';
	return text;
}

/* A line "option = value"; its parts are cut apart in place. */
static char *
read_line(Config *config, const char *name, char *line, bool seen[NOPTIONS])
{
	char	   *equals = strchr(line, '=');
	char	   *key = strip(line);
	const Option *option;
	bool		fresh;

	if (*key == '#' || *key == '\0')
		return NULL;
	if (equals == NULL)
		return complaint("", name, ": malformed line", key);
	*equals = '\0';
	key = strip(key);
	option = find_option(key, strlen(key));
	if (option == NULL)
		return complaint("", name, ": unknown option", key);
	fresh = !seen[option - options];
	seen[option - options] = true;
	return set_option(config, option, strip(equals + 1), fresh);
}

static char *
read_config_file(Config *config, const char *name)
{
	char	   *text = config_read_file(name);
	bool		seen[NOPTIONS] = {false};
	char	   *problem = NULL;
	char	   *save;

	if (text == NULL)
		return complaint("could not read ", name, ":", strerror(errno));
	for (char *line = strtok_r(text, "\n", &save); line != NULL && problem == NULL;
		 line = strtok_r(NULL, "\n", &save))
		problem = read_line(config, name, line, seen);
	free(text);
	return problem;
}

/* The name that an option has in the environment. */
static void
environment_name(const Option *option, char name[64])
{
	size_t		len;

	(void) snprintf(name, 64, "DTM_GATEWAY_%s", option->name);
	len = strlen(name);
	for (size_t i = 0; i < len; i++)
		if (name[i] >= 'a' && name[i] <= 'z')
			name[i] ^= 0x20;	/* in upper case */
		else if (name[i] == '-')
			name[i] = '_';
}

static char *
read_environment(Config *config)
{
	char	   *problem = NULL;

	for (size_t i = 0; i < NOPTIONS && problem == NULL; i++)
	{
		char		name[64];
		char	   *value;
		char	   *save;
		bool		fresh = true;

		environment_name(&options[i], name);
		value = getenv(name);
		if (value == NULL || *value == '\0')
			continue;
		if (options[i].kind != OPTION_LIST)
		{
			problem = set_option(config, &options[i], value, true);
			continue;
		}
		value = xstrdup(value);
		for (char *part = strtok_r(value, ", ", &save); part != NULL && problem == NULL;
			 part = strtok_r(NULL, ", ", &save))
		{
			problem = set_option(config, &options[i], part, fresh);
			fresh = false;
		}
		free(value);
	}
	return problem;
}

/*
 * Kubernetes has variables of each service in the environment of each container:
 * a service that is called dtm-gateway has these.
 */
static bool
is_of_service(const char *name)
{
	return strncmp(name, "SERVICE_", 8) == 0 || strcmp(name, "PORT") == 0 ||
		strncmp(name, "PORT_", 5) == 0;
}

char *
config_unknown_variable(void)
{
	static const char prefix[] = "DTM_GATEWAY_";
	static const char *const others[] = {"DTM_GATEWAY_CONFIG", "DTM_GATEWAY_AGAIN"};

	for (char **variable = environ; *variable != NULL; variable++)
	{
		size_t		len = strcspn(*variable, "=");
		bool		known = strncmp(*variable, prefix, sizeof(prefix) - 1) != 0;
		char	   *name;

		if (known)
			continue;
		name = xstrndup(*variable, len);
		known = is_of_service(name + sizeof(prefix) - 1);
		for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
			known = known || strcmp(name, others[i]) == 0;
		for (size_t i = 0; i < NOPTIONS && !known; i++)
		{
			char		option[64];

			environment_name(&options[i], option);
			known = strcmp(name, option) == 0;
		}
		if (!known)
			return name;
		free(name);
	}
	return NULL;
}

/* The value of a flag; NULL: it has none. */
static const char *
value_of(const Option *option, int argc, char **argv, int *i)
{
	const char *equals = strchr(argv[*i], '=');

	if (equals != NULL)
		return equals + 1;
	if (option != NULL && option->kind == OPTION_FLAG)
		return "on";
	return *i + 1 < argc ? argv[++*i] : NULL;
}

/* "file": looks for --config alone, and sets that; NULL: for the others. */
static char *
read_flags(Config *config, int argc, char **argv, const char **file)
{
	bool		seen[NOPTIONS] = {false};
	char	   *problem = NULL;

	for (int i = 1; i < argc && problem == NULL; i++)
	{
		const char *name = argv[i] + 2;
		const char *flag = argv[i];
		size_t		len;
		const Option *option;
		const char *value;
		bool		is_file;

		if (strncmp(argv[i], "--", 2) != 0)
			return complaint("unknown argument ", argv[i], "", NULL);
		len = strcspn(name, "=");
		is_file = len == 6 && strncmp(name, "config", len) == 0;
		if (strcmp(name, "help") == 0)
			help();
		if (strcmp(name, "version") == 0)
		{
			(void) puts("dtm-gateway " DTM_VERSION);
			exit(0);
		}
		option = find_option(name, len);
		if (option == NULL && !is_file)
			return complaint("unknown option ", flag, "", NULL);
		value = value_of(option, argc, argv, &i);
		if (value == NULL)
			return complaint("", flag, " needs a value", NULL);
		if (is_file && file != NULL)
			*file = value;
		else if (!is_file && file == NULL)
		{
			problem = set_option(config, option, value, !seen[option - options]);
			seen[option - options] = true;
		}
	}
	return problem;
}

char *
config_read(Config *config, int argc, char **argv)
{
	const char *file = NULL;
	char	   *problem;

	memset(config, 0, sizeof(*config));
	config->conninfo = xstrdup("");
	config->log_level = xstrdup("info");
	for (size_t i = 0; i < NOPTIONS; i++)
		if (options[i].kind == OPTION_NUMBER)
			*(int *) ((char *) config + options[i].offset) = options[i].otherwise;
	problem = read_flags(config, argc, argv, &file);
	if (file == NULL)
		file = getenv("DTM_GATEWAY_CONFIG");
	if (problem == NULL && file != NULL)
		problem = read_config_file(config, file);
	if (problem == NULL)
		problem = read_environment(config);
	if (problem == NULL)
		problem = read_flags(config, argc, argv, NULL);
	return problem;
}

void
config_free(Config *config)
{
	for (size_t i = 0; i < NOPTIONS; i++)
	{
		char	  **place = (char **) ((char *) config + options[i].offset);

		if (options[i].kind == OPTION_STRING)
			free(*place);
		if (options[i].kind == OPTION_LIST)
			for (int n = *(int *) ((char *) config + options[i].count); n > 0; n--)
				free(place[n - 1]);
	}
	memset(config, 0, sizeof(*config));
}
