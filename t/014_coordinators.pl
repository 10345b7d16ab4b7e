# Several coordinators in a database.  If this fails, a transaction has no coordinator, or two at
# a time, while their number changes or after one of them has died.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('coordinators', conf => <<'CONF');
dtm.coordinators_per_database = 4
dtm.retry_interval = 200ms
dtm.request_timeout = 60s
dtm.max_requests_per_host = 20
max_worker_processes = 20
log_min_messages = warning
CONF
my $busi = start_participant();

sub running
{
	my ($number, $database) = @_;
	return eventually($node,
		"SELECT count(*) = $number AND bool_and(state = 'running') AND string_agg(coordinator::text, ' ' ORDER BY coordinator) = (SELECT string_agg(n::text, ' ') FROM generate_series(1, $number) n) FROM dtm.stat_coordinator",
		't', $database);
}

sub set
{
	my ($setting) = @_;
	$node->append_conf('postgresql.conf', $setting);
	$node->reload;
	return;
}

# Sagas of two steps in transactions of their own, as a background psql's input.
sub submit
{
	my ($prefix, $number) = @_;
	my $script = "$prefix.sql";
	append_to_file("$PostgreSQL::Test::Utils::tmp_check/$script", join '', map {
		"SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/TransOut', payload => '{}'), dtm_step('$busi/TransIn', payload => '{}')], gid => '$prefix-$_');\n"
	} 1 .. $number);
	return [ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null',
		'-f', "$PostgreSQL::Test::Utils::tmp_check/$script" ];
}

sub calls_by_branch
{
	my ($prefix) = @_;
	my %calls;
	$calls{"$_->{query}{gid} $_->{query}{branch_id}"}++ for grep { $_->{query}{gid} =~ /^$prefix-/ } calls_of();
	return %calls;
}

# ---------- the work is shared ----------

ok(running(4), 'four of them run');
is(sql("SELECT count(DISTINCT pid) FROM dtm.stat_coordinator"), '4', 'in processes of their own');
is(sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'dtm coordinator'"), '4', 'as pg_stat_activity has them');
$node->command_ok(submit('shared', 400), 'sagas are submitted');
ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE status = 'succeed'", '400'), 'all succeed');
my %calls = calls_by_branch('shared');
is(scalar(keys %calls), 800, 'each branch was called');
is(scalar(grep { $_ != 1 } values %calls), 0, 'once');
is(sql("SELECT bool_and(finished > 0), sum(finished) FROM dtm.stat_coordinator"), 't|400', 'each of the four had its share');

# by a search, rather than by what is announced
sql("SELECT count(dtm_submit('saga', ARRAY[dtm_step('$busi/TransOut', payload => '{}')], gid => 'many-' || n)) FROM generate_series(1, 500) n");
ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'many-%' AND status = 'succeed'", '500'), 'those of one large transaction, too');
%calls = calls_by_branch('many');
is(scalar(grep { $_ != 1 } values %calls), 0, 'each once');

# ---------- what concerns all of them ----------

sql('SELECT dtm_pause()');
ok(eventually($node, "SELECT string_agg(state, ' ') FROM dtm.stat_coordinator", 'paused paused paused paused'), 'a pause is for all');
sql("SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/TransOut', payload => '{}')], gid => 'due-' || n) FROM generate_series(1, 20) n");
run_due($node);
is(sql("SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'due-%' AND status = 'succeed'"), '20', 'dtm_run_due runs the shares of all');
sql('SELECT dtm_resume()');
ok(running(4), 'they go on');
run_due($node);
ok(running(4), 'they make room for dtm_run_due, and come back');

# a message about the end of a transaction may be another coordinator's
sql("SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/TransOut', payload => '{}')], gid => 'told-' || n, options => '{\"on_finish\": \"$busi/Told\"}') FROM generate_series(1, 16) n");
ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE trans_type = 'msg' AND status = 'succeed'", '16'), 'the messages about their ends are delivered at once');
is(scalar(grep { $_->{path} eq '/Told' } calls_of()), 16, 'once each');

# functions in this database: each has workers of its own
sql(<<'SQL');
CREATE ROLE app LOGIN;
GRANT dtm_user TO app;
CREATE SCHEMA bank AUTHORIZATION app;
SET SESSION AUTHORIZATION app;
CREATE TABLE bank.job (n int);
CREATE FUNCTION bank.work(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE sql AS
$$ INSERT INTO bank.job VALUES ((payload ->> 'n')::int) $$;
SELECT dtm_submit('msg', ARRAY[dtm_step('sql:bank.work', payload => jsonb_build_object('n', n))], gid => 'job-' || n) FROM generate_series(1, 200) n;
SQL
ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'job-%' AND status = 'succeed'", '200'), 'local branches');
is(sql('SELECT count(*), count(DISTINCT n) FROM bank.job'), '200|200', 'each done once');

# ---------- their number changes while they work ----------

{
	my $clients = IPC::Run::start(submit('changing', 3000), '<', \'', '>', \my $out, '2>', \my $err);
	for my $number (2, 3, 1, 16, 4)
	{
		set("dtm.coordinators_per_database = $number");
		ok(running($number), "there are $number of them");
	}
	ok(IPC::Run::finish($clients), 'submitted meanwhile') or diag($err);
}
ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'changing-%' AND status = 'succeed'", '3000'), 'all succeed');
%calls = calls_by_branch('changing');
is(scalar(keys %calls), 6000, 'each branch was called');
is(scalar(grep { $_ != 1 } values %calls), 0, 'once: a coordinator that leaves waits for its calls')
  or diag(sql("SELECT result, error, count(*) FROM dtm.calls WHERE gid LIKE 'changing-%' GROUP BY 1, 2"));

# ---------- one of them dies ----------

reply('/Slow', { delay => 1, status => 200 }) for 1 .. 16;
sql("SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/Slow', payload => '{}'), dtm_step('$busi/TransIn', payload => '{}')], gid => 'dying-' || n) FROM generate_series(1, 16) n");
eventually($node, 'SELECT sum(in_flight) > 0 FROM dtm.stat_coordinator');
my $victim = sql('SELECT pid FROM dtm.stat_coordinator WHERE coordinator = 1');
sql("SELECT pg_terminate_backend($victim)");
ok(running(4), 'the first one is started again');
$victim = sql('SELECT pid FROM dtm.stat_coordinator WHERE coordinator = 3');
sql("SELECT pg_terminate_backend($victim)");
ok(running(4), 'so is another one');
ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'dying-%' AND status = 'succeed'", '16'), 'nothing is lost');
sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'dtm launcher'");
sql("SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/TransIn', payload => '{}')], gid => 'orphaned-' || n) FROM generate_series(1, 16) n");
ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'orphaned-%' AND status = 'succeed'", '16'), 'nor when the launcher dies');
ok(running(4), 'and there are four again');
$node->restart;
ok(running(4), 'after a restart, too');

# ---------- databases come and go ----------

sql('CREATE DATABASE shop');
$node->safe_psql('shop', 'CREATE EXTENSION dtm');
ok(running(4, 'shop'), 'another database has as many');
$node->safe_psql('shop', 'DROP EXTENSION dtm');
ok(eventually($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'dtm coordinator' AND datname = 'shop'", '0'), 'without the extension it has none');
$node->safe_psql('shop', 'CREATE EXTENSION dtm');
ok(running(4, 'shop'), 'with it again');
sql('CREATE DATABASE copy TEMPLATE shop');
ok(running(4, 'shop'), 'a command that wants it for itself has them leave for a while');
sql('DROP DATABASE copy');
sql('DROP DATABASE shop');
ok(eventually($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'dtm coordinator'", '4'), 'dropped, it has none');
ok(running(4), 'the others are as they were');

unlike(slurp_file($node->logfile), qr/TRAP|PANIC|cannot process|cannot read/, 'nothing is broken');
stop_participant();
done_testing();
