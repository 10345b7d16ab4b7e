-- If this fails, what is still needed is removed, or what is not stays for ever.
SET client_min_messages = error;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt, dtm_barrier.barrier;
\set SHOW_CONTEXT never
SELECT dtm_submit('msg', gid => 'old ' || n) FROM generate_series(1, 3) n;
SELECT dtm_submit('msg', gid => 'late');
SELECT dtm_submit('msg', gid => 'old 4');
SELECT dtm_submit('msg', gid => 'new');
SELECT dtm_prepare('msg', 'open');
SELECT dtm_force_stop(gid) FROM dtm.transactions WHERE gid <> 'open';
SELECT count(dtm_barrier('msg', gid, '01', 'action')) FROM unnest(ARRAY['old 1', 'old 2', 'new', 'open', 'elsewhere']) gid;
INSERT INTO dtm.attempt (id, started, duration, branch, result) SELECT id, now(), 1, 0, 'S' FROM dtm.request;
UPDATE dtm.request SET created = now() - interval '10 days' WHERE gid <> 'new';
UPDATE dtm.finished SET finished = now() - interval '8 days' WHERE id IN (SELECT id FROM dtm.request WHERE gid LIKE 'old %');
CREATE VIEW left_over AS SELECT
  (SELECT string_agg(gid, ', ' ORDER BY id) FROM dtm.request) AS requests,
  (SELECT count(*) FROM dtm.finished) AS finished,
  (SELECT count(*) FROM dtm.attempt) AS attempts,
  (SELECT string_agg(gid, ', ' ORDER BY id) FROM dtm_barrier.barrier) AS barriers;
SELECT * FROM left_over;
SELECT dtm_cleanup(max_rows => 0);
SELECT dtm_cleanup('9 days');
SELECT dtm_cleanup(max_rows => 2);
SELECT * FROM left_over;
-- the default is dtm.retention; one that finished late does not hide one behind it
SHOW dtm.retention;
SELECT dtm_cleanup();
SELECT * FROM left_over;
-- a gid can be used again
SELECT dtm_submit('msg', gid => 'old 1');
-- all that has finished
SELECT dtm_cleanup('0');
SELECT * FROM left_over;
-- barrier rows of transactions that this coordinator knows are not touched
UPDATE dtm_barrier.barrier SET create_time = now() - interval '2 days';
SELECT dtm_cleanup_barrier('3 days');
SELECT dtm_cleanup_barrier('1 day', 0);
SELECT dtm_cleanup_barrier('1 day');
SELECT * FROM left_over;
-- bad input
SELECT dtm_cleanup('-1 day');
SELECT dtm_cleanup(max_rows => -1);
SELECT dtm_cleanup(max_rows => NULL);
SELECT dtm_cleanup_barrier(NULL);
SELECT dtm_cleanup_barrier('-1 s');
BEGIN READ ONLY;
SELECT dtm_cleanup();
ROLLBACK;
CREATE ROLE regress_cleanup_user;
GRANT dtm_user TO regress_cleanup_user;
SET ROLE regress_cleanup_user;
SELECT dtm_cleanup();
SELECT dtm_cleanup_barrier('0');
RESET ROLE;
DROP ROLE regress_cleanup_user;
-- without pg_cron; the hint names the package for this version of PostgreSQL
DO $$
DECLARE
  hint text;
BEGIN
  PERFORM dtm_cron_install();
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
  RAISE INFO '%', replace(hint, format('postgresql-%s-', current_setting('server_version_num')::int / 10000), 'postgresql-NN-');
END $$;
\set VERBOSITY terse
SELECT dtm_cron_install();
SELECT dtm_cron_uninstall();
SELECT dtm_schedule('nightly', '0 3 * * *', '{"trans_type": "msg"}');
SELECT dtm_unschedule('nightly');
\set VERBOSITY default
DROP VIEW left_over;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt, dtm_barrier.barrier;
