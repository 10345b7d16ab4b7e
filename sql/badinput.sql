-- Bad input is an error with a code and a hint, and nothing is stored.  (BA-14 and others)
SET client_min_messages = error;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt;
\set VERBOSITY verbose
\set SHOW_CONTEXT never
-- the code, not the line of the source
CREATE FUNCTION returns_set(gid text, branch_id text, op text, payload jsonb) RETURNS SETOF int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION complain(statement text) RETURNS TABLE (code text, message text, hint text) LANGUAGE plpgsql AS $$
DECLARE m text; d text; h text;
BEGIN
  EXECUTE statement;
  RETURN QUERY SELECT '00000', 'accepted', '';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, h = PG_EXCEPTION_HINT;
  RETURN QUERY SELECT SQLSTATE, m, h;
END $$;
SELECT c.* FROM (VALUES
  (1, $$SELECT dtm_submit('sage')$$),
  (2, $$SELECT dtm_submit(NULL::text)$$),
  (3, $$SELECT dtm_submit(NULL::jsonb)$$),
  (4, $$SELECT dtm_submit('{"trans_type": "saga"}')$$),
  (5, $$SELECT dtm_submit('workflow', gid => 'none')$$),
  (6, $$SELECT dtm_submit('saga', ARRAY[dtm_step(NULL)])$$),
  (7, $$SELECT dtm_submit('saga', ARRAY[NULL::dtm_step])$$),
  (8, $$SELECT dtm_submit('saga', ARRAY[dtm_step('foo')])$$),
  (9, $$SELECT dtm_submit('saga', ARRAY[dtm_step('ftp://a/b')])$$),
  (10, $$SELECT dtm_submit('saga', ARRAY[dtm_step('file:///etc/passwd')])$$),
  (11, $$SELECT dtm_submit('saga', ARRAY[dtm_step('http://a b/')])$$),
  (12, $$SELECT dtm_submit('saga', ARRAY[dtm_step('http://')])$$),
  (13, $$SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/', 'gopher://a/')])$$),
  (14, $$SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/x' || chr(10) || 'y')])$$),
  (15, $$SELECT dtm_submit('msg', ARRAY[dtm_step('topic://t')])$$),
  (16, $$SELECT dtm_submit('msg', ARRAY[dtm_step('http://a/', 'http://a/')])$$),
  (17, $$SELECT dtm_submit('msg', gid => '')$$),
  (18, $$SELECT dtm_submit('msg', gid => repeat('x', 129))$$),
  (19, $$SELECT dtm_submit('msg', gid => E'a\nb')$$),
  (20, $$SELECT dtm_submit('saga', array_fill(dtm_step(''), ARRAY[10000]))$$),
  (21, $$SELECT dtm_submit('saga', array_fill(dtm_step(''), ARRAY[2, 2]))$$),
  (22, $$SELECT dtm_submit('saga', ARRAY[dtm_step('', '', to_jsonb(repeat('x', 10 * 1024 * 1024)))])$$),
  (23, $$SELECT dtm_submit('[]'::jsonb)$$),
  (24, $$SELECT dtm_submit('{"gid": "g"}'::jsonb)$$),
  (25, $$SELECT dtm_submit('{"trans_type": 7}'::jsonb)$$),
  (26, $$SELECT dtm_submit('{"trans_type": "saga", "steps": {}}'::jsonb)$$),
  (27, $$SELECT dtm_submit('{"trans_type": "saga", "steps": ["x"]}'::jsonb)$$),
  (28, $$SELECT dtm_submit('{"trans_type": "saga", "steps": [{"compensate": ""}], "payloads": [""]}'::jsonb)$$),
  (29, $$SELECT dtm_submit('{"trans_type": "saga", "steps": [{"action": 1}], "payloads": [""]}'::jsonb)$$),
  (30, $$SELECT dtm_submit('{"trans_type": "saga", "steps": [{"action": ""}]}'::jsonb)$$),
  (31, $$SELECT dtm_submit('{"trans_type": "saga", "steps": [{"action": ""}], "payloads": [{}]}'::jsonb)$$),
  (32, $$SELECT dtm_submit('{"trans_type": "saga", "timeout_to_fail": "x"}'::jsonb)$$),
  (33, $$SELECT dtm_submit('{"trans_type": "saga", "gid": ""}'::jsonb)$$),
  (34, $$SELECT dtm_abort(NULL)$$),
  (35, $$SELECT dtm_abort('')$$),
  (36, $$SELECT dtm_force_stop(NULL)$$),
  (37, $$SELECT dtm_retry_now('nobody')$$),
  (38, $$SELECT dtm_wait(NULL)$$),
  (39, $$SELECT dtm_wait('nobody')$$),
  (40, $$SELECT dtm_reset_cron_time(NULL)$$),
  (41, $$SELECT dtm_reset_cron_time('1 s', -1)$$),
  (42, $$SELECT dtm_barrier(NULL, 'g', '01', 'action')$$),
  (43, $$SELECT dtm_barrier('saga', '', '01', 'action')$$),
  (44, $$SELECT dtm_barrier('saga', 'g', NULL, 'action')$$),
  (45, $$SELECT dtm_barrier('saga', 'g', '01', '')$$),
  (46, $$SELECT dtm_barrier('saga', 'g', repeat('1', 129), 'action')$$),
  (47, $$SELECT dtm_barrier('saga', 'g', '01', repeat('x', 46))$$),
  (48, $$SELECT dtm_query_prepared(NULL)$$),
  (49, $$CALL dtm_run_due()$$),
  (50, $$SELECT dtm_submit('tcc', ARRAY[dtm_step('http://a/')])$$),
  (51, $$SELECT dtm_register_branch(NULL, '01', 'http://a/', 'http://a/')$$),
  (52, $$SELECT dtm_register_branch('g', NULL, 'http://a/', 'http://a/')$$),
  (53, $$SELECT dtm_register_branch('g', '', 'http://a/', 'http://a/')$$),
  (54, $$SELECT dtm_register_branch('g', '01', NULL, 'http://a/')$$),
  (55, $$SELECT dtm_register_branch(dtm_prepare('tcc'), '01', 'http://a/', 'ftp://a/')$$),
  (56, $$SELECT dtm_register_branch('g', '01', 'http://a/', 'http://a/')$$),
  (57, $$SELECT dtm_register_branch('{"gid": "g", "branch_id": 1, "trans_type": "tcc"}'::jsonb)$$),
  (58, $$SELECT dtm_register_branch('{"gid": "g", "branch_id": "01"}'::jsonb)$$),
  (59, $$SELECT dtm_register_branch('{"gid": "g", "branch_id": "01", "trans_type": "workflow"}'::jsonb)$$),
  (60, $$SELECT dtm_register_branch('{"gid": "g", "branch_id": "01", "trans_type": "workflow", "op": "action", "status": "done"}'::jsonb)$$),
  (61, $$SELECT dtm_submit('saga', ARRAY[dtm_step('topic://t')])$$),
  (62, $$SELECT dtm_submit('msg', ARRAY[dtm_step('grpc://a:1/x')])$$),
  (63, $$SELECT dtm_submit('msg', ARRAY[dtm_step('a:1/p.S/M')])$$),
  (64, $$SELECT dtm_submit('msg', ARRAY[dtm_step('a:1/p.S')], options => '{"protocol": "grpc"}')$$),
  (65, $$SELECT dtm_submit('msg', ARRAY[dtm_step('nacos://a/p.S/M')], options => '{"protocol": "grpc"}')$$),
  (66, $$SELECT dtm_submit('msg', ARRAY[dtm_step('http://a/?method=m', payload => '[1]')], options => '{"protocol": "json-rpc"}')$$),
  (67, $$SELECT dtm_submit('msg', ARRAY[dtm_step('sql:')])$$),
  (68, $$SELECT dtm_submit('msg', ARRAY[dtm_step('sql:f')])$$),
  (69, $$SELECT dtm_submit('msg', ARRAY[dtm_step('sql:public.no_such_function')])$$),
  (70, $$SELECT dtm_submit('msg', ARRAY[dtm_step('sql:no_such_schema.f')])$$),
  (70, $$SELECT dtm_submit('msg', ARRAY[dtm_step('sql:public.returns_set')])$$),
  (71, $$SELECT dtm_submit('msg', ARRAY[dtm_step('sql:a b')])$$),
  (72, $$SELECT dtm_prepare('msg', options => '{"query_prepared": "sql:pg_catalog.f"}')$$),
  (73, $$SELECT dtm_prepare('workflow')$$),
  (74, $$SELECT dtm_prepare('workflow', options => '{"name": ""}')$$),
  (75, $$SELECT dtm_prepare('workflow', steps => ARRAY[dtm_step('')], options => '{"name": "w"}')$$),
  (76, $$SELECT dtm_prepare_workflow('{"trans_type": "saga"}')$$),
  (77, $$SELECT dtm_prepare_workflow(NULL)$$),
  (78, $$SELECT dtm_prepare_workflow('{"trans_type": "workflow", "custom_data": "{\"name\": \"w\", \"data\": \"!\"}"}')$$),
  (79, $$SELECT dtm_submit('msg', options => '{"name": "w"}')$$),
  (80, $$SELECT dtm_submit('msg', options => '{"notify": "yes"}')$$),
  (81, $$SELECT dtm_submit('msg', options => '{"on_finish": "topic://t"}')$$),
  (82, $$SELECT dtm_submit('msg', options => '{"on_finish": "ftp://a/"}')$$),
  (83, $$SELECT dtm_register_branch(dtm_prepare('tcc'), E'01\r\nx: y', '', '')$$),
  (84, $$SELECT dtm_prepare('workflow', options => '{"name": "w\r\nx: y"}')$$),
  (85, $$SELECT dtm_register_branch(jsonb_build_object('gid', dtm_prepare('workflow', options => '{"name": "w"}'), 'trans_type', 'workflow', 'branch_id', '01', 'op', E'a\nb', 'status', 'succeed'))$$),
  (86, $$SELECT dtm_submit('msg', ARRAY[ROW('http://a/?method=m', '', convert_to('{"a":1}', 'UTF8') || '\x00', NULL)::dtm_step], options => '{"protocol": "json-rpc"}')$$),
  (87, $$SELECT dtm_submit('msg', ARRAY[dtm_step('h:1/p.S/M')], gid => dtm_prepare('msg', steps => ARRAY[dtm_step('h:1/p.S/M')], options => '{"protocol": "grpc"}'), options => '{"protocol": "json-rpc"}')$$),
  (88, $$SELECT dtm_submit('msg', gid => dtm_prepare('msg', 'p', ARRAY[dtm_step('h:1/p.S/M')], '{"protocol": "grpc"}'), options => '{"protocol": "http"}')$$),
  (89, $$SELECT dtm_submit('msg', options => '{"traceparent": "00-0af7651916cd43dd8448eb211c80319C-b7ad6b7169203331-01"}')$$),
  (90, $$SELECT dtm_submit('msg', options => '{"traceparent": "00-00000000000000000000000000000000-b7ad6b7169203331-01"}')$$),
  (91, $$SELECT dtm_submit('msg', options => '{"traceparent": 1}')$$)
) v(n, statement), LATERAL complain(v.statement) c ORDER BY v.n;
-- NULL: each argument that needs a value says so, in the same words; reading functions return NULL for NULL
SELECT c.* FROM (VALUES
  (1, $$SELECT dtm_explain(NULL)$$), (2, $$SELECT dtm_abort(NULL)$$), (3, $$SELECT dtm_force_stop(NULL)$$), (4, $$SELECT dtm_retry_now(NULL)$$),
  (5, $$SELECT dtm_resume(NULL)$$), (6, $$SELECT dtm_resubmit(NULL)$$), (7, $$SELECT dtm_assign(NULL, NULL)$$), (8, $$SELECT dtm_assign('g', NULL)$$),
  (9, $$SELECT dtm_edit_step(NULL, NULL, NULL)$$), (10, $$SELECT dtm_edit_step('g', NULL, NULL)$$), (11, $$SELECT dtm_edit_step('g', '01', NULL)$$),
  (12, $$SELECT dtm_skip_branch(NULL, NULL, NULL, NULL)$$), (13, $$SELECT dtm_skip_branch('g', NULL, NULL, NULL)$$),
  (14, $$SELECT dtm_skip_branch('g', '01', NULL, NULL)$$), (15, $$SELECT dtm_skip_branch('g', '01', 'action', NULL)$$),
  (16, $$SELECT dtm_complete(NULL, NULL)$$), (17, $$SELECT dtm_complete('g', NULL)$$), (18, $$SELECT dtm_complete('g', '01', NULL)$$),
  (19, $$SELECT dtm_complete('g', '01', 'action', NULL)$$), (20, $$SELECT dtm_result(NULL, NULL)$$), (21, $$SELECT dtm_result('g', NULL)$$),
  (22, $$SELECT dtm_result('g', '01', NULL)$$), (23, $$SELECT dtm_wait(NULL)$$), (24, $$SELECT dtm_wait('g', NULL)$$),
  (25, $$SELECT dtm_reset_cron_time(NULL, NULL)$$), (26, $$SELECT dtm_cleanup(NULL, NULL)$$), (27, $$SELECT dtm_cleanup_barrier(NULL)$$),
  (28, $$SELECT dtm_create_token(NULL)$$), (29, $$SELECT dtm_revoke_token(NULL)$$), (30, $$SELECT dtm_subscribe(NULL, NULL)$$),
  (31, $$SELECT dtm_subscribe('t', NULL)$$), (32, $$SELECT dtm_unsubscribe(NULL, NULL)$$), (33, $$SELECT dtm_unsubscribe('t', NULL)$$),
  (34, $$SELECT dtm_delete_topic(NULL)$$)
) v(n, statement), LATERAL complain(v.statement) c ORDER BY v.n;
SELECT dtm_status(NULL) IS NULL AND dtm_query(NULL) IS NULL AND dtm_cluster_status(NULL) IS NULL AS nothing;
-- what operators say has a limit
SELECT c.* FROM (VALUES
  (1, $$SELECT dtm_abort('g', repeat('x', 1001))$$), (2, $$SELECT dtm_force_stop('g', repeat('x', 1001))$$), (3, $$SELECT dtm_retry_now('g', repeat('x', 1001))$$),
  (4, $$SELECT dtm_resume('g', repeat('x', 1001))$$), (5, $$SELECT dtm_assign('g', 'dtm_user', repeat('x', 1001))$$),
  (6, $$SELECT dtm_edit_step('g', '01', '{}', repeat('x', 1001))$$), (7, $$SELECT dtm_skip_branch('g', '01', 'action', true, repeat('x', 1001))$$),
  (8, $$SELECT dtm_resubmit('g', NULL, repeat('x', 1001))$$), (9, $$SELECT dtm_create_token('dtm_user', note => repeat('x', 1001))$$),
  (10, $$SELECT dtm.page_act(jsonb_build_object('act', 'pause', 'reason', repeat('x', 1001)))$$),
  (11, $$SELECT dtm_abort(dtm_prepare('tcc', 'reason'), repeat(chr(228), 1000))$$)
) v(n, statement), LATERAL complain(v.statement) c ORDER BY v.n;
SELECT a.what, length(a.reason) FROM dtm.acts a WHERE a.gid = 'reason';
DELETE FROM dtm.request WHERE gid = 'reason';
-- as long, as many and as large as it may be
SELECT c.* FROM (VALUES
  (1, $$SELECT dtm_submit('msg', gid => repeat(chr(228), 128))$$),
  (2, $$SELECT dtm_submit('saga', array_fill(dtm_step(''), ARRAY[1000]), gid => 'many')$$),
  (3, $$SELECT dtm_submit('saga', ARRAY[dtm_step('', '', to_jsonb(repeat('x', 1000 * 1024)))], gid => 'large')$$),
  (4, $$SELECT dtm_submit('saga', ARRAY[dtm_step('http://user@[::1]:8080/a?b=c#d')], gid => 'url')$$)
) v(n, statement), LATERAL complain(v.statement) c ORDER BY v.n;
SELECT length(gid) AS length, steps FROM dtm.transactions ORDER BY id;
SELECT count(*) FROM dtm_barrier.barrier;
-- Citus rolls back prepared transactions with such names; other types prepare none
SELECT c.* FROM (VALUES
  (1, $$SELECT dtm_prepare('xa', 'citus_0_1')$$),
  (2, $$SELECT dtm_prepare('{"trans_type": "xa", "gid": "citus_0_1"}'::jsonb)$$),
  (3, $$SELECT dtm_prepare('tcc', 'citus_0_1')$$)
) v(n, statement), LATERAL complain(v.statement) c ORDER BY v.n;
DROP FUNCTION complain(text), returns_set(text, text, text, jsonb);
