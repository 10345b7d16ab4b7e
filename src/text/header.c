/*
 * header.c
 *		Names and values of HTTP headers.
 */
#include "header.h"

#include "compat.h"

#include "utf8.h"

bool
header_is_framing(const char *name)
{
	static const char *const framing[] = {
		"Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive",
		"Upgrade", "TE", "Trailer", "Expect", "Proxy-Connection",
		"Accept-Encoding"
	};

	for (size_t i = 0; i < lengthof(framing); i++)
		if (pg_strcasecmp(name, framing[i]) == 0)
			return true;
	return false;
}

bool
header_is_own(const char *name)
{
	static const char *const own[] = {
		"dtm-gid", "dtm-trans_type", "dtm-branch_id", "dtm-op", "dtm-dtm",
		"dtm-phase2_url"
	};

	for (size_t i = 0; i < lengthof(own); i++)
	{
		size_t		n = 0;

		/* for many a server "-" and "_" are the same */
		while (own[i][n] != '\0' &&
			   ((char) pg_tolower((unsigned char) name[n]) == own[i][n] ||
				(strchr("-_", own[i][n]) != NULL && name[n] != '\0' && strchr("-_", name[n]) != NULL)))
			n++;
		if (own[i][n] == '\0' && name[n] == '\0')
			return true;
	}
	return false;
}

const char *
header_problem(const char *name, const char *value)
{
	static const char token[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~";

	if (name[0] == '\0' || name[strspn(name, token)] != '\0')
		return "its name is not a token of letters, digits and hyphens";
	for (const char *c = value; *c; c++)
		if ((unsigned char) *c < 0x20 || *c == 0x7f)
			return "its value contains a control character";
	if (!utf8_has(value))
		return "its value cannot be converted to UTF-8";
	return NULL;
}
