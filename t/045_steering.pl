# Steering what a live coordinator runs, also while its call is in flight, and what dtm_explain()
# says of it.  If this fails, an operator's act is lost or doubles one of the coordinator, or a
# transaction stands still and nobody is told why.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# what has failed is not called again by itself
my $node = start_server('steering', conf => <<'CONF');
dtm.retry_interval = '1h'
dtm.retry_interval_max = '1h'
dtm.request_timeout = '10min'
dtm.alert_retry_limit = 1
dtm.sql_workers = 3
max_prepared_transactions = 10
CONF
my $busi = start_participant();
my $true = JSON::PP::true;
eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'running');

sub saga
{
	my ($gid, $options, @paths) = @_;
	my $steps = join ', ', map { "dtm_step('$busi/$_', '$busi/${_}Undo', '{\"amount\": 1}')" } @paths;
	return sql("SELECT dtm_submit('saga', ARRAY[$steps], '$gid', '$options')");
}

sub message
{
	my ($gid, $url, $options, $step) = @_;
	return sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$url', payload => '{}', options => '" . ($step // '{}') . "')], '$gid', '" . ($options // '{}') . "')");
}

sub has_failed
{
	my ($gid) = @_;
	return eventually($node, "SELECT failures FROM dtm.transactions WHERE gid = '$gid'", '1');
}

# The call has arrived, so its reply can be released.
sub is_called
{
	my ($gid, $n) = @_;
	for (1 .. 3600)
	{
		return 1 if calls_of($gid) >= $n;
		select(undef, undef, undef, 0.05);
	}
	return 0;
}

sub acts
{
	my ($gid) = @_;
	return sql("SELECT string_agg(concat_ws(' ', what, branch_id, op) || ': ' || reason, ', ' ORDER BY ordinal) FROM dtm.acts WHERE gid = '$gid'");
}

# ---------- what waits for its retry ----------

reply({ path => "/$_", forever => $true }, { status => 503, body => 'down' }) for qw(Down DownUndo);
reply({ path => '/Wrong', forever => $true }, { status => 404, body => 'no such page' });

saga('abort', '{}', qw(A Down B));
ok(has_failed('abort'), 'a branch of a saga is failing');
sql("SELECT dtm_edit_step('abort', '02', '{\"compensate\": \"$busi/Mended\"}', 'is down, too'), dtm_abort('abort', 'the customer has canceled')");
is(wait_for('abort'), 'failed', 'dtm_abort() rolls it back');
is(one_line('abort'), 'A Down Mended AUndo', 'what may have run is undone, from last to first');
is(reason('abort'), 'the customer has canceled', 'the reason is its own');
is(acts('abort'), 'edit step 02 compensate: is down, too, abort: the customer has canceled', 'and on record');

saga('undo', '{}', qw(A Down));
ok(has_failed('undo'), 'another one');
sql("SELECT dtm_abort('undo', 'again')");
ok(eventually($node, "SELECT failures > 0 AND status = 'aborting' FROM dtm.transactions WHERE gid = 'undo'"), 'whose compensation fails');
sql("SELECT dtm_skip_branch('undo', '02', 'compensate', true, 'undone by hand')");
is(wait_for('undo'), 'failed', 'dtm_skip_branch() answers for a compensation');
is(one_line('undo'), 'A Down DownUndo AUndo', 'the others are called');

message('edit', "$busi/Wrong");
ok(has_failed('edit'), 'a URL is wrong');
sql("SELECT dtm_edit_step('edit', '01', '{\"action\": \"$busi/Right\", \"payload\": {\"n\": 2}}', 'typo')");
is(wait_for('edit'), 'succeed', 'dtm_edit_step() mends it, and it is called at once');
is(one_line('edit'), 'Wrong Right', 'where the change says');
is((calls_of('edit'))[1]{body}, '{"n": 2}', 'with its payload');

saga('skip', '{}', qw(A Down B));
ok(has_failed('skip'), 'a service is down');
sql("SELECT dtm_skip_branch('skip', '02', 'action', true, 'booked by hand')");
is(wait_for('skip'), 'succeed', 'dtm_skip_branch() answers for it');
is(one_line('skip'), 'A Down B', 'and the next step is called');

reply('/Once', { status => 503 });
saga('refuse', '{}', qw(A Once B));
ok(has_failed('refuse'), 'the same');
sql("SELECT dtm_skip_branch('refuse', '02', 'action', false, 'it will never be')");
is(wait_for('refuse'), 'failed', 'an answer can be no');
is(one_line('refuse'), 'A Once OnceUndo AUndo', 'and the saga is rolled back');
is(reason('refuse'), 'it will never be', 'with what was said');

reply('/Refuse', { status => 409, body => 'sold out' });
saga('sold-out', '{}', qw(A Refuse));
is(wait_for('sold-out'), 'failed', 'a saga is refused');
is(sql("SELECT dtm_resubmit('sold-out', 'sold-out-2', 'new stock')"), 'sold-out-2', 'dtm_resubmit()');
is(wait_for('sold-out-2'), 'succeed', 'runs it again');
is(one_line('sold-out-2'), 'A Refuse', 'all of it');
is(sql("SELECT dtm_status('sold-out')"), 'failed', 'the old one stays as it was');
my ($rc, $out, $err) = $node->psql('postgres', "SELECT dtm_resubmit('sold-out-2', 'sold-out-3')");
like($err, qr/current status is 'succeed'/, 'one that has succeeded is not run again');

# ---------- while a call is in flight ----------

# an action that is under way is undone after its answer
reply('/Slow', { hold => $true });
saga('abort-late', '{}', qw(A Slow B));
ok(is_called('abort-late', 2), 'an action is under way');
sql("SELECT dtm_abort('abort-late', 'too slow')");
is(sql("SELECT status FROM dtm.transactions WHERE gid = 'abort-late'"), 'aborting', 'its saga is aborted');
release_replies();
is(wait_for('abort-late'), 'failed', 'the saga is rolled back');
is(one_line('abort-late'), 'A Slow SlowUndo AUndo', 'the action is undone after its answer, and nothing else is called');

# its refusal changes nothing any more
reply('/Slow', { hold => $true, status => 409, body => 'no' });
saga('refuse-late', '{}', qw(A Slow));
ok(is_called('refuse-late', 2), 'an action is under way');
sql("SELECT dtm_abort('refuse-late', 'too slow')");
release_replies();
is(wait_for('refuse-late'), 'failed', 'an abort, and then a refusal');
is(one_line('refuse-late'), 'A Slow SlowUndo AUndo', 'each is undone once');
is(reason('refuse-late'), 'too slow', 'for the first reason');

# an answer of the old address counts, a failure of it does not stop the new one
reply('/Old', { hold => $true });
message('edit-answered', "$busi/Old");
ok(is_called('edit-answered', 1), 'an action is under way');
sql("SELECT dtm_edit_step('edit-answered', '01', '{\"action\": \"$busi/New\"}')");
release_replies();
is(wait_for('edit-answered'), 'succeed', 'a changed step whose old call succeeds');
is(one_line('edit-answered'), 'Old', 'is not called again');
reply('/Old', { hold => $true, status => 500 });
message('edit-late', "$busi/Old", '{"retry_interval": 0.1}');
ok(is_called('edit-late', 1), 'an action is under way');
sql("SELECT dtm_edit_step('edit-late', '01', '{\"action\": \"$busi/New\"}')");
release_replies();
is(wait_for('edit-late'), 'succeed', 'a changed step whose old call fails');
is(one_line('edit-late'), 'Old New', 'is called where the change says');

# somebody's word counts more than what the branch says later
reply('/Slow', { hold => $true, status => 500 });
message('skip-late', "$busi/Slow");
ok(is_called('skip-late', 1), 'an action is under way');
sql("SELECT dtm_skip_branch('skip-late', '01', 'action', true, 'booked by hand')");
is(wait_for('skip-late'), 'succeed', 'one that is answered for ends at once');
release_replies();
ok(eventually($node, "SELECT count(*) FROM dtm.in_flight", '0'), 'its answer comes');
is(sql("SELECT status FROM dtm.transactions WHERE gid = 'skip-late'"), 'succeed', 'and changes nothing');
is(one_line('skip-late'), 'Slow', 'nor is it called again');
reply('/Slow', { hold => $true });
saga('skip-refused', '{}', qw(A Slow));
ok(is_called('skip-refused', 2), 'an action is under way');
sql("SELECT dtm_skip_branch('skip-refused', '02', 'action', false, 'it will never be')");
release_replies();
is(wait_for('skip-refused'), 'failed', 'a no while it is under way');
is(one_line('skip-refused'), 'A Slow SlowUndo AUndo', 'and it is undone after its answer');
is(reason('skip-refused'), 'it will never be', 'for the reason that was given');

# stopped and submitted anew before the old call ends
reply({ path => '/Slow', gid => 'stop-late' }, { hold => $true });
saga('stop-late', '{}', qw(A Slow B));
ok(is_called('stop-late', 2), 'an action is under way');
sql("SELECT dtm_force_stop('stop-late', 'test data')");
sql("SELECT dtm_resubmit('stop-late', 'stop-late-2')");
is(wait_for('stop-late-2'), 'succeed', 'one that was stopped is submitted anew');
release_replies();
ok(eventually($node, "SELECT count(*) FROM dtm.in_flight", '0'), 'the old call ends');
is(one_line('stop-late'), 'A Slow', 'nothing more is called for the old one');
is(sql("SELECT state FROM dtm.transactions WHERE gid = 'stop-late'"), 'stopped', 'which stays stopped');

# a session that acts, and is open while the answer comes
reply('/Slow', { hold => $true });
saga('race', '{}', qw(A Slow B));
ok(is_called('race', 2), 'an action is under way');
my $session = $node->background_psql('postgres');
$session->query_safe("BEGIN; SELECT dtm_abort('race', 'while it waits');");
release_replies();
ok(eventually($node, "SELECT count(*) FROM dtm.in_flight", '0'), 'its answer comes before the commit');
$session->query_safe('COMMIT');
is(wait_for('race'), 'failed', 'the abort has come first');
is(one_line('race'), 'A Slow SlowUndo AUndo', 'and both are undone');

# ---------- why nothing happens ----------

sub explained
{
	my ($gid, $waits_for, $detail, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(eventually($node, "SELECT waits_for FROM dtm_explain('$gid')", $waits_for), "$gid: waits for $waits_for")
	  or diag(sql("SELECT dtm_explain('$gid')"));
	like(sql("SELECT detail FROM dtm_explain('$gid')"), $detail, $name);
	return;
}

explained('abort', 'nothing', qr/^it has ended: the customer has canceled$/, 'one that has ended');

message('retry', "$busi/Down");
explained('retry', 'retry', qr/^it has failed 1 times in a row$/, 'one that has failed');
is(sql("SELECT last_error FROM dtm_explain('retry')"), 'down', 'with its error');
reply('/Ongoing', { status => 425, body => 'ONGOING' });
message('branch', "$busi/Ongoing");
explained('branch', 'branch', qr/ONGOING/, 'one whose branch works on');
message('time', "$busi/Ok", '{"delay": 3600}');
explained('time', 'time', qr/delay/, 'a delayed one');
sql("SELECT dtm_prepare('msg', 'submit', ARRAY[dtm_step('$busi/Ok')])");
explained('submit', 'submit', qr/client has to submit/, 'a prepared one');
message('person', "$busi/Down", '{}', '{"max_attempts": 1, "on_exhausted": "park"}');
explained('person', 'person', qr/^parked: /, 'a parked one');
is(sql("SELECT help LIKE '%dtm_resume(gid)%' FROM dtm_explain('person')"), 't', 'and what helps');

reply({ path => '/First' }, { hold => $true });
message('first', "$busi/First", '{"lane": "one"}');
ok(is_called('first', 1), 'the first of a lane is under way');
message('lane', "$busi/Ok", '{"lane": "one"}');
explained('first', 'response', qr{^$busi/First is called$}, 'one that is called');
explained('lane', 'lane', qr/^the one before it in lane "one" has not ended; the first of the lane is "first"$/, 'one behind it');
is(sql("SELECT help FROM dtm_explain('lane')"), "See what the first of its lane waits for: SELECT * FROM dtm_explain('first').", 'and whom to look at');

# an edit of a call that is in flight
{
	my ($rc, $out, $err) = $node->psql('postgres', q{SELECT dtm_edit_step('first', '01', '{"payload": {"n": 2}}')});
	like($err, qr/NOTICE:  a call of "action" of branch "01" of global transaction "first" is in flight, which was made before the change.*If that call succeeds, the branch is not called again/s, 'who edits what is in flight is told');
	($rc, $out, $err) = $node->psql('postgres', q{SELECT dtm_edit_step('lane', '01', '{"payload": {"n": 2}}')});
	is($err, '', 'who edits what waits is not');
	($rc, $out, $err) = $node->psql('postgres', q{BEGIN; SELECT dtm_complete('first', '01'); ROLLBACK});
	is($err, '', 'nor is who completes what is in flight');
}

# a coordinator that is told to pause ends its calls first, and says so
sql('SELECT dtm_pause()');
ok(eventually($node, q{SELECT state || ' ' || reason FROM dtm.stat_coordinator}, 'draining dtm_pause() was called.'), 'it drains');
is(sql(q{SELECT value FROM dtm.metrics WHERE name = 'dtm_coordinator_processes' AND labels = '{"state": "draining"}'}), 1, 'which is a state of dtm.metrics');
explained('lane', 'coordinator', qr/^the coordinator of this database is draining: /, 'and of dtm_explain');
sql('SELECT dtm_resume()');
ok(eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'running'), 'it runs again, before it has paused');

# The same, and the call fails: the branch is called at once, not after the hour that a failure
# would have it wait.
{
	reply('/Stray', { hold => $true, status => 500 });
	message('strayed', "$busi/Stray");
	ok(is_called('strayed', 1), 'a wrong URL is called');
	sql("SELECT dtm_edit_step('strayed', '01', '{\"action\": \"$busi/Found\"}')");
	release_replies();
	is(wait_for('strayed'), 'succeed', 'its failure does not count when it was changed meanwhile');
	is(one_line('strayed'), 'Stray Found', 'the change is called');

	# its reply comes while the change is not committed
	reply('/Stray', { hold => $true, status => 500 });
	message('locked-edit', "$busi/Stray");
	ok(is_called('locked-edit', 1), 'another one');
	$session->query_safe("SET client_min_messages = warning; BEGIN; SELECT dtm_edit_step('locked-edit', '01', '{\"action\": \"$busi/Found\"}')");
	release_replies();
	ok(eventually($node, "SELECT count(*) FROM dtm.in_flight WHERE gid = 'locked-edit'", '0'), 'whose reply comes first');
	$session->query_safe('COMMIT');
	is(wait_for('locked-edit'), 'succeed', 'nor does it when the row was locked');
	is(one_line('locked-edit'), 'Stray Found', 'the same');

	sql('CREATE FUNCTION stray(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(8); RAISE $r$wrong$r$; END $$');
	sql('CREATE FUNCTION found(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE sql AS $$ $$');
	$session->query_safe('SELECT pg_advisory_lock(8)');
	message('function', 'sql:public.stray');
	ok(eventually($node, "SELECT count(*) FROM dtm.in_flight WHERE gid = 'function' AND started IS NOT NULL", '1'), 'a function runs');
	sql(q{SELECT dtm_edit_step('function', '01', '{"action": "sql:public.found"}')});
	$session->query_safe('SELECT pg_advisory_unlock(8)');
	is(wait_for('function'), 'succeed', 'nor does that of a function');
	is(sql("SELECT string_agg(result, ' ' ORDER BY started) FROM dtm.calls WHERE gid = 'function'"), 'ERROR SUCCESS', 'it is on record');
}

# The result of a call that was answered for while it was in flight: what it did is undone by it.
for my $succeeded (qw(false true))
{
	my $gid = "skipped-$succeeded";
	reply('/Charge', { hold => $true, status => 201, body => '{"id": "ch_77"}' });
	reply({ path => '/Refuses', forever => $true }, { status => 409, body => 'no' });
	sql("SELECT dtm_submit('saga', '[{\"name\": \"charge\", \"action\": \"$busi/Charge\", \"compensate\": \"$busi/Refund/{\$.charge.id}\"}, {\"action\": \"$busi/Refuses\"}]', '$gid', '{\"results\": true}')");
	ok(is_called($gid, 1), 'a charge is in flight');
	sql("SELECT dtm_skip_branch('$gid', '01', 'action', $succeeded, 'by hand')");
	ok(eventually($node, "SELECT status FROM dtm.transactions WHERE gid = '$gid'", 'aborting'), 'the saga is rolled back, for an answer by hand');
	release_replies();
	is(wait_for($gid), 'failed', 'when the charge has been answered');
	is((calls_of($gid))[-1]{path}, '/Refund/ch_77', 'what it did is undone');
}

# a row that is locked: by a session, and by a prepared transaction
$session->query_safe("BEGIN; SELECT dtm_retry_now('time');");
explained('time', 'lock', qr/^process \d+ has its row locked$/, 'by a session');
$session->query_safe("PREPARE TRANSACTION 'left open'");
explained('time', 'lock', qr/^prepared transaction "left open" has its row locked$/, 'by a prepared transaction');
sql("ROLLBACK PREPARED 'left open'");

# functions, of which one role may have fewer than there are workers
sql('CREATE FUNCTION slow(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE sql AS $$ SELECT pg_advisory_xact_lock(7) $$');
$session->query_safe('SELECT pg_advisory_lock(7)');
message("worker-$_", 'sql:public.slow') for 1 .. 4;
ok(eventually($node, "SELECT count(*) FROM dtm.in_flight WHERE gid LIKE 'worker%' AND started IS NULL", '2'), 'functions wait');
explained(sql("SELECT gid FROM dtm.in_flight WHERE gid LIKE 'worker%' AND started IS NULL LIMIT 1"), 'worker', qr/dtm\.sql_workers is 3/, 'for those of others');
$session->query_safe('SELECT pg_advisory_unlock(7)');
$session->quit;

# a limit of a server's own
sql("CREATE SERVER slowly FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url '$busi', max_requests '1')");
reply('/Limit', { hold => $true });
message("limit-$_", 'server:slowly/Limit') for 1 .. 2;
ok(eventually($node, "SELECT count(*) FROM dtm.in_flight WHERE gid LIKE 'limit%' AND started IS NULL", '1'), 'one call at a time');
explained(sql("SELECT gid FROM dtm.in_flight WHERE gid LIKE 'limit%' AND started IS NULL"), 'limit', qr/, and option max_requests of server "slowly" allows 1; \d+ wait$/, 'by a limit of its server');

# a host that answers slowly
reply({ path => '/Window', forever => $true }, { hold => $true });
sql("SELECT count(dtm_submit('msg', ARRAY[dtm_step('$busi/Window')], gid => 'window-' || n)) FROM generate_series(1, 200) n");
ok(eventually($node, "SELECT count(*) > 0 FROM dtm.in_flight WHERE gid LIKE 'window%' AND started IS NULL"), 'more calls than its host gets at a time');
explained(sql("SELECT gid FROM dtm.in_flight WHERE gid LIKE 'window%' AND started IS NULL ORDER BY id DESC LIMIT 1"), 'window', qr/^\d+ calls to its host are in flight, of \d+/, 'the last of them');

# a host that is down: what has failed there, and what has not been called
my $down = 'http://127.0.0.1:' . PostgreSQL::Test::Cluster::get_free_port();
$node->append_conf('postgresql.conf', "dtm.breaker_pause_max = '1h'");
$node->reload;
sql("SELECT count(dtm_submit('msg', ARRAY[dtm_step('$down/')], gid => 'circuit-' || n)) FROM generate_series(1, 100) n");
ok(eventually($node, "SELECT state FROM dtm.stat_hosts WHERE host = '$down'", 'open'), 'the circuit is open');
explained(sql("SELECT gid FROM dtm.transactions WHERE gid LIKE 'circuit%' AND failures > 0 LIMIT 1"), 'circuit', qr/circuit breaker of its host is open/, 'one that has failed');
explained(sql("SELECT gid FROM dtm.transactions WHERE gid LIKE 'circuit%' AND failures = 0 LIMIT 1"), 'circuit', qr/circuit breaker of its host is open/, 'one that has not been called');

# it waits for the calls that are in flight
clear_participant();
release_replies();
sql('SELECT dtm_pause()');
explained('retry', 'coordinator', qr/^the coordinator of this database is paused/, 'all of them, once it is paused');
is(sql("SELECT help LIKE '%dtm_resume()%' FROM dtm_explain('retry')"), 't', 'and what helps');

done_testing();
