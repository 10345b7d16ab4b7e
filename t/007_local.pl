# Local branches: functions in this database.  If this fails, the changes of a function are lost,
# made twice, or made with the privileges of another role.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('local', conf => "dtm.retry_interval = 50ms\ndtm.retry_interval_max = 200ms\nlog_min_messages = warning\n");
my $busi = start_participant();

# As role app; returns the last result, or the error.
sub as_app
{
	my ($statements) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', "SET SESSION AUTHORIZATION app; $statements");
	return $rc == 0 ? $out : $err;
}

sql(<<'SQL');
CREATE ROLE chief SUPERUSER LOGIN;
CREATE ROLE app LOGIN;
CREATE ROLE other LOGIN;
GRANT dtm_user TO app, other;
CREATE SCHEMA bank AUTHORIZATION app;
SET SESSION AUTHORIZATION app;
CREATE TABLE bank.account (name text PRIMARY KEY, balance int CHECK (balance >= 0));
INSERT INTO bank.account VALUES ('a', 100), ('b', 0);
CREATE TABLE bank.seen (gid text, branch_id text, op text, payload jsonb, who text, session_who text);
CREATE FUNCTION bank.move(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO bank.seen VALUES (gid, branch_id, op, payload, current_user, session_user);
  UPDATE bank.account SET balance = balance + (payload ->> 'amount')::int * CASE op WHEN 'compensate' THEN -1 ELSE 1 END
   WHERE name = payload ->> 'name';
  IF NOT FOUND THEN
    RAISE 'no account of this name' USING ERRCODE = 'DT409';
  END IF;
END $$;
CREATE FUNCTION bank.step(name text, amount int) RETURNS dtm_step LANGUAGE sql AS
$$ SELECT dtm_step('sql:bank.move', 'sql:bank.move', jsonb_build_object('name', name, 'amount', amount)) $$;
SQL

sub balances { return sql("SELECT string_agg(name || ' ' || balance, ', ' ORDER BY name) FROM bank.account"); }

sub results
{
	my ($gid) = @_;
	return sql("SELECT string_agg(branch_id || ' ' || op || ' ' || result, ', ' ORDER BY started) FROM dtm.calls WHERE gid = '$gid'");
}

# ---------- a saga ----------

as_app("SELECT dtm_submit('saga', ARRAY[bank.step('a', -30), bank.step('b', 30)], gid => 'ok')");
is(sql("SELECT dtm_wait('ok')"), 'succeed', 'a saga of local steps');
is(balances(), 'a 70, b 30', 'has done its work');
is(results('ok'), '01 action SUCCESS, 02 action SUCCESS', 'and each call is on record');
is(sql("SELECT DISTINCT who, session_who FROM bank.seen"), 'app|app', 'as the role that submitted');
is(sql("SELECT payload FROM bank.seen WHERE branch_id = '01'"), '{"name": "a", "amount": -30}', 'with its payload');

as_app("SELECT dtm_submit('saga', ARRAY[bank.step('a', -30), bank.step('nobody', 30)], gid => 'refused')");
is(sql("SELECT dtm_wait('refused')"), 'failed', 'DT409 is a permanent failure');
is(balances(), 'a 70, b 30', 'and what was done before is undone');
is(results('refused'), '01 action SUCCESS, 02 action FAILURE, 01 compensate SUCCESS', 'what had no effect is not undone');
is(branches_of($node, 'refused'), 'S S P F', 'statuses of the branches');
is(sql("SELECT rollback_reason FROM dtm.transactions WHERE gid = 'refused'"),
	'url:sql:bank.move return failed: no account of this name FAILURE', 'the reason');

# local and remote steps in one saga
reply('/TransIn', { status => 409, body => 'no' });
as_app("SELECT dtm_submit('saga', ARRAY[bank.step('a', -30), dtm_step('$busi/TransIn', '$busi/TransInRevert', '{}')], gid => 'mixed')");
is(sql("SELECT dtm_wait('mixed')"), 'failed', 'a remote step refuses');
is(balances(), 'a 70, b 30', 'the local one is undone');
as_app("SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/TransOut', '$busi/TransOutRevert', '{}'), bank.step('nobody', 30)], gid => 'mixed-2')");
is(sql("SELECT dtm_wait('mixed-2')"), 'failed', 'a local step refuses');
is(one_line('mixed-2'), 'TransOut TransOutRevert', 'the remote one is undone');

# ---------- ongoing, and other errors ----------

sql(<<'SQL');
SET SESSION AUTHORIZATION app;
CREATE SEQUENCE bank.calls;
CREATE TABLE bank.done (gid text, n int CONSTRAINT only_three CHECK (n = 3));
CREATE FUNCTION bank.third_time(gid text, branch_id text, op text, payload jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE n int := nextval('bank.calls');
BEGIN
  IF n = 1 THEN RAISE 'not yet' USING ERRCODE = 'DT425'; END IF;
  INSERT INTO bank.done VALUES (gid, n);
  RETURN 'ignored';
END $$;
SQL
as_app("SELECT dtm_submit('msg', ARRAY[dtm_step('sql:bank.third_time')], gid => 'third')");
is(sql("SELECT dtm_wait('third')"), 'succeed', 'a message is repeated until it succeeds');
is(results('third'), '01 action ONGOING, 01 action ERROR, 01 action SUCCESS', 'DT425 is not yet, other errors are errors');
like(sql("SELECT error FROM dtm.calls WHERE gid = 'third' AND result = 'ERROR'"), qr/violates check constraint "only_three": Failing row/, 'which are kept');
is(sql("SELECT count(*) FROM bank.done"), '1', 'done once');

# an error that comes at the commit
sql(<<'SQL');
SET SESSION AUTHORIZATION app;
CREATE TABLE bank.parent (id int PRIMARY KEY);
CREATE TABLE bank.child (id int REFERENCES bank.parent DEFERRABLE INITIALLY DEFERRED);
CREATE FUNCTION bank.add_child(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE sql AS 'INSERT INTO bank.child VALUES (1)';
SQL
as_app("SELECT dtm_submit('msg', ARRAY[dtm_step('sql:bank.add_child')], gid => 'deferred')");
eventually($node, "SELECT count(*) > 0 FROM dtm.calls WHERE gid = 'deferred' AND error LIKE '%foreign key%'");
is(branches_of($node, 'deferred'), 'P', 'a deferred constraint: neither the work nor the status');
sql("INSERT INTO bank.parent VALUES (1)");
is(sql("SELECT dtm_wait('deferred')"), 'succeed', 'until it is fulfilled');
is(sql("SELECT count(*) FROM bank.child"), '1', 'once');

# ---------- rights ----------

sql("CREATE TABLE secret (x int); INSERT INTO secret VALUES (1); CREATE FUNCTION forbidden(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE sql AS 'SELECT'; REVOKE ALL ON FUNCTION forbidden FROM PUBLIC");
like(as_app("SELECT dtm_submit('msg', ARRAY[dtm_step('sql:public.forbidden')])"), qr/permission denied for function public.forbidden/, 'no EXECUTE, no submit');
sql(<<'SQL');
SET SESSION AUTHORIZATION app;
CREATE FUNCTION bank.climb(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE payload ->> 'sql';
  INSERT INTO bank.seen VALUES (gid, branch_id, op, payload, current_user, session_user);
END $$;
SQL
for my $case (
	[ 'SELECT * FROM public.secret', qr/permission denied for table secret/ ],
	[ 'SELECT * FROM dtm.request', qr/permission denied for table request/ ],
	[ 'SET SESSION AUTHORIZATION chief', qr/permission denied to set session authorization/ ],
	[ 'SET ROLE chief', qr/permission denied to set role/ ],
	[ 'SET ROLE other', qr/permission denied to set role/ ],
	[ 'COMMIT', qr/EXECUTE of transaction commands is not implemented|invalid transaction termination/ ])
{
	my ($statement, $error) = @$case;
	(my $gid = $statement) =~ s/\W+/ /g;
	as_app("SELECT dtm_submit('msg', ARRAY[dtm_step('sql:bank.climb', payload => jsonb_build_object('sql', '$statement'))], gid => '$gid')");
	eventually($node, "SELECT count(*) > 0 FROM dtm.calls WHERE gid = '$gid'");
	like(sql("SELECT error FROM dtm.calls WHERE gid = '$gid' LIMIT 1"), $error, $statement);
	sql("SELECT dtm_force_stop('$gid')");
}
# what is reset is the role's own, and what was left behind is gone
for my $statement ('RESET SESSION AUTHORIZATION', 'RESET ROLE', 'SET SESSION search_path = nowhere', 'CREATE TEMP TABLE account (x int)',
	'SELECT pg_advisory_lock(42)', 'PREPARE p AS SELECT 1', 'SET default_transaction_read_only = on')
{
	as_app("SELECT dtm_submit('msg', ARRAY[dtm_step('sql:bank.climb', payload => jsonb_build_object('sql', '$statement'))], gid => '$statement')");
	is(sql("SELECT dtm_wait('$statement'); SELECT who, session_who FROM bank.seen WHERE gid = '$statement'"), "succeed\napp|app", $statement);
}
is(sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42"), '0', 'no advisory lock is left');
as_app("SELECT dtm_submit('msg', ARRAY[dtm_step('sql:bank.climb', payload => jsonb_build_object('sql', 'DO \$x\$ BEGIN ASSERT current_setting(''search_path'') <> ''nowhere''; ASSERT to_regclass(''pg_temp.account'') IS NULL; ASSERT NOT EXISTS (SELECT FROM pg_prepared_statements); END \$x\$'))], gid => 'clean')");
is(sql("SELECT dtm_wait('clean', '20 s')"), 'succeed', 'the next one finds a clean session');

# a role that can't log in, before PostgreSQL 17
sql("CREATE ROLE group_role; GRANT dtm_user TO group_role; GRANT USAGE ON SCHEMA bank TO group_role");
my ($rc, $out, $err) = $node->psql('postgres', "SET ROLE group_role; SELECT dtm_submit('msg', ARRAY[dtm_step('sql:bank.move', payload => '{}')], gid => 'of group')");
if (sql('SHOW server_version_num') >= 170000)
{
	eventually($node, "SELECT count(*) > 0 FROM dtm.calls WHERE gid = 'of group'");
	like(sql("SELECT error FROM dtm.calls WHERE gid = 'of group' LIMIT 1"), qr/permission denied for table seen/, 'a role that is not permitted to log in has its function called, as itself');
	# which would be tried again for ever
	sql("SELECT dtm_force_stop('of group')");
}
else
{
	like($err, qr/cannot have local branches because it is not permitted to log in.*HINT/s, 'a role that no worker can run as');
}
# whoever may steer a transaction of another role may not have it call functions
sql("CREATE ROLE boss LOGIN; GRANT dtm_admin TO boss; GRANT CREATE ON SCHEMA public TO boss");
sql("SET SESSION AUTHORIZATION boss; CREATE FUNCTION public.evil(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE sql AS 'ALTER ROLE boss SUPERUSER'");
sql("SELECT dtm_prepare('tcc', 'of superuser'), dtm_prepare('msg', 'of superuser too', ARRAY[dtm_step('')])");
for my $statement ("dtm_register_branch('of superuser', '99', 'sql:public.evil', 'sql:public.evil')",
	"dtm_submit('msg', gid => 'of superuser too', options => '{\"on_finish\": \"sql:public.evil\"}')",
	"dtm_subscribe('news', 'sql:public.evil')")
{
	like(($node->psql('postgres', "SET SESSION AUTHORIZATION boss; SELECT $statement"))[2], qr/permission denied to name a function for role "[^"]+"|URL is a function/, "an admin can't: $statement");
}
sql("INSERT INTO dtm.topic VALUES ('old news', 1, ARRAY['sql:public.evil'], ARRAY[''])");
like(($node->psql('postgres', "SELECT dtm_submit('msg', ARRAY[dtm_step('topic://old news')])"))[2], qr/cannot be a function/, 'nor through a topic');
is(sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'boss'"), 'f', 'and is what it was');
sql("SELECT dtm_force_stop(gid) FROM dtm.transactions WHERE gid LIKE 'of superuser%'; DELETE FROM dtm.topic");
# an operator that somebody has planted is not taken for PostgreSQL's
sql("SET SESSION AUTHORIZATION boss; CREATE FUNCTION public.evil_div(bigint, numeric) RETURNS numeric LANGUAGE plpgsql AS 'BEGIN ALTER ROLE boss SUPERUSER; RETURN 1; END'; CREATE OPERATOR public./ (FUNCTION = public.evil_div, LEFTARG = bigint, RIGHTARG = numeric)");
sql("SELECT options, finished FROM dtm.transactions; SELECT duration FROM dtm.calls; SELECT * FROM dtm.stuck");
is(sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'boss'"), 'f', 'operators are those of pg_catalog');
# a role that has another one as its default
sql("CREATE ROLE owner_role; GRANT owner_role TO app; ALTER ROLE app SET role = 'owner_role'");
as_app("SELECT dtm_submit('msg', ARRAY[dtm_step('sql:bank.climb', payload => '{\"sql\": \"SELECT\"}')], gid => 'default role')");
is(sql("SELECT dtm_wait('default role'); SELECT who, session_who FROM bank.seen WHERE gid = 'default role'"), "succeed\napp|app", 'it is the role that submitted, whatever its default');
sql("ALTER ROLE app RESET role");
as_app("SELECT dtm_submit('msg', ARRAY[dtm_step('sql:bank.climb', payload => '{\"sql\": \"DECLARE c CURSOR WITH HOLD FOR SELECT 1\"}')], gid => 'cursor ' || n) FROM generate_series(1, 3) n");
is(sql("SELECT string_agg(dtm_wait('cursor ' || n), ' ') FROM generate_series(1, 3) n"), 'succeed succeed succeed', 'cursors are closed');

# EXECUTE is taken away after the submit
as_app("SELECT dtm_prepare('msg', 'revoked', ARRAY[dtm_step('sql:bank.move', payload => '{}')])");
sql("REVOKE ALL ON FUNCTION bank.move FROM PUBLIC, app");
as_app("SELECT dtm_submit('msg', gid => 'revoked')");
eventually($node, "SELECT count(*) > 0 FROM dtm.calls WHERE gid = 'revoked'");
like(sql("SELECT error FROM dtm.calls WHERE gid = 'revoked' LIMIT 1"), qr/permission denied for function bank.move/, 'EXECUTE is asked for again at the call');
sql("SELECT dtm_force_stop('revoked'); GRANT EXECUTE ON FUNCTION bank.move TO app");

# ---------- slow ones ----------

sql(<<'SQL');
SET SESSION AUTHORIZATION app;
CREATE FUNCTION bank.wait(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO bank.seen VALUES (gid, branch_id, op);
  PERFORM pg_advisory_xact_lock((payload ->> 'lock')::int);
END $$;
SQL
my $holder = $node->background_psql('postgres');
my $waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
$holder->query_safe('SELECT pg_advisory_lock(7)');
as_app("SELECT dtm_submit('msg', ARRAY[dtm_step('sql:bank.wait', payload => '{\"lock\": 7}')], gid => 'slow ' || n) FROM generate_series(1, 4) n");
eventually($node, $waiting, '2');
as_app("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/Quick', payload => '{}')], gid => 'quick')");
is(sql("SELECT dtm_wait('quick')"), 'succeed', 'slow functions do not hold up calls of others');
# a worker of before may still have to end
ok(eventually($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'dtm local branches'", '2'), 'all workers but one');
like(`ps -o args= -p @{[ sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'dtm local branches' LIMIT 1") ]}`, qr/dtm local branches in database "postgres" of role "app"/, 'whose titles have names');
ok(eventually($node, "SELECT in_flight, queued FROM dtm.stat_coordinator", '2|2'), 'the others wait');
as_app("SELECT dtm_submit('msg', ARRAY[dtm_step('sql:bank.wait', payload => '{\"lock\": 7}')], gid => 'limited', options => '{\"request_timeout\": 0.1}')");
# stopped while it runs: what it did is not kept
sql("SELECT dtm_force_stop('slow 1')");
is(sql("SELECT dtm_status('slow 1')"), 'failed', 'stopped while it runs');
# the worker is ended: it is done again
sql("SELECT pg_terminate_backend(l.pid) FROM pg_locks l WHERE l.locktype = 'advisory' AND NOT l.granted LIMIT 1");
eventually($node, $waiting, '2');
$holder->query_safe('SELECT pg_advisory_unlock(7)');
is(sql("SELECT string_agg(dtm_wait('slow ' || n), ' ') FROM generate_series(2, 4) n"), 'succeed succeed succeed', 'the others end');
eventually($node, "SELECT count(*) FROM bank.seen WHERE gid LIKE 'slow %'", '3');
is(sql("SELECT string_agg(gid, ', ' ORDER BY gid) FROM bank.seen WHERE gid LIKE 'slow %'"), 'slow 2, slow 3, slow 4', 'each once, and nothing of the one that was stopped');
is(sql("SELECT dtm_wait('limited')"), 'succeed', 'one that is cancelled is called again');

$holder->query_safe('SELECT pg_advisory_lock(8)');
as_app("SELECT dtm_submit('msg', ARRAY[dtm_step('sql:bank.wait', payload => '{\"lock\": 8}')], gid => 'timed', options => '{\"request_timeout\": 0.1}')");
ok(eventually($node, "SELECT count(*) > 0 FROM dtm.calls WHERE gid = 'timed' AND error LIKE 'canceling statement due to statement timeout%'"), 'request_timeout counts for functions, too');
$holder->query_safe('SELECT pg_advisory_unlock(8)');
is(sql("SELECT dtm_wait('timed')"), 'succeed', 'a function that takes too long is cancelled and called again');

# the coordinator dies while a function runs: once all the same
$holder->query_safe('SELECT pg_advisory_lock(9)');
as_app("SELECT dtm_submit('msg', ARRAY[dtm_step('sql:bank.wait', payload => '{\"lock\": 9}')], gid => 'orphan')");
eventually($node, $waiting, '1');
my $orphan = sql("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted");
sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'dtm coordinator'");
eventually($node, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND pid <> $orphan", '1');
$holder->query_safe('SELECT pg_advisory_unlock(9)');
is(sql("SELECT dtm_wait('orphan')"), 'succeed', 'the coordinator died meanwhile');
eventually($node, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND objid = 9", '0');
is(sql("SELECT count(*) FROM bank.seen WHERE gid = 'orphan'"), '1', 'called by two workers, done once');
$holder->quit;

# functions that wait for ever leave room for the others
$holder = $node->background_psql('postgres');
$holder->query_safe('SELECT pg_advisory_lock(10)');
$node->append_conf('postgresql.conf', 'dtm.max_requests = 10');
$node->reload;
as_app("SELECT dtm_submit('msg', ARRAY[dtm_step('sql:bank.wait', payload => '{\"lock\": 10}')], gid => 'crowd ' || n) FROM generate_series(1, 100) n");
eventually($node, $waiting, '2');
as_app("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/Quick', payload => '{}')], gid => 'quick too')");
is(sql("SELECT dtm_wait('quick too', '60 s')"), 'succeed', 'a crowd that waits for workers does not hold up calls');
# a pause does not wait for those that have not begun
sql('SELECT dtm_pause()');
$holder->query_safe('SELECT pg_advisory_unlock(10)');
eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'paused');
ok(sql("SELECT count(*) FROM dtm.calls WHERE gid LIKE 'crowd %'") < 100, 'a pause does not wait for all of them');
sql('SELECT dtm_resume()');
ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'crowd %' AND status = 'succeed'", '100'), 'they go on when it ends');
is(sql("SELECT count(*) FROM bank.seen WHERE gid LIKE 'crowd %'"), '100', 'each is done once');
$holder->quit;
$node->append_conf('postgresql.conf', 'dtm.max_requests = 2000');
$node->reload;

# a session that has the row locked does not keep a worker for long
$holder = $node->background_psql('postgres');
as_app("SELECT dtm_prepare('msg', 'row locked', ARRAY[dtm_step('sql:bank.climb', payload => '{\"sql\": \"SELECT pg_sleep(1)\"}')])");
$holder->query_safe("BEGIN; SELECT 1 FROM dtm.active a JOIN dtm.request r USING (id) WHERE r.gid = 'row locked'");
as_app("SELECT dtm_submit('msg', gid => 'row locked')");
eventually($node, "SELECT in_flight > 0 FROM dtm.stat_coordinator");
$holder->query_safe("SELECT 1 FROM dtm.active a JOIN dtm.request r USING (id) WHERE r.gid = 'row locked' FOR UPDATE OF a");
ok(eventually($node, "SELECT in_flight = 0 FROM dtm.stat_coordinator"), 'a row that is locked keeps no worker');
$holder->query_safe('COMMIT');
$holder->quit;
is(sql("SELECT dtm_wait('row locked')"), 'succeed', 'it is done when the row is free');
is(sql("SELECT count(*) FROM bank.seen WHERE gid = 'row locked'"), '1', 'once');

# ---------- a job queue ----------

sql(<<'SQL');
SET SESSION AUTHORIZATION app;
CREATE TABLE bank.job (n int);
CREATE FUNCTION bank.work(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO bank.job VALUES ((payload ->> 'n')::int);
  IF random() < 0.1 THEN RAISE 'bad luck'; END IF;
END $$;
GRANT USAGE ON SCHEMA bank TO other;
GRANT INSERT ON bank.job TO other;
SQL
as_app("SELECT count(dtm_submit('msg', ARRAY[dtm_step('sql:bank.work', payload => jsonb_build_object('n', n))], gid => 'job ' || n)) FROM generate_series(1, 500) n");
sql("SET SESSION AUTHORIZATION other; SELECT count(dtm_submit('msg', ARRAY[dtm_step('sql:bank.work', payload => jsonb_build_object('n', n))], gid => 'job ' || n)) FROM generate_series(501, 1000) n");
eventually($node, "SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'job %' AND status = 'succeed'", '1000');
is(sql("SELECT count(*), count(DISTINCT n), sum(n) FROM bank.job"), '1000|1000|500500', 'a thousand jobs of two roles, each done once');
is(sql("SELECT count(*) FROM dtm.calls WHERE gid LIKE 'job %' AND result = 'SUCCESS'"), '1000', 'and each success is on record');

# with one worker, roles take turns
$node->append_conf('postgresql.conf', 'dtm.sql_workers = 1');
$node->reload;
for my $n (1 .. 4)
{
	my $role = $n % 2 ? 'app' : 'other';
	sql("SET SESSION AUTHORIZATION $role; SELECT dtm_submit('msg', ARRAY[dtm_step('sql:bank.work', payload => '{\"n\": 0}')], gid => 'turn $n')");
}
is(sql("SELECT string_agg(dtm_wait('turn ' || n), ' ') FROM generate_series(1, 4) n"), 'succeed succeed succeed succeed', 'roles share one worker');

# a TCC of which confirm and cancel are functions
sql(<<'SQL');
SET SESSION AUTHORIZATION app;
ALTER TABLE bank.account ADD frozen int NOT NULL DEFAULT 0 CHECK (frozen >= 0);
CREATE FUNCTION bank.settle(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE sql AS $$
  UPDATE bank.account SET frozen = frozen - (payload ->> 'amount')::int,
         balance = balance - CASE op WHEN 'confirm' THEN (payload ->> 'amount')::int ELSE 0 END
   WHERE name = payload ->> 'name' $$;
SQL
for my $end ('submit', 'abort')
{
	as_app("SELECT dtm_prepare('tcc', 'tcc $end')");
	as_app("BEGIN; SELECT dtm_register_branch('tcc $end', '01', 'sql:bank.settle', 'sql:bank.settle', '{\"name\": \"a\", \"amount\": 10}'); UPDATE bank.account SET frozen = frozen + 10 WHERE name = 'a'; COMMIT");
	as_app($end eq 'submit' ? "SELECT dtm_submit('tcc', gid => 'tcc submit')" : "SELECT dtm_abort('tcc abort')");
	sql("SELECT dtm_wait('tcc $end')");
	is(sql("SELECT balance, frozen FROM bank.account WHERE name = 'a'"), '60|0', "TCC: $end");
}

# ---------- where there are no workers ----------

sql("ALTER SYSTEM SET dtm.sql_workers = 0; SELECT pg_reload_conf()");
eventually($node, "SELECT current_setting('dtm.sql_workers')", '0');
as_app("SELECT dtm_submit('msg', ARRAY[dtm_step('sql:bank.work', payload => '{\"n\": 0}')], gid => 'nobody')");
ok(eventually($node, "SELECT count(*) > 0 FROM dtm.calls WHERE gid = 'nobody' AND error LIKE 'function was not called because dtm.sql_workers is 0'"),
	'dtm.sql_workers = 0 says so');
sql("ALTER SYSTEM RESET dtm.sql_workers; SELECT pg_reload_conf()");
is(sql("SELECT dtm_wait('nobody')"), 'succeed', 'and goes on when there are');

# dtm_run_due uses workers as well; DROP DATABASE finds nobody connected
sql("SELECT dtm_pause()");
eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'paused');
as_app("SELECT dtm_submit('saga', ARRAY[bank.step('a', -30), bank.step('nobody', 30)], gid => 'run_due')");
run_due($node, 0);
is(sql("SELECT dtm_status('run_due')"), 'failed', 'CALL dtm_run_due()');
sql('CREATE DATABASE gone');
$node->safe_psql('gone', "CREATE EXTENSION dtm; CREATE FUNCTION f(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE sql AS 'SELECT'; SELECT dtm_submit('msg', ARRAY[dtm_step('sql:public.f')], gid => 'x')");
ok(eventually($node, "SELECT dtm_status('x')", 'succeed', 'gone'), 'another database has workers of its own');
is(($node->psql('postgres', 'DROP DATABASE gone'))[0], 0, 'DROP DATABASE finds nobody connected');
$node->stop;

my $plain = start_server('plain', preload => '');
$plain->safe_psql('postgres', "SET client_min_messages = error; CREATE FUNCTION f(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE sql AS 'SELECT'; SELECT dtm_submit('msg', ARRAY[dtm_step('sql:public.f')], gid => 'x')");
run_due($plain);
is($plain->safe_psql('postgres', "SELECT result, error FROM dtm.calls"), 'ERROR|function was not called because dtm is not in shared_preload_libraries', 'without preload it says so');

done_testing();
