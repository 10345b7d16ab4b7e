# Who is which role at the gateway: gateway.hba, tokens, certificates, TLS.  If
# this fails, a client does as another what it may not do itself.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use GatewayTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $program = gateway_program();
my $node = start_server('gateway_access');
my $folder = PostgreSQL::Test::Utils::tempdir();
my $msg = { trans_type => 'msg' };

sub hba
{
	my ($text) = @_;

	write_file('hba', $text);
	return ('--hba', "$folder/hba");
}

sub write_file
{
	my ($name, $text) = @_;

	open(my $file, '>', "$folder/$name") or die $!;
	print $file $text;
	close $file;
	return;
}

# What the gateway says when it does not start.
sub complaint
{
	my (@options) = @_;
	my ($out, $err);

	IPC::Run::run([ $program, @options ], '>', \$out, '2>', \$err, IPC::Run::timeout(60));
	return $err;
}

sub submitted_by { return sql("SELECT submitted_by FROM dtm.transactions WHERE gid = '$_[0]'"); }

# the gateway's own role can do no more than ask for its clients
sql('CREATE ROLE shop LOGIN IN ROLE dtm_user; CREATE ROLE office LOGIN IN ROLE dtm_user; CREATE ROLE stranger LOGIN IN ROLE dtm_user; ALTER ROLE dtm_gateway LOGIN; GRANT shop, office TO dtm_gateway');
my $conninfo = 'user=dtm_gateway dbname=postgres host=' . $node->host . ' port=' . $node->port;
my @ports = map { PostgreSQL::Test::Cluster::get_free_port() } 1 .. 2;
my @listen = map { ('--listen', "127.0.0.1:$_") } @ports;

sub start { my (@options) = @_; start_gateway($node, '--conninfo', $conninfo, @listen, @options); return; }
sub at { my ($port, @rest) = @_; local $GatewayTest::port = $ports[$port]; return ask(@rest); }
sub submit { my ($port, $gid, %headers) = @_; return at($port, 'POST', '/api/dtmsvr/submit', { %$msg, gid => $gid }, %headers); }

# by listener: the first line that fits
start(hba("# a comment\n127.0.0.1:$ports[0]  127.0.0.1/32  trust  shop\nall 127.0.0.0/8 trust office\nall all reject -\n"));
is(submit(0, 'h1')->{status}, 200, 'the first port') or diag gateway_log();
is(submitted_by('h1'), 'shop', 'is shop');
is(submit(1, 'h2')->{status}, 200, 'the second port');
is(submitted_by('h2'), 'office', 'is office');
is(at(1, 'GET', '/api/dtmsvr/query?gid=h1')->{json}{transaction}, undef, 'which does not see shop\'s');
is(submit(1, 'h1')->{status}, 409, 'nor take its gid');
is(stop_gateway(), 0, 'stopped');

# a listener that lets nobody in, and a line for one that there is not
start(hba("127.0.0.1:$ports[0] all bearer -\n127.0.0.1:1 all bearer -\n"));
gateway_logs(qr/a line of gateway\.hba is for 127\.0\.0\.1:1, on which the gateway does not listen/);
like(gateway_log(), qr/warning: no client can use 127\.0\.0\.1:$ports[1]: no line of gateway\.hba lets one in/, 'a listener without a line is named');
unlike(gateway_log(), qr/no client can use 127\.0\.0\.1:$ports[0]/, 'one with a line is not');
hba("127.0.0.1:$ports[0] all reject -\nall all bearer -\n");
kill('HUP', gateway_pid());
gateway_logs(qr/configuration was read again.*no client can use 127\.0\.0\.1:$ports[0]: no line/s);
is(scalar(() = gateway_log() =~ /no client can use 127\.0\.0\.1:$ports[1]/g), 1, 'the other one can be used after the reload');
is(stop_gateway(), 0, 'stopped');

# a role that was not granted, one that may not use dtm, none
start(hba("127.0.0.1:$ports[0] all trust stranger\nall all trust nobody\n"), '--insecure');
my $response = submit(0, 'h3');
is($response->{status}, 403, 'a role that the gateway can\'t be');
like($response->{json}{message}, qr/role "stranger" has not been granted to the gateway's role "dtm_gateway"/, 'is said');
is(submit(1, 'h3')->{status}, 403, 'a role that does not exist');
is(at(1, 'POST', '/api/json-rpc', { jsonrpc => '2.0', id => 'x', method => 'submit', params => { %$msg, gid => 'h3' } })->{status}, 403, 'the same with JSON-RPC');
is(stop_gateway(), 0, 'stopped');

# tokens
start(hba("127.0.0.1:$ports[0] all bearer -\nall 127.0.0.1 reject -\n"));
my $token = sql("SELECT dtm_create_token('office', note => 'test')");
$response = submit(0, 't1');
is($response->{status}, 401, 'no token');
is($response->{headers}{'www-authenticate'}, 'Bearer', 'says how');
is(submit(0, 't1', Authorization => "Bearer x$token")->{status}, 401, 'a wrong token');
is(submit(0, 't1', Authorization => "Basic $_")->{status}, 401, "malformed: $_") for '', 'x', '====', 'eHg=';
is(submit(0, 't1', Authorization => "Bearer $token")->{status}, 200, 'a bearer');
is(submitted_by('t1'), 'office', 'is its role');
require MIME::Base64;
is(submit(0, 't2', Authorization => 'Basic ' . MIME::Base64::encode("user:$token", ''))->{status}, 200, 'as a password');
is(at(0, 'POST', "/t/$token/api/dtmsvr/submit", { %$msg, gid => 't3' })->{status}, 200, 'in the path');
is(at(0, 'GET', "/t/$token/api/dtmsvr/query?gid=t3")->{json}{transaction}{gid}, 't3', 'of a query, too');
is(at(0, 'POST', "/t/x/api/dtmsvr/submit", { %$msg, gid => 't4' })->{status}, 401, 'a wrong one there');
my $rpc = { jsonrpc => '2.0', id => 'x', method => 'submit', params => { %$msg, gid => 't4' } };
for my $headers ({}, { Authorization => "Bearer x$token" })
{
	my $answer = at(0, 'POST', '/api/json-rpc', $rpc, %$headers);
	is("$answer->{status} $answer->{json}{error}{code} $answer->{headers}{'www-authenticate'}", '401 -32603 Bearer', 'JSON-RPC without a token that is one');
}
is(at(0, 'GET', '/api/ping')->{status}, 200, 'a ping needs none');
is(at(1, 'GET', '/api/ping')->{status}, 599, 'the other port is closed to us');
start_grpc_client("127.0.0.1:$ports[0]");
is(grpc_call('Submit', message(1 => 't5', 2 => 'msg'))->{code}, 16, 'UNAUTHENTICATED');
is(grpc_call('Submit', message(1 => 't5', 2 => 'msg'), metadata => { authorization => "Bearer $token" })->{code}, 0, 'and with a token');
sql("SELECT dtm_revoke_token(id) FROM dtm.api_tokens WHERE note = 'test'");
is(submit(0, 't6', Authorization => "Bearer $token")->{status}, 401, 'a revoked one, at once');
unlike(gateway_log(), qr/$token/, 'no token in the log');
is(stop_gateway(), 0, 'stopped');

# tokens that somebody makes up do not use up what others may do
start('--rate', 5, hba("127.0.0.1:$ports[0] all bearer -\n"));
my $other = sql("SELECT dtm_create_token('shop', note => 'other')");
{
	my $http = HTTP::Tiny->new;
	my %statuses;
	$statuses{ $http->get("http://127.0.0.1:$ports[0]/api/dtmsvr/query?gid=x", { headers => { Authorization => "Bearer made-up-$_" } })->{status} }++ for 1 .. 600;
	is_deeply(\%statuses, { 401 => 600 }, '600 tokens that are none');
}
is(submit(0, 't7', Authorization => "Bearer $other")->{status}, 200, 'one that is has its own count');
is(submit(0, 't8', Authorization => "Bearer $other")->{status}, 200, 'and keeps it');
is(stop_gateway(), 0, 'stopped');

# TLS, with clients' certificates
sub openssl { run_log([ 'openssl', @_ ]) or die 'openssl failed'; return; }
my @new = qw(-newkey rsa:2048 -nodes -days 2);
openssl('req', '-x509', @new, '-keyout', "$folder/ca.key", '-out', "$folder/ca.crt", '-subj', '/CN=authority');
for my $who ('localhost', 'office')
{
	openssl('req', '-new', @new, '-keyout', "$folder/$who.key", '-out', "$folder/$who.csr", '-subj', "/CN=$who", '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1');
	openssl('x509', '-req', '-in', "$folder/$who.csr", '-CA', "$folder/ca.crt", '-CAkey', "$folder/ca.key", '-CAcreateserial', '-days', 2, '-copy_extensions', 'copy', '-out', "$folder/$who.crt");
}
openssl('req', '-x509', @new, '-keyout', "$folder/self.key", '-out', "$folder/self.crt", '-subj', '/CN=office');
my @tls = ('--cert', "$folder/localhost.crt", '--key', "$folder/localhost.key", '--ca', "$folder/ca.crt");
@listen = ('--listen', "127.0.0.1:$ports[0]/tls", '--listen', "127.0.0.1:$ports[1]/tls");
start(hba("127.0.0.1:$ports[0]/tls all cert map=cn\nall 127.0.0.1/32 trust shop\n"), @tls);

sub curl
{
	my ($port, $path, @options) = @_;
	my ($out, $err);

	IPC::Run::run([ 'curl', '-s', '--cacert', "$folder/ca.crt", '-w', ' %{http_code} %{http_version}', @options, "https://localhost:$ports[$port]$path" ], '>', \$out, '2>', \$err);
	return $out;
}
my @certificate = ('--cert', "$folder/office.crt", '--key', "$folder/office.key");
SKIP:
{
	skip 'no curl', 7 unless `curl -V 2>/dev/null`;
	like(curl(1, '/api/ping', '--http1.1'), qr/pong"\} 200 1\.1$/, 'TLS with HTTP/1.1');
	like(curl(1, '/api/ping', '--http2'), qr/pong"\} 200 2$/, 'and with HTTP/2');
	like(curl(1, '/api/dtmsvr/submit', '-d', '{"gid":"c1","trans_type":"msg"}'), qr/ 200/, 'a submit');
	is(submitted_by('c1'), 'shop', 'as the role of the line');
	like(curl(0, '/api/dtmsvr/submit', '-d', '{"gid":"c2","trans_type":"msg"}'), qr/ 401/, 'without a certificate');
	like(curl(0, '/api/dtmsvr/submit', @certificate, '-d', '{"gid":"c2","trans_type":"msg"}'), qr/ 200/, 'with one');
	is(submitted_by('c2'), 'office', 'as its CN');
	like(curl(0, '/api/dtmsvr/submit', '--cert', "$folder/self.crt", '--key', "$folder/self.key", '-d', '{"gid":"c3","trans_type":"msg"}'), qr/ (000|401)/, 'with one of its own making');
	like(curl(1, '/api/dtmsvr/submit', '-d', '{"gid":"c4","trans_type":"msg","x":"' . 'x' x 100000 . '"}'), qr/ 200/, 'a body of several records');
}
start_grpc_client("localhost:$ports[1]", "$folder/ca.crt");
is(grpc_call('Submit', message(1 => 'c5', 2 => 'msg'))->{code}, 0, 'gRPC over TLS');
my $answers = grpc_call('NewGid', '', times => 300);
is(scalar(grep { $_->{code} == 0 } @$answers), 300, '300 streams at once');
my $plain = GatewayTest::raw("GET /api/ping HTTP/1.1\r\nHost: localhost\r\n\r\n", $ports[1]);
unlike($plain, qr/pong/, 'nothing in clear');
is(stop_gateway(), 0, 'stopped');

# what is refused at the start
like(complaint(hba('all all trust shop')), qr/lets others than this machine be role "shop" without a proof/, 'trust for all');
like(complaint(hba("all 10.0.0.0/8 trust shop\n")), qr/--insecure/, 'trust for a network');
like(complaint(hba("\n\nall all magic shop\n")), qr/line 3: unknown method/, 'an unknown method');
like(complaint(hba("all 10.0.0.0/33 trust shop\n")), qr/line 1: malformed address/, 'a malformed address');
like(complaint(hba("all 127.0.0.1/x trust shop\n")), qr/line 1: malformed address/, 'a malformed mask');
like(complaint(hba("all all trust\n")), qr/line 1: trust needs a role/, 'no role');
like(complaint(hba("all all cert map=cn\n")), qr/has the method cert, which needs --ca/, 'certificates of nobody');
like(complaint(hba("all all bearer shop\n")), qr/line 1: this method has no role/, 'a role too many');
like(complaint(hba("all all\n")), qr/line 1: a line is/, 'half a line');
like(complaint('--hba', "$folder/none"), qr/could not read/, 'no file');
like(complaint('--listen', '127.0.0.1:0/tls'), qr/needs --cert and --key/, 'TLS without a certificate');
like(complaint('--listen', '127.0.0.1:0/tls', '--cert', "$folder/hba", '--key', "$folder/hba"), qr/could not load certificate/, 'a certificate that is none');
like(complaint('--listen', '127.0.0.1:0', $_, '127.0.0.1:99999'), qr/malformed address "127.0.0.1:99999"/, "a port that is none, of $_") for '--listen', '--page';
like(complaint('--listen', 'nonsense'), qr/malformed address "nonsense"/, 'an address that is none');
like(complaint('--sessions', 'many'), qr/--sessions is "many"; it is a number from 1 to 64/, 'a number that is none');
like(complaint('--unknown'), qr/unknown option "--unknown"/, 'an unknown option');
like(complaint('word'), qr/unknown argument "word"/, 'an unknown argument');
like(complaint('--conninfo'), qr/needs a value/, 'an option without its value');
my ($out, $err);
IPC::Run::run([ $program, '--help' ], '>', \$out);
like($out, qr/--conninfo=STRING.*--listen=HOST:PORT.*DTM_GATEWAY_CONNINFO/s, '--help');
IPC::Run::run([ $program, '--version' ], '>', \$out);
like($out, qr/^dtm-gateway \d+\.\d+\.\d+$/, '--version');

# the file and the environment
write_file('config', "# a comment\n\nlog-level = error\nsessions = 3\nlisten = 127.0.0.1:1\n");
@listen = map { ('--listen', "127.0.0.1:$_") } @ports;
{
	local $ENV{DTM_GATEWAY_SESSIONS} = 1;
	local $ENV{DTM_GATEWAY_LOG_LEVEL} = 'info';
	local $ENV{DTM_GATEWAY_SESSOINS} = 1;
	local $ENV{DTM_GATEWAY_SERVICE_HOST} = '10.0.0.1';
	start('--config', "$folder/config");
	is(at(0, 'GET', '/api/dtmsvr/query?gid=x')->{status}, 200, 'options of a file');
	for (1 .. 300) { last if metric('dtm_gateway_sessions') >= 3; select(undef, undef, undef, 0.1); }
	is(metric('dtm_gateway_sessions'), 3, 'the environment comes before the file');
	is(join(' ', gateway_log() =~ /no option for the variable "(\w+)"/g), 'DTM_GATEWAY_SESSOINS', 'a variable that is no option is told, one of Kubernetes is not');
	is(stop_gateway(), 0, 'stopped');
}

# a database without the extension
$node->safe_psql('postgres', 'CREATE DATABASE other');
start_gateway($node, '--conninfo', $conninfo =~ s/dbname=\w+/dbname=other/r, @listen);
gateway_logs(qr/session with PostgreSQL is down: database "other" does not have the extension dtm\n/);
is(submit(0, 'h-other')->{status}, 503, 'a database without the extension is not available, and the log says why');
is(stop_gateway(), 0, 'stopped');

write_file('config', "sessions = 2\nnonsense = 1\n");
like(complaint('--config', "$folder/config"), qr/unknown option "nonsense"/, 'an unknown option in the file');
done_testing();
