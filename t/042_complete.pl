# Answers that come later: a branch accepts, and somebody says what has become of it.  If this fails,
# a branch is asked again although it works, or what it has said is lost.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('complete', conf => "dtm.retry_interval = 50ms\ndtm.retry_interval_max = 200ms\nlog_min_messages = warning\n");
my $busi = start_participant();

sub step
{
	my ($path, $options) = @_;
	return "dtm_step('$busi/$path', '$busi/un$path', '{}', '$options')";
}

sub submit
{
	my ($gid, $type, @steps) = @_;
	sql("SELECT dtm_submit('$type', ARRAY[" . join(', ', @steps) . "], gid => '$gid', options => '{\"results\": true}')");
	return;
}

# Waits until a call of a branch has said ONGOING.
sub accepted
{
	my ($gid, $n) = @_;
	$n //= 1;
	return eventually($node, "SELECT count(*) >= $n FROM dtm.calls WHERE gid = '$gid' AND result = 'ONGOING'");
}

# ---------- accepted, and completed later ----------

reply('/ship', { status => 202, body => 'accepted' });
submit('later', 'saga', step('ship', '{"name": "ship", "complete_within": 3600}'), "dtm_step('$busi/tell', '', '{\"parcel\": {\"\$result\": \"\$.ship.parcel\"}}')");
ok(accepted('later'), '202 is not the end of a step that is completed later');
ok(eventually($node, "SELECT next_attempt BETWEEN now() + '3000 s' AND now() + '3700 s' FROM dtm.transactions WHERE gid = 'later'"), 'it waits as long as it says');
is(one_line('later'), 'ship', 'and is not asked again');
like(sql("SELECT waits_for, detail, help FROM dtm_explain('later')"), qr/^completion\|action of branch 01 was accepted, and waits for dtm_complete\(\) until \d{4}-.*\|Say with dtm_complete\(\)/, 'dtm_explain() says so');
is(sql("SELECT b.complete_until = t.next_attempt FROM dtm.branches b JOIN dtm.transactions t USING (id) WHERE b.gid = 'later' AND b.op = 'action' AND branch_id = '01'"), 't', 'and dtm.branches until when');
is(sql(q{SELECT dtm_complete('later', 'ship', result => '{"parcel": 7}')}), 't', 'it is completed');
is(wait_for('later'), 'succeed', 'and goes on');
is((calls_of('later'))[1]{body}, '{"parcel":7}', 'with its result');
is(sql(q{SELECT dtm_complete('later', '01', 'action', true, '{"parcel": 7}')}), 'f', 'the same again is known');
is(sql(q{SELECT dtm_result('later', 'ship')}), '{"parcel": 7}', 'its result');

# in the commit of whoever knows; a rollback leaves nothing
reply('/ship', { status => 202 });
submit('commit', 'saga', step('ship', '{"name": "ship", "complete_within": 3600}'));
ok(accepted('commit'), 'accepted');
sql("BEGIN; SELECT dtm_complete('commit', 'ship'); ROLLBACK");
is(sql("SELECT dtm_status('commit')"), 'submitted', 'rolled back');
sql("BEGIN; CREATE TABLE parcel (n int); SELECT dtm_complete('commit', 'ship'); COMMIT");
is(wait_for('commit'), 'succeed', 'committed');

# a permanent failure
reply('/ship', { status => 202 });
submit('no', 'saga', step('pay', '{}'), step('ship', '{"name": "ship", "complete_within": 3600}'));
ok(accepted('no'), 'accepted');
sql(q{SELECT dtm_complete('no', 'ship', ok => false, result => '"no such address"')});
is(wait_for('no'), 'failed', 'completed as failed');
like(reason('no'), qr/return failed: no such address FAILURE$/, 'the reason');
is(one_line('no'), 'pay ship unship unpay', 'it is undone');

# a compensation that takes its time
reply('/pay', { status => 409 });
reply('/unship', { status => 202 });
submit('undo', 'saga', step('ship', '{"name": "ship", "complete_within": 3600}'), step('pay', '{}'));
ok(accepted('undo'), 'a compensation is accepted');
is(sql(q{SELECT dtm_complete('undo', 'ship', 'compensate')}), 't', 'and completed');
is(wait_for('undo'), 'failed', 'the end');
is(one_line('undo'), 'ship pay unpay unship', 'called once');

# ---------- a permanent failure of what cannot fail ----------

reply('/ship', { status => 202 }, { hold => 1, status => 200 }, { status => 202 });
submit('refused', 'msg', "dtm_step('$busi/ship', options => '{\"name\": \"ship\", \"complete_within\": 3600}')", "dtm_step('$busi/tell')");
ok(accepted('refused'), 'a step of a message is accepted');
is(sql(q{SELECT dtm_complete('refused', 'ship', ok => false, result => '"no such address"')}), 't', 'and completed as failed');
is(sql("SELECT branch_id, op, reason FROM dtm.parked WHERE gid = 'refused'"), '01|action|permanent failure: no such address', 'it is parked, with the reason');
is(sql("SELECT dtm_resume('refused')"), 't', 'resumed');
ok(eventually($node, "SELECT sum(in_flight) = 1 FROM dtm.stat_coordinator"), 'it is called anew');
is(sql(q{SELECT dtm_complete('refused', 'ship', ok => false, result => '"no"')}), 't', 'and completed during the call');
release_replies();
ok(eventually($node, "SELECT count(*) = 2 FROM dtm.calls WHERE gid = 'refused'"), 'whose response comes too late');
is(sql("SELECT state FROM dtm.branches WHERE gid = 'refused' AND branch_id = '01'"), 'parked', 'and does not count');
$node->restart;
is(sql("SELECT dtm_complete('refused', 'ship', ok => false)"), 'f', 'known after a restart');
is(sql("SELECT dtm_resume('refused')"), 't', 'resumed again');
ok(accepted('refused', 2), 'called again');
is(sql(q{SELECT dtm_complete('refused', 'ship', result => '1')}), 't', 'another completion');
is(wait_for('refused'), 'succeed', 'and it goes on');
is(sql("SELECT ok, result FROM dtm.results WHERE gid = 'refused' AND name = 'ship'"), 't|1', 'its result');

reply('/pay', { status => 409 });
reply('/unship', { status => 202 });
submit('stays', 'saga', step('ship', '{"name": "ship", "complete_within": 3600}'), step('pay', '{}'));
ok(eventually($node, "SELECT count(*) = 1 FROM dtm.calls WHERE gid = 'stays' AND op = 'compensate' AND result = 'ONGOING'"), 'a compensation is accepted');
sql(q{SELECT dtm_complete('stays', 'ship', 'compensate', ok => false, result => '"sent already"')});
is(sql("SELECT op, reason FROM dtm.parked WHERE gid = 'stays'"), 'compensate|permanent failure: sent already', 'and parked');
sql("SELECT dtm_force_stop('stays')");
clear_participant();

# ---------- before the response, and before the call ----------

reply('/ship', { hold => 1, status => 202 });
submit('during', 'saga', step('ship', '{"name": "ship", "complete_within": 3600}'), step('tell', '{}'));
ok(eventually($node, "SELECT sum(in_flight) = 1 FROM dtm.stat_coordinator"), 'a call is under way');
is(sql(q{SELECT dtm_complete('during', 'ship')}), 't', 'its completion comes first');
is(wait_for('during'), 'succeed', 'and counts');
release_replies();
is(one_line('during'), 'ship tell', 'whatever the response says');

reply('/pay', { hold => 1 });
submit('before', 'saga', step('pay', '{}'), step('ship', '{"name": "ship", "complete_within": 3600}'), step('call', '{"name": "call", "poll": true}'), step('tell', '{"name": "tell"}'));
is(sql(q{SELECT dtm_complete('before', 'ship', result => '8')}), 't', 'a completion that comes before the call');
is(sql(q{SELECT dtm_complete('before', 'ship', result => '8')}), 'f', 'is known then');
is(sql(q{SELECT dtm_complete('before', 'call')}), 't', 'of one that is asked again, too');
like(($node->psql('postgres', q{SELECT dtm_complete('before', 'tell')}))[2], qr/DT001|has not been called yet/, 'others keep none');
is(sql("SELECT dtm_status('before')"), 'submitted', 'its turn has not come');
release_replies();
is(wait_for('before'), 'succeed', 'when its turn comes');
is(one_line('before'), 'pay tell', 'it is not called at all');
is(sql(q{SELECT dtm_result('before', 'ship')}), '8', 'its result is kept');

reply('/pay', { hold => 1 });
submit('before-no', 'saga', step('pay', '{}'), step('ship', '{"name": "ship", "complete_within": 3600}'));
sql(q{SELECT dtm_complete('before-no', 'ship', ok => false, result => '{"code": 4}')});
release_replies();
is(wait_for('before-no'), 'failed', 'a permanent failure before the call');
like(reason('before-no'), qr/return failed: \{"code": 4\} FAILURE$/, 'the reason');

# ---------- the deadline, and polling ----------

reply('/ship', { status => 202 });
submit('deadline', 'msg', "dtm_step('$busi/ship', options => '{\"complete_within\": 0.2}')");
is(wait_for('deadline'), 'succeed', 'after the deadline it is called again');
ok(eventually($node, "SELECT last_error = 'it was not completed in time' FROM dtm.branches WHERE gid = 'deadline'"), 'with an error that says so');
is(one_line('deadline'), 'ship ship', 'called again');

reply({ path => '/ship', forever => \1 }, { status => 202 });
submit('poll', 'saga', step('ship', '{"poll": true}'));
ok(accepted('poll', 3), 'asked again and again');
is(sql("SELECT failures FROM dtm.transactions WHERE gid = 'poll'"), '0', 'which is no failure');
sql("SELECT dtm_complete('poll', '01')");
is(wait_for('poll'), 'succeed', 'until it is completed');
clear_participant();

reply('/ship', { status => 202 });
submit('plain', 'saga', "dtm_step('$busi/ship')");
is(wait_for('plain'), 'succeed', '202 is success without the option');

# functions
sql(<<'SQL');
CREATE ROLE app LOGIN;
CREATE ROLE other LOGIN;
GRANT dtm_user TO app, other;
CREATE SCHEMA app AUTHORIZATION app;
SET SESSION AUTHORIZATION app;
CREATE FUNCTION app.later(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE 'later' USING ERRCODE = 'DT425'; END $$;
SELECT dtm_submit('saga', ARRAY[dtm_step('sql:app.later', options => '{"name": "later", "complete_within": 3600}')], gid => 'function');
SQL
ok(accepted('function'), 'a function that says later');
my ($rc, $out, $err) = $node->psql('postgres', "SET SESSION AUTHORIZATION other; SELECT dtm_complete('function', 'later')");
like($err, qr/global transaction "function" does not exist/, 'is not completed by another role');
is(sql("SET SESSION AUTHORIZATION app; SELECT dtm_complete('function', 'later')"), 't', 'but by its own');
is(wait_for('function'), 'succeed', 'the end of it');

# ---------- concurrent steps, and a crash ----------

reply('/a', { status => 202 });
sql("SELECT dtm_submit('saga', ARRAY[" . step('a', '{"name": "a", "complete_within": 3600}') . ', ' . step('b', '{"name": "b"}') . ', ' . step('c', '{"name": "c"}') . "], gid => 'concurrent', options => '{\"concurrent\": true, \"orders\": {\"2\": [1]}}')");
ok(eventually($node, "SELECT count(*) = 2 FROM dtm.branches WHERE gid = 'concurrent' AND status = 'succeed'"), 'others go on meanwhile');
ok(eventually($node, "SELECT next_attempt > now() + '3000 s' FROM dtm.transactions WHERE gid = 'concurrent'"), 'then nothing is due');
$node->restart;
is(sql("SELECT dtm_complete('concurrent', 'a')"), 't', 'after a restart');
is(wait_for('concurrent'), 'succeed', 'it is completed');

done_testing();
