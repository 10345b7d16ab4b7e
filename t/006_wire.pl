# Branches over gRPC and JSON-RPC, topics, and callbacks of workflows, by the ids of dtm's own
# tests.  If one fails, a participant that does not use plain HTTP receives other calls than from
# dtm.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('wire');
my ($busi, $grpc) = start_participant('--grpc');

sql('SELECT dtm_pause()');
eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'paused');

my ($OK, $INTERNAL, $UNAVAILABLE, $PRECONDITION, $ABORTED) = (0, 13, 14, 9, 10);
my ($out, $in, $outRevert, $inRevert) = map { "$grpc/busi.Busi/$_" } qw(TransOut TransIn TransOutRevert TransInRevert);
my $no_money = { grpc => $ABORTED, message => 'reason:Insufficient balance' };
my $ongoing = { grpc => $PRECONDITION, message => 'wait' };

# A request object with protocol grpc.
sub submit_grpc
{
	my ($type, $gid, $steps, $options) = @_;
	my $list = join ', ', map { "dtm_step('$_->[0]', '" . ($_->[1] || '') . "', '{\"amount\": 30}')" } @$steps;
	sql("SELECT dtm_submit('$type', ARRAY[$list], gid => '$gid', options => '{\"protocol\": \"grpc\"" . ($options ? ", $options" : '') . "}')");
	return;
}

# ---------- gRPC: saga ----------

my @saga = ([ $out, $outRevert ], [ $in, $inRevert ]);

submit_grpc('saga', 'GG-01', \@saga);
run_due($node);
status_is('GG-01', 'succeed', 'P S P S', 'TransOut TransIn', 'all succeed');
{
	# §5.4, to the letter
	my ($call) = calls_of('GG-01');
	is($call->{body}, '{"amount": 30}', 'the payload is the message');
	is(join(' ', map { "$_=$call->{headers}{$_}" } sort grep { /^dtm-/ } keys %{ $call->{headers} }),
		'dtm-branch_id=01 dtm-dtm= dtm-gid=GG-01 dtm-op=action dtm-trans_type=saga', 'the metadata');
	ok($call->{time_left} <= 3.001, 'it has a deadline');
	is(sql("SELECT DISTINCT http_status || ' ' || grpc_status FROM dtm.calls WHERE gid = 'GG-01'"), '200 0', 'both statuses are kept');
}

reply('/busi.Busi/TransIn', $no_money);
reply('/busi.Busi/TransOutRevert', $ongoing);
submit_grpc('saga', 'GG-02', \@saga);
run_due($node);
status_is('GG-02', 'aborting', 'P S S F', 'TransOut TransIn TransInRevert TransOutRevert', 'refused');
run_due($node, 11);
status_is('GG-02', 'failed', 'S S S F', 'TransOut TransIn TransInRevert TransOutRevert TransOutRevert', 'and undone');
is(reason('GG-02'), "url:$in return failed: reason:Insufficient balance FAILURE", 'GG-02: reason');

submit_grpc('saga', 'GG-03', \@saga, '"concurrent": true');
run_due($node);
status_is('GG-03', 'succeed', 'P S P S', undef, 'concurrent');

submit_grpc('saga', 'GG-04', \@saga, '"concurrent": true, "orders": {"1": [0]}');
run_due($node);
status_is('GG-04', 'succeed', 'P S P S', 'TransOut TransIn', 'with an order');

reply('/busi.Busi/TransOut', $ongoing);
submit_grpc('saga', 'GG-05', \@saga);
run_due($node);
status_is('GG-05', 'submitted', 'P P P P', 'TransOut', 'ongoing');
run_due($node, 11);
status_is('GG-05', 'succeed', 'P S P S', 'TransOut TransOut TransIn', 'asked again after the interval');

submit_grpc('saga', 'GG-07', [ [ $out, $outRevert ], [ '', $inRevert ] ]);
run_due($node);
status_is('GG-07', 'succeed', 'P S P S', 'TransOut', 'an empty URL');

sql("SELECT dtm_submit('saga', ARRAY[dtm_step('$out')], gid => 'GG-08', options => '{\"protocol\": \"grpc\", \"request_timeout\": 6}')");
run_due($node);
{
	my ($call) = calls_of('GG-08');
	is($call->{body}, '', 'GG-08: no payload is an empty message');
	ok($call->{time_left} > 3.001, 'GG-08: its own deadline');
	ok(!exists $call->{headers}{test_header}, 'GG-08: no header');
	is($call->{headers}{'user-agent'}, 'dtm-postgresql', 'who calls');
}

reply('/busi.Busi/TransOut', $ongoing);
submit_grpc('saga', 'GG-10', [ [ $out, '' ] ], '"branch_headers": {"Test_Header": "yes", "Content-Type": "x", "empty": "", "blank": "   ", "x-bin": "abc", "User-Agent": "mine"}');
run_due($node);
run_due($node, 11);
is((calls_of('GG-10'))[0]{headers}{'x-bin'}, "b'abc'", 'a header of bytes arrives as it was');
is((calls_of('GG-10'))[0]{headers}{'user-agent'}, 'mine', 'who calls, if it is to be another');
is(join(' ', map { "$_->{headers}{test_header}<$_->{headers}{empty}$_->{headers}{blank}>" } calls_of('GG-10')), 'yes<> yes<>',
	'GG-10, GG-11: headers are metadata in lower case, each time');

# R-05; the old protocol's ONGOING; a message in percent-encoding
for my $case (
	[ 'R-05a', { grpc => $ABORTED, message => 'ONGOING' }, 'submitted', 'ONGOING', 'ONGOING' ],
	[ 'R-05b', { grpc => $INTERNAL, message => 'FAILURE inside' }, 'submitted', 'ERROR', 'FAILURE inside' ],
	[ 'R-05c', { grpc => $UNAVAILABLE, message => '' }, 'submitted', 'ERROR', '' ],
	[ 'R-05d', { grpc => $ABORTED, message => "Gr\x{fc}n 100% \x{20ac}" }, 'failed', 'FAILURE', "Gr\x{fc}n 100% \x{20ac}" ],
	[ 'R-05e', { grpc => $ABORTED, message => '' }, 'failed', 'FAILURE', '' ])
{
	my ($gid, $reply, $status, $result, $text) = @$case;
	utf8::encode($text);
	reply('/busi.Busi/Once', $reply);
	submit_grpc('saga', $gid, [ [ "$grpc/busi.Busi/Once", '' ] ]);
	run_due($node);
	is(sql("SELECT dtm_status('$gid'), result, grpc_status, error FROM dtm.calls WHERE gid = '$gid'"),
		"$status|$result|$reply->{grpc}|$text", $gid);
}

# what is no gRPC server, and none at all
for my $case ([ 'no-grpc', ($busi =~ s{http://}{}r) . '/busi.Busi/M', qr/^ERROR\|/ ], [ 'nobody', '127.0.0.1:1/busi.Busi/M', qr/^ERROR\|.*connect/ ])
{
	my ($gid, $url, $expected) = @$case;
	submit_grpc('msg', $gid, [ [$url] ]);
	run_due($node);
	like(sql("SELECT result, error FROM dtm.calls WHERE gid = '$gid'"), $expected, "$gid: tried again later");
}
reply('/busi.Busi/Slow', { delay => 30 });
submit_grpc('msg', 'slow', [ ["$grpc/busi.Busi/Slow"] ], '"request_timeout": 0.2');
run_due($node);
like(sql("SELECT result, error FROM dtm.calls WHERE gid = 'slow'"), qr/^ERROR\|/, 'slow: the deadline counts');

# schemes of their own, in a transaction of any protocol; http in one of gRPC
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('grpc://$grpc/busi.Busi/M'), dtm_step('$busi/M')], gid => 'schemes')");
run_due($node);
status_is('schemes', 'succeed', 'S S', 'M M', 'grpc:// and http:// side by side');
submit_grpc('msg', 'mixed', [ ["$grpc/busi.Busi/M"], ["$busi/M"] ]);
run_due($node);
status_is('mixed', 'succeed', 'S S', 'M M', 'an http URL in protocol grpc');
is(join(' ', map { $_->{method} } calls_of('mixed')), 'GRPC POST', 'mixed: each in its way');

# many at a time, and a large message
sql("SELECT count(dtm_submit('msg', array_fill(dtm_step('grpc://$grpc/busi.Busi/M', payload => to_jsonb(repeat('x', 1000))), ARRAY[20]), gid => 'many-' || n, options => '{\"concurrent\": true}')) FROM generate_series(1, 20) n");
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('grpc://$grpc/busi.Busi/Big', payload => to_jsonb(repeat('x', 300000)))], gid => 'big')");
run_due($node);
is(sql("SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'many-%' AND status = 'succeed'"), '20', '400 calls at a time');
is((map { length $_->{body} } calls_of('big'))[0], 300002, 'a large message arrives whole');

# ---------- gRPC: TCC, XA, msg ----------

sub open_twophase
{
	my ($type, $gid, @branches) = @_;
	sql("SELECT dtm_prepare('{\"gid\": \"$gid\", \"trans_type\": \"$type\", \"protocol\": \"grpc\"}'::jsonb)");
	sql("SELECT dtm_register_branch('{\"gid\": \"$gid\", \"trans_type\": \"$type\", \"branch_id\": \"$_\", \"data\": \"d\", \"url\": \"$grpc/busi.Busi/Xa$_\", \"confirm\": \"$grpc/busi.Busi/Confirm$_\", \"cancel\": \"$grpc/busi.Busi/Cancel$_\"}'::jsonb)") for @branches;
	return;
}

open_twophase('tcc', 'TC-13', '01', '02');
sql("SELECT dtm_submit('tcc', gid => 'TC-13')");
run_due($node);
status_is('TC-13', 'succeed', 'P S P S', 'Confirm02 Confirm01', 'last registered first');

reply('/busi.Busi/Cancel01', $ongoing);
open_twophase('tcc', 'TC-14', '01', '02');
sql("SELECT dtm_abort('TC-14', 'rpc error: code = Aborted desc = reason:')");
run_due($node);
status_is('TC-14', 'aborting', 'P P S P', 'Cancel02 Cancel01', 'a cancel is ongoing');
run_due($node, 11);
status_is('TC-14', 'failed', 'S P S P', 'Cancel02 Cancel01 Cancel01', 'cancelled');
is(reason('TC-14'), 'rpc error: code = Aborted desc = reason:', 'TC-14: reason');

open_twophase('tcc', 'TC-15', '01', '02', '0201');
sql("SELECT dtm_submit('tcc', gid => 'TC-15')");
run_due($node);
status_is('TC-15', 'succeed', 'P S P S P S', 'Confirm0201 Confirm02 Confirm01', 'nested');

open_twophase('tcc', 'TC-18', '01');
run_due($node, 300);
status_is('TC-18', 'failed', 'S P', 'Cancel01', 'never submitted');

open_twophase('xa', 'XA-10', '01', '02');
sql("SELECT dtm_submit('xa', gid => 'XA-10')");
run_due($node);
status_is('XA-10', 'succeed', 'P S P S', 'Xa01 Xa02', 'first registered first');
is((calls_of('XA-10'))[0]{query}{op}, 'commit', 'XA-10: op');

open_twophase('xa', 'XA-11', '01');
sql("SELECT dtm_abort('XA-11')");
run_due($node);
status_is('XA-11', 'failed', 'S P', 'Xa01', 'rolled back');

my $query = "\"query_prepared\": \"$grpc/busi.Busi/QueryPrepared\", \"protocol\": \"grpc\"";
my $msg = "ARRAY[dtm_step('topic://grpc_trans', payload => '{}')]";
sql("SELECT dtm_subscribe('grpc_trans', '$_') ") for $out, $in;
sql("SELECT dtm_submit('msg', $msg, gid => 'MS-13', options => '{\"protocol\": \"grpc\"}')");
run_due($node);
status_is('MS-13', 'succeed', 'S S', 'TransOut TransIn', 'a topic of gRPC URLs');

reply('/busi.Busi/QueryPrepared', $ongoing);
reply('/busi.Busi/TransOut', $ongoing);
sql("SELECT dtm_prepare('msg', 'MS-14', $msg, '{$query}')");
run_due($node, 180);
status_is('MS-14', 'prepared', 'P P', 'QueryPrepared', 'query ongoing');
run_due($node, 191);
status_is('MS-14', 'submitted', 'P P', 'QueryPrepared QueryPrepared TransOut', 'a branch that is not done stops it');
run_due($node, 202);
status_is('MS-14', 'succeed', 'S S', 'QueryPrepared QueryPrepared TransOut TransOut TransIn', 'then the rest');
is((calls_of('MS-14'))[0]{headers}{'dtm-op'} . (calls_of('MS-14'))[0]{headers}{'dtm-branch_id'}, 'msg00', 'MS-14: the query');

reply('/busi.Busi/QueryPrepared', $ongoing, { grpc => $ABORTED, message => 'no' });
sql("SELECT dtm_prepare('msg', 'MS-15', $msg, '{$query}')");
run_due($node, 180);
run_due($node, 191);
status_is('MS-15', 'failed', 'P P', 'QueryPrepared QueryPrepared', 'query says no');

# ---------- topics over HTTP ----------

sql("SELECT dtm_subscribe('http_trans', '$busi/$_')") for 'TransOut', 'TransIn';
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('topic://http_trans', payload => '{\"amount\": 30}')], gid => 'MS-01')");
run_due($node);
status_is('MS-01', 'succeed', 'S S', 'TransOut TransIn', 'TP-05: every URL of the topic, in order');
is(join(' ', map { "$_->{query}{branch_id} $_->{body}" } calls_of('MS-01')), '01-01 {"amount": 30} 01-02 {"amount": 30}',
	'TP-05: branch ids, and the same payload for each');

# TP-04: subscribing at the same time keeps all of them
{
	my @sessions;
	for my $session (0 .. 4)
	{
		my @commands = map { ('-c', "SELECT dtm_subscribe('busy', 'http://a/" . ($session * 4 + $_) . "')") } 0 .. 3;
		push @sessions, IPC::Run::start([ 'psql', '-Xqd', $node->connstr('postgres'), @commands ], '<', \undef, '>', \my $out, '2>', \my $err);
	}
	$_->finish for @sessions;
}
sql("SELECT dtm_unsubscribe('busy', url) FROM dtm.topics WHERE topic = 'busy'");
is(sql("SELECT version FROM dtm.topics WHERE topic = 'busy'"), '40', 'TP-04: 20 at a time, none lost');

# ---------- JSON-RPC ----------

my $jrpc = "$busi/json-rpc?method=TransIn";
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/TransOut', payload => '{\"amount\": 30}'), dtm_step('$jrpc', payload => '{\"amount\": 30, \"gid\": \"mine\"}')], gid => 'JR-01', options => '{\"protocol\": \"json-rpc\"}')");
reply('/json-rpc', { body => '{"jsonrpc":"2.0","id":"1","result":{},"error":null}' });
run_due($node);
is(sql("SELECT dtm_status('JR-01')"), 'succeed', 'JR-01');
{
	my ($call) = grep { $_->{path} eq '/json-rpc' } calls_of();
	my $body = JSON::PP->new->decode($call->{body});
	is($call->{raw_query}, 'method=TransIn', 'JR-01: no parameters are added to the URL');
	is(JSON::PP->new->canonical->encode($body->{params}), '{"amount":30,"branch_id":"02","gid":"JR-01","op":"action","trans_type":"msg"}', 'JR-01: params');
	is("$body->{jsonrpc} $body->{method}", '2.0 TransIn', 'JR-01: method');
	ok(length $body->{id} && $call->{body} =~ /"id": "/, 'JR-01: the id is a string');
}

# JR-02, R-07: here the codes are recognised
sub jrpc_error { return { body => "{\"jsonrpc\":\"2.0\",\"id\":\"1\",\"error\":{\"code\":$_[0],\"message\":\"m\"}}" }; }
reply('/json-rpc', jrpc_error(-23977), jrpc_error(-32902), jrpc_error(-32901), { body => 'no JSON' }, { body => '[1]' }, { body => '{"result":"a\\u0000b\\\\u"}' });
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/TransOut', payload => '{}'), dtm_step('$jrpc')], gid => 'JR-02', options => '{\"protocol\": \"json-rpc\"}')");
run_due($node, 1000 * $_ * $_) for 0 .. 5;
is(sql("SELECT dtm_status('JR-02'), string_agg(result, ' ' ORDER BY started) FROM dtm.calls WHERE gid = 'JR-02' AND branch_id = '02'"),
	'succeed|ERROR ONGOING FAILURE ERROR ERROR SUCCESS', 'JR-02: a msg is never failed by a branch');
reply('/json-rpc', jrpc_error(-32901));
sql("SELECT dtm_submit('saga', ARRAY[dtm_step('$jrpc')], gid => 'R-07', options => '{\"protocol\": \"json-rpc\"}')");
run_due($node);
is(sql("SELECT dtm_status('R-07')"), 'failed', 'R-07: a saga is');
reply('/json-rpc', { body => 'null' });
sql("SELECT dtm_submit('saga', ARRAY[dtm_step('$jrpc')], gid => 'R-07b', options => '{\"protocol\": \"json-rpc\"}')");
run_due($node);
is(sql("SELECT dtm_status('R-07b')"), 'succeed', 'null has no error in it');

# a reply counts by what it means, however it is written
my $no = '{"error":{"code":-32901}}';
my @replies = (
	[ ' null ', 'SUCCESS' ], [ "\r\n\tnull\n", 'SUCCESS' ], [ "\xef\xbb\xbfnull", 'SUCCESS' ], [ '{}', 'SUCCESS' ], [ "\n{}\n", 'SUCCESS' ],
	# numbers beyond double, and beyond numeric
	[ '{"result":1e400}', 'SUCCESS' ], [ '{"result":-1e999999999}', 'SUCCESS' ], [ '{"id":' . '9' x 5000 . '}', 'SUCCESS' ], [ '{"result":1e-999999999}', 'SUCCESS' ],
	[ '{"error":{"code":1e999999999}}', 'ERROR' ], [ '{"error":{"code":-1e400}}', 'ERROR' ],
	[ '{"error":{"code":-32901.0}}', 'FAILURE' ], [ '{"error":{"code":-3.2901e4}}', 'FAILURE' ], [ '{"error":{"code":-32902e0}}', 'ONGOING' ],
	[ '{"error":{"code":"-32901"}}', 'ERROR' ], [ '{"error":{"code":[-32901]}}', 'ERROR' ], [ '{"error":{"code":{"code":-32901}}}', 'ERROR' ],
	[ '{"error":{"data":{"code":-32901}}}', 'ERROR' ], [ '{"error":[{"code":-32901}]}', 'ERROR' ], [ '{"error":[-32901]}', 'ERROR' ],
	[ '{"result":{"error":{"code":-32901}}}', 'SUCCESS' ], [ '[{"error":{"code":-32901}}]', 'ERROR' ],
	[ '{"error":false}', 'ERROR' ], [ '{"error":0}', 'ERROR' ], [ '{"error":"x"}', 'ERROR' ], [ '{"error":{}}', 'ERROR' ],
	# UTF-8 that is none, and escapes that stand for nothing
	[ "{\"result\":\"caf\xe9 \xff\xc0\xae \xed\xa0\x80\"}", 'SUCCESS' ], [ "{\"error\":{\"message\":\"\xff\",\"code\":-32901}}", 'FAILURE' ],
	[ '{"result":"\\u0000 \\ud800 \\udc00\\ud800 \\uffff"}', 'SUCCESS' ], [ '{"\\ud83d\\ude00":1,"error":{"message":"\\udead","code":-32902}}', 'ONGOING' ],
	# names with escapes, and such that come twice: the last one counts
	[ '{"\\u0065rror":{"\\u0063ode":-32901}}', 'FAILURE' ], [ '{"\\u0065\\u0072\\u0072\\u006F\\u0072":{"c\\u006fde":-32902}}', 'ONGOING' ],
	[ '{"\\\\u0065rror":{"code":-32901}}', 'SUCCESS' ], [ '{"err\\u006fr\\u0000":{"code":-32901}}', 'SUCCESS' ],
	[ '{"error":{"code":-32901},"error":null}', 'SUCCESS' ], [ '{"error":null,"error":{"code":-32901}}', 'FAILURE' ],
	[ '{"error":{"code":1,"code":-32901}}', 'FAILURE' ], [ '{"error":{"code":-32901,"code":1}}', 'ERROR' ], [ '{"error":{"code":-32901},"\\u0065rror":{"code":-32902}}', 'ONGOING' ],
	[ '{"error":{"code":-32901},"error":{}}', 'ERROR' ], [ '{"Error":{"code":-32901}}', 'SUCCESS' ],
	# the words of HTTP's rules, in escapes, too
	[ '{"result":"\\u0046AILURE"}', 'FAILURE' ], [ '{"result":{"dtm_\\u0072esult":"ON\\u0047OING"}}', 'ONGOING' ], [ '{"dtm_result":"FAIL\\u0055RE"}', 'FAILURE' ],
	[ '{"error":{"code":1,"message":"FAILURE"}}', 'FAILURE' ],
	# not as a part of others' data
	[ '{"result":{"x":["ONGOING","FAILURE"]}}', 'SUCCESS' ], [ '{"FAILURE":1}', 'SUCCESS' ], [ '{"result":{"list":[{"dtm_result":"FAILURE"}]}}', 'SUCCESS' ],
	[ '{"result":{"title":"FAILURE Is Not an Option"}}', 'SUCCESS' ], [ '{"error":{"code":1,"message":"an INTERNAL_FAILURE"}}', 'ERROR' ],
	[ '{"result":"\\\\u0046AILURE"}', 'SUCCESS' ],
	# no JSON
	map({ [ $_, 'ERROR', qr/^reply is not JSON: / ] } '', ' ', 'nul', 'null x', '{"result":1', '{"result":01}', "{'result':1}", '{"result":"\\x"}', '{"result":"\\u12"}', '{} {}', "{}\0", "\xff\xfe{}", "{\"a\":\"\n\"}"),
	map({ [ $_, 'ERROR', qr/^reply is JSON, but not a JSON-RPC response: / ] } '1', '"x"', 'true', '[]', '[null]'),
	[ '[' x 100000, 'ERROR', qr/^reply is nested too deeply: \[{900}/ ],
	[ '{"result":' . '[' x 100000 . ']' x 100000 . '}', 'ERROR', qr/^reply is nested too deeply: / ],
);
reply("/rpc/$_", { hex => unpack('H*', $replies[$_][0]) }) for 0 .. $#replies;
sql("SELECT count(dtm_submit('saga', ARRAY[dtm_step('$busi/rpc/' || n || '?method=m')], gid => 'RPC-' || to_char(n, 'FM000'), options => '{\"protocol\": \"json-rpc\"}')) FROM generate_series(0, $#replies) n");
run_due($node);
for my $n (0 .. $#replies)
{
	my ($body, $result, $error) = @{ $replies[$n] };
	my ($got, $text) = split /\|/, sql("SELECT result, error FROM dtm.calls WHERE gid = 'RPC-' || to_char($n, 'FM000') ORDER BY started LIMIT 1"), 2;
	$body = substr($body, 0, 60);
	$body =~ s/([^ -~])/sprintf('\\x%02x', ord $1)/ge;
	is($got, $result, "JSON-RPC: $body");
	like($text, $error, "JSON-RPC: $body: what is said of it") if $error;
}
# linear: as long as it may be, of what takes longest
reply('/rpc-long', { body => '{"error":{"code":-32901,"data":"' . '\\u0041' x 160000 . '"}}' });
sql("SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/rpc-long?method=m')], gid => 'RPC-long', options => '{\"protocol\": \"json-rpc\"}')");
run_due($node);
is(sql("SELECT dtm_status('RPC-long')"), 'failed', 'JSON-RPC: a long reply');

# a header of blanks is an empty one, as receivers have it, and is sent; what may be encoded is said
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/headers')], gid => 'headers', options => '{\"branch_headers\": {\"X-Blank\": \"  \", \"X-Empty\": \"\", \"X-Both\": \" a b \"}}')");
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/headers')], gid => 'no-headers')");
run_due($node);
is(join('|', map { $_ // 'missing' } @{ (calls_of('headers'))[0]{headers} }{ 'X-Blank', 'X-Empty', 'X-Both' }), '||a b ', 'headers of blanks');
is((calls_of($_))[0]{headers}{'Accept-Encoding'}, 'identity', "$_: Accept-Encoding") for 'headers', 'no-headers';
is((calls_of('GG-10'))[0]{headers}{'accept-encoding'} // '', 'identity', 'Accept-Encoding of gRPC');
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/plain', payload => '{}')], gid => 'JR-plain', options => '{\"protocol\": \"json-rpc\"}')");
run_due($node);
is((calls_of('JR-plain'))[0]{body}, '{}', 'JR-01: without a method it is plain HTTP');

# ---------- workflow ----------

sub prepare_workflow
{
	my ($gid, $callback, $data) = @_;
	sql("SELECT dtm_prepare_workflow('{\"gid\": \"$gid\", \"trans_type\": \"workflow\", $callback, \"custom_data\": \"{\\\"name\\\": \\\"transfer\\\", \\\"data\\\": \\\"$data\\\"}\"}')");
	return;
}

prepare_workflow('WF-05', "\"query_prepared\": \"$busi/callback\"", 'eyJhbW91bnQiOjMwfQ==');
run_due($node, 9);
is(one_line('WF-05'), '', 'WF-05: the callback is not called before the interval');
reply('/callback', { status => 500 }, { status => 500 }, { status => 425 }, { status => 200 });
run_due($node, 11);
{
	my ($call) = calls_of('WF-05');
	is("$call->{method} $call->{raw_query} $call->{body}", 'POST branch_id=00&gid=WF-05&op=transfer&trans_type=workflow {"amount":30}',
		'WF-05: the callback gets the name as op, and the data');
}
run_due($node, 28);
is(scalar(calls_of('WF-05')), 1, 'R-45: it backs off');
run_due($node, 32);
run_due($node, 73);
run_due($node, 84);
is(join(' ', sql("SELECT string_agg(result, ' ' ORDER BY started) FROM dtm.calls WHERE gid = 'WF-05' AND branch_id = '00' AND op = 'transfer'")),
	'ERROR ERROR ONGOING SUCCESS', 'WF-06: 425 and 200 are asked again after the interval');
is(sql("SELECT dtm_status('WF-05')"), 'prepared', 'WF-14: what the callback answers is not the outcome');
sql("SELECT dtm_register_branch('{\"gid\": \"WF-05\", \"trans_type\": \"workflow\", \"branch_id\": \"01\", \"op\": \"action\", \"status\": \"succeed\"}'::jsonb)");
sql("SELECT dtm_submit('{\"gid\": \"WF-05\", \"trans_type\": \"workflow\", \"req_extra\": {\"status\": \"succeed\"}}'::jsonb)");
run_due($node, 100000);
status_is('WF-05', 'succeed', 'S', 'callback callback callback callback', 'submitted: not called any more');

prepare_workflow('WF-13', "\"protocol\": \"grpc\", \"query_prepared\": \"$grpc/workflow.Workflow/Execute\"", 'eyJhbW91bnQiOjMwfQ==');
run_due($node, 11);
{
	my ($call) = calls_of('WF-13');
	is($call->{body}, "\n\x0d{\"amount\":30}", 'WF-13: a WorkflowData over gRPC');
	is("$call->{path} $call->{query}{op} $call->{query}{branch_id}", '/workflow.Workflow/Execute transfer 00', 'WF-13: and its metadata');
}
prepare_workflow('WF-09', "\"query_prepared\": \"$busi/callback\"", '');
run_due($node, 11);
is((calls_of('WF-09'))[0]{method}, 'GET', 'WF-09: a GET where there is no data');
sql("SELECT dtm_force_stop(gid) FROM dtm.transactions WHERE status = 'prepared'");

# waiting, with the coordinator at work (GG-06, GG-09; CS-05 to CS-07)
sql('SELECT dtm_resume()');
submit_grpc('saga', 'GG-06', \@saga, '"wait_result": true');
is(sql("SELECT dtm_wait('GG-06')"), 'succeed', 'GG-06: waited for');
reply({ path => '/busi.Busi/TransIn', gid => 'GG-09' }, $no_money);
submit_grpc('saga', 'GG-09', \@saga, '"wait_result": true');
is(sql("SELECT dtm_wait('GG-09')"), 'failed', 'GG-09: refused');
like(reason('GG-09'), qr/Insufficient balance/, 'GG-09: and why');
# TC-16: empty URLs
sql("SELECT dtm_prepare('tcc', 'TC-16', options => '{\"protocol\": \"grpc\", \"branch_headers\": {\"test_header\": \"yes\"}}')");
sql("SELECT dtm_register_branch('TC-16', '01', '', '')");
sql("SELECT dtm_submit('tcc', gid => 'TC-16')");
is(sql("SELECT dtm_wait('TC-16')"), 'succeed', 'TC-16: empty URLs');
status_is('TC-16', 'succeed', 'P S', '', 'no call');
sql('SELECT dtm_pause()');
eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'paused');

# ---------- traces ----------

sub trace
{
	my ($call, $part) = @_;
	my %headers = map { lc($_) => $call->{headers}{$_} } keys %{ $call->{headers} };
	return ($headers{traceparent} || '') =~ /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/ ? ($1, $2, $3)[$part] : 'malformed';
}

{
	my $given = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00';
	my $steps = "ARRAY[dtm_step('$busi/A', payload => '{}'), dtm_step('grpc://$grpc/busi.Busi/B', payload => '{}'), dtm_step('$busi/C?method=C', payload => '{}')]";
	sql("SELECT dtm_submit('msg', $steps, gid => 'trace-made')");
	sql("SELECT dtm_submit('msg', $steps, gid => 'trace-given', options => '{\"traceparent\": \"$given\", \"branch_headers\": {\"X\": \"y\"}}')");
	sql("SELECT dtm_prepare('msg', 'trace-late', $steps, options => '{\"branch_headers\": {\"Traceparent\": \"$given\", \"X\": \"y\"}}')");
	(my $other = $given) =~ s/0af/abc/;
	sql("SELECT dtm_submit('msg', gid => 'trace-late', options => '{\"traceparent\": \"$other\"}')");
	run_due($node);
	my @made = calls_of('trace-made');
	is(scalar(@made), 3, 'three calls, over HTTP and gRPC');
	is(scalar(grep { trace($_, 0) eq trace($made[0], 0) && trace($_, 0) ne 'malformed' } @made), 3, 'are of one trace, made from the gid');
	my %spans = map { trace($_, 1) => 1 } @made;
	is(scalar(keys %spans), 3, 'each is a span of its own');
	is(join(' ', map { trace($_, 0) . trace($_, 2) } calls_of('trace-given')), join(' ', ('0af7651916cd43dd8448eb211c80319c00') x 3), 'a trace that is given is gone on with, and its flags');
	isnt(trace((calls_of('trace-given'))[0], 1), 'b7ad6b7169203331', 'with spans of its own');
	is((calls_of('trace-given'))[0]{headers}{X}, 'y', 'beside other headers');
	is(join(' ', map { trace($_, 0) } calls_of('trace-late')), join(' ', ('abc7651916cd43dd8448eb211c80319c') x 3), 'the one that the submit brings counts');
	is((calls_of('trace-late'))[0]{headers}{X}, 'y', 'and the other headers stay');
}

# ---------- TLS ----------

SKIP:
{
	my $dir = PostgreSQL::Test::Utils::tempdir();
	skip 'no openssl', 3
	  if system("openssl req -x509 -newkey rsa:2048 -nodes -keyout $dir/key.pem -out $dir/cert.pem -days 1 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 >/dev/null 2>&1") != 0;
	stop_participant();
	($busi, $grpc) = start_participant('--grpc', '--tls', "$dir/cert.pem", "$dir/key.pem");
	sql("SELECT dtm_submit('msg', ARRAY[dtm_step('grpcs://$grpc/busi.Busi/M', payload => '{}')], gid => 'untrusted')");
	run_due($node);
	like(sql("SELECT error FROM dtm.calls WHERE gid = 'untrusted'"), qr/certificate/, 'a certificate that nobody vouches for');
	$node->append_conf('postgresql.conf', "dtm.ca_file = '$dir/cert.pem'");
	$node->reload;
	eventually($node, "SELECT current_setting('dtm.ca_file') <> ''");
	run_due($node, 30);
	is(sql("SELECT dtm_status('untrusted')"), 'succeed', 'dtm.ca_file vouches for it, over HTTP/2 and TLS');
	$node->append_conf('postgresql.conf', "dtm.ca_file = '/nowhere'");
	$node->reload;
	eventually($node, "SELECT current_setting('dtm.ca_file') = '/nowhere'");
	sql("SELECT dtm_submit('msg', ARRAY[dtm_step('grpcs://$grpc/busi.Busi/M')], gid => 'no file')");
	run_due($node);
	like(sql("SELECT result, error FROM dtm.calls WHERE gid = 'no file'"), qr/^ERROR\|/, 'a file that is not there');
}

done_testing();
