# kill -9 at each step of the coordinator's turn.  If this fails, a crash at that point loses a
# transaction, changes its outcome, or repeats more than the calls in flight.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use PostgreSQL::Test::Utils;
use Test::More;

# is this a build that has such points?
my $library = `pg_config --pkglibdir`;
chomp $library;
plan skip_all => 'dtm was built without assertions' unless slurp_file("$library/dtm.so") =~ /dtm_crash_point/;

my $node = start_server('crash_points', conf => <<'CONF');
dtm.retry_interval = 100ms
dtm.request_timeout = 10s
restart_after_crash = on
log_min_messages = warning
CONF
my $busi = start_participant();
my $file = $node->data_dir . '/dtm_crash_point';

sql(<<'SQL');
CREATE TABLE worked (gid text, op text);
CREATE FUNCTION work(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE sql AS
$$ INSERT INTO worked VALUES (gid, op) $$;
SQL

# Writes where to die, and waits until somebody has and the server is back.
sub arm
{
	my ($point, $before) = @_;
	append_to_file("$file.new", "$point $before\n");
	rename "$file.new", $file or die $!;
	return;
}

# A saga of two steps with the process dying at a point of one of its turns.
sub crash
{
	my ($point, $turn, $gid, $steps, $expected) = @_;
	my $paused = 'SELECT state FROM dtm.stat_coordinator';
	sql('SELECT dtm_pause()');
	eventually($node, $paused, 'paused');
	sql("SELECT dtm_submit('saga', ARRAY[$steps], gid => '$gid')");
	arm($point, $turn);
	$node->psql('postgres', 'SELECT dtm_resume()');
	# whichever comes first: it dies there, or has ended without passing it so often
	my $died = 0;
	for (1 .. 1800)
	{
		my ($rc, $status) = $node->psql('postgres', "SELECT dtm_status('$gid')");
		$died = !-e $file;
		last if $rc == 0 && ($status eq 'succeed' || $status eq 'failed') && ($died || $turn > 0);
		select(undef, undef, undef, 0.1);
	}
	unlink $file;
	is(sql("SELECT dtm_status('$gid')"), $expected, "$point, turn $turn: " . ($died ? 'it dies there, and ' : 'not reached; ') . $expected);
	return $died;
}

my $number = 0;
for my $point (qw(before-read after-read before-commit after-commit after-send after-reply))
{
	my $deaths = 0;
	for my $turn (0 .. 3)
	{
		for my $refused (0, 1)
		{
			my $gid = 'crash-' . ++$number;
			my $in = $refused ? "/Refuse-$gid" : '/TransIn';
			reply({ path => $in, forever => JSON::PP::true() }, { status => 409 }) if $refused;
			my $steps = "dtm_step('$busi/TransOut', '$busi/TransOutRevert', '{}'), dtm_step('$busi$in', '$busi/TransInRevert', '{}')";
			$deaths += crash($point, $turn, $gid, $steps, $refused ? 'failed' : 'succeed');
			my %calls;
			$calls{"$_->{query}{branch_id} $_->{query}{op}"}++ for calls_of($gid);
			my $all = join ', ', map { "$_ x $calls{$_}" } sort keys %calls;
			my @missing = grep { !$calls{$_} } '01 action', '02 action', $refused ? ('01 compensate', '02 compensate') : ();
			is("@missing", '', "$point, turn $turn: each was called ($all)");
			is(scalar(grep { /compensate/ } keys %calls), 0, "$point, turn $turn: nothing is undone that succeeded")
			  unless $refused;
			cmp_ok(scalar(grep { $_ > 2 } values %calls), '==', 0, "$point, turn $turn: one crash, one repeat");
			my $repeated = grep { $_ > 1 } values %calls;
			cmp_ok($repeated, '<=', $refused ? 2 : 1, "$point, turn $turn: only what was under way is repeated ($repeated)");
		}
	}
	cmp_ok($deaths, '>=', 2, "$point: it was passed, and died at ($deaths)");
}

for my $point (qw(local-before-commit local-after-commit))
{
	for my $turn (0, 1)
	{
		my $gid = "$point-$turn";
		ok(crash($point, $turn, $gid, "dtm_step('sql:public.work', 'sql:public.work', '{}'), dtm_step('sql:public.work', 'sql:public.work', '{}')", 'succeed'),
			"$point: it died");
		is(sql("SELECT string_agg(op, ' ') FROM worked WHERE gid = '$gid'"), 'action action', "$point, turn $turn: each function took effect once");
	}
}

is(sql('SELECT count(*) FROM dtm.active'), '0', 'nothing is left');
stop_participant();
done_testing();
