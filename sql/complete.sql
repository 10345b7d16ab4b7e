-- dtm_complete: what it refuses, and what it does to the row.
SET client_min_messages = error;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt, dtm.result, dtm.act, dtm.dead_letter;
\set VERBOSITY verbose
\set SHOW_CONTEXT never
CREATE OR REPLACE FUNCTION complain(statement text) RETURNS TABLE (code text, message text, hint text) LANGUAGE plpgsql AS $$
DECLARE m text; h text; r text;
BEGIN
  EXECUTE statement INTO r;
  RETURN QUERY SELECT '00000', r, '';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, h = PG_EXCEPTION_HINT;
  RETURN QUERY SELECT SQLSTATE, m, h;
END $$;
SELECT dtm_submit('saga', ARRAY[dtm_step('http://h/a', 'http://h/-a', options => '{"name": "a"}'), dtm_step('http://h/b', 'http://h/-b', options => '{"name": "b", "complete_within": 60}'), dtm_step('http://h/c'), dtm_step('')], gid => 's'),
       dtm_submit('msg', ARRAY[dtm_step('http://h/a'), dtm_step('http://h/b', options => '{"poll": true}')], gid => 'm'),
       dtm_prepare('saga', 'p', ARRAY[dtm_step('http://h/a', options => '{"complete_within": 5}')]), dtm_prepare('tcc', 't'), dtm_prepare('xa', 'x'), dtm_prepare('workflow', 'w', options => '{"name": "n"}');
SELECT n, c.* FROM (VALUES
  (1, $$SELECT dtm_complete(NULL, 'a')$$), (2, $$SELECT dtm_complete('s', NULL)$$), (3, $$SELECT dtm_complete('s', 'a', NULL)$$), (4, $$SELECT dtm_complete('s', 'a', ok => NULL)$$),
  (5, $$SELECT dtm_complete('nobody', 'a')$$), (6, $$SELECT dtm_complete('s', 'nobody')$$), (7, $$SELECT dtm_complete('s', 'a', 'try')$$), (8, $$SELECT dtm_complete('t', '01')$$), (9, $$SELECT dtm_complete('x', '01')$$), (10, $$SELECT dtm_complete('w', '01')$$),
  (11, $$SELECT dtm_complete('s', 'a', 'compensate')$$), (12, $$SELECT dtm_complete('s', '03')$$), (13, $$SELECT dtm_complete('s', '04')$$), (14, $$SELECT dtm_complete('m', '02', 'compensate')$$),
  (15, $$SELECT dtm_complete('s', 'a', result => to_jsonb(repeat('x', 70000)))$$),
  (16, $$SELECT dtm_complete('p', '01', result => '1')$$), (17, $$SELECT dtm_complete('p', '01', result => '1')$$), (18, $$SELECT dtm_complete('p', '01')$$), (19, $$SELECT dtm_complete('p', '01', result => '2')$$), (20, $$SELECT dtm_complete('p', '01', ok => false)$$),
  (21, $$SELECT dtm_complete('s', 'b', ok => false, result => '"no"')$$), (22, $$SELECT dtm_complete('s', 'b')$$), (23, $$SELECT dtm_complete('s', '01', result => '{"id": 1}')$$), (24, $$SELECT dtm_complete('s', 'a', 'action', true, '{"id":  1}')$$), (25, $$SELECT dtm_complete('s', 'a', 'action', false)$$),
  (26, $$SELECT dtm_complete('m', '02')$$), (27, $$SELECT dtm_complete('m', '01', ok => false, result => '"no"')$$), (28, $$SELECT dtm_complete('m', '01')$$), (29, $$SELECT dtm_complete('m', '01', ok => false)$$)) v(n, statement)
  CROSS JOIN LATERAL complain(statement) c ORDER BY n;
SELECT r.gid, a.status, a.branch_status, a.completions, a.version > 0 AS changed, a.next_time <= now() AS due FROM dtm.active a JOIN dtm.request r USING (id) ORDER BY 1;
SELECT gid, branch_id, name, op, ok, result, note FROM dtm.results ORDER BY 1, 2;
-- what cannot fail is parked, until it is resumed; then it may be completed anew
SELECT gid, status, branch_id, op, url, reason, since IS NOT NULL AS since, attempts FROM dtm.parked;
SELECT n, c.* FROM (VALUES (1, $$SELECT dtm_complete('m', '01', ok => false, result => '"no"')$$), (2, $$SELECT dtm_complete('m', '01', ok => false, result => '"never"')$$),
  (3, $$SELECT dtm_resume('m', 'they have looked')$$), (4, $$SELECT count(*) FROM dtm.results WHERE gid = 'm' AND branch_id = '01'$$), (5, $$SELECT dtm_complete('m', '01', ok => false, result => '"not yet"')$$),
  (6, $$SELECT reason FROM dtm.parked$$), (7, $$SELECT dtm_resume('m')$$), (8, $$SELECT dtm_complete('m', '01', result => '1')$$), (9, $$SELECT dtm_complete('m', '01', result => '1')$$), (10, $$SELECT dtm_complete('m', '01', ok => false)$$)) v(n, statement)
  CROSS JOIN LATERAL complain(statement) c ORDER BY n;
SELECT branch_id, ok, result FROM dtm.results WHERE gid = 'm' ORDER BY 1;
-- a compensation, and a step of a message whose policy says what then
SELECT dtm_submit('msg', ARRAY[dtm_step('http://h/a', options => '{"max_attempts": 3, "on_exhausted": "discard"}'), dtm_step('http://h/b')], gid => 'letter'), dtm_submit('saga', ARRAY[dtm_step('http://h/a', 'http://h/-a')], gid => 'undo');
SELECT n, c.* FROM (VALUES (0, $$SELECT dtm_complete('undo', '01', ok => false, result => '"no"')$$), (1, $$SELECT dtm_complete('undo', '01', 'compensate', ok => false, result => '{"code": 7}')$$), (2, $$SELECT dtm_complete('undo', '01', 'compensate', ok => false, result => '{"code": 7}')$$), (3, $$SELECT dtm_complete('undo', '01', 'compensate')$$),
  (4, $$SELECT dtm_complete('letter', '01', ok => false, result => '"no"')$$), (5, $$SELECT dtm_complete('letter', '01')$$)) v(n, statement)
  CROSS JOIN LATERAL complain(statement) c ORDER BY n;
SELECT gid, status, branch_id, op, reason FROM dtm.parked;
SELECT gid, branch_id, reason FROM dtm.dead_letters;
SELECT dtm_submit('msg', ARRAY[dtm_step('http://h/a')], gid => 'parked');
SELECT n, c.* FROM (VALUES (1, $$SELECT dtm_abort('parked')$$), (2, $$SELECT dtm_complete('parked', '01', ok => false, result => '"no"')$$), (3, $$SELECT dtm_abort('parked')$$)) v(n, statement)
  CROSS JOIN LATERAL complain(statement) c ORDER BY n;
-- an edit of the step for which it is parked resumes it, another does not
SELECT dtm_submit('msg', ARRAY[dtm_step('http://h/a'), dtm_step('http://h/b')], gid => 'edited'), dtm_complete('edited', '01', ok => false, result => '"no"');
SELECT dtm_edit_step('edited', '02', '{"action": "http://h/c"}', 'has moved');
SELECT p.reason, s.state, s.help FROM dtm.parked p JOIN dtm.stuck s USING (id) WHERE p.gid = 'edited';
SELECT dtm_edit_step('edited', '01', '{"payload": {"n": 1}}', 'typo');
SELECT count(*) FROM dtm.parked WHERE gid = 'edited';
SELECT state, failures, next_attempt <= now() AS due, (SELECT count(*) FROM dtm.results r WHERE r.id = t.id) AS results FROM dtm.transactions t WHERE gid = 'edited';
SELECT what, branch_id, op, reason FROM dtm.acts WHERE gid = 'edited' ORDER BY ordinal;
-- who has said what
SELECT gid, ordinal, role = current_user::regrole AS me, what, branch_id, op, reason FROM dtm.acts WHERE gid IN ('m', 'undo') ORDER BY 1, 2;
SELECT event, branch_id, op, role = current_user::regrole AS me FROM dtm.timeline WHERE gid = 'letter' AND event LIKE 'complete%';
-- whom dtm.transactions says to have failed, and with what
SELECT gid, state, failed_branch, failed_op, failure FROM dtm.transactions WHERE gid IN ('undo', 'parked', 'edited', 'm', 's') ORDER BY gid;
SELECT dtm_submit('saga', ARRAY[dtm_step('http://h/a'), dtm_step('http://h/b', options => '{"name": "b"}')], gid => 'told'), dtm_submit('saga', ARRAY[dtm_step('http://h/a')], gid => 'told nothing'), dtm_submit('saga', ARRAY[dtm_step('http://h/a')], gid => 'skipped'),
       dtm_submit('saga', ARRAY[dtm_step('http://h/a')], gid => 'skipped silently'), dtm_submit('saga', ARRAY[dtm_step('http://h/a')], gid => 'aborted');
SELECT dtm_complete('told', '01', result => '1'), dtm_complete('told', 'b', ok => false, result => '{"code": 7}'), dtm_complete('told nothing', '01', ok => false),
       dtm_skip_branch('skipped', '01', 'action', false, 'no stock'), dtm_skip_branch('skipped silently', '01', 'action', false), dtm_abort('aborted', 'changed my mind');
SELECT gid, state, failed_branch, failed_op, failure, rollback_reason FROM dtm.transactions WHERE gid ~ 'told|skipped|aborted' ORDER BY gid;
-- of one that has ended, the same again is no error
SELECT dtm_force_stop('s'), dtm_force_stop('m');
SELECT n, c.* FROM (VALUES (1, $$SELECT dtm_complete('s', 'a', result => '{"id": 1}')$$), (2, $$SELECT dtm_complete('s', 'a', ok => false)$$), (3, $$SELECT dtm_complete('s', '03')$$), (4, $$SELECT dtm_complete('m', '01')$$)) v(n, statement)
  CROSS JOIN LATERAL complain(statement) c ORDER BY n;
-- options of steps
SELECT n, c.* FROM (VALUES (1, '{"complete_within": 0}'), (2, '{"complete_within": "1 h"}'), (3, '{"poll": 1}'), (4, '{"complete_wthin": 3}'), (5, '{"complete_within": 3, "poll": true}'), (6, '{"complete_within": 3, "poll": false}')) v(n, options)
  CROSS JOIN LATERAL complain(format('SELECT dtm_submit(''saga'', ARRAY[dtm_step(''http://h/a'', options => %L)]) <> ''''', options)) c ORDER BY n;
-- what was not called, and is not made for that: its caller is told
SELECT dtm_submit('saga', ARRAY[dtm_step('http://h/a'), dtm_step('http://h/b', options => '{"complete_within": 60}')], gid => 'uncalled');
SET client_min_messages = notice;
SELECT dtm_complete('uncalled', '01');
SELECT dtm_complete('uncalled', '02');
SET client_min_messages = error;
-- options that exclude each other are exchanged by one edit
SELECT dtm_submit('saga', ARRAY[dtm_step('http://h/a', options => '{"complete_within": 60}')], gid => 'exchanged');
SELECT n, c.* FROM (VALUES (1, '{"poll": true}'), (2, '{"complete_within": null, "poll": true}'), (3, '{"poll": null, "complete_within": 5}')) v(n, changes)
  CROSS JOIN LATERAL complain(format('SELECT dtm_edit_step(''exchanged'', ''01'', %L)', changes)) c ORDER BY n;
SELECT step_options FROM dtm.request WHERE gid = 'exchanged';
-- over the gateway
CREATE ROLE regress_dtm_done;
GRANT dtm_user TO regress_dtm_done;
SET SESSION AUTHORIZATION regress_dtm_done;
SELECT dtm_submit('saga', ARRAY[dtm_step('http://h/a', options => '{"name": "a"}')], gid => 'net');
RESET SESSION AUTHORIZATION;
SELECT b.n, outcome, message, sqlstate, convert_from(answer[1], 'UTF8') AS answer FROM (VALUES
  (1, '{"branch_id": "01", "ok": true}'), (2, '{"gid": "net", "ok": true}'), (3, '{"gid": "net", "branch_id": "01"}'), (4, '{"gid": "net", "branch_id": "01", "ok": "yes"}'), (5, '{"gid": "s", "branch_id": "01", "ok": true}'),
  (6, '{"gid": "net", "branch_id": "01", "op": "compensate", "ok": true}'), (7, '{"gid": "net", "branch_id": "a", "op": "", "ok": true, "result": {"id": [1]}}'), (8, '{"gid": "net", "branch_id": "01", "op": "action", "ok": true}'), (9, '{"gid": "net", "branch_id": "a", "ok": false}'),
  (10, '{"gid": "net", "branch_id": "a", "ok": true, "reslut": 1}'), (11, '{"gid": "net", "branch_id": "a", "ok": true, "because": 1}'), (12, '{"gid": "net", "branch_id": "a", "ok": true, "trans_type": "saga"}')) b(n, body)
  CROSS JOIN LATERAL dtm.gateway_batch('{regress_dtm_done}', '{NULL}', '{completeBranch}', ARRAY[convert_to(body, 'UTF8')], '{NULL}', '{}', true) g ORDER BY 1;
SELECT ok, result FROM dtm.results WHERE gid = 'net';
DROP FUNCTION complain;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt, dtm.result, dtm.act, dtm.dead_letter;
DROP OWNED BY regress_dtm_done;
DROP ROLE regress_dtm_done;
