# Alerts, notifications of ends, and the removal of finished transactions.  If this fails, nobody
# notices a stuck transaction, an end is not reported, or the tables grow forever.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $busi = start_participant();
my $node = start_server('notices', conf => "dtm.retry_interval = 20ms\ndtm.retry_interval_max = 20ms\ndtm.alert_webhook = '$busi/webhook'\ndtm.alert_each = on\nlog_min_messages = log\nmax_prepared_transactions = 10\n");
my $json = JSON::PP->new->canonical;

# The notifications of a channel that come while something is done.
sub notified
{
	my ($channel, $how_many, $statements) = @_;
	my $listener = $node->background_psql('postgres');
	my $got = '';
	$listener->query_safe("LISTEN $channel");
	sql($statements);
	for (1 .. 600)
	{
		$got .= $listener->query_safe('SELECT 1');
		last if (() = $got =~ /Asynchronous notification (?!.*"kind")/g) >= $how_many;
		select(undef, undef, undef, 0.1);
	}
	$listener->quit;
	# alerts about all of one cause have a kind: t/050_alerts.pl
	return grep { !exists $_->{kind} } map { $json->decode($_) } $got =~ /Asynchronous notification "$channel" with payload "(.*)" received/g;
}

# What the webhook was told of single transactions.
sub webhooks { return grep { $_->{path} eq '/webhook' && $_->{body} !~ /"kind"/ } calls_of(); }

# ---------- alerts, of each failure as the dtm server has them ----------

# MS-11: three failures, a webhook for the third, and it goes on
reply('/TransIn', { status => 500, body => 'not now' }, { status => 500 }, { status => 500, body => 'not "now" either' });
my @alerts = notified('dtm_alert', 1, "SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/TransOut', payload => '{}'), dtm_step('$busi/TransIn', payload => '{}')], gid => 'MS-11')");
is($json->encode(\@alerts), $json->encode([ { gid => 'MS-11', status => 'submitted', branch => "$busi/TransIn", error => 'not "now" either', retry_count => 3 } ]),
	'MS-11: a NOTIFY at the third failure');
is(sql("SELECT dtm_wait('MS-11')"), 'succeed', 'MS-11: it goes on');
my @webhooks;
for (1 .. 600)
{
	@webhooks = webhooks();
	last if @webhooks;
	select(undef, undef, undef, 0.1);
}
is(scalar(@webhooks), 1, 'MS-11: the webhook was called once');
is("$webhooks[0]{method} $webhooks[0]{raw_query} $webhooks[0]{headers}{'Content-Type'}", 'POST  application/json', 'MS-11: a POST of JSON');
is($json->encode($json->decode($webhooks[0]{body})), $json->encode($alerts[0]), '§5.5: and what it was told');
is(scalar(grep { $_->{path} eq '/TransIn' } calls_of('MS-11')), 4, 'MS-11: calls');

# MS-12: what the webhook answers, or whether, does not matter
reply('/webhook', { status => 500 });
reply({ path => '/TransIn', gid => 'MS-12' }, ({ status => 500 }) x 3);
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/TransIn', payload => '{}')], gid => 'MS-12')");
is(sql("SELECT dtm_wait('MS-12')"), 'succeed', 'MS-12: a webhook that fails is ignored');
reply({ path => '/webhook', forever => JSON::PP::true }, { delay => 100 });
reply({ path => '/TransIn', gid => 'hanging' }, ({ status => 500 }) x 4);
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/TransIn', payload => '{}')], gid => 'hanging')");
is(sql("SELECT dtm_wait('hanging')"), 'succeed', 'a webhook that hangs holds nothing up');

# a long answer and a long URL fit into a NOTIFY
my $long = '/' . ('x' x 3000);
reply({ path => $long, forever => JSON::PP::true }, { status => 500, body => "\x01" x 900 });
@alerts = notified('dtm_alert', 1, "SELECT dtm_submit('msg', ARRAY[dtm_step('$busi$long', payload => '{}')], gid => 'long')");
is($alerts[0]{gid}, 'long', 'a long URL and an ugly answer: it is told');

# dtm.stuck
reply({ path => '/Never', forever => JSON::PP::true }, { status => 503, body => 'closed' });
sql("SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/Never', '')], gid => 'stuck')");
ok(eventually($node, "SELECT count(*) > 0 FROM dtm.stuck WHERE gid = 'stuck' AND failures >= 3"), 'a transaction that is stuck is in dtm.stuck');
is(sql("SELECT status, branch_id, op, last_error, since = (SELECT min(started) FROM dtm.calls WHERE gid = 'stuck') FROM dtm.stuck WHERE gid = 'stuck'"),
	'submitted|01|action|closed|t', 'dtm.stuck: what it is, and since when');
is(sql("SELECT string_agg(gid, ' ' ORDER BY since) = string_agg(gid, ' ') FROM (SELECT * FROM dtm.stuck) s"), 't', 'the longest first');
sql("SELECT dtm_force_stop(gid) FROM dtm.stuck");
is(sql("SELECT count(*) FROM dtm.stuck"), '0', 'until it has ended');

# a local branch alerts as well
sql("CREATE FUNCTION broken(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS \$\$ BEGIN RAISE 'broken'; END \$\$");
clear_participant();
@alerts = notified('dtm_alert', 1, "SELECT dtm_submit('msg', ARRAY[dtm_step('sql:public.broken')], gid => 'local')");
is("$alerts[0]{gid} $alerts[0]{branch} $alerts[0]{error} $alerts[0]{retry_count}", 'local sql:public.broken broken 3', 'a local branch: NOTIFY');
for (1 .. 600)
{
	# those of before may have waited behind the calls that hang
	@webhooks = grep { $_->{body} =~ /"gid" *: *"local"/ } webhooks();
	last if @webhooks;
	select(undef, undef, undef, 0.1);
}
is($json->decode($webhooks[0]{body})->{gid}, 'local', 'a local branch: webhook');
sql("SELECT dtm_force_stop('local')");

# a failure that ends its transaction in the same step: told of as it was
$node->append_conf('postgresql.conf', "dtm.alert_retry_limit = 1\ndtm.breaker_failures = 0\nlog_min_messages = warning");
$node->reload;
eventually($node, 'SHOW dtm.alert_retry_limit', '1');
clear_participant();
reply('/Late', { status => 500, body => 'late', delay => 1 });
@alerts = notified('dtm_alert', 1, "SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/Late', '')], gid => 'late', options => '{\"timeout_to_fail\": 0.1}')");
is("$alerts[0]{status} $alerts[0]{retry_count}", 'failed 1', 'an alert of one that has ended: NOTIFY');
is(sql("SELECT status, rollback_reason FROM dtm.transactions WHERE gid = 'late'"), 'failed|Timeout after 0.1 seconds', 'which has waited for so long');
my $log = slurp_file($node->logfile);
like($log, qr/global transaction "late" has failed 1 time in a row\n.* was: late\n.*HINT:  The global transaction has ended since then, with status failed\./, 'the log');
unlike($log, qr/failed 0 times|at infinity/, 'never one that has not failed, or is tried at infinity');
for (1 .. 600)
{
	@webhooks = webhooks();
	last if @webhooks;
	select(undef, undef, undef, 0.1);
}
is($json->decode($webhooks[0]{body})->{retry_count}, 1, 'and the webhook');
sql("SELECT dtm_prepare('tcc', gid => 'default', options => '{}')");
$node->append_conf('postgresql.conf', "dtm.timeout_to_fail = '1s'");
$node->reload;
eventually($node, 'SHOW dtm.timeout_to_fail', '1s');
sql("SELECT dtm_retry_now('default')");
is(sql("SELECT dtm_wait('default')"), 'failed', 'the configured time-out');
is(sql("SELECT rollback_reason FROM dtm.transactions WHERE gid = 'default'"), 'Timeout after 1 seconds', 'is the one that is said');
$node->append_conf('postgresql.conf', "dtm.timeout_to_fail = '35s'\ndtm.alert_retry_limit = 3\nlog_min_messages = log");
$node->reload;
eventually($node, 'SHOW dtm.alert_retry_limit', '3');

# a webhook that can't be called is refused
for my $bad (['ftp://x/', 'of another scheme'], ['server:', 'of a server without a name'], ['server:/alerts', 'of one with a path alone'])
{
	my ($rc, $out, $err) = $node->psql('postgres', "ALTER SYSTEM SET dtm.alert_webhook = '$bad->[0]'");
	like($err, qr/invalid value for parameter "dtm.alert_webhook".*The URL cannot be called: /s, "a webhook $bad->[1] is refused");
}

# a database of another encoding: the webhook gets UTF-8, cut between characters
sql("CREATE DATABASE euc ENCODING 'EUC_JP' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
$node->safe_psql('euc', "CREATE EXTENSION dtm; SET client_encoding = 'UTF8'; CREATE FUNCTION broken(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS \$\$ BEGIN RAISE '%', repeat(E'\\u65e5', 700) USING ERRCODE = CASE WHEN gid = 'no' THEN 'DT409' ELSE 'P0001' END; END \$\$");
clear_participant();
$node->safe_psql('euc', "SELECT dtm_submit('msg', ARRAY[dtm_step('sql:public.broken')], gid => 'euc')");
for (1 .. 600)
{
	@webhooks = webhooks();
	last if @webhooks;
	select(undef, undef, undef, 0.1);
}
like($json->decode($webhooks[0]{body})->{error}, qr/^\x{65e5}+$/, 'EUC_JP: the webhook gets UTF-8');
$node->safe_psql('euc', "SELECT dtm_force_stop('euc'); SELECT dtm_submit('saga', ARRAY[dtm_step('sql:public.broken')], gid => 'no', options => '{\"notify\": true, \"on_finish\": \"$busi/finished\"}')");
is($node->safe_psql('euc', "SELECT dtm_wait('no', '60 s')"), 'failed', 'EUC_JP: a long refusal, told on');
sql('DROP DATABASE euc');
clear_participant();

# ---------- ends ----------

my @ends = notified('dtm_finished', 1, <<"SQL");
SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/a', '', '{}')], gid => 'silent');
SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/a', '', '{}')], gid => 'told', options => '{"notify": true}');
SELECT dtm_wait('silent'), dtm_wait('told');
SQL
is($json->encode(\@ends), $json->encode([ { gid => 'told', trans_type => 'saga', status => 'succeed', rollback_reason => '' } ]),
	'options.notify: a NOTIFY for those that ask for it');
@ends = notified('dtm_finished', 4, <<'SQL');
SELECT dtm_prepare('msg', 'aborted', options => '{"notify": true}'), dtm_prepare('tcc', 'stopped', options => '{"notify": true}'),
       dtm_prepare('workflow', 'submitted', options => '{"name": "w", "notify": true}'), dtm_prepare('xa', 'rolled back', options => '{"notify": true}');
SELECT dtm_abort('aborted', 'why'), dtm_force_stop('stopped'), dtm_submit('workflow', gid => 'submitted', options => '{"status": "failed"}'), dtm_abort('rolled back');
SQL
is(join(', ', sort map { "$_->{gid} $_->{status}" } @ends), 'aborted failed, rolled back failed, stopped failed, submitted failed',
	'whoever ends it');
@ends = notified('dtm_finished', 1, "BEGIN; SELECT dtm_prepare('msg', 'undone', options => '{\"notify\": true}'); SELECT dtm_abort('undone'); ROLLBACK; SELECT dtm_submit('msg', gid => 'done', options => '{\"notify\": true}')");
is(join(' ', map { $_->{gid} } @ends), 'done', 'a rollback is silent');

# of a prepared transaction, the coordinator notifies, and not before COMMIT PREPARED
my $ends = <<'SQL';
SELECT dtm_prepare('msg', gid => 'two-phase ' || n, options => '{"notify": true}') FROM generate_series(1, 3) n;
SELECT dtm_prepare('tcc', gid => 'two-phase 4', options => '{"notify": true}');
SELECT dtm_prepare('workflow', gid => 'two-phase 5', options => '{"name": "w", "notify": true}');
BEGIN;
SELECT dtm_abort('two-phase 1', 'why');
SAVEPOINT a;
SELECT dtm_abort('two-phase 2');
ROLLBACK TO a;
SAVEPOINT b;
SELECT dtm_force_stop('two-phase 4');
RELEASE b;
SELECT dtm_submit('workflow', gid => 'two-phase 5', options => '{"status": "succeed"}');
PREPARE TRANSACTION 'ends';
SQL
@ends = notified('dtm_finished', 1, "$ends SELECT dtm_abort('two-phase 3')");
is(join(', ', map { "$_->{gid} $_->{status}" } @ends), 'two-phase 3 failed', 'prepared, but not committed: silent');
crash_server($node);
@ends = notified('dtm_finished', 3, "COMMIT PREPARED 'ends'; SELECT dtm_wait(gid) FROM dtm.transactions WHERE finished IS NULL AND status = 'submitted'");
is(join(', ', sort map { "$_->{gid} $_->{trans_type} $_->{status} $_->{rollback_reason}" } @ends),
	'two-phase 1 msg failed why, two-phase 4 tcc failed stopped by dtm_force_stop, two-phase 5 workflow succeed ',
	'a prepared transaction that ends some, after a crash: a NOTIFY for each');
is(sql("SELECT dtm_status('two-phase 2')"), 'prepared', 'what was rolled back is not notified of');
sql("BEGIN; SELECT dtm_force_stop('two-phase 2'); PREPARE TRANSACTION 'undone'");
@ends = notified('dtm_finished', 1, "ROLLBACK PREPARED 'undone'; SELECT dtm_abort('two-phase 2', 'at last')");
is(join(', ', map { $_->{rollback_reason} } @ends), 'at last', 'ROLLBACK PREPARED: silent');

# on_finish: at least once, whatever happens to the receiver
reply('/finished', { status => 500 }, { status => 500 });
reply({ path => '/a', gid => 'chained' }, { status => 409, body => 'no' });
sql("SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/a', '', '{}')], gid => 'chained', options => '{\"on_finish\": \"$busi/finished\"}')");
is(sql("SELECT dtm_wait('chained')"), 'failed', 'on_finish: the transaction ends');
eventually($node, "SELECT count(*) > 0 FROM dtm.transactions t JOIN dtm.branches b USING (gid) WHERE b.url = '$busi/finished' AND t.status = 'succeed'");
my @finished = grep { $_->{path} eq '/finished' } calls_of();
is(scalar(@finished), 3, 'on_finish: repeated until it is taken');
is($json->encode($json->decode($finished[-1]{body})),
	$json->encode({ gid => 'chained', trans_type => 'saga', status => 'failed', rollback_reason => "url:$busi/a return failed: no FAILURE" }),
	'on_finish: the final status');
sql(<<"SQL");
CREATE TABLE chain (what text);
CREATE FUNCTION link(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE sql AS 'INSERT INTO chain VALUES (payload ->> ''gid'')';
SELECT dtm_prepare('msg', 'by hand', options => '{"on_finish": "sql:public.link"}');
SELECT dtm_abort('by hand');
SELECT dtm_submit('msg', ARRAY[dtm_step('sql:public.link', payload => '{"gid": "first"}')], gid => 'local chain', options => '{"on_finish": "sql:public.link"}');
SQL
ok(eventually($node, "SELECT string_agg(what, ', ' ORDER BY what) FROM chain", 'by hand, first, local chain'), 'on_finish can be a function');
is(sql("SELECT options ->> 'on_finish' FROM dtm.transactions WHERE gid = 'by hand'"), 'sql:public.link', 'options are seen');

# ---------- retention ----------

sql("UPDATE dtm.request SET created = created - interval '8 days'; UPDATE dtm.finished SET finished = finished - interval '8 days'");
sql("SELECT dtm_submit('msg', gid => 'held'), dtm_submit('msg', gid => 'fresh')");
sql("SELECT dtm_wait('held'), dtm_wait('fresh')");
$node->restart;
ok(eventually($node, "SELECT string_agg(gid, ' ' ORDER BY id) FROM dtm.transactions", 'held fresh'),
	'what has been finished for longer than dtm.retention goes by itself');
is(sql("SELECT count(*) FROM dtm.attempt a WHERE NOT EXISTS (SELECT FROM dtm.request r WHERE r.id = a.id)"), '0', 'with its calls');
# one that somebody has locked is left, and nobody waits
sql("UPDATE dtm.request SET created = created - interval '8 days'; UPDATE dtm.finished SET finished = finished - interval '8 days'");
my $holder = $node->background_psql('postgres');
$holder->query_safe("BEGIN; SELECT 1 FROM dtm.finished f JOIN dtm.request r USING (id) WHERE r.gid = 'held' FOR UPDATE OF f");
$node->reload;
ok(eventually($node, "SELECT string_agg(gid, ' ' ORDER BY id) FROM dtm.transactions", 'held'), 'what is locked is left');
$holder->query_safe('COMMIT');
$holder->quit;
# 0 keeps all
$node->append_conf('postgresql.conf', 'dtm.retention = 0');
$node->restart;
sql("SELECT dtm_submit('msg', gid => 'kept')");
sql("SELECT dtm_wait('kept')");
is(sql("SELECT dtm_cleanup()"), '0', 'dtm.retention = 0 keeps all');
is(sql("SELECT count(*) FROM dtm.transactions"), '2', 'also without being asked');

done_testing();
