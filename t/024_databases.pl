# The launcher notices changes of databases, and distributes the background workers.  If this
# fails, a database has no coordinator, and nothing reports it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# one more for the maintenance of Citus
my $workers = on_citus() ? 9 : 8;
my $node = start_server('databases', conf => <<CONF);
max_worker_processes = $workers
max_logical_replication_workers = 0
dtm.retry_interval = 200ms
CONF
my $busi = start_participant();
eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'running');

sub in_shop { return $node->safe_psql('shop', $_[0]); }
my $connected = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'shop' AND backend_type = 'dtm coordinator'";

# ---------- connections are forbidden, and allowed again ----------

$node->safe_psql('postgres', 'CREATE DATABASE shop');
in_shop('CREATE EXTENSION dtm');
for my $change (
	[ 'ALTER DATABASE shop ALLOW_CONNECTIONS false', 'ALTER DATABASE shop ALLOW_CONNECTIONS true', 'ALTER DATABASE' ],
	[ "UPDATE pg_database SET datallowconn = false WHERE datname = 'shop'", "UPDATE pg_database SET datallowconn = true WHERE datname = 'shop'", 'UPDATE' ],
	[ 'ALTER DATABASE shop IS_TEMPLATE true', 'ALTER DATABASE shop IS_TEMPLATE false', 'a template' ])
{
	my ($away, $back, $name) = @$change;

	in_shop("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/$_')], gid => '$name' || n, options => '{\"delay\": 1}') FROM generate_series(1, 3) n") for 'late';
	ok(eventually($node, $connected, '1'), "$name: a coordinator is connected");
	sql($away);
	ok(eventually($node, $connected, '0'), "$name: it leaves by itself");
	sql($back);
	ok(eventually($node, $connected, '1'), "$name: it comes back by itself");
	is($node->safe_psql('shop', "SELECT string_agg(DISTINCT dtm_wait('$name' || n, '180 s'), ' ') FROM generate_series(1, 3) n"),
		'succeed', "$name: and drives what is due");
}
sql('BEGIN; ALTER DATABASE shop ALLOW_CONNECTIONS false; ROLLBACK');
is(sql($connected), '1', 'what is rolled back is no change');

# a terminated one comes back, too
sql('ALTER DATABASE shop ALLOW_CONNECTIONS false');
sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'shop'");
ok(eventually($node, $connected, '0'), 'it is gone');
sql('ALTER DATABASE shop ALLOW_CONNECTIONS true');
ok(eventually($node, $connected, '1'), 'and comes back when it may');

# a copy of it says that it is one, without anybody's submit
sql('CREATE DATABASE copy TEMPLATE shop');
ok(eventually($node, "SELECT state, reason ~ 'was restored or copied' FROM dtm.stat_coordinator", 'paused|t', 'copy'),
	'a copy has a coordinator, which waits');
sql('DROP DATABASE copy');
sql('DROP DATABASE shop');

# ---------- settings that a database has for its sessions ----------

sql('CREATE ROLE grp');
sql('CREATE FUNCTION public.ok(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE sql AS $$SELECT$$');
my $number = 0;
my $limited = '';
for my $setting (
	'role = grp', 'search_path = nowhere', 'session_replication_role = replica', 'default_transaction_isolation = serializable',
	'default_transaction_read_only = on', 'default_transaction_deferrable = on', 'statement_timeout = 1', 'lock_timeout = 1',
	'idle_in_transaction_session_timeout = 1', 'idle_session_timeout = 1', 'exit_on_error = on', 'row_security = off',
	'enable_indexscan = off', 'enable_nestloop = off', 'plan_cache_mode = force_custom_plan', 'jit_above_cost = 0',
	'bytea_output = escape', "DateStyle = 'SQL, DMY'", 'IntervalStyle = sql_standard', "TimeZone = 'Asia/Tokyo'",
	(map { $node->pg_version < '19devel' ? $_ : () } 'standard_conforming_strings = off'), 'transform_null_equals = on', 'extra_float_digits = -15', 'synchronous_commit = off',
	"client_encoding = 'LATIN1'", 'quote_all_identifiers = on', "default_tablespace = ''", 'array_nulls = off', 'log_min_messages = panic',
	(map { $node->pg_version >= 17 ? $_ : () } 'transaction_timeout = 1'))
{
	my $gid = 'set' . ++$number;
	$limited = $gid if $setting =~ /^statement_timeout/;

	# a coordinator that is told to leave comes back without the pause of one that died
	$node->safe_psql('template1', "ALTER DATABASE postgres SET $setting; ALTER DATABASE postgres ALLOW_CONNECTIONS false");
	$node->poll_query_until('template1', "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'postgres' AND application_name NOT LIKE 'Citus Maintenance Daemon%'") or die;
	$node->safe_psql('template1', 'ALTER DATABASE postgres ALLOW_CONNECTIONS true');
	# this session is not to be ended before its first statement
	local $ENV{PGOPTIONS} = '-c idle_session_timeout=0' . ($node->pg_version >= 17 ? ' -c transaction_timeout=0' : '');
	is($node->safe_psql('postgres', qq{
SET ROLE none; SET search_path = public; SET statement_timeout = 0; SET lock_timeout = 0; SET idle_session_timeout = 0; SET default_transaction_read_only = off; SET idle_in_transaction_session_timeout = 0;
SET default_transaction_isolation = 'read committed'; SET session_replication_role = origin;
SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/first'), dtm_step('sql:public.ok')], gid => '$gid');
SELECT dtm_wait('$gid', '180 s');
}), "$gid\nsucceed", "the coordinator works with $setting");
	$node->safe_psql('template1', 'ALTER DATABASE postgres RESET ALL');
}
# but a function has the statement_timeout of its role, there a millisecond
is(sql("SELECT string_agg(format('%s: %s %s', gid, result, error), E'\\n') FROM dtm.calls WHERE gid LIKE 'set%' AND result <> 'SUCCESS' AND (gid = '$limited' AND error LIKE '%statement timeout') IS NOT TRUE"), '', 'at the first try');

# the same for the whole server, with the launcher
my $log = -s $node->logfile;
$node->append_conf('postgresql.conf', join("\n", 'lock_timeout = 1', 'exit_on_error = on', $node->pg_version >= 17 ? 'transaction_timeout = 1' : ()));
$node->restart;
{
	local $ENV{PGOPTIONS} = $node->pg_version >= 17 ? '-c transaction_timeout=0' : '';
	sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/first'), dtm_step('sql:public.ok')], gid => 'server')");
	is(sql("SELECT dtm_wait('server', '180 s')"), 'succeed', 'the coordinator works with what the server has for its sessions');
}
$node->append_conf('postgresql.conf', join("\n", 'lock_timeout = 0', 'exit_on_error = off', $node->pg_version >= 17 ? 'transaction_timeout = 0' : ()));
$node->reload;
is(sql("SELECT count(*) FROM dtm.calls WHERE gid = 'server' AND result <> 'SUCCESS'"), '0', 'at the first try');
is(join('', grep { /FATAL/ && !/administrator command/ } split(/^/, slurp_file($node->logfile, $log))), '', 'without the end of a process');

# ---------- fewer workers than coordinators ----------

sub set
{
	my ($setting) = @_;
	$node->append_conf('postgresql.conf', $setting);
	$node->reload;
	return;
}

# eight workers: the launcher and seven coordinators
set('dtm.coordinators_per_database = 12');
my $running = "SELECT count(*) FILTER (WHERE state = 'running') FROM dtm.stat_coordinator";
ok(eventually($node, $running, '7'), 'as many run as there are workers');
like(sql('SELECT DISTINCT reason FROM dtm.stat_coordinator'), qr/^Only 7 of 12 coordinators run because no background worker slot is free\.$/, 'dtm.stat_coordinator says what is missing');
like(sql('SELECT DISTINCT hint FROM dtm.stat_coordinator'), qr/^Increase max_worker_processes, or decrease/, 'and what to do');
sql("SELECT count(dtm_submit('msg', ARRAY[dtm_step('$busi/x')], gid => 'shared' || n)) FROM generate_series(1, 64) n");
ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'shared%' AND status = 'succeed'", '64'), 'all is driven');
is(scalar(grep { $_->{query}{gid} =~ /^shared/ } calls_of()), 64, 'once each');

# one that dies while its place is taken by another database
sql('CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION dtm');
sql("SELECT pg_terminate_backend(pid) FROM dtm.stat_coordinator WHERE coordinator = 3");
sql("SELECT count(dtm_submit('msg', ARRAY[dtm_step('$busi/x')], gid => 'again' || n)) FROM generate_series(1, 64) n");
ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'again%' AND status = 'succeed'", '64'), 'all is driven after one has died');

# workers have become free: fewer databases, fewer wanted
sql('DROP DATABASE other');
set('dtm.coordinators_per_database = 5');
ok(eventually($node, "SELECT count(*) = 5 AND bool_and(state = 'running' AND reason IS NULL) FROM dtm.stat_coordinator", 't'), 'as many as are wanted');
sql("SELECT count(dtm_submit('msg', ARRAY[dtm_step('$busi/x')], gid => 'five' || n)) FROM generate_series(1, 64) n");
ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'five%' AND status = 'succeed'", '64'), 'all is driven by them');

# two slots are left for workers of functions: a coordinator that has none gets one of another's
sql("SELECT count(dtm_submit('msg', ARRAY[dtm_step('sql:public.ok')], gid => 'few' || n)) FROM generate_series(1, 100) n");
ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'few%' AND status = 'succeed'", '100'), 'functions run, with fewer worker slots than coordinators');
is(sql("SELECT string_agg(DISTINCT format('%s %s', result, error), E'\\n') FROM dtm.calls WHERE gid LIKE 'few%' AND result <> 'SUCCESS'"), '', 'none fails because there is no slot');

done_testing();
