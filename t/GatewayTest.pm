# What the tests of the gateway share: a gateway in front of a server, and
# clients of it.
package GatewayTest;

use strict;
use warnings;

use Exporter 'import';
use File::Basename qw(dirname);
use HTTP::Tiny;
use IO::Socket::INET;
use IPC::Run ();
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(
  gateway_program start_gateway stop_gateway gateway_log gateway_logs gateway_pid
  url ask get post raw metric
  start_grpc_client grpc_call grpc_calls message
);

my $json = JSON::PP->new->canonical->ascii->allow_nonref;
my %gateway;
my %grpc;

# The daemon with sanitizers; the test is skipped where it has not been built.
sub gateway_program
{
	my $program = dirname(__FILE__) . '/../gateway/dtm-gateway-sanitized';

	plan skip_all => "gateway/dtm-gateway-sanitized has not been built" unless -x $program;
	return $program;
}

# Starts it in front of a node, on two free ports; returns these.
sub start_gateway
{
	my ($node, @options) = @_;
	my $log = "$PostgreSQL::Test::Utils::log_path/" . $node->name . '_gateway.log';
	my @ports = map { m{^127\.0\.0\.1:(\d+)} ? $1 : () } @options;
	my $conninfo = 'host=' . $node->host . ' port=' . $node->port . ' dbname=postgres';

	@options = ('--conninfo', $conninfo, @options) unless grep { $_ eq '--conninfo' } @options;
	unless (@ports)
	{
		@ports = map { PostgreSQL::Test::Cluster::get_free_port() } 1 .. 2;
		@options = (@options, map { ('--listen', "127.0.0.1:$_") } @ports);
	}
	my $handle = IPC::Run::start([ gateway_program(), @options ],
		'>', '/dev/null', '2>', $log, IPC::Run::timeout(900));
	%gateway = (handle => $handle, log => $log, ports => \@ports);
	gateway_logs(qr/listening on .*listening on .*\n/s);
	return @ports;
}

sub gateway_log { return slurp_file($gateway{log}); }
sub gateway_pid { return $gateway{handle}{KIDS}[0]{PID}; }

# Waits until the log has it.
sub gateway_logs
{
	my ($what) = @_;

	for (1 .. 1200)
	{
		return if -e $gateway{log} && gateway_log() =~ $what;
		select(undef, undef, undef, 0.1);
	}
	die "the gateway's log does not have $what:\n" . gateway_log();
}

# Stops it, kills it with another signal, or waits for its end ('none'); returns its exit
# status.
sub stop_gateway
{
	my ($signal) = @_;

	return 0 unless $gateway{handle};
	my $handle = delete $gateway{handle};
	$signal ||= 'TERM';
	$handle->signal($signal) if $signal ne 'none';
	$handle->finish;
	my $status = $handle->full_result(0);
	my $log = gateway_log();
	print STDERR $log if $log =~ /Sanitizer|runtime error/;
	return $log =~ /Sanitizer|runtime error/ ? -1 : $status;
}

END
{
	local $?;
	$gateway{handle}->kill_kill if $gateway{handle};
	$grpc{handle}->kill_kill if $grpc{handle};
}

# Another port than the first, for requests.
our $port;

sub url { return 'http://127.0.0.1:' . ($port || $gateway{ports}[$_[1] || 0]) . $_[0]; }

# A request, with a body that is encoded unless it is text; what has come back
# has its JSON decoded in {json}.
sub ask
{
	my ($method, $path, $body, %headers) = @_;
	my $http = HTTP::Tiny->new(timeout => 60, max_redirect => 0);
	my $response = $http->request($method, url($path), {
			headers => \%headers,
			defined $body ? (content => ref $body ? $json->encode($body) : $body) : () });

	$response->{json} = eval { $json->decode($response->{content}) };
	return $response;
}

sub get { return ask('GET', "/api/dtmsvr/$_[0]"); }
sub post { my ($path, @rest) = @_; return ask('POST', "/api/dtmsvr/$path", @rest); }

# Sends bytes, and returns what comes until the end.
sub raw
{
	my ($bytes, $port) = @_;
	my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port || $gateway{ports}[0])
	  or die "could not connect: $!";
	my $answer = '';

	local $SIG{PIPE} = 'IGNORE';
	$socket->syswrite($bytes);
	shutdown($socket, 1);
	while (sysread($socket, my $part, 65536)) { $answer .= $part; }
	return $answer;
}

# A client of gRPC, for as long as the test runs.
sub start_grpc_client
{
	my (@arguments) = @_;
	my ($in, $out) = ('', '');
	my $handle = IPC::Run::start(
		[ '/usr/bin/python3', dirname(__FILE__) . '/../test/grpc_client.py', @arguments ],
		'<', \$in, '>', \$out, IPC::Run::timeout(600));

	%grpc = (handle => $handle, in => \$in, out => \$out);
	return;
}

# What test/grpc_client.py is asked, and answers.
sub grpc_calls
{
	my ($call) = @_;

	${ $grpc{out} } = '';
	${ $grpc{in} } .= $json->encode($call) . "\n";
	IPC::Run::pump($grpc{handle}) until ${ $grpc{out} } =~ /\n/;
	return $json->decode(${ $grpc{out} });
}

# A call of dtm's service, with a message from message().
sub grpc_call
{
	my ($method, $message, %more) = @_;

	return grpc_calls({ path => "/dtmgimp.Dtm/$method", message => unpack('H*', $message // ''), %more });
}

# A protobuf message: pairs of a field number and a value.  A number is a varint,
# if it is a reference to one; all else is bytes.
sub message
{
	my $message = '';

	while (my ($number, $value) = splice(@_, 0, 2))
	{
		$message .= ref $value ? varint($number << 3) . varint($$value)
		  : varint($number << 3 | 2) . varint(length $value) . $value;
	}
	return $message;
}

sub varint
{
	my ($value) = @_;
	my $bytes = '';

	while ($value >= 128) { $bytes .= chr($value & 127 | 128); $value >>= 7; }
	return $bytes . chr($value);
}

# The value of a series of /api/metrics.
sub metric
{
	my ($series) = @_;
	my ($value) = ask('GET', '/api/metrics')->{content} =~ /^\Q$series\E (\S+)$/m;

	return $value;
}

1;
