/*
 * name.c
 *		Checks names from callers: gids, and names that become parts of URLs or
 *		headers.
 */
#include "private.h"

#include "gid.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"

char *
request_gid(text *gid)
{
	char	   *string;

	if (gid == NULL)
		return gid_make();
	string = text_to_cstring(gid);
	if (string[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("gid is empty"),
				 errhint("Pass NULL to generate a gid, or call dtm_new_gid().")));
	if (pg_mbstrlen(string) > DTM_MAX_GID_CHARS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("gid is longer than %d characters", DTM_MAX_GID_CHARS),
				 errhint("Use a shorter gid. dtm's SDKs and the barrier table do not support longer ones.")));
	request_check_name(string, "gid");
	return string;
}

/* Names become parts of URLs and headers. */
void
request_check_name(const char *name, const char *what)
{
	for (const char *c = name; *c; c++)
		if ((unsigned char) *c < 0x20 || *c == 0x7f)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("\"%s\" contains a control character", what),
					 errhint("Use only letters, digits and punctuation.")));
	utf8_check(name, what);
}

void
request_strip_gid(char *gid)
{
	char	   *to = gid;

	for (const char *from = gid; *from; from++)
		if (*from != '\n' && *from != '\r' && *from != ';')
			*to++ = *from;
	*to = '\0';
}
