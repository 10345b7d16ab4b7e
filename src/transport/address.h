/*
 * address.h
 *		Lists of addresses that are not to be connected to.
 *
 * Plain C; knows neither libcurl nor PostgreSQL.
 */
#ifndef DTM_ADDRESS_H
#define DTM_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* Ranges that one list may have; a keyword stands for several. */
#define DTM_MAX_RANGES 64

/* Addresses with the same first bits.  IPv4 ones are ::ffff:a.b.c.d here. */
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
 * Reads a list, separated by commas: loopback, link-local, private, addresses
 * and networks (10.0.0.0/8, fd00::/8).  Returns NULL, or what is wrong with
 * it, in "problem".
 */
extern const char *dtm_address_list_parse(const char *text,
										  DtmAddressList *list,
										  char *problem, size_t problem_size);

/* Is an address on the list?  One that is neither IPv4 nor IPv6 is not. */
extern bool dtm_address_listed(const DtmAddressList *list,
							   const struct sockaddr *address);

/* The same of an address in figures; one that is none is not. */
extern bool dtm_address_text_listed(const DtmAddressList *list,
									const char *address);

/* An address in figures, for messages. */
extern void dtm_address_name(const struct sockaddr *address, char *name,
							 size_t size);

#endif							/* DTM_ADDRESS_H */
