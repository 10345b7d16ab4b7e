# What an operator has added to dtm's tables, when the coordinator and the workers
# of local branches write.  If this fails, it runs as the owner with what a role
# has set for its own sessions, and the role becomes the owner.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use DtmTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_server('additions', conf => "dtm.retention = '7d'");
my $busi = start_participant();
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE alice LOGIN IN ROLE dtm_user;
CREATE SCHEMA evil;
CREATE TABLE evil.gained (who text);
GRANT USAGE ON SCHEMA evil TO PUBLIC;
GRANT INSERT ON evil.gained TO PUBLIC;
CREATE FUNCTION evil.equals(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO evil.gained VALUES (current_user); RETURN true; END $$;
CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.equals);
CREATE TABLE audit (what text, setting text);
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_NAME::text = 'x'::text THEN NULL; END IF;
  INSERT INTO public.audit VALUES (TG_OP || ' ' || TG_TABLE_NAME, concat_ws('|', current_setting('search_path'), current_setting('timezone'), current_setting('session_replication_role')));
  RETURN NULL;
END $$;
DO $$
DECLARE
  t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['request', 'active', 'finished', 'attempt'] LOOP
    EXECUTE format('CREATE CONSTRAINT TRIGGER audit_%1$s AFTER INSERT OR UPDATE OR DELETE ON dtm.%1$I DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit()', t);
  END LOOP;
END $$;
CREATE FUNCTION step(text, text, text, jsonb) RETURNS void LANGUAGE sql AS 'SELECT';
ALTER ROLE alice SET search_path = evil, pg_catalog, public;
ALTER ROLE alice SET timezone = 'Pacific/Kiritimati';
ALTER DATABASE postgres SET timezone = 'Asia/Tokyo';
SQL
$node->restart;
reply('/fails', { status => 500 });
$node->safe_psql('postgres', <<SQL);
SET SESSION AUTHORIZATION alice;
SET search_path = evil, pg_catalog, public;
SELECT dtm_submit('saga', ARRAY[dtm_step('sql:public.step', '', '{}'), dtm_step('$busi/fails', '', '{}'), dtm_step('$busi/done', '', '{}')], gid => 'a', options => '{"retry_interval": 1}');
SQL
is($node->safe_psql('postgres', "SELECT dtm_wait('a', '60 s')"), 'succeed', 'a saga with local and remote steps');
is($node->safe_psql('postgres', 'SELECT DISTINCT setting FROM audit'), 'pg_catalog, pg_temp|UTC|origin', 'one setting, whoever wrote');
is($node->safe_psql('postgres', 'SELECT DISTINCT what FROM audit ORDER BY 1'),
	"DELETE active\nINSERT active\nINSERT attempt\nINSERT finished\nINSERT request\nUPDATE active", 'and all was seen');
is($node->safe_psql('postgres', 'SELECT * FROM evil.gained'), '', "the role's operator was not called");

# announced by who writes, not by a trigger that a session can switch off
my $state = 'SELECT state FROM dtm.stat_coordinator';
$node->safe_psql('postgres', 'SET session_replication_role = replica; SELECT dtm_pause()');
ok(eventually($node, $state, 'paused'), 'paused with session_replication_role = replica');
$node->safe_psql('postgres', 'ALTER TABLE dtm.home DISABLE TRIGGER ALL; SELECT dtm_resume()');
ok(eventually($node, $state, 'running'), 'goes on with the triggers disabled');
$node->safe_psql('postgres', 'SELECT dtm_pause()');
ok(eventually($node, $state, 'paused'), 'and is paused');
$node->safe_psql('postgres', 'ALTER TABLE dtm.home ENABLE ALWAYS TRIGGER home_changed; SET session_replication_role = replica; UPDATE dtm.home SET paused = false');
ok(eventually($node, $state, 'running'), 'a change by hand is noticed by a trigger that is always enabled');

# a publication of all tables is in nobody's way
$node->safe_psql('postgres', "ALTER SYSTEM SET wal_level = logical");
$node->safe_psql('postgres', 'CREATE PUBLICATION everything FOR ALL TABLES');
$node->restart;
$node->safe_psql('postgres', "SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/done')], gid => 'published')");
is($node->safe_psql('postgres', "SELECT dtm_wait('published', '60 s')"), 'succeed', 'published: a transaction runs');
$node->safe_psql('postgres', 'SELECT dtm_pause()');
ok(eventually($node, $state, 'paused'), 'pause');
$node->safe_psql('postgres', 'SELECT dtm_resume()');
ok(eventually($node, $state, 'running'), 'resume');
is($node->safe_psql('postgres', "SELECT dtm_cleanup('0 s') > 0"), 't', 'cleanup');
is($node->safe_psql('postgres', "SELECT count(*) FROM dtm.attempt"), '0', 'with its calls');
$node->safe_psql('postgres', "DROP EXTENSION dtm; CREATE EXTENSION dtm");
ok(eventually($node, $state, 'running'), 'and an installation');

# the schema of the tables gets another name, and its own back
$node->safe_psql('postgres', 'ALTER SCHEMA dtm RENAME TO tables; SELECT pg_terminate_backend(pid) FROM tables.stat_coordinator');
ok($node->wait_for_log(qr/schema "dtm" of extension "dtm" has been renamed/),
	'a renamed schema: the log says so');
$node->safe_psql('postgres', 'ALTER SCHEMA tables RENAME TO dtm');
$node->safe_psql('postgres', "SELECT dtm_submit('msg', ARRAY[dtm_step('$busi/done')], gid => 'renamed')");
is($node->safe_psql('postgres', "SELECT dtm_wait('renamed', '60 s')"), 'succeed', 'and it goes on when the name is back');

done_testing();
