/*
 * hba.c
 *		gateway.hba.
 */
#include "hba.h"

#include "buf.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FIELDS	4

static const char default_text[] =
"all 127.0.0.0/8 trust dtm_api\n"
"all ::1/128 trust dtm_api\n"
"all all reject -\n";

static bool
parse_address(const char *text, HbaLine *line)
{
	char		address[INET6_ADDRSTRLEN] = "";
	const char *slash = strchr(text, '/');
	size_t		len = slash ? (size_t) (slash - text) : strlen(text);
	int			max;
	char	   *end;
	long		bits;

	if (strcmp(text, "all") == 0)
		return true;
	if (len >= sizeof(address))
		return false;
	(void) snprintf(address, sizeof(address), "%.*s", (int) len, text);
	if (inet_pton(AF_INET, address, line->address) == 1)
		line->family = AF_INET;
	else if (inet_pton(AF_INET6, address, line->address) == 1)
		line->family = AF_INET6;
	else
		return false;
	max = line->family == AF_INET ? 32 : 128;
	line->bits = max;
	if (slash == NULL)
		return true;
	bits = strtol(slash + 1, &end, 10);
	if (slash[1] < '0' || slash[1] > '9' || *end != '\0' || bits > max)
		return false;
	line->bits = (int) bits;
	return true;
}

static const char *
parse_method(const char *method, const char *role, HbaLine *line)
{
	bool		none = role == NULL || strcmp(role, "-") == 0;

	if (strcmp(method, "trust") == 0)
	{
		line->method = HBA_TRUST;
		if (none)
			return "trust needs a role";
	}
	else if (strcmp(method, "cert") == 0)
	{
		line->method = HBA_CERT;
		if (none)
			return "cert needs a role, or map=cn";
		if (strcmp(role, "map=cn") == 0)
			none = true;
		else if (strncmp(role, "map=", 4) == 0)
			return "unknown map: it is map=cn";
	}
	else if (strcmp(method, "bearer") == 0 || strcmp(method, "reject") == 0)
	{
		line->method = method[0] == 'b' ? HBA_BEARER : HBA_REJECT;
		if (!none)
			return "this method has no role: it is \"-\"";
	}
	else
		return "unknown method: it is one of trust, cert, bearer, reject";
	line->role = none ? NULL : xstrdup(role);
	return NULL;
}

/* One line, which is changed; why it is wrong, or NULL. */
static const char *
parse_line(char *text, HbaLine ***last)
{
	char	   *fields[MAX_FIELDS + 1] = {NULL};
	int			n = 0;
	char	   *save;
	HbaLine    *line;
	const char *problem;

	text[strcspn(text, "#")] = '\0';
	for (char *field = strtok_r(text, " \t\r", &save); field != NULL;
		 field = strtok_r(NULL, " \t\r", &save))
		if (n <= MAX_FIELDS)
			fields[n++] = field;
	if (n == 0)
		return NULL;
	if (n < 3 || n > MAX_FIELDS)
		return "a line is: listener address method role";
	line = xcalloc(sizeof(HbaLine));
	**last = line;
	*last = &line->next;
	if (strcmp(fields[0], "all") != 0)
		line->listener = xstrdup(fields[0]);
	if (!parse_address(fields[1], line))
		return "malformed address: expected all, or an address with or without /bits";
	problem = parse_method(fields[2], fields[3], line);
	return problem;
}

bool
hba_parse(const char *text, HbaLine **lines, char **problem)
{
	HbaLine   **last = lines;
	char	   *copy = xstrdup(text);
	char	   *at = copy;
	const char *wrong = NULL;

	*lines = NULL;
	for (int number = 1; at != NULL && wrong == NULL; number++)
	{
		char	   *end = strchr(at, '\n');

		if (end != NULL)
			*end++ = '\0';
		wrong = parse_line(at, &last);
		if (wrong != NULL)
		{
			Buf			message = {0};

			buf_printf(&message, "line %d: %s", number, wrong);
			*problem = buf_string(&message);
		}
		at = end;
	}
	free(copy);
	if (wrong == NULL)
		return true;
	hba_free(*lines);
	*lines = NULL;
	return false;
}

HbaLine *
hba_default(void)
{
	HbaLine    *lines;
	char	   *problem;

	(void) hba_parse(default_text, &lines, &problem);
	return lines;
}

static bool
equal_bits(const unsigned char *a, const unsigned char *b, int bits)
{
	int			rest = bits % 8;

	if (memcmp(a, b, (size_t) (bits / 8)) != 0)
		return false;
	return rest == 0 ||
		((a[bits / 8] ^ b[bits / 8]) & (0xff << (8 - rest)) & 0xff) == 0;
}

const HbaLine *
hba_find(const HbaLine *lines, const char *listener, const struct sockaddr *address)
{
	static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
	const unsigned char *bytes;
	int			family = address->sa_family;

	if (family == AF_INET)
		bytes = (const unsigned char *) &((const struct sockaddr_in *) address)->sin_addr;
	else if (family == AF_INET6)
	{
		bytes = (const unsigned char *) &((const struct sockaddr_in6 *) address)->sin6_addr;
		/* an IPv4 client of an IPv6 socket is what it is */
		if (memcmp(bytes, mapped, sizeof(mapped)) == 0)
		{
			family = AF_INET;
			bytes += sizeof(mapped);
		}
	}
	else
		return NULL;
	for (; lines != NULL; lines = lines->next)
		if ((lines->listener == NULL || strcmp(lines->listener, listener) == 0) &&
			(lines->family == AF_UNSPEC ||
			 (lines->family == family && equal_bits(lines->address, bytes, lines->bits))))
			return lines;
	return NULL;
}

static bool
is_loopback(const HbaLine *line)
{
	static const unsigned char six[16] = {[15] = 1};

	if (line->family == AF_INET)
		return line->address[0] == 127 && line->bits >= 8;
	return line->family == AF_INET6 && line->bits == 128 &&
		memcmp(line->address, six, sizeof(six)) == 0;
}

const HbaLine *
hba_insecure(const HbaLine *lines)
{
	for (; lines != NULL; lines = lines->next)
		if (lines->method == HBA_TRUST && !is_loopback(lines))
			return lines;
	return NULL;
}

bool
hba_needs_ca(const HbaLine *lines)
{
	for (; lines != NULL; lines = lines->next)
		if (lines->method == HBA_CERT)
			return true;
	return false;
}

/* Does loopback not reach what is bound to this address? */
static bool
is_elsewhere(const struct sockaddr *bound)
{
	static const unsigned char any[16];
	static const unsigned char six[16] = {[15] = 1};
	const unsigned char *bytes;

	if (bound->sa_family == AF_INET)
	{
		bytes = (const unsigned char *) &((const struct sockaddr_in *) bound)->sin_addr;
		return bytes[0] != 127 && memcmp(bytes, any, 4) != 0;
	}
	bytes = (const unsigned char *) &((const struct sockaddr_in6 *) bound)->sin6_addr;
	return memcmp(bytes, six, sizeof(six)) != 0 && memcmp(bytes, any, sizeof(any)) != 0;
}

bool
hba_lets_in(const HbaLine *lines, const char *listener, const struct sockaddr *bound)
{
	for (; lines != NULL; lines = lines->next)
	{
		if ((lines->listener != NULL && strcmp(lines->listener, listener) != 0) ||
			(lines->family != AF_UNSPEC && lines->family != bound->sa_family) ||
			(is_loopback(lines) && is_elsewhere(bound)))
			continue;
		if (lines->method != HBA_REJECT)
			return true;
		if (lines->family == AF_UNSPEC || lines->bits == 0)
			return false;		/* no line behind it counts */
	}
	return false;
}

void
hba_free(HbaLine *lines)
{
	while (lines != NULL)
	{
		HbaLine    *next = lines->next;

		free(lines->listener);
		free(lines->role);
		free(lines);
		lines = next;
	}
}
