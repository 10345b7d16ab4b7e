/*
 * fuzz_address.c
 *		Lists of addresses, and addresses as libcurl prints them.
 */
#include "../../src/transport/address.h"

#include "swell.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t		len;
	char	   *text = swell(data, size, &len);
	DtmAddressList list;
	char		problem[40];
	int64_t		started = cpu_us();

	if (dtm_address_list_parse(text, &list, problem, sizeof(problem)) == NULL)
		(void) dtm_address_text_listed(&list, "127.0.0.1");
	else if (problem[0] == '\0' || strlen(problem) >= sizeof(problem))
		abort();
	(void) dtm_address_list_parse("loopback, 10.0.0.0/8, fd00::/8", &list, problem, sizeof(problem));
	(void) dtm_address_text_listed(&list, text);
	check_time(started, len);
	free(text);
	return 0;
}
