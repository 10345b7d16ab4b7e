# The scenarios of dtm's own tests, by their ids: final status, branch statuses, calls and their
# order.  If one fails, a service that was written for dtm receives other calls than from dtm.
#
# The coordinator is paused; dtm_run_due() processes what is due at the time that the test sets.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use Test::More;

my $node = start_server('scenarios');
my $busi = start_participant();
my $saga = "ARRAY[dtm_step('$busi/TransOut', '$busi/TransOutRevert', '{\"amount\": 30}'), dtm_step('$busi/TransIn', '$busi/TransInRevert', '{\"amount\": 30}')]";
my $msg = "ARRAY[dtm_step('$busi/TransOut', payload => '{\"amount\": 30}'), dtm_step('$busi/TransIn', payload => '{\"amount\": 30}')]";
my $query = "\"query_prepared\": \"$busi/QueryPrepared\"";

sql('SELECT dtm_pause()');
eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'paused');

my $ok = { status => 200 };
my $fail = { status => 409, body => '{"error":"reason:Insufficient balance. FAILURE"}' };
my $ongoing = { status => 425, body => '{"error":"ONGOING"}' };
my $error = { status => 500, body => '{"error":"ERROR from user"}' };

sub submit
{
	my ($type, $gid, $steps, $options) = @_;
	sql("SELECT dtm_submit('$type', $steps, gid => '$gid', options => '{"
		  . ($options || '') . "}')");
	return;
}

sub prepare
{
	my ($gid, $options) = @_;
	sql("SELECT dtm_prepare('msg', '$gid', $msg, '{" . ($options || $query) . "}')");
	return;
}

# ---------- saga ----------

submit('saga', 'SG-01', $saga);
run_due($node);
status_is('SG-01', 'succeed', 'P S P S', 'TransOut TransIn', 'all succeed');
is(reason('SG-01'), '', 'SG-01: no rollback_reason');
{
	# §5.2, to the letter
	my ($call) = calls_of('SG-01');
	is($call->{method}, 'POST', 'a payload is POSTed');
	is($call->{body}, '{"amount": 30}', 'the body is the payload');
	is($call->{raw_query}, 'branch_id=01&gid=SG-01&op=action&trans_type=saga',
		'the parameters and their order');
	is($call->{headers}{'Content-Type'}, 'application/json', 'Content-Type');
	is($call->{headers}{'Accept'}, 'application/json', 'Accept');
	is($call->{headers}{'User-Agent'}, 'dtm-postgresql', 'User-Agent');
	ok(!exists $call->{headers}{'Expect'}, 'no Expect');
}

reply('/TransIn', $fail);
submit('saga', 'SG-02', $saga);
run_due($node);
status_is('SG-02', 'failed', 'S S S F',
	'TransOut TransIn TransInRevert TransOutRevert', 'refused and undone');
is( reason('SG-02'),
	"url:$busi/TransIn return failed: {\"error\":\"reason:Insufficient balance. FAILURE\"} FAILURE",
	'SG-02: rollback_reason');

reply('/TransOut', $ongoing);
submit('saga', 'SG-03', $saga);
run_due($node);
status_is('SG-03', 'submitted', 'P P P P', 'TransOut', 'ongoing');
run_due($node, 9);
status_is('SG-03', 'submitted', 'P P P P', 'TransOut', 'not before the interval');
run_due($node, 11);
status_is('SG-03', 'succeed', 'P S P S', 'TransOut TransOut TransIn', 'asked again');

reply('/TransIn', $fail);
reply('/TransOutRevert', $error);
submit('saga', 'SG-04', $saga);
run_due($node);
status_is('SG-04', 'aborting', 'P S S F',
	'TransOut TransIn TransInRevert TransOutRevert', 'a compensation fails');
run_due($node, 21);
status_is('SG-04', 'failed', 'S S S F',
	'TransOut TransIn TransInRevert TransOutRevert TransOutRevert',
	'only the failed compensation is called again');

reply('/TransOut', $ongoing);
submit('saga', 'SG-05', $saga);
run_due($node);
submit('saga', 'SG-05', $saga);
run_due($node);
status_is('SG-05', 'succeed', 'P S P S', 'TransOut TransOut TransIn',
	'submitted again, it runs at once');
my ($rc, $out, $err) = $node->psql('postgres', q(SELECT dtm_submit('{"trans_type": "saga", "gid": "SG-05"}'::jsonb)));
like($err, qr/current status is 'succeed'/, 'SG-05: a third submit is an error for an SDK');
is(sql("SELECT dtm_submit('saga', $saga, gid => 'SG-05')"), 'SG-05', 'in SQL, the same submit can be repeated');

# R-21: submitted again, what is done is not done again, and its results are kept
reply({ path => '/TransIn', gid => 'R-21' }, $ongoing);
submit('saga', 'R-21', $saga);
run_due($node);
submit('saga', 'R-21', $saga);
run_due($node);
status_is('R-21', 'succeed', 'P S P S', 'TransOut TransIn TransIn', 'submitted again, it goes on with what is stored');

submit('saga', 'SG-06', "ARRAY[dtm_step('$busi/TransOut', '', '{}'), dtm_step('', '')]");
run_due($node);
status_is('SG-06', 'succeed', 'P S P S', 'TransOut', 'empty URLs');

submit('saga', 'R-04', "ARRAY[dtm_step('$busi/a', '$busi/A', '{}')]");
reply('/a', { status => 402 }, { status => 500, body => '{"error":"INTERNAL_FAILURE, please try again"}' }, { status => 302 },
	{ status => 404 }, { drop => JSON::PP::true }, { half => JSON::PP::true });
my $due = 0;
for my $n (1 .. 6)
{
	run_due($node, $due);
	status_is('R-04', 'submitted', 'P P', join(' ', ('a') x $n), "what is neither success nor a permanent failure ($n)");
	$due = $due + 10 * 2**$n + 1;
}
run_due($node, $due);
status_is('R-04', 'succeed', 'P S', join(' ', ('a') x 7), 'at last');
is( sql("SELECT string_agg(coalesce(http_status::text, '-') || ' ' || result, ', ' ORDER BY started) FROM dtm.calls WHERE gid = 'R-04'"),
	'402 ERROR, 500 ERROR, 302 ERROR, 404 ERROR, - ERROR, - ERROR, 200 SUCCESS',
	'every call is in dtm.calls');

for my $case (
	[ 'R-01', { status => 409, body => '' }, 'failed' ],
	[ 'R-02a', { status => 200, body => '{"dtm_result":"FAILURE"}' }, 'failed' ],
	[ 'R-02b', { status => 400, body => 'FAILURE' }, 'failed' ],
	# here, a 5xx is never final, 2xx is success, and the words are no part of others' data
	[ 'R-02c', { status => 500, body => 'FAILURE' }, 'submitted' ],
	[ 'R-02d', { status => 200, body => '{"title":"FAILURE Is Not an Option"}' }, 'succeed' ],
	[ 'R-04a', { status => 201, body => '{"id":"ch_1"}' }, 'succeed' ],
	[ 'R-04b', { status => 204, body => '' }, 'succeed' ],
	[ 'R-03a', { status => 200, body => '{"dtm_result":"ONGOING"}' }, 'submitted' ],
	[ 'R-03b', { status => 409, body => 'ONGOING FAILURE' }, 'submitted' ])
{
	my ($id, $reply, $status) = @$case;
	reply('/x', $reply);
	submit('saga', $id, "ARRAY[dtm_step('$busi/x', '')]");
	run_due($node);
	is(sql("SELECT dtm_status('$id')"), $status, $id);
}

# R-40: a branch that takes longer than the retry interval is not called again meanwhile;
# R-34: a long pass does not keep new steps waiting
reply({ path => '/TransOut', gid => 'R-40' }, { delay => 1.5 });
submit('saga', 'R-40', $saga, '"retry_interval": 0.1, "request_timeout": 60');
run_due($node);
status_is('R-40', 'succeed', 'P S P S', 'TransOut TransIn', 'R-34: a slow branch is called once');

# ---------- concurrent saga ----------

submit('saga', 'SC-01', $saga, '"concurrent": true');
run_due($node);
status_is('SC-01', 'succeed', 'P S P S', undef, 'concurrent');

reply('/TransOut', $fail);
reply('/TransOutRevert', $ongoing);
submit('saga', 'SC-02', $saga, '"concurrent": true');
run_due($node);
is(sql("SELECT dtm_status('SC-02')"), 'aborting', 'SC-02');
run_due($node, 11);
is(sql("SELECT dtm_status('SC-02')"), 'failed', 'SC-02');

reply('/TransOut', $fail);
submit('saga', 'SC-03', $saga, '"concurrent": true, "orders": {"1": [0]}');
run_due($node);
status_is('SC-03', 'failed', 'S F P P', 'TransOut TransOutRevert',
	'what could not start is not undone');

reply('/TransIn', $fail);
submit('saga', 'SC-04', $saga, '"concurrent": true, "orders": {"1": [0]}');
run_due($node);
status_is('SC-04', 'failed', 'S S S F',
	'TransOut TransIn TransInRevert TransOutRevert', 'undone in reverse');

reply('/TransOut', $ongoing);
submit('saga', 'SC-05', $saga, '"concurrent": true');
run_due($node);
status_is('SC-05', 'submitted', 'P P P S', undef, 'one ongoing');
run_due($node, 11);
status_is('SC-05', 'succeed', 'P S P S', undef, 'only that one is called again');
is(scalar(calls_of('SC-05')), 3, 'SC-05: three calls');

# ---------- saga options ----------

reply('/TransOut', $ongoing);
submit('saga', 'SO-01', "ARRAY[dtm_step('$busi/TransOut', '')]", '"retry_interval": 150');
run_due($node);
run_due($node, 180);
status_is('SO-01', 'succeed', 'P S', 'TransOut TransOut', 'ONGOING keeps the interval');

reply('/TransOut', $error);
submit('saga', 'SO-02', "ARRAY[dtm_step('$busi/TransOut', '')]", '"retry_interval": 150');
run_due($node);
run_due($node, 180);
status_is('SO-02', 'submitted', 'P P', 'TransOut', 'an error doubles it');
run_due($node, 360);
status_is('SO-02', 'succeed', 'P S', 'TransOut TransOut', 'an error doubles it');

reply('/TransOut', $ongoing);
submit('saga', 'SO-03', $saga, '"timeout_to_fail": 1800');
run_due($node);
run_due($node, 3600);
status_is('SO-03', 'failed', 'S P P P', 'TransOut TransOutRevert', 'time-out');
like(reason('SO-03'), qr/^Timeout after \d+ seconds$/, 'SO-03: reason');

submit('saga', 'SO-04', "ARRAY[dtm_step('$busi/TransIn', '', 'null')]", '"request_timeout": 6');
run_due($node);
is((calls_of('SO-04'))[0]{body}, 'null', 'SO-04: the body is null');

reply('/TransOut', $ongoing);
submit('saga', 'SO-09', $saga, '"branch_headers": {"test_header": "yes", "Content-Type": "text/plain", "user-agent": "mine", "empty": ""}');
run_due($node);
run_due($node, 11);
is(join(' ', map { $_->{headers}{test_header} } calls_of('SO-09')), 'yes yes yes',
	'SO-08, SO-09: headers are sent every time');
is((calls_of('SO-09'))[0]{headers}{'Content-Type'}, 'text/plain', 'a header replaces ours');
is((calls_of('SO-09'))[0]{headers}{'user-agent'} . ((calls_of('SO-09'))[0]{headers}{'User-Agent'} // ''), 'mine', 'whatever its case');
is((calls_of('SO-09'))[0]{headers}{'empty'}, '', 'an empty header is sent');

reply('/TransIn', $error, $error, $error);
submit('saga', 'SO-10', $saga, '"retry_limit": 3');
run_due($node);
status_is('SO-10', 'succeed', 'P S P S', 'TransOut TransIn TransIn TransIn TransIn',
	'retried at once');

reply('/TransIn', $error, $error);
submit('saga', 'SO-11', $saga, '"retry_limit": 1');
run_due($node);
status_is('SO-11', 'failed', 'S S S P',
	'TransOut TransIn TransIn TransInRevert TransOutRevert', 'given up');
is(reason('SO-11'), 'RetryCount is greater than RetryLimit, RetryLimit: 1', 'SO-11: reason');

# ---------- msg ----------

submit('msg', 'MS-01', $msg);
run_due($node);
status_is('MS-01', 'succeed', 'S S', 'TransOut TransIn', 'submit without prepare');

reply('/QueryPrepared', $ongoing);
prepare('MS-02');
run_due($node, 34);
status_is('MS-02', 'prepared', 'P P', '', 'no query before the time-out');
run_due($node, 180);
status_is('MS-02', 'prepared', 'P P', 'QueryPrepared', 'query ongoing');
reply('/TransIn', $ongoing);
run_due($node, 191);
status_is('MS-02', 'submitted', 'S P', 'QueryPrepared QueryPrepared TransOut TransIn', 'query ok');
run_due($node, 202);
status_is('MS-02', 'succeed', 'S S', 'QueryPrepared QueryPrepared TransOut TransIn TransIn', 'succeed');
{
	my ($call) = calls_of('MS-02');
	is("$call->{method} $call->{raw_query}",
		'GET branch_id=00&gid=MS-02&op=msg&trans_type=msg', 'MS-02: the query');
}

reply('/QueryPrepared', $ongoing, $fail);
prepare('MS-03');
run_due($node, 180);
run_due($node, 360);
status_is('MS-03', 'failed', 'P P', 'QueryPrepared QueryPrepared', 'query says no');

# MS-06: not before its age, then the query
prepare('MS-06');
run_due($node, 0);
status_is('MS-06', 'prepared', 'P P', '', 'too young to be queried');
run_due($node, 60);
status_is('MS-06', 'succeed', 'S S', 'QueryPrepared TransOut TransIn', 'queried at 60 s');

prepare('MS-07', "$query, \"timeout_to_fail\": 120");
run_due($node, 60);
status_is('MS-07', 'prepared', 'P P', '', 'its own time-out');
run_due($node, 121);
status_is('MS-07', 'succeed', 'S S', 'QueryPrepared TransOut TransIn', 'its own time-out');

reply('/QueryPrepared', $fail);
prepare('MS-08', "$query, \"timeout_to_fail\": 120");
run_due($node, 180);
status_is('MS-08', 'failed', 'P P', 'QueryPrepared', 'and then no');

submit('msg', 'MS-09', $msg, '"concurrent": true');
run_due($node);
status_is('MS-09', 'succeed', 'S S', undef, 'concurrent');

submit('msg', 'MS-10', $msg, '"delay": 10');
run_due($node, 0);
run_due($node, 8);
status_is('MS-10', 'submitted', 'P P', '', 'delayed');
run_due($node, 12);
status_is('MS-10', 'succeed', 'S S', 'TransOut TransIn', 'delayed');

reply('/TransOut', $ongoing);
submit('msg', 'MS-14', $msg);
run_due($node);
status_is('MS-14', 'submitted', 'P P', 'TransOut', 'a branch that is not done stops it');
run_due($node, 11);
status_is('MS-14', 'succeed', 'S S', 'TransOut TransOut TransIn', 'a branch that is not done stops it');

reply('/TransOut', $fail);
submit('msg', 'JR-02', $msg);
run_due($node);
status_is('JR-02', 'submitted', 'P P', 'TransOut', 'even FAILURE is retried');
run_due($node, 21);
status_is('JR-02', 'succeed', 'S S', 'TransOut TransOut TransIn', 'even FAILURE is retried');

# R-32: 500 doubles
reply('/QueryPrepared', $error);
prepare('R-32');
run_due($node, 36);
run_due($node, 52);
status_is('R-32', 'prepared', 'P P', 'QueryPrepared', 'not yet');
run_due($node, 57);
status_is('R-32', 'succeed', 'S S', 'QueryPrepared QueryPrepared TransOut TransIn', 'then');

# a prepared saga, by its query as a message; without one, it waits (R-30)
for my $case ([ 'saga-yes', $ok, 'succeed', 'P S P S', 'QueryPrepared TransOut TransIn' ],
	[ 'saga-no', $fail, 'failed', 'P P P P', 'QueryPrepared' ])
{
	my ($gid, $answer, $status, $branches, $calls) = @$case;

	reply('/QueryPrepared', $ongoing, $answer);
	sql("SELECT dtm_prepare('saga', '$gid', $saga, '{$query}')");
	run_due($node, 34);
	status_is($gid, 'prepared', 'P P P P', '', 'too young to be queried');
	run_due($node, 36);
	status_is($gid, 'prepared', 'P P P P', 'QueryPrepared', 'query ongoing');
	run_due($node, 60);
	status_is($gid, $status, $branches, "QueryPrepared $calls", 'the answer counts');
	is((calls_of($gid))[0]{raw_query}, "branch_id=00&gid=$gid&op=msg&trans_type=saga", "$gid: the query");
	is(sql("SELECT string_agg(branch_id || ' ' || op || ' ' || result, ', ' ORDER BY started) FROM dtm.calls WHERE gid = '$gid' AND op = 'msg'"),
		'00 msg ONGOING, 00 msg ' . ($status eq 'failed' ? 'FAILURE' : 'SUCCESS'), "$gid: in dtm.calls");
}
sql("SELECT dtm_prepare('saga', 'saga-waits', $saga, '{}')");
run_due($node, 36000);
status_is('saga-waits', 'prepared', 'P P P P', '', 'without a query URL');
sql("SELECT dtm_force_stop('saga-waits')");

# a GET where there is no payload; the URL's own parameters and its fragment;
# characters that have to be escaped
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/path?a=1&giddy=mine#part')], gid => 'a b/c?&=ü%')");
run_due($node);
{
	my ($call) = grep { $_->{path} eq '/path' } calls_of();
	is("$call->{method} $call->{raw_query}",
		'GET a=1&giddy=mine&branch_id=01&gid=a%20b%2Fc%3F%26%3D%C3%BC%25&op=action&trans_type=msg',
		'§5.2: GET, own parameters first, escaped');
}

# R-41: stopped, it makes no further call
reply('/TransOut', $ongoing);
submit('saga', 'R-41', $saga);
run_due($node);
sql("SELECT dtm_force_stop('R-41')");
run_due($node, 100);
status_is('R-41', 'failed', 'P P P P', 'TransOut', 'force stop');

# ---------- tcc and xa: what the coordinator does after the tries ----------

# prepare, and register branches 01, 02 ... with a payload
sub open_twophase
{
	my ($type, $gid, $branches, $options) = @_;
	sql("SELECT dtm_prepare('$type', '$gid', options => '{" . ($options || '') . "}')");
	for my $branch (@$branches)
	{
		sql($type eq 'tcc'
			? "SELECT dtm_register_branch('$gid', '$branch', '$busi/Confirm$branch', '$busi/Cancel$branch', '{\"amount\": 30}')"
			: "SELECT dtm_register_branch('$gid', '$branch', '$busi/Xa$branch')");
	}
	return;
}

sub submit_twophase
{
	my ($type, $gid) = @_;
	sql("SELECT dtm_submit('$type', gid => '$gid')");
	return;
}

# TC-01, TC-02
open_twophase('tcc', 'TC-01', [ '01', '02' ]);
run_due($node);
status_is('TC-01', 'prepared', 'P P P P', '', 'prepared: no call');
submit_twophase('tcc', 'TC-01');
run_due($node);
status_is('TC-01', 'succeed', 'P S P S', 'Confirm02 Confirm01', 'last registered first');
{
	my ($call) = calls_of('TC-01');
	is("$call->{method} $call->{raw_query} $call->{body}",
		'POST branch_id=02&gid=TC-01&op=confirm&trans_type=tcc {"amount": 30}', 'TC-01: the request');
}

reply('/Cancel01', $ongoing);
open_twophase('tcc', 'TC-03', [ '01', '02' ]);
sql("SELECT dtm_abort('TC-03', 'try 02 said FAILURE')");
run_due($node);
status_is('TC-03', 'aborting', 'P P S P', 'Cancel02 Cancel01', 'a cancel is ongoing');
run_due($node, 11);
status_is('TC-03', 'failed', 'S P S P', 'Cancel02 Cancel01 Cancel01', 'the branch whose try failed is cancelled too');
like(reason('TC-03'), qr/FAILURE/, 'TC-03: reason');

open_twophase('tcc', 'TC-04', ['01']);
run_due($node, 300);
status_is('TC-04', 'failed', 'S P', 'Cancel01', 'never submitted');
like(reason('TC-04'), qr/^Timeout after \d+ seconds$/, 'TC-04: reason');
($rc, $out, $err) = $node->psql('postgres', "SELECT dtm_register_branch('TC-04', '02', '$busi/x', '$busi/y')");
like($err, qr/current status is 'failed'/, 'TC-04: too late to register a branch');
($rc, $out, $err) = $node->psql('postgres', "SELECT dtm_abort('TC-04')");
like($err, qr/current status is 'failed'/, 'TC-04: and to abort');

sql("SELECT dtm_prepare('tcc', 'TC-05')");
sql("SELECT dtm_register_branch('TC-05', '01', '', '')");
submit_twophase('tcc', 'TC-05');
run_due($node);
status_is('TC-05', 'succeed', 'P S', '', 'empty URLs');

open_twophase('tcc', 'TC-09', [ '01', '02', '0201' ]);
submit_twophase('tcc', 'TC-09');
run_due($node);
status_is('TC-09', 'succeed', 'P S P S P S', 'Confirm0201 Confirm02 Confirm01', 'nested');

open_twophase('xa', 'XA-01', [ '01', '02' ]);
submit_twophase('xa', 'XA-01');
run_due($node);
status_is('XA-01', 'succeed', 'P S P S', 'Xa01 Xa02', 'first registered first');
{
	my ($call) = calls_of('XA-01');
	is("$call->{method} $call->{raw_query} $call->{body}",
		'POST branch_id=01&gid=XA-01&op=commit&trans_type=xa ', 'XA-01: an empty POST');
}

open_twophase('xa', 'XA-03', ['01']);
sql("SELECT dtm_abort('XA-03')");
run_due($node);
status_is('XA-03', 'failed', 'S P', 'Xa01', 'rolled back');
is((calls_of('XA-03'))[0]{query}{op}, 'rollback', 'XA-03: op');

open_twophase('xa', 'XA-05', []);
run_due($node, 300);
status_is('XA-05', 'failed', '', '', 'timed out without branches');
($rc, $out, $err) = $node->psql('postgres', "SELECT dtm_submit('xa', gid => 'XA-05')");
like($err, qr/current status is 'failed'/, 'XA-05: too late to submit');

reply('/Xa01', { status => 200, body => '{"dtm_result":"ONGOING"}' });
open_twophase('xa', 'XA-06', ['01']);
submit_twophase('xa', 'XA-06');
run_due($node);
status_is('XA-06', 'submitted', 'P P', 'Xa01', 'commit ongoing');
run_due($node, 11);
status_is('XA-06', 'succeed', 'P S', 'Xa01 Xa01', 'commit ongoing');

reply('/Xa01', { status => 500 });
open_twophase('xa', 'XA-07', ['01']);
sql("SELECT dtm_abort('XA-07')");
run_due($node);
status_is('XA-07', 'aborting', 'P P', 'Xa01', 'rollback fails');
run_due($node, 500);
status_is('XA-07', 'failed', 'S P', 'Xa01 Xa01', 'and is tried again');

# old participants: 200, and the words in the body
my %old = map { $_ => { status => 200, body => "{\"dtm_result\":\"$_\"}" } } qw(SUCCESS FAILURE ONGOING);
reply('/Confirm01', $old{SUCCESS});
reply('/Confirm02', $old{SUCCESS});
open_twophase('tcc', 'TC-06', [ '01', '02' ]);
submit_twophase('tcc', 'TC-06');
run_due($node);
status_is('TC-06', 'succeed', 'P S P S', 'Confirm02 Confirm01', 'old participants: SUCCESS');
reply('/Cancel01', $old{ONGOING});
open_twophase('tcc', 'TC-07', [ '01', '02' ]);
sql("SELECT dtm_abort('TC-07', 'try said {\"dtm_result\":\"FAILURE\"}')");
run_due($node);
status_is('TC-07', 'aborting', 'P P S P', 'Cancel02 Cancel01', 'old participants: ONGOING');
run_due($node, 11);
status_is('TC-07', 'failed', 'S P S P', 'Cancel02 Cancel01 Cancel01', 'old participants: asked again');
reply('/Cancel01', $old{SUCCESS});
open_twophase('tcc', 'TC-08', ['01']);
run_due($node, 300);
status_is('TC-08', 'failed', 'S P', 'Cancel01', 'old participants: time-out');
($rc, $out, $err) = $node->psql('postgres', "SELECT dtm_register_branch('TC-08', '02', '$busi/x', '$busi/y')");
like($err, qr/current status is 'failed'/, 'TC-08: too late to register');

# a client that fails after its prepare aborts: nothing is called (TC-10, TC-17; XA-04, XA-12, XA-13)
for my $case ([ 'tcc', 'TC-10' ], [ 'xa', 'XA-04' ])
{
	my ($type, $gid) = @$case;
	open_twophase($type, $gid, []);
	sql("SELECT dtm_abort('$gid')");
	run_due($node);
	status_is($gid, 'failed', '', '', 'aborted without branches');
}

# /query, as the SDKs read it
my $answer = JSON::PP->new->decode(sql("SELECT dtm_query('SG-02')"));
is($answer->{transaction}{status}, 'failed', 'query: status');
ok(exists $answer->{transaction}{rollback_time} && !exists $answer->{transaction}{finish_time},
	'query: rollback_time');
is(join(' ', map { "$_->{branch_id} $_->{op} $_->{status}" } @{ $answer->{branches} }),
	'01 compensate succeed 01 action succeed 02 compensate succeed 02 action failed',
	'query: branches');

# wait_result: in SQL one waits after the commit (SO-05 to SO-07; R-10 to R-16, CS-01 to CS-03)
sub submit_and_wait
{
	my ($gid, $timeout) = @_;
	submit('saga', $gid, $saga, '"wait_result": true');
	return sql("SELECT dtm_wait('$gid', '$timeout')");
}
sql('SELECT dtm_resume()');
is(submit_and_wait('SO-05', '1 min'), 'succeed', 'SO-05: waited for');
is(branches_of($node, 'SO-05'), 'P S P S', 'SO-05: and all done at return');
reply({ path => '/TransOut', gid => 'SO-06', forever => JSON::PP::true }, $ongoing);
is(submit_and_wait('SO-06', '0 s'), 'submitted', 'SO-06: not final in time: the current status');
sql("SELECT dtm_force_stop('SO-06')");
reply({ path => '/TransIn', gid => 'SO-07' }, $fail);
is(submit_and_wait('SO-07', '1 min'), 'failed', 'SO-07: refused');
like(reason('SO-07'), qr/Insufficient balance/, 'SO-07: and why');
reply({ path => '/TransIn', gid => 'R-12' }, $ongoing);
open_twophase('tcc', 'R-12', ['01'], '"wait_result": true');
submit_twophase('tcc', 'R-12');
is(sql("SELECT dtm_wait('R-12', '1 min')"), 'succeed', 'R-12: other types are waited for, too');
prepare('CS-01');
sql("SELECT dtm_submit('msg', gid => 'CS-01')");
is(sql("SELECT dtm_wait('CS-01', '1 min')"), 'succeed', 'CS-01: prepared, submitted, done at once');
reply({ path => '/TransOut', gid => 'CS-02' }, ($ongoing) x 5);
submit('msg', 'CS-02', $msg, '"retry_interval": 0.1');
is(sql("SELECT dtm_wait('CS-02', '1 min')"), 'succeed', 'CS-02: ongoing for a while, then done');
prepare('CS-03');
sql("SELECT dtm_submit('msg', gid => 'CS-03', options => '{\"delay\": 3600}')");
is(sql("SELECT dtm_wait('CS-03', '0 s')"), 'submitted', 'CS-03: a delay that comes with the submit');

done_testing();
