# Clients of the gateway that take and do not give: they send and do not read, begin
# and do not end, or are more than there is room for.  If this fails, one of them fills
# the memory of the gateway, or keeps it from answering the others.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use GatewayTest;
use IO::Select;
use IO::Socket::INET;
use POSIX ();
use Test::More;

gateway_program();
my $node = start_server('gateway_greedy');
my @limits = ('--max-body', 64, '--body-time', 3);
my ($port, $grpc_port) = start_gateway($node, @limits);

sub connection { return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $_[0] || $port); }
sub answers { return ask('GET', '/api/ping')->{status} == 200; }

# Sends bytes until all are sent, or nothing is taken for as long; how many.
sub send_until_full
{
	my ($socket, $bytes, $patience) = @_;
	my $sent = 0;

	local $SIG{PIPE} = 'IGNORE';
	$socket->blocking(0);
	while ($sent < length $bytes && IO::Select->new($socket)->can_write($patience))
	{
		my $n = syswrite($socket, $bytes, 65536, $sent);
		last unless defined $n;
		$sent += $n;
	}
	$socket->blocking(1);
	return $sent;
}

# ---------- requests whose responses are not read ----------

my $one = "GET /api/metrics HTTP/1.1\r\nHost: localhost\r\nX: " . 'x' x 1000 . "\r\n\r\n";
my $requests = 20000;
my $socket = connection();
my $sent = send_until_full($socket, $one x $requests, 2);
cmp_ok($sent, '<', length($one) * $requests, 'a client that does not read is not read any more');
ok(answers(), 'others are answered');
my $closed = '';
for (1 .. 300)
{
	# it goes on sending, as far as it may, and never reads
	local $SIG{PIPE} = 'IGNORE';
	$socket->blocking(0);
	last if !defined syswrite($socket, 'x') && ($closed = !$!{EAGAIN});
	select(undef, undef, undef, 0.1);
}
ok($closed, 'and its connection is closed');
close $socket;

# one that reads late gets all of them, in order, also when it sends no more
$requests = 3000;
my $late = '';
$socket = connection();
for my $n (1 .. $requests) { $late .= "GET /api/dtmsvr/" . ($n % 100 ? 'newGid' : 'query?gid=none') . " HTTP/1.1\r\nHost: localhost\r\n\r\nGET /api/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"; }
my $child = fork;
die "fork: $!" unless defined $child;
if ($child == 0)
{
	syswrite($socket, $late, 65536, $_ * 65536) for 0 .. length($late) / 65536;
	shutdown($socket, 1);
	POSIX::_exit(0);
}
my ($got, $gids, $metrics, $unknown) = (0, 0, 0, 0);
my $rest = '';
while (1)
{
	my $n = sysread($socket, my $part, 65536);
	# its child has ended
	next if !defined $n && $!{EINTR};
	last unless $n;
	$got += $n;
	$rest .= $part;
	$gids += () = $rest =~ /"gid":"\w+"/g;
	$unknown += () = $rest =~ /"transaction": null/g;
	$metrics += () = $rest =~ /^dtm_server_info/mg;
	# whatever may be half a mark
	$rest = $rest =~ /\n([^\n]*)\z/ ? $1 : $rest;
	$rest = '' if $rest =~ /"gid":"\w+"|"transaction": null|^dtm_server_info/;
}
waitpid($child, 0);
is("$gids $unknown $metrics", join(' ', $requests - $requests / 100, $requests / 100, $requests), 'who reads late gets all responses') or diag "$got bytes";

# ---------- HTTP/2: bodies that do not end, responses that are not taken ----------

sub frame { my ($type, $flags, $stream, $payload) = @_; return substr(pack('N', length $payload), 1) . pack('CCN', $type, $flags, $stream) . $payload; }
sub literal { return "\x00" . chr(length $_[0]) . $_[0] . chr(length $_[1]) . $_[1]; }
my $magic = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
my $window = frame(4, 0, 0, pack('nN', 4, 0));
my $post = "\x83\x86" . literal(':path', '/api/dtmsvr/submit') . literal(':authority', 'localhost');
my $get = "\x82\x86" . literal(':path', '/api/dtmsvr/newGid') . literal(':authority', 'localhost');

# Frames, as they come, until one is as wanted.
sub wait_for_frame
{
	my ($socket, $wanted) = @_;
	my $got = '';

	while (IO::Select->new($socket)->can_read(60) && sysread($socket, $got, 65536, length $got))
	{
		while (length $got >= 9 && length $got >= 9 + unpack('N', "\0" . substr($got, 0, 3)))
		{
			my $size = unpack('N', "\0" . substr($got, 0, 3));
			my %frame = (payload => substr($got, 9, $size));
			@frame{qw(type flags stream)} = unpack('CCN', substr($got, 3, 6));
			substr($got, 0, 9 + $size) = '';
			return \%frame if $wanted->(\%frame);
		}
	}
	return;
}

$socket = connection($grpc_port);
my $bodies = $magic . frame(4, 0, 0, '');
for my $n (0 .. 199)
{
	$bodies .= frame(1, 4, 2 * $n + 1, $post);
	$bodies .= frame(0, 0, 2 * $n + 1, '{"x":"' . 'x' x 14994) for 1 .. 4;
}
is(send_until_full($socket, $bodies, 30), length $bodies, '200 bodies of 60 kB that do not end');
my $refused = wait_for_frame($socket, sub { $_[0]{type} == 0 && $_[0]{payload} =~ /too many bodies of requests are on their way/ });
ok($refused, 'some are refused');
ok(answers(), 'others are answered');
is(post('submit', '{"gid":"whole","trans_type":"msg","x":"' . 'x' x 60000 . '"}')->{status}, 200, 'and may have a body');
close $socket;
$socket = connection($grpc_port);
syswrite($socket, $magic . frame(4, 0, 0, '') . frame(1, 4, 1, $post) . frame(0, 1, 1, '{"gid":"after","trans_type":"msg"}'));
ok(wait_for_frame($socket, sub { $_[0]{type} == 0 && $_[0]{payload} =~ /SUCCESS/ }), 'so can the next connection');
close $socket;

# pings do not count as taking something
$socket = connection($grpc_port);
syswrite($socket, $magic . $window . frame(1, 5, 1, $get));
ok(wait_for_frame($socket, sub { $_[0]{type} == 1 && $_[0]{stream} == 1 }), 'a response without a window for its body');
my $reset;
for (1 .. 300)
{
	syswrite($socket, frame(6, 0, 0, 'pingpong'));
	my $next = wait_for_frame($socket, sub { $_[0]{type} == 6 || $_[0]{type} == 3 });
	# or the whole connection is ended
	last if $reset = !$next || $next->{type} == 3;
	select(undef, undef, undef, 0.1);
}
ok($reset, 'is given up, though the client sends pings');
close $socket;

# ---------- no descriptor left ----------

SKIP:
{
	my $open = () = glob('/proc/' . gateway_pid() . '/fd/*');
	skip 'no prlimit', 5 if system('prlimit', '--pid', gateway_pid(), '--nofile=' . ($open + 10)) != 0;
	$socket = connection();
	syswrite($socket, "GET /api/ping HTTP/1.1\r\nHost: localhost\r\n\r\n");
	ok(sysread($socket, my $pong, 65536), 'a connection');
	my @many = map { connection() } 1 .. 30;
	my $ended = 0;
	for my $last (grep { defined } @many[20 .. 29])
	{
		$ended++ if IO::Select->new($last)->can_read(60) && !sysread($last, my $nothing, 1);
	}
	cmp_ok($ended, '>=', 1, 'those beyond the limit of open files are ended');
	syswrite($socket, "GET /api/ping HTTP/1.1\r\nHost: localhost\r\n\r\n");
	ok(sysread($socket, $pong, 65536), 'the others are answered');
	is(scalar(() = gateway_log() =~ /could not accept a connection/g), 1, 'the log has it once');
	close $_ for grep { defined } @many;
	my $again = 0;
	for (1 .. 600) { $again = answers() and last; select(undef, undef, undef, 0.1); }
	ok($again, 'and later there are connections again');
}
is(stop_gateway(), 0, 'stopped');

# ---------- a clean stop, and a connection that is too old ----------

($port, $grpc_port) = start_gateway($node, '--max-age', 1);
my $silent = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 10) or die $!;

# A stream whose response waits for a branch; the frames until a GOAWAY come, which is returned.
sub until_goaway
{
	my ($gid, $then) = @_;
	my $body = "{\"gid\":\"$gid\",\"trans_type\":\"saga\",\"wait_result\":true,\"payloads\":[\"\"],"
	  . '"steps":[{"action":"http://127.0.0.1:' . $silent->sockport . '/","compensate":""}]}';
	my $socket = connection($grpc_port);

	syswrite($socket, $magic . frame(4, 0, 0, '') . frame(1, 4, 1, $post) . frame(0, 1, 1, $body));
	my $branch = $silent->accept;
	$then->();
	my $goaway = wait_for_frame($socket, sub { $_[0]{type} == 7 });
	is(join(' ', $goaway ? unpack('NN', $goaway->{payload}) : 'none'), '1 0', "$gid: GOAWAY, after the stream that is open");
	syswrite($branch, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	ok(wait_for_frame($socket, sub { $_[0]{type} == 0 && $_[0]{payload} =~ /SUCCESS/ }), "$gid: the stream is answered");
	ok(!wait_for_frame($socket, sub { 0 }), "$gid: and the connection ends");
	return;
}

until_goaway('aged', sub { });
ok(answers(), 'for new connections it is there');
until_goaway('stopped', sub { kill 'TERM', gateway_pid(); });
# it ends by itself; a second TERM would have it end at once
is(stop_gateway('none'), 0, 'stopped');
done_testing();
