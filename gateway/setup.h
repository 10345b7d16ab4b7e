/*
 * setup.h
 *		From options to a server that listens, and to another one while it runs.
 */
#ifndef GW_SETUP_H
#define GW_SETUP_H

#include "server.h"

/*
 * Exit statuses; the extension's launcher has them, too (src/process/gateway.c).
 * 1 is anything else.
 */
#define EXIT_OPTIONS	2		/* options, or gateway.hba */
#define EXIT_LISTEN		3
#define EXIT_TLS		4

/* Listens, and connects to the database; or says what is wrong, and ends. */
extern void setup(Server *server, int argc, char **argv);

/* Reads all again; with a mistake in it, all stays as it was, which is logged. */
extern void setup_reload(Server *server, int argc, char **argv);

#endif							/* GW_SETUP_H */
