/*
 * address.c
 *		Lists of addresses to which connections are forbidden.
 */
#include "address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Longest item of a list: an IPv6 address with its bits. */
#define MAX_ITEM_LEN	(INET6_ADDRSTRLEN + 4)

/* Bits before an IPv4 address that is stored as an IPv6 address. */
#define MAPPED_BITS		96

/* Ranges of the keywords (RFC 6890; 0.0.0.0 also reaches loopback). */
static const struct
{
	const char *keyword;
	const char *range;
}			keywords[] = {
	{"loopback", "127.0.0.0/8"},
	{"loopback", "0.0.0.0/8"},
	{"loopback", "::1"},
	{"loopback", "::"},
	{"link-local", "169.254.0.0/16"},
	{"link-local", "fe80::/10"},
	{"private", "10.0.0.0/8"},
	{"private", "172.16.0.0/12"},
	{"private", "192.168.0.0/16"},
	{"private", "100.64.0.0/10"},
	{"private", "fc00::/7"}
};

#define NKEYWORDS	(sizeof(keywords) / sizeof(keywords[0]))

/* An IPv4 address as an IPv6 one. */
static void
map_address(const void *ipv4, uint8_t address[16])
{
	memset(address, 0, 10);
	memset(address + 10, 0xff, 2);
	memcpy(address + 12, ipv4, 4);
}

/* "address" or "address/bits"; false: neither. */
static bool
parse_range(const char *text, DtmRange *range)
{
	char		address[MAX_ITEM_LEN + 1];
	const char *slash = strchr(text, '/');
	size_t		len = slash ? (size_t) (slash - text) : strlen(text);
	uint8_t		ipv4[4];
	long		most;
	long		bits;
	char	   *end;

	if (len > MAX_ITEM_LEN)
		return false;
	memcpy(address, text, len);
	address[len] = '\0';
	if (inet_pton(AF_INET, address, ipv4) == 1)
	{
		map_address(ipv4, range->address);
		most = 32;
	}
	else if (inet_pton(AF_INET6, address, range->address) == 1)
		most = 128;
	else
		return false;
	bits = most;
	if (slash != NULL)
	{
		if (slash[1] < '0' || slash[1] > '9')
			return false;
		bits = strtol(slash + 1, &end, 10);
		if (*end != '\0' || bits > most)
			return false;
	}
	range->bits = (int) bits + (most == 32 ? MAPPED_BITS : 0);
	return true;
}

/*
 * Adds the ranges of an item; false: the item is invalid, or the list is full.
 */
static bool
add_item(const char *item, DtmAddressList *list)
{
	bool		found = false;

	for (size_t i = 0; i < NKEYWORDS; i++)
	{
		if (strcmp(item, keywords[i].keyword) != 0)
			continue;
		found = true;
		if (list->n == DTM_MAX_RANGES ||
			!parse_range(keywords[i].range, &list->ranges[list->n]))
			return false;
		list->n++;
	}
	if (found)
		return true;
	if (list->n == DTM_MAX_RANGES || !parse_range(item, &list->ranges[list->n]))
		return false;
	list->n++;
	return true;
}

const char *
dtm_address_list_parse(const char *text, DtmAddressList *list, char *problem,
					   size_t problem_size)
{
	list->n = 0;
	while (*text != '\0')
	{
		size_t		len;
		char		item[MAX_ITEM_LEN + 1];

		text += strspn(text, " ,\t\n\r");
		len = strcspn(text, " ,\t\n\r");
		if (len == 0)
			break;
		snprintf(item, sizeof(item), "%.*s", (int) (len > MAX_ITEM_LEN ? MAX_ITEM_LEN : len), text);
		if (list->n == DTM_MAX_RANGES)
		{
			snprintf(problem, problem_size, "The list has more than %d ranges", DTM_MAX_RANGES);
			return problem;
		}
		if (len > MAX_ITEM_LEN || !add_item(item, list))
		{
			snprintf(problem, problem_size,
					 "\"%s\" is not an address, a network, loopback, link-local or private", item);
			return problem;
		}
		text += len;
	}
	return NULL;
}

static bool
is_in_range(const uint8_t address[16], const DtmRange *range)
{
	int			whole = range->bits / 8;
	int			rest = range->bits % 8;

	if (memcmp(address, range->address, (size_t) whole) != 0)
		return false;
	return rest == 0 ||
		((address[whole] ^ range->address[whole]) >> (8 - rest)) == 0;
}

bool
dtm_address_listed(const DtmAddressList *list, const struct sockaddr *address)
{
	static const uint8_t nat64[12] = {0x00, 0x64, 0xff, 0x9b};
	uint8_t		bytes[16];

	if (address->sa_family == AF_INET)
		map_address(&((const struct sockaddr_in *) address)->sin_addr, bytes);
	else if (address->sa_family == AF_INET6)
	{
		memcpy(bytes, &((const struct sockaddr_in6 *) address)->sin6_addr, 16);
		/* an IPv4 address behind a translator (RFC 6052) */
		if (memcmp(bytes, nat64, sizeof(nat64)) == 0)
			map_address(bytes + 12, bytes);
	}
	else
		return false;
	for (int i = 0; i < list->n; i++)
		if (is_in_range(bytes, &list->ranges[i]))
			return true;
	return false;
}

bool
dtm_address_text_listed(const DtmAddressList *list, const char *address)
{
	struct sockaddr_in ipv4 = {.sin_family = AF_INET};
	struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6};

	if (inet_pton(AF_INET, address, &ipv4.sin_addr) == 1)
		return dtm_address_listed(list, (const struct sockaddr *) &ipv4);
	if (inet_pton(AF_INET6, address, &ipv6.sin6_addr) == 1)
		return dtm_address_listed(list, (const struct sockaddr *) &ipv6);
	return false;
}

void
dtm_address_name(const struct sockaddr *address, char *name, size_t size)
{
	const void *bytes = address->sa_family == AF_INET6 ?
		(const void *) &((const struct sockaddr_in6 *) address)->sin6_addr :
		(const void *) &((const struct sockaddr_in *) address)->sin_addr;

	if ((address->sa_family != AF_INET && address->sa_family != AF_INET6) ||
		inet_ntop(address->sa_family, bytes, name, (socklen_t) size) == NULL)
		snprintf(name, size, "?");
}
