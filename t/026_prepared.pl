# A prepared transaction that has submitted something is told of when it commits,
# whoever commits it; others are not.  If this fails, a saga waits for the next
# submit, or two-phase load that is not ours takes the coordinator's time.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $conf = "wal_level = logical\nmax_prepared_transactions = 20\n";
my $node = start_server('subscriber', conf => $conf);
my $busi = start_participant();
eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'running');

sub submit { return "SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/x')], gid => '$_[0]')"; }

# ---------- another session, and after a restart ----------

sql('BEGIN; ' . submit('other-session') . "; PREPARE TRANSACTION 'one'");
is(sql("SELECT dtm_status('other-session') IS NULL"), 't', 'a prepared submit is not there yet');
sql("COMMIT PREPARED 'one'");
is(wait_for('other-session'), 'succeed', 'COMMIT PREPARED of another session starts it');

sql('BEGIN; ' . submit('restarted') . "; PREPARE TRANSACTION 'two'");
$node->restart;
eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'running');
sql("COMMIT PREPARED 'two'");
is(wait_for('restarted'), 'succeed', 'so does one after a restart');

sql('BEGIN; ' . submit('crashed') . "; PREPARE TRANSACTION 'three'");
$node->stop('immediate');
$node->start;
eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'running');
sql("COMMIT PREPARED 'three'");
is(wait_for('crashed'), 'succeed', 'and after a crash');

sql('BEGIN; ' . submit('undone') . "; PREPARE TRANSACTION 'four'");
sql("ROLLBACK PREPARED 'four'");
is(sql("SELECT dtm_status('undone') IS NULL"), 't', 'ROLLBACK PREPARED leaves nothing');

sql("BEGIN; SELECT dtm_pause(); PREPARE TRANSACTION 'pause'");
sql("COMMIT PREPARED 'pause'");
ok(eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'paused'), 'a prepared pause counts when it commits');
sql('SELECT dtm_resume()');
eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'running');

sql('CREATE DATABASE late');
$node->safe_psql('late', "BEGIN; CREATE EXTENSION dtm; PREPARE TRANSACTION 'extension'");
$node->safe_psql('late', "COMMIT PREPARED 'extension'");
ok(eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'running', 'late'), 'a prepared CREATE EXTENSION has its coordinator');
sql('DROP DATABASE late');

# ---------- transactions that are not ours ----------

sql('CREATE TABLE foreign_work (n int)');
sql(submit('before'));
is(wait_for('before'), 'succeed', 'the coordinator is idle');
my $searches = "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'active_due'";
ok($node->poll_query_until('postgres', "SELECT pg_stat_force_next_flush() IS NULL OR idx_scan > 0 FROM pg_stat_user_indexes WHERE indexrelname = 'active_due'"), 'its searches are counted');
my ($before) = sql($searches);
for my $n (1 .. 20)
{
	sql("BEGIN; INSERT INTO foreign_work VALUES ($n); PREPARE TRANSACTION 'foreign$n'");
	sql("COMMIT PREPARED 'foreign$n'");
}
sql(submit('after'));
is(wait_for('after'), 'succeed', 'a submit afterwards');
my ($after) = sql($searches);
cmp_ok($after - $before, '<', 10, '20 prepared transactions that submitted nothing caused no search');

# ---------- a worker of logical replication ----------

my $publisher = PostgreSQL::Test::Cluster->new('publisher');
$publisher->init(allows_streaming => 'logical');
$publisher->append_conf('postgresql.conf', 'max_prepared_transactions = 20');
$publisher->start;
my $table = 'CREATE TABLE orders (id text PRIMARY KEY)';
$publisher->safe_psql('postgres', "$table; CREATE PUBLICATION orders FOR TABLE orders");
sql("$table; CREATE FUNCTION submit_order() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN PERFORM public.dtm_submit('msg', ARRAY[public.dtm_step('$busi/order')], gid => NEW.id); RETURN NEW; END \$\$;
	CREATE TRIGGER submit_order AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION submit_order();
	ALTER TABLE orders ENABLE ALWAYS TRIGGER submit_order");
sql("CREATE SUBSCRIPTION orders CONNECTION '" . $publisher->connstr . " dbname=postgres' PUBLICATION orders WITH (two_phase = true)");
ok($node->poll_query_until('postgres', "SELECT bool_and(subtwophasestate = 'e') FROM pg_subscription"), 'a subscription of prepared transactions');
for my $n (1 .. 3)
{
	$publisher->safe_psql('postgres', "BEGIN; INSERT INTO orders VALUES ('order$n'); PREPARE TRANSACTION 'order$n'");
	ok($node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM pg_prepared_xacts'), "order $n is prepared here");
	is(sql("SELECT dtm_status('order$n') IS NULL"), 't', 'and not there yet');
	$publisher->safe_psql('postgres', "COMMIT PREPARED 'order$n'");
	ok($node->poll_query_until('postgres', "SELECT dtm_status('order$n') IS NOT NULL"), 'it is committed');
	is(wait_for("order$n"), 'succeed', 'and run');
}

done_testing();
