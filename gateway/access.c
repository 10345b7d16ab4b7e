/*
 * access.c
 *		Who may ask: the role of a connection or of a token, limits, and what
 *		browsers are kept from.
 */
#include "api.h"

#include "query.h"

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Roles and tokens whose requests are counted. */
#define MAX_BUCKETS	256

/* Requests that a role has left in this second, and those under way. */
typedef struct Bucket
{
	char		name[64];
	int64_t		tokens;			/* times USEC_PER_SEC */
	int64_t		counted;
	int64_t		used;			/* Loop.now, last */
	int			in_flight;		/* requests */
} Bucket;

const char *
access_problem(Access access)
{
	switch (access)
	{
		case ACCESS_GRANTED:
			return "";
		case ACCESS_NO_ROLE:
			return "a token or a certificate is needed here";
		case ACCESS_CROSS_SITE:
			return "requests of pages of other sites are refused";
		case ACCESS_OTHER_HOST:
			return "requests for this host name are refused: start the gateway with --host";
		case ACCESS_TOO_MANY:
			return "too many requests of this role: try again";
		case ACCESS_BUSY:
			return "too many requests of this role or address are under way: try again";
	}
	return "";
}

int
api_access_status(Access access)
{
	return access == ACCESS_NO_ROLE ? 401 : access == ACCESS_TOO_MANY ? 429 :
		access == ACCESS_BUSY ? 503 : 403;
}

/* ---------- hosts ---------- */

/* Are they the same, whether the first ends with a dot or not? */
static bool
is_name(const char *wanted, const char *name)
{
	size_t		len = strlen(name);

	return strncasecmp(wanted, name, len) == 0 &&
		(wanted[len] == '\0' || strcmp(wanted + len, ".") == 0);
}

/*
 * A name that we do not know may be a page's own, which leads to our address
 * (DNS rebinding).  An address can't.
 */
static bool
is_our_host(const ServerConfig *config, const char *host)
{
	char		name[256];
	unsigned char address[16];
	bool		six = *host == '[';
	const char *first = host + six;
	size_t		len = strcspn(first, six ? "]" : ":");
	const char *rest = first + len;

	if (six && *rest++ != ']')
		return false;
	/* behind it there is a port, or nothing */
	if (*rest != '\0' && (*rest != ':' || rest[1 + strspn(rest + 1, "0123456789")] != '\0'))
		return false;
	if (len == 0 || len >= sizeof(name))
		return *host == '\0';
	memcpy(name, first, len);
	name[len] = '\0';
	if (inet_pton(six ? AF_INET6 : AF_INET, name, address) == 1)
		return true;
	/* a name with its root is the same */
	if (name[len - 1] == '.')
		name[len - 1] = '\0';
	if (six || name[0] == '\0')
		return false;
	if (strcasecmp(name, "localhost") == 0)
		return true;
	for (int i = 0; i < config->nhosts; i++)
		if (is_name(config->hosts[i], name))
			return true;
	return false;
}

Access
access_check_site(const Exchange *exchange, bool grpc)
{
	if (exchange->cross_site || exchange->origin != NULL)
		return ACCESS_CROSS_SITE;
	/* no page can have a browser send gRPC without being asked first */
	if (!grpc && exchange->host != NULL &&
		!is_our_host(&exchange->conn->server->config, exchange->host))
		return ACCESS_OTHER_HOST;
	return ACCESS_GRANTED;
}

Access
access_check_page(const Exchange *exchange)
{
	const char *origin = exchange->origin;

	if (exchange->cross_site)
		return ACCESS_CROSS_SITE;
	if (exchange->host == NULL ||
		!is_our_host(&exchange->conn->server->config, exchange->host))
		return ACCESS_OTHER_HOST;
	if (origin == NULL)
		return ACCESS_GRANTED;
	/* what is in clear here may be TLS at a proxy in front of us */
	if (strncmp(origin, "https://", 8) == 0)
		origin += 8;
	else if (strncmp(origin, "http://", 7) == 0 && exchange->conn->ssl == NULL)
		origin += 7;
	else
		return ACCESS_CROSS_SITE;
	return strcasecmp(origin, exchange->host) == 0 ? ACCESS_GRANTED : ACCESS_CROSS_SITE;
}

/* ---------- tokens ---------- */

/* "Basic dXNlcjpwYXNz": what is behind the colon. */
static bool
basic_password(const char *encoded, Buf *password)
{
	size_t		len = strlen(encoded);
	unsigned char *plain;
	int			n;
	char	   *colon = NULL;

	if (len == 0 || len % 4 != 0 || len > 4096)
		return false;
	plain = xmalloc(len);
	n = EVP_DecodeBlock(plain, (const unsigned char *) encoded, (int) len);
	/* the padding is counted as bytes */
	for (size_t i = len; n > 0 && i > 0 && encoded[i - 1] == '='; i--)
		n--;
	if (n > 0)
		colon = memchr(plain, ':', (size_t) n);
	if (colon != NULL)
		buf_add(password, colon + 1, (size_t) ((char *) plain + n - colon - 1));
	free(plain);
	return colon != NULL;
}

static bool
shown_token(const Exchange *exchange, Buf *token)
{
	const char *value = exchange->authorization;

	if (value == NULL)
		return false;
	if (strncasecmp(value, "bearer ", 7) == 0)
	{
		value += 7;
		value += strspn(value, " ");
		buf_adds(token, value);
		return token->len > 0;
	}
	if (strncasecmp(value, "basic ", 6) == 0)
		return basic_password(value + 6 + strspn(value + 6, " "), token);
	return false;
}

/* SDKs that take no more than a base URL have the token in its path. */
void
access_take_token(Exchange *exchange)
{
	const char *token = exchange->target + 3;
	size_t		len;
	char	   *rest;
	Buf			header = {0};

	if (strncmp(exchange->target, "/t/", 3) != 0)
		return;
	len = strcspn(token, "/?");
	if (len == 0 || token[len] != '/')
		return;
	buf_adds(&header, "Bearer ");
	query_decode(&header, token, len, false);
	free(exchange->authorization);
	exchange->authorization = xstrdup(buf_string(&header));
	buf_free(&header);
	rest = xstrdup(token + len);
	free(exchange->target);
	exchange->target = rest;
}

/* ---------- limits ---------- */

/*
 * That of a name.  Whether a token is one is not known yet, so anybody can make
 * names up: a new one takes the place of the one that was used the longest ago,
 * and has no request under way.  If all have, the last is shared.
 */
static Bucket *
bucket_of(const char *name, int64_t now, int rate)
{
	static Bucket buckets[MAX_BUCKETS];
	Bucket	   *oldest = NULL;
	Bucket	   *bucket = buckets;

	for (; bucket < buckets + MAX_BUCKETS && bucket->name[0] != '\0'; bucket++)
	{
		if (strncmp(bucket->name, name, sizeof(bucket->name) - 1) == 0)
		{
			bucket->used = now;
			return bucket;
		}
		if (bucket->in_flight == 0 && (oldest == NULL || bucket->used < oldest->used))
			oldest = bucket;
	}
	if (bucket == buckets + MAX_BUCKETS)
	{
		if (oldest == NULL)
			return &buckets[MAX_BUCKETS - 1];
		bucket = oldest;
	}
	(void) snprintf(bucket->name, sizeof(bucket->name), "%s", name);
	bucket->tokens = rate * USEC_PER_SEC;
	bucket->counted = bucket->used = now;
	return bucket;
}

/* That of the role or the token; it is not gone while its requests are counted. */
static Bucket *
bucket_of_request(const Exchange *exchange, const Request *request)
{
	const Server *server = exchange->conn->server;
	char		name[64];

	if (request->has_token)
	{
		for (int i = 0; i < 16; i++)
			(void) snprintf(name + 2 * i, 3, "%02x", request->token[i]);
	}
	else
		(void) snprintf(name, sizeof(name), "%s", request->role);
	return bucket_of(name, server->loop->now, server->config.rate);
}

static bool
is_within_rate(const Exchange *exchange, Bucket *bucket)
{
	int			rate = exchange->conn->server->config.rate;
	int64_t		now = exchange->conn->server->loop->now;

	if (rate == 0)
		return true;
	bucket->tokens += (now - bucket->counted) * rate;
	if (bucket->tokens > rate * USEC_PER_SEC)
		bucket->tokens = rate * USEC_PER_SEC;
	bucket->counted = now;
	if (bucket->tokens < USEC_PER_SEC)
		return false;
	bucket->tokens -= USEC_PER_SEC;
	return true;
}

static Access
check_limits(const Exchange *exchange, Request *request)
{
	const ServerConfig *config = &exchange->conn->server->config;
	Address    *address = exchange->conn->counts;
	Bucket	   *bucket = bucket_of_request(exchange, request);

	if ((config->max_in_flight > 0 && bucket->in_flight >= config->max_in_flight) ||
		(config->max_in_flight_per_address > 0 &&
		 address->in_flight >= config->max_in_flight_per_address))
		return ACCESS_BUSY;
	if (!is_within_rate(exchange, bucket))
		return ACCESS_TOO_MANY;
	request_count(request, 0, &bucket->in_flight);
	request_count(request, 1, &address->in_flight);
	return ACCESS_GRANTED;
}

Access
access_find_role(Exchange *exchange, Request *request)
{
	Buf			token = {0};

	if (exchange->conn->access->method == HBA_BEARER)
	{
		if (shown_token(exchange, &token))
		{
			(void) SHA256((const unsigned char *) token.data, token.len, request->token);
			request->has_token = true;
		}
		buf_free(&token);
		if (!request->has_token)
			return ACCESS_NO_ROLE;
	}
	else if (exchange->conn->role == NULL)
		return ACCESS_NO_ROLE;
	if (!request->has_token)
		request->role = xstrdup(exchange->conn->role);
	request_set_who(request);
	return check_limits(exchange, request);
}

Access
access_check(Exchange *exchange, Request *request, bool grpc)
{
	Access		access = access_check_site(exchange, grpc);

	return access == ACCESS_GRANTED ? access_find_role(exchange, request) : access;
}
