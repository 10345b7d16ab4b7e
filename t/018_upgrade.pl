# ALTER EXTENSION UPDATE with unfinished transactions of every type, and a library and SQL of
# different versions.  If this fails, an upgrade loses transactions, or the library runs SQL of
# another version.
#
# Nothing older than this version has been released.  So the older one is made
# for this test (test/upgrade/; make install-upgrade-test), and what is tested is:
# a library notices SQL of another version, says so, and its coordinator pauses;
# a script of the usual kind changes tables with rows in them, makes functions and
# views anew, and ends with what CREATE EXTENSION makes; then the transactions go on.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $sharedir = `pg_config --sharedir`;
chomp $sharedir;
plan skip_all => 'run "make install-upgrade-test"' unless -e "$sharedir/extension/dtm--0.1.0--0.2.0.sql";

my $node = start_server('upgrade', conf => "dtm.retry_interval = '1h'\nmax_worker_processes = 12");
my $busi = start_participant();

# all that an extension consists of, in words
my $catalog = <<'SQL';
WITH member AS (
  SELECT d.classid, d.objid, pg_describe_object(d.classid, d.objid, 0) AS name
    FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
   WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'dtm'),
relation AS (SELECT m.name, c.* FROM member m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid)
SELECT line FROM (
SELECT name || ': ' || concat_ws(', ', obj_description(objid, classid::regclass::name)) FROM member
UNION ALL
SELECT m.name || pg_get_functiondef(m.objid) || coalesce(p.proacl::text, '')
  FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid
UNION ALL
SELECT concat_ws(' ', r.name, r.relreplident, r.reloptions, r.relacl, CASE r.relkind WHEN 'v' THEN pg_get_viewdef(r.oid) END) FROM relation r
UNION ALL
SELECT concat_ws(' ', r.name, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attcollation::regcollation,
                 pg_get_expr(d.adbin, d.adrelid), col_description(r.oid, a.attnum))
  FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0
       LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
UNION ALL
SELECT r.name || pg_get_indexdef(i.indexrelid) FROM relation r JOIN pg_index i ON i.indrelid = r.oid
UNION ALL
SELECT concat_ws(' ', r.name, t.tgenabled, pg_get_triggerdef(t.oid)) FROM relation r JOIN pg_trigger t ON t.tgrelid = r.oid
) l(line) ORDER BY line COLLATE "C"
SQL

# privileges of others than the owner and our roles
my $granted = <<'SQL';
SELECT pg_describe_object(d.classid, d.objid, 0), a.grantee::regrole, a.privilege_type
  FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
       LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
       LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
       LEFT JOIN pg_type t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid
       LEFT JOIN pg_namespace n ON d.classid = 'pg_namespace'::regclass AND n.oid = d.objid
       CROSS JOIN LATERAL aclexplode(coalesce(c.relacl, p.proacl, t.typacl, n.nspacl)) a
 WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'dtm'
   AND a.grantee <> coalesce(c.relowner, p.proowner, t.typowner, n.nspowner)
   AND a.grantee NOT IN ('dtm_user'::regrole, 'dtm_admin'::regrole, 'dtm_gateway'::regrole, 'dtm_monitor'::regrole)
SQL
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
create_citus($node, 'old');
$node->safe_psql('old', "CREATE EXTENSION dtm VERSION '0.1.0'");
my $dump = $node->basedir . '/old.sql';
for my $table (@tables)
{
	my $columns = $node->safe_psql('old', "SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = '$table'::regclass AND attnum > 0");
	$node->safe_psql('postgres', "COPY $table ($columns) TO '$dump'");
	$node->safe_psql('old', "COPY $table ($columns) FROM '$dump'");
}
$node->safe_psql('old', "SELECT setval('dtm.request_id_seq', max(id)) FROM dtm.request");
# default privileges of the one who updates give nobody anything
$node->safe_psql('old', <<'SQL');
CREATE ROLE bob;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO bob WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA dtm GRANT ALL ON TABLES TO PUBLIC;
SQL

# a library that is newer
clear_participant();
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = 'old' AND backend_type LIKE 'dtm%'"),
	'older SQL: its coordinator is there');
my ($rc, $out, $err) = $node->psql('old', q(SELECT dtm_submit('{"trans_type": "msg"}')));
like($err, qr/has version 0\.1\.0 in this database, but the loaded library has version.*\n.*Run ALTER EXTENSION dtm UPDATE\./, 'a submit says why, and what to do');
ok($node->wait_for_log(qr/"old" is paused\n.*The extension in this database and the loaded library have different versions/),
	'so does the log, and it is paused');
is(scalar(calls_of()), 0, 'nothing is called meanwhile');
$node->safe_psql('old', 'ALTER EXTENSION dtm UPDATE');
my %lines;
$lines{$_}++ for split /\n/, $node->safe_psql('postgres', $catalog);
$lines{$_}-- for split /\n/, $node->safe_psql('old', $catalog);
is(join("\n", grep { $lines{$_} } sort keys %lines), '', 'the update makes what CREATE EXTENSION makes');
is($node->safe_psql('old', $granted), '', 'and nobody has a privilege that it does not grant');
$node->safe_psql('old', 'DROP OWNED BY bob; ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC');
$node->safe_psql('postgres', 'DROP EXTENSION dtm');
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
like($err, qr/has version 99\.0 in this database.*\n.*Install the package of version 99\.0, and restart the server/, 'newer SQL: an error says what to do');
$node->safe_psql('old', 'SELECT pg_terminate_backend(pid) FROM dtm.stat_coordinator');
ok(eventually($node, $state, 'paused', 'old'), 'the coordinator is paused');
like($node->safe_psql('old', 'SELECT hint FROM dtm.stat_coordinator'), qr/restart the server/, 'and says why');
$node->safe_psql('old', "UPDATE pg_extension SET extversion = '0.2.0' WHERE extname = 'dtm'; DROP FUNCTION dtm.newer()");

done_testing();
