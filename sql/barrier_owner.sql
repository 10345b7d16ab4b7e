-- What somebody has added to the barrier's table runs as the owner: if this fails,
-- it looks up names where the caller wants, and the caller becomes the owner.
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE SCHEMA regress_evil;
CREATE FUNCTION regress_evil.evil(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'evil as %', current_user; RETURN true; END $$;
CREATE OPERATOR regress_evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = regress_evil.evil);
CREATE FUNCTION regress_evil.upper(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'evil as %', current_user; RETURN $1; END $$;
CREATE ROLE regress_dtm_alice;
GRANT dtm_user TO regress_dtm_alice;
GRANT USAGE ON SCHEMA regress_evil TO regress_dtm_alice;
-- what an administrator may add; none of it has a search_path of its own
CREATE FUNCTION looks_at_gid() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.gid::text = 'owner 1' THEN
    RAISE WARNING '% %, search_path %, as owner %', TG_NAME, NEW.op, current_setting('search_path'),
      (SELECT c.relowner = r.oid FROM pg_class c, pg_roles r WHERE c.oid = TG_RELID AND r.rolname = current_user);
  END IF;
  RETURN NEW;
END $$;
CREATE FUNCTION looks_at_all() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP::text = 'INSERT'::text THEN RAISE WARNING '%, search_path %', TG_NAME, current_setting('search_path'); END IF;
  RETURN NULL;
END $$;
CREATE FUNCTION is_right(value text) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN value = 'wrong' IS NOT TRUE; END $$;
CREATE FUNCTION in_capitals(value text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RETURN upper(value); END $$;
CREATE TRIGGER before_row BEFORE INSERT ON dtm_barrier.barrier FOR EACH ROW EXECUTE FUNCTION looks_at_gid();
CREATE TRIGGER after_row AFTER INSERT ON dtm_barrier.barrier FOR EACH ROW EXECUTE FUNCTION looks_at_gid();
CREATE TRIGGER before_statement BEFORE INSERT ON dtm_barrier.barrier EXECUTE FUNCTION looks_at_all();
CREATE TRIGGER after_statement AFTER INSERT ON dtm_barrier.barrier EXECUTE FUNCTION looks_at_all();
CREATE CONSTRAINT TRIGGER deferred AFTER INSERT ON dtm_barrier.barrier DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION looks_at_gid();
CREATE CONSTRAINT TRIGGER may_be_deferred AFTER INSERT ON dtm_barrier.barrier DEFERRABLE INITIALLY IMMEDIATE
  FOR EACH ROW EXECUTE FUNCTION looks_at_gid();
ALTER TABLE dtm_barrier.barrier ADD CONSTRAINT checked CHECK (is_right(op::text)),
  ADD defaulted text DEFAULT in_capitals('by default'), ADD generated text GENERATED ALWAYS AS (in_capitals(gid::text)) STORED,
  ADD CONSTRAINT excluded EXCLUDE USING btree (in_capitals(gid::text || branch_id || op || barrier_id) WITH =) DEFERRABLE INITIALLY DEFERRED;
CREATE INDEX expression ON dtm_barrier.barrier (in_capitals(op::text)) WHERE is_right(gid::text);
SET ROLE regress_dtm_alice;
SET search_path = regress_evil, pg_catalog, public;
-- what evil does when the caller itself calls it
SELECT upper('seen') AS evil;
BEGIN;
SELECT dtm_barrier('saga', 'owner 1', '01', 'action') AS ran;
SELECT current_user, current_setting('search_path') AS search_path;
-- a caller that defers all constraints does not defer these
SET CONSTRAINTS ALL DEFERRED;
SELECT dtm_barrier('saga', 'owner 1', '02', 'compensate') AS ran;
SAVEPOINT a;
SELECT dtm_barrier('saga', 'owner 1', '03', 'action') AS ran;
ROLLBACK TO a;
SET LOCAL search_path = pg_catalog;
COMMIT;
SELECT dtm_barrier('saga', 'owner 1', '01', 'action') AS ran;
SELECT dtm_query_prepared('owner 1');
RESET search_path;
RESET ROLE;
SELECT gid, op, reason, defaulted, generated FROM dtm_barrier.barrier WHERE gid = 'owner 1' ORDER BY id;
DROP TRIGGER before_row ON dtm_barrier.barrier;
DROP TRIGGER after_row ON dtm_barrier.barrier;
DROP TRIGGER before_statement ON dtm_barrier.barrier;
DROP TRIGGER after_statement ON dtm_barrier.barrier;
DROP TRIGGER deferred ON dtm_barrier.barrier;
DROP TRIGGER may_be_deferred ON dtm_barrier.barrier;
DROP INDEX dtm_barrier.expression;
ALTER TABLE dtm_barrier.barrier DROP CONSTRAINT excluded, DROP CONSTRAINT checked, DROP defaulted, DROP generated;
-- constraints of others stay deferred, and so do foreign keys of the barrier's table
CREATE TABLE trans_types (name varchar(45) PRIMARY KEY);
CREATE TABLE others (a int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED);
ALTER TABLE dtm_barrier.barrier ADD CONSTRAINT known_type FOREIGN KEY (trans_type) REFERENCES trans_types DEFERRABLE INITIALLY DEFERRED NOT VALID;
BEGIN;
INSERT INTO others VALUES (1), (1);
SELECT dtm_barrier('saga', 'owner 2', '01', 'action') AS ran;
UPDATE others SET a = 2 WHERE ctid = '(0,1)';
INSERT INTO trans_types VALUES ('saga');
COMMIT;
BEGIN;
SELECT dtm_barrier('tcc', 'owner 2', '01', 'try') AS ran;
COMMIT;
-- an error restores the caller's role and search_path
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON dtm_barrier.barrier FOR EACH ROW EXECUTE FUNCTION refuse();
SET ROLE regress_dtm_alice;
SET search_path = regress_evil, public;
DO $$
BEGIN
  PERFORM dtm_barrier('saga', 'owner 3', '01', 'action');
EXCEPTION WHEN raise_exception THEN
  RAISE WARNING '%, then as %, search_path %', sqlerrm, current_user, current_setting('search_path');
END $$;
SELECT dtm_barrier('saga', 'owner 3', '01', 'action') AS ran;
SELECT current_user, current_setting('search_path') AS search_path;
RESET search_path;
RESET ROLE;
ALTER TABLE dtm_barrier.barrier DROP CONSTRAINT known_type;
DROP TRIGGER refuse ON dtm_barrier.barrier;
DROP FUNCTION looks_at_gid(), looks_at_all(), is_right(text), in_capitals(text), refuse();
DROP TABLE trans_types, others;
DROP SCHEMA regress_evil CASCADE;
DELETE FROM dtm_barrier.barrier;
DROP OWNED BY regress_dtm_alice;
DROP ROLE regress_dtm_alice;
