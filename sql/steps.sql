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
                                dtm_step('http://a/3', options => '{"compensate_ok": 404, "retry_after": true, "final": "400, 402-404,422", "max_attempts": 3, "on_exhausted": "park"}')], gid => 'some');
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

-- a name is one step's
SELECT c.* FROM complain($$SELECT dtm_submit('saga', ARRAY[dtm_step('', options => '{"name": "a"}'), dtm_step(''), dtm_step('', options => '{"name": "a"}')])$$) c;

-- a row that somebody has changed is a bad row, and nothing else
UPDATE dtm.request SET step_options = '[{"nmae": 1}, null, null]' WHERE gid = 'some';
SELECT c.* FROM complain($$SELECT dtm_retry_now('some')$$) c;
UPDATE dtm.request SET step_options = '[]' WHERE gid = 'some';
SELECT c.* FROM complain($$SELECT dtm_retry_now('some')$$) c;
DROP FUNCTION complain;
