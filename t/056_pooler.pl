# What docs/poolers.md says of pgbouncer: transactions, barriers and waits by transaction pooling, LISTEN by
# session pooling.  If this fails, an application behind a pooler fails, or the page is wrong.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($program) = grep { -x $_ } '/usr/sbin/pgbouncer', map { "$_/pgbouncer" } split /:/, $ENV{PATH};
plan skip_all => 'pgbouncer is not installed' unless $program;

my $node = start_server('pooler', conf => "max_prepared_transactions = 10\ndtm.retry_interval = 100ms\n");
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $folder = PostgreSQL::Test::Utils::tempdir();
my $server = join ' ', 'host=' . $node->host, 'port=' . $node->port, 'dbname=postgres', 'user=' . $node->safe_psql('postgres', 'SELECT current_user');
my $user = sql('SELECT current_user');

append_to_file("$folder/pgbouncer.ini", <<"INI");
[databases]
shop = $server
shop_session = $server pool_mode=session
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $port
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 1
logfile = $PostgreSQL::Test::Utils::log_path/pgbouncer.log
INI
my $pooler = IPC::Run::start([ $program, '-q', "$folder/pgbouncer.ini" ], '>', '/dev/null', '2>', '/dev/null', IPC::Run::timeout(600));

END { local $?; $pooler->kill_kill if $pooler; }

# The result of statements in one session through the pooler.
sub pooled
{
	my ($database, $script) = @_;
	my ($out, $err) = ('', '');

	IPC::Run::run([ 'psql', '-XAtq', '-h', '127.0.0.1', '-p', $port, '-U', $user, '-v', 'ON_ERROR_STOP=1', $database ],
		'<', \$script, '>', \$out, '2>', \$err, IPC::Run::timeout(120));
	return $err eq '' ? $out : $err;
}

# it listens when it has begun to
for (1 .. 600)
{
	last if pooled('shop', 'SELECT 1') eq "1\n";
	select(undef, undef, undef, 0.1);
}

is(pooled('shop', "SELECT dtm_submit('msg', gid => 'pooled'); SELECT dtm_wait('pooled')"), "pooled\nsucceed\n", 'a submit and a wait, by transaction pooling');
is(pooled('shop', "BEGIN; SELECT dtm_barrier('saga', 'g', '01', 'action'); SELECT dtm_barrier('saga', 'g', '01', 'action', '01'); COMMIT"), "t\nf\n", 'barriers in one transaction');
# others come and go on the same server connection: barriers are counted for each transaction
is(pooled('shop', "BEGIN; SELECT dtm_barrier('saga', 'g', '01', 'action'); COMMIT"), "f\n", 'and in the next one');
is(pooled('shop', "BEGIN; SELECT dtm_barrier('xa', 'x', '01', 'action'); PREPARE TRANSACTION 'x-01'") . pooled('shop', "COMMIT PREPARED 'x-01'; SELECT dtm_barrier('xa', 'x', '01', 'action')"),
	"t\nf\n", 'prepared transactions');
like(pooled('shop_session', "LISTEN dtm_finished; SELECT dtm_submit('msg', gid => 'told', options => '{\"notify\": true}'); SELECT dtm_wait('told'); SELECT 1"),
	qr/"dtm_finished" with payload "\{"gid":"told"/, 'a notification, by session pooling');

# one that waits keeps the only server connection
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('http://shop.invalid/')], gid => 'later', options => '{\"delay\": 3600}')");
my ($out, $err) = ('', '');
my $waiter = IPC::Run::start([ 'psql', '-XAtq', '-h', '127.0.0.1', '-p', $port, '-U', $user, '-c', "SELECT dtm_wait('later', '1 min')", 'shop' ],
	'<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(180));
ok(eventually($node, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT dtm\\_wait(''later''%' AND state = 'active'", '1'), 'one waits');
my ($in2, $out2) = ('SELECT 2', '');
my $next = IPC::Run::start([ 'psql', '-XAtq', '-h', '127.0.0.1', '-p', $port, '-U', $user, 'shop' ], '<', \$in2, '>', \$out2, IPC::Run::timeout(180));
sql("SELECT dtm_force_stop('later')");
$waiter->finish;
$next->finish;
is("$out$out2", "failed\n2\n", 'the next one gets the connection after that');

$pooler->kill_kill;
undef $pooler;
done_testing();
