/*
 * nodes.h
 *		The databases behind the gateway: one, or the nodes of a cluster of Citus, of
 *		which each has its own global transactions.
 */
#ifndef GW_NODES_H
#define GW_NODES_H

#include "db.h"
#include "gid.h"

typedef struct Nodes Nodes;

/* The first is the one for all that concerns no gid. */
extern Nodes *nodes_create(Loop *loop, const DbConfig *config, char *const *conninfos, int n);

/* As db_configure(), for each. */
extern void nodes_configure(Nodes *nodes, const DbConfig *config);

/* To the node that has, or is to have, the transaction of its gid. */
extern void nodes_submit(Nodes *nodes, Request *request);

/* A gid for a transaction of one of them. */
extern void nodes_new_gid(Nodes *nodes, char gid[GID_SIZE]);

/* As those of db.h, for all of them. */
extern void nodes_flush(Nodes *nodes);
extern void nodes_tick(Nodes *nodes);
extern int	nodes_timeout(const Nodes *nodes);

/* Is there a node that could take a request? */
extern bool nodes_is_ready(const Nodes *nodes);

/* The first one? */
extern bool nodes_first_is_ready(const Nodes *nodes);

#endif							/* GW_NODES_H */
