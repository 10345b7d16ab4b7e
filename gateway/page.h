/*
 * page.h
 *		The page for operators: its files, which are compiled in, and what it
 *		asks the database.
 */
#ifndef GW_PAGE_H
#define GW_PAGE_H

#include "server.h"

/* A file of page/, made by embed.sh. */
typedef struct PageFile
{
	const char *path;			/* of the request */
	const char *type;
	const unsigned char *data;
	size_t		len;
} PageFile;

extern const PageFile page_files[];
extern const int page_file_count;

/* What answers on the addresses of --page. */
extern const ServerHandler page_handler;

#endif							/* GW_PAGE_H */
