/*
 * test_transport.c
 *		Functions of libcurl and of the kernel that fail, and responses for which
 *		there is no memory.  If this fails, a call waits for ever or fails without
 *		saying why, responses take all memory, or a coordinator works with a libcurl
 *		that refuses each of its calls.
 *
 * The linker gives us the calls of what is wrapped here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../src/transport/private.h"

/* What shall fail; 0: nothing. */
static int	failing_easy_option;
static int	failing_multi_option;
static int	failing_epoll_op;
static curl_version_info_data *loaded;

extern CURLcode __real_curl_easy_setopt(CURL *easy, CURLoption option, ...);
extern CURLMcode __real_curl_multi_setopt(CURLM *multi, CURLMoption option, ...);
extern int	__real_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event);
extern curl_version_info_data *__real_curl_version_info(CURLversion age);

extern CURLcode __wrap_curl_easy_setopt(CURL *easy, CURLoption option, ...);
extern CURLMcode __wrap_curl_multi_setopt(CURLM *multi, CURLMoption option, ...);
extern int	__wrap_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event);
extern curl_version_info_data *__wrap_curl_version_info(CURLversion age);

CURLcode
__wrap_curl_easy_setopt(CURL *easy, CURLoption option, ...)
{
	va_list		arguments;
	CURLcode	rc;

	if ((int) option == failing_easy_option)
		return CURLE_UNKNOWN_OPTION;
	va_start(arguments, option);
	if (option < CURLOPTTYPE_OBJECTPOINT)
		rc = __real_curl_easy_setopt(easy, option, va_arg(arguments, long));
	else if (option < CURLOPTTYPE_OFF_T)
		rc = __real_curl_easy_setopt(easy, option, va_arg(arguments, void *));
	else
		rc = __real_curl_easy_setopt(easy, option, va_arg(arguments, curl_off_t));
	va_end(arguments);
	return rc;
}

CURLMcode
__wrap_curl_multi_setopt(CURLM *multi, CURLMoption option, ...)
{
	va_list		arguments;
	CURLMcode	rc;

	if ((int) option == failing_multi_option)
		return CURLM_UNKNOWN_OPTION;
	va_start(arguments, option);
	if ((int) option < CURLOPTTYPE_OBJECTPOINT)
		rc = __real_curl_multi_setopt(multi, option, va_arg(arguments, long));
	else
		rc = __real_curl_multi_setopt(multi, option, va_arg(arguments, void *));
	va_end(arguments);
	return rc;
}

int
__wrap_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event)
{
	if (op == failing_epoll_op)
	{
		errno = ENOSPC;
		return -1;
	}
	return __real_epoll_ctl(epoll, op, fd, event);
}

curl_version_info_data *
__wrap_curl_version_info(CURLversion age)
{
	return loaded != NULL ? loaded : __real_curl_version_info(age);
}

static DtmTransport *transport;
static int	listener;
static char url[64];

static int
set_up(void **state)
{
	DtmTransportLimits limits = {.max_requests = 10, .max_requests_per_host = 10,
		.max_reply_size = 1024, .ca_file = ""};
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t	len = sizeof(address);
	char		error[DTM_CALL_ERROR_SIZE];

	(void) state;
	failing_easy_option = failing_multi_option = failing_epoll_op = 0;
	loaded = NULL;
	transport = dtm_transport_create(&limits, error, sizeof(error));
	assert_non_null(transport);
	/* takes connections, and never answers */
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(listener, (struct sockaddr *) &address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 10), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *) &address, &len), 0);
	snprintf(url, sizeof(url), "http://127.0.0.1:%d/", ntohs(address.sin_port));
	return 0;
}

static int
tear_down(void **state)
{
	(void) state;
	failing_epoll_op = 0;
	dtm_transport_destroy(transport);
	close(listener);
	return 0;
}

/* Makes a call that nobody answers, and waits until it has ended. */
static void
call_it(DtmCall *call, int64_t timeout)
{
	memset(call, 0, sizeof(DtmCall));
	call->url = url;
	call->timeout = timeout;
	dtm_transport_submit(transport, call);
	for (;;)
	{
		struct pollfd fd = {.fd = dtm_transport_fd(transport), .events = POLLIN};
		int64_t		due;

		dtm_transport_drive(transport);
		if (dtm_transport_reap(transport) == call)
			return;
		due = dtm_transport_due_in(transport);
		poll(&fd, 1, due < 0 ? -1 : (int) (due / 1000) + 1);
	}
}

/* A call must fail with this, long before its time-out. */
static void
fails_with(const char *error)
{
	DtmCall		call;

	call_it(&call, INT64_C(3600) * 1000000);
	assert_int_equal(call.http_status, 0);
	assert_string_equal(call.error, error);
	dtm_call_release(&call);
}

static void
an_option_that_is_refused_is_named(void **state)
{
	(void) state;
	failing_easy_option = CURLOPT_NOPROXY;	/* of each handle */
	fails_with("could not set CURLOPT_NOPROXY: An unknown option was passed in to libcurl");
	failing_easy_option = CURLOPT_HTTP_VERSION; /* of each call */
	fails_with("could not set CURLOPT_HTTP_VERSION: An unknown option was passed in to libcurl");
}

static void
an_option_of_all_calls_that_is_refused_is_named(void **state)
{
	(void) state;
	failing_multi_option = CURLMOPT_SOCKETDATA;
	fails_with("could not set CURLMOPT_SOCKETDATA: Unknown option");
	failing_multi_option = CURLMOPT_MAX_TOTAL_CONNECTIONS;
	fails_with("could not set CURLMOPT_MAX_TOTAL_CONNECTIONS: Unknown option");
}

static void
a_socket_that_can_not_be_waited_for_ends_its_call(void **state)
{
	(void) state;
	failing_epoll_op = EPOLL_CTL_ADD;
	fails_with("epoll_ctl(EPOLL_CTL_ADD) failed: No space left on device");
	failing_epoll_op = EPOLL_CTL_MOD;
	fails_with("epoll_ctl(EPOLL_CTL_MOD) failed: No space left on device");
}

static void
what_is_of_no_call_is_told_once(void **state)
{
	DtmTransportLimits limits = {.max_requests = 10, .max_requests_per_host = 10,
		.max_reply_size = 1024, .ca_file = ""};
	char		problem[DTM_CALL_ERROR_SIZE];

	DtmCall		call;

	(void) state;
	/* so that there is a multi handle */
	call_it(&call, 1);
	assert_null(dtm_transport_problem(transport, problem));
	dtm_call_release(&call);
	failing_multi_option = CURLMOPT_MAXCONNECTS;
	dtm_transport_set_limits(transport, &limits);
	assert_non_null(dtm_transport_problem(transport, problem));
	assert_string_equal(problem, "could not set CURLMOPT_MAXCONNECTS: Unknown option");
	assert_null(dtm_transport_problem(transport, problem));
}

static void
a_library_that_is_too_old_is_named(void **state)
{
	DtmTransportLimits limits = {.max_requests = 1, .ca_file = ""};
	curl_version_info_data old = *__real_curl_version_info(CURLVERSION_NOW);
	char		error[DTM_CALL_ERROR_SIZE];

	(void) state;
	old.version = "7.63.0";
	old.version_num = LIBCURL_VERSION_NUM - 1;
	loaded = &old;
	assert_null(dtm_transport_create(&limits, error, sizeof(error)));
	assert_string_equal(error, "libcurl 7.63.0 is loaded, but dtm was built with libcurl "
						LIBCURL_VERSION " and needs that or a newer one");
}

static void
connections_of_http2_are_used_again(void **state)
{
	static const struct
	{
		unsigned int version;
		bool		can_reuse;
	}			cases[] = {
		{0x074a00, false}, {0x075801, false}, {0x080000, true}, {0x081701, true}
	};
	curl_version_info_data other = *__real_curl_version_info(CURLVERSION_NOW);

	(void) state;
	loaded = &other;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		other.version_num = cases[i].version;
		assert_int_equal(http2_can_reuse(), cases[i].can_reuse);
	}
}

/* One that hangs aside leaves all places to others. */
static void
calls_aside_take_no_place(void **state)
{
	DtmTransportLimits limits = {.max_requests = 1, .max_requests_per_host = 10,
		.max_reply_size = 1024, .ca_file = ""};
	DtmCall		aside = {.url = url, .timeout = INT64_C(3600) * 1000000, .aside = true};
	DtmCall		call = {.url = url, .timeout = INT64_C(3600) * 1000000};

	(void) state;
	dtm_transport_set_limits(transport, &limits);
	dtm_transport_submit(transport, &aside);
	dtm_transport_drive(transport);
	assert_true(dtm_call_is_in_flight(&aside));
	assert_int_equal(dtm_transport_in_flight(transport), 0);
	dtm_transport_submit(transport, &call);
	dtm_transport_drive(transport);
	assert_true(dtm_call_is_in_flight(&call));
	assert_int_equal(dtm_transport_in_flight(transport), 1);
	dtm_transport_cancel(transport, &call);
	assert_int_equal(dtm_transport_in_flight(transport), 0);
	dtm_transport_cancel(transport, &aside);
	assert_int_equal(dtm_transport_in_flight(transport), 0);
}

/* Its time-out ends it, although it counts nowhere. */
static void
calls_aside_time_out(void **state)
{
	DtmCall		call = {.url = url, .timeout = 1000, .aside = true};

	(void) state;
	dtm_transport_submit(transport, &call);
	dtm_transport_drive(transport);
	while (dtm_transport_reap(transport) != &call)
	{
		struct pollfd fd = {.fd = dtm_transport_fd(transport), .events = POLLIN};
		int64_t		due = dtm_transport_due_in(transport);

		assert_true(due >= 0);
		poll(&fd, 1, (int) (due / 1000) + 1);
		dtm_transport_drive(transport);
	}
	assert_non_null(strstr(call.error, "timed out after "));
	dtm_call_release(&call);
}

/* ---------- the memory for responses ---------- */

#define BODY_SIZE	100000
#define NCALLS		10
#define REPLY_BYTES	(2 * BODY_SIZE)

/* Answers one request; the last byte comes only if the response is to be complete. */
static void
answer(int connection, bool complete)
{
	char		buffer[4096];
	int			len = snprintf(buffer, sizeof(buffer), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BODY_SIZE);
	size_t		left = BODY_SIZE - (complete ? 0 : 1);

	if (write(connection, buffer, (size_t) len) != len)
		_exit(1);
	memset(buffer, 'x', sizeof(buffer));
	while (left > 0)
	{
		ssize_t		n = write(connection, buffer, left < sizeof(buffer) ? left : sizeof(buffer));

		if (n <= 0)
			_exit(1);
		left -= (size_t) n;
	}
	/* until the other side has had enough */
	while (read(connection, buffer, sizeof(buffer)) > 0)
		;
	_exit(0);
}

/* A process for each request. */
static void
start_server(bool complete, pid_t *pids)
{
	for (int i = 0; i < NCALLS; i++)
	{
		char		request[4096];
		int			connection;

		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] > 0)
			continue;
		connection = accept(listener, NULL, NULL);
		if (connection < 0 || read(connection, request, sizeof(request)) <= 0)
			_exit(1);
		answer(connection, complete);
	}
}

static void
stop_server(pid_t *pids)
{
	for (int i = 0; i < NCALLS; i++)
	{
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
}

static void
allow_replies(size_t bytes)
{
	DtmTransportLimits limits = {.max_requests = NCALLS, .max_requests_per_host = NCALLS,
		.max_reply_size = BODY_SIZE, .max_reply_bytes = bytes, .ca_file = ""};

	dtm_transport_set_limits(transport, &limits);
}

/* Makes all calls, and hands those that have ended to "check"; returns the most memory. */
static size_t
call_all(DtmCall *calls, int64_t timeout, void (*check) (const DtmCall *call))
{
	size_t		most = 0;
	int			left = NCALLS;

	memset(calls, 0, sizeof(DtmCall) * NCALLS);
	for (int i = 0; i < NCALLS; i++)
	{
		calls[i].url = url;
		calls[i].timeout = timeout;
		/* all at a time: the last place of a host is not for who has others */
		calls[i].tenant = (uint32_t) i;
		dtm_transport_submit(transport, &calls[i]);
	}
	while (left > 0)
	{
		struct pollfd fd = {.fd = dtm_transport_fd(transport), .events = POLLIN};
		int64_t		due;
		DtmCall    *call;

		dtm_transport_drive(transport);
		if (transport->reply_bytes > most)
			most = transport->reply_bytes;
		while ((call = dtm_transport_reap(transport)) != NULL)
		{
			check(call);
			dtm_call_release(call);
			left--;
		}
		due = dtm_transport_due_in(transport);
		if (left > 0)
			poll(&fd, 1, due < 0 ? -1 : (int) (due / 1000) + 1);
	}
	assert_int_equal(transport->reply_bytes, 0);
	assert_int_equal(transport->npaused, 0);
	assert_null(transport->favored);
	return most;
}

static int	ncrowded;

static void
is_complete(const DtmCall *call)
{
	assert_string_equal(call->error, "");
	assert_int_equal(call->http_status, 200);
	assert_int_equal(call->reply_len, BODY_SIZE);
}

static void
is_timed_out(const DtmCall *call)
{
	assert_int_equal(call->http_status, 0);
	assert_non_null(strstr(call->error, "timed out after "));
	ncrowded += strstr(call->error, "other responses took the memory") != NULL;
}

static void
responses_that_do_not_fit_wait(void **state)
{
	DtmCall		calls[NCALLS];
	pid_t		pids[NCALLS];
	size_t		most;

	(void) state;
	allow_replies(REPLY_BYTES);
	start_server(true, pids);
	/* small buffers, and one more response that goes on whatever there is */
	most = call_all(calls, INT64_C(3600) * 1000000, is_complete);
	assert_true(most >= BODY_SIZE && most <= REPLY_BYTES + NCALLS * 8192 + BODY_SIZE + 1);
	stop_server(pids);
}

static void
one_at_a_time_goes_on_without_memory(void **state)
{
	DtmCall		calls[NCALLS];
	pid_t		pids[NCALLS];
	size_t		most;

	(void) state;
	allow_replies(0);
	start_server(true, pids);
	most = call_all(calls, INT64_C(3600) * 1000000, is_complete);
	assert_true(most >= BODY_SIZE && most <= NCALLS * (8192 + 1) + 2 * (BODY_SIZE + 1));
	stop_server(pids);
}

static void
a_response_that_waits_ends_with_its_time_out(void **state)
{
	DtmCall		calls[NCALLS];
	pid_t		pids[NCALLS];

	(void) state;
	allow_replies(REPLY_BYTES);
	start_server(false, pids);
	ncrowded = 0;
	call_all(calls, 1000000, is_timed_out);
	assert_true(ncrowded >= 1 && ncrowded <= NCALLS - 1);
	stop_server(pids);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_option_that_is_refused_is_named, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_option_of_all_calls_that_is_refused_is_named, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_socket_that_can_not_be_waited_for_ends_its_call, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_is_of_no_call_is_told_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_library_that_is_too_old_is_named, set_up, tear_down),
		cmocka_unit_test_setup_teardown(connections_of_http2_are_used_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(calls_aside_take_no_place, set_up, tear_down),
		cmocka_unit_test_setup_teardown(calls_aside_time_out, set_up, tear_down),
		cmocka_unit_test_setup_teardown(responses_that_do_not_fit_wait, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_at_a_time_goes_on_without_memory, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_response_that_waits_ends_with_its_time_out, set_up, tear_down)
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
