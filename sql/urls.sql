-- URLs that would leave their server, or tell a participant what only dtm tells
-- it, are refused at every door.  If this fails, a token goes to a path that its
-- server does not permit, or a submitter forges a gid.
SET client_min_messages = error;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt;
CREATE FUNCTION complain(statement text) RETURNS TABLE (code text, message text, hint text) LANGUAGE plpgsql AS $$
DECLARE m text; h text;
BEGIN
  EXECUTE statement;
  RETURN QUERY SELECT '00000', 'accepted', '';
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, h = PG_EXCEPTION_HINT;
  RETURN QUERY SELECT SQLSTATE, m, h;
END $$;
CREATE SERVER urls_bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http://127.0.0.1:9/api');
-- every way to bring a URL
CREATE TABLE door (n int, name text, statement text);
INSERT INTO door VALUES
  (1, 'action of a saga', $$SELECT dtm_submit('saga', ARRAY[dtm_step(%L)])$$),
  (2, 'its compensation', $$SELECT dtm_submit('saga', ARRAY[dtm_step('', %L)])$$),
  (3, 'action of a msg', $$SELECT dtm_submit('msg', ARRAY[dtm_step(''), dtm_step(%L)])$$),
  (4, 'prepared', $$SELECT dtm_prepare('msg', steps => ARRAY[dtm_step(%L)])$$),
  (5, 'object', $$SELECT dtm_submit(jsonb_build_object('trans_type', 'saga', 'steps', jsonb_build_array(jsonb_build_object('action', '', 'compensate', %L)), 'payloads', '[""]'::jsonb))$$),
  (6, 'query_prepared', $$SELECT dtm_prepare('msg', options => jsonb_build_object('query_prepared', %L))$$),
  (7, 'query_prepared of a submit', $$SELECT dtm_submit('msg', gid => dtm_prepare('msg'), options => jsonb_build_object('query_prepared', %L))$$),
  (8, 'callback of a workflow', $$SELECT dtm_prepare_workflow(jsonb_build_object('trans_type', 'workflow', 'gid', 'w', 'query_prepared', %L, 'custom_data', '{"name": "w"}'))$$),
  (9, 'on_finish', $$SELECT dtm_submit('msg', options => jsonb_build_object('on_finish', %L))$$),
  (10, 'on_finish of a submit', $$SELECT dtm_submit('tcc', gid => dtm_prepare('tcc'), options => jsonb_build_object('on_finish', %L))$$),
  (11, 'confirm of a tcc', $$SELECT dtm_register_branch(dtm_prepare('tcc'), '01', %L, '')$$),
  (12, 'cancel of a tcc', $$SELECT dtm_register_branch(dtm_prepare('tcc'), '01', '', %L)$$),
  (13, 'branch of an xa', $$SELECT dtm_register_branch(dtm_prepare('xa'), '01', %L)$$),
  (14, 'branch as an object', $$SELECT dtm_register_branch(jsonb_build_object('gid', dtm_prepare('xa'), 'trans_type', 'xa', 'branch_id', '01', 'url', %L))$$),
  (15, 'topic', $$SELECT dtm_subscribe('urls', %L)$$),
  (16, 'over json-rpc', $$SELECT dtm_submit('msg', ARRAY[dtm_step(%L)], options => '{"protocol": "json-rpc"}')$$);
SELECT d.name, c.*
  FROM door d, LATERAL complain(format(d.statement, 'server:urls_bank/..%00/admin')) c ORDER BY d.n;
SELECT d.name, c.*
  FROM door d, LATERAL complain(format(d.statement, 'http://h/x?a=1&gid=forged&op=action')) c ORDER BY d.n;
SELECT d.name, c.code, c.message
  FROM door d, LATERAL complain(format(d.statement, 'server:urls_bank/x?method=m&%6Fp=action')) c ORDER BY d.n;
SELECT d.name, c.code, c.message
  FROM door d, LATERAL complain(format(d.statement, 'http:///x')) c ORDER BY d.n;
-- test/unit/test_uri.c has the paths and parameters; a few of each kind here
SELECT url, c.code, c.message FROM unnest(ARRAY[
  'server:urls_bank/%2e%2e/admin', 'server:urls_bank/..;/admin', 'server:urls_bank/..\admin', 'server:urls_bank/..%5cadmin',
  'server:urls_bank/..%2fadmin', 'server:urls_bank/%252e%252e/admin', 'server:urls_bank/%c0%ae%c0%ae/admin',
  'server:urls_bank/a%0d%0aX: y', E'server:urls_bank/.\t./admin', E'server:urls_bank/.\n./admin', 'server:urls_bank/a%zz',
  'server:urls_bank/．．/admin', 'server:urls_bank/%2525252525252e/x',
  'server:urls_bank@evil/admin', 'server:urls_bank:80/admin', 'server:urls_bank?/../admin', 'server:urls_bank#/../admin',
  'server:urls_bank//evil/admin', 'server:urls_bank/a..b/.c?d=/../e', 'server:urls_bank/ü',
  'http://h/?GID=x', 'http://h/?x=1;gid=x', 'http://h/?%2567id=x', 'http://h/?branch.id=x', 'http://h/?gid[]=x', 'http://h/?trans_type=saga',
  'http://h/?phase2_url=x', 'http://h/?dtm=x', 'http://h/?giddy=x&next=http%3A%2F%2Fi%2F%3Fgid%3D1', 'http://h/?x=gid#gid=1',
  'grpc://h:1/p.S/M;gid=1', 'http://u:p@h/',
  'http:////x', 'http:/x', 'http:/x?://y', 'http://?x', 'http://#x', 'http://:80/', 'http://u@/x', 'http://u@:80/x', 'http:\\h\x', 'http://\h\x', 'https:///x', 'HTTP:///x',
  'grpc:///p.S/M', 'grpc://u@/p.S/M', 'http://h:/x'
]) WITH ORDINALITY u(url, n), LATERAL complain(format($$SELECT dtm_submit('msg', ARRAY[dtm_step(%L)])$$, url)) c ORDER BY n;
SELECT url, c.code, c.message FROM unnest(ARRAY['grpc:/h/p.S/M', ':1/p.S/M', '/p.S/M', 'h:1/p.S/M', 'h:/p.S/M'
]) WITH ORDINALITY u(url, n), LATERAL complain(format($$SELECT dtm_submit('msg', ARRAY[dtm_step(%L)], options => '{"protocol": "grpc"}')$$, url)) c ORDER BY n;
-- a method that is no text
SELECT url, c.* FROM unnest(ARRAY['http://h/rpc?method=m%ff', 'http://h/rpc?method=%c0%ae', 'http://h/rpc?method=m%00', 'http://h/rpc?method=%ed%a0%80',
  'http://h/rpc?method=Überweisung', 'http://h/rpc?method=%c3%9c&x=%ff'
]) WITH ORDINALITY u(url, n), LATERAL complain(format($$SELECT dtm_submit('msg', ARRAY[dtm_step(%L)], options => '{"protocol": "json-rpc"}')$$, url)) c ORDER BY n;
SELECT dtm_subscribe('urls', 'http://h/rpc?method=m%ff');
SELECT c.* FROM complain($$SELECT dtm_submit('msg', ARRAY[dtm_step('topic://urls')], options => '{"protocol": "json-rpc"}')$$) c;
SELECT dtm_delete_topic('urls');
SELECT c.* FROM complain($$SELECT dtm_submit('msg', ARRAY[ROW('http://h/rpc?method=m', '', '\x7b2261223a22ff227d', NULL)::dtm_step], options => '{"protocol": "json-rpc"}')$$) c;
-- nor headers that say what a call is about, as gRPC's metadata does
SELECT header, c.* FROM unnest(ARRAY['dtm-gid', 'Dtm-Op', 'dtm-branch_id', 'DTM_TRANS_TYPE', 'dtm-dtm', 'dtm-phase2-url', 'Accept-Encoding', 'dtm-gids', 'x-dtm-gid', 'x-ü'
]) WITH ORDINALITY h(header, n), LATERAL complain(format($$SELECT dtm_submit('msg', options => jsonb_build_object('branch_headers', jsonb_build_object(%L, 'x')))$$, header)) c ORDER BY n;
SELECT c.* FROM complain($$CREATE USER MAPPING FOR CURRENT_USER SERVER urls_bank OPTIONS (header_dtm_gid 'x')$$) c;
-- base URLs
SELECT url, c.code, c.message FROM unnest(ARRAY['http:///h', 'https://', 'http://h;gid=1', 'http://h/a;gid=1', 'grpc://h:1/a;op=2', 'grpc:///', 'http:/h', 'http://h/ü'
]) WITH ORDINALITY u(url, n), LATERAL complain(format($$CREATE SERVER urls_other FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url %L)$$, url)) c ORDER BY n;
SELECT count(*) FROM pg_foreign_server WHERE srvname = 'urls_other';
DROP SERVER IF EXISTS urls_other;
DROP SERVER urls_bank;
DROP TABLE door;
DROP FUNCTION complain(text);
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt;
