# One role's transactions, however many, slow or large, and whatever it has locked.  If this
# fails, one role keeps others' transactions from being driven, or fills the memory.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use IO::Socket::INET;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('fairness', conf => <<'CONF');
dtm.retry_interval = 1s
dtm.max_requests = 40
dtm.request_timeout = 10min
dtm.max_request_size = 2MB
max_prepared_transactions = 10
autovacuum = off
CONF
my $busi = start_participant();
sql('CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; GRANT dtm_user TO alice, bob');

# A socket that accepts connections and never answers.
my $dead = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 500, Proto => 'tcp') or die;
my $silent = 'http://127.0.0.1:' . $dead->sockport;

sub as_role
{
	my ($role, $statement) = @_;
	return sql("SET SESSION AUTHORIZATION $role; $statement");
}

sub bob_is_served
{
	my ($gid, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	as_role('bob', "SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/bob')], gid => '$gid')");
	is(sql("SELECT dtm_wait('$gid', '60 s')"), 'succeed', $name);
	return;
}

sub memory_of
{
	my ($pid) = @_;
	return (slurp_file("/proc/$pid/status") =~ /RssAnon:\s+(\d+)/)[0];
}

# ---------- rows that somebody has locked ----------

# More than may be in memory, each way to lock them.
my %locks = (
	'retry-now' => "SELECT count(dtm_retry_now(gid)) FROM dtm.transactions WHERE gid LIKE '%s-%%'",
	'savepoints' => "DO 'DECLARE g text; BEGIN FOR g IN SELECT gid FROM dtm.transactions WHERE gid LIKE ''%s-%%'' LOOP BEGIN PERFORM dtm_retry_now(g); EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END'",
	'for-update' => "SELECT count(*) FROM (SELECT a.id FROM dtm.active a JOIN dtm.request r USING (id) WHERE r.gid LIKE '%s-%%' FOR UPDATE OF a) x",
	'for-share' => "SELECT count(*) FROM (SELECT a.id FROM dtm.active a JOIN dtm.request r USING (id) WHERE r.gid LIKE '%s-%%' FOR KEY SHARE OF a) x",
	'force-stop' => "SELECT count(dtm_force_stop(gid)) FROM dtm.transactions WHERE gid LIKE '%s-%%'",
	'deleted' => "DELETE FROM dtm.active a USING dtm.request r WHERE r.id = a.id AND r.gid LIKE '%s-%%'",
);
clear_participant();
for my $lock (sort keys %locks)
{
	as_role('alice', "SELECT count(dtm_submit('msg', ARRAY[dtm_step('$busi/$lock'), dtm_step('$busi/$lock')], gid => '$lock-' || n, options => '{\"delay\": 1}')) FROM generate_series(1, 100) n");
	sql(sprintf("BEGIN; $locks{$lock}; PREPARE TRANSACTION '$lock'", $lock));
}
# a SHARE lock of two at a time
sql("BEGIN; " . sprintf($locks{'for-share'}, 'for-share') . "; PREPARE TRANSACTION 'for-share-too'");
ok(eventually($node, "SELECT backlog = 600 AND oldest_due_age > interval '1 s' FROM dtm.stat_coordinator"), 'all of these are due');
ok(eventually($node, 'SELECT loaded FROM dtm.stat_coordinator', '0'), 'rows that are locked are not in memory');
bob_is_served('beside-locked', 'others go on');
my $pid = sql('SELECT pid FROM dtm.stat_coordinator');
{
	my $cpu = sub { my @stat = split / /, slurp_file("/proc/$pid/stat"); return $stat[13] + $stat[14]; };
	my $commits = sql('SELECT commits FROM dtm.stat_coordinator');
	my $before = $cpu->();
	my $since = sql('SELECT clock_timestamp()');
	eventually($node, "SELECT clock_timestamp() > timestamptz '$since' + interval '3 s'");
	is(sql('SELECT commits FROM dtm.stat_coordinator'), $commits, 'nothing is written meanwhile');
	note('CPU in 3 s: ' . ($cpu->() - $before) . ' ticks');
}
sql("ROLLBACK PREPARED '$_'") for 'for-share-too', sort keys %locks;
ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE status = 'succeed' AND gid !~ '^beside'", '600'), 'they are seen to when the locks are gone');
{
	my %calls;
	$calls{"$_->{query}{gid} $_->{query}{branch_id}"}++ for grep { $_->{path} ne '/bob' } calls_of();
	is(scalar(grep { $_ > 1 } values %calls), 0, 'replies that came while they were locked are not lost: nothing is called twice');
}

# a lock on a row whose calls are under way
as_role('alice', "SELECT dtm_submit('msg', ARRAY[dtm_step('$silent/x')], gid => 'calling')");
ok(eventually($node, "SELECT in_flight FROM dtm.stat_coordinator", '1'), 'a call is under way');
sql("BEGIN; SELECT dtm_force_stop('calling'); PREPARE TRANSACTION 'calling'");
bob_is_served('beside-calling', 'others go on');
sql("COMMIT PREPARED 'calling'");
is(sql("SELECT dtm_wait('calling', '60 s')"), 'failed', 'it is stopped when that commits');

# ---------- a backlog ----------

sql('SELECT dtm_pause()');
as_role('alice', "SELECT count(dtm_submit('msg', ARRAY[dtm_step('$silent/backlog')], gid => 'backlog-' || n)) FROM generate_series(1, 5000) n");
as_role('bob', "SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/bob')], gid => 'behind-backlog')");
sql('SELECT dtm_resume()');
is(sql("SELECT dtm_wait('behind-backlog', '60 s')"), 'succeed', 'what is behind the backlog of another role, whose calls never end, is found');
bob_is_served('beside-backlog', 'and what is submitted meanwhile');
cmp_ok(sql('SELECT loaded FROM dtm.stat_coordinator'), '<=', 30, 'one role gets three quarters of the memory');
cmp_ok(sql('SELECT in_flight FROM dtm.stat_coordinator'), '<', 40, 'and of the calls');
# bob's own retries, too
reply('/again', { status => 500 });
as_role('bob', "SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/again')], gid => 'again')");
is(sql("SELECT dtm_wait('again', '60 s')"), 'succeed', 'a retry is found beside the backlog');
sql("SELECT count(dtm_force_stop(gid)) FROM dtm.transactions WHERE gid LIKE 'backlog%' AND finished IS NULL");
ok(eventually($node, 'SELECT loaded FROM dtm.stat_coordinator', '0'), 'the backlog is gone');

# ---------- large ones ----------

$node->append_conf('postgresql.conf', 'dtm.max_requests = 2000');
sql('SELECT pg_reload_conf()');
eventually($node, 'SHOW dtm.max_requests', '2000');
sql('SELECT dtm_pause()');
eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'paused');
as_role('alice', "SELECT count(dtm_submit('msg', ARRAY[dtm_step('$silent/large', payload => to_jsonb(repeat('x', 1000000)))], gid => 'large-' || n)) FROM generate_series(1, 500) n");
sql('SELECT dtm_resume()');
ok(eventually($node, "SELECT loaded > 100 FROM dtm.stat_coordinator"), 'large ones are called');
bob_is_served('beside-large', 'others go on');
cmp_ok(memory_of($pid), '<', 320 * 1024, 'the memory is bounded within a batch, too');
cmp_ok(sql('SELECT loaded FROM dtm.stat_coordinator'), '<', 220, 'by the size of what is loaded');
sql("SELECT count(dtm_force_stop(gid)) FROM dtm.transactions WHERE gid LIKE 'large%' AND finished IS NULL");
ok(eventually($node, 'SELECT loaded FROM dtm.stat_coordinator', '0'), 'they are gone');
bob_is_served('at-last', 'as ever');

is(sql('SELECT pid FROM dtm.stat_coordinator'), $pid, 'the coordinator is the same');
unlike(slurp_file($node->logfile), qr/TRAP|PANIC/, 'nothing is broken');
done_testing();
