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

/*
 * A new gid: 26 letters and digits, and the tag.  Gids sort by the time of their
 * generation.
 */
extern char *gid_make(void);

#endif							/* DTM_GID_H */
