/*
 * h1.c
 *		HTTP/1.1 requests from bytes.
 *
 * Whatever two parsers might read in two ways is refused: a bare CR or LF, a
 * folded header, blanks around a header's name, two Content-Length, both lengths,
 * another transfer coding than chunked, extensions of chunks, trailers.
 */
#include "h1.h"

#include <string.h>

/* Digits of a chunk's size: more than any limit of a body has. */
#define MAX_CHUNK_DIGITS	8

/* Digits of Content-Length. */
#define MAX_LENGTH_DIGITS	18

void
h1_init(H1 *h1, size_t max_body)
{
	memset(h1, 0, sizeof(*h1));
	h1->max_body = max_body;
}

void
h1_reset(H1 *h1)
{
	size_t		max_body = h1->max_body;

	h1_free(h1);
	h1_init(h1, max_body);
}

void
h1_free(H1 *h1)
{
	buf_free(&h1->head);
	buf_free(&h1->line);
	buf_free(&h1->body);
}

bool
h1_is_begun(const H1 *h1)
{
	return h1->head.len > 0;
}

const char *
h1_phrase(int status)
{
	switch (status)
	{
		case 200:
			return "OK";
		case 301:
			return "Moved Permanently";
		case 307:
			return "Temporary Redirect";
		case 400:
			return "Bad Request";
		case 401:
			return "Unauthorized";
		case 403:
			return "Forbidden";
		case 404:
			return "Not Found";
		case 405:
			return "Method Not Allowed";
		case 408:
			return "Request Timeout";
		case 409:
			return "Conflict";
		case 413:
			return "Content Too Large";
		case 415:
			return "Unsupported Media Type";
		case 421:
			return "Misdirected Request";
		case 425:
			return "Too Early";
		case 429:
			return "Too Many Requests";
		case 431:
			return "Request Header Fields Too Large";
		case 501:
			return "Not Implemented";
		case 503:
			return "Service Unavailable";
		case 505:
			return "HTTP Version Not Supported";
		default:
			return "Internal Server Error";
	}
}

static H1Result
refuse(H1 *h1, int status, const char *reason)
{
	h1->status = status;
	h1->reason = reason;
	return H1_BAD;
}

/* RFC 9110: what names and methods consist of */
static bool
is_token(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		(c >= '0' && c <= '9') ||
		(c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

const char *
h1_header(const H1 *h1, const char *name)
{
	for (int i = 0; i < h1->nheaders; i++)
		if (strcmp(h1->headers[i].name, name) == 0)
			return h1->headers[i].value;
	return NULL;
}

static int
count_headers(const H1 *h1, const char *name)
{
	int			n = 0;

	for (int i = 0; i < h1->nheaders; i++)
		n += strcmp(h1->headers[i].name, name) == 0;
	return n;
}

static bool
equal_ignoring_case(const char *a, size_t len, const char *b)
{
	if (strlen(b) != len)
		return false;
	for (size_t i = 0; i < len; i++)
		if (ascii_lower(a[i]) != b[i])
			return false;
	return true;
}

/* Is an element in the list that some header has? */
static bool
has_element(const H1 *h1, const char *name, const char *element)
{
	for (int i = 0; i < h1->nheaders; i++)
	{
		const char *c = h1->headers[i].value;

		if (strcmp(h1->headers[i].name, name) != 0)
			continue;
		while (*c != '\0')
		{
			size_t		len;
			size_t		end;

			c += strspn(c, ", \t");
			len = end = strcspn(c, ",");
			while (end > 0 && (c[end - 1] == ' ' || c[end - 1] == '\t'))
				end--;
			if (equal_ignoring_case(c, end, element))
				return true;
			c += len;
		}
	}
	return false;
}

/* The next line of the head, without its end; NULL: it has a bare CR or LF. */
static char *
next_line(char **next)
{
	char	   *line = *next;
	char	   *end = strpbrk(line, "\r\n");

	if (end == NULL || end[0] != '\r' || end[1] != '\n')
		return NULL;
	*end = '\0';
	*next = end + 2;
	return line;
}

static H1Result
parse_request_line(H1 *h1, char *line)
{
	char	   *c = line;
	char	   *version;

	while (is_token(*c))
		c++;
	if (c == line || *c != ' ')
		return refuse(h1, 400, "malformed request line");
	*c++ = '\0';
	h1->method = line;
	h1->target = c;
	while ((unsigned char) *c > ' ' && *c != 0x7f)
		c++;
	if (*c != ' ' || c == h1->target)
		return refuse(h1, 400, "malformed request line");
	*c++ = '\0';
	version = c;
	if (strcmp(version, "HTTP/1.1") == 0)
		h1->keep_alive = true;
	else if (strcmp(version, "HTTP/1.0") != 0)
		return refuse(h1, strncmp(version, "HTTP/", 5) == 0 && strlen(version) == 8 ? 505 : 400,
					  "unknown version of HTTP");
	/* the form that only proxies need */
	if (strncmp(h1->target, "http://", 7) == 0)
	{
		const char *path = strchr(h1->target + 7, '/');

		h1->target = path ? path : "/";
	}
	if (h1->target[0] != '/' && strcmp(h1->target, "*") != 0)
		return refuse(h1, 400, "malformed target");
	return H1_HEAD;
}

static H1Result
parse_header(H1 *h1, char *line)
{
	H1Header   *header = &h1->headers[h1->nheaders];
	char	   *c = line;
	char	   *end;

	if (h1->nheaders == H1_MAX_HEADERS)
		return refuse(h1, 431, "too many headers");
	if (*c == ' ' || *c == '\t')
		return refuse(h1, 400, "folded header");
	for (; is_token(*c); c++)
		*c = ascii_lower(*c);
	if (c == line || *c != ':')
		return refuse(h1, 400, "malformed header");
	*c++ = '\0';
	header->name = line;
	c += strspn(c, " \t");
	end = c + strlen(c);
	while (end > c && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	*end = '\0';
	header->value = c;
	for (; *c; c++)
		if (((unsigned char) *c < 0x20 && *c != '\t') || *c == 0x7f)
			return refuse(h1, 400, "control character in a header");
	h1->nheaders++;
	return H1_HEAD;
}

/* How long the body is, and how we know. */
static H1Result
parse_framing(H1 *h1)
{
	const char *length = h1_header(h1, "content-length");
	const char *coding = h1_header(h1, "transfer-encoding");
	size_t		digits;

	h1->state = H1_AT_END;
	if (count_headers(h1, "content-length") > 1 ||
		count_headers(h1, "transfer-encoding") > 1 || (length && coding))
		return refuse(h1, 400, "more than one length of the body");
	if (coding != NULL)
	{
		if (!h1->keep_alive || !equal_ignoring_case(coding, strlen(coding), "chunked"))
			return refuse(h1, h1->keep_alive ? 501 : 400, "unknown transfer coding");
		h1->state = H1_IN_CHUNK_SIZE;
	}
	if (length == NULL)
		return H1_HEAD;
	digits = strspn(length, "0123456789");
	if (digits == 0 || length[digits] != '\0')
		return refuse(h1, 400, "malformed Content-Length");
	if (digits > MAX_LENGTH_DIGITS)
		return refuse(h1, 413, "body too large");
	for (const char *c = length; *c; c++)
		h1->left = h1->left * 10 + (uint64_t) (*c - '0');
	if (h1->left > h1->max_body)
		return refuse(h1, 413, "body too large");
	if (h1->left > 0)
		h1->state = H1_IN_BODY;
	return H1_HEAD;
}

static H1Result
parse_head(H1 *h1)
{
	char	   *next = buf_string(&h1->head);
	char	   *line = next_line(&next);
	H1Result	result;

	if (line == NULL)
		return refuse(h1, 400, "malformed request line");
	result = parse_request_line(h1, line);
	while (result == H1_HEAD)
	{
		line = next_line(&next);
		if (line == NULL)
			return refuse(h1, 400, "line of the head without an end");
		if (*line == '\0')
			break;
		result = parse_header(h1, line);
	}
	if (result == H1_BAD)
		return result;
	/* a zero byte would have cut a line short */
	if (next != h1->head.data + h1->head.len)
		return refuse(h1, 400, "control character in the head");
	if (count_headers(h1, "host") > 1 ||
		(h1->keep_alive && count_headers(h1, "host") == 0))
		return refuse(h1, 400, "not one Host");
	result = parse_framing(h1);
	if (result == H1_BAD)
		return result;
	h1->expects_continue = h1->state != H1_AT_END &&
		has_element(h1, "expect", "100-continue");
	if (has_element(h1, "connection", "close"))
		h1->keep_alive = false;
	return H1_HEAD;
}

/* Up to the empty line. */
static H1Result
feed_head(H1 *h1, const char *data, size_t len, size_t *used)
{
	size_t		before = h1->head.len;
	size_t		take;
	char	   *end;

	/* one empty line before the request is forgiven (RFC 9112, 2.2) */
	if (before == 0 && len > 0 && (data[0] == '\r' || h1->line.len == 1))
	{
		buf_addc(&h1->line, data[0]);
		*used = 1;
		if (h1->line.len == 2 && data[0] != '\n')
			return refuse(h1, 400, "malformed request line");
		return h1->line.len > 2 ? refuse(h1, 400, "malformed request line") : H1_MORE;
	}
	take = len < H1_MAX_HEAD - before ? len : H1_MAX_HEAD - before;
	buf_add(&h1->head, data, take);
	end = h1->head.len < 4 ? NULL :
		memmem(h1->head.data + h1->searched, h1->head.len - h1->searched, "\r\n\r\n", 4);
	/* what it ends with may never come then */
	for (size_t i = before; i < (end ? (size_t) (end - h1->head.data) : h1->head.len); i++)
		if (h1->head.data[i] == '\n' && (i == 0 || h1->head.data[i - 1] != '\r'))
			return refuse(h1, 400, "bare LF");
	if (end == NULL)
	{
		*used = take;
		h1->searched = h1->head.len > 3 ? h1->head.len - 3 : 0;
		/* what can't become right need not be waited for */
		if (h1->head.len > 0 && !is_token(h1->head.data[0]))
			return refuse(h1, 400, "malformed request line");
		return h1->head.len == H1_MAX_HEAD ? refuse(h1, 431, "head too large") : H1_MORE;
	}
	*used = (size_t) (end + 4 - h1->head.data) - before;
	h1->head.len = before + *used;
	buf_free(&h1->line);
	return parse_head(h1);
}

/* A line that ends with CR LF, at most "max" bytes; H1_DONE: it is in h1->line. */
static H1Result
feed_line(H1 *h1, size_t max, const char *data, size_t len, size_t *used)
{
	for (*used = 0; *used < len;)
	{
		char		c = data[(*used)++];

		buf_addc(&h1->line, c);
		if (c == '\n')
		{
			if (h1->line.len < 2 || h1->line.data[h1->line.len - 2] != '\r')
				return refuse(h1, 400, "line without CR LF");
			h1->line.len -= 2;
			return H1_DONE;
		}
		if (h1->line.len > max + 1 ||
			(h1->line.len > 1 && h1->line.data[h1->line.len - 2] == '\r'))
			return refuse(h1, 400, "malformed chunk");
	}
	return H1_MORE;
}

static H1Result
feed_chunk_size(H1 *h1, const char *data, size_t len, size_t *used)
{
	H1Result	result = feed_line(h1, MAX_CHUNK_DIGITS, data, len, used);

	if (result != H1_DONE)
		return result;
	h1->left = 0;
	for (size_t i = 0; i < h1->line.len; i++)
	{
		char		c = h1->line.data[i];
		int			digit = c >= '0' && c <= '9' ? c - '0' :
			c >= 'a' && c <= 'f' ? c - 'a' + 10 :
			c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;

		if (digit < 0)
			return refuse(h1, 400, "malformed chunk");
		h1->left = h1->left * 16 + (uint64_t) digit;
	}
	if (h1->line.len == 0)
		return refuse(h1, 400, "malformed chunk");
	h1->line.len = 0;
	if (h1->left > h1->max_body - h1->body.len)
		return refuse(h1, 413, "body too large");
	h1->state = h1->left == 0 ? H1_IN_TRAILER : H1_IN_CHUNK;
	return H1_MORE;
}

static H1Result
feed_body(H1 *h1, const char *data, size_t len, size_t *used)
{
	*used = len < h1->left ? len : (size_t) h1->left;
	buf_add(&h1->body, data, *used);
	h1->left -= *used;
	if (h1->left == 0)
		h1->state = h1->state == H1_IN_BODY ? H1_AT_END : H1_IN_CHUNK_END;
	return H1_MORE;
}

/* One step: some bytes, or a change of the state. */
static H1Result
step(H1 *h1, const char *data, size_t len, size_t *used)
{
	H1Result	result;

	*used = 0;
	switch (h1->state)
	{
		case H1_IN_HEAD:
			return feed_head(h1, data, len, used);
		case H1_IN_BODY:
		case H1_IN_CHUNK:
			return feed_body(h1, data, len, used);
		case H1_IN_CHUNK_SIZE:
			return feed_chunk_size(h1, data, len, used);
		case H1_IN_CHUNK_END:
			result = feed_line(h1, 0, data, len, used);
			if (result != H1_DONE)
				return result;
			h1->line.len = 0;
			h1->state = H1_IN_CHUNK_SIZE;
			return H1_MORE;
		case H1_IN_TRAILER:
			result = feed_line(h1, 0, data, len, used);
			if (result != H1_DONE)
				return result;
			h1->state = H1_AT_END;
			return H1_MORE;
		case H1_AT_END:
			break;
	}
	return H1_DONE;
}

H1Result
h1_feed(H1 *h1, const char *data, size_t len, size_t *used)
{
	*used = 0;
	if (h1->status != 0)
		return H1_BAD;
	while (h1->state == H1_AT_END || *used < len)
	{
		size_t		n;
		H1Result	result = step(h1, data + *used, len - *used, &n);

		*used += n;
		if (result != H1_MORE)
			return result;
	}
	return H1_MORE;
}
