-- If this fails, a workflow's client loses its progress or its result.
SET client_min_messages = error;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt;
\set SHOW_CONTEXT never
CREATE FUNCTION brief(answer jsonb) RETURNS TABLE (status text, reason text, result text, progresses text) LANGUAGE sql
AS $$ SELECT answer #>> '{transaction,status}', answer #>> '{transaction,rollback_reason}', answer #>> '{transaction,result}',
  (SELECT string_agg(concat_ws(' ', p ->> 'branch_id', p ->> 'op', p ->> 'status', p ->> 'bin_data'), ', ' ORDER BY n)
     FROM jsonb_array_elements(answer -> 'progresses') WITH ORDINALITY e(p, n)) $$;
\set request '{"gid": "w1", "trans_type": "workflow", "protocol": "http", "query_prepared": "http://c/callback", "custom_data": "{\\"name\\": \\"transfer\\", \\"data\\": \\"eyJhbW91bnQiOjMwfQ==\\"}"}'
SELECT * FROM brief(dtm_prepare_workflow(:'request'));
SELECT jsonb_object_keys(dtm_prepare_workflow(:'request'));
SELECT workflow, convert_from(workflow_data, 'UTF8') FROM dtm.request;
SELECT trans_type, status, options FROM dtm.transactions;
-- the callback is due after the retry interval
SELECT round(extract(epoch FROM next_attempt - created)::numeric, 3) AS due FROM dtm.transactions;
-- free op names, in the order they come (WF-10, WF-15)
SELECT dtm_register_branch('{"gid": "w1", "trans_type": "workflow", "branch_id": "01", "op": "business", "status": "succeed"}'::jsonb);
SELECT dtm_register_branch('{"gid": "w1", "trans_type": "workflow", "branch_id": "01", "op": "action", "status": "succeed", "data": "{\"a\":1}"}'::jsonb);
SELECT dtm_register_branch('{"gid": "w1", "trans_type": "workflow", "branch_id": "02", "op": "action", "status": "failed", "data": "no", "sync": "1"}'::jsonb);
-- WF-18
SELECT dtm_register_branch('{"gid": "w1", "trans_type": "workflow", "branch_id": "01", "op": "action", "status": "succeed"}'::jsonb);
SELECT * FROM brief(dtm_prepare_workflow(:'request'));
SELECT branch_id, op, url, status, attempts, convert_from(payload, 'UTF8') AS data FROM dtm.branches WHERE gid = 'w1' ORDER BY ordinal;
-- R-46: a status is required
SELECT dtm_submit('{"gid": "w1", "trans_type": "workflow"}'::jsonb);
SELECT dtm_submit('{"gid": "w1", "trans_type": "workflow", "req_extra": {"status": ""}}'::jsonb);
SELECT dtm_submit('{"gid": "w1", "trans_type": "workflow", "req_extra": {"status": "done"}}'::jsonb);
SELECT dtm_submit('{"gid": "w1", "trans_type": "workflow", "req_extra": {"status": "failed", "rollback_reason": "no money", "result": "!"}}'::jsonb);
SELECT dtm_submit('{"gid": "w1", "trans_type": "workflow", "req_extra": {"status": "failed", "rollback_reason": "no money"}}'::jsonb);
SELECT * FROM brief(dtm_prepare_workflow(:'request'));
-- R-47
SELECT dtm_submit('{"gid": "w1", "trans_type": "workflow", "req_extra": {"status": "failed"}}'::jsonb);
SELECT dtm_register_branch('{"gid": "w1", "trans_type": "workflow", "branch_id": "03", "op": "action", "status": "succeed"}'::jsonb);
SELECT dtm_submit('{"gid": "unknown", "trans_type": "workflow", "req_extra": {"status": "failed"}}'::jsonb);
SELECT dtm_prepare(:'request'::jsonb);
-- WF-08, R-48: the result comes back
SELECT dtm_prepare('workflow', 'w2', options => '{"name": "n", "data": {"x": 1}, "query_prepared": "http://c/"}');
SELECT dtm_submit('workflow', gid => 'w2', options => '{"status": "succeed", "result": {"answer": 42}}');
SELECT status, convert_from(decode(result, 'base64'), 'UTF8') FROM brief(dtm_prepare_workflow('{"gid": "w2", "trans_type": "workflow", "custom_data": "{\"name\":\"n\"}"}'));
SELECT status FROM brief(dtm_prepare_workflow('{"gid": "w2", "trans_type": "workflow"}'));
SELECT dtm_query('w2') #>> '{transaction,finish_time}' IS NOT NULL AS finished;
-- what it can't do
SELECT dtm_prepare('workflow', 'w3', options => '{"name": "n"}');
SELECT next_attempt FROM dtm.transactions WHERE gid = 'w3';
SELECT dtm_abort('w3');
SELECT dtm_submit('saga', gid => 'w3');
SELECT dtm_register_branch('w3', '01', 'http://a/', 'http://b/');
SELECT dtm_register_branch('w3', '01', 'http://a/');
SELECT dtm_prepare('tcc', 't1');
SELECT dtm_submit('workflow', gid => 't1', options => '{"status": "succeed"}');
SELECT dtm_prepare_workflow('{"gid": "t1", "trans_type": "workflow", "custom_data": "{\"name\":\"n\"}"}');
SELECT dtm_force_stop('w3');
SELECT dtm_status('w3');
DROP FUNCTION brief;
TRUNCATE dtm.request, dtm.active, dtm.finished;
-- what clients register in dtm's own scenarios comes back in its order
CREATE FUNCTION play(g text, final text, results text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE r text;
BEGIN
  PERFORM dtm_prepare('workflow', g, options => '{"name": "w"}');
  FOREACH r IN ARRAY string_to_array(results, ', ') LOOP
    PERFORM dtm_register_branch(jsonb_build_object('gid', g, 'trans_type', 'workflow', 'branch_id', split_part(r, ' ', 1),
      'op', split_part(r, ' ', 2), 'status', CASE split_part(r, ' ', 3) WHEN 'F' THEN 'failed' ELSE 'succeed' END));
  END LOOP;
  /* WF-07: a client that comes back finds what was done */
  IF jsonb_array_length(dtm_prepare_workflow(jsonb_build_object('gid', g, 'trans_type', 'workflow', 'custom_data', '{"name":"w"}')) -> 'progresses')
     <> cardinality(string_to_array(results, ', ')) THEN
    RAISE 'progress is lost';
  END IF;
  PERFORM dtm_submit('workflow', gid => g, options => jsonb_build_object('status', final));
  RETURN (SELECT string_agg(branch_id || ' ' || op || ' ' || CASE status WHEN 'failed' THEN 'F' ELSE 'S' END, ', ' ORDER BY ordinal) FROM dtm.branches WHERE gid = g);
END $$;
SELECT id, final, results, play(id, final, results) = results AS same
  FROM (VALUES
    ('WF-01', 'succeed', '02 action S, 03 action S, 01 commit S'),
    ('WF-02', 'failed', '02 action S, 03 action F, 02 rollback S, 01 rollback S'),
    ('WF-03', 'succeed', '01 action S, 02 action S, 02 commit S, 01 commit S'),
    ('WF-04', 'failed', '01 action S, 02 action F, 01 rollback S'),
    ('WF-07', 'succeed', '01 action S, 02 action S'),
    ('WF-10', 'succeed', '01 action S, 02 action S, 03 business S, 03 action S, 03 commit S, 02 commit S'),
    ('WF-11', 'failed', '01 action S, 02 action F'),
    ('WF-12', 'failed', '01 action S, 02 action F, 01 rollback S'),
    ('WF-14', 'failed', '01 action S, 02 action F, 02 rollback S, 01 rollback S'),
    ('WF-15', 'succeed', '01 business S, 01 action S, 02 business S, 02 action S, 02 commit S, 01 commit S'),
    ('WF-16', 'succeed', '01 business S, 01 action S, 02 business S, 02 action S, 02 commit S, 01 commit S'),
    ('WF-17', 'failed', '01 business S, 01 action S, 02 action F, 02 rollback S, 01 rollback S')) w(id, final, results);
SELECT gid, dtm_status(gid) FROM dtm.transactions ORDER BY id;
DROP FUNCTION play;
TRUNCATE dtm.request, dtm.active, dtm.finished;
