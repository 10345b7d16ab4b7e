/*
 * environment.c
 *		What a transport finds in its process: the libcurl that is loaded, which
 *		need not be the one that dtm was built with, and room for open files.
 */
#include "private.h"

#include <stdio.h>
#include <sys/resource.h>

/*
 * From this libcurl on, a connection of HTTP/2 in clear can be used for more than
 * one call.  Before, a second one fails now and then (7.74) or each time (7.88).
 */
#define FIRST_WITH_REUSE	0x080000

/* Descriptors left to the rest of the process. */
#define RESERVED_FILES		128

/* Those that a call may need: its socket, and a pair while its name is resolved. */
#define FILES_PER_REQUEST	3

#define Max(a, b)			((a) > (b) ? (a) : (b))

bool
library_start(char *error, size_t error_size)
{
	static bool started = false;
	const curl_version_info_data *loaded = curl_version_info(CURLVERSION_NOW);

	/* an older one refuses options, which each call would tell anew */
	if (loaded->version_num < LIBCURL_VERSION_NUM)
		snprintf(error, error_size,
				 "libcurl %s is loaded, but dtm was built with libcurl %s and needs that or a newer one",
				 loaded->version, LIBCURL_VERSION);
	else if (!(loaded->features & CURL_VERSION_ASYNCHDNS))
		snprintf(error, error_size,
				 "libcurl %s was built without asynchronous name resolution",
				 loaded->version);
	else if (!started && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		snprintf(error, error_size, "could not initialize libcurl %s",
				 loaded->version);
	else
		return started = true;
	return false;
}

bool
http2_can_reuse(void)
{
	return curl_version_info(CURLVERSION_NOW)->version_num >= FIRST_WITH_REUSE;
}

int
files_allow(int wanted)
{
	struct rlimit limit;
	rlim_t		need = (rlim_t) wanted * FILES_PER_REQUEST + RESERVED_FILES;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
		return wanted;
	if (limit.rlim_cur < need)
	{
		rlim_t		soft = limit.rlim_cur;

		limit.rlim_cur = limit.rlim_max == RLIM_INFINITY ||
			limit.rlim_max > need ? need : limit.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
			limit.rlim_cur = soft;
	}
	if (limit.rlim_cur >= need)
		return wanted;
	return limit.rlim_cur > RESERVED_FILES ?
		(int) Max((limit.rlim_cur - RESERVED_FILES) / FILES_PER_REQUEST, 1) : 1;
}
