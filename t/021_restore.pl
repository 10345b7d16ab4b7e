# A dump with transactions of roles that are elsewhere, missing, or dropped, is
# restored to another server.  If this fails, a restore stops half-way, or
# somebody acts as a role that is not his.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $origin = start_server('origin');
my $busi = start_participant();

# the function says as whom it ran
$origin->safe_psql('postgres', <<SQL);
CREATE DATABASE shop;
CREATE ROLE alice LOGIN;
CREATE ROLE bob LOGIN;
CREATE ROLE carol LOGIN;
CREATE ROLE dave LOGIN;
SQL
$origin->safe_psql('shop', <<SQL);
CREATE EXTENSION dtm;
GRANT dtm_user TO alice, bob, carol, dave;
CREATE TABLE ran (gid text, as_role text);
GRANT INSERT ON ran TO PUBLIC;
CREATE FUNCTION step(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE sql AS 'INSERT INTO public.ran VALUES (\$1, current_user)';
SQL
for my $role (qw(alice bob carol dave))
{
	$origin->safe_psql('shop', <<SQL);
SET SESSION AUTHORIZATION $role;
SELECT dtm_submit('msg', ARRAY[dtm_step('sql:public.step')], '$role-local', '{"delay": 3600}');
SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/$role')], '$role-http', '{"delay": 3600}');
SQL
}
# a lane of one that is renamed
$origin->safe_psql('postgres', 'CREATE DATABASE lanes');
$origin->safe_psql('lanes', 'CREATE EXTENSION dtm');
sub enter_lane { my ($node, $role, $gid) = @_;
	$node->safe_psql('lanes', "SET SESSION AUTHORIZATION $role; SELECT dtm_submit('msg', ARRAY[dtm_step('')], '$gid', '{\"lane\": \"x\", \"delay\": 3600}')"); }
enter_lane($origin, 'dave', 'first');
my $carol = $origin->safe_psql('shop', "SELECT oid FROM pg_roles WHERE rolname = 'carol'");
# carol is dropped; another carol has come; dave is renamed
$origin->safe_psql('shop', 'REVOKE dtm_user FROM carol; DROP ROLE carol; CREATE ROLE carol LOGIN; ALTER ROLE dave RENAME TO david');
my $dump = $origin->basedir . '/shop.dump';
$origin->command_ok([ 'pg_dump', '-Fc', '--no-owner', '--no-privileges', '-f', $dump, '-d', $origin->connstr('shop') ], 'dumped');

my $lanes_dump = $origin->basedir . '/lanes.dump';
$origin->command_ok([ 'pg_dump', '-Fc', '--no-owner', '--no-privileges', '-f', $lanes_dump, '-d', $origin->connstr('lanes') ], 'dumped, with a lane');

# there, mallory has the number that carol had; bob is missing, and so is the new dave
my $copy = start_server('copy', extension => 0, conf => 'allow_system_table_mods = on');
$copy->safe_psql('postgres', <<SQL);
CREATE DATABASE shop;
CREATE ROLE alice LOGIN;
CREATE ROLE mallory LOGIN;
CREATE ROLE carol LOGIN;
CREATE ROLE david LOGIN;
CREATE ROLE dave LOGIN;
DELETE FROM pg_authid WHERE oid = $carol AND rolname <> 'mallory';
UPDATE pg_authid SET oid = $carol WHERE rolname = 'mallory';
SQL
$copy->command_ok([ 'pg_restore', '--exit-on-error', '--single-transaction', '--no-owner', '-d', $copy->connstr('shop'), $dump ], 'restored without an error');
$copy->safe_psql('shop', 'GRANT INSERT ON ran TO PUBLIC; CREATE ROLE bob LOGIN; GRANT dtm_user TO mallory, bob, carol, david, dave');
ok(eventually($copy, 'SELECT state FROM dtm.stat_coordinator', 'paused', 'shop'), 'the copy is paused');
is($copy->safe_psql('shop', 'SELECT gid, submitted_by FROM dtm.transactions ORDER BY gid'),
	join("\n", map { ("$_->[0]-http|$_->[1]", "$_->[0]-local|$_->[1]") } ([ 'alice', 'alice' ], [ 'bob', '' ], [ 'carol', '' ], [ 'dave', 'david' ])),
	'each is of the role that submitted it, or nobody\'s');
clear_participant();
$copy->safe_psql('shop', 'SELECT dtm_resume()');
$copy->safe_psql('shop', "SELECT dtm_retry_now(gid) FROM dtm.transactions");
for my $gid (qw(alice-http alice-local dave-http dave-local))
{
	is($copy->safe_psql('shop', "SELECT dtm_wait('$gid', '30 s')"), 'succeed', "$gid goes on");
}
ok(eventually($copy, "SELECT count(*) FROM dtm.transactions WHERE status = 'submitted' AND next_attempt IS NULL", '4', 'shop'), 'the others wait for an administrator');
is($copy->safe_psql('shop', 'SELECT gid, reason FROM dtm.stuck ORDER BY gid'),
	join("\n", map { "$_|role \"" . (split /-/, $_)[0] . '", which submitted it, has been dropped, or was missing when the database was restored' } qw(bob-http bob-local carol-http carol-local)),
	'and dtm.stuck says why');
is($copy->safe_psql('shop', 'SELECT * FROM ran ORDER BY gid'), "alice-local|alice\ndave-local|david", 'nobody has acted as somebody else');
is(join(' ', sort map { $_->{path} } calls_of()), '/alice /dave', 'nor called anybody');
# whoever has the name or the number now sees nothing
is($copy->safe_psql('shop', "SET SESSION AUTHORIZATION $_; SELECT gid FROM dtm.transactions"), '', "$_ sees none of them") for qw(mallory bob carol);
# an administrator decides
$copy->safe_psql('shop', "SELECT dtm_assign('bob-local', 'bob'), dtm_force_stop('bob-http')");
is($copy->safe_psql('shop', "SELECT dtm_wait('bob-local', '30 s'), dtm_wait('bob-http', '180 s')"), 'succeed|failed', 'until an administrator has decided');
is($copy->safe_psql('shop', "SELECT as_role FROM ran WHERE gid = 'bob-local'"), 'bob', 'as whom it runs');

# the lane is of the role that has it, which has another number and another name than it had then
$copy->safe_psql('postgres', 'CREATE DATABASE lanes');
$copy->command_ok([ 'pg_restore', '--exit-on-error', '--single-transaction', '--no-owner', '-d', $copy->connstr('lanes'), $lanes_dump ], 'a lane is restored');
isnt($copy->safe_psql('postgres', "SELECT oid FROM pg_roles WHERE rolname = 'david'"),
	$origin->safe_psql('postgres', "SELECT oid FROM pg_roles WHERE rolname = 'david'"), 'its role has another number');
enter_lane($copy, 'david', 'second');
enter_lane($copy, 'dave', 'of another');
is($copy->safe_psql('lanes', 'SELECT first, transactions, submitted_by FROM dtm.lanes ORDER BY first'),
	"first|2|david\nof another|1|dave", 'whose next one is behind those that were restored');

done_testing();
