/*
 * nodes.c
 *		Which node a request is for.
 *
 * A node of Citus has the global transactions that began there, and gids that are
 * generated end with its tag.  A gid that a client has chosen says nothing, so the
 * node where its transaction begins is computed from it, such that each gateway that
 * has the same nodes, in any order, comes to the same one.  A request that does not
 * begin a transaction is asked of the others, too, before it is said that there is
 * none: it may have begun by SQL, or when there were other nodes.
 */
#include "nodes.h"

#include "log.h"

#include <stdlib.h>
#include <string.h>

struct Nodes
{
	int			n;
	Db		  **db;
	unsigned	next_gid;		/* whose gid is generated next */
};

#define NO_NODE	(-1)

#define NOT_REACHED	"a node has not been reached yet, or has no tag (see dtm_citus_setup()): try again"

static bool ask_next(void *owner, Request *request);

Nodes *
nodes_create(Loop *loop, const DbConfig *config, char *const *conninfos, int n)
{
	Nodes	   *nodes = xcalloc(sizeof(Nodes));

	nodes->n = n;
	nodes->db = xcalloc(sizeof(Db *) * (size_t) n);
	for (int i = 0; i < n; i++)
	{
		DbConfig	own = *config;

		/* there as long as we run */
		own.conninfo = xstrdup(conninfos[i]);
		own.unknown = n > 1 ? ask_next : NULL;
		own.owner = nodes;
		nodes->db[i] = db_create(loop, &own);
	}
	return nodes;
}

void
nodes_configure(Nodes *nodes, const DbConfig *config)
{
	for (int i = 0; i < nodes->n; i++)
		db_configure(nodes->db[i], config);
}

/* ---------- whose ---------- */

/* The bits of both, well mixed. */
static uint32_t
mix(uint32_t hash, const char *tag)
{
	for (; *tag != '\0'; tag++)
		hash = (hash ^ (unsigned char) *tag) * 16777619u;
	hash = (hash ^ (hash >> 16)) * 0x85ebca6bu;
	hash = (hash ^ (hash >> 13)) * 0xc2b2ae35u;
	return hash ^ (hash >> 16);
}

/* Of all nodes, the one with the highest number for this gid. */
static int
highest(const Nodes *nodes, uint32_t hash)
{
	int			found = NO_NODE;
	uint32_t	most = 0;

	for (int i = 0; i < nodes->n; i++)
	{
		const char *tag = db_tag(nodes->db[i]);
		uint32_t	number = mix(hash, tag);

		/* without one of them, another would be it */
		if (tag[0] == '\0')
			return NO_NODE;
		if (found == NO_NODE || number > most ||
			(number == most && strcmp(tag, db_tag(nodes->db[found])) > 0))
		{
			found = i;
			most = number;
		}
	}
	return found;
}

/* Its number; NO_NODE: it can't be said now. */
static int
node_of(const Nodes *nodes, const Request *request)
{
	const char *tag;
	bool		all_known = true;

	/* the page shows the first one, and lists are of it */
	if (nodes->n == 1 || request->gid == NULL || request->aside)
		return 0;
	tag = gid_tag(request->gid);
	if (tag == NULL)
		return highest(nodes, request->hash);
	for (int i = 0; i < nodes->n; i++)
	{
		const char *own = db_tag(nodes->db[i]);

		if (strcmp(own, tag) == 0)
			return i;
		all_known = all_known && own[0] != '\0';
	}
	/* any of them says that it is another's */
	return all_known ? 0 : NO_NODE;
}

void
nodes_submit(Nodes *nodes, Request *request)
{
	int			node = node_of(nodes, request);

	if (node == NO_NODE)
	{
		request_fail(request, OUTCOME_UNAVAILABLE, NOT_REACHED);
		return;
	}
	request->node = node;
	request->asked = 1;
	db_submit(nodes->db[node], request);
}

/* One node does not know its gid. */
static bool
ask_next(void *owner, Request *request)
{
	Nodes	   *nodes = owner;

	if (request->asked >= nodes->n || request->aside || request->gid == NULL)
		return false;
	db_submit(nodes->db[(request->node + request->asked++) % nodes->n], request);
	return true;
}

void
nodes_new_gid(Nodes *nodes, char gid[GID_SIZE])
{
	for (int i = 0; i < nodes->n; i++)
	{
		const Db   *db = nodes->db[nodes->next_gid++ % (unsigned) nodes->n];

		if (db_is_ready(db) && db_tag(db)[0] != '\0')
		{
			gid_make(gid, db_tag(db));
			return;
		}
	}
	gid_make(gid, "");
}

/* ---------- all of them ---------- */

void
nodes_flush(Nodes *nodes)
{
	for (int i = 0; i < nodes->n; i++)
		db_flush(nodes->db[i]);
}

void
nodes_tick(Nodes *nodes)
{
	for (int i = 0; i < nodes->n; i++)
		db_tick(nodes->db[i]);
}

int
nodes_timeout(const Nodes *nodes)
{
	int			least = -1;

	for (int i = 0; i < nodes->n; i++)
	{
		int			ms = db_timeout(nodes->db[i]);

		if (ms >= 0 && (least < 0 || ms < least))
			least = ms;
	}
	return least;
}

bool
nodes_is_ready(const Nodes *nodes)
{
	for (int i = 0; i < nodes->n; i++)
		if (db_is_ready(nodes->db[i]))
			return true;
	return false;
}

bool
nodes_first_is_ready(const Nodes *nodes)
{
	return db_is_ready(nodes->db[0]);
}
