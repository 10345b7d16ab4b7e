# dtm_wait() wakes when its own transaction has ended, and not for others.  If this fails,
# sessions wait too long, or many waiting sessions slow down the coordinator.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('waiters');
my $busi = start_participant();
eventually($node, 'SELECT state FROM dtm.stat_coordinator', 'running');

# a session that waits for a gid in the background
sub waiter
{
	my ($gid) = @_;
	my $session = $node->background_psql('postgres');

	$session->query_until(qr/waiting/, "\\echo waiting\nSELECT 'status ' || dtm_wait('$gid', '1 hour');\n\\echo done\n");
	return $session;
}

sub end_of { return $_[0]->query_until(qr/done/, ''); }

my $sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%dtm_wait%' AND wait_event_type = 'Extension' AND pid <> pg_backend_pid()";

sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/x')], gid => g, options => '{\"delay\": 86400}') FROM (VALUES ('far'), ('near'), ('stopped')) v (g)");
my @far = map { waiter('far') } 1 .. 10;
my $near = waiter('near');
my $stopped = waiter('stopped');
ok(eventually($node, $sleeping, '12'), 'twelve sessions wait');

# their looks are counted when their statements end
my $looks = "SELECT pg_stat_clear_snapshot(), idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'request_gid'";
for my $round (1 .. 5)
{
	sql("SELECT count(dtm_submit('msg', ARRAY[dtm_step('$busi/y')], gid => 'r$round' || n)) FROM generate_series(1, 40) n");
	ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'r$round%' AND status = 'succeed'", '40'), "others end ($round)");
}
sql("SELECT dtm_retry_now('near')");
like(end_of($near), qr/status succeed/, 'who waits for one that ends is woken');
sql("SELECT dtm_force_stop('stopped')");
like(end_of($stopped), qr/status failed/, 'also if a session ends it');
is(sql($sleeping), '10', 'the others sleep on');

my ($before) = sql($looks) =~ /(\d+)$/;
sql("SELECT dtm_force_stop('far')");
for my $session (@far)
{
	like(end_of($session), qr/status failed/, 'all who wait for one are woken');
	$session->quit;
}
$_->quit for $near, $stopped;
ok(eventually($node, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%dtm_wait%' AND pid <> pg_backend_pid()", '0'), 'the sessions have gone');
my ($after) = sql($looks) =~ /(\d+)$/;
cmp_ok($after - $before, '<', 10 * 15, 'and none of them has looked for each of the 200 that ended');

# a session that is terminated while it waits leaves nothing behind
sql("SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/x')], gid => 'last', options => '{\"delay\": 86400}')");
my $killed = waiter('last');
ok(eventually($node, $sleeping, '1'), 'a session waits');
sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%dtm_wait%' AND pid <> pg_backend_pid()");
ok(eventually($node, $sleeping, '0'), 'and is terminated');
my $again = waiter('last');
sql("SELECT dtm_retry_now('last')");
like(end_of($again), qr/status succeed/, 'the next one is woken all the same');
$again->quit;

done_testing();
