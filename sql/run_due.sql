-- dtm_run_due(): what is due at a given time, in this session.  Empty URLs
-- succeed without a call; 127.0.0.1:1 is a host that refuses connections.
\set VERBOSITY terse
SET client_min_messages = error;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt;
SELECT dtm_submit('saga', gid => 'nothing-to-do');
SELECT dtm_submit('saga', ARRAY[dtm_step('', ''), dtm_step('', '')], gid => 'no-calls');
SELECT dtm_submit('saga', ARRAY[dtm_step('', ''), dtm_step('http://127.0.0.1:1/', ''), dtm_step('', '')], gid => 'refused',
                  options => '{"retry_interval": 100, "timeout_to_fail": 1000}');
SELECT dtm_submit('msg', ARRAY[dtm_step('')], gid => 'later', options => '{"delay": 60}');
SELECT dtm_prepare('msg', 'no-query', ARRAY[dtm_step('')]);
SELECT clock_timestamp() AS t \gset
CALL dtm_run_due(:'t'::timestamptz - interval '1 hour');
SELECT gid, status FROM dtm.transactions ORDER BY id;
CALL dtm_run_due(:'t'::timestamptz);
SELECT gid, status, failures, next_attempt = :'t'::timestamptz + interval '200 s' AS doubled FROM dtm.transactions ORDER BY id;
SELECT branch_id, op, result, http_status, error ~ 'refused|connect' AS says_why FROM dtm.calls;
-- nothing is due any more
CALL dtm_run_due(:'t'::timestamptz);
SELECT count(*) FROM dtm.calls;
-- R-31 after 35 s, the delay after 60 s, the next failure after 200 s
CALL dtm_run_due(:'t'::timestamptz + interval '36 s');
CALL dtm_run_due(:'t'::timestamptz + interval '61 s');
CALL dtm_run_due(:'t'::timestamptz + interval '200 s');
SELECT gid, status, failures, next_attempt = :'t'::timestamptz + interval '600 s' AS doubled FROM dtm.transactions ORDER BY id;
-- SO-03: in time it gives up; the steps that may have run are undone, the third is not
CALL dtm_run_due(:'t'::timestamptz + interval '1001 s');
SELECT gid, status, rollback_reason FROM dtm.transactions WHERE gid = 'refused';
SELECT branch_id, op, status, attempts FROM dtm.branches WHERE gid = 'refused';
-- as many as asked for
SELECT count(dtm_submit('msg', ARRAY[dtm_step('')], gid => 'bound' || n)) FROM generate_series(1, 5) n;
CALL dtm_run_due(max_transactions => 2);
SELECT status, count(*) FROM dtm.transactions WHERE gid LIKE 'bound%' GROUP BY 1 ORDER BY 1;
CALL dtm_run_due();
SELECT status, count(*) FROM dtm.transactions WHERE gid LIKE 'bound%' GROUP BY 1 ORDER BY 1;
-- retry_limit: SO-11
SELECT dtm_submit('saga', ARRAY[dtm_step('http://127.0.0.1:1/', '')], gid => 'limited', options => '{"retry_limit": 2}');
CALL dtm_run_due();
SELECT status, rollback_reason FROM dtm.transactions WHERE gid = 'limited';
SELECT status, attempts FROM dtm.branches WHERE gid = 'limited' AND op = 'action';
-- a row changed by hand does not stop the others: R-42, R-43
SELECT dtm_submit('msg', ARRAY[dtm_step('')], gid => 'broken1');
SELECT dtm_submit('msg', ARRAY[dtm_step('')], gid => 'broken2');
SELECT dtm_submit('msg', ARRAY[dtm_step('')], gid => 'whole');
UPDATE dtm.active a SET branch_status = 'PPPP' FROM dtm.request r WHERE r.id = a.id AND r.gid = 'broken1';
UPDATE dtm.request SET trans_type = 'w' WHERE gid = 'broken2';
CALL dtm_run_due();
SELECT gid, status, next_attempt > clock_timestamp() AS postponed FROM dtm.transactions WHERE gid IN ('broken1', 'broken2', 'whole') ORDER BY gid;
SELECT dtm_retry_now('broken1');
-- not where it could not commit
BEGIN;
CALL dtm_run_due();
ROLLBACK;
CALL dtm_run_due(max_transactions => -1);
CALL dtm_run_due('infinity');
-- indexes, triggers, constraints and columns that somebody has added to the tables count
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt;
CREATE INDEX attempt_why ON dtm.attempt (lower(left(error, 8))) WHERE error IS NOT NULL;
CREATE TABLE ended (gid text, status "char");
CREATE FUNCTION note_end() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO public.ended SELECT r.gid, NEW.status FROM dtm.request r WHERE r.id = NEW.id;
  RETURN NULL;
END $$;
CREATE TRIGGER note_end AFTER INSERT ON dtm.finished FOR EACH ROW EXECUTE FUNCTION note_end();
CREATE FUNCTION note_failures() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.failures = NEW.failures + 100;
  RETURN NEW;
END $$;
CREATE TRIGGER note_failures BEFORE UPDATE OF status ON dtm.active FOR EACH ROW EXECUTE FUNCTION note_failures();
ALTER TABLE dtm.finished ADD archived boolean NOT NULL DEFAULT false;
ALTER TABLE dtm.active ADD failing boolean GENERATED ALWAYS AS (failures > 100) STORED;
ALTER TABLE dtm.finished ADD CONSTRAINT no_failures CHECK (status <> 'F');
SELECT dtm_submit('msg', ARRAY[dtm_step('')], gid => 'seen');
SELECT dtm_submit('msg', ARRAY[dtm_step('http://127.0.0.1:1/')], gid => 'refused');
SELECT dtm_submit('saga', ARRAY[dtm_step('http://127.0.0.1:1/', '')], gid => 'limited', options => '{"retry_limit": 1}');
CALL dtm_run_due();
SELECT * FROM ended;
SELECT gid, status, failures, next_attempt > clock_timestamp() AS postponed FROM dtm.transactions ORDER BY gid;
SELECT archived FROM dtm.finished;
SELECT failures, failing FROM dtm.active ORDER BY failures;
SET enable_seqscan = off;
SELECT count(*) FROM dtm.attempt WHERE error IS NOT NULL AND lower(left(error, 8)) = 'failed t';
RESET enable_seqscan;
-- what a trigger is against is not written, and does not count as written
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON dtm.active FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT dtm_submit('saga', ARRAY[dtm_step('', ''), dtm_step('http://127.0.0.1:1/', '')], gid => 'kept');
CALL dtm_run_due();
SELECT a.version, a.branch_status, (SELECT count(*) FROM dtm.attempt t WHERE t.id = a.id) AS calls
  FROM dtm.active a JOIN dtm.request r USING (id) WHERE r.gid = 'kept';
DROP TRIGGER refuse ON dtm.active;
DROP FUNCTION refuse;
CALL dtm_run_due();
SELECT a.version > 0 AS written, (SELECT count(*) FROM dtm.attempt t WHERE t.id = a.id) AS calls
  FROM dtm.active a JOIN dtm.request r USING (id) WHERE r.gid = 'kept';
ALTER TABLE dtm.finished DROP CONSTRAINT no_failures, DROP archived;
ALTER TABLE dtm.active DROP failing;
DROP TRIGGER note_end ON dtm.finished;
DROP TRIGGER note_failures ON dtm.active;
DROP INDEX dtm.attempt_why;
DROP FUNCTION note_end, note_failures;
DROP TABLE ended;
-- a query that goes wrong is found by its URL, and changed
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt, dtm.act;
\set VERBOSITY default
SELECT dtm_prepare('msg', 'queried', ARRAY[dtm_step('')], options => '{"query_prepared": "http://127.0.0.1:1/wrong", "timeout_to_fail": 1, "retry_interval": 1}'), dtm_prepare('msg', 'not queried', ARRAY[dtm_step('')]), dtm_prepare('tcc', 'branches');
SELECT clock_timestamp() AS t \gset
CALL dtm_run_due(:'t'::timestamptz + interval '10 s');
CALL dtm_run_due(:'t'::timestamptz + interval '20 s');
CALL dtm_run_due(:'t'::timestamptz + interval '30 s');
SELECT gid, branch_id, op, url FROM dtm.stuck WHERE url LIKE 'http://127.0.0.1:1/wrong%';
SELECT dtm_edit_step('queried', '00', '{"query_prepared": "nonsense"}');
SELECT dtm_edit_step('queried', '00', '{"query_prepared": "sql:f"}');
SELECT dtm_edit_step('queried', '00', '{"query_prepared": ""}');
SELECT dtm_edit_step('queried', '00', '{"action": "http://127.0.0.1:1/"}');
SELECT dtm_edit_step('not queried', '00', '{"query_prepared": "http://127.0.0.1:1/"}');
SELECT dtm_edit_step('branches', '00', '{"query_prepared": "http://127.0.0.1:1/"}');
SELECT dtm_edit_step('queried', '00', '{"query_prepared": "http://127.0.0.1:1/right"}', 'a typo');
SELECT options ->> 'query_prepared' AS query, failures, next_attempt <= clock_timestamp() AS due FROM dtm.transactions WHERE gid = 'queried';
SELECT what, reason, detail FROM dtm.acts WHERE gid = 'queried';
SELECT dtm_submit('msg', gid => 'queried');
SELECT dtm_edit_step('queried', '00', '{"query_prepared": "http://127.0.0.1:1/late"}');
\set VERBOSITY terse
-- at the end of time, what fails is put off until the last moment that there is, which never is due
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt;
SELECT dtm_submit('msg', ARRAY[dtm_step('http://127.0.0.1:1/')], gid => 'late');
SELECT dtm_submit('saga', ARRAY[dtm_step('http://127.0.0.1:1/', '')], gid => 'last', options => '{"retry_interval": 3e9, "timeout_to_fail": 3e9}');
SELECT dtm_submit('msg', ARRAY[dtm_step('')], gid => 'delayed', options => '{"delay": 3e9}');
CALL dtm_run_due('294276-12-31 23:59:59+00');
CALL dtm_run_due('294276-12-31 23:59:59.999999+00');
SELECT gid, status, failures, next_attempt AT TIME ZONE 'UTC' AS next_attempt FROM dtm.transactions ORDER BY gid;
SELECT gid, count(*) FROM dtm.calls GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM dtm.stuck;
UPDATE dtm.active SET next_time = '-infinity';
SELECT backlog FROM dtm.stat_coordinator;
-- intervals that no time can be reached by
SELECT * FROM dtm_reset_cron_time('170000000 years');
SELECT * FROM dtm_reset_cron_time('-170000000 years', 0);
SELECT dtm_cleanup('178000000 years'), dtm_cleanup_barrier('2000000000 days');
-- those before the first time that there is
SELECT * FROM dtm_reset_cron_time('-10000 years', 0);
SELECT dtm_cleanup('10000 years'), dtm_cleanup_barrier('200000 years');
SELECT dtm_cleanup('-10000 years');
SELECT dtm_submit('msg', ARRAY[dtm_step('')], gid => 'done');
CALL dtm_run_due();
SELECT dtm_wait('done', '2000000000 days');
-- what has been due since the beginning of time was found
SELECT failures FROM dtm.transactions WHERE gid = 'late';
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt;
