# A host that is down for a while: what waits for it costs nothing, and goes on by itself when the
# host is back.  If this fails, an outage that is over goes on for each transaction's back-off, or
# an operator has to help.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# what has failed once is not due for an hour
my $node = start_server('outage', conf => <<'CONF');
dtm.retry_interval = '1h'
dtm.retry_interval_max = '1h'
dtm.alert_retry_limit = 100000
CONF
my $busi = start_participant();
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $down = "http://127.0.0.1:$port";
eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'running');

sub host
{
	my ($columns) = @_;
	return "SELECT $columns FROM dtm.stat_hosts WHERE host = '$down'";
}

# ---------- 150 sagas ----------

sql("SELECT count(dtm_submit('saga', ARRAY[dtm_step('$busi/Out', '$busi/OutRevert'), dtm_step('$down/In', '$down/InRevert')], gid => 'saga-' || n)) FROM generate_series(1, 150) n");
ok(eventually($node, host("state = 'open' AND waiting > 50")), 'the circuit is open, and calls wait');
ok(eventually($node, host("calls > 12")), 'it is probed');
is(sql("SELECT count(*) = (SELECT failures FROM dtm.stat_hosts WHERE host = '$down') FROM dtm.calls WHERE gid LIKE 'saga%' AND result = 'ERROR'"), 't',
	'only calls that were made are attempts');
is(sql("SELECT count(*) = sum(failures) FROM dtm.transactions WHERE gid LIKE 'saga%' AND failures > 0"), 't', 'and none has failed twice');
cmp_ok(sql("SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'saga%' AND failures = 0"), '>', 100, 'most have not failed');

# others are not kept from anything
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/other')], gid => 'other')");
is(wait_for('other'), 'succeed', 'other hosts are called');

# a saga whose time is over is rolled back, although its call waits
sql("SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/Out', '$busi/OutRevert'), dtm_step('$down/Late', '$down/LateRevert')], gid => 'late', options => '{\"concurrent\": true, \"timeout_to_fail\": 1}')");
ok(eventually($node, "SELECT status FROM dtm.branches WHERE gid = 'late' AND op = 'compensate' AND branch_id = '01'", 'succeed'), 'what can be undone is undone');

stop_participant();
start_participant($port);
ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'saga%' AND status = 'succeed'", '150'), 'the host is back: all are done, an hour before their time');
is(sql(host('state')), 'closed', 'the circuit is closed');
is(sql("SELECT max(n) FROM (SELECT count(*) AS n FROM dtm.calls WHERE gid LIKE 'saga%' AND result <> 'ERROR' GROUP BY gid, branch_id, op) c"), '1', 'each was called once');
is(sql("SELECT dtm_wait('late', '180 s')"), 'failed', 'the late one is rolled back');
is(one_line('late'), 'LateRevert', 'and its action was not called after that');

# ---------- an operator ----------

# nobody has to wait for the next probe
stop_participant();
$node->append_conf('postgresql.conf', "dtm.breaker_pause_max = '1h'");
$node->reload;
sql("SELECT count(dtm_submit('msg', ARRAY[dtm_step('$down/a')], gid => 'msg-' || n)) FROM generate_series(1, 20) n");
ok(eventually($node, host("state = 'open'")), 'the circuit is open');
sql("SELECT count(dtm_submit('msg', ARRAY[dtm_step('$down/a')], gid => 'msg-' || n)) FROM generate_series(21, 40) n");
ok(eventually($node, host("next_probe > clock_timestamp() + interval '10 s'")), 'the next probe is far away');
my ($calls, $probe) = split /\|/, sql(host('calls, next_probe'));
my $gid = sql("SELECT gid FROM dtm.transactions WHERE gid LIKE 'msg%' AND failures > 0 LIMIT 1");
sql("SELECT dtm_retry_now('$gid')");
ok(eventually($node, host("calls > $calls")), 'dtm_retry_now() has the host called');
is(sql("SELECT max(started) < timestamptz '$probe' FROM dtm.calls WHERE gid LIKE 'msg%'"), 't', 'at once');
start_participant($port);
sql('SELECT dtm_reset_cron_time(interval \'0 s\', 1)');
ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'msg%' AND status = 'succeed'", '40'), 'so has dtm_reset_cron_time(), and one is enough for all');

# what waits for its delay, or its first time, is left alone
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$down/delayed')], gid => 'delayed', options => '{\"delay\": 86400}')");
sql("SELECT dtm_prepare('msg', 'prepared', ARRAY[dtm_step('$down/prepared')], options => '{\"query_prepared\": \"$down/q\", \"timeout_to_fail\": 86400}')");
is(sql('SELECT * FROM dtm_reset_cron_time(interval \'0 s\', 100)'), '0|f', 'dtm_reset_cron_time() leaves delays alone');

# ---------- a pause, and a restart ----------

stop_participant();
sql("SELECT count(dtm_submit('msg', ARRAY[dtm_step('$down/b')], gid => 'again-' || n)) FROM generate_series(1, 20) n");
ok(eventually($node, host("state = 'open'")), 'the circuit is open');
sql("SELECT count(dtm_submit('msg', ARRAY[dtm_step('$down/b')], gid => 'again-' || n)) FROM generate_series(21, 100) n");
ok(eventually($node, host("waiting > 0")), 'calls wait for it');
sql('CALL dtm_run_due()');
cmp_ok(sql("SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'again%' AND failures = 0"), '>', 0, 'dtm_run_due() does not wait for the host');
ok(eventually($node, host("waiting > 0")), 'they wait again');
sql('SELECT dtm_pause()');
ok(eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'paused'), 'which keeps no coordinator from pausing');
sql('SELECT dtm_resume()');
ok(eventually($node, host("waiting > 0")), 'they wait again after that');
$node->restart;
start_participant($port);
# those that were called before the restart wait for their own time
ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'again%' AND status <> 'succeed' AND failures = 0", '0'), 'they are called after a restart');

is(sql('SELECT errors FROM dtm.stat_coordinator'), '0', 'nothing went wrong');
done_testing();
