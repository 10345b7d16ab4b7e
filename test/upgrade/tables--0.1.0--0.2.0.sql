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
COMMENT ON TYPE dtm.submitter IS 'role that submitted a transaction: its OID, and its name for when it does not exist any more';

/* by their names: a number is that of a role which does not exist */
ALTER TABLE dtm.request ALTER COLUMN submitted_by TYPE dtm.submitter USING submitted_by::text::dtm.submitter;
ALTER TABLE dtm.home
  ADD COLUMN directory text COLLATE "C",
  ADD COLUMN id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid() CONSTRAINT home_pkey PRIMARY KEY;
COMMENT ON COLUMN dtm.home.directory IS
  'inode and birth of a file in the data directory, by which a copy of the whole server is known; NULL: the coordinator has not run yet';
COMMENT ON SCHEMA dtm IS 'dtm: tables, views and internal functions of the coordinator';
COMMENT ON SCHEMA dtm_barrier IS 'dtm: the barrier''s table, where dtm''s SDKs expect it';
ALTER TABLE dtm.attempt REPLICA IDENTITY FULL;

DROP TRIGGER home_changed ON dtm.home;
DROP FUNCTION dtm.home_changed();
DROP FUNCTION @extschema@.dtm_submit(jsonb);
DROP FUNCTION @extschema@.dtm_status(text);

