# ALTER EXTENSION UPDATE with transactions of every type in flight, and a
# library and SQL of different versions.  If this fails, an upgrade loses
# transactions, or runs SQL that is not the library's.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('upgrade', conf => "dtm.retry_interval = '1h'\nmax_worker_processes = 12");
my $busi = start_participant();
my $state = 'SELECT state FROM dtm.stat_coordinator';

# each one is half done, and waits for an hour
my %waits_for = (saga => '/saga2', msg => '/msg2', tcc => '/confirm2', xa => '/xa2');
reply($_, { status => 500 }) for values %waits_for;
$node->safe_psql('postgres', <<SQL);
SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/saga1', '', '{}'), dtm_step('$busi/saga2', '', '{}')], gid => 'saga');
SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/msg1'), dtm_step('$busi/msg2')], gid => 'msg');
SELECT dtm_prepare('tcc', gid => 'tcc', options => '{"timeout_to_fail": 3600}');
SELECT dtm_register_branch('tcc', '01', '$busi/confirm1', '', '{}'), dtm_register_branch('tcc', '02', '$busi/confirm2', '', '{}');
SELECT dtm_submit('tcc', gid => 'tcc');
SELECT dtm_prepare('xa', gid => 'xa', options => '{"timeout_to_fail": 3600}');
SELECT dtm_register_branch('xa', '01', '$busi/xa1'), dtm_register_branch('xa', '02', '$busi/xa2');
SELECT dtm_submit('xa', gid => 'xa');
SELECT dtm_prepare('workflow', gid => 'workflow', options => '{"name": "w", "query_prepared": "$busi/workflow", "timeout_to_fail": 3600}');
SELECT dtm_prepare('tcc', gid => 'prepared', options => '{"timeout_to_fail": 3600}');
SELECT dtm_subscribe('news', '$busi/news');
SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/done')], gid => 'done');
SQL
ok(eventually($node, "SELECT count(*) FROM dtm.branches WHERE attempts > 0 AND status = 'prepared'", '4'),
	'four are half done');
is($node->safe_psql('postgres', "SELECT dtm_wait('done', '180 s')"), 'succeed', 'one has ended');
my $before = $node->safe_psql('postgres', 'SELECT gid, status, options FROM dtm.transactions ORDER BY gid');

# a database of the older version, with what its tables have in common with these
my @tables = map { "dtm.$_" } qw(request active finished attempt topic);
$node->safe_psql('postgres', 'CREATE DATABASE old');
$node->safe_psql('old', "CREATE EXTENSION dtm VERSION '0.1.0'");
my $dump = $node->basedir . '/old.sql';
for my $table (@tables)
{
	$node->safe_psql('postgres', "COPY $table TO '$dump'");
	$node->safe_psql('old', "COPY $table FROM '$dump'");
}
$node->safe_psql('old', "SELECT setval('dtm.request_id_seq', max(id)) FROM dtm.request");
$node->safe_psql('postgres', 'DROP EXTENSION dtm');

# a library that is newer
ok(eventually($node, $state, 'paused', 'old'), 'older SQL: the coordinator is paused');
my ($rc, $out, $err) = $node->psql('old', "SELECT dtm_submit('msg')");
like($err, qr/is of version 0\.1\.0 in this database, but the server has loaded the library of version.*\n.*Run ALTER EXTENSION dtm UPDATE\./, 'a submit says why, and what to do');
ok($node->poll_query_until('postgres', "SELECT pg_read_file('" . $node->logfile . "') ~ '\"old\" is paused: the extension in this database is of another version'"),
	'so does the log');
clear_participant();
$node->safe_psql('old', 'ALTER EXTENSION dtm UPDATE');
is($node->safe_psql('old', 'SELECT gid, status, options FROM dtm.transactions ORDER BY gid'), $before, 'all is there after the update');
ok(eventually($node, $state, 'running', 'old'), 'the coordinator runs');
$node->safe_psql('old', "SELECT dtm_retry_now(gid) FROM dtm.transactions WHERE status = 'submitted'");
# a tcc's confirms come one after another, the last branch's first
my %called = (saga => 'saga2', msg => 'msg2', tcc => 'confirm2 confirm1', xa => 'xa2');
for my $gid (sort keys %called)
{
	is($node->safe_psql('old', "SELECT dtm_wait('$gid', '180 s')"), 'succeed', "$gid goes on");
	is(one_line($gid), $called{$gid}, 'where it was');
}
$node->safe_psql('old', "SELECT dtm_submit('workflow', gid => 'workflow', options => '{\"status\": \"succeed\"}'), dtm_abort('prepared')");
is($node->safe_psql('old', "SELECT dtm_wait('workflow', '180 s'), dtm_wait('prepared', '180 s')"), 'succeed|failed', 'what was prepared ends as it is told');
$node->safe_psql('old', "SELECT dtm_submit('msg', ARRAY[dtm_step('topic://news')], gid => 'after')");
is($node->safe_psql('old', "SELECT dtm_wait('after', '180 s')"), 'succeed', 'topics are there, ids go on');

# SQL that is newer; a session that had planned everything notices
($rc, $out, $err) = $node->psql('old', <<'SQL');
SELECT dtm_status('after');
UPDATE pg_extension SET extversion = '99.0' WHERE extname = 'dtm';
CREATE FUNCTION dtm.newer() RETURNS int LANGUAGE sql AS 'SELECT 1';
SELECT dtm_status('after');
SQL
is($out, 'succeed', 'a session that has used it');
like($err, qr/of version 99\.0 in this database.*\n.*Install the package of version 99\.0, and restart the server/, 'newer SQL: an error says what to do');
$node->safe_psql('old', 'SELECT pg_terminate_backend(pid) FROM dtm.stat_coordinator');
ok(eventually($node, $state, 'paused', 'old'), 'the coordinator is paused');
like($node->safe_psql('old', 'SELECT hint FROM dtm.stat_coordinator'), qr/restart the server/, 'and says why');
$node->safe_psql('old', "UPDATE pg_extension SET extversion = '0.2.0' WHERE extname = 'dtm'; DROP FUNCTION dtm.newer()");

done_testing();
