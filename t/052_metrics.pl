# What dtm.metrics counts.  If this fails, a dashboard shows what has not happened, or does not show
# what has; or a page, an exporter's file or a rule has another name than the view.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('metrics', conf => <<'CONF');
dtm.retry_interval = 50ms
dtm.retry_interval_max = 200ms
dtm.alert_retry_limit = 3
max_prepared_transactions = 5
log_min_messages = error
CONF
my $busi = start_participant();
my $host = $busi;

# The value of a sample; undef: there is none.
sub value
{
	my ($name, %labels) = @_;
	my $labels = JSON::PP->new->canonical->encode(\%labels);
	my $value = sql("SELECT value FROM dtm.metrics WHERE name = '$name' AND labels = '$labels'");

	return $value eq '' ? undef : $value;
}

# Waits for it: calls are counted at the end of a turn.
sub becomes
{
	my ($expected, $name, %labels) = @_;
	my $labels = JSON::PP->new->canonical->encode(\%labels);
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	ok(eventually($node, "SELECT COALESCE((SELECT value FROM dtm.metrics WHERE name = '$name' AND labels = '$labels'), 0)", $expected),
		"$name $labels");
}

sub created { return value('dtm_transactions_created_total', trans_type => $_[0]); }
sub ended { return value('dtm_transactions_ended_total', trans_type => $_[0], state => $_[1]); }
sub calls { my ($expected, @labels) = @_; return becomes($expected, 'dtm_calls_total', host => $host, @labels); }

cmp_ok(abs(value('dtm_counters_start_time_seconds') - time), '<', 3600, 'they count since the start of the server');
is(value('dtm_extension_info', version => sql('SELECT dtm.library_version()')), 1, 'version');
is(value('dtm_coordinator_processes', state => 'running'), 1, 'a coordinator runs');

# ---------- outcomes, by type ----------

sql("SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/a', '$busi/b'), dtm_step('$busi/c')], gid => 's' || i) FROM generate_series(1, 5) i");
is(wait_for("s$_"), 'succeed', "s$_") for 1 .. 5;
is(created('saga'), 5, 'created');
is(ended('saga', 'succeeded'), 5, 'and ended');
calls(10, trans_type => 'saga', op => 'action', result => 'SUCCESS');

reply('/no', { status => 409, body => 'no' });
sql("SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/a', '$busi/b'), dtm_step('$busi/no')], gid => 'failed')");
is(wait_for('failed'), 'failed', 'one that fails');
is(ended('saga', 'failed'), 1, 'is counted');
calls(1, trans_type => 'saga', op => 'action', result => 'FAILURE');
calls(1, trans_type => 'saga', op => 'compensate', result => 'SUCCESS');

sql("SELECT dtm_prepare('tcc', 'tcc'); SELECT dtm_register_branch('tcc', '01', '$busi/confirm', '$busi/cancel'); SELECT dtm_submit('tcc', gid => 'tcc')");
sql("SELECT dtm_prepare('tcc', 'aborted'); SELECT dtm_register_branch('aborted', '01', '$busi/confirm', '$busi/cancel'); SELECT dtm_abort('aborted')");
is(wait_for('tcc') . wait_for('aborted'), 'succeedfailed', 'tcc');
is(join(' ', created('tcc'), ended('tcc', 'succeeded'), ended('tcc', 'failed')), '2 1 1', 'are counted');
calls(1, trans_type => 'tcc', op => 'confirm', result => 'SUCCESS');
calls(1, trans_type => 'tcc', op => 'cancel', result => 'SUCCESS');

sql("SELECT dtm_prepare('xa', 'xa'); SELECT dtm_register_branch('xa', '01', '$busi/xa'); SELECT dtm_submit('xa', gid => 'xa')");
is(wait_for('xa'), 'succeed', 'xa');
calls(1, trans_type => 'xa', op => 'commit', result => 'SUCCESS');

sql("SELECT dtm_prepare('msg', 'query', ARRAY[dtm_step('$busi/a')], '{\"query_prepared\": \"$busi/query\", \"timeout_to_fail\": 1}')");
is(wait_for('query'), 'succeed', 'a message that was asked for');
calls(1, trans_type => 'msg', op => 'msg', result => 'SUCCESS');
calls(1, trans_type => 'msg', op => 'action', result => 'SUCCESS');

sql("SELECT dtm_prepare('workflow', 'wf', options => '{\"name\": \"n\", \"query_prepared\": \"$busi/callback\", \"timeout_to_fail\": 1}')");
# it is called until it is submitted
ok(eventually($node, "SELECT value >= 1 FROM dtm.metrics WHERE name = 'dtm_calls_total' AND labels ->> 'op' = 'workflow'"), 'the callback of a workflow');
sql("SELECT dtm_submit('workflow', gid => 'wf', options => '{\"status\": \"succeed\"}')");
is(ended('workflow', 'succeeded'), 1, 'a workflow, which a session ends');

sql("SELECT dtm_prepare('saga', 'stopped', ARRAY[dtm_step('$busi/a')]); SELECT dtm_force_stop('stopped')");
is(ended('saga', 'stopped'), 1, 'one that was stopped');

# ---------- what does not commit does not count ----------

my $before = created('saga');
sql("BEGIN; SELECT dtm_submit('saga', gid => 'x1'); ROLLBACK");
sql(<<SQL);
BEGIN;
SAVEPOINT a; SELECT dtm_submit('saga', gid => 'x2');
SAVEPOINT b; SELECT dtm_submit('saga', gid => 'x3'); SELECT dtm_submit('msg', gid => 'x4'); ROLLBACK TO b;
RELEASE a;
SELECT dtm_submit('saga', gid => 'x5');
SAVEPOINT c; SAVEPOINT d; SELECT dtm_submit('saga', gid => 'x6'); RELEASE d; SELECT dtm_submit('saga', gid => 'x7'); ROLLBACK TO c;
SELECT dtm_submit('saga', gid => 'x8'), dtm_submit('saga', gid => 'x9');
COMMIT
SQL
is(created('saga') - $before, 4, 'of nested subtransactions, those that commit');
is(wait_for($_), 'succeed', $_) for qw(x2 x5 x8 x9);

# ---------- functions, and what cannot be called ----------

sql("CREATE FUNCTION done(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE sql AS ''");
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('sql:public.done')], gid => 'function')");
is(wait_for('function'), 'succeed', 'a function');
becomes(1, 'dtm_calls_total', host => 'sql', trans_type => 'msg', op => 'action', result => 'SUCCESS');
is(value('dtm_call_duration_seconds_count', host => 'sql'), 1, 'and how long it took');
is(value('dtm_sql_workers_busy') + value('dtm_sql_workers_idle'), 1, 'its worker');

sql("CREATE SERVER gone FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url '$busi'); SELECT dtm_prepare('msg', 'nowhere', ARRAY[dtm_step('server:gone/a')]); DROP SERVER gone; SELECT dtm_submit('msg', gid => 'nowhere')");
ok(eventually($node, "SELECT value >= 1 FROM dtm.metrics WHERE name = 'dtm_calls_total' AND labels ->> 'host' = 'none'"), 'a server that is gone');
ok(eventually($node, "SELECT value >= 1 FROM dtm.metrics WHERE name = 'dtm_alerts_total' AND labels = '{\"event\": \"failing\"}'"), 'fails too often');
is(value('dtm_call_duration_seconds_count', host => 'none'), undef, 'which has no duration');
sql("SELECT dtm_force_stop('nowhere')");

# ---------- histograms ----------

# Le of each bucket and its value, in the order of the view; the last is +Inf.
sub buckets
{
	my ($family, $label, $value) = @_;
	return map { [ split /\|/ ] } split /\n/,
	  sql("SELECT labels ->> 'le', value FROM dtm.metrics WHERE name = '${family}_bucket' AND labels ->> '$label' = '$value'");
}

for my $histogram ([ dtm_call_duration_seconds => host => $host ], [ dtm_first_call_delay_seconds => trans_type => 'saga' ],
	[ dtm_transaction_duration_seconds => trans_type => 'saga' ], [ dtm_transaction_handled_duration => model => 'saga' ])
{
	my ($family, $label, $value) = @$histogram;
	my @buckets = buckets(@$histogram);

	is(join(' ', map { $_->[0] } @buckets),
		'0.001 0.0025 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 30 60 300 1800 7200 86400 +Inf', "$family: bounds");
	is((grep { $buckets[$_][1] < $buckets[ $_ - 1 ][1] } 1 .. $#buckets), 0, 'cumulative');
	is($buckets[-1][1], value("${family}_count", $label => $value), 'up to the count');
	cmp_ok(value("${family}_sum", $label => $value), '>', 0, 'and a sum');
}
is(value('dtm_transaction_duration_seconds_count', trans_type => 'saga'),
	sql("SELECT sum(value) FROM dtm.metrics WHERE name = 'dtm_transactions_ended_total' AND labels ->> 'trans_type' = 'saga'"),
	'a duration for each end');
is(value('dtm_call_duration_seconds_count', host => $host),
	sql("SELECT sum(value) FROM dtm.metrics WHERE name = 'dtm_calls_total' AND labels ->> 'host' = '$host'"), 'and for each call');
is(value('dtm_first_call_delay_seconds_count', trans_type => 'tcc'), undef, 'what was prepared has no first call');
is(value('dtm_first_call_delay_seconds_count', trans_type => 'saga'), 6, 'each saga that was submitted with steps has one');

my $sum = value('dtm_call_duration_seconds_sum', host => $host);
my $delays = value('dtm_first_call_delay_seconds_count', trans_type => 'msg');
reply('/slow', { delay => 0.3 });
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/slow')], gid => 'slow')");
is(wait_for('slow'), 'succeed', 'a slow call');
ok(eventually($node, "SELECT value - $sum >= 0.3 FROM dtm.metrics WHERE name = 'dtm_call_duration_seconds_sum' AND labels ->> 'host' = '$host'"), 'is seen in the sum');
is(value('dtm_first_call_delay_seconds_count', trans_type => 'msg') - $delays, 1, 'its first call');
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/a')], gid => 'delayed', options => '{\"delay\": 1}')");
is(wait_for('delayed'), 'succeed', 'a delayed message');
is(value('dtm_first_call_delay_seconds_count', trans_type => 'msg') - $delays, 1, 'does not count as slow');

# a call that is tried again has one first call
reply('/retry', { status => 500 }, { status => 500 }, {});
sql("SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/retry')], gid => 'retry')");
is(wait_for('retry'), 'succeed', 'a call that is tried again');
calls(2, trans_type => 'saga', op => 'action', result => 'ERROR');
is(value('dtm_first_call_delay_seconds_count', trans_type => 'saga'), 7, 'has one first call');

# ---------- the names of dtm's server ----------

is(value('dtm_transaction_process_total', model => 'saga', status => 'fail'), ended('saga', 'failed') + ended('saga', 'stopped'), 'its names');
is(value('dtm_branch_process_total', model => 'tcc', branchtype => 'confirm', status => 'ok'), 1, 'of branches');
is(value('dtm_branch_process_total', model => 'saga', branchtype => 'action', status => 'fail'), 3, 'which failed');

# ---------- parked, discarded, in flight ----------

reply({ path => '/never', forever => JSON::PP::true }, { status => 500 });
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/never', options => '{\"max_attempts\": 1, \"on_exhausted\": \"park\"}')], gid => 'parked')");
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/never', options => '{\"max_attempts\": 1, \"on_exhausted\": \"discard\"}')], gid => 'discarded')");
is(wait_for('discarded'), 'failed', 'a step is discarded');
becomes(1, 'dtm_alerts_total', event => 'discarded');
becomes(1, 'dtm_alerts_total', event => 'parked');
becomes(1, 'dtm_stuck_transactions', reason => 'parked');
becomes(1, 'dtm_transactions_unfinished', state => 'parked');
reply('/held', { hold => JSON::PP::true });
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/held')], gid => 'held')");
becomes(1, 'dtm_coordinator_calls_in_flight', coordinator => '1');
becomes(1, 'dtm_host_calls_in_flight', host => $host);
release_replies();
is(wait_for('held'), 'succeed', 'it is released');
cmp_ok(value('dtm_host_window_calls', host => $host), '>', 0, 'window');
is(value('dtm_host_circuit_open', host => $host), 0, 'circuit');

# ---------- a branch that never comes to an end ----------

sql("ALTER SYSTEM SET dtm.stuck_after = '1s'");
sql('SELECT pg_reload_conf()');
reply({ path => '/ongoing', forever => JSON::PP::true }, { status => 425 });
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/ongoing')], gid => 'ongoing')");
becomes(1, 'dtm_stuck_transactions', reason => 'ongoing');
is(sql("SELECT count(*) FROM dtm.stuck WHERE gid = 'ongoing'"), 1, 'is in dtm.stuck, however often it has been asked');
sql("SELECT dtm_force_stop('ongoing')");

# ---------- dtm_run_due() counts, too ----------

sql('SELECT dtm_pause()');
ok(eventually($node, "SELECT value = 1 FROM dtm.metrics WHERE name = 'dtm_coordinator_processes' AND labels ->> 'state' = 'paused'"), 'paused');
$before = value('dtm_calls_total', host => $host, trans_type => 'saga', op => 'action', result => 'SUCCESS');
my $ended = ended('saga', 'succeeded');
sql("SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/a')], gid => 'due')");
run_due($node);
is(sql("SELECT dtm_status('due')"), 'succeed', 'dtm_run_due');
is(value('dtm_calls_total', host => $host, trans_type => 'saga', op => 'action', result => 'SUCCESS') - $before, 1, 'counts its call');
is(ended('saga', 'succeeded') - $ended, 1, 'and the end');
sql('SELECT dtm_resume()');
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/a')], gid => 'resumed')");
is(wait_for('resumed'), 'succeed', 'its hosts are known again');

# ---------- PREPARE TRANSACTION ----------

$before = created('saga');
sql("BEGIN; SELECT dtm_submit('saga', gid => 'prepared'); PREPARE TRANSACTION 'p'");
sql("COMMIT PREPARED 'p'");
is(wait_for('prepared'), 'succeed', 'what was prepared');
is(created('saga'), $before, 'is not counted as created');

# ---------- nothing of a single transaction ----------

is(sql("SELECT count(*) FROM dtm.metrics m, jsonb_each_text(m.labels) l WHERE l.value IN (SELECT gid FROM dtm.transactions WHERE gid NOT IN ('failed', 'tcc', 'xa', 'parked', 'discarded', 'stopped', 'ongoing')) OR l.value LIKE '%' || '$busi' || '/%'"),
	0, 'no gid and no path in a label');

# ---------- the page, the files and the view have the same names ----------

my %families = map { /^(\S+)\|(\S+)\|(\S*)$/ ? ($1 => { type => $2, unit => $3 }) : () } split /\n/,
  sql('SELECT family, type, COALESCE(unit, $$$$) FROM dtm.metric_families()');
my $docs = slurp_file("$FindBin::RealBin/../docs/monitoring.md");
my %documented;
while ($docs =~ /^\| `(dtm_\w+)` \| (counter|gauge|histogram) \| (\w*) ?\| ([^|]*)\| \S/mg)
{
	my ($family, $type, $unit, $of) = ($1, $2, $3, $4);

	$documented{$family} = join ' ', $type, $unit, join ' ', sort $of =~ /`(\w+)`/g;
}
sql('VACUUM ANALYZE');
ok(exists $families{$_}, "$_ is a metric") for sort keys %documented;
for my $family (sort keys %families)
{
	my $of = sql("SELECT string_agg(DISTINCT l.key, ' ' ORDER BY l.key) FROM dtm.metrics m, jsonb_object_keys(m.labels) l(key) WHERE m.family = '$family' AND l.key <> 'le'");

	is($documented{$family}, join(' ', $families{$family}{type}, $families{$family}{unit}, $of), "$family is documented");
}

my $files = "$FindBin::RealBin/../monitoring";
for my $file ('dtm-postgres_exporter.yml', 'dtm-sql_exporter.yml')
{
	my $text = slurp_file("$files/$file");
	my %named = map { $_ => 1 } $text =~ /'(dtm_\w+)'/g;

	for my $family (sort keys %families)
	{
		my $histogram = $families{$family}{type} eq 'histogram' && $file =~ /sql_/;
		ok((grep { $named{$_} } $histogram ? "${family}_bucket" : $family), "$file has $family");
	}
	# each of its queries runs for the role of an exporter
	my @queries = $file =~ /sql_/ ? $text =~ /^ +query: (.*)$/mg : $text =~ /^  query: \|\n((?: {4}.*\n)+)/mg;
	cmp_ok(@queries, '>', 20, 'queries');
	is($node->psql('postgres', join(";\n", 'SET ROLE dtm_monitor', @queries)), 0, 'run for dtm_monitor');
}
# what rules and dashboard ask for is there: of the gateway, it is only named
for my $file ('dtm-rules.yml', 'dtm-dashboard.json')
{
	my $text = slurp_file("$files/$file");
	my %asked = map { $_ => 1 } $text =~ /\b(dtm_[a-z_]+)\b(?!\()/g;

	delete $asked{$_} for grep { /^dtm_(gateway|server)_/ } keys %asked;
	for my $name (sort keys %asked)
	{
		ok($families{ $name =~ s/_(bucket|sum|count)$//r }, "$file: $name");
	}
}
# whoever gets an alert sees its numbers on the dashboard
my $board = slurp_file("$files/dtm-dashboard.json");
is(join(' ', sort grep { $board !~ /\b$_\b/ } slurp_file("$files/dtm-rules.yml") =~ /\b(dtm_[a-z_]+)\b(?!\()/g), '', 'the dashboard has what the rules ask for');
my %alerts = map { $_ => 1 } slurp_file("$files/dtm-rules.yml") =~ /alert: (\w+)/g;
my %told = map { $_ => 1 } $docs =~ /^\| `(Dtm\w+)` \|/mg;
is_deeply(\%told, \%alerts, 'each alert is documented');

done_testing();
