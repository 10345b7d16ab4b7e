-- What scripts/valgrind.sh has a coordinator do: a bit of everything.
\set ON_ERROR_STOP 1
CREATE EXTENSION dtm;
CREATE SERVER bank FOREIGN DATA WRAPPER dtm_http OPTIONS (base_url :'url');
CREATE USER MAPPING FOR CURRENT_USER SERVER bank OPTIONS (bearer_token 'token', hmac_key '0123456789abcdef', header_x_a 'b');
CREATE FUNCTION work(gid text, branch_id text, op text, payload jsonb) RETURNS void LANGUAGE sql AS '';
SELECT dtm_subscribe('news', :'url' || '/news'), dtm_subscribe('news', 'server:bank/news');
SELECT count(dtm_submit('saga', ARRAY[dtm_step(:'url' || '/a', :'url' || '/b', '{"a": 1}'), dtm_step('server:bank/c?d=e', '', '{"a": 1}')],
                        gid => 'saga' || n, options => jsonb_build_object('concurrent', n % 2 = 0)))
  FROM generate_series(1, 20) n;
SELECT dtm_submit('msg', ARRAY[dtm_step('topic://news', payload => '{}'), dtm_step('sql:public.work', payload => '{}')], gid => 'msg',
                  options => '{"notify": true, "on_finish": "server:bank/end", "branch_headers": {"X-A": "c", "X-B": "d"}}');
SELECT dtm_submit('msg', ARRAY[dtm_step(:'url' || '/rpc?method=m', payload => '{}')], gid => 'rpc', options => '{"protocol": "json-rpc"}');
SELECT dtm_submit('msg', ARRAY[dtm_step('http://127.0.0.1:1/')], gid => 'dead', options => '{"retry_interval": 1}');
SELECT dtm_submit('msg', ARRAY[dtm_step('grpc://127.0.0.1:1/a.B/C', payload => '{}')], gid => 'dead-rpc', options => '{"retry_interval": 1}');
SELECT dtm_prepare('tcc', 'tcc');
SELECT dtm_register_branch('tcc', '01', :'url' || '/confirm', :'url' || '/cancel', '{}');
SELECT dtm_abort('tcc');
SELECT dtm_prepare('xa', 'xa'), dtm_register_branch('xa', '01', 'server:bank/xa'), dtm_submit('xa', gid => 'xa');
SELECT dtm_wait('saga' || n, '10 min') FROM generate_series(1, 20) n;
SELECT dtm_wait('msg', '10 min'), dtm_wait('tcc', '10 min'), dtm_wait('xa', '10 min');
SELECT dtm_wait('rpc', '5 s'), dtm_wait('dead', '5 s');
SELECT dtm_force_stop(gid) FROM dtm.transactions WHERE status = 'submitted';
SELECT count(*) FROM dtm.stat_hosts;
SELECT count(*) FROM dtm.stat_coordinator;
SELECT dtm_pause();
SELECT dtm_submit('saga', ARRAY[dtm_step(:'url' || '/a', :'url' || '/b', '{"a": 1}')], gid => 'due');
CALL dtm_run_due();
SELECT dtm_status('due');
SELECT dtm_cleanup('0 s');
