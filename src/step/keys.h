/*
 * keys.h
 *		The table of keys of a step's options, for options.c alone.
 */
#ifndef DTM_STEP_KEYS_H
#define DTM_STEP_KEYS_H

#include "options.h"

/* One key, and how its value is read. */
typedef struct StepKey StepKey;

/*
 * A reader returns false if the value is none for the key; what it had to be is
 * then the key's hint, unless the reader has set another problem.  "place" says
 * where it stands: in a server, values are strings.
 */
typedef bool (*StepReader) (StepOptions *options, const StepKey *key,
							const JsonbValue *value, StepPlace place,
							StepProblem *problem);

/* The key changes what is sent, or what a response means. */
#define STEP_IS_SENT	1024
#define STEP_IS_READ	2048

struct StepKey
{
	const char *name;
	int			places;			/* of StepPlace, and one of these */
	int			kinds;			/* of branches, to which it applies */
	StepReader	read;
	size_t		field;			/* of StepOptions, as offset */
	const char *hint;
};

extern const StepKey step_keys[];
extern const int step_nkeys;

/* NULL: no such key may stand there. */
extern const StepKey *step_key_find(const char *name, StepPlace place);

#endif							/* DTM_STEP_KEYS_H */
