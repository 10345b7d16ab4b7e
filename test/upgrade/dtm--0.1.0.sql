/*
 * dtm--0.1.0.sql: what the upgrade test updates from
 *
 * The tables of a version that was never released, and two of its functions.
 */

\echo Use "CREATE EXTENSION dtm VERSION '0.1.0'" to load this file. \quit

CREATE SCHEMA dtm;
CREATE SCHEMA dtm_barrier;

CREATE TABLE dtm.home (
  system_identifier bigint NOT NULL,
  database_oid oid NOT NULL,
  paused boolean NOT NULL,
  since timestamptz NOT NULL
);
COMMENT ON TABLE dtm.home IS
  'the server and database that this coordinator belongs to, and whether it was paused';

CREATE SEQUENCE dtm.request_id_seq;

/* What was asked for.  Written once, but for the branches of a tcc or xa. */
CREATE TABLE dtm.request (
  id bigint NOT NULL DEFAULT pg_catalog.nextval('dtm.request_id_seq') CONSTRAINT request_pkey PRIMARY KEY,
  created timestamptz NOT NULL,
  timeout_to_fail bigint,
  retry_interval bigint,
  delay bigint,
  submitted_by regrole NOT NULL,
  request_timeout integer,
  retry_limit integer,
  trans_type "char" NOT NULL,
  concurrent boolean NOT NULL,
  wait_result boolean NOT NULL,
  gid text COLLATE "C" NOT NULL CONSTRAINT request_gid UNIQUE,
  protocol text COLLATE "C",
  query_prepared text COLLATE "C",
  action text[] COLLATE "C" NOT NULL,
  compensate text[] COLLATE "C",
  payload bytea[],
  orders integer[],
  branch_headers text[] COLLATE "C",
  branch_id text[] COLLATE "C",
  topic text[] COLLATE "C",
  workflow text COLLATE "C",
  workflow_data bytea,
  result text COLLATE "C",
  notify boolean,
  on_finish text COLLATE "C"
);
COMMENT ON TABLE dtm.request IS 'global transactions as they were submitted';
COMMENT ON COLUMN dtm.request.timeout_to_fail IS 'microseconds, as are retry_interval and delay';
COMMENT ON COLUMN dtm.request.request_timeout IS 'milliseconds';
COMMENT ON COLUMN dtm.request.orders IS 'pairs: a step, and one that it comes after; from 0';
COMMENT ON COLUMN dtm.request.branch_headers IS 'pairs: name, value';
COMMENT ON COLUMN dtm.request.action IS 'URLs; of a tcc or xa, confirm or commit, as compensate has cancel or rollback; of a workflow, the registered ops';
COMMENT ON COLUMN dtm.request.branch_id IS 'of registered branches, and of steps that came from a topic; others are numbered';
COMMENT ON COLUMN dtm.request.topic IS 'where steps came from a topic: the URL that was given for each';
COMMENT ON COLUMN dtm.request.workflow IS 'name of a workflow; workflow_data is what its callback is sent';
COMMENT ON COLUMN dtm.request.result IS 'of a workflow that was submitted, in base64';
COMMENT ON COLUMN dtm.request.notify IS 'whether there is a NOTIFY when it is final; on_finish is a URL to be called then';

/* How far it is.  The only table that the coordinator searches: small and hot. */
CREATE TABLE dtm.active (
  id bigint NOT NULL CONSTRAINT active_pkey PRIMARY KEY,
  next_time timestamptz NOT NULL,
  updated timestamptz NOT NULL,
  version integer NOT NULL DEFAULT 0,
  failures smallint NOT NULL DEFAULT 0,
  retries smallint NOT NULL DEFAULT 0,
  status "char" NOT NULL,
  branch_status text COLLATE "C" NOT NULL,
  rollback_reason text COLLATE "C"
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.1);
CREATE INDEX active_due ON dtm.active (next_time, id);
COMMENT ON TABLE dtm.active IS 'state of the global transactions that are not final';
COMMENT ON COLUMN dtm.active.version IS 'changes with every write; a writer that has read another one starts over';
COMMENT ON COLUMN dtm.active.branch_status IS 'a letter for each op of each branch: P, S, F';

/* How it ended. */
CREATE TABLE dtm.finished (
  id bigint NOT NULL CONSTRAINT finished_pkey PRIMARY KEY,
  finished timestamptz NOT NULL,
  status "char" NOT NULL,
  branch_status text COLLATE "C" NOT NULL,
  rollback_reason text COLLATE "C"
);
COMMENT ON TABLE dtm.finished IS 'outcome of the global transactions that are final';

/* Every call that was made. */
CREATE TABLE dtm.attempt (
  id bigint NOT NULL,
  started timestamptz NOT NULL,
  duration bigint NOT NULL,
  branch smallint NOT NULL,
  http_status smallint,
  result "char" NOT NULL,
  grpc_status smallint,
  error text COLLATE "C"
);
CREATE INDEX attempt_id ON dtm.attempt (id);
COMMENT ON TABLE dtm.attempt IS 'calls of branches, one row each';
COMMENT ON COLUMN dtm.attempt.duration IS 'microseconds';
COMMENT ON COLUMN dtm.attempt.branch IS 'place in branch_status, from 0; -1: query_prepared';

/* Where messages of a topic go. */
CREATE TABLE dtm.topic (
  name text COLLATE "C" NOT NULL CONSTRAINT topic_pkey PRIMARY KEY,
  version integer NOT NULL,
  url text[] COLLATE "C" NOT NULL,
  remark text[] COLLATE "C" NOT NULL
);
COMMENT ON TABLE dtm.topic IS 'topics and the URLs subscribed to them, in their order';
COMMENT ON COLUMN dtm.topic.version IS '1 when it was created, one more with each change';

SELECT pg_catalog.pg_extension_config_dump('dtm.home', '');
SELECT pg_catalog.pg_extension_config_dump('dtm.request', '');
SELECT pg_catalog.pg_extension_config_dump('dtm.request_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('dtm.active', '');
SELECT pg_catalog.pg_extension_config_dump('dtm.finished', '');
SELECT pg_catalog.pg_extension_config_dump('dtm.attempt', '');
SELECT pg_catalog.pg_extension_config_dump('dtm.topic', '');

/* ---------- the barrier: name, columns and constraint as dtm's SDKs expect ---------- */

CREATE SEQUENCE dtm_barrier.barrier_seq;

CREATE TABLE dtm_barrier.barrier (
  id bigint NOT NULL DEFAULT pg_catalog.nextval('dtm_barrier.barrier_seq') PRIMARY KEY,
  trans_type varchar(45) DEFAULT '',
  gid varchar(128) DEFAULT '',
  branch_id varchar(128) DEFAULT '',
  op varchar(45) DEFAULT '',
  barrier_id varchar(45) DEFAULT '',
  reason varchar(45) DEFAULT '',
  create_time timestamp(0) with time zone DEFAULT NULL,
  update_time timestamp(0) with time zone DEFAULT NULL,
  CONSTRAINT uniq_barrier UNIQUE (gid, branch_id, op, barrier_id)
);
COMMENT ON TABLE dtm_barrier.barrier IS 'which branch operations have been executed or are refused';

SELECT pg_catalog.pg_extension_config_dump('dtm_barrier.barrier', '');
SELECT pg_catalog.pg_extension_config_dump('dtm_barrier.barrier_seq', '');

CREATE FUNCTION @extschema@.dtm_submit(request jsonb) RETURNS text
AS 'MODULE_PATHNAME', 'dtm_submit_request' LANGUAGE C VOLATILE PARALLEL UNSAFE;
CREATE FUNCTION @extschema@.dtm_status(gid text) RETURNS text
AS 'MODULE_PATHNAME', 'dtm_status' LANGUAGE C STABLE STRICT;

CREATE FUNCTION dtm.home_changed() RETURNS trigger
AS 'MODULE_PATHNAME', 'dtm_home_changed' LANGUAGE C;
CREATE TRIGGER home_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON dtm.home
  FOR EACH STATEMENT EXECUTE FUNCTION dtm.home_changed();

INSERT INTO dtm.home
SELECT c.system_identifier, d.oid, false, pg_catalog.now()
  FROM pg_catalog.pg_control_system() c, pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database();
