/*
 * window.h
 *		How many calls may be in flight to a host, learned from its answers.
 *
 * Pure: no clock, no memory, no I/O.  Times are in us, of any clock that only
 * goes forward.
 */
#ifndef DTM_TRANSPORT_WINDOW_H
#define DTM_TRANSPORT_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

typedef struct DtmWindow
{
	int			size;			/* calls that may be in flight */
	int			threshold;		/* below it, the size doubles; above, it grows
								 * by a sixteenth */
	int64_t		since;			/* when it got this size */
	int64_t		base;			/* mean response time while no calls queue at
								 * the host; 0: not known */
	int64_t		before;			/* mean response time for which the size was
								 * halved in the last round; 0: it was not */
	int64_t		answered_since_loss;	/* answers since the last lost call */
	int			lost_in_a_row;
	int64_t		latest;			/* mean response time of the latest round; 0:
								 * not known */

	/* The round: calls that began since it has this size. */
	bool		wanted;			/* a call has waited for the window */
	int			peak;			/* most calls in flight */
	int			nanswers;
	int			nrejected;		/* answers that say: too many requests */
	int64_t		total;			/* response time of the answers that do not */
	int64_t		shortest;		/* the shortest of these; INT64_MAX: none */
} DtmWindow;

/* A call that has ended. */
typedef struct DtmWindowCall
{
	int64_t		began;
	int64_t		ended;
	int64_t		time;			/* response time, as far as it is known */
	int64_t		timeout;		/* the longest that it might have taken */
	int			in_flight;		/* calls in flight to the host, this one
								 * included */
} DtmWindowCall;

/* Of a host that nothing is known of. */
extern void window_init(DtmWindow *window);

/* The host has not answered for some time, and answers again: begin with one call. */
extern void window_restart(DtmWindow *window, int64_t now);

/* A call has to wait for the window. */
extern void window_wanted(DtmWindow *window);

/*
 * A call ended: with an answer, with an answer that says that the host has too
 * many requests, or without an answer. "most" limits the size.
 */
extern void window_answered(DtmWindow *window, const DtmWindowCall *call, int most);
extern void window_rejected(DtmWindow *window, const DtmWindowCall *call, int most);
extern void window_lost(DtmWindow *window, const DtmWindowCall *call);

#endif							/* DTM_TRANSPORT_WINDOW_H */
