-- What has another name than it had at CREATE EXTENSION (roles: sql/submitters.sql).
-- If this fails, a rename stops all, and nobody says why.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP EXTENSION dtm;
CREATE SCHEMA regress_dtm_old;
CREATE ROLE regress_dtm_owner SUPERUSER;
SET ROLE regress_dtm_owner;
CREATE EXTENSION dtm SCHEMA regress_dtm_old;
RESET ROLE;
-- the extension's schema, its owner
ALTER EXTENSION dtm SET SCHEMA public;
ALTER SCHEMA regress_dtm_old RENAME TO regress_dtm_new;
ALTER ROLE regress_dtm_owner RENAME TO regress_dtm_owner2;
SET search_path = regress_dtm_new;
SELECT dtm_submit('msg', ARRAY[dtm_step('http://127.0.0.1:9/')], 'renamed');
SELECT dtm_status('renamed'), dtm_query('renamed') #>> '{transaction,status}' AS status, dtm_query('renamed') #>> '{branches,0,status}' AS branch;
SELECT dtm_prepare_workflow('{"trans_type": "workflow", "gid": "w", "custom_data": "{\"name\": \"n\"}", "query_prepared": "http://127.0.0.1:9/"}') #>> '{transaction,status}' AS status;
SELECT dtm.submit_scheduled('tick', '{"trans_type": "msg", "steps": [{"action": "http://127.0.0.1:9/"}], "payloads": [""]}') ~ '^tick@' AS scheduled;
SELECT dtm_pause(), dtm_resume();
SELECT dtm_force_stop(gid) FROM dtm.transactions WHERE finished IS NULL;
SELECT dtm_cleanup('0 s') AS removed;
-- the schema of the tables: an error says what has happened
ALTER SCHEMA dtm RENAME TO regress_dtm_tables;
SELECT dtm_submit('msg');
SELECT dtm_status('renamed');
CALL dtm_run_due();
ALTER SCHEMA regress_dtm_tables RENAME TO dtm;
SELECT dtm_submit('msg', gid => 'back');
RESET search_path;
DROP EXTENSION dtm;
DROP SCHEMA regress_dtm_new;
DROP ROLE regress_dtm_owner2;
CREATE EXTENSION dtm;
