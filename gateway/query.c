/*
 * query.c
 *		Query strings, and paths, of HTTP.
 */
#include "query.h"

#include "json.h"

#include <string.h>

/*
 * Parameters that are looked at; no request has half as many.  What is behind them
 * is not there: each is compared with all before it.
 */
#define MAX_PARAMETERS	32

static int
hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' :
		c >= 'a' && c <= 'f' ? c - 'a' + 10 :
		c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

void
query_decode(Buf *out, const char *text, size_t len, bool form)
{
	for (size_t i = 0; i < len; i++)
	{
		if (text[i] == '%' && len - i > 2 &&
			hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0)
		{
			buf_addc(out, (char) (hex_digit(text[i + 1]) << 4 | hex_digit(text[i + 2])));
			i += 2;
		}
		else if (form && text[i] == '+')
			buf_addc(out, ' ');
		else
			buf_addc(out, text[i]);
	}
}

/* Takes the next parameter, decoded; false: there is none. */
static bool
next_parameter(const char **query, Buf *name, Buf *value)
{
	const char *c = *query;
	size_t		len;
	size_t		name_len;

	while (*c == '&')
		c++;
	if (*c == '\0')
		return false;
	len = strcspn(c, "&");
	name_len = strcspn(c, "=&");
	name->len = value->len = 0;
	query_decode(name, c, name_len, true);
	if (name_len < len)
		query_decode(value, c + name_len + 1, len - name_len - 1, true);
	*query = c + len;
	return true;
}

/* Has the object got a member of this name, as it was written into it? */
static bool
has_member(const Buf *object, const Buf *name)
{
	Buf			key = {0};
	bool		found;

	json_write_string(&key, name->data ? name->data : "", name->len);
	buf_addc(&key, ':');
	found = object->len > 0 &&
		memmem(object->data, object->len, key.data, key.len) != NULL;
	buf_free(&key);
	return found;
}

void
query_to_object(Buf *out, const char *query)
{
	Buf			object = {0};
	Buf			name = {0};
	Buf			value = {0};

	for (int n = 0; n < MAX_PARAMETERS && next_parameter(&query, &name, &value); n++)
	{
		if (has_member(&object, &name))
			continue;
		buf_addc(&object, object.len == 0 ? '{' : ',');
		json_write_string(&object, name.data ? name.data : "", name.len);
		buf_addc(&object, ':');
		json_write_string(&object, value.data ? value.data : "", value.len);
	}
	buf_adds(&object, object.len == 0 ? "{}" : "}");
	buf_add(out, object.data, object.len);
	buf_free(&object);
	buf_free(&name);
	buf_free(&value);
}

bool
query_value(const char *query, const char *name, Buf *value)
{
	Buf			found = {0};
	bool		is_there = false;

	for (int n = 0; n < MAX_PARAMETERS && !is_there && next_parameter(&query, &found, value); n++)
		is_there = found.len > 0 && found.len == strlen(name) &&
			memcmp(found.data, name, found.len) == 0;
	buf_free(&found);
	return is_there;
}
