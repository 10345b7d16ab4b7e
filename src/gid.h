/*
 * gid.h
 *		Fresh ids for global transactions.
 */
#ifndef DTM_GID_H
#define DTM_GID_H

/* A fresh gid: 26 letters and digits, sorting by the time it was made. */
extern char *gid_make(void);

#endif							/* DTM_GID_H */
