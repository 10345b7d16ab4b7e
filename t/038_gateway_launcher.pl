# dtm.gateway = on: the launcher runs the program dtm-gateway.  If this fails, the
# gateway does not run where it should, outlives its server, holds what is the
# server's, or nobody is told why it does not run.
use strict;
use warnings;

use File::Basename qw(dirname);
use File::Spec;
use IO::Socket::INET;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use lib dirname(__FILE__);
use DtmTest;
use GatewayTest;

my $program = gateway_program();
my $node = start_server('launched', init => { allows_streaming => 1 },
	conf => "dtm.gateway_path = '/nowhere/dtm-gateway'\nrestart_after_crash = on\n");
my $log = $node->logfile;
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $config = $node->data_dir . '/gateway.conf';

$GatewayTest::port = $port;
sql('ALTER ROLE dtm_gateway LOGIN');

# Sets settings, and has all read them.
sub set
{
	my (%settings) = @_;

	$node->safe_psql('postgres', "ALTER SYSTEM SET dtm.$_ = '$settings{$_}'") for sort keys %settings;
	$node->reload;
	return;
}

sub configure
{
	my (@lines) = @_;

	open(my $file, '>', $config) or die "$config: $!";
	print $file "$_\n" for @lines;
	close($file);
	return;
}

# The process ids that the log has told of.
sub started { return slurp_file($log) =~ /started dtm-gateway, process (\d+)/g; }
sub is_gone { return !kill(0, $_[0]); }

sub until_true
{
	my ($condition, $what) = @_;

	for (1 .. ($ENV{GATE_BAIL} ? 120 : 1800))
	{
		return ok(1, $what) if $condition->();
		select(undef, undef, undef, 0.1);
	}
	ok(0, $what);
	BAIL_OUT($what) if $ENV{GATE_BAIL};
	return 0;
}

sub logged { my ($what, $text) = @_; return until_true(sub { slurp_file($log) =~ $what }, $text); }
sub answers { return ask('GET', '/api/ping')->{status} == 200; }

# off by default
is(sql('SHOW dtm.gateway'), 'off', 'off by default');

# no program
set(gateway => 'on');
logged(qr{could not execute "/nowhere/dtm-gateway": No such file}, 'a program that is missing is logged');

# a configuration with a mistake in it
configure('listen = nonsense', 'sessoins = 1');
set(gateway_path => File::Spec->rel2abs($program), gateway_config => 'gateway.conf');
logged(qr/unknown option "sessoins".*dtm-gateway has ended: .*exit code 2.*gateway_config/s, 'a mistake in its file is logged');

# an address that is taken; the log has that once
my $taken = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 1) or die "$!";
configure("listen = 127.0.0.1:$port");
set();
logged(qr/could not listen on "127\.0\.0\.1:$port": Address already in use.*exit code 3/s, 'an address that is taken is logged');
my $attempts = sub { my @lines = slurp_file($log) =~ /could not listen on/g; return scalar @lines; };
close($taken);
until_true(\&answers, 'it is tried again, and runs when the address is free');
is($attempts->(), 1, 'why it did not run is logged once');

# it does what it is for
is(post('submit', { gid => 'launched', trans_type => 'msg' })->{status}, 200, 'a submit');
is(sql("SELECT count(*) FROM dtm.transactions WHERE gid = 'launched' AND submitted_by = 'dtm_api'::regrole"), 1, 'is stored, as dtm_api');

# a reload is passed on
sub slurp { my ($file) = @_; open(my $in, '<', $file) or return ''; local $/; return scalar(<$in>) // ''; }

# The child of the launcher that has become the gateway.
my $launcher;
sub pid_of_gateway
{
	for my $folder (glob('/proc/[0-9]*'))
	{
		return (split m{/}, $folder)[2]
		  if slurp("$folder/stat") =~ /\) \S $launcher / && slurp("$folder/cmdline") =~ /^dtm-gateway\0/;
	}
	return 0;
}

sub launcher { return $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'dtm launcher'"); }

$launcher = launcher();
my $pid = pid_of_gateway();
ok($pid, 'it is a child of the launcher');
configure("listen = 127.0.0.1:$port", 'rate = 1000');
set();
logged(qr/the configuration was read again/, 'a reload of the server is one of the gateway');
configure("listen = 127.0.0.1:$port", 'rate = many');
set();
logged(qr/the configuration stays as it was: .*rate is "many"/, 'with a mistake in it, nothing changes');
ok(answers(), 'it goes on');
is(pid_of_gateway(), $pid, 'as the same process');
configure("listen = 127.0.0.1:$port");

# what it has of the server: nothing
my $data = $node->data_dir;
my @open = map { readlink($_) // () } glob("/proc/$pid/fd/*");
is(join(' ', grep { m{^\Q$data\E} && !m{/log/} } @open), '', 'no file of the server is open');
unlike(slurp("/proc/$pid/maps"), qr{/dev/zero|/SYSV|PostgreSQL\.|dtm\.so|pgsql_tmp}, 'no shared memory is attached');
my %environment = map { split /=/, $_, 2 } split /\0/, slurp("/proc/$pid/environ");
is(join(' ', grep { !/^DTM_GATEWAY_AGAIN$/ } sort keys %environment), 'PATH PGDATABASE PGHOST PGPORT PGUSER', 'its environment');
is($environment{PGUSER}, 'dtm_gateway', 'it connects as dtm_gateway');
like(slurp("/proc/$pid/status"), qr/^NoNewPrivs:\s+1$/m, 'it can gain no privileges');
my ($group, $launchers_group) = map { (slurp("/proc/$_/stat") =~ /\) \S \d+ (\d+) /)[0] } $pid, $launcher;
isnt($group, $launchers_group, 'signals for the launcher are not for it');

# killed: it is started again
kill 'KILL', $pid;
logged(qr/dtm-gateway has ended: .*signal 9/, 'a death is logged');
until_true(\&answers, 'it is started again');
isnt(pid_of_gateway(), $pid, 'as another process');

# other settings: another process
sql('CREATE DATABASE shop');
$node->safe_psql('shop', 'CREATE EXTENSION dtm');
set(gateway_database => 'shop');
until_true(sub { post('submit', { gid => 'shop', trans_type => 'msg' })->{status} == 200 &&
		$node->safe_psql('shop', "SELECT count(*) FROM dtm.transactions WHERE gid = 'shop'") }, 'another database');
set(gateway_database => 'postgres');
until_true(sub { post('submit', { gid => 'again', trans_type => 'msg' })->{status} == 200 &&
		sql("SELECT count(*) FROM dtm.transactions WHERE gid = 'again'") }, 'and back');

# off: it stops
$pid = pid_of_gateway();
set(gateway => 'off');
logged(qr/dtm-gateway has stopped/, 'it is stopped');
until_true(sub { is_gone($pid) }, 'its process is gone');
set(gateway => 'on');
until_true(\&answers, 'and started');

# a crash of the server: the old one goes, another comes
$pid = pid_of_gateway();
kill 'KILL', $launcher;
until_true(sub { is_gone($pid) }, 'without its launcher it ends');
until_true(\&answers, 'the next launcher starts another');
eventually($node, "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'dtm launcher'");
$launcher = launcher();
$pid = pid_of_gateway();

# a standby has none until it is promoted
my $standby_port = PostgreSQL::Test::Cluster::get_free_port();
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('launched_standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->append_conf('postgresql.conf', "dtm.gateway_config = 'standby.conf'");
{
	open(my $file, '>', $standby->data_dir . '/standby.conf') or die "$!";
	print $file "listen = 127.0.0.1:$standby_port\n";
	close($file);
	# ALTER SYSTEM of the primary came with the backup
	my $auto = $standby->data_dir . '/postgresql.auto.conf';
	my $text = slurp_file($auto);
	$text =~ s/^dtm\.gateway_config.*\n//mg;
	open($file, '>', $auto) or die "$!";
	print $file $text;
	close($file);
}
$standby->start;
$node->wait_for_catchup($standby);
unlike(slurp_file($standby->logfile), qr/started dtm-gateway/, 'a standby has no gateway');

# the server is killed: the gateway goes with it
my $postmaster = (split /\n/, slurp_file("$data/postmaster.pid"))[0];
kill 'KILL', $postmaster;
until_true(sub { is_gone($pid) }, 'it ends with a server that is killed');
until_true(sub { is_gone($postmaster) }, 'the server is gone');
$node->{_pid} = undef;
$standby->promote;
$GatewayTest::port = $standby_port;
until_true(\&answers, 'a promotion starts one');
is(post('submit', { gid => 'promoted', trans_type => 'msg' })->{status}, 200, 'which takes requests');
$standby->stop('fast');
until_true(sub { !answers() }, 'a stop of the server stops it');
unlike(slurp_file($log) . slurp_file($standby->logfile), qr/Sanitizer|runtime error/, 'no complaint of the sanitizers');
done_testing();
