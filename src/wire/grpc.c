/*
 * grpc.c
 *		A branch's request over gRPC (§5.4): a unary call whose message is the
 *		unchanged payload.
 *
 * URLs are grpc:// (without TLS) or grpcs:// (with TLS) and, if the protocol
 * is grpc, "host:port/package.Service/Method".
 */
#include "private.h"

#include "base64.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include <ctype.h>

/* Before each message: a byte of flags, and its length. */
#define FRAME_HEADER		5

/* Headers of a call besides branch_headers. */
#define NHEADERS			12

/* The tag of field 1, of bytes, in WorkflowData (§4). */
#define WORKFLOW_DATA_TAG	0x0A

/* The URL as libcurl takes it. */
static char *
http_url_of(const char *url)
{
	const char *rest = strstr(url, "://");

	return psprintf("%s://%s",
					pg_strncasecmp(url, "grpcs:", 6) == 0 ? "https" : "http",
					rest != NULL ? rest + 3 : url);
}

const char *
grpc_url_problem(const char *url)
{
	const char *rest = strstr(url, "://");
	const char *target = rest != NULL ? rest + 3 : url;
	const char *service;
	const char *method;

	if (rest != NULL && pg_strncasecmp(url, "grpc://", 7) != 0 &&
		pg_strncasecmp(url, "grpcs://", 8) != 0)
		return "unsupported scheme";
	service = strchr(target, '/');
	/* "grpc:/h/..." is not meant as a host of that name */
	if (service != NULL && service > target && service[-1] == ':')
		return "missing port after the host";
	method = service != NULL ? strchr(service + 1, '/') : NULL;
	if (method == NULL || method == service + 1 || method[1] == '\0' ||
		strpbrk(service, "?#") != NULL)
		return "missing /package.Service/Method";
	return dtm_url_problem(http_url_of(url));
}

/* The message behind its frame's header. */
static char *
frame_of(const Transaction *trans, const WireBranch *branch, size_t *len)
{
	StringInfoData frame;
	const bytea *payload = branch->payload;
	size_t		payload_len = payload ? VARSIZE_ANY_EXHDR(payload) : 0;
	uint32		message_len;

	initStringInfo(&frame);
	appendStringInfoSpaces(&frame, FRAME_HEADER);
	if (trans->core.type == DTM_WORKFLOW && payload_len > 0)
	{
		appendStringInfoChar(&frame, WORKFLOW_DATA_TAG);
		for (size_t rest = payload_len;; rest >>= 7)
		{
			appendStringInfoChar(&frame, (char) ((rest & 0x7F) |
												 (rest > 0x7F ? 0x80 : 0)));
			if (rest <= 0x7F)
				break;
		}
	}
	if (payload_len > 0)
		appendBinaryStringInfo(&frame, VARDATA_ANY(payload), (int) payload_len);
	message_len = (uint32) (frame.len - FRAME_HEADER);
	frame.data[0] = 0;			/* not compressed */
	for (int i = 0; i < 4; i++)
		frame.data[1 + i] = (char) (message_len >> (8 * (3 - i)));
	*len = frame.len;
	return frame.data;
}

static char *
lower_case(const char *name)
{
	char	   *copy = pstrdup(name);

	for (char *c = copy; *c; c++)
		*c = (char) tolower((unsigned char) *c);
	return copy;
}

/*
 * "name: value", in the way that libcurl has for an empty value.  A value that
 * was stored before control characters were refused can't begin another header.
 */
static char *
header(const char *name, const char *value)
{
	char	   *clean;

	if (http_is_blank(value))
		return psprintf("%s;", name);
	clean = pstrdup(utf8_of(value));
	for (char *c = clean; *c; c++)
		if ((unsigned char) *c < 0x20 || *c == 0x7f)
			*c = ' ';
	return psprintf("%s: %s", name, clean);
}

/* A header of bytes is sent in base64. */
static char *
binary_header(const char *name, const char *value)
{
	return header(name, base64_encode(value, strlen(value)));
}

static bool
is_binary(const char *name)
{
	size_t		len = strlen(name);

	return len > 4 && pg_strcasecmp(name + len - 4, "-bin") == 0;
}

/* Those of the protocol itself are not for branch_headers to set. */
static bool
is_reserved(const char *name)
{
	return pg_strcasecmp(name, "content-type") == 0 ||
		pg_strcasecmp(name, WIRE_TRACEPARENT) == 0 ||
		header_is_own(name) ||
		pg_strcasecmp(name, "te") == 0 ||
		pg_strncasecmp(name, "grpc-", 5) == 0;
}

void
grpc_request(const Transaction *trans, const WireBranch *branch, DtmCall *call)
{
	const char **headers = palloc(sizeof(char *) * (trans->nheaders + NHEADERS));
	const char *user_agent = DTM_USER_AGENT;
	int			n = 0;

	headers[n++] = "content-type: application/grpc";
	headers[n++] = "te: trailers";
	headers[n++] = "accept:";	/* libcurl's own is left out */
	headers[n++] = "accept-encoding: identity";
	headers[n++] = "expect:";
	/* a number of 8 digits at most */
	headers[n++] = psprintf("grpc-timeout: %lldm",
							(long long) Min(Max(call->timeout / 1000, 1), 99999999));
	headers[n++] = header("dtm-gid", trans->gid);
	headers[n++] = header("dtm-trans_type", dtm_trans_type_name(trans->core.type));
	headers[n++] = header("dtm-branch_id", branch->branch_id);
	headers[n++] = header("dtm-op", branch->op);
	headers[n++] = header("dtm-dtm", "");
	for (int i = 0; i < trans->nheaders; i++)
	{
		if (is_reserved(trans->header_name[i]))
			continue;
		if (pg_strcasecmp(trans->header_name[i], "user-agent") == 0)
			user_agent = NULL;
		headers[n++] = is_binary(trans->header_name[i]) ?
			binary_header(lower_case(trans->header_name[i]), trans->header_value[i]) :
			header(lower_case(trans->header_name[i]), trans->header_value[i]);
	}
	if (user_agent != NULL)
		headers[n++] = user_agent;
	call->headers = headers;
	call->nheaders = n;
	call->url = http_url_of(http_url(branch->url));
	call->body = frame_of(trans, branch, &call->body_len);
	call->post = true;
	call->http2 = true;
}

const char *
grpc_message(const DtmCall *call, size_t *len)
{
	*len = call->body_len - FRAME_HEADER;
	return call->body + FRAME_HEADER;
}

DtmResult
grpc_result(const DtmCall *call, const char **text)
{
	if (call->http_status != 200 || call->grpc_status < 0)
	{
		*text = "response has no grpc-status";
		return DTM_RESULT_TEMPORARY;
	}
	*text = call->grpc_message ? call->grpc_message : "";
	return dtm_classify_grpc(call->grpc_status, call->grpc_message);
}
