# A gateway in front of several nodes of a cluster: each transaction is on one of them,
# whichever gateway its requests come through.  If this fails, two nodes call the services
# for the same gid, or a TCC cannot be ended.  Where there is no Citus, a library pretends to
# be it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use GatewayTest;
use PostgreSQL::Test::Utils;
use JSON::PP ();
use Test::More;

gateway_program();
my $library = PostgreSQL::Test::Utils::tempdir() . '/pretend.so';
chomp(my $include = `pg_config --includedir-server`);
plan skip_all => 'no C compiler'
  if system('cc', '-shared', '-fPIC', (on_citus() ? () : '-DPRETEND_CITUS'), "-I$include", '-o', $library,
	"$FindBin::RealBin/../test/hold_commit.c") != 0;

my $busi = start_participant();
my %tag = (a => 'aaaaa', b => 'bbbbb', c => 'ccccc');
my %node = map { ($_ => start_server("node_$_", preload => "$library, dtm", conf => "dtm.retry_interval = '200ms'\n")) } sort keys %tag;
for my $name (sort keys %node)
{
	eventually($node{$name}, 'SELECT state FROM dtm.stat_coordinator', 'running');
	on($name, "UPDATE dtm.home SET tag = '$tag{$name}'");
}

sub on { my ($name, $statement) = @_; return $node{$name}->safe_psql('postgres', $statement); }
sub conninfo { return 'host=' . $node{$_[0]}->host . ' port=' . $node{$_[0]}->port . ' dbname=postgres'; }

# A gateway for these nodes, instead of the one before.
sub gateway
{
	my ($first, @others) = @_;

	stop_gateway();
	start_gateway($node{$first}, map { ('--node', conninfo($_)) } @others);
	return;
}

# A request until it is not put off any more: sessions with a node may still be on their way.
sub ready
{
	my ($path, $body) = @_;
	my $answer;

	for (1 .. 600)
	{
		$answer = post($path, $body);
		return $answer unless $answer->{status} == 503;
		select(undef, undef, undef, 0.1);
	}
	return $answer;
}

# The nodes that have a transaction of this gid.
sub nodes_of { my ($gid) = @_; return join ' ', grep { on($_, "SELECT count(*) FROM dtm.request WHERE gid = '$gid'") } sort keys %node; }
sub status_on { my ($name, $gid) = @_; return on($name, "SELECT dtm_wait('$gid', '120 s')"); }
sub new_gid { return get('newGid')->{json}{gid}; }

# A gid that ends with the tag of a node.
sub gid_of
{
	my ($name) = @_;

	for (1 .. 1000)
	{
		my $gid = new_gid();
		return $gid if $gid =~ /\.$tag{$name}$/;
	}
	return "no gid of $name";
}

# ---------- gids that are generated ----------

gateway(qw(a b c));
is(ready('submit', { gid => 'first', trans_type => 'msg' })->{status}, 200, 'all nodes have been reached');
my %seen;
$seen{ (split /\./, new_gid())[1] }++ for 1 .. 30;
is_deeply(\%seen, { map { ($_ => 10) } values %tag }, 'gids are generated for all nodes in turn');

for my $name (sort keys %node)
{
	my $gid = gid_of($name);
	is(post('prepare', { gid => $gid, trans_type => 'tcc' })->{status}, 200, "$name: a TCC is prepared");
	is(post('registerBranch', { gid => $gid, trans_type => 'tcc', branch_id => '01', confirm => "$busi/confirm", cancel => "$busi/cancel" })->{status}, 200, 'its branch is registered');
	is(get("query?gid=$gid")->{json}{transaction}{status}, 'prepared', 'it is found');
	is(post('submit', { gid => $gid, trans_type => 'tcc' })->{status}, 200, 'it is submitted');
	is(status_on($name, $gid), 'succeed', 'it is run by the node of its tag');
	is(nodes_of($gid), $name, 'and only there');
	is(one_line($gid), 'confirm', 'with one call');
}
my $gid = gid_of('b');
is(post('submit', { gid => $gid, trans_type => 'saga', wait_result => JSON::PP::true(), steps => [ { action => "$busi/step" } ], payloads => ['{}'] })->{status}, 200, 'a result of another node is waited for');
is(on('b', "SELECT status FROM dtm.transactions WHERE gid = '$gid'"), 'succeed', 'until it is there');
$gid = gid_of('c');
is(post('prepareWorkflow', { gid => $gid, trans_type => 'workflow', custom_data => '{"name":"w"}', query_prepared => "$busi/again" })->{json}{transaction}{gid}, $gid, 'a workflow is opened');
is(post('submit', { gid => $gid, trans_type => 'workflow', req_extra => { status => 'succeed' } })->{status}, 200, 'and ends');
is(nodes_of($gid), 'c', 'on its node');

# ---------- gids that clients choose ----------

my @chosen = map { "chosen-$_" } 1 .. 40;
is(post('submit', { gid => $_, trans_type => 'msg' })->{status}, 200, "$_ is submitted") for @chosen[0 .. 1];
post('submit', { gid => $_, trans_type => 'msg' }) for @chosen;
my %where = map { ($_ => nodes_of($_)) } @chosen;
is(scalar(grep { length $where{$_} != 1 } @chosen), 0, 'each is on one node');
is(join(' ', sort keys %{ { reverse %where } }), 'a b c', 'all nodes have some');
# SDKs write the same gid in other ways: PHP escapes slashes, Python what is not ASCII
for my $n (1 .. 10)
{
	post('submit', "{\"gid\":\"way/$n\xc3\xa4\",\"trans_type\":\"msg\"}");
	post('submit', "{\"gid\":\"way\\/$n\\u00e4\",\"trans_type\":\"msg\"}");
}
is(join(' ', grep { length nodes_of("way/$_\xc3\xa4") != 1 } 1 .. 10), '', 'a gid is the same however it is written');
post('prepare', { gid => "tcc-$_", trans_type => 'tcc' }) for 1 .. 6;
on($_, "SET ROLE dtm_api; SELECT dtm_prepare('tcc', 'by-sql-$_')") for sort keys %node;

gateway(qw(c a b));
is(ready('submit', { gid => 'second', trans_type => 'msg' })->{status}, 200, 'another gateway has reached all nodes, in another order');
post('submit', { gid => $_, trans_type => 'msg' }) for @chosen;
is_deeply({ map { ($_ => nodes_of($_)) } @chosen }, \%where, 'repeats come to the same nodes');
for my $tcc ((map { "tcc-$_" } 1 .. 6), (map { "by-sql-$_" } sort keys %node))
{
	my $before = nodes_of($tcc);
	my @status = map { $_->{status} } (
		post('registerBranch', { gid => $tcc, trans_type => 'tcc', branch_id => '01', confirm => "$busi/confirm", cancel => "$busi/cancel" }),
		post('submit', { gid => $tcc, trans_type => 'tcc' }));
	is("@status", '200 200', "$tcc, which began elsewhere, goes on");
	is(status_on($before, $tcc) . ' ' . nodes_of($tcc), "succeed $before", 'on its node');
}
on('a', "SET ROLE dtm_api; SELECT dtm_prepare('tcc', 'aborted')");
is(post('abort', { gid => 'aborted', trans_type => 'tcc' })->{status}, 200, 'what is asked of all nodes may be an abort');
is(get('query?gid=nowhere')->{json}{transaction}, undef, 'what no node has is not there');
is(post('abort', { gid => 'nowhere', trans_type => 'tcc' })->{status}, 500, 'and cannot be aborted');

# ---------- a gateway that knows one node ----------

gateway('a');
is(ready('submit', { gid => 'third', trans_type => 'msg' })->{status}, 200, 'a gateway has one node');
like(new_gid(), qr/^[0-9a-z]{26}\.aaaaa$/, 'its gids are of that');
for (
	[ 'a TCC without a prepare', 'lost-1', 'submit', { trans_type => 'tcc' } ],
	[ 'a two-phase message without a prepare', 'lost-2', 'submit', { trans_type => 'msg', query_prepared => "$busi/q" } ],
	[ 'a gid of another node', '0' x 26 . '.bbbbb', 'submit', { trans_type => 'saga', steps => [ { action => "$busi/s" } ], payloads => ['{}'] } ],
	[ 'a gid of another node, prepared,', '1' x 26 . '.bbbbb', 'prepare', { trans_type => 'tcc' } ])
{
	my ($what, $name, $path, $body) = @$_;
	my $answer = post($path, { gid => $name, %$body });
	is($answer->{status}, 500, "$what is refused");
	like($answer->{content}, qr/does not exist on this node/, 'with the reason');
	is(nodes_of($name), '', 'and not stored');
}
is(post('submit', { gid => '0' x 26 . '.aaaaa', trans_type => 'msg' })->{status}, 200, 'a gid of this node is not');
is(post('submit', { gid => '0' x 26 . '.bbbbbb', trans_type => 'msg' })->{status}, 200, 'nor one that only looks like one of another');

# ---------- a node is down ----------

gateway(qw(a b c));
is(ready('submit', { gid => 'fourth', trans_type => 'msg' })->{status}, 200, 'all nodes have been reached');
my %before = map { ($_ => gid_of($_)) } sort keys %node;
$node{c}->stop('fast');
is(post('submit', { gid => $before{$_}, trans_type => 'msg' })->{status}, $_ eq 'c' ? 503 : 200, "$_: its gids") for sort keys %node;
my ($chosen_of_c) = grep { $where{$_} eq 'c' } @chosen;
my ($chosen_of_a) = grep { $where{$_} eq 'a' } @chosen;
is(get("query?gid=$chosen_of_c")->{status}, 503, 'what is there cannot be said not to be');
is(get("query?gid=$chosen_of_a")->{status}, 200, 'what is on another node is found');
is(get('query?gid=nowhere')->{status}, 503, 'what is nowhere else may be there');
gateway(qw(a b c));
is(ready('submit', { gid => '2' x 26 . '.bbbbb', trans_type => 'msg' })->{status}, 200, 'a gateway that starts meanwhile has the other nodes');
like(post('submit', { gid => 'fifth', trans_type => 'msg' })->{content}, qr/a node has not been reached yet/, 'but cannot say whose a gid is that a client has chosen');
$node{c}->start;
is(ready('submit', { gid => 'fifth', trans_type => 'msg' })->{status}, 200, 'until the node is back');

is(stop_gateway(), 0, 'the gateway stops');
unlike(slurp_file($node{$_}->logfile), qr/TRAP|PANIC/, "$_: nothing is broken") for sort keys %node;
done_testing();
