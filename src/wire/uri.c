/*
 * uri.c
 *		What a URL says to those who read it otherwise than we do.
 *
 * Between us and a service there may be proxies and frameworks, each of which
 * may decode percent-encoding once more, take a backslash for a slash, cut a
 * segment at a semicolon or a NUL, or read UTF-8 that is none.  So what they
 * could make of a text is worked out here, and judged by the worst of it.
 */
#include "uri.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Nobody decodes as often as that. */
#define MAX_DECODES		4

int
uri_hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' :
		c >= 'a' && c <= 'f' ? c - 'a' + 10 :
		c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The value of n hexadecimal digits; -1: they are none. */
static int
hex_value(const char *text, const char *end, int n)
{
	int			value = 0;

	if (end - text < n)
		return -1;
	for (int i = 0; i < n; i++)
	{
		int			digit = uri_hex_digit(text[i]);

		if (digit < 0)
			return -1;
		value = value * 16 + digit;
	}
	return value;
}

/* A character beyond ASCII that some fold into one of ASCII; 0: none. */
static char
look_alike(uint32_t c)
{
	switch (c)
	{
		case 0x2024:			/* one dot leader, and two, and three */
		case 0x2025:
		case 0x2026:
		case 0xFE52:			/* small and full-width forms */
		case 0xFF0E:
		case 0x3002:			/* ideographic full stop, and its half-width
								 * form */
		case 0xFF61:
			return '.';
		case 0x2044:			/* fraction, division, big solidus, full-width */
		case 0x2215:
		case 0x29F8:
		case 0xFF0F:
			return '/';
		case 0x2216:			/* set minus, reverse solidus operator, small,
								 * full-width */
		case 0x29F5:
		case 0xFE68:
		case 0xFF3C:
			return '\\';
		case 0xFF05:
			return '%';
		case 0xFF1B:
			return ';';
		default:
			return '\0';
	}
}

/*
 * Decodes percent-encoding once, in place, "%uXXXX" of some servers included.
 * Returns the new length; *changed: was there something to decode?
 */
static size_t
decode(char *text, size_t len, bool *changed)
{
	const char *end = text + len;
	char	   *to = text;

	*changed = false;
	for (const char *c = text; c < end;)
	{
		int			value = -1;
		int			width = 1;

		if (*c == '%' && (value = hex_value(c + 1, end, 2)) >= 0)
			width = 3;
		else if (*c == '%' && end - c > 1 && (c[1] == 'u' || c[1] == 'U') &&
				 (value = hex_value(c + 2, end, 4)) >= 0)
		{
			width = 6;
			if (value > 0x7f)
				value = look_alike((uint32_t) value) != '\0' ? look_alike((uint32_t) value) : '?';
		}
		if (width == 1)
			*to++ = *c++;
		else
		{
			*changed = true;
			*to++ = (char) value;
			c += width;
		}
	}
	return (size_t) (to - text);
}

/* ---------- paths ---------- */

/*
 * Do these bytes begin a form of UTF-8 that is longer than it has to be?  Those
 * are how a dot gets past who looks for dots.
 */
static bool
is_overlong(const unsigned char *c, const unsigned char *end)
{
	unsigned char next = c + 1 < end ? c[1] : 0;

	return c[0] == 0xC0 || c[0] == 0xC1 ||
		(c[0] == 0xE0 && next >= 0x80 && next < 0xA0) ||
		(c[0] == 0xF0 && next >= 0x80 && next < 0x90) ||
		(c[0] >= 0xF8 && next >= 0x80 && next < 0xC0);
}

/* The character of three bytes that begins here; 0: there is none. */
static uint32_t
wide_character(const unsigned char *c, const unsigned char *end)
{
	if (end - c < 3 || (c[0] & 0xF0) != 0xE0 || (c[1] & 0xC0) != 0x80 || (c[2] & 0xC0) != 0x80)
		return 0;
	return ((uint32_t) (c[0] & 0x0F) << 12) | ((uint32_t) (c[1] & 0x3F) << 6) | (c[2] & 0x3F);
}

/*
 * Puts the characters of ASCII in the place of those that look like them.
 * Returns the new length; *problem: what there must not be at all.
 */
static size_t
fold(char *text, size_t len, const char **problem)
{
	const unsigned char *end = (unsigned char *) text + len;
	char	   *to = text;

	for (const unsigned char *c = (unsigned char *) text; c < end;)
	{
		char		folded = look_alike(wide_character(c, end));

		if (*c < 0x20 || *c == 0x7f)
			*problem = "path contains a control character";
		else if (is_overlong(c, end))
			*problem = "path contains an overlong UTF-8 sequence";
		if (folded == '\0')
			*to++ = (char) *c++;
		else
		{
			*to++ = folded;
			c += 3;
		}
	}
	return (size_t) (to - text);
}

/*
 * Is a segment "." or ".." for some server?  Parameters behind a semicolon are
 * left out by those of Java, blanks by those of Windows, and bytes that are no
 * UTF-8 by many.
 */
static bool
is_dots(const char *segment, const char *end)
{
	int			dots = 0;
	int			least = 1;

	for (const char *c = segment; c < end; c++)
	{
		if (*c == '.')
			dots++;
		else if (dots > 0 && strchr(";?#", *c) != NULL)
			break;
		else if ((unsigned char) *c >= 0x80)
			least = 2;			/* a name that begins with a dot is one */
		else if (*c != ' ' && *c != '+')
			return false;
	}
	return dots >= least && dots < 3;
}

/* As it is, decoded once, twice, ...: some reads as many times as that. */
static const char *
judge(char *text, size_t len)
{
	const char *problem = NULL;
	const char *end = text + fold(text, len, &problem);
	const char *segment = text;

	for (const char *c = text; c <= end && problem == NULL; c++)
		if (c == end || *c == '/' || *c == '\\')
		{
			if (is_dots(segment, c))
				problem = "path contains the segment \".\" or \"..\"";
			segment = c + 1;
		}
	return problem;
}

/* Behind each "%" are two digits. */
static bool
is_well_encoded(const char *text, const char *end)
{
	for (const char *c = text; c < end; c++)
		if (*c == '%' && hex_value(c + 1, end, 2) < 0)
			return false;
	return true;
}

const char *
uri_path_problem(const char *path)
{
	size_t		len = strcspn(path, "?#");
	char	   *text = malloc(len + 1);
	char	   *copy = malloc(len + 1);
	const char *problem = NULL;
	bool		changed = true;

	if (text == NULL || copy == NULL)
		problem = "out of memory";
	else if (!is_well_encoded(path, path + len))
		problem = "path contains \"%\" without two hexadecimal digits";
	else
		memcpy(text, path, len);
	for (int i = 0; problem == NULL && changed; i++)
	{
		memcpy(copy, text, len);
		problem = judge(copy, len);
		if (problem == NULL && i == MAX_DECODES)
			problem = "path is encoded too many times";
		len = decode(text, len, &changed);
	}
	free(text);
	free(copy);
	return problem;
}

/* ---------- parameters ---------- */

/* What dtm adds itself, and its SDKs. */
static const char *const own_parameters[] = {
	"branch_id", "gid", "op", "trans_type", "phase2_url", "dtm"
};

/*
 * A name as frameworks have it: without blanks and control characters around it
 * and what is behind a NUL or in brackets; a dot or blank is "_" for PHP.
 */
static size_t
plain_name(char *name, size_t len)
{
	char	   *to = name;

	len = strnlen(name, len);
	while (len > 0 && ((unsigned char) name[len - 1] <= ' ' || name[len - 1] == '+'))
		len--;
	for (size_t i = 0; i < len; i++)
	{
		char		c = name[i];

		/* decoded by a proxy, it separates */
		if (c == '&' || c == ';' || c == '?')
			to = name;
		else if (c == '[' && name[len - 1] == ']' && to > name)
			break;
		else if (to > name || ((unsigned char) c > ' ' && c != '+'))
		{
			if (strchr(". +[", c) != NULL)
				c = '_';
			*to++ = c;
		}
	}
	return (size_t) (to - name);
}

/* The parameter of dtm that a name may be read as; changes it.  NULL: none. */
static const char *
own_name(char *name, size_t len)
{
	bool		changed = true;

	for (int i = 0; i < MAX_DECODES && changed; i++)
		len = decode(name, len, &changed);
	len = plain_name(name, len);
	for (size_t i = 0; i < sizeof(own_parameters) / sizeof(own_parameters[0]); i++)
		if (len == strlen(own_parameters[i]) &&
			strncasecmp(name, own_parameters[i], len) == 0)
			return own_parameters[i];
	return NULL;
}

/* Of a query; changes it. */
static const char *
own_of_query(char *query, char *end)
{
	const char *own = NULL;

	for (char *parameter = query; parameter < end && own == NULL;)
	{
		char	   *next = parameter;
		char	   *equals;

		while (next < end && *next != '&' && *next != ';')
			next++;
		equals = memchr(parameter, '=', (size_t) (next - parameter));
		own = own_name(parameter, (size_t) ((equals != NULL ? equals : next) - parameter));
		parameter = next + 1;
	}
	return own;
}

/*
 * Of a path: behind semicolons, and behind a question mark that some proxy
 * decodes.  Changes it.
 */
static const char *
own_of_path(char *path, size_t len)
{
	const char *own = NULL;
	bool		changed = true;
	bool		query = false;
	char	   *end;

	for (int i = 0; i < MAX_DECODES && changed; i++)
		len = decode(path, len, &changed);
	end = path + len;
	for (char *c = path; c < end && own == NULL;)
	{
		char	   *name = c + 1;

		query = query || *c == '?';
		if (*c == ';' || *c == '?' || (*c == '&' && query))
		{
			for (c++; c < end && *c != '=' && *c != ';' && *c != '&' && *c != '?' && *c != '/';)
				c++;
			if (c < end && *c == '=')
				own = own_name(name, (size_t) (c - name));
		}
		else
			c++;
	}
	return own;
}

const char *
uri_own_parameter(const char *url)
{
	size_t		len = strcspn(url, "#");
	size_t		path_len = strcspn(url, "?#");
	char	   *copy = malloc(len + 1);
	const char *own = NULL;

	if (copy == NULL)
		return own_parameters[0];	/* what can't be read is not to be trusted */
	memcpy(copy, url, len);
	if (path_len < len)
		own = own_of_query(copy + path_len + 1, copy + len);
	if (own == NULL)
		own = own_of_path(copy, path_len);
	free(copy);
	return own;
}
