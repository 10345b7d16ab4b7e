# Shared code of the TAP tests: a server with dtm, and a participant.
package DtmTest;

use strict;
use warnings;

use Exporter 'import';
use File::Basename qw(dirname);
use HTTP::Tiny;
use IPC::Run ();
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More ();

our @EXPORT = qw(
  start_server on_citus create_citus sql wait_for reason
  start_participant stop_participant
  reply release_replies calls_of clear_participant participant_port
  start_bank in_banks run_due eventually crash_server branches_of one_line status_is
);

# Seconds after which a statement, or a participant, is taken for stuck.
my $patience = 600;

my $json = JSON::PP->new->canonical->ascii;
my $http = HTTP::Tiny->new(timeout => 30);
my %participant;

# The first server that start_server has started; what names no other means it.
my $server;

# Libraries that are preloaded before dtm, each with a comma: "citus,".  See scripts/citus.sh.
my $before = $ENV{DTM_TEST_PRELOAD} || '';

# Do the servers have Citus, too?
sub on_citus { return $before =~ /\bcitus,/; }

# A running server that has these libraries preloaded (preload => 'dtm, pg_cron'; default: dtm),
# with the extension in database postgres (unless extension => 0).
sub start_server
{
	my ($name, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	my $preload = $before . (defined $options{preload} ? $options{preload} : 'dtm');
	$node->init(%{ $options{init} || {} });
	$preload =~ s/,\s*\z//;
	$node->append_conf('postgresql.conf', "shared_preload_libraries = '$preload'");
	$node->append_conf('postgresql.conf', $options{conf}) if $options{conf};
	# it would send statistics to its makers, and make a key, with which no backup starts as it is
	$node->append_conf('postgresql.conf', "citus.enable_statistics_collection = off\ncitus.node_conninfo = 'sslmode=disable'")
	  if on_citus();
	$node->start;
	create_citus($node, 'postgres');
	$node->safe_psql('postgres', 'CREATE EXTENSION dtm')
	  unless defined $options{extension} && !$options{extension};
	$server ||= $node;
	return $node;
}

# The extension citus, if the servers have it.
sub create_citus
{
	my ($node, $database) = @_;
	$node->safe_psql($database, 'CREATE EXTENSION citus') if on_citus();
	return;
}

# The result of a statement on the first server, in database postgres; it has to succeed.
sub sql
{
	my ($statement, %parameters) = @_;
	return $server->safe_psql('postgres', $statement, timeout => $patience, %parameters);
}

# Waits until a transaction is final; returns its status.
sub wait_for
{
	my ($gid) = @_;
	return sql("SELECT dtm_wait('$gid', '180 s')");
}

# Why a transaction was rolled back.
sub reason
{
	my ($gid) = @_;
	return sql("SELECT rollback_reason FROM dtm.transactions WHERE gid = '$gid'");
}

# A participant (test/participant.py) on a free port, or with the arguments
# given.  Returns its URL and, with --grpc, those of its gRPC and HTTPS ports.
sub start_participant
{
	my (@arguments) = @_;
	my ($in, $out) = ('', '');
	my $script = dirname(__FILE__) . '/../test/participant.py';
	my $handle = IPC::Run::start(
		[ '/usr/bin/python3', $script, @arguments ],
		'<', \$in, '>', \$out,
		IPC::Run::timeout($patience));
	IPC::Run::pump($handle) until $out =~ /\n/;
	my ($got, $grpc, $https) = $out =~ /^(\d+) (\d*) (\d*)/ or die "participant did not start: $out";
	%participant = (port => $got, handle => $handle, in => \$in);
	return ("http://127.0.0.1:$got", "127.0.0.1:$grpc", "https://localhost:$https") if $grpc;
	return "http://127.0.0.1:$got";
}

# A participant with an account of 100 in a database of its own (test/bank.py);
# returns its URL.
my (@banks, @bank_databases);

sub start_bank
{
	my ($node, $database) = @_;
	my ($in, $out) = ('', '');
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	create_citus($node, $database);
	$node->safe_psql($database,
		'CREATE EXTENSION dtm; CREATE TABLE account (balance int CHECK (balance >= 0), frozen int NOT NULL DEFAULT 0); INSERT INTO account VALUES (100)');
	my $handle = IPC::Run::start(
		[ '/usr/bin/python3', dirname(__FILE__) . '/../test/bank.py', $node->connstr($database) ],
		'<', \$in, '>', \$out, IPC::Run::timeout($patience));
	IPC::Run::pump($handle) until $out =~ /\n/;
	push @banks, $handle;
	push @bank_databases, $database;
	return 'http://127.0.0.1:' . ($out =~ /(\d+)/)[0];
}

# The result of a query in the databases of the banks, in the order in which they were started.
sub in_banks
{
	my ($query) = @_;
	return join ' ', map { $server->safe_psql($_, $query) } @bank_databases;
}

sub stop_participant
{
	return unless $participant{handle};
	$participant{handle}->kill_kill;
	delete $participant{handle};
	return;
}

END
{
	local $?;
	stop_participant();
	$_->kill_kill for @banks;
}

sub participant_port { return $participant{port}; }

sub post
{
	my ($path, $content) = @_;
	my $response = $http->post("http://127.0.0.1:$participant{port}$path",
		{ content => defined $content ? $json->encode($content) : '' });
	die "participant: $response->{status} $response->{content}"
	  unless $response->{success};
	return;
}

# The next replies to requests of a path: reply('/TransIn', {status => 409})
sub reply
{
	my ($path, @replies) = @_;
	my %rule = ref $path ? %$path : (path => $path);
	post('/_reply', { %rule, replies => \@replies });
	return;
}

# Answers the requests whose replies are held: reply('/TransIn', {hold => 1})
sub release_replies
{
	post('/_release');
	return;
}

sub clear_participant
{
	post('/_clear');
	return;
}

# The requests of a gid, as they came.
sub calls_of
{
	my ($gid) = @_;
	my $response = $http->get(
		"http://127.0.0.1:$participant{port}/_log"
		  . (defined $gid ? "?gid=$gid" : ''));
	die "participant: $response->{status}" unless $response->{success};
	return @{ $json->decode($response->{content}) };
}

# CALL dtm_run_due as of so many seconds from now.
sub run_due
{
	my ($node, $seconds) = @_;
	$node->safe_psql('postgres',
		'CALL dtm_run_due('
		  . (defined $seconds
			? "clock_timestamp() + interval '$seconds s'"
			: '')
		  . ')');
	return;
}

# Restarts a server as after a crash.
sub crash_server
{
	my ($node) = @_;

	$node->stop('immediate');
	$node->start;
	return;
}

# Waits until a query returns what is expected.
sub eventually
{
	my ($node, $query, $expected, $database) = @_;

	for (1 .. 100)
	{
		my $found = eval { $node->poll_query_until($database || 'postgres', $query, $expected // 't') };
		return $found if defined $found;
		# while the server restarts, psql may end before it is handed the query
		die $@ unless $@ =~ /Broken pipe/;
	}
	return 0;
}

# Statuses of a transaction's branches as dtm's tests list them: "P S P S"
sub branches_of
{
	my ($node, $gid) = @_;
	return $node->safe_psql('postgres',
		"SELECT string_agg(upper(left(status, 1)), ' ' ORDER BY ordinal) FROM dtm.branches WHERE gid = '$gid'"
	);
}

# A transaction's calls in one line, by the last part of their paths:
# "TransOut TransIn TransInRevert"
sub one_line
{
	my ($gid) = @_;
	return join ' ', map { $_->{path} =~ m{([^/]*)$} } calls_of($gid);
}

# A test: status, branches and, if given, calls of a transaction.
sub status_is
{
	my ($gid, $status, $branches, $calls, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $got = sql("SELECT dtm_status('$gid')");
	Test::More::is(
		join(' | ', $got, branches_of($server, $gid), defined $calls ? one_line($gid) : ()),
		join(' | ', $status, $branches, defined $calls ? $calls : ()),
		"$gid: $name");
	return;
}

1;
