/*
 * tls.c
 *		TLS of listeners: certificate, clients' certificates, ALPN.
 */
#include "netprivate.h"

#include "log.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

/* In the order that we like them. */
static const unsigned char protocols[] = "\x02h2\x08http/1.1";

static int
choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
				const unsigned char *in, unsigned int in_len, void *arg)
{
	unsigned char *chosen;

	(void) ssl;
	(void) arg;
	if (SSL_select_next_proto(&chosen, out_len, protocols, sizeof(protocols) - 1,
							  in, in_len) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *
fail(SSL_CTX *context, const char *what, const char *file)
{
	char		reason[256];

	ERR_error_string_n(ERR_get_error(), reason, sizeof(reason));
	log_error("%s \"%s\": %s", what, file, reason);
	SSL_CTX_free(context);
	return NULL;
}

SSL_CTX *
tls_create(const char *certificate, const char *key, const char *ca)
{
	SSL_CTX    *context = SSL_CTX_new(TLS_server_method());

	if (context == NULL)
		return fail(NULL, "could not set up TLS with", certificate);
	if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1)
		return fail(context, "could not set the minimum version of TLS for", certificate);
	(void) SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
							   SSL_OP_CIPHER_SERVER_PREFERENCE);
	(void) SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE |
							SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1)
		return fail(context, "could not load certificate", certificate);
	if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1 ||
		SSL_CTX_check_private_key(context) != 1)
		return fail(context, "could not load key", key);
	SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
	if (ca != NULL)
	{
		if (SSL_CTX_load_verify_locations(context, ca, NULL) != 1)
			return fail(context, "could not load certificate authorities", ca);
		SSL_CTX_set_client_CA_list(context, SSL_load_client_CA_file(ca));
		/* whether one is needed is said by gateway.hba */
		SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
		(void) SSL_CTX_set_session_id_context(context, (const unsigned char *) "dtm", 3);
	}
	return context;
}

char *
tls_common_name(SSL *ssl)
{
	X509	   *certificate = SSL_get1_peer_certificate(ssl);
	char		name[256] = "";
	int			len = -1;

	if (certificate == NULL)
		return NULL;
	if (SSL_get_verify_result(ssl) == X509_V_OK)
		len = X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName,
										name, sizeof(name));
	X509_free(certificate);
	/* a zero byte in it would make it another name */
	if (len <= 0 || (size_t) len != strlen(name))
		return NULL;
	return xstrdup(name);
}
