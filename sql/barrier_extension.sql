-- What the extension's barrier does beyond the one of participant.sql: if this fails,
-- a deferred trigger runs with the caller's settings, or a plan outlives its extension.
\set VERBOSITY terse
SELECT dtm_barrier('saga', 'k', '01', 'action') AS ran;
-- a table of partitions in its place, with a deferred trigger on one of them
CREATE FUNCTION notice_partition() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE '% in %', NEW.gid, TG_RELID::pg_catalog.regclass; RETURN NULL; END $$;
BEGIN;
ALTER TABLE dtm_barrier.barrier RENAME CONSTRAINT uniq_barrier TO uniq;
ALTER TABLE dtm_barrier.barrier RENAME TO barrier_before;
CREATE TABLE dtm_barrier.barrier (LIKE dtm_barrier.barrier_before INCLUDING DEFAULTS,
  CONSTRAINT uniq_barrier UNIQUE (gid, branch_id, op, barrier_id)) PARTITION BY RANGE (gid);
CREATE TABLE dtm_barrier.to_m PARTITION OF dtm_barrier.barrier FOR VALUES FROM (MINVALUE) TO ('m');
CREATE TABLE dtm_barrier.from_m PARTITION OF dtm_barrier.barrier FOR VALUES FROM ('m') TO (MAXVALUE);
CREATE CONSTRAINT TRIGGER notice_partition AFTER INSERT ON dtm_barrier.from_m DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION notice_partition();
SELECT dtm_barrier('saga', 'k', '01', 'action') AS ran;
SELECT dtm_barrier('saga', 'k', '01', 'action', '01') AS ran;
SELECT dtm_barrier('saga', 'z', '01', 'action') AS ran;
SELECT dtm_barrier('saga', 'z', '01', 'action', '01') AS ran;
ROLLBACK;
SELECT dtm_barrier('saga', 'k', '01', 'action') AS ran;
DROP FUNCTION notice_partition();
-- the extension dropped and made anew, or given to another role
BEGIN;
DROP EXTENSION dtm;
CREATE EXTENSION dtm;
SELECT dtm_barrier('saga', 'k', '01', 'action') AS ran;
SELECT dtm_barrier('saga', 'k', '01', 'action', '01') AS ran;
ROLLBACK;
SELECT dtm_barrier('saga', 'k', '01', 'action') AS ran;
CREATE ROLE regress_dtm_owner;
BEGIN;
ALTER TABLE dtm.request OWNER TO regress_dtm_owner;
SAVEPOINT a;
SELECT dtm_barrier('saga', 'k', '02', 'action') AS ran;
ROLLBACK TO a;
GRANT USAGE ON SCHEMA dtm_barrier TO regress_dtm_owner;
GRANT SELECT, INSERT ON dtm_barrier.barrier TO regress_dtm_owner;
GRANT USAGE ON SEQUENCE dtm_barrier.barrier_seq TO regress_dtm_owner;
SELECT dtm_barrier('saga', 'k', '02', 'action') AS ran;
SELECT current_user = session_user AS back;
ROLLBACK;
SELECT dtm_barrier('saga', 'k', '02', 'action') AS ran;
DROP ROLE regress_dtm_owner;
DELETE FROM dtm_barrier.barrier;
