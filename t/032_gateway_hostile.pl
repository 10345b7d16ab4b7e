# What a gateway has to withstand.  If this fails, a client that is broken or
# malicious gets what it should not, or stops the others.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use GatewayTest;
use IO::Select;
use IO::Socket::INET;
use JSON::PP;
use Test::More;

gateway_program();
my $node = start_server('gateway_hostile');
my @limits = ('--head-time', 2, '--body-time', 2, '--idle-time', 4, '--max-body', 64, '--max-connections', 600);
my ($http_port, $grpc_port) = start_gateway($node, @limits, '--host', 'dtm.example');

sub status_of { return ($_[0] =~ m{^HTTP/1\.1 (\d+)})[0] // 'none'; }
sub request { my ($head, $body) = @_; return join("\r\n", @$head, '', $body // ''); }
sub connection { return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $_[0] || $http_port); }

# What comes on a socket until it ends, or until there has been enough.
sub read_until
{
	my ($socket, $enough) = @_;
	my $got = '';

	while (IO::Select->new($socket)->can_read(30))
	{
		my $n = sysread($socket, my $part, 65536);
		last unless $n;
		$got .= $part;
		last if $enough && $got =~ $enough;
	}
	return $got;
}

my @post = ('POST /api/dtmsvr/submit HTTP/1.1', 'Host: localhost');
my $body = '{"gid":"h","trans_type":"msg"}';
my $length = 'Content-Length: ' . length $body;

# what two parsers might understand in two ways
for my $case (
	[ 'two lengths', [ @post, $length, $length ], 400 ],
	[ 'both lengths', [ @post, $length, 'Transfer-Encoding: chunked' ], 400 ],
	[ 'an unknown coding', [ @post, 'Transfer-Encoding: gzip, chunked' ], 501 ],
	[ 'two codings', [ @post, 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked' ], 400 ],
	[ 'a length with a sign', [ @post, 'Content-Length: +30' ], 400 ],
	[ 'a list of lengths', [ @post, 'Content-Length: 30, 30' ], 400 ],
	[ 'a huge length', [ @post, 'Content-Length: 99999999999999999999999' ], 413 ],
	[ 'a body too large', [ @post, 'Content-Length: 100000000' ], 413 ],
	[ 'a folded header', [ @post, $length, 'X: a', ' b' ], 400 ],
	[ 'a blank before the colon', [ @post, "Content-Length : 30" ], 400 ],
	[ 'no colon', [ @post, 'X' ], 400 ],
	[ 'a zero byte', [ @post, "X: a\0b" ], 400 ],
	[ 'a bare CR', [ @post, "X: a\rb" ], 400 ],
	[ 'two hosts', [ @post, 'Host: localhost', $length ], 400 ],
	[ 'no host', [ $post[0], $length ], 400 ],
	[ 'another version', [ 'GET / HTTP/2.5', 'Host: localhost' ], 505 ],
	[ 'no version', [ 'GET /', 'Host: localhost' ], 400 ],
	[ 'no HTTP at all', ["\x16\x03\x01\x02\x00"], 400 ],
	[ 'a target that is none', [ 'GET api HTTP/1.1', 'Host: localhost' ], 400 ],
	[ 'a header of 20 kB', [ @post, 'X: ' . 'x' x 20000 ], 431 ],
	[ '100 headers', [ @post, map { "X$_: y" } 1 .. 100 ], 431 ])
{
	my ($name, $head, $status) = @$case;
	my $answer = raw(request($head, $body));
	is(status_of($answer), $status, $name) or diag $answer;
	like($answer, qr/^Connection: close\r$/m, 'and that was it');
}
is(status_of(raw("POST /api/dtmsvr/submit HTTP/1.1\nHost: localhost\n$length\n\n$body")), 400, 'bare LF');
for my $chunks ("1e;ext=1\r\n$body\r\n0\r\n\r\n", "1e\n$body\r\n0\r\n\r\n", "zz\r\n", "-1\r\n", "fffffffff\r\n", "1e\r\n${body}XX0\r\n\r\n", "0\r\nTrailer: x\r\n\r\n", "\r\n")
{
	is(status_of(raw(request([ @post, 'Transfer-Encoding: chunked' ], $chunks))), 400, 'chunks: ' . ($chunks =~ s/[\r\n]+/ /gr));
}
is(status_of(raw(request([ @post, 'Transfer-Encoding: chunked' ], "ffffff\r\nx"))), 413, 'a chunk too large');
is(sql("SELECT count(*) FROM dtm.transactions"), 0, 'nothing of that was stored');
is(status_of(raw(request([ @post, 'Transfer-Encoding: chunked' ], "5\r\n{\"gid\r\n19\r\n\":\"h\",\"trans_type\":\"msg\"}\r\n0\r\n\r\n"))), 200, 'chunks that are right');
cmp_ok(metric('dtm_gateway_bad_requests_total'), '>', 20, 'are counted');

# gids
for my $gid ("quote\"'", 'back\\slash', "\x{4e2d}\x{6587}", ';--', '%00', ' ')
{
	utf8::encode(my $bytes = $gid);
	my $answer = post('submit', encode_json({ gid => $gid, trans_type => 'msg' }));
	is($answer->{status}, 200, "gid $bytes");
}
is(post('submit', "{\"gid\":\"a\x01b\",\"trans_type\":\"msg\"}")->{status}, 500, 'a control character');
is(post('submit', '{"gid":"a\u0007b","trans_type":"msg"}')->{status}, 500, 'an escaped one');
is(post('submit', encode_json({ gid => 'x' x 129, trans_type => 'msg' }))->{status}, 500, 'too long a one');
is(post('submit', '[' x 10000)->{status}, 500, 'deep nesting');
is(get('query?gid=%00')->{status}, 500, 'a zero byte in a query');
is(get('query?gid=%ff')->{status}, 200, 'no UTF-8 in a query');
is(get('query?gid=%')->{status}, 200, 'a percent sign alone');

# pipelined requests are answered in order
my $pipelined = '';
for my $n (1 .. 200)
{
	my $one = "{\"gid\":\"pipe$n\",\"trans_type\":\"msg\"}";
	$pipelined .= request([ @post, 'Content-Length: ' . length $one ], $one);
	$pipelined .= request([ "GET /api/dtmsvr/query?gid=pipe$n HTTP/1.1", 'Host: localhost' ]);
}
my $answers = raw($pipelined . request([ 'GET /api/ping HTTP/1.0', 'Host: localhost' ]));
my @found = $answers =~ /"gid": "(pipe\d+)"/g;
my %seen;
is(join(' ', grep { !$seen{$_}++ } @found), join(' ', map { "pipe$_" } 1 .. 200), '400 pipelined requests');
like($answers, qr/pong"\}$/, 'and the last');
is(scalar(() = raw(request([ 'GET /api/ping HTTP/1.1', 'Host: localhost' ]) x 3000) =~ /pong/g), 3000, '3000 that need no database');

# 100-continue; a body that comes in single bytes; an empty line before
my $socket = connection();
my $continued = '{"gid":"i","trans_type":"msg"}';
$socket->syswrite(request([ @post, $length, 'Expect: 100-continue' ]));
is(read_until($socket, qr/\r\n\r\n/), "HTTP/1.1 100 Continue\r\n\r\n", '100-continue');
$socket->syswrite($_) for split //, $continued;
is(status_of(read_until($socket, qr/SUCCESS/)), 200, 'its body in single bytes');
$socket->syswrite("\r\n" . request([ 'GET /api/ping HTTP/1.1', 'Host: localhost' ]));
is(status_of(read_until($socket, qr/pong/)), 200, 'an empty line before the next request');
close $socket;

# slow ones
my $slow_head = connection();
my $slow_body = connection();
my $idle = connection();
$slow_head->syswrite("POST /api/dtmsvr/submit HTTP/1.1\r\nX: ");
$slow_body->syswrite(request([ @post, $length ], '{'));
is(status_of(read_until($slow_head)), 408, 'a head that does not come');
is(status_of(read_until($slow_body)), 408, 'a body that does not come');
is(read_until($idle), '', 'an idle connection is closed');
my $preface = connection();
$preface->syswrite('PRI * HTTP');
is(read_until($preface), '', 'half of a preface');

# browsers: pages of other sites, names that lead here
for my $case (
	[ 'Origin', { Origin => 'http://evil.example' }, 403 ], [ 'Origin null', { Origin => 'null' }, 403 ],
	[ 'cross-site', { 'Sec-Fetch-Site' => 'cross-site' }, 403 ], [ 'same-site', { 'Sec-Fetch-Site' => 'same-site' }, 403 ],
	[ 'same-origin', { 'Sec-Fetch-Site' => 'same-origin' }, 200 ], [ 'typed in', { 'Sec-Fetch-Site' => 'none' }, 200 ])
{
	my ($name, $headers, $status) = @$case;
	is(ask('GET', '/api/dtmsvr/newGid', undef, %$headers)->{status}, $status, $name);
	is(ask('POST', '/api/json-rpc', '{"jsonrpc":"2.0","id":"x","method":"newGid"}', %$headers)->{status}, $status, "$name, JSON-RPC");
}
for my $host ('localhost', 'localhost:36789', '127.0.0.1', '[::1]:80', '[::1]', 'dtm.example', 'DTM.example:1', 'localhost.', 'dtm.example.:36789', '')
{
	is(status_of(raw(request([ 'GET /api/dtmsvr/newGid HTTP/1.0', "Host: $host" ]))), 200, "for $host");
}
is(status_of(raw(request([ 'GET /api/dtmsvr/newGid HTTP/1.0', "Host: $_" ]))), 403, "for $_") for 'evil.example', 'localhost.evil.example', 'dtm.example.evil.example:36789',
  'evil.example.', 'dtm.exampl', '.', '::1', '[::1', '[::1]evil.example', '[127.0.0.1]', 'localhost:x', 'localhost:80@evil.example', '127.1', '127.0.0.1.', '2130706433', '127.0.0.1 evil.example';

# Go's client crashes on an error of prepareWorkflow that is JSON, whatever the error is
for my $case (
	[ 'a foreign host', [ 'POST /api/dtmsvr/prepareWorkflow HTTP/1.1', 'Host: evil.example', 'Content-Length: 2' ], 403 ],
	[ 'an origin', [ 'POST /api/dtmsvr/prepareWorkflow HTTP/1.1', 'Host: localhost', 'Origin: null', 'Content-Length: 2' ], 403 ],
	[ 'a body too large', [ 'POST /api/dtmsvr/prepareWorkflow HTTP/1.1', 'Host: localhost', 'Transfer-Encoding: chunked' ], 413, "ffffff\r\n" ],
	[ 'a chunk that is none', [ 'POST /t/x/api/dtmsvr/prepareWorkflow?a HTTP/1.1', 'Host: localhost', 'Transfer-Encoding: chunked' ], 400, "x\r\n" ],
	[ 'a body that does not come', [ 'POST /api/dtmsvr/prepareWorkflow HTTP/1.1', 'Host: localhost', 'Content-Length: 2' ], 408, '' ])
{
	my ($name, $head, $status, $body) = @$case;
	my $socket = connection();
	$socket->syswrite(request($head, $body // '{}'));
	my $answer = read_until($socket, qr/\r\n\r\n./s);
	is(status_of($answer), $status, "$name, of prepareWorkflow");
	like($answer, qr{^Content-Type: text/plain}m, 'is no JSON');
}

# HTTP/2: frames made by hand
sub frame { my ($type, $flags, $stream, $payload) = @_; return substr(pack('N', length $payload), 1) . pack('CCN', $type, $flags, $stream) . $payload; }
sub literal { return "\x00" . chr(length $_[0]) . $_[0] . chr(length $_[1]) . $_[1]; }
my $magic = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
my $settings = frame(4, 0, 0, '');
my $headers = "\x83\x86" . literal(':path', '/dtmgimp.Dtm/NewGid') . literal(':authority', 'a') . literal('content-type', 'application/grpc');

sub frames
{
	my ($bytes) = @_;
	my @frames;
	while (length $bytes >= 9)
	{
		my ($size, $type, $flags, $stream) = (unpack('N', "\0" . substr($bytes, 0, 3)), unpack('CCN', substr($bytes, 3, 6)));
		push @frames, { type => $type, flags => $flags, stream => $stream, payload => substr($bytes, 9, $size) };
		$bytes = length $bytes >= 9 + $size ? substr($bytes, 9 + $size) : '';
	}
	return @frames;
}

# The error that a GOAWAY has told; '' for none.
sub goaway { my ($last) = grep { $_->{type} == 7 } frames($_[0]); return $last ? unpack('N', substr($last->{payload}, 4, 4)) : ''; }

sub h2
{
	my ($bytes, $enough) = @_;
	my $socket = connection($grpc_port);
	local $SIG{PIPE} = 'IGNORE';
	my $sent = 0;
	$socket->blocking(1);
	$bytes = $magic . $settings . $bytes;
	while ($sent < length $bytes)
	{
		my $n = syswrite($socket, $bytes, 65536, $sent);
		last unless $n;
		$sent += $n;
	}
	return read_until($socket, $enough);
}
my $message = frame(0, 1, 1, "\0\0\0\0\0");
ok((grep { $_->{type} == 0 && $_->{payload} =~ /^\0\0\0\0\x1c\x0a\x1a/ } frames(h2(frame(1, 4, 1, $headers) . $message, qr/\x0a\x1a.{26}/s))), 'frames made by hand');
is(goaway(h2(frame(6, 0, 0, 'pingpong') x 3000)), 11, 'ENHANCE_YOUR_CALM: a flood of pings');
is(goaway(h2($settings x 3000)), 11, 'of settings');
is(goaway(h2(join '', map { frame(1, 4, 2 * $_ + 1, $headers) . frame(3, 0, 2 * $_ + 1, pack('N', 8)) } 0 .. 3000)), 11, 'of resets');
isnt(goaway(h2(frame(1, 0, 1, $headers) . frame(9, 0, 1, literal('x', 'y' x 100)) x 20000)), '', 'of continuations');
isnt(goaway(h2(frame(0, 0, 1, 'x'))), '', 'data of no stream');
isnt(goaway(h2(frame(1, 4, 1, "\xff\xff\xff\xff\xff\xff"))), '', 'headers that are none');
isnt(goaway(h2(frame(1, 5, 2, $headers))), '', 'a stream of an even number');
SKIP:
{
	skip 'no curl with HTTP/2', 1 unless `curl -V 2>/dev/null` =~ /HTTP2/;
	my @headers = map { ('-H', "x$_: y") } 1 .. 120;
	IPC::Run::run([ 'curl', '-s', '-S', '--http2-prior-knowledge', '-w', '%{http_code}', @headers, url('/api/ping') ], '>', \my $out);
	like($out, qr/headers too large.*431$/, 'too many headers');
}
is(ask('GET', '/api/ping')->{status}, 200, 'it is still there');

# a stream that is cancelled has its effect, and a client that has gone away, too
my $cancelled = message(1 => 'cancelled', 2 => 'msg');
my $submit = "\x83\x86" . literal(':path', '/dtmgimp.Dtm/Submit') . literal(':authority', 'a') . literal('content-type', 'application/grpc');
$socket = connection($grpc_port);
$socket->syswrite($magic . $settings . frame(1, 4, 1, $submit) . frame(0, 1, 1, "\0" . pack('N', length $cancelled) . $cancelled) . frame(3, 0, 1, pack('N', 8)));
eventually($node, "SELECT count(*) = 1 FROM dtm.transactions WHERE gid = 'cancelled'");
close $socket;
$socket = connection();
my $gone = '{"gid":"gone","trans_type":"saga","wait_result":true,"steps":[{"action":"http://127.0.0.1:1/","compensate":""}],"payloads":[""]}';
$socket->syswrite(request([ @post, 'Content-Length: ' . length $gone ], $gone));
close $socket;
eventually($node, "SELECT count(*) = 1 FROM dtm.transactions WHERE gid = 'gone'");

# many connections, and too many
my @many = map { connection() } 1 .. 550;
is(ask('GET', '/api/ping')->{status}, 200, 'beside 550 idle connections');
push @many, grep { defined } map { connection() } 1 .. 100;
cmp_ok(metric_when_free(), '>', 0, 'those beyond the limit were refused');

sub metric_when_free
{
	close $_ for @many;
	for (1 .. 100)
	{
		my $value = eval { metric('dtm_gateway_connections_refused_total') };
		return $value if defined $value;
		select(undef, undef, undef, 0.1);
	}
	return 0;
}
is(stop_gateway(), 0, 'stopped');

# one address, one role
($http_port, $grpc_port) = start_gateway($node, '--max-connections-per-address', 3, '--rate', 5);
my @statuses = map { get('query?gid=x')->{status} } 1 .. 20;
ok((grep { $_ == 429 } @statuses), 'too many requests of a role');
ok((grep { $_ == 200 } @statuses), 'but not all of them are');
@many = map { connection() } 1 .. 5;
is(read_until($many[4]), '', 'too many connections of an address');
close $_ for @many;
is(stop_gateway(), 0, 'stopped');

# requests that are under way: of a role, over both protocols, and of an address
sql('CREATE ROLE other; GRANT dtm_user TO other; GRANT other TO dtm_gateway');
my @two = map { PostgreSQL::Test::Cluster::get_free_port() } 1 .. 2;
my $hba = PostgreSQL::Test::Utils::tempdir() . '/hba';
{ open(my $file, '>', $hba) or die $!; print $file "127.0.0.1:$two[0] all trust dtm_api\n127.0.0.1:$two[1] all trust other\n"; close $file; }
my @options = ('--hba', $hba, '--insecure', map { ('--listen', "127.0.0.1:$_") } @two);
my $waits = '{"gid":"waits%d","trans_type":"saga","wait_result":true,"steps":[{"action":"http://127.0.0.1:%d/","compensate":""}],"payloads":[""]}';
my $silent = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 10) or die $!;

# Requests that are not answered before their branch is.
sub start_waiting
{
	my ($n) = @_;
	my @sockets;

	for my $i (1 .. $n)
	{
		my $body = sprintf($waits, $i, $silent->sockport);
		my $socket = connection($two[0]);
		$socket->syswrite(request([ @post, 'Content-Length: ' . length $body ], $body));
		push @sockets, $socket;
	}
	for (1 .. 300) { last if (metric('dtm_gateway_waiters') // 0) >= $n; select(undef, undef, undef, 0.1); }
	is(metric('dtm_gateway_waiters'), $n, "$n requests wait");
	return @sockets;
}

start_gateway($node, @options, '--max-in-flight', 3);
my @waiting = start_waiting(3);
my $refused = get('query?gid=x');
is("$refused->{status} $refused->{headers}{'retry-after'}", '503 1', 'one more of the role');
like($refused->{content}, qr/of this role or address are under way/, 'is told why');
start_grpc_client("127.0.0.1:$two[0]");
is(grpc_call('Abort', message(1 => 'x', 2 => 'tcc'))->{code}, 14, 'UNAVAILABLE');
{ local $GatewayTest::port = $two[1]; is(get('query?gid=x')->{status}, 200, 'another role is not concerned'); }
close $_ for @waiting;
my $freed = 0;
for (1 .. 300) { $freed = get('query?gid=x')->{status} == 200 and last; select(undef, undef, undef, 0.1); }
ok($freed, 'those that have gone away do not count');
is(stop_gateway(), 0, 'stopped');

sql("SELECT dtm_force_stop('waits' || i) FROM generate_series(1, 3) i");
sql("DELETE FROM dtm.finished; DELETE FROM dtm.request r WHERE NOT EXISTS (SELECT FROM dtm.active a WHERE a.id = r.id)");
start_gateway($node, @options, '--max-in-flight-per-address', 2);
$waits =~ s/waits%d/again%d/;
@waiting = start_waiting(2);
{ local $GatewayTest::port = $two[1]; is(get('query?gid=x')->{status}, 503, 'the address is what counts then'); }
close $_ for @waiting;
is(stop_gateway(), 0, 'stopped');
sql("SELECT dtm_force_stop('again' || i) FROM generate_series(1, 2) i");

# a role whose requests make batches fail has a session of its own: the batches of
# others are not sent twice because of it
start_gateway($node, @options);
sub nonsense { return post('submit', { gid => "nonsense$_[0]", trans_type => 'none' })->{status}; }
is(nonsense(0), 500, 'an error');
is(nonsense(1), 500, 'and another');
is(metric('dtm_gateway_apart_total'), 0, 'who is alone is not kept apart');
{ local $GatewayTest::port = $two[1]; is(get('query?gid=x')->{status}, 200, 'another role'); }
is(nonsense(2), 500, 'an error');
my $repeated = metric('dtm_gateway_repeated_batches_total');
is(nonsense($_), 500, "error $_") for 3 .. 6;
cmp_ok(metric('dtm_gateway_apart_total'), '>=', 4, 'is kept apart');
is(metric('dtm_gateway_repeated_batches_total'), $repeated, 'no batch is sent twice any more');
is(post('submit', { gid => 'sense', trans_type => 'msg' })->{status}, 200, 'what has no error is done there, too');
{ local $GatewayTest::port = $two[1]; is(post('submit', { gid => 'sense2', trans_type => 'msg' })->{status}, 200, 'and of the other, as ever'); }
is(stop_gateway(), 0, 'stopped');
done_testing();
