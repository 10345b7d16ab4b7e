# Searches behind an old snapshot.  If this fails, a row that is written late, with an early
# next_time, is not called; or each search reads the entries of all that has finished.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('held', conf => <<'CONF');
max_prepared_transactions = 30
max_worker_processes = 16
autovacuum = off
dtm.request_timeout = 100s
dtm.max_requests_per_host = 50
dtm.retry_interval = 1h
dtm.retry_interval_max = 1h
CONF
my $busi = start_participant();
eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'running');

sub msg
{
	my ($gid, $options) = @_;
	return "dtm_submit('msg', ARRAY[dtm_step('$busi/x')], gid => '$gid'" . ($options ? ", options => '$options'" : '') . ')';
}

# ---------- entries behind the floor are not read ----------

# Entries of dtm.active's index of due rows that were read so far; nobody else reads it here.
# The coordinator reports when it has nothing to do.
sub entries_read
{
	eventually($node, "SELECT state = 'idle' FROM pg_stat_activity WHERE backend_type = 'dtm coordinator'");
	return sql("SELECT idx_tup_read FROM pg_stat_all_indexes WHERE indexrelname = 'active_due'");
}

# A prepared transaction that everybody has forgotten: an old snapshot, and a row that is never committed.
sql('BEGIN; SELECT ' . msg('forgotten') . "; PREPARE TRANSACTION 'forgotten'");
my $finished = 3000;
sql('SELECT count(' . msg("behind-' || n || '") . ") FROM generate_series(1, $finished) n");
ok(eventually($node, 'SELECT count(*) FROM dtm.finished', $finished), 'many have finished');
sql('VACUUM dtm.active');
is(sql("SELECT n_dead_tup >= $finished FROM pg_stat_all_tables WHERE relid = 'dtm.active'::regclass"), 't', 'and their dead rows are kept');

sub reads_little
{
	my ($n, $name, @statements) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $before = entries_read();
	sql($_) for @statements;
	ok(eventually($node, "SELECT count(*) FROM dtm.finished f JOIN dtm.request r USING (id) WHERE r.gid LIKE '$name%'", $n), "$name: all are run");
	my $read = entries_read() - $before;
	note("$name: $read entries read");
	cmp_ok($read, '<', $finished, "$name: what has finished is not read");
	return;
}

# the first search that is asked for may begin at the forgotten one
sql('BEGIN; SELECT ' . msg('first') . "; PREPARE TRANSACTION 'first'");
sql("COMMIT PREPARED 'first'");
is(wait_for('first'), 'succeed', 'the first COMMIT PREPARED');

reads_little(20, 'prepared', map { ('BEGIN; SELECT ' . msg("prepared-$_") . "; PREPARE TRANSACTION 'p$_'", "COMMIT PREPARED 'p$_'") } 1 .. 20);
reads_little(700, 'seventy', map { "SELECT count(" . msg("seventy-$_-' || n || '") . ") FROM generate_series(1, 70) n" } 1 .. 10);
# more than are announced by their ids
reads_little(1100, 'many', "SELECT count(" . msg("many-' || n || '") . ") FROM generate_series(1, 1100) n");
# of a TCC that has been submitted, the time at which it would have timed out is still there
sql("SELECT count(dtm_prepare('tcc', 'tcc-' || n, options => '{\"timeout_to_fail\": 3600}')) FROM generate_series(1, $finished) n");
sql("SELECT count(dtm_submit('tcc', gid => 'tcc-' || n)) FROM generate_series(1, $finished) n");
ok(eventually($node, "SELECT count(*) FROM dtm.finished f JOIN dtm.request r USING (id) WHERE r.gid LIKE 'tcc%'", $finished), 'TCCs');
sql('BEGIN; SELECT ' . msg('after-tcc') . "; PREPARE TRANSACTION 'after-tcc'");
sql("COMMIT PREPARED 'after-tcc'");
is(wait_for('after-tcc'), 'succeed', 'a search behind these');
reads_little(10, 'before-timeouts', map { ('BEGIN; SELECT ' . msg("before-timeouts-$_") . "; PREPARE TRANSACTION 'p$_'", "COMMIT PREPARED 'p$_'") } 1 .. 10);

# ---------- rows that come late ----------

# Others' transactions, after which no search goes on where a row from before them is.
my $others = 0;

sub floor_rises
{
	for (1 .. 2)
	{
		my $gid = 'other-' . ++$others;
		sql('BEGIN; SELECT ' . msg($gid) . "; PREPARE TRANSACTION '$gid'");
		sql("COMMIT PREPARED '$gid'");
		wait_for($gid);
	}
	return;
}

# A session that has calculated when its row is due, and then waits before it inserts it: for the
# end of a transaction that has the same gid.
sub inserts_late
{
	my ($gid, $before, $end) = @_;
	my $first = $node->background_psql('postgres');
	$first->query_safe('BEGIN; SELECT ' . msg($gid));
	my $late = $node->background_psql('postgres');
	$late->query_safe("SET application_name = 'late'");
	$late->query_until(qr/waits/, "\\echo waits\nBEGIN; $before SELECT " . msg($gid) . "; $end\n\\echo ends\n");
	eventually($node, "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE application_name = 'late'");
	floor_rises();
	$first->query_safe('ROLLBACK');
	$first->quit;
	return $late;
}

my $late = inserts_late('late-commit', '', 'COMMIT;');
is(wait_for('late-commit'), 'succeed', 'a row that was inserted late is called');
$late->quit;
$late = inserts_late('late-many', "SELECT count(" . msg("late-many-' || n || '") . ") FROM generate_series(1, 1100) n;", 'COMMIT;');
is(wait_for('late-many'), 'succeed', 'with many others in the same transaction, too');
ok(eventually($node, "SELECT count(*) FROM dtm.finished f JOIN dtm.request r USING (id) WHERE r.gid LIKE 'late-many%'", '1101'), 'and these');
$late->quit;
$late = inserts_late('late-prepared', '', "PREPARE TRANSACTION 'late-prepared';");
ok(eventually($node, "SELECT count(*) FROM pg_prepared_xacts WHERE gid = 'late-prepared'", '1'), 'one is prepared late');
floor_rises();
$late->quit;
sql("COMMIT PREPARED 'late-prepared'");
is(wait_for('late-prepared'), 'succeed', 'it is called when it commits');
$late = inserts_late('late-savepoint', 'SAVEPOINT a;', "SAVEPOINT b; SELECT " . msg('undone') . "; ROLLBACK TO b; PREPARE TRANSACTION 'late-savepoint';");
ok(eventually($node, "SELECT count(*) FROM pg_prepared_xacts WHERE gid = 'late-savepoint'", '1'), 'and one in a savepoint');
floor_rises();
$late->quit;
sql("COMMIT PREPARED 'late-savepoint'");
is(wait_for('late-savepoint'), 'succeed', 'so is that');
is(sql("SELECT dtm_status('undone') IS NULL"), 't', 'what was rolled back is not there');

# ---------- prepared, and committed much later ----------

# Each is prepared before the floor rises above it, with the coordinator as it was, or another one.
sub prepare
{
	my ($name, $statements) = @_;
	sql("BEGIN; $statements; PREPARE TRANSACTION '$name'");
	floor_rises();
	return;
}

sub is_run
{
	my ($gid, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	sql("COMMIT PREPARED '$gid'");
	is(wait_for($gid), 'succeed', "$gid: $name");
	return;
}

sub next_coordinator
{
	my $pid = sql('SELECT pid FROM dtm.stat_coordinator');
	sql("SELECT pg_terminate_backend($pid)");
	eventually($node, "SELECT state = 'running' AND pid <> $pid FROM dtm.stat_coordinator");
	return;
}

prepare('old-coordinator', 'SELECT ' . msg('old-coordinator'));
is_run('old-coordinator', 'committed later');
prepare('subtransactions', "DO \$\$ BEGIN FOR i IN 1..100 LOOP BEGIN PERFORM " . msg("sub-' || i || '") . '; EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$; SELECT ' . msg('subtransactions'));
is_run('subtransactions', 'with many subtransactions');
ok(eventually($node, "SELECT count(*) FROM dtm.finished f JOIN dtm.request r USING (id) WHERE r.gid LIKE 'sub-%'", '100'), 'and what these have submitted');
prepare('new-coordinator', 'SELECT ' . msg('new-coordinator'));
next_coordinator();
floor_rises();
is_run('new-coordinator', 'after another coordinator has started');
prepare('restart', 'SELECT ' . msg('restart'));
$node->restart;
floor_rises();
is_run('restart', 'after a restart');
prepare('crash', 'SELECT ' . msg('crash'));
$node->stop('immediate');
$node->start;
floor_rises();
is_run('crash', 'after a crash');
prepare('run-due', 'SELECT ' . msg('run-due'));
run_due($node);
floor_rises();
is_run('run-due', 'after dtm_run_due()');
prepare('paused', 'SELECT ' . msg('paused') . '; SELECT dtm_pause()');
sql("COMMIT PREPARED 'paused'");
ok(eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'paused'), 'one that pauses');
sql('SELECT dtm_resume()');
is(wait_for('paused'), 'succeed', 'is called after dtm_resume()');

# rows that are due later
prepare('later', 'SELECT ' . msg('later', '{"delay": 2}'));
is_run('later', 'due after it is committed');
prepare('later-than-due', 'SELECT ' . msg('later-than-due', '{"delay": 1}'));
eventually($node, "SELECT now() > prepared + interval '1.1 s' FROM pg_prepared_xacts WHERE gid = 'later-than-due'");
sql('SELECT ' . msg('delayed', '{"delay": 1}'));
wait_for('delayed');
floor_rises();
is_run('later-than-due', 'due before it is committed');
sql("BEGIN; SELECT " . msg('now-and') . '; SELECT ' . msg('now-and-later', '{"delay": 2}') . "; PREPARE TRANSACTION 'now-and'");
is_run('now-and', 'one that is due at once');
is(wait_for('now-and-later'), 'succeed', 'and one that is due later');

# rows that are moved
reply('/x', { status => 500 }, { status => 500 });
sql('SELECT ' . msg($_)) for qw(retried reset);
ok(eventually($node, "SELECT count(*) FROM dtm.active a JOIN dtm.request r USING (id) WHERE r.gid IN ('retried', 'reset') AND a.next_time > now() + interval '1 min'", '2'), 'two wait for a retry');
prepare('retried', "SELECT dtm_retry_now('retried')");
is_run('retried', 'dtm_retry_now() in a prepared transaction');
prepare('reset', "SELECT dtm_reset_cron_time('1 s', 10)");
is_run('reset', 'dtm_reset_cron_time() in a prepared transaction');

# ---------- several coordinators ----------

sub set_coordinators
{
	my ($n) = @_;
	sql("ALTER SYSTEM SET dtm.coordinators_per_database = $n");
	sql('SELECT pg_reload_conf()');
	ok(eventually($node, "SELECT count(*) = $n AND bool_and(state = 'running') FROM dtm.stat_coordinator"), "$n coordinators");
	return;
}

my $several = join '; ', map { 'SELECT ' . msg("%s-$_") } 1 .. 16;
sub several { my ($name) = @_; return $several =~ s/%s/$name/gr; }
sub are_run
{
	my ($name, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	sql("COMMIT PREPARED '$name'");
	ok(eventually($node, "SELECT count(*) FROM dtm.finished f JOIN dtm.request r USING (id) WHERE r.gid ~ '^$name-'", '16'), $what);
	return;
}
prepare('share', several('share'));
set_coordinators(3);
floor_rises();
are_run('share', 'prepared with one coordinator, committed with three');
prepare('shares', several('shares'));
are_run('shares', 'prepared and committed with three');
prepare('unshared', several('unshared'));
set_coordinators(1);
floor_rises();
are_run('unshared', 'prepared with three, committed with one');

# ---------- what was forgotten ----------

sql("COMMIT PREPARED 'forgotten'");
is(wait_for('forgotten'), 'succeed', 'the oldest of all is called when it commits');

# ---------- without the index ----------

sql('DROP INDEX dtm.active_due');
prepare('no-index', several('no-index'));
are_run('no-index', 'prepared and committed without the index');
prepare('no-index-later', several('no-index-later'));
next_coordinator();
floor_rises();
are_run('no-index-later', 'with another coordinator in between');
sql('CREATE INDEX due_again ON dtm.active (next_time, id)');
prepare('new-index', several('new-index'));
are_run('new-index', 'with another index');

is(sql("SELECT count(*) FROM dtm.active WHERE next_time < now() - interval '1 s'"), '0', 'nothing is left');

# ---------- removal ----------

# All but one are old enough to be removed; that one will be when the next pass begins.
my $reader = $node->background_psql('postgres');
$reader->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
sql("UPDATE dtm.request SET created = now() - interval '2 min'; UPDATE dtm.finished SET finished = now() - interval '2 min'");
my $last = sql('SELECT max(id) FROM dtm.finished');
sql("UPDATE dtm.request SET created = now() - interval '30 s' WHERE id = $last; UPDATE dtm.finished SET finished = now() - interval '30 s' WHERE id = $last");
sql("ALTER SYSTEM SET dtm.retention = '1min'");
sql('SELECT pg_reload_conf()');
my $removed = "SELECT idx_tup_read FROM pg_stat_all_indexes WHERE indexrelname = 'finished_pkey'";
ok(eventually($node, 'SELECT count(*) FROM dtm.finished', '1'), 'what is old enough is removed');
entries_read();
my $before = sql($removed);
ok(eventually($node, 'SELECT count(*) FROM dtm.finished', '0'), 'so is one that becomes old enough');
entries_read();
cmp_ok(sql($removed) - $before, '<', $finished, 'what was removed is not read again');
$reader->quit;
unlike(slurp_file($node->logfile), qr/TRAP|PANIC/, 'nothing is broken');
done_testing();
