# A commit is told of when all of it is over, and what has committed here and not yet on other
# nodes is not called for, whoever searches.  If this fails, a participant on Citus is
# called before it can see the rows that it is called for.  A library holds commits; where there
# is no Citus, it pretends to be it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $library = "$dir/hold_commit.so";
chomp(my $include = `pg_config --includedir-server`);
plan skip_all => 'no C compiler'
  if system('cc', '-shared', '-fPIC', (on_citus() ? () : '-DPRETEND_CITUS'), "-I$include", '-o', $library,
	"$FindBin::RealBin/../test/hold_commit.c") != 0;

my $node = start_server('elsewhere', preload => "$library, dtm");
my $busi = start_participant();
eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'running');
my $hold = $node->data_dir . '/hold_commit';

sub submit { return "SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/$_[0]')], gid => '$_[0]')"; }

# A session whose commit is held; returns what ends it.
sub start_held
{
	my ($statement, $seen) = @_;
	append_to_file($hold, '');
	my $session = IPC::Run::start(
		[ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', "SET hold_commit.here = on; BEGIN; $statement; COMMIT" ],
		'<', '/dev/null', '>', \my $out, '2>', \my $err);
	ok($node->poll_query_until('postgres', $seen), 'its commit is seen by others, and goes on');
	return sub {
		unlink $hold;
		$session->finish;
		return;
	};
}

# The coordinator finds all that is due, and has done with it.
sub search_all
{
	my ($name) = @_;
	sql('SELECT dtm_pause()');
	eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'paused');
	sql('SELECT dtm_resume()');
	sql(submit($name));
	is(wait_for($name), 'succeed', "$name: the coordinator has searched, and calls for others");
	return;
}

# ---------- a submit ----------

my $end = start_held(submit('held'), "SELECT dtm_status('held') = 'submitted'");
search_all('other1');
is(scalar(calls_of('held')), 0, 'nobody is called for it');
$end->();
is(wait_for('held'), 'succeed', 'its commit is over: it is run');

# ---------- one in a subtransaction ----------

$end = start_held(
	"DO \$\$ BEGIN BEGIN PERFORM dtm_submit('msg', ARRAY[dtm_step('$busi/inner')], gid => 'inner'); EXCEPTION WHEN division_by_zero THEN NULL; END; END \$\$",
	"SELECT dtm_status('inner') = 'submitted'");
search_all('other2');
is(scalar(calls_of('inner')), 0, 'nobody is called for what a subtransaction has submitted');
$end->();
is(wait_for('inner'), 'succeed', 'and then it is run');

# ---------- a change of one that is in memory ----------

reply('/first', { hold => 1 });
sql("SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/first', '$busi/undo')], gid => 'changed')");
ok(eventually($node, "SELECT count(*) FROM dtm.in_flight WHERE gid = 'changed' AND started IS NOT NULL", '1'), 'a call is in flight');
$end = start_held("SELECT dtm_abort('changed')", "SELECT dtm_status('changed') = 'aborting'");
release_replies();
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/more')], gid => 'more')");
is(wait_for('more'), 'succeed', 'the coordinator has gone on since the reply');
is(one_line('changed'), 'first', 'nothing follows from the change yet');
$end->();
is(wait_for('changed'), 'failed', 'it is rolled back when that commit is over');
is(one_line('changed'), 'first undo', 'with a call of what undoes it');

# ---------- sql: branches are in a transaction block ----------

sql(q{
	CREATE TABLE said (what text);
	CREATE FUNCTION say(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
	  EXECUTE 'VACUUM said';
	EXCEPTION WHEN active_sql_transaction THEN
	  INSERT INTO said VALUES (SQLERRM);
	END $$});
sql(q{SELECT dtm_submit('saga', ARRAY[dtm_step('sql:public.say')], gid => 'block')});
is(wait_for('block'), 'succeed', 'a function is called');
is(sql('SELECT what FROM said'), 'VACUUM cannot run inside a transaction block', 'within a transaction block, as in a session');

# ---------- TRUNCATE, with the triggers that there are on Citus ----------

clear_participant();
reply('/cut', { hold => 1 });
sql("SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/cut', '$busi/undo')], gid => 'cut')");
ok(eventually($node, "SELECT count(*) FROM dtm.in_flight WHERE gid = 'cut' AND started IS NOT NULL", '1'), 'a call is in flight');
sql('SELECT dtm.guard_tables()');
sql('TRUNCATE dtm.active');
ok(eventually($node, 'SELECT loaded FROM dtm.stat_coordinator', '0'), 'what a TRUNCATE removes is forgotten at once');
release_replies();

unlike(slurp_file($node->logfile), qr/TRAP|PANIC/, 'nothing is broken');
done_testing();
