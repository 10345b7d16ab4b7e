# Lanes with coordinators: the order of calls, whatever fails in between.  If this fails, a message
# overtakes the one before it, or a lane stands still.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $busi = start_participant();
my $node = start_server('lanes', conf => "dtm.retry_interval = 20ms\ndtm.retry_interval_max = 50ms\ndtm.alert_retry_limit = 100\nmax_prepared_transactions = 10\ndtm.coordinators_per_database = 3\n");

sub message { my ($gid, $lane, %more) = @_;
	my $url = $more{url} // "$busi/$lane";
	my $step = $more{step} // '{}';
	my $options = $more{options} // '{}';
	my $type = $more{type} // 'msg';
	return "dtm_submit('$type', ARRAY[dtm_step('$url', payload => '{}', options => '$step')], gid => '$gid', options => '$options'::jsonb || '{\"lane\": \"$lane\"}')"; }
# The gids of a path's calls, in order; calls of one gid that follow one another are one.
sub order { my ($path) = @_; my $last = ''; return join(' ', grep { my $new = $_ ne $last; $last = $_; $new } map { $_->{query}{gid} } grep { $_->{path} eq $path } calls_of()); }
sub ended { my ($like) = @_; return eventually($node, "SELECT count(*) FROM dtm.transactions WHERE gid LIKE '$like' AND finished IS NULL", '0'); }

# ---------- the order of commits ----------

# several coordinators share them, and some fail first
reply('/a', { status => 500 }, { status => 200 }, { status => 500 }, { status => 500 });
sql(join('', map { 'SELECT ' . message("a$_", 'a') . ';' } 1 .. 20));
ok(ended('a%'), 'all of a lane end');
is(order('/a'), join(' ', map { "a$_" } 1 .. 20), 'in their order');
is(sql("SELECT count(*) FROM dtm.lane"), '0', 'and the lane with the last of them');

# sagas, too, and functions
sql("CREATE TABLE done (n serial, gid text)");
sql("CREATE FUNCTION work(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE plpgsql AS \$\$
	BEGIN
	  IF random() < 0.3 THEN RAISE 'no luck'; END IF;
	  INSERT INTO public.done (gid) VALUES (gid);
	END \$\$");
sql(join('', map { 'SELECT ' . message("f$_", 'f', url => 'sql:public.work', type => $_ % 2 ? 'msg' : 'saga') . ';' } 1 .. 20));
ok(ended('f%'), 'functions of a lane end');
is(sql("SELECT string_agg(gid, ' ' ORDER BY n) FROM done"), join(' ', map { "f$_" } 1 .. 20), 'in their order');

# the one before is under way while they come
reply({ path => '/b', gid => 'b1' }, { hold => JSON::PP::true });
sql('SELECT ' . message('b1', 'b'));
ok(eventually_called('b1'), 'the first one is called');
sql('SELECT ' . message("b$_", 'b')) for 2 .. 5;
sql('SELECT ' . message('other', 'c'));
is(sql("SELECT dtm_wait('other')"), 'succeed', 'another lane does not wait');
is(sql("SELECT first, transactions FROM dtm.lanes"), 'b1|5', 'the lane does');
release_replies();
ok(ended('b%'), 'until the first one has ended');
is(order('/b'), 'b1 b2 b3 b4 b5', 'in their order');

sub eventually_called { my ($gid) = @_;
	for (1 .. 600) { return 1 if calls_of($gid); select(undef, undef, undef, 0.05); }
	return 0; }

# ---------- whoever is about to submit ----------

# the end of the last one waits for that, and the next one starts
my $session = $node->background_psql('postgres');
reply({ path => '/d', gid => 'd1' }, { hold => JSON::PP::true });
sql('SELECT ' . message('d1', 'd'));
ok(eventually_called('d1'), 'it is called');
$session->query_safe('BEGIN; SELECT ' . message('d2', 'd'));
release_replies();
sql('SELECT ' . message('d', 'e'));
is(sql("SELECT dtm_wait('d')"), 'succeed', 'nobody else waits for an open submit');
is(sql("SELECT dtm_status('d1')"), 'submitted', 'the one before it in its lane does');
$session->query_safe('COMMIT');
ok(ended('d%'), 'until that is committed');
is(order('/d'), 'd1 d2', 'in their order');
$session->query_safe('BEGIN; SELECT ' . message('e2', 'e'));
sql('SELECT ' . message('x1', 'x'));
is(sql("SELECT dtm_wait('x1')"), 'succeed', 'an open submit of a lane that is empty keeps nobody');
$session->query_safe('ROLLBACK');
$session->quit;
is(sql("SELECT count(*) FROM dtm.lane"), '0', 'and leaves nothing');

# COMMIT PREPARED
sql('BEGIN; SELECT ' . message('p1', 'p') . '; SELECT ' . message('p2', 'p') . "; PREPARE TRANSACTION 'p'");
sql("COMMIT PREPARED 'p'");
ok(ended('p%'), 'those of a prepared transaction run');
is(order('/p'), 'p1 p2', 'in their order');

# ---------- what is parked ----------

reply({ path => '/g', gid => 'g1' }, { status => 500 });
sql('SELECT ' . message('g1', 'g', step => '{"max_attempts": 1}') . '; SELECT ' . message('g2', 'g'));
reply({ path => '/h', gid => 'h1' }, { status => 500 });
sql('SELECT ' . message('h1', 'h', step => '{"max_attempts": 1}', options => '{"lane_on_park": "skip"}') . '; SELECT ' . message('h2', 'h'));
is(sql("SELECT dtm_wait('h2')"), 'succeed', 'lane_on_park = skip: the lane goes on');
is(sql("SELECT string_agg(gid, ' ' ORDER BY gid) FROM dtm.parked"), 'g1 h1', 'both are parked');
is(sql("SELECT first, parked FROM dtm.lanes"), 'g1|t', 'the other lane waits');
is(sql("SELECT dtm_status('g2')"), 'submitted', 'with all that is in it');
sql("SELECT dtm_resume(gid) FROM dtm.parked");
ok(ended('g%') && ended('h%'), 'resumed, it goes on');
is(order('/g'), 'g1 g2', 'in its order');
is(order('/h'), 'h1 h2 h1', 'where it was skipped, it is called again after the others');

# ---------- restarts ----------

reply({ path => '/r', gid => 'r3', forever => JSON::PP::true }, { status => 500 });
sql(join('', map { 'SELECT ' . message("r$_", 'r') . ';' } 1 .. 5));
ok(eventually($node, "SELECT count(*) = 1 FROM dtm.transactions WHERE gid = 'r3' AND failures > 0"), 'the third one fails');
crash_server($node);
ok(eventually($node, "SELECT count(*) FROM dtm.stat_coordinator WHERE state = 'running'", '3'), 'the server crashes');
is(sql("SELECT string_agg(gid, ' ' ORDER BY id) FROM dtm.transactions WHERE gid LIKE 'r%' AND finished IS NULL"), 'r3 r4 r5', 'the others are still there');
sql("SELECT dtm_force_stop('r3')");
ok(ended('r%'), 'one that is stopped releases them');
is(order('/r'), 'r1 r2 r3 r4 r5', 'in their order');

# ---------- at once ----------

# submits of many sessions, in few lanes, with some that are rolled back
my $bench = $node->basedir . '/lanes.sql';
append_to_file($bench, "\\set lane random(1, 3)\n\\set fate random(1, 10)\nBEGIN;\nSELECT dtm_submit('msg', ARRAY[dtm_step('sql:public.work', payload => '{}')], options => jsonb_build_object('lane', 'z' || :lane));\n\\if :fate = 1\nROLLBACK;\n\\else\nCOMMIT;\n\\endif\n");
sql('TRUNCATE done');
$node->command_ok([ 'pgbench', '-n', '-f', $bench, '-c', '6', '-j', '2', '-t', '40', 'postgres' ], 'six clients submit');
ok(eventually($node, "SELECT count(*) FROM dtm.transactions WHERE finished IS NULL", '0'), 'all have ended');
is(sql("SELECT count(*) FROM (SELECT n, lag(n) OVER (PARTITION BY t.options ->> 'lane' ORDER BY t.id) AS before FROM done JOIN dtm.transactions t USING (gid)) d WHERE before > n"),
	'0', 'each lane in its order');
ok(sql("SELECT count(*) FROM done") > 100, 'and they were many');
is(sql("SELECT count(*) FROM dtm.lane"), '0', 'no lane is left');

$node->stop;
done_testing();
