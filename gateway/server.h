/*
 * server.h
 *		The server: its connections, and exchanges, a request and its response
 *		each.  What requests mean is not known here.
 */
#ifndef GW_SERVER_H
#define GW_SERVER_H

#include "address.h"
#include "h1.h"
#include "hba.h"
#include "loop.h"
#include "metrics.h"
#include "request.h"

#include <openssl/ssl.h>

/* Bytes of all headers of a request. */
#define MAX_HEADER_BYTES	(64 * 1024)

typedef struct ServerConfig
{
	const HbaLine *hba;
	char	  **hosts;			/* names that requests may be for, beside
								 * addresses and localhost; nhosts of them */
	int			nhosts;
	size_t		max_body;		/* bytes of a request */
	int			max_connections;
	int			max_per_address;	/* connections; 0: any number */
	int			rate;			/* requests a second of a role; 0: any number */
	int			max_in_flight;	/* requests of a role; 0: any number */
	int			max_in_flight_per_address;	/* the same of an address */
	int64_t		head_time;		/* us for a request's head, and for TLS */
	int64_t		body_time;		/* us for its body, or to read a response */
	int64_t		idle_time;		/* us that an idle connection is kept */
	int64_t		max_age;		/* us that a connection is kept; 0: for ever */
	int64_t		stop_time;		/* us to finish requests when stopped */
} ServerConfig;

typedef struct Listener
{
	Watch		watch;
	char	   *name;			/* as --listen has it */
	SSL_CTX    *tls;			/* NULL: in clear */
	const struct ServerHandler *handler;
	struct Server *server;
	struct Listener *next;
} Listener;

struct Exchange;

/* Who answers: what stands above sockets is told of requests by this. */
typedef struct ServerHandler
{
	/* a request has come whole */
	void		(*handle) (struct Exchange *exchange);

	/* one is refused for what is known of it so far: 413, 431 and the like */
	void		(*refuse) (struct Exchange *exchange, int status, const char *message);

	/* its deadline is over */
	void		(*expire) (struct Exchange *exchange);
} ServerHandler;

typedef struct Server
{
	Loop	   *loop;
	struct Nodes *nodes;		/* the handlers' */
	const ServerHandler *handler;	/* of --listen */
	const ServerHandler *page;	/* of --page */
	ServerConfig config;
	Listener   *listeners;
	struct Conn *conns;			/* all that are open */
	struct Conn *dirty;			/* that have something to be sent */
	struct Conn *dead;			/* closed in this turn */
	int			nconns;
	struct Exchange *exchanges; /* all that are under way */
	size_t		held;			/* bytes of bodies that are not complete */
	bool		stopping;		/* no new requests */
} Server;

struct H2;

typedef enum ConnKind
{
	CONN_SHAKING_HANDS,			/* TLS */
	CONN_NEW,					/* it is not known yet what it speaks */
	CONN_H1,
	CONN_H2
} ConnKind;

typedef struct Conn
{
	Watch		watch;
	Server	   *server;
	const ServerHandler *handler;
	struct Conn *prev;
	struct Conn *next;
	struct Conn *next_dirty;
	bool		is_dirty;
	bool		closed;
	bool		closing;		/* when all has been sent */
	bool		paused;			/* not to be read from now */
	bool		processing;		/* h1_process() is at it */
	bool		lingering;		/* all is sent; what still comes is thrown
								 * away */
	bool		peer_done;		/* it sends no more */
	ConnKind	kind;
	SSL		   *ssl;			/* NULL: in clear */
	bool		want_write;		/* of TLS, to read */
	char		address[64];	/* the client's, for the log */
	Address    *counts;			/* of the client's address */
	const HbaLine *access;
	char	   *role;			/* who it is; NULL: the token tells */
	size_t		held;			/* bytes of bodies that are not complete */
	Buf			in;				/* not understood yet */
	Buf			out;			/* to be sent, from out_sent on */
	size_t		out_sent;
	int64_t		since;			/* when it was opened */
	int64_t		active;			/* when something was read or written last */
	int64_t		blocked;		/* since when its client takes nothing of what
								 * is to be sent; 0: all is sent */
	int			unacked;		/* bytes that the kernel had not delivered,
								 * when it was looked at last */
	int64_t		begun;			/* when the request that is read began; 0:
								 * none is */
	bool		has_head;		/* its head is there */
	H1		   *h1;				/* only while a request is read or answered */
	struct Exchange *exchange;	/* of HTTP/1.1: the one that is answered */
	struct H2  *h2;
} Conn;

typedef enum ExchangeKind
{
	EXCHANGE_HTTP,
	EXCHANGE_JSONRPC,
	EXCHANGE_GRPC
} ExchangeKind;

typedef struct Exchange
{
	struct Exchange *prev;
	struct Exchange *next;
	Conn	   *conn;
	int32_t		stream;			/* of HTTP/2; 0: HTTP/1.1 */
	/* the request */
	char	   *method;
	char	   *target;
	char	   *host;
	char	   *content_type;
	char	   *authorization;
	char	   *grpc_timeout;
	char	   *origin;			/* a browser sends it for the page of this
								 * site */
	bool		cross_site;		/* the browser says that it is another one */
	size_t		header_bytes;
	int			nheaders;
	Buf			body;
	size_t		held;			/* of the body, while it is not complete */
	bool		complete;
	bool		too_large;		/* body or headers */
	int64_t		began;
	/* how it is answered */
	ExchangeKind kind;
	const char *api;			/* its name in the metrics */
	Buf			rpc_id;			/* of JSON-RPC */
	int64_t		deadline;		/* Loop.now; 0: none */
	Request    *request;		/* that the database has; NULL: none */
	bool		replied;
	/* the response, of HTTP/2 */
	Buf			response;
	size_t		sent;
	int64_t		moved;			/* when the client took some of it, or could
								 * have begun to */
	bool		trailers;		/* grpc-status 0 comes behind it */
} Exchange;

/* ---------- exchange.c ---------- */

extern Exchange *exchange_create(Conn *conn, int32_t stream);

/* A header; the name is in lower case. */
extern void exchange_header(Exchange *exchange, const char *name, size_t name_len,
							const char *value, size_t value_len);
extern void exchange_free(Exchange *exchange);

/*
 * So many bytes of its body are there, and more are to come.  False: its
 * connection, or all of them, have more than there shall be.
 */
extern bool exchange_hold(Exchange *exchange, size_t len);

/* The body is complete, or not wanted. */
extern void exchange_release(Exchange *exchange);

/* What a client is told that has too many bodies on their way. */
#define TOO_MANY_BODIES	"too many bodies of requests are on their way: try again"

/* Responses, one for each exchange.  Of HTTP/1.1, it is gone afterwards. */
extern void exchange_reply(Exchange *exchange, int status, const char *type,
						   const char *extra, const char *body, size_t len);
extern void exchange_reply_grpc(Exchange *exchange, int status,
								const char *message, const Buf *reply);

/* ---------- listen.c ---------- */

extern bool server_listen(Server *server, const char *name, SSL_CTX *tls,
						  const ServerHandler *handler);

/* ---------- server.c ---------- */

/* At the end of each turn: sends, and frees. */
extern void server_flush(Server *server);

/* Now and then: time limits. */
extern void server_tick(Server *server);

/* No new connections; those that are idle are closed, the others when they are. */
extern void server_stop(Server *server);
extern bool server_is_done(const Server *server);

/* ---------- conn.c ---------- */

extern void conn_close(Conn *conn);

/* There is something to be sent. */
extern void conn_touch(Conn *conn);

/* ---------- conn_h1.c ---------- */

/* The response of HTTP/1.1 is in conn->out: on to the next request. */
extern void conn_next(Conn *conn, bool keep_alive);

/* ---------- tls.c ---------- */

/* NULL: it is logged why. */
extern SSL_CTX *tls_create(const char *certificate, const char *key,
						   const char *ca);

#endif							/* GW_SERVER_H */
