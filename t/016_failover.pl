# Promotion of a standby while a thousand transactions are unfinished.  If this fails, a
# transaction whose commit was acknowledged is not completed or undone after a failover.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $settings = <<'CONF';
dtm.retry_interval = 200ms
dtm.request_timeout = 60s
dtm.max_requests_per_host = 50
log_min_messages = warning
CONF
my $busi = start_participant();
my $clients = 4;
my $sagas = 1500;				# of each client, more than will be submitted

# A client that submits sagas, a hundred a second at most, of which every seventh is refused; psql says
# which were committed.
sub submit
{
	my ($node, $prefix, $client, $acknowledged) = @_;
	my $script = "$PostgreSQL::Test::Utils::tmp_check/$prefix-$client.sql";
	append_to_file($script, join '', map {
		my $in = $_ % 7 == 0 ? 'Refuse' : 'TransIn';
		"SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/TransOut?delay=0.2', '$busi/TransOutRevert', '{}'), dtm_step('$busi/$in', '$busi/TransInRevert', '{}')], gid => '$prefix-$_'); SELECT pg_sleep(0.01);\n"
	} $client * $sagas + 1 .. ($client + 1) * $sagas);
	return IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-v', 'ON_ERROR_STOP=1', '-f', $script ],
		'<', \'', '>', $acknowledged, '2>', \my $ignored);
}

for my $mode ('synchronous', 'asynchronous')
{
	my $primary = start_server("${mode}_primary", init => { allows_streaming => 1 }, conf => $settings);
	# what every update needs a key for: the coordinator that starts after the promotion writes dtm.home
	$primary->safe_psql('postgres', 'CREATE PUBLICATION everything FOR ALL TABLES');
	$primary->backup('base');
	my $standby = PostgreSQL::Test::Cluster->new("${mode}_standby");
	$standby->init_from_backup($primary, 'base', has_streaming => 1);
	$standby->start;
	if ($mode eq 'synchronous')
	{
		$primary->safe_psql('postgres', "ALTER SYSTEM SET synchronous_standby_names = '*'");
		$primary->reload;
		eventually($primary, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'", '1');
	}
	reply({ path => '/Refuse' }, map { { status => 409 } } 1 .. 2000);

	my @acknowledged = ('') x $clients;
	my @handles = map { submit($primary, $mode, $_, \$acknowledged[$_]) } 0 .. $clients - 1;
	# in the midst of it: some have finished, a thousand have not, more are coming
	ok(eventually($primary, "SELECT count(*) > 50 AND (SELECT count(*) >= 1000 FROM dtm.active) FROM dtm.finished"), "$mode: some have finished, a thousand have not");
	is($standby->safe_psql('postgres', "SELECT string_agg(state, ' ') FROM dtm.stat_coordinator"), 'standby', "$mode: the standby looks on");
	$primary->stop('immediate');
	$standby->promote;
	IPC::Run::finish($_) for @handles;
	my @known = grep { /^$mode-\d+$/ } split /\n/, join '', @acknowledged;
	cmp_ok(scalar(@known), '>', 1000, "$mode: a client was told of " . scalar(@known) . ' commits');

	ok(eventually($standby, 'SELECT state FROM dtm.stat_coordinator', 'running'), "$mode: promoted, it has a coordinator by itself");
	ok(eventually($standby, 'SELECT count(*) FROM dtm.active', '0'), "$mode: and all come to their end");
	my %status = map { split /\|/ } split /\n/, $standby->safe_psql('postgres', 'SELECT gid, status FROM dtm.transactions');
	my @lost = grep { !$status{$_} } @known;
	if ($mode eq 'synchronous')
	{
		is(scalar(@lost), 0, "$mode: what the client was told is there");
	}
	else
	{
		note(scalar(@lost) . ' of ' . scalar(@known) . ' commits were lost with the primary');
	}
	is(scalar(grep { $status{$_} ne ((/-(\d+)$/)[0] % 7 == 0 ? 'failed' : 'succeed') } keys %status), 0, "$mode: as it would have been without");

	# what participants have seen agrees with how it ended
	my %calls;
	$calls{ $_->{query}{gid} }{ substr($_->{path}, 1) }++ for grep { ($_->{query}{gid} || '') =~ /^$mode-/ } calls_of();
	my @wrong = grep {
		my $saga = $calls{$_} || {};
		!$saga->{TransOut} || ($status{$_} eq 'succeed' ? !$saga->{TransIn} || $saga->{TransOutRevert} : !$saga->{TransOutRevert})
	} keys %status;
	is(scalar(@wrong), 0, "$mode: each was called for, or undone") or diag(join ' ', @wrong[0 .. 4]);
	my @unknown = grep { !$status{$_} } keys %calls;
	if ($mode eq 'synchronous')
	{
		is(scalar(@unknown), 0, "$mode: nobody was called for what is not there");
	}
	else
	{
		note(scalar(@unknown) . ' transactions were called for, and are not there');
	}
	my $repeated = grep { my $saga = $_; grep { $_ > 1 } values %$saga } values %calls;
	cmp_ok($repeated, '<=', 100, "$mode: only what was under way is repeated ($repeated)");

	# it is a primary like any other
	$standby->safe_psql('postgres', "ALTER SYSTEM RESET synchronous_standby_names; SELECT pg_reload_conf()");
	$standby->safe_psql('postgres', "SELECT dtm_submit('saga', ARRAY[dtm_step('$busi/TransOut', '', '{}')], gid => '$mode-after')");
	is($standby->safe_psql('postgres', "SELECT dtm_wait('$mode-after')"), 'succeed', "$mode: new ones are run");
	$standby->stop;
}

stop_participant();
done_testing();
