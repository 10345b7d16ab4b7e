-- dtm.metrics: names, labels, and who may see them.  If this fails, a dashboard shows nothing, or a
-- role that may only look can act.  (This server has not preloaded dtm: nothing is counted.)
\set VERBOSITY terse
\set SHOW_CONTEXT never
SET client_min_messages = error;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt;
-- rows are estimated once a table has been analyzed, as autovacuum may have done with any of them
ANALYZE dtm.request;
SELECT family, type, unit FROM dtm.metric_families() ORDER BY ordinal;
-- names are Prometheus', each with a help text that ends as a sentence does
SELECT family FROM dtm.metric_families()
 WHERE family !~ '^dtm_[a-z_]+$' OR help !~ '^[A-Z].*\.$' OR (type = 'counter') <> (family LIKE '%\_total') OR
       (unit IS NOT NULL AND family NOT LIKE '%\_' || unit AND family <> 'dtm_transaction_handled_duration');
SELECT family FROM dtm.metric_families() GROUP BY family HAVING count(*) > 1;
-- what a server without shared_preload_libraries has; rows are estimated once a table was analyzed
ANALYZE dtm.active;
SELECT name, ARRAY(SELECT jsonb_object_keys(min(labels::text)::jsonb) ORDER BY 1) AS labels FROM dtm.metrics GROUP BY name ORDER BY name COLLATE "C";
SELECT count(*) FROM dtm.metrics WHERE type = 'counter' AND value <> 0;
SELECT count(*) > 0 AS numbers, count(*) FILTER (WHERE jsonb_typeof(l.value) <> 'string') AS others
  FROM dtm.metrics m, jsonb_each(m.labels) l;
-- samples of a family stand together
SELECT count(*) AS families, count(DISTINCT family) AS distinct
  FROM (SELECT family, lag(family) OVER () IS DISTINCT FROM family AS first FROM dtm.metrics) m WHERE first;
-- what is in the tables is there all the same
CREATE FUNCTION numbers() RETURNS TABLE (name text, labels jsonb, value float8) LANGUAGE sql AS $$
  SELECT m.name, m.labels, m.value FROM dtm.metrics m
   WHERE m.name IN ('dtm_transactions_unfinished', 'dtm_backlog_transactions', 'dtm_stuck_transactions', 'dtm_orphaned_transactions') AND m.value <> 0 $$;
SELECT dtm_submit('msg', ARRAY[dtm_step('http://a/')], gid => 'm' || i, options => '{"delay": 1000}') FROM generate_series(1, 3) i;
SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/')], gid => 's' || i) FROM generate_series(1, 8) i;
SELECT dtm_prepare('tcc', 't1');
SELECT * FROM numbers();
UPDATE dtm.active a SET next_time = 'infinity', parked = now(), parked_reason = 'x' FROM dtm.request r WHERE r.id = a.id AND r.gid = 's1';
UPDATE dtm.active a SET next_time = now() + interval '1 hour', failures = 30000 FROM dtm.request r WHERE r.id = a.id AND r.gid = 's2';
UPDATE dtm.active a SET next_time = now() + interval '1 hour', ongoing_since = now() - interval '1 year' FROM dtm.request r WHERE r.id = a.id AND r.gid = 's3';
UPDATE dtm.active a SET next_time = now() - interval '90 s', failures = 1 FROM dtm.request r WHERE r.id = a.id AND r.gid = 's4';
SELECT * FROM numbers();
SELECT (SELECT sum(value) FROM numbers() WHERE name = 'dtm_stuck_transactions') = (SELECT count(*) FROM dtm.stuck) AS as_in_stuck,
       (SELECT bool_and(n.value = c.transactions) FROM numbers() n JOIN dtm.counts c ON c.state = n.labels ->> 'state') AS as_in_counts;
-- of a role that is gone: it waits for its delay, for its submit, or is parked
CREATE ROLE regress_dtm_leaver IN ROLE dtm_user;
SET ROLE regress_dtm_leaver;
SELECT dtm_submit('msg', ARRAY[dtm_step('http://a/')], gid => 'left', options => '{"delay": 1000}'), dtm_prepare('saga', 'left, too'), dtm_submit('msg', ARRAY[dtm_step('http://a/')], gid => 'left, parked');
RESET ROLE;
UPDATE dtm.active a SET next_time = 'infinity', parked = now(), parked_reason = 'x' FROM dtm.request r WHERE r.id = a.id AND r.gid = 'left, parked';
SELECT labels, value FROM numbers() WHERE name = 'dtm_stuck_transactions';
DROP ROLE regress_dtm_leaver;
SELECT labels, value FROM numbers() WHERE name = 'dtm_stuck_transactions';
SELECT (SELECT sum(value) FROM numbers() WHERE name = 'dtm_stuck_transactions') = (SELECT count(*) FROM dtm.stuck) AS as_in_stuck,
       (SELECT bool_and(n.value = c.transactions) FROM numbers() n JOIN dtm.counts c ON c.state = n.labels ->> 'state') AS as_in_counts;
DELETE FROM dtm.active a USING dtm.request r WHERE r.id = a.id AND r.gid LIKE 'left%';
-- open alerts, by kind
INSERT INTO dtm.alert (kind, subject, class, count, most, since, seen, resolved)
  SELECT a.kind, a.subject, '', 1, 1, now(), now(), a.resolved FROM (VALUES ('failing', 'a', NULL), ('failing', 'b', NULL), ('failing', 'c', now()), ('not running', 'd', NULL)) a(kind, subject, resolved);
SELECT labels, value FROM dtm.metrics WHERE name = 'dtm_alerts_open';
DELETE FROM dtm.alert;
SELECT value BETWEEN 90 AND 3600 AS oldest FROM dtm.metrics WHERE name = 'dtm_backlog_oldest_seconds';
SELECT count(*) FILTER (WHERE value >= 8192) = count(*) AS sizes FROM dtm.metrics WHERE name = 'dtm_table_size_bytes';
-- more rows than are read: an estimate
INSERT INTO dtm.active (id, next_time, updated, status, branch_status, submitted_by)
  SELECT -i, CASE WHEN i <= 200 THEN 'infinity' ELSE now() END, now(), 's', 'P', (SELECT a.submitted_by FROM dtm.active a LIMIT 1) FROM generate_series(1, 60000) i;
ANALYZE dtm.active;
SELECT labels ->> 'state' AS state, round(value::numeric, -4) AS about FROM numbers() WHERE name = 'dtm_transactions_unfinished' AND labels ->> 'state' = 'running';
SELECT name, value FROM numbers() WHERE labels ->> 'state' = 'parked' OR labels ->> 'reason' = 'parked';
DELETE FROM dtm.active WHERE id < 0;
-- whatever else is in the way
CREATE SCHEMA regress_evil;
CREATE FUNCTION regress_evil.jsonb_object(text[]) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'called'; END $$;
CREATE FUNCTION regress_evil.metric_samples() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'called'; END $$;
CREATE TABLE regress_evil.pg_class (oid oid);
CREATE TEMP TABLE pg_prepared_xacts ();
SET search_path = regress_evil, pg_temp, public, pg_catalog;
SELECT count(*) > 50 AS all FROM dtm.metrics;
RESET search_path;
DROP SCHEMA regress_evil CASCADE;
DROP TABLE pg_temp.pg_prepared_xacts;
-- dtm_monitor sees numbers and states, as does who is in pg_monitor
CREATE ROLE regress_dtm_exporter LOGIN IN ROLE dtm_monitor;
CREATE ROLE regress_dtm_watcher LOGIN IN ROLE pg_monitor;
CREATE ROLE regress_dtm_operator IN ROLE dtm_admin;
CREATE ROLE regress_dtm_user IN ROLE dtm_user;
CREATE ROLE regress_dtm_stranger;
SET ROLE regress_dtm_exporter;
SELECT value FROM dtm.metrics WHERE name = 'dtm_transactions_unfinished' AND labels = '{"state": "scheduled"}';
SELECT state, backlog > 0 AS backlog FROM dtm.stat_coordinator;
SELECT count(*) FROM dtm.stat_hosts;
SET ROLE regress_dtm_watcher;
SELECT count(*) > 50 AS all FROM dtm.metrics;
SET ROLE regress_dtm_operator;
SELECT count(*) > 50 AS all FROM dtm.metrics;
-- sums over all roles are not for each of them
SET ROLE regress_dtm_user;
SELECT count(*) FROM dtm.metrics;
SELECT count(*) FROM dtm.metric_samples();
SET ROLE regress_dtm_stranger;
SELECT count(*) FROM dtm.metrics;
-- and an exporter may do nothing else
SET ROLE regress_dtm_exporter;
SELECT dtm_submit('msg');
SELECT dtm_status('s1');
SELECT dtm_query('s1');
SELECT dtm_retry_now('s1');
SELECT dtm_force_stop('s1');
SELECT dtm_resume();
SELECT dtm_pause();
CALL dtm_run_due();
SELECT * FROM dtm.transactions;
SELECT * FROM dtm.branches;
SELECT * FROM dtm.stuck;
SELECT * FROM dtm.request;
SELECT dtm.metric_counters();
SELECT * FROM dtm.cluster_transactions;
RESET ROLE;
SELECT c.oid::regclass AS may_read FROM pg_class c
 WHERE c.relnamespace IN ('dtm'::regnamespace, 'dtm_barrier'::regnamespace) AND c.relkind IN ('r', 'v', 'S') AND
       has_table_privilege('regress_dtm_exporter', c.oid, 'SELECT') ORDER BY 1;
SELECT c.oid::regclass AS may_write FROM pg_class c
 WHERE c.relnamespace IN ('dtm'::regnamespace, 'dtm_barrier'::regnamespace) AND c.relkind IN ('r', 'v', 'S') AND
       has_table_privilege('regress_dtm_exporter', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER');
SELECT p.oid::regprocedure AS may_call
  FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
       JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid AND e.extname = 'dtm'
 WHERE has_function_privilege('regress_dtm_exporter', p.oid, 'EXECUTE') ORDER BY p.oid::regprocedure::text COLLATE "C";
SELECT n.nspname AS may_create FROM pg_namespace n
 WHERE n.nspname IN ('dtm', 'dtm_barrier') AND has_schema_privilege('regress_dtm_exporter', n.oid, 'CREATE');
-- whoever is also one of dtm_user acts on its own transactions only
GRANT dtm_user TO regress_dtm_exporter;
SET ROLE regress_dtm_exporter;
SELECT count(*) FROM dtm.transactions;
SELECT dtm_force_stop('s5');
RESET ROLE;
DROP FUNCTION numbers();
DROP ROLE regress_dtm_exporter, regress_dtm_watcher, regress_dtm_operator, regress_dtm_user, regress_dtm_stranger;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt, dtm.act;
