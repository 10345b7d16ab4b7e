-- Whose a transaction is when its role is renamed, dropped, made again or
-- restored: if this fails, somebody acts as a role that is not his.
\set VERBOSITY terse
SET client_min_messages = error;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt;
CREATE TABLE regress_dtm_ran (as_role text);
CREATE FUNCTION regress_dtm_step(text, text, text, jsonb) RETURNS void LANGUAGE sql SECURITY DEFINER AS $$ INSERT INTO regress_dtm_ran VALUES (session_user) $$;
CREATE ROLE regress_dtm_alice LOGIN IN ROLE dtm_user;
CREATE ROLE "regress dtm ""Q""" IN ROLE dtm_user;
CREATE ROLE regress_dtm_bob LOGIN IN ROLE dtm_user;
CREATE ROLE regress_dtm_operator IN ROLE dtm_admin;
SET ROLE regress_dtm_alice;
SELECT dtm_submit('msg', ARRAY[dtm_step('sql:public.regress_dtm_step')], 'alices', '{"on_finish": "sql:public.regress_dtm_step"}');
SELECT dtm_prepare('tcc', 'alices-tcc');
SET ROLE "regress dtm ""Q""";
SELECT dtm_submit('msg', ARRAY[dtm_step('http://127.0.0.1:9/')], 'quoted');
RESET ROLE;
-- as a dump has it, and as a restore reads it
SELECT gid, submitted_by, (submitted_by::text)::dtm.submitter::text = submitted_by::text AS restored FROM dtm.request ORDER BY gid;
-- renamed: it is the same role
ALTER ROLE regress_dtm_alice RENAME TO regress_dtm_anna;
SELECT gid, r.submitted_by AS dumped, t.submitted_by FROM dtm.request r JOIN dtm.transactions t USING (gid) ORDER BY gid;
SET ROLE regress_dtm_anna;
SELECT gid FROM dtm.transactions ORDER BY gid;
RESET ROLE;
ALTER ROLE regress_dtm_anna RENAME TO regress_dtm_alice;
-- dropped: nobody's, and nothing is run
REVOKE dtm_user FROM regress_dtm_alice;
DROP ROLE regress_dtm_alice;
-- which is seen at once, not when it is due
SELECT gid, status FROM dtm.stuck ORDER BY gid;
CALL dtm_run_due();
SELECT gid, status, submitted_by, next_attempt IS NULL AS waits FROM dtm.transactions WHERE gid LIKE 'alices%' ORDER BY gid;
SELECT gid, reason FROM dtm.stuck ORDER BY gid;
SELECT * FROM regress_dtm_ran;
SELECT gid, submitted_by FROM dtm.request ORDER BY gid;
-- made again with its name: another role
CREATE ROLE regress_dtm_alice LOGIN IN ROLE dtm_user;
SET ROLE regress_dtm_alice;
SELECT gid FROM dtm.transactions;
SELECT dtm_retry_now('alices');
SELECT dtm_assign('alices', 'regress_dtm_alice');
RESET ROLE;
SELECT dtm_retry_now('alices');
CALL dtm_run_due();
SELECT gid, reason FROM dtm.stuck ORDER BY gid;
-- and with its name, after a restore
UPDATE dtm.request SET submitted_by = submitted_by::text::dtm.submitter;
SELECT gid, reason FROM dtm.stuck ORDER BY gid;
SELECT * FROM regress_dtm_ran;
-- a restore never fails: the role is not there, or has a number (as older dumps have it)
SELECT s, s::dtm.submitter::text AS dumped, dtm.submitter_role(s::dtm.submitter) AS role, dtm.submitter_problem(s::dtm.submitter)
  FROM unnest(ARRAY['regress_dtm_bob', 'regress_dtm_nobody', '"regress dtm ""N"""', '-', '-regress_dtm_bob', '-"a b"',
                    (SELECT oid::text FROM pg_roles WHERE rolname = 'regress_dtm_bob') ]) s WHERE s !~ '^[0-9]';
SELECT dtm.submitter_role(oid::text::dtm.submitter) AS by_number FROM pg_roles WHERE rolname = 'regress_dtm_bob';
SELECT dtm.submitter_role(dtm.submitter(0)), dtm.submitter(1::oid);
SELECT 'a.b'::dtm.submitter;
-- an administrator decides, who can be that role
SET ROLE regress_dtm_operator;
SELECT gid, reason FROM dtm.stuck ORDER BY gid;
SELECT dtm_register_branch('alices-tcc', '01', 'sql:public.regress_dtm_step', '');
SELECT dtm_assign('alices', 'regress_dtm_bob');
SELECT dtm_assign('alices', NULL);
SELECT dtm_assign('quoted', 'regress_dtm_operator');
SELECT dtm_assign('unknown', 'regress_dtm_operator');
RESET ROLE;
GRANT regress_dtm_bob TO regress_dtm_operator;
SET ROLE regress_dtm_operator;
SELECT dtm_assign('alices', 'regress_dtm_bob');
SELECT dtm_force_stop('alices-tcc');
SELECT gid, reason FROM dtm.stuck ORDER BY gid;
SET ROLE regress_dtm_bob;
SELECT gid FROM dtm.transactions;
RESET ROLE;
-- who is told of the end of what was nobody's: nobody
UPDATE dtm.request SET submitted_by = '-' WHERE gid = 'alices';
SELECT dtm_force_stop('alices');
CALL dtm_run_due();
SELECT gid ~ '^alices$', submitted_by, reason FROM dtm.stuck JOIN dtm.request USING (gid) ORDER BY gid;
SELECT dtm_force_stop(gid) FROM dtm.transactions WHERE finished IS NULL;
SELECT * FROM regress_dtm_ran;
DROP FUNCTION regress_dtm_step;
DROP TABLE regress_dtm_ran;
-- our own roles have other names: administrators and users are what they were
ALTER ROLE dtm_admin RENAME TO regress_dtm_admins;
ALTER ROLE dtm_user RENAME TO regress_dtm_users;
SET ROLE regress_dtm_operator;
SELECT count(*) > 0 AS sees FROM dtm.transactions;
SELECT count(*) FROM dtm.stat_coordinator;
SELECT dtm_pause(), dtm_resume();
SET ROLE regress_dtm_alice;
SELECT count(*) FROM dtm.transactions;
SELECT dtm_submit('msg', gid => 'renamed'), dtm_status('renamed'), dtm_query('renamed') IS NOT NULL;
RESET ROLE;
ALTER ROLE regress_dtm_admins RENAME TO dtm_admin;
ALTER ROLE regress_dtm_users RENAME TO dtm_user;
DROP ROLE regress_dtm_alice, "regress dtm ""Q""", regress_dtm_bob, regress_dtm_operator;
