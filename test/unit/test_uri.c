/*
 * test_uri.c
 *		Paths that would leave their server, and parameters that only dtm sets.
 *		If this fails, a token is shown to a path that its server's options do
 *		not permit, or a submitter tells a participant another gid or op.
 */
#include "../../src/wire/uri.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void
paths_that_leave(void **state)
{
	static const char *const paths[] = {
		"/..", "/../x", "/a/../x", "/.", "/./x", "/a/..?x=1", "/..#x",
		/* encoded, and again */
		"/%2e%2e/x", "/.%2E/x", "/%2e./x", "/a%2f..%2fx", "/%2e%2e%2fx",
		"/%252e%252e/x", "/..%252fx", "/%25252e%25252e/x", "/%25%32%65%25%32%65/x",
		"/%2525252e%2525252e/x", "/%252525252e/x",
		/* another slash */
		"/..\\x", "/..%5cx", "/..%255cx", "\\..\\x", "/a\\..",
		/* parameters, the end of a string, what is left out */
		"/..;/x", "/..;a=b/x", "/..%3b/x", "/..%3fx", "/..%23x", "/.;/..;x/",
		"/..%00/x", "/..%2500/x", "/%00", "/a%0d%0ab", "/.%09./x", "/.%0a./x",
		"/.\t./x", "/..%7f/x", "/..%20/x", "/%20../x", "/.. /x", "/..+/x",
		"/..%ff/x", "/%ff../x", "/..%e2%80%8b/x", "/..\303\244/x", "/.%c2%ad./x",
		/* UTF-8 longer than need be, and what IIS made of it */
		"/%c0%ae%c0%ae/x", "/%c0%2e%c0%2e/x", "/..%c0%afx", "/..%c1%9cx",
		"/%e0%80%ae%e0%80%ae/x", "/%f0%80%80%ae./x", "/%f8%80%80%80%ae./x",
		"/%fc%80%80%80%80%ae./x", "/%25c0%25ae./x", "/\300\256\300\256/x",
		/* %u, and characters that look like these */
		"/%u002e%u002e/x", "/%25u002e%25u002e/x", "/%u2215", "/..%25u2215x",
		"/%ef%bc%8e%ef%bc%8e/x", "/..%ef%bc%8fx", "/..%ef%bc%bcx", "/..%e2%88%95x",
		"/\342\200\245/x", "/%e2%80%a5/x", "/%e2%80%a4%e2%80%a4/x", "/..%25ef%25bc%258fx",
		"/..%e2%81%84x", "/..%ef%bc%9b/x",
		/* no percent-encoding at all */
		"/%", "/%2", "/%zz", "/.%2", "/%2%65", "/%%32%65"
	};

	(void) state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		if (uri_path_problem(paths[i]) == NULL)
			fail_msg("%s is accepted", paths[i]);
}

static void
paths_that_stay(void **state)
{
	static const char *const paths[] = {
		"", "/", "/TransIn", "/a/b/", "//a", "/...", "/a..b/.well-known", "/..a", "/a..",
		"/.a;b=..", "/a;b=c", "/a%20b", "/100%25", "/100%2525", "/a%2fb", "/a%5cb", "/a%3fb",
		"/a?x=/../y", "/a?%", "/a#/../b", "?method=x", "/%e4%b8%ad", "/\303\244", "/%ff", "/%e9t%e9",
		"/.%e4%b8%ad", "/.\303\244", "/caf\351", "/bank.Bank/TransIn", "/a+b", "/~x/*", "/a:b@c"
	};

	(void) state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		if (uri_path_problem(paths[i]) != NULL)
			fail_msg("%s: %s", paths[i], uri_path_problem(paths[i]));
}

static void
parameters_of_dtm(void **state)
{
	static const struct
	{
		const char *url;
		const char *name;
	}			cases[] = {
		{"http://h/?gid=x", "gid"}, {"http://h?gid=x", "gid"}, {"http://h/?a=1&gid=x", "gid"},
		{"http://h/?trans_type=saga", "trans_type"}, {"http://h/?branch_id=01#x", "branch_id"},
		{"http://h/?op=action", "op"}, {"http://h/?phase2_url=x", "phase2_url"},
		{"http://h/?dtm=http://x", "dtm"}, {"http://h/?op", "op"}, {"http://h/?op=", "op"},
		{"http://h/?a=1&a=2&gid=x&gid=y", "gid"}, {"http://h/?&&gid=x", "gid"}, {"http://h/??gid=x", "gid"},
		/* encoded, once or more often */
		{"http://h/?%67id=x", "gid"}, {"http://h/?g%69%64=x", "gid"}, {"http://h/?branch%5Fid=1", "branch_id"},
		{"http://h/?%2567id=x", "gid"}, {"http://h/?%u0067id=x", "gid"}, {"http://h/?a%26gid=x", "gid"},
		/* other separators, other spellings */
		{"http://h/?a=1;gid=x", "gid"}, {"http://h/?GID=x", "gid"}, {"http://h/?Trans_Type=x", "trans_type"},
		{"http://h/?gid[]=x", "gid"}, {"http://h/?gid%5B0%5D=x", "gid"}, {"http://h/?branch.id=x", "branch_id"},
		{"http://h/?branch+id=x", "branch_id"}, {"http://h/?branch%20id=x", "branch_id"}, {"http://h/?branch[id=x", "branch_id"},
		{"http://h/?+gid=x", "gid"}, {"http://h/?%20%20gid%20=x", "gid"}, {"http://h/?gid%00=x", "gid"},
		{"http://h/?gid%00a=x", "gid"}, {"http://h/?%09gid=x", "gid"}, {"http://h/?%0agid=x", "gid"},
		/* in the path, for who decodes it or reads its parameters */
		{"http://h/a%3fgid=x", "gid"}, {"http://h/a%253fb=1%2526gid=x", "gid"}, {"http://h/a;gid=x", "gid"},
		{"http://h/a;b=1;op=x/c", "op"}, {"http://h/a%3Bop=x", "op"}, {"grpc://h:1/p.S/M;gid=1", "gid"},
		/* others */
		{"http://h/", NULL}, {"http://h/gid", NULL}, {"http://h/op/gid=1", NULL}, {"http://h/?", NULL},
		{"http://h/?gids=1&my_gid=2&xop=3&options=4&opt=5&gid_=1&_op=2&op.x=3&branch=6&branchid=7&type=8", NULL},
		{"http://h/?x=gid&y=a=gid=1", NULL}, {"http://h/?next=http%3A%2F%2Fi%2F%3Fgid%3D1%26op%3D2", NULL},
		{"http://h/?method=TransIn#gid=1", NULL}, {"http://h/#?gid=1", NULL}, {"http://h/a;v=1/op", NULL},
		{"http://h/a&gid=1", NULL}, {"http://h/?filter[gid]=1&gid[x=1", NULL}, {"server:bank/x?amount=30", NULL},
		{"http://gid:op@h/?a=%", NULL}, {"http://h/?%=1&=2&[]=3", NULL}
	};

	(void) state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		const char *name = uri_own_parameter(cases[i].url);

		if (name != cases[i].name && (name == NULL || cases[i].name == NULL ||
									  strcmp(name, cases[i].name) != 0))
			fail_msg("%s: %s", cases[i].url, name ? name : "accepted");
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_that_leave),
		cmocka_unit_test(paths_that_stay),
		cmocka_unit_test(parameters_of_dtm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
