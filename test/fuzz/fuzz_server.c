/*
 * fuzz_server.c
 *		What is read with PostgreSQL's help: requests and branches as objects,
 *		replies of JSON-RPC, URLs of every protocol.
 *
 * A module of its own, with all of dtm in it, for a backend in single-user mode:
 *
 *		CREATE FUNCTION fuzz(text[]) RETURNS void AS '.../fuzz_server.so' LANGUAGE C;
 *		SELECT fuzz('{request,-max_total_time=5,corpus/request}');
 *
 * An error is as good as a result, if it is one that says what is wrong with
 * the input.
 */
#include "request/request.h"
#include "wire/private.h"

#include "access/xact.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "swell.h"

extern int	LLVMFuzzerRunDriver(int *argc, char ***argv,
								int (*callback) (const uint8_t *data, size_t size));

PG_FUNCTION_INFO_V1(fuzz);

static void
read_request(char *text, size_t len)
{
	(void) request_from_object(DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text))));
}

/* An array of steps, and its first payload as a form. */
static void
read_steps(char *text, size_t len)
{
	RequestSteps steps = {
		.json = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text))),
		.text = text
	};
	Request    *request = request_from_arguments(cstring_to_text("saga"), steps, NULL, NULL);
	const bytea *payload = request->trans.core.nsteps > 0 ? request->trans.payload[0] : NULL;
	size_t		form_len;

	if (payload != NULL)
		(void) wire_content("application/x-www-form-urlencoded", VARDATA_ANY(payload),
							VARSIZE_ANY_EXHDR(payload), &form_len);
}

/* "key=value": an option of a server. */
static void
read_option(char *text, size_t len)
{
	StepOptions options = {NULL};
	StepProblem problem;
	char	   *value = strchr(text, '=');

	if (value == NULL)
		return;
	*value++ = '\0';
	if (step_options_has(text, STEP_IN_SERVER))
		(void) step_options_read_text(&options, text, value, &problem);
	else
		(void) step_options_hint(text, STEP_IN_SERVER, NULL, 0);
}

static void
read_branch(char *text, size_t len)
{
	(void) request_branch_from_object(DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text))), NULL);
}

static void
read_reply(char *text, size_t len)
{
	DtmCall		call = {.reply = text, .reply_len = len, .http_status = 200};
	const char *error;

	(void) wire_result(WIRE_JSONRPC, NULL, &call, &error);
	if (strlen(error) > len + 100)
		abort();
}

static void
read_url(char *text, size_t len)
{
	static const char *const protocols[] = {NULL, "http", "grpc", "json-rpc"};
	size_t		value_len;

	for (int i = 0; i < lengthof(protocols); i++)
	{
		(void) wire_kind(protocols[i], text);
		(void) wire_url_problem(protocols[i], text, NULL);
	}
	(void) http_url_parameter(text, "method", &value_len);
	(void) http_url(text);
}

static const struct
{
	const char *name;
	void		(*read) (char *text, size_t len);
	bool		any_bytes;		/* or text that the server has checked before a
								 * function sees it */
}			targets[] = {
	{"request", read_request, false}, {"branch", read_branch, false},
	{"steps", read_steps, false}, {"option", read_option, false},
	{"jsonrpc", read_reply, true}, {"wire_url", read_url, false}
};

static int	target = -1;

static int
run_one(const uint8_t *data, size_t size)
{
	MemoryContext before = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(before, "fuzz", ALLOCSET_DEFAULT_SIZES);
	ResourceOwner owner = CurrentResourceOwner;

	MemoryContextSwitchTo(context);
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		size_t		len;
		char	   *swollen = swell(data, size, &len);
		char	   *text = palloc(len + 1);
		int64_t		started = cpu_us();

		memcpy(text, swollen, len + 1);
		free(swollen);
		if (targets[target].any_bytes ||
			pg_verify_mbstr(PG_UTF8, text, (int) strlen(text), true))
			targets[target].read(text, len);
		check_time(started, len);
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		if (ERRCODE_TO_CATEGORY(geterrcode()) == ERRCODE_TO_CATEGORY(ERRCODE_INTERNAL_ERROR))
		{
			EmitErrorReport();
			abort();
		}
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	CurrentResourceOwner = owner;
	MemoryContextSwitchTo(before);
	MemoryContextDelete(context);
	return 0;
}

/* fuzz(target and arguments of libFuzzer); ends the process */
Datum
fuzz(PG_FUNCTION_ARGS)
{
	Datum	   *elements;
	int			n;
	char	  **arguments;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, NULL, &n);
	arguments = palloc0(sizeof(char *) * (n + 1));
	for (int i = 0; i < n; i++)
		arguments[i] = TextDatumGetCString(elements[i]);
	for (int i = 0; i < lengthof(targets); i++)
		if (n > 0 && strcmp(arguments[0], targets[i].name) == 0)
			target = i;
	if (target < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("no such target")));
	/* in single-user mode nobody has, and then nothing is nested too deeply */
	(void) set_stack_base();
	exit(LLVMFuzzerRunDriver(&n, &arguments, run_one));
}
