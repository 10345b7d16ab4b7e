/*
 * hosts.c
 *		The hosts that are called.
 *
 * Hosts with waiting calls are in a ring, so that each gets its turn.
 */
#include "private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Adds text to a name in lower case (ASCII), as far as there is room. */
static char *
append_lower(char *to, const char *end, const char *text, size_t len)
{
	for (size_t i = 0; i < len && to < end; i++)
		*to++ = (char) (text[i] >= 'A' && text[i] <= 'Z' ? text[i] - 'A' + 'a' : text[i]);
	return to;
}

void
dtm_host_name(const char *url, char name[DTM_HOST_NAME_SIZE])
{
	const char *scheme_end = strstr(url, "://");
	const char *host = scheme_end ? scheme_end + 3 : url;
	size_t		len = strcspn(host, "/?#");
	const char *user_end = memrchr(host, '@', len);
	const char *port;
	char	   *to = name;
	char	   *end = name + DTM_HOST_NAME_SIZE - 1;
	bool		has_port;

	if (user_end != NULL)
	{
		len -= (size_t) (user_end + 1 - host);
		host = user_end + 1;
	}
	/* the colons of an IPv6 address are within brackets */
	has_port = memrchr(host, ':', len) != NULL &&
		(memrchr(host, ']', len) == NULL ||
		 memrchr(host, ':', len) > memrchr(host, ']', len));
	port = has_port ? "" : url_is_tls(url) ? ":443" : ":80";
	to = append_lower(to, end, url, scheme_end ? (size_t) (scheme_end - url) : 0);
	to = append_lower(to, end, "://", strlen("://"));
	to = append_lower(to, end, host, len);
	to = append_lower(to, end, port, strlen(port));
	*to = '\0';
}

static DtmHost *const *
find_bucket(const DtmTransport *t, const char *name)
{
	uint32_t	hash = 2166136261u; /* FNV-1a */

	for (const char *c = name; *c; c++)
		hash = (hash ^ (unsigned char) *c) * 16777619u;
	return &t->hosts[hash % HOST_BUCKETS];
}

static DtmHost **
host_bucket(DtmTransport *t, const char *name)
{
	return (DtmHost **) find_bucket(t, name);
}

static DtmHost *
find_host(const DtmTransport *t, const char *name)
{
	DtmHost    *host = *find_bucket(t, name);

	while (host != NULL && strcmp(host->name, name) != 0)
		host = host->next_in_bucket;
	return host;
}

static void
free_host(DtmHost *host)
{
	curl_url_cleanup(host->url);
	free(host->in_shard);
	free(host->name);
	free(host);
}

/* A host's name as libcurl reads it; NULL: it has been cut, or can't be read. */
static CURLU *
parse_name(const char *name)
{
	CURLU	   *url = curl_url();

	if (url != NULL &&
		(strlen(name) == DTM_HOST_NAME_SIZE - 1 ||
		 curl_url_set(url, CURLUPART_URL, name, 0) != CURLUE_OK))
	{
		curl_url_cleanup(url);
		return NULL;
	}
	return url;
}

static void
forget_host(DtmTransport *t, DtmHost *host)
{
	DtmHost   **link = host_bucket(t, host->name);

	while (*link != host)
		link = &(*link)->next_in_bucket;
	*link = host->next_in_bucket;
	if (host->changed)
	{
		link = &t->changed_hosts;
		while (*link != host)
			link = &(*link)->next_changed;
		*link = host->next_changed;
	}
	if (host->place >= 0)
		t->places[host->place] = NULL;
	free_host(host);
}

static bool
is_idle(const DtmHost *host)
{
	return host->stats.in_flight == 0 && host->stats.waiting == 0;
}

/* An open circuit whose probe was due so long ago is of interest to nobody, in us. */
#define FORGOTTEN			60000000

static bool
is_dispensable(const DtmHost *host)
{
	return is_idle(host) &&
		(!host->stats.open || monotonic_us() > host->probe_at + FORGOTTEN);
}

/* A free place, or that of the host that has been idle for longest; -1: none. */
static int
find_place(DtmTransport *t)
{
	DtmHost    *oldest = NULL;
	int			place;

	for (int i = 0; i < DTM_MAX_HOSTS; i++)
	{
		DtmHost    *host = t->places[i];

		if (host == NULL)
			return i;
		if (is_dispensable(host) &&
			(oldest == NULL || host->last_used < oldest->last_used))
			oldest = host;
	}
	if (oldest == NULL)
		return -1;
	place = oldest->place;
	forget_host(t, oldest);
	return place;
}

DtmHost *
host_of(DtmTransport *t, const char *url)
{
	char		name[DTM_HOST_NAME_SIZE];
	DtmHost   **bucket;
	DtmHost    *host;

	dtm_host_name(url, name);
	host = find_host(t, name);
	if (host != NULL)
	{
		host->last_used = monotonic_us();
		return host;
	}

	bucket = host_bucket(t, name);
	host = calloc(1, sizeof(DtmHost));
	if (host == NULL)
		return NULL;
	host->name = strdup(name);
	if (host->name == NULL)
	{
		free(host);
		return NULL;
	}
	host->url = parse_name(name);
	snprintf(host->stats.name, sizeof(host->stats.name), "%.*s",
			 (int) sizeof(host->stats.name) - 1, name);
	window_init(&host->window);
	host->stats.window = host_limit(t, host);
	host->last_used = monotonic_us();
	host->place = find_place(t);
	if (host->place >= 0)
		t->places[host->place] = host;
	host->next_in_bucket = *bucket;
	*bucket = host;
	return host;
}

/* Forgets a host that is known for nothing but what has been. */
void
host_release(DtmTransport *t, DtmHost *host)
{
	if (is_idle(host) && host->place < 0)
		forget_host(t, host);
}

void
hosts_ring_add(DtmTransport *t, DtmHost *host)
{
	if (t->waiting_hosts == NULL)
	{
		host->next = host->previous = host;
		t->waiting_hosts = host;
		return;
	}
	host->next = t->waiting_hosts;
	host->previous = t->waiting_hosts->previous;
	host->previous->next = host;
	host->next->previous = host;
}

void
hosts_ring_remove(DtmTransport *t, DtmHost *host)
{
	if (host->next == host)
		t->waiting_hosts = NULL;
	else
	{
		host->previous->next = host->next;
		host->next->previous = host->previous;
		if (t->waiting_hosts == host)
			t->waiting_hosts = host->next;
	}
	host->next = host->previous = NULL;
}

void
hosts_free(DtmTransport *t)
{
	for (int i = 0; i < HOST_BUCKETS; i++)
		while (t->hosts[i] != NULL)
		{
			DtmHost    *host = t->hosts[i];

			t->hosts[i] = host->next_in_bucket;
			free_host(host);
		}
}

/* Calls that wait in memory for a host, beside those in flight: 1 / this of them. */
#define WAITING_SHARE		2

int
dtm_transport_appetite(const DtmTransport *t, const char *name)
{
	const DtmHost *host = find_host(t, name);
	int			limit;

	if (host == NULL)
		return t->limits.max_requests_per_host;
	/* one is enough to probe */
	limit = host->stats.open ? 1 : host_limit(t, host);
	return limit + limit / WAITING_SHARE - host->stats.in_flight - host->stats.waiting;
}

void
dtm_transport_number_host(DtmTransport *t, const char *name, int number)
{
	DtmHost    *host = find_host(t, name);

	if (host != NULL)
		host->number = number;
}

bool
dtm_transport_is_failing(const DtmTransport *t, const char *name)
{
	const DtmHost *host = find_host(t, name);

	return host != NULL && host->place >= 0 && host->stats.failed_in_a_row > 0;
}
