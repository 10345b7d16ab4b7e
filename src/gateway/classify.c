/*
 * classify.c
 *		What errors are to the clients of the network API (§1.3).
 */
#include "gateway/private.h"

#include "errors.h"

const char *
gateway_outcome_name(GatewayOutcome outcome)
{
	switch (outcome)
	{
		case GATEWAY_SUCCESS:
			return "success";
		case GATEWAY_FAILURE:
			return "failure";
		case GATEWAY_ONGOING:
			return "ongoing";
		case GATEWAY_ERROR:
			return "error";
		case GATEWAY_INVALID:
			return "invalid";
		case GATEWAY_DENIED:
			return "denied";
		case GATEWAY_UNAUTHENTICATED:
			return "unauthenticated";
		case GATEWAY_LOCKED:
			return "locked";
		case GATEWAY_UNAVAILABLE:
			return "unavailable";
	}
	return NULL;
}

/* Is it the server that can't do it now, whatever the request is? */
static GatewayOutcome
concerns_server(int sqlerrcode)
{
	if (sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
		return GATEWAY_LOCKED;
	if (sqlerrcode == ERRCODE_READ_ONLY_SQL_TRANSACTION)
		return GATEWAY_UNAVAILABLE;
	switch (ERRCODE_TO_CATEGORY(sqlerrcode))
	{
		case ERRCODE_TRANSACTION_ROLLBACK:	/* 40 */
		case ERRCODE_INSUFFICIENT_RESOURCES:	/* 53 */
		case ERRCODE_OPERATOR_INTERVENTION: /* 57 */
		case ERRCODE_SYSTEM_ERROR:	/* 58 */
			return GATEWAY_UNAVAILABLE;
		default:
			return GATEWAY_ERROR;
	}
}

/* Whose meaning depends on what was asked for. */
static GatewayOutcome
outcome_of(const GatewayItem *item, int sqlerrcode)
{
	bool		registers = strcmp(item->op, "registerBranch") == 0;

	switch (sqlerrcode)
	{
		case DTM_ERRCODE_WRONG_STATUS:
			/* a workflow that has ended is no refusal */
			return item->is_workflow ? GATEWAY_ERROR : GATEWAY_FAILURE;
		case DTM_ERRCODE_GID_IN_USE:
			return GATEWAY_FAILURE;
		case DTM_ERRCODE_UNKNOWN_GID:
			return registers ? GATEWAY_FAILURE : GATEWAY_ERROR;
		case ERRCODE_DATATYPE_MISMATCH:
		case ERRCODE_INVALID_TEXT_REPRESENTATION:
		case ERRCODE_CHARACTER_NOT_IN_REPERTOIRE:
		case ERRCODE_UNTRANSLATABLE_CHARACTER:
			return registers ? GATEWAY_INVALID : GATEWAY_ERROR;
		default:
			return concerns_server(sqlerrcode);
	}
}

void
gateway_classify(GatewayItem *item, const ErrorData *edata)
{
	item->sqlerrcode = edata->sqlerrcode;
	item->outcome = outcome_of(item, edata->sqlerrcode);
	item->wait = 0;
	item->nanswer = 0;
	if (item->outcome == GATEWAY_FAILURE)
		/* clients look for the word */
		item->message = psprintf("%s FAILURE", edata->message);
	else
		item->message = psprintf("%s%s%s%s%s", edata->message,
								 edata->detail ? ". " : "", edata->detail ? edata->detail : "",
								 edata->hint ? (edata->detail ? " " : ". ") : "",
								 edata->hint ? edata->hint : "");
}
