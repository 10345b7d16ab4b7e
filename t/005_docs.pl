# The examples of the reference and of the page about servers; a comment after a statement is its result.
# If this fails, an example does not work, or something is not documented.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use DocsTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('docs', extension => 0);
my ($busi, $grpc) = start_participant('--grpc');
my $docs = "$FindBin::RealBin/../docs";

my $hosts = sub {
	my ($text) = @_;

	$text =~ s{http://(bank-a|bank-b|shop)/}{$busi/}g;
	$text =~ s{grpc://(bank-a|bank-b|shop):9000/}{grpc://$grpc/}g;
	return $text;
};

for my $page ('sql-reference', 'servers')
{
	my $database = $page =~ s/-/_/r;
	my @blocks = grep { $_->{language} eq 'sql' && $_->{attributes} eq '' } blocks_of("docs/$page.md");

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql('postgres', 'DROP ROLE IF EXISTS app');
	run_statements($node, $database, $page, $hosts, map { statements_of($_->{text}) } @blocks);
}

# what is published by itself carries the license
is(slurp_file($_), slurp_file("$FindBin::RealBin/../LICENSE"), "$_ is the license") for map { "$FindBin::RealBin/../clients/$_/LICENSE" } qw(python node go java);

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

# the README in Chinese leads to the same pages
sub links { my %seen; return join "\n", grep { !$seen{$_}++ } sort $_[0] =~ /\]\(([^)]+)\)/g; }
(my $chinese = slurp_file("$docs/../README.zh.md")) =~ s/\]\(README\.md\)/](README.zh.md)/;
is(links($chinese), links(slurp_file("$docs/../README.md")), 'README.zh.md has the links of README.md');

# every function and view of the extension is in the reference
my $reference = slurp_file("$docs/sql-reference.md");
for my $name (split /\n/, $node->safe_psql('sql_reference', <<'SQL'))
SELECT DISTINCT p.proname FROM pg_proc p WHERE p.proname LIKE 'dtm\_%' AND p.pronamespace = 'public'::regnamespace
UNION SELECT 'dtm.' || viewname FROM pg_views WHERE schemaname = 'dtm'
SQL
{
	like($reference, qr/\Q$name\E/, "$name is documented");
}

# PostgreSQL's "permission denied" has no hint: the page about errors names what needs dtm_admin
my ($denied) = join('', grep { /^\| `42501` \| permission denied for (function|view) / } split /^/, slurp_file("$docs/errors.md"));
is($node->safe_psql('sql_reference', "SELECT string_agg(n, ' ' ORDER BY n) FROM (SELECT DISTINCT unnest(regexp_matches('$denied', '`(dtm[._][a-z_.]+)(?:\\(\\))?`', 'g')) AS n) m WHERE n NOT IN ('dtm_user', 'dtm_admin')"),
	$node->safe_psql('sql_reference', <<'SQL'), 'errors.md names all that is for dtm_admin only');
SELECT string_agg(n, ' ' ORDER BY n) FROM (
  SELECT DISTINCT p.proname::text FROM pg_proc p
   WHERE p.proname LIKE 'dtm\_%' AND p.pronamespace = 'public'::regnamespace
     AND has_function_privilege('dtm_admin', p.oid, 'EXECUTE') AND NOT has_function_privilege('dtm_user', p.oid, 'EXECUTE')
  UNION SELECT 'dtm.' || c.relname FROM pg_class c
   WHERE c.relnamespace = 'dtm'::regnamespace AND c.relkind = 'v'
     AND has_table_privilege('dtm_admin', c.oid, 'SELECT') AND NOT has_table_privilege('dtm_user', c.oid, 'SELECT')) f(n)
SQL

# and every setting in the configuration page
my $configuration = slurp_file("$docs/configuration.md");
for my $setting (split /\n/, $node->safe_psql('postgres', "SELECT name FROM pg_settings WHERE name LIKE 'dtm.%'"))
{
	like($configuration, qr/`\Q$setting\E`/, "$setting is documented");
}

done_testing();
