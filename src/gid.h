/*
 * gid.h
 *		Generates gids.
 */
#ifndef DTM_GID_H
#define DTM_GID_H

/*
 * What ends the gids that are generated here, behind a full stop, so that it can be told
 * where a transaction is.  NULL, or returns NULL: nothing.
 */
extern const char *(*gid_tag) (void);

/* Characters of what dtm_citus_setup() makes for that. */
#define GID_TAG_LEN		5

/*
 * A new gid: 26 letters and digits, and the tag.  Gids sort by the time of their
 * generation.
 */
extern char *gid_make(void);

/* What ends a gid that was generated on a node of Citus; NULL: it is none. */
extern const char *gid_tag_of(const char *gid);

#endif							/* DTM_GID_H */
