# The examples of the documentation; a comment after a statement is its result.  If this fails, an
# example does not work.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('docs', extension => 0);
my ($busi, $grpc) = start_participant('--grpc');
my $docs = "$FindBin::RealBin/../docs";

for my $page ('getting-started', 'sql-reference', 'servers')
{
	my $text = slurp_file("$docs/$page.md");
	my ($script, @expected) = ("SET client_min_messages = warning;\n");
	my $database = $page =~ s/-/_/r;

	# the services of the examples
	$text =~ s{http://(bank-a|bank-b|shop)/}{$busi/}g;
	$text =~ s{grpc://(bank-a|bank-b|shop):9000/}{grpc://$grpc/}g;
	while ($text =~ /^```sql\n(.*?)^```/msg)
	{
		my ($block, $statement) = ($1, '');
		for my $line (split /\n/, $block)
		{
			my $result;
			$result = $1 if $line =~ s/;\s*--\s*(.*?)\s*$/;/;
			$statement .= "$line\n";
			next unless $line =~ /;$/ && ($statement =~ tr/$/$/) % 4 == 0;
			push @expected, [ $statement, $result ];
			$script .= sprintf("\\echo \@\@%d\n%s", $#expected, $statement);
			$statement = '';
		}
		is($statement, '', "$page: a block ends with its last statement");
	}
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql('postgres', 'DROP ROLE IF EXISTS app');
	my ($rc, $out, $err) = $node->psql($database, $script);
	is($rc, 0, "$page: every example runs") or diag($err);
	my %got = $out =~ /^\@\@(\d+)\n?(.*?)(?=^\@\@|\z)/msg;
	for my $n (0 .. $#expected)
	{
		my ($statement, $result) = @{ $expected[$n] };
		next unless defined $result;
		(my $got = defined $got{$n} ? $got{$n} : '') =~ s/\n\z//;
		$result =~ s{http://(bank-a|bank-b|shop)/}{$busi/}g;
		(my $name = $statement) =~ s/\s+/ /g;
		is($got, $result, "$page: " . substr($name, 0, 60));
	}
}

# adopting an SDK's barrier, as docs/compatibility.md has it
$node->safe_psql('postgres', 'CREATE DATABASE adopted');
$node->safe_psql('adopted', <<'SQL');
CREATE SCHEMA dtm_barrier;
CREATE SEQUENCE dtm_barrier.barrier_seq;
CREATE TABLE dtm_barrier.barrier (id bigint NOT NULL DEFAULT nextval('dtm_barrier.barrier_seq') PRIMARY KEY,
  trans_type varchar(45) DEFAULT '', gid varchar(128) DEFAULT '', branch_id varchar(128) DEFAULT '', op varchar(45) DEFAULT '',
  barrier_id varchar(45) DEFAULT '', reason varchar(45) DEFAULT '', create_time timestamp(0) with time zone DEFAULT NULL,
  update_time timestamp(0) with time zone DEFAULT NULL, CONSTRAINT uniq_barrier UNIQUE (gid, branch_id, op, barrier_id));
INSERT INTO dtm_barrier.barrier (trans_type, gid, branch_id, op, barrier_id, reason)
  VALUES ('saga', 'old', '01', 'action', '01', 'action');
SQL
for my $block (slurp_file("$docs/compatibility.md") =~ /^```sql\n(.*?)^```/msg)
{
	$node->safe_psql('adopted', $block);
}
is($node->safe_psql('adopted', "SELECT dtm_barrier('saga', 'old', '01', 'action'), dtm_barrier('saga', 'old', '01', 'compensate')"),
	'f|t', 'an adopted barrier remembers');
is($node->safe_psql('adopted', <<'SQL'), "1\n0", 'a service with the grants does it itself');
SET ROLE service;
WITH i AS (INSERT INTO dtm_barrier.barrier (trans_type, gid, branch_id, op, barrier_id, reason)
  VALUES ('saga', 'sdk', '01', 'action', '01', 'action') ON CONFLICT ON CONSTRAINT uniq_barrier DO NOTHING RETURNING 1) SELECT count(*) FROM i;
WITH i AS (INSERT INTO dtm_barrier.barrier (trans_type, gid, branch_id, op, barrier_id, reason)
  VALUES ('saga', 'sdk', '01', 'action', '01', 'action') ON CONFLICT ON CONSTRAINT uniq_barrier DO NOTHING RETURNING 1) SELECT count(*) FROM i;
SQL

# every function and view of the extension is in the reference
my $reference = slurp_file("$docs/sql-reference.md");
for my $name (split /\n/, $node->safe_psql('sql_reference', <<'SQL'))
SELECT DISTINCT p.proname FROM pg_proc p WHERE p.proname LIKE 'dtm\_%' AND p.pronamespace = 'public'::regnamespace
UNION SELECT 'dtm.' || viewname FROM pg_views WHERE schemaname = 'dtm'
SQL
{
	like($reference, qr/\Q$name\E/, "$name is documented");
}

# and every setting in the configuration page
my $configuration = slurp_file("$docs/configuration.md");
for my $setting (split /\n/, $node->safe_psql('postgres', "SELECT name FROM pg_settings WHERE name LIKE 'dtm.%'"))
{
	like($configuration, qr/`\Q$setting\E`/, "$setting is documented");
}

done_testing();
