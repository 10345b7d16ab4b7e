/*
 * window.c
 *		How many calls may be in flight to a host, learned from its answers.
 *
 * A host that works on as many calls as it can lets further ones queue: they
 * make nothing faster, and the response time grows with their number, up to
 * the time-out.  So the window is looked at in rounds, of as many answers as
 * it has places, to calls that began since it has its size:
 *
 * 1. If calls waited for the window, and the response time is hardly longer
 *    than without a queue (base), the size doubles.
 * 2. If it is much longer, the size is halved.  In between, the size stays, or
 *    grows by a sixteenth.
 * 3. If the halved window leaves the response time as it was, the host was not
 *    queueing: its calls take longer now, or these are other ones.  Then this
 *    response time is the new base.
 * 4. A lost call halves the size at once, and from then on it grows slowly
 *    beyond that.  One that is lost among many answers, or among quick ones, does
 *    not count: it may be a matter of that call.
 * 5. If most answers of a round say "too many requests", and calls waited, that
 *    is as a lost call.
 *
 * A short queue is no reason for a smaller window, however fast the host:
 * calls are made many at a time, and answers are read many at a time.
 */
#include "window.h"

#include <limits.h>
#include <string.h>

#define Min(a, b)			((a) < (b) ? (a) : (b))
#define Max(a, b)			((a) > (b) ? (a) : (b))

/* The first size. */
#define FIRST_SIZE			10

/*
 * A queue that takes so long is never too long, in us; it is less where calls
 * have little time: a part of their time-out.
 */
#define SHORT_QUEUE			100000
#define SHORT_QUEUE_SHARE	16

/* Slow growth, for a round: 1 / this of the size. */
#define SLOW_GROWTH			16

/*
 * A lost call does not count if so many answers came since the last one, or if
 * answers take less than a part of the time-out, unless so many are lost in a
 * row.
 */
#define ANSWERS_FOR_A_LOSS	16
#define QUICK_SHARE			8
#define LOSSES_IN_A_ROW		3

/* The base follows longer response times without a queue in steps of 1 / this. */
#define BASE_WEIGHT			32

static void
begin_round(DtmWindow *window)
{
	window->wanted = false;
	window->peak = 0;
	window->nanswers = window->nrejected = 0;
	window->total = 0;
	window->shortest = INT64_MAX;
}

void
window_init(DtmWindow *window)
{
	memset(window, 0, sizeof(*window));
	window->size = FIRST_SIZE;
	window->threshold = INT_MAX;
	window->answered_since_loss = ANSWERS_FOR_A_LOSS;
	begin_round(window);
}

static void
set_size(DtmWindow *window, int size, int64_t now)
{
	window->size = Max(size, 1);
	window->since = now;
	window->before = 0;
	begin_round(window);
}

void
window_restart(DtmWindow *window, int64_t now)
{
	set_size(window, 1, now);
	window->threshold = INT_MAX;
}

void
window_wanted(DtmWindow *window)
{
	window->wanted = true;
}

static void
halve(DtmWindow *window, int64_t now)
{
	set_size(window, window->size / 2, now);
	window->threshold = window->size;
}

/* Response times from which on the size is treated differently. */
typedef struct Bounds
{
	int64_t		twice;			/* up to this it doubles */
	int64_t		slowly;			/* up to this it grows slowly */
	int64_t		most;			/* beyond this it is halved */
} Bounds;

static void
get_bounds(const DtmWindow *window, int64_t timeout, Bounds *bounds)
{
	int64_t		queue = Min(timeout / SHORT_QUEUE_SHARE, SHORT_QUEUE);
	int64_t		spare = Max(timeout - window->base, 0);
	int64_t		room = Min(2 * window->base, spare / 2);

	bounds->most = Max(queue, window->base + room);
	bounds->slowly = Max(queue * 3 / 4, window->base + room / 2);
	bounds->twice = Max(queue / 2, window->base + room / 4);
}

/* Takes the mean response time of a round into the base. */
static void
learn_base(DtmWindow *window, int64_t mean)
{
	if (window->base == 0)
		window->base = Max(window->shortest, 1);	/* the first ones may
													 * queue */
	else if (window->before > 0 && mean > window->before / 4 * 3 &&
			 mean < window->before / 4 * 5)
	{
		window->base = mean;
		window->threshold = INT_MAX;
	}
	else if (mean < window->base)
		window->base = mean;
	else if (!window->wanted)
		window->base += (mean - window->base) / BASE_WEIGHT;
	window->before = 0;
}

static void
shrink(DtmWindow *window, int64_t mean, int64_t now)
{
	int			size = window->size / 2;

	if (!window->wanted)
	{
		/* a window that nobody needs says nothing, but must not be too large */
		size = Max(size, Max(window->peak, FIRST_SIZE));
		if (size < window->size)
			set_size(window, size, now);
		return;
	}
	if (window->size == 1)
	{
		window->base = mean;
		return;
	}
	halve(window, now);
	window->before = mean;
}

static void
grow(DtmWindow *window, bool twice, int most, int64_t now)
{
	int			size = window->size;

	if (twice && size < window->threshold)
		size = size > window->threshold / 2 ? window->threshold : size * 2;
	else
		size += Max(size / SLOW_GROWTH, 1);
	size = Min(size, most);
	if (size > window->size)
		set_size(window, size, now);
}

/* Enough answers have come to say something about this size. */
static void
end_round(DtmWindow *window, const DtmWindowCall *call, int most)
{
	Bounds		bounds;
	int64_t		mean;

	if (window->nrejected > window->nanswers)
	{
		/* to a few calls, it is no matter of their number */
		if (window->wanted)
			halve(window, call->ended);
		else
			begin_round(window);
		return;
	}
	mean = Max(window->total / window->nanswers, 1);
	window->latest = mean;
	learn_base(window, mean);
	get_bounds(window, call->timeout, &bounds);
	if (mean > bounds.most)
		shrink(window, mean, call->ended);
	else if (window->wanted && mean <= bounds.slowly)
		/* a full queue may have the response time double with the size */
		grow(window, mean <= bounds.twice && mean < call->timeout / 5 * 2, most, call->ended);
	begin_round(window);
}

static void
count(DtmWindow *window, const DtmWindowCall *call, bool rejected, int most)
{
	window->answered_since_loss++;
	window->lost_in_a_row = 0;
	if (call->began <= window->since)
		return;
	if (rejected)
		window->nrejected++;
	else
	{
		window->nanswers++;
		window->total += call->time;
		window->shortest = Min(window->shortest, call->time);
	}
	window->peak = Max(window->peak, call->in_flight);
	if (window->nanswers + window->nrejected >= Min(window->size, most))
		end_round(window, call, most);
}

void
window_answered(DtmWindow *window, const DtmWindowCall *call, int most)
{
	count(window, call, false, most);
}

void
window_rejected(DtmWindow *window, const DtmWindowCall *call, int most)
{
	count(window, call, true, most);
}

/* Are answers quick, as far as is known?  Then calls do not queue. */
static bool
is_quick(const DtmWindow *window, int64_t timeout)
{
	int64_t		mean = window->nanswers > 0 ? window->total / window->nanswers : window->latest;

	return mean > 0 && mean < timeout / QUICK_SHARE;
}

void
window_lost(DtmWindow *window, const DtmWindowCall *call)
{
	bool		counts = ++window->lost_in_a_row >= LOSSES_IN_A_ROW ||
		(window->answered_since_loss < ANSWERS_FOR_A_LOSS &&
		 !is_quick(window, call->timeout));

	window->answered_since_loss = 0;
	/* others of the same time are lost for the same reason */
	if (counts && call->began > window->since)
		halve(window, call->ended);
}
