# The circuit breaker of a host that does not respond: only probes are sent, other calls wait and
# other hosts are not affected, and the host is not overloaded when it recovers.  If this fails, a
# dead service delays the others, or a recovered one is not called.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use IO::Socket::INET;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('hosts', conf => <<'CONF');
dtm.retry_interval = '100ms'
dtm.retry_interval_max = '500ms'
dtm.breaker_failures = 5
dtm.breaker_pause_max = '2s'
CONF
my $busi = start_participant();
eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'running');

sub host
{
	my ($columns, $url) = @_;
	return "SELECT $columns FROM dtm.stat_hosts WHERE host = '$url'";
}

# one that takes connections, and says nothing
my $silent = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 500, Proto => 'tcp') or die;
my $port = $silent->sockport;
my $dead = "http://127.0.0.1:$port";
sql("SELECT count(dtm_submit('msg', ARRAY[dtm_step('$dead/x'), dtm_step('$busi/y')], gid => 'dead' || n, options => '{\"request_timeout\": 1}')) FROM generate_series(1, 100) n");
ok(eventually($node, host("state IN ('open', 'probing') AND waiting > 80", $dead)), 'a host that does not answer is open');
ok(eventually($node, host('in_flight <= 1', $dead)), 'one call at most is under way');
like(slurp_file($node->logfile), qr/LOG:  circuit breaker for host "\Q$dead\E" opened\n.*\d+ consecutive calls got no response; last error: timed out/, 'the log says so');
my $calls = sql(host('calls', $dead));
ok(eventually($node, host("calls > $calls + 1", $dead)), 'it is probed');
is(sql(host('in_flight <= 1', $dead)), 't', 'by one call at a time');
is(sql("SELECT count(*) FROM dtm.calls WHERE gid LIKE 'dead%' AND error NOT LIKE 'timed out%'"), '0', 'a call that is not made is no attempt');
cmp_ok(sql("SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'dead%' AND failures = 0"), '>', 50, 'and no failure');

# the others
sql("SELECT count(dtm_submit('msg', ARRAY[dtm_step('$busi/live')], gid => 'live' || n)) FROM generate_series(1, 200) n");
ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'live%' AND status = 'succeed'", '200'), 'the others go on');
is(sql(host('state, calls, failures, failures_in_a_row, last_error IS NULL, next_probe IS NULL, mean_time > interval \'0\'', $busi)),
	'closed|200|0|0|t|t|t', 'and what is told of them');

# it comes back
close $silent;
stop_participant();
my $back = start_participant($port);
is($back, $dead, 'a service where there was none');
ok(eventually($node, "SELECT count(*) FROM dtm.branches WHERE gid LIKE 'dead%' AND ordinal = 1 AND status = 'succeed'", '100'), 'what waited is called');
is(sql(host('state, failures_in_a_row, next_probe IS NULL', $dead)), 'closed|0|t', 'it is closed');
like(slurp_file($node->logfile), qr/LOG:  circuit breaker for host "\Q$dead\E" closed/, 'the log says so');
is(scalar(grep { $_->{path} eq '/x' } calls_of()), 100, 'each is called once');

# an error is an answer
reply({ path => '/error', forever => JSON::PP::true }, { status => 500 });
sql("SELECT count(dtm_submit('msg', ARRAY[dtm_step('$back/error')], gid => 'error' || n)) FROM generate_series(1, 20) n");
ok(eventually($node, "SELECT count(*) > 60 FROM dtm.calls WHERE gid LIKE 'error%'"), 'a service that answers 500');
is(sql("SELECT count(*) FROM dtm.calls WHERE gid LIKE 'error%' AND http_status IS DISTINCT FROM 500"), '0', 'is called each time');

# switched off
stop_participant();
$node->append_conf('postgresql.conf', 'dtm.breaker_failures = 0');
$node->reload;
ok(eventually($node, host("failures_in_a_row > 50 AND state = 'closed'", $dead)), 'dtm.breaker_failures = 0');
$calls = sql(host('calls', $dead));
ok(eventually($node, host("calls > $calls + 100 AND state = 'closed'", $dead)), 'has it called each time');

# more hosts than are told of
sql("SELECT count(dtm_submit('msg', ARRAY[dtm_step(format('http://127.0.%s.1:1/', n))], gid => 'more' || n)) FROM generate_series(1, 200) n");
ok(eventually($node, "SELECT count(DISTINCT gid) FROM dtm.calls WHERE gid LIKE 'more%'", '200'), 'two hundred hosts are called');
is(sql('SELECT count(*) FROM dtm.stat_hosts'), '64', 'sixty-four are told of');

# what is wrong on this side says nothing of the host
$node->append_conf('postgresql.conf', "dtm.breaker_failures = 5\ndtm.ca_file = '/nonexistent'");
$node->restart;
$back = start_participant();
my $tls = $back =~ s/http/https/r;
sql("SELECT count(dtm_submit('msg', ARRAY[dtm_step('$tls/x')], gid => 'tls' || n)) FROM generate_series(1, 30) n");
ok(eventually($node, host('calls = 0 AND state = \'closed\'', $tls) . " AND (SELECT count(*) > 60 FROM dtm.calls WHERE gid LIKE 'tls%')"), 'an authority that is not there');
is(sql("SELECT count(*) FROM dtm.stat_hosts WHERE host = '$tls' AND state <> 'closed'"), '0', 'is no reason not to call');

done_testing();
