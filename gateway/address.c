/*
 * address.c
 *		Clients' addresses: how many connections, and requests under way, each
 *		has.
 */
#include "address.h"

#include "buf.h"

#include <stdlib.h>
#include <string.h>

/* Chains of the table; a power of two. */
#define NCHAINS		4096

static Address *chains[NCHAINS];

static Address **
chain_of(const unsigned char key[ADDRESS_SIZE])
{
	uint32_t	hash = 2166136261u;

	for (int i = 0; i < ADDRESS_SIZE; i++)
		hash = (hash ^ key[i]) * 16777619u;
	return &chains[(hash ^ hash >> 16) % NCHAINS];
}

Address *
address_get(const unsigned char key[ADDRESS_SIZE])
{
	Address   **chain = chain_of(key);
	Address   **link = chain;
	Address    *found = NULL;

	while (*link != NULL)
	{
		Address    *address = *link;

		if (memcmp(address->key, key, ADDRESS_SIZE) == 0)
			found = address;
		/* a request may outlive its connection: so those that left go here */
		else if (address->conns == 0 && address->in_flight == 0)
		{
			*link = address->next;
			free(address);
			continue;
		}
		link = &address->next;
	}
	if (found == NULL)
	{
		found = xcalloc(sizeof(Address));
		memcpy(found->key, key, ADDRESS_SIZE);
		found->next = *chain;
		*chain = found;
	}
	return found;
}
