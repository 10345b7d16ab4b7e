# Ten thousand connections that are idle.  If this fails, clients that keep their
# connections, as SDKs do, fill the memory of the gateway.
use strict;
use warnings;
use File::Spec;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use GatewayTest;
use IO::Socket::INET;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use constant { CONNECTIONS => 10_000, CHILDREN => 20, MAX_MB => 100 };

# with sanitizers it would be their memory that counts
my $program = "$FindBin::RealBin/../gateway/dtm-gateway";
my ($files) = `sh -c 'ulimit -H -n'` =~ /(\d+|unlimited)/;

plan skip_all => 'gateway/dtm-gateway has not been built' unless -x $program;
plan skip_all => 'the limit of open files is too low' if $files ne 'unlimited' && $files < CONNECTIONS + 200;

my $node = start_server('gateway_idle');
sql('ALTER ROLE dtm_gateway LOGIN');
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $config = PostgreSQL::Test::Utils::tempdir() . '/config';
{
	open(my $file, '>', $config) or die "$config: $!";
	print $file "listen = 127.0.0.1:$port\n";
}
$node->append_conf('postgresql.conf', "dtm.gateway = on\ndtm.gateway_path = '" . File::Spec->rel2abs($program) . "'\ndtm.gateway_config = '$config'");
$node->reload;
$GatewayTest::port = $port;
for (1 .. 600) { last if ask('GET', '/api/ping')->{status} == 200; select(undef, undef, undef, 0.1); }
my ($pid) = slurp_file($node->logfile) =~ /started dtm-gateway, process (\d+)/;
ok($pid, 'the gateway runs');

sub memory { my ($kb) = slurp_file("/proc/$pid/status") =~ /^VmRSS:\s+(\d+)/m; return $kb / 1024; }

# Opens connections, half of each protocol, with a request on each, and keeps them
# until the pipe ends.
sub keep
{
	my ($n, $ready, $until) = @_;
	my $h2 = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" . "\0\0\0\4\0\0\0\0\0";
	my @sockets;

	for my $i (1 .. $n)
	{
		my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or last;
		$socket->syswrite($i % 2 ? "GET /api/ping HTTP/1.1\r\nHost: localhost\r\n\r\n" : $h2);
		sysread($socket, my $answer, 4096) or last;
		push @sockets, $socket;
	}
	syswrite($ready, scalar(@sockets) . "\n");
	sysread($until, my $end, 1);
	return;
}

my $before = memory();
pipe(my $ready, my $tell) or die $!;
pipe(my $until, my $end) or die $!;
my @children;
for (1 .. CHILDREN)
{
	my $child = fork;
	die "fork: $!" unless defined $child;
	if ($child == 0)
	{
		close $end;
		keep(CONNECTIONS / CHILDREN, $tell, $until);
		POSIX::_exit(0);
	}
	push @children, $child;
}
close $tell;
my $opened = 0;
for (1 .. CHILDREN) { my $line = <$ready>; last unless defined $line; $opened += $line; }
is($opened, CONNECTIONS, 'all connections were answered');
cmp_ok(metric('dtm_gateway_connections'), '>=', CONNECTIONS, 'and are open');
my $with = memory();
note(sprintf('%.1f MB before, %.1f MB with them: %.1f kB each', $before, $with, ($with - $before) * 1024 / CONNECTIONS));
cmp_ok($with, '<', MAX_MB, 'in less than ' . MAX_MB . ' MB');
is(post('submit', { gid => 'beside', trans_type => 'msg' })->{status}, 200, 'a submit beside them');
close $end;
waitpid($_, 0) for @children;
done_testing();
