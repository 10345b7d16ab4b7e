/*
 * crash_point.h
 *		Places where a test can have the process die, in builds with assertions.
 *
 * A file "dtm_crash_point" in the data directory names a point and says how
 * many times it is to be passed before; whoever comes there next removes the
 * file and kills itself, as kill -9 would.
 */
#ifndef DTM_CRASH_POINT_H
#define DTM_CRASH_POINT_H

#ifdef NDEBUG
#define DTM_CRASH_POINT(name)	((void) 0)
#else
#define DTM_CRASH_POINT(name)	dtm_crash_point(name)
extern void dtm_crash_point(const char *name);
#endif

#endif							/* DTM_CRASH_POINT_H */
