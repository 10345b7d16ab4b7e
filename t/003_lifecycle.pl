# Extensions and databases are created, dropped, copied and restored; servers without
# shared_preload_libraries; standbys.  If this fails, a coordinator blocks a DROP, remains in a
# database without the extension, or calls services from a copy.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('lifecycle', extension => 0,
	init => { allows_streaming => 1 },
	conf => "dtm.retry_interval = '200ms'\nmax_worker_processes = 12");
my $busi = start_participant();
my $running = 'SELECT state FROM dtm.stat_coordinator';
my $coordinators =
  "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'dtm coordinator'";

sub submit
{
	my ($database, $gid) = @_;
	return $node->psql($database,
		"SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/a', '$busi/A', '{}'), dtm_step('$busi/b', '$busi/B', '{}')], gid => '$gid')");
}

# CREATE and DROP EXTENSION
ok(eventually($node, $coordinators, '0'), 'no extension, no coordinator');
sql('BEGIN; CREATE EXTENSION dtm; ROLLBACK');
sql('CREATE EXTENSION dtm');
ok(eventually($node, $running, 'running'), 'CREATE EXTENSION starts one');
sql('DROP EXTENSION dtm');
ok(eventually($node, $coordinators, '0'), 'DROP EXTENSION ends it');
sql('CREATE EXTENSION dtm');
ok(eventually($node, $running, 'running'), 'and again');

# the same under load, with calls under way
reply({ path => '/a' }, ({ delay => 0.2 }) x 200);
submit('postgres', "load$_") for 1 .. 50;
sql('DROP EXTENSION dtm');
ok(eventually($node, $coordinators, '0'), 'DROP EXTENSION under load');
for my $round (1 .. 5)
{
	sql('CREATE EXTENSION dtm');
	ok(eventually($node, $running, 'running'), "round $round: it runs");
	sql("SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/b'), dtm_step('$busi/b')]) FROM generate_series(1, 300)");
	sql('DROP EXTENSION dtm');
}
ok(eventually($node, $coordinators, '0'), 'and again and again');

# a turn that is caught by another command
sql('CREATE SCHEMA elsewhere; CREATE EXTENSION dtm SCHEMA elsewhere');
ok(eventually($node, $running, 'running'), 'in another schema');
sql("SELECT elsewhere.dtm_submit('msg', ARRAY[elsewhere.dtm_step('$busi/b')], gid => 'caught', options => '{\"delay\": 1}')");
my $session = $node->background_psql('postgres');
$session->query_safe('SET client_min_messages = error; BEGIN; LOCK TABLE dtm.active');
ok(eventually($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'dtm coordinator' AND wait_event_type = 'Lock'", '1'),
	'a turn waits for a table');
$session->query_safe('DROP SCHEMA elsewhere CASCADE; COMMIT');
$session->quit;
ok(eventually($node, $coordinators, '0'), 'which is dropped');
unlike(slurp_file($node->logfile), qr/ERROR:/, 'no error in the log');
sql('CREATE EXTENSION dtm');
submit('postgres', 'after-drop');
is(sql("SELECT dtm_wait('after-drop', '180 s')"), 'succeed', 'a new start');

# DROP DATABASE, RENAME and TEMPLATE find nobody connected
sql('CREATE DATABASE shop');
$node->safe_psql('shop', 'CREATE EXTENSION dtm');
ok(eventually($node, $running, 'running', 'shop'), 'a coordinator in shop');
submit('shop', 'shop1');
is($node->safe_psql('shop', "SELECT dtm_wait('shop1', '180 s')"), 'succeed', 'it runs');
reply('/a', { status => 500 });
$node->safe_psql('shop', "SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/copied')], gid => 'copied', options => '{\"delay\": 2}')");
sql('CREATE DATABASE copy TEMPLATE shop');
ok(eventually($node, $running, 'running', 'shop'), 'after CREATE DATABASE ... TEMPLATE it is back');
is($node->safe_psql('shop', "SELECT dtm_wait('copied', '180 s')"), 'succeed', 'and works');
# it was told to leave each time: it is back at once, and not later each time
for my $n (1 .. 12)
{
	sql("CREATE DATABASE copy$n TEMPLATE shop");
	sql("DROP DATABASE copy$n");
	$node->poll_query_until('shop', "SELECT state = 'running' OR reason IS NOT NULL FROM dtm.stat_coordinator") or die;
	is($node->safe_psql('shop', 'SELECT reason FROM dtm.stat_coordinator'), '', "no pause after copy $n");
}
# one that keeps dying is started after a pause, and that is said
my $pause = '';
for (1 .. 20)
{
	$node->poll_query_until('shop', "SELECT state = 'running' OR reason IS NOT NULL FROM dtm.stat_coordinator") or die;
	$pause = $node->safe_psql('shop', "SELECT reason || ' ' || hint FROM dtm.stat_coordinator WHERE reason IS NOT NULL");
	last if $pause;
	sql("SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = 'shop' AND backend_type = 'dtm coordinator'");
}
like($pause, qr/^The coordinator ended soon after its start, and is started again at \d{4}-.*\. The server log says why it ended\.$/, 'the pause of one that died is said');
ok(eventually($node, "SELECT state, reason FROM dtm.stat_coordinator", 'running|', 'shop'), 'it is back all the same');
sql('ALTER DATABASE shop RENAME TO store');
ok(eventually($node, $running, 'running', 'store'), 'after a rename it is back');
clear_participant();
reply({ path => '/a' }, ({ delay => 60 }) x 5);
submit('store', "store$_") for 1 .. 5;
ok(eventually($node, 'SELECT in_flight FROM dtm.stat_coordinator', '5', 'store'), 'calls are under way');
sql('DROP DATABASE store');
clear_participant();
is(sql("SELECT count(*) FROM pg_database WHERE datname = 'store'"), '0', 'DROP DATABASE under load');
ok(eventually($node, $coordinators, '2'), 'its coordinator is gone, those of the others are there');

# the copy does not call anybody until it is told to
is($node->safe_psql('copy', "SELECT dtm_status('copied')"), 'submitted', 'the copy has what was not final');
ok(eventually($node, $running, 'paused', 'copy'), 'a copy is paused, without anybody asking');
submit('copy', 'in-copy');
like(slurp_file($node->logfile), qr/"copy" is paused.*\n.*The database was restored or copied.*\n.*dtm_resume/, 'the log says why and what to do');
clear_participant();
$node->safe_psql('copy', 'SELECT dtm_resume()');
is($node->safe_psql('copy', "SELECT dtm_wait('in-copy', '180 s')"), 'succeed', 'resumed');
sql('DROP DATABASE copy');

# pg_dump and restore
sql('SELECT dtm_pause()');
eventually($node, $running, 'paused');
submit('postgres', 'dumped');
sql("SELECT dtm_barrier('saga', 'dumped', '01', 'action')");
sql("SELECT dtm_subscribe('topic', 'http://a/'), dtm_prepare('workflow', 'dumped workflow', options => '{\"name\": \"w\", \"data\": 1}')");
my $dump = $node->backup_dir . '/dump';
mkdir $node->backup_dir;
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('postgres') ], 'pg_dump');
sql('SELECT dtm_resume()');
is(sql("SELECT dtm_wait('dumped', '180 s')"), 'succeed', 'the original goes on');
clear_participant();
sql('CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '-d', $node->connstr('restored'), $dump ], 'pg_restore');
ok(eventually($node, $running, 'paused', 'restored'), 'a restored database is paused');
is($node->safe_psql('restored', "SELECT dtm_status('dumped'), (SELECT count(*) FROM dtm_barrier.barrier WHERE gid = 'dumped'), dtm_status('after-drop')"),
	'submitted|1|succeed', 'all is there');
is($node->safe_psql('restored', "SELECT (SELECT url FROM dtm.topics WHERE topic = 'topic'), options FROM dtm.transactions WHERE gid = 'dumped workflow'"),
	'http://a/|{"name": "w"}', 'topics and workflows, too');
is(scalar(calls_of('dumped')), 0, 'nothing was called from it');
submit('restored', 'new-id');
is($node->safe_psql('restored', "SELECT count(*) FROM dtm.transactions WHERE gid = 'new-id'"), '1', 'ids go on');
$node->safe_psql('restored', 'SELECT dtm_resume()');
is($node->safe_psql('restored', "SELECT dtm_wait('dumped', '180 s')"), 'succeed', 'resumed, it runs');

# a limit on databases
$node->append_conf('postgresql.conf', "dtm.databases = 'postgres'");
$node->restart;
ok(eventually($node, $running, 'running'), 'dtm.databases: postgres has one');
is($node->safe_psql('restored', $running), 'not running', 'the other has none');
is($node->safe_psql('restored', 'SELECT reason, hint FROM dtm.stat_coordinator'),
	'The setting dtm.databases does not name this database.|Add the database to dtm.databases, and reload the configuration.', 'dtm.stat_coordinator says why');
like(($node->psql('restored', "SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/unlisted')])"))[2],
	qr/WARNING:.*no coordinator runs in this database\n.*dtm\.databases/, 'and a submit, too');
$node->append_conf('postgresql.conf', "dtm.databases = '*'");
$node->reload;
ok(eventually($node, $running, 'running', 'restored'), 'reloaded: both');
sql('DROP DATABASE restored');

# a standby calls nobody; promoted, it goes on
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
reply({ path => '/b', gid => 'failover' }, ({ status => 500 }) x 20);
submit('postgres', 'failover');
ok(eventually($node, "SELECT status FROM dtm.branches WHERE gid = 'failover' AND ordinal = 2", 'succeed'), 'half done');
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is($standby->safe_psql('postgres', "SELECT dtm_status('failover')"), 'submitted', 'the standby shows it');
is($standby->safe_psql('postgres', $running), 'standby', 'and says what it is');
is($standby->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'dtm%'"), '0', 'nothing of ours runs there');
my ($rc, $out, $err) = $standby->psql('postgres', "SELECT dtm_submit('msg')");
like($err, qr/read-only|during recovery/, 'a submit is refused there');
($rc, $out, $err) = $standby->psql('postgres', "SELECT dtm_barrier('saga', 'g', '01', 'action')");
like($err, qr/cannot execute INSERT in a read-only transaction/, 'and so is a barrier');
$node->stop('immediate');
clear_participant();
$standby->promote;
ok(eventually($standby, "SELECT dtm_status('failover')", 'succeed'), 'promoted, it goes on by itself');
is(join(' ', map { substr $_->{path}, 1 } calls_of('failover')), 'b', 'where the other had stopped');
$standby->stop;

# a copy of the server's files is no standby
my $moved = PostgreSQL::Test::Cluster->new('moved');
$node->start;
ok(eventually($node, "SELECT dtm_wait('failover', '180 s')", 'succeed'), 'the original, started again, goes on');
eventually($node, 'SELECT count(directory) FROM dtm.home', '1');
$node->stop;
$node->backup_fs_cold('cold');
$moved->init_from_backup($node, 'cold');
$moved->start;
ok(eventually($moved, $running, 'paused'), 'a copy of the files is paused');
is($moved->safe_psql('postgres', 'SELECT reason FROM dtm.stat_coordinator'),
	"The server's data directory is a copy of another one.", 'the view says why');
like($moved->safe_psql('postgres', 'SELECT hint FROM dtm.stat_coordinator'), qr/SELECT dtm_resume\(\)/, 'and how to go on');
like(slurp_file($moved->logfile), qr/is paused.*\n.*The server's data directory is a copy.*\n.*dtm_resume/, 'so does the log');
clear_participant();
$moved->safe_psql('postgres', "SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/moved')], gid => 'moved')");
$moved->safe_psql('postgres', 'SELECT dtm_resume()');
is($moved->safe_psql('postgres', "SELECT dtm_wait('moved', '180 s')"), 'succeed', 'resumed, it runs');
$moved->restart;
ok(eventually($moved, $running, 'running'), 'and after a restart');
is(one_line('moved'), 'moved', 'called once');
$moved->stop;

# without preload
my $bare = start_server('bare', preload => '');
is($bare->safe_psql('postgres', "SELECT dtm_barrier('saga', 'g', '01', 'action')"), 't', 'the barrier needs no preload');
($rc, $out, $err) = $bare->psql('postgres', "SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/bare')], gid => 'bare')");
is($rc, 0, 'nor does a submit');
like($err, qr/WARNING:.*no coordinator runs.*\n.*shared_preload_libraries/, 'but it says that nobody will run it');
like($bare->safe_psql('postgres', "SELECT state || ': ' || reason || ' ' || hint FROM dtm.stat_coordinator"),
	qr/^not preloaded: The server has not preloaded dtm\. Add dtm to shared_preload_libraries/, 'nor does the view keep it to itself');
run_due($bare);
is($bare->safe_psql('postgres', "SELECT dtm_status('bare')"), 'succeed', 'dtm_run_due does');

# no worker to be had
my $tight = start_server('tight', extension => 0, conf => "max_worker_processes = 1\nmax_parallel_workers = 0\nmax_logical_replication_workers = 0");
$tight->safe_psql('postgres', 'CREATE EXTENSION dtm');
ok($tight->wait_for_log(qr/out of background worker slots for dtm coordinators/),
	'too few workers: the log says what to raise');
is($tight->safe_psql('postgres', 'SELECT state, reason, hint FROM dtm.stat_coordinator'),
	'not running|The coordinator cannot be started because no background worker slot is free.|Increase max_worker_processes, or decrease dtm.coordinators_per_database.',
	'and dtm.stat_coordinator');

done_testing();
