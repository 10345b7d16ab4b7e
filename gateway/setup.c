/*
 * setup.c
 *		From options to a server that listens, and to another one while it runs.
 */
#include "setup.h"

#include "buf.h"
#include "config.h"
#include "hba.h"
#include "log.h"
#include "nodes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

/* Descriptors that are neither clients' nor sessions': listeners, epoll, log. */
#define OWN_DESCRIPTORS	64

static const char *const default_listen[] = {
	"127.0.0.1:36789", "127.0.0.1:36790", "[::1]:36789", "[::1]:36790"
};

/* What is read from options, before anything of it counts. */
typedef struct Setup
{
	Config		config;
	LogLevel	level;
	HbaLine    *hba;
	SSL_CTX    *tls;			/* NULL: no listener has it */
	bool		tls_failed;		/* that is what is wrong */
} Setup;

static Setup current;

/*
 * Lines that have been replaced: connections of their time still have their
 * role by them.
 */
static HbaLine **retired;
static int	nretired;

/* As many descriptors as we may have; how many connections that allows. */
static int
raise_limit(const Config *config)
{
	int			wanted = config->max_connections;
	int			own = OWN_DESCRIPTORS + (1 + config->nnodes) * (config->sessions + DB_MORE_SESSIONS);
	int			most;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return wanted;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		(void) getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= (rlim_t) wanted + (rlim_t) own)
		return wanted;
	most = (int) limit.rlim_cur > own ? (int) limit.rlim_cur - own : 1;
	log_warning("the limit of open files allows %d connections, not %d", most, wanted);
	return most;
}

/* ---------- reading; these return what is wrong, or NULL ---------- */

static char *
read_hba(const Config *config, HbaLine **lines)
{
	char	   *text;
	char	   *problem;
	const HbaLine *open;
	Buf			message = {0};

	if (config->hba == NULL)
	{
		*lines = hba_default();
		return NULL;
	}
	text = config_read_file(config->hba);
	if (text == NULL)
	{
		buf_printf(&message, "could not read \"%s\": %s", config->hba, strerror(errno));
		return buf_string(&message);
	}
	if (!hba_parse(text, lines, &problem))
	{
		*lines = NULL;
		buf_printf(&message, "\"%s\", %s", config->hba, problem);
		free(problem);
	}
	else if (config->ca == NULL && hba_needs_ca(*lines))
		buf_printf(&message, "\"%s\" has the method cert, which needs --ca", config->hba);
	else if (!config->insecure && (open = hba_insecure(*lines)) != NULL)
		buf_printf(&message, "\"%s\" lets others than this machine be role \"%s\" without a proof: use cert or bearer, or start with --insecure",
				   config->hba, open->role);
	free(text);
	return message.len > 0 ? buf_string(&message) : NULL;
}

static char *
read_level(const char *name, LogLevel *level)
{
	static const char *const names[] = {"debug", "info", "warning", "error"};
	Buf			message = {0};

	for (int i = 0; i < 4; i++)
		if (strcmp(name, names[i]) == 0)
		{
			*level = (LogLevel) i;
			return NULL;
		}
	buf_printf(&message, "unknown log level \"%s\": it is debug, info, warning or error", name);
	return buf_string(&message);
}

static bool
is_tls(const char *name)
{
	size_t		len = strlen(name);

	return len > 4 && strcmp(name + len - 4, "/tls") == 0;
}

static char *
read_tls(const Config *config, SSL_CTX **tls)
{
	Buf			message = {0};

	for (int i = 0; i < config->nlisten + config->npage; i++)
	{
		const char *name = i < config->nlisten ? config->listen[i] : config->page[i - config->nlisten];

		if (!is_tls(name) || *tls != NULL)
			continue;
		if (config->certificate == NULL || config->key == NULL)
		{
			buf_printf(&message, "\"%s\" needs --cert and --key", name);
			return buf_string(&message);
		}
		*tls = tls_create(config->certificate, config->key, config->ca);
		if (*tls == NULL)
			return xstrdup("TLS could not be set up");
	}
	return NULL;
}

static char *
read_all(Setup *fresh, int argc, char **argv)
{
	char	   *problem = config_read(&fresh->config, argc, argv);

	if (problem == NULL)
		problem = read_level(fresh->config.log_level, &fresh->level);
	if (problem == NULL)
		problem = read_hba(&fresh->config, &fresh->hba);
	if (problem == NULL)
	{
		problem = read_tls(&fresh->config, &fresh->tls);
		fresh->tls_failed = problem != NULL;
	}
	return problem;
}

/* ---------- what counts from now on ---------- */

static void
configure(Server *server)
{
	ServerConfig *to = &server->config;
	const Config *config = &current.config;

	log_level = current.level;
	to->hba = current.hba;
	to->hosts = (char **) config->hosts;
	to->nhosts = config->nhosts;
	to->max_body = (size_t) config->max_body * 1024;
	to->max_connections = raise_limit(config);
	to->max_per_address = config->max_per_address;
	to->rate = config->rate;
	to->max_in_flight = config->max_in_flight;
	to->max_in_flight_per_address = config->max_in_flight_per_address;
	to->head_time = config->head_time * USEC_PER_SEC;
	to->body_time = config->body_time * USEC_PER_SEC;
	to->idle_time = config->idle_time * USEC_PER_SEC;
	to->max_age = config->max_age * USEC_PER_SEC;
	to->stop_time = config->stop_time * USEC_PER_SEC;
}

static void
database_config(DbConfig *db)
{
	const Config *config = &current.config;

	memset(db, 0, sizeof(*db));
	db->sessions = config->sessions;
	db->batch = config->batch;
	db->queue_time = config->queue_time * INT64_C(1000);
	db->batch_time = config->batch_time * USEC_PER_SEC;
	db->wait_time = config->wait_time * USEC_PER_SEC;
}

static bool
has_listener(const Server *server, const char *name)
{
	for (const Listener *listener = server->listeners; listener != NULL; listener = listener->next)
		if (strcmp(listener->name, name) == 0)
			return true;
	return false;
}

/*
 * What is most likely a mistake in gateway.hba: a listener that lets nobody in,
 * and a line for one that there is not.
 */
static void
check_listeners(const Server *server)
{
	for (const Listener *listener = server->listeners; listener != NULL; listener = listener->next)
	{
		struct sockaddr_storage address = {0};
		socklen_t	len = sizeof(address);

		if (getsockname(listener->watch.fd, (struct sockaddr *) &address, &len) == 0 &&
			!hba_lets_in(current.hba, listener->name, (const struct sockaddr *) &address))
			log_warning(current.config.hba != NULL ?
						"no client can use %s: no line of gateway.hba lets one in" :
						"no client can use %s: without --hba, only clients with a loopback address are let in",
						listener->name);
	}
	for (const HbaLine *line = current.hba; line != NULL; line = line->next)
		if (line->listener != NULL && !has_listener(server, line->listener))
			log_warning("a line of gateway.hba is for %s, on which the gateway does not listen", line->listener);
}

static void
listen_on_all(Server *server)
{
	const Config *config = &current.config;
	int			n = config->nlisten > 0 ? config->nlisten : 4;
	const char *names[MAX_LISTENERS];
	int			good = 0;

	for (int i = 0; i < n; i++)
	{
		const char *name = config->nlisten > 0 ? config->listen[i] : default_listen[i];

		if (server_listen(server, name, is_tls(name) ? current.tls : NULL, server->handler))
			names[good++] = name;
		else if (config->nlisten > 0 || i < 2)
			exit(EXIT_LISTEN);	/* a machine may have no IPv6 */
	}
	for (int i = 0; i < config->npage; i++)
		if (!server_listen(server, config->page[i], is_tls(config->page[i]) ? current.tls : NULL,
						   server->page))
			exit(EXIT_LISTEN);
	/* what is logged from now on is news */
	log_level = current.level;
	for (int i = 0; i < good; i++)
		log_info("listening on %s", names[i]);
	for (int i = 0; i < config->npage; i++)
		log_info("the page for operators is on %s", config->page[i]);
	check_listeners(server);
}

void
setup(Server *server, int argc, char **argv)
{
	DbConfig	db;
	char	   *conninfos[1 + MAX_NODES];
	char	   *problem;
	char	   *variable;

	/* the extension's launcher tries again and again what has been logged */
	log_level = getenv("DTM_GATEWAY_AGAIN") ? LOG_LEVEL_NONE : LOG_LEVEL_INFO;
	problem = read_all(&current, argc, argv);
	if (problem != NULL)
	{
		log_error("%s; try \"dtm-gateway --help\" for more information", problem);
		free(problem);
		exit(current.tls_failed ? EXIT_TLS : EXIT_OPTIONS);
	}
	if (log_level != LOG_LEVEL_NONE)
		log_level = current.level;
	listen_on_all(server);
	variable = config_unknown_variable();
	if (variable != NULL)
		log_warning("there is no option for the variable \"%s\" of the environment", variable);
	free(variable);
	configure(server);
	database_config(&db);
	conninfos[0] = current.config.conninfo;
	memcpy(conninfos + 1, current.config.nodes, sizeof(current.config.nodes));
	server->nodes = nodes_create(server->loop, &db, conninfos, 1 + current.config.nnodes);
}

/* ---------- reload ---------- */

static bool
is_same_list(char *const *a, int na, char *const *b, int nb)
{
	if (na != nb)
		return false;
	for (int i = 0; i < na; i++)
		if (strcmp(a[i], b[i]) != 0)
			return false;
	return true;
}

/* Can't be changed while it runs. */
static bool
needs_restart(const Config *before, const Config *after)
{
	return strcmp(before->conninfo, after->conninfo) != 0 ||
		before->sessions != after->sessions ||
		!is_same_list(before->nodes, before->nnodes, after->nodes, after->nnodes) ||
		!is_same_list(before->listen, before->nlisten, after->listen, after->nlisten) ||
		!is_same_list(before->page, before->npage, after->page, after->npage);
}

static void
discard(Setup *setup)
{
	config_free(&setup->config);
	hba_free(setup->hba);
	SSL_CTX_free(setup->tls);
}

void
setup_reload(Server *server, int argc, char **argv)
{
	Setup		fresh = {0};
	char	   *problem = read_all(&fresh, argc, argv);
	DbConfig	db;

	if (problem != NULL)
	{
		log_error("the configuration stays as it was: %s", problem);
		free(problem);
		discard(&fresh);
		return;
	}
	if (needs_restart(&current.config, &fresh.config))
		log_warning("a change of conninfo, node, sessions, listen or page counts after a restart");
	/* what is still there by it stays */
	retired = xrealloc(retired, sizeof(HbaLine *) * (size_t) (nretired + 1));
	retired[nretired++] = current.hba;
	current.hba = NULL;
	for (Listener *listener = server->listeners; listener != NULL; listener = listener->next)
		if (listener->tls != NULL && fresh.tls != NULL)
			listener->tls = fresh.tls;
	if (fresh.tls == NULL)
	{
		/* its listeners stay until the restart, and so does this */
		fresh.tls = current.tls;
		current.tls = NULL;
	}
	discard(&current);
	current = fresh;
	configure(server);
	database_config(&db);
	nodes_configure(server->nodes, &db);
	log_info("the configuration was read again");
	check_listeners(server);
}
