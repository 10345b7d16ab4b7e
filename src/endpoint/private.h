/*
 * private.h
 *		Shared by the files of the endpoints: the options of servers and user
 *		mappings.
 */
#ifndef DTM_ENDPOINT_PRIVATE_H
#define DTM_ENDPOINT_PRIVATE_H

#include "endpoint.h"

#include "compat.h"
#include "settings.h"
#include "text/header.h"
#include "text/nearest.h"
#include "text/utf8.h"

#include "nodes/pg_list.h"

/* The foreign-data wrapper of servers. */
#define WRAPPER_NAME		"dtm_http"

/* Prefix of options that are headers; "_" in the rest stands for "-". */
#define HEADER_PREFIX		"header_"

/* Copies options (a list of DefElem) to an endpoint. */
extern void options_take(List *options, Endpoint *endpoint, const char **base_url);

#endif							/* DTM_ENDPOINT_PRIVATE_H */
