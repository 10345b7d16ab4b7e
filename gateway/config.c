/*
 * config.c
 *		Options: from flags, the environment, and a file.
 */
#include "config.h"

#include "buf.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
	LIST("listen", "HOST:PORT", listen, nlisten, MAX_LISTENERS, "address to listen on, with /tls behind it for TLS; may be repeated (default: 127.0.0.1 and [::1], ports 36789 and 36790)"),
	STRING("hba", "FILE", hba, "who may connect, and as which role (default: this machine, as dtm_api)"),
	{"insecure", NULL, OPTION_FLAG, offsetof(Config, insecure), 0, 0, 0, 0, "allow trust for addresses that are not this machine's"},
	LIST("host", "NAME", hosts, nhosts, MAX_HOSTS, "name that HTTP requests may be sent to, beside addresses and localhost; may be repeated"),
	STRING("cert", "FILE", certificate, "certificate for TLS, with its chain, in PEM"),
	STRING("key", "FILE", key, "its key"),
	STRING("ca", "FILE", ca, "certificate authorities of clients' certificates, in PEM"),
	NUMBER("sessions", "N", sessions, 1, 64, 4, "sessions with the database for requests; two more are for what is locked and for what waits"),
	NUMBER("batch", "N", batch, 1, 64, 64, "requests in a batch at most"),
	NUMBER("max-body", "KB", max_body, 1, 65536, 1024, "largest body of a request"),
	NUMBER("max-connections", "N", max_connections, 1, 1000000, 20000, "connections of clients at most"),
	NUMBER("max-connections-per-address", "N", max_per_address, 0, 1000000, 0, "the same of an address; 0: any number"),
	NUMBER("rate", "N", rate, 0, 1000000, 0, "requests a second of a role at most; 0: any number"),
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

static void
complain(const char *format, const char *a, const char *b)
{
	(void) fputs("dtm-gateway: ", stderr);
	/* the formats are ours */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	(void) fprintf(stderr, format, a, b);
#pragma GCC diagnostic pop
	(void) fputs("\nTry \"dtm-gateway --help\" for more information.\n", stderr);
	exit(2);
}

static void
help(void)
{
	(void) puts("dtm-gateway gives dtm's SDKs the dtm server: HTTP, JSON-RPC and gRPC, with a\n"
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

static void
set_number(const Option *option, int *place, const char *value)
{
	char	   *end;
	long		number;

	errno = 0;
	number = strtol(value, &end, 10);
	if (errno != 0 || end == value || *end != '\0' || number < option->min || number > option->max)
	{
		(void) fprintf(stderr, "dtm-gateway: --%s is \"%s\"; it is a number from %d to %d\n",
					   option->name, value, option->min, option->max);
		exit(2);
	}
	*place = (int) number;
}

/* "fresh": the first of a source, which replaces what others have said. */
static void
set_option(Config *config, const Option *option, const char *value, bool fresh)
{
	char	   *base = (char *) config;

	switch (option->kind)
	{
		case OPTION_STRING:
			free(*(char **) (base + option->offset));
			*(char **) (base + option->offset) = xstrdup(value);
			break;
		case OPTION_NUMBER:
			set_number(option, (int *) (base + option->offset), value);
			break;
		case OPTION_FLAG:
			if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0)
				complain("--%s is on or off%s", option->name, "");
			*(bool *) (base + option->offset) = strcmp(value, "on") == 0;
			break;
		case OPTION_LIST:
			{
				int		   *n = (int *) (base + option->count);

				while (fresh && *n > 0)
					free(((char **) (base + option->offset))[--*n]);
				if (*n == option->max)
					complain("there are too many of --%s%s", option->name, "");
				((char **) (base + option->offset))[(*n)++] = xstrdup(value);
			}
			break;
	}
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

static void
read_config_file(Config *config, const char *name)
{
	char	   *text = config_read_file(name);
	bool		seen[NOPTIONS] = {false};
	char	   *save;

	if (text == NULL)
		complain("could not read \"%s\": %s", name, strerror(errno));
	for (char *line = strtok_r(text, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
	{
		char	   *equals = strchr(line, '=');
		char	   *key = strip(line);
		const Option *option;

		if (*key == '#' || *key == '\0')
			continue;
		if (equals == NULL)
			complain("\"%s\": malformed line \"%s\"", name, key);
		*equals = '\0';
		key = strip(key);
		option = find_option(key, strlen(key));
		if (option == NULL)
			complain("\"%s\": unknown option \"%s\"", name, key);
		set_option(config, option, strip(equals + 1), !seen[option - options]);
		seen[option - options] = true;
	}
	free(text);
}

static void
read_environment(Config *config)
{
	for (size_t i = 0; i < NOPTIONS; i++)
	{
		char		name[64] = "DTM_GATEWAY_";
		size_t		len = strlen(name);
		char	   *value;
		char	   *save;
		bool		fresh = true;

		for (const char *c = options[i].name; *c; c++)
		{
			char		upper = (char) toupper((unsigned char) *c);

			if (upper == '-')
				upper = '_';
			name[len++] = upper;
		}
		name[len] = '\0';
		value = getenv(name);
		if (value == NULL || *value == '\0')
			continue;
		if (options[i].kind != OPTION_LIST)
		{
			set_option(config, &options[i], value, true);
			continue;
		}
		value = xstrdup(value);
		for (char *part = strtok_r(value, ", ", &save); part != NULL;
			 part = strtok_r(NULL, ", ", &save))
		{
			set_option(config, &options[i], part, fresh);
			fresh = false;
		}
		free(value);
	}
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

/* "only_file": looks for --config; else for the others. */
static const char *
read_flags(Config *config, int argc, char **argv, bool only_file)
{
	bool		seen[NOPTIONS] = {false};
	const char *file = NULL;

	for (int i = 1; i < argc; i++)
	{
		const char *name = argv[i] + 2;
		const char *flag = argv[i];
		size_t		len;
		const Option *option;
		const char *value;
		bool		is_file;

		if (strncmp(argv[i], "--", 2) != 0)
			complain("unknown argument \"%s\"%s", argv[i], "");
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
			complain("unknown option \"%s\"%s", flag, "");
		value = value_of(option, argc, argv, &i);
		if (value == NULL)
			complain("\"%s\" needs a value%s", flag, "");
		if (is_file)
			file = value;
		else if (!only_file)
		{
			set_option(config, option, value, !seen[option - options]);
			seen[option - options] = true;
		}
	}
	return file;
}

void
config_read(Config *config, int argc, char **argv)
{
	const char *file;

	memset(config, 0, sizeof(*config));
	config->conninfo = xstrdup("");
	config->log_level = xstrdup("info");
	for (size_t i = 0; i < NOPTIONS; i++)
		if (options[i].kind == OPTION_NUMBER)
			*(int *) ((char *) config + options[i].offset) = options[i].otherwise;
	file = read_flags(config, argc, argv, true);
	if (file == NULL)
		file = getenv("DTM_GATEWAY_CONFIG");
	if (file != NULL)
		read_config_file(config, file);
	read_environment(config);
	(void) read_flags(config, argc, argv, false);
}
