# Hostile responses.  If this fails, a participant can stop the coordinator, fill its memory, or
# redirect its calls.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use HTTP::Tiny;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('hostile', conf => <<'CONF');
dtm.retry_interval = 1h
dtm.request_timeout = 3s
dtm.max_reply_size = 64kB
log_min_messages = warning
CONF
my ($in, $out) = ('', '');
my $participant = IPC::Run::start([ '/usr/bin/python3', "$FindBin::RealBin/../test/hostile.py" ],
	'<', \$in, '>', \$out, IPC::Run::timeout(300));
IPC::Run::pump($participant) until $out =~ /\n/;
my ($port) = $out =~ /(\d+)/;
my $url = "http://127.0.0.1:$port";

eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'running');
my $pid = sql('SELECT pid FROM dtm.stat_coordinator');

# What each is taken for: the result of the call, its status, and what dtm.calls says.
my %expected = (
	'endless-body' => [ 'ERROR', '', qr/^response is longer than 65536 bytes$/ ],
	'endless-chunks' => [ 'ERROR', '', qr/^response is longer than 65536 bytes$/ ],
	'endless-headers' => [ 'ERROR', '', qr/^response headers are longer than 65536 bytes$/ ],
	'endless-continue' => [ 'ERROR', '', qr/^response headers are longer than 65536 bytes$/ ],
	'endless-trailers' => [ 'ERROR', '', qr/^response headers are longer than 65536 bytes$/ ],
	'slow-body' => [ 'ERROR', '', qr{^timed out after \d+ ms$} ],
	'slow-headers' => [ 'ERROR', '', qr/^timed out after \d+ ms$/ ],
	'many-headers' => [ 'ERROR', '', qr/^response headers are longer than 65536 bytes$/ ],
	'long-header' => [ 'ERROR', '', qr/./ ],
	(map { $_->[0] => [ 'ERROR', '', qr/^reply has the Content-Encoding "$_->[1]", but identity was asked for$/ ] }
		[ 'bomb', 'gzip' ], [ 'gzip', 'gzip' ], [ 'x-gzip', 'X-GZip' ], [ 'deflate', 'deflate' ], [ 'gzip-chunked', 'gzip' ],
		[ 'half-gzip', 'gzip' ], [ 'not-gzip', 'gzip' ], [ 'brotli', 'br' ], [ 'zstd', 'zstd' ], [ 'utf-8', 'UTF-8' ],
		[ 'gzip-twice', 'gzip, gzip' ], [ 'gzip-two-headers', 'gzip' ], [ 'identity-gzip', 'gzip' ], [ 'endless-nothing', 'deflate' ]),
	'gzip-transfer' => [ 'ERROR', '', qr/^reply has the Transfer-Encoding "gzip, chunked", but chunked at most was asked for$/ ],
	'gzip-no-409' => [ 'FAILURE', '409', qr/^$/ ],
	'gzip-no-425' => [ 'ONGOING', '425', qr/^$/ ],
	'identity' => [ 'SUCCESS', '200', qr/^$/ ],
	'no-coding' => [ 'SUCCESS', '200', qr/^$/ ],
	'nul' => [ 'ERROR', '500', qr/^no luck $/ ],
	'not-utf8' => [ 'ERROR', '500', qr/^[?(]+$/ ],
	'status-line' => [ 'ERROR', '', qr/./ ],
	'no-http' => [ 'ERROR', '', qr/./ ],
	'nothing' => [ 'ERROR', '', qr/./ ],
	'lengths' => [ 'ERROR', '', qr/^reply has the Content-Length "99999999999999999999", which is no number$/ ],
	'lengths-large' => [ 'ERROR', '', qr/^reply has two different Content-Lengths, the second is 400$/ ],
	'lengths-small' => [ 'ERROR', '', qr/^reply has two different Content-Lengths, the second is [24]$/ ],
	'lengths-list' => [ 'ERROR', '', qr/^reply has the Content-Length "4, 5", which is no number$/ ],
	'lengths-status' => [ 'ERROR', '', qr/^reply has two different Content-Lengths, the second is 5$/ ],
	'lengths-same' => [ 'SUCCESS', '200', qr/^$/ ],
	'length-word' => [ 'ERROR', '', qr/^reply has the Content-Length "4x", which is no number$/ ],
	'length-sign' => [ 'ERROR', '', qr/^reply has the Content-Length "\+4", which is no number$/ ],
	'length-minus' => [ 'ERROR', '', qr/Content-Length/ ],
	'length-none' => [ 'ERROR', '', qr/Content-Length/ ],
	'length-folded' => [ 'ERROR', '', qr/^reply has a header on two lines that says where it ends$/ ],
	'length-chunked' => [ 'FAILURE', '200', qr/^\{"dtm_result": "FAILURE"\}$/ ],
	'length-interim' => [ 'SUCCESS', '200', qr/^$/ ],
	'bad-chunks' => [ 'ERROR', '', qr/./ ],
	'two-replies' => [ 'SUCCESS', '200', qr/^$/ ],
	'to-file' => [ 'ERROR', '307', qr/^$/ ],
	'to-metadata' => [ 'ERROR', '307', qr/^$/ ],
	'to-itself' => [ 'ERROR', '307', qr/^$/ ],
	'cookie' => [ 'SUCCESS', '200', qr/^$/ ],
);

# What a newer libcurl says of these, which it rejects before dtm sees the header.
my $by_libcurl = qr/^(Invalid Content-Length: value|Unsolicited Transfer-Encoding \(gzip\) found)$/;

sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$url/$_', payload => '{}')], gid => '$_')") for sort keys %expected;
ok(eventually($node, 'SELECT count(DISTINCT gid) FROM dtm.calls', scalar(keys %expected)), 'all are called and answered');
for my $gid (sort keys %expected)
{
	my ($result, $status, $error) = @{ $expected{$gid} };
	my ($got_result, $got_status, $got_error) = split /\|/, sql("SELECT result, http_status, error FROM dtm.calls WHERE gid = '$gid'"), 3;
	is("$got_result $got_status", "$result $status", "$gid: " . ($result eq 'SUCCESS' ? 'does no harm' : 'is an error'));
	$error = qr/$error|$by_libcurl/ if $result eq 'ERROR' && $gid =~ /^length|^gzip-transfer$/;
	like($got_error, $error, "$gid: what is said of it");
}
is(sql("SELECT max(length(error)) <= 1000 FROM dtm.calls"), 't', 'little of it is kept');

# what it was not sent to do
my $requests = HTTP::Tiny->new->get("$url/_requests")->{content};
unlike($requests, qr/elsewhere/, 'redirects are not followed');
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$url/ok', payload => '{}'), dtm_step('$url/ok', payload => '{}')], gid => 'after')");
is(sql("SELECT dtm_wait('after')"), 'succeed', 'others are served as ever');
unlike(HTTP::Tiny->new->get("$url/_requests")->{content}, qr/cookies/, 'cookies are not kept');

is(sql('SELECT pid FROM dtm.stat_coordinator'), $pid, 'the coordinator is the same');
{
	my $status = slurp_file("/proc/$pid/status");
	my ($memory) = $status =~ /RssAnon:\s+(\d+)/;
	cmp_ok($memory, '<', 100 * 1024, 'its memory is what it was');
}

# ---------- many large responses at a time ----------

sub memory
{
	return (slurp_file("/proc/$pid/status") =~ /RssAnon:\s+(\d+)/)[0];
}

$node->append_conf('postgresql.conf', "dtm.max_reply_size = 10MB\ndtm.request_timeout = 100s");
sql('SELECT pg_reload_conf()');
eventually($node, 'SHOW dtm.max_reply_size', '10MB');
{
	my $before = memory();
	# a name that has not been called yet: 10 calls may be in flight to it, 9 of them of one role
	my $fresh = "http://127.0.0.01:$port";
	my $other = "http://localhost:$port";
	sql("SELECT count(dtm_submit('msg', ARRAY[dtm_step('$fresh/held/10400000', payload => '{}')], gid => 'held-' || n)) FROM generate_series(1, 8) n");
	ok(eventually($node, 'SELECT in_flight FROM dtm.stat_coordinator', '8'), 'many responses of 10 MB are on their way');
	# which takes as long as it takes: all that may come has come when nothing more is read
	my $last = 0;
	my $same = 0;
	for (1 .. 600)
	{
		my $now = memory();
		$same = $now == $last ? $same + 1 : 0;
		$last = $now;
		last if $same >= 10 && $now > $before + 20 * 1024;
		eventually($node, "SELECT pg_sleep(0.1) IS NOT NULL");
	}
	note("memory: $before kB before, $last kB with these");
	# 3/4 of 64 MB, one more, and something for each call; all of them are 79 MB
	cmp_ok($last - $before, '<', 68 * 1024, 'they take no more memory than they may');
	sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$fresh/ok', payload => '{}')], gid => 'small-beside')");
	is(wait_for('small-beside'), 'succeed', 'a small response of the same host is not held up');
	sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$other/large/500000', payload => '{}')], gid => 'large-beside')");
	is(wait_for('large-beside'), 'succeed', 'nor a large one of another host');
	HTTP::Tiny->new->get("$url/_release");
	ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'held-%' AND status = 'succeed'", '8'), 'all of them go on when others have ended');
	is(sql("SELECT count(*), count(*) FILTER (WHERE result = 'SUCCESS') FROM dtm.calls WHERE gid LIKE 'held-%'"), '8|8', 'and each was called once');
}

# ---------- addresses that nobody is to be sent to ----------

sub alter
{
	my ($value) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', "ALTER SYSTEM SET dtm.forbidden_addresses = $value");
	sql('SELECT pg_reload_conf()');
	eventually($node, "SELECT current_setting('dtm.forbidden_addresses') = (SELECT setting FROM pg_file_settings WHERE name = 'dtm.forbidden_addresses' ORDER BY seqno DESC LIMIT 1)") if $rc == 0;
	return $err;
}

sub attempt
{
	my ($gid, $target) = @_;
	sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$target', payload => '{}')], gid => '$gid')");
	eventually($node, "SELECT count(*) FROM dtm.calls WHERE gid = '$gid'", '1');
	return sql("SELECT result, error FROM dtm.calls WHERE gid = '$gid'");
}

like(alter("'nonsense'"), qr/invalid value for parameter "dtm.forbidden_addresses": "nonsense".*"nonsense" is not an address, a network, loopback, link-local or private/s, 'a list that makes no sense is refused');
is(alter("'link-local, private, 192.0.2.0/24'"), '', 'a list');
# the server has just closed connections, and libcurl gives up if five of them are dead
for (1 .. 20) { last if attempt("loopback-0-$_", "$url/ok") eq 'SUCCESS|'; }
is(attempt('loopback-1', "$url/ok"), 'SUCCESS|', 'what is not on it can be called');
alter("'loopback, link-local'");
is(attempt('loopback-2', "$url/ok"), 'ERROR|address 127.0.0.1 is forbidden by dtm.forbidden_addresses', 'what is on it can not, on a connection that is there');
is(attempt('loopback-3', "http://127.0.0.1:1/"), 'ERROR|address 127.0.0.1 is forbidden by dtm.forbidden_addresses', 'nor on a new one');
like(attempt('loopback-4', "http://localhost:$port/ok"), qr/^ERROR\|address (127\.0\.0\.1|::1) is forbidden/, 'whatever name leads there');
like(attempt('loopback-5', "http://[::ffff:127.0.0.1]:$port/ok"), qr/^ERROR\|address ::ffff:127\.0\.0\.1 is forbidden/, 'or how it is written');
like(attempt('loopback-6', "http://0x7f000001:$port/ok"), qr/^ERROR\|address 127\.0\.0\.1 is forbidden/, 'or calculated');
like(attempt('metadata', 'http://169.254.169.254/latest/'), qr/^ERROR\|address 169\.254\.169\.254 is forbidden/, 'metadata of a cloud');
like(attempt('grpc', "grpc://127.0.0.1:$port/a.B/c"), qr/^ERROR\|address 127\.0\.0\.1 is forbidden/, 'over gRPC, too');
alter("''");
is(attempt('loopback-7', "$url/ok"), 'SUCCESS|', 'allowed again');

unlike(slurp_file($node->logfile), qr/TRAP|PANIC/, 'nothing is broken');
$participant->kill_kill;
done_testing();
