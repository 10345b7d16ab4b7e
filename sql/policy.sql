-- Policies of steps: how often a step is tried, what becomes of it then, and what
-- is parked.  127.0.0.1:1 is a host that refuses connections.
\set VERBOSITY terse
SET client_min_messages = error;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt, dtm.dead_letter;
CREATE FUNCTION complain(statement text) RETURNS TABLE (code text, message text, hint text) LANGUAGE plpgsql AS $$
DECLARE m text; h text;
BEGIN
  EXECUTE statement;
  RETURN QUERY SELECT '00000', 'accepted', '';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, h = PG_EXCEPTION_HINT;
  RETURN QUERY SELECT SQLSTATE, m, h;
END $$;

-- what fits no type
SELECT v.trans_type, v.options, c.* FROM (VALUES
  (1, 'saga', '{"on_exhausted": "discard", "max_attempts": 1}'), (2, 'saga', '{"on_exhausted": "park"}'), (3, 'saga', '{"on_exhausted": "abort"}'),
  (4, 'msg', '{"on_exhausted": "abort", "max_attempts": 1}'), (5, 'msg', '{"compensate_max_attempts": 1}'), (6, 'saga', '{"compensate_max_attempts": 0}'),
  (7, 'saga', '{"compensate_max_attempts": 10000, "max_attempts": 10000, "on_exhausted": "park", "retry_interval": 0.5}'), (8, 'msg', '{"on_exhausted": "discard"}'),
  (9, 'saga', '{"max_attempts": 10001}')) v(n, trans_type, options)
  CROSS JOIN LATERAL complain(format('SELECT dtm_submit(%L, ARRAY[dtm_step('''', options => %L)])', trans_type, options)) c ORDER BY n;
SELECT dtm_force_stop(gid) FROM dtm.transactions;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt;

SELECT dtm_submit('saga', ARRAY[dtm_step('', ''), dtm_step('http://127.0.0.1:1/a', '', options => '{"max_attempts": 2, "retry_interval": 1}')], gid => 'aborts');
SELECT dtm_submit('saga', ARRAY[dtm_step('http://127.0.0.1:1/b', '', options => '{"max_attempts": 1, "on_exhausted": "park"}')], gid => 'parks');
SELECT dtm_submit('saga', ARRAY[dtm_step('', 'http://127.0.0.1:1/c', options => '{"compensate_max_attempts": 2}'),
                                dtm_step('http://127.0.0.1:1/d', '', options => '{"max_attempts": 1}')], gid => 'compensates');
SELECT dtm_submit('msg', ARRAY[dtm_step('http://127.0.0.1:1/e', payload => '{"n": 1}', options => '{"max_attempts": 2, "on_exhausted": "discard", "retry_interval": 1}'), dtm_step('')], gid => 'discards');
SELECT dtm_submit('msg', ARRAY[dtm_step('http://127.0.0.1:1/f', options => '{"max_attempts": 1}')], gid => 'waits', options => '{"notify": true}');
SELECT dtm_submit('msg', ARRAY[dtm_step('http://127.0.0.1:1/g')], gid => 'dtm');
SELECT clock_timestamp() AS t \gset
CALL dtm_run_due(:'t'::timestamptz);
SELECT gid, status, failures FROM dtm.transactions ORDER BY id;
SELECT gid, trans_type, status, branch_id, op, url, regexp_replace(reason, '\): .*', '): ...') AS reason, since = :'t'::timestamptz AS since, attempts, submitted_by = current_user::regrole AS mine, rollback_reason ~ 'attempts: 1' AS rolled_back
  FROM dtm.parked ORDER BY id;
SELECT gid, reason ~ '^parked: failed' AS why FROM dtm.stuck ORDER BY gid;
SELECT count(*) FROM dtm.dead_letters;
-- the second attempt, after 2 s
CALL dtm_run_due(:'t'::timestamptz + interval '1 s');
SELECT gid, status FROM dtm.transactions WHERE gid IN ('aborts', 'discards') ORDER BY id;
CALL dtm_run_due(:'t'::timestamptz + interval '2 s');
SELECT gid, status, regexp_replace(rollback_reason, ': Failed .*', '') AS reason FROM dtm.transactions WHERE gid IN ('aborts', 'discards') ORDER BY id;
SELECT gid, branch_id, url, convert_from(payload, 'UTF8') AS payload, regexp_replace(reason, '\): .*', '): ...') AS reason, discarded = :'t'::timestamptz + interval '2 s' AS discarded, attempts, submitted_by = current_user::regrole AS mine FROM dtm.dead_letters;
SELECT branch_id, status FROM dtm.branches WHERE gid = 'discards' ORDER BY ordinal;
SELECT gid, state, failed_branch, failed_op, failure IS NOT NULL AS says_why FROM dtm.transactions WHERE gid IN ('aborts', 'discards', 'parks', 'compensates') ORDER BY id;
-- dead letters are sent again alone
SELECT dtm_resubmit('discards', 'discards-2');
SELECT branch_id, status FROM dtm.branches WHERE gid = 'discards-2' ORDER BY ordinal;
SELECT gid, what, detail FROM dtm.acts WHERE gid LIKE 'discards%' ORDER BY gid;
SELECT dtm_force_stop('discards-2');
-- nothing moves what is parked, but somebody who means it
SELECT dtm_submit('saga', gid => 'parks');
SELECT * FROM dtm_reset_cron_time('1 s', 100);
CALL dtm_run_due(:'t'::timestamptz + interval '1 day');
SELECT gid, attempts FROM dtm.parked ORDER BY id;
-- what is parked while it is rolled back is to be resumed, not aborted again
\set VERBOSITY default
SELECT dtm_abort('compensates');
\set VERBOSITY terse
-- in bulk; one that is not parked is none, one that does not exist is an error
SELECT gid, dtm_resume(gid) FROM dtm.parked WHERE url LIKE '%127.0.0.1%' ORDER BY id;
SELECT dtm_resume('parks'), dtm_resume('aborts'), dtm_resume('dtm');
SELECT dtm_resume('nothing');
SELECT dtm_resume(NULL::text);
SELECT count(*) FROM dtm.parked;
SELECT gid, failures, next_attempt <= clock_timestamp() AS due FROM dtm.transactions WHERE finished IS NULL AND gid <> 'dtm' ORDER BY id;
-- attempts start anew
CALL dtm_run_due(:'t'::timestamptz + interval '2 days');
SELECT gid, attempts FROM dtm.parked ORDER BY id;
CALL dtm_run_due(:'t'::timestamptz + interval '3 days');
SELECT gid, attempts FROM dtm.parked ORDER BY id;
SELECT dtm_retry_now('parks');
SELECT dtm_force_stop('waits');
SELECT dtm_resume('waits');
SELECT gid FROM dtm.parked ORDER BY id;
-- of a role that is gone, too
CREATE ROLE regress_gone;
GRANT dtm_user TO regress_gone;
GRANT USAGE ON SCHEMA public TO regress_gone;
SET ROLE regress_gone;
SELECT dtm_submit('msg', ARRAY[dtm_step('')], gid => 'of nobody');
SELECT gid FROM dtm.parked;
RESET ROLE;
DROP OWNED BY regress_gone;
DROP ROLE regress_gone;
CALL dtm_run_due();
SELECT gid, branch_id, reason, attempts, submitted_by FROM dtm.parked WHERE gid = 'of nobody';
SELECT dtm_assign('of nobody', current_user::regrole);
SELECT count(*) FROM dtm.parked WHERE gid = 'of nobody';
CALL dtm_run_due();
SELECT dtm_status('of nobody');
-- dead letters go with their message
UPDATE dtm.finished SET finished = now() - interval '1 s' WHERE finished > now();
SELECT dtm_cleanup('0') > 2 AS removed;
SELECT count(*) FROM dtm.dead_letter;
DROP FUNCTION complain;
