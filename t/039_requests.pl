# What goes over the wire for a step that has options, and what a server's options make of it.  If
# one fails, a service that was not written for dtm is asked for something else, or its response is
# taken for something else.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use Encode ();
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use utf8;

my $node = start_server('requests', conf => "dtm.max_reply_size = 1kB\n");
my ($busi, $grpc) = start_participant('--grpc');
my $json = JSON::PP->new->canonical->utf8;

sql('SELECT dtm_pause()');
eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'paused');

# A header of a call, whatever its case.
sub header
{
	my ($call, $name) = @_;
	my %headers = map { lc $_ => $call->{headers}{$_} } keys %{ $call->{headers} };
	return $headers{ lc $name } // '-';
}

# Submits one step, and returns the calls that were made.
my $number = 0;

sub call_step
{
	my ($step, %request) = @_;
	my $gid = $request{gid} // 'step-' . ++$number;
	my $steps = $json->encode([$step]);
	utf8::decode($steps);
	clear_participant();
	reply(@{ $request{reply} }) if $request{reply};
	s/'/''/g for $steps, my $quoted = $gid;
	sql("SELECT dtm_submit('" . ($request{type} // 'saga') . "', '$steps', '$quoted', '" . ($request{options} // '{}') . "')");
	run_due($node);
	return calls_of();
}

# ---------- the request ----------

{
	my ($call) = call_step({ action => "$busi/a", payload => { b => 1, a => "x\\n\"y\"\x{e4}" } }, gid => 'plain');
	is("$call->{method} $call->{raw_query}", 'POST branch_id=01&gid=plain&op=action&trans_type=saga', 'without options nothing is new');
	is($call->{body}, "{\"a\":\"x\\\\n\\\"y\\\"\x{e4}\",\"b\":1}", 'a payload of JSON arrives to the letter');
	is(header($call, 'Idempotency-Key'), 'plain/01/action', 'but the key of the op');
	is(header($call, 'dtm-gid'), '-', 'the query says the rest');
}
for my $method (qw(PUT PATCH POST))
{
	my ($call) = call_step({ action => "$busi/a", method => lc $method, payload => { a => 1 } });
	is("$call->{method} $call->{body} " . header($call, 'Content-Type'), "$method {\"a\":1} application/json", "$method with a body");
	($call) = call_step({ action => "$busi/a", method => $method });
	is("$call->{method} <$call->{body}> " . header($call, 'Content-Type') . ' ' . header($call, 'Content-Length'), "$method <> - 0", "$method without");
}
for my $method (qw(GET HEAD DELETE OPTIONS))
{
	my ($call) = call_step({ action => "$busi/a", method => $method, payload => { a => 1 } });
	is("$call->{method} <$call->{body}> " . header($call, 'Content-Type'), "$method <> -", "$method has none");
	is(sql("SELECT status FROM dtm.transactions WHERE gid = 'step-$number'"), 'succeed', 'nor is one waited for where there is none');
}
{
	# the same connection after another method
	my ($call) = call_step({ action => "$busi/a", payload => 1 });
	is("$call->{method} $call->{body}", 'POST 1', 'and then POST as ever');
	($call) = call_step({ action => "$busi/a" });
	is($call->{method}, 'GET', 'or GET');
}
{
	my ($call) = call_step({ action => "$busi/a?own=1#f", query_parameters => JSON::PP::false, payload => [] }, gid => 'no-query');
	is($call->{raw_query}, 'own=1', 'no parameters of ours');
	is(join(' ', map { header($call, "dtm-$_") } qw(gid trans-type branch-id op)), 'no-query saga 01 action', 'headers say it');
}
{
	my ($call) = call_step({ action => "$busi/a", payload => '<a b="c">ä</a>', content_type => 'text/xml; charset=utf-8' });
	is(Encode::encode_utf8($call->{body}) . ' ' . header($call, 'Content-Type'), Encode::encode_utf8('<a b="c">ä</a> text/xml; charset=utf-8'), 'text of another type');
	($call) = call_step({ action => "$busi/a", payload => 'a=b&c=%20', content_type => 'application/x-www-form-urlencoded' });
	is($call->{body} . ' ' . header($call, 'Content-Type'), 'a=b&c=%20 application/x-www-form-urlencoded', 'a form as text');
	($call) = call_step(
		{ action => "$busi/a", payload => { amount => 30, 'a b' => "x&y=z+ \x{e4}%", card => { number => '4242', tags => [ 'a', JSON::PP::true, { b => 1.5 } ] }, none => undef },
			content_type => 'application/x-www-form-urlencoded' });
	is(join('&', sort split /&/, $call->{body}), 'a%20b=x%26y%3Dz%2B%20%C3%A4%25&amount=30&card%5Bnumber%5D=4242&card%5Btags%5D%5B0%5D=a&card%5Btags%5D%5B1%5D=true&card%5Btags%5D%5B2%5D%5Bb%5D=1.5',
		'an object as a form');
	($call) = call_step({ action => "$busi/a", payload_base64 => 'cHJvdG9idWY=', content_type => 'application/protobuf' });
	is($call->{body} . ' ' . header($call, 'Content-Type'), 'protobuf application/protobuf', 'bytes');
}
{
	my ($call) = call_step({ action => "$busi/a", headers => { 'X-Step' => 'step', 'X-Both' => 'step', Accept => 'text/plain', 'content-type' => 'x/y', Empty => '' }, payload => 1 },
		options => '{"branch_headers": {"X-Both": "all", "X-All": "all"}}');
	is(join(' ', map { header($call, $_) } qw(X-Step X-Both X-All Accept Content-Type)), 'step step all text/plain x/y', 'headers of the step go before those of the transaction');
	is((grep { lc eq 'x-both' } keys %{ $call->{headers} }) . header($call, 'Empty'), '1', 'and take their place');
}

# ---------- the key ----------

{
	my @calls = call_step({ action => "$busi/no", compensate => "$busi/undo" }, gid => 'key', reply => [ '/no', { status => 500 }, { status => 409 } ]);
	run_due($node, 100);
	is(join(' ', map { header($_, 'Idempotency-Key') } calls_of()), 'key/01/action key/01/action key/01/compensate', 'the same for each retry, another for each op');
}
for my $case ([ "a b/c%\x{e4}\x{20ac}\"'é", 'a%20b/c%25%C3%A4%E2%82%AC"\'%C3%A9' ], [ 'x' x 128, 'x' x 128 ], [ '/', '/' ])
{
	my ($gid, $key) = @$case;
	my ($call) = call_step({ action => "$busi/a", query_parameters => JSON::PP::false }, gid => $gid);
	is(header($call, 'Idempotency-Key'), "$key/01/action", 'a key of any gid');
	is(header($call, 'dtm-gid'), $key, 'and so the gid');
}
{
	my ($call) = call_step({ action => "$busi/a", headers => { 'idempotency-key' => 'mine' } });
	is(header($call, 'Idempotency-Key'), 'mine', 'unless the step has one of its own');
	($call) = call_step({ action => "$busi/rpc?method=m", payload => {}, headers => { 'X-A' => 'b' } }, gid => 'rpc', options => '{"protocol": "json-rpc"}');
	is(header($call, 'Idempotency-Key') . ' ' . header($call, 'X-A') . ' ' . header($call, 'dtm-gid'), 'rpc/01/action b -', 'over JSON-RPC, too');
	($call) = call_step({ action => "grpc://$grpc/busi.Busi/M", headers => { 'X-A' => 'b' } }, gid => 'grpc');
	is(header($call, 'Idempotency-Key') . ' ' . header($call, 'X-A') . ' ' . header($call, 'dtm-gid'), '- b grpc', 'not over gRPC, whose metadata says it');
	sql("SELECT dtm_prepare('tcc', 'key-tcc')");
	sql("SELECT dtm_register_branch('key-tcc', 'a/b', '$busi/confirm', '')");
	sql("SELECT dtm_submit('tcc', gid => 'key-tcc')");
	clear_participant();
	run_due($node);
	is(header((calls_of())[0], 'Idempotency-Key'), 'key-tcc/a%2Fb/confirm', 'no other op has the same');
}

# ---------- the response ----------

sub result_of
{
	my ($step, @replies) = @_;
	call_step({ action => "$busi/x", %$step }, reply => [ '/x', @replies ]);
	return sql("SELECT dtm_status('step-$number') || ' ' || string_agg(result || coalesce(' ' || http_status, ''), ', ' ORDER BY started) FROM dtm.calls WHERE gid = 'step-$number'");
}
my %payment = (replies => 'status', final => '400,402,404,410,422', ongoing => '202,425');
is(result_of({%payment}, { status => 201, body => '{"title":"FAILURE"}' }), 'succeed SUCCESS 201', 'created');
is(result_of({%payment}, { status => 200, body => 'FAILURE' }), 'succeed SUCCESS 200', 'words do not count');
is(result_of({%payment}, { status => 402, body => '{"error":"card_declined"}' }), 'failed FAILURE 402', 'declined');
is(reason("step-$number"), "url:$busi/x return failed: {\"error\":\"card_declined\"} FAILURE", 'its reason');
is(result_of({%payment}, { status => 202 }), 'submitted ONGOING 202', 'accepted');
is(result_of({%payment}, { status => 409 }), 'submitted ERROR 409', 'busy');
is(result_of({%payment}, { status => 500, body => '{"dtm_result":"FAILURE"}' }), 'submitted ERROR 500', 'broken');
is(result_of({ success => '200' }, { status => 201 }), 'submitted ERROR 201', 'only 200');
is(result_of({%payment}, { status => 201, body => 'x' x 5000 }), 'succeed SUCCESS 201', 'a long body of a status that says enough');
is(result_of({%payment}, { status => 402, body => 'x' x 5000 }), 'failed FAILURE 402', 'the same');
is(result_of({%payment}, { status => 201, body => '{}', headers => { 'Content-Encoding' => 'br' } }), 'succeed SUCCESS 201', 'and of one that cannot be read');
is(result_of({}, { status => 201, body => 'x' x 5000 }), 'submitted ERROR', 'but not where words count');

# undoing what is not there
for my $case ([ 404, 'failed' ], [ 410, 'failed' ], [ 400, 'aborting' ])
{
	my ($status, $expected) = @$case;
	call_step({ action => "$busi/x", compensate => "$busi/undo", method => 'POST', compensate_method => 'DELETE', compensate_ok => '404,410', payload => 1 }, gid => "undo-$status",
		reply => [ '/x', { status => 409 } ]);
	# both were asked for in one pass
	is(join(' ', map { "$_->{method} $_->{path}" } calls_of()), 'POST /x DELETE /undo', "$status: the methods of both");
	clear_participant();
	reply('/undo', { status => $status });
	reply('/y', { status => 409 });
	sql("SELECT dtm_submit('saga', '[{\"action\": \"$busi/y\", \"compensate\": \"$busi/undo\", \"compensate_ok\": \"404,410\"}]', 'ok-$status')");
	run_due($node);
	is(sql("SELECT dtm_status('ok-$status')"), $expected, "a compensation that is answered $status");
	run_due($node, 100);
}

# ---------- Retry-After ----------

# The calls that were made when the branch asked to wait, and so many seconds later.
sub calls_after
{
	my ($gid, $reply, $options, @seconds) = @_;
	my @counts;
	call_step({ action => "$busi/x", %$options }, gid => $gid, reply => [ '/x', $reply ]);
	for my $n (0, @seconds)
	{
		run_due($node, $n);
		push @counts, scalar(grep { header($_, 'Idempotency-Key') eq "$gid/01/action" } calls_of());
	}
	return join ' ', @counts;
}
my %wait = (status => 429, body => '', headers => { 'Retry-After' => '200' });
is(calls_after('wait', {%wait}, { retry_after => JSON::PP::true }, 190, 230), '1 1 2', '429 with seconds');
is(calls_after('wait-503', { %wait, status => 503 }, { retry_after => JSON::PP::true }, 190, 230), '1 1 2', 'status 503');
is(calls_after('wait-500', { %wait, status => 500 }, { retry_after => JSON::PP::true }, 25), '1 2', 'not of another status');
is(calls_after('wait-off', {%wait}, {}, 25), '1 2', 'not unless it is asked for');
is(calls_after('wait-soon', { %wait, headers => { 'Retry-After' => '1' } }, { retry_after => JSON::PP::true }, 5, 25), '1 1 2', 'the back-off counts if it is longer');
is(calls_after('wait-long', { %wait, headers => { 'Retry-After' => '99999999999999999999' } }, { retry_after => JSON::PP::true }, 3590, 3610), '1 1 2', 'never longer than dtm.retry_interval_max');
is(calls_after('wait-bad', { %wait, headers => { 'Retry-After' => 'later' } }, { retry_after => JSON::PP::true }, 25), '1 2', 'what is neither a number nor a date');
{
	my @days = qw(Sun Mon Tue Wed Thu Fri Sat);
	my @months = qw(Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec);
	my ($s, $m, $h, $day, $month, $year, $weekday) = gmtime(time + 1000);
	my $date = sprintf '%s, %02d %s %d %02d:%02d:%02d GMT', $days[$weekday], $day, $months[$month], $year + 1900, $h, $m, $s;
	is(calls_after('wait-date', { %wait, headers => { 'Retry-After' => $date } }, { retry_after => JSON::PP::true }, 500, 1200), '1 1 2', 'a date');
}
{
	clear_participant();
	reply('/x', {%wait});
	sql("SELECT dtm_submit('saga', '[{\"action\": \"$busi/x\", \"retry_after\": true}]', 'wait-limit', '{\"retry_limit\": 5}')");
	run_due($node);
	is(scalar(() = calls_of('wait-limit')), 1, 'retry_limit does not try again at once');
}
{
	# a branch that has asked to wait, and one beside it that has not, and is done before
	clear_participant();
	reply('/x', {%wait});
	reply('/y', { status => 500 });
	sql("SELECT dtm_submit('msg', '[{\"action\": \"$busi/x\", \"retry_after\": true}, {\"action\": \"$busi/y\"}]', 'wait-alone', '{\"concurrent\": true}')");
	my @seen;
	for my $n (0, 25, 190, 230)
	{
		run_due($node, $n);
		push @seen, join ' ', sort map { $_->{path} } calls_of('wait-alone');
	}
	is(join(', ', @seen), '/x /y, /x /y /y, /x /y /y, /x /x /y /y', 'the time that a branch asks for is its own');
	is(sql("SELECT dtm_status('wait-alone')"), 'succeed', 'and it ends');
}

# ---------- servers ----------

sql("CREATE SERVER pay FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url '$busi/v1', replies 'status', final '402,404', compensate_ok '404', query_parameters 'off', content_type 'application/x-www-form-urlencoded', retry_after 'on', request_timeout '20s')");
sql("CREATE USER MAPPING FOR PUBLIC SERVER pay OPTIONS (bearer_token 'secret', hmac_key '0123456789abcdef')");
{
	my ($call) = call_step({ action => 'server:pay/charges', headers => { Authorization => 'forged', Host => 'evil', 'X-A' => 'b' }, payload => { amount => 30 } }, gid => 'server',
		reply => [ '/v1/charges', { status => 402, body => 'FAILURE' } ]);
	is("$call->{path}?$call->{raw_query} $call->{body}", '/v1/charges? amount=30', 'the server says how it is asked');
	is(join(' ', map { header($call, $_) } qw(Authorization X-A dtm-gid Idempotency-Key)), 'Bearer secret b server server/01/action', 'its credentials go before headers of the step');
	unlike(header($call, 'Host'), qr/evil/, 'and so does its host');
	like(header($call, 'Dtm-Signature'), qr/^t=/, 'signed');
	is(sql("SELECT dtm_status('server')"), 'failed', 'and what its responses mean');
	($call) = call_step({ action => 'server:pay/charges', final => '400', query_parameters => JSON::PP::true, content_type => 'application/json', payload => { amount => 30 } }, gid => 'step-first',
		reply => [ '/v1/charges', { status => 402 } ]);
	is("$call->{raw_query} $call->{body} " . sql("SELECT dtm_status('step-first')"), 'branch_id=01&gid=step-first&op=action&trans_type=saga {"amount":30} submitted', 'unless the step says otherwise');
	sql("SELECT dtm_submit('saga', '[{\"action\": \"server:pay/charges\"}]', 'altered')");
	sql("ALTER SERVER pay OPTIONS (SET final '402,404,418', DROP query_parameters)");
	clear_participant();
	reply('/v1/charges', { status => 418 });
	run_due($node);
	is((calls_of())[0]{raw_query} . ' ' . sql("SELECT dtm_status('altered')"), 'branch_id=01&gid=altered&op=action&trans_type=saga failed', 'what is set later counts for calls that come later');
}

# ---------- the wire's object ----------

clear_participant();
sql("SELECT dtm_submit('{\"trans_type\": \"saga\", \"gid\": \"object\", \"steps\": [{\"action\": \"$busi/a\", \"method\": \"PUT\", \"query_parameters\": false, \"name\": \"n\"}], \"payloads\": [\"{\\\"a\\\":  1}\"]}'::jsonb)");
run_due($node);
is((calls_of())[0]{method} . ' ' . (calls_of())[0]{body} . ' ' . (calls_of())[0]{raw_query}, 'PUT {"a":  1} ', 'the same keys in the steps of the wire');

# topics: each of the branches has the options of its step
sql("SELECT dtm_subscribe('t', '$busi/t1'), dtm_subscribe('t', '$busi/t2')");
my @calls = call_step({ action => 'topic://t', method => 'PUT' }, type => 'msg', gid => 'topic');
is(join(' ', map { "$_->{method} $_->{path} " . header($_, 'Idempotency-Key') } @calls), 'PUT /t1 topic/01-01/action PUT /t2 topic/01-02/action', 'the branches of a topic');

stop_participant();
done_testing();
