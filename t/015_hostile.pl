# Replies that are meant to hurt.  If this fails, a participant can stop the coordinator,
# fill its memory, or send it elsewhere.
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

sub sql { return $node->safe_psql('postgres', $_[0]); }

eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'running');
my $pid = sql('SELECT pid FROM dtm.stat_coordinator');

# What each is taken for: the result of the call, its status, and what dtm.calls says.
my %expected = (
	'endless-body' => [ 'ERROR', '', qr/^reply is longer than 65536 bytes$/ ],
	'endless-chunks' => [ 'ERROR', '', qr/^reply is longer than 65536 bytes$/ ],
	'endless-headers' => [ 'ERROR', '', qr/^headers of the reply are longer than 65536 bytes$/ ],
	'endless-continue' => [ 'ERROR', '', qr/^headers of the reply are longer than 65536 bytes$/ ],
	'endless-trailers' => [ 'ERROR', '', qr/^headers of the reply are longer than 65536 bytes$/ ],
	'slow-body' => [ 'ERROR', '', qr{^timed out after \d+ ms$} ],
	'slow-headers' => [ 'ERROR', '', qr/^timed out after \d+ ms$/ ],
	'many-headers' => [ 'ERROR', '', qr/^headers of the reply are longer than 65536 bytes$/ ],
	'long-header' => [ 'ERROR', '', qr/./ ],
	'bomb' => [ 'SUCCESS', '200', qr/^$/ ],
	'nul' => [ 'ERROR', '500', qr/^no luck $/ ],
	'not-utf8' => [ 'ERROR', '500', qr/^[?(]+$/ ],
	'status-line' => [ 'ERROR', '', qr/./ ],
	'no-http' => [ 'ERROR', '', qr/./ ],
	'nothing' => [ 'ERROR', '', qr/./ ],
	'lengths' => [ 'SUCCESS', '200', qr/^$/ ],
	'bad-chunks' => [ 'ERROR', '', qr/./ ],
	'two-replies' => [ 'SUCCESS', '200', qr/^$/ ],
	'to-file' => [ 'ERROR', '307', qr/^$/ ],
	'to-metadata' => [ 'ERROR', '307', qr/^$/ ],
	'to-itself' => [ 'ERROR', '307', qr/^$/ ],
	'cookie' => [ 'SUCCESS', '200', qr/^$/ ],
);

sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$url/$_', payload => '{}')], gid => '$_')") for sort keys %expected;
ok(eventually($node, 'SELECT count(DISTINCT gid) FROM dtm.calls', scalar(keys %expected)), 'all are called and answered');
for my $gid (sort keys %expected)
{
	my ($result, $status, $error) = @{ $expected{$gid} };
	my ($got_result, $got_status, $got_error) = split /\|/, sql("SELECT result, http_status, error FROM dtm.calls WHERE gid = '$gid'"), 3;
	is("$got_result $got_status", "$result $status", "$gid: " . ($result eq 'SUCCESS' ? 'does no harm' : 'is an error'));
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
unlike(slurp_file($node->logfile), qr/TRAP|PANIC/, 'nothing is broken');
$participant->kill_kill;
done_testing();
