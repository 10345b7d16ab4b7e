/*
 * gateway.h
 *		dtm.gateway = on: the launcher starts the program dtm-gateway, and
 *		watches it.
 */
#ifndef DTM_PROCESS_GATEWAY_H
#define DTM_PROCESS_GATEWAY_H

#include "postgres.h"

/* To be called by the launcher before it looks after it for the first time. */
extern void gateway_init(void);

/*
 * Starts the program, or stops it, as the settings say, and sees whether it has
 * ended.  Returns when to do so again, in ms; -1: when the latch is set.
 */
extern long gateway_look_after(void);

/* The configuration is read again: so does the program. */
extern void gateway_reload(void);

#endif							/* DTM_PROCESS_GATEWAY_H */
