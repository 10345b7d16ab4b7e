/*
 * main.c
 *		dtm-gateway: how its parts are joined, and signals.
 */
#include "api.h"
#include "log.h"
#include "loop.h"
#include "nodes.h"
#include "page.h"
#include "server.h"
#include "setup.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Between two looks at time limits, in ms. */
#define TICK			1000
#define BUSY_TICK		100

static Loop loop;
static Server server;
static int64_t stop_until;		/* Loop.now; 0: not stopping */
static int	argument_count;
static char **arguments;

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
		if (info.ssi_signo == SIGHUP)
		{
			setup_reload(&server, argument_count, arguments);
			continue;
		}
		if (stop_until != 0)
			_exit(1);			/* asked twice: at once */
		log_info("stopping");
		notify("STOPPING=1");
		stop_until = loop.now + server.config.stop_time;
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
	(void) sigaddset(&set, SIGHUP);
	(void) sigprocmask(SIG_BLOCK, &set, NULL);
	/* whoever has started us may have ignored it until now */
	(void) signal(SIGHUP, SIG_DFL);
	loop_watch(&loop, &watch, signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC), EPOLLIN);
}

/* Until the next time limit may be over, in ms. */
static int
timeout(void)
{
	int			ms = nodes_timeout(server.nodes);

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
			nodes_tick(server.nodes);
			server_tick(&server);
		}
		nodes_flush(server.nodes);
		server_flush(&server);
	}
}

int
main(int argc, char **argv)
{
	argument_count = argc;
	arguments = argv;
	loop_init(&loop);
	server.loop = &loop;
	server.handler = &api_handler;
	server.page = &page_handler;
	watch_signals();
	setup(&server, argc, argv);
	notify("READY=1");
	run();
	if (!server_is_done(&server))
		log_warning("requests were cut off: they took longer than --stop-time");
	log_info("stopped");
	/* what exit() frees may be what a thread uses that still connects */
	if (db_is_connecting())
		_exit(0);
	return 0;
}
