/*
 * address.h
 *		Lists of addresses to which connections are forbidden.
 *
 * Plain C; knows neither libcurl nor PostgreSQL.
 */
#ifndef DTM_ADDRESS_H
#define DTM_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* Maximum number of ranges of a list; a keyword stands for several ranges. */
#define DTM_MAX_RANGES 64

/*
 * Addresses with the same first bits.  IPv4 addresses are stored as
 * ::ffff:a.b.c.d.
 */
typedef struct DtmRange
{
	uint8_t		address[16];
	int			bits;			/* of 128 */
} DtmRange;

typedef struct DtmAddressList
{
	int			n;
	DtmRange	ranges[DTM_MAX_RANGES];
} DtmAddressList;

/*
 * Parses a comma-separated list of loopback, link-local, private, addresses
 * and networks (10.0.0.0/8, fd00::/8).  Returns NULL, or a description of the
 * error in "problem".
 */
extern const char *dtm_address_list_parse(const char *text,
										  DtmAddressList *list,
										  char *problem, size_t problem_size);

/* Is an address on the list? Only IPv4 and IPv6 addresses can be. */
extern bool dtm_address_listed(const DtmAddressList *list,
							   const struct sockaddr *address);

/* The same for an address as text; false if the text is not an address. */
extern bool dtm_address_text_listed(const DtmAddressList *list,
									const char *address);

/* An address as text, for messages. */
extern void dtm_address_name(const struct sockaddr *address, char *name,
							 size_t size);

#endif							/* DTM_ADDRESS_H */
