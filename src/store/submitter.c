/*
 * submitter.c
 *		The SQL type dtm.submitter: the role that submitted a transaction.
 *
 * In a row it is the role's OID, which follows a role that is renamed, and the
 * name that the role had.  As text, in a dump, it is the name that the role has
 * then, or "-name" if there is no such role any more.  When text is read, a name
 * becomes the role of that name, and nobody if there is none: that is never
 * an error, and what is nobody's once stays so, whoever gets the name or the OID.
 */
#include "private.h"

#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(dtm_submitter_in);
PG_FUNCTION_INFO_V1(dtm_submitter_out);
PG_FUNCTION_INFO_V1(dtm_submitter_of_role);
PG_FUNCTION_INFO_V1(dtm_submitter_role);
PG_FUNCTION_INFO_V1(dtm_submitter_problem);

/* As it is stored: uncompressed and aligned (see CREATE TYPE). */
typedef struct Submitter
{
	int32		header;			/* of varlena */
	Oid			role;			/* InvalidOid: nobody */
	char		name[FLEXIBLE_ARRAY_MEMBER];	/* with its end; "": unknown */
} Submitter;

static Submitter *
make_submitter(Oid role, const char *name)
{
	Size		name_size = strlen(name) + 1;
	Size		size = offsetof(Submitter, name) + name_size;
	Submitter  *submitter = palloc0(size);

	SET_VARSIZE(submitter, size);
	submitter->role = role;
	memcpy(submitter->name, name, name_size);
	return submitter;
}

Datum
submitter_datum(Oid role)
{
	char	   *name = OidIsValid(role) ? GetUserNameFromId(role, true) : NULL;

	return PointerGetDatum(name == NULL ? make_submitter(InvalidOid, "") :
						   make_submitter(role, name));
}

static bool
role_exists(Oid role)
{
	return OidIsValid(role) && SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role));
}

Oid
submitter_role(Datum datum)
{
	Submitter  *submitter = (Submitter *) PG_DETOAST_DATUM(datum);

	return role_exists(submitter->role) ? submitter->role : InvalidOid;
}

Oid
store_submitter(Datum submitter)
{
	return submitter_role(submitter);
}

char *
submitter_problem(Datum datum)
{
	Submitter  *submitter = (Submitter *) PG_DETOAST_DATUM(datum);

	if (role_exists(submitter->role))
		return NULL;
	if (submitter->name[0] == '\0')
		return pstrdup("the role that submitted it has been dropped");
	return psprintf("role \"%s\", which submitted it, has been dropped, or was missing when the database was restored",
					submitter->name);
}

Oid
submitter_type(void)
{
	Oid			schema = get_namespace_oid("dtm", true);

	return GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("submitter"),
						   ObjectIdGetDatum(schema));
}

/* A name as dtm_submitter_out() writes it. */
static char *
parse_name(const char *string)
{
	List	   *names = dtm_qualified_name(string);

	if (list_length(names) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("invalid role name \"%s\"", string),
				 errhint("Use double quotes for a name that is not an identifier.")));
	return strVal(linitial(names));
}

/* "name", "-name" for one that is nobody's, "-"; numbers are nobody's, too */
Datum
dtm_submitter_in(PG_FUNCTION_ARGS)
{
	const char *string = PG_GETARG_CSTRING(0);
	char	   *name;

	if (strcmp(string, "-") == 0)
		PG_RETURN_POINTER(make_submitter(InvalidOid, ""));
	if (string[0] == '-')
		PG_RETURN_POINTER(make_submitter(InvalidOid, parse_name(string + 1)));
	if (string[0] != '\0' && strspn(string, "0123456789") == strlen(string))
		PG_RETURN_POINTER(make_submitter(InvalidOid, string));
	name = parse_name(string);
	PG_RETURN_POINTER(make_submitter(get_role_oid(name, true), name));
}

Datum
dtm_submitter_out(PG_FUNCTION_ARGS)
{
	Submitter  *submitter = (Submitter *) PG_DETOAST_DATUM(PG_GETARG_DATUM(0));
	char	   *name = OidIsValid(submitter->role) ?
		GetUserNameFromId(submitter->role, true) : NULL;

	if (name != NULL)
		PG_RETURN_CSTRING(pstrdup(quote_identifier(name)));
	if (submitter->name[0] == '\0')
		PG_RETURN_CSTRING(pstrdup("-"));
	PG_RETURN_CSTRING(psprintf("-%s", quote_identifier(submitter->name)));
}

/* dtm.submitter(oid): of a role that exists; else nobody */
Datum
dtm_submitter_of_role(PG_FUNCTION_ARGS)
{
	return submitter_datum(PG_GETARG_OID(0));
}

/* dtm.submitter_role(submitter): NULL if it does not exist any more */
Datum
dtm_submitter_role(PG_FUNCTION_ARGS)
{
	Oid			role = submitter_role(PG_GETARG_DATUM(0));

	if (!OidIsValid(role))
		PG_RETURN_NULL();
	PG_RETURN_OID(role);
}

/* dtm.submitter_problem(submitter): why nobody can act for it, or NULL */
Datum
dtm_submitter_problem(PG_FUNCTION_ARGS)
{
	char	   *problem = submitter_problem(PG_GETARG_DATUM(0));

	if (problem == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(problem));
}
