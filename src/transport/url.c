/*
 * url.c
 *		What is looked at in URLs before they are called.
 */
#include "private.h"

#include <string.h>
#include <strings.h>

const char *
url_authority(const char *url)
{
	size_t		scheme = strcspn(url, ":/?#");

	return scheme > 0 && strncmp(url + scheme, "://", strlen("://")) == 0 ?
		url + scheme + strlen("://") : NULL;
}

bool
url_is_tls(const char *url)
{
	return strncasecmp(url, "https:", strlen("https:")) == 0;
}

/* libcurl takes http:///x for http://x. */
static bool
has_host(const char *authority)
{
	size_t		len = strcspn(authority, "/\\?#");
	const char *user_end = memrchr(authority, '@', len);
	const char *host = user_end != NULL ? user_end + 1 : authority;

	return host < authority + len && *host != ':';
}

const char *
dtm_url_problem(const char *url)
{
	CURLU	   *handle = curl_url();
	const char *authority = url_authority(url);
	char	   *scheme = NULL;
	const char *problem = NULL;

	if (handle == NULL)
		return "out of memory";
	if (authority == NULL)
		problem = "missing scheme";
	else if ((strncasecmp(url, "http:", strlen("http:")) == 0 || url_is_tls(url)) &&
			 !has_host(authority))
		problem = "missing host";
	else if (curl_url_set(handle, CURLUPART_URL, url,
						  CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK)
		problem = "malformed URL";
	else if (curl_url_get(handle, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
			 (strcasecmp(scheme, "http") != 0 && strcasecmp(scheme, "https") != 0))
		problem = "unsupported scheme";
	curl_free(scheme);
	curl_url_cleanup(handle);
	return problem;
}

bool
dtm_url_has_user(const char *url)
{
	CURLU	   *handle = curl_url();
	char	   *user = NULL;
	char	   *password = NULL;
	bool		has_user;

	if (handle == NULL)
		return true;
	/* what can't be read is not to be trusted */
	has_user = curl_url_set(handle, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK ||
		curl_url_get(handle, CURLUPART_USER, &user, 0) == CURLUE_OK ||
		curl_url_get(handle, CURLUPART_PASSWORD, &password, 0) == CURLUE_OK;
	curl_free(user);
	curl_free(password);
	curl_url_cleanup(handle);
	return has_user;
}
