/*
 * channel.c
 *		The bytes of a connection, in clear or by TLS.
 */
#include "netprivate.h"

#include "log.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <sys/socket.h>

ssize_t
channel_receive(Conn *conn, char *data, size_t size)
{
	ssize_t		n;

	if (conn->ssl == NULL)
	{
		n = recv(conn->watch.fd, data, size, 0);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? CHANNEL_EMPTY : CHANNEL_BROKEN;
		return n == 0 ? CHANNEL_END : n;
	}
	ERR_clear_error();
	n = SSL_read(conn->ssl, data, (int) size);
	if (n > 0)
		return n;
	switch (SSL_get_error(conn->ssl, (int) n))
	{
		case SSL_ERROR_WANT_WRITE:
			conn->want_write = true;
			return CHANNEL_EMPTY;
		case SSL_ERROR_WANT_READ:
			return CHANNEL_EMPTY;
		case SSL_ERROR_ZERO_RETURN:
			return CHANNEL_END;
		default:
			return CHANNEL_BROKEN;
	}
}

ssize_t
channel_send(Conn *conn, const char *data, size_t len)
{
	ssize_t		n;

	if (conn->ssl == NULL)
	{
		n = send(conn->watch.fd, data, len, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -1;
		return n;
	}
	ERR_clear_error();
	n = SSL_write(conn->ssl, data, len > INT32_MAX ? INT32_MAX : (int) len);
	if (n > 0)
		return n;
	switch (SSL_get_error(conn->ssl, (int) n))
	{
		case SSL_ERROR_WANT_READ:
		case SSL_ERROR_WANT_WRITE:
			return 0;
		default:
			return -1;
	}
}

bool
channel_shake_hands(Conn *conn)
{
	int			rc;

	ERR_clear_error();
	rc = SSL_do_handshake(conn->ssl);
	if (rc == 1)
	{
		conn->kind = CONN_NEW;
		conn->begun = 0;
		conn->want_write = false;
		if (conn->access->method == HBA_CERT)
			conn->role = conn->access->role ? xstrdup(conn->access->role) :
				tls_common_name(conn->ssl);
		return true;
	}
	switch (SSL_get_error(conn->ssl, rc))
	{
		case SSL_ERROR_WANT_READ:
			conn->want_write = false;
			return false;
		case SSL_ERROR_WANT_WRITE:
			conn->want_write = true;
			return false;
		default:
			log_debug("%s: TLS handshake failed", conn->address);
			conn_close(conn);
			return false;
	}
}
