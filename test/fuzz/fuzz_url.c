/*
 * fuzz_url.c
 *		URLs as they are stored: is there a host in it, can it be called, what
 *		do others make of it?
 */
#include "../../src/transport/transport.h"
#include "../../src/wire/uri.h"

#include "swell.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t		len;
	char	   *url = swell(data, size, &len);
	char		name[DTM_HOST_NAME_SIZE];
	int64_t		started = cpu_us();

	(void) dtm_url_problem(url);
	(void) dtm_url_has_user(url);
	dtm_host_name(url, name);
	if (strlen(name) >= sizeof(name))
		abort();
	(void) uri_own_parameter(url);
	(void) uri_path_problem(url);
	check_time(started, len);
	free(url);
	return 0;
}
