/*
 * gid.h
 *		Generates gids.
 */
#ifndef DTM_GID_H
#define DTM_GID_H

/*
 * A new gid: 26 letters and digits.  Gids sort by the time of their
 * generation.
 */
extern char *gid_make(void);

#endif							/* DTM_GID_H */
