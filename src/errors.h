/*
 * errors.h
 *		SQLSTATEs of dtm's own errors.
 */
#ifndef DTM_ERRORS_H
#define DTM_ERRORS_H

/* Class DT of SQLSTATEs; docs/errors.md lists them. */
#define DTM_ERRCODE_WRONG_STATUS	MAKE_SQLSTATE('D', 'T', '0', '0', '1')
#define DTM_ERRCODE_GID_IN_USE		MAKE_SQLSTATE('D', 'T', '0', '0', '2')
#define DTM_ERRCODE_UNKNOWN_GID		MAKE_SQLSTATE('D', 'T', '0', '0', '3')
#define DTM_ERRCODE_NO_COORDINATOR	MAKE_SQLSTATE('D', 'T', '0', '0', '4')
#define DTM_ERRCODE_DUPLICATED		MAKE_SQLSTATE('D', 'T', '0', '0', '5')
#define DTM_ERRCODE_BAD_ROW			MAKE_SQLSTATE('D', 'T', '0', '0', '6')

#endif							/* DTM_ERRORS_H */
