-- If this fails, a prepared transaction that nobody will end is not seen, or one is
-- ended the wrong way.
SELECT current_setting('max_prepared_transactions')::int >= 6 AS can_prepare \gset
\if :can_prepare
\else
  \echo 'left out: orphans needs max_prepared_transactions = 6 or more'
  \quit
\endif
SET client_min_messages = error;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt;
SELECT dtm_prepare('xa', 'x1');
SELECT dtm_prepare('xa', 'x2');
SELECT dtm_prepare('xa', 'it''s x-3');
SELECT dtm_prepare('tcc', 't1');
CREATE TABLE work (gid text);
BEGIN; INSERT INTO work VALUES ('x1'); PREPARE TRANSACTION 'x1-01';
BEGIN; INSERT INTO work VALUES ('x2'); PREPARE TRANSACTION 'x2-01';
BEGIN; INSERT INTO work VALUES ('x3'); PREPARE TRANSACTION 'it''s x-3-0201';
BEGIN; INSERT INTO work VALUES ('t1'); PREPARE TRANSACTION 't1-01';
BEGIN; INSERT INTO work VALUES ('x9'); PREPARE TRANSACTION 'x9-01';
BEGIN; INSERT INTO work VALUES ('other'); PREPARE TRANSACTION 'not_ours';
-- those whose transactions are open are not orphans
SELECT gid, branch_id, status, statement FROM dtm.orphans ORDER BY prepared;
SELECT dtm_force_stop('x2');
SELECT dtm_submit('xa', gid => 'it''s x-3');
CALL dtm_run_due();
SELECT dtm_status('x2'), dtm_status('it''s x-3');
SELECT gid, branch_id, status, statement, database = current_database() AS here, owner = current_user AS mine, age BETWEEN '0' AND '1 day' AS young
  FROM dtm.orphans ORDER BY prepared;
SELECT statement FROM dtm.orphans ORDER BY prepared \gexec
SELECT * FROM dtm.orphans;
SELECT gid FROM work;
SELECT gid FROM pg_prepared_xacts ORDER BY 1;
ROLLBACK PREPARED 'x1-01';
ROLLBACK PREPARED 't1-01';
ROLLBACK PREPARED 'not_ours';
-- it shows gids of everybody
CREATE ROLE regress_orphan_user;
GRANT dtm_user TO regress_orphan_user;
SET ROLE regress_orphan_user;
SELECT * FROM dtm.orphans;
RESET ROLE;
DROP ROLE regress_orphan_user;
DROP TABLE work;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt;
