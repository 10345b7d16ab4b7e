# How many calls are made at a time, and whose: limits of servers, and turns of roles and of
# fairness keys.  If this fails, a service gets more than it can take, or one's backlog or slow calls
# keep others from being called.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use IO::Socket::INET;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('limits', conf => <<'CONF');
dtm.max_requests = 40
dtm.request_timeout = 10min
CONF
my $busi = start_participant();
eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'running');
sql('CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; GRANT dtm_user TO alice, bob');
sql("CREATE SERVER three FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url '$busi', max_requests '3')");
sql("CREATE SERVER one FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url '$busi', max_requests '1')");
sql("CREATE SERVER rated FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url '$busi', rate '4')");
sql('GRANT USAGE ON FOREIGN SERVER one TO alice');

# A socket that accepts connections and never answers.
my $dead = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 500, Proto => 'tcp') or die;
my $silent = 'http://127.0.0.1:' . $dead->sockport;

sub as_role
{
	my ($role, $statement) = @_;
	return sql("SET SESSION AUTHORIZATION $role; $statement");
}

sub host
{
	my ($columns, $url) = @_;
	return "SELECT $columns FROM dtm.stat_hosts WHERE host = '$url'";
}

sub all_done
{
	my ($prefix, $n, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE gid LIKE '$prefix%' AND status = 'succeed'", $n), $name);
	return;
}

# ---------- limits of a server ----------

reply('/three', ({ hold => JSON::PP::true }) x 3);
sql("SELECT count(dtm_submit('msg', ARRAY[dtm_step('server:three/three')], gid => 'three-' || n)) FROM generate_series(1, 12) n");
ok(eventually($node, host('in_flight = 3 AND waiting = 9', $busi)), 'max_requests limits the calls to a server');
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/direct')], gid => 'direct')");
is(wait_for('direct'), 'succeed', 'a URL that does not name the server has no such limit');
is(sql(host('in_flight', $busi)), '3', 'the others wait');
is(sql("SELECT waits_for, detail FROM dtm.transactions t, dtm_explain(t.gid) WHERE t.gid LIKE 'three%' AND waits_for <> 'response' LIMIT 1"),
	'limit|3 calls to its host are in flight, and option max_requests of server "three" allows 3; 9 wait', 'and are told for what');
release_replies();
all_done('three', 12, 'all are called, by and by');

# Each begins a quarter of a second after the one before, on average; two may begin together.
sql("SELECT count(dtm_submit('msg', ARRAY[dtm_step('server:rated/rated')], gid => 'rated-' || n)) FROM generate_series(1, 10) n");
all_done('rated', 10, 'calls at a limited rate');
is(sql("SELECT bool_and(started - first >= (n - 2) * interval '250 ms' - interval '1 ms') FROM (SELECT c.started, min(c.started) OVER () AS first, row_number() OVER (ORDER BY c.started) - 1 AS n FROM dtm.calls c WHERE c.gid LIKE 'rated%') c"),
	't', 'no call begins before its time');

sql("ALTER SERVER rated OPTIONS (SET rate '0.002')");
sql("SELECT count(dtm_submit('msg', ARRAY[dtm_step('server:rated/slowly')], gid => 'slowly-' || n)) FROM generate_series(1, 4) n");
ok(eventually($node, host('in_flight = 0 AND waiting = 2', $busi)), 'some wait for their time') or diag(sql("SELECT * FROM dtm.stat_hosts"));
is(sql("SELECT DISTINCT waits_for, detail FROM dtm.in_flight f, dtm_explain(f.gid) WHERE f.gid LIKE 'slowly%'"),
	'limit|option rate of server "rated" allows 0.002 calls in a second; 2 wait', 'and are told so');
sql("SELECT count(dtm_force_stop(gid)) FROM dtm.transactions WHERE gid LIKE 'slowly%' AND finished IS NULL");
ok(eventually($node, host('waiting = 0', $busi)), 'they are stopped');

# ---------- keys take turns ----------

clear_participant();
reply('/a', { hold => JSON::PP::true });
as_role('alice', "SELECT count(dtm_submit('msg', ARRAY[dtm_step('server:one/a')], gid => 'a-' || n, options => '{\"fairness_key\": \"a\"}')) FROM generate_series(1, 20) n");
ok(eventually($node, host('in_flight = 1 AND waiting > 5', $busi)), 'a backlog of one key');
as_role('alice', "SELECT dtm_submit('msg', ARRAY[dtm_step('server:one/b')], gid => 'b', options => '{\"fairness_key\": \"b\"}')");
ok(eventually($node, "SELECT loaded FROM dtm.stat_coordinator", '21'), 'one of another key comes later');
release_replies();
is(wait_for('b'), 'succeed', 'it is called');
{
	my @paths = map { $_->{path} } calls_of();
	my ($place) = grep { $paths[$_] eq '/b' } 0 .. $#paths;
	cmp_ok($place, '<=', 2, 'in its turn');
}
all_done('a-', 20, 'the others are called, too');
is(sql("SELECT options ->> 'fairness_key' FROM dtm.transactions WHERE gid = 'b'"), 'b', 'the key can be seen');

# A backlog of one key that fills all that may be in memory of a role.
clear_participant();
reply('/a', { hold => JSON::PP::true });
as_role('alice', "SELECT count(dtm_submit('msg', ARRAY[dtm_step('server:one/a')], gid => 'full-' || n, options => '{\"fairness_key\": \"a\"}')) FROM generate_series(1, 300) n");
ok(eventually($node, host('in_flight = 1 AND waiting > 5', $busi)), 'a larger backlog');
as_role('alice', "SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/c')], gid => 'c', options => '{\"fairness_key\": \"c\"}')");
is(wait_for('c'), 'succeed', 'leaves room for another key');
release_replies();
all_done('full-', 300, 'and is called');

# ---------- slow calls of one role ----------

# two sagas with hundreds of concurrent branches that do not end
reply({ path => '/slow', forever => JSON::PP::true }, { hold => JSON::PP::true });
for my $host ($busi, $silent)
{
	as_role('alice', "SELECT count(dtm_submit('saga', array_fill(dtm_step('$host/slow'), ARRAY[300]), gid => 'slow-' || n, options => '{\"concurrent\": true}')) FROM generate_series(1, 2) n")
	  if $host eq $busi;
	as_role('alice', "SELECT count(dtm_submit('saga', array_fill(dtm_step('$host/slow'), ARRAY[300]), gid => 'silent-' || n, options => '{\"concurrent\": true}')) FROM generate_series(1, 2) n")
	  if $host eq $silent;
}
ok(eventually($node, host('waiting > 500', $busi)) && eventually($node, host('waiting > 500', $silent)), 'slow calls of two sagas fill the windows of two hosts');
as_role('bob', "SELECT dtm_submit('msg', array_fill(dtm_step('$busi/bob'), ARRAY[20]), gid => 'bob')");
is(wait_for('bob'), 'succeed', 'another role has its turn at the same host');
my $third = 'http://localhost:' . participant_port();
as_role('bob', "SELECT dtm_submit('msg', array_fill(dtm_step('$third/bob'), ARRAY[20]), gid => 'bob-too')");
is(wait_for('bob-too'), 'succeed', 'and at another one');
sql("SELECT count(dtm_force_stop(gid)) FROM dtm.transactions WHERE gid ~ '^(slow|silent)' AND finished IS NULL");
release_replies();

# the same where all calls together are the limit
$node->append_conf('postgresql.conf', 'dtm.max_requests = 12');
$node->restart;
my @sockets;
for my $n (1 .. 3)
{
	my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 500, Proto => 'tcp') or die;
	as_role('alice', "SELECT dtm_submit('saga', array_fill(dtm_step('http://127.0.0.1:" . $socket->sockport . "/slow'), ARRAY[100]), gid => 'all-$n', options => '{\"concurrent\": true}')");
	push @sockets, $socket;
}
ok(eventually($node, 'SELECT in_flight FROM dtm.stat_coordinator', '11'), 'slow calls of one role fill all but one');
as_role('bob', "SELECT dtm_submit('msg', array_fill(dtm_step('$busi/bob'), ARRAY[20]), gid => 'bob-at-last')");
is(wait_for('bob-at-last'), 'succeed', 'which is for others');

is(sql('SELECT errors FROM dtm.stat_coordinator'), '0', 'nothing went wrong');
done_testing();
