/*
 * grpc.c
 *		Frames, protobuf, texts and time-outs of gRPC.
 */
#include "grpc.h"

#include "json.h"

#include <stdlib.h>
#include <string.h>

#define FRAME_HEAD	5			/* a flag and a length */

/* ---------- frames ---------- */

int
grpc_unframe(const char *body, size_t len, Bytes *message, const char **problem)
{
	const unsigned char *head = (const unsigned char *) body;
	size_t		size;

	if (len < FRAME_HEAD)
	{
		*problem = len == 0 ? "no request message" : "request message is cut off";
		return GRPC_INTERNAL;
	}
	if (head[0] > 1)
	{
		*problem = "malformed frame of a message";
		return GRPC_INTERNAL;
	}
	if (head[0] == 1)
	{
		*problem = "compressed messages are not supported";
		return GRPC_UNIMPLEMENTED;
	}
	size = (size_t) head[1] << 24 | (size_t) head[2] << 16 | (size_t) head[3] << 8 | head[4];
	if (size > len - FRAME_HEAD)
	{
		*problem = "request message is cut off";
		return GRPC_INTERNAL;
	}
	if (size < len - FRAME_HEAD)
	{
		*problem = "more than one request message";
		return GRPC_INTERNAL;
	}
	message->data = body + FRAME_HEAD;
	message->len = size;
	return GRPC_OK;
}

size_t
grpc_begin_frame(Buf *out)
{
	buf_addc(out, 0);
	buf_add32(out, 0);
	return out->len;
}

void
grpc_end_frame(Buf *out, size_t begin)
{
	size_t		len = out->len - begin;

	for (int i = 0; i < 4; i++)
		out->data[begin - 1 - (size_t) i] = (char) (len >> (8 * i));
}

void
grpc_encode_message(Buf *out, const char *message)
{
	size_t		len = strlen(message);
	const char *end = message + len;

	if (len > GRPC_MAX_MESSAGE)
	{
		/* not within a character */
		end = message + GRPC_MAX_MESSAGE;
		while (end > message && (*end & 0xc0) == 0x80)
			end--;
	}
	for (const char *c = message; c < end; c++)
		if (*c < 0x20 || *c > 0x7e || *c == '%')
			buf_printf(out, "%%%02X", (unsigned char) *c);
		else
			buf_addc(out, *c);
}

int64_t
grpc_timeout(const char *value)
{
	int64_t		number = 0;
	size_t		digits = strspn(value, "0123456789");

	if (digits == 0 || digits > 8 || value[digits] == '\0' || value[digits + 1] != '\0')
		return -1;
	for (size_t i = 0; i < digits; i++)
		number = number * 10 + (value[i] - '0');
	switch (value[digits])
	{
		case 'H':
			return number * 3600 * 1000000;
		case 'M':
			return number * 60 * 1000000;
		case 'S':
			return number * 1000000;
		case 'm':
			return number * 1000;
		case 'u':
			return number;
		case 'n':
			return number / 1000;
		default:
			return -1;
	}
}

/* ---------- protobuf ---------- */

/* Wire types. */
#define VARINT	0
#define FIXED64	1
#define STRING	2
#define FIXED32	5

/* A field of a message. */
typedef struct Field
{
	uint32_t	number;
	int			type;
	uint64_t	value;			/* of a varint */
	Bytes		bytes;			/* of a string */
} Field;

static bool
read_varint(Bytes *message, uint64_t *value)
{
	*value = 0;
	for (int shift = 0; shift < 70 && message->len > 0; shift += 7)
	{
		unsigned char byte = (unsigned char) *message->data;

		message->data++;
		message->len--;
		if (shift == 63 && byte > 1)
			return false;
		*value |= (uint64_t) (byte & 0x7f) << shift;
		if (byte < 0x80)
			return true;
	}
	return false;
}

static bool
skip(Bytes *message, uint64_t len)
{
	if (len > message->len)
		return false;
	message->data += len;
	message->len -= (size_t) len;
	return true;
}

/* Takes the next field; false: there is none, or it is malformed (then *good). */
static bool
next_field(Bytes *message, Field *field, bool *good)
{
	uint64_t	key;
	uint64_t	len;

	if (message->len == 0)
		return false;
	*good = false;
	if (!read_varint(message, &key) || key >> 3 == 0 || key >> 3 > 536870911)
		return false;
	field->number = (uint32_t) (key >> 3);
	field->type = (int) (key & 7);
	switch (field->type)
	{
		case VARINT:
			*good = read_varint(message, &field->value);
			break;
		case FIXED64:
			*good = skip(message, 8);
			break;
		case FIXED32:
			*good = skip(message, 4);
			break;
		case STRING:
			if (!read_varint(message, &len))
				return false;
			field->bytes.data = message->data;
			field->bytes.len = (size_t) len;
			*good = skip(message, len);
			break;
		default:				/* groups, which nothing has for ages */
			break;
	}
	return *good;
}

/* What a field is to be: a number, or bytes, or text in UTF-8. */
static bool
take_number(const Field *field, uint64_t *value)
{
	*value = field->value;
	return field->type == VARINT;
}

static bool
take_text(const Field *field, Bytes *text)
{
	Bytes		rest = field->bytes;

	if (field->type != STRING)
		return false;
	*text = field->bytes;
	while (rest.len > 0)
	{
		size_t		n = json_utf8(rest.data, rest.len);

		if (n == 0)
			return false;
		rest.data += n;
		rest.len -= n;
	}
	return true;
}

static void
add_key(Buf *object, const char *key)
{
	buf_printf(object, "%s\"%s\":", object->len == 0 ? "{" : ",", key);
}

static void
add_text(Buf *object, const char *key, Bytes text)
{
	if (text.len == 0)
		return;
	add_key(object, key);
	json_write_string(object, text.data, text.len);
}

static void
add_number(Buf *object, const char *key, uint64_t value)
{
	if (value == 0)
		return;
	add_key(object, key);
	buf_printf(object, "%lld", (long long) value);
}

static void
end_object(Buf *object)
{
	buf_adds(object, object->len == 0 ? "{}" : "}");
}

/* An entry of a map of strings, as a member of an object. */
static bool
take_entry(const Field *field, Buf *object)
{
	Bytes		message = field->bytes;
	Bytes		key = {"", 0};
	Bytes		value = {"", 0};
	Field		part;
	bool		good = true;

	if (field->type != STRING)
		return false;
	while (next_field(&message, &part, &good))
		if ((part.number == 1 && !take_text(&part, &key)) ||
			(part.number == 2 && !take_text(&part, &value)))
			return false;
	if (!good)
		return false;
	buf_addc(object, object->len == 0 ? '{' : ',');
	json_write_string(object, key.data, key.len);
	buf_addc(object, ':');
	json_write_string(object, value.data, value.len);
	return true;
}

typedef struct Options
{
	uint64_t	wait_result;
	uint64_t	timeout_to_fail;
	uint64_t	retry_interval;
	uint64_t	request_timeout;
	uint64_t	retry_limit;
	Buf			branch_headers;
} Options;

static bool
read_options(const Field *field, Options *options)
{
	Bytes		message = field->bytes;
	Field		part;
	bool		good = field->type == STRING;

	while (good && next_field(&message, &part, &good))
		switch (part.number)
		{
			case 1:
				good = take_number(&part, &options->wait_result);
				break;
			case 2:
				good = take_number(&part, &options->timeout_to_fail);
				break;
			case 3:
				good = take_number(&part, &options->retry_interval);
				break;
			case 5:
				good = take_entry(&part, &options->branch_headers);
				break;
			case 6:
				good = take_number(&part, &options->request_timeout);
				break;
			case 7:
				good = take_number(&part, &options->retry_limit);
				break;
			default:			/* 4: headers that dtm no longer passes on */
				break;
		}
	return good;
}

static void
write_options(Buf *object, const Options *options)
{
	if (options->wait_result)
	{
		add_key(object, "wait_result");
		buf_adds(object, "true");
	}
	add_number(object, "timeout_to_fail", options->timeout_to_fail);
	add_number(object, "retry_interval", options->retry_interval);
	add_number(object, "request_timeout", options->request_timeout);
	add_number(object, "retry_limit", options->retry_limit);
	if (options->branch_headers.len > 0)
	{
		add_key(object, "branch_headers");
		buf_add(object, options->branch_headers.data, options->branch_headers.len);
		buf_addc(object, '}');
	}
}

static bool
take_payload(const Field *field, GrpcRequest *request)
{
	int			n = request->npayloads;

	if (field->type != STRING)
		return false;
	/* room is doubled: at powers of two */
	if ((n & (n - 1)) == 0)
		request->payloads = xrealloc(request->payloads,
									 sizeof(Bytes) * (size_t) (n == 0 ? 1 : 2 * n));
	request->payloads[request->npayloads++] = field->bytes;
	return true;
}

/* Texts of DtmRequest by their field numbers, and their names in the object. */
static const struct
{
	uint32_t	number;
	const char *key;
}			request_texts[] = {
	{1, "gid"}, {2, "trans_type"}, {4, "custom_data"}, {6, "query_prepared"},
	{7, "steps"}, {9, "rollback_reason"}
};

#define NTEXTS	(sizeof(request_texts) / sizeof(request_texts[0]))

static bool
read_request_field(const Field *field, Bytes texts[NTEXTS], Options *options,
				   Buf *req_extra, GrpcRequest *request)
{
	for (size_t i = 0; i < NTEXTS; i++)
		if (field->number == request_texts[i].number)
			return take_text(field, &texts[i]);
	switch (field->number)
	{
		case 3:
			return read_options(field, options);
		case 5:
			return take_payload(field, request);
		case 8:
			return take_entry(field, req_extra);
		default:
			return true;
	}
}

bool
grpc_read_request(Bytes message, GrpcRequest *request)
{
	Bytes		texts[NTEXTS] = {{NULL, 0}};
	Options		options = {0};
	Buf			req_extra = {0};
	Field		field;
	bool		good = true;

	memset(request, 0, sizeof(*request));
	while (good && next_field(&message, &field, &good))
		good = read_request_field(&field, texts, &options, &req_extra, request);
	if (good)
	{
		request->gid = texts[0];
		for (size_t i = 0; i < NTEXTS; i++)
			add_text(&request->object, request_texts[i].key, texts[i]);
		write_options(&request->object, &options);
		if (req_extra.len > 0)
		{
			add_key(&request->object, "req_extra");
			buf_add(&request->object, req_extra.data, req_extra.len);
			buf_addc(&request->object, '}');
		}
		add_key(&request->object, "protocol");
		buf_adds(&request->object, "\"grpc\"");
		end_object(&request->object);
	}
	buf_free(&options.branch_headers);
	buf_free(&req_extra);
	return good;
}

bool
grpc_read_branch(Bytes message, GrpcRequest *request)
{
	Bytes		gid = {NULL, 0};
	Bytes		trans_type = {NULL, 0};
	Bytes		branch_id = {NULL, 0};
	Field		field;
	bool		good = true;

	memset(request, 0, sizeof(*request));
	while (good && next_field(&message, &field, &good))
		switch (field.number)
		{
			case 1:
				good = take_text(&field, &gid);
				break;
			case 2:
				good = take_text(&field, &trans_type);
				break;
			case 3:
				good = take_text(&field, &branch_id);
				break;
			case 5:
				/* what is named below comes later, so it wins */
				good = take_entry(&field, &request->object);
				break;
			case 6:
				/* one, and the last */
				request->npayloads = 0;
				good = take_payload(&field, request);
				break;
			default:
				break;
		}
	if (!good)
		return false;
	request->gid = gid;
	add_text(&request->object, "gid", gid);
	add_text(&request->object, "trans_type", trans_type);
	add_text(&request->object, "branch_id", branch_id);
	end_object(&request->object);
	return true;
}

bool
grpc_read_topic(Bytes message, GrpcRequest *request)
{
	static const char *const keys[] = {"topic", "url", "remark"};
	Bytes		texts[3] = {{NULL, 0}};
	Field		field;
	bool		good = true;

	memset(request, 0, sizeof(*request));
	while (good && next_field(&message, &field, &good))
		if (field.number <= 3)
			good = take_text(&field, &texts[field.number - 1]);
	for (int i = 0; good && i < 3; i++)
		add_text(&request->object, keys[i], texts[i]);
	end_object(&request->object);
	return good;
}

void
grpc_free_request(GrpcRequest *request)
{
	buf_free(&request->object);
	free(request->payloads);
	request->payloads = NULL;
}

bool
grpc_read_health(Bytes message, Bytes *service)
{
	Field		field;
	bool		good = true;

	service->data = "";
	service->len = 0;
	while (good && next_field(&message, &field, &good))
		if (field.number == 1)
			good = take_text(&field, service);
	return good;
}

/* ---------- replies ---------- */

static void
write_varint(Buf *out, uint64_t value)
{
	while (value >= 0x80)
	{
		buf_addc(out, (char) (value | 0x80));
		value >>= 7;
	}
	buf_addc(out, (char) value);
}

/* A string or a message; an empty one is not sent. */
static void
write_bytes(Buf *out, uint32_t number, const char *data, size_t len)
{
	if (len == 0)
		return;
	write_varint(out, number << 3 | STRING);
	write_varint(out, len);
	buf_add(out, data, len);
}

void
grpc_write_gid(Buf *out, const char *gid)
{
	write_bytes(out, 1, gid, strlen(gid));
}

void
grpc_write_health(Buf *out, bool serving)
{
	write_varint(out, 1 << 3 | VARINT);
	write_varint(out, serving ? 1 : 2);
}

/* Four parts as the fields 1 to 4 of a message, which is sent even if empty. */
static void
write_four(Buf *out, uint32_t number, const Bytes *parts)
{
	Buf			message = {0};

	for (uint32_t i = 0; i < 4; i++)
		write_bytes(&message, i + 1, parts[i].data, parts[i].len);
	write_varint(out, number << 3 | STRING);
	write_varint(out, message.len);
	buf_add(out, message.data, message.len);
	buf_free(&message);
}

void
grpc_write_progresses(Buf *out, const Bytes *parts, int nparts)
{
	for (int i = 0; i + 4 <= nparts; i += 4)
		write_four(out, i == 0 ? 1 : 2, parts + i);
}
