# Operators are told once of what needs a person, and once that it is over: by the webhook, a
# NOTIFY and the log.  If this fails, an outage wakes somebody for each transaction, or nobody.
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

my $json = JSON::PP->new->canonical;
my $pager = start_pager();
my $node = start_server('alerts', conf => <<"CONF");
dtm.retry_interval = '200ms'
dtm.retry_interval_max = '1s'
dtm.breaker_pause_max = '1s'
dtm.alert_after = '1s'
dtm.stuck_after = '2s'
dtm.alert_webhook = 'server:pager/alerts'
max_prepared_transactions = 10
CONF
my $busi = start_participant();
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $down = "http://127.0.0.1:$port";
sql(<<"SQL");
CREATE SERVER pager FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url '$pager');
CREATE USER MAPPING FOR CURRENT_USER SERVER pager OPTIONS (bearer_token 'pager-token', header_x_team 'payments');
CREATE ROLE operator LOGIN IN ROLE dtm_admin;
SQL
my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN dtm_alert');

# What was notified of since the last time.
sub notified
{
	my $more = $listener->query_safe('SELECT 1');
	return map { $json->decode($_) } $more =~ /Asynchronous notification "dtm_alert" with payload "(.*)" received/g;
}

# Waits until the webhook has taken so many messages.
sub taken
{
	my ($n) = @_;
	for (1 .. 400)
	{
		last if (my @told = told_of()) >= $n;
		select(undef, undef, undef, 0.1);
	}
	return join ', ', told_of();
}

# Waits until no alert is open, and nobody looks any more.
sub all_quiet
{
	ok(eventually($node, "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'dtm alerts'"), 'who tells of alerts leaves');
	is(sql("SELECT count(*) FROM dtm.alerts WHERE state = 'open'"), '0', 'no alert is open');
	return;
}

ok(eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'running'), 'the coordinator runs');
all_quiet();

# ---------- an outage, and 500 sagas ----------

sql("SELECT count(dtm_submit('saga', ARRAY[dtm_step('$busi/Out', '$busi/OutRevert', jsonb_build_object('n', n)), dtm_step('$down/In', '$down/InRevert')], gid => 'saga-' || n)) FROM generate_series(1, 500) n");
is(taken(1), 'unreachable open', 'a host is down: the webhook is told');
ok(eventually($node, "SELECT count > 400 FROM dtm.alerts WHERE state = 'open'"), 'how many wait for it is counted');
my ($alert) = told();
is("$alert->{path} $alert->{headers}{Authorization} $alert->{headers}{'x-team'} $alert->{headers}{'Content-Type'}",
	'/alerts Bearer pager-token payments application/json', 'as a server with its credentials and headers');
like($alert->{body}{gid}, qr/^saga-\d+$/, 'with an example');
is($alert->{body}{subject}, $down, 'with the host');
like($alert->{body}{error}, qr/connect/i, 'with the error');
is(sql("SELECT dtm.alert_payload(a, false)::jsonb ?& ARRAY['gid', 'status', 'branch', 'error', 'retry_count'] FROM dtm.alert a"), 't', 'MS-11: with the keys that dtm has');
# others of the same cause are not told of
sql("SELECT count(dtm_submit('saga', ARRAY[dtm_step('$down/In', '$down/InRevert')], gid => 'more-' || n)) FROM generate_series(1, 50) n");
is(sql("SELECT string_agg(kind || ' ' || subject || ' ' || state, ', ') FROM dtm.alerts", extra_params => [ '-U', 'operator' ]), "unreachable $down open", 'an operator sees one alert');
stop_participant();
start_participant($port);
is(taken(2), 'unreachable open, unreachable resolved', 'the host is back: that is told, once');
all_quiet();
is(sql("SELECT kind, subject, count, most > 400, state, resolved > since, gid ~ '^(saga|more)-' FROM dtm.alerts"), "unreachable|$down|0|t|resolved|t|t", 'dtm.alerts');
my @heard = notified();
is($json->encode(\@heard), $json->encode([ map { $_->{body} } told() ]), 'a NOTIFY has told the same');
is(count_in_log($node, 'WARNING:  alert: '), 1, 'the log has one line of it');
is(count_in_log($node, quotemeta("WARNING:  alert: $down does not respond") . '\n.*DETAIL:  Transactions: \d+, for example "saga-\d+". Last error: .*\n.*HINT:  Calls are made again'), 1, 'with what an operator needs');
is(count_in_log($node, quotemeta("LOG:  alert is resolved: $down does not respond")), 1, 'and one of its end');
is(count_in_log($node, 'has failed \d+ times'), 0, 'and none of single transactions');

# ---------- errors of a service ----------

$down = $busi = "http://127.0.0.1:$port";
reply({ path => '/Pay', forever => JSON::PP::true }, { status => 500, body => 'no stock for order 1 at 10:11:12' }, { status => 500, body => 'no stock for order 4711 at 10:11:13' }, { status => 500, body => 'no stock for order 3 at 1:1' });
sql("SELECT count(dtm_submit('msg', ARRAY[dtm_step('$busi/Pay')], gid => 'pay-' || n)) FROM generate_series(1, 10) n");
is(taken(3), 'unreachable open, unreachable resolved, failing open', 'errors of a service that differ by numbers are one alert');
ok(eventually($node, "SELECT count FROM dtm.alerts WHERE state = 'open'", '10'), 'with all transactions');
reply({ path => '/Other', forever => JSON::PP::true }, { status => 500, body => 'database is gone' });
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/Other')], gid => 'other')");
is(taken(4), 'unreachable open, unreachable resolved, failing open, failing open', 'another error is another alert');
clear_participant();
is((join ', ', (split /, /, taken(6))[4, 5]), 'failing resolved, failing resolved', 'both end');
all_quiet();
is(sql("SELECT max(most) FROM dtm.alerts WHERE kind = 'failing'"), '10', 'they have been counted');

# ---------- parked, discarded, ONGOING, a function ----------

reply({ path => '/Park', forever => JSON::PP::true }, { status => 500, body => 'down' });
sql("SELECT count(dtm_submit('msg', ARRAY[dtm_step('$busi/Park', options => '{\"max_attempts\": 1}')], gid => 'park-' || n)) FROM generate_series(1, 5) n");
like(taken(7), qr/, parked open$/, 'parked');
ok(eventually($node, "SELECT count FROM dtm.alerts WHERE state = 'open'", '5'), 'all five');
is((told())[-1]{body}{branch}, "$busi/Park", 'with the URL');
clear_participant();
sql("SELECT count(dtm_resume(gid)) FROM dtm.parked");
like(taken(8), qr/, parked resolved$/, 'until they are resumed');
reply({ path => '/Ongoing', forever => JSON::PP::true }, { status => 425 });
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/Ongoing')], gid => 'ongoing')");
like(taken(9), qr/, ongoing open$/, 'ONGOING for too long');
clear_participant();
like(taken(10), qr/, ongoing resolved$/, 'until it is done');
sql("CREATE FUNCTION broken(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS \$\$ BEGIN RAISE 'broken %', gid; END \$\$");
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('sql:public.broken')], gid => 'function')");
like(taken(11), qr/, failing open$/, 'a function');
is((told())[-1]{body}{subject}, 'sql:public.broken', 'which is named');
sql("SELECT dtm_force_stop('function')");
like(taken(12), qr/, failing resolved$/, 'until it is stopped');
reply({ path => '/Hook', forever => JSON::PP::true }, { status => 500 });
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/Hook', options => '{\"max_attempts\": 1, \"on_exhausted\": \"discard\"}')], gid => 'letter')");
like(taken(13), qr/, discarded open$/, 'a discarded step');
sql("UPDATE dtm.dead_letter SET discarded = discarded - interval '1 hour'");
like(taken(14), qr/, discarded resolved$/, 'which is over after an hour');
all_quiet();

# ---------- coordinators and orphans ----------

sql('SELECT dtm_pause()');
like(taken(15), qr/, paused open$/, 'a pause is told of');
is((told())[-1]{body}{message}, 'coordinator of database "postgres" is paused', 'in words');
sql('SELECT dtm_resume()');
like(taken(16), qr/, paused resolved$/, 'until it is resumed');
all_quiet();
sql("SELECT dtm_prepare('xa', gid => 'xa-1'); SELECT dtm_register_branch('xa-1', '01', '$busi/xa')");
sql("CREATE TABLE t (i int)");
sql("BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'xa-1-01'");
sql("SELECT dtm_abort('xa-1')");
is(wait_for('xa-1'), 'failed', 'an XA has ended, and its branch has not');
like(taken(17), qr/, orphans open$/, 'an orphan is told of');
sql("ROLLBACK PREPARED 'xa-1-01'");
like(taken(18), qr/, orphans resolved$/, 'until it is ended');
all_quiet();

# nothing was told twice, by any way
is(scalar(told()), 18, 'the webhook was called no more often');
is(scalar(notified()), 16, 'nor were NOTIFYs sent');
is(count_in_log($node, 'WARNING:  alert: '), 9, 'nor does the log have more');
$listener->quit;

done_testing();
