-- What the gateway asks of the database.  If this fails, clients of dtm's SDKs
-- get another answer than from dtm, or act as a role that is not theirs.
\set VERBOSITY terse
\set SHOW_CONTEXT never
SET client_min_messages = error;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt, dtm.topic;
CREATE ROLE regress_dtm_gateway LOGIN NOINHERIT;
CREATE ROLE regress_dtm_shop LOGIN IN ROLE dtm_user;
CREATE ROLE regress_dtm_other IN ROLE dtm_user;
CREATE ROLE regress_dtm_stranger IN ROLE dtm_user;
CREATE ROLE regress_dtm_nouser;
CREATE ROLE regress_dtm_super SUPERUSER;
GRANT regress_dtm_shop, regress_dtm_other, regress_dtm_nouser TO regress_dtm_gateway;
GRANT USAGE ON SCHEMA dtm TO regress_dtm_gateway;
GRANT EXECUTE ON FUNCTION dtm.gateway_batch(text[], bytea[], text[], bytea[], integer[], bytea[], boolean) TO regress_dtm_gateway;
GRANT EXECUTE ON PROCEDURE dtm.gateway_wait(bigint[], integer, bigint[], text[], text[]) TO regress_dtm_gateway;
-- one request; payloads: as over gRPC
CREATE FUNCTION ask(op text, body text, payloads bytea[] DEFAULT NULL, careful boolean DEFAULT true, role text DEFAULT 'regress_dtm_shop')
RETURNS TABLE (outcome text, sqlstate text, message text, answer text, waits boolean) LANGUAGE sql AS $$
  SELECT b.outcome, b.sqlstate, b.message,
         CASE WHEN payloads IS NULL THEN convert_from(b.answer[1], 'UTF8') ELSE b.answer::text END, b.wait IS NOT NULL
    FROM dtm.gateway_batch(ARRAY[role], ARRAY[NULL::bytea], ARRAY[op], ARRAY[convert_to(body, 'UTF8')],
                           ARRAY[cardinality(payloads)], COALESCE(payloads, '{}'), careful) b $$;
-- the same without effect: outcome, status afterwards, message
CREATE FUNCTION try(op text, body text, gid text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = 'DT000', MESSAGE =
    (SELECT concat_ws(' ', a.outcome, COALESCE(dtm_status(gid), '-'), a.message) FROM ask(op, body) a);
EXCEPTION WHEN SQLSTATE 'DT000' THEN
  RETURN SQLERRM;
END $$;
-- §1.3, R-26: each call in each status: type-status, with one branch or step
SET ROLE regress_dtm_shop;
SELECT dtm_prepare('saga', 'saga-prepared', ARRAY[dtm_step('http://a/', 'http://a/')]);
SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/', 'http://a/')], gid => 'saga-submitted');
SELECT dtm_submit('saga', gid => 'saga-succeed');
SELECT dtm_submit('saga', gid => 'saga-failed');
SELECT dtm_prepare('msg', 'msg-prepared', ARRAY[dtm_step('http://a/')]);
SELECT dtm_submit('msg', ARRAY[dtm_step('http://a/')], gid => 'msg-submitted', options => '{"delay": 1000}');
SELECT dtm_submit('msg', gid => 'msg-succeed');
SELECT dtm_submit('msg', gid => 'msg-failed');
SELECT dtm_prepare(t, t || '-' || s) FROM unnest('{tcc,xa}'::text[]) t, unnest('{prepared,submitted,aborting,succeed,failed}'::text[]) s;
SELECT dtm_register_branch('tcc-' || s, '01', 'http://a/', 'http://a/'), dtm_register_branch('xa-' || s, '01', 'http://a/')
  FROM unnest('{prepared,submitted,aborting}'::text[]) s;
SELECT dtm_submit(t, gid => t || '-succeed'), dtm_abort(t || '-aborting') FROM unnest('{tcc,xa}'::text[]) t;
SELECT dtm_prepare('workflow', 'workflow-' || s, options => '{"name": "n", "query_prepared": "http://a/"}')
  FROM unnest('{prepared,succeed,failed}'::text[]) s;
SELECT dtm_submit('workflow', gid => 'workflow-' || s, options => json_build_object('status', s)::jsonb) FROM unnest('{succeed,failed}'::text[]) s;
SELECT dtm_force_stop(t || '-failed') FROM unnest('{saga,msg,tcc,xa}'::text[]) t;
RESET ROLE;
UPDATE dtm.active a SET next_time = 'infinity' FROM dtm.request r WHERE r.id = a.id AND r.gid !~ '-succeed$';
CALL dtm_run_due();
SET ROLE regress_dtm_shop;
SELECT dtm_submit(t, gid => t || '-submitted') FROM unnest('{tcc,xa}'::text[]) t;
RESET ROLE;
SELECT gid, status FROM dtm.transactions WHERE gid !~ ('-' || status);
CREATE TEMP TABLE known AS SELECT gid, split_part(gid, '-', 1) AS trans_type FROM dtm.transactions
  UNION ALL SELECT t || '-absent', t FROM unnest('{saga,msg,tcc,xa,workflow}'::text[]) t;
SELECT k.gid, try('prepare', json_build_object('gid', k.gid, 'trans_type', k.trans_type)::text, k.gid) AS prepare
  FROM known k WHERE k.trans_type <> 'workflow' ORDER BY k.gid COLLATE "C";
SELECT k.gid, try('submit', json_build_object('gid', k.gid, 'trans_type', k.trans_type)::text, k.gid) AS submit
  FROM known k WHERE k.trans_type <> 'workflow' ORDER BY k.gid COLLATE "C";
SELECT k.gid, try('submit', json_build_object('gid', k.gid, 'trans_type', k.trans_type, 'req_extra', json_build_object('status', 'failed', 'rollback_reason', 'r'))::text, k.gid) AS submit
  FROM known k WHERE k.trans_type = 'workflow' ORDER BY k.gid COLLATE "C";
SELECT k.gid, try('abort', json_build_object('gid', k.gid, 'trans_type', k.trans_type, 'rollback_reason', 'r')::text, k.gid) AS abort
  FROM known k ORDER BY k.gid COLLATE "C";
SELECT k.gid, try('registerBranch', json_build_object('gid', k.gid, 'trans_type', k.trans_type, 'branch_id', '02', 'confirm', '', 'cancel', '', 'url', '', 'op', 'action', 'status', 'succeed')::text, k.gid) AS register
  FROM known k ORDER BY k.gid COLLATE "C";
SELECT k.gid, try('prepareWorkflow', json_build_object('gid', k.gid, 'trans_type', 'workflow', 'custom_data', '{"name":"n"}')::text, k.gid) AS open
  FROM known k WHERE k.trans_type = 'workflow' ORDER BY k.gid COLLATE "C";
SELECT k.gid, try('forceStop', json_build_object('gid', k.gid)::text, k.gid) AS force_stop FROM known k ORDER BY k.gid COLLATE "C";
SELECT k.gid, try('resetNextCronTime', json_build_object('gid', k.gid)::text, k.gid) AS reset FROM known k ORDER BY k.gid COLLATE "C";
-- refusals are values in one transaction, without a subtransaction; the others have their effect
BEGIN;
SELECT n, outcome, message, sqlstate, wait IS NOT NULL AS waits FROM dtm.gateway_batch(
  array_fill('regress_dtm_shop'::text, '{6}'), array_fill(NULL::bytea, '{6}'),
  '{submit,abort,submit,registerBranch,prepare,submit}',
  ARRAY['{"gid": "one", "trans_type": "saga"}', '{"gid": "nowhere"}', '{"gid": "saga-failed", "trans_type": "saga"}',
        '{"gid": "nowhere", "trans_type": "xa", "branch_id": "01", "url": ""}', '{"gid": "saga-prepared", "trans_type": "msg"}',
        '{"gid": "two", "trans_type": "msg", "wait_result": true}']::text[]::bytea[],
  array_fill(NULL::integer, '{6}'), '{}', false) ORDER BY n;
SELECT pg_current_xact_id_if_assigned() IS NOT NULL AS wrote, current_user = session_user AS myself;
COMMIT;
SELECT gid, status, submitted_by FROM dtm.transactions WHERE gid IN ('one', 'two') ORDER BY gid;
-- an error takes all; with care, it is its own
\set items 'ARRAY[''regress_dtm_shop'', ''regress_dtm_shop'', ''regress_dtm_shop''], ARRAY[NULL, NULL, NULL]::bytea[], ARRAY[''submit'', ''submit'', ''submit''], ARRAY[''{"gid": "three", "trans_type": "msg"}'', ''{"gid": '', ''{"gid": "four", "trans_type": "msg"}'']::text[]::bytea[], ARRAY[NULL, NULL, NULL]::int[], ''{}'''
SELECT n, outcome FROM dtm.gateway_batch(:items, false);
SELECT n, outcome, message, sqlstate FROM dtm.gateway_batch(:items, true);
SELECT gid FROM dtm.transactions WHERE gid IN ('three', 'four') ORDER BY id;
-- bytes: NUL, no UTF-8, none; a step's payload and a branch's
SELECT * FROM ask('submit', '{"gid": "bytes", "trans_type": "msg", "protocol": "grpc", "steps": "[{\"action\":\"a:1/s.S/M\"},{\"action\":\"a:1/s.S/M\"},{\"action\":\"a:1/s.S/M\"}]"}',
  '{"\\x08ac02", "\\x0a00ff", ""}');
SELECT payload FROM dtm.branches WHERE gid = 'bytes' ORDER BY ordinal;
SELECT * FROM ask('prepare', '{"gid": "tcc-bytes", "trans_type": "tcc", "protocol": "grpc", "steps": "null"}', '{}');
SELECT * FROM ask('registerBranch', '{"gid": "tcc-bytes", "trans_type": "tcc", "branch_id": "01", "confirm": "a:1/s.S/M", "cancel": "a:1/s.S/M"}', '{"\\x00ff"}');
SELECT op, payload FROM dtm.branches WHERE gid = 'tcc-bytes' ORDER BY ordinal;
SELECT * FROM ask('submit', '{"gid": "few", "trans_type": "msg", "protocol": "grpc", "steps": "[{\"action\":\"\"},{\"action\":\"\"}]"}', '{"\\x01"}');
SELECT * FROM ask('submit', '{"gid": "few", "trans_type": "msg", "protocol": "grpc", "steps": "[{"}', '{}');
-- a workflow comes back, in JSON and as bytes
SELECT * FROM ask('prepareWorkflow', '{"gid": "w", "trans_type": "workflow", "protocol": "grpc", "custom_data": "{\"name\":\"n\",\"data\":\"AAE=\"}", "query_prepared": "a:1/workflow.Workflow/Execute"}', '{}');
SELECT * FROM ask('registerBranch', '{"gid": "w", "trans_type": "workflow", "branch_id": "01", "op": "action", "status": "succeed"}', '{"\\x00ff"}');
SELECT * FROM ask('prepareWorkflow', '{"gid": "w", "trans_type": "workflow"}', '{}');
SELECT jsonb_path_query(answer::jsonb, '$.progresses[*].bin_data'), answer::jsonb #> '{transaction,status}' FROM ask('prepareWorkflow', E'{"gid": "w\\n;", "trans_type": "workflow"}');
SELECT * FROM ask('submit', '{"gid": "w", "trans_type": "workflow", "req_extra": {"status": "succeed", "result": "AAE="}}', '{}');
SELECT * FROM ask('prepareWorkflow', '{"gid": "w", "trans_type": "workflow"}', '{}');
-- bad input
SELECT a.* FROM unnest(ARRAY['', 'x', '[]', '1', 'null', '{}', '{"trans_type": "saga"}', '{"gid": "", "trans_type": "saga"}', '{"gid": 1}',
    '{"gid": "g"}', '{"gid": "g", "trans_type": "x"}', E'{"gid": "a\\u0001b", "trans_type": "saga"}', '{"gid": "a\u0000b", "trans_type": "saga"}',
    '{"gid": "g", "trans_type": "saga", "steps": [{"action": "http://a/"}]}', '{"gid": "g", "trans_type": "msg", "steps": [{"action": "topic://t"}], "payloads": [""]}']) b, ask('submit', b) a;
SELECT a.* FROM unnest(ARRAY['{', '{"gid": 1}', '{"gid": "g", "x": {}}', '{"gid": "tcc-prepared"}', '{"gid": "tcc-prepared", "trans_type": "x", "branch_id": "01"}',
    '{"gid": "tcc-prepared", "trans_type": "tcc", "branch_id": "01", "confirm": "", "cancel": ""}']) b, ask('registerBranch', b) a;
SELECT outcome, sqlstate, message FROM dtm.gateway_batch('{regress_dtm_shop}', '{NULL}', '{submit}', ARRAY['\xff00'::bytea], '{NULL}', '{}', true);
SELECT a.* FROM ask('nothing', '{}') a;
SELECT * FROM dtm.gateway_batch('{a}', '{}', '{}', '{}', '{}', '{}', true);
SELECT * FROM dtm.gateway_batch('{a}', '{NULL}', '{submit}', '{NULL}', '{2}', '{"\\x00"}', true);
SELECT * FROM dtm.gateway_batch('{a}', '{NULL}', '{submit}', '{NULL}', '{NULL}', '{"\\x00"}', true);
SELECT * FROM dtm.gateway_batch(NULL, '{}', '{}', '{}', '{}', '{}', true);
SELECT count(*) FROM dtm.gateway_batch(array_fill('a'::text, '{65}'), array_fill(NULL::bytea, '{65}'), array_fill('a'::text, '{65}'), array_fill(NULL::bytea, '{65}'), array_fill(0, '{65}'), '{}', true);
SELECT * FROM dtm.gateway_batch('{}', '{}', '{}', '{}', '{}', '{}', true);
-- reading
SELECT a.* FROM unnest(ARRAY['{}', '{"gid": ""}']) b, ask('query', b) a;
SELECT answer FROM ask('query', '{"gid": "unknown"}');
SELECT answer::jsonb #> '{transaction,gid}', jsonb_array_length(answer::jsonb -> 'branches') FROM ask('query', '{"gid": "saga-submitted"}');
SELECT jsonb_path_query_array(answer::jsonb, '$.transactions[*].gid') AS gids, answer::jsonb ->> 'next_position' <> '' AS more
  FROM unnest(ARRAY['{"limit": "2"}', '{"limit": "1000", "status": "aborting"}', '{"transType": "workflow"}', '{"gid": "one"}',
                    '{"createTimeStart": "1", "createTimeEnd": "2"}', '{"limit": "0"}']) b, ask('all', b) a;
SELECT answer FROM ask('all', '{"gid": "unknown"}');
SELECT jsonb_path_query_array(b.answer::jsonb, '$.transactions[*].gid') FROM ask('all', '{"limit": "2"}') a,
  ask('all', json_build_object('limit', '2', 'position', a.answer::jsonb ->> 'next_position')::text) b;
SELECT a.* FROM unnest('{limit,position,createTimeEnd}'::text[]) k, ask('all', json_build_object(k, '1x')::text) a;
-- times and numbers that are none of timestamptz and of integer
SELECT b, jsonb_array_length(NULLIF(a.answer::jsonb -> 'transactions', 'null')) > 0 AS found, a.sqlstate
  FROM unnest(ARRAY['{"createTimeStart": "999999999999999999"}', '{"createTimeEnd": "-999999999999999999"}',
                    '{"createTimeStart": "-999999999999999999", "createTimeEnd": "999999999999999999"}']) b, ask('all', b) a;
-- topics are dtm_admin's, or whoever's that is granted the function
SELECT a.* FROM ask('subscribe', '{"topic": "t", "url": "http://a/", "remark": "r"}') a;
GRANT EXECUTE ON FUNCTION dtm_subscribe(text, text, text), dtm_unsubscribe(text, text), dtm_delete_topic(text) TO regress_dtm_shop;
SELECT a.* FROM unnest(ARRAY['{"topic": "t", "url": "http://a/", "remark": "r"}', '{"topic": "t", "url": "http://a/"}', '{"topic": "", "url": "http://a/"}', '{"topic": "t", "url": ""}', '{"topic": "t2", "url": "http://b/"}']) b, ask('subscribe', b) a;
SELECT answer FROM ask('queryKV', '{"cat": "topics", "key": "t"}');
SELECT answer FROM ask('queryKV', '{"cat": "topics", "key": "unknown"}');
SELECT a.answer::jsonb #>> '{kv,0,k}' AS first, b.answer::jsonb #>> '{kv,0,k}' AS second, b.answer::jsonb ->> 'next_position' AS more, c.answer AS third
  FROM ask('scanKV', '{"cat": "topics", "limit": "1"}') a,
  ask('scanKV', json_build_object('cat', 'topics', 'limit', '1', 'position', a.answer::jsonb ->> 'next_position')::text) b,
  ask('scanKV', json_build_object('cat', 'topics', 'limit', '1', 'position', b.answer::jsonb ->> 'next_position')::text) c;
SELECT a.* FROM unnest(ARRAY['{"topic": "t", "url": "http://a/"}', '{"topic": "t", "url": "http://a/"}', '{"topic": "no", "url": "http://a/"}']) b, ask('unsubscribe', b) a;
SELECT a.* FROM unnest(ARRAY['{"topic": "t"}', '{"topic": "t"}']) b, ask('deleteTopic', b) a;
SELECT a.* FROM ask('resetCronTime', '{}') a;
GRANT EXECUTE ON FUNCTION dtm_reset_cron_time(interval, integer) TO regress_dtm_shop;
SELECT answer::jsonb ->> 'has_remaining' FROM ask('resetCronTime', '{"timeout": "1000000", "limit": "5"}');
SELECT a.* FROM unnest(ARRAY['{"limit": "-999999999999999999"}', '{"timeout": "999999999999999999"}', '{"timeout": "-999999999999999999"}']) b, ask('resetCronTime', b) a;
-- the page has a choice of ages, its address has anything
SELECT a.outcome, a.sqlstate, a.message FROM unnest(ARRAY['{"what": "list", "age": "10 minutes"}', '{"what": "list", "age": "178000000 years"}', '{"what": "list", "age": "x"}']) b, ask('page', b) a;
-- roles: only those that the gateway can become, and that may use dtm
SET SESSION AUTHORIZATION regress_dtm_gateway;
SELECT b.n, b.outcome, b.message, b.sqlstate FROM dtm.gateway_batch(
  '{regress_dtm_other,regress_dtm_stranger,regress_dtm_nouser,regress_dtm_none,NULL,regress_dtm_super,regress_dtm_gateway}', array_fill(NULL::bytea, '{7}'), array_fill('submit'::text, '{7}'),
  array_fill('{"gid": "others", "trans_type": "msg"}'::bytea, '{7}'), array_fill(NULL::integer, '{7}'), '{}', false) b ORDER BY b.n;
SELECT b.outcome, b.message FROM dtm.gateway_batch('{regress_dtm_shop,regress_dtm_shop,regress_dtm_shop}', '{NULL,NULL,NULL}', '{submit,abort,forceStop}',
  array_fill('{"gid": "others", "trans_type": "msg"}'::bytea, '{3}'), '{NULL,NULL,NULL}', '{}', false) b ORDER BY b.n;
SELECT convert_from(answer[1], 'UTF8') FROM dtm.gateway_batch('{regress_dtm_shop}', '{NULL}', '{query}', ARRAY['{"gid": "others"}'::bytea], '{NULL}', '{}', false);
SELECT current_user;
SELECT dtm.gateway_call('query', '{"gid": "others"}');
SELECT * FROM dtm.api_token;
SELECT dtm_create_token('regress_dtm_shop');
CALL dtm.gateway_wait('{}', 0, NULL, NULL, NULL);
RESET SESSION AUTHORIZATION;
SELECT gid, submitted_by FROM dtm.transactions WHERE gid = 'others';
SET ROLE regress_dtm_shop;
SELECT * FROM dtm.gateway_batch('{regress_dtm_shop}', '{NULL}', '{query}', ARRAY['{}'::bytea], '{NULL}', '{}', false);
CALL dtm.gateway_wait('{}', 0, NULL, NULL, NULL);
RESET ROLE;
-- functions as steps: not from the network, unless the role may
CREATE FUNCTION gateway_step(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE sql AS '';
SELECT a.outcome, a.sqlstate, a.message FROM ask('submit', '{"gid": "local", "trans_type": "msg", "steps": [{"action": "sql:public.gateway_step"}], "payloads": [""]}') a;
SELECT a.outcome, a.sqlstate, a.message FROM ask('submit', '{"gid": "local", "trans_type": "msg", "on_finish": "sql:public.gateway_step"}') a;
SET dtm.gateway_sql_roles = 'regress_dtm_other, regress_dtm_shop';
SELECT a.outcome, a.sqlstate, a.message FROM ask('submit', '{"gid": "local", "trans_type": "msg", "steps": [{"action": "sql:public.gateway_step"}], "payloads": [""]}') a;
RESET dtm.gateway_sql_roles;
-- not in the same transaction for whoever does not come by the network
BEGIN;
SELECT a.outcome FROM ask('submit', '{"gid": "local2", "trans_type": "msg", "steps": [{"action": "sql:public.gateway_step"}], "payloads": [""]}') a;
SET ROLE regress_dtm_shop;
SELECT dtm_submit('msg', ARRAY[dtm_step('sql:public.gateway_step')], gid => 'local3');
ROLLBACK;
RESET ROLE;
-- tokens: the hash is stored, and looked at with each request
CREATE ROLE regress_dtm_admin IN ROLE dtm_admin;
SET ROLE regress_dtm_admin;
SELECT dtm_create_token('regress_dtm_shop');
RESET ROLE;
GRANT regress_dtm_shop TO regress_dtm_admin;
SET ROLE regress_dtm_admin;
SELECT dtm_create_token('regress_dtm_shop', note => 'till 1') AS token \gset
SELECT dtm_create_token('regress_dtm_shop', '1 year') AS expired \gset
SELECT length(:'token');
SELECT dtm_create_token('regress_dtm_shop', '0 s');
SELECT dtm_create_token('regress_dtm_shop', '-1 s');
SELECT dtm_create_token('regress_dtm_shop', '178000000 years') IS NOT NULL AS as_good_as_ever;
SELECT dtm_create_token('regress_dtm_shop', '-10000 years');
SELECT dtm_create_token('regress_dtm_shop', '-10000 years +3700000 days') IS NOT NULL AS a_century;
RESET ROLE;
DELETE FROM dtm.api_token WHERE expires > now() + interval '2 years';
UPDATE dtm.api_token SET expires = now() - interval '1 s' WHERE hash = sha256(:'expired');
-- who creates a token that is of no use is told
SET client_min_messages = warning;
\set VERBOSITY default
GRANT regress_dtm_stranger, regress_dtm_nouser TO regress_dtm_admin;
SET ROLE regress_dtm_admin;
SELECT dtm_create_token('regress_dtm_stranger', note => 'useless') IS NOT NULL AS created;
SELECT dtm_create_token('regress_dtm_nouser', note => 'useless') IS NOT NULL AS created;
RESET ROLE;
\set VERBOSITY terse
SET client_min_messages = error;
DELETE FROM dtm.api_token WHERE note = 'useless';
SET ROLE regress_dtm_admin;
SELECT role, expires < now() AS expired, note FROM dtm.api_tokens ORDER BY created;
RESET ROLE;
SELECT n, outcome, message, sqlstate FROM dtm.gateway_batch(array_fill(NULL::text, '{3}'), ARRAY[sha256(:'token'), sha256(:'expired'), '\x00'], '{submit,submit,submit}',
  array_fill('{"gid": "by-token", "trans_type": "msg"}'::bytea, '{3}'), '{NULL,NULL,NULL}', '{}', false) ORDER BY n;
SELECT submitted_by FROM dtm.transactions WHERE gid = 'by-token';
SET ROLE regress_dtm_admin;
SELECT dtm_revoke_token(id) FROM dtm.api_tokens WHERE note = 'till 1';
SELECT dtm_revoke_token('x');
RESET ROLE;
SELECT outcome FROM dtm.gateway_batch('{NULL}', ARRAY[sha256(:'token')], '{query}', ARRAY['{"gid": "by-token"}'::bytea], '{NULL}', '{}', false);
-- wait_result: what a pass has come to (R-10 to R-16)
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt;
SELECT waits FROM ask('submit', '{"gid": "a", "trans_type": "saga", "wait_result": true}');
SELECT waits FROM ask('submit', '{"gid": "a", "trans_type": "saga", "wait_result": false}');
SELECT waits FROM ask('prepare', '{"gid": "b", "trans_type": "tcc", "wait_result": true}');
SELECT dtm_register_branch('b', '01', 'http://a/', 'http://a/');
SELECT waits FROM ask('abort', '{"gid": "b", "trans_type": "tcc"}');
SELECT waits FROM ask('prepare', '{"gid": "c", "trans_type": "msg", "wait_result": true}');
SELECT waits FROM ask('abort', '{"gid": "c", "trans_type": "msg"}');
SELECT array_agg(id ORDER BY id) AS ids FROM dtm.transactions \gset
CALL dtm.gateway_wait(:'ids', 0, NULL, NULL, NULL) \gset w_
SELECT cardinality(:'w_ended'::bigint[]) AS ended, :'w_outcomes' AS outcomes;
INSERT INTO dtm.attempt (id, started, duration, branch, result, error) VALUES ((:'ids'::bigint[])[2], now(), 0, 0, 'O', 'ONGOING');
UPDATE dtm.active SET next_time = 'infinity' WHERE id = (:'ids'::bigint[])[2];
CALL dtm.gateway_wait(:'ids', 0, NULL, NULL, NULL) \gset w_
SELECT (SELECT array_agg(t.gid ORDER BY u.n) FROM unnest(:'w_ended'::bigint[]) WITH ORDINALITY u(id, n) JOIN dtm.transactions t ON t.id = u.id) AS gids, :'w_outcomes' AS outcomes, :'w_messages' AS messages;
-- every type, put off by every result
CREATE FUNCTION put_off(trans_type text, result "char", reason text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE i bigint;
BEGIN
  INSERT INTO dtm.request (created, submitted_by, trans_type, concurrent, wait_result, gid, action)
  VALUES (now(), 'regress_dtm_shop'::regrole::oid, CASE $1 WHEN 'saga' THEN 's' WHEN 'tcc' THEN 't' WHEN 'xa' THEN 'x' ELSE 'm' END::"char", false, true, concat_ws('-', $1, $2, $3), '{}') RETURNING id INTO i;
  INSERT INTO dtm.active (id, next_time, updated, status, branch_status, rollback_reason, submitted_by) VALUES (i, 'infinity', now(), CASE WHEN reason IS NULL THEN 's' ELSE 'a' END::"char", '', reason, 'regress_dtm_shop'::regrole::oid);
  INSERT INTO dtm.attempt (id, started, duration, branch, result, error) SELECT i, now() - interval '1 s', 0, 0, 'S', NULL WHERE result IS NOT NULL;
  INSERT INTO dtm.attempt (id, started, duration, branch, result, error) SELECT i, now(), 0, 0, result, 'said so' WHERE result IS NOT NULL;
  RETURN i;
END $$;
SELECT array_agg(put_off(t, r, NULL) ORDER BY t, r) || array_agg(put_off('saga', r, 'no money')) FILTER (WHERE t = 'saga') AS ids
  FROM unnest('{saga,tcc,xa,msg}'::text[]) t, unnest('{O,F,E,NULL}'::"char"[]) r \gset
CALL dtm.gateway_wait(:'ids', 0, NULL, NULL, NULL) \gset w_
SELECT t.gid, o, m FROM unnest(:'w_ended'::bigint[], :'w_outcomes'::text[], :'w_messages'::text[]) u(id, o, m) JOIN dtm.request t ON t.id = u.id ORDER BY t.gid;
CALL dtm.gateway_wait('{1}', 1000000, NULL, NULL, NULL);
SET SESSION AUTHORIZATION regress_dtm_gateway;
CALL dtm.gateway_wait(:'ids', 0, NULL, NULL, NULL) \gset w_
SELECT cardinality(:'w_ended'::bigint[]) > 0 AS allowed;
RESET SESSION AUTHORIZATION;
REVOKE regress_dtm_shop FROM regress_dtm_gateway;
SET SESSION AUTHORIZATION regress_dtm_gateway;
CALL dtm.gateway_wait(:'ids', 0, NULL, NULL, NULL) \gset w_
SELECT cardinality(:'w_ended'::bigint[]) = cardinality(:'ids'::bigint[]) AS all, o, m
  FROM unnest(:'w_outcomes'::text[], :'w_messages'::text[]) u(o, m) GROUP BY o, m;
RESET SESSION AUTHORIZATION;
CALL dtm.gateway_wait(NULL, 0, NULL, NULL, NULL);
CALL dtm.gateway_wait('{}', -1, NULL, NULL, NULL);
BEGIN;
CALL dtm.gateway_wait('{}', 0, NULL, NULL, NULL);
ROLLBACK;
-- put it back
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt, dtm.topic;
DROP FUNCTION put_off(text, "char", text), try(text, text, text), ask(text, text, bytea[], boolean, text), gateway_step(text, text, text, jsonb);
DROP OWNED BY regress_dtm_gateway, regress_dtm_shop, regress_dtm_other, regress_dtm_stranger, regress_dtm_nouser, regress_dtm_super, regress_dtm_admin;
DROP ROLE regress_dtm_gateway, regress_dtm_shop, regress_dtm_other, regress_dtm_stranger, regress_dtm_nouser, regress_dtm_super, regress_dtm_admin;
DELETE FROM dtm.api_token;
