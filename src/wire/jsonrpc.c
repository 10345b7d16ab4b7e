/*
 * jsonrpc.c
 *		A branch's request over JSON-RPC 2.0 (§5.3).
 */
#include "private.h"

#include "uri.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

/* Bytes of a reply that is none that go into the error. */
#define MAX_QUOTE	"1000"

/* ---------- requests ---------- */

static Jsonb *
parse_json(const char *string)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
											  CStringGetDatum(string)));
}

/*
 * The payload's object with the four parameters, which go before its own, in
 * UTF-8.
 */
static const char *
params_of(const Transaction *trans, const WireBranch *branch)
{
	StringInfoData own;
	Jsonb	   *params;

	initStringInfo(&own);
	appendStringInfoString(&own, "{\"branch_id\": ");
	escape_json(&own, branch->branch_id);
	appendStringInfoString(&own, ", \"gid\": ");
	escape_json(&own, trans->gid);
	appendStringInfoString(&own, ", \"op\": ");
	escape_json(&own, branch->op);
	appendStringInfo(&own, ", \"trans_type\": \"%s\"}",
					 dtm_trans_type_name(trans->core.type));
	params = parse_json(own.data);
	if (branch->payload != NULL)
	{
		char	   *text = utf8_to_server(VARDATA_ANY(branch->payload),
										  VARSIZE_ANY_EXHDR(branch->payload));

		params = DatumGetJsonbP(DirectFunctionCall2(jsonb_concat,
													JsonbPGetDatum(parse_json(text)),
													JsonbPGetDatum(params)));
	}
	return utf8_of(JsonbToCString(NULL, &params->root, VARSIZE(params)));
}

/* What its bytes are has been checked at the submit; NULL: they are no text. */
static const char *
method_of(const char *url)
{
	size_t		len;
	const char *method = http_url_parameter(utf8_of(url), "method", &len);

	return method != NULL && strlen(method) == len &&
		pg_verify_mbstr(PG_UTF8, method, (int) len, true) ? method : NULL;
}

const char *
jsonrpc_url_problem(const char *url)
{
	return method_of(url) == NULL ? "method is not valid UTF-8" : NULL;
}

void
jsonrpc_request(const Transaction *trans, const WireBranch *branch,
				DtmCall *call)
{
	StringInfoData body;
	const char *method = method_of(branch->url);

	if (method == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CHARACTER_NOT_IN_REPERTOIRE),
				 errmsg("method is not valid UTF-8"),
				 errhint("Percent-encode the method's name in UTF-8.")));
	initStringInfo(&body);
	appendStringInfoString(&body, "{\"id\": ");
	escape_json(&body, utf8_of(psprintf("%s-%s-%s", trans->gid, branch->branch_id,
										branch->op)));
	appendStringInfoString(&body, ", \"jsonrpc\": \"2.0\", \"method\": ");
	escape_json(&body, method);
	appendStringInfo(&body, ", \"params\": %s}", params_of(trans, branch));
	call->url = http_url(branch->url);
	call->body = body.data;
	call->body_len = (size_t) body.len;
	call->post = true;
	http_set_headers(trans, branch, call);
}

/* ---------- replies ---------- */

/* What is looked for in a reply, while it is read. */
typedef struct ReplyState
{
	int			depth;			/* of objects and arrays */
	bool		is_object;		/* the whole is one */
	bool		is_null;		/* or null */
	bool		has_error;		/* its last "error" is not null */
	bool		in_error;		/* at that */
	bool		in_code;		/* at the "code" of that, an object */
	bool		may_say;		/* the next scalar may be one of dtm's words */
	double		code;			/* the last one; 0: none, or no number */
	bool		ongoing;		/* the words were said */
	bool		failure;
} ReplyState;

static DTM_JSON_ACTION
on_object_start(void *arg)
{
	ReplyState *state = arg;

	state->is_object = state->is_object || state->depth == 0;
	state->may_say = false;
	state->depth++;
	DTM_JSON_ACTION_RETURN;
}

static DTM_JSON_ACTION
on_array_start(void *arg)
{
	ReplyState *state = arg;

	state->may_say = false;
	state->depth++;
	DTM_JSON_ACTION_RETURN;
}

static DTM_JSON_ACTION
on_end(void *arg)
{
	ReplyState *state = arg;

	state->depth--;
	DTM_JSON_ACTION_RETURN;
}

/* Of a name that comes twice the last one counts, as in jsonb. */
static DTM_JSON_ACTION
on_field(void *arg, char *name, bool isnull)
{
	ReplyState *state = arg;

	/* as dtm's SDKs say it: a dtm_result in the result, or the whole of it */
	state->may_say = (state->depth <= 2 && strcmp(name, "dtm_result") == 0) ||
		(state->depth == 1 && strcmp(name, "result") == 0) ||
		(state->depth == 2 && state->in_error && strcmp(name, "message") == 0);
	if (state->depth == 1)
	{
		state->in_error = strcmp(name, "error") == 0;
		if (state->in_error)
		{
			state->has_error = !isnull;
			state->code = 0;
		}
	}
	if (state->depth <= 2)
		state->in_code = state->depth == 2 && state->in_error && strcmp(name, "code") == 0;
	if (state->in_code)
		state->code = 0;
	pfree(name);
	DTM_JSON_ACTION_RETURN;
}

static DTM_JSON_ACTION
on_scalar(void *arg, char *token, JsonTokenType type)
{
	ReplyState *state = arg;

	if (state->depth == 0)
		state->is_null = type == JSON_TOKEN_NULL;
	if (type == JSON_TOKEN_STRING && state->may_say)
	{
		DtmResult	said = dtm_classify_words(token, strlen(token));

		state->ongoing = state->ongoing || said == DTM_RESULT_ONGOING;
		state->failure = state->failure || said == DTM_RESULT_FAILURE;
	}
	state->may_say = false;
	/* whatever is too large for it is none of the codes */
	if (type == JSON_TOKEN_NUMBER && state->in_code && state->depth == 2)
		state->code = strtod(token, NULL);
	pfree(token);
	DTM_JSON_ACTION_RETURN;
}

/*
 * A reply in ASCII: what is not, and escapes of what is not, or of what no
 * string of ours can have, becomes "?".  None of it has a meaning for us, and
 * some of it no JSON parser takes.  Of the same length, but for a byte order mark.
 */
static char *
in_ascii(const char *reply, size_t len, size_t *ascii_len)
{
	char	   *ascii;
	bool		marked = len >= 3 && memcmp(reply, "\xEF\xBB\xBF", 3) == 0;

	reply += marked ? 3 : 0;
	len -= marked ? 3 : 0;
	ascii = palloc(len + 1);
	memcpy(ascii, reply, len);	/* it may have bytes 0 */
	ascii[len] = '\0';
	for (size_t i = 0; i < len; i++)
	{
		int			code = 0;
		int			digits = 0;

		if (IS_HIGHBIT_SET(ascii[i]))
			ascii[i] = '?';
		if (ascii[i] != '\\' || i + 1 >= len)
			continue;
		if (ascii[i + 1] == 'u')
			for (; digits < 4 && i + 2 + digits < len && uri_hex_digit(reply[i + 2 + digits]) >= 0; digits++)
				code = code * 16 + uri_hex_digit(reply[i + 2 + digits]);
		if (digits == 4 && (code == 0 || code > 0x7f))
			memset(ascii + i, '?', 6);
		i += digits == 4 ? 5 : 1;
	}
	*ascii_len = len;
	return ascii;
}

/* Is it JSON?  Throws where it is nested too deeply. */
static bool
read_reply(const DtmCall *call, ReplyState *state)
{
	JsonSemAction actions = {
		.semstate = state,
		.object_start = on_object_start,
		.object_end = on_end,
		.array_start = on_array_start,
		.array_end = on_end,
		.object_field_start = on_field,
		.scalar = on_scalar
	};
	size_t		len;
	char	   *ascii = in_ascii(call->reply ? call->reply : "",
								 call->reply ? call->reply_len : 0, &len);

	return pg_parse_json(dtm_json_lex_context(ascii, len), &actions) == JSON_SUCCESS;
}

/* What a reply that is read says, "problem": that it says nothing. */
static DtmResult
meaning_of(const ReplyState *state, bool ignore_words, const char **problem)
{
	if (!state->is_object && !state->is_null)
		*problem = "reply is JSON, but not a JSON-RPC response";
	else if (state->ongoing && !ignore_words)
		return DTM_RESULT_ONGOING;
	else if (state->failure && !ignore_words)
		return DTM_RESULT_FAILURE;
	else
		return state->has_error ? dtm_classify_jsonrpc(state->code) : DTM_RESULT_SUCCESS;
	return DTM_RESULT_TEMPORARY;
}

/*
 * A reply that is nested too deeply for the stack throws; that stays here.
 * There is nothing to clean up but memory.
 */
DtmResult
jsonrpc_result(const DtmReplyRules *rules, const DtmCall *call, const char **text)
{
	MemoryContext before = CurrentMemoryContext;
	MemoryContext scratch = AllocSetContextCreate(before, "dtm JSON-RPC reply",
												  ALLOCSET_DEFAULT_SIZES);
	volatile DtmResult result = DTM_RESULT_TEMPORARY;
	const char *volatile problem = NULL;

	MemoryContextSwitchTo(scratch);
	PG_TRY();
	{
		ReplyState	state = {0};
		const char *what = NULL;

		if (read_reply(call, &state))
			result = meaning_of(&state, rules != NULL && rules->ignore_words, &what);
		else
			what = "reply is not JSON";
		problem = what;
	}
	PG_CATCH();
	{
		problem = geterrcode() == ERRCODE_STATEMENT_TOO_COMPLEX ?
			"reply is nested too deeply" : "reply could not be read";
		FlushErrorState();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(before);
	MemoryContextDelete(scratch);
	*text = call->reply ? call->reply : "";
	if (problem != NULL)
		*text = psprintf("%s: %." MAX_QUOTE "s", problem, *text);
	return result;
}
