/*
 * dbparams.h
 *		Arrays in PostgreSQL's binary form: a batch's arguments, and answers.
 */
#ifndef GW_DBPARAMS_H
#define GW_DBPARAMS_H

#include "request.h"

/* Types of PostgreSQL. */
#define BOOLOID			16
#define BYTEAOID		17
#define INT8OID			20
#define INT4OID			23
#define TEXTOID			25
#define BYTEAARRAYOID	1001
#define INT4ARRAYOID	1007
#define TEXTARRAYOID	1009
#define INT8ARRAYOID	1016

/* An array of n elements of a type, to be followed by them. */
extern void array_begin(Buf *out, uint32_t type, int n);
extern void array_add(Buf *out, const void *data, size_t len);
extern void array_add_null(Buf *out);

/* The seven arguments of dtm.gateway_batch(). */
#define NBATCH_PARAMS	7
extern const uint32_t batch_types[NBATCH_PARAMS];
extern void batch_params(const Request *requests, bool careful,
						 Buf params[NBATCH_PARAMS]);

/*
 * The elements of an array, n of them, in memory to be freed; NULLs have data
 * NULL.  NULL: it is malformed.
 */
extern Bytes *array_read(const char *data, size_t len, int *n);

extern int64_t read_int64(const char *data);
extern int32_t read_int32(const char *data);

extern bool outcome_parse(const char *name, Outcome *outcome);

#endif							/* GW_DBPARAMS_H */
