/* dtm--0.1.0.sql: CREATE EXTENSION dtm */

\echo Use "CREATE EXTENSION dtm" to load this file. \quit

/* ---------- what may stand in the way ---------- */

DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'dtm_barrier') THEN
    RAISE EXCEPTION 'schema "dtm_barrier" exists already'
      USING ERRCODE = 'duplicate_schema',
            DETAIL = 'The extension brings its own dtm_barrier.barrier, with the same columns.',
            HINT = 'If it is that of a dtm SDK, adopt its rows: rename the schema, create the extension, copy the rows. docs/compatibility.md shows the statements.';
  END IF;
  IF EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'dtm') THEN
    RAISE EXCEPTION 'schema "dtm" exists already'
      USING ERRCODE = 'duplicate_schema',
            HINT = 'The extension keeps its tables in a schema of that name: rename or drop yours.';
  END IF;
END
$$;

/* Roles belong to the whole cluster; another database may have made them. */
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'dtm_user') THEN
    CREATE ROLE dtm_user NOLOGIN;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'dtm_admin') THEN
    CREATE ROLE dtm_admin NOLOGIN;
  END IF;
  GRANT dtm_user TO dtm_admin;
END
$$;

CREATE SCHEMA dtm;
CREATE SCHEMA dtm_barrier;
GRANT USAGE ON SCHEMA dtm TO dtm_user;

/* ---------- the coordinator's tables: docs/architecture.md, Storage ---------- */

/* Where this database lives; elsewhere it starts paused. */
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

/* ---------- submitting ---------- */

CREATE TYPE @extschema@.dtm_step AS (
  action text,
  compensate text,
  payload bytea
);
COMMENT ON TYPE @extschema@.dtm_step IS 'one step of a saga or msg; payload is the body of its requests';

CREATE FUNCTION @extschema@.dtm_step(action text, compensate text DEFAULT '', payload jsonb DEFAULT NULL)
RETURNS @extschema@.dtm_step
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT ROW(action, compensate, pg_catalog.convert_to(payload::pg_catalog.text, 'UTF8'))::@extschema@.dtm_step $$;
COMMENT ON FUNCTION @extschema@.dtm_step(text, text, jsonb) IS
  'one step of a saga or msg: the URL of its action, that of its compensation, and the body sent to both';

CREATE FUNCTION @extschema@.dtm_new_gid() RETURNS text
AS 'MODULE_PATHNAME', 'dtm_new_gid' LANGUAGE C VOLATILE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.dtm_new_gid() IS 'a fresh unique gid, sortable by time';

CREATE FUNCTION @extschema@.dtm_submit(trans_type text, steps @extschema@.dtm_step[] DEFAULT '{}', gid text DEFAULT NULL, options jsonb DEFAULT '{}')
RETURNS text
AS 'MODULE_PATHNAME', 'dtm_submit' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_submit(text, @extschema@.dtm_step[], text, jsonb) IS
  'submits a global transaction, which starts when this transaction commits; returns its gid';

CREATE FUNCTION @extschema@.dtm_submit(request jsonb) RETURNS text
AS 'MODULE_PATHNAME', 'dtm_submit_request' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_submit(jsonb) IS
  'submits a global transaction given as the object that dtm''s SDKs send';

CREATE FUNCTION @extschema@.dtm_prepare(trans_type text, gid text DEFAULT NULL, steps @extschema@.dtm_step[] DEFAULT '{}', options jsonb DEFAULT '{}')
RETURNS text
AS 'MODULE_PATHNAME', 'dtm_prepare' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_prepare(text, text, @extschema@.dtm_step[], jsonb) IS
  'opens a global transaction that waits for its dtm_submit or dtm_abort; returns its gid';

CREATE FUNCTION @extschema@.dtm_prepare(request jsonb) RETURNS text
AS 'MODULE_PATHNAME', 'dtm_prepare_request' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_prepare(jsonb) IS
  'opens a global transaction given as the object that dtm''s SDKs send';

CREATE FUNCTION @extschema@.dtm_abort(gid text, reason text DEFAULT NULL) RETURNS void
AS 'MODULE_PATHNAME', 'dtm_abort' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_abort(text, text) IS 'rolls a prepared tcc or xa back, fails a prepared msg';

CREATE FUNCTION dtm.register_tcc_branch(gid text, branch_id text, confirm text, cancel text, payload bytea) RETURNS void
AS 'MODULE_PATHNAME', 'dtm_register_tcc_branch' LANGUAGE C VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION @extschema@.dtm_register_branch(gid text, branch_id text, confirm text, cancel text, payload jsonb DEFAULT NULL) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
AS $$ SELECT dtm.register_tcc_branch(gid, branch_id, confirm, cancel, pg_catalog.convert_to(payload::pg_catalog.text, 'UTF8')) $$;
COMMENT ON FUNCTION @extschema@.dtm_register_branch(text, text, text, text, jsonb) IS
  'adds a branch to a prepared tcc: the URLs of its confirm and cancel, and the body sent to both';

CREATE FUNCTION @extschema@.dtm_register_branch(gid text, branch_id text, url text) RETURNS void
AS 'MODULE_PATHNAME', 'dtm_register_xa_branch' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_register_branch(text, text, text) IS
  'adds a branch to a prepared xa: the URL that commits it or rolls it back';

CREATE FUNCTION @extschema@.dtm_register_branch(request jsonb) RETURNS void
AS 'MODULE_PATHNAME', 'dtm_register_branch_request' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_register_branch(jsonb) IS
  'adds a branch given as the object that dtm''s SDKs send';

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
  /* a statement of its own, which sees what that one has written */
  answer := @extschema@.dtm_query(gid);
  RETURN pg_catalog.jsonb_build_object('transaction', answer OPERATOR(pg_catalog.->) 'transaction',
                                       'progresses', answer OPERATOR(pg_catalog.->) 'branches');
END
$$;
COMMENT ON FUNCTION @extschema@.dtm_prepare_workflow(jsonb) IS
  'opens a workflow, or finds it as it is, with what has been registered';

/* ---------- topics ---------- */

CREATE FUNCTION dtm.check_url(url text, what text) RETURNS void
AS 'MODULE_PATHNAME', 'dtm_check_url' LANGUAGE C STABLE;

CREATE FUNCTION dtm.check_topic(topic text) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF topic IS NULL OR topic = '' THEN
    RAISE EXCEPTION 'empty topic'
      USING ERRCODE = 'invalid_parameter_value', HINT = 'A topic has a name, as in topic://name.';
  END IF;
END
$$;

CREATE FUNCTION dtm.error_no_topic(topic text) RETURNS void
LANGUAGE plpgsql STABLE
AS $$
BEGIN
  RAISE EXCEPTION 'no such a topic: "%"', topic
    USING ERRCODE = 'undefined_object', HINT = 'dtm.topics lists those that there are.';
END
$$;

CREATE FUNCTION @extschema@.dtm_subscribe(topic text, url text, remark text DEFAULT '') RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  urls text[];
BEGIN
  PERFORM dtm.check_topic(topic);
  IF url IS NULL OR url = '' THEN
    RAISE EXCEPTION 'empty url'
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass the URL that messages of the topic shall go to.';
  END IF;
  PERFORM dtm.check_url(url, 'url');
  /* whoever comes second waits here for the first */
  INSERT INTO dtm.topic AS t VALUES (topic, 1, '{}', '{}')
    ON CONFLICT (name) DO UPDATE SET version = t.version + 1
    RETURNING t.url INTO urls;
  IF url = ANY (urls) THEN
    RAISE EXCEPTION 'this url exists'
      USING ERRCODE = 'unique_violation', DETAIL = format('Topic "%s" has the URL %s already.', topic, url),
            HINT = 'A URL is subscribed to a topic once.';
  END IF;
  UPDATE dtm.topic t SET url = t.url || $2, remark = t.remark || COALESCE($3, '') WHERE t.name = $1;
END
$$;
COMMENT ON FUNCTION @extschema@.dtm_subscribe(text, text, text) IS
  'has the messages of a topic go to one more URL';

CREATE FUNCTION @extschema@.dtm_unsubscribe(topic text, url text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  urls text[];
  place integer;
BEGIN
  PERFORM dtm.check_topic(topic);
  IF url IS NULL OR url = '' THEN
    RAISE EXCEPTION 'empty url'
      USING ERRCODE = 'invalid_parameter_value', HINT = 'Pass a URL that is subscribed to the topic.';
  END IF;
  SELECT t.url INTO urls FROM dtm.topic t WHERE t.name = topic FOR UPDATE;
  IF NOT FOUND THEN
    PERFORM dtm.error_no_topic(topic);
  END IF;
  IF cardinality(urls) = 0 THEN
    RAISE EXCEPTION 'this topic is empty'
      USING ERRCODE = 'undefined_object', DETAIL = format('Nothing is subscribed to topic "%s".', topic),
            HINT = 'dtm.topics lists what is subscribed.';
  END IF;
  place := array_position(urls, url);
  IF place IS NULL THEN
    RAISE EXCEPTION 'no such an url'
      USING ERRCODE = 'undefined_object', DETAIL = format('Topic "%s" does not have the URL %s.', topic, url),
            HINT = 'dtm.topics lists what is subscribed.';
  END IF;
  UPDATE dtm.topic t
     SET url = t.url[:place - 1] || t.url[place + 1:],
         remark = t.remark[:place - 1] || t.remark[place + 1:],
         version = t.version + 1
   WHERE t.name = topic;
END
$$;
COMMENT ON FUNCTION @extschema@.dtm_unsubscribe(text, text) IS
  'has the messages of a topic go to one URL less';

CREATE FUNCTION @extschema@.dtm_delete_topic(topic text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM dtm.check_topic(topic);
  DELETE FROM dtm.topic t WHERE t.name = topic;
  IF NOT FOUND THEN
    PERFORM dtm.error_no_topic(topic);
  END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.dtm_delete_topic(text) IS
  'removes a topic with its subscriptions; messages that were submitted go on';

CREATE VIEW dtm.topics AS
  SELECT t.name AS topic, t.version, u.ordinal::integer AS ordinal, u.url, u.remark
    FROM dtm.topic t
         LEFT JOIN LATERAL ROWS FROM (pg_catalog.unnest(t.url), pg_catalog.unnest(t.remark))
           WITH ORDINALITY u(url, remark, ordinal) ON true;
COMMENT ON VIEW dtm.topics IS 'topics, with a row for each URL that is subscribed, or one for none';

/* ---------- participating ---------- */

CREATE FUNCTION @extschema@.dtm_barrier(trans_type text, gid text, branch_id text, op text, barrier_id text DEFAULT NULL)
RETURNS boolean
AS 'MODULE_PATHNAME', 'dtm_barrier' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_barrier(text, text, text, text, text) IS
  'true: do the business of this branch operation; false: skip it and answer success';

CREATE FUNCTION @extschema@.dtm_query_prepared(gid text) RETURNS boolean
AS 'MODULE_PATHNAME', 'dtm_query_prepared' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_query_prepared(text) IS
  'whether the local transaction of a msg committed; if not, it never can any more';

/* ---------- watching ---------- */

CREATE FUNCTION dtm.trans_type_name("char") RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE $1 WHEN 's' THEN 'saga' WHEN 't' THEN 'tcc' WHEN 'x' THEN 'xa' WHEN 'm' THEN 'msg' WHEN 'w' THEN 'workflow' END $$;

CREATE FUNCTION dtm.status_name("char") RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE $1 WHEN 'p' THEN 'prepared' WHEN 's' THEN 'submitted' WHEN 'a' THEN 'aborting' WHEN 'S' THEN 'succeed' WHEN 'F' THEN 'failed' END $$;

/* Seconds of a number of microseconds, for options. */
CREATE FUNCTION dtm.seconds(bigint) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT pg_catalog.trim_scale($1::pg_catalog.numeric OPERATOR(pg_catalog./) 1000000.0) $$;

/*
 * May this role see what that role submitted?  A member of dtm_admin sees
 * all; so does the role itself, and whoever has its rights.
 */
CREATE FUNCTION dtm.visible(submitted_by oid) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
AS $$ SELECT pg_catalog.pg_has_role(submitted_by, 'USAGE') OR pg_catalog.pg_has_role('dtm_admin', 'USAGE') $$;

CREATE VIEW dtm.transactions WITH (security_barrier) AS
  SELECT r.gid,
         dtm.trans_type_name(r.trans_type) AS trans_type,
         dtm.status_name(COALESCE(a.status, f.status)) AS status,
         r.created,
         COALESCE(a.updated, f.finished) AS updated,
         f.finished,
         NULLIF(a.next_time, 'infinity') AS next_attempt,
         COALESCE(a.rollback_reason, f.rollback_reason) AS rollback_reason,
         r.submitted_by,
         pg_catalog.cardinality(r.action) AS steps,
         a.failures,
         pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
           'timeout_to_fail', dtm.seconds(r.timeout_to_fail),
           'retry_interval', dtm.seconds(r.retry_interval),
           'request_timeout', dtm.seconds(r.request_timeout * 1000::bigint),
           'retry_limit', r.retry_limit,
           'delay', dtm.seconds(r.delay),
           'concurrent', NULLIF(r.concurrent, false),
           'wait_result', NULLIF(r.wait_result, false),
           'query_prepared', r.query_prepared,
           'protocol', r.protocol,
           'name', r.workflow,
           'notify', r.notify,
           'on_finish', r.on_finish,
           'branch_headers', CASE WHEN r.branch_headers IS NOT NULL THEN pg_catalog.jsonb_object(r.branch_headers) END,
           'orders', (SELECT pg_catalog.jsonb_object_agg(o.step::text, o.pre)
                        FROM (SELECT r.orders[n] AS step, pg_catalog.jsonb_agg(r.orders[n + 1] ORDER BY n) AS pre
                                FROM pg_catalog.generate_series(1, pg_catalog.cardinality(r.orders), 2) n
                               GROUP BY 1) o))) AS options,
         r.id,
         r.result
    FROM dtm.request r
         LEFT JOIN dtm.active a ON a.id = r.id
         LEFT JOIN dtm.finished f ON f.id = r.id
   WHERE dtm.visible(r.submitted_by);
COMMENT ON VIEW dtm.transactions IS 'global transactions that the current role may see';

/*
 * Place n (from 0) of a transaction's ops: which step or branch it belongs to
 * (from 1), and its name.  -1 is the query of a prepared msg, and the callback
 * of a workflow.
 */
CREATE FUNCTION dtm.op_step(trans_type "char", n integer) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN $1 IN ('m', 'w') THEN $2 + 1 ELSE $2 / 2 + 1 END $$;

CREATE FUNCTION dtm.op_name(trans_type "char", n integer, workflow text, action text[]) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE $1 WHEN 'w' THEN CASE WHEN $2 < 0 THEN $3 ELSE $4[$2 + 1] END
                     WHEN 's' THEN CASE WHEN $2 % 2 = 0 THEN 'compensate' ELSE 'action' END
                     WHEN 't' THEN CASE WHEN $2 % 2 = 0 THEN 'cancel' ELSE 'confirm' END
                     WHEN 'x' THEN CASE WHEN $2 % 2 = 0 THEN 'rollback' ELSE 'commit' END
                     ELSE CASE WHEN $2 < 0 THEN 'msg' ELSE 'action' END END $$;

CREATE FUNCTION dtm.step_branch_id(branch_id text[], step integer) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN $1 IS NOT NULL THEN $1[$2]
                  WHEN $2 < 100 THEN pg_catalog.lpad($2::pg_catalog.text, 2, '0')
                  ELSE $2::pg_catalog.text END $$;

CREATE VIEW dtm.branches WITH (security_barrier) AS
  SELECT r.gid,
         dtm.step_branch_id(r.branch_id, o.step) AS branch_id,
         dtm.op_name(r.trans_type, b.n, r.workflow, r.action) AS op,
         CASE WHEN r.trans_type = 'w' THEN NULL
              WHEN r.trans_type = 'm' OR b.n % 2 = 1 THEN r.action[o.step]
              ELSE r.compensate[o.step] END AS url,
         CASE b.letter WHEN 'P' THEN 'prepared' WHEN 'S' THEN 'succeed' WHEN 'F' THEN 'failed' END AS status,
         c.attempts,
         c.last_attempt,
         c.last_error,
         r.payload[o.step] AS payload,
         b.n + 1 AS ordinal,
         r.id,
         NULLIF(r.topic[o.step], '') AS topic
    FROM dtm.request r
         CROSS JOIN LATERAL (SELECT a.branch_status FROM dtm.active a WHERE a.id = r.id
                             UNION ALL
                             SELECT f.branch_status FROM dtm.finished f WHERE f.id = r.id) s
         CROSS JOIN LATERAL (SELECT u.letter, u.n::integer - 1 AS n
                               FROM ROWS FROM (pg_catalog.unnest(pg_catalog.string_to_array(s.branch_status, NULL))) WITH ORDINALITY u(letter, n)) b
         CROSS JOIN LATERAL (SELECT dtm.op_step(r.trans_type, b.n) AS step) o
         CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS attempts,
                                    pg_catalog.max(t.started) AS last_attempt,
                                    (pg_catalog.array_agg(t.error ORDER BY t.started DESC) FILTER (WHERE t.error IS NOT NULL))[1] AS last_error
                               FROM dtm.attempt t
                              WHERE t.id = r.id AND t.branch = b.n) c
   WHERE dtm.visible(r.submitted_by);
COMMENT ON VIEW dtm.branches IS 'branch operations of the transactions that the current role may see';

CREATE VIEW dtm.calls WITH (security_barrier) AS
  SELECT r.gid,
         CASE WHEN t.branch < 0 THEN '00' ELSE dtm.step_branch_id(r.branch_id, dtm.op_step(r.trans_type, t.branch)) END AS branch_id,
         dtm.op_name(r.trans_type, t.branch, r.workflow, r.action) AS op,
         t.started,
         pg_catalog.make_interval(secs => (t.duration::pg_catalog.float8 OPERATOR(pg_catalog./) 1000000::pg_catalog.float8)) AS duration,
         CASE t.result WHEN 'S' THEN 'SUCCESS' WHEN 'F' THEN 'FAILURE' WHEN 'O' THEN 'ONGOING' WHEN 'E' THEN 'ERROR' END AS result,
         t.http_status,
         t.error,
         r.id,
         t.grpc_status
    FROM dtm.attempt t
         JOIN dtm.request r ON r.id = t.id
   WHERE dtm.visible(r.submitted_by);
COMMENT ON VIEW dtm.calls IS 'calls of branches, one row for each attempt, of the transactions that the current role may see';

CREATE FUNCTION dtm.alert_retry_limit() RETURNS integer
AS 'MODULE_PATHNAME', 'dtm_get_alert_retry_limit' LANGUAGE C STABLE PARALLEL SAFE;

CREATE VIEW dtm.stuck WITH (security_barrier) AS
  SELECT t.gid, t.trans_type, t.status, t.failures,
         COALESCE(c.since, t.created) AS since,
         pg_catalog.clock_timestamp() - COALESCE(c.since, t.created) AS duration,
         c.branch_id, c.op, c.error AS last_error, t.next_attempt
    FROM dtm.transactions t
         LEFT JOIN LATERAL (
           SELECT f.since, f.branch_id, f.op, f.error
             FROM (SELECT pg_catalog.min(c.started) OVER () AS since, c.branch_id, c.op, c.error, c.started
                     FROM dtm.calls c
                    WHERE c.id = t.id AND c.result <> 'SUCCESS'
                      AND c.started > COALESCE((SELECT pg_catalog.max(s.started) FROM dtm.calls s
                                                 WHERE s.id = t.id AND s.result = 'SUCCESS'), '-infinity')) f
            ORDER BY f.started DESC LIMIT 1) c ON true
   WHERE t.failures >= dtm.alert_retry_limit()
   ORDER BY since;
COMMENT ON VIEW dtm.stuck IS 'transactions that fail again and again, beyond dtm.alert_retry_limit; the longest first';

/*
 * A participant of an XA prepares its work as gid-branch_id.  What is still
 * prepared when its transaction has ended, or is not known, is nobody's.
 */
CREATE VIEW dtm.orphans AS
  SELECT p.gid AS prepared, x.gid, x.branch_id,
         dtm.status_name(f.status) AS status,
         p.prepared AS since,
         pg_catalog.clock_timestamp() - p.prepared AS age,
         p.owner, p.database,
         CASE WHEN f.status = 'S' THEN 'COMMIT' ELSE 'ROLLBACK' END || ' PREPARED ' || pg_catalog.quote_literal(p.gid) AS statement
    FROM pg_catalog.pg_prepared_xacts p
         CROSS JOIN LATERAL pg_catalog.regexp_matches(p.gid, '^(.+)-([0-9]{2,})$') m
         CROSS JOIN LATERAL (SELECT m[1] AS gid, m[2] AS branch_id) x
         LEFT JOIN dtm.request r ON r.gid = x.gid
         LEFT JOIN dtm.finished f ON f.id = r.id
   WHERE r.id IS NULL OR (r.trans_type = 'x' AND f.id IS NOT NULL)
   ORDER BY p.prepared;
COMMENT ON VIEW dtm.orphans IS 'prepared transactions of XA branches whose global transaction has ended or is not known here, and the statement that ends each';

CREATE FUNCTION dtm.coordinator_stats(
  OUT state text, OUT pid integer, OUT started timestamptz, OUT in_flight integer, OUT queued integer,
  OUT loaded integer, OUT commits bigint, OUT finished bigint, OUT calls bigint, OUT call_errors bigint, OUT errors bigint,
  OUT coordinator integer)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'dtm_coordinator_stats' LANGUAGE C VOLATILE PARALLEL SAFE;
COMMENT ON FUNCTION dtm.coordinator_stats() IS 'counters of this database''s coordinators since they were started';

CREATE VIEW dtm.stat_coordinator AS
  SELECT s.*, b.backlog, b.oldest_due_age
    FROM dtm.coordinator_stats() s
         CROSS JOIN (SELECT pg_catalog.count(*) AS backlog,
                            pg_catalog.clock_timestamp() - pg_catalog.min(a.next_time) AS oldest_due_age
                       FROM dtm.active a
                      WHERE a.next_time <= pg_catalog.clock_timestamp()) b;
COMMENT ON VIEW dtm.stat_coordinator IS 'state, load and counters of this database''s coordinators, a row each; backlog counts the transactions that are due';

CREATE FUNCTION @extschema@.dtm_status(gid text) RETURNS text
AS 'MODULE_PATHNAME', 'dtm_status' LANGUAGE C STABLE STRICT;
COMMENT ON FUNCTION @extschema@.dtm_status(text) IS 'status of a global transaction; NULL if there is none of this gid';

CREATE FUNCTION @extschema@.dtm_query(gid text) RETURNS jsonb
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
COMMENT ON FUNCTION @extschema@.dtm_query(text) IS 'a global transaction and its branches, as dtm''s /query shows them';

CREATE FUNCTION @extschema@.dtm_wait(gid text, timeout interval DEFAULT '30 s') RETURNS text
AS 'MODULE_PATHNAME', 'dtm_wait' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_wait(text, interval) IS
  'waits until a global transaction is final and returns its status; the current one on time-out';

/* ---------- steering ---------- */

CREATE FUNCTION @extschema@.dtm_retry_now(gid text) RETURNS void
AS 'MODULE_PATHNAME', 'dtm_retry_now' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_retry_now(text) IS 'makes a global transaction due at once';

CREATE FUNCTION @extschema@.dtm_reset_cron_time(timeout interval, max integer DEFAULT 100, OUT succeed_count integer, OUT has_remaining boolean)
AS 'MODULE_PATHNAME', 'dtm_reset_cron_time' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_reset_cron_time(interval, integer) IS
  'makes up to max transactions due at once that would wait longer than timeout';

CREATE FUNCTION @extschema@.dtm_force_stop(gid text) RETURNS void
AS 'MODULE_PATHNAME', 'dtm_force_stop' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_force_stop(text) IS
  'fails a global transaction as it is: nothing more is called, nothing is undone';

CREATE FUNCTION @extschema@.dtm_pause() RETURNS void
AS 'MODULE_PATHNAME', 'dtm_pause' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_pause() IS 'stops this database''s coordinator, also over a restart';

CREATE FUNCTION @extschema@.dtm_resume() RETURNS void
AS 'MODULE_PATHNAME', 'dtm_resume' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_resume() IS
  'lets this database''s coordinator go on, also one that is paused because the database was restored or copied';

CREATE PROCEDURE @extschema@.dtm_run_due(as_of timestamptz DEFAULT NULL, max_transactions integer DEFAULT NULL)
AS 'MODULE_PATHNAME', 'dtm_run_due' LANGUAGE C;
COMMENT ON PROCEDURE @extschema@.dtm_run_due(timestamptz, integer) IS
  'runs in this session what is due at as_of, until nothing is or max_transactions were run';

/* ---------- removing what has finished ---------- */

CREATE FUNCTION @extschema@.dtm_cleanup(keep interval DEFAULT NULL, max_rows integer DEFAULT 100000) RETURNS bigint
AS 'MODULE_PATHNAME', 'dtm_cleanup' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_cleanup(interval, integer) IS
  'removes global transactions that have been finished for longer than keep (default: dtm.retention), with their calls and barrier rows; returns how many';

CREATE FUNCTION @extschema@.dtm_cleanup_barrier(keep interval, max_rows integer DEFAULT 100000) RETURNS bigint
AS 'MODULE_PATHNAME', 'dtm_cleanup_barrier' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION @extschema@.dtm_cleanup_barrier(interval, integer) IS
  'removes barrier rows older than keep of global transactions that another coordinator drives; returns how many';

/* ---------- by the clock: pg_cron ---------- */

CREATE FUNCTION dtm.need_pg_cron() RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_cron') THEN
    RAISE EXCEPTION 'pg_cron is not installed in this database'
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Install its package (Debian: postgresql-15-cron), add pg_cron to shared_preload_libraries, set cron.database_name to this database, restart the server, and run CREATE EXTENSION pg_cron.';
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
    RAISE EXCEPTION 'schedule is null'
      USING ERRCODE = 'null_value_not_allowed', HINT = 'Pass five fields, such as ''*/10 * * * *''.';
  END IF;
  RETURN cron.schedule('dtm_cleanup', schedule, 'SELECT @extschema@.dtm_cleanup()');
END
$$;
COMMENT ON FUNCTION @extschema@.dtm_cron_install(text) IS
  'has pg_cron remove what has finished, instead of the coordinator; returns the id of its job';

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
  'has the coordinator remove again what has finished';

/* What a job runs.  A repeated tick finds the gid of its minute. */
CREATE FUNCTION dtm.submit_scheduled(name text, request jsonb) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  gid text := name || '@' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD"T"HH24MI"Z"');
BEGIN
  RETURN @extschema@.dtm_submit(request || jsonb_build_object('gid', gid));
EXCEPTION WHEN SQLSTATE 'DT001' THEN
  RETURN gid;   /* it has even finished */
END
$$;

CREATE FUNCTION @extschema@.dtm_schedule(name text, cron text, request jsonb) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM dtm.need_pg_cron();
  IF name IS NULL OR name !~ '^[A-Za-z0-9_.-]{1,50}$' THEN
    RAISE EXCEPTION 'name is null, or not of 1 to 50 letters, digits and "_.-"'
      USING ERRCODE = 'invalid_parameter_value', HINT = 'The gids are name@YYYYMMDDTHHMIZ.';
  END IF;
  IF cron IS NULL THEN
    RAISE EXCEPTION 'cron is null'
      USING ERRCODE = 'null_value_not_allowed', HINT = 'Pass five fields, such as ''0 3 * * *''.';
  END IF;
  IF request ->> 'trans_type' NOT IN ('saga', 'msg') THEN
    RAISE EXCEPTION 'a global transaction of trans_type "%" can''t be scheduled', request ->> 'trans_type'
      USING ERRCODE = 'invalid_parameter_value', HINT = 'It is a saga or msg, whose steps are known.';
  END IF;
  /* what is wrong with the request is wrong now */
  BEGIN
    PERFORM @extschema@.dtm_submit(request || jsonb_build_object('gid', @extschema@.dtm_new_gid()));
    RAISE EXCEPTION USING ERRCODE = 'DT000', MESSAGE = 'not to be kept';
  EXCEPTION WHEN SQLSTATE 'DT000' THEN
    NULL;
  END;
  RETURN cron.schedule('dtm:' || name, cron, format('SELECT dtm.submit_scheduled(%L, %L)', name, request));
END
$$;
COMMENT ON FUNCTION @extschema@.dtm_schedule(text, text, jsonb) IS
  'submits a global transaction by the clock, through pg_cron; returns the id of its job';

CREATE FUNCTION @extschema@.dtm_unschedule(name text) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM dtm.need_pg_cron();
  RETURN cron.unschedule('dtm:' || name);
END
$$;
COMMENT ON FUNCTION @extschema@.dtm_unschedule(text) IS 'ends what dtm_schedule() began';

/* ---------- roles ---------- */

REVOKE ALL ON FUNCTION
  @extschema@.dtm_step(text, text, jsonb), @extschema@.dtm_new_gid(),
  @extschema@.dtm_submit(text, @extschema@.dtm_step[], text, jsonb), @extschema@.dtm_submit(jsonb),
  @extschema@.dtm_prepare(text, text, @extschema@.dtm_step[], jsonb), @extschema@.dtm_prepare(jsonb),
  @extschema@.dtm_abort(text, text), dtm.register_tcc_branch(text, text, text, text, bytea),
  @extschema@.dtm_register_branch(text, text, text, text, jsonb), @extschema@.dtm_register_branch(text, text, text),
  @extschema@.dtm_register_branch(jsonb),
  @extschema@.dtm_barrier(text, text, text, text, text), @extschema@.dtm_query_prepared(text),
  dtm.trans_type_name("char"), dtm.status_name("char"), dtm.seconds(bigint), dtm.visible(oid), dtm.coordinator_stats(),
  dtm.op_step("char", integer), dtm.op_name("char", integer, text, text[]), dtm.step_branch_id(text[], integer),
  dtm.open_workflow(jsonb), @extschema@.dtm_prepare_workflow(jsonb),
  dtm.check_url(text, text), dtm.check_topic(text), dtm.error_no_topic(text), dtm.alert_retry_limit(),
  @extschema@.dtm_cleanup(interval, integer), @extschema@.dtm_cleanup_barrier(interval, integer),
  dtm.need_pg_cron(), @extschema@.dtm_cron_install(text), @extschema@.dtm_cron_uninstall(),
  dtm.submit_scheduled(text, jsonb), @extschema@.dtm_schedule(text, text, jsonb), @extschema@.dtm_unschedule(text),
  @extschema@.dtm_subscribe(text, text, text), @extschema@.dtm_unsubscribe(text, text), @extschema@.dtm_delete_topic(text),
  @extschema@.dtm_status(text), @extschema@.dtm_query(text), @extschema@.dtm_wait(text, interval),
  @extschema@.dtm_retry_now(text), @extschema@.dtm_reset_cron_time(interval, integer), @extschema@.dtm_force_stop(text),
  @extschema@.dtm_pause(), @extschema@.dtm_resume()
FROM PUBLIC;
REVOKE ALL ON PROCEDURE @extschema@.dtm_run_due(timestamptz, integer) FROM PUBLIC;
REVOKE ALL ON TYPE @extschema@.dtm_step FROM PUBLIC;

GRANT EXECUTE ON FUNCTION
  @extschema@.dtm_step(text, text, jsonb), @extschema@.dtm_new_gid(),
  @extschema@.dtm_submit(text, @extschema@.dtm_step[], text, jsonb), @extschema@.dtm_submit(jsonb),
  @extschema@.dtm_prepare(text, text, @extschema@.dtm_step[], jsonb), @extschema@.dtm_prepare(jsonb),
  @extschema@.dtm_abort(text, text), dtm.register_tcc_branch(text, text, text, text, bytea),
  @extschema@.dtm_register_branch(text, text, text, text, jsonb), @extschema@.dtm_register_branch(text, text, text),
  @extschema@.dtm_register_branch(jsonb),
  @extschema@.dtm_barrier(text, text, text, text, text), @extschema@.dtm_query_prepared(text),
  dtm.trans_type_name("char"), dtm.status_name("char"), dtm.seconds(bigint), dtm.visible(oid), dtm.coordinator_stats(),
  dtm.op_step("char", integer), dtm.op_name("char", integer, text, text[]), dtm.step_branch_id(text[], integer),
  dtm.open_workflow(jsonb), @extschema@.dtm_prepare_workflow(jsonb), dtm.alert_retry_limit(),
  dtm.need_pg_cron(), dtm.submit_scheduled(text, jsonb), @extschema@.dtm_schedule(text, text, jsonb), @extschema@.dtm_unschedule(text),
  @extschema@.dtm_status(text), @extschema@.dtm_query(text), @extschema@.dtm_wait(text, interval),
  @extschema@.dtm_retry_now(text), @extschema@.dtm_force_stop(text)
TO dtm_user;
GRANT EXECUTE ON FUNCTION
  @extschema@.dtm_reset_cron_time(interval, integer), @extschema@.dtm_pause(), @extschema@.dtm_resume(),
  @extschema@.dtm_subscribe(text, text, text), @extschema@.dtm_unsubscribe(text, text), @extschema@.dtm_delete_topic(text),
  @extschema@.dtm_cleanup(interval, integer), @extschema@.dtm_cleanup_barrier(interval, integer),
  @extschema@.dtm_cron_install(text), @extschema@.dtm_cron_uninstall()
TO dtm_admin;
GRANT EXECUTE ON PROCEDURE @extschema@.dtm_run_due(timestamptz, integer) TO dtm_admin;
GRANT USAGE ON TYPE @extschema@.dtm_step TO dtm_user;
GRANT SELECT ON dtm.transactions, dtm.branches, dtm.calls, dtm.stuck, dtm.topics, dtm.stat_coordinator TO dtm_user;
GRANT SELECT ON dtm.orphans TO dtm_admin;

/* A change of dtm.home, a restored one too, is noticed at once. */
CREATE FUNCTION dtm.home_changed() RETURNS trigger
AS 'MODULE_PATHNAME', 'dtm_home_changed' LANGUAGE C;
REVOKE ALL ON FUNCTION dtm.home_changed() FROM PUBLIC;
CREATE TRIGGER home_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON dtm.home
  FOR EACH STATEMENT EXECUTE FUNCTION dtm.home_changed();

/* This is its home; a copy of the row elsewhere is not. */
CREATE FUNCTION dtm.set_home() RETURNS void
AS 'MODULE_PATHNAME', 'dtm_set_home' LANGUAGE C VOLATILE PARALLEL UNSAFE;
REVOKE ALL ON FUNCTION dtm.set_home() FROM PUBLIC;
SELECT dtm.set_home();
