-- The option results, and references to results: what is an error at the submit.
SET client_min_messages = error;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt, dtm.result;
\set VERBOSITY verbose
\set SHOW_CONTEXT never
CREATE OR REPLACE FUNCTION complain(statement text) RETURNS TABLE (code text, message text, hint text) LANGUAGE plpgsql AS $$
DECLARE m text; h text;
BEGIN
  EXECUTE statement;
  RETURN QUERY SELECT '00000', 'accepted', '';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, h = PG_EXCEPTION_HINT;
  RETURN QUERY SELECT SQLSTATE, m, h;
END $$;
-- steps a and b, of which b refers to something; one after the other, both at once, b after a
CREATE FUNCTION refer(payload text, url text DEFAULT 'http://h/b', compensate text DEFAULT '', options text DEFAULT '{"results": true}') RETURNS text LANGUAGE sql AS $$
  SELECT format('SELECT dtm_submit(''saga'', ARRAY[dtm_step(''http://h/a'', ''http://h/-a'', ''{}'', ''{"name": "a"}''), dtm_step(%L, %L, %L, ''{"name": "b"}''), dtm_step(''http://h/c'', options => ''{"name": "c"}'')], options => %L)', url, compensate, payload, options) $$;

-- in payloads
SELECT n, c.* FROM (VALUES
  (1, '{"x": {"$result": "$.a"}}'), (2, '{"x": {"$result": "$.\"01\".b.c[0].d"}}'), (3, '[[{"$result": "$.a.x"}], 2]'), (4, '{"$result": "$.a.x"}'),
  (5, '{"x": {"$result": "$.b"}}'), (6, '{"x": {"$result": "$.c"}}'), (7, '{"x": {"$result": "$.\"03\".x"}}'), (8, '{"x": {"$result": "$.nobody.x"}}'),
  (9, '{"x": {"$result": "a.b"}}'), (10, '{"x": {"$result": "$"}}'), (11, '{"x": {"$result": "$[0]"}}'), (12, '{"x": {"$result": "$.a[*]"}}'),
  (13, '{"x": {"$result": "$.a.**"}}'), (14, '{"x": {"$result": "$.a ? (@.b > 1)"}}'), (15, '{"x": {"$result": "$.a.size()"}}'), (16, '{"x": {"$result": "$.a[0 to 3]"}}'),
  (17, '{"x": {"$result": "$.a[last]"}}'), (18, '{"x": {"$result": "$.a[-1]"}}'), (19, '{"x": {"$result": "$.a + 1"}}'), (20, '{"x": {"$result": "$.01.id"}}'),
  (21, '{"x": {"$result": ""}}'), (22, '{"x": {"$result": 3}}'), (23, '{"x": {"$result": "$.nobody", "y": 1}}'), (24, '{"$result": ["$.nobody"]}'),
  (25, '{"x": {"$result": "' || repeat('$.a', 400) || '"}}'), (26, '[' || repeat('{"$result": "$.a"}, ', 100) || '{"$result": "$.a"}]'),
  (27, '{"x": {"$result": "strict $.a.b"}}'), (28, '{"x": {"$result": "$.a[1.5]"}}')) v(n, payload)
  CROSS JOIN LATERAL complain(refer(payload)) c ORDER BY n;

-- in URLs
SELECT n, c.* FROM (VALUES
  (1, 'http://h/{$.a.id}', ''), (2, 'http://h/b?x={$."01".id}&y={$.a.n}', ''), (3, 'http://h/b', 'http://h/{$.b.id}'), (4, 'http://h/{$.b.id}', ''),
  (5, 'http://h/{$.a.id', ''), (6, 'http://{$.a.id}/b', ''), (7, '{$.a.url}', ''), (8, 'http://h/b#{$.a.id}', ''),
  (9, 'sql:s.{$.a.id}', ''), (10, 'grpc://h:1/p.S/{$.a.id}', ''), (11, 'http://h/b', 'http://h/{$.c.id}'), (12, 'http://h/{$.nobody}', ''),
  (13, 'http://h/{$.a[*]}', ''), (14, 'http://h/{$}', ''), (15, 'http://h/{a}', ''), (16, 'http://h:{$.a.port}/', ''), (17, 'http://h/{$.a."}".x}', '')) v(n, url, compensate)
  CROSS JOIN LATERAL complain(refer('{}', url, compensate)) c ORDER BY n;

-- in headers
SELECT n, c.* FROM (VALUES (1, '{$.a.id}', 'true'), (2, 'x {$."01".id} {$.a.n}', 'true'), (3, '{$.b.id}', 'true'), (4, '{$.a.id', 'true'), (5, '{$.a[*]}', 'true'), (6, '{$.a}', 'false')) v(n, header, results)
  CROSS JOIN LATERAL complain(format('SELECT dtm_submit(''saga'', ARRAY[dtm_step(''http://h/a'', options => ''{"name": "a"}''), dtm_step(''http://h/b'', options => %L), dtm_step(''http://h/c'', options => ''{"name": "c"}'')], options => %L)',
    jsonb_build_object('headers', jsonb_build_object('X-A', header)), jsonb_build_object('results', results::boolean))) c ORDER BY n;

-- where references are not replaced: what names a step is an error, other text is not
SELECT n, c.* FROM (VALUES (1, 'x {$.a.id}', 'true'), (2, '{$.nobody.id}', 'true'), (3, '{$.a.id}', 'false'), (4, '{a}', 'true')) v(n, header, results)
  CROSS JOIN LATERAL complain(format('SELECT dtm_submit(''saga'', ARRAY[dtm_step(''http://h/a'', options => ''{"name": "a"}'')], options => %L)',
    jsonb_build_object('branch_headers', jsonb_build_object('X-A', header), 'results', results::boolean))) c ORDER BY n;
SELECT n, c.* FROM (VALUES
  (1, 'text/plain', 'id={$.a.id}'), (2, 'text/plain', 'id={$."01".id}'), (3, 'text/plain', 'id={$.nobody.id}'), (4, 'text/plain', 'costs {$}, {$5} or $.a.id'),
  (5, 'application/xml', '<id>{$.nobody}{$.a}</id>'), (6, 'application/json', '{"note": "charge {$.a.id}"}'), (7, 'application/json', '{"note": "{$.\"01\".id}"}'),
  (8, 'application/json', '{"note": "{$.nobody} {$.c.id"}'), (9, 'text/plain', '{"$result": "$.a.id"}'), (10, 'application/x-www-form-urlencoded', '{"id": {"$result": "$.a.id"}}')) v(n, content_type, payload)
  CROSS JOIN LATERAL complain(format('SELECT dtm_submit(''saga'', ARRAY[dtm_step(''http://h/a'', options => ''{"name": "a"}''), dtm_step(''http://h/b'', NULL, %L, %L)], options => ''{"results": true}'')',
    payload, jsonb_build_object('content_type', content_type))) c ORDER BY n;

-- which steps come before
SELECT n, c.* FROM (VALUES
  (1, '{"results": true, "concurrent": true}'), (2, '{"results": true, "concurrent": true, "orders": {"1": [0]}}'), (3, '{"results": true, "concurrent": true, "orders": {"1": [2], "2": [0]}}'),
  (4, '{"results": true, "concurrent": true, "orders": {"1": [2]}}'), (5, '{}'), (6, '{"results": false}'), (7, '{"results": "yes"}')) v(n, options)
  CROSS JOIN LATERAL complain(refer('{"x": {"$result": "$.a.id"}}', options => options)) c ORDER BY n;

-- other types of transactions, topics, and the wire's object
SELECT dtm_subscribe('t', 'http://h/t');
SELECT n, c.* FROM (VALUES
  (1, $$SELECT dtm_prepare('tcc', options => '{"results": true}')$$), (2, $$SELECT dtm_prepare('xa', options => '{"results": true}')$$),
  (3, $$SELECT dtm_prepare('workflow', options => '{"name": "w", "results": true}')$$),
  (4, $$SELECT dtm_submit('msg', ARRAY[dtm_step('topic://t'), dtm_step('http://h/', payload => '{"x": {"$result": "$.\"01\".id"}}')], options => '{"results": true}')$$),
  (5, $$SELECT dtm_submit('msg', ARRAY[dtm_step('http://h/a'), dtm_step('topic://t', payload => '{"x": {"$result": "$.\"01\".id"}}')], options => '{"results": true}')$$),
  (6, $$SELECT dtm_submit('msg', ARRAY[dtm_step('http://h/a'), dtm_step('http://h/', payload => '{"x": {"$result": "$.\"01\".id"}}')], options => '{"results": true, "concurrent": true}')$$),
  (7, $$SELECT dtm_submit('{"gid": "w1", "trans_type": "saga", "results": true, "steps": [{"action": "http://h/a"}], "payloads": ["{\"$result\": \"$.x\"}"]}'::jsonb)$$),
  (8, $$SELECT dtm_submit('{"gid": "w2", "trans_type": "saga", "results": true, "steps": [{"action": "http://h/a"}], "payloads": ["no JSON with \"$result\""]}'::jsonb)$$),
  (9, $$SELECT dtm_submit('{"gid": "w3", "trans_type": "saga", "steps": [{"action": "http://h/a"}], "payloads": ["{\"$result\": \"$.x\"}"]}'::jsonb)$$),
  (10, $$SELECT dtm_submit('saga', ARRAY[ROW('http://h/a', '', 'no JSON with "$result"'::bytea, NULL)::dtm_step])$$),
  (11, $$SELECT dtm_result(NULL, '01')$$), (12, $$SELECT dtm_result('nobody', '01')$$), (13, $$SELECT dtm_result('w3', '02')$$), (14, $$SELECT dtm_result('w3', '01', 'try')$$), (15, $$SELECT dtm_result('w3', '01', 'compensate')$$),
  (16, $$SELECT dtm_result('w3', NULL)$$)) v(n, statement)
  CROSS JOIN LATERAL complain(statement) c ORDER BY n;

-- what a role sees
SELECT options ->> 'results' AS results FROM dtm.transactions WHERE gid IN ('w3') OR options ? 'results' GROUP BY 1 ORDER BY 1;
INSERT INTO dtm.result SELECT id, 1, true, '{"id": 1}' FROM dtm.request WHERE gid = 'w3';
CREATE ROLE results_other;
GRANT dtm_user TO results_other;
SET ROLE results_other;
SELECT count(*) FROM dtm.results;
SELECT c.* FROM complain($$SELECT dtm_result('w3', '01')$$) c;
SELECT c.code FROM complain($$SELECT count(*) FROM dtm.result$$) c;
RESET ROLE;
SELECT branch_id, name, op, ok, result, note FROM dtm.results;
SELECT dtm_result('w3', '01');
DROP ROLE results_other;
DROP FUNCTION complain, refer;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt, dtm.result, dtm.topic;
