/*
 * compat.h
 *		Differences between the PostgreSQL versions that dtm supports.  No
 *		other file uses PG_VERSION_NUM.
 */
#ifndef DTM_COMPAT_H
#define DTM_COMPAT_H

#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_proc.h"
#include "commands/dbcommands.h"
#include "common/jsonapi.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/wait_event.h"
#if PG_VERSION_NUM >= 180000
#include "storage/waiteventset.h"
#endif
/* 19: get_database_name() and LockAcquire() are declared here, and only here */
#include "storage/lock.h"
#include "utils/lsyscache.h"
/* 16: varlena macros have a header of their own, and so have permissions */
#if PG_VERSION_NUM >= 160000
#include "parser/parse_relation.h"
#include "varatt.h"
#endif

#if PG_VERSION_NUM < 150000
#error "dtm needs PostgreSQL 15 or newer"
#endif

/*
 * 16: a library exports what SQL calls and nothing else; before, the macros of
 * fmgr.h say nothing of visibility.  So whoever defines a function for SQL
 * includes this file.
 */
#if PG_VERSION_NUM < 160000
#ifdef __GNUC__
#undef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))
#endif
#undef PG_FUNCTION_INFO_V1
#define PG_FUNCTION_INFO_V1(funcname) \
extern PGDLLEXPORT Datum funcname(PG_FUNCTION_ARGS); \
extern PGDLLEXPORT const Pg_finfo_record *CppConcat(pg_finfo_, funcname) (void); \
const Pg_finfo_record * \
CppConcat(pg_finfo_, funcname) (void) \
{ \
	static const Pg_finfo_record my_finfo = {1}; \
	return &my_finfo; \
} \
extern int no_such_variable
#endif

/* 18: a library says which version of what it is */
#if PG_VERSION_NUM >= 180000
#define DTM_MODULE_MAGIC	PG_MODULE_MAGIC_EXT(.name = "dtm", .version = DTM_VERSION)
#else
#define DTM_MODULE_MAGIC	PG_MODULE_MAGIC
#endif

/* 17: a WaitEventSet belongs to a resource owner, not to a memory context */
#if PG_VERSION_NUM >= 170000
#define dtm_create_wait_event_set(nevents) \
	CreateWaitEventSet(NULL, nevents)
#else
#define dtm_create_wait_event_set(nevents) \
	CreateWaitEventSet(TopMemoryContext, nevents)
#endif

/* 17: where a process has the number of its transaction */
#if PG_VERSION_NUM >= 170000
#define dtm_local_xid()	(MyProc->vxid.lxid)
#else
#define dtm_local_xid()	(MyProc->lxid)
#endif

/*
 * The socket of the session's client, at place 0, and its latch.  It is declared
 * in libpq/libpq.h, which wants headers of libraries that need not be there.
 */
extern PGDLLIMPORT WaitEventSet *FeBeWaitSet;

/* 17: extensions have wait events of their own names */
static inline uint32
dtm_new_wait_event(const char *name)
{
#if PG_VERSION_NUM >= 170000
	return WaitEventExtensionNew(name);
#else
	return PG_WAIT_EXTENSION;
#endif
}

/* 16: ownership checks take a class */
#if PG_VERSION_NUM >= 160000
#define dtm_owns_database(database, role) \
	object_ownercheck(DatabaseRelationId, database, role)
#define dtm_owns_extension(extension, role) \
	object_ownercheck(ExtensionRelationId, extension, role)
#else
#define dtm_owns_database(database, role) \
	pg_database_ownercheck(database, role)
#define dtm_owns_extension(extension, role) \
	pg_extension_ownercheck(extension, role)
#endif

/* 16: to be a member of a role and to be able to become it are two things */
#if PG_VERSION_NUM >= 160000
#define dtm_can_become(member, role)	member_can_set_role(member, role)
#else
#define dtm_can_become(member, role)	is_member_of_role(member, role)
#endif

#if PG_VERSION_NUM >= 160000
#define dtm_can_execute(function, role) \
	(object_aclcheck(ProcedureRelationId, function, role, ACL_EXECUTE) == ACLCHECK_OK)
#else
#define dtm_can_execute(function, role) \
	(pg_proc_aclcheck(function, role, ACL_EXECUTE) == ACLCHECK_OK)
#endif

#if PG_VERSION_NUM >= 160000
#define dtm_can_use_server(server, role) \
	(object_aclcheck(ForeignServerRelationId, server, role, ACL_USAGE) == ACLCHECK_OK)
#else
#define dtm_can_use_server(server, role) \
	(pg_foreign_server_aclcheck(server, role, ACL_USAGE) == ACLCHECK_OK)
#endif

/* 16: an error of the input can be caught without a throw */
#if PG_VERSION_NUM >= 160000
#define dtm_qualified_name(string)	stringToQualifiedNameList(string, NULL)
#else
#define dtm_qualified_name(string)	stringToQualifiedNameList(string)
#endif

/* 17: the search path that a plan was made for has another type */
#if PG_VERSION_NUM >= 170000
#define dtm_search_path_matches(path)	SearchPathMatchesCurrentEnvironment(path)
#else
#define dtm_search_path_matches(path)	OverrideSearchPathMatchesCurrent(path)
#endif

/* 17: background workers may run as roles that can't log in */
#if PG_VERSION_NUM >= 170000
#define DTM_WORKER_CONNECTION_FLAGS	BGWORKER_BYPASS_ROLELOGINCHECK
#else
#define DTM_WORKER_CONNECTION_FLAGS	0
#define DTM_WORKER_ROLE_MUST_LOGIN
#endif

/* 17: one more time-out that ends a process */
#if PG_VERSION_NUM >= 170000
#define DTM_ENDING_SETTINGS	{"transaction_timeout", "0"},
#else
#define DTM_ENDING_SETTINGS
#endif

/* 16: another name of a setting */
#if PG_VERSION_NUM >= 160000
#define DTM_MORE_SETTINGS	{"debug_parallel_query", "off"},
#else
#define DTM_MORE_SETTINGS	{"force_parallel_mode", "off"},
#endif

/* 17: the question of who holds a lock has another one with it */
#if PG_VERSION_NUM >= 170000
#define dtm_lock_held_by_me(tag, mode)	LockHeldByMe(tag, mode, true)
#else
#define dtm_lock_held_by_me(tag, mode)	LockHeldByMe(tag, mode)
#endif

/* 18: a scan of an index may count what it does; 19: it has flags */
#if PG_VERSION_NUM >= 190000
#define dtm_index_beginscan(heap, index, snapshot, nkeys, norderbys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, norderbys, SO_NONE)
#elif PG_VERSION_NUM >= 180000
#define dtm_index_beginscan(heap, index, snapshot, nkeys, norderbys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, norderbys)
#else
#define dtm_index_beginscan(heap, index, snapshot, nkeys, norderbys) \
	index_beginscan(heap, index, snapshot, nkeys, norderbys)
#endif

/* 19: so has a scan of a table */
#if PG_VERSION_NUM >= 190000
#define dtm_table_beginscan(heap, snapshot) \
	table_beginscan(heap, snapshot, 0, NULL, SO_NONE)
#else
#define dtm_table_beginscan(heap, snapshot) \
	table_beginscan(heap, snapshot, 0, NULL)
#endif

/* 18: a primary key may be deferrable */
#if PG_VERSION_NUM >= 180000
#define dtm_primary_key(relation)	RelationGetPrimaryKeyIndex(relation, false)
#else
#define dtm_primary_key(relation)	RelationGetPrimaryKeyIndex(relation)
#endif

/* 16: the relations that a row may come from */
#if PG_VERSION_NUM >= 160000
#define dtm_eval_plan_qual_init(epq, estate) \
	EvalPlanQualInit(epq, estate, NULL, NIL, -1, NIL)
#else
#define dtm_eval_plan_qual_init(epq, estate) \
	EvalPlanQualInit(epq, estate, NULL, NIL, -1)
#endif

/*
 * 16, 18: how to tell an executor's state of the only relation it has, and
 * of the columns that an update changes
 */
static inline ResultRelInfo *
dtm_init_result_relation(EState *estate, Relation relation, Bitmapset *updated)
{
	RangeTblEntry *entry = makeNode(RangeTblEntry);
	ResultRelInfo *info = makeNode(ResultRelInfo);
#if PG_VERSION_NUM >= 160000
	List	   *permissions = NIL;
#endif

	entry->rtekind = RTE_RELATION;
	entry->relid = RelationGetRelid(relation);
	entry->relkind = relation->rd_rel->relkind;
	entry->rellockmode = AccessShareLock;
#if PG_VERSION_NUM >= 160000
	addRTEPermissionInfo(&permissions, entry)->updatedCols = updated;
#else
	entry->updatedCols = updated;
#endif
#if PG_VERSION_NUM >= 180000
	ExecInitRangeTable(estate, list_make1(entry), permissions, bms_make_singleton(1));
#elif PG_VERSION_NUM >= 160000
	ExecInitRangeTable(estate, list_make1(entry), permissions);
#else
	ExecInitRangeTable(estate, list_make1(entry));
#endif
	InitResultRelInfo(info, relation, 1, NULL, 0);
	estate->es_opened_result_relations = lappend(estate->es_opened_result_relations, info);
	return info;
}

/* 18: a row that is there already may be left out of a search for conflicts */
static inline bool
dtm_has_no_conflict(ResultRelInfo *info, TupleTableSlot *slot, EState *estate,
					List *arbiters)
{
	ItemPointerData found;
#if PG_VERSION_NUM >= 180000
	ItemPointerData none;

	ItemPointerSetInvalid(&none);
	return ExecCheckIndexConstraints(info, slot, estate, &found, &none, arbiters);
#else
	return ExecCheckIndexConstraints(info, slot, estate, &found, arbiters);
#endif
}

/*
 * Enters a row that was inserted into the indexes.  With arbiters, a conflict in
 * one of these is returned; others are errors.  16, 19: more to choose from.
 */
static inline bool
dtm_insert_index_entries(ResultRelInfo *info, TupleTableSlot *slot, EState *estate,
						 List *arbiters)
{
	bool		conflict = false;
	bool		speculative = arbiters != NIL;

#if PG_VERSION_NUM >= 190000
	(void) ExecInsertIndexTuples(info, estate, speculative ? EIIT_NO_DUPE_ERROR : 0,
								 slot, arbiters, &conflict);
#elif PG_VERSION_NUM >= 160000
	(void) ExecInsertIndexTuples(info, slot, estate, false, speculative,
								 speculative ? &conflict : NULL, arbiters, false);
#else
	(void) ExecInsertIndexTuples(info, slot, estate, false, speculative,
								 speculative ? &conflict : NULL, arbiters);
#endif
	return conflict;
}

/* later minor releases: a database that a DROP DATABASE has half removed */
#ifndef DATCONNLIMIT_INVALID_DB
#define DATCONNLIMIT_INVALID_DB (-2)
#endif

/* 16: what is called while JSON is parsed may end it */
#if PG_VERSION_NUM >= 160000
#define DTM_JSON_ACTION			JsonParseErrorType
#define DTM_JSON_ACTION_RETURN	return JSON_SUCCESS
#else
#define DTM_JSON_ACTION			void
#define DTM_JSON_ACTION_RETURN	return
#endif

/* 17: a lexer of JSON may be the caller's; strings without their escapes */
#if PG_VERSION_NUM >= 170000
#define dtm_json_lex_context(json, len) \
	makeJsonLexContextCstringLen(NULL, json, len, PG_UTF8, true)
#define dtm_json_syntax_context(json, len) \
	makeJsonLexContextCstringLen(NULL, json, len, PG_UTF8, false)
#else
#define dtm_json_lex_context(json, len) \
	makeJsonLexContextCstringLen(json, (int) (len), PG_UTF8, true)
#define dtm_json_syntax_context(json, len) \
	makeJsonLexContextCstringLen(json, (int) (len), PG_UTF8, false)
#endif

#endif							/* DTM_COMPAT_H */
