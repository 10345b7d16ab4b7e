-- What operators see, and how it is found: if this fails, a state is told wrongly, or the views
-- read all that is kept to show some of it.
\set VERBOSITY terse
SET client_min_messages = error;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt, dtm.act;
CREATE ROLE regress_dtm_alice IN ROLE dtm_user;
CREATE ROLE regress_dtm_operator IN ROLE dtm_admin;
-- a row in each state
SELECT dtm_submit('saga', ARRAY[dtm_step('http://127.0.0.1:9/a', 'http://127.0.0.1:9/b', '{"amount": 30}'), dtm_step('http://127.0.0.1:9/c', 'http://127.0.0.1:9/d')], gid)
  FROM unnest('{running,retrying,ongoing,parked,rolling,succeeded,failed,timed-out,stopped}'::text[]) gid;
SELECT dtm_prepare('msg', 'prepared', ARRAY[dtm_step('http://127.0.0.1:9/a')]), dtm_submit('msg', ARRAY[dtm_step('http://127.0.0.1:9/a')], 'scheduled', '{"delay": 3600}');
SELECT dtm_prepare('msg', 'scheduled-late', ARRAY[dtm_step('http://127.0.0.1:9/a')]), dtm_submit('msg', gid => 'scheduled-late', options => '{"delay": 3600}');
CREATE FUNCTION regress_dtm_set(g text, what text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE format('UPDATE dtm.active a SET version = 1, delayed = NULL, %s FROM dtm.request r WHERE r.id = a.id AND r.gid = %L', what, g); END $$;
CREATE FUNCTION regress_dtm_call(g text, branch int, result text, error text, status int) RETURNS void LANGUAGE sql AS $$
  INSERT INTO dtm.attempt (id, started, duration, branch, http_status, result, error)
  SELECT id, now() - interval '1 h' + $2 * interval '1 s', 1000, $2, $5, $3::"char", $4 FROM dtm.request WHERE gid = $1 $$;
CREATE FUNCTION regress_dtm_end(g text, letter text, letters text, reason text) RETURNS void LANGUAGE sql AS $$
  WITH d AS (DELETE FROM dtm.active a USING dtm.request r WHERE r.id = a.id AND r.gid = $1 RETURNING a.id)
  INSERT INTO dtm.finished (id, finished, status, branch_status, rollback_reason) SELECT id, now(), $2::"char", $3, $4 FROM d $$;
SELECT regress_dtm_call('running', 1, 'S', NULL, 200), regress_dtm_set('running', $$branch_status = 'PSPP'$$);
SELECT regress_dtm_call('retrying', 1, 'E', '{"message": "out of stock"}', 503), regress_dtm_set('retrying', $$failures = 3, next_time = now() + interval '1 h'$$);
SELECT regress_dtm_call('ongoing', 1, 'O', 'ONGOING', 425), regress_dtm_set('ongoing', $$ongoing_since = now() - interval '1 h', next_time = now() + interval '1 m'$$);
SELECT regress_dtm_call('parked', 1, 'E', 'not found', 404), regress_dtm_set('parked', $$failures = 1, next_time = 'infinity'$$);
SELECT regress_dtm_call('rolling', 1, 'S', NULL, 200), regress_dtm_call('rolling', 3, 'F', '{"dtm_result": "FAILURE"}', 409),
       regress_dtm_set('rolling', $$status = 'a', branch_status = 'PSPF', rollback_reason = 'no'$$);
SELECT regress_dtm_call('succeeded', 1, 'E', 'reset', NULL), regress_dtm_call('succeeded', 1, 'S', NULL, 200), regress_dtm_call('succeeded', 3, 'S', NULL, 200), regress_dtm_end('succeeded', 'S', 'PSPS', NULL);
SELECT regress_dtm_call('failed', 1, 'F', 'no money', 409), regress_dtm_end('failed', 'F', 'SFPP', 'no');
SELECT regress_dtm_end('timed-out', 'F', 'SPPP', 'Timeout after 10 seconds');
SELECT regress_dtm_call('stopped', 1, 'E', '', 500), dtm_force_stop('stopped', 'enough');
SELECT gid, state, status, failures, current_step AS step, failed_branch AS branch, failed_op AS op, failure, rollback_reason, next_attempt IS NOT NULL AS next, finished IS NOT NULL AS over
  FROM dtm.transactions;
SELECT DISTINCT t.status = dtm.status_name(COALESCE(a.status, f.status)) AS same_words FROM dtm.transactions t LEFT JOIN dtm.active a USING (id) LEFT JOIN dtm.finished f USING (id);
SELECT gid, branch_id, op, status, state, attempts FROM dtm.branches WHERE gid IN ('running', 'rolling', 'failed', 'stopped', 'scheduled') ORDER BY gid, ordinal;
SELECT gid, state, failures, branch_id, op, url, http_status, last_error, reason, help FROM dtm.stuck ORDER BY gid;
-- what helps when there was no response: was there nobody, or something else?
BEGIN;
SELECT dtm_submit('msg', ARRAY[dtm_step('https://127.0.0.1:9/a')], gid) FROM unnest('{silent,untrusted}'::text[]) gid;
SELECT regress_dtm_call('silent', 0, 'E', 'Failed to connect to 127.0.0.1 port 9 after 0 ms: Couldn''t connect to server', NULL),
       regress_dtm_call('untrusted', 0, 'E', 'SSL certificate problem: self-signed certificate', NULL), regress_dtm_set(gid, 'failures = 9') FROM unnest('{silent,untrusted}'::text[]) gid;
SELECT gid, help FROM dtm.stuck WHERE gid IN ('silent', 'untrusted') ORDER BY gid;
ROLLBACK;
SELECT state, transactions, exact FROM dtm.counts ORDER BY state;
SELECT event, branch_id, op, result, detail FROM dtm.timeline WHERE gid = 'stopped' ORDER BY at;
-- bodies: JSON, text, and neither
SELECT t, dtm.readable(b) FROM (VALUES ('json', '{"a": [1, 2]}'::bytea), ('text', 'plain text'), ('number', '1e400000'), ('escape', '{"a": "\\u0000"}'),
  ('bytes', '\xff00'::bytea), ('zero', 'a\000b'), ('empty', '')) v(t, b);
SELECT body, payload FROM dtm.branches WHERE gid = 'running' ORDER BY ordinal LIMIT 1;
-- of whose end a message tells
SELECT dtm_submit('msg', ARRAY[dtm_step('http://127.0.0.1:9/a')], 'told', '{"on_finish": "http://127.0.0.1:9/told"}'), dtm_force_stop('told');
SELECT parent FROM dtm.transactions WHERE parent IS NOT NULL;
-- what a role sees
SET ROLE regress_dtm_alice;
SELECT count(*) FROM dtm.transactions;
SELECT count(*) FROM dtm.counts;
SELECT dtm_submit('msg', ARRAY[dtm_step('http://127.0.0.1:9/a')], 'alices');
SELECT gid, state FROM dtm.transactions;
SELECT * FROM dtm.counts;
RESET ROLE;
-- with many rows, no more of them are read than are shown
INSERT INTO dtm.request (created, submitted_by, trans_type, concurrent, wait_result, gid, action)
SELECT now() - (30000 - n) * interval '1 m', dtm.submitter(CASE n % 10 WHEN 0 THEN 'regress_dtm_alice' ELSE current_user END::regrole), 'm', false, false, 'many-' || n, '{http://127.0.0.1:9/a}'
  FROM generate_series(1, 30000) n;
INSERT INTO dtm.active (id, next_time, updated, status, branch_status, submitted_by) SELECT id, now() + interval '1 day', now(), 's', 'P', submitted_by FROM dtm.request WHERE gid ~ '^many-.*00$';
INSERT INTO dtm.finished (id, finished, status, branch_status) SELECT id, created, CASE WHEN gid ~ '7$' THEN 'F' ELSE 'S' END, 'S' FROM dtm.request WHERE gid ~ '^many-.*(?!00)..$' AND gid !~ '00$';
INSERT INTO dtm.attempt (id, started, duration, branch, http_status, result) SELECT id, finished, 1000, 0, 200, 'S' FROM dtm.finished;
INSERT INTO dtm.act (id, ordinal, done, role, what) SELECT id, 1, finished, dtm.submitter(current_user::regrole), 'retry' FROM dtm.finished ON CONFLICT DO NOTHING;
VACUUM (ANALYZE) dtm.request, dtm.active, dtm.finished, dtm.attempt, dtm.act;
-- whether a query reads or sorts more rows than there are active ones and few others, or reads a whole table of those that are kept
CREATE FUNCTION regress_dtm_reads(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  plan json;
BEGIN
  EXECUTE 'EXPLAIN (ANALYZE, FORMAT json, TIMING OFF, COSTS OFF, SUMMARY OFF) ' || query INTO plan;
  RETURN (WITH RECURSIVE node(n) AS (SELECT plan -> 0 -> 'Plan' UNION ALL SELECT c FROM node, json_array_elements(COALESCE(n -> 'Plans', '[]')) c)
          SELECT CASE WHEN COALESCE(max((COALESCE((n ->> 'Actual Rows')::numeric, 0) + COALESCE((n ->> 'Rows Removed by Filter')::numeric, 0)) * (n ->> 'Actual Loops')::numeric), 0) <= 3500
                      THEN 'few rows' ELSE 'many rows: ' || max((n ->> 'Actual Rows')::numeric * (n ->> 'Actual Loops')::numeric) END ||
                 COALESCE(', sorts ' || NULLIF(sum(CASE WHEN n ->> 'Node Type' = 'Sort' AND (n ->> 'Actual Rows')::numeric > 2500 THEN 1 END), 0), '') ||
                 COALESCE(', reads all of ' || string_agg(DISTINCT CASE WHEN n ->> 'Node Type' = 'Seq Scan' AND (n ->> 'Actual Loops')::int > 0 THEN n ->> 'Relation Name' END, ', ')
                            FILTER (WHERE n ->> 'Relation Name' NOT IN ('active') AND COALESCE((n ->> 'Actual Rows')::numeric, 0) + COALESCE((n ->> 'Rows Removed by Filter')::numeric, 0) > 0), '')
            FROM node);
END $$;
CREATE TABLE regress_dtm_queries (n serial, query text);
GRANT SELECT ON regress_dtm_queries TO dtm_user;
INSERT INTO regress_dtm_queries (query) VALUES
  ('SELECT * FROM dtm.transactions ORDER BY id DESC LIMIT 50'),
  ('SELECT * FROM dtm.transactions LIMIT 50'),
  ('SELECT * FROM dtm.transactions WHERE gid LIKE ''many-2%'' LIMIT 50'),
  ('SELECT * FROM dtm.transactions WHERE gid = ''many-10000'''),
  ('SELECT * FROM dtm.transactions WHERE id = 10000'),
  ('SELECT * FROM dtm.transactions WHERE state = ''running'''),
  ('SELECT * FROM dtm.transactions WHERE state IN (''running'', ''retrying'', ''parked'')'),
  ('SELECT * FROM dtm.transactions WHERE status = ''submitted'''),
  ('SELECT * FROM dtm.transactions WHERE finished IS NULL'),
  ('SELECT * FROM dtm.transactions WHERE state = ''parked'''),
  ('SELECT * FROM dtm.transactions WHERE state = ''failed'' ORDER BY id DESC LIMIT 50'),
  ('SELECT * FROM dtm.transactions WHERE state = ''stopped'''),
  ('SELECT * FROM dtm.branches WHERE gid = ''many-10000'''),
  ('SELECT * FROM dtm.calls WHERE gid = ''many-10000'''),
  ('SELECT * FROM dtm.timeline WHERE gid = ''many-10000'''),
  ('SELECT * FROM dtm.stuck'),
  ('SELECT * FROM dtm.counts');
SET ROLE regress_dtm_operator;
SELECT query, regress_dtm_reads(query) FROM regress_dtm_queries ORDER BY n;
SET ROLE regress_dtm_alice;
SELECT query, regress_dtm_reads(query) FROM regress_dtm_queries ORDER BY n;
RESET ROLE;
SELECT state, transactions BETWEEN 26000 AND 27500 AS about_right, exact FROM dtm.counts WHERE state = 'succeeded';
DROP TABLE regress_dtm_queries;
DROP FUNCTION regress_dtm_set, regress_dtm_call, regress_dtm_end, regress_dtm_reads;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt, dtm.act;
DROP ROLE regress_dtm_alice, regress_dtm_operator;
