# The coordinator: commits wake it, it sleeps otherwise, and nothing is lost when a process dies.
# If this fails, transactions are late, lost or repeated.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('coordinator',
	conf => "max_prepared_transactions = 5\ndtm.retry_interval = '200ms'\nrestart_after_crash = on");
my $busi = start_participant();
my $running = "SELECT state FROM dtm.stat_coordinator";
eventually($node, $running, 'running');

sub saga
{
	my ($gid, $out, $in) = @_;
	$out = '/TransOut' unless defined $out;
	$in = '/TransIn' unless defined $in;
	return "dtm_submit('saga', ARRAY[dtm_step('$busi$out', '$busi/TransOutRevert', '{\"amount\": 30}'), dtm_step('$busi$in', '$busi/TransInRevert', '{\"amount\": 30}')], gid => '$gid')";
}

my $pid = sql('SELECT pid FROM dtm.stat_coordinator');
is( sql("SELECT backend_type, application_name, datname FROM pg_stat_activity WHERE pid = $pid"),
	'dtm coordinator|dtm coordinator|postgres', 'pg_stat_activity says what it is');
is(sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'dtm launcher'"),
	'1', 'so it does of the launcher');
# names of our own, where the server has them
ok(eventually($node, "SELECT string_agg(wait_event_type || ' ' || wait_event, ', ' ORDER BY backend_type) FROM pg_stat_activity WHERE backend_type LIKE 'dtm%'",
		sql('SHOW server_version_num') < 170000 ? 'Extension Extension, Extension Extension' : 'Extension DtmCoordinatorMain, Extension DtmLauncherMain'),
	'and what it waits for');
SKIP:
{
	skip 'PostgreSQL 18 shows the version of a library', 1 if $node->safe_psql('postgres', 'SHOW server_version_num') < 180000;
	is($node->safe_psql('postgres', "SELECT m.module_name, m.version = e.default_version FROM pg_get_loaded_modules() m, pg_available_extensions e WHERE m.file_name LIKE 'dtm%' AND e.name = 'dtm'"),
		'dtm|t', 'the library says what it is');
}
like(`ps -o args= -p $pid`, qr/dtm coordinator for database "postgres"/, 'its title has the name of the database');

# R-49: a commit starts it, whatever the transaction looks like
sql('SELECT ' . saga('plain'));
is(wait_for('plain'), 'succeed', 'committed: it runs');
is(one_line('plain'), 'TransOut TransIn', 'each branch once');
sql('BEGIN; SELECT ' . saga('undone') . '; ROLLBACK');
sql('BEGIN; SAVEPOINT a; SELECT ' . saga('sub-undone') . '; ROLLBACK TO a; SELECT ' . saga('sub-kept') . '; COMMIT');
is(wait_for('sub-kept'), 'succeed', 'a subtransaction that was undone leaves the rest');
is(sql("SELECT count(*) FROM dtm.transactions WHERE gid IN ('undone', 'sub-undone')"),
	'0', 'rolled back: no row');
is(scalar(calls_of('undone')) + scalar(calls_of('sub-undone')), 0, 'and no call');
sql('BEGIN; SELECT ' . saga('two-phase') . "; PREPARE TRANSACTION 'p'");
sql('BEGIN; SELECT ' . saga('two-phase-undone') . "; PREPARE TRANSACTION 'q'");
sql('SELECT ' . saga('meanwhile'));
is(wait_for('meanwhile'), 'succeed', 'others go on');
is(scalar(calls_of('two-phase')), 0, 'a prepared transaction has not committed');
sql("COMMIT PREPARED 'p'");
is(wait_for('two-phase'), 'succeed', 'COMMIT PREPARED starts it');
sql("ROLLBACK PREPARED 'q'");

# more in one transaction than are announced one by one, and than fit the ring
sql("SELECT count(" . ("dtm_submit('msg', ARRAY[dtm_step('$busi/many')], gid => 'many' || n)") . ") FROM generate_series(1, 5000) n");
ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'many%' AND status = 'succeed'", '5000'),
	'5000 in one transaction');
is(scalar(grep { $_->{path} eq '/many' } calls_of()), 5000, 'each called once');
clear_participant();

# refused and undone, retried, delayed
reply('/TransIn', { status => 409, body => 'no' });
sql('SELECT ' . saga('refused'));
is(wait_for('refused'), 'failed', 'refused');
is(one_line('refused'), 'TransOut TransIn TransInRevert TransOutRevert', 'undone');
reply('/TransOut', { status => 500 }, { status => 425 });
sql('SELECT ' . saga('retried'));
is(wait_for('retried'), 'succeed', 'retried');
is(one_line('retried'), 'TransOut TransOut TransOut TransIn', 'as often as needed');
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/late')], gid => 'late', options => '{\"delay\": 0.5}')");
is(wait_for('late'), 'succeed', 'delayed');

# a prepared saga that is told to go on still waits for its submit
sql("SELECT dtm_prepare('saga', 'waits', ARRAY[dtm_step('$busi/x', '')])");
sql("SELECT dtm_retry_now('waits')");
ok(eventually($node, "SELECT next_attempt IS NULL FROM dtm.transactions WHERE gid = 'waits'"), 'it is not due for ever');
sql("SELECT dtm_force_stop('waits')");

# forced to stop while a call is under way: no further call
reply('/TransOut', { delay => 60 });
sql('SELECT ' . saga('stopped'));
ok(eventually($node, "SELECT in_flight FROM dtm.stat_coordinator", '1'), 'a call is under way');
sql("SELECT dtm_force_stop('stopped')");
is(wait_for('stopped'), 'failed', 'stopped');
ok(eventually($node, "SELECT loaded FROM dtm.stat_coordinator", '0'), 'the call is given up');
is(one_line('stopped'), 'TransOut', 'no further call');
is(sql("SELECT result, error FROM dtm.calls WHERE gid = 'stopped'"),
	'ERROR|canceled: the global transaction is no longer active', 'and dtm.calls says so');

# pause and resume
sql('SELECT dtm_pause()');
ok(eventually($node, $running, 'paused'), 'paused');
sql('SELECT ' . saga('paused'));
$node->restart;
ok(eventually($node, $running, 'paused'), 'a restart does not end the pause');
is(scalar(calls_of('paused')), 0, 'no call while paused');
sql('SELECT dtm_resume()');
is(wait_for('paused'), 'succeed', 'resumed');

# settings are reloaded
reply('/TransOut', ({ status => 500 }) x 3);
$node->append_conf('postgresql.conf', "dtm.retry_interval = '1h'");
$node->reload;
ok(eventually($node, "SHOW dtm.retry_interval", '1h'), 'reloaded');
sql('SELECT ' . saga('slow-retry'));
ok(eventually($node, "SELECT failures FROM dtm.transactions WHERE gid = 'slow-retry'", '1'), 'failed once');
ok(sql("SELECT next_attempt > now() + interval '40 min' FROM dtm.transactions WHERE gid = 'slow-retry'") eq 't',
	'the new interval is used');
$node->append_conf('postgresql.conf', "dtm.retry_interval = '100ms'");
$node->reload;
ok(eventually($node, "SHOW dtm.retry_interval", '100ms'), 'reloaded');
sql("SELECT dtm_retry_now('slow-retry')");
is(wait_for('slow-retry'), 'succeed', 'dtm_retry_now');

# dtm_run_due takes over from the worker for a while
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/tomorrow')], gid => 'tomorrow', options => '{\"delay\": 86400}')");
run_due($node, 86401);
is(sql("SELECT dtm_status('tomorrow')"), 'succeed', 'dtm_run_due beside the worker');
sql('SELECT ' . saga('after'));
is(wait_for('after'), 'succeed', 'the worker goes on');

# two databases, each with a coordinator of its own
sql('CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION dtm');
ok(eventually($node, $running, 'running', 'other'), 'another database has its own');
$node->safe_psql('other', 'SELECT ' . saga('in-other'));
is($node->safe_psql('other', "SELECT dtm_wait('in-other', '180 s')"), 'succeed', 'and it runs');

# databases of another encoding, and with settings that are not for us
sql("CREATE DATABASE latin1 TEMPLATE template0 ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE 'C'");
sql("ALTER DATABASE latin1 SET $_")
  for ('default_transaction_isolation = serializable', 'statement_timeout = 1000', 'synchronous_commit = off');
$node->safe_psql('latin1', 'SET statement_timeout = 0; CREATE EXTENSION dtm');
$node->safe_psql('latin1', "SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/latin1', payload => '{\"a\": 1}')], gid => 'gid-' || chr(252))");
ok(eventually($node, "SELECT status FROM dtm.transactions WHERE gid LIKE 'gid-%'", 'succeed', 'latin1'), 'a LATIN1 database');
{
	my ($call) = grep { $_->{path} eq '/latin1' } calls_of();
	like($call->{raw_query}, qr/gid=gid-%C3%BC/, 'its gids go out in UTF-8');
}
sql('DROP DATABASE latin1');

# a session that takes over and is cancelled leaves nothing behind
reply('/TransOut', { delay => 3 });
sql('SELECT ' . saga('slow-one'));
ok(eventually($node, "SELECT in_flight FROM dtm.stat_coordinator", '1'), 'a call is under way');
$node->psql('postgres', "SET statement_timeout = 300; CALL dtm_run_due()");
is(wait_for('slow-one'), 'succeed', 'a cancelled dtm_run_due holds up nobody');

# pg_terminate_backend on any of ours
$pid = sql('SELECT pid FROM dtm.stat_coordinator');
sql("SELECT pg_terminate_backend($pid)");
sql('SELECT ' . saga('terminated'));
is(wait_for('terminated'), 'succeed', 'a terminated coordinator comes back');
sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'dtm launcher'");
ok(eventually($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'dtm launcher'", '1'),
	'so does a terminated launcher');
sql('SELECT ' . saga('terminated2'));
is(wait_for('terminated2'), 'succeed', 'and coordinators run');
ok(eventually($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'dtm coordinator'", '2'),
	'one for each database');

# R-37: kill -9 in mid-saga: the second call is under way
sub kill_in_mid_saga
{
	my ($gid, $how) = @_;
	clear_participant();
	reply('/TransIn', { delay => 60 });
	sql('SELECT ' . saga($gid));
	eventually($node, "SELECT status FROM dtm.branches WHERE gid = '$gid' AND ordinal = 2", 'succeed');
	for (1 .. 1800)
	{
		last if one_line($gid) eq 'TransOut TransIn';
		select undef, undef, undef, 0.1;
	}
	is(one_line($gid), 'TransOut TransIn', "$gid: under way");
	$how->();
	eventually($node, 'SELECT 1', '1');
	ok(eventually($node, "SELECT dtm_status('$gid')", 'succeed'), "$gid: ends");
	is(one_line($gid), 'TransOut TransIn TransIn',
		"$gid: what had not answered is called again, what had is not");
	return;
}

kill_in_mid_saga('coordinator-killed', sub {
	my $victim = sql('SELECT pid FROM dtm.stat_coordinator');
	kill 'KILL', $victim;
	# the server restarts its processes
	ok(eventually($node,
			"SELECT pid <> $victim FROM dtm.stat_coordinator WHERE state = 'running'"),
		'a killed coordinator has a successor');
});
kill_in_mid_saga('server-crashed', sub { $node->stop('immediate'); $node->start; });
kill_in_mid_saga('server-restarted', sub { $node->restart; });

# CR-04: a row that stays locked, here by a prepared transaction, does not hold up others
sql('SELECT dtm_pause()');
eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'paused');
sql("SELECT dtm_prepare('msg', 'locked', ARRAY[dtm_step('$busi/locked')], '{\"timeout_to_fail\": 0.2}')");
sql("BEGIN; SELECT dtm_retry_now('locked'); PREPARE TRANSACTION 'locker'");
sql('SELECT dtm_resume()');
ok(eventually($node, "SELECT oldest_due_age > interval '300 ms' AND loaded = 0 FROM dtm.stat_coordinator"), 'it is due, can not be written, and does not stay in memory');
sql('SELECT ' . saga('not-locked'));
is(wait_for('not-locked'), 'succeed', 'a locked row holds up nobody else');
sql("ROLLBACK PREPARED 'locker'");
is(wait_for('locked'), 'succeed', 'and is seen to when it is free');

# ST-02: replies that come while the row is locked are not lost: nothing is called twice
reply('/TransOut', { hold => 1 });
reply('/TransIn', { hold => 1 });
sql('SELECT ' . saga('kept-replies') =~ s/gid => 'kept-replies'/gid => 'kept-replies', options => '{"concurrent": true, "request_timeout": 180}'/r);
ok(eventually($node, "SELECT in_flight FROM dtm.stat_coordinator", '2'), 'two calls are under way');
sql("BEGIN; SELECT dtm_retry_now('kept-replies'); PREPARE TRANSACTION 'locker'");
release_replies();
ok(eventually($node, "SELECT in_flight FROM dtm.stat_coordinator", '0'), 'both have answered');
sql("ROLLBACK PREPARED 'locker'");
is(wait_for('kept-replies'), 'succeed', 'their answers count');
is(scalar(calls_of('kept-replies')), 2, 'each was called once');

# a coordinator that starts right behind a switch of the WAL file
sql('SELECT ' . saga('wal', '/TransOut?delay=1'));
sql('SELECT pg_switch_wal(); SELECT pg_terminate_backend(pid) FROM dtm.stat_coordinator');
is(wait_for('wal'), 'succeed', 'goes on');

# no snapshot is held while calls are under way
reply('/TransOut', { delay => 60 });
sql('SELECT ' . saga('no-snapshot'));
ok(eventually($node, "SELECT in_flight FROM dtm.stat_coordinator", '1'), 'a call is under way');
is(sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'dtm coordinator' AND (backend_xmin IS NOT NULL OR xact_start IS NOT NULL)"),
	'0', 'no transaction is open meanwhile');
sql("SELECT dtm_force_stop('no-snapshot')");

# a clean stop, with a call under way, is quick and clean
reply('/TransOut', { delay => 60 });
sql('SELECT ' . saga('stop-fast'));
ok(eventually($node, "SELECT in_flight FROM dtm.stat_coordinator", '1'), 'a call is under way');
$node->stop('fast');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|segmentation|Segmentation/, 'nothing ugly in the log');

done_testing();
