/*
 * hba.h
 *		gateway.hba: which role a client's connection is, by its listener and
 *		its address, as pg_hba.conf does it: the first line that fits.
 */
#ifndef GW_HBA_H
#define GW_HBA_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

typedef enum HbaMethod
{
	HBA_TRUST,					/* it is that role */
	HBA_CERT,					/* its certificate's CN is, or it is that role */
	HBA_BEARER,					/* the token in each request tells */
	HBA_REJECT
} HbaMethod;

typedef struct HbaLine
{
	char	   *listener;		/* as --listen has it; NULL: all */
	int			family;			/* AF_UNSPEC: all addresses */
	unsigned char address[16];
	int			bits;			/* of it that count */
	HbaMethod	method;
	char	   *role;			/* NULL: it is told otherwise */
	struct HbaLine *next;
} HbaLine;

/*
 * Reads the text of a file.  False: *problem says what is wrong, with the number
 * of the line; it is to be freed.
 */
extern bool hba_parse(const char *text, HbaLine **lines, char **problem);

/* What there is without a file: loopback is dtm_api, all else is rejected. */
extern HbaLine *hba_default(void);

/* The first line that fits; NULL: none does. */
extern const HbaLine *hba_find(const HbaLine *lines, const char *listener,
							   const struct sockaddr *address);

/*
 * The first line that lets in without a proof whoever is not on this machine;
 * NULL: there is none.
 */
extern const HbaLine *hba_insecure(const HbaLine *lines);

/* Is there a line that asks for certificates? */
extern bool hba_needs_ca(const HbaLine *lines);

/*
 * Can anybody use a listener that is bound to an address?  Loopback reaches no
 * listener that has another address than that of all interfaces.
 */
extern bool hba_lets_in(const HbaLine *lines, const char *listener,
						const struct sockaddr *bound);

extern void hba_free(HbaLine *lines);

#endif							/* GW_HBA_H */
