/*
 * netprivate.h
 *		What the files between sockets and exchanges share: listen.c accepts
 *		connections, channel.c has their bytes, conn.c their life, conn_h1.c and
 *		h2.c what they speak, and server.c all of them.
 */
#ifndef GW_NETPRIVATE_H
#define GW_NETPRIVATE_H

#include "server.h"

/* ---------- channel.c ---------- */

/* What channel_receive() returns instead of a number of bytes. */
#define CHANNEL_EMPTY	0
#define CHANNEL_END		(-1)
#define CHANNEL_BROKEN	(-2)

extern ssize_t channel_receive(Conn *conn, char *data, size_t size);

/* Writes some bytes; 0: none now; -1: it can't be written any more. */
extern ssize_t channel_send(Conn *conn, const char *data, size_t len);

/* TLS, before the first byte; false: it is not over, or has failed. */
extern bool channel_shake_hands(Conn *conn);

/* ---------- conn.c ---------- */

/* Bytes to be sent with which a connection is not read any more. */
#define MAX_UNSENT		(1024 * 1024)

/* Are there more? */
extern bool conn_is_full(const Conn *conn);

/* Its socket is ready. */
extern void conn_ready(Watch *watch, uint32_t events);

/* Goes on with what it has not understood yet, and reads on, if there is room. */
extern void conn_resume(Conn *conn);

/* Understands what is in conn->in. */
extern void conn_process(Conn *conn);

/* Sends what there is, and closes what is to be closed then. */
extern void conn_flush(Conn *conn);
extern void conn_free(Conn *conn);

/* ---------- conn_h1.c ---------- */

extern void h1_process(Conn *conn);

/* Answers bytes that are no request with the status of the parser, and ends. */
extern void h1_refuse(Conn *conn);

/* ---------- h2.c ---------- */

extern void h2_start(Conn *conn);

/* False: the connection is to be closed. */
extern bool h2_feed(Conn *conn, const char *data, size_t len);

/* Puts what there is to send into conn->out; false: nothing will come any more. */
extern bool h2_send(Conn *conn);
extern void h2_respond(Exchange *exchange, int status, const char *type,
					   const char *extra);
extern void h2_respond_grpc(Exchange *exchange, int status, const char *message);

/* No new streams; those that are open are finished. */
extern void h2_shut_down(Conn *conn);
extern int	h2_streams(const Conn *conn);
extern void h2_free(Conn *conn);

/* Streams whose request does not come are given up. */
extern void h2_expire(Conn *conn);

/* ---------- tls.c ---------- */

/* The CN of the certificate that the client has shown; NULL: none. */
extern char *tls_common_name(SSL *ssl);

#endif							/* GW_NETPRIVATE_H */
