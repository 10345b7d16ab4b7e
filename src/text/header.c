/*
 * header.c
 *		Names and values of HTTP headers.
 */
#include "header.h"

#include "compat.h"

#include "utf8.h"

#include <ctype.h>

/* For many a server all that is no letter or digit is the same in a name: "-", "_", ".". */
static bool
is_same_name(const char *a, const char *b)
{
	while (*a != '\0' && *b != '\0' &&
		   (pg_tolower((unsigned char) *a) == pg_tolower((unsigned char) *b) ||
			(!isalnum((unsigned char) *a) && !isalnum((unsigned char) *b))))
	{
		a++;
		b++;
	}
	return *a == '\0' && *b == '\0';
}

bool
header_is_framing(const char *name)
{
	static const char *const framing[] = {
		"Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive",
		"Upgrade", "TE", "Trailer", "Expect", "Proxy-Connection",
		"Accept-Encoding"
	};

	for (size_t i = 0; i < lengthof(framing); i++)
		if (is_same_name(name, framing[i]))
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
		if (is_same_name(name, own[i]))
			return true;
	return false;
}

bool
has_control_character(const char *value)
{
	for (const unsigned char *c = (const unsigned char *) value; *c; c++)
		if (*c < 0x20 || *c == 0x7f)
			return true;
	return false;
}

const char *
header_problem(const char *name, const char *value)
{
	static const char token[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~";

	if (name[0] == '\0' || name[strspn(name, token)] != '\0')
		return "its name is not a token of letters, digits and hyphens";
	if (has_control_character(value))
		return "its value contains a control character";
	if (!utf8_has(value))
		return "its value cannot be converted to UTF-8";
	return NULL;
}
