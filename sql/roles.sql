-- Who may do what: if this fails, a role sees or steers what is not its own.
\set VERBOSITY terse
SET client_min_messages = error;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt;
CREATE ROLE regress_dtm_alice;
CREATE ROLE regress_dtm_bob;
CREATE ROLE regress_dtm_team;
CREATE ROLE regress_dtm_carol IN ROLE regress_dtm_team;
CREATE ROLE regress_dtm_operator;
CREATE ROLE regress_dtm_nobody;
GRANT dtm_user TO regress_dtm_alice, regress_dtm_bob, regress_dtm_team;
GRANT dtm_admin TO regress_dtm_operator;
-- nothing without a grant
SET ROLE regress_dtm_nobody;
SELECT dtm_submit('msg');
SELECT dtm_new_gid();
SELECT dtm_barrier('saga', 'g', '01', 'action');
SELECT * FROM dtm.transactions;
SELECT dtm_status('x');
RESET ROLE;
-- one's own
SET ROLE regress_dtm_alice;
SELECT dtm_submit('msg', ARRAY[dtm_step('http://a/')], gid => 'alices');
SELECT dtm_prepare('msg', 'alices-prepared', ARRAY[dtm_step('http://a/')]);
SELECT dtm_barrier('saga', 'g', '01', 'action');
SELECT gid, submitted_by FROM dtm.transactions ORDER BY gid;
SELECT dtm_status('alices');
-- and no way round
SELECT * FROM dtm.request;
INSERT INTO dtm.active VALUES (1, now(), now());
DELETE FROM dtm_barrier.barrier;
SELECT dtm_pause();
SELECT dtm_resume();
CALL dtm_run_due();
SELECT dtm_reset_cron_time('1 s');
SELECT dtm.set_home();
SET ROLE regress_dtm_bob;
SELECT gid FROM dtm.transactions;
SELECT gid FROM dtm.branches;
SELECT gid FROM dtm.calls;
SELECT dtm_status('alices');
SELECT dtm_query('alices');
SELECT dtm_wait('alices');
SELECT dtm_force_stop('alices');
SELECT dtm_retry_now('alices');
SELECT dtm_abort('alices-prepared');
SELECT dtm_submit('msg', gid => 'alices-prepared');
SELECT dtm_submit('msg', ARRAY[dtm_step('http://a/')], gid => 'alices');
-- a member of the role that submitted has its rights
SET ROLE regress_dtm_team;
SELECT dtm_submit('msg', gid => 'teams');
SET ROLE regress_dtm_carol;
SELECT gid FROM dtm.transactions;
SELECT dtm_force_stop('teams');
-- an admin sees and steers all
SET ROLE regress_dtm_operator;
SELECT gid, status, submitted_by FROM dtm.transactions ORDER BY gid;
SELECT dtm_force_stop('alices');
SELECT count(*) FROM dtm.stat_coordinator;
SELECT dtm_pause();
SELECT dtm_resume();
RESET ROLE;
-- a search_path can't lead astray
CREATE SCHEMA regress_evil;
CREATE FUNCTION regress_evil.evil(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'evil as %', current_user; RETURN true; END $$;
CREATE OPERATOR regress_evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = regress_evil.evil);
CREATE FUNCTION regress_evil.unnest(bigint[]) RETURNS SETOF bigint LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'evil as %', current_user; END $$;
GRANT USAGE ON SCHEMA regress_evil TO regress_dtm_alice;
SET ROLE regress_dtm_alice;
SET client_min_messages = warning;
SET search_path = regress_evil, pg_catalog, public;
SELECT dtm_submit('msg', gid => 'hijack');
SELECT dtm_submit('msg', gid => 'hijack');
SELECT dtm_status('hijack'), dtm_query('hijack') IS NULL;
SELECT dtm_wait('hijack', '0 s');
SELECT dtm_query_prepared('hijack');
SELECT dtm_force_stop('hijack');
RESET search_path;
RESET ROLE;
DROP SCHEMA regress_evil CASCADE;
-- the role that submitted is gone: admins still see it
REVOKE dtm_user FROM regress_dtm_alice;
DROP ROLE regress_dtm_alice;
SET ROLE regress_dtm_operator;
SELECT count(*) FROM dtm.transactions WHERE gid LIKE 'alices%';
RESET ROLE;
DROP ROLE regress_dtm_bob, regress_dtm_carol, regress_dtm_team, regress_dtm_operator, regress_dtm_nobody;
