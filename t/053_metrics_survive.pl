# What becomes of dtm.metrics when processes, the server or the extension go; with more hosts than have
# room, in other encodings, on a standby; and its text at the gateway.  If this fails, counters go
# back without a restart, or Prometheus rejects the page.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use GatewayTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $program = gateway_program();
my $node = start_server('survive', init => { allows_streaming => 1 }, conf => <<'CONF');
dtm.retry_interval = 1h
dtm.retry_interval_max = 1h
dtm.coordinators_per_database = 2
max_worker_processes = 16
log_min_messages = error
restart_after_crash = on
CONF
my $busi = start_participant();

sub value
{
	my ($name, $labels, $database) = @_;
	return $node->safe_psql($database // 'postgres', "SELECT COALESCE(sum(value), -1) FROM dtm.metrics WHERE name = '$name' AND labels \@> '$labels'");
}

sub becomes
{
	my ($expected, $name, $labels) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(eventually($node, "SELECT COALESCE(sum(value), -1) = $expected FROM dtm.metrics WHERE name = '$name' AND labels \@> '$labels'"), "$name $labels: $expected")
	  or diag('it is ' . value($name, $labels));
}

sub submit
{
	my ($gid, $url) = @_;
	sql("SELECT dtm_submit('msg', ARRAY[dtm_step('" . ($url // "$busi/a") . "')], gid => '$gid')");
}

# ---------- several coordinators ----------

becomes(2, 'dtm_coordinator_processes', '{"state": "running"}');
submit("a$_") for 1 .. 20;
wait_for("a$_") for 1 .. 20;
becomes(20, 'dtm_calls_total', '{"op": "action"}');
is(value('dtm_coordinator_commits_total', '{"coordinator": "1"}') > 0 && value('dtm_coordinator_commits_total', '{"coordinator": "2"}') > 0,
	1, 'both have had their part');

# ---------- more hosts than have room ----------

# nobody listens there: one call each, and the next try is in an hour
submit("h$_", "http://127.0.1.$_:1/") for 1 .. 80;
becomes(100, 'dtm_calls_total', '{"op": "action"}');
is(sql("SELECT count(DISTINCT labels ->> 'host') FROM dtm.metrics WHERE name = 'dtm_calls_total'"), 65, '64 hosts, and one for the rest');
becomes(17, 'dtm_calls_total', '{"host": "other", "result": "ERROR"}');
is(value('dtm_call_duration_seconds_count', '{"host": "other"}'), 17, 'with a histogram');
submit('again', "$busi/a");
is(wait_for('again'), 'succeed', 'a host that had a place');
becomes(21, 'dtm_calls_total', qq({"host": "$busi"}));

# ---------- the gateway's page ----------

sql('ALTER ROLE dtm_gateway LOGIN');
start_gateway($node, '--conninfo', 'user=dtm_gateway dbname=postgres host=' . $node->host . ' port=' . $node->port);
my $page;
for (1 .. 300)
{
	$page = ask('GET', '/api/metrics');
	last if $page->{content} =~ /^dtm_extension_info/m;
	select(undef, undef, undef, 0.1);
}
is($page->{headers}{'content-type'}, 'text/plain; version=0.0.4; charset=utf-8', 'the format of Prometheus');

# What Prometheus reads of it; dies where the format does not allow a line.
sub parse
{
	my ($text) = @_;
	my (%families, %samples, $family);

	die "the last line has no end" unless $text =~ /\n\z/;
	for my $line (split /\n/, $text)
	{
		if ($line =~ /^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)\z/)
		{
			die "$1 stands in two places" if $families{$1};
			$family = $1;
			$families{$family} = { help => $2 };
		}
		elsif ($line =~ /^# TYPE (\S+) (counter|gauge|histogram)\z/)
		{
			die "TYPE of $1 does not follow its HELP" unless defined $family && $1 eq $family && !$families{$1}{type};
			$families{$family}{type} = $2;
		}
		elsif ($line =~ /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"(?:,(?!\}))?)+)\})? ([-+]?(?:\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|Inf)|NaN)\z/)
		{
			my ($name, $labels, $value) = ($1, $2 // '', $3);
			my $type = $families{$family}{type};

			die "$name is not of family $family" unless $type eq 'histogram' ? $name =~ /^\Q$family\E_(bucket|sum|count)\z/ : $name eq $family;
			die "a series twice: $line" if exists $samples{$name}{$labels};
			die "a counter is negative: $line" if $type ne 'gauge' && $value < 0;
			$samples{$name}{$labels} = $value;
		}
		else
		{
			die "not a line of the format: $line";
		}
	}
	for my $name (grep { $families{$_}{type} eq 'histogram' } keys %families)
	{
		my %last;

		for my $labels (keys %{ $samples{"${name}_bucket"} })
		{
			my ($le) = $labels =~ /\ble="([^"]+)"/ or die "$name has a bucket without le";
			(my $rest = $labels) =~ s/,?\ble="[^"]+",?//;
			push @{ $last{$rest} }, [ $le eq '+Inf' ? 9**9**9 : $le, $samples{"${name}_bucket"}{$labels} ];
		}
		for my $rest (keys %last)
		{
			my @buckets = sort { $a->[0] <=> $b->[0] } @{ $last{$rest} };

			die "$name\{$rest}: no bucket +Inf" unless $buckets[-1][0] == 9**9**9;
			die "$name\{$rest}: a bucket is less than the one before it" if grep { $buckets[$_][1] < $buckets[ $_ - 1 ][1] } 1 .. $#buckets;
			die "$name\{$rest}: the last bucket is not the count" unless $buckets[-1][1] == $samples{"${name}_count"}{$rest};
			die "$name\{$rest}: no sum" unless defined $samples{"${name}_sum"}{$rest};
		}
	}
	return (\%families, \%samples);
}

my ($families, $samples) = eval { parse($page->{content}) };
is($@, '', 'each line is one of the format');
is(join(' ', grep { !/^dtm_(server|gateway)_/ } sort keys %$families),
	sql("SELECT string_agg(family, ' ' ORDER BY family COLLATE \"C\") FROM (SELECT DISTINCT family FROM dtm.metrics) f"), 'the metrics of the view');
is(join(' ', map { "$_->{type} $_->{help}" } $families->{dtm_backlog_oldest_seconds}),
	sql("SELECT type || ' ' || help FROM dtm.metric_families() WHERE family = 'dtm_backlog_oldest_seconds'"), 'with type and help');
is($samples->{dtm_calls_total}{qq(host="$busi",op="action",result="SUCCESS",trans_type="msg")}, 21, 'and value');
stop_gateway();

# ---------- processes ----------

my $since = value('dtm_counters_start_time_seconds', '{}');
my $started = sql('SELECT max(started) FROM dtm.stat_coordinator');
sql("SELECT pg_terminate_backend(pid) FROM dtm.stat_coordinator");
ok(eventually($node, "SELECT count(*) = 2 FROM dtm.stat_coordinator WHERE state = 'running' AND started > '$started'"), 'other coordinators');
is(value('dtm_calls_total', qq({"host": "$busi"})), 21, 'the counters go on');
submit('after');
is(wait_for('after'), 'succeed', 'with them');
becomes(22, 'dtm_calls_total', qq({"host": "$busi"}));
is(value('dtm_counters_start_time_seconds', '{}'), $since, 'since the same time');

# ---------- a standby ----------

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('metrics_standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
is($standby->safe_psql('postgres', "SELECT labels ->> 'state' FROM dtm.metrics WHERE name = 'dtm_coordinator_processes' AND value > 0"), 'standby', 'a standby says so');
is($standby->safe_psql('postgres', "SELECT sum(value) FROM dtm.metrics WHERE name = 'dtm_calls_total'"), '', 'and has called nobody');
is($standby->safe_psql('postgres', "SELECT sum(value) FROM dtm.metrics WHERE name = 'dtm_transactions_unfinished'"), 80, 'but has the tables');
$standby->stop;

# ---------- other encodings, other databases ----------

for my $encoding ('LATIN1', 'EUC_JP', 'SQL_ASCII')
{
	my $database = lc $encoding;

	$node->safe_psql('postgres', "CREATE DATABASE $database ENCODING '$encoding' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
	$node->safe_psql($database, "CREATE EXTENSION dtm; SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/a')], gid => 'x')");
	is($node->safe_psql($database, "SELECT dtm_wait('x', '60 s')"), 'succeed', "database of $encoding");
	ok(eventually($node, "SELECT value = 1 FROM dtm.metrics WHERE name = 'dtm_calls_total'", undef, $database), 'counts for itself');
}
is(value('dtm_calls_total', qq({"host": "$busi"})), 22, 'and the first one does not count that');

# a database that goes leaves its place to others
$node->safe_psql('postgres', "DROP DATABASE latin1");
for my $n (1 .. 20)
{
	$node->safe_psql('postgres', "CREATE DATABASE again$n");
	$node->safe_psql("again$n", 'CREATE EXTENSION dtm');
	ok(eventually($node, "SELECT count(*) = 1 FROM dtm.metrics WHERE name = 'dtm_counters_start_time_seconds'", undef, "again$n"), "database $n has a place")
	  if $n == 20;
	$node->safe_psql('postgres', "DROP DATABASE again$n");
}

# ---------- the extension, the server ----------

my $calls = value('dtm_calls_total', '{}');
sql('BEGIN; SAVEPOINT s; DROP EXTENSION dtm; ROLLBACK TO s; COMMIT');
becomes(2, 'dtm_coordinator_processes', '{"state": "running"}');
is(value('dtm_calls_total', '{}'), $calls, 'a drop that was rolled back to a savepoint changes nothing');
sql('DROP EXTENSION dtm');
sql('CREATE EXTENSION dtm');
becomes(2, 'dtm_coordinator_processes', '{"state": "running"}');
is(value('dtm_calls_total', '{}'), -1, 'a new extension counts anew');
submit('new');
is(wait_for('new'), 'succeed', 'and does');
becomes(1, 'dtm_calls_total', '{}');

$node->restart;
becomes(2, 'dtm_coordinator_processes', '{"state": "running"}');
is(value('dtm_calls_total', '{}') . ' ' . value('dtm_transactions_created_total', '{}'), '-1 0', 'after a restart, they begin anew');
submit('restarted');
is(wait_for('restarted'), 'succeed', 'a transaction');
becomes(1, 'dtm_calls_total', '{}');

# a crash
my $pid = sql('SELECT pid FROM dtm.stat_coordinator LIMIT 1');
kill 'KILL', $pid;
ok(eventually($node, "SELECT count(*) = 2 AND bool_and(pid <> $pid) FROM dtm.stat_coordinator WHERE state = 'running'"), 'after a crash');
is(value('dtm_calls_total', '{}') . ' ' . value('dtm_transactions_created_total', '{}'), '-1 0', 'they begin anew');
cmp_ok(value('dtm_counters_start_time_seconds', '{}'), '>=', $since, 'and say so');

done_testing();
