/*
 * own.c
 *		As whom, and with which settings, the store runs.
 *
 * What it does, it does as the owner of the extension.  With it runs what
 * somebody has added to dtm's tables: triggers, checks, defaults, generated
 * columns, expressions of indexes.  An operator without a schema in one of these is
 * found by search_path; other settings change what a text or a comparison means.
 * So none of them may be the caller's, whichever function wrote the row.
 *
 * To set them all costs more than most of the statements.  Sessions whose every
 * statement names its objects with their schemas need none of it as long as
 * nobody has added anything: is_as_made() looks at the tables, once after each
 * change of one of them.  Where something was added, all is set for each call.
 */
#include "private.h"

#include "invalidation.h"

#include "access/attnum.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_trigger.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "storage/lmgr.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/syscache.h"

/*
 * Left to the caller: time-outs, which end its own statement with all that it has
 * done; what it gets to read (client_min_messages); and how its transaction began
 * (default_transaction_...).
 */
static const struct
{
	const char *name;
	const char *value;
}			own_settings[] = {
	{"search_path", "pg_catalog, pg_temp"},
	{"session_replication_role", "origin"},
	{"row_security", "on"},
	/* how a function's text is read when it is first called */
	{"standard_conforming_strings", "on"},
	{"backslash_quote", "safe_encoding"},
	{"check_function_bodies", "on"},
	{"plpgsql.check_asserts", "on"},
	{"plpgsql.variable_conflict", "error"},
	/* what comparisons and searches find */
	{"transform_null_equals", "off"},
	{"array_nulls", "on"},
	{"gin_fuzzy_search_limit", "0"},
	{"plan_cache_mode", "auto"},
	/* what becomes of values as text, and the other way round */
	{"DateStyle", "ISO, MDY"},
	{"IntervalStyle", "postgres"},
	{"TimeZone", "UTC"},
	{"timezone_abbreviations", "Default"},
	{"extra_float_digits", "1"},
	{"bytea_output", "hex"},
	{"xmlbinary", "base64"},
	{"xmloption", "content"},
	{"lc_monetary", "C"},
	{"lc_numeric", "C"},
	{"lc_time", "C"},
	{"quote_all_identifiers", "off"},
	{"default_text_search_config", "pg_catalog.simple"}
};

/* The whole process is ours: settings and user are set once. */
static bool own_session = false;

/* ---------- what is added to the tables ---------- */

/* Whoever writes its rows by statements leaves the defaults to these. */
#define ANY_NUMBER		(-1)

/* With the number of columns that have a default. */
static const struct
{
	const char *schema;
	const char *name;
	int			ndefaults;
}			tables[] = {
	{"dtm_barrier", "barrier", ANY_NUMBER}, {"dtm", "home", 1}, {"dtm", "request", 1}, {"dtm", "active", 3},
	{"dtm", "finished", 0}, {"dtm", "attempt", 0}, {"dtm", "result", 0}, {"dtm", "act", 0},
	{"dtm", "dead_letter", 0}, {"dtm", "lane", 0}, {"dtm", "topic", 0}, {"dtm", "alert", 2}, {"dtm", "api_token", 0}
};

#define BARRIER_TABLE	0
#define HOME_TABLE		1
#define REQUEST_TABLE	2
#define ACTIVE_TABLE	3

/* As of the last look; known is false when one of them may have changed. */
static bool known = false;
static bool as_made = false;
static Oid	table_oids[lengthof(tables)];
static OwnTables own;

/* Constraint triggers that may be deferred: RangeVars, in a context of their own. */
static List *deferrable = NIL;
static MemoryContext deferrable_context = NULL;

static void
forget(Datum arg, Oid relation)
{
	bool		ours = !OidIsValid(relation);

	for (size_t i = 0; i < lengthof(tables) && !ours; i++)
		ours = table_oids[i] == relation || !OidIsValid(table_oids[i]);
	if (ours)
		known = false;
}

static bool
is_foreign_function(Oid function, void *context)
{
	return function >= FirstNormalObjectId;
}

/*
 * Is there anything in an expression but what those of the install script are made
 * of?  What is known to be harmless is listed, not what is not: the check of a
 * domain runs functions, too, and so do some functions of the server itself
 * (query_to_xml).
 */
static bool
may_call_others(Node *node, void *context)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_List:
		case T_Var:
		case T_Const:
		case T_BoolExpr:
		case T_NullTest:
		case T_RelabelType:
			break;
		case T_OpExpr:
			if (check_functions_in_node(node, is_foreign_function, NULL))
				return true;
			break;
		case T_FuncExpr:
			switch (((FuncExpr *) node)->funcid)
			{
				case F_NEXTVAL:
				case F_GEN_RANDOM_UUID:
				case F_INT2_INT4:
				case F_VARCHAR_VARCHAR_INT4_BOOL:
				case F_TIMESTAMPTZ_TIMESTAMPTZ_INT4:
					break;
				default:
					return true;
			}
			break;
		default:
			return true;
	}
	return expression_tree_walker(node, may_call_others, context);
}

static bool
are_columns_as_made(Relation relation, int ndefaults)
{
	TupleDesc	desc = RelationGetDescr(relation);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (!attribute->attisdropped &&
			(attribute->attgenerated != '\0' ||
			 (attribute->atttypid >= FirstNormalObjectId &&
			  attribute->atttypid != submitter_type())))
			return false;
	}
	if (desc->constr == NULL)
		return ndefaults <= 0;
	if (desc->constr->num_check > 0 ||
		(ndefaults != ANY_NUMBER && desc->constr->num_defval != ndefaults))
		return false;
	for (int i = 0; i < desc->constr->num_defval; i++)
		if (may_call_others(stringToNode(desc->constr->defval[i].adbin), NULL))
			return false;
	return true;
}

static bool
are_indexes_as_made(Relation relation)
{
	List	   *indexes = RelationGetIndexList(relation);
	bool		fine = true;
	ListCell   *cell;

	foreach(cell, indexes)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		fine = fine && RelationGetIndexExpressions(index) == NIL &&
			!may_call_others((Node *) RelationGetIndexPredicate(index), NULL);
		for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(index); i++)
			fine = fine && index->rd_opfamily[i] < FirstNormalObjectId;
		index_close(index, AccessShareLock);
	}
	list_free(indexes);
	return fine;
}

/* One for TRUNCATE alone runs with no row; Citus adds such a one to what is distributed. */
static bool
runs_with_rows(const Trigger *trigger)
{
	return (trigger->tgtype & (TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE)) != 0;
}

/* None but ours; those that may be deferred are remembered. */
static bool
are_triggers_as_made(Relation relation)
{
	TriggerDesc *triggers = relation->trigdesc;
	bool		fine = true;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];

		if (runs_with_rows(trigger) &&
			(RelationGetRelid(relation) != table_oids[HOME_TABLE] ||
			 strcmp(trigger->tgname, "home_changed") != 0))
			fine = false;
		if (trigger->tgdeferrable && !trigger->tgisinternal)
		{
			MemoryContext before = MemoryContextSwitchTo(deferrable_context);

			deferrable = lappend(deferrable,
								 makeRangeVar(get_namespace_name(RelationGetNamespace(relation)),
											  get_constraint_name(trigger->tgconstraint), -1));
			MemoryContextSwitchTo(before);
		}
	}
	return fine;
}

static bool
is_table_as_made(Relation relation, int ndefaults)
{
	bool		triggers = are_triggers_as_made(relation);

	return triggers && relation->rd_rules == NULL && !relation->rd_rel->relrowsecurity &&
		!relation->rd_rel->relhassubclass && !relation->rd_rel->relispartition &&
		are_columns_as_made(relation, ndefaults) && are_indexes_as_made(relation);
}

/* The sequence that a table's first column comes from; InvalidOid: none. */
static Oid
sequence_of(Relation relation)
{
	TupleConstr *constr = RelationGetDescr(relation)->constr;

	for (int i = 0; constr != NULL && i < constr->num_defval; i++)
	{
		FuncExpr   *call = stringToNode(constr->defval[i].adbin);

		if (constr->defval[i].adnum == 1 && IsA(call, FuncExpr) &&
			call->funcid == F_NEXTVAL && IsA(linitial(call->args), Const))
			return DatumGetObjectId(((Const *) linitial(call->args))->constvalue);
	}
	return InvalidOid;
}

/* Is nothing added to dtm's tables that runs with their rows? */
static bool
is_as_made(void)
{
	static bool registered = false;

	if (known)
		return as_made;
	if (!registered)
	{
		invalidation_watch(forget);
		deferrable_context = AllocSetContextCreate(CacheMemoryContext, "dtm deferrable triggers",
												   ALLOCSET_SMALL_SIZES);
		registered = true;
	}
	MemoryContextReset(deferrable_context);
	deferrable = NIL;
	/* what changes while we look is looked at again */
	known = as_made = true;
	for (size_t i = 0; i < lengthof(tables); i++)
	{
		Oid			schema = get_namespace_oid(tables[i].schema, true);
		Relation	relation = NULL;

		table_oids[i] = OidIsValid(schema) ? get_relname_relid(tables[i].name, schema) : InvalidOid;
		if (OidIsValid(table_oids[i]))
			relation = try_relation_open(table_oids[i], AccessShareLock);
		if (relation == NULL)
		{
			as_made = known = false;
			continue;
		}
		if (!is_table_as_made(relation, tables[i].ndefaults))
		{
			as_made = false;
			ereport(DEBUG1,
					(errmsg_internal("something is added to table \"%s.%s\"",
									 tables[i].schema, tables[i].name)));
		}
		if (i == REQUEST_TABLE)
			own.ids = sequence_of(relation);
		relation_close(relation, AccessShareLock);
	}
	own.request = table_oids[REQUEST_TABLE];
	own.active = table_oids[ACTIVE_TABLE];
	own.submitter = submitter_type();
	return as_made;
}

bool
own_tables(OwnTables *found)
{
	if (!is_as_made())
		return false;
	*found = own;
	return OidIsValid(own.ids);
}

/* ---------- settings ---------- */

/* Those of a library that is not loaded are not there. */
static void
set_own(GucAction action)
{
	for (size_t i = 0; i < lengthof(own_settings); i++)
	{
		const char *now = GetConfigOption(own_settings[i].name, true, false);

		if (now != NULL && strcmp(now, own_settings[i].value) != 0)
			(void) set_config_option(own_settings[i].name, own_settings[i].value,
									 PGC_SUSET, PGC_S_SESSION, action, true, 0, false);
	}
}

/*
 * A deferred trigger would run at the end of the transaction, with what the
 * caller has set by then: here it runs with the statement.
 */
static void
undefer_triggers(void)
{
	ConstraintsSetStmt *statement;

	if (deferrable == NIL)
		return;
	statement = makeNode(ConstraintsSetStmt);
	statement->constraints = copyObject(deferrable);
	statement->deferred = false;
	AfterTriggerSetState(statement);
}

void
own_take_session(void)
{
	set_own(GUC_ACTION_SET);
	own_session = true;
}

bool
own_is_session(void)
{
	return own_session;
}

bool
own_needs_settings(void)
{
	return !own_session && !is_as_made();
}

int
own_enter_settings(void)
{
	int			nest_level;

	if (own_session)
		return 0;
	nest_level = NewGUCNestLevel();
	set_own(GUC_ACTION_SAVE);
	(void) is_as_made();
	undefer_triggers();
	return nest_level;
}

void
own_leave_settings(int nest_level)
{
	if (nest_level > 0)
		AtEOXact_GUC(true, nest_level);
}

PG_FUNCTION_INFO_V1(dtm_own_settings);

/* dtm.own_settings() returns void: until the end of a function that has SET */
Datum
dtm_own_settings(PG_FUNCTION_ARGS)
{
	set_own(GUC_ACTION_SAVE);
	(void) is_as_made();
	undefer_triggers();
	PG_RETURN_VOID();
}

/* ---------- the owner ---------- */

/* The schema in which the extension has its tables has another name. */
static void
error_no_schema(void)
{
	if (OidIsValid(get_extension_oid("dtm", true)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("schema \"dtm\" of extension \"dtm\" has been renamed"),
				 errhint("Rename the schema with the extension's tables back to \"dtm\".")));
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("extension \"dtm\" is not installed in this database"),
			 errhint("Run CREATE EXTENSION dtm.")));
}

/* The owner that was found last; InvalidOid: it has to be looked for. */
static Oid	known_owner = InvalidOid;
static uint64 owner_changes = 0;

static void
forget_owner(Datum arg, int cache, uint32 hash)
{
	known_owner = InvalidOid;
	owner_changes++;
}

static Oid
find_owner(void)
{
	Oid			schema = get_namespace_oid("dtm", true);
	Oid			table = OidIsValid(schema) ?
		get_relname_relid("request", schema) : InvalidOid;
	HeapTuple	tuple = OidIsValid(table) ?
		SearchSysCache1(RELOID, ObjectIdGetDatum(table)) : NULL;
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		error_no_schema();
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

Oid
dtm_extension_owner(void)
{
	static bool registered = false;
	uint64		changes;
	Oid			owner;

	if (OidIsValid(known_owner))
		return known_owner;
	if (!registered)
	{
		CacheRegisterSyscacheCallback(RELOID, forget_owner, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, forget_owner, (Datum) 0);
		registered = true;
	}
	changes = owner_changes;
	owner = find_owner();
	/* a look-up may itself hear of a change, after it has read the row */
	if (changes == owner_changes)
		known_owner = owner;
	return owner;
}

void
owner_enter(Session *session)
{
	if (own_session)
		return;
	GetUserIdAndSecContext(&session->user, &session->sec_context);
	SetUserIdAndSecContext(dtm_extension_owner(),
						   session->sec_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_NOFORCE_RLS);
}

void
owner_leave(const Session *session)
{
	if (!own_session)
		SetUserIdAndSecContext(session->user, session->sec_context);
}

/*
 * Has the caller's search path changed since the last call?  A plan is made
 * again for each other path, so whoever changes its own often gets ours.
 */
static bool
path_varies(void)
{
	static char *last = NULL;
	static bool varies = false;

	if (varies || namespace_search_path == NULL)
		return true;
	if (last == NULL)
		last = MemoryContextStrdup(TopMemoryContext, namespace_search_path);
	varies = strcmp(last, namespace_search_path) != 0;
	return varies;
}

/*
 * May the barrier's statements run with the caller's settings?  A table that is
 * locked stays as it is; and what was done to it before is known from then on.
 */
static bool
is_barrier_as_made(void)
{
	if (path_varies() || !is_as_made())
		return false;
	LockRelationOid(table_oids[BARRIER_TABLE], RowExclusiveLock);
	return is_as_made();
}

void
store_enter_owner(StoreCaller *caller)
{
	Session		session = {InvalidOid, 0};

	owner_enter(&session);
	caller->user = session.user;
	caller->sec_context = session.sec_context;
	caller->nest_level = 0;
	caller->as_made = is_barrier_as_made();
	if (caller->as_made || own_session)
		return;
	caller->nest_level = NewGUCNestLevel();
	/* the path at least; the barrier has its own care for deferred triggers */
	(void) set_config_option(own_settings[0].name, own_settings[0].value,
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	if (own_needs_settings())
		set_own(GUC_ACTION_SAVE);
}

void
store_leave_owner(const StoreCaller *caller)
{
	Session		session = {caller->user, caller->sec_context};

	own_leave_settings(caller->nest_level);
	owner_leave(&session);
}
