/*
 * crash_point.h
 *		Crash points: places at which a test can kill the process, in builds
 *		with assertions.
 *
 * A file "dtm_crash_point" in the data directory contains the name of a point,
 * and how often it is passed before.  The next process that reaches the point
 * removes the file and kills itself, as kill -9 would.
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
