/*
 * json.c
 *		A scanner of JSON.
 */
#include "json.h"

#include <string.h>

typedef struct Scan
{
	const char *at;
	const char *end;
	int			depth;
} Scan;

static bool scan_value(Scan *scan, JsonType *type);

size_t
json_utf8(const char *text, size_t len)
{
	const unsigned char *s = (const unsigned char *) text;
	size_t		n;

	if (len == 0)
		return 0;
	if (s[0] < 0x80)
		return 1;
	n = s[0] >= 0xc2 && s[0] <= 0xdf ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 :
		s[0] >= 0xf0 && s[0] <= 0xf4 ? 4 : 0;
	if (n == 0 || len < n)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	/* too long a form, half of a pair, beyond the last one */
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
		(s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

static void
skip_blanks(Scan *scan)
{
	while (scan->at < scan->end && (*scan->at == ' ' || *scan->at == '\t' ||
									*scan->at == '\n' || *scan->at == '\r'))
		scan->at++;
}

static bool
take(Scan *scan, char c)
{
	if (scan->at == scan->end || *scan->at != c)
		return false;
	scan->at++;
	return true;
}

static int
hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' :
		c >= 'a' && c <= 'f' ? c - 'a' + 10 :
		c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool
scan_string(Scan *scan)
{
	if (!take(scan, '"'))
		return false;
	while (scan->at < scan->end)
	{
		size_t		n;

		if (*scan->at == '"')
		{
			scan->at++;
			return true;
		}
		if ((unsigned char) *scan->at < 0x20)
			return false;
		if (*scan->at == '\\')
		{
			scan->at++;
			if (scan->at == scan->end || *scan->at == '\0' ||
				strchr("\"\\/bfnrtu", *scan->at) == NULL)
				return false;
			if (*scan->at++ == 'u')
				for (int i = 0; i < 4; i++, scan->at++)
					if (scan->at == scan->end || hex_digit(*scan->at) < 0)
						return false;
			continue;
		}
		n = json_utf8(scan->at, (size_t) (scan->end - scan->at));
		if (n == 0)
			return false;
		scan->at += n;
	}
	return false;
}

static bool
scan_digits(Scan *scan)
{
	const char *first = scan->at;

	while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9')
		scan->at++;
	return scan->at > first;
}

static bool
scan_number(Scan *scan)
{
	(void) take(scan, '-');
	if (!take(scan, '0') && !scan_digits(scan))
		return false;
	if (take(scan, '.') && !scan_digits(scan))
		return false;
	if (take(scan, 'e') || take(scan, 'E'))
	{
		if (!take(scan, '+'))
			(void) take(scan, '-');
		return scan_digits(scan);
	}
	return true;
}

static bool
scan_word(Scan *scan, const char *word)
{
	size_t		len = strlen(word);

	if ((size_t) (scan->end - scan->at) < len || memcmp(scan->at, word, len) != 0)
		return false;
	scan->at += len;
	return true;
}

static bool
scan_array(Scan *scan)
{
	JsonType	type;

	scan->at++;
	skip_blanks(scan);
	if (take(scan, ']'))
		return true;
	do
	{
		if (!scan_value(scan, &type))
			return false;
		skip_blanks(scan);
	} while (take(scan, ','));
	return take(scan, ']');
}

static bool
scan_object(Scan *scan)
{
	JsonType	type;

	scan->at++;
	skip_blanks(scan);
	if (take(scan, '}'))
		return true;
	do
	{
		skip_blanks(scan);
		if (!scan_string(scan))
			return false;
		skip_blanks(scan);
		if (!take(scan, ':') || !scan_value(scan, &type))
			return false;
		skip_blanks(scan);
	} while (take(scan, ','));
	return take(scan, '}');
}

/* The next value; blanks before it are skipped. */
static bool
scan_value(Scan *scan, JsonType *type)
{
	bool		good;

	skip_blanks(scan);
	if (scan->at == scan->end || scan->depth == JSON_MAX_DEPTH)
		return false;
	scan->depth++;
	switch (*scan->at)
	{
		case '{':
			*type = JSON_OBJECT;
			good = scan_object(scan);
			break;
		case '[':
			*type = JSON_ARRAY;
			good = scan_array(scan);
			break;
		case '"':
			*type = JSON_STRING;
			good = scan_string(scan);
			break;
		case 't':
			*type = JSON_TRUE;
			good = scan_word(scan, "true");
			break;
		case 'f':
			*type = JSON_FALSE;
			good = scan_word(scan, "false");
			break;
		case 'n':
			*type = JSON_NULL;
			good = scan_word(scan, "null");
			break;
		default:
			*type = JSON_NUMBER;
			good = scan_number(scan);
			break;
	}
	scan->depth--;
	return good;
}

bool
json_read(const char *text, size_t len, JsonValue *value)
{
	Scan		scan = {text, text + len, 0};

	skip_blanks(&scan);
	value->type = JSON_NOTHING;
	value->text.data = scan.at;
	if (!scan_value(&scan, &value->type))
		return false;
	value->text.len = (size_t) (scan.at - value->text.data);
	skip_blanks(&scan);
	return scan.at == scan.end;
}

JsonValue
json_member(const JsonValue *object, const char *name)
{
	JsonValue	found = {JSON_NOTHING, {NULL, 0}};
	Scan		scan = {object->text.data, object->text.data + object->text.len, 0};
	size_t		name_len = strlen(name);

	if (object->type != JSON_OBJECT)
		return found;
	scan.at++;
	skip_blanks(&scan);
	while (scan.at < scan.end && *scan.at == '"')
	{
		const char *key = scan.at + 1;
		size_t		key_len;
		JsonType	type = JSON_NOTHING;
		const char *first;

		if (!scan_string(&scan))
			break;
		key_len = (size_t) (scan.at - 1 - key);
		skip_blanks(&scan);
		(void) take(&scan, ':');
		skip_blanks(&scan);
		first = scan.at;
		if (!scan_value(&scan, &type))
			break;
		if (key_len == name_len && memcmp(key, name, key_len) == 0)
		{
			found.type = type;
			found.text.data = first;
			found.text.len = (size_t) (scan.at - first);
		}
		skip_blanks(&scan);
		(void) take(&scan, ',');
		skip_blanks(&scan);
	}
	return found;
}

static void
add_utf8(Buf *out, uint32_t c)
{
	if (c < 0x80)
		buf_addc(out, (char) c);
	else if (c < 0x800)
	{
		buf_addc(out, (char) (0xc0 | c >> 6));
		buf_addc(out, (char) (0x80 | (c & 0x3f)));
	}
	else if (c < 0x10000)
	{
		buf_addc(out, (char) (0xe0 | c >> 12));
		buf_addc(out, (char) (0x80 | (c >> 6 & 0x3f)));
		buf_addc(out, (char) (0x80 | (c & 0x3f)));
	}
	else
	{
		buf_addc(out, (char) (0xf0 | c >> 18));
		buf_addc(out, (char) (0x80 | (c >> 12 & 0x3f)));
		buf_addc(out, (char) (0x80 | (c >> 6 & 0x3f)));
		buf_addc(out, (char) (0x80 | (c & 0x3f)));
	}
}

static uint32_t
four_digits(const char *c)
{
	uint32_t	number = 0;

	for (int i = 0; i < 4; i++)
		number = number << 4 | (uint32_t) hex_digit(c[i]);
	return number;
}

void
json_unescape(const JsonValue *string, Buf *out)
{
	const char *c = string->text.data + 1;
	const char *end = string->text.data + string->text.len - 1;

	while (c < end)
	{
		static const char from[] = "bfnrt";
		static const char to[] = "\b\f\n\r\t";
		const char *escape;

		if (*c != '\\')
		{
			buf_addc(out, *c++);
			continue;
		}
		c++;
		escape = strchr(from, *c);
		if (*c == 'u')
		{
			uint32_t	code = four_digits(c + 1);

			c += 5;
			if (code >= 0xd800 && code <= 0xdbff && end - c >= 6 && c[0] == '\\' &&
				c[1] == 'u' && (four_digits(c + 2) & 0xfc00) == 0xdc00)
			{
				code = 0x10000 + ((code & 0x3ff) << 10) + (four_digits(c + 2) & 0x3ff);
				c += 6;
			}
			add_utf8(out, (code & 0xfffff800) == 0xd800 ? 0xfffd : code);
			continue;
		}
		if (escape != NULL)
			buf_addc(out, to[escape - from]);
		else
			buf_addc(out, *c);
		c++;
	}
}

void
json_write_string(Buf *out, const char *string, size_t len)
{
	buf_addc(out, '"');
	while (len > 0)
	{
		unsigned char c = (unsigned char) *string;
		size_t		n = json_utf8(string, len);

		if (n == 0)
		{
			add_utf8(out, 0xfffd);
			n = 1;
		}
		else if (c == '"' || c == '\\')
			buf_printf(out, "\\%c", c);
		else if (c == '\n')
			buf_adds(out, "\\n");
		else if (c < 0x20 || c == 0x7f)
			buf_printf(out, "\\u%04x", c);
		else
			buf_add(out, string, n);
		string += n;
		len -= n;
	}
	buf_addc(out, '"');
}
