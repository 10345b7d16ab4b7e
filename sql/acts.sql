-- What operators do to transactions, and who may: if this fails, a stuck transaction cannot be
-- mended, nobody knows who has changed one, or an editor acts with another role's rights.
\set VERBOSITY terse
SET client_min_messages = error;
-- a role of a known name, whoever runs this
CREATE ROLE regress_dtm_super SUPERUSER LOGIN;
SET SESSION AUTHORIZATION regress_dtm_super;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt, dtm.act;
CREATE ROLE regress_dtm_alice LOGIN IN ROLE dtm_user;
CREATE ROLE regress_dtm_bob LOGIN IN ROLE dtm_user;
CREATE ROLE regress_dtm_operator LOGIN IN ROLE dtm_admin;
CREATE FUNCTION regress_dtm_run(text, text, text, jsonb) RETURNS void LANGUAGE sql AS $$ SELECT $$;
CREATE FUNCTION regress_dtm_no(text, text, text, jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE 'no' USING ERRCODE = 'DT409'; END $$;
CREATE FUNCTION regress_dtm_owners(text, text, text, jsonb) RETURNS void LANGUAGE sql AS $$ SELECT $$;
REVOKE EXECUTE ON FUNCTION regress_dtm_owners FROM PUBLIC;
CREATE FUNCTION regress_dtm_look(g text) RETURNS text LANGUAGE sql AS $$
  SELECT t.status || COALESCE(' (' || t.rollback_reason || ')', '') || ': ' ||
         (SELECT string_agg(b.branch_id || ' ' || b.op || ' ' || b.status, ', ' ORDER BY ordinal) FROM dtm.branches b WHERE b.gid = g)
    FROM dtm.transactions t WHERE t.gid = g $$;
-- abort: nothing of a prepared saga has run
SELECT dtm_prepare('saga', 'prepared', ARRAY[dtm_step('http://127.0.0.1:9/a', 'http://127.0.0.1:9/b')]);
SELECT dtm_abort('prepared', 'changed my mind');
SELECT regress_dtm_look('prepared');
SELECT dtm_abort('prepared');
-- of a submitted one (in SQL, R-26), what may have run is compensated: 01 has, 02 (a function) has not, 03 was never its turn
SELECT dtm_submit('saga', ARRAY[dtm_step('sql:public.regress_dtm_run', 'sql:public.regress_dtm_run'), dtm_step('sql:public.regress_dtm_run', 'sql:public.regress_dtm_run')], 'stuck');
UPDATE dtm.active SET branch_status = 'PSPP', failures = 3, next_time = 'infinity' WHERE id = (SELECT id FROM dtm.request WHERE gid = 'stuck');
SELECT dtm_abort('stuck');
SELECT regress_dtm_look('stuck');
SELECT dtm_abort('stuck', 'again, at once');
-- a message is not rolled back, but delivered or stopped
SELECT dtm_submit('msg', ARRAY[dtm_step('http://127.0.0.1:9/a'), dtm_step('http://127.0.0.1:9/b')], 'message');
SELECT dtm_abort('message');
-- edit: the URL and the payload of what is still to be called
SELECT dtm_edit_step('message', '02', '{"action": "http://127.0.0.1:9/c", "payload": {"x": 1}}', 'wrong address');
SELECT branch_id, url, convert_from(payload, 'UTF8') FROM dtm.branches WHERE gid = 'message' ORDER BY ordinal;
SELECT dtm_edit_step('message', '02', '{"max_attempts": 5, "headers": {"X-Shop": "7"}}'), dtm_edit_step('message', '02', '{"max_attempts": null, "request_timeout": 2}');
SELECT step_options FROM dtm.request WHERE gid = 'message';
SELECT dtm_edit_step('message', '02', '{"max_attempts": -1}');
SELECT dtm_edit_step('message', '02', '{"name": "x"}');
SELECT dtm_edit_step('message', '03', '{"action": ""}');
SELECT dtm_edit_step('message', '02', '{"compensate": ""}');
SELECT dtm_edit_step('message', '02', '{"url": ""}');
SELECT dtm_edit_step('message', '02', '{"action": "ftp://a/"}');
SELECT dtm_edit_step('message', '02', '{"action": "topic://a"}');
SELECT dtm_edit_step('message', '02', '{"action": 1}');
SELECT dtm_edit_step('message', '02', '[]');
SELECT dtm_edit_step('message', '02', NULL);
SELECT dtm_edit_step('message', NULL, '{}');
SELECT dtm_edit_step(NULL, '01', '{}');
SELECT dtm_edit_step('unknown', '01', '{}');
SELECT dtm_edit_step('prepared', '01', '{"action": ""}');
-- a changed step is checked as at submit
SELECT dtm_edit_step('message', '02', '{"on_exhausted": "abort"}');
SELECT dtm_edit_step('message', '02', '{"compensate_max_attempts": 2}');
SELECT dtm_edit_step('message', '02', '{"compensate_ok": "404"}');
SELECT dtm_edit_step('message', '02', '{"payload": {"id": {"$result": "$.\"01\".id"}}}');
SELECT dtm_edit_step('message', '02', '{"headers": {"X-Id": "{$.\"01\".id}"}}');
SELECT dtm_edit_step('message', '02', '{"action": "sql:public.regress_dtm_run", "method": "PUT", "headers": null}');
SELECT dtm_edit_step('message', '02', jsonb_build_object('content_type', 'application/x-www-form-urlencoded', 'payload', jsonb_build_object(repeat('k', 2000), 1)));
SELECT dtm_submit('saga', ARRAY[dtm_step('http://127.0.0.1:9/a', '', NULL::jsonb, '{"name": "first", "max_attempts": 3, "on_exhausted": "park"}'), dtm_step('http://127.0.0.1:9/{$.first.id}', '')], 'refers', '{"results": true}');
SELECT dtm_edit_step('refers', '01', '{"max_attempts": null}');
SELECT dtm_edit_step('refers', '02', '{"payload": {"$result": "$.nobody"}}');
SELECT dtm_edit_step('refers', '01', '{"action": "http://127.0.0.1:9/{$.\"02\".id}"}');
-- what passes there passes here: references, text by its content type
SELECT dtm_edit_step('refers', '02', '{"action": "http://127.0.0.1:9/b/{$.first.id}", "content_type": "text/plain", "payload": "n = 1"}');
SELECT branch_id, url, convert_from(payload, 'UTF8') FROM dtm.branches WHERE gid = 'refers' AND op = 'action' ORDER BY ordinal;
SELECT dtm_force_stop('refers'), dtm_resubmit('refers', 'refers-2'), dtm_force_stop('refers-2');
-- the network may submit what merely looks like a reference: its step can be changed
SELECT dtm_submit('{"gid": "alike", "trans_type": "msg", "steps": [{"action": "http://127.0.0.1:9/a"}], "payloads": ["{\"$result\": \"$.a\"}"]}'::jsonb);
SELECT dtm_edit_step('alike', '01', '{"action": "http://127.0.0.1:9/b"}');
-- other steps are not looked at: their servers may be gone
CREATE SERVER regress_dtm_gone FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http://127.0.0.1:9');
SELECT dtm_submit('msg', ARRAY[dtm_step('server:regress_dtm_gone/a', NULL, NULL::jsonb, '{"max_attempts": 3}'), dtm_step('http://127.0.0.1:9/a')], 'gone');
DROP SERVER regress_dtm_gone;
SELECT dtm_edit_step('gone', '02', '{"action": "http://127.0.0.1:9/b"}');
SELECT dtm_force_stop('alike'), dtm_force_stop('gone');
-- the record has what was there before, of what was changed
SELECT dtm_edit_step('message', '02', '{"payload": null}');
UPDATE dtm.request SET payload = ARRAY['\xff00'::bytea, 'plain'] WHERE gid = 'message';
SELECT dtm_edit_step('message', '01', '{"payload": 1}'), dtm_edit_step('message', '02', '{"payload": 2, "poll": true}'), dtm_edit_step('message', '02', '{"payload": 3}');
SELECT dtm_edit_step('message', '02', '{}');
-- bytes that are no text: given as they are submitted
SELECT dtm_edit_step('message', '01', '{"payload_base64": "/wD+"}');
SELECT branch_id, payload FROM dtm.branches WHERE gid = 'message' ORDER BY ordinal;
SELECT dtm_edit_step('message', '01', '{"payload_base64": null}'), dtm_edit_step('message', '01', '{"payload_base64": "AA=="}');
SELECT dtm_edit_step('message', '01', '{"payload_base64": "?"}');
SELECT dtm_edit_step('message', '01', '{"payload_base64": 1}');
SELECT dtm_edit_step('message', '01', '{"payload_base64": "AA==", "payload": 1}');
\set VERBOSITY default
SELECT dtm_edit_step('message', '01', '{"payloads": 1}');
SELECT dtm_edit_step('message', '01', '{"whatever_it_may_be": 1}');
\set VERBOSITY terse
-- a failed one is retried at once, a delayed one waits on
UPDATE dtm.active SET failures = 3, next_time = now() + interval '1 h' WHERE id = (SELECT id FROM dtm.request WHERE gid = 'message');
SELECT dtm_edit_step('message', '01', '{"action": "http://127.0.0.1:9/d"}');
SELECT next_attempt <= now() AS due FROM dtm.transactions WHERE gid = 'message';
SELECT dtm_submit('msg', ARRAY[dtm_step('http://127.0.0.1:9/a')], 'delayed', '{"delay": 3600}');
SELECT dtm_edit_step('delayed', '01', '{"action": "http://127.0.0.1:9/d"}');
SELECT next_attempt > now() + interval '50 min' AS waits FROM dtm.transactions WHERE gid = 'delayed';
-- the record names the op that was changed, or none if that is not one
SELECT dtm_submit('saga', ARRAY[dtm_step('http://127.0.0.1:9/a', 'http://127.0.0.1:9/b'), dtm_step('http://127.0.0.1:9/c', 'http://127.0.0.1:9/d')], 'ops');
SELECT dtm_edit_step('ops', '02', '{"compensate": "http://127.0.0.1:9/e"}');
SELECT dtm_edit_step('ops', '02', '{"action": "http://127.0.0.1:9/e"}');
SELECT dtm_edit_step('ops', '02', '{"payload": 1}');
SELECT dtm_edit_step('ops', '02', '{}');
SELECT dtm_skip_branch('ops', '01', 'action', true);
SELECT dtm_edit_step('ops', '01', '{"payload": 1}');
SELECT ordinal, what, branch_id, op FROM dtm.acts WHERE gid = 'ops' ORDER BY ordinal;
SELECT event, branch_id, op FROM dtm.timeline WHERE gid = 'ops' ORDER BY at;
SELECT dtm_force_stop('ops');
-- bytes, which are given as they are shown
SELECT dtm_submit('msg', '[{"action": "http://127.0.0.1:9/a", "payload_base64": "AAE=", "content_type": "application/protobuf"}]'::jsonb, 'bytes', '{"delay": 3600}');
SELECT dtm_edit_step('bytes', '01', '{"payload_base64": "//8=", "method": "PUT"}');
SELECT dtm_edit_step('bytes', '01', '{"payload_base64": "%"}');
SELECT dtm_edit_step('bytes', '01', '{"payload_base64": "AA==", "payload": 1}');
SELECT dtm_edit_step('bytes', '01', '{"payload_base": "AA=="}');
SELECT payload FROM dtm.branches WHERE gid = 'bytes';
SELECT dtm_edit_step('bytes', '01', '{"payload_base64": null}');
SELECT detail FROM dtm.acts WHERE gid = 'bytes' ORDER BY ordinal;
SELECT dtm_force_stop('bytes');
-- a step has a name, too
SELECT dtm_submit('saga', '[{"action": "http://127.0.0.1:9/a", "compensate": "http://127.0.0.1:9/b", "name": "pay"}]'::jsonb, 'named');
SELECT dtm_edit_step('named', 'pay', '{"action": "http://127.0.0.1:9/c"}'), dtm_skip_branch('named', 'pay', 'action', false);
SELECT dtm_edit_step('named', 'ship', '{}');
SELECT dtm_skip_branch('named', 'ship', 'action', true);
SELECT dtm_skip_branch('named', 'pay', 'confirm', true);
SELECT what, branch_id, op FROM dtm.acts WHERE gid = 'named' ORDER BY ordinal;
SELECT dtm_force_stop('named');
-- skip: somebody's word stands for the answer
SELECT dtm_skip_branch('message', '01', 'action', true, 'the customer was called');
SELECT dtm_skip_branch('message', '01', 'action', true);
SELECT dtm_skip_branch('message', '02', 'action', false);
SELECT dtm_skip_branch('message', '02', 'compensate', true);
SELECT dtm_skip_branch('message', '02', 'action', NULL);
SELECT dtm_skip_branch('message', '02', NULL, true);
SELECT regress_dtm_look('message');
SELECT dtm_submit('saga', ARRAY[dtm_step('http://127.0.0.1:9/a', 'http://127.0.0.1:9/b'), dtm_step('http://127.0.0.1:9/a', '')], 'skipped');
SELECT dtm_skip_branch('skipped', '02', 'action', true);
SELECT dtm_skip_branch('skipped', '01', 'compensate', true);
SELECT dtm_skip_branch('skipped', '01', 'action', true);
SELECT dtm_skip_branch('skipped', '02', 'action', false, 'the shop is closed');
SELECT dtm_skip_branch('skipped', '01', 'action', true);
SELECT dtm_skip_branch('skipped', '01', 'compensate', false);
SELECT dtm_skip_branch('skipped', '01', 'compensate', true);
SELECT dtm_prepare('tcc', 'tcc'), dtm_register_branch('tcc', '01', 'http://127.0.0.1:9/confirm', 'http://127.0.0.1:9/cancel');
SELECT dtm_skip_branch('tcc', '01', 'confirm', true);
SELECT dtm_edit_step('tcc', '01', '{"confirm": "http://127.0.0.1:9/else"}');
SELECT dtm_submit('tcc', gid => 'tcc');
SELECT dtm_skip_branch('tcc', '01', 'cancel', true);
SELECT dtm_skip_branch('tcc', '01', 'confirm', true);
SELECT dtm_prepare('workflow', 'workflow', options => '{"name": "w"}');
SELECT dtm_edit_step('workflow', '01', '{}');
SELECT dtm_skip_branch('workflow', '01', 'action', true);
CALL dtm_run_due();
SELECT regress_dtm_look(g) FROM unnest('{stuck,message,skipped,tcc}'::text[]) g;
-- the rights of the role that submitted are for those who have them
GRANT dtm_user TO regress_dtm_alice;
SET ROLE regress_dtm_alice;
SELECT dtm_submit('msg', ARRAY[dtm_step('http://127.0.0.1:9/a')], 'alices');
SELECT dtm_submit('msg', ARRAY[dtm_step('sql:public.regress_dtm_no')], 'alices-function');
SELECT dtm_edit_step('alices', '01', '{"action": "sql:public.regress_dtm_owners"}');
SET ROLE regress_dtm_bob;
SELECT dtm_edit_step('alices', '01', '{"action": ""}');
SELECT dtm_skip_branch('alices', '01', 'action', true);
SELECT dtm_abort('alices'), dtm_resubmit('alices'), dtm_force_stop('alices'), dtm_retry_now('alices');
SELECT count(*) FROM dtm.acts;
SELECT count(*) FROM dtm.timeline;
SET ROLE regress_dtm_operator;
SELECT dtm_edit_step('alices', '01', '{"action": "sql:public.regress_dtm_run"}');
SELECT dtm_edit_step('alices-function', '01', '{"action": "sql:public.regress_dtm_run"}');
-- what is no part of the request uses nobody's rights
SELECT dtm_edit_step('alices-function', '01', '{"request_timeout": 2, "retry_interval": 3, "max_attempts": 4}', 'patience');
SELECT dtm_edit_step('alices-function', '01', '{"payload": {"n": 2}}');
SELECT dtm_edit_step('alices-function', '01', '{"payload_base64": "AA=="}');
SELECT dtm_edit_step('alices-function', '01', '{"payload": {"amount": 1000000}}');
SELECT dtm_edit_step('alices-function', '01', '{"payload_base64": "e30="}');
-- but when it is called, and how its responses are read, are for an administrator to say
SELECT dtm_edit_step('alices-function', '01', '{"request_timeout": 1, "retry_interval": 1}');
SELECT dtm_edit_step('alices', '01', '{"action": "http://127.0.0.1:9/b"}', 'they have moved');
SELECT dtm_edit_step('alices-function', '01', '{"action": "http://127.0.0.1:9/b"}');
RESET ROLE;
-- what its own role may not call is not stored by somebody who may
SELECT dtm_edit_step('alices', '01', '{"action": "sql:public.regress_dtm_owners"}');
SELECT dtm_edit_step('alices', '01', '{"action": "sql:public.regress_dtm_run", "payload": {"by": "superuser"}}');
CALL dtm_run_due();
-- resubmit: the same again, of one that has failed or was stopped
SELECT dtm_resubmit('alices', 'alices-2');
SELECT dtm_resubmit('alices-function', 'alices-2');
SELECT dtm_resubmit('tcc', 'tcc-2');
SELECT dtm_resubmit('unknown', 'unknown-2');
SELECT dtm_force_stop('alices-function', 'no use'), regress_dtm_look('alices-function');
SET ROLE regress_dtm_operator;
SELECT dtm_resubmit('alices-function', 'alices-2', 'the service is back');
RESET ROLE;
SELECT gid, status, submitted_by, steps FROM dtm.transactions WHERE gid = 'alices-2';
SELECT dtm_resubmit('skipped', 'alices-2');
SELECT dtm_resubmit('skipped', 'skipped-2'), length(dtm_resubmit('skipped')) > 20 AS generated;
SELECT dtm_edit_step('skipped-2', '01', '{"action": "sql:public.regress_dtm_no"}');
SELECT dtm_submit('saga', ARRAY[dtm_step('sql:public.regress_dtm_no', 'sql:public.regress_dtm_run')], 'functions');
SELECT dtm_force_stop('functions');
UPDATE dtm.request SET submitted_by = 'regress_dtm_alice' WHERE gid = 'functions';
SET ROLE regress_dtm_operator;
SELECT dtm_resubmit('functions', 'functions-2');
-- the same of a server, with its credentials
RESET ROLE;
CREATE SERVER regress_dtm_bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http://127.0.0.1:9');
GRANT USAGE ON FOREIGN SERVER regress_dtm_bank TO regress_dtm_alice;
SET ROLE regress_dtm_alice;
SELECT dtm_submit('saga', ARRAY[dtm_step('server:regress_dtm_bank/a', 'server:regress_dtm_bank/b', '{}')], 'at the bank');
SET ROLE regress_dtm_operator;
SELECT dtm_edit_step('at the bank', '01', c) FROM unnest(ARRAY['{"request_timeout": 1}', '{"success": "2xx"}', '{"max_attempts": 3, "on_exhausted": "park"}']::jsonb[]) c;
SELECT dtm_edit_step('at the bank', '01', '{"headers": {"X-Amount": "1000000"}}');
SELECT dtm_edit_step('at the bank', '01', '{"method": "DELETE"}');
SELECT dtm_edit_step('at the bank', '01', '{"content_type": "application/json"}');
SELECT dtm_edit_step('at the bank', '01', '{"query_parameters": false}');
SELECT dtm_edit_step('at the bank', '01', '{"payload": 1}');
SELECT dtm_edit_step('at the bank', '01', '{"action": "server:regress_dtm_bank/c"}');
SELECT dtm_edit_step('at the bank', '01', '{"action": "http://127.0.0.1:9/c"}');
SELECT dtm_force_stop('at the bank'), dtm_resubmit('at the bank', 'at the bank 2');
SELECT dtm_force_stop('at the bank 2');
-- what the role may not use any more is not called for it
RESET ROLE;
REVOKE USAGE ON FOREIGN SERVER regress_dtm_bank FROM regress_dtm_alice;
SET ROLE regress_dtm_operator;
SELECT dtm_resubmit('at the bank 2', 'at the bank 3');
RESET ROLE;
DELETE FROM dtm.request WHERE gid LIKE 'at the bank%' OR gid = 'functions-2';
DROP SERVER regress_dtm_bank;
-- what an administrator says of a step must not be what a function is given for its role
SET ROLE regress_dtm_alice;
SELECT dtm_submit('saga', '[{"name": "a", "action": "http://127.0.0.1:9/a", "complete_within": 600},
  {"action": "sql:public.regress_dtm_run", "payload": {"got": {"$result": "$.a.id"}}}]'::jsonb, 'feeds', '{"results": true}');
SELECT dtm_submit('saga', '[{"name": "a", "action": "http://127.0.0.1:9/a", "complete_within": 600},
  {"action": "http://127.0.0.1:9/b", "payload": {"got": {"$result": "$.a.id"}}}]'::jsonb, 'feeds nobody', '{"results": true}');
SET ROLE regress_dtm_operator;
\set VERBOSITY default
SELECT dtm_complete('feeds', 'a', result => '{"id": "mine"}');
SELECT dtm_edit_step('feeds', '01', '{"action": "http://127.0.0.1:9/mine"}');
\set VERBOSITY terse
SELECT dtm_complete('feeds nobody', 'a', result => '{"id": "mine"}');
SELECT dtm_edit_step('feeds nobody', '02', '{"action": "http://127.0.0.1:9/c"}');
SET ROLE regress_dtm_alice;
SELECT dtm_complete('feeds', 'a', result => '{"id": 1}');
SELECT dtm_force_stop('feeds'), dtm_force_stop('feeds nobody');
RESET ROLE;
DELETE FROM dtm.request WHERE gid LIKE 'feeds%';
-- what was done, by whom, and why
SELECT split_part(pg_catalog.col_description('dtm.acts'::regclass, 4), ', ', 4) AS what;
SELECT gid, ordinal, role, what, branch_id, op, reason, detail FROM dtm.acts WHERE role::text <> 'regress_dtm_super' ORDER BY done;
RESET ROLE;
SELECT gid, ordinal, what, branch_id, op, reason, CASE WHEN length(detail ->> 'new_gid') = 26 THEN '"generated"' ELSE detail END AS detail FROM dtm.acts WHERE gid IN ('message', 'skipped', 'skipped-2', 'stuck') ORDER BY gid, ordinal;
SET ROLE regress_dtm_alice;
SELECT event, branch_id, op, result, role, detail FROM dtm.timeline WHERE gid = 'alices' AND event <> 'call' ORDER BY at;
SELECT * FROM dtm.act;
RESET ROLE;
-- a role that is gone has done it all the same
DELETE FROM dtm.request WHERE submitted_by::text LIKE 'regress_dtm%' AND submitted_by::text <> 'regress_dtm_super' AND gid <> 'alices';
UPDATE dtm.request SET submitted_by = '-' WHERE gid = 'alices';
DROP ROLE regress_dtm_operator;
SELECT what, role FROM dtm.acts WHERE gid = 'alices' ORDER BY ordinal;
-- nobody can submit anew for a role that is gone, in a lane or not
SELECT dtm_submit('msg', ARRAY[dtm_step('http://127.0.0.1:9/a')], 'nobodys'), dtm_submit('msg', ARRAY[dtm_step('http://127.0.0.1:9/a')], 'nobodys-lane', '{"lane": "l"}');
SELECT dtm_force_stop('nobodys'), dtm_force_stop('nobodys-lane');
UPDATE dtm.request SET submitted_by = '-' WHERE gid LIKE 'nobodys%';
\set VERBOSITY default
SELECT dtm_resubmit('nobodys');
SELECT dtm_resubmit('nobodys-lane');
\set VERBOSITY terse
-- removed with the transaction
SELECT dtm_cleanup('0 s') > 0 AS removed;
SELECT count(*) FROM dtm.act a WHERE NOT EXISTS (SELECT FROM dtm.active t WHERE t.id = a.id) AND EXISTS (SELECT FROM dtm.request r WHERE r.id = a.id);
DROP FUNCTION regress_dtm_run, regress_dtm_no, regress_dtm_owners, regress_dtm_look;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt, dtm.act;
RESET SESSION AUTHORIZATION;
DROP ROLE regress_dtm_alice, regress_dtm_bob, regress_dtm_super;
