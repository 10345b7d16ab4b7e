# Functions that will not stop.  If this fails, one role's function stops those of all others.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('local_faults', conf => <<'CONF');
dtm.retry_interval = 100ms
dtm.retry_interval_max = 1s
dtm.sql_workers = 2
max_worker_processes = 16
restart_after_crash = on
log_min_messages = warning
CONF
my $busi = start_participant();

sub as_role
{
	my ($role, $statements) = @_;
	return sql("SET SESSION AUTHORIZATION $role; $statements");
}

# A message to a function of schema jobs; the option is request_timeout, or none.
sub submit
{
	my ($role, $gid, $function, $timeout) = @_;
	my $options = defined $timeout ? qq(, options => '{"request_timeout": $timeout}') : '';
	return as_role($role, "SELECT dtm_submit('msg', ARRAY[dtm_step('sql:jobs.$function')], gid => '$gid'$options)");
}

my $workers = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'dtm local branches'";
my $running = "$workers AND state = 'active'";

sql(<<'SQL');
CREATE EXTENSION IF NOT EXISTS dtm;
CREATE ROLE app LOGIN;
CREATE ROLE other LOGIN;
CREATE ROLE chief LOGIN SUPERUSER;
GRANT dtm_user TO app, other;
CREATE SCHEMA jobs;
GRANT ALL ON SCHEMA jobs TO app, other;
CREATE TABLE jobs.done (gid text, who text DEFAULT current_user, at timestamptz DEFAULT clock_timestamp());
GRANT ALL ON jobs.done TO app, other;
CREATE FUNCTION jobs.work(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE sql AS
$$ INSERT INTO jobs.done VALUES (gid) $$;
CREATE FUNCTION jobs.nap(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE sql AS
$$ SELECT pg_sleep(0.05); INSERT INTO jobs.done VALUES (gid) $$;
CREATE FUNCTION jobs.wait(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_advisory_xact_lock(1); INSERT INTO jobs.done VALUES (gid); END $$;
-- goes on when it is canceled
CREATE FUNCTION jobs.stubborn(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  SET LOCAL statement_timeout = 0;
  LOOP
    BEGIN
      PERFORM pg_sleep(1000);
    EXCEPTION WHEN query_canceled THEN
    END;
  END LOOP;
END $$;
-- hangs at its commit
CREATE TABLE jobs.slow_commit (x int);
GRANT ALL ON jobs.slow_commit TO app, other;
CREATE FUNCTION jobs.loop_forever() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  LOOP
    BEGIN
      PERFORM pg_sleep(1000);
    EXCEPTION WHEN query_canceled THEN
    END;
  END LOOP;
END $$;
CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON jobs.slow_commit DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION jobs.loop_forever();
CREATE FUNCTION jobs.commit_slowly(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE sql AS
$$ INSERT INTO jobs.slow_commit VALUES (1) $$;
CREATE FUNCTION jobs.cursor(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS
$$ BEGIN EXECUTE 'DECLARE c CURSOR WITH HOLD FOR SELECT pg_sleep(1000)'; INSERT INTO jobs.done VALUES (gid); END $$;
SQL

# ---------- functions that will not stop ----------

# one role leaves a place for the others
submit('app', "stubborn $_", 'stubborn', 0.2) for 1 .. 2;
ok(eventually($node, "$running", '1'), 'one role has all but one of the workers');
submit('other', 'of another', 'work');
is(wait_for('of another'), 'succeed', 'and leaves that one to others');
ok(eventually($node, "SELECT count(DISTINCT gid) FROM dtm.calls WHERE gid LIKE 'stubborn%' AND error LIKE 'function did not end in time%'", '2'),
	'a function that ignores its time-out is ended, and its failure is on record');
ok(eventually($node, "SELECT failures > 0 FROM dtm.transactions WHERE gid = 'stubborn 1'"), 'and counts');
sql("SELECT dtm_force_stop('stubborn $_')") for 1 .. 2;
ok(eventually($node, $running, '0'), 'dtm_force_stop() ends the process');
submit('app', 'after', 'work');
is(wait_for('after'), 'succeed', 'its place is free');

# without any time-out
submit('app', 'for ever', 'stubborn');
ok(eventually($node, $running, '1'), 'it runs');
sql("SELECT dtm_force_stop('for ever')");
ok(eventually($node, $running, '0'), 'dtm_force_stop() ends what has no time-out');

# a saga that is rolled back has no use for an action that runs
reply('/Refuse', { status => 409, hold => JSON::PP::true() });
reply({ path => '/Undo', forever => JSON::PP::true() }, { status => 500 });
as_role('app', "SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/Refuse', '$busi/Undo', '{}'), dtm_step('sql:jobs.stubborn', 'sql:jobs.work', '{}')], gid => 'aborted', options => '{\"concurrent\": true}')");
ok(eventually($node, $running, '1'), 'a step of a saga runs');
release_replies();
ok(eventually($node, "SELECT dtm_status('aborted')", 'aborting'), 'another one is refused');
ok(eventually($node, $running, '0'), 'which ends the one that runs');
is(sql("SELECT dtm_status('aborted')"), 'aborting', 'while the other one is not undone yet');
clear_participant();
sql("SELECT dtm_retry_now('aborted')");
is(wait_for('aborted'), 'failed', 'then it is');

# or its time is over
as_role('app', "SELECT dtm_submit('saga', ARRAY[dtm_step('sql:jobs.stubborn', 'sql:jobs.work', '{}')], gid => 'too late', options => '{\"timeout_to_fail\": 1}')");
is(wait_for('too late'), 'failed', 'timeout_to_fail counts while a function runs');
ok(eventually($node, $running, '0'), 'and ends it');
submit('app', 'in the way', 'stubborn');
ok(eventually($node, $running, '1'), 'a function has the only place that its role may have');
as_role('app', "SELECT dtm_submit('saga', ARRAY[dtm_step('sql:jobs.work', 'sql:jobs.work', '{}')], gid => 'waits too long', options => '{\"timeout_to_fail\": 1}')");
is(wait_for('waits too long'), 'failed', 'timeout_to_fail counts while one waits, too');
sql("SELECT dtm_force_stop('in the way')");
ok(eventually($node, $running, '0'), 'it ends');

# at the commit
for my $function ('commit_slowly', 'cursor')
{
	submit('app', $function, $function, 0.2);
	next if $function eq 'cursor';
	ok(eventually($node, $running, '1'), "$function: it runs");
	sql("SELECT dtm_force_stop('$function')");
	ok(eventually($node, $running, '0'), "$function: nobody waits for the row meanwhile");
}
is(wait_for('cursor'), 'succeed', 'the query of a cursor that nobody reads is not run at the commit');

# what it has left behind can't be removed: that needs a catalog that is locked
sql(<<'SQL');
CREATE FUNCTION jobs.leave(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS
$$ BEGIN CREATE TEMP TABLE left_behind (x int); INSERT INTO jobs.done VALUES (gid); END $$;
SQL
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE pg_description IN SHARE MODE');
submit('app', 'leave', 'leave');
is(wait_for('leave'), 'succeed', 'the outcome does not wait for what is left behind');
submit('other', 'after leave', 'work');
is(wait_for('after leave'), 'succeed', 'nor do those that follow');
is(sql("SELECT count(*) FROM pg_class WHERE relname = 'left_behind'"), '1', 'which is still there');
$holder->query_safe('ROLLBACK');
$holder->quit;
ok(eventually($node, "SELECT count(*) FROM pg_class WHERE relname = 'left_behind'", '0'), 'it is removed when it can be');

# roles share one worker in turns
$node->append_conf('postgresql.conf', 'dtm.sql_workers = 1');
$node->reload;
as_role('app', "SELECT count(dtm_submit('msg', ARRAY[dtm_step('sql:jobs.nap')], gid => 'crowd ' || n)) FROM generate_series(1, 60) n");
submit('other', 'in turn', 'work');
is(wait_for('in turn'), 'succeed', 'one worker: another role has its turn');
cmp_ok(sql("SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'crowd %' AND status = 'succeed'"), '<', 60, 'before all of a crowd have had theirs');
ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'crowd %' AND status = 'succeed'", '60'), 'which come to theirs');

# a process that does not end when it is terminated
my $pidfile = $node->data_dir . '/program.pid';
sql(<<"SQL");
CREATE FUNCTION jobs.program(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS
\$body\$ BEGIN COPY (SELECT 1) TO PROGRAM 'trap "" INT TERM; echo \$\$ > $pidfile; exec sleep 100000'; END \$body\$;
SQL
submit('chief', 'program', 'program', 0.1);
ok(eventually($node, "SELECT count(*) > 0 FROM dtm.calls WHERE gid = 'program' AND error LIKE 'function did not end in time, nor when its process%'"),
	'a process that does not end is written off');
submit('other', 'meanwhile', 'work');
is(wait_for('meanwhile'), 'succeed', 'its place is free for other roles');
ok(eventually($node, "SELECT count(*) > 0 FROM dtm.calls WHERE gid = 'program' AND error LIKE 'process % of the same role, still runs%'"),
	'its own role gets no other one');
is(sql("SELECT count(*) FROM dtm.stuck WHERE gid = 'program'") + 0, 1, 'which dtm.stuck shows')
  if eventually($node, "SELECT failures >= 3 FROM dtm.transactions WHERE gid = 'program'");
sql('SELECT dtm_pause()');
ok(eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'paused'), 'a pause does not wait for it');
sql('SELECT dtm_resume()');
sql("SELECT dtm_force_stop('program')");
submit('chief', 'of chief', 'work');
kill 'KILL', slurp_file($pidfile) + 0;
ok(eventually($node, $running, '0'), 'it ends with its program');
is(wait_for('of chief'), 'succeed', 'and its role has functions called again');

# a pause, dtm_run_due, DROP EXTENSION and DROP DATABASE get free of what runs
submit('app', 'paused', 'stubborn');
ok(eventually($node, $running, '1'), 'it runs');
sql('SELECT dtm_pause()');
ok(eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'paused'), 'dtm_pause() does not wait for ever');
is(sql("SELECT failures FROM dtm.transactions WHERE gid = 'paused'"), '0', 'which is no failure');
sql('SELECT dtm_resume()');
ok(eventually($node, $running, '1'), 'it goes on with dtm_resume()');
sql('CREATE OR REPLACE FUNCTION jobs.stubborn(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE sql AS $$ INSERT INTO jobs.done VALUES (gid) $$');
sql('CALL dtm_run_due()');
is(sql("SELECT dtm_status('paused')"), 'succeed', 'dtm_run_due() does not wait for it either');
is(sql("SELECT count(*) FROM jobs.done WHERE gid = 'paused'"), '1', 'it is done once');

sql('CREATE DATABASE gone');
my $in_gone = <<'SQL';
CREATE EXTENSION dtm;
CREATE OR REPLACE FUNCTION f(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  LOCK TABLE dtm.active IN ACCESS SHARE MODE;
  LOOP
    BEGIN
      PERFORM pg_sleep(1000);
    EXCEPTION WHEN query_canceled THEN
    END;
  END LOOP;
END $$;
SELECT dtm_submit('msg', ARRAY[dtm_step('sql:public.f')], gid => 'locks');
SQL
$node->safe_psql('gone', $in_gone);
ok(eventually($node, "$running AND datname = 'gone'", '1'), 'a function has a table of dtm locked');
is(($node->psql('gone', 'DROP EXTENSION dtm', timeout => 180))[0], 0, 'DROP EXTENSION does not wait for it');
$node->safe_psql('gone', $in_gone);
ok(eventually($node, "$running AND datname = 'gone'", '1'), 'again');
is(($node->psql('postgres', 'DROP DATABASE gone', timeout => 180))[0], 0, 'DROP DATABASE neither');

stop_participant();
done_testing();
