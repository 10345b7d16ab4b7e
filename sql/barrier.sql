-- The barrier's sequences, by their ids: if this fails, a branch is executed
-- twice, or not at all.
\set VERBOSITY terse
CREATE TABLE rows_before (n bigint);
CREATE FUNCTION new_rows() RETURNS TABLE ("row" text) LANGUAGE sql AS $$
  SELECT op || '/' || barrier_id || '/' || reason FROM dtm_barrier.barrier
   WHERE id NOT IN (SELECT n FROM rows_before) ORDER BY id $$;
CREATE PROCEDURE seen() LANGUAGE sql AS $$ INSERT INTO rows_before SELECT id FROM dtm_barrier.barrier ON CONFLICT DO NOTHING $$;

-- BR-01
SELECT dtm_barrier('saga', 'g1', '01', 'action') AS ran;
SELECT dtm_barrier('saga', 'g1', '01', 'action') AS ran;
SELECT new_rows(); CALL seen();
-- BR-02: two uses in one transaction
BEGIN;
SELECT dtm_barrier('saga', 'g1', '01', 'action') AS ran;
SELECT dtm_barrier('saga', 'g1', '01', 'action') AS ran;
COMMIT;
SELECT new_rows(); CALL seen();
-- BR-03
SELECT dtm_barrier('saga', 'g1', '01', 'compensate') AS ran;
SELECT dtm_barrier('saga', 'g1', '01', 'compensate') AS ran;
SELECT new_rows(); CALL seen();
-- BR-04, BR-05: null compensation, then suspension
SELECT dtm_barrier('saga', 'g2', '01', 'compensate') AS ran;
SELECT new_rows(); CALL seen();
SELECT dtm_barrier('saga', 'g2', '01', 'action') AS ran;
SELECT new_rows(); CALL seen();
-- BR-06, BA-01, BA-02: a business error takes the row with it
BEGIN;
SELECT dtm_barrier('tcc', 'g3', '01', 'try') AS ran;
ROLLBACK;
SELECT new_rows(); CALL seen();
SELECT dtm_barrier('tcc', 'g3', '01', 'try') AS ran;
SELECT new_rows(); CALL seen();
-- BR-07, BR-08
SELECT dtm_barrier('tcc', 'g3', '01', 'confirm') AS ran;
SELECT new_rows(); CALL seen();
SELECT dtm_barrier('tcc', 'g3', '02', 'try') AS ran;
SELECT dtm_barrier('tcc', 'g3', '02', 'cancel') AS ran;
SELECT new_rows(); CALL seen();
-- BR-09
SELECT dtm_barrier('tcc', 'g4', '01', 'cancel') AS ran;
SELECT dtm_barrier('tcc', 'g4', '01', 'try') AS ran;
SELECT new_rows(); CALL seen();
-- BR-10, BR-11
SELECT dtm_barrier('workflow', 'g5', '01', 'rollback') AS ran;
SELECT dtm_barrier('workflow', 'g5', '01', 'action') AS ran;
SELECT dtm_barrier('workflow', 'g5', '02', 'commit') AS ran;
SELECT new_rows(); CALL seen();
-- BR-12, BR-13, BA-15
SELECT dtm_barrier('msg', 'g6', '00', 'msg') AS ran;
SELECT dtm_barrier('msg', 'g6', '00', 'msg') AS ran;
SELECT dtm_query_prepared('g6');
SELECT new_rows(); CALL seen();
-- BR-14, MD-03
SELECT dtm_query_prepared('g7');
SELECT dtm_query_prepared('g7');
SELECT dtm_barrier('msg', 'g7', '00', 'msg') AS ran;
SELECT new_rows(); CALL seen();

-- the numbers follow savepoints: what is undone was not counted
BEGIN;
SELECT dtm_barrier('saga', 'g8', '01', 'action') AS ran;
SAVEPOINT a;
SELECT dtm_barrier('saga', 'g8', '01', 'action') AS ran;
SAVEPOINT b;
SELECT dtm_barrier('saga', 'g8', '01', 'action') AS ran;
ROLLBACK TO b;
SELECT dtm_barrier('saga', 'g8', '01', 'action') AS ran;
RELEASE a;
SAVEPOINT c;
SELECT dtm_barrier('saga', 'g8', '01', 'action') AS ran;
SELECT dtm_barrier('saga', 'g8', '02', 'action') AS ran;
ROLLBACK TO c;
SELECT dtm_barrier('saga', 'g8', '01', 'action') AS ran;
SELECT dtm_barrier('saga', 'g8', '02', 'action') AS ran;
COMMIT;
SELECT branch_id, barrier_id FROM dtm_barrier.barrier WHERE gid = 'g8' ORDER BY 1, 2;
CALL seen();
-- a savepoint that was released goes with the one that it was in
BEGIN;
SELECT dtm_barrier('saga', 'sub', '01', 'action') AS ran;
SAVEPOINT a;
SELECT dtm_barrier('saga', 'sub', '01', 'action') AS ran;
SAVEPOINT b;
SELECT dtm_barrier('saga', 'sub', '01', 'action') AS ran;
SAVEPOINT c;
SELECT dtm_barrier('saga', 'sub', '02', 'action') AS ran;
RELEASE b;
SELECT dtm_barrier('saga', 'sub', '01', 'action') AS ran;
SELECT branch_id, barrier_id FROM dtm_barrier.barrier WHERE gid = 'sub' ORDER BY 1, 2;
ROLLBACK TO a;
SELECT dtm_barrier('saga', 'sub', '01', 'action') AS ran;
SAVEPOINT d;
SELECT dtm_barrier('saga', 'sub', '02', 'action') AS ran;
RELEASE d;
SELECT dtm_barrier('saga', 'sub', '02', 'action') AS ran;
COMMIT;
SELECT branch_id, barrier_id FROM dtm_barrier.barrier WHERE gid = 'sub' ORDER BY 1, 2;
-- so do blocks of PL/pgSQL, in whatever plan they are: one of three fails
CREATE FUNCTION attempts(gid text, n int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
  done int := 0;
BEGIN
  FOR i IN 1 .. n LOOP
    BEGIN
      PERFORM dtm_barrier('saga', gid, i % 2 || '', 'action');
      IF i % 3 = 0 THEN RAISE division_by_zero; END IF;
      done := done + 1;
    EXCEPTION WHEN division_by_zero THEN NULL;
    END;
  END LOOP;
  RETURN done;
END $$;
SELECT sum(attempts('plpgsql', n)) FROM generate_series(1, 7) n;
SELECT branch_id, count(*), min(barrier_id), max(barrier_id) FROM dtm_barrier.barrier WHERE gid = 'plpgsql' GROUP BY 1 ORDER BY 1;
-- many operations in one transaction, and a second time
BEGIN;
SELECT count(*) FILTER (WHERE dtm_barrier('saga', 'many', n::text, 'action')) FROM generate_series(1, 3000) n;
SAVEPOINT a;
SELECT count(*) FILTER (WHERE dtm_barrier('saga', 'many', n::text, 'action')) FROM generate_series(1, 3000) n;
ROLLBACK TO a;
SELECT count(*) FILTER (WHERE dtm_barrier('saga', 'many', n::text, 'action')) FROM generate_series(1, 3000) n;
COMMIT;
SELECT barrier_id, count(*) FROM dtm_barrier.barrier WHERE gid = 'many' GROUP BY 1 ORDER BY 1;
DROP FUNCTION attempts(text, int);
CALL seen();
-- and a number may be given
SELECT dtm_barrier('saga', 'g9', '01', 'action', 'transfer') AS ran;
SELECT dtm_barrier('saga', 'g9', '01', 'action', 'transfer') AS ran;
SELECT dtm_barrier('saga', 'g9', '01', 'action') AS ran;
SELECT new_rows(); CALL seen();
-- no more than 99 in one transaction
SELECT count(*) FILTER (WHERE dtm_barrier('saga', 'g10', '01', 'action')) FROM generate_series(1, 99);
SELECT count(dtm_barrier('saga', 'g11', '01', 'action')) FROM generate_series(1, 100);
CALL seen();
-- the row says when
SELECT count(*) FROM dtm_barrier.barrier WHERE create_time IS NULL OR update_time IS NULL;
BEGIN TRANSACTION READ ONLY;
SELECT dtm_barrier('saga', 'g12', '01', 'action') AS ran;
ROLLBACK;
-- a real branch: 30 go once, and come back once
CREATE TABLE account (id int PRIMARY KEY, balance int CHECK (balance >= 0));
INSERT INTO account VALUES (1, 100);
CREATE FUNCTION branch(gid text, op text, amount int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
  IF dtm_barrier('saga', gid, '01', op) THEN
    UPDATE account SET balance = balance + CASE op WHEN 'action' THEN -amount ELSE amount END WHERE id = 1;
  END IF;
  RETURN (SELECT balance FROM account WHERE id = 1);
END $$;
SELECT branch('t1', 'action', 30);
SELECT branch('t1', 'action', 30);
SELECT branch('t1', 'compensate', 30);
SELECT branch('t1', 'compensate', 30);
SELECT branch('t2', 'action', 1000);
SELECT branch('t2', 'compensate', 1000);
SELECT branch('t2', 'action', 10);
SELECT op, barrier_id, reason FROM dtm_barrier.barrier WHERE gid = 't2' ORDER BY id;
-- whatever an administrator has added to the table works
CREATE TABLE noticed (gid text, op text);
CREATE FUNCTION notice_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO public.noticed VALUES (NEW.gid, NEW.op);
  RETURN NEW;
END $$;
CREATE TRIGGER notice_row BEFORE INSERT ON dtm_barrier.barrier FOR EACH ROW EXECUTE FUNCTION notice_row();
SELECT dtm_barrier('saga', 'a1', '01', 'action') AS ran;
SELECT * FROM noticed;
DROP TRIGGER notice_row ON dtm_barrier.barrier;
CREATE RULE also AS ON INSERT TO dtm_barrier.barrier DO ALSO INSERT INTO noticed VALUES ('by rule', NEW.op);
SELECT dtm_barrier('saga', 'a2', '01', 'action') AS ran;
SELECT * FROM noticed;
DROP RULE also ON dtm_barrier.barrier;
-- a trigger that has a barrier of its own
CREATE FUNCTION another_barrier() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.gid OPERATOR(pg_catalog.=) 'outer' THEN
    RAISE NOTICE 'within: %', public.dtm_barrier('saga', 'inner', NEW.branch_id, NEW.op);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER another_barrier AFTER INSERT ON dtm_barrier.barrier FOR EACH ROW EXECUTE FUNCTION another_barrier();
BEGIN;
SELECT dtm_barrier('saga', 'outer', '01', 'action') AS ran;
SELECT dtm_barrier('saga', 'outer', '01', 'action') AS ran;
SELECT dtm_barrier('saga', 'inner', '01', 'action', '02') AS ran;
COMMIT;
DROP TRIGGER another_barrier ON dtm_barrier.barrier;
DROP FUNCTION another_barrier();
ALTER TABLE dtm_barrier.barrier ADD CONSTRAINT no_a3 CHECK (gid <> 'a3');
SELECT dtm_barrier('saga', 'a3', '01', 'action') AS ran;
ALTER TABLE dtm_barrier.barrier DROP CONSTRAINT no_a3;
-- another unique index: an error, or the branch would be skipped
CREATE UNIQUE INDEX one_of_a ON dtm_barrier.barrier (branch_id) WHERE gid LIKE 'a%';
SELECT dtm_barrier('saga', 'a4', '01', 'action') AS ran;
SELECT dtm_barrier('saga', 'a4', '02', 'action') AS ran;
SELECT dtm_barrier('saga', 'a4', '02', 'action') AS ran;
DROP INDEX dtm_barrier.one_of_a;
CREATE SEQUENCE other_seq START 1000000;
ALTER TABLE dtm_barrier.barrier ALTER id SET DEFAULT nextval('other_seq');
SELECT dtm_barrier('saga', 'a5', '01', 'action') AS ran;
SELECT id FROM dtm_barrier.barrier WHERE gid = 'a5';
ALTER TABLE dtm_barrier.barrier ALTER id SET DEFAULT abs(bigint '77000000');
SELECT dtm_barrier('saga', 'a6', '01', 'action') AS ran;
SELECT id FROM dtm_barrier.barrier WHERE gid = 'a6';
ALTER TABLE dtm_barrier.barrier ALTER id SET DEFAULT nextval('dtm_barrier.barrier_seq');
DROP SEQUENCE other_seq;
SELECT dtm_barrier('saga', 'a7', '01', 'action') AS ran;
SELECT id < 1000000 AS ours FROM dtm_barrier.barrier WHERE gid = 'a7';
-- a narrower column keeps what is too long for it out
ALTER TABLE dtm_barrier.barrier ALTER trans_type TYPE varchar(20);
SELECT dtm_barrier(repeat('t', 21), 'a8', '01', 'action') AS ran;
ALTER TABLE dtm_barrier.barrier ALTER trans_type TYPE varchar(45);
ALTER TABLE dtm_barrier.barrier RENAME CONSTRAINT uniq_barrier TO uniq;
SELECT dtm_barrier('saga', 'a9', '01', 'action') AS ran;
ALTER TABLE dtm_barrier.barrier RENAME CONSTRAINT uniq TO uniq_barrier;
ALTER TABLE dtm_barrier.barrier DROP CONSTRAINT uniq_barrier;
CREATE UNIQUE INDEX uniq_barrier ON dtm_barrier.barrier (gid, branch_id, op, barrier_id, id);
SELECT dtm_barrier('saga', 'a9', '01', 'action') AS ran;
DROP INDEX dtm_barrier.uniq_barrier;
ALTER TABLE dtm_barrier.barrier ADD CONSTRAINT uniq_barrier UNIQUE (gid, branch_id, op, barrier_id);
-- a primary key of its own: a repeat is no error
ALTER TABLE dtm_barrier.barrier DROP CONSTRAINT barrier_pkey, ADD CONSTRAINT barrier_pkey PRIMARY KEY (op, barrier_id, branch_id, gid);
SELECT dtm_barrier('saga', 'a9', '01', 'action') AS ran;
SELECT dtm_barrier('saga', 'a9', '01', 'action') AS ran;
ALTER TABLE dtm_barrier.barrier DROP CONSTRAINT barrier_pkey, ADD CONSTRAINT barrier_pkey PRIMARY KEY (id);
CREATE TABLE all_barriers (LIKE dtm_barrier.barrier) PARTITION BY LIST (trans_type);
BEGIN;
DELETE FROM dtm_barrier.barrier WHERE trans_type <> 'saga';
ALTER TABLE all_barriers ATTACH PARTITION dtm_barrier.barrier FOR VALUES IN ('saga');
SELECT dtm_barrier('tcc', 'a9', '02', 'try') AS ran;
ROLLBACK;
DROP TABLE all_barriers;
-- an index that is another one now, and plans that are thrown away
REINDEX INDEX CONCURRENTLY dtm_barrier.uniq_barrier;
SELECT dtm_barrier('saga', 'k', '01', 'action') AS ran;
SELECT dtm_barrier('saga', 'l', '01', 'action') AS ran;
DISCARD ALL;
SELECT dtm_barrier('saga', 'l', '01', 'action') AS ran;
-- a serializable transaction sees its own row
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT dtm_barrier('saga', 'k', '03', 'action') AS ran;
SELECT dtm_barrier('saga', 'k', '03', 'action', '01') AS ran;
COMMIT;
-- last: the column stays, if only as a dropped one
ALTER TABLE dtm_barrier.barrier ADD note text NOT NULL DEFAULT 'none';
SELECT dtm_barrier('saga', 'a10', '01', 'action') AS ran;
SELECT note FROM dtm_barrier.barrier WHERE gid = 'a10';
ALTER TABLE dtm_barrier.barrier DROP note;
SELECT dtm_barrier('saga', 'a11', '01', 'action') AS ran;
SELECT dtm_barrier('saga', 'a11', '01', 'action') AS ran;
DROP FUNCTION notice_row();
DROP TABLE noticed;
DROP FUNCTION branch(text, text, int);
DROP TABLE account, rows_before;
DROP FUNCTION new_rows();
DROP PROCEDURE seen();
