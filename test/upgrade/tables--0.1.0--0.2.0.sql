/*
 * tables--0.1.0--0.2.0.sql: the first part of the script that the upgrade test runs
 *
 * It gives the tables the form that dtm--0.2.0.sql gives them.  What follows in
 * the script is the part of dtm--0.2.0.sql that comes after its tables ("make
 * install-upgrade-test" joins them): functions and views have one source.
 */

\echo Use "ALTER EXTENSION dtm UPDATE TO '0.2.0'" to load this file. \quit

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

/* by their names: a number is that of a role which does not exist */
ALTER TABLE dtm.request ALTER COLUMN submitted_by TYPE dtm.submitter USING submitted_by::text::dtm.submitter;
ALTER TABLE dtm.home
  ADD COLUMN directory text COLLATE "C",
  ADD COLUMN id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid() CONSTRAINT home_pkey PRIMARY KEY,
  ADD COLUMN citus_group integer,
  ADD COLUMN tag text COLLATE "C";
COMMENT ON COLUMN dtm.home.citus_group IS 'group of this node in a cluster of Citus; NULL: none, or the coordinator has not run yet';
COMMENT ON COLUMN dtm.home.tag IS 'what the gids end with that are generated on this node of Citus; NULL: nothing';
COMMENT ON COLUMN dtm.home.directory IS
  'inode and creation time of a file in the data directory, which differ in a copy of the whole server; NULL: the coordinator has not run yet';
COMMENT ON TABLE dtm.home IS
  'the server and database that this coordinator belongs to, and whether it was paused';
ALTER TABLE dtm.request ADD COLUMN step_options jsonb;
ALTER TABLE dtm.request ADD COLUMN results boolean;
CREATE TABLE dtm.result (
  id bigint NOT NULL,
  branch smallint NOT NULL,
  ok boolean NOT NULL,
  result jsonb,
  note text COLLATE "C",
  CONSTRAINT result_pkey PRIMARY KEY (id, branch)
);
ALTER TABLE dtm.request
  ADD COLUMN lane text COLLATE "C",
  ADD COLUMN lane_skips boolean,
  ADD COLUMN fairness_key text COLLATE "C";
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
SELECT pg_catalog.pg_extension_config_dump('dtm.lane', '');
ALTER TABLE dtm.active
  ADD COLUMN attempts smallint[],
  ADD COLUMN parked timestamptz,
  ADD COLUMN parked_op smallint,
  ADD COLUMN parked_reason text COLLATE "C",
  ADD COLUMN held boolean,
  ADD COLUMN completions bigint[];
CREATE TABLE dtm.dead_letter (
  id bigint NOT NULL,
  branch smallint NOT NULL,
  discarded timestamptz NOT NULL,
  reason text COLLATE "C" NOT NULL,
  CONSTRAINT dead_letter_pkey PRIMARY KEY (id, branch)
);
COMMENT ON TABLE dtm.dead_letter IS 'steps of messages that were discarded by their policy';
COMMENT ON COLUMN dtm.dead_letter.branch IS 'position in branch_status, from 0';
SELECT pg_catalog.pg_extension_config_dump('dtm.dead_letter', '');
ALTER TABLE dtm.request ADD COLUMN parent text COLLATE "C";
COMMENT ON COLUMN dtm.request.parent IS 'gid of the transaction of whose end a message tells (on_finish)';
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
COMMENT ON COLUMN dtm.request.step_options IS 'for each step, an object of its options, or null; NULL: no step has any';
COMMENT ON COLUMN dtm.request.results IS 'whether the results of its branches are kept in dtm.result';
COMMENT ON COLUMN dtm.request.lane IS 'lane, line feed, and what tells lanes of several roles apart; lane_skips: whether it leaves the lane when it is parked';
COMMENT ON COLUMN dtm.request.fairness_key IS 'transactions of one role with different keys take turns';
COMMENT ON COLUMN dtm.request.notify IS 'whether a NOTIFY is sent when the transaction ends; on_finish is a URL that is called then';
COMMENT ON TABLE dtm.active IS 'state of the global transactions that are not final';
COMMENT ON COLUMN dtm.active.version IS 'changes with every write; a writer that has read another version starts over';
COMMENT ON COLUMN dtm.active.branch_status IS 'a letter for each op of each branch: P, S, F';
COMMENT ON COLUMN dtm.active.attempts IS 'failed attempts of each op, where a step has a limit; NULL: none';
COMMENT ON COLUMN dtm.active.parked IS 'since when nothing is called until dtm_resume(gid); NULL: it is not parked';
COMMENT ON COLUMN dtm.active.parked_op IS 'position in branch_status, from 0, of the op for which it was parked; -1: query_prepared; NULL: none';
COMMENT ON COLUMN dtm.active.held IS 'true: another transaction of its lane goes before it; NULL: none';
COMMENT ON COLUMN dtm.active.completions IS 'for each op, until when it waits for dtm_complete(), in microseconds since 2000; -1, -2: it was completed before its turn, and has succeeded or failed; -3: it was completed as failed, and the transaction is parked; less: minus the time before which it is not called, because its response has asked for that; 0: none of them; NULL: all are 0';
COMMENT ON TABLE dtm.finished IS 'outcome of the global transactions that are final';
COMMENT ON TABLE dtm.attempt IS 'calls of branches, one row each';
COMMENT ON COLUMN dtm.attempt.duration IS 'microseconds';
COMMENT ON COLUMN dtm.attempt.branch IS 'position in branch_status, from 0; -1: query_prepared';
COMMENT ON TABLE dtm.result IS 'results of branches, of the transactions that keep them';
COMMENT ON COLUMN dtm.result.branch IS 'position in branch_status, from 0';
COMMENT ON COLUMN dtm.result.ok IS 'whether the branch has succeeded';
COMMENT ON COLUMN dtm.result.note IS 'why result is NULL although there was a response, or a text although that was JSON';
COMMENT ON TABLE dtm.topic IS 'topics, and the URLs that are subscribed to them, in order';
COMMENT ON COLUMN dtm.topic.version IS '1 at creation; each change adds one';
COMMENT ON TABLE dtm_barrier.barrier IS 'branch operations that have been executed or are rejected';
COMMENT ON SCHEMA dtm IS 'dtm: tables, views and internal functions of the coordinator';
COMMENT ON SCHEMA dtm_barrier IS 'dtm: the barrier''s table, where dtm''s SDKs expect it';
ALTER TABLE dtm.attempt REPLICA IDENTITY FULL;
SELECT pg_catalog.pg_extension_config_dump('dtm.result', '');
ALTER TABLE dtm.active ADD COLUMN delayed boolean;
ALTER TABLE dtm.active ADD COLUMN ongoing_since timestamptz;
ALTER TABLE dtm.active ADD COLUMN submitted_by dtm.submitter;
UPDATE dtm.active a SET submitted_by = r.submitted_by FROM dtm.request r WHERE r.id = a.id;
ALTER TABLE dtm.active ALTER COLUMN submitted_by SET NOT NULL;
COMMENT ON COLUMN dtm.active.submitted_by IS 'as in dtm.request, for views that would read thousands of its rows for nothing else';
COMMENT ON COLUMN dtm.active.ongoing_since IS 'first ONGOING since the last success; NULL: there was none';
COMMENT ON COLUMN dtm.active.delayed IS 'whether it waits for the delay of its submit; NULL: no';
ALTER TABLE dtm.finished ADD COLUMN stopped boolean;
COMMENT ON COLUMN dtm.finished.stopped IS 'whether dtm_force_stop() has ended it; NULL: no';
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
SELECT pg_catalog.pg_extension_config_dump('dtm.act', '');

DROP TRIGGER home_changed ON dtm.home;
DROP FUNCTION dtm.home_changed();
DROP FUNCTION @extschema@.dtm_submit(jsonb);
DROP FUNCTION @extschema@.dtm_status(text);

