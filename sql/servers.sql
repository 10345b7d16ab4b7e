-- Services as foreign servers: options, rights, and what a URL stands for.  If
-- this fails, a secret shows, or somebody calls what is not theirs to call.
\set VERBOSITY terse
SET client_min_messages = error;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt;
CREATE ROLE regress_dtm_shop LOGIN;
CREATE ROLE regress_dtm_maker;
CREATE ROLE regress_dtm_partner;
GRANT dtm_user TO regress_dtm_shop, regress_dtm_maker;
GRANT dtm_admin TO regress_dtm_partner;
-- nobody makes servers without a grant
SET ROLE regress_dtm_maker;
CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http://127.0.0.1:9');
RESET ROLE;
GRANT USAGE ON FOREIGN DATA WRAPPER dtm_http TO regress_dtm_maker;
SET ROLE regress_dtm_maker;
-- options of a server
CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http;
CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url '');
CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'bank.internal');
CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'ftp://bank.internal');
CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http://user:word@bank.internal/api');
CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http:///user:word@bank.internal/api');
CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'grpc://user@bank.internal:1');
CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http://bank.internal/api?x=1');
CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http://bank.internal', bearer_token 'x');
CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http://bank.internal', connect_timeout 'soon');
CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http://bank.internal', connect_timeout '1.5');
CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http://bank.internal', connect_timeout '0x10');
CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http://bank.internal', connect_timeout '-5s');
CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http://bank.internal', connect_timeout '2d');
CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http://bank.internal', request_timeout '0.5');
CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http://bank.internal', request_timeout '0');
CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http://bank.internal', ca_file '/etc/ssl/ca.pem');
CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http://bank.internal', max_requests '0');
CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http://bank.internal', max_requests 'ten');
CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http://bank.internal', max_requests '1.5');
CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http://bank.internal', max_requests '0x10');
CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http://bank.internal', max_requests '99999999999');
CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http://bank.internal', rate '0');
CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http://bank.internal', rate '-1');
CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http://bank.internal', rate 'NaN');
CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http://bank.internal', rate '10/s');
ALTER FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'x');
CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http://127.0.0.1:9/api/', connect_timeout '2.001s', request_timeout '500', max_requests '10', rate '0.5');
ALTER SERVER bank OPTIONS (DROP base_url);
CREATE SERVER rpc FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'grpc://127.0.0.1:9');
-- there is nothing to select from it
RESET ROLE;
CREATE FOREIGN TABLE t (a int) SERVER bank;
SELECT * FROM t;
DROP FOREIGN TABLE t;
SET ROLE regress_dtm_maker;
-- options of a user mapping; errors do not have the value
CREATE USER MAPPING FOR regress_dtm_maker SERVER bank OPTIONS (token 'secret');
CREATE USER MAPPING FOR regress_dtm_maker SERVER bank OPTIONS (bearer_token 'Bearer secret');
CREATE USER MAPPING FOR regress_dtm_maker SERVER bank OPTIONS (hmac_key 'secret');
CREATE USER MAPPING FOR regress_dtm_maker SERVER bank OPTIONS (client_cert '/etc/ssl/cert.pem');
CREATE USER MAPPING FOR regress_dtm_maker SERVER bank OPTIONS (header_x E'secret\r\nHost: evil');
CREATE USER MAPPING FOR regress_dtm_maker SERVER bank OPTIONS (header_ 'secret');
CREATE USER MAPPING FOR regress_dtm_maker SERVER bank OPTIONS ("header_x:" 'secret');
CREATE USER MAPPING FOR regress_dtm_maker SERVER bank OPTIONS (header_content_length '0');
CREATE USER MAPPING FOR regress_dtm_maker SERVER bank OPTIONS (header_host 'elsewhere');
RESET ROLE;
CREATE USER MAPPING FOR regress_dtm_maker SERVER bank OPTIONS (client_key '/etc/ssl/key.pem');
CREATE USER MAPPING FOR regress_dtm_maker SERVER bank OPTIONS (client_cert 'cert.pem');
CREATE USER MAPPING FOR regress_dtm_shop SERVER bank OPTIONS (bearer_token 'the-secret', hmac_key '0123456789abcdef', header_x_api_key 'the-secret');
-- what a role may call
CREATE SERVER other FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http://127.0.0.1:9');
CREATE FOREIGN DATA WRAPPER regress_dtm_wrapper;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER regress_dtm_wrapper;
GRANT USAGE ON FOREIGN SERVER bank TO regress_dtm_shop;
GRANT USAGE ON FOREIGN SERVER rpc TO regress_dtm_shop;
GRANT USAGE ON FOREIGN SERVER elsewhere TO regress_dtm_shop;
\set VERBOSITY default
SET ROLE regress_dtm_shop;
SELECT dtm_submit('msg', ARRAY[dtm_step('server:bank/TransIn', payload => '{}')], gid => 'ok', options => '{"delay": 3600}');
SELECT dtm_submit('msg', ARRAY[dtm_step('server:other/TransIn')]);
SELECT dtm_submit('msg', ARRAY[dtm_step('server:none/TransIn')]);
\set VERBOSITY terse
SELECT dtm_submit('msg', ARRAY[dtm_step('server:elsewhere/TransIn')]);
SELECT dtm_submit('msg', ARRAY[dtm_step('server:')]);
SELECT dtm_submit('msg', ARRAY[dtm_step('server:bank@other/x')]);
-- a path does not leave the server; dots that are no segment are fine
SELECT dtm_submit('msg', ARRAY[dtm_step('server:bank/../x')]);
SELECT dtm_submit('msg', ARRAY[dtm_step('server:bank/a/.%2E/x')]);
SELECT dtm_submit('msg', ARRAY[dtm_step('server:bank/%2e%2e%2fx')]);
SELECT dtm_submit('msg', ARRAY[dtm_step('server:bank/a%2f..%2f..%2fx')]);
SELECT dtm_submit('msg', ARRAY[dtm_step('server:bank/..')]);
SELECT dtm_submit('msg', ARRAY[dtm_step('server:bank/a/..\x')]);
SELECT dtm_submit('msg', ARRAY[dtm_step('server:bank/...'), dtm_step('server:bank/a..b/.well-known?x=/../y')], gid => 'dots', options => '{"delay": 3600}');
SELECT dtm_force_stop('dots');
-- a host of this name, and its port
SELECT dtm_submit('msg', ARRAY[dtm_step('server:50051/pkg.Bank/TransIn')], gid => 'port', options => '{"protocol": "grpc", "delay": 3600}');
SELECT dtm_force_stop('port');
SELECT dtm_submit('saga', ARRAY[dtm_step('server:bank/a', 'server:other/b')]);
SELECT dtm_submit('msg', ARRAY[dtm_step('server:bank/a')], options => '{"on_finish": "server:other/b"}');
SELECT dtm_submit('msg', ARRAY[dtm_step('server:rpc/a')]);
SELECT dtm_submit('msg', ARRAY[dtm_step('server:rpc/pkg.Bank/TransIn')], gid => 'ok-rpc', options => '{"delay": 3600}');
SELECT dtm_submit('msg', ARRAY[dtm_step('server:bank?method=transIn', payload => '[]')], options => '{"protocol": "json-rpc"}');
-- nothing secret in what is stored and shown
SELECT gid, url, last_error FROM dtm.branches WHERE gid LIKE 'ok%' ORDER BY gid;
SELECT dtm_query('ok') -> 'branches' -> 0 ->> 'url' AS url;
RESET ROLE;
SELECT count(*) AS secrets FROM dtm.request r WHERE r::text LIKE '%secret%';
-- another role's server is not to be named in its transaction, by an admin either
SET ROLE regress_dtm_shop;
SELECT dtm_prepare('tcc', gid => 'shared');
SET ROLE regress_dtm_partner;
SELECT dtm_register_branch('shared', '01', 'server:bank/confirm', '');
SET ROLE regress_dtm_shop;
SELECT dtm_register_branch('shared', '02', 'server:bank/confirm', '');
RESET ROLE;
-- topics: who submits has to have the right
SELECT dtm_subscribe('news', 'server:none/x');
SELECT dtm_subscribe('news', 'server:other/x');
SET ROLE regress_dtm_shop;
SELECT dtm_submit('msg', ARRAY[dtm_step('topic://news')]);
RESET ROLE;
-- when it is called: no right any more, no server any more, no role any more
CALL dtm_run_due();
SELECT dtm_force_stop('shared');
REVOKE USAGE ON FOREIGN SERVER bank FROM regress_dtm_shop;
CALL dtm_run_due(now() + interval '2 hours');
SELECT gid, result, regexp_replace(error, ' to 127.*', '') AS error FROM dtm.calls ORDER BY gid COLLATE "C";
GRANT USAGE ON FOREIGN SERVER bank TO regress_dtm_shop;
ALTER SERVER bank RENAME TO bank2;
CALL dtm_run_due(now() + interval '4 hours');
SELECT error FROM dtm.calls WHERE gid = 'ok' ORDER BY started DESC LIMIT 1;
ALTER SERVER bank2 RENAME TO bank;
CALL dtm_run_due(now() + interval '8 hours');
SELECT error ~ 'connect' AS tried FROM dtm.calls WHERE gid = 'ok' ORDER BY started DESC LIMIT 1;
-- signatures: the first was made with openssl dgst -sha256 -hmac
SELECT dtm_verify_signature('t=1700000000,v1=' || 'b26c15bd4034e6e3ef58516522be41ba9a2ad6a904acba3bd738bec7cc378d21', '0123456789abcdef', 'g', '01', 'action', '{"a": 1}', NULL) AS ok;
SELECT dtm_verify_signature('t=1700000000,v1=' || 'b26c15bd4034e6e3ef58516522be41ba9a2ad6a904acba3bd738bec7cc378d21', '0123456789abcdef', 'g', '01', 'action', '{"a": 1}') AS too_old;
SELECT dtm_verify_signature('t=1700000001,v1=' || 'b26c15bd4034e6e3ef58516522be41ba9a2ad6a904acba3bd738bec7cc378d21', '0123456789abcdef', 'g', '01', 'action', '{"a": 1}', NULL) AS other_time,
       dtm_verify_signature('t=1700000000,v1=' || 'b26c15bd4034e6e3ef58516522be41ba9a2ad6a904acba3bd738bec7cc378d21', '0123456789abcdeg', 'g', '01', 'action', '{"a": 1}', NULL) AS other_key,
       dtm_verify_signature('t=1700000000,v1=' || 'b26c15bd4034e6e3ef58516522be41ba9a2ad6a904acba3bd738bec7cc378d21', '0123456789abcdef', 'h', '01', 'action', '{"a": 1}', NULL) AS other_gid,
       dtm_verify_signature('t=1700000000,v1=' || 'b26c15bd4034e6e3ef58516522be41ba9a2ad6a904acba3bd738bec7cc378d21', '0123456789abcdef', 'g', '02', 'action', '{"a": 1}', NULL) AS other_branch,
       dtm_verify_signature('t=1700000000,v1=' || 'b26c15bd4034e6e3ef58516522be41ba9a2ad6a904acba3bd738bec7cc378d21', '0123456789abcdef', 'g', '01', 'compensate', '{"a": 1}', NULL) AS other_op,
       dtm_verify_signature('t=1700000000,v1=' || 'b26c15bd4034e6e3ef58516522be41ba9a2ad6a904acba3bd738bec7cc378d21', '0123456789abcdef', 'g', '01', 'action', '{"a": 2}', NULL) AS other_body,
       dtm_verify_signature('t=1700000000,v1=' || 'b26c15bd4034e6e3ef58516522be41ba9a2ad6a904acba3bd738bec7cc378d21', '0123456789abcdef', 'g', '01', 'action', NULL, NULL) AS no_body;
SELECT s, dtm_verify_signature(s, '0123456789abcdef', 'g', '01', 'action', '') AS ok
  FROM unnest(ARRAY[NULL, '', 't=', 't=1', 't=1,v1=', 't=99999999999999999999,v1=00', 't=-1,v1=', 'v1=00,t=1']) s;
SELECT dtm_verify_signature('t=1700000000,v1=b26c15bd4034e6e3ef58516522be41ba9a2ad6a904acba3bd738bec7cc378d21', '0123456789abcdef', 'g', '01', E'action\n{"a": 1}', '', NULL) AS moved_border;
SELECT dtm_verify_signature('t=1,v1=', NULL, 'g', '01', 'action', '');
SELECT dtm_verify_signature('t=1,v1=', 'k', 'g', '01', 'action', '', '-1 s');
SELECT dtm_verify_signature('t=1,v1=', '', 'g', '01', 'action', '');
-- DROP SERVER needs no look at transactions
DROP SERVER bank, rpc, other, elsewhere CASCADE;
DROP FOREIGN DATA WRAPPER regress_dtm_wrapper;
REVOKE USAGE ON FOREIGN DATA WRAPPER dtm_http FROM regress_dtm_maker;
SELECT dtm_delete_topic('news');
DROP OWNED BY regress_dtm_shop, regress_dtm_maker, regress_dtm_partner;
DROP ROLE regress_dtm_shop, regress_dtm_maker, regress_dtm_partner;
-- the role is gone, what it submitted is not
CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url 'http://127.0.0.1:9');
CALL dtm_run_due(now() + interval '1 day');
SELECT reason FROM dtm.stuck WHERE gid = 'ok';
DROP SERVER bank;
TRUNCATE dtm.request, dtm.active, dtm.finished, dtm.attempt;
