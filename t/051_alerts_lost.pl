# No alert is lost, whatever dies, and they cannot storm.  If this fails, nobody hears of what
# happened while the webhook was down, or somebody hears of it a thousand times.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use AlertTest;
use DtmTest;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $pager = start_pager();
my $node = start_server('alerts_lost', conf => <<"CONF");
dtm.retry_interval = '100ms'
dtm.retry_interval_max = '500ms'
dtm.alert_after = '500ms'
dtm.alert_webhook = '$pager/alerts'
restart_after_crash = on
CONF
my $busi = start_participant();

# Waits until the webhook has taken so many messages.
sub taken
{
	my ($n) = @_;
	for (1 .. 600)
	{
		last if (my @told = told_of()) >= $n;
		select(undef, undef, undef, 0.1);
	}
	return join ', ', told_of();
}

sub change
{
	my ($line) = @_;
	$node->append_conf('postgresql.conf', $line);
	$node->reload;
	my ($name) = $line =~ /^(\S+)/;
	my ($value) = $line =~ /= '?([^']*)/;
	ok(eventually($node, "SELECT setting = '$value' FROM pg_settings WHERE name = '$name'"), $line);
	return;
}

sub fails
{
	my ($path, $gid) = @_;
	reply({ path => $path, forever => JSON::PP::true }, { status => 500, body => 'down' });
	sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi$path')], gid => '$gid')");
	return;
}

# ---------- a webhook that does not take it, and crashes in between ----------

pager_answers(503);
fails('/Pay', 'first');
ok(eventually($node, "SELECT told IS NOT NULL FROM dtm.alerts WHERE kind = 'failing'"), 'the log is told');
ok(eventually($node, "SELECT sent = 0 FROM dtm.alert"), 'MS-12: the webhook does not take it');
$node->stop('immediate');
$node->start;
ok(eventually($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'dtm alerts'", '1'), 'after a crash, somebody still tells');
my $pid = sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'dtm alerts'");
sql("SELECT pg_terminate_backend($pid)");
ok(eventually($node, "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'dtm alerts' AND pid <> $pid"), 'one that is ended has a successor');
pager_answers(200);
is(taken(1), 'failing open', 'then the webhook has it');
is(count_in_log($node, 'WARNING:  alert: '), 1, 'the log was told once');
like(slurp_file($node->logfile), qr/could not call dtm.alert_webhook: it responds with status 503/, 'and that the webhook does not take it');

# over while the server is down: that is told, too
pager_answers(503);
clear_participant();
ok(eventually($node, "SELECT dtm_status('first')", 'succeed'), 'the service is back');
ok(eventually($node, "SELECT told_over IS NOT NULL FROM dtm.alert"), 'it is over');
$node->stop('immediate');
$node->start;
pager_answers(200);
is(taken(2), 'failing open, failing resolved', 'and told');

# ---------- limits ----------

# without a webhook, what is told then is not told later
change("dtm.alert_webhook = ''");
fails('/Silent', 'silent');
ok(eventually($node, "SELECT told IS NOT NULL AND sent = 1 FROM dtm.alert WHERE url LIKE '%/Silent'"), 'no webhook');
sql("SELECT dtm_force_stop('silent')");
ok(eventually($node, "SELECT count(*) FROM dtm.alerts WHERE state = 'open'", '0'), 'it is over');
change("dtm.alert_webhook = '$pager/alerts'");

# many causes
reply({ path => "/Many$_", forever => JSON::PP::true }, { status => 500, body => 'a' x $_ }) for 1 .. 30;
sql("SELECT count(dtm_submit('msg', ARRAY[dtm_step('$busi/Many' || n)], gid => 'many-' || n)) FROM generate_series(1, 30) n");
ok(eventually($node, "SELECT count(*) = 20 AND sum(count) = 30 FROM dtm.alerts WHERE state = 'open' AND kind = 'failing'"), 'thirty causes are twenty alerts at most');
is(sql("SELECT count > 1 FROM dtm.alerts WHERE subject = '*' AND state = 'open'"), 't', 'one has the others');
ok(eventually($node, "SELECT count(*) FILTER (WHERE sent = 1) = 20 FROM dtm.alert WHERE resolved IS NULL"), 'which are told');
sql("SELECT count(dtm_force_stop(gid)) FROM dtm.transactions WHERE finished IS NULL");
ok(eventually($node, "SELECT bool_and(sent = 2) FROM dtm.alert"), 'all are over');

# so many in an hour
my $told = sql('SELECT count(told) + count(told_over) FROM dtm.alert');
change("dtm.alerts_per_hour = $told");
fails('/Held', 'held');
ok(eventually($node, "SELECT count(*) FROM dtm.alerts WHERE state = 'open'", '1'), 'one more than may be told in an hour');
for (1 .. 100)
{
	last if slurp_file($node->logfile) =~ /alerts are held back/;
	select(undef, undef, undef, 0.1);
}
like(slurp_file($node->logfile), qr/WARNING:  alerts are held back, because \d+ were sent in the last hour/, 'the log says so');
is(sql("SELECT told IS NULL FROM dtm.alerts WHERE state = 'open'"), 't', 'dtm.alerts has it, and it is not told');
sql("UPDATE dtm.alert SET told = told - interval '1 hour', told_over = told_over - interval '1 hour'");
ok(eventually($node, "SELECT sent = 1 FROM dtm.alert WHERE resolved IS NULL"), 'until others are an hour old');
is((told())[-1]{body}{gid}, 'held', 'then it is told');
change('dtm.alerts_per_hour = 60');
sql("SELECT dtm_force_stop('held')");
ok(eventually($node, "SELECT count(*) FROM dtm.alerts WHERE state = 'open'", '0'), 'it is over');

# ---------- a coordinator that does not run ----------

# each start of it fails
sql("ALTER TABLE dtm.home RENAME TO away");
sql("SELECT pg_terminate_backend(pid) FROM dtm.stat_coordinator");
ok(eventually($node, "SELECT kind || ' ' || state FROM dtm.alerts WHERE state = 'open'", 'not running open'), 'a coordinator that does not run is told of');
sql("ALTER TABLE dtm.away RENAME TO home");
ok(eventually($node, "SELECT state FROM dtm.alerts WHERE kind = 'not running'", 'resolved'), 'until it does');
like(slurp_file($node->logfile), qr/WARNING:  alert: coordinator of database "postgres" does not run/, 'the log has it');

# ---------- commands that need a database for themselves ----------

$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', "CREATE EXTENSION dtm; SELECT dtm_pause()");
ok(eventually($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'dtm alerts' AND datname = 'other'", '1'), 'another database has an alert');
$node->safe_psql('postgres', 'ALTER DATABASE other RENAME TO another');
ok(eventually($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'dtm alerts' AND datname = 'another'", '1'), 'it is renamed, and has it still');
ok($node->poll_query_until('another', "SELECT string_agg(subject, ' ') = 'another' FROM dtm.alerts WHERE state = 'open'"), 'by its name');
$node->safe_psql('another', 'DROP EXTENSION dtm');
ok(eventually($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'dtm alerts' AND datname = 'another'", '0'), 'it goes with the extension');
$node->safe_psql('another', "CREATE EXTENSION dtm; SELECT dtm_pause()");
ok(eventually($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'dtm alerts' AND datname = 'another'", '1'), 'and comes with it');
$node->safe_psql('postgres', 'DROP DATABASE another');
ok(eventually($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'dtm alerts'", '0'), 'nobody looks where nothing is the matter');
is(count_in_log($node, 'PANIC|TRAP'), 0, 'nothing has crashed but what was told to');

done_testing();
