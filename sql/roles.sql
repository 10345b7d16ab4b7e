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
SELECT dtm.library_version();
SELECT dtm_verify_signature('t=1,v1=', 'k', 'g', '01', 'action', '');
CREATE SERVER regress_dtm_server FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http://a');
RESET ROLE;
-- roles that another database has made stay as an administrator has left them; others get what new ones get
BEGIN;
CREATE VIEW pg_temp.memberships AS
  SELECT m.roleid::regrole::text AS role, m.member::regrole::text AS member FROM pg_auth_members m
   WHERE m.roleid::regrole::text LIKE 'dtm%' AND m.member::regrole::text ~ '^(dtm|pg)_' ORDER BY 1, 2;
SET LOCAL client_min_messages = warning;
\set VERBOSITY default
DROP EXTENSION dtm;
REVOKE dtm_api FROM dtm_gateway;
CREATE EXTENSION dtm;
SELECT * FROM pg_temp.memberships;
DROP EXTENSION dtm;
ALTER ROLE dtm_monitor RENAME TO regress_dtm_1;
ALTER ROLE dtm_api RENAME TO regress_dtm_2;
ALTER ROLE dtm_gateway RENAME TO regress_dtm_3;
CREATE ROLE dtm_monitor;
CREATE ROLE dtm_api;
COMMENT ON ROLE dtm_api IS 'somebody''s own';
CREATE EXTENSION dtm;
SELECT * FROM pg_temp.memberships;
SELECT r.rolname, r.rolinherit, r.rolcanlogin, shobj_description(r.oid, 'pg_authid') FROM pg_roles r WHERE r.rolname LIKE 'dtm%' ORDER BY 1;
DROP EXTENSION dtm;
CREATE EXTENSION dtm;
ROLLBACK;
\set VERBOSITY terse
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
SELECT count(*) FROM dtm.stat_hosts;
SELECT count(*) FROM dtm.host_stats();
SELECT dtm.http_validator('{}', 0);
SELECT dtm_verify_signature('t=1,v1=', 'k', 'g', '01', 'action', '');
SET ROLE regress_dtm_bob;
CREATE FUNCTION pg_temp.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RAISE NOTICE 'leaked: %', $1; RETURN true; END $$;
SET client_min_messages = notice;
SELECT gid FROM dtm.transactions WHERE pg_temp.leak(gid);
SELECT gid FROM dtm.branches WHERE pg_temp.leak(gid);
SELECT gid FROM dtm.calls WHERE pg_temp.leak(gid);
SELECT gid FROM dtm.stuck WHERE pg_temp.leak(gid);
SELECT state FROM dtm.counts WHERE pg_temp.leak(state);
DROP FUNCTION pg_temp.leak(text);
-- and so it is with each view that shows what only some may see
SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'dtm'::regnamespace AND c.relkind = 'v'
   AND pg_get_viewdef(c.oid) LIKE '%visible(%' AND NOT coalesce('security_barrier=true' = ANY (c.reloptions), false);
SET client_min_messages = error;
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
SELECT count(*) FROM dtm.stat_hosts;
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
CREATE FUNCTION regress_evil.evil(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'evil as %', current_user; RETURN true; END $$;
CREATE OPERATOR regress_evil.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = regress_evil.evil);
CREATE FUNCTION regress_evil.evil(integer, integer) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'evil as %', current_user; RETURN true; END $$;
CREATE OPERATOR regress_evil.= (LEFTARG = integer, RIGHTARG = integer, FUNCTION = regress_evil.evil);
CREATE FUNCTION regress_evil.plus(integer, integer) RETURNS integer LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'evil as %', current_user; RETURN 7; END $$;
CREATE OPERATOR regress_evil.+ (LEFTARG = integer, RIGHTARG = integer, FUNCTION = regress_evil.plus);
CREATE FUNCTION regress_evil.repeat(text, integer) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'evil as %', current_user; RETURN 'P'; END $$;
CREATE DOMAIN regress_evil.timestamptz AS text;
CREATE DOMAIN regress_evil.int2 AS text;
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
SELECT dtm_prepare('tcc', 'hijack-tcc');
SELECT dtm_register_branch('hijack-tcc', '01', 'http://a/', 'http://a/');
SELECT dtm_submit('tcc', gid => 'hijack-tcc', options => '{"request_timeout": 3}');
SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/', 'http://a/')], gid => 'hijack-saga');
SELECT dtm_retry_now('hijack-saga');
SELECT dtm_force_stop('hijack-tcc'), dtm_force_stop('hijack-saga'), dtm_status('hijack-saga');
SELECT dtm_barrier('saga', 'hijack-saga', '01', 'action');
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
