# Results of steps, passed on to later ones.  If this fails, a refund goes to another charge than was
# made, or a branch is called with what no other has answered.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('results', conf => "dtm.retry_interval = 50ms\ndtm.retry_interval_max = 200ms\nlog_min_messages = warning\n");
my ($busi, $grpc) = start_participant('--grpc');
my $json = JSON::PP->new->canonical;

# The payloads of the calls of a transaction to a path.
sub bodies
{
	my ($gid, $path) = @_;
	return join ' ', map { $_->{body} } grep { $_->{path} eq $path } calls_of($gid);
}

sub paths { my ($gid) = @_; return join ' ', map { $_->{path} } calls_of($gid); }

# ---------- a saga ----------

reply('/charge', { status => 200, body => '{"charge": {"id": "ch_1/2", "amounts": [10, 20.50]}, "paid": true}' });
sql(<<"SQL");
SELECT dtm_submit('saga', ARRAY[
  dtm_step('$busi/charge', '$busi/refund/{\$.charge.charge.id}', '{"amount": 30, "charge": {"\$result": "\$.charge.charge.id"}}', '{"name": "charge"}'),
  dtm_step('$busi/ship/{\$."01".charge.amounts[1]}?of={\$.charge.charge.id}', '', '{"charge": {"\$result": "\$.charge.charge"}, "n": [1, {"\$result": "\$.\\"01\\".paid"}]}')],
  gid => 'ok', options => '{"results": true}')
SQL
is(wait_for('ok'), 'succeed', 'a saga with results');
is(bodies('ok', '/charge'), '{"amount":30,"charge":null}', 'its first step does not know its own result');
is((grep { $_->{path} =~ m{^/ship} } calls_of('ok'))[0]{path}, '/ship/20.50', 'a number in a path');
is((grep { $_->{path} =~ m{^/ship} } calls_of('ok'))[0]{query}{of}, 'ch_1/2', 'a text in a query');
like((grep { $_->{path} =~ m{^/ship} } calls_of('ok'))[0]{raw_query}, qr/^of=ch_1%2F2&/, 'percent-encoded');
is(bodies('ok', '/ship/20.50'), '{"n":[1,true],"charge":{"id": "ch_1/2", "amounts": [10, 20.50]}}', 'values in a payload');
is(sql("SELECT dtm_result('ok', 'charge'), dtm_result('ok', '01') -> 'paid', dtm_result('ok', '02')"), '{"paid": true, "charge": {"id": "ch_1/2", "amounts": [10, 20.50]}}|true|null', 'results in SQL');
is(sql("SELECT branch_id, name, op, ok, result ->> 'paid', note FROM dtm.results WHERE gid = 'ok' ORDER BY 1"), "01|charge|action|t|true|\n02||action|t||", 'and in a view');

reply('/charge', { status => 200, body => '{"id": "a\u00e4 b"}' });
sql("SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/charge', options => '{\"name\": \"charge\"}'), dtm_step('$busi/ship', options => '{\"headers\": {\"X-Charge\": \"no {\$.charge.id}\"}}')], gid => 'header', options => '{\"results\": true}')");
is(wait_for('header'), 'succeed', 'a result in a header');
is((calls_of('header'))[1]{headers}{'X-Charge'}, "no a\x{e4} b", 'is sent');

# ---------- compensations ----------

reply('/charge', { status => 200, body => '{"id": "a b"}' });
reply('/ship', { status => 409, body => 'no' });
sql(<<"SQL");
SELECT dtm_submit('saga', ARRAY[
  dtm_step('$busi/charge', '$busi/refund/{\$.charge.id}', '{"charge": {"\$result": "\$.charge.id"}}', '{"name": "charge"}'),
  dtm_step('$busi/ship', '$busi/unship/{\$.ship.id}', '{"charge": {"\$result": "\$.charge.id"}, "ship": {"\$result": "\$.ship.id"}}', '{"name": "ship"}')],
  gid => 'refused', options => '{"results": true}')
SQL
is(wait_for('refused'), 'failed', 'a saga that is refused');
is(paths('refused'), '/charge /ship /unship/null /refund/a b', 'compensations know their own results, null where none came');
is(bodies('refused', '/refund/a b'), '{"charge":"a b"}', 'in a payload');
is(bodies('refused', '/unship/null'), '{"ship":null,"charge":"a b"}', 'too');

# somebody answers for an action that is under way, which charges all the same
for my $case ([ 'skipped-failed', 'SELECT dtm_skip_branch(?, ?, ?, false)', '/refund/ch_77', 'failed' ],
	[ 'skipped-succeeded', 'SELECT dtm_skip_branch(?, ?, ?, true)', '/refund/ch_77', 'succeed' ],
	[ 'completed', q{SELECT dtm_complete(?, ?, ?, true, '{"id": "ch_1"}')}, '/refund/ch_1', 'succeed' ])
{
	my ($gid, $act, $refund, $status) = @$case;

	reply('/late', { status => 201, body => '{"id": "ch_77"}', hold => JSON::PP::true });
	reply('/ship', { status => 409, body => 'no' });
	sql("SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/late', '$busi/refund/{\$.late.id}', '{}', '{\"name\": \"late\"}'), dtm_step('$busi/ship', '$busi/unship')], gid => '$gid', options => '{\"results\": true}')");
	select(undef, undef, undef, 0.05) until calls_of($gid);
	$act =~ s/\?/$_/ for "'$gid'", "'late'", "'action'";
	sql($act);
	# what can go on does
	eventually($node, "SELECT status FROM dtm.transactions WHERE gid = '$gid'", 'aborting');
	release_replies();
	is(wait_for($gid), 'failed', "$gid: rolled back");
	is((calls_of($gid))[-1]{path}, $refund, "$gid: what was charged is refunded");
	is(sql("SELECT status FROM dtm.branches WHERE gid = '$gid' AND branch_id = '01' AND op = 'action'"), $status, "$gid: the action is what was said");
}

# ---------- a missing path ends the saga ----------

for my $case (
	[ 'missing', '{"id": 1}', '{"a": {"$result": "$.first.no.such"}}', '/second', 'result at "$.first.no.such" does not exist' ],
	[ 'beyond', '{"a": [1]}', '{"a": {"$result": "$.first.a[1]"}}', '/second', 'result at "$.first.a[1]" does not exist' ],
	[ 'zero', '{"id": 1, "x": "\u0000"}', '{"a": {"$result": "$.first.id"}}', '/second', 'result at "$.first.id" does not exist: it is JSON that the database can only keep as a text: unsupported Unicode escape sequence' ],
	[ 'scalar', '"x"', '{"a": {"$result": "$.first.a"}}', '/second', 'result at "$.first.a" does not exist' ],
	[ 'empty', '', '{"a": {"$result": "$.first"}}', '/second', 'result at "$.first" does not exist' ],
	[ 'large', '"' . ('x' x 70_000) . '"', '{"a": {"$result": "$.first"}}', '/second', 'result at "$.first" does not exist: it has 70002 bytes, more than dtm.max_result_size' ],
	[ 'object', '{"id": {}}', '{}', '/second/{$.first.id}', 'result at "$.first.id" cannot be part of a URL: it is not a text, a number or a boolean' ],
	[ 'null', '{"id": null}', '{}', '/second/{$.first.id}', 'result at "$.first.id" cannot be part of a URL: it is not a text, a number or a boolean' ],
	[ 'nothing', '{"id": ""}', '{}', '/second/{$.first.id}', 'result at "$.first.id" cannot be part of a URL: it is empty' ],
	[ 'dots', '{"id": ".."}', '{}', '/second/{$.first.id}', 'result at "$.first.id" cannot be part of a URL: path contains the segment "." or ".."' ],
	[ 'slash', '{"id": "../x"}', '{}', '/second/{$.first.id}', 'result at "$.first.id" cannot be part of a URL: path contains the segment "." or ".."' ],
	[ 'bad-header', '{"id": "a\r\nX: y"}', '{}', '/second', 'result at "$.first.id" cannot be part of a header: it contains a control character', '{"headers": {"X-Id": "{$.first.id}"}}' ],
	[ 'line', '{"id": "a\nb"}', '{}', '/second/{$.first.id}', 'result at "$.first.id" cannot be part of a URL: path contains a control character' ])
{
	my ($gid, $answer, $payload, $path, $message, $options) = @$case;

	$options = $options ? "'$options'" : 'NULL';

	reply('/first', { status => 200, body => $answer });
	sql("SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/first', '$busi/unfirst', '{}', '{\"name\": \"first\"}'), dtm_step('$busi$path', '$busi/unsecond', '$payload', $options)], gid => '$gid', options => '{\"results\": true}')");
	is(wait_for($gid), 'failed', "$gid: rolled back");
	is(paths($gid), '/first /unsecond /unfirst', "$gid: the step is not called");
	like(reason($gid), qr/return failed: \Q$message\E FAILURE$/, "$gid: the reason");
}
is(sql("SELECT count(*), max(result), max(error) FROM dtm.calls WHERE gid = 'missing' AND branch_id = '02' AND op = 'action'"), '1|FAILURE|result at "$.first.no.such" does not exist', 'it is on record');

# ---------- what is kept ----------

my $n = 0;
for my $case (
	[ { body => '[1, 2]' }, '[1, 2]', '' ],
	[ { body => 'plain text' }, '"plain text"', '' ],
	[ { body => '{"a": "\u0000"}' }, '"{\\"a\\": \\"\\\\u0000\\"}"', 'it is JSON that the database can only keep as a text: unsupported Unicode escape sequence' ],
	[ { hex => 'efbbbf7b22696422203a20377d' }, '{"id": 7}', '' ],
	[ { hex => 'efbbbf' }, '', '' ],
	[ { body => '[' x 100_000 }, '', 'it has 100000 bytes, more than dtm.max_result_size' ],
	[ { body => '[' x 60_000 }, '"' . ('[' x 60_000) . '"', '' ],
	[ { hex => 'ff00fe' }, '', 'it is not a text that the database can store' ],
	[ { hex => 'fffe' }, '', 'it is not a text that the database can store' ],
	[ { body => '' }, '', '' ])
{
	my ($answer, $result, $note) = @$case;
	my $gid = 'kept-' . ++$n;

	reply('/first', { status => 200, %$answer });
	sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/first', payload => '{}')], gid => '$gid', options => '{\"results\": true}')");
	is(wait_for($gid), 'succeed', "$gid succeeds");
	is(sql("SELECT result, note FROM dtm.results WHERE gid = '$gid'"), "$result|$note", "$gid: what is kept of it");
}

reply('/rpc', { status => 200, body => '{"jsonrpc": "2.0", "id": "x", "result": {"id": 7}}' });
sql(<<"SQL");
SELECT dtm_submit('{"gid": "rpc", "trans_type": "saga", "protocol": "json-rpc", "results": true,
  "steps": [{"action": "$busi/rpc?method=m"}, {"action": "$busi/rpc2?method=n"}], "payloads": ["{}", "{\\"id\\": {\\"\$result\\": \\"\$.\\\\\\"01\\\\\\".id\\"}}"]}'::jsonb)
SQL
is(wait_for('rpc'), 'succeed', 'JSON-RPC, over the wire object');
is(sql("SELECT dtm_result('rpc', '01')"), '{"id": 7}', 'the result of a response');
is($json->decode((grep { $_->{path} eq '/rpc2' } calls_of())[0]{body})->{params}{id}, 7, 'is passed on');

sql("SELECT dtm_submit('msg', ARRAY[dtm_step('grpc://$grpc/p.S/M')], gid => 'grpc', options => '{\"results\": true}')");
is(wait_for('grpc'), 'succeed', 'gRPC');
is(sql("SELECT result, note FROM dtm.results WHERE gid = 'grpc'"), '|responses over gRPC are not kept', 'has none');

# nothing without the option
sql("SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/first')], gid => 'without')");
is(wait_for('without'), 'succeed', 'without the option');
is(sql("SELECT count(*) FROM dtm.result s JOIN dtm.request r USING (id) WHERE gid = 'without'"), '0', 'nothing is kept');

# ---------- functions ----------

sql(<<'SQL');
CREATE ROLE app LOGIN;
GRANT dtm_user TO app;
CREATE SCHEMA app AUTHORIZATION app;
SET SESSION AUTHORIZATION app;
CREATE FUNCTION app.number(gid text, branch_id text, op text, payload jsonb) RETURNS int LANGUAGE sql AS 'SELECT 42';
CREATE FUNCTION app.void(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION app.echo(gid text, branch_id text, op text, payload jsonb) RETURNS jsonb LANGUAGE sql AS
$$ SELECT payload || jsonb_build_object('seen', dtm_result(gid, 'number')) $$;
SELECT dtm_submit('saga', ARRAY[
  dtm_step('sql:app.number', options => '{"name": "number"}'), dtm_step('sql:app.void', options => '{"name": "void"}'),
  dtm_step('sql:app.echo', '', '{"n": {"$result": "$.number"}}', '{"name": "echo"}')], gid => 'local', options => '{"results": true}');
SELECT dtm_submit('saga', ARRAY[
  dtm_step('sql:app.number', options => '{"name": "number"}'),
  dtm_step('sql:app.echo', '', '{"n": {"$result": "$.number.x"}}', '{"name": "echo"}')], gid => 'local-missing', options => '{"results": true}');
SQL
is(wait_for('local'), 'succeed', 'functions');
is(sql("SELECT dtm_result('local', 'number'), dtm_result('local', 'void'), dtm_result('local', 'echo')"), '42||{"n": 42, "seen": 42}', 'what they return is their result');
is(wait_for('local-missing'), 'failed', 'a missing path');
like(reason('local-missing'), qr/result at "\$\.number\.x" does not exist FAILURE$/, 'is a permanent failure of a function, too');

# ---------- a compensation or message with a missing path is parked ----------

sql("CREATE FUNCTION app.no(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS \$\$BEGIN RAISE 'no' USING ERRCODE = 'DT409'; END\$\$");
my $first = "dtm_step('$busi/first', options => '{\"name\": \"first\"}')";
for my $case (
	[ 'msg', 'action', "dtm_step('$busi/second/{\$.first.no}')", '$.first.no', '/first' ],
	[ 'msg', 'action', q{dtm_step('sql:app.echo', payload => '{"n": {"$result": "$.first.no"}}')}, '$.first.no', '/first' ],
	[ 'saga', 'compensate', "dtm_step('$busi/second', '$busi/unsecond/{\$.\"02\".no}'), dtm_step('$busi/refused')", '$."02".no', '/first /second /refused' ],
	[ 'saga', 'compensate', q{dtm_step('sql:app.number', 'sql:app.echo', '{"n": {"$result": "$.\"02\".no"}}'), dtm_step('sql:app.no')}, '$."02".no', '/first' ])
{
	my ($type, $op, $steps, $path, $called) = @$case;
	my $gid = 'poisoned-' . ++$n;

	reply('/first', { status => 200, body => '{"id": 1}' });
	reply('/second', { status => 200, body => '{"id": 2}' });
	reply('/refused', { status => 409 });
	sql("SET SESSION AUTHORIZATION app; SELECT dtm_submit('$type', ARRAY[$first, $steps], gid => '$gid', options => '{\"results\": true}')");
	ok(eventually($node, "SELECT count(*) = 1 FROM dtm.parked WHERE gid = '$gid'"), "$gid: a $op of a $type with a missing path is parked");
	is(sql("SELECT op, branch_id, reason FROM dtm.parked WHERE gid = '$gid'"), "$op|02|it cannot be called: result at \"$path\" does not exist", "$gid: why");
	is(sql("SELECT count(*), max(result) FROM dtm.calls WHERE gid = '$gid' AND error ~ 'does not exist'"), '1|PERMANENT', "$gid: it was tried once");
	is(paths($gid), $called, "$gid: nothing is called");
}
reply('/first', { status => 200, body => '{"id": 1}' });
sql("SELECT dtm_submit('msg', ARRAY[$first, dtm_step('$busi/second/{\$.first.id}')], gid => 'beside', options => '{\"results\": true}')");
is(wait_for('beside'), 'succeed', 'others go on');
sql("SELECT dtm_force_stop(gid) FROM dtm.parked");

# ---------- crash, and removal ----------

reply('/first', { status => 200, body => '{"id": 5}' });
reply('/second', { hold => 1 });
sql("SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/first', '', '{}', '{\"name\": \"first\"}'), dtm_step('$busi/second', '', '{}'), dtm_step('$busi/third/{\$.first.id}')], gid => 'crash', options => '{\"results\": true}')");
ok(eventually($node, "SELECT dtm_result('crash', 'first') IS NOT NULL"), 'a result is there before its saga ends');
$node->stop('immediate');
release_replies();
$node->start;
is(wait_for('crash'), 'succeed', 'after a crash');
like(paths('crash'), qr{/third/5$}, 'results are still known');
sql("SELECT dtm_cleanup('0')");
is(sql("SELECT count(*) FROM dtm.result"), '0', 'they are removed with their transactions');

done_testing();
