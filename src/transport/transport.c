/*
 * transport.c
 *		Many HTTP calls at a time through libcurl's multi interface.
 *
 * libcurl tells us through callbacks which sockets it waits for; they are
 * kept in one epoll descriptor, which the owner can wait on together with its
 * own.  The callbacks only note things down: they run inside libcurl, which
 * no error may jump out of.
 *
 * libcurl resolves names in threads of its own.  A thread of a PostgreSQL
 * process must not be given its signals, so all are blocked while libcurl
 * may start one.
 */
#include "private.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* Sockets looked at in one go. */
#define EVENTS_PER_DRIVE	256

/* Descriptors left to the rest of the process. */
#define RESERVED_FILES		128

/* Those that a call may need: its socket, and a pair while its name is resolved. */
#define FILES_PER_REQUEST	3

#define Max(a, b)			((a) > (b) ? (a) : (b))

/* First size of the buffer of a reply, in bytes; most replies fit. */
#define REPLY_BUFFER_SIZE	512

/* "Expect:" without a value: no round trip before a large body. */
const char *const dtm_default_headers[DTM_NDEFAULT_HEADERS] = {
	"Content-Type: application/json",
	"Accept: application/json",
	"Expect:"
};

static int64_t
clock_us(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* ---------- libcurl's callbacks ---------- */

static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
	DtmTransport *t = arg;
	struct epoll_event event = {.data.fd = fd};

	(void) easy;
	if (what == CURL_POLL_REMOVE)
	{
		epoll_ctl(t->epoll, EPOLL_CTL_DEL, fd, &event);
		return 0;
	}
	if (what & CURL_POLL_IN)
		event.events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		event.events |= EPOLLOUT;
	if (known == NULL)
	{
		if (epoll_ctl(t->epoll, EPOLL_CTL_ADD, fd, &event) == 0)
			curl_multi_assign(t->multi, fd, t);
		else if (errno == EEXIST)
			epoll_ctl(t->epoll, EPOLL_CTL_MOD, fd, &event);
	}
	else if (epoll_ctl(t->epoll, EPOLL_CTL_MOD, fd, &event) != 0 &&
			 errno == ENOENT)
		epoll_ctl(t->epoll, EPOLL_CTL_ADD, fd, &event);
	return 0;
}

static int
on_timer(CURLM *multi, long timeout_ms, void *arg)
{
	DtmTransport *t = arg;

	(void) multi;
	t->deadline = timeout_ms < 0 ? -1 :
		clock_us(CLOCK_MONOTONIC) + (int64_t) timeout_ms * 1000;
	return 0;
}

static size_t
on_reply(char *data, size_t size, size_t nmemb, void *arg)
{
	DtmSlot    *slot = arg;
	DtmCall    *call = slot->call;
	size_t		len = size * nmemb;

	if (call->reply_len + len > slot->transport->limits.max_reply_size)
	{
		slot->too_long = true;
		return 0;				/* ends the transfer */
	}
	if (call->reply_len + len + 1 > slot->reply_size)
	{
		size_t		new_size = slot->reply_size ? slot->reply_size : REPLY_BUFFER_SIZE;
		char	   *reply;

		while (new_size < call->reply_len + len + 1)
			new_size *= 2;
		reply = realloc(call->reply, new_size);
		if (reply == NULL)
			return 0;
		call->reply = reply;
		slot->reply_size = new_size;
	}
	memcpy(call->reply + call->reply_len, data, len);
	call->reply_len += len;
	call->reply[call->reply_len] = '\0';
	return len;
}

/* ---------- handles ---------- */

/* Options that are the same for every call. */
static bool
prepare_handle(DtmSlot *slot)
{
	CURL	   *easy = slot->easy;
	CURLcode	rc = CURLE_OK;

#define SETOPT(option, value) \
	do { \
		if (rc == CURLE_OK) \
			rc = curl_easy_setopt(easy, option, value); \
	} while (0)

	SETOPT(CURLOPT_NOSIGNAL, 1L);
	SETOPT(CURLOPT_PRIVATE, slot);
	SETOPT(CURLOPT_ERRORBUFFER, slot->error);
	SETOPT(CURLOPT_WRITEFUNCTION, on_reply);
	SETOPT(CURLOPT_WRITEDATA, slot);
	SETOPT(CURLOPT_FOLLOWLOCATION, 0L);
	SETOPT(CURLOPT_SSL_VERIFYPEER, 1L);
	SETOPT(CURLOPT_SSL_VERIFYHOST, 2L);
	SETOPT(CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
	SETOPT(CURLOPT_USERAGENT, "dtm-postgresql");
	/* the server's environment must not decide where calls go */
	SETOPT(CURLOPT_PROXY, "");
#if LIBCURL_VERSION_NUM >= 0x075500
	SETOPT(CURLOPT_PROTOCOLS_STR, "http,https");
#else
	SETOPT(CURLOPT_PROTOCOLS, (long) (CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
	/* a look-up that hangs is left behind, not waited for */
	SETOPT(CURLOPT_QUICK_EXIT, 1L);
#endif
#undef SETOPT
	return rc == CURLE_OK;
}

static DtmSlot *
slot_get(DtmTransport *t)
{
	DtmSlot    *slot = t->free_slots;

	if (slot != NULL)
	{
		t->free_slots = slot->next;
		return slot;
	}
	slot = calloc(1, sizeof(DtmSlot));
	if (slot == NULL)
		return NULL;
	slot->transport = t;
	slot->easy = curl_easy_init();
	if (slot->easy == NULL || !prepare_handle(slot))
	{
		curl_easy_cleanup(slot->easy);
		free(slot);
		return NULL;
	}
	slot->next_of_all = t->all_slots;
	t->all_slots = slot;
	return slot;
}

static void
slot_put(DtmTransport *t, DtmSlot *slot)
{
	curl_slist_free_all(slot->headers);
	slot->headers = NULL;
	slot->call = NULL;
	slot->next = t->free_slots;
	t->free_slots = slot;
}

static void
append_done(DtmTransport *t, DtmCall *call)
{
	call->next = NULL;
	if (t->last_done)
		t->last_done->next = call;
	else
		t->done = call;
	t->last_done = call;
}

/* Options of one call.  False: out of memory, or a URL curl can't take. */
static bool
prepare_call(DtmTransport *t, DtmSlot *slot, DtmCall *call)
{
	CURL	   *easy = slot->easy;
	struct curl_slist *headers = t->default_headers;
	CURLcode	rc;

	for (int i = 0; i < call->nheaders; i++)
	{
		struct curl_slist *list = curl_slist_append(slot->headers,
													call->headers[i]);

		if (list == NULL)
			return false;
		slot->headers = list;
		headers = list;
	}
	rc = curl_easy_setopt(easy, CURLOPT_URL, call->url);
	if (rc == CURLE_OK && call->post)
	{
		rc = curl_easy_setopt(easy, CURLOPT_POST, 1L);
		if (rc == CURLE_OK)
			rc = curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
								  (curl_off_t) call->body_len);
		if (rc == CURLE_OK)
			rc = curl_easy_setopt(easy, CURLOPT_POSTFIELDS,
								  call->body ? call->body : "");
	}
	else if (rc == CURLE_OK)
		rc = curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
	if (rc == CURLE_OK)
		rc = curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	if (rc != CURLE_OK)
		snprintf(call->error, sizeof(call->error), "could not prepare request: %s",
				 curl_easy_strerror(rc));
	return rc == CURLE_OK;
}

/* A call that can't even be started has ended. */
static void
fail_to_start(DtmTransport *t, DtmCall *call)
{
	DtmHost    *host = call->host;

	if (call->error[0] == '\0')
		snprintf(call->error, sizeof(call->error),
				 "could not prepare request: out of memory");
	call->host = NULL;
	append_done(t, call);
	host_release(t, host);
}

static void
start(DtmTransport *t, DtmCall *call)
{
	DtmSlot    *slot = slot_get(t);

	call->started = clock_us(CLOCK_REALTIME);
	if (slot == NULL)
	{
		fail_to_start(t, call);
		return;
	}
	slot->call = call;
	slot->too_long = false;
	slot->reply_size = 0;
	slot->error[0] = '\0';
	slot->started = clock_us(CLOCK_MONOTONIC);
	slot->expires = slot->started + call->timeout;
	if (slot->expires < t->next_expiry)
		t->next_expiry = slot->expires;
	if (!prepare_call(t, slot, call) ||
		curl_multi_add_handle(t->multi, slot->easy) != CURLM_OK)
	{
		slot_put(t, slot);
		fail_to_start(t, call);
		return;
	}
	call->slot = slot;
	call->host->in_flight++;
	t->in_flight++;
}

/* Starts waiting calls, host by host in turn, as far as the limits allow. */
static void
start_waiting(DtmTransport *t)
{
	DtmHost    *host = t->waiting_hosts;
	int			full = 0;		/* hosts in a row that can take no more */
	int			nhosts = 0;

	if (host == NULL || t->in_flight >= t->max_requests)
		return;
	do
	{
		nhosts++;
		host = host->next;
	} while (host != t->waiting_hosts);

	while (t->waiting_hosts != NULL && t->in_flight < t->max_requests &&
		   full < nhosts)
	{
		host = t->waiting_hosts;
		t->waiting_hosts = host->next;
		if (host->in_flight >= t->limits.max_requests_per_host)
		{
			full++;
			continue;
		}
		full = 0;
		start(t, host_take_first(t, host));
	}
}

static void
leave_host(DtmTransport *t, DtmCall *call)
{
	DtmHost    *host = call->host;

	call->host = NULL;
	host->in_flight--;
	t->in_flight--;
	host_release(t, host);
}

static void
finish(DtmTransport *t, DtmSlot *slot, CURLcode rc)
{
	DtmCall    *call = slot->call;
	long		status = 0;

	call->duration = clock_us(CLOCK_MONOTONIC) - slot->started;
	if (rc == CURLE_OK)
	{
		curl_easy_getinfo(slot->easy, CURLINFO_RESPONSE_CODE, &status);
		call->http_status = (int) status;
	}
	else if (slot->too_long &&
			 curl_easy_getinfo(slot->easy, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK &&
			 (status == 409 || status == 425))
		call->http_status = (int) status;	/* says enough by itself */
	else if (slot->too_long)
		snprintf(call->error, sizeof(call->error),
				 "reply is longer than %zu bytes", t->limits.max_reply_size);
	else
		snprintf(call->error, sizeof(call->error), "%s",
				 slot->error[0] ? slot->error : curl_easy_strerror(rc));
	curl_multi_remove_handle(t->multi, slot->easy);
	call->slot = NULL;
	slot_put(t, slot);
	leave_host(t, call);
	append_done(t, call);
}

/* ---------- signals ---------- */

static void
block_signals(sigset_t *before)
{
	sigset_t	all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, before);
}

static void
restore_signals(const sigset_t *before)
{
	pthread_sigmask(SIG_SETMASK, before, NULL);
}

/* ---------- the interface ---------- */

/* As many calls as descriptors can be had for, "wanted" at most. */
static int
files_allow(int wanted)
{
	struct rlimit limit;
	rlim_t		need = (rlim_t) wanted * FILES_PER_REQUEST + RESERVED_FILES;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
		return wanted;
	if (limit.rlim_cur < need)
	{
		rlim_t		soft = limit.rlim_cur;

		limit.rlim_cur = limit.rlim_max == RLIM_INFINITY ||
			limit.rlim_max > need ? need : limit.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
			limit.rlim_cur = soft;
	}
	if (limit.rlim_cur >= need)
		return wanted;
	return limit.rlim_cur > RESERVED_FILES ?
		(int) Max((limit.rlim_cur - RESERVED_FILES) / FILES_PER_REQUEST, 1) : 1;
}

/* The headers of a call that brings none of its own. */
static struct curl_slist *
make_default_headers(void)
{
	struct curl_slist *headers = NULL;

	for (int i = 0; i < DTM_NDEFAULT_HEADERS; i++)
	{
		struct curl_slist *longer = curl_slist_append(headers,
													  dtm_default_headers[i]);

		if (longer == NULL)
		{
			curl_slist_free_all(headers);
			return NULL;
		}
		headers = longer;
	}
	return headers;
}

DtmTransport *
dtm_transport_create(const DtmTransportLimits *limits, char *error,
					 size_t error_size)
{
	static bool initialized = false;
	DtmTransport *t;
	sigset_t	before;

	block_signals(&before);
	if (!initialized && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
	{
		restore_signals(&before);
		snprintf(error, error_size, "could not initialize libcurl");
		return NULL;
	}
	initialized = true;
	restore_signals(&before);

	if (!(curl_version_info(CURLVERSION_NOW)->features & CURL_VERSION_ASYNCHDNS))
	{
		snprintf(error, error_size,
				 "libcurl was built without asynchronous name resolution");
		return NULL;
	}

	t = calloc(1, sizeof(DtmTransport));
	if (t == NULL)
	{
		snprintf(error, error_size, "out of memory");
		return NULL;
	}
	t->deadline = -1;
	t->next_expiry = INT64_MAX;
	t->epoll = epoll_create1(EPOLL_CLOEXEC);
	t->multi = curl_multi_init();
	t->default_headers = make_default_headers();
	if (t->epoll < 0 || t->multi == NULL || t->default_headers == NULL)
	{
		snprintf(error, error_size, "could not create a multiplexer: %s",
				 strerror(errno));
		dtm_transport_destroy(t);
		return NULL;
	}
	curl_multi_setopt(t->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(t->multi, CURLMOPT_SOCKETDATA, t);
	curl_multi_setopt(t->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(t->multi, CURLMOPT_TIMERDATA, t);
	dtm_transport_set_limits(t, limits);
	return t;
}

void
dtm_transport_set_limits(DtmTransport *t, const DtmTransportLimits *limits)
{
	t->limits = *limits;
	t->max_requests = files_allow(limits->max_requests);
	/*
	 * Connections, with those that are kept for the next call: the oldest
	 * idle one makes room for a new one.  There are never more calls than
	 * that, so none waits inside libcurl.
	 */
	curl_multi_setopt(t->multi, CURLMOPT_MAXCONNECTS, (long) t->max_requests);
	curl_multi_setopt(t->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS,
					  (long) t->max_requests);
}

int
dtm_transport_max_requests(const DtmTransport *t)
{
	return t->max_requests;
}

void
dtm_transport_submit(DtmTransport *t, DtmCall *call)
{
	DtmHost    *host = host_of(t, call->url);

	call->next = NULL;
	call->slot = NULL;
	call->http_status = 0;
	call->reply = NULL;
	call->reply_len = 0;
	call->error[0] = '\0';
	call->started = 0;
	call->duration = 0;
	call->host = host;
	if (host == NULL)
	{
		snprintf(call->error, sizeof(call->error), "out of memory");
		append_done(t, call);
		return;
	}
	host_append(t, host, call);
}

void
dtm_transport_cancel(DtmTransport *t, DtmCall *call)
{
	sigset_t	before;

	if (call->slot != NULL)
	{
		DtmSlot    *slot = call->slot;

		block_signals(&before);
		curl_multi_remove_handle(t->multi, slot->easy);
		restore_signals(&before);
		slot_put(t, slot);
		call->slot = NULL;
		leave_host(t, call);
	}
	else if (call->host != NULL)
	{
		DtmHost    *host = call->host;

		host_remove(t, host, call);
		call->host = NULL;
		host_release(t, host);
	}
	else
	{
		/* ended already */
		DtmCall   **link = &t->done;
		DtmCall    *previous = NULL;

		while (*link != NULL && *link != call)
		{
			previous = *link;
			link = &previous->next;
		}
		if (*link == call)
		{
			*link = call->next;
			if (t->last_done == call)
				t->last_done = previous;
		}
	}
	call->next = NULL;
	dtm_call_release(call);
}

int
dtm_transport_fd(const DtmTransport *t)
{
	return t->epoll;
}

int64_t
dtm_transport_due_in(const DtmTransport *t)
{
	int64_t		due;
	int64_t		left;

	if (t->done != NULL)
		return 0;
	due = t->in_flight > 0 ? t->next_expiry : INT64_MAX;
	if (t->deadline >= 0 && t->deadline < due)
		due = t->deadline;
	if (due == INT64_MAX)
		return -1;
	left = due - clock_us(CLOCK_MONOTONIC);
	return left > 0 ? left : 0;
}

static void
reap_multi(DtmTransport *t)
{
	CURLMsg    *msg;
	int			left;

	while ((msg = curl_multi_info_read(t->multi, &left)) != NULL)
	{
		char	   *private;
		CURLcode	rc = msg->data.result;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &private);
		finish(t, (DtmSlot *) private, rc);
	}
}

/* Lets libcurl see to the sockets that are ready; false: there may be more. */
static bool
drive_sockets(DtmTransport *t)
{
	struct epoll_event events[EVENTS_PER_DRIVE];
	int			running;
	int			n;

	if (t->in_flight == 0)
		return true;
	n = epoll_wait(t->epoll, events, EVENTS_PER_DRIVE, 0);
	for (int i = 0; i < n; i++)
	{
		int			what = 0;

		if (events[i].events & EPOLLIN)
			what |= CURL_CSELECT_IN;
		if (events[i].events & EPOLLOUT)
			what |= CURL_CSELECT_OUT;
		if (events[i].events & (EPOLLERR | EPOLLHUP))
			what |= CURL_CSELECT_ERR;
		curl_multi_socket_action(t->multi, events[i].data.fd, what, &running);
	}
	return n < EVENTS_PER_DRIVE;
}

/*
 * Ends the calls whose time-out is over.  Not left to libcurl, which ends them
 * before it reads what has arrived: a process that was held up for longer than
 * a time-out would take replies that are there for missing ones.
 */
static void
expire(DtmTransport *t)
{
	int64_t		now = clock_us(CLOCK_MONOTONIC);

	if (now < t->next_expiry)
		return;
	t->next_expiry = INT64_MAX;
	for (DtmSlot *slot = t->all_slots; slot != NULL; slot = slot->next_of_all)
	{
		if (slot->call == NULL)
			continue;
		if (slot->expires <= now)
		{
			snprintf(slot->error, sizeof(slot->error),
					 "timed out after %lld ms",
					 (long long) (now - slot->started) / 1000);
			finish(t, slot, CURLE_OPERATION_TIMEDOUT);
		}
		else if (slot->expires < t->next_expiry)
			t->next_expiry = slot->expires;
	}
}

void
dtm_transport_drive(DtmTransport *t)
{
	sigset_t	before;
	int			running;
	bool		all;

	block_signals(&before);
	start_waiting(t);
	all = drive_sockets(t);
	if (t->deadline >= 0 && t->deadline <= clock_us(CLOCK_MONOTONIC))
	{
		t->deadline = -1;
		curl_multi_socket_action(t->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	}
	/* before sleeping, or what has ended is not noticed */
	reap_multi(t);
	if (all)
		expire(t);
	start_waiting(t);
	restore_signals(&before);
}

DtmCall *
dtm_transport_reap(DtmTransport *t)
{
	DtmCall    *call = t->done;

	if (call == NULL)
		return NULL;
	t->done = call->next;
	if (t->done == NULL)
		t->last_done = NULL;
	call->next = NULL;
	return call;
}

void
dtm_call_release(DtmCall *call)
{
	free(call->reply);
	call->reply = NULL;
	call->reply_len = 0;
}

int
dtm_transport_in_flight(const DtmTransport *t)
{
	return t->in_flight;
}

int
dtm_transport_waiting(const DtmTransport *t)
{
	return t->waiting;
}

void
dtm_transport_destroy(DtmTransport *t)
{
	sigset_t	before;

	if (t == NULL)
		return;
	block_signals(&before);
	hosts_free(t);
	for (DtmCall *call = t->done; call != NULL; call = call->next)
		dtm_call_release(call);
	while (t->all_slots != NULL)
	{
		DtmSlot    *slot = t->all_slots;

		t->all_slots = slot->next_of_all;
		if (slot->call != NULL)
		{
			curl_multi_remove_handle(t->multi, slot->easy);
			dtm_call_release(slot->call);
		}
		curl_easy_cleanup(slot->easy);
		curl_slist_free_all(slot->headers);
		free(slot);
	}
	curl_slist_free_all(t->default_headers);
	if (t->multi != NULL)
		curl_multi_cleanup(t->multi);
	if (t->epoll >= 0)
		close(t->epoll);
	restore_signals(&before);
	free(t);
}

const char *
dtm_url_problem(const char *url)
{
	CURLU	   *handle = curl_url();
	char	   *scheme = NULL;
	const char *problem = NULL;

	if (handle == NULL)
		return "out of memory";
	if (strstr(url, "://") == NULL)
		problem = "it has no scheme";
	else if (curl_url_set(handle, CURLUPART_URL, url,
						  CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK)
		problem = "it is malformed";
	else if (curl_url_get(handle, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
			 (strcasecmp(scheme, "http") != 0 && strcasecmp(scheme, "https") != 0))
		problem = "its scheme is neither http nor https";
	curl_free(scheme);
	curl_url_cleanup(handle);
	return problem;
}
