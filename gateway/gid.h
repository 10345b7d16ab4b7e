/*
 * gid.h
 *		Gids: those that are generated, as the extension does, and the tag of a node
 *		of Citus that they end with.
 */
#ifndef GW_GID_H
#define GW_GID_H

/* Characters of a tag, as dtm_citus_setup() makes it. */
#define GID_TAG_LEN	5

/* 26 digits, a full stop, the tag, and the end of the string */
#define GID_SIZE	(26 + 1 + GID_TAG_LEN + 1)

/* A new gid, with a tag behind it; "": with none. */
extern void gid_make(char gid[GID_SIZE], const char *tag);

/* The tag of a gid that was generated; NULL: it has none. */
extern const char *gid_tag(const char *gid);

#endif							/* GW_GID_H */
