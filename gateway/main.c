/*
 * main.c
 *		dtm-gateway: how its parts are joined, and signals.
 */
#include "api.h"
#include "buf.h"
#include "config.h"
#include "db.h"
#include "hba.h"
#include "log.h"
#include "loop.h"
#include "server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Descriptors that are not clients': sessions, epoll, log. */
#define OWN_DESCRIPTORS	64

/* Between two looks at time limits, in ms. */
#define TICK			1000
#define BUSY_TICK		100

static const char *const default_listen[] = {
	"127.0.0.1:36789", "127.0.0.1:36790", "[::1]:36789", "[::1]:36790"
};

static Loop loop;
static Server server;
static int64_t stop_until;		/* Loop.now; 0: not stopping */
static int	stop_time;			/* s */

/* systemd wants to be told that we are ready, or stopping. */
static void
notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int			fd;

	if (path == NULL || strlen(path) >= sizeof(address.sun_path))
		return;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	memcpy(address.sun_path, path, strlen(path) + 1);
	/* an abstract one is written with @ */
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	(void) sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *) &address,
				  (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(path)));
	(void) close(fd);
}

static void
signal_ready(Watch *watch, uint32_t events)
{
	struct signalfd_siginfo info;

	(void) events;
	while (read(watch->fd, &info, sizeof(info)) == sizeof(info))
	{
		if (stop_until != 0)
			exit(1);			/* asked twice: at once */
		log_info("stopping");
		notify("STOPPING=1");
		stop_until = loop.now + stop_time * USEC_PER_SEC;
		if (stop_until == 0)
			stop_until = 1;
		server_stop(&server);
	}
}

static void
watch_signals(void)
{
	static Watch watch = {.fd = -1, .ready = signal_ready};
	sigset_t	set;

	(void) signal(SIGPIPE, SIG_IGN);
	(void) sigemptyset(&set);
	(void) sigaddset(&set, SIGINT);
	(void) sigaddset(&set, SIGTERM);
	(void) sigprocmask(SIG_BLOCK, &set, NULL);
	loop_watch(&loop, &watch, signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC), EPOLLIN);
}

/* As many descriptors as we may have; how many connections that allows. */
static int
raise_limit(int wanted)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return wanted;
	limit.rlim_cur = limit.rlim_max;
	(void) setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= (rlim_t) wanted + OWN_DESCRIPTORS)
		return wanted;
	log_warning("the limit of open files allows %d connections, not %d",
				(int) limit.rlim_cur - OWN_DESCRIPTORS, wanted);
	return (int) limit.rlim_cur - OWN_DESCRIPTORS;
}

static HbaLine *
read_hba(const Config *config)
{
	HbaLine    *lines;
	char	   *text;
	char	   *problem;
	const HbaLine *open;

	if (config->hba == NULL)
		return hba_default();
	text = config_read_file(config->hba);
	if (text == NULL)
	{
		log_error("could not read \"%s\": %s", config->hba, strerror(errno));
		exit(1);
	}
	if (!hba_parse(text, &lines, &problem))
	{
		log_error("\"%s\", %s", config->hba, problem);
		exit(1);
	}
	free(text);
	open = hba_insecure(lines);
	if (open != NULL && !config->insecure)
	{
		log_error("\"%s\" lets others than this machine be role \"%s\" without a proof: use cert or bearer, or start with --insecure",
				  config->hba, open->role);
		exit(1);
	}
	return lines;
}

static LogLevel
level_of(const char *name)
{
	static const char *const names[] = {"debug", "info", "warning", "error"};

	for (int i = 0; i < 4; i++)
		if (strcmp(name, names[i]) == 0)
			return (LogLevel) i;
	log_error("unknown log level \"%s\": it is debug, info, warning or error", name);
	exit(2);
}

static bool
is_tls(const char *name)
{
	size_t		len = strlen(name);

	return len > 4 && strcmp(name + len - 4, "/tls") == 0;
}

static void
listen_on_all(const Config *config)
{
	SSL_CTX    *tls = NULL;
	int			n = config->nlisten > 0 ? config->nlisten : 4;
	int			good = 0;

	for (int i = 0; i < config->nlisten; i++)
	{
		if (!is_tls(config->listen[i]) || tls != NULL)
			continue;
		if (config->certificate == NULL || config->key == NULL)
		{
			log_error("\"%s\" needs --cert and --key", config->listen[i]);
			exit(1);
		}
		tls = tls_create(config->certificate, config->key, config->ca);
		if (tls == NULL)
			exit(1);
	}
	for (int i = 0; i < n; i++)
	{
		const char *name = config->nlisten > 0 ? config->listen[i] : default_listen[i];

		if (server_listen(&server, name, is_tls(name) ? tls : NULL))
		{
			log_info("listening on %s", name);
			good++;
		}
		else if (config->nlisten > 0 || i < 2)
			exit(1);			/* a machine may have no IPv6 */
	}
	if (good == 0)
		exit(1);
}

static void
configure(const Config *config)
{
	ServerConfig *to = &server.config;

	to->hba = read_hba(config);
	to->hosts = (char **) config->hosts;
	to->nhosts = config->nhosts;
	to->max_body = (size_t) config->max_body * 1024;
	to->max_connections = raise_limit(config->max_connections);
	to->max_per_address = config->max_per_address;
	to->rate = config->rate;
	to->head_time = config->head_time * USEC_PER_SEC;
	to->body_time = config->body_time * USEC_PER_SEC;
	to->idle_time = config->idle_time * USEC_PER_SEC;
	to->max_age = config->max_age * USEC_PER_SEC;
	stop_time = config->stop_time;
}

/* Until the next time limit may be over, in ms. */
static int
timeout(void)
{
	int			ms = db_timeout(server.db);

	if (server.exchanges != NULL || stop_until != 0)
		return BUSY_TICK;
	if (ms < 0 && server.conns != NULL)
		ms = TICK;
	return ms;
}

static void
run(void)
{
	int64_t		ticked = loop.now;

	while (stop_until == 0 || (!server_is_done(&server) && loop.now < stop_until))
	{
		loop_turn(&loop, timeout());
		if (loop.now - ticked >= BUSY_TICK * 1000)
		{
			ticked = loop.now;
			db_tick(server.db);
			server_tick(&server);
		}
		db_flush(server.db);
		server_flush(&server);
	}
}

int
main(int argc, char **argv)
{
	static Config config;
	DbConfig	db;

	config_read(&config, argc, argv);
	log_level = level_of(config.log_level);
	configure(&config);
	loop_init(&loop);
	server.loop = &loop;
	server.handler = &api_handler;
	watch_signals();
	db.conninfo = config.conninfo;
	db.sessions = config.sessions;
	db.batch = config.batch;
	db.queue_time = config.queue_time * INT64_C(1000);
	db.batch_time = config.batch_time * USEC_PER_SEC;
	db.wait_time = config.wait_time * USEC_PER_SEC;
	server.db = db_create(&loop, &db);
	listen_on_all(&config);
	notify("READY=1");
	run();
	if (!server_is_done(&server))
		log_warning("requests were cut off: they took longer than --stop-time");
	log_info("stopped");
	return 0;
}
