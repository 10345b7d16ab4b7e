# The gateway while what is behind it, or itself, goes away and comes back.  If
# this fails, a client is told of a success that is not there, or is told of
# nothing.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use GatewayTest;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use HTTP::Tiny;
use POSIX ();

gateway_program();
my $node = start_server('gateway_failover', init => { allows_streaming => 1 });
my $folder = PostgreSQL::Test::Utils::tempdir();
my @ports = map { PostgreSQL::Test::Cluster::get_free_port() } 1 .. 2;
my @listen = map { ('--listen', "127.0.0.1:$_") } @ports;
my @children;
my $round = 0;

# Clients that submit messages one after the other, each gid again until it is
# answered with a success, and note these.
sub start_load
{
	my ($n) = @_;

	$round++;
	unlink glob("$folder/done*"), "$folder/stop";
	for my $child (1 .. $n)
	{
		my $pid = fork;
		die "fork: $!" unless defined $pid;
		if ($pid == 0)
		{
			open(my $done, '>', "$folder/done$child") or POSIX::_exit(1);
			for (my $i = 0; !-e "$folder/stop"; $i++)
			{
				my $gid = "load$round-$child-$i";
				for (my $status = 0; $status != 200 && !-e "$folder/stop"; )
				{
					my $answer = HTTP::Tiny->new(timeout => 10)->request('POST', "http://127.0.0.1:$ports[0]/api/dtmsvr/submit",
						{ content => "{\"gid\":\"$gid\",\"trans_type\":\"msg\"}" });
					# one that is there already was submitted by the request whose answer was lost
					$status = $answer->{status} == 409 && $answer->{content} =~ /'succeed'/ ? 200 : $answer->{status};
					syswrite($done, $status == 200 ? "$gid\n" : "error $answer->{status}\n");
					select(undef, undef, undef, 0.05) if $status != 200;
				}
			}
			POSIX::_exit(0);
		}
		push @children, $pid;
	}
	return;
}

# Has the load gone on since then?
sub progress
{
	my $n = 0;
	for my $file (glob("$folder/done*")) { open(my $in, '<', $file) or die $!; $n += grep { !/^error/ } <$in>; }
	return $n;
}

sub wait_for_progress
{
	my ($more) = @_;
	my $before = progress();

	for (1 .. 1200) { return 1 if progress() >= $before + $more; select(undef, undef, undef, 0.1); }
	return 0;
}

# Ends it; the gids that were answered with a success, and the errors.
sub stop_load
{
	my (@gids, %errors);

	append_to_file("$folder/stop", 'x');
	waitpid $_, 0 for splice @children;
	for my $file (glob("$folder/done*"))
	{
		open(my $in, '<', $file) or die $!;
		while (<$in>) { chomp; if (/^error (\d+)/) { $errors{$1}++ } else { push @gids, $_ } }
	}
	return (\@gids, \%errors);
}

sub all_are_there
{
	my ($server, $gids, $what) = @_;
	my $stored = $server->safe_psql('postgres', "SELECT count(*) FROM dtm.transactions WHERE gid = ANY ('{" . join(',', @$gids) . "}')");

	is($stored, scalar(@$gids), "$what: all that were answered with a success are there");
	is($server->poll_query_until('postgres', "SELECT count(*) = 0 FROM dtm.active"), 1, "$what: and they end");
	return;
}

# a restart of PostgreSQL, under load
start_gateway($node, @listen);
start_load(4);
ok(wait_for_progress(20), 'there is load');
$node->restart;
ok(wait_for_progress(20), 'it goes on after a restart');
$node->stop('immediate');
# requests that were queued before are given up after --queue-time
for (1 .. 600) { last if ask('GET', '/api/dtmsvr/query?gid=x')->{status} == 503; }
is(ask('GET', '/api/dtmsvr/query?gid=x')->{status}, 503, 'without a database');
is(ask('GET', '/api/dtmsvr/query?gid=x')->{headers}{'retry-after'}, 1, 'try again');
is(ask('GET', '/api/ping')->{status}, 200, 'a ping needs none');
start_grpc_client("127.0.0.1:$ports[1]");
is(grpc_calls({ path => '/grpc.health.v1.Health/Check' })->{reply}, '0802', 'not serving');
is(grpc_call('Submit', message(1 => 'x', 2 => 'msg'))->{code}, 14, 'UNAVAILABLE');
$node->start;
ok(wait_for_progress(20), 'it goes on after a crash');
my ($gids, $errors) = stop_load();
all_are_there($node, $gids, 'restarts');
is(join(' ', grep { $_ != 503 } sort keys %$errors), '', 'no other error than 503');
like(gateway_log(), qr/session with PostgreSQL is down.*session with PostgreSQL is up again/s, 'its log');

# kill -9 of the gateway, under load
start_load(4);
ok(wait_for_progress(20), 'there is load');
stop_gateway('KILL');
start_gateway($node, @listen);
ok(wait_for_progress(20), 'it goes on after kill -9');
($gids, $errors) = stop_load();
all_are_there($node, $gids, 'kill -9');

# a clean stop answers what it has accepted, and takes no more
start_load(4);
ok(wait_for_progress(20), 'there is load');
is(stop_gateway(), 0, 'stopped');
is(HTTP::Tiny->new->get("http://127.0.0.1:$ports[0]/api/ping")->{status}, 599, 'nobody is answered any more');
start_gateway($node, @listen);
ok(wait_for_progress(5), 'another takes its place');
($gids, $errors) = stop_load();
all_are_there($node, $gids, 'a stop');
is(join(' ', grep { $_ != 599 } sort keys %$errors), '', 'no request was cut off with another error');

# rows that somebody has locked, for long: the others do not notice
ask('POST', '/api/dtmsvr/prepare', { gid => "locked$_", trans_type => 'tcc' }) for 1 .. 3;
my $holder = $node->background_psql('postgres');
$holder->query_safe("BEGIN; SELECT count(*) FROM (SELECT 1 FROM dtm.request r JOIN dtm.active a USING (id) WHERE gid LIKE 'locked%' FOR UPDATE OF r, a) x");
start_load(2);

my @locked = map { ask('POST', '/api/dtmsvr/submit', { gid => "locked$_", trans_type => 'tcc' })->{status} } 1 .. 3;
is("@locked", '503 503 503', 'those that are locked are put off');
ok(wait_for_progress(50), 'the others go on');
$holder->query_safe('COMMIT');
$holder->quit;
is(ask('POST', '/api/dtmsvr/submit', { gid => 'locked1', trans_type => 'tcc' })->{status}, 200, 'and then it is done');
($gids, $errors) = stop_load();
is(join(' ', keys %$errors), '', 'without an error');
is(ask('POST', '/api/dtmsvr/submit', { gid => "locked$_", trans_type => 'tcc' })->{status}, 200, "locked$_, too") for 2, 3;
cmp_ok(metric('dtm_gateway_locked_total'), '>=', 1, 'is counted');
is(stop_gateway(), 0, 'stopped');

# a server that does not answer any more, and does not go away either
start_gateway($node, @listen, '--batch-time', 1);
ask('POST', '/api/dtmsvr/submit', { gid => "hang$_", trans_type => 'msg' }) for 1 .. 8;
my @backends = split /\n/, sql(q(SELECT pid FROM pg_stat_activity WHERE query LIKE '%gateway_batch%' AND pid <> pg_backend_pid()));
kill 'STOP', @backends;
is(ask('POST', '/api/dtmsvr/submit', { gid => 'hang', trans_type => 'msg' })->{status}, 503, 'no answer in time');
my $status = 0;
for (1 .. 100)
{
	$status = ask('POST', '/api/dtmsvr/submit', { gid => 'hang', trans_type => 'msg' })->{status};
	last if $status == 200 || $status == 409;
}
like($status, qr/^(200|409)$/, 'another session does it');
kill 'CONT', @backends;
is(stop_gateway(), 0, 'stopped');

# a host that takes connections and says nothing, before the one that is meant: the
# next is tried, and the loop goes on meanwhile
my $silent = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 10) or die $!;
my $hosts = 'dbname=postgres connect_timeout=2 host=127.0.0.1,' . $node->host . ' port=' . $silent->sockport . ',' . $node->port;
start_gateway($node, '--conninfo', $hosts, @listen);
is(ask('GET', '/api/ping')->{status}, 200, 'a ping while it connects');
my $reached = 0;
for (1 .. 600) { $reached = ask('GET', '/api/dtmsvr/query?gid=x')->{status} == 200 and last; }
ok($reached, 'the host behind a silent one is reached');
is(stop_gateway(), 0, 'stopped');
close $silent;

# a name server that does not answer: nobody waits for it but the attempt
my $library = "$folder/slow.so";
SKIP:
{
	open(my $source, '>', "$folder/slow.c") or die $!;
	print $source <<'C';
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int
getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **result)
{
	int			(*next) (const char *, const char *, const struct addrinfo *, struct addrinfo **) =
		(int (*) (const char *, const char *, const struct addrinfo *, struct addrinfo **)) dlsym(RTLD_NEXT, "getaddrinfo");

	if (node == NULL || strcmp(node, "slow.test") != 0)
		return next(node, service, hints, result);
	while (access(getenv("SLOW_GATE"), F_OK) != 0)
		usleep(10000);
	return next("127.0.0.1", service, hints, result);
}
C
	close $source;
	skip 'no compiler', 4 if system('cc', '-shared', '-fPIC', '-o', $library, "$folder/slow.c", '-ldl') != 0;
	local $ENV{LD_PRELOAD} = $library;
	local $ENV{SLOW_GATE} = "$folder/gate";
	local $ENV{ASAN_OPTIONS} = 'verify_asan_link_order=0';
	start_gateway($node, '--conninfo', 'dbname=postgres host=slow.test,' . $node->host . ' port=1,' . $node->port, @listen);
	delete @ENV{qw(LD_PRELOAD ASAN_OPTIONS)};
	is(ask('GET', '/api/ping')->{status}, 200, 'a ping while a name is looked up');
	is(ask('GET', '/api/dtmsvr/query?gid=x')->{status}, 503, 'a request is told in time');
	{ open(my $gate, '>', "$folder/gate") or die $!; }
	$reached = 0;
	for (1 .. 600) { $reached = ask('GET', '/api/dtmsvr/query?gid=x')->{status} == 200 and last; }
	ok($reached, 'then it goes on');
	is(stop_gateway(), 0, 'stopped');
}

# what a database has set for its sessions does not end ours, or keep them from writing
for my $setting ('default_transaction_read_only = on', 'statement_timeout = 1', 'lock_timeout = 1', 'idle_session_timeout = 500',
	'idle_in_transaction_session_timeout = 1', map { $node->pg_version >= 17 ? $_ : () } 'transaction_timeout = 50')
{
	$node->safe_psql('template1', "ALTER DATABASE postgres SET $setting");
	start_gateway($node, @listen);
	$reached = 0;
	for (1 .. 600) { $reached = ask('GET', '/api/dtmsvr/query?gid=x')->{status} == 200 and last; }
	my %statuses;
	$statuses{ post('submit', { gid => "set $setting $_", trans_type => 'msg' })->{status} }++ for 1 .. 20;
	is_deeply(\%statuses, { 200 => 20 }, "submits with $setting");
	ok($node->poll_query_until('template1',
			"SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE '%dtm.gateway_batch%' AND state = 'idle' AND clock_timestamp() - state_change > '1 s'"),
		"an idle session stays with $setting");
	is(stop_gateway(), 0, 'stopped');
	$node->safe_psql('template1', 'ALTER DATABASE postgres RESET ALL');
}

# a failover to a standby
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('gateway_standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
my $conninfo = 'dbname=postgres host=' . $standby->host . ',' . $node->host . ' port=' . $standby->port . ',' . $node->port;
start_gateway($node, '--conninfo', $conninfo, @listen);
start_load(4);
ok(wait_for_progress(20), 'it finds the server that can write');
$node->wait_for_catchup($standby);

$node->stop('fast');
$standby->promote;
ok(wait_for_progress(20), 'it goes on with the standby that was promoted');
($gids, $errors) = stop_load();
all_are_there($standby, $gids, 'a failover');
is(join(' ', grep { $_ != 503 } sort keys %$errors), '', 'no other error than 503');
is(stop_gateway(), 0, 'stopped');
done_testing();
