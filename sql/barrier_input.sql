-- Arguments of the barrier that cannot be right: if this fails, they are written.
CREATE FUNCTION try_barrier(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  problem text;
  advice text;
BEGIN
  EXECUTE statement;
  RETURN 'accepted';
EXCEPTION WHEN others THEN
  GET STACKED DIAGNOSTICS problem = MESSAGE_TEXT, advice = PG_EXCEPTION_HINT;
  RETURN concat_ws(' / ', sqlstate, problem, advice);
END $$;
\x
\t
SELECT try_barrier($$SELECT dtm_barrier(NULL, 'g', '01', 'action')$$);
SELECT try_barrier($$SELECT dtm_barrier('', 'g', '01', 'action')$$);
SELECT try_barrier($$SELECT dtm_barrier(repeat('s', 46), 'g', '01', 'action')$$);
SELECT try_barrier($$SELECT dtm_barrier('saga', NULL, '01', 'action')$$);
SELECT try_barrier($$SELECT dtm_barrier('saga', '', '01', 'action')$$);
SELECT try_barrier($$SELECT dtm_barrier('saga', repeat('g', 129), '01', 'action')$$);
SELECT try_barrier($$SELECT dtm_barrier('saga', 'g', NULL, 'action')$$);
SELECT try_barrier($$SELECT dtm_barrier('saga', 'g', '', 'action')$$);
SELECT try_barrier($$SELECT dtm_barrier('saga', 'g', repeat('1', 129), 'action')$$);
SELECT try_barrier($$SELECT dtm_barrier('saga', 'g', '01', NULL)$$);
SELECT try_barrier($$SELECT dtm_barrier('saga', 'g', '01', '')$$);
SELECT try_barrier($$SELECT dtm_barrier('saga', 'g', '01', repeat('x', 46))$$);
SELECT try_barrier($$SELECT dtm_barrier('saga', 'g', '01', 'action', '')$$);
SELECT try_barrier($$SELECT dtm_barrier('saga', 'g', '01', 'action', repeat('1', 46))$$);
SELECT try_barrier($$SELECT dtm_query_prepared(NULL)$$);
SELECT try_barrier($$SELECT dtm_query_prepared('')$$);
SELECT try_barrier($$SELECT dtm_query_prepared(repeat('g', 129))$$);
SELECT try_barrier($$SELECT count(dtm_barrier('saga', 'g', '01', 'action')) FROM generate_series(1, 100)$$);
SELECT try_barrier($$SELECT dtm_barrier('msg', 'g', '00', 'msg'), dtm_barrier('msg', 'g', '00', 'msg', '01')$$);
\x
\t
SELECT count(*) FROM dtm_barrier.barrier WHERE gid IN ('', 'g');
-- as long as they may be, of any characters
SELECT dtm_barrier(repeat('ü', 45), repeat('ü', 128), repeat('ü', 128), repeat('ü', 45), repeat('ü', 45)) AS ran;
SELECT dtm_barrier(E'a\nb', E'g\n1', '01', 'action') AS ran;
SELECT dtm_barrier(E'a\nb', E'g\n1', '01', 'action') AS ran;
-- parts of a key do not run into each other
BEGIN;
SELECT dtm_barrier('saga', 'k1', '01', 'a') AS ran;
SELECT dtm_barrier('saga', 'k', '101', 'a') AS ran;
SELECT dtm_barrier('saga', 'k1', '01', 'a') AS ran;
COMMIT;
SELECT gid, branch_id, barrier_id FROM dtm_barrier.barrier WHERE op = 'a' ORDER BY id;
DELETE FROM dtm_barrier.barrier;
DROP FUNCTION try_barrier(text);
