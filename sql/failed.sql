-- failed_branch, failed_op and failure of every type, by every way to fail: if this fails, operators
-- are shown a branch that has succeeded, or none, or the trouble of a compensation as the refusal.
\set VERBOSITY terse
SET client_min_messages = error;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt, dtm.act, dtm.dead_letter, dtm.result;
SELECT count(dtm_submit('saga', ARRAY[dtm_step('http://127.0.0.1:9/a', 'http://127.0.0.1:9/b'), dtm_step('http://127.0.0.1:9/c', 'http://127.0.0.1:9/d')], gid))
  FROM unnest('{saga-error,saga-parked,saga-late,saga-undo,saga-undo-parked,saga-refused,saga-both,saga-attempts,saga-cannot,saga-skipped,saga-completed,saga-timeout,saga-edited,saga-fine}'::text[]) gid;
SELECT count(dtm_submit('msg', ARRAY[dtm_step('http://127.0.0.1:9/a'), dtm_step('http://127.0.0.1:9/b')], gid))
  FROM unnest('{msg-second,msg-final,msg-parked,msg-cannot,msg-completed,msg-letters,msg-over}'::text[]) gid;
SELECT count(dtm_prepare('msg', gid, ARRAY[dtm_step('http://127.0.0.1:9/a')], '{"query_prepared": "http://127.0.0.1:9/q"}')) FROM unnest('{msg-query,msg-query-no}'::text[]) gid;
SELECT count(dtm_prepare(split_part(gid, '-', 1), gid)) FROM unnest('{tcc-confirm,tcc-confirm-no,tcc-cancel,tcc-canceled,xa-commit,xa-rollback}'::text[]) gid;
DO $$
DECLARE g text;
BEGIN
  FOREACH g IN ARRAY '{tcc-confirm,tcc-confirm-no,tcc-cancel,tcc-canceled}'::text[] LOOP
    PERFORM dtm_register_branch(g, '01', 'http://127.0.0.1:9/a', 'http://127.0.0.1:9/b'), dtm_register_branch(g, '02', 'http://127.0.0.1:9/a', 'http://127.0.0.1:9/b');
  END LOOP;
  FOREACH g IN ARRAY '{xa-commit,xa-rollback}'::text[] LOOP
    PERFORM dtm_register_branch(g, '01', 'http://127.0.0.1:9/a');
  END LOOP;
  FOREACH g IN ARRAY '{workflow-callback,workflow-failed}'::text[] LOOP
    PERFORM dtm_prepare_workflow(jsonb_build_object('gid', g, 'trans_type', 'workflow', 'query_prepared', 'http://127.0.0.1:9/w', 'custom_data', '{"name": "order", "data": ""}'));
    PERFORM dtm_register_branch(jsonb_build_object('gid', g, 'trans_type', 'workflow', 'branch_id', b.id, 'op', 'action', 'status', b.status, 'data', b.data))
      FROM (VALUES ('01', 'succeed', 'fine'), ('02', 'failed', '{"why": "sold out"}')) b(id, status, data);
  END LOOP;
END $$;
CREATE FUNCTION regress_dtm_set(g text, what text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE format('UPDATE dtm.active a SET version = 1, delayed = NULL, %s FROM dtm.request r WHERE r.id = a.id AND r.gid = %L', what, g); END $$;
-- calls as "op result error", one second after another
CREATE FUNCTION regress_dtm_calls(g text, VARIADIC calls text[]) RETURNS void LANGUAGE sql AS $$
  INSERT INTO dtm.attempt (id, started, duration, branch, http_status, result, error)
  SELECT r.id, now() - interval '1 h' + c.n * interval '1 s', 1000, split_part(c.call, ' ', 1)::int, 200, split_part(c.call, ' ', 2)::"char", NULLIF(regexp_replace(c.call, '^\S+ \S+ ?', ''), '')
    FROM dtm.request r, unnest($2) WITH ORDINALITY c(call, n) WHERE r.gid = $1 $$;
CREATE FUNCTION regress_dtm_end(g text, letter text, letters text, reason text) RETURNS void LANGUAGE sql AS $$
  WITH d AS (DELETE FROM dtm.active a USING dtm.request r WHERE r.id = a.id AND r.gid = $1 RETURNING a.id)
  INSERT INTO dtm.finished (id, finished, status, branch_status, rollback_reason) SELECT id, now(), $2::"char", $3, $4 FROM d $$;
CREATE FUNCTION regress_dtm_said(g text, branch int, what text) RETURNS void LANGUAGE sql AS $$
  INSERT INTO dtm.result (id, branch, ok, result) SELECT id, $2, false, to_jsonb($3) FROM dtm.request WHERE gid = $1 $$;
-- what is retried
SELECT regress_dtm_calls('saga-error', '1 E reset', '1 S', '3 E {"why": "down"}'), regress_dtm_set('saga-error', $$failures = 1, branch_status = 'PSPP', next_time = 'tomorrow'$$);
SELECT regress_dtm_calls('msg-second', '0 E first trouble', '0 S', '1 F card declined'), regress_dtm_set('msg-second', $$failures = 1, branch_status = 'SP', next_time = 'tomorrow'$$);
SELECT regress_dtm_calls('msg-final', '0 F no', '0 F still no'), regress_dtm_set('msg-final', $$failures = 2, next_time = 'tomorrow'$$);
SELECT regress_dtm_calls('msg-query', '-1 E no such page'), regress_dtm_set('msg-query', $$failures = 1, next_time = 'tomorrow'$$);
SELECT regress_dtm_calls('tcc-confirm', '3 S', '1 E down'), regress_dtm_set('tcc-confirm', $$status = 's', failures = 1, branch_status = 'PPPS', next_time = 'tomorrow'$$);
SELECT regress_dtm_calls('tcc-confirm-no', '3 F gone'), regress_dtm_set('tcc-confirm-no', $$status = 's', failures = 1, next_time = 'tomorrow'$$);
SELECT regress_dtm_calls('tcc-cancel', '2 F gone'), regress_dtm_set('tcc-cancel', $$status = 'a', failures = 1, next_time = 'tomorrow'$$);
SELECT regress_dtm_calls('xa-commit', '1 X no such server'), regress_dtm_set('xa-commit', $$status = 's', failures = 1, next_time = 'infinity', parked = now(), parked_op = 1, parked_reason = ''$$);
SELECT regress_dtm_calls('xa-rollback', '0 E down'), regress_dtm_set('xa-rollback', $$status = 'a', failures = 1, next_time = 'tomorrow'$$);
SELECT regress_dtm_calls('workflow-callback', '-1 E {"code": 500}'), regress_dtm_set('workflow-callback', $$failures = 1, next_time = 'tomorrow'$$);
-- what is parked
SELECT regress_dtm_calls('saga-parked', '1 E one', '3 E two', '1 E three'), regress_dtm_set('saga-parked', $$failures = 1, next_time = 'infinity', parked = now(), parked_op = 3, parked_reason = ''$$);
SELECT regress_dtm_calls('msg-parked', '0 E down', '0 F no'), regress_dtm_set('msg-parked', $$failures = 2, next_time = 'infinity', parked = now(), parked_op = 0, parked_reason = ''$$);
SELECT regress_dtm_calls('msg-cannot', '0 S', '1 X there is no result'), regress_dtm_set('msg-cannot', $$failures = 1, branch_status = 'SP', next_time = 'infinity', parked = now(), parked_op = 1, parked_reason = ''$$);
SELECT regress_dtm_calls('msg-completed', '0 E down', '0 O later'), regress_dtm_said('msg-completed', 0, 'lost'), regress_dtm_set('msg-completed', $$failures = 1, next_time = 'infinity', parked = now(), parked_op = 0, parked_reason = ''$$);
-- what is rolled back, without trouble and with it
SELECT regress_dtm_calls('saga-late', '1 S', '3 F declined', '2 S'), regress_dtm_set('saga-late', $$status = 'a', branch_status = 'PSSF'$$);
SELECT regress_dtm_calls('saga-undo', '1 S', '3 F declined', '2 E locked'), regress_dtm_set('saga-undo', $$status = 'a', failures = 1, branch_status = 'PSPF', next_time = 'tomorrow'$$);
SELECT regress_dtm_calls('saga-undo-parked', '1 S', '3 F declined', '2 F locked'), regress_dtm_set('saga-undo-parked', $$status = 'a', failures = 1, branch_status = 'PSPF', next_time = 'infinity', parked = now(), parked_op = 2, parked_reason = ''$$);
-- what has ended
SELECT regress_dtm_calls('saga-refused', '1 S', '3 F {"why": "card declined"}', '2 F', '2 S', '0 F refund locked', '0 S'), regress_dtm_end('saga-refused', 'F', 'SSSF', 'url:x return failed: card declined FAILURE');
SELECT regress_dtm_calls('saga-both', '1 F first', '3 F second', '2 S', '0 S'), regress_dtm_end('saga-both', 'F', 'SFSF', 'url:x return failed: first FAILURE');
SELECT regress_dtm_calls('saga-attempts', '1 S', '3 E one', '3 E two', '2 E locked', '2 S', '0 S'), regress_dtm_end('saga-attempts', 'F', 'SSSP', 'url:x failed (attempts: 2): two');
SELECT regress_dtm_calls('saga-cannot', '1 S', '3 X no path', '0 F no', '0 S'), regress_dtm_end('saga-cannot', 'F', 'SSSP', 'url:x cannot be called: no path');
SELECT regress_dtm_calls('saga-skipped', '1 E down', '0 S'), regress_dtm_end('saga-skipped', 'F', 'SFPP', 'it will never be');
INSERT INTO dtm.act (id, ordinal, done, what, branch, role, reason) SELECT id, 1, now(), 'skip as failed', 1, dtm.submitter(current_user::regrole), 'it will never be' FROM dtm.request WHERE gid = 'saga-skipped';
SELECT regress_dtm_calls('saga-completed', '1 O', '0 F no', '0 S'), regress_dtm_said('saga-completed', 1, 'no such size'), regress_dtm_end('saga-completed', 'F', 'SFPP', 'no such size');
SELECT regress_dtm_calls('saga-timeout', '1 E down', '0 F no', '0 S'), regress_dtm_end('saga-timeout', 'F', 'SPPP', 'Timeout after 10 seconds');
SELECT regress_dtm_calls('saga-edited', '1 F wrong URL', '1 S', '3 F sold out', '2 S', '0 S'), regress_dtm_end('saga-edited', 'F', 'SSSF', 'url:x return failed: sold out FAILURE');
SELECT regress_dtm_calls('saga-fine', '1 F wrong URL', '1 S', '3 E down', '3 S'), regress_dtm_end('saga-fine', 'S', 'PSPS', NULL);
SELECT regress_dtm_calls('msg-letters', '0 E one', '0 E two', '1 F no'), regress_dtm_end('msg-letters', 'F', 'FF', 'url:x was discarded: two');
INSERT INTO dtm.dead_letter (id, branch, discarded, reason) SELECT id, n, now() + n * interval '1 s', 'x' FROM dtm.request, generate_series(0, 1) n WHERE gid = 'msg-letters';
SELECT regress_dtm_calls('msg-over', '0 F no', '0 S', '1 S'), regress_dtm_end('msg-over', 'S', 'SS', NULL);
SELECT regress_dtm_calls('msg-query-no', '-1 F unknown order'), regress_dtm_end('msg-query-no', 'F', 'P', 'unknown order');
SELECT regress_dtm_calls('tcc-canceled', '2 F gone', '2 S', '0 S'), regress_dtm_end('tcc-canceled', 'F', 'SPSP', 'no money');
SELECT regress_dtm_calls('workflow-failed', '-1 F whatever'), regress_dtm_end('workflow-failed', 'F', 'SF', 'sold out');
SELECT gid, state, failed_branch AS branch, failed_op AS op, failure FROM dtm.transactions ORDER BY gid COLLATE "C";
-- the branch for which it is parked is not retried
SELECT gid, branch_id, op, state FROM dtm.branches WHERE gid ~ 'parked$|completed$' ORDER BY gid COLLATE "C", ordinal;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt, dtm.act, dtm.dead_letter, dtm.result;
DROP FUNCTION regress_dtm_set, regress_dtm_calls, regress_dtm_end, regress_dtm_said;
