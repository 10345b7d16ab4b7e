/*
 * dtm--0.2.0.sql: CREATE EXTENSION dtm
 *
 * In this order: schemas that exist already, schemas, tables, and what
 * is called: submitting, branches, topics, participants, monitoring, steering,
 * removing, scheduling, services.  At the end: roles, privileges, and the first row.
 *
 * What users call is in the extension's schema; what is internal is in schema
 * dtm.  Each view, each column of a view and each function that users call has a
 * COMMENT.
 */

\echo Use "CREATE EXTENSION dtm" to load this file. \quit

/* ---------- schemas that exist already ---------- */

DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'dtm_barrier') THEN
    RAISE EXCEPTION 'schema "dtm_barrier" already exists'
      USING ERRCODE = 'duplicate_schema',
            DETAIL = 'The extension creates a table dtm_barrier.barrier with the same columns.',
            HINT = CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_proc WHERE proname = 'insert_row' AND pronamespace = 'dtm_barrier'::regnamespace)
                        THEN 'Replace what sql/participant.sql has created: copy the rows, drop the schema and its functions, create the extension, and put the rows back. docs/managed.md shows the statements.'
                        ELSE 'If a dtm SDK created the schema, adopt its rows: rename the schema, create the extension, and copy the rows. docs/compatibility.md shows the statements.' END;
  END IF;
  IF EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'dtm') THEN
    RAISE EXCEPTION 'schema "dtm" already exists'
      USING ERRCODE = 'duplicate_schema',
            HINT = 'Rename or drop the schema. The extension creates a schema of this name for its tables.';
  END IF;
END
$$;

/* ---------- schemas ---------- */

CREATE SCHEMA dtm;
COMMENT ON SCHEMA dtm IS 'dtm: tables, views and internal functions of the coordinator';
CREATE SCHEMA dtm_barrier;
COMMENT ON SCHEMA dtm_barrier IS 'dtm: the barrier''s table, where dtm''s SDKs expect it';

/* ---------- who submitted a transaction ---------- */

/*
 * A role, as regrole is one, but of which a dump can always be restored: a role
 * that does not exist becomes nobody (src/store/submitter.c).
 */
CREATE TYPE dtm.submitter;
CREATE FUNCTION dtm.submitter_in(cstring) RETURNS dtm.submitter
AS 'MODULE_PATHNAME', 'dtm_submitter_in' LANGUAGE C STABLE STRICT PARALLEL SAFE;
CREATE FUNCTION dtm.submitter_out(dtm.submitter) RETURNS cstring
AS 'MODULE_PATHNAME', 'dtm_submitter_out' LANGUAGE C STABLE STRICT PARALLEL SAFE;
CREATE TYPE dtm.submitter (
  INPUT = dtm.submitter_in, OUTPUT = dtm.submitter_out,
  INTERNALLENGTH = VARIABLE, ALIGNMENT = int4, STORAGE = plain
);
COMMENT ON TYPE dtm.submitter IS 'role that submitted a transaction: its OID, and its name, which remains when the role is dropped';

/* ---------- the coordinator's tables: docs/architecture.md, Storage ---------- */

/*
 * Where this database lives; elsewhere it starts paused.  There is one row, and
 * a second one where a dump has brought its own.  The key is random: that of
 * a restored row is not that of the row which CREATE EXTENSION has made.
 */
CREATE TABLE dtm.home (
  system_identifier bigint NOT NULL,
  database_oid oid NOT NULL,
  paused boolean NOT NULL,
  since timestamptz NOT NULL,
  directory text COLLATE "C",
  id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid() CONSTRAINT home_pkey PRIMARY KEY,
  citus_group integer,
  tag text COLLATE "C"
);
COMMENT ON TABLE dtm.home IS
  'the server and database that this coordinator belongs to, and whether it was paused';
COMMENT ON COLUMN dtm.home.directory IS
  'inode and creation time of a file in the data directory, which differ in a copy of the whole server; NULL: the coordinator has not run yet';

COMMENT ON COLUMN dtm.home.citus_group IS 'group of this node in a cluster of Citus; NULL: none, or the coordinator has not run yet';
COMMENT ON COLUMN dtm.home.tag IS 'what the gids end with that are generated on this node of Citus; NULL: nothing';

CREATE SEQUENCE dtm.request_id_seq;

/* Requests.  A row is written once; only the branches of a tcc or xa are added later. */
CREATE TABLE dtm.request (
  id bigint NOT NULL DEFAULT pg_catalog.nextval('dtm.request_id_seq') CONSTRAINT request_pkey PRIMARY KEY,
  created timestamptz NOT NULL,
  timeout_to_fail bigint,
  retry_interval bigint,
  delay bigint,
  submitted_by dtm.submitter NOT NULL,
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
  on_finish text COLLATE "C",
  step_options jsonb,
  results boolean,
  lane text COLLATE "C",
  lane_skips boolean,
  fairness_key text COLLATE "C",
  parent text COLLATE "C"
);
COMMENT ON TABLE dtm.request IS 'global transactions as they were submitted';
COMMENT ON COLUMN dtm.request.timeout_to_fail IS 'microseconds, as are retry_interval and delay';
COMMENT ON COLUMN dtm.request.request_timeout IS 'milliseconds';
COMMENT ON COLUMN dtm.request.orders IS 'pairs: a step, and a step that it starts after; steps are counted from 0';
COMMENT ON COLUMN dtm.request.branch_headers IS 'pairs: name, value';
COMMENT ON COLUMN dtm.request.action IS 'URLs of actions; of a tcc or xa, URLs of confirm or commit (and compensate has those of cancel or rollback); of a workflow, the registered ops';
COMMENT ON COLUMN dtm.request.branch_id IS 'ids of registered branches, and of steps that came from a topic; NULL: steps are numbered';
COMMENT ON COLUMN dtm.request.topic IS 'for each step that came from a topic, the URL of the topic';
COMMENT ON COLUMN dtm.request.workflow IS 'name of a workflow; workflow_data is the body of its callback';
COMMENT ON COLUMN dtm.request.result IS 'result of a submitted workflow, in base64';
COMMENT ON COLUMN dtm.request.parent IS 'gid of the transaction of whose end a message tells (on_finish)';
COMMENT ON COLUMN dtm.request.step_options IS 'for each step, an object of its options, or null; NULL: no step has any';
COMMENT ON COLUMN dtm.request.results IS 'whether the results of its branches are kept in dtm.result';
COMMENT ON COLUMN dtm.request.lane IS 'lane, line feed, and what tells lanes of several roles apart; lane_skips: whether it leaves the lane when it is parked';
COMMENT ON COLUMN dtm.request.fairness_key IS 'transactions of one role with different keys take turns';
COMMENT ON COLUMN dtm.request.notify IS 'whether a NOTIFY is sent when the transaction ends; on_finish is a URL that is called then';

/* States.  The only table that the coordinator searches: small and hot. */
CREATE TABLE dtm.active (
  id bigint NOT NULL CONSTRAINT active_pkey PRIMARY KEY,
  next_time timestamptz NOT NULL,
  updated timestamptz NOT NULL,
  version integer NOT NULL DEFAULT 0,
  failures smallint NOT NULL DEFAULT 0,
  retries smallint NOT NULL DEFAULT 0,
  status "char" NOT NULL,
  branch_status text COLLATE "C" NOT NULL,
  rollback_reason text COLLATE "C",
  attempts smallint[],
  parked timestamptz,
  parked_op smallint,
  parked_reason text COLLATE "C",
  held boolean,
  completions bigint[],
  delayed boolean,
  ongoing_since timestamptz,
  submitted_by dtm.submitter NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.1);
CREATE INDEX active_due ON dtm.active (next_time, id);
COMMENT ON TABLE dtm.active IS 'state of the global transactions that are not final';
COMMENT ON COLUMN dtm.active.version IS 'changes with every write; a writer that has read another version starts over';
COMMENT ON COLUMN dtm.active.ongoing_since IS 'first ONGOING since the last success; NULL: there was none';
COMMENT ON COLUMN dtm.active.submitted_by IS 'as in dtm.request, for views that would read thousands of its rows for nothing else';
COMMENT ON COLUMN dtm.active.delayed IS 'whether it waits for the delay of its submit; NULL: no';
COMMENT ON COLUMN dtm.active.branch_status IS 'a letter for each op of each branch: P, S, F';
COMMENT ON COLUMN dtm.active.attempts IS 'failed attempts of each op, where a step has a limit; NULL: none';
COMMENT ON COLUMN dtm.active.parked IS 'since when nothing is called until dtm_resume(gid); NULL: it is not parked';
COMMENT ON COLUMN dtm.active.parked_op IS 'position in branch_status, from 0, of the op for which it was parked; -1: query_prepared; NULL: none';
COMMENT ON COLUMN dtm.active.held IS 'true: another transaction of its lane goes before it; NULL: none';
COMMENT ON COLUMN dtm.active.completions IS 'for each op, until when it waits for dtm_complete(), in microseconds since 2000; -1, -2: it was completed before its turn, and has succeeded or failed; -3: it was completed as failed, and the transaction is parked; less: minus the time before which it is not called, because its response has asked for that; 0: none of them; NULL: all are 0';

/* Outcomes. */
CREATE TABLE dtm.finished (
  id bigint NOT NULL CONSTRAINT finished_pkey PRIMARY KEY,
  finished timestamptz NOT NULL,
  status "char" NOT NULL,
  branch_status text COLLATE "C" NOT NULL,
  rollback_reason text COLLATE "C",
  stopped boolean
);
COMMENT ON TABLE dtm.finished IS 'outcome of the global transactions that are final';
COMMENT ON COLUMN dtm.finished.stopped IS 'whether dtm_force_stop() has ended it; NULL: no';

/* Calls. */
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
/*
 * Without a key, a publication sends the whole old row of an update or delete; without
 * this, it would make them errors.  There is no natural key: two calls of an op can have
 * begun at the same time, where clocks are set back or dtm_run_due() has a time of its
 * own, and a call is never to be lost for that.  A number of its own, and a unique index
 * instead of this one, would make each call dearer for a few publications.
 */
ALTER TABLE dtm.attempt REPLICA IDENTITY FULL;
COMMENT ON TABLE dtm.attempt IS 'calls of branches, one row each';
COMMENT ON COLUMN dtm.attempt.duration IS 'microseconds';
COMMENT ON COLUMN dtm.attempt.branch IS 'position in branch_status, from 0; -1: query_prepared';

/* Results. */
CREATE TABLE dtm.result (
  id bigint NOT NULL,
  branch smallint NOT NULL,
  ok boolean NOT NULL,
  result jsonb,
  note text COLLATE "C",
  CONSTRAINT result_pkey PRIMARY KEY (id, branch)
);
COMMENT ON TABLE dtm.result IS 'results of branches, of the transactions that keep them';
COMMENT ON COLUMN dtm.result.branch IS 'position in branch_status, from 0';
COMMENT ON COLUMN dtm.result.ok IS 'whether the branch has succeeded';
COMMENT ON COLUMN dtm.result.note IS 'why result is NULL although there was a response, or a text although that was JSON';
/* What operators have done to them. */
CREATE TABLE dtm.act (
  id bigint NOT NULL,
  ordinal integer NOT NULL,
  done timestamptz NOT NULL,
  role dtm.submitter NOT NULL,
  what text COLLATE "C" NOT NULL,
  branch smallint,
  reason text,
  detail jsonb,
  whole_branch boolean,
  CONSTRAINT act_pkey PRIMARY KEY (id, ordinal)
);
COMMENT ON TABLE dtm.act IS 'what operators have done to global transactions, one row for each act';
COMMENT ON COLUMN dtm.act.ordinal IS 'number of the act among those of the transaction, from 1';
COMMENT ON COLUMN dtm.act.branch IS 'position in branch_status, from 0; NULL: the whole transaction';
COMMENT ON COLUMN dtm.act.whole_branch IS 'whether it concerns the branch of that op, and not this op alone; NULL: no';
/* Steps that messages have left out. */
CREATE TABLE dtm.dead_letter (
  id bigint NOT NULL,
  branch smallint NOT NULL,
  discarded timestamptz NOT NULL,
  reason text COLLATE "C" NOT NULL,
  CONSTRAINT dead_letter_pkey PRIMARY KEY (id, branch)
);
COMMENT ON TABLE dtm.dead_letter IS 'steps of messages that were discarded by their policy';
COMMENT ON COLUMN dtm.dead_letter.branch IS 'position in branch_status, from 0';

/* Transactions that run one after another. */
CREATE TABLE dtm.lane (
  lane text COLLATE "C" NOT NULL,
  id bigint NOT NULL,
  role dtm.submitter,
  CONSTRAINT lane_pkey PRIMARY KEY (lane, id)
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX lane_itself ON dtm.lane (lane) WHERE id = 0;
COMMENT ON TABLE dtm.lane IS 'transactions that are in a lane, and one row for each lane, which has id 0';
COMMENT ON COLUMN dtm.lane.lane IS 'as in dtm.request';
COMMENT ON COLUMN dtm.lane.role IS 'with id 0: whose lane it is';

/* Topics, with the URLs to which their messages go. */
CREATE TABLE dtm.topic (
  name text COLLATE "C" NOT NULL CONSTRAINT topic_pkey PRIMARY KEY,
  version integer NOT NULL,
  url text[] COLLATE "C" NOT NULL,
  remark text[] COLLATE "C" NOT NULL
);
COMMENT ON TABLE dtm.topic IS 'topics, and the URLs that are subscribed to them, in order';
COMMENT ON COLUMN dtm.topic.version IS '1 at creation; each change adds one';

SELECT pg_catalog.pg_extension_config_dump('dtm.home', '');
SELECT pg_catalog.pg_extension_config_dump('dtm.request', '');
SELECT pg_catalog.pg_extension_config_dump('dtm.request_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('dtm.active', '');
SELECT pg_catalog.pg_extension_config_dump('dtm.finished', '');
SELECT pg_catalog.pg_extension_config_dump('dtm.attempt', '');
SELECT pg_catalog.pg_extension_config_dump('dtm.result', '');
SELECT pg_catalog.pg_extension_config_dump('dtm.act', '');
SELECT pg_catalog.pg_extension_config_dump('dtm.dead_letter', '');
SELECT pg_catalog.pg_extension_config_dump('dtm.lane', '');
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
COMMENT ON TABLE dtm_barrier.barrier IS 'branch operations that have been executed or are rejected';

SELECT pg_catalog.pg_extension_config_dump('dtm_barrier.barrier', '');
SELECT pg_catalog.pg_extension_config_dump('dtm_barrier.barrier_seq', '');

/* ---------- submitting ---------- */

CREATE TYPE @extschema@.dtm_step AS (
  action text,
  compensate text,
  payload bytea,
  options jsonb
);
COMMENT ON TYPE @extschema@.dtm_step IS 'a step of a saga or msg; payload is the body of its requests';

CREATE FUNCTION @extschema@.dtm_step(action text, compensate text DEFAULT '', payload jsonb DEFAULT NULL, options jsonb DEFAULT NULL)
RETURNS @extschema@.dtm_step
AS 'MODULE_PATHNAME', 'dtm_step' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.dtm_step(text, text, jsonb, jsonb) IS
  'returns a step of a saga or msg: the URL of its action, the URL of its compensation, the body for both, and its options';

/*
 * A literal, or a parameter without a type, is text; so the other forms need no
 * cast either.
 */
CREATE FUNCTION @extschema@.dtm_step(action text, compensate text, payload json, options jsonb DEFAULT NULL)
RETURNS @extschema@.dtm_step
AS 'MODULE_PATHNAME', 'dtm_step_text' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.dtm_step(text, text, json, jsonb) IS
  'the same with a JSON text, which is sent to the letter';

CREATE FUNCTION @extschema@.dtm_step(action text, compensate text, payload text, options jsonb DEFAULT NULL)
RETURNS @extschema@.dtm_step
AS 'MODULE_PATHNAME', 'dtm_step_text' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.dtm_step(text, text, text, jsonb) IS
  'the same with a text: JSON, which is sent to the letter, or what option content_type says';

CREATE FUNCTION @extschema@.dtm_step(action text, compensate text, payload bytea, options jsonb DEFAULT NULL)
RETURNS @extschema@.dtm_step
AS 'MODULE_PATHNAME', 'dtm_step_bytes' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.dtm_step(text, text, bytea, jsonb) IS
  'the same with bytes';

CREATE FUNCTION @extschema@.dtm_new_gid() RETURNS text
AS 'MODULE_PATHNAME', 'dtm_new_gid' LANGUAGE C VOLATILE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.dtm_new_gid() IS 'returns a new unique gid; gids sort by time';

CREATE FUNCTION @extschema@.dtm_submit(trans_type text, steps @extschema@.dtm_step[] DEFAULT '{}', gid text DEFAULT NULL, options jsonb DEFAULT '{}')
RETURNS text
AS 'MODULE_PATHNAME', 'dtm_submit' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_submit(text, @extschema@.dtm_step[], text, jsonb) IS
  'submits a global transaction, which starts when the current transaction commits; returns its gid';

CREATE FUNCTION @extschema@.dtm_submit(trans_type text, steps jsonb, gid text DEFAULT NULL, options jsonb DEFAULT '{}')
RETURNS text
AS 'MODULE_PATHNAME', 'dtm_submit_json' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_submit(text, jsonb, text, jsonb) IS
  'submits a global transaction whose steps are a JSON array of objects; returns its gid';

CREATE FUNCTION @extschema@.dtm_submit(trans_type text, steps json, gid text DEFAULT NULL, options jsonb DEFAULT '{}')
RETURNS text
AS 'MODULE_PATHNAME', 'dtm_submit_text' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_submit(text, json, text, jsonb) IS
  'submits a global transaction whose steps are a JSON array of objects; returns its gid';

CREATE FUNCTION @extschema@.dtm_submit(trans_type text, steps text, gid text DEFAULT NULL, options jsonb DEFAULT '{}')
RETURNS text
AS 'MODULE_PATHNAME', 'dtm_submit_text' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_submit(text, text, text, jsonb) IS
  'submits a global transaction whose steps are a JSON array of objects; returns its gid';

CREATE FUNCTION @extschema@.dtm_submit(request jsonb) RETURNS text
AS 'MODULE_PATHNAME', 'dtm_submit_request' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_submit(jsonb) IS
  'submits a global transaction from the object that dtm''s SDKs send';

CREATE FUNCTION @extschema@.dtm_prepare(trans_type text, gid text DEFAULT NULL, steps @extschema@.dtm_step[] DEFAULT '{}', options jsonb DEFAULT '{}')
RETURNS text
AS 'MODULE_PATHNAME', 'dtm_prepare' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_prepare(text, text, @extschema@.dtm_step[], jsonb) IS
  'prepares a global transaction, which waits for dtm_submit or dtm_abort; returns its gid';

CREATE FUNCTION @extschema@.dtm_prepare(trans_type text, gid text, steps jsonb, options jsonb DEFAULT '{}')
RETURNS text
AS 'MODULE_PATHNAME', 'dtm_prepare_json' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_prepare(text, text, jsonb, jsonb) IS
  'prepares a global transaction whose steps are a JSON array of objects; returns its gid';

CREATE FUNCTION @extschema@.dtm_prepare(trans_type text, gid text, steps json, options jsonb DEFAULT '{}')
RETURNS text
AS 'MODULE_PATHNAME', 'dtm_prepare_text' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_prepare(text, text, json, jsonb) IS
  'prepares a global transaction whose steps are a JSON array of objects; returns its gid';

CREATE FUNCTION @extschema@.dtm_prepare(trans_type text, gid text, steps text, options jsonb DEFAULT '{}')
RETURNS text
AS 'MODULE_PATHNAME', 'dtm_prepare_text' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_prepare(text, text, text, jsonb) IS
  'prepares a global transaction whose steps are a JSON array of objects; returns its gid';

CREATE FUNCTION @extschema@.dtm_prepare(request jsonb) RETURNS text
AS 'MODULE_PATHNAME', 'dtm_prepare_request' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_prepare(jsonb) IS
  'prepares a global transaction from the object that dtm''s SDKs send';

CREATE FUNCTION @extschema@.dtm_abort(gid text, reason text DEFAULT NULL) RETURNS void
AS 'MODULE_PATHNAME', 'dtm_abort' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_abort(text, text) IS 'rolls back a saga, or a prepared tcc or xa; ends a prepared msg as failed';

/* ---------- branches and workflows ---------- */

CREATE FUNCTION @extschema@.dtm_register_branch(gid text, branch_id text, confirm text, cancel text, payload jsonb DEFAULT NULL, options jsonb DEFAULT NULL) RETURNS void
AS 'MODULE_PATHNAME', 'dtm_register_branch' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_register_branch(text, text, text, text, jsonb, jsonb) IS
  'adds a branch to a prepared tcc: the URLs of confirm and cancel, the body for both, and options as of a step';

CREATE FUNCTION @extschema@.dtm_register_branch(gid text, branch_id text, url text, options jsonb DEFAULT NULL) RETURNS void
AS 'MODULE_PATHNAME', 'dtm_register_xa_branch' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_register_branch(text, text, text, jsonb) IS
  'adds a branch to a prepared xa: the URL that commits or rolls back the branch, and options as of a step';

CREATE FUNCTION @extschema@.dtm_register_branch(request jsonb) RETURNS void
AS 'MODULE_PATHNAME', 'dtm_register_branch_request' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_register_branch(jsonb) IS
  'adds a branch from the object that dtm''s SDKs send, with options as of a step beside its keys';

CREATE FUNCTION dtm.open_workflow(request jsonb) RETURNS text
AS 'MODULE_PATHNAME', 'dtm_open_workflow' LANGUAGE C VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION @extschema@.dtm_prepare_workflow(request jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
AS $$
DECLARE
  gid pg_catalog.text;
  answer pg_catalog.jsonb;
BEGIN
  gid := dtm.open_workflow(request);
  /* a separate statement, whose snapshot includes the new row */
  answer := dtm.query(gid);
  RETURN pg_catalog.jsonb_build_object('transaction', answer OPERATOR(pg_catalog.->) 'transaction',
                                       'progresses', answer OPERATOR(pg_catalog.->) 'branches');
END
$$;
COMMENT ON FUNCTION @extschema@.dtm_prepare_workflow(jsonb) IS
  'prepares a workflow, or finds it, and returns it with its registered results';

/* ---------- topics ---------- */

CREATE FUNCTION dtm.check_url(url text, what text) RETURNS void
AS 'MODULE_PATHNAME', 'dtm_check_url' LANGUAGE C STABLE;

CREATE FUNCTION dtm.check_topic(topic text) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF topic IS NULL OR topic = '' THEN
    /* here and below, messages are dtm's words, which clients match (docs/spec/dtm-wire.md): they stay */
    RAISE EXCEPTION 'empty topic'
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass the name of a topic, as in topic://name.';
  END IF;
END
$$;

CREATE FUNCTION dtm.error_no_topic(topic text) RETURNS void
LANGUAGE plpgsql STABLE
AS $$
BEGIN
  /* "no such a topic" are dtm's words: they stay */
  RAISE EXCEPTION 'no such a topic: "%"', topic
    USING ERRCODE = 'undefined_object', HINT = 'Use a topic that is listed in dtm.topics.';
END
$$;

/*
 * The settings with which all runs as the owner (src/store/own.c), until the end
 * of the function that calls it, which has a SET clause.
 */
CREATE FUNCTION dtm.own_settings() RETURNS void
AS 'MODULE_PATHNAME', 'dtm_own_settings' LANGUAGE C VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION @extschema@.dtm_subscribe(topic text, url text, remark text DEFAULT '') RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  urls text[];
BEGIN
  PERFORM dtm.own_settings();
  PERFORM dtm.check_topic(topic);
  IF url IS NULL OR url = '' THEN
    RAISE EXCEPTION 'empty url'
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass the URL to which messages of the topic should go.';
  END IF;
  IF length(topic) > 128 THEN
    RAISE EXCEPTION 'argument "topic" is longer than 128 characters'
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Use a shorter name.';
  END IF;
  IF length(remark) > 1000 THEN
    RAISE EXCEPTION 'argument "remark" is longer than 1000 characters'
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Say it briefly, and where the rest can be read.';
  END IF;
  PERFORM dtm.check_url(url, 'topic ' || topic);
  /* concurrent changes of a topic wait here for each other */
  INSERT INTO dtm.topic AS t VALUES (topic, 1, '{}', '{}')
    ON CONFLICT (name) DO UPDATE SET version = t.version + 1
    RETURNING t.url INTO urls;
  IF url = ANY (urls) THEN
    RAISE EXCEPTION 'this url exists'
      USING ERRCODE = 'unique_violation', DETAIL = format('Topic "%s" already has the URL "%s".', topic, url),
            HINT = 'Subscribe each URL only once.';
  END IF;
  UPDATE dtm.topic t SET url = t.url || $2, remark = t.remark || COALESCE($3, '') WHERE t.name = $1;
END
$$;
COMMENT ON FUNCTION @extschema@.dtm_subscribe(text, text, text) IS
  'adds a URL to a topic';

CREATE FUNCTION @extschema@.dtm_unsubscribe(topic text, url text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  urls text[];
  place integer;
BEGIN
  PERFORM dtm.own_settings();
  PERFORM dtm.check_topic(topic);
  IF url IS NULL OR url = '' THEN
    RAISE EXCEPTION 'empty url'
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass a URL that is subscribed to the topic; dtm.topics lists them.';
  END IF;
  SELECT t.url INTO urls FROM dtm.topic t WHERE t.name = topic FOR UPDATE;
  IF NOT FOUND THEN
    PERFORM dtm.error_no_topic(topic);
  END IF;
  IF cardinality(urls) = 0 THEN
    RAISE EXCEPTION 'this topic is empty'
      USING ERRCODE = 'undefined_object', DETAIL = format('No URL is subscribed to topic "%s".', topic),
            HINT = 'Pass a URL that is subscribed to the topic; dtm.topics lists them.';
  END IF;
  place := array_position(urls, url);
  IF place IS NULL THEN
    /* "no such an url" are dtm's words: they stay */
    RAISE EXCEPTION 'no such an url'
      USING ERRCODE = 'undefined_object', DETAIL = format('Topic "%s" does not have the URL "%s".', topic, url),
            HINT = 'Pass a URL that is subscribed to the topic; dtm.topics lists them.';
  END IF;
  UPDATE dtm.topic t
     SET url = t.url[:place - 1] || t.url[place + 1:],
         remark = t.remark[:place - 1] || t.remark[place + 1:],
         version = t.version + 1
   WHERE t.name = topic;
END
$$;
COMMENT ON FUNCTION @extschema@.dtm_unsubscribe(text, text) IS
  'removes a URL from a topic';

CREATE FUNCTION @extschema@.dtm_delete_topic(topic text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM dtm.own_settings();
  PERFORM dtm.check_topic(topic);
  DELETE FROM dtm.topic t WHERE t.name = topic;
  IF NOT FOUND THEN
    PERFORM dtm.error_no_topic(topic);
  END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.dtm_delete_topic(text) IS
  'removes a topic and its subscriptions; submitted messages are not affected';

CREATE VIEW dtm.topics AS
  SELECT t.name AS topic, t.version, u.ordinal::integer AS ordinal, u.url, u.remark
    FROM dtm.topic t
         LEFT JOIN LATERAL ROWS FROM (pg_catalog.unnest(t.url), pg_catalog.unnest(t.remark))
           WITH ORDINALITY u(url, remark, ordinal) ON true;
COMMENT ON VIEW dtm.topics IS 'topics: a row for each subscribed URL, or one row for a topic without URLs';
COMMENT ON COLUMN dtm.topics.topic IS 'name, as in topic://name';
COMMENT ON COLUMN dtm.topics.version IS '1 at creation; each change adds one';
COMMENT ON COLUMN dtm.topics.ordinal IS 'position of the URL, from 1; NULL: the topic has no URLs';
COMMENT ON COLUMN dtm.topics.url IS 'URL to which messages of the topic go';
COMMENT ON COLUMN dtm.topics.remark IS 'remark that was passed to dtm_subscribe()';

/* ---------- functions for participants ---------- */

CREATE FUNCTION @extschema@.dtm_barrier(trans_type text, gid text, branch_id text, op text, barrier_id text DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'dtm_barrier' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_barrier(text, text, text, text, text) IS
  'true: make the changes of this branch operation; false: skip them and return success';

CREATE FUNCTION @extschema@.dtm_query_prepared(gid text) RETURNS boolean
AS 'MODULE_PATHNAME', 'dtm_query_prepared' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_query_prepared(text) IS
  'returns whether the local transaction of a msg has committed; if it did not, prevents it from committing later';

CREATE FUNCTION @extschema@.dtm_barrier_in(barrier_table regclass, key anyelement, trans_type text, gid text, branch_id text, op text, barrier_id text DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'dtm_barrier_in' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_barrier_in(regclass, anyelement, text, text, text, text, text) IS
  'the same as dtm_barrier(), with a row in a table of your own, found by the key of what the branch changes';

CREATE FUNCTION @extschema@.dtm_query_prepared_in(barrier_table regclass, key anyelement, gid text) RETURNS boolean
AS 'MODULE_PATHNAME', 'dtm_query_prepared_in' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_query_prepared_in(regclass, anyelement, text) IS
  'the same as dtm_query_prepared(), for a barrier of dtm_barrier_in()';

/* ---------- monitoring: names for stored values ---------- */

/*
 * core defines names, branch ids, and the positions of ops (src/core/names.c).
 * Position n of an op counts from 0, a step counts from 1; position -1 is the
 * query of a prepared msg or saga, and the callback of a workflow.
 */
CREATE FUNCTION dtm.trans_type_name("char") RETURNS text
AS 'MODULE_PATHNAME', 'dtm_sql_trans_type_name' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION dtm.status_name("char") RETURNS text
AS 'MODULE_PATHNAME', 'dtm_sql_status_name' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION dtm.branch_status_name(text) RETURNS text
AS 'MODULE_PATHNAME', 'dtm_sql_branch_status_name' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION dtm.result_name("char") RETURNS text
AS 'MODULE_PATHNAME', 'dtm_sql_result_name' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION dtm.op_step(trans_type "char", n integer) RETURNS integer
AS 'MODULE_PATHNAME', 'dtm_sql_op_step' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION dtm.op_undoes(trans_type "char", n integer) RETURNS boolean
AS 'MODULE_PATHNAME', 'dtm_sql_op_undoes' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION dtm.op_name(trans_type "char", n integer, workflow text, action text[]) RETURNS text
AS 'MODULE_PATHNAME', 'dtm_sql_op_name' LANGUAGE C IMMUTABLE PARALLEL SAFE;

/* NULL for the ops of a workflow, which the coordinator never calls. */
CREATE FUNCTION dtm.op_url(trans_type "char", n integer, action text[], compensate text[]) RETURNS text
AS 'MODULE_PATHNAME', 'dtm_sql_op_url' LANGUAGE C IMMUTABLE PARALLEL SAFE;

CREATE FUNCTION dtm.step_branch_id(branch_id text[], step integer) RETURNS text
AS 'MODULE_PATHNAME', 'dtm_sql_step_branch_id' LANGUAGE C IMMUTABLE PARALLEL SAFE;

/* Of the op at a place; 00: of the query, or the callback. */
CREATE FUNCTION dtm.op_branch_id(trans_type "char", n integer, branch_id text[]) RETURNS text
AS 'MODULE_PATHNAME', 'dtm_sql_op_branch_id' LANGUAGE C IMMUTABLE PARALLEL SAFE;

/* The step that an unfinished transaction is at; NULL: none. */
CREATE FUNCTION dtm.current_step(trans_type "char", status "char", branch_status text) RETURNS integer
AS 'MODULE_PATHNAME', 'dtm_sql_current_step' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

/* Converts microseconds to seconds, for options. */
CREATE FUNCTION dtm.seconds(bigint) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT pg_catalog.trim_scale($1::pg_catalog.numeric OPERATOR(pg_catalog./) 1000000.0) $$;

CREATE FUNCTION dtm.alert_retry_limit() RETURNS integer
AS 'MODULE_PATHNAME', 'dtm_get_alert_retry_limit' LANGUAGE C STABLE PARALLEL SAFE;

CREATE FUNCTION dtm.stuck_after() RETURNS interval
AS 'MODULE_PATHNAME', 'dtm_get_stuck_after' LANGUAGE C STABLE PARALLEL SAFE;

/* ---------- monitoring: visibility ---------- */

/*
 * A role that may execute this function is an administrator: it sees and steers
 * the transactions of all roles.  dtm_admin may, even if it is renamed.
 */
CREATE FUNCTION dtm.administer() RETURNS void
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT $$;

CREATE FUNCTION dtm.submitter(role oid) RETURNS dtm.submitter
AS 'MODULE_PATHNAME', 'dtm_submitter_of_role' LANGUAGE C STABLE STRICT PARALLEL SAFE;
CREATE CAST (oid AS dtm.submitter) WITH FUNCTION dtm.submitter(oid) AS ASSIGNMENT;

/* NULL: the role no longer exists. */
CREATE FUNCTION dtm.submitter_role(dtm.submitter) RETURNS regrole
AS 'MODULE_PATHNAME', 'dtm_submitter_role' LANGUAGE C STABLE STRICT PARALLEL SAFE;

/* The sentence that the role no longer exists; NULL: it exists. */
CREATE FUNCTION dtm.submitter_problem(dtm.submitter) RETURNS text
AS 'MODULE_PATHNAME', 'dtm_submitter_problem' LANGUAGE C STABLE STRICT PARALLEL SAFE;

/* May the current role see transactions of that role?  NULL: the role no longer exists. */
CREATE FUNCTION dtm.visible(role oid) RETURNS boolean
AS 'MODULE_PATHNAME', 'dtm_visible' LANGUAGE C STABLE PARALLEL SAFE;

/* May it see those of all roles? */
CREATE FUNCTION dtm.sees_all() RETURNS boolean
AS 'MODULE_PATHNAME', 'dtm_sees_all' LANGUAGE C STABLE PARALLEL SAFE;

/*
 * The same of who submitted, cheap enough for each of many rows.  Its COST is too high,
 * so that plans do not read all of dtm.request to find a few thousands in it.
 */
CREATE FUNCTION dtm.visible(dtm.submitter) RETURNS boolean
AS 'MODULE_PATHNAME', 'dtm_visible_submitter' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100;

/* ---------- monitoring: views ---------- */

/*
 * How these views find rows.
 *
 * Which rows a role may see is decided by dtm.visible() in the view, below a
 * security barrier: conditions of a query that could tell somebody what they see
 * run only on rows that are visible.  PostgreSQL plans such a view by itself.
 * Conditions of the query that tell nothing (=, <, IS NULL) go into it; ORDER BY,
 * LIMIT and joins do not.  So dtm.transactions is sorted inside, the newest first,
 * and has a part each for the transactions that have not ended, that have
 * succeeded, that have failed, and that were stopped.  What is the same for all
 * rows of a part is a constant there:
 *
 * - A condition on state or status leaves out the parts that it does not concern,
 *   however many rows they have.
 * - In each part, the primary keys have the order: the newest rows are read, and no
 *   more.
 * - A condition on gid or id goes into each part, to the index.
 * - A condition on finished finds its rows by the index finished_when.
 * - What costs much is computed outside of the parts, and left out where a query does
 *   not ask for the column.
 */
CREATE INDEX finished_when ON dtm.finished USING brin (finished) WITH (pages_per_range = 128);
CREATE INDEX finished_failed ON dtm.finished (id) WHERE status <> 'S';
CREATE INDEX finished_stopped ON dtm.finished (id) WHERE stopped;

/*
 * What a transaction that has not ended does, in words: by what is in dtm.active, so
 * that nothing else is looked at for those that a query does not ask for.
 */
CREATE FUNCTION dtm.active_state(status "char", next_time timestamptz, failures smallint, delayed boolean, held boolean) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
AS $$
  SELECT CASE WHEN $1 OPERATOR(pg_catalog.=) 'p' THEN 'waiting'
              WHEN $5 IS TRUE THEN 'waiting'
              WHEN $2 OPERATOR(pg_catalog.=) 'infinity' THEN 'parked'
              WHEN $1 OPERATOR(pg_catalog.=) 'a' THEN 'rolling back'
              WHEN $3 OPERATOR(pg_catalog.>) 0::pg_catalog.int2 THEN 'retrying'
              WHEN $2 OPERATOR(pg_catalog.<=) pg_catalog.statement_timestamp() THEN 'running'
              WHEN $4 THEN 'scheduled'
              ELSE 'waiting' END
$$;

/* A body as JSON; what is no JSON as a string; NULL: it is no text. */
CREATE FUNCTION dtm.readable(body text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN body::jsonb;
EXCEPTION WHEN data_exception OR program_limit_exceeded OR statement_too_complex THEN
  RETURN to_jsonb(body);
END
$$;

CREATE FUNCTION dtm.readable(body bytea) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN dtm.readable(convert_from(body, 'UTF8'));
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
  RETURN NULL;
END
$$;

/* Pairs of steps as the option orders has them. */
CREATE FUNCTION dtm.orders(pairs integer[]) RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 10
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT jsonb_object_agg(o.step::text, o.pre)
    FROM (SELECT $1[n] AS step, jsonb_agg($1[n + 1] ORDER BY n) AS pre
            FROM generate_series(1, cardinality($1), 2) n
           GROUP BY 1) o
$$;

CREATE VIEW dtm.transactions WITH (security_barrier) AS
  SELECT s.gid,
         dtm.trans_type_name(s.trans_type) AS trans_type,
         s.state,
         s.status,
         s.created,
         s.updated,
         s.ended AS finished,
         s.next_attempt,
         s.rollback_reason,
         dtm.submitter_role(s.submitted_by) AS submitted_by,
         pg_catalog.cardinality(s.action) AS steps,
         COALESCE(s.failures, (SELECT pg_catalog.count(*) FROM dtm.attempt t WHERE t.id = s.id AND t.result = 'E')::integer) AS failures,
         pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
           'timeout_to_fail', dtm.seconds(s.timeout_to_fail),
           'retry_interval', dtm.seconds(s.retry_interval),
           'request_timeout', dtm.seconds(s.request_timeout * 1000::bigint),
           'retry_limit', s.retry_limit,
           'delay', dtm.seconds(s.delay),
           'concurrent', NULLIF(s.concurrent, false),
           'wait_result', NULLIF(s.wait_result, false),
           'query_prepared', s.query_prepared,
           'protocol', s.protocol,
           'name', s.workflow,
           'notify', s.notify,
           'on_finish', s.on_finish,
           'results', s.results,
           'lane', pg_catalog.split_part(s.lane, E'\n', 1),
           'lane_on_park', CASE WHEN s.lane_skips THEN 'skip' END,
           'fairness_key', s.fairness_key,
           'branch_headers', CASE WHEN s.branch_headers IS NOT NULL THEN pg_catalog.jsonb_object(s.branch_headers) END,
           'orders', dtm.orders(s.orders))) AS options,
         s.id,
         s.result,
         CASE WHEN s.ended IS NULL THEN dtm.current_step(s.trans_type, s.letter, s.branch_status) END AS current_step,
         dtm.op_branch_id(s.trans_type, s.failed_n, s.branch_id) AS failed_branch,
         dtm.op_name(s.trans_type, s.failed_n, s.workflow, s.action) AS failed_op,
         CASE s.failed
           WHEN 'E' THEN
           COALESCE((SELECT x.result FROM dtm.result x WHERE x.id = s.id AND x.branch = s.failed_n AND NOT x.ok),
                    dtm.readable((SELECT t.error FROM dtm.attempt t
                                   WHERE t.id = s.id AND t.branch = s.failed_n AND t.result IN ('E', 'F', 'X') ORDER BY t.started DESC LIMIT 1)))
           WHEN 'F' THEN
           COALESCE(dtm.readable((SELECT t.error FROM dtm.attempt t
                                   WHERE t.id = s.id AND t.branch = s.failed_n AND t.result = 'F' ORDER BY t.started DESC LIMIT 1)),
                    (SELECT COALESCE(x.result, pg_catalog.to_jsonb(s.rollback_reason)) FROM dtm.result x
                      WHERE x.id = s.id AND x.branch = s.failed_n AND NOT x.ok),
                    dtm.readable((SELECT COALESCE(c.reason, s.rollback_reason) FROM dtm.act c
                                   WHERE c.id = s.id AND c.branch = s.failed_n AND c.what = 'skip as failed' ORDER BY c.ordinal DESC LIMIT 1)),
                    dtm.readable((SELECT t.error FROM dtm.attempt t
                                   WHERE t.id = s.id AND t.branch = s.failed_n AND t.result IN ('E', 'X') ORDER BY t.started DESC LIMIT 1)),
                    CASE WHEN s.trans_type = 'w' AND s.failed_n IS NOT NULL THEN dtm.readable(s.payload[s.failed_n + 1]) END)
         END AS failure,
         s.parent
    FROM (SELECT u.*,
                 /*
                  * 'E', what is retried or parked: the op that it is parked for, or else the latest call without success of an
                  * op that is called now.  'F', why it is or was rolled back, or what a message has left out: what a message
                  * left out first; or the first call that was refused, of what does not undo; or what was completed as failed,
                  * or skipped as failed; or the last call of what was not called any more; or the result of a workflow.
                  */
                 CASE u.failed
                   WHEN 'E' THEN
                   COALESCE(u.parked_op,
                            (SELECT t.branch FROM dtm.attempt t
                              WHERE t.id = u.id AND t.result IN ('E', 'F', 'X') AND
                                    CASE WHEN t.branch < 0 THEN u.letter = 'p'
                                         ELSE pg_catalog.substr(u.branch_status, t.branch + 1, 1) = 'P' AND
                                              dtm.op_undoes(u.trans_type, t.branch) = (u.letter = 'a') END
                              ORDER BY t.started DESC LIMIT 1))
                   WHEN 'F' THEN
                   COALESCE((SELECT d.branch FROM dtm.dead_letter d WHERE d.id = u.id ORDER BY d.discarded, d.branch LIMIT 1),
                            (SELECT t.branch FROM dtm.attempt t
                              WHERE t.id = u.id AND t.result = 'F' AND
                                    CASE WHEN t.branch < 0 THEN u.trans_type <> 'w'
                                         ELSE pg_catalog.substr(u.branch_status, t.branch + 1, 1) = 'F' AND NOT dtm.op_undoes(u.trans_type, t.branch) END
                              ORDER BY t.started + pg_catalog.make_interval(secs => (t.duration::pg_catalog.float8 OPERATOR(pg_catalog./) 1000000::pg_catalog.float8)) LIMIT 1),
                            (SELECT x.branch FROM dtm.result x WHERE x.id = u.id AND NOT x.ok AND NOT dtm.op_undoes(u.trans_type, x.branch) ORDER BY x.branch DESC LIMIT 1),
                            (SELECT c.branch FROM dtm.act c WHERE c.id = u.id AND c.what = 'skip as failed' ORDER BY c.ordinal DESC LIMIT 1),
                            (SELECT t.branch FROM dtm.attempt t
                              WHERE t.id = u.id AND t.result IN ('E', 'X') AND NOT dtm.op_undoes(u.trans_type, t.branch) AND
                                    (u.rollback_reason LIKE 'url:%' OR u.rollback_reason LIKE 'RetryCount is greater %')
                              ORDER BY t.started DESC LIMIT 1),
                            CASE WHEN u.trans_type = 'w' THEN
                              NULLIF(pg_catalog.length(u.branch_status) - pg_catalog.strpos(pg_catalog.reverse(u.branch_status), 'F'), pg_catalog.length(u.branch_status)) END)
                 END AS failed_n
    FROM ((SELECT dtm.active_state(a.status, a.next_time, a.failures, a.delayed, a.held) AS state, dtm.status_name(a.status) AS status,
                  a.status AS letter, a.branch_status, a.updated, NULL::timestamptz AS ended, NULLIF(a.next_time, 'infinity') AS next_attempt,
                  a.rollback_reason, a.failures::integer AS failures,
                  CASE WHEN a.failures > 0 OR a.parked IS NOT NULL THEN 'E'::"char" WHEN a.status = 'a' THEN 'F'::"char" END AS failed, a.parked_op, r.*
             FROM dtm.active a JOIN dtm.request r ON r.id = a.id
            WHERE dtm.visible(r.submitted_by)
            ORDER BY a.id DESC)
          UNION ALL
          (SELECT 'succeeded', 'succeed', f.status, f.branch_status, f.finished, f.finished, NULL, f.rollback_reason, NULL, NULL, NULL, r.*
             FROM dtm.finished f JOIN dtm.request r ON r.id = f.id
            WHERE f.status = 'S' AND dtm.visible(r.submitted_by)
            ORDER BY f.id DESC)
          UNION ALL
          (SELECT 'failed', 'failed', f.status, f.branch_status, f.finished, f.finished, NULL, f.rollback_reason, NULL, 'F', NULL, r.*
             FROM dtm.finished f JOIN dtm.request r ON r.id = f.id
            WHERE f.status <> 'S' AND f.stopped IS NULL AND dtm.visible(r.submitted_by)
            ORDER BY f.id DESC)
          UNION ALL
          (SELECT 'stopped', 'failed', f.status, f.branch_status, f.finished, f.finished, NULL, f.rollback_reason, NULL, NULL, NULL, r.*
             FROM dtm.finished f JOIN dtm.request r ON r.id = f.id
            WHERE f.status <> 'S' AND f.stopped AND dtm.visible(r.submitted_by)
            ORDER BY f.id DESC)) u) s
   ORDER BY s.id DESC;
COMMENT ON VIEW dtm.transactions IS 'global transactions that the current role is allowed to see, the newest first';
COMMENT ON COLUMN dtm.transactions.gid IS 'name of the transaction';
COMMENT ON COLUMN dtm.transactions.trans_type IS 'saga, tcc, xa, msg or workflow';
COMMENT ON COLUMN dtm.transactions.state IS 'scheduled, running, waiting (for its submit, or for a branch that is not done yet), retrying, parked (until somebody steers it), rolling back, succeeded, failed or stopped (by dtm_force_stop)';
COMMENT ON COLUMN dtm.transactions.status IS 'prepared, submitted, aborting, succeed or failed: the words of the dtm server';
COMMENT ON COLUMN dtm.transactions.created IS 'when it was submitted or prepared';
COMMENT ON COLUMN dtm.transactions.updated IS 'when its state was last changed';
COMMENT ON COLUMN dtm.transactions.finished IS 'when it ended; NULL: it has not ended';
COMMENT ON COLUMN dtm.transactions.next_attempt IS 'when the coordinator processes it again; NULL: never, or at once';
COMMENT ON COLUMN dtm.transactions.rollback_reason IS 'why it was rolled back';
COMMENT ON COLUMN dtm.transactions.submitted_by IS 'role that submitted it; NULL: the role no longer exists';
COMMENT ON COLUMN dtm.transactions.steps IS 'number of its steps or registered branches';
COMMENT ON COLUMN dtm.transactions.failures IS 'number of consecutive temporary errors; of a transaction that has ended, of all temporary errors';
COMMENT ON COLUMN dtm.transactions.options IS 'options of the submit; times are in seconds';
COMMENT ON COLUMN dtm.transactions.id IS 'number of the transaction, in the order of submits';
COMMENT ON COLUMN dtm.transactions.result IS 'result of a workflow, in base64';
COMMENT ON COLUMN dtm.transactions.current_step IS 'number of the step or branch that is called now, or next; NULL: it is prepared, or has ended';
COMMENT ON COLUMN dtm.transactions.failed_branch IS 'branch that is retried, or for which the transaction is parked; else the one that was refused (by its response, by its last attempt or by an operator) so that the transaction is or was rolled back, or that a message has discarded; NULL: none';
COMMENT ON COLUMN dtm.transactions.failed_op IS 'op of that branch';
COMMENT ON COLUMN dtm.transactions.failure IS 'body of that response, the error, or what was said of it: JSON as it is, other text as a string';
COMMENT ON COLUMN dtm.transactions.parent IS 'gid of the transaction of whose end this message tells (option on_finish); NULL: none';

CREATE VIEW dtm.branches WITH (security_barrier) AS
  SELECT r.gid,
         dtm.step_branch_id(r.branch_id, o.step) AS branch_id,
         dtm.op_name(r.trans_type, b.n, r.workflow, r.action) AS op,
         dtm.op_url(r.trans_type, b.n, r.action, r.compensate) AS url,
         dtm.branch_status_name(b.letter) AS status,
         c.attempts,
         c.last_attempt,
         c.last_error,
         r.payload[o.step] AS payload,
         b.n + 1 AS ordinal,
         r.id,
         NULLIF(r.topic[o.step], '') AS topic,
         CASE b.letter
           WHEN 'S' THEN 'succeeded'
           WHEN 'F' THEN 'failed'
           ELSE CASE WHEN s.status IN ('S', 'F') THEN CASE c.attempts WHEN 0 THEN 'not called' ELSE 'given up' END
                     WHEN s.parked_op = b.n THEN 'parked'
                     WHEN c.attempts > 0 THEN 'retrying'
                     WHEN dtm.op_undoes(r.trans_type, b.n) = (s.status = 'a') THEN 'waiting'
                     ELSE 'not called' END
         END AS state,
         dtm.readable(r.payload[o.step]) AS body,
         CASE WHEN s.completions[b.n + 1] > 0
              THEN '2000-01-01 00:00:00+00'::timestamptz + pg_catalog.make_interval(secs => (s.completions[b.n + 1]::pg_catalog.float8 OPERATOR(pg_catalog./) 1000000::pg_catalog.float8))
         END AS complete_until
    FROM dtm.request r
         CROSS JOIN LATERAL (SELECT a.branch_status, a.status, a.completions, a.parked_op FROM dtm.active a WHERE a.id = r.id
                             UNION ALL
                             SELECT f.branch_status, f.status, NULL, NULL FROM dtm.finished f WHERE f.id = r.id) s
         CROSS JOIN LATERAL (SELECT u.letter, u.n::integer - 1 AS n
                               FROM ROWS FROM (pg_catalog.unnest(pg_catalog.string_to_array(s.branch_status, NULL))) WITH ORDINALITY u(letter, n)) b
         CROSS JOIN LATERAL (SELECT dtm.op_step(r.trans_type, b.n) AS step) o
         CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS attempts,
                                    pg_catalog.max(t.started) AS last_attempt,
                                    (pg_catalog.array_agg(t.error ORDER BY t.started DESC) FILTER (WHERE t.error IS NOT NULL))[1] AS last_error
                               FROM dtm.attempt t
                              WHERE t.id = r.id AND t.branch = b.n) c
   WHERE dtm.visible(r.submitted_by);
COMMENT ON VIEW dtm.branches IS 'branch operations of the transactions that the current role is allowed to see';
COMMENT ON COLUMN dtm.branches.gid IS 'name of the transaction';
COMMENT ON COLUMN dtm.branches.branch_id IS 'name of the branch in the transaction: 01, 02, ...';
COMMENT ON COLUMN dtm.branches.op IS 'action, compensate, confirm, cancel, commit, rollback; or the op of a workflow';
COMMENT ON COLUMN dtm.branches.url IS 'URL that is called; empty: no call is made';
COMMENT ON COLUMN dtm.branches.status IS 'prepared (not done yet), succeed or failed: the words of the dtm server';
COMMENT ON COLUMN dtm.branches.attempts IS 'number of calls';
COMMENT ON COLUMN dtm.branches.last_attempt IS 'when the last call was started';
COMMENT ON COLUMN dtm.branches.last_error IS 'error of the last call that had one';
COMMENT ON COLUMN dtm.branches.payload IS 'body of the request';
COMMENT ON COLUMN dtm.branches.ordinal IS 'position of the op in the transaction, from 1';
COMMENT ON COLUMN dtm.branches.id IS 'number of the transaction';
COMMENT ON COLUMN dtm.branches.topic IS 'URL of the topic from which the step came; NULL: none';
COMMENT ON COLUMN dtm.branches.state IS 'succeeded, failed, retrying, parked (the transaction waits for a person because of it), waiting, not called, or given up (it was called, and the transaction was stopped)';
COMMENT ON COLUMN dtm.branches.body IS 'payload in readable form: JSON as it is, other text as a string; NULL: the payload is not text';
COMMENT ON COLUMN dtm.branches.complete_until IS 'time until which the branch waits for dtm_complete(); NULL: it does not wait';

CREATE VIEW dtm.calls WITH (security_barrier) AS
  SELECT r.gid,
         dtm.op_branch_id(r.trans_type, t.branch, r.branch_id) AS branch_id,
         dtm.op_name(r.trans_type, t.branch, r.workflow, r.action) AS op,
         t.started,
         pg_catalog.make_interval(secs => (t.duration::pg_catalog.float8 OPERATOR(pg_catalog./) 1000000::pg_catalog.float8)) AS duration,
         dtm.result_name(t.result) AS result,
         t.http_status,
         t.error,
         r.id,
         t.grpc_status,
         CASE WHEN t.branch < 0 THEN r.query_prepared ELSE dtm.op_url(r.trans_type, t.branch, r.action, r.compensate) END AS url
    FROM dtm.attempt t
         JOIN dtm.request r ON r.id = t.id
   WHERE dtm.visible(r.submitted_by);
COMMENT ON VIEW dtm.calls IS 'calls of branches, one row for each attempt, of the transactions that the current role is allowed to see';
COMMENT ON COLUMN dtm.calls.gid IS 'name of the transaction';
COMMENT ON COLUMN dtm.calls.branch_id IS 'name of the branch; 00: the query of a prepared msg or saga, or the callback of a workflow';
COMMENT ON COLUMN dtm.calls.op IS 'op that was called';
COMMENT ON COLUMN dtm.calls.started IS 'when the call was started';
COMMENT ON COLUMN dtm.calls.duration IS 'how long the call took';
COMMENT ON COLUMN dtm.calls.result IS 'SUCCESS, FAILURE (permanent), ONGOING (called again later), ERROR (temporary) or PERMANENT (it can never be called)';
COMMENT ON COLUMN dtm.calls.http_status IS 'status of the HTTP response; NULL: no response';
COMMENT ON COLUMN dtm.calls.error IS 'error, or body of a response other than success';
COMMENT ON COLUMN dtm.calls.id IS 'number of the transaction';
COMMENT ON COLUMN dtm.calls.grpc_status IS 'status of the gRPC response; NULL: none';
COMMENT ON COLUMN dtm.calls.url IS 'URL of the op; after dtm_edit_step(), the new one';

CREATE VIEW dtm.results WITH (security_barrier) AS
  SELECT r.gid,
         dtm.step_branch_id(r.branch_id, dtm.op_step(r.trans_type, s.branch)) AS branch_id,
         r.step_options OPERATOR(pg_catalog.->) (dtm.op_step(r.trans_type, s.branch) OPERATOR(pg_catalog.-) 1) OPERATOR(pg_catalog.->>) 'name' AS name,
         dtm.op_name(r.trans_type, s.branch, r.workflow, r.action) AS op,
         s.ok,
         s.result,
         s.note,
         r.id
    FROM dtm.result s
         JOIN dtm.request r ON r.id = s.id
   WHERE dtm.visible(dtm.submitter_role(r.submitted_by));
COMMENT ON VIEW dtm.results IS 'results of branches, of the transactions that the current role is allowed to see';
COMMENT ON COLUMN dtm.results.gid IS 'name of the transaction';
COMMENT ON COLUMN dtm.results.branch_id IS 'name of the branch';
COMMENT ON COLUMN dtm.results.name IS 'name of the step; NULL: it has none';
COMMENT ON COLUMN dtm.results.op IS 'action or compensate';
COMMENT ON COLUMN dtm.results.ok IS 'whether it has succeeded';
COMMENT ON COLUMN dtm.results.result IS 'what the branch answered; a string if that was no JSON';
COMMENT ON COLUMN dtm.results.note IS 'why result is NULL although there was a response, or a text although that was JSON';
COMMENT ON COLUMN dtm.results.id IS 'number of the transaction';

CREATE FUNCTION @extschema@.dtm_result(gid text, step text, op text DEFAULT 'action') RETURNS jsonb
AS 'MODULE_PATHNAME', 'dtm_result' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_result(text, text, text) IS
  'returns the result of a step, which is given by its name or branch id; NULL: there is none';
CREATE VIEW dtm.acts WITH (security_barrier) AS
  SELECT r.gid, a.done, dtm.submitter_role(a.role) AS role, a.what,
         dtm.op_branch_id(r.trans_type, a.branch, r.branch_id) AS branch_id,
         CASE WHEN a.whole_branch IS NOT TRUE THEN dtm.op_name(r.trans_type, a.branch, r.workflow, r.action) END AS op,
         a.reason, a.detail, a.ordinal, r.id
    FROM dtm.act a
         JOIN dtm.request r ON r.id = a.id
   WHERE dtm.visible(r.submitted_by);
COMMENT ON VIEW dtm.acts IS 'what operators, and those who complete branches, have done to the transactions that the current role is allowed to see: one row for each act';
COMMENT ON COLUMN dtm.acts.gid IS 'name of the transaction';
COMMENT ON COLUMN dtm.acts.done IS 'when it was done';
COMMENT ON COLUMN dtm.acts.role IS 'role that did it; NULL: the role no longer exists';
COMMENT ON COLUMN dtm.acts.what IS 'abort, force stop, retry now, resume, edit step, edit query, skip as succeeded, skip as failed, complete, complete as failed, resubmit (of the old one), resubmitted (of the new one), assign to ROLE, reset cron time';
COMMENT ON COLUMN dtm.acts.branch_id IS 'branch that it concerns; NULL: the whole transaction';
COMMENT ON COLUMN dtm.acts.op IS 'op that it concerns; NULL: all of the branch, or the whole transaction';
COMMENT ON COLUMN dtm.acts.reason IS 'reason that was given';
COMMENT ON COLUMN dtm.acts.detail IS 'of an edit, what the keys that it changed have been before, and what they are after; of a resubmit, the other gid';
COMMENT ON COLUMN dtm.acts.ordinal IS 'number of the act among those of the transaction, from 1';
COMMENT ON COLUMN dtm.acts.id IS 'number of the transaction';

CREATE VIEW dtm.timeline WITH (security_barrier) AS
  SELECT r.gid, e.at, e.event,
         dtm.op_branch_id(r.trans_type, e.branch, r.branch_id) AS branch_id,
         CASE WHEN e.whole_branch IS NOT TRUE THEN dtm.op_name(r.trans_type, e.branch, r.workflow, r.action) END AS op,
         e.result, e.duration, e.role, e.detail, r.id
    FROM dtm.request r
         CROSS JOIN LATERAL (
           SELECT r.created AS at, 'created' AS event, NULL::integer AS branch, NULL AS result, NULL::interval AS duration,
                  dtm.submitter_role(r.submitted_by) AS role, NULL AS detail, NULL::boolean AS whole_branch
           UNION ALL
           SELECT t.started, 'call', t.branch, dtm.result_name(t.result),
                  pg_catalog.make_interval(secs => (t.duration::pg_catalog.float8 OPERATOR(pg_catalog./) 1000000::pg_catalog.float8)), NULL, t.error, NULL
             FROM dtm.attempt t WHERE t.id = r.id
           UNION ALL
           SELECT a.done, a.what, a.branch, NULL, NULL, dtm.submitter_role(a.role), a.reason, a.whole_branch
             FROM dtm.act a WHERE a.id = r.id
           UNION ALL
           SELECT f.finished, 'ended', NULL, dtm.status_name(f.status), NULL, NULL, f.rollback_reason, NULL
             FROM dtm.finished f WHERE f.id = r.id) e
   WHERE dtm.visible(r.submitted_by);
COMMENT ON VIEW dtm.timeline IS 'what has happened to the transactions that the current role is allowed to see: their beginning, calls, acts of operators, and their end';
COMMENT ON COLUMN dtm.timeline.gid IS 'name of the transaction';
COMMENT ON COLUMN dtm.timeline.at IS 'when it happened; of a call, when it was started';
COMMENT ON COLUMN dtm.timeline.event IS 'created, call, ended, or an act of dtm.acts';
COMMENT ON COLUMN dtm.timeline.branch_id IS 'branch that it concerns; 00: the query of a prepared msg or saga, or the callback of a workflow';
COMMENT ON COLUMN dtm.timeline.op IS 'op that it concerns; NULL: all of the branch, or the whole transaction';
COMMENT ON COLUMN dtm.timeline.result IS 'of a call: SUCCESS, FAILURE, ONGOING or ERROR; of the end: succeed or failed';
COMMENT ON COLUMN dtm.timeline.duration IS 'how long the call took';
COMMENT ON COLUMN dtm.timeline.role IS 'role that submitted the transaction, or did the act';
COMMENT ON COLUMN dtm.timeline.detail IS 'error or response of a call, reason of an act, or why the transaction was rolled back';
COMMENT ON COLUMN dtm.timeline.id IS 'number of the transaction';

CREATE FUNCTION @extschema@.dtm_complete(gid text, branch text, op text DEFAULT 'action', ok boolean DEFAULT true, result jsonb DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'dtm_complete' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_complete(text, text, text, boolean, jsonb) IS
  'reports the result of a branch that answers later; returns false if the result is known already';

/* Does an error say that a host does not respond at all? */
CREATE FUNCTION dtm.alert_is_silence(error text) RETURNS boolean
AS 'MODULE_PATHNAME', 'dtm_sql_alert_is_silence' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

/*
 * The conditions on dtm.active come first, and leave few, whose calls and requests are
 * looked at.
 */
CREATE VIEW dtm.stuck WITH (security_barrier) AS
  SELECT r.gid, dtm.trans_type_name(r.trans_type) AS trans_type, dtm.status_name(a.status) AS status, a.failures::integer AS failures,
         COALESCE(a.since, r.created) AS since,
         pg_catalog.clock_timestamp() - COALESCE(a.since, r.created) AS duration,
         dtm.op_branch_id(r.trans_type, a.branch, r.branch_id) AS branch_id,
         dtm.op_name(r.trans_type, a.branch, r.workflow, r.action) AS op,
         a.error AS last_error,
         NULLIF(a.next_time, 'infinity') AS next_attempt,
         CASE WHEN dtm.submitter_role(r.submitted_by) IS NULL THEN dtm.submitter_problem(r.submitted_by)
              WHEN a.next_time = 'infinity' AND a.status <> 'p' AND a.held IS NOT TRUE THEN COALESCE('parked: ' || a.parked_reason, 'it is parked')
              WHEN a.failures > 0 THEN pg_catalog.format('it has failed %s times in a row', a.failures)
              ELSE 'its branch answers ONGOING' END AS reason,
         dtm.active_state(a.status, a.next_time, a.failures, a.delayed, a.held) AS state,
         CASE WHEN a.branch < 0 THEN r.query_prepared ELSE dtm.op_url(r.trans_type, a.branch, r.action, r.compensate) END AS url,
         a.http_status,
         CASE WHEN dtm.submitter_role(r.submitted_by) IS NULL THEN 'Give it to a role with dtm_assign(), or end it with dtm_force_stop().'
              WHEN a.next_time = 'infinity' AND a.status <> 'p' AND a.held IS NOT TRUE THEN 'Remove the cause, then call dtm_resume(gid); or change the step with dtm_edit_step(), which resumes it; or answer for the branch with dtm_skip_branch().'
              WHEN a.failures = 0 THEN 'Ask the service whether it still works on it. If not, answer for it with dtm_skip_branch().'
              WHEN a.http_status IN (404, 405, 410) AND a.branch < 0 THEN 'Look at the URL. To change it, call dtm_edit_step(gid, ''00'', ''{"query_prepared": "..."}'').'
              WHEN a.http_status IN (404, 405, 410) THEN 'Look at the URL. To change it, call dtm_edit_step().'
              WHEN a.http_status IN (401, 403, 407) THEN 'Look at the credentials: the user mapping of the server, or headers. Then call dtm_retry_now().'
              WHEN a.http_status BETWEEN 400 AND 499 THEN 'The service does not accept the request. To change it, call dtm_edit_step(); to roll a saga back, dtm_abort().'
              WHEN a.http_status IS NULL AND dtm.op_url(r.trans_type, a.branch, r.action, r.compensate) LIKE 'sql:%' THEN 'Look at the error of the function. When it is mended, call dtm_retry_now().'
              WHEN a.http_status IS NULL AND NOT dtm.alert_is_silence(a.error) THEN 'Look at the error. When its cause is gone, call dtm_retry_now(), or wait for the next attempt.'
              WHEN a.http_status IS NULL THEN 'The host does not respond: see dtm.stat_hosts. When it does, call dtm_retry_now(), or wait for the next attempt.'
              ELSE 'Look at the log of the service. When it is mended, call dtm_retry_now(), or wait for the next attempt.' END AS help,
         r.id
    FROM (SELECT a.*, l.branch, l.error, l.http_status,
                 (SELECT pg_catalog.min(m.started) FROM dtm.attempt m
                   WHERE m.id = a.id AND m.result <> 'S' AND
                         m.started > COALESCE((SELECT pg_catalog.max(g.started) FROM dtm.attempt g
                                                WHERE g.id = a.id AND g.result = 'S'), '-infinity')) AS since
            FROM dtm.active a
                 LEFT JOIN LATERAL (
                   SELECT t.branch::integer AS branch, t.error, t.http_status, t.result
                     FROM dtm.attempt t
                    WHERE t.id = a.id AND t.result <> 'S'
                    ORDER BY t.started DESC LIMIT 1) l ON true
           WHERE a.failures >= dtm.alert_retry_limit() OR a.next_time = 'infinity' OR
                 a.ongoing_since < pg_catalog.statement_timestamp() - dtm.stuck_after() OR
                 dtm.submitter_role(a.submitted_by) IS NULL
          OFFSET 0) a
         JOIN dtm.request r ON r.id = a.id
   WHERE dtm.visible(r.submitted_by)
     AND CASE WHEN a.failures >= dtm.alert_retry_limit() THEN true
              WHEN a.next_time = 'infinity' THEN (a.status <> 'p' AND a.held IS NOT TRUE) OR dtm.submitter_role(r.submitted_by) IS NULL
              ELSE true END
   ORDER BY since;
COMMENT ON VIEW dtm.stuck IS 'transactions that have failed at least dtm.alert_retry_limit times in a row, are parked, wait for an administrator, belong to a role that does not exist any more, or whose branch has answered ONGOING for longer than dtm.stuck_after; the longest first';
COMMENT ON COLUMN dtm.stuck.gid IS 'name of the transaction';
COMMENT ON COLUMN dtm.stuck.trans_type IS 'saga, tcc, xa, msg or workflow';
COMMENT ON COLUMN dtm.stuck.status IS 'prepared, submitted or aborting';
COMMENT ON COLUMN dtm.stuck.failures IS 'number of consecutive temporary errors';
COMMENT ON COLUMN dtm.stuck.since IS 'time of the first unsuccessful call since the last success';
COMMENT ON COLUMN dtm.stuck.duration IS 'time since then';
COMMENT ON COLUMN dtm.stuck.branch_id IS 'branch of the last unsuccessful call';
COMMENT ON COLUMN dtm.stuck.op IS 'op of that call';
COMMENT ON COLUMN dtm.stuck.last_error IS 'error of that call, or body of its response';
COMMENT ON COLUMN dtm.stuck.next_attempt IS 'time of the next retry; NULL: it is not retried automatically';
COMMENT ON COLUMN dtm.stuck.reason IS 'why it does not continue';
COMMENT ON COLUMN dtm.stuck.state IS 'as in dtm.transactions';
COMMENT ON COLUMN dtm.stuck.url IS 'URL of that call';
COMMENT ON COLUMN dtm.stuck.http_status IS 'status of the HTTP response to that call; NULL: there was none';
COMMENT ON COLUMN dtm.stuck.help IS 'what to do';
COMMENT ON COLUMN dtm.stuck.id IS 'number of the transaction';

/*
 * Of the finished ones, no more than these are counted: the answer takes the same
 * time however many are kept.
 */
CREATE VIEW dtm.counts WITH (security_barrier) AS
  WITH finished AS MATERIALIZED (
    SELECT f.id, f.status, f.stopped FROM dtm.finished f ORDER BY f.id DESC LIMIT 2001
  ), failed AS MATERIALIZED (
    SELECT f.id, f.stopped FROM dtm.finished f WHERE f.status <> 'S' ORDER BY f.id DESC LIMIT 2001
  ), kept AS (
    SELECT n.newest, CASE WHEN n.newest <= 2000 THEN 1::pg_catalog.float8
                          ELSE GREATEST(c.reltuples::pg_catalog.float8, n.newest::pg_catalog.float8)
                               OPERATOR(pg_catalog./) n.newest::pg_catalog.float8 END AS factor
      FROM pg_catalog.pg_class c, (SELECT pg_catalog.count(*) AS newest FROM finished) n
     WHERE c.oid = 'dtm.finished'::pg_catalog.regclass
  ), active AS (
    SELECT dtm.active_state(a.status, a.next_time, a.failures, a.delayed, a.held) AS state
      FROM dtm.active a
     WHERE dtm.visible(a.submitted_by)
  )
  SELECT s.state, pg_catalog.count(*) AS transactions, true AS exact FROM active s GROUP BY s.state
  UNION ALL
  SELECT 'succeeded', pg_catalog.round(pg_catalog.count(*)::pg_catalog.float8 OPERATOR(pg_catalog.*) (SELECT k.factor FROM kept k))::bigint, (SELECT k.newest <= 2000 FROM kept k)
    FROM finished f JOIN dtm.request r ON r.id = f.id
   WHERE f.status = 'S' AND dtm.visible(r.submitted_by) HAVING pg_catalog.count(*) > 0
  UNION ALL
  SELECT CASE WHEN f.stopped THEN 'stopped' ELSE 'failed' END, pg_catalog.count(*), (SELECT pg_catalog.count(*) <= 2000 FROM failed)
    FROM failed f JOIN dtm.request r ON r.id = f.id
   WHERE dtm.visible(r.submitted_by) GROUP BY 1;
COMMENT ON VIEW dtm.counts IS 'number of transactions that the current role is allowed to see, by state';
COMMENT ON COLUMN dtm.counts.state IS 'as in dtm.transactions';
COMMENT ON COLUMN dtm.counts.transactions IS 'how many there are';
COMMENT ON COLUMN dtm.counts.exact IS 'whether the number is exact. If not, succeeded is an estimate, and failed and stopped count those among the newest 2001 of both';

/* What is parked is never due: the index on next_time finds it. */
CREATE VIEW dtm.parked WITH (security_barrier) AS
  SELECT r.gid, dtm.trans_type_name(r.trans_type) AS trans_type, dtm.status_name(a.status) AS status,
         CASE WHEN a.parked_op < 0 THEN '00' ELSE dtm.step_branch_id(r.branch_id, dtm.op_step(r.trans_type, a.parked_op)) END AS branch_id,
         dtm.op_name(r.trans_type, a.parked_op, r.workflow, r.action) AS op,
         CASE WHEN a.parked_op < 0 THEN r.query_prepared ELSE dtm.op_url(r.trans_type, a.parked_op, r.action, r.compensate) END AS url,
         a.parked_reason AS reason, a.parked AS since,
         (SELECT pg_catalog.count(*) FROM dtm.attempt t WHERE t.id = a.id AND t.branch = a.parked_op) AS attempts,
         dtm.submitter_role(r.submitted_by) AS submitted_by, a.rollback_reason, r.id
    FROM dtm.active a
         JOIN dtm.request r ON r.id = a.id
   WHERE a.next_time = 'infinity' AND a.parked IS NOT NULL AND dtm.visible(dtm.submitter_role(r.submitted_by));
COMMENT ON VIEW dtm.parked IS 'transactions for which nothing is called until somebody resumes them with dtm_resume(gid), of those that the current role is allowed to see';
COMMENT ON COLUMN dtm.parked.gid IS 'name of the transaction';
COMMENT ON COLUMN dtm.parked.trans_type IS 'saga, tcc, xa, msg or workflow';
COMMENT ON COLUMN dtm.parked.status IS 'prepared, submitted or aborting';
COMMENT ON COLUMN dtm.parked.branch_id IS 'branch for which it was parked; 00: the query of a prepared msg or saga, or the callback of a workflow; NULL: none';
COMMENT ON COLUMN dtm.parked.op IS 'op for which it was parked';
COMMENT ON COLUMN dtm.parked.url IS 'URL of that op';
COMMENT ON COLUMN dtm.parked.reason IS 'why it was parked';
COMMENT ON COLUMN dtm.parked.since IS 'when it was parked';
COMMENT ON COLUMN dtm.parked.attempts IS 'number of calls of that op';
COMMENT ON COLUMN dtm.parked.submitted_by IS 'role that submitted it; NULL: the role no longer exists';
COMMENT ON COLUMN dtm.parked.rollback_reason IS 'why it was being rolled back; NULL: it was not';
COMMENT ON COLUMN dtm.parked.id IS 'number of the transaction';

CREATE VIEW dtm.dead_letters WITH (security_barrier) AS
  SELECT r.gid, dtm.step_branch_id(r.branch_id, dtm.op_step(r.trans_type, d.branch)) AS branch_id,
         dtm.op_url(r.trans_type, d.branch, r.action, r.compensate) AS url,
         r.payload[dtm.op_step(r.trans_type, d.branch)] AS payload,
         d.reason, d.discarded,
         (SELECT pg_catalog.count(*) FROM dtm.attempt t WHERE t.id = d.id AND t.branch = d.branch) AS attempts,
         dtm.submitter_role(r.submitted_by) AS submitted_by, r.id
    FROM dtm.dead_letter d
         JOIN dtm.request r ON r.id = d.id
   WHERE dtm.visible(dtm.submitter_role(r.submitted_by));
COMMENT ON VIEW dtm.dead_letters IS 'steps of messages that were discarded by their policy, of the messages that the current role is allowed to see; they are kept as long as the message';
COMMENT ON COLUMN dtm.dead_letters.gid IS 'name of the message';
COMMENT ON COLUMN dtm.dead_letters.branch_id IS 'name of the step in the message';
COMMENT ON COLUMN dtm.dead_letters.url IS 'URL that was called';
COMMENT ON COLUMN dtm.dead_letters.payload IS 'body of the request';
COMMENT ON COLUMN dtm.dead_letters.reason IS 'why it was discarded';
COMMENT ON COLUMN dtm.dead_letters.discarded IS 'when it was discarded';
COMMENT ON COLUMN dtm.dead_letters.attempts IS 'number of calls';
COMMENT ON COLUMN dtm.dead_letters.submitted_by IS 'role that submitted the message; NULL: the role no longer exists';
COMMENT ON COLUMN dtm.dead_letters.id IS 'number of the message';

CREATE VIEW dtm.lanes WITH (security_barrier) AS
  SELECT pg_catalog.split_part(l.lane, E'\n', 1) AS lane, l.transactions, r.gid AS first, dtm.status_name(a.status) AS status,
         a.parked IS NOT NULL AS parked, NULLIF(a.next_time, 'infinity') AS next_attempt, r.created,
         dtm.submitter_role(r.submitted_by) AS submitted_by
    FROM (SELECT n.lane, pg_catalog.min(n.id) AS id, pg_catalog.count(*) AS transactions
            FROM dtm.lane n WHERE n.id > 0 GROUP BY n.lane) l
         JOIN dtm.request r ON r.id = l.id
         JOIN dtm.active a ON a.id = l.id
   WHERE dtm.visible(dtm.submitter_role(r.submitted_by));
COMMENT ON VIEW dtm.lanes IS 'lanes that have unfinished transactions, and the first of each, for which the others wait';
COMMENT ON COLUMN dtm.lanes.lane IS 'option lane of the submits; each role has its own lanes';
COMMENT ON COLUMN dtm.lanes.transactions IS 'number of unfinished transactions in the lane';
COMMENT ON COLUMN dtm.lanes.first IS 'gid of the first one';
COMMENT ON COLUMN dtm.lanes.status IS 'status of the first one';
COMMENT ON COLUMN dtm.lanes.parked IS 'whether the first one is parked: then the lane waits for dtm_resume(first) or dtm_force_stop(first)';
COMMENT ON COLUMN dtm.lanes.next_attempt IS 'when the first one is processed again; NULL: never, or at once';
COMMENT ON COLUMN dtm.lanes.created IS 'when the first one was submitted';
COMMENT ON COLUMN dtm.lanes.submitted_by IS 'role whose lane it is; NULL: the role no longer exists';

/*
 * A participant of an XA registers its branch, and then prepares its transaction
 * as gid-branch_id.  Other programs use such names, too.  So a prepared
 * transaction belongs to an XA only if this branch was registered, and before it
 * was prepared.  A name can be read in several ways (gid "a-01", branch "02"; gid
 * "a", branch "01-02"): it is an orphan only if all XAs that claim it have ended
 * in the same way.
 *
 * If no XA claims it, it must hold the barrier's lock, and no open transaction
 * may have this gid.  Even then it may belong to another coordinator, so there is
 * no statement for it.
 */
CREATE VIEW dtm.orphans AS
  WITH reading AS (
    SELECT p.gid AS prepared, p.transaction, p.prepared AS since, p.owner, p.database,
           x.gid, x.branch_id, r.id, dtm.status_name(f.status) AS status
      FROM pg_catalog.pg_prepared_xacts p
           CROSS JOIN LATERAL (
             SELECT pg_catalog.left(p.gid, n - 1) AS gid, pg_catalog.substr(p.gid, n + 1) AS branch_id
               FROM pg_catalog.generate_series(2, pg_catalog.length(p.gid) - 1) n
              WHERE pg_catalog.substr(p.gid, n, 1) = '-') x
           LEFT JOIN dtm.request r ON r.gid = x.gid AND x.branch_id = ANY (r.branch_id) AND
                                      dtm.trans_type_name(r.trans_type) = 'xa' AND r.created <= p.prepared
           LEFT JOIN dtm.finished f ON f.id = r.id
  )
  SELECT o.prepared, o.gid, o.branch_id, o.status, o.since,
         pg_catalog.clock_timestamp() - o.since AS age,
         o.owner, o.database,
         CASE o.status WHEN 'succeed' THEN 'COMMIT' WHEN 'failed' THEN 'ROLLBACK' END ||
           ' PREPARED ' || pg_catalog.quote_literal(o.prepared) AS statement
    FROM reading o
   WHERE CASE WHEN o.id IS NOT NULL THEN
                o.status IS NOT NULL AND
                NOT EXISTS (SELECT FROM reading c
                             WHERE c.prepared = o.prepared AND c.id IS NOT NULL AND
                                   (c.status IS DISTINCT FROM o.status OR c.id < o.id))
              ELSE
                o.branch_id ~ '^([0-9]{2})+$' AND
                NOT EXISTS (SELECT FROM reading c WHERE c.prepared = o.prepared AND c.id IS NOT NULL) AND
                NOT EXISTS (SELECT FROM dtm.request r JOIN dtm.active a ON a.id = r.id WHERE r.gid = o.gid) AND
                EXISTS (SELECT FROM pg_catalog.pg_locks t JOIN pg_catalog.pg_locks b USING (virtualtransaction)
                         WHERE t.locktype = 'transactionid' AND t.transactionid = o.transaction AND t.granted AND
                               b.locktype = 'relation' AND b.relation = 'dtm_barrier.barrier'::regclass AND b.granted AND
                               b.database = (SELECT d.oid FROM pg_catalog.pg_database d
                                              WHERE d.datname = pg_catalog.current_database()))
         END
   ORDER BY o.since;
COMMENT ON VIEW dtm.orphans IS 'prepared transactions of XA branches whose global transaction has ended or is not known here, with the statement that ends each';
COMMENT ON COLUMN dtm.orphans.prepared IS 'name of the prepared transaction';
COMMENT ON COLUMN dtm.orphans.gid IS 'gid in that name';
COMMENT ON COLUMN dtm.orphans.branch_id IS 'branch id in that name';
COMMENT ON COLUMN dtm.orphans.status IS 'how the global transaction ended; NULL: it is not known here';
COMMENT ON COLUMN dtm.orphans.since IS 'when it was prepared';
COMMENT ON COLUMN dtm.orphans.age IS 'time since then';
COMMENT ON COLUMN dtm.orphans.owner IS 'role that prepared it';
COMMENT ON COLUMN dtm.orphans.database IS 'database that it belongs to';
COMMENT ON COLUMN dtm.orphans.statement IS 'statement that ends it; run it in that database; NULL: the outcome is not known here';

CREATE FUNCTION dtm.coordinator_stats(
  OUT state text, OUT pid integer, OUT started timestamptz, OUT in_flight integer, OUT queued integer,
  OUT loaded integer, OUT commits bigint, OUT finished bigint, OUT calls bigint, OUT call_errors bigint, OUT errors bigint,
  OUT coordinator integer, OUT reason text, OUT hint text, OUT spans_sent bigint, OUT spans_dropped bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'dtm_coordinator_stats' LANGUAGE C VOLATILE PARALLEL SAFE;
COMMENT ON FUNCTION dtm.coordinator_stats() IS 'counters of this database''s coordinators since their start';

CREATE VIEW dtm.stat_coordinator AS
  SELECT s.state, s.pid, s.started, s.in_flight, s.queued, s.loaded, s.commits, s.finished, s.calls, s.call_errors,
         s.errors, s.coordinator, b.backlog, b.oldest_due_age, s.reason, s.hint, s.spans_sent, s.spans_dropped
    FROM dtm.coordinator_stats() s
         CROSS JOIN (SELECT pg_catalog.count(*) AS backlog,
                            pg_catalog.clock_timestamp() - NULLIF(pg_catalog.min(a.next_time), '-infinity') AS oldest_due_age
                       FROM dtm.active a
                      WHERE a.next_time <= pg_catalog.clock_timestamp()) b;
COMMENT ON VIEW dtm.stat_coordinator IS 'coordinators of this database, one row for each: state, load and counters';
COMMENT ON COLUMN dtm.stat_coordinator.state IS 'running, draining (it starts no calls, and waits for the end of those in flight), paused, yielding (to dtm_run_due), starting, stopped, gone (without the extension), not running, standby or not preloaded';
COMMENT ON COLUMN dtm.stat_coordinator.pid IS 'process id of the coordinator';
COMMENT ON COLUMN dtm.stat_coordinator.started IS 'when the coordinator was started';
COMMENT ON COLUMN dtm.stat_coordinator.in_flight IS 'calls in flight';
COMMENT ON COLUMN dtm.stat_coordinator.queued IS 'calls that wait for their turn';
COMMENT ON COLUMN dtm.stat_coordinator.loaded IS 'transactions in memory';
COMMENT ON COLUMN dtm.stat_coordinator.commits IS 'commits since the start';
COMMENT ON COLUMN dtm.stat_coordinator.finished IS 'global transactions ended since the start';
COMMENT ON COLUMN dtm.stat_coordinator.calls IS 'calls made since the start';
COMMENT ON COLUMN dtm.stat_coordinator.call_errors IS 'calls that ended in a temporary error since the start';
COMMENT ON COLUMN dtm.stat_coordinator.errors IS 'failed turns since the start';
COMMENT ON COLUMN dtm.stat_coordinator.coordinator IS 'number of the coordinator in this database, from 1';
COMMENT ON COLUMN dtm.stat_coordinator.backlog IS 'number of due transactions of this database';
COMMENT ON COLUMN dtm.stat_coordinator.oldest_due_age IS 'time for which the oldest of them has been due';
COMMENT ON COLUMN dtm.stat_coordinator.reason IS 'why the coordinator is paused, or will be when it has drained, or does not run at present; NULL: it runs, or is told to stop';
COMMENT ON COLUMN dtm.stat_coordinator.hint IS 'what to do to resume the coordinator';
COMMENT ON COLUMN dtm.stat_coordinator.spans_sent IS 'spans that dtm.otlp_endpoint has accepted since the start';
COMMENT ON COLUMN dtm.stat_coordinator.spans_dropped IS 'spans that were dropped since the start, because the collector was too slow, did not respond, or rejected them';

CREATE FUNCTION dtm.host_stats(
  OUT coordinator integer, OUT host text, OUT state text, OUT in_flight integer, OUT waiting integer, OUT window_size integer,
  OUT calls bigint, OUT failures bigint, OUT failures_in_a_row integer,
  OUT mean_time interval, OUT recent_time interval, OUT next_probe timestamptz, OUT last_error text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'dtm_host_stats' LANGUAGE C VOLATILE PARALLEL SAFE;
COMMENT ON FUNCTION dtm.host_stats() IS 'hosts that this database''s coordinators have called since their start';

CREATE VIEW dtm.stat_hosts AS SELECT * FROM dtm.host_stats();
COMMENT ON VIEW dtm.stat_hosts IS 'hosts that the coordinators call, one row for each host and coordinator: state of the circuit breaker, load and counters';
COMMENT ON COLUMN dtm.stat_hosts.coordinator IS 'number of the coordinator that calls the host, from 1';
COMMENT ON COLUMN dtm.stat_hosts.host IS 'scheme, name and port';
COMMENT ON COLUMN dtm.stat_hosts.state IS 'state of the circuit breaker: closed (calls are made), open (calls wait, except for probes) or probing (a probe is in flight)';
COMMENT ON COLUMN dtm.stat_hosts.in_flight IS 'calls in flight';
COMMENT ON COLUMN dtm.stat_hosts.waiting IS 'calls that wait for their turn';
COMMENT ON COLUMN dtm.stat_hosts.window_size IS 'number of calls that may be in flight, as learned from the host''s answers';
COMMENT ON COLUMN dtm.stat_hosts.calls IS 'calls made since the start';
COMMENT ON COLUMN dtm.stat_hosts.failures IS 'calls without a response';
COMMENT ON COLUMN dtm.stat_hosts.failures_in_a_row IS 'consecutive calls without a response';
COMMENT ON COLUMN dtm.stat_hosts.mean_time IS 'mean response time';
COMMENT ON COLUMN dtm.stat_hosts.recent_time IS 'moving average of the response time';
COMMENT ON COLUMN dtm.stat_hosts.next_probe IS 'time of the next probe';
COMMENT ON COLUMN dtm.stat_hosts.last_error IS 'error of the last call without a response';

/* For dtm_explain(): what one who calls a URL may know of its host. */
CREATE FUNCTION dtm.host_state(
  url text, OUT state text, OUT in_flight integer, OUT waiting integer, OUT window_size integer, OUT next_probe timestamptz)
RETURNS record
AS 'MODULE_PATHNAME', 'dtm_host_state' LANGUAGE C VOLATILE STRICT PARALLEL SAFE;

CREATE FUNCTION dtm.noted_calls(OUT coordinator integer, OUT id bigint, OUT branch integer, OUT queued timestamptz, OUT started timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'dtm_noted_calls' LANGUAGE C VOLATILE PARALLEL SAFE;
COMMENT ON FUNCTION dtm.noted_calls() IS 'calls that this database''s coordinators make now';

CREATE VIEW dtm.in_flight WITH (security_barrier) AS
  SELECT r.gid,
         dtm.op_branch_id(r.trans_type, c.branch, r.branch_id) AS branch_id,
         dtm.op_name(r.trans_type, c.branch, r.workflow, r.action) AS op,
         CASE WHEN c.branch < 0 THEN r.query_prepared ELSE dtm.op_url(r.trans_type, c.branch, r.action, r.compensate) END AS url,
         c.queued,
         c.started,
         pg_catalog.clock_timestamp() - c.started AS duration,
         c.coordinator,
         r.id
    FROM dtm.noted_calls() c
         JOIN dtm.request r ON r.id = c.id
   WHERE dtm.visible(r.submitted_by);
COMMENT ON VIEW dtm.in_flight IS 'calls that are made now, of the transactions that the current role is allowed to see; up to 2048 of each coordinator';
COMMENT ON COLUMN dtm.in_flight.gid IS 'name of the transaction';
COMMENT ON COLUMN dtm.in_flight.branch_id IS 'name of the branch; 00: the query of a prepared msg or saga, or the callback of a workflow';
COMMENT ON COLUMN dtm.in_flight.op IS 'op that is called';
COMMENT ON COLUMN dtm.in_flight.url IS 'URL that is called';
COMMENT ON COLUMN dtm.in_flight.queued IS 'when the call was decided on';
COMMENT ON COLUMN dtm.in_flight.started IS 'when it was sent; NULL: it waits for its turn';
COMMENT ON COLUMN dtm.in_flight.duration IS 'time since it was sent';
COMMENT ON COLUMN dtm.in_flight.coordinator IS 'number of the coordinator that makes it, from 1';
COMMENT ON COLUMN dtm.in_flight.id IS 'number of the transaction';

CREATE FUNCTION @extschema@.dtm_status(gid text) RETURNS text
AS 'MODULE_PATHNAME', 'dtm_status' LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION @extschema@.dtm_status(text) IS 'returns the status of a global transaction; NULL if the gid does not exist';

/* The object that dtm_query() and dtm_prepare_workflow() return. */
CREATE FUNCTION dtm.query(gid text) RETURNS jsonb
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
  SELECT jsonb_build_object(
    'transaction',
    (SELECT jsonb_strip_nulls(jsonb_build_object(
              'id', t.id,
              'create_time', t.created,
              'update_time', t.updated,
              'gid', t.gid,
              'trans_type', t.trans_type,
              'status', t.status,
              'query_prepared', t.options ->> 'query_prepared',
              'protocol', COALESCE(t.options ->> 'protocol', 'http'),
              'finish_time', CASE WHEN t.status = 'succeed' THEN t.finished END,
              'rollback_time', CASE WHEN t.status = 'failed' THEN t.finished END,
              'rollback_reason', t.rollback_reason,
              'result', t.result,
              'options', (t.options || jsonb_build_object('concurrent', COALESCE(t.options -> 'concurrent', 'false'),
                                                         'wait_result', COALESCE(t.options -> 'wait_result', 'false')))::text,
              'next_cron_time', t.next_attempt,
              'concurrent', false))
       FROM dtm.transactions t
      WHERE t.gid = $1),
    'branches',
    COALESCE((SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
                       'id', b.ordinal,
                       'create_time', t.created,
                       'update_time', COALESCE(b.last_attempt, t.created),
                       'gid', b.gid,
                       'url', NULLIF(b.url, ''),
                       'bin_data', translate(encode(b.payload, 'base64'), E'\n', ''),
                       'branch_id', b.branch_id,
                       'op', b.op,
                       'status', b.status,
                       'finish_time', CASE WHEN b.status = 'succeed' THEN COALESCE(b.last_attempt, t.created) END,
                       'rollback_time', CASE WHEN b.status = 'failed' THEN b.last_attempt END))
                     ORDER BY b.ordinal)
                FROM dtm.transactions t JOIN dtm.branches b ON b.id = t.id
               WHERE t.gid = $1), '[]'))
$$;

CREATE FUNCTION @extschema@.dtm_query(gid text) RETURNS jsonb
LANGUAGE sql STABLE STRICT
AS $$ SELECT dtm.query($1) $$;
COMMENT ON FUNCTION @extschema@.dtm_query(text) IS 'returns a global transaction and its branches, as dtm''s /query shows them';

/* The transaction that has locked the row of another; NULL: none, or it has ended. */
CREATE VIEW dtm.row_locks WITH (security_barrier) AS
  SELECT a.id, a.xmax AS locked_by
    FROM dtm.active a JOIN dtm.request r ON r.id = a.id
   WHERE dtm.visible(r.submitted_by);
COMMENT ON VIEW dtm.row_locks IS 'transaction ids that have locked the rows of transactions which the current role is allowed to see, for dtm_explain()';
COMMENT ON COLUMN dtm.row_locks.id IS 'number of the transaction';
COMMENT ON COLUMN dtm.row_locks.locked_by IS 'xmax of its row';

/* Who has locked the row of a transaction; NULL: nobody. */
CREATE FUNCTION dtm.row_holder(id bigint) RETURNS text
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE WHEN l.pid IS NULL THEN format('prepared transaction "%s"', (SELECT p.gid FROM pg_prepared_xacts p WHERE p.transaction = l.transactionid))
              ELSE format('process %s', l.pid) END
    FROM dtm.row_locks a
         JOIN pg_locks l ON l.locktype = 'transactionid' AND l.transactionid = a.locked_by AND l.mode = 'ExclusiveLock' AND l.granted
   WHERE a.id = $1
$$;

/* An option of the server that a URL names; NULL: it names none, or the server has not that option. */
CREATE FUNCTION dtm.server_option(url text, name text) RETURNS text
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT o.option_value FROM pg_foreign_server f, pg_options_to_table(f.srvoptions) o
   WHERE f.srvname = substring($1 FROM '^server:([^/?]*)') AND o.option_name = $2
$$;

/* The address of a URL that names a server. */
CREATE FUNCTION dtm.base_url(url text) RETURNS text
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE WHEN $1 LIKE 'server:%' THEN dtm.server_option($1, 'base_url') ELSE $1 END $$;

/*
 * What a call waits for that has not been sent yet.  Each coordinator has its share of
 * a server's limits, and some places are for other roles (transport/queue.c).
 */
CREATE FUNCTION dtm.explain_call(call_url text, OUT waits_for text, OUT detail text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  host record;
  server text := substring(call_url FROM '^server:([^/?]*)');
  most integer := dtm.server_option(call_url, 'max_requests');
  rate text := dtm.server_option(call_url, 'rate');
  share integer := CASE WHEN most > 0 THEN GREATEST(most / current_setting('dtm.coordinators_per_database', true)::integer, 1) END;
  places integer := share - CASE WHEN share < 8 THEN 0 ELSE GREATEST(share / 16, 1) END;
BEGIN
  IF call_url LIKE 'sql:%' THEN
    waits_for := 'worker';
    detail := format('all background workers that its role may have run other functions (dtm.sql_workers is %s)', current_setting('dtm.sql_workers', true));
    RETURN;
  END IF;
  SELECT h.* INTO host FROM dtm.host_state(dtm.base_url(call_url)) h;
  IF host.state IN ('open', 'probing') THEN
    waits_for := 'circuit';
    detail := 'the circuit breaker of its host is open: the host does not respond';
  ELSIF host.in_flight >= places THEN
    waits_for := 'limit';
    detail := format('%s calls to its host are in flight, and option max_requests of server "%s" allows %s; %s wait',
                     host.in_flight, server, most, host.waiting);
  ELSIF host.in_flight >= host.window_size - GREATEST(host.window_size / 16, 1) THEN
    /* the last sixteenth is for other roles */
    waits_for := 'window';
    detail := format('%s calls to its host are in flight, of %s that it gets at a time now, the last of them for other roles; %s wait', host.in_flight, host.window_size, host.waiting);
  ELSIF rate IS NOT NULL THEN
    waits_for := 'limit';
    detail := format('option rate of server "%s" allows %s calls in a second; %s wait', server, rate, COALESCE(host.waiting, 0));
  ELSE
    waits_for := 'limit';
    detail := format('%s calls to its host are in flight, and %s wait: see dtm.max_requests_per_host and dtm.max_requests',
                     COALESCE(host.in_flight, 0), COALESCE(host.waiting, 0));
  END IF;
END
$$;

/*
 * Asked in this order, the first that holds is the answer: whether it has ended; the
 * coordinator; the row; a call; a person; the time.
 */
CREATE FUNCTION @extschema@.dtm_explain(
  gid text, OUT state text, OUT waits_for text, OUT detail text, OUT since timestamptz, OUT next_attempt timestamptz, OUT last_error text, OUT help text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  t record;
  c record;
  stuck record;
  holder text;
BEGIN
  IF gid IS NULL THEN
    RAISE EXCEPTION 'argument "gid" must not be null'
      USING ERRCODE = 'null_value_not_allowed', HINT = 'Pass the gid that dtm_submit() or dtm_prepare() returned.';
  END IF;
  SELECT * INTO t FROM dtm.transactions v WHERE v.gid = $1;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'global transaction "%" does not exist', $1
      USING ERRCODE = 'DT003', HINT = 'Look for it in dtm.transactions, which lists the global transactions that you are allowed to see.';
  END IF;
  state := t.state;
  next_attempt := t.next_attempt;
  since := t.updated;
  SELECT v.error INTO last_error FROM dtm.calls v WHERE v.id = t.id AND v.result <> 'SUCCESS' ORDER BY v.started DESC LIMIT 1;
  IF t.finished IS NOT NULL THEN
    waits_for := 'nothing';
    detail := COALESCE('it has ended: ' || t.rollback_reason, 'it has ended');
    RETURN;
  END IF;
  SELECT v.reason, v.help INTO stuck FROM dtm.stuck v WHERE v.id = t.id;
  help := stuck.help;
  SELECT v.state, v.reason, v.hint INTO c FROM dtm.stat_coordinator v ORDER BY v.state = 'running' LIMIT 1;
  IF c.state <> 'running' THEN
    waits_for := 'coordinator';
    detail := format('the coordinator of this database is %s', c.state) || COALESCE(': ' || c.reason, '');
    help := COALESCE(c.hint, help, CASE c.state WHEN 'not preloaded' THEN 'Add dtm to shared_preload_libraries and restart the server, or CALL dtm_run_due().' END);
    RETURN;
  END IF;
  holder := dtm.row_holder(t.id);
  IF holder IS NOT NULL THEN
    waits_for := 'lock';
    detail := format('%s has its row locked', holder);
    help := 'Wait until the lock is released, or end who holds it: pg_stat_activity, pg_prepared_xacts.';
    RETURN;
  END IF;
  SELECT v.url, v.started, v.queued INTO c FROM dtm.in_flight v WHERE v.id = t.id ORDER BY v.started LIMIT 1;
  IF c.started IS NOT NULL THEN
    waits_for := 'response';
    detail := format('%s is called', c.url);
    since := c.started;
  ELSIF c.queued IS NOT NULL THEN
    SELECT e.waits_for, e.detail INTO waits_for, detail FROM dtm.explain_call(c.url) e;
    since := c.queued;
  ELSIF t.submitted_by IS NULL OR t.state = 'parked' THEN
    waits_for := 'person';
    detail := COALESCE(stuck.reason, 'it is parked');
  ELSIF t.status = 'prepared' THEN
    waits_for := 'submit';
    detail := CASE WHEN t.next_attempt IS NULL THEN 'its client has to submit it'
                   WHEN t.trans_type IN ('msg', 'saga') THEN 'its client has to submit it; at next_attempt it is asked whether it did its part'
                   WHEN t.trans_type = 'workflow' THEN 'its client has to submit it; at next_attempt its callback is called'
                   ELSE 'its client has to submit it; at next_attempt it is rolled back' END;
  ELSIF t.state = 'waiting' AND t.next_attempt IS NULL THEN
    waits_for := 'lane';
    SELECT v.first INTO c FROM dtm.lanes v WHERE v.lane = t.options ->> 'lane' AND v.submitted_by = t.submitted_by;
    detail := format('the one before it in lane "%s" has not ended', t.options ->> 'lane') ||
              CASE WHEN c.first IS NULL THEN '' ELSE format('; the first of the lane is "%s"', c.first) END;
    help := CASE WHEN c.first IS NULL THEN help ELSE format('See what the first of its lane waits for: SELECT * FROM dtm_explain(%L).', c.first) END;
  ELSIF t.next_attempt > clock_timestamp() THEN
    SELECT b.branch_id, b.op, b.complete_until INTO c FROM dtm.branches b
     WHERE b.id = t.id AND b.complete_until IS NOT NULL ORDER BY b.complete_until, b.ordinal LIMIT 1;
    IF c.complete_until IS NOT NULL AND (t.failures = 0 OR t.next_attempt >= c.complete_until) THEN
      waits_for := 'completion';
      detail := format('%s of branch %s was accepted, and waits for dtm_complete() until %s; then it is called again', c.op, c.branch_id, c.complete_until);
      help := 'Say with dtm_complete() what has become of the branch, or ask its service. To call it again at once, call dtm_retry_now().';
    ELSIF t.state = 'scheduled' THEN
      waits_for := 'time';
      detail := 'it was submitted with a delay';
    ELSIF t.failures > 0 THEN
      SELECT h.state INTO c FROM dtm.branches b, dtm.host_state(dtm.base_url(b.url)) h
       WHERE b.id = t.id AND b.branch_id = t.failed_branch AND b.op = t.failed_op;
      waits_for := CASE WHEN c.state IN ('open', 'probing') THEN 'circuit' ELSE 'retry' END;
      detail := CASE WHEN c.state IN ('open', 'probing') THEN 'the circuit breaker of its host is open: the host does not respond'
                     ELSE format('it has failed %s times in a row', t.failures) END;
      help := COALESCE(help, 'Mend what the error says. To retry it at once, call dtm_retry_now().');
    ELSE
      waits_for := 'branch';
      detail := 'its branch is not done yet (ONGOING), and is asked again at next_attempt';
    END IF;
  ELSE
    waits_for := 'turn';
    SELECT format('it is due; the coordinator has %s due transactions, the oldest since %s', v.backlog, v.oldest_due_age) INTO detail
      FROM dtm.stat_coordinator v LIMIT 1;
  END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.dtm_explain(text) IS
  'why nothing happens to a global transaction: what it waits for, since when, until when, the last error, and what would help';

CREATE FUNCTION @extschema@.dtm_wait(gid text, timeout interval DEFAULT '30 s') RETURNS text
AS 'MODULE_PATHNAME', 'dtm_wait' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_wait(text, interval) IS
  'waits until a global transaction is final, and returns its status; on time-out, returns the current status';

/* ---------- steering ---------- */

CREATE FUNCTION @extschema@.dtm_retry_now(gid text, reason text DEFAULT NULL) RETURNS void
AS 'MODULE_PATHNAME', 'dtm_retry_now' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_retry_now(text, text) IS 'makes a global transaction due at once';

/* dtm_resume() without an argument resumes the coordinators. */
CREATE FUNCTION @extschema@.dtm_resume(gid text, reason text DEFAULT NULL) RETURNS boolean
AS 'MODULE_PATHNAME', 'dtm_resume_transaction' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_resume(text, text) IS
  'resumes a parked global transaction, whose attempts start anew; returns false if it is not parked any more';

CREATE FUNCTION @extschema@.dtm_reset_cron_time(timeout interval, max integer DEFAULT 100, OUT succeed_count integer, OUT has_remaining boolean)
AS 'MODULE_PATHNAME', 'dtm_reset_cron_time' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_reset_cron_time(interval, integer) IS
  'makes transactions due at once whose next retry is more than timeout away, up to max of them';

CREATE FUNCTION @extschema@.dtm_assign(gid text, role regrole, reason text DEFAULT NULL) RETURNS void
AS 'MODULE_PATHNAME', 'dtm_assign' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_assign(text, regrole, text) IS
  'assigns a global transaction to a role, if the role that submitted it no longer exists';

CREATE FUNCTION @extschema@.dtm_force_stop(gid text, reason text DEFAULT NULL) RETURNS void
AS 'MODULE_PATHNAME', 'dtm_force_stop' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_force_stop(text, text) IS
  'ends a global transaction as failed in its current state: nothing more is called, nothing is undone';

CREATE FUNCTION @extschema@.dtm_edit_step(gid text, branch_id text, changes jsonb, reason text DEFAULT NULL) RETURNS void
AS 'MODULE_PATHNAME', 'dtm_edit_step' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_edit_step(text, text, jsonb, text) IS
  'changes the URLs, the payload or options of a branch whose calls have not ended yet, or (branch 00) the URL of a query; what has failed is retried at once';

CREATE FUNCTION @extschema@.dtm_skip_branch(gid text, branch_id text, op text, succeeded boolean, reason text DEFAULT NULL) RETURNS void
AS 'MODULE_PATHNAME', 'dtm_skip_branch' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_skip_branch(text, text, text, boolean, text) IS
  'lets an op of a branch count as succeeded or failed without a call';

CREATE FUNCTION @extschema@.dtm_resubmit(gid text, new_gid text DEFAULT NULL, reason text DEFAULT NULL) RETURNS text
AS 'MODULE_PATHNAME', 'dtm_resubmit' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_resubmit(text, text, text) IS
  'submits a saga or msg that has failed or was stopped anew, with the same steps, options and role; of a msg that has discarded steps, only those are called; returns the new gid';

/*
 * The trigger announces changes of dtm.home by a restore or by hand.
 * dtm_pause() and dtm_resume() announce their changes themselves.
 */
CREATE FUNCTION dtm.home_changed() RETURNS trigger
AS 'MODULE_PATHNAME', 'dtm_home_changed' LANGUAGE C;
CREATE TRIGGER home_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON dtm.home
  FOR EACH STATEMENT EXECUTE FUNCTION dtm.home_changed();
ALTER TABLE dtm.home ENABLE ALWAYS TRIGGER home_changed;

/* The coordinators look anew at what a TRUNCATE leaves. */
CREATE FUNCTION dtm.truncated() RETURNS trigger
AS 'MODULE_PATHNAME', 'dtm_truncated' LANGUAGE C;

/*
 * A table with a trigger is one that Citus refuses to distribute: each node has to have its
 * own.  Elsewhere there is none, since each insert of a row pays for a table that has
 * triggers, even if they are for TRUNCATE.
 */
CREATE FUNCTION dtm.guard_tables() RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['request', 'active', 'finished', 'attempt', 'result', 'act', 'dead_letter', 'lane', 'alert'] LOOP
    IF NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = format('dtm.%I', name)::regclass AND t.tgname = 'truncated') THEN
      EXECUTE format('CREATE TRIGGER truncated BEFORE TRUNCATE ON dtm.%I FOR EACH STATEMENT EXECUTE FUNCTION dtm.truncated()', name);
    END IF;
  END LOOP;
END
$$;

CREATE FUNCTION dtm.set_home() RETURNS void
AS 'MODULE_PATHNAME', 'dtm_set_home' LANGUAGE C VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION @extschema@.dtm_pause() RETURNS void
AS 'MODULE_PATHNAME', 'dtm_pause' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_pause() IS 'stops the coordinators of this database until dtm_resume(), even after a restart';

CREATE FUNCTION @extschema@.dtm_resume() RETURNS void
AS 'MODULE_PATHNAME', 'dtm_resume' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_resume() IS
  'resumes the coordinators of this database, also after the database was restored or copied';

CREATE PROCEDURE @extschema@.dtm_run_due(as_of timestamptz DEFAULT NULL, max_transactions integer DEFAULT NULL)
AS 'MODULE_PATHNAME', 'dtm_run_due' LANGUAGE C;
COMMENT ON PROCEDURE @extschema@.dtm_run_due(timestamptz, integer) IS
  'processes the transactions that are due at as_of in this session, at most max_transactions';

/* ---------- removing finished transactions ---------- */

CREATE FUNCTION @extschema@.dtm_cleanup(keep interval DEFAULT NULL, max_rows integer DEFAULT 100000) RETURNS bigint
AS 'MODULE_PATHNAME', 'dtm_cleanup' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_cleanup(interval, integer) IS
  'removes global transactions that finished more than keep ago (default: dtm.retention), with their calls and barrier rows; returns their number';

CREATE FUNCTION @extschema@.dtm_cleanup_barrier(keep interval, max_rows integer DEFAULT 100000) RETURNS bigint
AS 'MODULE_PATHNAME', 'dtm_cleanup_barrier' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_cleanup_barrier(interval, integer) IS
  'removes barrier rows that are older than keep and belong to transactions of another coordinator; returns their number';

/* ---------- scheduling with pg_cron ---------- */

CREATE FUNCTION dtm.need_pg_cron() RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_cron') THEN
    RAISE EXCEPTION 'pg_cron is not installed in this database'
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = format('Install its package (Debian: postgresql-%s-cron), add pg_cron to shared_preload_libraries, set cron.database_name to this database, restart the server, and run CREATE EXTENSION pg_cron.',
                          current_setting('server_version_num')::integer / 10000);
  END IF;
END
$$;

CREATE FUNCTION @extschema@.dtm_cron_install(schedule text DEFAULT '*/10 * * * *') RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM dtm.need_pg_cron();
  IF schedule IS NULL THEN
    RAISE EXCEPTION 'argument "schedule" must not be null'
      USING ERRCODE = 'null_value_not_allowed', HINT = 'Pass five fields, such as ''*/10 * * * *''.';
  END IF;
  RETURN cron.schedule('dtm_cleanup', schedule, 'SELECT @extschema@.dtm_cleanup()');
END
$$;
COMMENT ON FUNCTION @extschema@.dtm_cron_install(text) IS
  'schedules dtm_cleanup() as a pg_cron job, which replaces the removal by the coordinator; returns the id of the job';

CREATE FUNCTION @extschema@.dtm_cron_uninstall() RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM dtm.need_pg_cron();
  RETURN cron.unschedule('dtm_cleanup');
END
$$;
COMMENT ON FUNCTION @extschema@.dtm_cron_uninstall() IS
  'removes the job of dtm_cron_install(); the coordinator removes finished transactions again';

/* The names of the jobs do not depend on the extension's schema, which can be renamed. */
CREATE FUNCTION dtm.submit_request(request jsonb) RETURNS text
AS 'MODULE_PATHNAME', 'dtm_submit_request' LANGUAGE C VOLATILE PARALLEL UNSAFE;
CREATE FUNCTION dtm.new_gid() RETURNS text
AS 'MODULE_PATHNAME', 'dtm_new_gid' LANGUAGE C VOLATILE PARALLEL SAFE;

/* The function that a job runs.  If a job runs twice in a minute, the second run finds the gid. */
CREATE FUNCTION dtm.submit_scheduled(name text, request jsonb) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  gid text := name || '@' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD"T"HH24MI"Z"');
BEGIN
  RETURN dtm.submit_request(request || jsonb_build_object('gid', gid));
EXCEPTION WHEN SQLSTATE 'DT001' THEN
  RETURN gid;   /* it has finished already */
END
$$;

CREATE FUNCTION @extschema@.dtm_schedule(name text, cron text, request jsonb) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM dtm.need_pg_cron();
  IF name IS NULL THEN
    RAISE EXCEPTION 'argument "name" must not be null'
      USING ERRCODE = 'null_value_not_allowed', HINT = 'Pass 1 to 50 letters, digits and "_.-".';
  END IF;
  IF name !~ '^[A-Za-z0-9_.-]{1,50}$' THEN
    RAISE EXCEPTION 'invalid schedule name "%"', name
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass 1 to 50 letters, digits and "_.-"; the gids are name@YYYYMMDDTHHMIZ.';
  END IF;
  IF cron IS NULL THEN
    RAISE EXCEPTION 'argument "cron" must not be null'
      USING ERRCODE = 'null_value_not_allowed', HINT = 'Pass five fields, such as ''0 3 * * *''.';
  END IF;
  IF request ->> 'trans_type' NOT IN ('saga', 'msg') THEN
    RAISE EXCEPTION 'cannot schedule a global transaction of trans_type "%"', request ->> 'trans_type'
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Schedule a saga or a msg.';
  END IF;
  /* submit the request and roll it back: errors in the request are reported now */
  BEGIN
    PERFORM dtm.submit_request(request || jsonb_build_object('gid', dtm.new_gid()));
    RAISE EXCEPTION USING ERRCODE = 'DT000', MESSAGE = 'the test submit is rolled back';
  EXCEPTION WHEN SQLSTATE 'DT000' THEN
    NULL;
  END;
  RETURN cron.schedule('dtm:' || name, cron, format('SELECT dtm.submit_scheduled(%L, %L)', name, request));
END
$$;
COMMENT ON FUNCTION @extschema@.dtm_schedule(text, text, jsonb) IS
  'schedules submits of a global transaction with pg_cron; returns the id of the job';

CREATE FUNCTION @extschema@.dtm_unschedule(name text) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM dtm.need_pg_cron();
  IF name IS NULL THEN
    RAISE EXCEPTION 'argument "name" must not be null'
      USING ERRCODE = 'null_value_not_allowed', HINT = 'Pass the name of a schedule; dtm.schedules lists them.';
  END IF;
  RETURN cron.unschedule('dtm:' || name);
END
$$;
COMMENT ON FUNCTION @extschema@.dtm_unschedule(text) IS 'removes a schedule of dtm_schedule()';

/*
 * pg_cron need not be there, so a view cannot name its tables.  Who sees which jobs is
 * its own to say: a role that may not read cron.job sees none.
 */
CREATE FUNCTION dtm.schedule_list(
  OUT name text, OUT cron text, OUT role text, OUT active boolean, OUT request jsonb, OUT job bigint,
  OUT last_run timestamptz, OUT last_status text, OUT last_message text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  command text;
  literal text;
BEGIN
  IF NOT EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'pg_cron') OR
     NOT has_schema_privilege('cron', 'USAGE') OR NOT has_table_privilege('cron.job', 'SELECT') THEN
    RETURN;
  END IF;
  FOR name, cron, role, active, job, command, last_run, last_status, last_message IN EXECUTE
    'SELECT substr(j.jobname, 5), j.schedule, j.username::text, j.active, j.jobid, j.command, d.start_time, d.status, d.return_message
       FROM cron.job j
            LEFT JOIN LATERAL (SELECT r.start_time, r.status, r.return_message FROM cron.job_run_details r
                                WHERE r.jobid = j.jobid ORDER BY r.runid DESC LIMIT 1) d ON true
      WHERE j.jobname LIKE ''dtm:%'' AND j.database = current_database()
      ORDER BY 1'
  LOOP
    /* as dtm_schedule() has written it: a literal is the last argument */
    literal := substring(command FROM '^SELECT dtm\.submit_scheduled\(''[^'']*'', +(E?''.*'')\)$');
    BEGIN
      request := CASE WHEN literal IS NULL THEN NULL
                      WHEN literal LIKE 'E%' THEN replace(replace(substr(literal, 3, length(literal) - 3), '''''', ''''), '\\', '\')
                      ELSE replace(substr(literal, 2, length(literal) - 2), '''''', '''') END::jsonb;
    EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
      /* somebody has changed the job: the others are shown all the same */
      request := NULL;
    END;
    RETURN NEXT;
  END LOOP;
END
$$;

CREATE VIEW dtm.schedules AS
  SELECT s.name, s.cron, s.role, s.active, s.request, s.job, s.last_run, s.last_status, s.last_message FROM dtm.schedule_list() s;
COMMENT ON VIEW dtm.schedules IS 'schedules of dtm_schedule(), as far as pg_cron shows its jobs to the current role; none without pg_cron';
COMMENT ON COLUMN dtm.schedules.name IS 'name that was passed to dtm_schedule(); gids are name@YYYYMMDDTHHMIZ';
COMMENT ON COLUMN dtm.schedules.cron IS 'when it is submitted';
COMMENT ON COLUMN dtm.schedules.role IS 'role that submits it';
COMMENT ON COLUMN dtm.schedules.active IS 'false: its job is switched off in pg_cron';
COMMENT ON COLUMN dtm.schedules.request IS 'what is submitted; NULL: the job''s command is not one that dtm_schedule() has written';
COMMENT ON COLUMN dtm.schedules.job IS 'id of the job in pg_cron';
COMMENT ON COLUMN dtm.schedules.last_run IS 'when it was submitted last';
COMMENT ON COLUMN dtm.schedules.last_status IS 'succeeded or failed, as pg_cron says';
COMMENT ON COLUMN dtm.schedules.last_message IS 'error of that run, or what it returned';

/* ---------- services as foreign servers ---------- */

CREATE FUNCTION dtm.http_validator(options text[], catalog oid) RETURNS void
AS 'MODULE_PATHNAME', 'dtm_http_validator' LANGUAGE C STRICT;

CREATE FOREIGN DATA WRAPPER dtm_http VALIDATOR dtm.http_validator;
COMMENT ON FOREIGN DATA WRAPPER dtm_http IS
  'services that branches call as server:name/path, with the user mapping of the role that submitted';

CREATE FUNCTION @extschema@.dtm_verify_signature(signature text, key text, gid text, branch_id text, op text, body bytea, max_age interval DEFAULT '5 minutes')
RETURNS boolean
AS 'MODULE_PATHNAME', 'dtm_verify_signature' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.dtm_verify_signature(text, text, text, text, text, bytea, interval) IS
  'returns whether a request''s header Dtm-Signature was made with this key for these values, at most max_age ago (NULL: at any time)';

/* ---------- the version of the library ---------- */

CREATE FUNCTION dtm.library_version() RETURNS text
AS 'MODULE_PATHNAME', 'dtm_library_version' LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION dtm.library_version() IS 'version of the loaded dtm library';

/* ---------- numbers, for monitoring: docs/monitoring.md ---------- */

/*
 * All metrics that there are, in the order in which they are shown.  Those for which
 * there is no sample yet (a host that was not called) are here only.
 */
CREATE FUNCTION dtm.metric_families(OUT ordinal integer, OUT family text, OUT type text, OUT unit text, OUT help text)
RETURNS SETOF record
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT pg_catalog.row_number() OVER ()::integer, f.* FROM (VALUES
    ('dtm_extension_info', 'gauge', NULL::text, 'Version of the loaded dtm library; always 1.'),
    ('dtm_counters_start_time_seconds', 'gauge', 'seconds', 'Unix time since when this database counts.'),
    ('dtm_transactions_created_total', 'counter', NULL, 'Global transactions that were submitted or prepared.'),
    ('dtm_transactions_ended_total', 'counter', NULL, 'Global transactions that have ended, by their outcome.'),
    ('dtm_transaction_duration_seconds', 'histogram', 'seconds', 'Time from the submit or prepare of a global transaction to its end.'),
    ('dtm_first_call_delay_seconds', 'histogram', 'seconds', 'Time from the submit of a global transaction to its first call, without those that were prepared, delayed or waited for their lane.'),
    ('dtm_transactions_unfinished', 'gauge', NULL, 'Global transactions that have not ended, by their state.'),
    ('dtm_backlog_transactions', 'gauge', NULL, 'Global transactions that are due.'),
    ('dtm_backlog_oldest_seconds', 'gauge', 'seconds', 'Time for which the oldest of them has been due.'),
    ('dtm_stuck_transactions', 'gauge', NULL, 'Global transactions that need somebody to look at them, by the reason.'),
    ('dtm_orphaned_transactions', 'gauge', NULL, 'Prepared transactions of XA branches whose global transaction has ended or is not known here.'),
    ('dtm_alerts_open', 'gauge', NULL, 'Alerts that are open, by their kind.'),
    ('dtm_alerts_total', 'counter', NULL, 'Alerts that were raised, by what had happened.'),
    ('dtm_calls_total', 'counter', NULL, 'Calls of branches that have ended, by their result.'),
    ('dtm_call_duration_seconds', 'histogram', 'seconds', 'Time that calls of branches took.'),
    ('dtm_host_calls_in_flight', 'gauge', NULL, 'Calls to a host that are in flight.'),
    ('dtm_host_calls_waiting', 'gauge', NULL, 'Calls to a host that wait for their turn.'),
    ('dtm_host_window_calls', 'gauge', NULL, 'Number of calls to a host that may be in flight, as learned from its responses.'),
    ('dtm_host_circuit_open', 'gauge', NULL, 'Number of coordinators whose circuit breaker for a host is open.'),
    ('dtm_coordinator_processes', 'gauge', NULL, 'Coordinators of the database, by their state.'),
    ('dtm_coordinator_calls_in_flight', 'gauge', NULL, 'Calls that a coordinator has in flight, functions included.'),
    ('dtm_coordinator_calls_waiting', 'gauge', NULL, 'Calls of a coordinator that wait for their turn.'),
    ('dtm_coordinator_transactions_loaded', 'gauge', NULL, 'Global transactions in the memory of a coordinator.'),
    ('dtm_coordinator_commits_total', 'counter', NULL, 'Commits of a coordinator since its start.'),
    ('dtm_coordinator_errors_total', 'counter', NULL, 'Global transactions that a coordinator had to postpone because of an error, since its start.'),
    ('dtm_sql_workers_busy', 'gauge', NULL, 'Background workers that run a function.'),
    ('dtm_sql_workers_idle', 'gauge', NULL, 'Background workers that wait for a function to run.'),
    ('dtm_sql_workers_stray', 'gauge', NULL, 'Background workers that were told to end and have not.'),
    ('dtm_sql_workers_max', 'gauge', NULL, 'The setting dtm.sql_workers.'),
    ('dtm_table_size_bytes', 'gauge', 'bytes', 'Size of a table with its indexes.'),
    ('dtm_table_rows', 'gauge', NULL, 'Rows of a table, as estimated by VACUUM and ANALYZE.'),
    ('dtm_transaction_process_total', 'counter', NULL, 'Global transactions that have ended, as the dtm server names it.'),
    ('dtm_transaction_handled_duration', 'histogram', 'seconds', 'Seconds from the submit or prepare of a global transaction to its end, as the dtm server names it.'),
    ('dtm_branch_process_total', 'counter', NULL, 'Calls of branches that have ended, as the dtm server names it.')
  ) f(family, type, unit, help)
$$;
COMMENT ON FUNCTION dtm.metric_families() IS 'all metrics of dtm.metrics, also those without a sample';

CREATE FUNCTION dtm.metric_counters(OUT family text, OUT suffix text, OUT labels text[], OUT value double precision)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'dtm_metric_counters' LANGUAGE C VOLATILE PARALLEL SAFE ROWS 300;
COMMENT ON FUNCTION dtm.metric_counters() IS 'what is counted in shared memory for this database';

/*
 * Reads no more than "most" rows of a table, however large it is: where there are more,
 * numbers are estimates.  Tables of what has ended are not read at all.
 */
CREATE FUNCTION dtm.metric_samples(
  OUT name text, OUT labels jsonb, OUT value double precision, OUT family text, OUT type text, OUT unit text, OUT help text)
RETURNS SETOF record
LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
  most constant integer := 20000;
  at constant timestamptz := clock_timestamp();
  failures_limit constant integer := dtm.alert_retry_limit();
  ongoing_limit constant timestamptz := at - dtm.stuck_after();
BEGIN
  RETURN QUERY
  WITH seen AS MATERIALIZED (
    SELECT a.state, count(*) AS n, count(*) FILTER (WHERE a.next_time <= at) AS due,
           count(*) FILTER (WHERE a.next_time < 'infinity' AND NOT a.ownerless AND a.failures >= failures_limit) AS failing,
           count(*) FILTER (WHERE a.next_time < 'infinity' AND NOT a.ownerless AND a.failures < failures_limit AND a.ongoing_since < ongoing_limit) AS ongoing,
           count(*) FILTER (WHERE a.next_time < 'infinity' AND a.ownerless) AS ownerless
      FROM (SELECT dtm.active_state(a.status, a.next_time, a.failures, a.delayed, a.held) AS state, a.next_time, a.failures, a.ongoing_since,
                   dtm.submitter_role(a.submitted_by) IS NULL AS ownerless
              FROM dtm.active a LIMIT most + 1) a
     GROUP BY a.state
  ), estimate AS MATERIALIZED (
    SELECT round(s.due * f.factor) AS due, round(s.failing * f.factor) AS failing, round(s.ongoing * f.factor) AS ongoing,
           round(s.ownerless * f.factor) AS ownerless, f.factor
      FROM (SELECT COALESCE(sum(s.n), 0) AS n, COALESCE(sum(s.due), 0) AS due, COALESCE(sum(s.failing), 0) AS failing,
                   COALESCE(sum(s.ongoing), 0) AS ongoing, COALESCE(sum(s.ownerless), 0) AS ownerless FROM seen s) s,
           pg_class c,
           LATERAL (SELECT CASE WHEN s.n <= most THEN 1 ELSE GREATEST(c.reltuples, s.n) / s.n END::float8 AS factor) f
     WHERE c.oid = 'dtm.active'::regclass
  ), parked AS MATERIALIZED (
    SELECT count(*) FILTER (WHERE p.is_parked) AS n, count(*) FILTER (WHERE p.is_parked AND NOT p.ownerless) AS stuck,
           count(*) FILTER (WHERE p.ownerless) AS ownerless
      FROM (SELECT a.status <> 'p' AND a.held IS NOT TRUE AS is_parked, dtm.submitter_role(a.submitted_by) IS NULL AS ownerless
              FROM dtm.active a WHERE a.next_time = 'infinity' LIMIT most + 1) p
  ), coordinator AS MATERIALIZED (
    SELECT c.* FROM dtm.coordinator_stats() c
  ), host AS MATERIALIZED (
    SELECT h.host, sum(h.in_flight) AS in_flight, sum(h.waiting) AS waiting, sum(h.window_size) AS window_size,
           count(*) FILTER (WHERE h.state <> 'closed') AS open
      FROM dtm.host_stats() h GROUP BY h.host
  ), sample(family, suffix, labels, value) AS (
    SELECT c.family, c.suffix, jsonb_object(c.labels), c.value FROM dtm.metric_counters() c
    UNION ALL
    SELECT 'dtm_extension_info', '', jsonb_build_object('version', dtm.library_version()), 1
    UNION ALL
    SELECT 'dtm_transactions_unfinished', '', jsonb_build_object('state', w.state),
           CASE w.state WHEN 'parked' THEN (SELECT p.n FROM parked p)
                        ELSE COALESCE(round((SELECT s.n FROM seen s WHERE s.state = w.state) * e.factor), 0) END
      FROM estimate e, (VALUES ('scheduled'), ('running'), ('waiting'), ('retrying'), ('parked'), ('rolling back')) w(state)
    UNION ALL
    SELECT 'dtm_backlog_transactions', '', '{}', e.due FROM estimate e
    UNION ALL
    SELECT 'dtm_backlog_oldest_seconds', '', '{}',
           GREATEST(COALESCE(EXTRACT(epoch FROM at - NULLIF((SELECT min(a.next_time) FROM dtm.active a WHERE a.next_time <= at), '-infinity')), 0), 0)
    UNION ALL
    SELECT 'dtm_stuck_transactions', '', jsonb_build_object('reason', w.reason),
           CASE w.reason WHEN 'parked' THEN (SELECT p.stuck FROM parked p)
                         WHEN 'failing' THEN e.failing
                         WHEN 'ongoing' THEN e.ongoing
                         ELSE e.ownerless + (SELECT p.ownerless FROM parked p) END
      FROM estimate e, (VALUES ('failing'), ('parked'), ('ongoing'), ('ownerless')) w(reason)
    UNION ALL
    SELECT 'dtm_orphaned_transactions', '', '{}',
           CASE WHEN NOT EXISTS (SELECT FROM pg_prepared_xacts) THEN 0 ELSE (SELECT count(*) FROM dtm.orphans) END
    UNION ALL
    SELECT 'dtm_alerts_open', '', jsonb_build_object('kind', w.kind),
           (SELECT count(*) FROM dtm.alert a WHERE a.resolved IS NULL AND a.kind = w.kind)
      FROM (VALUES ('unreachable'), ('failing'), ('parked'), ('ongoing'), ('discarded'), ('paused'), ('not running'), ('orphans')) w(kind)
    UNION ALL
    SELECT f.family, '', jsonb_build_object('host', h.host), f.value
      FROM host h, LATERAL (VALUES ('dtm_host_calls_in_flight', h.in_flight), ('dtm_host_calls_waiting', h.waiting),
                                   ('dtm_host_window_calls', h.window_size), ('dtm_host_circuit_open', h.open)) f(family, value)
    UNION ALL
    SELECT 'dtm_coordinator_processes', '', jsonb_build_object('state', w.state),
           (SELECT count(*) FROM coordinator c WHERE c.state = w.state)
      FROM (VALUES ('running'), ('draining'), ('paused'), ('yielding'), ('starting'), ('stopped'), ('gone'), ('not running'),
                   ('standby'), ('not preloaded')) w(state)
    UNION ALL
    SELECT f.family, '', jsonb_build_object('coordinator', c.coordinator::text), f.value
      FROM coordinator c, LATERAL (VALUES ('dtm_coordinator_calls_in_flight', c.in_flight), ('dtm_coordinator_calls_waiting', c.queued),
                                          ('dtm_coordinator_transactions_loaded', c.loaded), ('dtm_coordinator_commits_total', c.commits),
                                          ('dtm_coordinator_errors_total', c.errors)) f(family, value)
     WHERE c.coordinator IS NOT NULL
    UNION ALL
    SELECT f.family, '', jsonb_build_object('table', t.relname), f.value
      FROM (SELECT c.relname, c.reltuples, c.oid FROM pg_class c
             WHERE c.relnamespace IN ('dtm'::regnamespace, 'dtm_barrier'::regnamespace) AND c.relkind = 'r'
             ORDER BY c.relname) t,
           LATERAL (VALUES ('dtm_table_size_bytes', pg_total_relation_size(t.oid)::float8), ('dtm_table_rows', NULLIF(t.reltuples, -1)::float8)) f(family, value)
     WHERE f.value IS NOT NULL
  )
  SELECT s.family || s.suffix, s.labels, s.value::float8, f.family, f.type, f.unit, f.help
    FROM (SELECT s.*, row_number() OVER () AS n FROM sample s) s
         JOIN dtm.metric_families() f ON f.family = s.family
   ORDER BY f.ordinal, s.n;
END
$$;
COMMENT ON FUNCTION dtm.metric_samples() IS 'the rows of dtm.metrics, for the roles that may ask for them';

CREATE VIEW dtm.metrics AS
  SELECT s.name, s.labels, s.value, s.family, s.type, s.unit, s.help FROM dtm.metric_samples() s;
COMMENT ON VIEW dtm.metrics IS 'metrics of this database, of all roles: one row for each sample of Prometheus; counters start at 0 when the server starts';
COMMENT ON COLUMN dtm.metrics.name IS 'name of the sample: the family, and _bucket, _sum or _count for parts of a histogram';
COMMENT ON COLUMN dtm.metrics.labels IS 'labels of the sample, as strings';
COMMENT ON COLUMN dtm.metrics.value IS 'value of the sample';
COMMENT ON COLUMN dtm.metrics.family IS 'name of the metric';
COMMENT ON COLUMN dtm.metrics.type IS 'counter, gauge or histogram';
COMMENT ON COLUMN dtm.metrics.unit IS 'seconds or bytes; NULL: a number of things';
COMMENT ON COLUMN dtm.metrics.help IS 'what the metric means';

/* ---------- the network API: docs/gateway.md ---------- */

CREATE TABLE dtm.api_token (
  hash bytea NOT NULL CONSTRAINT api_token_pkey PRIMARY KEY,
  role dtm.submitter NOT NULL,
  created timestamptz NOT NULL,
  expires timestamptz,
  note text COLLATE "C" NOT NULL
);
COMMENT ON TABLE dtm.api_token IS 'SHA-256 of the tokens that clients of the gateway show, and the role of each';
SELECT pg_catalog.pg_extension_config_dump('dtm.api_token', '');

CREATE FUNCTION @extschema@.dtm_create_token(role name, valid interval DEFAULT NULL, note text DEFAULT '') RETURNS text
AS 'MODULE_PATHNAME', 'dtm_create_token' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_create_token(name, interval, text) IS
  'creates a token with which a client of the gateway is a role; it is shown only now';

CREATE VIEW dtm.api_tokens AS
  SELECT pg_catalog.left(pg_catalog.encode(t.hash, 'hex'), 16) AS id, dtm.submitter_role(t.role) AS role, t.created, t.expires, t.note
    FROM dtm.api_token t;
COMMENT ON VIEW dtm.api_tokens IS 'tokens of the gateway''s clients, without the tokens; dtm_revoke_token(id) removes one';
COMMENT ON COLUMN dtm.api_tokens.id IS 'what dtm_revoke_token() takes: the first digits of the hash';
COMMENT ON COLUMN dtm.api_tokens.role IS 'role that a client with the token is; NULL: it does not exist any more';
COMMENT ON COLUMN dtm.api_tokens.created IS 'when it was created';
COMMENT ON COLUMN dtm.api_tokens.expires IS 'until when it is valid; NULL: until it is revoked';
COMMENT ON COLUMN dtm.api_tokens.note IS 'what whoever created it has noted';

CREATE FUNCTION @extschema@.dtm_revoke_token(id text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF id IS NULL THEN
    RAISE EXCEPTION 'argument "id" must not be null'
      USING ERRCODE = 'null_value_not_allowed', HINT = 'Pass the id of a token; dtm.api_tokens lists them.';
  END IF;
  DELETE FROM dtm.api_token t WHERE "left"(encode(t.hash, 'hex'), 16) = id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'token "%" does not exist', id
      USING ERRCODE = 'undefined_object', HINT = 'Look for its id in dtm.api_tokens.';
  END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.dtm_revoke_token(text) IS
  'removes a token of a client of the gateway, which counts from the next request on';

CREATE FUNCTION dtm.gateway_batch(
  roles text[], tokens bytea[], ops text[], bodies bytea[], payload_counts integer[], payloads bytea[], careful boolean,
  OUT n integer, OUT outcome text, OUT message text, OUT sqlstate text, OUT answer bytea[], OUT wait bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'dtm_gateway_batch' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION dtm.gateway_batch(text[], bytea[], text[], bytea[], integer[], bytea[], boolean) IS
  'requests of the gateway''s clients, each as its role: what each has come to; careful: an error is only its own';

CREATE PROCEDURE dtm.gateway_wait(ids bigint[], timeout integer, INOUT ended bigint[], INOUT outcomes text[], INOUT messages text[])
AS 'MODULE_PATHNAME', 'dtm_gateway_wait' LANGUAGE C;
COMMENT ON PROCEDURE dtm.gateway_wait(bigint[], integer, bigint[], text[], text[]) IS
  'waits, at most timeout milliseconds, until the first pass of some of the transactions has ended, and returns what it has come to';

/* An integer of a query string, in dtm's words where it is none. */
CREATE FUNCTION dtm.gateway_number(arguments jsonb, name text, otherwise bigint) RETURNS bigint
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  value text := arguments ->> name;
BEGIN
  IF COALESCE(value, '') = '' THEN
    RETURN otherwise;
  END IF;
  IF value !~ '^[-+]?[0-9]{1,18}$' THEN
    RAISE EXCEPTION 'convert to int error: %', value
      USING ERRCODE = 'invalid_parameter_value', HINT = format('%s is an integer.', name);
  END IF;
  RETURN value::bigint;
END
$$;

/* A page of transactions, the newest first (AP-05 to AP-08). */
CREATE FUNCTION dtm.gateway_all(arguments jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
  page bigint := LEAST(GREATEST(dtm.gateway_number(arguments, 'limit', 100), 0), 10000);
  before bigint := dtm.gateway_number(arguments, 'position', NULL);
  earliest bigint := dtm.gateway_number(arguments, 'createTimeStart', NULL) / 1000;
  latest bigint := dtm.gateway_number(arguments, 'createTimeEnd', NULL) / 1000;
  wanted_status text := NULLIF(arguments ->> 'status', '');
  wanted_type text := NULLIF(arguments ->> 'transType', '');
  ids bigint[];
  found jsonb;
BEGIN
  IF COALESCE(arguments ->> 'gid', '') <> '' THEN
    found := @extschema@.dtm_query(arguments ->> 'gid') -> 'transaction';
    RETURN jsonb_build_object('transactions', CASE WHEN found <> 'null' THEN jsonb_build_array(found) END,
                              'next_position', '');
  END IF;
  ids := ARRAY(SELECT t.id FROM dtm.transactions t
                WHERE (before IS NULL OR t.id < before)
                  AND (wanted_status IS NULL OR t.status = wanted_status)
                  AND (wanted_type IS NULL OR t.trans_type = wanted_type)
                  AND (earliest IS NULL OR extract(epoch FROM t.created) >= earliest)
                  AND (latest IS NULL OR extract(epoch FROM t.created) <= latest)
                ORDER BY t.id DESC LIMIT page);
  RETURN jsonb_build_object(
    'transactions',
    COALESCE((SELECT jsonb_agg(@extschema@.dtm_query(t.gid) -> 'transaction' ORDER BY t.id DESC)
                FROM dtm.transactions t WHERE t.id = ANY (ids)), '[]'),
    'next_position', CASE WHEN cardinality(ids) < page OR page = 0 THEN '' ELSE ids[cardinality(ids)]::text END);
END
$$;

/* Topics as the pairs of key and value that dtm keeps them as (§2). */
CREATE FUNCTION dtm.gateway_kv(arguments jsonb, paged boolean) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
  page bigint := CASE WHEN paged THEN LEAST(GREATEST(dtm.gateway_number(arguments, 'limit', 100), 0), 10000) ELSE 10000 END;
  after text := COALESCE(arguments ->> 'position', '');
  wanted_cat text := COALESCE(arguments ->> 'cat', '');
  wanted_key text := NULLIF(arguments ->> 'key', '');
  names text[];
  kv jsonb;
BEGIN
  names := ARRAY(SELECT DISTINCT t.topic FROM dtm.topics t
                  WHERE wanted_cat IN ('', 'topics') AND t.topic > after COLLATE "C"
                    AND (paged OR wanted_key IS NULL OR t.topic = wanted_key)
                  ORDER BY t.topic LIMIT page);
  SELECT jsonb_agg(k.pair ORDER BY k.topic) INTO kv
    FROM (SELECT t.topic,
                 jsonb_build_object(
                   'id', hashtext(t.topic)::bigint + 2147483648, 'cat', 'topics', 'k', t.topic, 'version', t.version,
                   'v', COALESCE(jsonb_agg(jsonb_build_object('url', t.url, 'remark', t.remark) ORDER BY t.ordinal)
                                   FILTER (WHERE t.url IS NOT NULL), '[]')::text) AS pair
            FROM dtm.topics t WHERE t.topic = ANY (names) GROUP BY t.topic, t.version) k;
  RETURN jsonb_build_object('kv', COALESCE(kv, '[]')) ||
         CASE WHEN paged THEN
           jsonb_build_object('next_position', CASE WHEN cardinality(names) < page OR page = 0 THEN ''
                                                    ELSE names[cardinality(names)] END)
         ELSE '{}' END;
END
$$;

/* What a batch leaves to SQL, with the rights of the role that asks. */
CREATE FUNCTION dtm.gateway_call(op text, arguments jsonb) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
DECLARE
  answer jsonb;
BEGIN
  IF op = 'query' THEN
    IF COALESCE(arguments ->> 'gid', '') = '' THEN
      RAISE EXCEPTION 'no gid specified'
        USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass the gid of the global transaction.';
    END IF;
    RETURN @extschema@.dtm_query(arguments ->> 'gid');
  ELSIF op = 'progresses' THEN
    answer := @extschema@.dtm_query(translate(arguments ->> 'gid', E'\n\r;', ''));
    RETURN jsonb_build_object('transaction', answer -> 'transaction', 'progresses', answer -> 'branches');
  ELSIF op = 'all' THEN
    RETURN dtm.gateway_all(arguments);
  ELSIF op = 'scanKV' THEN
    RETURN dtm.gateway_kv(arguments, true);
  ELSIF op = 'queryKV' THEN
    RETURN dtm.gateway_kv(arguments, false);
  ELSIF op = 'page' THEN
    RETURN dtm.page(arguments);
  ELSIF op = 'pageAct' THEN
    RETURN dtm.page_act(arguments);
  ELSIF op = 'resetCronTime' THEN
    SELECT jsonb_build_object('succeed_count', r.succeed_count, 'has_remaining', r.has_remaining) INTO answer
      FROM @extschema@.dtm_reset_cron_time(
        COALESCE((SELECT make_interval(secs => sign(n) * LEAST(abs(n), 1000000000000)) FROM dtm.gateway_number(arguments, 'timeout', NULL) n),
                 3 * current_setting('dtm.timeout_to_fail')::interval),
        GREATEST(LEAST(dtm.gateway_number(arguments, 'limit', 100), 2147483647), -1)::integer) r;
    RETURN answer;
  END IF;
  CASE op
    WHEN 'subscribe' THEN
      PERFORM @extschema@.dtm_subscribe(arguments ->> 'topic', arguments ->> 'url', arguments ->> 'remark');
    WHEN 'unsubscribe' THEN
      PERFORM @extschema@.dtm_unsubscribe(arguments ->> 'topic', arguments ->> 'url');
    WHEN 'deleteTopic' THEN
      PERFORM @extschema@.dtm_delete_topic(arguments ->> 'topic');
  END CASE;
  RETURN '{"dtm_result":"SUCCESS"}';
END
$$;

/* ---------- the page for operators: docs/page.md ---------- */

/*
 * What the gateway's page asks, as the role of the operator: it reads the views above,
 * and acts by the functions that everybody calls, so their privileges decide.  Reading
 * is STABLE, which cannot write.
 */

/* The host of a URL, as dtm.stat_hosts names it. */
CREATE FUNCTION dtm.url_host(url text) RETURNS text
AS 'MODULE_PATHNAME', 'dtm_url_host' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

/* What is called: the host of a URL, also if a server has it; or a function. */
CREATE FUNCTION dtm.page_host(url text) RETURNS text
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE WHEN $1 = '' THEN ''
              WHEN $1 LIKE 'sql:%' THEN split_part($1, '?', 1)
              WHEN $1 LIKE 'server:%' THEN COALESCE(dtm.url_host(dtm.base_url($1)), substring($1 FROM '^server:[^/?]*'))
              ELSE dtm.url_host($1) END
$$;

/* The beginning of a text; what is cut off is asked for by "more". */
CREATE FUNCTION dtm.page_cut(value text) RETURNS jsonb
LANGUAGE sql IMMUTABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE WHEN length($1) > 2000 THEN jsonb_build_object('text', left($1, 2000), 'length', length($1))
              ELSE jsonb_build_object('text', $1) END
$$;

/* Who asks, and what he may do. */
CREATE FUNCTION dtm.page_me() RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT jsonb_build_object(
    'role', current_user::text, 'sees_all', dtm.sees_all(), 'database', current_database()::text,
    'version', dtm.library_version(),
    'alert_retry_limit', dtm.alert_retry_limit(),
    'may', jsonb_build_object(
      'retry', has_function_privilege('@extschema@.dtm_retry_now(text, text)', 'EXECUTE'),
      'abort', has_function_privilege('@extschema@.dtm_abort(text, text)', 'EXECUTE'),
      'stop', has_function_privilege('@extschema@.dtm_force_stop(text, text)', 'EXECUTE'),
      'resume', has_function_privilege('@extschema@.dtm_resume(text, text)', 'EXECUTE'),
      'resubmit', has_function_privilege('@extschema@.dtm_resubmit(text, text, text)', 'EXECUTE'),
      'edit', has_function_privilege('@extschema@.dtm_edit_step(text, text, jsonb, text)', 'EXECUTE'),
      'skip', has_function_privilege('@extschema@.dtm_skip_branch(text, text, text, boolean, text)', 'EXECUTE'),
      'assign', has_function_privilege('@extschema@.dtm_assign(text, regrole, text)', 'EXECUTE'),
      'pause', has_function_privilege('@extschema@.dtm_pause()', 'EXECUTE'),
      'unsubscribe', has_function_privilege('@extschema@.dtm_unsubscribe(text, text)', 'EXECUTE'),
      'hosts', has_table_privilege('dtm.stat_hosts', 'SELECT'),
      'orphans', has_table_privilege('dtm.orphans', 'SELECT')))
$$;

/*
 * The transactions that fit some filters, the newest first, up to so many.  However
 * rare they are, the newest 5,000 of the state are looked at, and 2,000 if their calls
 * have to be; searched_to is where to go on, NULL: there are no more.  What the view's
 * indexes know, state and the beginning of the gid, needs no such limit.
 */
CREATE FUNCTION dtm.page_find(arguments jsonb, many integer, OUT ids bigint[], OUT searched_to bigint)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  before bigint := COALESCE((arguments ->> 'before')::bigint, 9223372036854775807);
  state text := NULLIF(arguments ->> 'state', '');
  host text := NULLIF(arguments ->> 'host', '');
  wanted text := lower(NULLIF(arguments ->> 'error', ''));
  prefix text := NULLIF(arguments ->> 'gid', '');
  top text;
  deep boolean := host IS NOT NULL OR wanted IS NOT NULL;
  kind text := NULLIF(arguments ->> 'type', '');
  owner text := NULLIF(arguments ->> 'role', '');
  age interval := substring(arguments ->> 'age' FROM '^[0-9]{1,6} (?:minute|hour|day)s?$')::interval;
  most integer := GREATEST(COALESCE(many, 50), 1);
  depth integer := CASE WHEN deep THEN 2000 WHEN kind IS NULL AND owner IS NULL AND age IS NULL THEN most + 1 ELSE 5000 END;
  stuck bigint[];
  called bigint[];
  lowest bigint;
  found_rows bigint;
BEGIN
  IF age IS NULL AND arguments ->> 'age' <> '' THEN
    RAISE EXCEPTION 'invalid value for "age": "%"', arguments ->> 'age'
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass a number of minutes, hours or days, such as 10 minutes.';
  END IF;
  IF state = 'stuck' THEN
    SELECT array_agg(s.id) INTO stuck FROM dtm.stuck s;
  END IF;
  /* the character that is the last one when bytes are compared, which a gid has 128 times at most */
  top := convert_from(CASE WHEN getdatabaseencoding() = 'UTF8' THEN '\xf48fbfbf'
                           WHEN getdatabaseencoding() = 'EUC_TW' THEN '\xfffe'
                           WHEN getdatabaseencoding() LIKE 'EUC%' THEN '\xfefe'
                           ELSE '\xff' END::bytea, getdatabaseencoding());
  EXECUTE 'SELECT array_agg(s.id ORDER BY s.id DESC) FILTER (WHERE ($5 IS NULL OR s.trans_type = $5) AND ($6 IS NULL OR s.submitted_by::text = $6) AND ($7 IS NULL OR s.created < statement_timestamp() - $7)), min(s.id), count(*)
             FROM (SELECT t.id, t.trans_type, t.submitted_by, t.created FROM dtm.transactions t WHERE t.id < $1'
    || CASE state WHEN 'all' THEN '' WHEN 'stuck' THEN ' AND t.id = ANY ($8)'
                  WHEN 'active' THEN ' AND t.status IN (''prepared'', ''submitted'', ''aborting'')'
                  ELSE CASE WHEN state IS NULL THEN '' ELSE ' AND t.state = $2' END END
    || CASE WHEN prefix IS NULL THEN '' ELSE ' AND t.gid >= $3 AND t.gid < $4' END
    || ' LIMIT ' || depth || ') s'
    INTO ids, lowest, found_rows
    USING before, state, prefix, prefix || repeat(top, 128), kind, owner, age, COALESCE(stuck, '{}');
  searched_to := CASE WHEN found_rows = depth THEN lowest END;
  IF deep THEN
    SELECT array_agg(f.id) INTO called FROM dtm.in_flight f WHERE dtm.page_host(f.url) = host;
    SELECT array_agg(u.id ORDER BY u.id DESC) INTO ids
      FROM unnest(ids) u(id)
           LEFT JOIN LATERAL (SELECT c.url, c.error FROM dtm.calls c WHERE c.id = u.id AND c.result <> 'SUCCESS' ORDER BY c.started DESC LIMIT 1) l ON true
     WHERE (host IS NULL OR dtm.page_host(l.url) = host OR u.id = ANY (called))
       AND (wanted IS NULL OR strpos(lower(l.error), wanted) > 0 OR
            EXISTS (SELECT FROM dtm.transactions t WHERE t.id = u.id AND strpos(lower(t.rollback_reason), wanted) > 0));
  END IF;
  IF cardinality(ids) > most THEN
    ids := ids[1:most];
    searched_to := ids[most];
  END IF;
  ids := COALESCE(ids, '{}');
END
$$;

CREATE FUNCTION dtm.page_rows(ids bigint[]) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT COALESCE(jsonb_agg(to_jsonb(s) ORDER BY s.id DESC), '[]')
    FROM (SELECT t.id, t.gid, t.trans_type, t.state, t.created, t.updated, t.finished, t.next_attempt,
                 left(t.rollback_reason, 300) AS rollback_reason, t.submitted_by::text AS submitted_by, t.steps, t.current_step,
                 t.failures, t.failed_branch, t.failed_op, left(t.failure #>> '{}', 300) AS failure,
                 l.url, l.op, l.http_status, left(l.error, 300) AS error,
                 (SELECT left(p.reason, 300) FROM dtm.parked p WHERE p.id = t.id) AS parked_reason
            FROM dtm.transactions t
                 LEFT JOIN LATERAL (SELECT c.url, c.op, c.http_status, c.error FROM dtm.calls c
                                     WHERE c.id = t.id AND c.result <> 'SUCCESS' ORDER BY c.started DESC LIMIT 1) l ON t.state <> 'succeeded'
           WHERE t.id = ANY ($1)) s
$$;

CREATE FUNCTION dtm.page_list(arguments jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  found record;
BEGIN
  SELECT * INTO found FROM dtm.page_find(arguments, CASE WHEN arguments ? 'gids' THEN 1000 ELSE 50 END);
  IF arguments ? 'gids' THEN
    RETURN jsonb_build_object('next', found.searched_to,
      'gids', (SELECT COALESCE(jsonb_agg(t.gid ORDER BY t.id DESC), '[]') FROM dtm.transactions t WHERE t.id = ANY (found.ids)));
  END IF;
  RETURN jsonb_build_object('next', found.searched_to, 'rows', dtm.page_rows(found.ids),
    'searched', (SELECT t.created FROM dtm.transactions t WHERE t.id = found.searched_to),
    'counts', (SELECT jsonb_object_agg(c.state, c.transactions) FROM dtm.counts c),
    'stuck', (SELECT count(*) FROM dtm.stuck));
END
$$;

CREATE FUNCTION dtm.page_overview() RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  failed bigint[];
  hosts jsonb;
  alerts jsonb;
BEGIN
  IF has_table_privilege('dtm.alerts', 'SELECT') THEN
    SELECT jsonb_agg(to_jsonb(a)) INTO alerts
      FROM (SELECT v.kind, v.subject, left(v.error, 200) AS error, v.count, v.most, v.since, v.state, v.resolved, v.gid, v.message, v.help
              FROM dtm.alerts v LIMIT 10) a;
  END IF;
  SELECT array_agg(s.id) INTO failed FROM (SELECT t.id FROM dtm.transactions t WHERE t.state = 'failed' LIMIT 8) s;
  IF has_table_privilege('dtm.stat_hosts', 'SELECT') THEN
    SELECT COALESCE(jsonb_agg(to_jsonb(h) ORDER BY h.host), '[]') INTO hosts FROM dtm.stat_hosts h WHERE h.state <> 'closed';
  END IF;
  RETURN jsonb_build_object(
    'counts', (SELECT COALESCE(jsonb_agg(to_jsonb(c)), '[]') FROM dtm.counts c),
    'causes', (SELECT COALESCE(jsonb_agg(to_jsonb(g) ORDER BY g.transactions DESC, g.since), '[]')
                 FROM (SELECT dtm.page_host(s.url) AS host, s.http_status, left(s.last_error, 200) AS error,
                              CASE WHEN s.last_error IS NULL THEN s.reason END AS reason, s.help,
                              count(*) AS transactions, min(s.since) AS since, min(s.gid) AS gid, min(s.next_attempt) AS next_attempt,
                              min(s.state) AS state
                         FROM dtm.stuck s GROUP BY 1, 2, 3, 4, 5 ORDER BY 6 DESC LIMIT 20) g),
    'stuck', (SELECT count(*) FROM dtm.stuck),
    'coordinators', (SELECT COALESCE(jsonb_agg(to_jsonb(c) ORDER BY c.coordinator), '[]') FROM dtm.stat_coordinator c),
    'hosts', hosts,
    'alerts', alerts,
    'in_flight', (SELECT jsonb_build_object('calls', count(*), 'longest', extract(epoch FROM max(f.duration))) FROM dtm.in_flight f),
    'failed', dtm.page_rows(COALESCE(failed, '{}')));
END
$$;

CREATE FUNCTION dtm.page_transaction(gid text) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  t record;
BEGIN
  SELECT v.*, p.reason AS parked_reason INTO t
    FROM dtm.transactions v LEFT JOIN LATERAL (SELECT q.reason FROM dtm.parked q WHERE q.id = v.id) p ON true
   WHERE v.gid = $1;
  IF NOT FOUND THEN
    RETURN jsonb_build_object('transaction', NULL);
  END IF;
  RETURN jsonb_build_object(
    'transaction', to_jsonb(t) - '{failure,result}'::text[]
                   || jsonb_build_object('failure', dtm.page_cut(t.failure #>> '{}'), 'result', dtm.page_cut(t.result)),
    'explain', (SELECT to_jsonb(e) - 'last_error' || jsonb_build_object('last_error', dtm.page_cut(e.last_error)) FROM @extschema@.dtm_explain($1) e),
    'branches', (SELECT COALESCE(jsonb_agg(to_jsonb(b) ORDER BY b.ordinal), '[]')
                   FROM (SELECT v.branch_id, v.op, v.url, v.state, v.attempts, v.last_attempt, v.ordinal, v.topic, v.complete_until,
                                dtm.page_cut(v.last_error) AS last_error,
                                dtm.page_cut(COALESCE(v.body #>> '{}', encode(v.payload, 'hex'))) AS body,
                                v.body IS NULL AND v.payload IS NOT NULL AS is_hex
                           FROM dtm.branches v WHERE v.id = t.id ORDER BY v.ordinal LIMIT 400) b),
    'timeline', (SELECT COALESCE(jsonb_agg(to_jsonb(e) ORDER BY e.at), '[]')
                   FROM (SELECT v.at, v.event, v.branch_id, v.op, v.result, extract(epoch FROM v.duration) AS seconds, v.role::text AS role,
                                dtm.page_cut(v.detail) AS detail
                           FROM dtm.timeline v WHERE v.id = t.id ORDER BY v.at DESC LIMIT 300) e),
    'events', (SELECT count(*) FROM dtm.timeline v WHERE v.id = t.id),
    'calls', (SELECT COALESCE(jsonb_agg(to_jsonb(c)), '[]')
                FROM (SELECT v.started, v.branch_id, v.op, v.http_status, v.grpc_status, v.url
                        FROM dtm.calls v WHERE v.id = t.id ORDER BY v.started DESC LIMIT 300) c),
    'acts', (SELECT COALESCE(jsonb_agg(to_jsonb(a) ORDER BY a.ordinal), '[]')
               FROM (SELECT v.done, v.what, v.ordinal, dtm.page_cut(v.detail::text) AS detail
                       FROM dtm.acts v WHERE v.id = t.id ORDER BY v.ordinal DESC LIMIT 100) a),
    'in_flight', (SELECT COALESCE(jsonb_agg(to_jsonb(f)), '[]')
                    FROM (SELECT v.branch_id, v.op, v.url, v.queued, v.started FROM dtm.in_flight v WHERE v.id = t.id) f),
    'results', (SELECT COALESCE(jsonb_agg(to_jsonb(r)), '[]')
                  FROM (SELECT v.branch_id, v.name, v.op, v.ok, v.note, dtm.page_cut(v.result::text) AS result FROM dtm.results v WHERE v.id = t.id LIMIT 400) r),
    'dead_letters', (SELECT COALESCE(jsonb_agg(to_jsonb(d)), '[]')
                       FROM (SELECT v.branch_id, v.url, v.reason, v.discarded, v.attempts FROM dtm.dead_letters v WHERE v.id = t.id) d));
END
$$;

/* All of a text of which page_transaction() has shown the beginning. */
CREATE FUNCTION dtm.page_more(arguments jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  of_gid text := arguments ->> 'gid';
  number integer := (arguments ->> 'ordinal')::integer;
  answer text;
BEGIN
  CASE arguments ->> 'of'
    WHEN 'body' THEN
      SELECT COALESCE(b.body #>> '{}', encode(b.payload, 'hex')) INTO answer FROM dtm.branches b WHERE b.gid = of_gid AND b.ordinal = number;
    WHEN 'last_error' THEN
      SELECT b.last_error INTO answer FROM dtm.branches b WHERE b.gid = of_gid AND b.ordinal = number;
    WHEN 'detail' THEN
      SELECT e.detail INTO answer FROM dtm.timeline e WHERE e.gid = of_gid AND e.at = (arguments ->> 'at')::timestamptz ORDER BY length(e.detail) DESC NULLS LAST LIMIT 1;
    WHEN 'act' THEN
      SELECT a.detail INTO answer FROM dtm.acts a WHERE a.gid = of_gid AND a.ordinal = number;
    WHEN 'failure' THEN
      SELECT t.failure #>> '{}' INTO answer FROM dtm.transactions t WHERE t.gid = of_gid;
    WHEN 'result' THEN
      SELECT r.result INTO answer FROM dtm.results r WHERE r.gid = of_gid AND r.branch_id = arguments ->> 'branch_id' AND r.op = arguments ->> 'op';
    ELSE
      RAISE EXCEPTION 'unknown part "%"', arguments ->> 'of'
        USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass body, last_error, detail, act, failure or result.';
  END CASE;
  RETURN jsonb_build_object('text', answer);
END
$$;

/* Hosts, with the times of the calls of the newest 2,000 transactions. */
CREATE FUNCTION dtm.page_services() RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  newest bigint;
  hosts jsonb;
BEGIN
  SELECT t.id INTO newest FROM dtm.transactions t LIMIT 1;
  IF has_table_privilege('dtm.stat_hosts', 'SELECT') THEN
    SELECT COALESCE(jsonb_agg(to_jsonb(h) ORDER BY h.host, h.coordinator), '[]') INTO hosts
      FROM (SELECT v.*, extract(epoch FROM v.mean_time) AS mean_seconds, extract(epoch FROM v.recent_time) AS recent_seconds FROM dtm.stat_hosts v) h;
  END IF;
  RETURN jsonb_build_object(
    'hosts', hosts,
    'calls', (SELECT COALESCE(jsonb_agg(to_jsonb(s) ORDER BY s.host), '[]')
                FROM (SELECT dtm.page_host(c.url) AS host, count(*) AS calls,
                             count(*) FILTER (WHERE c.result = 'ERROR') AS errors, count(*) FILTER (WHERE c.result = 'FAILURE') AS refusals,
                             max(c.started) AS last,
                             percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY extract(epoch FROM c.duration)) AS percentiles
                        FROM dtm.calls c
                       WHERE c.id > newest - 2000
                       GROUP BY 1) s),
    'waiting', (SELECT COALESCE(jsonb_agg(to_jsonb(w)), '[]')
                  FROM (SELECT dtm.page_host(s.url) AS host, count(*) AS transactions, min(s.since) AS since FROM dtm.stuck s GROUP BY 1) w));
END
$$;

CREATE FUNCTION dtm.page_more_lists(what text) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  answer jsonb;
BEGIN
  CASE what
    WHEN 'topics' THEN
      SELECT jsonb_agg(to_jsonb(t) ORDER BY t.topic, t.ordinal) INTO answer FROM (SELECT * FROM dtm.topics LIMIT 1000) t;
    WHEN 'schedules' THEN
      SELECT jsonb_agg(to_jsonb(s) - 'request' || jsonb_build_object('request', dtm.page_cut(s.request::text)) ORDER BY s.name) INTO answer
        FROM (SELECT * FROM dtm.schedules LIMIT 1000) s;
    WHEN 'lanes' THEN
      SELECT jsonb_agg(to_jsonb(l) ORDER BY l.created) INTO answer FROM (SELECT * FROM dtm.lanes ORDER BY created LIMIT 500) l;
    WHEN 'dead_letters' THEN
      SELECT jsonb_agg(to_jsonb(d) ORDER BY d.discarded DESC) INTO answer
        FROM (SELECT v.gid, v.branch_id, v.url, v.reason, v.discarded, v.attempts, v.submitted_by::text AS submitted_by
                FROM dtm.dead_letters v ORDER BY v.discarded DESC LIMIT 500) d;
    WHEN 'coordinators' THEN
      SELECT jsonb_agg(to_jsonb(c) || jsonb_build_object('oldest_due_seconds', extract(epoch FROM c.oldest_due_age)) ORDER BY c.coordinator) INTO answer
        FROM dtm.stat_coordinator c;
    WHEN 'in_flight' THEN
      SELECT jsonb_agg(to_jsonb(f) ORDER BY f.started) INTO answer
        FROM (SELECT v.gid, v.branch_id, v.op, v.url, v.queued, v.started, v.coordinator FROM dtm.in_flight v ORDER BY v.started LIMIT 200) f;
    WHEN 'orphans' THEN
      IF NOT has_table_privilege('dtm.orphans', 'SELECT') THEN
        RETURN jsonb_build_object('rows', NULL);
      END IF;
      SELECT jsonb_agg(to_jsonb(o) ORDER BY o.since) INTO answer FROM (SELECT * FROM dtm.orphans LIMIT 500) o;
    ELSE
      RAISE EXCEPTION 'unknown view "%" of the page', what
        USING ERRCODE = 'invalid_parameter_value', HINT = 'The gateway and the extension should be of the same version.';
  END CASE;
  RETURN jsonb_build_object('rows', COALESCE(answer, '[]'));
END
$$;

CREATE FUNCTION dtm.page(arguments jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  what text := COALESCE(arguments ->> 'what', '');
  answer jsonb;
BEGIN
  CASE what
    WHEN 'me' THEN answer := dtm.page_me();
    WHEN 'overview' THEN answer := dtm.page_overview();
    WHEN 'list' THEN answer := dtm.page_list(arguments);
    WHEN 'transaction' THEN answer := dtm.page_transaction(arguments ->> 'gid');
    WHEN 'more' THEN answer := dtm.page_more(arguments);
    WHEN 'services' THEN answer := dtm.page_services();
    ELSE answer := dtm.page_more_lists(what);
  END CASE;
  RETURN answer || jsonb_build_object('now', clock_timestamp());
END
$$;
COMMENT ON FUNCTION dtm.page(jsonb) IS 'what the gateway''s page for operators shows: one object for each of its views';

/* One act on one transaction; returns what is to be said of it. */
CREATE FUNCTION dtm.page_act_on(gid text, arguments jsonb) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  act text := COALESCE(arguments ->> 'act', '');
  reason text := arguments ->> 'reason';
BEGIN
  CASE act
    WHEN 'retry' THEN PERFORM @extschema@.dtm_retry_now(gid, reason);
    WHEN 'abort' THEN PERFORM @extschema@.dtm_abort(gid, reason);
    WHEN 'stop' THEN PERFORM @extschema@.dtm_force_stop(gid, reason);
    WHEN 'resume' THEN
      IF NOT @extschema@.dtm_resume(gid, reason) THEN
        RETURN 'it was not parked any more';
      END IF;
    WHEN 'resubmit' THEN RETURN @extschema@.dtm_resubmit(gid, NULLIF(arguments ->> 'new_gid', ''), reason);
    WHEN 'edit' THEN PERFORM @extschema@.dtm_edit_step(gid, arguments ->> 'branch_id', (arguments ->> 'changes')::jsonb, reason);
    WHEN 'skip' THEN
      PERFORM @extschema@.dtm_skip_branch(gid, arguments ->> 'branch_id', arguments ->> 'op', (arguments ->> 'succeeded')::boolean, reason);
    WHEN 'assign' THEN PERFORM @extschema@.dtm_assign(gid, (arguments ->> 'role')::regrole, reason);
    ELSE
      RAISE EXCEPTION 'unknown act "%"', act
        USING ERRCODE = 'invalid_parameter_value', HINT = 'The gateway and the extension should be of the same version.';
  END CASE;
  RETURN NULL;
END
$$;

/*
 * The host is called for one of the transactions that wait for it: whatever it answers,
 * the others go on or not as its circuit breaker says.
 */
CREATE FUNCTION dtm.page_probe(host text, reason text) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  name text;
BEGIN
  SELECT s.gid INTO name
    FROM (SELECT t.id, t.gid FROM dtm.transactions t WHERE t.state IN ('retrying', 'rolling back') LIMIT 2000) s
   WHERE dtm.page_host((SELECT c.url FROM dtm.calls c WHERE c.id = s.id AND c.result <> 'SUCCESS' ORDER BY c.started DESC LIMIT 1)) = $1
   LIMIT 1;
  IF name IS NULL THEN
    RAISE EXCEPTION 'no transaction waits for host "%"', $1
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'A host is called when a transaction needs it.';
  END IF;
  PERFORM @extschema@.dtm_retry_now(name, $2);
  RETURN name;
END
$$;

/* Each in a subtransaction: one that is refused does not stop the others. */
CREATE FUNCTION dtm.page_act(arguments jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  name text;
  said text;
  hint text;
  done integer := 0;
  results jsonb := '[]';
BEGIN
  IF COALESCE(btrim(arguments ->> 'reason'), '') = '' THEN
    RAISE EXCEPTION 'a reason is missing'
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Say why, for the people who look at it later.';
  END IF;
  IF length(arguments ->> 'reason') > 1000 THEN
    /* as in api_optional_note() */
    RAISE EXCEPTION 'argument "reason" is longer than 1000 characters'
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Say it briefly, and where the rest can be read.';
  END IF;
  IF arguments ->> 'act' IN ('pause', 'resume coordinators', 'probe', 'unsubscribe') THEN
    CASE arguments ->> 'act'
      WHEN 'pause' THEN PERFORM @extschema@.dtm_pause();
      WHEN 'resume coordinators' THEN PERFORM @extschema@.dtm_resume();
      WHEN 'unsubscribe' THEN PERFORM @extschema@.dtm_unsubscribe(arguments ->> 'topic', arguments ->> 'url');
      ELSE said := dtm.page_probe(arguments ->> 'host', arguments ->> 'reason');
    END CASE;
    /* these have no row that could keep the reason */
    RAISE LOG 'operator %: %: %', current_user, arguments ->> 'act', arguments ->> 'reason';
    RETURN jsonb_build_object('done', 1, 'said', said, 'refused', results);
  END IF;
  IF jsonb_typeof(arguments -> 'gids') IS DISTINCT FROM 'array' OR jsonb_array_length(arguments -> 'gids') > 60 THEN
    RAISE EXCEPTION 'gids is not an array of up to 60 gids'
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Send more of them by more requests.';
  END IF;
  FOR name IN SELECT e FROM jsonb_array_elements_text(arguments -> 'gids') e LOOP
    BEGIN
      said := COALESCE(dtm.page_act_on(name, arguments), said);
      done := done + 1;
    EXCEPTION WHEN OTHERS THEN
      GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
      results := results || jsonb_build_object('gid', name, 'message', SQLERRM, 'hint', NULLIF(hint, ''));
    END;
  END LOOP;
  RETURN jsonb_build_object('done', done, 'said', said, 'refused', results);
END
$$;
COMMENT ON FUNCTION dtm.page_act(jsonb) IS 'what an operator does by the gateway''s page; returns how many it was done to, and why it was refused for the others';

/* ---------- alerts ---------- */

/* What operators are told of: of each cause, one row. */
CREATE SEQUENCE dtm.alert_id_seq;

CREATE TABLE dtm.alert (
  id bigint NOT NULL DEFAULT pg_catalog.nextval('dtm.alert_id_seq') CONSTRAINT alert_pkey PRIMARY KEY,
  kind text COLLATE "C" NOT NULL,
  subject text COLLATE "C" NOT NULL,
  class text COLLATE "C" NOT NULL,
  error text COLLATE "C",
  gid text COLLATE "C",
  status text COLLATE "C",
  url text COLLATE "C",
  failures integer,
  count bigint NOT NULL,
  most bigint NOT NULL,
  since timestamptz NOT NULL,
  seen timestamptz NOT NULL,
  gone timestamptz,
  resolved timestamptz,
  told timestamptz,
  told_over timestamptz,
  sent smallint NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX alert_open ON dtm.alert (kind, subject, class) WHERE resolved IS NULL;
COMMENT ON TABLE dtm.alert IS 'what operators are told of, one row for each cause; see dtm.alerts';
COMMENT ON COLUMN dtm.alert.class IS 'what is the same of the errors that make one alert; error is one of them';
COMMENT ON COLUMN dtm.alert.gid IS 'a transaction that is concerned; status, url and failures are its own';
COMMENT ON COLUMN dtm.alert.gone IS 'since when the cause has been gone; the alert is resolved once that is dtm.alert_after ago';
COMMENT ON COLUMN dtm.alert.told IS 'when the NOTIFY was sent that it is open; told_over: that it is resolved';
COMMENT ON COLUMN dtm.alert.sent IS 'what the webhook has taken, or need not take: 0: nothing, 1: that it is open, 2: that it is resolved';

/* An error without what differs from one transaction to the next. */
CREATE FUNCTION dtm.alert_class(error text) RETURNS text
AS 'MODULE_PATHNAME', 'dtm_sql_alert_class' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION dtm.alert_hosts(OUT host text, OUT silent_since timestamptz, OUT open boolean, OUT calls integer, OUT error text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'dtm_alert_hosts' LANGUAGE C VOLATILE;

CREATE FUNCTION dtm.alert_coordinators(OUT state text, OUT ailing_since timestamptz, OUT reason text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'dtm_alert_coordinators' LANGUAGE C VOLATILE;

/* Of what an alert about a URL is: its host, a function, or a server that there is not. */
CREATE FUNCTION dtm.alert_subject(url text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE WHEN $1 = '' OR $1 IS NULL THEN ''
              WHEN $1 LIKE 'sql:%' THEN left(split_part($1, '?', 1), 200)
              ELSE COALESCE(dtm.url_host(dtm.base_url($1)), left(substring($1 FROM '^server:[^/?]*'), 200)) END
$$;

/*
 * The part of a URL that its subject depends on: of many URLs, few differ in it, and
 * only for those is the subject looked up.
 */
CREATE FUNCTION dtm.alert_origin(url text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
  SELECT CASE WHEN $1 OPERATOR(pg_catalog.~~) 'sql:%' THEN pg_catalog.split_part($1, '?', 1)
              ELSE COALESCE(pg_catalog.substring($1, '^(?:[^:/?]*:(?://)?)?[^/?]*'), '') END
$$;

/*
 * What needs a person now: a row for each kind, subject and class of error, with a
 * transaction as an example.  What has no response belongs to the host, whatever the
 * errors are.  Only the transactions that dtm.stuck has, too, are looked at closely;
 * if a host is silent, all that wait are counted, up to 10000.
 */
CREATE FUNCTION dtm.reasons_for_alerts(as_of timestamptz, hold interval)
RETURNS TABLE (kind text, subject text, class text, error text, gid text, status text, url text, failures integer, count bigint, since timestamptz)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
SET jit = off
SET enable_seqscan = on
SET enable_bitmapscan = on
SET enable_hashjoin = on
SET enable_mergejoin = on
SET enable_sort = on
AS $$
  WITH host AS MATERIALIZED (
    SELECT h.host, min(h.silent_since) AS silent_since,
           min(h.silent_since) FILTER (WHERE h.open AND h.calls > 0) AS open_since,
           bool_or(h.silent_since IS NULL) AS responds,
           max(h.error) FILTER (WHERE h.silent_since IS NOT NULL) AS error
      FROM dtm.alert_hosts() h GROUP BY h.host
  ), stuck AS MATERIALIZED (
    SELECT r.gid, dtm.status_name(a.status) AS status, a.failures::integer AS failures, s.kind, u.url, dtm.alert_origin(u.url) AS origin,
           CASE s.kind WHEN 'parked' THEN COALESCE(a.parked_reason, dtm.submitter_problem(r.submitted_by)) ELSE l.error END AS error,
           CASE s.kind WHEN 'failing' THEN l.http_status END AS http_status,
           CASE s.kind WHEN 'parked' THEN COALESCE(a.parked, a.updated) WHEN 'ongoing' THEN a.ongoing_since ELSE l.started END AS since
      FROM dtm.active a
           JOIN dtm.request r ON r.id = a.id
           CROSS JOIN LATERAL (
             SELECT CASE WHEN a.next_time = 'infinity' AND
                              ((a.status <> 'p' AND a.held IS NOT TRUE) OR dtm.submitter_role(r.submitted_by) IS NULL) THEN 'parked'
                         WHEN a.failures >= dtm.alert_retry_limit() THEN 'failing'
                         WHEN a.next_time < 'infinity' THEN 'ongoing' END AS kind) s
           LEFT JOIN LATERAL (
             SELECT t.branch::integer AS branch, t.error, t.http_status, t.started
               FROM dtm.attempt t WHERE t.id = a.id AND t.result <> 'S'
              ORDER BY t.started DESC LIMIT 1) l ON true
           CROSS JOIN LATERAL (
             SELECT CASE WHEN s.kind = 'parked' THEN COALESCE(a.parked_op::integer, l.branch) ELSE l.branch END AS branch) b
           CROSS JOIN LATERAL (
             SELECT CASE WHEN b.branch < 0 THEN r.query_prepared
                         ELSE dtm.op_url(r.trans_type, b.branch, r.action, r.compensate) END AS url) u
     WHERE s.kind IS NOT NULL AND
           (a.failures >= dtm.alert_retry_limit() OR a.next_time = 'infinity' OR a.ongoing_since < as_of - dtm.stuck_after())
    UNION ALL
    SELECT r.gid, 'failed', NULL, 'discarded', u.url, dtm.alert_origin(u.url), d.reason, NULL, d.discarded
      FROM dtm.dead_letter d
           JOIN dtm.request r ON r.id = d.id
           CROSS JOIN LATERAL (SELECT dtm.op_url(r.trans_type, d.branch, r.action, r.compensate) AS url) u
     WHERE d.discarded > as_of - interval '1 hour'
  ), place AS MATERIALIZED (
    SELECT o.origin, dtm.alert_subject(o.origin) AS subject FROM (SELECT DISTINCT t.origin FROM stuck t) o
  ), silent AS MATERIALIZED (
    SELECT h.host AS subject FROM host h WHERE h.silent_since IS NOT NULL
    UNION
    SELECT o.subject FROM dtm.alert o WHERE o.resolved IS NULL AND o.kind = 'unreachable'
  ), placed AS MATERIALIZED (
    SELECT t.gid, t.status, t.url, t.failures, t.since, p.subject, t.error, t.http_status,
           CASE WHEN t.kind = 'failing' AND t.http_status IS NULL AND t.url NOT LIKE 'sql:%' AND
                     (dtm.alert_is_silence(t.error) OR p.subject IN (SELECT s.subject FROM silent s))
                THEN 'unreachable' ELSE t.kind END AS kind
      FROM stuck t JOIN place p ON p.origin = t.origin
  ), grouped AS (
    SELECT g.kind, g.subject, g.class, g.error, g.gid, g.status, g.url, g.failures, g.count, g.since
      FROM (SELECT p.*, c.class,
                   count(*) OVER (PARTITION BY p.kind, p.subject, c.class) AS count,
                   row_number() OVER (PARTITION BY p.kind, p.subject, c.class ORDER BY p.since, p.gid) AS place
              FROM placed p
                   CROSS JOIN LATERAL (
                     SELECT CASE WHEN p.kind IN ('unreachable', 'ongoing') THEN ''
                                 ELSE concat_ws(' ', p.http_status, dtm.alert_class(left(p.error, 1000))) END AS class) c) g
     WHERE g.place = 1
  ), doubtful AS MATERIALIZED (
    SELECT g.subject FROM grouped g WHERE g.kind = 'unreachable'
    UNION
    SELECT h.host FROM host h WHERE h.open_since <= as_of - hold
    UNION
    -- of a coordinator that has started anew nobody knows whether the host responds
    SELECT o.subject FROM dtm.alert o
     WHERE o.resolved IS NULL AND o.kind = 'unreachable' AND
           NOT EXISTS (SELECT FROM host h WHERE h.host = o.subject AND h.responds)
  ), waiting AS MATERIALIZED (
    SELECT w.origin, count(*) AS count, min(w.gid) AS gid
      FROM (SELECT r.gid,
                   dtm.alert_origin(CASE WHEN a.status = 'p' THEN r.query_prepared
                                         WHEN a.status = 'a' THEN r.compensate[p.step] ELSE r.action[p.step] END) AS origin
              FROM (SELECT i.* FROM dtm.active i
                     WHERE (i.next_time <= as_of OR (i.failures > 0 AND i.next_time < 'infinity')) AND (SELECT count(*) FROM doubtful) > 0
                     LIMIT 10000) a
                   JOIN dtm.request r ON r.id = a.id
                   CROSS JOIN LATERAL (SELECT dtm.current_step(r.trans_type, a.status, a.branch_status) AS step) p) w
     GROUP BY w.origin
  ), waits AS MATERIALIZED (
    SELECT o.subject, sum(o.count)::bigint AS count, min(o.gid) AS gid
      FROM (SELECT w.count, w.gid, dtm.alert_subject(w.origin) AS subject FROM waiting w) o
     GROUP BY o.subject
  ), reason AS (
    SELECT g.* FROM grouped g WHERE g.kind <> 'unreachable'
    UNION ALL
    SELECT 'unreachable', d.subject, '', COALESCE(h.error, g.error), COALESCE(g.gid, w.gid), g.status, g.url, g.failures,
           GREATEST(g.count, w.count), LEAST(g.since, h.silent_since, as_of)
      FROM doubtful d
           LEFT JOIN grouped g ON g.kind = 'unreachable' AND g.subject = d.subject
           LEFT JOIN waits w ON w.subject = d.subject
           LEFT JOIN host h ON h.host = d.subject
     WHERE g.count > 0 OR w.count > 0
    UNION ALL
    SELECT c.kind, current_database(), '', max(c.reason), NULL, NULL, NULL, NULL,
           (SELECT count(*) FROM (SELECT FROM dtm.active i WHERE i.next_time <= as_of LIMIT 10000) due), min(c.ailing_since)
      FROM (SELECT s.ailing_since, s.reason, CASE s.state WHEN 'paused' THEN 'paused' ELSE 'not running' END AS kind
              FROM dtm.alert_coordinators() s WHERE s.ailing_since <= as_of - hold AND s.state <> 'gone') c
     GROUP BY c.kind
    UNION ALL
    SELECT 'orphans', current_database(), '', min(format('%s in database "%s"', quote_literal(o.prepared), o.database)),
           min(o.gid), NULL, NULL, NULL, count(*), min(o.since)
      FROM dtm.orphans o WHERE o.age >= dtm.stuck_after() HAVING count(*) > 0
  ), ranked AS (
    SELECT n.*,
           row_number() OVER (PARTITION BY n.kind
                              ORDER BY EXISTS (SELECT FROM dtm.alert o
                                                WHERE o.resolved IS NULL AND o.kind = n.kind AND o.subject = n.subject AND o.class = n.class) DESC,
                                       n.count DESC, n.subject, n.class) AS rank
      FROM reason n
  )
  SELECT k.kind, k.subject, k.class, k.error, k.gid, k.status, k.url, k.failures, k.count, k.since FROM ranked k WHERE k.rank < 20
  UNION ALL
  -- many causes at once are one
  SELECT k.kind, '*', '', min(k.error), min(k.gid), NULL, NULL, NULL, sum(k.count)::bigint, min(k.since)
    FROM ranked k WHERE k.rank >= 20 GROUP BY k.kind
$$;

CREATE FUNCTION dtm.alert_message(kind text, subject text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE WHEN $1 IN ('paused', 'not running') THEN
                format(CASE $1 WHEN 'paused' THEN 'coordinator of database "%s" is paused' ELSE 'coordinator of database "%s" does not run' END, $2)
              WHEN $1 = 'orphans' THEN 'prepared transactions of XA branches are left over'
              ELSE format(CASE $1 WHEN 'unreachable' THEN CASE $2 WHEN '*' THEN '%s do not respond' ELSE '%s does not respond' END
                                  WHEN 'failing' THEN 'calls to %s fail'
                                  WHEN 'parked' THEN 'transactions are parked that call %s'
                                  WHEN 'ongoing' THEN CASE $2 WHEN '*' THEN '%s answer ONGOING again and again' ELSE '%s answers ONGOING again and again' END
                                  ELSE 'messages have discarded steps that call %s' END,
                          CASE $2 WHEN '*' THEN 'several others' WHEN '' THEN 'nothing' ELSE $2 END) END
$$;

CREATE FUNCTION dtm.alert_hint(kind text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE $1 WHEN 'unreachable' THEN 'Calls are made again when it responds to the next one that is due; dtm_retry_now(gid) makes one at once. See dtm.stat_hosts and dtm.stuck.'
                 WHEN 'failing' THEN 'See dtm.stuck, which says what would help.'
                 WHEN 'parked' THEN 'See dtm.parked. When the cause is gone, call dtm_resume(gid).'
                 WHEN 'ongoing' THEN 'Ask the service whether it still works on it. See dtm.stuck.'
                 WHEN 'discarded' THEN 'dtm.dead_letters has the steps. To send them again, without those that were delivered, call dtm_resubmit(gid).'
                 WHEN 'paused' THEN 'See dtm.stat_coordinator. If this database is the one that should call services, call dtm_resume().'
                 WHEN 'not running' THEN 'See dtm.stat_coordinator and the server log.'
                 WHEN 'orphans' THEN 'dtm.orphans has the statement that ends each.' END
$$;

CREATE VIEW dtm.alerts AS
  SELECT a.kind, a.subject, a.error, a.count, a.most, a.since, a.seen AS last,
         CASE WHEN a.resolved IS NULL THEN 'open' ELSE 'resolved' END AS state,
         a.resolved, a.gid,
         dtm.alert_message(a.kind, a.subject) AS message,
         dtm.alert_hint(a.kind) AS help,
         a.told, a.id
    FROM dtm.alert a
   ORDER BY a.resolved IS NOT NULL, a.since DESC, a.id DESC;
COMMENT ON VIEW dtm.alerts IS 'alerts: one row for each problem that needs, or needed, a person; open ones first';
COMMENT ON COLUMN dtm.alerts.kind IS 'unreachable, failing, parked, ongoing, discarded, paused, not running or orphans';
COMMENT ON COLUMN dtm.alerts.subject IS 'host, function or database; *: several others; empty: none';
COMMENT ON COLUMN dtm.alerts.error IS 'last error of one of the transactions, or the reason';
COMMENT ON COLUMN dtm.alerts.count IS 'number of transactions that are concerned now; of a silent host, up to 10000 that wait for it';
COMMENT ON COLUMN dtm.alerts.most IS 'the largest number that was seen';
COMMENT ON COLUMN dtm.alerts.since IS 'when the first of them began to need a person';
COMMENT ON COLUMN dtm.alerts.last IS 'when the cause was last seen';
COMMENT ON COLUMN dtm.alerts.state IS 'open or resolved';
COMMENT ON COLUMN dtm.alerts.resolved IS 'when it was over; NULL: it is open';
COMMENT ON COLUMN dtm.alerts.gid IS 'one of the transactions; NULL: none is concerned';
COMMENT ON COLUMN dtm.alerts.message IS 'what is wrong, in words';
COMMENT ON COLUMN dtm.alerts.help IS 'what to do';
COMMENT ON COLUMN dtm.alerts.told IS 'when the log and LISTENers were told; NULL: not yet, see dtm.alerts_per_hour';
COMMENT ON COLUMN dtm.alerts.id IS 'number of the alert';

/* Text that is short enough for a NOTIFY, without control characters. */
CREATE FUNCTION dtm.alert_text(text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT left(regexp_replace($1, '[[:cntrl:]]+', ' ', 'g'), 300) $$;

/* What a NOTIFY and the webhook have: first the keys that the dtm server sends. */
CREATE FUNCTION dtm.alert_payload(a dtm.alert, is_over boolean) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT json_build_object(
    'gid', COALESCE(a.gid, ''), 'status', COALESCE(a.status, ''), 'branch', COALESCE(dtm.alert_text(a.url), ''),
    'error', COALESCE(dtm.alert_text(a.error), ''), 'retry_count', COALESCE(a.failures, 0),
    'state', CASE WHEN is_over THEN 'resolved' ELSE 'open' END, 'kind', a.kind, 'subject', a.subject,
    'message', dtm.alert_text(dtm.alert_message(a.kind, a.subject)), 'help', dtm.alert_hint(a.kind),
    'count', CASE WHEN is_over THEN a.most ELSE a.count END,
    'since', a.since, 'resolved', CASE WHEN is_over THEN a.resolved END,
    'database', current_database(), 'id', a.id)::text
$$;

/*
 * A look: opens, changes and resolves alerts, and returns what is to be told now.  At
 * most "per_hour" messages are told in an hour; what is above waits, and what is over
 * before it was told is never told.  Without a webhook, nothing is left for it.
 */
CREATE FUNCTION dtm.look_for_alerts(hold interval, per_hour integer, webhook boolean, keep interval)
RETURNS TABLE (id bigint, is_over boolean, message text, detail text, hint text, payload text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
  as_of timestamptz := clock_timestamp();
  room bigint;
BEGIN
  LOCK TABLE dtm.alert IN SHARE ROW EXCLUSIVE MODE;
  WITH reason AS MATERIALIZED (
    SELECT * FROM dtm.reasons_for_alerts(as_of, hold)
  ), opened AS (
    INSERT INTO dtm.alert (kind, subject, class, error, gid, status, url, failures, count, most, since, seen)
    SELECT n.kind, n.subject, n.class, n.error, n.gid, n.status, n.url, n.failures, n.count, n.count, n.since, as_of
      FROM reason n
     WHERE NOT EXISTS (SELECT FROM dtm.alert o WHERE o.resolved IS NULL AND o.kind = n.kind AND o.subject = n.subject AND o.class = n.class)
  ), seen AS (
    UPDATE dtm.alert o
       SET gone = NULL, seen = as_of, count = n.count, most = GREATEST(o.most, n.count), error = n.error,
           gid = n.gid, status = n.status, url = n.url, failures = n.failures
      FROM reason n
     WHERE o.resolved IS NULL AND o.kind = n.kind AND o.subject = n.subject AND o.class = n.class AND
           (o.gone IS NOT NULL OR o.count <> n.count OR o.gid IS DISTINCT FROM n.gid OR o.seen < as_of - interval '30 s')
  )
  UPDATE dtm.alert o
     SET gone = as_of, count = 0
   WHERE o.resolved IS NULL AND o.gone IS NULL AND
         NOT EXISTS (SELECT FROM reason n WHERE o.kind = n.kind AND o.subject = n.subject AND o.class = n.class);
  UPDATE dtm.alert o SET resolved = o.gone WHERE o.resolved IS NULL AND o.gone <= as_of - hold;
  IF per_hour > 0 THEN
    room := GREATEST(per_hour - (SELECT count(o.told) FILTER (WHERE o.told > as_of - interval '1 hour') + count(o.told_over) FILTER (WHERE o.told_over > as_of - interval '1 hour')
                                   FROM dtm.alert o), 0);
  END IF;
  RETURN QUERY
    WITH due AS (
      SELECT o.id, o.told IS NOT NULL AS is_over
        FROM dtm.alert o
       WHERE (o.told IS NULL AND o.gone IS NULL) OR (o.told IS NOT NULL AND o.told_over IS NULL AND o.resolved IS NOT NULL)
       ORDER BY COALESCE(o.resolved, o.since), o.id LIMIT room
    ), told AS (
      UPDATE dtm.alert o
         SET told = COALESCE(o.told, as_of), told_over = CASE WHEN d.is_over THEN as_of END
        FROM due d WHERE d.id = o.id
      RETURNING o AS alert, o.id, d.is_over
    )
    SELECT t.id, t.is_over, dtm.alert_message((t.alert).kind, (t.alert).subject),
           CASE WHEN t.is_over THEN format('It lasted from %s until %s.%s', (t.alert).since, (t.alert).resolved,
                                        CASE WHEN (t.alert).most > 0 THEN format(' Transactions that were concerned at the same time: up to %s.', (t.alert).most) END)
                ELSE concat_ws(' ', 'Transactions: ' || (t.alert).count || COALESCE(', for example "' || NULLIF((t.alert).gid, '') || '"', '') || '.',
                               CASE WHEN (t.alert).error <> '' THEN format('Last error: %s', dtm.alert_text((t.alert).error)) END) END,
           dtm.alert_hint((t.alert).kind), dtm.alert_payload(t.alert, t.is_over)
      FROM told t ORDER BY t.is_over, t.id;
  IF NOT webhook THEN
    UPDATE dtm.alert o SET sent = CASE WHEN o.told_over IS NULL THEN 1 ELSE 2 END
     WHERE o.told IS NOT NULL AND o.sent < CASE WHEN o.told_over IS NULL THEN 1 ELSE 2 END;
  END IF;
  DELETE FROM dtm.alert o WHERE o.resolved < as_of - keep AND (o.told IS NULL OR o.sent = 2);
END
$$;

/*
 * What remains after a look.  "again" is when something that is no reason yet may be
 * one: a request for a look at that time may have been taken for this one.
 */
CREATE FUNCTION dtm.alerts_left(hold interval, OUT open bigint, OUT held_back bigint, OUT unsent boolean, OUT again timestamptz)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT count(*) FILTER (WHERE a.resolved IS NULL),
         count(*) FILTER (WHERE (a.told IS NULL AND a.gone IS NULL) OR (a.told IS NOT NULL AND a.told_over IS NULL AND a.resolved IS NOT NULL)),
         COALESCE(bool_or((a.told IS NOT NULL AND a.sent = 0) OR (a.told_over IS NOT NULL AND a.sent < 2)), false),
         LEAST((SELECT min(GREATEST(h.silent_since + hold, clock_timestamp() + interval '5 s')) FROM dtm.alert_hosts() h WHERE h.open),
               (SELECT clock_timestamp() + dtm.stuck_after() FROM pg_prepared_xacts LIMIT 1))
    FROM dtm.alert a
$$;

/* ---------- Citus (docs/citus.md) ---------- */

/*
 * Citus need not be there, so that no function can name what is Citus's but in text that
 * is executed.
 */
CREATE FUNCTION dtm.need_citus() RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus') THEN
    RAISE EXCEPTION 'Citus is not installed in this database'
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Use this function in a cluster of Citus. A single server needs none of it.';
  END IF;
END
$$;

CREATE FUNCTION dtm.is_citus_table(name regclass) RETURNS boolean
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  found boolean;
BEGIN
  EXECUTE 'SELECT EXISTS (SELECT FROM pg_dist_partition p WHERE p.logicalrelid = $1)' INTO found USING name;
  RETURN found;
END
$$;

/* What a statement returns on each node, as the current role; a node that can't be asked is an error. */
CREATE FUNCTION dtm.on_each_node(command text, OUT nodeid integer, OUT node text, OUT result text) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  success boolean;
BEGIN
  PERFORM dtm.need_citus();
  FOR nodeid, node, success, result IN EXECUTE
    'SELECT n.nodeid, n.nodename || '':'' || n.nodeport, r.success, r.result
       FROM run_command_on_all_nodes($1) r JOIN pg_dist_node n ON n.nodeid = r.nodeid ORDER BY n.groupid' USING command
  LOOP
    IF NOT success THEN
      RAISE EXCEPTION 'node % cannot be asked', node
        USING ERRCODE = 'connection_exception', DETAIL = COALESCE(result, 'It has no answer.'),
              HINT = 'Look whether the node runs, has the extension dtm, and lets the role log in from the other nodes. What is gone for good has to be removed with citus_remove_node().';
    END IF;
    RETURN NEXT;
  END LOOP;
END
$$;

/*
 * What a query returns on each node, as the current role.  Where a node can't be asked, a warning says so,
 * and the others are shown.
 */
CREATE FUNCTION dtm.cluster_rows(query text, OUT node text, OUT rows jsonb) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  success boolean;
  result text;
BEGIN
  PERFORM dtm.need_citus();
  FOR node, success, result IN EXECUTE
    'SELECT n.nodename || '':'' || n.nodeport, r.success, r.result
       FROM run_command_on_all_nodes($1) r JOIN pg_dist_node n ON n.nodeid = r.nodeid ORDER BY n.groupid'
    USING format('SELECT pg_catalog.jsonb_agg(t) FROM (%s) t', query)
  LOOP
    IF success THEN
      rows := COALESCE(NULLIF(result, '')::jsonb, '[]');
      RETURN NEXT;
    ELSE
      RAISE WARNING 'node % cannot be asked', node USING ERRCODE = 'connection_exception', DETAIL = COALESCE(result, 'It has no answer.');
    END IF;
  END LOOP;
END
$$;

CREATE VIEW dtm.cluster_transactions AS
  SELECT c.node, t.*
    FROM dtm.cluster_rows('(SELECT * FROM dtm.transactions WHERE finished IS NULL LIMIT 10000) UNION ALL (SELECT * FROM dtm.transactions WHERE finished IS NOT NULL LIMIT 1000)') c
         CROSS JOIN LATERAL pg_catalog.jsonb_populate_recordset(NULL::dtm.transactions, c.rows) t;
COMMENT ON VIEW dtm.cluster_transactions IS 'transactions of all nodes of Citus that the current role is allowed to see: of each node up to 10000 that have not ended, and the newest 1000 that have';

CREATE VIEW dtm.cluster_stuck AS
  SELECT c.node, t.*
    FROM dtm.cluster_rows('SELECT * FROM dtm.stuck LIMIT 10000') c
         CROSS JOIN LATERAL pg_catalog.jsonb_populate_recordset(NULL::dtm.stuck, c.rows) t
   ORDER BY t.since;
COMMENT ON VIEW dtm.cluster_stuck IS 'dtm.stuck of all nodes of Citus, up to 10000 of each; the longest first';

CREATE VIEW dtm.cluster_coordinators AS
  SELECT c.node, t.*
    FROM dtm.cluster_rows('SELECT * FROM dtm.stat_coordinator') c
         CROSS JOIN LATERAL pg_catalog.jsonb_populate_recordset(NULL::dtm.stat_coordinator, c.rows) t;
COMMENT ON VIEW dtm.cluster_coordinators IS 'dtm.stat_coordinator of all nodes of Citus';

CREATE VIEW dtm.cluster_metrics AS
  SELECT c.node, t.*
    FROM dtm.cluster_rows('SELECT * FROM dtm.metrics') c
         CROSS JOIN LATERAL pg_catalog.jsonb_populate_recordset(NULL::dtm.metrics, c.rows) t;
COMMENT ON VIEW dtm.cluster_metrics IS 'dtm.metrics of all nodes of Citus';

/* The columns mean the same as in the views of one node. */
DO $$
DECLARE
  c pg_catalog.record;
BEGIN
  FOR c IN SELECT v.cluster, a.attname, COALESCE(pg_catalog.col_description(o.attrelid, o.attnum), 'host name and port of the node') AS comment
             FROM (VALUES ('dtm.cluster_transactions'::pg_catalog.regclass, 'dtm.transactions'::pg_catalog.regclass),
                          ('dtm.cluster_stuck', 'dtm.stuck'), ('dtm.cluster_coordinators', 'dtm.stat_coordinator'),
                          ('dtm.cluster_metrics', 'dtm.metrics')) v(cluster, single)
                  JOIN pg_catalog.pg_attribute a ON a.attrelid = v.cluster
                  LEFT JOIN pg_catalog.pg_attribute o ON o.attrelid = v.single AND o.attname = a.attname LOOP
    EXECUTE pg_catalog.format('COMMENT ON COLUMN %s.%I IS %L', c.cluster, c.attname, c.comment);
  END LOOP;
END
$$;

/*
 * Runs an expression on the node that has a transaction: that of the tag at the end of the gid, or the one
 * that knows the gid.  All nodes are asked at the same time, and the others do nothing.
 */
CREATE FUNCTION @extschema@.dtm_cluster_run(gid text, expression text) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  r record;
  n integer := 0;
  answer text;
  failure text;
  failed text;
BEGIN
  PERFORM dtm.need_citus();
  IF gid IS NULL OR expression IS NULL THEN
    RAISE EXCEPTION 'argument "%" must not be null', CASE WHEN gid IS NULL THEN 'gid' ELSE 'expression' END
      USING ERRCODE = 'null_value_not_allowed', HINT = 'Pass a gid, and an expression such as dtm_status(gid).';
  END IF;
  FOR r IN EXECUTE
    'SELECT n.nodename || '':'' || n.nodeport AS node, r.success, r.result
       FROM run_command_on_all_nodes($1) r JOIN pg_dist_node n ON n.nodeid = r.nodeid'
    USING format('SELECT CASE WHEN dtm.has_transaction(%L) THEN pg_catalog.concat(''+'', (%s)::pg_catalog.text) END', gid, expression)
  LOOP
    IF NOT r.success THEN
      failed := r.node;
      failure := COALESCE(NULLIF(regexp_replace(r.result, '^ERROR: +', ''), ''), 'it cannot be asked');
    ELSIF r.result <> '' THEN
      n := n + 1;
      answer := substr(r.result, 2);
    END IF;
  END LOOP;
  IF n = 0 AND failed IS NOT NULL THEN
    RAISE EXCEPTION 'node %: %', failed, failure
      USING ERRCODE = 'external_routine_exception', HINT = 'If the node is down, try again when it is back: it has its transactions.';
  ELSIF n = 0 THEN
    RAISE EXCEPTION 'global transaction "%" does not exist', gid
      USING ERRCODE = 'DT003', HINT = 'Look for it in dtm.cluster_transactions, which lists the global transactions that you are allowed to see.';
  ELSIF n > 1 THEN
    RAISE EXCEPTION 'gid "%" is known on % nodes', gid, n
      USING ERRCODE = 'DT002', DETAIL = 'The expression has been run on each of them.', HINT = 'Use gids of dtm_new_gid(), or one node for each gid.';
  END IF;
  RETURN answer;
END
$$;
COMMENT ON FUNCTION @extschema@.dtm_cluster_run(text, text) IS
  'runs an expression on the node of Citus that has a global transaction, in a transaction of its own, and returns its result as text';

CREATE FUNCTION dtm.tag() RETURNS text
AS 'MODULE_PATHNAME', 'dtm_tag' LANGUAGE C STABLE PARALLEL SAFE;

CREATE FUNCTION dtm.status(gid text) RETURNS text
AS 'MODULE_PATHNAME', 'dtm_status' LANGUAGE C STABLE STRICT;

/* Is this the node of the gid's tag, or does it know the gid? */
CREATE FUNCTION dtm.has_transaction(gid text) RETURNS boolean
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE WHEN $1 ~ '^[0-9a-hjkmnp-tv-z]{26}\.[0-9a-f]{5}$' THEN dtm.tag() = right($1, 5)
              ELSE dtm.status($1) IS NOT NULL END
$$;

CREATE FUNCTION @extschema@.dtm_cluster_status(gid text) RETURNS text
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  answer text;
BEGIN
  SELECT max(NULLIF(e.result, '')) INTO answer FROM dtm.on_each_node(format('SELECT dtm.status(%L)', gid)) e;
  RETURN answer;
END
$$;
COMMENT ON FUNCTION @extschema@.dtm_cluster_status(text) IS
  'returns the status of a global transaction, whichever node of Citus has it; NULL if the gid does not exist';

CREATE FUNCTION @extschema@.dtm_cluster_wait(gid text, timeout interval DEFAULT '30 s') RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN @extschema@.dtm_cluster_run(gid, format('@extschema@.dtm_wait(%L, %L)', gid, timeout));
END
$$;
COMMENT ON FUNCTION @extschema@.dtm_cluster_wait(text, interval) IS
  'waits until a global transaction is final, whichever node of Citus has it, and returns its status; on time-out, returns the current status';

/* What setting up has to know of a node. */
CREATE FUNCTION dtm.node_state() RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT jsonb_build_object(
    'sql', (SELECT e.extversion FROM pg_extension e WHERE e.extname = 'dtm'),
    'library', dtm.library_version(),
    'state', (SELECT min(c.state) FROM dtm.stat_coordinator c),
    'tag', (SELECT min(h.tag) FROM dtm.home h))
$$;

/* Checks of the cluster itself; returns the nodes, by their group. */
CREATE FUNCTION dtm.citus_nodes() RETURNS TABLE (groupid integer, node text, state jsonb)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  known boolean;
  bad text;
BEGIN
  EXECUTE 'SELECT (SELECT l.groupid = 0 FROM pg_dist_local_group l)' INTO known;
  IF NOT known THEN
    RAISE EXCEPTION 'this node is not the coordinator of the cluster'
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Run dtm_citus_setup() on the node on which nodes are added.';
  END IF;
  EXECUTE 'SELECT EXISTS (SELECT FROM pg_dist_node n WHERE n.groupid = 0)' INTO known;
  IF NOT known THEN
    RAISE EXCEPTION 'the coordinator of the cluster is not in its metadata'
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Run SELECT citus_set_coordinator_host(''host name of this node'').';
  END IF;
  EXECUTE 'SELECT string_agg(n.nodename || '':'' || n.nodeport, '', '') FROM pg_dist_node n WHERE n.noderole = ''primary'' AND NOT (n.isactive AND n.hasmetadata)
            AND to_jsonb(n) ->> ''nodeisclone'' IS DISTINCT FROM ''true''' INTO bad;
  IF bad IS NOT NULL THEN
    RAISE EXCEPTION 'nodes are not active, or have no metadata: %', bad
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Run citus_activate_node() or start_metadata_sync_to_node() for them, or remove them.';
  END IF;
  RETURN QUERY EXECUTE
    'SELECT n.groupid, e.node, e.result::jsonb FROM dtm.on_each_node(''SELECT dtm.node_state()'') e JOIN pg_dist_node n USING (nodeid) ORDER BY 1';
END
$$;

/* Checks of the nodes, before anything is changed. */
CREATE FUNCTION dtm.check_nodes(nodes jsonb) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  wanted text := nodes -> 0 -> 'state' ->> 'sql';
  bad text;
BEGIN
  SELECT string_agg(format('%s has %s', n ->> 'node', COALESCE(n -> 'state' ->> 'library', 'no library')), ', ') INTO bad FROM jsonb_array_elements(nodes) n
   WHERE n -> 'state' ->> 'sql' IS DISTINCT FROM wanted OR n -> 'state' ->> 'library' IS DISTINCT FROM wanted;
  IF bad IS NOT NULL THEN
    RAISE EXCEPTION 'nodes do not have version % of dtm: %', wanted, bad
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Install the same package on each node, restart it, and run ALTER EXTENSION dtm UPDATE on this node.';
  END IF;
  SELECT string_agg(n ->> 'node', ', ') INTO bad FROM jsonb_array_elements(nodes) n
   WHERE COALESCE(n -> 'state' ->> 'state', 'not preloaded') = 'not preloaded';
  IF bad IS NOT NULL THEN
    RAISE EXCEPTION 'nodes have not preloaded dtm: %', bad
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Set shared_preload_libraries to ''citus, dtm'' on each node, and restart it.';
  END IF;
END
$$;

/* The nodes on which a query returns true; NULL: none. */
CREATE FUNCTION dtm.nodes_where(query text) RETURNS text
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT string_agg(e.node, ', ' ORDER BY e.nodeid) FROM dtm.on_each_node(query) e WHERE e.result::boolean
$$;

/* Where rows move to shards, workers must have none: they would not be seen any more. */
CREATE FUNCTION dtm.check_no_rows(name text) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  bad text := dtm.nodes_where(format('SELECT EXISTS (SELECT FROM %s) AND (SELECT l.groupid <> 0 FROM pg_dist_local_group l)', name));
BEGIN
  IF bad IS NOT NULL THEN
    RAISE EXCEPTION 'table % has rows on nodes: %', name, bad
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = format('Copy them into %s of this node, delete them there, and run dtm_citus_setup() again.', name);
  END IF;
END
$$;

/*
 * The gids of each node end with a tag of its own.  A node that has none gets one, and so
 * does the one that was added later of two that have the same.
 */
CREATE FUNCTION dtm.give_tags(nodes jsonb) RETURNS jsonb
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  tags jsonb := '{}';
  taken text[] := '{}';
  tag text;
  n jsonb;
BEGIN
  FOR n IN SELECT e FROM jsonb_array_elements(nodes) e ORDER BY (e ->> 'groupid')::integer LOOP
    tag := n -> 'state' ->> 'tag';
    WHILE tag IS NULL OR tag = ANY (taken) LOOP
      tag := substr(md5(gen_random_uuid()::text), 1, 5);
    END LOOP;
    taken := taken || tag;
    tags := tags || jsonb_build_object(n ->> 'groupid', tag);
  END LOOP;
  PERFORM dtm.on_each_node(format(
    'UPDATE dtm.home SET tag = t.tag FROM (SELECT %L::pg_catalog.jsonb OPERATOR(pg_catalog.->>) l.groupid::pg_catalog.text AS tag FROM pg_catalog.pg_dist_local_group l) t
      WHERE dtm.home.tag IS DISTINCT FROM t.tag', tags));
  RETURN tags;
END
$$;

/*
 * What Citus plans for a shard of the node itself, it keeps with the prepared statement
 * (a statement of PL/pgSQL is one).  Some of its releases do not find it there again.
 */
CREATE FUNCTION dtm.check_plan_cache() RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  bad text := dtm.nodes_where($q$SELECT pg_catalog.citus_version() OPERATOR(pg_catalog.~) '^Citus (13\.2\.[12]|14\.0\.[01]) '
      AND pg_catalog.current_setting('plan_cache_mode') OPERATOR(pg_catalog.<>) 'force_custom_plan'$q$);
BEGIN
  IF bad IS NOT NULL THEN
    RAISE WARNING 'prepared statements leak memory on nodes: %', bad
      USING DETAIL = 'Citus 13.2.1, 13.2.2, 14.0.0 and 14.0.1 plan a prepared statement on a shard of the node itself anew each time, and keep each plan until the session ends.',
            HINT = 'Set plan_cache_mode to force_custom_plan on each node.';
  END IF;
END
$$;

CREATE FUNCTION @extschema@.dtm_citus_setup(OUT node text, OUT tag text) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  nodes jsonb;
  tags jsonb;
BEGIN
  PERFORM dtm.need_citus();
  IF NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user) THEN
    RAISE EXCEPTION 'permission denied to set up dtm on Citus'
      USING ERRCODE = 'insufficient_privilege', HINT = 'Run dtm_citus_setup() as a superuser.';
  END IF;
  SELECT jsonb_agg(to_jsonb(c)) INTO nodes FROM dtm.citus_nodes() c;
  PERFORM dtm.check_nodes(nodes);
  PERFORM dtm.check_plan_cache();
  IF NOT dtm.is_citus_table('dtm_barrier.barrier') THEN
    PERFORM dtm.check_no_rows('dtm_barrier.barrier');
    /* a key that has the column by which it is distributed: without, shards can't be moved */
    ALTER TABLE dtm_barrier.barrier DROP CONSTRAINT barrier_pkey, ADD CONSTRAINT barrier_pkey PRIMARY KEY (id, gid);
    EXECUTE 'SELECT create_distributed_table(''dtm_barrier.barrier'', ''gid'', colocate_with => ''none'')';
  END IF;
  IF NOT dtm.is_citus_table('dtm.topic') THEN
    PERFORM dtm.check_no_rows('dtm.topic');
    EXECUTE 'SELECT create_reference_table(''dtm.topic'')';
  END IF;
  PERFORM dtm.on_each_node('SELECT dtm.guard_tables()');
  tags := dtm.give_tags(nodes);
  RETURN QUERY SELECT n ->> 'node', tags ->> (n ->> 'groupid') FROM jsonb_array_elements(nodes) n;
END
$$;
COMMENT ON FUNCTION @extschema@.dtm_citus_setup() IS
  'prepares dtm on all nodes of a cluster of Citus: distributes the barrier, makes topics known to all nodes, gives each node a tag for its gids; returns the nodes with their tags';

/* ---------- roles ---------- */

/*
 * Roles belong to the whole cluster.  Those that this script has made, in whichever
 * database, have its comment: they stay as they are, since an administrator may have
 * changed who is in which.  Others that have these names were made for something else,
 * or in advance: they get what a new one gets, and a warning says so.
 *
 * dtm_gateway is who the gateway logs in as: it may call a few functions, and become
 * the roles that are granted to it.  dtm_api is the one that its clients are, unless
 * gateway.hba names another.
 *
 * Only this script knows the names of the roles: what they may do are privileges, so
 * that they can be renamed.
 */
DO $$
DECLARE
  r pg_catalog.record;
  changed pg_catalog.text[] := '{}';
  others pg_catalog.text[] := '{}';
  granted pg_catalog.text;
BEGIN
  FOR r IN
    SELECT v.name, v.options, v.comment, a.oid IS NOT NULL AS is_there, pg_catalog.shobj_description(a.oid, 'pg_authid') AS said
      FROM (VALUES ('dtm_user', 'NOLOGIN', 'dtm: submits global transactions, and steers its own'),
                   ('dtm_monitor', 'NOLOGIN', 'dtm: reads numbers and states'),
                   ('dtm_admin', 'NOLOGIN', 'dtm: sees and steers all global transactions'),
                   ('dtm_api', 'NOLOGIN', 'dtm: clients of the gateway, unless gateway.hba names another role'),
                   ('dtm_gateway', 'NOLOGIN NOINHERIT', 'dtm: the gateway logs in as it')) v(name, options, comment)
           LEFT JOIN pg_catalog.pg_roles a ON a.rolname OPERATOR(pg_catalog.=) v.name
  LOOP
    CONTINUE WHEN r.said OPERATOR(pg_catalog.=) r.comment;
    changed := pg_catalog.array_append(changed, r.name);
    IF r.is_there THEN
      others := pg_catalog.array_append(others, r.name);
    ELSE
      EXECUTE pg_catalog.format('CREATE ROLE %I %s', r.name, r.options);
    END IF;
    IF r.said IS NULL THEN
      EXECUTE pg_catalog.format('COMMENT ON ROLE %I IS %L', r.name, r.comment);
    END IF;
  END LOOP;
  FOR r IN
    SELECT v.role, v.member
      FROM (VALUES (1, 'dtm_monitor', 'pg_monitor'), (2, 'dtm_user', 'dtm_admin'), (3, 'dtm_monitor', 'dtm_admin'),
                   (4, 'dtm_user', 'dtm_api'), (5, 'dtm_api', 'dtm_gateway')) v(n, role, member)
     WHERE (v.role OPERATOR(pg_catalog.=) ANY (changed) OR v.member OPERATOR(pg_catalog.=) ANY (changed)) AND
           NOT EXISTS (SELECT FROM pg_catalog.pg_auth_members m
                        WHERE m.roleid OPERATOR(pg_catalog.=) v.role::pg_catalog.regrole AND
                              m.member OPERATOR(pg_catalog.=) v.member::pg_catalog.regrole)
     ORDER BY v.n
  LOOP
    EXECUTE pg_catalog.format('GRANT %I TO %I', r.role, r.member);
    IF r.role OPERATOR(pg_catalog.=) ANY (others) OR r.member OPERATOR(pg_catalog.=) ANY (others) THEN
      granted := pg_catalog.concat_ws(', ', granted, pg_catalog.format('"%s" to "%s"', r.role, r.member));
    END IF;
  END LOOP;
  IF pg_catalog.cardinality(others) OPERATOR(pg_catalog.>) 0 THEN
    RAISE WARNING 'roles that exist already get the privileges of dtm: %', pg_catalog.array_to_string(others, ', ')
      USING DETAIL = pg_catalog.concat_ws(' ', 'Memberships that were granted: ' OPERATOR(pg_catalog.||) granted OPERATOR(pg_catalog.||) '.',
                                          'The attributes of these roles, such as LOGIN, stay as they are.'),
            HINT = 'If a role is meant for something else, drop the extension, rename the role, and create the extension again.';
  END IF;
END
$$;

/* ---------- privileges: first only those of the owner, and then these ---------- */

/*
 * Revokes what ALTER DEFAULT PRIVILEGES and PostgreSQL itself have granted on
 * objects that a script has created, so that only their owner has privileges.
 * Each script, also one that updates the extension, calls this function after it
 * has created its objects, and grants privileges afterwards.  Objects that were
 * treated have an entry in pg_init_privs: later grants of an administrator stay.
 */
CREATE FUNCTION dtm.withdraw_default_privileges() RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  command text;
BEGIN
  FOR command IN
    SELECT format('REVOKE ALL ON %s %s FROM %s CASCADE', o.kind, o.name,
                  string_agg(DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(r.rolname) END, ', '))
      FROM pg_depend d
           CROSS JOIN LATERAL (
             SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind, c.oid::regclass::text AS name,
                    c.relowner AS owner, c.relacl AS acl
               FROM pg_class c
              WHERE d.classid = 'pg_class'::regclass AND c.oid = d.objid AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
             UNION ALL
             SELECT 'ROUTINE', p.oid::regprocedure::text, p.proowner, p.proacl
               FROM pg_proc p WHERE d.classid = 'pg_proc'::regclass AND p.oid = d.objid
             UNION ALL
             SELECT 'TYPE', t.oid::regtype::text, t.typowner, t.typacl
               FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
              WHERE d.classid = 'pg_type'::regclass AND t.oid = d.objid AND t.typelem = 0
                AND (c.relkind IS NULL OR c.relkind = 'c')
             UNION ALL
             SELECT 'SCHEMA', n.oid::regnamespace::text, n.nspowner, n.nspacl
               FROM pg_namespace n WHERE d.classid = 'pg_namespace'::regclass AND n.oid = d.objid
             UNION ALL
             SELECT 'FOREIGN DATA WRAPPER', quote_ident(f.fdwname), f.fdwowner, f.fdwacl
               FROM pg_foreign_data_wrapper f
              WHERE d.classid = 'pg_foreign_data_wrapper'::regclass AND f.oid = d.objid) o
           CROSS JOIN LATERAL (
             SELECT 0::oid AS grantee
             UNION ALL
             SELECT e.grantee FROM aclexplode(o.acl) e WHERE e.grantee <> o.owner) a
           LEFT JOIN pg_roles r ON r.oid = a.grantee
     WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
       AND d.refobjid = (SELECT e.oid FROM pg_extension e WHERE e.extname = 'dtm')
       AND NOT EXISTS (SELECT FROM pg_init_privs i WHERE i.classoid = d.classid AND i.objoid = d.objid)
     GROUP BY o.kind, o.name
  LOOP
    EXECUTE command;
  END LOOP;
END
$$;

SELECT dtm.withdraw_default_privileges();

GRANT USAGE ON SCHEMA dtm TO dtm_user;
GRANT USAGE ON TYPE @extschema@.dtm_step TO dtm_user;
GRANT SELECT ON dtm.transactions, dtm.branches, dtm.calls, dtm.results, dtm.acts, dtm.timeline, dtm.counts, dtm.in_flight, dtm.row_locks, dtm.schedules, dtm.stuck, dtm.parked, dtm.dead_letters, dtm.lanes, dtm.topics, dtm.stat_coordinator TO dtm_user;
GRANT EXECUTE ON FUNCTION
  @extschema@.dtm_step(text, text, jsonb, jsonb), @extschema@.dtm_step(text, text, json, jsonb),
  @extschema@.dtm_step(text, text, text, jsonb), @extschema@.dtm_step(text, text, bytea, jsonb), @extschema@.dtm_new_gid(),
  @extschema@.dtm_submit(text, jsonb, text, jsonb), @extschema@.dtm_submit(text, json, text, jsonb),
  @extschema@.dtm_submit(text, text, text, jsonb), @extschema@.dtm_prepare(text, text, jsonb, jsonb),
  @extschema@.dtm_prepare(text, text, json, jsonb), @extschema@.dtm_prepare(text, text, text, jsonb),
  @extschema@.dtm_submit(text, @extschema@.dtm_step[], text, jsonb), @extschema@.dtm_submit(jsonb),
  @extschema@.dtm_prepare(text, text, @extschema@.dtm_step[], jsonb), @extschema@.dtm_prepare(jsonb),
  @extschema@.dtm_abort(text, text),
  @extschema@.dtm_register_branch(text, text, text, text, jsonb, jsonb), @extschema@.dtm_register_branch(text, text, text, jsonb),
  @extschema@.dtm_register_branch(jsonb), @extschema@.dtm_prepare_workflow(jsonb),
  @extschema@.dtm_barrier(text, text, text, text, text), @extschema@.dtm_query_prepared(text),
  @extschema@.dtm_barrier_in(regclass, anyelement, text, text, text, text, text), @extschema@.dtm_query_prepared_in(regclass, anyelement, text),
  @extschema@.dtm_status(text), @extschema@.dtm_query(text), @extschema@.dtm_wait(text, interval),
  @extschema@.dtm_result(text, text, text), @extschema@.dtm_complete(text, text, text, boolean, jsonb),
  @extschema@.dtm_retry_now(text, text), @extschema@.dtm_resume(text, text), @extschema@.dtm_force_stop(text, text),
  @extschema@.dtm_edit_step(text, text, jsonb, text), @extschema@.dtm_skip_branch(text, text, text, boolean, text),
  @extschema@.dtm_resubmit(text, text, text),
  @extschema@.dtm_schedule(text, text, jsonb), @extschema@.dtm_unschedule(text),
  @extschema@.dtm_verify_signature(text, text, text, text, text, bytea, interval),
  dtm.library_version(),
  /* those functions and the views call these with the privileges of their caller */
  dtm.open_workflow(jsonb), dtm.query(text), dtm.submit_request(jsonb), dtm.new_gid(), dtm.submit_scheduled(text, jsonb),
  dtm.need_pg_cron(), dtm.visible(oid), dtm.visible(dtm.submitter), dtm.sees_all(), dtm.submitter_role(dtm.submitter), dtm.submitter_problem(dtm.submitter),
  dtm.alert_retry_limit(), dtm.alert_is_silence(text), dtm.stuck_after(), dtm.active_state("char", timestamptz, smallint, boolean, boolean),
  dtm.readable(text), dtm.readable(bytea), dtm.orders(integer[]), dtm.op_undoes("char", integer), dtm.op_branch_id("char", integer, text[]),
  dtm.current_step("char", "char", text), dtm.coordinator_stats(), dtm.noted_calls(), dtm.host_state(text), dtm.row_holder(bigint), dtm.base_url(text), dtm.server_option(text, text),
  dtm.explain_call(text), @extschema@.dtm_explain(text), dtm.schedule_list(), dtm.seconds(bigint),
  dtm.trans_type_name("char"), dtm.status_name("char"), dtm.branch_status_name(text), dtm.result_name("char"),
  dtm.op_step("char", integer), dtm.op_name("char", integer, text, text[]), dtm.op_url("char", integer, text[], text[]),
  dtm.step_branch_id(text[], integer)
TO dtm_user;

/* what asks the other nodes of Citus does that as its caller */
GRANT SELECT ON dtm.cluster_transactions, dtm.cluster_stuck, dtm.cluster_coordinators TO dtm_user;
GRANT EXECUTE ON FUNCTION
  dtm.need_citus(), dtm.on_each_node(text), dtm.cluster_rows(text), dtm.tag(), dtm.status(text), dtm.has_transaction(text),
  @extschema@.dtm_cluster_run(text, text), @extschema@.dtm_cluster_status(text), @extschema@.dtm_cluster_wait(text, interval)
TO dtm_user;

GRANT SELECT ON dtm.orphans, dtm.stat_hosts, dtm.alerts TO dtm_admin;
GRANT EXECUTE ON FUNCTION
  @extschema@.dtm_assign(text, regrole, text), @extschema@.dtm_reset_cron_time(interval, integer), @extschema@.dtm_pause(), @extschema@.dtm_resume(),
  @extschema@.dtm_subscribe(text, text, text), @extschema@.dtm_unsubscribe(text, text), @extschema@.dtm_delete_topic(text),
  @extschema@.dtm_cleanup(interval, integer), @extschema@.dtm_cleanup_barrier(interval, integer),
  @extschema@.dtm_cron_install(text), @extschema@.dtm_cron_uninstall(),
  dtm.administer(), dtm.host_stats(), dtm.alert_class(text), dtm.alert_message(text, text), dtm.alert_hint(text)
TO dtm_admin;
GRANT EXECUTE ON PROCEDURE @extschema@.dtm_run_due(timestamptz, integer) TO dtm_admin;

/* numbers and states: nothing of a single transaction, and no function that does anything */
GRANT USAGE ON SCHEMA dtm TO dtm_monitor;
GRANT SELECT ON dtm.metrics, dtm.stat_coordinator, dtm.stat_hosts, dtm.cluster_metrics, dtm.cluster_coordinators TO dtm_monitor;
GRANT EXECUTE ON FUNCTION
  dtm.metric_samples(), dtm.metric_families(), dtm.coordinator_stats(), dtm.host_stats(), dtm.library_version(),
  dtm.need_citus(), dtm.cluster_rows(text)
TO dtm_monitor;

GRANT USAGE ON SCHEMA dtm TO dtm_gateway;
GRANT SELECT ON dtm.metrics TO dtm_gateway;
GRANT EXECUTE ON FUNCTION dtm.metric_samples(), dtm.tag() TO dtm_gateway;
GRANT EXECUTE ON FUNCTION @extschema@.dtm_create_token(name, interval, text), @extschema@.dtm_revoke_token(text) TO dtm_admin;
GRANT SELECT ON dtm.api_tokens TO dtm_admin;
GRANT EXECUTE ON FUNCTION dtm.gateway_batch(text[], bytea[], text[], bytea[], integer[], bytea[], boolean) TO dtm_gateway;
GRANT EXECUTE ON PROCEDURE dtm.gateway_wait(bigint[], integer, bigint[], text[], text[]) TO dtm_gateway;
GRANT EXECUTE ON FUNCTION
  dtm.gateway_number(jsonb, text, bigint), dtm.gateway_all(jsonb), dtm.gateway_kv(jsonb, boolean), dtm.gateway_call(text, jsonb),
  dtm.url_host(text), dtm.page_host(text), dtm.page_cut(text), dtm.page_me(), dtm.page_find(jsonb, integer), dtm.page_rows(bigint[]), dtm.page_list(jsonb),
  dtm.page_overview(), dtm.page_transaction(text), dtm.page_more(jsonb), dtm.page_services(), dtm.page_more_lists(text), dtm.page(jsonb),
  dtm.page_act_on(text, jsonb), dtm.page_probe(text, text), dtm.page_act(jsonb)
TO dtm_user;

/* ---------- where there is Citus ---------- */

DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname OPERATOR(pg_catalog.=) 'citus') THEN
    PERFORM dtm.guard_tables();
  END IF;
END
$$;

/* ---------- the home: this server and database ---------- */

SELECT dtm.set_home();
