# Ten thousand transactions of all types, with participants that fail at random.  If this fails,
# money is lost or created, or a transaction never ends, or the reason of a failure is not
# recorded.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use HTTP::Tiny;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{DTM_MIXED_SEED} || int(rand(1_000_000));
my $many = $ENV{DTM_MIXED_COUNT} || 10000;
note("DTM_MIXED_SEED=$seed DTM_MIXED_COUNT=$many");

my $node = start_server('mixed', conf => <<'CONF');
dtm.retry_interval = 50ms
dtm.retry_interval_max = 400ms
dtm.request_timeout = 500ms
dtm.timeout_to_fail = 3s
dtm.alert_retry_limit = 1000000
dtm.max_requests_per_host = 100
synchronous_commit = off
log_min_messages = warning
CONF

my ($in, $out) = ('', '');
my $participant = IPC::Run::start([ '/usr/bin/python3', "$FindBin::RealBin/../test/unreliable.py", $seed, 1 ],
	'<', \$in, '>', \$out, IPC::Run::timeout(900));
IPC::Run::pump($participant) until $out =~ /\n/;
my ($port, $grpc) = $out =~ /(\d+) (\d+)/;
my $http = "http://127.0.0.1:$port";

sql(<<"SQL");
CREATE ROLE app LOGIN;
GRANT dtm_user TO app;
SELECT dtm_subscribe('mixed', '$http/' || n) FROM generate_series(1, 2) n;
CREATE SCHEMA bank AUTHORIZATION app;
SET SESSION AUTHORIZATION app;
CREATE TABLE bank.moved (gid text, branch_id text, amount int);
-- as unreliable as the others
CREATE FUNCTION bank.move(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS \$\$
BEGIN
  INSERT INTO bank.moved VALUES (gid, branch_id, CASE op WHEN 'compensate' THEN -1 ELSE 1 END);
  IF random() < 0.1 THEN RAISE 'not yet' USING ERRCODE = 'DT425'; END IF;
  IF random() < 0.1 THEN RAISE 'out of luck'; END IF;
  IF op = 'action' AND payload ->> 'refuse' = 'true' THEN RAISE 'no' USING ERRCODE = 'DT409'; END IF;
END \$\$;
CREATE FUNCTION bank.step(n int) RETURNS dtm_step LANGUAGE sql AS
\$\$ SELECT dtm_step('$http/' || n, '$http/' || n, '{"amount": 1}') \$\$;
CREATE FUNCTION bank.grpc_step(n int) RETURNS dtm_step LANGUAGE sql AS
\$\$ SELECT dtm_step('grpc://127.0.0.1:$grpc/bank.Bank/M' || n, 'grpc://127.0.0.1:$grpc/bank.Bank/M' || n, '{"amount": 1}') \$\$;
-- a tcc or xa with two branches; submitted, aborted, or left to its time-out
CREATE FUNCTION bank.twophase(type text, g text, n int) RETURNS void LANGUAGE plpgsql AS \$\$
BEGIN
  PERFORM dtm_prepare(type, g);
  FOR b IN 1 .. 2 LOOP
    PERFORM dtm_register_branch(jsonb_build_object('gid', g, 'trans_type', type, 'branch_id', '0' || b, 'data', '{}',
      'url', '$http/' || b, 'confirm', '$http/' || b, 'cancel', '$http/' || b));
  END LOOP;
  IF n % 3 = 0 THEN PERFORM dtm_abort(g, 'refused'); ELSIF n % 3 = 1 THEN PERFORM dtm_submit(type, gid => g); END IF;
END \$\$;
-- submitted, or left to its callback
CREATE FUNCTION bank.workflow(g text, n int) RETURNS void LANGUAGE plpgsql AS \$\$
BEGIN
  PERFORM dtm_prepare('workflow', g, options => jsonb_build_object('name', 'w', 'data', n, 'query_prepared', '$http/workflow'));
  PERFORM dtm_register_branch(jsonb_build_object('gid', g, 'trans_type', 'workflow', 'branch_id', '01', 'op', 'action', 'status', 'succeed'));
  IF n % 2 = 0 THEN PERFORM dtm_submit('workflow', gid => g, options => '{"status": "succeed"}'); END IF;
END \$\$;
SQL

# in transactions of a hundred, a few at a time
my $script = PostgreSQL::Test::Utils::tempdir() . '/submit.sql';
append_to_file($script, <<"SQL");
SELECT CASE n % 12
    WHEN 0 THEN dtm_submit('saga', ARRAY[bank.step(1), bank.step(2)], gid => 'saga-' || n)
    WHEN 1 THEN dtm_submit('saga', ARRAY[bank.step(1), bank.step(2), bank.step(3)], gid => 'saga-' || n)
    WHEN 2 THEN dtm_submit('saga', ARRAY[bank.step(1), bank.step(2), bank.step(3)], gid => 'concurrent-' || n, options => '{"concurrent": true, "orders": {"2": [0, 1]}}')
    WHEN 3 THEN dtm_submit('saga', ARRAY[bank.step(1), dtm_step('sql:bank.move', 'sql:bank.move', jsonb_build_object('refuse', n % 60 = 3)), bank.step(3)], gid => 'local-' || n)
    WHEN 4 THEN dtm_submit('saga', ARRAY[bank.grpc_step(1), bank.grpc_step(2)], gid => 'grpc-' || n)
    WHEN 5 THEN dtm_submit('msg', ARRAY[dtm_step('$http/1', payload => '{}'), dtm_step('$http/2', payload => '{}')], gid => 'msg-' || n)
    WHEN 6 THEN dtm_submit('msg', ARRAY[dtm_step('topic://mixed', payload => '{}'), dtm_step('sql:bank.move', payload => '{}')], gid => 'topic-' || n)
    WHEN 7 THEN dtm_prepare('msg', 'query-' || n, ARRAY[dtm_step('$http/1', payload => '{}'), dtm_step('$http/2', payload => '{}')], '{"query_prepared": "$http/QueryPrepared"}')
    WHEN 8 THEN bank.twophase('tcc', 'tcc-' || n, n / 12)::text
    WHEN 9 THEN bank.twophase('xa', 'xa-' || n, n / 12)::text
    WHEN 10 THEN bank.workflow('workflow-' || n, n / 12)::text
    WHEN 11 THEN dtm_submit('saga', ARRAY[bank.step(1), bank.step(2)], gid => 'timed-' || n, options => '{"timeout_to_fail": 1, "retry_limit": 5}')
  END
  FROM generate_series(:client_id * $many / 4 + 1, (:client_id + 1) * $many / 4) n;
SQL
$node->command_ok([ 'pgbench', '-n', '-c', 4, '-j', 2, '-t', 1, '-f', $script, '-U', 'app', $node->connstr('postgres') ], "$many transactions are submitted");

# the clients of workflows that were called back end them
ok($node->poll_query_until('postgres', "SELECT count(DISTINCT gid) = (SELECT count(*) FROM dtm.transactions WHERE trans_type = 'workflow' AND status = 'prepared') FROM dtm.calls WHERE op = 'w'"),
	'workflows that were left are called back');
sql("SELECT count(dtm_submit('workflow', gid => gid, options => '{\"status\": \"failed\", \"rollback_reason\": \"left\"}')) FROM dtm.transactions WHERE trans_type = 'workflow' AND status = 'prepared'");

ok($node->poll_query_until('postgres', "SELECT count(*) = $many FROM dtm.transactions WHERE finished IS NOT NULL"), 'all end');
diag(sql("SELECT status, count(*) FROM dtm.transactions WHERE finished IS NULL GROUP BY 1")) if sql("SELECT count(*) FROM dtm.active") > 0;
note(sql("SELECT split_part(gid, '-', 1) || ' ' || status || ' ' || count(*) FROM dtm.transactions GROUP BY split_part(gid, '-', 1), status ORDER BY 1"));
note(sql("SELECT result || ' ' || count(*) FROM dtm.calls GROUP BY result ORDER BY 1"));

# ---------- the books ----------

my $response = HTTP::Tiny->new(timeout => 60)->get("$http/_books");
my $books = JSON::PP->new->decode($response->{content});
my (%status, %branches, @wrong);
my $statuses = sql("SELECT gid || ' ' || status FROM dtm.transactions");
$status{$1} = $2 while $statuses =~ /^(\S+) (\S+)$/mg;
for my $line (split /\n/, sql("SELECT DISTINCT gid || ' ' || branch_id FROM dtm.branches WHERE url LIKE '$http/%' OR url LIKE 'grpc:%'"))
{
	my ($gid, $branch) = split / /, $line;
	my ($done, $undone) = @{ ($books->{$gid} || {})->{$branch} || [ 0, 0 ] };
	my $has = ($done && !$undone) ? 1 : 0;
	push @wrong, "$gid $branch: $status{$gid}, but done=$done undone=$undone"
	  if $has != ($status{$gid} eq 'succeed' ? 1 : 0);
}
is(scalar(@wrong), 0, 'what succeeded is done everywhere, what failed nowhere: remote') or diag(join "\n", @wrong[0 .. ($#wrong < 9 ? $#wrong : 9)]);
is(sql(<<'SQL'), '0', 'and local');
SELECT count(*)
  FROM (SELECT b.gid, b.branch_id, bool_or(t.status = 'succeed')::int AS expected
          FROM dtm.branches b JOIN dtm.transactions t USING (gid) WHERE b.url = 'sql:bank.move' GROUP BY 1, 2) b
       LEFT JOIN (SELECT gid, branch_id, sum(amount) AS amount FROM bank.moved GROUP BY 1, 2) m USING (gid, branch_id)
 WHERE coalesce(m.amount, 0) <> b.expected
SQL

# ---------- dtm.calls explains every one ----------

is(sql("SELECT count(*) FROM dtm.branches b WHERE b.status = 'succeed' AND b.url <> '' AND (SELECT count(*) FROM dtm.calls c WHERE c.id = b.id AND c.branch_id = b.branch_id AND c.op = b.op AND c.result = 'SUCCESS') <> 1"),
	'0', 'each success of a branch is one call');
is(sql("SELECT count(*) FROM dtm.branches b WHERE b.status = 'failed' AND b.url <> '' AND NOT EXISTS (SELECT FROM dtm.calls c WHERE c.id = b.id AND c.branch_id = b.branch_id AND c.op = b.op AND c.result = 'FAILURE')"),
	'0', 'each refusal too');
is(sql("SELECT count(*) FROM dtm.calls WHERE result <> 'SUCCESS' AND error IS NULL OR result = 'ERROR' AND error = '' AND http_status IS NULL"), '0', 'what went wrong is said');
is(sql("SELECT count(*) FROM dtm.transactions WHERE status = 'failed' AND trans_type IN ('saga', 'tcc', 'xa') AND coalesce(rollback_reason, '') = ''"), '0', 'and why it was rolled back');
is(sql("SELECT count(*) FROM dtm.transactions t WHERE trans_type = 'msg' AND status = 'failed' AND NOT EXISTS (SELECT FROM dtm.calls c WHERE c.id = t.id AND c.op = 'msg' AND c.result = 'FAILURE')"), '0', 'a message fails by its query-back alone');
{
	my @unexplained;
	# a gRPC server says DEADLINE_EXCEEDED (4) by itself, without asking the participant
	for my $line (split /\n/, sql("SELECT gid || ' ' || branch_id || ' ' || count(*) FROM dtm.calls WHERE http_status IS NOT NULL AND coalesce(grpc_status, 0) <> 4 GROUP BY gid, branch_id"))
	{
		my ($gid, $branch, $calls) = split / /, $line;
		push @unexplained, $line if $calls > ($books->{$gid}{$branch} || [ 0, 0, 0 ])->[2];
	}
	is(scalar(@unexplained), 0, 'no answer without a request') or diag(join "\n", @unexplained[0 .. 4]);
}
is(sql("SELECT count(*) FROM dtm.active"), '0', 'nothing is left');
unlike(slurp_file($node->logfile), qr/TRAP|PANIC|cannot process|cannot read/, 'nothing is broken');

$participant->kill_kill;
done_testing();
