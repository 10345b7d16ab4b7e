-- If this fails, a prepared transaction that nobody will end is not seen, or one is
-- ended the wrong way.
SELECT current_setting('max_prepared_transactions')::int >= 10 AS can_prepare \gset
\if :can_prepare
\else
  \echo 'left out: orphans needs max_prepared_transactions = 10 or more'
  \quit
\endif
SET client_min_messages = error;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt;
SELECT dtm_prepare('xa', gid) FROM unnest(ARRAY['x1', 'x2', 'x-4', 'x-4-01', 'it''s x-3', 'my-app']) gid;
SELECT dtm_prepare('tcc', 't1');
SELECT dtm_register_branch(gid, branch_id, 'http://localhost:9/xa')
  FROM (VALUES ('x1', '01'), ('x2', '01'), ('x-4', '01-02'), ('x-4-01', '02'), ('it''s x-3', '0201'), ('my-app', '01')) b (gid, branch_id);
SELECT dtm_register_branch('t1', '01', 'http://localhost:9/confirm', 'http://localhost:9/cancel');
CREATE TABLE work (gid text);
BEGIN; INSERT INTO work VALUES ('x1'); PREPARE TRANSACTION 'x1-01';
BEGIN; INSERT INTO work VALUES ('x2'); PREPARE TRANSACTION 'x2-01';
BEGIN; INSERT INTO work VALUES ('x3'); PREPARE TRANSACTION 'it''s x-3-0201';
BEGIN; INSERT INTO work VALUES ('x4'); PREPARE TRANSACTION 'x-4-01-02';
BEGIN; INSERT INTO work VALUES ('t1'); PREPARE TRANSACTION 't1-01';
-- of other programs: of branches that were not registered, of gids that nobody knows
BEGIN; INSERT INTO work VALUES ('other'); PREPARE TRANSACTION 'my-app-42';
BEGIN; INSERT INTO work VALUES ('other'); PREPARE TRANSACTION 'x2-02';
BEGIN; INSERT INTO work VALUES ('other'); PREPARE TRANSACTION 'order-2026-11-01';
-- a participant's, of a gid that is not known
BEGIN; SELECT dtm_barrier('xa', 'x9', '01', 'action'); PREPARE TRANSACTION 'x9-01';
-- those whose transactions are open are not orphans
SELECT gid, branch_id, status, statement FROM dtm.orphans ORDER BY prepared;
-- as the coordinator would end them
SELECT dtm_force_stop('x2'), dtm_force_stop('my-app'), dtm_force_stop('x-4');
-- one that came before its XA was prepared by somebody else
BEGIN; INSERT INTO work VALUES ('other'); PREPARE TRANSACTION 'later-01';
SELECT dtm_prepare('xa', 'later');
SELECT dtm_register_branch('later', '01', 'http://localhost:9/xa');
SELECT dtm_force_stop('later');
SELECT dtm_submit('xa', gid => 'it''s x-3');
WITH a AS (DELETE FROM dtm.active a USING dtm.request r WHERE r.id = a.id AND r.gid = 'it''s x-3' RETURNING a.id)
  INSERT INTO dtm.finished (id, finished, status, branch_status) SELECT id, now(), 'S', 'PS' FROM a;
SELECT dtm_status('x2'), dtm_status('it''s x-3');
SELECT gid, branch_id, status, statement, database = current_database() AS here, owner = current_user AS mine, age BETWEEN '0' AND '1 day' AS young
  FROM dtm.orphans ORDER BY prepared;
-- two XAs claim one: only if both have ended in the same way
SELECT dtm_force_stop('x-4-01');
SELECT gid, branch_id, status, statement FROM dtm.orphans WHERE prepared = 'x-4-01-02';
SELECT statement FROM dtm.orphans ORDER BY prepared \gexec
SELECT gid, branch_id, status, statement FROM dtm.orphans;
SELECT gid FROM work;
SELECT gid FROM pg_prepared_xacts ORDER BY 1;
SELECT 'ROLLBACK PREPARED ' || quote_literal(gid) FROM pg_prepared_xacts WHERE database = current_database() ORDER BY gid \gexec
-- it shows gids of everybody
CREATE ROLE regress_orphan_user;
GRANT dtm_user TO regress_orphan_user;
SET ROLE regress_orphan_user;
SELECT * FROM dtm.orphans;
RESET ROLE;
DROP ROLE regress_orphan_user;
DROP TABLE work;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt;
