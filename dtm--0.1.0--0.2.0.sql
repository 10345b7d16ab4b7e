/* dtm--0.1.0--0.2.0.sql: ALTER EXTENSION dtm UPDATE, and what CREATE EXTENSION goes on with */

\echo Use "ALTER EXTENSION dtm UPDATE TO '0.2.0'" to load this file. \quit

/* ---------- the library that goes with it ---------- */

DO $$
BEGIN
  CREATE FUNCTION dtm.library_version() RETURNS text
  AS 'MODULE_PATHNAME', 'dtm_library_version' LANGUAGE C STABLE PARALLEL SAFE;
EXCEPTION WHEN undefined_function THEN
  RAISE EXCEPTION 'the server has still loaded the library of an older version of dtm'
    USING ERRCODE = 'object_not_in_prerequisite_state',
          HINT = 'Restart the server, then run ALTER EXTENSION dtm UPDATE again.';
END
$$;
COMMENT ON FUNCTION dtm.library_version() IS 'version of dtm''s library that the server has loaded';
REVOKE ALL ON FUNCTION dtm.library_version() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION dtm.library_version() TO dtm_user;

/* ---------- where this database lives ---------- */

ALTER TABLE dtm.home ADD COLUMN directory text COLLATE "C";
COMMENT ON COLUMN dtm.home.directory IS
  'inode and birth of a file in the data directory, by which a copy of the whole server is known; NULL: the coordinator has not run yet';

/* ---------- why a coordinator is paused ---------- */

DROP VIEW dtm.stat_coordinator;
DROP FUNCTION dtm.coordinator_stats();

CREATE FUNCTION dtm.coordinator_stats(
  OUT state text, OUT pid integer, OUT started timestamptz, OUT in_flight integer, OUT queued integer,
  OUT loaded integer, OUT commits bigint, OUT finished bigint, OUT calls bigint, OUT call_errors bigint, OUT errors bigint,
  OUT coordinator integer, OUT reason text, OUT hint text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'dtm_coordinator_stats' LANGUAGE C VOLATILE PARALLEL SAFE;
COMMENT ON FUNCTION dtm.coordinator_stats() IS 'counters of this database''s coordinators since they were started';
REVOKE ALL ON FUNCTION dtm.coordinator_stats() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION dtm.coordinator_stats() TO dtm_user;

CREATE VIEW dtm.stat_coordinator AS
  SELECT s.state, s.pid, s.started, s.in_flight, s.queued, s.loaded, s.commits, s.finished, s.calls, s.call_errors,
         s.errors, s.coordinator, b.backlog, b.oldest_due_age, s.reason, s.hint
    FROM dtm.coordinator_stats() s
         CROSS JOIN (SELECT pg_catalog.count(*) AS backlog,
                            pg_catalog.clock_timestamp() - pg_catalog.min(a.next_time) AS oldest_due_age
                       FROM dtm.active a
                      WHERE a.next_time <= pg_catalog.clock_timestamp()) b;
COMMENT ON VIEW dtm.stat_coordinator IS 'state, load and counters of this database''s coordinators, a row each; reason and hint say why one is paused, and how it goes on; backlog counts the transactions that are due';
GRANT SELECT ON dtm.stat_coordinator TO dtm_user;

/* ---------- in C what was in SQL, which was planned with every call ---------- */

CREATE OR REPLACE FUNCTION @extschema@.dtm_step(action text, compensate text DEFAULT '', payload jsonb DEFAULT NULL)
RETURNS @extschema@.dtm_step
AS 'MODULE_PATHNAME', 'dtm_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;

CREATE OR REPLACE FUNCTION @extschema@.dtm_register_branch(gid text, branch_id text, confirm text, cancel text, payload jsonb DEFAULT NULL) RETURNS void
AS 'MODULE_PATHNAME', 'dtm_register_branch' LANGUAGE C VOLATILE PARALLEL UNSAFE;

DROP FUNCTION dtm.register_tcc_branch(text, text, text, text, bytea);

/* ---------- services as foreign servers ---------- */

CREATE FUNCTION dtm.http_validator(options text[], catalog oid) RETURNS void
AS 'MODULE_PATHNAME', 'dtm_http_validator' LANGUAGE C STRICT;
REVOKE ALL ON FUNCTION dtm.http_validator(text[], oid) FROM PUBLIC;

CREATE FOREIGN DATA WRAPPER dtm_http VALIDATOR dtm.http_validator;
COMMENT ON FOREIGN DATA WRAPPER dtm_http IS
  'services that branches are called at: server:name/path, with the user mapping of the role that submitted';

CREATE FUNCTION @extschema@.dtm_verify_signature(signature text, key text, gid text, branch_id text, op text, body bytea, max_age interval DEFAULT '5 minutes')
RETURNS boolean
AS 'MODULE_PATHNAME', 'dtm_verify_signature' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.dtm_verify_signature(text, text, text, text, text, bytea, interval) IS
  'whether a request''s header Dtm-Signature was made with this key, for these values, not longer than max_age ago (NULL: whenever)';
REVOKE ALL ON FUNCTION @extschema@.dtm_verify_signature(text, text, text, text, text, bytea, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION @extschema@.dtm_verify_signature(text, text, text, text, text, bytea, interval) TO dtm_user;

/* ---------- how the services' hosts are doing ---------- */

CREATE FUNCTION dtm.host_stats(
  OUT coordinator integer, OUT host text, OUT state text, OUT in_flight integer, OUT waiting integer, OUT window_size integer,
  OUT calls bigint, OUT failures bigint, OUT refused bigint, OUT failures_in_a_row integer,
  OUT mean_time interval, OUT recent_time interval, OUT next_probe timestamptz, OUT last_error text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'dtm_host_stats' LANGUAGE C VOLATILE PARALLEL SAFE;
COMMENT ON FUNCTION dtm.host_stats() IS 'hosts that this database''s coordinators have called since they were started';
REVOKE ALL ON FUNCTION dtm.host_stats() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION dtm.host_stats() TO dtm_admin;

CREATE VIEW dtm.stat_hosts AS SELECT * FROM dtm.host_stats();
COMMENT ON VIEW dtm.stat_hosts IS 'how the hosts that are called are doing, a row for each and each coordinator; state: closed (it is called), open (it does not answer, and is only tried now and then), probing (it is being tried)';
GRANT SELECT ON dtm.stat_hosts TO dtm_admin;
