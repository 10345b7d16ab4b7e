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
DROP FUNCTION branch(text, text, int);
DROP TABLE account, rows_before;
DROP FUNCTION new_rows();
DROP PROCEDURE seen();
