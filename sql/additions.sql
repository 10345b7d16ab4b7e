-- What somebody has added to dtm's tables runs as their owner: if this fails, it
-- runs with what the caller has set, and a caller becomes the owner.
\set VERBOSITY terse
SET client_min_messages = warning;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt;
-- as CREATE EXTENSION has made them, nothing is found that would cost settings and statements
SET client_min_messages = debug1;
SELECT dtm_barrier('saga', 'as made', '01', 'action');
SET client_min_messages = warning;
ALTER TABLE dtm_barrier.barrier ADD CONSTRAINT regress_one CHECK (gid <> '');
SET client_min_messages = debug1;
SELECT dtm_barrier('saga', 'as made', '02', 'action');
SET client_min_messages = warning;
ALTER TABLE dtm_barrier.barrier DROP CONSTRAINT regress_one;
DELETE FROM dtm_barrier.barrier WHERE gid = 'as made';
-- the check of a domain is code of others, too: in the condition of an index, and in a default of which there are as many as before
CREATE FUNCTION regress_dtm_check(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN $1 IS NOT NULL; END $$;
CREATE DOMAIN regress_dtm_text AS text CHECK (regress_dtm_check(VALUE));
CREATE DOMAIN regress_dtm_id AS bigint CHECK (regress_dtm_check(VALUE::text));
CREATE INDEX regress_domain ON dtm.request (id) WHERE gid::regress_dtm_text IS NOT NULL;
CREATE INDEX regress_domain ON dtm_barrier.barrier (id) WHERE gid::regress_dtm_text IS NOT NULL;
CREATE INDEX regress_array ON dtm.active (id) WHERE (ARRAY[1]::regress_dtm_id[])[1] IS NOT NULL;
ALTER TABLE dtm.alert ALTER id SET DEFAULT nextval('dtm.alert_id_seq')::regress_dtm_id;
ALTER TABLE dtm.home ALTER id SET DEFAULT length(query_to_xml('SELECT 1', true, true, '')::text)::text::uuid;
SET client_min_messages = debug1;
SELECT dtm_barrier('saga', 'as made', '03', 'action');
SET client_min_messages = warning;
DROP INDEX dtm.regress_domain, dtm.regress_array, dtm_barrier.regress_domain;
ALTER TABLE dtm.alert ALTER id SET DEFAULT nextval('dtm.alert_id_seq');
ALTER TABLE dtm.home ALTER id SET DEFAULT gen_random_uuid();
DROP DOMAIN regress_dtm_text, regress_dtm_id;
DROP FUNCTION regress_dtm_check(text);
SET client_min_messages = debug1;
SELECT dtm_barrier('saga', 'as made', '04', 'action');
SET client_min_messages = warning;
DELETE FROM dtm_barrier.barrier WHERE gid = 'as made';
CREATE ROLE regress_dtm_alice LOGIN IN ROLE dtm_user;
CREATE ROLE regress_dtm_operator LOGIN IN ROLE dtm_admin;
-- the caller's operators and functions, found first
CREATE SCHEMA regress_evil;
GRANT USAGE, CREATE ON SCHEMA regress_evil TO PUBLIC;
CREATE FUNCTION regress_evil.evil(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'evil as %', current_user; RETURN true; END $$;
CREATE OPERATOR regress_evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = regress_evil.evil);
CREATE FUNCTION regress_evil.lower(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'evil as %', current_user; RETURN 'evil'; END $$;
-- what an operator's audit does, without a thought of search_path
CREATE TABLE regress_dtm_audit (n serial, what text, setting text);
CREATE FUNCTION regress_dtm_see(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN lower($1) = 'x' OR true; END $$;
CREATE FUNCTION regress_dtm_audit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  seen text := to_jsonb(CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END)::text;
BEGIN
  IF seen = 'x' OR lower(seen) = 'x' THEN RAISE WARNING 'x'; END IF;
  INSERT INTO public.regress_dtm_audit (what, setting)
  VALUES (TG_ARGV[0] || ' ' || TG_OP || ' ' || TG_TABLE_NAME,
          concat_ws('|', current_setting('search_path'), current_setting('session_replication_role'), current_setting('datestyle'),
                    current_setting('intervalstyle'), current_setting('timezone'), current_setting('transform_null_equals'),
                    current_setting('standard_conforming_strings'), current_setting('bytea_output'),
                    current_setting('extra_float_digits'), current_setting('row_security'), current_setting('plpgsql.check_asserts'),
                    current_user = (SELECT relowner::regrole::text FROM pg_catalog.pg_class WHERE oid = TG_RELID), '\\' IS NULL));
  RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
DO $$
DECLARE
  t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['request', 'active', 'finished', 'attempt', 'topic', 'home'] LOOP
    EXECUTE format('CREATE TRIGGER regress_before BEFORE INSERT OR UPDATE OR DELETE ON dtm.%I FOR EACH ROW EXECUTE FUNCTION regress_dtm_audit(''before'')', t);
    EXECUTE format('CREATE TRIGGER regress_after AFTER INSERT OR UPDATE OR DELETE ON dtm.%I FOR EACH ROW EXECUTE FUNCTION regress_dtm_audit(''after'')', t);
    EXECUTE format('CREATE CONSTRAINT TRIGGER regress_deferred_%s AFTER INSERT OR UPDATE OR DELETE ON dtm.%I DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION regress_dtm_audit(''deferred'')', t, t);
  END LOOP;
  FOR t IN SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'dtm'::regnamespace AND c.relkind = 'r' AND c.relname IN ('request', 'active', 'finished', 'attempt', 'topic') LOOP
    EXECUTE format('ALTER TABLE dtm.%I ADD COLUMN regress_default text DEFAULT lower(''A''), ADD COLUMN regress_generated boolean GENERATED ALWAYS AS (regress_dtm_see(''y'')) STORED, ADD CONSTRAINT regress_check CHECK (regress_dtm_see(''z''))', t);
    EXECUTE format('CREATE INDEX ON dtm.%I (regress_dtm_see(''i'')) WHERE regress_dtm_see(''p'')', t);
  END LOOP;
END $$;
-- a session with all that a caller can set
CREATE FUNCTION regress_dtm_set() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  setting text[];
BEGIN
  FOREACH setting SLICE 1 IN ARRAY ARRAY[
    ['datestyle', 'SQL, DMY'], ['intervalstyle', 'iso_8601'], ['timezone', 'Pacific/Kiritimati'], ['transform_null_equals', 'on'],
    ['escape_string_warning', 'off'], ['standard_conforming_strings', 'off'], ['bytea_output', 'escape'],
    ['extra_float_digits', '-15'], ['row_security', 'off'], ['plpgsql.check_asserts', 'off'],
    ['search_path', 'regress_evil, pg_catalog, public']] LOOP
    BEGIN
      PERFORM pg_catalog.set_config(setting[1], setting[2], false);
    EXCEPTION WHEN OTHERS THEN
      NULL;   /* not every version has each, with each value */
    END;
  END LOOP;
END $$;
TRUNCATE regress_dtm_audit;
SET SESSION AUTHORIZATION regress_dtm_alice;
SELECT FROM regress_dtm_set();
SELECT dtm_submit('msg', gid => 'a');
SELECT dtm_submit('msg', gid => 'a');
SELECT dtm_submit(jsonb_build_object('trans_type', 'msg', 'gid', 'b', 'steps', '[{"action": ""}]'::jsonb, 'payloads', '[""]'::jsonb));
SELECT dtm_prepare('tcc', 'c');
SELECT dtm_register_branch('c', '01', 'http://127.0.0.1:9/', 'http://127.0.0.1:9/');
SELECT dtm_submit('tcc', gid => 'c', options => '{"request_timeout": 3}');
SELECT dtm_prepare('tcc', 'd');
SELECT dtm_abort('d');
SELECT dtm_prepare('workflow', 'w', options => jsonb_build_object('name', 'n', 'query_prepared', 'http://127.0.0.1:9/'));
SELECT dtm_register_branch(jsonb_build_object('trans_type', 'workflow', 'gid', 'w', 'branch_id', '01', 'op', 'action', 'status', 'succeed'));
SELECT dtm_submit('workflow', gid => 'w', options => '{"status": "succeed", "result": "YQ=="}');
SELECT dtm_retry_now('a');
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
SELECT dtm_force_stop('a');
SET CONSTRAINTS ALL DEFERRED;
COMMIT;
SELECT dtm_status('a'), dtm_query('a') IS NOT NULL;
SELECT dtm_query_prepared('q');
RESET ALL;
SET SESSION AUTHORIZATION regress_dtm_operator;
SELECT FROM regress_dtm_set();
SELECT dtm_subscribe('news', 'http://127.0.0.1:9/'), dtm_subscribe('news', 'http://127.0.0.1:9/2');
SELECT dtm_unsubscribe('news', 'http://127.0.0.1:9/');
SELECT dtm_delete_topic('news');
SELECT * FROM dtm_reset_cron_time('0 s');
SELECT dtm_pause(), dtm_resume();
CALL dtm_run_due();
SELECT dtm_cleanup('0 s') > 0;
SELECT dtm_cleanup_barrier('0 s') >= 0;
RESET ALL;
RESET SESSION AUTHORIZATION;
-- replica: as the owner's code is concerned, it is not
SET session_replication_role = replica;
SELECT dtm_submit('msg', gid => 'replica');
RESET session_replication_role;
-- each table, each way: one setting, whoever has called
SELECT what FROM regress_dtm_audit GROUP BY what ORDER BY what COLLATE "C";
SELECT setting, count(*) > 100 AS many FROM regress_dtm_audit GROUP BY setting;
-- the caller's settings are what they were
SET search_path = regress_evil, public;
SET timezone = 'Pacific/Kiritimati';
SELECT dtm_submit('msg', gid => 'kept') IS NOT NULL, current_setting('search_path'), current_setting('timezone');
RESET search_path;
RESET timezone;
-- nothing is added any more: what comes then is noticed by a session that has planned all
DROP FUNCTION regress_dtm_see(text) CASCADE;
DROP FUNCTION regress_dtm_audit() CASCADE;
ALTER TABLE dtm.request DROP COLUMN regress_default;
ALTER TABLE dtm.active DROP COLUMN regress_default;
ALTER TABLE dtm.finished DROP COLUMN regress_default;
ALTER TABLE dtm.attempt DROP COLUMN regress_default;
ALTER TABLE dtm.topic DROP COLUMN regress_default;
SET search_path = regress_evil, pg_catalog, public;
SELECT dtm_submit('msg', gid => 'before');
CREATE FUNCTION public.regress_dtm_late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF lower(TG_NAME) <> '' THEN NULL; END IF;
  INSERT INTO public.regress_dtm_audit (what, setting) VALUES ('late', current_setting('search_path'));
  RETURN NEW;
END $$;
TRUNCATE public.regress_dtm_audit;
CREATE TRIGGER regress_late BEFORE INSERT ON dtm.active FOR EACH ROW EXECUTE FUNCTION public.regress_dtm_late();
SELECT dtm_submit('msg', gid => 'late');
ALTER TABLE dtm.active DISABLE TRIGGER regress_late;
SELECT dtm_submit('msg', gid => 'disabled');
DROP TRIGGER regress_late ON dtm.active;
-- an expression alone
CREATE FUNCTION public.regress_dtm_check(timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN lower('a') <> 'evil'; END $$;
ALTER TABLE dtm.active ADD CONSTRAINT regress_check CHECK (public.regress_dtm_check(updated)) NOT VALID;
SELECT dtm_submit('msg', gid => 'check');
ALTER TABLE dtm.active DROP CONSTRAINT regress_check;
ALTER TABLE dtm.request ALTER COLUMN wait_result SET DEFAULT public.regress_dtm_check(now());
ALTER TABLE dtm.active ALTER COLUMN failures SET DEFAULT length(public.regress_dtm_check(now())::text) - 4;
SELECT dtm_submit('msg', gid => 'default');
ALTER TABLE dtm.request ALTER COLUMN wait_result DROP DEFAULT;
ALTER TABLE dtm.active ALTER COLUMN failures SET DEFAULT 0;
RESET search_path;
CREATE DOMAIN public.regress_dtm_domain AS text CHECK (regress_dtm_check(VALUE::timestamptz));
ALTER TABLE dtm.active ADD COLUMN regress_domain public.regress_dtm_domain DEFAULT '2000-01-01';
SET search_path = regress_evil, pg_catalog, public;
SELECT dtm_submit('msg', gid => 'domain');
ALTER TABLE dtm.active DROP COLUMN regress_domain;
RESET search_path;
SELECT * FROM regress_dtm_audit;
DROP TABLE regress_dtm_audit;
-- rows are written without SQL where nothing is added: what is no code of theirs counts all the same
ALTER TABLE dtm.request ADD COLUMN regress_note text NOT NULL DEFAULT 'noted';
SELECT dtm_submit('msg', gid => 'noted');
SELECT gid, regress_note FROM dtm.request WHERE gid = 'noted';
ALTER TABLE dtm.request DROP COLUMN regress_note;
CREATE UNIQUE INDEX regress_unique ON dtm.request (on_finish);
SELECT dtm_submit('msg', gid => 'unique', options => '{"on_finish": "http://127.0.0.1:9/"}');
SELECT dtm_submit('msg', gid => 'unique-2', options => '{"on_finish": "http://127.0.0.1:9/"}');
DROP INDEX dtm.regress_unique;
CREATE INDEX regress_hash ON dtm.request USING hash (gid);
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt;
ALTER TABLE dtm.request ALTER COLUMN protocol SET NOT NULL;
SELECT dtm_submit('msg', gid => 'null');
ALTER TABLE dtm.request ALTER COLUMN protocol DROP NOT NULL;
CREATE TABLE regress_whole (LIKE dtm.request) PARTITION BY RANGE (id);
ALTER TABLE regress_whole ATTACH PARTITION dtm.request FOR VALUES FROM (-1) TO (0);
SELECT dtm_submit('msg', gid => 'partition');
SELECT count(*) FROM dtm.request WHERE gid = 'partition';
ALTER TABLE regress_whole DETACH PARTITION dtm.request;
DROP TABLE regress_whole;
CREATE SEQUENCE regress_ids START 1000000;
ALTER TABLE dtm.request ALTER COLUMN id SET DEFAULT nextval('regress_ids');
SELECT dtm_submit('msg', gid => 'id');
SELECT id FROM dtm.request WHERE gid = 'id';
ALTER TABLE dtm.request ALTER COLUMN id SET DEFAULT 2 * nextval('regress_ids');
SELECT dtm_submit('msg', gid => 'twice');
SELECT id FROM dtm.request WHERE gid = 'twice';
ALTER TABLE dtm.request ALTER COLUMN id SET DEFAULT nextval('dtm.request_id_seq');
DROP SEQUENCE regress_ids;
ALTER TABLE dtm.request RENAME CONSTRAINT request_gid TO regress_gid;
SELECT dtm_submit('msg', gid => 'renamed');
ALTER TABLE dtm.request RENAME CONSTRAINT regress_gid TO request_gid;
SELECT dtm_submit('msg', gid => 'id'), dtm_submit('msg', gid => 'renamed');
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SELECT count(*) FROM dtm.request WHERE gid IN ('id', 'renamed', 'twice');
DROP INDEX dtm.regress_hash;
SELECT count(*) FROM dtm.request WHERE gid IN ('id', 'renamed', 'twice');
RESET enable_seqscan;
RESET enable_bitmapscan;
-- a savepoint, and what is submitted twice within a transaction
BEGIN;
SAVEPOINT a;
SELECT dtm_submit('msg', gid => 'saved');
ROLLBACK TO a;
SELECT dtm_submit('msg', gid => 'saved');
SELECT dtm_submit('msg', gid => 'saved');
SELECT count(*) FROM dtm.active a JOIN dtm.request r USING (id) WHERE gid = 'saved';
COMMIT;
DROP DOMAIN regress_dtm_domain;
DROP FUNCTION regress_dtm_late(), regress_dtm_check(timestamptz), regress_dtm_set();
DROP SCHEMA regress_evil CASCADE;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt;
DROP OWNED BY regress_dtm_alice, regress_dtm_operator;
DROP ROLE regress_dtm_alice, regress_dtm_operator;
