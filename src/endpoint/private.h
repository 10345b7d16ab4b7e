/*
 * private.h
 *		What the files of the endpoints share: the options of servers and user
 *		mappings.
 */
#ifndef DTM_ENDPOINT_PRIVATE_H
#define DTM_ENDPOINT_PRIVATE_H

#include "endpoint.h"

#include "compat.h"
#include "utf8.h"
#include "settings.h"

#include "nodes/pg_list.h"

/* The wrapper that servers are made with. */
#define WRAPPER_NAME		"dtm_http"

/* Options that start with it are headers; "_" in the rest stands for "-". */
#define HEADER_PREFIX		"header_"

/* Takes options (a list of DefElem) into an endpoint. */
extern void options_take(List *options, Endpoint *endpoint, const char **base_url);

#endif							/* DTM_ENDPOINT_PRIVATE_H */
