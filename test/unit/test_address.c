/*
 * test_address.c
 *		Which addresses a list forbids.  If this fails, a name that leads to an
 *		internal address gets a call there.
 */
#include "../../src/transport/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static bool
listed(const char *text, const char *address)
{
	DtmAddressList list;
	char		problem[200];
	struct sockaddr_in ipv4 = {.sin_family = AF_INET};
	struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6};

	assert_null(dtm_address_list_parse(text, &list, problem, sizeof(problem)));
	if (inet_pton(AF_INET, address, &ipv4.sin_addr) == 1)
		return dtm_address_listed(&list, (struct sockaddr *) &ipv4);
	assert_int_equal(inet_pton(AF_INET6, address, &ipv6.sin6_addr), 1);
	return dtm_address_listed(&list, (struct sockaddr *) &ipv6);
}

static void
keywords_stand_for_ranges(void **state)
{
	static const struct
	{
		const char *address;
		const char *keyword;	/* NULL: none */
	}			cases[] = {
		{"127.0.0.1", "loopback"}, {"127.255.255.255", "loopback"},
		{"0.0.0.0", "loopback"}, {"::1", "loopback"}, {"::", "loopback"},
		{"::ffff:127.0.0.1", "loopback"}, {"64:ff9b::7f00:1", "loopback"},
		{"169.254.169.254", "link-local"}, {"fe80::1", "link-local"},
		{"febf::1", "link-local"}, {"::ffff:169.254.169.254", "link-local"},
		{"10.0.0.1", "private"}, {"172.16.0.1", "private"},
		{"172.31.255.255", "private"}, {"192.168.1.1", "private"},
		{"100.64.0.1", "private"}, {"100.127.255.255", "private"},
		{"fc00::1", "private"}, {"fdff::1", "private"},
		{"64:ff9b::a00:1", "private"},
		{"128.0.0.1", NULL}, {"126.255.255.255", NULL}, {"1.0.0.0", NULL},
		{"169.253.255.255", NULL}, {"169.255.0.0", NULL}, {"11.0.0.0", NULL},
		{"172.15.255.255", NULL}, {"172.32.0.0", NULL}, {"192.167.255.255", NULL},
		{"192.169.0.0", NULL}, {"100.63.255.255", NULL}, {"100.128.0.0", NULL},
		{"::2", NULL}, {"fe00::1", NULL}, {"fec0::1", NULL}, {"fbff::1", NULL},
		{"fe7f::1", NULL}, {"2001:db8::1", NULL}, {"::ffff:8.8.8.8", NULL},
		{"64:ff9b::808:808", NULL}, {"64:ff9b:1::7f00:1", NULL}
	};
	static const char *const all[] = {"loopback", "link-local", "private"};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		for (size_t j = 0; j < 3; j++)
			if (listed(all[j], cases[i].address) !=
				(cases[i].keyword != NULL && strcmp(cases[i].keyword, all[j]) == 0))
				fail_msg("%s and %s", cases[i].address, all[j]);
}

static void
networks_have_bits(void **state)
{
	(void) state;
	assert_true(listed("8.8.8.8", "8.8.8.8"));
	assert_false(listed("8.8.8.8", "8.8.8.9"));
	assert_true(listed("8.8.8.0/23", "8.8.9.255"));
	assert_false(listed("8.8.8.0/23", "8.8.10.0"));
	assert_true(listed("0.0.0.0/0", "8.8.8.8"));
	assert_false(listed("0.0.0.0/0", "2001:db8::1"));
	assert_true(listed("::/0", "2001:db8::1"));
	assert_true(listed("2001:db8::/33", "2001:db8:7fff::1"));
	assert_false(listed("2001:db8::/33", "2001:db8:8000::1"));
	assert_true(listed("::/0", "8.8.8.8"));
	assert_true(listed("::ffff:8.8.8.8", "8.8.8.8"));
	assert_false(listed("", "127.0.0.1"));
	assert_true(listed(" loopback ,\n8.8.8.8, private", "8.8.8.8"));
	assert_true(listed(",,loopback,", "127.0.0.1"));
}

static void
what_is_wrong_is_said(void **state)
{
	static const char *const bad[] = {
		"localhost", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8x",
		"10.0.0", "::1/129", "fe80::1%eth0", "loopback;private", "LOOPBACK", "/8",
		"1:2:3:4:5:6:7:8:9", "10.0.0.0/99999999999999999999",
		"1111111111111111111111111111111111111111111111111111111111111111111111"
	};
	DtmAddressList list;
	char		problem[200];
	char		many[2000] = "";

	(void) state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (dtm_address_list_parse(bad[i], &list, problem, sizeof(problem)) == NULL)
			fail_msg("%s is taken", bad[i]);
	for (int i = 0; i < DTM_MAX_RANGES; i++)
		strcat(many, "10.0.0.1,");
	assert_null(dtm_address_list_parse(many, &list, problem, sizeof(problem)));
	strcat(many, "10.0.0.1");
	assert_string_equal(dtm_address_list_parse(many, &list, problem, sizeof(problem)),
						"The list has more than 64 ranges");
}

static void
other_families_are_not_listed(void **state)
{
	DtmAddressList list;
	char		problem[200];
	struct sockaddr address = {.sa_family = AF_UNIX};
	char		name[64];

	(void) state;
	assert_null(dtm_address_list_parse("::/0", &list, problem, sizeof(problem)));
	assert_false(dtm_address_listed(&list, &address));
	dtm_address_name(&address, name, sizeof(name));
	assert_string_equal(name, "?");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keywords_stand_for_ranges),
		cmocka_unit_test(networks_have_bits),
		cmocka_unit_test(what_is_wrong_is_said),
		cmocka_unit_test(other_families_are_not_listed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
