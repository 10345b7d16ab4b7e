# Spans of global transactions and their calls, over OTLP.  If this fails, a trace has holes, collectors
# refuse what they get, or one that is down, slow or hostile is in the way of the transactions.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use HTTP::Tiny;
use IPC::Run ();
use JSON::PP;
use List::Util qw(sum0);
use PostgreSQL::Test::Utils;
use Test::More;

my $http = HTTP::Tiny->new(timeout => 60);
my %collector;

# The strict collector, on a free port or the given one.
sub start_collector
{
	my ($port) = @_;
	my ($in, $out) = ('', '');
	my $handle = IPC::Run::start(
		[ '/usr/bin/python3', "$FindBin::RealBin/../test/collector.py", $port // () ],
		'<', \$in, '>', \$out, IPC::Run::timeout(600));
	IPC::Run::pump($handle) until $out =~ /\n/;
	%collector = (handle => $handle, in => \$in, port => ($out =~ /(\d+)/)[0]);
	return;
}

sub stop_collector
{
	return unless $collector{handle};
	$collector{handle}->kill_kill;
	delete $collector{handle};
	return;
}

END
{
	local $?;
	stop_collector();
}

sub of_collector
{
	my ($what, $content) = @_;
	my $response = $http->request(defined $content ? 'POST' : 'GET', "http://127.0.0.1:$collector{port}/$what",
		defined $content ? { content => encode_json($content) } : {});
	die "collector: $response->{status} $response->{content}" unless $response->{success};
	return $response->{content} eq 'null' ? undef : JSON::PP->new->allow_nonref->decode($response->{content});
}

# Waits until there are so many spans of a gid, and returns them: the root, then its calls in order.
sub spans_of
{
	my ($gid, $n) = @_;
	my @spans;

	for (1 .. 1800)
	{
		@spans = grep { $_->{attributes}{'dtm.gid'} eq $gid } @{ of_collector('_spans') };
		last if @spans >= $n;
		select(undef, undef, undef, 0.1);
	}
	is(scalar(@spans), $n, $gid =~ s/[^ -~]/?/gr . ": $n spans");
	return sort { ($a->{name} !~ /^dtm /) <=> ($b->{name} !~ /^dtm /) || $a->{startTimeUnixNano} <=> $b->{startTimeUnixNano} } @spans;
}

# Spans in one line each: name, kind, status, some attributes.
sub lines
{
	return join "\n", map {
		my $a = $_->{attributes};
		join ' ', $_->{name}, $_->{kind}, $_->{status}{code},
		  map { "$_=$a->{$_}" } grep { defined $a->{$_} }
		  qw(dtm.status dtm.result dtm.retry_count http.request.method http.response.status_code rpc.grpc.status_code error.type dtm.function)
	} @_;
}

# What dtm.stat_coordinator counts.
sub counted { return sql("SELECT sum($_[0]) FROM dtm.stat_coordinator"); }

my $node = start_server('traces', conf => "dtm.retry_interval = 50ms\ndtm.retry_interval_max = 200ms\ndtm.coordinators_per_database = 2\nmax_worker_processes = 20\n");
my ($busi, $grpc) = start_participant('--grpc');

sub endpoint
{
	my ($endpoint) = @_;
	sql("ALTER SYSTEM SET dtm.otlp_endpoint = '$endpoint'");
	sql('SELECT pg_reload_conf()');
	return;
}

sub submit
{
	my ($gid, $options, @steps) = @_;
	sql("SELECT dtm_submit('saga', ARRAY[" . join(', ', @steps) . "], gid => '$gid', options => '$options')");
	return;
}

sub step { return "dtm_step('$busi/$_[0]', '$busi/un$_[0]', '{}')"; }

# ---------- off ----------

start_collector();
submit('off', '{}', step('a'));
is(wait_for('off'), 'succeed', 'without an endpoint');
is(of_collector('_requests'), 0, 'nothing is sent');
is(counted('spans_sent + spans_dropped'), 0, 'nor counted');

for my $bad (['nonsense', qr/The URL cannot be called/], ['http://h:4318/?x=1', qr/query or a fragment/],
	['server:', qr/name of the server is missing/], ['server:/x', qr/name of the server is missing/], ['ftp://h/', qr/The URL cannot be called/],
	['http://h:4318/v1/traces', qr/is added by dtm.*HINT:  Specify http:/s], ['server:otel/v1/traces/', qr/is added by dtm/])
{
	my ($rc, $out, $err) = $node->psql('postgres', "ALTER SYSTEM SET dtm.otlp_endpoint = '$bad->[0]'");
	like($err, $bad->[1], "endpoint $bad->[0] is refused");
}

# ---------- what spans say ----------

endpoint("http://127.0.0.1:$collector{port}/prefix/");
# both coordinators have to have seen that
ok(eventually($node, "SELECT setting LIKE 'http%' FROM pg_settings WHERE name = 'dtm.otlp_endpoint'"), 'an endpoint is set');
submit("seen-$_", '{}', step('a')) for 1 .. 2;
wait_for("seen-$_") for 1 .. 2;
for (1 .. 1800)
{
	submit("seen-$_-$$", '{}', step('a'));
	last if grep { $_->{resource}{'service.instance.id'} =~ m{/1$} } @{ of_collector('_spans') }
	  and grep { $_->{resource}{'service.instance.id'} =~ m{/2$} } @{ of_collector('_spans') };
	select(undef, undef, undef, 0.1);
}
of_collector('_clear', {});

reply('/b', { status => 500, body => 'try "again"' }, { status => 425 }, {});
submit('saga', '{}', step('a'), step('b'));
is(wait_for('saga'), 'succeed', 'a saga');
my @spans = spans_of('saga', 5);
is(lines(@spans), <<'END' =~ s/\n$//r, 'its spans');
dtm saga 1 1 dtm.status=succeed
action 01 3 1 dtm.result=SUCCESS dtm.retry_count=0 http.request.method=POST http.response.status_code=200
action 02 3 2 dtm.result=ERROR dtm.retry_count=0 http.request.method=POST http.response.status_code=500 error.type=500
action 02 3 0 dtm.result=ONGOING dtm.retry_count=1 http.request.method=POST http.response.status_code=425
action 02 3 1 dtm.result=SUCCESS dtm.retry_count=1 http.request.method=POST http.response.status_code=200
END
my ($root, @calls) = @spans;
is($root->{parentSpanId}, undef, 'the transaction has no parent');
is(join(' ', map { $_->{traceId} eq $root->{traceId} && $_->{parentSpanId} eq $root->{spanId} ? 1 : 0 } @calls), '1 1 1 1', 'and is that of its calls');
is(join(' ', map { ($_->{headers}{Traceparent} || $_->{headers}{traceparent}) =~ /^00-$root->{traceId}-([0-9a-f]{16})-01$/ ? $1 : 'none' } calls_of('saga')),
	join(' ', map { $_->{spanId} } @calls), 'each call has the id of its span, so that those of services join it');
is($calls[1]{status}{message}, 'try "again"', 'an error says what the response was');
is($calls[0]{attributes}{'url.full'}, "$busi/a", 'the URL is without its query');
is("$calls[0]{attributes}{'server.address'}:$calls[0]{attributes}{'server.port'}", $busi =~ s{http://}{}r, 'and its server');
is("$calls[0]{attributes}{'dtm.branch_id'} $calls[0]{attributes}{'dtm.op'} $calls[0]{attributes}{'dtm.trans_type'}", '01 action saga', 'and whose it is');
ok($root->{startTimeUnixNano} <= $calls[0]{startTimeUnixNano} && $root->{endTimeUnixNano} >= $calls[-1]{endTimeUnixNano}, 'the transaction takes from its submit to its end');
is("$root->{resource}{'service.name'} $root->{resource}{'db.namespace'} $root->{path}", 'dtm postgres /prefix/v1/traces', 'who sends it, and where to');

# derived from the gid: the same for every coordinator, and after every restart
is($root->{traceId} . $root->{spanId}, sql(q{SELECT lpad(to_hex(hashtextextended('saga', 1)), 16, '0') || lpad(to_hex(hashtextextended('saga', 2)), 16, '0') || lpad(to_hex(hashtextextended('saga', 3)), 16, '0')}),
	'its ids are made from the gid');

# within the trace of whoever submits
my $parent = '0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331';
submit('child', qq({"traceparent": "00-$parent-01"}), step('a'));
@spans = spans_of('child', 2);
is("$spans[0]{traceId}-$spans[0]{parentSpanId}", $parent, 'a transaction with a traceparent is a child of that span');
is("$spans[1]{traceId}-$spans[1]{parentSpanId}", substr($parent, 0, 33) . $spans[0]{spanId}, 'and its calls are its children');
is(join(' ', map { $_->{flags} } @spans), '769 257', 'whose parent is somewhere else');
submit('not sampled', qq({"traceparent": "00-$parent-00"}), step('a'));
is(wait_for('not sampled'), 'succeed', 'one that is not sampled');

# rolled back, by the branch's word
reply('/c', { status => 409, body => "no \x{2713}" });
submit('failed', '{}', step('a'), step('c'));
is(wait_for('failed'), 'failed', 'one that fails');
@spans = spans_of('failed', 5);
is(lines(@spans), <<'END' =~ s/\n$//r, 'its spans');
dtm saga 1 2 dtm.status=failed
action 01 3 1 dtm.result=SUCCESS dtm.retry_count=0 http.request.method=POST http.response.status_code=200
action 02 3 2 dtm.result=FAILURE dtm.retry_count=0 http.request.method=POST http.response.status_code=409 error.type=409
compensate 02 3 1 dtm.result=SUCCESS dtm.retry_count=0 http.request.method=POST http.response.status_code=200
compensate 01 3 1 dtm.result=SUCCESS dtm.retry_count=0 http.request.method=POST http.response.status_code=200
END
like($spans[0]{status}{message}, qr/\x{2713}/, 'and why it failed');

# gRPC, no answer at all, functions
sql("CREATE FUNCTION act(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE sql AS 'SELECT'");
submit('kinds', '{}', "dtm_step('grpc://$grpc/busi.Busi/A', 'grpc://$grpc/busi.Busi/B', '{}')", "dtm_step('sql:public.act', 'sql:public.act')");
is(lines(spans_of('kinds', 3)), <<'END' =~ s/\n$//r, 'calls of other kinds; a worker has ended the transaction');
dtm saga 1 1 dtm.status=succeed
action 01 3 1 dtm.result=SUCCESS dtm.retry_count=0 rpc.grpc.status_code=0
action 02 1 1 dtm.result=SUCCESS dtm.retry_count=0 dtm.function=public.act
END
submit('refused', '{"retry_interval": 3600}', "dtm_step('http://127.0.0.1:1/x?secret=1', '')");
ok(eventually($node, "SELECT count(*) > 0 FROM dtm.calls WHERE gid = 'refused'"), 'one that nobody answers');
# it has no end yet: a session ends it
sql("SELECT dtm_force_stop('refused', 'enough')");
@spans = spans_of('refused', 2);
is(lines(@spans), <<'END' =~ s/\n$//r, 'is ended by somebody');
dtm saga 1 2 dtm.status=failed
action 01 3 2 dtm.result=ERROR dtm.retry_count=0 http.request.method=GET error.type=no_response
END
is($spans[1]{attributes}{'url.full'}, 'http://127.0.0.1:1/x', 'queries are not shown');

# others' ids in names, and bytes that are not meant for JSON
my $odd = "odd\x{22}\\\x{4e2d}";
utf8::encode(my $odd_bytes = $odd);
$node->safe_psql('postgres', "SELECT dtm_submit('saga', ARRAY[" . step('a') . "], gid => '$odd_bytes')");
spans_of($odd, 2);

# run by hand
sql('SELECT dtm_pause()');
eventually($node, "SELECT count(*) FROM dtm.stat_coordinator WHERE state = 'paused'", '2');
submit('by hand', '{}', step('a'));
run_due($node);
is(scalar(grep { $_->{attributes}{'dtm.gid'} eq 'by hand' } @{ of_collector('_spans') }), 2, 'dtm_run_due() has sent its spans when it ends');
sql('SELECT dtm_resume()');
is(scalar(grep { $_->{attributes}{'dtm.gid'} eq 'not sampled' } @{ of_collector('_spans') }), 0, 'what is not sampled has no spans');
my %ids;
$ids{ $_->{spanId} }++ for @{ of_collector('_spans') };
is(scalar(grep { $_ > 1 } values %ids), 0, 'none was sent twice');
is(join("\n", @{ of_collector('_problems') }), '', 'the collector has understood it all');
ok(eventually($node, "SELECT sum(spans_sent) > 0 AND sum(spans_dropped) = 0 FROM dtm.stat_coordinator"), 'nothing was dropped');

# ---------- a server with credentials ----------

sql(<<"SQL");
CREATE SERVER otel FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http://127.0.0.1:$collector{port}/base');
CREATE USER MAPPING FOR PUBLIC SERVER otel OPTIONS (bearer_token 'secret', header_x_scope_orgid 'tenant');
SQL
of_collector('_clear', {});
endpoint('server:otel/more');
submit('server', '{}', step('a'));
@spans = spans_of('server', 2);
is("$spans[0]{path} $spans[0]{headers}{Authorization}", '/base/more/v1/traces Bearer secret', 'a foreign server has the address and the credentials');
my $log_at = -s $node->logfile;
sql('ALTER SERVER otel RENAME TO gone');
submit('no server', '{}', step('a'));
is(wait_for('no server'), 'succeed', 'without that server');
ok($node->wait_for_log(qr/could not send spans to dtm.otlp_endpoint: server "otel" does not exist/, $log_at), 'the log says so');
sql('ALTER SERVER gone RENAME TO otel');
spans_of('no server', 2);
ok($node->wait_for_log(qr/dtm.otlp_endpoint takes spans again/, $log_at), 'and that it is over');
is(join("\n", grep { /Bearer|secret/ && !/ statement: / } split /\n/, slurp_file($node->logfile)), '', 'the log has no secrets');

# ---------- answers ----------

# Says what the next answers are, makes a transaction, and returns what was counted for it.
sub answered
{
	my ($gid, @answers) = @_;
	of_collector('_clear', {});
	of_collector('_answer', \@answers);
	my ($sent, $dropped) = (counted('spans_sent'), counted('spans_dropped'));
	submit($gid, '{}', step('a'));
	is(wait_for($gid), 'succeed', "$gid: the transaction does not care");
	# both spans are in one request, or in two
	eventually($node, "SELECT sum(spans_sent) + sum(spans_dropped) >= $sent + $dropped + 2 FROM dtm.stat_coordinator");
	return (counted('spans_sent') - $sent) . ' sent, ' . (counted('spans_dropped') - $dropped) . ' dropped';
}

endpoint("http://127.0.0.1:$collector{port}");
$log_at = -s $node->logfile;
is(answered('retry', { status => 503, headers => { 'Retry-After' => '1' } }, { status => 429 }), '2 sent, 0 dropped', '503 and 429 are tried again');
is(of_collector('_requests'), 3, 'as often as needed');
is(answered('bad request', { status => 400, body => 'no', stay => JSON::PP::true }), '0 sent, 2 dropped', '400 is not');
is(of_collector('_requests'), 1, 'it is sent once');
ok($node->wait_for_log(qr/could not send spans to dtm.otlp_endpoint: HTTP status 400: no/, $log_at), 'and the log says so');
is(answered('partial', { body => '{"partialSuccess":{"rejectedSpans":"1","errorMessage":"too \"old\""}}' }), '1 sent, 1 dropped', 'partial success');
is(of_collector('_requests'), 1, 'is not tried again');
ok($node->wait_for_log(qr/dtm.otlp_endpoint has rejected 1 spans: too \\"old\\"/, $log_at), 'and the log says so, too');
is(answered('no json', { body => '{"partialSuccess":' }), '2 sent, 0 dropped', 'an answer that is no JSON has rejected none');
is(answered('large', { body => ' ' x 3_000_000 }), '2 sent, 0 dropped', 'one that is too large is an error, and tried again');

# what was dropped before a change of the setting is told of, too
my $told_at = -s $node->logfile;
my $dropped_before = counted('spans_dropped');
answered('lost', { status => 400, body => 'no', stay => JSON::PP::true });
endpoint("http://127.0.0.1:$collector{port}/moved");
answered('lost, too', { status => 400, body => 'no', stay => JSON::PP::true });
of_collector('_clear', {});
my $lost = counted('spans_dropped') - $dropped_before;
is($lost, 4, 'the spans of two transactions are dropped');
my $told = 0;
for (1 .. 1800)
{
	submit("found-$_", '{}', step('a'));
	$told = sum0(slurp_file($node->logfile, $told_at) =~ /(\d+) spans were dropped meanwhile/g);
	last if $told >= $lost;
	select(undef, undef, undef, 0.1);
}
is($told, $lost, 'and the log has told of all of them');

# ---------- down, hanging, flooded ----------

# A collector that takes connections, and never answers.
of_collector('_clear', {});
of_collector('_answer', [ { hang => JSON::PP::true, stay => JSON::PP::true } ]);
my $memory = sub {
	my ($pid) = @_;
	return slurp_file("/proc/$pid/status") =~ /^VmRSS:\s+(\d+)/m ? $1 : 0;
};
my @pids = split /\n/, sql('SELECT pid FROM dtm.stat_coordinator ORDER BY coordinator');
my $dropped = counted('spans_dropped');
sql("ALTER SYSTEM SET dtm.max_requests = 2");
sql('SELECT pg_reload_conf()');
# a span of these has 3 kB and more; two coordinators keep 4 MB each
my $long = 'x' x 1000;
reply({ path => "/flood/$long", forever => JSON::PP::true }, { status => 500, body => $long });
sql("SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/flood/$long', '', '{}')], gid => 'flood ' || i || repeat('g', 100)) FROM generate_series(1, 300) i");
sql("SELECT dtm_submit('msg', ARRAY[" . join(', ', map { "dtm_step('$busi/$long$_', payload => '{}')" } 1 .. 10) . "], gid => 'wave ' || i || repeat('g', 100)) FROM generate_series(1, 600) i");
ok(eventually($node, "SELECT sum(spans_dropped) > $dropped FROM dtm.stat_coordinator"), 'a collector that hangs: what finds no room is dropped, and counted');
submit('beside', '{}', step('a'));
is(wait_for('beside'), 'succeed', 'nothing waits for it, even where few calls may be made');
ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'wave %' AND status <> 'succeed'", '0'), 'all others end as well');
cmp_ok($memory->($_), '<', 200_000, 'and the memory of a coordinator is bounded') for @pids;
is(sql('SELECT string_agg(pid::text, E\'\n\' ORDER BY coordinator) FROM dtm.stat_coordinator'), join("\n", @pids), 'they are still the same');
sql("SELECT dtm_force_stop(gid, 'done') FROM dtm.transactions WHERE gid LIKE 'flood %' AND status = 'submitted'");

# dtm_run_due() and commands that need the database for themselves do not wait for it either
run_due($node);
pass('dtm_run_due() ends');
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION dtm');
$node->safe_psql('other', "SELECT dtm_submit('saga', ARRAY[" . step('a') . "], gid => 'other')");
eventually($node, "SELECT dtm_status('other')", 'succeed', 'other');
$node->safe_psql('postgres', 'DROP DATABASE other');
pass('DROP DATABASE does');

# down, and back
stop_collector();
$log_at = -s $node->logfile;
endpoint("http://127.0.0.1:$collector{port}/");
submit('down', '{}', step('a'));
is(wait_for('down'), 'succeed', 'a collector that is down');
ok($node->wait_for_log(qr/could not send spans to dtm.otlp_endpoint: /, $log_at), 'the log says so');
start_collector($collector{port});
for (1 .. 1800)
{
	submit("back-$_", '{}', step('a'));
	last if grep { $_->{attributes}{'dtm.gid'} =~ /^back/ && $_->{name} eq 'dtm saga' } @{ of_collector('_spans') };
	select(undef, undef, undef, 0.1);
}
pass('one that is back gets spans again');
is(join("\n", @{ of_collector('_problems') }), '', 'the collector has understood it all');

# ---------- a crash ----------

endpoint("http://127.0.0.1:$collector{port}/crash");
reply('/held', { hold => 1 });
submit('crash', '{}', step('a'), step('held'));
spans_of('crash', 1);
$node->stop('immediate');
$node->start;
release_replies();
is(wait_for('crash'), 'succeed', 'after a crash');
@spans = grep { $_->{name} ne 'action 02' } spans_of('crash', 3);
is(join(' ', map { $_->{name} } @spans), 'dtm saga action 01', 'the transaction has its span');
is($spans[0]{traceId} . $spans[0]{spanId}, $spans[1]{traceId} . $spans[1]{parentSpanId}, 'which is the parent of what was sent before');

# ---------- off again ----------

endpoint('');
ok(eventually($node, "SELECT setting = '' FROM pg_settings WHERE name = 'dtm.otlp_endpoint'"), 'off again');
submit('off again', '{}', step('a'));
is(wait_for('off again'), 'succeed', 'and on it goes');

done_testing();
