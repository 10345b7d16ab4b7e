# Calls: many at a time, to slow and dead hosts, and with harmful responses.  If this fails, one
# participant can block the others, or the server.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use IO::Socket::INET;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('transport', conf => <<'CONF');
dtm.retry_interval = '200ms'
max_prepared_transactions = 2
dtm.max_requests = 80
dtm.max_requests_per_host = 8
dtm.max_reply_size = '64kB'
CONF
my $busi = start_participant();
eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'running');

# A socket that accepts connections and never answers.
my $dead = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 500, Proto => 'tcp') or die;
my $dead_url = 'http://127.0.0.1:' . $dead->sockport;

# a host that does not answer has its share of calls, and no more
sql("SELECT count(dtm_submit('msg', ARRAY[dtm_step('$dead_url/')], gid => 'dead' || n, options => '{\"request_timeout\": 300}')) FROM generate_series(1, 500) n");
ok(eventually($node, 'SELECT in_flight FROM dtm.stat_coordinator', '7'), 'calls to a dead host stop at the limit');
sql("SELECT count(dtm_submit('msg', ARRAY[dtm_step('$busi/live')], gid => 'live' || n)) FROM generate_series(1, 100) n");
ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'live%' AND status = 'succeed'", '100'),
	'other hosts are called meanwhile');
is(sql('SELECT in_flight FROM dtm.stat_coordinator'), '7', 'the dead ones still wait');
sql("SELECT count(dtm_force_stop(gid)) FROM dtm.transactions WHERE gid LIKE 'dead%'");
ok(eventually($node, 'SELECT loaded FROM dtm.stat_coordinator', '0'), 'stopped, they leave memory');

# as many at a time as the limits allow, but for what is left to other roles
sql("SELECT count(dtm_submit('msg', ARRAY[dtm_step('$busi/slow?delay=2')], gid => 'slow' || n)) FROM generate_series(1, 60) n");
ok(eventually($node, 'SELECT in_flight, queued FROM dtm.stat_coordinator', '7|53'), 'the per-host limit holds, the rest waits');
$node->append_conf('postgresql.conf', 'dtm.max_requests_per_host = 60');
$node->reload;
ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'slow%' AND status = 'succeed'", '60'), 'all are called');

sub outcome
{
	my ($gid, $url, $options) = @_;
	sql("SELECT dtm_submit('saga', ARRAY[dtm_step('$url', '')], gid => '$gid', options => '{\"retry_limit\": 1" . ($options || '') . "}')");
	wait_for($gid);
	return sql("SELECT result, coalesce(http_status, 0), coalesce(error, '-') FROM dtm.calls WHERE gid = '$gid' ORDER BY started LIMIT 1");
}

like(outcome('nobody', 'http://127.0.0.1:1/'), qr/^ERROR\|0\|.*onnect/, 'refused: the error says so');
like(outcome('no-name', 'http://no-such-host.invalid/'), qr/^ERROR\|0\|.*resolve/, 'a name that is not known');
like(outcome('timeout', "$busi/x?delay=30", ', "request_timeout": 0.2'), qr/^ERROR\|0\|.*timed out/, 'request_timeout');
like(outcome('tls', "https://127.0.0.1:" . participant_port() . '/'), qr/^ERROR\|0\|.*(SSL|TLS)/, 'no TLS there');
reply('/long', { body => 'x' x 70000 }, { body => 'x' x 70000 });
like(outcome('long', "$busi/long"), qr/^ERROR\|0\|response is longer than 65536 bytes/, 'a long reply is cut off');
reply('/redirect', ({ status => 302, headers => { Location => "$busi/elsewhere" } }) x 2);
is(outcome('redirect', "$busi/redirect"), 'ERROR|302|null', 'redirects are not followed');
is(scalar(grep { $_->{path} eq '/elsewhere' } calls_of()), 0, 'really not');
reply('/half', ({ half => JSON::PP::true }) x 2);
like(outcome('half', "$busi/half"), qr/^ERROR\|0\|./, 'half a reply is none');
reply('/nul', ({ status => 500, body => "a\0b" }) x 2);
is(outcome('nul', "$busi/nul"), 'ERROR|500|a b', 'NUL bytes do not reach a text column');

# invalid UTF-8, from a participant of the rawest kind
my $raw = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5, Proto => 'tcp') or die;
my $raw_url = 'http://127.0.0.1:' . $raw->sockport . '/';
sql("SELECT dtm_submit('saga', ARRAY[dtm_step('$raw_url', '')], gid => 'raw')");
{
	my $client = $raw->accept;
	sysread $client, my $request, 4096;
	syswrite $client, "HTTP/1.1 409 Conflict\r\nContent-Length: 6\r\nX-Nul: a\r\n\r\nno\xff\xfe\xc3!";
	close $client;
}
is(sql("SELECT dtm_wait('raw', '180 s')"), 'failed', 'a refusal in bad UTF-8 is a refusal');
is(sql("SELECT rollback_reason FROM dtm.transactions WHERE gid = 'raw'"),
	"url:$raw_url return failed: no???! FAILURE", 'with what can be kept of it');

# what is asked of whom, for each form that a URL may have
sub request_for
{
	my ($gid, $url) = @_;
	my $request = '';
	sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$url')], gid => '$gid')");
	my $client = $raw->accept;
	sysread($client, $request, 4096, length $request) or die while $request !~ /\r\n\r\n/;
	syswrite $client, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
	close $client;
	wait_for($gid);
	my ($target) = $request =~ /^GET (\S+) HTTP/;
	my ($host) = $request =~ /^Host: *(\S+)\r$/mi;
	my ($authorization) = $request =~ /^Authorization: *(.*?)\r$/mi;
	$host =~ s/:\d+$//;
	$target =~ s/\bbranch_id=01&gid=\Q$gid\E&op=action&trans_type=msg$/.../;
	return join ' ', $host, $target, $authorization // ();
}

my $port = $raw->sockport;
is(request_for('url-path', "http://127.0.0.1:$port/a/b"), '127.0.0.1 /a/b?...', 'a path');
is(request_for('url-query', "http://127.0.0.1:$port/a?x=1%20y&z="), '127.0.0.1 /a?x=1%20y&z=&...', 'a query');
is(request_for('url-bare', "http://127.0.0.1:$port"), '127.0.0.1 /?...', 'no path');
is(request_for('url-bare-query', "http://127.0.0.1:$port?x=/."), '127.0.0.1 /?x=/.&...', 'a query without a path');
is(request_for('url-fragment', "http://127.0.0.1:$port/a#b?c"), '127.0.0.1 /a?...', 'a fragment is not sent');
is(request_for('url-dots', "http://127.0.0.1:$port/a/../b/./c.d/..e"), '127.0.0.1 /b/c.d/..e?...', 'dots in a path are followed');
is(request_for('url-user', "http://ann:p%40ss\@127.0.0.1:$port/a"), '127.0.0.1 /a?... Basic YW5uOnBAc3M=', 'a user');
is(request_for('url-nobody', "http://127.0.0.1:$port/a"), '127.0.0.1 /a?...', '... who is forgotten');
is(request_for('url-case', "HTTP://LocalHost:$port/Path%2fA"), 'localhost /Path%2fA?...', 'upper case');
is(request_for('url-encoded-host', "http://127.0.0.%31:$port/a"), '127.0.0.1 /a?...', 'an encoded host');
is(lc request_for('url-utf8', "http://127.0.0.1:$port/caf\xc3\xa9"), '127.0.0.1 /caf%c3%a9?...', 'what is not ASCII, in digits of either case');

# replies that arrive while the coordinator is held up are no time-outs
my $fresh = 'http://localhost:' . participant_port();	# of which nothing is known
reply({ path => '/stalled', forever => 1 }, { hold => 1 });
sql("SELECT count(dtm_submit('msg', ARRAY[dtm_step('$fresh/stalled')], gid => 'stalled' || n, options => '{\"request_timeout\": 4}')) FROM generate_series(1, 5) n");
ok(eventually($node, "SELECT in_flight FROM dtm.stat_coordinator", '5'), '5 calls are under way');
sql("BEGIN; LOCK TABLE dtm.active; PREPARE TRANSACTION 'stall'");
release_replies();
ok(eventually($node, "SELECT wait_event_type = 'Lock' AND clock_timestamp() > query_start + interval '5 s' FROM pg_stat_activity WHERE backend_type = 'dtm coordinator'"),
	'the coordinator is held up for longer than their time-out');
sql("ROLLBACK PREPARED 'stall'");
ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'stalled%' AND status = 'succeed'", '5'), 'all succeed');
is(scalar(grep { $_->{path} eq '/stalled' } calls_of()), 5, 'each was called once');

# nor are those that come a moment later, since everybody was held up
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$fresh/paused?delay=2')], gid => 'paused', options => '{\"request_timeout\": 1}')");
ok(eventually($node, "SELECT in_flight FROM dtm.stat_coordinator", '1'), 'a call is under way');
my $since = sql('SELECT clock_timestamp()');
my $pid = sql('SELECT pid FROM dtm.stat_coordinator');
kill 'STOP', $pid;
eventually($node, "SELECT clock_timestamp() > timestamptz '$since' + interval '1.7 s'");
kill 'CONT', $pid;
is(sql("SELECT dtm_wait('paused', '180 s')"), 'succeed', 'the reply comes after the time-out, and counts');
is(scalar(grep { $_->{path} eq '/paused' } calls_of()), 1, 'it was called once');

# what becomes due has its turn ...
sub submit_due
{
	my ($gid) = @_;
	clear_participant();
	sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/due')], gid => '$gid', options => '{\"delay\": 1}')");
	eventually($node, 'SELECT loaded FROM dtm.stat_coordinator', '0');
	return;
}

# How many calls came after it.
sub calls_after_due
{
	my ($gid) = @_;
	is(wait_for($gid), 'succeed', "$gid was called");
	my @paths = map { $_->{path} } calls_of();
	my ($position) = grep { $paths[$_] eq '/due' } 0 .. $#paths;
	return $#paths - $position;
}

# ... however much is submitted after that
{
	my $other = $busi =~ s/127\.0\.0\.1/localhost/r;
	submit_due('due-flood');
	my $since = sql('SELECT clock_timestamp()');
	for my $flood (1, 2)
	{
		sql("DO 'BEGIN FOR n IN 1 .. 3000 LOOP PERFORM dtm_submit(''msg'', ARRAY[dtm_step(''$busi/flood?delay=0.05'')], gid => ''flood$flood-'' || n); COMMIT; END LOOP; END'");
		eventually($node, "SELECT clock_timestamp() > timestamptz '$since' + interval '1 s'");
		# the coordinator has had a turn since, however slow the machine is: it is another host
		sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$other/turn')], gid => 'turn$flood')");
		wait_for("turn$flood");
	}
	ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'flood%' AND status = 'succeed'", '6000'), 'a flood of submits');
	cmp_ok(calls_after_due('due-flood'), '>', 500, 'in the middle of it, what became due was called');
}

# ... and where what is in memory leaves little room, for long
{
	submit_due('due-long');
	sql("SELECT count(dtm_submit('msg', array_fill(dtm_step('$busi/long-one?delay=0.05'), ARRAY[50]), gid => 'long-one' || n)) FROM generate_series(1, 40) n");
	ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'long-one%' AND status = 'succeed'", '40'), 'long ones');
	cmp_ok(calls_after_due('due-long'), '>', 500, 'in the middle of them, what became due was called');
}

# connections are kept
clear_participant();
sql("SELECT dtm_submit('msg', array_fill(dtm_step('$busi/kept'), ARRAY[50]), gid => 'kept')");
is(sql("SELECT dtm_wait('kept', '180 s')"), 'succeed', '50 calls, one after the other');

# TLS, with a certificate that nobody vouches for
SKIP:
{
	my $dir = PostgreSQL::Test::Utils::tempdir;
	skip 'no openssl', 1
	  if system("openssl req -x509 -newkey rsa:2048 -nodes -keyout $dir/key.pem -out $dir/cert.pem -days 1 -subj /CN=localhost >/dev/null 2>&1") != 0;
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	my ($in, $out) = ('', '');
	my $server = IPC::Run::start([ 'openssl', 's_server', '-accept', "127.0.0.1:$port", '-www', '-key', "$dir/key.pem", '-cert', "$dir/cert.pem" ],
		'<', \$in, '>&', \$out);
	IPC::Run::pump($server) until $out =~ /ACCEPT/;
	like(outcome('untrusted', "https://127.0.0.1:$port/"), qr/^ERROR\|0\|.*certificate/, 'an untrusted certificate is refused');
	$server->kill_kill;
}

# no descriptors or memory are left behind
ok(eventually($node, 'SELECT loaded, in_flight, queued FROM dtm.stat_coordinator', '0|0|0'), 'nothing is left');
is(sql('SELECT state, errors FROM dtm.stat_coordinator'), 'running|0', 'and nothing went wrong');

done_testing();
