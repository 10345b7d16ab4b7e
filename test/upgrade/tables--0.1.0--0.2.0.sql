/*
 * tables--0.1.0--0.2.0.sql: the first part of the script that the upgrade test runs
 *
 * It gives the tables the form that dtm--0.2.0.sql gives them.  What follows in
 * the script is the part of dtm--0.2.0.sql that comes after its tables ("make
 * install-upgrade-test" joins them): functions and views have one source.
 */

\echo Use "ALTER EXTENSION dtm UPDATE TO '0.2.0'" to load this file. \quit

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

