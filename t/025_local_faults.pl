# Functions that will not stop, or take the server along.  If this fails, one role's function stops
# those of all others, or restarts the server again and again.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('local_faults', conf => <<'CONF');
dtm.alert_each = on
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
# unless it has been called again by itself, and has ended
$node->psql('postgres', "SELECT dtm_retry_now('aborted')");
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

# ---------- functions that take the server along ----------

# The same in a session that the crash may end before it has the answer.
sub submit_to_crash
{
	my ($role, $statement) = @_;
	$node->psql('postgres', "SET SESSION AUTHORIZATION $role; $statement");
	return;
}

sub message
{
	my ($gid, $function) = @_;
	return "SELECT dtm_submit('msg', ARRAY[dtm_step('sql:jobs.$function')], gid => '$gid')";
}

sql(<<'SQL');
SET SESSION AUTHORIZATION chief;
CREATE FUNCTION jobs.kill_itself(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS
$$ BEGIN COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID'; PERFORM pg_sleep(10); END $$;
CREATE FUNCTION jobs.quit(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS
$$ BEGIN COPY (SELECT 1) TO PROGRAM 'kill -QUIT $PPID'; PERFORM pg_sleep(10); END $$;
CREATE FUNCTION jobs.kill_coordinator(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('COPY (SELECT 1) TO PROGRAM %L', 'cat > /dev/null; kill -9 ' || (SELECT pid FROM pg_stat_activity WHERE backend_type = 'dtm coordinator' AND datname = 'postgres'));
  PERFORM pg_sleep(10);
END $$;
CREATE FUNCTION jobs.long(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE sql AS
$$ SELECT pg_sleep(2); INSERT INTO jobs.done VALUES (gid) $$;
SQL
# the function as it is, mended or broken again
sub replace_killer
{
	my ($body) = @_;
	sql("CREATE OR REPLACE FUNCTION jobs.kill_itself(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS \$\$ BEGIN $body END \$\$");
	return;
}
$node->append_conf('postgresql.conf', 'dtm.sql_workers = 4');
$node->reload;
my $crash = 'the server crashed while it was called';
my $put_aside = "SELECT count(*) FROM dtm.transactions WHERE next_attempt IS NULL AND failures > 0 AND gid";

# How often the server has started over since a place in its log.
sub crashes_since
{
	my ($place) = @_;
	my $log = slurp_file($node->logfile, $place);
	return scalar(() = $log =~ /all server processes terminated; reinitializing/g);
}

submit('app', 'innocent', 'long');
ok(eventually($node, $running, '1'), 'another function runs');
my $log_place = -s $node->logfile;
submit_to_crash('chief', message('killer', 'kill_itself'));
ok(eventually($node, "$put_aside = 'killer'", '1'), 'a function that kills its process is put aside');
is(crashes_since($log_place), 5, 'after five restarts of the server');
is(sql("SELECT count(*), min(result), bool_and(op = 'action' AND branch_id = '01') FROM dtm.calls WHERE gid = 'killer' AND error = '$crash'"),
	'5|ERROR|t', 'of which each is on record');
is(sql("SELECT failures, last_error FROM dtm.stuck WHERE gid = 'killer'"), "5|$crash", 'dtm.stuck shows it');
like(slurp_file($node->logfile, $log_place), qr/WARNING:  global transaction "killer" is parked: the server crashed.*\n.*HINT:.*dtm_resume/, 'the log says what to do');
is(wait_for('innocent'), 'succeed', 'the other function is called again');
is(sql("SELECT count(*) FROM dtm.calls WHERE gid = 'innocent' AND result <> 'SUCCESS'"), '0', 'and has failed never');
replace_killer('INSERT INTO jobs.done VALUES (gid);');
sql("SELECT dtm_retry_now('killer')");
is(wait_for('killer'), 'succeed', 'when it is mended, it goes on');

# those that are told to quit, or have another process die
for my $function ('quit', 'kill_coordinator')
{
	$log_place = -s $node->logfile;
	submit_to_crash('chief', message($function, $function));
	ok(eventually($node, "$put_aside = '$function'", '1'), "$function: it is put aside");
	my $n = crashes_since($log_place);
	ok($n >= 5 && $n <= 12, "$function: after ten restarts ($n)");
	sql("SELECT dtm_force_stop('$function')");
}

# retry_limit, which knows no pause between two calls
$log_place = -s $node->logfile;
replace_killer("COPY (SELECT 1) TO PROGRAM 'kill -9 \$PPID'; PERFORM pg_sleep(10);");
submit_to_crash('chief', "SELECT dtm_submit('saga', ARRAY[dtm_step('sql:jobs.kill_itself', 'sql:jobs.work', '{}')], gid => 'limited', options => '{\"retry_limit\": 1}')");
ok(eventually($node, "SELECT dtm_status('limited')", 'failed'), 'retry_limit counts crashes');
is(crashes_since($log_place), 2, 'and is kept');

# a server that is stopped at once
submit('app', 'stopped', 'long');
ok(eventually($node, $running, '1'), 'a function runs');
$node->stop('immediate');
$node->start;
is(wait_for('stopped'), 'succeed', 'the server was stopped at once: it goes on');
is(sql("SELECT string_agg(error, ',') FROM dtm.calls WHERE gid = 'stopped' AND result <> 'SUCCESS'"), 'another process crashed while it was called', 'with one failure');

# a server that does not start over by itself: what was running outlives the postmaster
sub starting_again
{
	my ($query) = @_;
	my $pid_file = $node->data_dir . '/postmaster.pid';
	for (1 .. 1800)
	{
		my ($pid) = -e $pid_file ? slurp_file($pid_file) =~ /^(\d+)/ : ();
		if (!$pid || !kill(0, $pid))
		{
			$node->{_pid} = undef;
			$node->start(fail_ok => 1);
		}
		my ($rc, $out) = $node->psql('postgres', $query);
		return 1 if defined $rc && $rc == 0 && $out eq '1';
		select(undef, undef, undef, 0.1);
	}
	return 0;
}
$node->append_conf('postgresql.conf', 'restart_after_crash = off');
$node->restart;
submit_to_crash('chief', message('killer 2', 'kill_itself'));
ok(starting_again("$put_aside = 'killer 2'"), 'a server that somebody starts again: put aside, too');
is(sql("SELECT count(*) FROM dtm.calls WHERE gid = 'killer 2' AND error = '$crash'"), '5', 'after as many crashes');
sql("SELECT dtm_force_stop('killer 2')");

# a database that has no coordinator afterwards; and that is dropped
my $flight = $node->data_dir . '/pg_stat_tmp/dtm_flight';
my ($header_size, $record_size) = (40, 32);

# Records of crashes that a database has.
sub pending_of
{
	my ($database) = @_;
	my $all = slurp_file($flight);
	my $places = unpack('x12 L', $all);
	my @records = unpack("(a$record_size)*", substr($all, $header_size + 2 * $places * $record_size));
	return scalar(grep { my ($oid, $kind) = unpack('L L', $_); $oid == $database && $kind > 0 } @records);
}
sql('CREATE DATABASE second');
my $second = sql("SELECT oid FROM pg_database WHERE datname = 'second'");
$node->safe_psql('second', <<'SQL');
CREATE EXTENSION dtm;
CREATE FUNCTION f(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS
$$ BEGIN COPY (SELECT 1) TO PROGRAM 'kill -9 $PPID'; PERFORM pg_sleep(10); END $$;
SQL
$node->psql('second', "SELECT dtm_submit('msg', ARRAY[dtm_step('sql:public.f')], gid => 'in second')");
$node->append_conf('postgresql.conf', "dtm.databases = 'postgres'");
ok(starting_again("SELECT (current_setting('dtm.databases') = 'postgres')::int"), 'the server is started again');
submit('app', 'in first', 'work');
is(wait_for('in first'), 'succeed', 'a crash in one database is none of the others');
is(pending_of($second), '1', 'and is remembered until that one has a coordinator');
sql('DROP DATABASE second');
is(pending_of($second), '0', 'or is dropped');

# a file that is not to be believed
sub spoil
{
	my ($content) = @_;
	open my $f, '>', $flight or die $!;
	print $f $content;
	close $f;
	return;
}
for my $case ([ 'none', sub { unlink $flight } ], [ 'empty', sub { spoil('') } ], [ 'garbage', sub { spoil('x' x 100000) } ],
	[ 'cut', sub { truncate $flight, 100 } ],
	[ 'of another server', sub { my $all = slurp_file($flight); substr($all, 16, 8) = 'server.1'; spoil($all) } ],
	[ 'a directory', sub { unlink $flight; mkdir $flight } ])
{
	my ($name, $how) = @$case;
	$node->stop;
	$how->();
	$node->start;
	submit('app', "file: $name", 'work');
	is(wait_for("file: $name"), 'succeed', "a file of what was running: $name");
}
$node->stop;
rmdir $flight;
$node->append_conf('postgresql.conf', "restart_after_crash = on\nwal_level = replica\nmax_wal_senders = 2");
$node->start;
ok(-e $flight, 'there is one again');
$node->backup('copy');
ok(!-e $node->backup_dir . '/copy/pg_stat_tmp/dtm_flight', 'a base backup does not take it along');

# ---------- what takes the server along in a turn of the coordinator ----------

my $library = `pg_config --pkglibdir`;
chomp $library;
SKIP:
{
	skip 'dtm was built without assertions', 10 unless slurp_file("$library/dtm.so") =~ /dtm_crash_point/;
	my $file = $node->data_dir . '/dtm_crash_point';

	# only what is asked for is tried again
	$node->append_conf('postgresql.conf', "dtm.retry_interval = 1h\ndtm.retry_interval_max = 1h");
	$node->reload;
	eventually($node, 'SHOW dtm.retry_interval', '1h');
	$log_place = -s $node->logfile;
	for my $n (1 .. 5)
	{
		append_to_file("$file.new", "deciding 0\n");
		rename "$file.new", $file or die $!;
		if ($n == 1) { submit_to_crash('app', message('poison', 'work')) }
		else { $node->psql('postgres', "SELECT dtm_retry_now('poison')") }
		ok(eventually($node, "SELECT count(*) FROM dtm.calls WHERE gid = 'poison' AND error = 'the server crashed while it was processed'", $n), "crash $n");
	}
	ok(eventually($node, "$put_aside = 'poison'", '1'), 'a transaction that crashes the coordinator is put aside');
	is(sql("SELECT failures >= 3 FROM dtm.stuck WHERE gid = 'poison'"), 't', 'dtm.stuck shows it');
	like(slurp_file($node->logfile, $log_place), qr/WARNING:  global transaction "poison" is parked/, 'and the log');
	submit('app', 'no poison', 'work');
	is(wait_for('no poison'), 'succeed', 'the others go on');
	sql("SELECT dtm_retry_now('poison')");
	is(wait_for('poison'), 'succeed', 'when the reason is gone, it goes on, too');
}

stop_participant();
done_testing();
