/*
 * alert.c
 *		Which errors are one and the same; see alert.h.
 */
#include "alert.h"

#include <string.h>

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Of a word; bytes beyond ASCII are letters of some language. */
static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
		(unsigned char) c >= 0x80;
}

static bool
is_word(char c)
{
	return is_letter(c) || is_digit(c);
}

/* Does this join what is before it to what follows?  Never called at the end. */
static bool
joins(const char *c)
{
	if (*c == '-')
		return is_word(c[1]);
	/* of a time, an address, an amount */
	return (*c == '.' || *c == ':' || *c == ',') && is_digit(c[-1]) && is_digit(c[1]);
}

/* The end of the word that begins here, and whether it has a digit. */
static const char *
word_end(const char *c, bool *has_digit)
{
	*has_digit = false;
	for (; is_word(*c) || (*c != '\0' && joins(c)); c++)
		*has_digit = *has_digit || is_digit(*c);
	return c;
}

static bool
is_blank(char c)
{
	return (unsigned char) c <= ' ' || c == 0x7f;
}

void
dtm_alert_class(const char *text, char *class, size_t size)
{
	const char *c = text;
	size_t		n = 0;

	while (*c != '\0' && n + 1 < size)
	{
		bool		has_digit;

		if (is_blank(*c))
		{
			while (*c != '\0' && is_blank(*c))
				c++;
			/* none at either end */
			if (n > 0 && *c != '\0')
				class[n++] = ' ';
		}
		else if (is_word(*c))
		{
			const char *end = word_end(c, &has_digit);

			if (has_digit)
				class[n++] = '#';
			else
				while (c < end && n + 1 < size)
					class[n++] = *c++;
			c = end;
		}
		else
			class[n++] = *c++;
	}
	class[n] = '\0';
}

static char
lower(char c)
{
	return (char) (c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

/* Does a text have this, which is in lower case, whatever its own case is? */
static bool
has(const char *text, const char *what)
{
	for (; *text != '\0'; text++)
	{
		size_t		i = 0;

		while (what[i] != '\0' && lower(text[i]) == what[i])
			i++;
		if (what[i] == '\0')
			return true;
	}
	return false;
}

bool
dtm_alert_is_silence(const char *error)
{
	/* as the versions of libcurl say it */
	static const char *const phrases[] = {
		"connect to", "resolve host", "timed out", "timeout was reached",
		"empty reply", "recv failure", "send failure", "failure when receiving",
		"failed sending data", "transfer closed", "connection refused",
		"connection reset"
	};

	for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++)
		if (has(error, phrases[i]))
			return true;
	return false;
}
