/*
 * address.h
 *		Clients' addresses: how many connections, and requests under way, each
 *		has.
 */
#ifndef GW_ADDRESS_H
#define GW_ADDRESS_H

#include <stdint.h>

/* Of IPv6; IPv4 is mapped into it. */
#define ADDRESS_SIZE	16

typedef struct Address
{
	unsigned char key[ADDRESS_SIZE];
	int			conns;			/* open ones */
	int			in_flight;		/* requests */
	struct Address *next;
} Address;

/* That of a key; it is there while one of its counts is not 0. */
extern Address *address_get(const unsigned char key[ADDRESS_SIZE]);

#endif							/* GW_ADDRESS_H */
