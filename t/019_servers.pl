# Services as foreign servers: requests, credentials, and the effect of changes.  If this fails, a
# credential is sent to another service, or becomes visible.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use IPC::Run ();
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $key = 'an-hmac-key-of-some-length';
my $dir = PostgreSQL::Test::Utils::tempdir;

# an authority, a certificate of it for the service, one for the caller
sub openssl { system('openssl', @_) == 0 or die "openssl @_"; return; }
sub certificate
{
	my ($name, @more) = ($_[0], 'authorityKeyIdentifier=keyid', @_[1 .. $#_]);
	open my $null, '>', "$dir/ext" or die $!;
	print $null map { "$_\n" } @more;
	close $null;
	openssl(qw(req -newkey rsa:2048 -nodes -subj), "/CN=$name", '-keyout', "$dir/$name.key", '-out', "$dir/$name.csr", '-batch');
	openssl(qw(x509 -req -days 2 -CAcreateserial -in), "$dir/$name.csr", '-CA', "$dir/ca.pem", '-CAkey', "$dir/ca.key", '-out', "$dir/$name.pem", '-extfile', "$dir/ext");
	return;
}
openssl(qw(req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -addext), 'keyUsage=critical,keyCertSign', '-keyout', "$dir/ca.key", '-out', "$dir/ca.pem");
certificate('localhost', 'subjectAltName=DNS:localhost,IP:127.0.0.1');
certificate('app');

my $node = start_server('servers', conf => "dtm.retry_interval = '1h'\nlog_statement = none");
my ($busi, $grpc, $https) = start_participant('--grpc', '--https', "$dir/localhost.pem", "$dir/localhost.key", "$dir/ca.pem");
sql(<<SQL);
CREATE ROLE app LOGIN IN ROLE dtm_user;
CREATE ROLE other LOGIN IN ROLE dtm_user;
CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url '$busi/api/');
CREATE USER MAPPING FOR app SERVER bank OPTIONS (bearer_token 'secret-of-app', hmac_key '$key', header_x_api_key 'secret-key');
CREATE USER MAPPING FOR PUBLIC SERVER bank OPTIONS (header_x_api_key 'secret-of-all');
CREATE SERVER rpc FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'grpc://$grpc');
CREATE USER MAPPING FOR app SERVER rpc OPTIONS (bearer_token 'secret-of-app', hmac_key '$key');
CREATE SERVER tls FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url '$https', ca_file '$dir/ca.pem');
CREATE USER MAPPING FOR app SERVER tls OPTIONS (client_cert '$dir/app.pem', client_key '$dir/app.key');
CREATE SERVER slow FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url '$busi', request_timeout '300ms', connect_timeout '200ms');
SQL
sql("GRANT USAGE ON FOREIGN SERVER $_ TO app, other") for qw(bank rpc tls slow);

sub submit
{
	my ($role, $gid, $url, $more) = @_;
	$more = ", options => '$more'" if $more;
	sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$url', payload => '{\"amount\": 30}')], gid => '$gid'" . ($more || '') . ')',
		extra_params => [ '-U', $role ]);
	return;
}

# fails: its first call has ended with an error
sub error_of
{
	my ($gid) = @_;
	eventually($node, "SELECT count(*) > 0 FROM dtm.calls WHERE gid = '$gid'");
	return sql("SELECT error FROM dtm.calls WHERE gid = '$gid' ORDER BY started DESC LIMIT 1");
}

# what is sent, as whom
submit('app', 'http', 'server:bank/TransIn?x=1', '{"branch_headers": {"Authorization": "mine", "dtm-signature": "mine", "Host": "elsewhere", "X-Other": "yes"}}');
is(wait_for('http'), 'succeed', 'a server is called');
my ($call) = calls_of('http');
is($call->{path}, '/api/TransIn', 'at its base URL');
is($call->{query}{x}, '1', 'with the rest of the URL');
is($call->{headers}{Authorization}, 'Bearer secret-of-app', 'with its token, whatever the headers of the transaction');
is($call->{headers}{'x-api-key'}, 'secret-key', 'and header');
is($call->{headers}{'X-Other'}, 'yes', 'other headers stay');
like($call->{headers}{Host}, qr/^127\.0\.0\.1/, 'but for Host');
my @requests = ([ $call->{headers}{'Dtm-Signature'}, $call->{body}, 'http', '01', 'action' ]);
submit('other', 'public', 'server:bank/TransIn');
wait_for('public');
($call) = calls_of('public');
ok(!exists $call->{headers}{Authorization} && !exists $call->{headers}{'Dtm-Signature'}, 'another role does not show these');
is($call->{headers}{'x-api-key'}, 'secret-of-all', 'but what PUBLIC has');

# the other protocols
submit('app', 'jsonrpc', 'server:bank/rpc?method=transIn', '{"protocol": "json-rpc"}');
eventually($node, "SELECT count(*) > 0 FROM dtm.calls WHERE gid = 'jsonrpc'");
($call) = grep { $_->{path} eq '/api/rpc' } calls_of();
is($call->{headers}{Authorization}, 'Bearer secret-of-app', 'JSON-RPC');
push @requests, [ $call->{headers}{'Dtm-Signature'}, $call->{body}, 'jsonrpc', '01', 'action' ];
submit('app', 'grpc', 'server:rpc/bank.Bank/TransIn');
is(wait_for('grpc'), 'succeed', 'gRPC');
($call) = calls_of('grpc');
is($call->{headers}{authorization}, 'Bearer secret-of-app', 'its metadata');
push @requests, [ $call->{headers}{'dtm-signature'}, $call->{body}, 'grpc', '01', 'action' ];

# signatures, in SQL and in the languages of the documentation
my @cases;
for my $request (@requests)
{
	my ($signature, $body, $gid, $branch, $op) = @$request;
	like($signature, qr/^t=\d+,v1=[0-9a-f]{64}$/, "$gid is signed");
	push @cases, [ @$request, $key, 'true' ], [ $signature, "$body ", $gid, $branch, $op, $key, 'false' ],
	  [ $signature, $body, $gid, $branch, 'compensate', $key, 'false' ], [ $signature, $body, $gid, $branch, $op, "$key.", 'false' ],
	  [ 't=1' . substr($signature, 2), $body, $gid, $branch, $op, $key, 'false' ], [ 'v1=x', $body, $gid, $branch, $op, $key, 'false' ];
}
my $expected = join ' ', map { $_->[6] } @cases;
my $cases = JSON::PP->new->ascii->encode(\@cases);
is(sql("SELECT string_agg(dtm_verify_signature(c->>0, c->>5, c->>2, c->>3, c->>4, convert_to(c->>1, 'UTF8'))::text, ' ' ORDER BY n) FROM jsonb_array_elements(\$json\$$cases\$json\$) WITH ORDINALITY x(c, n)"),
	$expected, 'dtm_verify_signature()');

# the example of a language in docs/servers.md
sub example
{
	my ($language) = @_;
	my $text = slurp_file("$FindBin::RealBin/../docs/servers.md");
	return ($text =~ /^```$language\n(.*?)^```/ms)[0] || die "no example in $language";
}

sub run_example
{
	my ($program, $script) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ $program, '-' ], '<', \$script, '>', \$out, '2>', \$err) or diag $err;
	chomp $out;
	return $out;
}
my $quoted = JSON::PP->new->ascii->allow_nonref->encode($cases);
is(run_example('/usr/bin/python3', example('python') . "\nimport json\nprint(*[str(verify(c[0], c[5], c[2], c[3], c[4], c[1].encode())).lower() for c in json.loads($quoted)])\n"),
	$expected, 'the example in Python');
is(run_example('node', example('js') . "\nconsole.log(JSON.parse($quoted).map(c => verify(c[0], c[5], c[2], c[3], c[4], Buffer.from(c[1]))).join(' '));\n"),
	$expected, 'the example in JavaScript');

# certificates
submit('app', 'tls', 'server:tls/TransIn');
is(wait_for('tls'), 'succeed', 'a service that wants to see a certificate');
is((calls_of('tls'))[0]{client}, 'app', 'sees that of the role');
submit('other', 'no-tls', 'server:tls/TransIn');
like(error_of('no-tls'), qr/alert|certificate|SSL|reset|Send failure|Empty reply/i, 'a role without one is not let in');
submit('app', 'tls-again', 'server:tls/TransIn');
is(wait_for('tls-again'), 'succeed', 'nor does the one go on the connection of the other');
sql("SELECT dtm_retry_now('no-tls')");
eventually($node, "SELECT count(*) >= 2 FROM dtm.calls WHERE gid = 'no-tls'");
is(scalar(calls_of('no-tls')), 0, 'nor the other on that of the one');
sql("ALTER SERVER tls OPTIONS (DROP ca_file)");
submit('app', 'unknown-ca', 'server:tls/TransIn');
like(error_of('unknown-ca'), qr/certificate/i, 'its authority is the server\'s option');

# times
reply('/slow', { delay => 30 });
submit('app', 'slow', 'server:slow/slow');
like(error_of('slow'), qr/timed out after \d+ ms/, 'request_timeout of a server');

# changes count at the next call
reply('/api/changing', { status => 500 });
submit('app', 'changing', 'server:bank/changing');
error_of('changing');
sql("ALTER USER MAPPING FOR app SERVER bank OPTIONS (SET bearer_token 'secret-two')");
sql("SELECT dtm_retry_now('changing')");
is(wait_for('changing'), 'succeed', 'a changed secret');
is((calls_of('changing'))[1]{headers}{Authorization}, 'Bearer secret-two', 'is used at once');

# only servers; what was submitted before is asked, too
reply('/plain', { status => 500 });
submit('app', 'plain', "$busi/plain");
error_of('plain');
$node->append_conf('postgresql.conf', "dtm.allowed_targets = 'servers'");
$node->reload;
ok(eventually($node, 'SHOW dtm.allowed_targets', 'servers'), 'dtm.allowed_targets = servers');
my ($rc, $out, $err) = $node->psql('postgres', "SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/plain')])");
like($err, qr/permits foreign servers only.*\n.*\n.*server:name\/path/, 'a submit is refused');
($rc, $out, $err) = $node->psql('postgres', "SELECT dtm_subscribe('topic', '$busi/plain')");
like($err, qr/permits foreign servers only/, 'a subscription, too');
sql("SELECT dtm_retry_now('plain')");
ok(eventually($node, "SELECT error FROM dtm.calls WHERE gid = 'plain' ORDER BY started DESC LIMIT 1", 'dtm.allowed_targets permits foreign servers only'),
	'what is stored is not called');
is(scalar(calls_of('plain')), 1, 'indeed');
submit('app', 'still', 'server:bank/TransIn');
is(wait_for('still'), 'succeed', 'servers are');
$node->append_conf('postgresql.conf', "dtm.allowed_targets = 'any'");
$node->reload;
ok(eventually($node, 'SHOW dtm.allowed_targets', 'any'), 'any again');
sql("SELECT dtm_retry_now('plain')");
is(wait_for('plain'), 'succeed', 'and it goes on');

# an address that is forbidden is forbidden for servers, too
$node->append_conf('postgresql.conf', "dtm.forbidden_addresses = 'loopback'");
$node->reload;
eventually($node, 'SHOW dtm.forbidden_addresses', 'loopback');
submit('app', 'forbidden', 'server:bank/TransIn');
like(error_of('forbidden'), qr/forbidden by dtm\.forbidden_addresses/, 'forbidden addresses');

# nothing of it shows
my $shown = sql('SELECT t::text FROM dtm.transactions t UNION ALL SELECT b::text FROM dtm.branches b UNION ALL SELECT c::text FROM dtm.calls c UNION ALL SELECT a::text FROM pg_stat_activity a WHERE pid <> pg_backend_pid() UNION ALL SELECT r::text FROM dtm.request r');
unlike($shown, qr/secret-|$key/, 'no secret in views and tables');
unlike(slurp_file($node->logfile), qr/secret-|$key/, 'nor in the log');
unlike(sql('SELECT umoptions FROM pg_user_mappings', extra_params => [ '-U', 'other' ]), qr/secret-of-app|$key/, 'nor to another role');

done_testing();
