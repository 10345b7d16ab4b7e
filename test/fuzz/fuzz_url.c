/*
 * fuzz_url.c
 *		URLs as they are stored: is there a host in it, can it be called?
 */
#include "../../src/transport/transport.h"

#include <stdlib.h>
#include <string.h>

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *url = malloc(size + 1);
	char		name[DTM_HOST_NAME_SIZE];

	memcpy(url, data, size);
	url[size] = '\0';
	(void) dtm_url_problem(url);
	dtm_host_name(url, name);
	if (strlen(name) >= sizeof(name))
		abort();
	free(url);
	return 0;
}
