-- Options: what is accepted, and what is an error that names it.
SET client_min_messages = error;
SELECT dtm_submit('saga', ARRAY[dtm_step('http://a/1'), dtm_step('http://a/2'), dtm_step('http://a/3')], gid => 'o1',
                  options => '{"concurrent": true, "orders": {"2": [0, 1], "1": [0, 0]}, "wait_result": true, "protocol": "http", "delay": null}');
SELECT options FROM dtm.transactions WHERE gid = 'o1';
SELECT dtm_submit('msg', options => '{"time_out": 3}');
SELECT dtm_submit('msg', options => '[]');
SELECT dtm_submit('msg', options => '{"timeout_to_fail": "3"}');
SELECT dtm_submit('msg', options => '{"timeout_to_fail": -1}');
SELECT dtm_submit('msg', options => '{"timeout_to_fail": 1e300}');
SELECT dtm_submit('msg', options => '{"request_timeout": 3000000}');
SELECT dtm_submit('msg', options => '{"retry_limit": 1e9}');
SELECT dtm_submit('saga', options => '{"retry_limit": 1.5}');
SELECT dtm_submit('msg', options => '{"concurrent": 1}');
SELECT dtm_submit('msg', options => '{"branch_headers": []}');
SELECT dtm_submit('msg', options => '{"branch_headers": {"a": 1}}');
SELECT dtm_submit('msg', options => '{"branch_headers": {"a b": "1"}}');
SELECT dtm_submit('msg', options => '{"branch_headers": {"": "1"}}');
SELECT dtm_submit('msg', options => '{"branch_headers": {"a": "1\r\nX-Evil: 1"}}');
SELECT dtm_submit('msg', options => '{"branch_headers": {"content-length": "1"}}');
SELECT dtm_submit('msg', options => '{"query_prepared": "ftp://a/"}');
SELECT dtm_submit('msg', options => '{"protocol": "carrier-pigeon"}');
SELECT dtm_submit('msg', options => '{"orders": {"0": [0]}}');
SELECT dtm_submit('saga', options => '{"delay": 3}');
SELECT dtm_submit('msg', options => '{"retry_limit": 3}');
SELECT dtm_submit('msg', gid => 'from an SDK', options => '{"retry_limit": 0}'), dtm_submit('{"trans_type": "msg", "gid": "also from an SDK", "retry_limit": 3, "steps": [{"action": ""}], "payloads": [""]}'::jsonb);
-- R-43: bad orders are refused, where dtm keeps them for ever
SELECT dtm_submit('saga', ARRAY[dtm_step(''), dtm_step('')], options => '{"orders": {"1": [0]}}');
SELECT dtm_submit('saga', ARRAY[dtm_step(''), dtm_step('')], options => '{"concurrent": true, "orders": {"2": [0]}}');
SELECT dtm_submit('saga', ARRAY[dtm_step(''), dtm_step('')], options => '{"concurrent": true, "orders": {"1": [2]}}');
SELECT dtm_submit('saga', ARRAY[dtm_step(''), dtm_step('')], options => '{"concurrent": true, "orders": {"1": [0.5]}}');
SELECT dtm_submit('saga', ARRAY[dtm_step(''), dtm_step('')], options => '{"concurrent": true, "orders": {"-1": [0]}}');
SELECT dtm_submit('saga', ARRAY[dtm_step(''), dtm_step('')], options => '{"concurrent": true, "orders": {"x": [0]}}');
SELECT dtm_submit('saga', ARRAY[dtm_step(''), dtm_step('')], options => '{"concurrent": true, "orders": {"1": 0}}');
SELECT dtm_submit('saga', ARRAY[dtm_step(''), dtm_step('')], options => '{"concurrent": true, "orders": {"1": [1]}}');
SELECT dtm_submit('saga', ARRAY[dtm_step(''), dtm_step(''), dtm_step('')], options => '{"concurrent": true, "orders": {"1": [0], "2": [1], "0": [2]}}');
SELECT dtm_submit('{"trans_type": "saga", "steps": [{"action": ""}], "payloads": [""], "custom_data": {"concurrent": true}}'::jsonb);
SELECT dtm_submit('{"trans_type": "saga", "steps": [{"action": ""}], "payloads": [""], "custom_data": "{"}'::jsonb);
SELECT count(*) FROM dtm.transactions;
-- CF-01: settings have bounds; none is refused because of another
SELECT name, setting, unit, context, min_val, max_val FROM pg_settings WHERE name LIKE 'dtm.%' ORDER BY 1;
-- whose turn it is
SELECT dtm_submit('msg', gid => 'keyed', options => '{"fairness_key": "customer 7"}');
SELECT options FROM dtm.transactions WHERE gid = 'keyed';
SELECT dtm_submit('msg', options => '{"fairness_key": 7}');
SELECT dtm_submit('msg', options => jsonb_build_object('fairness_key', repeat('x', 129)));
