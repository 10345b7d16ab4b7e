/*
 * gateway.c
 *		dtm.gateway = on: the launcher starts the program dtm-gateway, and
 *		watches it.
 *
 * What comes from the network is never parsed in a process that is attached to
 * shared memory.  So the gateway is a program of its own: between fork() and
 * exec() the child touches nothing that it shares with others, and of what it
 * has inherited it keeps standard error and the working directory only.  It
 * ends when the launcher does, by the signal that its parent's death sends: so
 * it ends with the server, however that ends.
 *
 * A program that ends by itself is started again after a pause, which doubles
 * while it keeps doing so.  Why is logged once, not with each attempt.
 */
#include "process/gateway.h"

#include "clock.h"
#include "settings.h"

#include "miscadmin.h"
#include "port.h"
#include "postmaster/postmaster.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/varlena.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Pause before it is started again, in ms. */
#define PAUSE_MIN			1000
#define PAUSE_MAX			60000

/* Once it has run for this long (ms), it counts as having started. */
#define LIVED_LONG			10000

/* Its exit statuses, as gateway/main.c has them. */
#define EXIT_OPTIONS		2
#define EXIT_LISTEN			3
#define EXIT_TLS			4

/* No status of waitpid(): it could not be executed. */
#define STATUS_NO_PROGRAM	(-1)
#define STATUS_NONE			(-2)

typedef struct Gateway
{
	pid_t		pid;			/* 0: does not run */
	bool		stopping;		/* it was told to */
	char	   *settings;		/* with which it was started */
	int64		started;		/* clock_monotonic(), as the next */
	int64		not_before;		/* of the next start */
	int			pause;			/* ms; 0: after a reload, or a good start */
	int			status;			/* which was logged last, and is not again */
} Gateway;

static Gateway gateway = {.status = STATUS_NONE};

static void
child_ended(SIGNAL_ARGS)
{
	int			save_errno = errno;

	SetLatch(MyLatch);
	errno = save_errno;
}

void
gateway_init(void)
{
	pqsignal(SIGCHLD, child_ended);
}

/* ---------- what it is started with ---------- */

/* All that it is started with as one string, to see what has changed. */
static char *
settings_now(void)
{
	return psprintf("%s\n%s\n%s", dtm_gateway_path, dtm_gateway_config,
					dtm_gateway_database);
}

/* The directory of this server's socket; it has none: this machine. */
static char *
socket_directory(void)
{
	char	   *directories = pstrdup(Unix_socket_directories);
	List	   *list;

	if (SplitDirectoriesString(directories, ',', &list) && list != NIL)
		return (char *) linitial(list);
	return "localhost";
}

/*
 * Its environment is this and nothing else.  Where to connect to is libpq's
 * business, so that a conninfo in its file comes before it.
 */
static char **
make_environment(void)
{
	char	  **environment = palloc0(sizeof(char *) * 8);
	const char *path = getenv("PATH");
	int			n = 0;

	environment[n++] = psprintf("PATH=%s", path ? path : "/usr/local/bin:/usr/bin:/bin");
	environment[n++] = psprintf("PGHOST=%s", socket_directory());
	environment[n++] = psprintf("PGPORT=%d", PostPortNumber);
	environment[n++] = "PGUSER=dtm_gateway";
	environment[n++] = psprintf("PGDATABASE=%s", dtm_gateway_database);
	if (gateway.status != STATUS_NONE)
		environment[n++] = "DTM_GATEWAY_AGAIN=1";
	return environment;
}

static char **
make_arguments(void)
{
	char	  **arguments = palloc0(sizeof(char *) * 3);

	arguments[0] = "dtm-gateway";
	if (dtm_gateway_config[0] != '\0')
		arguments[1] = psprintf("--config=%s%s%s",
								is_absolute_path(dtm_gateway_config) ? "" : DataDir,
								is_absolute_path(dtm_gateway_config) ? "" : "/",
								dtm_gateway_config);
	return arguments;
}

/* A name without a folder is looked for beside the server's program first. */
static char *
find_program(void)
{
	char		folder[MAXPGPATH];
	char	   *program;

	if (strchr(dtm_gateway_path, '/') != NULL)
		return pstrdup(dtm_gateway_path);
	strlcpy(folder, my_exec_path, sizeof(folder));
	get_parent_directory(folder);
	program = psprintf("%s/%s", folder, dtm_gateway_path);
	return access(program, X_OK) == 0 ? program : pstrdup(dtm_gateway_path);
}

/* ---------- start ---------- */

/* All but the first three descriptors are closed by exec(). */
static void
close_descriptors(void)
{
	bool		done = false;
	int			null = open("/dev/null", O_RDWR);

	if (null >= 0)
	{
		(void) dup2(null, STDIN_FILENO);
		(void) dup2(null, STDOUT_FILENO);
	}
#ifdef SYS_close_range
	/* CLOSE_RANGE_CLOEXEC, which is younger than the call */
	done = syscall(SYS_close_range, 3, ~0U, 1U << 2) == 0;
#endif
	if (!done)
		for (int fd = 3; fd < (int) sysconf(_SC_OPEN_MAX); fd++)
			(void) fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/*
 * The child.  All signals are blocked, since handlers of ours would set the
 * latch of the launcher.  Only what is safe after fork() is called, and nothing
 * that would run at exit.
 */
static void
execute(const char *program, char **arguments, char **environment, pid_t parent, int report)
{
	sigset_t	none;
	int			code;

	/* a group of its own: signals for the launcher's are not for it */
	(void) setsid();
	for (int signo = 1; signo < NSIG; signo++)
		(void) signal(signo, SIG_DFL);
	/* it may be told to reload before it knows what that is */
	(void) signal(SIGHUP, SIG_IGN);
	(void) prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	(void) prctl(PR_SET_PDEATHSIG, SIGTERM);
	/* 1. the parent died before that: then nobody sends the signal */
	if (getppid() != parent)
		_exit(0);
	close_descriptors();
	(void) sigemptyset(&none);
	(void) sigprocmask(SIG_SETMASK, &none, NULL);
	(void) execvpe(program, arguments, environment);
	code = errno;
	(void) !write(report, &code, sizeof(code));
	_exit(127);
}

/* Forks and executes; returns 0, or errno. */
static int
spawn(const char *program, char **arguments, char **environment)
{
	pid_t		parent = getpid();
	pid_t		pid;
	sigset_t	all;
	sigset_t	before;
	int			report[2];
	int			code = 0;
	ssize_t		n;

	if (pipe2(report, O_CLOEXEC) != 0)
		return errno;
	(void) sigfillset(&all);
	(void) sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0)
		execute(program, arguments, environment, parent, report[1]);
	code = pid < 0 ? errno : 0;
	(void) sigprocmask(SIG_SETMASK, &before, NULL);
	(void) close(report[1]);
	if (pid > 0)
	{
		/* the end of the pipe says that exec() has succeeded */
		do
			n = read(report[0], &code, sizeof(code));
		while (n < 0 && errno == EINTR);
		if (n <= 0)
		{
			code = 0;
			gateway.pid = pid;
		}
		else
			(void) waitpid(pid, NULL, 0);
	}
	(void) close(report[0]);
	return code;
}

static void
fall_back(int status)
{
	gateway.status = status;
	gateway.pause = gateway.pause == 0 ? PAUSE_MIN : Min(gateway.pause * 2, PAUSE_MAX);
	gateway.not_before = clock_monotonic() + gateway.pause * INT64CONST(1000);
}

static void
start(void)
{
	char	   *program = find_program();
	int			code;

	if (gateway.settings != NULL)
		pfree(gateway.settings);
	gateway.settings = MemoryContextStrdup(TopMemoryContext, settings_now());
	gateway.started = clock_monotonic();
	gateway.stopping = false;
	code = spawn(program, make_arguments(), make_environment());
	if (code == 0)
	{
		ereport(gateway.status == STATUS_NONE ? LOG : DEBUG1,
				(errmsg("started dtm-gateway, process %d", (int) gateway.pid)));
		return;
	}
	errno = code;
	if (gateway.status != STATUS_NO_PROGRAM)
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not execute \"%s\": %m", program),
				 errhint("Install dtm-gateway, and set dtm.gateway_path to its path. The server keeps trying to start dtm-gateway; this is logged once.")));
	fall_back(STATUS_NO_PROGRAM);
}

/* ---------- end ---------- */

static const char *
hint_of(int status)
{
	if (!WIFEXITED(status))
		return "The server starts it again.";
	switch (WEXITSTATUS(status))
	{
		case EXIT_OPTIONS:
			return "Correct the file that dtm.gateway_config names. The log says what is wrong, before this line.";
		case EXIT_LISTEN:
			return "Another program may use the address, or this machine may not have it. The server keeps trying to start dtm-gateway; this is logged once.";
		case EXIT_TLS:
			return "Correct the files of the certificate and its key. The server keeps trying to start dtm-gateway; this is logged once.";
		default:
			return "The log says why, before this line. The server keeps trying to start dtm-gateway; this is logged once.";
	}
}

static void
take_status(int status)
{
	int64		now = clock_monotonic();
	bool		lived = now - gateway.started > LIVED_LONG * INT64CONST(1000);
	char	   *text;

	gateway.pid = 0;
	if (gateway.stopping)
	{
		ereport(LOG, (errmsg("dtm-gateway has stopped")));
		gateway.status = STATUS_NONE;
		gateway.pause = 0;
		gateway.not_before = 0;
		return;
	}
	if (lived)
		gateway.pause = 0;
	if (lived || status != gateway.status)
	{
		text = wait_result_to_str(status);

		ereport(LOG,
				(errmsg("dtm-gateway has ended: %s", text),
				 errhint("%s", hint_of(status))));
		pfree(text);
	}
	fall_back(status);
}

/* ---------- the launcher's ---------- */

void
gateway_reload(void)
{
	/* whatever was wrong may be mended, and is logged if it is not */
	gateway.status = STATUS_NONE;
	gateway.pause = 0;
	gateway.not_before = 0;
	if (gateway.pid != 0 && !gateway.stopping)
		(void) kill(gateway.pid, SIGHUP);
}

/* It is told to stop once: a second signal would cut off what it still answers. */
static void
stop(void)
{
	if (gateway.stopping)
		return;
	gateway.stopping = true;
	(void) kill(gateway.pid, SIGTERM);
}

long
gateway_look_after(void)
{
	int			status;
	int64		now;

	if (gateway.pid != 0 && waitpid(gateway.pid, &status, WNOHANG) == gateway.pid)
		take_status(status);
	if (gateway.pid != 0)
	{
		if (!dtm_gateway || strcmp(gateway.settings, settings_now()) != 0)
			stop();
		return -1;
	}
	if (!dtm_gateway)
		return -1;
	now = clock_monotonic();
	if (now >= gateway.not_before)
		start();
	if (gateway.pid != 0)
		return -1;
	return (long) Max((gateway.not_before - clock_monotonic() + 999) / 1000, 0);
}
