-- Options of steps: what is stored, and what is an error that names it.
SET client_min_messages = error;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt;
\set VERBOSITY verbose
\set SHOW_CONTEXT never
CREATE OR REPLACE FUNCTION complain(statement text) RETURNS TABLE (code text, message text, hint text) LANGUAGE plpgsql AS $$
DECLARE m text; d text; h text;
BEGIN
  EXECUTE statement;
  RETURN QUERY SELECT '00000', 'accepted', '';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, h = PG_EXCEPTION_HINT;
  RETURN QUERY SELECT SQLSTATE, m, h;
END $$;

-- none: nothing is stored
SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/1'), dtm_step('http://a/2', options => '{}')], gid => 'none');
SELECT step_options IS NULL AS none FROM dtm.request WHERE gid = 'none';

-- an object for each step that has one
SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/1', '', '1', '{"name": "charge", "method": "put", "success": "2xx", "request_timeout": 1.5, "headers": {"X-A": "b", "X-C": null}}'), dtm_step('http://a/2'),
                                dtm_step('http://a/3', 'http://a/4', options => '{"compensate_ok": 404, "retry_after": true, "final": "400, 402-404,422", "max_attempts": 3, "on_exhausted": "park"}')], gid => 'some');
SELECT jsonb_pretty(step_options) FROM dtm.request WHERE gid = 'some';

-- the same gid with other options is another transaction
SELECT c.* FROM complain($$SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/1'), dtm_step('http://a/2', options => '{"method": "PUT"}')], gid => 'none')$$) c;
SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/1'), dtm_step('http://a/2')], gid => 'none');

-- a value is wrong
SELECT n, c.* FROM (VALUES
  (1, '[]'), (2, '3'), (3, '{"name": "1a"}'), (4, '{"name": "a b"}'), (5, '{"name": ""}'), (6, '{"name": 3}'),
  (7, '{"method": "GET /"}'), (8, '{"method": "CONNECT"}'), (9, '{"method": ""}'),
  (10, '{"headers": []}'), (11, '{"headers": {"a b": "c"}}'), (12, '{"headers": {"a": "b\r\nc: d"}}'), (13, '{"headers": {"Content-Length": "3"}}'),
  (14, '{"headers": {"dtm-gid": "g"}}'), (15, '{"headers": {"a": 1}}'), (16, '{"content_type": "json"}'), (17, '{"content_type": "a/b\n"}'),
  (18, '{"query_parameters": "maybe"}'), (19, '{"replies": "words"}'), (20, '{"success": ""}'), (21, '{"success": "2x"}'), (22, '{"success": "200,"}'),
  (23, '{"success": "600"}'), (24, '{"success": "404-400"}'), (25, '{"success": 200.5}'), (26, '{"success": [200]}'), (27, '{"request_timeout": 0}'),
  (28, '{"request_timeout": "5s"}'), (29, '{"request_timeout": 1e9}'), (30, '{"retry_interval": -1}'), (31, '{"max_attempts": 0}'), (32, '{"max_attempts": 1.5}'),
  (33, '{"on_exhausted": "explode"}'), (34, '{"retry_after": 1}')) v(n, options)
  CROSS JOIN LATERAL complain(format($$SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/1', options => %L)])$$, options)) c ORDER BY n;

-- a key is unknown: the nearest one is named
SELECT n, c.* FROM (VALUES
  (1, '{"hedaers": {}}'), (2, '{"Method": "PUT"}'), (3, '{"timeout": 3}'), (4, '{"retry-after": true}'), (5, '{"idempotency": true}'), (6, '{"": 1}'),
  (7, jsonb_build_object(repeat('x', 100000), 1)::text)) v(n, options)
  CROSS JOIN LATERAL (SELECT code, left(message, 70) AS message, hint FROM complain(format($$SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/1'), dtm_step('http://a/1', options => %L)])$$, options))) c ORDER BY n;

-- what does not apply to any branch of the step is no option of it
SELECT n, c.* FROM (VALUES
  (1, 'saga', '', 'http://a/', '', '{"method": "PUT"}'), (2, 'saga', '', 'sql:now', '', '{"method": "PUT"}'), (3, 'saga', '', 'grpc://h:1/p.S/M', 'http://a/', '{"method": "PUT"}'),
  (4, 'saga', 'grpc', 'h:1/p.S/M', '', '{"success": "2xx"}'), (5, 'saga', 'grpc', 'h:1/p.S/M', '', '{"headers": {"a": "b"}}'), (6, 'saga', '', 'sql:now', '', '{"headers": {"a": "b"}}'),
  (7, 'saga', 'json-rpc', 'http://a/?method=m', '', '{"content_type": "text/xml"}'), (8, 'saga', 'json-rpc', 'http://a/?method=m', '', '{"replies": "status"}'),
  (9, 'msg', '', 'http://a/', '', '{"compensate_method": "PUT"}'), (10, 'saga', '', 'http://a/', '', '{"compensate_ok": 404}'),
  (11, 'saga', 'grpc', 'h:1/p.S/M', '', '{"request_timeout": 3, "method": null}'), (12, 'saga', '', '', '', '{"method": "PUT"}'),
  (13, 'saga', '', 'http://a/?gid=forged', '', '{"query_parameters": false}')) v(n, type, protocol, action, compensate, options)
  CROSS JOIN LATERAL complain(format($$SELECT dtm_submit(%L, ARRAY[dtm_step(%L, %L, options => %L)], options => jsonb_build_object('protocol', %L))$$, type, action, compensate, options, protocol)) c ORDER BY n;

-- payloads: JSON to the letter, text by its content type, bytes
SELECT n, convert_from(payload, 'UTF8') FROM (VALUES
  (1, (dtm_step('', '', '{"b":1,  "a": "\\u0041\\n\\\\", "b": 2}')).payload), (2, (dtm_step('', '', '{"b":1,  "a": "x"}'::json)).payload), (3, (dtm_step('', '', '{"b":1,  "a": "x"}'::jsonb)).payload),
  (4, (dtm_step('', payload => '{"b":1}')).payload), (5, (dtm_step('', '', 'a=b&c=%20', '{"content_type": "application/x-www-form-urlencoded"}')).payload),
  (6, (dtm_step('', '', '\x00ff0a'::bytea)).payload || '!'::bytea), (7, (dtm_step('', '', NULL)).payload), (8, (dtm_step('', '', 'null')).payload),
  (9, (dtm_step('', '', 'x', '{"content_type": "text/json2"}')).payload), (10, (dtm_step('', '', '"x"', '{"content_type": "application/problem+json; charset=utf-8"}')).payload)) v(n, payload) WHERE n <> 6 ORDER BY n;
SELECT (dtm_step('', '', '\x00ff0a'::bytea)).payload;
SELECT c.* FROM unnest(ARRAY[$$SELECT dtm_step('', '', 'a=b')$$, $$SELECT dtm_step('', '', '')$$, $$SELECT dtm_step('', '', '{"a":1}', '{"content_type": "text/xml", "x": 1}')$$]) s CROSS JOIN LATERAL complain(s) c;

-- steps as JSON
SELECT dtm_submit('saga', '[{"action": "http://a/1", "compensate": "http://a/2", "payload": {"a": "x\\n\"y\"", "n": 1.50}, "name": "one", "method": "PUT"}, {"action": "", "compensate": null, "payload": null},
  {"action": "http://a/3", "payload": "<a>\"b\"</a>", "content_type": "text/xml"}, {"action": "http://a/4", "payload": "text"}, {"action": "http://a/5", "payload_base64": "AP8K"}]', 'json');
SELECT b.ordinal, b.url, b.payload, CASE WHEN b.payload <> '\x00ff0a' THEN convert_from(b.payload, 'UTF8') END AS text FROM dtm.branches b WHERE gid = 'json' AND op = 'action' ORDER BY 1;
SELECT step_options FROM dtm.request WHERE gid = 'json';
-- JSON that is given as text, to the letter
SELECT dtm_submit('msg', '[ {"action" : "" , "payload" : {"b":1,"a" : [1.0,2e3, "\u0041\u00e4"],"b":2} }, {"payload":null, "action":""},{"action":"","payload":"x", "payload" :  [ ]  },
  {"action": "", "headers": {"payload": "no"}, "p\u0061yload": 1e400}, {"action": "", "payload": "a\u0041", "content_type": "text/plain"}]', 'letters');
SELECT ordinal, '<' || convert_from(payload, 'UTF8') || '>' AS payload FROM dtm.branches WHERE gid = 'letters' ORDER BY 1;
-- the same gid again: as an array of objects in each form, and of dtm_step
SELECT dtm_submit('msg', '[{"action": "http://a/1", "payload": [1, "b"], "name": "n"}]'::jsonb, 'forms');
SELECT dtm_submit('msg', '[{"action": "http://a/1", "payload": [1, "b"], "name": "n"}]'::json, gid => 'forms', options => '{"delay": 3}');
SELECT dtm_submit('msg', '[{"name": "n", "payload": [1, "b"], "action": "http://a/1"}]'::text, 'forms');
SELECT dtm_submit('msg', ARRAY[dtm_step('http://a/1', '', '[1, "b"]', '{"name": "n"}')], 'forms');
PREPARE s(text, text, text, jsonb) AS SELECT dtm_submit($1, $2, $3, $4);
EXECUTE s('msg', '[{"action": "http://a/1", "payload": [1, "b"], "name": "n"}]', 'forms', NULL);
-- and after its end
SELECT dtm_force_stop('forms');
EXECUTE s('msg', '[{"action": "http://a/1", "payload": [1, "b"], "name": "n"}]', 'forms', '{}');
SELECT c.* FROM unnest(ARRAY[$$SELECT dtm_submit('msg', '[{"action": "http://a/1", "payload": [1, "c"], "name": "n"}]', 'forms')$$, $$SELECT dtm_submit('msg', '[{"action": "http://a/1", "payload": [1, "b"]}]', 'forms')$$,
  $$SELECT dtm_submit('{"trans_type": "msg", "gid": "forms", "steps": [{"action": "http://a/1", "name": "n"}], "payloads": ["[1, \"b\"]"]}'::jsonb)$$]) s CROSS JOIN LATERAL complain(s) c;
SELECT dtm_prepare('saga', 'prepared', '[{"action": "http://a/1"}]');
SELECT dtm_submit('saga', '[]', 'prepared');
-- what a query without rows gives is no saga that succeeds
SELECT s, c.* FROM unnest(ARRAY[$$SELECT dtm_submit('saga', (SELECT jsonb_agg(x) FROM (SELECT 1 WHERE false) x), 'nothing')$$,
  $$SELECT dtm_submit('msg', NULL::text, 'nothing')$$]) s CROSS JOIN LATERAL complain(s) c;

SELECT n, c.* FROM (VALUES
  (1, '[]'), (2, '{}'), (3, 'null'), (4, '"x"'), (5, '3'), (6, '[1]'), (7, '[[]]'), (8, '[null]'), (9, '[{}]'), (10, '[{"action": null}]'), (11, '[{"action": 1}]'),
  (12, '[{"action": "http://a/", "compensate": 1}]'), (13, '[{"action": "http://a/", "paylod": 1}]'), (14, '[{"action": "http://a/", "Payload": 1}]'), (15, '[{"actoin": "http://a/"}]'),
  (16, '[{"action": "http://a/", "data": 1}]'), (17, '[{"action": "http://a/", "payload": 1, "payload_base64": "AA=="}]'), (18, '[{"action": "http://a/", "payload_base64": "?"}]'), (19, '[{"action": "http://a/", "payload_base64": 1}]'),
  (20, '[{"action": "http://a/", "method": 1}]'), (21, '{"action": "http://a/"}'), (22, '[{"action": "http://a/"}'), (23, ''), (24, '[{"action": "http://a/"}, {"action": "http://a/", "compensation": "http://a/"}]')) v(n, steps)
  CROSS JOIN LATERAL complain(format('SELECT dtm_submit(''saga'', %L)', steps)) c ORDER BY n;
SELECT c.* FROM unnest(ARRAY[$$SELECT dtm_submit('tcc', '[{"action": ""}]')$$, $$SELECT dtm_submit('msg', '[{"action": "", "compensate": "http://a/"}]')$$, $$SELECT dtm_submit('msg', NULL::jsonb, NULL)$$,
  $$SELECT dtm_submit('msg', (SELECT jsonb_agg('{"action": "http://a/"}'::jsonb) FROM generate_series(1, 1001)))$$, $$SELECT dtm_submit('msg', '[{"action": ""}]', options => '{"dealy": 3}')$$]) s CROSS JOIN LATERAL complain(s) c;

-- the wire's object: what no SDK sends is no request
SELECT n, c.* FROM (VALUES
  (1, '{"trans_type": "saga", "options": {"retry_limit": 3}, "steps": [{"action": ""}], "payloads": [""]}'), (2, '{"trans_type": "saga", "step": [{"action": ""}], "payloads": [""]}'),
  (3, '{"trans_type": "saga", "Steps": [{"action": ""}], "payloads": [""]}'), (4, '{"trans_type": "saga"}'), (5, '{"trans_type": "msg", "steps": []}'), (6, '{"trans_type": "msg", "steps": null}'),
  (7, '{"trans_type": "saga", "steps": [{"action": ""}], "payload": [""]}'), (8, '{"trans_type": "saga", "steps": [{"action": ""}], "payloads": [""], "retry_intervall": 3}'),
  (9, '{"trans_type": "saga", "steps": [{"action": "", "headers": {"a": 1}}], "payloads": [""]}'), (10, '{"trans_type": "saga", "steps": [{"action": "", "paylod": "x"}], "payloads": [""]}'),
  (11, '{"trans_type": "saga", "steps": [{"action": "", "data": 1}], "payloads": [""]}'), (12, '{"trans_type": "saga", "steps": [{"action": "http://a/", "method": "PUT", "final": "402"}], "payloads": [""], "options": "{}", "dtm": "x", "id": 3, "foo": 1}'),
  (13, '{"trans_type": "tcc"}')) v(n, object)
  CROSS JOIN LATERAL complain(format('SELECT dtm_submit(%L::jsonb)', object)) c ORDER BY n;

-- options of servers
SELECT n, c.* FROM (VALUES
  (1, $$replies 'status', success '2xx', final '400,402,404,410,422', ongoing '202,425', compensate_ok '404,410', retry_after 'on'$$), (2, $$query_parameters 'off', content_type 'application/x-www-form-urlencoded', request_timeout '5s'$$),
  (3, $$replies 'words'$$), (4, $$success '2xx,'$$), (5, $$final ''$$), (6, $$retry_after 'maybe'$$), (7, $$content_type 'xml'$$), (8, $$request_timeout '2d'$$), (9, $$method 'PUT'$$), (10, $$sucess '2xx'$$),
  (11, $$max_attempts '3'$$), (12, $$base_ulr 'x'$$), (13, $$headers 'x'$$), (14, $$something 'x'$$)) v(n, options)
  CROSS JOIN LATERAL complain(format($$CREATE SERVER regress_s%s FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http://a', %s)$$, n, options)) c ORDER BY n;
SELECT c.* FROM complain($$ALTER SERVER regress_s1 OPTIONS (SET final '4xx,none')$$) c;
SELECT c.* FROM complain($$ALTER SERVER regress_s1 OPTIONS (SET final '4xx')$$) c;
DROP SERVER regress_s1, regress_s2;

-- what cannot be sent as a form
SELECT n, c.* FROM (VALUES
  (1, '{"a": {"b": [1]}}'), (2, '{"a": {"b": [1]}'), (3, repeat('{"a":', 999) || '1' || repeat('}', 999)), (4, '{"' || repeat('k', 1001) || '": 1}'),
  (5, '{"a": [' || repeat('"x",', 600000) || '1]}'), (6, '{"' || repeat('k', 1000) || '": [' || repeat('null,', 100) || '1]}'), (7, '{"' || repeat('k', 500) || '": [' || repeat('1,', 10000) || '1]}')) v(n, body)
  CROSS JOIN LATERAL complain(format($$SELECT dtm_submit('msg', ARRAY[dtm_step('http://a/', '', %L::text, '{"content_type": "application/x-www-form-urlencoded"}')])$$, body)) c ORDER BY n;

-- a name is one step's
SELECT c.* FROM complain($$SELECT dtm_submit('saga', ARRAY[dtm_step('', options => '{"name": "a"}'), dtm_step(''), dtm_step('', options => '{"name": "a"}')])$$) c;

-- branches of a tcc and an xa have options, too
SELECT dtm_prepare('tcc', 'tcc-options'), dtm_prepare('xa', 'xa-options');
SELECT dtm_register_branch('tcc-options', '01', 'http://a/c', 'http://a/d', '1', '{"method": "put", "compensate_method": "DELETE", "compensate_ok": 404, "max_attempts": 3, "on_exhausted": "park"}');
SELECT dtm_register_branch('tcc-options', '02', 'http://a/c', 'http://a/d');
SELECT dtm_register_branch('{"gid": "tcc-options", "trans_type": "tcc", "branch_id": "03", "status": "prepared", "try": "", "confirm": "http://a/c", "cancel": "", "max_attempts": "4", "headers": {"X-A": "b"}, "method": null}'::jsonb);
SELECT dtm_register_branch('xa-options', '01', 'http://a/x', options => '{"retry_interval": 2, "compensate_max_attempts": 5}');
SELECT dtm_register_branch('xa-options', '02', 'http://a/x', NULL::jsonb);
SELECT gid, jsonb_pretty(step_options) FROM dtm.request WHERE gid ~ '-options$' ORDER BY gid;
SELECT n, c.* FROM (VALUES
  (1, '{"name": "a"}'), (2, '{"complete_within": 3}'), (3, '{"max_attempt": 3}'), (4, '{"max_attempts": 0}'), (5, '{"on_exhausted": "abort"}'), (6, '[]'),
  (7, '{"cancel": "http://a/"}')) v(n, options)
  CROSS JOIN LATERAL complain(format($$SELECT dtm_register_branch('tcc-options', '04', 'http://a/c', 'http://a/d', NULL, %L)$$, options)) c ORDER BY n;
SELECT n, c.* FROM (VALUES
  (1, '{"max_attempt": 3}'), (2, '{"max_attempts": "many"}'), (3, '{"confrim": "http://a/"}'), (4, '{"compensate_method": "PUT"}'), (5, '{"some_key_of_an_sdk": 1}')) v(n, more)
  CROSS JOIN LATERAL complain(format($$SELECT dtm_register_branch('{"gid": "tcc-options", "trans_type": "tcc", "branch_id": "05", "confirm": "http://a/c", "cancel": ""}'::jsonb || %L)$$, more)) c ORDER BY n;
SELECT c.* FROM complain($$SELECT dtm_register_branch(jsonb_build_object('gid', dtm_prepare('workflow', options => '{"name": "w"}'), 'trans_type', 'workflow', 'branch_id', '01', 'op', 'action', 'status', 'succeed', 'max_attempts', 3))$$) c;

-- a row that somebody has changed is a bad row, and nothing else
UPDATE dtm.request SET step_options = '[{"nmae": 1}, null, null]' WHERE gid = 'some';
SELECT c.* FROM complain($$SELECT dtm_retry_now('some')$$) c;
UPDATE dtm.request SET step_options = '[]' WHERE gid = 'some';
SELECT c.* FROM complain($$SELECT dtm_retry_now('some')$$) c;
DROP FUNCTION complain;
