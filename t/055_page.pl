# The page for operators, as its server: files, headers, who may ask, what browsers are kept from,
# and what it reads and does.  scripts/page.sh has it in a browser.  If this fails, a page of
# another site may steer transactions, or an operator sees what is not for him.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use GatewayTest;
use IPC::Run ();
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

gateway_program();
my $node = start_server('page', conf => "dtm.retry_interval = '1h'\ndtm.retry_interval_max = '1h'\ndtm.alert_retry_limit = 1\ndtm.alert_after = 1s\nmax_prepared_transactions = 5\n");
my ($busi) = start_participant();
my $folder = PostgreSQL::Test::Utils::tempdir();
my @ports = map { PostgreSQL::Test::Cluster::get_free_port() } 1 .. 3;
my $conninfo = 'user=dtm_gateway dbname=postgres host=' . $node->host . ' port=' . $node->port;
my $json = JSON::PP->new->canonical->ascii;

sql('CREATE ROLE shop LOGIN IN ROLE dtm_user; CREATE ROLE office LOGIN IN ROLE dtm_user; CREATE ROLE operator LOGIN IN ROLE dtm_admin; ALTER ROLE dtm_gateway LOGIN; GRANT shop, office, operator TO dtm_gateway');
my %token = map { $_ => sql("SELECT dtm_create_token('$_')") } qw(shop office operator);

sub start
{
	my (@options) = @_;

	start_gateway($node, '--conninfo', $conninfo, '--listen', "127.0.0.1:$ports[0]", '--listen', "127.0.0.1:$ports[1]", '--page', "127.0.0.1:$ports[2]", @options);
	return;
}

sub at { local $GatewayTest::port = $ports[2]; return ask(@_); }
sub reading { my ($role, $what, %headers) = @_; return at('GET', "/data/$what", undef, Authorization => "Bearer $token{$role}", %headers); }

sub acting
{
	my ($role, $body, %headers) = @_;

	return at('POST', '/act', $body, 'Content-Type' => 'application/json', Authorization => "Bearer $token{$role}", %headers);
}

# without gateway.hba, it is for this machine, as dtm_api
start();
is(at('GET', '/data/me')->{json}{role}, 'dtm_api', 'on loopback, the page is dtm_api') or diag gateway_log();
is(at('GET', '/api/ping')->{status}, 404, 'the API is not there');
is(ask('GET', '/')->{status}, 404, 'and the page not at the API');
is(ask('GET', '/data/me')->{status}, 404, 'nor what it reads');
is(at('POST', '/act', '{"act":"pause","reason":"x"}')->{status}, 415, 'a form of another site can not act');
is(at('POST', '/act', '{"act":"pause","reason":"x"}', 'Content-Type' => 'text/plain')->{status}, 415, 'nor by text');
is(stop_gateway(), 0, 'stopped');

# as docs/page.md has it
my $page_md = slurp_file("$FindBin::RealBin/../docs/page.md");
my ($lines) = $page_md =~ /^```text\n(.*?)^```/ms;
my ($statements) = $page_md =~ /^```sql\n(.*?)^```/ms;
$lines =~ s/127\.0\.0\.1:36788/127.0.0.1:$ports[2]/ or die 'docs/page.md has another address';
$lines =~ s/127\.0\.0\.1:36789/127.0.0.1:$ports[0]/ or die 'docs/page.md has another address';
($token{anna}) = sql($statements) =~ /(dtm_\w+)/;
open(my $hba, '>', "$folder/hba") or die $!;
print $hba "${lines}all all trust dtm_api\n";
close $hba;
start('--hba', "$folder/hba", '--insecure');

# files
my $page = at('GET', '/');
is($page->{status}, 200, 'the page');
is($page->{headers}{'content-type'}, 'text/html; charset=utf-8', 'is HTML');
like($page->{content}, qr{<noscript>.*needs JavaScript.*</noscript>}s, 'and says that it needs JavaScript');
unlike($page->{content}, qr/<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=/, 'nothing in it is inline');
for my $file (map { s{.*/}{}r } glob("$FindBin::RealBin/../gateway/page/*"))
{
	my $response = at('GET', $file eq 'index.html' ? '/' : "/$file");
	my $policy = $response->{headers}{'content-security-policy'} // '';

	is($response->{status}, 200, $file);
	is($response->{content}, slurp_file("$FindBin::RealBin/../gateway/page/$file"), 'as it is');
	like($policy, qr/\Q$_\E/, "its policy has $_")
	  for "default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "require-trusted-types-for 'script'";
	unlike($policy, qr/unsafe|\*|https?:/, 'and lets nothing in from elsewhere');
	is($response->{headers}{'x-content-type-options'}, 'nosniff', 'its type is what it says');
	unlike($response->{content}, qr/innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\('on|srcdoc/, 'text is never markup or script')
	  if $file =~ /\.js$/;
	unlike($response->{content} =~ s{http://www\.w3\.org/2000/svg|'http://shop:8080'}{}gr, qr{https?://|\@import|url\(}, 'it names no other address');
}
is(at('HEAD', '/')->{status}, 200, 'HEAD');
is(at('GET', '/page.css/')->{status}, 404, 'no such file');
is(at('GET', '/../page.c')->{status}, 404, 'nor one beside them');
is(at('GET', '/data/')->{status}, 404, 'nothing is asked for');
is(at('POST', '/', '')->{status}, 405, 'POST of a file');
is(at('DELETE', '/data/me')->{status}, 405, 'DELETE of data');
is(at('GET', '/act')->{status}, 405, 'GET of an act');
SKIP:
{
	my $out;

	skip 'no curl', 1 unless `curl -V 2>/dev/null`;
	IPC::Run::run([ 'curl', '-s', '-D', '-', '-o', '/dev/null', '--http2-prior-knowledge', "http://127.0.0.1:$ports[2]/" ], '>', \$out);
	like($out, qr/content-security-policy: default-src 'none'.*x-frame-options: DENY.*cache-control: no-store/s, 'all headers over HTTP/2, too');
}

# who it is
is(at('GET', '/data/me')->{status}, 401, 'no token');
is(at('GET', '/data/me')->{headers}{'www-authenticate'}, 'Bearer', 'how to show one');
is(at('GET', '/data/me', undef, Authorization => 'Bearer nonsense')->{status}, 401, 'a wrong one');
is(at('GET', "/t/$token{shop}/data/me")->{status}, 404, 'none in a path, which browsers keep');
is(reading('anna', 'me')->{json}{role}, 'anna', 'the operator of docs/page.md');
my $me = reading('operator', 'me')->{json};
is($me->{role}, 'operator', 'a token tells the role');
ok($me->{sees_all} && $me->{may}{pause}, 'what an administrator may');
$me = reading('shop', 'me')->{json};
ok(!$me->{sees_all} && !$me->{may}{pause} && $me->{may}{retry}, 'and what another one');

# browsers
my $host = "127.0.0.1:$ports[2]";
is(reading('shop', 'me', Origin => "http://$host")->{status}, 200, 'its own site');
is(reading('shop', 'me', 'Sec-Fetch-Site' => 'same-origin')->{status}, 200, 'as the browser says');
for my $headers (['Origin', 'http://evil.example'], ['Origin', 'null'], ['Origin', "http://127.0.0.1:$ports[0]"], ['Origin', "http://$host.evil.example"],
	['Sec-Fetch-Site', 'cross-site'], ['Sec-Fetch-Site', 'same-site'])
{
	is(reading('shop', 'me', @$headers)->{status}, 403, "@$headers reads nothing");
	is(acting('shop', { act => 'retry', gids => [], reason => 'x' }, @$headers)->{status}, 403, 'and does nothing');
	is(at('GET', '/', undef, @$headers)->{status}, 403, 'nor is it shown there');
}
like(GatewayTest::raw("GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", $ports[2]), qr{^HTTP/1.1 403 }, 'another name is refused');
like(GatewayTest::raw("GET / HTTP/1.1\r\nHost: localhost:$ports[2]\r\nConnection: close\r\n\r\n", $ports[2]), qr{^HTTP/1.1 200 .*Content-Security-Policy}s, 'localhost is not');
unlike(GatewayTest::raw("OPTIONS /act HTTP/1.1\r\nHost: $host\r\nOrigin: http://evil.example\r\nAccess-Control-Request-Method: POST\r\nConnection: close\r\n\r\n", $ports[2]),
	qr/Access-Control-Allow/i, 'nobody is allowed anything who asks before');

# transactions
reply({ path => '/Down', forever => JSON::PP::true }, { status => 503, body => '{"message": "no <b>bank</b>"}' });
reply({ path => '/Refuse', forever => JSON::PP::true }, { status => 409, body => 'sold out' });
my $evil = 'order-<img src=x onerror=alert(1)>';
sql(<<"SQL");
SET ROLE shop;
SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/Down', payload => '{"id": 4711}')], 'order-' || n) FROM generate_series(1, 3) n;
SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/Down', payload => jsonb_build_object('text', repeat('x', 5000)))], 'large');
SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/Refuse', '')], '$evil');
SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/Ok')], 'done-' || n) FROM generate_series(1, 60) n;
RESET ROLE; SET ROLE office; SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/Down')], 'letter-1'); RESET ROLE;
SQL
ok(eventually($node, "SELECT count(*) FROM dtm.stuck", '5'), 'some are stuck');
ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE state = 'succeeded'", '60'), 'and others are done');

sub gids { my ($role, $query) = @_; return join ' ', map { $_->{gid} } @{ reading($role, "list?$query")->{json}{rows} }; }

is(gids('shop', 'state=active'), 'large order-3 order-2 order-1', 'a role sees its own, the newest first');
is(gids('operator', 'state=active'), 'letter-1 large order-3 order-2 order-1', 'an administrator all');
is(gids('operator', 'state=active&role=office'), 'letter-1', 'of a role');
is(gids('operator', 'state=stuck&gid=order-'), 'order-3 order-2 order-1', 'by the beginning of the gid');
is(gids('operator', 'state=failed'), $evil, 'by state');
is(gids('operator', 'state=all&type=saga'), $evil, 'by type');
is(gids('operator', 'state=all&error=SOLD'), $evil, 'by error');
is(gids('operator', "state=active&gid=order&host=$busi"), 'order-3 order-2 order-1', 'by host');
is(gids('operator', 'state=active&host=http://127.0.0.1:1'), '', 'of another there are none');
is(gids('operator', 'state=active&age=1+hour'), '', 'by age');
is(gids('operator', "state=active' OR true --"), '', 'a state that is none');
is(gids('operator', "state=all&gid=' OR true --"), '', 'a gid that is none');
my $first = reading('shop', 'list?state=succeeded')->{json};
my $second = reading('shop', "list?state=succeeded&before=$first->{next}")->{json};
is(scalar(@{ $first->{rows} }) . ' ' . scalar(@{ $second->{rows} }), '50 10', 'fifty of a page');
is($second->{next}, undef, 'and then no more');
is(scalar(@{ reading('shop', 'list?state=succeeded&gids=1')->{json}{gids} }), 60, 'for a bulk act, all gids');
is($first->{counts}{succeeded}, 60, 'with the counts of the tabs');

# one transaction
my $one = reading('shop', 'transaction?gid=order-1')->{json};
is($one->{explain}{waits_for}, 'retry', 'why nothing happens');
is("$one->{branches}[0]{state} $one->{branches}[0]{body}{text}", 'retrying {"id": 4711}', 'its branch, with the request');
is(join(' ', map { $_->{event} } @{ $one->{timeline} }), 'created call', 'its timeline');
is("$one->{calls}[0]{url} $one->{calls}[0]{http_status}", "$busi/Down 503", 'and its calls');
is(reading('office', 'transaction?gid=order-1')->{json}{transaction}, undef, 'which is not there for another role');
my $large = reading('shop', 'transaction?gid=large')->{json}{branches}[0]{body};
is(length($large->{text}) . ' ' . $large->{length}, '2000 5012', 'a large payload is cut');
is(length(reading('shop', 'more?of=body&gid=large&ordinal=1')->{json}{text}), 5012, 'and shown when asked for');
is(reading('office', 'more?of=body&gid=large&ordinal=1')->{json}{text}, undef, 'but not to another role');
is(reading('shop', 'transaction?gid=order-%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E')->{json}{transaction}{gid}, $evil, 'a gid with markup');

# the other views
my $overview = reading('operator', 'overview')->{json};
is($overview->{stuck}, 5, 'the overview');
is($overview->{causes}[0]{host}, $busi, 'has what is stuck by host');
is($overview->{coordinators}[0]{state}, 'running', 'and the coordinators');
ok(eventually($node, "SELECT count(*) > 0 FROM dtm.alerts WHERE state = 'open'"), 'there are alerts');
like(reading('operator', 'overview')->{json}{alerts}[0]{message}, qr/\w/, 'which an administrator sees');
is(reading('shop', 'overview')->{json}{alerts}, undef, 'and nobody else');
is(reading('operator', 'services')->{json}{calls}[0]{host}, $busi, 'services');
is(scalar(@{ reading('operator', 'services')->{json}{calls}[0]{percentiles} }), 3, 'with percentiles');
is(reading('shop', 'services')->{json}{hosts}, undef, 'circuits are for administrators');
is(reading('shop', 'orphans')->{json}{rows}, undef, 'so are orphans');
is(ref reading('operator', $_)->{json}{rows}, 'ARRAY', $_) for qw(topics schedules lanes dead_letters coordinators in_flight orphans);

# bad input
is(reading('operator', $_)->{status}, 400, "$_ is refused") for 'nonsense', 'list?before=x', 'list?age=x', 'more?of=x', 'more?of=body&gid=x&ordinal=x', 'list?before=99999999999999999999';
is(at('POST', '/act', $_, 'Content-Type' => 'application/json', Authorization => "Bearer $token{operator}")->{status}, 400, "an act $_") for '', '[]', '{', '"x"', '{"act": "retry"}', '{"act": "retry", "reason": " ", "gids": []}',
  '{"act": "retry", "reason": "x"}', '{"act": "retry", "reason": "x", "gids": "order-1"}';
is(acting('operator', { act => 'retry', reason => 'x', gids => [ (1) x 61 ] })->{status}, 400, 'too many gids');
is(sql('SELECT count(*) FROM dtm.acts'), 0, 'nothing was done');

# acts
my $done = acting('shop', { act => 'retry', reason => 'the <bank> is back', gids => [ 'order-1', 'letter-1', 'order-2', 'nowhere' ] })->{json};
is($done->{done}, 2, 'two are done');
is(join('; ', map { "$_->{gid}: $_->{message}" } @{ $done->{refused} }), 'letter-1: global transaction "letter-1" does not exist; nowhere: global transaction "nowhere" does not exist', 'two are refused, and the others not stopped');
is(sql("SELECT string_agg(gid || ' ' || role || ' ' || what || ' ' || reason, ', ' ORDER BY gid) FROM dtm.acts"), 'order-1 shop retry now the <bank> is back, order-2 shop retry now the <bank> is back', 'with the role and the reason');
$done = acting('operator', { act => 'unknown', reason => 'x', gids => ['order-1'] })->{json};
like($done->{refused}[0]{message}, qr/unknown act "unknown"/, 'an unknown act');
sql('CREATE FUNCTION work(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE sql AS $$ SELECT $$');
$done = acting('shop', { act => 'edit', reason => 'x', gids => ['order-1'], branch_id => '01', changes => { action => 'sql:public.work' } })->{json};
like("$done->{done} $done->{refused}[0]{message}", qr/^0 .*\bcannot be called\b|^0 .*function/, 'no function is named from the network');
is(acting('shop', { act => 'pause', reason => 'x' })->{status}, 403, 'who may not pause');
is(acting('operator', { act => 'pause', reason => 'the <shop> moves' })->{json}{done}, 1, 'who may');
ok(eventually($node, 'SELECT min(state) FROM dtm.stat_coordinator', 'paused'), 'does');
like(slurp_file($node->logfile), qr/operator operator: pause: the <shop> moves/, 'and the log has the reason');
is(acting('operator', { act => 'resume coordinators', reason => 'moved' })->{json}{done}, 1, 'resumed');
# as the page sends it: numbers beyond JavaScript's stay what they are
is(acting('operator', { act => 'edit', reason => 'typo', gids => ['order-3'], branch_id => '01', changes => '{"payload": {"id": 12345678901234567891, "amount": 1.10}}' })->{json}{done}, 1, 'a payload is changed');
is($node->safe_psql('postgres', "SELECT convert_from(payload, 'UTF8') FROM dtm.branches WHERE gid = 'order-3' AND branch_id = '01' AND op = 'action'"),
	'{"id": 12345678901234567891, "amount": 1.10}', 'and no digit of it is lost');
is(acting('operator', { act => 'edit', reason => 'typo', gids => ['order-3'], branch_id => '01', changes => { action => "$busi/Ok" } })->{json}{done}, 1, 'a URL is changed');
is(wait_for('order-3'), 'succeed', 'and called');
is(acting('operator', { act => 'skip', reason => 'by hand', gids => ['order-2'], branch_id => '01', op => 'action', succeeded => JSON::PP::true })->{json}{done}, 1, 'a branch is answered for');
is(wait_for('order-2'), 'succeed', 'and it goes on');
is(acting('operator', { act => 'stop', reason => 'spam', gids => ['letter-1'] })->{json}{done}, 1, 'one is stopped');
my $said = acting('operator', { act => 'resubmit', reason => 'no spam', gids => ['letter-1'] })->{json}{said};
is(sql("SELECT submitted_by FROM dtm.transactions WHERE gid = '$said'"), 'office', 'and submitted again, under a new gid');
$done = acting('operator', { act => 'probe', reason => 'is it back?', host => $busi })->{json};
like($done->{said}, qr/^(order-1|large|\Q$said\E)$/, 'a host is probed by one that waits for it');
is(acting('operator', { act => 'probe', reason => 'x', host => 'http://nobody' })->{status}, 500, 'none waits for another');

# what reads can't write, whatever stands behind the views
is(sql("SELECT string_agg(DISTINCT provolatile::text, ' ') FROM pg_proc WHERE pronamespace = 'dtm'::regnamespace AND proname LIKE 'page%' AND proname NOT LIKE 'page\\_act%' AND proname <> 'page_probe'"), 'i s', 'reading is stable');

# what takes long is given up, and holds nobody up
my $locker = $node->background_psql('postgres');
$locker->query_safe('BEGIN; LOCK TABLE dtm.topic');
is(reading('operator', 'topics')->{status}, 503, 'what is locked is said to be so');
my $reader = IPC::Run::start([ 'curl', '-s', '-w', ' %{http_code}', '-H', "Authorization: Bearer $token{operator}", "http://$host/data/topics" ], '>', \my $out);
ok(eventually($node, "SELECT count(pg_cancel_backend(pid)) > 0 FROM pg_stat_activity WHERE usename = 'dtm_gateway' AND wait_event_type = 'Lock'"), 'one that waits is canceled');
is(post('submit', { gid => 'meanwhile', trans_type => 'msg' })->{status}, 200, 'requests of the API go on');
$reader->finish;
like($out, qr/ask for less.* 503$/, 'it is told');
$locker->query_safe('ROLLBACK');
$locker->quit;
is(reading('operator', 'topics')->{status}, 200, 'and the next one is answered');
unlike(gateway_log(), qr/$token{operator}/, 'no token in the log');
unlike(gateway_log(), qr/session with PostgreSQL is down/, 'and no session was lost');
sql("SELECT dtm_revoke_token(id) FROM dtm.api_tokens WHERE role::text = 'operator'");
is(reading('operator', 'me')->{status}, 401, 'a token that is revoked counts no more');
is(stop_gateway(), 0, 'stopped');
done_testing();
